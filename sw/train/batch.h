/* Batched forward and backward passes over a float graph (internal to sw/train and its tests).
 *
 * A batch keeps every tensor as [c][sample][h][w]: a convolution over all samples is then one matrix product, and
 * a rank-1 tensor is the [features][samples] matrix a fully connected layer wants. A batch belongs to one thread. */
#ifndef HD_TRAIN_BATCH_H
#define HD_TRAIN_BATCH_H
#include "../../compiler/graph/graph.h"

/* Where each node's parameters lie in one flat vector: weights, then the bias, node after node. */
typedef struct hd_params {
    size_t total;
    size_t *weight, *bias; /* [n_nodes] */
} hd_params;

hd_status hd_params_new(hd_params *p, const hd_graph *g, hd_err *err);
void hd_params_free(hd_params *p);

typedef struct hd_batch {
    const hd_graph *g; /* lent */
    int capacity, n;   /* most samples; samples of the present run */
    int training;
    int logits;        /* the tensor the loss reads: the graph's output, or the input of a final softmax */
    float **value, **grad; /* [n_tensors]; grad only when training */
    float **col;           /* [n_nodes] CONV2D: the im2col matrix; FC: the flattened input; shared when not training */
    int **winner;          /* [n_nodes] MAX_POOL: offset of the maximum in its input plane */
    float *dcol;           /* gradient of a col matrix */
    float *shared_col;
    char *has_grad;        /* [n_tensors] grad holds a value in the present backward pass */
} hd_batch;

/* g must pass hd_graph_check. HD_UNSUPPORTED or HD_RANGE name the node; HD_NOMEM. */
hd_status hd_batch_new(hd_batch **out, const hd_graph *g, int capacity, int training, hd_err *err);
void hd_batch_free(hd_batch *b);
/* Runs n <= capacity samples; b->value[g->input] holds them as [c][n][h][w]. */
void hd_batch_forward(hd_batch *b, int n);
/* Sum of the cross-entropies of the present samples; leaves scale * its gradient in grad[logits]. */
double hd_batch_loss(hd_batch *b, const int *labels, float scale);
/* After hd_batch_loss: writes (not adds) the gradient of every parameter to `gradient`. */
void hd_batch_backward(hd_batch *b, const hd_params *p, float *gradient);
/* Index in value[t] of element k (of the [c][h][w] order) of sample s. */
size_t hd_batch_element(const hd_batch *b, int t, size_t k, int s);
/* The largest output of sample s (the first of equals). */
int hd_batch_class(const hd_batch *b, int s);

/* Layers, one function pair a kind; t is the node. `add` asks the backward function to add to dx instead of
 * overwriting it; dx may be NULL where nothing needs it. */
int hd_conv_is_plain(const hd_node *t);
int hd_conv_is_depthwise(const hd_node *t);
void hd_conv_forward(const hd_node *t, hd_shape in, hd_shape out, int n, const float *x, float *y, float *col);
void hd_conv_backward(const hd_node *t, hd_shape in, hd_shape out, int n, const float *x, const float *dy, const float *col,
                      float *dcol, float *dx, int add, float *dweight, float *dbias);
void hd_depthwise_forward(const hd_node *t, hd_shape in, hd_shape out, int n, const float *x, float *y);
void hd_depthwise_backward(const hd_node *t, hd_shape in, hd_shape out, int n, const float *x, const float *dy, float *dx, int add,
                           float *dweight, float *dbias);
void hd_fc_forward(const hd_node *t, hd_shape in, int n, const float *x, float *y, float *flat);
void hd_fc_backward(const hd_node *t, hd_shape in, int n, const float *dy, const float *flat, float *dflat, float *dx, int add,
                    float *dweight, float *dbias);
void hd_max_pool_forward(const hd_node *t, hd_shape in, hd_shape out, int n, const float *x, float *y, int *winner);
void hd_max_pool_backward(hd_shape in, hd_shape out, int n, const float *dy, const int *winner, float *dx, int add);
void hd_avg_pool_forward(const hd_node *t, hd_shape in, hd_shape out, int n, const float *x, float *y);
void hd_avg_pool_backward(const hd_node *t, hd_shape in, hd_shape out, int n, const float *dy, float *dx, int add);
void hd_unary_forward(const hd_node *t, size_t size, const float *x, float *y);
void hd_unary_backward(const hd_node *t, size_t size, const float *x, const float *y, const float *dy, float *dx, int add);
void hd_softmax_forward(hd_shape s, int n, const float *x, float *y);
void hd_softmax_backward(hd_shape s, int n, const float *y, const float *dy, float *dx, int add);
/* [c][n][h*w] <-> [c*h*w][n] */
void hd_to_flat(hd_shape s, int n, const float *x, float *flat);
void hd_from_flat(hd_shape s, int n, const float *flat, float *x, int add);

/* First and one past the last output index whose input index o*stride - pad + offset lies in 0..size-1. */
static inline void hd_valid_range(int outputs, int size, int stride, int start, int *first, int *end) {
    int a = start >= 0 ? 0 : (-start + stride - 1) / stride;
    int b = start >= size ? 0 : (size - 1 - start) / stride + 1;
    if (b > outputs) b = outputs;
    *first = a < b ? a : b;
    *end = b;
}
#endif
