/* Small ONNX models written by hand in tests. Everything is freed with the builder; out of memory fails the test. */
#ifndef HD_ONNX_BUILDER_H
#define HD_ONNX_BUILDER_H
#include "../../compiler/import/import.h"
#include "onnx.pb-c.h"

typedef struct builder builder;

/* Input "x" of the given sizes (dims ends with 0), output named `output`. */
builder *builder_new(int opset, const char *dims, const char *output);
void builder_free(builder *b);
/* A node; `inputs` are separated by spaces, "-" is an omitted one. Its output, and its name, is `output`. */
Onnx__NodeProto *builder_node(builder *b, const char *type, const char *inputs, const char *output);
/* Attributes of a node: lists as text, "1 1 2 2". */
void builder_ints(builder *b, Onnx__NodeProto *n, const char *name, const char *values);
void builder_int(builder *b, Onnx__NodeProto *n, const char *name, int64_t v);
void builder_float(builder *b, Onnx__NodeProto *n, const char *name, float v);
void builder_text(builder *b, Onnx__NodeProto *n, const char *name, const char *v);
void builder_tensor(builder *b, Onnx__NodeProto *n, const char *name, Onnx__TensorProto *t);
/* Initializers; sizes and integer values as text, `values` NULL: 0.5, -0.25, 0.75, ... */
Onnx__TensorProto *builder_weights(builder *b, const char *name, const char *dims, const float *values);
Onnx__TensorProto *builder_sizes(builder *b, const char *name, const char *values);
/* A tensor like builder_weights that is no initializer. */
Onnx__TensorProto *builder_loose(builder *b, const char *dims, const float *values);
/* The model's bytes, the caller's to free. */
uint8_t *builder_pack(builder *b, size_t *size);
/* The same as a message, to be freed with onnx__model_proto__free_unpacked; the builder is freed. */
Onnx__ModelProto *builder_message(builder *b);
/* The graph of `body`, which is freed, becomes attribute `name` of a node; with so many of its inputs. */
Onnx__GraphProto *builder_graph(Onnx__NodeProto *n, const char *name, builder *body, int inputs);
/* A constant "flag" of type bool. */
void builder_flag(builder *b, int value);
hd_status builder_import(builder *b, hd_graph **g, hd_err *err);
/* Imports and runs on x[i] = sin(i); the values are the caller's to free. Fails the test on an error. */
float *builder_run(builder *b, size_t *count, int *nodes);
#endif
