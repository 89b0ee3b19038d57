/* What multiplies and adds constants a channel: BatchNormalization and arithmetic with constants. It is folded into the
 * convolution or fully connected layer before it where nothing else reads that layer; else it becomes a depthwise 1 x 1 convolution. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "onnx_internal.h"

/* A scalar may stand before many channels; weights made up for it are bounded. */
enum { MAX_AFFINE = 65536 };

static hd_status fold(hd_onnx *o, hd_node *node, const double *a, const double *b, hd_err *err) {
    size_t channels = (size_t)node->cout, inputs = hd_node_weights(node) / channels;
    if (!node->bias && !(node->bias = calloc(channels, sizeof(float)))) return hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
    for (size_t c = 0; c < channels; c++) {
        for (size_t i = 0; a[c] != 1.0 && i < inputs; i++) node->weight[c * inputs + i] = (float)(node->weight[c * inputs + i] * a[c]);
        node->bias[c] = (float)(node->bias[c] * a[c] + b[c]);
    }
    return HD_OK;
}

static hd_status depthwise(hd_onnx *o, int n, const hd_onnx_value *x, const double *a, const double *b, hd_err *err) {
    hd_node *node;
    hd_status status = hd_onnx_emit(&node, o, n, HD_OP_CONV2D, x, hd_onnx_shape(x), 0, err);
    if (status != HD_OK) return status;
    size_t channels = (size_t)x->dim[1];
    node->kh = node->kw = 1;
    node->cin = node->cout = node->groups = (int)channels;
    status = hd_onnx_floats(&node->weight, o, n, NULL, channels, err);
    if (status == HD_OK) status = hd_onnx_floats(&node->bias, o, n, NULL, channels, err);
    if (status != HD_OK) return status;
    for (size_t c = 0; c < channels; c++) {
        node->weight[c] = (float)a[c];
        node->bias[c] = (float)b[c];
    }
    return HD_OK;
}

/* Output 0 of n = a * x + b, a and b a channel. */
static hd_status affine(hd_onnx *o, int n, hd_onnx_value *x, const double *a, const double *b, hd_err *err) {
    hd_node *before = hd_onnx_sole(x) ? &o->g->node[x->node] : NULL;
    /* What was rounded to codes in between, or has integers as weights, stays as it is. */
    if (!before || (before->op != HD_OP_CONV2D && before->op != HD_OP_FC) || before->cout != x->dim[1] || before->weight_scale || o->g->tensor[x->tensor].scale > 0)
        return depthwise(o, n, x, a, b, err);
    hd_status status = fold(o, before, a, b, err);
    if (status == HD_OK) status = hd_onnx_alias(o, n, x, 0, NULL, err);
    if (status != HD_OK) return status;
    return hd_onnx_rename(o, x->tensor, o->value[o->node[n].out[0]].name, err);
}

static hd_status channels_of(size_t *channels, hd_onnx *o, int n, hd_onnx_value *x, hd_err *err) {
    hd_status status = hd_onnx_materialise(o, n, x, err);
    if (status != HD_OK) return status;
    *channels = (size_t)x->dim[1];
    if (*channels > MAX_AFFINE) return hd_onnx_fail(o, n, err, HD_RANGE, "a constant over %zu channels; at most %d are allowed", *channels, MAX_AFFINE);
    return HD_OK;
}

hd_status hd_onnx_batchnorm(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    const hd_onnx_const *c[5] = {0};
    float epsilon;
    int64_t training, spatial;
    size_t channels = 0;
    hd_status status = hd_onnx_input(&x, o, n, 0, err);
    for (int k = 1; status == HD_OK && k < 5; k++) status = hd_onnx_float_constant(&c[k], o, n, k, 0, err);
    if (status == HD_OK) status = hd_onnx_float(&epsilon, o, n, "epsilon", 1e-5f, err);
    if (status == HD_OK) status = hd_onnx_int(&training, o, n, "training_mode", 0, err);
    if (status == HD_OK) status = hd_onnx_int(&spatial, o, n, "spatial", 1, err);
    if (status == HD_OK) status = channels_of(&channels, o, n, x, err);
    if (status != HD_OK) return status;
    if (training || spatial != 1)
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "training_mode %lld, spatial %lld; 0 and 1 are supported", (long long)training, (long long)spatial);
    for (int k = 1; k < 5; k++)
        if (c[k]->count != channels) return hd_onnx_fail(o, n, err, HD_MISMATCH, "input %d has %zu elements; %zu channels need as many", k, c[k]->count, channels);
    double *a = malloc(2 * channels * sizeof *a);
    if (!a) return hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
    double *b = a + channels;
    for (size_t i = 0; status == HD_OK && i < channels; i++) {
        double variance = (double)c[4]->f[i] + (double)epsilon;
        if (!(variance > 0)) status = hd_onnx_fail(o, n, err, HD_RANGE, "variance of channel %zu is %g with epsilon; must be positive", i, variance);
        a[i] = (double)c[1]->f[i] / sqrt(variance);
        b[i] = (double)c[2]->f[i] - (double)c[3]->f[i] * a[i];
    }
    if (status == HD_OK) status = affine(o, n, x, a, b, err);
    free(a);
    return status;
}

/* Spreads constant c over the channels of x as ONNX broadcasts it (aligned at the last dimension). */
static hd_status broadcast(double *to, const hd_onnx *o, int n, const hd_onnx_value *x, const hd_onnx_const *c, hd_err *err) {
    int good = c->rank <= x->rank && c->count > 0;
    size_t channels = (size_t)x->dim[1], found = 1;
    for (int k = 0; good && k < c->rank; k++) {
        int axis = x->rank - c->rank + k;
        if (axis == 1 && c->dim[k] == x->dim[1]) found = channels;
        else if (c->dim[k] != 1) good = 0;
    }
    if (!good) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "the constant has %zu elements in %d dimensions; one value, or one a channel (%zu channels), is supported", c->count, c->rank, channels);
    for (size_t i = 0; i < channels; i++) to[i] = (double)c->f[found == 1 ? 0 : i];
    return HD_OK;
}

typedef enum arithmetic { ADD, SUB, RSUB, MUL, DIV } arithmetic;

static hd_status with_constant(hd_onnx *o, int n, hd_onnx_value *x, int constant_input, arithmetic kind, hd_err *err) {
    const hd_onnx_const *c;
    size_t channels = 0;
    hd_status status = hd_onnx_float_constant(&c, o, n, constant_input, 0, err);
    if (status == HD_OK) status = channels_of(&channels, o, n, x, err);
    if (status != HD_OK) return status;
    double *a = malloc(2 * channels * sizeof *a);
    if (!a) return hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
    double *b = a + channels;
    status = broadcast(b, o, n, x, c, err);
    for (size_t i = 0; status == HD_OK && i < channels; i++) {
        double v = b[i];
        a[i] = kind == MUL ? v : kind == DIV ? 1.0 / v : kind == RSUB ? -1.0 : 1.0;
        b[i] = kind == ADD || kind == RSUB ? v : kind == SUB ? -v : 0.0;
        if (!isfinite(a[i]) || !isfinite(b[i])) status = hd_onnx_fail(o, n, err, HD_RANGE, "the constant of channel %zu is %g, which gives no finite weight", i, v);
    }
    if (status == HD_OK) status = affine(o, n, x, a, b, err);
    free(a);
    return status;
}

/* Which of two inputs is the constant: 0 or 1, or -1 for none. */
static hd_status two_inputs(hd_onnx_value *v[2], int *constant, hd_onnx *o, int n, hd_err *err) {
    hd_status status = hd_onnx_any(&v[0], o, n, 0, err);
    if (status == HD_OK) status = hd_onnx_any(&v[1], o, n, 1, err);
    if (status != HD_OK) return status;
    *constant = v[0]->kind == HD_ONNX_CONST ? 0 : v[1]->kind == HD_ONNX_CONST ? 1 : -1;
    if (v[0]->kind == HD_ONNX_CONST && v[1]->kind == HD_ONNX_CONST)
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "both inputs are constants; arithmetic on constants alone is not supported");
    return HD_OK;
}

hd_status hd_onnx_add(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *v[2];
    int constant;
    hd_status status = two_inputs(v, &constant, o, n, err);
    if (status != HD_OK) return status;
    if (constant >= 0) return with_constant(o, n, v[1 - constant], constant, ADD, err);
    hd_shape a = hd_onnx_shape(v[0]), b = hd_onnx_shape(v[1]);
    if (v[0]->rank != v[1]->rank || a.c != b.c || a.h != b.h || a.w != b.w)
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "adds %d x %d x %d and %d x %d x %d; two computed inputs must have equal shapes", a.c, a.h, a.w, b.c, b.h, b.w);
    hd_shape s = o->g->tensor[v[0]->tensor].shape, t = o->g->tensor[v[1]->tensor].shape;
    if (s.c != t.c || s.h != t.h || s.w != t.w) {
        status = hd_onnx_materialise(o, n, v[0], err);
        if (status == HD_OK) status = hd_onnx_materialise(o, n, v[1], err);
        if (status != HD_OK) return status;
        s = o->g->tensor[v[0]->tensor].shape;
    }
    hd_node *node;
    status = hd_onnx_emit(&node, o, n, HD_OP_ADD_TENSOR, v[0], s, 0, err);
    if (status != HD_OK) return status;
    node->input[1] = v[1]->tensor;
    return HD_OK;
}

/* x * sigmoid(x) and x * hardsigmoid(x) are one function each. */
static hd_status self_gated(hd_onnx *o, int n, hd_onnx_value *v[2], hd_err *err) {
    for (int k = 0; k < 2; k++) {
        hd_onnx_value *gate = v[k], *x = v[1 - k];
        if (!hd_onnx_sole(gate)) continue;
        hd_node *node = &o->g->node[gate->node];
        if (node->op != HD_OP_UNARY || node->input[0] != x->tensor || gate->rank != x->rank || memcmp(gate->dim, x->dim, sizeof x->dim)) continue;
        int hard = node->fn == HD_FN_HARD_SIGMOID && fabsf(node->alpha - 1.0f / 6.0f) < 1e-6f && node->beta == 0.5f;
        if (!hard && node->fn != HD_FN_SIGMOID) continue;
        const Onnx__NodeProto *p = o->node[n].p;
        const char *name = p->name && p->name[0] ? p->name : p->output[0];
        size_t size = strlen(name) + 1;
        char *copy = malloc(size);
        if (!copy) return hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
        memcpy(copy, name, size);
        free(node->name);
        node->name = copy;
        node->fn = hard ? HD_FN_HARD_SWISH : HD_FN_SILU;
        node->alpha = node->beta = 0;
        hd_status status = hd_onnx_alias(o, n, gate, 0, NULL, err);
        if (status != HD_OK) return status;
        return hd_onnx_rename(o, gate->tensor, o->value[o->node[n].out[0]].name, err);
    }
    return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "multiplies two computed tensors; only by a constant, and x * sigmoid(x) or x * hardsigmoid(x), are supported");
}

hd_status hd_onnx_mul(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *v[2];
    int constant;
    hd_status status = two_inputs(v, &constant, o, n, err);
    if (status != HD_OK) return status;
    return constant >= 0 ? with_constant(o, n, v[1 - constant], constant, MUL, err) : self_gated(o, n, v, err);
}

hd_status hd_onnx_sub(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *v[2];
    int constant;
    hd_status status = two_inputs(v, &constant, o, n, err);
    if (status != HD_OK) return status;
    if (constant < 0) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "subtracts two computed tensors; one must be a constant");
    return with_constant(o, n, v[1 - constant], constant, constant ? SUB : RSUB, err);
}

hd_status hd_onnx_div(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *v[2];
    int constant;
    hd_status status = two_inputs(v, &constant, o, n, err);
    if (status != HD_OK) return status;
    if (constant != 1) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "divides by a computed tensor; the second input must be a constant");
    return with_constant(o, n, v[0], 1, DIV, err);
}
