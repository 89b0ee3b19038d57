#include "fold_scales.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POWERS = 20 };
static const double LEAST = 0x1p-10; /* of the strongest channel */

static double strongest(const double *x, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, x[i]);
    return most > 0 ? most : 1;
}

void hd_fold_smooth(double *s, const double *x, const double *w, size_t n, double alpha) {
    double most_x = strongest(x, n), most_w = strongest(w, n), mean = 0;
    for (size_t i = 0; i < n; i++) {
        s[i] = alpha * log(fmax(x[i] / most_x, LEAST)) - (1 - alpha) * log(fmax(w[i] / most_w, LEAST));
        mean += s[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) s[i] = exp(s[i] - mean);
}

void hd_fold_awq(double *s, const double *rms, size_t n, double alpha) {
    double most = strongest(rms, n), low = INFINITY, high = 0;
    for (size_t i = 0; i < n; i++) {
        s[i] = pow(fmax(rms[i] / most, LEAST), alpha);
        low = fmin(low, s[i]);
        high = fmax(high, s[i]);
    }
    for (size_t i = 0; i < n; i++) s[i] /= sqrt(low * high);
}

/* The layer's relative output error after rounding W s on inputs x / s. */
static hd_status rounded(double *error, const hd_fold_problem *f, const double *s, hd_err *err) {
    size_t in = (size_t)f->p.in, n = (size_t)f->p.out * in;
    float *w = malloc(n * sizeof *w);
    double *h = malloc(in * in * sizeof *h);
    hd_linear p = f->p;
    hd_linear_result r = {0};
    hd_linear_options o;
    hd_linear_defaults(&o, HD_METHOD_RTN);
    hd_status status = w && h ? HD_OK : hd_fail(err, HD_NOMEM, "layer '%s': out of memory", p.name);
    for (size_t i = 0; !status && i < n; i++) w[i] = (float)((double)f->p.w[i] * s[f->channel[i % in]]);
    for (size_t i = 0; !status && i < in * in; i++) h[i] = f->p.h[i] / (s[f->channel[i / in]] * s[f->channel[i % in]]);
    p.w = w;
    p.h = h;
    if (!status) status = hd_linear_solve(&r, &p, &f->format, &o, err);
    *error = !status && r.reference > 0 ? r.error / r.reference : 0;
    hd_linear_result_free(&r);
    free(w);
    free(h);
    return status;
}

hd_status hd_fold_awq_search(double *s, double *power, const double *rms, size_t n, const hd_fold_problem *list, size_t count, hd_err *err) {
    double error[POWERS] = {0};
    hd_status status = HD_OK;
#pragma omp parallel for schedule(dynamic)
    for (int k = 0; k < POWERS; k++) {
        hd_err own = {0};
        double *trial = malloc(n * sizeof *trial), e;
        hd_status mine = trial ? HD_OK : hd_fail(&own, HD_NOMEM, "out of memory");
        if (!mine) hd_fold_awq(trial, rms, n, (double)k / POWERS);
        for (size_t i = 0; !mine && i < count; i++) {
            mine = rounded(&e, &list[i], trial, &own);
            error[k] += e;
        }
        if (mine)
#pragma omp critical(hd_fold_awq_search)
        {
            status = mine;
            if (err) *err = own;
        }
        free(trial);
    }
    if (status) return status;
    int best = 0;
    for (int k = 1; k < POWERS; k++)
        if (error[k] < error[best]) best = k;
    hd_fold_awq(s, rms, n, (double)best / POWERS);
    if (power) *power = (double)best / POWERS;
    return HD_OK;
}
