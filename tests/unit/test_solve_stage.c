/* GPTQ and SparseGPT inside hd_compress: convolution windows, groups, residuals, blocks, trained layers, threads. */
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
#include "../../compiler/compress/model_internal.h"
#include "../../sw/core/rng.h"
#include "../support/integer_checks.h"

enum { SIDE = 6, IMAGES = 48 };

/* Smooth images: neighbouring pixels are alike, as in pictures, so the windows of a kernel are correlated. */
static hd_idx *smooth_images(int channels, uint64_t seed) {
    hd_idx *x = malloc(sizeof *x);
    size_t item = (size_t)(channels * SIDE * SIDE);
    *x = (hd_idx){.type = HD_IDX_U8, .rank = 2, .dim = {IMAGES, (uint32_t)item}, .item = item};
    uint8_t *data = x->data = malloc(IMAGES * item);
    hd_rng r;
    hd_rng_seed(&r, seed, 5);
    for (int i = 0; i < IMAGES * channels; i++) {
        float fx = hd_rng_float(&r) * 0.6f, fy = hd_rng_float(&r) * 0.6f, phase = 6.3f * hd_rng_float(&r);
        for (int p = 0; p < SIDE * SIDE; p++) {
            float v = 127 + 90 * sinf(fx * (float)(p % SIDE) + fy * (float)(p / SIDE) + phase) + 12 * hd_rng_normal(&r);
            data[i * SIDE * SIDE + p] = (uint8_t)fminf(255, fmaxf(0, v));
        }
    }
    return x;
}

static int linear_node(hd_graph *g, hd_op op, const char *name, int x, hd_shape out, int kernel, int groups, uint64_t seed) {
    int t = hd_graph_add_tensor(g, name, out), i = hd_graph_add_node(g, op, name);
    hd_node *n = &g->node[i];
    hd_shape s = g->tensor[x].shape;
    hd_rng r;
    hd_rng_seed(&r, seed, 6);
    n->input[0] = x;
    n->output = t;
    n->kh = n->kw = kernel;
    n->groups = groups;
    n->cin = op == HD_OP_FC ? s.c * s.h * s.w : s.c;
    n->cout = out.c;
    n->pad_top = n->pad_left = n->pad_bottom = n->pad_right = kernel / 2;
    size_t count = hd_node_weights(n);
    n->weight = malloc(count * sizeof(float));
    n->bias = malloc((size_t)out.c * sizeof(float));
    float level = 1.5f / sqrtf((float)(count / (size_t)out.c));
    for (size_t k = 0; k < count; k++) n->weight[k] = level * hd_rng_normal(&r);
    for (int k = 0; k < out.c; k++) n->bias[k] = 0.1f * hd_rng_normal(&r);
    return t;
}

static int plain_node(hd_graph *g, hd_op op, const char *name, int x, int y) {
    hd_shape s = g->tensor[x].shape;
    int flat = op == HD_OP_FLATTEN, t = hd_graph_add_tensor(g, name, flat ? (hd_shape){s.c * s.h * s.w, 1, 1} : s), i = hd_graph_add_node(g, op, name);
    g->node[i].input[0] = x;
    g->node[i].input[1] = y;
    g->node[i].output = t;
    g->node[i].lo = 0;
    g->node[i].hi = INFINITY;
    return t;
}

static hd_graph *one_convolution(uint64_t seed) {
    hd_graph *g = hd_graph_new("one");
    g->input = hd_graph_add_tensor(g, "image", (hd_shape){3, SIDE, SIDE});
    g->output = linear_node(g, HD_OP_CONV2D, "conv", g->input, (hd_shape){12, SIDE, SIDE}, 3, 1, seed);
    return g;
}

/* Kernel, depthwise, residual, fully connected. */
static hd_graph *network(uint64_t seed) {
    hd_graph *g = hd_graph_new("net");
    hd_shape wide = {16, SIDE, SIDE};
    g->input = hd_graph_add_tensor(g, "image", (hd_shape){3, SIDE, SIDE});
    int a = plain_node(g, HD_OP_CLIP, "relu1", linear_node(g, HD_OP_CONV2D, "conv1", g->input, wide, 3, 1, seed), -1);
    int b = plain_node(g, HD_OP_CLIP, "relu2", linear_node(g, HD_OP_CONV2D, "depthwise", a, wide, 3, 16, seed + 100), -1);
    int c = linear_node(g, HD_OP_CONV2D, "conv2", b, wide, 3, 1, seed + 200);
    int d = plain_node(g, HD_OP_CLIP, "relu3", plain_node(g, HD_OP_ADD_TENSOR, "sum", c, a), -1);
    g->output = linear_node(g, HD_OP_FC, "fc", plain_node(g, HD_OP_FLATTEN, "flat", d, -1), (hd_shape){10, 1, 1}, 1, 1, seed + 300);
    return g;
}

static hd_model *compressed(const hd_graph *g, const hd_policy *p, const hd_idx *x) {
    hd_model *m;
    hd_err err = {0};
    if (hd_compress(&m, g, p, x, IMAGES, 1, &err) != HD_OK) fail_msg("%s", err.message);
    return m;
}

/* One convolution, 3 bits: its windows and moments are right only if GPTQ is much better than rounding. */
static void windows_are_in_order(void **state) {
    (void)state;
    for (int grouped = 0; grouped < 2; grouped++) {
        double error[2] = {0};
        for (uint64_t seed = 0; seed < 4; seed++) {
            hd_graph *g = one_convolution(seed);
            hd_idx *x = smooth_images(3, seed);
            for (int method = 0; method < 2; method++) {
                hd_policy p;
                hd_policy_default(&p);
                p.base.bits = 3;
                p.base.granularity = grouped ? HD_GRANULARITY_GROUP : HD_GRANULARITY_CHANNEL;
                p.base.group_size = 9;
                p.base.recipe.solver = method ? HD_METHOD_GPTQ : HD_METHOD_RTN;
                hd_model *m = compressed(g, &p, x);
                error[method] += hd_test_noise(g, m, x);
                hd_model_free(m);
            }
            hd_idx_free(x);
            hd_graph_free(g);
        }
        print_message("one convolution: rounding %.6f, GPTQ %.6f\n", error[0], error[1]);
        assert_true(error[1] < 0.3 * error[0]);
    }
}

/* Whole network, on images that calibration did not see. */
static void networks_keep_more(void **state) {
    (void)state;
    static const struct { int bits; float sparsity; hd_method method; } kind[] = {
        {2, 0, HD_METHOD_RTN}, {2, 0, HD_METHOD_GPTQ}, {2, 0, HD_METHOD_SPARSEGPT},
        {4, 0.5f, HD_METHOD_RTN}, {4, 0.5f, HD_METHOD_GPTQ}, {4, 0.5f, HD_METHOD_SPARSEGPT}};
    double error[6] = {0};
    for (uint64_t seed = 0; seed < 4; seed++) {
        hd_graph *g = network(seed);
        hd_idx *x = smooth_images(3, seed), *unseen = smooth_images(3, seed + 50);
        for (int k = 0; k < 6; k++) {
            hd_policy p;
            hd_policy_default(&p);
            p.base.bits = kind[k].bits;
            p.base.sparsity = kind[k].sparsity;
            p.base.block_in = 4;
            p.base.block_out = 4;
            p.base.recipe.solver = kind[k].method;
            hd_model *m = compressed(g, &p, x);
            error[k] += hd_test_noise(g, m, unseen) / 4;
            for (int i = 0; kind[k].sparsity > 0 && i < m->n_stages; i++) {
                const hd_stage *s = &m->stage[i];
                size_t blocks = s->present ? hd_stage_in_blocks(s) * (size_t)((s->cout + 3) / 4) : 0, present = 0;
                assert_true(s->kind != HD_STAGE_CONV || s->present);
                for (size_t b = 0; b < blocks; b++) present += s->present[b];
                assert_true(present == blocks - (size_t)(0.5 * (double)blocks + 0.5));
            }
            hd_model_free(m);
        }
        hd_idx_free(x);
        hd_idx_free(unseen);
        hd_graph_free(g);
    }
    print_message("2 bits: rounding %.4f, GPTQ %.4f; 4 bits and half the blocks: by norm %.4f, GPTQ on these %.4f, chosen %.4f\n", error[0], error[1],
                  error[3], error[4], error[5]);
    assert_true(error[1] < 0.7 * error[0]);
    assert_true(error[2] == error[1]); /* nothing to remove: the same solver */
    /* GPTQ repairs what the removed blocks cost; choosing them by that cost is worth some 15% more on these random weights. */
    assert_true(error[4] < 0.5 * error[3] && error[5] < 0.93 * error[4]);
}

static size_t blocks_of(const hd_stage *s) {
    return s->present ? hd_stage_in_blocks(s) * (size_t)((s->cout + s->block_out - 1) / s->block_out) : 0;
}

/* Learned clipping and I-OBS on whole networks; one budget over layers removes as many weights as each layer on its own, elsewhere; two rounds remove
 * as much as one. */
static void schedules(void **state) {
    (void)state;
    double error[6] = {0};
    for (uint64_t seed = 0; seed < 2; seed++) {
        hd_graph *g = network(seed);
        /* The last layer is loud: small changes in it would be large ones of the output. */
        hd_node *last = &g->node[g->n_nodes - 1];
        for (size_t i = 0; i < hd_node_weights(last); i++) last->weight[i] *= 3;
        hd_idx *x = smooth_images(3, seed), *unseen = smooth_images(3, seed + 50);
        double present[6] = {0};
        hd_model *m[6];
        for (int k = 0; k < 6; k++) {
            hd_policy p;
            hd_policy_default(&p);
            p.base.bits = k < 2 ? 2 : 4;
            p.base.sparsity = k < 2 ? 0 : 0.4375f;
            p.base.block_in = p.base.block_out = 4;
            p.base.recipe.solver = k == 0 ? HD_METHOD_RTN : k == 1 ? HD_METHOD_CLIP : k == 3 ? HD_METHOD_IOBS : HD_METHOD_SPARSEGPT;
            p.budget = k == 4 ? HD_BUDGET_GLOBAL : HD_BUDGET_LOCAL;
            p.rounds = k == 5 ? 2 : 1;
            m[k] = compressed(g, &p, x);
            error[k] += hd_test_noise(g, m[k], unseen) / 2;
            for (int i = 0; i < m[k]->n_stages; i++) {
                const hd_stage *s = &m[k]->stage[i];
                size_t weights = s->kind == HD_STAGE_CONV ? hd_stage_weights(s) : 0;
                for (size_t j = 0; j < weights; j++) present[k] += hd_stage_is_present(s, j / hd_stage_inputs(s), j % hd_stage_inputs(s));
            }
        }
        assert_true(fabs(present[4] / present[2] - 1) < 0.05);
        int moved = 0;
        for (int i = 0; i < m[2]->n_stages; i++)
            if (m[2]->stage[i].present) moved |= !m[4]->stage[i].present || memcmp(m[2]->stage[i].present, m[4]->stage[i].present, blocks_of(&m[2]->stage[i])) != 0;
        assert_true(moved);
        assert_true(fabs(present[5] / present[2] - 1) < 0.05 && fabs(present[3] / present[2] - 1) < 0.05); /* blocks at edges are smaller */
        for (int k = 0; k < 6; k++) hd_model_free(m[k]);
        hd_idx_free(x);
        hd_idx_free(unseen);
        hd_graph_free(g);
    }
    print_message("2 bits: rounding %.4f, learned clipping %.4f; 4 bits, 7/16 of the blocks: OBS %.4f, I-OBS %.4f, one budget %.4f, two rounds %.4f\n", error[0], error[1],
                  error[2], error[3], error[4], error[5]);
    assert_true(error[1] < 0.9 * error[0] && error[3] < 2 * error[2] && error[4] < 1.1 * error[2] && error[5] < 1.3 * error[2]);
}

static void threads_change_nothing(void **state) {
    (void)state;
    hd_graph *g = network(7);
    hd_idx *x = smooth_images(3, 7);
    hd_policy p;
    hd_policy_default(&p);
    p.base.bits = 3;
    p.base.sparsity = 0.3f;
    p.base.granularity = HD_GRANULARITY_GROUP;
    p.base.group_size = 16;
    p.base.recipe.solver = HD_METHOD_SPARSEGPT;
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    hd_model *a = compressed(g, &p, x);
    omp_set_num_threads(3);
    hd_model *b = compressed(g, &p, x);
    omp_set_num_threads(threads);
    for (int i = 0; i < a->n_stages; i++) {
        const hd_stage *s = &a->stage[i], *t = &b->stage[i];
        assert_memory_equal(s->v, t->v, hd_stage_weights(s) * sizeof *s->v);
        assert_memory_equal(s->scale, t->scale, (size_t)s->cout * sizeof *s->scale);
        assert_memory_equal(s->bias, t->bias, (size_t)s->cout * sizeof *s->bias);
    }
    hd_model_free(a);
    hd_model_free(b);
    hd_idx_free(x);
    hd_graph_free(g);
}

/* Layers that training put on their grid pass through whatever the method; the others are solved. */
static void trained_layers_stay(void **state) {
    (void)state;
    hd_graph *g = network(8);
    hd_idx *x = smooth_images(3, 8);
    hd_node *n = &g->node[0];
    float scale[16];
    size_t inputs = hd_node_weights(n) / 16;
    for (size_t oc = 0; oc < 16; oc++) {
        scale[oc] = 0.05f;
        for (size_t i = 0; i < inputs; i++) n->weight[oc * inputs + i] = scale[oc] * (float)((oc + 3 * i) & 1 ? 3 : -1);
    }
    hd_trained *trained = calloc((size_t)g->n_nodes, sizeof *trained);
    trained[0].scale = scale;
    hd_policy p;
    hd_policy_default(&p);
    p.base.bits = 2;
    p.base.recipe.solver = HD_METHOD_GPTQ;
    hd_model *m;
    assert_int_equal(hd_compress_trained(&m, g, &p, trained, x, IMAGES, 1, NULL), HD_OK);
    const hd_stage *s = &m->stage[0];
    for (size_t oc = 0; oc < 16; oc++)
        for (int ic = 0; ic < 3; ic++)
            for (int tap = 0; tap < 9; tap++) {
                size_t i = (size_t)(ic * 9 + tap);
                assert_int_equal(s->v[oc * inputs + (size_t)(tap * 3 + ic)], (oc + 3 * i) & 1 ? 3 : -1);
            }
    hd_model_free(m);
    free(trained);
    hd_idx_free(x);
    hd_graph_free(g);
}

static void refusals(void **state) {
    (void)state;
    hd_graph *g = one_convolution(1);
    hd_idx *x = smooth_images(3, 1);
    hd_policy p;
    hd_err err = {0};
    hd_model *m;
    hd_policy_default(&p);
    p.base.recipe.solver = HD_METHOD_AWQ;
    assert_int_equal(hd_compress(&m, g, &p, x, IMAGES, 1, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "policy, base: method 'awq-stored' on a network; allowed solvers are rtn, gptq, sparsegpt, clip and iobs");
    p.base.recipe.solver = HD_METHOD_GPTQ;
    p.base.granularity = HD_GRANULARITY_TENSOR;
    assert_int_equal(hd_compress(&m, g, &p, x, IMAGES, 1, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "policy, base: one scale for the layer with a method other than rtn; tensor goes with rtn, channel and group with all");
    hd_idx_free(x);
    hd_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_in_order), cmocka_unit_test(networks_keep_more), cmocka_unit_test(schedules), cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(trained_layers_stay),  cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
