/* Lowering where something just fits or just does not, and where layers are cut, shared or kept: models by hand, the ref device against the integer executor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/integer.h"
#include "../../compiler/compress/model_internal.h"
#include "../../sw/runtime/runtime.h"
#include "../support/random_model.h"

typedef struct layer {
    int cin, cout, k, groups, bits;
    enum hd_grid grid;
} layer;

/* Stages one after the other, each on the output of the one before; weights random on their grid. */
static hd_model *chain(int side, const layer *l, int n, uint64_t seed) {
    hd_rng rng;
    hd_rng_seed(&rng, seed, 3);
    hd_model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->name = strdup("edges");
    m->n_tensors = n + 1;
    m->n_stages = n;
    m->output = n;
    m->tensor = calloc((size_t)n + 1, sizeof *m->tensor);
    m->stage = calloc((size_t)n, sizeof *m->stage);
    assert_true(m->tensor && m->stage);
    m->tensor[0] = (hd_qtensor){.name = strdup("t0"), .h = side, .w = side, .c = l[0].cin, .scale = 1};
    for (int i = 0; i < n; i++) {
        char name[16];
        side -= l[i].k - 1;
        snprintf(name, sizeof name, "t%d", i + 1);
        m->tensor[i + 1] = (hd_qtensor){.name = strdup(name), .h = side, .w = side, .c = l[i].cout, .scale = 1};
        snprintf(name, sizeof name, "s%d", i);
        hd_stage *s = &m->stage[i];
        *s = (hd_stage){.kind = HD_STAGE_CONV, .name = strdup(name), .input = i, .residual = -1, .output = i + 1, .kh = l[i].k, .kw = l[i].k, .sy = 1, .sx = 1, .dy = 1,
                        .dx = 1, .groups = l[i].groups, .cin = l[i].cin, .cout = l[i].cout, .grid = l[i].grid, .bits = l[i].bits,
                        .granularity = HD_GRANULARITY_CHANNEL, .clamp_lo = -128, .clamp_hi = 127};
        size_t weights = (size_t)l[i].cout * (size_t)(l[i].k * l[i].k) * (size_t)(l[i].cin / l[i].groups), cout = (size_t)l[i].cout;
        s->v = calloc(weights, sizeof *s->v);
        s->scale = calloc(cout, sizeof *s->scale);
        s->bias = calloc(cout, sizeof *s->bias);
        s->mult = calloc(cout, sizeof *s->mult);
        s->shift = calloc(cout, 1);
        assert_true(s->v && s->scale && s->bias && s->mult && s->shift);
        int low = hd_grid_min(l[i].grid, l[i].bits), values = (hd_grid_max(l[i].grid, l[i].bits) - low) / 2 + 1;
        for (size_t k = 0; k < weights; k++) s->v[k] = (int16_t)(low + 2 * (int)hd_rng_below(&rng, (uint32_t)values));
        for (size_t k = 0; k < cout; k++) s->scale[k] = 1, s->mult[k] = 40000, s->shift[k] = 22, s->bias[k] = (int32_t)hd_rng_below(&rng, 2000) - 1000;
        m->dense_weights += (uint32_t)weights;
    }
    return m;
}

static hd_status lower(hd_program **p, const hd_model *m, const char *geometry, const char *memory, hd_err *err) {
    hd_geometry g;
    *p = NULL;
    hd_status st = hd_geometry_parse(&g, geometry, err);
    if (!st) st = hd_geometry_memory(&g, memory, err);
    return st ? st : hd_lower(p, m, &g, NULL, err);
}

static hd_program *lowered(const hd_model *m, const char *geometry, const char *memory) {
    hd_program *p;
    hd_err err = {0};
    if (lower(&p, m, geometry, memory, &err)) fail_msg("%s", err.message);
    return p;
}

static void refused(const hd_model *m, const char *geometry, const char *memory, const char *message) {
    hd_program *p;
    hd_err err = {0};
    assert_int_not_equal(lower(&p, m, geometry, memory, &err), HD_OK);
    assert_string_equal(err.message, message);
}

static void same_as_integers(const hd_model *m, const hd_program *p) {
    hd_session *s = NULL;
    hd_integer *e = NULL;
    hd_err err = {0};
    const hd_qtensor *in = &m->tensor[m->input], *out = &m->tensor[m->output];
    size_t n_in = (size_t)(in->h * in->w * in->c), n_out = (size_t)(out->h * out->w * out->c);
    int8_t *x = malloc(n_in), *y = malloc(n_out);
    assert_true(x && y);
    if (hd_session_open(&s, p, &hd_driver_ref, NULL, &err) || hd_integer_new(&e, m, &err)) fail_msg("%s", err.message);
    for (uint64_t run = 0; run < 3; run++) {
        hd_random_codes(in, 5 + run, x);
        if (hd_session_run(s, x, y, &err)) fail_msg("%s", err.message);
        hd_integer_run(e, x);
        assert_memory_equal(y, hd_integer_tensor(e, m->output), n_out);
    }
    hd_session_close(s);
    hd_integer_free(e);
    free(x);
    free(y);
}

/* 256 activations of -128 times one are -2^15, which 16 bits hold; a word more needs 17. */
static void accumulator_just_fits(void **state) {
    (void)state;
    for (int cin = 256; cin <= 260; cin += 4) {
        hd_model *m = chain(1, &(layer){cin, 2, 1, 1, 1, HD_GRID_ODD}, 1, 1);
        for (int i = 0; i < 2 * cin; i++) m->stage->v[i] = 1;
        if (cin == 256) {
            hd_program *p = lowered(m, "2x2x4x1", "acc=16,window=128");
            same_as_integers(m, p);
            hd_program_free(p);
        } else {
            refused(m, "2x2x4x1", "acc=16,window=128", "layer 's0' needs 17 accumulator bits; geometry 2x2x4x1 has 16");
        }
        hd_model_free(m);
    }
}

/* The same with two planes a column: 80 weights of 3 reach -30,720, 88 of them -33,792. */
static void planes_count_by_their_weight(void **state) {
    (void)state;
    for (int cin = 80; cin <= 88; cin += 8) {
        hd_model *m = chain(1, &(layer){cin, 8, 1, 1, 2, HD_GRID_ODD}, 1, 2);
        for (int i = 0; i < 8 * cin; i++) m->stage->v[i] = 3;
        if (cin == 80) {
            hd_program *p = lowered(m, "4x8x8x2", "acc=16");
            same_as_integers(m, p);
            hd_program_free(p);
        } else {
            refused(m, "4x8x8x2", "acc=16", "layer 's0' needs 17 accumulator bits; geometry 4x8x8x2 has 16");
        }
        hd_model_free(m);
    }
}

/* Weights 0 and -2 become plus and minus one less the sum of all activations. 514 pairs of them reach -131,070, which 18 bits hold, but the sum -131,584. */
static void sum_needs_more_than_columns(void **state) {
    (void)state;
    hd_model *m = chain(1, &(layer){1028, 2, 1, 1, 2, HD_GRID_EVEN}, 1, 1);
    for (int i = 0; i < 2 * 1028; i++) m->stage->v[i] = (int16_t)(i % 2 ? -2 : 0);
    refused(m, "2x2x4x1", "acc=18,window=512,act=512", "layer 's0' needs 19 accumulator bits; geometry 2x2x4x1 has 18");
    hd_program *p = lowered(m, "2x2x4x1", "acc=19,window=512,act=512");
    same_as_integers(m, p);
    hd_program_free(p);
    hd_model_free(m);
}

/* The 32 bits behind the columns hold bias plus 1,024 weights of 255 times (a - zero): the zero point counts. */
static void zero_point_in_the_range(void **state) {
    (void)state;
    hd_model *m = chain(1, &(layer){1024, 16, 1, 1, 8, HD_GRID_ODD}, 1, 1);
    for (int i = 0; i < 1024 * 16; i++) m->stage->v[i] = 255;
    for (int i = 0; i < 16; i++) m->stage->bias[i] = INT32_MAX;
    m->tensor[0].zero = 10;
    refused(m, "4x8x8x2", "", "layer 's0', channel 0: accumulator range 2111449087..2178034687; allowed -2147483648..2147483647");
    m->tensor[0].zero = -128;
    refused(m, "4x8x8x2", "", "layer 's0', channel 0: folded bias 2180907007; allowed -2147483648..2147483647");
    /* With zero point 127 nothing is above zero. */
    m->tensor[0].zero = 127;
    hd_program *p;
    hd_err err = {0};
    assert_int_equal(lower(&p, m, "4x8x8x2", "", &err), HD_OK);
    same_as_integers(m, p);
    hd_program_free(p);
    hd_model_free(m);
}

/* Six groups of twelve channels in two slices of 40 and 32: the first slice ends within its fourth group. */
static void slice_ends_within_a_group(void **state) {
    (void)state;
    hd_model *m = chain(5, &(layer){48, 72, 2, 6, 3, HD_GRID_ODD}, 1, 7);
    hd_program *p = lowered(m, "4x8x8x2", "window=16");
    assert_int_equal(p->layer[0].n_desc, 2);
    assert_int_equal(hd_field_get(p->desc, HD_F_COUT), 40);
    assert_int_equal(hd_field_get(p->desc, HD_F_NCB), 4);
    same_as_integers(m, p);
    hd_program_free(p);
    hd_model_free(m);
}

/* 32 entries of several passes fill a ring of 32; 33 do not, and eight channels cannot be cut. */
static void ring_just_fits(void **state) {
    (void)state;
    static const char memory[] = "extern=16,stream=32,mhz=50";
    for (int cin = 256; cin <= 264; cin += 8) {
        hd_model *m = chain(3, &(layer){cin, 8, 1, 1, 2, HD_GRID_ODD}, 1, 11);
        if (cin == 256) {
            hd_program *p = lowered(m, "4x8x8x2", memory);
            assert_int_equal(p->n_stream, 32);
            assert_int_equal(p->layer[0].n_desc, 1);
            same_as_integers(m, p);
            hd_program_free(p);
        } else {
            refused(m, "4x8x8x2", memory, "layer 's0' needs 33 stream words for one pass of a slice; geometry 4x8x8x2 has 32");
        }
        hd_model_free(m);
    }
    /* Sixteen can: two descriptors of 32 entries each, with the inputs of both. */
    hd_model *m = chain(3, &(layer){256, 16, 1, 1, 2, HD_GRID_ODD}, 1, 12);
    hd_program *p = lowered(m, "4x8x8x2", memory);
    assert_int_equal(p->layer[0].n_desc, 2);
    same_as_integers(m, p);
    hd_program_free(p);
    hd_model_free(m);
}

/* Tables that differ in their last entry alone are two; equal ones are one. */
static void tables_by_all_entries(void **state) {
    (void)state;
    for (int same = 0; same < 2; same++) {
        const layer l[2] = {{8, 8, 1, 1, 4, HD_GRID_ODD}, {8, 8, 1, 1, 4, HD_GRID_ODD}};
        hd_model *m = chain(4, l, 2, 13);
        for (int i = 0; i < 2; i++) {
            m->stage[i].has_table = 1;
            for (int c = 0; c < 256; c++) m->stage[i].table[c] = (uint8_t)(255 - c);
        }
        if (!same) m->stage[1].table[255] = 77;
        hd_program *p = lowered(m, "4x8x8x2", "");
        assert_int_equal(p->n_table, same ? 1 : 2);
        assert_int_equal(hd_field_get(p->desc + HD_DESC_WORDS, HD_F_TABLE_ID), same ? 0 : 1);
        same_as_integers(m, p);
        hd_program_free(p);
        hd_model_free(m);
    }
}

/* The output is that of the first layer; those behind it must not take its place. */
static void output_in_the_middle(void **state) {
    (void)state;
    const layer l[3] = {{8, 8, 1, 1, 4, HD_GRID_ODD}, {8, 8, 1, 1, 4, HD_GRID_ODD}, {8, 8, 1, 1, 4, HD_GRID_ODD}};
    hd_model *m = chain(6, l, 3, 17);
    m->output = 1;
    hd_program *p = lowered(m, "4x8x8x2", "");
    same_as_integers(m, p);
    hd_program_free(p);
    hd_model_free(m);
}

/* Weight words of three host words lie four apart, and more than 4,096 of them are written in pieces. */
static void many_entries(void **state) {
    (void)state;
    hd_model *m = chain(1, &(layer){520, 390, 1, 1, 2, HD_GRID_ODD}, 1, 19);
    hd_program *p = lowered(m, "2x6x8x2", "fetch=1,stream=8192,param=512");
    assert_true(p->n_stream > 4096);
    same_as_integers(m, p);
    hd_program_free(p);
    hd_model_free(m);
}

/* Layers on tables, lattices and additive books, one after the other through the decoders: each has its own table there when its entries come. */
static void coded_streams(void **state) {
    (void)state;
    uint64_t loads = 0;
    for (uint64_t seed = 2; seed <= 80; seed += 2) {
        hd_model *m = NULL;
        hd_program *p;
        hd_err err = {0};
        if (hd_random_coded(&m, seed, &err)) fail_msg("%s", err.message);
        if (!lower(&p, m, "4x16x16x2", "extern=16,stream=256,mhz=75,decode=7", &err)) {
            same_as_integers(m, p);
            for (uint32_t at = 0; at < p->n_extern && at < 2; at++) loads += hd_field_get(&p->external[at], HD_S_FORMAT) == HD_SEGMENT_LOAD;
            hd_program_free(p);
        } else if (err.code != HD_NOFIT) {
            fail_msg("seed %d: %s", (int)seed, err.message);
        }
        hd_model_free(m);
    }
    assert_true(loads > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accumulator_just_fits), cmocka_unit_test(planes_count_by_their_weight), cmocka_unit_test(sum_needs_more_than_columns), cmocka_unit_test(zero_point_in_the_range),
        cmocka_unit_test(slice_ends_within_a_group), cmocka_unit_test(ring_just_fits), cmocka_unit_test(tables_by_all_entries),
        cmocka_unit_test(output_in_the_middle), cmocka_unit_test(many_entries), cmocka_unit_test(coded_streams)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
