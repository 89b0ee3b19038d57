/* Learned clipping (OmniQuant, Shao et al. 2023, arXiv 2308.13137): each group's range is its largest weight times sigmoid(gamma) (with zero points
 * also its smallest times sigmoid(beta)), weights are rounded to nearest on it, and gamma and beta descend the exact error of the row's output by
 * Adam, rounding passed straight through. The paper descends a block's output on samples; here H has the whole calibration set in it, so
 * each step is on all of it. The objective of rounded weights is full of valleys, so beside the paper's start of 4 there are three of narrower ranges; the
 * best step of all by the exact objective is kept. */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "linear_internal.h"

enum { STARTS = 4, STEPS = 80 };
static const double START[STARTS] = {4, 1.7, 0.8, 0.2}, RATE = 0.06, SMOOTH = 0.9, SMOOTH_SQUARE = 0.99;

/* One row. Ranges of group k: high[k] * sigmoid(p[k]), and low[k] * sigmoid(p[groups + k]) with zero points. With shifts groups keep those that
 * rounding gave them, in `shift`, and the row's scale alone is learned: its range is high[0] * sigmoid(p[0]). */
typedef struct clip {
    hd_row r;
    size_t n;                        /* parameters: groups, or twice as many; 1 with shifts */
    double *high, *low, *p, *slope, *m, *v, *best;
    double *shift;                   /* [groups] 1, 2, 4 or 8; NULL without shifts */
} clip;

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static void ranges(clip *c) {
    const hd_solver *s = c->r.s;
    for (size_t k = 0; k < s->groups; k++) c->high[k] = c->low[k] = 0;
    for (size_t j = 0; j < s->in; j++) {
        size_t k = c->shift ? 0 : j / s->group;
        if (c->r.mask && !c->r.mask[j]) continue;
        c->high[k] = fmax(c->high[k], s->zero ? c->r.t[j] : fabs(c->r.t[j]) / (c->shift ? c->shift[j / s->group] : 1));
        c->low[k] = fmin(c->low[k], c->r.t[j]);
    }
}

/* Scales and zero points of the parameters as they are. */
static void set_scales(const clip *c, uint8_t *zero) {
    const hd_solver *s = c->r.s;
    int reach = s->grid.highest;
    if (c->shift) {
        double base = fmax(hd_linear_scale_store(s, c->high[0] * sigmoid(c->p[0]) / reach), c->r.least);
        for (size_t k = 0; k < s->groups; k++) c->r.a[k] = base * c->shift[k];
        return;
    }
    for (size_t k = 0; k < s->groups; k++) {
        double high = c->high[k] * sigmoid(c->p[k]), low = zero ? c->low[k] * sigmoid(c->p[s->groups + k]) : 0, a = (high - low) / reach;
        if (zero) zero[k] = (uint8_t)(high > low ? fmin(nearbyint(-low / (2 * a)), reach / 2) : 0);
        c->r.a[k] = fmax(hd_linear_scale_store(s, a), c->r.least);
    }
}

static void round_row(const clip *c) {
    const hd_solver *s = c->r.s;
    for (size_t j = 0; j < s->in; j++) {
        size_t k = j / s->group;
        hd_lattice grid = hd_lattice_of(s, c->r.zero, k);
        int n = c->r.mask && !c->r.mask[j] ? 0 : hd_lattice_nearest(&grid, c->r.t[j] / c->r.a[k]);
        c->r.n[j] = (int16_t)n;
        c->r.q[j] = n * c->r.a[k];
    }
}

/* slope = d objective / d parameters; r.g is up to date. What a clipped weight becomes follows the end of the range, the others the size of a step:
 * d(a round(t / a)) / da = n - t / a. */
static void slopes(const clip *c) {
    const hd_solver *s = c->r.s;
    int reach = s->grid.highest;
    memset(c->slope, 0, c->n * sizeof *c->slope);
    for (size_t j = 0; j < s->in; j++) {
        size_t k = j / s->group;
        if (c->r.mask && !c->r.mask[j]) continue;
        hd_lattice grid = hd_lattice_of(s, c->r.zero, k);
        double n = c->r.n[j], x = c->r.t[j] / c->r.a[k], high, low = 0;
        int above = n >= grid.highest && x > n, below = n <= grid.lowest && x < n;
        if (c->r.zero) {
            high = above ? 1 : below ? 0 : (n - x) / reach;
            low = above ? 0 : below ? 1 : -(n - x) / reach;
        } else
            high = (above || below ? n : n - x) / reach;
        c->slope[c->shift ? 0 : k] += 2 * c->r.g[j] * high * (c->shift ? c->shift[k] : 1);
        if (c->r.zero) c->slope[s->groups + k] += 2 * c->r.g[j] * low;
    }
    for (size_t i = 0; i < c->n; i++) {
        double y = sigmoid(c->p[i]), range = i < s->groups ? c->high[i] : c->low[i - s->groups];
        c->slope[i] *= range * y * (1 - y);
    }
}

/* Adam's step. The rate falls to nothing along half a cosine, so that the last steps settle. */
static void adam(const clip *c, int step) {
    double rate = RATE * 0.5 * (1 + cos(3.14159265358979 * step / STEPS));
    for (size_t i = 0; i < c->n; i++) {
        c->m[i] = SMOOTH * c->m[i] + (1 - SMOOTH) * c->slope[i];
        c->v[i] = SMOOTH_SQUARE * c->v[i] + (1 - SMOOTH_SQUARE) * c->slope[i] * c->slope[i];
        double m = c->m[i] / (1 - pow(SMOOTH, step + 1)), v = c->v[i] / (1 - pow(SMOOTH_SQUARE, step + 1));
        if (v > 0) c->p[i] -= rate * m / sqrt(v);
    }
}

static void learn(clip *c, uint8_t *zero) {
    double least = INFINITY;
    ranges(c);
    for (int round = 0; round < STARTS * STEPS; round++) {
        int step = round % STEPS;
        for (size_t i = 0; !step && i < c->n; i++) {
            c->p[i] = START[round / STEPS];
            c->m[i] = c->v[i] = 0;
        }
        set_scales(c, zero);
        round_row(c);
        double now = hd_row_refresh(&c->r);
        if (now < least) {
            least = now;
            memcpy(c->best, c->p, c->n * sizeof *c->p);
        }
        slopes(c);
        adam(c, step);
    }
    memcpy(c->p, c->best, c->n * sizeof *c->p);
    set_scales(c, zero);
    round_row(c);
}

static void shifts_of_rounding(clip *c, size_t row, const double *weight) {
    const hd_solver *s = c->r.s;
    double base = INFINITY;
    hd_linear_row_scales(s, row, c->r.t, weight, c->r.mask, c->r.a, c->r.n);
    for (size_t k = 0; k < s->groups; k++) base = fmin(base, c->r.a[k]);
    for (size_t k = 0; k < s->groups; k++) c->shift[k] = c->r.a[k] / base;
}

hd_status hd_solve_clip(hd_solver *s) {
    size_t in = s->in, groups = s->groups, n = s->zero ? 2 * groups : s->shifts > 1 ? 1 : groups;
    int failed = 0;
#pragma omp parallel
    {
        double *memory = malloc((2 * in + 3 * groups + 5 * n) * sizeof *memory);
        if (!memory)
#pragma omp atomic write
            failed = 1;
#pragma omp for schedule(dynamic)
        for (size_t row = 0; row < s->out; row++) {
            if (!memory) continue;
            uint8_t *zero = s->zero ? s->zero + row * groups : NULL;
            clip c = {.r = {.s = s, .t = s->t + row * in, .mask = s->mask ? s->mask + row * in : NULL, .q = s->q + row * in, .g = memory,
                            .a = s->a + row * groups, .n = s->n + row * in, .zero = zero, .least = hd_linear_least_scale(s, row)}, .n = n};
            c.high = memory + in;
            c.low = c.high + groups;
            c.p = c.low + groups;
            c.slope = c.p + n;
            c.m = c.slope + n;
            c.v = c.m + n;
            c.best = c.v + n;
            double *weight = c.best + n;
            for (size_t j = 0; j < in; j++) weight[j] = s->h[j * in + j];
            c.shift = s->shifts > 1 ? weight + in : NULL;
            if (c.shift) shifts_of_rounding(&c, row, weight);
            learn(&c, zero);
        }
        free(memory);
    }
    return failed ? hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name) : HD_OK;
}
