/* Which hardware blocks a layer keeps while it trains (internal to sw/train and its tests). A mask is [blocks], 1 = present. */
#ifndef HD_TRAIN_PRUNE_H
#define HD_TRAIN_PRUNE_H
#include "qat.h"

/* Squared L2 norm of each block of x [cout][inputs]: weights, or a gradient. */
void hd_prune_norms(double *norm, const hd_fake *f, const float *x);
/* Sum of x^2 * weight over each block; weight NULL counts as 1. */
void hd_prune_weighted(double *norm, const hd_fake *f, const float *x, const float *weight);
/* Keeps the `keep` blocks of the largest scores (of equals the last ones, as one-shot pruning does). HD_NOMEM. */
hd_status hd_prune_keep(uint8_t *present, const double *score, size_t blocks, size_t keep, hd_err *err);
/* Scores that compare blocks of different layers (LAMP: Lee et al. 2021): the block's norm over the sum of all of its layer that are as large
 * or larger. Every layer's largest block has 1. HD_NOMEM. */
hd_status hd_prune_lamp(double *score, const double *norm, size_t blocks, hd_err *err);
/* Drops the `move` present blocks of the smallest norm and grows as many absent ones of the largest growth, never one just dropped (Evci et
 * al. 2020). Returns how many moved: no more than there are of either kind. -1 without memory. */
long hd_prune_regrow(uint8_t *present, const double *norm, const double *growth, size_t blocks, size_t move);
/* Sparsity at `part` 0..1 of a gradual run to `final` (Zhu and Gupta 2017): final * (1 - (1 - part)^3). */
double hd_prune_cubic(double final, double part);
#endif
