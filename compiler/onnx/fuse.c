/* Exporters write some functions out in simple operators. Where the result of one is used as a whole, one node stands for them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cut.h"

/* The one live node that reads value v, or -1. */
static int only_reader(const hd_cut *c, int v) {
    int found = -1;
    if (c->value[v].output) return -1;
    for (int k = 0; k < c->n_nodes; k++)
        for (int j = 0; c->node[k].live && j < c->node[k].n_in; j++)
            if (c->node[k].in[j] == v) {
                if (found >= 0 && found != k) return -1;
                found = k;
            }
    return found;
}

static int is_op(const hd_cut *c, int node, const char *op) { return node >= 0 && c->node[node].live && strcmp(c->node[node].p->op_type, op) == 0; }

/* Is value v a constant whose elements all are x? */
static int holds(const hd_cut *c, int v, double x) {
    if (v < 0 || !c->value[v].constant || c->value[v].data.count == 0 || !hd_type_is_float(c->value[v].type)) return 0;
    hd_nd wide;
    if (hd_nd_cast(&wide, &c->value[v].data, HD_TYPE_F64, NULL) != HD_OK) return 0;
    int all = 1;
    for (size_t k = 0; k < wide.count; k++) all &= fabs(((double *)wide.data)[k] - x) <= 1e-5 * fabs(x) + 1e-12;
    hd_nd_free(&wide);
    return all;
}

/* Of a node with two inputs, the one beside the constant x; -1 when there is none. With `ordered`, x must come second. */
static int beside(const hd_cut *c, int node, double x, int ordered) {
    const hd_cut_node *n = &c->node[node];
    if (n->n_in != 2) return -1;
    if (holds(c, n->in[1], x)) return n->in[0];
    return !ordered && holds(c, n->in[0], x) ? n->in[1] : -1;
}

static float attribute(const hd_cut_node *n, const char *name, float fallback) {
    for (size_t k = 0; k < n->p->n_attribute; k++)
        if (strcmp(n->p->attribute[k]->name, name) == 0) return n->p->attribute[k]->f;
    return fallback;
}

static int clips_0_6(const hd_cut *c, int node) {
    const hd_cut_node *n = &c->node[node];
    if (c->opset < 11) return attribute(n, "min", -1) == 0 && attribute(n, "max", -1) == 6;
    return n->n_in == 3 && n->in[1] >= 0 && c->value[n->in[1]].constant && holds(c, n->in[2], 6) && holds(c, n->in[1], 0);
}

static char *copy(const char *s) {
    char *t = malloc(strlen(s) + 1);
    return t ? strcpy(t, s) : NULL;
}

/* A node `op` from value x to value y that stands for the members, the last of which writes y. */
static hd_status stand_for(hd_cut *c, const char *op, int x, int y, const int *member, int n, hd_err *err) {
    Onnx__NodeProto *p = malloc(sizeof *p);
    if (!p || c->n_nodes == c->capacity) {
        free(p);
        return hd_fail(err, HD_NOMEM, "%s: out of memory", c->label);
    }
    onnx__node_proto__init(p);
    p->input = calloc(1, sizeof *p->input);
    p->output = calloc(1, sizeof *p->output);
    hd_cut_node *made = &c->node[c->n_nodes];
    *made = (hd_cut_node){.p = p, .own = p, .n_in = 1, .n_out = 1, .live = 1, .member_of = -1, .in = malloc(sizeof(int)), .out = malloc(sizeof(int))};
    c->n_nodes++;
    p->op_type = copy(op);
    p->name = copy(hd_cut_node_name(&c->node[member[n - 1]]));
    if (!p->input || !p->output || !p->op_type || !p->name || !made->in || !made->out) return hd_fail(err, HD_NOMEM, "%s: out of memory", c->label);
    p->n_input = p->n_output = 1;
    p->input[0] = copy(c->value[x].name);
    p->output[0] = copy(c->value[y].name);
    if (!p->input[0] || !p->output[0]) return hd_fail(err, HD_NOMEM, "%s: out of memory", c->label);
    made->in[0] = x;
    made->out[0] = y;
    for (int k = 0; k < n; k++) {
        c->node[member[k]].live = 0;
        c->node[member[k]].member_of = c->n_nodes - 1;
        made->operations += c->node[member[k]].operations;
    }
    c->value[y].producer = c->n_nodes - 1;
    for (int k = c->n_nodes - 1; k > 0; k--) { /* behind the last member */
        c->order[k] = c->order[k - 1];
        if (c->order[k - 1] == member[n - 1]) {
            c->order[k] = c->n_nodes - 1;
            break;
        }
    }
    return HD_OK;
}

/* x clip(x + 3, 0, 6) / 6, with the division before or behind the product. */
static hd_status hard_swish(hd_cut *c, int add, hd_err *err) {
    int x = beside(c, add, 3, 0), clip = x < 0 ? -1 : only_reader(c, c->node[add].out[0]);
    if (!is_op(c, clip, "Clip") || !clips_0_6(c, clip)) return HD_OK;
    int next = only_reader(c, c->node[clip].out[0]), value = c->node[clip].out[0], member[5] = {add, clip}, n = 2, scaled = 0, multiplied = 0;
    while (next >= 0 && n < 4) {
        const hd_cut_node *node = &c->node[next];
        int other = node->n_in == 2 ? node->in[node->in[0] == value] : -1;
        if (!scaled && ((is_op(c, next, "Div") && beside(c, next, 6, 1) == value) || (is_op(c, next, "Mul") && beside(c, next, 1.0 / 6, 0) == value))) scaled = 1;
        else if (!multiplied && is_op(c, next, "Mul") && other == x) multiplied = 1;
        else break;
        member[n++] = next;
        value = node->out[0];
        if (scaled && multiplied) return stand_for(c, "HardSwish", x, value, member, n, err);
        next = only_reader(c, value);
    }
    return HD_OK;
}

/* x/2 (1 + erf(x / sqrt 2)), in any order of the two products. */
static hd_status gelu(hd_cut *c, int erf, hd_err *err) {
    int inside = c->node[erf].in[0], scale = c->value[inside].producer, member[5], n = 0, x = -1;
    if (scale < 0 || only_reader(c, inside) != erf) return HD_OK;
    if (is_op(c, scale, "Div")) x = beside(c, scale, 1.4142135623730951, 1);
    else if (is_op(c, scale, "Mul")) x = beside(c, scale, 0.70710678118654752, 0);
    int add = x < 0 ? -1 : only_reader(c, c->node[erf].out[0]);
    if (!is_op(c, add, "Add") || beside(c, add, 1, 0) != c->node[erf].out[0]) return HD_OK;
    member[n++] = scale, member[n++] = erf, member[n++] = add;
    int value = c->node[add].out[0], halved = 0, multiplied = 0;
    for (int next = only_reader(c, value); next >= 0 && n < 5; next = only_reader(c, value)) {
        const hd_cut_node *node = &c->node[next];
        if (!is_op(c, next, "Mul") || node->n_in != 2) break;
        int other = node->in[node->in[0] == value];
        if (!halved && beside(c, next, 0.5, 0) == value) halved = 1;
        else if (!multiplied && other == x) multiplied = 1;
        else break;
        member[n++] = next;
        value = node->out[0];
        if (halved && multiplied) return stand_for(c, "Gelu", x, value, member, n, err);
    }
    return HD_OK;
}

hd_status hd_cut_fuse(hd_cut *c, hd_err *err) {
    hd_status status = HD_OK;
    for (int k = 0, n = c->n_nodes; status == HD_OK && k < n; k++) {
        if (is_op(c, k, "Add")) status = hard_swish(c, k, err);
        else if (is_op(c, k, "Erf")) status = gelu(c, k, err);
    }
    return status;
}

void hd_cut_unfuse(hd_cut *c, int node) {
    if (!c->node[node].own || !c->node[node].live) return;
    c->node[node].live = 0;
    for (int k = 0; k < c->n_nodes; k++)
        if (c->node[k].member_of == node) {
            c->node[k].live = 1;
            c->node[k].member_of = -1;
            for (int j = 0; j < c->node[k].n_out; j++)
                if (c->node[k].out[j] >= 0) c->value[c->node[k].out[j]].producer = k;
        }
}
