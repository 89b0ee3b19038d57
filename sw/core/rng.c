#include "rng.h"

#include <math.h>

void hd_rng_seed(hd_rng *rng, uint64_t seed, uint64_t stream) {
    rng->state = 0;
    rng->stream = stream << 1 | 1u;
    hd_rng_u32(rng);
    rng->state += seed;
    hd_rng_u32(rng);
}

uint32_t hd_rng_u32(hd_rng *rng) {
    uint64_t old = rng->state;
    rng->state = old * 6364136223846793005u + rng->stream;
    uint32_t mixed = (uint32_t)((old >> 18 ^ old) >> 27);
    uint32_t turn = (uint32_t)(old >> 59);
    return mixed >> turn | mixed << (-turn & 31u);
}

uint32_t hd_rng_below(hd_rng *rng, uint32_t n) {
    /* Draws below 2^32 mod n would favour the small results. */
    uint32_t threshold = -n % n;
    for (;;) {
        uint32_t r = hd_rng_u32(rng);
        if (r >= threshold) return r % n;
    }
}

float hd_rng_float(hd_rng *rng) { return (float)(hd_rng_u32(rng) >> 8) * 0x1p-24f; }

float hd_rng_normal(hd_rng *rng) {
    /* Marsaglia's polar method in double: the last float bit does not depend on the libm's log. */
    for (;;) {
        double x = (double)hd_rng_u32(rng) * 0x1p-31 - 1.0, y = (double)hd_rng_u32(rng) * 0x1p-31 - 1.0;
        double s = x * x + y * y;
        if (s > 0.0 && s < 1.0) return (float)(x * sqrt(-2.0 * log(s) / s));
    }
}
