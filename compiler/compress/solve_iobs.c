/* I-OBS (Wu et al. 2024, arXiv 2408.17163): a Newton step on all weights, then the projection to the sparse set, over and over:
 *     W <- keep( W - (W - T) H (H + l I)^-1 )
 * On the exactly quadratic layer loss the undamped step leads back to the dense target T whatever W is, so l is what makes the iteration one: strong
 * directions of H go all the way, weak ones stay where the support put them. l falls by stages from the largest to the mean eigenvalue's size, and
 * the best iterate by the exact objective is kept. The projection keeps the weights (cells, blocks) with the largest sum of
 * w^2 / [H^-1]_jj, what taking them out alone would cost. Each iteration is two products of out * in^2, whatever the sparsity. */
#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "linear_internal.h"

enum { STAGES = 5, STEPS = 12, PLANES = 8 };

typedef struct item {
    double score;
    size_t index;
} item;

typedef struct iobs {
    hd_solver *s;
    double *step, *worth;        /* [in][in] H (H + l I)^-1, [in] 1 / [H^-1]_jj */
    double *w, *d, *move;        /* [out][in] the iterate, its distance from T, a product with it */
    uint8_t *on;                 /* [out][in] its support */
    item *list;                  /* [out][in] */
} iobs;

static int by_score(const void *x, const void *y) {
    const item *a = x, *b = y;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* The item that weight `at` belongs to: itself, or its block. */
static size_t item_of(const hd_solver *s, size_t at) {
    const hd_linear_format *f = s->f;
    if (f->sparsity != HD_SPARSE_BLOCK) return at;
    size_t tap = f->tap > 0 ? (size_t)f->tap : s->in, wide = (size_t)f->block_in, along = (tap + wide - 1) / wide;
    size_t row = at / s->in / (size_t)f->block_out, column = at % s->in, across = s->in / tap * along + (s->in % tap + wide - 1) / wide;
    return row * across + column / tap * along + column % tap / wide;
}

/* on = the items with the largest scores, as many as the format keeps; the rest of w becomes 0. */
static void project(iobs *x) {
    const hd_solver *s = x->s;
    const hd_linear_format *f = s->f;
    size_t n = s->out * s->in, items = 0, cell = f->sparsity == HD_SPARSE_N_OF_M ? (size_t)f->m : 0;
    for (size_t i = 0; i < n; i++) {
        size_t k = item_of(s, i);
        for (; items <= k; items++) x->list[items] = (item){-1, items};
        if (f->keep && !f->keep[i]) continue;
        x->list[k].score = fmax(x->list[k].score, 0) + x->w[i] * x->w[i] * x->worth[i % s->in];
    }
    memset(x->on, 0, n);
    /* Which items stay is noted where the items stand: `on` has room for all of them. */
    if (cell)
        for (size_t row = 0; row < s->out; row++)
            for (size_t from = 0; from < s->in; from += cell) {
                size_t width = s->in - from < cell ? s->in - from : cell;
                item *part = x->list + row * s->in + from;
                qsort(part, width, sizeof *part, by_score);
                for (size_t i = 0; i < width && i < (size_t)f->n; i++) x->on[part[i].index] = part[i].score >= 0;
            }
    else {
        size_t remove = (size_t)((1 - (double)f->density) * (double)items + 0.5), keep = remove < items ? items - remove : 1;
        qsort(x->list, items, sizeof *x->list, by_score);
        for (size_t i = 0; i < keep; i++) x->on[x->list[i].index] = x->list[i].score >= 0;
    }
    /* From the last weight to the first, because an item never stands behind its weights. */
    for (size_t i = n; i-- > 0;)
        if (!(x->on[i] = x->on[item_of(s, i)])) x->w[i] = 0;
}

/* to[out][in] = d m; m symmetric. */
static void product(const iobs *x, const double *m, double *to) {
    size_t rows = (x->s->out + PLANES - 1) / PLANES, in = x->s->in;
#pragma omp parallel for schedule(dynamic)
    for (size_t from = 0; from < x->s->out; from += rows) {
        size_t count = x->s->out - from < rows ? x->s->out - from : rows;
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)count, (int)in, (int)in, 1, x->d + from * in, (int)in, m, (int)in, 0, to + from * in, (int)in);
    }
}

static double objective(iobs *x) {
    size_t n = x->s->out * x->s->in;
    double sum = 0;
    for (size_t i = 0; i < n; i++) x->d[i] = x->w[i] - x->s->t[i];
    product(x, x->s->h, x->move);
    for (size_t i = 0; i < n; i++) sum += x->d[i] * x->move[i];
    return sum;
}

/* step = (H + l I)^-1, its upper triangle. */
static int invert(iobs *x, double l) {
    size_t in = x->s->in;
    for (size_t i = 0; i < in * in; i++) x->step[i] = x->s->h[i] + (i % (in + 1) ? 0 : l);
    int n = (int)in, bad = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', n, x->step, n);
    if (!bad) bad = LAPACKE_dpotri(LAPACK_COL_MAJOR, 'L', n, x->step, n);
    return !bad;
}

/* step = H (H + l I)^-1 = I - l (H + l I)^-1. */
static int prepare(iobs *x, double l) {
    size_t in = x->s->in;
    int ok = invert(x, l);
    for (size_t i = 0; i < in; i++)
        for (size_t j = i; j < in; j++) x->step[i * in + j] = x->step[j * in + i] = (i == j) - l * x->step[i * in + j];
    return ok;
}

static hd_status iterate(iobs *x) {
    hd_solver *s = x->s;
    size_t in = s->in, n = s->out * in;
    double least = INFINITY, mean = 0, largest = 0;
    for (size_t i = 0; i < in; i++) {
        double row = 0;
        for (size_t j = 0; j < in; j++) row += fabs(s->h[i * in + j]);
        mean += s->h[i * in + i] / (double)in;
        largest = fmax(largest, row);
    }
    int ok = invert(x, 0);
    for (size_t i = 0; ok && i < in; i++) x->worth[i] = 1 / x->step[i * in + i];
    memcpy(x->w, s->t, n * sizeof *x->w);
    project(x);
    for (int stage = 0; ok && stage < STAGES; stage++) {
        ok = prepare(x, largest * pow(mean / largest, (double)stage / (STAGES - 1)));
        for (int k = 0; ok && k <= STEPS; k++) {
            double now = objective(x);
            if (now < least) {
                least = now;
                memcpy(s->q, x->w, n * sizeof *x->w);
                memcpy(s->mask, x->on, n);
            }
            product(x, x->step, x->move);
            for (size_t i = 0; i < n; i++) x->w[i] -= x->move[i];
            project(x);
        }
    }
    return ok ? HD_OK : hd_fail(s->err, HD_RANGE, "layer '%s': the second moment of its inputs is not positive definite; more damping is needed", s->p->name);
}

hd_status hd_solve_magnitude(hd_solver *s) {
    size_t n = s->out * s->in;
    iobs x = {.s = s, .w = s->q, .worth = malloc(s->in * sizeof *x.worth), .on = malloc(n), .list = malloc(n * sizeof *x.list)};
    int ok = x.worth && x.on && x.list;
    for (size_t j = 0; ok && j < s->in; j++) x.worth[j] = 1;
    if (ok) {
        memcpy(x.w, s->t, n * sizeof *x.w);
        project(&x);
        memcpy(s->mask, x.on, n);
    }
    free(x.worth);
    free(x.on);
    free(x.list);
    return ok ? HD_OK : hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name);
}

hd_status hd_solve_iobs(hd_solver *s) {
    size_t in = s->in, n = s->out * in;
    double *memory = malloc((in * in + in + 3 * n) * sizeof *memory);
    iobs x = {.s = s, .on = malloc(n), .list = malloc(n * sizeof *x.list)};
    hd_status status = HD_OK;
    if (!memory || !x.on || !x.list) status = hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name);
    else {
        x.step = memory;
        x.worth = x.step + in * in;
        x.w = x.worth + in;
        x.d = x.w + n;
        x.move = x.d + n;
        status = iterate(&x);
    }
    if (status == HD_OK && s->o->sweeps > 0) status = hd_linear_refit(s);
    free(memory);
    free(x.on);
    free(x.list);
    return status;
}
