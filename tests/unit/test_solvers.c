/* Learned clipping, I-OBS, zero points, one scale for a layer, groups on the way, rounds of pruning: against textbook loops and brute force on tiny
 * layers, and against rounding. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../compiler/compress/recipe.h"
#include "../support/layer_problem.h"

static hd_linear_options defaults(hd_method m) {
    hd_linear_options o;
    hd_linear_defaults(&o, m);
    return o;
}

static double relative(const layer_problem *l, const hd_linear_format *f, const hd_linear_options *o) {
    hd_linear_result r = layer_solve(l, f, o);
    double e = r.error / r.reference;
    hd_linear_result_free(&r);
    return e;
}

/* ---- learned clipping ---- */

static void clip_beats_rtn(void **state) {
    (void)state;
    static const hd_linear_format format[] = {{.bits = 2, .grid = HD_GRID_ODD}, {.bits = 2, .grid = HD_GRID_ODD, .group = 16, .shift_groups = 1},
                                              {.bits = 2, .group = 16, .affine = 1}, {.bits = 3, .grid = HD_GRID_EVEN, .group = 16}};
    hd_linear_options rtn = defaults(HD_METHOD_RTN), clip = defaults(HD_METHOD_CLIP);
    for (size_t k = 0; k < sizeof format / sizeof *format; k++) {
        double ratio = 0;
        for (uint64_t seed = 0; seed < 4; seed++) {
            layer_problem l = layer_problem_new(16, 48, 60 + seed);
            ratio += relative(&l, &format[k], &clip) / relative(&l, &format[k], &rtn) / 4;
            layer_problem_free(&l);
        }
        print_message("format %zu: error of learned clipping is %.3f of rounding's\n", k, ratio);
        assert_true(ratio < 0.93);
    }
}

/* One row, one scale: learning must come close to the best of all scales in its reach. */
static void clip_against_all_scales(void **state) {
    (void)state;
    enum { IN = 12, TRIES = 30 };
    double excess = 0, rounding = 0;
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        layer_problem l = layer_problem_new(1, IN, 700 + seed);
        hd_linear_format f = {.bits = 3, .grid = HD_GRID_ODD, .wide_scales = 1};
        hd_linear_options o = defaults(HD_METHOD_CLIP);
        o.damping = 0;
        hd_linear_result r = layer_solve(&l, &f, &o);
        double least = INFINITY, largest = 0;
        for (int i = 0; i < IN; i++) largest = fmax(largest, fabs((double)l.w[i]));
        for (int k = 400; k <= 4000; k++) {
            float w[IN];
            for (int i = 0; i < IN; i++) {
                double a = largest / 7 * k / 4000, n = 2 * floor((double)l.w[i] / a / 2) + 1;
                w[i] = (float)(a * fmin(7, fmax(-7, n)));
            }
            least = fmin(least, layer_error(w, l.w, l.h, 1, IN));
        }
        /* rounded to nearest at its own scale, whatever the scale */
        for (int i = 0; i < IN; i++) {
            double n = 2 * floor((double)l.w[i] / (double)r.scale[0] / 2) + 1;
            assert_int_equal(r.v[i], (int)fmin(7, fmax(-7, n)));
        }
        o.method = HD_METHOD_RTN;
        excess += (r.error / least - 1) / TRIES;
        rounding += (relative(&l, &f, &o) * r.reference / least - 1) / TRIES;
        hd_linear_result_free(&r);
        layer_problem_free(&l);
    }
    print_message("learned clipping: mean excess over the best of all scales %.1f%%, rounding's %.1f%%\n", 100 * excess, 100 * rounding);
    assert_true(excess < 0.6 * rounding);
}

/* ---- I-OBS ---- */

static void iobs_beats_magnitude_and_columns(void **state) {
    (void)state;
    static const hd_linear_format format[] = {{.bits = 16, .sparsity = HD_SPARSE_UNSTRUCTURED, .density = 0.5f},
                                              {.bits = 16, .sparsity = HD_SPARSE_N_OF_M, .n = 2, .m = 4},
                                              {.bits = 4, .grid = HD_GRID_ODD, .sparsity = HD_SPARSE_UNSTRUCTURED, .density = 0.5f}};
    for (size_t k = 0; k < sizeof format / sizeof *format; k++) {
        layer_problem l = layer_problem_new(24, 60, 42);
        hd_linear_options full = defaults(HD_METHOD_IOBS), plain = full, paper = defaults(HD_METHOD_SPARSEGPT);
        plain.sweeps = paper.sweeps = 0;
        double a = relative(&l, &format[k], &full), b = relative(&l, &format[k], &plain), c = relative(&l, &format[k], &paper);
        print_message("format %zu: I-OBS %.5f, without the fit %.5f, SparseGPT as published %.5f\n", k, a, b, c);
        assert_true(a < 0.7 * c && b < 1.2 * c && a < b);
        layer_problem_free(&l);
    }
}

/* Half of the weights by size, and the rest as they are: what rounding does about sparsity. */
static double by_size(const layer_problem *l, int blocks) {
    int out = l->p.out, in = l->p.in, n = out * in, wide = blocks ? 4 : 1, high = blocks ? 4 : 1, items = n / wide / high;
    float *w = malloc((size_t)n * sizeof *w);
    double *norm = calloc((size_t)items, sizeof *norm);
    int *gone = calloc((size_t)items, sizeof *gone);
    for (int i = 0; i < n; i++) norm[i / in / high * (in / wide) + i % in / wide] += (double)(l->w[i] * l->w[i]);
    for (int k = 0; k < items / 2; k++) {
        int least = -1;
        for (int i = 0; i < items; i++)
            if (!gone[i] && (least < 0 || norm[i] < norm[least])) least = i;
        gone[least] = 1;
    }
    for (int i = 0; i < n; i++) w[i] = gone[i / in / high * (in / wide) + i % in / wide] ? 0 : l->w[i];
    double e = layer_error(w, l->w, l->h, out, in) / layer_error(l->w, NULL, l->h, out, in);
    free(w);
    free(norm);
    free(gone);
    return e;
}

/* Rounding keeps the largest weights of the layer, of each cell, or the blocks of largest norm, and does not move the others; recipes ask for that. */
static void rounding_keeps_the_largest(void **state) {
    (void)state;
    enum { OUT = 16, IN = 24, ALL = OUT * IN };
    hd_recipe recipe = {.solver = HD_METHOD_RTN};
    hd_linear_options rtn;
    hd_recipe_solver(&rtn, &recipe, 1);
    assert_int_equal(rtn.method, HD_METHOD_RTN);
    layer_problem l = layer_problem_new(OUT, IN, 11);
    for (int kind = 0; kind < 3; kind++) {
        hd_linear_format f = {.bits = 16, .density = 0.5f, .n = 2, .m = 4, .block_in = 4, .block_out = 4};
        f.sparsity = kind == 0 ? HD_SPARSE_UNSTRUCTURED : kind == 1 ? HD_SPARSE_N_OF_M : HD_SPARSE_BLOCK;
        hd_linear_result r = layer_solve(&l, &f, &rtn);
        double size[ALL];
        int kept = 0;
        for (int i = 0; i < ALL; i++) {
            size[i] = 0;
            for (int j = 0; j < ALL; j++)
                if (i == j || (kind == 2 && i / IN / 4 == j / IN / 4 && i % IN / 4 == j % IN / 4)) size[i] += (double)(l.w[j] * l.w[j]);
            kept += r.mask[i];
            assert_true(r.mask[i] ? fabs((double)(r.w[i] - l.w[i])) <= 0.0005 * fabs((double)l.w[i]) + 1e-7 : r.w[i] == 0);
        }
        assert_int_equal(kept, ALL / 2);
        for (int i = 0; i < ALL; i++)
            for (int j = 0; j < ALL; j++)
                if (r.mask[i] && !r.mask[j] && (kind != 1 || i / 4 == j / 4)) assert_true(size[i] >= size[j] * (1 - 1e-9));
        /* with integers: plain rounding of those that stay */
        hd_linear_format sparse = f, given = {.bits = 4, .grid = HD_GRID_ODD, .keep = r.mask};
        sparse.bits = 4;
        sparse.grid = HD_GRID_ODD;
        hd_linear_result a = layer_solve(&l, &sparse, &rtn), b = layer_solve(&l, &given, &rtn);
        assert_memory_equal(a.mask, r.mask, ALL);
        assert_memory_equal(a.w, b.w, ALL * sizeof(float));
        hd_linear_result_free(&a);
        hd_linear_result_free(&b);
        hd_linear_result_free(&r);
    }
    layer_problem_free(&l);
}

/* Every sparse method on every structure against pruning by size. */
static void sparse_methods_beat_size(void **state) {
    (void)state;
    layer_problem l = layer_problem_new(16, 48, 45);
    for (int m = HD_METHOD_SPARSEGPT; m <= HD_METHOD_IOBS; m += HD_METHOD_IOBS - HD_METHOD_SPARSEGPT)
        for (int kind = 0; kind < 4; kind++) {
            hd_linear_format f = {.bits = kind == 3 ? 4 : 16, .grid = HD_GRID_ODD, .density = 0.5f, .n = 4, .m = 8, .block_in = 4, .block_out = 4};
            f.sparsity = kind == 0 ? HD_SPARSE_UNSTRUCTURED : kind == 1 ? HD_SPARSE_N_OF_M : HD_SPARSE_BLOCK;
            hd_linear_options o = defaults((hd_method)m);
            double e = relative(&l, &f, &o), plain = by_size(&l, kind >= 2);
            print_message("method %d, structure %d: %.4f, by size %.4f\n", m, kind, e, plain);
            assert_true(e < 0.5 * plain);
        }
    layer_problem_free(&l);
}

static double on_support(const layer_problem *l, const uint8_t *mask) {
    double a[256], b[16];
    int at[16], n = 0, in = l->p.in;
    float w[16] = {0};
    for (int i = 0; i < in; i++)
        if (mask[i]) at[n++] = i;
    for (int i = 0; i < n; i++) {
        b[i] = 0;
        for (int j = 0; j < in; j++) b[i] += l->h[at[i] * in + j] * (double)l->w[j];
        for (int j = 0; j < n; j++) a[i * n + j] = l->h[at[i] * in + at[j]];
    }
    assert_true(layer_dense_solve(a, b, n));
    for (int i = 0; i < n; i++) w[at[i]] = (float)b[i];
    return layer_error(w, l->w, l->h, 1, in);
}

/* One row of 10 inputs: all supports of five. */
static void iobs_against_all_supports(void **state) {
    (void)state;
    enum { IN = 10, TRIES = 40 };
    int optimal = 0;
    double excess = 0, plain = 0;
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        layer_problem l = layer_problem_new(1, IN, 300 + seed);
        hd_linear_format f = {.bits = 16, .sparsity = HD_SPARSE_UNSTRUCTURED, .density = 0.5f};
        hd_linear_options o = defaults(HD_METHOD_IOBS);
        o.damping = 1e-9;
        hd_linear_result r = layer_solve(&l, &f, &o);
        double least = INFINITY, own = on_support(&l, r.mask);
        uint8_t mask[IN], largest[IN] = {0};
        for (int code = 0; code < 1 << IN; code++) {
            if (__builtin_popcount((unsigned)code) != IN / 2) continue;
            for (int i = 0; i < IN; i++) mask[i] = (uint8_t)(code >> i & 1);
            least = fmin(least, on_support(&l, mask));
        }
        for (int k = 0; k < IN / 2; k++) {
            int best = -1;
            for (int i = 0; i < IN; i++)
                if (!largest[i] && (best < 0 || fabsf(l.w[i]) > fabsf(l.w[best]))) best = i;
            largest[best] = 1;
        }
        assert_true(own >= least * (1 - 1e-9) && r.error <= own * 1.01 + 1e-5 * r.reference);
        optimal += own <= least * (1 + 1e-9);
        excess += log(own / least) / TRIES;
        plain += log(on_support(&l, largest) / least) / TRIES;
        hd_linear_result_free(&r);
        layer_problem_free(&l);
    }
    print_message("I-OBS: best of all supports in %d of %d, %.2f times the least error (the largest weights' support: %.2f times)\n", optimal, TRIES, exp(excess), exp(plain));
    assert_true(optimal >= TRIES / 4 && excess < 0.6 * plain);
}

/* ---- only these may stay ---- */

static void pruning_goes_on_from_a_mask(void **state) {
    (void)state;
    enum { OUT = 8, IN = 40 };
    layer_problem l = layer_problem_new(OUT, IN, 46);
    uint8_t keep[OUT * IN];
    for (int m = HD_METHOD_SPARSEGPT; m <= HD_METHOD_IOBS; m += HD_METHOD_IOBS - HD_METHOD_SPARSEGPT)
        for (int sweeps = 0; sweeps < 2; sweeps++)
            for (int kind = 0; kind < 3; kind++) {
                for (int i = 0; i < OUT * IN; i++) keep[i] = kind == 2 ? i % IN / 4 % 3 != 0 || i / IN < 4 : kind == 1 ? i % 4 != 1 : i / IN != 3 && i % 5 != 2;
                hd_linear_format f = {.bits = 16, .density = 0.4f, .n = 2, .m = 4, .block_in = 4, .block_out = 2, .keep = keep};
                f.sparsity = kind == 0 ? HD_SPARSE_UNSTRUCTURED : kind == 1 ? HD_SPARSE_N_OF_M : HD_SPARSE_BLOCK;
                hd_linear_options o = defaults((hd_method)m);
                o.sweeps *= sweeps;
                hd_linear_result r = layer_solve(&l, &f, &o);
                int kept = 0;
                for (int i = 0; i < OUT * IN; i++) {
                    assert_true(!r.mask[i] || keep[i]);
                    kept += r.mask[i];
                }
                assert_int_equal(kept, kind == 1 ? OUT * IN / 2 : OUT * IN * 2 / 5);
                hd_linear_result_free(&r);
            }
    layer_problem_free(&l);
}

/* ---- zero points ---- */

static void affine_results_are_consistent(void **state) {
    (void)state;
    enum { OUT = 9, IN = 44, GROUPS = 6 };
    layer_problem l = layer_problem_new(OUT, IN, 5);
    for (int i = 0; i < OUT * IN; i++) l.w[i] += 0.02f * (float)(i % 7);
    for (int method = HD_METHOD_RTN; method <= HD_METHOD_CLIP; method++)
        for (int grouped = 0; grouped < 2; grouped++) {
            int sparse = method == HD_METHOD_SPARSEGPT, groups = grouped ? GROUPS : 1;
            hd_linear_format f = {.bits = 3, .group = grouped ? 8 : 0, .affine = 1, .sparsity = sparse ? HD_SPARSE_UNSTRUCTURED : HD_SPARSE_NONE, .density = 0.5f};
            hd_linear_options o = defaults((hd_method)method);
            hd_linear_result r = layer_solve(&l, &f, &o);
            assert_non_null(r.zero);
            assert_null(r.shift);
            for (int i = 0; i < OUT * IN; i++) {
                int k = i / IN * groups + (grouped ? i % IN / 8 : 0), code = r.v[i] / 2 + r.zero[k];
                float w = r.scale[k] * (float)r.v[i];
                assert_true(r.v[i] % 2 == 0 && code >= 0 && code <= 7 && r.zero[k] <= 7);
                if (r.in_scale) w /= r.in_scale[i % IN];
                assert_true(fabsf(r.w[i] - w) <= 1e-6f * fabsf(w));
                if (r.mask && !r.mask[i]) assert_true(r.w[i] == 0);
            }
            double bits = sparse ? OUT * IN + 3.0 * OUT * IN / 2 : 3.0 * OUT * IN;
            assert_true(fabs(r.bits_stored - (bits + 19 * OUT * groups + (r.in_scale ? 16 * IN : 0))) < 1e-6);
            assert_true(fabs(r.error - layer_error(r.w, l.w, l.h, OUT, IN)) < 1e-6 * r.error);
            hd_linear_result_free(&r);
        }
    layer_problem_free(&l);
}

/* Weights on one side of zero waste half of a symmetric grid; and no scale and zero point of a fine scan is much better than the search's. */
static void affine_rounding_finds_scale_and_zero(void **state) {
    (void)state;
    enum { IN = 12 };
    double ratio = 0;
    for (uint64_t seed = 0; seed < 12; seed++) {
        layer_problem l = layer_problem_new(1, IN, 80 + seed);
        l.p.h = NULL;
        for (int i = 0; i < IN; i++) l.w[i] = fabsf(l.w[i]);
        hd_linear_format f = {.bits = 3, .affine = 1, .wide_scales = 1}, symmetric = {.bits = 3, .grid = HD_GRID_ODD, .wide_scales = 1};
        hd_linear_options o = defaults(HD_METHOD_RTN), gptq = defaults(HD_METHOD_GPTQ);
        hd_linear_result r = layer_solve(&l, &f, &o);
        double least = INFINITY, largest = 0;
        for (int i = 0; i < IN; i++) largest = fmax(largest, (double)l.w[i]);
        for (int zero = 0; zero < 8; zero++)
            for (int k = 1; k <= 1000; k++) {
                double step = largest / 7 * 1.5 * k / 1000, e = 0;
                for (int i = 0; i < IN; i++) {
                    double code = fmin(7, fmax(0, nearbyint((double)l.w[i] / step) + zero)), d = (code - zero) * step - (double)l.w[i];
                    e += d * d;
                }
                least = fmin(least, e);
            }
        assert_true(r.error <= 1.05 * least);
        ratio += r.error / r.reference / relative(&l, &symmetric, &o) / 12;
        assert_true(relative(&l, &f, &gptq) <= r.error / r.reference * 1.001);
        hd_linear_result_free(&r);
        layer_problem_free(&l);
    }
    print_message("one-sided weights: error with a zero point %.3f of the symmetric grid's\n", ratio);
    assert_true(ratio < 0.5);
}

/* ---- one scale for the layer ---- */

static void one_scale_is_shared_and_best(void **state) {
    (void)state;
    enum { OUT = 5, IN = 12 };
    for (uint64_t seed = 0; seed < 6; seed++) {
        layer_problem l = layer_problem_new(OUT, IN, 90 + seed);
        double least = INFINITY, largest = 0;
        for (int i = 0; i < OUT * IN; i++) largest = fmax(largest, fabs((double)l.w[i]));
        for (int k = 1; k <= 4000; k++) {
            double a = largest / 7 * 1.2 * k / 4000, e = 0;
            for (int i = 0; i < OUT * IN; i++) {
                double n = fmin(7, fmax(-7, 2 * floor((double)l.w[i] / a / 2) + 1)), d = n * a - (double)l.w[i];
                e += d * d * l.h[i % IN * IN + i % IN];
            }
            least = fmin(least, e);
        }
        hd_linear_format f = {.bits = 3, .grid = HD_GRID_ODD, .one_scale = 1, .wide_scales = 1};
        hd_linear_options rtn = defaults(HD_METHOD_RTN), gptq = defaults(HD_METHOD_GPTQ);
        rtn.damping = gptq.damping = 0;
        hd_linear_result a = layer_solve(&l, &f, &rtn), b = layer_solve(&l, &f, &gptq);
        double e = 0;
        for (int i = 0; i < OUT * IN; i++) e += ((double)a.w[i] - (double)l.w[i]) * ((double)a.w[i] - (double)l.w[i]) * l.h[i % IN * IN + i % IN];
        assert_true(e <= 1.02 * least && b.error < 0.7 * a.error);
        for (int row = 1; row < OUT; row++) assert_true(a.scale[row] == a.scale[0] && b.scale[row] == b.scale[0]);
        hd_linear_result_free(&a);
        hd_linear_result_free(&b);
        f.sparsity = HD_SPARSE_UNSTRUCTURED;
        f.density = 0.5f;
        for (int m = HD_METHOD_SPARSEGPT; m <= HD_METHOD_IOBS; m += HD_METHOD_IOBS - HD_METHOD_SPARSEGPT) {
            hd_linear_options o = defaults((hd_method)m);
            hd_linear_result r = layer_solve(&l, &f, &o);
            for (int row = 1; row < OUT; row++) assert_true(r.scale[row] == r.scale[0]);
            hd_linear_result_free(&r);
        }
        layer_problem_free(&l);
    }
}

/* ---- groups on the way ---- */

/* GPTQ in column order, the plain way; the scale of a group of 4 is the solver's own, but its shift must be the best for the weights as they
 * are when the group begins. */
static void moving_shifts_are_best_when_reached(void **state) {
    (void)state;
    enum { IN = 40, GROUP = 4 };
    layer_problem l = layer_problem_new(1, IN, 95);
    hd_linear_format f = {.bits = 2, .grid = HD_GRID_ODD, .group = GROUP, .shift_groups = 1};
    hd_linear_options o = defaults(HD_METHOD_GPTQ);
    o.sweeps = o.act_order = 0;
    o.moving_groups = 1;
    hd_linear_result r = layer_solve(&l, &f, &o);
    double h[IN * IN], w[IN], inverse[IN * IN], mean = 0;
    for (int i = 0; i < IN; i++) mean += l.h[i * IN + i] / IN;
    for (int i = 0; i < IN * IN; i++) h[i] = l.h[i] + (i % (IN + 1) ? 0 : o.damping * mean);
    for (int k = 0; k < IN; k++) {
        double a[IN * IN], b[IN] = {0};
        memcpy(a, h, sizeof a);
        b[k] = 1;
        assert_true(layer_dense_solve(a, b, IN));
        for (int i = 0; i < IN; i++) inverse[i * IN + k] = b[i];
    }
    for (int i = 0; i < IN; i++) w[i] = (double)l.w[i];
    for (int i = 0; i < IN; i++) {
        if (i % GROUP == 0) {
            double least = INFINITY;
            int best = 0;
            for (int shift = 0; shift < 4; shift++) {
                double a = (double)r.scale[0] * (1 << shift), e = 0;
                for (int j = i; j < i + GROUP; j++) {
                    double n = fmin(3, fmax(-3, 2 * floor(w[j] / a / 2) + 1)), d = w[j] - a * n;
                    e += h[j * IN + j] * d * d;
                }
                if (e < least) {
                    least = e;
                    best = shift;
                }
            }
            assert_int_equal(r.shift[i / GROUP], best);
        }
        double a = (double)r.scale[0] * (1 << r.shift[i / GROUP]), n = fmin(3, fmax(-3, 2 * floor(w[i] / a / 2) + 1)), d = inverse[i * IN + i];
        assert_int_equal(r.v[i], (int)n * (1 << r.shift[i / GROUP]));
        double e = (w[i] - n * a) / d, column[IN];
        for (int j = 0; j < IN; j++) column[j] = inverse[j * IN + i];
        for (int j = i + 1; j < IN; j++) w[j] -= e * column[j];
        for (int j = 0; j < IN; j++)
            for (int q = 0; q < IN; q++) inverse[j * IN + q] -= column[j] * column[q] / d;
    }
    hd_linear_result_free(&r);
    layer_problem_free(&l);
}

static void gptq_variants_beat_rtn(void **state) {
    (void)state;
    layer_problem l = layer_problem_new(24, 160, 41); /* past the blocks of 128 */
    for (int kind = 0; kind < 3; kind++) {
        hd_linear_format f = {.bits = 3, .grid = HD_GRID_ODD, .group = 32, .shift_groups = kind == 1, .affine = kind == 2};
        hd_linear_options rtn = defaults(HD_METHOD_RTN), order = defaults(HD_METHOD_GPTQ), moving, full;
        order.sweeps = order.act_order = 0;
        moving = order;
        moving.moving_groups = 1;
        full = moving;
        full.sweeps = 10;
        double a = relative(&l, &f, &rtn), b = relative(&l, &f, &order), c = relative(&l, &f, &moving), d = relative(&l, &f, &full);
        print_message("format %d: rounding %.5f, GPTQ in order %.5f, groups on the way %.5f, and descent %.5f\n", kind, a, b, c, d);
        assert_true(b < 0.8 * a && c < 0.8 * a && d < 0.5 * c && b != c);
    }
    layer_problem_free(&l);
}

/* ---- all of them ---- */

static void threads_change_nothing(void **state) {
    (void)state;
    enum { OUT = 70, IN = 60 };
    layer_problem l = layer_problem_new(OUT, IN, 6);
    for (int kind = 0; kind < 5; kind++) {
        hd_linear_format f = {.bits = 3, .grid = HD_GRID_ODD, .group = kind == 3 ? 0 : 16, .affine = kind == 1, .one_scale = kind == 3};
        hd_linear_options o = defaults(kind < 2 ? HD_METHOD_CLIP : kind == 2 ? HD_METHOD_IOBS : HD_METHOD_GPTQ);
        if (kind == 2) {
            f.sparsity = HD_SPARSE_UNSTRUCTURED;
            f.density = 0.5f;
        }
        if (kind == 4) {
            o.act_order = 0;
            o.moving_groups = 1;
        }
        int threads = omp_get_max_threads();
        omp_set_num_threads(1);
        hd_linear_result a = layer_solve(&l, &f, &o);
        omp_set_num_threads(5);
        hd_linear_result b = layer_solve(&l, &f, &o);
        omp_set_num_threads(threads);
        assert_memory_equal(a.w, b.w, OUT * IN * sizeof(float));
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
}

static void refusals(void **state) {
    (void)state;
    layer_problem l = layer_problem_new(2, 8, 1);
    hd_linear_options clip = defaults(HD_METHOD_CLIP), gptq = defaults(HD_METHOD_GPTQ);
    refused(&l, (hd_linear_format){.bits = 3, .affine = 1, .group = 4, .shift_groups = 1}, gptq,
            "layer 'test': zero points on groups with shifts; they go with a scale a group or a row");
    refused(&l, (hd_linear_format){.bits = 0, .affine = 1, .grid = HD_GRID_TERNARY}, gptq, "layer 'test': 0 bits on grid 2; allowed 1..8, or 16 (float)");
    refused(&l, (hd_linear_format){.bits = 3, .one_scale = 1}, clip,
            "layer 'test': one scale for the layer with clip; it goes with symmetric grids without groups and with 'rtn', 'gptq', 'sparsegpt', 'iobs'");
    gptq.moving_groups = 1;
    refused(&l, (hd_linear_format){.bits = 3, .group = 4}, gptq,
            "layer 'test': scales of groups found on the way; they go with method 'gptq', groups, and columns in order (no act-order)");
    refused(&l, (hd_linear_format){.bits = 3}, defaults(HD_METHOD_IOBS),
            "layer 'test': method 'iobs' on a dense format; sparse formats go with 'rtn', 'sparsegpt' and 'iobs', dense ones with all others");
    layer_problem_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clip_beats_rtn), cmocka_unit_test(clip_against_all_scales), cmocka_unit_test(iobs_beats_magnitude_and_columns),
        cmocka_unit_test(rounding_keeps_the_largest), cmocka_unit_test(sparse_methods_beat_size), cmocka_unit_test(iobs_against_all_supports), cmocka_unit_test(pruning_goes_on_from_a_mask),
        cmocka_unit_test(affine_results_are_consistent), cmocka_unit_test(affine_rounding_finds_scale_and_zero),
        cmocka_unit_test(one_scale_is_shared_and_best), cmocka_unit_test(moving_shifts_are_best_when_reached), cmocka_unit_test(gptq_variants_beat_rtn),
        cmocka_unit_test(threads_change_nothing), cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
