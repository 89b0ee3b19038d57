/* Geometries and lowering: the worked block of docs/formats.md, encodings, slices, input expansion, and the exact text of every refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/compress.h"
#include "../../compiler/compress/integer.h"
#include "../../sw/runtime/runtime.h"
#include "../support/random_model.h"

/* ---- geometries ---- */

static void geometry_defaults(void **state) {
    (void)state;
    hd_geometry g;
    hd_err err = {0};
    assert_int_equal(hd_geometry_parse(&g, "4x8x8x2", &err), HD_OK);
    assert_int_equal(g.rows * 1000000 + g.cols * 10000 + g.lanes * 100 + g.planes, 4080802);
    assert_int_equal(g.hop, 8);
    assert_int_equal(g.acc_bits, 24);
    assert_int_equal(hd_geometry_weight_words(&g), 4);
    assert_int_equal(hd_geometry_parse(&g, "3x7x8x2", &err), HD_OK);
    assert_int_equal(g.hop, 7);
    assert_int_equal(hd_geometry_weight_words(&g), 4); /* 112 bits */
    assert_int_equal(hd_geometry_parse(&g, "16x64x64x4", &err), HD_OK);
    assert_int_equal(g.hop, 8);
    assert_int_equal(hd_geometry_memory(&g, "act=4096,window=256,stream=8192,param=512,descriptors=64,tables=2,hop=4,acc=20,fetch=1", &err), HD_OK);
    assert_int_equal(g.act_words, 4096);
    assert_int_equal(g.tables, 2);
    assert_int_equal(g.hop, 4);
    assert_int_equal(g.acc_bits, 20);
    /* A weight element of each part of the lanes is a whole number of words. */
    assert_int_equal(hd_geometry_parse(&g, "3x5x32x2", &err), HD_OK);
    assert_int_equal(hd_geometry_weight_words(&g), 10);
    assert_int_equal(hd_geometry_memory(&g, "pump=4,post=4,fetch=1,residual=0,pool=0", &err), HD_OK);
    assert_int_equal(hd_geometry_weight_words(&g), 12);
}

static void geometry_errors(void **state) {
    (void)state;
    static const struct {
        const char *text, *memory, *message;
    } bad[] = {
        {"4x8x8", NULL, "geometry '4x8x8': expected ROWSxCOLSxLANESxPLANES, such as 4x8x8x2"},
        {"4x8x8x2x", NULL, "geometry '4x8x8x2x': expected ROWSxCOLSxLANESxPLANES, such as 4x8x8x2"},
        {"", NULL, "geometry '': expected ROWSxCOLSxLANESxPLANES, such as 4x8x8x2"},
        {"4x8x8x99999999999", NULL, "geometry '4x8x8x99999999999': expected ROWSxCOLSxLANESxPLANES, such as 4x8x8x2"},
        {"17x8x32x2", NULL, "geometry: rows 17; allowed 1..16"},
        {"0x8x8x2", NULL, "geometry: rows 0; allowed 1..16"},
        {"4x65x8x2", NULL, "geometry: cols 65; allowed 1..64"},
        {"4x8x12x2", NULL, "geometry: lanes 12; allowed powers of two 4..64"},
        {"4x8x128x2", NULL, "geometry: lanes 128; allowed powers of two 4..64"},
        {"8x8x4x2", NULL, "geometry: rows 8; allowed at most lanes, 4"},
        {"4x8x8x3", NULL, "geometry: planes 3; allowed 1, 2 or 4"},
        {"4x8x8x2", "fetch=3", "geometry: fetch 3; allowed 1 or 2"},
        {"4x8x16x4", "acc=16", "geometry: acc 16 bits; 16 lanes of 4 planes need 17 or more"},
        {"4x8x8x2", "hop=9", "geometry: hop 9; allowed 1..cols, 8"},
        {"4x8x8x2", "hop=3", "geometry: hop*lanes*planes = 48; with hop < cols only multiples of 32 are allowed"},
        {"4x8x8x2", "acc=15", "geometry: acc 15 bits; allowed 16..32"},
        {"4x8x8x2", "act=1000", "geometry: memory act=1000; allowed powers of two 64..4194304"},
        {"4x8x8x2", "tables=32", "geometry: memory tables=32; allowed 0 and powers of two 1..16"},
        {"4x8x8x2", "decode=1", "geometry: decode 1 with extern 0, 4x8x8x2; allowed 0..7, above 0 with extern, lanes of 8 or more, cols*planes a multiple of 4 and cols*lanes*planes of 64"},
        {"3x7x8x2", "extern=16,decode=2", "geometry: decode 2 with extern 16, 3x7x8x2; allowed 0..7, above 0 with extern, lanes of 8 or more, cols*planes a multiple of 4 and cols*lanes*planes of 64"},
        {"4x8x8x2", "ram=5", "memory 'ram': allowed act, window, stream, param, descriptors, tables, hop, acc, fetch, post, residual, extern, mhz, decode, pump, pool, slot, gather, sums, perf"},
        {"4x8x8x2", "gather=2", "geometry: gather=2 with pump=1,slot=1,extern=0; allowed 0, or 1 with pump=1,slot=1,extern=0"},
        {"4x8x8x2", "gather=1,extern=16", "geometry: gather=1 with pump=1,slot=1,extern=16; allowed 0, or 1 with pump=1,slot=1,extern=0"},
        {"4x8x64x2", "gather=1,stream=1048576", "geometry: gather=1 with stream=1048576 and 64 lanes: index memory of 33554432 host words; allowed below 16777216"},
        {"4x8x8x2", "slot=4", "geometry: slot=4 with post=0,fetch=2,pool=1; allowed 1, or lanes/2, 4, with post 1 or more, fetch=1,pool=0"},
        {"4x8x8x2", "extern=9", "geometry: extern 9; allowed 0 or 10..23"},
        {"4x8x8x2", "extern=20,mhz=15", "geometry: mhz 15 with extern 20; allowed 16..133"},
        {"4x8x8x2", "mhz=50", "geometry: mhz 50 without external memory; it goes with extern=10 to 23"},
        {"4x8x8x2", "pump=3", "geometry: pump 3; allowed 1, 2 or 4"},
        {"4x8x8x2", "pump=4", "geometry: lanes/pump = 2; allowed 4 or more"},
        {"2x8x32x2", "pump=4,post=8,fetch=1,pool=0", "geometry: pump=4 with post=8,fetch=1,residual=1,pool=0; allowed only with post 4, 8 or 16, fetch=1,residual=0,pool=0, or with slot=16"},
        {"2x8x32x1", "pump=4,post=8,fetch=1,pool=0,residual=0,hop=6", "geometry: hop*lanes/pump*planes = 48; with hop < cols only multiples of 32 are allowed"},
        {"2x8x32x2", "pump=4,post=8,fetch=1,pool=0,residual=0,extern=20", "geometry: extern 20 with pump 4; allowed only with pump 1"},
        {"4x8x8x2", "pool=2", "geometry: pool 2; allowed 0 or 1"},
        {"4x8x8x2", "act", "memory 'act': expected act=NUMBER, of at most nine digits"},
        {"4x8x8x2", "act=12k,hop=8", "memory 'act=12k': expected act=NUMBER, of at most nine digits"},
        {"4x8x8x2", "hop=4,acc=9999999999", "memory 'acc=9999999999': expected acc=NUMBER, of at most nine digits"},
        {"4x8x8x2", "post=3", "geometry: post 3 with 4 rows; allowed 0, 1, 2, 4, 8 or 16, and 1 only with two rows or more"},
        {"1x8x8x2", "post=1", "geometry: post 1 with 1 rows; allowed 0, 1, 2, 4, 8 or 16, and 1 only with two rows or more"},
        {"1x8x8x2", "pump=2,post=2,fetch=1,pool=0,slot=4", "geometry: pump=2 with rows*post = 2; allowed 4 or more"},
        {"4x8x8x2", "residual=2", "geometry: residual 2; allowed 0 or 1"},
        {"4x8x8x2", "sums=2", "geometry: sums 2; allowed 0 or 1"},
        {"4x8x8x2", "perf=2", "geometry: perf 2; allowed 0 or 1"},
        {"4x8x8x2", "extern=20,slot=4,post=4,fetch=1,pool=0", "geometry: extern 20 with slot 4; allowed only with slot 1"},
        {"4x8x8x2", "extern=20,decode=1,sums=0", "geometry: decode 1 with sums 0; allowed only with sums 1"},
        {"4x8x8x2", "acc=20,", "memory 'acc=20,': ends in a comma"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hd_geometry g = {0}, before;
        hd_err err = {0};
        hd_status st = hd_geometry_parse(&g, bad[i].text, &err);
        before = g;
        if (!st && bad[i].memory) st = hd_geometry_memory(&g, bad[i].memory, &err);
        assert_int_not_equal(st, HD_OK);
        assert_string_equal(err.message, bad[i].message);
        assert_memory_equal(&g, &before, sizeof g);
    }
}

/* ---- models by hand ---- */

typedef struct shape {
    int h, w, cin, cout, k, groups;
    enum hd_grid grid;
    int bits;
} shape;

/* One convolution without padding, all weights `v`. */
static hd_model *conv_model(shape s, int v) {
    hd_model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->name = strdup("hand");
    m->n_tensors = 2;
    m->n_stages = 1;
    m->output = 1;
    m->tensor = calloc(2, sizeof *m->tensor);
    m->stage = calloc(1, sizeof *m->stage);
    m->tensor[0] = (hd_qtensor){.name = strdup("in"), .h = s.h, .w = s.w, .c = s.cin, .scale = 1};
    m->tensor[1] = (hd_qtensor){.name = strdup("out"), .h = s.h - s.k + 1, .w = s.w - s.k + 1, .c = s.cout, .scale = 1};
    size_t n = (size_t)s.cout * (size_t)(s.k * s.k) * (size_t)(s.cin / s.groups), cout = (size_t)s.cout;
    hd_stage *t = m->stage;
    *t = (hd_stage){.kind = HD_STAGE_CONV, .name = strdup("fc1"), .residual = -1, .output = 1, .kh = s.k, .kw = s.k, .sy = 1, .sx = 1, .dy = 1,
                    .dx = 1, .groups = s.groups, .cin = s.cin, .cout = s.cout, .grid = s.grid, .bits = s.bits, .granularity = HD_GRANULARITY_CHANNEL,
                    .clamp_lo = -128, .clamp_hi = 127};
    t->v = calloc(n, sizeof *t->v);
    t->scale = calloc(cout, sizeof *t->scale);
    t->bias = calloc(cout, sizeof *t->bias);
    t->mult = calloc(cout, sizeof *t->mult);
    t->shift = calloc(cout, 1);
    assert_true(t->v && t->scale && t->bias && t->mult && t->shift);
    for (size_t i = 0; i < n; i++) t->v[i] = (int16_t)v;
    for (size_t i = 0; i < cout; i++) t->scale[i] = 1, t->mult[i] = 40000, t->shift[i] = 18;
    m->dense_weights = (uint32_t)n;
    return m;
}

static hd_program *lowered(const hd_model *m, const char *geometry, const char *memory, int expand) {
    hd_geometry g;
    hd_err err = {0};
    hd_program *p = NULL;
    hd_lower_options o = {.board = "", .expand_input = expand};
    assert_int_equal(hd_geometry_parse(&g, geometry, &err), HD_OK);
    if (hd_geometry_memory(&g, memory, &err) || hd_lower(&p, m, &g, &o, &err)) fail_msg("%s", err.message);
    return p;
}

/* docs/formats.md section 6. */
static void worked_block(void **state) {
    (void)state;
    hd_model *m = conv_model((shape){1, 1, 4, 1, 1, 1, HD_GRID_ODD, 2}, 1);
    const int16_t v[4] = {-3, 1, 3, -1};
    const int8_t a[4] = {10, -20, 5, 7};
    memcpy(m->stage->v, v, sizeof v);
    m->tensor[1].zero = 3;
    hd_program *p = lowered(m, "2x2x4x1", "", 0);
    assert_int_equal(p->n_stream, 1);
    assert_int_equal(p->weight[0], 0x27);
    assert_int_equal(p->index[0], 0xa000); /* LAST, FINAL, window word 0 */
    assert_int_equal((int32_t)p->param[0], 3);
    assert_int_equal(p->param[1], 40000 | 18 << 16);
    assert_int_equal(p->layer[0].planes, 2);
    assert_int_equal(p->layer[0].useful_ops, 4 * 2);
    assert_int_equal(p->layer[0].macs, 4);
    hd_session *s = NULL;
    hd_err err = {0};
    int8_t y = 0;
    assert_int_equal(hd_session_open(&s, p, &hd_driver_ref, NULL, &err), HD_OK);
    assert_int_equal(hd_session_run(s, a, &y, &err), HD_OK);
    assert_int_equal(y, -3);
    hd_session_close(s);
    hd_program_free(p);
    hd_model_free(m);
}

static int64_t get(const hd_program *p, uint32_t desc, hd_field f) {
    return hd_field_get(p->desc + desc * HD_DESC_WORDS, f);
}

/* All odd, all even, and odd weights with holes inside an array block. */
static void encodings(void **state) {
    (void)state;
    hd_model *m = conv_model((shape){4, 4, 16, 8, 1, 1, HD_GRID_ODD, 2}, 3);
    hd_program *p = lowered(m, "4x8x8x2", "", 0);
    assert_int_equal(p->layer[0].planes, 2);
    assert_int_equal(get(p, 0, HD_F_EVEN), 0);
    assert_int_equal(get(p, 0, HD_F_CPC), 1);
    assert_int_equal(p->layer[0].blocks, 2);
    assert_float_equal(p->layer[0].zeros_used, 1, 0);
    hd_program_free(p);
    hd_stage *s = m->stage;
    s->block_in = s->block_out = 8;
    s->present = calloc(2, 1);
    s->present[1] = 1;
    for (size_t i = 0; i < 128; i++)
        if (i % 16 < 8) s->v[i] = 0;
    p = lowered(m, "4x8x8x2", "", 0);
    assert_int_equal(p->layer[0].planes, 2);
    assert_int_equal(p->layer[0].blocks_present, 1);
    assert_float_equal(p->layer[0].zeros_used, 1, 0);
    assert_int_equal(p->n_stream, 1);
    assert_int_equal(p->layer[0].useful_ops, 16 * 8 * 8 * 2);
    hd_program_free(p);
    /* A 16-lane array cannot skip the holes: they become weights of a grid with zero. */
    p = lowered(m, "8x4x16x2", "", 0);
    assert_int_equal(p->layer[0].planes, 3);
    assert_int_equal(get(p, 0, HD_F_EVEN), 1);
    assert_int_equal(get(p, 0, HD_F_CPC), 2);
    assert_float_equal(p->layer[0].zeros_used, 0, 0);
    assert_int_equal(p->param[1] >> 16, 19);
    hd_program_free(p);
    s->grid = HD_GRID_EVEN;
    for (size_t i = 0; i < 128; i++) s->v[i] = i % 16 < 8 ? 0 : -4;
    p = lowered(m, "8x4x16x2", "", 0);
    assert_int_equal(p->layer[0].planes, 2); /* u = v + 1 = -3 */
    assert_int_equal(get(p, 0, HD_F_CPC), 1);
    assert_int_equal(p->param[1] >> 16, 18);
    hd_program_free(p);
    hd_model_free(m);
}

/* A depthwise layer whose window does not fit is cut along its channels; a dense one cannot be. */
static void slices(void **state) {
    (void)state;
    hd_model *m = conv_model((shape){5, 5, 64, 64, 3, 64, HD_GRID_ODD, 4}, 5);
    hd_program *p = lowered(m, "4x8x8x2", "window=64", 0);
    assert_int_equal(p->layer[0].n_desc, 2); /* 9 * 8 words do not fit, 9 * 4 do */
    assert_int_equal(get(p, 0, HD_F_NCB), 4);
    assert_int_equal(get(p, 1, HD_F_NCB), 4);
    assert_int_equal(get(p, 1, HD_F_OUT_START) - get(p, 0, HD_F_OUT_START), 4);
    assert_int_equal(get(p, 1, HD_F_IN_START) - get(p, 0, HD_F_IN_START), 4);
    assert_int_equal(p->layer[0].useful_ops, 9 * 64 * 9 * p->layer[0].planes);
    assert_int_equal(p->layer[0].blocks_present, 64 / get(p, 0, HD_F_TILE_COLS) * get(p, 0, HD_F_CPC) * 9);
    hd_program_free(p);
    hd_model_free(m);
}

static void refuse(const hd_model *m, const char *geometry, const char *memory, const char *message) {
    hd_geometry g;
    hd_err err = {0};
    hd_program *p = NULL;
    assert_int_equal(hd_geometry_parse(&g, geometry, &err), HD_OK);
    assert_int_equal(hd_geometry_memory(&g, memory, &err), HD_OK);
    assert_int_not_equal(hd_lower(&p, m, &g, NULL, &err), HD_OK);
    assert_null(p);
    assert_string_equal(err.message, message);
}

/* A global average over 64 channels, words of 16: one descriptor whose positions are the words, with the entries and parameters of one word and a window of a word for each pixel. */
static void turned_average(void **state) {
    (void)state;
    enum { SIDE = 8, CHANNELS = 64 };
    hd_model *m = conv_model((shape){SIDE, SIDE, CHANNELS, CHANNELS, SIDE, CHANNELS, HD_GRID_EVEN, 2}, 2);
    for (int i = 0; i < CHANNELS; i++) m->stage->mult[i] = 32768, m->stage->shift[i] = 22; /* the sum of 2 a over 128 */
    static int8_t a[SIDE * SIDE * CHANNELS], y[CHANNELS];
    hd_random_codes(&m->tensor[0], 5, a);
    const struct {
        const char *geometry, *memory;
        uint32_t n_stream, window;
    } built[] = {{"4x2x16x2", "window=64,fetch=1,post=1,pump=2,pool=0,slot=8,sums=0,stream=1024", 16 / 2 * SIDE * SIDE * 2, 64},
                 {"4x8x16x4", "", 2 * SIDE * SIDE, 64},
                 {"3x4x8x2", "fetch=1", 2 * SIDE * SIDE, 64},
                 {"2x2x4x1", "", 4 * SIDE * SIDE, 64}};
    for (size_t i = 0; i < sizeof built / sizeof *built; i++) {
        hd_program *p = lowered(m, built[i].geometry, built[i].memory, 0);
        assert_int_equal(p->layer[0].n_desc, 1);
        assert_int_equal(p->n_stream, built[i].n_stream);
        assert_int_equal(p->n_param, p->geometry.lanes);
        assert_int_equal(get(p, 0, HD_F_KH) * get(p, 0, HD_F_KW) * get(p, 0, HD_F_NCB), built[i].window);
        assert_int_equal(get(p, 0, HD_F_POSITIONS), CHANNELS / p->geometry.lanes);
        assert_int_equal(p->layer[0].macs, SIDE * SIDE * CHANNELS);
        hd_session *s = NULL;
        hd_err err = {0};
        memset(y, 0x55, sizeof y);
        assert_int_equal(hd_session_open(&s, p, &hd_driver_ref, NULL, &err), HD_OK);
        assert_int_equal(hd_session_run(s, a, y, &err), HD_OK);
        hd_session_close(s);
        hd_program_free(p);
        for (int c = 0; c < CHANNELS; c++) {
            int sum = 0;
            for (int k = 0; k < SIDE * SIDE; k++) sum += a[k * CHANNELS + c];
            assert_int_equal(y[c], (sum + 32) >> 6);
        }
    }
    hd_model_free(m);
}

/* An average of 8 x 8 pixels at four places, over 64 channels, a word of 16 at a time: the four slices have the same entries, which lie in the stream memory once. */
static void shared_entries(void **state) {
    (void)state;
    enum { SIDE = 8, IN = 9, CHANNELS = 64 };
    const char *memory = "window=64,fetch=1,post=1,pump=2,pool=0,slot=8,sums=0,stream=1024";
    hd_model *m = conv_model((shape){IN, IN, CHANNELS, CHANNELS, SIDE, CHANNELS, HD_GRID_EVEN, 2}, 2);
    for (int i = 0; i < CHANNELS; i++) m->stage->mult[i] = 32768, m->stage->shift[i] = 22; /* the sum of 2 a over 128 */
    hd_program *p = lowered(m, "4x2x16x2", memory, 0);
    assert_int_equal(p->layer[0].n_desc, 4);
    assert_int_equal(p->n_stream, 16 / 2 * SIDE * SIDE * 2);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(get(p, i, HD_F_STREAM_FIRST), 0);
        assert_int_equal(get(p, i, HD_F_STREAM_LAST), 1023);
        assert_int_equal(get(p, i, HD_F_IN_START), i);
        assert_int_equal(get(p, i, HD_F_PARAM_FIRST), 0);
    }
    assert_int_equal(p->n_param, 16);
    static int8_t a[IN * IN * CHANNELS], y[4 * CHANNELS];
    hd_random_codes(&m->tensor[0], 5, a);
    hd_session *s = NULL;
    hd_err err = {0};
    assert_int_equal(hd_session_open(&s, p, &hd_driver_ref, NULL, &err), HD_OK);
    assert_int_equal(hd_session_run(s, a, y, &err), HD_OK);
    hd_session_close(s);
    hd_program_free(p);
    for (int o = 0; o < 4; o++)
        for (int c = 0; c < CHANNELS; c++) {
            int sum = 0;
            for (int i = 0; i < SIDE * SIDE; i++) sum += a[((o / 2 + i / SIDE) * IN + o % 2 + i % SIDE) * CHANNELS + c];
            assert_int_equal(y[o * CHANNELS + c], (sum + 32) >> 6);
        }
    /* One other weight in the last slice, and it has entries of its own. */
    m->stage->v[(CHANNELS - 1) * SIDE * SIDE] = -2;
    p = lowered(m, "4x2x16x2", "window=64,fetch=1,post=1,pump=2,pool=0,slot=8,sums=0,stream=2048", 0);
    assert_int_equal(p->n_stream, 2048);
    assert_int_equal(get(p, 2, HD_F_STREAM_FIRST), 0);
    assert_int_equal(get(p, 3, HD_F_STREAM_FIRST), 1024);
    hd_program_free(p);
    /* Another scale in the third slice, and it has parameters of its own, but not the fourth. */
    m->stage->v[(CHANNELS - 1) * SIDE * SIDE] = 2;
    m->stage->mult[40] = 32769;
    p = lowered(m, "4x2x16x2", memory, 0);
    assert_int_equal(p->n_param, 32);
    assert_int_equal(get(p, 1, HD_F_PARAM_FIRST), 0);
    assert_int_equal(get(p, 2, HD_F_PARAM_FIRST), 16);
    assert_int_equal(p->param[2 * 24 + 1] & 0xffff, 32769);
    assert_int_equal(get(p, 3, HD_F_PARAM_FIRST), 0);
    hd_program_free(p);
    m->stage->mult[40] = 32768;
    m->stage->v[(CHANNELS - 1) * SIDE * SIDE] = -2;
    refuse(m, "4x2x16x2", memory, "layer 'fc1' needs 2048 stream words (with the layers before it), at least; geometry 4x2x16x2 has 1024");
    hd_model_free(m);
}

/* A window wider than a descriptor's field, as a spectrum's has, goes by an expanded input only. */
static void wide_window(void **state) {
    (void)state;
    enum { LENGTH = 900, KERNEL = 300, STRIDE = 100, POSITIONS = 7, OUTPUTS = 6 };
    hd_err err = {0};
    hd_graph *g = hd_graph_new("spectrum");
    g->input = hd_graph_add_tensor(g, "x", (hd_shape){1, 1, LENGTH});
    g->output = hd_graph_add_tensor(g, "y", (hd_shape){OUTPUTS, 1, POSITIONS});
    int at = hd_graph_add_node(g, HD_OP_CONV2D, "wide");
    hd_node *n = &g->node[at];
    n->input[0] = g->input;
    n->output = g->output;
    n->kh = 1;
    n->kw = KERNEL;
    n->sx = STRIDE;
    n->cin = 1;
    n->cout = OUTPUTS;
    n->weight = malloc(hd_node_weights(n) * sizeof(float));
    static float x[4 * LENGTH];
    for (int i = 0; i < OUTPUTS * KERNEL; i++) n->weight[i] = sinf((float)(i / KERNEL + 1) * (float)(i % KERNEL));
    for (int i = 0; i < 4 * LENGTH; i++) x[i] = sinf((float)i * 0.37f);
    const hd_idx calib = {.type = HD_IDX_F32, .rank = 2, .dim = {4, LENGTH}, .item = LENGTH, .data = x};
    hd_policy policy;
    hd_model *m = NULL;
    hd_policy_default(&policy);
    if (hd_compress(&m, g, &policy, &calib, 4, 0, &err)) fail_msg("%s", err.message);
    hd_program *p = lowered(m, "4x8x8x2", "", -1);
    assert_int_equal(p->input.expanded, 1);
    assert_int_equal(p->input.kw, KERNEL);
    hd_session *s = NULL;
    hd_integer *e = NULL;
    static int8_t a[LENGTH], y[OUTPUTS * POSITIONS];
    hd_random_codes(&m->tensor[m->input], 7, a);
    if (hd_session_open(&s, p, &hd_driver_ref, NULL, &err) || hd_session_run(s, a, y, &err) || hd_integer_new(&e, m, &err)) fail_msg("%s", err.message);
    hd_integer_run(e, a);
    assert_memory_equal(y, hd_integer_tensor(e, m->output), sizeof y);
    hd_integer_free(e);
    hd_session_close(s);
    hd_program_free(p);
    hd_geometry array;
    hd_lower_options o = {.board = "", .expand_input = 0};
    assert_int_equal(hd_geometry_parse(&array, "4x8x8x2", &err), HD_OK);
    assert_int_equal(hd_lower(&p, m, &array, &o, &err), HD_NOFIT);
    assert_string_equal(err.message, "layer 'wide' has 300 window columns; a descriptor holds 255");
    hd_model_free(m);
    hd_policy_free(&policy);
    hd_graph_free(g);
}

static void expansion(void **state) {
    (void)state;
    hd_model *m = conv_model((shape){10, 10, 1, 16, 3, 1, HD_GRID_ODD, 2}, 1);
    hd_program *p = lowered(m, "4x8x8x2", "", -1);
    assert_int_equal(p->input.expanded, 1);
    assert_int_equal(p->input.stride, 2);
    assert_int_equal(get(p, 0, HD_F_NCB), 2);
    assert_int_equal(get(p, 0, HD_F_KH), 1);
    hd_program_free(p);
    p = lowered(m, "4x8x8x2", "", 0);
    assert_int_equal(p->input.expanded, 0);
    assert_int_equal(get(p, 0, HD_F_KH), 3);
    hd_program_free(p);
    hd_model_free(m);
    /* Expanded 64 * 4 + 64 words, as it is 144 + 64: the compiler falls back. */
    m = conv_model((shape){12, 12, 1, 8, 5, 1, HD_GRID_ODD, 2}, 1);
    p = lowered(m, "4x8x8x2", "act=256", 1);
    assert_int_equal(p->input.expanded, 0);
    hd_program_free(p);
    p = lowered(m, "4x8x8x2", "act=512", 1);
    assert_int_equal(p->input.expanded, 1);
    hd_program_free(p);
    hd_model_free(m);
}

static void refusals(void **state) {
    (void)state;
    hd_model *m = conv_model((shape){1, 1, 1024, 16, 1, 1, HD_GRID_ODD, 8}, 255);
    refuse(m, "4x8x8x2", "window=64", "layer 'fc1' needs 128 window words of 8 bytes; geometry 4x8x8x2 has 64");
    refuse(m, "4x8x8x2", "stream=128", "layer 'fc1' needs 129 stream words (with the layers before it), at least; geometry 4x8x8x2 has 128");
    refuse(m, "4x8x8x2", "acc=16", "layer 'fc1' needs 20 accumulator bits; geometry 4x8x8x2 has 16");
    refuse(m, "4x8x8x2", "act=64", "layer 'fc1' needs 130 activation words; geometry 4x8x8x2 has 64");
    m->stage->shift[3] = 16;
    refuse(m, "4x8x8x2", "post=1", "layer 'fc1', channel 3: shift 16; a geometry with post=1 has 17..47");
    for (int i = 0; i < 16; i++) m->stage->bias[i] = INT32_MAX;
    refuse(m, "4x8x8x2", "", "layer 'fc1', channel 0: accumulator range 2114060287..2180645887; allowed -2147483648..2147483647");
    hd_model_free(m);
    m = conv_model((shape){1, 1, 8, 80, 1, 1, HD_GRID_ODD, 1}, 1);
    refuse(m, "4x8x8x2", "param=64", "layer 'fc1' needs 80 parameter words (with the layers before it); geometry 4x8x8x2 has 64");
    m->stage->v[0] = 0;
    m->stage->grid = HD_GRID_EVEN;
    for (int i = 1; i < 640; i++) m->stage->v[i] = (int16_t)(i % 2 ? 2 : 1);
    m->stage->shift[0] = 47;
    m->stage->mult[0] = 40001;
    refuse(m, "4x8x8x2", "", "layer 'fc1', channel 0: shift 48 for weights that are odd and zero; allowed 1..47");
    hd_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(geometry_defaults), cmocka_unit_test(geometry_errors), cmocka_unit_test(worked_block),
                                       cmocka_unit_test(encodings),         cmocka_unit_test(slices),          cmocka_unit_test(turned_average), cmocka_unit_test(shared_entries), cmocka_unit_test(wide_window),
                                       cmocka_unit_test(expansion),         cmocka_unit_test(refusals)};
    return cmocka_run_group_tests_name("lower", tests, NULL, NULL);
}
