/* The float network: what an importer produces, the trainer trains, the compressor reads.
 *
 * Tensors are batch-free and row-major: rank 3 [c][h][w] or rank 1 [c] (stored as c x 1 x 1). Nodes are in
 * execution order. Weights of convolutions are [oc][ic/groups][kh][kw], of fully connected layers [out][in] with inputs in the order
 * the flattened [c][h][w] tensor has (as in ONNX). Everything a graph holds is owned by it. */
#ifndef HD_GRAPH_H
#define HD_GRAPH_H
#include <stddef.h>
#include <stdint.h>

#include "../../sw/core/err.h"

/* Multiply-adds and compared elements of one run of a network or a model, twenty times what networks for photographs take: a pooling needs no weights, so that a file of a few bytes could
 * ask for days. */
#define HD_MAX_WORK 1e12

typedef enum hd_op {
    HD_OP_NONE,
    HD_OP_CONV2D,     /* in: x; weight, bias (may be NULL) */
    HD_OP_FC,         /* in: x (flattened); weight, bias (may be NULL) */
    HD_OP_ADD_TENSOR, /* in: x, y of the same shape */
    HD_OP_CLIP,       /* ReLU (0, inf), ReLU6 (0, 6), Clip: lo, hi */
    HD_OP_UNARY,      /* an elementwise function `fn`, with parameters alpha, beta */
    HD_OP_MAX_POOL,   /* kernel, stride, pads; padding never wins */
    HD_OP_AVG_POOL,   /* kernel, stride, pads; count_include_pad; global pooling has kernel = input size */
    HD_OP_FLATTEN,
    HD_OP_SOFTMAX /* over all elements */
} hd_op;

typedef enum hd_fn {
    HD_FN_SIGMOID, HD_FN_TANH, HD_FN_LEAKY_RELU /* alpha */, HD_FN_ELU /* alpha */, HD_FN_HARD_SIGMOID /* alpha, beta */,
    HD_FN_HARD_SWISH, HD_FN_SOFTPLUS, HD_FN_EXP, HD_FN_ABS, HD_FN_NEG, HD_FN_SQRT, HD_FN_GELU, HD_FN_SILU
} hd_fn;

typedef struct hd_shape {
    int c, h, w;
} hd_shape;

typedef struct hd_tensor_info {
    char *name;
    hd_shape shape;
    float scale; /* of a quantised file: the tensor holds scale * (code - zero), codes -128..127; 0 = real numbers */
    int zero;
} hd_tensor_info;

typedef struct hd_node {
    hd_op op;
    char *name;
    int input[2]; /* tensor indices; input[1] = -1 where unused */
    int output;
    int kh, kw, sy, sx, dy, dx, groups;
    int pad_top, pad_left, pad_bottom, pad_right;
    int count_include_pad;
    int half_away; /* AVG_POOL of a quantised file: the mean of codes is rounded with halves away from code 0 */
    float lo, hi; /* CLIP; -INFINITY / INFINITY where open */
    hd_fn fn;
    float alpha, beta;
    int cin, cout; /* CONV2D, FC */
    float *weight, *bias;
    float *weight_scale; /* [cout], of a quantised file: weight is weight_scale[oc] times an integer of -128..127; NULL = real numbers */
} hd_node;

typedef struct hd_graph {
    char *name;
    int n_tensors, n_nodes;
    hd_tensor_info *tensor;
    hd_node *node;
    int input, output; /* tensor indices */
    size_t source_weights; /* of the network that passes rewrote into this one: bits per weight count these; 0 = those that it has */
} hd_graph;

hd_graph *hd_graph_new(const char *name);
void hd_graph_free(hd_graph *g);
hd_graph *hd_graph_clone(const hd_graph *g);
/* Append a tensor / a node (fields zeroed, strides/dilations/groups 1, input[1] -1); index, or -1 without memory. */
int hd_graph_add_tensor(hd_graph *g, const char *name, hd_shape shape);
int hd_graph_add_node(hd_graph *g, hd_op op, const char *name);
static inline size_t hd_shape_size(hd_shape s) { return (size_t)s.c * (size_t)s.h * (size_t)s.w; }
/* Elements of node n's weight array (0 if it has none). */
size_t hd_node_weights(const hd_node *n);
/* Checks indices, order, shapes and sizes; every importer ends with it. */
hd_status hd_graph_check(const hd_graph *g, hd_err *err);
float hd_fn_apply(hd_fn fn, float alpha, float beta, float x);

/* The reference executor (im2col + OpenBLAS SGEMM). Keeps the buffers between calls; one per thread. */
typedef struct hd_exec hd_exec;
hd_status hd_exec_new(hd_exec **out, const hd_graph *g, hd_err *err); /* g is lent for the life of the executor */
void hd_exec_free(hd_exec *e);
/* Runs one sample: input has hd_shape_size(input) floats in [c][h][w]. */
void hd_exec_run(hd_exec *e, const float *input);
/* Values of tensor t after the last run; lent. */
const float *hd_exec_tensor(const hd_exec *e, int t);
#endif
