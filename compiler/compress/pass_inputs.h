/* What a float network's layers see on the calibration data, for the passes. Not for other folders. */
#ifndef HD_PASS_INPUTS_H
#define HD_PASS_INPUTS_H
#include "passes.h"

/* Channels of all tensors in one row: channel c of tensor t is first[t] + c; first[n_tensors] is their number. Owned; NULL without memory. */
int *hd_channel_index(const hd_graph *g);
/* [channel] largest magnitude over the calibration inputs; the channels of hd_channel_index. */
hd_status hd_channel_absmax(float *absmax, const hd_pass *p, const int *first, hd_err *err);

/* Columns of a layer's weights [out][columns]: inputs of one group, as in the graph ([ic][ky][kx]). */
static inline size_t hd_layer_columns(const hd_node *n) {
    return (size_t)(n->cin / n->groups) * (n->op == HD_OP_CONV2D ? (size_t)(n->kh * n->kw) : 1);
}
/* The channel of the tensor it reads that column j of group `group` sees. */
int hd_layer_channel(const hd_graph *g, const hd_node *n, size_t group, size_t j);
/* Neighbouring columns that belong to one channel: a kernel's taps, or the pixels that were flattened into a fully connected layer's inputs. */
size_t hd_layer_taps(const hd_graph *g, const hd_node *n);
/* h [groups][columns][columns] = 2 X X^T / n over the layer's windows X, those of many inputs thinned out evenly. Same for any number of threads. */
hd_status hd_layer_moments(double *h, const hd_pass *p, int node, hd_err *err);
#endif
