/* The Verilated RTL in parts, for a platform that lets time pass beside it: d is a device of hd_driver_sim. */
#ifndef HD_SIM_H
#define HD_SIM_H
#include "driver.h"

/* Starts the program in memory. */
void hd_sim_start(hd_device *d);
/* Clocks up to `cycles`, fewer once the program is done; *clocked tells how many, *busy whether it goes on. HD_DEVICE when a rule of the external memory was broken. */
hd_status hd_sim_step(hd_device *d, uint64_t cycles, uint64_t *clocked, int *busy, hd_err *err);
/* Ends a program by a reset. */
void hd_sim_stop(hd_device *d);
#endif
