/* Pooling. */
#include <math.h>
#include <string.h>

#include "window.h"

typedef struct pool {
    hd_window w;
    const hd_nd *x; /* double, or int64 for integers */
    int64_t planes, in, out, taps;
} pool;

static hd_status read_pool(pool *p, hd_call *c, int whole) {
    const hd_nd *x = c->in[0];
    int64_t kernel[HD_WINDOW_AXES];
    if (x->rank < 3 || x->rank > HD_WINDOW_AXES + 2) return hd_call_fail(c, HD_UNSUPPORTED, "an input of %d dimensions; 3 to %d are supported", x->rank, HD_WINDOW_AXES + 2);
    if (!hd_attribute(c, "kernel_shape")) return hd_call_fail(c, HD_FORMAT, "has no kernel_shape");
    HD_TRY(hd_window_list(c, "kernel_shape", x->rank - 2, 1, 1, kernel));
    HD_TRY(hd_window_read(&p->w, c, x, kernel, hd_attr_i(c, "ceil_mode", 0)));
    p->planes = x->dim[0] * x->dim[1];
    HD_TRY(hd_window_size(c, p->w.n, p->w.in, &p->in));
    HD_TRY(hd_window_size(c, p->w.n, p->w.out, &p->out));
    HD_TRY(hd_window_size(c, p->w.n, p->w.kernel, &p->taps));
    p->x = hd_call_as(c, x, whole ? HD_TYPE_I64 : HD_TYPE_F64);
    if (!p->x) return HD_NOMEM;
    return hd_work(c, (double)p->planes * (double)p->out * (double)p->taps);
}

static hd_status new_result(hd_call *c, hd_nd *y, const pool *p, hd_type type) {
    int64_t dim[HD_ND_MAX_RANK] = {p->x->dim[0], p->x->dim[1]};
    memcpy(dim + 2, p->w.out, sizeof p->w.out);
    hd_err err = {0};
    hd_status status = hd_nd_new(y, type, p->x->rank, dim, hd_limit(c), &err);
    return status == HD_OK ? HD_OK : hd_call_fail(c, status, "%s", err.message);
}

/* The index of an input element as MaxPool's second output counts: row-major, or column-major within a plane. */
static int64_t index_of(const pool *p, int64_t plane, int64_t at, int64_t column_major) {
    if (!column_major) return plane * p->in + at;
    int64_t index = 0, scale = 1, digit[HD_WINDOW_AXES];
    for (int k = p->w.n; k-- > 0; at /= p->w.in[k]) digit[k] = at % p->w.in[k];
    for (int k = 0; k < p->w.n; k++, scale *= p->w.in[k - 1]) index += digit[k] * scale;
    return plane * p->in + index;
}

hd_status hd_op_maxpool(hd_call *c) {
    pool p;
    hd_nd y;
    hd_type type = c->in[0]->type;
    int whole = !hd_type_is_float(type);
    int64_t column_major = hd_attr_i(c, "storage_order", 0);
    HD_TRY(read_pool(&p, c, whole));
    HD_TRY(new_result(c, &y, &p, p.x->type));
    int64_t *index = NULL;
    if (hd_wants(c, 1)) {
        hd_status status = hd_out_like(c, 1, HD_TYPE_I64, &y);
        if (status != HD_OK) {
            hd_nd_free(&y);
            return status;
        }
        index = c->out[1].data;
    }
    for (int64_t i = 0; i < p.planes * p.out; i++) {
        int64_t plane = i / p.out, best = -1;
        for (int64_t t = 0; t < p.taps; t++) {
            int64_t at = hd_window_at(&p.w, i % p.out, t);
            if (at < 0) continue;
            int64_t from = plane * p.in;
            int more = best < 0 || (whole ? ((const int64_t *)p.x->data)[from + at] > ((const int64_t *)p.x->data)[from + best]
                                          : ((const double *)p.x->data)[from + at] > ((const double *)p.x->data)[from + best]);
            if (more) best = at;
        }
        if (whole) ((int64_t *)y.data)[i] = best < 0 ? 0 : ((const int64_t *)p.x->data)[plane * p.in + best];
        else ((double *)y.data)[i] = best < 0 ? -INFINITY : ((const double *)p.x->data)[plane * p.in + best];
        if (index) index[i] = best < 0 ? 0 : index_of(&p, plane, best, column_major);
    }
    return hd_out_cast(c, 0, &y, type);
}

/* Elements of the window that lie in the input or its padding, which ceil_mode may pass. */
static int64_t padded_taps(const hd_window *w, int64_t o) {
    int64_t n = 1;
    for (int k = w->n; k-- > 0; o /= w->out[k]) {
        int64_t start = o % w->out[k] * w->stride[k] - w->before[k], inside = 0;
        for (int64_t t = 0; t < w->kernel[k]; t++) inside += start + t * w->dilation[k] < w->in[k] + w->after[k];
        n *= inside;
    }
    return n;
}

/* AveragePool, LpPool */
hd_status hd_op_average(hd_call *c) {
    pool p;
    hd_nd y;
    int lp = c->op->name[0] == 'L';
    int64_t count_all = hd_attr_i(c, "count_include_pad", 0), power = hd_attr_i(c, "p", 2);
    HD_TRY(read_pool(&p, c, 0));
    HD_TRY(new_result(c, &y, &p, HD_TYPE_F64));
    for (int64_t i = 0; i < p.planes * p.out; i++) {
        double sum = 0;
        int64_t n = 0;
        for (int64_t t = 0; t < p.taps; t++) {
            int64_t at = hd_window_at(&p.w, i % p.out, t);
            if (at < 0) continue;
            double v = ((const double *)p.x->data)[i / p.out * p.in + at];
            sum += lp ? pow(fabs(v), (double)power) : v;
            n++;
        }
        if (count_all) n = padded_taps(&p.w, i % p.out);
        ((double *)y.data)[i] = lp ? pow(sum, 1 / (double)power) : n ? sum / (double)n : 0;
    }
    return hd_out_cast(c, 0, &y, c->in[0]->type);
}

/* GlobalAveragePool, GlobalMaxPool, GlobalLpPool */
hd_status hd_op_globalpool(hd_call *c) {
    const hd_nd *x = hd_call_as(c, c->in[0], HD_TYPE_F64);
    char kind = c->op->name[6];
    int64_t dim[HD_ND_MAX_RANK], power = hd_attr_i(c, "p", 2);
    if (!x) return HD_NOMEM;
    if (x->rank < 2) return hd_call_fail(c, HD_MISMATCH, "an input of %d dimensions; at least 2 are expected", x->rank);
    for (int k = 0; k < x->rank; k++) dim[k] = k < 2 ? x->dim[k] : 1;
    hd_nd y;
    hd_err err = {0};
    hd_status status = hd_nd_new(&y, HD_TYPE_F64, x->rank, dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    size_t each = y.count ? x->count / y.count : 0;
    for (size_t i = 0; i < y.count; i++) {
        double v = kind == 'M' ? -INFINITY : 0;
        for (size_t k = 0; k < each; k++) {
            double u = ((const double *)x->data)[i * each + k];
            v = kind == 'M' ? fmax(v, u) : kind == 'L' ? v + pow(fabs(u), (double)power) : v + u;
        }
        ((double *)y.data)[i] = kind == 'M' ? v : kind == 'L' ? pow(v, 1 / (double)power) : v / (double)each;
    }
    HD_TRY(hd_out_cast(c, 0, &y, c->in[0]->type));
    return hd_work(c, (double)x->count);
}

hd_status hd_op_maxunpool(hd_call *c) {
    const hd_nd *x = c->in[0], *at = hd_call_as(c, c->in[1], HD_TYPE_I64);
    int n = x->rank - 2;
    if (!at) return HD_NOMEM;
    if (n < 1 || n > HD_WINDOW_AXES || !hd_nd_same_shape(x, at)) return hd_call_fail(c, HD_MISMATCH, "values and indices of one shape of 3 to 5 dimensions are expected");
    int64_t kernel[HD_WINDOW_AXES], stride[HD_WINDOW_AXES], pads[2 * HD_WINDOW_AXES], dim[HD_ND_MAX_RANK];
    HD_TRY(hd_window_list(c, "kernel_shape", n, 1, 1, kernel));
    HD_TRY(hd_window_list(c, "strides", n, 1, 1, stride));
    HD_TRY(hd_window_list(c, "pads", 2 * n, 0, 0, pads));
    memcpy(dim, x->dim, sizeof dim);
    /* Indices count in the shape that kernel and strides give, whatever shape is asked for. */
    int64_t inner[HD_WINDOW_AXES], inner_plane = 1, plane = 1;
    for (int k = 0; k < n; k++) {
        dim[k + 2] = inner[k] = (x->dim[k + 2] - 1) * stride[k] + kernel[k] - pads[k] - pads[k + n];
        if (inner[k] < 1 || inner[k] > 1 << 28) return hd_call_fail(c, HD_RANGE, "an output of %lld", (long long)inner[k]);
    }
    HD_TRY(hd_window_size(c, n, inner, &inner_plane));
    const int64_t *want;
    size_t n_want;
    HD_TRY(hd_in_ints(c, 2, &want, &n_want));
    if (want) {
        if (n_want != (size_t)x->rank) return hd_call_fail(c, HD_MISMATCH, "an output shape of %zu dimensions", n_want);
        memcpy(dim, want, sizeof *dim * n_want);
    }
    HD_TRY(hd_out(c, 0, x->type, x->rank, dim));
    for (int k = 0; k < n; k++) plane *= dim[k + 2];
    size_t size = hd_type_size(x->type);
    for (size_t i = 0; i < x->count; i++) {
        int64_t index = ((const int64_t *)at->data)[i], to = 0, scale = 1;
        /* Of more planes than there are elements the product would pass 64 bits. */
        if (index < 0 || (uint64_t)(index / inner_plane) > c->out[0].count) return hd_call_fail(c, HD_RANGE, "index %lld of %zu elements", (long long)index, c->out[0].count);
        int64_t rest = index % inner_plane;
        for (int k = n; k-- > 0; rest /= inner[k], scale *= dim[k + 2]) to += rest % inner[k] * scale;
        to += index / inner_plane * plane;
        if ((uint64_t)to >= c->out[0].count) return hd_call_fail(c, HD_RANGE, "index %lld of %zu elements", (long long)index, c->out[0].count);
        memcpy((char *)c->out[0].data + (size_t)to * size, (const char *)x->data + i * size, size);
    }
    return HD_OK;
}
