/* Network layers on the codes of the external stream: every group of eight weights is a code's, masks are kept, and the error is below that of 2-bit rounding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../compiler/compress/compress_internal.h"
#include "../../compiler/compress/e8p.h"
#include "../../sw/core/rng.h"

enum { OUT = 24, IN = 64, BLOCK = 8 };

static float w[OUT * IN];
static double h[IN * IN], yx[OUT * IN];
static uint8_t keep[OUT * IN];

static hd_linear problem(uint64_t seed) {
    hd_rng rng;
    hd_rng_seed(&rng, seed, 3);
    static float mix[IN * IN];
    for (int i = 0; i < OUT * IN; i++) w[i] = 0.05f * hd_rng_normal(&rng);
    for (int i = 0; i < IN * IN; i++) mix[i] = hd_rng_normal(&rng) / (float)(1 + i / IN % 7);
    for (int i = 0; i < IN; i++)
        for (int j = 0; j < IN; j++) {
            h[i * IN + j] = i == j ? 0.3 : 0.0;
            for (int k = 0; k < IN; k++) h[i * IN + j] += (double)mix[k * IN + i] * (double)mix[k * IN + j];
        }
    /* the outputs that are wanted are the layer's own */
    for (int r = 0; r < OUT; r++)
        for (int i = 0; i < IN; i++) {
            yx[r * IN + i] = 0;
            for (int j = 0; j < IN; j++) yx[r * IN + i] += (double)w[r * IN + j] * h[j * IN + i];
        }
    for (int r = 0; r < OUT; r += BLOCK)
        for (int i = 0; i < IN; i += BLOCK) {
            uint8_t there = (uint8_t)(hd_rng_below(&rng, 3) > 0 || i == 0);
            for (int k = 0; k < BLOCK * BLOCK; k++) keep[(r + k / BLOCK) * IN + i + k % BLOCK] = there;
        }
    return (hd_linear){.name = "test", .out = OUT, .in = IN, .w = w, .h = h, .yx = yx};
}

/* tr((W - W') H (W - W')^T) by its definition. */
static double error_of(const float *is) {
    double sum = 0;
    for (int r = 0; r < OUT; r++)
        for (int i = 0; i < IN; i++)
            for (int j = 0; j < IN; j++)
                sum += ((double)w[r * IN + i] - (double)is[r * IN + i]) * h[i * IN + j] * ((double)w[r * IN + j] - (double)is[r * IN + j]);
    return sum;
}

static int in_lattice(const int16_t *v) {
    for (int code = 0; code < 65536; code++) {
        int8_t u[8];
        int same = 1;
        hd_e8p_decode(u, (uint16_t)code);
        for (int i = 0; i < 8 && same; i++) same = u[i] == v[i];
        if (same) return 1;
    }
    return 0;
}

static int in_books(const int16_t *v, const uint32_t *books) {
    uint32_t wanted = 0;
    for (int i = 0; i < 8; i++) wanted |= (uint32_t)((v[i] + 16) / 2 & 15) << (4 * i); /* u = v + 1 in offset binary */
    for (int a = 0; a < 256; a++)
        for (int b = 256; b < 512; b++) {
            uint32_t sum = 0;
            for (int i = 0; i < 8; i++) sum |= (((books[a] >> (4 * i)) + (books[b] >> (4 * i))) & 15) << (4 * i);
            if (sum == wanted) return 1;
        }
    return 0;
}

static void weights_are_codes(void **state) {
    (void)state;
    static const hd_coding codings[] = {HD_CODING_E8P, HD_CODING_TABLE, HD_CODING_ADDITIVE};
    for (int masked = 0; masked < 2; masked++)
        for (int k = 0; k < 3; k++) {
            hd_linear p = problem((uint64_t)(k + 1));
            hd_linear_result r, rtn;
            uint32_t *books;
            hd_err err = {0};
            int seen[32] = {0}, values = 0;
            assert_int_equal(hd_solve_coded(&r, &books, &p, masked ? keep : NULL, BLOCK, codings[k], 0, &err), HD_OK);
            assert_true(!books == (codings[k] != HD_CODING_ADDITIVE));
            for (int i = 0; i < OUT * IN; i++) {
                if (masked && !keep[i]) {
                    assert_int_equal(r.v[i], 0);
                    continue;
                }
                assert_true(abs(r.v[i]) <= 15 && (codings[k] == HD_CODING_ADDITIVE) == (r.v[i] % 2 == 0));
                assert_true(r.w[i] == r.scale[i / IN] * (float)r.v[i]);
                values += !seen[r.v[i] + 15];
                seen[r.v[i] + 15] = 1;
                if (i % 8) continue;
                if (codings[k] == HD_CODING_E8P) assert_true(in_lattice(r.v + i));
                if (codings[k] == HD_CODING_ADDITIVE) assert_true(in_books(r.v + i, books));
            }
            assert_true(codings[k] != HD_CODING_TABLE || values <= 4);
            hd_linear_options lo;
            hd_linear_format f = {.bits = 2, .grid = HD_GRID_ODD, .wide_scales = 1, .keep = masked ? keep : NULL};
            hd_linear_defaults(&lo, HD_METHOD_RTN);
            assert_int_equal(hd_linear_solve(&rtn, &p, &f, &lo, &err), HD_OK);
            double coded = error_of(r.w), rounded = error_of(rtn.w);
            if (!(coded < 0.6 * rounded)) fail_msg("coding %d, masked %d: error %g, of 2-bit rounding %g", (int)codings[k], masked, coded, rounded);
            hd_linear_result_free(&r);
            hd_linear_result_free(&rtn);
            free(books);
        }
}

/* Rows that keep nothing stay empty; the others do not notice. */
static void empty_rows(void **state) {
    (void)state;
    hd_linear p = problem(9);
    hd_linear_result r;
    uint32_t *books;
    hd_err err = {0};
    memset(keep + BLOCK * IN, 0, BLOCK * IN);
    assert_int_equal(hd_solve_coded(&r, &books, &p, keep, BLOCK, HD_CODING_E8P, 0, &err), HD_OK);
    for (int i = 0; i < OUT * IN; i++) assert_true((r.v[i] != 0) == (keep[i] != 0));
    for (int i = 0; i < OUT; i++) assert_true(r.scale[i] > 0);
    hd_linear_result_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(weights_are_codes), cmocka_unit_test(empty_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
