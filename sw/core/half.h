/* IEEE 754 binary16 ("half") numbers. */
#ifndef HD_HALF_H
#define HD_HALF_H

/* The 16 bits of x, or -1 when x is not exactly a half. */
int hd_half_bits(float x);
float hd_half_value(unsigned bits);
#endif
