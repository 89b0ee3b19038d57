/* Resize and Upsample: nearest, linear and cubic, axis after axis. */
#include <math.h>
#include <string.h>

#include "call.h"

typedef struct resize {
    char mode;  /* 'n', 'l', 'c' */
    char where; /* coordinates: 'h' half_pixel, 'p' pytorch_half_pixel, 'a' align_corners, 's' asymmetric, 't' tf_half_pixel_for_nn, 'r' tf_crop_and_resize */
    char round; /* nearest: 'f' round_prefer_floor, 'c' round_prefer_ceil, 'F' floor, 'C' ceil */
    double a, extrapolation;
    int64_t exclude_outside;
} resize;

static hd_status pick(hd_call *c, const char *name, const char *fallback, const char *const *values, const char *letters, char *out) {
    for (int k = 0; values[k]; k++)
        if (hd_attr_is(c, name, fallback, values[k])) {
            *out = letters[k];
            return HD_OK;
        }
    return hd_call_fail(c, HD_UNSUPPORTED, "attribute %s has a value that is not supported", name);
}

static hd_status read_modes(resize *r, hd_call *c) {
    static const char *const modes[] = {"nearest", "linear", "cubic", "bilinear", NULL};
    static const char *const wheres[] = {"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize", NULL};
    static const char *const rounds[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL};
    int old = c->opset < 11;
    HD_TRY(pick(c, "mode", "nearest", modes, "nlcl", &r->mode));
    HD_TRY(pick(c, "coordinate_transformation_mode", old ? "asymmetric" : "half_pixel", wheres, "hpastr", &r->where));
    HD_TRY(pick(c, "nearest_mode", old ? "floor" : "round_prefer_floor", rounds, "fcFC", &r->round));
    r->a = (double)hd_attr_f(c, "cubic_coeff_a", -0.75f);
    r->extrapolation = (double)hd_attr_f(c, "extrapolation_value", 0);
    r->exclude_outside = hd_attr_i(c, "exclude_outside", 0);
    if (hd_attr_i(c, "antialias", 0)) return hd_call_fail(c, HD_UNSUPPORTED, "attribute antialias = 1");
    if (!hd_attr_is(c, "keep_aspect_ratio_policy", "stretch", "stretch")) return hd_call_fail(c, HD_UNSUPPORTED, "attribute keep_aspect_ratio_policy is not stretch");
    return HD_OK;
}

static double coordinate(const resize *r, int64_t i, double scale, int64_t in, double length, int64_t out, double start, double end) {
    double x = (double)i;
    switch (r->where) {
    case 'p': return out > 1 ? (x + 0.5) / scale - 0.5 : 0;
    case 'a': return out > 1 ? x * (double)(in - 1) / (length - 1) : 0;
    case 's': return x / scale;
    case 't': return (x + 0.5) / scale;
    case 'r': return out > 1 ? start * (double)(in - 1) + x * (end - start) * (double)(in - 1) / (length - 1) : 0.5 * (start + end) * (double)(in - 1);
    default: return (x + 0.5) / scale - 0.5;
    }
}

static double cubic(double a, double t) {
    t = fabs(t);
    return t <= 1 ? ((a + 2) * t - (a + 3)) * t * t + 1 : t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

/* Positions and weights of up to four taps for output i; returns how many. */
static int taps(const resize *r, double x, int64_t in, int64_t *at, double *weight) {
    if (r->mode == 'n') {
        double rounded = r->round == 'F' ? floor(x) : r->round == 'C' ? ceil(x) : r->round == 'c' ? floor(x + 0.5) : ceil(x - 0.5);
        at[0] = (int64_t)fmax(0, fmin((double)(in - 1), rounded));
        weight[0] = 1;
        return 1;
    }
    int n = r->mode == 'l' ? 2 : 4;
    double base = floor(x), sum = 0;
    for (int k = 0; k < n; k++) {
        double p = base + (double)(k - (n == 4));
        weight[k] = n == 2 ? 1 - fabs(x - p) : cubic(r->a, x - p);
        if (r->exclude_outside && (p < 0 || p > (double)(in - 1))) weight[k] = 0;
        at[k] = (int64_t)fmax(0, fmin((double)(in - 1), p));
        sum += weight[k];
    }
    for (int k = 0; k < n && r->exclude_outside && sum != 0; k++) weight[k] /= sum;
    return n;
}

/* One axis of x resized into *y (new). */
static hd_status along_axis(hd_call *c, const resize *r, const hd_nd *x, int axis, int64_t out, double scale, int from_scale, double start, double end, hd_nd *y) {
    int64_t dim[HD_ND_MAX_RANK];
    size_t before, along, after;
    hd_err err = {0};
    /* The length that corners are aligned in is not rounded where a scale gives it, as in ONNX's own results. */
    double length = from_scale ? (double)x->dim[axis] * scale : (double)out;
    memcpy(dim, x->dim, sizeof dim);
    dim[axis] = out;
    hd_split_at(x, axis, &before, &along, &after);
    hd_status status = hd_nd_new(y, HD_TYPE_F64, x->rank, dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    HD_TRY(hd_work(c, (double)y->count));
    for (int64_t i = 0; i < out && along; i++) {
        int64_t at[4];
        double weight[4], place = coordinate(r, i, scale, (int64_t)along, length, out, start, end);
        int n = taps(r, place, (int64_t)along, at, weight), outside = r->where == 'r' && (place < 0 || place > (double)(along - 1));
        for (size_t b = 0; b < before; b++)
            for (size_t k = 0; k < after; k++) {
                double sum = outside ? r->extrapolation : 0;
                for (int t = 0; t < n && !outside; t++) sum += weight[t] * ((const double *)x->data)[(b * along + (size_t)at[t]) * after + k];
                ((double *)y->data)[(b * (size_t)out + (size_t)i) * after + k] = sum;
            }
    }
    return HD_OK;
}

/* Scales of Upsample and of the first Resize are input 1; later inputs are roi, scales, sizes. */
hd_status hd_op_resize(hd_call *c) {
    resize r = {0};
    const hd_nd *x = c->in[0], *scales = NULL, *roi = NULL;
    const int64_t *sizes = NULL;
    size_t n_sizes = 0, n_axes, n;
    const int64_t *axes = hd_attr_ints(c, "axes", &n_axes);
    HD_TRY(read_modes(&r, c));
    int input = c->opset < 11 ? 1 : 2;
    if (c->n_in > input && c->in[input] && c->in[input]->count) scales = hd_call_as(c, c->in[input], HD_TYPE_F64);
    else if (c->opset < 9 && hd_attribute(c, "scales")) return hd_call_fail(c, HD_UNSUPPORTED, "scales as an attribute (operator set 7)");
    else HD_TRY(hd_in_ints(c, 3, &sizes, &n_sizes));
    if (r.where == 'r' && c->n_in > 1 && c->in[1]) roi = hd_call_as(c, c->in[1], HD_TYPE_F64);
    n = axes ? n_axes : (size_t)x->rank;
    if ((scales ? scales->count : n_sizes) != n || (roi && roi->count != 2 * n)) return hd_call_fail(c, HD_MISMATCH, "%zu scales or sizes for %zu axes", scales ? scales->count : n_sizes, n);
    int each[HD_ND_MAX_RANK];
    HD_TRY(hd_axis_list(c, axes, n, x->rank, each));
    const hd_nd *wide = hd_call_as(c, x, HD_TYPE_F64);
    if (!wide) return HD_NOMEM;
    hd_nd v = hd_nd_share(wide), next = {0};
    hd_status status = HD_OK;
    for (size_t k = 0; status == HD_OK && k < n; k++) {
        int axis = each[k];
        double in = (double)x->dim[axis], scale = scales ? ((const double *)scales->data)[k] : in > 0 ? (double)sizes[k] / in : 1;
        double out = scales ? floor(in * scale) : (double)sizes[k];
        if (!(out >= 0 && out < 1e9) || !(scale > 0)) status = hd_call_fail(c, HD_RANGE, "axis %d of %lld resized to %g", axis, (long long)x->dim[axis], out);
        if (status != HD_OK || (scale == 1 && out == in && !roi)) continue;
        if (roi && ((const double *)roi->data)[k] == 0 && ((const double *)roi->data)[n + k] == 1 && out == in) continue;
        status = along_axis(c, &r, &v, axis, (int64_t)out, scale, scales != NULL, roi ? ((const double *)roi->data)[k] : 0, roi ? ((const double *)roi->data)[n + k] : 1, &next);
        hd_nd_free(&v);
        v = next;
        next = (hd_nd){0};
    }
    if (status == HD_OK) return hd_out_cast(c, 0, &v, x->type);
    hd_nd_free(&v);
    return status;
}
