/* Averages over many pixels, for arrays whose window does not hold them. */
#ifndef HD_SPLIT_AVERAGE_H
#define HD_SPLIT_AVERAGE_H
#include "graph.h"

/* Each average pooling of more than `most` pixels becomes one of the largest factor of its kernel up to `most`, whose outputs are averaged again. What averages them is the
 * fully connected layer behind, each of whose columns is repeated over the pixels and divided by their number, where it alone reads the average of a whole map and gets at
 * most HD_SPLIT_WEIGHTS more weights by it; else a second pooling, named after the first with ".rest" (cut again where it is still too large). The network computes the same;
 * the tensor between, which has the scale of the average in a quantised graph, is one more that a compressed model rounds, and one less where the layer behind takes over.
 * source_weights keeps the number of weights that the network came with.
 * HD_UNSUPPORTED: a kernel without such a factor, with padding, dilation or overlapping windows. HD_NOMEM. The graph is then half rewritten: free it. */
enum { HD_SPLIT_WEIGHTS = 16384 };
hd_status hd_graph_split_averages(hd_graph *g, int most, hd_err *err);
#endif
