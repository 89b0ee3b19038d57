#include "flatbuffer.h"

#include <string.h>

/* `bytes` bytes at `at`, little-endian. */
static uint64_t load(hd_flat *f, size_t at, size_t bytes) {
    uint64_t v = 0;
    if (f->failed || at > f->size || bytes > f->size - at) {
        f->failed = 1;
        return 0;
    }
    for (size_t i = bytes; i-- > 0;) v = v << 8 | f->data[at + i];
    return v;
}

/* Follows the unsigned offset stored at `at`. */
static size_t follow(hd_flat *f, size_t at) {
    size_t distance = (size_t)load(f, at, 4);
    if (f->failed || !distance || distance > f->size - at) {
        f->failed = 1;
        return 0;
    }
    return at + distance;
}

/* Where a field of a table lies, 0 where absent. */
static size_t field_at(hd_flat *f, size_t table, int field) {
    if (!table || f->failed) return 0;
    int64_t vtable = (int64_t)table - (int32_t)(uint32_t)load(f, table, 4);
    if (f->failed || vtable < 0 || vtable > (int64_t)f->size) {
        f->failed = 1;
        return 0;
    }
    size_t length = (size_t)load(f, (size_t)vtable, 2), at = 4 + 2 * (size_t)field;
    if (at + 2 > length) return 0;
    size_t inside = (size_t)load(f, (size_t)vtable + at, 2);
    return inside ? table + inside : 0;
}

size_t hd_flat_root(hd_flat *f, const char *identifier) {
    if (f->size < 8 || f->size > INT32_MAX || memcmp(f->data + 4, identifier, 4)) {
        f->failed = 1;
        return 0;
    }
    return follow(f, 0);
}

uint64_t hd_flat_scalar(hd_flat *f, size_t table, int field, int bytes, uint64_t otherwise) {
    size_t at = field_at(f, table, field);
    return at ? load(f, at, (size_t)bytes) : otherwise;
}

float hd_flat_float(hd_flat *f, size_t table, int field, float otherwise) {
    size_t at = field_at(f, table, field);
    if (!at) return otherwise;
    uint32_t bits = (uint32_t)load(f, at, 4);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

size_t hd_flat_table(hd_flat *f, size_t table, int field) {
    size_t at = field_at(f, table, field);
    return at ? follow(f, at) : 0;
}

const uint8_t *hd_flat_vector(hd_flat *f, size_t table, int field, size_t bytes, size_t *count) {
    *count = 0;
    size_t at = hd_flat_table(f, table, field);
    if (!at) return NULL;
    size_t n = (size_t)load(f, at, 4);
    if (f->failed || n > (f->size - at - 4) / bytes) {
        f->failed = 1;
        return NULL;
    }
    *count = n;
    return n ? f->data + at + 4 : NULL;
}

size_t hd_flat_element(hd_flat *f, const uint8_t *vector, size_t i) {
    return follow(f, (size_t)(vector - f->data) + 4 * i);
}

const char *hd_flat_string(hd_flat *f, size_t table, int field, size_t *length) { return (const char *)hd_flat_vector(f, table, field, 1, length); }
