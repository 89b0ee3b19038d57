/* TensorProto to values. */
#include <stdlib.h>
#include <string.h>

#include "proto.h"

/* Where the elements of t are: how many its typed field holds; raw_data counts bytes instead. */
static size_t stored(const Onnx__TensorProto *t) {
    switch (t->data_type) {
    case HD_TYPE_F32: return t->n_float_data;
    case HD_TYPE_F64: return t->n_double_data;
    case HD_TYPE_I64: return t->n_int64_data;
    case HD_TYPE_U32: case HD_TYPE_U64: return t->n_uint64_data;
    case HD_TYPE_STRING: return t->n_string_data;
    default: return t->n_int32_data;
    }
}

static void read_typed(hd_nd *v, const Onnx__TensorProto *t) {
    for (size_t k = 0; k < v->count; k++) switch (v->type) {
        case HD_TYPE_F32: ((float *)v->data)[k] = t->float_data[k]; break;
        case HD_TYPE_F64: ((double *)v->data)[k] = t->double_data[k]; break;
        case HD_TYPE_I64: ((int64_t *)v->data)[k] = t->int64_data[k]; break;
        case HD_TYPE_U64: ((uint64_t *)v->data)[k] = t->uint64_data[k]; break;
        case HD_TYPE_U32: ((uint32_t *)v->data)[k] = (uint32_t)t->uint64_data[k]; break;
        case HD_TYPE_I32: ((int32_t *)v->data)[k] = t->int32_data[k]; break;
        case HD_TYPE_BOOL: ((uint8_t *)v->data)[k] = t->int32_data[k] != 0; break;
        case HD_TYPE_U8: case HD_TYPE_I8: ((uint8_t *)v->data)[k] = (uint8_t)t->int32_data[k]; break;
        default: ((uint16_t *)v->data)[k] = (uint16_t)t->int32_data[k]; break;
        }
}

static hd_status read_strings(hd_nd *v, const Onnx__TensorProto *t, hd_err *err) {
    char **d = v->data;
    for (size_t k = 0; k < v->count; k++) {
        const ProtobufCBinaryData *s = &t->string_data[k];
        d[k] = malloc(s->len + 1);
        if (!d[k]) return hd_fail(err, HD_NOMEM, "no memory for a string");
        if (s->len) memcpy(d[k], s->data, s->len);
        d[k][s->len] = 0;
    }
    return HD_OK;
}

hd_status hd_nd_read(hd_nd *out, const Onnx__TensorProto *t, const char *label, hd_err *err) {
    const char *name = t->name && t->name[0] ? t->name : "(unnamed)";
    *out = (hd_nd){0};
    if (t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL || t->n_external_data)
        return hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%s': its data are in another file; only models in one file are read", label, name);
    if (t->segment) return hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%s': is stored in segments; only whole tensors are read", label, name);
    size_t bytes = hd_type_size((hd_type)t->data_type);
    if (!bytes)
        return hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%s': element type %s (%d); allowed are float, double, float16, bfloat16, integers, bool and string",
                       label, name, hd_type_name(t->data_type), (int)t->data_type);
    if (t->n_dims > HD_ND_MAX_RANK)
        return hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%s': %zu dimensions; at most %d are allowed", label, name, t->n_dims, HD_ND_MAX_RANK);
    if (t->data_type == HD_TYPE_STRING && t->has_raw_data) return hd_fail(err, HD_FORMAT, "%s: tensor '%s': strings as raw data; they belong into string_data", label, name);
    size_t held = t->has_raw_data ? t->raw_data.len / bytes : stored(t), count = 1;
    int empty = 0;
    for (size_t k = 0; k < t->n_dims; k++) {
        if (t->dims[k] < 0) return hd_fail(err, HD_FORMAT, "%s: tensor '%s': dimension %zu is %lld; must not be negative", label, name, k, (long long)t->dims[k]);
        empty |= t->dims[k] == 0;
    }
    for (size_t k = 0; k < t->n_dims && !empty; k++) {
        /* Never more than the file holds, so nothing overflows and nothing large is allocated for nothing. */
        if (count == 0 || (uint64_t)t->dims[k] > held / count)
            return hd_fail(err, HD_FORMAT, "%s: tensor '%s': dimension %zu is %lld, which needs more elements than the %zu stored", label, name, k, (long long)t->dims[k], held);
        count *= (size_t)t->dims[k];
    }
    if (empty) count = 0;
    size_t have = t->has_raw_data ? t->raw_data.len : held, need = t->has_raw_data ? count * bytes : count;
    if (have != need)
        return hd_fail(err, HD_FORMAT, "%s: tensor '%s': %zu %s of %s data; its dimensions need %zu", label, name, have,
                       t->has_raw_data ? "bytes" : "elements", hd_type_name(t->data_type), need);
    int64_t dim[HD_ND_MAX_RANK];
    for (size_t k = 0; k < t->n_dims; k++) dim[k] = t->dims[k];
    hd_status status = hd_nd_new(out, (hd_type)t->data_type, (int)t->n_dims, dim, SIZE_MAX, err);
    if (status != HD_OK) return hd_fail_in(err, label);
    if (out->type == HD_TYPE_STRING) status = read_strings(out, t, err);
    else if (!t->has_raw_data) read_typed(out, t);
    else if (need) memcpy(out->data, t->raw_data.data, need); /* little-endian, like every machine this runs on */
    if (status != HD_OK) hd_nd_free(out);
    return status;
}

hd_status hd_nd_parse(hd_nd *out, const uint8_t *data, size_t size, const char *label, hd_err *err) {
    *out = (hd_nd){0};
    Onnx__TensorProto *t = onnx__tensor_proto__unpack(NULL, size, data);
    if (!t) return hd_fail(err, HD_FORMAT, "%s: is no ONNX tensor", label);
    hd_status status = hd_nd_read(out, t, label, err);
    onnx__tensor_proto__free_unpacked(t, NULL);
    return status;
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw tensor data are copied as they are");
