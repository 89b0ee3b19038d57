/* Quantisation: real = scale (code - zero). */
#include <math.h>
#include <string.h>

#include "call.h"

static hd_status limits_of(hd_call *c, hd_type type, double *low, double *high) {
    *low = type == HD_TYPE_I8 ? -128 : type == HD_TYPE_I16 ? -32768 : 0;
    *high = type == HD_TYPE_U16 ? 65535 : type == HD_TYPE_I16 ? 32767 : *low + 255;
    if (type == HD_TYPE_U8 || type == HD_TYPE_I8 || type == HD_TYPE_U16 || type == HD_TYPE_I16) return HD_OK;
    return hd_call_fail(c, HD_UNSUPPORTED, "codes of type %s; uint8, int8, uint16 and int16 are allowed", hd_type_name((int)type));
}

/* Scale and zero point: one, or one for each position of the axis. *step: elements that share one. */
static hd_status parameters(hd_call *c, const double **scale, const double **zero, size_t *n, size_t *step) {
    const hd_nd *x = c->in[0], *s = hd_call_as(c, c->in[1], HD_TYPE_F64), *z = c->n_in > 2 && c->in[2] ? hd_call_as(c, c->in[2], HD_TYPE_F64) : NULL;
    if (!s) return HD_NOMEM;
    *scale = s->data;
    *zero = z ? z->data : NULL;
    *n = s->count;
    *step = 1;
    if (z && z->count != s->count) return hd_call_fail(c, HD_MISMATCH, "%zu scales and %zu zero points", s->count, z->count);
    if (s->count == 1) return HD_OK;
    int axis;
    size_t before, along;
    HD_TRY(hd_axis(c, hd_attr_i(c, "axis", 1), x->rank, &axis));
    hd_split_at(x, axis, &before, &along, step);
    return s->rank == 1 && s->count == along ? HD_OK : hd_call_fail(c, HD_MISMATCH, "%zu scales for an axis of %zu", s->count, along);
}

hd_status hd_op_quantizelinear(hd_call *c) {
    const double *scale, *zero;
    size_t n, step;
    double low, high;
    hd_type type = c->n_in > 2 && c->in[2] ? c->in[2]->type : HD_TYPE_U8;
    HD_TRY(limits_of(c, type, &low, &high));
    HD_TRY(parameters(c, &scale, &zero, &n, &step));
    const hd_nd *x = hd_call_as(c, c->in[0], HD_TYPE_F32);
    hd_nd y;
    hd_err err = {0};
    if (!x) return HD_NOMEM;
    hd_status status = hd_nd_new(&y, HD_TYPE_I32, x->rank, x->dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    for (size_t i = 0; i < x->count; i++) {
        size_t p = n == 1 ? 0 : i / step % n;
        double v = (double)rintf(((const float *)x->data)[i] / (float)scale[p]) + (zero ? zero[p] : 0);
        ((int32_t *)y.data)[i] = isnan(v) ? 0 : (int32_t)fmax(low, fmin(high, v));
    }
    HD_TRY(hd_out_cast(c, 0, &y, type));
    return hd_work(c, (double)x->count);
}

hd_status hd_op_dequantizelinear(hd_call *c) {
    const double *scale, *zero;
    size_t n, step;
    HD_TRY(parameters(c, &scale, &zero, &n, &step));
    const hd_nd *x = hd_call_as(c, c->in[0], HD_TYPE_F64);
    if (!x) return HD_NOMEM;
    HD_TRY(hd_out_like(c, 0, HD_TYPE_F32, x));
    for (size_t i = 0; i < x->count; i++) {
        size_t p = n == 1 ? 0 : i / step % n;
        ((float *)c->out[0].data)[i] = (float)(((const double *)x->data)[i] - (zero ? zero[p] : 0)) * (float)scale[p];
    }
    return HD_OK;
}

hd_status hd_op_dynamicquantize(hd_call *c) {
    const hd_nd *x = hd_call_as(c, c->in[0], HD_TYPE_F32);
    if (!x) return HD_NOMEM;
    float low = 0, high = 0;
    for (size_t i = 0; i < x->count; i++) {
        low = fminf(low, ((const float *)x->data)[i]);
        high = fmaxf(high, ((const float *)x->data)[i]);
    }
    float scale = (high - low) / 255, zero = scale > 0 ? rintf(fmaxf(0, fminf(255, -low / scale))) : 0;
    HD_TRY(hd_out_like(c, 0, HD_TYPE_U8, x));
    if (c->n_out > 1) HD_TRY(hd_out(c, 1, HD_TYPE_F32, 0, NULL));
    if (c->n_out > 2) HD_TRY(hd_out(c, 2, HD_TYPE_U8, 0, NULL));
    for (size_t i = 0; i < x->count; i++) {
        float v = scale > 0 ? rintf(((const float *)x->data)[i] / scale) + zero : 0;
        ((uint8_t *)c->out[0].data)[i] = isnan(v) ? 0 : (uint8_t)fmaxf(0, fminf(255, v));
    }
    if (c->n_out > 1) *(float *)c->out[1].data = scale;
    if (c->n_out > 2) *(uint8_t *)c->out[2].data = (uint8_t)zero;
    return HD_OK;
}
