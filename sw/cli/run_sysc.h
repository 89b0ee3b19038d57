/* The device of heddle run, and what it has for sysc. */
#ifndef HD_CLI_RUN_SYSC_H
#define HD_CLI_RUN_SYSC_H
#include "../../drivers/sysc.h"
#include "cli.h"

/* --device, --bit-rate, --queue, --trace, and of sysc --link, --sysc-model, --host-us, --quantum, --clock; HD_USAGE when one is given for another device. *sysc has to live as
 * long as *o is used. p: the program that runs (its board's clock). */
hd_status cli_run_device(const hd_driver **driver, hd_device_options *o, hd_sysc_options *sysc, const cli_args *a, const hd_program *p, hd_err *err);
/* Latency and throughput after the runs. load: seconds in which the program was written. */
void cli_sysc_print(const hd_sysc_options *o, const hd_sysc_times *t, double load, const hd_program *p);
void cli_sysc_json(cJSON *o, const hd_sysc_options *options, const hd_sysc_times *t, double load);
#endif
