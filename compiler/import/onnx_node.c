/* What the operators share: messages, attributes, inputs, and adding to the graph. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx_internal.h"

static const char *text(const char *s) { return s ? s : ""; }

static const char *node_name(const hd_onnx *o, int n) {
    const Onnx__NodeProto *p = o->node[n].p;
    if (p->name && p->name[0]) return p->name;
    return p->n_output ? p->output[0] : "";
}

hd_status hd_onnx_fail(const hd_onnx *o, int n, hd_err *err, hd_status code, const char *format, ...) {
    char detail[400];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    return hd_fail(err, code, "%s: node '%s' (%s): %s", o->label, node_name(o, n), text(o->node[n].p->op_type), detail);
}

const Onnx__AttributeProto *hd_onnx_attribute(const hd_onnx *o, int n, const char *name) {
    const Onnx__NodeProto *p = o->node[n].p;
    for (size_t k = 0; k < p->n_attribute; k++)
        if (strcmp(text(p->attribute[k]->name), name) == 0) return p->attribute[k];
    return NULL;
}

static hd_status wrong_type(const hd_onnx *o, int n, const char *name, const char *want, hd_err *err) {
    return hd_onnx_fail(o, n, err, HD_FORMAT, "attribute '%s' has the wrong type; %s is expected", name, want);
}

hd_status hd_onnx_int(int64_t *v, const hd_onnx *o, int n, const char *name, int64_t fallback, hd_err *err) {
    const Onnx__AttributeProto *a = hd_onnx_attribute(o, n, name);
    *v = fallback;
    if (!a) return HD_OK;
    if (a->type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT || !a->has_i) return wrong_type(o, n, name, "an integer", err);
    *v = a->i;
    return HD_OK;
}

hd_status hd_onnx_float(float *v, const hd_onnx *o, int n, const char *name, float fallback, hd_err *err) {
    const Onnx__AttributeProto *a = hd_onnx_attribute(o, n, name);
    *v = fallback;
    if (!a) return HD_OK;
    if (a->type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT || !a->has_f) return wrong_type(o, n, name, "a float", err);
    *v = a->f;
    return HD_OK;
}

hd_status hd_onnx_ints(const int64_t **v, size_t *count, const hd_onnx *o, int n, const char *name, hd_err *err) {
    const Onnx__AttributeProto *a = hd_onnx_attribute(o, n, name);
    *v = NULL;
    *count = 0;
    if (!a) return HD_OK;
    if (a->type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS) return wrong_type(o, n, name, "a list of integers", err);
    *v = a->ints;
    *count = a->n_ints;
    return HD_OK;
}

hd_status hd_onnx_charge(hd_onnx *o, int n, size_t bytes, hd_err *err) {
    if (bytes > o->left) return hd_onnx_fail(o, n, err, HD_RANGE, "copies of constants shared by several nodes take more memory than a model of this size may");
    o->left -= bytes;
    return HD_OK;
}

hd_status hd_onnx_floats(float **to, hd_onnx *o, int n, const float *from, size_t count, hd_err *err) {
    hd_status status = hd_onnx_charge(o, n, count * sizeof **to, err);
    if (status != HD_OK) return status;
    *to = malloc(count * sizeof **to + 1);
    if (!*to) return hd_onnx_fail(o, n, err, HD_NOMEM, "no memory for %zu weights", count);
    if (from) memcpy(*to, from, count * sizeof **to);
    return HD_OK;
}

hd_status hd_onnx_const_copy(hd_onnx_const *to, hd_onnx *o, int n, const hd_onnx_const *from, hd_err *err) {
    size_t bytes = from->count * (from->is_float ? sizeof(float) : sizeof(int64_t));
    *to = *from;
    to->f = to->scale = NULL;
    to->i = NULL;
    hd_status status = hd_onnx_charge(o, n, bytes, err);
    if (status != HD_OK) return status;
    void *data = malloc(bytes + 1);
    if (!data) return hd_onnx_fail(o, n, err, HD_NOMEM, "no memory for a constant of %zu bytes", bytes);
    if (bytes) memcpy(data, from->is_float ? (const void *)from->f : (const void *)from->i, bytes);
    if (from->is_float) to->f = data;
    else to->i = data;
    return HD_OK;
}

hd_status hd_onnx_any(hd_onnx_value **v, hd_onnx *o, int n, int k, hd_err *err) {
    const hd_onnx_node *node = &o->node[n];
    *v = NULL;
    if ((size_t)k >= node->p->n_input || node->in[k] < 0) return hd_onnx_fail(o, n, err, HD_FORMAT, "input %d is missing", k);
    hd_onnx_value *found = &o->value[node->in[k]];
    if (found->kind == HD_ONNX_PENDING && found->stored) {
        hd_status status = hd_onnx_const_read(&found->constant, found->stored, o->label, err);
        if (status != HD_OK) return status;
        found->kind = HD_ONNX_CONST;
    }
    if (found->kind == HD_ONNX_PENDING)
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "input %d '%s' is a further output of a node; only first outputs are supported", k, found->name);
    *v = found;
    return HD_OK;
}

hd_status hd_onnx_input(hd_onnx_value **v, hd_onnx *o, int n, int k, hd_err *err) {
    hd_status status = hd_onnx_any(v, o, n, k, err);
    if (status != HD_OK || (*v)->kind == HD_ONNX_TENSOR) return status;
    return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "input %d '%s' is a constant; it must be computed from the network's input", k, (*v)->name);
}

hd_status hd_onnx_constant(const hd_onnx_const **c, hd_onnx *o, int n, int k, int optional, hd_err *err) {
    const hd_onnx_node *node = &o->node[n];
    *c = NULL;
    if (optional && ((size_t)k >= node->p->n_input || node->in[k] < 0)) return HD_OK;
    hd_onnx_value *v;
    hd_status status = hd_onnx_any(&v, o, n, k, err);
    if (status != HD_OK) return status;
    if (v->kind != HD_ONNX_CONST)
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "input %d '%s' is computed by the network; it must be a constant", k, v->name);
    *c = &v->constant;
    return HD_OK;
}

hd_status hd_onnx_float_constant(const hd_onnx_const **c, hd_onnx *o, int n, int k, int optional, hd_err *err) {
    hd_status status = hd_onnx_constant(c, o, n, k, optional, err);
    if (status != HD_OK || !*c || (*c)->is_float) return status;
    return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "input %d '%s' holds integers; floats are expected", k, o->value[o->node[n].in[k]].name);
}

hd_shape hd_onnx_shape(const hd_onnx_value *v) {
    hd_shape s = {(int)v->dim[1], 1, 1};
    if (v->rank == 3) s.w = (int)v->dim[2];
    if (v->rank == 4) s.h = (int)v->dim[2], s.w = (int)v->dim[3];
    return s;
}

int hd_onnx_sole(const hd_onnx_value *v) { return v->uses == 1 && !v->shared && v->node >= 0; }

hd_status hd_onnx_rename(hd_onnx *o, int t, const char *name, hd_err *err) {
    size_t size = strlen(name) + 1;
    char *copy = malloc(size);
    if (!copy) return hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
    memcpy(copy, name, size);
    free(o->g->tensor[t].name);
    o->g->tensor[t].name = copy;
    return HD_OK;
}

hd_status hd_onnx_emit(hd_node **out, hd_onnx *o, int n, hd_op op, const hd_onnx_value *x, hd_shape shape, int rank, hd_err *err) {
    *out = NULL;
    if (o->node[n].p->n_output == 0 || o->node[n].out[0] < 0) return hd_onnx_fail(o, n, err, HD_FORMAT, "output 0 has no name");
    hd_onnx_value *y = &o->value[o->node[n].out[0]];
    if (shape.c < 1 || shape.h < 1 || shape.w < 1 || shape.h > HD_ONNX_MAX_ELEMENTS / shape.w || shape.c > HD_ONNX_MAX_ELEMENTS / shape.w / shape.h)
        return hd_onnx_fail(o, n, err, HD_RANGE, "output of %d x %d x %d; sizes are positive and at most %d elements are allowed", shape.c, shape.h, shape.w, HD_ONNX_MAX_ELEMENTS);
    int tensor = hd_graph_add_tensor(o->g, y->name, shape);
    int node = tensor < 0 ? -1 : hd_graph_add_node(o->g, op, node_name(o, n));
    if (node < 0) return hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
    hd_node *made = &o->g->node[node];
    made->input[0] = x->tensor;
    made->output = tensor;
    y->kind = HD_ONNX_TENSOR;
    y->tensor = tensor;
    y->node = node;
    y->shared = 0;
    if (rank) {
        y->rank = rank;
        int64_t dim[4] = {1, shape.c, rank == 3 ? shape.w : shape.h, rank == 3 ? 1 : shape.w};
        memcpy(y->dim, dim, sizeof dim);
    } else {
        y->rank = x->rank;
        memcpy(y->dim, x->dim, sizeof y->dim);
    }
    *out = made;
    return HD_OK;
}

hd_status hd_onnx_alias(hd_onnx *o, int n, const hd_onnx_value *x, int rank, const int64_t *dim, hd_err *err) {
    if (o->node[n].p->n_output == 0 || o->node[n].out[0] < 0) return hd_onnx_fail(o, n, err, HD_FORMAT, "output 0 has no name");
    hd_onnx_value *y = &o->value[o->node[n].out[0]];
    y->kind = HD_ONNX_TENSOR;
    y->tensor = x->tensor;
    y->node = x->node;
    y->shared = x->shared || x->uses > 1;
    y->rank = dim ? rank : x->rank;
    for (int k = 0; k < 4; k++) y->dim[k] = dim ? (k < rank ? dim[k] : 1) : x->dim[k];
    return HD_OK;
}

hd_status hd_onnx_materialise(hd_onnx *o, int n, hd_onnx_value *v, hd_err *err) {
    hd_shape is = o->g->tensor[v->tensor].shape, want = hd_onnx_shape(v);
    if (is.c == want.c && is.h == want.h && is.w == want.w) return HD_OK;
    if (want.h != 1 || want.w != 1)
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "input '%s' is a %d x %d x %d tensor reshaped to %d x %d x %d; only reshaping to a flat one is supported",
                            v->name, is.c, is.h, is.w, want.c, want.h, want.w);
    int tensor = hd_graph_add_tensor(o->g, v->name, want);
    int node = tensor < 0 ? -1 : hd_graph_add_node(o->g, HD_OP_FLATTEN, v->name);
    if (node < 0) return hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
    o->g->node[node].input[0] = v->tensor;
    o->g->node[node].output = tensor;
    v->tensor = tensor;
    v->node = node;
    v->shared = 0;
    return HD_OK;
}
