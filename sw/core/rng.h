/* Seeded pseudo-random numbers (PCG32, O'Neill 2014): the same sequence on every machine. */
#ifndef HD_RNG_H
#define HD_RNG_H
#include <stdint.h>

typedef struct hd_rng {
    uint64_t state, stream;
} hd_rng;

void hd_rng_seed(hd_rng *rng, uint64_t seed, uint64_t stream);
uint32_t hd_rng_u32(hd_rng *rng);
/* Uniform in 0..n-1, without bias; n > 0. */
uint32_t hd_rng_below(hd_rng *rng, uint32_t n);
/* Uniform in [0, 1). */
float hd_rng_float(hd_rng *rng);
/* Standard normal. */
float hd_rng_normal(hd_rng *rng);
#endif
