/* heddle generate and eval with --device: a compressed language model in integers, its matrices on an array. docs/language.md. */
#ifndef CLI_LANGUAGE_DEVICE_H
#define CLI_LANGUAGE_DEVICE_H
#include <stdio.h>

#include "../../drivers/sysc.h"
#include "../runtime/lm_device.h"
#include "cli.h"

#define CLI_LANGUAGE_OPTIONS \
    {"--device", "NAME", "MODEL is an .hlm: its matrices run on ref, sim, sysc or usb, all else in integers (on the host, in floats)"}, \
    {"--geometry", "RxCxLxP", "with --device: the array (4x8x8x2)"}, \
    {"--board", "NAME", "a board of boards/boards.def instead"}, \
    {"--memory", "LIST", "memories of the geometry, as for compile"}, \
    {"--clock", "HZ", "with --device: the clock that times are told at (the board's, else 48 MHz, assumed)"}, \
    {"--link", "LINK", "of device sysc: none, uart, full or high, as for run (the board's UART, else none)"}

typedef struct cli_device_model {
    hd_lm *lm;
    hd_lm_integer *integer;
    hd_lm_device *language;
    const hd_driver *driver;
    double seconds;        /* in the device, measured */
    uint64_t predicted;    /* cycles of what has run */
    hd_sysc_options sysc;  /* of device sysc */
    double sysc_before, sysc_tokens_seconds; /* simulated seconds up to the step before, and of all steps of one token */
    uint64_t sysc_tokens;  /* these steps, without the first */
    int sysc_settled;
    struct { int tokens, wanted; uint64_t cycles; } known; /* of the step predicted last */
} cli_device_model;

/* HD_USAGE for the options above without --device. */
hd_status cli_device_refuse(const cli_args *a, hd_err *err);
/* Loads a->operand, compiles it for the array, opens the device with steps of up to `most` tokens. Close it also after a failure. */
hd_status cli_device_open(cli_device_model *d, const cli_args *a, int most, hd_err *err);
void cli_device_close(cli_device_model *d);
/* hd_lm_project with the time it takes; arg is the cli_device_model. */
hd_status cli_device_project(void *arg, int run, const int8_t *codes, int tokens, int8_t *out, hd_err *err);
/* After a step: adds what it is predicted to take, and what it took in simulated time. */
hd_status cli_device_account(cli_device_model *d, int tokens, int wanted, hd_err *err);
/* Cycles, and what a generated token costs on array, link and host (host_seconds: of a token, measured), as text on `to` or in the object. */
hd_status cli_device_print(FILE *to, const cli_device_model *d, const cli_args *a, double host_seconds, hd_err *err);
hd_status cli_device_json(cJSON *o, const cli_device_model *d, const cli_args *a, double host_seconds, hd_err *err);
#endif
