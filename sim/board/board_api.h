/* The C interface of a Verilated board (sim/board/virtual_board.v): bytes in and out of its UART pins. One shared object a geometry, made on first use, that exports
 * `hd_board_api_get`. */
#ifndef HD_BOARD_API_H
#define HD_BOARD_API_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HD_BOARD_API_VERSION = 1, HD_BOARD_CLOCKS_PER_BIT = 4 };

typedef struct hd_board_rtl hd_board_rtl;

typedef struct hd_board_api {
    uint32_t version; /* HD_BOARD_API_VERSION */
    hd_board_rtl *(*open)(void); /* after reset; NULL without memory */
    void (*close)(hd_board_rtl *b);
    /* Queues n bytes for the receive pin, then clocks up to `clocks`, fewer once nothing is under way any more (no byte on a pin, no run) or `size` bytes came from the
     * transmit pin. Returns how many came. */
    size_t (*step)(hd_board_rtl *b, const uint8_t *bytes, size_t n, uint8_t *out, size_t size, uint64_t clocks);
    int (*busy)(hd_board_rtl *b);             /* something is under way */
    const char *(*fault)(hd_board_rtl *b);    /* the rule of the external memory that was broken, or NULL */
    uint64_t (*clocks)(hd_board_rtl *b);      /* so far */
} hd_board_api;

typedef const hd_board_api *(*hd_board_api_get_fn)(void);

#ifdef __cplusplus
}
#endif
#endif
