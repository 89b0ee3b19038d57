/* Writes FlatBuffers front to back, for tests of their readers: a table first, what it points to after it. */
#ifndef FLAT_BUILDER_H
#define FLAT_BUILDER_H
#include <stddef.h>
#include <stdint.h>

typedef struct flat_builder {
    uint8_t *data; /* owned */
    size_t size, capacity;
} flat_builder;

/* Room for the root's offset, then the identifier. */
void flat_start(flat_builder *b, const char *identifier);
void flat_free(flat_builder *b);
/* A table with fields 0..fields-1, eight bytes each, of which those of the bit mask `present` exist; its position. */
size_t flat_table(flat_builder *b, int fields, unsigned present);
/* A scalar field of `bytes` bytes. */
void flat_set(flat_builder *b, size_t table, int field, uint64_t value, int bytes);
/* Field `field` points to position `to` (after it). */
void flat_point(flat_builder *b, size_t table, int field, size_t to);
/* A vector of n elements of `bytes` bytes (elements NULL: zeros); its position. */
size_t flat_vector(flat_builder *b, const void *elements, size_t n, size_t bytes);
/* Element i of a vector of offsets points to `to`. */
void flat_element(flat_builder *b, size_t vector, size_t i, size_t to);
void flat_root(flat_builder *b, size_t table);
#endif
