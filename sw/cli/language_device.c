/* The device, the cycles and the times of heddle generate and eval --device. */
#include "language_device.h"

#include <stdlib.h>
#include <string.h>

#include "../core/progress.h"
#include "../explore/boards.h"

hd_status cli_device_refuse(const cli_args *a, hd_err *err) {
    static const char *const names[] = {"--geometry", "--board", "--memory", "--clock", "--link"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (cli_text(a, names[i])) return hd_fail(err, HD_USAGE, "%s: %s goes with --device", a->command->name, names[i]);
    return HD_OK;
}

static hd_status read_geometry(hd_geometry *g, hd_lower_options *o, const cli_args *a, hd_err *err) {
    const char *memory = cli_text(a, "--memory");
    if (cli_text(a, "--geometry") || cli_text(a, "--board")) return cli_geometry(g, o, a, err);
    hd_status s = hd_geometry_parse(g, "4x8x8x2", err);
    if (!s && memory) s = hd_geometry_memory(g, memory, err);
    return s ? s : hd_geometry_check(g, err);
}

/* The board's UART at its highest rate and its clock; the accelerator is the exact model, whose times are the RTL's. */
static hd_status read_sysc(cli_device_model *d, const cli_args *a, const hd_geometry *g, const char *board, hd_err *err) {
    const char *link = cli_text(a, "--link");
    const hd_board *row = NULL;
    cli_clock clock;
    hd_program of_board = {.geometry = *g, .board = (char *)board};
    if (d->driver != &hd_driver_sysc) return link ? hd_fail(err, HD_USAGE, "%s: --link: only device sysc has one; found %s", a->command->name, d->driver->name) : HD_OK;
    hd_status s = cli_clock_choose(&clock, a, &of_board, NULL, err);
    if (!s && *board) s = hd_board_find(&row, board, err);
    d->sysc = (hd_sysc_options){.link = row ? HD_SYSC_UART : HD_SYSC_NONE, .exact = 1, .quantum = 1000};
    if (s) return s;
    d->sysc.clock_hz = clock.hz;
    if (row) d->sysc.bit_rate = hd_board_bit_rate(row, clock.hz, NULL);
    return link ? hd_sysc_link_parse(&d->sysc.link, link, err) : HD_OK;
}

static double sysc_seconds(const cli_device_model *d) {
    hd_sysc_times t;
    hd_sysc_times_read(&t, hd_lm_device_device(d->language));
    return t.input + t.run + t.output + t.other;
}

hd_status cli_device_open(cli_device_model *d, const cli_args *a, int most, hd_err *err) {
    hd_geometry g = {0};
    hd_lower_options o = {.board = ""};
    hd_device_options options = {0};
    uint32_t magic;
    hd_status s = cli_driver_find(&d->driver, &options, cli_text(a, "--device"), err);
    if (!s) s = read_geometry(&g, &o, a, err);
    if (!s) s = read_sysc(d, a, &g, o.board, err);
    options.sysc = &d->sysc;
    if (!s) s = cli_file_magic(&magic, a->operand, err);
    if (!s && magic != (uint32_t)HD_HLM_MAGIC)
        s = hd_fail(err, HD_FORMAT, "%s: no .hlm; --device takes a compressed model: heddle compress MODEL --tokens X.idx --weights 4 -o N.hlm", a->operand);
    if (!s) s = hd_lm_load(&d->lm, a->operand, err);
    if (s) return s;
    s = hd_lm_integer_new(&d->integer, d->lm, err);
    if (!s) s = hd_lm_device_open(&d->language, d->integer, &g, o.board, most, d->driver, &options, err);
    if (s) return hd_fail_in(err, a->operand);
    if (d->driver == &hd_driver_sysc) d->sysc_before = sysc_seconds(d);
    return HD_OK;
}

void cli_device_close(cli_device_model *d) {
    hd_lm_device_close(d->language);
    hd_lm_integer_free(d->integer);
    hd_lm_free(d->lm);
}

hd_status cli_device_project(void *arg, int run, const int8_t *codes, int tokens, int8_t *out, hd_err *err) {
    cli_device_model *d = arg;
    double start = hd_seconds();
    hd_status s = hd_lm_device_project(d->language, run, codes, tokens, out, err);
    d->seconds += hd_seconds() - start;
    return s ? s : hd_interrupted ? hd_fail(err, HD_INTERRUPTED, "stopped") : HD_OK;
}

hd_status cli_device_account(cli_device_model *d, int tokens, int wanted, hd_err *err) {
    if (d->driver == &hd_driver_sysc) {
        double now = sysc_seconds(d);
        /* The first step of one token also writes the descriptors for one position. */
        if (tokens == 1 && wanted == 1 && d->sysc_settled++) d->sysc_tokens_seconds += now - d->sysc_before, d->sysc_tokens++;
        d->sysc_before = now;
    }
    if (d->known.tokens != tokens || d->known.wanted != wanted) {
        hd_lm_device_use u;
        hd_status s = hd_lm_device_predict(&u, d->language, tokens, wanted, err);
        if (s) return s;
        d->known.tokens = tokens;
        d->known.wanted = wanted;
        d->known.cycles = u.cycles;
    }
    d->predicted += d->known.cycles;
    return HD_OK;
}

/* What a generated token costs. */
typedef struct figures {
    hd_lm_device_use used, token;
    const hd_program *p;
    cli_clock clock;
    double bit_rate, array, link, host; /* bit/s or 0; seconds of a token */
    uint64_t link_bytes;
    int as_predicted; /* -1: the device was not asked */
} figures;

static hd_status make_figures(figures *f, const cli_device_model *d, const cli_args *a, double host_seconds, hd_err *err) {
    enum { WORDS_FRAME = 30, RUN_FRAME = 26 }; /* bytes of request and reply around words, and of RUN: docs/link.md */
    const hd_board *board;
    hd_err unknown;
    *f = (figures){.p = hd_lm_device_program(d->language, 0), .host = host_seconds};
    hd_status s = cli_clock_choose(&f->clock, a, f->p, NULL, err);
    if (!s) s = hd_lm_device_predict(&f->token, d->language, 1, 1, err);
    if (s) return s;
    hd_lm_device_used(&f->used, d->language);
    f->as_predicted = !hd_lm_device_counts(d->driver) ? -1 : f->used.cycles == d->predicted;
    f->array = (double)f->token.cycles / f->clock.hz;
    f->link_bytes = 4 * (f->token.in_words + f->token.out_words + f->token.program_words) + WORDS_FRAME * f->token.frames + RUN_FRAME * f->token.runs;
    if (*f->p->board && !hd_board_find(&board, f->p->board, &unknown)) {
        f->bit_rate = hd_board_bit_rate(board, f->clock.hz, NULL);
        f->link = (double)f->link_bytes * 10 / f->bit_rate;
    }
    return HD_OK;
}

static const char *predicted_text(const figures *f) { return f->as_predicted < 0 ? "cycles not asked for" : f->as_predicted ? "cycles as predicted" : "CYCLES DIFFER from the prediction"; }

hd_status cli_device_print(FILE *to, const cli_device_model *d, const cli_args *a, double host_seconds, hd_err *err) {
    figures f;
    hd_status s = make_figures(&f, d, a, host_seconds, err);
    if (s) return s;
    const hd_geometry *g = &f.p->geometry;
    fprintf(to, "%s, %ux%ux%ux%u: %llu runs, %llu cycles; %s\n", d->driver->name, g->rows, g->cols, g->lanes, g->planes, (unsigned long long)f.used.runs,
            (unsigned long long)(f.as_predicted < 0 ? d->predicted : f.used.cycles), predicted_text(&f));
    if (host_seconds <= 0) return HD_OK;
    fprintf(to, "a token: %llu cycles in %llu runs, %.3f ms at %.3f MHz (%s clock) [simulated]", (unsigned long long)f.token.cycles, (unsigned long long)f.token.runs, 1e3 * f.array,
            f.clock.hz / 1e6, f.clock.basis);
    if (f.link > 0) fprintf(to, "; %llu bytes over UART at %.1f Mbit/s, %.3f ms [derived]", (unsigned long long)f.link_bytes, f.bit_rate / 1e6, 1e3 * f.link);
    fprintf(to, "; host %.3f ms [measured]\n", 1e3 * f.host);
    if (d->sysc_tokens)
        fprintf(to, "over the simulated link (%s): %.3f ms a token, array and link, without the host [simulated]\n", hd_sysc_link_name(d->sysc.link),
                1e3 * d->sysc_tokens_seconds / (double)d->sysc_tokens);
    fprintf(to, "tokens a second: %.1f by the array alone", 1 / f.array);
    if (f.link > 0) fprintf(to, ", %.1f with link", 1 / (f.array + f.link));
    fprintf(to, ", %.1f with %shost [derived]\n", 1 / (f.array + f.link + f.host), f.link > 0 ? "link and " : "");
    return HD_OK;
}

hd_status cli_device_json(cJSON *o, const cli_device_model *d, const cli_args *a, double host_seconds, hd_err *err) {
    figures f;
    char geometry[64];
    hd_status s = make_figures(&f, d, a, host_seconds, err);
    if (s) return s;
    const hd_geometry *g = &f.p->geometry;
    snprintf(geometry, sizeof geometry, "%ux%ux%ux%u", g->rows, g->cols, g->lanes, g->planes);
    cJSON_AddStringToObject(o, "device", d->driver->name);
    cJSON_AddStringToObject(o, "geometry", geometry);
    cJSON_AddStringToObject(o, "board", f.p->board);
    cJSON_AddNumberToObject(o, "runs", (double)f.used.runs);
    if (f.as_predicted >= 0) cJSON_AddNumberToObject(o, "cycles", (double)f.used.cycles);
    cJSON_AddNumberToObject(o, "predicted_cycles", (double)d->predicted);
    if (host_seconds <= 0) return HD_OK;
    cJSON *t = cJSON_AddObjectToObject(o, "token");
    cJSON_AddNumberToObject(t, "runs", (double)f.token.runs);
    cJSON_AddNumberToObject(t, "cycles", (double)f.token.cycles);
    cJSON_AddNumberToObject(t, "clock_hz", f.clock.hz);
    cJSON_AddStringToObject(t, "clock_basis", f.clock.basis);
    cJSON_AddNumberToObject(t, "array_ms", 1e3 * f.array);
    cJSON_AddNumberToObject(t, "code_bytes", 4 * (double)(f.token.in_words + f.token.out_words));
    cJSON_AddNumberToObject(t, "program_bytes", 4 * (double)f.token.program_words);
    cJSON_AddNumberToObject(t, "link_bytes", (double)f.link_bytes);
    if (f.link > 0) cJSON_AddNumberToObject(t, "bit_rate", f.bit_rate);
    if (f.link > 0) cJSON_AddNumberToObject(t, "link_ms", 1e3 * f.link);
    cJSON_AddNumberToObject(t, "host_ms", 1e3 * f.host);
    if (d->sysc_tokens) cJSON_AddStringToObject(t, "sysc_link", hd_sysc_link_name(d->sysc.link));
    if (d->sysc_tokens) cJSON_AddNumberToObject(t, "sysc_ms", 1e3 * d->sysc_tokens_seconds / (double)d->sysc_tokens);
    cJSON_AddNumberToObject(o, "tokens_per_second_array", 1 / f.array);
    if (f.link > 0) cJSON_AddNumberToObject(o, "tokens_per_second_array_link", 1 / (f.array + f.link));
    cJSON_AddNumberToObject(o, "tokens_per_second", 1 / (f.array + f.link + f.host));
    return HD_OK;
}
