/* Sums and extremes along axes. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "call.h"

typedef enum reduction { R_SUM, R_MEAN, R_MAX, R_MIN, R_PROD, R_L1, R_L2, R_LOG_SUM, R_LOG_SUM_EXP, R_SUM_SQUARE } reduction;
static const char *const names[] = {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"};

/* Where in the result element `at` of x belongs: strides of the result, 0 along what is reduced. */
static void result_strides(const hd_nd *x, unsigned set, int64_t *stride) {
    int64_t s = 1;
    for (int k = x->rank; k-- > 0;) {
        stride[k] = set >> k & 1u ? 0 : s;
        if (!(set >> k & 1u)) s *= x->dim[k];
    }
}

static int64_t next(const hd_nd *x, const int64_t *stride, int64_t *at, int64_t to) {
    for (int k = x->rank; k-- > 0;) {
        to += stride[k];
        if (++at[k] < x->dim[k]) break;
        to -= stride[k] * x->dim[k];
        at[k] = 0;
    }
    return to;
}

/* Floats are summed in double. */
static void reduce_real(double *y, size_t n, const hd_nd *x, const int64_t *stride, reduction how, double *peak) {
    int64_t at[HD_ND_MAX_RANK] = {0}, to = 0;
    const double *v = x->data;
    for (size_t k = 0; k < n; k++) y[k] = how == R_PROD ? 1 : how == R_MAX ? -INFINITY : how == R_MIN ? INFINITY : 0;
    if (how == R_LOG_SUM_EXP) {
        /* The largest element first, so that no exponential overflows. */
        for (size_t k = 0; k < n; k++) peak[k] = -INFINITY;
        for (size_t k = 0; k < x->count; k++, to = next(x, stride, at, to)) peak[to] = fmax(peak[to], v[k]);
        memset(at, 0, sizeof at);
        to = 0;
    }
    for (size_t k = 0; k < x->count; k++, to = next(x, stride, at, to)) switch (how) {
        case R_PROD: y[to] *= v[k]; break;
        case R_MAX: y[to] = isnan(v[k]) || v[k] > y[to] ? v[k] : y[to]; break;
        case R_MIN: y[to] = isnan(v[k]) || v[k] < y[to] ? v[k] : y[to]; break;
        case R_L1: y[to] += fabs(v[k]); break;
        case R_L2: case R_SUM_SQUARE: y[to] += v[k] * v[k]; break;
        case R_LOG_SUM_EXP: y[to] += isinf(peak[to]) ? 0 : exp(v[k] - peak[to]); break;
        default: y[to] += v[k]; break;
        }
    double each = n ? (double)x->count / (double)n : 1;
    for (size_t k = 0; k < n; k++) {
        if (how == R_MEAN) y[k] /= each;
        if (how == R_L2) y[k] = sqrt(y[k]);
        if (how == R_LOG_SUM) y[k] = log(y[k]);
        if (how == R_LOG_SUM_EXP) y[k] = isinf(peak[k]) ? peak[k] : peak[k] + log(y[k]);
    }
}

static void reduce_whole(int64_t *y, size_t n, const hd_nd *x, const int64_t *stride, reduction how) {
    int64_t at[HD_ND_MAX_RANK] = {0}, to = 0;
    const int64_t *v = x->data;
    for (size_t k = 0; k < n; k++) y[k] = how == R_PROD ? 1 : how == R_MAX ? INT64_MIN : how == R_MIN ? INT64_MAX : 0;
    for (size_t k = 0; k < x->count; k++, to = next(x, stride, at, to)) switch (how) {
        case R_PROD: y[to] = (int64_t)((uint64_t)y[to] * (uint64_t)v[k]); break;
        case R_MAX: y[to] = v[k] > y[to] ? v[k] : y[to]; break;
        case R_MIN: y[to] = v[k] < y[to] ? v[k] : y[to]; break;
        case R_L1: y[to] = (int64_t)((uint64_t)y[to] + (v[k] < 0 ? 0 - (uint64_t)v[k] : (uint64_t)v[k])); break;
        case R_SUM_SQUARE: y[to] = (int64_t)((uint64_t)y[to] + (uint64_t)v[k] * (uint64_t)v[k]); break;
        default: y[to] = (int64_t)((uint64_t)y[to] + (uint64_t)v[k]); break;
        }
    if (how == R_MEAN && n && x->count >= n)
        for (size_t k = 0; k < n; k++) y[k] /= (int64_t)(x->count / n);
}

hd_status hd_op_reduce(hd_call *c) {
    reduction how = R_SUM;
    while (strcmp(names[how], c->op->name)) how++;
    const hd_nd *x = c->in[0];
    const int64_t *axes;
    size_t n_axes;
    unsigned set;
    HD_TRY(hd_list(c, "axes", 1, how == R_SUM ? 13 : 18, &axes, &n_axes));
    if (n_axes == 0 && hd_attr_i(c, "noop_with_empty_axes", 0)) return hd_out_view(c, 0, x, x->rank, x->dim);
    HD_TRY(hd_axis_set(c, axes, n_axes, x->rank, 1, &set));
    int64_t dim[HD_ND_MAX_RANK], stride[HD_ND_MAX_RANK], keep = hd_attr_i(c, "keepdims", 1);
    int rank = 0;
    for (int k = 0; k < x->rank; k++) {
        if (!(set >> k & 1u)) dim[rank++] = x->dim[k];
        else if (keep) dim[rank++] = 1;
    }
    /* Of 64 unsigned bits, sums and products have the same bits as signed ones; what compares or divides does not. */
    if (x->type == HD_TYPE_U64 && (how == R_MAX || how == R_MIN || how == R_MEAN)) return hd_call_fail(c, HD_UNSUPPORTED, "elements of type uint64");
    int real = hd_type_is_float(x->type) || how == R_L2 || how == R_LOG_SUM || how == R_LOG_SUM_EXP;
    x = hd_call_as(c, x, real ? HD_TYPE_F64 : HD_TYPE_I64);
    if (!x) return HD_NOMEM;
    result_strides(x, set, stride);
    hd_nd y;
    hd_err err = {0};
    hd_status status = hd_nd_new(&y, x->type, rank, dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    double *peak = how == R_LOG_SUM_EXP ? hd_call_memory(c, y.count, sizeof *peak) : NULL;
    if (how == R_LOG_SUM_EXP && !peak) {
        hd_nd_free(&y);
        return HD_NOMEM;
    }
    double work = (double)(x->count ? x->count : y.count);
    if (real) reduce_real(y.data, y.count, x, stride, how, peak);
    else reduce_whole(y.data, y.count, x, stride, how);
    HD_TRY(hd_out_cast(c, 0, &y, c->in[0]->type));
    return hd_work(c, work);
}

/* ArgMax, ArgMin */
hd_status hd_op_arg(hd_call *c) {
    const hd_nd *x = c->in[0];
    int axis, largest = strcmp(c->op->name, "ArgMax") == 0;
    int64_t last = hd_attr_i(c, "select_last_index", 0), keep = hd_attr_i(c, "keepdims", 1), dim[HD_ND_MAX_RANK];
    HD_TRY(hd_axis(c, hd_attr_i(c, "axis", 0), x->rank, &axis));
    int rank = 0;
    for (int k = 0; k < x->rank; k++) {
        if (k != axis) dim[rank++] = x->dim[k];
        else if (keep) dim[rank++] = 1;
    }
    size_t before, along, after;
    if (x->type == HD_TYPE_U64) return hd_call_fail(c, HD_UNSUPPORTED, "elements of type uint64");
    hd_split_at(x, axis, &before, &along, &after);
    if (!along) return hd_call_fail(c, HD_RANGE, "no element along axis %d", axis);
    int whole = !hd_type_is_float(x->type);
    x = hd_call_as(c, x, whole ? HD_TYPE_I64 : HD_TYPE_F64);
    if (!x) return HD_NOMEM;
    HD_TRY(hd_out(c, 0, HD_TYPE_I64, rank, dim));
    for (size_t i = 0; i < before * after; i++) {
        size_t at = i / after * along * after + i % after, best = 0;
        for (size_t k = 1; k < along; k++) {
            int more, equal;
            if (whole) {
                int64_t v = ((const int64_t *)x->data)[at + k * after], b = ((const int64_t *)x->data)[at + best * after];
                more = largest ? v > b : v < b, equal = v == b;
            } else {
                double v = ((const double *)x->data)[at + k * after], b = ((const double *)x->data)[at + best * after];
                more = largest ? v > b : v < b, equal = v == b;
            }
            if (more || (last && equal)) best = k;
        }
        ((int64_t *)c->out[0].data)[i] = (int64_t)best;
    }
    return hd_work(c, (double)x->count);
}

hd_status hd_op_cumsum(hd_call *c) {
    const hd_nd *x = c->in[0];
    double number;
    int axis;
    HD_TRY(hd_in_number(c, 1, 0, &number));
    HD_TRY(hd_axis(c, (int64_t)fmax(-99, fmin(99, number)), x->rank, &axis));
    int64_t exclusive = hd_attr_i(c, "exclusive", 0), reverse = hd_attr_i(c, "reverse", 0);
    size_t before, along, after;
    hd_split_at(x, axis, &before, &along, &after);
    int real = hd_type_is_float(x->type);
    x = hd_call_as(c, x, real ? HD_TYPE_F64 : HD_TYPE_I64);
    if (!x) return HD_NOMEM;
    hd_nd y;
    hd_err err = {0};
    hd_status status = hd_nd_new(&y, x->type, x->rank, x->dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    for (size_t i = 0; i < before * after; i++) {
        size_t at = i / after * along * after + i % after;
        double sum = 0;
        uint64_t count = 0;
        for (size_t k = 0; k < along; k++) {
            size_t e = at + (reverse ? along - 1 - k : k) * after;
            double was = sum;
            uint64_t had = count;
            if (real) sum += ((const double *)x->data)[e], ((double *)y.data)[e] = exclusive ? was : sum;
            else count += ((const uint64_t *)x->data)[e], ((uint64_t *)y.data)[e] = exclusive ? had : count;
        }
    }
    HD_TRY(hd_out_cast(c, 0, &y, c->in[0]->type));
    return hd_work(c, (double)x->count);
}
