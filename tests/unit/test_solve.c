/* GPTQ, SparseGPT, exact elimination and block OBS: against textbook loops, against brute force, and against plain rounding. */
#include <math.h>
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

/* h^-1 by Gauss elimination, column by column. */
static void invert(double *inverse, const double *h, int n) {
    double *a = malloc((size_t)(n * n) * sizeof *a), *b = malloc((size_t)n * sizeof *b);
    for (int k = 0; k < n; k++) {
        memcpy(a, h, (size_t)(n * n) * sizeof *a);
        for (int i = 0; i < n; i++) b[i] = i == k;
        assert_true(layer_dense_solve(a, b, n));
        for (int i = 0; i < n; i++) inverse[i * n + k] = b[i];
    }
    free(a);
    free(b);
}

static void damp(double *h, int n, double damping) {
    double mean = 0;
    for (int i = 0; i < n; i++) mean += h[i * n + i] / n;
    for (int i = 0; i < n; i++) h[i * n + i] += damping * mean;
}

/* Without sweeps GPTQ is OBQ in a fixed order: round a column, spread its error by the inverse Hessian of those not yet rounded. */
static void gptq_is_obq_in_order(void **state) {
    (void)state;
    enum { OUT = 3, IN = 140 }; /* past the blocks of 128 */
    for (int act_order = 0; act_order < 2; act_order++) {
        layer_problem l = layer_problem_new(OUT, IN, 40);
        hd_linear_format f = {.bits = 3, .grid = HD_GRID_ODD};
        hd_linear_options o = defaults(HD_METHOD_GPTQ);
        o.sweeps = 0;
        o.act_order = act_order;
        hd_linear_result r = layer_solve(&l, &f, &o);
        double *inverse = malloc(IN * IN * sizeof *inverse), w[IN];
        damp(l.h, IN, o.damping);
        int different = 0;
        for (int row = 0; row < OUT; row++) {
            int done[IN] = {0};
            invert(inverse, l.h, IN);
            for (int i = 0; i < IN; i++) w[i] = (double)l.w[row * IN + i];
            for (int k = 0; k < IN; k++) {
                int i = k;
                for (int j = 0; act_order && j < IN; j++)
                    if (!done[j] && (done[i] || l.h[j * IN + j] > l.h[i * IN + i])) i = j;
                done[i] = 1;
                double a = (double)r.scale[row], n = fmin(7, fmax(-7, 2 * floor(w[i] / a / 2) + 1)), e = (w[i] - n * a) / inverse[i * IN + i];
                different += (int)n != r.v[row * IN + i];
                double column[IN], d = inverse[i * IN + i];
                for (int j = 0; j < IN; j++) column[j] = inverse[j * IN + i];
                for (int j = 0; j < IN; j++) {
                    if (!done[j]) w[j] -= e * column[j];
                    for (int q = 0; q < IN; q++) inverse[j * IN + q] -= column[j] * column[q] / d;
                }
            }
        }
        assert_int_equal(different, 0);
        free(inverse);
        hd_linear_result_free(&r);
        layer_problem_free(&l);
    }
}

/* On one fixed layer each step is worth something: rounding, the published method, descent after it. */
static void gptq_beats_rtn(void **state) {
    (void)state;
    for (int shifts = 0; shifts < 2; shifts++) {
        layer_problem l = layer_problem_new(40, 96, 41);
        hd_linear_format f = {.bits = 3, .grid = HD_GRID_ODD, .group = 32, .shift_groups = shifts};
        hd_linear_options rtn = defaults(HD_METHOD_RTN), paper = defaults(HD_METHOD_GPTQ), full = paper;
        paper.sweeps = 0;
        hd_linear_result a = layer_solve(&l, &f, &rtn), b = layer_solve(&l, &f, &paper), c = layer_solve(&l, &f, &full);
        print_message("errors: rounding %.5f, GPTQ %.5f, with descent %.5f of the reference\n", a.error / a.reference, b.error / b.reference,
                      c.error / c.reference);
        assert_true(b.error < 0.7 * a.error);
        assert_true(c.error < 0.75 * b.error);
        hd_linear_result_free(&a);
        hd_linear_result_free(&b);
        hd_linear_result_free(&c);
        layer_problem_free(&l);
    }
}

/* Tiny rows: all codes at the scale that was chosen. Descent ends where no single move and no pair of neighbouring moves helps, which is the
 * optimum nearly always. */
static void descent_against_all_codes(void **state) {
    (void)state;
    enum { IN = 5, TRIES = 60 };
    int optimal = 0;
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        layer_problem l = layer_problem_new(1, IN, 100 + seed);
        hd_linear_format f = {.bits = 2, .grid = seed & 1 ? HD_GRID_EVEN : HD_GRID_ODD, .wide_scales = 1};
        hd_linear_options o = defaults(HD_METHOD_GPTQ);
        o.damping = 1e-9;
        hd_linear_result r = layer_solve(&l, &f, &o);
        double least = INFINITY;
        for (int code = 0; code < 1 << 2 * IN; code++) {
            float w[IN];
            for (int i = 0; i < IN; i++) w[i] = r.scale[0] * (float)(2 * (code >> 2 * i & 3) - (seed & 1 ? 4 : 3));
            least = fmin(least, layer_error(w, l.w, l.h, 1, IN));
        }
        assert_true(r.error >= least * (1 - 1e-5));
        optimal += r.error <= least * (1 + 1e-4);
        /* the scale is the least-squares fit of these integers */
        for (int way = -1; way <= 1; way += 2) {
            float w[IN];
            for (int i = 0; i < IN; i++) w[i] = r.w[i] * (1 + 0.02f * (float)way);
            assert_true(layer_error(w, l.w, l.h, 1, IN) >= r.error * (1 - 1e-6));
        }
        hd_linear_result_free(&r);
        layer_problem_free(&l);
    }
    print_message("descent found the best of all codes in %d of %d\n", optimal, TRIES);
    assert_true(optimal >= TRIES * 9 / 10);
}

/* The best weights on a support, and their error. */
static double on_support(const double *h, const float *t, const uint8_t *mask, int in, float *w) {
    int at[16], n = 0;
    double a[256], b[16];
    for (int i = 0; i < in; i++)
        if (mask[i]) at[n++] = i;
    for (int i = 0; i < n; i++) {
        b[i] = 0;
        for (int j = 0; j < in; j++) b[i] += h[at[i] * in + j] * (double)t[j];
        for (int j = 0; j < n; j++) a[i * n + j] = h[at[i] * in + at[j]];
    }
    assert_true(layer_dense_solve(a, b, n));
    for (int i = 0; i < in; i++) w[i] = 0;
    for (int i = 0; i < n; i++) w[at[i]] = (float)b[i];
    return layer_error(w, t, h, 1, in);
}

/* One row of 10 inputs, 5 stay (or 2 of each 4): every support, each with its least squares. */
static void support_against_all_supports(void **state) {
    (void)state;
    enum { IN = 10, TRIES = 40 };
    for (int cells = 0; cells < 2; cells++) {
        int optimal = 0;
        double excess = 0;
        for (uint64_t seed = 0; seed < TRIES; seed++) {
            layer_problem l = layer_problem_new(1, IN, 300 + seed);
            hd_linear_format f = {.bits = 16, .sparsity = cells ? HD_SPARSE_N_OF_M : HD_SPARSE_UNSTRUCTURED, .density = 0.5f, .n = 2, .m = 4};
            hd_linear_options o = defaults(HD_METHOD_SPARSEGPT);
            o.damping = 1e-9;
            hd_linear_result r = layer_solve(&l, &f, &o);
            double least = INFINITY;
            float w[IN];
            for (int code = 0; code < 1 << IN; code++) {
                uint8_t mask[IN];
                int kept[3] = {0}, all = 0;
                for (int i = 0; i < IN; i++) {
                    mask[i] = (uint8_t)(code >> i & 1);
                    kept[i / 4] += mask[i];
                    all += mask[i];
                }
                if (cells ? kept[0] == 2 && kept[1] == 2 && kept[2] == 2 : all == IN / 2) least = fmin(least, on_support(l.h, l.w, mask, IN, w));
            }
            /* float16 values cost a little */
            double exact = on_support(l.h, l.w, r.mask, IN, w);
            assert_true(r.error <= exact * 1.001 + 1e-5 * r.reference);
            assert_true(exact >= least * (1 - 1e-9));
            optimal += exact <= least * (1 + 1e-9);
            excess += (exact / least - 1) / TRIES;
            hd_linear_result_free(&r);
            layer_problem_free(&l);
        }
        print_message("best of all supports in %d of %d, mean excess %.2f%%\n", optimal, TRIES, 100 * excess);
        assert_true(optimal >= TRIES * 7 / 10 && excess < 0.05);
    }
}

static double magnitude_error(const layer_problem *l, const hd_linear_result *r) {
    size_t n = (size_t)(l->p.out * l->p.in), kept = 0;
    float *w = malloc(n * sizeof *w), low = 0, high = 100;
    for (size_t i = 0; i < n; i++) kept += r->mask[i];
    for (int k = 0; k < 60; k++) {
        size_t above = 0;
        float middle = (low + high) / 2;
        for (size_t i = 0; i < n; i++) above += fabsf(l->w[i]) > middle;
        if (above > kept) low = middle;
        else high = middle;
    }
    for (size_t i = 0; i < n; i++) w[i] = fabsf(l->w[i]) > high ? l->w[i] : 0;
    double e = layer_error(w, l->w, l->h, l->p.out, l->p.in);
    free(w);
    return e;
}

static void sparse_methods_rank(void **state) {
    (void)state;
    enum { OUT = 30, IN = 72 };
    layer_problem l = layer_problem_new(OUT, IN, 42);
    hd_linear_format f = {.bits = 16, .sparsity = HD_SPARSE_UNSTRUCTURED, .density = 0.5f};
    hd_linear_options paper = defaults(HD_METHOD_SPARSEGPT), full = paper;
    paper.sweeps = 0;
    hd_linear_result a = layer_solve(&l, &f, &paper), b = layer_solve(&l, &f, &full);
    double plain = magnitude_error(&l, &a);
    print_message("errors: magnitude %.5f, SparseGPT %.5f, exact %.5f of the reference\n", plain / a.reference, a.error / a.reference, b.error / b.reference);
    assert_true(a.error < 0.6 * plain && b.error < 0.7 * a.error);
    int kept[2] = {0};
    for (int i = 0; i < OUT * IN; i++) {
        kept[0] += a.mask[i];
        kept[1] += b.mask[i];
        assert_true((a.mask[i] || a.w[i] == 0) && (b.mask[i] || b.w[i] == 0));
    }
    assert_int_equal(kept[0], OUT * IN / 2);
    assert_int_equal(kept[1], OUT * IN / 2);
    assert_true(b.bits_stored == 16.0 * OUT * IN / 2 + OUT * IN);
    hd_linear_result_free(&a);
    hd_linear_result_free(&b);
    /* jointly with 4 bits: a little worse than float values, still better than the published method's float values */
    f.bits = 4;
    hd_linear_result c = layer_solve(&l, &f, &full), d = layer_solve(&l, &f, &paper);
    f.bits = 16;
    hd_linear_result e = layer_solve(&l, &f, &paper);
    assert_true(c.error < e.error && c.error < d.error && d.error < 0.7 * plain);
    for (int i = 0; i < OUT * IN; i++) assert_true(c.mask[i] ? c.v[i] & 1 : c.v[i] == 0 && c.w[i] == 0);
    hd_linear_result_free(&c);
    hd_linear_result_free(&d);
    hd_linear_result_free(&e);
    layer_problem_free(&l);
}

static void n_of_m_holds_in_every_cell(void **state) {
    (void)state;
    enum { OUT = 7, IN = 134 }; /* the last cell is cut off; cells of 5 do not divide the blocks of 128 */
    layer_problem l = layer_problem_new(OUT, IN, 43);
    for (int m = 4; m <= 5; m++)
        for (int sweeps = 0; sweeps < 2; sweeps++) {
            hd_linear_format f = {.bits = 4, .grid = HD_GRID_ODD, .group = 32, .sparsity = HD_SPARSE_N_OF_M, .n = 2, .m = m};
            hd_linear_options o = defaults(HD_METHOD_SPARSEGPT);
            o.sweeps *= sweeps;
            hd_linear_result r = layer_solve(&l, &f, &o);
            for (int row = 0; row < OUT; row++)
                for (int from = 0; from < IN; from += m) {
                    int kept = 0, width = IN - from < m ? IN - from : m;
                    for (int i = from; i < from + width; i++) kept += r.mask[row * IN + i];
                    assert_int_equal(kept, width < 2 ? width : 2);
                }
            hd_linear_result_free(&r);
        }
    layer_problem_free(&l);
}

/* 4 rows in blocks of 2, 2 taps of 5 inputs in blocks of 3 (so 3 and 2 wide): 2 x 4 blocks, half of them stay; all subsets. */
static void blocks_against_all_subsets(void **state) {
    (void)state;
    enum { OUT = 4, IN = 10, TRIES = 25 };
    static const int block_of[IN] = {0, 0, 0, 1, 1, 2, 2, 2, 3, 3}, first[4] = {0, 3, 5, 8};
    int optimal = 0;
    double excess = 0, plain = 0;
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        layer_problem l = layer_problem_new(OUT, IN, 500 + seed);
        hd_linear_format f = {.bits = 16, .sparsity = HD_SPARSE_BLOCK, .density = 0.5f, .block_in = 3, .block_out = 2, .tap = 5};
        hd_linear_options o = defaults(HD_METHOD_SPARSEGPT);
        o.damping = 1e-9;
        hd_linear_result r = layer_solve(&l, &f, &o);
        int own = 0, by_norm = 0, kept = 0;
        double cost[2][16], norm[8] = {0}, least = INFINITY;
        float w[IN], shaved[OUT * IN];
        for (int half = 0; half < 2; half++)
            for (int set = 0; set < 16; set++) {
                uint8_t mask[IN];
                for (int i = 0; i < IN; i++) mask[i] = (uint8_t)(set >> block_of[i] & 1);
                cost[half][set] = 0;
                for (int row = 2 * half; row < 2 * half + 2; row++) cost[half][set] += on_support(l.h, l.w + row * IN, mask, IN, w);
            }
        for (int set = 0; set < 256; set++)
            if (__builtin_popcount((unsigned)set) == 4) least = fmin(least, cost[0][set & 15] + cost[1][set >> 4]);
        for (int i = 0; i < OUT * IN; i++) {
            int block = i / IN / 2 * 4 + block_of[i % IN];
            if (r.mask[i]) own |= 1 << block;
            kept += r.mask[i];
            assert_int_equal(r.mask[i], r.mask[i / IN / 2 * 2 * IN + first[block_of[i % IN]]]);
            norm[block] += (double)(l.w[i] * l.w[i]);
        }
        assert_int_equal(__builtin_popcount((unsigned)own), 4);
        for (int k = 0; k < 4; k++) {
            int best = 0;
            for (int b = 0; b < 8; b++)
                if (norm[b] > norm[best]) best = b;
            by_norm |= 1 << best;
            norm[best] = -1;
        }
        for (int i = 0; i < OUT * IN; i++) shaved[i] = by_norm >> (i / IN / 2 * 4 + block_of[i % IN]) & 1 ? l.w[i] : 0;
        double mine = cost[0][own & 15] + cost[1][own >> 4];
        assert_true(r.error <= mine * 1.001 + 1e-5 * r.reference && mine >= least * (1 - 1e-9));
        optimal += mine <= least * (1 + 1e-9);
        excess += (mine / least - 1) / TRIES;
        plain += r.error / layer_error(shaved, l.w, l.h, OUT, IN) / TRIES;
        assert_true(r.bits_stored == 8 + 16.0 * kept);
        hd_linear_result_free(&r);
        layer_problem_free(&l);
    }
    print_message("best of all block subsets in %d of %d, mean excess %.1f%%; error %.3f of pruning by norm\n", optimal, TRIES, 100 * excess, plain);
    assert_true(optimal >= TRIES / 2 && excess < 0.2 && plain < 0.6);
}

/* Above the cost limit of exact elimination the column loop and a descent take over. */
static void large_layers_stay_sparse_and_good(void **state) {
    (void)state;
    enum { OUT = 204, IN = 1000 };
    layer_problem l = layer_problem_new(OUT, IN, 44);
    hd_linear_format f = {.bits = 16, .sparsity = HD_SPARSE_UNSTRUCTURED, .density = 0.25f};
    hd_linear_options paper = defaults(HD_METHOD_SPARSEGPT), full = paper;
    paper.sweeps = 0;
    hd_linear_result a = layer_solve(&l, &f, &paper), b = layer_solve(&l, &f, &full);
    assert_memory_equal(a.mask, b.mask, OUT * IN);
    assert_true(b.error < 0.95 * a.error);
    hd_linear_result_free(&a);
    hd_linear_result_free(&b);
    layer_problem_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gptq_is_obq_in_order),       cmocka_unit_test(gptq_beats_rtn),       cmocka_unit_test(descent_against_all_codes),
        cmocka_unit_test(support_against_all_supports), cmocka_unit_test(sparse_methods_rank), cmocka_unit_test(n_of_m_holds_in_every_cell),
        cmocka_unit_test(blocks_against_all_subsets), cmocka_unit_test(large_layers_stay_sparse_and_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
