/* How far each output of a language model's matrices goes: for each channel the largest |output| of a token whose largest |input| is 1. The array's multipliers put
 * that on the largest code. Codes of inputs have a scale for each token (hd_fixed_codes), so that only this ratio counts, which a token's loudness does not change. */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../graph/llama_math.h"
#include "../graph/llama_ranges.h"
#include "lm_integer.h"

enum { CHUNK = 256 };

static hd_status product_reach(float *reach, const float *w, int out, int in, const float *x, size_t rows, hd_err *err) {
    float *y = malloc((size_t)CHUNK * (size_t)out * sizeof *y);
    if (!y) return hd_fail(err, HD_NOMEM, "no memory for %d outputs of %d tokens", out, CHUNK);
    openblas_set_num_threads(1);
    for (size_t at = 0; at < rows; at += CHUNK) {
        int n = rows - at < CHUNK ? (int)(rows - at) : CHUNK;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, out, in, 1.0f, x + at * (size_t)in, in, w, in, 0.0f, y, out);
        for (int i = 0; i < n; i++) {
            float most = 0;
            for (int k = 0; k < in; k++) most = fmaxf(most, fabsf(x[(at + (size_t)i) * (size_t)in + (size_t)k]));
            for (int o = 0; o < out && most > 0; o++) reach[o] = fmaxf(reach[o], fabsf(y[(size_t)i * (size_t)out + (size_t)o]) / most);
        }
    }
    free(y);
    return HD_OK;
}

typedef struct measure {
    const hd_llama *m;
    float *reach;
} measure;

static float *reach_of(const hd_llama *m, float *reach, int layer, int matrix) {
    for (int l = 0; l <= layer; l++)
        for (int k = 0; k < (l < layer ? HD_LLAMA_MATRICES : matrix); k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            reach += out;
        }
    return reach;
}

static hd_status visit(void *arg, int layer, hd_llama_part part, const float *x, size_t rows, hd_err *err) {
    const measure *w = arg;
    int matrix[3], n = hd_llama_part_matrices(part, matrix);
    hd_status s = HD_OK;
    for (int i = 0; !s && i < n; i++) {
        int out, in;
        hd_llama_shape(w->m, matrix[i], &out, &in);
        s = product_reach(reach_of(w->m, w->reach, layer, matrix[i]), w->m->layer[layer].matrix[matrix[i]], out, in, x, rows, err);
    }
    return s;
}

/* The classifier's input is the residual stream after the last block, which the visitor does not show. */
static hd_status measure_classifier(const hd_llama *m, float *reach, const int16_t *tokens, int stride, int n, int t, hd_err *err) {
    size_t rows = (size_t)n * (size_t)t;
    float *x = malloc(rows * (size_t)m->dim * sizeof *x);
    hd_status s = x ? hd_llama_embed(m, tokens, stride, n, t, x, err) : hd_fail(err, HD_NOMEM, "no memory for the activations of %d x %d tokens", n, t);
    for (int l = 0; !s && l < m->layers; l++) s = hd_llama_block(m, l, x, n, t, err);
    for (size_t i = 0; !s && i < rows; i++) hd_rms_norm(x + i * (size_t)m->dim, x + i * (size_t)m->dim, m->norm_final, m->dim);
    if (!s) s = product_reach(reach, m->classifier, m->vocab, m->dim, x, rows, err);
    free(x);
    return s;
}

hd_status hd_lm_measure_reach(hd_lm *c, const int16_t *tokens, int stride, int n, int t, hd_err *err) {
    size_t size = hd_lm_reach_size(c->model);
    measure w = {.m = c->model, .reach = calloc(size, sizeof *w.reach)};
    hd_status s = w.reach ? hd_llama_visit(c->model, tokens, stride, n, t, visit, &w, err) : hd_fail(err, HD_NOMEM, "no memory for the ranges of %zu channels", size);
    if (!s) s = measure_classifier(c->model, w.reach + size - (size_t)c->model->vocab, tokens, stride, n, t, err);
    if (s) {
        free(w.reach);
        return s;
    }
    for (size_t i = 0; i < size; i++) w.reach[i] = (float)hd_half((double)w.reach[i]); /* as a file keeps them */
    free(c->reach);
    c->reach = w.reach;
    return HD_OK;
}
