/* Exact cycle counts from the timing rules of docs/hardware.md: what the RTL will count, without running it. */
#ifndef HD_REF_CYCLES_H
#define HD_REF_CYCLES_H
#include "../compiler/lower/program.h"

/* An entry of the stream in external memory: words of its first (the one that waits for a place in the ring), its weights and its last. */
typedef struct hd_ref_entry {
    uint64_t first, weights, last; /* weights: of a coded entry, in hd_ref_stream.decoded */
    uint16_t index;
    uint8_t coded, delay;          /* delay: the decoder's, from the last word to the last weight word */
} hd_ref_entry;

/* A header word, taken so many cycles or more after the word before it. */
typedef struct hd_ref_header {
    uint64_t at;
    int64_t wait;
} hd_ref_header;

typedef struct hd_ref_stream {
    uint64_t n, room, headers, header_room, decoded_words, decoded_room;
    hd_ref_entry *entry;
    hd_ref_header *header;
    uint32_t *decoded;             /* weight words of the coded entries */
} hd_ref_stream;

/* The loader in a run, whose cycle 0 is the first busy one. Cycles of what it did last, and the memory's schedule in cycles. */
typedef struct hd_ref_loader {
    const hd_ref_stream *stream;
    uint32_t ring;
    int64_t *freed;       /* of the ring's entries: from when on their place may be taken */
    uint64_t at, entries, headers; /* words READ, entries loaded, headers taken */
    uint64_t now;         /* cycles of the descriptors before */
    int64_t fifo[8];      /* when the last words were taken */
    int64_t read, taken, row_open, readable, next_open;
    int64_t start, period, open, ready, last_open, late, delay;
} hd_ref_loader;

/* Entries of the segments in n words (what lies behind them reads as 0); s is zero or was read before. HD_DEVICE for what the loader could not end. */
hd_status hd_ref_stream_read(hd_ref_stream *s, const hd_geometry *g, const uint32_t *words, size_t n, hd_err *err);
void hd_ref_stream_free(hd_ref_stream *s);
/* l is zero or was started before; s is lent. */
hd_status hd_ref_loader_start(hd_ref_loader *l, const hd_ref_stream *s, const hd_geometry *g, hd_err *err);
void hd_ref_loader_free(hd_ref_loader *l);
/* First cycle in which the sequencer sees entry n. Every entry before n - ring was freed by then. */
int64_t hd_ref_loader_loaded(hd_ref_loader *l, uint64_t n);
/* Entry n was issued for the last time. */
void hd_ref_loader_free_entry(hd_ref_loader *l, uint64_t n, int64_t cycle);

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
