/* .hlm files: every format comes back to the bit, in one form; exact errors; damaged files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "../../compiler/compress/lm_integer.h"
#include "../../compiler/compress/lm_internal.h"
#include "../../compiler/compress/lm_policy.h"
#include "../../compiler/compress/passes.h"
#include "../../sw/core/file.h"
#include "../../sw/core/rng.h"

enum { DIM = 8, HIDDEN = 20, LAYERS = 2, VOCAB = 13, N = 2, T = 20 };

static char path[64], other[64];

static hd_llama *small_model(int tied) {
    hd_llama sizes = {.dim = DIM, .hidden = HIDDEN, .layers = LAYERS, .heads = 2, .kv_heads = 1, .vocab = VOCAB, .max_tokens = T}, *m;
    hd_err err = {0};
    hd_rng rng;
    hd_rng_seed(&rng, 5, 1);
    if (hd_llama_new(&m, &sizes, tied, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < VOCAB * DIM; i++) m->embedding[i] = hd_rng_normal(&rng);
    for (int i = 0; i < VOCAB * DIM && !tied; i++) m->classifier[i] = hd_rng_normal(&rng);
    for (int i = 0; i < DIM; i++) m->norm_final[i] = 1 + 0.1f * (float)i;
    for (int l = 0; l < LAYERS; l++) {
        for (int i = 0; i < DIM; i++) m->layer[l].norm_attention[i] = m->layer[l].norm_ffn[i] = 1 - 0.1f * (float)i;
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            for (int i = 0; i < out * in; i++) m->layer[l].matrix[k][i] = 0.4f * hd_rng_normal(&rng);
        }
    }
    return m;
}

static const struct {
    hd_method method;
    hd_linear_format format;
} rows[] = {
    {HD_METHOD_GPTQ, {.bits = 4, .grid = HD_GRID_ODD, .group = 4, .shift_groups = 1}},
    {HD_METHOD_GPTQ, {.bits = 3, .grid = HD_GRID_EVEN, .group = 3}},
    {HD_METHOD_RTN, {.bits = 8, .grid = HD_GRID_EVEN, .wide_scales = 1}},
    {HD_METHOD_RTN, {.bits = 1, .grid = HD_GRID_ODD, .group = 64}},
    {HD_METHOD_GPTQ, {.bits = 0, .grid = HD_GRID_TERNARY, .group = 4}},
    {HD_METHOD_AWQ, {.bits = 4, .grid = HD_GRID_ODD, .group = 4}},
    {HD_METHOD_GPTQ, {.bits = 3, .group = 4, .affine = 1}},
    {HD_METHOD_SPARSEGPT, {.bits = 8, .affine = 1, .sparsity = HD_SPARSE_UNSTRUCTURED, .density = 0.5f}},
    {HD_METHOD_SPARSEGPT, {.bits = 16, .sparsity = HD_SPARSE_UNSTRUCTURED, .density = 0.4f}},
    {HD_METHOD_SPARSEGPT, {.bits = 4, .grid = HD_GRID_ODD, .group = 4, .sparsity = HD_SPARSE_N_OF_M, .n = 2, .m = 4}},
    {HD_METHOD_SPARSEGPT, {.bits = 2, .grid = HD_GRID_ODD, .shift_groups = 1, .group = 4, .sparsity = HD_SPARSE_BLOCK, .density = 0.5f, .block_in = 4, .block_out = 3}},
    {HD_METHOD_GPTQ, {.bits = 3, .affine = 1}},
};
enum { INTEGERS = sizeof rows / sizeof *rows };

/* Then matrices of codes: policies for every matrix, and one model of several codings and tables. */
static const char *const codings[][2] = {{"table:5", NULL}, {"additive:3", NULL}, {"trellis:4", NULL}, {"e8p", NULL}, {"e8p:3", "gptq"}, {"table:3", "e8p:4"}, {"table:4", "table:3"}};
enum { FORMATS = INTEGERS + sizeof codings / sizeof *codings };

static void random_tokens(int16_t *tokens, int n) {
    hd_rng rng;
    hd_rng_seed(&rng, 3, 1);
    for (int i = 0; i < n; i++) tokens[i] = (int16_t)hd_rng_below(&rng, VOCAB);
}

/* The first method for all, the second, where there is one, for the matrices of layer 1. */
static hd_lm *coded(const char *const method[2], const hd_llama *m, const int16_t *tokens) {
    hd_policy p;
    hd_lm *c;
    hd_err err = {0};
    hd_policy_default(&p);
    p.base.bits = 4;
    if (hd_recipe_parse(&p.base.recipe, method[0], &err)) fail_msg("%s", err.message);
    if (method[1]) {
        hd_layer_policy second = p.base;
        if (hd_recipe_parse(&second.recipe, method[1], &err)) fail_msg("%s", err.message);
        assert_true(hd_policy_add(&p, "layer1*", &second));
    }
    if (hd_lm_compress_policy(&c, m, &p, tokens, T, N, T, NULL, &err)) fail_msg("%s: %s", method[0], err.message);
    hd_policy_free(&p);
    return c;
}

static hd_lm *compressed(int which, int tied) {
    hd_llama *m = small_model(tied);
    hd_lm *c;
    hd_err err = {0};
    int16_t tokens[N * T];
    random_tokens(tokens, N * T);
    if (which >= INTEGERS) {
        c = coded(codings[which - INTEGERS], m, tokens);
        hd_llama_free(m);
        return c;
    }
    hd_lm_linear l = {.format = rows[which].format};
    hd_linear_defaults(&l.options, rows[which].method);
    hd_lm_options o = {.solve = hd_lm_solve_linear, .arg = &l, .correct = 1};
    if (hd_lm_compress(&c, m, tokens, T, N, T, &o, &err)) fail_msg("format %d: %s", which, err.message);
    hd_llama_free(m);
    return c;
}

static void round_trips(void **state) {
    (void)state;
    int16_t tokens[N * T];
    random_tokens(tokens, N * T);
    for (int f = 0; f < FORMATS; f++) {
        hd_lm *c = compressed(f, f & 1), *k;
        hd_err err = {0};
        if (hd_lm_save(c, path, &err) || hd_lm_load(&k, path, &err)) fail_msg("format %d: %s", f, err.message);
        assert_true(fabs(k->shared_bits - c->shared_bits) < 8 * (c->tables + 0.1));
        assert_true((k->model->classifier == k->model->embedding) == (f & 1));
        for (int i = 0; i < LAYERS * HD_LLAMA_MATRICES; i++) {
            int out, in;
            hd_llama_shape(c->model, i % HD_LLAMA_MATRICES, &out, &in);
            size_t n = (size_t)(out * in);
            assert_memory_equal(c->matrix[i].linear.w, k->matrix[i].linear.w, n * sizeof(float));
            if (c->matrix[i].linear.v) assert_memory_equal(c->matrix[i].linear.v, k->matrix[i].linear.v, n * sizeof(int16_t));
            /* Padding of at most four sections to bytes, and ternary codes in whole fives. */
            double extra = k->matrix[i].linear.bits_stored - c->matrix[i].linear.bits_stored;
            if (extra < -0.001 || extra > 36) fail_msg("format %d: %g bits more in the file", f, extra);
        }
        double before, after;
        hd_lm_integer *integers;
        assert_int_equal(hd_lm_integer_new(&integers, k, &err), HD_UNSUPPORTED);
        assert_string_equal(err.message, "the file has no ranges of its matrices' outputs (it was written before they were kept): compress or tune the model again");
        assert_int_equal(hd_llama_cross_entropy(c->model, tokens, N, T - 1, &before, &err), HD_OK);
        assert_int_equal(hd_llama_cross_entropy(k->model, tokens, N, T - 1, &after, &err), HD_OK);
        assert_true(before == after);
        uint8_t *x, *y;
        size_t nx, ny;
        assert_int_equal(hd_lm_save(k, other, &err), HD_OK);
        assert_int_equal(hd_file_read(&x, &nx, path, 1 << 24, 0, &err), HD_OK);
        assert_int_equal(hd_file_read(&y, &ny, other, 1 << 24, 0, &err), HD_OK);
        assert_int_equal(nx, ny);
        assert_memory_equal(x, y, nx);
        free(x);
        free(y);
        hd_lm_free(c);
        hd_lm_free(k);
    }
}

static void halves(void **state) {
    (void)state;
    for (unsigned b = 0; b < 65536; b++) {
        float v = hd_half_value(b);
        if (!isfinite(v)) continue;
        if (hd_half_bits(v) != (int)b) fail_msg("half 0x%04x = %g comes back as %d", b, (double)v, hd_half_bits(v));
    }
    assert_true(hd_half_value(0x3c00) == 1.0f && hd_half_value(0x7bff) == 65504.0f && hd_half_value(1) == 0x1p-24f && hd_half_value(0xc000) == -2.0f);
    assert_true(hd_half_bits(65536.0f) < 0 && hd_half_bits(1.0f + 0x1p-11f) < 0 && hd_half_bits(0x1p-25f) < 0 && hd_half_bits(0x1.8p-24f) < 0);
}

static void put(uint8_t *at, uint32_t v, int bytes) {
    for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(v >> 8 * i);
}

/* Writes a file of `size` bytes with a header that fits its payload. */
static void write_file(uint8_t *data, size_t size) {
    put(data + 8, (uint32_t)size - 16, 4);
    put(data + 12, (uint32_t)crc32(crc32(0, NULL, 0), data + 16, (uInt)size - 16), 4);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

static void refuses(uint8_t *data, size_t size, hd_status code, const char *message) {
    hd_lm *c;
    hd_err err = {0};
    char want[300];
    write_file(data, size);
    hd_status found = hd_lm_load(&c, path, &err);
    assert_null(c);
    snprintf(want, sizeof want, "%s: %s", path, message);
    assert_string_equal(err.message, want);
    assert_int_equal(found, code);
}

/* Bytes of a saved model without tables: header, sizes, embedding, final norm, number of tables, two norms; then layer0.q: coding, format (7), 8 row scales,
 * 16 shifts (4), codes. */
enum { SIZES = 16, EMBEDDING = SIZES + 29, TABLES = EMBEDDING + 4 * (VOCAB * DIM + DIM), LAYER = TABLES + 1, Q = LAYER + 4 * 2 * DIM + 1, SCALES = Q + 7, CODES = SCALES + 16 + 4 };

static uint8_t *saved(int which, size_t *size) {
    hd_lm *c = compressed(which, 1);
    hd_err err = {0};
    uint8_t *data;
    assert_int_equal(hd_lm_save(c, path, &err), HD_OK);
    assert_int_equal(hd_file_read(&data, size, path, 1 << 24, 0, &err), HD_OK);
    hd_lm_free(c);
    return data;
}

/* table:5 (4 weights a code, 6 planes): number of tables, shape (5), 32 * 4 entries (96 bytes), two norms; then layer0.q: coding, table, octave (2), 8 scales of
 * 6 bits (6), 16 codes of 5 bits (10). e8p: no tables; coding, bits, rotated outputs, seed (4), octave (2). */
static void coding_errors(void) {
    enum { SHAPE = TABLES + 1, CODED = SHAPE + 5 + 96 + 4 * 2 * DIM + 1, E8P = Q };
    static const struct {
        int which, at, bytes;
        uint32_t value;
        hd_status code;
        const char *message;
    } wrong[] = {
        {0, SHAPE, 1, 9, HD_RANGE, "table 0: codebook: group 9; allowed 1..8"},
        {0, SHAPE + 1, 1, 0, HD_RANGE, "table 0: codebook: books 0; allowed 1..4"},
        {0, SHAPE + 3, 1, 4, HD_RANGE, "table 0: codebook: window 4; allowed 5..12"},
        {0, SHAPE + 4, 1, 1, HD_RANGE, "table 0: codebook: planes 1; allowed 2..8"},
        {0, SHAPE + 3, 1, 12, HD_FORMAT, "table 0: entries: 12288 bytes needed, 599 left in the file"},
        {0, CODED, 1, 1, HD_FORMAT, "layer0.q: shared table 1; the file has 1"},
        {0, CODED + 1, 2, 101, HD_RANGE, "layer0.q: scales from 2^101; allowed exponents are -126 to 100"},
        {3, E8P, 1, 5, HD_FORMAT, "layer0.q: 5 bits a weight on E8P; allowed 2 to 4"},
        {3, E8P + 1, 1, 2, HD_FORMAT, "layer0.q: rotated outputs: found 2; allowed are 0 and 1"},
        {3, E8P + 6, 2, 0x8000, HD_RANGE, "layer0.q: scales from 2^-32768; allowed exponents are -126 to 100"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t size;
        uint8_t *data = saved(INTEGERS + wrong[i].which, &size);
        put(data + wrong[i].at, wrong[i].value, wrong[i].bytes);
        refuses(data, size, wrong[i].code, wrong[i].message);
        free(data);
    }
    size_t size;
    uint8_t *data = saved(INTEGERS, &size);
    refuses(data, CODED + 3 + 6 + 9, HD_FORMAT, "layer0.q: scales and codes: 16 bytes needed, 15 left in the file");
    free(data);
    hd_lm *c = compressed(INTEGERS, 1);
    hd_err err = {0};
    c->matrix[HD_LLAMA_Q].code->code[3] = 32;
    unlink(path);
    assert_int_equal(hd_lm_save(c, path, &err), HD_RANGE);
    assert_non_null(strstr(err.message, "layer0.q: code 3 is 32; allowed below 32"));
    c->matrix[HD_LLAMA_Q].code->code[3] = 31;
    c->matrix[HD_LLAMA_Q].code->scale_code[1] = 64;
    assert_int_equal(hd_lm_save(c, path, &err), HD_RANGE);
    assert_non_null(strstr(err.message, "layer0.q: scale code 64 of row 1; allowed 0 to 63"));
    c->matrix[HD_LLAMA_Q].code->scale_code[1] = 0;
    c->table[0]->entry[2] = 2;
    assert_int_equal(hd_lm_save(c, path, &err), HD_RANGE);
    assert_non_null(strstr(err.message, "table 0: entry 2 is 2; allowed are odd integers from -63 to 63"));
    assert_int_equal(access(path, F_OK), -1);
    hd_lm_free(c);
}

/* A code keeps all weights: what is to be sparse has integers. */
static void sparse_codes(void **state) {
    (void)state;
    hd_llama *m = small_model(1);
    hd_policy p;
    hd_lm *c;
    hd_err err = {0};
    int16_t tokens[N * T];
    random_tokens(tokens, N * T);
    hd_policy_default(&p);
    p.base.bits = 4;
    p.base.sparsity = 0.5f;
    p.base.structure = HD_SPARSE_UNSTRUCTURED;
    assert_int_equal(hd_recipe_parse(&p.base.recipe, "table:4", &err), HD_OK);
    assert_int_equal(hd_lm_compress_policy(&c, m, &p, tokens, T, N, T, NULL, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "layer0.q: weights removed from a matrix of codes; allowed with integers only");
    hd_llama_free(m);
}

/* What only other formats hold. Blocks: their sizes (4), 8 row scales, 16 shifts (4), a mask of 6 bits. Zero points: 8 row scales, 8 zeros of 3 bits (3), 64 codes (24), then
 * layer0.k: coding, format, 4 scales, 4 zeros (2). */
static void format_errors(void) {
    enum { AFFINE_ROWS = 6, FLOATS = 8, BLOCKS = 10, ROW_ZEROS = 11, MASK = Q + 7 + 4 + 16 + 4, K_ZEROS = Q + 7 + 16 + 3 + 24 + 1 + 7 + 8 };
    static const struct {
        int which, at, bytes;
        uint32_t value;
        const char *message;
    } wrong[] = {
        {AFFINE_ROWS, Q + 2, 1, 33, "layer0.q: zero points with grid 0, flags 33; they go with grid 0 and without shifts"},
        {AFFINE_ROWS, Q + 1, 1, 1, "layer0.q: zero points with grid 1, flags 32; they go with grid 0 and without shifts"},
        {FLOATS, Q + 2, 1, 0, "layer0.q: float values without a mask; a compressed matrix has one of integers and mask"},
        {BLOCKS, Q + 7, 2, 0, "layer0.q: blocks of 0 x 3; allowed 1 x 1 to 256 x 256"},
        {BLOCKS, Q + 9, 2, 5000, "layer0.q: blocks of 4 x 5000; allowed 1 x 1 to 256 x 256"},
        {BLOCKS, MASK, 1, 0x87, "layer0.q: mask: the last byte is 0x87; bits past the end are 0"},
        {ROW_ZEROS, K_ZEROS + 1, 1, 0x1f, "layer0.k: zero points: the last byte is 0x1f; bits past the end are 0"},
        {INTEGERS, SIZES + 12, 4, 4, "layer0.k: scales: bits past the end are 0xc; they are 0"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t size;
        uint8_t *data = saved(wrong[i].which, &size);
        put(data + wrong[i].at, wrong[i].value, wrong[i].bytes);
        refuses(data, size, HD_FORMAT, wrong[i].message);
        free(data);
    }
}

/* A file of the version before. */
static void older_version(void) {
    size_t size;
    uint8_t *data = saved(0, &size);
    put(data + 4, 1, 4);
    refuses(data, size, HD_UNSUPPORTED, "version 1; this program reads version 3");
    free(data);
}

static void errors(void **state) {
    (void)state;
    static const struct {
        int at, bytes;
        uint32_t value;
        hd_status code;
        const char *message;
    } wrong[] = {
        {SIZES, 4, 9, HD_RANGE, "dim 9, 2 heads; a head needs an even number of whole elements"},
        {SIZES + 8, 4, 0xffffffff, HD_RANGE, "layers is -1; allowed 1 to 1024"},
        {SIZES + 4, 4, 1 << 18, HD_FORMAT, "1734 bytes left for a vocabulary of 13 x 8 and 12583296 block weights; too few"},
        {SIZES + 20, 4, 32767, HD_FORMAT, "1734 bytes left for a vocabulary of 32767 x 8 and 1344 block weights; too few"},
        {SIZES + 28, 1, 2, HD_FORMAT, "tied classifier: found 2; allowed are 0 and 1"},
        {EMBEDDING + 4, 4, 0x7f800000, HD_FORMAT, "embedding: element 1 is inf; weights are finite"},
        {TABLES, 1, 1, HD_RANGE, "table 0: codebook: group 0; allowed 1..8"},
        {Q - 1, 1, 3, HD_FORMAT, "layer0.q: coding 3; allowed 0 to 2"},
        {Q - 1, 1, 1, HD_FORMAT, "layer0.q: shared table 4; the file has 0"},
        {Q, 1, 9, HD_FORMAT, "layer0.q: 9 bits on grid 0; allowed 1 to 8, or 16 (float)"},
        {Q, 1, 16, HD_FORMAT, "layer0.q: float values with grid 0, groups of 4, flags 1; they have no grid, groups, shifts or scales"},
        {Q + 1, 1, 2, HD_FORMAT, "layer0.q: 4 bits on grid 2; allowed 0 to 0, or 16 (float)"},
        {Q + 2, 1, 64, HD_FORMAT, "layer0.q: flags 64; allowed 0 to 63, blocks with a mask only"},
        {Q + 3, 4, 9, HD_FORMAT, "layer0.q: groups of 9 inputs; allowed 0 to 8"},
        {SCALES + 2, 2, 0x7c00, HD_FORMAT, "layer0.q: scale 1 is inf; it must be finite"},
    };
    size_t size;
    uint8_t *data = saved(0, &size);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t old[4];
        memcpy(old, data + wrong[i].at, 4);
        put(data + wrong[i].at, wrong[i].value, wrong[i].bytes);
        refuses(data, size, wrong[i].code, wrong[i].message);
        memcpy(data + wrong[i].at, old, 4);
    }
    uint8_t grid = data[Q + 1];
    char unknown[64];
    snprintf(unknown, sizeof unknown, "layer0.q: grid %d; allowed 0 to %d", HD_GRIDS, HD_GRIDS - 1);
    data[Q + 1] = HD_GRIDS;
    refuses(data, size, HD_FORMAT, unknown);
    data[Q + 1] = grid;
    refuses(data, SIZES + 28, HD_FORMAT, "payload of 28 bytes; the sizes alone have 29");
    refuses(data, CODES + 3, HD_FORMAT, "layer0.q: codes: 32 bytes needed, 3 left in the file");
    free(data);
    coding_errors();
    format_errors();
    older_version();
    /* Ternary: a byte above 242 is no five trits. */
    data = saved(4, &size);
    put(data + size - 2, 250, 1); /* behind the codes: no ranges */
    refuses(data, size, HD_FORMAT, "layer1.w3: byte 31 of the codes is 0xfa, no code of its grid");
    data = realloc(data, size + 1);
    assert_non_null(data);
    data[size - 2] = 121;
    data[size] = 0;
    refuses(data, size + 1, HD_FORMAT, "1 bytes follow the ranges");
    data[size - 1] = 2;
    refuses(data, size, HD_FORMAT, "ranges: found 2; allowed are 0 and 1");
    data[size - 1] = 1;
    refuses(data, size, HD_FORMAT, "file: ranges: 314 bytes needed, 0 left in the file");
    data = realloc(data, size + 314);
    assert_non_null(data);
    memset(data + size, 0, 314);
    put(data + size + 2, 0xbc00, 2);
    refuses(data, size + 314, HD_FORMAT, "range 1 is -1.000000; allowed are 0 and positive numbers");
    free(data);
}

static void refuses_to_save(const hd_lm *c, hd_status code, const char *message) {
    hd_err err = {0};
    char want[200];
    unlink(path);
    hd_status found = hd_lm_save(c, path, &err);
    snprintf(want, sizeof want, "%s: %s", path, message);
    assert_string_equal(err.message, want);
    assert_int_equal(found, code);
    assert_int_equal(access(path, F_OK), -1);
}

static void refuses_what_it_cannot_store(void **state) {
    (void)state;
    char want[200];
    hd_lm *c = compressed(1, 0);
    hd_lm_matrix *m = &c->matrix[HD_LLAMA_W1];
    hd_linear_result *r = &m->linear;
    r->v[5] += 1;
    snprintf(want, sizeof want, "layer0.w1: weight 5 is %d, which is not on its grid", r->v[5]);
    refuses_to_save(c, HD_RANGE, want);
    r->v[5] -= 1;
    r->scale[0] = 0.1f;
    refuses_to_save(c, HD_RANGE, "layer0.w1: scale 0.100000001 is no float16");
    m->format.tap = 2;
    refuses_to_save(c, HD_UNSUPPORTED, "layer0.w1: window taps; a language model has none");
    m->format.tap = 0;
    free(r->v);
    r->v = NULL;
    refuses_to_save(c, HD_UNSUPPORTED, "layer0.w1: no integers or mask; a .hlm stores what hd_linear_solve returns");
    c->tables = 256;
    refuses_to_save(c, HD_UNSUPPORTED, "256 shared tables; a file holds up to 255");
    c->tables = 0;
    hd_lm_free(c);
    c = compressed(10, 0);
    uint8_t *mask = c->matrix[HD_LLAMA_Q].linear.mask;
    int first = 0;
    while (!mask[first]) first++;
    mask[first] = 0;
    snprintf(want, sizeof want, "layer0.q: weight %d is absent from a block that is present", first);
    refuses_to_save(c, HD_RANGE, want);
    hd_lm_free(c);
}

/* Damage with a crc that fits: refused, or a model that still runs. */
static void mutated(void **state) {
    (void)state;
    hd_rng rng;
    hd_rng_seed(&rng, 8, 1);
    int good = 0, bad = 0;
    omp_set_num_threads(1); /* thousands of tiny runs would wait for each other's threads */
    for (int f = 0; f < FORMATS; f++) {
        size_t size;
        uint8_t *base = saved(f, &size), *data = malloc(size);
        assert_non_null(data);
        for (int i = 0; i < 300; i++) {
            hd_lm *c;
            hd_err err = {0};
            memcpy(data, base, size);
            for (int e = 0; e < 2; e++) {
                /* Mostly where the structure is: sizes, formats of matrices. */
                size_t at = i % 3 == 0 ? SIZES + hd_rng_below(&rng, 29) : i % 3 == 1 ? Q + hd_rng_below(&rng, 40) : SIZES + hd_rng_below(&rng, (uint32_t)size - SIZES);
                data[at] = (uint8_t)hd_rng_below(&rng, i & 1 ? 256 : 20);
            }
            write_file(data, i % 7 ? size : SIZES + 1 + hd_rng_below(&rng, (uint32_t)size - SIZES - 1));
            if (hd_lm_load(&c, path, &err)) {
                assert_true(err.message[0] != 0);
                bad++;
                continue;
            }
            int16_t tokens[3] = {0, 0, 0};
            double nats;
            hd_llama_cross_entropy(c->model, tokens, 1, c->model->max_tokens < 2 ? 1 : 2, &nats, &err);
            hd_lm_free(c);
            good++;
        }
        free(base);
        free(data);
    }
    print_message("%d damaged files refused, %d still models\n", bad, good);
    assert_true(good > 100 && bad > 100);
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/hd_lm_%ld.hlm", (long)getpid());
    snprintf(other, sizeof other, "/tmp/hd_lm_%ld.other", (long)getpid());
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trips), cmocka_unit_test(halves), cmocka_unit_test(errors), cmocka_unit_test(sparse_codes),
                                       cmocka_unit_test(refuses_what_it_cannot_store), cmocka_unit_test(mutated)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    unlink(other);
    return failed;
}
