/* heddle tune and heddle train on language models. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../../compiler/compress/lm_integer.h"
#include "../../compiler/compress/lm_policy.h"
#include "../core/progress.h"
#include "../train/llama_train.h"
#include "../train/llama_tune.h"
#include "../train/pv_tune.h"
#include "cli.h"

/* Options of networks make no sense with --tokens, and those of language models none without. */
hd_status cli_refuse(const cli_args *a, const char *const *names, int with, hd_err *err) {
    for (; *names; names++)
        if (cli_text(a, *names))
            return with ? hd_fail(err, HD_USAGE, "%s: --tokens and %s do not go together", a->command->name, *names)
                        : hd_fail(err, HD_USAGE, "%s: %s goes with --tokens", a->command->name, *names);
    return HD_OK;
}

/* Steps of --steps, or of --epochs passes over `rows` rows. */
static hd_status read_steps(long *steps, const cli_args *a, uint32_t rows, int batch, hd_err *err) {
    int64_t n = 0, epochs = 0;
    if (cli_text(a, "--steps") && cli_text(a, "--epochs")) return hd_fail(err, HD_USAGE, "%s: --steps and --epochs do not go together", a->command->name);
    hd_status s = cli_int(&n, a, "--steps", *steps, 1, 10000000, err);
    if (!s) s = cli_int(&epochs, a, "--epochs", 0, 1, 100000, err);
    *steps = (long)(epochs ? (epochs * (int64_t)rows + batch - 1) / batch : n);
    return s;
}

/* What training on tokens is given, in both commands. */
typedef struct job {
    hd_llama *model, *teacher;
    hd_idx *idx;
    const int16_t *rows;
    int stride, n, t;
} job;

static hd_status read_rows(job *j, const cli_args *a, hd_err *err) {
    const char *tokens = cli_text(a, "--tokens");
    uint32_t first, count;
    hd_status s = cli_tokens_load(&j->idx, tokens, j->model, err);
    if (!s) s = cli_rows(&first, &count, a, tokens, j->idx->dim[0], err);
    if (s) return s;
    j->rows = (const int16_t *)j->idx->data + (size_t)first * j->idx->item;
    j->stride = (int)j->idx->item;
    j->n = (int)count;
    j->t = j->stride - 1;
    return HD_OK;
}

static void free_job(job *j) {
    hd_llama_free(j->model);
    hd_llama_free(j->teacher);
    if (j->idx) hd_idx_free(j->idx);
}

/* --batch, --rate, --share, --temperature, --seed, --written, --written-share, over their defaults. */
typedef struct common {
    int64_t batch, seed, written;
    double rate, share, temperature, written_share;
} common;

static hd_status read_common(common *c, const cli_args *a, hd_err *err) {
    hd_status s = cli_int(&c->batch, a, "--batch", c->batch, 1, 4096, err);
    if (!s) s = cli_int(&c->seed, a, "--seed", c->seed, 0, INT64_MAX, err);
    if (!s) s = cli_int(&c->written, a, "--written", c->written, 0, 1000000, err);
    if (!s) s = cli_float(&c->rate, a, "--rate", c->rate, 1e-7, 1, err);
    if (!s) s = cli_float(&c->share, a, "--share", c->share, 0, 1, err);
    if (!s) s = cli_float(&c->temperature, a, "--temperature", c->temperature, 0.1, 100, err);
    return s ? s : cli_float(&c->written_share, a, "--written-share", c->written_share, 0, 1, err);
}

/* ---- heddle tune ---- */

static hd_status tune_options(hd_llama_tune_options *o, job *j, const cli_args *a, hd_err *err) {
    hd_llama_tune_defaults(o);
    const char *teacher = cli_text(a, "--teacher");
    common c = {.batch = o->batch, .seed = (int64_t)o->seed, .written = o->written, .rate = (double)o->rate, .share = (double)o->share,
                .temperature = (double)o->temperature, .written_share = (double)o->written_share};
    double settled;
    hd_status s = cli_masks(&o->masks, a, err);
    if (!s) s = cli_score(&o->score, a, err);
    if (!s) s = cli_float(&settled, a, "--settled", (double)o->settled, 0, 1, err);
    if (!s) s = read_common(&c, a, err);
    if (!s) s = read_steps(&o->steps, a, (uint32_t)j->n, (int)c.batch, err);
    if (!s && teacher && !strcmp(teacher, "mutual")) s = hd_fail(err, HD_USAGE, "tune: --teacher: found 'mutual'; allowed are self, none and a FILE for a language model");
    if (!s && teacher && strcmp(teacher, "self") && strcmp(teacher, "none")) s = cli_llama_load_float(&j->teacher, teacher, err);
    if (s) return s;
    o->settled = (float)settled;
    o->batch = (int)c.batch;
    o->seed = (uint64_t)c.seed;
    o->written = (int)c.written;
    o->rate = (float)c.rate;
    o->share = teacher && !strcmp(teacher, "none") ? 0 : (float)c.share;
    o->temperature = (float)c.temperature;
    o->written_share = (float)c.written_share;
    o->global = cli_flag(a, "--per-layer") ? 0 : o->global;
    o->teacher = j->teacher;
    o->label = "tuning";
    return HD_OK;
}

static hd_status pv_options(hd_pv_options *o, const job *j, const cli_args *a, hd_err *err) {
    static const char *const masks[] = {"--masks", "--score", "--settled", "--per-layer", "--teacher", "--written-share", NULL};
    hd_pv_defaults(o);
    common c = {.batch = o->batch, .seed = (int64_t)o->seed, .written = o->written, .rate = o->rate_codes, .share = o->share, .temperature = o->temperature};
    long steps = o->steps;
    for (int i = 0; masks[i]; i++)
        if (cli_text(a, masks[i])) return hd_fail(err, HD_USAGE, "tune: %s does not go with --method pv", masks[i]);
    hd_status s = read_common(&c, a, err);
    if (!s) s = read_steps(&steps, a, (uint32_t)j->n, (int)c.batch, err);
    if (s) return s;
    o->steps = (int)steps;
    o->batch = (int)c.batch;
    o->seed = (uint64_t)c.seed;
    o->written = (int)c.written;
    o->rate_codes = c.rate;
    o->share = c.share;
    o->temperature = c.temperature;
    o->label = "tuning";
    return HD_OK;
}

static hd_status print_tuned(const cli_args *a, const hd_lm *c, const char *out, const hd_llama_tune_options *o, double loss, double seconds, hd_err *err) {
    if (!a->json) {
        printf("%s: %.3f bits per weight of the blocks in total (scales, shifts and masks included)\n", out, hd_lm_bits_per_weight(c));
        printf("%ld steps of %d rows in %.1f s, loss %.4f\n", o->steps, o->batch, seconds, loss);
        return HD_OK;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "model", a->operand);
    cJSON_AddStringToObject(json, "output", out);
    cJSON_AddNumberToObject(json, "total_bits_per_weight", hd_lm_bits_per_weight(c));
    cJSON_AddNumberToObject(json, "steps", (double)o->steps);
    cJSON_AddNumberToObject(json, "seed", (double)o->seed);
    cJSON_AddNumberToObject(json, "loss", loss);
    cJSON_AddNumberToObject(json, "seconds", seconds);
    return cli_json(json, err);
}

hd_status cli_tune_llama(const cli_args *a, const char *out, hd_err *err) {
    static const char *const others[] = {"--images", "--labels", "--test-images", "--test-labels", "--shift", "--flip", "--decay", "--width", "--rewind", "--limit", NULL};
    hd_policy policy = {0};
    job j = {0};
    hd_lm *oneshot = NULL, *tuned = NULL;
    hd_llama_tune_options o;
    double loss = 0, start = hd_seconds();
    hd_status s = cli_refuse(a, others, 1, err);
    if (!s) s = cli_llama_policy(&policy, a, err);
    if (!s && !policy.base.recipe.pv && policy.base.recipe.coding != HD_CODING_INTEGER)
        s = hd_fail(err, HD_USAGE, "tune: --method: codes are tuned with +pv, as in table:7+pv");
    if (!s && cli_text(a, "--granularity") && policy.base.granularity == HD_GRANULARITY_TENSOR)
        s = hd_fail(err, HD_USAGE, "tune: --granularity: found 'tensor'; allowed are channel and group:N for a language model");
    if (!s && policy.base.structure == HD_SPARSE_CHANNEL && policy.base.sparsity > 0)
        s = hd_fail(err, HD_USAGE, "tune: --structure: found 'channel'; allowed are block, unstructured and N:M for a language model (train --teacher makes a narrower one)");
    if (!s) s = cli_can_write(out, err);
    if (!s) s = cli_llama_load_float(&j.model, a->operand, err);
    if (!s) s = read_rows(&j, a, err);
    hd_pv_options p = {0};
    hd_pv_report report = {0};
    int pv = policy.base.recipe.pv;
    if (!s) s = pv ? pv_options(&p, &j, a, err) : tune_options(&o, &j, a, err);
    if (pv) o = (hd_llama_tune_options){.steps = p.steps, .batch = p.batch, .seed = p.seed};
    if (!s) s = hd_lm_compress_policy(&oneshot, j.model, &policy, j.rows, j.stride, j.n, j.t, "compress", err);
    if (!s && pv) s = hd_pv_tune(&tuned, j.model, oneshot, j.rows, j.stride, j.n, j.t, &p, &report, err);
    if (pv) loss = report.last;
    if (!s && !pv) s = hd_llama_tune(&tuned, oneshot, j.model, j.rows, j.stride, j.n, j.t, &o, &loss, err);
    if (!s) s = hd_lm_measure_reach(tuned, j.rows, j.stride, j.n, j.t, err);
    if (!s) s = hd_lm_save(tuned, out, err);
    if (!s) s = print_tuned(a, tuned, out, &o, loss, hd_seconds() - start, err);
    hd_lm_free(oneshot);
    hd_lm_free(tuned);
    free_job(&j);
    hd_policy_free(&policy);
    return s;
}

/* ---- heddle train ---- */

static hd_status read_shape(hd_llama *sizes, const cli_args *a, hd_err *err) {
    const char *shape;
    int64_t vocab;
    int end = -1;
    hd_status s = cli_need(&shape, a, "--shape", err);
    if (!s && !cli_text(a, "--vocab")) return cli_need(&shape, a, "--vocab", err);
    if (!s) s = cli_int(&vocab, a, "--vocab", 0, HD_TOKEN_EOS + 1, 32767, err);
    if (s) return s;
    if (strlen(shape) > 60 || strspn(shape, "0123456789,") != strlen(shape) ||
        sscanf(shape, "%9d,%9d,%9d,%9d,%9d%n", &sizes->dim, &sizes->hidden, &sizes->layers, &sizes->heads, &sizes->kv_heads, &end) != 5 || shape[end])
        return hd_fail(err, HD_USAGE, "train: --shape: found '%.60s'; allowed is DIM,HIDDEN,LAYERS,HEADS,KV_HEADS, as in 64,172,5,8,4", shape);
    sizes->vocab = (int)vocab;
    return HD_OK;
}

static hd_status train_options(hd_llama_train_options *o, job *j, const cli_args *a, hd_err *err) {
    hd_llama_train_defaults(o);
    const char *teacher = cli_text(a, "--teacher");
    double decay;
    common c = {.batch = o->batch, .seed = (int64_t)o->seed, .rate = (double)o->rate, .share = (double)o->objective.share, .temperature = (double)o->objective.temperature,
                .written_share = (double)o->written_share};
    static const char *const taught[] = {"--share", "--temperature", "--written", "--written-share"};
    for (size_t i = 0; !teacher && i < sizeof taught / sizeof *taught; i++)
        if (cli_text(a, taught[i])) return hd_fail(err, HD_USAGE, "train: %s goes with --teacher", taught[i]);
    hd_status s = read_common(&c, a, err);
    if (!s) s = cli_float(&decay, a, "--decay", (double)o->weight_decay, 0, 1, err);
    if (!s) s = read_steps(&o->steps, a, (uint32_t)j->n, (int)c.batch, err);
    if (!s && teacher) s = cli_llama_load(&j->teacher, teacher, err);
    if (s) return s;
    o->batch = (int)c.batch;
    o->seed = (uint64_t)c.seed;
    o->rate = (float)c.rate;
    o->weight_decay = (float)decay;
    o->objective = (hd_llama_objective){.teacher = j->teacher, .share = (float)c.share, .temperature = (float)c.temperature};
    o->written = (int)c.written;
    o->written_share = (float)c.written_share;
    o->label = "training";
    return HD_OK;
}

static hd_status print_trained(const cli_args *a, const hd_llama *m, const char *out, const hd_llama_train_options *o, double loss, double seconds, hd_err *err) {
    size_t weights = hd_llama_block_weights(m);
    if (!a->json) {
        printf("%s: %zu weights in %d blocks, %ld steps of %d rows in %.1f s, loss %.4f\n", out, weights, m->layers, o->steps, o->batch, seconds, loss);
        return HD_OK;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "output", out);
    cJSON_AddNumberToObject(json, "block_weights", (double)weights);
    cJSON_AddNumberToObject(json, "steps", (double)o->steps);
    cJSON_AddNumberToObject(json, "seed", (double)o->seed);
    cJSON_AddNumberToObject(json, "loss", loss);
    cJSON_AddNumberToObject(json, "seconds", seconds);
    return cli_json(json, err);
}

hd_status cli_train_llama(const cli_args *a, const char *out, hd_err *err) {
    static const char *const others[] = {"--images", "--labels", "--test-images", "--test-labels", "--shift", "--flip", "--width", "--limit", "--threads", NULL};
    hd_llama sizes = {0};
    hd_llama_train_options o;
    job j = {0};
    double loss = 0, start = hd_seconds();
    hd_idx *peek = NULL;
    hd_status s = cli_refuse(a, others, 1, err);
    if (!s) s = read_shape(&sizes, a, err);
    if (!s) s = cli_can_write(out, err);
    /* The longest text that the model takes is what it is trained on. */
    if (!s) s = hd_idx_load(&peek, cli_text(a, "--tokens"), err);
    if (!s) {
        sizes.max_tokens = peek->item > 1 && peek->item <= 32768 ? (int)peek->item - 1 : 1;
        hd_idx_free(peek);
        s = hd_llama_new(&j.model, &sizes, !cli_flag(a, "--untied"), err);
        if (s) hd_fail_in(err, "train: --shape");
    }
    if (!s) s = read_rows(&j, a, err);
    if (!s) s = train_options(&o, &j, a, err);
    if (!s) {
        hd_llama_start(j.model, o.seed);
        s = hd_llama_train(j.model, j.rows, j.stride, j.n, j.t, &o, &loss, err);
    }
    if (!s) s = hd_export_llama2c(j.model, out, err);
    if (!s) s = print_trained(a, j.model, out, &o, loss, hd_seconds() - start, err);
    free_job(&j);
    return s;
}
