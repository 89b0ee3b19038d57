/* Channels of a language model: hidden units of its feed-forward parts, which make the model narrower for good (rows of w1 and w3, columns of w2). */
#ifndef HD_LM_NARROW_H
#define HD_LM_NARROW_H
#include "compress.h"
#include "../graph/llama.h"

/* out: a model of fewer hidden units when p's structure is CHANNEL (owned by the caller), else NULL. In each block the hidden units leave w2 by exact
 * elimination, the cheapest first, and w2 is fitted to those that stay (solve_support.c, whole columns; towards the float model's stream, on the inputs
 * that narrower blocks before give). All blocks lose as many, because a model has one hidden size: HD_UNSUPPORTED for rules that differ in it, or
 * for a global budget. */
hd_status hd_lm_narrow(hd_llama **out, const hd_llama *m, const hd_policy *p, const int16_t *tokens, int stride, int n, int t, hd_err *err);
#endif
