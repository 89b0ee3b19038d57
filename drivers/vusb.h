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
    uint64_t (*clocks)(hd_vboard *b); /* of a simulated board, so far; else NULL */
};

/* The Verilated board of geometry g (sim/board/virtual_board.v), built on first use. bit_rate: what its UART counts as; the simulation knows no time. */
struct hd_geometry;
hd_status hd_vboard_sim(hd_vboard **out, const struct hd_geometry *g, unsigned bit_rate, int quiet, hd_err *err);

/* A board that is a USB device by itself, at its lines: a simulated one, or a test's model. PIDs are those of USB 2.0, table 8-1. */
enum hd_vbus_pid {
    HD_PID_NONE = 0, HD_PID_OUT = 1, HD_PID_ACK = 2, HD_PID_DATA0 = 3, HD_PID_PING = 4, HD_PID_NYET = 6, HD_PID_IN = 9, HD_PID_NAK = 10, HD_PID_DATA1 = 11, HD_PID_SETUP = 13,
    HD_PID_STALL = 14
};
enum { HD_VBUS_PACKET = 512 }; /* bytes, at most */

typedef struct hd_vbus hd_vbus;
struct hd_vbus {
    /* A bus reset: 1 = the device is at high speed now, 0 = at full speed, -1 = there is none. It has address 0. */
    int (*reset)(hd_vbus *b);
    /* A transaction of the host: token (OUT, IN, SETUP, PING), for OUT and SETUP a packet of PID `data` with n bytes; for IN the packet's bytes come into `bytes`
     * (room for HD_VBUS_PACKET), *n of them, and were acknowledged. What the device answers, HD_PID_NONE if nothing sound was heard. */
    enum hd_vbus_pid (*transact)(hd_vbus *b, enum hd_vbus_pid token, unsigned address, unsigned endpoint, enum hd_vbus_pid data, uint8_t *bytes, size_t *n);
    /* Time passes without a transaction. */
    void (*idle)(hd_vbus *b, uint64_t clocks);
    int (*busy)(hd_vbus *b);                       /* something is under way behind the device: it may have bytes soon */
    hd_status (*check)(hd_vbus *b, hd_err *err);   /* HD_DEVICE when something broke a rule */
    uint64_t (*clocks)(hd_vbus *b);                /* of USB, so far */
    double hz;                                     /* of that clock */
    void (*close)(hd_vbus *b);
};

/* The Verilated board of geometry g with its own USB device, built on first use: full speed at two pins, or (ulpi) behind a ULPI transceiver. clock_hz: the board's. */
hd_status hd_vbus_sim(hd_vbus **out, const struct hd_geometry *g, int ulpi, unsigned clock_hz, int quiet, hd_err *err);

/* Of a transfer, as Linux numbers them: protocol error (three transactions without a sound answer), overflow (a packet larger than the rest of an IN transfer). */
enum hd_vusb_status { HD_VUSB_OK = 0, HD_VUSB_STALL = -32, HD_VUSB_ERROR = -71, HD_VUSB_OVERFLOW = -75, HD_VUSB_CANCELLED = -104, HD_VUSB_GONE = -108 };

/* What a server keeps for its client at most: transfers under way and their bytes, and as many bytes of answers that it did not take. More, and its connection ends. */
enum { HD_VUSB_MOST_TRANSFERS = 4096, HD_VUSB_MOST_WAITING = 1 << 26 };

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

/* The device on a bus, enumerated: transfers become transactions with toggles, retries and addresses, as a host controller makes them. Descriptors are the device's own.
 * Front ends reset it but set no address: SET_ADDRESS is taken and not passed on. Takes the bus. HD_DEVICE when nothing sound can be read from the device. */
hd_status hd_vusb_bus(hd_vusb **out, hd_vbus *bus, hd_err *err);
#endif
