/* Constants: TensorProto to floats or 64-bit integers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "onnx_internal.h"

const char *hd_onnx_type_name(int type) {
    static const char *const names[] = {"undefined", "float", "uint8", "int8", "uint16", "int16", "int32", "int64", "string",
                                        "bool", "float16", "double", "uint32", "uint64", "complex64", "complex128", "bfloat16"};
    return type >= 0 && type < (int)(sizeof names / sizeof *names) ? names[type] : "an unknown type";
}

void hd_onnx_const_free(hd_onnx_const *c) {
    free(c->f);
    free(c->i);
    *c = (hd_onnx_const){0};
}

static float half(uint16_t h) {
    int exponent = h >> 10 & 31, fraction = h & 1023;
    float v;
    if (exponent == 31) v = fraction ? NAN : INFINITY;
    else if (exponent) v = ldexpf((float)(fraction + 1024), exponent - 25);
    else v = ldexpf((float)fraction, -24);
    return h >> 15 ? -v : v;
}

static float bits_float(uint32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint64_t little(const uint8_t *p, size_t n) {
    uint64_t v = 0;
    for (size_t i = n; i-- > 0;) v = v << 8 | p[i];
    return v;
}

/* Element k from its raw little-endian bytes. */
static void set_raw(hd_onnx_const *c, size_t k, int type, uint64_t bits) {
    switch (type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT: c->f[k] = bits_float((uint32_t)bits); break;
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16: c->f[k] = half((uint16_t)bits); break;
    case ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16: c->f[k] = bits_float((uint32_t)bits << 16); break;
    case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE: {
        double v;
        memcpy(&v, &bits, sizeof v);
        c->f[k] = (float)v;
        break;
    }
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32: c->i[k] = (int32_t)(uint32_t)bits; break;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64: c->i[k] = (int64_t)bits; break;
    default: c->i[k] = (int64_t)bits; break; /* bool */
    }
}

static void read_fields(hd_onnx_const *c, const Onnx__TensorProto *t) {
    for (size_t k = 0; k < c->count; k++) switch (t->data_type) {
        case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT: c->f[k] = t->float_data[k]; break;
        case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE: c->f[k] = (float)t->double_data[k]; break;
        case ONNX__TENSOR_PROTO__DATA_TYPE__INT64: c->i[k] = t->int64_data[k]; break;
        default: set_raw(c, k, t->data_type, (uint32_t)t->int32_data[k]); break;
        }
}

/* Bytes of an element in raw_data and the number of elements in the typed field; 0 for types that are not read. */
static size_t element(const Onnx__TensorProto *t, size_t *typed, int *is_float) {
    *is_float = 1;
    *typed = t->n_int32_data;
    switch (t->data_type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT: *typed = t->n_float_data; return 4;
    case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE: *typed = t->n_double_data; return 8;
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16: return 2;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64: *is_float = 0, *typed = t->n_int64_data; return 8;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32: *is_float = 0; return 4;
    case ONNX__TENSOR_PROTO__DATA_TYPE__BOOL: *is_float = 0; return 1;
    }
    return 0;
}

hd_status hd_onnx_const_read(hd_onnx_const *c, const Onnx__TensorProto *t, const char *label, hd_err *err) {
    const char *name = t->name && t->name[0] ? t->name : "(unnamed)";
    *c = (hd_onnx_const){0};
    if (t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL || t->n_external_data)
        return hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%s': its data are in another file; only models in one file are read", label, name);
    if (t->segment) return hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%s': is stored in segments; only whole tensors are read", label, name);
    size_t typed, bytes = element(t, &typed, &c->is_float);
    if (!bytes)
        return hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%s': element type %s (%d); allowed are float, double, float16, bfloat16, int32, int64 and bool",
                       label, name, hd_onnx_type_name(t->data_type), (int)t->data_type);
    if (t->n_dims > HD_ONNX_MAX_RANK)
        return hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%s': %zu dimensions; at most %d are allowed", label, name, t->n_dims, HD_ONNX_MAX_RANK);
    size_t held = t->has_raw_data ? t->raw_data.len / bytes : typed, count = 1;
    c->rank = (int)t->n_dims;
    int empty = 0;
    for (size_t k = 0; k < t->n_dims; k++) {
        if (t->dims[k] < 0) return hd_fail(err, HD_FORMAT, "%s: tensor '%s': dimension %zu is %lld; must not be negative", label, name, k, (long long)t->dims[k]);
        c->dim[k] = t->dims[k];
        if (t->dims[k] == 0) empty = 1;
    }
    for (size_t k = 0; k < t->n_dims && !empty; k++) {
        /* Never more than the file holds, so nothing overflows and nothing large is allocated for nothing. */
        if (count == 0 || (uint64_t)t->dims[k] > held / count)
            return hd_fail(err, HD_FORMAT, "%s: tensor '%s': dimension %zu is %lld, which needs more elements than the %zu stored", label, name, k, (long long)t->dims[k], held);
        count *= (size_t)t->dims[k];
    }
    if (empty) count = 0;
    size_t have = t->has_raw_data ? t->raw_data.len : typed, need = t->has_raw_data ? count * bytes : count;
    if (have != need)
        return hd_fail(err, HD_FORMAT, "%s: tensor '%s': %zu %s of %s data; its dimensions need %zu", label, name, have,
                       t->has_raw_data ? "bytes" : "elements", hd_onnx_type_name(t->data_type), need);
    c->count = count;
    void *data = malloc(count * (c->is_float ? sizeof(float) : sizeof(int64_t)) + 1);
    if (!data) return hd_fail(err, HD_NOMEM, "%s: tensor '%s': no memory for %zu elements", label, name, count);
    if (c->is_float) c->f = data;
    else c->i = data;
    if (t->has_raw_data)
        for (size_t k = 0; k < count; k++) set_raw(c, k, t->data_type, little(t->raw_data.data + k * bytes, bytes));
    else read_fields(c, t);
    return HD_OK;
}
