#include "lm_lowrank.h"

#include <cblas.h>
#include <lapacke.h>
#include <stdlib.h>
#include <string.h>

#include "factor.h"
#include "lm_policy.h"

/* One matrix at work. */
typedef struct work {
    const hd_layer_policy *o;
    const hd_linear *p;
    hd_linear_format format; /* of the residual, or of both factors */
    hd_linear_options options;
    double damping, *t, *h;  /* wanted [out][in]; H with damping [in][in] */
    hd_err *err;
} work;

static hd_status no_memory(const work *w) { return hd_fail(w->err, HD_NOMEM, "%s: out of memory", w->p->name); }

/* T = (yx + d W)(H + d I)^-1, as hd_linear_solve sees it. */
static hd_status set_target(work *w) {
    const hd_linear *p = w->p;
    size_t in = (size_t)p->in, n = (size_t)p->out * in;
    double mean = 0;
    for (size_t i = 0; i < in; i++) mean += (p->h ? p->h[i * in + i] : 1) / (double)in;
    w->damping = mean > 0 ? w->options.damping * mean : 1;
    for (size_t i = 0; i < in * in; i++) w->h[i] = (p->h ? p->h[i] : i % (in + 1) == 0) + (i % (in + 1) == 0 ? w->damping : 0);
    for (size_t i = 0; i < n; i++) w->t[i] = (double)p->w[i];
    if (!p->yx) return HD_OK;
    double *factor = malloc(in * in * sizeof *factor);
    if (!factor) return no_memory(w);
    memcpy(factor, w->h, in * in * sizeof *factor);
    for (size_t i = 0; i < n; i++) w->t[i] = p->yx[i] + w->damping * w->t[i];
    int bad = LAPACKE_dposv(LAPACK_COL_MAJOR, 'L', p->in, p->out, factor, p->in, w->t, p->in);
    free(factor);
    return bad ? hd_fail(w->err, HD_RANGE, "%s: the second moment of its inputs is not positive definite (column %d); more damping is needed", p->name, bad) : HD_OK;
}

/* Stores x [out][in] in the metric h. */
static hd_status solve_factor(const work *w, hd_lm_matrix *to, const double *x, int out, int in, const double *h) {
    size_t n = (size_t)out * (size_t)in;
    float *copy = malloc(n * sizeof *copy);
    if (!copy) return no_memory(w);
    for (size_t i = 0; i < n; i++) copy[i] = (float)x[i];
    hd_linear p = {.name = w->p->name, .out = out, .in = in, .w = copy, .h = h};
    hd_linear_options options;
    to->format = w->format;
    if (w->o->recipe.residual) to->format = (hd_linear_format){.bits = 8, .grid = HD_GRID_ODD};
    hd_linear_defaults(&options, w->o->recipe.solver == HD_METHOD_RTN ? HD_METHOD_RTN : HD_METHOD_GPTQ);
    hd_status s = hd_linear_solve(&to->linear, &p, &to->format, &options, w->err);
    free(copy);
    return s;
}

/* up = T H V^T (V H V^T)^-1, V the stored one: the best outputs' side for it. */
static hd_status solve_up(const work *w, hd_lm_matrix *part, int rank) {
    int out = w->p->out, in = w->p->in;
    size_t r = (size_t)rank, n = (size_t)in;
    double *v = malloc((2 * r * n + 2 * r * r + (size_t)out * r) * sizeof *v);
    if (!v) return no_memory(w);
    double *vh = v + r * n, *m = vh + r * n, *factor = m + r * r, *up = factor + r * r;
    for (size_t i = 0; i < r * n; i++) v[i] = (double)part[0].linear.w[i];
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rank, in, in, 1.0, v, in, w->h, in, 0.0, vh, in);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rank, rank, in, 1.0, vh, in, v, in, 0.0, m, rank);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, out, rank, in, 1.0, w->t, in, vh, in, 0.0, up, rank);
    for (size_t i = 0; i < r; i++)
        for (size_t j = 0; j < i; j++) m[i * r + j] = m[j * r + i];
    memcpy(factor, m, r * r * sizeof *m);
    /* Coarse codes may make two rows of V alike. */
    double trace = 0;
    for (size_t i = 0; i < r; i++) trace += m[i * r + i];
    for (size_t i = 0; i < r; i++) factor[i * r + i] += 1e-9 * trace + 1e-300;
    int bad = LAPACKE_dposv(LAPACK_COL_MAJOR, 'L', rank, out, factor, rank, up, rank);
    hd_status s = bad ? hd_fail(w->err, HD_RANGE, "%s: its factors are singular (column %d)", w->p->name, bad) : solve_factor(w, &part[1], up, out, rank, m);
    free(v);
    return s;
}

/* d [out][in] = up down */
static void product(double *d, const hd_lm_matrix *part, int rank, int out, int in) {
    const float *down = part[0].linear.w, *up = part[1].linear.w;
    memset(d, 0, (size_t)out * (size_t)in * sizeof *d);
    for (size_t row = 0; row < (size_t)out; row++)
        for (size_t r = 0; r < (size_t)rank; r++)
            for (size_t i = 0; i < (size_t)in; i++) d[row * (size_t)in + i] += (double)up[row * (size_t)rank + r] * (double)down[r * (size_t)in + i];
}

/* The rest towards T - U V: its own weights are W - U V, and its inputs' products with the wanted outputs lose those of U V. */
static hd_status solve_rest(const work *w, hd_lm_matrix *part, int rank) {
    const hd_linear *p = w->p;
    size_t n = (size_t)p->out * (size_t)p->in;
    double *d = malloc(2 * n * sizeof *d), *yx = d + n;
    float *copy = malloc(n * sizeof *copy);
    hd_status s = d && copy ? HD_OK : no_memory(w);
    if (!s) {
        hd_linear rest = *p;
        product(d, part, rank, p->out, p->in);
        for (size_t i = 0; i < n; i++) copy[i] = (float)((double)p->w[i] - d[i]);
        rest.w = copy;
        if (p->yx) {
            memcpy(yx, p->yx, n * sizeof *yx);
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, p->out, p->in, p->in, -1.0, d, p->in, p->h, p->in, 1.0, yx, p->in);
            rest.yx = yx;
        }
        part[2].format = w->format;
        s = hd_linear_solve(&part[2].linear, &rest, &w->format, &w->options, w->err);
    }
    free(d);
    free(copy);
    return s;
}

hd_status hd_lm_join_parts(hd_lm_matrix *m, int out, int in, const char *name, hd_err *err) {
    size_t n = (size_t)out * (size_t)in;
    double *d = malloc(n * sizeof *d);
    const float *rest = m->part[2].linear.w;
    m->linear.w = malloc(n * sizeof *m->linear.w);
    if (d && m->linear.w) {
        product(d, m->part, m->rank, out, in);
        for (size_t i = 0; i < n; i++) m->linear.w[i] = (float)(d[i] + (rest ? (double)rest[i] : 0));
    }
    free(d);
    for (int i = 0; i < 3; i++) m->linear.bits_stored += m->part[i].linear.bits_stored;
    return d && m->linear.w ? HD_OK : hd_fail(err, HD_NOMEM, "%s: out of memory", name);
}

/* Errors against the target in the undamped metric, as hd_linear_solve gives them. */
static hd_status judge(const work *w, hd_lm_matrix *out) {
    size_t n = (size_t)w->p->out * (size_t)w->p->in;
    double *d = malloc(n * sizeof *d);
    hd_kernel k = {.name = w->p->name, .out = w->p->out, .in = w->p->in, .kh = 1, .kw = 1, .w = w->t, .h = w->p->h};
    for (size_t i = 0; d && i < n; i++) d[i] = (double)out->linear.w[i];
    out->linear.error = d ? hd_kernel_error(&k, d) : -1;
    out->linear.reference = hd_kernel_error(&k, NULL);
    free(d);
    return out->linear.error >= 0 && out->linear.reference >= 0 ? HD_OK : no_memory(w);
}

hd_status hd_lm_solve_low_rank(const hd_layer_policy *o, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    size_t in = (size_t)p->in, n = (size_t)p->out * in;
    work w = {.o = o, .p = p, .err = err, .t = malloc(n * sizeof(double)), .h = malloc(in * in * sizeof(double))};
    hd_chain c = {0};
    hd_lm_format_of(&w.format, &w.options, o);
    out->part = calloc(3, sizeof *out->part);
    hd_status s = w.t && w.h && out->part ? set_target(&w) : no_memory(&w);
    hd_kernel k = {.name = p->name, .out = p->out, .in = p->in, .kh = 1, .kw = 1, .w = w.t, .h = w.h};
    if (!s) s = hd_factor_share(&c, &k, HD_FACTOR_SVD, (double)o->recipe.rank, err);
    if (!s) {
        out->rank = c.link[0].cout;
        s = solve_factor(&w, &out->part[0], c.link[0].w, out->rank, p->in, w.h);
    }
    if (!s) s = solve_up(&w, out->part, out->rank);
    if (!s && o->recipe.residual) s = solve_rest(&w, out->part, out->rank);
    if (!s) s = hd_lm_join_parts(out, p->out, p->in, p->name, err);
    if (!s) s = judge(&w, out);
    hd_chain_free(&c);
    free(w.t);
    free(w.h);
    return s;
}
