#include "tflite_int8_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

const char *const tflite_build_name[TFLITE_BUILDS] = {"two roundings", "one rounding", "XNNPACK"};

typedef struct run {
    hd_tflite *t;
    int8_t **value;
    tflite_build build;
    tflite_changes changes;
} run;

static double multiplier(double real, int bits) {
    int exponent;
    double m = frexp(real, &exponent);
    return ldexp(round(ldexp(m, bits)), exponent - bits);
}

/* x times `real`, by a multiplier of 31 bits, in the roundings of the build's integer kernels. */
static int32_t multiply(const run *r, int32_t x, double real) {
    int exponent;
    if (r->changes.bits) return (int32_t)floor((double)x * multiplier(real, r->changes.bits) + 0.5); /* exact: fewer than 53 bits */
    int64_t m = llround(ldexp(frexp(real, &exponent), 31));
    if (m == (int64_t)1 << 31) m /= 2, exponent++;
    if (r->build == TFLITE_ONE_ROUNDING) {
        if (exponent > 30) fail_msg("a multiplier of %g", real);
        if (31 - exponent > 62) return 0;
        return (int32_t)((x * m + ((int64_t)1 << (30 - exponent))) >> (31 - exponent));
    }
    int left = exponent > 0 ? exponent : 0, right = exponent > 0 ? 0 : -exponent;
    int64_t product = (int64_t)(x * (int64_t)(1 << left)) * m;
    int64_t high = (product + (product >= 0 ? 1 << 30 : 1 - (1 << 30))) / ((int64_t)1 << 31);
    if (right > 31) return 0;
    int64_t mask = ((int64_t)1 << right) - 1, rest = high & mask;
    return (int32_t)((high >> right) + (rest > (mask >> 1) + (high < 0)));
}

static float float_scale(const hd_tflite_tensor *t, int channel) { return hd_tflite_scale(t, (size_t)channel); }
static double scale_of(const hd_tflite_tensor *t, int channel) { return (double)float_scale(t, channel); }
static int zero_of(const hd_tflite_tensor *t) { return (int)hd_tflite_zero(t, 0); }

/* A layer's accumulator to steps of its output. */
static int32_t requantise(const run *r, int32_t sum, const hd_tflite_tensor *x, const hd_tflite_tensor *w, const hd_tflite_tensor *y, int channel) {
    if (r->build == TFLITE_XNNPACK && !r->changes.bits) {
        float scale = float_scale(x, 0) * float_scale(w, channel) / float_scale(y, 0), steps = (float)sum * scale;
        return steps > 1000 ? 1000 : steps < -1000 ? -1000 : (int32_t)lrintf(steps); /* the clamp that follows is far inside */
    }
    return multiply(r, sum, scale_of(x, 0) * scale_of(w, channel) / scale_of(y, 0));
}

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

static void run_window(const run *r, const hd_tflite_node *n) {
    hd_tflite *t = r->t;
    int8_t **value = r->value;
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
                if (!w && n->op != HD_TFLITE_MAX_POOL && r->changes.half_up_mean) v = (int32_t)floor((double)sum / count + 0.5);
                if (w) {
                    if (bias) sum += (int32_t)hd_flat_u32(bias->data + 4 * oc);
                    v = requantise(r, sum, x, w, y, oc) + zero_of(y);
                }
                value[n->output][(oy * y->dim[2] + ox) * outputs + oc] = clamp(v, y, activation);
            }
}

static void run_fc(const run *r, const hd_tflite_node *n) {
    hd_tflite *t = r->t;
    const hd_tflite_tensor *x = &t->tensor[n->input[0]], *w = &t->tensor[n->input[1]], *bias = &t->tensor[n->input[2]], *y = &t->tensor[n->output];
    const int8_t *in = r->value[n->input[0]];
    for (int k = 0; k < w->dim[0]; k++) {
        int32_t sum = (int32_t)hd_flat_u32(bias->data + 4 * k);
        for (int i = 0; i < w->dim[1]; i++) sum += (in[i] - zero_of(x)) * (int8_t)w->data[k * w->dim[1] + i];
        r->value[n->output][k] = clamp(requantise(r, sum, x, w, y, k) + zero_of(y), y, hd_flat_byte(&t->flat, n->options, 0, 0));
    }
}

/* XNNPACK's: multipliers of both tensors on one power of two, the larger of 21 bits. */
static int32_t add_xnnpack(int a, int b, const hd_tflite_tensor *x, const hd_tflite_tensor *z, const hd_tflite_tensor *y) {
    float sa = float_scale(x, 0) / float_scale(y, 0), sb = float_scale(z, 0) / float_scale(y, 0);
    int shift = 20 - ilogbf(fmaxf(sa, sb));
    int32_t ma = (int32_t)lrintf(ldexpf(sa, shift)), mb = (int32_t)lrintf(ldexpf(sb, shift));
    return (int32_t)(((int64_t)a * ma + (int64_t)b * mb + ((int64_t)1 << (shift - 1))) >> shift);
}

static int32_t add_codes(const run *r, int a, int b, const hd_tflite_tensor *x, const hd_tflite_tensor *z, const hd_tflite_tensor *y) {
    if (r->changes.additions) {
        int bits = r->changes.bits ? r->changes.bits : 31;
        double u = a * multiplier(scale_of(x, 0) / scale_of(y, 0), bits), v = b * multiplier(scale_of(z, 0) / scale_of(y, 0), bits);
        return (int32_t)(r->changes.additions == 1 ? floor(u + 0.5) + floor(v + 0.5) : floor(u + v + 0.5));
    }
    if (r->build == TFLITE_XNNPACK) return add_xnnpack(a, b, x, z, y);
    double twice = 2 * fmax(scale_of(x, 0), scale_of(z, 0));
    int32_t sum = multiply(r, a * (1 << 20), scale_of(x, 0) / twice) + multiply(r, b * (1 << 20), scale_of(z, 0) / twice);
    return multiply(r, sum, twice / ((1 << 20) * scale_of(y, 0)));
}

static void run_add(const run *r, const hd_tflite_node *n) {
    hd_tflite *t = r->t;
    const hd_tflite_tensor *a = &t->tensor[n->input[0]], *b = &t->tensor[n->input[1]], *y = &t->tensor[n->output];
    const int8_t *p = r->value[n->input[0]], *q = r->value[n->input[1]];
    for (size_t i = 0; i < y->count; i++)
        r->value[n->output][i] = clamp(add_codes(r, p[i] - zero_of(a), q[i] - zero_of(b), a, b, y) + zero_of(y), y, hd_flat_byte(&t->flat, n->options, 0, 0));
}

static void run_mean(const run *r, const hd_tflite_node *n) {
    const hd_tflite_tensor *x = &r->t->tensor[n->input[0]], *y = &r->t->tensor[n->output];
    int pixels = x->dim[1] * x->dim[2], channels = x->dim[3];
    for (int c = 0; c < channels; c++) {
        double sum = 0;
        for (int p = 0; p < pixels; p++) sum += r->value[n->input[0]][p * channels + c] - zero_of(x);
        r->value[n->output][c] = clamp((int32_t)lround(sum / pixels * scale_of(x, 0) / scale_of(y, 0)) + zero_of(y), y, 0);
    }
}

void tflite_run(hd_tflite *t, int8_t **value, tflite_build build, tflite_changes changes) {
    run r = {t, value, build, changes};
    for (int i = 0; i < t->n_nodes; i++) {
        const hd_tflite_node *n = &t->node[i];
        switch (n->op) {
        case HD_TFLITE_CONV:
        case HD_TFLITE_DEPTHWISE:
        case HD_TFLITE_MAX_POOL:
        case HD_TFLITE_AVERAGE_POOL: run_window(&r, n); break;
        case HD_TFLITE_FULLY_CONNECTED: run_fc(&r, n); break;
        case HD_TFLITE_ADD: run_add(&r, n); break;
        case HD_TFLITE_MEAN: run_mean(&r, n); break;
        case HD_TFLITE_RESHAPE:
        case HD_TFLITE_SOFTMAX: memcpy(value[n->output], value[n->input[0]], t->tensor[n->output].count); break;
        default: fail_msg("operator %d in a test network", n->op);
        }
    }
}
