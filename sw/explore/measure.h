/* What a run cost, layer by layer, and why: cycles of the device beside those the instruction-level model predicts. */
#ifndef HD_MEASURE_H
#define HD_MEASURE_H
#include <cjson/cJSON.h>

#include "../runtime/runtime.h"

/* What keeps the array from useful work in a layer; the largest is the one that dominates. */
typedef enum hd_stall {
    HD_STALL_NONE,    /* at least nine tenths of the cycles are useful */
    HD_STALL_WINDOW,  /* entries wait for fetch */
    HD_STALL_DRAIN,   /* tiles shorter than the drain of the tile before */
    HD_STALL_PADDING, /* steps with unused rows, columns or lanes */
    HD_STALL_START,   /* descriptor load, first window, last drain */
    HD_STALL_POOL,    /* maximum pooling: no array work, one word a cycle */
    HD_STALL_STREAM   /* entries wait for external memory */
} hd_stall;
const char *hd_stall_name(hd_stall stall);

typedef struct hd_layer_cost {
    const hd_layer_info *info;      /* lent from the program */
    uint64_t cycles, predicted;     /* of the device, of ref */
    uint64_t perf[HD_PERF_WORDS];   /* the device's counters, summed over the layer's descriptors */
    uint64_t lost[HD_STALL_STREAM + 1]; /* cycles by what they went to; [HD_STALL_NONE] = the useful ones */
    double utilisation;             /* useful ops / (cycles * ROWS * COLS * LANES * PLANES) */
    hd_stall stall;
    char reason[192];
} hd_layer_cost;

typedef struct hd_cost {
    uint64_t cycles, predicted;
    double utilisation;
    int exact;                      /* whole run and every layer: cycles == predicted */
    uint32_t n_layers;
    hd_layer_cost *layer;
} hd_cost;

/* Counters of two sessions of program p, both after a run. ref may be the device's own session. Where the geometry has perf 0, layers have ref's. Owned; p lent for its life. */
hd_status hd_cost_read(hd_cost **out, const hd_program *p, hd_session *device, hd_session *ref, hd_err *err);
/* Opens driver and ref, runs one inference of zero points on both (cycles do not depend on data) and reads the counters. */
hd_status hd_cost_measure(hd_cost **out, const hd_program *p, const hd_driver *driver, const hd_device_options *o, hd_err *err);
/* The same without any device: cycles and counters of drivers/predict.h. */
hd_status hd_cost_predict(hd_cost **out, const hd_program *p, hd_err *err);
/* The layers of n programs for one array, one after the other, as one; parts that are NULL are left out. All are lent for its life. */
hd_status hd_cost_join(hd_cost **out, const hd_cost *const *part, int n, const hd_geometry *g, hd_err *err);
void hd_cost_free(hd_cost *c);

/* *need = the program's geometry with the memories it really uses. */
void hd_program_needs(hd_geometry *need, const hd_program *p);
uint64_t hd_program_ops(const hd_geometry *g); /* int8 x 1-bit operations of one step */
/* {"cycles", "predicted_cycles", "exact", "utilisation", "layers": [...]} added to o; `full` adds counters and reasons. */
hd_status hd_cost_json(cJSON *o, const hd_cost *c, int full, hd_err *err);
/* Chrome/Perfetto trace of one inference, one slice a layer on a track for each thing cycles go to; clock in Hz. */
hd_status hd_cost_perfetto(const hd_cost *c, const hd_program *p, double clock_hz, const char *path, hd_err *err);
#endif
