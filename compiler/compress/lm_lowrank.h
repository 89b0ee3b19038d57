/* A matrix of a language model as a product of two thin ones, with or without what they leave over beside them. */
#ifndef HD_LM_LOWRANK_H
#define HD_LM_LOWRANK_H
#include "compress.h"
#include "lm.h"

/* W ~ U V (+ R): recipe svd:SHARE (+residual). U V is the truncated SVD of the matrix that is wanted, in the metric of its inputs; rank = the largest whose
 * weights are at most SHARE of W's. V is solved first, then U as the least squares that fit the stored V, then R towards what both leave over. With a
 * residual U and V have 8 bits, a scale a row, and R the policy's format; without one both have the policy's bits and granularity. out->part and
 * out->linear.w are set. HD_RANGE, HD_NOMEM as hd_linear_solve and hd_factor_share. */
hd_status hd_lm_solve_low_rank(const hd_layer_policy *o, const hd_linear *p, hd_lm_matrix *out, hd_err *err);
/* out->linear.w [out][in] of out's parts, in double and rounded once. */
hd_status hd_lm_join_parts(hd_lm_matrix *m, int out, int in, const char *name, hd_err *err);
#endif
