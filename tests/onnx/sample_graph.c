#include "sample_graph.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int below(hd_rng *rng, int n) { return (int)hd_rng_below(rng, (uint32_t)n); }

static float *normals(hd_rng *rng, size_t n) {
    float *v = malloc((n + 1) * sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < n; i++) v[i] = hd_rng_normal(rng);
    return v;
}

/* Adds a node reading tensor `in`, writing a new tensor of the given shape. */
static hd_node *append(hd_graph *g, hd_op op, int in, hd_shape shape) {
    char name[32];
    snprintf(name, sizeof name, "t%d", g->n_tensors);
    int t = hd_graph_add_tensor(g, name, shape);
    snprintf(name, sizeof name, "node%d", g->n_nodes);
    int n = hd_graph_add_node(g, op, name);
    assert_true(t >= 0 && n >= 0);
    g->node[n].input[0] = in;
    g->node[n].output = t;
    return &g->node[n];
}

static int spread(int in, int kernel, int stride, int dilation, int before, int after) {
    int room = in + before + after - ((kernel - 1) * dilation + 1);
    return room < 0 ? 0 : room / stride + 1;
}

/* A window that fits shape s, or 0. */
static int random_window(hd_node *w, hd_shape *y, hd_rng *rng, hd_shape s, int pooling) {
    w->kh = 1 + below(rng, 3), w->kw = 1 + below(rng, 3);
    w->sy = 1 + below(rng, 2), w->sx = 1 + below(rng, 2);
    w->dy = 1 + below(rng, 2), w->dx = 1 + below(rng, 2);
    if (pooling) w->dy = w->dx = 1;
    w->pad_top = below(rng, pooling ? w->kh : 3), w->pad_left = below(rng, pooling ? w->kw : 3);
    w->pad_bottom = below(rng, pooling ? w->kh : 3), w->pad_right = below(rng, pooling ? w->kw : 3);
    y->h = spread(s.h, w->kh, w->sy, w->dy, w->pad_top, w->pad_bottom);
    y->w = spread(s.w, w->kw, w->sx, w->dx, w->pad_left, w->pad_right);
    return y->h > 0 && y->w > 0;
}

static void copy_window(hd_node *n, const hd_node *w) {
    n->kh = w->kh, n->kw = w->kw, n->sy = w->sy, n->sx = w->sx, n->dy = w->dy, n->dx = w->dx;
    n->pad_top = w->pad_top, n->pad_left = w->pad_left, n->pad_bottom = w->pad_bottom, n->pad_right = w->pad_right;
}

static void add_random(hd_graph *g, hd_rng *rng, int in, int other) {
    hd_shape s = g->tensor[in].shape, y = s;
    hd_node w = {0};
    hd_node *n;
    switch (below(rng, 9)) {
    case 0:
    case 1: {
        if (!random_window(&w, &y, rng, s, 0)) return;
        int groups = s.c % 2 == 0 && below(rng, 2) ? 2 : below(rng, 3) ? 1 : s.c;
        y.c = groups * (1 + below(rng, 3));
        n = append(g, HD_OP_CONV2D, in, y);
        copy_window(n, &w);
        n->groups = groups, n->cin = s.c, n->cout = y.c;
        n->weight = normals(rng, hd_node_weights(n));
        if (below(rng, 3)) n->bias = normals(rng, (size_t)n->cout);
        return;
    }
    case 2:
        y = (hd_shape){1 + below(rng, 7), 1, 1};
        n = append(g, HD_OP_FC, in, y);
        n->cin = (int)hd_shape_size(s), n->cout = y.c;
        n->weight = normals(rng, hd_node_weights(n));
        if (below(rng, 3)) n->bias = normals(rng, (size_t)n->cout);
        return;
    case 3: {
        hd_shape z = g->tensor[other].shape;
        if (z.c != s.c || z.h != s.h || z.w != s.w) other = in;
        append(g, HD_OP_ADD_TENSOR, in, s)->input[1] = other;
        return;
    }
    case 4:
        n = append(g, HD_OP_CLIP, in, s);
        n->lo = below(rng, 2) ? 0 : below(rng, 2) ? -INFINITY : -1.5f;
        n->hi = below(rng, 2) ? INFINITY : 6;
        return;
    case 5:
        n = append(g, HD_OP_UNARY, in, s);
        n->fn = (hd_fn)below(rng, HD_FN_SILU + 1);
        if (n->fn == HD_FN_SQRT || n->fn == HD_FN_EXP) n->fn = HD_FN_ABS; /* what follows should stay finite */
        if (n->fn == HD_FN_LEAKY_RELU || n->fn == HD_FN_ELU || n->fn == HD_FN_HARD_SIGMOID) n->alpha = 0.1f + hd_rng_float(rng);
        if (n->fn == HD_FN_HARD_SIGMOID) n->beta = hd_rng_float(rng);
        return;
    case 6:
    case 7:
        if (!random_window(&w, &y, rng, s, 1) || (y.h - 1) * w.sy - w.pad_top >= s.h || (y.w - 1) * w.sx - w.pad_left >= s.w) return;
        n = append(g, below(rng, 2) ? HD_OP_MAX_POOL : HD_OP_AVG_POOL, in, y);
        copy_window(n, &w);
        if (n->op == HD_OP_AVG_POOL) n->count_include_pad = below(rng, 2);
        return;
    default:
        if (below(rng, 2)) append(g, HD_OP_FLATTEN, in, (hd_shape){(int)hd_shape_size(s), 1, 1});
        else append(g, HD_OP_SOFTMAX, in, s);
        return;
    }
}

hd_graph *sample_graph(hd_rng *rng, int nodes) {
    hd_graph *g = hd_graph_new("sample");
    assert_non_null(g);
    hd_shape s = {1 + below(rng, 5), 1 + below(rng, 9), 1 + below(rng, 9)};
    if (below(rng, 4) == 0) s.h = s.w = 1;
    g->input = hd_graph_add_tensor(g, "x", s);
    assert_int_equal(g->input, 0);
    /* Each node reads the newest tensor, so that all of them lead to the output. */
    while (g->n_nodes < nodes) add_random(g, rng, g->n_tensors - 1, below(rng, g->n_tensors));
    g->output = g->n_tensors - 1;
    return g;
}

hd_graph *sample_fixed(void) {
    hd_rng rng;
    hd_rng_seed(&rng, 5, 1);
    hd_graph *g = hd_graph_new("fixed");
    assert_non_null(g);
    const struct {
        const char *name;
        hd_shape shape;
    } tensors[] = {{"x", {2, 6, 6}}, {"a", {4, 6, 6}}, {"b", {4, 6, 6}}, {"c", {4, 3, 3}}, {"y", {3, 1, 1}}};
    for (int t = 0; t < 5; t++) assert_int_equal(hd_graph_add_tensor(g, tensors[t].name, tensors[t].shape), t);
    g->input = 0;
    g->output = 4;
    const char *names[] = {"conv1", "relu1", "pool1", "fc1"};
    const hd_op ops[] = {HD_OP_CONV2D, HD_OP_CLIP, HD_OP_MAX_POOL, HD_OP_FC};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(hd_graph_add_node(g, ops[i], names[i]), i);
        g->node[i].input[0] = i;
        g->node[i].output = i + 1;
    }
    hd_node *conv = &g->node[0], *relu = &g->node[1], *pool = &g->node[2], *fc = &g->node[3];
    conv->kh = conv->kw = 3;
    conv->pad_top = conv->pad_left = conv->pad_bottom = conv->pad_right = 1;
    conv->cin = 2, conv->cout = 4;
    relu->hi = INFINITY;
    pool->kh = pool->kw = pool->sy = pool->sx = 2;
    fc->cin = 36, fc->cout = 3;
    for (int i = 0; i < 4; i += 3) {
        g->node[i].weight = normals(&rng, hd_node_weights(&g->node[i]));
        g->node[i].bias = normals(&rng, (size_t)g->node[i].cout);
    }
    return g;
}
