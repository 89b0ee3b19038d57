/* Rounding, ranges and counts of compression at their edges: small cases by brute force, which whole networks would hide. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../compiler/compress/compress_internal.h"
#include "../../compiler/compress/factor_internal.h"
#include "../../compiler/compress/linear.h"
#include "../../compiler/compress/model_internal.h"
#include "../../sw/core/half.h"
#include "../../sw/core/rng.h"

/* Without a search each weight becomes the nearest value of its grid at the scale that just reaches the largest. */
static void nearest_on_every_grid(void **state) {
    (void)state;
    enum { N = 400 };
    hd_rng rng;
    hd_rng_seed(&rng, 3, 1);
    for (int odd = 0; odd < 2; odd++)
        for (int bits = 1 + !odd; bits <= 8; bits++) {
            enum hd_grid grid = odd ? HD_GRID_ODD : HD_GRID_EVEN;
            float w[N], scale, least = 1e-6f;
            int16_t v[N];
            for (int i = 0; i < N; i++) w[i] = hd_rng_normal(&rng);
            hd_rtn o = {.grid = grid, .bits = bits, .granularity = HD_GRANULARITY_CHANNEL, .floor = &least};
            hd_rtn_quantize(v, NULL, &scale, w, 1, N, &o);
            for (int i = 0; i < N; i++) {
                double best = INFINITY, mine = fabs((double)w[i] - (double)scale * v[i]);
                for (int x = hd_grid_min(grid, bits); x <= hd_grid_max(grid, bits); x += 2) best = fmin(best, fabs((double)w[i] - (double)scale * x));
                assert_true(mine <= best + 1e-6);
                assert_int_equal((v[i] - hd_grid_min(grid, bits)) % 2, 0);
            }
        }
}

/* One scale for a layer is no smaller than any channel may have; found in the rows or given. */
static void one_scale_keeps_all_floors(void **state) {
    (void)state;
    float w[12], scale[3], least[3] = {0.01f, 0.5f, 0.02f}, fixed[3] = {0.1f, 0.1f, 0.1f};
    int16_t v[12];
    for (int i = 0; i < 12; i++) w[i] = 0.1f * (float)(i % 5) - 0.2f;
    hd_rtn o = {.grid = HD_GRID_ODD, .bits = 4, .granularity = HD_GRANULARITY_TENSOR, .floor = least, .search = 1};
    hd_rtn_quantize(v, NULL, scale, w, 3, 4, &o);
    for (int c = 0; c < 3; c++) assert_true(scale[c] == 0.5f);
    o.fixed = fixed;
    hd_rtn_quantize(v, NULL, scale, w, 3, 4, &o);
    for (int c = 0; c < 3; c++) assert_true(scale[c] == 0.5f);
}

/* The nearest binary16, by looking at all of them. */
static void halves(void **state) {
    (void)state;
    static double all[0x7c00];
    hd_rng rng;
    hd_rng_seed(&rng, 5, 1);
    for (unsigned b = 0; b < 0x7c00; b++) {
        /* 10 bits behind the point; without the hidden one the smallest exponent stays. */
        double exponent = b >> 10 ? (double)(b >> 10) - 15 : -14, mantissa = (double)(b & 1023) / 1024 + (b >> 10 ? 1 : 0);
        all[b] = (double)hd_half_value(b);
        assert_true(all[b] == mantissa * exp2(exponent));
        assert_true((double)hd_half_value(b | 0x8000) == -all[b]);
        assert_int_equal(hd_half_bits((float)all[b]), b);
    }
    for (int i = 0; i < 20000; i++) {
        double x = ldexp(1 + (double)hd_rng_float(&rng), (int)hd_rng_below(&rng, 40) - 25), got = hd_half(i % 2 ? x : -x);
        size_t lo = 0, hi = 0x7bff;
        while (lo + 1 < hi) {
            size_t middle = (lo + hi) / 2;
            if (all[middle] <= x) lo = middle;
            else hi = middle;
        }
        double best = fmin(fabs(all[lo] - x), fabs(all[hi] - x));
        assert_true((got < 0) == (i % 2 == 0) || got == 0);
        assert_true(fabs(fabs(got) - x) == best);
        assert_true(fabs(got) == all[lo] || fabs(got) == all[hi]);
    }
    assert_true(hd_half(1e9) == 65504.0 && hd_half(-1e9) == -65504.0);
}

/* Scales of rounding with a weight for each column: no other scale is better for the integers that were chosen. */
static void scales_are_least_squares(void **state) {
    (void)state;
    enum { OUT = 24, IN = 32 };
    hd_rng rng;
    hd_rng_seed(&rng, 7, 1);
    float w[OUT * IN];
    double h[IN * IN] = {0};
    for (int i = 0; i < OUT * IN; i++) w[i] = hd_rng_normal(&rng);
    for (int i = 0; i < IN; i++) h[i * IN + i] = exp(2 * (double)hd_rng_normal(&rng));
    hd_linear p = {.name = "l", .out = OUT, .in = IN, .w = w, .h = h};
    hd_linear_format f = {.grid = HD_GRID_ODD, .bits = 3, .wide_scales = 1};
    hd_linear_options o;
    hd_linear_defaults(&o, HD_METHOD_RTN);
    o.damping = 1e-9;
    hd_linear_result r = {0};
    int settled = 0;
    hd_err err = {0};
    if (hd_linear_solve(&r, &p, &f, &o, &err)) fail_msg("%s", err.message);
    for (int row = 0; row < OUT; row++) {
        double tn = 0, nn = 0, mine = 0, best = 0;
        const float *t = w + row * IN, *q = r.w + row * IN;
        for (int i = 0; i < IN; i++) {
            tn += h[i * IN + i] * (double)t[i] * (double)q[i];
            nn += h[i * IN + i] * (double)q[i] * (double)q[i];
        }
        for (int i = 0; i < IN; i++) {
            mine += h[i * IN + i] * pow((double)t[i] - (double)q[i], 2);
            best += h[i * IN + i] * pow((double)t[i] - tn / nn * (double)q[i], 2);
        }
        settled += mine <= best * (1 + 1e-5);
    }
    assert_true(settled >= OUT * 9 / 10); /* integers and scale take turns only so often */
    hd_linear_result_free(&r);
}

/* Shares of blocks to the nearest whole block, of two equally near ones the larger number; one stays. */
static void shares_of_blocks(void **state) {
    (void)state;
    float w[5 * 7];
    uint8_t present[5 * 7];
    hd_err err = {0};
    hd_rng rng;
    hd_rng_seed(&rng, 9, 1);
    for (int i = 0; i < 35; i++) w[i] = hd_rng_normal(&rng);
    for (int n = 1; n <= 35; n += 2)
        for (int eighths = 0; eighths < 8; eighths++) { /* binary fractions: exact */
            size_t removed = 0, want = (size_t)((eighths * n + 4) / 8);
            assert_int_equal(hd_prune_blocks(present, w, 1, 1, n, 1, 1, (float)eighths / 8, &err), HD_OK);
            for (int i = 0; i < n; i++) removed += !present[i];
            assert_int_equal(removed, want < (size_t)n ? want : (size_t)n - 1);
        }
}

/* Equal numbers for each class: the count of blocks that stay is the nearest that whole ranks give in their order, never twice as far as needed. */
static void equal_numbers(void **state) {
    (void)state;
    enum { FAMILIES = 4, ALONG = 8, CLASSES = 4, BLOCKS = FAMILIES * ALONG };
    hd_block_rule rule = {.along = ALONG, .in_blocks = ALONG, .classes = CLASSES};
    double score[BLOCKS];
    uint8_t present[BLOCKS];
    hd_err err = {0};
    hd_rng rng;
    hd_rng_seed(&rng, 11, 1);
    for (int i = 0; i < BLOCKS; i++) score[i] = (double)hd_rng_float(&rng);
    for (size_t keep = 1; keep <= BLOCKS; keep++) {
        size_t stay = 0;
        assert_int_equal(hd_prune_evenly(present, score, BLOCKS, &rule, keep, &err), HD_OK);
        for (int i = 0; i < BLOCKS; i++) stay += present[i];
        /* Each rank is CLASSES blocks: down from the middle between two, up above it. */
        size_t below = keep / CLASSES * CLASSES, want = keep - below > CLASSES / 2 ? below + CLASSES : below;
        if (keep - below == CLASSES / 2) assert_true(stay == below || stay == below + CLASSES);
        else assert_int_equal(stay, want ? want : CLASSES);
        for (int f = 0; f < FAMILIES; f++) {
            int of_class[CLASSES] = {0};
            for (int i = 0; i < ALONG; i++) of_class[i % CLASSES] += present[f * ALONG + i];
            for (int c = 1; c < CLASSES; c++) assert_int_equal(of_class[c], of_class[0]);
        }
    }
}

/* A range always holds 0, its ends become codes of their own, and a value the nearest code. */
static void ranges_and_codes(void **state) {
    (void)state;
    static const float range[][2] = {{0, 1}, {-1, 1}, {-3, 0.5f}, {0.5f, 2}, {-2, -0.5f}, {-1e-3f, 7}, {-255, 0}};
    for (size_t k = 0; k < sizeof range / sizeof *range; k++) {
        float lo = fminf(range[k][0], 0), hi = fmaxf(range[k][1], 0);
        hd_qparams q = hd_qparams_of_range(range[k][0], range[k][1]);
        assert_true(fabsf(q.scale - (hi - lo) / 255) < 1e-6f * (hi - lo));
        assert_true(q.zero >= -128 && q.zero <= 127);
        assert_int_equal(hd_code(q, 0), q.zero);
        assert_true(abs(hd_code(q, (double)lo) + 128) <= 1 && abs(hd_code(q, (double)hi) - 127) <= 1);
        for (int i = -40; i <= 340; i++) {
            double x = (double)lo + ((double)hi - (double)lo) * i / 300.0, best = INFINITY, mine;
            for (int c = -128; c < 128; c++) best = fmin(best, fabs(x - (double)q.scale * (c - q.zero)));
            mine = fabs(x - (double)q.scale * (hd_code(q, x) - q.zero));
            assert_true(mine <= best + 1e-9);
        }
    }
}

/* Four of a thousand values are far out at each end: the range without the last half per cent ends at the last bin that holds others. */
static void percentile_range(void **state) {
    (void)state;
    hd_histogram h = {.lo = -10, .hi = 10};
    double width = 20.0 / HD_BINS;
    h.count[0] = h.count[HD_BINS - 1] = 4;
    for (int b = 900; b < 1148; b++) h.count[b] = 4; /* 992 */
    hd_qparams got = hd_qparams_percentile(&h, 0.995), want = hd_qparams_of_range((float)(-10 + width * 900), (float)(-10 + width * 1148));
    assert_true(fabsf(got.scale - want.scale) < 1e-6f);
    assert_int_equal(got.zero, want.zero);
    got = hd_qparams_percentile(&h, 1);
    want = hd_qparams_of_range(-10, 10);
    assert_true(got.scale == want.scale && got.zero == want.zero);
}

/* What each thread saw counts: histograms of images of which each has another extreme. */
static void ranges_of_all_images(void **state) {
    (void)state;
    enum { IMAGES = 64, PIXELS = 4000 }; /* enough for four threads to take part */
    static float data[IMAGES * PIXELS];
    hd_idx images = {.type = HD_IDX_F32, .rank = 2, .dim = {IMAGES, PIXELS}, .item = PIXELS, .data = data};
    hd_graph *g = hd_graph_new("net");
    int x = hd_graph_add_tensor(g, "x", (hd_shape){PIXELS, 1, 1}), y = hd_graph_add_tensor(g, "y", (hd_shape){PIXELS, 1, 1}), i = hd_graph_add_node(g, HD_OP_CLIP, "clip");
    hd_node *n = &g->node[i];
    n->input[0] = g->input = x;
    n->output = g->output = y;
    n->lo = -INFINITY;
    n->hi = INFINITY;
    hd_rng rng;
    hd_rng_seed(&rng, 13, 1);
    for (int at = 0; at < IMAGES; at += 9)
        for (int sign = -1; sign <= 1; sign += 2) {
            for (int k = 0; k < IMAGES * PIXELS; k++) data[k] = 2 * hd_rng_float(&rng) - 1;
            data[at * PIXELS + 3] = (float)sign * 5;
            hd_histogram *h = calloc(2, sizeof *h);
            const uint8_t wanted[2] = {1, 1};
            hd_err err = {0};
            float lo = 0, hi = 0;
            uint64_t seen = 0;
            for (int k = 0; k < IMAGES * PIXELS; k++) lo = fminf(lo, data[k]), hi = fmaxf(hi, data[k]);
            omp_set_num_threads(4);
            if (!h || hd_calibrate(h, wanted, g, &images, IMAGES, 0, &err)) fail_msg("%s", err.message);
            for (int t = 0; t < 2; t++) {
                seen = 0;
                for (int b = 0; b < HD_BINS; b++) seen += h[t].count[b];
                assert_true(h[t].lo == lo && h[t].hi == hi);
                assert_int_equal(seen, IMAGES * PIXELS);
            }
            free(h);
        }
    hd_graph_free(g);
}

/* Sums of squares of singular values: those of a diagonal matrix are its entries. */
static void tails_are_squares(void **state) {
    (void)state;
    double a[4 * 3] = {0, 3, 0, 0.5, 0, 0, 0, 0, 7, 0, 0, 0}, tail[4];
    assert_int_equal(hd_svd_tails(tail, a, 4, 3), 0);
    const double want[4] = {49 + 9 + 0.25, 9 + 0.25, 0.25, 0};
    for (int i = 0; i < 4; i++) assert_true(fabs(tail[i] - want[i]) < 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nearest_on_every_grid), cmocka_unit_test(one_scale_keeps_all_floors), cmocka_unit_test(halves), cmocka_unit_test(scales_are_least_squares),
        cmocka_unit_test(shares_of_blocks), cmocka_unit_test(equal_numbers), cmocka_unit_test(ranges_and_codes), cmocka_unit_test(percentile_range),
        cmocka_unit_test(ranges_of_all_images), cmocka_unit_test(tails_are_squares)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
