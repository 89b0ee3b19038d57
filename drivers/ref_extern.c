/* The cycle in which each entry of the weight stream in external memory is in the ring: a recurrence over the rules of docs/hardware.md, "External memory".
 * Words that follow each other without an event (a row's end, a refresh, a wait) come two cycles apart and are counted together. */
#include <stdlib.h>

#include "ref_cycles.h"

enum {
    FIFO = 8,
    TAKEN_TO_LOADED = 2,
    READ_TO_TAKE = 4, /* and CL */
    WORDS_OF_ROW = 256,
    FULL = 2 * FIFO - 1 /* a word taken so long after it was read leaves the FIFO room for one in two cycles; later, it may not */
};

static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static int64_t clocks(int64_t ns, int64_t mhz) {
    return (ns * mhz + 999) / 1000;
}
static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t even(int64_t v) {
    return (v + 1) / 2 * 2;
}

/* First odd cycle of its period, `from` or later, in which a row may open; from is not before the period of the last READ. */
static int64_t row_opens(const hd_ref_loader *l, int64_t from) {
    int64_t base = l->refresh;
    while (from >= base + l->period) base += l->period;
    int64_t t = max64(from - base, l->open);
    if (t % 2 == 0) t++;
    return t > l->last_open ? base + l->period + l->open : base + t;
}

static void open_row(hd_ref_loader *l, int64_t cycle) {
    l->row_open = cycle;
    l->readable = cycle + l->ready;
    l->next_open = row_opens(l, l->readable);
}

/* The cycle in which word `at` is READ; words come in order. `from`: when there is a place in the FIFO. */
static int64_t read_word(hd_ref_loader *l, int64_t from) {
    int64_t r = max64(max64(l->read + 2, from), l->readable);
    for (;;) {
        r = even(r);
        while (r >= l->refresh + l->period) l->refresh += l->period;
        if (l->row_open >= l->refresh) break;
        /* A refresh closed the row in between. */
        open_row(l, l->refresh + l->open);
        r = max64(r, l->readable);
    }
    if (l->at % WORDS_OF_ROW == WORDS_OF_ROW - 1) {
        if (l->next_open < r) {
            l->row_open = l->next_open;
            l->readable = l->row_open + l->ready;
            l->next_open = row_opens(l, max64(r + 1, l->readable));
        } else {
            open_row(l, row_opens(l, r + 1));
        }
    }
    l->at++;
    return l->read = r;
}

/* One word, taken in cycle `least` or later. */
static void take_word(hd_ref_loader *l, int64_t least) {
    int64_t *place = &l->fifo[l->at % FIFO];
    int64_t take = max64(read_word(l, *place + 1) + l->delay, l->taken + 2);
    *place = l->taken = max64(take, least);
}

/* Of the next `most` words those that come two cycles apart: their row is open to its last word but one, no refresh is due, and the FIFO, whose words left it
 * at least two cycles apart, lets them through. */
static int64_t steady_words(const hd_ref_loader *l, int64_t most) {
    if (l->taken - l->read > FULL || l->read + 2 < l->readable) return 0;
    int64_t in_row = (int64_t)(WORDS_OF_ROW - 1 - l->at % WORDS_OF_ROW), in_period = (l->refresh + l->period - 2 - l->read) / 2;
    return min64(most, min64(in_row, in_period));
}

static void take_steady(hd_ref_loader *l, int64_t n) {
    l->read += 2 * n;
    l->taken += 2 * n;
    l->at += (uint64_t)n;
    for (int64_t k = 0; k < n && k < FIFO; k++) l->fifo[(l->at - 1 - (uint64_t)k) % FIFO] = l->taken - 2 * k;
}

static void take_words(hd_ref_loader *l, int64_t n) {
    while (n > 0) {
        int64_t steady = steady_words(l, n);
        if (steady) take_steady(l, steady);
        else take_word(l, 0);
        n -= steady ? steady : 1;
    }
}

hd_status hd_ref_loader_start(hd_ref_loader *l, const hd_ref_stream *s, const hd_geometry *g, hd_err *err) {
    int64_t mhz = g->extern_mhz, trp = clocks(HD_SDRAM_TRP_NS, mhz), trfc = clocks(HD_SDRAM_TRFC_NS, mhz);
    int64_t trcd = clocks(HD_SDRAM_TRCD_NS, mhz), tras = clocks(HD_SDRAM_TRAS_NS, mhz);
    free(l->loaded);
    *l = (hd_ref_loader){.stream = s, .ring = g->stream_words};
    l->loaded = malloc((size_t)(s->n + l->ring) * sizeof *l->loaded);
    if (!l->loaded) return hd_fail(err, HD_NOMEM, "ref: out of memory for %llu entries and a ring of %u", (unsigned long long)s->n, l->ring);
    l->freed = l->loaded + s->n;
    l->start = (trfc + 3) / 2 * 2;
    l->period = (HD_SDRAM_REFRESH_NS * mhz / 1000 - l->start - 2) / 2 * 2;
    l->open = 1 + even(trp) + even(trfc);
    l->ready = trcd + 2 > tras ? trcd : tras - 2;
    l->last_open = l->period + 1 - tras;
    l->late = (g->cols + g->hop - 1) / g->hop - 1 + 3; /* from the last issue until the place is free */
    l->delay = READ_TO_TAKE + (mhz > HD_SDRAM_CL2_MHZ ? 3 : 2);
    l->read = l->taken = -2;
    for (int i = 0; i < FIFO; i++) l->fifo[i] = -1;
    l->refresh = l->start;
    open_row(l, l->start + l->open);
    return HD_OK;
}

void hd_ref_loader_free(hd_ref_loader *l) {
    free(l->loaded);
    l->loaded = l->freed = NULL;
}

/* Whole pairs of entries, up to entry `end` of the segment, whose words come two cycles apart and whose places in the ring are free. Returns how many entries. */
static uint64_t load_pairs(hd_ref_loader *l, const hd_ref_segment *g, uint64_t end) {
    int64_t words = 1 + 2 * (int64_t)g->words, pairs = (int64_t)(end - l->entries) / 2, at = l->taken + g->delay + TAKEN_TO_LOADED;
    if (pairs) pairs = steady_words(l, pairs * words) / words;
    uint64_t n = 2 * (uint64_t)pairs, last = l->entries + n - 1;
    /* Places are freed in order. */
    if (!n || (last >= l->ring && l->freed[last & (l->ring - 1)] > l->taken + 2)) return 0;
    int64_t *loaded = l->loaded + l->entries;
    for (int64_t i = 0; i < pairs; i++) {
        loaded[2 * i] = at + 2 * (i * words + 1 + (int64_t)g->words);
        loaded[2 * i + 1] = at + 2 * (i + 1) * words;
    }
    take_steady(l, pairs * words);
    return n;
}

void hd_ref_loader_load(hd_ref_loader *l, uint64_t n) {
    while (l->entries <= n) {
        const hd_ref_segment *g = &l->stream->segment[l->segment];
        if (l->at == g->at) {
            take_word(l, l->taken + g->wait);
            if (!g->words) take_words(l, g->n);
        }
        uint64_t end = g->words ? g->entry + g->n : g->entry;
        if (l->entries == end) {
            l->segment++;
            continue;
        }
        int odd = (l->entries - g->entry) % 2 != 0;
        uint64_t many = odd ? 0 : load_pairs(l, g, end <= n ? end : n + 1);
        if (many) {
            l->entries += many;
            continue;
        }
        int64_t words = g->words + !odd;
        if (l->entries >= l->ring && l->freed[l->entries & (l->ring - 1)] > l->taken + 2) {
            take_word(l, l->freed[l->entries & (l->ring - 1)]);
            words--;
        }
        take_words(l, words);
        l->loaded[l->entries++] = l->taken + g->delay + TAKEN_TO_LOADED;
    }
}
