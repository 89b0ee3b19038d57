#include "onnx_builder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct builder {
    Onnx__ModelProto model;
    Onnx__OperatorSetIdProto opset, *opsets;
    Onnx__GraphProto graph;
    Onnx__ValueInfoProto in, out, *ins, *outs;
    Onnx__NodeProto *nodes[64];
    Onnx__TensorProto *initializers[64];
    void *taken[2048];
    size_t n_taken;
};

static void *take(builder *b, size_t n) {
    void *p = calloc(1, n + 1);
    assert_non_null(p);
    assert_true(b->n_taken < sizeof b->taken / sizeof *b->taken);
    b->taken[b->n_taken++] = p;
    return p;
}

static char *text(builder *b, const char *s) { return strcpy(take(b, strlen(s)), s); }

static int64_t *numbers(builder *b, const char *s, size_t *count) {
    int64_t *v = take(b, 16 * sizeof *v);
    char *end;
    *count = 0;
    for (int64_t n; (n = strtoll(s, &end, 10)), end != s; s = end) v[(*count)++] = n;
    return v;
}

builder *builder_new(int opset, const char *dims, const char *output) {
    builder *b = calloc(1, sizeof *b);
    assert_non_null(b);
    onnx__model_proto__init(&b->model);
    onnx__graph_proto__init(&b->graph);
    onnx__operator_set_id_proto__init(&b->opset);
    onnx__value_info_proto__init(&b->in);
    onnx__value_info_proto__init(&b->out);
    b->opset.has_version = 1;
    b->opset.version = opset;
    b->opsets = &b->opset;
    b->model.n_opset_import = 1;
    b->model.opset_import = &b->opsets;
    b->model.graph = &b->graph;
    b->graph.node = b->nodes;
    b->graph.initializer = b->initializers;
    b->ins = &b->in;
    b->outs = &b->out;
    b->graph.n_input = b->graph.n_output = 1;
    b->graph.input = &b->ins;
    b->graph.output = &b->outs;
    b->in.name = text(b, "x");
    b->out.name = text(b, output);
    size_t rank;
    int64_t *size = numbers(b, dims, &rank);
    Onnx__TypeProto *type = take(b, sizeof *type);
    Onnx__TypeProto__Tensor *tensor = take(b, sizeof *tensor);
    Onnx__TensorShapeProto *shape = take(b, sizeof *shape);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    onnx__tensor_shape_proto__init(shape);
    shape->dim = take(b, rank * sizeof *shape->dim);
    shape->n_dim = rank;
    for (size_t k = 0; k < rank; k++) {
        shape->dim[k] = take(b, sizeof **shape->dim);
        onnx__tensor_shape_proto__dimension__init(shape->dim[k]);
        shape->dim[k]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        shape->dim[k]->dim_value = size[k];
    }
    tensor->has_elem_type = 1;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = shape;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    b->in.type = type;
    return b;
}

void builder_free(builder *b) {
    for (size_t k = 0; k < b->n_taken; k++) free(b->taken[k]);
    free(b);
}

Onnx__NodeProto *builder_node(builder *b, const char *type, const char *inputs, const char *output) {
    Onnx__NodeProto *n = take(b, sizeof *n);
    onnx__node_proto__init(n);
    n->op_type = text(b, type);
    n->input = take(b, 8 * sizeof *n->input);
    n->output = take(b, sizeof *n->output);
    n->attribute = take(b, 8 * sizeof *n->attribute);
    char *list = text(b, inputs);
    for (char *p = strtok(list, " "); p; p = strtok(NULL, " ")) n->input[n->n_input++] = strcmp(p, "-") ? p : text(b, "");
    n->output[n->n_output++] = text(b, output);
    b->nodes[b->graph.n_node++] = n;
    return n;
}

static Onnx__AttributeProto *attribute(builder *b, Onnx__NodeProto *n, const char *name, Onnx__AttributeProto__AttributeType type) {
    Onnx__AttributeProto *a = take(b, sizeof *a);
    onnx__attribute_proto__init(a);
    a->name = text(b, name);
    a->has_type = 1;
    a->type = type;
    n->attribute[n->n_attribute++] = a;
    return a;
}

void builder_ints(builder *b, Onnx__NodeProto *n, const char *name, const char *values) {
    Onnx__AttributeProto *a = attribute(b, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    a->ints = numbers(b, values, &a->n_ints);
}

void builder_int(builder *b, Onnx__NodeProto *n, const char *name, int64_t v) {
    Onnx__AttributeProto *a = attribute(b, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    a->has_i = 1;
    a->i = v;
}

void builder_float(builder *b, Onnx__NodeProto *n, const char *name, float v) {
    Onnx__AttributeProto *a = attribute(b, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    a->has_f = 1;
    a->f = v;
}

void builder_text(builder *b, Onnx__NodeProto *n, const char *name, const char *v) {
    Onnx__AttributeProto *a = attribute(b, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    a->has_s = 1;
    a->s.data = (uint8_t *)text(b, v);
    a->s.len = strlen(v);
}

void builder_tensor(builder *b, Onnx__NodeProto *n, const char *name, Onnx__TensorProto *t) {
    attribute(b, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR)->t = t;
}

Onnx__TensorProto *builder_loose(builder *b, const char *dims, const float *values) {
    Onnx__TensorProto *t = take(b, sizeof *t);
    onnx__tensor_proto__init(t);
    t->dims = numbers(b, dims, &t->n_dims);
    t->has_data_type = 1;
    t->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    t->n_float_data = 1;
    for (size_t k = 0; k < t->n_dims; k++) t->n_float_data *= (size_t)t->dims[k];
    t->float_data = take(b, t->n_float_data * sizeof(float));
    for (size_t k = 0; k < t->n_float_data; k++) t->float_data[k] = values ? values[k] : (float)((int)(k * 7 % 11) - 5) * 0.25f;
    return t;
}

Onnx__TensorProto *builder_weights(builder *b, const char *name, const char *dims, const float *values) {
    Onnx__TensorProto *t = builder_loose(b, dims, values);
    t->name = text(b, name);
    b->initializers[b->graph.n_initializer++] = t;
    return t;
}

Onnx__TensorProto *builder_sizes(builder *b, const char *name, const char *values) {
    Onnx__TensorProto *t = take(b, sizeof *t);
    onnx__tensor_proto__init(t);
    t->int64_data = numbers(b, values, &t->n_int64_data);
    t->dims = take(b, sizeof *t->dims);
    t->dims[0] = (int64_t)t->n_int64_data;
    t->n_dims = 1;
    t->has_data_type = 1;
    t->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    t->name = text(b, name);
    b->initializers[b->graph.n_initializer++] = t;
    return t;
}

uint8_t *builder_pack(builder *b, size_t *size) {
    *size = onnx__model_proto__get_packed_size(&b->model);
    uint8_t *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    onnx__model_proto__pack(&b->model, bytes);
    return bytes;
}

Onnx__ModelProto *builder_message(builder *b) {
    size_t size;
    uint8_t *bytes = builder_pack(b, &size);
    Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, size, bytes);
    assert_non_null(m);
    free(bytes);
    builder_free(b);
    return m;
}

Onnx__GraphProto *builder_graph(Onnx__NodeProto *n, const char *name, builder *body, int inputs) {
    Onnx__ModelProto *from = builder_message(body);
    Onnx__GraphProto *g = from->graph;
    Onnx__AttributeProto *a = malloc(sizeof *a);
    assert_non_null(a);
    onnx__attribute_proto__init(a);
    a->name = strdup(name);
    a->has_type = 1;
    a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
    a->g = g;
    for (size_t k = (size_t)inputs; k < g->n_input; k++) onnx__value_info_proto__free_unpacked(g->input[k], NULL);
    g->n_input = (size_t)inputs;
    from->graph = NULL;
    onnx__model_proto__free_unpacked(from, NULL);
    n->attribute = realloc(n->attribute, (n->n_attribute + 1) * sizeof *n->attribute);
    assert_non_null(n->attribute);
    n->attribute[n->n_attribute++] = a;
    return g;
}

void builder_flag(builder *b, int value) {
    static uint8_t values[2] = {0, 1};
    Onnx__TensorProto *flag = builder_weights(b, "flag", "1", NULL);
    flag->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__BOOL;
    flag->n_float_data = 0;
    flag->has_raw_data = 1;
    flag->raw_data.data = &values[value];
    flag->raw_data.len = 1;
}

hd_status builder_import(builder *b, hd_graph **g, hd_err *err) {
    size_t size;
    uint8_t *data = builder_pack(b, &size);
    hd_status status = hd_import_onnx_memory(g, data, size, "m", err);
    free(data);
    return status;
}

float *builder_run(builder *b, size_t *count, int *nodes) {
    hd_graph *g;
    hd_err err = {0};
    hd_exec *e;
    if (builder_import(b, &g, &err) != HD_OK || hd_exec_new(&e, g, &err) != HD_OK) fail_msg("%s", err.message);
    size_t n = hd_shape_size(g->tensor[g->input].shape);
    float *x = malloc(n * sizeof *x), *y;
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) x[i] = sinf((float)i);
    hd_exec_run(e, x);
    *count = hd_shape_size(g->tensor[g->output].shape);
    *nodes = g->n_nodes;
    assert_string_equal(g->tensor[g->output].name, b->out.name);
    y = malloc(*count * sizeof *y);
    assert_non_null(y);
    memcpy(y, hd_exec_tensor(e, g->output), *count * sizeof *y);
    hd_exec_free(e);
    hd_graph_free(g);
    free(x);
    return y;
}
