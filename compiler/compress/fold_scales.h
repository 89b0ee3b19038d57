/* Scales that move from a layer's inputs into its weights: the layer's input channel j is divided by s_j where it is made, and the weights that
 * read it are multiplied by s_j. What the layer computes stays; what is lost by rounding its inputs or its weights does not.
 *
 * Each function's scales are positive and normalised, so that a common factor never matters; channels that are nearly dead count as 2^-10 of the
 * strongest, which bounds the scales. Used for networks (pass_fold.c) and language models (lm_fold.c). */
#ifndef HD_FOLD_SCALES_H
#define HD_FOLD_SCALES_H
#include <stddef.h>

#include "linear.h"

/* SmoothQuant (Xiao et al. 2023, arXiv 2211.10438): s_j = x_j^alpha / w_j^(1 - alpha), of the largest magnitudes of input j and of the weights
 * that read it; geometric mean 1. All arrays [n]. */
void hd_fold_smooth(double *s, const double *x, const double *w, size_t n, double alpha);
/* AWQ (Lin et al. 2023, arXiv 2306.00978): s_j = rms_j^alpha, the product of the largest and the smallest 1. */
void hd_fold_awq(double *s, const double *rms, size_t n, double alpha);

/* One layer that reads the scaled inputs: its problem (h set, yx not) and, for each of its columns, the channel it reads. All lent. */
typedef struct hd_fold_problem {
    hd_linear p;
    hd_linear_format format;
    const int *channel; /* [p.in] */
} hd_fold_problem;
/* AWQ with the power of 20 in [0, 1) for which the layers, rounded to their formats, lose least of their outputs: the sum of
 * tr(dW H dW^T) / tr(W H W^T). *power may be NULL. The same for any number of threads. */
hd_status hd_fold_awq_search(double *s, double *power, const double *rms, size_t n, const hd_fold_problem *list, size_t count, hd_err *err);
#endif
