/* ONNX messages in memory: read safely from bytes, and their tensors as values. For this folder and compiler/import. */
#ifndef HD_ONNX_PROTO_H
#define HD_ONNX_PROTO_H
#include "nd.h"
#include "onnx.pb-c.h"

/* A message whose nesting and memory are bounded. Free with onnx__model_proto__free_unpacked(m, NULL). */
hd_status hd_onnx_parse(Onnx__ModelProto **out, const uint8_t *data, size_t size, const char *label, hd_err *err);
/* A TensorProto of any element type but complex ones; *out is new. */
hd_status hd_nd_read(hd_nd *out, const Onnx__TensorProto *t, const char *label, hd_err *err);
/* The bytes of a TensorProto (what ONNX's test data are), by the same rules. */
hd_status hd_nd_parse(hd_nd *out, const uint8_t *data, size_t size, const char *label, hd_err *err);
#endif
