/* Networks of one spatial axis: the importer, for which it is a width of height 1, against the host executor, which knows any number of axes; attributes of other lengths are refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../compiler/onnx/host.h"
#include "onnx_builder.h"

enum { CHANNELS = 4, LENGTH = 37 };

static builder *network(const char *pool) {
    builder *b = builder_new(13, "1 4 37", "y");
    Onnx__NodeProto *n;
    builder_weights(b, "w1", "6 4 5", NULL);
    builder_weights(b, "b1", "6", NULL);
    n = builder_node(b, "Conv", "x w1 b1", "c1");
    builder_ints(b, n, "kernel_shape", "5");
    builder_ints(b, n, "strides", "2");
    builder_ints(b, n, "pads", "3 1");
    builder_node(b, "Relu", "c1", "r1");
    builder_weights(b, "w2", "6 1 3", NULL);
    n = builder_node(b, "Conv", "r1 w2", "c2"); /* depthwise */
    builder_int(b, n, "group", 6);
    builder_ints(b, n, "dilations", "2");
    builder_text(b, n, "auto_pad", "SAME_UPPER");
    builder_weights(b, "scale", "6 1", NULL);
    builder_node(b, "Mul", "c2 scale", "m");
    n = builder_node(b, pool, "m", "p");
    builder_ints(b, n, "kernel_shape", "3");
    builder_ints(b, n, "strides", "2");
    if (!strcmp(pool, "AveragePool")) builder_int(b, n, "count_include_pad", 1);
    builder_ints(b, n, "pads", "1 1");
    builder_weights(b, "w3", "5 6 1", NULL);
    builder_node(b, "Conv", "p w3", "c3");
    builder_node(b, "GlobalAveragePool", "c3", "g");
    n = builder_node(b, "Flatten", "g", "f");
    builder_int(b, n, "axis", 1);
    builder_weights(b, "w4", "5 3", NULL);
    builder_node(b, "MatMul", "f w4", "y");
    return b;
}

static void one_axis(void **state) {
    (void)state;
    static const char *const pools[] = {"MaxPool", "AveragePool"};
    for (int k = 0; k < 2; k++) {
        builder *b = network(pools[k]);
        size_t size, count;
        int nodes;
        hd_err err = {0};
        hd_host *h;
        hd_nd x, y;
        float *imported = builder_run(b, &count, &nodes);
        uint8_t *bytes = builder_pack(b, &size);
        if (hd_host_load_memory(&h, bytes, size, "m", &err) || hd_nd_new(&x, HD_TYPE_F32, 3, (const int64_t[]){1, CHANNELS, LENGTH}, 1 << 20, &err)) fail_msg("%s", err.message);
        for (int i = 0; i < CHANNELS * LENGTH; i++) ((float *)x.data)[i] = sinf((float)i);
        if (hd_host_run(h, &x, &y, NULL, &err)) fail_msg("%s", err.message);
        assert_int_equal(count, 3);
        assert_int_equal(y.count, 3);
        for (int i = 0; i < 3; i++) assert_true(fabsf(imported[i] - ((float *)y.data)[i]) <= 1e-4f * (1 + fabsf(imported[i])));
        hd_nd_free(&x);
        hd_nd_free(&y);
        hd_host_free(h);
        free(imported);
        free(bytes);
        builder_free(b);
    }
}

static void refuse(const char *attribute, const char *values, const char *message) {
    builder *b = builder_new(13, "1 4 37", "y");
    hd_graph *g;
    hd_err err = {0};
    builder_weights(b, "w", "6 4 5", NULL);
    Onnx__NodeProto *n = builder_node(b, "Conv", "x w", "y");
    builder_ints(b, n, attribute, values);
    assert_int_not_equal(builder_import(b, &g, &err), HD_OK);
    assert_string_equal(err.message, message);
    builder_free(b);
}

static void refusals(void **state) {
    (void)state;
    refuse("strides", "1 1", "m: node 'y' (Conv): attribute 'strides' has 2 values; 1 (one dimension) are supported");
    refuse("pads", "1", "m: node 'y' (Conv): attribute 'pads' has 1 values; 2 (one dimension) are supported");
    refuse("kernel_shape", "1 5", "m: node 'y' (Conv): attribute 'kernel_shape' differs from the weights, which are 1 x 5");
    refuse("kernel_shape", "4", "m: node 'y' (Conv): attribute 'kernel_shape' differs from the weights, which are 1 x 5");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_axis), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests_name("onnx_1d", tests, NULL, NULL);
}
