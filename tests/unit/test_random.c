/* Random models through lowering and the ref device, byte for byte against the scalar integer executor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "../../sw/core/file.h"
#include "../../sw/runtime/runtime.h"
#include "../support/random_model.h"

static const char *const geometries[] = {"2x2x4x1", "4x8x8x2", "3x7x8x2", "3x4x8x4", "8x4x16x2"};
enum { GEOMETRIES = sizeof geometries / sizeof geometries[0], SEEDS = 60 };

static hd_model *model_of(uint64_t seed) {
    hd_model *m = NULL;
    hd_err err = {0};
    if (hd_random_model(&m, seed, &err)) fail_msg("seed %llu: %s", (unsigned long long)seed, err.message);
    return m;
}

/* Two inferences, so that nothing of the first may linger. 0 when the geometry cannot hold the model. */
static int compare(const hd_model *m, uint64_t seed, const char *geometry, const char *memory, int expand) {
    hd_geometry g;
    hd_err err = {0};
    hd_program *p = NULL;
    hd_session *s = NULL;
    hd_integer *e = NULL;
    hd_lower_options o = {.board = "", .expand_input = expand};
    assert_int_equal(hd_geometry_parse(&g, geometry, &err), HD_OK);
    if (memory) assert_int_equal(hd_geometry_memory(&g, memory, &err), HD_OK);
    hd_status st = hd_lower(&p, m, &g, &o, &err);
    if ((st == HD_NOFIT || st == HD_UNSUPPORTED) && memory) return 0;
    if (!st) st = hd_session_open(&s, p, &hd_driver_ref, NULL, &err);
    if (!st) st = hd_integer_new(&e, m, &err);
    if (st) fail_msg("seed %llu, %s: %s", (unsigned long long)seed, geometry, err.message);
    const hd_qtensor *in = &m->tensor[m->input], *out = &m->tensor[m->output];
    size_t n_in = (size_t)in->h * (size_t)in->w * (size_t)in->c, n_out = (size_t)out->h * (size_t)out->w * (size_t)out->c;
    int8_t *input = malloc(n_in), *output = malloc(n_out);
    assert_true(input && output);
    for (uint64_t run = 0; run < 2; run++) {
        hd_random_codes(in, seed * 2 + run, input);
        if (hd_session_run(s, input, output, &err)) fail_msg("seed %llu, %s: %s", (unsigned long long)seed, geometry, err.message);
        hd_integer_run(e, input);
        const int8_t *golden = hd_integer_tensor(e, m->output);
        for (size_t i = 0; i < n_out; i++)
            if (output[i] != golden[i])
                fail_msg("seed %llu, geometry %s, expand %d, run %d: output %zu of %zu is %d; golden %d", (unsigned long long)seed, geometry, expand,
                         (int)run, i, n_out, output[i], golden[i]);
    }
    free(input);
    free(output);
    hd_integer_free(e);
    hd_session_close(s);
    hd_program_free(p);
    return 1;
}

static void every_geometry(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        hd_model *m = model_of(seed);
        for (int g = 0; g < GEOMETRIES; g++) compare(m, seed, geometries[g], NULL, (int)(seed % 3) - 1);
        hd_model_free(m);
    }
}

/* One column: every channel of more than PLANES bits spreads over several tiles; and wide arrays with hops. */
static void odd_arrays(void **state) {
    (void)state;
    static const char *const more[] = {"1x1x4x1", "4x1x4x2", "2x3x4x1", "16x64x16x4", "5x11x16x1", "1x64x64x1"};
    for (uint64_t seed = 101; seed <= 124; seed++) {
        hd_model *m = model_of(seed);
        for (size_t g = 0; g < sizeof more / sizeof more[0]; g++) compare(m, seed, more[g], NULL, -1);
        hd_model_free(m);
    }
}

/* Windows of 16 words: layers are cut into slices where their groups allow it, or refused. */
static void small_windows(void **state) {
    (void)state;
    int ran = 0;
    for (uint64_t seed = 201; seed <= 260; seed++) {
        hd_model *m = model_of(seed);
        for (int g = 0; g < GEOMETRIES; g++) ran += compare(m, seed, geometries[g], "window=16", -1);
        hd_model_free(m);
    }
    assert_true(ran > 60);
}

/* Accumulators of 16 bits: what the compiler lets through must not wrap, whatever the input. */
static void narrow_accumulators(void **state) {
    (void)state;
    int ran = 0, all = 0;
    for (uint64_t seed = 401; seed <= 460; seed++) {
        hd_model *m = model_of(seed);
        for (int g = 0; g < GEOMETRIES; g++, all++) ran += compare(m, seed, geometries[g], "acc=16", -1);
        hd_model_free(m);
    }
    assert_true(ran > all / 4 && ran < all);
}

/* Damaged .hdm files that are still legal models: shapes nobody would train. They are refused or computed exactly. */
static void mutated_models(void **state) {
    (void)state;
    static const char path[] = HD_BINARY_DIR "/test_random.hdm";
    int ran = 0;
    hd_rng rng;
    hd_rng_seed(&rng, 1, 9);
    for (uint64_t seed = 501; seed <= 530; seed++) {
        hd_err err = {0};
        uint8_t *data;
        size_t size;
        hd_model *m = model_of(seed);
        if (hd_model_save(m, path, &err) || hd_file_read(&data, &size, path, 1 << 24, 0, &err)) fail_msg("%s", err.message);
        hd_model_free(m);
        uint8_t *copy = malloc(size);
        assert_non_null(copy);
        for (int i = 0; i < 60; i++) {
            memcpy(copy, data, size);
            for (int k = 0; k < 1 + i % 3; k++) {
                size_t at = 16 + hd_rng_below(&rng, (uint32_t)(size - 16 < 400 ? size - 16 : 400));
                copy[at] = (uint8_t)(hd_rng_below(&rng, 2) ? hd_rng_below(&rng, 16) : copy[at] ^ 1u << hd_rng_below(&rng, 8));
            }
            uint32_t crc = (uint32_t)crc32(0, copy + 16, (uInt)(size - 16));
            for (int k = 0; k < 4; k++) copy[12 + k] = (uint8_t)(crc >> (8 * k));
            unlink(path);
            FILE *f = fopen(path, "wb");
            assert_non_null(f);
            assert_int_equal(fwrite(copy, 1, size, f), size);
            fclose(f);
            if (hd_model_load(&m, path, &err)) continue;
            ran += compare(m, seed, geometries[i % GEOMETRIES], "act=65536", i % 3 - 1);
            hd_model_free(m);
        }
        free(copy);
        free(data);
    }
    unlink(path);
    assert_true(ran > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(mutated_models), cmocka_unit_test(narrow_accumulators), cmocka_unit_test(every_geometry), cmocka_unit_test(odd_arrays), cmocka_unit_test(small_windows)};
    return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
