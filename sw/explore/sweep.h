/* A sweep: many design points of one study, and who computes them.
 *
 * The points of a sweep fall into tasks: each area first, then each compression with all points that use it. A task leaves alone what is there, so that any number of processes
 * may do the same ones, on this machine or another, die at any moment, and be started again. */
#ifndef HD_SWEEP_H
#define HD_SWEEP_H
#include "point.h"

enum { HD_SWEEP_POINTS = 20000, HD_SWEEP_VALUES = 256 };

/* Values of each axis as a user wants them combined. */
typedef struct hd_axis_grid {
    char (*value[HD_AXES])[HD_AXIS_TEXT]; /* canonical, owned */
    int n[HD_AXES];
} hd_axis_grid;

typedef struct hd_sweep {
    hd_study study;
    hd_point_spec *point;
    int n;
} hd_sweep;

/* The values of one axis, divided by its separator; what stood there before goes away. HD_USAGE names an empty or wrong value. */
hd_status hd_axis_grid_set(hd_axis_grid *g, hd_axis axis, const char *list, hd_err *err);
/* Axes from a JSON file: {"axes": {"weights": ["2", 4], ...}}; those that the grid has already stay. */
hd_status hd_axis_grid_read(hd_axis_grid *g, const char *path, hd_err *err);
void hd_axis_grid_free(hd_axis_grid *g);
/* How many combinations there are, before equal ones are taken out. */
double hd_axis_grid_size(const hd_axis_grid *g);
/* One combination: pick[axis] counts within the axis' values. Settled and checked. */
hd_status hd_axis_grid_point(hd_point_spec *p, const hd_axis_grid *g, const int pick[HD_AXES], hd_err *err);

/* All combinations, or `random` (above 0) different ones drawn with `seed`; equal points once. */
hd_status hd_sweep_make(hd_sweep *s, const hd_study *study, const hd_axis_grid *g, int random, uint64_t seed, hd_err *err);
/* Adds a point unless it is there; its place either way. HD_NOMEM, or HD_RANGE beyond HD_SWEEP_POINTS. */
hd_status hd_sweep_add(hd_sweep *s, const hd_point_spec *p, int *at, hd_err *err);
void hd_sweep_free(hd_sweep *s);
/* folder/sweeps/HASH.json, named by its content. */
hd_status hd_sweep_write(const hd_sweep *s, const char *folder, char *path, size_t n, hd_err *err);
hd_status hd_sweep_read(hd_sweep *s, const char *path, hd_err *err);

typedef struct hd_task {
    int area;   /* 1: only the area of the first point */
    int *point; /* numbers within the sweep */
    int n;
} hd_task;
typedef struct hd_tasks {
    hd_task *task;
    int n;
} hd_tasks;
hd_status hd_tasks_make(hd_tasks *t, const hd_sweep *s, const hd_explorer *x, hd_err *err);
void hd_tasks_free(hd_tasks *t);
/* Does one task: how many points it made and how many were there. A point that fails does not stop the others; the first error is returned. */
hd_status hd_task_run(hd_explorer *x, const hd_sweep *s, const hd_task *t, int *made, int *found, hd_err *err);
/* Points whose results are there. */
hd_status hd_sweep_done(int *done, hd_explorer *x, const hd_sweep *s, hd_err *err);

typedef struct hd_engine_options {
    int jobs;           /* processes; 0 = a process a core */
    const char *folder;
    const char *label;  /* of the progress line */
    const char *slurm;  /* further options for sbatch, or NULL */
} hd_engine_options;
/* Processes `heddle point --sweep PATH --task N` on this machine. *failed: tasks that ended in an error, whose first message is in err; the others are done then. HD_INTERRUPTED. */
hd_status hd_engine_local(hd_explorer *x, const hd_sweep *s, const char *path, const hd_engine_options *o, int *failed, hd_err *err);
/* The same as a SLURM job array, and waits until all its tasks have left the queue. HD_TOOL when there is no sbatch or it refuses. */
hd_status hd_engine_slurm(hd_explorer *x, const hd_sweep *s, const char *path, const hd_engine_options *o, int *failed, hd_err *err);
#endif
