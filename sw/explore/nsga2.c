#include "nsga2.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/rng.h"

int hd_dominates(const double *a, const double *b, int m) {
    int better = 0;
    for (int k = 0; k < m; k++) {
        if (a[k] > b[k]) return 0;
        better |= a[k] < b[k];
    }
    return better;
}

/* The paper's sort keeps lists of who dominates whom; counting dominators anew for each front takes the same comparisons and no lists. */
hd_status hd_pareto_rank(int *rank, const double *v, int n, int m, hd_err *err) {
    int *dominators = calloc((size_t)n + 1, sizeof *dominators), left = n;
    if (!dominators) return hd_fail(err, HD_NOMEM, "no memory to rank %d points", n);
    for (int i = 0; i < n; i++) {
        rank[i] = -1;
        for (int j = 0; j < n; j++) dominators[i] += hd_dominates(v + (size_t)j * (size_t)m, v + (size_t)i * (size_t)m, m);
    }
    for (int front = 0; left; front++) {
        for (int i = 0; i < n; i++)
            if (rank[i] < 0 && !dominators[i]) rank[i] = front;
        for (int i = 0; i < n; i++) {
            if (rank[i] != front) continue;
            left--;
            for (int j = 0; j < n; j++)
                if (rank[j] < 0) dominators[j] -= hd_dominates(v + (size_t)i * (size_t)m, v + (size_t)j * (size_t)m, m);
        }
    }
    free(dominators);
    return HD_OK;
}

typedef struct keyed {
    double key;
    int rank, index;
} keyed;

/* By rank, then key; equal ones by number, so that the order is the same everywhere. */
static int by_key(const void *a, const void *b) {
    const keyed *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    if (x->key < y->key) return -1;
    if (x->key > y->key) return 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

hd_status hd_crowding(double *distance, const int *rank, const double *v, int n, int m, hd_err *err) {
    keyed *order = malloc(((size_t)n + 1) * sizeof *order);
    if (!order) return hd_fail(err, HD_NOMEM, "no memory to compare %d points", n);
    for (int i = 0; i < n; i++) distance[i] = 0;
    for (int k = 0; k < m; k++) {
        for (int i = 0; i < n; i++) order[i] = (keyed){v[(size_t)i * (size_t)m + (size_t)k], rank[i], i};
        qsort(order, (size_t)n, sizeof *order, by_key);
        for (int first = 0, last; first < n; first = last + 1) {
            for (last = first; last + 1 < n && order[last + 1].rank == order[first].rank; last++) continue;
            double span = order[last].key - order[first].key;
            distance[order[first].index] = distance[order[last].index] = INFINITY;
            for (int i = first + 1; i < last && span > 0 && isfinite(span); i++) distance[order[i].index] += (order[i + 1].key - order[i - 1].key) / span;
        }
    }
    free(order);
    return HD_OK;
}

/* ---- generations ---- */

typedef struct flock {
    int n;
    int (*gene)[HD_GENES];
    double *v, *distance;
    int *rank;
} flock;

static int flock_new(flock *f, int n, int m) {
    *f = (flock){.n = n, .gene = calloc((size_t)n, sizeof *f->gene), .v = calloc((size_t)n * (size_t)m, sizeof *f->v), .distance = calloc((size_t)n, sizeof *f->distance), .rank = calloc((size_t)n, sizeof *f->rank)};
    return f->gene && f->v && f->distance && f->rank;
}

static void flock_free(flock *f) {
    free(f->gene);
    free(f->v);
    free(f->distance);
    free(f->rank);
}

static hd_status judge(flock *f, int m, hd_err *err) {
    hd_status s = hd_pareto_rank(f->rank, f->v, f->n, m, err);
    return s ? s : hd_crowding(f->distance, f->rank, f->v, f->n, m, err);
}

/* Crowded comparison: the lower rank, then the emptier neighbourhood. */
static int better(const flock *f, int a, int b) {
    if (f->rank[a] != f->rank[b]) return f->rank[a] < f->rank[b] ? a : b;
    return f->distance[a] >= f->distance[b] ? a : b;
}

static int tournament(const flock *f, hd_rng *rng) {
    int a = (int)hd_rng_below(rng, (uint32_t)f->n), b = (int)hd_rng_below(rng, (uint32_t)f->n);
    return better(f, a, b);
}

/* Half of the time a step to a neighbouring value, else any value: values of an axis often have an order, but need not. */
static int mutated(int value, int values, hd_rng *rng) {
    if (values < 2) return value;
    if (hd_rng_below(rng, 2)) return (int)hd_rng_below(rng, (uint32_t)values);
    int step = hd_rng_below(rng, 2) ? 1 : -1;
    return value + step < 0 || value + step >= values ? value - step : value + step;
}

static void breed(int (*child)[HD_GENES], const flock *parents, const hd_nsga2 *o, hd_rng *rng) {
    int varying = 0;
    for (int g = 0; g < o->genes; g++) varying += o->values[g] > 1;
    for (int i = 0; i < o->population; i += 2) {
        const int *a = parents->gene[tournament(parents, rng)], *b = parents->gene[tournament(parents, rng)];
        const int cross = hd_rng_below(rng, 10) < 9; /* the paper's probability */
        for (int g = 0; g < o->genes; g++) {
            const int swap = cross && hd_rng_below(rng, 2);
            child[i][g] = swap ? b[g] : a[g];
            child[i + 1][g] = swap ? a[g] : b[g];
            for (int k = 0; k < 2; k++)
                if (varying && hd_rng_below(rng, (uint32_t)varying) == 0) child[i + k][g] = mutated(child[i + k][g], o->values[g], rng);
        }
    }
}

static int same_genes(const int *a, const int *b, int genes) {
    return !memcmp(a, b, (size_t)genes * sizeof *a);
}

/* The best `population` of parents and children: whole fronts, and of the last one those with the most room around them. A grid has few points, so copies of one
 * would soon fill the population: they rank behind all others. */
static hd_status select_best(flock *parents, const flock *all, const hd_nsga2 *o, hd_err *err) {
    keyed *order = malloc((size_t)all->n * sizeof *order);
    if (!order) return hd_fail(err, HD_NOMEM, "no memory for a generation");
    for (int i = 0; i < all->n; i++) {
        int copy = 0;
        for (int j = 0; j < i && !copy; j++) copy = same_genes(all->gene[i], all->gene[j], o->genes);
        order[i] = (keyed){-all->distance[i], all->rank[i] + (copy ? all->n : 0), i};
    }
    qsort(order, (size_t)all->n, sizeof *order, by_key);
    for (int i = 0; i < o->population; i++) {
        int from = order[i].index;
        memcpy(parents->gene[i], all->gene[from], sizeof *parents->gene);
        memcpy(parents->v + (size_t)i * (size_t)o->objectives, all->v + (size_t)from * (size_t)o->objectives, (size_t)o->objectives * sizeof *all->v);
    }
    free(order);
    return judge(parents, o->objectives, err);
}

hd_status hd_nsga2_run(const hd_nsga2 *o, hd_err *err) {
    const int n = o->population, m = o->objectives;
    flock parents = {0}, all = {0};
    hd_rng rng;
    hd_rng_seed(&rng, o->seed, 12);
    hd_status s = flock_new(&parents, n, m) && flock_new(&all, 2 * n, m) ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for a population of %d", n);
    for (int i = 0; !s && i < n; i++)
        for (int g = 0; g < o->genes; g++) parents.gene[i][g] = (int)hd_rng_below(&rng, (uint32_t)o->values[g]);
    if (!s) s = o->evaluate(o->arg, (const int (*)[HD_GENES])parents.gene, n, parents.v, err);
    if (!s) s = judge(&parents, m, err);
    for (int generation = 1; !s && generation < o->generations; generation++) {
        memcpy(all.gene, parents.gene, (size_t)n * sizeof *all.gene);
        memcpy(all.v, parents.v, (size_t)n * (size_t)m * sizeof *all.v);
        breed(all.gene + n, &parents, o, &rng);
        s = o->evaluate(o->arg, (const int (*)[HD_GENES])(all.gene + n), n, all.v + (size_t)n * (size_t)m, err);
        if (!s) s = judge(&all, m, err);
        if (!s) s = select_best(&parents, &all, o, err);
    }
    flock_free(&parents);
    flock_free(&all);
    return s;
}
