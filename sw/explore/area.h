/* What Verilog takes of an FPGA: cells by yosys, logic cells as nextpnr packs them, the clock that it reaches. */
#ifndef HD_AREA_H
#define HD_AREA_H
#include "synth.h"

typedef struct hd_area {
    unsigned lut4, ff, carry; /* carry: SB_CARRY, or CCU2C (two LUT4 each) */
    unsigned ram, spram, dsp;
    /* iCE40: logic cells as packed, 0 where nextpnr-ice40 is absent. ECP5: LUT4 + 2 CCU2C. */
    unsigned cells;
    double mhz; /* 0 = not placed */
} hd_area;

/* The cells of a design that hd_synth made, placed or not; `cells` and mhz are those of the whole device. */
hd_status hd_area_design(hd_area *out, const hd_synth_report *r, const hd_board *board, hd_err *err);

/* The module `unit` of that design alone, with the parameters it has there (the first of them if there are several of that name): synthesised with the
 * design's own options and packed, without pins and place. Kept in the cache. HD_TOOL when yosys fails, takes longer than half an hour, or the design has
 * no such module. */
hd_status hd_area_unit(hd_area *out, const hd_synth_report *r, const hd_board *board, const char *unit, hd_err *err);

/* What every board carries (boards/common/heddle_board.v: accelerator, link, reset) with geometry g and the memories of a fixed, small depth, for the FPGA of `board`:
 * unit by unit, which takes a third of the time of one flat design, counts LUT4 1 to 3% and flip-flops about a tenth higher than that, and is packed like it. The same for
 * all networks and compressions. ram is that of those depths: `depths` has them. Kept in the cache; one process at a time makes it. HD_TOOL without yosys. */
hd_status hd_area_board(hd_area *out, hd_geometry *depths, const hd_board *board, const hd_geometry *g, hd_err *err);

/* `rows` x `columns` processing elements, LANES x PLANES, with drain. As in the array, weights come from block RAM, a word a column, and activations from registers, a word
 * a row: the difference of two numbers of columns is PEs alone, and what rows share of a column is shared. For the FPGA of `board` and with its own modules; mhz above
 * 0 places it and asks for so much (iCE40 only). Kept in the cache. */
hd_status hd_area_grid(hd_area *out, const hd_board *board, unsigned rows, unsigned columns, unsigned lanes, unsigned planes, unsigned acc_bits, double mhz, hd_err *err);
#endif
