/* Every layer but the convolutions: fully connected, pooling, elementwise functions, softmax. */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "batch.h"

void hd_to_flat(hd_shape s, int n, const float *x, float *flat) {
    size_t plane = (size_t)s.h * (size_t)s.w, samples = (size_t)n;
    for (size_t c = 0; c < (size_t)s.c; c++)
        for (size_t b = 0; b < samples; b++)
            for (size_t p = 0; p < plane; p++) flat[(c * plane + p) * samples + b] = x[(c * samples + b) * plane + p];
}

void hd_from_flat(hd_shape s, int n, const float *flat, float *x, int add) {
    size_t plane = (size_t)s.h * (size_t)s.w, samples = (size_t)n;
    for (size_t c = 0; c < (size_t)s.c; c++)
        for (size_t b = 0; b < samples; b++)
            for (size_t p = 0; p < plane; p++) {
                float v = flat[(c * plane + p) * samples + b], *to = &x[(c * samples + b) * plane + p];
                *to = add ? *to + v : v;
            }
}

void hd_fc_forward(const hd_node *t, hd_shape in, int n, const float *x, float *y, float *flat) {
    hd_to_flat(in, n, x, flat);
    for (int o = 0; o < t->cout; o++)
        for (int s = 0; s < n; s++) y[(size_t)o * (size_t)n + (size_t)s] = t->bias ? t->bias[o] : 0;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, t->cout, n, t->cin, 1, t->weight, t->cin, flat, n, 1, y, n);
}

void hd_fc_backward(const hd_node *t, hd_shape in, int n, const float *dy, const float *flat, float *dflat, float *dx, int add,
                    float *dweight, float *dbias) {
    if (dbias)
        for (int o = 0; o < t->cout; o++) {
            float sum = 0;
            for (int s = 0; s < n; s++) sum += dy[(size_t)o * (size_t)n + (size_t)s];
            dbias[o] = sum;
        }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, t->cout, t->cin, n, 1, dy, n, flat, n, 0, dweight, t->cin);
    if (!dx) return;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, t->cin, n, t->cout, 1, t->weight, t->cin, dy, n, 0, dflat, n);
    hd_from_flat(in, n, dflat, dx, add);
}

/* The part of window (oy, ox) that lies inside the input, as window rows and columns. */
typedef struct window {
    int y, x; /* input position of window element (0, 0) */
    int ky0, ky1, kx0, kx1;
} window;

static window window_at(const hd_node *t, hd_shape in, int oy, int ox) {
    window v;
    v.y = oy * t->sy - t->pad_top;
    v.x = ox * t->sx - t->pad_left;
    hd_valid_range(t->kh, in.h, t->dy, v.y, &v.ky0, &v.ky1);
    hd_valid_range(t->kw, in.w, t->dx, v.x, &v.kx0, &v.kx1);
    return v;
}

void hd_max_pool_forward(const hd_node *t, hd_shape in, hd_shape out, int n, const float *x, float *y, int *winner) {
    size_t planes = (size_t)in.c * (size_t)n, plane = (size_t)in.h * (size_t)in.w, oplane = (size_t)out.h * (size_t)out.w;
    for (int oy = 0; oy < out.h; oy++)
        for (int ox = 0; ox < out.w; ox++) {
            window v = window_at(t, in, oy, ox);
            size_t o = (size_t)oy * (size_t)out.w + (size_t)ox;
            for (size_t c = 0; c < planes; c++) {
                const float *xc = x + c * plane;
                float best = -INFINITY;
                int at = -1; /* a window wholly in the padding has no winner */
                for (int ky = v.ky0; ky < v.ky1; ky++)
                    for (int kx = v.kx0; kx < v.kx1; kx++) {
                        int i = (v.y + ky * t->dy) * in.w + v.x + kx * t->dx;
                        int better = at < 0 || xc[i] > best;
                        best = better ? xc[i] : best;
                        at = better ? i : at;
                    }
                y[c * oplane + o] = best;
                if (winner) winner[c * oplane + o] = at;
            }
        }
}

void hd_max_pool_backward(hd_shape in, hd_shape out, int n, const float *dy, const int *winner, float *dx, int add) {
    size_t planes = (size_t)in.c * (size_t)n, plane = (size_t)in.h * (size_t)in.w, oplane = (size_t)out.h * (size_t)out.w;
    if (!add) memset(dx, 0, planes * plane * sizeof *dx);
    for (size_t c = 0; c < planes; c++)
        for (size_t o = 0; o < oplane; o++)
            if (winner[c * oplane + o] >= 0) dx[c * plane + (size_t)winner[c * oplane + o]] += dy[c * oplane + o];
}

static float inverse_count(const hd_node *t, const window *v) {
    int count = t->count_include_pad ? t->kh * t->kw : (v->ky1 - v->ky0) * (v->kx1 - v->kx0);
    return count > 0 ? 1 / (float)count : 0;
}

void hd_avg_pool_forward(const hd_node *t, hd_shape in, hd_shape out, int n, const float *x, float *y) {
    size_t planes = (size_t)in.c * (size_t)n, plane = (size_t)in.h * (size_t)in.w, oplane = (size_t)out.h * (size_t)out.w;
    for (int oy = 0; oy < out.h; oy++)
        for (int ox = 0; ox < out.w; ox++) {
            window v = window_at(t, in, oy, ox);
            float scale = inverse_count(t, &v);
            size_t o = (size_t)oy * (size_t)out.w + (size_t)ox;
            for (size_t c = 0; c < planes; c++) {
                const float *xc = x + c * plane;
                float sum = 0;
                for (int ky = v.ky0; ky < v.ky1; ky++)
                    for (int kx = v.kx0; kx < v.kx1; kx++) sum += xc[(v.y + ky * t->dy) * in.w + v.x + kx * t->dx];
                y[c * oplane + o] = sum * scale;
            }
        }
}

void hd_avg_pool_backward(const hd_node *t, hd_shape in, hd_shape out, int n, const float *dy, float *dx, int add) {
    size_t planes = (size_t)in.c * (size_t)n, plane = (size_t)in.h * (size_t)in.w, oplane = (size_t)out.h * (size_t)out.w;
    if (!add) memset(dx, 0, planes * plane * sizeof *dx);
    for (int oy = 0; oy < out.h; oy++)
        for (int ox = 0; ox < out.w; ox++) {
            window v = window_at(t, in, oy, ox);
            float scale = inverse_count(t, &v);
            size_t o = (size_t)oy * (size_t)out.w + (size_t)ox;
            for (size_t c = 0; c < planes; c++) {
                float *xc = dx + c * plane, share = dy[c * oplane + o] * scale;
                for (int ky = v.ky0; ky < v.ky1; ky++)
                    for (int kx = v.kx0; kx < v.kx1; kx++) xc[(v.y + ky * t->dy) * in.w + v.x + kx * t->dx] += share;
            }
        }
}

void hd_unary_forward(const hd_node *t, size_t size, const float *x, float *y) {
    for (size_t i = 0; i < size; i++) y[i] = hd_fn_apply(t->fn, t->alpha, t->beta, x[i]);
}

/* Derivative at x, where the function has the value y. */
static float slope(const hd_node *t, float x, float y) {
    float s;
    switch (t->fn) {
    case HD_FN_SIGMOID: return y * (1 - y);
    case HD_FN_TANH: return 1 - y * y;
    case HD_FN_LEAKY_RELU: return x < 0 ? t->alpha : 1;
    case HD_FN_ELU: return x < 0 ? y + t->alpha : 1;
    case HD_FN_HARD_SIGMOID: s = t->alpha * x + t->beta; return s > 0 && s < 1 ? t->alpha : 0;
    case HD_FN_HARD_SWISH: return x <= -3 ? 0 : x >= 3 ? 1 : (2 * x + 3) / 6;
    case HD_FN_SOFTPLUS: return 1 / (1 + expf(-x));
    case HD_FN_EXP: return y;
    case HD_FN_ABS: return x > 0 ? 1.0f : x < 0 ? -1.0f : 0;
    case HD_FN_NEG: return -1;
    case HD_FN_SQRT: return y > 0 ? 0.5f / y : 0;
    case HD_FN_GELU: return 0.5f * (1 + erff(x * 0.70710678f)) + x * 0.39894228f * expf(-0.5f * x * x);
    case HD_FN_SILU: s = 1 / (1 + expf(-x)); return s * (1 + x * (1 - s));
    }
    return 0;
}

void hd_unary_backward(const hd_node *t, size_t size, const float *x, const float *y, const float *dy, float *dx, int add) {
    for (size_t i = 0; i < size; i++) {
        float d = dy[i] * slope(t, x[i], y[i]);
        dx[i] = add ? dx[i] + d : d;
    }
}

void hd_softmax_forward(hd_shape s, int n, const float *x, float *y) {
    size_t plane = (size_t)s.h * (size_t)s.w, samples = (size_t)n;
    for (size_t b = 0; b < samples; b++) {
        float top = -INFINITY;
        double sum = 0;
        for (size_t c = 0; c < (size_t)s.c; c++)
            for (size_t p = 0; p < plane; p++) top = fmaxf(top, x[(c * samples + b) * plane + p]);
        for (size_t c = 0; c < (size_t)s.c; c++)
            for (size_t p = 0; p < plane; p++) {
                size_t i = (c * samples + b) * plane + p;
                y[i] = expf(x[i] - top);
                sum += (double)y[i];
            }
        for (size_t c = 0; c < (size_t)s.c; c++)
            for (size_t p = 0; p < plane; p++) y[(c * samples + b) * plane + p] *= (float)(1 / sum);
    }
}

void hd_softmax_backward(hd_shape s, int n, const float *y, const float *dy, float *dx, int add) {
    size_t plane = (size_t)s.h * (size_t)s.w, samples = (size_t)n;
    for (size_t b = 0; b < samples; b++) {
        double dot = 0;
        for (size_t c = 0; c < (size_t)s.c; c++)
            for (size_t p = 0; p < plane; p++) {
                size_t i = (c * samples + b) * plane + p;
                dot += (double)y[i] * (double)dy[i];
            }
        for (size_t c = 0; c < (size_t)s.c; c++)
            for (size_t p = 0; p < plane; p++) {
                size_t i = (c * samples + b) * plane + p;
                float d = y[i] * (dy[i] - (float)dot);
                dx[i] = add ? dx[i] + d : d;
            }
    }
}
