/* What every .tflite file has around its tensors and operators: one graph, its operator codes, a buffer for each tensor. */
#ifndef TFLITE_FRAME_H
#define TFLITE_FRAME_H
#include "flat_builder.h"

typedef struct tflite_frame {
    flat_builder b;
    size_t codes, tensors, ops, buffers; /* vectors of tables */
    size_t model, graph;                 /* tables, for what a test leads elsewhere */
} tflite_frame;

/* A model of one graph with room for so many tensors and operators; the tensors `input` and `output` are the graph's. */
tflite_frame tflite_frame_new(int tensors, int ops, int input, int output);
/* Tensor k with its buffer, which is empty where data is NULL; `fields` are those that its table has, shape, type and buffer among them. Returns the table. */
size_t tflite_frame_tensor(tflite_frame *f, int k, unsigned fields, const int *dim, int rank, int type, const void *data, size_t bytes);
/* Operator k, with a code of its own; `options`: it gets some. Returns the table. */
size_t tflite_frame_op(tflite_frame *f, int k, int options, int code, const int *in, int inputs, const int *out);
#endif
