/* Parts of suite explore. */
#ifndef HD_BENCH_EXPLORE_H
#define HD_BENCH_EXPLORE_H
#include "bench.h"

/* The cycle model against the RTL: difference and speed. */
hd_status hd_bench_cycles(hd_figures *f, hd_err *err);
/* A sweep of 200 points: how long it takes. Minutes, and the first time ten syntheses more. */
hd_status hd_bench_sweep(hd_figures *f, hd_err *err);
#endif
