#include "area.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../drivers/tools.h"
#include "../core/file.h"
#include "files.h"

enum { PATH_BYTES = HD_SYNTH_PATH };

static const char time_limit[] = "1800"; /* seconds a tool may take */

static char *read_text(hd_err *err, const char *folder, const char *name) {
    char path[PATH_BYTES];
    uint8_t *data = NULL;
    size_t size;
    if (hd_tool_path(path, sizeof path, err, "%s/%s", folder, name)) return NULL;
    return hd_file_read(&data, &size, path, (size_t)1 << 30, 0, err) ? NULL : (char *)data;
}

/* ---- reading what the tools wrote ---- */

static hd_status read_cells(hd_area *a, const char *folder, hd_err *err) {
    char *text = read_text(err, folder, "cells.json");
    if (!text) return HD_IO;
    cJSON *stat = cJSON_Parse(text);
    free(text);
    const cJSON *kinds = cJSON_GetObjectItem(cJSON_GetObjectItem(stat, "design"), "num_cells_by_type"), *kind;
    hd_status s = kinds ? HD_OK : hd_fail(err, HD_TOOL, "%s/cells.json: yosys counted no cells", folder);
    cJSON_ArrayForEach(kind, kinds) {
        const char *name = kind->string;
        unsigned n = (unsigned)kind->valuedouble;
        if (!strcmp(name, "SB_LUT4") || !strcmp(name, "LUT4")) a->lut4 += n;
        else if (!strncmp(name, "SB_DFF", 6) || !strcmp(name, "TRELLIS_FF")) a->ff += n;
        else if (!strcmp(name, "SB_CARRY") || !strcmp(name, "CCU2C")) a->carry += n;
        else if (!strncmp(name, "SB_RAM40", 8) || !strcmp(name, "DP16KD") || !strcmp(name, "PDPW16KD")) a->ram += n;
        else if (!strcmp(name, "SB_SPRAM256KA")) a->spram += n;
        else if (!strcmp(name, "SB_MAC16") || !strncmp(name, "MULT18X18", 9) || !strncmp(name, "ALU54", 5)) a->dsp += n;
    }
    cJSON_Delete(stat);
    return s;
}

/* Logic cells of "Info: ICESTORM_LC: 5308/ 5280 100%" and, from report.json, the clock; both stay as they are where nextpnr did not run. */
static hd_status read_packed(hd_area *a, const char *folder, hd_err *err) {
    char *log = read_text(NULL, folder, "pack.log");
    if (!log) return HD_OK;
    const char *at = strstr(log, "ICESTORM_LC:");
    int found = at && sscanf(at, "ICESTORM_LC: %u", &a->cells) == 1;
    free(log);
    if (!found) return hd_fail(err, HD_TOOL, "%s/pack.log: nextpnr reports no logic cells", folder);
    char *text = read_text(NULL, folder, "report.json");
    cJSON *report = text ? cJSON_Parse(text) : NULL;
    const cJSON *clock = cJSON_GetObjectItem(report, "fmax"), *achieved = clock && clock->child ? cJSON_GetObjectItem(clock->child, "achieved") : NULL;
    if (cJSON_IsNumber(achieved)) a->mhz = achieved->valuedouble;
    free(text);
    cJSON_Delete(report);
    return HD_OK;
}

static hd_status read_folder(hd_area *a, const char *folder, const hd_board *board, hd_err *err) {
    hd_status s = read_cells(a, folder, err);
    if (hd_board_is(board, HD_FPGA_ECP5)) a->cells = a->lut4 + 2 * a->carry;
    return s ? s : read_packed(a, folder, err);
}

hd_status hd_area_design(hd_area *out, const hd_synth_report *r, const hd_board *board, hd_err *err) {
    *out = (hd_area){0};
    hd_status s = read_cells(out, r->folder, err);
    if (hd_board_is(board, HD_FPGA_ECP5)) out->cells = out->lut4 + 2 * out->carry;
    for (int i = 0; i < r->n_uses; i++)
        if (!strcmp(r->use[i].name, "ICESTORM_LC")) out->cells = r->use[i].used;
    if (r->placed) out->mhz = r->reached_mhz;
    return s;
}

/* ---- running the tools ---- */

static hd_status run(const char *const argv[], const char *folder, const char *log_name, hd_err *err) {
    char log[PATH_BYTES];
    hd_status s = hd_tool_path(log, sizeof log, err, "%s/%s", folder, log_name);
    if (s) return s;
    int rc = hd_tool_run(argv, folder, log, NULL, 60);
    if (!rc) return HD_OK;
    if (rc < 0) return hd_fail(err, HD_INTERRUPTED, "area: stopped");
    char *text = read_text(NULL, folder, log_name), line[200] = "";
    const char *at = text ? strstr(text, "ERROR") : NULL;
    if (at) snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
    free(text);
    if (rc == 124) return hd_fail(err, HD_TOOL, "area: %s took longer than %s s", argv[2], time_limit);
    return hd_fail(err, HD_TOOL, "area: %s failed: %s", argv[2], *line ? line : "no ERROR line in its log");
}

static hd_status need_yosys(hd_err *err) {
    char path[PATH_BYTES];
    return hd_tool_find("yosys", path, sizeof path) ? HD_OK : hd_fail(err, HD_TOOL, "area: yosys is not installed (Debian package 'yosys')");
}

static hd_status yosys(const char *folder, const char *script, hd_err *err) {
    char path[PATH_BYTES];
    const char *const argv[] = {"timeout", time_limit, "yosys", "-q", "area.ys", NULL};
    hd_status s = hd_tool_path(path, sizeof path, err, "%s/area.ys", folder);
    if (!s) s = hd_file_write(path, script, strlen(script), err);
    return s ? s : run(argv, folder, "yosys.log", err);
}

/* Packs top.json, or places it when mhz is above 0. */
static hd_status nextpnr(const char *folder, const hd_board *board, double mhz, hd_err *err) {
    char found[PATH_BYTES], clock[32];
    const hd_fpga *f = hd_board_fpga(board);
    if (!f || f->family != HD_FPGA_ICE40 || !hd_tool_find("nextpnr-ice40", found, sizeof found)) return HD_OK;
    const char *part = f->place_device, *package = f->package;
    snprintf(clock, sizeof clock, "%.4f", mhz);
    const char *const pack[] = {"timeout", time_limit, "nextpnr-ice40", part, "--package", package, "--json", "top.json", "--pack-only", NULL};
    const char *const place[] = {"timeout", time_limit, "nextpnr-ice40", part, "--package", package, "--json", "top.json", "--freq", clock,
                                 "--seed", "1", "--pcf-allow-unconstrained", "--timing-allow-fail", "--report", "report.json", NULL};
    return run(mhz > 0 ? place : pack, folder, "pack.log", err);
}

static hd_status hash_tools(uint64_t *h, const hd_board *board, char *cache, size_t n, hd_err *err) {
    const hd_fpga *f = hd_board_fpga(board);
    hd_tool_hash(h, "2", 1); /* what is kept: raise it with the scripts here */
    if (f) hd_tool_hash(h, f->place_device, strlen(f->place_device) + 1);
    if (f) hd_tool_hash(h, f->package, strlen(f->package) + 1);
    hd_tool_hash_program(h, "yosys");
    hd_tool_hash_program(h, "nextpnr-ice40");
    return hd_tool_cache(cache, n, err);
}

/* Only a complete result gets its name; netlists are large and not asked for again. */
static hd_status close_work(const char *work, int lock, const char *folder, hd_status s, hd_err *err) {
    char path[PATH_BYTES];
    if (!hd_tool_path(path, sizeof path, NULL, "%s/top.json", work)) remove(path);
    /* Another process may have been faster: its result is the same. */
    if (!s && rename(work, folder) && errno != ENOTEMPTY && errno != EEXIST) s = hd_fail(err, HD_IO, "%s: %s", folder, strerror(errno));
    hd_tool_work_end(work, lock);
    return s;
}

/* ---- one unit of a design ---- */

/* The synth_* command of the design's own script without its -top, so that the unit is made with the same options. */
static hd_status synth_command(char *out, size_t n, const hd_synth_report *r, hd_err *err) {
    char *script = read_text(err, r->folder, "synth.ys"), *at = script ? strstr(script, "\nsynth_") : NULL, *top;
    if (!script) return HD_IO;
    if (at) at[1 + strcspn(at + 1, "\n")] = 0;
    top = at ? strstr(at, " -top top") : NULL;
    hd_status s = top ? HD_OK : hd_fail(err, HD_TOOL, "%s/synth.ys: no command synth_...", r->folder);
    if (!s) snprintf(out, n, "%.*s%s", (int)(top - at - 1), at + 1, top + strlen(" -top top"));
    free(script);
    return s;
}

/* The name that yosys gave module `unit` with its parameters: "unit" or "$paramod$HASH\unit" or "$paramod\unit\NAME=VALUE". */
static hd_status elaborated_name(char *out, size_t n, const char *folder, const char *unit, hd_err *err) {
    char *design = read_text(err, folder, "design.il");
    if (!design) return HD_IO;
    size_t length = strlen(unit);
    *out = 0;
    for (const char *at = strstr(design, "\nmodule "); at && !*out; at = strstr(at + 1, "\nmodule ")) {
        const char *name = at + strlen("\nmodule "), *end = name + strcspn(name, "\n");
        for (const char *p = name; p < end; p++)
            if (*p == '\\' && !strncmp(p + 1, unit, length) && (p + 1 + length == end || p[1 + length] == '\\')) snprintf(out, n, "%.*s", (int)(end - name), name);
    }
    free(design);
    return *out ? HD_OK : hd_fail(err, HD_TOOL, "area: the design has no module '%s'", unit);
}

hd_status hd_area_unit(hd_area *out, const hd_synth_report *r, const hd_board *board, const char *unit, hd_err *err) {
    int lock;
    char command[512], name[512], cache[PATH_BYTES - 100], folder[PATH_BYTES], design[PATH_BYTES], work[PATH_BYTES], script[PATH_BYTES + 2048];
    uint64_t h = HD_TOOL_HASH;
    *out = (hd_area){0};
    hd_status s = hd_tool_path(design, sizeof design, err, "%s/design.il", r->folder);
    if (!s) s = synth_command(command, sizeof command, r, err);
    if (!s) s = elaborated_name(name, sizeof name, r->folder, unit, err);
    /* The folder's name tells all that decides its content; the unit's comes after it. */
    const char *of = strrchr(r->folder, '/');
    if (of) hd_tool_hash(&h, of, strlen(of));
    hd_tool_hash(&h, unit, strlen(unit));
    hd_tool_hash(&h, command, strlen(command));
    if (!s) s = hash_tools(&h, board, cache, sizeof cache, err);
    if (!s) s = hd_tool_path(folder, sizeof folder, err, "%s/area-%s-%016llx", cache, unit, (unsigned long long)h);
    if (s) return s;
    if (access(folder, R_OK)) {
        s = need_yosys(err);
        if (s) return s;
        snprintf(script, sizeof script, "read_rtlil design.il\n%s -top %s\nsetattr -mod -unset keep_hierarchy *\nflatten\nopt_clean\nwrite_json top.json\ntee -q -o cells.json stat -json\n", command, name);
        s = hd_tool_work_begin(work, sizeof work, &lock, folder, err);
        if (s) return s;
        s = hd_tool_link(work, "design.il", design, err);
        if (!s) s = yosys(work, script, err);
        if (!s) s = nextpnr(work, board, 0, err);
        s = close_work(work, lock, folder, s, err);
    }
    return s ? s : read_folder(out, folder, board, err);
}

/* ---- whole designs, unit by unit ---- */

/* The yosys command for the FPGA of a board into text (n bytes), with options for iCE40 alone and for both families; HD_UNSUPPORTED for another. */
static hd_status board_command(char *text, size_t n, const hd_board *board, const char *ice40, const char *both, hd_err *err) {
    const hd_fpga *f = hd_board_fpga(board);
    if (!f) return hd_fail(err, HD_UNSUPPORTED, "area: no tools for %s", board->fpga);
    if (f->family == HD_FPGA_ECP5) snprintf(text, n, "%s%s", f->synth, both);
    else snprintf(text, n, "synth_ice40%s -device %s%s", ice40, f->yosys_device, both);
    return HD_OK;
}

static void board_parameters(char *text, size_t n, const hd_geometry *g) {
    snprintf(text, n, "-set ROWS %u -set COLS %u -set LANES %u -set PLANES %u -set HOP %u -set ACC_BITS %u -set ACT_WORDS %u -set WINDOW_WORDS %u -set STREAM_WORDS %u -set PARAM_WORDS %u "
             "-set DESCRIPTORS %u -set TABLES %u -set RESIDUAL %u -set FETCH %u -set POST %u -set PUMP %u -set POOL %u -set SLOT %u -set GATHER %u -set SUMS %u -set PERF %u -set EXTERN %u "
             "-set EXTERN_MHZ %u -set DECODE %u", g->rows, g->cols, g->lanes, g->planes, g->hop, g->acc_bits, g->act_words, g->window_words, g->stream_words, g->param_words, g->descriptors, g->tables,
             g->residual, g->fetch, g->post, g->pump, g->pool, g->slot, g->gather, g->sums, g->perf, g->extern_log2, g->extern_log2 ? g->extern_mhz : 50, g->decode);
}

static hd_status make_board(const char *folder, const hd_sources *src, const char *parameters, const char *command, const hd_board *board, hd_err *err) {
    int lock;
    char work[PATH_BYTES];
    size_t room = (size_t)src->n * (PATH_BYTES + 3) + 4096, used;
    char *script = malloc(room);
    hd_status s = script ? need_yosys(err) : hd_fail(err, HD_NOMEM, "area: out of memory");
    if (!s) s = hd_tool_work_begin(work, sizeof work, &lock, folder, err);
    if (s) {
        free(script);
        return s;
    }
    s = hd_synth_read_verilog(script, room, &used, src, work, err);
    if (!s) snprintf(script + used, room - used, "\nchparam %s heddle_board\n%s -top heddle_board\nsetattr -mod -unset keep_hierarchy *\nflatten\nopt_clean\nwrite_json top.json\ntee -q -o cells.json stat -json\n",
             parameters, command);
    if (!s) s = yosys(work, script, err);
    if (!s) s = nextpnr(work, board, 0, err);
    free(script);
    return close_work(work, lock, folder, s, err);
}

hd_status hd_area_board(hd_area *out, hd_geometry *depths, const hd_board *board, const hd_geometry *g, hd_err *err) {
    char cache[PATH_BYTES - 100], folder[PATH_BYTES], parameters[800], contract[PATH_BYTES], command[128];
    uint64_t h = HD_TOOL_HASH;
    *out = (hd_area){0};
    *depths = *g;
    depths->act_words = depths->stream_words = 1024;
    depths->window_words = depths->param_words = 256;
    depths->descriptors = 16;
    depths->tables = 1;
    hd_sources *src = calloc(1, sizeof *src);
    hd_status s = src ? board_command(command, sizeof command, board, "", " -noflatten", err) : hd_fail(err, HD_NOMEM, "area: out of memory");
    if (!s) s = hd_synth_sources(src, board, err);
    board_parameters(parameters, sizeof parameters, depths);
    for (int i = 0; !s && i < src->n; i++) s = hd_tool_hash_file(&h, src->path[i], err);
    if (!s) s = hd_tool_path(contract, sizeof contract, err, "%s/hw/include/heddle_contract.vh", hd_tool_source());
    if (!s) s = hd_tool_hash_file(&h, contract, err);
    if (!s) hd_tool_hash(&h, command, strlen(command));
    hd_tool_hash(&h, parameters, strlen(parameters));
    if (!s) s = hash_tools(&h, board, cache, sizeof cache, err);
    if (!s) s = hd_tool_path(folder, sizeof folder, err, "%s/area-board-%016llx", cache, (unsigned long long)h);
    int lock = -1;
    if (!s && access(folder, R_OK)) s = hd_lock_take(&lock, folder, err);
    if (!s && access(folder, R_OK)) s = make_board(folder, src, parameters, command, board, err);
    hd_lock_give(lock, folder);
    if (!s) s = read_folder(out, folder, board, err);
    free(src);
    return s;
}

/* ---- processing elements ---- */

/* Weights differ from column to column (their RAMs are written with shifted bits) and activations from row to row, or yosys would make one of all PEs. */
static const char grid_text[] =
    "module bench #(parameter ROWS = 1, COLS = 2, LANES = 8, PLANES = 2, ACC_BITS = 18) (input clk, input si, input [3:0] ctl, output reg so);\n"
    "    localparam NP = LANES / 2, W = LANES * PLANES, RA = ROWS * ACC_BITS;\n"
    "    reg [ROWS*2*NP*9-1:0] in; reg [W+15:0] wd; reg [3:0] c; reg [7:0] pc; reg [RA-1:0] out; reg we;\n"
    "    always @(posedge clk) begin in <= {in, si}; wd <= {wd, in[0]}; c <= ctl; pc <= pc + 1; we <= wd[W+15]; end\n"
    "    wire [(COLS+1)*RA-1:0] chain;\n"
    "    assign chain[RA-1:0] = 0;\n"
    "    genvar i, r;\n"
    "    generate for (i = 0; i < COLS; i = i + 1) begin : g\n"
    "        wire [W-1:0] w;\n"
    "        ram_sdp #(.WIDTH(W), .DEPTH(256)) u_ram (.clk(clk), .we(we), .waddr(pc), .wdata(wd[i%16 +: W]), .re(1'b1), .raddr(pc), .rdata(w));\n"
    "        for (r = 0; r < ROWS; r = r + 1) begin : g_row\n"
    "            pe #(.LANES(LANES), .PLANES(PLANES), .ACC_BITS(ACC_BITS)) u_pe (.clk(clk), .s(in[r*2*NP*9 +: NP*9]), .d(in[(r*2+1)*NP*9 +: NP*9]), .w(w),\n"
    "                .en(c[0]), .first(c[1]), .capture(c[2]), .shift(c[3]),\n"
    "                .drain_in(chain[i*RA + r*ACC_BITS +: ACC_BITS]), .drain(chain[(i+1)*RA + r*ACC_BITS +: ACC_BITS]));\n"
    "        end\n"
    "    end endgenerate\n"
    "    always @(posedge clk) begin out <= c[2] ? chain[COLS*RA +: RA] : {out, 1'b0}; so <= out[RA-1]; end\n"
    "endmodule\n";

hd_status hd_area_grid(hd_area *out, const hd_board *board, unsigned rows, unsigned columns, unsigned lanes, unsigned planes, unsigned acc_bits, double mhz, hd_err *err) {
    int lock;
    char cache[PATH_BYTES - 100], folder[PATH_BYTES], work[PATH_BYTES], path[PATH_BYTES], parameters[160], command[128] = "";
    uint64_t h = HD_TOOL_HASH;
    *out = (hd_area){0};
    hd_sources *src = calloc(1, sizeof *src);
    size_t room = HD_SYNTH_SOURCES * (PATH_BYTES + 3) + 1024, used = 0;
    char *script = malloc(room);
    hd_status s = src && script ? HD_OK : hd_fail(err, HD_NOMEM, "area: out of memory");
    if (!s) s = board_command(command, sizeof command, board, " -abc9", "", err);
    if (!s) s = hd_synth_sources(src, board, err);
    snprintf(parameters, sizeof parameters, "-set ROWS %u -set COLS %u -set LANES %u -set PLANES %u -set ACC_BITS %u", rows, columns, lanes, planes, acc_bits);
    for (int i = 0; !s && i < src->n; i++) s = hd_tool_hash_file(&h, src->path[i], err);
    hd_tool_hash(&h, grid_text, sizeof grid_text);
    hd_tool_hash(&h, parameters, strlen(parameters));
    hd_tool_hash(&h, command, strlen(command));
    hd_tool_hash(&h, &mhz, sizeof mhz);
    if (!s) s = hash_tools(&h, board, cache, sizeof cache, err);
    if (!s) s = hd_tool_path(folder, sizeof folder, err, "%s/area-grid-%016llx", cache, (unsigned long long)h);
    if (!s && access(folder, R_OK)) s = need_yosys(err);
    if (!s && access(folder, R_OK)) {
        s = hd_tool_work_begin(work, sizeof work, &lock, folder, err);
        if (!s) {
            s = hd_tool_path(path, sizeof path, err, "%s/bench.v", work);
            if (!s) s = hd_file_write(path, grid_text, strlen(grid_text), err);
            if (!s) s = hd_synth_read_verilog(script, room, &used, src, work, err);
            if (!s) snprintf(script + used, room - used, " bench.v\nchparam %s bench\n%s -top bench -json top.json\ntee -q -o cells.json stat -json\n", parameters, command);
            if (!s) s = yosys(work, script, err);
            if (!s) s = nextpnr(work, board, mhz, err);
            s = close_work(work, lock, folder, s, err);
        }
    }
    if (!s) s = read_folder(out, folder, board, err);
    free(script);
    free(src);
    return s;
}
