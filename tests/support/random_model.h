/* Seeded random models for the tests: small, legal (hd_model_check passes), and together using everything a model can
 * express: kernels, strides, padding, dilation, groups, residuals, tables, clamps, every grid and granularity, pruned blocks, pools. */
#ifndef HD_RANDOM_MODEL_H
#define HD_RANDOM_MODEL_H
#include "../../compiler/compress/model.h"
#include "../../sw/core/rng.h"

/* The same model for the same seed, on every machine. Owned by the caller: hd_model_free. */
hd_status hd_random_model(hd_model **out, uint64_t seed, hd_err *err);
/* Two layers on one input, of which the second adds what the first gives: any number of residual words a position beside an even or odd number of input words. */
hd_status hd_random_residual(hd_model **out, uint64_t seed, hd_err *err);
/* With odd seeds that model, with even ones fully connected layers; the weights of each ungrouped stage are on a code of the external stream: E8P, books, or
 * tables of 4 or 16. */
hd_status hd_random_coded(hd_model **out, uint64_t seed, hd_err *err);
/* Random codes for tensor t: mostly anything, now and then only extremes (-128 and 127), which push the accumulators to their bounds. */
void hd_random_codes(const hd_qtensor *t, uint64_t seed, int8_t *codes);
#endif
