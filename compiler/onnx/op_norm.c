/* Normalisations and the softmax family. Statistics are taken in double. */
#include <math.h>
#include <string.h>

#include "call.h"

static hd_status new_double(hd_call *c, hd_nd *y, const hd_nd *like) {
    hd_err err = {0};
    hd_status status = hd_nd_new(y, HD_TYPE_F64, like->rank, like->dim, hd_limit(c), &err);
    return status == HD_OK ? HD_OK : hd_call_fail(c, status, "%s", err.message);
}

/* Input k as doubles, one for each of n. */
static hd_status each_of(hd_call *c, int k, size_t n, const double **out) {
    *out = NULL;
    if (k >= c->n_in || !c->in[k]) return HD_OK;
    if (c->in[k]->count != n) return hd_call_fail(c, HD_MISMATCH, "input %d has %zu elements; %zu are expected", k, c->in[k]->count, n);
    const hd_nd *v = hd_call_as(c, c->in[k], HD_TYPE_F64);
    if (!v) return HD_NOMEM;
    *out = v->data;
    return HD_OK;
}

/* Mean and variance of n elements `step` apart. */
static void moments(const double *x, size_t n, size_t step, double *mean, double *variance) {
    *mean = *variance = 0;
    for (size_t k = 0; k < n; k++) *mean += x[k * step];
    *mean /= n ? (double)n : 1;
    for (size_t k = 0; k < n; k++) *variance += (x[k * step] - *mean) * (x[k * step] - *mean);
    *variance /= n ? (double)n : 1;
}

hd_status hd_op_batchnorm(hd_call *c) {
    const hd_nd *x = hd_call_as(c, c->in[0], HD_TYPE_F64);
    if (!x) return HD_NOMEM;
    if (x->rank < 2) return hd_call_fail(c, HD_MISMATCH, "an input of %d dimensions; at least 2 are expected", x->rank);
    size_t batch, n, each;
    hd_split_at(x, 1, &batch, &n, &each);
    const double *scale, *bias, *mean, *variance;
    HD_TRY(each_of(c, 1, n, &scale));
    HD_TRY(each_of(c, 2, n, &bias));
    HD_TRY(each_of(c, 3, n, &mean));
    HD_TRY(each_of(c, 4, n, &variance));
    double epsilon = (double)hd_attr_f(c, "epsilon", 1e-5f), momentum = (double)hd_attr_f(c, "momentum", 0.9f);
    int64_t training = hd_attr_i(c, "training_mode", 0);
    if (hd_attr_i(c, "spatial", 1) != 1) return hd_call_fail(c, HD_UNSUPPORTED, "attribute spatial = 0");
    if (c->opset < 7 && !hd_attr_i(c, "is_test", 0)) return hd_call_fail(c, HD_UNSUPPORTED, "training form of operator set %lld; is_test = 1 is supported", (long long)c->opset);
    if (!training && c->n_out > 1 && (hd_wants(c, 1) || hd_wants(c, 2))) return hd_call_fail(c, HD_UNSUPPORTED, "more than one output without training_mode");
    hd_nd y;
    for (int k = 1; training && k < 3 && k < c->n_out; k++) {
        int64_t dim = (int64_t)n;
        HD_TRY(hd_out(c, k, c->in[0]->type, 1, &dim));
    }
    HD_TRY(new_double(c, &y, x));
    double *running[2];
    for (int k = 0; k < 2; k++) {
        running[k] = hd_call_memory(c, n, sizeof(double));
        if (!running[k]) {
            hd_nd_free(&y);
            return HD_NOMEM;
        }
    }
    for (size_t ch = 0; ch < n; ch++) {
        double m = mean[ch], v = variance[ch];
        if (training) {
            double sum = 0, square = 0;
            for (size_t i = 0; i < batch * each; i++) sum += ((const double *)x->data)[(i / each * n + ch) * each + i % each];
            m = sum / (double)(batch * each);
            for (size_t i = 0; i < batch * each; i++) square += pow(((const double *)x->data)[(i / each * n + ch) * each + i % each] - m, 2);
            v = square / (double)(batch * each);
            running[0][ch] = mean[ch] * momentum + m * (1 - momentum);
            running[1][ch] = variance[ch] * momentum + v * (1 - momentum);
        }
        double factor = scale[ch] / sqrt(v + epsilon);
        for (size_t i = 0; i < batch * each; i++) {
            size_t at = (i / each * n + ch) * each + i % each;
            ((double *)y.data)[at] = (((const double *)x->data)[at] - m) * factor + bias[ch];
        }
    }
    HD_TRY(hd_out_cast(c, 0, &y, c->in[0]->type));
    for (int k = 1; training && k < 3 && k < c->n_out; k++) {
        int64_t dim = (int64_t)n;
        hd_nd v;
        hd_err err = {0};
        hd_status status = hd_nd_new(&v, HD_TYPE_F64, 1, &dim, hd_limit(c), &err);
        if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
        if (n) memcpy(v.data, running[k - 1], n * sizeof(double));
        HD_TRY(hd_out_cast(c, k, &v, c->in[0]->type));
    }
    return hd_work(c, (double)x->count);
}

/* InstanceNormalization: each channel of each sample; GroupNormalization: each group of channels. */
hd_status hd_op_instancenorm(hd_call *c) {
    const hd_nd *x = hd_call_as(c, c->in[0], HD_TYPE_F64);
    if (!x) return HD_NOMEM;
    int grouped = c->op->name[0] == 'G';
    if (x->rank < 2) return hd_call_fail(c, HD_MISMATCH, "an input of %d dimensions; at least 2 are expected", x->rank);
    size_t batch, n, each;
    hd_split_at(x, 1, &batch, &n, &each);
    int64_t groups = grouped ? hd_attr_i(c, "num_groups", 0) : (int64_t)n;
    if (groups < 1 || (size_t)groups > n || n % (size_t)groups) return hd_call_fail(c, HD_MISMATCH, "%lld groups of %zu channels", (long long)groups, n);
    size_t members = n / (size_t)groups, parameters = grouped && c->opset < 21 ? (size_t)groups : n;
    const double *scale, *bias;
    HD_TRY(each_of(c, 1, parameters, &scale));
    HD_TRY(each_of(c, 2, parameters, &bias));
    double epsilon = (double)hd_attr_f(c, "epsilon", 1e-5f), mean, variance;
    hd_nd y;
    HD_TRY(new_double(c, &y, x));
    for (size_t g = 0; g < batch * (size_t)groups; g++) {
        const double *from = (const double *)x->data + g * members * each;
        moments(from, members * each, 1, &mean, &variance);
        for (size_t i = 0; i < members * each; i++) {
            size_t ch = g % (size_t)groups * members + i / each, p = parameters == n ? ch : ch / members;
            ((double *)y.data)[g * members * each + i] = (from[i] - mean) / sqrt(variance + epsilon) * scale[p] + bias[p];
        }
    }
    HD_TRY(hd_out_cast(c, 0, &y, c->in[0]->type));
    return hd_work(c, (double)x->count);
}

hd_status hd_op_layernorm(hd_call *c) {
    const hd_nd *x = hd_call_as(c, c->in[0], HD_TYPE_F64);
    int axis;
    if (!x) return HD_NOMEM;
    HD_TRY(hd_axis(c, hd_attr_i(c, "axis", -1), x->rank, &axis));
    size_t rows = 1, n = 1;
    int64_t dim[HD_ND_MAX_RANK];
    for (int k = 0; k < x->rank; k++) {
        *(k < axis ? &rows : &n) *= (size_t)x->dim[k];
        dim[k] = k < axis ? x->dim[k] : 1;
    }
    const double *scale, *bias;
    HD_TRY(each_of(c, 1, n, &scale));
    HD_TRY(each_of(c, 2, n, &bias));
    double epsilon = (double)hd_attr_f(c, "epsilon", 1e-5f), mean, variance;
    hd_type stash = (hd_type)hd_attr_i(c, "stash_type", 1);
    for (int k = 1; k < c->n_out; k++) HD_TRY(hd_out(c, k, HD_TYPE_F32, x->rank, dim));
    if (stash != HD_TYPE_F32) return hd_call_fail(c, HD_UNSUPPORTED, "attribute stash_type %s; float is supported", hd_type_name((int)stash));
    hd_nd y;
    HD_TRY(new_double(c, &y, x));
    for (size_t r = 0; r < rows; r++) {
        const double *from = (const double *)x->data + r * n;
        moments(from, n, 1, &mean, &variance);
        double inverse = 1 / sqrt(variance + epsilon);
        for (size_t k = 0; k < n; k++) ((double *)y.data)[r * n + k] = (from[k] - mean) * inverse * scale[k] + (bias ? bias[k] : 0);
        if (c->n_out > 1) ((float *)c->out[1].data)[r] = (float)mean;
        if (c->n_out > 2) ((float *)c->out[2].data)[r] = (float)inverse;
    }
    HD_TRY(hd_out_cast(c, 0, &y, c->in[0]->type));
    return hd_work(c, (double)x->count);
}

hd_status hd_op_lrn(hd_call *c) {
    const hd_nd *x = hd_call_as(c, c->in[0], HD_TYPE_F64);
    int64_t size = hd_attr_i(c, "size", 0);
    if (!x) return HD_NOMEM;
    if (x->rank < 2 || size < 1 || size > 1 << 20) return hd_call_fail(c, HD_RANGE, "a size of %lld over %d dimensions", (long long)size, x->rank);
    double alpha = (double)hd_attr_f(c, "alpha", 1e-4f), beta = (double)hd_attr_f(c, "beta", 0.75f), bias = (double)hd_attr_f(c, "bias", 1);
    size_t batch, n, each;
    hd_split_at(x, 1, &batch, &n, &each);
    HD_TRY(hd_work(c, (double)x->count * (double)size));
    hd_nd y;
    HD_TRY(new_double(c, &y, x));
    const double *v = x->data;
    for (size_t i = 0; i < x->count; i++) {
        int64_t ch = (int64_t)(i / each % n), low = ch - (size - 1) / 2, high = ch + size / 2;
        double sum = 0;
        for (int64_t k = low < 0 ? 0 : low; k <= high && k < (int64_t)n; k++) {
            double u = v[(int64_t)i + (k - ch) * (int64_t)each];
            sum += u * u;
        }
        ((double *)y.data)[i] = v[i] / pow(bias + alpha / (double)size * sum, beta);
    }
    return hd_out_cast(c, 0, &y, c->in[0]->type);
}

/* MeanVarianceNormalization over axes, LpNormalization along one. */
hd_status hd_op_mvn(hd_call *c) {
    static const int64_t usual[] = {0, 2, 3};
    const hd_nd *x = hd_call_as(c, c->in[0], HD_TYPE_F64);
    size_t n;
    const int64_t *axes = hd_attr_ints(c, "axes", &n);
    unsigned set;
    if (!x) return HD_NOMEM;
    if (!axes) axes = usual, n = 3;
    HD_TRY(hd_axis_set(c, axes, n, x->rank, 0, &set));
    int64_t stride[HD_ND_MAX_RANK], groups = 1;
    for (int k = x->rank; k-- > 0;) {
        stride[k] = set >> k & 1u ? 0 : groups;
        if (!(set >> k & 1u)) groups *= x->dim[k];
    }
    double *sum = hd_call_memory(c, (size_t)groups, 2 * sizeof *sum), *square = sum ? sum + groups : NULL;
    hd_nd y;
    if (!sum) return HD_NOMEM;
    HD_TRY(new_double(c, &y, x));
    double each = groups ? (double)x->count / (double)groups : 1;
    for (int pass = 0; pass < 3; pass++) {
        int64_t at[HD_ND_MAX_RANK] = {0}, g = 0;
        for (size_t i = 0; i < x->count; i++) {
            double v = ((const double *)x->data)[i];
            if (pass == 0) sum[g] += v / each;
            else if (pass == 1) square[g] += (v - sum[g]) * (v - sum[g]) / each;
            else ((double *)y.data)[i] = (v - sum[g]) / (sqrt(square[g]) + 1e-9);
            for (int k = x->rank; k-- > 0;) {
                g += stride[k];
                if (++at[k] < x->dim[k]) break;
                g -= stride[k] * x->dim[k];
                at[k] = 0;
            }
        }
    }
    HD_TRY(hd_out_cast(c, 0, &y, c->in[0]->type));
    return hd_work(c, (double)x->count);
}

void hd_log_softmax(double *to, const double *from, size_t n, size_t stride) {
    double peak = -INFINITY, sum = 0;
    for (size_t k = 0; k < n; k++) peak = fmax(peak, from[k * stride]);
    for (size_t k = 0; k < n; k++) sum += exp(from[k * stride] - peak);
    sum = log(sum);
    for (size_t k = 0; k < n; k++) to[k * stride] = from[k * stride] - peak - sum;
}

/* Softmax, LogSoftmax, Hardmax, LpNormalization: rows of `along` elements. Before operator set 13 the first three flatten to two
 * dimensions at the axis. */
hd_status hd_op_softmax(hd_call *c) {
    const hd_nd *x = hd_call_as(c, c->in[0], HD_TYPE_F64);
    char kind = c->op->name[0] == 'L' && c->op->name[1] == 'p' ? 'p' : c->op->name[0];
    int axis;
    if (!x) return HD_NOMEM;
    int64_t power = hd_attr_i(c, "p", 2), given = hd_attr_i(c, "axis", kind == 'p' || c->opset >= 13 ? -1 : 1);
    size_t before, along, after;
    if (kind != 'p' && c->opset < 13) {
        if (given < 0) given += x->rank;
        if (given < 0 || given > x->rank) return hd_call_fail(c, HD_RANGE, "axis %lld of %d dimensions", (long long)given, x->rank);
        before = along = after = 1;
        for (int k = 0; k < x->rank; k++) *(k < given ? &before : &along) *= (size_t)x->dim[k];
    } else {
        HD_TRY(hd_axis(c, given, x->rank, &axis));
        hd_split_at(x, axis, &before, &along, &after);
    }
    if (kind == 'p' && power != 1 && power != 2) return hd_call_fail(c, HD_RANGE, "attribute p is %lld; 1 and 2 are allowed", (long long)power);
    hd_nd y;
    HD_TRY(new_double(c, &y, x));
    for (size_t r = 0; r < before * after; r++) {
        const double *from = (const double *)x->data + r / after * along * after + r % after;
        double *to = (double *)y.data + (from - (const double *)x->data), peak = -INFINITY, sum = 0;
        size_t first = 0;
        if (kind == 'L') {
            hd_log_softmax(to, from, along, after);
            continue;
        }
        for (size_t k = 0; k < along; k++)
            if (from[k * after] > peak) peak = from[k * after], first = k;
        for (size_t k = 0; k < along; k++) sum += kind == 'p' ? (power == 1 ? fabs(from[k * after]) : from[k * after] * from[k * after]) : exp(from[k * after] - peak);
        if (kind == 'p' && power == 2) sum = sqrt(sum);
        for (size_t k = 0; k < along; k++) {
            double v = from[k * after];
            to[k * after] = kind == 'H' ? k == first : kind == 'p' ? (sum > 0 ? v / sum : 0) : exp(v - peak) / sum;
        }
    }
    HD_TRY(hd_out_cast(c, 0, &y, c->in[0]->type));
    return hd_work(c, (double)x->count);
}
