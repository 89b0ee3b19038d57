/* Training of Llama-shape language models (compiler/graph/llama.h): gradients of the whole model, and Adam over rows of tokens.
 *
 * hd_llama_gradient is the one place that differentiates the model; what is trained on top (float weights, weights on grids, codebook entries) turns
 * the gradient of the weights that the model ran with into that of its own parameters. Deterministic, whatever the number of threads: a
 * mini-batch is cut into sequences, each with a gradient of its own, added up in their order. Memory: a gradient a sequence, and per thread the
 * activations of one sequence: layers * t * (8 dim + 3 hidden + heads t / 2) floats, about. */
#ifndef HD_LLAMA_TRAIN_H
#define HD_LLAMA_TRAIN_H
#include "../../compiler/graph/llama.h"

/* Where each parameter lies in one flat vector: embedding, then layer after layer norm_attention, norm_ffn and the matrices in enum order, norm_final,
 * classifier (absent when tied). */
typedef struct hd_llama_params {
    size_t total, embedding, norm_final, classifier; /* classifier == embedding when tied */
    size_t *norm_attention, *norm_ffn;               /* [layers] */
    size_t (*matrix)[HD_LLAMA_MATRICES];             /* [layers] */
} hd_llama_params;
hd_status hd_llama_params_new(hd_llama_params *p, const hd_llama *m, hd_err *err);
void hd_llama_params_free(hd_llama_params *p);
/* Copies between a model and a flat vector. */
void hd_llama_params_read(const hd_llama_params *p, const hd_llama *m, float *flat);
void hd_llama_params_write(const hd_llama_params *p, hd_llama *m, const float *flat);

/* What the loss of a token is: share * T^2 KL(teacher_T || student_T) + (1 - share) * cross-entropy with the next token (Hinton, Vinyals and
 * Dean 2015). */
typedef struct hd_llama_objective {
    const hd_llama *teacher; /* same vocabulary, any other sizes; NULL, and no logits: share counts as 0 */
    float share, temperature;
    const float *logits;     /* instead of running the teacher: [n][t][vocab], or NULL */
} hd_llama_objective;

/* Buffers for n sequences of t tokens at a time; threads 0 = all. */
typedef struct hd_llama_tape hd_llama_tape;
hd_status hd_llama_tape_new(hd_llama_tape **out, const hd_llama *m, int n, int t, int threads, hd_err *err);
void hd_llama_tape_free(hd_llama_tape *tape);
/* rows: n rows of t+1 tokens, `stride` apart. gradient [params.total] (written, of the mean loss per token; NULL = loss only) and the
 * mean loss. m has the sizes the tape was made for; its weights may change between calls. o NULL: cross-entropy alone. HD_RANGE, HD_MISMATCH, HD_NOMEM. */
hd_status hd_llama_gradient(hd_llama_tape *tape, const hd_llama *m, const hd_llama_params *p, const int16_t *rows, int stride, int n,
                            const hd_llama_objective *o, float *gradient, double *loss, hd_err *err);

/* Text that a model writes itself: n rows of t+1 tokens (stride t+1), each starting with BOS, drawn at `temperature`, row i from seed and i alone, so the
 * rows do not depend on the number of threads. A row goes on with a new BOS after EOS or BOS was drawn. */
hd_status hd_llama_write(const hd_llama *m, int16_t *rows, int n, int t, double temperature, uint64_t seed, hd_err *err);

/* Training of all float parameters, from scratch after hd_llama_start or from what m holds: the models that compression starts from, and students
 * of a smaller shape. */
typedef struct hd_llama_train_options {
    long steps;
    int batch;                         /* rows a step */
    float rate, weight_decay;          /* peak rate of Adam; decay of matrices and tables per unit of rate */
    hd_llama_objective objective;
    int written;                       /* rows that the objective's teacher writes itself before training; 0 = none */
    float written_share;               /* of a step's rows */
    uint64_t seed;
    int threads;                       /* 0 = all cores */
    const char *label;                 /* of the progress line; NULL = none */
} hd_llama_train_options;
void hd_llama_train_defaults(hd_llama_train_options *o);
/* Norms 1, all else normal: tables with deviation 0.02 (Touvron et al. 2023's code), matrices with 1 / sqrt(inputs), those that add to the stream divided by
 * sqrt(2 layers). */
void hd_llama_start(hd_llama *m, uint64_t seed);
/* m in place. rows: n rows of t+1, `stride` apart; *loss: mean over the last tenth of the steps. HD_RANGE, HD_MISMATCH, HD_NOMEM; HD_INTERRUPTED leaves the
 * weights reached so far in m. */
hd_status hd_llama_train(hd_llama *m, const int16_t *rows, int stride, int n, int t, const hd_llama_train_options *o, double *loss, hd_err *err);
#endif
