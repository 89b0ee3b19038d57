/* From a float graph to a compressed model. */
#ifndef HD_COMPRESS_H
#define HD_COMPRESS_H
#include "../../sw/core/idx.h"
#include "../graph/graph.h"
#include "linear.h"
#include "model.h"
#include "recipe.h"

/* What to do with one layer's weights. */
typedef struct hd_layer_policy {
    int bits;              /* 1..8; 0 = ternary; 16 = float16 values (language models, sparse) */
    int grid;              /* -1 = choose (ODD below 8 bits, unless groups or sparsity inside blocks need zeros), or enum hd_grid */
    int affine;            /* 1 = a zero point a group or row, groups with scales of their own (language models; grid does not count then) */
    int float_scales;      /* 1 = a float16 scale a group, no shifts (language models) */
    enum hd_granularity granularity;
    int group_size;
    float sparsity;        /* share of blocks removed, 0..1 (exclusive) */
    int block_in, block_out;
    hd_sparsity structure; /* what sparsity removes; NONE = blocks. Networks take blocks, channels (passes.h) and N of M, language models also single weights; their
                            * channels are hidden units */
    int n, m;              /* N_OF_M: kept of each m neighbouring inputs (sparsity is 1 - n/m then) */
    int balance;           /* 0, or LANES of an array with pair-gather: blocks of each tile and lane lose equally many (hd_block_rule); networks */
    int skip_sparsity;     /* keep this layer dense */
    int channels_removed;  /* result of the passes: output channels that the layer has lost */
    hd_recipe recipe;      /* its solver: RTN; GPTQ, CLIP (on blocks chosen by magnitude); SPARSEGPT, IOBS (blocks chosen too; GPTQ where nothing is removed) */
} hd_layer_policy;

/* How the codes of a network's activations are laid over what calibration saw. Affine (a scale and a zero point a tensor), static. */
typedef enum hd_ranges {
    HD_RANGES_MSE,        /* the range with the least squared error of rounding and clipping (of a table's output, in front of one) */
    HD_RANGES_MINMAX,     /* all that was seen */
    HD_RANGES_PERCENTILE  /* all but the share 1 - percentile of the values (exact zeros not counted) at either end */
} hd_ranges;

/* Who decides how much a layer loses: its own policy, or one budget (what all policies together remove) that goes where it costs least: budget.h. */
typedef enum hd_budget { HD_BUDGET_LOCAL, HD_BUDGET_GLOBAL } hd_budget;

typedef struct hd_policy {
    hd_layer_policy base;
    hd_ranges ranges;    /* of all tensors but the input and the output of the network */
    float percentile;    /* share of the values, as in 0.9999; PERCENTILE only */
    hd_budget budget;
    int rounds;          /* of pruning, each from what the one before left, on the inputs that its own predecessors give; up to 1 = at once */
    int blockwise;       /* language models: all matrices of a block see the inputs that the block's float matrices give (not "true sequential") */
    int split_average;   /* networks: averages over more pixels are cut (graph/split_average.h), and averages keep one bias for all channels, so that their slices share parameters; 0 = neither */
    float unrepaired;    /* language models: share of the predecessors' damage that a matrix does not aim to repair; 1 = the published objective */
    int n_rules;
    struct hd_policy_rule {
        char *layer; /* node name, exact or with a trailing * */
        hd_layer_policy policy;
    } *rule; /* the last matching rule wins */
} hd_policy;

/* Sensible defaults: 8 bits, CHANNEL, dense, block 8 x 8. */
void hd_policy_default(hd_policy *p);
/* A policy file: JSON {"base": {...}, "layers": {"conv1": {"weights": 4, "sparsity": 0.5, "block": "8x8", "granularity": "group:32",
 * "method": "gptq", "code_group": 4}}}; methods: recipe.h; code_group: inputs a code covers. The base alone takes "ranges": "percentile:99.9". */
hd_status hd_policy_load(hd_policy *p, const char *path, hd_err *err);
/* A file that hd_policy_load reads back as the same policy: every key of the base and of each rule. (Structure NONE is written as 'block', which
 * is what it stands for in networks.) HD_IO. */
hd_status hd_policy_save(const hd_policy *p, const char *path, hd_err *err);
void hd_policy_free(hd_policy *p);
/* The policy of a layer. */
const hd_layer_policy *hd_policy_of(const hd_policy *p, const char *layer);
/* ranges (with percentile) from 'mse', 'minmax', 'percentile' (99.99) or 'percentile:P', 50 <= P <= 100; 0 when it is none of them. */
int hd_policy_ranges(hd_policy *p, const char *text);
/* structure (with n, m and sparsity) from 'block', 'unstructured', 'channel' or 'N:M'; 0 when it is none of them. */
int hd_policy_structure(hd_layer_policy *o, const char *text);
/* budget from 'local' or 'global'; 0 when it is neither. */
int hd_policy_budget(hd_policy *p, const char *text);
enum { HD_POLICY_MAX_ROUNDS = 64 };

/* Weights of one graph node that training put on its grid: the node's weights are scale[oc] * v, or 0 where absent, and the model
 * gets exactly these v. Lent. */
typedef struct hd_trained {
    const float *scale;     /* [cout] as v counts (one value with TENSOR granularity); NULL = compress as if there were no training */
    const uint8_t *present; /* [oc block][in block] of the policy's block, 1 = present; NULL = all (or the policy's own pruning without scale).
                             * Without scale: only these may stay when the policy prunes */
} hd_trained;

/* Budget and rounds of the policy, then as below.
 * calib: images (u8, i8 or f32 idx, items of the graph's input size); at most `samples` of them are used. u8 is divided by 255 when `unit`. */
hd_status hd_compress(hd_model **out, const hd_graph *g, const hd_policy *policy, const hd_idx *calib, int samples, int unit, hd_err *err);
/* The same after training: trained has an entry for each node of g. Of the policy, grids, bits, granularity and block sizes count;
 * masks and integers are the trained ones. */
hd_status hd_compress_trained(hd_model **out, const hd_graph *g, const hd_policy *policy, const hd_trained *trained, const hd_idx *calib,
                              int samples, int unit, hd_err *err);
/* The model of a quantised file: codes of activations and integers of weights are those of the graph (scales of its tensors and nodes), multipliers follow from the scales, and
 * additions are stages of their own. Each rounding is docs/formats.md's. HD_UNSUPPORTED when a tensor or a layer has no scale. */
hd_status hd_compress_kept(hd_model **out, const hd_graph *g, hd_err *err);
#endif
