/* Losses of classifiers: the mean negative logarithm of the probability that was given to the right class, in double. */
#include <math.h>

#include "call.h"

/* What both losses are computed from: [batch][classes][each] logarithms of probabilities, a class for each of [batch][each]. */
typedef struct loss {
    const double *log_prob, *weight; /* weight: [classes], or NULL = 1 each */
    const int64_t *target;
    size_t batch, classes, each;
    int has_ignored;
    int64_t ignored;
} loss;

/* Shapes and kinds of the inputs; l->log_prob is input 0. */
static hd_status read_inputs(hd_call *c, loss *l) {
    const hd_nd *x = c->in[0], *target = c->in[1], *weight = c->n_in > 2 ? c->in[2] : NULL;
    char have[HD_ND_SHAPE_TEXT], want[HD_ND_SHAPE_TEXT];
    if (!x || !target) return hd_call_fail(c, HD_MISMATCH, "input %d is left out; it is required", x ? 1 : 0);
    if (!hd_type_is_float(x->type)) return hd_call_fail(c, HD_UNSUPPORTED, "input 0 is %s; a float type is expected", hd_type_name((int)x->type));
    if (target->type != HD_TYPE_I32 && target->type != HD_TYPE_I64)
        return hd_call_fail(c, HD_UNSUPPORTED, "input 1 is %s; int32 and int64 are allowed", hd_type_name((int)target->type));
    if (x->rank < 2) return hd_call_fail(c, HD_MISMATCH, "an input of %d dimensions; at least 2 are expected", x->rank);
    int64_t dim[HD_ND_MAX_RANK] = {x->dim[0]};
    for (int k = 2; k < x->rank; k++) dim[k - 1] = x->dim[k];
    int same = target->rank == x->rank - 1;
    for (int k = 0; same && k < target->rank; k++) same = target->dim[k] == dim[k];
    if (!same)
        return hd_call_fail(c, HD_MISMATCH, "input 1 is of shape %s; %s is expected", hd_nd_shape_text(have, target->rank, target->dim), hd_nd_shape_text(want, x->rank - 1, dim));
    hd_split_at(x, 1, &l->batch, &l->classes, &l->each);
    if (weight && (weight->rank != 1 || weight->count != l->classes))
        return hd_call_fail(c, HD_MISMATCH, "input 2 is of shape %s; %zu weights, one a class, are expected", hd_nd_shape_text(have, weight->rank, weight->dim), l->classes);
    const Onnx__AttributeProto *ignored = hd_attribute(c, "ignore_index");
    l->has_ignored = ignored != NULL;
    l->ignored = hd_attr_i(c, "ignore_index", 0);
    const hd_nd *value = hd_call_as(c, x, HD_TYPE_F64), *class = value ? hd_call_as(c, target, HD_TYPE_I64) : NULL, *each = weight && class ? hd_call_as(c, weight, HD_TYPE_F64) : NULL;
    if (!value || !class || (weight && !each)) return HD_NOMEM;
    l->log_prob = value->data;
    l->target = class->data;
    l->weight = each ? each->data : NULL;
    return HD_OK;
}

/* Output 0: -weight[t] log_prob[t] of each target t, 0 where it is the ignored class; or their sum; or that over the sum of the weights they count with. */
static hd_status write_loss(hd_call *c, const loss *l) {
    int none = hd_attr_is(c, "reduction", "mean", "none"), sum = hd_attr_is(c, "reduction", "mean", "sum");
    if (!none && !sum && !hd_attr_is(c, "reduction", "mean", "mean")) return hd_call_fail(c, HD_RANGE, "attribute reduction is unknown; allowed are none, sum and mean");
    hd_nd y;
    hd_err err = {0};
    hd_status status = hd_nd_new(&y, HD_TYPE_F64, none ? c->in[1]->rank : 0, c->in[1]->dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    double total = 0, weights = 0, *out = y.data;
    for (size_t i = 0; i < l->batch * l->each; i++) {
        int64_t t = l->target[i];
        if (l->has_ignored && t == l->ignored) continue;
        if (t < 0 || t >= (int64_t)l->classes) {
            hd_nd_free(&y);
            return hd_call_fail(c, HD_RANGE, "input 1, element %zu: class %lld of %zu", i, (long long)t, l->classes);
        }
        double weight = l->weight ? l->weight[t] : 1, one = -weight * l->log_prob[(i / l->each * l->classes + (size_t)t) * l->each + i % l->each];
        if (none) out[i] = one;
        total += one;
        weights += weight;
    }
    if (!none) out[0] = sum ? total : total / weights;
    HD_TRY(hd_out_cast(c, 0, &y, c->in[0]->type));
    return hd_work(c, (double)(l->batch * l->each));
}

hd_status hd_op_nll(hd_call *c) {
    loss l;
    HD_TRY(read_inputs(c, &l));
    return write_loss(c, &l);
}

hd_status hd_op_cross_entropy(hd_call *c) {
    loss l;
    hd_nd y;
    hd_err err = {0};
    HD_TRY(read_inputs(c, &l));
    hd_status status = hd_nd_new(&y, HD_TYPE_F64, c->in[0]->rank, c->in[0]->dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    for (size_t i = 0; i < l.batch * l.each; i++) {
        size_t at = i / l.each * l.classes * l.each + i % l.each;
        hd_log_softmax((double *)y.data + at, l.log_prob + at, l.classes, l.each);
    }
    l.log_prob = y.data;
    status = write_loss(c, &l);
    if (status == HD_OK) status = hd_work(c, 2.0 * (double)y.count);
    if (status == HD_OK && hd_wants(c, 1)) return hd_out_cast(c, 1, &y, c->in[0]->type);
    hd_nd_free(&y);
    return status;
}
