/* A virtual USB device: what the front ends (USB/IP server, ...) present to a host, and what stands behind it. */
#ifndef HD_VUSB_H
#define HD_VUSB_H
#include <stddef.h>
#include <stdint.h>

#include "../sw/core/err.h"

/* Whatever carries the board's bytes: a simulated board behind its UART pins, or a test's model. */
typedef struct hd_vboard hd_vboard;
struct hd_vboard {
    /* Gives the board n bytes and lets it work a while; takes what it sent meanwhile (up to size bytes, *got of them). Never waits for anything outside. */
    hd_status (*step)(hd_vboard *b, const uint8_t *bytes, size_t n, uint8_t *out, size_t size, size_t *got, hd_err *err);
    int (*busy)(hd_vboard *b); /* something is under way: step again soon; else it may sleep until there are bytes */
    void (*close)(hd_vboard *b);
    unsigned bit_rate;         /* of its UART */
};

/* The Verilated board of geometry g (sim/board/virtual_board.v), built on first use. bit_rate: what its UART counts as; the simulation knows no time. */
struct hd_geometry;
hd_status hd_vboard_sim(hd_vboard **out, const struct hd_geometry *g, unsigned bit_rate, int quiet, hd_err *err);

enum hd_vusb_status { HD_VUSB_OK = 0, HD_VUSB_STALL = -32, HD_VUSB_CANCELLED = -104, HD_VUSB_GONE = -108 };

/* One transfer, owned by the front end until it is finished. */
typedef struct hd_vusb_transfer {
    uint8_t endpoint;   /* with the direction in bit 7; 0 and 0x80: control */
    uint8_t setup[8];   /* control */
    uint8_t *bytes;
    size_t length, actual;
    int status;         /* enum hd_vusb_status */
    void *owner;        /* the front end's */
    struct hd_vusb_transfer *next;
} hd_vusb_transfer;

typedef struct hd_vusb hd_vusb;
struct hd_vusb {
    const uint8_t *device, *config; /* descriptors; config is whole (wTotalLength bytes) */
    int high_speed;
    void (*submit)(hd_vusb *d, hd_vusb_transfer *t);
    /* Takes back a transfer that is not finished (1), or says that it is (0). */
    int (*cancel)(hd_vusb *d, hd_vusb_transfer *t);
    /* The next finished transfer, or NULL. */
    hd_vusb_transfer *(*finished)(hd_vusb *d);
    /* Lets the board work. *idle_ms: nothing will finish for so long unless something is submitted (0 = call again at once). */
    hd_status (*work)(hd_vusb *d, unsigned *idle_ms, hd_err *err);
    void (*reset)(hd_vusb *d);
    void (*close)(hd_vusb *d); /* with its board */
};

/* An FTDI bridge, FT2232H (h = 1; the board hangs on port B) or FT231X, with its vendor requests, status bytes, latency timer and 4 KiB (512 B) of buffers. Takes the
 * board. A host that sets another bit rate than the board's gets garbage, as from the wire. serial: up to 31 characters, copied. */
hd_status hd_vusb_ftdi(hd_vusb **out, hd_vboard *board, int h, const char *product, const char *serial, hd_err *err);
#endif
