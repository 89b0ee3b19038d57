/* Channels of a network that can only leave together, for pass_channels.c.
 *
 * Elementwise functions, pooling and flattening hand a channel on, an addition ties the channels of its three tensors, a depthwise convolution those it reads
 * and makes. So the channels of all tensors fall into sets, and tensors into families: the sets of a family are the channels of each of its
 * tensors. A family that touches the network's input or output, a softmax or another grouped convolution stays whole. */
#ifndef HD_CHANNEL_SETS_H
#define HD_CHANNEL_SETS_H
#include "../graph/graph.h"

enum { HD_CHANNELS_FREE = -1, HD_CHANNELS_INPUT = -2, HD_CHANNELS_OUTPUT = -3 };

typedef struct hd_channel_sets {
    const hd_graph *g;  /* lent */
    int *first;         /* [tensor + 1]: channel c of tensor t is first[t] + c */
    int *set;           /* [channel] 0..sets-1 */
    int *family;        /* [tensor] 0..families-1 */
    int *family_of_set; /* [set] */
    int *why;           /* [family] FREE, or what keeps it whole: INPUT, OUTPUT, or a node */
    int sets, families;
} hd_channel_sets;

/* Owned by the caller; HD_NOMEM (then empty). */
hd_status hd_channel_sets_new(hd_channel_sets *c, const hd_graph *g, hd_err *err);
void hd_channel_sets_free(hd_channel_sets *c);

/* A convolution whose every output channel reads one channel of its own. */
static inline int hd_node_is_depthwise(const hd_node *n) { return n->op == HD_OP_CONV2D && n->groups > 1 && n->groups == n->cin; }
/* A layer that mixes all channels it reads. */
static inline int hd_node_mixes(const hd_node *n) { return n->op == HD_OP_FC || (n->op == HD_OP_CONV2D && n->groups == 1); }
#endif
