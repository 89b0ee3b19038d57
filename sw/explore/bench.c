#include "bench.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "demo.h"

const hd_suite hd_suites[] = {
    {"sim", "speed of the Verilated RTL against native C", hd_bench_sim, 0},
    {"array", "utilisation, sparsity speed-up and cycles against bits, on the RTL", hd_bench_array, 0},
    {"decode", "cycles of coded weights from external memory against plain ones, on the RTL", hd_bench_decode, 1},
    {"area", "cells, block RAM and clock of array and boards; cells per MAC at 1 to 8 bits", hd_bench_area, 1},
    {"demo", "accuracy, size and cycles of the demo's six compressions", hd_bench_demo, 0},
    {"compress", "post-training methods on a published language model: loss, bits, seconds", hd_bench_compress, 0},
    {"tune", "training in the stored format: accuracy after it, cycles on the RTL, seconds", hd_bench_tune, 0},
    {"gather", "whole blocks, pairs of lanes and N of M: accuracy, bits and cycles of the embedded network", hd_bench_gather, 1},
    {"policy", "automatic policies at the bytes and cycles of uniform ones", hd_bench_policy, 0},
    {"models", "MLPerf Tiny's ResNet-8 and DS-CNN: accuracy in 8 and 4 bits, cycles and time on iCEBreaker and ULX3S, on the RTL", hd_bench_models, 0},
    {"usb", "the driver against bare libusb; the link and both USB devices against their wires, on the RTL", hd_bench_usb, 0},
    {"explore", "the cycle model against the RTL; the SystemC platform against RTL and virtual board; the time of a sweep of 200 points", hd_bench_explore, 0},
    {NULL, NULL, NULL, 0},
};

hd_figure *hd_figure_add(hd_figures *f, double value, const char *unit, const char *tag, const char *name, ...) {
    static hd_figure dropped;
    hd_figure *to = f->n < HD_MAX_FIGURES ? &f->figure[f->n++] : &dropped;
    *to = (hd_figure){.value = value, .unit = unit, .reference = NAN, .tag = tag};
    va_list list;
    va_start(list, name);
    vsnprintf(to->name, sizeof to->name, name, list);
    va_end(list);
    return to;
}

hd_status hd_bench_demo(hd_figures *f, hd_err *err) {
    static const char *const key[HD_DEMO_POINTS] = {"w8", "w4", "ternary", "w2_sparse", "w2_sparse_tuned", "ternary_sparse_tuned"};
    hd_demo d;
    hd_status s = hd_demo_run(&d, NULL, 16, 0, HD_DEMO_EPOCHS, err);
    for (int i = 0; !s && i < d.n_points; i++) {
        const hd_demo_point *p = &d.point[i];
        hd_figure *a = hd_figure_add(f, p->accuracy, "share", "measured", "demo.%s.accuracy", key[i]);
        a->reference = d.float_accuracy;
        a->compared = "the float network on the same images";
        hd_figure_add(f, p->bits_per_weight, "bits", "measured", "demo.%s.total_bits_per_weight", key[i]);
        hd_figure_add(f, (double)p->cost->cycles, "cycles", "simulated", "demo.%s.cycles", key[i])->reference = (double)p->cost->predicted;
        f->figure[f->n - 1].compared = "cycles predicted by the instruction-level model";
        hd_figure_add(f, p->cost->utilisation, "share", "simulated", "demo.%s.utilisation", key[i]);
        hd_figure_add(f, p->speedup, "times", "simulated", "demo.%s.speedup", key[i]);
    }
    if (!s) hd_figure_add(f, d.seconds, "s", "measured", "demo.seconds")->reference = 300;
    hd_demo_free(&d);
    return s;
}
