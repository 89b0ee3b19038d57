/* Coded entries: what the search finds, read back by the golden model of the decoders, is the weights, for every code and several geometries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../compiler/compress/e8p.h"
#include "../../compiler/lower/codes.h"
#include "../../drivers/ref_codes.h"
#include "../../sw/core/rng.h"

enum { ENTRIES = 40 };

/* Weight words by docs/formats.md section 2 and 3, lane by lane: u [entries][channels][lanes]. */
static void pack(uint32_t *weight, const int16_t *u, const hd_geometry *g, uint32_t planes) {
    uint32_t words = hd_geometry_weight_words(g), cpc = planes / g->planes, channels = g->cols / cpc;
    memset(weight, 0, ENTRIES * words * sizeof *weight);
    for (uint32_t e = 0; e < ENTRIES; e++)
        for (uint32_t d = 0; d < g->cols; d++)
            for (uint32_t p = 0; p < g->planes; p++)
                for (uint32_t i = 0; i < g->lanes / 2; i++) {
                    const int16_t *pair = u + ((size_t)e * channels + d / cpc) * g->lanes + 2 * i;
                    uint32_t k = (cpc - 1 - d % cpc) * g->planes + p, bit = d * g->lanes * g->planes + p * g->lanes + 2 * i;
                    int top = 1 << planes, s0 = (pair[0] + top - 1) / 2 >> k & 1, s1 = (pair[1] + top - 1) / 2 >> k & 1;
                    uint32_t *at = weight + e * words;
                    at[bit / 32] |= (uint32_t)(s0 != s1) << (bit % 32);
                    at[(bit + 1) / 32] |= (uint32_t)!s0 << ((bit + 1) % 32);
                }
}

typedef struct layer {
    hd_geometry g;
    uint32_t planes, channels, words;
    int16_t *u;
    uint32_t *weight, books[HD_BOOKS_WORDS];
    uint16_t used[ENTRIES];
} layer;

/* Random weights that a code can say. */
static void make(layer *l, int code, uint32_t cols, uint32_t lanes, uint32_t planes, uint64_t seed) {
    hd_rng rng;
    hd_rng_seed(&rng, seed, 5);
    l->g = (hd_geometry){.rows = 1, .cols = cols, .lanes = lanes, .planes = planes, .pump = 1};
    l->planes = hd_code_planes(code);
    l->channels = cols * planes / l->planes;
    l->words = hd_geometry_weight_words(&l->g);
    size_t n = (size_t)ENTRIES * l->channels * lanes;
    l->u = malloc(n * sizeof *l->u);
    l->weight = malloc(ENTRIES * l->words * sizeof *l->weight);
    for (int i = 0; i < HD_BOOKS_WORDS; i++) l->books[i] = hd_rng_u32(&rng);
    int16_t value[16];
    int start = (int)hd_rng_below(&rng, 1u << l->planes), size = 1 << l->planes;
    for (int i = 0; i < 16; i++) value[i] = (int16_t)(2 * ((start + 3 * i) % size) - size + 1); /* all different */
    for (size_t i = 0; i < n; i += 8) {
        int8_t lattice[8];
        uint32_t a = l->books[hd_rng_below(&rng, 256)], b = l->books[256 + hd_rng_below(&rng, 256)];
        hd_e8p_decode(lattice, (uint16_t)hd_rng_u32(&rng));
        for (int k = 0; k < 8; k++)
            l->u[i + (size_t)k] = (int16_t)(code == HD_CODE_E8P     ? lattice[k]
                                            : code == HD_CODE_BOOKS ? 2 * (int)(((a >> 4 * k) + (b >> 4 * k)) & 15) - 15
                                                                    : value[hd_rng_below(&rng, code == HD_CODE_TABLE16 ? 16 : 4)]);
    }
    for (int i = 0; i < ENTRIES; i++) l->used[i] = (uint16_t)l->channels;
    pack(l->weight, l->u, &l->g, l->planes);
}

static void drop(layer *l) {
    free(l->u);
    free(l->weight);
}

static void found_codes_decode_to_the_weights(void **state) {
    (void)state;
    static const uint32_t shapes[][3] = {{8, 8, 2}, {16, 32, 2}, {8, 16, 4}, {16, 8, 1}, {8, 64, 1}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int code = 0; code < HD_CODES; code++) {
            layer l;
            hd_err err = {0};
            hd_coding c;
            hd_ref_codes tables = {{0}, {{0}}};
            uint32_t word[1024];
            make(&l, code, shapes[s][0], shapes[s][1], shapes[s][2], s);
            /* the last tile has a channel less: what stands in its place is not coded */
            l.used[ENTRIES - 1]--;
            for (uint32_t i = 0; i < l.g.lanes; i++) l.u[((size_t)ENTRIES * l.channels - 1) * l.g.lanes + i] = (int16_t)(i % 4 < 2 ? 15 : -15);
            pack(l.weight, l.u, &l.g, l.planes);
            assert_int_equal(hd_code_find(&c, &l.g, 7, l.weight, ENTRIES, l.used, l.planes, l.books, &err), HD_OK);
            /* 512 words of books are more than some of these layers have in all */
            if (ENTRIES * l.words / 2 <= hd_code_loads(code)) {
                assert_int_equal(c.code, -1);
                drop(&l);
                continue;
            }
            assert_int_equal(c.code, code);
            assert_int_equal(c.n_load, hd_code_loads(code));
            if (c.n_load) hd_ref_codes_load(&tables, code, c.load);
            for (uint32_t e = 0; e < ENTRIES; e++) {
                hd_ref_codes_entry(word, &tables, code, c.payload + e * l.words / 2, &l.g);
                uint32_t same = l.words * l.used[e] / l.channels; /* whole words a channel */
                assert_memory_equal(word, l.weight + e * l.words, same * sizeof *word);
            }
            hd_coding_free(&c);
            /* Not without its decoder, and not for a weight beside the code. */
            assert_int_equal(hd_code_find(&c, &l.g, 7 & ~hd_code_unit(code), l.weight, ENTRIES, l.used, l.planes, l.books, &err), HD_OK);
            assert_int_equal(c.code, -1);
            hd_coding_free(&c);
            int top = (1 << l.planes) - 1, seen = 0;
            for (int v = -top; v <= top && !seen; v += 2) {
                /* an odd value that no table holds; no E8P entry passes 11; and eight of one value are in few books */
                int free_value = 1;
                for (size_t i = 0; i < (size_t)ENTRIES * l.channels * l.g.lanes; i++) free_value &= l.u[i] != v;
                if (!free_value && code != HD_CODE_E8P && code != HD_CODE_BOOKS) continue;
                seen = 1;
                for (int k = 0; k < 8; k++) l.u[k] = (int16_t)v;
            }
            assert_true(seen);
            pack(l.weight, l.u, &l.g, l.planes);
            assert_int_equal(hd_code_find(&c, &l.g, 7, l.weight, ENTRIES, l.used, l.planes, l.books, &err), HD_OK);
            assert_int_equal(c.code, -1);
            hd_coding_free(&c);
            drop(&l);
        }
}

/* Geometries whose entries no code can hold stay as they are. */
static void shapes_without_codes(void **state) {
    (void)state;
    static const uint32_t shapes[][3] = {{8, 4, 2}, {7, 8, 2}, {6, 8, 2}, {2, 8, 1}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        hd_geometry g = {.rows = 1, .cols = shapes[s][0], .lanes = shapes[s][1], .planes = shapes[s][2], .pump = 1};
        for (int code = 0; code < HD_CODES; code++) assert_int_equal(hd_code_fits(code, &g), 0);
    }
    hd_geometry four = {.rows = 1, .cols = 4, .lanes = 8, .planes = 1, .pump = 1};
    assert_int_equal(hd_code_fits(HD_CODE_E8P, &four), 0);
    four.lanes = 16;
    assert_int_equal(hd_code_fits(HD_CODE_E8P, &four), 1);
    assert_int_equal(hd_code_fits(HD_CODE_TABLE16, &four), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(found_codes_decode_to_the_weights), cmocka_unit_test(shapes_without_codes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
