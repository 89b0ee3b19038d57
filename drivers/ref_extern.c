/* The weight stream in external memory: what its segments hold, and the cycle in which each entry is in the ring. The words' times are a
 * recurrence over the rules of docs/hardware.md, "External memory". */
#include <stdlib.h>
#include <string.h>

#include "ref_codes.h"
#include "ref_cycles.h"

enum { FIFO = 8, TAKEN_TO_LOADED = 2, READ_TO_TAKE = 4 /* and CL */, WORDS_OF_ROW = 256 };

static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static int64_t clocks(int64_t ns, int64_t mhz) {
    return (ns * mhz + 999) / 1000;
}
static int64_t even(int64_t v) {
    return (v + 1) / 2 * 2;
}

/* ---- the segments ---- */

static hd_status broken(uint64_t at, const char *what, hd_err *err) {
    return hd_fail(err, HD_DEVICE, "ref: external memory, word %llu: %s", (unsigned long long)at, what);
}

/* Room for n elements of `size` bytes at *array, which has *room. */
static hd_status room_for(void *array, uint64_t *room, uint64_t n, size_t size, hd_err *err) {
    void *old;
    if (n <= *room) return HD_OK;
    uint64_t more = *room * 2 > n ? *room * 2 : n;
    memcpy(&old, array, sizeof old);
    void *grown = realloc(old, more * size);
    if (!grown) return hd_fail(err, HD_NOMEM, "ref: out of memory for %llu elements of the stream", (unsigned long long)more);
    memcpy(array, &grown, sizeof grown);
    *room = more;
    return HD_OK;
}

/* What the reader of segments knows: place, and what the decoders hold. */
typedef struct reader {
    hd_ref_stream *s;
    const hd_geometry *g;
    const uint32_t *words;
    size_t n_words;
    uint64_t at;
    hd_ref_codes codes;
} reader;

static hd_status read_entries(reader *r, uint32_t n, int code, hd_err *err) {
    hd_ref_stream *s = r->s;
    uint32_t full = hd_geometry_weight_words(r->g), per = code < 0 ? full : full / 2;
    if (((uint64_t)n + 1) / 2 + (uint64_t)n * per > r->n_words - r->at) return broken(r->at - 1, "a segment beyond what was written", err);
    hd_status st = room_for(&s->entry, &s->room, s->n + n, sizeof *s->entry, err);
    if (!st && code >= 0) st = room_for(&s->decoded, &s->decoded_room, s->decoded_words + (uint64_t)n * full, sizeof *s->decoded, err);
    for (uint32_t i = 0; i < n && !st; i++) {
        hd_ref_entry *e = &s->entry[s->n++];
        uint32_t index = r->words[i % 2 ? r->at - per - 1 : r->at]; /* the word with its index entry */
        e->first = r->at;
        if (i % 2 == 0) r->at++;
        e->index = (uint16_t)(i % 2 ? index >> 16 : index);
        e->coded = code >= 0;
        e->delay = code < 0 ? 0 : (uint8_t)hd_ref_codes_delay(code, r->g);
        e->weights = code < 0 ? r->at : s->decoded_words;
        if (code >= 0) {
            hd_ref_codes_entry(s->decoded + s->decoded_words, &r->codes, code, r->words + r->at, r->g);
            s->decoded_words += full;
        }
        r->at += per;
        e->last = r->at - 1;
    }
    return st;
}

static hd_status read_load(reader *r, uint32_t n, int code, hd_err *err) {
    if (n != hd_code_loads(code)) return broken(r->at - 1, "a table of another length than its code's", err);
    if (n > r->n_words - r->at) return broken(r->at - 1, "a segment beyond what was written", err);
    hd_ref_codes_load(&r->codes, code, r->words + r->at);
    r->at += n;
    return HD_OK;
}

hd_status hd_ref_stream_read(hd_ref_stream *s, const hd_geometry *g, const uint32_t *words, size_t n_words, hd_err *err) {
    reader r = {.s = s, .g = g, .words = words, .n_words = n_words};
    int64_t wait = 0;
    s->n = s->headers = s->decoded_words = 0;
    for (;;) {
        if (r.at >= n_words) return broken(r.at, "no segment END", err);
        uint32_t head = words[r.at], n = (uint32_t)hd_field_get(&head, HD_S_ENTRIES), format = (uint32_t)hd_field_get(&head, HD_S_FORMAT);
        int code = format == HD_SEGMENT_RAW ? -1 : (int)hd_field_get(&head, HD_S_VARIANT);
        hd_status st = room_for(&s->header, &s->header_room, s->headers + 1, sizeof *s->header, err);
        if (st) return st;
        s->header[s->headers++] = (hd_ref_header){r.at, wait};
        if (format == HD_SEGMENT_END) break;
        int coded = (format == HD_SEGMENT_LOAD || format == HD_SEGMENT_CODED) && code < HD_CODES;
        if (format != HD_SEGMENT_RAW && (!coded || !(g->decode & hd_code_unit(code)) || !hd_code_fits(code, g)))
            return broken(r.at, "a segment format this device has no decoder for", err);
        r.at++;
        st = format == HD_SEGMENT_LOAD ? read_load(&r, n, code, err) : read_entries(&r, n, code, err);
        if (st) return st;
        /* A header waits until the decoder is empty. */
        wait = !n || format == HD_SEGMENT_RAW ? 0 : format == HD_SEGMENT_LOAD ? 3 : (int64_t)hd_ref_codes_delay(code, g) + 1;
    }
    return HD_OK;
}

void hd_ref_stream_free(hd_ref_stream *s) {
    free(s->entry);
    free(s->header);
    free(s->decoded);
    *s = (hd_ref_stream){0};
}

/* ---- the words' times ---- */

/* First odd cycle of the period, `from` or later, in which a row may open. */
static int64_t row_opens(const hd_ref_loader *l, int64_t from) {
    int64_t t = (from - l->start) % l->period, base = from - t;
    if (from < l->start) t = 0, base = l->start;
    if (t < l->open) t = l->open;
    if (t % 2 == 0) t++;
    if (t > l->last_open) return base + l->period + l->open;
    return base + t;
}

static int64_t period_of(const hd_ref_loader *l, int64_t cycle) {
    return (cycle - l->start) / l->period;
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
        if ((r - l->start) % l->period == 0) r += 2; /* the banks close a cycle later */
        if (period_of(l, r) == period_of(l, l->row_open)) break;
        /* A refresh closed the row in between. */
        open_row(l, l->start + period_of(l, r) * l->period + l->open);
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

hd_status hd_ref_loader_start(hd_ref_loader *l, const hd_ref_stream *s, const hd_geometry *g, hd_err *err) {
    int64_t mhz = g->extern_mhz, trp = clocks(HD_SDRAM_TRP_NS, mhz), trfc = clocks(HD_SDRAM_TRFC_NS, mhz);
    int64_t trcd = clocks(HD_SDRAM_TRCD_NS, mhz), tras = clocks(HD_SDRAM_TRAS_NS, mhz);
    free(l->freed);
    *l = (hd_ref_loader){.stream = s, .ring = g->stream_words};
    l->freed = malloc(l->ring * sizeof *l->freed);
    if (!l->freed) return hd_fail(err, HD_NOMEM, "ref: out of memory for a ring of %u entries", l->ring);
    l->start = (trfc + 3) / 2 * 2;
    l->period = (HD_SDRAM_REFRESH_NS * mhz / 1000 - l->start - 2) / 2 * 2;
    l->open = 1 + even(trp) + even(trfc);
    l->ready = trcd + 2 > tras ? trcd : tras - 2;
    l->last_open = l->period + 1 - tras;
    l->late = (g->cols + g->hop - 1) / g->hop - 1 + 3; /* from the last issue until the place is free */
    l->delay = READ_TO_TAKE + (mhz > HD_SDRAM_CL2_MHZ ? 3 : 2);
    l->read = l->taken = -2;
    for (int i = 0; i < FIFO; i++) l->fifo[i] = -1;
    open_row(l, l->start + l->open);
    return HD_OK;
}

void hd_ref_loader_free(hd_ref_loader *l) {
    free(l->freed);
    l->freed = NULL;
}

void hd_ref_loader_free_entry(hd_ref_loader *l, uint64_t n, int64_t cycle) {
    l->freed[n % l->ring] = cycle + l->late;
}

int64_t hd_ref_loader_loaded(hd_ref_loader *l, uint64_t n) {
    while (l->entries <= n) {
        const hd_ref_entry *e = &l->stream->entry[l->entries];
        while (l->at <= e->last) {
            uint64_t word = l->at;
            int64_t take = max64(read_word(l, l->fifo[word % FIFO] + 1) + l->delay, l->taken + 2);
            if (l->headers < l->stream->headers && word == l->stream->header[l->headers].at) take = max64(take, l->taken + l->stream->header[l->headers++].wait);
            if (word == e->first && l->entries >= l->ring) take = max64(take, l->freed[l->entries % l->ring]);
            l->fifo[word % FIFO] = l->taken = take;
        }
        l->entries++;
    }
    return l->taken + l->stream->entry[n].delay + TAKEN_TO_LOADED;
}
