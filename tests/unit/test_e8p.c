/* E8P: the table, the nearest search against all 65,536 codes, rotations, and the method against rounding and against itself without
 * its parts. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../compiler/compress/e8p.h"
#include "../../sw/core/rng.h"

static int by_bytes(const void *a, const void *b) { return memcmp(a, b, 8); }

/* All 65,536 codes are different odd vectors of the two shifted lattices: u -+ 1 is a half-odd vector of D8 (its sum even). */
static void codes_are_lattice_points(void **state) {
    (void)state;
    int8_t(*all)[8] = malloc(65536 * sizeof *all);
    int norms[13] = {0};
    double square = 0;
    for (int code = 0; code < 65536; code++) {
        hd_e8p_decode(all[code], (uint16_t)code);
        int shift = code >> 15 ? -1 : 1, sum = 0, norm = 0;
        for (int i = 0; i < 8; i++) {
            int quarter = all[code][i] - shift;
            assert_true((all[code][i] & 1) && abs(all[code][i]) <= 11);
            assert_true(abs(quarter) == 2 || abs(quarter) == 6 || abs(quarter) == 10);
            assert_true(i == 7 || (quarter < 0) == (code >> (8 + i) & 1));
            sum += quarter;
            norm += quarter * quarter;
            square += all[code][i] * all[code][i];
        }
        assert_int_equal(sum % 8, 0);
        assert_int_equal(norm % 32, 0);
        assert_true(norm <= 12 * 16);
        norms[norm / 16]++;
    }
    /* 1, 8, 28, 56 + 8, 70 + 56 patterns of norm 2 .. 10, and 29 of norm 12; 2^8 signs and shifts each */
    static const int expected[13] = {[2] = 1, [4] = 8, [6] = 28, [8] = 64, [10] = 126, [12] = 29};
    for (int i = 0; i < 13; i++) assert_int_equal(norms[i], 256 * expected[i]);
    qsort(all, 65536, sizeof *all, by_bytes);
    for (int i = 1; i < 65536; i++) assert_true(memcmp(all[i - 1], all[i], 8) != 0);
    free(all);
}

static double distance(const double x[8], const int8_t u[8], const double *metric) {
    double sum = 0;
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++) sum += (metric ? metric[i * 8 + j] : (double)(i == j)) * (x[i] - u[i]) * (x[j] - u[j]);
    return sum;
}

static void nearest_equals_enumeration(void **state) {
    (void)state;
    hd_rng rng;
    hd_rng_seed(&rng, 4, 4);
    int better = 0;
    for (int n = 0; n < 60; n++) {
        double x[8], metric[64], least = INFINITY;
        float mix[64];
        /* inside, at the edge of and far outside the table; and exact ties */
        for (int i = 0; i < 8; i++) x[i] = n < 5 ? 0.0 : (double)hd_rng_normal(&rng) * (n % 4 == 3 ? 20.0 : 4.0);
        for (int code = 0; code < 65536; code++) {
            int8_t u[8];
            hd_e8p_decode(u, (uint16_t)code);
            least = fmin(least, distance(x, u, NULL));
        }
        int8_t near[8], best[8];
        hd_e8p_decode(near, hd_e8p_nearest(x));
        assert_true(fabs(distance(x, near, NULL) - least) <= 1e-9 * (1 + least));
        for (int i = 0; i < 64; i++) mix[i] = hd_rng_normal(&rng);
        for (int i = 0; i < 64; i++) {
            metric[i] = i / 8 == i % 8 ? 3.0 : 0.0;
            for (int k = 0; k < 8; k++) metric[i] += (double)mix[i / 8 * 8 + k] * (double)mix[i % 8 * 8 + k];
        }
        hd_e8p_decode(best, hd_e8p_best(x, metric));
        assert_true(distance(x, best, metric) <= distance(x, near, metric));
        better += distance(x, best, metric) < 0.95 * distance(x, near, metric);
    }
    assert_true(better > 20);
}

static void rotations_are_orthogonal_and_spread(void **state) {
    (void)state;
    static const int sizes[] = {1, 2, 8, 12, 43, 64, 172, 513};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int n = sizes[k];
        double *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
        hd_rng rng;
        hd_rng_seed(&rng, 1, 1);
        double norm = 0, turned = 0;
        for (int i = 0; i < n; i++) {
            x[i] = y[i] = (double)hd_rng_normal(&rng);
            norm += x[i] * x[i];
        }
        hd_rotate(y, n, 9, 0);
        for (int i = 0; i < n; i++) turned += y[i] * y[i];
        assert_true(fabs(turned - norm) < 1e-12 * norm);
        hd_rotate(y, n, 9, 1);
        for (int i = 0; i < n; i++) assert_true(fabs(x[i] - y[i]) < 1e-12);
        /* a single large element ends up spread over (nearly) everything */
        for (int at = 0; at < n && n > 8; at += 5) {
            memset(x, 0, (size_t)n * sizeof *x);
            x[at] = 1.0;
            hd_rotate(x, n, 9, 0);
            double largest = 0;
            for (int i = 0; i < n; i++) largest = fmax(largest, fabs(x[i]));
            assert_true(largest <= (n & (n - 1) ? 5.5 : 1.0 + 1e-12) / sqrt((double)n));
        }
        free(x);
        free(y);
    }
}

/* Weights and inputs with outliers: what incoherence is for. */
static void make_problem(hd_linear *p, float *w, double *h, int out, int in, int outliers) {
    hd_rng rng;
    hd_rng_seed(&rng, 21, 6);
    for (int i = 0; i < out * in; i++) w[i] = 0.03f * hd_rng_normal(&rng) * (outliers && hd_rng_below(&rng, 24) == 0 ? 8.0f : 1.0f);
    float *mix = malloc((size_t)(in * in) * sizeof *mix);
    for (int i = 0; i < in * in; i++) mix[i] = hd_rng_normal(&rng) / sqrtf((float)(1 + i / in));
    for (int i = 0; i < in; i++)
        for (int j = 0; j < in; j++) {
            h[i * in + j] = i == j ? 0.2 : 0.0;
            for (int k = 0; k < in; k++) h[i * in + j] += (double)mix[k * in + i] * (double)mix[k * in + j];
        }
    free(mix);
    *p = (hd_linear){.name = "test", .out = out, .in = in, .w = w, .h = h};
}

static double relative_error(const hd_linear *p, const hd_e8p_options *o) {
    hd_e8p_result r;
    hd_err err = {0};
    if (hd_e8p_solve(&r, p, o, &err)) fail_msg("%s", err.message);
    double e = r.linear.error / r.linear.reference;
    hd_e8p_result_free(&r);
    return e;
}

enum { OUT = 40, IN = 44 };

static void better_than_rounding_and_each_part_helps(void **state) {
    (void)state;
    static float w[OUT * IN];
    static double h[IN * IN];
    hd_linear p;
    make_problem(&p, w, h, OUT, IN, 1);
    hd_e8p_options o;
    hd_e8p_defaults(&o);
    double two = relative_error(&p, &o);
    hd_e8p_options plain = o;
    plain.sweeps = 0;
    double no_descent = relative_error(&p, &plain);
    plain.metric = 0;
    double paper = relative_error(&p, &plain);
    o.rotate_out = 1;
    double both = relative_error(&p, &o);
    o.rotate_out = 0;
    o.bits = 3;
    double three = relative_error(&p, &o);
    o.bits = 4;
    double four = relative_error(&p, &o);
    double rtn[3];
    for (int i = 0; i < 3; i++) {
        hd_linear_result r;
        hd_linear_options lo;
        hd_linear_format f = {.bits = 2 + i, .grid = HD_GRID_ODD};
        hd_err err = {0};
        hd_linear_defaults(&lo, HD_METHOD_RTN);
        assert_int_equal(hd_linear_solve(&r, &p, &f, &lo, &err), HD_OK);
        rtn[i] = r.error / r.reference;
        hd_linear_result_free(&r);
    }
    if (!(two < 0.3 * rtn[0] && three < 0.3 * rtn[1] && four < 0.3 * rtn[2] && two < no_descent && no_descent < paper && three < 0.4 * two && four < 0.15 * two && both < 0.3 * rtn[0]))
        fail_msg("2 bits %g, both rotated %g, without descent %g, as in the paper %g, RTN %g; 3 bits %g, RTN %g; 4 bits %g, RTN %g", two, both, no_descent, paper, rtn[0], three, rtn[1], four, rtn[2]);
}

/* A decoder of its own: integers from codes, scales from theirs, rotation back by the transposed matrix of unit vectors. */
static void stored_codes_decode_to_the_result(void **state) {
    (void)state;
    static float w[OUT * IN];
    static double h[IN * IN];
    hd_linear p;
    make_problem(&p, w, h, OUT, IN, 0);
    for (int bits = 2; bits <= 4; bits++) {
        int stages = bits == 2 ? 1 : 2;
        hd_e8p_options o;
        hd_e8p_defaults(&o);
        o.bits = bits;
        hd_e8p_result r;
        hd_err err = {0};
        assert_int_equal(hd_e8p_solve(&r, &p, &o, &err), HD_OK);
        assert_int_equal(r.groups, 6);
        assert_true(r.linear.bits_stored == 8.0 * OUT * 6 * bits + 6 * OUT + 48);
        double rotation[IN][IN], error = 0;
        for (int i = 0; i < IN; i++) {
            for (int j = 0; j < IN; j++) rotation[i][j] = i == j;
            hd_rotate(rotation[i], IN, o.seed, 0);
        }
        for (int row = 0; row < OUT; row++) {
            double e[IN];
            assert_true(r.linear.scale[row] == (float)exp2(r.scale_base + r.scale_code[row] / 8.0));
            for (int i = 0; i < 48; i++) {
                int8_t u[2][8] = {{0}};
                const uint16_t *code = r.code + (row * 6 + i / 8) * stages;
                hd_e8p_decode(u[0], code[0]);
                if (bits == 3) hd_e8p_fine_decode(u[1], (uint8_t)code[1]);
                if (bits == 4) hd_e8p_decode(u[1], code[1]);
                int v = bits == 2 ? u[0][i % 8] : bits == 3 ? 5 * u[0][i % 8] + 2 * u[1][i % 8] : 4 * u[0][i % 8] + u[1][i % 8];
                assert_true(code[stages - 1] < (bits == 3 ? 256 : 65536));
                assert_true((v & 1) && abs(v) <= (bits == 2 ? 15 : 63));
                assert_int_equal(r.linear.v[row * 48 + i], v);
            }
            for (int i = 0; i < IN; i++) {
                double sum = 0;
                for (int j = 0; j < IN; j++) sum += (double)r.linear.scale[row] * r.linear.v[row * 48 + j] * rotation[i][j];
                assert_true(fabs(sum - (double)r.linear.w[row * IN + i]) < 1e-6 * (1 + fabs(sum)));
                e[i] = (double)w[row * IN + i] - (double)r.linear.w[row * IN + i];
            }
            for (int i = 0; i < IN; i++)
                for (int j = 0; j < IN; j++) error += e[i] * h[i * IN + j] * e[j];
        }
        assert_true(fabs(error - r.linear.error) < 1e-4 * error);
        hd_e8p_result_free(&r);
    }
}

/* The 8-bit code: 256 different even vectors, 240 of them the shortest of E8 (all norms 32 in quarters squared); the best is the best of all. */
static void fine_codes(void **state) {
    (void)state;
    int8_t u[256][8];
    hd_rng rng;
    hd_rng_seed(&rng, 12, 1);
    for (int a = 0; a < 256; a++) {
        int norm = 0, sum = 0, halves = 0;
        hd_e8p_fine_decode(u[a], (uint8_t)a);
        for (int i = 0; i < 8; i++) {
            norm += u[a][i] * u[a][i];
            sum += u[a][i];
            halves += u[a][i] % 4 != 0;
        }
        assert_int_equal(norm, a < 240 ? 32 : 16);
        assert_true((halves == 0 || halves == 8) && (a >= 240 || sum % 8 == 0));
        for (int b = 0; b < a; b++) assert_true(memcmp(u[a], u[b], 8) != 0);
    }
    for (int trial = 0; trial < 50; trial++) {
        double x[8], factor[8][8], metric[64] = {0};
        for (int i = 0; i < 8; i++) {
            x[i] = 2.5 * (double)hd_rng_normal(&rng);
            for (int j = 0; j < 8; j++) factor[i][j] = (i == j) + 0.3 * (double)hd_rng_normal(&rng);
        }
        for (int i = 0; i < 64; i++)
            for (int k = 0; k < 8; k++) metric[i] += factor[i / 8][k] * factor[i % 8][k];
        for (int with = 0; with < 2; with++) {
            double cost[256], least = INFINITY;
            for (int a = 0; a < 256; a++) {
                cost[a] = 0;
                for (int i = 0; i < 64; i++)
                    cost[a] += (x[i / 8] - u[a][i / 8]) * (with ? metric[i] : (double)(i / 8 == i % 8)) * (x[i % 8] - u[a][i % 8]);
                least = fmin(least, cost[a]);
            }
            assert_true(cost[hd_e8p_fine_best(x, with ? metric : NULL)] <= least * (1 + 1e-9));
        }
    }
}

static void any_number_of_threads_gives_the_same(void **state) {
    (void)state;
    static float w[OUT * IN];
    static double h[IN * IN];
    hd_linear p;
    make_problem(&p, w, h, OUT, IN, 0);
    float first[OUT * IN] = {0};
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        hd_e8p_options o;
        hd_e8p_defaults(&o);
        hd_e8p_result r;
        hd_err err = {0};
        assert_int_equal(hd_e8p_solve(&r, &p, &o, &err), HD_OK);
        if (threads == 1) memcpy(first, r.linear.w, sizeof first);
        assert_memory_equal(first, r.linear.w, sizeof first);
        hd_e8p_result_free(&r);
    }
}

static void refusals(void **state) {
    (void)state;
    float w[2] = {1, 2};
    hd_linear p = {.name = "test", .out = 1, .in = 2, .w = w};
    hd_e8p_options o;
    hd_e8p_result r;
    hd_err err = {0};
    hd_e8p_defaults(&o);
    o.bits = 5;
    assert_int_equal(hd_e8p_solve(&r, &p, &o, &err), HD_RANGE);
    assert_string_equal(err.message, "layer 'test': 5 bits a weight on E8P; allowed 2..4");
    hd_e8p_defaults(&o);
    p.out = 0;
    assert_int_equal(hd_e8p_solve(&r, &p, &o, &err), HD_RANGE);
    assert_string_equal(err.message, "layer 'test': 0 x 2 weights; at least 1 x 1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_lattice_points),
        cmocka_unit_test(nearest_equals_enumeration),
        cmocka_unit_test(rotations_are_orthogonal_and_spread),
        cmocka_unit_test(better_than_rounding_and_each_part_helps),
        cmocka_unit_test(stored_codes_decode_to_the_result),
        cmocka_unit_test(fine_codes), cmocka_unit_test(any_number_of_threads_gives_the_same),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
