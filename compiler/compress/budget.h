/* One sparsity budget over all layers (HD_BUDGET_GLOBAL): as many weights go as the layers' own sparsities would remove together, where they cost least.
 *
 * A layer's curve says what its weights or blocks cost in the order in which they go. Curves of different layers are no common currency, so each is
 * scaled by a measurement: the layer alone is pruned at its own sparsity, and what that does to the whole model's output is what its curve
 * costs up to there. Then the cheapest of all go. Curves: language models, exact elimination in the float model (linear.h, hd_linear_costs), and the
 * cross-entropy of calibration rows measured; networks, squared norms of blocks, and the squared change of the output measured. */
#ifndef HD_BUDGET_H
#define HD_BUDGET_H
#include "compress.h"
#include "../graph/llama.h"

typedef struct hd_budget_layer {
    const char *name;
    double *cost;      /* [n] rising: of the first n of `items` items to go */
    size_t n, items;
    double weights;    /* of an item */
    double start;      /* the layer's own sparsity */
    double loss;       /* what the whole model loses when it is pruned alone, at `start` */
    size_t measured;   /* items that were gone then, where it was not at `start`; 0 = at start */
    double sparsity;   /* result */
} hd_budget_layer;

/* Sets sparsity of each layer; 0 without memory. Losses below 2% of their mean (noise, or a gain) count as that. */
int hd_budget_share(hd_budget_layer *layer, int n);

/* out: p with a rule for each layer that shares the budget; owned by the caller (hd_policy_free), empty after an error. HD_UNSUPPORTED for structures whose
 * share is fixed (N of M, channels). */
hd_status hd_budget_network(hd_policy *out, const hd_graph *g, const hd_policy *p, const hd_idx *calib, int samples, int unit, hd_err *err);
hd_status hd_budget_lm(hd_policy *out, const hd_llama *m, const hd_policy *p, const int16_t *tokens, int stride, int n, int t, hd_err *err);

/* ---- for budgets of networks: what pruning one part does to the whole ---- */
enum { HD_BUDGET_IMAGES = 64 }; /* calibration inputs that are looked at */
/* want: [images][outputs] of the network; x: room for one input. */
hd_status hd_budget_outputs(float *want, float *x, const hd_graph *g, const hd_idx *calib, int images, int unit, hd_err *err);
/* Mean squared difference of the network's outputs to those, over their mean square. */
hd_status hd_budget_change(double *change, const hd_graph *g, const float *want, float *x, const hd_idx *calib, int images, int unit, hd_err *err);
#endif
