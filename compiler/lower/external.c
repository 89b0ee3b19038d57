/* The weight stream as words of external memory: docs/formats.md section 3, "External stream". */
#include <stdlib.h>

#include "lower.h"

static uint32_t header(enum hd_segment format, uint32_t entries) {
    uint32_t word = 0;
    hd_field_set(&word, HD_S_FORMAT, format);
    hd_field_set(&word, HD_S_ENTRIES, entries);
    return word;
}

/* Entries first..last as one RAW segment at `at` (NULL: only counted); returns its words. */
static uint64_t put_raw(const hd_program *p, uint32_t first, uint32_t last, uint32_t *at) {
    uint32_t words = hd_geometry_weight_words(&p->geometry), n = last - first + 1;
    uint64_t used = 1 + (n + 1) / 2 + (uint64_t)n * words;
    if (!at) return used;
    *at++ = header(HD_SEGMENT_RAW, n);
    for (uint32_t i = first; i <= last; i++) {
        if ((i - first) % 2 == 0) *at++ = p->index[i] | (i < last ? (uint32_t)p->index[i + 1] << 16 : 0);
        for (uint32_t k = 0; k < words; k++) *at++ = p->weight[(size_t)i * words + k];
    }
    return used;
}

/* A segment a descriptor, then END; out NULL: only counted. */
static uint64_t put_all(const hd_program *p, uint32_t *out) {
    uint64_t used = 0;
    for (uint32_t i = 0; i < p->n_desc; i++) {
        const uint32_t *d = p->desc + (size_t)i * HD_DESC_WORDS;
        if (hd_field_get(d, HD_F_OPCODE) != HD_OP_CONV) continue;
        used += put_raw(p, (uint32_t)hd_field_get(d, HD_F_STREAM_FIRST), (uint32_t)hd_field_get(d, HD_F_STREAM_LAST), out ? out + used : NULL);
    }
    if (out) out[used] = header(HD_SEGMENT_END, 0);
    return used + 1;
}

hd_status hd_external_make(hd_program *p, hd_err *err) {
    if (!p->geometry.extern_log2) return HD_OK;
    uint64_t n = put_all(p, NULL), have = (uint64_t)1 << p->geometry.extern_log2;
    if (n > have)
        return hd_fail(err, HD_NOFIT, "the weight stream needs %llu words of external memory; extern=%u has %llu", (unsigned long long)n, p->geometry.extern_log2,
                       (unsigned long long)have);
    p->external = malloc(n * sizeof *p->external);
    if (!p->external) return hd_fail(err, HD_NOMEM, "out of memory for %llu words of external memory", (unsigned long long)n);
    p->n_extern = (uint32_t)put_all(p, p->external);
    return HD_OK;
}

/* ---- checking ---- */

typedef struct walk {
    const hd_program *p;
    uint32_t at, entry; /* words and entries passed */
    hd_err *err;
} walk;

static hd_status differs(const walk *w, uint32_t at, const char *what, uint32_t found, uint32_t expected) {
    return hd_fail(w->err, HD_FORMAT, "external memory, word %u: %s 0x%08x; expected 0x%08x", at, what, found, expected);
}

static hd_status check_raw(walk *w, uint32_t n) {
    const hd_program *p = w->p;
    uint32_t words = hd_geometry_weight_words(&p->geometry);
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
            uint32_t expected = p->weight[(size_t)w->entry * words + k];
            if (p->external[w->at] != expected) return differs(w, w->at, "weights", p->external[w->at], expected);
        }
    }
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
        if (format != HD_SEGMENT_RAW) return hd_fail(err, HD_FORMAT, "external memory, word %u: segment format %u; allowed 0 and 1", w.at - 1, format);
        if (*word != header(HD_SEGMENT_RAW, n)) return differs(&w, w.at - 1, "header", *word, header(HD_SEGMENT_RAW, n));
        st = check_raw(&w, n);
    }
    if (st) return st;
    if (p->external[w.at - 1] != header(HD_SEGMENT_END, 0)) return differs(&w, w.at - 1, "header", p->external[w.at - 1], header(HD_SEGMENT_END, 0));
    if (w.entry != p->n_stream || w.at != p->n_extern)
        return hd_fail(err, HD_FORMAT, "external memory ends after %u entries and %u words; the program has %u and %u", w.entry, w.at, p->n_stream, p->n_extern);
    return HD_OK;
}
