/* IEEE 754 binary16 ("half") numbers, and reading numbers of 16 and 32 bits from files. */
#ifndef HD_HALF_H
#define HD_HALF_H
#include <stdint.h>

/* The 16 bits of x, or -1 when x is not exactly a half. */
int hd_half_bits(float x);
float hd_half_value(unsigned bits);

/* Little-endian numbers at b: binary32, binary16, and bfloat16 (the upper half of a binary32). */
float hd_f32_at(const uint8_t *b);
float hd_f16_at(const uint8_t *b);
float hd_bf16_at(const uint8_t *b);
#endif
