/* The result of a design point: everything that is known of it, each figure with where it comes from, as one file that is written once. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../drivers/tools.h"
#include "area.h"
#include "files.h"
#include "point.h"

enum { FORMAT = 1, COMMAND_BYTES = 4096, SIGNIFICANT = 9 /* digits of a figure in the file */ };

struct hd_explorer {
    hd_study study;
    char folder[HD_STUDY_PATH];
    unsigned long long program; /* hash of what computes */
    hd_point_data *data;
    /* The network of the last point, which the next one mostly shares. */
    hd_model *model;
    uint64_t model_key;
    double accuracy;
    struct { const hd_board *board; uint64_t hash; } verilog[8]; /* of the boards met so far */
    int n_verilog;
};

/* A point under way. */
typedef struct work {
    const hd_board *board;
    hd_geometry asked; /* with roomy memories where they are to fit */
    hd_model *model;   /* lent */
    hd_program *program;
    hd_cost *cost;
    double clock_hz;
    const char *clock_fidelity;
    char clock_basis[240];
    hd_point_figure figure[HD_FIGURES];
    int fits;          /* 1: the FPGA holds it; 0: it does not; -1: not known */
    char room[240];    /* what it lacks, or "" */
} work;

hd_status hd_explorer_open(hd_explorer **out, const hd_study *s, const char *folder, hd_err *err) {
    char points[HD_STUDY_PATH + 16];
    hd_explorer *x = calloc(1, sizeof *x);
    if (!x) return hd_fail(err, HD_NOMEM, "no memory for a sweep");
    x->study = *s;
    hd_status st = hd_tool_path(x->folder, sizeof x->folder, err, "%s", folder);
    if (!st) st = hd_tool_path(points, sizeof points, err, "%s/points", folder);
    if (!st) st = hd_program_hash(&x->program, err);
    if (!st) st = hd_point_data_new(&x->data, s, err);
    if (!st) st = hd_folder_make(points, err);
    if (st) hd_explorer_close(x);
    else *out = x;
    return st;
}

void hd_explorer_close(hd_explorer *x) {
    if (!x) return;
    hd_point_data_free(x->data);
    if (x->model) hd_model_free(x->model);
    free(x);
}

/* ---- names ---- */

uint64_t hd_point_model_key(const hd_explorer *x, const hd_point_spec *p) {
    uint64_t h = hd_point_data_hash(x->data);
    int block[2] = {0, 0};
    hd_tool_hash(&h, &x->program, sizeof x->program);
    for (int i = HD_AXIS_WEIGHTS; i <= HD_AXIS_ENDS; i++)
        if (i != HD_AXIS_BLOCK) hd_tool_hash(&h, p->axis[i], strlen(p->axis[i]) + 1);
    if (hd_point_block(&block[0], &block[1], p, NULL)) block[0] = block[1] = 0; /* what is wrong with it is told when the point is made */
    hd_tool_hash(&h, block, sizeof block);
    return h;
}

uint64_t hd_point_area_key(const hd_point_spec *p) {
    uint64_t h = HD_TOOL_HASH;
    for (int i = HD_AXIS_GEOMETRY; i <= HD_AXIS_MEMORY; i++) hd_tool_hash(&h, p->axis[i], strlen(p->axis[i]) + 1);
    return h;
}

static int wants_area(const hd_explorer *x, const hd_point_spec *p) {
    char path[1024];
    return !x->study.no_area && strcmp(p->axis[HD_AXIS_BOARD], "none") && hd_tool_find("yosys", path, sizeof path);
}

/* What decides an area besides the geometry: the Verilog of a board and the tools. Read once for each board. */
static hd_status verilog_hash(uint64_t *hash, hd_explorer *x, const hd_board *board, hd_err *err) {
    for (int i = 0; i < x->n_verilog; i++)
        if (x->verilog[i].board == board) {
            *hash = x->verilog[i].hash;
            return HD_OK;
        }
    uint64_t h = HD_TOOL_HASH;
    hd_sources *src = calloc(1, sizeof *src);
    hd_status s = src ? hd_synth_sources(src, board, err) : hd_fail(err, HD_NOMEM, "no memory for the names of the sources");
    for (int i = 0; !s && i < src->n; i++) s = hd_tool_hash_file(&h, src->path[i], err);
    free(src);
    hd_tool_hash_program(&h, "yosys");
    hd_tool_hash_program(&h, "nextpnr-ice40");
    *hash = h;
    if (!s && x->n_verilog < (int)(sizeof x->verilog / sizeof *x->verilog)) {
        x->verilog[x->n_verilog].board = board;
        x->verilog[x->n_verilog++].hash = h;
    }
    return s;
}

/* Where area counts, the Verilog and the tools decide as well: with other ones, or none, it is another point. */
static hd_status point_hash(uint64_t *hash, hd_explorer *x, const hd_point_spec *p, hd_err *err) {
    uint64_t h = hd_point_data_hash(x->data), verilog = 0;
    const hd_board *board;
    hd_status s = HD_OK;
    hd_tool_hash(&h, "point 1", 7);
    hd_tool_hash(&h, &x->program, sizeof x->program);
    hd_tool_hash(&h, &x->study.clock_hz, sizeof x->study.clock_hz);
    for (int i = 0; i < HD_AXES; i++) hd_tool_hash(&h, p->axis[i], strlen(p->axis[i]) + 1);
    if (wants_area(x, p)) {
        s = hd_board_find(&board, p->axis[HD_AXIS_BOARD], err);
        if (!s) s = verilog_hash(&verilog, x, board, err);
        hd_tool_hash(&h, &verilog, sizeof verilog);
    }
    *hash = h;
    return s;
}

static hd_status result_path(char *path, size_t n, hd_explorer *x, const hd_point_spec *p, const char *kind, hd_err *err) {
    uint64_t h;
    hd_status s = point_hash(&h, x, p, err);
    return s ? s : hd_tool_path(path, n, err, "%s/%s/%016llx.json", x->folder, kind, (unsigned long long)h);
}

hd_status hd_point_path(char *path, size_t n, hd_explorer *x, const hd_point_spec *p, hd_err *err) {
    return result_path(path, n, x, p, "points", err);
}

/* ---- figures ---- */

static void set(work *w, hd_figure_id id, double value, const char *fidelity) {
    w->figure[id] = (hd_point_figure){value, NAN, NAN, fidelity};
}

static hd_status need_model(hd_explorer *x, const hd_point_spec *p, hd_err *err) {
    uint64_t key = hd_point_model_key(x, p);
    if (x->model && x->model_key == key) return HD_OK;
    if (x->model) hd_model_free(x->model);
    x->model = NULL;
    x->model_key = key;
    return hd_point_model(&x->model, &x->accuracy, x->data, p, x->folder, key, err);
}

static uint32_t deep_enough(uint32_t need, uint32_t least) {
    while (least < need) least *= 2;
    return least;
}

/* The shallowest memories that hold the program: powers of two, as the hardware has them. A ring in front of external memory keeps its depth. */
static void cut_down(hd_geometry *g, const hd_program *p) {
    hd_geometry need;
    hd_program_needs(&need, p);
    g->act_words = deep_enough(need.act_words, 64);
    g->window_words = deep_enough(need.window_words, 16);
    if (!g->extern_log2) g->stream_words = deep_enough(need.stream_words, 16);
    g->param_words = deep_enough(need.param_words, 16);
    g->descriptors = deep_enough(need.descriptors, 2);
    g->tables = need.tables ? deep_enough(need.tables, 1) : 0;
}

static hd_status lower(work *w, hd_explorer *x, const hd_point_spec *p, hd_err *err) {
    int fit;
    hd_status s = hd_point_geometry(&w->asked, &w->board, &fit, p, err);
    if (!s) s = need_model(x, p, err);
    hd_lower_options o = {.board = w->board ? w->board->name : "", .expand_input = -1};
    w->model = x->model;
    if (!s) s = hd_lower(&w->program, x->model, &w->asked, &o, err);
    if (s || !fit) return s;
    /* Shallower memories could make the compiler cut layers otherwise: what counts is the program for the array that there would be. */
    hd_geometry small = w->asked;
    hd_program *tight = NULL;
    hd_err why = {0};
    cut_down(&small, w->program);
    s = hd_lower(&tight, x->model, &small, &o, &why);
    if (s == HD_NOFIT) return HD_OK; /* the roomy one stands, and its memories are told */
    if (s) return hd_fail(err, s, "%s", why.message);
    hd_program_free(w->program);
    w->program = tight;
    return HD_OK;
}

static void choose_clock(work *w, const hd_study *s, const hd_point_spec *p) {
    w->clock_hz = s->clock_hz > 0 ? s->clock_hz : w->board ? w->board->clock_hz : 48e6;
    /* A placed clock is that of the design that was placed. */
    const int own = w->board && !strcmp(p->axis[HD_AXIS_GEOMETRY], "board") && !strcmp(p->axis[HD_AXIS_MEMORY], "board");
    const int placed = own && !w->board->clock_assumed && s->clock_hz <= 0;
    w->clock_fidelity = placed ? "placed" : "assumed";
    snprintf(w->clock_basis, sizeof w->clock_basis, "%s", placed || own ? w->board->clock_basis : s->clock_hz > 0 ? "given" : w->board ? "the board's clock, assumed for this array" : "48 MHz, assumed");
}

static void lack(work *w, const char *what, unsigned need, unsigned have) {
    size_t used = strlen(w->room);
    if (need <= have) return;
    w->fits = 0;
    snprintf(w->room + used, sizeof w->room - used, "%s%u %s of %u", used ? ", " : "needs ", need, what, have);
}

/* Cells from yosys, unit by unit; block RAMs from the same, with the depths of this network instead of those synthesised. */
static hd_status add_area(work *w, hd_err *err) {
    hd_area a;
    hd_geometry depths;
    unsigned spram, other;
    hd_status s = hd_area_board(&a, &depths, w->board, &w->asked, err);
    if (s) return s;
    const unsigned want = hd_ram_blocks(&spram, &w->program->geometry, w->board), model = hd_ram_blocks(&other, &depths, w->board);
    const unsigned cells = a.cells ? a.cells : a.lut4 > a.ff ? a.lut4 : a.ff, ram = a.ram + want > model ? a.ram + want - model : 0;
    const hd_capacity c = hd_board_capacity(w->board);
    set(w, HD_FIGURE_LUT, a.lut4, "synthesised");
    set(w, HD_FIGURE_FF, a.ff, "synthesised");
    set(w, HD_FIGURE_CELLS, cells, "synthesised");
    set(w, HD_FIGURE_DSP, a.dsp, "synthesised");
    set(w, HD_FIGURE_RAM, ram, "synthesised, depths analytic");
    w->fits = 1;
    lack(w, "logic cells", cells, c.cells);
    lack(w, "block RAMs", ram, c.ram);
    lack(w, "single-port RAMs", spram, c.spram);
    lack(w, "multiplier blocks", a.dsp, c.dsp);
    return HD_OK;
}

/* What follows from cycles, clock and cells. */
static void derive(work *w) {
    const hd_program *p = w->program;
    uint64_t steps = 0;
    for (uint32_t i = 0; i < w->cost->n_layers; i++) steps += w->cost->layer[i].perf[HD_PERF_STEPS];
    const double array = (double)w->cost->cycles / w->clock_hz, link = w->board ? hd_link_seconds(p, w->board, w->clock_hz) : 0;
    set(w, HD_FIGURE_CYCLES, (double)w->cost->cycles, "exact model");
    set(w, HD_FIGURE_UTILISATION, w->cost->utilisation, "exact model");
    set(w, HD_FIGURE_OPS, (double)hd_program_ops(&p->geometry), "exact model");
    set(w, HD_FIGURE_CLOCK, w->clock_hz, w->clock_fidelity);
    set(w, HD_FIGURE_ARRAY_TIME, array, "exact model, clock as told");
    set(w, HD_FIGURE_ARRAY_RATE, 1 / array, "exact model, clock as told");
    if (w->board) set(w, HD_FIGURE_LINK_TIME, link, "analytic");
    set(w, HD_FIGURE_TIME, array + link, w->board ? "exact model + analytic link" : "exact model, no link");
    set(w, HD_FIGURE_RATE, 1 / (array + link), w->board ? "exact model + analytic link" : "exact model, no link");
    if (!w->board || !(w->figure[HD_FIGURE_FF].value > 0)) return;
    const hd_energy e = hd_energy_estimate(w->board, (unsigned)w->figure[HD_FIGURE_FF].value, w->cost->cycles, steps, array + link);
    w->figure[HD_FIGURE_ENERGY] = (hd_point_figure){e.joule, e.low, e.high, "analytic, band"};
}

static hd_status evaluate(work *w, hd_explorer *x, const hd_point_spec *p, hd_err *err) {
    hd_status s = lower(w, x, p, err);
    if (w->model) {
        set(w, HD_FIGURE_ACCURACY, x->accuracy, "measured, integer executor");
        set(w, HD_FIGURE_BYTES, (double)hd_model_weight_bytes(w->model), "exact");
        set(w, HD_FIGURE_BITS, hd_model_bits_per_weight(w->model), "exact");
    }
    if (!s) s = hd_cost_predict(&w->cost, w->program, err);
    if (s) return s;
    choose_clock(w, &x->study, p);
    if (wants_area(x, p)) s = add_area(w, err);
    if (!s) derive(w);
    return s;
}

static void start(work *w) {
    *w = (work){.fits = -1};
    for (int i = 0; i < HD_FIGURES; i++) w->figure[i] = (hd_point_figure){NAN, NAN, NAN, NULL};
}

static void finish(work *w) {
    hd_cost_free(w->cost);
    if (w->program) hd_program_free(w->program);
}

/* ---- the file ---- */

static double rounded(double v) {
    char text[40];
    snprintf(text, sizeof text, "%.*g", SIGNIFICANT, v);
    return strtod(text, NULL);
}

static void layers_json(cJSON *o, const hd_cost *c) {
    cJSON *list = cJSON_AddArrayToObject(o, "layers");
    for (uint32_t i = 0; i < c->n_layers; i++) {
        const hd_layer_cost *l = &c->layer[i];
        cJSON *e = cJSON_CreateObject();
        cJSON_AddStringToObject(e, "name", l->info->name);
        cJSON_AddNumberToObject(e, "cycles", (double)l->cycles);
        cJSON_AddNumberToObject(e, "utilisation", rounded(l->utilisation));
        cJSON_AddNumberToObject(e, "planes", l->info->planes);
        cJSON_AddNumberToObject(e, "blocks", l->info->blocks);
        cJSON_AddNumberToObject(e, "blocks_present", l->info->blocks_present);
        cJSON_AddStringToObject(e, "stall", hd_stall_name(l->stall));
        cJSON_AddStringToObject(e, "reason", l->reason);
        cJSON *lost = cJSON_AddObjectToObject(e, "cycles_by_cause");
        for (int k = HD_STALL_NONE; k <= HD_STALL_STREAM; k++)
            if (l->lost[k]) cJSON_AddNumberToObject(lost, k ? hd_stall_name((hd_stall)k) : "useful", (double)l->lost[k]);
        cJSON_AddItemToArray(list, e);
    }
}

static void memory_json(cJSON *o, const hd_geometry *g) {
    char text[200];
    snprintf(text, sizeof text, "act=%u,window=%u,stream=%u,param=%u,descriptors=%u,tables=%u", g->act_words, g->window_words, g->stream_words, g->param_words, g->descriptors, g->tables);
    cJSON_AddStringToObject(o, "memories", text);
    snprintf(text, sizeof text, "%ux%ux%ux%u", g->rows, g->cols, g->lanes, g->planes);
    cJSON_AddStringToObject(o, "array", text);
}

static cJSON *result_json(const work *w, const hd_explorer *x, const hd_point_spec *p, const char *nofit) {
    cJSON *o = cJSON_CreateObject();
    char command[COMMAND_BYTES], model[HD_STUDY_PATH + 40];
    hd_point_command(command, sizeof command, &x->study, p);
    snprintf(model, sizeof model, "models/%016llx.hdm", (unsigned long long)x->model_key);
    cJSON_AddNumberToObject(o, "heddle_point", FORMAT);
    cJSON_AddStringToObject(o, "command", command);
    cJSON *axes = cJSON_AddObjectToObject(o, "axes");
    for (int i = 0; i < HD_AXES; i++) cJSON_AddStringToObject(axes, hd_axes[i].name, p->axis[i]);
    cJSON_AddItemToObject(o, "study", hd_study_json(&x->study));
    cJSON_AddStringToObject(o, "compressed", model);
    cJSON_AddStringToObject(o, "status", nofit ? "nofit" : "ok");
    if (nofit) cJSON_AddStringToObject(o, "message", nofit);
    if (w->fits >= 0) cJSON_AddBoolToObject(o, "fits_fpga", w->fits);
    if (*w->room) cJSON_AddStringToObject(o, "lacks", w->room);
    if (w->program) memory_json(o, &w->program->geometry);
    if (w->board) cJSON_AddStringToObject(o, "fpga", w->board->fpga);
    if (*w->clock_basis) cJSON_AddStringToObject(o, "clock_basis", w->clock_basis);
    cJSON *figures = cJSON_AddObjectToObject(o, "figures");
    for (int i = 0; i < HD_FIGURES; i++) {
        const hd_point_figure *f = &w->figure[i];
        if (isnan(f->value)) continue;
        cJSON *e = cJSON_AddObjectToObject(figures, hd_figure_infos[i].name);
        cJSON_AddNumberToObject(e, "value", rounded(f->value));
        if (!isnan(f->low)) cJSON_AddNumberToObject(e, "low", rounded(f->low));
        if (!isnan(f->high)) cJSON_AddNumberToObject(e, "high", rounded(f->high));
        cJSON_AddStringToObject(e, "fidelity", f->fidelity);
    }
    if (w->cost) layers_json(o, w->cost);
    return o;
}

hd_status hd_point_make(hd_explorer *x, const hd_point_spec *p, int *found, hd_err *err) {
    char path[1024];
    hd_err own = {0};
    work w;
    hd_status s = hd_point_path(path, sizeof path, x, p, err);
    *found = !s && !access(path, R_OK);
    if (s || *found) return s;
    start(&w);
    s = evaluate(&w, x, p, &own);
    /* That a network does not fit is a fact about the point, not a failure to find it out. */
    const int nofit = s == HD_NOFIT && w.model;
    if (!s || nofit) s = hd_json_write(result_json(&w, x, p, nofit ? own.message : NULL), path, &own);
    finish(&w);
    return s ? hd_fail(err, s, "%s", own.message) : HD_OK;
}

hd_status hd_point_area(hd_explorer *x, const hd_point_spec *p, hd_err *err) {
    hd_geometry g, depths;
    hd_area a;
    const hd_board *board;
    int fit;
    if (!wants_area(x, p)) return HD_OK;
    hd_status s = hd_point_geometry(&g, &board, &fit, p, err);
    return s ? s : hd_area_board(&a, &depths, board, &g, err);
}

/* ---- further fidelities ---- */

hd_status hd_point_check(hd_explorer *x, const hd_point_spec *p, uint64_t *cycles, uint64_t *predicted, int *equal, hd_err *err) {
    work w;
    hd_cost *rtl = NULL;
    hd_device_options o = {0};
    start(&w);
    hd_status s = lower(&w, x, p, err);
    if (!s) s = hd_cost_predict(&w.cost, w.program, err);
    if (!s) s = hd_cost_measure(&rtl, w.program, &hd_driver_sim, &o, err);
    if (!s) {
        *cycles = rtl->cycles;
        *predicted = w.cost->cycles;
        *equal = rtl->cycles == w.cost->cycles;
        for (uint32_t i = 0; i < rtl->n_layers; i++) *equal &= rtl->layer[i].cycles == w.cost->layer[i].cycles;
    }
    hd_cost_free(rtl);
    finish(&w);
    return s;
}

/* The whole design, synthesised as one, stands for the sum of its units; the placer's clock for the assumed one. The PLL makes the clock that was asked for, so a faster design runs no faster. */
static void add_placed(work *w, const hd_synth_report *r, const hd_area *a) {
    static const char whole[] = "whole design, synthesised";
    w->fits = r->placed;
    *w->room = 0;
    set(w, HD_FIGURE_LUT, a->lut4, whole);
    set(w, HD_FIGURE_FF, a->ff, whole);
    set(w, HD_FIGURE_CELLS, a->cells, whole);
    set(w, HD_FIGURE_DSP, a->dsp, whole);
    set(w, HD_FIGURE_RAM, a->ram, whole);
    for (int i = 0; i < r->n_uses; i++)
        if (r->use[i].used > r->use[i].available) lack(w, r->use[i].name, r->use[i].used, r->use[i].available);
    if (!r->placed && !*w->room) snprintf(w->room, sizeof w->room, r->given_up ? "not routed within %u s" : "the placer found no room", r->given_up);
    if (!r->placed) return;
    w->clock_hz = 1e6 * fmin(r->reached_mhz, r->wanted_mhz);
    w->clock_fidelity = "placed";
    snprintf(w->clock_basis, sizeof w->clock_basis, "nextpnr, seed 1: %.2f MHz reached, %.2f asked for", r->reached_mhz, r->wanted_mhz);
}

hd_status hd_point_place(hd_explorer *x, const hd_point_spec *p, int *fit, hd_err *err) {
    char path[1024], folder[HD_STUDY_PATH + 16];
    work w;
    hd_area a;
    const hd_synth_options o = {.seed = 1, .time_limit = HD_POINT_PLACE_SECONDS, .clock_hz = x->study.clock_hz > 0 ? (unsigned)x->study.clock_hz : 0};
    hd_synth_report *r = calloc(1, sizeof *r);
    start(&w);
    hd_status s = r ? hd_tool_path(folder, sizeof folder, err, "%s/placed", x->folder) : hd_fail(err, HD_NOMEM, "no memory for the placer's report");
    if (!s) s = hd_folder_make(folder, err);
    if (!s) s = result_path(path, sizeof path, x, p, "placed", err);
    if (!s) s = evaluate(&w, x, p, err);
    if (!s && !w.board) s = hd_fail(err, HD_UNSUPPORTED, "board none: nothing to place on");
    if (!s) s = hd_synth(r, w.board, &w.program->geometry, &o, err);
    if (!s) s = hd_area_design(&a, r, w.board, err);
    if (!s) {
        add_placed(&w, r, &a);
        derive(&w);
        *fit = r->placed;
        if (access(path, R_OK)) s = hd_json_write(result_json(&w, x, p, NULL), path, err);
    }
    finish(&w);
    free(r);
    return s;
}
