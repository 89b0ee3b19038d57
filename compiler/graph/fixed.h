/* Integer arithmetic for language models on the array: what stands for real numbers, and the functions of attention, norms and gates. Everything is
 * integer operations of 64 bits, so that results depend on no compiler flag, no mathematics library and no rounding mode. docs/language.md defines each to the bit.
 *
 * Two kinds of number: fixed point with a stated count of fraction bits (Q16: value * 2^-16), and `hd_scaled`, a positive number with a mantissa of 31 bits.
 * "Rounded" is floor(x + 1/2) everywhere; >> is a floor. */
#ifndef HD_FIXED_H
#define HD_FIXED_H
#include <stdint.h>

enum { HD_Q = 16, HD_EXP_ONE = 1 << 30 };

/* m * 2^e; m is 0 or 2^30 .. 2^31 - 1. */
typedef struct hd_scaled {
    uint32_t m;
    int e;
} hd_scaled;

/* x * 2^e, rounded to 31 bits. */
hd_scaled hd_scaled_of(uint64_t x, int e);
/* |x|, exact. x is finite. */
hd_scaled hd_scaled_float(float x);
hd_scaled hd_scaled_mul(hd_scaled a, hd_scaled b);
/* floor(2^32 a.m / b.m), then rounded to 31 bits; b is not 0. */
hd_scaled hd_scaled_div(hd_scaled a, hd_scaled b);
/* The whole square root of the mantissa with 31 or 32 zeros behind it, then rounded to 31 bits. */
hd_scaled hd_scaled_sqrt(hd_scaled a);
/* k * s with `fraction` fraction bits, rounded, saturated to +-(2^31 - 1); |k| < 2^31. */
int32_t hd_scaled_times(hd_scaled s, int64_t k, int fraction);
/* x with `fraction` fraction bits, likewise. */
int32_t hd_fixed_float(float x, int fraction);

/* e^-d with 30 fraction bits (2^30 for d = 0) of d >= 0 with 30 fraction bits; 0 from d = 32 on. */
uint32_t hd_fixed_exp(int64_t d);
/* Natural logarithm with 30 fraction bits of x * 2^-30, x >= 2^30. */
int64_t hd_fixed_log(uint64_t x);
/* 1 / (1 + e^-x) with 30 fraction bits, of x in Q16. */
int64_t hd_fixed_sigmoid(int32_t x);
/* Cosine and sine with 30 fraction bits of position * 10000^(-2 pair / head); position < 2^15. */
void hd_fixed_rotation(int32_t *cosine, int32_t *sine, int position, int pair, int head);
/* Codes -127 .. 127 of n values z, the largest magnitude on 127: code = rounded(127 z / M). Returns M * 2^e / 127, what a code of 1 stands for when
 * the values are z * 2^e; all zero: 0. |z| < 2^55. */
hd_scaled hd_fixed_codes(int8_t *code, const int64_t *z, int n, int e);
#endif
