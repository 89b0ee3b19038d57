/* The reference executor against plain loops in double, and what hd_graph_check refuses. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../compiler/graph/graph.h"
#include "../../sw/core/rng.h"

static int below(hd_rng *rng, int n) { return (int)hd_rng_below(rng, (uint32_t)n); }

static float *normals(hd_rng *rng, size_t n) {
    float *v = malloc((n + 1) * sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < n; i++) v[i] = hd_rng_normal(rng);
    return v;
}

/* x -> one node -> y. */
static hd_graph *one_node(hd_op op, hd_shape x, hd_shape y) {
    hd_graph *g = hd_graph_new("one");
    assert_non_null(g);
    g->input = hd_graph_add_tensor(g, "x", x);
    g->output = hd_graph_add_tensor(g, "y", y);
    assert_int_equal(hd_graph_add_node(g, op, "n"), 0);
    g->node[0].input[0] = 0;
    g->node[0].output = 1;
    return g;
}

static int spread(int in, int kernel, int stride, int dilation, int pads) {
    int room = in + pads - ((kernel - 1) * dilation + 1);
    return room < 0 ? 0 : room / stride + 1;
}

static float pixel(const float *x, hd_shape s, int c, int y, int col, int *inside) {
    *inside = y >= 0 && y < s.h && col >= 0 && col < s.w;
    return *inside ? x[((size_t)c * (size_t)s.h + (size_t)y) * (size_t)s.w + (size_t)col] : 0;
}

/* What node n gives for output (c, oy, ox), by definition. */
static double expected(const hd_node *n, const float *x, hd_shape xs, int c, int oy, int ox) {
    int group_in = n->op == HD_OP_CONV2D ? n->cin / n->groups : 1, inside, count = 0;
    int first = n->op == HD_OP_CONV2D ? c / (n->cout / n->groups) * group_in : c;
    double sum = n->bias ? (double)n->bias[c] : 0, most = -INFINITY;
    for (int i = 0; i < group_in; i++)
        for (int ky = 0; ky < n->kh; ky++)
            for (int kx = 0; kx < n->kw; kx++) {
                double v = (double)pixel(x, xs, first + i, oy * n->sy - n->pad_top + ky * n->dy, ox * n->sx - n->pad_left + kx * n->dx, &inside);
                count += inside;
                if (inside && v > most) most = v;
                sum += n->weight ? v * (double)n->weight[((c * group_in + i) * n->kh + ky) * n->kw + kx] : v;
            }
    if (n->op == HD_OP_MAX_POOL) return most;
    if (n->op == HD_OP_AVG_POOL) return sum / (n->count_include_pad ? n->kh * n->kw : count);
    return sum;
}

static void compare(const hd_graph *g, hd_rng *rng, double tolerance) {
    hd_err err = {0};
    hd_exec *e;
    if (hd_exec_new(&e, g, &err) != HD_OK) fail_msg("%s", err.message);
    hd_shape xs = g->tensor[g->input].shape, ys = g->tensor[g->output].shape;
    float *x = normals(rng, hd_shape_size(xs));
    hd_exec_run(e, x);
    const float *y = hd_exec_tensor(e, g->output);
    for (int c = 0; c < ys.c; c++)
        for (int oy = 0; oy < ys.h; oy++)
            for (int ox = 0; ox < ys.w; ox++, y++) {
                double want = expected(&g->node[0], x, xs, c, oy, ox);
                if (!(fabs((double)*y - want) <= tolerance * (1 + fabs(want)))) fail_msg("(%d, %d, %d): %f, expected %f", c, oy, ox, (double)*y, want);
            }
    free(x);
    hd_exec_free(e);
}

static void test_windows(void **state) {
    (void)state;
    hd_rng rng;
    hd_rng_seed(&rng, 8, 8);
    for (int done = 0; done < 600;) {
        hd_node w = {.kh = 1 + below(&rng, 4), .kw = 1 + below(&rng, 4), .sy = 1 + below(&rng, 3), .sx = 1 + below(&rng, 3), .dy = 1 + below(&rng, 3),
                     .dx = 1 + below(&rng, 3), .pad_top = below(&rng, 4), .pad_left = below(&rng, 4), .pad_bottom = below(&rng, 4), .pad_right = below(&rng, 4)};
        hd_shape x = {1 + below(&rng, 6), 1 + below(&rng, 12), 1 + below(&rng, 12)}, y = x;
        y.h = spread(x.h, w.kh, w.sy, w.dy, w.pad_top + w.pad_bottom);
        y.w = spread(x.w, w.kw, w.sx, w.dx, w.pad_left + w.pad_right);
        if (y.h < 1 || y.w < 1) continue;
        hd_op op = done % 4 == 0 ? HD_OP_MAX_POOL : done % 4 == 1 ? HD_OP_AVG_POOL : HD_OP_CONV2D;
        int groups = op == HD_OP_CONV2D && below(&rng, 2) ? x.c : 1;
        if (op == HD_OP_CONV2D) y.c = groups * (1 + below(&rng, 5));
        hd_graph *g = one_node(op, x, y);
        hd_node *n = &g->node[0];
        n->kh = w.kh, n->kw = w.kw, n->sy = w.sy, n->sx = w.sx, n->dy = w.dy, n->dx = w.dx;
        n->pad_top = w.pad_top, n->pad_left = w.pad_left, n->pad_bottom = w.pad_bottom, n->pad_right = w.pad_right;
        if (op == HD_OP_CONV2D) {
            n->groups = groups, n->cin = x.c, n->cout = y.c;
            n->weight = normals(&rng, hd_node_weights(n));
            if (below(&rng, 2)) n->bias = normals(&rng, (size_t)n->cout);
        }
        if (op == HD_OP_AVG_POOL) n->count_include_pad = below(&rng, 2);
        /* A pooling window may lie wholly in the padding; such graphs are refused. */
        if (op == HD_OP_CONV2D || hd_graph_check(g, NULL) == HD_OK) {
            compare(g, &rng, op == HD_OP_MAX_POOL ? 0 : 2e-5);
            done++;
        }
        hd_graph_free(g);
    }
}

/* Large enough for several chunks of columns, a line cut between two of them included. */
static void test_chunks(void **state) {
    (void)state;
    hd_rng rng;
    hd_rng_seed(&rng, 9, 9);
    for (int stride = 1; stride <= 2; stride++) {
        hd_shape x = {48, 37, 41}, y = {5, (37 + 2 - 3) / stride + 1, (41 + 2 - 3) / stride + 1};
        hd_graph *g = one_node(HD_OP_CONV2D, x, y);
        hd_node *n = &g->node[0];
        n->kh = n->kw = 3, n->sy = n->sx = stride, n->cin = 48, n->cout = 5;
        n->pad_top = n->pad_left = n->pad_bottom = n->pad_right = 1;
        n->weight = normals(&rng, hd_node_weights(n));
        compare(g, &rng, 1e-4);
        hd_graph_free(g);
    }
}

static void test_elementwise(void **state) {
    (void)state;
    static const struct {
        hd_fn fn;
        float alpha, beta, x, y;
    } points[] = {
        {HD_FN_SIGMOID, 0, 0, 0, 0.5f},       {HD_FN_SIGMOID, 0, 0, -200, 0},         {HD_FN_TANH, 0, 0, 100, 1},          {HD_FN_LEAKY_RELU, 0.25f, 0, -4, -1},
        {HD_FN_ELU, 2, 0, -100, -2},          {HD_FN_HARD_SIGMOID, 0.2f, 0.5f, 1, 0.7f}, {HD_FN_HARD_SIGMOID, 0.2f, 0.5f, 9, 1}, {HD_FN_HARD_SWISH, 0, 0, 3, 3},
        {HD_FN_HARD_SWISH, 0, 0, -1, -1.0f / 3}, {HD_FN_SOFTPLUS, 0, 0, 0, 0.69314718f}, {HD_FN_SOFTPLUS, 0, 0, 500, 500},  {HD_FN_EXP, 0, 0, 1, 2.7182818f},
        {HD_FN_ABS, 0, 0, -2, 2},             {HD_FN_NEG, 0, 0, 2, -2},               {HD_FN_SQRT, 0, 0, 9, 3},            {HD_FN_GELU, 0, 0, 1, 0.84134475f},
        {HD_FN_SILU, 0, 0, 1, 0.73105858f},   {HD_FN_SILU, 0, 0, -300, 0},
    };
    for (size_t k = 0; k < sizeof points / sizeof *points; k++) {
        float y = hd_fn_apply(points[k].fn, points[k].alpha, points[k].beta, points[k].x);
        if (fabsf(y - points[k].y) > 1e-6f * (1 + fabsf(y))) fail_msg("point %zu: %f, expected %f", k, (double)y, (double)points[k].y);
    }
    hd_shape s = {3, 1, 2};
    hd_graph *g = one_node(HD_OP_SOFTMAX, s, s);
    hd_exec *e;
    const float x[6] = {1000, 1001, 999, 1000, 998, 1000};
    assert_int_equal(hd_exec_new(&e, g, NULL), HD_OK);
    hd_exec_run(e, x);
    const float *y = hd_exec_tensor(e, 1);
    float sum = 0;
    for (int i = 0; i < 6; i++) sum += y[i];
    assert_true(fabsf(sum - 1) < 1e-6f && fabsf(y[1] / y[0] - 2.7182818f) < 1e-5f);
    hd_exec_free(e);
    g->node[0].op = HD_OP_CLIP;
    g->node[0].lo = 999;
    g->node[0].hi = INFINITY;
    assert_int_equal(hd_exec_new(&e, g, NULL), HD_OK);
    hd_exec_run(e, x);
    assert_true(hd_exec_tensor(e, 1)[4] == 999 && hd_exec_tensor(e, 1)[1] == 1001);
    hd_exec_free(e);
    hd_graph_free(g);
}

/* Two executors of one graph do not disturb each other. */
static void test_reentrant(void **state) {
    (void)state;
    hd_rng rng;
    hd_rng_seed(&rng, 4, 4);
    hd_graph *g = one_node(HD_OP_FC, (hd_shape){2, 3, 4}, (hd_shape){5, 1, 1});
    hd_node *n = &g->node[0];
    n->cin = 24, n->cout = 5;
    n->weight = normals(&rng, 120);
    hd_exec *a, *b;
    assert_int_equal(hd_exec_new(&a, g, NULL), HD_OK);
    assert_int_equal(hd_exec_new(&b, g, NULL), HD_OK);
    float *x = normals(&rng, 24), *y = normals(&rng, 24);
    hd_exec_run(a, x);
    float first = hd_exec_tensor(a, 1)[3];
    hd_exec_run(b, y);
    assert_true(hd_exec_tensor(a, 1)[3] == first);
    double want = 0;
    for (int i = 0; i < 24; i++) want += (double)n->weight[3 * 24 + i] * (double)x[i];
    assert_true(fabs((double)first - want) < 1e-4);
    free(x);
    free(y);
    hd_exec_free(a);
    hd_exec_free(b);
    hd_graph_free(g);
}

static void expect(const hd_graph *g, hd_status code, const char *message) {
    hd_err err = {0};
    hd_exec *e;
    assert_int_equal(hd_graph_check(g, &err), code);
    assert_string_equal(err.message, message);
    assert_int_equal(hd_exec_new(&e, g, NULL), code);
    assert_null(e);
}

static void test_check(void **state) {
    (void)state;
    hd_rng rng;
    hd_rng_seed(&rng, 4, 4);
    hd_graph *g = one_node(HD_OP_CONV2D, (hd_shape){2, 4, 4}, (hd_shape){2, 3, 3});
    hd_node *n = &g->node[0];
    n->kh = n->kw = 2, n->cin = n->cout = 2;
    expect(g, HD_FORMAT, "node 'n' (convolution): has no weights");
    n->weight = normals(&rng, 16);
    assert_int_equal(hd_graph_check(g, NULL), HD_OK);
    n->groups = 0;
    expect(g, HD_RANGE, "node 'n' (convolution): 0 groups; must divide 2 input and 2 output channels");
    n->groups = 1;
    n->dy = 70000;
    expect(g, HD_RANGE, "node 'n' (convolution): dilation along the height 70000; allowed 1..65535");
    n->dy = 65535;
    expect(g, HD_MISMATCH, "node 'n' (convolution): kernel height reaches over 65536 elements; the padded input has 4");
    n->dy = 1;
    n->sx = 2;
    expect(g, HD_MISMATCH, "node 'n' (convolution): output width 3; input and window give 2");
    n->sx = 1;
    n->weight[5] = INFINITY;
    expect(g, HD_RANGE, "node 'n' (convolution): weight 5 is inf; weights must be finite");
    n->weight[5] = 0;
    n->input[1] = 0;
    expect(g, HD_FORMAT, "node 'n' (convolution): second input is tensor 0; this operation has one input");
    n->input[1] = -1;
    n->input[0] = 1;
    expect(g, HD_FORMAT, "node 'n' (convolution): reads tensor 'y' before anything writes it");
    n->input[0] = 9;
    expect(g, HD_FORMAT, "node 'n' (convolution): input 0 is tensor 9; the graph has 2");
    n->input[0] = 0;
    n->output = 0;
    expect(g, HD_FORMAT, "node 'n' (convolution): writes tensor 'x', which is already written");
    n->output = 1;
    g->output = 2;
    expect(g, HD_FORMAT, "input is tensor 0, output tensor 2; the graph has 2");
    g->output = 1;
    g->tensor[0].shape.h = 0;
    expect(g, HD_RANGE, "tensor 'x': shape 2 x 0 x 4; sizes must be positive");
    g->tensor[0].shape.h = INT32_MAX;
    expect(g, HD_RANGE, "tensor 'x': shape 2 x 2147483647 x 4; at most 67108864 elements are allowed");
    g->tensor[0].shape.h = 4;
    g->tensor[1].name[0] = 'x';
    expect(g, HD_FORMAT, "two tensors are named 'x'; names must differ");
    g->tensor[1].name[0] = 'y';
    g->tensor[1].name[0] = 0;
    expect(g, HD_FORMAT, "a tensor has an empty name");
    g->tensor[1].name[0] = 'y';
    g->n_nodes = 0;
    expect(g, HD_FORMAT, "output tensor 'y' is written by no node");
    g->n_nodes = 1;
    n->op = HD_OP_CLIP;
    n->lo = 1;
    expect(g, HD_RANGE, "node 'n' (clip): bounds 1.000000 and 0.000000; the lower must not pass the upper");
    n->hi = 2;
    expect(g, HD_MISMATCH, "node 'n' (clip): input 2 x 4 x 4, output 2 x 3 x 3; must be equal");
    n->op = HD_OP_FLATTEN;
    expect(g, HD_MISMATCH, "node 'n' (flatten): output 2 x 3 x 3; must be 32 x 1 x 1");
    n->op = HD_OP_NONE;
    expect(g, HD_FORMAT, "node 'n' (unknown operation): operation 0 does not exist");
    hd_graph_free(g);
    g = hd_graph_new("empty");
    expect(g, HD_FORMAT, "the network has no tensors");
    hd_graph_free(g);
}

/* A pooling has no weights: a graph of nothing may ask for days. */
static void test_work(void **state) {
    (void)state;
    hd_err err = {0};
    hd_graph *g = one_node(HD_OP_MAX_POOL, (hd_shape){1, 8192, 8192}, (hd_shape){1, 8192, 8192});
    hd_node *n = &g->node[0];
    n->kh = n->kw = 121;
    n->pad_top = n->pad_left = n->pad_bottom = n->pad_right = 60;
    assert_int_equal(hd_graph_check(g, &err), HD_OK); /* 0.98e12 */
    n->kh = n->kw = 123;
    n->pad_top = n->pad_left = n->pad_bottom = n->pad_right = 61;
    assert_int_equal(hd_graph_check(g, &err), HD_RANGE);
    assert_string_equal(err.message, "node 'n' (maximum pooling): with it a run takes 1.02e+12 operations; at most 1e+12 are allowed");
    hd_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_windows), cmocka_unit_test(test_chunks), cmocka_unit_test(test_elementwise), cmocka_unit_test(test_reentrant), cmocka_unit_test(test_check), cmocka_unit_test(test_work)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
