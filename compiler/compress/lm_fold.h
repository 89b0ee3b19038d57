/* Folding for language models (SmoothQuant, AWQ: fold_scales.h): what the matrices of a block read is divided by s where it is made, and their columns are
 * multiplied by it. The float model computes the same.
 *
 *     q, k, v   divided in the weights of the norm before attention       w1, w3   in the weights of the norm before the feed-forward part
 *     o         in the rows of v (heads that share one v share s)         w2       in the rows of w3
 *
 * Matrices that read the same input and ask for scales: SmoothQuant takes the geometric mean of what each would choose; AWQ looks for one power for all
 * of them. One that does not ask is multiplied all the same. */
#ifndef HD_LM_FOLD_H
#define HD_LM_FOLD_H
#include "compress.h"
#include "lm.h"

/* Folds what the policy's recipes ask for, in place; calibrated on n rows of t tokens, `stride` apart. Nothing happens when none asks. */
hd_status hd_lm_fold(hd_llama *m, const hd_policy *p, const int16_t *tokens, int stride, int n, int t, hd_err *err);
#endif
