/* A student of a smaller shape: the channels that matter least leave, the rest keep their weights. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tune.h"

/* Channels of a tensor that stay, by their old numbers, rising. */
typedef struct kept {
    int *channel, n;
} kept;

typedef struct channel {
    double norm;
    int index;
} channel;

static int falling(const void *a, const void *b) {
    const channel *x = a, *y = b;
    if (x->norm != y->norm) return x->norm > y->norm ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int by_index(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/* The n channels of largest weights (squared L2). */
static hd_status choose(kept *k, const hd_node *t, int n, hd_err *err) {
    size_t inputs = hd_node_weights(t) / (size_t)t->cout;
    channel *c = calloc((size_t)t->cout, sizeof *c);
    k->n = n;
    k->channel = calloc((size_t)n, sizeof *k->channel);
    if (c && k->channel) {
        for (int oc = 0; oc < t->cout; oc++) {
            c[oc].index = oc;
            for (size_t i = 0; i < inputs; i++) c[oc].norm += (double)t->weight[(size_t)oc * inputs + i] * (double)t->weight[(size_t)oc * inputs + i];
        }
        qsort(c, (size_t)t->cout, sizeof *c, falling);
        for (int i = 0; i < n; i++) k->channel[i] = c[i].index;
        qsort(k->channel, (size_t)n, sizeof *k->channel, by_index);
    }
    free(c);
    return k->channel ? HD_OK : hd_fail(err, HD_NOMEM, "node '%s': no memory to choose channels", t->name);
}

/* Each channel of `from` becomes `each` values of a flat tensor. */
static hd_status spread(kept *k, const kept *from, int each, const hd_node *t, hd_err *err) {
    k->n = from->n * each;
    k->channel = calloc((size_t)k->n, sizeof *k->channel);
    if (!k->channel) return hd_fail(err, HD_NOMEM, "node '%s': no memory to choose channels", t->name);
    for (int i = 0; i < k->n; i++) k->channel[i] = from->channel[i / each] * each + i % each;
    return HD_OK;
}

/* Rows `out` and input channels `in` of the node's [cout][cin][taps] stay. */
static void cut(hd_node *t, const kept *out, const kept *in) {
    size_t taps = hd_node_weights(t) / (size_t)t->cout / (size_t)t->cin, at = 0;
    for (int o = 0; o < out->n; o++) {
        for (int i = 0; i < in->n; i++, at += taps)
            memmove(t->weight + at, t->weight + ((size_t)out->channel[o] * (size_t)t->cin + (size_t)in->channel[i]) * taps, taps * sizeof *t->weight);
        if (t->bias) t->bias[o] = t->bias[out->channel[o]];
    }
    t->cout = out->n;
    t->cin = in->n;
}

static hd_status narrow_node(hd_graph *g, const hd_graph *old, kept *k, int i, int last, float share, hd_err *err) {
    hd_node *t = &g->node[i];
    const kept *in = &k[t->input[0]];
    hd_shape shape = old->tensor[t->input[0]].shape;
    kept *to = &k[t->output], flat = {0};
    hd_status s = HD_OK;
    if (t->weight) {
        if (t->groups != 1) return hd_fail(err, HD_UNSUPPORTED, "node '%s': %d groups; narrowing allows 1", t->name, t->groups);
        int n = i == last ? t->cout : (int)ceilf(share * (float)t->cout);
        s = choose(to, t, n < 1 ? 1 : n, err);
        if (!s && t->op == HD_OP_FC) s = spread(&flat, in, shape.h * shape.w, t, err);
        if (!s) cut(t, to, t->op == HD_OP_FC ? &flat : in);
        free(flat.channel);
    } else if (t->op == HD_OP_ADD_TENSOR) {
        return hd_fail(err, HD_UNSUPPORTED, "node '%s': an addition ties the channels of two layers; narrowing allows chains", t->name);
    } else
        s = spread(to, in, t->op == HD_OP_FLATTEN ? shape.h * shape.w : 1, t, err);
    if (!s) g->tensor[t->output].shape.c = to->n;
    return s;
}

hd_status hd_narrow(hd_graph **out, const hd_graph *g, float share, hd_err *err) {
    *out = NULL;
    hd_status s = hd_graph_check(g, err);
    if (s) return s;
    if (!(share > 0) || share > 1) return hd_fail(err, HD_RANGE, "narrowing: share %g of the channels; above 0, at most 1 is allowed", (double)share);
    hd_graph *small = hd_graph_clone(g);
    kept *k = calloc((size_t)g->n_tensors, sizeof *k), one = {.channel = &(int){0}, .n = 1};
    int last = -1;
    for (int i = 0; i < g->n_nodes; i++)
        if (g->node[i].weight) last = i;
    s = small && k ? spread(&k[g->input], &one, g->tensor[g->input].shape.c, &g->node[0], err) : hd_fail(err, HD_NOMEM, "%s: no memory for a narrow copy", g->name);
    for (int i = 0; i < g->n_nodes && !s; i++) s = narrow_node(small, g, k, i, last, share, err);
    for (int i = 0; i < g->n_tensors && k; i++) free(k[i].channel);
    free(k);
    if (!s) s = hd_graph_check(small, err);
    if (s && small) hd_graph_free(small);
    if (!s) *out = small;
    return s;
}
