/* The frame of .tflite files. */
#include "tflite_frame.h"

tflite_frame tflite_frame_new(int tensors, int ops, int input, int output) {
    tflite_frame f;
    flat_builder *b = &f.b;
    flat_start(b, "TFL3");
    size_t model = f.model = flat_table(b, 5, 0x16), graphs, graph;
    flat_root(b, model);
    f.codes = flat_vector(b, NULL, (size_t)ops, 4);
    flat_point(b, model, 1, f.codes);
    graphs = flat_vector(b, NULL, 1, 4);
    flat_point(b, model, 2, graphs);
    graph = f.graph = flat_table(b, 4, 15);
    flat_element(b, graphs, 0, graph);
    f.tensors = flat_vector(b, NULL, (size_t)tensors, 4);
    flat_point(b, graph, 0, f.tensors);
    flat_point(b, graph, 1, flat_vector(b, &input, 1, 4));
    flat_point(b, graph, 2, flat_vector(b, &output, 1, 4));
    f.ops = flat_vector(b, NULL, (size_t)ops, 4);
    flat_point(b, graph, 3, f.ops);
    f.buffers = flat_vector(b, NULL, (size_t)tensors + 1, 4);
    flat_point(b, model, 4, f.buffers);
    flat_element(b, f.buffers, 0, flat_table(b, 1, 0));
    return f;
}

size_t tflite_frame_tensor(tflite_frame *f, int k, unsigned fields, const int *dim, int rank, int type, const void *data, size_t bytes) {
    size_t t = flat_table(&f->b, 7, fields), buffer = flat_table(&f->b, 1, data ? 1 : 0);
    flat_element(&f->b, f->tensors, (size_t)k, t);
    flat_point(&f->b, t, 0, flat_vector(&f->b, dim, (size_t)rank, 4));
    flat_set(&f->b, t, 1, (uint64_t)type, 1);
    flat_set(&f->b, t, 2, data ? (uint64_t)k + 1 : 0, 4);
    flat_element(&f->b, f->buffers, (size_t)k + 1, buffer);
    if (data) flat_point(&f->b, buffer, 0, flat_vector(&f->b, data, bytes, 1));
    return t;
}

size_t tflite_frame_op(tflite_frame *f, int k, int options, int code, const int *in, int inputs, const int *out) {
    size_t c = flat_table(&f->b, 4, 8), t = flat_table(&f->b, 5, options ? 0x17 : 7);
    flat_set(&f->b, c, 3, (uint64_t)code, 4);
    flat_element(&f->b, f->codes, (size_t)k, c);
    flat_element(&f->b, f->ops, (size_t)k, t);
    flat_set(&f->b, t, 0, (uint64_t)k, 4);
    flat_point(&f->b, t, 1, flat_vector(&f->b, in, (size_t)inputs, 4));
    flat_point(&f->b, t, 2, flat_vector(&f->b, out, 1, 4));
    return t;
}
