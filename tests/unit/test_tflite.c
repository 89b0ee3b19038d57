/* TFLite import: random networks against a plain interpreter in TFLite's own order [h][w][c]; broken files; a published model. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../compiler/import/import.h"
#include "../../sw/core/rng.h"
#include "../../sw/explore/accuracy.h"
#include "../../sw/explore/dataset.h"
#include "../../sw/explore/models.h"
#include "../../sw/train/train.h"
#include "../support/flat_builder.h"

enum { ADD = 0, AVERAGE = 1, CONV = 3, DEPTHWISE = 4, DEQUANTIZE = 6, FC = 9, MAXIMUM = 17, RESHAPE = 22, SOFTMAX = 25, PAD = 34, MEAN = 40 };
enum { SAME = 0, VALID = 1, RELU = 1, RELU6 = 3, FLOAT = 0, HALF = 1, INT32 = 2, INT8 = 9 };
enum { MAX_TENSORS = 64, MAX_OPS = 32 };

typedef struct tensor {
    int rank, dim[4], type;
    void *data;       /* constants: as the file has them */
    size_t bytes;
    float *value;     /* what the interpreter has */
    float scale;      /* INT8 */
    int zero;
} tensor;

typedef struct op {
    int code, in[3], inputs, out, options, padding, sx, sy, kw, kh, dx, dy, multiplier, activation;
} op;

typedef struct net {
    tensor t[MAX_TENSORS];
    op o[MAX_OPS];
    int tensors, ops, input, output;
    hd_rng rng;
} net;

static size_t elements(const tensor *t) {
    size_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= (size_t)t->dim[i];
    return n;
}

static int add_tensor(net *n, int rank, int a, int b, int c, int d) {
    tensor *t = &n->t[n->tensors];
    *t = (tensor){.rank = rank, .dim = {a, b, c, d}};
    t->value = calloc(elements(t), sizeof *t->value);
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
    size_t count = elements(t);
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

/* Output size and padding before it of a window. */
static int window(int padding, int in, int kernel, int stride, int dilation, int *before) {
    int extent = (kernel - 1) * dilation + 1, out = padding == SAME ? (in + stride - 1) / stride : (in - extent) / stride + 1;
    int pad = (out - 1) * stride + extent - in;
    *before = padding == SAME && pad > 0 ? pad / 2 : 0;
    return out;
}

static void act(tensor *t, int code) {
    for (size_t i = 0; i < elements(t); i++) {
        if (code && t->value[i] < 0) t->value[i] = 0;
        if (code == RELU6 && t->value[i] > 6) t->value[i] = 6;
    }
}

static float at(const tensor *t, int y, int x, int c) { return t->value[(y * t->dim[2] + x) * t->dim[3] + c]; }

static void run_window(net *n, const op *o) {
    tensor *x = &n->t[o->in[0]], *w = o->inputs > 1 ? &n->t[o->in[1]] : NULL, *b = o->inputs > 2 ? &n->t[o->in[2]] : NULL, *y = &n->t[o->out];
    int kh = w ? w->dim[1] : o->kh, kw = w ? w->dim[2] : o->kw, top, left;
    window(o->padding, x->dim[1], kh, o->sy, o->dy, &top);
    window(o->padding, x->dim[2], kw, o->sx, o->dx, &left);
    for (int oy = 0; oy < y->dim[1]; oy++)
        for (int ox = 0; ox < y->dim[2]; ox++)
            for (int oc = 0; oc < y->dim[3]; oc++) {
                double sum = b ? (double)b->value[oc] : 0, best = -INFINITY;
                int count = 0;
                for (int ky = 0; ky < kh; ky++)
                    for (int kx = 0; kx < kw; kx++) {
                        int iy = oy * o->sy - top + ky * o->dy, ix = ox * o->sx - left + kx * o->dx;
                        if (iy < 0 || iy >= x->dim[1] || ix < 0 || ix >= x->dim[2]) continue;
                        count++;
                        if (o->code == CONV)
                            for (int ic = 0; ic < x->dim[3]; ic++)
                                sum += (double)at(x, iy, ix, ic) * (double)w->value[((oc * kh + ky) * kw + kx) * x->dim[3] + ic];
                        else if (o->code == DEPTHWISE) sum += (double)at(x, iy, ix, oc / o->multiplier) * (double)w->value[(ky * kw + kx) * y->dim[3] + oc];
                        else {
                            sum += (double)at(x, iy, ix, oc);
                            best = fmax(best, (double)at(x, iy, ix, oc));
                        }
                    }
                double v = o->code == MAXIMUM ? best : o->code == AVERAGE ? sum / count : sum;
                y->value[(oy * y->dim[2] + ox) * y->dim[3] + oc] = (float)v;
            }
    act(y, o->activation);
}

static void run_op(net *n, const op *o) {
    tensor *x = &n->t[o->in[0]], *y = &n->t[o->out];
    switch (o->code) {
    case CONV:
    case DEPTHWISE:
    case MAXIMUM:
    case AVERAGE: run_window(n, o); break;
    case ADD:
        for (size_t i = 0; i < elements(y); i++) y->value[i] = x->value[i] + n->t[o->in[1]].value[i];
        act(y, o->activation);
        break;
    case FC:
        for (int k = 0; k < y->dim[1]; k++) {
            double sum = (double)n->t[o->in[2]].value[k];
            size_t in = elements(x);
            for (size_t i = 0; i < in; i++) sum += (double)x->value[i] * (double)n->t[o->in[1]].value[(size_t)k * in + i];
            y->value[k] = (float)sum;
        }
        break;
    case RESHAPE:
    case DEQUANTIZE: memcpy(y->value, x->value, elements(y) * sizeof(float)); break;
    case PAD: {
        const int *p = n->t[o->in[1]].data;
        for (int i = 0; i < x->dim[1]; i++)
            for (int j = 0; j < x->dim[2]; j++)
                for (int c = 0; c < x->dim[3]; c++) y->value[((i + p[2]) * y->dim[2] + j + p[4]) * y->dim[3] + c] = at(x, i, j, c);
        break;
    }
    case MEAN:
        for (int c = 0; c < x->dim[3]; c++) {
            double sum = 0;
            for (int i = 0; i < x->dim[1] * x->dim[2]; i++) sum += (double)x->value[i * x->dim[3] + c];
            y->value[c] = (float)(sum / (x->dim[1] * x->dim[2]));
        }
        break;
    case SOFTMAX: {
        double sum = 0;
        for (size_t i = 0; i < elements(x); i++) sum += exp((double)x->value[i]);
        for (size_t i = 0; i < elements(x); i++) y->value[i] = (float)(exp((double)x->value[i]) / sum);
        break;
    }
    default: fail();
    }
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
    int y = add_tensor(n, 4, 1, window(padding, h, kh, stride_y, dy, &before), window(padding, w, kw, stride_x, dx, &before), cout);
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

static net random_net(uint64_t seed) {
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
    int inputs = (int)elements(&n.t[flat]), w = weights(&n, 3, inputs, 1, 1, 2), b = constant(&n, FLOAT, 1, 3, 1, 1, 1), logits = add_tensor(&n, 2, 1, 3, 1, 1);
    add_op(&n, FC, 8, 3, flat, w, b)->out = logits;
    n.output = add_tensor(&n, 2, 1, 3, 1, 1);
    add_op(&n, SOFTMAX, 9, 1, logits, 0, 0)->out = n.output;
    return n;
}

static void free_net(net *n) {
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

static flat_builder file_of(const net *n) {
    flat_builder b;
    flat_start(&b, "TFL3");
    size_t model = flat_table(&b, 5, 0x16), codes, graphs, graph, buffers, tensors, ops;
    flat_root(&b, model);
    codes = flat_vector(&b, NULL, (size_t)n->ops, 4);
    flat_point(&b, model, 1, codes);
    for (int i = 0; i < n->ops; i++) {
        size_t c = flat_table(&b, 4, 8);
        flat_set(&b, c, 3, (uint64_t)n->o[i].code, 4);
        flat_element(&b, codes, (size_t)i, c);
    }
    graphs = flat_vector(&b, NULL, 1, 4);
    flat_point(&b, model, 2, graphs);
    graph = flat_table(&b, 4, 15);
    flat_element(&b, graphs, 0, graph);
    tensors = flat_vector(&b, NULL, (size_t)n->tensors, 4);
    flat_point(&b, graph, 0, tensors);
    for (int i = 0; i < n->tensors; i++) {
        const tensor *x = &n->t[i];
        size_t t = flat_table(&b, 5, x->type == INT8 ? 0x1f : 0x0f);
        char name[16];
        flat_element(&b, tensors, (size_t)i, t);
        flat_point(&b, t, 0, flat_vector(&b, x->dim, (size_t)x->rank, 4));
        flat_set(&b, t, 1, (uint64_t)x->type, 1);
        flat_set(&b, t, 2, x->data ? (uint64_t)i + 1 : 0, 4);
        flat_point(&b, t, 3, flat_vector(&b, name, (size_t)snprintf(name, sizeof name, "t%d", i), 1));
        if (x->type != INT8) continue;
        int64_t zero = x->zero;
        size_t q = flat_table(&b, 7, 0x0c);
        flat_point(&b, t, 4, q);
        flat_point(&b, q, 2, flat_vector(&b, &x->scale, 1, 4));
        flat_point(&b, q, 3, flat_vector(&b, &zero, 1, 8));
    }
    flat_point(&b, graph, 1, flat_vector(&b, &n->input, 1, 4));
    flat_point(&b, graph, 2, flat_vector(&b, &n->output, 1, 4));
    ops = flat_vector(&b, NULL, (size_t)n->ops, 4);
    flat_point(&b, graph, 3, ops);
    for (int i = 0; i < n->ops; i++) {
        const op *o = &n->o[i];
        size_t t = flat_table(&b, 5, o->options ? 0x17 : 7);
        flat_element(&b, ops, (size_t)i, t);
        flat_set(&b, t, 0, (uint64_t)i, 4);
        flat_point(&b, t, 1, flat_vector(&b, o->in, (size_t)o->inputs, 4));
        flat_point(&b, t, 2, flat_vector(&b, &o->out, 1, 4));
        put_options(&b, t, o);
    }
    buffers = flat_vector(&b, NULL, (size_t)n->tensors + 1, 4);
    flat_point(&b, model, 4, buffers);
    flat_element(&b, buffers, 0, flat_table(&b, 1, 0));
    for (int i = 0; i < n->tensors; i++) {
        size_t t = flat_table(&b, 1, n->t[i].data ? 1 : 0);
        flat_element(&b, buffers, (size_t)i + 1, t);
        if (n->t[i].data) flat_point(&b, t, 0, flat_vector(&b, n->t[i].data, n->t[i].bytes, 1));
    }
    return b;
}

/* The input drawn, through both. */
static void compare(net *n, uint64_t seed) {
    tensor *x = &n->t[n->input];
    for (size_t i = 0; i < elements(x); i++) x->value[i] = hd_rng_normal(&n->rng);
    for (int i = 0; i < n->ops; i++) run_op(n, &n->o[i]);
    flat_builder file = file_of(n);
    hd_graph *g;
    hd_err err = {0};
    if (hd_import_tflite_memory(&g, file.data, file.size, "net", &err)) fail_msg("seed %llu: %s", (unsigned long long)seed, err.message);
    size_t channels = (size_t)x->dim[3], pixels = (size_t)x->dim[1] * (size_t)x->dim[2];
    float *chw = malloc(channels * pixels * sizeof *chw);
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < channels; c++) chw[c * pixels + p] = x->value[p * channels + c];
    hd_exec *e;
    assert_int_equal(hd_exec_new(&e, g, &err), HD_OK);
    hd_exec_run(e, chw);
    const float *y = hd_exec_tensor(e, g->output), *wanted = n->t[n->output].value;
    for (size_t i = 0; i < 3; i++)
        if (fabsf(y[i] - wanted[i]) > 1e-4f) fail_msg("seed %llu: output %zu is %f, wanted %f", (unsigned long long)seed, i, (double)y[i], (double)wanted[i]);
    hd_exec_free(e);
    hd_graph_free(g);
    free(chw);
    flat_free(&file);
}

static void random_networks(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        net n = random_net(seed);
        compare(&n, seed);
        free_net(&n);
    }
}

/* Cut anywhere and with any byte changed: an error or another network, never a crash (the sanitizers watch). */
static void broken_files(void **state) {
    (void)state;
    int refused = 0, changed = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        net n = random_net(seed);
        flat_builder file = file_of(&n);
        hd_graph *g;
        hd_err err;
        for (size_t size = 0; size < file.size; size++) {
            uint8_t *cut = malloc(size + 1);
            memcpy(cut, file.data, size);
            refused += hd_import_tflite_memory(&g, cut, size, "cut", &err) != HD_OK;
            if (size < file.size / 2) assert_null(g);
            hd_graph_free(g);
            free(cut);
        }
        for (size_t i = 0; i < file.size; i++) {
            uint8_t old = file.data[i];
            file.data[i] = (uint8_t)hd_rng_u32(&n.rng);
            hd_status s = hd_import_tflite_memory(&g, file.data, file.size, "changed", &err);
            changed += s != HD_OK;
            if (s) assert_true(strlen(err.message) > 10);
            hd_graph_free(g);
            file.data[i] = old;
        }
        flat_free(&file);
        free_net(&n);
    }
    assert_true(refused > 1000);
    assert_true(changed > 1000);
}

static void messages(void **state) {
    (void)state;
    hd_graph *g;
    hd_err err = {0};
    assert_int_equal(hd_import_tflite_memory(&g, (const uint8_t *)"nonsense", 8, "x.tflite", &err), HD_FORMAT);
    assert_string_equal(err.message, "x.tflite: not a TFLite file (no identifier TFL3)");
    net n = random_net(3);
    n.o[n.ops - 1].code = 99;
    flat_builder file = file_of(&n);
    assert_int_equal(hd_import_tflite_memory(&g, file.data, file.size, "x.tflite", &err), HD_UNSUPPORTED);
    assert_non_null(strstr(err.message, "operator 99 of the schema is not supported"));
    flat_free(&file);
    n.o[n.ops - 1].code = SOFTMAX;
    free_net(&n);
}

/* The published ResNet-8 has the published accuracy. */
static void resnet8(void **state) {
    (void)state;
    char model[4096], images[4096], labels[4096];
    hd_err err = {0};
    if (hd_models_file(model, sizeof model, "resnet8-float.tflite", &err) || hd_models_file(images, sizeof images, "ic01-images.idx", &err) ||
        hd_models_file(labels, sizeof labels, "ic01-labels.idx", &err)) {
        printf("%s\n", err.message);
        skip();
    }
    hd_graph *g;
    hd_idx *x, *y, *plain;
    double accuracy;
    if (hd_import_tflite(&g, model, &err) || hd_idx_load(&x, images, &err) || hd_idx_load(&y, labels, &err) || hd_idx_chw(x, 3, 32, 32, &err) ||
        hd_idx_plain(&plain, x, &err) || hd_accuracy(g, plain, y, 0, &accuracy, &err))
        fail_msg("%s", err.message);
    assert_true(fabs(accuracy - 0.855) < 1e-9);
    hd_idx_free(plain);
    hd_idx_free(x);
    hd_idx_free(y);
    hd_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_networks), cmocka_unit_test(broken_files), cmocka_unit_test(messages), cmocka_unit_test(resnet8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
