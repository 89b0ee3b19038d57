/* The operators of the reference executor; private to this folder. x, y: tensors in [c][h][w]. */
#ifndef HD_EXEC_OPS_H
#define HD_EXEC_OPS_H
#include "graph.h"

/* Floats of scratch that hd_conv_run needs. */
size_t hd_conv_scratch(const hd_node *n, hd_shape xs, hd_shape ys);
void hd_conv_run(const hd_node *n, const float *x, hd_shape xs, float *y, hd_shape ys, float *scratch);
void hd_pool_run(const hd_node *n, const float *x, hd_shape xs, float *y, hd_shape ys);
#endif
