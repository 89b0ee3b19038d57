/* The pass behind the methods svd, tucker, cp and tt: a layer becomes a chain of layers (factor.h), with `residual` beside what the chain leaves over.
 *
 * In the order of execution: the second moment of a layer's inputs is measured in the network whose earlier layers are factored already, and the chain
 * aims at the outputs of the network before the pass: T = (Y X^T + d W)(X X^T + d I)^-1, means apart, which the bias brings together again. With a
 * residual nothing is lost, so the chain aims at W itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../graph/graph_edit.h"
#include "compress_internal.h"
#include "factor.h"
#include "factor_inputs.h"
#include "pass_internal.h"

static hd_status no_memory(const hd_node *n, hd_err *err) { return hd_fail(err, HD_NOMEM, "node '%s': out of memory", n->name); }

/* The name of link i: of the first, the last one, and those between. */
static const char *link_name(const hd_chain *c, int i) {
    const hd_link *l = &c->link[i];
    return i == 0 ? "down" : i == c->n - 1 ? "up" : l->kh > 1 && l->kw > 1 ? "core" : l->kh > 1 ? "column" : "row";
}

static hd_shape shape_after(const hd_graph *g, const hd_node *layer, hd_shape in, const hd_link *l) {
    hd_shape out = g->tensor[layer->output].shape;
    return (hd_shape){l->cout, l->along_y ? out.h : in.h, l->along_x ? out.w : in.w};
}

/* Kernel, stride, padding and dilation of a link of `layer`. */
static void set_window(hd_node *n, const hd_node *layer, const hd_link *l) {
    n->kh = l->kh;
    n->kw = l->kw;
    n->groups = l->groups;
    n->cin = l->cin;
    n->cout = l->cout;
    n->sy = l->along_y ? layer->sy : 1;
    n->dy = l->along_y ? layer->dy : 1;
    n->pad_top = l->along_y ? layer->pad_top : 0;
    n->pad_bottom = l->along_y ? layer->pad_bottom : 0;
    n->sx = l->along_x ? layer->sx : 1;
    n->dx = l->along_x ? layer->dx : 1;
    n->pad_left = l->along_x ? layer->pad_left : 0;
    n->pad_right = l->along_x ? layer->pad_right : 0;
}

static int set_weights(hd_node *n, const double *w) {
    size_t count = hd_node_weights(n);
    float *copy = malloc(count * sizeof *copy);
    if (!copy) return 0;
    for (size_t i = 0; i < count; i++) copy[i] = (float)w[i];
    free(n->weight);
    n->weight = copy;
    return 1;
}

static void keep_whole(hd_recipe *r) {
    r->factor = HD_FACTOR_NONE;
    r->rank = 0;
    r->residual = 0;
}

/* How a link is stored. Beside a residual: 8 bits, dense. Else like the layer; a depthwise link has no blocks of inputs to remove. Only what reads the
 * layer's own inputs keeps the steps that are about them. */
static hd_layer_policy link_policy(const hd_layer_policy *layer, const hd_link *l, int first) {
    hd_layer_policy o = *layer;
    keep_whole(&o.recipe);
    if (!first) {
        o.recipe.outliers = 0;
        o.recipe.fold = HD_FOLD_NONE;
    }
    if (l && l->groups > 1) o.skip_sparsity = 1;
    if (!l || !layer->recipe.residual) return o;
    o.bits = 8;
    o.grid = -1;
    o.granularity = HD_GRANULARITY_CHANNEL;
    o.group_size = 0;
    o.skip_sparsity = 1;
    if (o.recipe.solver != HD_METHOD_RTN) o.recipe.solver = HD_METHOD_GPTQ;
    return o;
}

/* Puts the links first..last-1 before node `at`; *tensor is what the next one reads. Returns the layer's new index, -1 on failure. */
static int insert_links(hd_pass *p, int at, const hd_chain *c, int last, const hd_layer_policy *o, int *tensor) {
    hd_graph *g = p->g;
    for (int i = 0; i < last; i++, at++) {
        char name[300];
        snprintf(name, sizeof name, "%.280s.%s", g->node[at].name, link_name(c, i));
        hd_shape shape = shape_after(g, &g->node[at], g->tensor[*tensor].shape, &c->link[i]);
        hd_op op = g->node[at].op;
        int made = hd_graph_add_unique_tensor(g, name, shape);
        if (made < 0 || hd_graph_insert_node(g, at, op, name) < 0) return -1;
        hd_node *n = &g->node[at];
        n->input[0] = *tensor;
        n->output = *tensor = made;
        if (op == HD_OP_CONV2D) set_window(n, &g->node[at + 1], &c->link[i]);
        else set_window(n, n, &c->link[i]);
        hd_layer_policy own = link_policy(o, &c->link[i], i == 0);
        if (!set_weights(n, c->link[i].w) || !hd_policy_add(p->policy, n->name, &own)) return -1;
    }
    return at;
}

/* The layer itself becomes the last link, with the bias that brings the means together. */
static int become_last(hd_pass *p, int at, const hd_chain *c, const double *w, const hd_layer_inputs *x, const hd_layer_policy *o, int tensor) {
    hd_node *n = &p->g->node[at];
    const hd_link *l = &c->link[c->n - 1];
    hd_layer_policy own = link_policy(o, l, 0);
    hd_node layer = *n;
    n->input[0] = tensor;
    set_window(n, &layer, l);
    if (!n->bias && !(n->bias = calloc((size_t)n->cout, sizeof *n->bias))) return 0;
    for (int oc = 0; oc < x->out; oc++) {
        double b = x->mean[x->in + oc];
        for (int i = 0; i < x->in; i++) b -= w[(size_t)oc * (size_t)x->in + (size_t)i] * x->mean[i];
        n->bias[oc] = (float)b;
    }
    return set_weights(n, l->w) && hd_policy_add(p->policy, n->name, &own);
}

/* The layer keeps what the chain's composition w leaves over, and an addition behind it brings both together. */
static int become_residual(hd_pass *p, int at, const double *w, const hd_layer_policy *o, int tensor) {
    hd_graph *g = p->g;
    hd_node *n = &g->node[at];
    hd_layer_policy own = link_policy(o, NULL, 1);
    char name[300];
    for (size_t i = 0; i < hd_node_weights(n); i++) n->weight[i] = (float)((double)n->weight[i] - w[i]);
    int whole = n->output;
    snprintf(name, sizeof name, "%.280s.rest", n->name);
    int rest = hd_graph_add_unique_tensor(g, name, g->tensor[whole].shape);
    if (rest < 0 || !hd_policy_add(p->policy, n->name, &own)) return 0;
    n->output = rest;
    snprintf(name, sizeof name, "%.280s.sum", n->name);
    if (hd_graph_insert_node(g, at + 1, HD_OP_ADD_TENSOR, name) < 0) return 0;
    g->node[at + 1].input[0] = tensor;
    g->node[at + 1].input[1] = rest;
    g->node[at + 1].output = whole;
    return 1;
}

/* The composition as the graph's floats compute it. */
static int rounded_kernel(double *w, hd_chain *c) {
    for (int i = 0; i < c->n; i++) {
        hd_link *l = &c->link[i];
        size_t n = (size_t)l->cout * (size_t)(l->cin / l->groups) * (size_t)l->kh * (size_t)l->kw;
        for (size_t k = 0; k < n; k++) l->w[k] = (double)(float)l->w[k];
    }
    return hd_chain_kernel(w, c);
}

/* Returns the index after everything that stands for node `at` now in *next. */
static hd_status factor_layer(hd_pass *p, int at, const hd_graph *before, hd_layer_policy o, int *next, hd_err *err) {
    const hd_node *n = &p->g->node[at];
    hd_layer_inputs x = {0};
    hd_chain c = {0};
    int conv = n->op == HD_OP_CONV2D, tensor = n->input[0];
    size_t count = hd_node_weights(n);
    double *t = malloc(2 * count * sizeof *t), *w = t + count;
    hd_status s = t ? hd_layer_inputs_measure(&x, p, at, before, n->output, err) : no_memory(n, err);
    for (size_t i = 0; !s && i < count; i++) t[i] = (double)n->weight[i];
    if (!s && !o.recipe.residual) s = hd_layer_inputs_target(t, n, &x, err);
    hd_kernel k = {.name = n->name, .out = n->cout, .in = n->cin, .kh = conv ? n->kh : 1, .kw = conv ? n->kw : 1, .w = t, .h = x.h};
    if (!s) s = hd_factor_share(&c, &k, o.recipe.factor, (double)o.recipe.rank, err);
    if (!s && !rounded_kernel(w, &c)) s = no_memory(n, err);
    if (!s) {
        int links = o.recipe.residual ? c.n : c.n - 1, layer = insert_links(p, at, &c, links, &o, &tensor);
        int good = layer >= 0 && (o.recipe.residual ? become_residual(p, layer, w, &o, tensor) : become_last(p, layer, &c, w, &x, &o, tensor));
        *next = layer + 1 + o.recipe.residual;
        if (!good) s = hd_fail(err, HD_NOMEM, "network '%s': no memory for a layer's factors", p->g->name);
    }
    hd_layer_inputs_free(&x);
    hd_chain_free(&c);
    free(t);
    return s;
}

/* Factoring mixes all inputs of a layer; groups that must not be mixed are for others. */
static hd_status leave_grouped(hd_pass *p, hd_err *err) {
    for (int i = 0; i < p->g->n_nodes; i++) {
        const hd_node *n = &p->g->node[i];
        if (!hd_node_weights(n) || n->op != HD_OP_CONV2D || n->groups == 1 || !hd_policy_of(p->policy, n->name)->recipe.factor) continue;
        if (hd_pass_is_explicit(p, n->name, p->policy->base.recipe.factor != HD_FACTOR_NONE))
            return hd_fail(err, HD_UNSUPPORTED, "layer '%s': a convolution of %d groups is not factored; allowed is 1 group", n->name, n->groups);
        if (!hd_pass_leave(p, n->name, keep_whole)) return no_memory(n, err);
    }
    return HD_OK;
}

hd_status hd_pass_factor(hd_pass *p, hd_err *err) {
    hd_status s = leave_grouped(p, err);
    int any = 0;
    for (int i = 0; i < p->g->n_nodes; i++) any |= hd_node_weights(&p->g->node[i]) && hd_policy_of(p->policy, p->g->node[i].name)->recipe.factor;
    if (s || !any) return s;
    hd_graph *before = hd_graph_clone(p->g);
    if (!before) s = hd_fail(err, HD_NOMEM, "network '%s': out of memory", p->g->name);
    for (int i = 0; !s && i < p->g->n_nodes;) {
        int next = i + 1;
        const hd_layer_policy *o = hd_policy_of(p->policy, p->g->node[i].name);
        if (hd_node_weights(&p->g->node[i]) && o->recipe.factor) s = factor_layer(p, i, before, *o, &next, err);
        i = next;
    }
    hd_graph_free(before);
    return s;
}
