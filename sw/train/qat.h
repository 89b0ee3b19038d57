/* Weights on the grids of the array while training (internal to sw/train and its tests).
 *
 * A layer's weights w run through  q(w) = s * g * v,  v = the grid's value nearest to w / (s * g)  (docs/formats.md section 1: ODD,
 * EVEN, TERNARY, which all step by two). s is the learned step of the output channel, g = 2^shift of the weight's group (1 without
 * groups), or 0 where the weight's block is absent. Gradients as in learned step size quantisation (Esser et al. 2020): with
 * x = w / (s * g), lowest and highest the grid's ends,
 *
 *     dq/dw = 1 for lowest < x < highest, else 0                      (straight-through)
 *     dq/ds = g * (v - x) for lowest < x < highest, else g * v
 *
 * where the sum over the channel is scaled by 1 / sqrt(weights of the channel * highest). Absent weights have no gradient, unless
 * asked for. */
#ifndef HD_TRAIN_QAT_H
#define HD_TRAIN_QAT_H
#include "../../compiler/compress/compress_internal.h"
#include "../../compiler/graph/graph.h"

typedef struct hd_fake {
    int node;            /* of the graph */
    int lowest, highest;
    int per_tensor;      /* one step for the layer */
    size_t cout, inputs, steps; /* steps: cout, or 1 */
    /* Blocks of the stored order [ky][kx][ic], whatever the order of the node's weights. */
    size_t taps, per_tap, block_in, block_out, in_blocks, blocks; /* blocks 0: dense */
    hd_block_rule rule;  /* which of them stay in equal numbers; zero = free */
    uint8_t *present;    /* [blocks] [oc block][in block] */
    uint8_t *shift;      /* [cout][inputs] in the node's order, or NULL */
    int absent_learns;   /* absent weights get the straight-through gradient too, so that they can come back */
    float *gain;         /* [cout][inputs] in the node's order: 2^shift, 0 where absent */
} hd_fake;

/* The grid, blocks and group shifts of stage s for node `node` of g (whose weights are [oc][ic][ky][kx]). */
hd_status hd_fake_new(hd_fake *f, const hd_graph *g, int node, const hd_stage *s, hd_err *err);
void hd_fake_free(hd_fake *f);
/* After a change of `present`. */
void hd_fake_mask(hd_fake *f);
/* Block of weight i (0..inputs-1, the node's order) of channel oc. */
size_t hd_fake_block(const hd_fake *f, size_t oc, size_t i);
/* The grid's value nearest to x. */
int hd_fake_nearest(const hd_fake *f, float x);
/* Steps [steps] of the least squared error on the present weights, found by search as in compression; of a channel without any, what is in
 * `step` stays. */
void hd_fake_fit(const hd_fake *f, const float *w, float *step);
/* q [cout][inputs] of w; step: [steps]. */
void hd_fake_forward(const hd_fake *f, const float *restrict w, const float *step, float *restrict q);
/* d: the gradient of q, turned into that of w in place; dstep [steps] is written. */
void hd_fake_backward(const hd_fake *f, const float *w, const float *step, float *d, float *dstep);
#endif
