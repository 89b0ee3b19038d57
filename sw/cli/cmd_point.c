/* heddle point: one design point, or one task of a sweep. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/progress.h"
#include "../explore/files.h"
#include "../explore/sweep.h"
#include "cli.h"

static const cli_option options[] = {
    {"--weights", "B", "bits of a weight: 1..8, ternary, or auto:B, layer by layer by the automatic policy, at most B bits a weight (8)"},
    {"--sparsity", "S", "share of weight blocks removed, 0..0.99 (0)"},
    {"--block", "INxOUT", "pruning block, or array: LANES x the channels of a tile (8x8)"},
    {"--method", "M", "as for compress: rtn, gptq, sparsegpt, iobs, clip, smooth+gptq, ... (gptq)"},
    {"--ends", "E", "first and last layer: 8 (bits, dense), dense (in the point's bits) or same (as all others) (8)"},
    {"--geometry", "RxCxLxP", "ROWSxCOLSxLANESxPLANES, as in 4x8x8x2, or board: the board's own (board)"},
    {"--board", "NAME", "{boards}, or none: no area and no link, 48 MHz assumed (ulx3s)"},
    {"--memory", "LIST", "fit: as deep as the network needs, or board: the board's depths; then overrides as for compile, as in fit,extern=0 (fit)"},
    CLI_STUDY_OPTIONS,
    {"-o", "FOLDER", "where results are kept (explore)"},
    {"--sweep", "FILE", "instead of all these: the points of a sweep that heddle explore wrote"},
    {"--task", "N", "of them only task N (from SLURM_ARRAY_TASK_ID, LSB_JOBINDEX, SGE_TASK_ID or PBS_ARRAY_INDEX; else all)"},
    {NULL, NULL, NULL},
};

/* Absolute, because a sweep's tasks may start elsewhere. */
static hd_status absolute(char to[HD_STUDY_PATH], const char *path, hd_err *err) {
    char *real = realpath(path, NULL);
    if (!real) return hd_fail(err, HD_IO, "%s: %s", path, strerror(errno));
    hd_status s = strlen(real) < HD_STUDY_PATH ? HD_OK : hd_fail(err, HD_RANGE, "%.100s...: a path of %zu characters; allowed are %d", real, strlen(real), HD_STUDY_PATH - 1);
    if (!s) snprintf(to, HD_STUDY_PATH, "%s", real);
    free(real);
    return s;
}

hd_status cli_study(hd_study *s, const cli_args *a, hd_err *err) {
    const struct { const char *name; char *to; } files[] = {{"--calib", s->calib}, {"--images", s->images}, {"--labels", s->labels}};
    int64_t calib_count, count;
    hd_study_default(s);
    hd_status st = a->operand && strcmp(a->operand, "default") ? absolute(s->model, a->operand, err) : HD_OK;
    for (size_t i = 0; !st && i < sizeof files / sizeof *files; i++)
        if (cli_text(a, files[i].name)) st = absolute(files[i].to, cli_text(a, files[i].name), err);
    if (!st) st = cli_int(&calib_count, a, "--calib-count", s->calib_count, 1, 1000000, err);
    if (!st) st = cli_int(&count, a, "--count", s->count, 0, 1000000000, err);
    if (!st) st = cli_float(&s->clock_hz, a, "--clock", 0, 1, 1e12, err);
    if (st) return st;
    s->calib_count = (uint32_t)calib_count;
    s->count = (uint32_t)count;
    s->raw = cli_flag(a, "--raw");
    s->hwc = cli_flag(a, "--hwc");
    s->no_area = cli_flag(a, "--no-area");
    return HD_OK;
}

/* ---- one point ---- */

static hd_status read_spec(hd_point_spec *p, const cli_args *a, hd_err *err) {
    hd_point_default(p);
    for (int i = 0; i < HD_AXES; i++) {
        char name[24];
        snprintf(name, sizeof name, "--%s", hd_axes[i].name);
        const char *text = cli_text(a, name);
        hd_status s = text ? hd_point_set(p, (hd_axis)i, text, err) : HD_OK;
        if (s) return s;
    }
    return hd_point_settle(p, err);
}

static void print_figures(const cJSON *o) {
    const cJSON *figures = cJSON_GetObjectItem(o, "figures");
    for (int i = 0; i < HD_FIGURES; i++) {
        const cJSON *f = cJSON_GetObjectItem(figures, hd_figure_infos[i].name), *low = cJSON_GetObjectItem(f, "low"), *high = cJSON_GetObjectItem(f, "high");
        const cJSON *value = cJSON_GetObjectItem(f, "value"), *fidelity = cJSON_GetObjectItem(f, "fidelity");
        if (!cJSON_IsNumber(value) || !cJSON_IsString(fidelity)) continue;
        char band[60] = "";
        if (cJSON_IsNumber(low) && cJSON_IsNumber(high)) snprintf(band, sizeof band, " (%.3g to %.3g)", low->valuedouble, high->valuedouble);
        printf("%-38s %12.6g %-6s%s [%s]\n", hd_figure_infos[i].title, value->valuedouble, hd_figure_infos[i].unit, band, fidelity->valuestring);
    }
}

static void print_point(const cJSON *o, const char *path, int found) {
    const cJSON *message = cJSON_GetObjectItem(o, "message"), *lacks = cJSON_GetObjectItem(o, "lacks"), *fpga = cJSON_GetObjectItem(o, "fpga"), *l;
    print_figures(o);
    if (cJSON_IsString(message)) printf("does not fit: %s\n", message->valuestring);
    if (cJSON_IsString(lacks) && cJSON_IsString(fpga)) printf("too large for the %s: %s\n", fpga->valuestring, lacks->valuestring);
    cJSON_ArrayForEach(l, cJSON_GetObjectItem(o, "layers"))
        printf("  %-20s %9.0f cycles %5.1f%%  %s\n", cJSON_GetObjectItem(l, "name")->valuestring, cJSON_GetObjectItem(l, "cycles")->valuedouble,
               100 * cJSON_GetObjectItem(l, "utilisation")->valuedouble, cJSON_GetObjectItem(l, "reason")->valuestring);
    printf("%s%s\n", path, found ? " (was there)" : "");
}

static hd_status one_point(const cli_args *a, const char *folder, hd_err *err) {
    hd_study study;
    hd_point_spec p;
    hd_explorer *x = NULL;
    cJSON *o = NULL;
    char path[1024];
    int found = 0;
    hd_status s = read_spec(&p, a, err);
    if (!s) s = cli_study(&study, a, err);
    if (!s) s = hd_explorer_open(&x, &study, folder, err);
    if (!s) s = hd_point_make(x, &p, &found, err);
    if (!s) s = hd_point_path(path, sizeof path, x, &p, err);
    if (!s) s = hd_json_read(&o, path, err);
    hd_explorer_close(x);
    if (s) return s;
    if (a->json) {
        cJSON_AddStringToObject(o, "path", path);
        cJSON_AddBoolToObject(o, "found", found);
        return cli_json(o, err);
    }
    print_point(o, path, found);
    cJSON_Delete(o);
    return HD_OK;
}

/* ---- a task of a sweep ---- */

/* Array indices of batch systems count as the array was asked for; heddle explore asks from 0. */
static hd_status task_number(int64_t *task, const cli_args *a, int tasks, hd_err *err) {
    static const char *const variables[] = {"SLURM_ARRAY_TASK_ID", "LSB_JOBINDEX", "SGE_TASK_ID", "PBS_ARRAY_INDEX"};
    hd_status s = cli_int(task, a, "--task", -1, 0, tasks - 1, err);
    if (s || *task >= 0) return s;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *text = getenv(variables[i]);
        char *end;
        if (!text || !*text || !strcmp(text, "undefined")) continue; /* SGE sets this outside of arrays */
        long n = strtol(text, &end, 10);
        if (*end || n < 0 || n >= tasks) return hd_fail(err, HD_USAGE, "point: %s=%.40s; the sweep has tasks 0..%d", variables[i], text, tasks - 1);
        *task = n;
        return HD_OK;
    }
    return HD_OK;
}

static hd_status run_tasks(hd_explorer *x, const hd_sweep *sweep, const cli_args *a, hd_err *err) {
    hd_tasks tasks = {0};
    hd_status s = hd_tasks_make(&tasks, sweep, x, err), worst = HD_OK;
    int64_t task = -1;
    int made = 0, found = 0;
    if (!s) s = task_number(&task, a, tasks.n, err);
    for (int i = 0; !s && i < tasks.n; i++) {
        int m, f;
        hd_err own = {0};
        if (task >= 0 && i != task) continue;
        hd_status one = hd_task_run(x, sweep, &tasks.task[i], &m, &f, &own);
        made += m;
        found += f;
        if (one && !worst) worst = hd_fail(err, one, "%s", own.message);
        if (one == HD_INTERRUPTED) break;
    }
    hd_tasks_free(&tasks);
    if (s || worst) return s ? s : worst;
    if (!a->json) {
        printf("%d points made, %d were there\n", made, found);
        return HD_OK;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "made", made);
    cJSON_AddNumberToObject(o, "found", found);
    return cli_json(o, err);
}

/* The sweep lies in FOLDER/sweeps. */
static hd_status sweep_folder(char *folder, size_t n, const char *path, hd_err *err) {
    char full[HD_STUDY_PATH];
    hd_status s = absolute(full, path, err);
    for (int up = 0; !s && up < 2; up++) {
        char *slash = strrchr(full, '/');
        if (!slash || slash == full) return hd_fail(err, HD_USAGE, "point: --sweep %.200s: lies in no folder sweeps of an exploration", path);
        *slash = 0;
    }
    if (!s) snprintf(folder, n, "%s", full);
    return s;
}

static hd_status sweep_points(const cli_args *a, const char *path, hd_err *err) {
    hd_sweep sweep;
    hd_explorer *x = NULL;
    char folder[HD_STUDY_PATH];
    for (int i = 0; a->command->options[i].name; i++) {
        const char *name = a->command->options[i].name;
        if (a->value[i] && strcmp(name, "--sweep") && strcmp(name, "--task")) return hd_fail(err, HD_USAGE, "point: %s and --sweep do not go together; the sweep says it", name);
    }
    if (a->operand) return hd_fail(err, HD_USAGE, "point: '%.100s' and --sweep do not go together; the sweep names the model", a->operand);
    hd_status s = sweep_folder(folder, sizeof folder, path, err);
    if (!s) s = hd_sweep_read(&sweep, path, err);
    if (s) return s;
    s = hd_explorer_open(&x, &sweep.study, folder, err);
    if (!s) s = run_tasks(x, &sweep, a, err);
    hd_explorer_close(x);
    hd_sweep_free(&sweep);
    return s;
}

static hd_status run(const cli_args *a, hd_err *err) {
    const char *sweep = cli_text(a, "--sweep"), *folder = cli_text(a, "-o");
    if (sweep) return sweep_points(a, sweep, err);
    if (cli_text(a, "--task")) return hd_fail(err, HD_USAGE, "point: --task goes with --sweep");
    if (!a->operand) return hd_fail(err, HD_USAGE, "point: MODEL is missing; heddle point --help shows an example");
    return one_point(a, folder ? folder : "explore", err);
}

const cli_command cli_point = {
    .name = "point",
    .summary = "one design point: accuracy, cycles, time, area, energy",
    .operand = "MODEL",
    .operand_optional = 1,
    .about = "Compresses MODEL (an ONNX file or the word default), measures its accuracy, compiles it for an array, counts its exact cycles, "
             "has the array's cells synthesised, and estimates time on the link and energy. What was computed before in the same folder is "
             "taken from there.",
    .examples = "heddle point default --weights 2 --sparsity 0.5 --geometry 4x8x8x2 --board ulx3s --memory fit,extern=0\n"
                "heddle point --sweep study/sweeps/HASH.json --task 3",
    .surroundings = CLI_CACHE | CLI_SOURCE | CLI_DATASET | CLI_THREADS | CLI_TASKS | CLI_IDX | CLI_STUDY,
    .see = "explore, docs/exploring.md",
    .options = options,
    .run = run,
};
