/* TFLite to the float graph: tensors [1][h][w][c] become [c][h][w]; integer constants become the real values they stand for. Of a file whose activations are int8 the
 * graph also keeps the scales and zero points, so that compression can take its integers as they are. */
#include "tflite_internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PADDING_SAME = 0, PADDING_VALID = 1 };
enum { ACTIVATION_NONE = 0, ACTIVATION_RELU = 1, ACTIVATION_RELU_N1_1 = 2, ACTIVATION_RELU6 = 3, ACTIVATION_TANH = 4 };
enum { MAX_STEP = 65535, MAX_PAD = 32767 };

/* What became of a tensor of the file. */
typedef struct value {
    int tensor;        /* of the graph; -1: not computed (a constant, or not yet) */
    const hd_tflite_tensor *constant; /* DEQUANTIZE of a constant names the constant */
    hd_shape flat;     /* flattened from this [h][w][c]: the elements lie in [c][h][w] order behind it; c 0: not flattened */
    int pad[4];        /* zeros that PAD put around it: top, left, bottom, right; the next convolution takes them */
    int padded;
} value;

typedef struct build {
    hd_tflite t;
    hd_graph *g;
    value *value; /* [t.n_tensors] */
    int node;     /* at work */
    hd_err *err;
} build;

static hd_status fail(const build *b, hd_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static hd_status fail(const build *b, hd_status code, const char *format, ...) {
    char text[300], name[48];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    hd_tflite_node_name(&b->t, b->node, name, sizeof name);
    return hd_fail(b->err, code, "%s: operator '%s': %s", b->t.label, name, text);
}

static hd_status no_memory(const build *b) { return hd_fail(b->err, HD_NOMEM, "%s: out of memory", b->t.label); }

/* [h][w][c] of a tensor with a batch of one; ranks 1 and 2 are [c]. */
static hd_status shape_of(hd_shape *s, const build *b, const hd_tflite_tensor *x) {
    int first = x->rank > 1;
    if (x->rank < 1 || x->rank > 4 || (first && x->dim[0] != 1) || x->rank == 3)
        return fail(b, HD_UNSUPPORTED, "tensor '%s' has %d dimensions, the first of %d; supported are [1][c] and [1][h][w][c]", x->name, x->rank, x->rank ? x->dim[0] : 0);
    *s = x->rank == 4 ? (hd_shape){x->dim[3], x->dim[1], x->dim[2]} : (hd_shape){x->dim[first], 1, 1};
    return HD_OK;
}

static const hd_tflite_node *at_work(const build *b) { return &b->t.node[b->node]; }

static hd_status input_value(value **v, const build *b, int k) {
    const hd_tflite_node *n = at_work(b);
    if (k >= n->n_inputs || n->input[k] < 0) return fail(b, HD_FORMAT, "input %d is missing", k);
    *v = &b->value[n->input[k]];
    if ((*v)->tensor < 0) return fail(b, HD_UNSUPPORTED, "input %d, '%s', is a constant or comes later; a computed tensor is supported", k, b->t.tensor[n->input[k]].name);
    return HD_OK;
}

/* A computed image: the elements of a flattened one stand in another order than the file's layers count them. */
static hd_status image_input(value **v, const build *b, int k) {
    hd_status s = input_value(v, b, k);
    return !s && (*v)->flat.c ? fail(b, HD_UNSUPPORTED, "reads a flattened image of %d x %d x %d; fully connected layers and functions of each element do", (*v)->flat.c, (*v)->flat.h, (*v)->flat.w) : s;
}

/* A computed input that nothing is pending on. */
static hd_status plain_input(value **v, const build *b, int k) {
    hd_status s = input_value(v, b, k);
    return !s && (*v)->padded ? fail(b, HD_UNSUPPORTED, "reads a padded tensor; only convolutions and poolings without padding of their own do") : s;
}

/* A constant input, or *c = NULL where an optional one is left out. */
static hd_status constant_input(const hd_tflite_tensor **c, const build *b, int k, int optional) {
    const hd_tflite_node *n = at_work(b);
    *c = NULL;
    if (k >= n->n_inputs || n->input[k] < 0) return optional ? HD_OK : fail(b, HD_FORMAT, "input %d is missing", k);
    *c = b->value[n->input[k]].constant;
    return *c ? HD_OK : fail(b, HD_UNSUPPORTED, "input %d, '%s', is computed; a constant is supported", k, b->t.tensor[n->input[k]].name);
}

/* A node that reads graph tensor x and writes a new tensor; `suffix` tells apart the several nodes of one operator. */
static hd_status emit(hd_node **out, const build *b, hd_op op, const char *suffix, int x, hd_shape shape) {
    char name[64];
    /* Here and not only when the graph is whole: layers that follow multiply these sizes. */
    if (shape.h > HD_TFLITE_MAX_ELEMENTS / shape.w || shape.c > HD_TFLITE_MAX_ELEMENTS / shape.w / shape.h)
        return fail(b, HD_RANGE, "an output of %d x %d x %d; at most %d elements are allowed", shape.c, shape.h, shape.w, HD_TFLITE_MAX_ELEMENTS);
    hd_tflite_node_name(&b->t, b->node, name, sizeof name);
    size_t used = strlen(name);
    snprintf(name + used, sizeof name - used, "%s", suffix);
    int node = hd_graph_add_node(b->g, op, name), tensor = node < 0 ? -1 : hd_graph_add_tensor(b->g, name, shape);
    if (tensor < 0) return no_memory(b);
    *out = &b->g->node[node];
    (*out)->input[0] = x;
    (*out)->output = tensor;
    return HD_OK;
}

static hd_status clip(const build *b, int *tensor, const char *suffix, float lo, float hi) {
    hd_node *n = NULL;
    hd_status s = emit(&n, b, HD_OP_CLIP, suffix, *tensor, b->g->tensor[*tensor].shape);
    if (s) return s;
    n->lo = lo;
    n->hi = hi;
    *tensor = n->output;
    return HD_OK;
}

static hd_status unary(const build *b, int *tensor, const char *suffix, hd_fn fn, float alpha) {
    hd_node *n = NULL;
    hd_status s = emit(&n, b, HD_OP_UNARY, suffix, *tensor, b->g->tensor[*tensor].shape);
    if (s) return s;
    n->fn = fn;
    n->alpha = alpha;
    *tensor = n->output;
    return HD_OK;
}

/* Graph tensor `tensor` holds what tensor `from` of the file does, and so its codes. */
static hd_status note_codes(const build *b, int tensor, int from) {
    const hd_tflite_tensor *x = &b->t.tensor[from];
    if (x->type == HD_TFLITE_FLOAT32 || x->type == HD_TFLITE_FLOAT16) return HD_OK;
    if (x->type != HD_TFLITE_INT8 || !x->scale || x->scales != 1)
        return fail(b, HD_UNSUPPORTED, "tensor '%s' is %s with %zu scales; computed tensors are float32, or int8 with one scale", x->name, hd_tflite_type_name(x->type), x->scales);
    int64_t zero = hd_tflite_zero(x, 0);
    if (zero < -128 || zero > 127) return fail(b, HD_RANGE, "tensor '%s' has zero point %lld; allowed are -128..127", x->name, (long long)zero);
    b->g->tensor[tensor].scale = hd_tflite_scale(x, 0);
    b->g->tensor[tensor].zero = (int)zero;
    return HD_OK;
}

/* The scales of int8 weights of an int8 layer. Their zero points are 0 by the format's quantisation specification. */
static hd_status note_weights(hd_node *n, const build *b, const hd_tflite_tensor *w) {
    if (b->t.tensor[at_work(b)->output].type != HD_TFLITE_INT8) return HD_OK;
    if (w->type != HD_TFLITE_INT8 || !w->scale || (w->scales != 1 && w->scales != (size_t)n->cout))
        return fail(b, HD_UNSUPPORTED, "weights '%s' are %s with %zu scales; an int8 layer has int8 weights with 1 or %d scales", w->name, hd_tflite_type_name(w->type), w->scales, n->cout);
    if (!(n->weight_scale = malloc((size_t)n->cout * sizeof *n->weight_scale))) return no_memory(b);
    for (int oc = 0; oc < n->cout; oc++) {
        n->weight_scale[oc] = hd_tflite_scale(w, (size_t)oc);
        if (hd_tflite_zero(w, (size_t)oc)) return fail(b, HD_UNSUPPORTED, "weights '%s' have zero point %lld; int8 weights have 0", w->name, (long long)hd_tflite_zero(w, (size_t)oc));
    }
    return HD_OK;
}

/* The operator's result is graph tensor `tensor`, after its fused activation (`field` of its options). */
static hd_status finish(build *b, int tensor, int field) {
    int activation = field < 0 ? ACTIVATION_NONE : hd_flat_byte(&b->t.flat, at_work(b)->options, field, ACTIVATION_NONE);
    hd_status s = HD_OK;
    if (activation == ACTIVATION_RELU) s = clip(b, &tensor, ".relu", 0, INFINITY);
    else if (activation == ACTIVATION_RELU6) s = clip(b, &tensor, ".relu6", 0, 6);
    else if (activation == ACTIVATION_RELU_N1_1) s = clip(b, &tensor, ".clip", -1, 1);
    else if (activation == ACTIVATION_TANH) s = unary(b, &tensor, ".tanh", HD_FN_TANH, 0);
    else if (activation != ACTIVATION_NONE) return fail(b, HD_UNSUPPORTED, "fused activation %d; supported are none, ReLU, ReLU6, -1..1 and tanh", activation);
    b->value[at_work(b)->output] = (value){.tensor = tensor};
    return s ? s : note_codes(b, tensor, at_work(b)->output);
}

/* ---- windows ---- */

static hd_status axis(const build *b, const char *name, int same, int in, int kernel, int stride, int dilation, int *before, int *after, int *out) {
    if (stride < 1 || stride > MAX_STEP || dilation < 1 || dilation > MAX_STEP || kernel < 1 || kernel > MAX_STEP)
        return fail(b, HD_RANGE, "kernel %d, stride %d, dilation %d along the %s; allowed are 1..%d", kernel, stride, dilation, name, MAX_STEP);
    int64_t extent = (int64_t)(kernel - 1) * dilation + 1, size = in + *before + *after;
    if (same) {
        int64_t wanted = (size + stride - 1) / stride, pad = (wanted - 1) * stride + extent - size;
        if (pad < 0) pad = 0;
        if (pad > MAX_PAD) return fail(b, HD_RANGE, "SAME padding of %lld along the %s; allowed %d", (long long)pad, name, MAX_PAD);
        *before += (int)(pad / 2);
        *after += (int)(pad - pad / 2);
        size += pad;
    }
    if (size < extent) return fail(b, HD_MISMATCH, "the kernel reaches over %lld elements of the %s; the padded input has %lld", (long long)extent, name, (long long)size);
    *out = (int)((size - extent) / stride + 1);
    return HD_OK;
}

/* Kernel, steps and padding of the operator at work into n, and the output's size; padding is field 0 of the options. */
static hd_status window(build *b, hd_node *n, hd_shape *y, const value *v, int kh, int kw, int sy, int sx, int dy, int dx) {
    hd_shape x = b->g->tensor[v->tensor].shape;
    int padding = hd_flat_byte(&b->t.flat, at_work(b)->options, 0, PADDING_SAME);
    if (padding != PADDING_SAME && padding != PADDING_VALID) return fail(b, HD_FORMAT, "padding %d; allowed are 0 (SAME) and 1 (VALID)", padding);
    *n = (hd_node){.kh = kh, .kw = kw, .sy = sy, .sx = sx, .dy = dy, .dx = dx, .groups = 1};
    n->pad_top = v->pad[0], n->pad_left = v->pad[1], n->pad_bottom = v->pad[2], n->pad_right = v->pad[3];
    hd_status s = axis(b, "height", padding == PADDING_SAME, x.h, kh, sy, dy, &n->pad_top, &n->pad_bottom, &y->h);
    if (!s) s = axis(b, "width", padding == PADDING_SAME, x.w, kw, sx, dx, &n->pad_left, &n->pad_right, &y->w);
    return s;
}

static hd_status place(hd_node **out, const build *b, hd_op op, const value *v, const hd_node *w, hd_shape y) {
    hd_status s = emit(out, b, op, "", v->tensor, y);
    if (s) return s;
    hd_node *n = *out;
    n->kh = w->kh, n->kw = w->kw, n->sy = w->sy, n->sx = w->sx, n->dy = w->dy, n->dx = w->dx;
    n->pad_top = w->pad_top, n->pad_left = w->pad_left, n->pad_bottom = w->pad_bottom, n->pad_right = w->pad_right;
    n->groups = w->groups;
    return HD_OK;
}

static hd_status bias_of(hd_node *n, const build *b, const hd_tflite_tensor *bias) {
    if (!bias) return HD_OK;
    if (bias->count != (size_t)n->cout) return fail(b, HD_MISMATCH, "bias '%s' has %zu elements; there are %d outputs", bias->name, bias->count, n->cout);
    n->bias = hd_tflite_floats(bias);
    return n->bias ? HD_OK : no_memory(b);
}

/* Weights [oc][ky][kx][ic] (a depthwise layer's [1][ky][kx][oc]) into the graph's [oc][ic][ky][kx]. */
static hd_status weights_of(hd_node *n, const build *b, const hd_tflite_tensor *w, int depthwise) {
    float *from = hd_tflite_floats(w);
    if (!from || !(n->weight = malloc(w->count * sizeof *n->weight))) {
        free(from);
        return no_memory(b);
    }
    size_t taps = (size_t)n->kh * (size_t)n->kw, out = (size_t)n->cout, in = depthwise ? 1 : (size_t)n->cin;
    for (size_t oc = 0; oc < out; oc++)
        for (size_t ic = 0; ic < in; ic++)
            for (size_t tap = 0; tap < taps; tap++) n->weight[(oc * in + ic) * taps + tap] = from[depthwise ? tap * out + oc : (oc * taps + tap) * in + ic];
    free(from);
    return HD_OK;
}

static hd_status convolution(build *b, int depthwise) {
    value *v = NULL;
    const hd_tflite_tensor *w = NULL, *bias = NULL;
    hd_status s = image_input(&v, b, 0);
    if (!s) s = constant_input(&w, b, 1, 0);
    if (!s) s = constant_input(&bias, b, 2, 1);
    if (s) return s;
    hd_shape x = b->g->tensor[v->tensor].shape, y = {0, 0, 0};
    if (w->rank != 4 || (depthwise ? w->dim[0] != 1 || w->dim[3] % x.c : w->dim[3] != x.c))
        return fail(b, HD_MISMATCH, "weights '%s' do not fit %d input channels%s", w->name, x.c, w->rank == 4 && !depthwise ? " (grouped convolutions are not supported)" : "");
    hd_flat *f = &b->t.flat;
    size_t o = at_work(b)->options;
    int dilation = depthwise ? 5 : 4;
    hd_node t, *n = NULL;
    s = window(b, &t, &y, v, w->dim[1], w->dim[2], hd_flat_int(f, o, 2, 1), hd_flat_int(f, o, 1, 1), hd_flat_int(f, o, dilation + 1, 1), hd_flat_int(f, o, dilation, 1));
    if (s) return s;
    t.groups = depthwise ? x.c : 1;
    y.c = depthwise ? w->dim[3] : w->dim[0];
    s = place(&n, b, HD_OP_CONV2D, v, &t, y);
    if (s) return s;
    n->cin = x.c;
    n->cout = y.c;
    int tensor = n->output;
    s = weights_of(n, b, w, depthwise);
    if (!s) s = note_weights(n, b, w);
    if (!s) s = bias_of(n, b, bias);
    return s ? s : finish(b, tensor, depthwise ? 4 : 3);
}

static hd_status pool(build *b, hd_op op) {
    value *v = NULL;
    hd_status s = image_input(&v, b, 0);
    if (s) return s;
    if (v->padded) return fail(b, HD_UNSUPPORTED, "pools over explicit padding; only convolutions may follow PAD");
    hd_flat *f = &b->t.flat;
    size_t o = at_work(b)->options;
    hd_node t, *n = NULL;
    hd_shape y = b->g->tensor[v->tensor].shape;
    s = window(b, &t, &y, v, hd_flat_int(f, o, 4, 1), hd_flat_int(f, o, 3, 1), hd_flat_int(f, o, 2, 1), hd_flat_int(f, o, 1, 1), 1, 1);
    if (!s) s = place(&n, b, op, v, &t, y);
    if (s) return s;
    n->half_away = op == HD_OP_AVG_POOL;
    return finish(b, n->output, 5);
}

/* Only the mean over height and width: global average pooling. */
static hd_status mean(build *b) {
    value *v = NULL;
    const hd_tflite_tensor *axes = NULL;
    hd_status s = plain_input(&v, b, 0);
    if (!s) s = image_input(&v, b, 0);
    if (!s) s = constant_input(&axes, b, 1, 0);
    if (s) return s;
    float a[2] = {-1, -1};
    if (axes->type == HD_TFLITE_INT32 && axes->count == 2) hd_tflite_values(axes, a);
    for (int i = 0; i < 2; i++)
        if (a[i] < 0) a[i] += 4;
    hd_shape x = b->g->tensor[v->tensor].shape;
    if (b->t.tensor[at_work(b)->input[0]].rank != 4 || !((a[0] == 1 && a[1] == 2) || (a[0] == 2 && a[1] == 1)) || x.h > MAX_STEP || x.w > MAX_STEP)
        return fail(b, HD_UNSUPPORTED, "only the mean over height and width is supported");
    hd_node w = {.kh = x.h, .kw = x.w, .sy = 1, .sx = 1, .dy = 1, .dx = 1, .groups = 1}, *n = NULL;
    s = place(&n, b, HD_OP_AVG_POOL, v, &w, (hd_shape){x.c, 1, 1});
    return s ? s : finish(b, n->output, -1);
}

/* Zeros around height and width wait for the convolution that comes next. */
static hd_status pad(build *b) {
    value *v = NULL;
    const hd_tflite_tensor *list = NULL;
    hd_status s = plain_input(&v, b, 0);
    if (!s) s = constant_input(&list, b, 1, 0);
    if (s) return s;
    float p[8];
    if (list->type != HD_TFLITE_INT32 || list->count != 8) return fail(b, HD_UNSUPPORTED, "'%s' is no int32 list of 4 x 2", list->name);
    hd_tflite_values(list, p);
    for (int i = 0; i < 8; i++)
        if (p[i] < 0 || p[i] > MAX_PAD || ((i < 2 || i > 5) && p[i] != 0)) return fail(b, HD_UNSUPPORTED, "pads by %g; 0..%d along height and width is supported", (double)p[i], MAX_PAD);
    value *to = &b->value[at_work(b)->output];
    *to = *v;
    to->pad[0] = (int)p[2], to->pad[2] = (int)p[3], to->pad[1] = (int)p[4], to->pad[3] = (int)p[5];
    to->padded = 1;
    return HD_OK;
}

/* ---- everything else ---- */

static hd_status fully_connected(build *b) {
    value *v = NULL;
    const hd_tflite_tensor *w = NULL, *bias = NULL;
    hd_status s = plain_input(&v, b, 0);
    if (!s) s = constant_input(&w, b, 1, 0);
    if (!s) s = constant_input(&bias, b, 2, 1);
    if (s) return s;
    hd_shape x = v->flat.c ? v->flat : b->g->tensor[v->tensor].shape;
    size_t inputs = hd_shape_size(x), pixels = (size_t)x.h * (size_t)x.w;
    if (w->rank != 2 || (size_t)w->dim[1] != inputs) return fail(b, HD_MISMATCH, "weights '%s' do not fit %zu inputs", w->name, inputs);
    if (hd_flat_byte(&b->t.flat, at_work(b)->options, 1, 0)) return fail(b, HD_UNSUPPORTED, "shuffled weights; only plain ones are supported");
    hd_node *n = NULL;
    s = emit(&n, b, HD_OP_FC, "", v->tensor, (hd_shape){w->dim[0], 1, 1});
    if (s) return s;
    n->cin = (int)inputs;
    n->cout = w->dim[0];
    int tensor = n->output;
    float *from = hd_tflite_floats(w);
    if (!from || !(n->weight = malloc(w->count * sizeof *n->weight))) {
        free(from);
        return no_memory(b);
    }
    /* TFLite flattens [h][w][c], the graph [c][h][w]. */
    for (size_t k = 0; k < (size_t)n->cout; k++)
        for (size_t c = 0; c < (size_t)x.c; c++)
            for (size_t p = 0; p < pixels; p++) n->weight[k * inputs + c * pixels + p] = from[k * inputs + p * (size_t)x.c + c];
    free(from);
    s = note_weights(n, b, w);
    if (!s) s = bias_of(n, b, bias);
    return s ? s : finish(b, tensor, 0);
}

static hd_status add(build *b) {
    value *v[2] = {NULL, NULL};
    hd_status s = plain_input(&v[0], b, 0);
    if (!s) s = plain_input(&v[1], b, 1);
    if (s) return s;
    hd_shape x = b->g->tensor[v[0]->tensor].shape, y = b->g->tensor[v[1]->tensor].shape;
    hd_shape f = v[0]->flat, g = v[1]->flat;
    if (x.c != y.c || x.h != y.h || x.w != y.w || f.c != g.c || f.h != g.h || f.w != g.w) return fail(b, HD_UNSUPPORTED, "adds tensors of different shapes; equal shapes are supported");
    hd_node *n = NULL;
    s = emit(&n, b, HD_OP_ADD_TENSOR, "", v[0]->tensor, x);
    if (s) return s;
    n->input[1] = v[1]->tensor;
    s = finish(b, n->output, 0);
    b->value[at_work(b)->output].flat = f;
    return s;
}

/* RESHAPE and SQUEEZE: to one dimension, or names only. */
static hd_status reshape(build *b) {
    value *v = NULL;
    hd_shape from = {0}, to = {0};
    const hd_tflite_node *o = at_work(b);
    hd_status s = plain_input(&v, b, 0);
    if (!s) s = shape_of(&from, b, &b->t.tensor[o->input[0]]);
    if (!s) s = shape_of(&to, b, &b->t.tensor[o->output]);
    if (s) return s;
    value *out = &b->value[o->output];
    hd_shape x = b->g->tensor[v->tensor].shape;
    if (from.c == to.c && from.h == to.h && from.w == to.w) {
        *out = *v;
        return HD_OK;
    }
    if (to.h != 1 || to.w != 1 || hd_shape_size(to) != hd_shape_size(x)) return fail(b, HD_UNSUPPORTED, "only reshapes to [1][elements] are supported");
    hd_node *n = NULL;
    s = emit(&n, b, HD_OP_FLATTEN, "", v->tensor, to);
    if (s) return s;
    *out = (value){.tensor = n->output};
    if (x.h > 1 || x.w > 1) out->flat = x;
    return HD_OK;
}

static hd_status softmax(build *b) {
    value *v = NULL;
    hd_node *n = NULL;
    hd_status s = plain_input(&v, b, 0);
    if (s) return s;
    hd_shape x = b->g->tensor[v->tensor].shape;
    float beta = hd_flat_float(&b->t.flat, at_work(b)->options, 0, 1);
    if (beta != 1 || x.h != 1 || x.w != 1 || v->flat.c) return fail(b, HD_UNSUPPORTED, "beta %g on %d x %d x %d; beta 1 over all elements of one dimension is supported", (double)beta, x.c, x.h, x.w);
    s = emit(&n, b, HD_OP_SOFTMAX, "", v->tensor, x);
    return s ? s : finish(b, n->output, -1);
}

static hd_status function(build *b) {
    value *v = NULL;
    hd_status s = plain_input(&v, b, 0);
    if (s) return s;
    int tensor = v->tensor;
    hd_shape flat = v->flat;
    switch (at_work(b)->op) {
    case HD_TFLITE_RELU: s = clip(b, &tensor, "", 0, INFINITY); break;
    case HD_TFLITE_RELU6: s = clip(b, &tensor, "", 0, 6); break;
    case HD_TFLITE_LOGISTIC: s = unary(b, &tensor, "", HD_FN_SIGMOID, 0); break;
    case HD_TFLITE_TANH: s = unary(b, &tensor, "", HD_FN_TANH, 0); break;
    case HD_TFLITE_HARD_SWISH: s = unary(b, &tensor, "", HD_FN_HARD_SWISH, 0); break;
    default: s = unary(b, &tensor, "", HD_FN_LEAKY_RELU, hd_flat_float(&b->t.flat, at_work(b)->options, 0, 0)); break;
    }
    b->value[at_work(b)->output] = (value){.tensor = tensor, .flat = flat};
    return s ? s : note_codes(b, tensor, at_work(b)->output);
}

/* Constants in float16 come through a DEQUANTIZE, and an int8 network's output may. */
static hd_status dequantize(build *b) {
    const hd_tflite_node *n = at_work(b);
    if (n->n_inputs > 0 && n->input[0] >= 0 && b->value[n->input[0]].tensor >= 0) {
        b->value[n->output] = b->value[n->input[0]];
        return HD_OK;
    }
    const hd_tflite_tensor *c = NULL;
    hd_status s = constant_input(&c, b, 0, 0);
    if (!s) b->value[n->output] = (value){.tensor = -1, .constant = c};
    return s;
}

/* The float input of an int8 network gets its codes here; codes become others through a layer of their own. */
static hd_status quantize(build *b) {
    value *v = NULL;
    hd_status s = plain_input(&v, b, 0);
    if (s) return s;
    int tensor = v->tensor, from = at_work(b)->input[0];
    hd_shape flat = v->flat;
    if (b->t.tensor[from].type != HD_TFLITE_FLOAT32 || tensor != b->g->input) s = clip(b, &tensor, "", -INFINITY, INFINITY);
    if (!s) s = note_codes(b, tensor, at_work(b)->output);
    b->value[at_work(b)->output] = (value){.tensor = tensor, .flat = flat};
    return s;
}

static hd_status run_node(build *b) {
    switch (at_work(b)->op) {
    case HD_TFLITE_ADD: return add(b);
    case HD_TFLITE_AVERAGE_POOL: return pool(b, HD_OP_AVG_POOL);
    case HD_TFLITE_MAX_POOL: return pool(b, HD_OP_MAX_POOL);
    case HD_TFLITE_CONV: return convolution(b, 0);
    case HD_TFLITE_DEPTHWISE: return convolution(b, 1);
    case HD_TFLITE_FULLY_CONNECTED: return fully_connected(b);
    case HD_TFLITE_RESHAPE:
    case HD_TFLITE_SQUEEZE: return reshape(b);
    case HD_TFLITE_SOFTMAX: return softmax(b);
    case HD_TFLITE_MEAN: return mean(b);
    case HD_TFLITE_PAD: return pad(b);
    case HD_TFLITE_DEQUANTIZE: return dequantize(b);
    case HD_TFLITE_QUANTIZE: return quantize(b);
    case HD_TFLITE_LOGISTIC: case HD_TFLITE_RELU: case HD_TFLITE_RELU6: case HD_TFLITE_TANH: case HD_TFLITE_LEAKY_RELU: case HD_TFLITE_HARD_SWISH: return function(b);
    default:
        return fail(b, HD_UNSUPPORTED,
                    "operator %d of the schema is not supported; supported are convolutions, fully connected layers, addition, poolings, mean over the image, padding, reshaping, softmax "
                    "and activations",
                    at_work(b)->op);
    }
}

static hd_status run(build *b) {
    hd_tflite *t = &b->t;
    for (int i = 0; i < t->n_tensors; i++) b->value[i] = (value){.tensor = -1, .constant = t->tensor[i].data ? &t->tensor[i] : NULL};
    const hd_tflite_tensor *in = &t->tensor[t->input];
    if (in->type != HD_TFLITE_FLOAT32 && in->type != HD_TFLITE_INT8)
        return hd_fail(b->err, HD_UNSUPPORTED, "%s: input '%s' is %s; float32 and int8 are supported", t->label, in->name, hd_tflite_type_name(in->type));
    hd_shape shape = {0};
    hd_status s = shape_of(&shape, b, in);
    if (s) return s;
    b->g->input = b->value[t->input].tensor = hd_graph_add_tensor(b->g, in->name, shape);
    if (b->g->input < 0) return no_memory(b);
    if ((s = note_codes(b, b->g->input, t->input)) != HD_OK) return s;
    for (b->node = 0; b->node < t->n_nodes; b->node++)
        if ((s = run_node(b)) != HD_OK) return s;
    if (t->flat.failed) return hd_fail(b->err, HD_FORMAT, "%s: not a whole TFLite file: an operator's options lie outside of it", t->label);
    const value *out = &b->value[t->output];
    if (out->tensor < 0 || out->padded || out->flat.c)
        return hd_fail(b->err, HD_UNSUPPORTED, "%s: output '%s' is a constant, padded or a flattened image; it must be computed", t->label, t->tensor[t->output].name);
    b->g->output = out->tensor;
    s = hd_graph_check(b->g, b->err);
    return s ? hd_fail_in(b->err, t->label) : HD_OK;
}

hd_status hd_import_tflite_memory(hd_graph **out, const uint8_t *data, size_t size, const char *label, hd_err *err) {
    *out = NULL;
    build b = {.err = err};
    hd_status s = hd_tflite_read(&b.t, data, size, label, err);
    if (!s) {
        b.g = hd_graph_new("");
        b.value = malloc(((size_t)b.t.n_tensors + 1) * sizeof *b.value);
        s = b.g && b.value ? run(&b) : no_memory(&b);
    }
    hd_tflite_free(&b.t);
    free(b.value);
    if (s) hd_graph_free(b.g);
    else *out = b.g;
    return s;
}
