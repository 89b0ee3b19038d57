/* What detectors end with: NonMaxSuppression and RoiAlign. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"

typedef struct candidate {
    float score;
    int64_t box;
} candidate;

static int best_first(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->box > y->box) - (x->box < y->box);
}

/* Corners y1 x1 y2 x2 in order, from corners in any order or from centre and size. */
static void corners(const float *box, int64_t centre, float *out) {
    if (centre) {
        out[0] = box[1] - box[3] / 2, out[1] = box[0] - box[2] / 2, out[2] = box[1] + box[3] / 2, out[3] = box[0] + box[2] / 2;
    } else {
        out[0] = fminf(box[0], box[2]), out[1] = fminf(box[1], box[3]), out[2] = fmaxf(box[0], box[2]), out[3] = fmaxf(box[1], box[3]);
    }
}

static float overlap(const float *p, const float *q, int64_t centre) {
    float a[4], b[4];
    corners(p, centre, a);
    corners(q, centre, b);
    float h = fminf(a[2], b[2]) - fmaxf(a[0], b[0]), w = fminf(a[3], b[3]) - fmaxf(a[1], b[1]);
    if (h <= 0 || w <= 0) return 0;
    float shared = h * w, all = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared;
    return all > 0 ? shared / all : 0;
}

hd_status hd_op_nms(hd_call *c) {
    const hd_nd *boxes = hd_call_as(c, c->in[0], HD_TYPE_F32), *scores = boxes ? hd_call_as(c, c->in[1], HD_TYPE_F32) : NULL;
    double most, iou, lowest;
    int64_t centre = hd_attr_i(c, "center_point_box", 0);
    if (!scores) return HD_NOMEM;
    HD_TRY(hd_in_number(c, 2, 0, &most));
    HD_TRY(hd_in_number(c, 3, 0, &iou));
    HD_TRY(hd_in_number(c, 4, -INFINITY, &lowest));
    if (boxes->rank != 3 || scores->rank != 3 || boxes->dim[2] != 4 || boxes->dim[0] != scores->dim[0] || boxes->dim[1] != scores->dim[2])
        return hd_call_fail(c, HD_MISMATCH, "boxes [n][b][4] and scores [n][classes][b] are expected");
    int64_t n = boxes->dim[0], b = boxes->dim[1], classes = scores->dim[1], limit = most > (double)b ? b : (int64_t)fmax(0, most), found = 0;
    candidate *list = hd_call_memory(c, (size_t)b, sizeof *list);
    int64_t *chosen = list ? hd_call_memory(c, (size_t)(n * classes) * (size_t)limit, 3 * sizeof *chosen) : NULL;
    if (!chosen) return HD_NOMEM;
    for (int64_t i = 0; i < n * classes; i++) {
        const float *at = (const float *)boxes->data + i / classes * b * 4, *score = (const float *)scores->data + i * b;
        int64_t m = 0, first = found;
        for (int64_t k = 0; k < b; k++)
            if ((double)score[k] > lowest) list[m++] = (candidate){score[k], k};
        qsort(list, (size_t)m, sizeof *list, best_first);
        HD_TRY(hd_work(c, (double)m * (double)limit));
        for (int64_t k = 0; k < m && found - first < limit; k++) {
            int keep = 1;
            for (int64_t j = first; keep && j < found; j++) keep = (double)overlap(at + 4 * list[k].box, at + 4 * chosen[3 * j + 2], centre) <= iou;
            if (!keep) continue;
            chosen[3 * found] = i / classes, chosen[3 * found + 1] = i % classes, chosen[3 * found + 2] = list[k].box;
            found++;
        }
    }
    HD_TRY(hd_out(c, 0, HD_TYPE_I64, 2, (const int64_t[]){found, 3}));
    if (found) memcpy(c->out[0].data, chosen, (size_t)found * 3 * sizeof *chosen);
    return HD_OK;
}

/* The plane at (y, x) by bilinear interpolation; each of the four weighted corners when `peak` (then the largest counts). */
static double sample(const float *plane, int64_t h, int64_t w, double y, double x, int peak) {
    if (y < -1 || y > (double)h || x < -1 || x > (double)w) return 0;
    y = fmax(0, y), x = fmax(0, x);
    int64_t y0 = (int64_t)y, x0 = (int64_t)x, y1, x1;
    if (y0 >= h - 1) y0 = y1 = h - 1, y = (double)y0;
    else y1 = y0 + 1;
    if (x0 >= w - 1) x0 = x1 = w - 1, x = (double)x0;
    else x1 = x0 + 1;
    double ly = y - (double)y0, lx = x - (double)x0;
    double v[4] = {(1 - ly) * (1 - lx) * (double)plane[y0 * w + x0], (1 - ly) * lx * (double)plane[y0 * w + x1], ly * (1 - lx) * (double)plane[y1 * w + x0], ly * lx * (double)plane[y1 * w + x1]};
    return peak ? fmax(fmax(v[0], v[1]), fmax(v[2], v[3])) : v[0] + v[1] + v[2] + v[3];
}

hd_status hd_op_roialign(hd_call *c) {
    const hd_nd *x = hd_call_as(c, c->in[0], HD_TYPE_F32), *rois = x ? hd_call_as(c, c->in[1], HD_TYPE_F32) : NULL;
    const int64_t *batch;
    size_t n;
    int peak = hd_attr_is(c, "mode", "avg", "max"), half = hd_attr_is(c, "coordinate_transformation_mode", c->opset < 16 ? "output_half_pixel" : "half_pixel", "half_pixel");
    int64_t oh = hd_attr_i(c, "output_height", 1), ow = hd_attr_i(c, "output_width", 1), ratio = hd_attr_i(c, "sampling_ratio", 0);
    double scale = (double)hd_attr_f(c, "spatial_scale", 1);
    if (!rois) return HD_NOMEM;
    HD_TRY(hd_in_ints(c, 2, &batch, &n));
    if (x->rank != 4 || rois->rank != 2 || rois->dim[1] != 4 || n != (size_t)rois->dim[0] || x->count == 0 || oh < 1 || ow < 1 || ratio < 0 || ratio > 4096)
        return hd_call_fail(c, HD_MISMATCH, "an image batch of 4 dimensions, regions [n][4] and n batch indices are expected");
    if (!half && !hd_attr_is(c, "coordinate_transformation_mode", "output_half_pixel", "output_half_pixel")) return hd_call_fail(c, HD_UNSUPPORTED, "attribute coordinate_transformation_mode is neither half_pixel nor output_half_pixel");
    if (!peak && !hd_attr_is(c, "mode", "avg", "avg")) return hd_call_fail(c, HD_UNSUPPORTED, "attribute mode is neither avg nor max");
    int64_t h = x->dim[2], w = x->dim[3];
    HD_TRY(hd_out(c, 0, HD_TYPE_F32, 4, (const int64_t[]){(int64_t)n, x->dim[1], oh, ow}));
    float *to = c->out[0].data;
    for (size_t r = 0; r < n; r++) {
        const float *roi = (const float *)rois->data + 4 * r;
        double shift = half ? 0.5 : 0, x1 = (double)roi[0] * scale - shift, y1 = (double)roi[1] * scale - shift;
        double rw = (double)roi[2] * scale - shift - x1, rh = (double)roi[3] * scale - shift - y1;
        if (!half) rw = fmax(1, rw), rh = fmax(1, rh);
        double bh = rh / (double)oh, bw = rw / (double)ow;
        if (!(fabs(bh) < 4096 && fabs(bw) < 4096) || batch[r] < 0 || batch[r] >= x->dim[0]) return hd_call_fail(c, HD_RANGE, "region %zu is out of range", r);
        /* A region whose corners are the wrong way round has no samples. */
        int64_t gh = ratio ? ratio : (int64_t)ceil(fmax(0, bh)), gw = ratio ? ratio : (int64_t)ceil(fmax(0, bw));
        HD_TRY(hd_work(c, (double)(x->dim[1] * oh * ow) * (double)gh * (double)gw));
        for (int64_t i = 0; i < x->dim[1] * oh * ow; i++) {
            const float *plane = (const float *)x->data + (batch[r] * x->dim[1] + i / (oh * ow)) * h * w;
            double sum = peak ? -INFINITY : 0;
            for (int64_t k = 0; k < gh * gw; k++) {
                double y = y1 + (double)(i / ow % oh) * bh + ((double)(k / gw) + 0.5) * bh / (double)gh;
                double v = sample(plane, h, w, y, x1 + (double)(i % ow) * bw + ((double)(k % gw) + 0.5) * bw / (double)gw, peak);
                sum = peak ? fmax(sum, v) : sum + v;
            }
            *to++ = gh * gw < 1 ? 0 : (float)(peak ? sum : sum / (double)(gh * gw));
        }
    }
    return HD_OK;
}

/* Reflection into [low, high]. */
static double reflect(double x, double low, double high) {
    double span = high - low;
    if (span <= 0) return low;
    x = fmod(fabs(x - low), 2 * span);
    return low + (x > span ? 2 * span - x : x);
}

static double cubic(double t) {
    const double a = -0.75;
    t = fabs(t);
    return t <= 1 ? ((a + 2) * t - (a + 3)) * t * t + 1 : t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

typedef struct grid {
    char mode, padding; /* 'n', 'l', 'c'; 'z', 'b', 'r' */
    int64_t align;
} grid;

/* A position of an axis: outside it the padding decides; -1: zero. */
static int64_t inside(const grid *g, double p, int64_t size) {
    if (p >= 0 && p <= (double)(size - 1)) return (int64_t)p;
    if (g->padding == 'z' || !isfinite(p)) return -1;
    if (g->padding == 'r') p = g->align ? reflect(p, 0, (double)(size - 1)) : reflect(p, -0.5, (double)size - 0.5);
    return (int64_t)fmax(0, fmin((double)(size - 1), rint(p)));
}

hd_status hd_op_gridsample(hd_call *c) {
    const hd_nd *x = hd_call_as(c, c->in[0], HD_TYPE_F32), *at = x ? hd_call_as(c, c->in[1], HD_TYPE_F32) : NULL;
    grid g = {.align = hd_attr_i(c, "align_corners", 0)};
    if (!at) return HD_NOMEM;
    g.mode = hd_attr_is(c, "mode", "bilinear", "nearest") ? 'n' : hd_attr_is(c, "mode", "bilinear", "bicubic") || hd_attr_is(c, "mode", "bilinear", "cubic") ? 'c'
           : hd_attr_is(c, "mode", "bilinear", "bilinear") || hd_attr_is(c, "mode", "bilinear", "linear") ? 'l' : 0;
    g.padding = hd_attr_is(c, "padding_mode", "zeros", "border") ? 'b' : hd_attr_is(c, "padding_mode", "zeros", "reflection") ? 'r' : hd_attr_is(c, "padding_mode", "zeros", "zeros") ? 'z' : 0;
    if (!g.mode || !g.padding) return hd_call_fail(c, HD_UNSUPPORTED, "attribute mode or padding_mode has a value that is not supported");
    if (x->rank != 4 || at->rank != 4 || at->dim[3] != 2 || at->dim[0] != x->dim[0] || x->count == 0) return hd_call_fail(c, HD_MISMATCH, "images of 4 dimensions and a grid [n][h][w][2] are expected");
    int64_t n = x->dim[0], ch = x->dim[1], size[2] = {x->dim[3], x->dim[2]}, area = at->dim[1] * at->dim[2];
    HD_TRY(hd_out(c, 0, HD_TYPE_F32, 4, (const int64_t[]){n, ch, at->dim[1], at->dim[2]}));
    for (int64_t i = 0; i < n * area; i++) {
        int64_t tap[2][4];
        double weight[2][4];
        int taps = g.mode == 'n' ? 1 : g.mode == 'l' ? 2 : 4;
        for (int k = 0; k < 2; k++) {
            double p = (double)((const float *)at->data)[2 * i + k], s = (double)size[k];
            p = g.align ? (p + 1) / 2 * (s - 1) : ((p + 1) * s - 1) / 2;
            if (g.padding == 'b') p = fmax(0, fmin(s - 1, p));
            else if (g.padding == 'r') p = g.align ? reflect(p, 0, s - 1) : fmax(0, fmin(s - 1, reflect(p, -0.5, s - 0.5)));
            double base = taps == 1 ? rint(p) : floor(p) - (taps == 4);
            for (int t = 0; t < taps; t++) {
                weight[k][t] = taps == 1 ? 1 : taps == 2 ? 1 - fabs(p - base - t) : cubic(p - base - t);
                tap[k][t] = inside(&g, base + t, size[k]);
            }
        }
        for (int64_t k = 0; k < ch; k++) {
            const float *plane = (const float *)x->data + (i / area * ch + k) * size[0] * size[1];
            double sum = 0;
            for (int ty = 0; ty < taps; ty++)
                for (int tx = 0; tx < taps; tx++)
                    if (tap[0][tx] >= 0 && tap[1][ty] >= 0) sum += weight[1][ty] * weight[0][tx] * (double)plane[tap[1][ty] * size[0] + tap[0][tx]];
            ((float *)c->out[0].data)[(i / area * ch + k) * area + i % area] = (float)sum;
        }
    }
    return HD_OK;
}
