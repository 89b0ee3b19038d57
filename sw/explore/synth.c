#include "synth.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../drivers/tools.h"
#include "../core/file.h"
#include "synth_report.h"

enum { PATH_BYTES = HD_SYNTH_PATH, TIMED_OUT = 124 /* exit code of timeout(1) */ };

/* What the FPGAs of a family are made with. */
typedef struct family {
    const char *place, *options[5];  /* nextpnr, and its options: pins, placed design, more */
    const char *pins, *design;       /* files: constraints in the board's folder, placed design */
    const char *pack, *package;      /* the program that makes the bitstream, and what brings it */
    const char *bitstream, *folder;  /* file; folder of hw/ with modules made of the family's cells: those of the same name as general ones stand for them */
    int pack_compresses;
} family;

static const family families[] = {
    [HD_FPGA_ICE40] = {"nextpnr-ice40", {"--pcf", "--asc", NULL}, "pins.pcf", "top.asc", "icepack", "fpga-icestorm", "top.bin", "hw/ice40", 0},
    /* The slowest speed grade is what the board carries; router1 had not ended on the whole board when it was stopped. */
    [HD_FPGA_ECP5] = {"nextpnr-ecp5", {"--lpf", "--textcfg", "--speed=6", "--router=router2", "--placer-heap-timingweight=40"}, "pins.lpf", "top.config", "ecppack",
                      NULL, "top.bit", "hw/ecp5", 1},
};
_Static_assert(sizeof families / sizeof *families == HD_FPGA_FAMILIES, "a family has its tools here");

double hd_synth_pll(unsigned hz, unsigned *divf, unsigned *divq) {
    double best = 0;
    for (unsigned q = 1; q <= 6; q++)
        for (unsigned f = 0; f < 128; f++) {
            double vco = 12e6 * (f + 1), out = vco / (1u << q);
            if (vco < 533e6 || vco > 1066e6 || out > 275e6 || fabs(out - hz) >= fabs(best - hz)) continue;
            best = out;
            *divf = f;
            *divq = q;
        }
    return hz < 16000000 || hz > 275000000 ? 0 : best;
}

double hd_synth_pll_ecp5(unsigned hz, unsigned *in, unsigned *feedback, unsigned *out) {
    double best = 0, best_vco = 0;
    *in = 0;
    for (unsigned i = 1; i <= 8; i++)          /* the phase detector compares at 3.125 MHz or more */
        for (unsigned f = 1; f <= 80; f++)
            for (unsigned o = 1; o <= 128; o++) {
                double clock = 25e6 * f / i, vco = clock * o;
                if (vco < 400e6 || vco > 800e6) continue;
                double worse = fabs(clock - hz) - fabs(best - hz);
                /* Of equal clocks the one with the highest comparison rate, then the oscillator nearest to the middle of its range. */
                if (worse > 0 || (worse == 0 && (i > *in || fabs(vco - 600e6) >= fabs(best_vco - 600e6)))) continue;
                best = clock;
                best_vco = vco;
                *in = i;
                *feedback = f;
                *out = o;
            }
    return hz < 10000000 || hz > 400000000 ? 0 : best;
}

/* ---- sources ---- */

static int is_verilog(const struct dirent *d) {
    size_t n = strlen(d->d_name);
    return n > 2 && !strcmp(d->d_name + n - 2, ".v") && strcmp(d->d_name, "datapath_fast.v");
}

/* A module that the board brings itself stands for the one of the same file name in the folders before. */
static hd_status add_folder(hd_sources *s, const char *folder, hd_err *err) {
    char dir[PATH_BYTES];
    hd_status st = hd_tool_path(dir, sizeof dir, err, "%s/%s", hd_tool_source(), folder);
    if (st) return st;
    struct dirent **names;
    int count = scandir(dir, &names, is_verilog, alphasort);
    if (count < 0) return hd_fail(err, HD_IO, "%s: cannot read the RTL sources: %s (set HEDDLE_SOURCE to the project's folder)", dir, strerror(errno));
    for (int i = 0; i < count; i++) {
        int at = s->n;
        for (int k = 0; k < s->n; k++)
            if (!strcmp(strrchr(s->path[k], '/') + 1, names[i]->d_name)) at = k;
        if (!st && at < HD_SYNTH_SOURCES) {
            st = hd_tool_path(s->path[at], PATH_BYTES, err, "%s/%s", dir, names[i]->d_name);
            if (at == s->n) s->n++;
        }
        free(names[i]);
    }
    free(names);
    return st;
}

hd_status hd_synth_sources(hd_sources *s, const hd_board *board, hd_err *err) {
    char folder[64];
    snprintf(folder, sizeof folder, "boards/%s", board->name);
    s->n = 0;
    hd_status st = add_folder(s, "hw", err);
    if (!st) st = add_folder(s, "hw/lib", err);
    if (!st) st = add_folder(s, "hw/decode", err);
    if (!st) st = add_folder(s, "hw/link", err);
    if (!st) st = add_folder(s, "boards/common", err);
    const hd_fpga *f = hd_board_fpga(board);
    if (!st && f) st = add_folder(s, families[f->family].folder, err);
    return st ? st : add_folder(s, folder, err);
}

/* ---- running the tools ---- */

typedef struct job {
    const hd_board *board;
    const hd_fpga *fpga;
    const family *family;
    hd_sources src;
    char parameters[1024]; /* of yosys' chparam */
    char pins[PATH_BYTES], dir[PATH_BYTES], log[PATH_BYTES];
    char netlist[PATH_BYTES];                 /* folder of the same design with another seed, "" = none */
    char place[PATH_BYTES], pack[PATH_BYTES]; /* the programs */
    double mhz, seconds;                      /* of clk (clk_fast has `pump` times as many); what all of it is thought to take */
    unsigned seed, pump, time_limit;
    hd_progress *progress;
} job;

static hd_status tool_failed(const job *j, const char *tool, int rc, hd_err *err) {
    if (rc < 0) return hd_fail(err, HD_INTERRUPTED, "synth: stopped");
    char *text = hd_synth_read_log(j->log, NULL), line[300] = "";
    const char *at = text ? strstr(text, "ERROR") : NULL;
    if (at) snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
    free(text);
    return hd_fail(err, HD_TOOL, "%s: %s failed: %s", j->board->name, tool, *line ? line : "no ERROR line in its log");
}

hd_status hd_synth_read_verilog(char *script, size_t room, size_t *used, const hd_sources *s, const char *work, hd_err *err) {
    const size_t root = strlen(hd_tool_source());
    *used = (size_t)snprintf(script, room, "read_verilog -Isource/hw/include");
    for (int i = 0; i < s->n && *used < room; i++) *used += (size_t)snprintf(script + *used, room - *used, " source%s", s->path[i] + root);
    if (*used >= room) return hd_fail(err, HD_RANGE, "synth: %d files of Verilog; their paths are too long for a script of %zu bytes", s->n, room);
    return hd_tool_link(work, "source", hd_tool_source(), err);
}

static hd_status run_yosys(job *j, hd_err *err) {
    size_t room = (size_t)j->src.n * (PATH_BYTES + 3) + 8192, used;
    char *script = malloc(room), path[PATH_BYTES];
    if (!script) return hd_fail(err, HD_NOMEM, "synth: out of memory");
    hd_status st = hd_synth_read_verilog(script, room, &used, &j->src, j->dir, err);
    if (!st) snprintf(script + used, room - used, "\nchparam%s top\nhierarchy -top top\nwrite_rtlil design.il\n%s -top top\nsetattr -mod -unset keep_hierarchy *\nflatten\nopt_clean\nwrite_json top.json\ntee -q -o cells.json stat -json\n", j->parameters, j->fpga->synth);
    if (!st) st = hd_tool_path(path, sizeof path, err, "%s/synth.ys", j->dir);
    if (!st) st = hd_file_write(path, script, strlen(script), err);
    free(script);
    if (st) return st;
    const char *const argv[] = {"yosys", "-q", "synth.ys", NULL};
    int rc = hd_tool_run(argv, j->dir, j->log, j->progress, j->seconds * 0.3);
    return rc ? tool_failed(j, "yosys", rc, err) : HD_OK;
}

/* The board's pins and, where the array has its own clock, what each clock is to reach: --freq is one number for all. */
static hd_status write_pins(const job *j, char *path, hd_err *err) {
    char *text = hd_synth_read_log(j->pins, err);
    if (!text) return HD_IO;
    size_t room = strlen(text) + 128;
    char *pins = malloc(room);
    hd_status st = pins ? hd_tool_path(path, PATH_BYTES, err, "%s/pins.pcf", j->dir) : hd_fail(err, HD_NOMEM, "synth: out of memory");
    if (!st) {
        if (j->pump == 1) snprintf(pins, room, "%s", text);
        else snprintf(pins, room, "%s\nset_frequency clk %.4f\nset_frequency clk_fast %.4f\n", text, j->mhz, j->mhz * j->pump);
        st = hd_file_write(path, pins, strlen(pins), err);
    }
    free(text);
    free(pins);
    return st;
}

/* Places; *fit is 0 when the tool found that there is no room. */
static hd_status run_nextpnr(job *j, hd_synth_report *r, int *fit, hd_err *err) {
    char mhz[32], seed[16], limit[16], pins[PATH_BYTES];
    hd_status st = write_pins(j, pins, err);
    if (st) return st;
    snprintf(limit, sizeof limit, "%u", j->time_limit);
    snprintf(mhz, sizeof mhz, "%.4f", j->mhz);
    snprintf(seed, sizeof seed, "%u", j->seed);
    const char *const *option = j->family->options;
    /* Those of the family are the last, so that the first that is missing ends the list. */
    const char *const argv[] = {"timeout", limit, j->place, j->fpga->place_device, "--package", j->fpga->package, "--json", "top.json", option[0], pins, option[1], j->family->design, "--report", "report.json",
                                "--freq", mhz, "--seed", seed, "--timing-allow-fail", option[2], option[3], option[4], NULL};
    int rc = hd_tool_run(argv + (j->time_limit ? 0 : 2), j->dir, j->log, j->progress, j->seconds * 0.7);
    if (rc < 0) return tool_failed(j, j->family->place, rc, err);
    if (j->time_limit && rc == TIMED_OUT) {
        char mark[PATH_BYTES];
        st = hd_tool_path(mark, sizeof mark, err, "%s/" HD_SYNTH_GAVE_UP, j->dir);
        return st ? st : hd_file_write(mark, limit, strlen(limit), err);
    }
    char *text = hd_synth_read_log(j->log, err);
    if (!text) return HD_IO;
    hd_synth_read_uses(r, text);
    /* A full device can fail in the placer too, with no count above its limit. */
    *fit = rc == 0;
    int room = !hd_synth_fits(r) || strstr(text, "Failed to expand region") || strstr(text, "Unable to place cell") || strstr(text, "unable to legalise") || strstr(text, "Unable to find a placement location");
    free(text);
    return rc && !room ? tool_failed(j, j->family->place, rc, err) : HD_OK;
}

/* What yosys made does not depend on the placer's seed. 0 when it could not be had. */
static int take_netlist(const job *j) {
    static const char *const files[] = {"synth.ys", "design.il", "cells.json", "top.json"};
    char from[PATH_BYTES], to[PATH_BYTES];
    size_t i = 0, n = *j->netlist ? sizeof files / sizeof *files : 0;
    while (i < n && !hd_tool_path(from, sizeof from, NULL, "%s/%s", j->netlist, files[i]) && !hd_tool_path(to, sizeof to, NULL, "%s/%s", j->dir, files[i]) && !link(from, to)) i++;
    if (n && i == n) return 1;
    /* Nothing may be written through a link. */
    while (i--)
        if (!hd_tool_path(to, sizeof to, NULL, "%s/%s", j->dir, files[i])) unlink(to);
    return 0;
}

static hd_status make(job *j, hd_err *err) {
    hd_synth_report scratch = {0};
    int fit = 0;
    hd_status st = take_netlist(j) ? HD_OK : run_yosys(j, err);
    if (!st) st = run_nextpnr(j, &scratch, &fit, err);
    if (st || !fit) return st;
    const char *const argv[] = {j->pack, j->family->design, j->family->bitstream, j->family->pack_compresses ? "--compress" : NULL, NULL};
    int rc = hd_tool_run(argv, j->dir, j->log, j->progress, 1);
    return rc ? tool_failed(j, j->family->pack, rc, err) : HD_OK;
}

/* ---- the whole ---- */

static hd_status set_parameters(job *j, const hd_geometry *g, unsigned hz, hd_synth_report *r, hd_err *err) {
    unsigned pll[3] = {0, 0, 0};
    int ecp5 = j->fpga->family == HD_FPGA_ECP5;
    double clock = ecp5 ? hd_synth_pll_ecp5(hz, &pll[0], &pll[1], &pll[2]) : hd_synth_pll(hz * g->pump, &pll[0], &pll[1]) / g->pump;
    if (clock <= 0 || fabs(clock / hz - 1) > 0.02)
        return hd_fail(err, HD_RANGE, "%s: no PLL setting gives %.3f MHz within 2%%; allowed are %s MHz", j->board->name, hz * (ecp5 ? 1 : g->pump) / 1e6, ecp5 ? "10 to 400" : "16 to 275");
    if (g->extern_log2 && fabs(clock / 1e6 - g->extern_mhz) > 1)
        return hd_fail(err, HD_RANGE, "%s: external memory timed for %u MHz, clock %.3f MHz; they must agree, give --clock and --memory mhz= together", j->board->name, g->extern_mhz, clock / 1e6);
    unsigned clocks_per_64_bits;
    r->bit_rate = hd_board_bit_rate(j->board, clock, &clocks_per_64_bits);
    r->clocks_per_bit = clocks_per_64_bits / 64.0;
    j->mhz = clock / 1e6;
    j->pump = g->pump;
    const struct { const char *name; uint32_t value; } set[] = {
        {"ROWS", g->rows}, {"COLS", g->cols}, {"LANES", g->lanes}, {"PLANES", g->planes}, {"HOP", g->hop}, {"ACC_BITS", g->acc_bits},
        {"ACT_WORDS", g->act_words}, {"WINDOW_WORDS", g->window_words}, {"STREAM_WORDS", g->stream_words}, {"PARAM_WORDS", g->param_words},
        {"DESCRIPTORS", g->descriptors}, {"TABLES", g->tables}, {"RESIDUAL", g->residual}, {"FETCH", g->fetch}, {"POST", g->post}, {"PUMP", g->pump}, {"POOL", g->pool}, {"SLOT", g->slot}, {"GATHER", g->gather}, {"SUMS", g->sums}, {"PERF", g->perf},
        {"CLOCKS_PER_64_BITS", clocks_per_64_bits},
        {ecp5 ? "CLKI_DIV" : "DIVF", pll[0]}, {ecp5 ? "CLKFB_DIV" : "DIVQ", pll[1]}, {"CLKOP_DIV", pll[2]}, {"EXTERN", g->extern_log2},
        {"EXTERN_MHZ", g->extern_mhz}, {"DECODE", g->decode}};
    size_t used = 0;
    for (size_t i = 0; i < sizeof set / sizeof *set - (ecp5 ? 0 : 4); i++)
        used += (size_t)snprintf(j->parameters + used, sizeof j->parameters - used, " -set %s %u", set[i].name, set[i].value);
    return HD_OK;
}

static hd_status find_tool(char path[PATH_BYTES], const char *name, const char *package, hd_err *err) {
    if (hd_tool_find(name, path, PATH_BYTES)) return HD_OK;
    if (!package) return hd_fail(err, HD_TOOL, "synth: %s is not installed; ./bootstrap ecp5 brings it", name);
    return hd_fail(err, HD_TOOL, "synth: %s is not installed (Debian package '%s')", name, package);
}

static hd_status find_tools(job *j, hd_err *err) {
    char path[PATH_BYTES];
    const family *f = j->family;
    hd_status st = find_tool(path, "yosys", "yosys", err);
    if (!st) st = find_tool(j->place, f->place, f->package ? f->place : NULL, err);
    return st ? st : find_tool(j->pack, f->pack, f->package, err);
}

/* The folder's name tells all that decides its content. */
static hd_status name_folder(char *folder, const job *j, hd_err *err) {
    uint64_t h = HD_TOOL_HASH;
    char cache[PATH_BYTES - 100], contract[PATH_BYTES];
    hd_status st = hd_tool_cache(cache, sizeof cache, err);
    for (int i = 0; i < j->src.n && !st; i++) st = hd_tool_hash_file(&h, j->src.path[i], err);
    if (!st) st = hd_tool_path(contract, sizeof contract, err, "%s/hw/include/heddle_contract.vh", hd_tool_source());
    if (!st) st = hd_tool_hash_file(&h, contract, err);
    if (!st) st = hd_tool_hash_file(&h, j->pins, err);
    hd_tool_hash(&h, "4", 1); /* what the folder holds: raise it with the script of run_yosys */
    const char *const fpga[] = {j->fpga->synth, j->fpga->place_device, j->fpga->package};
    for (size_t i = 0; i < sizeof fpga / sizeof *fpga; i++) hd_tool_hash(&h, fpga[i], strlen(fpga[i]) + 1);
    for (size_t i = 0; i < sizeof j->family->options / sizeof *j->family->options; i++)
        if (j->family->options[i]) hd_tool_hash(&h, j->family->options[i], strlen(j->family->options[i]) + 1);
    hd_tool_hash(&h, j->parameters, strlen(j->parameters));
    hd_tool_hash(&h, &j->mhz, sizeof j->mhz);
    hd_tool_hash(&h, &j->seed, sizeof j->seed);
    hd_tool_hash_program(&h, "yosys");
    hd_tool_hash_program(&h, j->family->place);
    hd_tool_hash_program(&h, j->family->pack);
    return st ? st : hd_tool_path(folder, PATH_BYTES, err, "%s/board-%s-%016llx", cache, j->board->name, (unsigned long long)h);
}

static hd_status build(job *j, const char *folder, int quiet, hd_err *err) {
    int lock;
    hd_status st = hd_tool_work_begin(j->dir, sizeof j->dir, &lock, folder, err);
    if (st) return st;
    st = hd_tool_path(j->log, sizeof j->log, err, "%s/log", j->dir);
    char label[64];
    hd_progress progress = {0};
    snprintf(label, sizeof label, "placing %s, seed %u", j->board->name, j->seed);
    if (!quiet) {
        hd_progress_start(&progress, label, j->seconds);
        j->progress = &progress;
    }
    if (!st) st = make(j, err);
    if (!quiet) hd_progress_end(&progress);
    j->progress = NULL;
    /* Another process may have been faster: its result is the same. */
    if (!st && rename(j->dir, folder) && errno != ENOTEMPTY && errno != EEXIST) st = hd_fail(err, HD_IO, "%s: %s", folder, strerror(errno));
    hd_tool_work_end(j->dir, lock);
    return st;
}

/* One seed: out of the cache, or made. */
static hd_status synth_seed(hd_synth_report *out, job *j, unsigned seed, int quiet, hd_err *err) {
    out->seed = j->seed = seed;
    hd_status st = name_folder(out->folder, j, err);
    if (!st) st = hd_tool_path(out->bitstream, sizeof out->bitstream, err, "%s/%s", out->folder, j->family->bitstream);
    out->cached = !st && access(out->folder, R_OK) == 0;
    /* A placer that was stopped may finish when it has more time. */
    const unsigned given = out->cached ? hd_synth_given_up(out->folder) : 0;
    if (given && (!j->time_limit || j->time_limit > given)) {
        hd_tool_remove(out->folder);
        out->cached = 0;
    }
    if (!st && !out->cached) st = build(j, out->folder, quiet, err);
    return st ? st : hd_synth_read_report(out, j->pump, err);
}

/* Seeds until one closes; the best of those tried. */
static hd_status synth_seeds(hd_synth_report *out, job *j, unsigned first, unsigned count, int quiet, hd_err *err) {
    hd_synth_report *one = malloc(sizeof *one);
    if (!one) return hd_fail(err, HD_NOMEM, "synth: out of memory");
    const hd_synth_report base = *out;
    hd_status st = HD_OK;
    for (unsigned i = 0; i < count; i++) {
        *one = base;
        st = synth_seed(one, j, first + i, quiet, err);
        if (st) break;
        /* With no room for the cells no seed helps. */
        const int over = !hd_synth_fits(one), closes = one->placed && one->reached_mhz >= one->wanted_mhz;
        one->n_tried = i + 1;
        memcpy(one->tried, out->tried, sizeof one->tried);
        one->tried[i].seed = one->seed;
        one->tried[i].reached_mhz = one->placed ? one->reached_mhz : 0;
        if (!i || (one->placed && (!out->placed || one->reached_mhz > out->reached_mhz))) *out = *one;
        memcpy(out->tried, one->tried, sizeof out->tried);
        out->n_tried = i + 1;
        if (over || closes) break;
        memcpy(j->netlist, one->folder, sizeof one->folder);
    }
    free(one);
    return st;
}

hd_status hd_synth(hd_synth_report *out, const hd_board *board, const hd_geometry *g, const hd_synth_options *o, hd_err *err) {
    memset(out, 0, sizeof *out);
    const hd_fpga *f = hd_board_fpga(board);
    if (!f) {
        char list[256] = "";
        size_t n;
        const hd_fpga *known = hd_fpgas(&n);
        for (size_t i = 0; i < n; i++) snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", known[i].name);
        return hd_fail(err, HD_UNSUPPORTED, "board '%s': heddle synth has no tools for its FPGA, %s; it has some for %s", board->name, board->fpga, list);
    }
    if (o->usb && strcmp(board->name, "ulx3s")) return hd_fail(err, HD_UNSUPPORTED, "board '%s': no USB lines end at its FPGA; of the boards known ulx3s has some", board->name);
    hd_status st = hd_geometry_check(g, err);
    if (st) return st;
    job *j = calloc(1, sizeof *j);
    if (!j) return hd_fail(err, HD_NOMEM, "synth: out of memory");
    j->board = board;
    j->fpga = f;
    j->family = &families[f->family];
    j->time_limit = o->time_limit;
    /* Places and routes about so many operations a second; a guess that only the progress line uses. */
    j->seconds = 100 + (double)g->rows * g->cols * g->lanes * g->planes * 0.15;
    st = set_parameters(j, g, o->clock_hz ? o->clock_hz : board->clock_hz, out, err);
    if (o->usb) strcat(j->parameters, " -set LINK 1");
    if (!st) st = find_tools(j, err);
    if (!st) st = hd_synth_sources(&j->src, board, err);
    if (!st && o->usb) st = add_folder(&j->src, "hw/usb", err);
    if (!st) st = hd_tool_path(j->pins, sizeof j->pins, err, "%s/boards/%s/%s", hd_tool_source(), board->name, j->family->pins);
    out->wanted_mhz = j->mhz;
    const unsigned seeds = o->seeds < 1 ? 1 : o->seeds > HD_SYNTH_SEEDS ? HD_SYNTH_SEEDS : o->seeds;
    if (!st) st = synth_seeds(out, j, o->seed ? o->seed : board->seed, seeds, o->quiet, err);
    free(j);
    return st;
}
