/* SparseGPT as published (Frantar & Alistarh 2023, arXiv 2301.00774): GPTQ's column loop, in which a weight may also become 0. A weight's
 * score is w^2 / U_ii^2 at the moment its block of 128 columns (or its cell of M) is reached; what stays is rounded at once when the
 * format has integers (joint sparsification and quantisation). O(in^2) a row, so it also serves where exact elimination is too slow; a
 * descent on the kept weights then replaces the exact fit. */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "linear_internal.h"

enum { BLOCK = 128, TILE = 32, REFIT = 60 };

typedef struct score {
    double value;
    size_t row, column;
} score;

static int by_value(const void *x, const void *y) {
    const score *a = x, *b = y;
    if (a->value != b->value) return a->value < b->value ? -1 : 1;
    if (a->row != b->row) return a->row < b->row ? -1 : 1;
    return a->column < b->column ? -1 : a->column > b->column;
}

/* Removes the weights with the smallest scores of columns from..to of one row or of all (rows), as many as `remove`. */
static void choose(hd_solver *s, const double *w, const double *u, size_t row, size_t rows, size_t from, size_t to, size_t remove, score *list) {
    size_t n = 0, in = s->in;
    for (size_t r = row; r < row + rows; r++)
        for (size_t j = from; j < to; j++) {
            double x = w[r * in + j] / u[j * in + j];
            int barred = s->f->keep && !s->f->keep[r * in + j];
            s->mask[r * in + j] = !barred;
            list[n++] = (score){barred ? -1 : x * x, r, j};
        }
    qsort(list, n, sizeof *list, by_value);
    for (size_t i = 0; i < remove && i < n; i++) s->mask[list[i].row * in + list[i].column] = 0;
}

/* Columns from..to of one row; e: [BLOCK] errors over U_ii. list: [m] scores, N:M only. */
static void block_row(hd_solver *s, double *w, const double *u, size_t row, size_t from, size_t to, double *e, score *list) {
    size_t in = s->in, cell = s->f->sparsity == HD_SPARSE_N_OF_M ? (size_t)s->f->m : 0, keep = (size_t)s->f->n;
    for (size_t i = from; i < to; i++) {
        size_t at = row * in + i;
        if (cell && (i - from) % cell == 0) {
            size_t end = i + cell < to ? i + cell : to;
            choose(s, w, u, row, 1, i, end, end - i > keep ? end - i - keep : 0, list);
        }
        double q = s->mask[at] ? w[at] : 0;
        if (s->n) {
            double a = s->a[row * s->groups + i / s->group];
            hd_lattice grid = hd_lattice_of(s, s->zero ? s->zero + row * s->groups : NULL, i / s->group);
            s->n[at] = (int16_t)(s->mask[at] ? hd_lattice_nearest(&grid, w[at] / a) : 0);
            q = a * s->n[at];
        }
        s->q[at] = q;
        double error = e[i - from] = (w[at] - q) / u[i * in + i];
        for (size_t j = i + 1; j < to; j++) w[row * in + j] -= error * u[i * in + j];
    }
}

static void block_tile(hd_solver *s, double *w, const double *u, size_t row, size_t rows, size_t from, size_t to, double *e, score *list) {
    size_t in = s->in;
    for (size_t r = 0; r < rows; r++) block_row(s, w, u, row + r, from, to, e + r * BLOCK, list);
    if (to < in)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)(in - to), (int)(to - from), -1.0, e, BLOCK, u + from * in + to, (int)in,
                    1.0, w + row * in + to, (int)in);
}

/* Least squares on the support by coordinate descent: each weight at its optimum given the others, over and over. */
static void refit_row(const hd_solver *s, size_t row, double *g) {
    size_t in = s->in;
    hd_row r = {.s = s, .t = s->t + row * in, .q = s->q + row * in, .g = g};
    double now = hd_row_refresh(&r);
    for (int k = 0; k < REFIT; k++) {
        double before = now;
        for (size_t j = 0; j < in; j++) {
            if (!s->mask[row * in + j]) continue;
            double delta = -g[j] / s->h[j * in + j];
            now += delta * (2 * g[j] + delta * s->h[j * in + j]);
            r.q[j] += delta;
            cblas_daxpy((int)in, delta, s->h + j * in, 1, g, 1);
        }
        if (!(before - now > 1e-7 * before)) break;
    }
}

hd_status hd_linear_refit(hd_solver *s) {
    size_t tiles = (s->out + TILE - 1) / TILE, in = s->in;
    double *g = malloc(tiles * in * sizeof *g);
    if (!g) return hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name);
#pragma omp parallel for schedule(dynamic)
    for (size_t t = 0; t < tiles; t++)
        for (size_t row = t * TILE; row < s->out && row < (t + 1) * TILE; row++) refit_row(s, row, g + t * in);
    free(g);
    return HD_OK;
}

static hd_status first_scales(hd_solver *s, double *weight) {
    for (size_t i = 0; i < s->in; i++) weight[i] = s->h[i * s->in + i];
    hd_status status = s->f->one_scale ? hd_linear_one_scale(s, weight, NULL) : HD_OK;
#pragma omp parallel for schedule(dynamic)
    for (size_t row = 0; row < s->out; row++)
        if (status == HD_OK) hd_linear_row_scales(s, row, s->t + row * s->in, weight, NULL, s->a + row * s->groups, s->n + row * s->in);
    return status;
}

hd_status hd_solve_sparsegpt(hd_solver *s) {
    size_t in = s->in, tiles = (s->out + TILE - 1) / TILE, cell = s->f->sparsity == HD_SPARSE_N_OF_M ? (size_t)s->f->m : 1;
    size_t step = BLOCK / cell * cell, gone = 0;
    double *u = malloc(in * in * sizeof *u), *w = malloc(s->out * in * sizeof *w), *e = malloc(tiles * TILE * BLOCK * sizeof *e);
    double *g = malloc(tiles * in * sizeof *g);
    score *list = malloc((s->out * BLOCK + tiles * 64) * sizeof *list);
    int *order = malloc(in * sizeof *order);
    hd_status status = u && w && e && g && list && order ? HD_OK : hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name);
    if (status == HD_OK) {
        for (size_t i = 0; i < in; i++) order[i] = (int)i;
        status = hd_linear_factor(u, s->h, order, in, s->p->name, s->err);
    }
    if (status == HD_OK) {
        memcpy(w, s->t, s->out * in * sizeof *w);
        if (s->n) status = first_scales(s, g);
    }
    for (size_t from = 0; status == HD_OK && from < in; from += step) {
        size_t to = from + step < in ? from + step : in;
        if (cell == 1) {
            size_t until = (size_t)((1 - (double)s->f->density) * (double)(s->out * to) + 0.5);
            choose(s, w, u, 0, s->out, from, to, until - gone, list);
            gone = until;
        }
#pragma omp parallel for schedule(dynamic)
        for (size_t t = 0; t < tiles; t++)
            block_tile(s, w, u, t * TILE, s->out - t * TILE < TILE ? s->out - t * TILE : TILE, from, to, e + t * TILE * BLOCK, list + s->out * BLOCK + t * 64);
    }
    if (status == HD_OK && !s->n && s->o->sweeps > 0) status = hd_linear_refit(s);
    free(u);
    free(w);
    free(e);
    free(g);
    free(list);
    free(order);
    return status;
}
