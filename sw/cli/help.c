/* --help and the man pages: two ways to print the tables of the commands. What a command says of itself stands in its cmd_*.c and nowhere else. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "../core/file.h"
#include "../explore/bench.h"
#include "../explore/boards.h"
#include "cli.h"

extern const cli_command cli_train, cli_compress, cli_tune, cli_eval, cli_generate, cli_compile, cli_run, cli_synth, cli_flash, cli_serve, cli_profile, cli_predict, cli_operators, cli_devices, cli_point, cli_explore,
    cli_demo, cli_bench;

const cli_command *const cli_commands[] = {&cli_train,   &cli_compress,  &cli_tune,    &cli_eval,  &cli_generate, &cli_compile, &cli_run,     &cli_profile, &cli_predict, &cli_operators,
                                           &cli_devices, &cli_synth,     &cli_flash,   &cli_serve, &cli_point,    &cli_explore, &cli_demo,    &cli_bench,   NULL};

static const char title[] = "low-bit, block-sparse networks on a systolic array, bit- and cycle-exact";

/* What stands around the commands. */
typedef struct surrounding {
    unsigned bit;
    int file; /* else a variable of the environment */
    const char *name, *about;
} surrounding;

static const surrounding surroundings[] = {
    {CLI_CACHE, 0, "HEDDLE_CACHE", "folder of what is built once and kept: simulators, netlists, areas, the tools of ./bootstrap ecp5 (XDG_CACHE_HOME/heddle, else ~/.cache/heddle)"},
    {CLI_SOURCE, 0, "HEDDLE_SOURCE", "folder with hw, sim, boards and sw/contract, whose Verilog is simulated and synthesised (share/heddle beside an installed program, else where it was built)"},
    {CLI_DATASET, 0, "HEDDLE_DATASET", "folder with the files of Fashion-MNIST (/usr/share/datasets/fashion-mnist)"},
    {CLI_MODELS, 0, "HEDDLE_MODELS", "folder with the published models that some suites measure: MLPerf Tiny's ResNet-8 and DS-CNN, stories260K; heddle has none of them"},
    {CLI_THREADS, 0, "OMP_NUM_THREADS", "threads of training, compression and float networks (all cores); no result depends on it"},
    {CLI_TASKS, 0, "SLURM_ARRAY_TASK_ID, LSB_JOBINDEX, SGE_TASK_ID, PBS_ARRAY_INDEX", "with --sweep: the task to do, counted from 0"},
    {CLI_IDX, 1, "X.idx, X.idx.gz", "data: two zero bytes, a type (8 u8, 9 i8, 11 int16, 13 float), the number of dimensions, their sizes of 32 bits, the values; all big-endian"},
    {CLI_HDM, 1, "N.hdm", "a compressed network, for any array (docs/formats.md, section 4)"},
    {CLI_HDP, 1, "N.hdp", "a program for one array (docs/formats.md, section 5)"},
    {CLI_HLM, 1, "N.hlm", "a compressed language model (docs/formats.md, section 7)"},
    {CLI_POLICY, 1, "P.json", "a policy: {\"base\": {\"weights\": 4}, \"layers\": {\"fc1\": {\"weights\": 2, \"sparsity\": 0.5}}}; keys are named like the options"},
    {CLI_STUDY, 1, "FOLDER/points, models, placed", "results by the hash of all that decides them, so that a sweep that was stopped goes on (docs/exploring.md)"},
    {CLI_DATASET, 1, "/usr/share/datasets/fashion-mnist", "Debian's package dataset-fashion-mnist"},
    {CLI_RULES, 1, "60-heddle.rules", "of udev: boards for the user who is logged in (docs/usb.md)"},
};
enum { SURROUNDINGS = sizeof surroundings / sizeof *surroundings, ALL = ~0 };

/* ---- texts ---- */

static size_t placeholder(char *out, size_t n, const char *text) {
    size_t used = 0;
    *out = 0;
    if (!strncmp(text, "{boards}", 8)) {
        hd_board_names(out, n);
        return 8;
    }
    if (!strncmp(text, "{memories}", 10)) {
        hd_geometry_memory_names(out, n);
        return 10;
    }
    if (strncmp(text, "{suites}", 8)) return 0;
    for (const hd_suite *s = hd_suites; s->name && used < n; s++) used += (size_t)snprintf(out + used, n - used, "%s%s", s == hd_suites ? "" : ", ", s->name);
    return 8;
}

/* The text with its placeholders filled in, malloc'ed. */
static char *fill_in(const char *text) {
    char *out = NULL, names[512];
    size_t size, length;
    FILE *f = open_memstream(&out, &size);
    if (!f) return NULL;
    while (*text)
        if (*text == '{' && (length = placeholder(names, sizeof names, text)) != 0) {
            fputs(names, f);
            text += length;
        } else {
            fputc(*text++, f);
        }
    return fclose(f) ? NULL : out;
}

/* ---- on a terminal ---- */

enum { WIDTH = 118 };

/* Words from column `at` on, later lines indented; a newline begins a paragraph. */
static void print_wrapped(const char *text, int at, int indent) {
    char *full = fill_in(text);
    int column = at, first = 1; /* first: of its line */
    for (const char *w = full; w && *w;) {
        const int length = (int)strcspn(w, " \n");
        if (!first && column + 1 + length > WIDTH) {
            printf("\n%*s", indent, "");
            column = indent;
            first = 1;
        }
        column += printf("%s%.*s", first ? "" : " ", length, w);
        first = 0;
        w += length;
        if (*w == '\n') {
            printf("\n%*s", indent, "");
            column = indent;
            first = 1;
        }
        if (*w) w++;
    }
    putchar('\n');
    free(full);
}

static void print_row(const char *left, const char *text) {
    enum { AT = 29 };
    if (printf("  %-26s", left) < AT) putchar(' ');
    else printf("\n%*s", AT, "");
    print_wrapped(text, AT, AT);
}

static void print_surroundings(unsigned which, int file) {
    int any = 0;
    for (int i = 0; i < SURROUNDINGS; i++) {
        if (surroundings[i].file != file || !(surroundings[i].bit & which)) continue;
        if (!any++) printf(file ? "\nfiles:\n" : "\nenvironment:\n");
        print_row(surroundings[i].name, surroundings[i].about);
    }
}

static const char success[] = "success";
static const char failure[] = "an error: one line on standard error says where, what was found and what is allowed; no output file is left half-written";
static const char stopped[] = "stopped by Ctrl-C or SIGTERM (130, 143), after cleaning up";

void cli_print_help(const cli_command *c) {
    char left[64];
    print_wrapped(c->summary, 0, 0);
    printf("\nusage: heddle %s", c->name);
    if (c->operand) printf(c->operand_optional ? " [%s]" : " %s", c->operand);
    printf(" [options]\n\n");
    print_wrapped(c->about, 0, 0);
    printf("\n");
    for (const cli_option *o = c->options; o->name; o++) {
        snprintf(left, sizeof left, "%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        print_row(left, o->help);
    }
    print_row("--json", "print one JSON object instead of text");
    print_row("--help", "print this");
    printf("\nexit status:\n");
    print_row("0", success);
    print_row("1", failure);
    if (c->status) print_row("", c->status);
    print_row("128 + N", stopped);
    print_surroundings(c->surroundings, 0);
    print_surroundings(c->surroundings, 1);
    printf("\nexamples:\n");
    for (const char *line = c->examples; *line; line += strcspn(line, "\n"), line += *line == '\n') printf("  %.*s\n", (int)strcspn(line, "\n"), line);
    printf("\nsee also: %s\n", c->see);
}

void cli_print_usage(FILE *f) {
    fprintf(f, "heddle: %s\n\nusage: heddle <command> [options]\n\n", title);
    for (int i = 0; cli_commands[i]; i++) fprintf(f, "  %-10s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fprintf(f, "  %-10s %s\n  %-10s %s\n", "help", "this text, or the help of one command", "version", "versions of the program and of its formats");
    fprintf(f, "\nEvery command has --help and --json. The main job: heddle demo\n");
}

const cli_command *cli_command_find(const char *name) {
    for (int i = 0; cli_commands[i]; i++)
        if (!strcmp(cli_commands[i]->name, name)) return cli_commands[i];
    return NULL;
}

/* ---- man pages ---- */

/* Text for roff, in lines of 80 characters at most: no line begins a request, dashes stay what can be typed; a newline begins a paragraph. */
static void man_text(FILE *f, const char *text) {
    char *full = fill_in(text);
    int column = 0;
    for (const char *c = full; c && *c; c++) {
        if (!column && (*c == '.' || *c == '\'')) column += fprintf(f, "\\&");
        if (*c == '\\') column += fprintf(f, "\\e");
        else if (*c == '-') column += fprintf(f, "\\-");
        else if (*c == '~') column += fprintf(f, "\\(ti");
        else if (*c == '^') column += fprintf(f, "\\(ha");
        else if (*c == '\n') fputs("\n.PP\n", f), column = 0;
        else if (*c == ' ' && column + (int)strcspn(c + 1, " \n") > 70) fputc('\n', f), column = 0;
        else fputc(*c, f), column++;
    }
    fputc('\n', f);
    free(full);
}

/* A command to type, on a line of its own. */
static void man_line(FILE *f, const char *line, int n) {
    for (int i = 0; i < n; i++) fprintf(f, line[i] == '-' ? "\\-" : line[i] == '\\' ? "\\e" : "%c", line[i]);
    fputc('\n', f);
}

/* An entry of a list: its name in bold, what follows it in italics (may be NULL), the text. */
static void man_row(FILE *f, const char *name, const char *value, const char *text) {
    fputs(".TP\n\\fB", f);
    for (; *name; name++) fprintf(f, *name == '-' ? "\\-" : "%c", *name);
    fputs("\\fR", f);
    if (value) fprintf(f, " \\fI%s\\fR", value);
    fputc('\n', f);
    man_text(f, text);
}

/* Names of options and files must not be torn apart, so nothing is hyphenated or stretched. */
static void man_head(FILE *f, const char *page, const char *summary) {
    fputs(".\\\" Printed by heddle help \\-\\-man from the tables of sw/cli.\n.TH ", f);
    for (const char *c = page; *c; c++) fputc(toupper((unsigned char)*c), f);
    fputs(" 1 \"\" \"heddle " HD_VERSION "\" \"heddle\"\n.nh\n.ad l\n.SH NAME\n", f);
    for (; *page; page++) fprintf(f, *page == '-' ? "\\-" : "%c", *page);
    fputs(" \\- ", f);
    man_text(f, summary);
}

static void man_status(FILE *f, const char *more) {
    fputs(".SH EXIT STATUS\n", f);
    man_row(f, "0", NULL, success);
    man_row(f, "1", NULL, failure);
    if (more) {
        fputs(".IP\n", f);
        man_text(f, more);
    }
    man_row(f, "128 + N", NULL, stopped);
}

static void man_surroundings(FILE *f, unsigned which) {
    for (int file = 0; file < 2; file++)
        for (int i = 0, any = 0; i < SURROUNDINGS; i++) {
            const surrounding *s = &surroundings[i];
            if (s->file != file || !(s->bit & which)) continue;
            if (!any++) fputs(file ? ".SH FILES\n" : ".SH ENVIRONMENT\n", f);
            man_row(f, s->name, NULL, s->about);
        }
}

/* "compile, docs/usb.md": a page of the manual by its section, one of docs by its name. */
static void man_see(FILE *f, const char *list) {
    fputs(".SH SEE ALSO\n.BR heddle (1)", f);
    for (const char *at = list; *at;) {
        const int n = (int)strcspn(at, ",");
        if (memchr(at, '/', (size_t)n)) fprintf(f, ",\n%.*s", n, at);
        else fprintf(f, ",\n.BR heddle\\-%.*s (1)", n, at);
        at += n;
        at += strspn(at, ", ");
    }
    fputc('\n', f);
}

static void man_command(FILE *f, const cli_command *c) {
    char page[40];
    snprintf(page, sizeof page, "heddle-%s", c->name);
    man_head(f, page, c->summary);
    fprintf(f, ".SH SYNOPSIS\n\\fBheddle %s\\fR", c->name);
    if (c->operand) fprintf(f, c->operand_optional ? " [\\fI%s\\fR]" : " \\fI%s\\fR", c->operand);
    fputs(" [\\fIoptions\\fR]\n.SH DESCRIPTION\n", f);
    man_text(f, c->about);
    fputs(".SH OPTIONS\n", f);
    for (const cli_option *o = c->options; o->name; o++) man_row(f, o->name, o->value, o->help);
    man_row(f, "--json", NULL, "print one JSON object instead of text");
    man_row(f, "--help", NULL, "print these options");
    man_status(f, c->status);
    man_surroundings(f, c->surroundings);
    fputs(".SH EXAMPLES\n.nf\n", f);
    for (const char *line = c->examples; *line; line += strcspn(line, "\n"), line += *line == '\n') man_line(f, line, (int)strcspn(line, "\n"));
    fputs(".fi\n", f);
    man_see(f, c->see);
}

static void man_program(FILE *f) {
    static const char *const first[] = {"heddle demo", "heddle compress default --calib train-images-idx3-ubyte.gz --weights 2 -o net.hdm", "heddle compile net.hdm --geometry 4x8x8x2 -o net.hdp",
                                        "heddle predict net.hdp"};
    man_head(f, "heddle", title);
    fputs(".SH SYNOPSIS\n\\fBheddle\\fR \\fIcommand\\fR [\\fIoptions\\fR]\n.SH DESCRIPTION\n", f);
    man_text(f, "Compresses neural networks to weights of 1 to 8 bits, of which blocks may be removed, and runs them on a systolic array in Verilog. A program gives the same bytes on the "
                "instruction-level model, on the simulated Verilog, on a SystemC platform and on a board, and its cycles are predicted exactly.\nThe usual way: compress a float ONNX or TFLite "
                "file, eval it, compile it for an array, predict its cycles, run it. The word default names a small network for Fashion-MNIST that is part of the program.");
    fputs(".SH COMMANDS\n", f);
    for (int i = 0; cli_commands[i]; i++) man_row(f, cli_commands[i]->name, NULL, cli_commands[i]->summary);
    man_row(f, "help", "[command]", "the list of commands, or the help of one");
    man_row(f, "version", NULL, "versions of the program, of the contract between program and hardware and of the files");
    fputs(".SH OPTIONS\n", f);
    man_text(f, "Every command has --help and --json. An option's value follows it, or stands behind an equals sign; after -- no more options come.");
    man_status(f, NULL);
    man_surroundings(f, (unsigned)ALL);
    fputs(".SH EXAMPLES\n.nf\n", f);
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) man_line(f, first[i], (int)strlen(first[i]));
    fputs(".fi\n.SH SEE ALSO\n", f);
    for (int i = 0; cli_commands[i]; i++) fprintf(f, ".BR heddle\\-%s (1),\n", cli_commands[i]->name);
    fputs("docs/tour.md\n", f);
}

hd_status cli_write_man(const char *folder, hd_err *err) {
    hd_status s = HD_OK;
    for (int i = -1; !s && (i < 0 || cli_commands[i]); i++) {
        char *text = NULL, path[4200];
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);
        if (!f) return hd_fail(err, HD_NOMEM, "no memory for a man page");
        if (i < 0) man_program(f);
        else man_command(f, cli_commands[i]);
        snprintf(path, sizeof path, "%s/heddle%s%s.1", folder, i < 0 ? "" : "-", i < 0 ? "" : cli_commands[i]->name);
        if (fclose(f)) s = hd_fail(err, HD_NOMEM, "no memory for a man page");
        if (!s) s = hd_file_write(path, text, size, err);
        free(text);
    }
    return s;
}
