/* Every layer's backward pass against finite differences of its forward pass, and the forward pass against the reference
 * executor, on networks of a few hundred values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../sw/core/rng.h"
#include "../../sw/train/batch.h"

enum { SAMPLES = 3, CLASSES = 3 };

static hd_rng rng;

static void randomise(float *v, size_t n, float deviation) {
    for (size_t i = 0; i < n; i++) v[i] = deviation * hd_rng_normal(&rng);
}

/* Appends a node reading tensor `from` and its output tensor; returns the tensor. */
static int append(hd_graph *g, hd_op op, int from, hd_shape out) {
    char name[32];
    snprintf(name, sizeof name, "n%d", g->n_nodes);
    int to = hd_graph_add_tensor(g, name, out), i = hd_graph_add_node(g, op, name);
    assert_true(to >= 0 && i >= 0);
    g->node[i].input[0] = from;
    g->node[i].output = to;
    g->output = to;
    return to;
}

static hd_node *last(hd_graph *g) { return &g->node[g->n_nodes - 1]; }

static void give_weights(hd_node *t, int cin, int cout, int bias) {
    t->cin = cin;
    t->cout = cout;
    size_t n = hd_node_weights(t);
    t->weight = calloc(n, sizeof *t->weight);
    t->bias = bias ? calloc((size_t)cout, sizeof *t->bias) : NULL;
    assert_non_null(t->weight);
    randomise(t->weight, n, sqrtf(2.0f * (float)cout / (float)n));
    if (t->bias) randomise(t->bias, (size_t)cout, 0.3f);
}

typedef struct geometry {
    int k, stride, dilation, before, after, groups;
} geometry;

static int size_of(int in, geometry w) { return (in + w.before + w.after - (w.k - 1) * w.dilation - 1) / w.stride + 1; }

static int window(hd_graph *g, hd_op op, int from, int channels, geometry w) {
    hd_shape in = g->tensor[from].shape;
    int to = append(g, op, from, (hd_shape){channels, size_of(in.h, w), size_of(in.w, w)});
    hd_node *t = last(g);
    t->kh = t->kw = w.k;
    t->sy = t->sx = w.stride;
    t->dy = t->dx = w.dilation;
    t->pad_top = t->pad_left = w.before;
    t->pad_bottom = t->pad_right = w.after;
    t->groups = w.groups;
    return to;
}

static int conv(hd_graph *g, int from, int channels, geometry w, int bias) {
    int cin = g->tensor[from].shape.c, to = window(g, HD_OP_CONV2D, from, channels, w);
    give_weights(last(g), cin, channels, bias);
    return to;
}

static int fc(hd_graph *g, int from, int outputs) {
    int cin = (int)hd_shape_size(g->tensor[from].shape), to = append(g, HD_OP_FC, from, (hd_shape){outputs, 1, 1});
    give_weights(last(g), cin, outputs, 1);
    return to;
}

static int unary(hd_graph *g, int from, hd_fn fn, float alpha, float beta) {
    int to = append(g, HD_OP_UNARY, from, g->tensor[from].shape);
    last(g)->fn = fn;
    last(g)->alpha = alpha;
    last(g)->beta = beta;
    return to;
}

static int clip(hd_graph *g, int from, float lo, float hi) {
    int to = append(g, HD_OP_CLIP, from, g->tensor[from].shape);
    last(g)->lo = lo;
    last(g)->hi = hi;
    return to;
}

static int add(hd_graph *g, int x, int y) {
    int to = append(g, HD_OP_ADD_TENSOR, x, g->tensor[x].shape);
    last(g)->input[1] = y;
    return to;
}

static hd_graph *start(int *front) {
    hd_graph *g = hd_graph_new("tiny");
    assert_non_null(g);
    g->input = hd_graph_add_tensor(g, "input", (hd_shape){2, 6, 5});
    assert_true(g->input >= 0);
    /* A convolution in front, so that the layer under test has a gradient to pass on. */
    *front = conv(g, g->input, 4, (geometry){3, 1, 1, 1, 1, 1}, 1);
    return g;
}

/* Mean loss of the batch with the present weights. */
static double loss_of(hd_batch *b, const float *images, size_t size, const int *labels) {
    for (size_t i = 0; i < size; i++) b->value[b->g->input][i] = images[i];
    hd_batch_forward(b, SAMPLES);
    return hd_batch_loss(b, labels, 1.0f / SAMPLES) / SAMPLES;
}

/* Which pieces of the piecewise functions the last run was on: maxima taken, clips open, signs before functions with a
 * corner at 0. A difference across two pieces says nothing about the derivative. */
static uint64_t pieces(const hd_batch *b) {
    uint64_t hash = 1;
    for (int i = 0; i < b->g->n_nodes; i++) {
        const hd_node *t = &b->g->node[i];
        size_t size = hd_shape_size(b->g->tensor[t->output].shape) * SAMPLES;
        const float *x = b->value[t->input[0]];
        for (size_t k = 0; k < size; k++) {
            uint64_t piece = 0;
            if (t->op == HD_OP_MAX_POOL) piece = (uint64_t)b->winner[i][k];
            if (t->op == HD_OP_CLIP) piece = x[k] <= t->lo ? 1 : x[k] >= t->hi ? 2 : 3;
            if (t->op == HD_OP_UNARY && t->fn == HD_FN_HARD_SIGMOID) piece = b->value[t->output][k] <= 0 ? 1 : b->value[t->output][k] >= 1 ? 2 : 3;
            if (t->op == HD_OP_UNARY && t->fn == HD_FN_HARD_SWISH) piece = x[k] <= -3 ? 1 : x[k] >= 3 ? 2 : 3;
            if (t->op == HD_OP_UNARY && (t->fn == HD_FN_ABS || t->fn == HD_FN_LEAKY_RELU || t->fn == HD_FN_ELU)) piece = x[k] > 0;
            hash = (hash ^ piece) * 0x100000001b3u;
        }
    }
    return hash;
}

/* The central difference; NAN where it would straddle two pieces. */
static double difference(hd_batch *b, const float *images, size_t size, const int *labels, float *parameter, float step, uint64_t base) {
    float old = *parameter, up = old + step, down = old - step;
    *parameter = up;
    double high = loss_of(b, images, size, labels);
    uint64_t above = pieces(b);
    *parameter = down;
    double low = loss_of(b, images, size, labels);
    uint64_t below = pieces(b);
    *parameter = old;
    return above == base && below == base ? (high - low) / ((double)up - (double)down) : NAN;
}

/* Returns how many parameters could not be judged. */
static size_t check_parameters(const char *what, hd_batch *b, const float *images, size_t size, const int *labels, float *v, size_t n,
                               const float *gradient, uint64_t base) {
    size_t unknown = 0;
    for (size_t i = 0; i < n; i++) {
        double got = (double)gradient[i], slack = 5e-4, want = difference(b, images, size, labels, &v[i], 4e-3f, base);
        if (isnan(want)) { /* a narrower step stays on its piece more often, but is noisier */
            slack = 2e-3;
            want = difference(b, images, size, labels, &v[i], 5e-4f, base);
        }
        if (isnan(want)) unknown++;
        else if (!(fabs(got - want) <= slack + 1e-2 * fabs(want)))
            fail_msg("%s, parameter %zu: gradient %g, difference %g", what, i, got, want);
    }
    return unknown;
}

/* The batched values of one sample against the reference executor. */
static void check_forward(const hd_batch *b, const float *images) {
    const hd_graph *g = b->g;
    hd_exec *e = NULL;
    hd_err err = {0};
    hd_shape in = g->tensor[g->input].shape, out = g->tensor[g->output].shape;
    size_t plane = (size_t)in.h * (size_t)in.w;
    float *one = calloc(hd_shape_size(in), sizeof *one);
    assert_non_null(one);
    assert_int_equal(hd_exec_new(&e, g, &err), HD_OK);
    for (size_t s = 0; s < SAMPLES; s++) {
        for (size_t c = 0; c < (size_t)in.c; c++)
            for (size_t p = 0; p < plane; p++) one[c * plane + p] = images[(c * SAMPLES + s) * plane + p];
        hd_exec_run(e, one);
        for (size_t k = 0; k < (size_t)out.c; k++)
            assert_float_equal(b->value[g->output][k * SAMPLES + s], hd_exec_tensor(e, g->output)[k], 1e-4f);
    }
    hd_exec_free(e);
    free(one);
}

/* Puts a classifier behind tensor `x`, checks everything, frees the graph. */
static void finish(hd_graph *g, int x, int softmax) {
    int labels[SAMPLES] = {0, 2, 1};
    hd_err err = {0};
    hd_batch *b = NULL;
    hd_params p;
    fc(g, x, CLASSES);
    if (softmax) append(g, HD_OP_SOFTMAX, g->output, g->tensor[g->output].shape);
    if (hd_graph_check(g, &err)) fail_msg("%s", err.message);
    size_t size = hd_shape_size(g->tensor[g->input].shape) * SAMPLES;
    float *images = calloc(size, sizeof *images);
    assert_non_null(images);
    randomise(images, size, 1);
    assert_int_equal(hd_params_new(&p, g, &err), HD_OK);
    if (hd_batch_new(&b, g, SAMPLES, 1, &err)) fail_msg("%s", err.message);
    float *gradient = calloc(p.total, sizeof *gradient);
    assert_non_null(gradient);
    for (size_t i = 0; i < p.total; i++) gradient[i] = NAN; /* backward must write every one */
    loss_of(b, images, size, labels);
    check_forward(b, images);
    hd_batch_backward(b, &p, gradient);
    uint64_t base = pieces(b);
    size_t unknown = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        hd_node *t = &g->node[i];
        if (t->weight)
            unknown += check_parameters(t->name, b, images, size, labels, t->weight, hd_node_weights(t), gradient + p.weight[i], base);
        if (t->bias) unknown += check_parameters(t->name, b, images, size, labels, t->bias, (size_t)t->cout, gradient + p.bias[i], base);
    }
    if (unknown * 8 > p.total) fail_msg("%zu of %zu parameters could not be judged", unknown, p.total);
    free(gradient);
    free(images);
    hd_params_free(&p);
    hd_batch_free(b);
    hd_graph_free(g);
}

static void convolutions(void **state) {
    (void)state;
    static const struct {
        int channels, bias;
        geometry w;
    } kind[] = {
        {3, 1, {3, 1, 1, 1, 1, 1}},  /* same size: the shifted copy */
        {3, 1, {2, 1, 1, 0, 1, 1}},  /* even kernel, one-sided padding */
        {3, 0, {3, 2, 1, 1, 1, 1}},  /* stride 2, no bias */
        {3, 1, {2, 3, 1, 1, 2, 1}},  /* stride past the kernel */
        {3, 1, {3, 1, 2, 2, 2, 1}},  /* dilated, same size */
        {3, 1, {2, 2, 3, 1, 2, 1}},  /* dilated and strided */
        {5, 1, {1, 1, 1, 0, 0, 1}},  /* plain: no im2col */
        {6, 1, {3, 1, 1, 1, 1, 2}},  /* groups */
        {6, 1, {1, 1, 1, 0, 0, 2}},  /* groups, plain */
        {4, 1, {3, 1, 1, 1, 1, 4}},  /* depthwise */
        {8, 0, {3, 2, 1, 1, 0, 4}},  /* depthwise, two outputs a channel, stride 2 */
        {4, 1, {3, 1, 1, 4, 4, 1}},  /* windows wholly in the padding */
        {4, 1, {3, 1, 2, 3, 3, 4}},  /* depthwise, dilated */
    };
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        int x;
        hd_rng_seed(&rng, 10 + i, 0);
        hd_graph *g = start(&x);
        finish(g, conv(g, x, kind[i].channels, kind[i].w, kind[i].bias), 0);
    }
}

static void pools(void **state) {
    (void)state;
    static const geometry kind[] = {
        {2, 2, 1, 0, 0, 1}, {2, 2, 1, 0, 1, 1}, {3, 2, 1, 1, 1, 1}, {3, 1, 1, 1, 1, 1}, {2, 1, 2, 1, 1, 1}, {5, 1, 1, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++)
        for (int op = 0; op < 3; op++) {
            int x;
            hd_rng_seed(&rng, 40 + i, (uint64_t)op);
            hd_graph *g = start(&x);
            x = window(g, op ? HD_OP_AVG_POOL : HD_OP_MAX_POOL, x, 4, kind[i]);
            last(g)->count_include_pad = op == 2;
            finish(g, x, 0);
        }
}

static void elementwise(void **state) {
    (void)state;
    for (int fn = HD_FN_SIGMOID; fn <= HD_FN_SILU; fn++) {
        int x;
        hd_rng_seed(&rng, 60 + (uint64_t)fn, 0);
        hd_graph *g = start(&x);
        if (fn == HD_FN_EXP || fn == HD_FN_SQRT) x = unary(g, x, HD_FN_TANH, 0, 0); /* keeps e^x small: large values bend the loss */
        if (fn == HD_FN_SQRT) x = unary(g, x, HD_FN_EXP, 0, 0);                     /* a root wants positive inputs */
        finish(g, unary(g, x, (hd_fn)fn, fn == HD_FN_HARD_SIGMOID ? 0.2f : 0.7f, 0.5f), 0);
    }
    static const float bounds[][2] = {{0, INFINITY}, {0, 0.5f}, {-1, 0.25f}, {-INFINITY, 0}};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        int x;
        hd_rng_seed(&rng, 80 + i, 0);
        hd_graph *g = start(&x);
        finish(g, clip(g, x, bounds[i][0], bounds[i][1]), 0);
    }
}

static void branches(void **state) {
    (void)state;
    int x;
    geometry same = {3, 1, 1, 1, 1, 1};
    hd_rng_seed(&rng, 90, 0);
    hd_graph *g = start(&x); /* a residual block over a ReLU: its input has two readers */
    x = clip(g, x, 0, INFINITY);
    int y = conv(g, x, 4, same, 1);
    y = clip(g, y, 0, INFINITY);
    finish(g, add(g, conv(g, y, 4, same, 1), x), 0);

    g = start(&x); /* twice the same tensor; then four readers of different kinds */
    x = add(g, x, x);
    int a = window(g, HD_OP_MAX_POOL, x, 4, same), m = window(g, HD_OP_AVG_POOL, x, 4, same);
    int d = conv(g, x, 4, (geometry){3, 1, 1, 1, 1, 4}, 1), p = conv(g, x, 4, (geometry){1, 1, 1, 0, 0, 1}, 1);
    finish(g, add(g, add(g, a, m), add(g, d, p)), 0);

    g = start(&x); /* flatten and fully connected layers read what others read too */
    int f = append(g, HD_OP_FLATTEN, x, (hd_shape){120, 1, 1});
    finish(g, add(g, add(g, fc(g, f, 5), fc(g, x, 5)), add(g, fc(g, f, 5), fc(g, g->input, 5))), 0);

    g = start(&x); /* the input itself on one side of an addition, and a node nobody reads */
    conv(g, x, 3, same, 1);
    finish(g, add(g, g->input, conv(g, x, 2, same, 1)), 0);
}

static void softmaxes(void **state) {
    (void)state;
    int x;
    hd_rng_seed(&rng, 100, 0);
    hd_graph *g = start(&x);
    finish(g, append(g, HD_OP_SOFTMAX, fc(g, x, 6), (hd_shape){6, 1, 1}), 0);
    g = start(&x);
    finish(g, x, 1); /* as the output: the loss reads its input */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions), cmocka_unit_test(pools),     cmocka_unit_test(elementwise),
        cmocka_unit_test(branches),     cmocka_unit_test(softmaxes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
