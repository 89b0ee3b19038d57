/* Pair-gather: what the compiler's lists say is the model's weights, read back bit by bit as docs/formats.md section 3 tells, and the lists are as short as the
 * longest of a tile's pairs; on a grid without zero only lists that can be filled up. Refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../sw/core/rng.h"
#include "../../sw/runtime/runtime.h"
#include "../support/random_model.h"

typedef struct layer {
    int size, cin, cout, k;
    enum hd_grid grid;
    int bits;
} layer;

/* One convolution without padding on a size x size input; weights are 0 until the test sets them. */
static hd_model *conv_model(layer s) {
    hd_model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->name = strdup("gathered");
    m->n_tensors = 2;
    m->n_stages = 1;
    m->output = 1;
    m->tensor = calloc(2, sizeof *m->tensor);
    m->stage = calloc(1, sizeof *m->stage);
    int out = s.size - s.k + 1;
    m->tensor[0] = (hd_qtensor){.name = strdup("in"), .h = s.size, .w = s.size, .c = s.cin, .scale = 1, .zero = -9};
    m->tensor[1] = (hd_qtensor){.name = strdup("out"), .h = out, .w = out, .c = s.cout, .scale = 1, .zero = 5};
    hd_stage *t = m->stage;
    *t = (hd_stage){.kind = HD_STAGE_CONV, .name = strdup("conv"), .residual = -1, .output = 1, .kh = s.k, .kw = s.k, .sy = 1, .sx = 1, .dy = 1, .dx = 1,
                    .groups = 1, .cin = s.cin, .cout = s.cout, .grid = s.grid, .bits = s.bits, .granularity = HD_GRANULARITY_CHANNEL, .clamp_lo = -128, .clamp_hi = 127};
    size_t cout = (size_t)s.cout, n = cout * (size_t)(s.k * s.k * s.cin);
    t->v = calloc(n, sizeof *t->v);
    t->scale = calloc(cout, sizeof *t->scale);
    t->bias = calloc(cout, sizeof *t->bias);
    t->mult = calloc(cout, sizeof *t->mult);
    t->shift = calloc(cout, 1);
    assert_true(t->v && t->scale && t->bias && t->mult && t->shift);
    for (size_t i = 0; i < cout; i++) t->scale[i] = 1, t->mult[i] = 40000, t->shift[i] = 20, t->bias[i] = (int32_t)i * 37 - 100;
    m->dense_weights = (uint32_t)n;
    return m;
}

static int16_t *weight(const hd_model *m, int oc, int tap, int ic) {
    const hd_stage *s = m->stage;
    return &s->v[(oc * s->kh * s->kw + tap) * s->cin + ic];
}

static hd_program *lowered(const hd_model *m, const char *geometry, const char *memory) {
    hd_geometry g;
    hd_err err = {0};
    hd_program *p = NULL;
    hd_lower_options o = {.board = "", .expand_input = 0};
    assert_int_equal(hd_geometry_parse(&g, geometry, &err), HD_OK);
    if (hd_geometry_memory(&g, memory, &err) || hd_lower(&p, m, &g, &o, &err)) fail_msg("%s", err.message);
    return p;
}

static int64_t get(const hd_program *p, hd_field f) { return hd_field_get(p->desc, f); }

/* The sum of all that the stream adds up for lane `lane` of window word `word` in channel oc, as a multiple of the activation there. */
static int64_t adds(const hd_program *p, uint32_t word, uint32_t lane, uint32_t oc) {
    const hd_geometry *g = &p->geometry;
    uint32_t tile = 0, cpc = (uint32_t)get(p, HD_F_CPC), words = hd_geometry_weight_words(g);
    int64_t sum = 0;
    for (uint32_t e = 0; e < p->n_stream; e++) {
        uint32_t read = g->gather ? p->pair[(size_t)e * (g->lanes / 2) + lane / 2] : p->index[e] & hd_field_mask(HD_I_ADDRESS);
        uint32_t last = p->index[e] >> HD_I_LAST.lsb & 1;
        for (uint32_t d = 0; d < (uint32_t)get(p, HD_F_TILE_COLS) && read == word; d++) {
            uint32_t column = tile * (uint32_t)get(p, HD_F_TILE_COLS) + d;
            if (column / cpc != oc) continue;
            for (uint32_t plane = 0; plane < g->planes; plane++) {
                uint32_t at = d * g->lanes * g->planes + plane * g->lanes + lane / 2 * 2, bits = p->weight[(size_t)e * words + at / 32] >> (at % 32);
                int negative = (int)(bits >> 1 & 1) ^ (lane % 2 ? (int)(bits & 1) : 0);
                int64_t value = (int64_t)1 << ((cpc - 1 - column % cpc) * g->planes + plane);
                sum += negative ? -value : value;
            }
            if (get(p, HD_F_EVEN) && column % cpc == cpc - 1) sum--; /* post subtracts the activations once a channel */
        }
        tile += last;
    }
    return sum;
}

/* Every weight, brute force; and no entry more than the longest list of each tile has. */
static void rebuilds(const hd_model *m, const hd_program *p) {
    const hd_stage *s = m->stage;
    const hd_geometry *g = &p->geometry;
    int odd = 0, even = 0;
    for (int i = 0; i < s->cout * s->kh * s->kw * s->cin; i++) odd |= s->v[i] & 1, even |= s->v[i] && !(s->v[i] & 1);
    int factor = get(p, HD_F_EVEN) && odd ? 2 : 1; /* mixed */
    uint32_t ncb = (uint32_t)get(p, HD_F_NCB), taps = (uint32_t)(s->kh * s->kw), entries = 0;
    uint32_t cpc = (uint32_t)get(p, HD_F_CPC), columns = (uint32_t)get(p, HD_F_TILE_COLS), tile_channels = columns > cpc ? columns / cpc : 1, parts = cpc > columns ? cpc / columns : 1;
    assert_int_equal(p->n_desc, 2);
    for (uint32_t oc = 0; oc < (uint32_t)s->cout; oc++)
        for (uint32_t w = 0; w < taps * ncb; w++)
            for (uint32_t l = 0; l < g->lanes; l++) {
                uint32_t ic = w % ncb * g->lanes + l;
                if (ic < (uint32_t)s->cin) assert_int_equal(adds(p, w, l, oc), factor * *weight(m, (int)oc, (int)(w / ncb), (int)ic));
            }
    for (uint32_t c = 0; c < (uint32_t)get(p, HD_F_NCH); c += tile_channels) {
        uint32_t most = 0;
        for (uint32_t k = 0; k < g->lanes / 2; k++) {
            uint32_t n = 0;
            for (uint32_t w = 0; w < taps * ncb; w++) {
                int some = 0;
                for (uint32_t oc = c; oc < c + tile_channels && oc < (uint32_t)s->cout; oc++)
                    for (uint32_t ic = w % ncb * g->lanes + 2 * k; ic < w % ncb * g->lanes + 2 * k + 2 && ic < (uint32_t)s->cin; ic++)
                        some |= *weight(m, (int)oc, (int)(w / ncb), (int)ic) != 0;
                n += (uint32_t)some;
            }
            most = n > most ? n : most;
        }
        entries += parts * (most ? most : get(p, HD_F_EVEN) ? 1 : 2);
    }
    assert_int_equal(p->n_stream, entries);
    for (uint32_t e = 0; e < p->n_stream; e++) {
        uint32_t most = 0;
        for (uint32_t k = 0; k < g->lanes / 2; k++) most = p->pair[e * g->lanes / 2 + k] > most ? p->pair[e * g->lanes / 2 + k] : most;
        assert_int_equal(p->index[e] & hd_field_mask(HD_I_ADDRESS), most);
    }
}

/* The program on ref against the sums of docs/formats.md section 1, written as loops. */
static void computes(const hd_model *m, const hd_program *p) {
    hd_err err = {0};
    hd_session *s = NULL;
    const hd_qtensor *in = &m->tensor[0], *out = &m->tensor[1];
    const hd_stage *t = m->stage;
    int8_t *x = malloc((size_t)(in->h * in->w * in->c)), *y = malloc((size_t)(out->h * out->w * out->c));
    assert_true(x && y);
    hd_random_codes(in, 5, x);
    if (hd_session_open(&s, p, &hd_driver_ref, NULL, &err) || hd_session_run(s, x, y, &err)) fail_msg("%s", err.message);
    for (int oy = 0; oy < out->h; oy++)
        for (int ox = 0; ox < out->w; ox++)
            for (int oc = 0; oc < out->c; oc++) {
                int64_t acc = t->bias[oc];
                for (int tap = 0; tap < t->kh * t->kw; tap++)
                    for (int ic = 0; ic < in->c; ic++)
                        acc += *weight(m, oc, tap, ic) * (x[((oy + tap / t->kw) * in->w + ox + tap % t->kw) * in->c + ic] - in->zero);
                int64_t q = (acc * t->mult[oc] + ((int64_t)1 << (t->shift[oc] - 1))) >> t->shift[oc], v = q + out->zero;
                assert_int_equal(y[(oy * out->w + ox) * out->c + oc], v < -128 ? -128 : v > 127 ? 127 : v);
            }
    hd_session_close(s);
    free(x);
    free(y);
}

/* Random zeros, one by one and in pairs, on grids with zero: channels that fill no tile, lanes that no channel fills, several planes a column or tiles a channel. */
static void any_zeros(void **state) {
    (void)state;
    static const struct {
        layer s;
        const char *geometry;
        uint32_t density; /* of a hundred */
        int run;          /* zeros come for so many channels together */
    } of[] = {{{5, 24, 20, 3, HD_GRID_EVEN, 4}, "3x8x8x2", 40, 4},   {{4, 20, 9, 3, HD_GRID_TERNARY, 2}, "2x4x8x2", 20, 4}, {{3, 13, 5, 1, HD_GRID_EVEN, 8}, "2x2x4x1", 30, 1},
              {{4, 32, 8, 2, HD_GRID_EVEN, 3}, "4x8x16x4", 10, 8}, {{4, 8, 3, 1, HD_GRID_EVEN, 2}, "2x2x4x1", 0, 1}};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        hd_rng rng;
        hd_rng_seed(&rng, 11, i);
        hd_model *m = conv_model(of[i].s);
        for (int tap = 0; tap < of[i].s.k * of[i].s.k; tap++)
            for (int ic = 0; ic < of[i].s.cin; ic++)
                for (int oc = 0; oc < of[i].s.cout; oc += of[i].run) {
                    int kept = hd_rng_below(&rng, 100) < of[i].density;
                    for (int j = oc; j < oc + of[i].run && j < of[i].s.cout && kept; j++) {
                        int most = of[i].s.grid == HD_GRID_TERNARY ? 1 : (1 << (of[i].s.bits - 1)) - 1;
                        *weight(m, j, tap, ic) = (int16_t)(2 * ((int)hd_rng_below(&rng, (uint32_t)(2 * most + 1)) - most));
                    }
                }
        hd_program *p = lowered(m, of[i].geometry, "gather=1");
        rebuilds(m, p);
        computes(m, p);
        hd_program_free(p);
        hd_model_free(m);
    }
}

/* Odd weights: pair k of the tile keeps the first kept[k] of its words. Lists as long as each other, or shorter by a multiple of two, or with a pad lane to read
 * keep the grid; else it takes one with zero, and a bit more. */
static void odd_grid(void **state) {
    (void)state;
    static const struct {
        int cin, kept[4];
        uint32_t planes, entries;
    } of[] = {{32, {3, 3, 3, 3}, 2, 3}, {32, {1, 3, 3, 3}, 2, 3}, {32, {4, 2, 0, 4}, 2, 4}, {32, {2, 3, 3, 3}, 3, 3}, {28, {4, 4, 3, 2}, 2, 4}, {28, {4, 3, 3, 3}, 3, 4}};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        hd_model *m = conv_model((layer){3, of[i].cin, 4, 1, HD_GRID_ODD, 2});
        for (int oc = 0; oc < 4; oc++)
            for (int ic = 0; ic < of[i].cin; ic++)
                if (ic / 8 < of[i].kept[ic % 8 / 2]) *weight(m, oc, 0, ic) = (int16_t)(2 * ((oc + ic) % 4) - 3);
        hd_program *p = lowered(m, "2x4x8x2", "gather=1");
        assert_int_equal(p->layer[0].planes, of[i].planes);
        if (of[i].planes == 2) assert_int_equal(p->n_stream, of[i].entries);
        rebuilds(m, p);
        computes(m, p);
        hd_program_free(p);
        hd_model_free(m);
    }
}

/* Half of the pair blocks, another half for each pair: whole blocks skip nothing, pairs half. */
static void skips(void **state) {
    (void)state;
    hd_model *m = conv_model((layer){6, 32, 8, 3, HD_GRID_ODD, 2});
    for (int oc = 0; oc < 8; oc++)
        for (int tap = 0; tap < 9; tap++)
            for (int ic = 0; ic < 32; ic++)
                if ((tap * 4 + ic / 8 + ic / 2) % 2) *weight(m, oc, tap, ic) = (int16_t)((oc ^ ic) % 2 ? 3 : -1);
    hd_program *whole = lowered(m, "4x8x8x2", ""), *pairs = lowered(m, "4x8x8x2", "gather=1");
    assert_int_equal(whole->n_stream, 2 * 36); /* a grid with zero as well: two columns a channel */
    assert_int_equal(pairs->n_stream, 18);
    assert_int_equal(pairs->layer[0].blocks, 36 * 4);
    assert_int_equal(pairs->layer[0].blocks_present, 18 * 4);
    assert_int_equal(pairs->layer[0].planes, 2);
    computes(m, whole);
    computes(m, pairs);
    hd_program_free(whole);
    hd_program_free(pairs);
    hd_model_free(m);
}

#define PATH "test_gather.hdp"

static void files_and_devices(void **state) {
    (void)state;
    hd_err err = {0};
    hd_model *m = conv_model((layer){4, 32, 8, 1, HD_GRID_ODD, 2});
    for (int oc = 0; oc < 8; oc++)
        for (int ic = 0; ic < 32; ic++)
            if ((ic / 8 + ic / 2) % 2) *weight(m, oc, 0, ic) = 1;
    hd_program *p = lowered(m, "4x8x8x2", "gather=1"), *q = NULL;
    if (hd_program_save(p, PATH, &err) || hd_program_load(&q, PATH, &err)) fail_msg("%s", err.message);
    assert_int_equal(q->geometry.gather, 1);
    assert_int_equal(q->n_stream, 2);
    assert_memory_equal(p->pair, q->pair, p->n_stream * 4 * sizeof *p->pair);
    hd_program_free(q);

    /* A file of the version before has no room for pairs. */
    FILE *f = fopen(PATH, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 4, SEEK_SET), 0);
    assert_int_equal(fputc(3, f), 3);
    fclose(f);
    assert_int_not_equal(hd_program_load(&q, PATH, &err), HD_OK);
    assert_non_null(strstr(err.message, "version 3"));
    unlink(PATH);

    p->pair[1]++;
    p->pair[0] = 0;
    char text[128];
    uint32_t most = 0;
    for (int k = 0; k < 4; k++) most = p->pair[k] > most ? p->pair[k] : most;
    p->index[0] = (uint16_t)(p->index[0] & ~hd_field_mask(HD_I_ADDRESS));
    assert_int_equal(hd_program_check(p, &err), HD_FORMAT);
    snprintf(text, sizeof text, "descriptor 0: stream entry 0 has window word 0; its pairs' largest is %u", most);
    assert_string_equal(err.message, text);
    p->pair[2] = 4;
    p->index[0] |= 4;
    assert_int_equal(hd_program_check(p, &err), HD_FORMAT);
    assert_string_equal(err.message, "descriptor 0: stream entry 0 has window word 4; allowed up to 3");
    hd_program_free(p);
    hd_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_zeros), cmocka_unit_test(odd_grid), cmocka_unit_test(skips), cmocka_unit_test(files_and_devices)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
