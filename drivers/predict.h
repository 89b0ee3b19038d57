/* Exact cycles of a program without a device and without data: every counter of every descriptor, as the Verilated RTL counts them.
 *
 * A run's cycles follow from the descriptors, the addresses in the stream entries and the geometry; activations and weights change none. The rules are
 * those of docs/hardware.md, "Timing"; drivers/ref_cycles.h holds their one recurrence, which `ref` uses too. It goes from pass to pass and from tile to tile,
 * and where the passes of a layer repeat, over all that are left at once, so that a prediction takes microseconds where the simulation takes milliseconds. */
#ifndef HD_PREDICT_H
#define HD_PREDICT_H
#include "../compiler/lower/program.h"

typedef struct hd_prediction {
    uint64_t cycles;                 /* of a run, from CONTROL to done: what register CYCLES shows */
    uint32_t n_desc;                 /* descriptors before END */
    uint64_t (*perf)[HD_PERF_WORDS]; /* of each, by enum hd_perf */
} hd_prediction;

/* p has passed hd_program_check (every program that was loaded or lowered has); it is lent for the call. *out is owned by the caller. HD_NOMEM, or HD_DEVICE
 * for an external stream that no device takes. Uses one thread and no state: safe to call from several. */
hd_status hd_predict(hd_prediction **out, const hd_program *p, hd_err *err);
void hd_prediction_free(hd_prediction *r);
/* Counters of one layer of the same program: the sum over its descriptors. */
void hd_prediction_layer(uint64_t perf[HD_PERF_WORDS], const hd_prediction *r, const hd_layer_info *layer);
#endif
