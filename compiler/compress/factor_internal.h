/* What the files of the factorisations share. Not for other folders. */
#ifndef HD_FACTOR_INTERNAL_H
#define HD_FACTOR_INTERNAL_H
#include "factor.h"

static inline size_t hd_kernel_taps(const hd_kernel *k) { return (size_t)k->kh * (size_t)k->kw; }
static inline size_t hd_kernel_inputs(const hd_kernel *k) { return (size_t)k->in * hd_kernel_taps(k); }
static inline size_t hd_link_weights(const hd_link *l) { return (size_t)l->cout * (size_t)(l->cin / l->groups) * (size_t)l->kh * (size_t)l->kw; }

/* ---- factor_matrix.c ---- */
/* Thin singular value decomposition a = u diag(s) vt of [m][n], which is destroyed; n_values = min(m, n): u [m][n_values], vt [n_values][n].
 * 0, or not when it fails. u and vt may both be NULL. */
int hd_svd(double *a, int m, int n, double *u, double *s, double *vt);
/* l [n][n] lower with l l^T = h, 0 above the diagonal. */
hd_status hd_factor_root(double *l, const double *h, int n, const char *name, hd_err *err);
/* a [rows][n] times l; times its inverse. */
void hd_root_multiply(double *a, const double *l, int rows, int n);
void hd_root_divide(double *a, const double *l, int rows, int n);
/* The kernel with its input channels in the metric of the channels' part of H: w [out][in][kh][kw], and the root l [in][in] it was multiplied by. */
hd_status hd_kernel_whiten(double *w, double *l, const hd_kernel *k, hd_err *err);
/* tail[r] = sum of the squares of the singular values from r on, r = 0 .. min(m, n). a [m][n] is destroyed; tail [min(m, n) + 1]. */
int hd_svd_tails(double *tail, double *a, int m, int n);

/* ---- factor.c ---- */
/* Room for a link's weights, zeroed; 0 without memory. */
int hd_chain_add(hd_chain *c, int cin, int cout, int groups, int kh, int kw, int along_y, int along_x);
/* out [m][n][ah+bh-1][aw+bw-1] = a [m][k][ah][aw] after b [k][n][bh][bw]. */
typedef struct hd_part {
    int out, in, kh, kw;
    double *w;
} hd_part;
int hd_part_join(hd_part *out, const hd_part *a, const hd_part *b);
/* A link as a dense part. */
int hd_part_of(hd_part *out, const hd_link *l);
/* Links first..last-1 as one part; without links w is NULL, which stands for the identity. */
int hd_part_of_links(hd_part *out, const hd_chain *c, int first, int last);

/* ---- one file each; w, l: the whitened kernel ---- */
hd_status hd_factor_svd(hd_chain *out, const hd_kernel *k, int rank, hd_err *err);
hd_status hd_factor_tucker(hd_chain *out, const hd_kernel *k, const double *w, const double *l, int rank_in, int rank_out, hd_err *err);
hd_status hd_factor_cp(hd_chain *out, const hd_kernel *k, const double *w, const double *l, int rank, hd_err *err);
hd_status hd_factor_train(hd_chain *out, const hd_kernel *k, const double *w, const double *l, const int rank[3], hd_err *err);

/* ---- factor_rank.c ---- */
hd_status hd_factor_choose(int rank[3], const hd_kernel *k, const double *w, hd_factoring kind, double share, hd_err *err);
#endif
