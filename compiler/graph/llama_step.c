/* Llama-shape models token by token, with a cache of keys and values; and the choice of the next token. */
#include <cblas.h>
#include <stdlib.h>

#include "llama.h"
#include "llama_math.h"
#include "llama_ranges.h"

struct hd_llama_state {
    const hd_llama *m; /* lent */
    float *keys, *values; /* [layers][max_tokens][kv] */
    float *x, *normed, *q, *heads, *gate, *up, *scores, *rotation, *logits;
    float *coded; /* [max(dim, hidden)] */
};

void hd_llama_state_free(hd_llama_state *s) {
    if (!s) return;
    free(s->keys);
    free(s->values);
    free(s->x);
    free(s->normed);
    free(s->q);
    free(s->heads);
    free(s->gate);
    free(s->up);
    free(s->scores);
    free(s->rotation);
    free(s->logits);
    free(s->coded);
    free(s);
}

hd_status hd_llama_state_new(hd_llama_state **out, const hd_llama *m, hd_err *err) {
    hd_llama_state *s = *out = calloc(1, sizeof *s);
    if (s) {
        size_t dim = (size_t)m->dim, head = dim / (size_t)m->heads, cache = (size_t)m->layers * (size_t)m->max_tokens * head * (size_t)m->kv_heads;
        size_t f = sizeof(float);
        s->m = m;
        s->keys = calloc(cache, f);
        s->values = calloc(cache, f);
        s->x = calloc(dim, f);
        s->normed = calloc(dim, f);
        s->q = calloc(dim, f);
        s->heads = calloc(dim, f);
        s->gate = calloc((size_t)m->hidden, f);
        s->up = calloc((size_t)m->hidden, f);
        s->scores = calloc((size_t)m->max_tokens, f);
        s->rotation = calloc(head, f);
        s->logits = calloc((size_t)m->vocab, f);
        s->coded = calloc(dim > (size_t)m->hidden ? dim : (size_t)m->hidden, f);
        if (s->keys && s->values && s->x && s->normed && s->q && s->heads && s->gate && s->up && s->scores && s->rotation && s->logits && s->coded) {
            openblas_set_num_threads(1);
            return HD_OK;
        }
    }
    hd_llama_state_free(s);
    *out = NULL;
    return hd_fail(err, HD_NOMEM, "no memory for the keys and values of %d tokens", m->max_tokens);
}

static void apply(const hd_llama_state *s, int layer, int matrix, const float *in, float add, float *out) {
    const hd_llama *m = s->m;
    int rows, columns;
    hd_llama_shape(m, matrix, &rows, &columns);
    if (m->codes) {
        hd_llama_code(m->codes, layer, matrix, in, 1, columns, s->coded);
        in = s->coded;
    }
    cblas_sgemv(CblasRowMajor, CblasNoTrans, rows, columns, 1.0f, m->layer[layer].matrix[matrix], columns, in, 1, add, out, 1);
}

/* The head's query against the cached keys 0..at. */
static void attend(hd_llama_state *s, const float *keys, const float *values, int h, int at) {
    const hd_llama *m = s->m;
    int head = m->dim / m->heads, kv = head * m->kv_heads, shared = h / (m->heads / m->kv_heads) * head;
    cblas_sgemv(CblasRowMajor, CblasNoTrans, at + 1, head, 1.0f / sqrtf((float)head), keys + shared, kv, s->q + h * head, 1, 0.0f, s->scores, 1);
    hd_softmax(s->scores, at + 1);
    cblas_sgemv(CblasRowMajor, CblasTrans, at + 1, head, 1.0f, values + shared, kv, s->scores, 1, 0.0f, s->heads + h * head, 1);
}

const float *hd_llama_step(hd_llama_state *s, int token, int at) {
    const hd_llama *m = s->m;
    int head = m->dim / m->heads;
    size_t kv = (size_t)head * (size_t)m->kv_heads;
    memcpy(s->x, m->embedding + (size_t)token * (size_t)m->dim, (size_t)m->dim * sizeof(float));
    for (int p = 0; p < head; p += 2) hd_rotation(s->rotation + p, s->rotation + p + 1, at, p / 2, head);
    for (int l = 0; l < m->layers; l++) {
        float *keys = s->keys + (size_t)l * (size_t)m->max_tokens * kv, *values = s->values + (size_t)l * (size_t)m->max_tokens * kv;
        float *key = keys + (size_t)at * kv;
        hd_rms_norm(s->normed, s->x, m->layer[l].norm_attention, m->dim);
        apply(s, l, HD_LLAMA_Q, s->normed, 0.0f, s->q);
        apply(s, l, HD_LLAMA_K, s->normed, 0.0f, key);
        apply(s, l, HD_LLAMA_V, s->normed, 0.0f, values + (size_t)at * kv);
        hd_rotate_heads(s->q, s->rotation, m->heads, head);
        hd_rotate_heads(key, s->rotation, m->kv_heads, head);
        for (int h = 0; h < m->heads; h++) attend(s, keys, values, h, at);
        apply(s, l, HD_LLAMA_O, s->heads, 1.0f, s->x);
        hd_rms_norm(s->normed, s->x, m->layer[l].norm_ffn, m->dim);
        apply(s, l, HD_LLAMA_W1, s->normed, 0.0f, s->gate);
        apply(s, l, HD_LLAMA_W3, s->normed, 0.0f, s->up);
        for (int i = 0; i < m->hidden; i++) s->gate[i] = hd_silu(s->gate[i]) * s->up[i];
        apply(s, l, HD_LLAMA_W2, s->gate, 1.0f, s->x);
    }
    hd_rms_norm(s->normed, s->x, m->norm_final, m->dim);
    cblas_sgemv(CblasRowMajor, CblasNoTrans, m->vocab, m->dim, 1.0f, m->classifier, m->dim, s->normed, 1, 0.0f, s->logits, 1);
    return s->logits;
}

static int largest(const float *x, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

int hd_llama_sample(const float *logits, int vocab, double temperature, double top_p, hd_rng *rng) {
    int top = largest(logits, vocab);
    if (temperature <= 0) return top;
    /* Weights relative to the largest: no overflow, and their sum is at least 1. */
    double sum = 0, kept = 0, bound = INFINITY;
    for (int i = 0; i < vocab; i++) sum += exp(((double)logits[i] - (double)logits[top]) / temperature);
    if (top_p >= 1) {
        bound = -INFINITY;
        kept = sum;
    }
    while (top_p < 1 && kept < top_p * sum) {
        /* The next smaller logit and all that equal it; few rounds, because the likeliest tokens hold most of the sum. */
        double next = -INFINITY;
        int equal = 0;
        for (int i = 0; i < vocab; i++) {
            double v = (double)logits[i];
            if (v >= bound || v < next) continue;
            equal = v > next ? 1 : equal + 1;
            next = v;
        }
        if (!equal) break;
        bound = next;
        kept += equal * exp((next - (double)logits[top]) / temperature);
    }
    if (bound > (double)logits[top]) return top; /* top_p is 0 */
    double at = (double)hd_rng_float(rng) * kept;
    int last = top;
    for (int i = 0; i < vocab; i++) {
        if ((double)logits[i] < bound) continue;
        at -= exp(((double)logits[i] - (double)logits[top]) / temperature);
        last = i;
        if (at < 0) break;
    }
    return last;
}
