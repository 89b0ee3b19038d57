/* TopK and Unique. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"

typedef struct item {
    double real;
    int64_t whole, at;
} item;

/* What is no number is larger than all that are, as numpy sorts: an order for qsort, which may not be given anything else. */
static int compare(const item *a, const item *b) {
    if (isnan(a->real) || isnan(b->real)) return !!isnan(a->real) - !!isnan(b->real);
    if (a->real != b->real) return a->real < b->real ? -1 : 1;
    return (a->whole > b->whole) - (a->whole < b->whole);
}
static int upwards(const void *a, const void *b) {
    int order = compare(a, b);
    return order ? order : (((const item *)a)->at > ((const item *)b)->at) - (((const item *)a)->at < ((const item *)b)->at);
}
static int downwards(const void *a, const void *b) {
    int order = compare(b, a);
    return order ? order : (((const item *)a)->at > ((const item *)b)->at) - (((const item *)a)->at < ((const item *)b)->at);
}

static item read_item(const hd_nd *x, size_t k, int64_t at) {
    if (x->type == HD_TYPE_I64) return (item){0, ((const int64_t *)x->data)[k], at};
    return (item){((const double *)x->data)[k], 0, at};
}

hd_status hd_op_topk(hd_call *c) {
    const hd_nd *x = c->in[0];
    const int64_t *k_list;
    size_t n_k;
    int axis;
    int64_t k = hd_attr_i(c, "k", 0);
    HD_TRY(hd_axis(c, hd_attr_i(c, "axis", -1), x->rank, &axis));
    if (c->opset >= 10) {
        HD_TRY(hd_in_ints(c, 1, &k_list, &n_k));
        if (n_k != 1) return hd_call_fail(c, HD_FORMAT, "k is not one number");
        k = k_list[0];
    }
    if (k < 0 || k > x->dim[axis]) return hd_call_fail(c, HD_RANGE, "the %lld largest of %lld", (long long)k, (long long)x->dim[axis]);
    int64_t dim[HD_ND_MAX_RANK], largest = hd_attr_i(c, "largest", 1);
    memcpy(dim, x->dim, sizeof dim);
    dim[axis] = k;
    if (x->type == HD_TYPE_U64) return hd_call_fail(c, HD_UNSUPPORTED, "elements of type uint64");
    if (c->n_out != 2) return hd_call_fail(c, HD_FORMAT, "%d outputs; 2 are expected", c->n_out);
    HD_TRY(hd_out(c, 0, x->type, x->rank, dim));
    HD_TRY(hd_out(c, 1, HD_TYPE_I64, x->rank, dim));
    size_t before, along, after, size = hd_type_size(x->type);
    hd_split_at(x, axis, &before, &along, &after);
    const hd_nd *v = hd_call_as(c, x, hd_type_is_float(x->type) ? HD_TYPE_F64 : HD_TYPE_I64);
    item *list = v ? hd_call_memory(c, along, sizeof *list) : NULL;
    if (!list) return HD_NOMEM;
    for (size_t r = 0; r < before * after && k; r++) {
        size_t base = r / after * along * after + r % after;
        for (size_t j = 0; j < along; j++) list[j] = read_item(v, base + j * after, (int64_t)j);
        qsort(list, along, sizeof *list, largest ? downwards : upwards);
        for (size_t j = 0; j < (size_t)k; j++) {
            size_t to = (r / after * (size_t)k + j) * after + r % after;
            memcpy((char *)c->out[0].data + to * size, (const char *)x->data + (base + (size_t)list[j].at * after) * size, size);
            ((int64_t *)c->out[1].data)[to] = list[j].at;
        }
    }
    return hd_work(c, (double)x->count);
}

/* Slices of an axis (or elements): those that differ, where each first came, which each is, and how often it came. */
hd_status hd_op_unique(hd_call *c) {
    const hd_nd *x = c->in[0];
    int flat = !hd_attribute(c, "axis"), axis = 0;
    if (!flat) HD_TRY(hd_axis(c, hd_attr_i(c, "axis", 0), x->rank, &axis));
    if (x->type == HD_TYPE_U64) return hd_call_fail(c, HD_UNSUPPORTED, "elements of type uint64");
    size_t before = 1, along = x->count, after = 1, size = hd_type_size(x->type);
    if (!flat) hd_split_at(x, axis, &before, &along, &after);
    const hd_nd *v = hd_call_as(c, x, hd_type_is_float(x->type) ? HD_TYPE_F64 : HD_TYPE_I64);
    size_t *order = v ? hd_call_memory(c, along, 5 * sizeof *order) : NULL;
    if (!order) return HD_NOMEM;
    size_t *first = order + along, *which = first + along, *times = which + along, *place = times + along, n = 0;
    /* Insertion into the list of those found, which stays sorted (or in order of appearance). */
    int64_t sorted = hd_attr_i(c, "sorted", 1);
    for (size_t k = 0; k < along; k++) {
        size_t at = 0;
        int order_found = 1;
        double steps = 1;
        for (at = 0; at < n; at++) {
            order_found = 0;
            for (size_t j = 0; j < before * after && !order_found; j++) {
                size_t base = j / after * along * after + j % after;
                item p = read_item(v, base + k * after, 0), q = read_item(v, base + first[order[at]] * after, 0);
                order_found = compare(&p, &q);
                steps++;
            }
            if (order_found == 0 || (sorted && order_found < 0)) break;
        }
        if (at < n && order_found == 0) {
            which[k] = order[at];
            times[order[at]]++;
        } else {
            steps += (double)(n - at);
            memmove(order + at + 1, order + at, (n - at) * sizeof *order);
            order[at] = n;
            first[n] = k;
            times[n] = 1;
            which[k] = n++;
        }
        HD_TRY(hd_work(c, steps)); /* each time: it grows with the square of `along` */
    }
    int64_t dim[HD_ND_MAX_RANK], count = (int64_t)n, all = (int64_t)along;
    memcpy(dim, x->dim, sizeof dim);
    dim[axis] = count;
    HD_TRY(hd_out(c, 0, x->type, flat ? 1 : x->rank, dim));
    for (int k = 1; k < c->n_out; k++) HD_TRY(hd_out(c, k, HD_TYPE_I64, 1, k == 2 ? &all : &count));
    for (size_t k = 0; k < n; k++) {
        for (size_t b = 0; b < before && after > 0; b++) memcpy((char *)c->out[0].data + (b * n + k) * after * size, (const char *)x->data + (b * along + first[order[k]]) * after * size, after * size);
        if (c->n_out > 1) ((int64_t *)c->out[1].data)[k] = (int64_t)first[order[k]];
        if (c->n_out > 3) ((int64_t *)c->out[3].data)[k] = (int64_t)times[order[k]];
        place[order[k]] = k;
    }
    for (size_t j = 0; c->n_out > 2 && j < along; j++) ((int64_t *)c->out[2].data)[j] = (int64_t)place[which[j]];
    return HD_OK;
}
