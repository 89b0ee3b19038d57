/* Measured figures by suite, for `heddle bench`. */
#ifndef HD_BENCH_H
#define HD_BENCH_H
#include "measure.h"

typedef struct hd_figure {
    char name[64];
    double value;         /* NAN = none: the note says why */
    const char *unit;
    double reference;     /* NAN = none */
    const char *compared; /* what the reference is, in words; NULL = none */
    const char *tag;      /* measured, simulated, placed, derived; skipped where there is no value */
    char note[240];       /* "" = none */
} hd_figure;

enum { HD_MAX_FIGURES = 320 };

typedef struct hd_figures {
    int n;
    hd_figure figure[HD_MAX_FIGURES];
} hd_figures;

typedef struct hd_suite {
    const char *name, *about;
    hd_status (*run)(hd_figures *f, hd_err *err);
    int table; /* figures PREFIX.COLUMN of one prefix belong on one line */
} hd_suite;

/* All suites; NULL-terminated by name. */
extern const hd_suite hd_suites[];

/* Appends a figure; `name` is printf-style. Beyond HD_MAX_FIGURES figures are dropped. */
hd_figure *hd_figure_add(hd_figures *f, double value, const char *unit, const char *tag, const char *name, ...) __attribute__((format(printf, 5, 6)));

hd_status hd_bench_sim(hd_figures *f, hd_err *err);
hd_status hd_bench_array(hd_figures *f, hd_err *err);
hd_status hd_bench_decode(hd_figures *f, hd_err *err);
hd_status hd_bench_area(hd_figures *f, hd_err *err);
hd_status hd_bench_demo(hd_figures *f, hd_err *err);
hd_status hd_bench_compress(hd_figures *f, hd_err *err);
hd_status hd_bench_tune(hd_figures *f, hd_err *err);
/* Rows fashion.* of suite tune. */
hd_status hd_bench_fashion(hd_figures *f, hd_err *err);
hd_status hd_bench_usb(hd_figures *f, hd_err *err);
hd_status hd_bench_explore(hd_figures *f, hd_err *err);
hd_status hd_bench_gather(hd_figures *f, hd_err *err);
hd_status hd_bench_policy(hd_figures *f, hd_err *err);
hd_status hd_bench_models(hd_figures *f, hd_err *err);
#endif
