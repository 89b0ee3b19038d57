/* Passes over float networks: folded scales and split outliers leave the network's outputs, and better the integers'. */
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
#include "../../compiler/compress/fold_scales.h"
#include "../../compiler/compress/pass_inputs.h"
#include "../../compiler/compress/passes.h"
#include "../../sw/core/rng.h"
#include "../support/integer_checks.h"
#include "../support/net_maker.h"

enum { IMAGES = 96 };

/* ---- networks ---- */

/* Residual, depthwise and grouped layers, both pools, a leaky function, flattening; everything can be folded but conv1. */
static hd_graph *foldable(uint64_t seed) {
    maker k = net_start((hd_shape){3, 8, 8}, 1, seed);
    int x = net_clip(&k, "relu1", net_conv(&k, "conv1", k.g->input, 8, 3, 1, 1), INFINITY);
    x = net_clip(&k, "relu2", net_add(&k, "add1", net_conv(&k, "conv2", x, 8, 3, 1, 1), x), INFINITY);
    x = net_unary(&k, "leaky", net_conv(&k, "depthwise", x, 8, 3, 1, 8), HD_FN_LEAKY_RELU);
    x = net_pool(&k, HD_OP_MAX_POOL, "max", x);
    x = net_clip(&k, "relu3", net_conv(&k, "conv3", x, 12, 3, 1, 2), INFINITY);
    x = net_flatten(&k, "flat", net_pool(&k, HD_OP_AVG_POOL, "average", x));
    net_fc(&k, "fc2", net_clip(&k, "relu4", net_fc(&k, "fc1", x, 16), INFINITY), 6);
    return k.g;
}

static hd_policy policy(const char *method, int bits) {
    hd_policy p;
    hd_err err = {0};
    hd_policy_default(&p);
    p.base.bits = bits;
    if (hd_recipe_parse(&p.base.recipe, method, &err)) fail_msg("%s", err.message);
    return p;
}

static hd_graph *passed(const hd_graph *g, hd_policy *out, const hd_policy *p, const hd_idx *x) {
    hd_graph *made;
    hd_err err = {0};
    if (hd_passes_run(&made, out, g, p, x, IMAGES, 1, &err)) fail_msg("%s", err.message);
    return made;
}

/* Largest difference of the outputs over their largest magnitude. */
static double difference(const hd_graph *a, const hd_graph *b, const hd_idx *x) {
    hd_exec *e[2];
    hd_err err = {0};
    float *image = malloc(x->item * sizeof *image);
    double largest = 0, most = 0;
    if (hd_exec_new(&e[0], a, &err) || hd_exec_new(&e[1], b, &err)) fail_msg("%s", err.message);
    for (uint32_t i = 0; i < x->dim[0]; i++) {
        hd_idx_item(x, i, 1, image);
        hd_exec_run(e[0], image);
        hd_exec_run(e[1], image);
        for (size_t j = 0; j < hd_shape_size(a->tensor[a->output].shape); j++) {
            double u = (double)hd_exec_tensor(e[0], a->output)[j], v = (double)hd_exec_tensor(e[1], b->output)[j];
            largest = fmax(largest, fabs(u));
            most = fmax(most, fabs(u - v));
        }
    }
    hd_exec_free(e[0]);
    hd_exec_free(e[1]);
    free(image);
    return most / largest;
}

static hd_model *compressed(const hd_graph *g, const char *method, int bits, const hd_idx *x) {
    hd_policy p = policy(method, bits), q;
    hd_model *m;
    hd_err err = {0};
    hd_graph *made = passed(g, &q, &p, x);
    if (hd_compress(&m, made, &q, x, IMAGES, 1, &err)) fail_msg("%s: %s", method, err.message);
    hd_graph_free(made);
    hd_policy_free(&q);
    return m;
}

/* Calibrated on some images, measured on others. */
static double quality_of(const hd_graph *g, const char *method, int bits) {
    hd_idx *x = net_images(g, IMAGES, 1), *others = net_images(g, IMAGES, 2);
    hd_model *m = compressed(g, method, bits, x);
    double q = -10 * log10(hd_test_noise(g, m, others)); /* signal to noise in decibels */
    hd_model_free(m);
    hd_idx_free(x);
    hd_idx_free(others);
    return q;
}

/* ---- folding ---- */

static void folding_leaves_the_outputs(void **state) {
    (void)state;
    static const char *const methods[] = {"smooth", "smooth:0.9", "awq"};
    for (uint64_t seed = 0; seed < 6; seed++) {
        hd_graph *g = foldable(seed);
        hd_idx *x = net_images(g, IMAGES, seed);
        hd_policy p = policy(methods[seed % 3], 3), q;
        hd_graph *made = passed(g, &q, &p, x);
        double d = difference(g, made, x);
        if (!(d < 1e-5)) fail_msg("seed %d: outputs differ by %g", (int)seed, d);
        /* conv1 reads the network's input and is left out; the others are folded, and the policy says so. */
        int changed = 0;
        static const char *const layers[] = {"conv1", "conv2", "depthwise", "conv3", "fc1", "fc2"};
        for (int i = 0; i < 6; i++) {
            assert_int_equal(hd_policy_of(&q, layers[i])->recipe.fold != HD_FOLD_NONE, i > 0);
            size_t n = hd_node_weights(net_named(g, layers[i]));
            changed += memcmp(net_named(g, layers[i])->weight, net_named(made, layers[i])->weight, n * sizeof(float)) != 0;
        }
        assert_true(changed == 6 || (seed % 3 == 2 && changed >= 3)); /* AWQ may find that no scales are best */
        hd_graph_free(made);
        hd_policy_free(&q);
        hd_idx_free(x);
        hd_graph_free(g);
    }
}

/* Two layers read one tensor: SmoothQuant by plain loops for each, their geometric mean for both. */
static void readers_share_a_scale(void **state) {
    (void)state;
    enum { C = 5 };
    maker k = net_start((hd_shape){2, 4, 4}, 1, 8);
    int x = net_clip(&k, "relu", net_conv(&k, "first", k.g->input, C, 1, 1, 1), INFINITY);
    net_add(&k, "sum", net_conv(&k, "a", x, 4, 3, 1, 1), net_conv(&k, "b", x, 4, 1, 1, 1));
    hd_idx *data = net_images(k.g, IMAGES, 1);
    hd_policy p = policy("smooth:0.3", 4), q;
    hd_graph *made = passed(k.g, &q, &p, data);
    double largest[C] = {0}, s[C], before = 0, after = 0;
    hd_exec *e;
    hd_err err = {0};
    float image[32];
    assert_int_equal(hd_exec_new(&e, k.g, &err), HD_OK);
    for (uint32_t i = 0; i < IMAGES; i++) {
        hd_idx_item(data, i, 1, image);
        hd_exec_run(e, image);
        for (int c = 0; c < C; c++)
            for (int j = 0; j < 16; j++) largest[c] = fmax(largest[c], fabs((double)hd_exec_tensor(e, x)[c * 16 + j]));
    }
    hd_exec_free(e);
    for (int c = 0; c < C; c++) {
        double w[2] = {0};
        for (int r = 0; r < 4; r++) {
            for (int j = 0; j < 9; j++) w[0] = fmax(w[0], fabs((double)net_named(k.g, "a")->weight[(r * C + c) * 9 + j]));
            w[1] = fmax(w[1], fabs((double)net_named(k.g, "b")->weight[r * C + c]));
        }
        s[c] = pow(largest[c], 0.3) / pow(sqrt(w[0] * w[1]), 0.7);
    }
    for (int c = 0; c < C; c++) {
        /* up to one factor for all channels, by which scales are free */
        double found = (double)net_named(made, "b")->weight[c] / (double)net_named(k.g, "b")->weight[c];
        double other = (double)net_named(made, "a")->weight[c * 9] / (double)net_named(k.g, "a")->weight[c * 9];
        double rows = (double)net_named(k.g, "first")->weight[c * 2] / (double)net_named(made, "first")->weight[c * 2];
        assert_true(fabs(other / found - 1) < 1e-5 && fabs(rows / found - 1) < 1e-5);
        before += log(s[c]) / C;
        after += log(found) / C;
        s[c] /= found;
    }
    for (int c = 0; c < C; c++) assert_true(fabs(s[c] / exp(before - after) - 1) < 1e-5);
    hd_graph_free(made);
    hd_policy_free(&q);
    hd_idx_free(data);
    hd_graph_free(k.g);
}

static void add_rule(hd_policy *p, const char *layer, const char *method) {
    hd_policy rule = policy(method, p->base.bits);
    assert_true(hd_policy_add(p, layer, &rule.base));
}

static void refused(const hd_graph *g, const hd_policy *p, const hd_idx *x, const char *message) {
    hd_graph *made;
    hd_policy q;
    hd_err err = {0};
    assert_int_equal(hd_passes_run(&made, &q, g, p, x, IMAGES, 1, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, message);
    assert_null(made);
}

static void what_cannot_be_folded(void **state) {
    (void)state;
    maker k = net_start((hd_shape){3, 4, 4}, 1, 4);
    int x = net_clip(&k, "relu6", net_conv(&k, "conv1", k.g->input, 4, 3, 1, 1), 6);
    x = net_unary(&k, "swish", net_conv(&k, "conv2", x, 4, 3, 1, 1), HD_FN_HARD_SWISH);
    x = net_add(&k, "sum", net_conv(&k, "conv3", x, 4, 1, 1, 1), x);
    net_conv(&k, "conv4", x, 4, 1, 1, 1);
    hd_idx *data = net_images(k.g, IMAGES, 1);
    static const struct { const char *layer, *message; } list[] = {
        {"conv1", "layer 'conv1': no scales can be folded before it: it reads the network's input, which stays as it is"},
        {"conv2", "layer 'conv2': no scales can be folded before it: node 'relu6' does not pass them on; ReLU, pooling, flattening and additions do"},
        {"conv3", "layer 'conv3': no scales can be folded before it: node 'swish' does not pass them on; ReLU, pooling, flattening and additions do"},
        /* through the addition */
        {"conv4", "layer 'conv4': no scales can be folded before it: node 'swish' does not pass them on; ReLU, pooling, flattening and additions do"}};
    for (size_t i = 0; i < 4; i++) {
        hd_policy p = policy("rtn", 4);
        add_rule(&p, list[i].layer, "smooth");
        refused(k.g, &p, data, list[i].message);
        hd_policy_free(&p);
    }
    /* A clip at -1 would clip elsewhere after a division. */
    maker c = net_start((hd_shape){3, 4, 4}, 1, 4);
    x = net_clip(&c, "floor", net_conv(&c, "conv1", c.g->input, 4, 3, 1, 1), INFINITY);
    net_named(c.g, "floor")->lo = -1;
    net_conv(&c, "conv2", x, 4, 1, 1, 1);
    hd_policy clipped = policy("rtn", 4);
    add_rule(&clipped, "conv2", "smooth");
    refused(c.g, &clipped, data, "layer 'conv2': no scales can be folded before it: node 'floor' does not pass them on; ReLU, pooling, flattening and additions do");
    hd_policy_free(&clipped);
    hd_graph_free(c.g);
    /* As a base it leaves them all out, and the network as it is. */
    hd_policy p = policy("smooth+gptq", 4), q;
    hd_graph *made = passed(k.g, &q, &p, data);
    for (int i = 0; i < k.g->n_nodes; i++) {
        const hd_node *n = &k.g->node[i];
        if (!n->weight) continue;
        assert_memory_equal(n->weight, made->node[i].weight, hd_node_weights(n) * sizeof(float));
        assert_true(hd_policy_of(&q, n->name)->recipe.fold == HD_FOLD_NONE && hd_policy_of(&q, n->name)->recipe.solver == HD_METHOD_GPTQ);
    }
    hd_graph_free(made);
    hd_policy_free(&q);
    hd_graph_free(k.g);
    k = net_start((hd_shape){3, 4, 4}, 1, 4);
    x = net_clip(&k, "relu", net_conv(&k, "conv1", k.g->input, 4, 3, 1, 1), INFINITY);
    net_conv(&k, "conv2", x, 4, 1, 1, 1);
    k.g->output = x;
    p = policy("rtn", 4);
    add_rule(&p, "conv2", "awq");
    refused(k.g, &p, data, "layer 'conv2': no scales can be folded before it: what it reads is the network's output too, which stays as it is");
    hd_policy_free(&p);
    p = policy("rtn", 4);
    hd_idx wrong = *data;
    wrong.item--;
    hd_err err = {0};
    assert_int_equal(hd_passes_run(&made, &q, k.g, &p, &wrong, IMAGES, 1, &err), HD_MISMATCH);
    hd_idx_free(data);
    hd_graph_free(k.g);
}

/* Channels of unequal size share their tensor's codes: smoothing them is worth many decibels that rounding does not have. */
static void smoothing_beats_rounding(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        hd_graph *g = net_planted(seed, 60);
        double rtn = quality_of(g, "rtn", 8), smooth = quality_of(g, "smooth+rtn", 8);
        print_message("seed %d: rounding %.1f dB, smoothed %.1f dB\n", (int)seed, rtn, smooth);
        assert_true(smooth > rtn + 6);
        hd_graph_free(g);
    }
}

static void awq_beats_rounding(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        hd_graph *g = net_planted(seed, 6);
        double rtn = quality_of(g, "rtn", 3), awq = quality_of(g, "awq", 3), gptq = quality_of(g, "awq+gptq", 3);
        print_message("seed %d: rounding %.1f dB, AWQ %.1f dB, AWQ and GPTQ %.1f dB\n", (int)seed, rtn, awq, gptq);
        assert_true(awq > rtn + 1 && gptq > awq);
        hd_graph_free(g);
    }
}

/* The power that is chosen is the best of all twenty by the outputs themselves, sample by sample. */
static void awq_power_is_the_best(void **state) {
    (void)state;
    enum { OUT = 6, IN = 8, N = 60, POWERS = 20 };
    int chosen[2] = {0};
    for (uint64_t seed = 0; seed < 8; seed++) {
        hd_rng r;
        hd_rng_seed(&r, seed, 4);
        float w[OUT * IN], x[N * IN];
        double h[IN * IN] = {0}, rms[IN] = {0}, s[IN], power, best = 0, least = INFINITY;
        int channel[IN];
        for (int i = 0; i < OUT * IN; i++) w[i] = hd_rng_normal(&r);
        for (int i = 0; i < N * IN; i++) x[i] = hd_rng_normal(&r) * (i % IN == 2 ? 9.0f : i % IN == 5 ? 4.0f : 1.0f);
        for (int i = 0; i < N; i++)
            for (int a = 0; a < IN; a++)
                for (int b = 0; b < IN; b++) h[a * IN + b] += 2.0 / N * (double)x[i * IN + a] * (double)x[i * IN + b];
        for (int a = 0; a < IN; a++) {
            rms[a] = sqrt(h[a * IN + a] / 2);
            channel[a] = a;
        }
        hd_fold_problem f = {.p = {.name = "l", .out = OUT, .in = IN, .w = w, .h = h}, .format = {.bits = 3, .grid = HD_GRID_ODD, .wide_scales = 1}, .channel = channel};
        hd_err err = {0};
        assert_int_equal(hd_fold_awq_search(s, &power, rms, IN, &f, 1, &err), HD_OK);
        for (int k = 0; k < POWERS; k++) {
            double t[IN], low = INFINITY, high = 0, e = 0, scaled_h[IN * IN];
            float scaled[OUT * IN];
            for (int a = 0; a < IN; a++) {
                t[a] = pow(rms[a], (double)k / POWERS);
                low = fmin(low, t[a]);
                high = fmax(high, t[a]);
            }
            for (int i = 0; i < OUT * IN; i++) scaled[i] = (float)((double)w[i] * t[i % IN] / sqrt(low * high));
            for (int i = 0; i < IN * IN; i++) scaled_h[i] = h[i] * low * high / (t[i / IN] * t[i % IN]);
            hd_linear p = {.name = "l", .out = OUT, .in = IN, .w = scaled, .h = scaled_h};
            hd_linear_options o;
            hd_linear_result q;
            hd_linear_defaults(&o, HD_METHOD_RTN);
            assert_int_equal(hd_linear_solve(&q, &p, &f.format, &o, &err), HD_OK);
            for (int i = 0; i < N; i++)
                for (int row = 0; row < OUT; row++) {
                    double d = 0;
                    for (int a = 0; a < IN; a++)
                        d += ((double)q.w[row * IN + a] * sqrt(low * high) / t[a] - (double)w[row * IN + a]) * (double)x[i * IN + a];
                    e += d * d;
                }
            hd_linear_result_free(&q);
            if (e < least * (1 - 1e-6)) {
                least = e;
                best = (double)k / POWERS;
            }
        }
        assert_true(fabs(best - power) < 1e-9);
        assert_true(fabs(s[2] / s[5] - pow(rms[2] / rms[5], power)) < 1e-9);
        chosen[power > 0]++;
    }
    assert_true(chosen[1] > 4);
}

/* ---- outliers ---- */

static void outliers_leave_the_outputs(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 4; seed++) {
        hd_graph *g = net_planted(seed, 100);
        hd_idx *x = net_images(g, IMAGES, seed);
        hd_policy p = policy("outliers:10", 4), q;
        hd_graph *made = passed(g, &q, &p, x);
        assert_true(difference(g, made, x) < 1e-5);
        const char *const wanted[] = {"conv1", "conv1.outliers", "conv2", "conv2.outliers", "conv2.outliers.outliers", "fc", "fc.outliers"};
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) assert_non_null(net_named(made, wanted[i]));
        assert_true(net_named(made, "conv1")->cout == 14 && net_named(made, "conv1.outliers")->cout == 2);
        assert_true(net_named(made, "conv2.outliers")->cin == 2 && !net_named(made, "conv2.outliers")->bias);
        assert_true(net_named(made, "fc.outliers")->cin == 2 * 4 && net_named(made, "fc")->cin == 14 * 4);
        assert_true(hd_policy_of(&q, "fc.outliers")->bits == 8 && hd_policy_of(&q, "fc")->bits == 4);
        assert_true(hd_policy_of(&q, "conv1")->recipe.outliers == 0 && hd_policy_of(&q, "fc")->recipe.outliers > 0);
        hd_graph_free(made);
        hd_policy_free(&q);
        hd_idx_free(x);
        hd_graph_free(g);
    }
}

static void splitting_beats_rounding(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        hd_graph *g = net_planted(seed, 60);
        double rtn = quality_of(g, "rtn", 8), split = quality_of(g, "outliers", 8);
        print_message("seed %d: rounding %.1f dB, outliers apart %.1f dB\n", (int)seed, rtn, split);
        assert_true(split > rtn + 6);
        hd_graph_free(g);
    }
}

/* Around pools, functions and additions, and where others read the tensor. */
static void outliers_through_operations(void **state) {
    (void)state;
    maker k = net_start((hd_shape){3, 8, 8}, 1, 6);
    int x = net_unary(&k, "swish", net_conv(&k, "conv1", k.g->input, 8, 3, 1, 1), HD_FN_HARD_SWISH);
    x = net_pool(&k, HD_OP_MAX_POOL, "max", x);
    x = net_add(&k, "sum", net_conv(&k, "conv2", x, 8, 3, 1, 1), net_conv(&k, "conv3", k.g->input, 8, 3, 2, 1));
    x = net_flatten(&k, "flat", net_clip(&k, "relu", x, 4));
    net_fc(&k, "fc", x, 5);
    for (int i = 0; i < 27; i++) net_named(k.g, "conv1")->weight[5 * 27 + i] *= 30;
    for (int i = 0; i < 27; i++) net_named(k.g, "conv3")->weight[2 * 27 + i] *= 30;
    net_named(k.g, "relu")->hi = 1000;
    hd_idx *data = net_images(k.g, IMAGES, 2);
    hd_policy p = policy("outliers:3", 8), q;
    hd_graph *made = passed(k.g, &q, &p, data);
    assert_true(difference(k.g, made, data) < 1e-5);
    assert_true(net_named(made, "conv2.outliers")->cin == 1 && net_named(made, "fc.outliers") && net_named(made, "conv3.outliers") && net_named(made, "max.outliers"));
    hd_graph_free(made);
    hd_policy_free(&q);
    hd_graph_free(k.g);
    hd_idx_free(data);
    k = net_start((hd_shape){3, 8, 8}, 1, 6);
    x = net_conv(&k, "conv1", k.g->input, 8, 3, 1, 1);
    net_add(&k, "sum", net_conv(&k, "conv2", x, 8, 3, 1, 1), x);
    for (int i = 0; i < 27; i++) net_named(k.g, "conv1")->weight[5 * 27 + i] *= 30;
    data = net_images(k.g, IMAGES, 2);
    made = passed(k.g, &q, &p, data);
    assert_int_equal(made->n_nodes, 3);
    hd_graph_free(made);
    hd_policy_free(&q);
    p = policy("rtn", 8);
    add_rule(&p, "conv2", "outliers:3");
    refused(k.g, &p, data, "layer 'conv2': its outliers cannot go their own way: others read its inputs too");
    hd_policy_free(&p);
    hd_idx_free(data);
    hd_graph_free(k.g);
}

/* The rewritten network through the compiler, on the instruction-level device: the bytes of the integer executor. */
static void split_networks_run(void **state) {
    (void)state;
    static const char *const geometries[] = {"2x2x4x1", "4x8x8x2"};
    hd_graph *g = net_planted(5, 40);
    hd_idx *x = net_images(g, IMAGES, 5);
    hd_model *m = compressed(g, "outliers:8+smooth+gptq", 4, x);
    hd_err err = {0};
    for (int k = 0; k < 2; k++)
        if (hd_test_ref_agrees(m, geometries[k], x, 4, &err)) fail_msg("%s: %s", geometries[k], err.message);
    hd_model_free(m);
    hd_idx_free(x);
    hd_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folding_leaves_the_outputs), cmocka_unit_test(readers_share_a_scale),         cmocka_unit_test(what_cannot_be_folded),
        cmocka_unit_test(smoothing_beats_rounding),   cmocka_unit_test(awq_beats_rounding),            cmocka_unit_test(awq_power_is_the_best),
        cmocka_unit_test(outliers_leave_the_outputs), cmocka_unit_test(splitting_beats_rounding),      cmocka_unit_test(outliers_through_operations),
        cmocka_unit_test(split_networks_run),
    };
    return cmocka_run_group_tests_name("passes", tests, NULL, NULL);
}
