/* CP: a kernel as a sum of R products of vectors, w[o][i][y][x] ~ sum_r A[o][r] B[i][r] C[y][r] D[x][r], by alternating least squares
 * (Harshman 1970; Kolda & Bader 2009). The problem has local optima, so several starts compete; all are seeded. */
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/rng.h"
#include "factor_internal.h"

enum { MODES = 4, STARTS = 3, FIRST_ROUNDS = 30, LAST_ROUNDS = 100 };
static const double MOST_WORK = 2e10, RIDGE = 1e-10, SETTLED = 1e-8;

typedef struct cp {
    size_t size[MODES], rank, elements;
    const double *w;
    double *f[MODES]; /* [size][rank] */
    double *gram[MODES]; /* [rank][rank] of each factor */
    double *right, *normal; /* [largest size][rank], [rank][rank] */
    double norm, error;
    double *memory;
} cp;

static int open_cp(cp *c, const hd_kernel *k, const double *w, int rank) {
    *c = (cp){.size = {(size_t)k->out, (size_t)k->in, (size_t)k->kh, (size_t)k->kw}, .rank = (size_t)rank, .elements = 1, .w = w};
    size_t sum = 0, largest = 0, square = c->rank * c->rank;
    for (int m = 0; m < MODES; m++) {
        sum += c->size[m];
        c->elements *= c->size[m];
        if (c->size[m] > largest) largest = c->size[m];
    }
    double *at = c->memory = calloc((sum + largest) * c->rank + (MODES + 1) * square, sizeof *at);
    if (!at) return 0;
    for (int m = 0; m < MODES; m++) {
        c->f[m] = at;
        c->gram[m] = at + c->size[m] * c->rank;
        at = c->gram[m] + square;
    }
    c->normal = at;
    c->right = at + square;
    for (size_t i = 0; i < c->elements; i++) c->norm += w[i] * w[i];
    c->error = c->norm;
    return 1;
}

static void set_gram(cp *c, int m) {
    size_t r = c->rank;
    memset(c->gram[m], 0, r * r * sizeof *c->gram[m]);
    for (size_t i = 0; i < c->size[m]; i++)
        for (size_t a = 0; a < r; a++)
            for (size_t b = 0; b < r; b++) c->gram[m][a * r + b] += c->f[m][i * r + a] * c->f[m][i * r + b];
}

/* right[i] = sum over the elements with index i in mode m of w * (the other modes' rows, multiplied) */
static void set_right(cp *c, int m) {
    size_t r = c->rank, at[MODES] = {0};
    memset(c->right, 0, c->size[m] * r * sizeof *c->right);
    const int a = (m + 1) % MODES, b = (m + 2) % MODES, d = (m + 3) % MODES;
    for (size_t i = 0; i < c->elements; i++) {
        const double *x = c->f[a] + at[a] * r, *y = c->f[b] + at[b] * r, *z = c->f[d] + at[d] * r;
        double *to = c->right + at[m] * r, v = c->w[i];
        for (size_t j = 0; j < r; j++) to[j] += v * x[j] * y[j] * z[j];
        for (int k = MODES - 1; k >= 0 && ++at[k] == c->size[k]; k--) at[k] = 0;
    }
}

/* The factor of mode m by least squares: f G = right, G the product, entry by entry, of the other modes' Gram matrices. Sets the error too. */
static int solve_mode(cp *c, int m) {
    size_t r = c->rank, n = c->size[m];
    double trace = 0, cross = 0, own = 0;
    set_right(c, m);
    for (size_t i = 0; i < r * r; i++) {
        c->normal[i] = 1;
        for (int k = 0; k < MODES; k++)
            if (k != m) c->normal[i] *= c->gram[k][i];
    }
    for (size_t i = 0; i < r; i++) trace += c->normal[i * r + i];
    for (size_t i = 0; i < r; i++) c->normal[i * r + i] += RIDGE * trace / (double)r;
    memcpy(c->f[m], c->right, n * r * sizeof *c->right);
    double *g = malloc(r * r * sizeof *g);
    if (!g) return -1;
    memcpy(g, c->normal, r * r * sizeof *g);
    int bad = LAPACKE_dposv(LAPACK_COL_MAJOR, 'L', (int)r, (int)n, g, (int)r, c->f[m], (int)r);
    free(g);
    if (bad) return bad;
    set_gram(c, m);
    for (size_t i = 0; i < n * r; i++) cross += c->right[i] * c->f[m][i];
    for (size_t i = 0; i < r * r; i++) own += c->gram[m][i] * c->normal[i];
    c->error = c->norm - 2 * cross + own;
    return 0;
}

/* Each component's vectors get the same length. */
static void even_out(cp *c) {
    for (size_t j = 0; j < c->rank; j++) {
        double length[MODES], product = 1;
        for (int m = 0; m < MODES; m++) {
            length[m] = sqrt(c->gram[m][j * c->rank + j]);
            product *= length[m];
        }
        if (!(product > 0)) continue;
        for (int m = 0; m < MODES; m++)
            for (size_t i = 0; i < c->size[m]; i++) c->f[m][i * c->rank + j] *= pow(product, 1.0 / MODES) / length[m];
    }
    for (int m = 0; m < MODES; m++) set_gram(c, m);
}

/* 1 = settled, 0 = not yet, negative = failed */
static int run(cp *c, int rounds) {
    for (int round = 0; round < rounds; round++) {
        double before = c->error;
        for (int m = 0; m < MODES; m++)
            if (solve_mode(c, m)) return -1;
        even_out(c);
        if (round && before - c->error <= SETTLED * c->norm) return 1;
    }
    return 0;
}

static void start(cp *c, int number) {
    hd_rng r;
    hd_rng_seed(&r, 1, 0x6370u + (uint64_t)number);
    for (int m = 0; m < MODES; m++) {
        for (size_t i = 0; i < c->size[m] * c->rank; i++) c->f[m][i] = (double)hd_rng_normal(&r);
        set_gram(c, m);
    }
    even_out(c);
}

/* The best of the starts, run on until it settles. */
static int best_start(cp *best, const hd_kernel *k, const double *w, int rank) {
    cp all[STARTS];
    int state[STARTS], chosen = -1;
    double round = 12.0 * (double)k->out * (double)hd_kernel_inputs(k) * rank + 8.0 * rank * rank * (rank + (double)k->out + k->in);
    int starts = round * FIRST_ROUNDS * STARTS > MOST_WORK ? 1 : STARTS, last = (int)fmin(LAST_ROUNDS, fmax(10, MOST_WORK / round));
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < starts; i++) {
        state[i] = -1;
        if (!open_cp(&all[i], k, w, rank)) continue;
        start(&all[i], i);
        state[i] = run(&all[i], FIRST_ROUNDS < last ? FIRST_ROUNDS : last);
    }
    for (int i = 0; i < starts; i++)
        if (state[i] >= 0 && (chosen < 0 || all[i].error < all[chosen].error)) chosen = i;
    for (int i = 0; i < starts; i++)
        if (i != chosen) free(all[i].memory);
    if (chosen < 0) return -1;
    *best = all[chosen];
    if (!state[chosen] && last > FIRST_ROUNDS && run(best, last - FIRST_ROUNDS) < 0) {
        free(best->memory);
        return -1;
    }
    return 0;
}

/* The links [R][in], [R][1][kh], [R][1][kw], [out][R]; a mode of one tap has no link, its numbers go into the first one. */
static hd_status take(hd_chain *out, const hd_kernel *k, const cp *c, const double *l, hd_err *err) {
    int rank = (int)c->rank, tall = k->kh > 1, wide = k->kw > 1;
    size_t r = c->rank;
    if (!hd_chain_add(out, k->in, rank, 1, 1, 1, 0, 0) || (tall && !hd_chain_add(out, rank, rank, rank, k->kh, 1, 1, !wide)) ||
        (wide && !hd_chain_add(out, rank, rank, rank, 1, k->kw, !tall, 1)) || !hd_chain_add(out, rank, k->out, 1, 1, 1, 0, 0))
        return hd_fail(err, HD_NOMEM, "layer '%s': out of memory", k->name);
    for (size_t j = 0; j < r; j++) {
        double by = (tall ? 1 : c->f[2][j]) * (wide ? 1 : c->f[3][j]);
        for (size_t i = 0; i < (size_t)k->in; i++) out->link[0].w[j * (size_t)k->in + i] = by * c->f[1][i * r + j];
        for (size_t y = 0; tall && y < (size_t)k->kh; y++) out->link[1].w[j * (size_t)k->kh + y] = c->f[2][y * r + j];
        for (size_t x = 0; wide && x < (size_t)k->kw; x++) out->link[1 + tall].w[j * (size_t)k->kw + x] = c->f[3][x * r + j];
    }
    memcpy(out->link[out->n - 1].w, c->f[0], (size_t)k->out * r * sizeof(double));
    hd_root_divide(out->link[0].w, l, rank, k->in);
    return HD_OK;
}

hd_status hd_factor_cp(hd_chain *out, const hd_kernel *k, const double *w, const double *l, int rank, hd_err *err) {
    cp c;
    if (best_start(&c, k, w, rank)) return hd_fail(err, HD_RANGE, "layer '%s': alternating least squares of rank %d failed (memory, or a singular step)", k->name, rank);
    hd_status s = take(out, k, &c, l, err);
    free(c.memory);
    return s;
}
