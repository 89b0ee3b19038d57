/* Memory of a pass, and its forward half: the same arithmetic in the same order as compiler/graph/llama_run.c, with what the backward half needs kept. */
#include "llama_pass.h"

#include <cblas.h>
#include <stdlib.h>

#include "../../compiler/graph/llama_math.h"

size_t hd_llama_attention_size(int t) {
    size_t sum = 0;
    for (int first = 0; first < t; first += HD_LLAMA_TILE) {
        int rows = t - first < HD_LLAMA_TILE ? t - first : HD_LLAMA_TILE;
        sum += (size_t)rows * (size_t)(first + rows);
    }
    return sum;
}

/* Hands out `n` floats of the memory; without memory it only counts. */
static float *take(const hd_llama_pass *p, size_t *used, size_t n) {
    float *at = p->memory ? p->memory + *used : NULL;
    *used += (n + 15) / 16 * 16;
    return at;
}

static size_t lay_out(hd_llama_pass *p, int backward) {
    const hd_llama *m = &p->sizes;
    size_t t = (size_t)p->t, dim = (size_t)m->dim, head = dim / (size_t)m->heads, kv = head * (size_t)m->kv_heads, hidden = (size_t)m->hidden, used = 0;
    for (int i = 0; i < p->kept; i++) {
        hd_llama_saved *s = &p->saved[i];
        float **const wide[] = {&s->x, &s->middle, &s->normed_attention, &s->normed_ffn, &s->q, &s->heads};
        for (size_t k = 0; k < sizeof wide / sizeof *wide; k++) *wide[k] = take(p, &used, t * dim);
        s->k = take(p, &used, t * kv);
        s->v = take(p, &used, t * kv);
        s->attention = take(p, &used, (size_t)m->heads * hd_llama_attention_size(p->t));
        s->gate = take(p, &used, t * hidden);
        s->up = take(p, &used, t * hidden);
        s->gated = take(p, &used, t * hidden);
    }
    p->rotation = take(p, &used, t * head);
    p->x = take(p, &used, t * dim);
    p->normed = take(p, &used, t * dim);
    p->logits = take(p, &used, HD_LLAMA_TILE * (size_t)m->vocab);
    if (!backward) return used;
    float **const wide[] = {&p->dx, &p->dnormed, &p->dq, &p->dheads};
    for (size_t k = 0; k < sizeof wide / sizeof *wide; k++) *wide[k] = take(p, &used, t * dim);
    p->dk = take(p, &used, t * kv);
    p->dv = take(p, &used, t * kv);
    p->dgate = take(p, &used, t * hidden);
    p->dup = take(p, &used, t * hidden);
    p->dscores = take(p, &used, HD_LLAMA_TILE * t);
    return used;
}

hd_status hd_llama_pass_new(hd_llama_pass *p, const hd_llama *m, int t, int backward, hd_err *err) {
    *p = (hd_llama_pass){.sizes = *m, .t = t, .kept = backward ? m->layers : 1};
    p->saved = calloc((size_t)p->kept, sizeof *p->saved);
    size_t floats = p->saved ? lay_out(p, backward) : 0;
    if (floats) p->memory = malloc(floats * sizeof *p->memory);
    if (!p->memory) {
        hd_llama_pass_free(p);
        return hd_fail(err, HD_NOMEM, "no memory for a sequence of %d tokens (%zu MB)", t, floats * sizeof(float) >> 20);
    }
    lay_out(p, backward);
    int head = m->dim / m->heads;
    for (int i = 0; i < t; i++)
        for (int k = 0; k < head; k += 2) {
            float *at = p->rotation + (size_t)i * (size_t)head + k;
            hd_rotation(at, at + 1, i, k / 2, head);
        }
    return HD_OK;
}

void hd_llama_pass_free(hd_llama_pass *p) {
    free(p->saved);
    free(p->memory);
    *p = (hd_llama_pass){0};
}

/* out[t][rows of W] (+)= in[t][columns] W^T */
static void apply(const hd_llama *m, int layer, int matrix, const float *in, int t, float add, float *out) {
    int rows, columns;
    hd_llama_shape(m, matrix, &rows, &columns);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, t, rows, columns, 1.0f, in, columns, m->layer[layer].matrix[matrix], columns, add, out, rows);
}

static void normalise(const float *weight, const float *x, int t, int dim, float *out) {
    for (int i = 0; i < t; i++) hd_rms_norm(out + (size_t)i * (size_t)dim, x + (size_t)i * (size_t)dim, weight, dim);
}

/* The loops over scores and gates are compiled a second time for AVX2 and chosen when the program starts. Sanitizers cannot run before
 * the choice is made. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

/* Softmax of each row over the keys up to its query, the first of which is `first`; 0 behind. */
WIDE static void soften(float *scores, int rows, int keys, int first) {
    for (int i = 0; i < rows; i++) {
        float *row = scores + (size_t)i * (size_t)keys;
        int seen = first + i + 1;
        hd_softmax(row, seen);
        for (int k = seen; k < keys; k++) row[k] = 0;
    }
}

WIDE static void gate(float *out, const float *x, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = hd_silu(x[i]) * up[i];
}

static void attend(const hd_llama *m, hd_llama_saved *s, int h, int t) {
    int head = m->dim / m->heads, kv = head * m->kv_heads, shared = h / (m->heads / m->kv_heads) * head;
    float scale = 1.0f / sqrtf((float)head), *attention = s->attention + (size_t)h * hd_llama_attention_size(t);
    for (int first = 0; first < t; first += HD_LLAMA_TILE) {
        int rows = t - first < HD_LLAMA_TILE ? t - first : HD_LLAMA_TILE, keys = first + rows;
        size_t at = (size_t)first * (size_t)m->dim + (size_t)(h * head);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, keys, head, scale, s->q + at, m->dim, s->k + shared, kv, 0.0f, attention, keys);
        soften(attention, rows, keys, first);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, head, keys, 1.0f, attention, keys, s->v + shared, kv, 0.0f, s->heads + at, m->dim);
        attention += (size_t)rows * (size_t)keys;
    }
}

static void block(hd_llama_pass *p, const hd_llama *m, int layer) {
    const hd_llama_layer *y = &m->layer[layer];
    hd_llama_saved *s = &p->saved[p->kept > 1 ? layer : 0];
    int t = p->t, dim = m->dim, head = dim / m->heads, kv = head * m->kv_heads;
    size_t stream = (size_t)t * (size_t)dim * sizeof(float);
    memcpy(s->x, p->x, stream);
    normalise(y->norm_attention, p->x, t, dim, s->normed_attention);
    apply(m, layer, HD_LLAMA_Q, s->normed_attention, t, 0.0f, s->q);
    apply(m, layer, HD_LLAMA_K, s->normed_attention, t, 0.0f, s->k);
    apply(m, layer, HD_LLAMA_V, s->normed_attention, t, 0.0f, s->v);
    for (int i = 0; i < t; i++) {
        const float *rotation = p->rotation + (size_t)i * (size_t)head;
        hd_rotate_heads(s->q + (size_t)i * (size_t)dim, rotation, m->heads, head);
        hd_rotate_heads(s->k + (size_t)i * (size_t)kv, rotation, m->kv_heads, head);
    }
    for (int h = 0; h < m->heads; h++) attend(m, s, h, t);
    apply(m, layer, HD_LLAMA_O, s->heads, t, 1.0f, p->x);
    memcpy(s->middle, p->x, stream);
    normalise(y->norm_ffn, p->x, t, dim, s->normed_ffn);
    apply(m, layer, HD_LLAMA_W1, s->normed_ffn, t, 0.0f, s->gate);
    apply(m, layer, HD_LLAMA_W3, s->normed_ffn, t, 0.0f, s->up);
    gate(s->gated, s->gate, s->up, (size_t)t * (size_t)m->hidden);
    apply(m, layer, HD_LLAMA_W2, s->gated, t, 1.0f, p->x);
}

void hd_llama_pass_forward(hd_llama_pass *p, const hd_llama *m, const int16_t *tokens) {
    size_t dim = (size_t)m->dim;
    for (int i = 0; i < p->t; i++) memcpy(p->x + (size_t)i * dim, m->embedding + (size_t)tokens[i] * dim, dim * sizeof *p->x);
    for (int l = 0; l < m->layers; l++) block(p, m, l);
    normalise(m->norm_final, p->x, p->t, m->dim, p->normed);
}

void hd_llama_pass_logits(hd_llama_pass *p, const hd_llama *m, int first, int rows) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, m->vocab, m->dim, 1.0f, p->normed + (size_t)first * (size_t)m->dim, m->dim, m->classifier, m->dim,
                0.0f, p->logits, m->vocab);
}
