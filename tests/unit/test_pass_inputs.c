/* What passes know of a layer's inputs: second moments, histograms and the ranges chosen from them. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../compiler/compress/compress_internal.h"
#include "../../compiler/compress/pass_inputs.h"
#include "../../compiler/compress/passes.h"
#include "../../sw/core/rng.h"
#include "../support/net_maker.h"

enum { IMAGES = 96 };

/* Second moments by plain loops over windows of a strided, dilated, grouped convolution. */
static void moments_are_of_the_windows(void **state) {
    (void)state;
    enum { GROUPS = 2, PER = 2, K = 3, IN = PER * K * K };
    maker k = net_start((hd_shape){4, 7, 6}, 1, 2);
    hd_node *n = net_node(&k, HD_OP_CONV2D, "conv", k.g->input, (hd_shape){6, 4, 4});
    n->kh = n->kw = K;
    n->sy = n->dx = 2;
    n->sx = 1;
    n->groups = GROUPS;
    n->pad_top = n->pad_bottom = n->pad_left = n->pad_right = 1;
    net_fill(&k, n, 4, 6);
    hd_idx *x = net_images(k.g, IMAGES, 3);
    hd_policy q;
    hd_policy_default(&q);
    hd_pass pass = {k.g, &q, x, IMAGES, 1};
    double h[GROUPS * IN * IN], want[GROUPS * IN * IN] = {0};
    hd_err err = {0};
    if (hd_layer_moments(h, &pass, 0, &err)) fail_msg("%s", err.message);
    hd_shape s = k.g->tensor[0].shape;
    for (uint32_t i = 0; i < IMAGES; i++)
        for (int oy = 0; oy < 4; oy++)
            for (int ox = 0; ox < 4; ox++)
                for (int g = 0; g < GROUPS; g++) {
                    double v[IN];
                    for (int c = 0; c < PER; c++)
                        for (int ky = 0; ky < K; ky++)
                            for (int kx = 0; kx < K; kx++) {
                                int iy = oy * 2 - 1 + ky, ix = ox - 1 + kx * 2, in = iy >= 0 && iy < s.h && ix >= 0 && ix < s.w;
                                size_t at = (size_t)((g * PER + c) * s.h + iy) * (size_t)s.w + (size_t)ix;
                                v[(c * K + ky) * K + kx] = in ? ((uint8_t *)x->data)[i * x->item + at] / 255.0 : 0;
                            }
                    for (int a = 0; a < IN; a++)
                        for (int b = 0; b < IN; b++) want[(g * IN + a) * IN + b] += 2 * v[a] * v[b] / (IMAGES * 16.0);
                }
    for (int i = 0; i < GROUPS * IN * IN; i++) assert_true(fabs(h[i] - want[i]) < 1e-5);
    double again[GROUPS * IN * IN];
    int threads = omp_get_max_threads();
    omp_set_num_threads(threads > 1 ? 1 : 3);
    assert_int_equal(hd_layer_moments(again, &pass, 0, &err), HD_OK);
    omp_set_num_threads(threads);
    assert_memory_equal(h, again, sizeof h);
    hd_idx_free(x);
    hd_graph_free(k.g);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Against the sorted values: the ends lie within a bin of the order statistics. */
static void percentiles(void **state) {
    (void)state;
    enum { N = 20000 };
    static double v[N];
    hd_rng r;
    hd_rng_seed(&r, 1, 2);
    hd_histogram *h = calloc(1, sizeof *h);
    h->lo = -8;
    h->hi = 12;
    for (int i = 0; i < N; i++) {
        do v[i] = 2 * (double)hd_rng_normal(&r) + 1;
        while (v[i] <= -8 || v[i] >= 12);
        h->count[(int)((v[i] + 8) / 20 * HD_BINS)]++;
    }
    qsort(v, N, sizeof *v, by_value);
    for (int k = 0; k < 3; k++) {
        double p = (double[]){0.9999, 0.99, 0.9}[k], bin = 20.0 / HD_BINS;
        int beyond = (int)(N * (1 - p));
        hd_qparams q = hd_qparams_percentile(h, p);
        double lo = (double)q.scale * (-128 - q.zero), hi = (double)q.scale * (127 - q.zero);
        assert_true(fabs(lo - v[beyond]) < bin + (double)q.scale && fabs(hi - v[N - 1 - beyond]) < bin + (double)q.scale);
    }
    hd_qparams all = hd_qparams_percentile(h, 1), minmax = hd_qparams_of(h, &(hd_policy){.ranges = HD_RANGES_MINMAX}), mse = hd_qparams_of(h, &(hd_policy){0});
    assert_true(minmax.scale == hd_qparams_of_range(-8, 12).scale && all.scale < minmax.scale);
    assert_true((double)all.scale * (-128.5 - all.zero) <= v[0] && (double)all.scale * (127.5 - all.zero) >= v[N - 1]);
    assert_true(hd_qparams_error(h, mse) <= hd_qparams_error(h, minmax));
    free(h);
}

static void ranges_by_name(void **state) {
    (void)state;
    hd_policy p = {0};
    assert_true(hd_policy_ranges(&p, "minmax") && p.ranges == HD_RANGES_MINMAX);
    assert_true(hd_policy_ranges(&p, "percentile") && p.ranges == HD_RANGES_PERCENTILE && fabsf(p.percentile - 0.9999f) < 1e-6f);
    assert_true(hd_policy_ranges(&p, "percentile:99") && fabsf(p.percentile - 0.99f) < 1e-6f);
    assert_true(hd_policy_ranges(&p, "mse") && p.ranges == HD_RANGES_MSE);
    static const char *const bad[] = {"", "max", "percentile:", "percentile:49", "percentile:101", "percentile:99x", "percentiles", "percentile:nan"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(hd_policy_ranges(&p, bad[i]));
    /* and they arrive: the model's scales follow */
    hd_graph *g = net_planted(1, 20);
    hd_idx *x = net_images(g, IMAGES, 1);
    hd_model *m[3];
    float scale[3];
    for (int k = 0; k < 3; k++) {
        hd_policy_default(&p);
        p.base.bits = 8;
        p.base.recipe.solver = HD_METHOD_RTN;
        p.ranges = (hd_ranges[]){HD_RANGES_MSE, HD_RANGES_MINMAX, HD_RANGES_PERCENTILE}[k];
        p.percentile = 0.97f;
        hd_err err = {0};
        if (hd_compress(&m[k], g, &p, x, IMAGES, 1, &err)) fail_msg("%s", err.message);
        scale[k] = m[k]->tensor[m[k]->stage[0].output].scale;
        hd_model_free(m[k]);
    }
    assert_true(scale[0] <= scale[1] && scale[2] < scale[0]);
    hd_idx_free(x);
    hd_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(moments_are_of_the_windows), cmocka_unit_test(percentiles), cmocka_unit_test(ranges_by_name)};
    return cmocka_run_group_tests_name("pass_inputs", tests, NULL, NULL);
}
