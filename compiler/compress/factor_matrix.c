/* Dense matrices for the factorisations: singular values, roots of second moments. */
#include <cblas.h>
#include <lapacke.h>
#include <stdlib.h>
#include <string.h>

#include "factor_internal.h"

int hd_svd(double *a, int m, int n, double *u, double *s, double *vt) {
    int k = m < n ? m : n;
    return LAPACKE_dgesdd(LAPACK_ROW_MAJOR, u ? 'S' : 'N', m, n, a, n, s, u, k, vt, n);
}

int hd_svd_tails(double *tail, double *a, int m, int n) {
    int k = m < n ? m : n;
    double *s = malloc((size_t)k * sizeof *s);
    int bad = s ? hd_svd(a, m, n, NULL, s, NULL) : -1;
    tail[k] = 0;
    for (int i = k; !bad && i-- > 0;) tail[i] = tail[i + 1] + s[i] * s[i];
    free(s);
    return bad;
}

hd_status hd_factor_root(double *l, const double *h, int n, const char *name, hd_err *err) {
    memcpy(l, h, (size_t)n * (size_t)n * sizeof *l);
    int bad = LAPACKE_dpotrf(LAPACK_ROW_MAJOR, 'L', n, l, n);
    if (bad) return hd_fail(err, HD_RANGE, "layer '%s': the second moment of its inputs is not positive definite (column %d); more damping is needed", name, bad);
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) l[(size_t)i * (size_t)n + (size_t)j] = 0;
    return HD_OK;
}

void hd_root_multiply(double *a, const double *l, int rows, int n) {
    cblas_dtrmm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, rows, n, 1.0, l, n, a, n);
}

void hd_root_divide(double *a, const double *l, int rows, int n) {
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, rows, n, 1.0, l, n, a, n);
}

/* mean over taps of H's blocks [in][in] of one tap */
static void channel_moment(double *m, const hd_kernel *k) {
    size_t in = (size_t)k->in, taps = hd_kernel_taps(k), n = in * taps;
    for (size_t i = 0; i < in; i++)
        for (size_t j = 0; j < in; j++) {
            double sum = 0;
            for (size_t t = 0; t < taps; t++) sum += k->h ? k->h[(i * taps + t) * n + j * taps + t] : i == j;
            m[i * in + j] = sum / (double)taps;
        }
}

hd_status hd_kernel_whiten(double *w, double *l, const hd_kernel *k, hd_err *err) {
    size_t in = (size_t)k->in, taps = hd_kernel_taps(k), slice = in * taps;
    double *m = malloc(in * in * sizeof *m), *rows = malloc(slice * sizeof *rows);
    hd_status s = m && rows ? HD_OK : hd_fail(err, HD_NOMEM, "layer '%s': out of memory", k->name);
    if (!s) {
        channel_moment(m, k);
        s = hd_factor_root(l, m, k->in, k->name, err);
    }
    for (size_t oc = 0; !s && oc < (size_t)k->out; oc++) {
        for (size_t i = 0; i < slice; i++) rows[i % taps * in + i / taps] = k->w[oc * slice + i];
        hd_root_multiply(rows, l, (int)taps, k->in);
        for (size_t i = 0; i < slice; i++) w[oc * slice + i] = rows[i % taps * in + i / taps];
    }
    free(m);
    free(rows);
    return s;
}
