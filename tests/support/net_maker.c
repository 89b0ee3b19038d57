#include "net_maker.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/pass_inputs.h"

maker net_start(hd_shape input, float bias, uint64_t seed) {
    maker k = {.g = hd_graph_new("net"), .bias = bias};
    hd_rng_seed(&k.r, seed, 5);
    k.g->input = k.g->output = hd_graph_add_tensor(k.g, "x", input);
    return k;
}

hd_node *net_node(maker *k, hd_op op, const char *name, int x, hd_shape out) {
    int y = hd_graph_add_tensor(k->g, name, out), i = hd_graph_add_node(k->g, op, name);
    hd_node *n = &k->g->node[i];
    n->input[0] = x;
    n->output = k->g->output = y;
    return n;
}

void net_fill(maker *k, hd_node *n, int cin, int cout) {
    n->cin = cin;
    n->cout = cout;
    size_t count = hd_node_weights(n);
    n->weight = malloc(count * sizeof(float));
    n->bias = malloc((size_t)cout * sizeof(float));
    for (size_t i = 0; i < count; i++) n->weight[i] = sqrtf(2.0f * (float)cout / (float)count) * hd_rng_normal(&k->r);
    for (int i = 0; i < cout; i++) n->bias[i] = k->bias + 0.2f * hd_rng_normal(&k->r);
}

int net_conv(maker *k, const char *name, int x, int cout, int kernel, int stride, int groups) {
    hd_shape s = k->g->tensor[x].shape, out = {cout, (s.h - 1) / stride + 1, (s.w - 1) / stride + 1};
    hd_node *n = net_node(k, HD_OP_CONV2D, name, x, out);
    n->kh = n->kw = kernel;
    n->sy = n->sx = stride;
    n->groups = groups;
    n->pad_top = n->pad_left = n->pad_bottom = n->pad_right = kernel / 2;
    net_fill(k, n, s.c, cout);
    return n->output;
}

int net_clip(maker *k, const char *name, int x, float hi) {
    hd_node *n = net_node(k, HD_OP_CLIP, name, x, k->g->tensor[x].shape);
    n->hi = hi;
    return n->output;
}

int net_add(maker *k, const char *name, int x, int y) {
    hd_node *n = net_node(k, HD_OP_ADD_TENSOR, name, x, k->g->tensor[x].shape);
    n->input[1] = y;
    return n->output;
}

int net_unary(maker *k, const char *name, int x, hd_fn fn) {
    hd_node *n = net_node(k, HD_OP_UNARY, name, x, k->g->tensor[x].shape);
    n->fn = fn;
    n->alpha = 0.1f;
    return n->output;
}

int net_pool(maker *k, hd_op op, const char *name, int x) {
    hd_shape s = k->g->tensor[x].shape;
    hd_node *n = net_node(k, op, name, x, (hd_shape){s.c, s.h / 2, s.w / 2});
    n->kh = n->kw = n->sy = n->sx = 2;
    return n->output;
}

int net_flatten(maker *k, const char *name, int x) {
    return net_node(k, HD_OP_FLATTEN, name, x, (hd_shape){(int)hd_shape_size(k->g->tensor[x].shape), 1, 1})->output;
}

int net_fc(maker *k, const char *name, int x, int cout) {
    hd_node *n = net_node(k, HD_OP_FC, name, x, (hd_shape){cout, 1, 1});
    n->kh = n->kw = 1;
    net_fill(k, n, (int)hd_shape_size(k->g->tensor[x].shape), cout);
    return n->output;
}

hd_node *net_named(const hd_graph *g, const char *name) {
    for (int i = 0; i < g->n_nodes; i++)
        if (!strcmp(g->node[i].name, name)) return &g->node[i];
    return NULL;
}

hd_graph *net_planted(uint64_t seed, float large) {
    maker k = net_start((hd_shape){2, 8, 8}, 1, seed);
    int x = net_clip(&k, "relu1", net_conv(&k, "conv1", k.g->input, 16, 3, 1, 1), INFINITY);
    x = net_clip(&k, "relu2", net_conv(&k, "conv2", x, 16, 3, 2, 1), INFINITY);
    net_fc(&k, "fc", net_flatten(&k, "flat", net_pool(&k, HD_OP_AVG_POOL, "average", x)), 8);
    hd_node *from[2] = {net_named(k.g, "conv1"), net_named(k.g, "conv2")}, *to[2] = {net_named(k.g, "conv2"), net_named(k.g, "fc")};
    for (int i = 0; i < 2; i++)
        for (int c = 3; c < 16; c += 9) {
            size_t in = hd_layer_columns(from[i]), columns = hd_layer_columns(to[i]), per = columns / 16;
            for (size_t j = 0; j < in; j++) from[i]->weight[(size_t)c * in + j] *= large;
            from[i]->bias[c] *= large;
            for (int row = 0; row < to[i]->cout; row++)
                for (size_t j = 0; j < per; j++) to[i]->weight[(size_t)row * columns + (size_t)c * per + j] /= large;
        }
    return k.g;
}

hd_idx *net_images_of(hd_shape s, uint32_t count, uint64_t seed) {
    size_t item = hd_shape_size(s);
    hd_idx *x = calloc(1, sizeof *x);
    *x = (hd_idx){.type = HD_IDX_U8, .rank = 2, .dim = {count, (uint32_t)item}, .item = item};
    uint8_t *data = x->data = malloc(count * item);
    hd_rng r;
    hd_rng_seed(&r, seed, 9);
    for (size_t i = 0; i < count * item; i++) data[i] = (uint8_t)hd_rng_u32(&r);
    return x;
}

hd_idx *net_images(const hd_graph *g, uint32_t count, uint64_t seed) { return net_images_of(g->tensor[g->input].shape, count, seed); }
