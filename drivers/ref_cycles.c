/* The timing rules of docs/hardware.md, section "Timing", as recurrences over passes and tiles. */
#include "ref_cycles.h"

#include <stdlib.h>
#include <string.h>

/* Pipeline lengths that the rules leave open; measured once on the RTL, held there by the differential tests. */
enum {
    LOAD = HD_DESC_EARLY + 1, /* descriptor load before a layer's RUN */
    PL = 10,   /* last column on the drain to the first byte of its word */
    PL_SHARED = 12, /* last cycle of the last column on the drain to the last byte, without the cycles of the multiplication */
    TAIL = 0,  /* last write to the end of RUN */
    RES = 1,   /* residual read, counted from LAST + latency; with GATHER the window is read a cycle later, so the read is a cycle earlier */
    POOL = 4,  /* last slot of a pooling layer to the end of RUN */
    LOADED_TO_ISSUE = 2, /* an entry seen by the sequencer to its issue */
    START = 0, /* CONTROL to the first load */
    END = 9    /* the END descriptor's load, to done */
};

static uint32_t log2_of(uint32_t v) {
    uint32_t n = 0;
    while (v > 1) v >>= 1, n++;
    return n;
}

uint32_t hd_ref_latency(const hd_geometry *g) {
    uint32_t hops = (g->cols + g->hop - 1) / g->hop - 1;
    uint32_t tree = log2_of(g->lanes / g->pump / 2) + log2_of(g->planes) + hops;
    return g->pump == 1 ? 6 + tree : 1 + (g->pump + 5 + tree + g->pump - 1) / g->pump;
}

uint64_t hd_ref_cycles_overhead(void) {
    return START + END;
}

/* What decides the timing of a layer. */
typedef struct shape {
    uint64_t line_inverse;    /* 2^26 / line, rounded up */
    int64_t line, rows, drain, kh, kw, sx, ncb, pair, res_pair, out_w, positions, slot, res_n, tile_cols, last_cols, res_after;
    int single, residual, shared; /* shared: post has residual words in a memory of its own */
} shape;

/* The fetch unit's last finished pass. */
typedef struct fetch_state {
    int64_t last;            /* cycle of its last slot */
    int64_t first_slot;      /* cycle of the first slot of its last segment, of the slot's last cycle */
    int64_t columns, offset; /* walked columns of that segment, and the one where the last position's window begins */
} fetch_state;

/* Residual cycles to come: at most one a cycle, and none is further away than latency + RES. */
enum { RING = 128, FEW = 512 }; /* FEW: tiles of a layer that need no allocation */
typedef struct sequencer_state {
    int64_t issued;             /* cycle of the last issued entry */
    int64_t drain_free;         /* earliest cycle of the next LAST */
    int64_t *ring;
    uint32_t head, tail;
} sequencer_state;

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* Pass p from TILE to its last slot. `released` is release(p-2), or -1. */
static void fetch_pass(fetch_state *f, const shape *s, int64_t p, int64_t released, uint64_t *perf) {
    int64_t arrived = p ? f->last + 1 : 1, cycle = max64(arrived, released + 1);
    int64_t at = p * s->rows, end = min64(at + s->rows, s->positions);
    perf[HD_PERF_WAIT_BUFFER] += (uint64_t)(cycle - arrived);
    int64_t residual = (s->res_n >> (s->res_pair - 1)) * (end - at);
    while (at < end) {
        int64_t n = s->single ? 1 : min64(end - at, s->out_w - (int64_t)((uint32_t)at % (uint32_t)s->out_w)); /* positions have 24 bits */
        f->columns = s->single ? s->kw : (n - 1) * s->sx + s->kw;
        f->offset = s->single ? 0 : (n - 1) * s->sx;
        int64_t slots = s->kh * f->columns * s->ncb >> (s->pair - 1); /* one or two words: a division here was an eighth of the whole */
        f->first_slot = cycle + 1 + s->slot;
        cycle += 1 + slots * s->slot;
        perf[HD_PERF_FETCH_WORDS] += (uint64_t)(slots * s->pair);
        at += n;
    }
    perf[HD_PERF_FETCH_WORDS] += (uint64_t)(residual * s->res_pair);
    f->last = cycle + residual * s->slot;
}

/* First cycle in which window word a of the pass can be used: a walk of one or two words a slot. a / line by a reciprocal: exact for 13 bits of a and lines of 4,096 words and less. */
static inline int64_t ready(const fetch_state *f, const shape *s, uint32_t a) {
    int64_t ky = (int64_t)((uint64_t)a * s->line_inverse >> 26);
    return f->first_slot + (((ky * f->columns + f->offset) * s->ncb + a - ky * s->line) >> (s->pair - 1)) * s->slot + 3;
}

/* `there`: when the entry itself is there, which is later than the one before only with external memory. */
static void issue(sequencer_state *q, int64_t there, int64_t word_ready, int is_last, uint64_t *perf) {
    int64_t before = q->issued + 1, first = max64(before, there), x = max64(first, word_ready);
    perf[HD_PERF_WAIT_STREAM] += (uint64_t)(first - before);
    if (is_last) x = max64(x, q->drain_free);
    while (q->head != q->tail) {
        int64_t taken = q->ring[q->head % RING];
        if (taken > x) break;
        if (taken == x) x++;
        q->head++;
    }
    int64_t window = max64(min64(x, word_ready) - first, 0);
    perf[HD_PERF_WAIT_WINDOW] += (uint64_t)window;
    perf[HD_PERF_WAIT_DRAIN] += (uint64_t)(x - first - window);
    q->issued = x;
}

/* n entries up to a LAST that find their window and themselves there: residual cycles and the drain alone hold them. */
static void issue_rest(sequencer_state *q, int64_t n, uint64_t *perf) {
    int64_t x = q->issued + n - 1; /* the one before the last */
    while (q->head != q->tail && q->ring[q->head % RING] <= x) x += q->ring[q->head++ % RING] > q->issued;
    x = max64(x + 1, q->drain_free);
    while (q->head != q->tail && q->ring[q->head % RING] <= x) x += q->ring[q->head++ % RING] == x;
    perf[HD_PERF_WAIT_DRAIN] += (uint64_t)(x - q->issued - n);
    q->issued = x;
}

/* External memory as a layer sees it. */
typedef struct source {
    hd_ref_loader *loader; /* NULL: the stream memory holds the layer */
    uint64_t first, end;   /* the layer's first entry in the program, and the one behind its last */
    int64_t base, passes;  /* the run's cycle 0 of the layer's RUN */
} source;

/* Entries first..last of a tile, no more than the ring has, that come from external memory in this pass or leave the ring with it. Entries are loaded at least a cycle after
 * each other, so that with the window there the last one decides for all. */
static void issue_external(sequencer_state *q, const shape *s, const fetch_state *f, const uint16_t *entry, uint32_t first, uint32_t last, int ends, int whole_at_end,
                           const source *src, int64_t pass, uint64_t *perf) {
    hd_ref_loader *l = src->loader;
    int64_t late = LOADED_TO_ISSUE - src->base, n = (int64_t)(last - first) + 1;
    int loads = pass == 0, frees = pass == src->passes - 1;
    if (loads && l->entries <= src->first + last) { /* as far ahead as places are known to be free */
        uint64_t ahead = src->first + first + l->ring;
        hd_ref_loader_load(l, (ahead < src->end ? ahead : src->end) - 1);
    }
    const int64_t *loaded = l->loaded + src->first;
    if (q->issued + 1 >= f->last + 3 && q->head == q->tail) {
        int64_t before = q->issued, x = loads ? max64(before + n, loaded[last] + late) : before + n, held = ends ? max64(q->drain_free - x, 0) : 0;
        perf[HD_PERF_WAIT_STREAM] += (uint64_t)(x - before - n);
        perf[HD_PERF_WAIT_DRAIN] += (uint64_t)held;
        q->issued = x + held;
        int64_t alone = before + 1 - (int64_t)first; /* entry i issues at alone + i, or when it is there */
        for (uint32_t i = first; frees && i < last && src->first + i + l->ring < l->stream->n; i++)
            hd_ref_loader_free_entry(l, src->first + i, src->base + max64(alone + (int64_t)i, loads ? loaded[i] + late : 0));
        if (frees) hd_ref_loader_free_entry(l, src->first + last, src->base + q->issued);
        return;
    }
    for (uint32_t i = first; i <= last; i++) {
        uint32_t e = entry[i];
        int64_t word = i == last && whole_at_end ? f->last + 3 : ready(f, s, (uint32_t)hd_field_get(&e, HD_I_ADDRESS));
        issue(q, loads ? loaded[i] + late : 0, word, i == last && ends, perf);
        if (frees) hd_ref_loader_free_entry(l, src->first + i, q->issued + src->base);
    }
}

/* All entries of one pass. */
static void sequence_pass(sequencer_state *q, const shape *s, const fetch_state *f, const uint16_t *entry, const uint32_t *tile, uint32_t tiles,
                          const source *src, int64_t pass, uint64_t *perf) {
    int external = src->loader && (pass == 0 || pass == src->passes - 1);
    for (uint32_t t = 0; t < tiles; t++) {
        uint32_t i = t ? tile[t - 1] + 1 : 0, last = tile[t];
        /* A pass ends, and a residual is read, only with the whole window there. */
        int whole_at_end = s->residual || t == tiles - 1;
        while (external && i <= last) {
            uint32_t end = last - i < src->loader->ring ? last : i + src->loader->ring - 1;
            issue_external(q, s, f, entry, i, end, end == last, end == last && whole_at_end, src, pass, perf);
            i = end + 1;
        }
        for (; i <= last && q->issued + 1 < f->last + 3; i++) {
            uint32_t e = entry[i];
            issue(q, 0, i == last && whole_at_end ? f->last + 3 : ready(f, s, (uint32_t)hd_field_get(&e, HD_I_ADDRESS)), i == last, perf);
        }
        if (i <= last) issue_rest(q, (int64_t)(last - i) + 1, perf);
        if (s->residual && !s->shared) q->ring[q->tail++ % RING] = q->issued + s->res_after;
        q->drain_free = q->issued + (t == tiles - 1 ? s->last_cols : s->tile_cols) * s->drain;
    }
}

/* ---- passes that repeat ---- */

/* A layer between two passes. */
typedef struct conv_state {
    fetch_state fetch;
    sequencer_state q;
    int64_t released[2]; /* of the last pass and of the one before */
    uint64_t perf[HD_PERF_WORDS];
} conv_state;

/* Passes after which the windows lie on the output lines as before. */
static int64_t passes_alike(const shape *s) {
    uint32_t a = (uint32_t)s->out_w, b = (uint32_t)s->rows;
    if (s->single || a % b == 0 || b % a == 0) return 1;
    while (b) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return s->out_w / a;
}

/* What is over has no effect on later passes: it is put where it has none either, so that equal states look equal. */
static void forget_past(conv_state *c) {
    c->q.drain_free = max64(c->q.drain_free, c->q.issued + 1);
    for (int i = 0; i < 2; i++) c->released[i] = max64(c->released[i], c->fetch.last);
    while (c->q.head != c->q.tail && c->q.ring[c->q.head % RING] <= c->q.issued) c->q.head++;
}

/* Is b what a was, a number of cycles later? */
static int same_but_later(const conv_state *a, const conv_state *b) {
    int64_t later = b->fetch.last - a->fetch.last;
    uint32_t n = b->q.tail - b->q.head;
    if (b->q.issued - a->q.issued != later || b->q.drain_free - a->q.drain_free != later || b->released[0] - a->released[0] != later ||
        b->released[1] - a->released[1] != later || a->q.tail - a->q.head != n)
        return 0;
    for (uint32_t i = 0; i < n; i++)
        if (b->q.ring[(b->q.head + i) % RING] - a->q.ring[(a->q.head + i) % RING] != later) return 0;
    return 1;
}

/* The state of c, with a ring of its own. */
static void remember(conv_state *to, const conv_state *c) {
    int64_t *ring = to->q.ring;
    *to = *c;
    to->q.ring = ring;
    for (uint32_t i = c->q.head; i != c->q.tail; i++) ring[i % RING] = c->q.ring[i % RING];
}

/* What happened from a to c happens `times` times more. */
static void repeat(conv_state *c, const conv_state *a, int64_t times) {
    int64_t later = (c->fetch.last - a->fetch.last) * times;
    c->fetch.last += later;
    c->fetch.first_slot += later;
    c->q.issued += later;
    c->q.drain_free += later;
    for (int i = 0; i < 2; i++) c->released[i] += later;
    for (uint32_t i = c->q.head; i != c->q.tail; i++) c->q.ring[i % RING] += later;
    for (int i = 0; i < HD_PERF_WORDS; i++) c->perf[i] += (c->perf[i] - a->perf[i]) * (uint64_t)times;
}

/* Last entry of each tile, found four entries at a time. */
static uint32_t find_tiles(uint32_t *tile, const uint16_t *entry, uint32_t n) {
    uint32_t tiles = 0;
    for (uint32_t i = 0; i < n;) {
        uint64_t four;
        if (n - i >= 4) {
            memcpy(&four, entry + i, sizeof four);
            if (!(four & 0x8000800080008000u)) {
                i += 4;
                continue;
            }
        }
        for (uint32_t end = n - i < 4 ? n : i + 4; i < end; i++) {
            uint32_t e = entry[i];
            if (hd_field_get(&e, HD_I_LAST)) tile[tiles++] = i;
        }
    }
    return tiles;
}

static hd_status conv_cycles(uint64_t *perf, const hd_geometry *g, const uint32_t *d, const shape *s, const uint16_t *entry, source *src, hd_err *err) {
    uint32_t n = (uint32_t)(hd_field_get(d, HD_F_STREAM_LAST) - hd_field_get(d, HD_F_STREAM_FIRST) + 1);
    int64_t passes = ((uint32_t)s->positions + g->rows - 1) / g->rows; /* 32 bits where they are enough: a division of 64 takes long */
    uint32_t few[FEW], *tile = n <= FEW ? few : malloc((size_t)n * sizeof *tile);
    if (!tile) return hd_fail(err, HD_NOMEM, "ref: out of memory for %u entries", n);
    uint32_t tiles = find_tiles(tile, entry, n);
    src->passes = passes;
    src->end = src->first + n;
    int64_t ring[2][RING];
    conv_state c = {.q = {.issued = 2, .ring = ring[0]}, .released = {-1, -1}}, before = {.q = {.ring = ring[1]}}; /* the first entry issues from cycle 3 */
    int64_t alike = passes_alike(s), repeated = 0;
    int64_t until = min64((uint32_t)s->positions / g->rows, src->loader ? passes - 1 : passes); /* passes of all rows that touch no external memory, but the first */
    for (int64_t p = 0; p < passes; p++) {
        if (p && !repeated && p + alike <= until && (alike == 1 || (p - 1) % alike == 0)) {
            forget_past(&c);
            if (p > alike && same_but_later(&before, &c)) {
                repeated = alike == 1 ? until - p : (until - p) / alike;
                repeat(&c, &before, repeated);
                p += repeated * alike;
                if (p == passes) break;
            }
            remember(&before, &c);
        }
        fetch_pass(&c.fetch, s, p, c.released[1], c.perf);
        sequence_pass(&c.q, s, &c.fetch, entry, tile, tiles, src, p, c.perf);
        c.released[1] = c.released[0];
        c.released[0] = c.q.issued + (!s->residual ? 0 : s->shared ? s->res_after + s->last_cols * s->drain : s->res_after);
    }
    if (tile != few) free(tile);
    memcpy(perf, c.perf, sizeof c.perf);
    perf[HD_PERF_STEPS] = (uint64_t)n * (uint64_t)passes;
    perf[HD_PERF_WRITES] = (uint64_t)(s->positions * (((uint32_t)hd_field_get(d, HD_F_COUT) + g->lanes - 1) / g->lanes));
    int64_t store = g->post ? PL_SHARED + (int64_t)g->post - !g->sums : PL + s->rows;
    perf[HD_PERF_CYCLES] = (uint64_t)(LOAD + c.q.issued + hd_ref_latency(g) + s->last_cols * s->drain + store + TAIL);
    return HD_OK;
}

static void pool_cycles(uint64_t *perf, const shape *s, int64_t slices) {
    int64_t window = s->kh * s->kw, last = slices * (1 + s->positions * (1 + window));
    perf[HD_PERF_FETCH_WORDS] = (uint64_t)(slices * s->positions * window);
    perf[HD_PERF_WRITES] = (uint64_t)(slices * s->positions);
    perf[HD_PERF_CYCLES] = (uint64_t)(LOAD + last + POOL);
}

hd_status hd_ref_cycles(uint64_t perf[HD_PERF_WORDS], const hd_geometry *g, const uint32_t *d, const uint16_t *entry, hd_ref_loader *loader, hd_err *err) {
    shape s = {.rows = g->rows, .drain = hd_geometry_drain(g), .kh = hd_field_get(d, HD_F_KH), .kw = hd_field_get(d, HD_F_KW), .sx = hd_field_get(d, HD_F_SX),
               .ncb = hd_field_get(d, HD_F_NCB), .out_w = hd_field_get(d, HD_F_OUT_W), .positions = hd_field_get(d, HD_F_POSITIONS), .slot = g->slot,
               .res_n = hd_field_get(d, HD_F_RES_N), .tile_cols = hd_field_get(d, HD_F_TILE_COLS), .last_cols = hd_field_get(d, HD_F_LAST_COLS),
               .shared = g->post != 0, .res_after = hd_ref_latency(g) + (g->post ? 0 : RES - g->gather), .single = (int)hd_field_get(d, HD_F_SINGLE), .residual = (int)hd_field_get(d, HD_F_RESIDUAL)};
    /* A slot brings two words where that is possible all along the walk. */
    s.pair = g->fetch == 2 && s.ncb % 2 == 0 && hd_field_get(d, HD_F_OPCODE) == HD_OP_CONV ? 2 : 1;
    s.res_pair = s.pair == 2 && s.res_n % 2 == 0 ? 2 : 1;
    s.line = s.kw * s.ncb;
    s.line_inverse = (((uint32_t)1 << 26) + (uint32_t)s.line - 1) / (uint32_t)s.line;
    memset(perf, 0, HD_PERF_WORDS * sizeof *perf);
    hd_status st = HD_OK;
    if (hd_field_get(d, HD_F_OPCODE) == HD_OP_CONV) {
        source src = {.loader = loader, .first = (uint64_t)hd_field_get(d, HD_F_STREAM_FIRST), .base = loader ? (int64_t)loader->now + START + LOAD : 0};
        st = conv_cycles(perf, g, d, &s, entry, &src, err);
    } else {
        pool_cycles(perf, &s, hd_field_get(d, HD_F_SLICES));
    }
    if (loader) loader->now += perf[HD_PERF_CYCLES];
    return st;
}
