/* Labelled images for the trainer (internal to sw/train): checked against a graph, and laid out for a batch. */
#ifndef HD_TRAIN_DATA_H
#define HD_TRAIN_DATA_H
#include "../core/idx.h"
#include "batch.h"

typedef struct hd_data {
    const hd_idx *images; /* lent */
    hd_shape shape;
    int n;
    int *label; /* owned; each within the classes of the graph */
} hd_data;

/* How one image of a batch is taken. */
typedef struct hd_pick {
    int index, move_y, move_x, flip;
} hd_pick;

/* The first `limit` (0 = all) images and labels. */
hd_status hd_data_new(hd_data *d, const hd_graph *g, const hd_idx *images, const hd_idx *labels, int limit, hd_err *err);
void hd_data_free(hd_data *d);
/* Lays out n picked images as [c][n][h][w]; `scratch` holds one image. Pixels moved in from outside are 0. */
void hd_data_fill(const hd_data *d, const hd_pick *pick, int n, float *scratch, float *out);
#endif
