/* Scales of the layer problem: storage precision, and the search that minimises a weighted squared error. */
#include <math.h>
#include <stdlib.h>

#include "linear_internal.h"

enum { POINTS = 100, POLISH = 6 };

double hd_half(double x) {
    if (!(fabs(x) < 65504.0)) return x > 0 ? 65504.0 : -65504.0;
    int e = 0;
    frexp(x, &e);
    /* 11 bits of mantissa; below 2^-14 the step stays 2^-24 */
    int unit = e - 11 > -24 ? e - 11 : -24;
    return ldexp(nearbyint(ldexp(x, -unit)), unit);
}

double hd_linear_scale_store(const hd_solver *s, double x) { return s->f->wide_scales ? (double)(float)x : hd_half(x); }

/* Weights of one row that share a scale (or, with shifts, whose groups share it up to a power of two). */
typedef struct span {
    const double *t, *weight;
    const uint8_t *mask;
    size_t n, group;
    const hd_lattice *grid;
    int shifts;
} span;

static double span_error(const span *x, size_t from, size_t to, double a) {
    double error = 0, inverse = 1.0 / a;
    for (size_t i = from; i < to; i++) {
        if (x->mask && !x->mask[i]) continue;
        double e = x->t[i] - a * hd_lattice_nearest(x->grid, x->t[i] * inverse);
        error += x->weight[i] * e * e;
    }
    return error;
}

static double error_at(const span *x, double scale, double *a) {
    double total = 0;
    for (size_t from = 0, k = 0; from < x->n; from += x->group, k++) {
        size_t to = from + x->group < x->n ? from + x->group : x->n;
        double best = INFINITY;
        for (int shift = 0; shift < x->shifts; shift++) {
            double e = span_error(x, from, to, ldexp(scale, shift));
            if (e < best) {
                best = e;
                if (a) a[k] = ldexp(scale, shift);
            }
        }
        total += best;
    }
    return total;
}

static void assign(const span *x, const double *a, int16_t *n) {
    for (size_t i = 0; i < x->n; i++)
        n[i] = x->mask && !x->mask[i] ? 0 : (int16_t)hd_lattice_nearest(x->grid, x->t[i] / a[i / x->group]);
}

/* Least-squares scales for the integers and integers for the scale in turns, as long as the error falls. */
static void polish(const hd_solver *s, const span *x, double least, double best, double error, double *a, int16_t *n) {
    error_at(x, best, a);
    assign(x, a, n);
    for (int k = 0; k < POLISH; k++) {
        double tn = 0, nn = 0;
        for (size_t i = 0; i < x->n; i++) {
            double v = n[i] * a[i / x->group] / best;
            tn += x->weight[i] * x->t[i] * v;
            nn += x->weight[i] * v * v;
        }
        double scale = nn > 0 ? hd_linear_scale_store(s, tn / nn) : 0.0, e;
        if (!(scale >= least) || !((e = error_at(x, scale, NULL)) < error)) break;
        error = e;
        best = scale;
        error_at(x, best, a);
        assign(x, a, n);
    }
}

/* A scale and a zero point: the range of the weights (0 in it) shrunk at both ends alike, the zero point of the range and its neighbours. */
static void search_affine(const hd_solver *s, const span *x, double least, double *a, uint8_t *zero, int16_t *n) {
    span on_grid = *x;
    double low = 0, high = 0, error = INFINITY, best = least;
    int top = s->grid.highest / 2;
    for (size_t i = 0; i < x->n; i++) {
        if (x->mask && !x->mask[i]) continue;
        low = fmin(low, x->t[i]);
        high = fmax(high, x->t[i]);
    }
    int middle = high > low ? (int)nearbyint(-low / (high - low) * top) : 0;
    for (int z = middle > 0 ? middle - 1 : 0; z <= middle + 1 && z <= top; z++) {
        hd_lattice grid = {-2 * z, 2 * (top - z), 0};
        on_grid.grid = &grid;
        for (int i = 0; i < POINTS; i++) {
            double scale = hd_linear_scale_store(s, (high - low) / (2 * top) * (1.5 - 1.25 * i / POINTS)), e;
            if (!(scale >= least)) scale = least;
            if (!((e = error_at(&on_grid, scale, NULL)) < error)) continue;
            error = e;
            best = scale;
            *zero = (uint8_t)z;
        }
    }
    hd_lattice grid = {-2 * *zero, 2 * (top - *zero), 0};
    on_grid.grid = &grid;
    polish(s, &on_grid, least, best, error, a, n);
}

static void search(const hd_solver *s, const span *x, double least, double *a, int16_t *n) {
    double largest = 0;
    for (size_t i = 0; i < x->n; i++)
        if ((!x->mask || x->mask[i]) && fabs(x->t[i]) > largest) largest = fabs(x->t[i]);
    int reach = x->grid->highest > -x->grid->lowest ? x->grid->highest : -x->grid->lowest;
    double wide = (double)(1 << (x->shifts - 1)), top = largest / reach / wide;
    if (!(top >= least)) top = least;
    double best = hd_linear_scale_store(s, top * 1.001), error;
    if (!(best >= least)) best = least;
    error = error_at(x, best, NULL);
    for (int i = 0; i < POINTS; i++) {
        /* GPTQ's shrink search; with shifts, scales up to 8 times apart reach the same range, hence the wider, geometric grid. */
        double c = x->shifts > 1 ? top * wide * 1.1 * exp2(-6.0 * i / POINTS) : top * 1.1 * (1.0 - 0.8 * i / POINTS);
        double e, scale = hd_linear_scale_store(s, c);
        if (scale < least || !((e = error_at(x, scale, NULL)) < error)) continue;
        error = e;
        best = scale;
    }
    polish(s, x, least, best, error, a, n);
}

double hd_linear_least_scale(const hd_solver *s, size_t row) {
    double smallest = s->f->wide_scales ? 1e-30 : 0x1p-24, least = s->f->scale_least ? (double)s->f->scale_least[row] : smallest;
    return least > smallest ? least : smallest;
}

hd_status hd_linear_one_scale(hd_solver *s, const double *weight, const uint8_t *mask) {
    size_t n = s->out * s->in;
    double *weights = malloc(n * sizeof *weights), least = 0;
    int16_t *nearest = malloc(n * sizeof *nearest);
    for (size_t i = 0; weights && i < n; i++) weights[i] = weight[i % s->in];
    for (size_t row = 0; row < s->out; row++) least = fmax(least, hd_linear_least_scale(s, row));
    span x = {.t = s->t, .weight = weights, .mask = mask, .n = n, .group = n, .grid = &s->grid, .shifts = 1};
    if (weights && nearest) search(s, &x, least, &s->fixed, nearest);
    int failed = !weights || !nearest;
    free(weights);
    free(nearest);
    return failed ? hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name) : HD_OK;
}

/* Part of a row as a span of one group. */
static span group_of(const hd_solver *s, size_t group, const double *t, const double *weight, const uint8_t *mask) {
    size_t from = group * s->group, n = s->in - from < s->group ? s->in - from : s->group;
    return (span){.t = t + from, .weight = weight + from, .mask = mask ? mask + from : NULL, .n = n, .group = s->group, .grid = &s->grid, .shifts = 1};
}

static void one_group(const hd_solver *s, size_t row, size_t group, const double *t, const double *weight, const uint8_t *mask, double *a, int16_t *n) {
    double least = hd_linear_least_scale(s, row);
    span x = group_of(s, group, t, weight, mask);
    if (s->zero) search_affine(s, &x, least, a + group, s->zero + row * s->groups + group, n + group * s->group);
    else search(s, &x, least, a + group, n + group * s->group);
}

void hd_linear_group_scale(const hd_solver *s, size_t row, size_t group, const double *t, const double *weight, double base, double *a, int16_t *n) {
    const uint8_t *mask = s->mask ? s->mask + row * s->in : NULL;
    if (s->shifts == 1) {
        one_group(s, row, group, t, weight, mask, a, n);
        return;
    }
    span x = group_of(s, group, t, weight, mask);
    x.shifts = s->shifts;
    error_at(&x, base, a + group);
}

void hd_linear_row_scales(const hd_solver *s, size_t row, const double *t, const double *weight, const uint8_t *mask, double *a, int16_t *n) {
    double least = hd_linear_least_scale(s, row);
    span x = {.t = t, .weight = weight, .mask = mask, .n = s->in, .group = s->group, .grid = &s->grid, .shifts = s->shifts};
    if (s->fixed > 0) {
        a[0] = s->fixed;
        assign(&x, a, n);
    } else if (s->shifts > 1)
        search(s, &x, least, a, n);
    else
        for (size_t k = 0; k < s->groups; k++) one_group(s, row, k, t, weight, mask, a, n);
}
