/* What operators ask of a call: attributes, inputs, outputs, memory. */
#include "call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

struct hd_scratch {
    struct hd_scratch *next;
    hd_nd value;
    _Alignas(16) unsigned char bytes[];
};

static const char *node_name(const Onnx__NodeProto *p) {
    if (p->name && p->name[0]) return p->name;
    return p->n_output ? p->output[0] : "";
}

hd_status hd_call_fail(hd_call *c, hd_status code, const char *format, ...) {
    char detail[400];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    return hd_fail(c->err, code, "%s: node '%s' (%s): %s", c->host->label, node_name(c->node), c->node->op_type, detail);
}

static struct hd_scratch *scratch(hd_call *c, size_t bytes) {
    struct hd_scratch *s = calloc(1, sizeof *s + bytes);
    if (!s) {
        hd_call_fail(c, HD_NOMEM, "no memory for %zu bytes", bytes);
        return NULL;
    }
    s->next = c->scratch;
    c->scratch = s;
    return s;
}

void *hd_call_memory(hd_call *c, size_t count, size_t size) {
    if (count > hd_limit(c) / (size ? size : 1)) {
        hd_call_fail(c, HD_RANGE, "needs more than %zu bytes of memory, the most that is allowed", hd_limit(c));
        return NULL;
    }
    struct hd_scratch *s = scratch(c, count * size + 1);
    return s ? s->bytes : NULL;
}

void hd_call_end(hd_call *c) {
    for (struct hd_scratch *s = c->scratch, *next; s; s = next) {
        next = s->next;
        hd_nd_free(&s->value);
        free(s);
    }
    c->scratch = NULL;
}

const hd_nd *hd_call_as(hd_call *c, const hd_nd *v, hd_type type) {
    if (v->type == type) return v;
    /* An operator that only converts must not be free in a loop. */
    if (hd_beside(c, (double)v->count) != HD_OK) return NULL;
    struct hd_scratch *s = scratch(c, 0);
    if (!s) return NULL;
    if (hd_nd_cast(&s->value, v, type, c->err) == HD_OK) return &s->value;
    hd_fail_in(c->err, c->host->label);
    return NULL;
}

const Onnx__AttributeProto *hd_attribute(const hd_call *c, const char *name) {
    for (size_t k = 0; k < c->node->n_attribute; k++)
        if (c->node->attribute[k]->name && strcmp(c->node->attribute[k]->name, name) == 0) return c->node->attribute[k];
    return NULL;
}

int64_t hd_attr_i(const hd_call *c, const char *name, int64_t fallback) {
    const Onnx__AttributeProto *a = hd_attribute(c, name);
    return a ? a->i : fallback;
}

float hd_attr_f(const hd_call *c, const char *name, float fallback) {
    const Onnx__AttributeProto *a = hd_attribute(c, name);
    return a ? a->f : fallback;
}

int hd_attr_is(const hd_call *c, const char *name, const char *fallback, const char *value) {
    const Onnx__AttributeProto *a = hd_attribute(c, name);
    if (!a) return strcmp(fallback, value) == 0;
    return a->s.len == strlen(value) && memcmp(a->s.data, value, a->s.len) == 0;
}

const int64_t *hd_attr_ints(const hd_call *c, const char *name, size_t *n) {
    static const int64_t none[1];
    const Onnx__AttributeProto *a = hd_attribute(c, name);
    *n = a ? a->n_ints : 0;
    return !a ? NULL : a->n_ints ? a->ints : none;
}

hd_status hd_in_ints(hd_call *c, int k, const int64_t **list, size_t *n) {
    *list = NULL;
    *n = 0;
    if (k >= c->n_in || !c->in[k]) return HD_OK;
    const hd_nd *v = c->in[k];
    /* A list has an element type and a rank, too. */
    if (v->kind != HD_ND_TENSOR) return hd_call_fail(c, HD_MISMATCH, "input %d is no tensor", k);
    if (v->rank > 1 || (v->type != HD_TYPE_I32 && v->type != HD_TYPE_I64))
        return hd_call_fail(c, HD_UNSUPPORTED, "input %d is a %s tensor of %d dimensions; a list of int64 is expected", k, hd_type_name(v->type), v->rank);
    v = hd_call_as(c, v, HD_TYPE_I64);
    if (!v) return c->err ? c->err->code : HD_NOMEM;
    *list = v->data;
    *n = v->count;
    return HD_OK;
}

hd_status hd_list(hd_call *c, const char *name, int k, int64_t since, const int64_t **list, size_t *n) {
    if (c->opset >= since) return hd_in_ints(c, k, list, n);
    *list = hd_attr_ints(c, name, n);
    return HD_OK;
}

hd_status hd_in_number(hd_call *c, int k, double fallback, double *value) {
    *value = fallback;
    if (k >= c->n_in || !c->in[k]) return HD_OK;
    if (c->in[k]->count != 1) return hd_call_fail(c, HD_MISMATCH, "input %d has %zu elements; one is expected", k, c->in[k]->count);
    const hd_nd *v = hd_call_as(c, c->in[k], HD_TYPE_F64);
    if (!v) return HD_NOMEM;
    *value = *(const double *)v->data;
    return HD_OK;
}

hd_status hd_axis(hd_call *c, int64_t axis, int rank, int *out) {
    if (axis < -rank || axis >= rank) return hd_call_fail(c, HD_RANGE, "axis %lld of %d dimensions", (long long)axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return HD_OK;
}

hd_status hd_axis_set(hd_call *c, const int64_t *axes, size_t n, int rank, int all, unsigned *set) {
    *set = n == 0 && all ? (1u << rank) - 1u : 0;
    for (size_t k = 0; k < n; k++) {
        int axis;
        HD_TRY(hd_axis(c, axes[k], rank, &axis));
        if (*set >> axis & 1u) return hd_call_fail(c, HD_FORMAT, "axis %d is named twice", axis);
        *set |= 1u << axis;
    }
    return HD_OK;
}

hd_status hd_axis_list(hd_call *c, const int64_t *axes, size_t n, int rank, int *axis) {
    unsigned set;
    if (axes) HD_TRY(hd_axis_set(c, axes, n, rank, 0, &set));
    for (size_t k = 0; k < n; k++) HD_TRY(hd_axis(c, axes ? axes[k] : (int64_t)k, rank, &axis[k]));
    return HD_OK;
}

size_t hd_limit(const hd_call *c) { return c->host->limits.tensor_bytes; }
const char *hd_label(const hd_call *c) { return c->host->label; }

hd_status hd_work(hd_call *c, double operations) {
    c->operations += operations;
    if (c->host->operations + c->operations <= c->host->limits.operations) return HD_OK;
    return hd_call_fail(c, HD_RANGE, "the run takes more than %.3g operations, the most that is allowed", c->host->limits.operations);
}

hd_status hd_beside(hd_call *c, double operations) {
    c->host->beside += operations;
    if (c->host->beside <= c->host->limits.operations) return HD_OK;
    return hd_call_fail(c, HD_RANGE, "the run takes as long as more than %.3g operations, the most that is allowed", c->host->limits.operations);
}

hd_status hd_out(hd_call *c, int k, hd_type type, int rank, const int64_t *dim) {
    hd_err err = {0};
    hd_nd made;
    if (k >= c->n_out) return hd_call_fail(c, HD_FORMAT, "output %d has no name", k);
    hd_status status = hd_nd_new(&made, type, rank, dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    hd_nd_free(&c->out[k]);
    c->out[k] = made;
    return hd_work(c, (double)made.count);
}

hd_status hd_out_view(hd_call *c, int k, const hd_nd *v, int rank, const int64_t *dim) {
    if (k >= c->n_out) return hd_call_fail(c, HD_FORMAT, "output %d has no name", k);
    size_t count;
    if (v->kind == HD_ND_TENSOR && !hd_nd_count(&count, rank, dim, hd_limit(c) / hd_type_size(v->type))) {
        char text[HD_ND_SHAPE_TEXT];
        return hd_call_fail(c, HD_RANGE, "shape %s is larger than a tensor may be", hd_nd_shape_text(text, rank, dim));
    }
    hd_nd made = hd_nd_share(v);
    if (made.kind == HD_ND_TENSOR) {
        int64_t old[HD_ND_MAX_RANK] = {0};
        memcpy(old, dim, sizeof *dim * (size_t)rank);
        memcpy(made.dim, old, sizeof old);
        made.rank = rank;
    }
    hd_nd_free(&c->out[k]);
    c->out[k] = made;
    return HD_OK;
}

hd_status hd_out_cast(hd_call *c, int k, hd_nd *v, hd_type type) {
    if (k >= c->n_out) {
        hd_nd_free(v);
        return hd_call_fail(c, HD_FORMAT, "output %d has no name", k);
    }
    hd_nd made;
    hd_status status = hd_nd_cast(&made, v, type, c->err);
    hd_nd_free(v);
    if (status != HD_OK) return hd_fail_in(c->err, c->host->label);
    hd_nd_free(&c->out[k]);
    c->out[k] = made;
    return HD_OK;
}

hd_type hd_wide(hd_type type) {
    if (type == HD_TYPE_F64) return type;
    if (hd_type_is_float(type)) return HD_TYPE_F32;
    return hd_type_is_unsigned(type) || type == HD_TYPE_BOOL ? HD_TYPE_U64 : HD_TYPE_I64;
}
