/* Training of float graphs: forward, backward, Adam; deterministic under a seed for a given thread count. */
#ifndef HD_TRAIN_H
#define HD_TRAIN_H
#include "../../compiler/graph/graph.h"
#include "../core/idx.h"

typedef struct hd_train_options {
    int epochs, batch;
    float learning_rate, weight_decay;
    uint64_t seed;
    int threads;       /* 0 = all cores */
    int limit;         /* train on the first `limit` images only; 0 = all */
    int quiet;
    /* Called after each epoch (may be NULL). */
    void (*on_epoch)(void *arg, int epoch, double loss, double test_accuracy);
    void *arg;
} hd_train_options;

void hd_train_defaults(hd_train_options *o);
/* The default network: 28x28x1 images, 10 classes, about 48 thousand weights; He initialisation from `seed`. */
hd_graph *hd_default_network(uint64_t seed);
/* Trains g in place on images (u8 idx [n][28][28], divided by 255) with labels (u8 idx [n]), cross-entropy on the output tensor (logits). test_* may be NULL. */
hd_status hd_train(hd_graph *g, const hd_idx *images, const hd_idx *labels, const hd_idx *test_images, const hd_idx *test_labels, const hd_train_options *o, double *final_loss, hd_err *err);
/* Share of images whose largest output is the label; all cores. */
hd_status hd_accuracy(const hd_graph *g, const hd_idx *images, const hd_idx *labels, int limit, double *accuracy, hd_err *err);
#endif
