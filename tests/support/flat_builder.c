#include "flat_builder.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static size_t append(flat_builder *b, size_t bytes) {
    size_t at = b->size, need = at + bytes;
    if (need > b->capacity) {
        b->capacity = 2 * need;
        b->data = realloc(b->data, b->capacity);
        if (!b->data) abort();
    }
    memset(b->data + at, 0, bytes);
    b->size = need;
    return at;
}

static void put(flat_builder *b, size_t at, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) b->data[at + (size_t)i] = (uint8_t)(v >> 8 * i);
}

void flat_start(flat_builder *b, const char *identifier) {
    *b = (flat_builder){0};
    append(b, 8);
    memcpy(b->data + 4, identifier, 4);
}

void flat_free(flat_builder *b) { free(b->data); }

size_t flat_table(flat_builder *b, int fields, unsigned present) {
    size_t vtable = append(b, 4 + 2 * (size_t)fields), table = append(b, 4 + 8 * (size_t)fields);
    put(b, vtable, 4 + 2 * (uint64_t)fields, 2);
    put(b, vtable + 2, 4 + 8 * (uint64_t)fields, 2);
    for (int i = 0; i < fields; i++)
        if (present >> i & 1) put(b, vtable + 4 + 2 * (size_t)i, 4 + 8 * (uint64_t)i, 2);
    put(b, table, table - vtable, 4);
    return table;
}

static size_t field_at(size_t table, int field) { return table + 4 + 8 * (size_t)field; }

void flat_set(flat_builder *b, size_t table, int field, uint64_t value, int bytes) { put(b, field_at(table, field), value, bytes); }

void flat_point(flat_builder *b, size_t table, int field, size_t to) {
    assert(to > field_at(table, field));
    put(b, field_at(table, field), to - field_at(table, field), 4);
}

size_t flat_vector(flat_builder *b, const void *elements, size_t n, size_t bytes) {
    size_t at = append(b, 4 + n * bytes);
    put(b, at, n, 4);
    if (elements && n) memcpy(b->data + at + 4, elements, n * bytes);
    return at;
}

void flat_element(flat_builder *b, size_t vector, size_t i, size_t to) { put(b, vector + 4 + 4 * i, to - (vector + 4 + 4 * i), 4); }

void flat_root(flat_builder *b, size_t table) { put(b, 0, table, 4); }
