/* Language models on the command line: loading them and their tokens, and `heddle compress` on them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/auto_lm.h"
#include "../../compiler/compress/lm_integer.h"
#include "../../compiler/compress/lm_policy.h"
#include "../core/progress.h"
#include "cli.h"

hd_status cli_llama_load(hd_llama **out, const char *path, hd_err *err) {
    uint32_t magic;
    *out = NULL;
    hd_status s = cli_file_magic(&magic, path, err);
    if (!s && magic == CLI_GGUF_MAGIC) return hd_import_gguf(out, path, err);
    size_t length = strlen(path), ending = strlen(".safetensors"); /* the format has no number to know it by */
    if (!s && length > ending && !strcmp(path + length - ending, ".safetensors")) return hd_import_safetensors(out, path, err);
    if (s || magic != (uint32_t)HD_HLM_MAGIC) return s ? s : hd_import_llama2c(out, path, err);
    hd_lm *c;
    s = hd_lm_load(&c, path, err);
    if (s) return s;
    *out = hd_llama_clone(c->model);
    hd_lm_free(c);
    return *out ? HD_OK : hd_fail(err, HD_NOMEM, "%s: no memory for its weights", path);
}

hd_status cli_llama_load_float(hd_llama **out, const char *path, hd_err *err) {
    uint32_t magic;
    hd_status s = cli_file_magic(&magic, path, err);
    if (!s && magic == (uint32_t)HD_HLM_MAGIC) s = hd_fail(err, HD_FORMAT, "%s: compressed already; allowed are a llama2.c checkpoint and a GGUF file", path);
    return s ? s : cli_llama_load(out, path, err);
}

hd_status cli_tokens_load(hd_idx **out, const char *path, const hd_llama *m, hd_err *err) {
    hd_status s = hd_idx_load(out, path, err);
    if (s) return s;
    const hd_idx *x = *out;
    if (x->type != HD_IDX_I16 || x->rank != 2 || x->item < 2)
        s = hd_fail(err, HD_FORMAT, "%s: idx type %d, rank %d, %zu values an item; tokens are int16 (type 11) of rank 2, 2 or more a row", path, (int)x->type, x->rank,
                    x->item);
    else if (x->item - 1 > (size_t)m->max_tokens)
        s = hd_fail(err, HD_MISMATCH, "%s: rows of %zu tokens; the model takes %d and one to predict", path, x->item, m->max_tokens);
    const int16_t *token = x->data;
    for (size_t i = 0, n = s ? 0 : (size_t)x->dim[0] * x->item; i < n && !s; i++)
        if (token[i] < 0 || token[i] >= m->vocab)
            s = hd_fail(err, HD_RANGE, "%s: row %zu, token %zu is %d; the vocabulary has 0 to %d", path, i / x->item, i % x->item, token[i], m->vocab - 1);
    if (s) {
        hd_idx_free(*out);
        *out = NULL;
    }
    return s;
}

hd_status cli_rows(uint32_t *first, uint32_t *count, const cli_args *a, const char *path, uint32_t rows, hd_err *err) {
    const char *text = cli_text(a, "--rows"), *name = a->command->name;
    unsigned from, n;
    int end = -1;
    *first = 0;
    *count = rows;
    if (!text) return HD_OK;
    if (strspn(text, "0123456789:") != strlen(text) || strlen(text) > 20 || sscanf(text, "%9u:%9u%n", &from, &n, &end) != 2 || text[end])
        return hd_fail(err, HD_USAGE, "%s: --rows: found '%.60s'; allowed is FIRST:COUNT, as in 89:90", name, text);
    if (n < 1 || from >= rows || n > rows - from) return hd_fail(err, HD_USAGE, "%s: --rows: found '%s'; %s has %u rows", name, text, path, rows);
    *first = from;
    *count = n;
    return HD_OK;
}

hd_status cli_llama_policy(hd_policy *p, const cli_args *a, hd_err *err) {
    hd_status s = cli_policy(p, a, err);
    if (s || cli_text(a, "--policy")) return s;
    if (p->base.recipe.coding != HD_CODING_INTEGER) {
        static const char *const integers[] = {"--weights", "--grid", "--granularity", "--sparsity", "--structure", "--block"};
        for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
            if (cli_text(a, integers[i])) return hd_fail(err, HD_USAGE, "%s: %s goes with integers; weights that are coded have --method NAME:BITS and --code-group", a->command->name, integers[i]);
    } else if (cli_text(a, "--code-group"))
        return hd_fail(err, HD_USAGE, "%s: --code-group goes with --method table, additive or trellis", a->command->name);
    if (!cli_text(a, "--method")) p->base.recipe.solver = HD_METHOD_GPTQ;
    if (!cli_text(a, "--structure") && !cli_text(a, "--block")) p->base.structure = HD_SPARSE_UNSTRUCTURED;
    return s;
}

static hd_status print_result(const cli_args *a, const hd_lm *c, const hd_auto_lm *chosen, const char *out, double seconds, hd_err *err) {
    static const char loss[] = "cross-entropy of the rows held out, nats";
    const hd_llama *m = c->model;
    if (!a->json) {
        if (chosen) cli_auto_print(&chosen->problem, chosen->result, loss);
        printf("%-12s %9s %8s %15s\n", "matrix", "weights", "bits/w", "relative error");
        for (int i = 0; i < m->layers * HD_LLAMA_MATRICES; i++) {
            const hd_linear_result *r = &c->matrix[i].linear;
            char name[32];
            int rows, columns;
            hd_llama_name(i / HD_LLAMA_MATRICES, i % HD_LLAMA_MATRICES, name, sizeof name);
            hd_llama_shape(m, i % HD_LLAMA_MATRICES, &rows, &columns);
            double n = (double)rows * columns;
            printf("%-12s %9.0f %8.3f %15.5f\n", name, n, r->bits_stored / n, r->reference > 0 ? r->error / r->reference : 0);
        }
        printf("%s: %.3f bits per weight of the blocks in total (scales, shifts and masks included), %.1f s\n", out, hd_lm_bits_per_weight(c), seconds);
        return HD_OK;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "model", a->operand);
    cJSON_AddStringToObject(o, "output", out);
    cJSON_AddNumberToObject(o, "total_bits_per_weight", hd_lm_bits_per_weight(c));
    cJSON_AddNumberToObject(o, "dense_weights", (double)hd_llama_block_weights(m));
    cJSON_AddNumberToObject(o, "seconds", seconds);
    cJSON *list = cJSON_AddArrayToObject(o, "layers");
    for (int i = 0; i < m->layers * HD_LLAMA_MATRICES; i++) {
        const hd_linear_result *r = &c->matrix[i].linear;
        char name[32];
        int rows, columns;
        hd_llama_name(i / HD_LLAMA_MATRICES, i % HD_LLAMA_MATRICES, name, sizeof name);
        hd_llama_shape(m, i % HD_LLAMA_MATRICES, &rows, &columns);
        cJSON *e = cJSON_CreateObject();
        cJSON_AddStringToObject(e, "name", name);
        cJSON_AddNumberToObject(e, "weights", (double)rows * columns);
        cJSON_AddNumberToObject(e, "bits_per_weight", r->bits_stored / ((double)rows * columns));
        cJSON_AddNumberToObject(e, "relative_error", r->reference > 0 ? r->error / r->reference : 0);
        cJSON_AddItemToArray(list, e);
    }
    if (chosen) {
        cJSON *why = cli_auto_json(&chosen->problem, chosen->result, loss);
        cJSON_AddNumberToObject(o, "bytes", (double)hd_auto_lm_bytes(c));
        cJSON_AddNumberToObject(why, "float_loss", chosen->float_loss);
        cJSON_AddNumberToObject(why, "calibrated_rows", chosen->calibrated);
        cJSON_AddNumberToObject(why, "judged_rows", chosen->judged);
        cJSON_AddItemToObject(o, "why", why);
    }
    return cli_json(o, err);
}

/* Chooses the policy for a budget, tells why, and writes --policy-out. */
static hd_status choose(hd_auto_lm **out, hd_policy *policy, const cli_args *a, const hd_llama *m, const int16_t *rows, int stride, int n, hd_err *err) {
    uint64_t budget[HD_COSTS];
    int64_t refine = 0;
    hd_auto_lm_options o = {.base = policy->base, .granularity_given = cli_text(a, "--granularity") != NULL};
    hd_status s = cli_budget(budget, a, (double)hd_llama_block_weights(m), err);
    if (!s && cli_text(a, "--grid")) s = hd_fail(err, HD_USAGE, "compress: --grid and a budget do not go together for a language model; formats are of the odd grid");
    if (!s) s = cli_int(&refine, a, "--refine", 24, 0, 100000, err);
    o.budget_bytes = budget[HD_AUTO_BYTES];
    o.refinements = (int)refine;
    if (!s) s = hd_auto_lm_run(out, m, rows, stride, n, stride - 1, &o, err);
    if (s) return s;
    hd_policy_free(policy);
    *policy = (*out)->policy;
    (*out)->policy = (hd_policy){0};
    return HD_OK;
}

hd_status cli_compress_llama(const cli_args *a, const char *tokens, const char *out, hd_err *err) {
    hd_policy policy = {0};
    hd_llama *m = NULL;
    hd_idx *idx = NULL;
    hd_lm *c = NULL;
    hd_auto_lm *chosen = NULL;
    const char *policy_out = cli_text(a, "--policy-out");
    uint32_t first = 0, count = 0;
    double start = hd_seconds();
    static const char *const others[] = {"--calib", "--calib-count", "--raw", "--hwc", "--budget-cycles", "--geometry", "--board", "--memory", "--judge", "--judge-count", NULL};
    hd_status s = cli_refuse(a, others, 1, err);
    if (!s) s = cli_llama_policy(&policy, a, err);
    if (!s && policy.base.recipe.pv) s = hd_fail(err, HD_USAGE, "compress: --method: 'pv' trains; it goes with heddle tune");
    if (!s && !cli_has_budget(a)) s = cli_only_with_budget(a, err);
    if (!s) s = cli_can_write(out, err);
    if (!s && policy_out) s = cli_can_write(policy_out, err);
    if (!s) s = cli_llama_load_float(&m, a->operand, err);
    if (!s) s = cli_tokens_load(&idx, tokens, m, err);
    if (!s) s = cli_rows(&first, &count, a, tokens, idx->dim[0], err);
    const int16_t *rows = s ? NULL : (const int16_t *)idx->data + first * idx->item;
    if (!s && cli_has_budget(a)) s = choose(&chosen, &policy, a, m, rows, (int)idx->item, (int)count, err);
    /* A row's last token is only ever predicted: it is no input. */
    if (!s) s = hd_lm_compress_policy(&c, m, &policy, rows, (int)idx->item, (int)count, (int)idx->item - 1, "compress", err);
    if (!s) s = hd_lm_measure_reach(c, rows, (int)idx->item, (int)count, (int)idx->item - 1, err);
    if (!s) s = hd_lm_save(c, out, err);
    if (!s && policy_out && (s = hd_policy_save(&policy, policy_out, err)) != HD_OK) remove(out);
    if (!s) s = print_result(a, c, chosen, out, hd_seconds() - start, err);
    hd_lm_free(c);
    hd_auto_lm_free(chosen);
    if (idx) hd_idx_free(idx);
    hd_llama_free(m);
    hd_policy_free(&policy);
    return s;
}
