/* Random programs on a board that `heddle serve` serves, through USB/IP, the virtual bridge and the UART pins, or the RTL's own USB device, and the RTL, against the instruction-level model:
 * outputs, the whole activation memory and the cycles. served PORT h|x|n GEOMETRY:MEMORY COUNT; h and x are FTDI bridges,
 * n is the board's own USB device. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../drivers/link.h"
#include "../../sw/runtime/runtime.h"
#include "../support/random_model.h"
#include "usbip_client.h"

struct hd_device {
    hd_link *link;
};
static unsigned port;
static enum client_kind kind;

static hd_status served_open(hd_device **out, const hd_geometry *g, const hd_device_options *o, hd_err *err) {
    (void)g, (void)o;
    *out = calloc(1, sizeof **out);
    if (!*out) abort();
    return hd_link_open(&(*out)->link, client_pipe_open(port, kind), err);
}
static void served_close(hd_device *d) {
    if (d) hd_link_close(d->link);
    free(d);
}
static hd_status served_write(hd_device *d, enum hd_space space, uint32_t at, const uint32_t *words, size_t n, hd_err *err) {
    return hd_link_write(d->link, space, at, words, n, err);
}
static hd_status served_read(hd_device *d, enum hd_space space, uint32_t at, uint32_t *words, size_t n, hd_err *err) {
    return hd_link_read(d->link, space, at, words, n, err);
}
static hd_status served_run(hd_device *d, uint64_t limit, hd_err *err) {
    (void)limit;
    uint32_t cycles;
    return hd_link_run(d->link, 60000, &cycles, err);
}
static const hd_driver served = {"served", "", served_open, served_close, served_write, served_read, served_run, NULL};

typedef struct result {
    int8_t *output;
    uint32_t *memory;
    uint64_t cycles;
} result;

static hd_status once(result *r, const hd_driver *driver, const hd_program *p, const int8_t *input, size_t words, hd_err *err) {
    hd_session *s = NULL;
    hd_status st = hd_session_open(&s, p, driver, NULL, err);
    if (!st) st = hd_session_run(s, input, r->output, err);
    if (!st) st = hd_session_cycles(s, &r->cycles, err);
    if (!st) st = hd_session_memory(s, r->memory, words, err);
    hd_session_close(s);
    return st;
}

/* 1 when both agree. Memory that no layer writes holds what was there before, so only the output's words are compared outside of it by value. */
static int agree(const hd_program *p, const hd_qtensor *in, uint64_t seed, hd_err *err) {
    size_t words = (size_t)p->geometry.act_words * p->geometry.lanes / 4, bytes = (size_t)p->output.h * p->output.w * p->output.c;
    result a = {malloc(bytes), malloc(4 * words), 0}, b = {malloc(bytes), malloc(4 * words), 0};
    int8_t *input = malloc((size_t)in->h * (size_t)in->w * (size_t)in->c);
    if (!a.output || !a.memory || !b.output || !b.memory || !input) abort();
    hd_random_codes(in, seed, input);
    int same = !once(&a, &hd_driver_ref, p, input, words, err) && !once(&b, &served, p, input, words, err);
    same = same && !memcmp(a.output, b.output, bytes) && a.cycles == b.cycles;
    if (same) printf("seed %" PRIu64 ": %zu bytes, %" PRIu64 " cycles\n", seed, bytes, a.cycles);
    else fprintf(stderr, "seed %" PRIu64 ": differs (%" PRIu64 " cycles, predicted %" PRIu64 ") %s\n", seed, b.cycles, a.cycles, err->message);
    free(a.output), free(a.memory), free(b.output), free(b.memory), free(input);
    return same;
}

int main(int argc, char **argv) {
    hd_err err = {0};
    hd_geometry g;
    char shape[32];
    const char *memory = argc == 5 ? strchr(argv[3], ':') : NULL;
    if (!memory) return fprintf(stderr, "usage: served PORT h|x|n GEOMETRY:MEMORY COUNT\n"), 2;
    port = (unsigned)atoi(argv[1]);
    kind = *argv[2] == 'h' ? CLIENT_FT2232H : *argv[2] == 'x' ? CLIENT_FT231X : CLIENT_NATIVE;
    snprintf(shape, sizeof shape, "%.*s", (int)(memory - argv[3]), argv[3]);
    if (hd_geometry_parse(&g, shape, &err) || hd_geometry_memory(&g, memory + 1, &err)) return fprintf(stderr, "%s\n", err.message), 2;
    int count = atoi(argv[4]), found = 0;
    for (uint64_t seed = 1; found < count && seed < 2000; seed++) {
        hd_model *m = NULL;
        hd_program *p = NULL;
        hd_lower_options o = {.board = "", .expand_input = -1};
        hd_status st = hd_random_model(&m, seed, &err);
        if (!st) st = hd_lower(&p, m, &g, &o, &err);
        int right = st || agree(p, &m->tensor[m->input], seed, &err);
        found += !st;
        hd_program_free(p);
        hd_model_free(m);
        if (!right || (st && st != HD_NOFIT)) return fprintf(stderr, "seed %" PRIu64 ": %s\n", seed, err.message), 1;
    }
    return found < count;
}
