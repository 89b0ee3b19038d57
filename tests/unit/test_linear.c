/* The layer problem: what results hold, round-to-nearest, AWQ, targets, refusals, threads. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/layer_problem.h"

static hd_linear_options defaults(hd_method m) {
    hd_linear_options o;
    hd_linear_defaults(&o, m);
    return o;
}

static void hessian_is_the_second_moment(void **state) {
    (void)state;
    enum { IN = 7 };
    layer_problem l = layer_problem_new(1, IN, 3);
    double parts[IN * IN];
    hd_hessian *h = hd_hessian_new(IN);
    for (int at = 0, n; at < l.samples; at += n) {
        n = l.samples - at < 29 ? l.samples - at : 29;
        hd_hessian_add(h, l.x + at * IN, n);
    }
    hd_hessian_get(h, parts);
    hd_hessian_free(h);
    for (int i = 0; i < IN; i++)
        for (int j = 0; j < IN; j++) {
            double sum = 0;
            for (int t = 0; t < l.samples; t++) sum += (double)l.x[t * IN + i] * (double)l.x[t * IN + j];
            assert_true(fabs(parts[i * IN + j] - 2 * sum / l.samples) < 1e-9 * fabs(l.h[0]) + 1e-12);
            assert_true(fabs(l.h[i * IN + j] - 2 * sum / l.samples) < 1e-9 * fabs(l.h[0]) + 1e-12);
        }
    layer_problem_free(&l);
}

/* One group without H is a search over one number: no scale of a fine scan is better. */
static void rtn_finds_the_best_scale(void **state) {
    (void)state;
    enum { IN = 12 };
    for (uint64_t seed = 0; seed < 20; seed++) {
        layer_problem l = layer_problem_new(1, IN, seed);
        l.p.h = NULL;
        hd_linear_format f = {.bits = 3, .grid = HD_GRID_ODD, .wide_scales = 1};
        hd_linear_options o = defaults(HD_METHOD_RTN);
        hd_linear_result r = layer_solve(&l, &f, &o);
        double least = INFINITY, plain = 0, largest = 0;
        for (int i = 0; i < IN; i++) largest = fmax(largest, fabs((double)l.w[i]));
        for (int k = 1; k <= 4000; k++) {
            double a = largest / 7 * 1.2 * k / 4000, e = 0;
            for (int i = 0; i < IN; i++) {
                double n = 2 * floor((double)l.w[i] / a / 2) + 1, d = fmin(7, fmax(-7, n)) * a - (double)l.w[i];
                e += d * d;
            }
            least = fmin(least, e);
        }
        for (int i = 0; i < IN; i++) {
            double a = largest / 7, n = 2 * floor((double)l.w[i] / a / 2) + 1, d = fmin(7, fmax(-7, n)) * a - (double)l.w[i];
            plain += d * d;
        }
        assert_true(r.error <= 1.02 * least && r.error <= plain * (1 + 1e-6));
        hd_linear_result_free(&r);
        layer_problem_free(&l);
    }
}

/* What is stored decodes to w, on the grid, and the bits are what the format says. */
static void results_are_consistent(void **state) {
    (void)state;
    enum { OUT = 9, IN = 44, GROUPS = 6 };
    layer_problem l = layer_problem_new(OUT, IN, 5);
    for (int method = HD_METHOD_RTN; method <= HD_METHOD_AWQ; method++)
        for (int kind = 0; kind < 6; kind++) {
            hd_linear_format f = {.bits = kind == 5 ? 0 : 3, .grid = kind == 5 ? HD_GRID_TERNARY : kind & 1 ? HD_GRID_EVEN : HD_GRID_ODD,
                                  .group = kind < 2 ? 0 : 8, .shift_groups = kind >= 4, .wide_scales = kind == 3};
            hd_linear_options o = defaults((hd_method)method);
            hd_linear_result r = layer_solve(&l, &f, &o);
            int lowest = kind == 5 ? -2 : kind & 1 ? -8 : -7, highest = kind == 5 ? 2 : kind & 1 ? 6 : 7, step = kind & 1;
            assert_true(!r.mask && (r.shift != NULL) == (kind >= 4) && (r.in_scale != NULL) == (method == HD_METHOD_AWQ));
            for (int i = 0; i < OUT * IN; i++) {
                int row = i / IN, k = row * GROUPS + i % IN / 8, shift = r.shift ? r.shift[k] : 0, v = r.v[i];
                assert_true(shift <= 3 && v % (1 << shift) == 0);
                v /= 1 << shift;
                assert_true(v >= lowest && v <= highest && (v & 1) == !step);
                float scale = r.scale[kind == 2 || kind == 3 ? k : row], w = scale * (float)r.v[i];
                if (r.in_scale) w /= r.in_scale[i % IN];
                assert_true(fabsf(r.w[i] - w) <= 1e-6f * fabsf(w));
                if (!f.wide_scales) assert_true(scale == (float)(_Float16)scale);
            }
            double codes = kind == 5 ? 1.6 : 3, scales = (f.wide_scales ? 32 : 16) * OUT * (kind == 2 || kind == 3 ? GROUPS : 1);
            assert_true(fabs(r.bits_stored - (codes * OUT * IN + scales + (kind >= 4 ? 2 * OUT * GROUPS : 0) + (r.in_scale ? 16 * IN : 0))) < 1e-6);
            assert_true(fabs(r.error - layer_error(r.w, l.w, l.h, OUT, IN)) < 1e-6 * r.error);
            assert_true(fabs(r.reference - layer_error(l.w, NULL, l.h, OUT, IN)) < 1e-6 * r.reference);
            hd_linear_result_free(&r);
        }
    layer_problem_free(&l);
}

/* AWQ on inputs of unequal strength: clearly better than rounding, and never worse than alpha = 0 without clipping, which is rounding. */
static void awq_beats_rtn(void **state) {
    (void)state;
    double ratio = 0;
    for (uint64_t seed = 0; seed < 6; seed++) {
        layer_problem l = layer_problem_new(16, 48, seed + 20);
        hd_linear_format f = {.bits = 3, .grid = HD_GRID_ODD, .group = 16};
        hd_linear_options rtn = defaults(HD_METHOD_RTN), awq = defaults(HD_METHOD_AWQ);
        rtn.damping = awq.damping = 0;
        hd_linear_result a = layer_solve(&l, &f, &rtn), b = layer_solve(&l, &f, &awq);
        assert_true(b.error <= a.error * 1.02);
        ratio += b.error / a.error / 6;
        hd_linear_result_free(&a);
        hd_linear_result_free(&b);
        layer_problem_free(&l);
    }
    print_message("AWQ's error is %.3f of rounding's\n", ratio);
    assert_true(ratio < 0.9);
}

/* With yx of another matrix's outputs, that matrix is what is approximated. */
static void target_is_the_wanted_output(void **state) {
    (void)state;
    enum { OUT = 5, IN = 20 };
    layer_problem l = layer_problem_new(OUT, IN, 9), other = layer_problem_new(OUT, IN, 10);
    double yx[OUT * IN] = {0};
    for (int r = 0; r < OUT; r++)
        for (int i = 0; i < IN; i++)
            for (int j = 0; j < IN; j++) yx[r * IN + i] += (double)other.w[r * IN + j] * l.h[j * IN + i];
    hd_linear_format f = {.bits = 8, .grid = HD_GRID_EVEN};
    hd_linear_options o = defaults(HD_METHOD_GPTQ);
    o.damping = 0;
    l.p.yx = yx;
    hd_linear_result r = layer_solve(&l, &f, &o);
    assert_true(layer_error(r.w, other.w, l.h, OUT, IN) < 1e-3 * r.reference);
    assert_true(fabs(r.reference - layer_error(other.w, NULL, l.h, OUT, IN)) < 1e-6 * r.reference);
    hd_linear_result_free(&r);
    layer_problem_free(&l);
    layer_problem_free(&other);
}

/* An input that never comes gets weight 0 where the grid has one, and does not disturb the others. */
static void dead_inputs(void **state) {
    (void)state;
    enum { OUT = 4, IN = 16 };
    layer_problem l = layer_problem_new(OUT, IN, 4);
    for (int i = 0; i < IN; i++) l.h[5 * IN + i] = l.h[i * IN + 5] = 0;
    for (int m = HD_METHOD_RTN; m <= HD_METHOD_AWQ; m++) {
        hd_linear_format f = {.bits = 8, .grid = HD_GRID_EVEN};
        hd_linear_options o = defaults((hd_method)m);
        hd_linear_result r = layer_solve(&l, &f, &o);
        for (int row = 0; row < OUT; row++) assert_int_equal(r.v[row * IN + 5], 0);
        assert_true(r.error < 1e-3 * r.reference);
        hd_linear_result_free(&r);
    }
    layer_problem_free(&l);
}

static void threads_change_nothing(void **state) {
    (void)state;
    layer_problem l = layer_problem_new(70, 136, 6);
    for (int m = HD_METHOD_RTN; m <= HD_METHOD_SPARSEGPT; m++)
        for (int exact = 0; exact < 2; exact++) {
            hd_linear_format f = {.bits = 3, .grid = HD_GRID_ODD, .group = 32};
            if (m == HD_METHOD_SPARSEGPT) {
                f.sparsity = HD_SPARSE_UNSTRUCTURED;
                f.density = 0.5f;
            }
            hd_linear_options o = defaults((hd_method)m);
            o.sweeps = exact ? o.sweeps : 0;
            int threads = omp_get_max_threads();
            omp_set_num_threads(1);
            hd_linear_result a = layer_solve(&l, &f, &o);
            omp_set_num_threads(5);
            hd_linear_result b = layer_solve(&l, &f, &o);
            omp_set_num_threads(threads);
            assert_memory_equal(a.w, b.w, 70 * 136 * sizeof(float));
            assert_true(a.error == b.error);
            hd_linear_result_free(&a);
            hd_linear_result_free(&b);
        }
    layer_problem_free(&l);
}

static void refused(const layer_problem *l, hd_linear_format f, hd_linear_options o, const char *message) {
    hd_linear_result r;
    hd_err err = {0};
    assert_true(hd_linear_solve(&r, &l->p, &f, &o, &err) != HD_OK);
    assert_string_equal(err.message, message);
    assert_null(r.w);
}

static void refusals(void **state) {
    (void)state;
    layer_problem l = layer_problem_new(2, 4, 1);
    hd_linear_options rtn = defaults(HD_METHOD_RTN), gptq = defaults(HD_METHOD_GPTQ), sparse = defaults(HD_METHOD_SPARSEGPT), odd = rtn;
    refused(&l, (hd_linear_format){.bits = 9}, rtn, "layer 'test': 9 bits on grid 0; allowed 1..8, or 16 (float)");
    refused(&l, (hd_linear_format){.bits = 1, .grid = HD_GRID_EVEN}, rtn, "layer 'test': 1 bits on grid 1; allowed 2..8, or 16 (float)");
    refused(&l, (hd_linear_format){.bits = 4, .group = -1}, rtn, "layer 'test': groups of -1 inputs; at least 1, or 0 (the row)");
    refused(&l, (hd_linear_format){.bits = 16}, rtn, "layer 'test': a dense format of float values has nothing to solve");
    refused(&l, (hd_linear_format){.bits = 4, .sparsity = HD_SPARSE_N_OF_M, .n = 2, .m = 4}, gptq,
            "layer 'test': method 'gptq' on a sparse format; sparse formats go with 'rtn', 'sparsegpt' and 'iobs', dense ones with all others");
    refused(&l, (hd_linear_format){.bits = 4}, sparse,
            "layer 'test': method 'sparsegpt' on a dense format; sparse formats go with 'rtn', 'sparsegpt' and 'iobs', dense ones with all others");
    refused(&l, (hd_linear_format){.bits = 16, .sparsity = HD_SPARSE_N_OF_M, .n = 5, .m = 4}, sparse, "layer 'test': 5 of 4; allowed 1 <= n <= m <= 64");
    refused(&l, (hd_linear_format){.bits = 16, .sparsity = HD_SPARSE_UNSTRUCTURED}, sparse, "layer 'test': density 0; above 0, at most 1");
    refused(&l, (hd_linear_format){.bits = 16, .sparsity = HD_SPARSE_BLOCK, .density = 0.5f, .block_in = 8}, sparse,
            "layer 'test': blocks of 8 x 0, taps of 0; at least 1 x 1, 0");
    odd.damping = -1;
    refused(&l, (hd_linear_format){.bits = 4}, odd, "layer 'test': damping -1; allowed 0..1e6");
    odd = rtn;
    odd.sweeps = -2;
    refused(&l, (hd_linear_format){.bits = 4}, odd, "layer 'test': -2 sweeps; at least 0");
    odd = rtn;
    odd.method = (hd_method)6;
    refused(&l, (hd_linear_format){.bits = 4}, odd, "layer 'test': method 6; allowed 0..5");
    odd = defaults(HD_METHOD_AWQ);
    uint8_t keep[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    refused(&l, (hd_linear_format){.bits = 4, .keep = keep}, odd, "layer 'test': a given mask with method 'awq'; it goes with the others");
    odd.awq_points = 0;
    refused(&l, (hd_linear_format){.bits = 4}, odd, "layer 'test': 0 powers of input scales; allowed 1..1000");
    double *cost;
    size_t n, items;
    hd_err err = {0};
    assert_int_equal(hd_linear_costs(&cost, &n, &items, &l.p, &(hd_linear_format){.bits = 4, .sparsity = HD_SPARSE_N_OF_M, .n = 2, .m = 4}, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "layer 'test': costs of sparsity 2; there are those of single weights and of blocks");
    assert_null(cost);
    l.w[6] = NAN;
    refused(&l, (hd_linear_format){.bits = 4}, rtn, "layer 'test': weight [1][2] is not finite");
    l.w[6] = 1;
    for (int i = 0; i < 16; i++) l.h[i] = 1;
    gptq.damping = 0;
    refused(&l, (hd_linear_format){.bits = 4}, gptq,
            "layer 'test': the second moment of its inputs is not positive definite (column 2); more damping is needed");
    layer_problem_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hessian_is_the_second_moment), cmocka_unit_test(rtn_finds_the_best_scale), cmocka_unit_test(results_are_consistent),
        cmocka_unit_test(awq_beats_rtn),                cmocka_unit_test(target_is_the_wanted_output), cmocka_unit_test(dead_inputs),
        cmocka_unit_test(threads_change_nothing),       cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
