/* heddle explore: many design points, the best of them, and the page that shows them. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/progress.h"
#include "../core/rng.h"
#include "../explore/collect.h"
#include "../explore/explore.h"
#include "../explore/files.h"
#include "cli.h"

static const cli_option options[] = {
    {"--weights", "LIST", "bits of a weight: 1..8, ternary, auto:B (layer by layer, at most B bits a weight), as in 1,2,4,8 (8)"},
    {"--sparsity", "LIST", "shares of weight blocks removed, as in 0,0.5,0.75 (0)"},
    {"--block", "LIST", "pruning blocks, or array: LANES x the channels of a tile, a compression for each geometry (8x8)"},
    {"--method", "LIST", "as for compress, as in rtn,gptq (gptq)"},
    {"--ends", "LIST", "first and last layer: 8 (bits, dense), dense (in the point's bits), same (as all others) (8)"},
    {"--geometry", "LIST", "arrays, as in 4x8x8x2,8x8x8x2, or board: the board's own (board)"},
    {"--board", "LIST", "{boards}, or none: no area and no link, 48 MHz assumed (ulx3s)"},
    {"--memory", "LIST", "fit: as deep as the network needs, or board: the board's depths; then overrides, as in fit,extern=0; lists are divided by ; (fit)"},
    {"--axes", "FILE", "axes from a JSON file, {\"axes\": {\"weights\": [2, 4]}}; options go before it"},
    CLI_STUDY_OPTIONS,
    {"-o", "FOLDER", "results, and from them points.csv, points.sqlite, index.html, front.svg (explore)"},
    {"--search", "S", "grid: all combinations; random: --points of them; nsga2: a genetic search for the front (grid)"},
    {"--points", "N", "of a random search, 1..20000 (100)"},
    {"--population", "N", "of nsga2, even, 4..1000 (24)"},
    {"--generations", "N", "of nsga2, 1..1000 (8)"},
    {"--seed", "N", "of random, nsga2 and --check (1)"},
    {"--objectives", "LIST", "what the front is of: accuracy, time, rate, energy, cells, bytes, cycles, ...; the first two are the plot's axes (accuracy,time,cells)"},
    {"--engine", "E", "local: processes on this machine; slurm: a job array; print: commands for GNU parallel and the like; none: only collect what is there (local)"},
    {"--jobs", "N", "processes at a time, 1..256 (as many as cores)"},
    {"--slurm", "OPTIONS", "further options of sbatch, as in '--partition=long --time=60'"},
    {"--check", "N", "run N points drawn at random on the Verilated RTL and compare their cycles, layer by layer (0)"},
    {"--place", NULL, "place and route the points of the front on their boards: minutes each"},
    {NULL, NULL, NULL},
};

typedef enum engine { ENGINE_LOCAL, ENGINE_SLURM, ENGINE_PRINT, ENGINE_NONE } engine;

typedef struct request {
    hd_study study;
    hd_axis_grid grid;
    hd_explore_options o;
    engine engine;
    int64_t check;
    int place;
    const char *folder;
} request;

/* ---- reading ---- */

static hd_status choice(int *out, const cli_args *a, const char *name, const char *const *names, int n, hd_err *err) {
    const char *text = cli_text(a, name);
    char list[100] = "";
    for (int i = 0; i < n; i++) {
        if (text && !strcmp(text, names[i])) {
            *out = i;
            return HD_OK;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
    }
    return text ? hd_fail(err, HD_USAGE, "explore: %s: found '%.60s'; allowed are %s", name, text, list) : HD_OK;
}

static hd_status read_objectives(hd_explore_options *o, const char *list, hd_err *err) {
    char name[64];
    o->objectives = 0;
    for (const char *at = list;; at++) {
        size_t n = strcspn(at, ",");
        hd_figure_id id;
        snprintf(name, sizeof name, "%.*s", (int)(n < 60 ? n : 60), at);
        hd_status s = hd_figure_find(&id, name, err);
        if (s) return hd_fail_in(err, "explore: --objectives"), s;
        if (!hd_figure_infos[id].better) return hd_fail(err, HD_USAGE, "explore: --objectives: '%s' is neither good nor bad", name);
        for (int i = 0; i < o->objectives; i++)
            if (o->objective[i] == id) return hd_fail(err, HD_USAGE, "explore: --objectives: '%s' is given twice", name);
        if (o->objectives == HD_EXPLORE_OBJECTIVES) return hd_fail(err, HD_USAGE, "explore: --objectives: '%s' is one too many; allowed are %d", name, HD_EXPLORE_OBJECTIVES);
        o->objective[o->objectives++] = id;
        at += n;
        if (!*at) break;
    }
    return o->objectives >= 2 ? HD_OK : hd_fail(err, HD_USAGE, "explore: --objectives: one alone; a front needs two or more, as in accuracy,time");
}

static hd_status read_grid(request *r, const cli_args *a, hd_err *err) {
    for (int i = 0; i < HD_AXES; i++) {
        char name[24];
        snprintf(name, sizeof name, "--%s", hd_axes[i].name);
        const char *text = cli_text(a, name);
        hd_status s = text ? hd_axis_grid_set(&r->grid, (hd_axis)i, text, err) : HD_OK;
        if (s) return hd_fail_in(err, "explore"), s;
    }
    return cli_text(a, "--axes") ? hd_axis_grid_read(&r->grid, cli_text(a, "--axes"), err) : HD_OK;
}

static hd_status read_search(request *r, const cli_args *a, hd_err *err) {
    static const char *const searches[] = {"grid", "random", "nsga2"}, *const engines[] = {"local", "slurm", "print", "none"};
    static const struct { const char *name; int search; } only[] = {{"--points", HD_SEARCH_RANDOM}, {"--population", HD_SEARCH_NSGA2}, {"--generations", HD_SEARCH_NSGA2}};
    int search = 0, which = 0;
    int64_t points, population, generations, seed, jobs;
    hd_status s = choice(&search, a, "--search", searches, 3, err);
    if (!s) s = choice(&which, a, "--engine", engines, 4, err);
    for (size_t i = 0; !s && i < sizeof only / sizeof *only; i++)
        if (cli_text(a, only[i].name) && search != only[i].search) s = hd_fail(err, HD_USAGE, "explore: %s goes with --search %s", only[i].name, searches[only[i].search]);
    if (!s) s = cli_int(&points, a, "--points", 100, 1, HD_SWEEP_POINTS, err);
    if (!s) s = cli_int(&population, a, "--population", 24, 4, 1000, err);
    if (!s && population % 2) s = hd_fail(err, HD_USAGE, "explore: --population: found %lld; allowed is an even number", (long long)population);
    if (!s) s = cli_int(&generations, a, "--generations", 8, 1, 1000, err);
    if (!s) s = cli_int(&seed, a, "--seed", 1, 0, INT64_MAX, err);
    if (!s) s = cli_int(&jobs, a, "--jobs", 0, 1, 256, err);
    if (!s) s = cli_int(&r->check, a, "--check", 0, 0, HD_SWEEP_POINTS, err);
    if (!s && cli_text(a, "--slurm") && which != ENGINE_SLURM) s = hd_fail(err, HD_USAGE, "explore: --slurm goes with --engine slurm");
    if (!s && search == HD_SEARCH_NSGA2 && which >= ENGINE_PRINT) s = hd_fail(err, HD_USAGE, "explore: --search nsga2 decides from results: it goes with --engine local and slurm");
    if (s) return s;
    r->engine = (engine)which;
    r->o.search = (hd_search)search;
    r->o.points = (int)points;
    r->o.population = (int)population;
    r->o.generations = (int)generations;
    r->o.seed = (uint64_t)seed;
    r->o.engine = (hd_engine_options){.jobs = (int)jobs, .folder = r->folder, .label = "explore", .slurm = cli_text(a, "--slurm")};
    r->o.run = r->engine == ENGINE_LOCAL ? hd_engine_local : r->engine == ENGINE_SLURM ? hd_engine_slurm : NULL;
    r->place = cli_flag(a, "--place");
    return HD_OK;
}

static hd_status read_request(request *r, const cli_args *a, hd_err *err) {
    const char *objectives = cli_text(a, "--objectives"), *folder = cli_text(a, "-o");
    r->folder = folder ? folder : "explore";
    hd_status s = read_grid(r, a, err);
    if (!s) s = cli_study(&r->study, a, err);
    if (!s) s = read_search(r, a, err);
    if (!s) s = read_objectives(&r->o, objectives ? objectives : r->study.no_area ? "accuracy,time" : "accuracy,time,cells", err);
    return s;
}

/* ---- printing ---- */

static const char *axis_text(const hd_row *r, hd_axis axis) {
    const cJSON *e = cJSON_GetObjectItem(cJSON_GetObjectItem(r->json, "axes"), hd_axes[axis].name);
    return cJSON_IsString(e) ? e->valuestring : "";
}

/* A number in the width of a column, with the unit's prefix. */
static void cell(const hd_row *r, hd_figure_id id) {
    static const struct { double least, by; const char *prefix; } scales[] = {{1e9, 1e-9, "G"}, {1e6, 1e-6, "M"}, {1, 1, ""}, {1e-3, 1e3, "m"}, {1e-6, 1e6, "u"}, {0, 1e9, "n"}};
    const hd_figure_info *f = &hd_figure_infos[id];
    double v = r->figure[id].value;
    char text[40] = "-";
    size_t k = 0;
    if (!isnan(v) && !strcmp(f->unit, "share")) snprintf(text, sizeof text, "%.2f%%", 100 * v);
    else if (!isnan(v) && (!strcmp(f->unit, "s") || !strcmp(f->unit, "J") || !strcmp(f->unit, "Hz"))) {
        while (fabs(v) < scales[k].least) k++;
        snprintf(text, sizeof text, "%.4g %s%s", v * scales[k].by, scales[k].prefix, f->unit);
    } else if (!isnan(v)) snprintf(text, sizeof text, "%.6g", v);
    printf(" %11s", text);
}

static void print_front(const hd_table *t, const hd_explore_options *o) {
    int shown[HD_AXES];
    for (int k = 0; k < HD_AXES; k++) {
        shown[k] = 0;
        for (int i = 1; i < t->n; i++) shown[k] |= strcmp(axis_text(&t->row[i], (hd_axis)k), axis_text(&t->row[0], (hd_axis)k)) != 0;
    }
    for (int k = 0; k < HD_AXES; k++)
        if (shown[k]) printf("%-10s ", hd_axes[k].name);
    for (int k = 0; k < o->objectives; k++) printf(" %11s", hd_figure_infos[o->objective[k]].name);
    printf("\n");
    for (int i = 0; i < t->n; i++) {
        if (!t->row[i].front) continue;
        for (int k = 0; k < HD_AXES; k++)
            if (shown[k]) printf("%-10s ", axis_text(&t->row[i], (hd_axis)k));
        for (int k = 0; k < o->objectives; k++) cell(&t->row[i], o->objective[k]);
        printf("\n");
    }
}

static void print_summary(const hd_explore_report *e, const request *r) {
    const hd_table *t = &e->table;
    print_front(t, &r->o);
    int nofit = 0, large = 0;
    for (int i = 0; i < t->n; i++) nofit += !t->row[i].ok, large += t->row[i].ok && !t->row[i].fits;
    printf("\n%d points, %d on the front; %d made now, %d were there", t->n, e->front, e->made, e->found);
    if (t->missing) printf(", %d missing", t->missing);
    if (nofit) printf("; %d do not fit their memories", nofit);
    if (large) printf("; %d are too large for the FPGA", large);
    printf("; %.1f s\n", e->seconds);
    if (r->check) printf("RTL: %d points run, %d differ in cycles (largest difference %llu)\n", e->checked, e->different, (unsigned long long)e->largest);
    if (r->place) printf("placed: %d points of the front, %d without room\n", e->placed, e->no_room);
    else if (!r->study.no_area) printf("--place would place and route the %d points of the front: 2 to 30 minutes each on one core\n", e->front);
    printf("%s/index.html, points.csv, points.sqlite, front.svg\n", r->folder);
}

static hd_status print_json(const hd_explore_report *e, const request *r, hd_err *err) {
    cJSON *o = cJSON_CreateObject(), *list;
    cJSON_AddNumberToObject(o, "points", e->table.n);
    cJSON_AddNumberToObject(o, "made", e->made);
    cJSON_AddNumberToObject(o, "found", e->found);
    cJSON_AddNumberToObject(o, "missing", e->table.missing);
    cJSON_AddNumberToObject(o, "seconds", e->seconds);
    cJSON_AddNumberToObject(o, "checked", e->checked);
    cJSON_AddNumberToObject(o, "different", e->different);
    cJSON_AddNumberToObject(o, "placed", e->placed);
    cJSON_AddStringToObject(o, "page", "index.html");
    cJSON_AddStringToObject(o, "folder", r->folder);
    list = cJSON_AddArrayToObject(o, "front");
    for (int i = 0; i < e->table.n; i++)
        if (e->table.row[i].front) cJSON_AddItemToArray(list, cJSON_Duplicate(e->table.row[i].json, 1));
    return cli_json(o, err);
}

/* ---- doing ---- */

/* One command a point, the compression changing fastest: neighbours in the list run at the same time and then do not wait for each other's network. */
static hd_status print_commands(const request *r, hd_err *err) {
    hd_sweep s;
    hd_status st = hd_sweep_make(&s, &r->study, &r->grid, r->o.search == HD_SEARCH_RANDOM ? r->o.points : 0, r->o.seed, err);
    char *done = st ? NULL : calloc((size_t)s.n + 1, 1);
    if (!st && !done) st = hd_fail(err, HD_NOMEM, "no memory for %d points", s.n);
    for (int i = 0; !st && i < s.n; i++) {
        for (int k = i; k < s.n; k++) {
            char text[4096];
            if (done[k] || hd_point_area_key(&s.point[k]) != hd_point_area_key(&s.point[i])) continue;
            done[k] = 1;
            hd_point_command(text, sizeof text, &s.study, &s.point[k]);
            printf("%s -o %s\n", text, r->folder);
        }
    }
    free(done);
    if (!st) hd_sweep_free(&s);
    return st;
}

static hd_status explore(const request *r, const cli_args *a, hd_err *err) {
    hd_explore_report e;
    hd_explorer *x = NULL;
    hd_err failure = {0};
    hd_status s = hd_explorer_open(&x, &r->study, r->folder, err);
    if (s) return s;
    hd_status failed = hd_explore_run(&e, x, &r->study, &r->grid, &r->o, &failure);
    s = failed && !e.table.row ? hd_fail(err, failed, "%s", failure.message) : HD_OK;
    if (!s && r->check) s = hd_explore_check(&e, x, (int)r->check, r->o.seed, err);
    if (!s && r->place) s = hd_explore_place(&e, x, &r->o, err);
    if (!s) s = hd_explore_write(&e, &r->o, r->folder, err);
    if (!s && a->json) s = print_json(&e, r, err);
    else if (!s) print_summary(&e, r);
    if (!s && failed) s = hd_fail(err, failed, "%s", failure.message);
    if (!s && e.different) s = hd_fail(err, HD_MISMATCH, "%d of %d points take other cycles on the RTL than predicted", e.different, e.checked);
    hd_explore_free(&e);
    hd_explorer_close(x);
    return s;
}

static hd_status run(const cli_args *a, hd_err *err) {
    request r = {0};
    hd_status s = read_request(&r, a, err);
    if (!s) s = r.engine == ENGINE_PRINT ? print_commands(&r, err) : explore(&r, a, err);
    hd_axis_grid_free(&r.grid);
    return s;
}

const cli_command cli_explore = {
    .name = "explore",
    .summary = "a sweep over compressions, arrays and boards, and its best points",
    .operand = "MODEL",
    .operand_optional = 1,
    .about = "Computes many design points, each as heddle point would, and writes a page, a table and a database with the Pareto front. Lists "
             "are divided by commas. A sweep that was stopped or killed goes on where it was.",
    .examples = "heddle explore default --weights 2,4 --sparsity 0,0.5 --geometry 4x8x8x2,4x8x16x2 --memory fit,extern=0 -o study\n"
                "heddle explore net.onnx --calib c.idx --images x.idx --labels y.idx --weights 2,4,8 --search nsga2\n"
                "heddle explore default --weights 2,4 --engine print | parallel -j8",
    .status = "also when --check finds other cycles on the Verilog than predicted",
    .surroundings = CLI_CACHE | CLI_SOURCE | CLI_DATASET | CLI_THREADS | CLI_IDX | CLI_STUDY,
    .see = "point, bench, docs/exploring.md",
    .options = options,
    .run = run,
};
