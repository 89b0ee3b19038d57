/* Matrices: truncated SVD in the metric of the inputs. Kernels: Tucker-2, that is low rank in both channel modes. */
#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "factor_internal.h"

enum { HOOI_ROUNDS = 20 };

/* W L = U S V^T; the r largest: up = U_r, down = S_r V_r^T L^-1. By Eckart and Young no matrix of rank r is nearer to W in the metric H = L L^T,
 * and the error is the sum of the squares of the singular values left out. */
hd_status hd_factor_svd(hd_chain *out, const hd_kernel *k, int rank, hd_err *err) {
    int m = k->out, n = (int)hd_kernel_inputs(k), most = m < n ? m : n;
    if (rank > most) rank = most;
    size_t rows = (size_t)m, columns = (size_t)n, values = (size_t)most;
    double *a = malloc((rows * columns + rows * values + values + values * columns) * sizeof *a), *l = k->h ? malloc(columns * columns * sizeof *l) : NULL;
    hd_status s = a && (l || !k->h) && hd_chain_add(out, k->in, rank, 1, k->kh, k->kw, 1, 1) && hd_chain_add(out, rank, m, 1, 1, 1, 0, 0)
                      ? HD_OK
                      : hd_fail(err, HD_NOMEM, "layer '%s': out of memory", k->name);
    if (!s && k->h) s = hd_factor_root(l, k->h, n, k->name, err);
    if (!s) {
        double *u = a + rows * columns, *sv = u + rows * values, *vt = sv + values;
        memcpy(a, k->w, rows * columns * sizeof *a);
        if (k->h) hd_root_multiply(a, l, m, n);
        if (hd_svd(a, m, n, u, sv, vt)) s = hd_fail(err, HD_RANGE, "layer '%s': its singular values were not found", k->name);
        for (size_t r = 0; r < (size_t)rank; r++) {
            for (size_t i = 0; i < columns; i++) out->link[0].w[r * columns + i] = sv[r] * vt[r * columns + i];
            for (size_t i = 0; i < rows; i++) out->link[1].w[i * (size_t)rank + r] = u[i * values + r];
        }
        if (!s && k->h) hd_root_divide(out->link[0].w, l, rank, n);
    }
    free(a);
    free(l);
    return s;
}

/* The r leading left singular vectors, as rows: to [r][m]. a [m][n] is destroyed. */
static int leading(double *to, double *a, int m, int n, int r) {
    int most = m < n ? m : n;
    double *u = malloc(((size_t)m + (size_t)n + 1) * (size_t)most * sizeof *u);
    if (!u) return -1;
    double *s = u + (size_t)m * (size_t)most, *vt = s + most;
    int bad = hd_svd(a, m, n, u, s, vt);
    for (int j = 0; j < r; j++)
        for (int i = 0; i < m; i++) to[(size_t)j * (size_t)m + (size_t)i] = j < most ? u[(size_t)i * (size_t)most + (size_t)j] : 0;
    free(u);
    return bad;
}

/* The kernel as sizes [a][b][taps], and the two products a Tucker-2 needs of it. */
typedef struct cube {
    int out, in, taps;
    const double *w;
} cube;

/* to [in][rank][taps] = sum over out of p [rank][out] w: the kernel seen from the inputs, outputs projected. */
static void project_out(double *to, const cube *c, const double *p, int rank, double *scratch) {
    int slice = c->in * c->taps;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rank, slice, c->out, 1.0, p, c->out, c->w, slice, 0.0, scratch, slice);
    for (size_t r = 0; r < (size_t)rank; r++)
        for (size_t i = 0; i < (size_t)c->in; i++)
            memcpy(to + (i * (size_t)rank + r) * (size_t)c->taps, scratch + (r * (size_t)c->in + i) * (size_t)c->taps, (size_t)c->taps * sizeof *to);
}

/* to [out][rank][taps] = sum over in of q [rank][in] w */
static void project_in(double *to, const cube *c, const double *q, int rank) {
    for (size_t oc = 0; oc < (size_t)c->out; oc++)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rank, c->taps, c->in, 1.0, q, c->in, c->w + oc * (size_t)(c->in * c->taps), c->taps, 0.0,
                    to + oc * (size_t)(rank * c->taps), c->taps);
}

/* W ~ up core down. HOSVD: the leading singular vectors of both unfoldings. Then in turns each mode's, of the kernel projected on the other's (HOOI,
 * De Lathauwer et al. 2000), which never raises the error. The core is the kernel projected on both. */
hd_status hd_factor_tucker(hd_chain *out, const hd_kernel *k, const double *w, const double *l, int rank_in, int rank_out, hd_err *err) {
    int taps = (int)hd_kernel_taps(k);
    if (rank_in > k->in) rank_in = k->in;
    if (rank_out > k->out) rank_out = k->out;
    /* One mode cannot have more directions than the other and the taps leave. */
    if (rank_in > rank_out * taps) rank_in = rank_out * taps;
    if (rank_out > rank_in * taps) rank_out = rank_in * taps;
    size_t n = (size_t)k->out * hd_kernel_inputs(k), ins = (size_t)rank_in, outs = (size_t)rank_out;
    cube c = {k->out, k->in, taps, w};
    double *a = malloc((2 * n + outs * (size_t)k->out) * sizeof *a);
    if (!a || !hd_chain_add(out, k->in, rank_in, 1, 1, 1, 0, 0) || !hd_chain_add(out, rank_in, rank_out, 1, k->kh, k->kw, 1, 1) ||
        !hd_chain_add(out, rank_out, k->out, 1, 1, 1, 0, 0)) {
        free(a);
        return hd_fail(err, HD_NOMEM, "layer '%s': out of memory", k->name);
    }
    double *b = a + n, *up = b + n, *down = out->link[0].w;
    memcpy(a, w, n * sizeof *a);
    int bad = leading(up, a, k->out, k->in * taps, rank_out);
    for (int round = 0; !bad && round < HOOI_ROUNDS; round++) {
        project_out(a, &c, up, rank_out, b);
        bad = leading(down, a, k->in, rank_out * taps, rank_in);
        project_in(a, &c, down, rank_in);
        if (!bad) bad = leading(up, a, k->out, rank_in * taps, rank_out);
    }
    if (!bad) {
        project_in(a, &c, down, rank_in);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rank_out, rank_in * taps, k->out, 1.0, up, k->out, a, rank_in * taps, 0.0, out->link[1].w,
                    rank_in * taps);
        for (size_t oc = 0; oc < (size_t)k->out; oc++)
            for (size_t r = 0; r < outs; r++) out->link[2].w[oc * outs + r] = up[r * (size_t)k->out + oc];
        hd_root_divide(down, l, (int)ins, k->in);
    }
    free(a);
    return bad ? hd_fail(err, HD_RANGE, "layer '%s': its singular values were not found", k->name) : HD_OK;
}
