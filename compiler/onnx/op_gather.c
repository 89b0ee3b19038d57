/* Picking and placing elements by index. */
#include <string.h>

#include "call.h"

/* Input k as int64 of any rank. */
static const int64_t *indices(hd_call *c, int k) {
    const hd_nd *v = c->in[k];
    if (v->type != HD_TYPE_I32 && v->type != HD_TYPE_I64) {
        hd_call_fail(c, HD_UNSUPPORTED, "indices are %s; int32 and int64 are allowed", hd_type_name((int)v->type));
        return NULL;
    }
    v = hd_call_as(c, v, HD_TYPE_I64);
    return v ? v->data : NULL;
}

static hd_status position(hd_call *c, int64_t index, int64_t size, int64_t *out) {
    if (index < -size || index >= size) return hd_call_fail(c, HD_RANGE, "index %lld of %lld elements", (long long)index, (long long)size);
    *out = index < 0 ? index + size : index;
    return HD_OK;
}

hd_status hd_op_gather(hd_call *c) {
    const hd_nd *x = c->in[0], *at = c->in[1];
    int axis;
    HD_TRY(hd_axis(c, hd_attr_i(c, "axis", 0), x->rank, &axis));
    const int64_t *index = indices(c, 1);
    if (!index) return HD_UNSUPPORTED;
    int64_t dim[2 * HD_ND_MAX_RANK];
    int rank = 0;
    for (int k = 0; k < axis; k++) dim[rank++] = x->dim[k];
    for (int k = 0; k < at->rank; k++) dim[rank++] = at->dim[k];
    for (int k = axis + 1; k < x->rank; k++) dim[rank++] = x->dim[k];
    if (rank > HD_ND_MAX_RANK) return hd_call_fail(c, HD_UNSUPPORTED, "gives %d dimensions; at most %d are allowed", rank, HD_ND_MAX_RANK);
    HD_TRY(hd_out(c, 0, x->type, rank, dim));
    size_t before, along, after;
    hd_split_at(x, axis, &before, &along, &after);
    size_t bytes = after * hd_type_size(x->type);
    char *to = c->out[0].data;
    for (size_t i = 0; i < before; i++)
        for (size_t k = 0; k < at->count; k++, to += bytes) {
            int64_t from = 0;
            HD_TRY(position(c, index[k], (int64_t)along, &from));
            if (bytes) memcpy(to, (const char *)x->data + (i * along + (size_t)from) * bytes, bytes);
        }
    return HD_OK;
}

/* The element of x that index element i of `at` names along `axis`; all of at's other dims fit into x's. */
static hd_status element(hd_call *c, const hd_nd *x, const hd_nd *at, const int64_t *place, const int64_t *own, int axis, int64_t index, int64_t *out) {
    HD_TRY(position(c, index, x->dim[axis], out));
    *out *= own[axis];
    for (int k = 0; k < at->rank; k++)
        if (k != axis) *out += place[k] * own[k];
    return HD_OK;
}

static hd_status fits(hd_call *c, const hd_nd *x, const hd_nd *at, int axis) {
    int fit = x->rank == at->rank;
    for (int k = 0; fit && k < x->rank; k++) fit = k == axis || at->dim[k] <= x->dim[k];
    return fit ? HD_OK : hd_call_fail(c, HD_MISMATCH, "the indices' shape does not fit into the data's");
}

hd_status hd_op_gatherelements(hd_call *c) {
    const hd_nd *x = c->in[0], *at = c->in[1];
    int axis;
    int64_t own[HD_ND_MAX_RANK], place[HD_ND_MAX_RANK] = {0}, from = 0;
    HD_TRY(hd_axis(c, hd_attr_i(c, "axis", 0), x->rank, &axis));
    HD_TRY(fits(c, x, at, axis));
    const int64_t *index = indices(c, 1);
    if (!index) return HD_UNSUPPORTED;
    HD_TRY(hd_out_like(c, 0, x->type, at));
    hd_strides(x->rank, x->dim, own);
    size_t size = hd_type_size(x->type);
    for (size_t i = 0; i < at->count; i++) {
        HD_TRY(element(c, x, at, place, own, axis, index[i], &from));
        memcpy((char *)c->out[0].data + i * size, (const char *)x->data + (size_t)from * size, size);
        for (int k = at->rank; k-- > 0 && ++place[k] == at->dim[k];) place[k] = 0;
    }
    return HD_OK;
}

hd_status hd_op_gathernd(hd_call *c) {
    const hd_nd *x = c->in[0], *at = c->in[1];
    int64_t batch = hd_attr_i(c, "batch_dims", 0), own[HD_ND_MAX_RANK], dim[2 * HD_ND_MAX_RANK];
    int64_t last = at->rank ? at->dim[at->rank - 1] : 0;
    if (!at->rank || last < 1 || batch < 0 || batch >= at->rank || batch + last > x->rank) return hd_call_fail(c, HD_MISMATCH, "indices of %lld positions after %lld batch dimensions, of data of %d", (long long)last, (long long)batch, x->rank);
    const int64_t *index = indices(c, 1);
    if (!index) return HD_UNSUPPORTED;
    int rank = 0;
    size_t batches = 1;
    for (int k = 0; k < at->rank - 1; k++) dim[rank++] = at->dim[k];
    for (int k = 0; k < batch; k++) {
        if (at->dim[k] != x->dim[k]) return hd_call_fail(c, HD_MISMATCH, "batch dimension %d is %lld and %lld", k, (long long)x->dim[k], (long long)at->dim[k]);
        batches *= (size_t)x->dim[k];
    }
    for (int k = (int)(batch + last); k < x->rank; k++) dim[rank++] = x->dim[k];
    if (rank > HD_ND_MAX_RANK) return hd_call_fail(c, HD_UNSUPPORTED, "gives %d dimensions; at most %d are allowed", rank, HD_ND_MAX_RANK);
    HD_TRY(hd_out(c, 0, x->type, rank, dim));
    hd_strides(x->rank, x->dim, own);
    size_t items = at->count / (size_t)last, each = (size_t)own[batch + last - 1] * hd_type_size(x->type), per_batch = batches ? items / batches : 0;
    size_t batch_step = batches ? x->count / batches : 0;
    for (size_t i = 0; i < items; i++) {
        size_t from = per_batch ? i / per_batch * batch_step : 0;
        for (int64_t k = 0; k < last; k++) {
            int64_t p = 0;
            HD_TRY(position(c, index[i * (size_t)last + (size_t)k], x->dim[batch + k], &p));
            from += (size_t)(p * own[batch + k]);
        }
        if (each) memcpy((char *)c->out[0].data + i * each, (const char *)x->data + from * hd_type_size(x->type), each);
    }
    return HD_OK;
}

/* How a written element joins the one that is there. */
static hd_status reduction(hd_call *c, char *how) {
    *how = hd_attr_is(c, "reduction", "none", "none") ? 'n' : hd_attr_is(c, "reduction", "none", "add") ? 'a' : hd_attr_is(c, "reduction", "none", "mul") ? 'm'
         : hd_attr_is(c, "reduction", "none", "max") ? 'x' : hd_attr_is(c, "reduction", "none", "min") ? 'i' : 0;
    return *how ? HD_OK : hd_call_fail(c, HD_UNSUPPORTED, "attribute reduction is none of none, add, mul, max and min");
}

/* n elements of type double or int64 into y. */
static void join(hd_nd *y, size_t to, const hd_nd *v, size_t from, size_t n, char how) {
#define JOIN(T, ADD, MUL)                                                                \
    for (size_t k = 0; k < n; k++) {                                                     \
        T *d = (T *)y->data + to + k, s = ((const T *)v->data)[from + k];                \
        *d = how == 'a' ? (T)(ADD) : how == 'm' ? (T)(MUL) : how == 'x' ? (s > *d ? s : *d) : how == 'i' ? (s < *d ? s : *d) : s; \
    }
    if (y->type == HD_TYPE_F64) JOIN(double, *d + s, *d * s)
    else JOIN(int64_t, (uint64_t)*d + (uint64_t)s, (uint64_t)*d * (uint64_t)s)
}

/* A copy of input 0 and of the updates in the type elements are joined in. */
static hd_status begin(hd_call *c, hd_nd *y, const hd_nd **updates) {
    hd_type wide = hd_type_is_float(c->in[0]->type) ? HD_TYPE_F64 : HD_TYPE_I64;
    const hd_nd *x = hd_call_as(c, c->in[0], wide);
    if (c->in[2]->type != c->in[0]->type) return hd_call_fail(c, HD_MISMATCH, "updates of type %s", hd_type_name((int)c->in[2]->type));
    *updates = x ? hd_call_as(c, c->in[2], wide) : NULL;
    if (!*updates) return HD_NOMEM;
    hd_err err = {0};
    hd_status status = hd_nd_new(y, wide, x->rank, x->dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    if (x->count) memcpy(y->data, x->data, x->count * 8);
    return HD_OK;
}

hd_status hd_op_scatterelements(hd_call *c) {
    const hd_nd *x = c->in[0], *at = c->in[1], *updates;
    int axis;
    char how;
    int64_t own[HD_ND_MAX_RANK], place[HD_ND_MAX_RANK] = {0}, to = 0;
    HD_TRY(hd_axis(c, hd_attr_i(c, "axis", 0), x->rank, &axis));
    HD_TRY(fits(c, x, at, axis));
    HD_TRY(reduction(c, &how));
    if (!hd_nd_same_shape(at, c->in[2])) return hd_call_fail(c, HD_MISMATCH, "indices and updates are of different shapes");
    const int64_t *index = indices(c, 1);
    hd_nd y;
    if (!index) return HD_UNSUPPORTED;
    HD_TRY(begin(c, &y, &updates));
    hd_strides(x->rank, x->dim, own);
    hd_status status = HD_OK;
    for (size_t i = 0; status == HD_OK && i < at->count; i++) {
        status = element(c, x, at, place, own, axis, index[i], &to);
        if (status == HD_OK) join(&y, (size_t)to, updates, i, 1, how);
        for (int k = at->rank; k-- > 0 && ++place[k] == at->dim[k];) place[k] = 0;
    }
    if (status == HD_OK) status = hd_work(c, (double)(x->count + at->count));
    if (status == HD_OK) return hd_out_cast(c, 0, &y, x->type);
    hd_nd_free(&y);
    return status;
}

hd_status hd_op_scatternd(hd_call *c) {
    const hd_nd *x = c->in[0], *at = c->in[1], *updates;
    char how;
    int64_t own[HD_ND_MAX_RANK], last = at->rank ? at->dim[at->rank - 1] : 0;
    HD_TRY(reduction(c, &how));
    if (!at->rank || last < 1 || last > x->rank) return hd_call_fail(c, HD_MISMATCH, "indices of %lld positions for data of %d dimensions", (long long)last, x->rank);
    const int64_t *index = indices(c, 1);
    hd_nd y;
    if (!index) return HD_UNSUPPORTED;
    hd_strides(x->rank, x->dim, own);
    size_t items = at->count / (size_t)last, each = (size_t)own[last - 1];
    if (c->in[2]->count != items * each) return hd_call_fail(c, HD_MISMATCH, "%zu updates; the indices ask for %zu", c->in[2]->count, items * each);
    HD_TRY(begin(c, &y, &updates));
    hd_status status = HD_OK;
    for (size_t i = 0; status == HD_OK && i < items; i++) {
        size_t to = 0;
        for (int64_t k = 0; status == HD_OK && k < last; k++) {
            int64_t p = 0;
            status = position(c, index[i * (size_t)last + (size_t)k], x->dim[k], &p);
            to += (size_t)(p * own[k]);
        }
        if (status == HD_OK) join(&y, to, updates, i * each, each, how);
    }
    if (status == HD_OK) status = hd_work(c, (double)(x->count + at->count + updates->count));
    if (status == HD_OK) return hd_out_cast(c, 0, &y, x->type);
    hd_nd_free(&y);
    return status;
}

hd_status hd_op_onehot(hd_call *c) {
    const hd_nd *at = hd_call_as(c, c->in[0], HD_TYPE_I64), *values = c->in[2];
    double number;
    HD_TRY(hd_in_number(c, 1, 0, &number));
    int axis;
    HD_TRY(hd_axis(c, hd_attr_i(c, "axis", -1), c->in[0]->rank + 1, &axis));
    if (!at) return HD_NOMEM;
    if (values->count != 2 || !(number >= 0 && number < 1e12) || at->rank == HD_ND_MAX_RANK) return hd_call_fail(c, HD_MISMATCH, "two values and a depth that is not negative are expected");
    int64_t depth = (int64_t)number, dim[HD_ND_MAX_RANK];
    for (int k = 0, from = 0; k <= at->rank; k++) dim[k] = k == axis ? depth : at->dim[from++];
    HD_TRY(hd_out(c, 0, values->type, at->rank + 1, dim));
    size_t before, along, after, size = hd_type_size(values->type);
    hd_split_at(&c->out[0], axis, &before, &along, &after);
    for (size_t i = 0; i < c->out[0].count; i++) {
        int64_t index = ((const int64_t *)at->data)[i / after / along * after + i % after], here = (int64_t)(i / after % along);
        int hot = index == here || (index < 0 && index + depth == here);
        memcpy((char *)c->out[0].data + i * size, (const char *)values->data + (size_t)hot * size, size);
    }
    return HD_OK;
}

hd_status hd_op_nonzero(hd_call *c) {
    const hd_nd *x = hd_call_as(c, c->in[0], HD_TYPE_BOOL);
    if (!x) return HD_NOMEM;
    int64_t own[HD_ND_MAX_RANK], dim[2] = {x->rank, 0}, n = 0;
    for (size_t i = 0; i < x->count; i++) dim[1] += ((const uint8_t *)x->data)[i];
    HD_TRY(hd_out(c, 0, HD_TYPE_I64, 2, dim));
    hd_strides(x->rank, x->dim, own);
    for (size_t i = 0; i < x->count; i++) {
        if (!((const uint8_t *)x->data)[i]) continue;
        for (int k = 0; k < x->rank; k++) ((int64_t *)c->out[0].data)[k * dim[1] + n] = (int64_t)i / own[k] % x->dim[k];
        n++;
    }
    return hd_work(c, (double)x->count);
}

hd_status hd_op_compress(hd_call *c) {
    const hd_nd *x = c->in[0], *keep = c->in[1];
    int axis = 0, flat = !hd_attribute(c, "axis");
    if (!flat) HD_TRY(hd_axis(c, hd_attr_i(c, "axis", 0), x->rank, &axis));
    int64_t dim[HD_ND_MAX_RANK] = {0}, kept = 0;
    size_t before = 1, along = x->count, after = 1;
    if (!flat) hd_split_at(x, axis, &before, &along, &after);
    if (keep->rank != 1 || keep->type != HD_TYPE_BOOL || keep->count > along) return hd_call_fail(c, HD_MISMATCH, "the condition is not a list of at most %zu bools", along);
    for (size_t k = 0; k < keep->count; k++) kept += ((const uint8_t *)keep->data)[k];
    if (!flat) memcpy(dim, x->dim, sizeof dim);
    dim[axis] = kept;
    HD_TRY(hd_out(c, 0, x->type, flat ? 1 : x->rank, dim));
    HD_TRY(hd_work(c, (double)before * (double)keep->count));
    size_t bytes = after * hd_type_size(x->type);
    char *to = c->out[0].data;
    for (size_t i = 0; i < before && bytes; i++)
        for (size_t k = 0; k < keep->count; k++)
            if (((const uint8_t *)keep->data)[k]) {
                memcpy(to, (const char *)x->data + (i * along + k) * bytes, bytes);
                to += bytes;
            }
    return HD_OK;
}
