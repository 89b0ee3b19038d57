/* The client's side: what the server's poll and accept see. */
#define _GNU_SOURCE
#include "served.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

volatile int served_stop;
static const uint8_t *bytes;
static size_t left;
static int client = -1, met, waits;
static double seconds;

int __wrap_poll(struct pollfd *p, nfds_t n, int ms);
int __wrap_accept(int listener, struct sockaddr *address, socklen_t *length);
double __wrap_hd_seconds(void);

double __wrap_hd_seconds(void) { return seconds += 1e-3; }

void served_start(const uint8_t *data, size_t size) {
    bytes = data;
    left = size;
    met = waits = 0;
    served_stop = 0;
}

void served_end(void) {
    if (client >= 0) close(client);
    client = -1;
}

int __wrap_accept(int listener, struct sockaddr *address, socklen_t *length) {
    int pair[2];
    (void)listener, (void)address, (void)length;
    fuzz_expect(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "no sockets");
    client = pair[0];
    met = 1;
    return pair[1];
}

/* Each wait lets the client say one thing; when it has said all it goes away, and the server with it. */
int __wrap_poll(struct pollfd *p, nfds_t n, int ms) {
    char sink[4096];
    fuzz_expect(n == 1 && ms >= 0 && ms <= 50, "a wait of %d ms for %d sockets", ms, (int)n);
    p->revents = 0;
    if (client < 0 && !met) {
        p->revents = POLLIN;
        return 1;
    }
    while (client >= 0 && recv(client, sink, sizeof sink, MSG_DONTWAIT) > 0) continue;
    if (left) {
        size_t part = *bytes++;
        left--;
        if (part > left) part = left;
        if (client >= 0 && part && send(client, bytes, part, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) left = part; /* the server has hung up */
        bytes += part;
        left -= part;
    } else if (waits++ == 2 && client >= 0) {
        shutdown(client, SHUT_WR);
    } else if (waits > 6) {
        served_stop = 1;
    }
    p->revents = client >= 0 ? POLLIN : 0;
    struct pollfd real = {.fd = p->fd, .events = p->events};
    int ready = ppoll(&real, 1, &(struct timespec){0, 0}, NULL);
    p->revents = real.revents;
    return ready;
}

/* ---- the board */

typedef struct echo {
    hd_vboard base;
    int more;
} echo;

static hd_status step(hd_vboard *b, const uint8_t *in, size_t n, uint8_t *out, size_t size, size_t *got, hd_err *err) {
    (void)err;
    *got = n < size ? n : size;
    for (size_t i = 0; i < *got; i++) out[i] = (uint8_t)(in[i] ^ 0x55);
    ((echo *)b)->more = *got != 0;
    return HD_OK;
}

static int busy(hd_vboard *b) { return ((echo *)b)->more; }
static void close_board(hd_vboard *b) { free(b); }

hd_vusb *served_device(unsigned how) {
    hd_vusb *d = NULL;
    hd_err err = {0};
    echo *e = calloc(1, sizeof *e);
    fuzz_expect(e != NULL, "out of memory");
    e->base = (hd_vboard){.step = step, .busy = busy, .close = close_board, .bit_rate = 115200};
    fuzz_expect(!hd_vusb_ftdi(&d, &e->base, (int)(how & 1), "fuzz", "0", &err), "%s", err.message);
    return d;
}
