/* Inside of the ref device: the accelerator's memories and, for each descriptor, its decoded form. Written from docs/formats.md and the
 * contract alone; it shares no code with the compiler that packs programs. */
#ifndef HD_REF_H
#define HD_REF_H
#include "driver.h"
#include "ref_cycles.h"

/* Consecutive drained columns of one channel in one tile, added up at once. Normally all columns of the channel; single columns
 * where the accumulator could wrap, so that it wraps as in the hardware. */
typedef struct hd_ref_run {
    uint32_t shift;   /* planes: z = (z << shift) + sum */
    uint32_t channel;
    uint8_t starts, ends; /* first and last run of the channel */
    uint64_t ones;    /* what one's complement takes off the sum; modulo 2^64, like all of a channel's sum, of which 32 bits count */
    size_t coef;      /* steps * LANES factors in hd_ref_layer.coef */
} hd_ref_run;

typedef struct hd_ref_tile {
    uint32_t first, steps; /* entries within the layer */
    uint32_t run, runs;
    int contiguous;        /* window words follow each other: no gathering needed */
} hd_ref_tile;

typedef struct hd_ref_layer {
    uint32_t desc[HD_DESC_WORDS];
    uint64_t perf[HD_PERF_WORDS];
    uint32_t n_entries, n_tiles, n_runs;
    uint16_t *entry, *pair; /* pair: with gather, hd_geometry_pairs window words an entry */
    hd_ref_tile *tile;
    hd_ref_run *run;
    int16_t *coef;
    uint32_t most_steps;
} hd_ref_layer;

struct hd_device {
    hd_geometry g;
    int8_t *act;         /* act_words * LANES bytes */
    uint32_t *weight, *index, *param, *desc, *perf;
    uint32_t *external;  /* with EXTERN: the words written so far; weight and index then hold what hd_ref_decode made of them */
    size_t external_room;
    hd_ref_stream stream;
    uint8_t *table;      /* tables * 256 */
    uint32_t weight_shift; /* host words of a weight element, as a power of two */
    uint32_t index_shift;  /* and of an index element */
    size_t weight_room;    /* host words allocated so far */
    hd_ref_layer *layer;   /* decoded program, up to END; dropped by writes to it */
    uint32_t n_layers;
    int decoded, done;
    uint32_t start;        /* register START */
    uint64_t cycles;
    int16_t *window, *gather; /* scratch of a run */
    int8_t *out;
};

/* The descriptor that a run begins with, and the first word of its stream. */
static inline uint32_t hd_ref_first(const hd_device *d) { return d->start & 1023 & (d->g.descriptors - 1); }
static inline size_t hd_ref_first_word(const hd_device *d) {
    size_t word = (size_t)(d->start >> 16) << 8 & (((size_t)1 << d->g.extern_log2) - 1);
    return word < d->external_room ? word : d->external_room; /* nothing was written there: the stream is empty */
}
/* Decodes all descriptors up to END and computes their cycles; HD_DEVICE for a program no device can run. */
hd_status hd_ref_decode(hd_device *d, hd_err *err);
void hd_ref_forget(hd_device *d);
hd_status hd_ref_conv(hd_device *d, uint32_t n, hd_err *err);
hd_status hd_ref_maxpool(hd_device *d, uint32_t n, hd_err *err);
/* Address of the first word of an input pixel of a window, or -1 when it lies outside the input and reads PAD. */
int64_t hd_ref_pixel(const uint32_t *desc, int64_t position, int64_t ky, int64_t kx);
hd_status hd_ref_outside(uint32_t n, const char *what, int64_t address, uint32_t words, hd_err *err);
#endif
