/* From bits in the memories back to numbers: the weight stream of each layer becomes small integer factors. */
#include <stdlib.h>
#include <string.h>

#include "ref.h"

#define GET(l, name) hd_field_get((l)->desc, HD_F_##name)

static hd_status refuse(uint32_t n, const char *what, hd_err *err) {
    return hd_fail(err, HD_DEVICE, "ref: descriptor %u: %s", n, what);
}

void hd_ref_forget(hd_device *d) {
    for (uint32_t i = 0; i < d->n_layers; i++) {
        free(d->layer[i].entry);
        free(d->layer[i].pair);
        free(d->layer[i].tile);
        free(d->layer[i].run);
        free(d->layer[i].coef);
    }
    free(d->layer);
    d->layer = NULL;
    d->n_layers = 0;
    d->decoded = 0;
}

/* A device would hang on these or read what was never written. */
static hd_status check_common(const hd_ref_layer *l, uint32_t n, hd_err *err) {
    if (!GET(l, KH) || !GET(l, KW) || !GET(l, NCB)) return refuse(n, "empty window", err);
    if (!GET(l, OUT_W) || !GET(l, POSITIONS) || GET(l, POSITIONS) % GET(l, OUT_W)) return refuse(n, "positions are no whole output lines", err);
    if (!GET(l, SINGLE) && GET(l, DX) != 1) return refuse(n, "DX without SINGLE", err);
    return HD_OK;
}

static int64_t entries_of(const hd_device *d) {
    return d->g.extern_log2 ? (int64_t)d->stream.n : (int64_t)d->g.stream_words;
}

static hd_status check_conv(const hd_device *d, const hd_ref_layer *l, uint32_t n, hd_err *err) {
    hd_status st = check_common(l, n, err);
    if (st) return st;
    if (!GET(l, SINGLE) && GET(l, SX) > GET(l, KW)) return refuse(n, "SX > KW without SINGLE", err);
    /* A shared post lane has its residual words in a memory of their own. */
    if (GET(l, RES_N) > hd_geometry_residual_words(&d->g)) return refuse(n, "residual words outside their memory", err);
    if (GET(l, KH) * GET(l, KW) * GET(l, NCB) + (d->g.post ? 0 : GET(l, RES_N)) > d->g.window_words) return refuse(n, "window larger than its memory", err);
    if (GET(l, STREAM_FIRST) > GET(l, STREAM_LAST) || GET(l, STREAM_LAST) >= entries_of(d)) return refuse(n, "stream outside its memory", err);
    if (!GET(l, CPC) || !GET(l, TILE_COLS) || !GET(l, LAST_COLS) || GET(l, TILE_COLS) > d->g.cols || GET(l, LAST_COLS) > d->g.cols)
        return refuse(n, "columns outside the array", err);
    if (GET(l, NCH) < GET(l, COUT) || !GET(l, COUT)) return refuse(n, "no channels, or fewer drained than written", err);
    if (GET(l, PARAM_FIRST) + GET(l, NCH) > d->g.param_words) return refuse(n, "parameters outside their memory", err);
    if (GET(l, TABLE) && GET(l, TABLE_ID) >= d->g.tables) return refuse(n, "table outside its memory", err);
    if (GET(l, RESIDUAL) && !GET(l, RES_TILES)) return refuse(n, "RES_TILES 0", err);
    return HD_OK;
}

/* ---- tiles ---- */

static hd_status find_tiles(hd_device *d, hd_ref_layer *l, uint32_t n, hd_err *err) {
    uint32_t first = (uint32_t)GET(l, STREAM_FIRST);
    int64_t window = GET(l, KH) * GET(l, KW) * GET(l, NCB);
    l->n_entries = (uint32_t)GET(l, STREAM_LAST) - first + 1;
    l->entry = malloc(l->n_entries * sizeof *l->entry);
    uint32_t pairs = hd_geometry_pairs(&d->g);
    if (pairs) l->pair = malloc((size_t)l->n_entries * pairs * sizeof *l->pair);
    if (!l->entry || (pairs && !l->pair)) return hd_fail(err, HD_NOMEM, "ref: out of memory for %u entries", l->n_entries);
    for (uint32_t i = 0; i < l->n_entries; i++) {
        uint32_t e = d->g.extern_log2 ? d->stream.entry[first + i].index : d->index[(size_t)(first + i) << d->index_shift];
        l->entry[i] = (uint16_t)e;
        l->n_tiles += hd_field_get(&e, HD_I_LAST) != 0;
        if (hd_field_get(&e, HD_I_ADDRESS) >= window) return refuse(n, "entry addresses a word outside the window", err);
        /* The hardware waits for ADDRESS alone; a pair's word behind it could be read before it is there. */
        for (uint32_t k = 0; k < pairs; k++) {
            uint16_t a = (uint16_t)(d->index[((size_t)(first + i) << d->index_shift) + 1 + k / 2] >> (k % 2 * 16));
            if (a > hd_field_get(&e, HD_I_ADDRESS)) return refuse(n, "a pair addresses a word behind its entry's", err);
            l->pair[(size_t)i * pairs + k] = a;
        }
        int ends = hd_field_get(&e, HD_I_LAST) && hd_field_get(&e, HD_I_FINAL);
        if (ends != (i == l->n_entries - 1)) return refuse(n, "the final tile does not end with the stream", err);
    }
    l->tile = calloc(l->n_tiles, sizeof *l->tile);
    if (!l->tile) return hd_fail(err, HD_NOMEM, "ref: out of memory for %u tiles", l->n_tiles);
    hd_ref_tile *t = l->tile;
    t->contiguous = 1;
    for (uint32_t i = 0; i < l->n_entries; i++) {
        uint32_t e = l->entry[i];
        if (!t->steps) t->first = i, t->contiguous = !d->g.gather;
        else if (hd_field_get(&e, HD_I_ADDRESS) != (l->entry[i - 1] & hd_field_mask(HD_I_ADDRESS)) + 1) t->contiguous = 0;
        t->steps++;
        if (t->steps > l->most_steps) l->most_steps = t->steps;
        if (hd_field_get(&e, HD_I_LAST)) t++;
    }
    return HD_OK;
}

/* ---- weights ---- */

/* Factors of one column: sum over planes of 2^p * sign, for each lane of each step; the ones come off the sum. */
static void column_factors(const hd_device *d, const hd_ref_layer *l, const hd_ref_tile *t, uint32_t position, int32_t *factor, int64_t *ones) {
    uint32_t lanes = d->g.lanes, planes = d->g.planes, part = lanes / d->g.pump; /* lanes of an element */
    *ones = 0;
    for (uint32_t s = 0; s < t->steps; s++) {
        size_t n = (size_t)GET(l, STREAM_FIRST) + t->first + s;
        const hd_ref_entry *e = d->g.extern_log2 ? &d->stream.entry[n] : NULL;
        const uint32_t *memory = !e ? d->weight : e->coded ? d->stream.decoded : d->external + hd_ref_first_word(d);
        size_t room = !e ? d->weight_room : e->coded ? d->stream.decoded_words : d->external_room - hd_ref_first_word(d);
        for (uint32_t i = 0; i < lanes / 2; i++) {
            int32_t a0 = 0, a1 = 0;
            size_t element = e ? e->weights : (n * d->g.pump + 2 * i / part) << d->weight_shift;
            for (uint32_t p = 0; p < planes; p++) {
                uint32_t bit = position * part * planes + p * part + 2 * i % part;
                /* Weights never written read as zero. */
                uint32_t word = element + bit / 32 < room ? memory[element + bit / 32] : 0;
                uint32_t sel = word >> (bit % 32) & 1, neg = word >> (bit % 32 + 1) & 1;
                int32_t s0 = neg ? -1 : 1, s1 = sel ? -s0 : s0;
                a0 += s0 * (1 << p);
                a1 += s1 * (1 << p);
                *ones += (int64_t)neg << p;
            }
            factor[s * lanes + 2 * i] = a0;
            factor[s * lanes + 2 * i + 1] = a1;
        }
    }
}

/* Can the column's accumulator pass its width for some activations? */
static int may_wrap(const int32_t *factor, size_t n, int64_t ones, uint32_t bits) {
    int64_t lo = -ones, hi = lo;
    for (size_t i = 0; i < n; i++) {
        lo += factor[i] > 0 ? -128 * (int64_t)factor[i] : 127 * (int64_t)factor[i];
        hi += factor[i] > 0 ? 127 * (int64_t)factor[i] : -128 * (int64_t)factor[i];
    }
    return lo < -((int64_t)1 << (bits - 1)) || hi > ((int64_t)1 << (bits - 1)) - 1;
}

/* Joins column `next` to the run's factors: f = f * 2^PLANES + next. 0 when a factor leaves 16 bits. */
static int join(int32_t *f, const int32_t *next, size_t n, uint32_t planes) {
    int ok = 1;
    for (size_t i = 0; i < n; i++) {
        int64_t v = f[i] * ((int64_t)1 << planes) + next[i];
        if (v < INT16_MIN || v > INT16_MAX) ok = 0;
    }
    for (size_t i = 0; ok && i < n; i++) f[i] = f[i] * (1 << planes) + next[i];
    return ok;
}

typedef struct decode_state {
    hd_ref_layer *l;
    size_t coef_used, coef_room;
    uint32_t run_room;
    int32_t *joined, *column;
} decode_state;

static hd_status put_run(decode_state *s, const hd_ref_run *run, size_t n, hd_err *err) {
    hd_ref_layer *l = s->l;
    if (l->n_runs == s->run_room) {
        uint32_t room = s->run_room ? s->run_room * 2 : 64;
        hd_ref_run *grown = realloc(l->run, room * sizeof *grown);
        if (!grown) return hd_fail(err, HD_NOMEM, "ref: out of memory for %u channels", room);
        l->run = grown;
        s->run_room = room;
    }
    if (s->coef_used + n > s->coef_room) {
        size_t room = (s->coef_used + n) * 2;
        int16_t *grown = realloc(l->coef, room * sizeof *grown);
        if (!grown) return hd_fail(err, HD_NOMEM, "ref: out of memory for %zu weights", room);
        l->coef = grown;
        s->coef_room = room;
    }
    for (size_t i = 0; i < n; i++) l->coef[s->coef_used + i] = (int16_t)s->joined[i];
    l->run[l->n_runs] = *run;
    l->run[l->n_runs++].coef = s->coef_used;
    s->coef_used += n;
    return HD_OK;
}

static hd_status decode_tile(hd_device *d, decode_state *s, hd_ref_tile *t, uint32_t drained, uint32_t columns, hd_err *err) {
    hd_ref_layer *l = s->l;
    uint32_t cpc = (uint32_t)GET(l, CPC), planes = d->g.planes;
    size_t n = (size_t)t->steps * d->g.lanes;
    t->run = l->n_runs;
    hd_ref_run run = {0};
    int open = 0, open_wraps = 0;
    for (uint32_t c = 0; c < columns; c++) {
        uint32_t channel = (drained + c) / cpc, of_channel = (drained + c) % cpc;
        int64_t ones;
        column_factors(d, l, t, c, s->column, &ones);
        int wraps = may_wrap(s->column, n, ones, d->g.acc_bits);
        if (open && !wraps && !open_wraps && channel == run.channel && join(s->joined, s->column, n, planes)) {
            run.shift += planes;
            run.ones = (run.ones << planes) + (uint64_t)ones;
        } else {
            if (open) {
                hd_status st = put_run(s, &run, n, err);
                if (st) return st;
            }
            run = (hd_ref_run){.shift = planes, .channel = channel, .starts = of_channel == 0, .ones = (uint64_t)ones};
            memcpy(s->joined, s->column, n * sizeof *s->joined);
            open = 1;
            open_wraps = wraps;
        }
        run.ends = of_channel == cpc - 1;
    }
    hd_status st = put_run(s, &run, n, err);
    t->runs = l->n_runs - t->run;
    return st;
}

static hd_status decode_conv(hd_device *d, hd_ref_layer *l, uint32_t n, hd_err *err) {
    hd_status st = check_conv(d, l, n, err);
    if (!st) st = find_tiles(d, l, n, err);
    if (st) return st;
    int64_t columns = (l->n_tiles - 1) * GET(l, TILE_COLS) + GET(l, LAST_COLS);
    if (columns != GET(l, NCH) * GET(l, CPC)) return refuse(n, "the tiles' columns do not make NCH channels", err);
    size_t most = (size_t)l->most_steps * d->g.lanes;
    decode_state s = {.l = l, .joined = malloc(most * sizeof *s.joined), .column = malloc(most * sizeof *s.column)};
    if (!s.joined || !s.column) st = hd_fail(err, HD_NOMEM, "ref: out of memory");
    uint32_t tile_cols = (uint32_t)GET(l, TILE_COLS), last_cols = (uint32_t)GET(l, LAST_COLS);
    for (uint32_t t = 0; t < l->n_tiles && !st; t++)
        st = decode_tile(d, &s, &l->tile[t], t * tile_cols, t == l->n_tiles - 1 ? last_cols : tile_cols, err);
    free(s.joined);
    free(s.column);
    return st;
}

/* A device with a ring takes entries in order and would wait for ever for one that has left it. */
static hd_status check_order(const hd_device *d, const hd_ref_layer *l, uint32_t n, uint64_t *next, hd_err *err) {
    uint64_t first = (uint64_t)GET(l, STREAM_FIRST), entries = (uint64_t)GET(l, STREAM_LAST) - first + 1;
    if (first != *next) return refuse(n, "entries that do not follow those of the layer before", err);
    if (GET(l, POSITIONS) > d->g.rows && entries > d->g.stream_words) return refuse(n, "several passes over more entries than the ring has", err);
    *next = first + entries;
    return HD_OK;
}

/* All descriptors up to END; with EXTERN they take the stream's entries in order, as the loader brings them. */
static hd_status decode_all(hd_device *d, hd_ref_loader *loader, hd_err *err) {
    hd_status st = HD_OK;
    size_t gather = 1;
    uint64_t next = 0;
    for (uint32_t i = 0;; i++) {
        if (hd_ref_first(d) + i == d->g.descriptors) return refuse(i, "no END", err);
        hd_ref_layer *l = &d->layer[i];
        memcpy(l->desc, d->desc + (size_t)(hd_ref_first(d) + i) * HD_DESC_STRIDE, sizeof l->desc);
        if (GET(l, OPCODE) == HD_OP_END) break;
        d->n_layers = i + 1;
        if (GET(l, OPCODE) == HD_OP_CONV) {
            st = loader ? check_order(d, l, i, &next, err) : HD_OK;
            if (!st) st = decode_conv(d, l, i, err);
        } else if (GET(l, OPCODE) == HD_OP_MAXPOOL) {
            st = check_common(l, i, err);
            if (!st && GET(l, NCB) != 1) st = refuse(i, "NCB of a pooling layer", err);
        } else {
            st = refuse(i, "unknown opcode", err);
        }
        if (!st) st = hd_ref_cycles(l->perf, &d->g, l->desc, l->entry, loader, err);
        if (st) return st;
        if (l->most_steps > gather) gather = l->most_steps;
    }
    free(d->gather);
    d->gather = malloc(gather * d->g.lanes * sizeof *d->gather);
    if (!d->gather) return hd_fail(err, HD_NOMEM, "ref: out of memory");
    d->decoded = 1;
    return HD_OK;
}

hd_status hd_ref_decode(hd_device *d, hd_err *err) {
    hd_ref_forget(d);
    d->layer = calloc(d->g.descriptors, sizeof *d->layer);
    if (!d->layer) return hd_fail(err, HD_NOMEM, "ref: out of memory");
    hd_status st = HD_OK;
    hd_ref_loader loader = {0};
    size_t from = d->g.extern_log2 ? hd_ref_first_word(d) : 0;
    const uint32_t *words = d->external ? d->external + from : NULL;
    if (d->g.extern_log2) st = hd_ref_stream_read(&d->stream, &d->g, words, d->external_room - from, err);
    if (d->g.extern_log2 && !st) st = hd_ref_stream_decode(&d->stream, &d->g, words, err);
    if (d->g.extern_log2 && !st) st = hd_ref_loader_start(&loader, &d->stream, &d->g, err);
    if (!st) st = decode_all(d, d->g.extern_log2 ? &loader : NULL, err);
    hd_ref_loader_free(&loader);
    return st;
}
