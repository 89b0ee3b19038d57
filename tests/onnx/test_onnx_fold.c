/* What the importer rewrites: constants folded into layers, views, shape arithmetic, number formats, padding rules. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "onnx_builder.h"

/* Runs and frees both; the outputs must agree and the first must have the given number of nodes. */
static void same(builder *a, builder *b, int nodes) {
    size_t na, nb;
    int ka, kb;
    float *ya = builder_run(a, &na, &ka), *yb = builder_run(b, &nb, &kb);
    assert_int_equal(na, nb);
    for (size_t i = 0; i < na; i++)
        if (fabsf(ya[i] - yb[i]) > 1e-5f * (1 + fabsf(yb[i]))) fail_msg("element %zu: %f and %f", i, (double)ya[i], (double)yb[i]);
    assert_int_equal(ka, nodes);
    free(ya);
    free(yb);
    builder_free(a);
    builder_free(b);
}

static void refused(builder *b, hd_status code, const char *message) {
    hd_graph *g;
    hd_err err = {0};
    assert_int_equal(builder_import(b, &g, &err), code);
    assert_string_equal(err.message, message);
    builder_free(b);
}

static builder *conv(const char *output) {
    builder *b = builder_new(13, "1 2 5 5", output);
    builder_weights(b, "w", "3 2 3 3", NULL);
    builder_weights(b, "b", "3", NULL);
    builder_node(b, "Conv", "x w b", "c");
    return b;
}

static const float scale[3] = {2, -0.5f, 3}, offset[3] = {1, 2, -3}, mean[3] = {0.5f, -1, 2}, variance[3] = {4, 0.25f, 1};

static void add_norm(builder *b, const char *in, const char *out) {
    char inputs[64];
    builder_weights(b, "s", "3", scale);
    builder_weights(b, "o", "3", offset);
    builder_weights(b, "m", "3", mean);
    builder_weights(b, "v", "3", variance);
    snprintf(inputs, sizeof inputs, "%s s o m v", in);
    builder_float(b, builder_node(b, "BatchNormalization", inputs, out), "epsilon", 0);
}

static void test_batchnorm(void **state) {
    (void)state;
    /* Folded, and by hand: (c - mean) * scale / sqrt(variance) + offset as constants of shape [3, 1, 1]. */
    builder *a = conv("y"), *b = conv("y");
    add_norm(a, "c", "y");
    const float k[3] = {1, -1, 3}, j[3] = {0.5f, 1, -9};
    builder_weights(b, "k", "3 1 1", k);
    builder_weights(b, "j", "1 3 1 1", j);
    builder_node(b, "Relu", "c", "keep"); /* leads nowhere: dropped, and does not hinder folding */
    builder_node(b, "Mul", "k c", "t");
    builder_node(b, "Add", "t j", "y");
    same(a, b, 1);
    /* Two readers of the convolution: the norm becomes a layer of its own, the sum reads the plain result. */
    a = conv("y");
    add_norm(a, "c", "n");
    builder_node(a, "Add", "n c", "y");
    b = conv("y");
    const float k1[3] = {2, 0, 4};
    builder_weights(b, "k", "3 1 1", k1);
    builder_weights(b, "j", "3 1 1", j);
    builder_node(b, "Mul", "c k", "t");
    builder_node(b, "Add", "t j", "y");
    same(a, b, 3);
    /* The same through an alias. */
    a = conv("y");
    builder_node(a, "Identity", "c", "i");
    add_norm(a, "i", "n");
    builder_node(a, "Add", "n c", "y");
    b = conv("y");
    builder_weights(b, "k", "3 1 1", k1);
    builder_weights(b, "j", "3 1 1", j);
    builder_node(b, "Mul", "c k", "t");
    builder_node(b, "Add", "t j", "y");
    same(a, b, 3);
}

static void test_arithmetic(void **state) {
    (void)state;
    /* 4 - (x - 2) / 0.5 = 8 - 2 x, without a layer before it. */
    const float two = 2, half = 0.5f, four = 4, minus = -2, eight = 8;
    builder *a = builder_new(13, "1 3 2 2", "y"), *b = builder_new(13, "1 3 2 2", "y");
    builder_weights(a, "two", "", &two);
    builder_weights(a, "half", "1", &half);
    builder_weights(a, "four", "1 1", &four);
    builder_node(a, "Sub", "x two", "s");
    builder_node(a, "Div", "s half", "d");
    builder_node(a, "Sub", "four d", "y");
    builder_weights(b, "minus", "", &minus);
    builder_weights(b, "eight", "", &eight);
    builder_node(b, "Mul", "minus x", "s");
    builder_node(b, "Add", "s eight", "y");
    same(a, b, 1);
    a = builder_new(13, "1 3 2 2", "y");
    const float zero = 0;
    builder_weights(a, "zero", "", &zero);
    builder_node(a, "Div", "x zero", "y");
    refused(a, HD_RANGE, "m: node 'y' (Div): the constant of channel 0 is 0, which gives no finite weight");
    a = builder_new(13, "1 3 2 2", "y");
    builder_weights(a, "w", "2 2", NULL);
    builder_node(a, "Add", "x w", "y");
    refused(a, HD_UNSUPPORTED, "m: node 'y' (Add): the constant has 4 elements in 2 dimensions; one value, or one a channel (3 channels), is supported");
    a = builder_new(13, "1 3 2 2", "y");
    builder_node(a, "Mul", "x x", "y");
    refused(a, HD_UNSUPPORTED, "m: node 'y' (Mul): multiplies two computed tensors; only by a constant, and x * sigmoid(x) or x * hardsigmoid(x), are supported");
    a = builder_new(13, "1 70000", "y");
    builder_weights(a, "two", "", &two);
    builder_node(a, "Mul", "x two", "y");
    refused(a, HD_RANGE, "m: node 'y' (Mul): a constant over 70000 channels; at most 65536 are allowed");
}

static void test_linear(void **state) {
    (void)state;
    /* MatMul + Add = Gemm with alpha and beta = Gemm with transB, transposed by a node. */
    builder *a = builder_new(13, "1 4", "y"), *b = builder_new(13, "1 4", "y");
    const float half[6] = {-0.625f, 0.25f, -0.5f, 0.375f, -0.375f, 0.5f};
    float bias[3], doubled[3];
    for (int i = 0; i < 3; i++) bias[i] = half[i], doubled[i] = 2 * half[i];
    builder_weights(a, "w", "4 3", NULL);
    builder_weights(a, "b", "3", doubled);
    builder_node(a, "MatMul", "x w", "t");
    builder_node(a, "Add", "b t", "y");
    Onnx__TensorProto *w = builder_weights(b, "w", "4 3", NULL);
    for (size_t i = 0; i < 12; i++) w->float_data[i] *= 4;
    builder_weights(b, "b", "1 3", bias);
    builder_node(b, "Transpose", "w", "wt");
    Onnx__NodeProto *n = builder_node(b, "Gemm", "x wt b", "y");
    builder_float(b, n, "alpha", 0.25f);
    builder_float(b, n, "beta", 2);
    builder_int(b, n, "transB", 1);
    same(a, b, 1);
}

/* flatten + Gemm in the ways exporters write it. */
static builder *flat(int way) {
    builder *b = builder_new(13, "1 2 3 3", "y");
    builder_weights(b, "w", "4 18", NULL);
    builder_node(b, "Relu", "x", "r");
    Onnx__NodeProto *n;
    switch (way) {
    case 0: builder_node(b, "Flatten", "r", "f"); break;
    case 1:
        builder_sizes(b, "to", "1 18");
        builder_node(b, "Reshape", "r to", "f");
        break;
    case 2:
        builder_sizes(b, "to", "-1 18");
        builder_node(b, "Reshape", "r to", "f");
        break;
    case 3:
        builder_sizes(b, "to", "0 -1");
        builder_node(b, "Reshape", "r to", "f");
        break;
    case 4: /* x.view(x.size(0), -1) */
        builder_sizes(b, "axis", "0");
        builder_sizes(b, "rest", "-1");
        builder_node(b, "Shape", "r", "shape");
        n = builder_node(b, "Constant", "", "zero");
        builder_int(b, n, "value_int", 0);
        builder_node(b, "Gather", "shape zero", "batch");
        builder_node(b, "Unsqueeze", "batch axis", "list");
        builder_node(b, "Concat", "list rest", "to");
        builder_node(b, "Reshape", "r to", "f");
        break;
    default: /* by way of another shape */
        builder_sizes(b, "to", "1 18");
        builder_sizes(b, "back", "1 2 3 3");
        builder_node(b, "Reshape", "r to", "f0");
        builder_node(b, "Sigmoid", "f0", "s0");
        builder_node(b, "Reshape", "s0 back", "s1");
        builder_node(b, "Identity", "s1", "s2");
        builder_node(b, "Reshape", "s2 to", "f");
        break;
    }
    builder_int(b, builder_node(b, "Gemm", "f w", "y"), "transB", 1);
    return b;
}

static void test_views(void **state) {
    (void)state;
    for (int way = 1; way < 5; way++) same(flat(way), flat(0), 2);
    size_t count;
    int nodes;
    builder *b = flat(5);
    float *y = builder_run(b, &count, &nodes);
    assert_int_equal(nodes, 3);
    free(y);
    builder_free(b);
    /* A flat input that becomes an image takes the image's shape; squeezed pooling is flat. */
    builder *a = builder_new(13, "1 50", "y");
    builder_sizes(a, "to", "1 2 5 5");
    builder_sizes(a, "axes", "2 3");
    builder_weights(a, "w", "3 2 3 3", NULL);
    builder_node(a, "Reshape", "x to", "i");
    builder_node(a, "Conv", "i w", "c");
    builder_node(a, "GlobalAveragePool", "c", "p");
    builder_node(a, "Squeeze", "p axes", "s");
    builder_int(a, builder_node(a, "Softmax", "s", "y"), "axis", -1);
    b = builder_new(13, "1 2 5 5", "y");
    builder_weights(b, "w", "3 2 3 3", NULL);
    builder_node(b, "Conv", "x w", "c");
    Onnx__NodeProto *n = builder_node(b, "ReduceMean", "c", "p");
    builder_ints(b, n, "axes", "-1 2");
    builder_int(b, n, "keepdims", 0);
    builder_int(b, builder_node(b, "Softmax", "p", "y"), "axis", 1);
    same(a, b, 3);
    a = builder_new(13, "1 2 4 4", "y");
    builder_sizes(a, "to", "1 4 2 4");
    builder_node(a, "Relu", "x", "r");
    builder_node(a, "Reshape", "r to", "y");
    refused(a, HD_UNSUPPORTED, "m: node 'y' (Reshape): reshapes 2 x 4 x 4 to 4 x 2 x 4; only reshaping to a flat tensor is supported");
    a = builder_new(13, "1 2 4 4", "y");
    builder_ints(a, builder_node(a, "Transpose", "x", "y"), "perm", "0 2 3 1");
    refused(a, HD_UNSUPPORTED, "m: node 'y' (Transpose): transposes a computed tensor; only constants can be transposed");
}

static void test_formats(void **state) {
    (void)state;
    /* 1.5 and -0.25 as half, bfloat16 and double, in the typed field and as raw bytes. */
    static const struct {
        int type;
        uint64_t bits[2];
        size_t bytes;
    } formats[] = {{10, {0x3e00, 0xb400}, 2}, {16, {0x3fc0, 0xbe80}, 2}, {11, {0x3ff8000000000000, 0xbfd0000000000000}, 8}, {1, {0x3fc00000, 0xbe800000}, 4}};
    for (int k = 0; k < 8; k++) {
        builder *b = builder_new(13, "1 2", "y");
        Onnx__TensorProto *t = builder_weights(b, "w", "2 1", NULL);
        uint8_t raw[64];
        int32_t ints[2];
        double doubles[2];
        float floats[2];
        t->data_type = formats[k / 2].type;
        t->n_float_data = 0;
        for (int i = 0; i < 2; i++) {
            uint64_t bits = formats[k / 2].bits[i];
            for (size_t j = 0; j < formats[k / 2].bytes; j++) raw[(size_t)i * formats[k / 2].bytes + j] = (uint8_t)(bits >> 8 * j);
            ints[i] = (int32_t)bits;
            doubles[i] = floats[i] = i ? -0.25f : 1.5f;
        }
        if (k & 1) t->has_raw_data = 1, t->raw_data.data = raw, t->raw_data.len = 2 * formats[k / 2].bytes;
        else if (t->data_type == 11) t->double_data = doubles, t->n_double_data = 2;
        else if (t->data_type == 1) t->float_data = floats, t->n_float_data = 2;
        else t->int32_data = ints, t->n_int32_data = 2;
        builder_node(b, "MatMul", "x w", "y");
        hd_graph *g;
        hd_err err = {0};
        if (builder_import(b, &g, &err) != HD_OK) fail_msg("%s", err.message);
        assert_true(g->node[0].weight[0] == 1.5f && g->node[0].weight[1] == -0.25f);
        hd_graph_free(g);
        builder_free(b);
    }
    builder *b = builder_new(13, "1 2", "y");
    Onnx__NodeProto *n = builder_node(b, "Constant", "", "w");
    builder_tensor(b, n, "value", builder_loose(b, "2 2", NULL));
    builder_node(b, "MatMul", "x w", "y");
    builder *c = builder_new(13, "1 2", "y");
    builder_weights(c, "w", "2 2", NULL);
    builder_node(c, "MatMul", "x w", "y");
    same(b, c, 1);
}

static builder *pool(const char *type, const char *kernel, const char *strides, const char *pads, const char *auto_pad, int ceil_mode) {
    builder *b = builder_new(13, "1 2 6 7", "y");
    Onnx__NodeProto *n = builder_node(b, type, "x", "y");
    builder_ints(b, n, "kernel_shape", kernel);
    builder_ints(b, n, "strides", strides);
    if (pads) builder_ints(b, n, "pads", pads);
    if (auto_pad) builder_text(b, n, "auto_pad", auto_pad);
    if (ceil_mode) builder_int(b, n, "ceil_mode", 1);
    return b;
}

static void test_padding(void **state) {
    (void)state;
    const char *types[] = {"MaxPool", "AveragePool"};
    for (int t = 0; t < 2; t++) {
        same(pool(types[t], "3 3", "2 2", NULL, "SAME_UPPER", 0), pool(types[t], "3 3", "2 2", "0 1 1 1", NULL, 0), 1);
        same(pool(types[t], "2 2", "1 1", NULL, "SAME_LOWER", 0), pool(types[t], "2 2", "1 1", "1 1 0 0", NULL, 0), 1);
        same(pool(types[t], "3 3", "2 2", NULL, "VALID", 0), pool(types[t], "3 3", "2 2", "0 0 0 0", NULL, 0), 1);
        same(pool(types[t], "3 3", "2 2", NULL, NULL, 1), pool(types[t], "3 3", "2 2", "0 0 1 0", NULL, 0), 1);
        same(pool(types[t], "2 2", "4 4", NULL, NULL, 1), pool(types[t], "2 2", "4 4", "0 0 0 0", NULL, 0), 1);
        /* A window that would begin behind the input and its front padding is not counted. */
        same(pool(types[t], "1 1", "4 5", "0 0 0 0", NULL, 1), pool(types[t], "1 1", "4 5", "0 0 0 0", NULL, 0), 1);
        /* Nor one that would begin just behind the last element. */
        same(pool(types[t], "1 1", "2 7", "0 0 0 0", NULL, 1), pool(types[t], "1 1", "2 7", "0 0 0 0", NULL, 0), 1);
    }
    builder *b = builder_new(13, "1 2 6 7", "y");
    Onnx__NodeProto *n = builder_node(b, "AveragePool", "x", "y");
    builder_ints(b, n, "kernel_shape", "3 3");
    builder_ints(b, n, "strides", "2 2");
    builder_int(b, n, "ceil_mode", 1);
    builder_int(b, n, "count_include_pad", 1);
    refused(b, HD_UNSUPPORTED, "m: node 'y' (AveragePool): count_include_pad with a partial last window (ceil_mode); only one of both is supported");
}

static void test_activations(void **state) {
    (void)state;
    size_t count;
    int nodes;
    builder *b = builder_new(13, "1 4", "y");
    builder_node(b, "Sigmoid", "x", "s");
    builder_node(b, "Mul", "x s", "y");
    float *y = builder_run(b, &count, &nodes), x = sinf(3);
    assert_int_equal(nodes, 1);
    assert_true(fabsf(y[3] - x / (1 + expf(-x))) < 1e-6f);
    free(y);
    builder_free(b);
    b = builder_new(14, "1 4", "y");
    builder *c = builder_new(14, "1 4", "y");
    builder_float(b, builder_node(b, "HardSigmoid", "x", "s"), "alpha", 1.0f / 6);
    builder_node(b, "Mul", "s x", "y");
    builder_node(c, "HardSwish", "x", "y");
    same(b, c, 1);
    /* Clip by attributes, by inputs, and with the largest floats for "open". */
    b = builder_new(6 + 4, "1 4", "y");
    Onnx__NodeProto *n = builder_node(b, "Clip", "x", "y");
    builder_float(b, n, "min", -0.5f);
    builder_float(b, n, "max", 3.402823466e38f);
    c = builder_new(13, "1 4", "y");
    const float low = -0.5f;
    builder_weights(c, "low", "", &low);
    builder_node(c, "Clip", "x low -", "y");
    same(b, c, 1);
    /* One slope for all. */
    b = builder_new(13, "1 2 2 2", "y");
    c = builder_new(13, "1 2 2 2", "y");
    const float slope[2] = {0.125f, 0.125f};
    builder_weights(b, "slope", "2 1 1", slope);
    builder_node(b, "PRelu", "x slope", "y");
    builder_float(c, builder_node(c, "LeakyRelu", "x", "y"), "alpha", 0.125f);
    same(b, c, 1);
    b = builder_new(20, "1 4", "y");
    builder_text(b, builder_node(b, "Gelu", "x", "y"), "approximate", "tanh");
    refused(b, HD_UNSUPPORTED, "m: node 'y' (Gelu): attribute 'approximate' must be 'none'");
    b = builder_new(13, "1 2 2 2", "y");
    builder_int(b, builder_node(b, "Softmax", "x", "y"), "axis", 1);
    refused(b, HD_UNSUPPORTED, "m: node 'y' (Softmax): normalises 2 of 8 elements at a time; only softmax over all elements is supported");
}

/* Nodes in the wrong order are sorted, equal names told apart, a shared constant copied only within bounds. */
static void test_order(void **state) {
    (void)state;
    builder *b = builder_new(13, "1 4", "y");
    hd_graph *g;
    hd_err err = {0};
    builder_node(b, "Tanh", "s", "y")->name = NULL;
    Onnx__NodeProto *n = builder_node(b, "Sigmoid", "r", "s"), *m = builder_node(b, "Relu", "x", "r");
    char name[] = "act";
    n->name = m->name = name;
    if (builder_import(b, &g, &err) != HD_OK) fail_msg("%s", err.message);
    assert_int_equal(g->n_nodes, 3);
    assert_string_equal(g->node[0].name, "act");
    assert_string_equal(g->node[1].name, "act#1");
    assert_string_equal(g->node[2].name, "y");
    assert_int_equal(g->node[0].op, HD_OP_CLIP);
    hd_graph_free(g);
    builder_free(b);
    b = builder_new(13, "1 2000", "y");
    builder_weights(b, "w", "2000 2000", NULL);
    char in[32], out[32];
    for (int k = 0; k < 30; k++) {
        snprintf(in, sizeof in, "%s%d w", k ? "t" : "x", k);
        if (!k) strcpy(in, "x w");
        snprintf(out, sizeof out, k == 29 ? "y" : "t%d", k + 1);
        builder_node(b, "MatMul", in, out);
    }
    refused(b, HD_RANGE, "m: node 't13' (MatMul): copies of constants shared by several nodes take more memory than a model of this size may");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batchnorm), cmocka_unit_test(test_arithmetic), cmocka_unit_test(test_linear),      cmocka_unit_test(test_views),
        cmocka_unit_test(test_formats),   cmocka_unit_test(test_padding),    cmocka_unit_test(test_activations), cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
