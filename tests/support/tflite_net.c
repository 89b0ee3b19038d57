/* Random float networks as .tflite files. */
#include "tflite_net.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tflite_frame.h"

size_t tflite_elements(const tensor *t) {
    size_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= (size_t)t->dim[i];
    return n;
}

static int add_tensor(net *n, int rank, int a, int b, int c, int d) {
    tensor *t = &n->t[n->tensors];
    *t = (tensor){.rank = rank, .dim = {a, b, c, d}};
    t->value = calloc(tflite_elements(t), sizeof *t->value);
    return n->tensors++;
}

static float half_value(float x) { /* what a float16 keeps of it */
    return fabsf(x) < 1e-4f ? 0 : ldexpf(roundf(ldexpf(x, 10 - ilogbf(x))), ilogbf(x) - 10);
}

static uint16_t half_bits(float x) {
    if (x == 0) return 0;
    int e = ilogbf(x);
    return (uint16_t)((x < 0 ? 0x8000 : 0) | (e + 15) << 10 | ((int)fabsf(ldexpf(x, 10 - e)) & 1023));
}

/* Random constants: float, or float16 or int8 when `type` says so. */
static int constant(net *n, int type, int rank, int a, int b, int c, int d) {
    int k = add_tensor(n, rank, a, b, c, d);
    tensor *t = &n->t[k];
    size_t count = tflite_elements(t);
    t->type = type;
    t->scale = 0.02f;
    t->zero = 3;
    t->bytes = count * (type == FLOAT ? 4 : type == HALF ? 2 : 1);
    t->data = malloc(t->bytes);
    for (size_t i = 0; i < count; i++) {
        float x = hd_rng_normal(&n->rng) * 0.5f;
        if (type == HALF) {
            x = half_value(x);
            ((uint16_t *)t->data)[i] = half_bits(x);
        } else if (type == INT8) {
            int code = (int)hd_rng_below(&n->rng, 255) - 127;
            ((int8_t *)t->data)[i] = (int8_t)code;
            x = t->scale * (float)(code - t->zero);
        } else
            ((float *)t->data)[i] = x;
        t->value[i] = x;
    }
    return k;
}

static int list(net *n, int count, const int *values) {
    int k = add_tensor(n, count == 8 ? 2 : 1, count == 8 ? 4 : count, 2, 1, 1);
    tensor *t = &n->t[k];
    t->type = INT32;
    t->bytes = (size_t)count * 4;
    t->data = malloc(t->bytes);
    memcpy(t->data, values, t->bytes);
    return k;
}

static op *add_op(net *n, int code, int options, int inputs, int a, int b, int c) {
    op *o = &n->o[n->ops++];
    *o = (op){.code = code, .options = options, .inputs = inputs, .in = {a, b, c}, .sx = 1, .sy = 1, .kw = 1, .kh = 1, .dx = 1, .dy = 1, .multiplier = 1};
    return o;
}

int tflite_window(int padding, int in, int kernel, int stride, int dilation, int *before) {
    int extent = (kernel - 1) * dilation + 1, out = padding == SAME ? (in + stride - 1) / stride : (in - extent) / stride + 1;
    int pad = (out - 1) * stride + extent - in;
    *before = padding == SAME && pad > 0 ? pad / 2 : 0;
    return out;
}

/* ---- random networks ---- */

static int draw(net *n, int lo, int hi) { return lo + (int)hd_rng_below(&n->rng, (uint32_t)(hi - lo + 1)); }

/* A constant, half of the time in float16 behind a DEQUANTIZE. */
static int weights(net *n, int a, int b, int c, int d, int rank) {
    int kind = draw(n, 0, 3);
    int k = constant(n, kind == 0 ? HALF : kind == 1 ? INT8 : FLOAT, rank, a, b, c, d);
    if (kind > 1) return k;
    int y = add_tensor(n, rank, a, b, c, d);
    add_op(n, DEQUANTIZE, 0, 1, k, 0, 0)->out = y;
    return y;
}

static int add_window(net *n, int code, int x) {
    tensor *in = &n->t[x];
    int depthwise = code == DEPTHWISE, has_weights = code == CONV || depthwise;
    int kh = draw(n, 1, 3), kw = draw(n, 1, 3), multiplier = depthwise ? draw(n, 1, 2) : 1, cout = depthwise ? in->dim[3] * multiplier : code == CONV ? draw(n, 1, 5) : in->dim[3];
    int channels = in->dim[3], padding = draw(n, 0, 1), stride_x = draw(n, 1, 2), stride_y = draw(n, 1, 2), dy = has_weights ? draw(n, 1, 2) : 1, dx = has_weights ? draw(n, 1, 2) : 1, h = in->dim[1], w = in->dim[2];
    if ((kh - 1) * dy + 1 > h || (kw - 1) * dx + 1 > w) kh = kw = 1;
    int k = has_weights ? depthwise ? weights(n, 1, kh, kw, cout, 4) : weights(n, cout, kh, kw, channels, 4) : 0, bias = has_weights ? constant(n, FLOAT, 1, cout, 1, 1, 1) : 0;
    int before;
    int y = add_tensor(n, 4, 1, tflite_window(padding, h, kh, stride_y, dy, &before), tflite_window(padding, w, kw, stride_x, dx, &before), cout);
    op *o = add_op(n, code, code == CONV ? 1 : depthwise ? 2 : 5, has_weights ? 3 : 1, x, k, bias);
    o->out = y;
    o->padding = padding, o->sx = stride_x, o->sy = stride_y, o->dx = dx, o->dy = dy, o->kh = kh, o->kw = kw, o->multiplier = multiplier;
    o->activation = (int[]){0, RELU, RELU6}[draw(n, 0, 2)];
    return y;
}

static int add_pad(net *n, int x) {
    int p[8] = {0, 0, draw(n, 0, 2), draw(n, 0, 2), draw(n, 0, 2), draw(n, 0, 2), 0, 0}, k = list(n, 8, p);
    const int *d = n->t[x].dim;
    int y = add_tensor(n, 4, 1, d[1] + p[2] + p[3], d[2] + p[4] + p[5], d[3]);
    add_op(n, PAD, 0, 2, x, k, 0)->out = y;
    return y;
}

net tflite_net(uint64_t seed) {
    net n = {.tensors = 0};
    hd_rng_seed(&n.rng, seed, 0);
    int x = n.input = add_tensor(&n, 4, 1, draw(&n, 4, 9), draw(&n, 4, 9), draw(&n, 1, 4));
    for (int layers = draw(&n, 1, 4); layers > 0; layers--) {
        int kind = draw(&n, 0, 5);
        if (kind == 0) x = add_window(&n, CONV, add_pad(&n, x));
        else if (kind == 1) {
            /* the sum of two ways */
            const int *d = n.t[x].dim;
            int w = weights(&n, d[3], 1, 1, d[3], 4), b = constant(&n, FLOAT, 1, d[3], 1, 1, 1), side = add_tensor(&n, 4, 1, d[1], d[2], d[3]), y = add_tensor(&n, 4, 1, d[1], d[2], d[3]);
            add_op(&n, CONV, 1, 3, x, w, b)->out = side;
            op *o = add_op(&n, ADD, 11, 2, x, side, 0);
            o->out = y;
            o->activation = RELU;
            x = y;
        } else
            x = add_window(&n, (int[]){CONV, DEPTHWISE, MAXIMUM, AVERAGE}[kind - 2], x);
    }
    const int *d = n.t[x].dim;
    int flat;
    if (draw(&n, 0, 1)) {
        int k = list(&n, 2, (int[]){1, 2});
        flat = add_tensor(&n, 2, 1, d[3], 1, 1);
        add_op(&n, MEAN, 27, 2, x, k, 0)->out = flat;
    } else {
        flat = add_tensor(&n, 2, 1, d[1] * d[2] * d[3], 1, 1);
        add_op(&n, RESHAPE, 17, 1, x, 0, 0)->out = flat;
    }
    int inputs = (int)tflite_elements(&n.t[flat]), w = weights(&n, 3, inputs, 1, 1, 2), b = constant(&n, FLOAT, 1, 3, 1, 1, 1), logits = add_tensor(&n, 2, 1, 3, 1, 1);
    add_op(&n, FC, 8, 3, flat, w, b)->out = logits;
    n.output = add_tensor(&n, 2, 1, 3, 1, 1);
    add_op(&n, SOFTMAX, 9, 1, logits, 0, 0)->out = n.output;
    return n;
}

void tflite_net_free(net *n) {
    for (int i = 0; i < n->tensors; i++) {
        free(n->t[i].data);
        free(n->t[i].value);
    }
}

/* ---- the file ---- */

static void put_options(flat_builder *b, size_t table, const op *o) {
    if (!o->options) return;
    size_t t = flat_table(b, 7, 0x7f);
    flat_point(b, table, 4, t);
    flat_set(b, t, 0, (uint64_t)o->padding, 1);
    if (o->code == CONV || o->code == DEPTHWISE) {
        int depthwise = o->code == DEPTHWISE;
        flat_set(b, t, 1, (uint64_t)o->sx, 4);
        flat_set(b, t, 2, (uint64_t)o->sy, 4);
        if (depthwise) flat_set(b, t, 3, (uint64_t)o->multiplier, 4);
        flat_set(b, t, 3 + depthwise, (uint64_t)o->activation, 1);
        flat_set(b, t, 4 + depthwise, (uint64_t)o->dx, 4);
        flat_set(b, t, 5 + depthwise, (uint64_t)o->dy, 4);
    } else if (o->code == AVERAGE || o->code == MAXIMUM) {
        flat_set(b, t, 1, (uint64_t)o->sx, 4);
        flat_set(b, t, 2, (uint64_t)o->sy, 4);
        flat_set(b, t, 3, (uint64_t)o->kw, 4);
        flat_set(b, t, 4, (uint64_t)o->kh, 4);
        flat_set(b, t, 5, (uint64_t)o->activation, 1);
    } else if (o->code == SOFTMAX) {
        float beta = 1;
        uint32_t bits;
        memcpy(&bits, &beta, 4);
        flat_set(b, t, 0, bits, 4);
    } else
        flat_set(b, t, 0, (uint64_t)(o->code == ADD ? o->activation : 0), 4);
}

flat_builder tflite_file(const net *n) {
    tflite_frame f = tflite_frame_new(n->tensors, n->ops, n->input, n->output);
    for (int i = 0; i < n->tensors; i++) {
        const tensor *x = &n->t[i];
        size_t t = tflite_frame_tensor(&f, i, x->type == INT8 ? 0x1f : 0x0f, x->dim, x->rank, x->type, x->data, x->bytes);
        char name[16];
        flat_point(&f.b, t, 3, flat_vector(&f.b, name, (size_t)snprintf(name, sizeof name, "t%d", i), 1));
        if (x->type != INT8) continue;
        int64_t zero = x->zero;
        size_t q = flat_table(&f.b, 7, 0x0c);
        flat_point(&f.b, t, 4, q);
        flat_point(&f.b, q, 2, flat_vector(&f.b, &x->scale, 1, 4));
        flat_point(&f.b, q, 3, flat_vector(&f.b, &zero, 1, 8));
    }
    for (int i = 0; i < n->ops; i++) {
        const op *o = &n->o[i];
        put_options(&f.b, tflite_frame_op(&f, i, o->options, o->code, o->in, o->inputs, &o->out), o);
    }
    return f.b;
}
