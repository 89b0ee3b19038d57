/* Llama-shape models: sizes, memory, names. */
#include "llama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static hd_status check_size(const char *what, int found, int most, hd_err *err) {
    if (found >= 1 && found <= most) return HD_OK;
    return hd_fail(err, HD_RANGE, "%s is %d; allowed 1 to %d", what, found, most);
}

hd_status hd_llama_check(const hd_llama *m, hd_err *err) {
    const struct {
        const char *what;
        int found, most;
    } size[] = {{"dim", m->dim, 1 << 16},     {"hidden", m->hidden, 1 << 18},     {"layers", m->layers, 1 << 10},        {"heads", m->heads, 1 << 12},
                {"kv_heads", m->kv_heads, 1 << 12}, {"vocabulary", m->vocab, 32767}, {"max_tokens", m->max_tokens, 32767}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        hd_status s = check_size(size[i].what, size[i].found, size[i].most, err);
        if (s) return s;
    }
    if (m->dim % m->heads || m->dim / m->heads % 2)
        return hd_fail(err, HD_RANGE, "dim %d, %d heads; a head needs an even number of whole elements", m->dim, m->heads);
    if (m->heads % m->kv_heads) return hd_fail(err, HD_RANGE, "%d heads, %d kv_heads; the first must be a multiple of the second", m->heads, m->kv_heads);
    return HD_OK;
}

void hd_llama_shape(const hd_llama *m, int matrix, int *out, int *in) {
    int kv = m->dim / m->heads * m->kv_heads;
    *in = matrix == HD_LLAMA_W2 ? m->hidden : m->dim;
    *out = matrix == HD_LLAMA_K || matrix == HD_LLAMA_V ? kv : matrix == HD_LLAMA_W1 || matrix == HD_LLAMA_W3 ? m->hidden : m->dim;
}

void hd_llama_name(int layer, int matrix, char *name, size_t n) {
    static const char *const names[HD_LLAMA_MATRICES] = {"q", "k", "v", "o", "w1", "w2", "w3"};
    snprintf(name, n, "layer%d.%s", layer, names[matrix]);
}

static size_t matrix_weights(const hd_llama *m, int matrix) {
    int out, in;
    hd_llama_shape(m, matrix, &out, &in);
    return (size_t)out * (size_t)in;
}

size_t hd_llama_block_weights(const hd_llama *m) {
    size_t n = 0;
    for (int k = 0; k < HD_LLAMA_MATRICES; k++) n += matrix_weights(m, k);
    return n * (size_t)m->layers;
}

static int own_weights(const hd_llama *m) {
    if (!m->embedding || !m->norm_final || !m->classifier) return 0;
    for (int l = 0; l < m->layers; l++) {
        if (!m->layer[l].norm_attention || !m->layer[l].norm_ffn) return 0;
        for (int k = 0; k < HD_LLAMA_MATRICES; k++)
            if (!m->layer[l].matrix[k]) return 0;
    }
    return 1;
}

hd_status hd_llama_new(hd_llama **out, const hd_llama *sizes, int tied, hd_err *err) {
    *out = NULL;
    hd_status s = hd_llama_check(sizes, err);
    if (s) return s;
    hd_llama *m = calloc(1, sizeof *m);
    if (!m) return hd_fail(err, HD_NOMEM, "no memory for a language model");
    *m = *sizes;
    size_t dim = (size_t)m->dim, table = (size_t)m->vocab * dim;
    m->layer = calloc((size_t)m->layers, sizeof *m->layer);
    m->embedding = calloc(table, sizeof(float));
    m->norm_final = calloc(dim, sizeof(float));
    m->classifier = tied ? m->embedding : calloc(table, sizeof(float));
    for (int l = 0; m->layer && l < m->layers; l++) {
        m->layer[l].norm_attention = calloc(dim, sizeof(float));
        m->layer[l].norm_ffn = calloc(dim, sizeof(float));
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) m->layer[l].matrix[k] = calloc(matrix_weights(m, k), sizeof(float));
    }
    if (!m->layer || !own_weights(m)) {
        hd_llama_free(m);
        return hd_fail(err, HD_NOMEM, "no memory for the weights of a language model (dim %d, %d layers)", sizes->dim, sizes->layers);
    }
    *out = m;
    return HD_OK;
}

hd_llama *hd_llama_clone(const hd_llama *m) {
    hd_llama *c;
    if (hd_llama_new(&c, m, m->classifier == m->embedding, NULL)) return NULL;
    size_t dim = (size_t)m->dim, table = (size_t)m->vocab * dim * sizeof(float);
    memcpy(c->embedding, m->embedding, table);
    if (c->classifier != c->embedding) memcpy(c->classifier, m->classifier, table);
    memcpy(c->norm_final, m->norm_final, dim * sizeof(float));
    for (int l = 0; l < m->layers; l++) {
        memcpy(c->layer[l].norm_attention, m->layer[l].norm_attention, dim * sizeof(float));
        memcpy(c->layer[l].norm_ffn, m->layer[l].norm_ffn, dim * sizeof(float));
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) memcpy(c->layer[l].matrix[k], m->layer[l].matrix[k], matrix_weights(m, k) * sizeof(float));
    }
    return c;
}

void hd_llama_free(hd_llama *m) {
    if (!m) return;
    for (int l = 0; m->layer && l < m->layers; l++) {
        free(m->layer[l].norm_attention);
        free(m->layer[l].norm_ffn);
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) free(m->layer[l].matrix[k]);
    }
    free(m->layer);
    if (m->classifier != m->embedding) free(m->classifier);
    free(m->embedding);
    free(m->norm_final);
    free(m);
}
