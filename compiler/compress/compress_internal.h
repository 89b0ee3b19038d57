/* The steps of compression, between its files and for their tests. Not for other folders. */
#ifndef HD_COMPRESS_INTERNAL_H
#define HD_COMPRESS_INTERNAL_H
#include "../graph/llama.h"
#include "compress.h"
#include "integer.h"

/* ---- plan.c: which nodes become which stage ---- */
typedef enum hd_role { HD_ROLE_WEIGHTS, HD_ROLE_AVERAGE, HD_ROLE_IDENTITY, HD_ROLE_MAXPOOL } hd_role;

typedef struct hd_step {
    hd_role role;
    int node;                    /* the node that names the stage */
    int input, residual, output; /* graph tensors that become model tensors; residual -1 = none */
    int pre;                     /* graph tensor before the elementwise functions (after an addition) */
    int first_fn, n_fn;          /* elementwise nodes: plan->fn[first_fn ..] */
    int last_node;               /* the last node it covers: steps run in this order */
} hd_step;

typedef struct hd_plan {
    const hd_graph *g; /* lent */
    hd_step *step;
    int n_steps;
    int *fn;          /* node indices */
    int *resolve;     /* [graph tensor]: the tensor whose data it is (through FLATTEN) */
    hd_shape *stored; /* [graph tensor]: shape in which it is stored; FLATTEN does not move data */
    int output;       /* graph tensor */
    uint32_t dense_weights;
} hd_plan;

/* apart: each addition is a stage of its own, so that what a convolution in front of it gives is rounded to the codes that it has in a quantised file. */
hd_status hd_compress_plan_make(hd_plan *p, const hd_graph *g, int apart, hd_err *err);
void hd_compress_plan_free(hd_plan *p);
/* The step's elementwise functions, one after the other. */
float hd_step_apply(const hd_plan *p, const hd_step *s, float x);
/* Is any of them no CLIP (so that a table is needed)? */
int hd_step_has_table(const hd_plan *p, const hd_step *s);

/* ---- calibrate.c: ranges of activations ---- */
enum { HD_BINS = 2048 };
typedef struct hd_histogram {
    float lo, hi;            /* smallest and largest value seen, 0 included */
    uint64_t count[HD_BINS]; /* of equal bins over lo..hi; exact zeros are left out (every code set has 0) */
} hd_histogram;
typedef struct hd_qparams {
    float scale;
    int zero;
} hd_qparams;
/* wanted: [graph tensor] 1 = collect. histogram: [graph tensor]. */
hd_status hd_calibrate(hd_histogram *histogram, const uint8_t *wanted, const hd_graph *g, const hd_idx *calib, int samples, int unit,
                       hd_err *err);
hd_qparams hd_qparams_of_range(float lo, float hi);
/* The range that minimises the squared error of rounding and clipping. */
hd_qparams hd_qparams_search(const hd_histogram *h);
/* The range without the share 1 - percentile of the values that are not 0, at either end: to the edges of bins. */
hd_qparams hd_qparams_percentile(const hd_histogram *h, double percentile);
/* By the policy's ranges. */
hd_qparams hd_qparams_of(const hd_histogram *h, const hd_policy *p);
/* hd_qparams_search for the input of a table that computes f(x) in codes of `out`: the error that counts is the table's output. */
hd_qparams hd_qparams_search_table(const hd_histogram *h, const hd_plan *p, const hd_step *s, hd_qparams out);
double hd_qparams_error(const hd_histogram *h, hd_qparams q);
int hd_code(hd_qparams q, double x);

/* ---- quantize.c: weights to integers ---- */
typedef struct hd_rtn {
    enum hd_grid grid;
    int bits;
    enum hd_granularity granularity;
    int group_size;
    const uint8_t *keep; /* [cout][inputs], 0 = absent (v = 0, no error); NULL = all kept */
    const float *floor;  /* [cout] smallest scale allowed, > 0 */
    const float *fixed;  /* [cout] scales found by training, raised to the floor where below; NULL = choose them */
    int search;          /* 0: min-max scale only; 1: MSE-optimal */
} hd_rtn;
/* w, v: [cout][inputs]; shift: [cout][ceil(inputs/group_size)] with GROUP, else NULL; scale: [cout]. Returns the sum of squared errors. */
double hd_rtn_quantize(int16_t *v, uint8_t *shift, float *scale, const float *w, size_t cout, size_t inputs, const hd_rtn *o);
/* real ~ mult / 2^shift: mult in 32768..65535 where the shift allows; 0 when real is too large for lowest..highest. */
int hd_fixed_point(double real, int lowest, int highest, int *mult, int *shift);

/* ---- prune.c ---- */
/* present: [oc block][in block], set to 0 for the share `sparsity` of blocks with the smallest L2 norms (at least one block stays;
 * of equal norms the first go). w: [cout][taps][per_tap]. */
hd_status hd_prune_blocks(uint8_t *present, const float *w, int cout, int taps, int per_tap, int block_in, int block_out, float sparsity,
                          hd_err *err);

/* Which blocks must stay in equal numbers. Blocks are [oc block][tap][along]. Either `classes` above 0: in each oc block as many of each class, the class of a
 * block being its place along the tap modulo `classes`; oc blocks may differ. So the pairs of lanes of an array with pair-gather have lists of one
 * length. Or `cell` above 0: of each `cell` neighbouring blocks of a tap as many everywhere (N of M). A class or cell with fewer blocks keeps all it has. */
typedef struct hd_block_rule {
    size_t along, in_blocks, classes, cell;
} hd_block_rule;
hd_block_rule hd_block_rule_of(const hd_layer_policy *o, const hd_stage *s);
/* The rule's masks are made of ranks: of each class (cell) its best block, its second best, .... Ranks stay by their mean score, of an oc block never one
 * without those before it, until about `keep` blocks stay: as near as whole ranks come, and one rank at least. HD_NOMEM. */
hd_status hd_prune_evenly(uint8_t *present, const double *score, size_t blocks, const hd_block_rule *rule, size_t keep, hd_err *err);

/* ---- policy.c ---- */
hd_status hd_policy_check(const hd_policy *p, const hd_graph *g, hd_err *err);
/* The same for a language model, whose layers are "layer0.q" .. (hd_llama_name). */
hd_status hd_policy_check_lm(const hd_policy *p, const hd_llama *m, hd_err *err);

/* ---- rounds.c ---- */
/* Of a policy's sparsity, what is removed by the end of round `round` of `rounds`. */
float hd_round_sparsity(float sparsity, int round, int rounds);

/* ---- compress.c ---- */
/* Do the calibration inputs fit the graph, and is there one? */
hd_status hd_calibration_check(const hd_graph *g, const hd_idx *calib, int samples, hd_err *err);
/* The grid of a layer of `groups` groups: the policy's, or the one that it chooses. */
enum hd_grid hd_stage_grid(const hd_layer_policy *o, int groups);
/* Network, policy and calibration inputs of hd_compress. */
hd_status hd_compress_check(const hd_graph *g, const hd_policy *policy, const hd_idx *calib, int samples, hd_err *err);
/* Bias, multiplier and shift of channel oc, whose scale is set: bias in real units; pre: the codes before a table (or of the output), zero_out
 * the zero point the stage adds. 0 when the unit is too large for the codes. */
int hd_stage_set_channel(hd_stage *s, int oc, float scale_in, hd_qparams pre, int zero_out, double bias);

/* ---- keep.c ---- */
/* A channel in a quantised file's own arithmetic: codes above the zero point = sum * scale to the nearest even, or a mean of codes. */
typedef struct hd_kept {
    float scale;
    int64_t bias; /* in the sum, which is of the file's integers times codes less `zero` */
    int zero;     /* of the input */
    int window;   /* above 0: the layer is the integer mean of so many codes, halves away from code 0 */
    int offset;   /* zero point before a table less the output's, which the stage adds */
} hd_kept;
/* Bias and multiplier (one more or less at most) of channel oc, which has been set, such that as few values as possible of those that its accumulator can have get another
 * code than in the file. Codes above the output's zero point are clamped to from..to. */
void hd_keep_channel(hd_stage *s, int oc, const hd_kept *k, int from, int to);

/* The node's weights in the stage's order [cout][ky][kx][ic]; owned, NULL = out of memory. */
float *hd_stage_source_weights(const hd_node *n, const hd_stage *s);
/* [cout] smallest scale of each channel: its bias must fit; owned, NULL = out of memory. */
float *hd_stage_scale_floors(const hd_node *n, const hd_stage *s, hd_qparams in, hd_qparams pre, int zero_out);

/* ---- solve_stage.c ---- */
/* Calibration images in the middle of a model: what its stages so far give, and what the float network has. */
typedef struct hd_watch {
    hd_model *m;
    const hd_plan *p;
    const hd_qparams *pre; /* [step] codes before the table */
    int images;
    hd_integer **run;      /* [image]: codes of every tensor that is computed already */
    float **value;         /* [image][step]: the float network before activation */
    const hd_trained *trained; /* [graph node] or NULL */
} hd_watch;
/* Solves the weights of stage i again by the policy's method, on the inputs that its compressed predecessors give and towards the outputs
 * of the float network: v, scales, shifts, present blocks and biases. The stage's format stays. */
hd_status hd_solve_stage(const hd_watch *c, int i, const hd_layer_policy *o, hd_err *err);

/* ---- correct.c ---- */
/* Stage by stage: solves the weights by the policy's method where that is not RTN (and the node is not trained), then fits each channel's
 * scale (not with TENSOR granularity) and bias of m (stage i made from step i of p, with codes pre[i] before its table)
 * to the float network on calibration images. The fit is never worse on them than what it started from, channel by channel. */
hd_status hd_correct_channels(hd_model *m, const hd_plan *p, const hd_qparams *pre, const hd_policy *policy, const hd_trained *trained,
                              const hd_idx *calib, int samples, int unit, hd_err *err);
/* ---- solve_coded.c ---- */
/* How the stage is written: the recipe's coding, or INTEGER where its inputs do not come in whole groups of eight. Needs groups and cin of s. */
hd_coding hd_stage_coding(const hd_layer_policy *o, const hd_stage *s);
/* Solves p (h and yx set) on E8P, TABLE (4 entries) or ADDITIVE (2 books of 256): v, w and scale of out. keep: [out][in] or NULL, the same for each block_out
 * rows, in whole groups of eight inputs. *books (ADDITIVE; owned): as hd_stage has them. damping is added to the method's own. */
hd_status hd_solve_coded(hd_linear_result *out, uint32_t **books, const hd_linear *p, const uint8_t *keep, int block_out, hd_coding coding, double damping,
                         hd_err *err);
#endif
