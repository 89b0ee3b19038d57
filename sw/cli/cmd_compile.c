/* heddle compile: a compressed model becomes a program for one geometry. */
#include <stdio.h>
#include <string.h>

#include "../../compiler/lower/program.h"
#include "../core/progress.h"
#include "../explore/boards.h"
#include "../explore/measure.h"
#include "cli.h"
#include "parts.h"

static const cli_option options[] = {
    {"-o", "N.hdp", "where the program goes (required)"},
    {"--board", "NAME", "a board of boards/boards.def: {boards}"},
    {"--geometry", "RxCxLxP", "ROWSxCOLSxLANESxPLANES instead of a board, as in 4x8x8x2"},
    {"--memory", "LIST", "NAME=NUMBER by comma, as in act=4096,post=4; names are {memories}"},
    {"--expand-input", "auto|no|yes", "let the host lay out the first layer's windows (auto)"},
    {"--stream-format", "auto|raw", "codes in the external stream where they say a layer's weights exactly, or none (auto; needs decode= in --memory)"},
    {NULL, NULL, NULL},
};

typedef struct memory_row {
    const char *name, *unit;
    uint32_t need, have;
} memory_row;

enum { N_MEMORIES = 7 };

static void memory_table(memory_row row[N_MEMORIES], const hd_geometry *need, const hd_program *p) {
    const hd_geometry *have = &p->geometry;
    row[0] = (memory_row){"act", "words of LANES bytes", need->act_words, have->act_words};
    row[1] = (memory_row){"window", "words of a buffer", need->window_words, have->window_words};
    row[2] = (memory_row){"stream", "weight blocks", need->stream_words, have->stream_words};
    row[3] = (memory_row){"param", "channels", need->param_words, have->param_words};
    row[4] = (memory_row){"descriptors", "descriptors", need->descriptors, have->descriptors};
    row[5] = (memory_row){"tables", "tables of 256 bytes", need->tables, have->tables};
    row[6] = (memory_row){"extern", "words of external memory", p->n_extern, have->extern_log2 ? 1u << have->extern_log2 : 0};
}

static hd_status print_json(const hd_program *p, const memory_row *row, const char *out, hd_err *err) {
    char geometry[64];
    const hd_geometry *g = &p->geometry;
    snprintf(geometry, sizeof geometry, "%ux%ux%ux%u", g->rows, g->cols, g->lanes, g->planes);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "model", p->model);
    cJSON_AddStringToObject(o, "output", out);
    cJSON_AddStringToObject(o, "board", p->board);
    cJSON_AddStringToObject(o, "geometry", geometry);
    cJSON *layers = cJSON_AddArrayToObject(o, "layers");
    for (uint32_t i = 0; i < p->n_layers; i++) {
        const hd_layer_info *l = &p->layer[i];
        cJSON *e = cJSON_CreateObject();
        cJSON_AddStringToObject(e, "name", l->name);
        cJSON_AddNumberToObject(e, "macs", (double)l->macs);
        cJSON_AddNumberToObject(e, "useful_ops", (double)l->useful_ops);
        cJSON_AddNumberToObject(e, "blocks", l->blocks);
        cJSON_AddNumberToObject(e, "blocks_present", l->blocks_present);
        cJSON_AddNumberToObject(e, "zeros_used", (double)l->zeros_used);
        cJSON_AddNumberToObject(e, "planes", l->planes);
        cJSON_AddNumberToObject(e, "descriptors", l->n_desc);
        cJSON_AddItemToArray(layers, e);
    }
    cJSON *memory = cJSON_AddObjectToObject(o, "memory");
    for (int i = 0; i < N_MEMORIES; i++) {
        cJSON *e = cJSON_AddObjectToObject(memory, row[i].name);
        cJSON_AddNumberToObject(e, "need", row[i].need);
        cJSON_AddNumberToObject(e, "have", row[i].have);
    }
    return cli_json(o, err);
}

static hd_status print_program(const cli_args *a, const hd_program *p, const char *out, hd_err *err) {
    memory_row row[N_MEMORIES];
    hd_geometry need;
    hd_program_needs(&need, p);
    memory_table(row, &need, p);
    if (a->json) return print_json(p, row, out, err);
    printf("%-24s %12s %8s %8s %8s %7s\n", "layer", "MACs", "blocks", "present", "sparsity", "planes");
    for (uint32_t i = 0; i < p->n_layers; i++) {
        const hd_layer_info *l = &p->layer[i];
        char used[16] = "-";
        /* The share of zero weights that the array skips; a layer without removed blocks has nothing to use. */
        if (l->blocks_present < l->blocks || l->zeros_used < 1) snprintf(used, sizeof used, "%.0f%%", 100 * (double)l->zeros_used);
        printf("%-24s %12llu %8u %8u %8s %7u\n", l->name, (unsigned long long)l->macs, l->blocks, l->blocks_present, used, l->planes);
    }
    printf("(sparsity: the share of the zero weights that this geometry skips)\n\n%-12s %9s %9s\n", "memory", "needs", "has");
    for (int i = 0; i < N_MEMORIES; i++) printf("%-12s %9u %9u  %s\n", row[i].name, row[i].need, row[i].have, row[i].unit);
    printf("%s: %s for %ux%ux%ux%u%s%s\n", out, p->model, p->geometry.rows, p->geometry.cols, p->geometry.lanes, p->geometry.planes, *p->board ? ", board " : "", p->board);
    return HD_OK;
}

hd_status cli_geometry(hd_geometry *g, hd_lower_options *o, const cli_args *a, hd_err *err) {
    const char *board = cli_text(a, "--board"), *text = cli_text(a, "--geometry"), *memory = cli_text(a, "--memory");
    const hd_board *row;
    if (!board == !text) return hd_fail(err, HD_USAGE, "%s: one of --board and --geometry is needed, as in --geometry 4x8x8x2", a->command->name);
    hd_status s;
    if (board) {
        s = hd_board_find(&row, board, err);
        if (!s) s = hd_board_geometry(g, row, err);
        o->board = board;
    } else {
        s = hd_geometry_parse(g, text, err);
    }
    if (!s && memory) s = hd_geometry_memory(g, memory, err);
    return s ? s : hd_geometry_check(g, err);
}

static hd_status read_expand(hd_lower_options *o, const cli_args *a, hd_err *err) {
    const char *text = cli_text(a, "--expand-input");
    if (!text || !strcmp(text, "auto")) o->expand_input = -1;
    else if (!strcmp(text, "no")) o->expand_input = 0;
    else if (!strcmp(text, "yes")) o->expand_input = 1;
    else return hd_fail(err, HD_USAGE, "compile: --expand-input: found '%.60s'; allowed are auto, no and yes", text);
    return HD_OK;
}

static hd_status read_stream_format(hd_lower_options *o, const cli_args *a, hd_err *err) {
    const char *text = cli_text(a, "--stream-format");
    if (text && strcmp(text, "auto") && strcmp(text, "raw"))
        return hd_fail(err, HD_USAGE, "compile: --stream-format: found '%.60s'; allowed are auto and raw", text);
    o->raw_stream = text && !strcmp(text, "raw");
    return HD_OK;
}

static hd_status run(const cli_args *a, hd_err *err) {
    const char *out;
    hd_geometry g = {0};
    hd_lower_options o = {.board = "", .expand_input = -1};
    cli_model m = {0};
    hd_program *p = NULL;
    uint32_t magic = 0;
    hd_err none;
    hd_status s = cli_need(&out, a, "-o", err);
    if (!s) s = cli_geometry(&g, &o, a, err);
    if (!s) s = read_expand(&o, a, err);
    if (!s) s = read_stream_format(&o, a, err);
    if (!s) s = cli_can_write(out, err);
    if (!s && cli_file_magic(&magic, a->operand, &none)) magic = 0; /* the load below tells */
    if (!s && magic == (uint32_t)HD_HLM_MAGIC)
        s = hd_fail(err, HD_FORMAT, "%s: a language model is many programs and what the host computes between them: heddle generate --device and eval --device compile it for their array", a->operand);
    if (!s && magic == (uint32_t)HD_HPM_MAGIC) return cli_parts_compile(a, &g, &o, out, err);
    if (!s) s = cli_model_load(&m, a->operand, err);
    if (!s && m.graph) s = hd_fail(err, HD_FORMAT, "%s: a float network; compile takes an .hdm: run heddle compress first", a->operand);
    if (!s) s = hd_lower(&p, m.model, &g, &o, err);
    if (!s && hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
    if (!s) s = hd_program_save(p, out, err);
    if (!s) s = print_program(a, p, out, err);
    if (p) hd_program_free(p);
    cli_model_free(&m);
    return s;
}

const cli_command cli_compile = {
    .name = "compile",
    .summary = "compile a compressed model for a board or a geometry",
    .operand = "N.hdm",
    .about = "Plans the layers of a compressed network for one array, ROWS x COLUMNS x LANES x PLANES, checks that everything fits its "
             "memories, and writes the program. Where a memory is too small the error names layer, need and have. Of a network in parts it "
             "prints where each node runs, why, and what it costs.",
    .examples = "heddle compile net.hdm --geometry 4x8x8x2 -o net.hdp\n"
                "heddle compile net.hdm --board ulx3s -o net.hdp\n"
                "heddle compile net.hdm --geometry 8x16x16x2 --memory extern=23,mhz=75,stream=512 -o net.hdp",
    .surroundings = CLI_HDM | CLI_HDP,
    .see = "compress, predict, run, synth, docs/hardware.md, docs/formats.md",
    .options = options,
    .run = run,
};
