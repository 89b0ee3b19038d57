/* Exact cycles of a program without a device. */
#include "../../drivers/ref_cycles.h"
#include "auto_network.h"

hd_status hd_program_cycles(const hd_program *p, uint64_t *total, uint64_t *layer, hd_err *err) {
    *total = hd_ref_cycles_overhead();
    for (uint32_t i = 0; i < p->n_layers; i++) {
        uint64_t sum = 0;
        for (uint32_t n = p->layer[i].first_desc; n < p->layer[i].first_desc + p->layer[i].n_desc; n++) {
            const uint32_t *d = p->desc + (size_t)n * HD_DESC_WORDS;
            uint64_t perf[HD_PERF_WORDS];
            int pool = hd_field_get(d, HD_F_OPCODE) == HD_OP_MAXPOOL;
            hd_status s = hd_ref_cycles(perf, &p->geometry, d, pool ? NULL : p->index + hd_field_get(d, HD_F_STREAM_FIRST), err);
            if (s) return s;
            sum += perf[HD_PERF_CYCLES];
        }
        if (layer) layer[i] = sum;
        *total += sum;
    }
    return HD_OK;
}
