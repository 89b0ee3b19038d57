/* ONNX messages in memory: read safely from bytes, and their tensors as values. For this folder and compiler/import. */
#ifndef HD_ONNX_PROTO_H
#define HD_ONNX_PROTO_H
#include "nd.h"
#include "onnx.pb-c.h"

/* FunctionProto.attribute_proto, attributes with their defaults, came with ONNX's IR 9: in an older schema it is an unknown field, whose bytes are the message. */
enum { HD_ONNX_FUNCTION_DEFAULTS = 11 };

/* A message whose nesting and memory are bounded, its own functions inlined. Free with onnx__model_proto__free_unpacked(m, NULL). */
hd_status hd_onnx_parse(Onnx__ModelProto **out, const uint8_t *data, size_t size, const char *label, hd_err *err);
/* The same from a file, with the data of tensors that lie in other files of its folder (not outside: HD_UNSUPPORTED). *size: the bytes of all. */
hd_status hd_onnx_read_file(Onnx__ModelProto **out, const char *path, size_t *size, hd_err *err);
/* Nodes that call functions of the model become the functions' nodes, in the main graph and in those inside; then there are no functions. Names inside a function get
 * the call's name in front. */
hd_status hd_onnx_inline_functions(Onnx__ModelProto *m, const char *label, hd_err *err);
/* A TensorProto of any element type but complex ones; *out is new. */
hd_status hd_nd_read(hd_nd *out, const Onnx__TensorProto *t, const char *label, hd_err *err);
/* The bytes of a TensorProto (what ONNX's test data are), by the same rules. */
hd_status hd_nd_parse(hd_nd *out, const uint8_t *data, size_t size, const char *label, hd_err *err);
#endif
