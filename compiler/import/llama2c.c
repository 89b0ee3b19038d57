/* Checkpoints of karpathy/llama2.c, version 0: seven little-endian int32 (dim, hidden, layers, heads, kv_heads, vocabulary, negative
 * when the classifier is not tied, max_tokens), then float32 tensors, each for all layers before the next, and two tables of
 * rotary positions that nobody reads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../sw/core/bytes.h"
#include "../../sw/core/file.h"
#include "../graph/llama.h"
#include "../graph/llama_math.h"

enum { HEADER = 28 };

static uint64_t file_bytes(const hd_llama *m, int tied) {
    uint64_t dim = (uint64_t)m->dim, layers = (uint64_t)m->layers, table = (uint64_t)m->vocab * dim;
    uint64_t floats = table * (tied ? 1 : 2) + (2 * layers + 1) * dim + (uint64_t)hd_llama_block_weights(m);
    floats += (uint64_t)m->max_tokens * (dim / (uint64_t)m->heads);
    return HEADER + 4 * floats;
}

static hd_status read_floats(hd_reader *r, const char *what, float *to, size_t n, hd_err *err) {
    for (size_t i = 0; i < n; i++) {
        to[i] = hd_get_f32(r);
        if (!isfinite(to[i])) return hd_fail(err, HD_FORMAT, "%s: element %zu is %f; weights are finite", what, i, (double)to[i]);
    }
    return HD_OK;
}

static hd_status read_matrices(hd_reader *r, hd_llama *m, int matrix, hd_err *err) {
    int out, in;
    char name[32];
    hd_status s = HD_OK;
    hd_llama_shape(m, matrix, &out, &in);
    for (int l = 0; !s && l < m->layers; l++) {
        hd_llama_name(l, matrix, name, sizeof name);
        s = read_floats(r, name, m->layer[l].matrix[matrix], (size_t)out * (size_t)in, err);
    }
    return s;
}

static hd_status read_weights(hd_reader *r, hd_llama *m, hd_err *err) {
    static const int order[] = {HD_LLAMA_W1, HD_LLAMA_W2, HD_LLAMA_W3};
    size_t dim = (size_t)m->dim, table = (size_t)m->vocab * dim;
    hd_status s = read_floats(r, "embedding", m->embedding, table, err);
    for (int l = 0; !s && l < m->layers; l++) s = read_floats(r, "norm before attention", m->layer[l].norm_attention, dim, err);
    for (int k = HD_LLAMA_Q; !s && k <= HD_LLAMA_O; k++) s = read_matrices(r, m, k, err);
    for (int l = 0; !s && l < m->layers; l++) s = read_floats(r, "norm before the feed-forward part", m->layer[l].norm_ffn, dim, err);
    for (int k = 0; !s && k < 3; k++) s = read_matrices(r, m, order[k], err);
    if (!s) s = read_floats(r, "final norm", m->norm_final, dim, err);
    if (!s) hd_get_bytes(r, (size_t)m->max_tokens * (dim / (size_t)m->heads) * sizeof(float));
    if (!s && m->classifier != m->embedding) s = read_floats(r, "classifier", m->classifier, table, err);
    return s;
}

static hd_status parse(hd_llama **out, hd_reader *r, hd_err *err) {
    if (r->size < HEADER) return hd_fail(err, HD_FORMAT, "%zu bytes; the header of a llama2.c checkpoint alone has %d", r->size, HEADER);
    int size[7], tied = 1;
    for (int i = 0; i < 7; i++) size[i] = hd_get_i32(r);
    if (size[5] < 0 && size[5] > INT32_MIN) {
        size[5] = -size[5];
        tied = 0;
    }
    hd_llama want = {.dim = size[0], .hidden = size[1], .layers = size[2], .heads = size[3], .kv_heads = size[4], .vocab = size[5], .max_tokens = size[6]};
    hd_status s = hd_llama_check(&want, err);
    const char *kind = s ? hd_file_kind(r->data, r->size) : NULL;
    if (kind) return hd_fail(err, HD_FORMAT, "%s; a llama2.c checkpoint is expected", kind);
    if (s) return s;
    uint64_t bytes = file_bytes(&want, tied);
    if (bytes != r->size)
        return hd_fail(err, HD_FORMAT, "%zu bytes; a llama2.c checkpoint with dim %d, hidden %d, %d layers, %d heads, %d kv_heads, vocabulary %d, max_tokens %d has %llu",
                       r->size, want.dim, want.hidden, want.layers, want.heads, want.kv_heads, want.vocab, want.max_tokens, (unsigned long long)bytes);
    s = hd_llama_new(out, &want, tied, err);
    if (!s) s = read_weights(r, *out, err);
    return s;
}

hd_status hd_import_llama2c(hd_llama **out, const char *path, hd_err *err) {
    uint8_t *data;
    size_t size;
    *out = NULL;
    hd_status s = hd_file_read(&data, &size, path, SIZE_MAX / 4, 0, err);
    if (s) return s;
    hd_reader r = {.data = data, .size = size};
    s = parse(out, &r, err);
    free(data);
    if (s) {
        hd_fail_in(err, path);
        hd_llama_free(*out);
        *out = NULL;
    }
    return s;
}

static void write_floats(hd_writer *w, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) hd_put_f32(w, x[i]);
}

static void write_matrices(hd_writer *w, const hd_llama *m, int matrix) {
    int out, in;
    hd_llama_shape(m, matrix, &out, &in);
    for (int l = 0; l < m->layers; l++) write_floats(w, m->layer[l].matrix[matrix], (size_t)out * (size_t)in);
}

hd_status hd_export_llama2c(const hd_llama *m, const char *path, hd_err *err) {
    static const int order[] = {HD_LLAMA_W1, HD_LLAMA_W2, HD_LLAMA_W3};
    int tied = m->classifier == m->embedding;
    const int size[7] = {m->dim, m->hidden, m->layers, m->heads, m->kv_heads, tied ? m->vocab : -m->vocab, m->max_tokens};
    size_t dim = (size_t)m->dim, table = (size_t)m->vocab * dim;
    hd_writer w = {0};
    for (int i = 0; i < 7; i++) hd_put_u32(&w, (uint32_t)size[i]);
    write_floats(&w, m->embedding, table);
    for (int l = 0; l < m->layers; l++) write_floats(&w, m->layer[l].norm_attention, dim);
    for (int k = HD_LLAMA_Q; k <= HD_LLAMA_O; k++) write_matrices(&w, m, k);
    for (int l = 0; l < m->layers; l++) write_floats(&w, m->layer[l].norm_ffn, dim);
    for (int k = 0; k < 3; k++) write_matrices(&w, m, order[k]);
    write_floats(&w, m->norm_final, dim);
    /* The tables of rotary positions, all cosines before all sines, for readers that do look at them. */
    int head = m->dim / m->heads;
    for (int sine = 0; sine < 2; sine++)
        for (int i = 0; i < m->max_tokens; i++)
            for (int pair = 0; pair < head / 2; pair++) {
                float c, s;
                hd_rotation(&c, &s, i, pair, head);
                hd_put_f32(&w, sine ? s : c);
            }
    if (!tied) write_floats(&w, m->classifier, table);
    hd_status s = w.failed ? hd_fail(err, HD_NOMEM, "%s: no memory for %zu bytes", path, w.size) : hd_file_write(path, w.data, w.size, err);
    hd_writer_free(&w);
    return s;
}
