/* CONV and MAXPOOL, position by position. */
#include <string.h>

#include "ref.h"

#define GET(l, name) hd_field_get((l)->desc, HD_F_##name)

int64_t hd_ref_pixel(const uint32_t *desc, int64_t position, int64_t ky, int64_t kx) {
    int64_t out_w = hd_field_get(desc, HD_F_OUT_W), oy = position / out_w, ox = position % out_w;
    int64_t iy = hd_field_get(desc, HD_F_IY0) + oy * hd_field_get(desc, HD_F_SY) + ky * hd_field_get(desc, HD_F_DY);
    int64_t ix = hd_field_get(desc, HD_F_IX0) + ox * hd_field_get(desc, HD_F_SX) + kx * hd_field_get(desc, HD_F_DX);
    if (iy < 0 || iy >= hd_field_get(desc, HD_F_IN_H) || ix < 0 || ix >= hd_field_get(desc, HD_F_IN_W)) return -1;
    int64_t address = hd_field_get(desc, HD_F_IN_START) + oy * hd_field_get(desc, HD_F_LINE_STEP) + ox * hd_field_get(desc, HD_F_POS_STEP) +
                      ky * hd_field_get(desc, HD_F_KY_STEP) + kx * hd_field_get(desc, HD_F_COL_STEP);
    return address & 0xffffff;
}

hd_status hd_ref_outside(uint32_t n, const char *what, int64_t address, uint32_t words, hd_err *err) {
    return hd_fail(err, HD_DEVICE, "ref: descriptor %u: %s word %lld; the activation memory has %u", n, what, (long long)address, words);
}

/* The window and the residual words of one position as 16-bit numbers. */
static hd_status load_window(hd_device *d, const hd_ref_layer *l, uint32_t n, int64_t position, hd_err *err) {
    int64_t ncb = GET(l, NCB), kh = GET(l, KH), kw = GET(l, KW), lanes = d->g.lanes, res_n = GET(l, RES_N);
    int16_t *to = d->window, pad = (int16_t)GET(l, PAD);
    for (int64_t ky = 0; ky < kh; ky++)
        for (int64_t kx = 0; kx < kw; kx++, to += ncb * lanes) {
            int64_t at = hd_ref_pixel(l->desc, position, ky, kx);
            if (at < 0) {
                for (int64_t i = 0; i < ncb * lanes; i++) to[i] = pad;
                continue;
            }
            if (at + ncb > d->g.act_words) return hd_ref_outside(n, "input", at + ncb - 1, d->g.act_words, err);
            const int8_t *from = d->act + at * lanes;
            for (int64_t i = 0; i < ncb * lanes; i++) to[i] = from[i];
        }
    int64_t at = (GET(l, RES_START) + position * GET(l, RES_STRIDE)) & 0xffffff;
    if (res_n && at + res_n > d->g.act_words) return hd_ref_outside(n, "residual", at + res_n - 1, d->g.act_words, err);
    for (int64_t i = 0; i < res_n * lanes; i++) to[i] = d->act[at * lanes + i];
    return HD_OK;
}

/* 512 products of an activation and a 16-bit factor stay below 2^31. */
static int64_t dot(const int16_t *a, const int16_t *b, size_t n) {
    int64_t total = 0;
    while (n) {
        size_t part = n < 512 ? n : 512;
        int32_t sum = 0;
        for (size_t i = 0; i < part; i++) sum += (int32_t)a[i] * (int32_t)b[i];
        total += sum;
        a += part;
        b += part;
        n -= part;
    }
    return total;
}

static int64_t wrap(int64_t v, uint32_t bits) {
    uint64_t m = (uint64_t)1 << (bits - 1);
    return (int64_t)((((uint64_t)v + m) & (2 * m - 1)) - m);
}

/* Numbers of post that do not change within a layer. */
typedef struct post_state {
    int64_t out_zero, lo, hi, res_mult, res_add, res_shift, res_tiles, res_n;
    int even, residual;
    const uint8_t *table;
} post_state;

static int8_t requantise(const post_state *s, const uint32_t *param, uint64_t z, int64_t activations, int64_t b) {
    int64_t acc = wrap((int64_t)(z - (s->even ? (uint64_t)activations : 0) + param[0]), 32);
    int64_t mult = hd_field_get(param, HD_P_MULT), shift = hd_field_get(param, HD_P_SHIFT);
    int64_t q = (acc * mult + (shift ? (int64_t)1 << (shift - 1) : 0)) >> shift;
    q = q < -32768 ? -32768 : q > 32767 ? 32767 : q;
    int64_t t = q + s->out_zero;
    if (s->residual) t += wrap(b * s->res_mult + s->res_add, 32) >> s->res_shift;
    t = t < s->lo ? s->lo : t;
    t = t > s->hi ? s->hi : t;
    return s->table ? (int8_t)s->table[(uint8_t)t] : (int8_t)t;
}

/* Factors and activations of one tile; z carries a channel's upper planes from tile to tile. */
static hd_status run_tile(hd_device *d, const hd_ref_layer *l, uint32_t n, uint32_t number, const post_state *s, uint64_t *z, hd_err *err) {
    const hd_ref_tile *t = &l->tile[number];
    size_t lanes = d->g.lanes, count = t->steps * lanes;
    const int16_t *a = d->gather;
    if (t->contiguous) {
        a = d->window + (l->entry[t->first] & hd_field_mask(HD_I_ADDRESS)) * lanes;
    } else if (l->pair) {
        for (uint32_t i = 0; i < t->steps; i++)
            for (size_t k = 0; k < lanes; k++) d->gather[i * lanes + k] = d->window[l->pair[(t->first + i) * (lanes / 2) + k / 2] * lanes + k];
    } else {
        for (uint32_t i = 0; i < t->steps; i++)
            memcpy(d->gather + i * lanes, d->window + (l->entry[t->first + i] & hd_field_mask(HD_I_ADDRESS)) * lanes, lanes * sizeof *a);
    }
    int64_t activations = 0;
    if (s->even)
        for (size_t i = 0; i < count; i++) activations += a[i];
    int64_t cout = GET(l, COUT), words = GET(l, KH) * GET(l, KW) * GET(l, NCB);
    for (uint32_t r = t->run; r < t->run + t->runs; r++) {
        const hd_ref_run *run = &l->run[r];
        int64_t sum = (int64_t)((uint64_t)dot(a, l->coef + run->coef, count) - run->ones);
        /* Joined columns cannot wrap; a single one may. */
        if (run->shift == d->g.planes) sum = wrap(sum, d->g.acc_bits);
        *z = (run->starts || run->shift > 63 ? 0 : *z << run->shift) + (uint64_t)sum;
        if (!run->ends || run->channel >= cout) continue;
        int64_t b = 0;
        if (s->residual) {
            int64_t word = number / s->res_tiles;
            if (word >= s->res_n) return hd_fail(err, HD_DEVICE, "ref: descriptor %u: tile %u has residual word %lld of %lld", n, number, (long long)word, (long long)s->res_n);
            b = d->window[(size_t)(words + word) * lanes + run->channel % lanes];
        }
        d->out[run->channel] = requantise(s, d->param + 2 * (size_t)(GET(l, PARAM_FIRST) + run->channel), *z, activations, b);
    }
    return HD_OK;
}

hd_status hd_ref_conv(hd_device *d, uint32_t n, hd_err *err) {
    const hd_ref_layer *l = &d->layer[n];
    int64_t positions = GET(l, POSITIONS), lanes = d->g.lanes, cout = GET(l, COUT), out_words = (cout + lanes - 1) / lanes;
    post_state s = {.out_zero = GET(l, OUT_ZERO), .lo = GET(l, CLAMP_LO), .hi = GET(l, CLAMP_HI), .res_mult = GET(l, RES_MULT),
                    .res_add = GET(l, RES_ADD), .res_shift = GET(l, RES_SHIFT), .res_tiles = GET(l, RES_TILES), .res_n = GET(l, RES_N),
                    .even = (int)GET(l, EVEN), .residual = (int)GET(l, RESIDUAL),
                    .table = GET(l, TABLE) ? d->table + GET(l, TABLE_ID) * 256 : NULL};
    memset(d->out, (int)GET(l, FILL), (size_t)(out_words * lanes));
    for (int64_t m = 0; m < positions; m++) {
        uint64_t z = 0;
        hd_status st = load_window(d, l, n, m, err);
        for (uint32_t t = 0; t < l->n_tiles && !st; t++) st = run_tile(d, l, n, t, &s, &z, err);
        if (st) return st;
        int64_t at = (GET(l, OUT_START) + m * GET(l, OUT_STRIDE)) & 0xffffff;
        if (at + out_words > d->g.act_words) return hd_ref_outside(n, "output", at + out_words - 1, d->g.act_words, err);
        memcpy(d->act + at * lanes, d->out, (size_t)(out_words * lanes));
    }
    return HD_OK;
}

hd_status hd_ref_maxpool(hd_device *d, uint32_t n, hd_err *err) {
    const hd_ref_layer *l = &d->layer[n];
    int64_t slices = GET(l, SLICES), positions = GET(l, POSITIONS), kh = GET(l, KH), kw = GET(l, KW), lanes = d->g.lanes;
    for (int64_t s = 0; s < slices; s++)
        for (int64_t m = 0; m < positions; m++) {
            int8_t most[HD_MAX_LANES];
            memset(most, -128, sizeof most);
            for (int64_t k = 0; k < kh * kw; k++) {
                int64_t at = hd_ref_pixel(l->desc, m, k / kw, k % kw), pad = GET(l, PAD);
                if (at >= 0) at = (at + s) & 0xffffff;
                if (at >= d->g.act_words) return hd_ref_outside(n, "input", at, d->g.act_words, err);
                for (int64_t i = 0; i < lanes; i++) {
                    int8_t v = at < 0 ? (int8_t)pad : d->act[at * lanes + i];
                    if (v > most[i]) most[i] = v;
                }
            }
            int64_t at = (GET(l, OUT_START) + m * GET(l, OUT_STRIDE) + s) & 0xffffff;
            if (at >= d->g.act_words) return hd_ref_outside(n, "output", at, d->g.act_words, err);
            memcpy(d->act + at * lanes, most, (size_t)lanes);
        }
    return HD_OK;
}
