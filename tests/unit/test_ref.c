/* The ref device through its memories alone: the worked block written by hand, wrapping accumulators, the host's view, and its
 * cycle counts against a simulation of docs/hardware.md cycle by cycle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../drivers/driver.h"
#include "../../drivers/ref_cycles.h"
#include "../support/random_model.h"

static hd_device *opened(const char *geometry, const char *memory) {
    hd_geometry g;
    hd_device *d = NULL;
    hd_err err = {0};
    hd_status st = hd_geometry_parse(&g, geometry, &err);
    if (!st) st = hd_geometry_memory(&g, memory, &err);
    if (!st) st = hd_driver_ref.open(&d, &g, NULL, &err);
    if (st) fail_msg("%s", err.message);
    return d;
}

static void put(hd_device *d, enum hd_space space, uint32_t at, const uint32_t *words, size_t n) {
    hd_err err = {0};
    if (hd_driver_ref.write(d, space, at, words, n, &err)) fail_msg("%s", err.message);
}

static uint32_t get(hd_device *d, enum hd_space space, uint32_t at) {
    hd_err err = {0};
    uint32_t v = 0;
    if (hd_driver_ref.read(d, space, at, &v, 1, &err)) fail_msg("%s", err.message);
    return v;
}

/* A 1x1 layer over one pixel of `steps` words, one channel of `cpc` columns. */
static void one_pixel(uint32_t *desc, uint32_t steps, uint32_t cpc) {
    memset(desc, 0, HD_DESC_STRIDE * sizeof *desc);
    const struct {
        hd_field f;
        int64_t v;
    } set[] = {{HD_F_OPCODE, HD_OP_CONV}, {HD_F_IN_H, 1}, {HD_F_IN_W, 1}, {HD_F_NCB, steps}, {HD_F_COL_STEP, steps}, {HD_F_DX, 1},
               {HD_F_KY_STEP, steps}, {HD_F_DY, 1}, {HD_F_POS_STEP, steps}, {HD_F_SX, 1}, {HD_F_LINE_STEP, steps}, {HD_F_SY, 1}, {HD_F_KH, 1},
               {HD_F_KW, 1}, {HD_F_OUT_W, 1}, {HD_F_POSITIONS, 1}, {HD_F_PASSES, 1}, {HD_F_OUT_ZERO, 3}, {HD_F_CLAMP_LO, -128},
               {HD_F_CLAMP_HI, 127}, {HD_F_OUT_START, 32}, {HD_F_OUT_STRIDE, 1}, {HD_F_FILL, 9}, {HD_F_PASS_STEP, 2}, {HD_F_STREAM_LAST, steps - 1},
               {HD_F_CPC, cpc}, {HD_F_TILE_COLS, cpc}, {HD_F_LAST_COLS, cpc}, {HD_F_COUT, 1}, {HD_F_NCH, 1}};
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++) hd_field_set(desc, set[i].f, set[i].v);
}

/* docs/formats.md section 6, bit by bit. */
static void worked_block(void **state) {
    (void)state;
    hd_device *d = opened("2x2x4x1", "act=64");
    uint32_t desc[2 * HD_DESC_STRIDE] = {0}, weight = 0x27, index = 0xa000, param[2] = {3, 40000 | 18 << 16};
    uint32_t activations = 0x0705ec0a; /* 10, -20, 5, 7 */
    hd_err err = {0};
    one_pixel(desc, 1, 2);
    put(d, HD_SPACE_DESC, 0, desc, 2 * HD_DESC_STRIDE);
    put(d, HD_SPACE_WEIGHT, 0, &weight, 1);
    put(d, HD_SPACE_INDEX, 0, &index, 1);
    put(d, HD_SPACE_PARAM, 0, param, 2);
    put(d, HD_SPACE_ACT, 0, &activations, 1);
    assert_int_equal(hd_driver_ref.run(d, 0, &err), HD_OK);
    assert_int_equal(get(d, HD_SPACE_ACT, 32), 0x090909fd); /* -3, then FILL */
    assert_int_equal(get(d, HD_SPACE_REG, HD_REG_STATUS), 2);
    assert_int_equal(get(d, HD_SPACE_PERF, HD_PERF_STEPS), 1);
    assert_int_equal(get(d, HD_SPACE_PERF, HD_PERF_FETCH_WORDS), 1);
    assert_int_equal(get(d, HD_SPACE_PERF, HD_PERF_WRITES), 1);
    /* TILE 1, SEG 2, slot 3: the entry issues in cycle 6, after three cycles of waiting from cycle 3. */
    assert_int_equal(get(d, HD_SPACE_PERF, HD_PERF_WAIT_WINDOW), 3);
    uint32_t all = get(d, HD_SPACE_REG, HD_REG_CYCLES);
    assert_int_equal(all, get(d, HD_SPACE_PERF, HD_PERF_CYCLES) + hd_ref_cycles_overhead());
    /* Just as many cycles as are allowed. */
    assert_int_equal(hd_driver_ref.run(d, all, &err), HD_OK);
    assert_int_equal(hd_driver_ref.run(d, all - 1, &err), HD_DEVICE);
    hd_driver_ref.close(d);
}

/* Register START: the second of two programs, whose descriptors begin at 4 and whose stream at row 1 of external memory, leaves its counters behind its own. */
static void start_elsewhere(void **state) {
    (void)state;
    hd_device *d = opened("2x2x4x1", "act=64,extern=10,mhz=50,stream=16,descriptors=8");
    uint32_t desc[2 * HD_DESC_STRIDE] = {0}, stream[5] = {0}, param[2] = {0, 32768 | 17 << 16}, act = 0x04030201, start = 4 | 1 << 16;
    hd_err err = {0};
    one_pixel(desc, 1, 1);
    hd_field_set(stream, HD_S_FORMAT, HD_SEGMENT_RAW);
    hd_field_set(stream, HD_S_ENTRIES, 1);
    stream[1] = 0xa000;
    hd_field_set(stream + 3, HD_S_FORMAT, HD_SEGMENT_END);
    put(d, HD_SPACE_DESC, 4 * HD_DESC_STRIDE, desc, 2 * HD_DESC_STRIDE);
    put(d, HD_SPACE_WEIGHT, 256, stream, 4);
    put(d, HD_SPACE_PARAM, 0, param, 2);
    put(d, HD_SPACE_ACT, 0, &act, 1);
    put(d, HD_SPACE_REG, HD_REG_START, &start, 1);
    if (hd_driver_ref.run(d, 0, &err)) fail_msg("%s", err.message);
    assert_int_equal((int8_t)(uint8_t)get(d, HD_SPACE_ACT, 32), 3 + 3); /* 10 / 4, rounded up, and the zero point */
    assert_int_equal(get(d, HD_SPACE_PERF, 4 * HD_PERF_WORDS + HD_PERF_STEPS), 1);
    assert_int_equal(get(d, HD_SPACE_PERF, HD_PERF_STEPS), 0);
    hd_driver_ref.close(d);
}

/* 100 steps of four ones: 50800 wraps a 16-bit accumulator to -14736, and fits 17 bits. */
static void wrapping(void **state) {
    (void)state;
    for (int bits = 16; bits <= 17; bits++) {
        hd_device *d = opened("2x2x4x1", bits == 16 ? "act=512,window=128,acc=16" : "act=512,window=128,acc=17");
        uint32_t desc[2 * HD_DESC_STRIDE] = {0}, zeros[100] = {0}, index[100], act[100], param[2] = {0, 1 | 9 << 16};
        hd_err err = {0};
        one_pixel(desc, 100, 1);
        hd_field_set(desc, HD_F_OUT_START, 200);
        for (uint32_t i = 0; i < 100; i++) index[i] = i | (i == 99 ? 0xa000u : 0), act[i] = 0x7f7f7f7f;
        put(d, HD_SPACE_DESC, 0, desc, 2 * HD_DESC_STRIDE);
        put(d, HD_SPACE_WEIGHT, 0, zeros, 100);
        put(d, HD_SPACE_INDEX, 0, index, 100);
        put(d, HD_SPACE_PARAM, 0, param, 2);
        put(d, HD_SPACE_ACT, 0, act, 100);
        assert_int_equal(hd_driver_ref.run(d, 0, &err), HD_OK);
        int expected = bits == 16 ? -29 + 3 : 99 + 3; /* -14736 / 512 and 50800 / 512, rounded */
        assert_int_equal((int8_t)(uint8_t)get(d, HD_SPACE_ACT, 200), expected);
        hd_driver_ref.close(d);
    }
}

static int64_t wrap32(int64_t v) { return (int64_t)(int32_t)(uint32_t)(uint64_t)v; }

static int64_t floor_shift(int64_t v, int64_t n) {
    int64_t d = (int64_t)1 << n;
    return v >= 0 ? v / d : -((-v + d - 1) / d);
}

/* docs/formats.md section 1 for one channel of one step, at the ends of its numbers: ties, saturation to 16 bits that a residual brings back, sums of 32 bits that wrap. */
static void arithmetic(void **state) {
    (void)state;
    hd_device *d = opened("2x2x4x1", "act=64");
    uint32_t weight = 0, index = 0xa000; /* four ones */
    hd_err err = {0};
    hd_rng rng;
    int ties = 0, saturated = 0, wrapped = 0;
    hd_rng_seed(&rng, 41, 1);
    put(d, HD_SPACE_WEIGHT, 0, &weight, 1);
    put(d, HD_SPACE_INDEX, 0, &index, 1);
    for (int i = 0; i < 20000; i++) {
        uint32_t desc[2 * HD_DESC_STRIDE] = {0}, act[2], param[2], kind = hd_rng_below(&rng, 4);
        int64_t z = 0, bias = (int32_t)hd_rng_u32(&rng) >> hd_rng_below(&rng, 32), mult = kind ? 32768 + (int64_t)hd_rng_below(&rng, 32768) : 32768;
        int64_t shift = 17 + hd_rng_below(&rng, kind == 1 ? 31 : 6), zero = (int)hd_rng_below(&rng, 256) - 128, b;
        int64_t res_mult = hd_rng_below(&rng, 65536), res_add = (int32_t)hd_rng_u32(&rng) >> hd_rng_below(&rng, 32), res_shift = hd_rng_below(&rng, 32);
        for (int k = 0; k < 2; k++) act[k] = hd_rng_u32(&rng);
        for (int k = 0; k < 4; k++) z += (int8_t)(uint8_t)(act[0] >> 8 * k);
        b = (int8_t)(uint8_t)act[1];
        int64_t acc = wrap32(z + bias), half = (int64_t)1 << (shift - 1), q = floor_shift(acc * mult + half, shift);
        int64_t cut = q < -32768 ? -32768 : q > 32767 ? 32767 : q;
        if (kind == 2) { /* back from the end of 16 bits */
            res_shift = 0;
            res_add = (int64_t)hd_rng_below(&rng, 200) - 100 - cut - zero - b * res_mult;
        } else if (kind == 3) { /* near the end of 32 bits */
            res_shift = 24 + hd_rng_below(&rng, 8);
            res_add = (hd_rng_below(&rng, 2) ? 1 : -1) * (int64_t)(INT32_MAX - (int32_t)hd_rng_below(&rng, 1 << 22));
        }
        int64_t whole = b * res_mult + res_add, t = cut + zero + floor_shift(wrap32(whole), res_shift);
        ties += (acc * mult + half) % (2 * half) == 0;
        /* Of these a byte shows whether it was done. */
        saturated += cut != q && t > -128 && t < 127;
        wrapped += whole != wrap32(whole);
        t = t < -128 ? -128 : t > 127 ? 127 : t;
        one_pixel(desc, 1, 1);
        const struct {
            hd_field f;
            int64_t v;
        } set[] = {{HD_F_OUT_ZERO, zero}, {HD_F_RESIDUAL, 1}, {HD_F_RES_START, 1}, {HD_F_RES_N, 1}, {HD_F_RES_STRIDE, 1}, {HD_F_RES_TILES, 1}, {HD_F_RES_MULT, res_mult},
                   {HD_F_RES_ADD, res_add}, {HD_F_RES_SHIFT, res_shift}};
        for (size_t k = 0; k < sizeof set / sizeof set[0]; k++) hd_field_set(desc, set[k].f, set[k].v);
        param[0] = (uint32_t)(int32_t)bias;
        param[1] = (uint32_t)mult | (uint32_t)shift << 16;
        put(d, HD_SPACE_DESC, 0, desc, 2 * HD_DESC_STRIDE);
        put(d, HD_SPACE_PARAM, 0, param, 2);
        put(d, HD_SPACE_ACT, 0, act, 2);
        if (hd_driver_ref.run(d, 0, &err)) fail_msg("%s", err.message);
        if ((int8_t)(uint8_t)get(d, HD_SPACE_ACT, 32) != t)
            fail_msg("case %d: found %d, wanted %lld: accumulator %lld, mult %lld, shift %lld, residual %lld", i, (int8_t)(uint8_t)get(d, HD_SPACE_ACT, 32), (long long)t, (long long)acc,
                     (long long)mult, (long long)shift, (long long)b);
    }
    print_message("%d ties, %d saturated and brought back, %d wrapped\n", ties, saturated, wrapped);
    assert_true(ties > 100 && saturated > 10 && wrapped > 100);
    hd_driver_ref.close(d);
}

static void host_view(void **state) {
    (void)state;
    hd_device *d = opened("3x7x8x2", "act=64,window=16,stream=16,param=16,descriptors=4,tables=1");
    const uint32_t expected[] = {HD_MAGIC_VALUE, HD_CONTRACT_VERSION, 3, 7, 8, 2, 7, 24, 64, 16, 16, 16, 4, 1};
    for (uint32_t i = 0; i < sizeof expected / sizeof expected[0]; i++) assert_int_equal(get(d, HD_SPACE_REG, i), expected[i]);
    uint32_t v[2] = {1, 2};
    hd_err err = {0};
    put(d, HD_SPACE_ACT, 126, v, 2);
    assert_int_equal(get(d, HD_SPACE_ACT, 127), 2);
    assert_int_equal(hd_driver_ref.write(d, HD_SPACE_ACT, 127, v, 2, &err), HD_RANGE);
    assert_string_equal(err.message, "ref: space 0: words 127..129; the device has 128");
    assert_int_equal(hd_driver_ref.write(d, HD_SPACE_PERF, 0, v, 1, &err), HD_RANGE);
    assert_string_equal(err.message, "ref: space PERF is read only");
    assert_int_equal(hd_driver_ref.read(d, HD_SPACE_TABLE, 0, v, 1, &err), HD_RANGE);
    assert_string_equal(err.message, "ref: space 5 cannot be read; ACT, PERF and REG can");
    assert_int_equal(hd_driver_ref.write(d, HD_SPACE_WEIGHT, 63, v, 1, &err), HD_OK);
    assert_int_equal(hd_driver_ref.write(d, HD_SPACE_WEIGHT, 64, v, 1, &err), HD_RANGE);
    /* A program without END, and an empty one. */
    uint32_t desc[HD_DESC_STRIDE];
    one_pixel(desc, 1, 1);
    uint32_t index = 0xa000, param[2] = {0, 1u << 16};
    put(d, HD_SPACE_INDEX, 0, &index, 1);
    put(d, HD_SPACE_PARAM, 0, param, 2);
    for (uint32_t i = 0; i < 4; i++) put(d, HD_SPACE_DESC, i * HD_DESC_STRIDE, desc, HD_DESC_STRIDE);
    assert_int_equal(hd_driver_ref.run(d, 0, &err), HD_DEVICE);
    hd_field_set(desc, HD_F_OPCODE, HD_OP_END);
    put(d, HD_SPACE_DESC, 0, desc, HD_DESC_STRIDE);
    assert_int_equal(hd_driver_ref.run(d, 0, &err), HD_OK);
    assert_int_equal(get(d, HD_SPACE_REG, HD_REG_CYCLES), hd_ref_cycles_overhead());
    hd_driver_ref.close(d);
    const char *where;
    assert_ptr_equal(hd_driver_find("ref", NULL), &hd_driver_ref);
    assert_null(hd_driver_find("none", NULL));
    assert_ptr_equal(hd_driver_find("usb", &where), &hd_driver_usb);
    assert_null(where);
    assert_ptr_equal(hd_driver_find("usb:1-4.2", &where), &hd_driver_usb);
    assert_string_equal(where, "1-4.2");
    assert_null(hd_driver_find("ref:1", NULL));
}

/* ---- cycles, literally ---- */

enum fetch_phase { TILE, SEG, SLOTS, RESIDUAL, IDLE };

/* One layer, a cycle at a time, with every state of fetch and sequencer written out as docs/hardware.md words it. */
typedef struct literal {
    const uint32_t *desc;
    const uint16_t *entry;
    int64_t rows, n_entries, passes, pair, slot;
    /* fetch */
    enum fetch_phase phase;
    int64_t pass, done, n, ky, column, cb, res_left, piece; /* piece: cycles of the slot so far */
    int64_t *arrival;    /* [pass & 1][window word]: cycle of the slot for the last valid position; -1 = not yet */
    int64_t window;
    int64_t finished[2]; /* cycle of the last slot of the pass in each buffer; -1 = not yet */
    int64_t released[2]; /* release(pass) by parity; INT64_MAX = not yet */
    int64_t released_pass[2];
} literal;

#define F(l, name) hd_field_get((l)->desc, HD_F_##name)

static int64_t positions_of(const literal *l, int64_t pass) {
    int64_t left = F(l, POSITIONS) - pass * l->rows;
    return left < l->rows ? left : l->rows;
}

/* One cycle of fetch. */
static void fetch_cycle(literal *l, int64_t cycle, uint64_t *perf) {
    int64_t single = F(l, SINGLE), kw = F(l, KW), sx = F(l, SX);
    if ((l->phase == SLOTS || l->phase == RESIDUAL) && ++l->piece < l->slot) return;
    l->piece = 0;
    switch (l->phase) {
    case TILE:
        if (l->pass >= 2 && (l->released_pass[l->pass & 1] != l->pass - 2 || cycle < l->released[l->pass & 1] + 1)) {
            perf[HD_PERF_WAIT_BUFFER]++;
            return;
        }
        l->done = 0;
        l->finished[l->pass & 1] = -1;
        for (int64_t i = 0; i < l->window; i++) l->arrival[(l->pass & 1) * l->window + i] = -1;
        l->phase = SEG;
        return;
    case SEG: {
        int64_t line = F(l, OUT_W) - (l->pass * l->rows + l->done) % F(l, OUT_W), room = positions_of(l, l->pass) - l->done;
        l->n = single ? 1 : line < room ? line : room;
        l->ky = l->column = l->cb = 0;
        l->phase = SLOTS;
        return;
    }
    case SLOTS: {
        int64_t last = l->n - 1, first = single ? 0 : last * sx;
        for (int64_t word = 0; word < l->pair; word++, l->cb++) {
            perf[HD_PERF_FETCH_WORDS]++;
            if (l->done + l->n == positions_of(l, l->pass) && l->column >= first && l->column < first + kw)
                l->arrival[(l->pass & 1) * l->window + (l->ky * kw + l->column - first) * F(l, NCB) + l->cb] = cycle;
        }
        if (l->cb < F(l, NCB)) return;
        l->cb = 0;
        if (++l->column < (single ? kw : last * sx + kw)) return;
        l->column = 0;
        if (++l->ky < F(l, KH)) return;
        l->done += l->n;
        l->phase = SEG;
        if (l->done < positions_of(l, l->pass)) return;
        l->res_left = F(l, RES_N) * l->done;
        if (l->res_left) {
            l->phase = RESIDUAL;
            return;
        }
        break;
    }
    case RESIDUAL: {
        int64_t words = l->pair == 2 && F(l, RES_N) % 2 == 0 ? 2 : 1;
        perf[HD_PERF_FETCH_WORDS] += (uint64_t)words;
        l->res_left -= words;
        if (l->res_left) return;
        break;
    }
    case IDLE: return;
    }
    l->finished[l->pass & 1] = cycle;
    l->phase = ++l->pass < l->passes ? TILE : IDLE;
}

/* All cycles; RUN is compared through the issue of the last entry. */
static int64_t simulate(literal *l, const hd_geometry *g, uint64_t *perf) {
    int64_t residual_after = hd_ref_latency(g) + 1, drain = g->post ? (int64_t)g->rows * g->post : 1, next = 0, pass = 0, drain_free = 0, cycle = 0, issued = 0;
    char *busy = calloc(4096, 1); /* residual cycles to come, modulo 4096 */
    assert_non_null(busy);
    l->phase = TILE;
    l->released_pass[0] = l->released_pass[1] = -1;
    for (cycle = 1; pass < l->passes; cycle++) {
        assert_true(cycle < 10000000);
        int taken = busy[cycle % 4096];
        busy[cycle % 4096] = 0;
        if (cycle >= 3) {
            uint32_t e = l->entry[next];
            int last = (int)hd_field_get(&e, HD_I_LAST);
            /* Words of another pass in this buffer do not count: fetch must have begun this one. The end of a pass, and each residual,
             * wait for the whole window. */
            int64_t arrived = l->arrival[(pass & 1) * l->window + hd_field_get(&e, HD_I_ADDRESS)];
            if (last && (F(l, RESIDUAL) || hd_field_get(&e, HD_I_FINAL))) arrived = l->finished[pass & 1];
            if (l->pass < pass || (l->pass == pass && l->phase == TILE)) arrived = -1;
            if (arrived < 0 || cycle < arrived + 3) perf[HD_PERF_WAIT_WINDOW]++;
            else if (taken || (last && cycle < drain_free)) perf[HD_PERF_WAIT_DRAIN]++;
            else {
                perf[HD_PERF_STEPS]++;
                issued = cycle;
                if (last) {
                    drain_free = cycle + (hd_field_get(&e, HD_I_FINAL) ? F(l, LAST_COLS) : F(l, TILE_COLS)) * drain;
                    if (F(l, RESIDUAL) && !g->post) busy[(cycle + residual_after) % 4096] = 1;
                }
                if (++next == l->n_entries) {
                    /* A shared post lane holds the residual words until it has drained the pass. */
                    if (g->post) residual_after = hd_ref_latency(g) + drain * F(l, LAST_COLS);
                    l->released[pass & 1] = cycle + (F(l, RESIDUAL) ? residual_after : 0);
                    l->released_pass[pass & 1] = pass;
                    next = 0;
                    pass++;
                }
            }
        }
        fetch_cycle(l, cycle, perf);
    }
    free(busy);
    return issued;
}

static void cycles(void **state) {
    (void)state;
    static const char *const geometries[] = {"2x2x4x1", "4x8x8x2", "3x7x8x2", "3x4x8x4", "8x4x16x2", "3x4x8x2", "4x2x16x2"};
    int layers = 0, residuals = 0, drains = 0, buffers = 0, mixed = 0;
    for (uint64_t seed = 301; seed <= 340; seed++) {
        hd_model *m = NULL;
        hd_err err = {0};
        if (seed > 330 ? hd_random_residual(&m, seed, &err) : hd_random_model(&m, seed, &err)) fail_msg("%s", err.message);
        for (int k = 0; k < 7; k++) {
            hd_geometry g;
            hd_program *p = NULL;
            if (hd_geometry_parse(&g, geometries[k], &err) || hd_geometry_memory(&g, seed % 2 ? "fetch=1" : "fetch=2", &err) ||
                (k == 5 && hd_geometry_memory(&g, "post=2", &err)) || (k == 6 && hd_geometry_memory(&g, "post=1,fetch=1,pool=0,slot=8", &err)))
                fail_msg("seed %d: %s", (int)seed, err.message);
            hd_status st = hd_lower(&p, m, &g, NULL, &err);
            if (st == HD_NOFIT && g.post) continue; /* a shift below 17, or maximum pooling */
            if (st) fail_msg("seed %d: %s", (int)seed, err.message);
            for (uint32_t i = 0; i + 1 < p->n_desc; i++) {
                const uint32_t *d = p->desc + i * HD_DESC_WORDS;
                if (hd_field_get(d, HD_F_OPCODE) != HD_OP_CONV) continue;
                uint64_t fast[HD_PERF_WORDS], slow[HD_PERF_WORDS] = {0};
                uint32_t first = (uint32_t)hd_field_get(d, HD_F_STREAM_FIRST);
                literal l = {.desc = d, .entry = p->index + first, .rows = g.rows, .n_entries = hd_field_get(d, HD_F_STREAM_LAST) - first + 1,
                             .passes = hd_field_get(d, HD_F_PASSES), .slot = g.slot};
                l.pair = g.fetch == 2 && hd_field_get(d, HD_F_NCB) % 2 == 0 ? 2 : 1;
                l.window = hd_field_get(d, HD_F_KH) * hd_field_get(d, HD_F_KW) * hd_field_get(d, HD_F_NCB);
                l.arrival = calloc((size_t)l.window * 2, sizeof *l.arrival);
                assert_non_null(l.arrival);
                int64_t issued = simulate(&l, &g, slow);
                if (hd_ref_cycles(fast, &g, d, l.entry, NULL, &err)) fail_msg("%s", err.message);
                uint64_t residual_words = (uint64_t)(hd_field_get(d, HD_F_RES_N) * hd_field_get(d, HD_F_POSITIONS)), walked = 0;
                for (int64_t at = 0, w = hd_field_get(d, HD_F_OUT_W), sx = hd_field_get(d, HD_F_SX), n; at < hd_field_get(d, HD_F_POSITIONS); at += n) {
                    n = w - at % w;
                    if (n > g.rows - at % g.rows) n = g.rows - at % g.rows;
                    if (hd_field_get(d, HD_F_SINGLE)) n = 1;
                    walked += (uint64_t)(hd_field_get(d, HD_F_KH) * ((n - 1) * sx + hd_field_get(d, HD_F_KW)) * hd_field_get(d, HD_F_NCB));
                }
                int equal = fast[HD_PERF_FETCH_WORDS] == walked + residual_words && fast[HD_PERF_STEPS] == slow[HD_PERF_STEPS] && fast[HD_PERF_WAIT_WINDOW] == slow[HD_PERF_WAIT_WINDOW] &&
                            fast[HD_PERF_WAIT_DRAIN] == slow[HD_PERF_WAIT_DRAIN] && fast[HD_PERF_WAIT_BUFFER] == slow[HD_PERF_WAIT_BUFFER] &&
                            (int64_t)(slow[HD_PERF_STEPS] + slow[HD_PERF_WAIT_WINDOW] + slow[HD_PERF_WAIT_DRAIN]) == issued - 2;
                /* Whatever the constants are, they do not depend on the last issue. */
                static int64_t rest[7] = {-1, -1, -1, -1, -1, -1, -1};
                int64_t after = (int64_t)fast[HD_PERF_CYCLES] - issued - hd_field_get(d, HD_F_LAST_COLS) * (g.post ? (int64_t)g.rows * g.post : 1);
                if (rest[k] < 0) rest[k] = after;
                if (!equal || after != rest[k])
                    fail_msg("seed %d, %s, descriptor %u: steps %d/%d window %d/%d drain %d/%d buffer %d/%d after %d/%d", (int)seed, geometries[k], i,
                             (int)fast[1], (int)slow[1], (int)fast[2], (int)slow[2], (int)fast[3], (int)slow[3], (int)fast[5], (int)slow[5], (int)after,
                             (int)rest[k]);
                layers++;
                residuals += hd_field_get(d, HD_F_RESIDUAL) != 0;
                mixed += l.pair == 2 && hd_field_get(d, HD_F_RES_N) % 2 == 1;
                drains += slow[HD_PERF_WAIT_DRAIN] != 0;
                buffers += slow[HD_PERF_WAIT_BUFFER] != 0;
                free(l.arrival);
            }
            hd_program_free(p);
        }
        hd_model_free(m);
    }
    print_message("%d layers, %d with residual, of them %d in pairs with an odd number of residual words\n", layers, residuals, mixed);
    assert_true(mixed > 0 && layers > 300 && residuals > 20 && drains > 50 && buffers > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(worked_block), cmocka_unit_test(start_elsewhere), cmocka_unit_test(wrapping), cmocka_unit_test(arithmetic), cmocka_unit_test(host_view), cmocka_unit_test(cycles)};
    return cmocka_run_group_tests_name("ref", tests, NULL, NULL);
}
