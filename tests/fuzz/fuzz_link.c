/* The host's side of the link over a pipe in memory, whose board lies as the input says: reads, writes and runs end, with an error or without. */
#include <stdlib.h>
#include <string.h>

#include "../../drivers/link.h"
#include "fuzz.h"
#include "liar.h"

enum { OPERATIONS = 8, WORDS = 2200 };

typedef struct pipe {
    hd_pipe base;
    liar *board;
} pipe;

static hd_status gone(pipe *p, hd_err *err) { return p->board->gone ? hd_fail(err, HD_DEVICE, "fuzz: unplugged") : HD_OK; }

static hd_status put(hd_pipe *base, const void *bytes, size_t n, hd_err *err) {
    pipe *p = (pipe *)base;
    liar_put(p->board, bytes, n);
    return gone(p, err);
}

static hd_status flush(hd_pipe *base, hd_err *err) { return gone((pipe *)base, err); }

static hd_status get(hd_pipe *base, void *bytes, size_t size, size_t *got, unsigned timeout_ms, hd_err *err) {
    pipe *p = (pipe *)base;
    fuzz_expect(size > 0, "a read of no bytes");
    *got = liar_get(p->board, bytes, size, 1e-3 * timeout_ms);
    base->faults += (uint64_t)p->board->faults;
    p->board->faults = 0;
    return gone(p, err);
}

static hd_status purge(hd_pipe *base, hd_err *err) {
    pipe *p = (pipe *)base;
    p->board->n = 0;
    return gone(p, err);
}

static void close_pipe(hd_pipe *base) { free(base); }
static double now(hd_pipe *base) { return ((pipe *)base)->board->time; }

static hd_status next_rate(hd_pipe *base, hd_err *err) { return gone((pipe *)base, err); }

static void session(hd_link *l, script *s) {
    uint32_t *words = calloc(WORDS, sizeof *words), cycles;
    fuzz_expect(words != NULL, "out of memory");
    for (int i = 0; i < OPERATIONS; i++) {
        hd_err err = {0};
        unsigned op = script_byte(s), space = op >> 2 & 7, n = (op >> 5) * (op >> 5) * 40u + 1, at = script_short(s);
        hd_status st = (op & 3) == 0 ? hd_link_read(l, (enum hd_space)space, at, words, n, &err)
                       : (op & 3) == 1 ? hd_link_write(l, (enum hd_space)space, at, words, n, &err) : (op & 3) == 2 ? hd_link_run(l, 1 + at % 2000, &cycles, &err) : HD_OK;
        fuzz_expect(st == HD_OK || (st == err.code && err.message[0]), "status %d without a message", (int)st);
    }
    free(words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    script s = {data, size, 0};
    hd_link *l = NULL;
    hd_err err = {0};
    unsigned how = script_byte(&s);
    liar *board = liar_new(&s);
    pipe *p = calloc(1, sizeof *p);
    fuzz_expect(p != NULL, "out of memory");
    board->babbles = how >> 7 & 1;
    p->board = board;
    p->base = (hd_pipe){.put = put, .flush = flush, .get = get, .purge = purge, .close = close_pipe, .now = now, .name = "fuzz", .can_wait = (int)(how & 1),
                        .bytes_per_second = 1e5, .latency_ms = 2, .patience_ms = 100, .next_rate = how & 2 ? next_rate : NULL, .rates = 2};
    if (FUZZ_GOOD(hd_link_open(&l, &p->base, &err), &err, l)) session(l, &s);
    hd_link_close(l);
    liar_free(board);
    return 0;
}
