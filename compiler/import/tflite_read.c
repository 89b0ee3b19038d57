/* The FlatBuffer of a .tflite file into plain structs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/file.h"
#include "../../sw/core/half.h"
#include "tflite_internal.h"

enum { MAX_TENSORS = 1 << 16, MAX_NODES = 1 << 16 };

/* Fields of the tables that are read. */
enum { MODEL_OPERATOR_CODES = 1, MODEL_SUBGRAPHS = 2, MODEL_BUFFERS = 4 };
enum { CODE_OLD = 0, CODE_CUSTOM = 1, CODE_BUILTIN = 3 };
enum { GRAPH_TENSORS = 0, GRAPH_INPUTS = 1, GRAPH_OUTPUTS = 2, GRAPH_OPERATORS = 3 };
enum { TENSOR_SHAPE = 0, TENSOR_TYPE = 1, TENSOR_BUFFER = 2, TENSOR_NAME = 3, TENSOR_QUANTIZATION = 4, TENSOR_SPARSITY = 6 };
enum { QUANTIZATION_SCALE = 2, QUANTIZATION_ZERO = 3, QUANTIZATION_AXIS = 6 };
enum { OPERATOR_CODE = 0, OPERATOR_INPUTS = 1, OPERATOR_OUTPUTS = 2, OPERATOR_OPTIONS = 4 };
enum { BUFFER_DATA = 0 };
enum { CUSTOM_OPERATOR = 32 };

static const struct { int type; const char *name; size_t bytes; } types[] = {
    {HD_TFLITE_FLOAT32, "float32", 4}, {HD_TFLITE_FLOAT16, "float16", 2}, {HD_TFLITE_INT32, "int32", 4}, {HD_TFLITE_UINT8, "uint8", 1},
    {HD_TFLITE_INT64, "int64", 8}, {HD_TFLITE_INT16, "int16", 2}, {HD_TFLITE_INT8, "int8", 1}};

static size_t type_bytes(int type) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type) return types[i].bytes;
    return 0;
}

const char *hd_tflite_type_name(int type) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type) return types[i].name;
    return "another type";
}

static const struct { int op; const char *name; } op_names[] = {
    {HD_TFLITE_ADD, "add"}, {HD_TFLITE_AVERAGE_POOL, "average_pool"}, {HD_TFLITE_CONV, "conv"}, {HD_TFLITE_DEPTHWISE, "depthwise"},
    {HD_TFLITE_DEQUANTIZE, "dequantize"}, {HD_TFLITE_FULLY_CONNECTED, "fc"}, {HD_TFLITE_LOGISTIC, "sigmoid"}, {HD_TFLITE_MAX_POOL, "max_pool"},
    {HD_TFLITE_RELU, "relu"}, {HD_TFLITE_RELU6, "relu6"}, {HD_TFLITE_RESHAPE, "reshape"}, {HD_TFLITE_SOFTMAX, "softmax"}, {HD_TFLITE_TANH, "tanh"},
    {HD_TFLITE_PAD, "pad"}, {HD_TFLITE_MEAN, "mean"}, {HD_TFLITE_SQUEEZE, "squeeze"}, {HD_TFLITE_LEAKY_RELU, "leaky_relu"},
    {HD_TFLITE_QUANTIZE, "quantize"}, {HD_TFLITE_HARD_SWISH, "hard_swish"}};

void hd_tflite_node_name(const hd_tflite *t, int node, char *name, size_t size) {
    for (size_t i = 0; i < sizeof op_names / sizeof *op_names; i++)
        if (op_names[i].op == t->node[node].op) {
            snprintf(name, size, "%s.%d", op_names[i].name, node);
            return;
        }
    snprintf(name, size, "operator.%d", node);
}

static uint64_t u64(const uint8_t *b) { return (uint64_t)hd_flat_u32(b) | (uint64_t)hd_flat_u32(b + 4) << 32; }

float hd_tflite_scale(const hd_tflite_tensor *x, size_t channel) { return hd_f32_at(x->scale + 4 * (x->scales > 1 ? channel : 0)); }
int64_t hd_tflite_zero(const hd_tflite_tensor *x, size_t channel) { return (int64_t)u64(x->zero + 8 * (x->scales > 1 ? channel : 0)); }

void hd_tflite_values(const hd_tflite_tensor *x, float *to) {
    size_t inner = 1;
    for (int i = x->axis + 1; i < x->rank; i++) inner *= (size_t)x->dim[i];
    for (size_t i = 0; i < x->count; i++) {
        const uint8_t *b = x->data + i * type_bytes(x->type);
        if (x->type == HD_TFLITE_FLOAT32) to[i] = hd_f32_at(b);
        else if (x->type == HD_TFLITE_FLOAT16) to[i] = hd_f16_at(b);
        else {
            int64_t v = x->type == HD_TFLITE_INT8 ? (int8_t)*b : x->type == HD_TFLITE_UINT8 ? *b : x->type == HD_TFLITE_INT16 ? (int16_t)(b[0] | b[1] << 8)
                        : x->type == HD_TFLITE_INT32 ? (int32_t)hd_flat_u32(b) : (int64_t)u64(b);
            size_t channel = x->scales > 1 ? i / inner % x->scales : 0;
            to[i] = x->scale ? (float)((double)hd_tflite_scale(x, channel) * ((double)v - (double)hd_tflite_zero(x, channel))) : (float)v;
        }
    }
}

float *hd_tflite_floats(const hd_tflite_tensor *x) {
    float *v = malloc(x->count * sizeof *v);
    if (v) hd_tflite_values(x, v);
    return v;
}

static hd_status broken(const hd_tflite *t, const char *what, hd_err *err) {
    return hd_fail(err, HD_FORMAT, "%s: not a whole TFLite file: %s lies outside of it", t->label, what);
}

static hd_status read_shape(hd_tflite *t, hd_tflite_tensor *x, size_t table, int index, hd_err *err) {
    size_t rank;
    const uint8_t *dims = hd_flat_vector(&t->flat, table, TENSOR_SHAPE, 4, &rank);
    if (rank > HD_TFLITE_MAX_RANK) return hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%s' has %zu dimensions; at most %d are supported", t->label, x->name, rank, HD_TFLITE_MAX_RANK);
    x->rank = (int)rank;
    x->count = 1;
    for (size_t i = 0; i < rank; i++) {
        int32_t d = (int32_t)hd_flat_u32(dims + 4 * i);
        if (d < 1 || (size_t)d > HD_TFLITE_MAX_ELEMENTS / x->count)
            return hd_fail(err, HD_RANGE, "%s: tensor %d '%s': size %zu is %d; sizes are positive and at most %d elements are allowed", t->label, index, x->name, i, (int)d,
                           HD_TFLITE_MAX_ELEMENTS);
        x->dim[i] = d;
        x->count *= (size_t)d;
    }
    return HD_OK;
}

static hd_status read_quantization(hd_tflite *t, hd_tflite_tensor *x, size_t table, hd_err *err) {
    size_t q = hd_flat_table(&t->flat, table, TENSOR_QUANTIZATION), zeros;
    x->scale = hd_flat_vector(&t->flat, q, QUANTIZATION_SCALE, 4, &x->scales);
    x->zero = hd_flat_vector(&t->flat, q, QUANTIZATION_ZERO, 8, &zeros);
    x->axis = hd_flat_int(&t->flat, q, QUANTIZATION_AXIS, 0);
    if (!x->scale || x->type == HD_TFLITE_FLOAT32) {
        x->scale = x->zero = NULL; /* some writers leave observed ranges on float tensors */
        x->scales = 0;
        x->axis = 0;
        return HD_OK;
    }
    if (zeros != x->scales || x->axis < 0 || (x->scales > 1 && (x->axis >= x->rank || (size_t)x->dim[x->axis] != x->scales)))
        return hd_fail(err, HD_FORMAT, "%s: tensor '%s': %zu scales and %zu zero points along dimension %d; they must match its size or be one", t->label, x->name, x->scales,
                       zeros, x->axis);
    if (x->scales < 2) x->axis = 0; /* of one scale it says nothing, whatever stands there */
    for (size_t i = 0; i < x->scales; i++) {
        float s = hd_tflite_scale(x, i);
        int64_t z = hd_tflite_zero(x, i);
        if (!(s > 0) || !isfinite(s) || z < -32768 || z > 65535)
            return hd_fail(err, HD_RANGE, "%s: tensor '%s': scale %g, zero point %lld; scales are positive and zero points within 16 bits", t->label, x->name, (double)s, (long long)z);
    }
    return HD_OK;
}

static hd_status read_tensor(hd_tflite *t, size_t table, const uint8_t *buffers, size_t n_buffers, int index, hd_err *err) {
    hd_tflite_tensor *x = &t->tensor[index];
    size_t length, bytes;
    const char *name = hd_flat_string(&t->flat, table, TENSOR_NAME, &length);
    if (name && length) snprintf(x->name, sizeof x->name, "%.*s", length < 60 ? (int)length : 60, name);
    else snprintf(x->name, sizeof x->name, "tensor %d", index);
    for (char *c = x->name; *c; c++)
        if ((unsigned char)*c < 32) *c = '?';
    x->type = hd_flat_byte(&t->flat, table, TENSOR_TYPE, 0);
    hd_status s = read_shape(t, x, table, index, err);
    if (!s) s = read_quantization(t, x, table, err);
    if (s) return s;
    if (hd_flat_table(&t->flat, table, TENSOR_SPARSITY)) return hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%s' is stored sparse; only dense ones are supported", t->label, x->name);
    size_t buffer = (size_t)hd_flat_int(&t->flat, table, TENSOR_BUFFER, 0);
    if (buffer >= n_buffers) return hd_fail(err, HD_FORMAT, "%s: tensor '%s' is in buffer %zu; there are %zu", t->label, x->name, buffer, n_buffers);
    x->data = hd_flat_vector(&t->flat, hd_flat_element(&t->flat, buffers, buffer), BUFFER_DATA, 1, &bytes);
    size_t wanted = x->count * type_bytes(x->type);
    if (x->data && !wanted)
        return hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%s': constants of element type %d; float32, float16, uint8, int8, int16, int32 and int64 are supported", t->label, x->name, x->type);
    if (x->data && bytes != wanted)
        return hd_fail(err, HD_FORMAT, "%s: tensor '%s' (%s, %zu elements) has %zu bytes; it needs %zu", t->label, x->name, hd_tflite_type_name(x->type), x->count, bytes, wanted);
    return t->flat.failed ? broken(t, x->name, err) : HD_OK;
}

static hd_status read_index(int *to, const hd_tflite *t, const uint8_t *at, const char *who, hd_err *err) {
    *to = (int32_t)hd_flat_u32(at);
    if (*to < -1 || *to >= t->n_tensors) return hd_fail(err, HD_FORMAT, "%s: %s names tensor %d; there are %d", t->label, who, *to, t->n_tensors);
    return HD_OK;
}

static hd_status read_node(hd_tflite *t, size_t table, const uint8_t *codes, size_t n_codes, int index, hd_err *err) {
    hd_tflite_node *n = &t->node[index];
    char who[48];
    snprintf(who, sizeof who, "operator %d", index);
    size_t code = (size_t)hd_flat_int(&t->flat, table, OPERATOR_CODE, 0), inputs, outputs, length;
    if (code >= n_codes) return hd_fail(err, HD_FORMAT, "%s: %s has code %zu; there are %zu", t->label, who, code, n_codes);
    size_t entry = hd_flat_element(&t->flat, codes, code);
    /* Old files have the number in a byte, new ones in an int (the larger counts). */
    int old = (int8_t)hd_flat_byte(&t->flat, entry, CODE_OLD, 0), new = hd_flat_int(&t->flat, entry, CODE_BUILTIN, 0);
    n->op = new > old ? new : old;
    if (n->op == CUSTOM_OPERATOR) {
        const char *custom = hd_flat_string(&t->flat, entry, CODE_CUSTOM, &length);
        return hd_fail(err, HD_UNSUPPORTED, "%s: %s is the custom operator '%.*s'; only built-in ones are supported", t->label, who, length < 60 ? (int)length : 60, custom ? custom : "");
    }
    const uint8_t *in = hd_flat_vector(&t->flat, table, OPERATOR_INPUTS, 4, &inputs), *out = hd_flat_vector(&t->flat, table, OPERATOR_OUTPUTS, 4, &outputs);
    n->options = hd_flat_table(&t->flat, table, OPERATOR_OPTIONS);
    if (t->flat.failed) return broken(t, who, err);
    hd_tflite_node_name(t, index, who, sizeof who);
    if (inputs > HD_TFLITE_MAX_INPUTS || outputs != 1)
        return hd_fail(err, HD_UNSUPPORTED, "%s: '%s' (operator %d of the schema) has %zu inputs and %zu outputs; at most %d inputs and exactly 1 output are supported", t->label, who, n->op, inputs, outputs,
                       HD_TFLITE_MAX_INPUTS);
    n->n_inputs = (int)inputs;
    hd_status s = read_index(&n->output, t, out, who, err);
    for (size_t i = 0; !s && i < inputs; i++) s = read_index(&n->input[i], t, in + 4 * i, who, err);
    if (!s && n->output < 0) s = hd_fail(err, HD_FORMAT, "%s: '%s' writes no tensor", t->label, who);
    return s;
}

static hd_status read_subgraph(hd_tflite *t, size_t model, size_t graph, hd_err *err) {
    size_t n_tensors, n_nodes, n_codes, n_buffers, inputs, outputs;
    const uint8_t *tensors = hd_flat_vector(&t->flat, graph, GRAPH_TENSORS, 4, &n_tensors), *nodes = hd_flat_vector(&t->flat, graph, GRAPH_OPERATORS, 4, &n_nodes);
    const uint8_t *codes = hd_flat_vector(&t->flat, model, MODEL_OPERATOR_CODES, 4, &n_codes), *buffers = hd_flat_vector(&t->flat, model, MODEL_BUFFERS, 4, &n_buffers);
    const uint8_t *in = hd_flat_vector(&t->flat, graph, GRAPH_INPUTS, 4, &inputs), *out = hd_flat_vector(&t->flat, graph, GRAPH_OUTPUTS, 4, &outputs);
    if (t->flat.failed) return broken(t, "its table of contents", err);
    if (n_tensors > MAX_TENSORS || n_nodes > MAX_NODES)
        return hd_fail(err, HD_RANGE, "%s: %zu tensors and %zu operators; allowed %d and %d", t->label, n_tensors, n_nodes, MAX_TENSORS, MAX_NODES);
    if (inputs != 1 || outputs != 1) return hd_fail(err, HD_UNSUPPORTED, "%s: %zu inputs and %zu outputs; one of each is supported", t->label, inputs, outputs);
    t->tensor = calloc(n_tensors + 1, sizeof *t->tensor);
    t->node = calloc(n_nodes + 1, sizeof *t->node);
    if (!t->tensor || !t->node) return hd_fail(err, HD_NOMEM, "%s: out of memory", t->label);
    t->n_tensors = (int)n_tensors;
    hd_status s = HD_OK;
    for (size_t i = 0; !s && i < n_tensors; i++) s = read_tensor(t, hd_flat_element(&t->flat, tensors, i), buffers, n_buffers, (int)i, err);
    for (size_t i = 0; !s && i < n_nodes; i++, t->n_nodes++) s = read_node(t, hd_flat_element(&t->flat, nodes, i), codes, n_codes, (int)i, err);
    if (!s) s = read_index(&t->input, t, in, "the input", err);
    if (!s) s = read_index(&t->output, t, out, "the output", err);
    if (!s && (t->input < 0 || t->output < 0)) s = hd_fail(err, HD_FORMAT, "%s: names no input or output tensor", t->label);
    if (!s && t->flat.failed) s = broken(t, "an operator", err);
    return s;
}

hd_status hd_tflite_read(hd_tflite *t, const uint8_t *data, size_t size, const char *label, hd_err *err) {
    *t = (hd_tflite){.label = label, .flat = {data, size, 0}};
    size_t model = hd_flat_root(&t->flat, "TFL3"), n;
    if (!model) return hd_fail(err, HD_FORMAT, "%s: not a TFLite file (no identifier TFL3)", label);
    const uint8_t *graphs = hd_flat_vector(&t->flat, model, MODEL_SUBGRAPHS, 4, &n);
    if (t->flat.failed) return broken(t, "its table of contents", err);
    if (n != 1) return hd_fail(err, HD_UNSUPPORTED, "%s: %zu subgraphs; 1 is supported", label, n);
    return read_subgraph(t, model, hd_flat_element(&t->flat, graphs, 0), err);
}

void hd_tflite_free(hd_tflite *t) {
    free(t->tensor);
    free(t->node);
    t->tensor = NULL;
    t->node = NULL;
}

hd_status hd_import_tflite(hd_graph **out, const char *path, hd_err *err) {
    uint8_t *data;
    size_t size;
    *out = NULL;
    hd_status s = hd_file_read(&data, &size, path, (size_t)1 << 30, 0, err);
    if (s) return s;
    s = hd_import_tflite_memory(out, data, size, path, err);
    free(data);
    /* The format names no model: the file's name stands for it. */
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t length = strlen(base) > 7 && !strcmp(base + strlen(base) - 7, ".tflite") ? strlen(base) - 7 : strlen(base);
    char *name = s ? NULL : strndup(base, length);
    if (name) {
        free((*out)->name);
        (*out)->name = name;
    }
    return s;
}
