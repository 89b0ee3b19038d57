/* Random quantised networks as .tflite files. */
#include "tflite_int8_net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/import/tflite_internal.h"
#include "tflite_frame.h"

int int8_net_draw(int8_net *n, int lo, int hi) { return lo + (int)hd_rng_below(&n->rng, (uint32_t)(hi - lo + 1)); }

static int codes(int8_net *n, int rank, int h, int w, int c, float scale, int zero) {
    n->t[n->tensors] = (int8_tensor){.rank = rank, .dim = {1, rank == 4 ? h : c, w, c}, .type = HD_TFLITE_INT8, .zero = zero, .scales = 1, .scale = {scale}};
    return n->tensors++;
}

/* Weights of all int8 values with a scale a channel (or one), and int32 biases. */
static void weights(int8_net *n, int8_op *o, int rank, const int *dim, int axis, int cout, int x) {
    int8_tensor *w = &n->t[n->tensors], *b = w + 1;
    *w = (int8_tensor){.rank = rank, .dim = {dim[0], dim[1], dim[2], dim[3]}, .type = HD_TFLITE_INT8, .scales = int8_net_draw(n, 0, 3) ? cout : 1, .axis = axis};
    *b = (int8_tensor){.rank = 1, .dim = {cout}, .type = HD_TFLITE_INT32, .scales = cout};
    w->bytes = 1;
    for (int i = 0; i < rank; i++) w->bytes *= (size_t)dim[i];
    w->data = malloc(w->bytes);
    for (size_t i = 0; i < w->bytes; i++) w->data[i] = (uint8_t)(int8_net_draw(n, 0, 40) ? int8_net_draw(n, -127, 127) : 0x80);
    for (int i = 0; i < w->scales; i++) w->scale[i] = 0.002f * (0.25f + hd_rng_float(&n->rng));
    b->bytes = 4 * (size_t)cout;
    b->data = malloc(b->bytes);
    for (int i = 0; i < cout; i++) {
        int32_t v = int8_net_draw(n, -20000, 20000);
        memcpy(b->data + 4 * i, &v, 4);
        b->scale[i] = n->t[x].scale[0] * w->scale[w->scales > 1 ? i : 0];
    }
    o->inputs = 3;
    o->in[0] = x, o->in[1] = n->tensors, o->in[2] = n->tensors + 1;
    n->tensors += 2;
}

/* A scale for what sums of `terms` products come to: `sigmas` of their deviation are the largest code. */
static float sum_scale(const int8_net *n, const int8_op *o, int terms, float sigmas) {
    float largest = 0;
    const int8_tensor *w = &n->t[o->in[1]];
    for (int i = 0; i < w->scales; i++) largest = fmaxf(largest, w->scale[i]);
    return sigmas * sqrtf((float)terms) * 73 * 60 * n->t[o->in[0]].scale[0] * largest / 127;
}

static int add_window(int8_net *n, int code, int x, int kernel, float sigmas) {
    int8_op *o = &n->o[n->ops++];
    int depthwise = code == HD_TFLITE_DEPTHWISE, weighed = code == HD_TFLITE_CONV || depthwise, h = n->t[x].dim[1], w = n->t[x].dim[2], c = n->t[x].dim[3];
    int k = kernel ? kernel : int8_net_draw(n, 1, 3), cout = kernel || !weighed ? c : depthwise ? c : int8_net_draw(n, 1, 10);
    if (k > h || k > w) k = 1;
    *o = (int8_op){.code = code, .inputs = 1, .in = {x}, .same = weighed ? int8_net_draw(n, 0, 1) : 0, .sx = kernel ? 1 : int8_net_draw(n, 1, 2), .sy = kernel ? 1 : int8_net_draw(n, 1, 2), .kw = k, .kh = k};
    if (!kernel) o->activation = (int[]){0, 1, 3}[int8_net_draw(n, 0, 2)];
    float scale = n->t[x].scale[0];
    int zero = n->t[x].zero;
    if (weighed) {
        weights(n, o, 4, depthwise ? (int[]){1, k, k, cout} : (int[]){cout, k, k, c}, depthwise ? 3 : 0, cout, x);
        scale = sum_scale(n, o, k * k * (depthwise ? 1 : c), sigmas);
        zero = o->activation ? int8_net_draw(n, -128, -100) : int8_net_draw(n, -20, 20);
    } else
        o->activation = 0;
    o->out = codes(n, 4, o->same ? (h + o->sy - 1) / o->sy : (h - k) / o->sy + 1, o->same ? (w + o->sx - 1) / o->sx : (w - k) / o->sx + 1, cout, scale, zero);
    return o->out;
}

int8_net int8_net_random(uint64_t seed) {
    int8_net n = {.tensors = 0};
    hd_rng_seed(&n.rng, seed, 7);
    int x = codes(&n, 4, int8_net_draw(&n, 4, 9), int8_net_draw(&n, 4, 9), int8_net_draw(&n, 1, 6), 0.02f, int8_net_draw(&n, -128, 127));
    for (int layers = int8_net_draw(&n, 2, 4); layers > 0; layers--) {
        int kind = int8_net_draw(&n, 0, 5);
        if (kind < 3) x = add_window(&n, kind == 1 ? HD_TFLITE_DEPTHWISE : HD_TFLITE_CONV, x, 0, 3);
        else if (kind < 5) x = add_window(&n, kind == 3 ? HD_TFLITE_AVERAGE_POOL : HD_TFLITE_MAX_POOL, x, 0, 0);
        else {
            int side = add_window(&n, HD_TFLITE_CONV, x, 1, 6);
            int8_op *o = &n.o[n.ops++];
            *o = (int8_op){.code = HD_TFLITE_ADD, .in = {x, side}, .inputs = 2, .activation = int8_net_draw(&n, 0, 1)};
            float larger = fmaxf(n.t[x].scale[0], n.t[side].scale[0]);
            x = o->out = codes(&n, 4, n.t[x].dim[1], n.t[x].dim[2], n.t[x].dim[3], larger * 1.3f, o->activation ? -128 : int8_net_draw(&n, -20, 20));
        }
    }
    const int *d = n.t[x].dim;
    int8_op *o = &n.o[n.ops++];
    *o = (int8_op){.code = HD_TFLITE_RESHAPE, .inputs = 1, .in = {x}};
    int flat = o->out = codes(&n, 2, 1, 1, d[1] * d[2] * d[3], n.t[x].scale[0], n.t[x].zero);
    o = &n.o[n.ops++];
    *o = (int8_op){.code = HD_TFLITE_FULLY_CONNECTED};
    weights(&n, o, 2, (int[]){5, n.t[flat].dim[1], 1, 1}, 0, 5, flat);
    o->out = codes(&n, 2, 1, 1, 5, sum_scale(&n, o, n.t[flat].dim[1], 3), int8_net_draw(&n, -20, 20));
    return n;
}

static void put_options(flat_builder *b, size_t table, const int8_op *o) {
    int depthwise = o->code == HD_TFLITE_DEPTHWISE, weighed = o->code == HD_TFLITE_CONV || depthwise, pools = o->code == HD_TFLITE_AVERAGE_POOL || o->code == HD_TFLITE_MAX_POOL;
    size_t options = flat_table(b, 7, !weighed && !pools ? 1 : pools ? 0x3f : depthwise ? 0x1f : 0x0f);
    flat_point(b, table, 4, options);
    flat_set(b, options, 0, weighed || pools ? !o->same : (uint64_t)o->activation, 1);
    if (!weighed && !pools) return;
    flat_set(b, options, 1, (uint64_t)o->sx, 4);
    flat_set(b, options, 2, (uint64_t)o->sy, 4);
    if (pools) flat_set(b, options, 3, (uint64_t)o->kw, 4), flat_set(b, options, 4, (uint64_t)o->kh, 4);
    if (depthwise) flat_set(b, options, 3, 1, 4);
    flat_set(b, options, pools ? 5 : depthwise ? 4 : 3, (uint64_t)o->activation, 1);
}

flat_builder int8_net_file(const int8_net *n) {
    tflite_frame f = tflite_frame_new(n->tensors, n->ops, 0, n->o[n->ops - 1].out);
    for (int i = 0; i < n->tensors; i++) {
        const int8_tensor *x = &n->t[i];
        int64_t zeros[16] = {0};
        if (x->scales == 1) zeros[0] = x->zero;
        size_t t = tflite_frame_tensor(&f, i, 0x17, x->dim, x->rank, x->type, x->data, x->bytes), q = flat_table(&f.b, 7, 0x4c);
        flat_point(&f.b, t, 4, q);
        flat_point(&f.b, q, 2, flat_vector(&f.b, x->scale, (size_t)x->scales, 4));
        flat_point(&f.b, q, 3, flat_vector(&f.b, zeros, (size_t)x->scales, 8));
        flat_set(&f.b, q, 6, (uint64_t)x->axis, 4);
    }
    for (int i = 0; i < n->ops; i++) {
        const int8_op *o = &n->o[i];
        put_options(&f.b, tflite_frame_op(&f, i, 1, o->code, o->in, o->inputs, &o->out), o);
    }
    return f.b;
}

void int8_net_free(int8_net *n) {
    for (int i = 0; i < n->tensors; i++) free(n->t[i].data);
}
