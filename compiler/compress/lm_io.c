/* .hlm files: docs/formats.md section 7. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lm_integer.h"
#include "lm_internal.h"

/* How a matrix is written. */
enum { PLAIN, TABLE, LATTICE };

/* In the file and in memory the matrices of a block come in this order: enum HD_LLAMA_*. */

static void put_floats(hd_writer *w, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) hd_put_f32(w, x[i]);
}

static hd_status put_blocks(hd_writer *w, const hd_lm *c, hd_err *err) {
    const hd_llama *m = c->model;
    hd_status s = HD_OK;
    for (int l = 0; !s && l < m->layers; l++) {
        put_floats(w, m->layer[l].norm_attention, (size_t)m->dim);
        put_floats(w, m->layer[l].norm_ffn, (size_t)m->dim);
        for (int k = 0; !s && k < HD_LLAMA_MATRICES; k++) {
            char name[32];
            int out, in;
            hd_llama_name(l, k, name, sizeof name);
            hd_llama_shape(m, k, &out, &in);
            const hd_lm_matrix *x = &c->matrix[l * HD_LLAMA_MATRICES + k];
            hd_put_u8(w, !x->code ? PLAIN : x->code->table == HD_LM_E8P ? LATTICE : TABLE);
            s = x->code ? hd_lm_put_code(w, c, x, out, in, name, err) : hd_lm_put_matrix(w, x, out, in, name, err);
        }
    }
    return s;
}

hd_status hd_lm_save(const hd_lm *c, const char *path, hd_err *err) {
    const hd_llama *m = c->model;
    hd_writer w = {0};
    const int size[7] = {m->dim, m->hidden, m->layers, m->heads, m->kv_heads, m->vocab, m->max_tokens};
    size_t table = (size_t)m->vocab * (size_t)m->dim;
    int tied = m->classifier == m->embedding;
    for (int i = 0; i < 7; i++) hd_put_u32(&w, (uint32_t)size[i]);
    hd_put_u8(&w, (uint8_t)tied);
    put_floats(&w, m->embedding, table);
    put_floats(&w, m->norm_final, (size_t)m->dim);
    if (!tied) put_floats(&w, m->classifier, table);
    hd_status s = hd_lm_put_tables(&w, c, err);
    if (!s) s = put_blocks(&w, c, err);
    hd_put_u8(&w, c->reach != NULL);
    for (size_t i = 0; c->reach && i < hd_lm_reach_size(m); i++) hd_put_u16(&w, (uint16_t)hd_half_bits(c->reach[i]));
    if (s) hd_fail_in(err, path);
    else s = hd_container_write(path, HD_HLM_MAGIC, HD_HLM_VERSION, &w, err);
    hd_writer_free(&w);
    return s;
}

static hd_status get_floats(hd_reader *r, float *to, size_t n, const char *what, hd_err *err) {
    size_t left = r->size - r->at;
    if (n > left / sizeof *to) return hd_fail(err, HD_FORMAT, "%s: %zu bytes needed, %zu left in the file", what, n * sizeof *to, left);
    for (size_t i = 0; i < n; i++) {
        to[i] = hd_get_f32(r);
        if (!isfinite(to[i])) return hd_fail(err, HD_FORMAT, "%s: element %zu is %f; weights are finite", what, i, (double)to[i]);
    }
    return HD_OK;
}

static hd_status get_matrix(hd_reader *r, const hd_lm *c, hd_lm_matrix *to, int out, int in, const char *name, hd_err *err) {
    hd_status s = hd_lm_need(r, 1, name, "coding", err);
    if (s) return s;
    int coding = hd_get_u8(r);
    if (coding > LATTICE) return hd_fail(err, HD_FORMAT, "%s: coding %d; allowed 0 to %d", name, coding, LATTICE);
    if (coding == PLAIN) return hd_lm_get_matrix(r, to, out, in, name, err);
    to->code = calloc(1, sizeof *to->code);
    if (!to->code) return hd_fail(err, HD_NOMEM, "%s: out of memory", name);
    to->code->table = coding == LATTICE ? HD_LM_E8P : 0;
    return hd_lm_get_code(r, c, to, out, in, name, err);
}

static hd_status get_blocks(hd_reader *r, hd_lm *c, hd_err *err) {
    hd_llama *m = c->model;
    hd_status s = HD_OK;
    for (int l = 0; !s && l < m->layers; l++) {
        s = get_floats(r, m->layer[l].norm_attention, (size_t)m->dim, "norm before attention", err);
        if (!s) s = get_floats(r, m->layer[l].norm_ffn, (size_t)m->dim, "norm before the feed-forward part", err);
        for (int k = 0; !s && k < HD_LLAMA_MATRICES; k++) {
            char name[32];
            int out, in;
            hd_lm_matrix *to = &c->matrix[l * HD_LLAMA_MATRICES + k];
            hd_llama_name(l, k, name, sizeof name);
            hd_llama_shape(m, k, &out, &in);
            s = get_matrix(r, c, to, out, in, name, err);
            if (!s) memcpy(m->layer[l].matrix[k], to->linear.w, (size_t)out * (size_t)in * sizeof(float));
        }
    }
    return s;
}

static hd_status get_reach(hd_reader *r, hd_lm *c, hd_err *err) {
    size_t n = hd_lm_reach_size(c->model);
    hd_status s = hd_lm_need(r, 1, "file", "ranges", err);
    if (s) return s;
    unsigned has = hd_get_u8(r);
    if (has > 1) return hd_fail(err, HD_FORMAT, "ranges: found %u; allowed are 0 and 1", has);
    if (has && (s = hd_lm_need(r, 2 * n, "file", "ranges", err)) != HD_OK) return s;
    if (has && !(c->reach = malloc(n * sizeof *c->reach))) return hd_fail(err, HD_NOMEM, "no memory for the ranges of %zu channels", n);
    for (size_t i = 0; has && i < n; i++) {
        c->reach[i] = hd_half_value(hd_get_u16(r));
        if (!(c->reach[i] >= 0 && isfinite(c->reach[i]))) return hd_fail(err, HD_FORMAT, "range %zu is %f; allowed are 0 and positive numbers", i, (double)c->reach[i]);
    }
    return r->at == r->size ? HD_OK : hd_fail(err, HD_FORMAT, "%zu bytes follow the ranges", r->size - r->at);
}

static hd_status parse(hd_lm *c, hd_reader *r, hd_err *err) {
    int size[7];
    if (r->size < 29) return hd_fail(err, HD_FORMAT, "payload of %zu bytes; the sizes alone have 29", r->size);
    for (int i = 0; i < 7; i++) size[i] = hd_get_i32(r);
    unsigned tied = hd_get_u8(r);
    hd_llama want = {.dim = size[0], .hidden = size[1], .layers = size[2], .heads = size[3], .kv_heads = size[4], .vocab = size[5], .max_tokens = size[6]};
    hd_status s = hd_llama_check(&want, err);
    if (s) return s;
    if (tied > 1) return hd_fail(err, HD_FORMAT, "tied classifier: found %u; allowed are 0 and 1", tied);
    size_t table = (size_t)want.vocab * (size_t)want.dim, weights = hd_llama_block_weights(&want), left = r->size - r->at;
    if (table * (tied ? 4 : 8) > left || weights / HD_LM_WEIGHTS_PER_BYTE > left)
        return hd_fail(err, HD_FORMAT, "%zu bytes left for a vocabulary of %d x %d and %zu block weights; too few", left, want.vocab, want.dim, weights);
    s = hd_llama_new(&c->model, &want, (int)tied, err);
    if (s) return s;
    c->matrix = calloc((size_t)want.layers * HD_LLAMA_MATRICES, sizeof *c->matrix);
    if (!c->matrix) return hd_fail(err, HD_NOMEM, "no memory for %d layers", want.layers);
    s = get_floats(r, c->model->embedding, table, "embedding", err);
    if (!s) s = get_floats(r, c->model->norm_final, (size_t)want.dim, "final norm", err);
    if (!s && !tied) s = get_floats(r, c->model->classifier, table, "classifier", err);
    if (!s) s = hd_lm_get_tables(r, c, err);
    if (!s) s = get_blocks(r, c, err);
    return s ? s : get_reach(r, c, err);
}

hd_status hd_lm_load(hd_lm **out, const char *path, hd_err *err) {
    uint8_t *buffer = NULL;
    hd_reader r;
    *out = NULL;
    hd_status s = hd_container_read(&buffer, &r, path, HD_HLM_MAGIC, HD_HLM_VERSION, err);
    if (s) return s;
    hd_lm *c = calloc(1, sizeof *c);
    s = c ? parse(c, &r, err) : hd_fail(err, HD_NOMEM, "no memory for a compressed language model");
    free(buffer);
    if (s) {
        hd_fail_in(err, path);
        hd_lm_free(c);
        return s;
    }
    *out = c;
    return HD_OK;
}
