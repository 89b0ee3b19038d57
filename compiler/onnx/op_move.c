/* Operators that move elements about: transpose, join, cut, repeat, pad. */
#include <string.h>

#include "call.h"

/* y (dims set) takes from x, row-major over y, the element at base + sum of at[k] * stride[k]. */
static void gather_strided(hd_nd *y, const hd_nd *x, int64_t base, const int64_t *stride) {
    size_t size = hd_type_size(x->type);
    int64_t at[HD_ND_MAX_RANK] = {0}, from = base;
    char *to = y->data;
    for (size_t i = 0; i < y->count; i++, to += size) {
        memcpy(to, (const char *)x->data + (size_t)from * size, size);
        for (int k = y->rank; k-- > 0;) {
            from += stride[k];
            if (++at[k] < y->dim[k]) break;
            from -= stride[k] * y->dim[k];
            at[k] = 0;
        }
    }
}

hd_status hd_op_transpose(hd_call *c) {
    const hd_nd *x = c->in[0];
    size_t n;
    const int64_t *perm = hd_attr_ints(c, "perm", &n);
    int64_t dim[HD_ND_MAX_RANK], stride[HD_ND_MAX_RANK], old[HD_ND_MAX_RANK];
    unsigned seen = 0;
    if (perm && n != (size_t)x->rank) return hd_call_fail(c, HD_MISMATCH, "'perm' has %zu entries; the input has %d dimensions", n, x->rank);
    hd_strides(x->rank, x->dim, old);
    for (int k = 0; k < x->rank; k++) {
        int64_t p = perm ? perm[k] : x->rank - 1 - k;
        if (p < 0 || p >= x->rank || seen >> p & 1u) return hd_call_fail(c, HD_FORMAT, "'perm' is no permutation");
        seen |= 1u << p;
        dim[k] = x->dim[p];
        stride[k] = old[p];
    }
    HD_TRY(hd_out(c, 0, x->type, x->rank, dim));
    gather_strided(&c->out[0], x, 0, stride);
    return HD_OK;
}

hd_status hd_op_expand(hd_call *c) {
    const hd_nd *x = c->in[0];
    const int64_t *want;
    size_t n;
    int64_t dim[HD_ND_MAX_RANK], stride[HD_ND_MAX_RANK], own[HD_ND_MAX_RANK];
    HD_TRY(hd_in_ints(c, 1, &want, &n));
    if (n > HD_ND_MAX_RANK) return hd_call_fail(c, HD_UNSUPPORTED, "%zu dimensions; at most %d are allowed", n, HD_ND_MAX_RANK);
    int rank = (int)n > x->rank ? (int)n : x->rank;
    hd_strides(x->rank, x->dim, own);
    for (int k = 0; k < rank; k++) {
        int i = k - (rank - x->rank), j = k - (rank - (int)n);
        int64_t have = i < 0 ? 1 : x->dim[i], asked = j < 0 ? 1 : want[j];
        if (have != asked && have != 1 && asked != 1) return hd_call_fail(c, HD_MISMATCH, "dimension %d of %lld cannot expand to %lld", k, (long long)have, (long long)asked);
        dim[k] = have == 1 ? asked : have;
        stride[k] = have == 1 ? 0 : own[i];
    }
    HD_TRY(hd_out(c, 0, x->type, rank, dim));
    gather_strided(&c->out[0], x, 0, stride);
    return HD_OK;
}

hd_status hd_op_concat(hd_call *c) {
    const hd_nd *x = c->in[0];
    int axis;
    int64_t dim[HD_ND_MAX_RANK];
    if (c->opset >= 4 && !hd_attribute(c, "axis")) return hd_call_fail(c, HD_FORMAT, "has no axis");
    HD_TRY(hd_axis(c, hd_attr_i(c, "axis", 1), x->rank, &axis));
    memcpy(dim, x->dim, sizeof dim);
    dim[axis] = 0;
    for (int k = 0; k < c->n_in; k++) {
        const hd_nd *v = c->in[k];
        int agree = v && v->type == x->type && v->rank == x->rank;
        for (int j = 0; agree && j < x->rank; j++) agree = j == axis || v->dim[j] == x->dim[j];
        if (!agree) return hd_call_fail(c, HD_MISMATCH, "input %d differs from input 0 in more than the size of axis %d", k, axis);
        dim[axis] += v->dim[axis];
    }
    HD_TRY(hd_out(c, 0, x->type, x->rank, dim));
    size_t before, along, after, at = 0, size = hd_type_size(x->type);
    hd_split_at(&c->out[0], axis, &before, &along, &after);
    for (int k = 0; k < c->n_in; k++) {
        size_t part = (size_t)c->in[k]->dim[axis] * after * size;
        for (size_t i = 0; part && i < before; i++) memcpy((char *)c->out[0].data + (i * along * after) * size + at, (const char *)c->in[k]->data + i * part, part);
        at += part;
    }
    return HD_OK;
}

hd_status hd_op_split(hd_call *c) {
    const hd_nd *x = c->in[0];
    const int64_t *list;
    size_t n;
    int axis;
    HD_TRY(hd_list(c, "split", 1, 13, &list, &n));
    HD_TRY(hd_axis(c, hd_attr_i(c, "axis", 0), x->rank, &axis));
    int64_t parts = hd_attr_i(c, "num_outputs", c->n_out), at = 0, all = x->dim[axis];
    if (list ? n != (size_t)c->n_out : parts != c->n_out) return hd_call_fail(c, HD_MISMATCH, "%zu sizes for %d outputs", list ? n : (size_t)parts, c->n_out);
    if (!list && c->opset < 18 && all % parts) return hd_call_fail(c, HD_MISMATCH, "axis %d of %lld does not split into %lld equal parts", axis, (long long)all, (long long)parts);
    int64_t each = list ? 0 : (all + parts - 1) / parts; /* parts is the number of outputs now, which is 1 at least */
    size_t before, along, after, size = hd_type_size(x->type);
    hd_split_at(x, axis, &before, &along, &after);
    for (int k = 0; k < c->n_out; k++) {
        int64_t dim[HD_ND_MAX_RANK], part = list ? list[k] : all - at < each ? all - at : each;
        if (part < 0 || part > all - at) return hd_call_fail(c, HD_MISMATCH, "part %d of %lld passes the %lld elements of axis %d", k, (long long)part, (long long)all, axis);
        memcpy(dim, x->dim, sizeof dim);
        dim[axis] = part;
        HD_TRY(hd_out(c, k, x->type, x->rank, dim));
        size_t bytes = (size_t)part * after * size;
        for (size_t i = 0; bytes && i < before; i++) memcpy((char *)c->out[k].data + i * bytes, (const char *)x->data + (i * along + (size_t)at) * after * size, bytes);
        at += part;
    }
    if (at != all) return hd_call_fail(c, HD_MISMATCH, "the parts hold %lld of %lld elements of axis %d", (long long)at, (long long)all, axis);
    return HD_OK;
}

hd_status hd_op_slice(hd_call *c) {
    const hd_nd *x = c->in[0];
    const int64_t *starts, *ends, *axes, *steps = NULL;
    size_t n, n_ends, n_axes, n_steps = 0;
    HD_TRY(hd_list(c, "starts", 1, 10, &starts, &n));
    HD_TRY(hd_list(c, "ends", 2, 10, &ends, &n_ends));
    HD_TRY(hd_list(c, "axes", 3, 10, &axes, &n_axes));
    if (c->opset >= 10) HD_TRY(hd_in_ints(c, 4, &steps, &n_steps));
    if (n != n_ends || (axes && n != n_axes) || (steps && n != n_steps) || n > (size_t)x->rank) return hd_call_fail(c, HD_MISMATCH, "starts, ends, axes and steps are not of one length up to %d", x->rank);
    int64_t dim[HD_ND_MAX_RANK], stride[HD_ND_MAX_RANK], base = 0;
    int each[HD_ND_MAX_RANK];
    HD_TRY(hd_axis_list(c, axes, n, x->rank, each));
    hd_strides(x->rank, x->dim, stride);
    memcpy(dim, x->dim, sizeof dim);
    for (size_t k = 0; k < n; k++) {
        int axis = each[k];
        int64_t size = x->dim[axis], step = steps ? steps[k] : 1, low = step < 0 ? -1 : 0, high = step < 0 ? size - 1 : size;
        if (step == 0 || step == INT64_MIN) return hd_call_fail(c, HD_RANGE, "step %lld", (long long)step);
        int64_t start = starts[k] < 0 ? starts[k] + size : starts[k], end = ends[k] < 0 ? ends[k] + size : ends[k];
        start = start < low ? low : start > high ? high : start;
        end = end < low ? low : end > high ? high : end;
        dim[axis] = step > 0 ? (end > start ? (end - start - 1) / step + 1 : 0) : (start > end ? (start - end - 1) / -step + 1 : 0);
        if (dim[axis] > 0) base += start * stride[axis];
        if (dim[axis] > 1) stride[axis] *= step;
    }
    HD_TRY(hd_out(c, 0, x->type, x->rank, dim));
    if (c->out[0].count) gather_strided(&c->out[0], x, base, stride);
    return HD_OK;
}

hd_status hd_op_tile(hd_call *c) {
    const hd_nd *x = c->in[0];
    const int64_t *times;
    size_t n;
    HD_TRY(hd_in_ints(c, 1, &times, &n));
    if (n != (size_t)x->rank) return hd_call_fail(c, HD_MISMATCH, "%zu repeats for %d dimensions", n, x->rank);
    int64_t dim[HD_ND_MAX_RANK], own[HD_ND_MAX_RANK], at[HD_ND_MAX_RANK] = {0};
    hd_strides(x->rank, x->dim, own);
    for (int k = 0; k < x->rank; k++) {
        if (times[k] < 0 || (times[k] && x->dim[k] > INT64_MAX / times[k])) return hd_call_fail(c, HD_RANGE, "%lld repeats of dimension %d", (long long)times[k], k);
        dim[k] = x->dim[k] * times[k];
    }
    HD_TRY(hd_out(c, 0, x->type, x->rank, dim));
    size_t size = hd_type_size(x->type);
    char *to = c->out[0].data;
    for (size_t i = 0; i < c->out[0].count; i++, to += size) {
        int64_t from = 0;
        for (int k = 0; k < x->rank; k++) from += at[k] % x->dim[k] * own[k];
        memcpy(to, (const char *)x->data + (size_t)from * size, size);
        for (int k = x->rank; k-- > 0 && ++at[k] == dim[k];) at[k] = 0;
    }
    return HD_OK;
}

/* Position `at` of a padded axis in the original of `size`, or -1 for the constant. */
static int64_t source(int64_t at, int64_t size, char mode) {
    if (at >= 0 && at < size) return at;
    if (mode == 'c' || size == 0) return -1;
    if (mode == 'e') return at < 0 ? 0 : size - 1;
    if (mode == 'w') return (at % size + size) % size;
    int64_t period = size > 1 ? 2 * (size - 1) : 1;
    at = (at % period + period) % period;
    return at < size ? at : period - at;
}

hd_status hd_op_pad(hd_call *c) {
    const hd_nd *x = c->in[0], *value = c->opset >= 11 && c->n_in > 2 ? c->in[2] : NULL;
    const int64_t *pads, *axes = NULL;
    size_t n, n_axes = 0;
    HD_TRY(hd_list(c, c->opset < 2 ? "paddings" : "pads", 1, 11, &pads, &n));
    if (c->opset >= 18) HD_TRY(hd_in_ints(c, 3, &axes, &n_axes));
    char mode = hd_attr_is(c, "mode", "constant", "constant") ? 'c' : hd_attr_is(c, "mode", "constant", "reflect") ? 'r' : hd_attr_is(c, "mode", "constant", "edge") ? 'e' : hd_attr_is(c, "mode", "constant", "wrap") ? 'w' : 0;
    if (!mode) return hd_call_fail(c, HD_UNSUPPORTED, "attribute mode is none of constant, reflect, edge and wrap");
    if (n != 2 * (axes ? n_axes : (size_t)x->rank)) return hd_call_fail(c, HD_MISMATCH, "%zu pads for %d dimensions", n, x->rank);
    if (value && (value->count != 1 || value->type != x->type)) return hd_call_fail(c, HD_MISMATCH, "the value to pad with is not one element of the input's type");
    int each[HD_ND_MAX_RANK];
    HD_TRY(hd_axis_list(c, axes, n / 2, x->rank, each));
    int64_t dim[HD_ND_MAX_RANK], begin[HD_ND_MAX_RANK] = {0}, own[HD_ND_MAX_RANK], at[HD_ND_MAX_RANK] = {0};
    memcpy(dim, x->dim, sizeof dim);
    for (size_t k = 0; k < n / 2; k++) {
        int axis = each[k];
        if (pads[k] < -INT32_MAX || pads[k] > INT32_MAX || pads[k + n / 2] < -INT32_MAX || pads[k + n / 2] > INT32_MAX) return hd_call_fail(c, HD_RANGE, "a pad of more than 2^31 elements");
        begin[axis] = pads[k];
        dim[axis] += pads[k] + pads[k + n / 2];
        if (mode != 'c' && x->dim[axis] == 0 && dim[axis]) return hd_call_fail(c, HD_RANGE, "axis %d is empty; nothing can be repeated", axis);
    }
    float attribute = c->opset < 11 ? hd_attr_f(c, "value", 0) : 0;
    hd_nd one = {.kind = HD_ND_TENSOR, .type = HD_TYPE_F32, .count = 1, .data = &attribute};
    if (!value) value = hd_call_as(c, &one, x->type);
    if (!value) return HD_NOMEM;
    HD_TRY(hd_out(c, 0, x->type, x->rank, dim));
    hd_strides(x->rank, x->dim, own);
    size_t size = hd_type_size(x->type);
    char *to = c->out[0].data;
    for (size_t i = 0; i < c->out[0].count; i++, to += size) {
        int64_t from = 0;
        for (int k = 0; k < x->rank && from >= 0; k++) {
            int64_t s = source(at[k] - begin[k], x->dim[k], mode);
            from = s < 0 ? -1 : from + s * own[k];
        }
        memcpy(to, from < 0 ? value->data : (const char *)x->data + (size_t)from * size, size);
        for (int k = x->rank; k-- > 0 && ++at[k] == dim[k];) at[k] = 0;
    }
    return HD_OK;
}

/* DepthToSpace and SpaceToDepth: a transpose of six dimensions. */
hd_status hd_op_depth(hd_call *c) {
    const hd_nd *x = c->in[0];
    int64_t b = hd_attr_i(c, "blocksize", 0);
    int to_space = c->op->name[0] == 'D', crd = to_space && hd_attr_is(c, "mode", "DCR", "CRD");
    if (to_space && !crd && !hd_attr_is(c, "mode", "DCR", "DCR")) return hd_call_fail(c, HD_FORMAT, "attribute mode is neither DCR nor CRD");
    if (x->rank != 4 || b < 1 || b > 4096) return hd_call_fail(c, HD_MISMATCH, "an input of 4 dimensions and a blocksize of 1 to 4096 are expected");
    int64_t n = x->dim[0], ch = x->dim[1], h = x->dim[2], w = x->dim[3];
    if (to_space ? ch % (b * b) : h % b || w % b) return hd_call_fail(c, HD_MISMATCH, "blocks of %lld do not divide the input", (long long)b);
    int64_t dim[4] = {n, to_space ? ch / b / b : ch * b * b, to_space ? h * b : h / b, to_space ? w * b : w / b};
    HD_TRY(hd_out(c, 0, x->type, 4, dim));
    hd_nd y = c->out[0];
    y.rank = 6;
    if (to_space) {
        int64_t channel = h * w, step = crd ? b * b : 1;
        int64_t shape[6] = {n, dim[1], h, b, w, b}, row = crd ? b : b * dim[1], column = crd ? 1 : dim[1];
        int64_t stride[6] = {ch * channel, step * channel, w, row * channel, 1, column * channel};
        memcpy(y.dim, shape, sizeof shape);
        gather_strided(&y, x, 0, stride);
    } else {
        int64_t shape[6] = {n, b, b, ch, dim[2], dim[3]}, stride[6] = {ch * h * w, w, 1, h * w, w * b, b};
        memcpy(y.dim, shape, sizeof shape);
        gather_strided(&y, x, 0, stride);
    }
    return HD_OK;
}

hd_status hd_op_trilu(hd_call *c) {
    const hd_nd *x = c->in[0];
    int64_t upper = hd_attr_i(c, "upper", 1);
    double number;
    HD_TRY(hd_in_number(c, 1, 0, &number));
    if (x->rank < 2) return hd_call_fail(c, HD_MISMATCH, "%d dimensions; at least 2 are expected", x->rank);
    HD_TRY(hd_out_like(c, 0, x->type, x));
    size_t size = hd_type_size(x->type);
    int64_t w = x->dim[x->rank - 1], h = x->dim[x->rank - 2];
    for (size_t i = 0; i < x->count; i++) {
        int64_t column = (int64_t)i % w, row = (int64_t)i / w % h;
        double diagonal = (double)(column - row);
        if (upper ? diagonal >= number : diagonal <= number) memcpy((char *)c->out[0].data + i * size, (const char *)x->data + i * size, size);
    }
    return HD_OK;
}

hd_status hd_op_reversesequence(hd_call *c) {
    const hd_nd *x = c->in[0];
    const int64_t *length;
    size_t n;
    int64_t time = hd_attr_i(c, "time_axis", 0), batch = hd_attr_i(c, "batch_axis", 1);
    HD_TRY(hd_in_ints(c, 1, &length, &n));
    if (x->rank < 2 || time < 0 || time > 1 || batch != 1 - time || n != (size_t)x->dim[batch]) return hd_call_fail(c, HD_MISMATCH, "time and batch are not axes 0 and 1, or there is not one length for each of the batch");
    HD_TRY(hd_out_like(c, 0, x->type, x));
    size_t item = x->count ? x->count / (size_t)(x->dim[0] * x->dim[1]) * hd_type_size(x->type) : 0;
    for (int64_t b = 0; b < x->dim[batch]; b++) {
        if (length[b] < 0 || length[b] > x->dim[time]) return hd_call_fail(c, HD_RANGE, "a length of %lld; there are %lld steps", (long long)length[b], (long long)x->dim[time]);
        for (int64_t t = 0; item && t < x->dim[time]; t++) {
            int64_t from = t < length[b] ? length[b] - 1 - t : t;
            int64_t i = time ? b * x->dim[1] + t : t * x->dim[1] + b, j = time ? b * x->dim[1] + from : from * x->dim[1] + b;
            memcpy((char *)c->out[0].data + (size_t)i * item, (const char *)x->data + (size_t)j * item, item);
        }
    }
    return HD_OK;
}
