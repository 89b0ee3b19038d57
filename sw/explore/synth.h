/* Bitstreams of the boards: yosys, nextpnr and icepack or ecppack on the Verilog of hw/ and boards/NAME, with the geometry of boards/boards.def. */
#ifndef HD_SYNTH_H
#define HD_SYNTH_H
#include "boards.h"

enum { HD_SYNTH_USES = 12, HD_SYNTH_UNITS = 12, HD_SYNTH_SOURCES = 64, HD_SYNTH_PATH = 1024, HD_SYNTH_SEEDS = 32 };

typedef struct hd_synth_report {
    struct {
        char name[32]; /* as nextpnr calls it: ICESTORM_LC, ICESTORM_RAM, ICESTORM_DSP, ICESTORM_SPRAM; TRELLIS_COMB, DP16KD, ... */
        unsigned used, available;
    } use[HD_SYNTH_USES];
    int n_uses, cached;
    int placed;               /* 0: something does not fit; nothing below is set then */
    unsigned given_up;        /* seconds after which the placer was stopped, 0 = it ended by itself */
    double wanted_mhz, reached_mhz;
    double bit_rate;          /* of the UART, bit/s */
    double clocks_per_bit;    /* its, of clk */
    struct {
        char unit[48];        /* instance below the board, as u_core.u_fetch; "pins" and the like for others */
        double logic_ns, routing_ns;
    } path[HD_SYNTH_UNITS];   /* the longest path, unit by unit in its order */
    int n_path;
    unsigned seed;            /* of the placer: all of the above is this one's */
    struct {
        unsigned seed;
        double reached_mhz;   /* 0: not placed */
    } tried[HD_SYNTH_SEEDS];
    unsigned n_tried;
    /* In the cache. The folder has the tools' log, the script (synth.ys), the elaborated design (design.il), cells by kind (cells.json), netlist
     * (top.json) and placed design (top.asc, top.config). */
    char bitstream[1024], folder[1024];
} hd_synth_report;

typedef struct hd_synth_options {
    unsigned clock_hz; /* 0 = the board's */
    unsigned seed;     /* of the placer; 0 = the board's */
    unsigned seeds;    /* how many to try from that one on, up to HD_SYNTH_SEEDS, until one closes; the best is the result; 0 or 1: only that one */
    int quiet;         /* no progress */
    int usb;           /* the link at the FPGA's own USB pins instead of the UART; HD_UNSUPPORTED where a board has none */
    unsigned time_limit; /* seconds for the placer, 0 = as long as it takes; a longer limit than the last one tries again */
} hd_synth_options;

/* Makes the bitstream of geometry g for the board, or finds it in the cache. HD_OK with placed = 0 when the design does not fit, and with
 * reached_mhz < wanted_mhz when it is too slow: the caller decides what that means. HD_UNSUPPORTED for boards without a top or whose tools are
 * not known, HD_TOOL for missing tools and their failures, HD_INTERRUPTED after Ctrl-C; nothing is left behind then. */
hd_status hd_synth(hd_synth_report *out, const hd_board *board, const hd_geometry *g, const hd_synth_options *o, hd_err *err);

/* The Verilog files of a board's design, in the order in which they are read; a module that the board brings itself stands for the one of the
 * same file name in hw/. */
typedef struct hd_sources {
    char path[HD_SYNTH_SOURCES][HD_SYNTH_PATH];
    int n;
} hd_sources;

hd_status hd_synth_sources(hd_sources *s, const hd_board *board, hd_err *err);
/* Begins a script of yosys (room bytes, *used of them taken) that will run in folder `work`: the command that reads those files, through a link to the project's
 * folder that it makes there. */
hd_status hd_synth_read_verilog(char *script, size_t room, size_t *used, const hd_sources *s, const char *work, hd_err *err);

/* PLL of the iCE40 behind a 12 MHz oscillator: 12 MHz * (divf + 1) / 2^divq, the oscillator inside at 533 to 1066 MHz. Nearest to hz;
 * the frequency that results, 0 when hz is out of range (16 to 275 MHz). */
double hd_synth_pll(unsigned hz, unsigned *divf, unsigned *divq);
/* PLL of the ECP5 behind a 25 MHz oscillator: 25 MHz * feedback / in, the oscillator inside, out times that, at 400 to 800 MHz. The same for 10 to 400 MHz. */
double hd_synth_pll_ecp5(unsigned hz, unsigned *in, unsigned *feedback, unsigned *out);
#endif
