#include <math.h>

#include "exec_ops.h"

/* Taps first..last-1 of a window beginning at `start` that fall inside 0..size-1. */
static void taps(int64_t start, int kernel, int dilation, int size, int *first, int *last) {
    int64_t lo = start < 0 ? (-start + dilation - 1) / dilation : 0;
    int64_t hi = start < size ? (size - 1 - start) / dilation + 1 : 0;
    *last = (int)(hi < kernel ? hi : kernel);
    *first = (int)(lo < *last ? lo : *last);
}

void hd_pool_run(const hd_node *n, const float *x, hd_shape xs, float *y, hd_shape ys) {
    int maximum = n->op == HD_OP_MAX_POOL;
    for (int c = 0; c < xs.c; c++) {
        const float *image = x + (size_t)c * (size_t)xs.h * (size_t)xs.w;
        for (int oy = 0; oy < ys.h; oy++) {
            int64_t y0 = (int64_t)oy * n->sy - n->pad_top;
            int ky0, ky1;
            taps(y0, n->kh, n->dy, xs.h, &ky0, &ky1);
            for (int ox = 0; ox < ys.w; ox++) {
                int64_t x0 = (int64_t)ox * n->sx - n->pad_left;
                int kx0, kx1;
                taps(x0, n->kw, n->dx, xs.w, &kx0, &kx1);
                float best = -INFINITY;
                double sum = 0;
                for (int ky = ky0; ky < ky1; ky++) {
                    const float *line = image + (y0 + (int64_t)ky * n->dy) * xs.w;
                    for (int kx = kx0; kx < kx1; kx++) {
                        float v = line[x0 + (int64_t)kx * n->dx];
                        if (maximum) best = v > best ? v : best;
                        else sum += (double)v;
                    }
                }
                double count = n->count_include_pad ? (double)n->kh * n->kw : (double)(ky1 - ky0) * (kx1 - kx0);
                *y++ = maximum ? best : (float)(sum / count);
            }
        }
    }
}
