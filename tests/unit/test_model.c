/* .hdm: round trips, exact errors, mutated files, the count of stored bits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "../../compiler/compress/model_internal.h"
#include "../../sw/core/file.h"
#include "model_random.h"

static char path[64], other[64];

static void assert_equal_stages(const hd_stage *a, const hd_stage *b) {
    assert_string_equal(a->name, b->name);
    assert_true(a->kind == b->kind && a->input == b->input && a->residual == b->residual && a->output == b->output);
    assert_true(a->kh == b->kh && a->kw == b->kw && a->sy == b->sy && a->sx == b->sx && a->dy == b->dy && a->dx == b->dx);
    assert_true(a->pad_top == b->pad_top && a->pad_left == b->pad_left);
    if (a->kind != HD_STAGE_CONV) return;
    assert_true(a->groups == b->groups && a->cin == b->cin && a->cout == b->cout && a->grid == b->grid && a->bits == b->bits);
    assert_true(a->granularity == b->granularity && a->group_size == b->group_size && a->block_in == b->block_in && a->block_out == b->block_out);
    assert_true(a->clamp_lo == b->clamp_lo && a->clamp_hi == b->clamp_hi && a->has_table == b->has_table);
    assert_true(a->res_mult == b->res_mult && a->res_add == b->res_add && a->res_shift == b->res_shift);
    assert_true(!a->books == !b->books);
    if (a->books) assert_memory_equal(a->books, b->books, HD_BOOKS_WORDS * sizeof *a->books);
    size_t n = (size_t)a->cout;
    assert_memory_equal(a->v, b->v, hd_stage_weights(a) * sizeof *a->v);
    assert_memory_equal(a->scale, b->scale, n * sizeof *a->scale);
    assert_memory_equal(a->bias, b->bias, n * sizeof *a->bias);
    assert_memory_equal(a->mult, b->mult, n * sizeof *a->mult);
    assert_memory_equal(a->shift, b->shift, n);
    assert_memory_equal(a->table, b->table, 256);
    if (a->group_shift) assert_memory_equal(a->group_shift, b->group_shift, n * hd_stage_shift_groups(a));
    if (a->present) assert_memory_equal(a->present, b->present, hd_stage_out_blocks(a) * hd_stage_in_blocks(a));
}

static void round_trips(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        hd_err err = {0};
        hd_model *m = random_model(seed), *k = NULL;
        if (hd_model_save(m, path, &err) != HD_OK || hd_model_load(&k, path, &err) != HD_OK) fail_msg("seed %d: %s", (int)seed, err.message);
        assert_true(k->n_tensors == m->n_tensors && k->n_stages == m->n_stages && k->input == m->input && k->output == m->output);
        assert_int_equal(k->dense_weights, m->dense_weights);
        for (int i = 0; i < m->n_tensors; i++) {
            const hd_qtensor *a = &m->tensor[i], *b = &k->tensor[i];
            assert_string_equal(a->name, b->name);
            assert_true(a->h == b->h && a->w == b->w && a->c == b->c && a->zero == b->zero && a->scale == b->scale);
        }
        for (int i = 0; i < m->n_stages; i++) assert_equal_stages(&m->stage[i], &k->stage[i]);
        /* Saving what was loaded gives the same bytes: the format has one form for a model. */
        uint8_t *x, *y;
        size_t nx, ny;
        assert_int_equal(hd_model_save(k, other, &err), HD_OK);
        assert_int_equal(hd_file_read(&x, &nx, path, 1 << 24, 0, &err), HD_OK);
        assert_int_equal(hd_file_read(&y, &ny, other, 1 << 24, 0, &err), HD_OK);
        assert_int_equal(nx, ny);
        assert_memory_equal(x, y, nx);
        free(x);
        free(y);
        hd_model_free(m);
        hd_model_free(k);
    }
}

/* A 1x1 convolution from 3 to 2 channels on one pixel: small enough to count by hand. */
static hd_model *tiny_model(void) {
    hd_model *m = calloc(1, sizeof *m);
    m->name = strdup("tiny");
    m->n_tensors = 2;
    m->n_stages = 1;
    m->output = 1;
    m->dense_weights = 6;
    m->tensor = calloc(2, sizeof *m->tensor);
    m->tensor[0] = (hd_qtensor){strdup("x"), 1, 1, 3, 0.5f, 0};
    m->tensor[1] = (hd_qtensor){strdup("y"), 1, 1, 2, 0.5f, 0};
    hd_stage *s = m->stage = calloc(1, sizeof *m->stage);
    *s = (hd_stage){.kind = HD_STAGE_CONV, .name = strdup("fc"), .input = 0, .residual = -1, .output = 1, .kh = 1, .kw = 1, .sy = 1, .sx = 1, .dy = 1,
                    .dx = 1, .groups = 1, .cin = 3, .cout = 2, .grid = HD_GRID_ODD, .bits = 2, .granularity = HD_GRANULARITY_CHANNEL,
                    .clamp_lo = -128, .clamp_hi = 127};
    static const int16_t v[6] = {-3, -1, 1, 3, 1, -1};
    s->v = malloc(sizeof v);
    memcpy(s->v, v, sizeof v);
    s->scale = calloc(2, sizeof *s->scale);
    s->bias = calloc(2, sizeof *s->bias);
    s->mult = calloc(2, sizeof *s->mult);
    s->shift = calloc(2, 1);
    for (int i = 0; i < 2; i++) {
        s->scale[i] = 0.25f;
        s->mult[i] = 32768;
        s->shift[i] = 16;
    }
    return m;
}

/* 2 channels x 11 bytes, 6 weights of 2 bits = 2 bytes; then the same pruned, ternary, in groups and with a table. */
static void counts_bits(void **state) {
    (void)state;
    hd_model *m = tiny_model();
    hd_stage *s = m->stage;
    assert_int_equal(hd_model_weight_bytes(m), 22 + 2);
    assert_true(hd_model_bits_per_weight(m) == 8.0 * 24 / 6);
    s->has_table = 1;
    assert_int_equal(hd_stage_weight_bytes(s), 22 + 2 + 256);
    s->has_table = 0;
    /* Blocks of 2 inputs x 1 channel: 2 x 2 blocks = 1 bitmap byte; block (0, 1) is one weight wide: 5 weights left = 10 bits = 2 bytes. */
    s->block_in = 2;
    s->block_out = 1;
    s->present = malloc(4);
    memcpy(s->present, "\1\0\1\1", 4);
    s->v[2] = 0;
    assert_int_equal(hd_stage_present(s), 5);
    assert_int_equal(hd_stage_weight_bytes(s), 22 + 1 + 2);
    /* Ternary: five weights in one byte. */
    for (int i = 0; i < 6; i++) s->v[i] = (int16_t)(i == 2 ? 0 : s->v[i] < 0 ? -2 : 2);
    s->grid = HD_GRID_TERNARY;
    s->bits = 0;
    assert_int_equal(hd_stage_weight_bytes(s), 22 + 1 + 1);
    /* Groups of 2 inputs: 2 channels x 2 shifts of 2 bits = 1 byte. */
    s->granularity = HD_GRANULARITY_GROUP;
    s->group_size = 2;
    s->group_shift = calloc(4, 1);
    assert_int_equal(hd_stage_weight_bytes(s), 22 + 1 + 1 + 1);
    hd_err err = {0};
    assert_int_equal(hd_model_check(m, &err), HD_OK);
    hd_model_free(m);
}

/* The codes of docs/formats.md, byte by byte. */
static void packs_codes(void **state) {
    (void)state;
    static const int16_t odd[5] = {-3, -1, 1, 3, -1}, even[3] = {-8, 0, 6}, trits[6] = {-2, 0, 2, 2, 0, -2};
    uint8_t bytes[2] = {0};
    int16_t back[6];
    hd_codes_pack(bytes, HD_GRID_ODD, 2, odd, 5);
    assert_int_equal(bytes[0], 0 | 1 << 2 | 2 << 4 | 3 << 6);
    assert_int_equal(bytes[1], 1);
    memset(bytes, 0, 2);
    hd_codes_pack(bytes, HD_GRID_EVEN, 3, even, 3);
    assert_int_equal(bytes[0] | bytes[1] << 8, 0 | 4 << 3 | 7 << 6);
    hd_codes_pack(bytes, HD_GRID_TERNARY, 0, trits, 6);
    assert_int_equal(bytes[0], 0 + 3 * 1 + 9 * 2 + 27 * 2 + 81 * 1);
    assert_int_equal(bytes[1], 0 + 3 + 9 + 27 + 81); /* the four missing ones hold the code of 0 */
    assert_int_equal(hd_codes_unpack(back, HD_GRID_TERNARY, 0, bytes, 6), 0);
    assert_memory_equal(back, trits, sizeof trits);
    bytes[1] = 243;
    assert_int_equal(hd_codes_unpack(back, HD_GRID_TERNARY, 0, bytes, 6), 2);
}

/* Container header: magic, version, payload bytes, crc. */
enum { HEADER = 16 };

static void put32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}

static void seal(uint8_t *file, size_t size) {
    put32(file + 8, (uint32_t)(size - HEADER));
    put32(file + 12, (uint32_t)crc32(0, file + HEADER, (uInt)(size - HEADER)));
}

/* Without the fsync of hd_file_write: thousands of these would take a minute on a disk. */
static void write_quickly(const uint8_t *file, size_t size) {
    FILE *f = fopen(other, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(file, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void expect_error(uint8_t *file, size_t size, hd_status code, const char *message) {
    hd_err err = {0};
    hd_model *m = NULL;
    char whole[600];
    seal(file, size);
    write_quickly(file, size);
    assert_int_equal(hd_model_load(&m, other, &err), code);
    assert_null(m);
    snprintf(whole, sizeof whole, "%s: %s", other, message);
    assert_string_equal(err.message, whole);
    assert_int_equal(err.code, code);
}

/* Offsets of the tiny model's fields in its payload. */
enum { NAME = 0, N_TENSORS = 6, X = 10, X_H = X + 3, X_SCALE = X_H + 12, Y = X_H + 20, END_OF_TENSORS = Y + 23, INPUT = END_OF_TENSORS,
       N_STAGES = INPUT + 12, KIND = N_STAGES + 4, TENSORS = KIND + 1 + 4, KERNEL = TENSORS + 12, GROUPS = KERNEL + 16, GRID = GROUPS + 4, BITS,
       GRANULARITY, GROUP_SIZE, BLOCK = GROUP_SIZE + 4, CLAMP = BLOCK + 4, HAS_TABLE = CLAMP + 2, RESIDUAL, HAS_BOOKS = RESIDUAL + 7, CHANNELS,
       CODE_BYTES = CHANNELS + 22, CODES = CODE_BYTES + 4, SIZE = CODES + 2 };

static void names_what_is_wrong(void **state) {
    (void)state;
    hd_err err = {0};
    hd_model *m = tiny_model();
    uint8_t *good;
    size_t size;
    assert_int_equal(hd_model_save(m, path, &err), HD_OK);
    hd_model_free(m);
    assert_int_equal(hd_file_read(&good, &size, path, 1 << 20, 0, &err), HD_OK);
    assert_int_equal(size, HEADER + SIZE);
    static const struct { int at; uint8_t value; hd_status code; const char *message; } edit[] = {
        {NAME + 3, 0, HD_FORMAT, "model: byte 1 of the name is 0x00; names are UTF-8 without NUL"},
        {NAME + 3, 0xff, HD_FORMAT, "model: byte 1 of the name is 0xff; names are UTF-8 without NUL"},
        {N_TENSORS, 200, HD_FORMAT, "200 tensors; allowed 1 to 6 in the 149 bytes left"},
        {X_H, 0, HD_RANGE, "tensor 'x': height is 0; allowed 1..65535"},
        {X_SCALE + 3, 0xbf, HD_RANGE, "tensor 'x': scale is -0.5; must be positive and finite"},
        {X_SCALE + 4, 200, HD_RANGE, "tensor 'x': zero point is 200; allowed -128..127"},
        {N_STAGES, 0, HD_FORMAT, "0 stages; allowed 1 to 2 in the 87 bytes left"},
        {INPUT + 4, 7, HD_RANGE, "output tensor is 7; allowed 0..1"},
        {KIND, 9, HD_RANGE, "stage 'fc': kind 9; allowed 1 (CONV) or 2 (MAXPOOL)"},
        {TENSORS, 2, HD_RANGE, "stage 'fc': input tensor is 2; allowed 0..1"},
        {TENSORS + 4, 5, HD_RANGE, "stage 'fc': residual tensor is -251; allowed -1..1"},
        {KERNEL, 0, HD_RANGE, "stage 'fc': vertical kernel is 0; allowed 1..65535"},
        {GROUPS, 2, HD_RANGE, "stage 'fc': 2 groups; must divide 3 input and 2 output channels"},
        {GRID, 2, HD_RANGE, "stage 'fc': 2 bits on the TERNARY grid; must be 0"},
        {BITS, 9, HD_RANGE, "stage 'fc': 9 bits on the ODD grid; allowed 1..8"},
        {BITS, 3, HD_FORMAT, "stage 'fc': 2 code bytes; 6 weights need 3"},
        {GRANULARITY, 3, HD_RANGE, "stage 'fc': granularity 3; allowed 0..2"},
        {GRANULARITY, 2, HD_RANGE, "stage 'fc': group size is 0; must be at least 1 with GROUP granularity"},
        {GROUP_SIZE, 4, HD_RANGE, "stage 'fc': group size is 4; must be 0 without GROUP granularity"},
        {BLOCK, 8, HD_RANGE, "stage 'fc': pruning block 8 x 0; allowed 1..256 each, or 0 x 0"},
        {HAS_TABLE, 2, HD_FORMAT, "stage 'fc': table flag is 2; allowed 0 or 1"},
        {HAS_TABLE, 1, HD_FORMAT, "stage 'fc': table: 256 bytes needed, 36 left in the file"},
        {RESIDUAL, 1, HD_RANGE, "stage 'fc': residual constants without a residual; must be 0"},
        {HAS_BOOKS, 2, HD_FORMAT, "stage 'fc': books flag is 2; allowed 0 or 1"},
        {HAS_BOOKS, 1, HD_FORMAT, "stage 'fc': books: 2048 bytes needed, 28 left in the file"},
        {CHANNELS + 3, 0xff, HD_RANGE, "stage 'fc': scale of channel 0 is -inf; must be positive and finite"},
        {CHANNELS + 10, 0, HD_RANGE, "stage 'fc': shift of channel 0 is 0; allowed 1..47"},
        {CHANNELS + 21, 48, HD_RANGE, "stage 'fc': shift of channel 1 is 48; allowed 1..47"},
        {CODE_BYTES, 3, HD_FORMAT, "stage 'fc': 3 code bytes; 6 weights need 2"},
        {CODES + 1, 0xff, HD_FORMAT, "stage 'fc': code byte 1 is 0xff; not a code of its grid or not padded as the format says"},
    };
    for (size_t i = 0; i < sizeof edit / sizeof *edit; i++) {
        uint8_t bad[HEADER + SIZE];
        memcpy(bad, good, size);
        bad[HEADER + edit[i].at] = edit[i].value;
        expect_error(bad, size, edit[i].code, edit[i].message);
    }
    uint8_t bad[HEADER + SIZE + 1];
    memcpy(bad, good, size);
    char unknown[64];
    snprintf(unknown, sizeof unknown, "stage 'fc': weight grid %d; allowed 0..%d", HD_GRIDS, HD_GRIDS - 1);
    bad[HEADER + GRID] = HD_GRIDS;
    expect_error(bad, size, HD_RANGE, unknown);
    memcpy(bad, good, size);
    bad[HEADER + CLAMP] = 5; /* 5 .. -3 */
    bad[HEADER + CLAMP + 1] = 0xfd;
    expect_error(bad, size, HD_RANGE, "stage 'fc': clamp 5..-3; must be ordered within -128..127");
    memcpy(bad, good, size);
    put32(bad + HEADER + CHANNELS + 4, 0x7fffffff);
    expect_error(bad, size, HD_RANGE, "stage 'fc': accumulator of channel 0 reaches -636..2147484286; allowed +-2147483647");
    memcpy(bad, good, size);
    put32(bad + HEADER + TENSORS + 8, 0);
    expect_error(bad, size, HD_FORMAT, "stage 'fc': scales, biases, multipliers and shifts: 33 bytes needed, 28 left in the file");
    memcpy(bad, good, size);
    bad[size] = 0;
    expect_error(bad, size + 1, HD_FORMAT, "1 bytes after the last stage; allowed 0");
    /* Every truncation is refused, and by name. */
    for (size_t n = HEADER; n < size; n++) {
        memcpy(bad, good, size);
        seal(bad, n);
        m = NULL;
        write_quickly(bad, n);
        assert_int_equal(hd_model_load(&m, other, &err), HD_FORMAT);
        assert_non_null(strstr(err.message, other));
    }
    memcpy(bad, good, size);
    expect_error(bad, HEADER + CODES + 1, HD_FORMAT, "stage 'fc': codes: 2 bytes needed, 1 left in the file");
    expect_error(bad, HEADER + CHANNELS + 5, HD_FORMAT, "stage 'fc': scales, biases, multipliers and shifts: 22 bytes needed, 5 left in the file");
    expect_error(bad, HEADER + KERNEL, HD_FORMAT, "1 stages; allowed 1 to 0 in the 17 bytes left");
    free(good);
}

/* Thousands of damaged files, half of them with a crc that fits, pass or fail; none may crash (run under the sanitizers). What
 * passes must also be good to execute. */
static void survives_mutation(void **state) {
    (void)state;
    hd_rng r;
    hd_rng_seed(&r, 2024, 1);
    int passed = 0, refused = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        hd_err err = {0};
        hd_model *m = random_model(seed);
        uint8_t *good;
        size_t size;
        assert_int_equal(hd_model_save(m, path, &err), HD_OK);
        hd_model_free(m);
        assert_int_equal(hd_file_read(&good, &size, path, 1 << 24, 0, &err), HD_OK);
        uint8_t *bad = malloc(size);
        for (int k = 0; k < 150; k++) {
            size_t n = pick(&r, 0, 9) ? size : HEADER + hd_rng_below(&r, (uint32_t)(size - HEADER));
            memcpy(bad, good, size);
            for (int flips = pick(&r, 0, 4); flips >= 0; flips--) {
                size_t at = hd_rng_below(&r, (uint32_t)n);
                static const uint8_t nasty[] = {0, 1, 0x7f, 0x80, 0xff};
                bad[at] = pick(&r, 0, 1) ? nasty[hd_rng_below(&r, 5)] : (uint8_t)hd_rng_u32(&r);
            }
            if (pick(&r, 0, 15)) {
                put32(bad, HD_HDM_MAGIC);
                put32(bad + 4, HD_HDM_VERSION);
                seal(bad, n);
            }
            write_quickly(bad, n);
            m = NULL;
            if (hd_model_load(&m, other, &err) == HD_OK) {
                hd_integer *e;
                const hd_qtensor *t = &m->tensor[m->input];
                int8_t *x = calloc((size_t)t->h * (size_t)t->w, (size_t)t->c);
                assert_int_equal(hd_integer_new(&e, m, &err), HD_OK);
                hd_integer_run(e, x);
                hd_integer_free(e);
                free(x);
                passed++;
            } else {
                assert_null(m);
                assert_true(err.message[0]);
                refused++;
            }
            hd_model_free(m);
        }
        free(bad);
        free(good);
    }
    assert_true(passed > 100 && refused > 1000);
}

static int set_up(void **state) {
    (void)state;
    /* Saving syncs to disk, hundreds of times here; a memory file system takes no time for it. */
    const char *folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, sizeof path, "%s/hd_model_%d.hdm", folder, (int)getpid());
    snprintf(other, sizeof other, "%s/hd_model_%d_b.hdm", folder, (int)getpid());
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    remove(path);
    remove(other);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trips), cmocka_unit_test(counts_bits), cmocka_unit_test(packs_codes),
                                       cmocka_unit_test(names_what_is_wrong), cmocka_unit_test(survives_mutation)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
