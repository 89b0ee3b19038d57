/* What the solvers of linear.h share. Not for other folders. */
#ifndef HD_LINEAR_INTERNAL_H
#define HD_LINEAR_INTERNAL_H
#include "linear.h"

/* The integers of a grid: lowest, lowest + 2, ..., highest. */
typedef struct hd_lattice {
    int lowest, highest, odd;
} hd_lattice;

typedef struct hd_solver {
    const hd_linear *p;
    const hd_linear_format *f;
    const hd_linear_options *o;
    size_t out, in, group, groups;
    hd_lattice grid;   /* affine: with zero point 0 */
    int shifts;        /* how many power-of-two shifts a group may have: 1 or 4 */
    double fixed;      /* > 0: the scale of all rows (one_scale) */
    uint8_t *zero;     /* [out][groups], or NULL */
    double *h;         /* [in][in] the objective: H, dead inputs on the diagonal, damping added */
    double *t;         /* [out][in] the target; 0 on dead inputs */
    uint8_t *mask;     /* [out][in], 1 = present; NULL = all are */
    /* the solution: q = n * a of its group */
    double *q;         /* [out][in] */
    int16_t *n;        /* [out][in] integers of the grid, 0 where absent; NULL when values stay float */
    double *a;         /* [out][groups] */
    float *in_scale;   /* [in] or NULL */
    double *cost;      /* hd_linear_costs: [n_cost] filled by hd_solve_support, which then goes no further */
    size_t n_cost, n_items;
    hd_err *err;
} hd_solver;

/* One row in the middle of descent; g = h (q - t) is kept up to date with q. */
typedef struct hd_row {
    const hd_solver *s;
    const double *t;
    const uint8_t *mask; /* or NULL */
    double *q, *g, *a;
    int16_t *n;
    const uint8_t *zero; /* [groups] or NULL */
    double least;        /* scale */
} hd_row;

/* ---- linear_grid.c ---- */
/* As stored: hd_half, or a float with wide scales. */
double hd_linear_scale_store(const hd_solver *s, double x);
/* The grid's integer nearest to x. */
static inline int hd_lattice_nearest(const hd_lattice *l, double x) {
    double v = l->odd ? 2.0 * __builtin_floor(x * 0.5) + 1.0 : 2.0 * __builtin_floor(x * 0.5 + 0.5);
    return v <= l->lowest ? l->lowest : v >= l->highest ? l->highest : (int)v;
}
/* The integers of a group. zero: the row's zero points, or NULL. */
static inline hd_lattice hd_lattice_of(const hd_solver *s, const uint8_t *zero, size_t group) {
    hd_lattice l = s->grid;
    if (!zero) return l;
    l.lowest -= 2 * zero[group];
    l.highest -= 2 * zero[group];
    return l;
}
/* The smallest scale a row may have. */
double hd_linear_least_scale(const hd_solver *s, size_t row);
/* The best scale for all rows; sets s->fixed. weight: [in]; mask: [out][in] or NULL. */
hd_status hd_linear_one_scale(hd_solver *s, const double *weight, const uint8_t *mask);
/* The scale of one group whose weights are now t (of the whole row); with shifts base * 2^0..3. n: [in]. */
void hd_linear_group_scale(const hd_solver *s, size_t row, size_t group, const double *t, const double *weight, double base, double *a, int16_t *n);
/* Scales a [groups] of a row (and its zero points) that minimise sum weight_j (t_j - a n_j)^2, and its nearest integers n. weight: [in]. */
void hd_linear_row_scales(const hd_solver *s, size_t row, const double *t, const double *weight, const uint8_t *mask, double *a, int16_t *n);

/* ---- solve_gptq.c ---- */
/* Upper Cholesky factor U of the inverse of h with rows and columns in `order`: h^-1 = U^T U. u: [in][in], [i][j] for j >= i. */
hd_status hd_linear_factor(double *u, const double *h, const int *order, size_t in, const char *name, hd_err *err);
/* Columns by falling diagonal, or as they are. order: [in]. */
void hd_linear_order(const hd_solver *s, int *order);
hd_status hd_solve_rtn(hd_solver *s);
hd_status hd_solve_gptq(hd_solver *s);

/* ---- solve_descent.c ---- */
/* (q - t) h (q - t)^T */
double hd_row_refresh(const hd_row *r);
/* Lowers the objective until nothing moves or `rounds` are over; returns it. `now` is its value. */
double hd_row_descend(const hd_row *r, double now, int rounds);
/* Single-weight moves only. */
double hd_row_sweep(const hd_row *r, double now, int sweeps);

/* ---- solve_awq.c ---- */
hd_status hd_solve_awq(hd_solver *s);

/* ---- solve_clip.c ---- */
hd_status hd_solve_clip(hd_solver *s);

/* ---- solve_iobs.c ---- */
/* Sets mask and, for float values, q. */
hd_status hd_solve_iobs(hd_solver *s);
/* The same by size: the largest weights (blocks by their norm) of the target stay as they are. */
hd_status hd_solve_magnitude(hd_solver *s);

/* ---- solve_support.c: which weights stay ---- */
/* Sets mask and, for float values, q. */
hd_status hd_solve_support(hd_solver *s);
/* The costs of elimination alone: s->cost, n_cost, n_items. exact = 0: of each item from the inverse of all. */
hd_status hd_support_costs(hd_solver *s, int exact);

/* ---- solve_sparsegpt.c ---- */
/* UNSTRUCTURED and N_OF_M: sets mask and q, with integers n and a too. */
hd_status hd_solve_sparsegpt(hd_solver *s);
/* Least squares for the weights of the mask, q, from where they are. */
hd_status hd_linear_refit(hd_solver *s);
#endif
