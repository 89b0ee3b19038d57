/* Random float networks for the ONNX tests: every operation, legal by construction. */
#ifndef HD_SAMPLE_GRAPH_H
#define HD_SAMPLE_GRAPH_H
#include "../../compiler/graph/graph.h"
#include "../../sw/core/rng.h"

/* A network of `nodes` random operations; owned by the caller. Fails the running test when memory runs out. */
hd_graph *sample_graph(hd_rng *rng, int nodes);
/* A small fixed network: conv1 - relu1 - pool1 - fc1, input "x" 2 x 6 x 6, output "y" of 3. */
hd_graph *sample_fixed(void);
#endif
