/* heddle synth: the bitstream of a board, and what it takes of the FPGA. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/file.h"
#include "../explore/synth.h"
#include "cli.h"

static const cli_option options[] = {
    {"--board", "NAME", "{boards} (required; ulx3s: ./bootstrap ecp5 brings the tools)"},
    {"-o", "X.bin", "where the bitstream goes (only the report)"},
    {"--clock", "HZ", "clock to reach; the PLL is set to it (the board's, of boards/boards.def)"},
    {"--seed", "N", "of the placer; the clock reached differs by some percent (the board's, of boards/boards.def)"},
    {"--seeds", "N", "try so many from that one on until one reaches the clock, else keep the best; up to 32 (4; with --seed 1)"},
    {"--limit", "S", "seconds for the placer of each seed; one that has not ended is stopped (as long as it takes)"},
    {"--geometry", "RxCxLxP", "another geometry than the board's, as in 2x1x8x2"},
    {"--memory", "LIST", "with or without --geometry: NAME=NUMBER by comma, as in act=4096,post=4; names are {memories}"},
    {"--link", "L", "uart, or usb: a USB device in the FPGA, at the board's own USB pins (ulx3s: US2) (uart)"},
    {NULL, NULL, NULL},
};

static hd_status print_json(const hd_synth_report *r, const hd_board *b, const char *out, hd_err *err) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "board", b->name);
    cJSON_AddStringToObject(o, "fpga", b->fpga);
    cJSON_AddBoolToObject(o, "cached", r->cached);
    cJSON_AddStringToObject(o, "folder", r->folder);
    cJSON *uses = cJSON_AddArrayToObject(o, "utilisation");
    for (int i = 0; i < r->n_uses; i++) {
        cJSON *e = cJSON_CreateObject();
        cJSON_AddStringToObject(e, "name", r->use[i].name);
        cJSON_AddNumberToObject(e, "used", r->use[i].used);
        cJSON_AddNumberToObject(e, "available", r->use[i].available);
        cJSON_AddItemToArray(uses, e);
    }
    cJSON_AddBoolToObject(o, "placed", r->placed);
    cJSON_AddNumberToObject(o, "wanted_mhz", r->wanted_mhz);
    cJSON_AddNumberToObject(o, "seed", r->seed);
    cJSON *tried = cJSON_AddArrayToObject(o, "seeds");
    for (unsigned i = 0; i < r->n_tried; i++) {
        cJSON *e = cJSON_CreateObject();
        cJSON_AddNumberToObject(e, "seed", r->tried[i].seed);
        cJSON_AddNumberToObject(e, "reached_mhz", r->tried[i].reached_mhz);
        cJSON_AddItemToArray(tried, e);
    }
    cJSON_AddNumberToObject(o, "bit_rate", r->bit_rate);
    cJSON_AddNumberToObject(o, "clocks_per_bit", r->clocks_per_bit);
    if (r->placed) {
        cJSON_AddNumberToObject(o, "reached_mhz", r->reached_mhz);
        cJSON *path = cJSON_AddArrayToObject(o, "critical_path");
        for (int i = 0; i < r->n_path; i++) {
            cJSON *e = cJSON_CreateObject();
            cJSON_AddStringToObject(e, "unit", r->path[i].unit);
            cJSON_AddNumberToObject(e, "logic_ns", r->path[i].logic_ns);
            cJSON_AddNumberToObject(e, "routing_ns", r->path[i].routing_ns);
            cJSON_AddItemToArray(path, e);
        }
    }
    if (out) cJSON_AddStringToObject(o, "output", out);
    return cli_json(o, err);
}

static void print_text(const hd_synth_report *r, const hd_board *b, const char *out) {
    printf("%-16s %8s %8s\n", b->fpga, "used", "has");
    for (int i = 0; i < r->n_uses; i++) {
        printf("%-16s %8u %8u", r->use[i].name, r->use[i].used, r->use[i].available);
        if (r->use[i].used > r->use[i].available) printf("  %u too many", r->use[i].used - r->use[i].available);
        printf("\n");
    }
    if (r->placed) {
        for (unsigned i = 0; r->n_tried > 1 && i < r->n_tried; i++) printf("seed %u: %.2f MHz\n", r->tried[i].seed, r->tried[i].reached_mhz);
        printf("clock %.2f MHz reached with seed %u, %.2f MHz wanted; UART %.3f Mbit/s [measured by the placer]\nlongest path:\n", r->reached_mhz, r->seed, r->wanted_mhz, r->bit_rate / 1e6);
        for (int i = 0; i < r->n_path; i++) printf("  %-28s %6.2f ns logic %6.2f ns routing\n", r->path[i].unit, r->path[i].logic_ns, r->path[i].routing_ns);
    }
    if (out) printf("%s: %s\n", out, b->title);
}

/* What the report means for a bitstream: one that does not fit, or is too slow for its own PLL, is no result. */
static hd_status verdict(const hd_synth_report *r, const hd_board *b, hd_err *err) {
    if (r->given_up) return hd_fail(err, HD_NOFIT, "%s: not placed and routed within %u s; try another --seed, more --seeds or a longer --limit", b->name, r->given_up);
    for (int i = 0; i < r->n_uses && !r->placed; i++)
        if (r->use[i].used > r->use[i].available)
            return hd_fail(err, HD_NOFIT, "%s: needs %u %s, the %s has %u: %u too many", b->name, r->use[i].used, r->use[i].name, b->fpga, r->use[i].available,
                           r->use[i].used - r->use[i].available);
    if (!r->placed) return hd_fail(err, HD_NOFIT, "%s: the placer found no room, though nothing is over its limit; a smaller geometry is needed", b->name);
    if (r->reached_mhz < r->wanted_mhz)
        return hd_fail(err, HD_NOFIT, "%s: reaches %.2f MHz, %.2f wanted; try more --seeds, or a --clock of at most %.0f", b->name, r->reached_mhz, r->wanted_mhz, r->reached_mhz * 1e6);
    return HD_OK;
}

static hd_status geometry(hd_geometry *g, const hd_board *b, const cli_args *a, hd_err *err) {
    const char *text = cli_text(a, "--geometry"), *memory = cli_text(a, "--memory");
    hd_status s = hd_board_geometry(g, b, err);
    if (!s && text) {
        /* The board's memories stay; hop and accumulator follow the new shape. */
        hd_geometry shape;
        s = hd_geometry_parse(&shape, text, err);
        g->rows = shape.rows, g->cols = shape.cols, g->lanes = shape.lanes, g->planes = shape.planes, g->hop = shape.hop;
    }
    if (!s && memory) s = hd_geometry_memory(g, memory, err);
    return s ? s : hd_geometry_check(g, err);
}

static hd_status run(const cli_args *a, hd_err *err) {
    const char *name, *out = cli_text(a, "-o"), *link = cli_text(a, "--link");
    const hd_board *board;
    hd_geometry g;
    int64_t clock, seed, seeds, limit;
    hd_status s = cli_need(&name, a, "--board", err);
    if (!s) s = hd_board_find(&board, name, err);
    if (!s) s = cli_int(&clock, a, "--clock", 0, 1000000, 300000000, err);
    if (!s) s = cli_int(&seed, a, "--seed", 0, 1, 1000000, err);
    if (!s) s = cli_int(&seeds, a, "--seeds", seed ? 1 : 4, 1, HD_SYNTH_SEEDS, err);
    if (!s) s = cli_int(&limit, a, "--limit", 0, 1, 1000000, err);
    if (!s) s = geometry(&g, board, a, err);
    if (!s && link && strcmp(link, "uart") && strcmp(link, "usb")) s = hd_fail(err, HD_USAGE, "synth: --link: found '%.60s'; allowed are uart and usb", link);
    if (!s && out) s = cli_can_write(out, err);
    if (s) return s;
    hd_synth_options o = {.clock_hz = (unsigned)clock, .seed = (unsigned)seed, .seeds = (unsigned)seeds, .time_limit = (unsigned)limit, .quiet = a->json, .usb = link && !strcmp(link, "usb")};
    hd_synth_report *r = calloc(1, sizeof *r);
    if (!r) return hd_fail(err, HD_NOMEM, "no memory for the report");
    s = hd_synth(r, board, &g, &o, err);
    hd_status judged = s ? s : verdict(r, board, err);
    uint8_t *data = NULL;
    size_t size;
    if (!judged && out) judged = hd_file_read(&data, &size, r->bitstream, 1 << 24, 0, err);
    if (!judged && out) judged = hd_file_write(out, data, size, err);
    free(data);
    /* The report is of use when the verdict is bad, too. */
    if (!s && a->json) s = print_json(r, board, judged ? NULL : out, err);
    else if (!s) print_text(r, board, judged ? NULL : out);
    free(r);
    return s ? s : judged;
}

const cli_command cli_synth = {
    .name = "synth",
    .summary = "make the bitstream of a board",
    .about = "Synthesises the array, the link and the board's top with Yosys, places and routes them with nextpnr, seed after seed until the "
             "clock is reached, and prints cells, memories and clock. Takes minutes to an hour; what was placed before with the same sources, "
             "options and tools comes from the cache.",
    .examples = "heddle synth --board hx8k -o hx8k.bin\n"
                "heddle synth --board hx8k --geometry 1x1x8x2 --clock 24000000 --memory act=128,window=32,stream=256,param=64,descriptors=8,tables=0,acc=18,fetch=1,residual=0,hop=1,post=16,pump=1",
    .status = "also when the design does not fit or misses its clock: the report is printed, and -o is not written",
    .surroundings = CLI_CACHE | CLI_SOURCE,
    .see = "flash, compile, explore, docs/hardware.md",
    .options = options,
    .run = run,
};
