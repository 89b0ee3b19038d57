/* Operators that move no element (views of a tensor) and the integer arithmetic on shapes that exporters wrap around them. */
#include <stdlib.h>
#include <string.h>

#include "onnx_internal.h"

/* Output 0 of n becomes the constant *c, which it takes over (also on failure). */
static hd_status give(hd_onnx *o, int n, hd_onnx_const *c, hd_err *err) {
    if (o->node[n].p->n_output == 0 || o->node[n].out[0] < 0) {
        hd_onnx_const_free(c);
        return hd_onnx_fail(o, n, err, HD_FORMAT, "output 0 has no name");
    }
    hd_onnx_value *y = &o->value[o->node[n].out[0]];
    y->constant = *c;
    y->kind = HD_ONNX_CONST;
    return HD_OK;
}

/* x under new dims: a constant is copied, a tensor becomes a view. The element counts must agree. */
static hd_status view(hd_onnx *o, int n, const hd_onnx_value *x, int rank, const int64_t *dim, hd_err *err) {
    if (x->kind == HD_ONNX_CONST) {
        hd_onnx_const c;
        hd_status status = hd_onnx_const_copy(&c, o, n, &x->constant, err);
        if (status != HD_OK) return status;
        c.rank = rank;
        memcpy(c.dim, dim, sizeof *dim * (size_t)rank);
        return give(o, n, &c, err);
    }
    if (rank < 2 || rank > 4 || dim[0] != 1)
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "gives %d dimensions, the first of size %lld; 2 to 4 with a batch of 1 first are supported", rank, (long long)(rank ? dim[0] : 0));
    hd_status status = hd_onnx_alias(o, n, x, rank, dim, err);
    if (status != HD_OK) return status;
    hd_onnx_value *y = &o->value[o->node[n].out[0]];
    hd_shape want = hd_onnx_shape(y), *is = &o->g->tensor[x->tensor].shape;
    /* An image that arrives flat: the network's input may as well have the image's shape. */
    if (want.h * want.w > 1 && x->tensor == o->g->input && hd_shape_size(*is) == (size_t)is->c && x->uses == 1 && !x->shared) *is = want;
    int same = is->c == want.c && is->h == want.h && is->w == want.w;
    if (same || (want.h == 1 && want.w == 1)) return HD_OK;
    return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "reshapes %d x %d x %d to %d x %d x %d; only reshaping to a flat tensor is supported", is->c, is->h, is->w, want.c, want.h, want.w);
}

static void dims_of(const hd_onnx_value *x, int *rank, int64_t dim[HD_ONNX_MAX_RANK]) {
    *rank = x->kind == HD_ONNX_CONST ? x->constant.rank : x->rank;
    memcpy(dim, x->kind == HD_ONNX_CONST ? x->constant.dim : x->dim, sizeof *dim * (size_t)*rank);
}

hd_status hd_onnx_identity(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    const hd_onnx_const *training;
    int rank;
    int64_t dim[HD_ONNX_MAX_RANK];
    hd_status status = hd_onnx_any(&x, o, n, 0, err);
    if (status == HD_OK) status = hd_onnx_constant(&training, o, n, 2, 1, err);
    if (status != HD_OK) return status;
    if (training && training->i && training->count && training->i[0]) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "training_mode is set; only inference is supported");
    if (x->kind == HD_ONNX_TENSOR) return hd_onnx_alias(o, n, x, 0, NULL, err);
    dims_of(x, &rank, dim);
    return view(o, n, x, rank, dim, err);
}

hd_status hd_onnx_cast(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    int64_t to;
    hd_status status = hd_onnx_any(&x, o, n, 0, err);
    if (status == HD_OK) status = hd_onnx_int(&to, o, n, "to", 0, err);
    if (status != HD_OK) return status;
    int is_float = x->kind == HD_ONNX_TENSOR || x->constant.is_float;
    int want_float = to == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, want_int = to == ONNX__TENSOR_PROTO__DATA_TYPE__INT64 || to == ONNX__TENSOR_PROTO__DATA_TYPE__INT32;
    if (!(is_float ? want_float : want_int))
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "casts %s to %s (%lld); only casts that change nothing are supported", is_float ? "float" : "integers",
                            hd_type_name(to < 0 || to > 99 ? -1 : (int)to), (long long)to);
    return hd_onnx_identity(o, n, err);
}

hd_status hd_onnx_flatten(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    int64_t axis;
    hd_status status = hd_onnx_input(&x, o, n, 0, err);
    if (status == HD_OK) status = hd_onnx_int(&axis, o, n, "axis", 1, err);
    if (status != HD_OK) return status;
    if (axis < 0) axis += x->rank;
    int64_t before = 1, after = 1;
    if (axis < 0 || axis > x->rank) return hd_onnx_fail(o, n, err, HD_RANGE, "axis out of range; the input has %d dimensions", x->rank);
    for (int k = 0; k < x->rank; k++) {
        if (k < axis) before *= x->dim[k];
        else after *= x->dim[k];
    }
    if (before != 1) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "gives %lld x %lld; only flattening to one row is supported", (long long)before, (long long)after);
    hd_node *node;
    return hd_onnx_emit(&node, o, n, HD_OP_FLATTEN, x, (hd_shape){(int)after, 1, 1}, 2, err);
}

hd_status hd_onnx_reshape(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    const hd_onnx_const *shape;
    int64_t allow_zero, old[HD_ONNX_MAX_RANK], dim[HD_ONNX_MAX_RANK];
    int old_rank;
    hd_status status = hd_onnx_any(&x, o, n, 0, err);
    if (status == HD_OK) status = hd_onnx_constant(&shape, o, n, 1, 0, err);
    if (status == HD_OK) status = hd_onnx_int(&allow_zero, o, n, "allowzero", 0, err);
    if (status != HD_OK) return status;
    if (!shape->i || shape->rank != 1 || shape->count > HD_ONNX_MAX_RANK)
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "the new shape must be a list of at most %d integers", HD_ONNX_MAX_RANK);
    dims_of(x, &old_rank, old);
    uint64_t elements = 1, known = 1;
    for (int k = 0; k < old_rank; k++) elements *= (uint64_t)old[k];
    int rank = (int)shape->count, open = -1;
    for (int k = 0; k < rank; k++) {
        int64_t d = shape->i[k];
        if (d == 0 && !allow_zero && k < old_rank) d = old[k];
        if (d == -1 && open < 0) open = k;
        else if (d < 1 || known > elements / (uint64_t)d) return hd_onnx_fail(o, n, err, HD_MISMATCH, "new size %d is %lld; the tensor has %llu elements", k, (long long)d, (unsigned long long)elements);
        else known *= (uint64_t)d;
        dim[k] = d;
    }
    if (open >= 0) dim[open] = (int64_t)(elements / known);
    if (open >= 0 ? elements % known != 0 || elements == 0 : known != elements)
        return hd_onnx_fail(o, n, err, HD_MISMATCH, "the new sizes make %llu elements; the tensor has %llu", (unsigned long long)known, (unsigned long long)elements);
    return view(o, n, x, rank, dim, err);
}

/* Axes from the attribute (up to opset 12) or input 1, normalised to 0..rank-1, as a bit set. */
static hd_status read_axes(unsigned *set, int *given, hd_onnx *o, int n, int rank, hd_err *err) {
    const int64_t *axes;
    size_t count;
    const hd_onnx_const *c = NULL;
    hd_status status = hd_onnx_ints(&axes, &count, o, n, "axes", err);
    if (status == HD_OK && !axes) status = hd_onnx_constant(&c, o, n, 1, 1, err);
    if (status != HD_OK) return status;
    if (c && !c->i) return hd_onnx_fail(o, n, err, HD_FORMAT, "axes must be integers");
    if (c) axes = c->i, count = c->count;
    *given = axes != NULL;
    *set = 0;
    if (count > HD_ONNX_MAX_RANK) return hd_onnx_fail(o, n, err, HD_RANGE, "%zu axes; at most %d are allowed", count, HD_ONNX_MAX_RANK);
    /* Unsqueeze counts its axes in the result. */
    if (rank < 0) rank = -rank + (int)count;
    for (size_t k = 0; k < count; k++) {
        if (axes[k] < -rank || axes[k] >= rank || rank > HD_ONNX_MAX_RANK) return hd_onnx_fail(o, n, err, HD_RANGE, "axis %lld; allowed -%d..%d", (long long)axes[k], rank, rank - 1);
        unsigned bit = 1u << (axes[k] < 0 ? axes[k] + rank : axes[k]);
        if (*set & bit) return hd_onnx_fail(o, n, err, HD_FORMAT, "axis %lld comes twice", (long long)axes[k]);
        *set |= bit;
    }
    return HD_OK;
}

hd_status hd_onnx_squeeze(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    int rank, given, to = 0;
    unsigned set;
    int64_t old[HD_ONNX_MAX_RANK], dim[HD_ONNX_MAX_RANK];
    hd_status status = hd_onnx_any(&x, o, n, 0, err);
    if (status != HD_OK) return status;
    dims_of(x, &rank, old);
    status = read_axes(&set, &given, o, n, rank, err);
    if (status != HD_OK) return status;
    for (int k = 0; k < rank; k++) {
        int drop = given ? (int)(set >> k & 1) : old[k] == 1;
        if (drop && old[k] != 1) return hd_onnx_fail(o, n, err, HD_MISMATCH, "axis %d has size %lld; only size 1 can be squeezed", k, (long long)old[k]);
        if (!drop) dim[to++] = old[k];
    }
    return view(o, n, x, to, dim, err);
}

hd_status hd_onnx_unsqueeze(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    int rank, given, from = 0, to = 0;
    unsigned set;
    int64_t old[HD_ONNX_MAX_RANK], dim[HD_ONNX_MAX_RANK];
    hd_status status = hd_onnx_any(&x, o, n, 0, err);
    if (status != HD_OK) return status;
    dims_of(x, &rank, old);
    if (rank == 0 && x->kind == HD_ONNX_CONST) {
        /* A scalar index on its way into a list of sizes. */
        dim[0] = 1;
        return view(o, n, x, 1, dim, err);
    }
    status = read_axes(&set, &given, o, n, -rank, err);
    if (status != HD_OK) return status;
    if (!given) return hd_onnx_fail(o, n, err, HD_FORMAT, "has no axes");
    for (; to < HD_ONNX_MAX_RANK && (from < rank || set >> to); to++) dim[to] = set >> to & 1 ? 1 : old[from++];
    return view(o, n, x, to, dim, err);
}

hd_status hd_onnx_transpose(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    const int64_t *perm;
    size_t count;
    hd_status status = hd_onnx_any(&x, o, n, 0, err);
    if (status == HD_OK) status = hd_onnx_ints(&perm, &count, o, n, "perm", err);
    if (status != HD_OK) return status;
    if (x->kind == HD_ONNX_TENSOR) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "transposes a computed tensor; only constants can be transposed");
    const hd_onnx_const *c = &x->constant;
    int64_t order[HD_ONNX_MAX_RANK];
    unsigned seen = 0;
    if (perm && count != (size_t)c->rank) return hd_onnx_fail(o, n, err, HD_MISMATCH, "'perm' has %zu entries; the input has %d dimensions", count, c->rank);
    for (int k = 0; k < c->rank; k++) {
        order[k] = perm ? perm[k] : c->rank - 1 - k;
        if (order[k] < 0 || order[k] >= c->rank || seen >> order[k] & 1) return hd_onnx_fail(o, n, err, HD_FORMAT, "'perm' is no permutation");
        seen |= 1u << order[k];
    }
    hd_onnx_const t;
    status = hd_onnx_const_copy(&t, o, n, c, err);
    if (status != HD_OK) return status;
    size_t step[HD_ONNX_MAX_RANK], at[HD_ONNX_MAX_RANK] = {0}, old_step[HD_ONNX_MAX_RANK], s = 1;
    for (int k = c->rank; k-- > 0; s *= (size_t)c->dim[k]) old_step[k] = s;
    for (int k = 0; k < c->rank; k++) {
        t.dim[k] = c->dim[order[k]];
        step[k] = old_step[order[k]];
    }
    for (size_t i = 0, from = 0; i < t.count; i++) {
        if (t.is_float) t.f[i] = c->f[from];
        else t.i[i] = c->i[from];
        for (int k = c->rank; k-- > 0;) {
            from += step[k];
            if (++at[k] < (size_t)t.dim[k]) break;
            from -= step[k] * at[k];
            at[k] = 0;
        }
    }
    return give(o, n, &t, err);
}

static hd_status integers(hd_onnx_const *c, const hd_onnx *o, size_t count, int rank, hd_err *err) {
    *c = (hd_onnx_const){.rank = rank, .count = count, .dim = {(int64_t)count}};
    c->i = calloc(count + 1, sizeof *c->i);
    return c->i ? HD_OK : hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
}

/* Shapes are known here, so what exporters compute from them is constant. */
hd_status hd_onnx_shape_of(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    int rank;
    int64_t dim[HD_ONNX_MAX_RANK];
    hd_onnx_const c;
    hd_status status = hd_onnx_any(&x, o, n, 0, err);
    if (status != HD_OK) return status;
    if (hd_onnx_attribute(o, n, "start") || hd_onnx_attribute(o, n, "end")) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "attributes 'start' and 'end' are not supported");
    dims_of(x, &rank, dim);
    status = integers(&c, o, (size_t)rank, 1, err);
    if (status != HD_OK) return status;
    memcpy(c.i, dim, sizeof *dim * (size_t)rank);
    return give(o, n, &c, err);
}

hd_status hd_onnx_gather(hd_onnx *o, int n, hd_err *err) {
    const hd_onnx_const *from, *index;
    int64_t axis;
    hd_onnx_const c;
    hd_status status = hd_onnx_constant(&from, o, n, 0, 0, err);
    if (status == HD_OK) status = hd_onnx_constant(&index, o, n, 1, 0, err);
    if (status == HD_OK) status = hd_onnx_int(&axis, o, n, "axis", 0, err);
    if (status != HD_OK) return status;
    if (!from->i || !index->i || from->rank != 1 || index->rank > 1 || axis != 0) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "only picking from a list of sizes is supported");
    /* Of few bytes of file: one list of indices may serve many nodes. */
    status = hd_onnx_charge(o, n, index->count * sizeof *index->i, err);
    if (status != HD_OK) return status;
    status = integers(&c, o, index->count, index->rank, err);
    for (size_t k = 0; status == HD_OK && k < index->count; k++) {
        int64_t at = index->i[k] < 0 ? index->i[k] + (int64_t)from->count : index->i[k];
        if (at < 0 || (uint64_t)at >= from->count) status = hd_onnx_fail(o, n, err, HD_RANGE, "index %lld of a list of %zu", (long long)index->i[k], from->count);
        else c.i[k] = from->i[at];
    }
    if (status == HD_OK) return give(o, n, &c, err);
    hd_onnx_const_free(&c);
    return status;
}

hd_status hd_onnx_concat(hd_onnx *o, int n, hd_err *err) {
    int inputs = (int)o->node[n].p->n_input;
    size_t count = 0;
    hd_onnx_const c = {0};
    const hd_onnx_const *part;
    for (int k = 0; k < inputs; k++) {
        hd_status status = hd_onnx_constant(&part, o, n, k, 0, err);
        if (status != HD_OK) return status;
        if (!part->i || part->rank != 1 || part->count > HD_ONNX_MAX_RANK || (count += part->count) > HD_ONNX_MAX_RANK)
            return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "only joining lists of at most %d sizes is supported", HD_ONNX_MAX_RANK);
    }
    hd_status status = integers(&c, o, count, 1, err);
    count = 0;
    for (int k = 0; status == HD_OK && k < inputs; k++) {
        status = hd_onnx_constant(&part, o, n, k, 0, err);
        if (status != HD_OK) break;
        memcpy(c.i + count, part->i, part->count * sizeof *c.i);
        count += part->count;
    }
    if (status == HD_OK) return give(o, n, &c, err);
    hd_onnx_const_free(&c);
    return status;
}

hd_status hd_onnx_constant_node(hd_onnx *o, int n, hd_err *err) {
    const Onnx__NodeProto *p = o->node[n].p;
    hd_onnx_const c = {0};
    if (p->n_attribute != 1) return hd_onnx_fail(o, n, err, HD_FORMAT, "%zu attributes; exactly 1 is allowed", p->n_attribute);
    const Onnx__AttributeProto *a = p->attribute[0];
    size_t count;
    switch ((int)a->type) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR: {
        if (!a->t) return hd_onnx_fail(o, n, err, HD_FORMAT, "attribute '%s' holds no tensor", a->name ? a->name : "");
        hd_status status = hd_onnx_const_read(&c, a->t, o->label, err);
        return status == HD_OK ? give(o, n, &c, err) : status;
    }
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS: {
        int list = a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS;
        count = list ? a->n_floats : 1;
        c = (hd_onnx_const){.rank = list, .is_float = 1, .count = count, .dim = {(int64_t)count}, .f = malloc((count + 1) * sizeof(float))};
        if (!c.f) return hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
        if (count) memcpy(c.f, list ? a->floats : &a->f, count * sizeof(float));
        return give(o, n, &c, err);
    }
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS: {
        int list = a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
        count = list ? a->n_ints : 1;
        hd_status status = integers(&c, o, count, list, err);
        if (status != HD_OK) return status;
        if (count) memcpy(c.i, list ? a->ints : &a->i, count * sizeof(int64_t));
        return give(o, n, &c, err);
    }
    }
    return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "attribute '%s' is neither a tensor nor numbers", a->name ? a->name : "");
}
