/* The host's side of docs/link.md over a pipe: memory writes and reads and runs, each executed once and in order whatever the pipe loses. */
#ifndef HD_LINK_HOST_H
#define HD_LINK_HOST_H
#include "../sw/contract/contract.h"
#include "pipe.h"

typedef struct hd_link hd_link;

typedef struct hd_link_statistics {
    uint64_t requests, resent, timeouts, damaged; /* frames sent; of them again; waits that ended without an answer; replies that were no frame */
} hd_link_statistics;

/* Takes the pipe (closed by hd_link_close, and here on failure) and synchronises: whatever ran on the board is ended. HD_DEVICE when
 * nothing answers. */
hd_status hd_link_open(hd_link **out, hd_pipe *pipe, hd_err *err);
void hd_link_close(hd_link *l);
/* n words to / from host word address `at` of `space`. Return when all of them are acknowledged. After a failure the words written so far
 * are unknown and the link is synchronised again by the next call. */
hd_status hd_link_write(hd_link *l, enum hd_space space, uint32_t at, const uint32_t *words, size_t n, hd_err *err);
hd_status hd_link_read(hd_link *l, enum hd_space space, uint32_t at, uint32_t *words, size_t n, hd_err *err);
/* Runs the program in the board's memories. *cycles is the register CYCLES of this run. HD_DEVICE after limit_ms, HD_INTERRUPTED after Ctrl-C: the
 * run is ended by a SYNC. */
hd_status hd_link_run(hd_link *l, unsigned limit_ms, uint32_t *cycles, hd_err *err);
const hd_link_statistics *hd_link_statistics_of(const hd_link *l);
#endif
