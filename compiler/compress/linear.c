/* The layer problem: checks, the objective and its target, the choice of solver, what is stored. */
#include "linear.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "linear_internal.h"
#include "model_internal.h"

/* Most multiplications of exact elimination (units * in^3): some minutes of one core. */
static const double MOST_EXACT = 2e11;
static const char *const METHODS[] = {"rtn", "gptq", "awq", "sparsegpt", "clip", "iobs"};

void hd_linear_defaults(hd_linear_options *o, hd_method m) {
    *o = (hd_linear_options){.method = m, .act_order = m == HD_METHOD_GPTQ, .damping = 0.01, .awq_points = 20,
                             .sweeps = m == HD_METHOD_GPTQ || m == HD_METHOD_SPARSEGPT || m == HD_METHOD_IOBS ? 10 : 0};
}

void hd_linear_result_free(hd_linear_result *r) {
    free(r->w);
    free(r->v);
    free(r->scale);
    free(r->shift);
    free(r->zero);
    free(r->mask);
    free(r->in_scale);
    *r = (hd_linear_result){0};
}

static hd_status check(const hd_linear *p, const hd_linear_format *f, const hd_linear_options *o, hd_err *err) {
    if (p->out < 1 || p->in < 1) return hd_fail(err, HD_RANGE, "layer '%s': %d x %d weights; at least 1 x 1", p->name, p->out, p->in);
    if ((unsigned)o->method > HD_METHOD_IOBS) return hd_fail(err, HD_RANGE, "layer '%s': method %u; allowed 0..5", p->name, (unsigned)o->method);
    if (f->bits != 16) {
        int low = 1, high = 8;
        if (!f->affine && (unsigned)f->grid < HD_GRIDS) hd_grid_bits(&low, &high, f->grid);
        if ((unsigned)f->grid >= HD_GRIDS || f->bits < low || f->bits > high)
            return hd_fail(err, HD_RANGE, "layer '%s': %d bits on grid %u; allowed %d..%d, or 16 (float)", p->name, f->bits, (unsigned)f->grid, low, high);
        if (f->group < 0) return hd_fail(err, HD_RANGE, "layer '%s': groups of %d inputs; at least 1, or 0 (the row)", p->name, f->group);
    }
    if (!(o->damping >= 0 && o->damping <= 1e6)) return hd_fail(err, HD_RANGE, "layer '%s': damping %g; allowed 0..1e6", p->name, o->damping);
    if (o->method == HD_METHOD_AWQ && (o->awq_points < 1 || o->awq_points > 1000))
        return hd_fail(err, HD_RANGE, "layer '%s': %d powers of input scales; allowed 1..1000", p->name, o->awq_points);
    if (o->sweeps < 0) return hd_fail(err, HD_RANGE, "layer '%s': %d sweeps; at least 0", p->name, o->sweeps);
    if ((unsigned)f->sparsity > HD_SPARSE_BLOCK) return hd_fail(err, HD_RANGE, "layer '%s': sparsity %u; allowed 0..3", p->name, (unsigned)f->sparsity);
    int sparse = f->sparsity != HD_SPARSE_NONE;
    if (o->method != HD_METHOD_RTN && sparse != (o->method == HD_METHOD_SPARSEGPT || o->method == HD_METHOD_IOBS))
        return hd_fail(err, HD_UNSUPPORTED, "layer '%s': method '%s' on a %s format; sparse formats go with 'rtn', 'sparsegpt' and 'iobs', dense ones with all others",
                       p->name, METHODS[o->method], sparse ? "sparse" : "dense");
    if (f->keep && o->method == HD_METHOD_AWQ)
        return hd_fail(err, HD_UNSUPPORTED, "layer '%s': a given mask with method 'awq'; it goes with the others", p->name);
    if (f->bits == 16 && !sparse) return hd_fail(err, HD_UNSUPPORTED, "layer '%s': a dense format of float values has nothing to solve", p->name);
    if ((f->sparsity == HD_SPARSE_UNSTRUCTURED || f->sparsity == HD_SPARSE_BLOCK) && !(f->density > 0 && f->density <= 1))
        return hd_fail(err, HD_RANGE, "layer '%s': density %g; above 0, at most 1", p->name, (double)f->density);
    if (f->sparsity == HD_SPARSE_N_OF_M && !(f->n >= 1 && f->n <= f->m && f->m <= 64))
        return hd_fail(err, HD_RANGE, "layer '%s': %d of %d; allowed 1 <= n <= m <= 64", p->name, f->n, f->m);
    if (f->affine && f->shift_groups && f->group > 0)
        return hd_fail(err, HD_UNSUPPORTED, "layer '%s': zero points on groups with shifts; they go with a scale a group or a row", p->name);
    if (f->one_scale && (f->affine || f->group > 0 || o->method == HD_METHOD_AWQ || o->method == HD_METHOD_CLIP))
        return hd_fail(err, HD_UNSUPPORTED, "layer '%s': one scale for the layer with %s; it goes with symmetric grids without groups and with 'rtn', 'gptq', 'sparsegpt', 'iobs'",
                       p->name, f->affine ? "zero points" : f->group > 0 ? "groups" : METHODS[o->method]);
    if (o->moving_groups && (o->act_order || f->group < 1 || f->one_scale || o->method != HD_METHOD_GPTQ))
        return hd_fail(err, HD_UNSUPPORTED, "layer '%s': scales of groups found on the way; they go with method 'gptq', groups, and columns in order (no act-order)", p->name);
    if (f->sparsity == HD_SPARSE_BLOCK && !(f->block_in >= 1 && f->block_out >= 1 && f->tap >= 0))
        return hd_fail(err, HD_RANGE, "layer '%s': blocks of %d x %d, taps of %d; at least 1 x 1, 0", p->name, f->block_in, f->block_out, f->tap);
    return HD_OK;
}

/* h = H + damping * mean(diag H) I; a dead input has 1 on its diagonal and nothing beside it. Returns the damping. */
static double objective(hd_solver *s) {
    size_t in = s->in;
    const double *h = s->p->h;
    double mean = 0;
    for (size_t i = 0; i < in; i++) mean += (h ? h[i * in + i] : 1) / (double)in;
    double damping = s->o->damping * mean;
    for (size_t i = 0; i < in; i++)
        for (size_t j = 0; j < in; j++) {
            int dead = h && (!(h[i * in + i] > 0) || !(h[j * in + j] > 0));
            double v = h ? h[i * in + j] : i == j;
            s->h[i * in + j] = i != j ? (dead ? 0 : v) : dead ? 1 : v + damping;
        }
    return damping;
}

static hd_status target(hd_solver *s, double damping) {
    size_t in = s->in, n = s->out * in;
    const double *h = s->p->h;
    for (size_t i = 0; i < n; i++) s->t[i] = (double)s->p->w[i];
    if (s->p->yx) {
        double *factor = malloc(in * in * sizeof *factor);
        if (!factor) return hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name);
        memcpy(factor, s->h, in * in * sizeof *factor);
        for (size_t i = 0; i < n; i++) s->t[i] = damping * s->t[i] + s->p->yx[i];
        int bad = LAPACKE_dposv(LAPACK_COL_MAJOR, 'L', (int)in, (int)s->out, factor, (int)in, s->t, (int)in);
        free(factor);
        if (bad) return hd_fail(s->err, HD_RANGE, "layer '%s': the second moment of its inputs is not positive definite (column %d); more damping is needed",
                                s->p->name, bad);
    }
    for (size_t i = 0; i < n; i++)
        if (h && !(h[i % in * in + i % in] > 0)) s->t[i] = 0;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(s->t[i])) return hd_fail(s->err, HD_RANGE, "layer '%s': weight [%zu][%zu] is not finite", s->p->name, i / in, i % in);
    return HD_OK;
}

/* tr(d H d^T) with the undamped H. */
static double true_error(const hd_solver *s, const float *w) {
    size_t in = s->in;
    double total = 0;
    for (size_t row = 0; row < s->out; row++)
        for (size_t i = 0; i < in; i++) {
            double di = (w ? (double)w[row * in + i] : 0) - s->t[row * in + i], sum = 0;
            if (di == 0) continue;
            if (!s->p->h) sum = di;
            for (size_t j = 0; s->p->h && j < in; j++) sum += s->p->h[i * in + j] * ((w ? (double)w[row * in + j] : 0) - s->t[row * in + j]);
            total += di * sum;
        }
    return total;
}

static double stored_bits(const hd_solver *s) {
    const hd_linear_format *f = s->f;
    double all = (double)(s->out * s->in), present = all, rows = (double)s->out, bits = 0, scale = f->wide_scales ? 32 : 16;
    if (s->mask) {
        present = 0;
        for (size_t i = 0; i < s->out * s->in; i++) present += s->mask[i];
        size_t tap = f->tap > 0 ? (size_t)f->tap : s->in, wide = (size_t)f->block_in, blocks = 0;
        for (size_t from = 0; f->sparsity == HD_SPARSE_BLOCK && from < s->in; from += tap) {
            size_t n = s->in - from < tap ? s->in - from : tap;
            blocks += (n + wide - 1) / wide;
        }
        bits += f->sparsity == HD_SPARSE_BLOCK ? (double)blocks * ceil(rows / f->block_out) : all; /* a bit each */
    }
    if (f->bits == 16) bits += 16 * present;
    else {
        bits += s->grid.highest == 2 && s->grid.lowest == -2 ? 1.6 * present : f->bits * present;
        bits += f->shift_groups || s->groups == 1 ? scale * rows : scale * rows * (double)s->groups;
        if (s->shifts > 1) bits += 2 * rows * (double)s->groups;
        if (s->zero) bits += f->bits * rows * (double)s->groups;
    }
    return s->in_scale ? bits + 16 * (double)s->in : bits;
}

static hd_status pack(hd_linear_result *r, hd_solver *s) {
    size_t in = s->in, n = s->out * in, groups = s->groups;
    int single = s->shifts > 1 || groups == 1;
    r->w = malloc(n * sizeof *r->w);
    if (s->n) {
        r->v = malloc(n * sizeof *r->v);
        r->scale = malloc(s->out * (single ? 1 : groups) * sizeof *r->scale);
        if (s->shifts > 1) r->shift = malloc(s->out * groups);
    }
    if (!r->w || (s->n && (!r->v || !r->scale || (s->shifts > 1 && !r->shift)))) return hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name);
    for (size_t row = 0; row < s->out; row++) {
        const double *a = s->a ? s->a + row * groups : NULL;
        double base = a ? a[0] : 0;
        for (size_t k = 1; s->shifts > 1 && k < groups; k++) base = fmin(base, a[k]);
        for (size_t k = 0; a && k < (single ? 1 : groups); k++) r->scale[row * (single ? 1 : groups) + k] = (float)(single ? base : a[k]);
        for (size_t k = 0; s->shifts > 1 && k < groups; k++) r->shift[row * groups + k] = (uint8_t)lround(log2(a[k] / base));
        for (size_t j = 0; j < in; j++) {
            size_t at = row * in + j, k = j / s->group;
            if (!s->n) {
                r->w[at] = (float)hd_half(s->q[at]);
                continue;
            }
            r->v[at] = (int16_t)(s->n[at] * (r->shift ? 1 << r->shift[row * groups + k] : 1));
            r->w[at] = r->scale[single ? row : row * groups + k] * (float)r->v[at];
            if (s->in_scale) r->w[at] /= s->in_scale[j];
        }
    }
    r->bits_stored = stored_bits(s);
    r->error = true_error(s, r->w);
    r->reference = true_error(s, NULL);
    r->mask = s->mask;
    r->in_scale = s->in_scale;
    r->zero = s->zero;
    s->zero = NULL;
    s->mask = NULL;
    s->in_scale = NULL;
    return HD_OK;
}

static hd_status allocate(hd_solver *s) {
    size_t n = s->out * s->in;
    int integers = s->f->bits != 16;
    s->h = malloc(s->in * s->in * sizeof *s->h);
    s->t = malloc(n * sizeof *s->t);
    s->q = calloc(n, sizeof *s->q);
    if (integers) {
        s->n = calloc(n, sizeof *s->n);
        s->a = calloc(s->out * s->groups, sizeof *s->a);
        if (s->f->affine) s->zero = calloc(s->out * s->groups, 1);
    }
    int masked = s->f->keep || s->f->sparsity != HD_SPARSE_NONE;
    if (masked) s->mask = malloc(n);
    if (s->mask && s->f->keep) memcpy(s->mask, s->f->keep, n);
    int ok = s->h && s->t && s->q && (!integers || (s->n && s->a && (!s->f->affine || s->zero))) && (!masked || s->mask);
    return ok ? HD_OK : hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name);
}

static int affordable(const hd_solver *s) {
    size_t units = s->f->sparsity == HD_SPARSE_BLOCK ? (s->out + (size_t)s->f->block_out - 1) / (size_t)s->f->block_out : s->out;
    return (double)units * pow((double)s->in, 3) <= MOST_EXACT;
}

static hd_status run(hd_solver *s) {
    hd_status status = target(s, objective(s));
    if (status != HD_OK) return status;
    switch (s->o->method) {
    case HD_METHOD_RTN:
        status = s->f->sparsity == HD_SPARSE_NONE ? HD_OK : hd_solve_magnitude(s);
        return status == HD_OK && s->n ? hd_solve_rtn(s) : status;
    case HD_METHOD_GPTQ: return hd_solve_gptq(s);
    case HD_METHOD_AWQ: return hd_solve_awq(s);
    case HD_METHOD_CLIP: return hd_solve_clip(s);
    case HD_METHOD_IOBS:
        status = hd_solve_iobs(s);
        return status == HD_OK && s->n ? hd_solve_gptq(s) : status;
    case HD_METHOD_SPARSEGPT: break;
    }
    if ((s->o->sweeps > 0 && affordable(s)) || s->f->sparsity == HD_SPARSE_BLOCK) status = hd_solve_support(s);
    else if ((status = hd_solve_sparsegpt(s)) == HD_OK && s->o->sweeps == 0) return HD_OK;
    return status == HD_OK && s->n ? hd_solve_gptq(s) : status;
}

static hd_solver solver_of(const hd_linear *p, const hd_linear_format *f, const hd_linear_options *o, hd_err *err) {
    hd_solver s = {.p = p, .f = f, .o = o, .out = (size_t)p->out, .in = (size_t)p->in, .shifts = 1, .err = err};
    s.group = f->bits != 16 && f->group > 0 && f->group < p->in ? (size_t)f->group : s.in;
    s.groups = (s.in + s.group - 1) / s.group;
    if (f->bits != 16) {
        s.shifts = f->shift_groups && f->group > 0 ? 4 : 1;
        if (f->affine) s.grid = (hd_lattice){0, 2 * ((1 << f->bits) - 1), 0};
        else s.grid = (hd_lattice){hd_grid_min(f->grid, f->bits), hd_grid_max(f->grid, f->bits), f->grid == HD_GRID_ODD};
    }
    return s;
}

static void close_solver(hd_solver *s) {
    free(s->h);
    free(s->t);
    free(s->q);
    free(s->n);
    free(s->a);
    free(s->mask);
    free(s->in_scale);
    free(s->zero);
    free(s->cost);
}

hd_status hd_linear_solve(hd_linear_result *out, const hd_linear *p, const hd_linear_format *f, const hd_linear_options *o, hd_err *err) {
    *out = (hd_linear_result){0};
    hd_status status = check(p, f, o, err);
    if (status != HD_OK) return status;
    hd_solver s = solver_of(p, f, o, err);
    /* Rows run in parallel, each on one BLAS thread, so that sums have one order. Inside a parallel region that is its owner's affair. */
    int threads = openblas_get_num_threads(), own = !omp_in_parallel();
    if (own) openblas_set_num_threads(1);
    status = allocate(&s);
    if (status == HD_OK) status = run(&s);
    if (status == HD_OK) status = pack(out, &s);
    if (own) openblas_set_num_threads(threads);
    if (status != HD_OK) hd_linear_result_free(out);
    close_solver(&s);
    return status;
}

hd_status hd_linear_costs(double **cost, size_t *n, size_t *items, const hd_linear *p, const hd_linear_format *f, hd_err *err) {
    hd_linear_options o;
    hd_linear_format values = *f;
    values.bits = 16;
    hd_linear_defaults(&o, HD_METHOD_SPARSEGPT);
    *cost = NULL;
    hd_status status = check(p, &values, &o, err);
    if (status == HD_OK && f->sparsity != HD_SPARSE_UNSTRUCTURED && f->sparsity != HD_SPARSE_BLOCK)
        status = hd_fail(err, HD_UNSUPPORTED, "layer '%s': costs of sparsity %d; there are those of single weights and of blocks", p->name, (int)f->sparsity);
    if (status != HD_OK) return status;
    hd_solver s = solver_of(p, &values, &o, err);
    int threads = openblas_get_num_threads(), own = !omp_in_parallel();
    if (own) openblas_set_num_threads(1);
    status = allocate(&s);
    if (status == HD_OK) status = target(&s, objective(&s));
    if (status == HD_OK) status = hd_support_costs(&s, affordable(&s));
    if (own) openblas_set_num_threads(threads);
    *n = s.n_cost;
    *items = s.n_items;
    if (status == HD_OK) {
        *cost = s.cost;
        s.cost = NULL;
    }
    close_solver(&s);
    return status;
}
