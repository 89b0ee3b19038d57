/* The parameters of a Llama-shape model as one flat vector. */
#include <stdlib.h>
#include <string.h>

#include "llama_train.h"

hd_status hd_llama_params_new(hd_llama_params *p, const hd_llama *m, hd_err *err) {
    size_t layers = (size_t)m->layers, dim = (size_t)m->dim, table = (size_t)m->vocab * dim, at = table;
    *p = (hd_llama_params){0};
    p->norm_attention = calloc(layers, sizeof *p->norm_attention);
    p->norm_ffn = calloc(layers, sizeof *p->norm_ffn);
    p->matrix = calloc(layers, sizeof *p->matrix);
    if (!p->norm_attention || !p->norm_ffn || !p->matrix) {
        hd_llama_params_free(p);
        return hd_fail(err, HD_NOMEM, "no memory for the places of the parameters of %d layers", m->layers);
    }
    for (size_t l = 0; l < layers; l++) {
        p->norm_attention[l] = at;
        p->norm_ffn[l] = at + dim;
        at += 2 * dim;
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            p->matrix[l][k] = at;
            at += (size_t)out * (size_t)in;
        }
    }
    p->norm_final = at;
    p->total = at + dim;
    if (m->classifier != m->embedding) {
        p->classifier = p->total;
        p->total += table;
    }
    return HD_OK;
}

void hd_llama_params_free(hd_llama_params *p) {
    free(p->norm_attention);
    free(p->norm_ffn);
    free(p->matrix);
    *p = (hd_llama_params){0};
}

static void move(float *own, float *flat, size_t n, int to_model) {
    memcpy(to_model ? own : flat, to_model ? flat : own, n * sizeof *own);
}

/* Everything between the flat vector and a model, in one of the two directions. */
static void move_all(const hd_llama_params *p, const hd_llama *m, float *flat, int to_model) {
    size_t dim = (size_t)m->dim, table = (size_t)m->vocab * dim;
    move(m->embedding, flat + p->embedding, table, to_model);
    for (int l = 0; l < m->layers; l++) {
        const hd_llama_layer *y = &m->layer[l];
        move(y->norm_attention, flat + p->norm_attention[l], dim, to_model);
        move(y->norm_ffn, flat + p->norm_ffn[l], dim, to_model);
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            move(y->matrix[k], flat + p->matrix[l][k], (size_t)out * (size_t)in, to_model);
        }
    }
    move(m->norm_final, flat + p->norm_final, dim, to_model);
    if (m->classifier != m->embedding) move(m->classifier, flat + p->classifier, table, to_model);
}

void hd_llama_params_read(const hd_llama_params *p, const hd_llama *m, float *flat) {
    move_all(p, m, flat, 0);
}

void hd_llama_params_write(const hd_llama_params *p, hd_llama *m, const float *flat) {
    move_all(p, m, (float *)flat, 1);
}
