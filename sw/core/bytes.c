#include "bytes.h"

#include <stdlib.h>
#include <string.h>

const uint8_t *hd_get_bytes(hd_reader *r, size_t n) {
    if (r->failed || r->at > r->size || n > r->size - r->at) {
        r->failed = 1;
        return NULL;
    }
    const uint8_t *p = r->data + r->at;
    r->at += n;
    return p;
}

uint8_t hd_get_u8(hd_reader *r) {
    const uint8_t *p = hd_get_bytes(r, 1);
    return p ? p[0] : 0;
}

uint16_t hd_get_u16(hd_reader *r) {
    const uint8_t *p = hd_get_bytes(r, 2);
    return (uint16_t)(p ? p[0] + 256u * p[1] : 0u);
}

uint32_t hd_get_u32(hd_reader *r) {
    const uint8_t *p = hd_get_bytes(r, 4);
    if (!p) return 0;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t hd_get_u64(hd_reader *r) {
    /* Both halves or nothing, so that an overrun does not consume the first one. */
    const uint8_t *p = hd_get_bytes(r, 8);
    uint64_t v = 0;
    for (int i = 7; p && i >= 0; i--) v = v << 8 | p[i];
    return v;
}

float hd_get_f32(hd_reader *r) {
    uint32_t bits = hd_get_u32(r);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

char *hd_get_string(hd_reader *r) {
    size_t n = hd_get_u16(r);
    const uint8_t *p = hd_get_bytes(r, n);
    if (!p) return NULL;
    char *s = memchr(p, 0, n) ? NULL : malloc(n + 1);
    if (!s) {
        r->failed = 1;
        return NULL;
    }
    memcpy(s, p, n);
    s[n] = 0;
    return s;
}

void hd_put_bytes(hd_writer *w, const void *bytes, size_t n) {
    if (w->failed || n == 0) return;
    if (n > w->capacity - w->size) {
        size_t capacity = w->capacity ? w->capacity : 256;
        while (capacity - w->size < n) {
            if (capacity > SIZE_MAX / 2) {
                w->failed = 1;
                return;
            }
            capacity *= 2;
        }
        uint8_t *data = realloc(w->data, capacity);
        if (!data) {
            w->failed = 1;
            return;
        }
        w->data = data;
        w->capacity = capacity;
    }
    memcpy(w->data + w->size, bytes, n);
    w->size += n;
}

static void put_little(hd_writer *w, uint64_t v, size_t n) {
    uint8_t b[8];
    for (size_t i = 0; i < n; i++) b[i] = (uint8_t)(v >> 8 * i);
    hd_put_bytes(w, b, n);
}

void hd_put_u8(hd_writer *w, uint8_t v) { put_little(w, v, 1); }
void hd_put_u16(hd_writer *w, uint16_t v) { put_little(w, v, 2); }
void hd_put_u32(hd_writer *w, uint32_t v) { put_little(w, v, 4); }
void hd_put_u64(hd_writer *w, uint64_t v) { put_little(w, v, 8); }

void hd_put_f32(hd_writer *w, float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    hd_put_u32(w, bits);
}

void hd_put_string(hd_writer *w, const char *s) {
    /* A name longer than the length field can say is cut: it is a label, and a wrong length would corrupt the file. */
    size_t n = strlen(s);
    if (n > UINT16_MAX) n = UINT16_MAX;
    hd_put_u16(w, (uint16_t)n);
    hd_put_bytes(w, s, n);
}

void hd_writer_free(hd_writer *w) {
    free(w->data);
    *w = (hd_writer){0};
}
