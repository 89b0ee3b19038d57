#include <cblas.h>
#include <string.h>

#include "exec_ops.h"

/* Positions are taken in chunks whose columns stay in a second-level cache, and whose memory is bounded. */
enum { CHUNK_FLOATS = 1 << 17, CHUNK_LEAST = 8 };

static int is_pointwise(const hd_node *n) {
    return n->kh == 1 && n->kw == 1 && n->sy == 1 && n->sx == 1 && !(n->pad_top | n->pad_left | n->pad_bottom | n->pad_right);
}

/* With one input and one output channel a group, a matrix product would have a single row. */
static int is_depthwise(const hd_node *n) { return n->cin == n->groups && n->cout == n->groups; }

static size_t chunk_size(size_t inputs, size_t positions) {
    size_t chunk = CHUNK_FLOATS / inputs;
    if (chunk < CHUNK_LEAST) chunk = CHUNK_LEAST;
    return chunk < positions ? chunk : positions;
}

static size_t group_inputs(const hd_node *n) { return (size_t)(n->cin / n->groups) * (size_t)n->kh * (size_t)n->kw; }

size_t hd_conv_scratch(const hd_node *n, hd_shape xs, hd_shape ys) {
    (void)xs;
    if (is_pointwise(n) || is_depthwise(n)) return 0;
    size_t inputs = group_inputs(n);
    return inputs * chunk_size(inputs, (size_t)ys.h * (size_t)ys.w);
}

/* Output columns first..last-1 of `ow` whose tap kx falls inside the input line. */
static void inside(const hd_node *n, int kx, int w, int ow, int *first, int *last) {
    int64_t at = (int64_t)kx * n->dx - n->pad_left; /* input column of output column 0 */
    int64_t lo = at < 0 ? (-at + n->sx - 1) / n->sx : 0, hi = at < w ? (w - 1 - at) / n->sx + 1 : 0;
    if (hi > ow) hi = ow;
    if (lo > hi) lo = hi;
    *first = (int)lo;
    *last = (int)hi;
}

/* The windows of positions p..p+count-1, one row of `count` values for each (channel, ky, kx). */
static void im2col(const hd_node *n, const float *x, hd_shape xs, hd_shape ys, size_t p, size_t count, float *col) {
    int channels = n->cin / n->groups;
    for (int c = 0; c < channels; c++)
        for (int ky = 0; ky < n->kh; ky++)
            for (int kx = 0; kx < n->kw; kx++, col += count) {
                int first, last;
                inside(n, kx, xs.w, ys.w, &first, &last);
                int oy = (int)(p / (size_t)ys.w), ox = (int)(p % (size_t)ys.w);
                for (size_t done = 0; done < count; oy++, ox = 0) {
                    size_t left = count - done;
                    int end = (size_t)(ys.w - ox) < left ? ys.w : ox + (int)left;
                    int64_t iy = (int64_t)oy * n->sy - n->pad_top + (int64_t)ky * n->dy;
                    int a = first < ox ? ox : first, b = last > end ? end : last;
                    if (iy < 0 || iy >= xs.h || a >= b) a = b = end;
                    float *to = col + done;
                    for (int i = ox; i < a; i++) *to++ = 0;
                    if (a < b) {
                        const float *line = x + ((size_t)c * (size_t)xs.h + (size_t)iy) * (size_t)xs.w;
                        int64_t at = (int64_t)kx * n->dx - n->pad_left;
                        if (n->sx == 1) memcpy(to, line + (at + a), (size_t)(b - a) * sizeof *to);
                        else
                            for (int i = a; i < b; i++) to[i - a] = line[at + (int64_t)i * n->sx];
                        to += b - a;
                    }
                    for (int i = b; i < end; i++) *to++ = 0;
                    done += (size_t)(end - ox);
                }
            }
}

static void depthwise(const hd_node *n, const float *x, hd_shape xs, float *y, hd_shape ys) {
    for (int c = 0; c < n->cout; c++) {
        const float *image = x + (size_t)c * (size_t)xs.h * (size_t)xs.w;
        const float *w = n->weight + (size_t)c * (size_t)n->kh * (size_t)n->kw;
        float *out = y + (size_t)c * (size_t)ys.h * (size_t)ys.w;
        for (int oy = 0; oy < ys.h; oy++, out += ys.w)
            for (int ky = 0; ky < n->kh; ky++) {
                int64_t iy = (int64_t)oy * n->sy - n->pad_top + (int64_t)ky * n->dy;
                if (iy < 0 || iy >= xs.h) continue;
                const float *line = image + (size_t)iy * (size_t)xs.w;
                for (int kx = 0; kx < n->kw; kx++) {
                    int first, last;
                    inside(n, kx, xs.w, ys.w, &first, &last);
                    float v = w[(size_t)ky * (size_t)n->kw + (size_t)kx];
                    int64_t at = (int64_t)kx * n->dx - n->pad_left;
                    for (int i = first; i < last; i++) out[i] += v * line[at + (int64_t)i * n->sx];
                }
            }
    }
}

void hd_conv_run(const hd_node *n, const float *x, hd_shape xs, float *y, hd_shape ys, float *scratch) {
    size_t positions = (size_t)ys.h * (size_t)ys.w, inputs = group_inputs(n);
    size_t group_in = (size_t)(n->cin / n->groups) * (size_t)xs.h * (size_t)xs.w;
    int group_out = n->cout / n->groups;
    for (int c = 0; c < n->cout; c++) {
        float b = n->bias ? n->bias[c] : 0;
        for (size_t p = 0; p < positions; p++) y[(size_t)c * positions + p] = b;
    }
    if (is_depthwise(n) && !is_pointwise(n)) {
        depthwise(n, x, xs, y, ys);
        return;
    }
    size_t chunk = is_pointwise(n) || is_depthwise(n) ? positions : chunk_size(inputs, positions);
    for (int g = 0; g < n->groups; g++) {
        const float *w = n->weight + (size_t)g * (size_t)group_out * inputs, *image = x + (size_t)g * group_in;
        float *out = y + (size_t)g * (size_t)group_out * positions;
        if (is_depthwise(n)) {
            for (size_t p = 0; p < positions; p++) out[p] += w[0] * image[p];
            continue;
        }
        for (size_t p = 0; p < positions; p += chunk) {
            size_t count = positions - p < chunk ? positions - p : chunk;
            if (!is_pointwise(n)) im2col(n, image, xs, ys, p, count, scratch);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, group_out, (int)count, (int)inputs, 1.0f, w, (int)inputs,
                        is_pointwise(n) ? image + p : scratch, (int)(is_pointwise(n) ? positions : count), 1.0f, out + p, (int)positions);
        }
    }
}
