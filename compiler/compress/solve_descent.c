/* Descent on the exact objective of a row, (q - t) h (q - t)^T, in the space of what is stored. GPTQ fixes each weight once, knowing only
 * the columns before it; here every weight is looked at again with all the others in place, and scales are fitted to the integers. Every
 * move is kept only if it lowers the objective. */
#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "linear_internal.h"

enum { MOST_PAIRS_IN = 1024 };

double hd_row_refresh(const hd_row *r) {
    size_t in = r->s->in;
    double now = 0;
    memset(r->g, 0, in * sizeof *r->g);
    for (size_t j = 0; j < in; j++) {
        double d = r->q[j] - r->t[j];
        if (d != 0) cblas_daxpy((int)in, d, r->s->h + j * in, 1, r->g, 1);
    }
    for (size_t j = 0; j < in; j++) now += (r->q[j] - r->t[j]) * r->g[j];
    return now;
}

/* Moves weight j by delta; returns the change of the objective. */
static double move(const hd_row *r, size_t j, double delta) {
    size_t in = r->s->in;
    const double *h = r->s->h + j * in;
    double change = delta * (2 * r->g[j] + delta * h[j]);
    r->q[j] += delta;
    cblas_daxpy((int)in, delta, h, 1, r->g, 1);
    return change;
}

/* Puts weight j on its best integer given all others. */
static double settle(const hd_row *r, size_t j) {
    if (r->mask && !r->mask[j]) return 0;
    double a = r->a[j / r->s->group], best = r->q[j] - r->g[j] / r->s->h[j * r->s->in + j];
    hd_lattice grid = hd_lattice_of(r->s, r->zero, j / r->s->group);
    int n = hd_lattice_nearest(&grid, best / a);
    double to = a * n;
    if (n == r->n[j] && to == r->q[j]) return 0;
    r->n[j] = (int16_t)n;
    return move(r, j, to - r->q[j]);
}

double hd_row_sweep(const hd_row *r, double now, int sweeps) {
    for (int k = 0; k < sweeps; k++) {
        double before = now;
        for (size_t j = 0; j < r->s->in; j++) now += settle(r, j);
        if (!(before - now > 1e-12 * before)) break;
    }
    return now;
}

/* ---- pairs: where two neighbouring moves only help together ---- */

/* The best move of weight j to the next integer up or down. */
static int step_of(const hd_row *r, size_t j, int up, double *delta) {
    int n = r->n[j] + (up ? 2 : -2);
    hd_lattice grid = hd_lattice_of(r->s, r->zero, j / r->s->group);
    if ((r->mask && !r->mask[j]) || n < grid.lowest || n > grid.highest) return 0;
    *delta = (up ? 2.0 : -2.0) * r->a[j / r->s->group];
    return 1;
}

static double pairs(const hd_row *r, double now) {
    size_t in = r->s->in;
    for (size_t i = 0; i < in; i++)
        for (int up = 0; up < 2; up++) {
            double di, dj = 0, best = -1e-12 * now, with = 0;
            if (!step_of(r, i, up, &di)) continue;
            const double *h = r->s->h + i * in;
            double own = di * (2 * r->g[i] + di * h[i]);
            size_t partner = in;
            for (size_t j = 0; j < in; j++)
                for (int way = 0; way < 2; way++) {
                    if (j == i || !step_of(r, j, way, &dj)) continue;
                    double change = own + dj * (2 * (r->g[j] + di * h[j]) + dj * r->s->h[j * in + j]);
                    if (change < best) {
                        best = change;
                        partner = j;
                        with = dj;
                    }
                }
            if (partner == in) continue;
            r->n[i] = (int16_t)(r->n[i] + (up ? 2 : -2));
            r->n[partner] = (int16_t)(r->n[partner] + (with > 0 ? 2 : -2));
            now += move(r, i, di);
            now += move(r, partner, with);
            up = -1; /* look at i again */
        }
    return now;
}

/* ---- scales ---- */

typedef struct saved {
    double *q, *g, *a;
    int16_t *n;
} saved;

static void keep(const hd_row *r, const saved *s) {
    size_t in = r->s->in;
    memcpy(s->q, r->q, in * sizeof *s->q);
    memcpy(s->g, r->g, in * sizeof *s->g);
    memcpy(s->n, r->n, in * sizeof *s->n);
    memcpy(s->a, r->a, r->s->groups * sizeof *s->a);
}

static void undo(const hd_row *r, const saved *s) {
    size_t in = r->s->in;
    memcpy(r->q, s->q, in * sizeof *s->q);
    memcpy(r->g, s->g, in * sizeof *s->g);
    memcpy(r->n, s->n, in * sizeof *s->n);
    memcpy(r->a, s->a, r->s->groups * sizeof *s->a);
}

/* Gives group k the scale a, its integers found again one after the other. */
static double rescale(const hd_row *r, size_t k, double a) {
    size_t from = k * r->s->group, to = from + r->s->group < r->s->in ? from + r->s->group : r->s->in;
    double change = 0;
    r->a[k] = a;
    for (int pass = 0; pass < 2; pass++)
        for (size_t j = from; j < to; j++) change += settle(r, j);
    return change;
}

static double try_scales(const hd_row *r, double now, const saved *s) {
    static const double NEAR[] = {0.84, 0.92, 0.96, 1.04, 1.08, 1.16};
    static const double POWERS[] = {0.5, 2.0};
    int by_shift = r->s->shifts > 1;
    for (size_t k = 0; k < r->s->groups; k++)
        for (size_t c = 0; c < (by_shift ? sizeof POWERS : sizeof NEAR) / sizeof(double); c++) {
            double a = by_shift ? r->a[k] * POWERS[c] : hd_linear_scale_store(r->s, r->a[k] * NEAR[c]);
            double low = a, high = a;
            for (size_t i = 0; by_shift && i < r->s->groups; i++) {
                double b = i == k ? a : r->a[i];
                low = fmin(low, b);
                high = fmax(high, b);
            }
            if (a < r->least || high > 8 * low) continue;
            keep(r, s);
            double then = now + rescale(r, k, a);
            if (then < now) now = then;
            else undo(r, s);
        }
    for (size_t c = 0; by_shift && c < sizeof NEAR / sizeof *NEAR; c++) {
        double first = hd_linear_scale_store(r->s, r->a[0] * NEAR[c]), factor = first / r->a[0];
        keep(r, s);
        double then = now;
        int legal = 1;
        for (size_t k = 0; k < r->s->groups; k++) {
            double a = s->a[k] * factor;
            legal &= a >= r->least;
            then += rescale(r, k, a);
        }
        if (legal && then < now) now = then;
        else undo(r, s);
    }
    return now;
}

/* Least squares for the scales, the integers as they are: (n_g h n_k) x = n_g h t. With shifts one scale is free. */
static int fit(const hd_row *r, double *x) {
    size_t in = r->s->in, free_scales = r->s->shifts > 1 ? 1 : r->s->groups, width = r->s->shifts > 1 ? in : r->s->group;
    double *a = calloc(free_scales * free_scales + in, sizeof *a), *hn = a ? a + free_scales * free_scales : NULL;
    if (!a) return 0;
    for (size_t k = 0; k < free_scales; k++) {
        size_t from = k * width, to = from + width < in ? from + width : in;
        memset(hn, 0, in * sizeof *hn);
        for (size_t j = from; j < to; j++)
            if (r->q[j] != 0) cblas_daxpy((int)in, r->q[j], r->s->h + j * in, 1, hn, 1);
        x[k] = 0;
        for (size_t j = 0; j < in; j++) {
            a[k * free_scales + j / width] += hn[j] * r->q[j];
            x[k] += hn[j] * r->t[j];
        }
    }
    /* A group of zeros has nothing to scale. */
    for (size_t k = 0; k < free_scales; k++)
        if (!(a[k * free_scales + k] > 0)) a[k * free_scales + k] = x[k] = 1;
    int order = (int)free_scales;
    int ok = LAPACKE_dposv(LAPACK_COL_MAJOR, 'L', order, 1, a, order, x, order) == 0;
    free(a);
    return ok;
}

static double refit(const hd_row *r, double now, const saved *s, double *x) {
    if (!fit(r, x)) return now;
    keep(r, s);
    int one = r->s->shifts > 1;
    double base = r->a[0];
    for (size_t k = 1; k < r->s->groups; k++) base = fmin(base, r->a[k]);
    double common = one ? hd_linear_scale_store(r->s, base * x[0]) / base : 1;
    for (size_t k = 0; k < r->s->groups; k++) {
        double a = one ? r->a[k] * common : hd_linear_scale_store(r->s, r->a[k] * x[k]);
        if (a >= r->least) r->a[k] = a;
        else if (one) {
            undo(r, s);
            return now;
        }
    }
    for (size_t j = 0; j < r->s->in; j++) r->q[j] = r->n[j] * r->a[j / r->s->group];
    double then = hd_row_refresh(r);
    if (then < now) return then;
    undo(r, s);
    return now;
}

double hd_row_descend(const hd_row *r, double now, int rounds) {
    size_t in = r->s->in, groups = r->s->groups;
    double *memory = malloc((2 * in + 2 * groups) * sizeof *memory);
    saved s = {.n = malloc(in * sizeof *s.n)};
    if (memory && s.n) {
        s.q = memory;
        s.g = memory + in;
        s.a = memory + 2 * in;
        for (int k = 0; k < rounds; k++) {
            double before = now;
            now = hd_row_sweep(r, now, 8);
            if (!(r->s->fixed > 0)) {
                now = refit(r, now, &s, memory + 2 * in + groups);
                now = try_scales(r, now, &s);
            }
            /* One round only ranks starts; there pairs are left out sooner. */
            if (in <= (rounds > 1 ? MOST_PAIRS_IN : MOST_PAIRS_IN / 4)) now = pairs(r, now);
            if (!(before - now > 1e-4 * before)) break;
        }
    }
    free(memory);
    free(s.n);
    return now;
}
