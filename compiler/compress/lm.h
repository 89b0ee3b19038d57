/* Compression of a Llama-shape language model, matrix by matrix, in the order of computation.
 *
 * Each matrix is solved with the second moment of its inputs in the model whose earlier matrices are already compressed
 * ("true sequential", Frantar et al. 2022): q, k, v; then o; then w1, w3; then w2, block after block. With correction the float model
 * runs beside it, so that a matrix can be asked for the float model's outputs given the compressed model's inputs, which repairs part of what
 * its predecessors broke (the asymmetric objective of GPTAQ, Li et al. 2025; o and w2 also aim at the float residual stream).
 *
 * Embedding, norms and classifier stay float and outside the count of bits, as in the published protocol. Memory, with correction (half
 * without): activations of one block of two models, 2 * sequences * tokens * (2 dim + max(dim, hidden)) floats, and per matrix 3 in^2 doubles.
 * For a model of 7 billion weights (dim 4096, hidden 11008) on 128 x 2048 tokens: 40 GB. */
#ifndef HD_LM_H
#define HD_LM_H
#include "../graph/llama.h"
#include "codebook.h"
#include "linear.h"

/* What is stored of a matrix that is not written as integers: codes of a shared table, or of E8P. */
typedef struct hd_lm_code {
    int table;            /* of hd_lm.table, or HD_LM_E8P */
    int bits, rotate_out; /* E8P: bits a weight (2, 3, 4), are outputs rotated, seed of the signs */
    uint32_t seed;
    int scale_base, groups;
    uint8_t *scale_code;  /* [out] 0..63: scale = 2^(scale_base + code/8); owned */
    uint16_t *code;       /* [out][groups][books], or of E8P [out][groups][1 for 2 bits, else 2]; owned */
} hd_lm_code;
enum { HD_LM_E8P = -1 };

/* One compressed matrix. */
typedef struct hd_lm_matrix {
    hd_linear_format format;  /* of `linear`; not used when there is a code, nor by methods that set w and bits_stored alone */
    hd_linear_result linear;  /* owned; w is always set. Of a code: v and scale too for tables, only w for E8P */
    hd_lm_code *code;         /* owned; NULL = integers or masked floats of `format`, or parts */
    int rank;                 /* 0, or W = part[1] part[0] + part[2] (lm_lowrank.h); w, bits and errors of `linear` are then those of the whole */
    struct hd_lm_matrix *part; /* NULL, or [3]: [rank][in], [out][rank], [out][in]; the last one is empty (w NULL) without a residual. Owned */
} hd_lm_matrix;

typedef struct hd_lm {
    hd_llama *model;          /* owned: decoded weights in the blocks, the source's everywhere else */
    hd_lm_matrix *matrix;     /* [layers][HD_LLAMA_MATRICES], owned */
    hd_codebook **table;      /* [tables] shared by the matrices with codes of them; owned */
    int tables;
    double shared_bits;       /* of the tables */
    float *reach;             /* owned, or NULL: how far outputs go (lm_integer.h, hd_lm_measure_reach): of the matrices in their order, [out] each, then [vocab] of the classifier */
} hd_lm;

/* Solves one matrix: p is lent, out is zero. May be called for several matrices at a time; the order of calls must not matter.
 * p->yx is set when the options ask for correction. */
typedef hd_status (*hd_lm_solve)(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err);

/* hd_linear_solve with one format and one method for all matrices: arg is an hd_lm_linear. */
typedef struct hd_lm_linear {
    hd_linear_format format;
    hd_linear_options options;
} hd_lm_linear;
hd_status hd_lm_solve_linear(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err);

typedef struct hd_lm_options {
    hd_lm_solve solve;
    void *arg;
    int blockwise;     /* 1: all matrices of a block see what the block's float matrices give (only earlier blocks are compressed) */
    double correct;    /* how much of the predecessors' damage a matrix aims to repair: 0 = none (the paper's GPTQ) to 1 = all */
    const char *label; /* of the progress line; NULL = none */
} hd_lm_options;

/* tokens: rows of t tokens, `stride` apart; n rows to calibrate on. HD_INTERRUPTED when the user stops it. */
hd_status hd_lm_compress(hd_lm **out, const hd_llama *m, const int16_t *tokens, int stride, int n, int t, const hd_lm_options *o, hd_err *err);
void hd_lm_free(hd_lm *c);
/* What a matrix owns. */
void hd_lm_matrix_free(hd_lm_matrix *m);
/* NULL when out of memory. The copy has no `reach`: it is made to be changed. */
hd_lm *hd_lm_clone(const hd_lm *c);
void hd_lm_code_free(hd_lm_code *k);
/* What the codes of a matrix decode to, as a file's reader does: sets w, and for tables v and scale; all are made when NULL. table: hd_lm.table. */
hd_status hd_lm_decode(hd_lm_matrix *m, hd_codebook *const *table, int out, int in, hd_err *err);
/* The file format .hlm (docs/formats.md section 7). Saving: HD_UNSUPPORTED for a matrix that has no integers or mask to store; HD_RANGE for
 * a value that its format cannot hold. Loading gives back bit-equal weights; a saved file loads and saves to the same bytes. */
hd_status hd_lm_save(const hd_lm *c, const char *path, hd_err *err);
hd_status hd_lm_load(hd_lm **out, const char *path, hd_err *err);
/* All stored bits of the block matrices over their dense weights. */
double hd_lm_bits_per_weight(const hd_lm *c);
#endif
