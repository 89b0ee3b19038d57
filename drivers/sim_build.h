/* Builds the Verilated model of a geometry, once: a shared object in the cache, named by all that decides it (RTL sources,
 * parameters, variant, compiler, Verilator, processor). */
#ifndef HD_SIM_BUILD_H
#define HD_SIM_BUILD_H
#include <stddef.h>

#include "driver.h"

/* Path of the model's shared object (n bytes), built if need be, with a progress line on a terminal unless o->quiet. */
hd_status hd_sim_build(char *path, size_t n, const hd_geometry *g, const hd_device_options *o, hd_err *err);
/* The same for a board with a link (enum hd_board_link), sim/board/board_api.h. */
hd_status hd_sim_build_board(char *path, size_t n, const hd_geometry *g, unsigned link, int quiet, hd_err *err);
/* Whether the tools are there: 0 with the reason in `why`. */
int hd_sim_tools(char *why, size_t n);
#endif
