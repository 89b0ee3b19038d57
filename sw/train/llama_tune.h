/* Training of a language model in the formats it will be stored in: matrices on their grids with learned step sizes (qat.h), masks of
 * blocks or of single weights (masks.h), and the float model as the teacher, on given text and on text that it writes itself (data-free
 * distillation: Liu et al. 2023). Deterministic, whatever the number of threads. */
#ifndef HD_LLAMA_TUNE_H
#define HD_LLAMA_TUNE_H
#include "../../compiler/compress/lm.h"
#include "tune.h"

typedef struct hd_llama_tune_options {
    long steps;
    int batch;                /* rows a step */
    float rate;               /* peak learning rate of Adam; 0 = hd_llama_tune_rate */
    float step_pace;          /* rate of the logarithms of the step sizes against that of the weights */
    hd_masks masks;
    hd_score score;           /* what a block is worth when masks are chosen */
    int global;               /* GRADUAL, FEEDBACK: one budget of blocks for the whole model */
    float settled;            /* the last share of the steps, in which masks rest */
    const hd_llama *teacher;  /* same vocabulary; NULL = the source itself */
    float share, temperature; /* of the teacher's part of the loss */
    int written;              /* rows that the source writes itself before training; 0 = none */
    float written_share;      /* of a step's rows */
    int norms;                /* 1: norms train too (they stay float and uncounted); embedding and classifier never do */
    uint64_t seed;
    int threads;              /* 0 = all cores */
    const char *label;        /* of the progress line; NULL = none */
} hd_llama_tune_options;

/* Masks gradual, by one budget and estimated loss, half of the steps settled, the source as the only teacher. */
void hd_llama_tune_defaults(hd_llama_tune_options *o);
/* A learning rate for what compression did to the model: 0.01; 0.001 where it kept all weights and 4 bits or more. */
float hd_llama_tune_rate(const hd_lm *start);
/* start: what compression made of `source` (integers with a scale a row, float16 values under a mask). Its formats, scales and masks are where
 * training begins; shifts, formats and the number of present weights stay. tokens: n rows of t+1, `stride` apart (n may be 0 when rows are
 * written). *loss: mean over the last tenth of the steps. HD_UNSUPPORTED: codebooks, a scale a group; masks that change in N-of-M formats.
 * HD_MISMATCH, HD_RANGE, HD_NOMEM; HD_INTERRUPTED makes nothing. */
hd_status hd_llama_tune(hd_lm **out, const hd_lm *start, const hd_llama *source, const int16_t *tokens, int stride, int n, int t,
                        const hd_llama_tune_options *o, double *loss, hd_err *err);
#endif
