/* Elementwise functions and softmax. They work on the tensor behind a view: the order of the elements is the same. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "onnx_internal.h"

static hd_status elementwise(hd_node **node, hd_onnx_value **x, hd_onnx *o, int n, hd_op op, hd_err *err) {
    hd_status status = hd_onnx_input(x, o, n, 0, err);
    if (status != HD_OK) return status;
    return hd_onnx_emit(node, o, n, op, *x, o->g->tensor[(*x)->tensor].shape, 0, err);
}

static hd_status bound(float *to, hd_onnx *o, int n, int input, hd_err *err) {
    const hd_onnx_const *c;
    hd_status status = hd_onnx_float_constant(&c, o, n, input, 1, err);
    if (status != HD_OK || !c) return status;
    if (c->count != 1) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "input %d has %zu elements; a bound must have 1", input, c->count);
    *to = c->f[0];
    return HD_OK;
}

hd_status hd_onnx_clip(hd_onnx *o, int n, hd_err *err) {
    const char *type = o->node[n].p->op_type;
    float lo = -INFINITY, hi = INFINITY;
    hd_status status = HD_OK;
    if (strcmp(type, "Relu") == 0) lo = 0;
    else if (o->opset < 11) {
        status = hd_onnx_float(&lo, o, n, "min", lo, err);
        if (status == HD_OK) status = hd_onnx_float(&hi, o, n, "max", hi, err);
    } else {
        status = bound(&lo, o, n, 1, err);
        if (status == HD_OK) status = bound(&hi, o, n, 2, err);
    }
    if (status != HD_OK) return status;
    /* The largest floats are how exporters write "no bound". */
    if (lo <= -FLT_MAX) lo = -INFINITY;
    if (hi >= FLT_MAX) hi = INFINITY;
    if (!(lo <= hi)) return hd_onnx_fail(o, n, err, HD_RANGE, "bounds %g and %g; the lower must not pass the upper", (double)lo, (double)hi);
    hd_node *node;
    hd_onnx_value *x;
    status = elementwise(&node, &x, o, n, HD_OP_CLIP, err);
    if (status != HD_OK) return status;
    node->lo = lo;
    node->hi = hi;
    return HD_OK;
}

static const struct function {
    const char *type;
    hd_fn fn;
    int parameters;
    float alpha, beta;
} functions[] = {
    {"Sigmoid", HD_FN_SIGMOID, 0, 0, 0},   {"Tanh", HD_FN_TANH, 0, 0, 0},           {"LeakyRelu", HD_FN_LEAKY_RELU, 1, 0.01f, 0},
    {"Elu", HD_FN_ELU, 1, 1.0f, 0},        {"HardSigmoid", HD_FN_HARD_SIGMOID, 2, 0.2f, 0.5f},
    {"HardSwish", HD_FN_HARD_SWISH, 0, 0, 0}, {"Softplus", HD_FN_SOFTPLUS, 0, 0, 0}, {"Exp", HD_FN_EXP, 0, 0, 0},
    {"Abs", HD_FN_ABS, 0, 0, 0},           {"Neg", HD_FN_NEG, 0, 0, 0},             {"Sqrt", HD_FN_SQRT, 0, 0, 0},
    {"Gelu", HD_FN_GELU, 0, 0, 0},
};

hd_status hd_onnx_unary(hd_onnx *o, int n, hd_err *err) {
    const struct function *f = functions;
    while (strcmp(f->type, o->node[n].p->op_type)) f++;
    float alpha = f->alpha, beta = f->beta;
    hd_status status = HD_OK;
    if (f->parameters > 0) status = hd_onnx_float(&alpha, o, n, "alpha", alpha, err);
    if (status == HD_OK && f->parameters > 1) status = hd_onnx_float(&beta, o, n, "beta", beta, err);
    if (status != HD_OK) return status;
    const Onnx__AttributeProto *a = hd_onnx_attribute(o, n, "approximate");
    if (a && !(a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING && a->s.len == 4 && memcmp(a->s.data, "none", 4) == 0))
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "attribute 'approximate' must be 'none'");
    hd_node *node;
    hd_onnx_value *x;
    status = elementwise(&node, &x, o, n, HD_OP_UNARY, err);
    if (status != HD_OK) return status;
    node->fn = f->fn;
    node->alpha = alpha;
    node->beta = beta;
    return HD_OK;
}

/* PRelu with one slope for everything is LeakyRelu. */
hd_status hd_onnx_prelu(hd_onnx *o, int n, hd_err *err) {
    const hd_onnx_const *slope;
    hd_status status = hd_onnx_float_constant(&slope, o, n, 1, 0, err);
    if (status != HD_OK) return status;
    for (size_t k = 1; k < slope->count; k++)
        if (slope->f[k] != slope->f[0]) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "has different slopes (%g, %g); one for all channels is supported", (double)slope->f[0], (double)slope->f[k]);
    if (slope->count == 0) return hd_onnx_fail(o, n, err, HD_FORMAT, "has no slope");
    hd_node *node;
    hd_onnx_value *x;
    status = elementwise(&node, &x, o, n, HD_OP_UNARY, err);
    if (status != HD_OK) return status;
    node->fn = HD_FN_LEAKY_RELU;
    node->alpha = slope->f[0];
    return HD_OK;
}

hd_status hd_onnx_softmax(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    int64_t axis;
    hd_status status = hd_onnx_input(&x, o, n, 0, err);
    if (status == HD_OK) status = hd_onnx_int(&axis, o, n, "axis", o->opset < 13 ? 1 : -1, err);
    if (status != HD_OK) return status;
    if (axis < -x->rank || axis >= x->rank) return hd_onnx_fail(o, n, err, HD_RANGE, "axis %lld; the input has %d dimensions", (long long)axis, x->rank);
    if (axis < 0) axis += x->rank;
    /* Up to opset 12 the axis and all after it are taken together. */
    int64_t covered = 1, all = 1;
    for (int k = 0; k < x->rank; k++) {
        all *= x->dim[k];
        if (k == axis || (o->opset < 13 && k > axis)) covered *= x->dim[k];
    }
    if (covered != all)
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "normalises %lld of %lld elements at a time; only softmax over all elements is supported", (long long)covered, (long long)all);
    hd_node *node;
    return elementwise(&node, &x, o, n, HD_OP_SOFTMAX, err);
}
