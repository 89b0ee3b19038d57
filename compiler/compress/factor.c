/* Chains of convolutions: composition, error, balance, and the entry points of the factorisations. */
#include "factor.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "factor_internal.h"

enum { ROUNDS = 12 };
static const double MOST_WORK = 1e11; /* multiplications of a refinement */

void hd_chain_free(hd_chain *c) {
    for (int i = 0; i < c->n; i++) free(c->link[i].w);
    *c = (hd_chain){0};
}

int hd_chain_add(hd_chain *c, int cin, int cout, int groups, int kh, int kw, int along_y, int along_x) {
    hd_link *l = &c->link[c->n];
    *l = (hd_link){.cin = cin, .cout = cout, .groups = groups, .kh = kh, .kw = kw, .along_y = along_y, .along_x = along_x};
    l->w = calloc(hd_link_weights(l), sizeof *l->w);
    if (!l->w) return 0;
    c->n++;
    return 1;
}

size_t hd_chain_weights(const hd_chain *c) {
    size_t n = 0;
    for (int i = 0; i < c->n; i++) n += hd_link_weights(&c->link[i]);
    return n;
}

int hd_part_of(hd_part *out, const hd_link *l) {
    size_t taps = (size_t)l->kh * (size_t)l->kw, in = (size_t)l->cin, per = (size_t)(l->cin / l->groups), each = (size_t)(l->cout / l->groups);
    *out = (hd_part){l->cout, l->cin, l->kh, l->kw, calloc((size_t)l->cout * in * taps, sizeof *out->w)};
    for (size_t oc = 0; out->w && oc < (size_t)l->cout; oc++)
        memcpy(out->w + (oc * in + oc / each * per) * taps, l->w + oc * per * taps, per * taps * sizeof *out->w);
    return out->w != NULL;
}

int hd_part_join(hd_part *out, const hd_part *a, const hd_part *b) {
    size_t kh = (size_t)(a->kh + b->kh - 1), kw = (size_t)(a->kw + b->kw - 1), n = (size_t)b->in, bh = (size_t)b->kh, bw = (size_t)b->kw;
    *out = (hd_part){a->out, b->in, (int)kh, (int)kw, calloc((size_t)a->out * n * kh * kw, sizeof *out->w)};
    if (!out->w) return 0;
    const double *factor = a->w;
    for (size_t m = 0; m < (size_t)a->out; m++)
        for (size_t k = 0; k < (size_t)a->in; k++)
            for (size_t ay = 0; ay < (size_t)a->kh; ay++)
                for (size_t ax = 0; ax < (size_t)a->kw; ax++) {
                    double f = *factor++;
                    if (f == 0) continue;
                    const double *from = b->w + k * n * bh * bw;
                    double *to = out->w + m * n * kh * kw + ay * kw + ax;
                    if (kh == bh && kw == bw) {
                        for (size_t i = 0; i < n * bh * bw; i++) to[i] += f * from[i];
                        continue;
                    }
                    for (size_t i = 0; i < n; i++)
                        for (size_t y = 0; y < bh; y++)
                            for (size_t x = 0; x < bw; x++) to[(i * kh + y) * kw + x] += f * *from++;
                }
    return 1;
}

int hd_part_of_links(hd_part *out, const hd_chain *c, int first, int last) {
    *out = (hd_part){.kh = 1, .kw = 1};
    if (first >= last) return 1;
    if (!hd_part_of(out, &c->link[first])) return 0;
    for (int i = first + 1; i < last; i++) {
        hd_part next, joined = {0};
        int good = hd_part_of(&next, &c->link[i]) && hd_part_join(&joined, &next, out);
        free(next.w);
        free(out->w);
        *out = joined;
        if (!good) return 0;
    }
    return 1;
}

int hd_chain_kernel(double *w, const hd_chain *c) {
    hd_part all;
    int good = hd_part_of_links(&all, c, 0, c->n);
    if (good) memcpy(w, all.w, (size_t)all.out * (size_t)all.in * (size_t)all.kh * (size_t)all.kw * sizeof *w);
    free(all.w);
    return good;
}

double hd_kernel_error(const hd_kernel *k, const double *w) {
    size_t in = hd_kernel_inputs(k), n = (size_t)k->out * in;
    double *d = malloc(2 * n * sizeof *d), sum = 0;
    if (!d) return -1;
    double *dh = d + n;
    for (size_t i = 0; i < n; i++) d[i] = (w ? w[i] : 0) - k->w[i];
    if (k->h) cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, k->out, (int)in, (int)in, 1.0, d, (int)in, k->h, (int)in, 0.0, dh, (int)in);
    else memcpy(dh, d, n * sizeof *d);
    for (size_t i = 0; i < n; i++) sum += d[i] * dh[i];
    free(d);
    return sum;
}

/* Standard deviation of what channel `row` of a part gives; the part's taps stand in the middle of the kernel's. */
static double deviation(const hd_kernel *k, const hd_part *p, int row) {
    size_t taps = (size_t)p->kh * (size_t)p->kw, size = (size_t)p->in * taps, all = hd_kernel_inputs(k);
    size_t oy = (size_t)(k->kh - p->kh) / 2, ox = (size_t)(k->kw - p->kw) / 2;
    const double *w = p->w + (size_t)row * size;
    double sum = 0;
    for (size_t i = 0; i < size; i++)
        for (size_t j = k->h ? 0 : i; j < (k->h ? size : i + 1); j++) {
            size_t a = (i / taps * (size_t)k->kh + oy + i % taps / (size_t)p->kw) * (size_t)k->kw + ox + i % (size_t)p->kw;
            size_t b = (j / taps * (size_t)k->kh + oy + j % taps / (size_t)p->kw) * (size_t)k->kw + ox + j % (size_t)p->kw;
            sum += w[i] * w[j] * (k->h ? k->h[a * all + b] : 1);
        }
    return sqrt(sum);
}

static void scale_outputs(hd_link *l, int row, double by) {
    size_t n = hd_link_weights(l) / (size_t)l->cout;
    for (size_t i = 0; i < n; i++) l->w[(size_t)row * n + i] *= by;
}

static void scale_inputs(hd_link *l, int column, double by) {
    if (l->groups > 1) {
        scale_outputs(l, column, by);
        return;
    }
    size_t taps = (size_t)l->kh * (size_t)l->kw;
    for (size_t oc = 0; oc < (size_t)l->cout; oc++)
        for (size_t t = 0; t < taps; t++) l->w[(oc * (size_t)l->cin + (size_t)column) * taps + t] *= by;
}

hd_status hd_chain_balance(hd_chain *c, const hd_kernel *k, hd_err *err) {
    for (int i = 1; i < c->n; i++) {
        hd_part before;
        if (!hd_part_of_links(&before, c, 0, i)) return hd_fail(err, HD_NOMEM, "layer '%s': out of memory", k->name);
        for (int row = 0; row < before.out; row++) {
            double d = deviation(k, &before, row);
            if (!(d > 1e-150)) continue;
            scale_outputs(&c->link[i - 1], row, 1 / d);
            scale_inputs(&c->link[i], row, d);
        }
        free(before.w);
    }
    return HD_OK;
}

static hd_status check(const hd_kernel *k, hd_err *err) {
    if (k->out < 1 || k->in < 1 || k->kh < 1 || k->kw < 1)
        return hd_fail(err, HD_RANGE, "layer '%s': kernel %d x %d x %d x %d; sizes are at least 1", k->name, k->out, k->in, k->kh, k->kw);
    size_t in = hd_kernel_inputs(k);
    for (size_t i = 0; i < (size_t)k->out * in; i++)
        if (!isfinite(k->w[i])) return hd_fail(err, HD_RANGE, "layer '%s': weight %zu is not finite", k->name, i);
    return HD_OK;
}

/* rank[] given, or chosen by share when it is above 0. */
static hd_status factor(hd_chain *out, const hd_kernel *k, hd_factoring kind, int *rank, double share, hd_err *err) {
    *out = (hd_chain){0};
    hd_status s = check(k, err);
    if (s) return s;
    if (kind == HD_FACTOR_NONE || (unsigned)kind > HD_FACTOR_TRAIN) return hd_fail(err, HD_RANGE, "layer '%s': factorisation %u; allowed 1..4", k->name, (unsigned)kind);
    if (k->kh == 1 && k->kw == 1) {
        if (kind == HD_FACTOR_TUCKER && rank[1] < rank[0]) rank[0] = rank[1];
        kind = HD_FACTOR_SVD;
    }
    size_t in = (size_t)k->in, n = (size_t)k->out * hd_kernel_inputs(k);
    double *l = malloc((in * in + n) * sizeof *l);
    if (!l) return hd_fail(err, HD_NOMEM, "layer '%s': out of memory", k->name);
    double *w = l + in * in;
    if (kind != HD_FACTOR_SVD) s = hd_kernel_whiten(w, l, k, err);
    if (!s && share > 0) s = hd_factor_choose(rank, k, w, kind, share, err);
    for (int i = 0; !s && i < (kind == HD_FACTOR_TRAIN ? 3 : kind == HD_FACTOR_TUCKER ? 2 : 1); i++)
        if (rank[i] < 1) s = hd_fail(err, HD_RANGE, "layer '%s': rank %d; at least 1", k->name, rank[i]);
    if (!s && kind == HD_FACTOR_SVD) s = hd_factor_svd(out, k, rank[0], err);
    if (!s && kind == HD_FACTOR_TUCKER) s = hd_factor_tucker(out, k, w, l, rank[0], rank[1], err);
    if (!s && kind == HD_FACTOR_CP) s = hd_factor_cp(out, k, w, l, rank[0], err);
    if (!s && kind == HD_FACTOR_TRAIN) s = hd_factor_train(out, k, w, l, rank, err);
    free(l);
    if (s) hd_chain_free(out);
    return s;
}

/* Sums must have one order: one BLAS thread. Inside a parallel region that is its owner's affair. */
static int quiet_blas(void) {
    int threads = openblas_get_num_threads();
    if (!omp_in_parallel()) openblas_set_num_threads(1);
    return threads;
}
static void restore_blas(int threads) {
    if (!omp_in_parallel()) openblas_set_num_threads(threads);
}

hd_status hd_factor_ranks(hd_chain *out, const hd_kernel *k, hd_factoring kind, const int rank[3], hd_err *err) {
    int own[3] = {rank[0], kind == HD_FACTOR_TUCKER || kind == HD_FACTOR_TRAIN ? rank[1] : 1, kind == HD_FACTOR_TRAIN ? rank[2] : 1};
    int threads = quiet_blas();
    hd_status s = factor(out, k, kind, own, 0, err);
    restore_blas(threads);
    return s;
}

hd_status hd_factor_share(hd_chain *out, const hd_kernel *k, hd_factoring kind, double share, hd_err *err) {
    int rank[3] = {1, 1, 1}, threads = quiet_blas();
    *out = (hd_chain){0};
    hd_status s = share > 0 ? factor(out, k, kind, rank, share, err) : hd_fail(err, HD_RANGE, "layer '%s': share %g; must be above 0", k->name, share);
    /* A chain of two is the optimum already. */
    double in = (double)hd_kernel_inputs(k), round = 40.0 * k->out * in * (in + k->out);
    int rounds = (int)fmin(ROUNDS, fmax(1, MOST_WORK / round));
    if (!s && out->n > 2) s = hd_chain_refine(out, k, rounds, err);
    if (!s) s = hd_chain_balance(out, k, err);
    restore_blas(threads);
    if (s) hd_chain_free(out);
    return s;
}
