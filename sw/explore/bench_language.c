#include "bench_language.h"

#include "../core/progress.h"
#include "models.h"

hd_status hd_language_open(hd_language *r, hd_err *err) {
    char model[4096], tokens[4096];
    *r = (hd_language){0};
    hd_status s = hd_models_file(model, sizeof model, "stories260K.bin", err);
    if (!s) s = hd_models_file(tokens, sizeof tokens, "stories-tokens.idx", err);
    if (!s) s = hd_import_llama2c(&r->m, model, err);
    if (!s) s = hd_idx_load(&r->idx, tokens, err);
    if (!s && (r->idx->type != HD_IDX_I16 || r->idx->item != HD_ROW_STRIDE || r->idx->dim[0] != HD_CALIBRATION_ROWS + HD_EVALUATION_ROWS))
        s = hd_fail(err, HD_FORMAT, "%s: not the %d rows of %d int16 tokens that the suite is defined on", tokens, HD_CALIBRATION_ROWS + HD_EVALUATION_ROWS,
                    HD_ROW_STRIDE);
    if (s) return s;
    r->calibration = r->idx->data;
    r->evaluation = r->calibration + HD_CALIBRATION_ROWS * HD_ROW_STRIDE;
    return HD_OK;
}

void hd_language_close(hd_language *r) {
    if (r->idx) hd_idx_free(r->idx);
    hd_llama_free(r->m);
    *r = (hd_language){0};
}

double hd_two_core_seconds(void) {
    return 0.5 * hd_cpu_seconds();
}

hd_status hd_language_add(hd_figures *f, const hd_language *r, const hd_lm *c, const char *name, double reference, const char *compared, double seconds, double most,
                          const char *limit, hd_err *err) {
    double nats = 0;
    hd_status s = hd_llama_cross_entropy(c->model, r->evaluation, HD_EVALUATION_ROWS, HD_ROW_TOKENS, &nats, err);
    if (s) return s;
    hd_figure *loss = hd_figure_add(f, nats, "nats", "measured", "%s", name);
    loss->reference = reference;
    loss->compared = compared;
    hd_figure_add(f, hd_lm_bits_per_weight(c), "bits", "measured", "%s.bpw", name);
    hd_figure *time = hd_figure_add(f, seconds, "s", "measured", "%s.seconds", name);
    time->reference = most;
    time->compared = limit;
    return HD_OK;
}
