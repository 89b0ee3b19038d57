/* Suite explore: what design-space exploration stands on. */
#include "bench_explore.h"

hd_status hd_bench_explore(hd_figures *f, hd_err *err) {
    hd_status s = hd_bench_cycles(f, err);
    if (!s) s = hd_bench_sysc(f, err);
    return s ? s : hd_bench_sweep(f, err);
}
