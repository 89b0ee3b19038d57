/* Writes what a host does to run random programs on a board, and what it must read, as lines for board_bench.cpp:
 *   W space address n words...    R cycles    C space address n words...
 * Every word to compare and the cycles are the instruction-level model's. Programs are those of seeds FIRST and up that the geometry holds.
 * With external memory each program lies at a row and, where there is room, behind a descriptor of its own, and register START names them.
 * board_script GEOMETRY:MEMORY FIRST COUNT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/runtime/runtime.h"
#include "../support/random_model.h"

/* The model as a device that tells what is done to it. */
static hd_device *model;
static uint64_t last_cycles;
static uint32_t first_row, first_desc; /* where the program lies */

/* Where a word of the program lies that a session puts at `at`. */
static uint32_t moved(enum hd_space space, uint32_t at) {
    return space == HD_SPACE_WEIGHT ? at + first_row * 256 : space == HD_SPACE_DESC ? at + first_desc * HD_DESC_STRIDE : space == HD_SPACE_PERF ? at + first_desc * HD_PERF_WORDS : at;
}

static void print_words(char kind, enum hd_space space, uint32_t at, const uint32_t *words, size_t n) {
    /* Frames of at most 64 words: short enough to keep the test short after an error, long enough to see many words in one. */
    for (size_t i = 0; i < n; i += 64) {
        size_t part = n - i < 64 ? n - i : 64;
        printf("%c %d %zu %zu", kind, (int)space, at + i, part);
        for (size_t k = 0; k < part; k++) printf(" %" PRIx32, words[i + k]);
        printf("\n");
    }
}

static hd_status script_open(hd_device **out, const hd_geometry *g, const hd_device_options *o, hd_err *err) {
    hd_status st = hd_driver_ref.open(&model, g, o, err);
    *out = model;
    return st;
}

static hd_status script_write(hd_device *d, enum hd_space space, uint32_t at, const uint32_t *words, size_t n, hd_err *err) {
    at = moved(space, at);
    print_words('W', space, at, words, n);
    return hd_driver_ref.write(d, space, at, words, n, err);
}

static hd_status script_read(hd_device *d, enum hd_space space, uint32_t at, uint32_t *words, size_t n, hd_err *err) {
    at = moved(space, at);
    hd_status st = hd_driver_ref.read(d, space, at, words, n, err);
    if (!st && space != HD_SPACE_REG) print_words('C', space, at, words, n);
    return st;
}

static hd_status script_run(hd_device *d, uint64_t max_cycles, hd_err *err) {
    uint32_t cycles = 0;
    hd_status st = hd_driver_ref.run(d, max_cycles, err);
    if (!st) st = hd_driver_ref.read(d, HD_SPACE_REG, HD_REG_CYCLES, &cycles, 1, err);
    last_cycles = cycles;
    if (!st) printf("R %" PRIu32 "\n", cycles);
    return st;
}

static void script_close(hd_device *d) { hd_driver_ref.close(d); }

static const hd_driver script = {"script", "", script_open, script_close, script_write, script_read, script_run, NULL};

static hd_status one(const hd_program *p, const hd_qtensor *in, uint64_t seed, hd_err *err) {
    hd_session *s = NULL;
    size_t words = (size_t)p->geometry.act_words * p->geometry.lanes / 4;
    uint32_t *external = calloc(p->n_extern + 1, sizeof *external), *memory = calloc(words, sizeof *memory), *perf = calloc(p->n_desc, HD_PERF_WORDS * sizeof *perf);
    int8_t *input = malloc((size_t)in->h * (size_t)in->w * (size_t)in->c), *output = malloc((size_t)p->output.h * p->output.w * p->output.c);
    hd_status st = external && memory && perf && input && output ? HD_OK : hd_fail(err, HD_NOMEM, "out of memory");
    const hd_geometry *g = &p->geometry;
    if (g->extern_log2) {
        first_row = (uint32_t)(seed % (((UINT64_C(1) << g->extern_log2) - p->n_extern) / 256 + 1));
        first_desc = (uint32_t)(seed % (g->descriptors - p->n_desc + 1));
    }
    if (!st) st = hd_session_open(&s, p, &script, NULL, err);
    const uint32_t start = first_desc | first_row << 16;
    if (!st && g->extern_log2) st = script_write(model, HD_SPACE_REG, HD_REG_START, &start, 1, err);
    /* What was written to external memory can be read there. */
    if (!st && p->n_extern) st = script_read(model, HD_SPACE_WEIGHT, 0, external, p->n_extern, err);
    /* The program before left its activations. */
    if (!st) st = script_write(model, HD_SPACE_ACT, 0, memory, words, err);
    if (!st) {
        hd_random_codes(in, seed, input);
        st = hd_session_run(s, input, output, err);
    }
    if (!st) st = hd_session_memory(s, memory, words, err);
    if (!st && p->geometry.perf) st = hd_session_perf(s, perf, err); /* the model tells counters that hardware without them does not have */
    hd_session_close(s);
    free(external);
    free(memory);
    free(perf);
    free(input);
    free(output);
    return st;
}

int main(int argc, char **argv) {
    hd_err err = {0};
    hd_geometry g;
    char shape[32];
    const char *memory = argc == 4 ? strchr(argv[1], ':') : NULL;
    if (!memory) return fprintf(stderr, "usage: board_script GEOMETRY:MEMORY FIRST COUNT\n"), 2;
    snprintf(shape, sizeof shape, "%.*s", (int)(memory - argv[1]), argv[1]);
    if (hd_geometry_parse(&g, shape, &err) || hd_geometry_memory(&g, memory + 1, &err)) return fprintf(stderr, "%s\n", err.message), 2;
    uint64_t first = strtoull(argv[2], NULL, 10);
    int count = atoi(argv[3]), found = 0;
    for (uint64_t seed = first; found < count && seed < first + 2000; seed++) {
        hd_model *m = NULL;
        hd_program *p = NULL;
        hd_lower_options o = {.board = "", .expand_input = -1};
        hd_status st = hd_random_model(&m, seed, &err);
        if (!st) st = hd_lower(&p, m, &g, &o, &err);
        if (!st) {
            printf("# seed %" PRIu64 "\n", seed);
            st = one(p, &m->tensor[m->input], seed, &err);
            found++;
        }
        hd_program_free(p);
        hd_model_free(m);
        if (st && st != HD_NOFIT) return fprintf(stderr, "seed %" PRIu64 ": %s\n", seed, err.message), 1;
    }
    if (found < count) return fprintf(stderr, "only %d programs fit\n", found), 1;
    return 0;
}
