/* From codes to integers, and from integers to the signs of bit-planes. */
#include "ref_codes.h"

#include <string.h>

#include "../compiler/compress/e8p.h"

void hd_ref_codes_load(hd_ref_codes *c, int code, const uint32_t *words) {
    uint32_t n = hd_code_loads(code);
    if (code == HD_CODE_BOOKS) memcpy(c->book, words, n * sizeof *words);
    else
        for (uint32_t i = 0; i < 2 * n; i++) c->pair[i] = (uint16_t)(words[i / 2] >> (i % 2 * 16));
}

/* `count` bits of a payload from bit `at` on, the first the lowest. */
static uint32_t bits_at(const uint32_t *coded, uint32_t at, uint32_t count) {
    uint32_t v = 0;
    for (uint32_t i = 0; i < count; i++) v |= (coded[(at + i) / 32] >> ((at + i) % 32) & 1) << i;
    return v;
}

/* The odd integers of eight weights, group `n` of the entry. */
static void group_of(int u[8], const hd_ref_codes *c, int code, const uint32_t *coded, uint32_t n) {
    int8_t lattice[8];
    switch (code) {
    case HD_CODE_E8P:
        hd_e8p_decode(lattice, (uint16_t)bits_at(coded, 16 * n, 16));
        for (int i = 0; i < 8; i++) u[i] = lattice[i];
        return;
    case HD_CODE_BOOKS: {
        uint32_t first = c->book[0][bits_at(coded, 16 * n, 8)], second = c->book[1][bits_at(coded, 16 * n + 8, 8)];
        for (int i = 0; i < 8; i++) u[i] = 2 * (int)(((first >> (4 * i)) + (second >> (4 * i))) % 16) - 15;
        return;
    }
    default:
        for (uint32_t i = 0; i < 8; i++) {
            uint32_t width = code == HD_CODE_TABLE16 ? 4 : 2, pair = bits_at(coded, (8 * n + i / 2 * 2) * width, 2 * width);
            int byte = c->pair[pair] >> (i % 2 * 8) & 255;
            u[i] = code == HD_CODE_TABLE16 ? 2 * byte - 255 : 2 * (byte >> 4) - 15;
        }
    }
}

void hd_ref_codes_entry(uint32_t *weight, const hd_ref_codes *c, int code, const uint32_t *coded, const hd_geometry *g) {
    uint32_t planes = hd_code_planes(code), columns = planes / g->planes, groups = g->lanes / 8;
    memset(weight, 0, hd_geometry_weight_words(g) * sizeof *weight);
    for (uint32_t n = 0; n < g->cols / columns * groups; n++) {
        int u[8];
        group_of(u, c, code, coded, n);
        for (uint32_t k = 0; k < planes; k++)
            for (uint32_t i = 0; i < 8; i += 2) {
                /* plane k counts 2^k; u = sum of 2^k times its sign */
                int positive0 = (u[i] + (1 << planes) - 1) / 2 >> k & 1, positive1 = (u[i + 1] + (1 << planes) - 1) / 2 >> k & 1;
                uint32_t column = n / groups * columns + columns - 1 - k / g->planes;
                uint32_t bit = column * g->lanes * g->planes + k % g->planes * g->lanes + n % groups * 8 + i;
                weight[bit / 32] |= (uint32_t)(positive0 != positive1) << (bit % 32);
                weight[(bit + 1) / 32] |= (uint32_t)!positive0 << ((bit + 1) % 32);
            }
    }
}

uint32_t hd_ref_codes_delay(int code, const hd_geometry *g) {
    return code == HD_CODE_TABLE16 ? 3 + 2 * (g->lanes / 8) : 4 + g->lanes / 8;
}
