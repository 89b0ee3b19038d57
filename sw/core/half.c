/* IEEE 754 binary16. */
#include "half.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

int hd_half_bits(float x) {
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    uint32_t sign = b >> 16 & 0x8000u, size = b & 0x7fffffffu;
    if (!size) return (int)sign;
    int e = (int)(size >> 23) - 127;
    uint32_t mantissa = (size & 0x7fffffu) | 0x800000u; /* value = mantissa * 2^(e - 23) */
    if (e > 15 || e < -24) return -1;
    int drop = e >= -14 ? 13 : -1 - e; /* subnormal halves count in units of 2^-24 */
    if (mantissa & ((1u << drop) - 1u)) return -1;
    mantissa >>= drop;
    return (int)(sign | (e >= -14 ? (uint32_t)(e + 15) << 10 | (mantissa & 0x3ffu) : mantissa));
}

float hd_half_value(unsigned bits) {
    int e = (int)(bits >> 10 & 31u), m = (int)(bits & 0x3ffu);
    float v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexpf((float)(m + 1024), e - 25) : ldexpf((float)m, -24);
    return bits & 0x8000u ? -v : v;
}

static float value_of(uint32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

float hd_f32_at(const uint8_t *b) { return value_of((uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24); }
float hd_f16_at(const uint8_t *b) { return hd_half_value((unsigned)b[0] | (unsigned)b[1] << 8); }
float hd_bf16_at(const uint8_t *b) { return value_of((uint32_t)b[0] << 16 | (uint32_t)b[1] << 24); }
