/* The collector: from the results of a sweep's points to tables, a database, and one page that shows them. */
#ifndef HD_COLLECT_H
#define HD_COLLECT_H
#include "sweep.h"

typedef struct hd_row {
    cJSON *json;                  /* the point's file, or the placed one where there is one */
    char name[17];                /* the hash that its file is named by */
    hd_point_figure figure[HD_FIGURES]; /* fidelity lent from json */
    int ok;                       /* 0: the compiler could not place the network */
    int fits;                     /* as in the file: 1, 0, -1 not known */
    int front;                    /* on the Pareto front of the objectives asked for last */
} hd_row;

typedef struct hd_table {
    hd_study study;
    hd_row *row;
    int n;
    int missing; /* points of the sweep without a result */
} hd_table;

hd_status hd_table_load(hd_table *t, hd_explorer *x, const hd_sweep *s, hd_err *err);
void hd_table_free(hd_table *t);
/* Objectives of a row, all to be minimised; INFINITY for one that cannot be built. */
void hd_row_objectives(double *v, const hd_row *r, const hd_figure_id *objective, int n);
/* Marks the rows that no other one beats in every objective; *front counts them. Rows without one of the figures, that do not fit, or that failed are never on it. */
hd_status hd_table_front(hd_table *t, const hd_figure_id *objective, int n, int *front, hd_err *err);

hd_status hd_table_csv(const hd_table *t, const char *path, hd_err *err);
/* Tables point (axes and figures as columns), figure (with band and fidelity), layer. */
hd_status hd_table_sqlite(const hd_table *t, const char *path, hd_err *err);
/* One HTML file with its data and scripts; objective[0] and [1] are the plot's first axes. */
hd_status hd_table_page(const hd_table *t, const hd_figure_id *objective, int n, const char *path, hd_err *err);
/* The same front as a still picture, for documents: figure y over x. */
hd_status hd_table_svg(const hd_table *t, hd_figure_id x, hd_figure_id y, const char *path, hd_err *err);
#endif
