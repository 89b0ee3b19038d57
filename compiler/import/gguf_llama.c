/* GGUF files of architecture "llama" to language models, and the tokenizer that they carry.
 *
 * Names of values and tensors: the GGUF specification. The format has rotary positions on neighbouring pairs, as hd_llama has. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/file.h"
#include "../graph/llama.h"
#include "gguf.h"

enum { LONGEST_CONTEXT = 32767 };

static hd_status check_kind(const hd_gguf *g, hd_err *err) {
    const hd_gguf_value *v = hd_gguf_find(g, "general.architecture");
    hd_reader r = {.data = g->data, .size = g->size, .at = v ? v->at : 0};
    uint64_t n = v && v->type == HD_GGUF_STRING ? hd_get_u64(&r) : 0;
    const char *name = n ? (const char *)hd_get_bytes(&r, (size_t)n) : "";
    if (n != 5 || memcmp(name, "llama", 5)) return hd_fail(err, HD_UNSUPPORTED, "%s: architecture '%.*s'; supported is 'llama'", g->label, n < 60 ? (int)n : 60, name);
    double eps, base, factor;
    hd_status s = hd_gguf_real(&eps, g, "llama.attention.layer_norm_rms_epsilon", 1e-5, err);
    if (!s) s = hd_gguf_real(&base, g, "llama.rope.freq_base", 10000, err);
    if (!s) s = hd_gguf_real(&factor, g, "llama.rope.scaling.factor", 1, err);
    if (s) return s;
    if (!(fabs(eps - 1e-5) <= 1e-8) || base != 10000 || factor != 1)
        return hd_fail(err, HD_UNSUPPORTED, "%s: norms with epsilon %g, rotary positions of base %g scaled by %g; supported are 1e-5, 10000 and 1", g->label, eps, base, factor);
    return HD_OK;
}

static hd_status read_sizes(hd_llama *m, const hd_gguf *g, hd_err *err) {
    const struct {
        const char *key;
        int *to;
    } wanted[] = {{"llama.embedding_length", &m->dim}, {"llama.feed_forward_length", &m->hidden}, {"llama.block_count", &m->layers}, {"llama.attention.head_count", &m->heads},
                  {"llama.attention.head_count_kv", &m->kv_heads}, {"llama.context_length", &m->max_tokens}};
    hd_status s = check_kind(g, err);
    for (size_t i = 0; !s && i < sizeof wanted / sizeof *wanted; i++) {
        int64_t v;
        s = hd_gguf_integer(&v, g, wanted[i].key, wanted[i].to == &m->kv_heads ? m->heads : -1, INT32_MAX, err);
        if (!s) *wanted[i].to = (int)v;
    }
    if (s) return s;
    if (m->max_tokens > LONGEST_CONTEXT) m->max_tokens = LONGEST_CONTEXT; /* tokens are counted in int16 */
    const hd_gguf_tensor *table = hd_gguf_tensor_find(g, "token_embd.weight");
    if (!table || table->dims != 2) return hd_fail(err, HD_FORMAT, "%s: tensor 'token_embd.weight' of two dimensions is missing", g->label);
    m->vocab = table->dim[1] > INT32_MAX ? INT32_MAX : (int)table->dim[1];
    s = hd_llama_check(m, err);
    if (s) return hd_fail_in(err, g->label), s;
    int64_t rotated;
    s = hd_gguf_integer(&rotated, g, "llama.rope.dimension_count", m->dim / m->heads, INT32_MAX, err);
    if (!s && rotated != m->dim / m->heads) s = hd_fail(err, HD_UNSUPPORTED, "%s: %lld of a head's %d elements have rotary positions; supported is all", g->label, (long long)rotated, m->dim / m->heads);
    return s;
}

static hd_status load(float *to, const hd_gguf *g, const char *name, size_t rows, size_t columns, hd_err *err) {
    const hd_gguf_tensor *t = hd_gguf_tensor_find(g, name);
    if (!t) return hd_fail(err, HD_FORMAT, "%s: tensor '%s' is missing", g->label, name);
    uint64_t high = t->dims > 1 ? t->dim[1] : 1;
    if (t->dim[0] != columns || high != rows || t->count != rows * columns)
        return hd_fail(err, HD_MISMATCH, "%s: tensor '%s' is %llu x %llu; its sizes ask for %zu x %zu", g->label, name, (unsigned long long)high, (unsigned long long)t->dim[0], rows, columns);
    return hd_gguf_decode(to, g, t, err);
}

static hd_status load_layer(hd_llama *m, const hd_gguf *g, int l, hd_err *err) {
    static const char *const names[HD_LLAMA_MATRICES] = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_down", "ffn_up"};
    size_t dim = (size_t)m->dim;
    char name[64];
    snprintf(name, sizeof name, "blk.%d.attn_norm.weight", l);
    hd_status s = load(m->layer[l].norm_attention, g, name, 1, dim, err);
    snprintf(name, sizeof name, "blk.%d.ffn_norm.weight", l);
    if (!s) s = load(m->layer[l].norm_ffn, g, name, 1, dim, err);
    for (int k = 0; !s && k < HD_LLAMA_MATRICES; k++) {
        int out, in;
        hd_llama_shape(m, k, &out, &in);
        snprintf(name, sizeof name, "blk.%d.%s.weight", l, names[k]);
        s = load(m->layer[l].matrix[k], g, name, (size_t)out, (size_t)in, err);
        char bias[80];
        snprintf(bias, sizeof bias, "blk.%d.%s.bias", l, names[k]);
        if (!s && hd_gguf_tensor_find(g, bias)) s = hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%s': biases are not supported", g->label, bias);
    }
    return s;
}

hd_status hd_import_gguf_memory(hd_llama **out, const uint8_t *data, size_t size, const char *label, hd_err *err) {
    hd_gguf g;
    hd_llama sizes = {0}, *m = NULL;
    *out = NULL;
    hd_status s = hd_gguf_open(&g, data, size, label, err);
    if (s) return s;
    s = read_sizes(&sizes, &g, err);
    int tied = !hd_gguf_tensor_find(&g, "output.weight");
    if (!s && hd_llama_block_weights(&sizes) / 8 > size) s = hd_fail(err, HD_FORMAT, "%s: %zu weights in %zu bytes", label, hd_llama_block_weights(&sizes), size);
    if (!s) s = hd_llama_new(&m, &sizes, tied, err);
    if (!s) s = load(m->embedding, &g, "token_embd.weight", (size_t)m->vocab, (size_t)m->dim, err);
    if (!s) s = load(m->norm_final, &g, "output_norm.weight", 1, (size_t)m->dim, err);
    if (!s && !tied) s = load(m->classifier, &g, "output.weight", (size_t)m->vocab, (size_t)m->dim, err);
    for (int l = 0; !s && l < m->layers; l++) s = load_layer(m, &g, l, err);
    hd_gguf_close(&g);
    if (s) hd_llama_free(m);
    else *out = m;
    return s;
}

hd_status hd_import_gguf(hd_llama **out, const char *path, hd_err *err) {
    uint8_t *data;
    size_t size;
    *out = NULL;
    hd_status s = hd_file_read(&data, &size, path, SIZE_MAX / 4, 0, err);
    if (s) return s;
    s = hd_import_gguf_memory(out, data, size, path, err);
    free(data);
    return s;
}

/* ---- the tokenizer ---- */

/* The lower one eighth block (three bytes of UTF-8) stands for a space in SentencePiece's pieces. */
static void put_piece(hd_writer *w, const uint8_t *text, size_t n) {
    size_t spaces = 0;
    for (size_t i = 0; i + 2 < n; i++) spaces += !memcmp(text + i, "\xe2\x96\x81", 3);
    hd_put_u32(w, (uint32_t)(n - 2 * spaces));
    for (size_t i = 0; i < n; i++) {
        int space = i + 2 < n && !memcmp(text + i, "\xe2\x96\x81", 3);
        hd_put_u8(w, space ? ' ' : text[i]);
        i += space ? 2 : 0;
    }
}

static hd_status read_pieces(hd_writer *w, const hd_gguf *g, int vocab, hd_err *err) {
    const hd_gguf_value *tokens = hd_gguf_find(g, "tokenizer.ggml.tokens"), *scores = hd_gguf_find(g, "tokenizer.ggml.scores");
    if (!tokens || tokens->type != HD_GGUF_ARRAY || tokens->element != HD_GGUF_STRING || !scores || scores->type != HD_GGUF_ARRAY || scores->element != HD_GGUF_F32)
        return hd_fail(err, HD_UNSUPPORTED, "%s: carries no tokenizer with pieces and scores (SentencePiece); give one with --tokenizer", g->label);
    if (tokens->count != (uint64_t)vocab || scores->count != tokens->count)
        return hd_fail(err, HD_MISMATCH, "%s: %llu pieces and %llu scores for a vocabulary of %d", g->label, (unsigned long long)tokens->count, (unsigned long long)scores->count, vocab);
    int64_t bos, eos;
    hd_status s = hd_gguf_integer(&bos, g, "tokenizer.ggml.bos_token_id", HD_TOKEN_BOS, INT32_MAX, err);
    if (!s) s = hd_gguf_integer(&eos, g, "tokenizer.ggml.eos_token_id", HD_TOKEN_EOS, INT32_MAX, err);
    if (!s && (bos != HD_TOKEN_BOS || eos != HD_TOKEN_EOS)) s = hd_fail(err, HD_UNSUPPORTED, "%s: texts begin with token %lld and end with %lld; supported are 1 and 2", g->label, (long long)bos, (long long)eos);
    hd_reader text = {.data = g->data, .size = g->size, .at = tokens->at}, score = {.data = g->data, .size = g->size, .at = scores->at};
    hd_put_u32(w, 0);
    for (int i = 0; !s && i < vocab; i++) {
        size_t n = (size_t)hd_get_u64(&text);
        hd_put_f32(w, hd_get_f32(&score));
        put_piece(w, hd_get_bytes(&text, n), n);
    }
    return !s && w->failed ? hd_fail(err, HD_NOMEM, "%s: no memory for its tokenizer", g->label) : s;
}

hd_status hd_tokenizer_load_gguf(hd_tokenizer **out, const char *path, int vocab, hd_err *err) {
    uint8_t *data;
    size_t size;
    hd_gguf g;
    hd_writer w = {0};
    *out = NULL;
    hd_status s = hd_file_read(&data, &size, path, SIZE_MAX / 4, 0, err);
    if (s) return s;
    s = hd_gguf_open(&g, data, size, path, err);
    if (!s) {
        s = read_pieces(&w, &g, vocab, err);
        hd_gguf_close(&g);
    }
    if (!s) s = hd_tokenizer_memory(out, w.data, w.size, path, vocab, err);
    hd_writer_free(&w);
    free(data);
    return s;
}
