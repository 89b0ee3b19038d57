/* Automatic policies of convolution networks: what compiler/compress/auto.h searches, measured on whole integer networks and on the compiled
 * program's exact cycles. */
#ifndef HD_AUTO_NETWORK_H
#define HD_AUTO_NETWORK_H
#include "../../compiler/compress/auto.h"
#include "../../compiler/lower/program.h"

/* How far the integer network's outputs are from the float network's; no labels are needed. Both are means over the judged items. */
typedef enum hd_auto_loss {
    HD_AUTO_LOSS_AUTO, /* DIVERGENCE for an output of one position and two or more values, else ERROR */
    HD_AUTO_DIVERGENCE, /* sum of p log (p / q), p and q softmax of the float and the integer outputs (before a final softmax of the graph), in nats */
    HD_AUTO_ERROR       /* sum of squared differences of the outputs over the sum of squares of the float ones */
} hd_auto_loss;

typedef struct hd_auto_network_options {
    uint64_t budget[HD_COSTS];   /* HD_NO_BUDGET = none; cycles need a geometry */
    const hd_geometry *geometry; /* lent, or NULL: then no cycles. The network must fit it */
    const hd_lower_options *lower; /* NULL = defaults */
    hd_layer_policy base;        /* granularity, block, and what candidates do not vary */
    hd_ranges ranges;            /* of activations, as in hd_policy */
    float percentile;
    int grid_given, method_given; /* candidates keep the base's grid, its recipe; else both grids and both kinds of solver are tried */
    hd_auto_loss loss;
    int judged;                  /* items that the loss is measured on: those after the first `samples`; where there are none, the same */
    int refinements;
} hd_auto_network_options;

typedef struct hd_auto_network {
    hd_auto_problem problem;     /* with its own copies of names and formats */
    hd_auto_result *result;
    hd_policy policy;
    hd_model *model;             /* compressed by the policy: what hd_passes_run and hd_compress make of it */
    uint64_t bytes, cycles;      /* of the model; cycles 0 without a geometry */
    hd_auto_loss loss;           /* the one used */
    int judged, held_out;        /* items judged; whether none of them was calibrated on */
} hd_auto_network;

/* calib, samples, unit as for hd_compress. HD_NOFIT: the budget is too small (the message tells the smallest reachable). */
hd_status hd_auto_network_run(hd_auto_network **out, const hd_graph *g, const hd_idx *calib, int samples, int unit, const hd_auto_network_options *o,
                              hd_err *err);
void hd_auto_network_free(hd_auto_network *a);

/* Cycles of one inference of a program, as the device counts them (drivers/predict.h), and, when not NULL, of each layer. */
hd_status hd_program_cycles(const hd_program *p, uint64_t *total, uint64_t *layer, hd_err *err);
#endif
