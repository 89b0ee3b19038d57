/* Convolutions: float, integer, quantised, transposed. */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "window.h"

typedef struct conv {
    hd_window w;
    int64_t batch, groups, cin, cout; /* channels of a group */
    int64_t in, out, taps;            /* spatial elements; taps of the kernel */
} conv;

static hd_status read_conv(conv *v, hd_call *c, const hd_nd *x, const hd_nd *weight, int transposed) {
    *v = (conv){.groups = hd_attr_i(c, "group", 1)};
    if (x->rank < 3 || weight->rank != x->rank) return hd_call_fail(c, HD_MISMATCH, "an input of %d dimensions and weights of %d", x->rank, weight->rank);
    int64_t kernel[HD_ND_MAX_RANK];
    HD_TRY(hd_window_list(c, "kernel_shape", x->rank - 2, 1, 1, kernel));
    for (int k = 0; k < x->rank - 2; k++) {
        if (hd_attribute(c, "kernel_shape") && kernel[k] != weight->dim[k + 2]) return hd_call_fail(c, HD_MISMATCH, "kernel_shape differs from the weights'");
        kernel[k] = weight->dim[k + 2];
    }
    v->batch = x->dim[0];
    /* No channels divide into any number of groups. */
    if (v->groups < 1 || v->groups > (x->dim[1] ? x->dim[1] : 1) || x->dim[1] % v->groups || weight->dim[0] % v->groups) return hd_call_fail(c, HD_MISMATCH, "%lld groups of %lld and %lld channels", (long long)v->groups, (long long)x->dim[1], (long long)weight->dim[0]);
    v->cin = x->dim[1] / v->groups;
    v->cout = transposed ? weight->dim[1] : weight->dim[0] / v->groups;
    if (transposed ? weight->dim[0] != x->dim[1] : weight->dim[1] != v->cin) return hd_call_fail(c, HD_MISMATCH, "weights for %lld channels; the input has %lld", (long long)weight->dim[!transposed], (long long)x->dim[1]);
    if (transposed) v->w = (hd_window){.n = x->rank - 2};
    else HD_TRY(hd_window_read(&v->w, c, x, kernel, 0));
    HD_TRY(hd_window_size(c, x->rank - 2, x->dim + 2, &v->in));
    HD_TRY(hd_window_size(c, x->rank - 2, kernel, &v->taps));
    return transposed ? HD_OK : hd_window_size(c, v->w.n, v->w.out, &v->out);
}

/* Dims of the result: batch, all output channels, spatial sizes. */
static void dims_of(const conv *v, int64_t *dim) {
    dim[0] = v->batch;
    dim[1] = v->cout * v->groups;
    for (int k = 0; k < v->w.n; k++) dim[k + 2] = v->w.out[k];
}

static hd_status new_result(hd_call *c, hd_nd *y, hd_type type, int rank, const int64_t *dim) {
    hd_err err = {0};
    hd_status status = hd_nd_new(y, type, rank, dim, hd_limit(c), &err);
    return status == HD_OK ? HD_OK : hd_call_fail(c, status, "%s", err.message);
}

/* Products of one batch and group by way of a matrix of all windows, [cin x taps][out]. */
static void group_f32(const conv *v, const float *x, const float *w, float *y, float *columns, const int64_t *from) {
    for (int64_t ch = 0; ch < v->cin; ch++)
        for (int64_t k = 0; k < v->taps * v->out; k++) columns[ch * v->taps * v->out + k] = from[k] < 0 ? 0 : x[ch * v->in + from[k]];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)v->cout, (int)v->out, (int)(v->cin * v->taps), 1, w, (int)(v->cin * v->taps), columns, (int)v->out, 1, y, (int)v->out);
}

#define GROUP_LOOP(T)                                                                    \
    for (int64_t oc = 0; oc < v->cout; oc++)                                             \
        for (int64_t ch = 0; ch < v->cin; ch++)                                          \
            for (int64_t t = 0; t < v->taps; t++) {                                      \
                T u = ((const T *)w)[(oc * v->cin + ch) * v->taps + t];                  \
                for (int64_t o = 0; o < v->out; o++) {                                   \
                    int64_t at = from[t * v->out + o];                                   \
                    if (at >= 0) ((T *)y)[oc * v->out + o] += u * ((const T *)x)[ch * v->in + at]; \
                }                                                                        \
            }
static void group_f64(const conv *v, const double *x, const double *w, double *y, const int64_t *from) { GROUP_LOOP(double) }
static void group_u64(const conv *v, const uint64_t *x, const uint64_t *w, uint64_t *y, const int64_t *from) { GROUP_LOOP(uint64_t) }

/* x and w of the type arithmetic is done in (float, double, or int64, whose sums wrap); *y is new and without a bias. */
static hd_status convolve(hd_call *c, const conv *v, const hd_nd *x, const hd_nd *w, hd_nd *y) {
    int64_t dim[HD_ND_MAX_RANK];
    dims_of(v, dim);
    HD_TRY(new_result(c, y, x->type, x->rank, dim));
    HD_TRY(hd_work(c, (double)y->count * (double)(v->cin ? v->cin : 1) * (double)v->taps));
    if (y->count == 0 || v->cin == 0) return HD_OK;
    int64_t *from = hd_call_memory(c, (size_t)v->taps * (size_t)v->out, sizeof *from);
    float *columns = x->type == HD_TYPE_F32 && from ? hd_call_memory(c, (size_t)v->cin * (size_t)v->taps * (size_t)v->out, sizeof *columns) : NULL;
    if (!from || (x->type == HD_TYPE_F32 && !columns)) return HD_NOMEM;
    for (int64_t t = 0; t < v->taps; t++)
        for (int64_t o = 0; o < v->out; o++) from[t * v->out + o] = hd_window_at(&v->w, o, t);
    size_t size = hd_type_size(x->type);
    for (int64_t b = 0; b < v->batch * v->groups; b++) {
        const char *px = (const char *)x->data + (size_t)(b * v->cin * v->in) * size, *pw = (const char *)w->data + (size_t)(b % v->groups * v->cout * v->cin * v->taps) * size;
        char *py = (char *)y->data + (size_t)(b * v->cout * v->out) * size;
        if (x->type == HD_TYPE_F32) group_f32(v, (const float *)(const void *)px, (const float *)(const void *)pw, (float *)(void *)py, columns, from);
        else if (x->type == HD_TYPE_F64) group_f64(v, (const double *)(const void *)px, (const double *)(const void *)pw, (double *)(void *)py, from);
        else group_u64(v, (const uint64_t *)(const void *)px, (const uint64_t *)(const void *)pw, (uint64_t *)(void *)py, from);
    }
    return HD_OK;
}

static hd_status add_bias(hd_call *c, hd_nd *y, const hd_nd *bias) {
    if (!bias) return HD_OK;
    bias = hd_call_as(c, bias, y->type);
    if (!bias) return HD_NOMEM;
    size_t before, along, after;
    hd_split_at(y, 1, &before, &along, &after);
    if (bias->count != along) return hd_call_fail(c, HD_MISMATCH, "a bias of %zu elements for %zu channels", bias->count, along);
    for (size_t i = 0; i < y->count; i++) {
        size_t ch = i / after % along;
        if (y->type == HD_TYPE_F32) ((float *)y->data)[i] += ((const float *)bias->data)[ch];
        else if (y->type == HD_TYPE_F64) ((double *)y->data)[i] += ((const double *)bias->data)[ch];
        else ((uint64_t *)y->data)[i] += ((const uint64_t *)bias->data)[ch];
    }
    return HD_OK;
}

hd_status hd_op_conv(hd_call *c) {
    hd_type wide = hd_wide(c->in[0]->type);
    const hd_nd *x = hd_call_as(c, c->in[0], wide), *w = x ? hd_call_as(c, c->in[1], wide) : NULL;
    conv v;
    hd_nd y = {0};
    if (!w) return HD_NOMEM;
    HD_TRY(read_conv(&v, c, x, w, 0));
    hd_status status = convolve(c, &v, x, w, &y);
    if (status == HD_OK) status = add_bias(c, &y, c->n_in > 2 ? c->in[2] : NULL);
    if (status == HD_OK) return hd_out_cast(c, 0, &y, c->in[0]->type);
    hd_nd_free(&y);
    return status;
}

hd_status hd_op_convinteger(hd_call *c) {
    const hd_nd *x, *w;
    conv v;
    hd_nd y = {0};
    HD_TRY(hd_less_zero(c, 0, 2, 0, &x));
    HD_TRY(hd_less_zero(c, 1, 3, 0, &w));
    HD_TRY(read_conv(&v, c, x, w, 0));
    hd_status status = convolve(c, &v, x, w, &y);
    if (status == HD_OK) return hd_out_cast(c, 0, &y, HD_TYPE_I32);
    hd_nd_free(&y);
    return status;
}

/* A sum of codes, [..][channels of axis][..], times scales (x, w per channel, y), rounded to nearest even, plus a zero point, saturated. */
static hd_status requantise(hd_call *c, const hd_nd *sum, int axis, int x_scale, int w_scale, int y_scale, int y_zero) {
    double sx, sy, zero;
    HD_TRY(hd_in_number(c, x_scale, 1, &sx));
    HD_TRY(hd_in_number(c, y_scale, 1, &sy));
    HD_TRY(hd_in_number(c, y_zero, 0, &zero));
    const hd_nd *sw = hd_call_as(c, c->in[w_scale], HD_TYPE_F64);
    hd_type type = c->in[y_zero]->type;
    if (!sw) return HD_NOMEM;
    if (type != HD_TYPE_U8 && type != HD_TYPE_I8) return hd_call_fail(c, HD_UNSUPPORTED, "results of type %s; uint8 and int8 are allowed", hd_type_name((int)type));
    size_t before, along, after;
    hd_split_at(sum, axis, &before, &along, &after);
    if (sw->count != 1 && sw->count != along) return hd_call_fail(c, HD_MISMATCH, "%zu scales for %zu channels", sw->count, along);
    HD_TRY(hd_out_like(c, 0, type, sum));
    double lowest = type == HD_TYPE_U8 ? 0 : -128, highest = lowest + 255;
    for (size_t i = 0; i < sum->count; i++) {
        /* The factor is a float, as in the runtimes that write such files. */
        float factor = (float)sx * (float)((const double *)sw->data)[sw->count == 1 ? 0 : i / after % along] / (float)sy;
        double v = rint((double)((const int64_t *)sum->data)[i] * (double)factor) + zero;
        if (isnan(v)) v = zero; /* a scale of 0 or of no number */
        v = v < lowest ? lowest : v > highest ? highest : v;
        ((uint8_t *)c->out[0].data)[i] = (uint8_t)(int)v;
    }
    return HD_OK;
}

hd_status hd_op_qlinearconv(hd_call *c) {
    const hd_nd *x, *w;
    conv v;
    hd_nd y = {0};
    HD_TRY(hd_less_zero(c, 0, 2, 0, &x));
    HD_TRY(hd_less_zero(c, 3, 5, 0, &w));
    HD_TRY(read_conv(&v, c, x, w, 0));
    hd_status status = convolve(c, &v, x, w, &y);
    if (status == HD_OK) status = add_bias(c, &y, c->n_in > 8 ? c->in[8] : NULL);
    if (status == HD_OK) status = requantise(c, &y, 1, 1, 4, 6, 7);
    hd_nd_free(&y);
    return status;
}

hd_status hd_op_qlinearmatmul(hd_call *c) {
    const hd_nd *a, *b;
    hd_nd y = {0};
    HD_TRY(hd_less_zero(c, 0, 2, c->in[0]->rank - 2, &a));
    HD_TRY(hd_less_zero(c, 3, 5, c->in[3]->rank - 1, &b));
    hd_status status = hd_matmul(c, &y, a, b, HD_TYPE_I64);
    if (status == HD_OK) status = requantise(c, &y, y.rank - 1, 1, 4, 6, 7);
    hd_nd_free(&y);
    return status;
}

/* Sizes of a transposed convolution, from output_shape or pads. */
static hd_status transposed_sizes(hd_call *c, conv *v, const hd_nd *x, const hd_nd *weight) {
    hd_window *w = &v->w;
    int n = x->rank - 2;
    int64_t pads[2 * HD_WINDOW_AXES], extra[HD_WINDOW_AXES], shape[HD_WINDOW_AXES];
    if (n > HD_WINDOW_AXES) return hd_call_fail(c, HD_UNSUPPORTED, "an input of %d dimensions; 3 to %d are supported", x->rank, HD_WINDOW_AXES + 2);
    HD_TRY(hd_window_list(c, "strides", n, 1, 1, w->stride));
    HD_TRY(hd_window_list(c, "dilations", n, 1, 1, w->dilation));
    HD_TRY(hd_window_list(c, "pads", 2 * n, 0, 0, pads));
    HD_TRY(hd_window_list(c, "output_padding", n, 0, 0, extra));
    HD_TRY(hd_window_list(c, "output_shape", n, 0, 0, shape));
    int valid = hd_attr_is(c, "auto_pad", "NOTSET", "VALID"), upper = hd_attr_is(c, "auto_pad", "NOTSET", "SAME_UPPER"), lower = hd_attr_is(c, "auto_pad", "NOTSET", "SAME_LOWER");
    int given = hd_attribute(c, "output_shape") != NULL;
    for (int k = 0; k < n; k++) {
        w->in[k] = x->dim[k + 2];
        w->kernel[k] = weight->dim[k + 2];
        if (w->in[k] < 1 || w->in[k] > 1 << 28 || w->kernel[k] < 1 || w->kernel[k] > 1 << 28) return hd_call_fail(c, HD_RANGE, "an input of %lld and a kernel of %lld", (long long)w->in[k], (long long)w->kernel[k]);
        int64_t full = (w->in[k] - 1) * w->stride[k] + extra[k] + (w->kernel[k] - 1) * w->dilation[k] + 1;
        w->before[k] = valid ? 0 : pads[k];
        w->after[k] = valid ? 0 : pads[k + n];
        if (given || upper || lower) {
            int64_t all = full - (given ? shape[k] : w->in[k] * w->stride[k]);
            if (all < 0) all = 0;
            w->before[k] = upper ? all / 2 : all - all / 2;
            w->after[k] = all - w->before[k];
        }
        w->out[k] = given ? shape[k] : full - w->before[k] - w->after[k];
        if (w->out[k] < 0 || w->out[k] > 1 << 28) return hd_call_fail(c, HD_RANGE, "an output of %lld", (long long)w->out[k]);
    }
    return hd_window_size(c, n, w->out, &v->out);
}

/* Output position that tap t of input position i adds to, or -1. */
static int64_t scattered(const hd_window *w, int64_t i, int64_t t) {
    int64_t at = 0, scale = 1;
    for (int k = w->n; k-- > 0; i /= w->in[k], t /= w->kernel[k], scale *= w->out[k]) {
        int64_t p = i % w->in[k] * w->stride[k] + t % w->kernel[k] * w->dilation[k] - w->before[k];
        if (p < 0 || p >= w->out[k]) return -1;
        at += p * scale;
    }
    return at;
}

hd_status hd_op_convtranspose(hd_call *c) {
    const hd_nd *x = hd_call_as(c, c->in[0], HD_TYPE_F64), *w = x ? hd_call_as(c, c->in[1], HD_TYPE_F64) : NULL;
    conv v;
    hd_nd y = {0};
    int64_t dim[HD_ND_MAX_RANK];
    if (!w) return HD_NOMEM;
    HD_TRY(read_conv(&v, c, x, w, 1));
    HD_TRY(transposed_sizes(c, &v, x, w));
    dims_of(&v, dim);
    HD_TRY(new_result(c, &y, HD_TYPE_F64, x->rank, dim));
    hd_status status = hd_work(c, fmax((double)y.count, (double)x->count * (double)v.cout * (double)v.taps));
    int64_t samples = y.count && v.cin ? v.batch * v.groups : 0;
    for (int64_t b = 0; status == HD_OK && b < samples; b++)
        for (int64_t i = 0; i < v.in; i++)
            for (int64_t t = 0; t < v.taps; t++) {
                int64_t to = scattered(&v.w, i, t);
                for (int64_t ch = 0; to >= 0 && ch < v.cin; ch++) {
                    double u = ((const double *)x->data)[(b * v.cin + ch) * v.in + i];
                    const double *row = (const double *)w->data + ((b % v.groups * v.cin + ch) * v.cout) * v.taps + t;
                    for (int64_t oc = 0; oc < v.cout; oc++) ((double *)y.data)[(b * v.cout + oc) * v.out + to] += u * row[oc * v.taps];
                }
            }
    if (status == HD_OK) status = add_bias(c, &y, c->n_in > 2 ? c->in[2] : NULL);
    if (status == HD_OK) return hd_out_cast(c, 0, &y, c->in[0]->type);
    hd_nd_free(&y);
    return status;
}
