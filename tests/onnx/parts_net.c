#include "parts_net.h"

#include <stdio.h>

#include "../../sw/core/rng.h"

static void conv(builder *b, hd_rng *rng, const char *in, const char *out, int cin, int cout, int k, const char *strides, const char *pads) {
    static float weights[8 * 8 * 9];
    char text[128], dims[64], name[2][32];
    for (int i = 0; i < cin * cout * k * k; i++) weights[i] = hd_rng_normal(rng) / (float)(k * k);
    snprintf(name[0], sizeof name[0], "%s_w", out);
    snprintf(name[1], sizeof name[1], "%s_b", out);
    snprintf(dims, sizeof dims, "%d %d %d %d", cout, cin, k, k);
    builder_weights(b, name[0], dims, weights);
    snprintf(dims, sizeof dims, "%d", cout);
    for (int i = 0; i < cout; i++) weights[i] = 0.1f * hd_rng_normal(rng);
    builder_weights(b, name[1], dims, weights);
    snprintf(text, sizeof text, "%s %s %s", in, name[0], name[1]);
    Onnx__NodeProto *n = builder_node(b, "Conv", text, out);
    builder_ints(b, n, "strides", strides);
    builder_ints(b, n, "pads", pads);
}

builder *parts_net(void) {
    static const float three[] = {3}, six[] = {6}, zero[] = {0};
    hd_rng rng;
    hd_rng_seed(&rng, 4, 7);
    builder *b = builder_new(13, "1 3 12 12", "y");
    conv(b, &rng, "x", "conv1", 3, 8, 3, "1 1", "1 1 1 1");
    builder_node(b, "Relu", "conv1", "a");
    builder_node(b, "GlobalAveragePool", "a", "pooled");
    conv(b, &rng, "pooled", "squeeze", 8, 8, 1, "1 1", "0 0 0 0");
    builder_node(b, "Sigmoid", "squeeze", "gate");
    builder_node(b, "Mul", "a gate", "gated");
    conv(b, &rng, "gated", "conv2", 8, 8, 3, "2 2", "1 1 1 1");
    builder_weights(b, "three", "1", three);
    builder_weights(b, "six", "1", six);
    builder_weights(b, "zero_bound", "1", zero)->n_dims = 0;
    builder_weights(b, "six_bound", "1", six)->n_dims = 0;
    builder_node(b, "Add", "conv2 three", "shifted");
    builder_node(b, "Clip", "shifted zero_bound six_bound", "clipped");
    builder_node(b, "Mul", "conv2 clipped", "product");
    builder_node(b, "Div", "product six", "swish");
    conv(b, &rng, "swish", "conv3", 8, 6, 1, "1 1", "0 0 0 0");
    builder_ints(b, builder_node(b, "Transpose", "conv3", "rows"), "perm", "0 2 3 1");
    builder_sizes(b, "to", "1 -1 3");
    builder_node(b, "Reshape", "rows to", "table");
    builder_int(b, builder_node(b, "Softmax", "table", "y"), "axis", -1);
    return b;
}

builder *parts_net_folded(void) {
    static const float root[] = {1.41421356f}, one[] = {1}, half[] = {0.5f};
    builder *b = builder_new(13, "1 3 12 12", "y");
    builder_weights(b, "w", "5 3 1 1", NULL);
    builder_weights(b, "root", "1", root);
    builder_weights(b, "one", "1", one);
    builder_weights(b, "half", "1", half);
    builder_node(b, "Conv", "x w", "c");
    builder_node(b, "Div", "c root", "d");
    builder_node(b, "Erf", "d", "e");
    builder_node(b, "Add", "e one", "f");
    builder_node(b, "Mul", "c f", "g");
    builder_node(b, "Mul", "g half", "gelu");
    builder_node(b, "GlobalAveragePool", "gelu", "pooled");
    builder_node(b, "Shape", "pooled", "shape");
    builder_sizes(b, "first", "0");
    builder_sizes(b, "rest", "-1");
    builder_node(b, "Gather", "shape first", "batch");
    builder_int(b, builder_node(b, "Concat", "batch rest", "to"), "axis", 0);
    builder_node(b, "Reshape", "pooled to", "y");
    return b;
}

void parts_net_input(float *x, uint32_t n) {
    hd_rng rng;
    hd_rng_seed(&rng, 100 + n, 3);
    for (int k = 0; k < PARTS_NET_INPUT; k++) x[k] = 2 * hd_rng_float(&rng) - 1;
}
