/* Small float networks, node by node, for tests of passes: each function appends one node, which becomes the network's output. */
#ifndef HD_TEST_NET_MAKER_H
#define HD_TEST_NET_MAKER_H
#include "../../compiler/compress/compress.h"
#include "../../sw/core/rng.h"

typedef struct maker {
    hd_graph *g;
    hd_rng r;   /* of weights and biases */
    float bias; /* about which biases lie: 1, and no channel is dead behind a ReLU */
} maker;

/* A network named "net" that is its input, tensor "x". The caller owns k.g. */
maker net_start(hd_shape input, float bias, uint64_t seed);
/* A bare node of one input. */
hd_node *net_node(maker *k, hd_op op, const char *name, int x, hd_shape out);
/* Random weights and biases of a layer of cin inputs and cout outputs, whose kernel and groups are set. */
void net_fill(maker *k, hd_node *n, int cin, int cout);
/* The others return the new tensor's number; x and y are tensors. */
int net_clip(maker *k, const char *name, int x, float hi);
int net_add(maker *k, const char *name, int x, int y);
int net_unary(maker *k, const char *name, int x, hd_fn fn);
int net_flatten(maker *k, const char *name, int x);
int net_fc(maker *k, const char *name, int x, int cout);
/* Paddings of kernel / 2 on all sides. */
int net_conv(maker *k, const char *name, int x, int cout, int kernel, int stride, int groups);
/* Windows of 2 x 2 that do not overlap. */
int net_pool(maker *k, hd_op op, const char *name, int x);
/* The node of that name, or NULL. */
hd_node *net_named(const hd_graph *g, const char *name);
/* conv1 - relu - conv2 - relu - average - fc, in which two channels between the layers are `large` times the others, as nothing in float minds. */
hd_graph *net_planted(uint64_t seed, float large);
/* count random images of bytes of that shape, or of the network's input. The caller frees them with hd_idx_free. */
hd_idx *net_images_of(hd_shape s, uint32_t count, uint64_t seed);
hd_idx *net_images(const hd_graph *g, uint32_t count, uint64_t seed);
#endif
