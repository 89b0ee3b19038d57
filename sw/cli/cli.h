/* What the commands share: their tables of options, the parser, and the ways in and out of a command.
 *
 * A command is a row: name, options, one example, and a function. The parser and --help read the same rows, so no option
 * exists that --help does not tell. Commands return hd_status; only main.c prints errors and exits. */
#ifndef HD_CLI_H
#define HD_CLI_H
#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdio.h>

#include "../../compiler/compress/auto.h"
#include "../../compiler/compress/compress.h"
#include "../../compiler/graph/graph.h"
#include "../../compiler/graph/llama.h"
#include "../../compiler/lower/program.h"
#include "../../drivers/driver.h"
#include "../core/err.h"
#include "../core/idx.h"
#include "../train/tune.h"

enum { CLI_MAX_OPTIONS = 40 };

typedef struct cli_option {
    const char *name;  /* "--epochs", or "-o" */
    const char *value; /* what stands for its value in --help; NULL = a flag */
    const char *help;
} cli_option;

/* What --help and the man page say about the surroundings of a command, where they apply: rows of the table in help.c. */
enum {
    CLI_CACHE = 1 << 0,    /* it builds simulators or netlists, and keeps them */
    CLI_SOURCE = 1 << 1,   /* it reads Verilog */
    CLI_DATASET = 1 << 2,  /* it takes Fashion-MNIST where no data is named */
    CLI_MODELS = 1 << 3,
    CLI_THREADS = 1 << 4,
    CLI_TASKS = 1 << 5,
    CLI_IDX = 1 << 6,
    CLI_HDM = 1 << 7,
    CLI_HDP = 1 << 8,
    CLI_HLM = 1 << 9,
    CLI_POLICY = 1 << 10,
    CLI_STUDY = 1 << 11,
    CLI_RULES = 1 << 12
};

struct cli_args;
/* Texts may hold {boards}, {memories} and {suites}, which stand for the names that there are. */
typedef struct cli_command {
    const char *name, *summary;
    const char *operand; /* what stands for the one operand in --help; NULL = the command takes none */
    int operand_optional;
    const char *about;      /* paragraphs, divided by newlines */
    const char *examples;   /* command lines, divided by newlines */
    const char *status;     /* when else the exit status is 1; NULL = only after errors */
    unsigned surroundings;  /* of the CLI_ above */
    const char *see;        /* commands and pages, divided by ", "; a page is "docs/NAME.md" */
    const cli_option *options; /* ends with a NULL name; --json and --help come by themselves */
    hd_status (*run)(const struct cli_args *a, hd_err *err);
} cli_command;

typedef struct cli_args {
    const cli_command *command;
    const char *operand;                 /* NULL when left out */
    const char *value[CLI_MAX_OPTIONS];  /* by the option's row; "" for a flag that is set, NULL for what is not */
    int json;
} cli_args;

/* Parses argv[2..] of a command; *help is set when --help was among them. */
hd_status cli_parse(cli_args *a, const cli_command *c, int argc, char **argv, int *help, hd_err *err);

/* help.c: all commands, NULL at the end; --help of one; the list of them; and man pages heddle.1 and heddle-COMMAND.1 in an existing folder. All say what the
 * tables of the commands say. */
extern const cli_command *const cli_commands[];
const cli_command *cli_command_find(const char *name);
void cli_print_help(const cli_command *c);
void cli_print_usage(FILE *f);
hd_status cli_write_man(const char *folder, hd_err *err);

/* The text given for option `name` of the command, or NULL. Asking for a name that is no row of the command is a bug. */
const char *cli_text(const cli_args *a, const char *name);
int cli_flag(const cli_args *a, const char *name);
/* The same, but a missing option is HD_USAGE. */
hd_status cli_need(const char **out, const cli_args *a, const char *name, hd_err *err);
/* A whole number lo..hi, or `otherwise` when the option was not given. */
hd_status cli_int(int64_t *out, const cli_args *a, const char *name, int64_t otherwise, int64_t lo, int64_t hi, hd_err *err);
hd_status cli_float(double *out, const cli_args *a, const char *name, double otherwise, double lo, double hi, hd_err *err);

/* A model by its content: the word "default" (the embedded network), an ONNX or TFLite file or an .hdm. Exactly one of graph and
 * model is set. */
typedef struct cli_model {
    hd_graph *graph;
    hd_model *model;
} cli_model;
hd_status cli_model_load(cli_model *out, const char *name, hd_err *err);
/* The same, but an ONNX file just as the importer takes it: no constants are folded and no nodes fused. */
hd_status cli_model_import(cli_model *out, const char *name, hd_err *err);
void cli_model_free(cli_model *m);
/* May the file be ONNX: is it none of the kinds that are known by their first bytes? */
int cli_is_onnx(const char *name);
/* The first four bytes as a little-endian number; 0 for a shorter file. */
hd_status cli_file_magic(uint32_t *magic, const char *path, hd_err *err);

/* --codes SCALE:ZERO: i8 items become the floats they stand for; `input`, of a graph (may be NULL), then has that scale and zero point. */
hd_status cli_codes(const cli_args *a, hd_idx **x, const char *path, hd_tensor_info *input, hd_err *err);
/* With the flag --hwc: items of x that are [h][w][c], as TFLite has them, become [c][h][w]. */
hd_status cli_hwc(const cli_args *a, hd_idx *x, const char *path, int c, int h, int w, hd_err *err);

/* A language model: a llama2.c checkpoint, a GGUF or .safetensors file, or an .hlm. */
enum { CLI_GGUF_MAGIC = 0x46554747 }; /* "GGUF" */
hd_status cli_llama_load(hd_llama **out, const char *path, hd_err *err);
/* The same but for an .hlm, which is compressed already: HD_FORMAT. */
hd_status cli_llama_load_float(hd_llama **out, const char *path, hd_err *err);
/* Rows of int16 tokens that the model takes (all but a row's last are inputs), and --rows FIRST:COUNT of them, or all. */
hd_status cli_tokens_load(hd_idx **out, const char *path, const hd_llama *m, hd_err *err);
hd_status cli_rows(uint32_t *first, uint32_t *count, const cli_args *a, const char *path, uint32_t rows, hd_err *err);
/* heddle compress, tune and train with --tokens. */
hd_status cli_compress_llama(const cli_args *a, const char *tokens, const char *out, hd_err *err);
hd_status cli_tune_llama(const cli_args *a, const char *out, hd_err *err);
hd_status cli_train_llama(const cli_args *a, const char *out, hd_err *err);
/* cli_policy for a language model: solvers default to gptq, and sparsity without --block to single weights. */
hd_status cli_llama_policy(hd_policy *p, const cli_args *a, hd_err *err);
/* HD_USAGE when one of the options (a NULL ends the list) is given together with --tokens (`with`), or without it. */
hd_status cli_refuse(const cli_args *a, const char *const *names, int with, hd_err *err);
/* --masks and --score, or what is in *out. */
hd_status cli_masks(hd_masks *out, const cli_args *a, hd_err *err);
hd_status cli_score(hd_score *out, const cli_args *a, hd_err *err);

/* The policy of --policy, and over its base --weights, --grid, --block, --granularity and --sparsity, of those that the command has. Free
 * it also after a failure. */
hd_status cli_policy(hd_policy *p, const cli_args *a, hd_err *err);
/* Sizes of a compressed model and of its layers: as an object, and as a table on standard output. */
cJSON *cli_model_json(const hd_model *m, const char *out);
void cli_model_print(const hd_model *m, const char *out);

/* --clock, or the clock of --board (NULL where the command has none; the program must be for that board's array), or of the program's own board, or 48 MHz; basis: given, measured or assumed. */
typedef struct cli_clock {
    double hz;
    const char *basis;
} cli_clock;
hd_status cli_clock_choose(cli_clock *out, const cli_args *a, const hd_program *p, const char *board, hd_err *err);

/* What all points of heddle point and explore share: the operand, --calib, --images, --labels and the like. */
struct hd_study;
hd_status cli_study(struct hd_study *s, const cli_args *a, hd_err *err);
/* Their rows in a command's list of options. */
#define CLI_STUDY_OPTIONS                                                                                       \
    {"--calib", "X.idx", "inputs to calibrate on (Fashion-MNIST's training images, for the default network)"},  \
    {"--calib-count", "N", "how many of them at most (512)"},                                                   \
    {"--images", "X.idx", "inputs that accuracy is measured on (Fashion-MNIST's test images)"},                 \
    {"--labels", "Y.idx", "the right classes, bytes"},                                                          \
    {"--count", "N", "only the first N images, 0 = all (2000)"},                                                \
    {"--clock", "HZ", "clock for times (the board's)"},                                                         \
    {"--raw", NULL, "take bytes as they are; else they are divided by 255"},                                    \
    {"--hwc", NULL, "items are [height][width][channel], as TFLite has them; else [channel][height][width]"},   \
    {"--no-area", NULL, "synthesise nothing: no cells, no energy"}

/* --geometry or --board, one of them, and --memory: g, and the board's name in o. */
hd_status cli_geometry(hd_geometry *g, hd_lower_options *o, const cli_args *a, hd_err *err);

/* heddle compress with --budget-bytes, --budget-bpw or --budget-cycles (auto.c): was one given; an error for options that need one; the budget,
 * for so many dense weights; and the whole command for a network. */
int cli_has_budget(const cli_args *a);
hd_status cli_only_with_budget(const cli_args *a, hd_err *err);
hd_status cli_budget(uint64_t budget[HD_COSTS], const cli_args *a, double weights, hd_err *err);
hd_status cli_compress_budget(const cli_args *a, const hd_graph *g, const char *calib_path, int64_t samples, const char *out, hd_err *err);
/* Why each layer has its format: a table, and an object with all that was measured. */
void cli_auto_print(const hd_auto_problem *p, const hd_auto_result *r, const char *loss_name);
cJSON *cli_auto_json(const hd_auto_problem *p, const hd_auto_result *r, const char *loss_name);

/* The device of --device; HD_RANGE with the list of them. usb's where goes into o. */
hd_status cli_driver_find(const hd_driver **out, hd_device_options *o, const char *name, hd_err *err);

/* Prints the object with a newline and frees it. */
hd_status cli_json(cJSON *json, hd_err *err);
/* A file that some other code writes piece by piece: main removes it when the command fails. NULL takes the word back. */
void cli_partial(const char *path);
/* Fails with HD_IO now when `path` cannot be made later, so that no long work is done for nothing. */
hd_status cli_can_write(const char *path, hd_err *err);
#endif
