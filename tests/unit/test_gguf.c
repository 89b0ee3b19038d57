/* GGUF files: random models written in every supported block format by a writer of ours, whose blocks are random bits read element by element with formulas of this file; the
 * published model through GGUF and back; broken files. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../compiler/graph/llama.h"
#include "../../sw/core/bytes.h"
#include "../../sw/core/file.h"
#include "../../sw/core/rng.h"
#include "../../sw/explore/models.h"

enum { F32 = 0, F16 = 1, Q4_0 = 2, Q8_0 = 8, Q4_K = 12, Q6_K = 14, BF16 = 30 };

/* ---- what an element of a block is, bit by bit ---- */

static double half_of(const uint8_t *b) {
    int bits = b[0] | b[1] << 8, e = bits >> 10 & 31, m = bits & 1023;
    double v = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return bits & 0x8000 ? -v : v;
}

static unsigned bit_field(const uint8_t *b, size_t bit, int n) { /* n bits from bit `bit` of the bytes on, low bits first */
    unsigned v = 0;
    for (int i = 0; i < n; i++) v |= (unsigned)(b[(bit + (size_t)i) / 8] >> ((bit + (size_t)i) % 8) & 1) << i;
    return v;
}

static const struct {
    int type, elements, bytes;
} kinds[] = {{F32, 1, 4}, {F16, 1, 2}, {BF16, 1, 2}, {Q8_0, 32, 34}, {Q4_0, 32, 18}, {Q4_K, 256, 144}, {Q6_K, 256, 210}};

static double element(int type, const uint8_t *b, int i) {
    float f;
    uint32_t bits;
    int low, scale, minimum, group = i / 32;
    switch (type) {
    case F32: memcpy(&f, b, 4); return (double)f;
    case F16: return half_of(b);
    case BF16: bits = bit_field(b, 0, 16) << 16; memcpy(&f, &bits, 4); return (double)f;
    case Q8_0: return half_of(b) * ((int)(bit_field(b + 2, 8 * (size_t)i, 8) ^ 0x80) - 128);
    case Q4_0: return half_of(b) * ((int)bit_field(b + 2, 8 * (size_t)(i % 16) + (i < 16 ? 0 : 4), 4) - 8);
    case Q4_K:
        /* Twelve bytes: low six bits of 0..3 scales 0..3, of 4..7 minima 0..3; bytes 8..11 have the low nibbles of scales and minima 4..7, whose top pairs end the first eight bytes. */
        if (group < 4) {
            scale = (int)bit_field(b + 4 + group, 0, 6);
            minimum = (int)bit_field(b + 8 + group, 0, 6);
        } else {
            scale = (int)(bit_field(b + 8 + group, 0, 4) + 16 * bit_field(b + group, 6, 2));
            minimum = (int)(bit_field(b + 8 + group, 4, 4) + 16 * bit_field(b + 4 + group, 6, 2));
        }
        low = (int)bit_field(b + 16 + group / 2 * 32 + i % 32, group % 2 ? 4 : 0, 4);
        return half_of(b) * scale * low - half_of(b + 2) * minimum;
    default: /* Q6_K */
        low = (int)bit_field(b + i / 128 * 64 + i % 64, i % 128 < 64 ? 0 : 4, 4);
        low += 16 * (int)bit_field(b + 128 + i / 128 * 32 + i % 32, (size_t)(i / 32 % 4) * 2, 2);
        return half_of(b + 208) * (double)((int)(b[192 + i / 16] ^ 0x80) - 128) * (low - 32);
    }
}

/* ---- the file ---- */

typedef struct file {
    hd_writer w, data; /* directory; tensors' data */
    hd_rng rng;
    uint64_t alignment;
} file;

static void put_text(hd_writer *w, const char *s, size_t n) {
    hd_put_u64(w, n);
    hd_put_bytes(w, s, n);
}

static void put_key(file *f, const char *key, uint32_t type) {
    put_text(&f->w, key, strlen(key));
    hd_put_u32(&f->w, type);
}

static void put_integer(file *f, const char *key, uint32_t v) {
    put_key(f, key, 4);
    hd_put_u32(&f->w, v);
}

/* A tensor of random blocks, or of the given floats; what it holds goes to `to`. */
static void put_tensor(file *f, const char *name, int kind, size_t rows, size_t columns, float *to, const float *from) {
    int type = kinds[kind].type, bytes = kinds[kind].bytes, elements = kinds[kind].elements;
    while (f->data.size % f->alignment) hd_put_u8(&f->data, 0xee);
    put_text(&f->w, name, strlen(name));
    hd_put_u32(&f->w, rows > 1 ? 2 : 1);
    hd_put_u64(&f->w, columns);
    if (rows > 1) hd_put_u64(&f->w, rows);
    hd_put_u32(&f->w, (uint32_t)type);
    hd_put_u64(&f->w, f->data.size);
    for (size_t i = 0; i < rows * columns / (size_t)elements; i++) {
        uint8_t block[256];
        if (from) memcpy(block, from + i, 4);
        else {
            for (int k = 0; k < bytes; k++) block[k] = (uint8_t)hd_rng_u32(&f->rng);
            /* exponents that keep values small and finite, at the places of half, bfloat16 and float scales */
            static const struct { int type, at; } halves[] = {{F16, 1}, {Q8_0, 1}, {Q4_0, 1}, {Q4_K, 1}, {Q4_K, 3}, {Q6_K, 209}};
            for (size_t k = 0; k < sizeof halves / sizeof *halves; k++)
                if (halves[k].type == type) block[halves[k].at] = (uint8_t)((block[halves[k].at] & 0x83) | 0x10);
            if (type == F32 || type == BF16) block[bytes - 1] = (uint8_t)((block[bytes - 1] & 0x80) | 0x3d);
        }
        hd_put_bytes(&f->data, block, (size_t)bytes);
        for (int k = 0; k < elements; k++) to[i * (size_t)elements + (size_t)k] = (float)element(type, block, k);
    }
}

static const char *const names[HD_LLAMA_MATRICES] = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_down", "ffn_up"};

static const char *bias; /* a tensor that files have besides, or NULL */

/* A file of the sizes of m; m gets the weights, or gives them (kind F32). */
static hd_writer write_model(hd_llama *m, int kind, int give, uint64_t seed, const char *architecture) {
    file f = {.alignment = seed % 2 ? 32 : 64};
    hd_rng_seed(&f.rng, seed, 3);
    size_t dim = (size_t)m->dim, table = (size_t)m->vocab;
    int tied = m->classifier == m->embedding;
    hd_put_bytes(&f.w, "GGUF", 4);
    hd_put_u32(&f.w, seed % 3 ? 3 : 2);
    hd_put_u64(&f.w, (tied ? 2u : 3u) + (uint64_t)m->layers * 9 + (bias != NULL));
    hd_put_u64(&f.w, 14);
    put_key(&f, "general.architecture", 8);
    put_text(&f.w, architecture, strlen(architecture));
    put_integer(&f, "general.alignment", (uint32_t)f.alignment);
    put_integer(&f, "llama.embedding_length", (uint32_t)m->dim);
    put_integer(&f, "llama.feed_forward_length", (uint32_t)m->hidden);
    put_integer(&f, "llama.block_count", (uint32_t)m->layers);
    put_integer(&f, "llama.attention.head_count", (uint32_t)m->heads);
    put_integer(&f, "llama.attention.head_count_kv", (uint32_t)m->kv_heads);
    put_integer(&f, "llama.context_length", (uint32_t)m->max_tokens);
    put_integer(&f, "llama.rope.dimension_count", (uint32_t)(m->dim / m->heads));
    put_key(&f, "llama.attention.layer_norm_rms_epsilon", 6);
    hd_put_f32(&f.w, 1e-5f);
    put_key(&f, "llama.rope.freq_base", 6);
    hd_put_f32(&f.w, 10000);
    put_integer(&f, "tokenizer.ggml.bos_token_id", 1);
    put_key(&f, "tokenizer.ggml.tokens", 9);
    hd_put_u32(&f.w, 8);
    hd_put_u64(&f.w, table);
    for (size_t i = 0; i < table; i++) {
        char piece[16];
        int n = i < 3 ? snprintf(piece, sizeof piece, "%s", i == 1 ? "<s>" : i == 2 ? "</s>" : "<unk>") : i < 259 ? snprintf(piece, sizeof piece, "<0x%02X>", (unsigned)i - 3)
                : snprintf(piece, sizeof piece, i == 259 ? "\xe2\x96\x81" : i == 260 ? "a" : i == 261 ? "\xe2\x96\x81" "a" : "p%zu", i);
        put_text(&f.w, piece, (size_t)n);
    }
    put_key(&f, "tokenizer.ggml.scores", 9);
    hd_put_u32(&f.w, 6);
    hd_put_u64(&f.w, table);
    for (size_t i = 0; i < table; i++) hd_put_f32(&f.w, (float)i);
    put_tensor(&f, "token_embd.weight", kind, table, dim, m->embedding, give ? m->embedding : NULL);
    put_tensor(&f, "output_norm.weight", 0, 1, dim, m->norm_final, give ? m->norm_final : NULL);
    if (!tied) put_tensor(&f, "output.weight", kind, table, dim, m->classifier, give ? m->classifier : NULL);
    for (int l = 0; l < m->layers; l++) {
        char name[64];
        hd_llama_layer *y = &m->layer[l];
        snprintf(name, sizeof name, "blk.%d.attn_norm.weight", l);
        put_tensor(&f, name, 0, 1, dim, y->norm_attention, give ? y->norm_attention : NULL);
        snprintf(name, sizeof name, "blk.%d.ffn_norm.weight", l);
        put_tensor(&f, name, 0, 1, dim, y->norm_ffn, give ? y->norm_ffn : NULL);
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            snprintf(name, sizeof name, "blk.%d.%s.weight", l, names[k]);
            put_tensor(&f, name, kind, (size_t)out, (size_t)in, y->matrix[k], give ? y->matrix[k] : NULL);
        }
    }
    float zeros[64];
    if (bias) put_tensor(&f, bias, 0, 1, dim, zeros, NULL);
    while (f.w.size % f.alignment) hd_put_u8(&f.w, 0);
    hd_put_bytes(&f.w, f.data.data, f.data.size);
    hd_writer_free(&f.data);
    return f.w;
}

static void same_floats(const float *a, const float *b, size_t n, const char *what) {
    for (size_t i = 0; i < n; i++)
        if (fabs((double)a[i] - (double)b[i]) > 1e-6 * fabs((double)b[i]) + 1e-9) fail_msg("%s: element %zu is %g, wanted %g", what, i, (double)a[i], (double)b[i]);
}

static void same_models(const hd_llama *a, const hd_llama *b, const char *what) {
    size_t dim = (size_t)b->dim, table = (size_t)b->vocab * dim;
    assert_true(a->dim == b->dim && a->hidden == b->hidden && a->layers == b->layers && a->heads == b->heads && a->kv_heads == b->kv_heads && a->vocab == b->vocab && a->max_tokens == b->max_tokens);
    assert_int_equal(a->classifier == a->embedding, b->classifier == b->embedding);
    same_floats(a->embedding, b->embedding, table, what);
    same_floats(a->classifier, b->classifier, table, what);
    same_floats(a->norm_final, b->norm_final, dim, what);
    for (int l = 0; l < b->layers; l++) {
        same_floats(a->layer[l].norm_attention, b->layer[l].norm_attention, dim, what);
        same_floats(a->layer[l].norm_ffn, b->layer[l].norm_ffn, dim, what);
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(b, k, &out, &in);
            same_floats(a->layer[l].matrix[k], b->layer[l].matrix[k], (size_t)out * (size_t)in, what);
        }
    }
}

static hd_llama *empty(int dim, int tied) {
    hd_llama sizes = {.dim = dim, .hidden = 2 * dim, .layers = 2, .heads = 4, .kv_heads = 2, .vocab = 300, .max_tokens = 40}, *m;
    hd_err err = {0};
    if (hd_llama_new(&m, &sizes, tied, &err)) fail_msg("%s", err.message);
    return m;
}

static void formats(void **state) {
    (void)state;
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        hd_llama *m = empty(kinds[kind].elements == 256 ? 256 : 32, (int)kind % 2), *found;
        hd_writer w = write_model(m, (int)kind, 0, kind + 1, "llama");
        hd_err err = {0};
        char what[32];
        snprintf(what, sizeof what, "ggml type %d", kinds[kind].type);
        if (hd_import_gguf_memory(&found, w.data, w.size, what, &err)) fail_msg("%s", err.message);
        same_models(found, m, what);
        hd_llama_free(found);
        hd_llama_free(m);
        hd_writer_free(&w);
    }
}

/* The byte behind a text of the file. */
static uint8_t *behind(const hd_writer *w, const char *text) {
    size_t n = strlen(text);
    for (size_t i = 0; i + n < w->size; i++)
        if (!memcmp(w->data + i, text, n)) return w->data + i + n;
    fail_msg("no '%s' in the file", text);
    return NULL;
}

static void tokenizer(void **state) {
    (void)state;
    hd_llama *m = empty(32, 1);
    hd_writer w = write_model(m, 0, 0, 5, "llama");
    char path[] = "gguf-XXXXXX";
    int fd = mkstemp(path);
    hd_err err = {0};
    hd_tokenizer *t;
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(hd_file_write(path, w.data, w.size, &err), HD_OK);
    if (hd_tokenizer_load_gguf(&t, path, m->vocab, &err)) fail_msg("%s", err.message);
    int16_t token[16];
    assert_int_equal(hd_tokenizer_encode(t, "a\n", token, 16, &err), 3); /* BOS, " a", the byte 10 */
    assert_int_equal(token[1], 261);
    assert_int_equal(token[2], 13);
    size_t n;
    assert_memory_equal(hd_tokenizer_piece(t, 5, 261, &n), " a", 2);
    assert_int_equal(n, 2);
    hd_tokenizer_free(t);
    char want[200];
    static const struct { const char *key; int ahead, vocab; uint8_t value; hd_status status; const char *message; } rows[] = {
        {"tokenizer.ggml.scores", -1, 0, 'X', HD_UNSUPPORTED, "carries no tokenizer with pieces and scores (SentencePiece); give one with --tokenizer"},
        {"tokenizer.ggml.bos_token_id", 4, 0, 7, HD_UNSUPPORTED, "texts begin with token 7 and end with 2; supported are 1 and 2"},
        {"GGUF", 0, 1, 3, HD_MISMATCH, "300 pieces and 300 scores for a vocabulary of 301"},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        uint8_t *at = behind(&w, rows[k].key) + rows[k].ahead, old = *at;
        *at = rows[k].value;
        err.message[0] = 0;
        assert_int_equal(hd_file_write(path, w.data, w.size, NULL), HD_OK);
        assert_int_equal(hd_tokenizer_load_gguf(&t, path, m->vocab + rows[k].vocab, &err), rows[k].status);
        snprintf(want, sizeof want, "%s: %s", path, rows[k].message);
        assert_string_equal(err.message, want);
        assert_null(t);
        *at = old;
    }
    unlink(path);
    hd_writer_free(&w);
    hd_llama_free(m);
}

/* The published model written as GGUF is the same model. */
static void published(void **state) {
    (void)state;
    char path[4096];
    hd_err err = {0};
    if (hd_models_file(path, sizeof path, "stories260K.bin", &err)) {
        printf("%s\n", err.message);
        skip();
    }
    hd_llama *m, *found;
    assert_int_equal(hd_import_llama2c(&m, path, &err), HD_OK);
    hd_writer w = write_model(m, 0, 1, 2, "llama");
    if (hd_import_gguf_memory(&found, w.data, w.size, "stories.gguf", &err)) fail_msg("%s", err.message);
    same_models(found, m, "stories");
    hd_llama_free(found);
    hd_llama_free(m);
    hd_writer_free(&w);
}

/* `value` in `bytes` bytes, `ahead` of what follows a text of the file. */
static void messages(void **state) {
    (void)state;
    enum { DIMS = 0, SIZE0 = 4, SIZE1 = 12, TYPE = 20, VALUE = 4 };
    static const struct { int kind; const char *text; int ahead, bytes; uint64_t value; hd_status status; const char *message; } rows[] = {
        {0, "GGUF", -4, 1, 'g', HD_FORMAT, "not a GGUF file (no identifier GGUF)"},
        {0, "GGUF", 0, 4, 9, HD_UNSUPPORTED, "GGUF version 9; supported are 2 and 3 (little-endian)"},
        {0, "GGUF", 4, 8, 65537, HD_RANGE, "65537 tensors and 14 values; allowed 65536 and 65536"},
        {0, "GGUF", 12, 8, 1ull << 40, HD_RANGE, "20 tensors and 1099511627776 values; allowed 65536 and 65536"},
        {0, "GGUF", 20, 8, 1ull << 40, HD_FORMAT, "not a whole GGUF file: a value lies outside of its 119872 bytes"},
        {0, "general.architecture", VALUE + 8, 1, 'L', HD_UNSUPPORTED, "architecture 'Llama'; supported is 'llama'"},
        {0, "general.alignment", 0, 4, 13, HD_UNSUPPORTED, "value 'general.alignment' has type 13; arrays of arrays and types above 12 are not supported"},
        {0, "general.alignment", VALUE, 4, 0, HD_RANGE, "general.alignment is 0; allowed 1 to 1048576"},
        {0, "general.alignment", VALUE, 4, 1 << 21, HD_RANGE, "value 'general.alignment' is 2097152; allowed 0 to 1048576"},
        {0, "llama.block_count", 0, 4, 6, HD_FORMAT, "value 'llama.block_count' is no whole number (type 6)"},
        {0, "llama.block_count", -1, 1, 'T', HD_FORMAT, "value 'llama.block_count' is missing"},
        {0, "llama.rope.freq_base", 0, 4, 4, HD_FORMAT, "value 'llama.rope.freq_base' is no real number (type 4)"},
        {0, "llama.rope.freq_base", VALUE, 4, 0x48f42400, HD_UNSUPPORTED, "norms with epsilon 1e-05, rotary positions of base 500000 scaled by 1; supported are 1e-5, 10000 and 1"},
        {0, "llama.rope.dimension_count", VALUE, 4, 4, HD_UNSUPPORTED, "4 of a head's 8 elements have rotary positions; supported is all"},
        {0, "tokenizer.ggml.scores", VALUE + 4, 8, 1ull << 40, HD_FORMAT, "not a whole GGUF file: an array lies outside of its 119872 bytes"},
        {0, "token_embd.weight", -1, 1, 'T', HD_FORMAT, "tensor 'token_embd.weight' of two dimensions is missing"},
        {0, "blk.1.ffn_up.weight", -15, 1, '7', HD_FORMAT, "tensor 'blk.1.ffn_up.weight' is missing"},
        {0, "blk.1.ffn_up.weight", -27, 8, 1 << 17, HD_FORMAT, "not a whole GGUF file: the directory of tensors lies outside of its 119872 bytes"},
        {0, "blk.1.ffn_up.weight", DIMS, 4, 5, HD_RANGE, "tensor 'blk.1.ffn_up.weight' has 5 dimensions; allowed 1 to 4"},
        {0, "blk.1.ffn_up.weight", DIMS, 4, 0, HD_RANGE, "tensor 'blk.1.ffn_up.weight' has 0 dimensions; allowed 1 to 4"},
        {0, "blk.1.ffn_up.weight", SIZE0, 8, 0, HD_RANGE, "tensor 'blk.1.ffn_up.weight': size 0 is 0; sizes are positive, and their product below 2^61"},
        {0, "blk.1.ffn_up.weight", SIZE1, 8, 1ull << 56, HD_RANGE, "tensor 'blk.1.ffn_up.weight': size 1 is 72057594037927936; sizes are positive, and their product below 2^61"},
        {0, "blk.1.ffn_up.weight", SIZE1, 8, 63, HD_MISMATCH, "tensor 'blk.1.ffn_up.weight' is 63 x 32; its sizes ask for 64 x 32"},
        {0, "blk.1.ffn_up.weight", TYPE, 4, 3, HD_UNSUPPORTED, "tensor 'blk.1.ffn_up.weight' has ggml type 3; supported are F32, F16, BF16, Q8_0, Q4_0, Q4_K and Q6_K"},
        {0, "blk.1.ffn_up.weight", TYPE + 4, 8, 119872, HD_FORMAT, "not a whole GGUF file: the data of a tensor lies outside of its 119872 bytes"},
        {3, "blk.1.ffn_up.weight", SIZE0, 8, 33, HD_FORMAT, "tensor 'blk.1.ffn_up.weight' has rows of 33 elements; its blocks have 32, and rows are of whole blocks"},
    };
    hd_err err = {0};
    hd_llama *m = empty(32, 1), *found;
    char want[200];
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        hd_writer w = write_model(m, rows[k].kind, 0, 1, "llama");
        uint8_t *at = behind(&w, rows[k].text) + rows[k].ahead;
        for (int b = 0; b < rows[k].bytes; b++) at[b] = (uint8_t)(rows[k].value >> 8 * b);
        hd_status s = hd_import_gguf_memory(&found, w.data, w.size, "x.gguf", &err);
        snprintf(want, sizeof want, "x.gguf: %s", rows[k].message);
        assert_string_equal(err.message, want);
        assert_int_equal(s, rows[k].status);
        assert_null(found);
        hd_writer_free(&w);
    }
    bias = "blk.0.attn_q.bias";
    hd_writer w = write_model(m, 0, 0, 1, "llama");
    bias = NULL;
    assert_int_equal(hd_import_gguf_memory(&found, w.data, w.size, "x.gguf", &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "x.gguf: tensor 'blk.0.attn_q.bias': biases are not supported");
    hd_writer_free(&w);
    /* The last tensor ends with the file. */
    w = write_model(m, 0, 0, 1, "llama");
    assert_int_equal(hd_import_gguf_memory(&found, w.data, w.size - 1, "x.gguf", &err), HD_FORMAT);
    snprintf(want, sizeof want, "x.gguf: not a whole GGUF file: the data of a tensor lies outside of its %zu bytes", w.size - 1);
    assert_string_equal(err.message, want);
    hd_writer_free(&w);
    hd_llama_free(m);
}

/* Cut anywhere in front of the data, any byte there changed: an error or another model, never a crash (the sanitizers watch). */
static void broken_files(void **state) {
    (void)state;
    hd_llama *m = empty(32, 1), *found;
    hd_writer w = write_model(m, 0, 0, 4, "llama");
    hd_rng rng;
    hd_err err;
    hd_rng_seed(&rng, 9, 1);
    size_t directory = 0, refused = 0;
    for (size_t i = 0; i + 9 < w.size; i++)
        if (!memcmp(w.data + i, "blk.1.ffn", 9)) directory = i + 64;
    for (size_t size = 0; size < directory; size += 1 + hd_rng_below(&rng, 9)) {
        uint8_t *cut = malloc(size + 1);
        memcpy(cut, w.data, size);
        assert_int_not_equal(hd_import_gguf_memory(&found, cut, size, "cut", &err), HD_OK);
        assert_null(found);
        free(cut);
    }
    for (size_t i = 0; i < directory; i += 1 + hd_rng_below(&rng, 5)) {
        uint8_t old = w.data[i];
        w.data[i] = (uint8_t)hd_rng_u32(&rng);
        refused += hd_import_gguf_memory(&found, w.data, w.size, "changed", &err) != HD_OK;
        hd_llama_free(found);
        w.data[i] = old;
    }
    assert_true(refused > 100);
    hd_writer_free(&w);
    hd_llama_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(formats), cmocka_unit_test(tokenizer), cmocka_unit_test(published), cmocka_unit_test(messages), cmocka_unit_test(broken_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
