/* heddle eval: accuracy of a float or a compressed model; cross-entropy of a language model. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/graph/llama_ranges.h"
#include "../core/progress.h"
#include "../explore/accuracy.h"
#include "../explore/dataset.h"
#include "../train/train.h"
#include "cli.h"
#include "language_device.h"
#include "parts.h"

static const cli_option options[] = {
    {"--images", "X.idx", "idx or idx.gz of u8, i8 or float (the test images of Debian's Fashion-MNIST)"},
    {"--labels", "Y.idx", "the right classes, bytes"},
    {"--count", "N", "only the first N, 0 = all (0)"},
    {"--raw", NULL, "take bytes as they are; else they are divided by 255"},
    {"--codes", "SCALE:ZERO", "i8 items stand for SCALE * (item - ZERO), as in 0.5847:83 (of an .hdm they are the input's codes anyway)"},
    {"--hwc", NULL, "items are [height][width][channel], as TFLite has them; else [channel][height][width]"},
    {"--tokens", "X.idx", "MODEL is a language model: cross-entropy of these rows of tokens (int16)"},
    {"--rows", "FIRST:COUNT", "only these rows of --tokens (all)"},
    {"--activations", "B", "what a language model's block matrices read is rounded to B bits, 4..8 (float)"},
    {"--ranges", "R", "of these codes: dynamic (a scale a token) or static[:N] (calibrated on N rows that are not evaluated; 32) (dynamic)"},
    CLI_LANGUAGE_OPTIONS,
    {"--outliers", "T", "columns with a magnitude above T stay float; 0 = none do (0)"},
    {NULL, NULL, NULL},
};

static hd_status eval_float(double *accuracy, const hd_graph *g, const hd_idx *images, const hd_idx *labels, int64_t count, int raw, hd_err *err) {
    hd_idx *plain = NULL;
    hd_status s = raw ? hd_idx_plain(&plain, images, err) : HD_OK;
    if (!s) s = hd_accuracy(g, plain ? plain : images, labels, (int)count, accuracy, err);
    if (plain) hd_idx_free(plain);
    return s;
}

static hd_status eval_data(const cli_args *a, const cli_model *m, const char *x, const char *y, int64_t count, hd_err *err) {
    hd_idx *images = NULL, *labels = NULL;
    hd_status s;
    if (x) {
        s = hd_idx_load(&images, x, err);
        if (!s) s = hd_idx_load(&labels, y, err);
    } else {
        s = hd_fashion_mnist(&images, &labels, 1, err);
        x = "test images";
        y = "test labels";
    }
    double accuracy = 0, start = hd_seconds();
    int raw = cli_flag(a, "--raw");
    if (!s && m->graph) {
        const hd_graph *g = m->graph;
        size_t classes = hd_shape_size(g->tensor[g->output].shape);
        hd_shape in = g->tensor[g->input].shape;
        s = hd_dataset_check(images, labels, x, y, hd_shape_size(in), (uint32_t)classes, err);
        if (!s) s = cli_hwc(a, images, x, in.c, in.h, in.w, err);
        if (!s) s = cli_codes(a, &images, x, NULL, err);
        if (!s) s = eval_float(&accuracy, g, images, labels, count, raw, err);
    } else if (!s) {
        const hd_qtensor *in = &m->model->tensor[m->model->input], *out = &m->model->tensor[m->model->output];
        s = hd_dataset_check(images, labels, x, y, (size_t)in->h * (size_t)in->w * (size_t)in->c, (uint32_t)(out->h * out->w * out->c), err);
        if (!s) s = cli_hwc(a, images, x, in->c, in->h, in->w, err);
        if (!s) s = cli_codes(a, &images, x, NULL, err);
        if (!s) s = hd_model_accuracy(m->model, images, labels, (uint32_t)count, !raw, &accuracy, err);
    }
    if (!s) {
        uint32_t used = count && (uint32_t)count < images->dim[0] ? (uint32_t)count : images->dim[0];
        const char *executor = m->graph ? "float" : "integer";
        if (a->json) {
            cJSON *o = cJSON_CreateObject();
            cJSON_AddStringToObject(o, "model", a->operand);
            cJSON_AddStringToObject(o, "executor", executor);
            cJSON_AddNumberToObject(o, "accuracy", accuracy);
            cJSON_AddNumberToObject(o, "count", used);
            cJSON_AddNumberToObject(o, "seconds", hd_seconds() - start);
            s = cli_json(o, err);
        } else {
            printf("%s: accuracy %.2f%% over %u images (%s executor, %.1f s)\n", a->operand, 100 * accuracy, used, executor, hd_seconds() - start);
        }
    }
    if (images) hd_idx_free(images);
    if (labels) hd_idx_free(labels);
    return s;
}

/* How activations are rounded; codes stay NULL without --activations. */
typedef struct coding {
    int64_t bits, rows; /* rows: calibrated on, 0 = dynamic */
    double outliers;
    hd_llama_codes *codes;
} coding;

static hd_status read_coding(coding *c, const cli_args *a, hd_err *err) {
    const char *ranges = cli_text(a, "--ranges");
    char *end;
    *c = (coding){0};
    hd_status s = cli_int(&c->bits, a, "--activations", 0, 4, 8, err);
    if (!s) s = cli_float(&c->outliers, a, "--outliers", 0, 0, 1e6, err);
    if (!s && !c->bits && (ranges || cli_text(a, "--outliers"))) return hd_fail(err, HD_USAGE, "eval: --ranges and --outliers go with --activations");
    if (s || !ranges || !strcmp(ranges, "dynamic")) return s;
    c->rows = 32;
    if (!strncmp(ranges, "static:", 7) && ranges[7] >= '1' && ranges[7] <= '9') c->rows = strtol(ranges + 7, &end, 10);
    else if (!strcmp(ranges, "static")) return HD_OK;
    else c->rows = 0;
    if (c->rows < 1 || c->rows > 1 << 24 || *end) return hd_fail(err, HD_USAGE, "eval: --ranges: found '%.60s'; allowed are dynamic and static[:N], N rows, as in static:32", ranges);
    return HD_OK;
}

/* Calibration takes the first rows that are not evaluated, so those before the evaluated ones or those behind, whichever are enough. */
static hd_status make_codes(coding *c, hd_llama *m, const hd_idx *idx, const char *path, uint32_t first, uint32_t count, hd_err *err) {
    if (!c->bits) return HD_OK;
    hd_status s = hd_llama_codes_new(&c->codes, m, (int)c->bits, (float)c->outliers, err);
    if (!s && c->rows) {
        uint32_t behind = idx->dim[0] - first - count, from = (int64_t)first >= c->rows ? 0 : first + count;
        if ((int64_t)first < c->rows && (int64_t)behind < c->rows)
            return hd_fail(err, HD_USAGE, "eval: --ranges: %lld rows to calibrate on; %s has %u before and %u behind the evaluated ones (--rows)", (long long)c->rows, path, first, behind);
        s = hd_llama_codes_fix(c->codes, m, (const int16_t *)idx->data + from * idx->item, (int)idx->item, (int)c->rows, (int)idx->item - 1, err);
    }
    if (!s) m->codes = c->codes;
    return s;
}

static hd_status print_tokens(const cli_args *a, const coding *c, double nats, uint32_t rows, size_t tokens, double seconds, hd_err *err) {
    if (!a->json) {
        if (c->bits) printf("activations of %lld bits, %s ranges\n", (long long)c->bits, c->rows ? "static" : "dynamic");
        printf("%s: cross-entropy %.4f nats a token over %u rows of %zu tokens (perplexity %.3f, %.1f s)\n", a->operand, nats, rows, tokens, exp(nats), seconds);
        return HD_OK;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "model", a->operand);
    cJSON_AddNumberToObject(o, "cross_entropy", nats);
    cJSON_AddNumberToObject(o, "perplexity", exp(nats));
    cJSON_AddNumberToObject(o, "rows", rows);
    cJSON_AddNumberToObject(o, "tokens_per_row", (double)tokens);
    if (c->bits) {
        cJSON_AddNumberToObject(o, "activation_bits", (double)c->bits);
        cJSON_AddStringToObject(o, "activation_ranges", c->rows ? "static" : "dynamic");
        cJSON_AddNumberToObject(o, "outlier_threshold", c->outliers);
    }
    cJSON_AddNumberToObject(o, "seconds", seconds);
    return cli_json(o, err);
}

enum { STEP_TOKENS = 64 }; /* that a device takes at once */

static hd_status eval_rows(int64_t *nats, cli_device_model *d, hd_lm_state *state, const int16_t *row, int stride, uint32_t n, int t, hd_err *err) {
    hd_progress progress;
    hd_status s = HD_OK;
    hd_progress_start(&progress, "evaluating", n);
    for (uint32_t i = 0; !s && i < n; i++) {
        int64_t more;
        s = hd_lm_row_nats(state, row + (size_t)i * (size_t)stride, t, &more, err);
        for (int at = 0; !s && at < t; at += STEP_TOKENS) s = cli_device_account(d, t - at < STEP_TOKENS ? t - at : STEP_TOKENS, t - at < STEP_TOKENS ? t - at : STEP_TOKENS, err);
        if (!s) *nats += more;
        hd_progress_show(&progress, i + 1, NULL);
    }
    hd_progress_end(&progress);
    return s;
}

static hd_status print_device(const cli_args *a, const cli_device_model *d, int64_t nats, uint32_t rows, size_t tokens, double seconds, hd_err *err) {
    double mean = (double)nats / 1073741824.0 / ((double)rows * (double)tokens); /* 30 fraction bits */
    if (!a->json) {
        printf("%s: cross-entropy %.4f nats a token over %u rows of %zu tokens (perplexity %.3f, integers, %.1f s)\n", a->operand, mean, rows, tokens, exp(mean), seconds);
        return cli_device_print(stdout, d, a, 0, err);
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "model", a->operand);
    cJSON_AddNumberToObject(o, "cross_entropy", mean);
    cJSON_AddNumberToObject(o, "nats_30", (double)nats);
    cJSON_AddNumberToObject(o, "perplexity", exp(mean));
    cJSON_AddNumberToObject(o, "rows", rows);
    cJSON_AddNumberToObject(o, "tokens_per_row", (double)tokens);
    cJSON_AddNumberToObject(o, "seconds", seconds);
    hd_status s = cli_device_json(o, d, a, 0, err);
    if (!s) return cli_json(o, err);
    cJSON_Delete(o);
    return s;
}

static hd_status eval_device(const cli_args *a, const char *path, hd_err *err) {
    cli_device_model d = {0};
    hd_lm_state *state = NULL;
    hd_idx *idx = NULL;
    uint32_t first, count;
    int64_t nats = 0;
    double start = hd_seconds();
    hd_status s = cli_text(a, "--activations") ? hd_fail(err, HD_USAGE, "eval: --device and --activations do not go together") : HD_OK;
    if (!s) s = cli_device_open(&d, a, STEP_TOKENS, err);
    if (!s) s = cli_tokens_load(&idx, path, d.lm->model, err);
    if (!s) s = cli_rows(&first, &count, a, path, idx->dim[0], err);
    if (!s) s = hd_lm_state_new(&state, d.integer, STEP_TOKENS < d.integer->max_tokens ? STEP_TOKENS : d.integer->max_tokens, cli_device_project, &d, err);
    if (!s) s = eval_rows(&nats, &d, state, (const int16_t *)idx->data + first * idx->item, (int)idx->item, count, (int)idx->item - 1, err);
    if (!s) s = print_device(a, &d, nats, count, idx->item - 1, hd_seconds() - start, err);
    if (idx) hd_idx_free(idx);
    hd_lm_state_free(state);
    cli_device_close(&d);
    return s;
}

static hd_status eval_tokens(const cli_args *a, const char *path, hd_err *err) {
    static const char *const others[] = {"--images", "--labels", "--count", "--raw", "--hwc"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (cli_text(a, others[i])) return hd_fail(err, HD_USAGE, "eval: --tokens and %s do not go together", others[i]);
    if (cli_text(a, "--device")) return eval_device(a, path, err);
    hd_llama *m = NULL;
    hd_idx *idx = NULL;
    uint32_t first, count;
    double nats = 0, start = hd_seconds();
    coding c = {0};
    hd_status s = cli_device_refuse(a, err);
    if (!s) s = read_coding(&c, a, err);
    if (!s) s = cli_llama_load(&m, a->operand, err);
    if (!s) s = cli_tokens_load(&idx, path, m, err);
    if (!s) s = cli_rows(&first, &count, a, path, idx->dim[0], err);
    if (!s) s = make_codes(&c, m, idx, path, first, count, err);
    if (!s && hd_llama_cross_entropy(m, (const int16_t *)idx->data + first * idx->item, (int)count, (int)idx->item - 1, &nats, err))
        s = hd_fail_in(err, path);
    if (!s) s = print_tokens(a, &c, nats, count, idx->item - 1, hd_seconds() - start, err);
    if (idx) hd_idx_free(idx);
    hd_llama_codes_free(c.codes);
    hd_llama_free(m);
    return s;
}

static hd_status run(const cli_args *a, hd_err *err) {
    const char *x = cli_text(a, "--images"), *y = cli_text(a, "--labels");
    int64_t count;
    if (cli_text(a, "--tokens")) return eval_tokens(a, cli_text(a, "--tokens"), err);
    static const char *const tokens_only[] = {"--rows", "--device", "--geometry", "--board", "--memory", "--clock", "--link", "--activations", "--ranges", "--outliers"};
    for (size_t i = 0; i < sizeof tokens_only / sizeof *tokens_only; i++)
        if (cli_text(a, tokens_only[i])) return hd_fail(err, HD_USAGE, "eval: %s goes with --tokens", tokens_only[i]);
    if (!x != !y) return hd_fail(err, HD_USAGE, "eval: --images and --labels go together");
    uint32_t magic = 0;
    hd_err none;
    if (!cli_file_magic(&magic, a->operand, &none) && magic == (uint32_t)HD_HPM_MAGIC) return cli_parts_eval(a, err);
    hd_status s = cli_int(&count, a, "--count", 0, 0, 1 << 30, err);
    cli_model m = {0};
    if (!s) s = cli_model_load(&m, a->operand, err);
    if (!s) s = eval_data(a, &m, x, y, count, err);
    cli_model_free(&m);
    return s;
}

const cli_command cli_eval = {
    .name = "eval",
    .summary = "accuracy of a model (.hdm, .onnx or default); cross-entropy of a language model",
    .operand = "MODEL",
    .about = "Runs MODEL over labelled inputs and prints the share of right answers: an .hdm on the integer executor, whose bytes are those of "
             "every device; a float network in floats; a network in parts on integers and host. With --tokens it prints the cross-entropy of a "
             "language model in nats a token, with --device with every matrix on that device.",
    .examples = "heddle eval net.hdm --images t10k-images-idx3-ubyte.gz --labels t10k-labels-idx1-ubyte.gz\n"
                "heddle eval net.onnx --images x.idx --labels y.idx --count 1000\n"
                "heddle eval model.hlm --tokens text.idx --rows 89:90 --device ref",
    .surroundings = CLI_CACHE | CLI_SOURCE | CLI_DATASET | CLI_THREADS | CLI_IDX | CLI_HDM | CLI_HLM,
    .see = "compress, run, generate, docs/language.md",
    .options = options,
    .run = run,
};
