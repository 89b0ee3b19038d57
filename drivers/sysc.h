/* The SystemC platform as a device: a program behind a link, in simulated time. What the platform models: docs/simulation.md. */
#ifndef HD_SYSC_H
#define HD_SYSC_H
#include "../sim/sysc/sysc_api.h"
#include "driver.h"

typedef struct hd_sysc_options {
    enum hd_sysc_link link;
    double clock_hz;      /* of the board, 0 = 48 MHz */
    double bit_rate;      /* UART, bit/s, 0 = 12 Mbit/s */
    double host_seconds;  /* that the host takes for each answer */
    int exact;            /* the accelerator is ref with its exact cycles instead of the Verilated RTL */
    uint64_t quantum;     /* cycles, 0 = 1,000; 10 at least */
} hd_sysc_options;

/* Simulated seconds of a device since it was opened, by what they went to. */
typedef struct hd_sysc_times {
    double input, run, output, other; /* activations written, runs from request to answer, activations read, all else (the program, registers, counters) */
    uint64_t runs;
} hd_sysc_times;

/* d is a device of hd_driver_sysc. */
void hd_sysc_times_read(hd_sysc_times *out, const hd_device *d);
/* "none", "uart", "full", "high"; HD_RANGE names them. And the link in words. */
hd_status hd_sysc_link_parse(enum hd_sysc_link *out, const char *text, hd_err *err);
const char *hd_sysc_link_name(enum hd_sysc_link link);
#endif
