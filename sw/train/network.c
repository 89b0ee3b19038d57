/* The default network and the options that train it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../core/rng.h"
#include "train.h"

/* Chosen on Fashion-MNIST, where flips and shifts do not pay within so few epochs. */
void hd_train_defaults(hd_train_options *o) {
    *o = (hd_train_options){.epochs = 10, .batch = 96, .learning_rate = 4e-3f, .weight_decay = 5e-2f, .seed = 1};
}

/* He initialisation: variance 2 / inputs keeps the size of activations through ReLUs. */
static int give_weights(hd_node *t, size_t inputs, hd_rng *rng) {
    size_t n = hd_node_weights(t);
    t->weight = calloc(n, sizeof *t->weight);
    t->bias = calloc((size_t)t->cout, sizeof *t->bias);
    if (!t->weight || !t->bias) return -1;
    float deviation = sqrtf(2 / (float)inputs);
    for (size_t i = 0; i < n; i++) t->weight[i] = deviation * hd_rng_normal(rng);
    return 0;
}

/* Appends a node and its output tensor, both called `name`; returns the node (valid until the next one), or NULL. */
static hd_node *append(hd_graph *g, hd_op op, const char *name, hd_shape out) {
    int from = g->n_nodes ? g->node[g->n_nodes - 1].output : g->input;
    int to = hd_graph_add_tensor(g, name, out), i = to < 0 ? -1 : hd_graph_add_node(g, op, name);
    if (i < 0) return NULL;
    g->node[i].input[0] = from;
    g->node[i].output = to;
    g->output = to;
    return &g->node[i];
}

static int append_relu(hd_graph *g, int number) {
    char name[32];
    snprintf(name, sizeof name, "relu%d", number);
    hd_node *t = append(g, HD_OP_CLIP, name, g->tensor[g->output].shape);
    if (!t) return -1;
    t->lo = 0;
    t->hi = INFINITY;
    return 0;
}

static int append_conv(hd_graph *g, int number, int k, int stride, int pad, hd_shape out, hd_rng *rng) {
    char name[32];
    int cin = g->tensor[g->output].shape.c;
    snprintf(name, sizeof name, "conv%d", number);
    hd_node *t = append(g, HD_OP_CONV2D, name, out);
    if (!t) return -1;
    t->kh = t->kw = k;
    t->sy = t->sx = stride;
    t->pad_top = t->pad_left = t->pad_bottom = t->pad_right = pad;
    t->cin = cin;
    t->cout = out.c;
    return give_weights(t, (size_t)(cin * k * k), rng) || append_relu(g, number) ? -1 : 0;
}

static int append_fc(hd_graph *g, const char *name, int outputs, hd_rng *rng) {
    int cin = g->tensor[g->output].shape.c;
    hd_node *t = append(g, HD_OP_FC, name, (hd_shape){outputs, 1, 1});
    if (!t) return -1;
    t->cin = cin;
    t->cout = outputs;
    return give_weights(t, (size_t)cin, rng);
}

static int scaled(int channels, double width) {
    int n = (int)lround(channels * width);
    return n < 1 ? 1 : n;
}

static int build(hd_graph *g, double width, hd_rng *rng) {
    int narrow = scaled(16, width), wide = scaled(32, width);
    g->input = g->output = hd_graph_add_tensor(g, "input", (hd_shape){1, 28, 28});
    if (g->input < 0) return -1;
    if (append_conv(g, 1, 5, 2, 2, (hd_shape){narrow, 14, 14}, rng) || append_conv(g, 2, 3, 1, 1, (hd_shape){wide, 14, 14}, rng) ||
        append_conv(g, 3, 3, 2, 1, (hd_shape){wide, 7, 7}, rng))
        return -1;
    hd_node *pool = append(g, HD_OP_MAX_POOL, "pool", (hd_shape){wide, 4, 4});
    if (!pool) return -1;
    pool->kh = pool->kw = pool->sy = pool->sx = 2;
    pool->pad_bottom = pool->pad_right = 1;
    if (!append(g, HD_OP_FLATTEN, "flatten", (hd_shape){wide * 16, 1, 1})) return -1;
    return append_fc(g, "fc1", scaled(64, width), rng) || append_relu(g, 4) || append_fc(g, "fc2", 10, rng) ? -1 : 0;
}

hd_graph *hd_default_network(uint64_t seed) { return hd_scaled_network(seed, 1); }

hd_graph *hd_scaled_network(uint64_t seed, double width) {
    hd_graph *g = hd_graph_new("fashion");
    hd_rng rng;
    hd_rng_seed(&rng, seed, 1);
    if (g && build(g, width, &rng)) {
        hd_graph_free(g);
        return NULL;
    }
    return g;
}
