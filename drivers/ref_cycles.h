/* Exact cycle counts from the timing rules of docs/hardware.md: what the RTL will count, without running it. */
#ifndef HD_REF_CYCLES_H
#define HD_REF_CYCLES_H
#include "../compiler/lower/program.h"

/* A segment of the stream in external memory. Entries stand in pairs: one word with two index entries, the words of the first, those of the second. */
typedef struct hd_ref_segment {
    uint64_t at, entry;     /* its header's word; stream entries before it */
    uint32_t n, words;      /* its entries and the weight words of each; words 0: n words that a decoder loads */
    int16_t code;           /* HD_CODE_*, or -1: weights as they are */
    uint16_t delay;         /* the decoder's, from an entry's last word to its last weight word */
    int64_t wait;           /* cycles at least from the word before to the header */
} hd_ref_segment;

/* What ref reads of an entry. */
typedef struct hd_ref_entry {
    uint64_t weights;       /* its weight words; of a coded entry, in hd_ref_stream.decoded */
    uint16_t index;
    uint8_t coded;
} hd_ref_entry;

typedef struct hd_ref_stream {
    uint64_t n, segments, segment_room; /* entries, segments with END */
    hd_ref_segment *segment;
    hd_ref_entry *entry;    /* after hd_ref_stream_decode */
    uint32_t *decoded;      /* weight words of the coded entries */
    uint64_t decoded_words;
} hd_ref_stream;

/* The loader in a run, whose cycle 0 is the first busy one. Cycles of what it did last, and the memory's schedule in cycles. */
typedef struct hd_ref_loader {
    const hd_ref_stream *stream;
    uint32_t ring;        /* a power of two */
    int64_t *loaded;      /* of the first `entries` entries of the stream: from when on the sequencer sees them */
    int64_t *freed;       /* of the ring's entries: from when on their place may be taken */
    uint64_t at, entries, segment; /* words READ, entries loaded, the segment they are in */
    uint64_t now;         /* cycles of the descriptors before */
    int64_t fifo[8];      /* when the last words were taken */
    int64_t read, taken, row_open, readable, next_open, refresh; /* refresh: t = 0 of the last READ's period */
    int64_t start, period, open, ready, last_open, late, delay;
} hd_ref_loader;

/* Segments in n words (what lies behind them reads as 0); s is zero or was read before. HD_DEVICE for what the loader could not end. */
hd_status hd_ref_stream_read(hd_ref_stream *s, const hd_geometry *g, const uint32_t *words, size_t n, hd_err *err);
/* The entries and their weights, of the same words. */
hd_status hd_ref_stream_decode(hd_ref_stream *s, const hd_geometry *g, const uint32_t *words, hd_err *err);
void hd_ref_stream_free(hd_ref_stream *s);
/* l is zero or was started before; s is lent. */
hd_status hd_ref_loader_start(hd_ref_loader *l, const hd_ref_stream *s, const hd_geometry *g, hd_err *err);
void hd_ref_loader_free(hd_ref_loader *l);
/* loaded[0..n]. Every entry up to n - ring was freed by then. */
void hd_ref_loader_load(hd_ref_loader *l, uint64_t n);
/* Entry n was issued for the last time. */
static inline void hd_ref_loader_free_entry(hd_ref_loader *l, uint64_t n, int64_t cycle) {
    if (n + l->ring < l->stream->n) l->freed[n & (l->ring - 1)] = cycle + l->late;
}

/* All counters (enum hd_perf) of one CONV or MAXPOOL descriptor; `entry` is the layer's part of the index memory:
 * STREAM_LAST - STREAM_FIRST + 1 entries, the last with LAST and FINAL (NULL for MAXPOOL). The caller has checked that KH, KW, NCB, OUT_W and
 * POSITIONS are not 0. loader (NULL without EXTERN) stands where the descriptor before left it. Counters are 64 bits wide; the registers show the low 32. */
hd_status hd_ref_cycles(uint64_t perf[HD_PERF_WORDS], const hd_geometry *g, const uint32_t *desc, const uint16_t *entry, hd_ref_loader *loader,
                        hd_err *err);
/* Cycles of a run beyond its layers: start and END. */
uint64_t hd_ref_cycles_overhead(void);
/* From a LAST step's issue to its first column on the drain. */
uint32_t hd_ref_latency(const hd_geometry *g);
#endif
