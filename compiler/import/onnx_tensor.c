/* Constants: TensorProto to floats or 64-bit integers. */
#include <stdlib.h>
#include <string.h>

#include "onnx_internal.h"

void hd_onnx_const_free(hd_onnx_const *c) {
    free(c->f);
    free(c->i);
    free(c->scale);
    *c = (hd_onnx_const){0};
}

hd_status hd_onnx_const_take(hd_onnx_const *c, const hd_nd *v, const char *label, hd_err *err) {
    *c = (hd_onnx_const){.rank = v->rank, .is_float = hd_type_is_float(v->type), .count = v->count, .type = (int)v->type};
    memcpy(c->dim, v->dim, sizeof c->dim);
    size_t bytes = c->count * (c->is_float ? sizeof(float) : sizeof(int64_t));
    hd_nd wide;
    hd_status status = hd_nd_cast(&wide, v, c->is_float ? HD_TYPE_F32 : HD_TYPE_I64, err);
    void *data = status == HD_OK ? malloc(bytes + 1) : NULL;
    if (status == HD_OK && !data) status = hd_fail(err, HD_NOMEM, "%s: no memory for a constant of %zu bytes", label, bytes);
    if (data && bytes) memcpy(data, wide.data, bytes);
    hd_nd_free(&wide);
    if (c->is_float) c->f = data;
    else c->i = data;
    return status;
}

hd_status hd_onnx_const_read(hd_onnx_const *c, const Onnx__TensorProto *t, const char *label, hd_err *err) {
    *c = (hd_onnx_const){0};
    hd_nd v;
    hd_status status = hd_nd_read(&v, t, label, err);
    if (status != HD_OK) return status;
    if (v.type == HD_TYPE_STRING) status = hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%s': holds strings; numbers are expected", label, t->name ? t->name : "");
    if (status == HD_OK) status = hd_onnx_const_take(c, &v, label, err);
    hd_nd_free(&v);
    return status;
}
