/* idx files: every type, gzip, and each way a file can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>

#include "../../sw/core/idx.h"
#include "../../sw/core/rng.h"

static char path[64];

static void write_raw(const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

static void test_types(void **state) {
    (void)state;
    static const hd_idx_type types[] = {HD_IDX_U8, HD_IDX_I8, HD_IDX_I16, HD_IDX_I32, HD_IDX_F32};
    static const size_t bytes[] = {1, 1, 2, 4, 4};
    hd_rng rng;
    hd_rng_seed(&rng, 1, 1);
    hd_err err = {0};
    for (int k = 0; k < 5; k++)
        for (int rank = 1; rank <= 4; rank++) {
            hd_idx idx = {.type = types[k], .rank = rank, .item = 1, .dim = {3, 2, 5, 2}}, *back;
            for (int d = 1; d < rank; d++) idx.item *= idx.dim[d];
            size_t n = 3 * idx.item * bytes[k];
            uint8_t data[256];
            for (size_t i = 0; i < n; i++) data[i] = (uint8_t)(hd_rng_u32(&rng) & 0x3f);
            idx.data = data;
            assert_int_equal(hd_idx_save(&idx, path, &err), HD_OK);
            assert_int_equal(hd_idx_load(&back, path, &err), HD_OK);
            assert_int_equal(back->type, types[k]);
            assert_int_equal(back->rank, rank);
            assert_int_equal(back->item, idx.item);
            assert_memory_equal(back->dim, idx.dim, (size_t)rank * sizeof *idx.dim);
            assert_memory_equal(back->data, data, n);
            float *a = malloc(idx.item * sizeof *a), *b = malloc(idx.item * sizeof *b);
            assert_non_null(a);
            assert_non_null(b);
            hd_idx_item(&idx, 2, 0, a);
            hd_idx_item(back, 2, 0, b);
            assert_memory_equal(a, b, idx.item * sizeof *a);
            free(a);
            free(b);
            hd_idx_free(back);
        }
}

static void test_big_endian(void **state) {
    (void)state;
    static const uint8_t file[] = {0, 0, 11, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xfe, 1, 2};
    hd_idx *idx;
    hd_err err = {0};
    float v[2];
    write_raw(file, sizeof file);
    assert_int_equal(hd_idx_load(&idx, path, &err), HD_OK);
    hd_idx_item(idx, 0, 1, v);
    assert_true(v[0] == -2 && v[1] == 258);
    hd_idx_free(idx);
    static const uint8_t bytes[] = {0, 0, 8, 1, 0, 0, 0, 2, 255, 51};
    gzFile z = gzopen(path, "wb");
    assert_non_null(z);
    assert_int_equal(gzwrite(z, bytes, sizeof bytes), sizeof bytes);
    gzclose(z);
    assert_int_equal(hd_idx_load(&idx, path, &err), HD_OK);
    hd_idx_item(idx, 0, 1, v);
    hd_idx_item(idx, 1, 1, v + 1);
    assert_true(v[0] == 1 && v[1] == 0.2f);
    hd_idx_item(idx, 1, 0, v);
    assert_true(v[0] == 51);
    hd_idx_free(idx);
}

static void expect(const void *data, size_t n, hd_status code, const char *message) {
    hd_idx *idx;
    hd_err err = {0};
    char want[256];
    write_raw(data, n);
    assert_int_equal(hd_idx_load(&idx, path, &err), code);
    assert_null(idx);
    snprintf(want, sizeof want, "%s: %s", path, message);
    assert_string_equal(err.message, want);
}

/* Nothing is written where there was nothing. */
static void expect_saving(const hd_idx *idx, const char *message) {
    hd_err err = {0};
    char want[256];
    unlink(path);
    assert_int_equal(hd_idx_save(idx, path, &err), HD_RANGE);
    snprintf(want, sizeof want, "%s: %s", path, message);
    assert_string_equal(err.message, want);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_errors(void **state) {
    (void)state;
    expect("", 0, HD_FORMAT, "0 bytes; the start of an idx file has 4");
    expect("\0\0\10", 3, HD_FORMAT, "3 bytes; the start of an idx file has 4");
    expect("\1\0\10\1", 4, HD_FORMAT, "starts with 01 00; an idx file starts with 00 00");
    expect("\0\0\12\1", 4, HD_FORMAT, "idx element type 10; allowed are 8 (uint8), 9 (int8), 11 (int16), 12 (int32), 13 (float)");
    expect("\0\0\16\1", 4, HD_UNSUPPORTED, "idx element type 14; allowed are 8 (uint8), 9 (int8), 11 (int16), 12 (int32), 13 (float)");
    expect("\0\0\10\0", 4, HD_UNSUPPORTED, "idx rank 0; allowed are 1 to 4");
    expect("\0\0\10\5", 4, HD_UNSUPPORTED, "idx rank 5; allowed are 1 to 4");
    expect("\0\0\10\2\0\0\0\1", 8, HD_FORMAT, "8 bytes; the header of an idx file of rank 2 has 12");
    expect("\0\0\10\1\0\0\0\0", 8, HD_FORMAT, "size 0 of the idx file is 0");
    expect("\0\0\10\1\0\0\0\3ab", 10, HD_FORMAT, "idx size 0 is 3, which needs more elements than the 2 the file holds");
    expect("\0\0\10\1\0\0\0\1ab", 10, HD_FORMAT, "2 bytes of idx data; its sizes say 1");
    expect("\0\0\13\1\0\0\0\1abc", 11, HD_FORMAT, "3 bytes of idx data; its sizes say 2");
    expect("\0\0\10\4\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377ab", 22, HD_FORMAT,
           "idx size 0 is 4294967295, which needs more elements than the 2 the file holds");
    expect("\0\0\10\4\0\0\0\1\0\0\0\2\200\0\0\0\200\0\0\0ab", 22, HD_FORMAT, "idx size 2 is 2147483648, which needs more elements than the 2 the file holds");
    hd_idx bad = {.type = (hd_idx_type)10, .rank = 1, .dim = {1}};
    expect_saving(&bad, "idx element type 10; allowed are 8, 9, 11, 12, 13");
    bad.type = HD_IDX_F32;
    bad.rank = 5;
    expect_saving(&bad, "idx rank 5; allowed are 1 to 4");
    bad.rank = 2;
    bad.dim[0] = bad.dim[1] = 0xffffffff;
    expect_saving(&bad, "idx size 0 is 4294967295; allowed are 1 and up, 2147483647 bytes in all");
    bad.dim[0] = 0;
    expect_saving(&bad, "idx size 0 is 0; allowed are 1 and up, 2147483647 bytes in all");
    uint8_t pixels[12] = {0};
    hd_err err = {0};
    hd_idx image = {.type = HD_IDX_U8, .rank = 2, .dim = {1, 12}, .item = 12, .data = pixels};
    assert_int_equal(hd_idx_chw(&image, 3, 2, 3, &err), HD_MISMATCH);
    assert_string_equal(err.message, "items of 12 elements; 2 x 3 pixels of 3 channels have 18");
}

static void test_mutated(void **state) {
    (void)state;
    uint8_t base[12 + 24] = {0, 0, 13, 2, 0, 0, 0, 2, 0, 0, 0, 3}, data[sizeof base];
    hd_rng rng;
    hd_rng_seed(&rng, 3, 3);
    int good = 0;
    for (int k = 0; k < 2000; k++) {
        hd_idx *idx;
        hd_err err = {0};
        memcpy(data, base, sizeof base);
        for (int e = 0; e < 2; e++) data[hd_rng_below(&rng, 14)] = (uint8_t)hd_rng_below(&rng, k & 1 ? 256 : 14);
        write_raw(data, 1 + hd_rng_below(&rng, sizeof data));
        hd_status status = hd_idx_load(&idx, path, &err);
        if (status == HD_OK) {
            float *v = malloc(idx->item * sizeof *v);
            assert_non_null(v);
            hd_idx_item(idx, idx->dim[0] - 1, 1, v);
            free(v);
            good++;
        } else {
            assert_true(err.message[0] != 0);
        }
        hd_idx_free(idx);
    }
    assert_true(good < 2000);
}

/* Items of [height][width][channel] become [channel][height][width], of elements of one and of two bytes. */
static void test_chw(void **state) {
    (void)state;
    enum { ITEMS = 2, H = 2, W = 3, C = 4, ITEM = H * W * C };
    hd_err err = {0};
    for (int wide = 0; wide < 2; wide++) {
        int16_t data16[ITEMS * ITEM];
        int8_t data8[ITEMS * ITEM];
        for (int i = 0; i < ITEMS * ITEM; i++) data16[i] = (int16_t)(300 * i), data8[i] = (int8_t)i;
        hd_idx idx = {.type = wide ? HD_IDX_I16 : HD_IDX_I8, .rank = 2, .item = ITEM, .dim = {ITEMS, ITEM}, .data = wide ? (void *)data16 : data8};
        assert_int_equal(hd_idx_chw(&idx, C, H, W + 1, &err), HD_MISMATCH);
        assert_int_equal(hd_idx_chw(&idx, C, H, W, &err), HD_OK);
        assert_int_equal(idx.rank, 4);
        assert_int_equal(idx.dim[1], C);
        assert_int_equal(idx.dim[3], W);
        for (int n = 0; n < ITEMS; n++)
            for (int c = 0; c < C; c++)
                for (int y = 0; y < H; y++)
                    for (int x = 0; x < W; x++) {
                        int to = ((n * C + c) * H + y) * W + x, from = ((n * H + y) * W + x) * C + c;
                        assert_int_equal(wide ? data16[to] : data8[to], wide ? 300 * from : from);
                    }
    }
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/hd_idx_%ld", (long)getpid());
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_types), cmocka_unit_test(test_big_endian), cmocka_unit_test(test_errors), cmocka_unit_test(test_mutated), cmocka_unit_test(test_chw)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
