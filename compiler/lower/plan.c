/* How a convolution goes onto the array: weight encoding, slices of output channels, channels per tile. All legal
 * combinations are costed and the cheapest is taken; the cost is the sequencer's or fetch's time, whichever is longer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lower.h"

hd_status hd_nofit(const hd_geometry *g, const char *layer, uint64_t need, const char *thing, uint64_t have, hd_err *err) {
    return hd_fail(err, HD_NOFIT, "layer '%.100s' needs %llu %s; geometry %ux%ux%ux%u has %llu", layer, (unsigned long long)need, thing,
                   g->rows, g->cols, g->lanes, g->planes, (unsigned long long)have);
}

hd_lane hd_plan_weight(const hd_plan *p, const hd_slice *sl, uint32_t oc, uint32_t word, uint32_t lane, int *v) {
    uint32_t tap, c;
    *v = 0;
    if (p->expanded) {
        uint32_t i = word * p->g->lanes + lane;
        tap = i / p->cin;
        c = i % p->cin;
        if (tap >= p->taps) return HD_LANE_PAD;
    } else {
        tap = word / sl->ncb;
        c = (sl->cb0 + word % sl->ncb) * p->g->lanes + lane;
        if (c >= p->cin) return HD_LANE_PAD;
    }
    uint32_t base = oc / p->opg * p->cpg;
    if (c < base || c - base >= p->cpg) return HD_LANE_FREE;
    *v = p->s->v[((size_t)oc * p->taps + tap) * p->cpg + (c - base)];
    return HD_LANE_WEIGHT;
}

/* ---- which blocks exist ---- */

hd_status hd_bitmap_make(hd_bitmap *b, const hd_plan *p, const hd_slice *sl, hd_err *err) {
    b->lists = p->g->gather ? p->g->lanes / 2 : 1;
    b->lanes = p->g->lanes / b->lists;
    b->per = (sl->words + 63) / 64;
    b->stride = b->lists * b->per;
    size_t n = (size_t)(sl->o1 - sl->o0) * b->stride;
    b->any = calloc(n, sizeof *b->any);
    b->full = calloc(n, sizeof *b->full);
    b->pad = malloc(b->lists * sizeof *b->pad);
    if (!b->any || !b->full || !b->pad) {
        hd_bitmap_free(b);
        return hd_fail(err, HD_NOMEM, "layer '%.100s': out of memory for %zu block words", p->s->name, n);
    }
    uint32_t lanes = p->g->lanes;
    for (uint32_t oc = sl->o0; oc < sl->o1; oc++) {
        uint64_t *any = b->any + (size_t)(oc - sl->o0) * b->stride, *full = b->full + (size_t)(oc - sl->o0) * b->stride;
        /* Only the words of the channel's own group can hold weights: a wide depthwise layer would else take the square of its channels. */
        uint32_t step = p->expanded ? sl->words : sl->ncb, from = 0, to = step;
        if (!p->expanded) {
            from = oc / p->opg * p->cpg / lanes - sl->cb0;
            to = (oc / p->opg * p->cpg + p->cpg - 1) / lanes - sl->cb0 + 1;
        }
        for (uint32_t tap = 0; tap < sl->words; tap += step)
            for (uint32_t w = tap + from; w < tap + to; w++) {
                for (uint32_t k = 0; k < b->lists; k++) {
                    int some = 0, all = 1, v;
                    for (uint32_t l = k * b->lanes; l < (k + 1) * b->lanes; l++) {
                        hd_lane kind = hd_plan_weight(p, sl, oc, w, l, &v);
                        if (v) some = 1;
                        else if (kind != HD_LANE_PAD) all = 0;
                    }
                    if (some) any[k * b->per + w / 64] |= 1ull << (w % 64);
                    if (all) full[k * b->per + w / 64] |= 1ull << (w % 64);
                }
            }
    }
    for (uint32_t k = 0; k < b->lists; k++) {
        b->pad[k] = HD_NO_WORD;
        for (uint32_t w = 0; w < sl->words && b->pad[k] == HD_NO_WORD; w++) {
            int real = 0, v;
            for (uint32_t l = k * b->lanes; l < (k + 1) * b->lanes; l++) real |= hd_plan_weight(p, sl, sl->o0, w, l, &v) != HD_LANE_PAD;
            if (!real) b->pad[k] = w;
        }
    }
    return HD_OK;
}

void hd_bitmap_free(hd_bitmap *b) {
    free(b->any);
    free(b->full);
    free(b->pad);
    b->any = b->full = NULL;
    b->pad = NULL;
}

uint32_t hd_bitmap_tile(const hd_bitmap *b, uint32_t c0, uint32_t c1, uint64_t *set) {
    uint32_t n = 0;
    memset(set, 0, b->stride * sizeof *set);
    for (uint32_t c = c0; c < c1; c++)
        for (uint32_t i = 0; i < b->stride; i++) set[i] |= b->any[(size_t)c * b->stride + i];
    for (uint32_t k = 0; k < b->lists; k++) {
        uint32_t of_list = hd_bitmap_list(b, k, set);
        if (of_list > n) n = of_list;
    }
    return n;
}

uint32_t hd_bitmap_list(const hd_bitmap *b, uint32_t list, const uint64_t *set) {
    uint32_t n = 0;
    for (uint32_t i = list * b->per; i < (list + 1) * b->per; i++) n += (uint32_t)__builtin_popcountll(set[i]);
    return n;
}

/* Shorter lists are filled up with weights that add up to nothing. A grid without zero needs a lane that no channel reads, or two steps of opposite signs. */
static int tile_fills_up(const hd_bitmap *b, const uint64_t *set, uint32_t steps) {
    for (uint32_t k = 0; k < b->lists; k++)
        if (b->pad[k] == HD_NO_WORD && (steps - hd_bitmap_list(b, k, set)) % 2) return 0;
    return 1;
}

/* Does a present block of the tile hold a zero weight on a real input? Then only a grid with zero can express it. */
static int tile_has_zero(const hd_bitmap *b, uint32_t c0, uint32_t c1, const uint64_t *set) {
    for (uint32_t c = c0; c < c1; c++)
        for (uint32_t i = 0; i < b->stride; i++)
            if (set[i] & ~b->full[(size_t)c * b->stride + i]) return 1;
    return 0;
}

/* ---- one encoding ---- */

/* Smallest B with |u| <= 2^B - 1 for every weight of the layer. */
static uint32_t bits_needed(const hd_stage *s, size_t n, hd_encoding e) {
    int worst = 1;
    for (size_t i = 0; i < n; i++) {
        int v = s->v[i], u = e == HD_ENC_ODD ? v : e == HD_ENC_EVEN ? v + 1 : 2 * v + 1;
        if (u < 0) u = -u;
        if (u > worst) worst = u;
    }
    uint32_t b = 1;
    while ((1 << b) - 1 < worst) b++;
    return b;
}

/* Slots of the fetch unit and TILE and SEG cycles for the whole layer (docs/hardware.md). */
static uint64_t fetch_cycles(const hd_plan *p, const hd_slice *sl) {
    const hd_walk *w = &p->walk;
    uint64_t positions = (uint64_t)w->out_h * w->out_w, cycles = 0, at = 0;
    int single = w->dx > 1 || w->sx > w->kw, pair = p->g->fetch == 2 && sl->ncb % 2 == 0;
    uint32_t words = pair ? sl->ncb / 2 : sl->ncb, residual = pair && sl->res_n % 2 == 0 ? sl->res_n / 2 : sl->res_n;
    while (at < positions) {
        uint64_t end = at + p->g->rows < positions ? at + p->g->rows : positions;
        cycles += 1 + (end - at) * residual * p->g->slot;
        while (at < end) {
            uint64_t n = w->out_w - at % w->out_w;
            if (n > end - at) n = end - at;
            if (single) n = 1;
            uint64_t columns = single ? w->kw : (n - 1) * w->sx + w->kw;
            cycles += 1 + w->kh * columns * words * p->g->slot;
            at += n;
        }
    }
    return cycles;
}

/* Cycles of one pass with `tile` channels a tile, or 0 when the encoding cannot express a tile's zeros. */
static uint64_t pass_cycles(const hd_plan *p, const hd_slice *sl, const hd_bitmap *b, uint64_t *set, uint64_t *steps) {
    uint64_t cycles = 0;
    uint32_t channels = sl->o1 - sl->o0;
    *steps = 0;
    for (uint32_t c = 0; c < sl->nch; c += sl->tile) {
        uint32_t c1 = c + sl->tile < channels ? c + sl->tile : channels;
        uint32_t n = c < c1 ? hd_bitmap_tile(b, c, c1, set) : 0;
        if (n && p->encoding == HD_ENC_ODD && (tile_has_zero(b, c, c1, set) || !tile_fills_up(b, set, n))) return 0;
        if (!n) n = p->encoding == HD_ENC_ODD ? 2 : 1;
        if (hd_plan_subtracts(p)) n *= 2;
        uint32_t drained = sl->nch - c < sl->tile ? (sl->nch - c) * p->cpc : sl->tile_cols;
        *steps += (uint64_t)n * sl->parts;
        drained *= hd_geometry_drain(p->g);
        cycles += (uint64_t)(n > drained ? n : drained) * sl->parts;
    }
    return cycles;
}

/* Chooses the channels per tile of one slice; 0 when the encoding fits none. */
static uint64_t plan_tiles(hd_plan *p, hd_slice *sl, const hd_bitmap *b, uint64_t *set) {
    const hd_geometry *g = p->g;
    sl->nch = hd_geometry_drained(g, sl->o1 - sl->o0, p->cpc);
    uint64_t passes = ((uint64_t)p->walk.out_h * p->walk.out_w + g->rows - 1) / g->rows, fetch = fetch_cycles(p, sl);
    uint64_t best = 0;
    hd_slice chosen = *sl;
    uint32_t most = p->cpc > g->cols ? 1 : g->cols / p->cpc;
    sl->parts = hd_ceil_div(p->cpc, g->cols);
    for (uint32_t t = most; t; t--) {
        /* A residual word serves whole tiles: the tile must divide LANES. */
        if (sl->res_n && (t & (t - 1) || t > g->lanes)) continue;
        if (!sl->res_n && t > sl->nch) continue;
        sl->tile = t;
        sl->tile_cols = t * p->cpc / sl->parts;
        uint64_t pass = pass_cycles(p, sl, b, set, &sl->steps);
        if (!pass) continue;
        uint64_t total = pass * passes > fetch ? pass * passes : fetch;
        /* Fetch is the longer one for several tiles: then take the fewest steps. */
        total = total * 1024 + (pass < 1024 ? pass : 1023);
        if (!best || total < best) best = total, chosen = *sl;
    }
    if (best) *sl = chosen;
    return best / 1024;
}

/* ---- slices ---- */

/* Sets the input words that output channels o0..o1-1 read. */
static void slice_inputs(const hd_plan *p, hd_slice *sl) {
    uint32_t lanes = p->g->lanes;
    if (p->expanded) {
        sl->cb0 = 0;
        sl->ncb = p->walk.words;
    } else {
        uint32_t c0 = sl->o0 / p->opg * p->cpg, c1 = ((sl->o1 - 1) / p->opg + 1) * p->cpg;
        sl->cb0 = c0 / lanes;
        sl->ncb = hd_ceil_div(c1, lanes) - sl->cb0;
    }
    sl->words = p->walk.kh * p->walk.kw * sl->ncb;
    sl->res_n = p->s->residual >= 0 ? hd_ceil_div(sl->o1 - sl->o0, lanes) : 0;
}

/* Cuts the output channels into runs of `step` channels; returns the largest window, in words. */
static uint64_t cut(hd_plan *p, uint32_t step) {
    uint64_t worst = 0;
    uint32_t cout = (uint32_t)p->s->cout;
    p->n_slices = 0;
    for (uint32_t o = 0; o < cout; o += step) {
        hd_slice *sl = &p->slice[p->n_slices++];
        *sl = (hd_slice){.o0 = o, .o1 = cout - o < step ? cout : o + step};
        slice_inputs(p, sl);
        uint64_t words = (uint64_t)p->walk.kh * p->walk.kw * sl->ncb + (p->g->post ? 0 : sl->res_n);
        if (words > worst) worst = words;
    }
    return worst;
}

/* Do all channels have the same parameters and weights, each of its own input, as those of an average do? */
static int channels_are_alike(const hd_stage *s) {
    size_t taps = (size_t)s->kh * (size_t)s->kw;
    if (s->groups != s->cin || s->cout != s->cin) return 0;
    for (int i = 1; i < s->cout; i++)
        if (s->bias[i] != s->bias[0] || s->mult[i] != s->mult[0] || s->shift[i] != s->shift[0] || memcmp(s->v + (size_t)i * taps, s->v, taps * sizeof *s->v)) return 0;
    return 1;
}

/* The fewest slices, `from` or more, whose windows fit; how many pieces that were to *got. Grouped layers read fewer inputs a slice; others only save residual words. */
static hd_status cut_to_fit(hd_plan *p, uint32_t from, uint32_t *got, hd_err *err) {
    const hd_geometry *g = p->g;
    uint32_t cout = (uint32_t)p->s->cout, out_words = hd_ceil_div(cout, g->lanes);
    free(p->slice);
    p->slice = malloc(out_words * sizeof *p->slice);
    if (!p->slice) return hd_fail(err, HD_NOMEM, "layer '%.100s': out of memory", p->s->name);
    uint64_t need = cut(p, g->lanes);
    for (uint32_t pieces = from; need <= g->window_words && pieces <= out_words; pieces++) {
        uint32_t step = hd_ceil_div(out_words, pieces);
        if (p->s->residual >= 0 && step > hd_geometry_residual_words(g)) continue;
        *got = pieces;
        if (cut(p, step * g->lanes) <= g->window_words) return HD_OK;
    }
    char thing[40];
    snprintf(thing, sizeof thing, "window words of %u bytes", g->lanes);
    hd_status st = hd_nofit(g, p->s->name, need, thing, g->window_words, err);
    if (channels_are_alike(p->s) && p->taps > g->window_words && err)
        hd_fail(err, st, "%.400s; heddle compress --split-average %u cuts an average", err->message, g->window_words);
    return st;
}

/* ---- the plan ---- */

static void set_walk(hd_plan *p, int expand) {
    const hd_stage *s = p->s;
    const hd_qtensor *in = &p->m->tensor[s->input], *out = &p->m->tensor[s->output];
    hd_walk *w = &p->walk;
    w->out_h = (uint32_t)out->h;
    w->out_w = (uint32_t)out->w;
    if (expand) {
        w->in_h = w->out_h;
        w->in_w = w->out_w;
        w->words = hd_ceil_div(p->taps * p->cin, p->g->lanes);
        w->kh = w->kw = w->sy = w->sx = w->dy = w->dx = 1;
        w->iy0 = w->ix0 = 0;
        return;
    }
    w->in_h = (uint32_t)in->h;
    w->in_w = (uint32_t)in->w;
    w->words = hd_ceil_div(p->cin, p->g->lanes);
    w->kh = (uint32_t)s->kh;
    w->kw = (uint32_t)s->kw;
    w->sy = (uint32_t)s->sy;
    w->sx = (uint32_t)s->sx;
    /* The dilation of a single row or column has no effect, but dx > 1 would cost segments. */
    w->dy = s->kh > 1 ? (uint32_t)s->dy : 1;
    w->dx = s->kw > 1 ? (uint32_t)s->dx : 1;
    w->iy0 = -s->pad_top;
    w->ix0 = -s->pad_left;
}

/* A global average whose channels fill several words is planned as that of one word's channels at as many positions: word cb of every pixel is position cb, the pixels are the rows of a window
 * one column wide. So what is the same in all words, entries and parameters, is there once, one window holds a word for each pixel, and the array's rows work on one word each. */
static hd_status turn_average(hd_plan *p, hd_err *err) {
    const hd_stage *s = p->s;
    const hd_qtensor *in = &p->m->tensor[s->input];
    uint32_t lanes = p->g->lanes, pixels = (uint32_t)in->h * (uint32_t)in->w;
    if (p->expanded || s->residual >= 0 || s->kh != in->h || s->kw != in->w || s->pad_top || s->pad_left || pixels < 2 || pixels > 255 || p->cin <= lanes || p->cin % lanes || !channels_are_alike(s))
        return HD_OK;
    p->turned = malloc(sizeof *p->turned);
    if (!p->turned) return hd_fail(err, HD_NOMEM, "layer '%.100s': out of memory", s->name);
    *p->turned = *s;
    p->turned->kh = (int)pixels;
    p->turned->kw = p->turned->sy = p->turned->sx = p->turned->dy = p->turned->dx = 1;
    p->turned->cin = p->turned->cout = p->turned->groups = (int)lanes;
    p->walk = (hd_walk){.in_h = pixels, .in_w = p->cin / lanes, .words = 1, .kh = pixels, .kw = 1, .sy = 1, .sx = 1, .dy = 1, .dx = 1, .out_h = 1, .out_w = p->cin / lanes};
    p->s = p->turned;
    p->cin = lanes;
    return HD_OK;
}

static hd_status try_encoding(hd_plan *p, hd_encoding e, const hd_bitmap *maps, uint64_t *set, uint64_t *cost, hd_err *err) {
    const hd_geometry *g = p->g;
    p->encoding = e;
    p->bits = bits_needed(p->s, hd_stage_weights(p->s), e);
    p->cpc = hd_ceil_div(p->bits, g->planes);
    /* Equal parts: a few more planes are cheaper than a tile for each left-over column. */
    uint32_t parts = hd_ceil_div(p->cpc, g->cols);
    p->cpc = hd_ceil_div(p->cpc, parts) * parts;
    p->planes = p->cpc * g->planes;
    *cost = 0;
    for (uint32_t i = 0; i < p->n_slices; i++) {
        uint64_t c = plan_tiles(p, &p->slice[i], &maps[i], set);
        if (!c) {
            *cost = 0;
            return HD_OK;
        }
        *cost += c;
        if (p->slice[i].res_n && (uint64_t)g->lanes * p->slice[i].parts / p->slice[i].tile > 255)
            return hd_nofit(g, p->s->name, (uint64_t)g->lanes * p->slice[i].parts / p->slice[i].tile, "tiles per residual word", 255, err);
    }
    return HD_OK;
}

static hd_status choose(hd_plan *p, const hd_bitmap *maps, uint64_t *set, hd_err *err) {
    size_t n = hd_stage_weights(p->s);
    int odd = 0, even = 0;
    for (size_t i = 0; i < n; i++) {
        if (p->s->v[i] & 1) odd = 1;
        else if (p->s->v[i]) even = 1;
    }
    hd_encoding options[2] = {odd && !even ? HD_ENC_ODD : HD_ENC_EVEN, HD_ENC_MIXED};
    uint32_t n_options = odd && !even ? 2 : 1;
    if (odd && even) options[0] = HD_ENC_MIXED;
    uint64_t best = 0;
    hd_encoding pick = options[0];
    for (uint32_t i = 0; i < n_options; i++) {
        uint64_t cost;
        hd_status st = try_encoding(p, options[i], maps, set, &cost, err);
        if (st) return st;
        if (cost && (!best || cost < best)) best = cost, pick = options[i];
    }
    p->cycles = best;
    return try_encoding(p, pick, maps, set, &best, err);
}

/* What the fields of a descriptor can hold; also keeps every product below within 32 bits. */
hd_status hd_check_fields(const hd_model *m, const hd_stage *s, int expand, hd_err *err) {
    const hd_qtensor *in = &m->tensor[s->input], *out = &m->tensor[s->output];
    const int64_t most = expand ? 65535 : 255; /* of an expanded input the host does the walk */
    const struct {
        const char *name;
        int64_t value, limit;
    } rule[] = {{"window rows", s->kh, most},        {"window columns", s->kw, most},    {"stride rows", s->sy, most},
                {"stride columns", s->sx, most},     {"dilation rows", s->dy, most},     {"dilation columns", s->dx, most},
                {"input rows", in->h, 32767},        {"input columns", in->w, 32767},    {"output columns", out->w, 32767},
                {"output rows", out->h, 32767},      {"input channels", in->c, 65535},   {"output channels", out->c, 65535 - HD_MAX_LANES},
                {"rows of padding", s->pad_top, 32767}, {"columns of padding", s->pad_left, 32767},
                {"rows cut off", -(int64_t)s->pad_top, 32767}, {"columns cut off", -(int64_t)s->pad_left, 32767},
                {"output positions", (int64_t)out->h * out->w, (1 << 24) - 1},
                {"as last input row", (int64_t)(out->h - 1) * s->sy + (int64_t)(s->kh - 1) * s->dy - s->pad_top, 32767},
                {"as last input column", (int64_t)(out->w - 1) * s->sx + (int64_t)(s->kw - 1) * s->dx - s->pad_left, 32767}};
    for (size_t i = 0; i < sizeof rule / sizeof rule[0]; i++)
        if (rule[i].value > rule[i].limit)
            return hd_fail(err, HD_NOFIT, "layer '%.100s' has %lld %s; a descriptor holds %lld", s->name, (long long)rule[i].value, rule[i].name,
                           (long long)rule[i].limit);
    return HD_OK;
}

/* Entries of the largest slice that runs in several passes and does not fit the ring in front of external memory; 0: all fit. */
static uint64_t over_ring(const hd_plan *p) {
    uint64_t most = 0;
    if (!p->g->extern_log2 || (uint64_t)p->walk.out_h * p->walk.out_w <= p->g->rows) return 0;
    for (uint32_t i = 0; i < p->n_slices; i++)
        if (p->slice[i].steps > most) most = p->slice[i].steps;
    return most > p->g->stream_words ? most : 0;
}

/* Encoding and tiles of the slices as they are cut. */
static hd_status plan_slices(hd_plan *p, hd_err *err) {
    hd_status st = HD_OK;
    uint32_t words = 0;
    for (uint32_t i = 0; i < p->n_slices; i++) words = p->slice[i].words > words ? p->slice[i].words : words;
    hd_bitmap *maps = calloc(p->n_slices, sizeof *maps);
    uint64_t *set = calloc((size_t)(words / 64 + 1) * (p->g->gather ? p->g->lanes / 2 : 1), sizeof *set);
    if (!maps || !set) st = hd_fail(err, HD_NOMEM, "layer '%.100s': out of memory", p->s->name);
    for (uint32_t i = 0; i < p->n_slices && !st; i++) st = hd_bitmap_make(&maps[i], p, &p->slice[i], err);
    if (!st) st = choose(p, maps, set, err);
    for (uint32_t i = 0; maps && i < p->n_slices; i++) hd_bitmap_free(&maps[i]);
    free(maps);
    free(set);
    return st;
}

hd_status hd_plan_make(hd_plan *out, const hd_model *m, const hd_stage *s, const hd_geometry *g, int expand, int thin, hd_err *err) {
    hd_plan p = {.s = s, .m = m, .g = g, .expanded = expand, .cin = (uint32_t)s->cin, .taps = (uint32_t)s->kh * (uint32_t)s->kw,
                 .cpg = (uint32_t)(s->cin / s->groups), .opg = (uint32_t)(s->cout / s->groups)};
    hd_status st = hd_check_fields(m, s, expand, err);
    if (st) return st;
    set_walk(&p, expand);
    st = turn_average(&p, err);
    if (st) return st;
    for (uint32_t pieces = thin && channels_are_alike(p.s) ? hd_ceil_div((uint32_t)p.s->cout, g->lanes) : 1;; pieces++) {
        st = cut_to_fit(&p, pieces, &pieces, err);
        if (!st) st = plan_slices(&p, err);
        uint64_t over = st ? 0 : over_ring(&p);
        if (!over) break;
        if (pieces >= hd_ceil_div((uint32_t)p.s->cout, g->lanes)) {
            st = hd_nofit(g, s->name, over, "stream words for one pass of a slice", g->stream_words, err);
            break;
        }
    }
    if (st) hd_plan_free(&p);
    else *out = p;
    return st;
}

void hd_plan_free(hd_plan *p) {
    free(p->turned);
    p->turned = NULL;
    free(p->slice);
    p->slice = NULL;
}
