/* The optimiser under training and tuning (internal to sw/train and its tests): Adam over mini-batches.
 *
 * A mini-batch is cut into slices; threads take slices, each with gradients of its own, and the sum runs over the slices
 * in order: the result does not depend on which thread did what, nor on how many there are. Hooks let tuning train other
 * parameters than the weights the graph runs with (those of a fake quantiser) and another loss (a teacher's). */
#ifndef HD_TRAIN_LOOP_H
#define HD_TRAIN_LOOP_H
#include "../core/rng.h"
#include "data.h"
#include "train.h"

typedef struct hd_loop_hooks {
    void *arg;
    size_t extra; /* parameters of the hooks, after the graph's own */
    /* Writes the graph's parameters from the trained ones; NULL: they are the same. */
    void (*place)(void *arg, const float *weight);
    /* Turns the gradient of the graph's parameters into that of the trained ones, in place; NULL: they are the same. */
    void (*gradient)(void *arg, const float *weight, float *gradient);
    /* Loss of the slice b holds, as hd_batch_loss; thread 0..threads-1. NULL: hd_batch_loss. */
    double (*loss)(void *arg, hd_batch *b, int thread, const hd_pick *pick, const int *labels, float scale);
} hd_loop_hooks;

typedef struct hd_loop {
    hd_graph *g;         /* lent */
    const hd_data *data; /* lent */
    hd_loop_hooks hooks;
    hd_params params;
    size_t total;               /* params.total + hooks.extra */
    int threads, slice, slices; /* images of a slice; most slices of a mini-batch */
    hd_batch **worker;          /* [threads] */
    float **scratch;            /* [threads] one image */
    int **label;                /* [threads][slice] */
    float *gradient;            /* [slices][total] */
    float *weight, *mean, *square; /* [total] what Adam moves, and its moments */
    float *decay, *pace;        /* [total] share of the weight decay (1 for weights, else 0) and of the rate (1) */
    double *loss;               /* [slices] */
    float weight_decay;
    long step;
} hd_loop;

/* g passed hd_graph_check; threads 0 = all cores. Starts from g's parameters; extra ones are 0, to be set by the caller. Free with
 * hd_loop_free also after a failure. */
hd_status hd_loop_new(hd_loop *l, hd_graph *g, const hd_data *data, int batch, int threads, float weight_decay, const hd_loop_hooks *hooks,
                      hd_err *err);
void hd_loop_free(hd_loop *l);
/* Writes the trained parameters to the graph (after they were changed by hand). */
void hd_loop_place(hd_loop *l);
/* One step on n picked images; returns the sum of their losses. */
double hd_loop_step(hd_loop *l, const hd_pick *pick, int n, float rate);
/* Rises over the first twentieth, then half a cosine down to a hundredth of the peak. */
float hd_loop_rate(float peak, long step, long steps);

/* Which images a step takes: a new order each epoch, moved and mirrored at random. */
typedef struct hd_sampler {
    hd_rng rng;
    int n, shift, flip;
    int *order;    /* [n] */
    hd_pick *pick; /* [batch] */
} hd_sampler;
hd_status hd_sampler_new(hd_sampler *s, int n, int batch, int shift, int flip, uint64_t seed, hd_err *err);
void hd_sampler_free(hd_sampler *s);
void hd_sampler_shuffle(hd_sampler *s);
/* Picks order[at .. at+n-1]. */
void hd_sampler_pick(hd_sampler *s, int at, int n);

/* Ranges of the options of training. */
hd_status hd_train_check(const hd_train_options *o, hd_err *err);
#endif
