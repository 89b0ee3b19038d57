#include "layer_problem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../sw/core/rng.h"

layer_problem layer_problem_new(int out, int in, uint64_t seed) {
    hd_rng r;
    hd_rng_seed(&r, seed, 77);
    size_t n = (size_t)in, samples = 4 * n + 50, sources = n / 2 + 1;
    layer_problem l = {.samples = (int)samples};
    float *mix = malloc(n * sources * sizeof *mix), *source = malloc(sources * sizeof *source);
    l.w = malloc((size_t)out * n * sizeof *l.w);
    l.x = malloc(samples * n * sizeof *l.x);
    l.h = malloc(n * n * sizeof *l.h);
    for (size_t i = 0; i < (size_t)out * n; i++) l.w[i] = hd_rng_normal(&r) * 0.1f;
    for (size_t i = 0; i < n; i++) {
        float level = hd_rng_below(&r, 8) ? 0.5f + hd_rng_float(&r) : 6.0f;
        for (size_t k = 0; k < sources; k++) mix[i * sources + k] = level * hd_rng_normal(&r) / sqrtf((float)sources);
    }
    for (size_t t = 0; t < samples; t++) {
        for (size_t k = 0; k < sources; k++) source[k] = hd_rng_normal(&r);
        for (size_t i = 0; i < n; i++) {
            float x = 0.2f * hd_rng_normal(&r);
            for (size_t k = 0; k < sources; k++) x += mix[i * sources + k] * source[k];
            l.x[t * n + i] = x;
        }
    }
    free(mix);
    free(source);
    hd_hessian *h = hd_hessian_new(in);
    hd_hessian_add(h, l.x, (int)samples);
    hd_hessian_get(h, l.h);
    hd_hessian_free(h);
    l.p = (hd_linear){.name = "test", .out = out, .in = in, .w = l.w, .h = l.h};
    return l;
}

void layer_problem_free(layer_problem *l) {
    free(l->w);
    free(l->x);
    free(l->h);
}

double layer_error(const float *w, const float *t, const double *h, int out, int in) {
    double total = 0;
    for (int r = 0; r < out; r++)
        for (int i = 0; i < in; i++)
            for (int j = 0; j < in; j++) {
                double di = (double)w[r * in + i] - (t ? (double)t[r * in + i] : 0), dj = (double)w[r * in + j] - (t ? (double)t[r * in + j] : 0);
                total += di * h[i * in + j] * dj;
            }
    return total;
}

hd_linear_result layer_solve(const layer_problem *l, const hd_linear_format *f, const hd_linear_options *o) {
    hd_linear_result r;
    hd_err err = {0};
    if (hd_linear_solve(&r, &l->p, f, o, &err) == HD_OK) return r;
    fprintf(stderr, "%s\n", err.message);
    abort();
}

int layer_dense_solve(double *a, double *b, int n) {
    for (int k = 0; k < n; k++) {
        int best = k;
        for (int i = k + 1; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[best * n + k])) best = i;
        if (fabs(a[best * n + k]) < 1e-300) return 0;
        for (int j = 0; best != k && j < n; j++) {
            double t = a[k * n + j];
            a[k * n + j] = a[best * n + j];
            a[best * n + j] = t;
        }
        double t = b[k];
        b[k] = b[best];
        b[best] = t;
        for (int i = k + 1; i < n; i++) {
            double f = a[i * n + k] / a[k * n + k];
            for (int j = k; j < n; j++) a[i * n + j] -= f * a[k * n + j];
            b[i] -= f * b[k];
        }
    }
    for (int i = n; i-- > 0;) {
        for (int j = i + 1; j < n; j++) b[i] -= a[i * n + j] * b[j];
        b[i] /= a[i * n + i];
    }
    return 1;
}
