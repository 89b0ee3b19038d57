/* The weight stream as words of external memory: docs/formats.md section 3, "External stream". */
#include <stdlib.h>
#include <string.h>

#include "codes.h"
#include "lower.h"

static uint32_t header(enum hd_segment format, uint32_t entries, uint32_t variant) {
    uint32_t word = 0;
    hd_field_set(&word, HD_S_FORMAT, format);
    hd_field_set(&word, HD_S_ENTRIES, entries);
    hd_field_set(&word, HD_S_VARIANT, variant);
    return word;
}

/* ---- codes ---- */

/* Channels of each entry that are really there: pacing channels and columns without a channel may hold anything. */
static void count_channels(uint16_t *channels, const hd_program *p, const uint32_t *d, uint32_t first, uint32_t n) {
    uint32_t tile = (uint32_t)(hd_field_get(d, HD_F_TILE_COLS) / hd_field_get(d, HD_F_CPC)), left = (uint32_t)hd_field_get(d, HD_F_COUT);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t index = p->index[first + i];
        channels[i] = (uint16_t)(left < tile ? left : tile);
        if (hd_field_get(&index, HD_I_LAST)) left -= channels[i];
    }
}

static hd_status find_coding(hd_coding *c, const hd_program *p, const hd_stage *s, const uint32_t *d, hd_err *err) {
    const hd_geometry *g = &p->geometry;
    uint32_t first = (uint32_t)hd_field_get(d, HD_F_STREAM_FIRST), n = (uint32_t)hd_field_get(d, HD_F_STREAM_LAST) - first + 1;
    uint32_t cpc = (uint32_t)hd_field_get(d, HD_F_CPC);
    if ((uint32_t)hd_field_get(d, HD_F_TILE_COLS) % cpc) return HD_OK; /* a channel over several tiles */
    uint16_t *channels = malloc(n * sizeof *channels);
    if (!channels) return hd_fail(err, HD_NOMEM, "layer '%.100s': out of memory", s->name);
    count_channels(channels, p, d, first, n);
    hd_status st = hd_code_find(c, g, g->decode, p->weight + (size_t)first * hd_geometry_weight_words(g), n, channels, cpc * g->planes, s->books, err);
    free(channels);
    return st;
}

/* A coding for each descriptor; layer i is stage i. */
static hd_status find_codings(hd_coding *coding, const hd_program *p, const hd_model *m, hd_err *err) {
    hd_status st = HD_OK;
    for (uint32_t i = 0; i < p->n_layers && !st; i++)
        for (uint32_t k = 0; k < p->layer[i].n_desc && !st; k++) {
            uint32_t at = p->layer[i].first_desc + k;
            const uint32_t *d = p->desc + (size_t)at * HD_DESC_WORDS;
            if (hd_field_get(d, HD_F_OPCODE) == HD_OP_CONV) st = find_coding(&coding[at], p, &m->stage[i], d, err);
        }
    return st;
}

/* ---- words ---- */

/* Entries first..last as one segment at `at` (NULL: only counted), RAW or as c says; returns its words. */
static uint64_t put_entries(const hd_program *p, uint32_t first, uint32_t last, const hd_coding *c, uint32_t *at) {
    uint32_t full = hd_geometry_weight_words(&p->geometry), words = c->code < 0 ? full : full / 2, n = last - first + 1;
    const uint32_t *from = c->code < 0 ? p->weight + (size_t)first * full : c->payload;
    uint64_t used = 1 + (n + 1) / 2 + (uint64_t)n * words;
    if (!at) return used;
    *at++ = c->code < 0 ? header(HD_SEGMENT_RAW, n, 0) : header(HD_SEGMENT_CODED, n, (uint32_t)c->code);
    for (uint32_t i = first; i <= last; i++) {
        if ((i - first) % 2 == 0) *at++ = p->index[i] | (i < last ? (uint32_t)p->index[i + 1] << 16 : 0);
        for (uint32_t k = 0; k < words; k++) *at++ = *from++;
    }
    return used;
}

/* A table where the one before does not say the same. */
static uint64_t put_load(const hd_coding *c, const hd_coding *before, uint32_t *at) {
    if (c->code < 0 || !c->n_load) return 0;
    if (before && before->code == c->code && !memcmp(before->load, c->load, c->n_load * sizeof *c->load)) return 0;
    if (at) {
        *at = header(HD_SEGMENT_LOAD, c->n_load, (uint32_t)c->code);
        memcpy(at + 1, c->load, c->n_load * sizeof *c->load);
    }
    return 1 + c->n_load;
}

/* A segment a descriptor, with its table before it, then END; out NULL: only counted. */
static uint64_t put_all(const hd_program *p, const hd_coding *coding, uint32_t *out) {
    uint64_t used = 0;
    const hd_coding *table = NULL, *books = NULL; /* what the decoders hold; both tables lie in one memory */
    for (uint32_t i = 0; i < p->n_desc; i++) {
        const uint32_t *d = p->desc + (size_t)i * HD_DESC_WORDS;
        const hd_coding *c = &coding[i], **held = c->code == HD_CODE_BOOKS ? &books : &table;
        if (hd_field_get(d, HD_F_OPCODE) != HD_OP_CONV) continue;
        used += put_load(c, *held, out ? out + used : NULL);
        if (c->n_load) *held = c;
        used += put_entries(p, (uint32_t)hd_field_get(d, HD_F_STREAM_FIRST), (uint32_t)hd_field_get(d, HD_F_STREAM_LAST), c, out ? out + used : NULL);
    }
    if (out) out[used] = header(HD_SEGMENT_END, 0, 0);
    return used + 1;
}

static hd_status fill_external(hd_program *p, const hd_coding *coding, hd_err *err) {
    uint64_t n = put_all(p, coding, NULL), have = (uint64_t)1 << p->geometry.extern_log2;
    if (n > have)
        return hd_fail(err, HD_NOFIT, "the weight stream needs %llu words of external memory; extern=%u has %llu", (unsigned long long)n, p->geometry.extern_log2,
                       (unsigned long long)have);
    p->external = malloc(n * sizeof *p->external);
    if (!p->external) return hd_fail(err, HD_NOMEM, "out of memory for %llu words of external memory", (unsigned long long)n);
    p->n_extern = (uint32_t)put_all(p, coding, p->external);
    return HD_OK;
}

hd_status hd_external_make(hd_program *p, const hd_model *m, int raw, hd_err *err) {
    if (!p->geometry.extern_log2) return HD_OK;
    hd_coding *coding = malloc(p->n_desc * sizeof *coding);
    if (!coding) return hd_fail(err, HD_NOMEM, "out of memory for %u descriptors", p->n_desc);
    for (uint32_t i = 0; i < p->n_desc; i++) coding[i] = (hd_coding){.code = -1};
    hd_status st = raw || !p->geometry.decode ? HD_OK : find_codings(coding, p, m, err);
    if (!st) st = fill_external(p, coding, err);
    for (uint32_t i = 0; i < p->n_desc; i++) hd_coding_free(&coding[i]);
    free(coding);
    return st;
}

/* ---- checking ---- */

typedef struct walk {
    const hd_program *p;
    uint32_t at, entry; /* words and entries passed */
    uint8_t loaded[HD_CODES]; /* the tables that a code needs are there */
    hd_err *err;
} walk;

static hd_status differs(const walk *w, uint32_t at, const char *what, uint32_t found, uint32_t expected) {
    return hd_fail(w->err, HD_FORMAT, "external memory, word %u: %s 0x%08x; expected 0x%08x", at, what, found, expected);
}

/* code -1: RAW. What coded weights say is not compared: any words are some weights. */
static hd_status check_entries(walk *w, uint32_t n, int code) {
    const hd_program *p = w->p;
    uint32_t full = hd_geometry_weight_words(&p->geometry), words = code < 0 ? full : full / 2;
    uint64_t need = (n + 1) / 2 + (uint64_t)n * words;
    if (n > p->n_stream - w->entry || need > p->n_extern - w->at)
        return hd_fail(w->err, HD_FORMAT, "external memory, word %u: a segment of %u entries; %u entries and %u words are left", w->at - 1, n,
                       p->n_stream - w->entry, p->n_extern - w->at);
    for (uint32_t i = 0; i < n; i++, w->entry++) {
        if (i % 2 == 0) {
            uint32_t pair = p->index[w->entry] | (i + 1 < n ? (uint32_t)p->index[w->entry + 1] << 16 : 0);
            if (p->external[w->at] != pair) return differs(w, w->at, "index entries", p->external[w->at], pair);
            w->at++;
        }
        for (uint32_t k = 0; k < words; k++, w->at++) {
            uint32_t expected = p->weight[(size_t)w->entry * full + k];
            if (code < 0 && p->external[w->at] != expected) return differs(w, w->at, "weights", p->external[w->at], expected);
        }
    }
    return HD_OK;
}

/* LOAD and CODED. */
static hd_status check_code(walk *w, uint32_t format, uint32_t n, uint32_t code) {
    const hd_program *p = w->p;
    uint32_t at = w->at - 1;
    if (code >= HD_CODES || !(hd_code_unit((int)code) & p->geometry.decode) || !hd_code_fits((int)code, &p->geometry))
        return hd_fail(w->err, HD_FORMAT, "external memory, word %u: code %u; geometry with decode=%u has no decoder for it", at, code, p->geometry.decode);
    uint32_t words = hd_code_loads((int)code);
    if (format == HD_SEGMENT_CODED)
        return words && !w->loaded[code] ? hd_fail(w->err, HD_FORMAT, "external memory, word %u: code %u before its table was loaded", at, code) : check_entries(w, n, (int)code);
    if (!words || n != words || n > p->n_extern - w->at)
        return hd_fail(w->err, HD_FORMAT, "external memory, word %u: %u words for the table of code %u, %u are left; it has %u", at, n, code, p->n_extern - w->at, words);
    if (code != HD_CODE_BOOKS) w->loaded[HD_CODE_TABLE4] = w->loaded[HD_CODE_TABLE16] = 0; /* one memory */
    w->loaded[code] = 1;
    w->at += n;
    return HD_OK;
}

/* Descriptors take the entries in order, and a layer of several passes stays in the ring. */
static hd_status check_order(const hd_program *p, hd_err *err) {
    uint32_t next = 0;
    for (uint32_t i = 0; i < p->n_desc; i++) {
        const uint32_t *d = p->desc + (size_t)i * HD_DESC_WORDS;
        if (hd_field_get(d, HD_F_OPCODE) != HD_OP_CONV) continue;
        uint32_t first = (uint32_t)hd_field_get(d, HD_F_STREAM_FIRST), n = (uint32_t)hd_field_get(d, HD_F_STREAM_LAST) - first + 1;
        if (first != next) return hd_fail(err, HD_FORMAT, "descriptor %u: STREAM_FIRST %u; with external memory the entries follow each other, %u", i, first, next);
        if (hd_field_get(d, HD_F_PASSES) > 1 && n > p->geometry.stream_words)
            return hd_fail(err, HD_FORMAT, "descriptor %u: %u stream entries in %lld passes; the ring has %u", i, n, (long long)hd_field_get(d, HD_F_PASSES),
                           p->geometry.stream_words);
        next += n;
    }
    return next == p->n_stream ? HD_OK : hd_fail(err, HD_FORMAT, "%u stream entries; the descriptors have %u", p->n_stream, next);
}

hd_status hd_external_check(const hd_program *p, hd_err *err) {
    if (!p->geometry.extern_log2)
        return p->n_extern ? hd_fail(err, HD_FORMAT, "%u words of external memory; a geometry with extern=0 has none", p->n_extern) : HD_OK;
    walk w = {.p = p, .err = err};
    if (p->n_extern > 1u << p->geometry.extern_log2)
        return hd_fail(err, HD_FORMAT, "%u words of external memory; extern=%u has %u", p->n_extern, p->geometry.extern_log2, 1u << p->geometry.extern_log2);
    hd_status st = check_order(p, err);
    while (!st) {
        if (w.at >= p->n_extern) return hd_fail(err, HD_FORMAT, "external memory: %u words without a segment END", p->n_extern);
        const uint32_t *word = &p->external[w.at++];
        uint32_t format = (uint32_t)hd_field_get(word, HD_S_FORMAT), n = (uint32_t)hd_field_get(word, HD_S_ENTRIES);
        if (format == HD_SEGMENT_END) break;
        uint32_t variant = (uint32_t)hd_field_get(word, HD_S_VARIANT);
        if (format > HD_SEGMENT_CODED) return hd_fail(err, HD_FORMAT, "external memory, word %u: segment format %u; allowed 0 to %d", w.at - 1, format, HD_SEGMENT_CODED);
        if (format != HD_SEGMENT_RAW) st = check_code(&w, format, n, variant);
        else if (*word != header(HD_SEGMENT_RAW, n, 0)) return differs(&w, w.at - 1, "header", *word, header(HD_SEGMENT_RAW, n, 0));
        else st = check_entries(&w, n, -1);
    }
    if (st) return st;
    if (p->external[w.at - 1] != header(HD_SEGMENT_END, 0, 0)) return differs(&w, w.at - 1, "header", p->external[w.at - 1], header(HD_SEGMENT_END, 0, 0));
    if (w.entry != p->n_stream || w.at != p->n_extern)
        return hd_fail(err, HD_FORMAT, "external memory ends after %u entries and %u words; the program has %u and %u", w.entry, w.at, p->n_stream, p->n_extern);
    return HD_OK;
}
