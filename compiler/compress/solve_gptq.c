/* Round to nearest, and GPTQ (Frantar et al. 2022, arXiv 2210.17323) with descent after it.
 *
 * U is the upper Cholesky factor of h^-1, columns in the chosen order. For column i: q = quant(w_i), e = (w_i - q) / U_ii,
 * w_rest -= e U_i,rest. Inside a block of 128 columns row by row; what a block does to the columns after it is one matrix product. */
#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "linear_internal.h"

enum { BLOCK = 128, TILE = 32, STARTS = 6, MOST_STARTS_IN = 1024 };
/* First scales, as parts of those of the weighted nearest rounding: feedback makes errors of neighbours correct each other, which wants
 * other scales than single weights do. */
static const double START[STARTS] = {1.0, 0.94, 0.88, 0.8, 1.06, 1.12};

typedef struct rank { double diagonal; int index; } rank;

static int by_diagonal(const void *a, const void *b) {
    const rank *x = a, *y = b;
    if (x->diagonal != y->diagonal) return x->diagonal > y->diagonal ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

void hd_linear_order(const hd_solver *s, int *order) {
    for (size_t i = 0; i < s->in; i++) order[i] = (int)i;
    rank *r = s->o->act_order ? malloc(s->in * sizeof *r) : NULL;
    if (!r) return;
    for (size_t i = 0; i < s->in; i++) r[i] = (rank){s->h[i * s->in + i], (int)i};
    qsort(r, s->in, sizeof *r, by_diagonal);
    for (size_t i = 0; i < s->in; i++) order[i] = r[i].index;
    free(r);
}

hd_status hd_linear_factor(double *u, const double *h, const int *order, size_t in, const char *name, hd_err *err) {
    int n = (int)in;
    for (size_t i = 0; i < in; i++)
        for (size_t j = 0; j < in; j++) u[i * in + j] = h[(size_t)order[i] * in + (size_t)order[j]];
    /* A symmetric matrix is its own transpose: what LAPACK calls the lower triangle is our upper one. */
    int bad = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', n, u, n);
    if (!bad) bad = LAPACKE_dpotri(LAPACK_COL_MAJOR, 'L', n, u, n);
    if (!bad) bad = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', n, u, n);
    return bad ? hd_fail(err, HD_RANGE, "layer '%s': the second moment of its inputs is not positive definite (column %d); more damping is needed",
                         name, bad) : HD_OK;
}

/* What one tile of rows works in. */
typedef struct tile {
    double *w, *e, *a0, *g; /* [TILE][in], [TILE][BLOCK], [TILE][groups], [in] */
    double *kept;           /* [TILE][in + groups]: the best start's values and scales */
    int16_t *n, *n0;        /* [TILE][in] its integers, [in] */
} tile;

static int tile_new(tile *t, const hd_solver *s) {
    t->w = malloc((TILE * (2 * s->in + BLOCK + 2 * s->groups) + s->in) * sizeof *t->w);
    t->n = malloc((TILE + 1) * s->in * sizeof *t->n);
    if (!t->w || !t->n) return 0;
    t->e = t->w + TILE * s->in;
    t->a0 = t->e + TILE * BLOCK;
    t->g = t->a0 + TILE * s->groups;
    t->kept = t->g + s->in;
    t->n0 = t->n + TILE * s->in;
    return 1;
}

static void tile_free(tile *t) {
    free(t->w);
    free(t->n);
}

/* Sets q and n of the rows for their scales a. With moving groups the scales are found on the way, so nothing is put off to the end of a block:
 * the row is one block. weight: [in]. */
static void gptq_rows(const hd_solver *s, const tile *t, const double *u, const int *order, const double *weight, size_t row, size_t rows) {
    size_t in = s->in, block = s->o->moving_groups ? in : BLOCK;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < in; i++) t->w[r * in + i] = s->t[(row + r) * in + (size_t)order[i]];
    for (size_t from = 0; from < in; from += block) {
        size_t to = from + block < in ? from + block : in;
        for (size_t r = 0; r < rows; r++) {
            const uint8_t *zero = s->zero ? s->zero + (row + r) * s->groups : NULL;
            double *w = t->w + r * in, *scales = s->a + (row + r) * s->groups, base = scales[0];
            for (size_t k = 1; k < s->groups; k++) base = fmin(base, scales[k]);
            for (size_t i = from; i < to; i++) {
                size_t at = (row + r) * in + (size_t)order[i], k = (size_t)order[i] / s->group;
                if (s->o->moving_groups && i % s->group == 0) hd_linear_group_scale(s, row + r, k, w, weight, base, scales, t->n0);
                double a = scales[k];
                hd_lattice grid = hd_lattice_of(s, zero, k);
                int n = s->mask && !s->mask[at] ? 0 : hd_lattice_nearest(&grid, w[i] / a);
                s->n[at] = (int16_t)n;
                s->q[at] = a * n;
                double e = (w[i] - s->q[at]) / u[i * in + i];
                if (block == BLOCK) t->e[r * BLOCK + i - from] = e;
                for (size_t j = i + 1; j < to; j++) w[j] -= e * u[i * in + j];
            }
        }
        if (to < in)
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)(in - to), (int)(to - from), -1.0, t->e, BLOCK,
                        u + from * in + to, (int)in, 1.0, t->w + to, (int)in);
    }
}

static hd_row row_of(const hd_solver *s, size_t row, double *g) {
    size_t at = row * s->in;
    return (hd_row){.s = s, .t = s->t + at, .mask = s->mask ? s->mask + at : NULL, .q = s->q + at, .g = g, .a = s->a + row * s->groups,
                    .n = s->n + at, .zero = s->zero ? s->zero + row * s->groups : NULL, .least = hd_linear_least_scale(s, row)};
}

/* Scales of start k: all of a row times START[k]. */
static void start(const hd_solver *s, size_t row, const double *a0, int k) {
    double *a = s->a + row * s->groups, lowest = hd_linear_least_scale(s, row);
    /* With shifts they keep their ratios; only the first is rounded. */
    double factor = s->shifts > 1 ? hd_linear_scale_store(s, a0[0] * START[k]) / a0[0] : START[k];
    memcpy(a, a0, s->groups * sizeof *a);
    for (size_t g = 0; k && g < s->groups; g++) {
        a[g] = s->shifts > 1 ? a0[g] * factor : hd_linear_scale_store(s, a0[g] * factor);
        if (a[g] >= lowest) continue;
        memcpy(a, a0, s->groups * sizeof *a);
        return;
    }
}

static void solve_tile(const hd_solver *s, const tile *t, const double *u, const int *order, const double *weight, size_t row, size_t rows) {
    size_t in = s->in, groups = s->groups;
    int starts = s->o->sweeps > 0 && in <= MOST_STARTS_IN && !(s->fixed > 0) && !s->o->moving_groups ? STARTS : 1;
    double least[TILE];
    for (size_t r = 0; r < rows; r++)
        hd_linear_row_scales(s, row + r, s->t + (row + r) * in, weight, s->mask ? s->mask + (row + r) * in : NULL, t->a0 + r * groups, t->n0);
    for (int k = 0; k < starts; k++) {
        for (size_t r = 0; r < rows; r++) start(s, row + r, t->a0 + r * groups, k);
        gptq_rows(s, t, u, order, weight, row, rows);
        for (size_t r = 0; s->o->sweeps > 0 && r < rows; r++) {
            hd_row x = row_of(s, row + r, t->g);
            double now = hd_row_descend(&x, hd_row_refresh(&x), 1), *best = t->kept + r * (in + groups);
            if (k && !(now < least[r])) continue;
            least[r] = now;
            memcpy(best, x.q, in * sizeof *best);
            memcpy(best + in, x.a, groups * sizeof *best);
            memcpy(t->n + r * in, x.n, in * sizeof *t->n);
        }
    }
    for (size_t r = 0; s->o->sweeps > 0 && r < rows; r++) {
        hd_row x = row_of(s, row + r, t->g);
        memcpy(x.q, t->kept + r * (in + groups), in * sizeof *x.q);
        memcpy(x.a, t->kept + r * (in + groups) + in, groups * sizeof *x.a);
        memcpy(x.n, t->n + r * in, in * sizeof *x.n);
        hd_row_descend(&x, hd_row_refresh(&x), s->o->sweeps);
    }
}

static hd_status solve_tiles(hd_solver *s, const double *u, const int *order, const double *weight) {
    int failed = 0;
#pragma omp parallel
    {
        tile t = {0};
        int ok = tile_new(&t, s);
        if (!ok)
#pragma omp atomic write
            failed = 1;
#pragma omp for schedule(dynamic)
        for (size_t row = 0; row < s->out; row += TILE)
            if (ok) solve_tile(s, &t, u, order, weight, row, s->out - row < TILE ? s->out - row : TILE);
        tile_free(&t);
    }
    return failed ? hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name) : HD_OK;
}

/* One scale for all rows cannot be moved by rows: the whole layer is solved at each first scale, and once more at the best. */
static hd_status solve_one_scale(hd_solver *s, const double *u, const int *order, const double *weight) {
    hd_status status = hd_linear_one_scale(s, weight, s->mask);
    double base = s->fixed, best = base, least = INFINITY, *g = malloc(s->in * sizeof *g);
    if (!g) return hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name);
    for (int k = 0; status == HD_OK && k < (s->o->sweeps > 0 ? STARTS : 1); k++) {
        double total = 0;
        s->fixed = hd_linear_scale_store(s, base * START[k]);
        for (size_t row = 0; row < s->out; row++) s->fixed = fmax(s->fixed, hd_linear_least_scale(s, row));
        status = solve_tiles(s, u, order, weight);
        for (size_t row = 0; row < s->out; row++) {
            hd_row x = row_of(s, row, g);
            total += hd_row_refresh(&x);
        }
        if (!(total < least)) continue;
        least = total;
        best = s->fixed;
    }
    if (status == HD_OK && best != s->fixed) {
        s->fixed = best;
        status = solve_tiles(s, u, order, weight);
    }
    free(g);
    return status;
}

hd_status hd_solve_gptq(hd_solver *s) {
    size_t in = s->in;
    double *u = malloc((in * in + in) * sizeof *u), *weight = u ? u + in * in : NULL;
    int *order = malloc(in * sizeof *order);
    hd_status status = u && order ? HD_OK : hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name);
    if (status == HD_OK) {
        hd_linear_order(s, order);
        status = hd_linear_factor(u, s->h, order, in, s->p->name, s->err);
    }
    if (status == HD_OK) {
        for (size_t i = 0; i < in; i++) weight[i] = s->h[i * in + i];
        status = s->f->one_scale ? solve_one_scale(s, u, order, weight) : solve_tiles(s, u, order, weight);
    }
    free(u);
    free(order);
    return status;
}

hd_status hd_solve_rtn(hd_solver *s) {
    size_t in = s->in;
    double *weight = malloc(in * sizeof *weight);
    if (!weight) return hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name);
    for (size_t i = 0; i < in; i++) weight[i] = s->h[i * in + i];
    hd_status status = s->f->one_scale ? hd_linear_one_scale(s, weight, s->mask) : HD_OK;
#pragma omp parallel for schedule(dynamic)
    for (size_t row = 0; row < s->out; row++) {
        if (status != HD_OK) continue;
        double *a = s->a + row * s->groups;
        hd_linear_row_scales(s, row, s->t + row * in, weight, s->mask ? s->mask + row * in : NULL, a, s->n + row * in);
        for (size_t j = 0; j < in; j++) s->q[row * in + j] = s->n[row * in + j] * a[j / s->group];
    }
    free(weight);
    return status;
}
