/* Bounded little-endian reading and writing. A reader never passes its end: after the first overrun `failed` is set,
 * reads return zero and nothing moves, so a parser may check once per section. */
#ifndef HD_BYTES_H
#define HD_BYTES_H
#include <stddef.h>
#include <stdint.h>

#include "err.h"

typedef struct hd_reader {
    const uint8_t *data; /* lent */
    size_t size, at;
    int failed;
} hd_reader;

uint8_t hd_get_u8(hd_reader *r);
uint16_t hd_get_u16(hd_reader *r);
uint32_t hd_get_u32(hd_reader *r);
uint64_t hd_get_u64(hd_reader *r);
float hd_get_f32(hd_reader *r);
static inline int8_t hd_get_i8(hd_reader *r) { return (int8_t)hd_get_u8(r); }
static inline int16_t hd_get_i16(hd_reader *r) { return (int16_t)hd_get_u16(r); }
static inline int32_t hd_get_i32(hd_reader *r) { return (int32_t)hd_get_u32(r); }
/* n bytes lent from the buffer, or NULL (and failed) when fewer are left. */
const uint8_t *hd_get_bytes(hd_reader *r, size_t n);
/* u16 length and bytes; returns a malloc'ed NUL-terminated copy, NULL on overrun, embedded NUL or no memory. */
char *hd_get_string(hd_reader *r);

typedef struct hd_writer {
    uint8_t *data; /* owned; free with hd_writer_free */
    size_t size, capacity;
    int failed; /* out of memory */
} hd_writer;

void hd_put_u8(hd_writer *w, uint8_t v);
void hd_put_u16(hd_writer *w, uint16_t v);
void hd_put_u32(hd_writer *w, uint32_t v);
void hd_put_u64(hd_writer *w, uint64_t v);
void hd_put_f32(hd_writer *w, float v);
void hd_put_bytes(hd_writer *w, const void *bytes, size_t n);
void hd_put_string(hd_writer *w, const char *s);
void hd_writer_free(hd_writer *w);

/* magic, version, payload size, crc32, payload -> atomic write to path. */
hd_status hd_container_write(const char *path, uint32_t magic, uint32_t version, const hd_writer *payload, hd_err *err);
/* What a file is by its first bytes, in words that follow its name in a message ("a program (.hdp)", "an idx file"); NULL when they do not tell. */
const char *hd_file_kind(const uint8_t *data, size_t size);
/* Reads and checks a container (at most 1 GiB); *buffer is malloc'ed and holds the file; r is set to the payload. */
hd_status hd_container_read(uint8_t **buffer, hd_reader *r, const char *path, uint32_t magic, uint32_t version, hd_err *err);
#endif
