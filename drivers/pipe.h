/* A pipe of bytes to a board: what the link (docs/link.md) needs of USB endpoints, of a serial bridge behind USB, or of a socket.
 *
 * A pipe may lose, damage or repeat bytes; the link finds out. What a pipe must not do is block without end. After HD_DEVICE ("the device went
 * away") every call fails the same way, and only close is left. A fault that the pipe has recovered from by itself (a stall cleared, an overrun of
 * the bridge) is counted in `faults`, so that the link asks again at once instead of waiting for its time-out. One thread at a time. */
#ifndef HD_PIPE_H
#define HD_PIPE_H
#include <stddef.h>
#include <stdint.h>

#include "../sw/core/err.h"

typedef struct hd_pipe hd_pipe;

struct hd_pipe {
    /* Takes n bytes to be sent, soon or at `flush`. Returns when they are taken, not when they are sent; HD_DEVICE if the pipe took nothing for
     * `patience_ms`. */
    hd_status (*put)(hd_pipe *p, const void *bytes, size_t n, hd_err *err);
    hd_status (*flush)(hd_pipe *p, hd_err *err);
    /* Waits for bytes up to timeout_ms; 1..size bytes, or *got = 0 when none came or `faults` went up. */
    hd_status (*get)(hd_pipe *p, void *bytes, size_t size, size_t *got, unsigned timeout_ms, hd_err *err);
    /* Forgets what was received and not read. */
    hd_status (*purge)(hd_pipe *p, hd_err *err);
    void (*close)(hd_pipe *p); /* frees p */
    double (*now)(hd_pipe *p); /* seconds of the pipe's own clock, where that is not the wall's (a simulated board); else NULL */

    const char *name;          /* for messages: "0403:6010 at 1-4", owned by the pipe */
    int can_wait;              /* the other side can hold this pipe back (USB endpoints); a UART without flow control cannot */
    double bytes_per_second;   /* of the wire, for time-outs */
    unsigned latency_ms;       /* of a byte there and one back, at worst */
    unsigned patience_ms;
    uint64_t faults;           /* recovered so far */
    /* Sets the wire's next usual bit rate, round and round; `rates` of them. NULL where the rate is known. */
    hd_status (*next_rate)(hd_pipe *p, hd_err *err);
    unsigned rates;
};
#endif
