#include "channel_solve.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double LEAST_GAIN = 1e-9; /* of an exchange, of what the readers give */

/* Room for one set's columns: Q x Q, in x Q twice, out x Q. */
typedef struct room {
    double *square, *p, *pd, *bq;
} room;

void hd_channel_reader_close(hd_channel_reader *r) {
    free(r->a);
    free(r->b);
    free(r->column);
    free(r->first);
    free(r->counts);
    *r = (hd_channel_reader){0};
}

static void mirror(double *a, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) a[j * n + i] = a[i * n + j];
}

/* The inverse of a positive definite matrix in place; 0 when it is none. */
static int invert(double *a, size_t n) {
    if (LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', (int)n, a, (int)n) || LAPACKE_dpotri(LAPACK_COL_MAJOR, 'L', (int)n, a, (int)n)) return 0;
    mirror(a, n); /* the lower triangle by columns is the upper one by rows */
    return 1;
}

/* Columns in the order of their sets. */
static void sort_columns(hd_channel_reader *r, const int *set, size_t sets) {
    for (size_t j = 0; j < r->in; j++) r->first[set[j] + 1]++;
    for (size_t s = 0; s < sets; s++) r->first[s + 1] += r->first[s];
    size_t k = 0;
    for (size_t s = 0; s < sets; s++)
        for (size_t j = 0; r->first[s + 1] > k && j < r->in; j++)
            if ((size_t)set[j] == s) r->column[k++] = j;
}

hd_status hd_channel_reader_open(hd_channel_reader *r, const char *name, const double *h, const double *t, size_t in, size_t out, const int *set, size_t sets,
                                 const uint8_t *counts, hd_err *err) {
    *r = (hd_channel_reader){.in = in, .out = out, .a = malloc(in * in * sizeof *r->a), .b = malloc(out * in * sizeof *r->b),
                             .column = malloc(in * sizeof *r->column), .first = calloc(sets + 1, sizeof *r->first), .counts = malloc(out)};
    if (!r->a || !r->b || !r->column || !r->first || !r->counts) {
        hd_channel_reader_close(r);
        return hd_fail(err, HD_NOMEM, "layer '%s': no memory for its channels", name);
    }
    sort_columns(r, set, sets);
    if (counts) memcpy(r->counts, counts, out);
    else memset(r->counts, 1, out);
    double given = 0;
    cblas_dsymm(CblasRowMajor, CblasRight, CblasUpper, (int)out, (int)in, 1, h, (int)in, t, (int)in, 0, r->b, (int)in);
    for (size_t i = 0; i < out; i++)
        for (size_t j = 0; r->counts[i] && j < in; j++) given += r->b[i * in + j] * t[i * in + j];
    r->weight = given > 0 ? 1 / given : 0;
    memcpy(r->b, t, out * in * sizeof *t);
    memcpy(r->a, h, in * in * sizeof *h);
    if (!invert(r->a, in)) {
        hd_channel_reader_close(r);
        return hd_fail(err, HD_RANGE, "layer '%s': the second moment of its inputs is not positive definite; more calibration inputs are needed", name);
    }
    for (size_t i = 0; i < in * in; i++) r->a[i] = -r->a[i];
    return HD_OK;
}

/* sign * a_QQ, positive definite: sign 1 for an absent set, -1 for a present one. */
static size_t gather_square(const room *x, const hd_channel_reader *r, size_t set, double sign) {
    size_t n = r->first[set + 1] - r->first[set];
    const size_t *q = r->column + r->first[set];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) x->square[i * n + j] = sign * r->a[q[i] * r->in + q[j]];
    return n;
}

/* What a present set's leaving costs (sign -1), or an absent one's coming gains (1), in all readers. */
static double worth(const room *x, const hd_channel_reader *r, int readers, size_t set, double sign) {
    double sum = 0;
    for (int k = 0; k < readers; k++, r++) {
        size_t n = gather_square(x, r, set, sign), rows = 0;
        const size_t *q = r->column + r->first[set];
        if (!n) continue;
        if (LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', (int)n, x->square, (int)n)) return sign < 0 ? INFINITY : 0;
        for (size_t i = 0; i < r->out; i++) {
            if (!r->counts[i]) continue;
            for (size_t j = 0; j < n; j++) x->bq[rows * n + j] = r->b[i * r->in + q[j]];
            rows++;
        }
        if (!rows) continue;
        cblas_dtrsm(CblasColMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, (int)n, (int)rows, 1, x->square, (int)n, x->bq, (int)n);
        sum += r->weight * cblas_ddot((int)(rows * n), x->bq, 1, x->bq, 1);
    }
    return sum;
}

static void toggle_in(const room *x, hd_channel_reader *r, size_t set, double sign) {
    size_t n = gather_square(x, r, set, sign), in = r->in;
    const size_t *q = r->column + r->first[set];
    if (!n || !invert(x->square, n)) return; /* worth() lets no such set through, but for those that are worth nothing */
    for (size_t i = 0; i < n * n; i++) x->square[i] *= sign;
    for (size_t i = 0; i < in; i++)
        for (size_t j = 0; j < n; j++) x->p[i * n + j] = r->a[i * in + q[j]];
    for (size_t i = 0; i < r->out; i++)
        for (size_t j = 0; j < n; j++) x->bq[i * n + j] = r->b[i * in + q[j]];
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)in, (int)n, (int)n, 1, x->p, (int)n, x->square, (int)n, 0, x->pd, (int)n);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)in, (int)in, (int)n, -1, x->pd, (int)n, x->p, (int)n, 1, r->a, (int)in);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)r->out, (int)in, (int)n, -1, x->bq, (int)n, x->pd, (int)n, 1, r->b, (int)in);
    for (size_t i = 0; i < in; i++)
        for (size_t j = 0; j < n; j++) r->a[i * in + q[j]] = r->a[q[j] * in + i] = sign * x->pd[i * n + j];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) r->a[q[i] * in + q[j]] = -x->square[i * n + j];
    for (size_t i = 0; i < r->out; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++) sum += x->bq[i * n + k] * x->square[k * n + j];
            r->b[i * in + q[j]] = sign * sum;
        }
}

static void toggle(const room *x, hd_channel_reader *r, int readers, size_t set, double sign) {
    for (int k = 0; k < readers; k++) toggle_in(x, &r[k], set, sign);
}

/* The cheapest present set (sign -1) or the most useful absent one (1) that is not fixed; `sets` when there is none. */
static size_t best_of(double *value, const room *x, const hd_channel_reader *r, int readers, size_t sets, const uint8_t *gone, const uint8_t *fixed, double sign) {
    size_t best = sets;
    for (size_t s = 0; s < sets; s++) {
        if (fixed[s] || gone[s] != (sign > 0)) continue;
        double v = worth(x, r, readers, s, sign);
        if (best < sets && (sign < 0 ? v >= *value : v <= *value)) continue;
        *value = v;
        best = s;
    }
    return best;
}

static void exchange_sets(const room *x, hd_channel_reader *r, int readers, size_t sets, uint8_t *gone, const uint8_t *fixed) {
    for (size_t round = 0; round < sets; round++) {
        double gain = 0, cost = 0;
        size_t comes = best_of(&gain, x, r, readers, sets, gone, fixed, 1);
        if (comes == sets || !(gain > LEAST_GAIN)) return;
        toggle(x, r, readers, comes, 1);
        gone[comes] = 0;
        size_t leaves = best_of(&cost, x, r, readers, sets, gone, fixed, -1);
        if (!(cost < gain - LEAST_GAIN)) leaves = comes; /* nothing won: as it was */
        toggle(x, r, readers, leaves, -1);
        gone[leaves] = 1;
        if (leaves == comes) return;
    }
}

hd_status hd_channels_remove(hd_channel_reader *r, int readers, size_t sets, uint8_t *gone, size_t left, int exchange, double *cost, hd_err *err) {
    size_t widest = 1, in = 1, out = 1, present = 0;
    for (int k = 0; k < readers; k++) {
        if (r[k].in > in) in = r[k].in;
        if (r[k].out > out) out = r[k].out;
        for (size_t s = 0; s < sets; s++)
            if (r[k].first[s + 1] - r[k].first[s] > widest) widest = r[k].first[s + 1] - r[k].first[s];
    }
    room x = {.square = malloc((widest + 2 * in + out) * widest * sizeof *x.square)};
    uint8_t *fixed = malloc(sets);
    if (!x.square || !fixed) {
        free(x.square);
        free(fixed);
        return hd_fail(err, HD_NOMEM, "no memory to choose among %zu channels", sets);
    }
    x.p = x.square + widest * widest;
    x.pd = x.p + in * widest;
    x.bq = x.pd + in * widest;
    memcpy(fixed, gone, sets);
    for (size_t s = 0; s < sets; s++) {
        if (gone[s]) toggle(&x, r, readers, s, -1);
        else present++;
    }
    for (; present > left; present--) {
        double least = 0;
        size_t s = best_of(&least, &x, r, readers, sets, gone, fixed, -1);
        toggle(&x, r, readers, s, -1);
        gone[s] = 1;
        if (cost) *cost++ = least;
    }
    if (exchange) exchange_sets(&x, r, readers, sets, gone, fixed);
    free(x.square);
    free(fixed);
    return HD_OK;
}
