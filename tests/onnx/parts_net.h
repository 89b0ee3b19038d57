/* A small network that the array runs in parts, for tests: a gate that multiplies (host), HardSwish written out, a detector's tail of
 * Transpose, Reshape and Softmax (host). */
#ifndef HD_PARTS_NET_H
#define HD_PARTS_NET_H
#include "onnx_builder.h"

enum { PARTS_NET_INPUT = 3 * 12 * 12 };
builder *parts_net(void);
/* One that the array runs as a whole once Erf is part of a Gelu and a Shape is constant: [1][3][12][12] to five classes. */
builder *parts_net_folded(void);
/* Input n of as many as wanted, in -1..1. */
void parts_net_input(float *x, uint32_t n);
#endif
