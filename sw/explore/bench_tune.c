/* Suite tune: networks trained on in the formats they are stored in, one group of rows a model. */
#include "bench.h"

hd_status hd_bench_tune(hd_figures *f, hd_err *err) { return hd_bench_fashion(f, err); }
