/* Exact cycles of a program without a device. */
#include "../../drivers/ref_cycles.h"
#include "auto_network.h"

hd_status hd_program_cycles(const hd_program *p, uint64_t *total, uint64_t *layer, hd_err *err) {
    hd_ref_stream stream = {0};
    hd_ref_loader loader = {0};
    int external = p->geometry.extern_log2 != 0;
    hd_status s = HD_OK;
    if (external) s = hd_ref_stream_read(&stream, &p->geometry, p->external, p->n_extern, err);
    if (external && !s) s = hd_ref_loader_start(&loader, &stream, &p->geometry, err);
    *total = hd_ref_cycles_overhead();
    for (uint32_t i = 0; i < p->n_layers && !s; i++) {
        uint64_t sum = 0;
        for (uint32_t n = p->layer[i].first_desc; n < p->layer[i].first_desc + p->layer[i].n_desc && !s; n++) {
            const uint32_t *d = p->desc + (size_t)n * HD_DESC_WORDS;
            uint64_t perf[HD_PERF_WORDS];
            int pool = hd_field_get(d, HD_F_OPCODE) == HD_OP_MAXPOOL;
            s = hd_ref_cycles(perf, &p->geometry, d, pool ? NULL : p->index + hd_field_get(d, HD_F_STREAM_FIRST), external ? &loader : NULL, err);
            sum += perf[HD_PERF_CYCLES];
        }
        if (layer) layer[i] = sum;
        *total += sum;
    }
    hd_ref_loader_free(&loader);
    hd_ref_stream_free(&stream);
    return s;
}
