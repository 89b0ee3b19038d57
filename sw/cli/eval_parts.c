/* heddle eval of a compressed network in parts: the integer executor for the array's parts, the host executor for the rest. */
#include <stdio.h>
#include <stdlib.h>

#include "../core/progress.h"
#include "../explore/dataset.h"
#include "parts.h"

typedef struct evaluation {
    hd_parts *p;
    hd_integer **part; /* [part], of array parts */
} evaluation;

static hd_status run_array(void *context, int k, const hd_nd *in, hd_nd *out, hd_err *err) {
    evaluation *e = context;
    const hd_model *m = e->p->part[k].model;
    int8_t *codes = malloc(in->count + 1);
    if (!codes) return hd_fail(err, HD_NOMEM, "out of memory");
    hd_parts_encode(codes, in, &m->tensor[m->input]);
    hd_integer_run(e->part[k], codes);
    free(codes);
    return hd_parts_decode(out, hd_integer_tensor(e->part[k], m->output), &m->tensor[m->output], &e->p->value[e->p->part[k].out[0]], err);
}

/* The position of the first largest element of the network's first output. */
static hd_status classify(evaluation *e, const cli_args *a, const hd_idx *x, uint32_t n, size_t *best, size_t *classes, hd_err *err) {
    hd_nd in = {0}, v = {0}, *out = calloc((size_t)e->p->n_outputs + 1, sizeof *out);
    hd_status s = out ? cli_parts_item(&in, a, e->p, x, n, err) : hd_fail(err, HD_NOMEM, "out of memory");
    if (!s) s = hd_parts_run(e->p, &in, out, run_array, e, err);
    if (!s) s = hd_nd_cast(&v, &out[0], HD_TYPE_F32, err);
    *best = 0;
    *classes = v.count;
    for (size_t k = 1; !s && k < v.count; k++)
        if (((float *)v.data)[k] > ((float *)v.data)[*best]) *best = k;
    hd_nd_free(&v);
    hd_nd_free(&in);
    for (int k = 0; out && k < e->p->n_outputs; k++) hd_nd_free(&out[k]);
    free(out);
    return s;
}

static hd_status evaluate(evaluation *e, const cli_args *a, const hd_idx *x, const hd_idx *y, uint32_t count, hd_err *err) {
    hd_status s = HD_OK;
    uint32_t right = 0;
    double start = hd_seconds();
    hd_progress progress;
    for (int k = 0; !s && k < e->p->n_parts; k++)
        if (e->p->part[k].kind == HD_PART_ARRAY) s = hd_integer_new(&e->part[k], e->p->part[k].model, err);
    hd_progress_start(&progress, "evaluating", count);
    for (uint32_t n = 0; !s && n < count; n++) {
        size_t best, classes;
        s = classify(e, a, x, n, &best, &classes, err);
        uint8_t label = ((const uint8_t *)y->data)[n];
        if (!s && label >= classes) s = hd_fail(err, HD_RANGE, "label %u of input %u; the network has %zu classes", label, n, classes);
        right += !s && best == label;
        if (!s && hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
        hd_progress_show(&progress, n + 1, NULL);
    }
    hd_progress_end(&progress);
    if (s) return s;
    double accuracy = count ? (double)right / count : 0;
    if (!a->json) {
        printf("%s: accuracy %.2f%% over %u images (integer executor and host, %.1f s)\n", a->operand, 100 * accuracy, count, hd_seconds() - start);
        return HD_OK;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "model", a->operand);
    cJSON_AddStringToObject(o, "executor", "integer and host");
    cJSON_AddNumberToObject(o, "accuracy", accuracy);
    cJSON_AddNumberToObject(o, "count", count);
    cJSON_AddNumberToObject(o, "seconds", hd_seconds() - start);
    return cli_json(o, err);
}

hd_status cli_parts_eval(const cli_args *a, hd_err *err) {
    const char *images, *labels;
    hd_idx *x = NULL, *y = NULL;
    int64_t count = 0;
    evaluation e = {0};
    hd_status s = cli_need(&images, a, "--images", err);
    if (!s) s = cli_need(&labels, a, "--labels", err);
    if (!s) s = cli_int(&count, a, "--count", 0, 0, 1 << 30, err);
    if (!s) s = hd_parts_load(&e.p, 0, a->operand, err);
    if (!s) s = hd_idx_load(&x, images, err);
    if (!s) s = hd_idx_load(&y, labels, err);
    if (!s) s = hd_dataset_check(x, y, images, labels, x->item, 256, err);
    if (!s && e.p->n_inputs == 1 && e.p->value[e.p->input[0]].rank == 4) {
        const int64_t *d = e.p->value[e.p->input[0]].dim;
        s = cli_hwc(a, x, images, (int)d[1], (int)d[2], (int)d[3], err);
    }
    if (!s) s = cli_codes(a, &x, images, NULL, err);
    if (!s && !(e.part = calloc((size_t)e.p->n_parts + 1, sizeof *e.part))) s = hd_fail(err, HD_NOMEM, "out of memory");
    if (!s) s = evaluate(&e, a, x, y, count && count < x->dim[0] ? (uint32_t)count : x->dim[0], err);
    for (int k = 0; e.part && k < e.p->n_parts; k++)
        if (e.part[k]) hd_integer_free(e.part[k]);
    free(e.part);
    hd_parts_free(e.p);
    if (x) hd_idx_free(x);
    if (y) hd_idx_free(y);
    return s;
}
