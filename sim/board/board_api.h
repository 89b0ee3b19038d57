/* The C interface of a Verilated board (sim/board/virtual_board.v): bytes at its UART pins, or packets at its USB lines. One shared object for each geometry and link, made
 * on first use, that exports `hd_board_api_get`. */
#ifndef HD_BOARD_API_H
#define HD_BOARD_API_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The UART's: 12 Mbit/s at HX8K's 44.25 MHz. */
enum { HD_BOARD_API_VERSION = 2, HD_BOARD_CLOCKS_PER_64_BITS = 236 };

/* Parameter LINK of virtual_board.v. */
enum hd_board_link { HD_BOARD_UART = 0, HD_BOARD_FULL_SPEED = 1, HD_BOARD_ULPI = 2 };

typedef struct hd_board_rtl hd_board_rtl;

/* A transaction of USB as the host makes it; PIDs are those of USB 2.0, table 8-1. */
typedef struct hd_board_transaction {
    unsigned token, address, endpoint; /* token: OUT 1, IN 9, SETUP 13, PING 4 */
    unsigned data_pid;                 /* OUT, SETUP: DATA0 3 or DATA1 11 */
    uint8_t *bytes;                    /* OUT, SETUP: n of them. IN: room for a packet of 512 bytes; n is how many came */
    size_t n;
} hd_board_transaction;

typedef struct hd_board_api {
    uint32_t version; /* HD_BOARD_API_VERSION */
    uint32_t link;    /* enum hd_board_link */
    /* After reset; NULL without memory. clock_hz: of the board; USB's clock has its own. */
    hd_board_rtl *(*open)(unsigned clock_hz);
    void (*close)(hd_board_rtl *b);
    int (*busy)(hd_board_rtl *b);             /* something is under way */
    const char *(*fault)(hd_board_rtl *b);    /* the rule of the external memory or of USB that was broken, or NULL */
    uint64_t (*clocks)(hd_board_rtl *b);      /* of the board, so far */

    /* UART. Queues n bytes for the receive pin, then clocks up to `clocks`, fewer once nothing is under way any more (no byte on a pin, no run) or `size` bytes came from the
     * transmit pin. Returns how many came. */
    size_t (*step)(hd_board_rtl *b, const uint8_t *bytes, size_t n, uint8_t *out, size_t size, uint64_t clocks);

    /* USB. Frames begin where they are due, by themselves. */
    int (*bus_reset)(hd_board_rtl *b);        /* 1: the device is at high speed, 0: at full speed, -1: none is connected */
    /* The device's answer: ACK 2, NAK 10, STALL 14, NYET 6, for IN also DATA0 3 and DATA1 11 (which are acknowledged); 0 = nothing sound was heard. */
    unsigned (*transact)(hd_board_rtl *b, hd_board_transaction *t);
    void (*idle)(hd_board_rtl *b, uint64_t usb_clocks);
    uint64_t (*usb_clocks)(hd_board_rtl *b);  /* so far: of 48 MHz at full speed, 60 MHz behind ULPI */
} hd_board_api;

typedef const hd_board_api *(*hd_board_api_get_fn)(void);

#ifdef __cplusplus
}
#endif
#endif
