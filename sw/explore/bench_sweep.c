/* Figure explore.sweep200_seconds: a sweep of 200 points of the default network, from nothing but the areas in the cache. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../drivers/tools.h"
#include "../core/progress.h"
#include "bench_explore.h"
#include "explore.h"

static const char *const axes[HD_AXES] = {
    [HD_AXIS_WEIGHTS] = "1,2,4,8",
    [HD_AXIS_SPARSITY] = "0,0.25,0.5,0.625,0.75",
    [HD_AXIS_GEOMETRY] = "1x4x8x2,2x4x8x2,1x8x8x2,2x8x8x2,4x4x8x2,4x8x8x2,2x8x16x2,4x16x8x2,8x8x8x2,4x8x16x2",
    [HD_AXIS_MEMORY] = "fit,extern=0",
};

/* Processor time of the tasks, which are processes of their own. */
static double processor_seconds(void) {
    struct rusage r;
    getrusage(RUSAGE_CHILDREN, &r);
    return (double)r.ru_utime.tv_sec + (double)r.ru_stime.tv_sec + 1e-6 * (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

/* What a first sweep would pay once and no later one: not part of the figure. */
static hd_status make_areas(hd_explorer *x, const hd_axis_grid *g, hd_err *err) {
    hd_status s = HD_OK;
    hd_progress progress;
    hd_progress_start(&progress, "areas", g->n[HD_AXIS_GEOMETRY]);
    for (int i = 0; !s && i < g->n[HD_AXIS_GEOMETRY]; i++) {
        int pick[HD_AXES] = {[HD_AXIS_GEOMETRY] = i};
        hd_point_spec p;
        hd_progress_show(&progress, i, NULL);
        s = hd_axis_grid_point(&p, g, pick, err);
        if (!s) s = hd_point_area(x, &p, err);
    }
    hd_progress_end(&progress);
    return s;
}

hd_status hd_bench_sweep(hd_figures *f, hd_err *err) {
    char cache[900], folder[1024];
    hd_axis_grid g = {0};
    hd_study study;
    hd_explorer *x = NULL;
    hd_explore_report e = {0};
    hd_study_default(&study);
    hd_status s = hd_tool_cache(cache, sizeof cache, err);
    if (!s) s = hd_tool_path(folder, sizeof folder, err, "%s/sweep200-%ld", cache, (long)getpid());
    for (int i = 0; !s && i < HD_AXES; i++)
        if (axes[i]) s = hd_axis_grid_set(&g, (hd_axis)i, axes[i], err);
    if (!s) s = hd_explorer_open(&x, &study, folder, err);
    if (!s) s = make_areas(x, &g, err);
    const hd_explore_options o = {.objective = {HD_FIGURE_ACCURACY, HD_FIGURE_TIME, HD_FIGURE_CELLS}, .objectives = 3, .run = hd_engine_local, .engine = {.folder = folder, .label = "200 points"}};
    double start = hd_seconds(), used = processor_seconds();
    if (!s) s = hd_explore_run(&e, x, &study, &g, &o, err);
    if (!s) s = hd_explore_write(&e, &o, folder, err);
    double seconds = hd_seconds() - start;
    if (!s) {
        hd_figure *to = hd_figure_add(f, seconds, "s", "measured", "explore.sweep200_seconds");
        to->reference = 600;
        to->compared = "the most wanted on two cores, areas from the cache";
        snprintf(to->note, sizeof to->note, "%d points, 20 compressions, 10 arrays, accuracy on 2,000 images", e.table.n);
        hd_figure_add(f, processor_seconds() - used, "s", "measured", "explore.sweep200_processor_seconds");
        hd_figure_add(f, e.table.n, "points", "measured", "explore.sweep200_points");
        hd_figure_add(f, e.front, "points", "measured", "explore.sweep200_front");
    }
    hd_explore_free(&e);
    hd_explorer_close(x);
    hd_axis_grid_free(&g);
    hd_tool_remove(folder);
    return s;
}
