#include "sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../drivers/tools.h"
#include "../core/progress.h"
#include "../core/rng.h"
#include "files.h"

/* ---- axes ---- */

static hd_status add_value(hd_axis_grid *g, hd_axis axis, const char *text, hd_err *err) {
    hd_point_spec p;
    hd_point_default(&p);
    hd_status s = hd_point_set(&p, axis, text, err);
    if (s) return s;
    for (int i = 0; i < g->n[axis]; i++)
        if (!strcmp(g->value[axis][i], p.axis[axis])) return HD_OK;
    if (g->n[axis] == HD_SWEEP_VALUES) return hd_fail(err, HD_USAGE, "--%s: more than %d values", hd_axes[axis].name, HD_SWEEP_VALUES);
    void *more = realloc(g->value[axis], ((size_t)g->n[axis] + 1) * sizeof *g->value[axis]);
    if (!more) return hd_fail(err, HD_NOMEM, "no memory for the values of --%s", hd_axes[axis].name);
    g->value[axis] = more;
    memcpy(g->value[axis][g->n[axis]++], p.axis[axis], HD_AXIS_TEXT);
    return HD_OK;
}

static void clear_axis(hd_axis_grid *g, hd_axis axis) {
    free(g->value[axis]);
    g->value[axis] = NULL;
    g->n[axis] = 0;
}

hd_status hd_axis_grid_set(hd_axis_grid *g, hd_axis axis, const char *list, hd_err *err) {
    clear_axis(g, axis);
    for (const char *at = list;; at++) {
        char text[1024];
        const char *end = strchr(at, hd_axes[axis].separator);
        size_t n = end ? (size_t)(end - at) : strlen(at);
        if (n >= sizeof text) n = sizeof text - 1;
        memcpy(text, at, n);
        text[n] = 0;
        hd_status s = add_value(g, axis, text, err);
        if (s || !end) return s;
        at = end;
    }
}

static hd_status read_axis(hd_axis_grid *g, hd_axis axis, const cJSON *list, const char *path, hd_err *err) {
    const cJSON *e;
    if (!cJSON_IsArray(list) || !cJSON_GetArraySize(list)) return hd_fail(err, HD_FORMAT, "%s: axis '%s' is no list of values", path, hd_axes[axis].name);
    cJSON_ArrayForEach(e, list) {
        char number[40];
        if (cJSON_IsNumber(e)) snprintf(number, sizeof number, "%.10g", e->valuedouble);
        else if (!cJSON_IsString(e)) return hd_fail(err, HD_FORMAT, "%s: axis '%s': a value that is neither text nor number", path, hd_axes[axis].name);
        hd_status s = add_value(g, axis, cJSON_IsNumber(e) ? number : e->valuestring, err);
        if (s) return hd_fail_in(err, path), s;
    }
    return HD_OK;
}

hd_status hd_axis_grid_read(hd_axis_grid *g, const char *path, hd_err *err) {
    cJSON *o;
    hd_status s = hd_json_read(&o, path, err);
    if (s) return s;
    const cJSON *axes = cJSON_GetObjectItem(o, "axes"), *e;
    if (!cJSON_IsObject(axes)) s = hd_fail(err, HD_FORMAT, "%s: no object 'axes', as in {\"axes\": {\"weights\": [2, 4], \"geometry\": [\"4x8x8x2\"]}}", path);
    cJSON_ArrayForEach(e, axes) {
        int axis = 0;
        while (axis < HD_AXES && strcmp(hd_axes[axis].name, e->string)) axis++;
        if (s) break;
        if (axis == HD_AXES) s = hd_fail(err, HD_FORMAT, "%s: axis '%.40s': unknown; there are weights, sparsity, block, method, ends, geometry, board, memory", path, e->string);
        else if (!g->n[axis]) s = read_axis(g, (hd_axis)axis, e, path, err);
    }
    cJSON_Delete(o);
    return s;
}

void hd_axis_grid_free(hd_axis_grid *g) {
    for (int i = 0; i < HD_AXES; i++) clear_axis(g, (hd_axis)i);
}

double hd_axis_grid_size(const hd_axis_grid *g) {
    double n = 1;
    for (int i = 0; i < HD_AXES; i++) n *= g->n[i] ? g->n[i] : 1;
    return n;
}

hd_status hd_axis_grid_point(hd_point_spec *p, const hd_axis_grid *g, const int pick[HD_AXES], hd_err *err) {
    hd_point_default(p);
    for (int i = 0; i < HD_AXES; i++)
        if (g->n[i]) memcpy(p->axis[i], g->value[i][pick[i]], HD_AXIS_TEXT);
    return hd_point_settle(p, err);
}

/* ---- points ---- */

hd_status hd_sweep_add(hd_sweep *s, const hd_point_spec *p, int *at, hd_err *err) {
    for (*at = 0; *at < s->n; ++*at) {
        int same = 1;
        for (int i = 0; same && i < HD_AXES; i++) same = !strcmp(s->point[*at].axis[i], p->axis[i]);
        if (same) return HD_OK;
    }
    if (s->n == HD_SWEEP_POINTS) return hd_fail(err, HD_RANGE, "a sweep of more than %d points; take fewer values, or --search random", HD_SWEEP_POINTS);
    if (!(s->n & (s->n - 1))) {
        hd_point_spec *more = realloc(s->point, (s->n ? 2 * (size_t)s->n : 1) * sizeof *more);
        if (!more) return hd_fail(err, HD_NOMEM, "no memory for %d points", s->n);
        s->point = more;
    }
    s->point[s->n++] = *p;
    return HD_OK;
}

static void unravel(int pick[HD_AXES], const hd_axis_grid *g, uint64_t index) {
    for (int i = HD_AXES; i--;) {
        uint64_t n = g->n[i] ? (uint64_t)g->n[i] : 1;
        pick[i] = (int)(index % n);
        index /= n;
    }
}

hd_status hd_sweep_make(hd_sweep *s, const hd_study *study, const hd_axis_grid *g, int random, uint64_t seed, hd_err *err) {
    double size = hd_axis_grid_size(g);
    hd_rng rng;
    hd_rng_seed(&rng, seed, 11);
    *s = (hd_sweep){.study = *study};
    if (size > (random ? 1e15 : HD_SWEEP_POINTS))
        return hd_fail(err, HD_RANGE, "the axes combine to %.0f points; allowed are %d, or take --search random or nsga2", size, HD_SWEEP_POINTS);
    uint64_t total = (uint64_t)size, tries = random ? 20 * (uint64_t)random + 1000 : total;
    hd_status st = HD_OK;
    for (uint64_t i = 0; !st && i < tries && (!random || s->n < random); i++) {
        int pick[HD_AXES], at;
        hd_point_spec p;
        unravel(pick, g, random ? (((uint64_t)hd_rng_u32(&rng) << 32) | hd_rng_u32(&rng)) % total : i);
        st = hd_axis_grid_point(&p, g, pick, err);
        if (!st) st = hd_sweep_add(s, &p, &at, err);
    }
    if (st) hd_sweep_free(s);
    return st;
}

void hd_sweep_free(hd_sweep *s) {
    free(s->point);
    *s = (hd_sweep){0};
}

/* ---- the file ---- */

hd_status hd_sweep_write(const hd_sweep *s, const char *folder, char *path, size_t n, hd_err *err) {
    char sweeps[1024];
    hd_status st = hd_tool_path(sweeps, sizeof sweeps, err, "%s/sweeps", folder);
    if (!st) st = hd_folder_make(sweeps, err);
    if (st) return st;
    cJSON *o = cJSON_CreateObject(), *list;
    cJSON_AddItemToObject(o, "study", hd_study_json(&s->study));
    list = cJSON_AddArrayToObject(o, "points");
    for (int i = 0; i < s->n; i++) {
        const char *texts[HD_AXES];
        for (int k = 0; k < HD_AXES; k++) texts[k] = s->point[i].axis[k];
        cJSON_AddItemToArray(list, cJSON_CreateStringArray(texts, HD_AXES));
    }
    char *text = cJSON_PrintUnformatted(o);
    uint64_t h = HD_TOOL_HASH;
    if (text) hd_tool_hash(&h, text, strlen(text));
    free(text);
    st = hd_tool_path(path, n, err, "%s/%016llx.json", sweeps, (unsigned long long)h);
    if (!st && access(path, R_OK)) return hd_json_write(o, path, err);
    cJSON_Delete(o);
    return st;
}

hd_status hd_sweep_read(hd_sweep *s, const char *path, hd_err *err) {
    cJSON *o;
    *s = (hd_sweep){0};
    hd_status st = hd_json_read(&o, path, err);
    if (st) return st;
    st = hd_study_read(&s->study, cJSON_GetObjectItem(o, "study"), err);
    const cJSON *list = cJSON_GetObjectItem(o, "points"), *e, *text;
    if (!st && !cJSON_IsArray(list)) st = hd_fail(err, HD_FORMAT, "no sweep that heddle explore wrote: no list 'points'");
    cJSON_ArrayForEach(e, list) {
        hd_point_spec p;
        int axis = 0, at;
        if (st) break;
        hd_point_default(&p);
        cJSON_ArrayForEach(text, e) {
            if (!st && (axis == HD_AXES || !cJSON_IsString(text))) st = hd_fail(err, HD_FORMAT, "a point that is no list of %d texts", HD_AXES);
            if (!st) st = hd_point_set(&p, (hd_axis)axis++, text->valuestring, err);
        }
        if (!st) st = hd_point_settle(&p, err);
        if (!st) st = hd_sweep_add(s, &p, &at, err);
    }
    cJSON_Delete(o);
    if (st) {
        hd_fail_in(err, path);
        hd_sweep_free(s);
    }
    return st;
}

/* ---- tasks ---- */

/* The task of a key, made when there is none yet. */
static hd_task *task_of(hd_tasks *t, uint64_t *keys, uint64_t key, int area, int points) {
    for (int i = 0; i < t->n; i++)
        if (t->task[i].area == area && keys[i] == key) return &t->task[i];
    t->task[t->n] = (hd_task){.area = area, .point = malloc((size_t)points * sizeof(int))};
    keys[t->n] = key;
    return t->task[t->n++].point ? &t->task[t->n - 1] : NULL;
}

hd_status hd_tasks_make(hd_tasks *t, const hd_sweep *s, const hd_explorer *x, hd_err *err) {
    *t = (hd_tasks){.task = calloc(2 * (size_t)s->n + 1, sizeof *t->task)};
    uint64_t *keys = calloc(2 * (size_t)s->n + 1, sizeof *keys);
    int ok = t->task && keys;
    for (int area = 1; ok && area >= 0; area--)
        for (int i = 0; ok && i < s->n; i++) {
            if (area && (s->study.no_area || !strcmp(s->point[i].axis[HD_AXIS_BOARD], "none"))) continue;
            hd_task *k = task_of(t, keys, area ? hd_point_area_key(&s->point[i]) : hd_point_model_key(x, &s->point[i]), area, s->n);
            ok = k != NULL;
            if (ok) k->point[k->n++] = i;
        }
    free(keys);
    if (ok) return HD_OK;
    hd_tasks_free(t);
    return hd_fail(err, HD_NOMEM, "no memory for the tasks of %d points", s->n);
}

void hd_tasks_free(hd_tasks *t) {
    for (int i = 0; i < t->n; i++) free(t->task[i].point);
    free(t->task);
    *t = (hd_tasks){0};
}

hd_status hd_task_run(hd_explorer *x, const hd_sweep *s, const hd_task *t, int *made, int *found, hd_err *err) {
    hd_status worst = HD_OK;
    *made = *found = 0;
    if (t->area) return hd_point_area(x, &s->point[t->point[0]], err);
    for (int i = 0; i < t->n; i++) {
        int there;
        hd_err own = {0};
        hd_status st = hd_interrupted ? hd_fail(&own, HD_INTERRUPTED, "stopped") : hd_point_make(x, &s->point[t->point[i]], &there, &own);
        if (!st) ++*(there ? found : made);
        if (st && !worst) {
            char command[600];
            worst = st;
            hd_point_command(command, sizeof command, &s->study, &s->point[t->point[i]]);
            hd_fail(err, st, "%.200s: %.300s", command, own.message);
        }
        if (st == HD_INTERRUPTED) break;
    }
    return worst;
}

hd_status hd_sweep_done(int *done, hd_explorer *x, const hd_sweep *s, hd_err *err) {
    char path[1024];
    hd_status st = HD_OK;
    *done = 0;
    for (int i = 0; !st && i < s->n; i++) {
        st = hd_point_path(path, sizeof path, x, &s->point[i], err);
        *done += !st && !access(path, R_OK);
    }
    return st;
}
