/* GGUF files: the container and its block formats. */
#include "gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/half.h"

enum { MAX_VALUES = 1 << 16, MAX_TENSORS = 1 << 16, MAX_NAME = 1 << 16, MAX_ALIGNMENT = 1 << 20 };

/* ---- block formats: `elements` values in `bytes` bytes ---- */

static void decode_f32(float *to, const uint8_t *b) { *to = hd_f32_at(b); }
static void decode_f16(float *to, const uint8_t *b) { *to = hd_f16_at(b); }
static void decode_bf16(float *to, const uint8_t *b) { *to = hd_bf16_at(b); }

/* A scale, then 32 int8. */
static void decode_q8_0(float *to, const uint8_t *b) {
    float scale = hd_f16_at(b);
    for (int i = 0; i < 32; i++) to[i] = scale * (float)(int8_t)b[2 + i];
}

/* A scale, then 16 bytes: the low nibbles are elements 0..15, the high ones 16..31, each less 8. */
static void decode_q4_0(float *to, const uint8_t *b) {
    float scale = hd_f16_at(b);
    for (int i = 0; i < 16; i++) {
        to[i] = scale * (float)((b[2 + i] & 15) - 8);
        to[i + 16] = scale * (float)((b[2 + i] >> 4) - 8);
    }
}

/* 256 elements in 8 groups of 32: scales of scales and of minima, 8 + 8 numbers of 6 bits in 12 bytes, then nibbles; 32 bytes hold two groups, the first in their low nibbles. */
static void decode_q4_k(float *to, const uint8_t *b) {
    float scale = hd_f16_at(b), low = hd_f16_at(b + 2);
    const uint8_t *six = b + 4, *nibbles = b + 16;
    for (int g = 0; g < 8; g++) {
        int s = g < 4 ? six[g] & 63 : (six[g + 4] & 15) | six[g - 4] >> 6 << 4, m = g < 4 ? six[g + 4] & 63 : six[g + 4] >> 4 | six[g] >> 6 << 4;
        float step = scale * (float)s, least = low * (float)m;
        for (int i = 0; i < 32; i++) {
            int byte = nibbles[g / 2 * 32 + i];
            to[g * 32 + i] = step * (float)(g % 2 ? byte >> 4 : byte & 15) - least;
        }
    }
}

/* 256 elements in 16 groups of 16 with int8 scales; 4 low bits in nibbles, 2 high bits in quarters of bytes, less 32; then the scale of scales. */
static void decode_q6_k(float *to, const uint8_t *b) {
    const uint8_t *low = b, *high = b + 128, *scales = b + 192;
    float scale = hd_f16_at(b + 208);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, quarter = i / 32 % 4, at = i % 32;
        int nibble = low[half * 64 + quarter % 2 * 32 + at] >> (quarter / 2 * 4) & 15, top = high[half * 32 + at] >> (2 * quarter) & 3;
        to[i] = scale * (float)(int8_t)scales[i / 16] * (float)((nibble | top << 4) - 32);
    }
}

static const struct format {
    int type, elements, bytes;
    void (*decode)(float *to, const uint8_t *block);
} formats[] = {{0, 1, 4, decode_f32}, {1, 1, 2, decode_f16}, {2, 32, 18, decode_q4_0}, {8, 32, 34, decode_q8_0}, {12, 256, 144, decode_q4_k}, {14, 256, 210, decode_q6_k}, {30, 1, 2, decode_bf16}};

static const struct format *format_of(int type) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].type == type) return &formats[i];
    return NULL;
}

hd_status hd_gguf_decode(float *to, const hd_gguf *g, const hd_gguf_tensor *t, hd_err *err) {
    const struct format *f = format_of(t->type);
    size_t elements = (size_t)f->elements;
    for (size_t i = 0; i < t->count / elements; i++) f->decode(to + i * elements, t->data + i * (size_t)f->bytes);
    for (size_t i = 0; i < t->count; i++)
        if (!isfinite(to[i])) return hd_fail(err, HD_FORMAT, "%s: tensor '%.*s': element %zu is %f; weights are finite", g->label, (int)t->name.length, t->name.bytes, i, (double)to[i]);
    return HD_OK;
}

/* ---- the container ---- */

static hd_status cut(const hd_gguf *g, const char *what, hd_err *err) { return hd_fail(err, HD_FORMAT, "%s: not a whole GGUF file: %s lies outside of its %zu bytes", g->label, what, g->size); }

static hd_gguf_text get_text(hd_reader *r) {
    uint64_t n = hd_get_u64(r);
    if (n > r->size) r->failed = 1;
    const uint8_t *bytes = r->failed ? NULL : hd_get_bytes(r, (size_t)n);
    return (hd_gguf_text){(const char *)bytes, bytes ? (size_t)n : 0};
}

static size_t value_bytes(int type) {
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type >= 0 && type <= HD_GGUF_F64 ? bytes[type] : 0;
}

static hd_status read_value(hd_gguf_value *v, hd_gguf *g, hd_reader *r, hd_err *err) {
    v->key = get_text(r);
    v->type = v->element = (int)hd_get_u32(r);
    v->count = 1;
    if (v->type == HD_GGUF_ARRAY) {
        v->element = (int)hd_get_u32(r);
        v->count = hd_get_u64(r);
    }
    v->at = r->at;
    if (r->failed) return cut(g, "a value", err);
    if (v->key.length > MAX_NAME) return hd_fail(err, HD_RANGE, "%s: a value's name has %zu bytes; allowed %d", g->label, v->key.length, MAX_NAME);
    size_t bytes = value_bytes(v->element);
    if (!bytes && v->element != HD_GGUF_STRING)
        return hd_fail(err, HD_UNSUPPORTED, "%s: value '%.*s' has type %d; arrays of arrays and types above 12 are not supported", g->label, (int)v->key.length, v->key.bytes, v->element);
    if (v->count > r->size) return cut(g, "an array", err);
    if (bytes) hd_get_bytes(r, (size_t)v->count * bytes);
    else
        for (uint64_t i = 0; i < v->count && !r->failed; i++) get_text(r);
    return r->failed ? cut(g, "a value", err) : HD_OK;
}

static hd_status read_tensor(hd_gguf_tensor *t, uint64_t *offset, hd_gguf *g, hd_reader *r, hd_err *err) {
    t->name = get_text(r);
    t->dims = (int)hd_get_u32(r);
    if (r->failed) return cut(g, "the directory of tensors", err);
    if (t->name.length > MAX_NAME) return hd_fail(err, HD_RANGE, "%s: a tensor's name has %zu bytes; allowed %d", g->label, t->name.length, MAX_NAME);
    int length = (int)t->name.length;
    if (t->dims < 1 || t->dims > HD_GGUF_MAX_DIMS) return hd_fail(err, HD_RANGE, "%s: tensor '%.*s' has %d dimensions; allowed 1 to %d", g->label, length, t->name.bytes, t->dims, HD_GGUF_MAX_DIMS);
    t->count = 1;
    for (int i = 0; i < t->dims; i++) {
        t->dim[i] = hd_get_u64(r);
        if (t->dim[i] < 1 || t->dim[i] > (uint64_t)(SIZE_MAX / 8) / t->count) return hd_fail(err, HD_RANGE, "%s: tensor '%.*s': size %d is %llu; sizes are positive, and their product below 2^61", g->label, length, t->name.bytes, i, (unsigned long long)t->dim[i]);
        t->count *= (size_t)t->dim[i];
    }
    t->type = (int)hd_get_u32(r);
    *offset = hd_get_u64(r);
    if (r->failed) return cut(g, "the directory of tensors", err);
    const struct format *f = format_of(t->type);
    if (!f) return hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%.*s' has ggml type %d; supported are F32, F16, BF16, Q8_0, Q4_0, Q4_K and Q6_K", g->label, length, t->name.bytes, t->type);
    if (t->dim[0] % (uint64_t)f->elements) return hd_fail(err, HD_FORMAT, "%s: tensor '%.*s' has rows of %llu elements; its blocks have %d, and rows are of whole blocks", g->label, length, t->name.bytes, (unsigned long long)t->dim[0], f->elements);
    return HD_OK;
}

static hd_status place_tensors(hd_gguf *g, const uint64_t *offset, size_t directory_end, hd_err *err) {
    int64_t alignment;
    hd_status s = hd_gguf_integer(&alignment, g, "general.alignment", 32, MAX_ALIGNMENT, err);
    if (s) return s;
    if (alignment < 1) return hd_fail(err, HD_RANGE, "%s: general.alignment is 0; allowed 1 to %d", g->label, MAX_ALIGNMENT);
    size_t step = (size_t)alignment, start = (directory_end + step - 1) / step * step;
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        hd_gguf_tensor *t = &g->tensor[i];
        const struct format *f = format_of(t->type);
        size_t blocks = t->count / (size_t)f->elements;
        if (start > g->size || offset[i] > g->size - start || blocks > (g->size - start - (size_t)offset[i]) / (size_t)f->bytes) return cut(g, "the data of a tensor", err);
        t->data = g->data + start + offset[i];
    }
    return HD_OK;
}

static hd_status open(hd_gguf *g, hd_err *err) {
    hd_reader r = {.data = g->data, .size = g->size};
    const uint8_t *magic = hd_get_bytes(&r, 4);
    if (!magic || memcmp(magic, "GGUF", 4)) return hd_fail(err, HD_FORMAT, "%s: not a GGUF file (no identifier GGUF)", g->label);
    uint32_t version = hd_get_u32(&r);
    uint64_t tensors = hd_get_u64(&r), values = hd_get_u64(&r);
    if (r.failed) return cut(g, "its header", err);
    if (version != 2 && version != 3) return hd_fail(err, HD_UNSUPPORTED, "%s: GGUF version %u; supported are 2 and 3 (little-endian)", g->label, version);
    if (tensors > MAX_TENSORS || values > MAX_VALUES)
        return hd_fail(err, HD_RANGE, "%s: %llu tensors and %llu values; allowed %d and %d", g->label, (unsigned long long)tensors, (unsigned long long)values, MAX_TENSORS, MAX_VALUES);
    uint64_t *offset = calloc((size_t)tensors + 1, sizeof *offset);
    g->value = calloc((size_t)values + 1, sizeof *g->value);
    g->tensor = calloc((size_t)tensors + 1, sizeof *g->tensor);
    hd_status s = offset && g->value && g->tensor ? HD_OK : hd_fail(err, HD_NOMEM, "%s: out of memory", g->label);
    for (uint64_t i = 0; !s && i < values; i++, g->n_values++) s = read_value(&g->value[i], g, &r, err);
    for (uint64_t i = 0; !s && i < tensors; i++, g->n_tensors++) s = read_tensor(&g->tensor[i], &offset[i], g, &r, err);
    if (!s) s = place_tensors(g, offset, r.at, err);
    free(offset);
    return s;
}

hd_status hd_gguf_open(hd_gguf *g, const uint8_t *data, size_t size, const char *label, hd_err *err) {
    *g = (hd_gguf){.label = label, .data = data, .size = size};
    hd_status s = open(g, err);
    if (s) hd_gguf_close(g);
    return s;
}

void hd_gguf_close(hd_gguf *g) {
    free(g->value);
    free(g->tensor);
    g->value = NULL;
    g->tensor = NULL;
}

static int same(hd_gguf_text a, const char *b) { return a.length == strlen(b) && !memcmp(a.bytes, b, a.length); }

const hd_gguf_value *hd_gguf_find(const hd_gguf *g, const char *key) {
    for (uint32_t i = 0; i < g->n_values; i++)
        if (same(g->value[i].key, key)) return &g->value[i];
    return NULL;
}

const hd_gguf_tensor *hd_gguf_tensor_find(const hd_gguf *g, const char *name) {
    for (uint32_t i = 0; i < g->n_tensors; i++)
        if (same(g->tensor[i].name, name)) return &g->tensor[i];
    return NULL;
}

hd_status hd_gguf_integer(int64_t *to, const hd_gguf *g, const char *key, int64_t otherwise, int64_t most, hd_err *err) {
    const hd_gguf_value *v = hd_gguf_find(g, key);
    *to = otherwise;
    if (!v) return otherwise >= 0 ? HD_OK : hd_fail(err, HD_FORMAT, "%s: value '%s' is missing", g->label, key);
    hd_reader r = {.data = g->data, .size = g->size, .at = v->at};
    switch (v->type) {
    case HD_GGUF_U8: *to = hd_get_u8(&r); break;
    case HD_GGUF_I8: *to = hd_get_i8(&r); break;
    case HD_GGUF_U16: *to = hd_get_u16(&r); break;
    case HD_GGUF_I16: *to = hd_get_i16(&r); break;
    case HD_GGUF_U32: *to = hd_get_u32(&r); break;
    case HD_GGUF_I32: *to = hd_get_i32(&r); break;
    case HD_GGUF_U64:
    case HD_GGUF_I64: *to = (int64_t)hd_get_u64(&r); break;
    default: return hd_fail(err, HD_FORMAT, "%s: value '%s' is no whole number (type %d)", g->label, key, v->type);
    }
    if (*to < 0 || *to > most) return hd_fail(err, HD_RANGE, "%s: value '%s' is %lld; allowed 0 to %lld", g->label, key, (long long)*to, (long long)most);
    return HD_OK;
}

hd_status hd_gguf_real(double *to, const hd_gguf *g, const char *key, double otherwise, hd_err *err) {
    const hd_gguf_value *v = hd_gguf_find(g, key);
    *to = otherwise;
    if (!v) return HD_OK;
    hd_reader r = {.data = g->data, .size = g->size, .at = v->at};
    if (v->type == HD_GGUF_F32) *to = (double)hd_get_f32(&r);
    else if (v->type == HD_GGUF_F64) {
        uint64_t bits = hd_get_u64(&r);
        memcpy(to, &bits, sizeof *to);
    } else
        return hd_fail(err, HD_FORMAT, "%s: value '%s' is no real number (type %d)", g->label, key, v->type);
    return HD_OK;
}
