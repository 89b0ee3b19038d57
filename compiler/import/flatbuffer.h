/* Bounded reading of FlatBuffers (google.github.io/flatbuffers, "Internals"): little-endian; a table starts with the signed distance
 * back to its vtable, which says where each field lies (0 = absent); vectors and strings start with their length.
 *
 * Every access is checked against the buffer. The first one that leaves it sets `failed`; it and all later ones give 0, so a parser may check once
 * per object. Positions are offsets in the buffer; 0 is never an object's. */
#ifndef HD_FLATBUFFER_H
#define HD_FLATBUFFER_H
#include <stddef.h>
#include <stdint.h>

typedef struct hd_flat {
    const uint8_t *data; /* lent */
    size_t size;         /* at most 2^31 - 1 */
    int failed;
} hd_flat;

/* The root table; fails unless bytes 4..7 are `identifier`. */
size_t hd_flat_root(hd_flat *f, const char *identifier);
/* A scalar field of `bytes` bytes as unsigned bits, or `otherwise` where the field is absent (or there is no table). */
uint64_t hd_flat_scalar(hd_flat *f, size_t table, int field, int bytes, uint64_t otherwise);
static inline int32_t hd_flat_int(hd_flat *f, size_t table, int field, int32_t otherwise) {
    return (int32_t)(uint32_t)hd_flat_scalar(f, table, field, 4, (uint32_t)otherwise);
}
static inline int hd_flat_byte(hd_flat *f, size_t table, int field, int otherwise) {
    return (int)hd_flat_scalar(f, table, field, 1, (uint64_t)otherwise);
}
float hd_flat_float(hd_flat *f, size_t table, int field, float otherwise);
/* The table a field points to, 0 where absent. */
size_t hd_flat_table(hd_flat *f, size_t table, int field);
/* The elements of a vector field of elements of `bytes` bytes; *count 0 and NULL where absent or empty. Not aligned. */
const uint8_t *hd_flat_vector(hd_flat *f, size_t table, int field, size_t bytes, size_t *count);
/* Table i of a vector of tables; its count comes from hd_flat_vector(.., 4, ..). */
size_t hd_flat_element(hd_flat *f, const uint8_t *vector, size_t i);
/* A string field and its length (NULL where absent); not NUL-terminated. */
const char *hd_flat_string(hd_flat *f, size_t table, int field, size_t *length);

static inline uint32_t hd_flat_u32(const uint8_t *b) { return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24; }
#endif
