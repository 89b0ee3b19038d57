/* Models from files. hd_import looks at the content, not the name. */
#ifndef HD_IMPORT_H
#define HD_IMPORT_H
#include "../graph/graph.h"

hd_status hd_import_onnx(hd_graph **out, const char *path, hd_err *err);
/* The same from memory; `label` stands in messages for the path. */
hd_status hd_import_onnx_memory(hd_graph **out, const uint8_t *data, size_t size, const char *label, hd_err *err);
/* A .tflite file of float32 tensors (weights may be float16, or integers behind DEQUANTIZE), or of int8 ones: then tensors and weights of the graph have scales. Inputs of the
 * graph are [c][h][w], as everywhere. */
hd_status hd_import_tflite(hd_graph **out, const char *path, hd_err *err);
hd_status hd_import_tflite_memory(hd_graph **out, const uint8_t *data, size_t size, const char *label, hd_err *err);
/* Writes an ONNX file (opset 13) that hd_import_onnx reads back to an equal graph. */
hd_status hd_export_onnx(const hd_graph *g, const char *path, hd_err *err);
#endif
