/* The pass that factors layers: the float network after it, names and policies, quality, and the whole way to the array. */
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
#include "../../compiler/compress/passes.h"
#include "../../sw/core/rng.h"
#include "../../sw/runtime/runtime.h"
#include "../support/integer_checks.h"

enum { SIDE = 9, CHANNELS = 3, IMAGES = 40 };
static const char *const METHODS[] = {"svd", "tucker", "cp", "tt"};

/* Neighbouring pixels are alike, as in pictures, and one channel is much stronger than the others. */
static hd_idx *images(uint64_t seed) {
    hd_idx *x = malloc(sizeof *x);
    size_t plane = SIDE * SIDE, item = CHANNELS * plane;
    *x = (hd_idx){.type = HD_IDX_U8, .rank = 2, .dim = {IMAGES, (uint32_t)item}, .item = item};
    uint8_t *data = x->data = malloc(IMAGES * item);
    hd_rng r;
    hd_rng_seed(&r, seed, 5);
    for (size_t i = 0; i < IMAGES * CHANNELS; i++) {
        float fx = hd_rng_float(&r) * 0.6f, fy = hd_rng_float(&r) * 0.6f, phase = 6.3f * hd_rng_float(&r), strength = i % CHANNELS ? 25 : 100;
        for (size_t p = 0; p < plane; p++) {
            float v = 127 + strength * sinf(fx * (float)(p % SIDE) + fy * (float)(p / SIDE) + phase) + 0.1f * strength * hd_rng_normal(&r);
            data[i * plane + p] = (uint8_t)fminf(255, fmaxf(0, v));
        }
    }
    return x;
}

/* A layer's window: kernel, stride, dilation, padding before and after. */
typedef struct window {
    int kh, kw, sy, sx, dy, dx, top, left, bottom, right;
} window;

/* Weights of low rank in every sense: a sum of `rank` products of vectors, and a little noise. */
static void fill(hd_node *n, int rank, float noise, uint64_t seed) {
    int per = n->cin / n->groups, sizes[4] = {n->cout, per, n->op == HD_OP_FC ? 1 : n->kh, n->op == HD_OP_FC ? 1 : n->kw};
    size_t count = hd_node_weights(n);
    float *vector[4];
    hd_rng r;
    hd_rng_seed(&r, seed, 6);
    n->weight = calloc(count, sizeof(float));
    n->bias = calloc((size_t)n->cout, sizeof(float));
    for (int k = 0; k < n->cout; k++) n->bias[k] = 0.1f * hd_rng_normal(&r);
    for (int m = 0; m < 4; m++) {
        vector[m] = malloc((size_t)(sizes[m] * rank) * sizeof(float));
        for (int i = 0; i < sizes[m] * rank; i++) vector[m][i] = hd_rng_normal(&r);
    }
    float level = 1.5f / sqrtf((float)count / (float)n->cout);
    for (size_t i = 0; i < count; i++) {
        size_t x = i % (size_t)sizes[3], y = i / (size_t)sizes[3] % (size_t)sizes[2], ic = i / (size_t)(sizes[3] * sizes[2]) % (size_t)per;
        size_t oc = i / (count / (size_t)n->cout), step = (size_t)rank;
        for (size_t j = 0; j < step; j++)
            n->weight[i] += level / sqrtf((float)rank) * vector[0][oc * step + j] * vector[1][ic * step + j] * vector[2][y * step + j] * vector[3][x * step + j];
        n->weight[i] += noise * level * hd_rng_normal(&r);
    }
    for (int m = 0; m < 4; m++) free(vector[m]);
}

static int weighted(hd_graph *g, hd_op op, const char *name, int x, int cout, int groups, window z, float noise, uint64_t seed) {
    hd_shape s = g->tensor[x].shape, out = {cout, 1, 1};
    if (op == HD_OP_CONV2D) {
        out.h = (s.h + z.top + z.bottom - (z.kh - 1) * z.dy - 1) / z.sy + 1;
        out.w = (s.w + z.left + z.right - (z.kw - 1) * z.dx - 1) / z.sx + 1;
    }
    int t = hd_graph_add_tensor(g, name, out), at = hd_graph_add_node(g, op, name);
    hd_node *n = &g->node[at];
    *n = (hd_node){.op = op, .name = n->name, .input = {x, -1}, .output = t, .kh = z.kh, .kw = z.kw, .sy = z.sy, .sx = z.sx, .dy = z.dy, .dx = z.dx, .groups = groups,
                   .pad_top = z.top, .pad_left = z.left, .pad_bottom = z.bottom, .pad_right = z.right, .cin = op == HD_OP_FC ? s.c * s.h * s.w : s.c, .cout = cout};
    fill(n, 2, noise, seed);
    return t;
}

static int plain(hd_graph *g, hd_op op, const char *name, int x, int y) {
    hd_shape s = g->tensor[x].shape;
    int t = hd_graph_add_tensor(g, name, op == HD_OP_FLATTEN ? (hd_shape){s.c * s.h * s.w, 1, 1} : s), at = hd_graph_add_node(g, op, name);
    hd_node *n = &g->node[at];
    n->input[0] = x;
    n->input[1] = y;
    n->output = t;
    n->lo = 0;
    n->hi = INFINITY;
    return t;
}

static const window same3 = {3, 3, 1, 1, 1, 1, 1, 1, 1, 1}, one = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0};

/* Strides, dilations and paddings that differ along the axes, kernels of one line, of one column and of one tap, a skip connection, a fully connected
 * layer over a map. */
static hd_graph *network(float noise, int depthwise) {
    hd_graph *g = hd_graph_new("net");
    g->input = hd_graph_add_tensor(g, "image", (hd_shape){CHANNELS, SIDE, SIDE});
    int a = plain(g, HD_OP_CLIP, "relu1", weighted(g, HD_OP_CONV2D, "conv1", g->input, 16, 1, same3, noise, 1), -1);
    int b = plain(g, HD_OP_CLIP, "relu2", weighted(g, HD_OP_CONV2D, "conv2", a, 16, depthwise ? 16 : 1, same3, noise, 2), -1);
    int c = weighted(g, HD_OP_CONV2D, "conv3", b, 16, 1, same3, noise, 3);
    int d = plain(g, HD_OP_CLIP, "relu3", plain(g, HD_OP_ADD_TENSOR, "skip", c, a), -1);
    int e = weighted(g, HD_OP_CONV2D, "odd", d, 12, 1, (window){3, 2, 2, 1, 1, 2, 1, 0, 0, 2}, noise, 4);
    int f = weighted(g, HD_OP_CONV2D, "line", plain(g, HD_OP_CLIP, "relu4", e, -1), 12, 1, (window){1, 3, 2, 1, 1, 1, 0, 1, 0, 1}, noise, 5);
    int h = weighted(g, HD_OP_CONV2D, "tall", plain(g, HD_OP_CLIP, "relu5", f, -1), 16, 1, (window){3, 1, 1, 2, 1, 1, 1, 0, 1, 0}, noise, 6);
    int i = weighted(g, HD_OP_CONV2D, "point", plain(g, HD_OP_CLIP, "relu6", h, -1), 16, 1, one, noise, 7);
    g->output = weighted(g, HD_OP_FC, "fc", plain(g, HD_OP_FLATTEN, "flat", plain(g, HD_OP_CLIP, "relu7", i, -1), -1), 10, 1, one, noise, 8);
    return g;
}

/* One 3 x 3 layer of 16 channels in and out, behind a first one that is not factored. */
static hd_graph *one_layer(float noise) {
    hd_graph *g = hd_graph_new("one");
    g->input = hd_graph_add_tensor(g, "image", (hd_shape){CHANNELS, SIDE, SIDE});
    int a = plain(g, HD_OP_CLIP, "relu", weighted(g, HD_OP_CONV2D, "first", g->input, 16, 1, same3, noise, 11), -1);
    g->output = weighted(g, HD_OP_CONV2D, "layer", a, 16, 1, same3, noise, 12);
    return g;
}

static hd_policy policy_of(int bits, const char *method) {
    hd_policy p;
    hd_err err = {0};
    hd_policy_default(&p);
    p.base.bits = bits;
    if (hd_recipe_parse(&p.base.recipe, method, &err)) fail_msg("%s", err.message);
    return p;
}

static hd_graph *rewritten(hd_policy *out, const hd_graph *g, const hd_policy *p, const hd_idx *x) {
    hd_graph *r;
    hd_err err = {0};
    if (hd_passes_run(&r, out, g, p, x, IMAGES, 1, &err)) fail_msg("%s", err.message);
    return r;
}

static hd_model *compressed(const hd_graph *g, const hd_policy *p, const hd_idx *x) {
    hd_policy own;
    hd_model *m;
    hd_err err = {0};
    hd_graph *r = rewritten(&own, g, p, x);
    if (hd_compress(&m, r, &own, x, IMAGES, 1, &err)) fail_msg("%s", err.message);
    hd_graph_free(r);
    hd_policy_free(&own);
    return m;
}

/* Squared difference of two float networks' outputs over the first one's energy. */
static double difference(const hd_graph *a, const hd_graph *b, const hd_idx *x) {
    hd_exec *ea, *eb;
    float *image = malloc(x->item * sizeof *image);
    double signal = 0, wrong = 0;
    assert_int_equal(hd_exec_new(&ea, a, NULL), HD_OK);
    assert_int_equal(hd_exec_new(&eb, b, NULL), HD_OK);
    for (uint32_t i = 0; i < x->dim[0]; i++) {
        hd_idx_item(x, i, 1, image);
        hd_exec_run(ea, image);
        hd_exec_run(eb, image);
        const float *ya = hd_exec_tensor(ea, a->output), *yb = hd_exec_tensor(eb, b->output);
        for (size_t k = 0; k < hd_shape_size(a->tensor[a->output].shape); k++) {
            signal += (double)ya[k] * (double)ya[k];
            wrong += (double)(ya[k] - yb[k]) * (double)(ya[k] - yb[k]);
        }
    }
    hd_exec_free(ea);
    hd_exec_free(eb);
    free(image);
    return wrong / signal;
}

/* Weights of low rank lose nothing but the damping's trace at a share that holds their rank, whatever the window; with a residual nothing is lost at
 * any share. */
static void float_network_is_kept(void **state) {
    (void)state;
    hd_idx *x = images(1);
    for (int k = 0; k < 4; k++) {
        char method[40];
        hd_policy own, p;
        hd_graph *g = network(0, 0);
        snprintf(method, sizeof method, "%s:0.6", METHODS[k]);
        p = policy_of(8, method);
        hd_graph *r = rewritten(&own, g, &p, x);
        assert_true(r->n_nodes > g->n_nodes + 5);
        assert_true(difference(g, r, x) < 1e-5);
        hd_graph_free(r);
        hd_policy_free(&own);
        hd_graph_free(g);
        g = network(1, 0);
        snprintf(method, sizeof method, "%s:0.2+residual", METHODS[k]);
        p = policy_of(3, method);
        r = rewritten(&own, g, &p, x);
        assert_true(difference(g, r, x) < 1e-8);
        hd_graph_free(r);
        hd_policy_free(&own);
        hd_graph_free(g);
    }
    hd_idx_free(x);
}

/* Cut to a quarter of noisy weights, chain after chain: later chains repair what earlier ones broke, so that the whole is nearer to the float network than
 * with chains that aim at their own weights in the metric of the untouched network (here: without data, from one white image). */
static void calibration_matters(void **state) {
    (void)state;
    hd_idx *x = images(2), *white = images(3);
    hd_rng rng;
    hd_rng_seed(&rng, 9, 9);
    for (size_t i = 0; i < IMAGES * white->item; i++) ((uint8_t *)white->data)[i] = (uint8_t)hd_rng_below(&rng, 256);
    for (int k = 0; k < 4; k++) {
        char method[40];
        hd_policy own;
        snprintf(method, sizeof method, "%s:0.3", METHODS[k]);
        hd_policy p = policy_of(8, method);
        hd_graph *g = network(0.5f, 0), *a = rewritten(&own, g, &p, x);
        hd_policy_free(&own);
        hd_graph *b = rewritten(&own, g, &p, white);
        hd_policy_free(&own);
        assert_true(difference(g, a, x) < 0.7 * difference(g, b, x));
        hd_graph_free(a);
        hd_graph_free(b);
        hd_graph_free(g);
    }
    hd_idx_free(x);
    hd_idx_free(white);
}

static const hd_node *node_named(const hd_graph *g, const char *name) {
    for (int i = 0; i < g->n_nodes; i++)
        if (!strcmp(g->node[i].name, name)) return &g->node[i];
    fail_msg("no node '%s'", name);
    return NULL;
}

static void names_and_policies(void **state) {
    (void)state;
    hd_idx *x = images(4);
    hd_graph *g = network(0.5f, 1);
    hd_policy p = policy_of(4, "gptq"), own;
    hd_layer_policy rule = p.base;
    rule.bits = 2;
    rule.sparsity = 0.5f;
    assert_int_equal(hd_recipe_parse(&rule.recipe, "cp:0.5+sparsegpt", NULL), HD_OK);
    assert_true(hd_policy_add(&p, "conv3", &rule));
    assert_int_equal(hd_recipe_parse(&rule.recipe, "svd+residual+sparsegpt", NULL), HD_OK);
    assert_true(hd_policy_add(&p, "fc", &rule));
    hd_graph *r = rewritten(&own, g, &p, x);
    assert_int_equal(r->n_nodes, g->n_nodes + 3 + 3);
    static const struct {
        const char *name;
        int kh, kw, depthwise, bits, dense;
        hd_method solver;
    } want[] = {{"conv3.down", 1, 1, 0, 2, 0, HD_METHOD_SPARSEGPT}, {"conv3.column", 3, 1, 1, 2, 1, HD_METHOD_SPARSEGPT},
                {"conv3.row", 1, 3, 1, 2, 1, HD_METHOD_SPARSEGPT}, {"conv3", 1, 1, 0, 2, 0, HD_METHOD_SPARSEGPT},
                {"fc.down", 1, 1, 0, 8, 1, HD_METHOD_GPTQ}, {"fc.up", 1, 1, 0, 8, 1, HD_METHOD_GPTQ}, {"fc", 1, 1, 0, 2, 0, HD_METHOD_SPARSEGPT}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const hd_node *n = node_named(r, want[i].name);
        const hd_layer_policy *o = hd_policy_of(&own, want[i].name);
        assert_int_equal(n->kh, want[i].kh);
        assert_int_equal(n->kw, want[i].kw);
        assert_int_equal(n->groups > 1, want[i].depthwise);
        assert_int_equal(o->bits, want[i].bits);
        assert_int_equal(o->skip_sparsity, want[i].dense);
        assert_int_equal(o->recipe.solver, want[i].solver);
        assert_int_equal(o->recipe.factor, HD_FACTOR_NONE);
        assert_int_equal(o->recipe.residual, 0);
    }
    /* fc.sum takes the place of the layer's output */
    assert_int_equal(node_named(r, "fc.sum")->output, g->output);
    assert_int_equal(hd_policy_of(&own, "conv1")->bits, 4);
    /* bits per weight are over the weights before the pass */
    hd_model *m;
    hd_err err = {0};
    size_t weights = 0;
    if (hd_compress(&m, r, &own, x, IMAGES, 1, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < g->n_nodes; i++) weights += hd_node_weights(&g->node[i]);
    assert_int_equal(m->dense_weights, weights);
    hd_model_free(m);
    hd_graph_free(r);
    hd_policy_free(&own);
    hd_policy_free(&p);
    hd_graph_free(g);
    hd_idx_free(x);
}

static void refused(void **state) {
    (void)state;
    hd_idx *x = images(5);
    hd_graph *g = network(0.5f, 1), *r;
    hd_policy p = policy_of(4, "rtn"), own;
    hd_err err = {0};
    hd_layer_policy tucker = p.base;
    assert_int_equal(hd_recipe_parse(&tucker.recipe, "tucker:0.5", NULL), HD_OK);
    assert_true(hd_policy_add(&p, "conv2", &tucker));
    assert_int_equal(hd_passes_run(&r, &own, g, &p, x, IMAGES, 1, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "layer 'conv2': a convolution of 16 groups is not factored; allowed is 1 group");
    assert_null(r);
    hd_policy_free(&p);
    /* Where the base asks, such a layer stays whole. */
    p = policy_of(4, "svd:0.5");
    r = rewritten(&own, g, &p, x);
    assert_int_equal(r->n_nodes, g->n_nodes + 7);
    assert_int_equal(hd_policy_of(&own, "conv2")->recipe.factor, HD_FACTOR_NONE);
    hd_graph_free(r);
    hd_policy_free(&own);
    p = policy_of(4, "rtn");
    hd_layer_policy rule = p.base;
    assert_int_equal(hd_recipe_parse(&rule.recipe, "tt", NULL), HD_OK);
    assert_true(hd_policy_add(&p, "conv1", &rule));
    x->item--;
    assert_int_equal(hd_passes_run(&r, &own, g, &p, x, IMAGES, 1, &err), HD_MISMATCH);
    x->item++;
    hd_model *m;
    assert_int_equal(hd_compress(&m, g, &p, x, IMAGES, 1, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "layer 'conv1': a factorisation rewrites the network before its weights are solved, which was not done here; 'heddle compress' does it");
    hd_policy_free(&p);
    hd_graph_free(g);
    hd_idx_free(x);
    hd_recipe recipe;
    assert_int_equal(hd_recipe_parse(&recipe, "svd:1.5", &err), HD_RANGE);
    assert_string_equal(err.message, "method 'svd:1.5': 'svd' takes a number from 0.001 to 1");
    assert_int_equal(hd_recipe_parse(&recipe, "svd+cp", &err), HD_FORMAT);
    assert_int_equal(hd_recipe_parse(&recipe, "residual+gptq", &err), HD_FORMAT);
}

/* Byte for byte: integer executor and the array's model, every kind, with residual and without, on two geometries. */
static void runs_on_the_array(void **state) {
    (void)state;
    hd_idx *x = images(6);
    hd_graph *g = network(0.5f, 0);
    for (int k = 0; k < 8; k++) {
        char method[60];
        snprintf(method, sizeof method, "%s:0.4%s%s", METHODS[k % 4], k / 4 ? "+residual" : "", k % 2 ? "+gptq" : "");
        hd_policy p = policy_of(3, method);
        hd_model *m = compressed(g, &p, x);
        hd_integer *e;
        assert_int_equal(hd_integer_new(&e, m, NULL), HD_OK);
        for (int shape = 0; shape < 2; shape++) {
            hd_geometry geometry;
            hd_program *program;
            hd_session *s;
            hd_err err = {0};
            hd_status st = hd_geometry_parse(&geometry, shape ? "2x4x4x1" : "4x8x8x2", &err);
            if (!st) st = hd_lower(&program, m, &geometry, NULL, &err);
            if (!st) st = hd_session_open(&s, program, &hd_driver_ref, NULL, &err);
            if (st) fail_msg("%s: %s", method, err.message);
            const hd_qtensor *in = &m->tensor[m->input], *out = &m->tensor[m->output];
            int8_t codes[CHANNELS * SIDE * SIDE], got[10];
            float image[CHANNELS * SIDE * SIDE];
            for (uint32_t i = 0; i < 2; i++) {
                hd_idx_item(x, i, 1, image);
                hd_quantize_input(in, image, codes);
                hd_integer_run(e, codes);
                if (hd_session_run(s, codes, got, &err)) fail_msg("%s: %s", method, err.message);
                assert_memory_equal(got, hd_integer_tensor(e, m->output), (size_t)out->c);
            }
            hd_session_close(s);
            hd_program_free(program);
        }
        hd_integer_free(e);
        hd_model_free(m);
    }
    hd_graph_free(g);
    hd_idx_free(x);
}

static hd_model *layer_compressed(const hd_graph *g, const hd_idx *x, int bits, const char *method) {
    hd_policy p = policy_of(8, "rtn");
    hd_layer_policy rule = p.base;
    hd_err err = {0};
    rule.bits = bits;
    if (hd_recipe_parse(&rule.recipe, method, &err)) fail_msg("%s", err.message);
    assert_true(hd_policy_add(&p, "layer", &rule));
    hd_model *m = compressed(g, &p, x);
    hd_policy_free(&p);
    return m;
}

/* Weights near low rank: eight-bit factors are nearer to the float network than rounded weights of about as many bytes; rounding in their place fails
 * for its error or for its bytes. */
static void factors_beat_rounding(void **state) {
    (void)state;
    hd_idx *x = images(7);
    hd_graph *g = one_layer(0.03f);
    hd_model *rtn = layer_compressed(g, x, 3, "rtn");
    double plain_noise = hd_test_noise(g, rtn, x);
    for (int k = 0; k < 4; k++) {
        char method[40];
        snprintf(method, sizeof method, "%s:0.3", METHODS[k]);
        hd_model *m = layer_compressed(g, x, 8, method);
        double noise = hd_test_noise(g, m, x);
        assert_true(noise < 0.2 * plain_noise);
        assert_true((double)hd_model_weight_bytes(m) < 1.3 * (double)hd_model_weight_bytes(rtn));
        hd_model_free(m);
    }
    hd_model_free(rtn);
    hd_graph_free(g);
    hd_idx_free(x);
}

/* At the same bits of the residual, for both solvers. */
static void residual_beats_rounding(void **state) {
    (void)state;
    hd_idx *x = images(8);
    hd_graph *g = one_layer(0.3f);
    for (int solver = 0; solver < 2; solver++) {
        const char *base = solver ? "gptq" : "rtn";
        hd_model *without = layer_compressed(g, x, 2, base);
        double plain_noise = hd_test_noise(g, without, x);
        for (int k = 0; k < 4; k++) {
            char method[60];
            snprintf(method, sizeof method, "%s:0.25+residual+%s", METHODS[k], base);
            hd_model *m = layer_compressed(g, x, 2, method);
            assert_true(hd_test_noise(g, m, x) < 0.6 * plain_noise);
            hd_model_free(m);
        }
        hd_model_free(without);
    }
    hd_graph_free(g);
    hd_idx_free(x);
}

static void same_on_any_threads(void **state) {
    (void)state;
    hd_idx *x = images(9);
    hd_graph *g = network(0.5f, 0), *r[2];
    hd_policy p = policy_of(4, "tt:0.4"), own;
    int threads = omp_get_max_threads();
    for (int i = 0; i < 2; i++) {
        omp_set_num_threads(i ? 3 : 1);
        r[i] = rewritten(&own, g, &p, x);
        hd_policy_free(&own);
    }
    omp_set_num_threads(threads);
    for (int i = 0; i < r[0]->n_nodes; i++)
        if (hd_node_weights(&r[0]->node[i]))
            assert_memory_equal(r[0]->node[i].weight, r[1]->node[i].weight, hd_node_weights(&r[0]->node[i]) * sizeof(float));
    hd_graph_free(r[0]);
    hd_graph_free(r[1]);
    hd_graph_free(g);
    hd_idx_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(float_network_is_kept), cmocka_unit_test(calibration_matters), cmocka_unit_test(names_and_policies),
                                       cmocka_unit_test(refused), cmocka_unit_test(runs_on_the_array), cmocka_unit_test(factors_beat_rounding),
                                       cmocka_unit_test(residual_beats_rounding), cmocka_unit_test(same_on_any_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
