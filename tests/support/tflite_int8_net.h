/* Random quantised networks as .tflite files, for tests of their reader. Tensors and weights are int8, weights often with a scale a channel, biases int32. */
#ifndef TFLITE_INT8_NET_H
#define TFLITE_INT8_NET_H
#include "../../sw/core/rng.h"
#include "flat_builder.h"

enum { INT8_NET_TENSORS = 48, INT8_NET_OPS = 24 };
typedef struct int8_tensor {
    int rank, dim[4], type, zero, scales, axis;
    float scale[16];
    uint8_t *data;
    size_t bytes;
} int8_tensor;
typedef struct int8_op {
    int code, in[3], inputs, out, same, sx, sy, kw, kh, activation;
} int8_op;
typedef struct int8_net {
    int8_tensor t[INT8_NET_TENSORS];
    int8_op o[INT8_NET_OPS];
    int tensors, ops;
    hd_rng rng;
} int8_net;

int8_net int8_net_random(uint64_t seed);
void int8_net_free(int8_net *n);
flat_builder int8_net_file(const int8_net *n);
/* lo .. hi of the network's own random numbers. */
int int8_net_draw(int8_net *n, int lo, int hi);
#endif
