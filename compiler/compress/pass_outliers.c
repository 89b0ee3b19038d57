/* Outlier split (LLM.int8(): Dettmers et al. 2022, arXiv 2208.07339) for networks: the few input channels of a layer whose largest magnitude is far above
 * the others' go their own way, so that the codes of the others need not span them.
 *
 * The layer becomes two, one for the usual channels and one ("NAME.outliers", no bias) for the large ones, and an addition. The layers that make the
 * channels become two likewise, row by row, and whatever lies between is doubled. Every tensor then has int8 codes of its own. The
 * paper keeps the large channels in 16 bits; here they are int8 too, and the weights that read them get 8 bits, because they are few and count most. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../graph/graph_edit.h"
#include "compress_internal.h"
#include "pass_inputs.h"
#include "pass_internal.h"

/* A layer at work. Nodes are made in front of it, in the order of execution; `at` is its own index, which moves up with each. */
typedef struct splitter {
    hd_pass *p;
    hd_graph *g;
    int at;
    const uint8_t *large; /* [channels of the layer's input before flattening] 1 = goes its own way */
    hd_err *err;
} splitter;

static hd_status no_memory(const splitter *x) { return hd_fail(x->err, HD_NOMEM, "network '%s': no memory to split its layers", x->g->name); }
static int is_layer(const hd_node *n) { return n->op == HD_OP_CONV2D || n->op == HD_OP_FC; }

/* Why tensor t cannot be made in two halves, or NULL. */
static const char *obstacle(const hd_graph *g, int t) {
    int from = hd_graph_producer(g, t);
    if (from < 0) return "it reads the network's input";
    if (t == g->output || hd_graph_readers(g, t, NULL, 0) > 1) return "others read its inputs too";
    const hd_node *n = &g->node[from];
    switch (n->op) {
    case HD_OP_CONV2D:
    case HD_OP_FC: return n->groups == 1 ? NULL : "its inputs come from a grouped convolution";
    case HD_OP_CLIP:
    case HD_OP_UNARY:
    case HD_OP_MAX_POOL:
    case HD_OP_AVG_POOL:
    case HD_OP_FLATTEN: return obstacle(g, n->input[0]);
    case HD_OP_ADD_TENSOR: {
        const char *first = obstacle(g, n->input[0]);
        return first ? first : obstacle(g, n->input[1]);
    }
    default: return "its inputs come from a softmax";
    }
}

/* Channels 0..n-1 whose mark is `half`, each `per` elements long, out of x into to. Returns how many elements. */
static size_t pick(float *to, const float *x, const uint8_t *large, int half, size_t n, size_t per) {
    size_t kept = 0;
    for (size_t c = 0; c < n; c++) {
        if ((large[c] != 0) != half) continue;
        memcpy(to + kept, x + c * per, per * sizeof *to);
        kept += per;
    }
    return kept;
}

static int count(const uint8_t *large, int half, int n) {
    int kept = 0;
    for (int c = 0; c < n; c++) kept += (large[c] != 0) == half;
    return kept;
}

/* The new layer takes over the old one's name (whose rules name it), which has no readers any more. */
static void swap_names(hd_graph *g, int a, int b) {
    char *name = g->node[a].name;
    g->node[a].name = g->node[b].name;
    g->node[b].name = name;
}

static int add_part(const splitter *x, int node, const char *of, int reads_outliers) {
    hd_layer_policy o = *hd_policy_of(x->p->policy, of);
    o.recipe.outliers = 0;
    o.skip_sparsity = 1;
    if (reads_outliers) {
        o.bits = 8;
        o.grid = -1;
    }
    return hd_policy_add(x->p->policy, x->g->node[node].name, &o);
}

/* One half of a layer's output channels; returns its output tensor. */
static hd_status half_layer(int *out, splitter *x, int node, int half) {
    hd_graph *g = x->g;
    char name[200];
    snprintf(name, sizeof name, "%.180s.outliers", g->node[node].name);
    hd_shape shape = g->tensor[g->node[node].output].shape;
    int rows = shape.c, kept = count(x->large, half, rows);
    shape.c = kept;
    int made = hd_graph_insert_like(g, x->at, node, name), t = hd_graph_add_unique_tensor(g, name, shape);
    if (made < 0 || t < 0) return no_memory(x);
    x->at++;
    hd_node *n = &g->node[made], *old = &g->node[node];
    size_t columns = hd_node_weights(old) / (size_t)rows;
    n->cout = kept;
    n->output = t;
    n->weight = malloc((size_t)kept * columns * sizeof *n->weight);
    if (old->bias) n->bias = malloc((size_t)kept * sizeof *n->bias);
    if (!n->weight || (old->bias && !n->bias)) return no_memory(x);
    pick(n->weight, old->weight, x->large, half, (size_t)rows, columns);
    if (old->bias) pick(n->bias, old->bias, x->large, half, (size_t)rows, 1);
    if (!half) swap_names(g, made, node);
    else if (!add_part(x, made, g->node[node].name, 0)) return no_memory(x);
    *out = t;
    return HD_OK;
}

/* One half of tensor t's channels, made anew in front of the layer. */
static hd_status half_tensor(int *out, splitter *x, int t, int half) {
    hd_graph *g = x->g;
    int from = hd_graph_producer(g, t), in[2] = {-1, -1};
    if (is_layer(&g->node[from])) return half_layer(out, x, from, half);
    hd_status s = HD_OK;
    for (int k = 0; !s && k < 2 && g->node[from].input[k] >= 0; k++) s = half_tensor(&in[k], x, g->node[from].input[k], half);
    if (s) return s;
    hd_shape shape = g->tensor[t].shape;
    shape.c = g->node[from].op == HD_OP_FLATTEN ? (int)hd_shape_size(g->tensor[in[0]].shape) : g->tensor[in[0]].shape.c;
    char name[200];
    snprintf(name, sizeof name, "%.180s%s", g->node[from].name, half ? ".outliers" : ".usual");
    int made = hd_graph_insert_like(g, x->at, from, name);
    *out = hd_graph_add_unique_tensor(g, name, shape);
    if (made < 0 || *out < 0) return no_memory(x);
    x->at++;
    memcpy(g->node[made].input, in, sizeof in);
    g->node[made].output = *out;
    return HD_OK;
}

/* The layer's columns of one half, reading tensor `in`; weights are allocated anew. */
static hd_status take_columns(const splitter *x, hd_node *n, const float *weight, size_t columns, size_t per, int half, int in, int channels) {
    int kept = count(x->large, half, channels);
    size_t own = (size_t)kept * per;
    float *w = malloc((size_t)n->cout * own * sizeof *w);
    if (!w) return no_memory(x);
    for (int row = 0; row < n->cout; row++) pick(w + (size_t)row * own, weight + (size_t)row * columns, x->large, half, (size_t)channels, per);
    n->cin = n->op == HD_OP_FC ? (int)own : kept;
    n->weight = w;
    n->input[0] = in;
    return HD_OK;
}

static void remove_dead(hd_graph *g) {
    for (int i = g->n_nodes; i-- > 0;)
        if (g->node[i].output != g->output && !hd_graph_readers(g, g->node[i].output, NULL, 0)) hd_graph_remove_node(g, i);
}

static hd_status split(splitter *x, int channels) {
    hd_graph *g = x->g;
    int in[2], t = g->node[x->at].input[0];
    char name[200];
    snprintf(name, sizeof name, "%.180s.outliers", g->node[x->at].name);
    hd_status s = half_tensor(&in[1], x, t, 1); /* first: the other half takes the names over */
    if (!s) s = half_tensor(&in[0], x, t, 0);
    if (s) return s;
    int sum = g->node[x->at].output, usual = hd_graph_add_unique_tensor(g, name, g->tensor[sum].shape), large = hd_graph_add_unique_tensor(g, name, g->tensor[sum].shape);
    int other = hd_graph_insert_like(g, x->at + 1, x->at, name);
    snprintf(name, sizeof name, "%.180s.sum", g->node[x->at].name);
    int add = other < 0 ? -1 : hd_graph_insert_node(g, other + 1, HD_OP_ADD_TENSOR, name);
    if (usual < 0 || large < 0 || add < 0) return no_memory(x);
    hd_node *n = &g->node[x->at], *m = &g->node[other], *a = &g->node[add];
    size_t columns = hd_layer_columns(n), per = columns / (size_t)channels;
    float *whole = n->weight;
    s = take_columns(x, m, whole, columns, per, 1, in[1], channels);
    if (!s) {
        n->weight = NULL;
        s = take_columns(x, n, whole, columns, per, 0, in[0], channels);
        free(whole);
    }
    n->output = a->input[0] = usual;
    m->output = a->input[1] = large;
    a->output = sum;
    if (!s && !add_part(x, other, n->name, 1)) s = no_memory(x);
    return s;
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Marks channels above `times` the median of those that occur at all; returns how many. */
static int mark(uint8_t *large, const float *absmax, int channels, float times, float *scratch) {
    int live = 0, n = 0;
    for (int c = 0; c < channels; c++)
        if (absmax[c] > 0) scratch[live++] = absmax[c];
    if (!live) return 0;
    qsort(scratch, (size_t)live, sizeof *scratch, by_size);
    float bound = times * scratch[(live - 1) / 2];
    for (int c = 0; c < channels; c++) n += large[c] = absmax[c] > bound;
    return n;
}

static void unsplit(hd_recipe *r) { r->outliers = 0; }

/* The layer of this name; *done when it was split. */
static hd_status visit(hd_pass *p, const char *layer, hd_err *err) {
    hd_graph *g = p->g;
    int at = 0;
    while (strcmp(g->node[at].name, layer)) at++;
    const hd_node *n = &g->node[at];
    const hd_layer_policy *o = hd_policy_of(p->policy, layer);
    int explicit = hd_pass_is_explicit(p, layer, p->policy->base.recipe.outliers > 0), *first = hd_channel_index(g);
    /* channels before flattening: what an input's pixels belong to */
    size_t per = n->groups == 1 ? hd_layer_taps(g, n) : 1;
    int channels = (int)(hd_layer_columns(n) / per), found = 0;
    float times = o->recipe.outliers;
    float *absmax = first ? malloc((size_t)first[g->n_tensors] * sizeof *absmax) : NULL, *most = calloc(2 * (size_t)channels, sizeof *most);
    uint8_t *large = calloc((size_t)channels, 1);
    splitter x = {.p = p, .g = g, .at = at, .large = large, .err = err};
    hd_status s = first && absmax && most && large ? hd_channel_absmax(absmax, p, first, err) : no_memory(&x);
    const char *why = n->groups > 1 ? "it is a grouped convolution" : NULL;
    if (!s && !why) {
        for (size_t j = 0; j < hd_layer_columns(n); j++)
            most[j / per] = fmaxf(most[j / per], absmax[first[n->input[0]] + hd_layer_channel(g, n, 0, j)]);
        found = mark(large, most, channels, times, most + channels);
        why = obstacle(g, n->input[0]);
    }
    if (!s && why && explicit && (found || n->groups > 1)) s = hd_fail(err, HD_UNSUPPORTED, "layer '%s': its outliers cannot go their own way: %s", layer, why);
    else if (!s && (why || !found)) s = hd_pass_leave(p, layer, unsplit) ? HD_OK : no_memory(&x);
    else if (!s) {
        s = split(&x, channels);
        if (!s) remove_dead(g);
    }
    free(first);
    free(absmax);
    free(most);
    free(large);
    return s;
}

hd_status hd_pass_outliers(hd_pass *p, hd_err *err) {
    /* Layers by name: their indices move. */
    int count_names = 0;
    char **names = calloc((size_t)p->g->n_nodes, sizeof *names);
    hd_status s = names ? HD_OK : hd_fail(err, HD_NOMEM, "network '%s': no memory to split its layers", p->g->name);
    for (int i = 0; !s && i < p->g->n_nodes; i++) {
        const hd_node *n = &p->g->node[i];
        if (!is_layer(n) || !(hd_policy_of(p->policy, n->name)->recipe.outliers > 0)) continue;
        if (!(names[count_names++] = strdup(n->name))) s = hd_fail(err, HD_NOMEM, "network '%s': no memory to split its layers", p->g->name);
    }
    for (int i = 0; !s && i < count_names; i++) s = visit(p, names[i], err);
    for (int i = 0; i < count_names; i++) free(names[i]);
    free(names);
    return s;
}
