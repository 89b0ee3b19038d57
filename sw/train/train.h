/* Training of float graphs: forward, backward, Adam. The result depends on the graph, the data, the options and the
 * BLAS kernels of the processor, but not on the number of threads: a mini-batch is cut into slices of a fixed size. */
#ifndef HD_TRAIN_H
#define HD_TRAIN_H
#include "../../compiler/graph/graph.h"
#include "../core/idx.h"

typedef struct hd_train_options {
    int epochs, batch;
    float learning_rate, weight_decay; /* peak rate; decay of the weights (not biases) per unit of rate */
    int shift, flip;                   /* augmentation: move by up to `shift` pixels (0..8) each way; flip left-right half of the time */
    uint64_t seed;
    int threads;       /* 0 = all cores */
    int limit;         /* train on the first `limit` images only; 0 = all */
    int quiet;
    /* Called after each epoch (may be NULL); test_accuracy is NAN without test images. */
    void (*on_epoch)(void *arg, int epoch, double loss, double test_accuracy);
    void *arg;
} hd_train_options;

void hd_train_defaults(hd_train_options *o);
/* The default network: 28x28x1 images, 10 classes, about 48 thousand weights; He initialisation from `seed`. */
hd_graph *hd_default_network(uint64_t seed);
/* The same with `width` times the channels of each layer but the last, rounded, at least one. NULL without memory. */
hd_graph *hd_scaled_network(uint64_t seed, double width);
/* Trains g in place on images (idx [n][c][h][w] or [n][h][w]; u8 is divided by 255) with labels (idx [n]): cross-entropy on
 * the output tensor (logits; the input of a final softmax). test_* may be NULL; final_loss (may be NULL) is the mean over
 * the last epoch. A progress bar unless quiet. Errors: HD_MISMATCH data and graph disagree; HD_RANGE an option, a label, or
 * a loss that is no number; HD_UNSUPPORTED, HD_NOMEM; HD_INTERRUPTED (g keeps the weights reached so far). */
hd_status hd_train(hd_graph *g, const hd_idx *images, const hd_idx *labels, const hd_idx *test_images, const hd_idx *test_labels,
                   const hd_train_options *o, double *final_loss, hd_err *err);
/* Share of images whose largest output is the label, over the first `limit` (0 = all); all cores. Any graph. */
hd_status hd_accuracy(const hd_graph *g, const hd_idx *images, const hd_idx *labels, int limit, double *accuracy, hd_err *err);
/* The default network, trained with the defaults and seed 1: an ONNX file inside the program. Lent. */
const unsigned char *hd_default_model(size_t *size);
#endif
