/* AWQ (Lin et al. 2023, arXiv 2306.00978): before rounding, input channel j of the weights is multiplied by s_j = x_j^alpha, which makes
 * the weights of strong inputs relatively finer; the layer's input is divided by s_j. x_j is the root mean square of input j (the
 * paper's mean magnitude needs the samples; H has their squares). alpha from 20 points in [0, 1) by the exact output error, then a clip
 * search for each group. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "linear_internal.h"

enum { CLIPS = 10 };

typedef struct awq {
    hd_solver *s;
    double *in_scale, *scaled, *weight; /* [in], [out][in] t * in_scale, [in] */
    double *error;                      /* [out] */
} awq;

/* d h d^T over columns from..to of both sides, d = q - t. */
static double part_error(const hd_solver *s, const double *t, const double *q, size_t from, size_t to) {
    double total = 0;
    for (size_t i = from; i < to; i++) {
        double sum = 0;
        for (size_t j = from; j < to; j++) sum += s->h[i * s->in + j] * (q[j] - t[j]);
        total += sum * (q[i] - t[i]);
    }
    return total;
}

/* q (in the original input scale) of a row from its integers. */
static void decode(const awq *x, size_t row, size_t from, size_t to) {
    const hd_solver *s = x->s;
    for (size_t j = from; j < to; j++) s->q[row * s->in + j] = s->n[row * s->in + j] * s->a[row * s->groups + j / s->group] / x->in_scale[j];
}

/* Rounds every row at the present in_scale; returns the error of the layer's output. */
static double round_all(awq *x) {
    const hd_solver *s = x->s;
    size_t in = s->in;
    double total = 0;
    for (size_t j = 0; j < in; j++) x->weight[j] = s->h[j * in + j] / (x->in_scale[j] * x->in_scale[j]);
#pragma omp parallel for schedule(dynamic)
    for (size_t row = 0; row < s->out; row++) {
        double *t = x->scaled + row * in;
        for (size_t j = 0; j < in; j++) t[j] = s->t[row * in + j] * x->in_scale[j];
        hd_linear_row_scales(s, row, t, x->weight, NULL, s->a + row * s->groups, s->n + row * in);
        decode(x, row, 0, in);
        x->error[row] = part_error(s, s->t + row * in, s->q + row * in, 0, in);
    }
    for (size_t row = 0; row < s->out; row++) total += x->error[row];
    return total;
}

static void scales_of(awq *x, double alpha) {
    size_t in = x->s->in;
    double low = INFINITY, high = 0;
    for (size_t j = 0; j < in; j++) {
        double rms = sqrt(x->s->h[j * in + j] / 2);
        x->in_scale[j] = pow(fmax(rms, 1e-8), alpha);
        low = fmin(low, x->in_scale[j]);
        high = fmax(high, x->in_scale[j]);
    }
    for (size_t j = 0; j < in; j++) x->in_scale[j] = (double)(float)hd_half(x->in_scale[j] / sqrt(low * high));
    for (size_t j = 0; j < in; j++)
        if (!(x->in_scale[j] > 0)) x->in_scale[j] = 0x1p-24;
}

static int16_t integer(const hd_solver *s, size_t row, size_t j, double x) {
    hd_lattice grid = hd_lattice_of(s, s->zero ? s->zero + row * s->groups : NULL, j / s->group);
    return (int16_t)hd_lattice_nearest(&grid, x);
}

/* A smaller largest value for each group, where the group's own output error falls. Shared scales (shifts) move for the whole row. */
static void clip_row(const awq *x, size_t row, int16_t *n) {
    const hd_solver *s = x->s;
    size_t in = s->in, width = s->shifts > 1 ? in : s->group;
    const double *t = s->t + row * in;
    double *q = s->q + row * in, *a = s->a + row * s->groups, *scaled = x->scaled + row * in;
    for (size_t from = 0; from < in; from += width) {
        size_t to = from + width < in ? from + width : in, first = from / s->group, last = (to - 1) / s->group;
        double best = part_error(s, t, q, from, to), start = a[first], kept = 1;
        for (int k = 1; k <= CLIPS; k++) {
            double scale = hd_linear_scale_store(s, start * (1.0 - 0.05 * k)), factor = scale / start, least = s->f->scale_least ? (double)s->f->scale_least[row] : 0;
            if (!(scale > least)) break;
            memcpy(n, s->n + row * in, in * sizeof *n);
            for (size_t g = first; g <= last; g++) a[g] *= factor / kept;
            for (size_t j = from; j < to; j++) s->n[row * in + j] = integer(s, row, j, scaled[j] / a[j / s->group]);
            decode(x, row, from, to);
            double e = part_error(s, t, q, from, to);
            if (e < best) {
                best = e;
                kept = factor;
                continue;
            }
            for (size_t g = first; g <= last; g++) a[g] *= kept / factor;
            memcpy(s->n + row * in, n, in * sizeof *n);
            decode(x, row, from, to);
        }
    }
}

hd_status hd_solve_awq(hd_solver *s) {
    size_t in = s->in;
    awq x = {.s = s, .in_scale = malloc(in * sizeof(double)), .scaled = malloc(s->out * in * sizeof(double)), .weight = malloc(in * sizeof(double)),
             .error = malloc(s->out * sizeof(double))};
    s->in_scale = malloc(in * sizeof *s->in_scale);
    int failed = !x.in_scale || !x.scaled || !x.weight || !x.error || !s->in_scale;
    if (!failed) {
        double least = INFINITY, alpha = 0;
        for (int k = 0, points = s->o->awq_points; k < points; k++) {
            scales_of(&x, (double)k / points);
            double e = round_all(&x);
            if (!(e < least)) continue;
            least = e;
            alpha = (double)k / points;
        }
        scales_of(&x, alpha);
        round_all(&x);
#pragma omp parallel
        {
            int16_t *n = malloc(in * sizeof *n);
            if (!n)
#pragma omp atomic write
                failed = 1;
#pragma omp for schedule(dynamic)
            for (size_t row = 0; row < s->out; row++)
                if (n) clip_row(&x, row, n);
            free(n);
        }
        for (size_t j = 0; j < in; j++) s->in_scale[j] = (float)x.in_scale[j];
    }
    if (s->o->awq_points == 1) { /* all are 1: there is nothing to store */
        free(s->in_scale);
        s->in_scale = NULL;
    }
    free(x.in_scale);
    free(x.scaled);
    free(x.weight);
    free(x.error);
    return failed ? hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name) : HD_OK;
}
