/* Training of a network on the formats it will be stored in: quantisation-aware (qat.h), in hardware blocks (prune.h), with a
 * teacher (distil.h). It starts from a float network and from what one-shot compression made of it; hd_compress_trained makes the
 * model of the result. Deterministic, whatever the number of threads. */
#ifndef HD_TUNE_H
#define HD_TUNE_H
#include "../../compiler/compress/compress.h"
#include "train.h"

typedef enum hd_masks {
    HD_MASKS_FIXED,    /* the one-shot model's blocks, for good: sparse fine-tuning */
    HD_MASKS_GRADUAL,  /* from dense to the one-shot model's share of blocks, cubically; by magnitude (Zhu and Gupta 2017) */
    HD_MASKS_REGROW,   /* the share is constant: small blocks go, absent ones with large gradients come (Evci et al. 2020) */
    HD_MASKS_FEEDBACK  /* gradual, and absent blocks keep learning from the gradient, so that they can come back (Lin et al. 2020) */
} hd_masks;

/* What a block is worth when masks are chosen. */
typedef enum hd_score {
    HD_SCORE_NORM,  /* sum of w^2; between layers by LAMP (Lee et al. 2021) */
    HD_SCORE_FISHER /* sum of w^2 times the running mean of the squared gradient, Adam's: half of it estimates what the loss pays for the block
                       (the diagonal of the Fisher matrix for that of the Hessian, Theis et al. 2018); the same unit in all layers */
} hd_score;

typedef struct hd_tune_options {
    hd_train_options train;
    hd_masks masks;
    hd_score score;
    int global;               /* GRADUAL, FEEDBACK: one budget of blocks for all layers, shared out by the scores; else one each */
    float settled;            /* the last share of the steps, in which masks rest; 0..1 */
    const hd_policy *policy;  /* what `start` was compressed with, for blocks that stay in equal numbers (balance, N of M); NULL = every block is free */
    const hd_graph *teacher;  /* NULL = labels only; may be the network itself */
    int mutual;               /* the teacher, a copy of it, trains too: on the labels and on the student (Zhang et al. 2018) */
    float share, temperature; /* of the teacher's part of the loss */
    const hd_graph *rewind;   /* weights to start from instead of the network's, which then only gave masks and steps: a lottery
                                 ticket (Frankle et al. 2020) when they are the same network's early ones; or NULL */
    float step_pace;          /* learning rate of the (logarithms of the) step sizes against that of the weights */
} hd_tune_options;

/* The network on its grids: weights of the graph are scale * v, and 0 in absent blocks. */
typedef struct hd_tuned {
    hd_graph *graph;
    hd_trained *trained; /* [n_nodes]; what hd_compress_trained takes. Arrays owned by this */
    double loss;         /* mean over the last epoch */
} hd_tuned;

void hd_tune_defaults(hd_tune_options *o);
/* A learning rate for what compression did to the network: a tenth of the defaults' where it kept all blocks and 4 bits or more. */
float hd_tune_rate(const hd_graph *g, const hd_model *start);
/* start: hd_compress of g with the policy that the result is to be compressed with. Images as for hd_train; test_* (may be NULL) are for
 * on_epoch. Errors as hd_train's; HD_MISMATCH also for a teacher or rewound network of other sizes. On an interrupt nothing is made. */
hd_status hd_tune(hd_tuned *out, const hd_graph *g, const hd_model *start, const hd_idx *images, const hd_idx *labels, const hd_idx *test_images,
                  const hd_idx *test_labels, const hd_tune_options *o, hd_err *err);
void hd_tuned_free(hd_tuned *t);
/* All of it: one-shot compression with `policy`, training, and the model of the trained network; `samples` images calibrate, as for hd_compress. A
 * learning rate of 0 stands for hd_tune_rate. */
hd_status hd_tune_model(hd_model **out, const hd_graph *g, const hd_policy *policy, const hd_idx *images, const hd_idx *labels, int samples, int unit,
                        const hd_tune_options *o, hd_err *err);
/* A narrower copy of a chain of layers (owned by the caller): `share` of each layer's channels, rounded up, those of the largest weights; the last
 * layer keeps all. A student for the full network. HD_UNSUPPORTED: additions, groups. */
hd_status hd_narrow(hd_graph **out, const hd_graph *g, float share, hd_err *err);
#endif
