#include "explore.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../drivers/tools.h"
#include "../core/progress.h"
#include "../core/rng.h"
#include "nsga2.h"

/* Points of s that have no result yet are computed. */
static hd_status compute(hd_explore_report *e, hd_explorer *x, const hd_sweep *s, const hd_explore_options *o, hd_err *err) {
    char path[1024];
    int before = 0, after = 0, failed = 0;
    hd_status st = hd_sweep_done(&before, x, s, err);
    if (!st && before < s->n && o->run) {
        st = hd_sweep_write(s, o->engine.folder, path, sizeof path, err);
        if (!st) st = o->run(x, s, path, &o->engine, &failed, err);
        if (!st && failed) st = HD_TOOL; /* err has the first task's message */
    }
    if (!hd_sweep_done(&after, x, s, NULL)) e->made += after - before;
    return st;
}

/* ---- NSGA-II ---- */

typedef struct genetic {
    hd_explore_report *e;
    hd_explorer *x;
    const hd_study *study;
    const hd_axis_grid *grid;
    const hd_explore_options *o;
    hd_status worst;
    hd_err *err;
} genetic;

static hd_status evaluate(void *arg, const int (*gene)[HD_GENES], int count, double *v, hd_err *err) {
    genetic *g = arg;
    hd_sweep batch = {.study = *g->study};
    hd_table t = {0};
    hd_err own = {0};
    int *at = malloc((size_t)count * sizeof *at), seen;
    hd_status s = at ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for a generation of %d", count);
    for (int i = 0; !s && i < count; i++) {
        hd_point_spec p;
        s = hd_axis_grid_point(&p, g->grid, gene[i], err);
        if (!s) s = hd_sweep_add(&batch, &p, &at[i], err);
        if (!s) s = hd_sweep_add(&g->e->sweep, &p, &seen, err);
    }
    if (!s) {
        hd_status c = compute(g->e, g->x, &batch, g->o, &own);
        if (c == HD_INTERRUPTED) s = hd_fail(err, c, "%s", own.message);
        else if (c && !g->worst) g->worst = hd_fail(g->err, c, "%s", own.message); /* points that fail are bad points; the search goes on */
    }
    for (int i = 0; !s && i < count; i++) {
        /* A result that is not there is as bad as one that does not fit. */
        hd_sweep one = {.study = *g->study, .point = &batch.point[at[i]], .n = 1};
        s = hd_table_load(&t, g->x, &one, err);
        if (s) break;
        for (int k = 0; k < g->o->objectives; k++) v[i * g->o->objectives + k] = INFINITY;
        if (t.n) hd_row_objectives(v + (size_t)i * (size_t)g->o->objectives, &t.row[0], g->o->objective, g->o->objectives);
        hd_table_free(&t);
    }
    hd_sweep_free(&batch);
    free(at);
    return s;
}

static hd_status search_genetic(hd_explore_report *e, hd_explorer *x, const hd_study *study, const hd_axis_grid *g, const hd_explore_options *o, hd_err *err) {
    genetic own = {.e = e, .x = x, .study = study, .grid = g, .o = o, .err = err};
    hd_nsga2 n = {.genes = HD_AXES, .objectives = o->objectives, .population = o->population, .generations = o->generations, .seed = o->seed, .evaluate = evaluate, .arg = &own};
    for (int i = 0; i < HD_AXES; i++) n.values[i] = g->n[i] ? g->n[i] : 1;
    e->sweep = (hd_sweep){.study = *study};
    hd_err failure = {0};
    hd_status s = hd_nsga2_run(&n, &failure);
    return s ? hd_fail(err, s, "%s", failure.message) : own.worst;
}

/* ---- all of it ---- */

hd_status hd_explore_run(hd_explore_report *e, hd_explorer *x, const hd_study *study, const hd_axis_grid *g, const hd_explore_options *o, hd_err *err) {
    double start = hd_seconds();
    *e = (hd_explore_report){0};
    hd_status s, failed = HD_OK;
    hd_err own = {0};
    if (o->search == HD_SEARCH_NSGA2) {
        failed = search_genetic(e, x, study, g, o, &own);
        s = failed == HD_TOOL ? HD_OK : failed;
    } else {
        s = hd_sweep_make(&e->sweep, study, g, o->search == HD_SEARCH_RANDOM ? o->points : 0, o->seed, &own);
        if (!s) failed = compute(e, x, &e->sweep, o, &own);
        if (failed != HD_TOOL) s = s ? s : failed;
    }
    if (!s) s = hd_table_load(&e->table, x, &e->sweep, &own);
    if (!s && !e->table.n && !failed) s = hd_fail(&own, HD_IO, "%s: no results; nothing was computed", o->engine.folder);
    if (!s && e->table.n) s = hd_table_front(&e->table, o->objective, o->objectives, &e->front, &own);
    e->found = e->table.n - e->made;
    if (s || !e->table.n) hd_explore_free(e);
    e->seconds = hd_seconds() - start;
    if (s || failed) hd_fail(err, s ? s : failed, "%s", own.message);
    return s ? s : failed;
}

hd_status hd_explore_check(hd_explore_report *e, hd_explorer *x, int count, uint64_t seed, hd_err *err) {
    hd_rng rng;
    hd_status s = HD_OK;
    hd_progress progress;
    int *left = malloc(((size_t)e->sweep.n + 1) * sizeof *left), n = e->sweep.n;
    if (!left) return hd_fail(err, HD_NOMEM, "no memory for a sample of %d points", count);
    for (int i = 0; i < n; i++) left[i] = i;
    hd_rng_seed(&rng, seed, 13);
    hd_progress_start(&progress, "RTL", count);
    while (!s && n && e->checked < count) {
        int at = (int)hd_rng_below(&rng, (uint32_t)n), equal = 0;
        uint64_t cycles = 0, predicted = 0;
        hd_progress_show(&progress, e->checked, NULL);
        s = hd_interrupted ? hd_fail(err, HD_INTERRUPTED, "stopped") : hd_point_check(x, &e->sweep.point[left[at]], &cycles, &predicted, &equal, err);
        left[at] = left[--n];
        if (s == HD_NOFIT) { /* no program, nothing to run */
            s = HD_OK;
            continue;
        }
        e->checked++;
        e->different += !equal;
        uint64_t difference = cycles > predicted ? cycles - predicted : predicted - cycles;
        if (difference > e->largest) e->largest = difference;
    }
    hd_progress_end(&progress);
    free(left);
    return s;
}

/* The point of a row: rows are in the order of the sweep, without those that are missing. */
static hd_status point_of(hd_point_spec *p, const hd_row *r, hd_err *err) {
    hd_point_default(p);
    hd_status s = HD_OK;
    for (int i = 0; !s && i < HD_AXES; i++) {
        const cJSON *e = cJSON_GetObjectItem(cJSON_GetObjectItem(r->json, "axes"), hd_axes[i].name);
        if (cJSON_IsString(e)) s = hd_point_set(p, (hd_axis)i, e->valuestring, err);
    }
    return s;
}

hd_status hd_explore_place(hd_explore_report *e, hd_explorer *x, const hd_explore_options *o, hd_err *err) {
    hd_status s = HD_OK;
    hd_progress progress;
    hd_table again = {0};
    hd_progress_start(&progress, "placing the front", e->front);
    for (int i = 0; !s && i < e->table.n; i++) {
        hd_point_spec p;
        int fit = 0;
        if (!e->table.row[i].front) continue;
        hd_progress_show(&progress, e->placed, NULL);
        s = point_of(&p, &e->table.row[i], err);
        if (!s) s = hd_point_place(x, &p, &fit, err);
        if (s) break;
        e->placed++;
        e->no_room += !fit;
    }
    hd_progress_end(&progress);
    if (!s) s = hd_table_load(&again, x, &e->sweep, err);
    if (s) return s;
    hd_table_free(&e->table);
    e->table = again;
    return hd_table_front(&e->table, o->objective, o->objectives, &e->front, err);
}

hd_status hd_explore_write(const hd_explore_report *e, const hd_explore_options *o, const char *folder, hd_err *err) {
    char path[1024];
    hd_status s = hd_tool_path(path, sizeof path, err, "%s/points.csv", folder);
    if (!s) s = hd_table_csv(&e->table, path, err);
    if (!s) s = hd_tool_path(path, sizeof path, err, "%s/points.sqlite", folder);
    if (!s) s = hd_table_sqlite(&e->table, path, err);
    if (!s) s = hd_tool_path(path, sizeof path, err, "%s/front.svg", folder);
    if (!s) s = hd_table_svg(&e->table, o->objective[1], o->objective[0], path, err);
    if (!s) s = hd_tool_path(path, sizeof path, err, "%s/index.html", folder);
    return s ? s : hd_table_page(&e->table, o->objective, o->objectives, path, err);
}

void hd_explore_free(hd_explore_report *e) {
    hd_table_free(&e->table);
    hd_sweep_free(&e->sweep);
}
