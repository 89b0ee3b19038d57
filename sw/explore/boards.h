/* Boards by name, and their FPGAs: boards/boards.def and boards/fpgas.def as C rows. */
#ifndef HD_BOARDS_H
#define HD_BOARDS_H
#include <stddef.h>

#include "../../compiler/lower/program.h"

typedef struct hd_board {
    const char *name, *title, *fpga;
    const char *geometry, *memory; /* texts for hd_geometry_parse and hd_geometry_memory */
    unsigned ram_kbit;             /* block RAM of the FPGA */
    unsigned spram_kbit;           /* large single-port RAM of the FPGA, 0 = none */
    unsigned clock_hz;
    unsigned bit_rate;             /* highest of its serial bridge, bit/s */
    unsigned seed;                 /* the placer's, with which the clock was measured; 1 where none was */
    int clock_assumed;             /* 1 until a placed design measured it */
    const char *clock_basis;       /* where the clock comes from, in words */
} hd_board;

typedef enum hd_fpga_family { HD_FPGA_ICE40, HD_FPGA_ECP5, HD_FPGA_FAMILIES } hd_fpga_family;

typedef struct hd_fpga {
    const char *name;
    hd_fpga_family family;
    const char *synth, *yosys_device;     /* yosys' command for a whole board; its device, "" where a family has none */
    const char *place_device, *package;   /* nextpnr's */
    unsigned cells, dsp;                  /* LUT4, on iCE40 with a flip-flop each; multipliers */
    double static_w, toggle_pj, low, high; /* of energy.c; low, high: factors on static_w */
} hd_fpga;

const hd_fpga *hd_fpgas(size_t *count);
/* The board's, NULL when boards/fpgas.def has no row for it. */
const hd_fpga *hd_board_fpga(const hd_board *board);
/* The board has an FPGA of that family. */
int hd_board_is(const hd_board *board, hd_fpga_family family);
const hd_board *hd_boards(size_t *count);
/* All names, "icebreaker, hx8k, ...", into out (n bytes), for help and messages. */
void hd_board_names(char *out, size_t n);
/* HD_RANGE with the list of names when there is none. */
hd_status hd_board_find(const hd_board **out, const char *name, hd_err *err);
hd_status hd_board_geometry(hd_geometry *g, const hd_board *board, hd_err *err);
/* How far the bits of the bridge may be off from those of hw/link's UART, in both directions, without the loss of a byte: relative to a bit of clocks_per_64_bits / 64
 * clocks, down to *shortest (0.97) and up to *longest (1.03). docs/link.md, "UART". */
void hd_uart_tolerance(unsigned clocks_per_64_bits, double *shortest, double *longest);
/* The highest of the contract's bit rates that the bridge has and that the UART carries at clock_hz with clocks that are 2% apart. *clocks_per_64_bits (may be NULL) is the
 * UART's parameter. Returns the rate that results, bit/s. */
double hd_board_bit_rate(const hd_board *board, double clock_hz, unsigned *clocks_per_64_bits);
#endif
