/* Suite area: what processing element, array and whole designs take of an FPGA.
 * One op is one int8 x 1-bit MAC; a weight of b bits takes ceil(b / PLANES) * PLANES of them. Cells are logic cells as nextpnr packs them on
 * iCE40, LUT4 + 2 CCU2C on ECP5. "placed" figures come from nextpnr's placed and routed design, "derived" ones from yosys' or nextpnr's counts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "area.h"
#include "bench.h"

static unsigned ops_of(const hd_geometry *g) { return g->rows * g->cols * g->lanes * g->planes; }

/* Columns lut4 ff carry ram dsp spram cells and mhz of one line. */
static void add_cells(hd_figures *f, const hd_area *a, const char *line) {
    hd_figure_add(f, a->lut4, "LUT4", "derived", "%s.lut4", line);
    hd_figure_add(f, a->ff, "FF", "derived", "%s.ff", line);
    hd_figure_add(f, a->carry, "cells", "derived", "%s.carry", line);
    hd_figure_add(f, a->ram, "RAM", "derived", "%s.ram", line);
    if (a->spram) hd_figure_add(f, a->spram, "RAM", "derived", "%s.spram", line);
    hd_figure_add(f, a->dsp, "DSP", "derived", "%s.dsp", line);
    if (a->cells) hd_figure_add(f, a->cells, "cells", "derived", "%s.cells", line);
    if (a->mhz > 0) hd_figure_add(f, a->mhz, "MHz", "placed", "%s.mhz", line);
}

/* Cells for each MAC a cycle that weights of 1 to 8 bits leave. */
static void add_macs(hd_figures *f, double cells_per_op, unsigned planes, const char *line) {
    for (unsigned bits = 1; bits <= 8; bits++)
        hd_figure_add(f, cells_per_op * ((bits + planes - 1) / planes * planes), "cells/MAC", "derived", "%s.mac.w%u", line, bits);
}

static void note(hd_figure *x, const char *kind, const char *text) {
    x->value = NAN;
    x->tag = "skipped";
    snprintf(x->note, sizeof x->note, "%s%.200s", kind, text);
}

/* ---- processing elements: the difference of two grids of them. On ECP5 rows share what depends on weights alone: two rows ---- */

typedef struct element {
    const char *board;
    unsigned rows, lanes, planes, acc_bits;
    double mhz, bar; /* above 0: placed, asking for this clock; the figure that the array is built to */
} element;

static const element elements[] = {
    {"hx8k", 1, 8, 2, 18, 200, 11.6}, {"hx8k", 1, 8, 1, 18, 0, 0}, {"hx8k", 1, 16, 2, 18, 0, 0}, {"hx8k", 1, 8, 4, 18, 0, 0},
    {"ulx3s", 2, 32, 2, 18, 0, 9.0},  {"ulx3s", 2, 8, 2, 18, 0, 0}, {"ulx3s", 2, 16, 2, 18, 0, 0},
};
enum { FEW = 2, MANY = 4 };

static hd_status bench_element(hd_figures *f, const element *e, hd_err *err) {
    const hd_board *board;
    hd_area few = {0}, many = {0};
    hd_status s = hd_board_find(&board, e->board, err);
    if (!s) s = hd_area_grid(&few, board, e->rows, FEW, e->lanes, e->planes, e->acc_bits, e->mhz, err);
    if (!s) s = hd_area_grid(&many, board, e->rows, MANY, e->lanes, e->planes, e->acc_bits, e->mhz, err);
    const int ice40 = !strcmp(e->board, "hx8k");
    hd_figure *to = NULL;
    if (e->bar > 0) {
        to = hd_figure_add(f, NAN, "cells/op", ice40 ? "placed" : "derived", ice40 ? "area.ice40.lc_per_op" : "area.ecp5.lut_per_op");
        to->reference = e->bar;
        to->compared = ice40 ? "the most wanted; logic cells as packed, with drain" : "the most wanted; LUT4 + 2 CCU2C by yosys, with drain";
    }
    if (s == HD_TOOL || s == HD_UNSUPPORTED || s == HD_IO) { /* no tool, or no top for the board */
        if (to) note(to, "skipped: ", err->message);
        return HD_OK;
    }
    if (s) return s;
    char line[48];
    const double pes = (MANY - FEW) * e->rows, ops = e->lanes * e->planes;
    snprintf(line, sizeof line, "area.%s.pe%ux%u", ice40 ? "ice40" : "ecp5", e->lanes, e->planes);
    hd_figure_add(f, (many.lut4 - few.lut4) / pes, "LUT4", "derived", "%s.lut4", line);
    hd_figure_add(f, (many.ff - few.ff) / pes, "FF", "derived", "%s.ff", line);
    hd_figure_add(f, (many.carry - few.carry) / pes, "cells", "derived", "%s.carry", line);
    if (many.cells) hd_figure_add(f, (many.cells - few.cells) / pes, "cells", "derived", "%s.cells", line);
    if (many.mhz > 0) hd_figure_add(f, many.mhz, "MHz", "placed", "%s.mhz", line);
    const double per_op = (many.cells - few.cells) / pes / ops;
    if (to && many.cells) to->value = per_op;
    else if (to) note(to, "skipped: ", "nextpnr-ice40 is not installed (Debian package 'nextpnr-ice40')");
    if (many.cells) add_macs(f, per_op, e->planes, line);
    return HD_OK;
}

/* ---- whole designs ---- */

typedef struct design {
    const char *board, *geometry, *memory; /* geometry NULL = the board's own */
    double gops;                           /* wanted of the board, 0 = none */
} design;

/* The README's array with memories of block RAM's own depth: with those that it has in simulation the count would be of memory alone, ten thousand block RAMs of it. */
static const design designs[] = {{"hx8k", NULL, NULL, 50}, {"icebreaker", NULL, NULL, 7.5}, {"ulx3s", NULL, NULL, 300},
                                 {"hx8k", "4x8x8x2", "act=256,window=64,stream=256,param=256,descriptors=16,tables=0", 0}};

enum { PLACER_SECONDS = 3600 }; /* ULX3S takes ten minutes of a processor to itself */

/* What does not fit, in words. */
static void tell_room(char *text, size_t n, const hd_synth_report *r) {
    char use[64] = "";
    for (int i = 0; i < r->n_uses; i++)
        if (!strcmp(r->use[i].name, "ICESTORM_LC") || !strcmp(r->use[i].name, "TRELLIS_COMB")) snprintf(use, sizeof use, " (%u of %u %.32s)", r->use[i].used, r->use[i].available, r->use[i].name);
    if (r->given_up) {
        snprintf(text, n, "not placed and routed within %u s%s", r->given_up, use);
        return;
    }
    for (int i = 0; i < r->n_uses; i++)
        if (r->use[i].used > r->use[i].available) {
            snprintf(text, n, "does not place: needs %u of %u %s", r->use[i].used, r->use[i].available, r->use[i].name);
            return;
        }
    snprintf(text, n, "does not place: the placer found no room, though nothing is over its limit%s", use);
}

static void add_gops(hd_figures *f, const design *d, const hd_synth_report *r, const hd_geometry *g, const char *why) {
    hd_figure *to = hd_figure_add(f, NAN, "Gop/s", "placed", "board.%s.gops", d->board);
    to->reference = d->gops;
    to->compared = "the least wanted of the whole design, at the board's own clock";
    if (why) note(to, "", why);
    else if (r->reached_mhz < r->wanted_mhz) {
        note(to, "", "too slow");
        snprintf(to->note, sizeof to->note, "places, but reaches %.2f of the %.2f MHz wanted", r->reached_mhz, r->wanted_mhz);
    } else {
        to->value = ops_of(g) * r->wanted_mhz * 1e-3;
        hd_figure_add(f, ops_of(g) * r->reached_mhz * 1e-3, "Gop/s", "placed", "board.%s.gops_at_reached_clock", d->board);
    }
}

static hd_status bench_design(hd_figures *f, const design *d, hd_err *err) {
    const hd_board *board;
    hd_geometry g;
    hd_area a;
    char line[64], why[200] = "";
    hd_synth_options o = {.time_limit = PLACER_SECONDS};
    hd_synth_report *r = calloc(1, sizeof *r);
    hd_status s = r ? HD_OK : hd_fail(err, HD_NOMEM, "area: out of memory");
    if (!s) s = hd_board_find(&board, d->board, err);
    if (!s) s = d->geometry ? hd_geometry_parse(&g, d->geometry, err) : hd_board_geometry(&g, board, err);
    if (!s && d->memory) s = hd_geometry_memory(&g, d->memory, err);
    if (!s) s = hd_synth(r, board, &g, &o, err);
    /* Boards whose tools are absent are left out, not the others. */
    const int absent = s == HD_TOOL || s == HD_UNSUPPORTED;
    if (absent) {
        snprintf(why, sizeof why, "skipped: %.180s", err->message);
        s = HD_OK;
    } else if (!s && !r->placed) tell_room(why, sizeof why, r);
    snprintf(line, sizeof line, "area.%s%s%s", d->board, d->geometry ? "." : "", d->geometry ? d->geometry : "");
    if (!s && d->gops > 0) add_gops(f, d, r, &g, *why ? why : NULL);
    static const struct { const char *scope, *unit; } scopes[] = {{"design", NULL}, {"array", "datapath"}, {"pe", "pe"}};
    for (size_t i = 0; !s && !absent && i < sizeof scopes / sizeof *scopes; i++) {
        const char *unit = i == 1 && g.pump > 1 ? "datapath_pumped" : scopes[i].unit;
        s = unit ? hd_area_unit(&a, r, board, unit, err) : hd_area_design(&a, r, board, err);
        char row[96];
        snprintf(row, sizeof row, "%s.%s", line, scopes[i].scope);
        if (!s) add_cells(f, &a, row);
        const unsigned ops = i == 2 ? ops_of(&g) / (g.rows * g.cols) : ops_of(&g);
        if (!s && a.cells) add_macs(f, (double)a.cells / ops, g.planes, row);
    }
    free(r);
    return s;
}

hd_status hd_bench_area(hd_figures *f, hd_err *err) {
    hd_status s = HD_OK;
    for (size_t i = 0; !s && i < sizeof elements / sizeof *elements; i++) s = bench_element(f, &elements[i], err);
    for (size_t i = 0; !s && i < sizeof designs / sizeof *designs; i++) s = bench_design(f, &designs[i], err);
    return s;
}
