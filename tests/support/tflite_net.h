/* Random networks as .tflite files, for tests of its reader: float ones with what they are made of, for an interpreter. */
#ifndef TFLITE_NET_H
#define TFLITE_NET_H
#include "../../sw/core/rng.h"
#include "flat_builder.h"

/* BuiltinOperator, padding, activations, TensorType. */
enum { ADD = 0, AVERAGE = 1, CONV = 3, DEPTHWISE = 4, DEQUANTIZE = 6, FC = 9, MAXIMUM = 17, RESHAPE = 22, SOFTMAX = 25, PAD = 34, MEAN = 40 };
enum { SAME = 0, VALID = 1, RELU = 1, RELU6 = 3, FLOAT = 0, HALF = 1, INT32 = 2, INT8 = 9 };
enum { MAX_TENSORS = 64, MAX_OPS = 32 };

typedef struct tensor {
    int rank, dim[4], type;
    void *data;       /* constants: as the file has them */
    size_t bytes;
    float *value;     /* what the interpreter has */
    float scale;      /* INT8 */
    int zero;
} tensor;

typedef struct op {
    int code, in[3], inputs, out, options, padding, sx, sy, kw, kh, dx, dy, multiplier, activation;
} op;

typedef struct net {
    tensor t[MAX_TENSORS];
    op o[MAX_OPS];
    int tensors, ops, input, output;
    hd_rng rng;
} net;

size_t tflite_elements(const tensor *t);
/* Output size and padding before it of a window. */
int tflite_window(int padding, int in, int kernel, int stride, int dilation, int *before);
/* Constants may be float16 or int8 behind a DEQUANTIZE. Ends with a classifier of three. */
net tflite_net(uint64_t seed);
void tflite_net_free(net *n);
flat_builder tflite_file(const net *n);
#endif
