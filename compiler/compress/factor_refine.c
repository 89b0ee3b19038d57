/* Refinement of a chain in the metric of the inputs. The composition is linear in each link, so with the others fixed E is a quadratic of its weights; a
 * few steps of conjugate gradients lower it. Links take turns, the last one first: it repairs what rounding to a rank broke. */
#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "factor_internal.h"

enum { STEPS = 12 };
static const double SETTLED = 1e-3, NOTHING_LEFT = 1e-12; /* of the error before a round; of the kernel's energy */

typedef struct site {
    const hd_kernel *k;
    hd_link *l;
    hd_part before, after;
} site;

static void multiply_metric(double *to, const double *from, const hd_kernel *k) {
    int in = (int)hd_kernel_inputs(k);
    if (k->h) cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, k->out, in, in, 1.0, from, in, k->h, in, 0.0, to, in);
    else memcpy(to, from, (size_t)k->out * (size_t)in * sizeof *to);
}

/* to [out][in][kh][kw] = after x before, x in place of the link's weights. */
static int forward(double *to, const site *s, double *x) {
    hd_link l = *s->l;
    hd_part own, inner = {0}, all = {0};
    l.w = x;
    int good = hd_part_of(&own, &l);
    if (good && s->before.w) {
        good = hd_part_join(&inner, &own, &s->before);
        free(own.w);
        own = inner;
    }
    if (good && s->after.w) {
        good = hd_part_join(&all, &s->after, &own);
        free(own.w);
        own = all;
    }
    if (good) memcpy(to, own.w, (size_t)s->k->out * hd_kernel_inputs(s->k) * sizeof *to);
    free(own.w);
    return good;
}

/* g, like the link's weights = the transpose of forward applied to d [out][in][kh][kw] */
static int backward(double *g, const site *s, const double *d) {
    const hd_kernel *k = s->k;
    const hd_link *l = s->l;
    size_t in = (size_t)k->in, kh = (size_t)k->kh, kw = (size_t)k->kw, cout = (size_t)l->cout, per = (size_t)(l->cin / l->groups);
    size_t ah = (size_t)s->after.kh, aw = (size_t)s->after.kw, th = kh - ah + 1, tw = kw - aw + 1;
    size_t bh = (size_t)s->before.kh, bw = (size_t)s->before.kw, lh = (size_t)l->kh, lw = (size_t)l->kw;
    double *t = calloc(cout * in * th * tw, sizeof *t);
    if (!t) return 0;
    for (size_t oc = 0; oc < (size_t)k->out; oc++)
        for (size_t c = s->after.w ? 0 : oc; c < (s->after.w ? cout : oc + 1); c++)
            for (size_t tap = 0; tap < ah * aw; tap++) {
                double f = s->after.w ? s->after.w[(oc * cout + c) * ah * aw + tap] : 1;
                const double *from = d + oc * in * kh * kw + tap / aw * kw + tap % aw;
                double *to = t + c * in * th * tw;
                if (f == 0) continue;
                for (size_t i = 0; ah * aw == 1 && i < in * kh * kw; i++) to[i] += f * from[i];
                for (size_t i = 0; ah * aw > 1 && i < in; i++)
                    for (size_t y = 0; y < th; y++)
                        for (size_t x = 0; x < tw; x++) to[(i * th + y) * tw + x] += f * from[(i * kh + y) * kw + x];
            }
    for (size_t c = 0; c < cout; c++)
        for (size_t j = 0; j < per; j++)
            for (size_t tap = 0; tap < lh * lw; tap++) {
                size_t column = l->groups > 1 ? c / (cout / (size_t)l->groups) * per + j : j;
                const double *from = t + c * in * th * tw + tap / lw * tw + tap % lw;
                double sum = 0;
                for (size_t i = s->before.w ? 0 : column; i < (s->before.w ? in : column + 1); i++)
                    for (size_t b = 0; b < bh * bw; b++)
                        sum += (s->before.w ? s->before.w[(column * in + i) * bh * bw + b] : 1) * from[(i * th + b / bw) * tw + b % bw];
                g[(c * per + j) * lh * lw + tap] = sum;
            }
    free(t);
    return 1;
}

static double dot(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* Conjugate gradients on the link's weights; every step lowers E. */
static int descend(const site *s) {
    size_t n = hd_link_weights(s->l), whole = (size_t)s->k->out * hd_kernel_inputs(s->k);
    double *r = malloc((3 * n + 2 * whole) * sizeof *r);
    if (!r) return 0;
    double *p = r + n, *ap = p + n, *d = ap + n, *dh = d + whole;
    int good = forward(d, s, s->l->w);
    for (size_t i = 0; i < whole; i++) d[i] = s->k->w[i] - d[i];
    multiply_metric(dh, d, s->k);
    good = good && backward(r, s, dh);
    memcpy(p, r, n * sizeof *p);
    double now = good ? dot(r, r, n) : 0, first = now;
    for (int step = 0; good && step < STEPS && now > 1e-24 * first && now > 0; step++) {
        good = forward(d, s, p);
        multiply_metric(dh, d, s->k);
        double curve = dot(d, dh, whole);
        if (!good || !(curve > 0) || !(good = backward(ap, s, dh))) break;
        double length = now / curve, next;
        for (size_t i = 0; i < n; i++) s->l->w[i] += length * p[i];
        for (size_t i = 0; i < n; i++) r[i] -= length * ap[i];
        next = dot(r, r, n);
        for (size_t i = 0; i < n; i++) p[i] = r[i] + next / now * p[i];
        now = next;
    }
    free(r);
    return good;
}

/* Each link once. */
static int turn(hd_chain *c, const hd_kernel *k) {
    int good = 1;
    for (int i = c->n; good && i-- > 0;) {
        site s = {.k = k, .l = &c->link[i]};
        good = hd_part_of_links(&s.before, c, 0, i) && hd_part_of_links(&s.after, c, i + 1, c->n);
        good = good && descend(&s);
        free(s.before.w);
        free(s.after.w);
    }
    return good;
}

hd_status hd_chain_refine(hd_chain *c, const hd_kernel *k, int rounds, hd_err *err) {
    hd_status s = hd_chain_balance(c, k, err);
    double *w = malloc((size_t)k->out * hd_kernel_inputs(k) * sizeof *w), energy = hd_kernel_error(k, NULL), before = energy;
    int good = w && energy >= 0;
    for (int round = 0; !s && good && round < rounds; round++) {
        good = turn(c, k) && hd_chain_kernel(w, c);
        double e = good ? hd_kernel_error(k, w) : -1;
        if (e < NOTHING_LEFT * energy || e > (1 - SETTLED) * before) break;
        before = e;
    }
    free(w);
    return s || good ? s : hd_fail(err, HD_NOMEM, "layer '%s': out of memory", k->name);
}
