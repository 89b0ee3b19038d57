/* QuIP#-style coding (Tseng et al. 2024): rotate weights and inputs until nothing stands out, then code eight weights at a time on
 * a subset of the lattice E8 that needs no table of its own, only 256 patterns that every layer shares.
 *
 * A code has 16 bits: bits 0..7 name a pattern of eight magnitudes, bits 8..14 the signs of weights 0..6 (1 = minus), bit 15 the
 * shift. In units of a quarter the pattern's magnitudes are 2, 6, 10; the sign of weight 7 makes the signed sum a multiple of 8, and the shift
 * adds +1 (bit 15 clear) or -1 to every weight. So each weight is an odd integer, |u| <= 11: four bit-planes of the array.
 * Patterns: the 227 of squared norm up to 10 (in lattice units) and 29 of the 56 with five 3/2 and three 1/2 (norm 12). The
 * paper pads its table with 29 vectors of norm 12, too; which ones does not matter to a rotated layer.
 *
 * 4 bits a weight: a second such code for what the first left, u = 4 * first + second, |u| <= 55: six planes.
 * 3 bits: the second code has 8 bits and names one of the 240 shortest vectors of E8 or of 16 along the axes: u = 5 * first + 2 * second,
 * |u| <= 63: six planes. */
#ifndef HD_E8P_H
#define HD_E8P_H
#include "linear.h"

/* Eight odd integers of a code. */
void hd_e8p_decode(int8_t u[8], uint16_t code);
/* The nearest code to x, in the integers' units (Euclidean; the lowest code among equals is not promised). */
uint16_t hd_e8p_nearest(const double x[8]);
/* The code that makes (x - u) metric (x - u)^T small: the best of the dozen nearest (a pattern and a shift each); never worse than
 * hd_e8p_nearest under the metric. metric: [8][8], positive definite. */
uint16_t hd_e8p_best(const double x[8], const double *metric);

/* The second code of 3 bits a weight, eight even integers: below 128 all +-2, bits 0..6 the signs (1 = minus) of weights 0..6, an even number
 * minus; then 4 * 28 with two of +-4, by the places j < i in order of i, then j, bit 0 the sign of i, bit 1 of j; from 240 on one of +-4: bit 0
 * its sign, bits 1..3 its place. */
void hd_e8p_fine_decode(int8_t u[8], uint8_t code);
/* The one of these codes that makes (x - u) metric (x - u)^T least; metric NULL: the identity. */
uint8_t hd_e8p_fine_best(const double x[8], const double *metric);

/* x <- x R with R orthogonal: random signs, then normalised Hadamard transforms; `inverse`: x <- x R^T. n a power of two: one transform.
 * Else two, over the first and the last 2^floor(log2 n) elements, so that every input reaches (nearly) every output. */
void hd_rotate(double *x, int n, uint64_t seed, int inverse);

typedef struct hd_e8p_options {
    int bits;          /* of a weight: 2, 3 or 4 */
    int rotate_out;    /* 1: outputs too, as in the paper; 0: inputs only: rows keep scales of their own and outputs need no transform */
    int metric;        /* 1: hd_e8p_best under the factor of H; 0: hd_e8p_nearest, as in the paper */
    int sweeps;        /* of coordinate descent over the codes after the error feedback; 0 = the paper's method */
    double damping;    /* of mean diag H */
    uint32_t seed;     /* of the signs */
    int unrotated;     /* 1: neither inputs nor outputs are rotated (networks on the array have nothing that would rotate their activations) */
} hd_e8p_options;

/* 2 bits, inputs only, metric, 4 sweeps, damping 0.01, seed 1. */
void hd_e8p_defaults(hd_e8p_options *o);

typedef struct hd_e8p_result {
    hd_linear_result linear; /* w [out][in] in the layer's own coordinates; v [out][padded] the stored integers, scale [out] of the
                                rotated rows; bits_stored counts codes, 6 bits a row scale, 16 of the octave and 32 of the seed */
    uint16_t *code;          /* [out][groups][stages], 1 stage for 2 bits, else 2 */
    uint8_t *scale_code;     /* [out] 0..63: scale = 2^(scale_base + code/8) */
    int scale_base, groups;  /* groups = ceil(in / 8), padded = 8 groups */
} hd_e8p_result;

/* Block LDL feedback (GPTQ's, eight columns at a time) in the rotated coordinates; deterministic under any number of threads. */
hd_status hd_e8p_solve(hd_e8p_result *out, const hd_linear *p, const hd_e8p_options *o, hd_err *err);
void hd_e8p_result_free(hd_e8p_result *r);
/* Codes and scales -> weights, and (v not NULL) the stored integers [out][padded]: what hd_e8p_solve returned to the bit, from what is stored and
 * bits, rotate_out and seed of o. */
hd_status hd_e8p_weights(float *w, int16_t *v, const hd_e8p_options *o, const uint16_t *code, const uint8_t *scale_code, int scale_base, int out,
                         int in, hd_err *err);
#endif
