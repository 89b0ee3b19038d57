/* Weights to bit-planes: the stream of one slice, its index entries and the parameters that the encoding changes. */
#include <stdlib.h>
#include <string.h>

#include "lower.h"

/* Running sums of one output channel of the tile under construction. */
typedef struct channel_sums {
    int64_t weights;    /* encoded weights w' = u, u - 1 over present blocks, all lanes */
    int64_t ones;       /* what one's complement leaves out, times the plane's weight */
    int64_t lo, hi;     /* range of the accumulator, exact for independent activations */
} channel_sums;

/* Range of each column of the tile. */
typedef struct column_range {
    int64_t lo, hi;
} column_range;

typedef struct tile_state {
    hd_emit *e;
    const hd_plan *pl;
    const hd_slice *sl;
    uint32_t c0, c1; /* channels within the slice, pacing channels included */
    channel_sums *sum;   /* c1 - c0 */
    column_range *range; /* (c1 - c0) * cpc */
    int32_t *u;          /* (c1 - c0) * LANES: one block */
    uint32_t *at;        /* [lists] the window words it stands for */
    int8_t *fill;        /* [lists] not 0: the list has ended, and this is its weight on a grid without zero */
} tile_state;

static int encoded(hd_encoding e, int v) {
    return e == HD_ENC_ODD ? v : e == HD_ENC_EVEN ? v + 1 : 2 * v + 1;
}

/* Sign of plane k of u: 1 = +1. */
static uint32_t plane_sign(int u, uint32_t k, uint32_t planes) {
    return ((uint32_t)(u + (int)((1u << planes) - 1)) / 2 >> k) & 1u;
}

static void set_bit(uint32_t *words, uint32_t at) {
    words[at / 32] |= 1u << (at % 32);
}

/* An entry that subtracts the activations of the entry before sees the same ones: together they range as the sum of both weights does. An accumulator that wraps
 * between the two comes back. */
typedef enum pairing { ALONE, BEFORE_SUM, SUM } pairing;

/* Writes part `part` of the block in t->u (and -u when negate) as one stream entry. */
static hd_status put_entry(tile_state *t, uint32_t part, int negate, pairing pair, hd_err *err) {
    const hd_plan *pl = t->pl;
    const hd_geometry *g = pl->g;
    uint32_t at, lanes = g->lanes, part_lanes = lanes / g->pump, part_bits = hd_geometry_part_words(g) * 32, cols = t->sl->parts > 1 ? t->sl->tile_cols : pl->cpc;
    hd_status st = hd_emit_entry(t->e, pl->s->name, &at, err);
    if (st) return st;
    uint32_t *words = t->e->p->weight + (size_t)at * hd_geometry_weight_words(g);
    uint32_t index = 0, address = t->at[0], pairs = hd_geometry_pairs(g);
    for (uint32_t k = 0; k < pairs; k++) {
        t->e->p->pair[(size_t)at * pairs + k] = (uint16_t)t->at[k];
        if (t->at[k] > address) address = t->at[k];
    }
    hd_field_set(&index, HD_I_ADDRESS, address);
    t->e->p->index[at] = (uint16_t)index;
    for (uint32_t c = t->c0; c < t->c1; c++) {
        channel_sums *sum = &t->sum[c - t->c0];
        if (c >= t->sl->o1 - t->sl->o0) break; /* pacing channels keep unused bits */
        for (uint32_t col = 0; col < cols; col++) {
            uint32_t of_channel = part * cols + col, d = (c - t->c0) * cols + col;
            column_range *range = &t->range[(c - t->c0) * pl->cpc + of_channel];
            for (uint32_t i = 0; i < lanes / 2; i++) {
                int u0 = t->u[(c - t->c0) * lanes + 2 * i], u1 = t->u[(c - t->c0) * lanes + 2 * i + 1];
                if (negate) u0 = -u0, u1 = -u1;
                int64_t value[2] = {0, 0};
                for (uint32_t p = 0; p < g->planes; p++) {
                    /* The most significant planes are drained first. */
                    uint32_t k = (pl->cpc - 1 - of_channel) * g->planes + p;
                    uint32_t s0 = plane_sign(u0, k, pl->planes), s1 = plane_sign(u1, k, pl->planes);
                    uint32_t bit = 2 * i / part_lanes * part_bits + (d * g->planes + p) * part_lanes + 2 * i % part_lanes;
                    if (s0 != s1) set_bit(words, bit);
                    if (!s0) {
                        set_bit(words, bit + 1);
                        sum->ones += (int64_t)1 << k;
                        range->lo -= (int64_t)1 << p;
                        range->hi -= (int64_t)1 << p;
                    }
                    int less = pair == BEFORE_SUM ? plane_sign(-1, k, pl->planes) ? 1 << p : -(1 << p) : 0;
                    value[0] += (s0 ? 1 << p : -(1 << p)) + less;
                    value[1] += (s1 ? 1 << p : -(1 << p)) + less;
                }
                for (int j = 0; j < 2 && pair != SUM; j++) {
                    range->lo += value[j] > 0 ? value[j] * -128 : value[j] * 127;
                    range->hi += value[j] > 0 ? value[j] * 127 : value[j] * -128;
                }
            }
        }
    }
    return HD_OK;
}

/* Fills t->u with the window words t->at and adds their weights to the sums (only once, whatever the number of parts). */
static void load_block(tile_state *t, const hd_bitmap *map, int count, hd_layer_info *info, uint64_t *zeros_absent) {
    const hd_plan *pl = t->pl;
    uint32_t lanes = pl->g->lanes, channels = t->sl->o1 - t->sl->o0;
    int zero = pl->m->tensor[pl->s->input].zero;
    int factor = pl->encoding == HD_ENC_MIXED ? 2 : 1;
    for (uint32_t c = t->c0; c < t->c1 && c < channels; c++)
        for (uint32_t l = 0; l < lanes; l++) {
            int v, fill = t->fill[l / map->lanes];
            hd_lane kind = hd_plan_weight(pl, t->sl, t->sl->o0 + c, t->at[l / map->lanes], l, &v);
            if (fill) kind = HD_LANE_FREE, v = pl->encoding == HD_ENC_ODD ? fill : 0;
            /* An odd grid has no zero; on a pad lane any weight will do, its zero point is folded away. With decoders it repeats what may be coded. */
            if (kind == HD_LANE_PAD && pl->encoding == HD_ENC_ODD) v = 1;
            int32_t *u = &t->u[(c - t->c0) * lanes + l];
            if (kind == HD_LANE_PAD && pl->g->decode && l) {
                u[0] = u[l < 8 ? -1 : -8];
                v = pl->encoding == HD_ENC_ODD ? u[0] : pl->encoding == HD_ENC_EVEN ? u[0] - 1 : (u[0] - 1) / 2;
            } else u[0] = encoded(pl->encoding, v);
            if (!count) continue;
            channel_sums *sum = &t->sum[c - t->c0];
            sum->weights += factor * v;
            if (kind == HD_LANE_WEIGHT) {
                int64_t a = (int64_t)factor * v * (-128 - zero), b = (int64_t)factor * v * (127 - zero);
                sum->lo += a < b ? a : b;
                sum->hi += a < b ? b : a;
                info->useful_ops += (uint64_t)pl->walk.out_h * pl->walk.out_w * pl->bits;
                if (!v) --*zeros_absent;
            }
        }
}

/* A tile without weights: something that adds up to nothing. */
static void load_empty(tile_state *t) {
    for (uint32_t i = 0; i < (t->c1 - t->c0) * t->pl->g->lanes; i++) t->u[i] = 1;
}

/* The window words of step `step`, given those of the step before: each list's next, or what fills it up. */
static void next_block(tile_state *t, const hd_bitmap *map, const uint64_t *set, uint32_t step) {
    for (uint32_t k = 0; k < map->lists; k++) {
        const uint64_t *of_list = set + (size_t)k * map->per;
        uint32_t w = step ? t->at[k] + 1 : 0;
        while (!(step && t->fill[k]) && w < t->sl->words && !(of_list[w / 64] >> (w % 64) & 1)) w++;
        if (!(step && t->fill[k]) && w < t->sl->words) {
            t->at[k] = w;
            t->fill[k] = 0;
        } else if (map->pad[k] != HD_NO_WORD) {
            t->at[k] = map->pad[k]; /* holds the zero point, which is folded away whatever the weight */
            t->fill[k] = 1;
        } else {
            t->at[k] = 0;           /* is there first */
            t->fill[k] = step && t->fill[k] ? (int8_t)-t->fill[k] : 1;
        }
    }
}

/* What EVEN would subtract: an entry whose weights are all -1. */
static hd_status put_sum(tile_state *t, uint32_t part, hd_err *err) {
    load_empty(t);
    return put_entry(t, part, 1, SUM, err);
}

static hd_status put_tile(tile_state *t, uint64_t *set, const hd_bitmap *map, hd_layer_info *info, uint64_t *zeros_absent, hd_err *err) {
    uint32_t channels = t->sl->o1 - t->sl->o0, real = t->c1 < channels ? t->c1 : channels;
    uint32_t n = t->c0 < real ? hd_bitmap_tile(map, t->c0, real, set) : 0;
    hd_status st = HD_OK;
    if (t->c0 < real) {
        info->blocks += t->sl->words * map->lists;
        for (uint32_t k = 0; k < map->lists; k++) info->blocks_present += hd_bitmap_list(map, k, set);
    }
    for (uint32_t part = 0; part < t->sl->parts && !st; part++) {
        if (!n) {
            load_empty(t);
            memset(t->at, 0, map->lists * sizeof *t->at);
            st = put_entry(t, part, 0, ALONE, err);
            if (!st && (t->pl->encoding == HD_ENC_ODD || hd_plan_subtracts(t->pl))) st = put_entry(t, part, 1, ALONE, err);
        }
        for (uint32_t step = 0; step < n && !st; step++) {
            next_block(t, map, set, step);
            load_block(t, map, part == 0, info, zeros_absent);
            st = put_entry(t, part, 0, hd_plan_subtracts(t->pl) ? BEFORE_SUM : ALONE, err);
            if (!st && hd_plan_subtracts(t->pl)) st = put_sum(t, part, err);
        }
        if (!st) t->e->p->index[t->e->p->n_stream - 1] |= (uint16_t)(1u << HD_I_LAST.lsb);
    }
    return st;
}

static uint32_t signed_bits(int64_t lo, int64_t hi) {
    uint32_t b = 1;
    while (lo < -((int64_t)1 << (b - 1)) || hi > ((int64_t)1 << (b - 1)) - 1) b++;
    return b;
}

/* Accumulator, bias and result widths of the tile's channels; writes their parameters. */
static hd_status finish_tile(tile_state *t, uint32_t param, hd_err *err) {
    const hd_plan *pl = t->pl;
    const hd_stage *s = pl->s;
    int64_t zero = pl->m->tensor[s->input].zero, factor = pl->encoding == HD_ENC_MIXED ? 2 : 1;
    uint32_t channels = t->sl->o1 - t->sl->o0, need = 0;
    for (uint32_t i = 0; i < (t->c1 - t->c0) * pl->cpc; i++) {
        uint32_t b = signed_bits(t->range[i].lo, t->range[i].hi);
        if (b > need) need = b;
    }
    if (need > pl->g->acc_bits) return hd_nofit(pl->g, s->name, need, "accumulator bits", pl->g->acc_bits, err);
    for (uint32_t c = t->c0; c < t->c1; c++) {
        uint32_t *words = t->e->p->param + 2 * (size_t)(param + c), oc = t->sl->o0 + c;
        words[0] = words[1] = 0;
        if (c >= channels) { /* pacing: multiplied by nothing */
            hd_field_set(words, HD_P_SHIFT, 1);
            continue;
        }
        const channel_sums *sum = &t->sum[c - t->c0];
        int64_t bias = factor * s->bias[oc], folded = bias - zero * sum->weights + sum->ones;
        uint32_t mult = s->mult[oc], shift = s->shift[oc];
        if (folded < INT32_MIN || folded > INT32_MAX)
            return hd_fail(err, HD_NOFIT, "layer '%.100s', channel %u: folded bias %lld; allowed %d..%d", s->name, oc, (long long)folded, INT32_MIN,
                           INT32_MAX);
        if (bias + sum->lo < INT32_MIN || bias + sum->hi > INT32_MAX)
            return hd_fail(err, HD_NOFIT, "layer '%.100s', channel %u: accumulator range %lld..%lld; allowed %d..%d", s->name, oc,
                           (long long)(bias + sum->lo), (long long)(bias + sum->hi), INT32_MIN, INT32_MAX);
        if (factor == 2 && shift < 47) shift++;
        else if (factor == 2 && mult % 2 == 0) mult /= 2;
        else if (factor == 2)
            return hd_fail(err, HD_NOFIT, "layer '%.100s', channel %u: shift 48 for weights that are odd and zero; allowed 1..47", s->name, oc);
        hd_field_set(words, HD_P_BIAS, folded);
        if (mult && shift < hd_geometry_least_shift(pl->g))
            return hd_fail(err, HD_NOFIT, "layer '%.100s', channel %u: shift %u; a geometry with post=%u has 17..47", s->name, oc, shift, pl->g->post);
        hd_field_set(words, HD_P_MULT, mult);
        hd_field_set(words, HD_P_SHIFT, shift);
    }
    return HD_OK;
}

/* The sum of all activations, subtracted with EVEN, is kept in a register of the accumulator's width. */
static hd_status check_sum(const hd_plan *pl, const hd_slice *sl, const hd_bitmap *map, uint64_t *set, hd_err *err) {
    if (pl->encoding == HD_ENC_ODD || hd_plan_subtracts(pl)) return HD_OK;
    uint64_t most = 1;
    for (uint32_t c = 0, n = sl->o1 - sl->o0; c < n; c += sl->tile) {
        uint32_t steps = hd_bitmap_tile(map, c, c + sl->tile < n ? c + sl->tile : n, set);
        if (steps > most) most = steps;
    }
    int64_t range = (int64_t)most * pl->g->lanes;
    uint32_t need = signed_bits(-128 * range, 127 * range);
    return need > pl->g->acc_bits ? hd_nofit(pl->g, pl->s->name, need, "accumulator bits", pl->g->acc_bits, err) : HD_OK;
}

hd_status hd_encode_slice(hd_emit *e, const hd_plan *pl, const hd_slice *sl, uint32_t *first, uint32_t *last, uint32_t *param, hd_layer_info *info,
                          uint64_t *zeros, uint64_t *zeros_absent, hd_err *err) {
    hd_bitmap map = {0};
    uint32_t lanes = pl->g->lanes;
    size_t per = (size_t)pl->s->kh * (size_t)pl->s->kw * pl->cpg;
    for (size_t i = sl->o0 * per; i < sl->o1 * per; i++)
        if (!pl->s->v[i]) ++*zeros, ++*zeros_absent;
    tile_state t = {.e = e, .pl = pl, .sl = sl, .sum = calloc(sl->tile, sizeof *t.sum), .range = calloc((size_t)sl->tile * pl->cpc, sizeof *t.range),
                    .u = calloc((size_t)sl->tile * lanes, sizeof *t.u), .at = calloc(lanes, sizeof *t.at), .fill = calloc(lanes, sizeof *t.fill)};
    uint64_t *set = calloc((size_t)(sl->words / 64 + 1) * lanes, sizeof *set);
    hd_status st = t.sum && t.range && t.u && t.at && t.fill && set ? HD_OK : hd_fail(err, HD_NOMEM, "layer '%.100s': out of memory", pl->s->name);
    if (!st) st = hd_bitmap_make(&map, pl, sl, err);
    if (!st) st = check_sum(pl, sl, &map, set, err);
    if (!st) st = hd_emit_params(e, pl->s->name, sl->nch, param, err);
    *first = e->p->n_stream;
    for (t.c0 = 0; t.c0 < sl->nch && !st; t.c0 += sl->tile) {
        t.c1 = t.c0 + sl->tile < sl->nch ? t.c0 + sl->tile : sl->nch;
        memset(t.sum, 0, sl->tile * sizeof *t.sum);
        memset(t.range, 0, (size_t)sl->tile * pl->cpc * sizeof *t.range);
        st = put_tile(&t, set, &map, info, zeros_absent, err);
        if (!st) st = finish_tile(&t, *param, err);
    }
    if (!st) {
        *last = e->p->n_stream - 1;
        e->p->index[*last] |= (uint16_t)(1u << HD_I_FINAL.lsb);
    }
    hd_bitmap_free(&map);
    free(t.sum);
    free(t.range);
    free(t.u);
    free(t.at);
    free(t.fill);
    free(set);
    return st;
}
