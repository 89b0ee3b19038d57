/* Convolutions: im2col and matrix products, and a direct form for depthwise ones, whose products would be one row high. */
#include <cblas.h>
#include <string.h>

#include "batch.h"

/* One tap (channel, ky, kx) over all samples: copies between the plane it reads and its row of the col matrix. */
typedef struct tap {
    int start_y, start_x; /* input position of output (0, 0) */
    int y0, y1, x0, x1;   /* outputs whose input lies inside */
    int shifted;          /* the row is the plane moved by a constant: same width, stride 1 */
} tap;

static tap tap_at(const hd_node *t, hd_shape in, hd_shape out, int ky, int kx) {
    tap p;
    p.start_y = ky * t->dy - t->pad_top;
    p.start_x = kx * t->dx - t->pad_left;
    hd_valid_range(out.h, in.h, t->sy, p.start_y, &p.y0, &p.y1);
    hd_valid_range(out.w, in.w, t->sx, p.start_x, &p.x0, &p.x1);
    p.shifted = t->sx == 1 && t->sy == 1 && out.w == in.w;
    return p;
}

static void gather_plane(const hd_node *t, const tap *p, hd_shape in, hd_shape out, const float *x, float *row) {
    int w = out.w;
    if (p->y0 == p->y1 || p->x0 == p->x1) {
        memset(row, 0, (size_t)(out.h * w) * sizeof *row);
        return;
    }
    if (p->y0) memset(row, 0, (size_t)(p->y0 * w) * sizeof *row);
    if (p->y1 < out.h) memset(row + p->y1 * w, 0, (size_t)((out.h - p->y1) * w) * sizeof *row);
    if (p->shifted) {
        /* One copy from the first to the last valid element; it drags wrong values into the edge columns, cleared after. */
        int first = p->y0 * w + p->x0, last = (p->y1 - 1) * w + p->x1;
        int shift = p->start_y * w + p->start_x;
        memcpy(row + first, x + first + shift, (size_t)(last - first) * sizeof *row);
        for (int oy = p->y0; oy < p->y1; oy++) {
            for (int ox = 0; ox < p->x0; ox++) row[oy * w + ox] = 0;
            for (int ox = p->x1; ox < w; ox++) row[oy * w + ox] = 0;
        }
        return;
    }
    for (int oy = p->y0; oy < p->y1; oy++) {
        const float *from = x + (oy * t->sy + p->start_y) * in.w + p->start_x;
        float *to = row + oy * w;
        for (int ox = 0; ox < p->x0; ox++) to[ox] = 0;
        if (t->sx == 2) /* a constant the compiler can unroll */
            for (int ox = p->x0; ox < p->x1; ox++) to[ox] = from[ox * 2];
        else
            for (int ox = p->x0; ox < p->x1; ox++) to[ox] = from[ox * t->sx];
        for (int ox = p->x1; ox < w; ox++) to[ox] = 0;
    }
}

/* Adds the row back to the plane; clears the row's edge columns in the shifted case. */
static void scatter_plane(const hd_node *t, const tap *p, hd_shape in, hd_shape out, float *row, float *x) {
    int w = out.w;
    if (p->y0 == p->y1 || p->x0 == p->x1) return;
    if (p->shifted) {
        for (int oy = p->y0; oy < p->y1; oy++) {
            for (int ox = 0; ox < p->x0; ox++) row[oy * w + ox] = 0;
            for (int ox = p->x1; ox < w; ox++) row[oy * w + ox] = 0;
        }
        int first = p->y0 * w + p->x0, count = (p->y1 - 1) * w + p->x1 - first;
        float *restrict to = x + first + p->start_y * w + p->start_x;
        const float *restrict from = row + first;
        for (int i = 0; i < count; i++) to[i] += from[i];
        return;
    }
    for (int oy = p->y0; oy < p->y1; oy++) {
        float *restrict to = x + (oy * t->sy + p->start_y) * in.w + p->start_x;
        const float *restrict from = row + oy * w;
        for (int ox = p->x0; ox < p->x1; ox++) to[ox * t->sx] += from[ox];
    }
}

int hd_conv_is_plain(const hd_node *t) {
    return t->kh == 1 && t->kw == 1 && t->sy == 1 && t->sx == 1 && !t->pad_top && !t->pad_left && !t->pad_bottom && !t->pad_right;
}

int hd_conv_is_depthwise(const hd_node *t) { return t->groups > 1 && t->groups == t->cin; }

static void im2col(const hd_node *t, hd_shape in, hd_shape out, int n, const float *x, float *col) {
    size_t plane = (size_t)in.h * (size_t)in.w, oplane = (size_t)out.h * (size_t)out.w;
    for (int c = 0; c < in.c; c++)
        for (int ky = 0; ky < t->kh; ky++)
            for (int kx = 0; kx < t->kw; kx++) {
                tap p = tap_at(t, in, out, ky, kx);
                for (int s = 0; s < n; s++, col += oplane)
                    gather_plane(t, &p, in, out, x + ((size_t)c * (size_t)n + (size_t)s) * plane, col);
            }
}

static void col2im(const hd_node *t, hd_shape in, hd_shape out, int n, float *col, float *x) {
    size_t plane = (size_t)in.h * (size_t)in.w, oplane = (size_t)out.h * (size_t)out.w;
    for (int c = 0; c < in.c; c++)
        for (int ky = 0; ky < t->kh; ky++)
            for (int kx = 0; kx < t->kw; kx++) {
                tap p = tap_at(t, in, out, ky, kx);
                for (int s = 0; s < n; s++, col += oplane)
                    scatter_plane(t, &p, in, out, col, x + ((size_t)c * (size_t)n + (size_t)s) * plane);
            }
}

static float sum_of(const float *x, size_t n) {
    float part[8] = {0}; /* independent sums: vectorises without reordering under the compiler's control */
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++) part[k] += x[i + k];
    for (; i < n; i++) part[i % 8] += x[i];
    return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

static void bias_gradient(const float *dy, int channels, size_t run, float *dbias) {
    for (int c = 0; c < channels; c++) dbias[c] = sum_of(dy + (size_t)c * run, run);
}

void hd_conv_forward(const hd_node *t, hd_shape in, hd_shape out, int n, const float *x, float *y, float *col) {
    size_t run = (size_t)n * (size_t)out.h * (size_t)out.w;
    int ocg = t->cout / t->groups, k = t->cin / t->groups * t->kh * t->kw, m = (int)run;
    if (!hd_conv_is_plain(t)) {
        im2col(t, in, out, n, x, col);
        x = col;
    }
    for (int c = 0; c < t->cout; c++) {
        float b = t->bias ? t->bias[c] : 0;
        for (size_t i = 0; i < run; i++) y[(size_t)c * run + i] = b;
    }
    for (int g = 0; g < t->groups; g++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, ocg, m, k, 1, t->weight + (size_t)g * (size_t)ocg * (size_t)k, k,
                    x + (size_t)g * (size_t)k * run, m, 1, y + (size_t)g * (size_t)ocg * run, m);
}

void hd_conv_backward(const hd_node *t, hd_shape in, hd_shape out, int n, const float *x, const float *dy, const float *col,
                      float *dcol, float *dx, int add, float *dweight, float *dbias) {
    size_t run = (size_t)n * (size_t)out.h * (size_t)out.w;
    int plain = hd_conv_is_plain(t), ocg = t->cout / t->groups, k = t->cin / t->groups * t->kh * t->kw, m = (int)run;
    if (plain) col = x;
    if (dbias) bias_gradient(dy, t->cout, run, dbias);
    for (int g = 0; g < t->groups; g++) {
        size_t w = (size_t)g * (size_t)ocg * (size_t)k, row = (size_t)g * (size_t)k * run;
        const float *d = dy + (size_t)g * (size_t)ocg * run;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, ocg, k, m, 1, d, m, col + row, m, 0, dweight + w, k);
        if (dx)
            cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, k, m, ocg, 1, t->weight + w, k, d, m, plain && add ? 1 : 0,
                        (plain ? dx : dcol) + row, m);
    }
    if (!dx || plain) return;
    if (!add) memset(dx, 0, hd_shape_size(in) * (size_t)n * sizeof *dx);
    col2im(t, in, out, n, dcol, dx);
}

void hd_depthwise_forward(const hd_node *t, hd_shape in, hd_shape out, int n, const float *x, float *y) {
    size_t plane = (size_t)in.h * (size_t)in.w, oplane = (size_t)out.h * (size_t)out.w;
    int each = t->cout / t->cin;
    for (int oc = 0; oc < t->cout; oc++) {
        const float *xc = x + (size_t)(oc / each) * (size_t)n * plane;
        float *yc = y + (size_t)oc * (size_t)n * oplane;
        float b = t->bias ? t->bias[oc] : 0;
        for (size_t i = 0; i < (size_t)n * oplane; i++) yc[i] = b;
        for (int k = 0; k < t->kh * t->kw; k++) {
            tap p = tap_at(t, in, out, k / t->kw, k % t->kw);
            float w = t->weight[oc * t->kh * t->kw + k];
            for (int s = 0; s < n; s++)
                for (int oy = p.y0; oy < p.y1; oy++) {
                    const float *restrict from = xc + (size_t)s * plane + (oy * t->sy + p.start_y) * in.w + p.start_x;
                    float *restrict to = yc + (size_t)s * oplane + oy * out.w;
                    for (int ox = p.x0; ox < p.x1; ox++) to[ox] += w * from[ox * t->sx];
                }
        }
    }
}

void hd_depthwise_backward(const hd_node *t, hd_shape in, hd_shape out, int n, const float *x, const float *dy, float *dx, int add,
                           float *dweight, float *dbias) {
    size_t plane = (size_t)in.h * (size_t)in.w, oplane = (size_t)out.h * (size_t)out.w;
    int each = t->cout / t->cin;
    if (dbias) bias_gradient(dy, t->cout, (size_t)n * oplane, dbias);
    if (dx && !add) memset(dx, 0, hd_shape_size(in) * (size_t)n * sizeof *dx);
    for (int oc = 0; oc < t->cout; oc++) {
        size_t channel = (size_t)(oc / each) * (size_t)n * plane;
        const float *dc = dy + (size_t)oc * (size_t)n * oplane;
        for (int k = 0; k < t->kh * t->kw; k++) {
            tap p = tap_at(t, in, out, k / t->kw, k % t->kw);
            float w = t->weight[oc * t->kh * t->kw + k], sum = 0;
            for (int s = 0; s < n; s++)
                for (int oy = p.y0; oy < p.y1; oy++) {
                    ptrdiff_t at = (ptrdiff_t)(channel + (size_t)s * plane) + (oy * t->sy + p.start_y) * in.w + p.start_x;
                    const float *d = dc + (size_t)s * oplane + oy * out.w;
                    float part = 0;
                    for (int ox = p.x0; ox < p.x1; ox++) part += d[ox] * x[at + ox * t->sx];
                    sum += part;
                    if (dx)
                        for (int ox = p.x0; ox < p.x1; ox++) dx[at + ox * t->sx] += w * d[ox];
                }
            dweight[oc * t->kh * t->kw + k] = sum;
        }
    }
}
