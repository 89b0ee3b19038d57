/* Rewriting a graph in place: nodes put between others, readers of a tensor moved to another. The order of execution is kept: what is inserted
 * at `at` runs before the node that had this index, and that node and the later ones move up by one. Indices of tensors never change.
 *
 * Functions that return an index give -1 without memory, and the graph is then as it was, but for a tensor that nothing reads. Names are made
 * unique: one that is taken already gets a number ("conv1.down", "conv1.down2"). None of this checks shapes: end with hd_graph_check. */
#ifndef HD_GRAPH_EDIT_H
#define HD_GRAPH_EDIT_H
#include "graph.h"

/* The node that writes tensor t; -1 = none (the graph's input). */
int hd_graph_producer(const hd_graph *g, int t);
/* Nodes that read tensor t, in order of execution (an addition of t to itself once); the first `most` of them into node, which may be NULL
 * when most is 0. Returns how many there are. That t is the graph's output is not counted. */
int hd_graph_readers(const hd_graph *g, int t, int *node, int most);

/* A tensor whose name is made unique. */
int hd_graph_add_unique_tensor(hd_graph *g, const char *name, hd_shape shape);
/* An empty node (as of hd_graph_add_node) at index `at`, 0..n_nodes. */
int hd_graph_insert_node(hd_graph *g, int at, hd_op op, const char *name);
/* The same with everything of node `from` (its index before the call) but weights and bias, which stay NULL. */
int hd_graph_insert_like(hd_graph *g, int at, int from, const char *name);
/* A node right after the one that writes t (first of all when t is the input): it reads t and writes a new tensor of t's shape and the node's
 * name. All that read t before read the new tensor; so does the graph's output. */
int hd_graph_insert_after(hd_graph *g, int t, hd_op op, const char *name);
/* The node and its weights go; its tensors stay, so redirect its output's readers first. */
void hd_graph_remove_node(hd_graph *g, int at);
/* Nodes first..n_nodes-1 that read tensor `from` read `to`; so does the graph's output when it is `from`. */
void hd_graph_redirect(hd_graph *g, int from, int to, int first);
#endif
