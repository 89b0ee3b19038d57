/* Suite tune: models trained on in the formats they are stored in, one group of rows a model. */
#include "../train/llama_tune.h"
#include "bench_language.h"
#include "models.h"

/* Half of the hardware blocks and 4 bits: blocks of 4 inputs x 8 outputs leave as gradual pruning finds them cheapest for the loss, with one
 * budget for the model; half of the steps are left to settle. Trained on rows 0..88 and on text that the float model writes. */
static hd_status block50_w4(hd_figures *f, const hd_language *r, hd_err *err) {
    hd_lm_linear l = {.format = {.bits = 4, .grid = HD_GRID_ODD, .sparsity = HD_SPARSE_BLOCK, .density = 0.5f, .block_in = 4, .block_out = 8}};
    hd_lm_options o = {.solve = hd_lm_solve_linear, .arg = &l, .correct = 1, .label = "block50_w4"};
    hd_llama_tune_options t;
    hd_lm *start = NULL, *tuned = NULL;
    double loss, begin = hd_two_core_seconds();
    hd_linear_defaults(&l.options, HD_METHOD_SPARSEGPT);
    hd_llama_tune_defaults(&t);
    t.label = "block50_w4";
    hd_status s = hd_lm_compress(&start, r->m, r->calibration, HD_ROW_STRIDE, HD_CALIBRATION_ROWS, HD_ROW_TOKENS, &o, err);
    if (!s) s = hd_llama_tune(&tuned, start, r->m, r->calibration, HD_ROW_STRIDE, HD_CALIBRATION_ROWS, HD_ROW_TOKENS, &t, &loss, err);
    if (!s)
        s = hd_language_add(f, r, tuned, "block50_w4", 2.20, "the bar (one-shot: about 4.0)", hd_two_core_seconds() - begin, 150,
                            "half of the processor time, as on two free cores; the suite's budget", err);
    hd_lm_free(start);
    hd_lm_free(tuned);
    return s;
}

hd_status hd_bench_tuned_language(hd_figures *f, const hd_language *r, hd_err *err) {
    hd_status s = block50_w4(f, r, err);
    return s ? s : hd_bench_pv(f, r, err);
}

/* Without the language model's files its rows are left out: everybody has the rest. */
hd_status hd_bench_tune(hd_figures *f, hd_err *err) {
    char path[4096];
    hd_language r;
    hd_status s = hd_bench_fashion(f, err);
    if (s || hd_models_file(path, sizeof path, "stories260K.bin", NULL)) return s;
    s = hd_language_open(&r, err);
    if (!s) s = hd_bench_tuned_language(f, &r, err);
    hd_language_close(&r);
    return s;
}
