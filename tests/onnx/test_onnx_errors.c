/* Malformed and hostile models: the exact message of each, and thousands of random structural edits without a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../compiler/import/import.h"
#include "../../compiler/onnx/nd.h"
#include "../../sw/core/file.h"
#include "onnx.pb-c.h"
#include "sample_graph.h"

/* sample_fixed() as a message: nodes 0 Conv, 1 Relu, 2 MaxPool, 3 the Reshape before fc1, 4 Gemm. */
static Onnx__ModelProto *base(const hd_graph *g) {
    char path[64];
    hd_err err = {0};
    uint8_t *data;
    size_t size;
    snprintf(path, sizeof path, "/tmp/hd_errors_%ld.onnx", (long)getpid());
    if (hd_export_onnx(g, path, &err) != HD_OK || hd_file_read(&data, &size, path, 1 << 24, 0, &err) != HD_OK) fail_msg("%s", err.message);
    unlink(path);
    Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, size, data);
    assert_non_null(m);
    free(data);
    return m;
}

static hd_status import_message(const Onnx__ModelProto *m, hd_graph **g, hd_err *err) {
    size_t size = onnx__model_proto__get_packed_size(m);
    uint8_t *data = malloc(size + 1);
    assert_non_null(data);
    onnx__model_proto__pack(m, data);
    hd_status status = hd_import_onnx_memory(g, data, size, "m.onnx", err);
    free(data);
    return status;
}

static void set_text(char **s, const char *to) {
    free(*s);
    *s = malloc(strlen(to) + 1);
    assert_non_null(*s);
    strcpy(*s, to);
}

static Onnx__AttributeProto *attribute(Onnx__NodeProto *p, const char *name) {
    for (size_t k = 0; k < p->n_attribute; k++)
        if (strcmp(p->attribute[k]->name, name) == 0) return p->attribute[k];
    fail_msg("no attribute %s", name);
    return NULL;
}

static Onnx__TensorProto *initializer(Onnx__GraphProto *g, const char *name) {
    for (size_t k = 0; k < g->n_initializer; k++)
        if (strcmp(g->initializer[k]->name, name) == 0) return g->initializer[k];
    fail_msg("no initializer %s", name);
    return NULL;
}

static Onnx__TensorShapeProto__Dimension *input_dim(Onnx__GraphProto *g, int k) { return g->input[0]->type->tensor_type->shape->dim[k]; }

static void set_dim(Onnx__TensorShapeProto__Dimension *d, int64_t v) {
    if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM) free(d->dim_param);
    d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    d->dim_value = v;
}

enum {
    NO_OPSET, OLD_OPSET, NO_GRAPH, CYCLE, SELF, MISSING, TWICE, NO_OUTPUT, TWO_OUTPUTS, TWO_INPUTS, INT_INPUT, BATCH, OPEN_SIZE, HUGE_SIZE,
    NEGATIVE_SIZE, NEGATIVE_DIM, HUGE_DIM, SHORT_DATA, WEIGHT_TYPE, WEIGHT_RANK, EXTERNAL, BIAS_SIZE, NAN_WEIGHT, OPERATOR, DOMAIN, ATTRIBUTE,
    ATTRIBUTE_TYPE, STRIDE, PADS, GROUPS, KERNEL, KERNEL_RANK, AUTO_PAD, COMPUTED_WEIGHT, NO_WEIGHT, TRANS_A, RESHAPE, RESHAPE_HUGE, CONTROL, CONSTANT_OUTPUT,
    POOL_PADDING, CONV3D, NO_SHAPE, ONE_DIM, FIVE_DIMS, SPARSE, LONG_NAME, NAMELESS_INPUT, STRINGS, SEGMENT, RAW_STRINGS, ODD_BYTES, LONG_DATA, MANY_DIMS
};

static void edit(Onnx__ModelProto *m, int kind) {
    Onnx__GraphProto *g = m->graph;
    Onnx__TensorProto *w = initializer(g, "conv1.weight");
    Onnx__NodeProto *conv = g->node[0], *relu = g->node[1], *pool = g->node[2], *gemm = g->node[4];
    Onnx__TensorShapeProto *shape = g->input[0]->type->tensor_type->shape;
    const float nan = (float)__builtin_nan("");
    char name[1026] = "";
    memset(name, 'n', sizeof name - 1);
    switch (kind) {
    case NO_OPSET: set_text(&m->opset_import[0]->domain, "com.example"); break;
    case OLD_OPSET: m->opset_import[0]->version = 6; break;
    case NO_GRAPH:
        onnx__graph_proto__free_unpacked(g, NULL);
        m->graph = NULL;
        break;
    case CYCLE: set_text(&conv->input[0], "c"); break;
    case SELF: set_text(&relu->input[0], "b"); break;
    case MISSING: set_text(&relu->input[0], "nothing"); break;
    case TWICE: set_text(&relu->output[0], "a"); break;
    case NO_OUTPUT: set_text(&g->output[0]->name, "z"); break;
    case TWO_OUTPUTS:
    case TWO_INPUTS: {
        Onnx__ValueInfoProto ***list = kind == TWO_INPUTS ? &g->input : &g->output;
        *list = realloc(*list, 2 * sizeof **list);
        assert_non_null(*list);
        (*list)[1] = malloc(sizeof ***list);
        assert_non_null((*list)[1]);
        onnx__value_info_proto__init((*list)[1]);
        set_text(&(*list)[1]->name, kind == TWO_INPUTS ? "x2" : "a");
        if (kind == TWO_INPUTS) g->n_input = 2;
        else g->n_output = 2;
        break;
    }
    case INT_INPUT: g->input[0]->type->tensor_type->elem_type = 7; break;
    case BATCH: set_dim(input_dim(g, 0), 32); break;
    case OPEN_SIZE: input_dim(g, 2)->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE__NOT_SET; break;
    case HUGE_SIZE: set_dim(input_dim(g, 2), INT64_MAX); break;
    case NEGATIVE_SIZE: set_dim(input_dim(g, 1), -2); break;
    case NEGATIVE_DIM: w->dims[0] = -4; break;
    case HUGE_DIM: w->dims[0] = INT64_MAX; break;
    case SHORT_DATA: w->raw_data.len -= 4; break;
    case WEIGHT_TYPE: w->data_type = 14; break;
    case WEIGHT_RANK: w->dims[2] = 9, w->n_dims = 3; break;
    case EXTERNAL: w->has_data_location = 1, w->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL; break;
    case BIAS_SIZE: set_text(&conv->input[2], "fc1.bias"); break;
    case NAN_WEIGHT: memcpy(w->raw_data.data + 4, &nan, 4); break;
    case OPERATOR: set_text(&relu->op_type, "Tile"); break;
    case DOMAIN: set_text(&relu->domain, "com.example"); break;
    case ATTRIBUTE: set_text(&attribute(conv, "dilations")->name, "output_shape"); break;
    case ATTRIBUTE_TYPE: attribute(conv, "group")->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT; break;
    case STRIDE: attribute(conv, "strides")->ints[1] = 0; break;
    case PADS: attribute(conv, "pads")->ints[0] = -1; break;
    case GROUPS: attribute(conv, "group")->i = 3; break;
    case KERNEL: attribute(conv, "kernel_shape")->ints[0] = 5; break;
    case KERNEL_RANK: attribute(pool, "kernel_shape")->n_ints = 1; break;
    case AUTO_PAD: set_text(&attribute(pool, "dilations")->name, "auto_pad"); break;
    case COMPUTED_WEIGHT: set_text(&conv->input[1], "x"); break;
    case NO_WEIGHT: set_text(&conv->input[1], ""); break;
    case TRANS_A: set_text(&attribute(gemm, "transB")->name, "transA"); break;
    case RESHAPE: initializer(g, "fc1/flat.shape")->raw_data.data[8] = 7; break;
    case RESHAPE_HUGE: memset(initializer(g, "fc1/flat.shape")->raw_data.data + 8, 0x7f, 8); break;
    case CONTROL: set_text(&relu->name, "relu\033[2J"); break;
    case CONSTANT_OUTPUT: set_text(&g->output[0]->name, "conv1.weight"); break;
    case POOL_PADDING: attribute(pool, "pads")->ints[0] = 2, attribute(pool, "strides")->ints[0] = 3; break;
    case CONV3D: set_text(&conv->input[1], "fc1.weight"); break;
    case NO_SHAPE:
        onnx__tensor_shape_proto__free_unpacked(g->input[0]->type->tensor_type->shape, NULL);
        g->input[0]->type->tensor_type->shape = NULL;
        break;
    case ONE_DIM:
        for (; shape->n_dim > 1; shape->n_dim--) protobuf_c_message_free_unpacked(&shape->dim[shape->n_dim - 1]->base, NULL);
        break;
    case FIVE_DIMS:
        shape->dim = realloc(shape->dim, 5 * sizeof *shape->dim);
        assert_non_null(shape->dim);
        shape->dim[4] = calloc(1, sizeof **shape->dim);
        assert_non_null(shape->dim[4]);
        onnx__tensor_shape_proto__dimension__init(shape->dim[4]);
        shape->n_dim = 5;
        break;
    case SPARSE:
        g->sparse_initializer = calloc(1, sizeof *g->sparse_initializer);
        assert_non_null(g->sparse_initializer);
        g->sparse_initializer[0] = calloc(1, sizeof **g->sparse_initializer);
        assert_non_null(g->sparse_initializer[0]);
        onnx__sparse_tensor_proto__init(g->sparse_initializer[0]);
        g->n_sparse_initializer = 1;
        break;
    case LONG_NAME:
        set_text(&relu->output[0], name);
        break;
    case NAMELESS_INPUT: set_text(&g->input[0]->name, ""); break;
    case STRINGS:
    case RAW_STRINGS:
        w->data_type = HD_TYPE_STRING;
        if (kind == RAW_STRINGS) break;
        free(w->raw_data.data);
        w->raw_data.data = NULL;
        w->has_raw_data = 0;
        w->n_dims = 0;
        w->n_string_data = 1;
        w->string_data = calloc(1, sizeof *w->string_data);
        assert_non_null(w->string_data);
        break;
    case SEGMENT:
        w->segment = calloc(1, sizeof *w->segment);
        assert_non_null(w->segment);
        onnx__tensor_proto__segment__init(w->segment);
        break;
    case ODD_BYTES: w->dims[0] = 3, w->raw_data.len = 3 * 2 * 3 * 3 * 4 + 1; break;
    case LONG_DATA: w->dims[0] = 3; break;
    case MANY_DIMS:
        w->dims = realloc(w->dims, 64 * sizeof *w->dims);
        assert_non_null(w->dims);
        for (w->n_dims = 0; w->n_dims < 64; w->n_dims++) w->dims[w->n_dims] = 1;
        break;
    }
}

static const struct {
    int kind;
    hd_status status;
    const char *message;
} cases[] = {
    {NO_OPSET, HD_FORMAT, "m.onnx: names no version of the ONNX operator set"},
    {OLD_OPSET, HD_UNSUPPORTED, "m.onnx: ONNX operator set 6; 7 and up are supported"},
    {NO_GRAPH, HD_FORMAT, "m.onnx: holds no ONNX graph"},
    {CYCLE, HD_FORMAT, "m.onnx: node 'conv1' (Conv): depends on its own output: the nodes form a cycle"},
    {SELF, HD_FORMAT, "m.onnx: node 'relu1' (Relu): depends on its own output: the nodes form a cycle"},
    {MISSING, HD_FORMAT, "m.onnx: node 'relu1' (Relu): input 0 'nothing' is neither an input nor an initializer nor the output of a node"},
    {TWICE, HD_FORMAT, "m.onnx: 'a' is defined twice (among inputs, initializers and node outputs)"},
    {NO_OUTPUT, HD_FORMAT, "m.onnx: output 'z' is produced by no node"},
    {TWO_OUTPUTS, HD_UNSUPPORTED, "m.onnx: 2 outputs; a network must have exactly 1"},
    {TWO_INPUTS, HD_UNSUPPORTED, "m.onnx: 2 inputs (without initializers); a network must have exactly 1"},
    {INT_INPUT, HD_UNSUPPORTED, "m.onnx: input 'x' has element type int64 (7); float (1) is supported"},
    {BATCH, HD_UNSUPPORTED, "m.onnx: input 'x' has a batch of 32; 1 or an open batch is supported"},
    {OPEN_SIZE, HD_UNSUPPORTED, "m.onnx: input 'x': size 2 is open; only the batch may be"},
    {HUGE_SIZE, HD_RANGE, "m.onnx: input 'x': size 2 is 9223372036854775807; sizes are positive and at most 67108864 elements are allowed"},
    {NEGATIVE_SIZE, HD_RANGE, "m.onnx: input 'x': size 1 is -2; sizes are positive and at most 67108864 elements are allowed"},
    {NEGATIVE_DIM, HD_FORMAT, "m.onnx: tensor 'conv1.weight': dimension 0 is -4; must not be negative"},
    {HUGE_DIM, HD_FORMAT, "m.onnx: tensor 'conv1.weight': dimension 0 is 9223372036854775807, which needs more elements than the 72 stored"},
    {SHORT_DATA, HD_FORMAT, "m.onnx: tensor 'conv1.weight': dimension 3 is 3, which needs more elements than the 71 stored"},
    {WEIGHT_TYPE, HD_UNSUPPORTED, "m.onnx: tensor 'conv1.weight': element type complex64 (14); allowed are float, double, float16, bfloat16, integers, bool and string"},
    {WEIGHT_RANK, HD_UNSUPPORTED, "m.onnx: node 'conv1' (Conv): weights have 3 dimensions; 4 are supported"},
    {EXTERNAL, HD_UNSUPPORTED, "m.onnx: tensor 'conv1.weight': its data are in another file; only models in one file are read"},
    {BIAS_SIZE, HD_MISMATCH, "m.onnx: node 'conv1' (Conv): bias of 3 elements; 4 output channels need as many"},
    {NAN_WEIGHT, HD_RANGE, "m.onnx: node 'conv1' (convolution): weight 1 is nan; weights must be finite"},
    {OPERATOR, HD_UNSUPPORTED, "m.onnx: node 'relu1' (Tile): operator is not supported; supported are Conv, Gemm, MatMul, arithmetic with constants, "
                               "Add, BatchNormalization, poolings, activations, Softmax and reshaping"},
    {DOMAIN, HD_UNSUPPORTED, "m.onnx: node 'relu1' (Relu): operator domain 'com.example'; only 'ai.onnx' is supported"},
    {ATTRIBUTE, HD_UNSUPPORTED, "m.onnx: node 'conv1' (Conv): attribute 'output_shape' is not supported; allowed: auto_pad dilations group kernel_shape pads strides "},
    {ATTRIBUTE_TYPE, HD_FORMAT, "m.onnx: node 'conv1' (Conv): attribute 'group' has the wrong type; an integer is expected"},
    {STRIDE, HD_RANGE, "m.onnx: node 'conv1' (Conv): attribute 'strides' holds 0; allowed 1..65535"},
    {PADS, HD_RANGE, "m.onnx: node 'conv1' (Conv): attribute 'pads' holds -1; allowed 0..32767"},
    {GROUPS, HD_RANGE, "m.onnx: node 'conv1' (Conv): 3 groups; must divide 2 input and 4 output channels"},
    {KERNEL, HD_MISMATCH, "m.onnx: node 'conv1' (Conv): attribute 'kernel_shape' differs from the weights, which are 3 x 3"},
    {KERNEL_RANK, HD_UNSUPPORTED, "m.onnx: node 'pool1' (MaxPool): attribute 'kernel_shape' has 1 values; 2 (two dimensions) are supported"},
    {AUTO_PAD, HD_FORMAT, "m.onnx: node 'pool1' (MaxPool): attribute 'auto_pad' must be NOTSET, VALID, SAME_UPPER or SAME_LOWER"},
    {COMPUTED_WEIGHT, HD_UNSUPPORTED, "m.onnx: node 'conv1' (Conv): input 1 'x' is computed by the network; it must be a constant"},
    {NO_WEIGHT, HD_FORMAT, "m.onnx: node 'conv1' (Conv): input 1 is missing"},
    {TRANS_A, HD_UNSUPPORTED, "m.onnx: node 'fc1' (Gemm): transA = 1; only 0 is supported"},
    {RESHAPE, HD_MISMATCH, "m.onnx: node 'fc1/flat' (Reshape): the new sizes make 7 elements; the tensor has 36"},
    {RESHAPE_HUGE, HD_MISMATCH, "m.onnx: node 'fc1/flat' (Reshape): new size 1 is 9187201950435737471; the tensor has 36 elements"},
    {CONTROL, HD_FORMAT, "m.onnx: node 1: a name holds the control character 0x1b"},
    {CONSTANT_OUTPUT, HD_UNSUPPORTED, "m.onnx: output 'conv1.weight' does not depend on the input"},
    {POOL_PADDING, HD_RANGE, "m.onnx: node 'pool1' (maximum pooling): window 0 along the height lies wholly in the padding"},
    {CONV3D, HD_UNSUPPORTED, "m.onnx: node 'conv1' (Conv): weights have 2 dimensions; 4 are supported"},
    {NO_SHAPE, HD_FORMAT, "m.onnx: input 'x' has no tensor type and shape"},
    {ONE_DIM, HD_UNSUPPORTED, "m.onnx: input 'x' has 1 dimensions; 2 to 4 (batch first) are supported"},
    {FIVE_DIMS, HD_UNSUPPORTED, "m.onnx: input 'x' has 5 dimensions; 2 to 4 (batch first) are supported"},
    {SPARSE, HD_UNSUPPORTED, "m.onnx: has sparse initializers; only dense ones are supported"},
    {LONG_NAME, HD_RANGE, "m.onnx: node 1: name of 1025 bytes; at most 1024 are allowed"},
    {NAMELESS_INPUT, HD_FORMAT, "m.onnx: input 0 has no name"},
    {STRINGS, HD_UNSUPPORTED, "m.onnx: tensor 'conv1.weight': holds strings; numbers are expected"},
    {SEGMENT, HD_UNSUPPORTED, "m.onnx: tensor 'conv1.weight': is stored in segments; only whole tensors are read"},
    {RAW_STRINGS, HD_FORMAT, "m.onnx: tensor 'conv1.weight': strings as raw data; they belong into string_data"},
    {ODD_BYTES, HD_FORMAT, "m.onnx: tensor 'conv1.weight': 217 bytes of float data; its dimensions need 216"},
    {LONG_DATA, HD_FORMAT, "m.onnx: tensor 'conv1.weight': 288 bytes of float data; its dimensions need 216"},
    {MANY_DIMS, HD_UNSUPPORTED, "m.onnx: tensor 'conv1.weight': 64 dimensions; at most 8 are allowed"},
};

static void test_exact_messages(void **state) {
    (void)state;
    hd_graph *fixed = sample_fixed();
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        Onnx__ModelProto *m = base(fixed);
        edit(m, cases[k].kind);
        hd_graph *g;
        hd_err err = {0};
        hd_status status = import_message(m, &g, &err);
        assert_string_equal(err.message, cases[k].message);
        assert_int_equal(status, cases[k].status);
        assert_null(g);
        /* `err` may be left out. */
        assert_int_equal(import_message(m, &g, NULL), cases[k].status);
        onnx__model_proto__free_unpacked(m, NULL);
    }
    hd_graph_free(fixed);
}

static void expect_bytes(const uint8_t *data, size_t size, const char *message) {
    hd_graph *g;
    hd_err err = {0};
    assert_true(hd_import_onnx_memory(&g, data, size, "m.onnx", &err) != HD_OK);
    assert_string_equal(err.message, message);
}

/* `depth` messages inside each other along the fields graph, node, attribute, g, node, attribute, g ... */
static uint8_t *nested(int depth, size_t *size) {
    static const uint8_t tags[] = {0x0a, 0x2a, 0x32}; /* node = 1, attribute = 5, g = 6 */
    size_t room = 16 + 6 * (size_t)depth, at = room, length = 0;
    uint8_t *data = malloc(room);
    assert_non_null(data);
    for (int k = depth - 1; k >= 0; k--) {
        uint8_t head[8];
        size_t n = 0;
        head[n++] = k == 0 ? 0x3a : tags[(k - 1) % 3]; /* graph = 7 */
        for (size_t v = length; n == 1 || v; v >>= 7) head[n++] = (uint8_t)((v & 127) | (v > 127 ? 128 : 0));
        at -= n;
        memcpy(data + at, head, n);
        length += n;
    }
    memmove(data, data + at, length);
    *size = length;
    return data;
}

static void test_hostile_bytes(void **state) {
    (void)state;
    expect_bytes((const uint8_t *)"", 0, "m.onnx: is empty; an ONNX model is expected");
    expect_bytes((const uint8_t *)"\x89PNG\r\n\x1a\n", 8, "m.onnx: byte 0: a field of 8 bytes; 6 are left");
    expect_bytes((const uint8_t *)"<html>", 6, "m.onnx: byte 0: no valid ONNX field begins here");
    expect_bytes((const uint8_t *)"\x3a\xff\xff\xff\xff\x0f", 6, "m.onnx: byte 0: graph of 4294967295 bytes; 0 are left");
    expect_bytes((const uint8_t *)"\x3a\x80", 2, "m.onnx: byte 0: length cut short");
    expect_bytes((const uint8_t *)"\x08\x80\x80", 3, "m.onnx: byte 0: number cut short");
    expect_bytes((const uint8_t *)"\x3a\x00\x3a\x00", 4, "m.onnx: byte 2: second 'graph' in one message");
    /* protobuf-c alone would follow this until the stack ends. */
    size_t size;
    uint8_t *deep = nested(300000, &size);
    hd_err err = {0};
    hd_graph *g;
    assert_int_equal(hd_import_onnx_memory(&g, deep, size, "m.onnx", &err), HD_FORMAT);
    assert_non_null(strstr(err.message, "messages are nested more than 24 deep"));
    free(deep);
    /* A hundred bytes of memory for each two bytes of file. */
    size_t nodes = 2000000, head = 5;
    uint8_t *wide = malloc(head + 2 * nodes);
    assert_non_null(wide);
    wide[0] = 0x3a;
    for (size_t k = 0, v = 2 * nodes; k < 4; k++, v >>= 7) wide[1 + k] = (uint8_t)((v & 127) | (k < 3 ? 128 : 0));
    for (size_t k = 0; k < nodes; k++) wide[head + 2 * k] = 0x0a, wide[head + 2 * k + 1] = 0;
    expect_bytes(wide, head + 2 * nodes, "m.onnx: 4000005 bytes unpack to more than 83108884 bytes of messages, the most that is allowed");
    free(wide);
}

static int64_t strange(hd_rng *rng) {
    static const int64_t v[] = {0, 1, -1, 2, 3, 4, 7, 36, 65535, 65536, 1 << 26, INT32_MAX, (int64_t)INT32_MAX + 1, INT64_MAX, INT64_MIN, -4};
    return v[hd_rng_below(rng, sizeof v / sizeof *v)];
}

/* Swaps, retypes and resizes parts of the message, all still well-formed for protobuf. */
static void shake(Onnx__ModelProto *m, hd_rng *rng) {
    static const char *const types[] = {"Conv", "Gemm", "MatMul", "Add", "Mul", "Sub", "Div", "Relu", "Clip", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Softmax",
                                        "BatchNormalization", "MaxPool", "AveragePool", "GlobalAveragePool", "Transpose", "Shape", "Gather", "Concat", "Cast",
                                        "Constant", "Identity", "Dropout", "PRelu", "ReduceMean", "Sigmoid", "LeakyRelu"};
    Onnx__GraphProto *g = m->graph;
    Onnx__NodeProto *p = g->node[hd_rng_below(rng, (uint32_t)g->n_node)], *q = g->node[hd_rng_below(rng, (uint32_t)g->n_node)];
    Onnx__AttributeProto *a = p->n_attribute ? p->attribute[hd_rng_below(rng, (uint32_t)p->n_attribute)] : NULL;
    Onnx__TensorProto *t = g->n_initializer ? g->initializer[hd_rng_below(rng, (uint32_t)g->n_initializer)] : NULL;
    switch (hd_rng_below(rng, 11)) {
    case 0: set_text(&p->op_type, types[hd_rng_below(rng, sizeof types / sizeof *types)]); break;
    case 1:
        if (p->n_input && q->n_output) set_text(&p->input[hd_rng_below(rng, (uint32_t)p->n_input)], q->output[0]);
        break;
    case 2:
        if (p->n_input && t) set_text(&p->input[hd_rng_below(rng, (uint32_t)p->n_input)], t->name);
        break;
    case 3:
        if (a) a->i = strange(rng);
        if (a && a->n_ints) a->ints[hd_rng_below(rng, (uint32_t)a->n_ints)] = strange(rng);
        break;
    case 4:
        if (a) a->type = (Onnx__AttributeProto__AttributeType)hd_rng_below(rng, 15);
        break;
    case 5:
        if (t && t->n_dims) t->dims[hd_rng_below(rng, (uint32_t)t->n_dims)] = strange(rng);
        break;
    case 6:
        if (t) t->data_type = (int32_t)hd_rng_below(rng, 18);
        break;
    case 7:
        if (t && t->n_dims && hd_rng_below(rng, 2)) t->n_dims--;
        else if (t && t->raw_data.len >= 8 && t->data_type == 7) memset(t->raw_data.data, (int)hd_rng_below(rng, 3) - 1, 8);
        break;
    case 8: set_dim(input_dim(g, (int)hd_rng_below(rng, (uint32_t)g->input[0]->type->tensor_type->shape->n_dim)), strange(rng)); break;
    case 9: m->opset_import[0]->version = 7 + (int64_t)hd_rng_below(rng, 15); break;
    default:
        if (q->n_output) set_text(&g->output[0]->name, q->output[0]);
    }
}

static void test_shaken(void **state) {
    (void)state;
    hd_rng rng;
    hd_rng_seed(&rng, 99, 1);
    int taken = 0, refused = 0;
    for (int model = 0; model < 60; model++) {
        hd_graph *g = model % 4 ? sample_graph(&rng, 1 + model % 7) : sample_fixed(), *back;
        Onnx__ModelProto *whole = base(g);
        size_t size = onnx__model_proto__get_packed_size(whole);
        uint8_t *data = malloc(size);
        assert_non_null(data);
        onnx__model_proto__pack(whole, data);
        for (int k = 0; k < 80; k++) {
            Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, size, data);
            assert_non_null(m);
            int edits = 1 + (int)hd_rng_below(&rng, 3);
            for (int e = 0; e < edits; e++) shake(m, &rng);
            hd_err err = {0};
            if (import_message(m, &back, &err) == HD_OK) {
                assert_int_equal(hd_graph_check(back, &err), HD_OK);
                taken++;
            } else {
                assert_int_equal(strncmp(err.message, "m.onnx: ", 8), 0);
                refused++;
            }
            hd_graph_free(back);
            onnx__model_proto__free_unpacked(m, NULL);
        }
        free(data);
        onnx__model_proto__free_unpacked(whole, NULL);
        hd_graph_free(g);
    }
    print_message("%d of %d edited models still were legal\n", taken, taken + refused);
}

static void test_file_errors(void **state) {
    (void)state;
    hd_graph *g;
    hd_err err = {0};
    assert_int_equal(hd_import_onnx(&g, "/nonexistent/m.onnx", &err), HD_IO);
    assert_string_equal(err.message, "/nonexistent/m.onnx: No such file or directory");
    assert_int_equal(hd_import_onnx(&g, "/tmp", &err), HD_IO);
    assert_string_equal(err.message, "/tmp: is a directory, not a file");
    hd_graph *fixed = sample_fixed();
    assert_int_equal(hd_export_onnx(fixed, "/nonexistent/m.onnx", &err), HD_IO);
    assert_string_equal(err.message, "/nonexistent/m.onnx: No such file or directory");
    fixed->node[3].cin = 35;
    assert_int_equal(hd_export_onnx(fixed, "out.onnx", &err), HD_MISMATCH);
    assert_string_equal(err.message, "out.onnx: node 'fc1' (fully connected): 35 inputs; tensor 'c' has 36 elements");
    hd_graph_free(fixed);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exact_messages), cmocka_unit_test(test_hostile_bytes), cmocka_unit_test(test_shaken), cmocka_unit_test(test_file_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
