/* A layer made ready for codebook search: padded, damped, ordered, factored; and the metric tables of a codebook on it. */
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codebook_internal.h"

typedef struct ranked {
    double diagonal;
    int group;
} ranked;

static int by_falling_diagonal(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->diagonal != y->diagonal) return x->diagonal > y->diagonal ? -1 : 1;
    return x->group - y->group;
}

/* Column of the padded problem at a place of the processing order. */
static int column_at(const hd_prepared *p, int place) { return p->order[place / p->group] * p->group + place % p->group; }

/* H = U U^T with U upper: the lower Cholesky factor of the matrix read backwards. Returns 0 when H is not positive definite. */
static int factor(const hd_prepared *p, double *l) {
    size_t n = (size_t)p->n;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            l[i * n + j] = p->h[(size_t)column_at(p, (int)(n - 1 - i)) * n + (size_t)column_at(p, (int)(n - 1 - j))];
    /* The upper factor of columns is the lower one of rows. */
    if (LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'U', p->n, l, p->n)) return 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) p->u[i * n + j] = j < i ? 0.0f : (float)l[(n - 1 - i) * n + (n - 1 - j)];
    return 1;
}

/* The weights that are wanted: linear.h says which with yx. */
static hd_status target(hd_prepared *out, const hd_linear *p, double damping, hd_err *err) {
    size_t in = (size_t)p->in, rows = (size_t)p->out, n = (size_t)out->n;
    double *t = malloc(rows * in * sizeof *t), *l = malloc(in * in * sizeof *l);
    hd_status status = t && l ? HD_OK : hd_fail(err, HD_NOMEM, "layer '%s': no memory for its target", p->name);
    for (size_t i = 0; i < rows * in && !status; i++) t[i] = p->yx ? p->yx[i] + damping * (double)p->w[i] : (double)p->w[i];
    if (p->yx && !status) {
        for (size_t i = 0; i < in; i++) memcpy(l + i * in, out->h + i * n, in * sizeof *l);
        if (LAPACKE_dposv(LAPACK_COL_MAJOR, 'L', p->in, p->out, l, p->in, t, p->in))
            status = hd_fail(err, HD_RANGE, "layer '%s': the second moment of its inputs is not positive definite", p->name);
    }
    for (size_t i = 0; i < rows * in && !status; i++) {
        if (!isfinite(t[i])) status = hd_fail(err, HD_RANGE, "layer '%s': weight [%zu][%zu] is not finite", p->name, i / in, i % in);
        else out->w[i / in * n + i % in] = p->h && p->h[i % in * in + i % in] == 0.0 ? 0.0f : (float)t[i];
    }
    free(t);
    free(l);
    return status;
}

void hd_prepared_free(hd_prepared *p) {
    free(p->w);
    free(p->h);
    free(p->u);
    free(p->order);
    memset(p, 0, sizeof *p);
}

hd_status hd_prepare(hd_prepared *out, const hd_linear *p, const hd_codebook *c, double damping, hd_err *err) {
    memset(out, 0, sizeof *out);
    if (p->out < 1 || p->in < 1) return hd_fail(err, HD_RANGE, "layer '%s': %d x %d weights; at least 1 x 1", p->name, p->out, p->in);
    if (!(damping > 0.0 && damping <= 1e6)) return hd_fail(err, HD_RANGE, "layer '%s': damping %g; above 0, at most 1e6", p->name, damping);
    int in = p->in, groups = (in + c->group - 1) / c->group, n = groups * c->group;
    size_t sn = (size_t)n, si = (size_t)in, so = (size_t)p->out;
    *out = (hd_prepared){.out = p->out, .in = in, .n = n, .group = c->group, .groups = groups};
    out->w = calloc(so * sn, sizeof *out->w);
    out->h = calloc(sn * sn, sizeof *out->h);
    out->u = malloc(sn * sn * sizeof *out->u);
    out->order = malloc((size_t)groups * sizeof *out->order);
    ranked *rank = calloc((size_t)groups, sizeof *rank);
    double *l = malloc(sn * sn * sizeof *l);
    hd_status status = HD_OK;
    if (!out->w || !out->h || !out->u || !out->order || !rank || !l) {
        status = hd_fail(err, HD_NOMEM, "layer '%s': no memory for a %d x %d problem", p->name, p->out, n);
        goto end;
    }
    double mean = 0;
    for (size_t i = 0; i < si; i++) mean += p->h ? p->h[i * si + i] : 1.0;
    damping *= mean / (double)in;
    if (!(mean > 0.0 && mean < HUGE_VAL)) {
        status = hd_fail(err, HD_RANGE, "layer '%s': its inputs on the calibration data have a second moment of %g; it must be above 0 and finite", p->name, mean);
        goto end;
    }
    for (size_t i = 0; i < si; i++) {
        for (size_t j = 0; j < si; j++) out->h[i * sn + j] = p->h ? p->h[i * si + j] : (double)(i == j);
        out->h[i * sn + i] += damping;
    }
    for (size_t i = si; i < sn; i++) out->h[i * sn + i] = damping;
    if ((status = target(out, p, damping, err))) goto end;
    for (int g = 0; g < groups; g++) {
        rank[g].group = g;
        for (int i = 0; i < c->group; i++) rank[g].diagonal += out->h[(size_t)(g * c->group + i) * (sn + 1)];
    }
    /* A trellis is decoded in storage order, so it is searched in it. */
    if (c->window == c->bits) qsort(rank, (size_t)groups, sizeof *rank, by_falling_diagonal);
    for (int g = 0; g < groups; g++) out->order[g] = rank[g].group;
    if (!factor(out, l)) {
        status = hd_fail(err, HD_RANGE, "layer '%s': the second moment of its inputs is not positive definite", p->name);
        goto end;
    }
    for (size_t r = 0; r < so; r++)
        for (size_t i = 0; i < si; i++) {
            double row = 0;
            for (size_t j = 0; j < si; j++) row += out->h[i * sn + j] * (double)out->w[r * sn + j];
            out->reference += row * (double)out->w[r * sn + i];
        }
    out->weight = out->reference > 0 ? 1.0 / out->reference : 0.0;
end:
    free(rank);
    free(l);
    if (status) hd_prepared_free(out);
    return status;
}

void hd_metric_free(hd_metric *m) {
    free(m->u);
    free(m->u_norm);
    free(m->h_norm);
    free(m->plain);
    memset(m, 0, sizeof *m);
}

hd_status hd_metric_new(hd_metric *out, const hd_prepared *p, const hd_codebook *c, hd_err *err) {
    size_t entries = (size_t)1 << c->window, books = (size_t)c->books, group = (size_t)c->group, all = (size_t)p->groups * books * entries;
    *out = (hd_metric){malloc(all * group * sizeof(float)), malloc(all * sizeof(float)), malloc(all * sizeof(float)),
                       malloc(books * entries * group * sizeof(float))};
    if (!out->plain || !out->u || !out->u_norm || !out->h_norm) {
        hd_metric_free(out);
        return hd_fail(err, HD_NOMEM, "no memory for the metric of %zu table entries", all * group);
    }
    for (size_t book = 0; book < books; book++)
        for (size_t e = 0; e < entries; e++)
            for (size_t d = 0; d < group; d++) out->plain[(book * group + d) * entries + e] = c->entry[(book * entries + e) * group + d];
#pragma omp parallel for schedule(static)
    for (int step = 0; step < p->groups; step++) {
        size_t first = (size_t)step * group, stored = (size_t)p->order[step] * group, n = (size_t)p->n;
        for (size_t book = 0; book < books; book++)
            for (size_t e = 0; e < entries; e++) {
                const int16_t *entry = c->entry + (book * entries + e) * group;
                double norm = 0, h_norm = 0;
                for (size_t j = 0; j < group; j++) {
                    double x = 0, y = 0;
                    for (size_t i = 0; i <= j; i++) x += entry[i] * (double)p->u[(first + i) * n + first + j];
                    for (size_t i = 0; i < group; i++) y += entry[i] * p->h[(stored + i) * n + stored + j];
                    norm += x * x;
                    h_norm += y * entry[j];
                    out->u[(((size_t)step * books + book) * group + j) * entries + e] = (float)x;
                }
                out->u_norm[((size_t)step * books + book) * entries + e] = (float)norm;
                out->h_norm[((size_t)p->order[step] * books + book) * entries + e] = (float)h_norm;
            }
    }
    return HD_OK;
}
