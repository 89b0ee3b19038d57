/* Low-rank and tensor factorisations of a convolution kernel W [out][in][kh][kw] (a fully connected layer has kh = kw = 1): a chain of smaller
 * convolutions, without anything between them, whose composition W' is near W.
 *
 *     SVD     kh x kw to r channels, 1x1
 *     TUCKER  1x1, kh x kw, 1x1                               (Tucker-2: channels are factored, taps are not; Kim et al. 2016)
 *     CP      1x1, kh x 1 depthwise, 1 x kw depthwise, 1x1    (Lebedev et al. 2015)
 *     TRAIN   1x1, kh x 1, 1 x kw, 1x1                        (tensor train, Oseledets 2011; Garipov et al. 2016)
 *
 * A kernel of one tap is a matrix: all four are its SVD then. Where only one of kh, kw is 1, CP and TRAIN leave that link out.
 *
 * Near is in the metric of the layer's inputs: E(W') = tr((W' - W) H (W' - W)^T), H the second moment of the windows in the order [in][kh][kw].
 * SVD is exact in it: with H = L L^T, the truncated SVD of W L, times L^-1 (as in SVD-LLM, Wang et al. 2024). The others start from
 * the channels' part of H (its blocks averaged over taps) and are refined in the whole metric, link after link. Formulas: docs/compression.md.
 *
 * All in double; results do not depend on the number of threads. HD_NOMEM without memory; HD_RANGE for ranks that do not fit, values that are not finite
 * or an H that is not positive definite. */
#ifndef HD_FACTOR_H
#define HD_FACTOR_H
#include <stddef.h>

#include "recipe.h"

enum { HD_CHAIN_MOST = 4 };

/* One convolution of a chain. */
typedef struct hd_link {
    int cin, cout, groups; /* 1, or cin = cout (depthwise) */
    int kh, kw;
    int along_y, along_x;  /* 1 in one link of the chain: the layer's stride, padding and dilation along this axis are this link's */
    double *w;             /* [cout][cin/groups][kh][kw] */
} hd_link;

typedef struct hd_chain {
    int n;
    hd_link link[HD_CHAIN_MOST]; /* in the order of execution */
} hd_chain;

typedef struct hd_kernel {
    const char *name;
    int out, in, kh, kw;
    const double *w; /* [out][in][kh][kw], lent */
    const double *h; /* [in*kh*kw][in*kh*kw], positive definite, lent; NULL = identity */
} hd_kernel;

/* The chain whose weights are at most the share `share` (above 0) of the kernel's (but rank 1 at least), with ranks chosen among those that fit, refined
 * and balanced. Owned; hd_chain_free. */
hd_status hd_factor_share(hd_chain *out, const hd_kernel *k, hd_factoring kind, double share, hd_err *err);

/* With ranks that are given, 1 and more; not refined, not balanced. SVD: rank[0]. TUCKER: input, output channels. CP: rank[0]. TRAIN: after in, after
 * kh, after kw (the entry of a link that is left out is not used). Ranks above what the kernel has are lowered to it, but CP's. */
hd_status hd_factor_ranks(hd_chain *out, const hd_kernel *k, hd_factoring kind, const int rank[3], hd_err *err);
/* Lowers E link by link, each by conjugate gradients on its exact quadratic; never raises it. */
hd_status hd_chain_refine(hd_chain *c, const hd_kernel *k, int rounds, hd_err *err);
/* The same composition, but each channel between two links has the same second moment: one scale of activations then serves all of them alike. */
hd_status hd_chain_balance(hd_chain *c, const hd_kernel *k, hd_err *err);
void hd_chain_free(hd_chain *c);

size_t hd_chain_weights(const hd_chain *c);
/* The composition [out][in][kh][kw], kh and kw those of the whole; 0 without memory. */
int hd_chain_kernel(double *w, const hd_chain *c);
/* E(w); w NULL = zeros. Negative without memory. */
double hd_kernel_error(const hd_kernel *k, const double *w);
#endif
