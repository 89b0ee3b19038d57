/* The weight stream in external memory (docs/formats.md, "External stream"): its segments, and what its entries hold. */
#include <stdlib.h>
#include <string.h>

#include "ref_codes.h"
#include "ref_cycles.h"

static hd_status broken(uint64_t at, const char *what, hd_err *err) {
    return hd_fail(err, HD_DEVICE, "ref: external memory, word %llu: %s", (unsigned long long)at, what);
}

static hd_status put_segment(hd_ref_stream *s, const hd_ref_segment *segment, hd_err *err) {
    if (s->segments == s->segment_room) {
        uint64_t room = s->segment_room ? 2 * s->segment_room : 16;
        hd_ref_segment *grown = realloc(s->segment, room * sizeof *grown);
        if (!grown) return hd_fail(err, HD_NOMEM, "ref: out of memory for %llu segments of the stream", (unsigned long long)room);
        s->segment = grown;
        s->segment_room = room;
    }
    s->segment[s->segments++] = *segment;
    return HD_OK;
}

/* The segment whose header is word g->at, and in *words how many it has with its header; *wait: what it makes the next header wait. */
static hd_status read_header(hd_ref_segment *g, uint64_t *words, int64_t *wait, const hd_geometry *geometry, uint32_t head, uint32_t format, hd_err *err) {
    int raw = format == HD_SEGMENT_RAW, load = format == HD_SEGMENT_LOAD;
    g->n = (uint32_t)hd_field_get(&head, HD_S_ENTRIES);
    g->code = raw ? -1 : (int16_t)hd_field_get(&head, HD_S_VARIANT);
    int known = (load || format == HD_SEGMENT_CODED) && g->code < HD_CODES;
    if (!raw && (!known || !(geometry->decode & hd_code_unit(g->code)) || !hd_code_fits(g->code, geometry)))
        return broken(g->at, "a segment format this device has no decoder for", err);
    if (load && g->n != hd_code_loads(g->code)) return broken(g->at, "a table of another length than its code's", err);
    g->words = load ? 0 : hd_geometry_weight_words(geometry) / (raw ? 1 : 2);
    g->delay = raw ? 0 : (uint16_t)hd_ref_codes_delay(g->code, geometry);
    *words = 1 + (load ? g->n : ((uint64_t)g->n + 1) / 2 + (uint64_t)g->n * g->words);
    /* A header waits until the decoder is empty. */
    *wait = !g->n || raw ? 0 : load ? 3 : g->delay + 1;
    return HD_OK;
}

hd_status hd_ref_stream_read(hd_ref_stream *s, const hd_geometry *g, const uint32_t *words, size_t n_words, hd_err *err) {
    int64_t wait = 0;
    s->n = s->segments = 0;
    for (uint64_t at = 0;;) {
        if (at >= n_words) return broken(at, "no segment END", err);
        uint32_t format = (uint32_t)hd_field_get(&words[at], HD_S_FORMAT);
        hd_ref_segment segment = {.at = at, .entry = s->n, .wait = wait};
        uint64_t length = 0;
        hd_status st = format == HD_SEGMENT_END ? HD_OK : read_header(&segment, &length, &wait, g, words[at], format, err);
        if (!st && length > n_words - at) st = broken(at, "a segment beyond what was written", err);
        if (!st) st = put_segment(s, &segment, err);
        if (st || format == HD_SEGMENT_END) return st;
        s->n += segment.words ? segment.n : 0;
        at += length;
    }
}

static void decode_segment(hd_ref_stream *s, const hd_ref_segment *g, const uint32_t *words, uint32_t full, const hd_ref_codes *codes, const hd_geometry *geometry) {
    uint64_t at = g->at + 1;
    for (uint32_t i = 0; i < g->n; i++) {
        uint32_t index = words[i % 2 ? at - g->words - 1 : at++]; /* the word with its index entry */
        s->entry[g->entry + i] = (hd_ref_entry){g->code < 0 ? at : s->decoded_words, (uint16_t)(i % 2 ? index >> 16 : index), g->code >= 0};
        if (g->code >= 0) {
            hd_ref_codes_entry(s->decoded + s->decoded_words, codes, g->code, words + at, geometry);
            s->decoded_words += full;
        }
        at += g->words;
    }
}

hd_status hd_ref_stream_decode(hd_ref_stream *s, const hd_geometry *g, const uint32_t *words, hd_err *err) {
    uint32_t full = hd_geometry_weight_words(g);
    uint64_t coded = 0;
    hd_ref_codes codes = {0};
    for (uint64_t k = 0; k < s->segments; k++) coded += s->segment[k].words && s->segment[k].code >= 0 ? s->segment[k].n : 0;
    free(s->entry);
    free(s->decoded);
    s->entry = malloc((size_t)(s->n + 1) * sizeof *s->entry);
    s->decoded = malloc((size_t)(coded * full + 1) * sizeof *s->decoded);
    s->decoded_words = 0;
    if (!s->entry || !s->decoded) return hd_fail(err, HD_NOMEM, "ref: out of memory for %llu entries of the stream", (unsigned long long)s->n);
    for (uint64_t k = 0; k < s->segments; k++) {
        const hd_ref_segment *segment = &s->segment[k];
        if (segment->words) decode_segment(s, segment, words, full, &codes, g);
        else if (segment->n) hd_ref_codes_load(&codes, segment->code, words + segment->at + 1);
    }
    return HD_OK;
}

void hd_ref_stream_free(hd_ref_stream *s) {
    free(s->segment);
    free(s->entry);
    free(s->decoded);
    *s = (hd_ref_stream){0};
}
