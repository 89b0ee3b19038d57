/* What heddle run has for device sysc. */
#ifndef HD_CLI_RUN_SYSC_H
#define HD_CLI_RUN_SYSC_H
#include "../../drivers/sysc.h"
#include "cli.h"

/* --link, --sysc-model, --host-us, --quantum, --clock; HD_USAGE when one is given for another device. */
hd_status cli_sysc_options(hd_sysc_options *o, const cli_args *a, const hd_program *p, const char *device, int64_t bit_rate, hd_err *err);
/* Latency and throughput after the runs. load: seconds in which the program was written. */
void cli_sysc_print(const hd_sysc_options *o, const hd_sysc_times *t, double load, const hd_program *p);
void cli_sysc_json(cJSON *o, const hd_sysc_options *options, const hd_sysc_times *t, double load);
#endif
