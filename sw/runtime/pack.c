/* Tensors to and from activation words. */
#include "pack.h"

#include <string.h>

static size_t positions(const hd_port *p) {
    return p->expanded ? (size_t)p->out_h * p->out_w : (size_t)p->h * p->w;
}

size_t hd_port_words(const hd_port *p, uint32_t lanes) {
    return positions(p) * p->stride * (lanes / 4);
}

/* Bytes of one position go through a writer of whole words; what is missing to the stride is the zero point. */
typedef struct packer {
    uint32_t *to;
    uint32_t word, filled;
    uint8_t zero;
} packer;

static void put_byte(packer *k, uint8_t b) {
    k->word |= (uint32_t)b << (8 * k->filled);
    if (++k->filled == 4) {
        *k->to++ = k->word;
        k->word = k->filled = 0;
    }
}

static void put_pixel(packer *k, const int8_t *pixel, uint32_t c) {
    for (uint32_t i = 0; i < c; i++) put_byte(k, pixel ? (uint8_t)pixel[i] : k->zero);
}

static void put_window(packer *k, const hd_port *p, uint32_t oy, uint32_t ox, const int8_t *input) {
    for (uint32_t ky = 0; ky < p->kh; ky++)
        for (uint32_t kx = 0; kx < p->kw; kx++) {
            int64_t iy = (int64_t)oy * p->sy - p->pad_top + (int64_t)ky * p->dy, ix = (int64_t)ox * p->sx - p->pad_left + (int64_t)kx * p->dx;
            int inside = iy >= 0 && iy < p->h && ix >= 0 && ix < p->w;
            put_pixel(k, inside ? input + ((size_t)iy * p->w + (size_t)ix) * p->c : NULL, p->c);
        }
}

void hd_pack_input(uint32_t *words, const hd_port *p, uint32_t lanes, const int8_t *input) {
    size_t n = positions(p), bytes = (size_t)p->stride * lanes;
    packer k = {.to = words, .zero = (uint8_t)p->zero};
    for (size_t i = 0; i < n; i++) {
        size_t used = p->expanded ? (size_t)p->kh * p->kw * p->c : p->c;
        if (p->expanded) put_window(&k, p, (uint32_t)(i / p->out_w), (uint32_t)(i % p->out_w), input);
        else put_pixel(&k, input + i * p->c, p->c);
        for (; used < bytes; used++) put_byte(&k, k.zero);
    }
}

void hd_unpack_output(int8_t *output, const hd_port *p, uint32_t lanes, const uint32_t *words) {
    size_t n = positions(p), stride = (size_t)p->stride * (lanes / 4);
    for (size_t i = 0; i < n; i++)
        for (uint32_t c = 0; c < p->c; c++) *output++ = (int8_t)(uint8_t)(words[i * stride + c / 4] >> (8 * (c % 4)));
}
