/* Operators that ONNX 1.12's own tests do not have, on the host executor against textbook loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../compiler/onnx/host.h"
#include "onnx_builder.h"

enum { N = 2, C = 6, H = 5, W = 4, COUNT = N * C * H * W };

static float value(int k) { return 2.5f * sinf(0.7f * (float)k + 0.3f); }

/* y of the model for x[k] = value(k); the builder goes away with it. */
static hd_nd run(builder *b) {
    size_t size;
    uint8_t *bytes = builder_pack(b, &size);
    const int64_t dim[] = {N, C, H, W};
    hd_host *h;
    hd_nd x, y;
    hd_err err = {0};
    if (hd_host_load_memory(&h, bytes, size, "m", &err) != HD_OK) fail_msg("%s", err.message);
    assert_int_equal(hd_nd_new(&x, HD_TYPE_F32, 4, dim, SIZE_MAX, NULL), HD_OK);
    for (int k = 0; k < COUNT; k++) ((float *)x.data)[k] = value(k);
    if (hd_host_run(h, &x, &y, NULL, &err) != HD_OK) fail_msg("%s", err.message);
    hd_nd_free(&x);
    hd_host_free(h);
    free(bytes);
    builder_free(b);
    return y;
}

static void near(const hd_nd *y, size_t k, double want) {
    double got = (double)((float *)y->data)[k];
    if (!(fabs(got - want) <= 1e-5 + 1e-5 * fabs(want))) fail_msg("element %zu: %.9g; %.9g is expected", k, got, want);
}

static void test_functions(void **state) {
    (void)state;
    static const char *const names[] = {"Gelu", "Gelu", "Mish"};
    for (int f = 0; f < 3; f++) {
        builder *b = builder_new(20, "2 6 5 4", "y");
        Onnx__NodeProto *n = builder_node(b, names[f], "x", "y");
        if (f == 1) builder_text(b, n, "approximate", "tanh");
        hd_nd y = run(b);
        for (int k = 0; k < COUNT; k++) {
            double x = (double)value(k);
            near(&y, (size_t)k, f == 0 ? x * 0.5 * erfc(-x / sqrt(2)) : f == 1 ? 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * pow(x, 3)))) : x * tanh(log(1 + exp(x))));
        }
        hd_nd_free(&y);
    }
}

/* A network's output may be a list, where a caller wants numbers. */
static void test_lists_are_not_cast(void **state) {
    (void)state;
    hd_nd list, y;
    hd_err err = {0};
    assert_int_equal(hd_nd_new_list(&list, HD_TYPE_I32, 100, &err), HD_OK);
    assert_int_equal(hd_nd_cast(&y, &list, HD_TYPE_F32, &err), HD_MISMATCH);
    assert_string_equal(err.message, "a list, or nothing, where a tensor of float is needed");
    assert_null(y.data);
    hd_nd_free(&list);
}

/* Before operator set 21 scale and bias have one element a group, then one a channel. */
static void test_group_normalization(void **state) {
    (void)state;
    static const float scale[] = {1.5f, -0.5f, 2, 0.25f, 1, 3}, bias[] = {0.1f, -0.2f, 0.3f, 0, 1, -1};
    for (int set = 18; set <= 21; set += 3) {
        builder *b = builder_new(set, "2 6 5 4", "y");
        builder_weights(b, "scale", set < 21 ? "3" : "6", scale);
        builder_weights(b, "bias", set < 21 ? "3" : "6", bias);
        builder_int(b, builder_node(b, "GroupNormalization", "x scale bias", "y"), "num_groups", 3);
        hd_nd y = run(b);
        for (int n = 0; n < N; n++)
            for (int c = 0; c < C; c++) {
                double mean = 0, variance = 0;
                const int group = 2 * H * W, first = (n * C + c / 2 * 2) * H * W;
                for (int k = 0; k < group; k++) mean += (double)value(first + k) / group;
                for (int k = 0; k < group; k++) variance += pow((double)value(first + k) - mean, 2) / group;
                for (int k = 0; k < H * W; k++) {
                    int at = (n * C + c) * H * W + k, p = set < 21 ? c / 2 : c;
                    near(&y, (size_t)at, ((double)value(at) - mean) / sqrt(variance + 1e-5) * (double)scale[p] + (double)bias[p]);
                }
            }
        hd_nd_free(&y);
    }
}

static void test_lp(void **state) {
    (void)state;
    for (int p = 1; p <= 3; p++) {
        builder *b = builder_new(13, "2 6 5 4", "y");
        Onnx__NodeProto *n = builder_node(b, "LpPool", "x", "y");
        builder_ints(b, n, "kernel_shape", "3 2");
        builder_ints(b, n, "strides", "2 1");
        builder_ints(b, n, "pads", "1 0 1 0");
        builder_int(b, n, "p", p);
        hd_nd y = run(b);
        assert_true(y.dim[2] == 3 && y.dim[3] == 3);
        for (int k = 0; k < (int)y.count; k++) {
            double sum = 0;
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 2; j++) {
                    int row = k / 3 % 3 * 2 - 1 + i, column = k % 3 + j;
                    if (row >= 0 && row < H) sum += pow(fabs((double)value((k / 9 * H + row) * W + column)), p);
                }
            near(&y, (size_t)k, pow(sum, 1.0 / p));
        }
        hd_nd_free(&y);
        b = builder_new(13, "2 6 5 4", "y");
        builder_int(b, builder_node(b, "GlobalLpPool", "x", "y"), "p", p);
        y = run(b);
        for (int k = 0; k < N * C; k++) {
            double sum = 0;
            for (int i = 0; i < H * W; i++) sum += pow(fabs((double)value(k * H * W + i)), p);
            near(&y, (size_t)k, pow(sum, 1.0 / p));
        }
        hd_nd_free(&y);
        if (p == 3) break;
        b = builder_new(13, "2 6 5 4", "y");
        n = builder_node(b, "LpNormalization", "x", "y");
        builder_int(b, n, "p", p);
        builder_int(b, n, "axis", 1);
        y = run(b);
        for (int k = 0; k < COUNT; k++) {
            double sum = 0;
            for (int c = 0; c < C; c++) sum += pow(fabs((double)value(k / (C * H * W) * C * H * W + c * H * W + k % (H * W))), p);
            near(&y, (size_t)k, (double)value(k) / pow(sum, 1.0 / p));
        }
        hd_nd_free(&y);
    }
}

static void test_bitwise(void **state) {
    (void)state;
    static const char *const names[] = {"BitwiseAnd", "BitwiseOr", "BitwiseXor"};
    for (int f = 0; f < 3; f++)
        for (int type = HD_TYPE_I32; type <= HD_TYPE_I64; type++) {
            builder *b = builder_new(18, "2 6 5 4", "y");
            builder_int(b, builder_node(b, "Cast", "x", "whole"), "to", type);
            builder_sizes(b, "three", "-3");
            builder_int(b, builder_node(b, "Cast", "three", "mask"), "to", type);
            builder_node(b, names[f], "whole mask", "y");
            hd_nd y = run(b);
            assert_int_equal(y.type, type);
            for (int k = 0; k < COUNT; k++) {
                int x = (int)value(k), want = f == 0 ? x & -3 : f == 1 ? x | -3 : x ^ -3;
                assert_int_equal(type == HD_TYPE_I32 ? ((int32_t *)y.data)[k] : ((int64_t *)y.data)[k], want);
            }
            hd_nd_free(&y);
        }
}

/* Every way to hand over the two matrices, down to single rows and columns. */
static void test_gemm(void **state) {
    (void)state;
    for (int way = 0; way < 4 * 27; way++) {
        int ta = way & 1, tb = way >> 1 & 1, m = 1 + way / 4 % 3, n = 1 + way / 12 % 3, k = 1 + way / 36;
        float a[9], w[9];
        char dims[2][8];
        for (int i = 0; i < 9; i++) a[i] = value(i), w[i] = value(i + 9);
        snprintf(dims[0], sizeof dims[0], "%d %d", ta ? k : m, ta ? m : k);
        snprintf(dims[1], sizeof dims[1], "%d %d", tb ? n : k, tb ? k : n);
        builder *b = builder_new(13, "2 6 5 4", "y");
        builder_weights(b, "a", dims[0], a);
        builder_weights(b, "w", dims[1], w);
        Onnx__NodeProto *node = builder_node(b, "Gemm", "a w", "y");
        builder_int(b, node, "transA", ta);
        builder_int(b, node, "transB", tb);
        hd_nd y = run(b);
        for (int i = 0; i < m; i++)
            for (int j = 0; j < n; j++) {
                double sum = 0;
                for (int p = 0; p < k; p++) sum += (double)a[ta ? p * m + i : i * k + p] * (double)w[tb ? j * k + p : p * n + j];
                near(&y, (size_t)(i * n + j), sum);
            }
        hd_nd_free(&y);
    }
}

/* What a loss says of classes, shapes and words that do not go with scores of 6 classes at 2 x 5 x 4 places; the class is the same everywhere. */
static void test_losses_refuse(void **state) {
    (void)state;
    static const struct { const char *target, *shape, *weights, *reduction; hd_status code; const char *message; } table[] = {
        {"5", "2 5 4", "6", "mean", HD_OK, ""},
        {"6", "2 5 4", "6", "sum", HD_RANGE, "input 1, element 0: class 6 of 6"},
        {"-1", "2 5 4", "6", "none", HD_RANGE, "input 1, element 0: class -1 of 6"},
        {"5", "2 4 5", "6", "mean", HD_MISMATCH, "input 1 is of shape 2x4x5; 2x5x4 is expected"},
        {"5", "2 6 5 4", "6", "mean", HD_MISMATCH, "input 1 is of shape 2x6x5x4; 2x5x4 is expected"},
        {"5", "2 5 4", "7", "mean", HD_MISMATCH, "input 2 is of shape 7; 6 weights, one a class, are expected"},
        {"5", "2 5 4", "6", "average", HD_RANGE, "attribute reduction is unknown; allowed are none, sum and mean"},
    };
    for (size_t k = 0; k < 2 * sizeof table / sizeof *table; k++) {
        size_t size, i = k / 2;
        builder *b = builder_new(13, "2 6 5 4", "y");
        builder_sizes(b, "class", table[i].target);
        builder_sizes(b, "shape", table[i].shape);
        builder_weights(b, "weights", table[i].weights, NULL);
        builder_node(b, "Expand", "class shape", "target");
        builder_text(b, builder_node(b, k % 2 ? "SoftmaxCrossEntropyLoss" : "NegativeLogLikelihoodLoss", "x target weights", "y"), "reduction", table[i].reduction);
        uint8_t *bytes = builder_pack(b, &size);
        const int64_t dim[] = {N, C, H, W};
        hd_host *h;
        hd_nd x, y = {0};
        hd_err err = {0};
        assert_int_equal(hd_host_load_memory(&h, bytes, size, "m", &err), HD_OK);
        assert_int_equal(hd_nd_new(&x, HD_TYPE_F32, 4, dim, SIZE_MAX, NULL), HD_OK);
        hd_status status = hd_host_run(h, &x, &y, NULL, &err);
        const char *end = strstr(err.message, table[i].message);
        if (status != table[i].code || !end || end[strlen(table[i].message)]) fail_msg("found %d, '%s'; '%s' is expected", (int)status, err.message, table[i].message);
        hd_nd_free(&x);
        hd_nd_free(&y);
        hd_host_free(h);
        free(bytes);
        builder_free(b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_functions), cmocka_unit_test(test_group_normalization), cmocka_unit_test(test_lp), cmocka_unit_test(test_bitwise),
                                       cmocka_unit_test(test_gemm), cmocka_unit_test(test_lists_are_not_cast), cmocka_unit_test(test_losses_refuse)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
