/* int8 TFLite files: the integers kept by import and compression against TFLite's own arithmetic, stage by stage. The interpreter here is written from the format's
 * quantisation specification (a 31-bit multiplier, doubling high multiplication, two roundings); it shares the file reader and nothing else. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../compiler/compress/compress.h"
#include "../../compiler/compress/integer.h"
#include "../../compiler/import/tflite_internal.h"
#include "../../sw/core/file.h"
#include "../../sw/core/idx.h"
#include "../../sw/core/rng.h"
#include "../../sw/explore/models.h"
#include "../support/flat_builder.h"

/* ---- TFLite's arithmetic ---- */

static int32_t multiply(int32_t x, double real) {
    int exponent;
    int64_t m = llround(ldexp(frexp(real, &exponent), 31));
    if (m == (int64_t)1 << 31) m /= 2, exponent++;
    int left = exponent > 0 ? exponent : 0, right = exponent > 0 ? 0 : -exponent;
    int64_t product = (int64_t)(x * (int64_t)(1 << left)) * m;
    int64_t high = (product + (product >= 0 ? 1 << 30 : 1 - (1 << 30))) / ((int64_t)1 << 31);
    if (right > 31) return 0;
    int64_t mask = ((int64_t)1 << right) - 1, rest = high & mask;
    return (int32_t)((high >> right) + (rest > (mask >> 1) + (high < 0)));
}

static double scale_of(const hd_tflite_tensor *t, int channel) { return (double)hd_tflite_scale(t, (size_t)channel); }
static int zero_of(const hd_tflite_tensor *t) { return (int)hd_tflite_zero(t, 0); }

static int8_t clamp(int32_t v, const hd_tflite_tensor *t, int activation) {
    int lo = activation ? zero_of(t) : -128, hi = activation == 3 ? zero_of(t) + (int)lround(6 / scale_of(t, 0)) : 127;
    if (lo < -128) lo = -128;
    if (hi > 127) hi = 127;
    return (int8_t)(v < lo ? lo : v > hi ? hi : v);
}

static int before(int same, int in, int out, int kernel, int stride) {
    int pad = same ? (out - 1) * stride + kernel - in : 0;
    return pad > 0 ? pad / 2 : 0;
}

static void run_window(hd_tflite *t, const hd_tflite_node *n, int8_t **value) {
    const hd_tflite_tensor *x = &t->tensor[n->input[0]], *y = &t->tensor[n->output], *w = n->n_inputs > 1 ? &t->tensor[n->input[1]] : NULL;
    const hd_tflite_tensor *bias = w && n->n_inputs > 2 && n->input[2] >= 0 ? &t->tensor[n->input[2]] : NULL;
    int depthwise = n->op == HD_TFLITE_DEPTHWISE, kh = w ? w->dim[1] : hd_flat_int(&t->flat, n->options, 4, 1), kw = w ? w->dim[2] : hd_flat_int(&t->flat, n->options, 3, 1);
    int sx = hd_flat_int(&t->flat, n->options, 1, 1), sy = hd_flat_int(&t->flat, n->options, 2, 1), activation = hd_flat_byte(&t->flat, n->options, !w ? 5 : depthwise ? 4 : 3, 0);
    int same = hd_flat_byte(&t->flat, n->options, 0, 0) == 0, top = before(same, x->dim[1], y->dim[1], kh, sy), left = before(same, x->dim[2], y->dim[2], kw, sx);
    int channels = x->dim[3], outputs = y->dim[3];
    for (int oy = 0; oy < y->dim[1]; oy++)
        for (int ox = 0; ox < y->dim[2]; ox++)
            for (int oc = 0; oc < outputs; oc++) {
                int32_t sum = 0, best = -128, count = 0;
                for (int ky = 0; ky < kh; ky++)
                    for (int kx = 0; kx < kw; kx++) {
                        int iy = oy * sy - top + ky, ix = ox * sx - left + kx;
                        if (iy < 0 || iy >= x->dim[1] || ix < 0 || ix >= x->dim[2]) continue;
                        const int8_t *pixel = value[n->input[0]] + (iy * x->dim[2] + ix) * channels;
                        count++;
                        if (!w) {
                            sum += pixel[oc];
                            best = pixel[oc] > best ? pixel[oc] : best;
                        } else if (depthwise) sum += (pixel[oc / (outputs / channels)] - zero_of(x)) * (int8_t)w->data[(ky * kw + kx) * outputs + oc];
                        else
                            for (int ic = 0; ic < channels; ic++) sum += (pixel[ic] - zero_of(x)) * (int8_t)w->data[((oc * kh + ky) * kw + kx) * channels + ic];
                    }
                int32_t v = n->op == HD_TFLITE_MAX_POOL ? best : !w ? (sum > 0 ? sum + count / 2 : sum - count / 2) / count : 0;
                if (w) {
                    if (bias) sum += (int32_t)hd_flat_u32(bias->data + 4 * oc);
                    v = multiply(sum, scale_of(x, 0) * scale_of(w, oc) / scale_of(y, 0)) + zero_of(y);
                }
                value[n->output][(oy * y->dim[2] + ox) * outputs + oc] = clamp(v, y, activation);
            }
}

static void run_fc(hd_tflite *t, const hd_tflite_node *n, int8_t **value) {
    const hd_tflite_tensor *x = &t->tensor[n->input[0]], *w = &t->tensor[n->input[1]], *bias = &t->tensor[n->input[2]], *y = &t->tensor[n->output];
    for (int k = 0; k < w->dim[0]; k++) {
        int32_t sum = (int32_t)hd_flat_u32(bias->data + 4 * k);
        for (int i = 0; i < w->dim[1]; i++) sum += (value[n->input[0]][i] - zero_of(x)) * (int8_t)w->data[k * w->dim[1] + i];
        value[n->output][k] = clamp(multiply(sum, scale_of(x, 0) * scale_of(w, k) / scale_of(y, 0)) + zero_of(y), y, hd_flat_byte(&t->flat, n->options, 0, 0));
    }
}

static void run_add(hd_tflite *t, const hd_tflite_node *n, int8_t **value) {
    const hd_tflite_tensor *a = &t->tensor[n->input[0]], *b = &t->tensor[n->input[1]], *y = &t->tensor[n->output];
    double twice = 2 * fmax(scale_of(a, 0), scale_of(b, 0));
    for (size_t i = 0; i < y->count; i++) {
        int32_t sum = multiply((value[n->input[0]][i] - zero_of(a)) * (1 << 20), scale_of(a, 0) / twice) + multiply((value[n->input[1]][i] - zero_of(b)) * (1 << 20), scale_of(b, 0) / twice);
        value[n->output][i] = clamp(multiply(sum, twice / ((1 << 20) * scale_of(y, 0))) + zero_of(y), y, hd_flat_byte(&t->flat, n->options, 0, 0));
    }
}

static void run_mean(hd_tflite *t, const hd_tflite_node *n, int8_t **value) {
    const hd_tflite_tensor *x = &t->tensor[n->input[0]], *y = &t->tensor[n->output];
    int pixels = x->dim[1] * x->dim[2], channels = x->dim[3];
    for (int c = 0; c < channels; c++) {
        double sum = 0;
        for (int p = 0; p < pixels; p++) sum += value[n->input[0]][p * channels + c] - zero_of(x);
        value[n->output][c] = clamp((int32_t)lround(sum / pixels * scale_of(x, 0) / scale_of(y, 0)) + zero_of(y), y, 0);
    }
}

static void run_net(hd_tflite *t, int8_t **value) {
    for (int i = 0; i < t->n_nodes; i++) {
        const hd_tflite_node *n = &t->node[i];
        switch (n->op) {
        case HD_TFLITE_CONV:
        case HD_TFLITE_DEPTHWISE:
        case HD_TFLITE_MAX_POOL:
        case HD_TFLITE_AVERAGE_POOL: run_window(t, n, value); break;
        case HD_TFLITE_FULLY_CONNECTED: run_fc(t, n, value); break;
        case HD_TFLITE_ADD: run_add(t, n, value); break;
        case HD_TFLITE_MEAN: run_mean(t, n, value); break;
        case HD_TFLITE_RESHAPE:
        case HD_TFLITE_SOFTMAX: memcpy(value[n->output], value[n->input[0]], t->tensor[n->output].count); break; /* softmax keeps the order */
        default: fail_msg("operator %d in a test network", n->op);
        }
    }
}

/* ---- a file through both ---- */

typedef struct pair {
    hd_tflite t;
    int8_t **value; /* [tensor of the file] */
    hd_graph *g;
    hd_model *m;
    hd_integer *e;
    size_t values[2], different[2]; /* compared and off by one: of additions [1], of all others [0] */
} pair;

static void open_pair(pair *p, const uint8_t *data, size_t size, const char *label) {
    hd_err err = {0};
    *p = (pair){.value = NULL};
    if (hd_tflite_read(&p->t, data, size, label, &err) || hd_import_tflite_memory(&p->g, data, size, label, &err) || hd_compress_kept(&p->m, p->g, &err) ||
        hd_integer_new(&p->e, p->m, &err))
        fail_msg("%s", err.message);
    p->value = calloc((size_t)p->t.n_tensors, sizeof *p->value);
    for (int i = 0; i < p->t.n_tensors; i++) p->value[i] = calloc(p->t.tensor[i].count, 1);
}

static void close_pair(pair *p) {
    hd_integer_free(p->e);
    hd_model_free(p->m);
    hd_graph_free(p->g);
    for (int i = 0; i < p->t.n_tensors; i++) free(p->value[i]);
    free(p->value);
    hd_tflite_free(&p->t);
}

/* The tensor of the file whose codes model tensor `tensor` has: operator k writes "conv.k", with ".relu" behind it when an activation is fused. */
static const int8_t *file_codes(const pair *p, int tensor) {
    if (tensor == p->m->input) return p->value[p->t.input];
    const char *number = strchr(p->m->tensor[tensor].name, '.');
    assert_non_null(number);
    return p->value[p->t.node[atoi(number + 1)].output];
}

static size_t elements(const hd_qtensor *t) { return (size_t)t->h * (size_t)t->w * (size_t)t->c; }

/* Each stage on TFLite's own inputs. */
static void compare_stages(pair *p, const char *label) {
    run_net(&p->t, p->value);
    for (int i = 0; i < p->m->n_stages; i++) {
        const hd_stage *s = &p->m->stage[i];
        const int reads[2] = {s->input, s->residual};
        for (int k = 0; k < 2; k++)
            if (reads[k] >= 0) memcpy((int8_t *)(uintptr_t)hd_integer_tensor(p->e, reads[k]), file_codes(p, reads[k]), elements(&p->m->tensor[reads[k]]));
        hd_integer_stage(p->e, i);
        const int8_t *y = hd_integer_tensor(p->e, s->output), *wanted = file_codes(p, s->output);
        for (size_t k = 0; k < elements(&p->m->tensor[s->output]); k++) {
            int off = abs(y[k] - wanted[k]);
            p->values[s->residual >= 0]++;
            p->different[s->residual >= 0] += off == 1;
            if (off > 1) fail_msg("%s: stage '%s': code %zu is %d, TFLite has %d", label, s->name, k, y[k], wanted[k]);
        }
    }
}

static int argmax(const int8_t *y, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (y[i] > y[best]) best = i;
    return (int)best;
}

/* ---- random networks ---- */

enum { MAX_TENSORS = 48, MAX_OPS = 24 };
typedef struct net_tensor {
    int rank, dim[4], type, zero, scales, axis;
    float scale[16];
    uint8_t *data;
    size_t bytes;
} net_tensor;
typedef struct net_op {
    int code, in[3], inputs, out, same, sx, sy, kw, kh, activation;
} net_op;
typedef struct net {
    net_tensor t[MAX_TENSORS];
    net_op o[MAX_OPS];
    int tensors, ops;
    hd_rng rng;
} net;

static int draw(net *n, int lo, int hi) { return lo + (int)hd_rng_below(&n->rng, (uint32_t)(hi - lo + 1)); }

static int codes(net *n, int rank, int h, int w, int c, float scale, int zero) {
    n->t[n->tensors] = (net_tensor){.rank = rank, .dim = {1, rank == 4 ? h : c, w, c}, .type = HD_TFLITE_INT8, .zero = zero, .scales = 1, .scale = {scale}};
    return n->tensors++;
}

/* Weights of all int8 values with a scale a channel (or one), and int32 biases. */
static void weights(net *n, net_op *o, int rank, const int *dim, int axis, int cout, int x) {
    net_tensor *w = &n->t[n->tensors], *b = w + 1;
    *w = (net_tensor){.rank = rank, .dim = {dim[0], dim[1], dim[2], dim[3]}, .type = HD_TFLITE_INT8, .scales = draw(n, 0, 3) ? cout : 1, .axis = axis};
    *b = (net_tensor){.rank = 1, .dim = {cout}, .type = HD_TFLITE_INT32, .scales = cout};
    w->bytes = 1;
    for (int i = 0; i < rank; i++) w->bytes *= (size_t)dim[i];
    w->data = malloc(w->bytes);
    for (size_t i = 0; i < w->bytes; i++) w->data[i] = (uint8_t)(draw(n, 0, 40) ? draw(n, -127, 127) : 0x80);
    for (int i = 0; i < w->scales; i++) w->scale[i] = 0.002f * (0.25f + hd_rng_float(&n->rng));
    b->bytes = 4 * (size_t)cout;
    b->data = malloc(b->bytes);
    for (int i = 0; i < cout; i++) {
        int32_t v = draw(n, -20000, 20000);
        memcpy(b->data + 4 * i, &v, 4);
        b->scale[i] = n->t[x].scale[0] * w->scale[w->scales > 1 ? i : 0];
    }
    o->inputs = 3;
    o->in[0] = x, o->in[1] = n->tensors, o->in[2] = n->tensors + 1;
    n->tensors += 2;
}

/* A scale for what sums of `terms` products come to: `sigmas` of their deviation are the largest code. */
static float sum_scale(const net *n, const net_op *o, int terms, float sigmas) {
    float largest = 0;
    const net_tensor *w = &n->t[o->in[1]];
    for (int i = 0; i < w->scales; i++) largest = fmaxf(largest, w->scale[i]);
    return sigmas * sqrtf((float)terms) * 73 * 60 * n->t[o->in[0]].scale[0] * largest / 127;
}

static int add_window(net *n, int code, int x, int kernel, float sigmas) {
    net_op *o = &n->o[n->ops++];
    int depthwise = code == HD_TFLITE_DEPTHWISE, weighed = code == HD_TFLITE_CONV || depthwise, h = n->t[x].dim[1], w = n->t[x].dim[2], c = n->t[x].dim[3];
    int k = kernel ? kernel : draw(n, 1, 3), cout = kernel || !weighed ? c : depthwise ? c : draw(n, 1, 10);
    if (k > h || k > w) k = 1;
    *o = (net_op){.code = code, .inputs = 1, .in = {x}, .same = weighed ? draw(n, 0, 1) : 0, .sx = kernel ? 1 : draw(n, 1, 2), .sy = kernel ? 1 : draw(n, 1, 2), .kw = k, .kh = k};
    if (!kernel) o->activation = (int[]){0, 1, 3}[draw(n, 0, 2)];
    float scale = n->t[x].scale[0];
    int zero = n->t[x].zero;
    if (weighed) {
        weights(n, o, 4, depthwise ? (int[]){1, k, k, cout} : (int[]){cout, k, k, c}, depthwise ? 3 : 0, cout, x);
        scale = sum_scale(n, o, k * k * (depthwise ? 1 : c), sigmas);
        zero = o->activation ? draw(n, -128, -100) : draw(n, -20, 20);
    } else
        o->activation = 0;
    o->out = codes(n, 4, o->same ? (h + o->sy - 1) / o->sy : (h - k) / o->sy + 1, o->same ? (w + o->sx - 1) / o->sx : (w - k) / o->sx + 1, cout, scale, zero);
    return o->out;
}

static net random_net(uint64_t seed) {
    net n = {.tensors = 0};
    hd_rng_seed(&n.rng, seed, 7);
    int x = codes(&n, 4, draw(&n, 4, 9), draw(&n, 4, 9), draw(&n, 1, 6), 0.02f, draw(&n, -128, 127));
    for (int layers = draw(&n, 2, 4); layers > 0; layers--) {
        int kind = draw(&n, 0, 5);
        if (kind < 3) x = add_window(&n, kind == 1 ? HD_TFLITE_DEPTHWISE : HD_TFLITE_CONV, x, 0, 3);
        else if (kind < 5) x = add_window(&n, kind == 3 ? HD_TFLITE_AVERAGE_POOL : HD_TFLITE_MAX_POOL, x, 0, 0);
        else {
            int side = add_window(&n, HD_TFLITE_CONV, x, 1, 6);
            net_op *o = &n.o[n.ops++];
            *o = (net_op){.code = HD_TFLITE_ADD, .in = {x, side}, .inputs = 2, .activation = draw(&n, 0, 1)};
            float larger = fmaxf(n.t[x].scale[0], n.t[side].scale[0]);
            x = o->out = codes(&n, 4, n.t[x].dim[1], n.t[x].dim[2], n.t[x].dim[3], larger * 1.3f, o->activation ? -128 : draw(&n, -20, 20));
        }
    }
    const int *d = n.t[x].dim;
    net_op *o = &n.o[n.ops++];
    *o = (net_op){.code = HD_TFLITE_RESHAPE, .inputs = 1, .in = {x}};
    int flat = o->out = codes(&n, 2, 1, 1, d[1] * d[2] * d[3], n.t[x].scale[0], n.t[x].zero);
    o = &n.o[n.ops++];
    *o = (net_op){.code = HD_TFLITE_FULLY_CONNECTED};
    weights(&n, o, 2, (int[]){5, n.t[flat].dim[1], 1, 1}, 0, 5, flat);
    o->out = codes(&n, 2, 1, 1, 5, sum_scale(&n, o, n.t[flat].dim[1], 3), draw(&n, -20, 20));
    return n;
}

static flat_builder file_of(const net *n) {
    flat_builder b;
    flat_start(&b, "TFL3");
    size_t model = flat_table(&b, 5, 0x16), codes_at, graphs, graph, buffers, tensors, ops;
    int input = 0, output = n->o[n->ops - 1].out;
    flat_root(&b, model);
    codes_at = flat_vector(&b, NULL, (size_t)n->ops, 4);
    flat_point(&b, model, 1, codes_at);
    for (int i = 0; i < n->ops; i++) {
        size_t c = flat_table(&b, 4, 8);
        flat_set(&b, c, 3, (uint64_t)n->o[i].code, 4);
        flat_element(&b, codes_at, (size_t)i, c);
    }
    graphs = flat_vector(&b, NULL, 1, 4);
    flat_point(&b, model, 2, graphs);
    graph = flat_table(&b, 4, 15);
    flat_element(&b, graphs, 0, graph);
    tensors = flat_vector(&b, NULL, (size_t)n->tensors, 4);
    flat_point(&b, graph, 0, tensors);
    for (int i = 0; i < n->tensors; i++) {
        const net_tensor *x = &n->t[i];
        int64_t zeros[16] = {0};
        if (x->scales == 1) zeros[0] = x->zero;
        size_t t = flat_table(&b, 5, 0x17);
        flat_element(&b, tensors, (size_t)i, t);
        flat_point(&b, t, 0, flat_vector(&b, x->dim, (size_t)x->rank, 4));
        flat_set(&b, t, 1, (uint64_t)x->type, 1);
        flat_set(&b, t, 2, x->data ? (uint64_t)i + 1 : 0, 4);
        size_t q = flat_table(&b, 7, 0x4c);
        flat_point(&b, t, 4, q);
        flat_point(&b, q, 2, flat_vector(&b, x->scale, (size_t)x->scales, 4));
        flat_point(&b, q, 3, flat_vector(&b, zeros, (size_t)x->scales, 8));
        flat_set(&b, q, 6, (uint64_t)x->axis, 4);
    }
    flat_point(&b, graph, 1, flat_vector(&b, &input, 1, 4));
    flat_point(&b, graph, 2, flat_vector(&b, &output, 1, 4));
    ops = flat_vector(&b, NULL, (size_t)n->ops, 4);
    flat_point(&b, graph, 3, ops);
    for (int i = 0; i < n->ops; i++) {
        const net_op *o = &n->o[i];
        int depthwise = o->code == HD_TFLITE_DEPTHWISE, weighed = o->code == HD_TFLITE_CONV || depthwise, pools = o->code == HD_TFLITE_AVERAGE_POOL || o->code == HD_TFLITE_MAX_POOL;
        size_t t = flat_table(&b, 5, 0x17), options;
        flat_element(&b, ops, (size_t)i, t);
        flat_set(&b, t, 0, (uint64_t)i, 4);
        flat_point(&b, t, 1, flat_vector(&b, o->in, (size_t)o->inputs, 4));
        flat_point(&b, t, 2, flat_vector(&b, &o->out, 1, 4));
        options = flat_table(&b, 7, !weighed && !pools ? 1 : pools ? 0x3f : depthwise ? 0x1f : 0x0f);
        flat_point(&b, t, 4, options);
        flat_set(&b, options, 0, weighed || pools ? !o->same : (uint64_t)o->activation, 1);
        if (!weighed && !pools) continue;
        flat_set(&b, options, 1, (uint64_t)o->sx, 4);
        flat_set(&b, options, 2, (uint64_t)o->sy, 4);
        if (pools) flat_set(&b, options, 3, (uint64_t)o->kw, 4), flat_set(&b, options, 4, (uint64_t)o->kh, 4);
        if (depthwise) flat_set(&b, options, 3, 1, 4);
        flat_set(&b, options, pools ? 5 : depthwise ? 4 : 3, (uint64_t)o->activation, 1);
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

/* Multipliers of 16 bits move few codes over an edge. An addition is two roundings here, one in TFLite: two errors of up to a half together pass a half in a quarter of the cases. */
static void check_share(const size_t *values, const size_t *different, const char *label) {
    if (different[0] * 100 > values[0] || different[1] * 3 > values[1])
        fail_msg("%s: %zu of %zu codes off by one, of additions %zu of %zu", label, different[0], values[0], different[1], values[1]);
}

static void random_networks(void **state) {
    (void)state;
    size_t values[2] = {0, 0}, different[2] = {0, 0};
    for (uint64_t seed = 1; seed <= 200; seed++) {
        net n = random_net(seed);
        flat_builder file = file_of(&n);
        char label[32];
        snprintf(label, sizeof label, "seed %llu", (unsigned long long)seed);
        pair p;
        open_pair(&p, file.data, file.size, label);
        for (size_t i = 0; i < p.t.tensor[p.t.input].count; i++) p.value[p.t.input][i] = (int8_t)draw(&n, -128, 127);
        compare_stages(&p, label);
        for (int k = 0; k < 2; k++) values[k] += p.values[k], different[k] += p.different[k];
        close_pair(&p);
        flat_free(&file);
        for (int i = 0; i < n.tensors; i++) free(n.t[i].data);
    }
    assert_true(values[0] > 20000 && values[1] > 2000);
    check_share(values, different, "random networks");
}

/* ---- published models ---- */

static void published(const char *name, const char *inputs, const char *labels, int bias, uint32_t count) {
    char model[4096], path[4096], classes_path[4096];
    hd_err err = {0};
    if (hd_models_file(model, sizeof model, name, &err) || hd_models_file(path, sizeof path, inputs, &err) || hd_models_file(classes_path, sizeof classes_path, labels, &err)) {
        printf("%s\n", err.message);
        skip();
    }
    uint8_t *data;
    size_t size, classes, same = 0, right = 0, right_there = 0;
    hd_idx *x, *y;
    assert_int_equal(hd_file_read(&data, &size, model, 1 << 24, 0, &err), HD_OK);
    assert_int_equal(hd_idx_load(&x, path, &err), HD_OK);
    assert_int_equal(hd_idx_load(&y, classes_path, &err), HD_OK);
    pair p;
    open_pair(&p, data, size, name);
    classes = p.t.tensor[p.t.output].count;
    if (count > x->dim[0]) count = x->dim[0];
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *item = (const uint8_t *)x->data + (size_t)i * x->item;
        for (size_t k = 0; k < x->item; k++) p.value[p.t.input][k] = (int8_t)(item[k] + bias);
        compare_stages(&p, name);
        hd_integer_run(p.e, p.value[p.t.input]);
        int here = argmax(hd_integer_tensor(p.e, p.m->output), classes), there = argmax(p.value[p.t.output], classes), label = ((const uint8_t *)y->data)[i];
        same += here == there;
        right += here == label;
        right_there += there == label;
    }
    printf("%s: %u samples, right %zu, by TFLite's arithmetic %zu; same class %zu; of %zu codes %zu off by one, of %zu additions' %zu\n", name, count, right, right_there, same, p.values[0],
           p.different[0], p.values[1], p.different[1]);
    assert_true((double)same >= 0.98 * count);
    assert_true(abs((int)right - (int)right_there) <= (int)count / 100);
    check_share(p.values, p.different, name);
    close_pair(&p);
    hd_idx_free(x);
    hd_idx_free(y);
    free(data);
}

static void resnet8(void **state) {
    (void)state;
    published("resnet8-int8.tflite", "ic01-images.idx", "ic01-labels.idx", -128, 200);
}

static void dscnn(void **state) {
    (void)state;
    published("dscnn-int8.tflite", "kws01-inputs.idx", "kws01-labels.idx", 0, 200);
}

static void messages(void **state) {
    (void)state;
    net n = random_net(3);
    hd_graph *g;
    hd_model *m;
    hd_err err = {0};
    n.t[0].scales = 0; /* the input without a scale */
    flat_builder file = file_of(&n);
    assert_int_equal(hd_import_tflite_memory(&g, file.data, file.size, "x.tflite", &err), HD_UNSUPPORTED);
    assert_non_null(strstr(err.message, "computed tensors are float32, or int8 with one scale"));
    flat_free(&file);
    n.t[0].scales = 1;
    n.t[0].type = HD_TFLITE_UINT8;
    file = file_of(&n);
    assert_int_equal(hd_import_tflite_memory(&g, file.data, file.size, "x.tflite", &err), HD_UNSUPPORTED);
    assert_non_null(strstr(err.message, "is uint8; float32 and int8 are supported"));
    flat_free(&file);
    n.t[0].type = HD_TFLITE_INT8;
    file = file_of(&n);
    assert_int_equal(hd_import_tflite_memory(&g, file.data, file.size, "x.tflite", &err), HD_OK);
    g->tensor[g->node[0].output].scale = 0;
    assert_int_equal(hd_compress_kept(&m, g, &err), HD_UNSUPPORTED);
    assert_null(m);
    assert_non_null(strstr(err.message, "has no scale of its own"));
    hd_graph_free(g);
    flat_free(&file);
    for (int i = 0; i < n.tensors; i++) free(n.t[i].data);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_networks), cmocka_unit_test(messages), cmocka_unit_test(resnet8), cmocka_unit_test(dscnn)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
