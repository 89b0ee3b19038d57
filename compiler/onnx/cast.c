/* Element types into each other. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/half.h"
#include "nd.h"

uint16_t hd_bf16_round(float x) {
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    if (isnan(x)) return (uint16_t)(b >> 16 | 0x40u);
    return (uint16_t)((b + 0x7fffu + (b >> 16 & 1u)) >> 16);
}

uint16_t hd_f16_round(float x) {
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    uint16_t sign = (uint16_t)(b >> 16 & 0x8000u);
    if (isnan(x)) return (uint16_t)(sign | 0x7e00u);
    float size = fabsf(x);
    if (size >= 65520.f) return (uint16_t)(sign | 0x7c00u);
    /* In units of the last place at x; rintf rounds to nearest even. A mantissa that becomes 2048 carries into the exponent by itself. */
    int e;
    frexpf(size, &e);
    if (e < -13) e = -13;
    uint32_t units = (uint32_t)rintf(ldexpf(size, 11 - e));
    return (uint16_t)(sign | (units < 1024 ? units : ((uint32_t)(e + 13) << 10) + units));
}

static int64_t to_i64(double v) { return isnan(v) ? 0 : v >= 0x1p63 ? INT64_MAX : v <= -0x1p63 ? INT64_MIN : (int64_t)v; }
static uint64_t to_u64(double v) { return v >= 0x1p64 ? UINT64_MAX : v >= 0x1p63 ? (uint64_t)v : (uint64_t)to_i64(v); }

/* Every type: its C type, the widest of its kind that reading gives, and how that is read. */
#define READ_ALL(X)                                                                      \
    X(HD_TYPE_F32, float, double, (double)s[k])                                          \
    X(HD_TYPE_F64, double, double, s[k])                                                 \
    X(HD_TYPE_F16, uint16_t, double, (double)hd_half_value(s[k]))                        \
    X(HD_TYPE_BF16, uint16_t, double, (double)bf16_value(s[k]))                          \
    X(HD_TYPE_U8, uint8_t, uint64_t, s[k])                                               \
    X(HD_TYPE_U16, uint16_t, uint64_t, s[k])                                             \
    X(HD_TYPE_U32, uint32_t, uint64_t, s[k])                                             \
    X(HD_TYPE_U64, uint64_t, uint64_t, s[k])                                             \
    X(HD_TYPE_BOOL, uint8_t, uint64_t, (uint64_t)(s[k] != 0))                            \
    X(HD_TYPE_I8, int8_t, int64_t, s[k])                                                 \
    X(HD_TYPE_I16, int16_t, int64_t, s[k])                                               \
    X(HD_TYPE_I32, int32_t, int64_t, s[k])                                               \
    X(HD_TYPE_I64, int64_t, int64_t, s[k])

static float bf16_value(uint16_t bits) {
    const uint8_t b[2] = {(uint8_t)(bits & 255u), (uint8_t)(bits >> 8)};
    return hd_bf16_at(b);
}

#define SIGNED_OF(v) _Generic((v), double: to_i64((double)(v)), default: (int64_t)(v))
#define UNSIGNED_OF(v) _Generic((v), double: to_u64((double)(v)), default: (uint64_t)(v))
#define STORE(T, E) { T *d = out->data; for (size_t k = 0; k < n; k++) d[k] = (T)(E); break; }
#define CONVERT(TYPE, C, WIDE, READ)                                                     \
    case TYPE: {                                                                         \
        const C *s = v->data;                                                            \
        switch (to) {                                                                    \
        case HD_TYPE_F32: STORE(float, (WIDE)(READ))                                     \
        case HD_TYPE_F64: STORE(double, (WIDE)(READ))                                    \
        case HD_TYPE_F16: STORE(uint16_t, hd_f16_round((float)(WIDE)(READ)))             \
        case HD_TYPE_BF16: STORE(uint16_t, hd_bf16_round((float)(WIDE)(READ)))           \
        case HD_TYPE_U8: STORE(uint8_t, UNSIGNED_OF((WIDE)(READ)))                       \
        case HD_TYPE_U16: STORE(uint16_t, UNSIGNED_OF((WIDE)(READ)))                     \
        case HD_TYPE_U32: STORE(uint32_t, UNSIGNED_OF((WIDE)(READ)))                     \
        case HD_TYPE_U64: STORE(uint64_t, UNSIGNED_OF((WIDE)(READ)))                     \
        case HD_TYPE_BOOL: STORE(uint8_t, (WIDE)(READ) != 0)                             \
        case HD_TYPE_I8: STORE(int8_t, SIGNED_OF((WIDE)(READ)))                          \
        case HD_TYPE_I16: STORE(int16_t, SIGNED_OF((WIDE)(READ)))                        \
        case HD_TYPE_I32: STORE(int32_t, SIGNED_OF((WIDE)(READ)))                        \
        case HD_TYPE_I64: STORE(int64_t, SIGNED_OF((WIDE)(READ)))                        \
        default: break;                                                                  \
        }                                                                                \
        break;                                                                           \
    }

static hd_status from_strings(hd_nd *out, const hd_nd *v, hd_err *err) {
    char *const *s = v->data;
    hd_nd wide;
    hd_status status = hd_nd_new(&wide, HD_TYPE_F64, v->rank, v->dim, SIZE_MAX, err);
    if (status != HD_OK) return status;
    for (size_t k = 0; k < v->count; k++) {
        char *end;
        ((double *)wide.data)[k] = strtod(s[k] ? s[k] : "", &end);
        if (!s[k] || end == s[k] || *end) {
            status = hd_fail(err, HD_FORMAT, "element %zu, '%.40s', is no number", k, s[k] ? s[k] : "");
            break;
        }
    }
    if (status == HD_OK) status = hd_nd_cast(out, &wide, out->type, err);
    hd_nd_free(&wide);
    return status;
}

/* The shortest decimal number that reads back to the same float, as Python prints it. */
static hd_status to_strings(hd_nd *out, const hd_nd *v, hd_err *err) {
    hd_nd wide;
    hd_status status = hd_nd_cast(&wide, v, HD_TYPE_F64, err);
    char **d = out->data;
    for (size_t k = 0; status == HD_OK && k < v->count; k++) {
        double x = ((const double *)wide.data)[k];
        int single = v->type == HD_TYPE_F32, digits = 1;
        char text[64];
        for (; digits < 18; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, x);
            if (isnan(x) || (single ? strtof(text, NULL) == (float)x : strtod(text, NULL) == x)) break;
        }
        if (hd_type_is_float(v->type) && isfinite(x) && !strpbrk(text, ".e")) strcat(text, ".0");
        d[k] = malloc(strlen(text) + 1);
        if (!d[k]) status = hd_fail(err, HD_NOMEM, "no memory for a string");
        else strcpy(d[k], text);
    }
    hd_nd_free(&wide);
    return status;
}

hd_status hd_nd_cast(hd_nd *out, const hd_nd *v, hd_type to, hd_err *err) {
    /* A list has the type of its items and, as its count, how many they are. */
    if (v->kind != HD_ND_TENSOR) {
        *out = (hd_nd){0};
        return hd_fail(err, HD_MISMATCH, "a list, or nothing, where a tensor of %s is needed", hd_type_name((int)to));
    }
    if (v->type == to) {
        *out = hd_nd_share(v);
        return HD_OK;
    }
    hd_nd made;
    hd_status status = hd_nd_new(&made, to, v->rank, v->dim, SIZE_MAX, err);
    *out = (hd_nd){0};
    if (status != HD_OK) return status;
    if (v->type == HD_TYPE_STRING) {
        hd_nd_free(&made);
        *out = (hd_nd){.type = to};
        return from_strings(out, v, err);
    }
    *out = made;
    if (to == HD_TYPE_STRING) {
        status = to_strings(out, v, err);
        if (status != HD_OK) hd_nd_free(out);
        return status;
    }
    size_t n = v->count;
    switch (v->type) {
        READ_ALL(CONVERT)
    default: break;
    }
    return HD_OK;
}
