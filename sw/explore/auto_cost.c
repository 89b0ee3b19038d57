/* Exact cycles of a program without a device. */
#include "../../drivers/predict.h"
#include "auto_network.h"

hd_status hd_program_cycles(const hd_program *p, uint64_t *total, uint64_t *layer, hd_err *err) {
    hd_prediction *r;
    hd_status s = hd_predict(&r, p, err);
    if (s) return s;
    *total = r->cycles;
    for (uint32_t i = 0; i < p->n_layers && layer; i++) {
        uint64_t perf[HD_PERF_WORDS];
        hd_prediction_layer(perf, r, &p->layer[i]);
        layer[i] = perf[HD_PERF_CYCLES];
    }
    hd_prediction_free(r);
    return HD_OK;
}
