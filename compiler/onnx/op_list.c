/* Lists of tensors and optional values. */
#include <string.h>

#include "call.h"

static hd_status give(hd_call *c, hd_nd *v) {
    hd_nd_free(&c->out[0]);
    c->out[0] = *v;
    return HD_OK;
}

static hd_status need_list(hd_call *c) { return c->in[0]->kind == HD_ND_LIST ? HD_OK : hd_call_fail(c, HD_MISMATCH, "input 0 is no list"); }

/* Input k as a position in 0..n (n itself allowed when `end`); absent: the fallback. */
static hd_status position(hd_call *c, int k, size_t n, int end, int64_t fallback, size_t *out) {
    const int64_t *list;
    size_t count;
    HD_TRY(hd_in_ints(c, k, &list, &count));
    int64_t at = list && count == 1 ? list[0] : fallback;
    if (at < 0 && list) at += (int64_t)n;
    if (at < 0 || at > (int64_t)n - !end) return hd_call_fail(c, HD_RANGE, "position %lld in a list of %zu", (long long)at, n);
    *out = (size_t)at;
    return HD_OK;
}

hd_status hd_op_list_construct(hd_call *c) {
    hd_nd v;
    for (int k = 0; k < c->n_in; k++)
        if (!c->in[k] || c->in[k]->kind != HD_ND_TENSOR || c->in[k]->type != c->in[0]->type) return hd_call_fail(c, HD_MISMATCH, "tensors of one type are expected");
    HD_TRY(hd_nd_new_list(&v, c->in[0]->type, (size_t)c->n_in, c->err));
    for (int k = 0; k < c->n_in; k++) ((hd_nd *)v.data)[k] = hd_nd_share(c->in[k]);
    return give(c, &v);
}

hd_status hd_op_list_empty(hd_call *c) {
    hd_nd v;
    HD_TRY(hd_nd_new_list(&v, (hd_type)hd_attr_i(c, "dtype", 1), 0, c->err));
    return give(c, &v);
}

hd_status hd_op_list_length(hd_call *c) {
    HD_TRY(need_list(c));
    HD_TRY(hd_out(c, 0, HD_TYPE_I64, 0, NULL));
    *(int64_t *)c->out[0].data = (int64_t)c->in[0]->count;
    return HD_OK;
}

hd_status hd_op_list_at(hd_call *c) {
    size_t at = 0;
    HD_TRY(need_list(c));
    HD_TRY(position(c, 1, c->in[0]->count, 0, -1, &at));
    hd_nd v = hd_nd_share((const hd_nd *)c->in[0]->data + at);
    return give(c, &v);
}

hd_status hd_op_list_insert(hd_call *c) {
    size_t n = c->in[0]->count, at = 0;
    hd_nd v;
    HD_TRY(need_list(c));
    HD_TRY(position(c, 2, n, 1, (int64_t)n, &at));
    if (c->in[1]->kind != HD_ND_TENSOR) return hd_call_fail(c, HD_MISMATCH, "input 1 is no tensor");
    HD_TRY(hd_work(c, (double)n));
    HD_TRY(hd_nd_new_list(&v, c->in[1]->type, n + 1, c->err));
    for (size_t k = 0; k <= n; k++) ((hd_nd *)v.data)[k] = hd_nd_share(k == at ? c->in[1] : (const hd_nd *)c->in[0]->data + (k - (k > at)));
    return give(c, &v);
}

hd_status hd_op_list_erase(hd_call *c) {
    size_t n = c->in[0]->count, at = 0;
    hd_nd v;
    HD_TRY(need_list(c));
    HD_TRY(position(c, 1, n, 0, (int64_t)n - 1, &at));
    HD_TRY(hd_work(c, (double)n));
    HD_TRY(hd_nd_new_list(&v, c->in[0]->type, n - 1, c->err));
    for (size_t k = 0; k + 1 < n; k++) ((hd_nd *)v.data)[k] = hd_nd_share((const hd_nd *)c->in[0]->data + (k + (k >= at)));
    return give(c, &v);
}

/* Joins a list along an axis, old or new. */
hd_status hd_op_list_concat(hd_call *c) {
    HD_TRY(need_list(c));
    const hd_nd *v = c->in[0]->data;
    size_t n = c->in[0]->count;
    int64_t fresh = hd_attr_i(c, "new_axis", 0), dim[HD_ND_MAX_RANK];
    if (!n) return hd_call_fail(c, HD_RANGE, "an empty list cannot be joined");
    int axis, rank = v[0].rank + (fresh != 0);
    HD_TRY(hd_axis(c, hd_attr_i(c, "axis", 0), rank, &axis));
    if (rank > HD_ND_MAX_RANK) return hd_call_fail(c, HD_UNSUPPORTED, "gives %d dimensions; at most %d are allowed", rank, HD_ND_MAX_RANK);
    for (int j = 0, from = 0; j < rank; j++) dim[j] = fresh && j == axis ? (int64_t)n : v[0].dim[from++];
    for (size_t k = 0; k < n; k++) {
        int agree = v[k].kind == HD_ND_TENSOR && v[k].rank == v[0].rank && v[k].type == v[0].type && v[k].type != HD_TYPE_STRING;
        for (int j = 0; agree && j < v[0].rank; j++) agree = v[k].dim[j] == v[0].dim[j] || (!fresh && j == axis);
        if (!agree) return hd_call_fail(c, HD_MISMATCH, "the list's tensors do not fit together");
        if (k && !fresh) dim[axis] += v[k].dim[axis];
    }
    HD_TRY(hd_out(c, 0, v[0].type, rank, dim));
    size_t before, along, after, at = 0;
    hd_split_at(&c->out[0], axis, &before, &along, &after);
    for (size_t k = 0; k < n; k++) {
        size_t part = (fresh ? 1 : (size_t)v[k].dim[axis]) * after * hd_type_size(v[0].type);
        for (size_t b = 0; part && b < before; b++) memcpy((char *)c->out[0].data + b * along * after * hd_type_size(v[0].type) + at, (const char *)v[k].data + b * part, part);
        at += part;
    }
    return HD_OK;
}

hd_status hd_op_list_split(hd_call *c) {
    const hd_nd *x = c->in[0];
    const int64_t *parts;
    size_t n, before, along, after;
    int axis, single = c->n_in > 1 && c->in[1] ? c->in[1]->rank == 0 : 1, given = c->n_in > 1 && c->in[1];
    HD_TRY(hd_axis(c, hd_attr_i(c, "axis", 0), x->rank, &axis));
    HD_TRY(hd_in_ints(c, 1, &parts, &n));
    hd_split_at(x, axis, &before, &along, &after);
    int64_t each = given && single ? parts[0] : 1, keep = given ? 1 : hd_attr_i(c, "keepdims", 1);
    if (each < 1) return hd_call_fail(c, HD_RANGE, "parts of %lld", (long long)each);
    size_t count = single ? (along + (size_t)each - 1) / (size_t)each : n, at = 0;
    hd_nd v;
    /* A tensor without elements may have any number of parts. */
    if (count > hd_limit(c) / sizeof v) return hd_call_fail(c, HD_RANGE, "%zu parts need more than %zu bytes, the most that is allowed", count, hd_limit(c));
    HD_TRY(hd_work(c, (double)x->count + (double)count));
    HD_TRY(hd_nd_new_list(&v, x->type, count, c->err));
    hd_status status = HD_OK;
    for (size_t k = 0; status == HD_OK && k < count; k++) {
        int64_t dim[HD_ND_MAX_RANK], part = single ? (int64_t)(along - at) < each ? (int64_t)(along - at) : each : parts[k];
        hd_nd *item = (hd_nd *)v.data + k;
        memcpy(dim, x->dim, sizeof dim);
        dim[axis] = part;
        if (part < 0 || (size_t)part > along - at) status = hd_call_fail(c, HD_MISMATCH, "the parts pass the %zu elements", along);
        hd_err err = {0};
        if (status == HD_OK && hd_nd_new(item, x->type, x->rank, dim, hd_limit(c), &err) != HD_OK) status = hd_call_fail(c, err.code, "%s", err.message);
        if (status != HD_OK) break;
        size_t bytes = (size_t)part * after * hd_type_size(x->type);
        for (size_t b = 0; bytes && b < before; b++) memcpy((char *)item->data + b * bytes, (const char *)x->data + (b * along + at) * after * hd_type_size(x->type), bytes);
        at += (size_t)part;
        if (keep) continue;
        item->rank--;
        memmove(item->dim + axis, item->dim + axis + 1, sizeof *item->dim * (size_t)(HD_ND_MAX_RANK - axis - 1));
    }
    if (status == HD_OK) return give(c, &v);
    hd_nd_free(&v);
    return status;
}

/* Optional: of nothing, or of its input. */
hd_status hd_op_optional(hd_call *c) {
    hd_nd v = {.kind = HD_ND_EMPTY};
    if (c->n_in && c->in[0]) v = hd_nd_share(c->in[0]);
    return give(c, &v);
}

hd_status hd_op_optional_has(hd_call *c) {
    HD_TRY(hd_out(c, 0, HD_TYPE_BOOL, 0, NULL));
    *(uint8_t *)c->out[0].data = c->in[0]->kind != HD_ND_EMPTY;
    return HD_OK;
}

hd_status hd_op_optional_get(hd_call *c) {
    if (c->in[0]->kind == HD_ND_EMPTY) return hd_call_fail(c, HD_RANGE, "the optional value holds nothing");
    hd_nd v = hd_nd_share(c->in[0]);
    return give(c, &v);
}
