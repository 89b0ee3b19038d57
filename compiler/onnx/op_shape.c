/* Operators that only give elements another shape, or tell about shapes; and constants. */
#include <string.h>

#include "call.h"

/* Identity; Dropout without a mask at inference */
hd_status hd_op_identity(hd_call *c) { return hd_out_view(c, 0, c->in[0], c->in[0]->rank, c->in[0]->dim); }

hd_status hd_op_reshape(hd_call *c) {
    const hd_nd *x = c->in[0];
    const int64_t *want;
    size_t rank, known = 1;
    int64_t dim[HD_ND_MAX_RANK], zero_is_zero = hd_attr_i(c, "allowzero", 0);
    int open = -1;
    HD_TRY(hd_list(c, "shape", 1, 5, &want, &rank));
    if (rank > HD_ND_MAX_RANK) return hd_call_fail(c, HD_UNSUPPORTED, "%zu dimensions; at most %d are allowed", rank, HD_ND_MAX_RANK);
    for (size_t k = 0; k < rank; k++) {
        dim[k] = want[k];
        if (want[k] == 0 && !zero_is_zero) {
            if (k >= (size_t)x->rank) return hd_call_fail(c, HD_MISMATCH, "dimension %zu is to be copied from an input of %d dimensions", k, x->rank);
            dim[k] = x->dim[k];
        }
        if (want[k] < -1 || (want[k] == -1 && open >= 0)) return hd_call_fail(c, HD_FORMAT, "dimension %zu is %lld; one -1 and positive sizes are allowed", k, (long long)want[k]);
        if (want[k] == -1) open = (int)k;
        else if (dim[k] && (uint64_t)dim[k] > SIZE_MAX / 2 / (known ? known : 1)) return hd_call_fail(c, HD_RANGE, "dimension %zu is %lld", k, (long long)dim[k]);
        else known *= (size_t)dim[k];
    }
    if (open >= 0) dim[open] = known ? (int64_t)(x->count / known) : 0;
    if (known * (open >= 0 ? (size_t)dim[open] : 1) != x->count) {
        char a[HD_ND_SHAPE_TEXT], b[HD_ND_SHAPE_TEXT];
        return hd_call_fail(c, HD_MISMATCH, "shape %s cannot become %s", hd_nd_shape_text(a, x->rank, x->dim), hd_nd_shape_text(b, (int)rank, want));
    }
    return hd_out_view(c, 0, x, (int)rank, dim);
}

hd_status hd_op_flatten(hd_call *c) {
    const hd_nd *x = c->in[0];
    int64_t axis = hd_attr_i(c, "axis", 1), dim[2] = {1, 1};
    if (axis < 0) axis += x->rank;
    if (axis < 0 || axis > x->rank) return hd_call_fail(c, HD_RANGE, "axis %lld of %d dimensions", (long long)axis, x->rank);
    for (int k = 0; k < x->rank; k++) dim[k >= axis] *= x->dim[k];
    return hd_out_view(c, 0, x, 2, dim);
}

hd_status hd_op_squeeze(hd_call *c) {
    const hd_nd *x = c->in[0];
    const int64_t *axes;
    size_t n;
    unsigned set;
    int64_t dim[HD_ND_MAX_RANK];
    int rank = 0;
    HD_TRY(hd_list(c, "axes", 1, 13, &axes, &n));
    HD_TRY(hd_axis_set(c, axes, n, x->rank, 0, &set));
    for (int k = 0; k < x->rank; k++) {
        int drop = axes ? (int)(set >> k & 1u) : x->dim[k] == 1;
        if (drop && x->dim[k] != 1) return hd_call_fail(c, HD_MISMATCH, "axis %d has size %lld; only size 1 can be squeezed", k, (long long)x->dim[k]);
        if (!drop) dim[rank++] = x->dim[k];
    }
    return hd_out_view(c, 0, x, rank, dim);
}

hd_status hd_op_unsqueeze(hd_call *c) {
    const hd_nd *x = c->in[0];
    const int64_t *axes;
    size_t n;
    unsigned set;
    int64_t dim[HD_ND_MAX_RANK];
    HD_TRY(hd_list(c, "axes", 1, 13, &axes, &n));
    if (!axes) return hd_call_fail(c, HD_FORMAT, "has no axes");
    if (n > (size_t)(HD_ND_MAX_RANK - x->rank)) return hd_call_fail(c, HD_UNSUPPORTED, "gives %zu dimensions; at most %d are allowed", n + (size_t)x->rank, HD_ND_MAX_RANK);
    int rank = x->rank + (int)n;
    HD_TRY(hd_axis_set(c, axes, n, rank, 0, &set));
    for (int k = 0, from = 0; k < rank; k++) dim[k] = set >> k & 1u ? 1 : x->dim[from++];
    return hd_out_view(c, 0, x, rank, dim);
}

hd_status hd_op_shape(hd_call *c) {
    const hd_nd *x = c->in[0];
    int64_t start = hd_attr_i(c, "start", 0), end = hd_attr_i(c, "end", x->rank);
    if (start < 0) start += x->rank;
    if (end < 0) end += x->rank;
    start = start < 0 ? 0 : start > x->rank ? x->rank : start;
    end = end < start ? start : end > x->rank ? x->rank : end;
    int64_t n = end - start;
    HD_TRY(hd_out(c, 0, HD_TYPE_I64, 1, &n));
    if (n) memcpy(c->out[0].data, x->dim + start, (size_t)n * sizeof *x->dim);
    return HD_OK;
}

hd_status hd_op_size(hd_call *c) {
    HD_TRY(hd_out(c, 0, HD_TYPE_I64, 0, NULL));
    *(int64_t *)c->out[0].data = (int64_t)c->in[0]->count;
    return HD_OK;
}

hd_status hd_op_constant(hd_call *c) {
    if (c->node->n_attribute != 1) return hd_call_fail(c, HD_FORMAT, "%zu attributes; exactly 1 is allowed", c->node->n_attribute);
    const Onnx__AttributeProto *a = c->node->attribute[0];
    if (a->t) {
        hd_nd v;
        HD_TRY(hd_nd_read(&v, a->t, hd_label(c), c->err));
        return hd_out_cast(c, 0, &v, v.type);
    }
    int floats = strncmp(a->name, "value_float", 11) == 0, list = a->name[strlen(a->name) - 1] == 's';
    int64_t n = !list ? 1 : (int64_t)(floats ? a->n_floats : a->n_ints);
    HD_TRY(hd_out(c, 0, floats ? HD_TYPE_F32 : HD_TYPE_I64, list, &n));
    if (n && floats) memcpy(c->out[0].data, list ? a->floats : &a->f, (size_t)n * sizeof(float));
    else if (n) memcpy(c->out[0].data, list ? a->ints : &a->i, (size_t)n * sizeof(int64_t));
    return HD_OK;
}

static void fill(hd_nd *v, const void *element) {
    size_t size = hd_type_size(v->type);
    for (size_t k = 0; k < v->count; k++) memcpy((char *)v->data + k * size, element, size);
}

hd_status hd_op_constantofshape(hd_call *c) {
    const Onnx__AttributeProto *a = hd_attribute(c, "value");
    const int64_t *dim;
    size_t rank;
    hd_nd v = {0};
    HD_TRY(hd_in_ints(c, 0, &dim, &rank));
    if (rank > HD_ND_MAX_RANK) return hd_call_fail(c, HD_UNSUPPORTED, "%zu dimensions; at most %d are allowed", rank, HD_ND_MAX_RANK);
    if (a) HD_TRY(hd_nd_read(&v, a->t, hd_label(c), c->err));
    hd_status status = a && (v.count != 1 || v.type == HD_TYPE_STRING) ? hd_call_fail(c, HD_FORMAT, "attribute value is not one number") : hd_out(c, 0, a ? v.type : HD_TYPE_F32, (int)rank, dim);
    if (status == HD_OK && a) fill(&c->out[0], v.data);
    hd_nd_free(&v);
    return status;
}

hd_status hd_op_range(hd_call *c) {
    hd_type type = c->in[0]->type;
    int real = hd_type_is_float(type);
    const hd_nd *v[3];
    for (int k = 0; k < 3; k++) {
        if (c->in[k]->count != 1 || c->in[k]->type != type) return hd_call_fail(c, HD_MISMATCH, "three numbers of one type are expected");
        v[k] = hd_call_as(c, c->in[k], real ? HD_TYPE_F64 : HD_TYPE_I64);
        if (!v[k]) return HD_NOMEM;
    }
    double n;
    if (real) n = (*(double *)v[1]->data - *(double *)v[0]->data) / *(double *)v[2]->data;
    else {
        double start = (double)*(int64_t *)v[0]->data, end = (double)*(int64_t *)v[1]->data;
        n = (end - start) / (double)*(int64_t *)v[2]->data;
    }
    if (!(n < 1e12)) return hd_call_fail(c, HD_RANGE, "the range has no end");
    int64_t count = n > 0 ? (int64_t)n + ((double)(int64_t)n < n) : 0;
    hd_nd y;
    hd_err err = {0};
    hd_status status = hd_nd_new(&y, v[0]->type, 1, &count, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    status = hd_work(c, (double)count);
    for (int64_t k = 0; status == HD_OK && k < count; k++) {
        if (real) ((double *)y.data)[k] = *(double *)v[0]->data + (double)k * *(double *)v[2]->data;
        else ((uint64_t *)y.data)[k] = *(uint64_t *)v[0]->data + (uint64_t)k * *(uint64_t *)v[2]->data;
    }
    if (status == HD_OK) return hd_out_cast(c, 0, &y, type);
    hd_nd_free(&y);
    return status;
}

hd_status hd_op_eyelike(hd_call *c) {
    const hd_nd *x = c->in[0];
    if (x->rank != 2) return hd_call_fail(c, HD_MISMATCH, "%d dimensions; 2 are expected", x->rank);
    int64_t k = hd_attr_i(c, "k", 0);
    hd_nd y;
    hd_err err = {0};
    HD_TRY(hd_work(c, (double)x->count));
    hd_status status = hd_nd_new(&y, HD_TYPE_F32, 2, x->dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    for (int64_t i = 0; i < x->dim[0] && k > INT32_MIN && k < INT32_MAX; i++)
        if (i + k >= 0 && i + k < x->dim[1]) ((float *)y.data)[i * x->dim[1] + i + k] = 1;
    hd_type type = (hd_type)hd_attr_i(c, "dtype", (int64_t)x->type);
    if (hd_type_size(type) && type != HD_TYPE_STRING) return hd_out_cast(c, 0, &y, type);
    hd_nd_free(&y);
    return hd_call_fail(c, HD_UNSUPPORTED, "element type %s is not supported", hd_type_name((int)type));
}
