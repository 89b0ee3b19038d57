/* NSGA-II (Deb, Pratap, Agarwal, Meyarivan 2002: a fast and elitist multiobjective genetic algorithm) over points of a grid, and what it is made of. All objectives are minimised. */
#ifndef HD_NSGA2_H
#define HD_NSGA2_H
#include <stdint.h>

#include "../core/err.h"

/* 1 when a is no worse than b in all m objectives and better in one. */
int hd_dominates(const double *a, const double *b, int m);
/* rank[i] = 0 for those of n points that nobody dominates, 1 for those that only rank 0 does, ... v: [n][m]. HD_NOMEM. */
hd_status hd_pareto_rank(int *rank, const double *v, int n, int m, hd_err *err);
/* Crowding distance of each point among those of its rank: INFINITY at the ends of an objective. HD_NOMEM. */
hd_status hd_crowding(double *distance, const int *rank, const double *v, int n, int m, hd_err *err);

enum { HD_GENES = 16 };

typedef struct hd_nsga2 {
    int genes, values[HD_GENES];  /* gene g takes 0..values[g]-1 */
    int objectives, population, generations;
    uint64_t seed;
    /* Objectives v[count][objectives] of `count` gene vectors; INFINITY for what must not be taken. Repeated vectors are asked for again. */
    hd_status (*evaluate)(void *arg, const int (*gene)[HD_GENES], int count, double *v, hd_err *err);
    void *arg;
} hd_nsga2;
/* Runs all generations; what was evaluated is the caller's to keep. Deterministic by seed. population: even, 4..1000. */
hd_status hd_nsga2_run(const hd_nsga2 *o, hd_err *err);
#endif
