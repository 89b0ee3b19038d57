/* An exploration: search, engine, collector, and further fidelity for the points that deserve it. */
#ifndef HD_EXPLORE_H
#define HD_EXPLORE_H
#include "collect.h"

enum { HD_EXPLORE_OBJECTIVES = 6 };

typedef enum hd_search { HD_SEARCH_GRID, HD_SEARCH_RANDOM, HD_SEARCH_NSGA2 } hd_search;

typedef hd_status (*hd_engine)(hd_explorer *x, const hd_sweep *s, const char *path, const hd_engine_options *o, int *failed, hd_err *err);

typedef struct hd_explore_options {
    hd_search search;
    int points, population, generations;
    uint64_t seed;
    hd_figure_id objective[HD_EXPLORE_OBJECTIVES];
    int objectives;
    hd_engine run; /* NULL: nothing is computed */
    hd_engine_options engine;
} hd_explore_options;

typedef struct hd_explore_report {
    hd_sweep sweep;  /* every point that was looked at */
    hd_table table;
    int front, made, found;
    int checked, different;      /* on the RTL */
    uint64_t largest;            /* difference, cycles of a run */
    int placed, no_room;
    double seconds;
} hd_explore_report;

/* Runs the search. After a failure of single points the report holds the others, and the first error is returned; e->table.row is NULL when nothing came of it. */
hd_status hd_explore_run(hd_explore_report *e, hd_explorer *x, const hd_study *study, const hd_axis_grid *g, const hd_explore_options *o, hd_err *err);
/* Runs `count` points drawn at random on the Verilated RTL. */
hd_status hd_explore_check(hd_explore_report *e, hd_explorer *x, int count, uint64_t seed, hd_err *err);
/* Places the points of the front and reads the table anew: the front may move. */
hd_status hd_explore_place(hd_explore_report *e, hd_explorer *x, const hd_explore_options *o, hd_err *err);
/* index.html, points.csv, points.sqlite, front.svg. */
hd_status hd_explore_write(const hd_explore_report *e, const hd_explore_options *o, const char *folder, hd_err *err);
void hd_explore_free(hd_explore_report *e);
#endif
