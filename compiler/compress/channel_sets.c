#include "channel_sets.h"

#include <stdlib.h>

#include "pass_inputs.h"

/* Two forests: of channels and of tensors; parents of roots are themselves. */
typedef struct forest {
    hd_channel_sets *c;
    int *channel, *tensor;
    int *why; /* [tensor], of roots in the end */
} forest;

static int root_of(int *parent, int i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
}

static void join(int *parent, int a, int b) {
    a = root_of(parent, a);
    b = root_of(parent, b);
    if (a < b) parent[b] = a;
    else parent[a] = b;
}

/* Channel by channel; `per` channels of b for one of a. */
static void tie_tensors(const forest *f, int a, int b, int per) {
    for (int i = 0; i < f->c->g->tensor[b].shape.c; i++) join(f->channel, f->c->first[a] + i / per, f->c->first[b] + i);
    join(f->tensor, a, b);
}

static void keep(const forest *f, int t, int why) {
    if (f->why[t] == HD_CHANNELS_FREE) f->why[t] = why;
}

static void tie(const forest *f, int i) {
    const hd_node *n = &f->c->g->node[i];
    int x = n->input[0], y = n->output;
    hd_shape s = f->c->g->tensor[x].shape;
    switch (n->op) {
    case HD_OP_NONE:
    case HD_OP_FC: break;
    case HD_OP_CONV2D:
        if (hd_node_is_depthwise(n)) tie_tensors(f, x, y, n->cout / n->cin);
        else if (!hd_node_mixes(n)) {
            keep(f, x, i);
            keep(f, y, i);
        }
        break;
    case HD_OP_ADD_TENSOR:
        tie_tensors(f, x, n->input[1], 1);
        tie_tensors(f, x, y, 1);
        break;
    case HD_OP_CLIP:
    case HD_OP_UNARY:
    case HD_OP_MAX_POOL:
    case HD_OP_AVG_POOL: tie_tensors(f, x, y, 1); break;
    case HD_OP_FLATTEN: tie_tensors(f, x, y, s.h * s.w); break;
    case HD_OP_SOFTMAX:
        keep(f, x, i);
        keep(f, y, i);
        break;
    }
}

/* Numbers the roots of a forest from 0, in order; returns how many. Roots come before what hangs on them. */
static int number(int *out, int *parent, int n) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        int root = root_of(parent, i);
        out[i] = root == i ? count++ : out[root];
    }
    return count;
}

void hd_channel_sets_free(hd_channel_sets *c) {
    free(c->first);
    free(c->set);
    free(c->family);
    free(c->family_of_set);
    free(c->why);
    *c = (hd_channel_sets){0};
}

static void collect(const forest *f, int channels) {
    hd_channel_sets *c = f->c;
    const hd_graph *g = c->g;
    for (int i = 0; i < channels; i++) f->channel[i] = i;
    for (int t = 0; t < g->n_tensors; t++) {
        f->tensor[t] = t;
        f->why[t] = c->why[t] = HD_CHANNELS_FREE;
    }
    keep(f, g->input, HD_CHANNELS_INPUT);
    keep(f, g->output, HD_CHANNELS_OUTPUT);
    for (int i = 0; i < g->n_nodes; i++) tie(f, i);
    c->sets = number(c->set, f->channel, channels);
    c->families = number(c->family, f->tensor, g->n_tensors);
    for (int t = 0; t < g->n_tensors; t++) {
        if (c->why[c->family[t]] == HD_CHANNELS_FREE) c->why[c->family[t]] = f->why[t];
        for (int i = c->first[t]; i < c->first[t + 1]; i++) c->family_of_set[c->set[i]] = c->family[t];
    }
}

hd_status hd_channel_sets_new(hd_channel_sets *c, const hd_graph *g, hd_err *err) {
    *c = (hd_channel_sets){.g = g, .first = hd_channel_index(g)};
    int channels = c->first ? c->first[g->n_tensors] : 0;
    size_t n = (size_t)channels, tensors = (size_t)g->n_tensors;
    c->set = malloc(n * sizeof *c->set);
    c->family_of_set = malloc(n * sizeof *c->family_of_set);
    c->family = malloc(tensors * sizeof *c->family);
    c->why = malloc(tensors * sizeof *c->why);
    forest f = {c, malloc(n * sizeof *f.channel), malloc(tensors * sizeof *f.tensor), malloc(tensors * sizeof *f.why)};
    int ok = c->first && c->set && c->family_of_set && c->family && c->why && f.channel && f.tensor && f.why;
    if (ok) collect(&f, channels);
    free(f.channel);
    free(f.tensor);
    free(f.why);
    if (ok) return HD_OK;
    hd_channel_sets_free(c);
    return hd_fail(err, HD_NOMEM, "network '%s': no memory for its channels", g->name);
}
