/* Which weights stay: exact elimination in the order of Optimal Brain Surgeon, then swaps.
 *
 * Rows that share a support (one row, or the rows of a hardware block) are a unit; columns that come and go together (one, or the columns
 * of a block) are an item. A unit keeps the tableau of its least-squares problem: matrix `a` is h swept (Gauss-Jordan) on the present columns S,
 *     a[S][S] = -(h_SS)^-1,   a[R][S] = h_RS (h_SS)^-1,   a[R][R] = h_RR - h_RS (h_SS)^-1 h_SR   (R the absent ones),
 * and b holds the exact weights on S and the objective's slope on R. So b_Q^T a_QQ^-1 b_Q is what taking item Q out costs (OBS, Hassibi and Stork
 * 1993; for blocks Kurtic et al. 2022, arXiv 2203.07259) or putting it in gains, one pivot a column brings the tableau up to
 * date, and the inverse Hessian is never stale. All weights that stay are at their least-squares optimum at any time. */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "linear_internal.h"

typedef struct layout {
    size_t rows, units;           /* rows of a unit */
    size_t items, cell, kept;     /* cell: items of which `kept` stay (N:M), 0 = free choice over the layer */
    size_t *first;                /* [items + 1] first column */
    size_t deepest;               /* removals recorded for each unit */
    size_t widest;                /* columns of an item */
} layout;

typedef struct unit {
    const hd_solver *s;
    const layout *l;
    size_t row, rows;
    double *a, *b, *column; /* [in][in], [rows][in], [in] */
    double *small;          /* [widest][widest] + [widest] */
    uint8_t *on, *barred;   /* [items] present; never to be (the format's `keep`) */
    size_t *count;          /* [cells] items present */
} unit;

typedef struct removal {
    double loss;
    size_t unit, index;
} removal;

static int layout_make(layout *l, const hd_solver *s) {
    const hd_linear_format *f = s->f;
    int block = f->sparsity == HD_SPARSE_BLOCK;
    size_t tap = block && f->tap > 0 ? (size_t)f->tap : s->in, width = block ? (size_t)f->block_in : 1;
    *l = (layout){.rows = block ? (size_t)f->block_out : 1, .widest = width < tap ? width : tap};
    l->units = (s->out + l->rows - 1) / l->rows;
    if (!(l->first = malloc((s->in + 1) * sizeof *l->first))) return 0;
    for (size_t from = 0; from < s->in; from += tap)
        for (size_t i = from; i < from + tap && i < s->in; i += width) l->first[l->items++] = i;
    l->first[l->items] = s->in;
    if (f->sparsity == HD_SPARSE_N_OF_M) {
        l->cell = (size_t)f->m;
        l->kept = (size_t)f->n;
        l->deepest = l->items;
    } else {
        /* No unit is expected to lose much more than its share; the deepest third of the rest is never looked at. */
        double share = f->keep ? 1 : 1 - 0.33 * (double)f->density;
        l->deepest = (size_t)ceil((double)l->items * share);
    }
    return 1;
}

static int unit_new(unit *u, const hd_solver *s, const layout *l) {
    size_t in = s->in, cells = l->cell ? (l->items + l->cell - 1) / l->cell : 1, w = l->widest;
    *u = (unit){.s = s, .l = l};
    u->a = malloc((in * in + l->rows * in + in + w * w + w) * sizeof *u->a);
    u->on = malloc(l->items);
    u->barred = calloc(l->items, 1);
    u->count = malloc(cells * sizeof *u->count);
    if (!u->a || !u->on || !u->barred || !u->count) return 0;
    u->b = u->a + in * in;
    u->column = u->b + l->rows * in;
    u->small = u->column + in;
    return 1;
}

static void unit_free(unit *u) {
    free(u->a);
    free(u->on);
    free(u->barred);
    free(u->count);
}

/* All columns present: a = -h^-1, b = the target. */
static void unit_start(unit *u, const double *inverse, size_t index) {
    size_t in = u->s->in, l = u->l->cell;
    u->row = index * u->l->rows;
    u->rows = u->s->out - u->row < u->l->rows ? u->s->out - u->row : u->l->rows;
    for (size_t i = 0; i < in * in; i++) u->a[i] = -inverse[i];
    memcpy(u->b, u->s->t + u->row * in, u->rows * in * sizeof *u->b);
    memset(u->on, 1, u->l->items);
    for (size_t item = 0; u->s->f->keep && item < u->l->items; item++) {
        u->barred[item] = 1;
        for (size_t r = 0; r < u->rows; r++)
            for (size_t j = u->l->first[item]; j < u->l->first[item + 1]; j++)
                if (u->s->f->keep[(u->row + r) * in + j]) u->barred[item] = 0;
    }
    for (size_t from = 0; l && from < u->l->items; from += l) u->count[from / l] = u->l->items - from < l ? u->l->items - from : l;
}

static void pivot(unit *u, size_t k, int enter) {
    size_t in = u->s->in;
    double *c = u->column, d = u->a[k * in + k], sign = enter ? 1 : -1;
    memcpy(c, u->a + k * in, in * sizeof *c);
    for (size_t i = 0; i < in; i++)
        if (i != k && c[i] != 0) cblas_daxpy((int)in, -c[i] / d, c, 1, u->a + i * in, 1);
    for (size_t i = 0; i < in; i++) u->a[i * in + k] = u->a[k * in + i] = sign * c[i] / d;
    u->a[k * in + k] = -1 / d;
    for (size_t r = 0; r < u->rows; r++) {
        double *b = u->b + r * in, bk = b[k];
        cblas_daxpy((int)in, -bk / d, c, 1, b, 1);
        b[k] = sign * bk / d;
    }
}

static void toggle(unit *u, size_t item) {
    int enter = !u->on[item];
    for (size_t k = u->l->first[item]; k < u->l->first[item + 1]; k++) pivot(u, k, enter);
    u->on[item] = (uint8_t)enter;
    if (u->l->cell) u->count[item / u->l->cell] += enter ? 1 : (size_t)-1;
}

/* What taking the item out costs, or putting it in gains. */
static double worth(const unit *u, size_t item) {
    size_t in = u->s->in, from = u->l->first[item], n = u->l->first[item + 1] - from;
    double total = 0, sign = u->on[item] ? -1 : 1, *m = u->small, *x = m + n * n;
    if (n == 1) {
        for (size_t r = 0; r < u->rows; r++) total += u->b[r * in + from] * u->b[r * in + from];
        return total * sign / u->a[from * in + from];
    }
    for (size_t i = 0; i < n; i++) /* Cholesky, and forward substitution of every row */
        for (size_t j = 0; j <= i; j++) {
            double v = sign * u->a[(from + i) * in + from + j];
            for (size_t k = 0; k < j; k++) v -= m[i * n + k] * m[j * n + k];
            m[i * n + j] = i == j ? sqrt(fmax(v, 1e-300)) : v / m[j * n + j];
        }
    for (size_t r = 0; r < u->rows; r++)
        for (size_t i = 0; i < n; i++) {
            double v = u->b[r * in + from + i];
            for (size_t k = 0; k < i; k++) v -= m[i * n + k] * x[k];
            x[i] = v / m[i * n + i];
            total += x[i] * x[i];
        }
    return total;
}

static int may_leave(const unit *u, size_t item) {
    return u->on[item] && (!u->l->cell || u->count[item / u->l->cell] > u->l->kept);
}

/* Takes items out, the cheapest first, those that may not stay before them (loss -1); order and loss: [deepest]. Returns how many went. */
static size_t eliminate(unit *u, size_t *order, double *loss) {
    size_t gone = 0;
    for (size_t i = 0; i < u->l->items; i++) {
        if (!u->barred[i]) continue;
        order[gone] = i;
        loss[gone++] = -1;
        toggle(u, i);
    }
    for (; gone < u->l->deepest; gone++) {
        size_t best = u->l->items;
        double least = INFINITY;
        for (size_t i = 0; i < u->l->items; i++) {
            double cost = may_leave(u, i) ? worth(u, i) : INFINITY;
            if (cost < least) {
                least = cost;
                best = i;
            }
        }
        if (best == u->l->items) break;
        order[gone] = best;
        loss[gone] = least;
        toggle(u, best);
    }
    return gone;
}

/* The best exchange of an absent column for a present one between from and to, when items are single columns of single rows: what column j costs
 * once i is in follows from the tableau without a pivot. */
static double best_exchange(const unit *u, size_t from, size_t to, size_t *in, size_t *out) {
    size_t n = u->s->in;
    double best = 0;
    for (size_t i = from; i < to; i++) {
        if (u->on[i] || u->barred[i]) continue;
        const double *a = u->a + i * n;
        double d = a[i], gain = u->b[i] * u->b[i] / d;
        for (size_t j = from; j < to; j++) {
            if (!u->on[j]) continue;
            double w = u->b[j] - a[j] * u->b[i] / d, change = w * w / (a[j] * a[j] / d - u->a[j * n + j]) - gain;
            if (change < best) {
                best = change;
                *in = i;
                *out = j;
            }
        }
    }
    return -best;
}

/* The most useful absent item between from and to goes in, the least useful present one out. Returns 1 if that was another one. */
static int exchange_items(unit *u, size_t from, size_t to) {
    size_t in = to, out = to;
    double gain = 0, least = INFINITY;
    for (size_t i = from; i < to; i++) {
        double w = u->on[i] || u->barred[i] ? -1 : worth(u, i);
        if (w > gain) {
            gain = w;
            in = i;
        }
    }
    if (in == to) return 0;
    toggle(u, in);
    for (size_t i = from; i < to; i++) {
        double w = u->on[i] ? worth(u, i) : INFINITY;
        if (w < least) {
            least = w;
            out = i;
        }
    }
    toggle(u, out);
    return out != in && gain - least > 1e-9 * gain;
}

/* Exchanges as long as they lower the objective; inside each cell with N:M. */
static void swaps(unit *u, size_t most) {
    size_t items = u->l->items, step = u->l->cell ? u->l->cell : items;
    double slope = 0;
    for (size_t j = 0; j < items; j++) slope = fmax(slope, worth(u, j));
    for (size_t k = 0, moved = 1; moved && k < most; k++) {
        moved = 0;
        for (size_t from = 0; from < items; from += step) {
            size_t to = items - from < step ? items : from + step, in = 0, out = 0;
            if (u->l->widest > 1 || u->rows > 1) moved |= (size_t)exchange_items(u, from, to);
            else if (best_exchange(u, from, to, &in, &out) > 1e-9 * slope) {
                toggle(u, in);
                toggle(u, out);
                moved = 1;
            }
        }
    }
}

static int by_loss(const void *x, const void *y) {
    const removal *a = x, *b = y;
    if (a->loss != b->loss) return a->loss < b->loss ? -1 : 1;
    if (a->unit != b->unit) return a->unit < b->unit ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* How many items each unit loses so that the layer loses its share, by the smallest losses. */
static int share_out(size_t *gone, const layout *l, const double *loss, double density) {
    size_t total = l->units * l->items, remove = (size_t)((1 - density) * (double)total + 0.5), n = 0;
    size_t barred = 0;
    if (remove >= total) remove = total - 1;
    removal *all = malloc(l->units * l->deepest * sizeof *all);
    if (!all) return 0;
    for (size_t u = 0; u < l->units; u++) {
        double highest = -1;
        for (size_t i = 0; i < gone[u]; i++) {
            /* A removal can only follow those before it, so it counts as the dearest of them. */
            highest = fmax(highest, loss[u * l->deepest + i]);
            barred += highest < 0;
            all[n++] = (removal){highest, u, i};
        }
        gone[u] = 0;
    }
    qsort(all, n, sizeof *all, by_loss);
    if (remove < barred) remove = barred;
    for (size_t i = 0; i < n && i < remove; i++) gone[all[i].unit]++;
    free(all);
    return 1;
}

static void store(const unit *u, hd_solver *s) {
    for (size_t r = 0; r < u->rows; r++)
        for (size_t item = 0; item < u->l->items; item++)
            for (size_t j = u->l->first[item]; j < u->l->first[item + 1]; j++) {
                size_t at = (u->row + r) * s->in + j;
                s->mask[at] = u->on[item];
                s->q[at] = u->on[item] ? u->b[r * s->in + j] : 0;
            }
}

/* s->cost: what the recorded removals cost, as share_out counts them, in rising order. */
static int collect_costs(hd_solver *s, const layout *l, const size_t *gone, const double *loss) {
    size_t n = 0;
    s->n_items = l->units * l->items;
    removal *all = malloc(l->units * l->deepest * sizeof *all);
    s->cost = malloc(l->units * l->deepest * sizeof *s->cost);
    for (size_t u = 0; all && s->cost && u < l->units; u++) {
        double highest = 0;
        for (size_t i = 0; i < gone[u]; i++) {
            highest = fmax(highest, loss[u * l->deepest + i]);
            all[n++] = (removal){highest, u, i};
        }
    }
    if (all && s->cost) qsort(all, n, sizeof *all, by_loss);
    for (size_t i = 0; all && s->cost && i < n; i++) s->cost[i] = all[i].loss;
    s->n_cost = n;
    free(all);
    return all && s->cost;
}

static int rising(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

/* What each item of a unit would cost alone, the cheapest first. */
static size_t alone(const unit *u, double *loss) {
    for (size_t i = 0; i < u->l->items; i++) loss[i] = worth(u, i);
    qsort(loss, u->l->items, sizeof *loss, rising);
    return u->l->items;
}

typedef enum purpose { SUPPORT, COSTS, COSTS_ALONE } purpose;

static hd_status support(hd_solver *s, purpose why) {
    layout l = {0};
    size_t in = s->in;
    int made = layout_make(&l, s), failed = 0;
    if (why != SUPPORT) l.deepest = l.items;
    int *order = malloc(in * sizeof *order);
    size_t n = made ? l.units * l.deepest : 0, *removed = malloc((n + 1) * sizeof *removed), *gone = calloc(made ? l.units : 1, sizeof *gone);
    double *loss = malloc((n + 1) * sizeof *loss), *inverse = malloc(in * in * sizeof *inverse), *u = malloc(in * in * sizeof *u);
    failed = !made || !order || !removed || !gone || !loss || !inverse || !u;
    hd_status status = HD_OK;
    if (!failed) {
        for (size_t i = 0; i < in; i++) order[i] = (int)i;
        status = hd_linear_factor(u, s->h, order, in, s->p->name, s->err);
        for (size_t i = 0; i < in; i++) memset(u + i * in, 0, i * sizeof *u);
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)in, (int)in, (int)in, 1, u, (int)in, u, (int)in, 0, inverse, (int)in);
    }
    for (int pass = 0; !failed && status == HD_OK && pass < (why == SUPPORT ? 2 : 1); pass++) {
        if (pass && !l.cell) failed |= !share_out(gone, &l, loss, (double)s->f->density);
#pragma omp parallel
        {
            unit x;
            int ok = unit_new(&x, s, &l);
            if (!ok)
#pragma omp atomic write
                failed = 1;
#pragma omp for schedule(dynamic)
            for (size_t k = 0; k < l.units; k++) {
                if (!ok) continue;
                unit_start(&x, inverse, k);
                if (!pass) {
                    gone[k] = why == COSTS_ALONE ? alone(&x, loss + k * l.deepest) : eliminate(&x, removed + k * l.deepest, loss + k * l.deepest);
                    continue;
                }
                for (size_t i = 0; i < gone[k]; i++) toggle(&x, removed[k * l.deepest + i]);
                if (s->o->sweeps > 0) swaps(&x, (size_t)s->o->sweeps * l.items);
                store(&x, s);
            }
            unit_free(&x);
        }
    }
    if (why != SUPPORT && !failed && status == HD_OK) failed = !collect_costs(s, &l, gone, loss);
    free(l.first);
    free(order);
    free(removed);
    free(gone);
    free(loss);
    free(inverse);
    free(u);
    return failed ? hd_fail(s->err, HD_NOMEM, "layer '%s': out of memory", s->p->name) : status;
}

hd_status hd_solve_support(hd_solver *s) {
    return support(s, SUPPORT);
}

hd_status hd_support_costs(hd_solver *s, int exact) {
    return support(s, exact ? COSTS : COSTS_ALONE);
}
