/* The optimiser under training and tuning of language models (internal to sw/train and its tests): Adam over mini-batches of rows.
 *
 * Hooks let tuning train other parameters than the weights the model runs with (those of a fake quantiser). The result does not depend on the
 * number of threads. */
#ifndef HD_LLAMA_LOOP_H
#define HD_LLAMA_LOOP_H
#include "../core/rng.h"
#include "llama_train.h"

/* Rows of t+1 tokens in two pools; each row of a step comes from the second one with probability `share`. A pool is gone through in a random
 * order, then in another one. */
typedef struct hd_llama_pool {
    const int16_t *rows; /* lent */
    int stride, n, at;
    int *order; /* [n] */
} hd_llama_pool;

typedef struct hd_llama_feed {
    hd_llama_pool pool[2];
    float share;
    int t;
    hd_rng rng;
} hd_llama_feed;

/* given: n rows of t+1 tokens, `stride` apart; written: more of them, t+1 apart (0 = none; then share is of no use). */
hd_status hd_llama_feed_new(hd_llama_feed *f, const int16_t *given, int stride, int n, const int16_t *written, int n_written, float share, int t, uint64_t seed,
                            hd_err *err);
void hd_llama_feed_free(hd_llama_feed *f);
/* Copies the next n rows to out [n][t+1]. */
void hd_llama_feed_take(hd_llama_feed *f, int16_t *out, int n);

typedef struct hd_llama_hooks {
    void *arg;
    size_t extra; /* parameters of the hooks, after the model's own */
    /* Writes the model's parameters from the trained ones; NULL: they are the same. */
    void (*place)(void *arg, const float *weight);
    /* Turns the gradient of the model's parameters into that of the trained ones, in place; NULL: they are the same. */
    void (*gradient)(void *arg, const float *weight, float *gradient);
    /* After each step (step counts from 1); may change weights, and places them itself then. NULL = nothing. */
    hd_status (*after)(void *arg, long step, hd_err *err);
} hd_llama_hooks;

typedef struct hd_llama_loop_options {
    long steps;
    int batch, threads;      /* rows a step; 0 = all cores */
    float rate, weight_decay; /* peak rate; decay of the matrices and tables, per unit of rate */
    hd_llama_objective objective;
    const char *label;       /* of the progress line; NULL = none */
} hd_llama_loop_options;

typedef struct hd_llama_loop {
    hd_llama *m; /* lent */
    hd_llama_feed *feed; /* lent */
    hd_llama_loop_options o;
    hd_llama_hooks hooks;
    hd_llama_params params;
    hd_llama_tape *tape;
    size_t total;                             /* params.total + hooks.extra */
    float *gradient, *weight, *mean, *square; /* [total] */
    float *pace, *decay;                      /* [total] share of the rate (1; 0 = fixed) and of the weight decay (1 for matrices and tables) */
    int16_t *rows;                            /* [batch][t+1] */
    long step;
} hd_llama_loop;

/* Starts from m's parameters; extra ones are 0, to be set by the caller. Free also after a failure. */
hd_status hd_llama_loop_new(hd_llama_loop *l, hd_llama *m, hd_llama_feed *feed, const hd_llama_loop_options *o, const hd_llama_hooks *hooks, hd_err *err);
void hd_llama_loop_free(hd_llama_loop *l);
/* Writes the trained parameters to the model (after they were changed by hand). */
void hd_llama_loop_place(hd_llama_loop *l);
/* All steps, with hd_loop_rate's rise and fall; *loss is the mean over the last tenth of them. HD_INTERRUPTED leaves the weights reached so far;
 * HD_RANGE: the loss is no number. */
hd_status hd_llama_loop_run(hd_llama_loop *l, double *loss, hd_err *err);
#endif
