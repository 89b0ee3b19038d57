/* Quantised ONNX keeps its integers: models with QuantizeLinear and DequantizeLinear around float operators, and with QLinearConv and
 * QLinearMatMul, against the host executor, which computes them as ONNX defines. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../compiler/compress/compress.h"
#include "../../compiler/onnx/host.h"
#include "../../sw/core/rng.h"
#include "onnx_builder.h"

enum { WEIGHTS = 6 * 3 * 9, INPUT = 3 * 8 * 8 };
static hd_rng rng;
static int32_t conv_w[WEIGHTS], conv_b[6], fc_w[4 * 6], fc_b[4], zeros[6], one_zero[8];
static float conv_s[6], fc_s[4], bias_s[6], fc_bias_s[4], act_s[8];

/* A float initializer becomes one of integers. */
static void integers(Onnx__TensorProto *t, int type, int32_t *values) {
    t->data_type = type;
    t->n_int32_data = t->n_float_data;
    t->n_float_data = 0;
    t->int32_data = values;
}

/* The codes of activation k: scale and zero point as initializers "sK" and "zK". */
static void codes(builder *b, int k, float scale, int zero) {
    char name[2][16];
    act_s[k] = scale;
    one_zero[k] = zero;
    snprintf(name[0], sizeof name[0], "s%d", k);
    snprintf(name[1], sizeof name[1], "z%d", k);
    builder_weights(b, name[0], "1", &act_s[k])->n_dims = 0;
    Onnx__TensorProto *z = builder_weights(b, name[1], "1", NULL);
    z->n_dims = 0;
    integers(z, zero < 0 ? HD_TYPE_I8 : HD_TYPE_U8, &one_zero[k]);
}

static void rounded(builder *b, const char *in, int k, const char *out) {
    char text[128], q[64];
    snprintf(q, sizeof q, "%s_q", out);
    snprintf(text, sizeof text, "%s s%d z%d", in, k, k);
    builder_node(b, "QuantizeLinear", text, q);
    snprintf(text, sizeof text, "%s s%d z%d", q, k, k);
    builder_node(b, "DequantizeLinear", text, out);
}

static void draw(void) {
    for (int k = 0; k < WEIGHTS; k++) conv_w[k] = (int32_t)hd_rng_below(&rng, 255) - 127;
    for (int k = 0; k < 24; k++) fc_w[k] = (int32_t)hd_rng_below(&rng, 255) - 127;
    for (int k = 0; k < 6; k++) conv_s[k] = 0.002f + 0.004f * hd_rng_float(&rng), conv_b[k] = (int32_t)hd_rng_below(&rng, 4000) - 2000;
    for (int k = 0; k < 4; k++) fc_s[k] = 0.005f + 0.004f * hd_rng_float(&rng), fc_b[k] = (int32_t)hd_rng_below(&rng, 2000) - 1000;
}

/* x, rounded; convolution, ReLU, maximum, average, fully connected, each rounded. */
static builder *qdq(void) {
    builder *b = builder_new(13, "1 3 8 8", "y");
    draw();
    codes(b, 0, 0.0157f, 120);
    codes(b, 1, 0.031f, 3);
    codes(b, 2, 0.02f, 1);
    codes(b, 3, 0.024f, -5);
    integers(builder_weights(b, "w", "6 3 3 3", NULL), HD_TYPE_I8, conv_w);
    builder_weights(b, "ws", "6", conv_s);
    integers(builder_weights(b, "wz", "6", NULL), HD_TYPE_I8, zeros);
    integers(builder_weights(b, "b", "6", NULL), HD_TYPE_I32, conv_b);
    for (int k = 0; k < 6; k++) bias_s[k] = 0.0157f * conv_s[k];
    builder_weights(b, "bs", "6", bias_s);
    rounded(b, "x", 0, "x0");
    builder_int(b, builder_node(b, "DequantizeLinear", "w ws wz", "wf"), "axis", 0);
    builder_int(b, builder_node(b, "DequantizeLinear", "b bs", "bf"), "axis", 0);
    builder_ints(b, builder_node(b, "Conv", "x0 wf bf", "conv"), "pads", "1 1 1 1");
    builder_node(b, "Relu", "conv", "relu");
    rounded(b, "relu", 1, "x1");
    Onnx__NodeProto *pool = builder_node(b, "MaxPool", "x1", "pool");
    builder_ints(b, pool, "kernel_shape", "2 2");
    builder_ints(b, pool, "strides", "2 2");
    rounded(b, "pool", 1, "x2");
    builder_node(b, "GlobalAveragePool", "x2", "mean");
    rounded(b, "mean", 2, "x3");
    builder_node(b, "Flatten", "x3", "flat");
    integers(builder_weights(b, "fw", "4 6", NULL), HD_TYPE_I8, fc_w);
    builder_weights(b, "fs", "4", fc_s);
    integers(builder_weights(b, "fb", "4", NULL), HD_TYPE_I32, fc_b);
    for (int k = 0; k < 4; k++) fc_bias_s[k] = 0.02f * fc_s[k];
    builder_weights(b, "fbs", "4", fc_bias_s);
    builder_int(b, builder_node(b, "DequantizeLinear", "fw fs", "ff"), "axis", 0);
    builder_int(b, builder_node(b, "DequantizeLinear", "fb fbs", "fbf"), "axis", 0);
    builder_int(b, builder_node(b, "Gemm", "flat ff fbf", "fc"), "transB", 1);
    rounded(b, "fc", 3, "y");
    return b;
}

static builder *qlinear(void) {
    builder *b = builder_new(13, "1 3 8 8", "y");
    draw();
    codes(b, 0, 0.0157f, 120);
    codes(b, 1, 0.05f, 128);
    builder_node(b, "QuantizeLinear", "x s0 z0", "xq");
    integers(builder_weights(b, "w", "6 3 3 3", NULL), HD_TYPE_I8, conv_w);
    builder_weights(b, "ws", "6", conv_s);
    integers(builder_weights(b, "wz", "6", NULL), HD_TYPE_I8, zeros);
    integers(builder_weights(b, "b", "6", NULL), HD_TYPE_I32, conv_b);
    builder_ints(b, builder_node(b, "QLinearConv", "xq s0 z0 w ws wz s1 z1", "conv"), "strides", "2 2");
    Onnx__NodeProto *pool = builder_node(b, "MaxPool", "conv", "pool");
    builder_ints(b, pool, "kernel_shape", "2 2");
    builder_node(b, "DequantizeLinear", "pool s1 z1", "y");
    return b;
}

typedef struct tally {
    int same, one_off, more;
} tally;

static void compare(builder *b, tally *t) {
    size_t size;
    uint8_t *bytes = builder_pack(b, &size);
    hd_host *h;
    hd_graph *g;
    hd_model *m;
    hd_integer *e;
    hd_err err = {0};
    if (hd_host_load_memory(&h, bytes, size, "q", &err) || hd_import_onnx_memory(&g, bytes, size, "q", &err) || hd_compress_kept(&m, g, &err)) fail_msg("%s", err.message);
    assert_int_equal(hd_integer_new(&e, m, &err), HD_OK);
    const hd_qtensor *in = &m->tensor[m->input], *out = &m->tensor[m->output];
    assert_true(in->scale == 0.0157f && in->zero == 120 - 128);
    for (int s = 0; s < m->n_stages; s++)
        if (m->stage[s].kind == HD_STAGE_CONV && m->stage[s].cin == 3)
            for (int k = 0; k < 27; k++) {
                /* [oc][ky][kx][c] there, [oc][c][ky][kx] here; v counts half steps */
                assert_int_equal(m->stage[s].v[k], 2 * conv_w[k % 3 * 9 + k / 3]);
            }
    for (int n = 0; n < 20; n++) {
        const int64_t dim[] = {1, 3, 8, 8};
        int8_t input[INPUT];
        hd_nd x, y;
        assert_int_equal(hd_nd_new(&x, HD_TYPE_F32, 4, dim, SIZE_MAX, NULL), HD_OK);
        for (int k = 0; k < INPUT; k++) ((float *)x.data)[k] = 0.0157f * (float)((int)hd_rng_below(&rng, 256) - 120);
        if (hd_host_run(h, &x, &y, NULL, &err)) fail_msg("%s", err.message);
        hd_quantize_input(in, x.data, input);
        hd_integer_run(e, input);
        const int8_t *got = hd_integer_tensor(e, m->output);
        size_t area = (size_t)(out->h * out->w);
        assert_int_equal(y.count, area * (size_t)out->c);
        for (size_t k = 0; k < y.count; k++) {
            int want = (int)rintf(((float *)y.data)[k] / out->scale) + out->zero, d = abs(got[k % area * (size_t)out->c + k / area] - want);
            *(d == 0 ? &t->same : d == 1 ? &t->one_off : &t->more) += 1;
        }
        hd_nd_free(&x);
        hd_nd_free(&y);
    }
    hd_integer_free(e);
    hd_model_free(m);
    hd_graph_free(g);
    hd_host_free(h);
    free(bytes);
    builder_free(b);
}

static void test_qdq(void **state) {
    (void)state;
    tally t = {0};
    for (int k = 0; k < 20; k++) compare(qdq(), &t);
    /* Three roundings one after the other, each of which may tip by the 16 bits of a multiplier. */
    print_message("QDQ: %d codes equal, %d off by one, %d by more\n", t.same, t.one_off, t.more);
    assert_int_equal(t.more, 0);
    assert_true(t.one_off * 100 <= t.same);
}

static void test_qlinear(void **state) {
    (void)state;
    tally t = {0};
    for (int k = 0; k < 20; k++) compare(qlinear(), &t);
    print_message("QLinear: %d codes equal, %d off by one, %d by more\n", t.same, t.one_off, t.more);
    assert_int_equal(t.more, 0);
    assert_true(t.one_off * 50 <= t.same);
}

static void refused(builder *b, const char *message) {
    hd_graph *g;
    hd_err err = {0};
    assert_true(builder_import(b, &g, &err) != HD_OK);
    if (!strstr(err.message, message)) fail_msg("found '%s', wanted '%s'", err.message, message);
    builder_free(b);
}

static void test_errors(void **state) {
    (void)state;
    builder *b = builder_new(13, "1 3 8 8", "y");
    codes(b, 0, 0.1f, 7);
    codes(b, 1, 0.2f, 7);
    builder_node(b, "QuantizeLinear", "x s0 z0", "q");
    builder_node(b, "DequantizeLinear", "q s1 z1", "y");
    refused(b, "tensor 'x' is quantised with scale 0.1, zero point -121 and again with 0.2, -121; once is supported");
    b = builder_new(13, "1 3 8 8", "y");
    codes(b, 0, 0.1f, 7);
    builder_node(b, "DequantizeLinear", "x s0 z0", "y");
    refused(b, "input 'x' was never quantised");
    b = builder_new(13, "1 3 8 8", "y");
    codes(b, 0, -0.1f, 7);
    builder_node(b, "QuantizeLinear", "x s0 z0", "y");
    refused(b, "scale -0.1; must be positive");
}

int main(void) {
    hd_rng_seed(&rng, 17, 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_qdq), cmocka_unit_test(test_qlinear), cmocka_unit_test(test_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
