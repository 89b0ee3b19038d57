/* Parts of suite explore. */
#ifndef HD_BENCH_EXPLORE_H
#define HD_BENCH_EXPLORE_H
#include "../../compiler/lower/program.h"
#include "bench.h"

/* The cycle model against the RTL: difference and speed. */
hd_status hd_bench_cycles(hd_figures *f, hd_err *err);
/* The program of the embedded network, all layers of `bits` bits, on an array; owned by the caller. */
hd_status hd_bench_fashion_program(hd_program **p, int bits, const char *geometry, hd_err *err);
/* A sweep of 200 points: how long it takes. Minutes, and the first time ten syntheses more. */
hd_status hd_bench_sweep(hd_figures *f, hd_err *err);
/* The SystemC platform: its speed beside the plain RTL, and its links beside the virtual board's. */
hd_status hd_bench_sysc(hd_figures *f, hd_err *err);
/* Payload written and read through the link's RTL, MB/s in the board's time (bench_usb.c). wire: 0 a UART of 12 Mbit/s (44.25 MHz; the others 48), 1 full-speed USB, 2 ULPI. */
hd_status hd_bench_wire(double mbps[2], int wire, hd_err *err);
#endif
