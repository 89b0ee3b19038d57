#include "predict.h"

#include <stdlib.h>
#include <string.h>

#include "ref_cycles.h"

static hd_status predict_all(hd_prediction *r, const hd_program *p, hd_ref_loader *loader, hd_err *err) {
    hd_status s = HD_OK;
    r->cycles = hd_ref_cycles_overhead();
    for (uint32_t i = 0; i < r->n_desc && !s; i++) {
        const uint32_t *d = p->desc + (size_t)i * HD_DESC_WORDS;
        int conv = hd_field_get(d, HD_F_OPCODE) == HD_OP_CONV;
        s = hd_ref_cycles(r->perf[i], &p->geometry, d, conv ? p->index + hd_field_get(d, HD_F_STREAM_FIRST) : NULL, loader, err);
        r->cycles += r->perf[i][HD_PERF_CYCLES];
    }
    return s;
}

hd_status hd_predict(hd_prediction **out, const hd_program *p, hd_err *err) {
    int external = p->geometry.extern_log2 != 0;
    hd_ref_stream stream = {0};
    hd_ref_loader loader = {0};
    *out = NULL;
    hd_prediction *r = calloc(1, sizeof *r);
    if (r) {
        while (r->n_desc < p->n_desc && hd_field_get(p->desc + (size_t)r->n_desc * HD_DESC_WORDS, HD_F_OPCODE) != HD_OP_END) r->n_desc++;
        r->perf = calloc((size_t)r->n_desc + 1, sizeof *r->perf);
    }
    hd_status s = r && r->perf ? HD_OK : hd_fail(err, HD_NOMEM, "predict: out of memory for %u descriptors", p->n_desc);
    if (!s && external) s = hd_ref_stream_read(&stream, &p->geometry, p->external, p->n_extern, err);
    if (!s && external) s = hd_ref_loader_start(&loader, &stream, &p->geometry, err);
    if (!s) s = predict_all(r, p, external ? &loader : NULL, err);
    hd_ref_loader_free(&loader);
    hd_ref_stream_free(&stream);
    if (s) hd_prediction_free(r);
    else *out = r;
    return s;
}

void hd_prediction_free(hd_prediction *r) {
    if (!r) return;
    free(r->perf);
    free(r);
}

void hd_prediction_layer(uint64_t perf[HD_PERF_WORDS], const hd_prediction *r, const hd_layer_info *layer) {
    memset(perf, 0, HD_PERF_WORDS * sizeof *perf);
    for (uint32_t d = layer->first_desc; d < layer->first_desc + layer->n_desc && d < r->n_desc; d++)
        for (int k = 0; k < HD_PERF_WORDS; k++) perf[k] += r->perf[d][k];
}
