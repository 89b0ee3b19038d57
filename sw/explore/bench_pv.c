/* Rows bpw2_tuned of suite tune: PV-Tuning of stories260K at 2 bits a weight in all. */
#include <stdio.h>

#include "../../compiler/compress/lm_policy.h"
#include "../../compiler/compress/passes.h"
#include "../train/pv_tune.h"
#include "bench_language.h"

/* Codes of 7 bits for 4 weights; of 8 bits for the matrices that write to the residual stream and those that attention reads: as many as 2 bits allow. */
static hd_status make_policy(hd_policy *p, const hd_llama *m, hd_err *err) {
    static const int fine[] = {HD_LLAMA_K, HD_LLAMA_V, HD_LLAMA_O, HD_LLAMA_W2};
    hd_policy_default(p);
    hd_layer_policy more = p->base;
    hd_status s = hd_recipe_parse(&p->base.recipe, "table:7", err);
    if (!s) s = hd_recipe_parse(&more.recipe, "table:8", err);
    for (int l = 0; !s && l < m->layers; l++)
        for (size_t k = 0; !s && k < sizeof fine / sizeof *fine; k++) {
            char name[32];
            hd_llama_name(l, fine[k], name, sizeof name);
            if (!hd_policy_add(p, name, &more)) s = hd_fail(err, HD_NOMEM, "no memory for a rule of a policy");
        }
    return s;
}

/* Tuned on rows 0..88 and on text that the float model writes; settings were chosen on rows 80..88 while those were left out. */
hd_status hd_bench_pv(hd_figures *f, const hd_language *r, hd_err *err) {
    hd_policy p = {0};
    hd_lm *start = NULL, *tuned = NULL;
    hd_pv_options o;
    hd_pv_defaults(&o);
    o.label = "bpw2_tuned";
    double begin = hd_two_core_seconds();
    hd_status s = make_policy(&p, r->m, err);
    if (!s) s = hd_lm_compress_policy(&start, r->m, &p, r->calibration, HD_ROW_STRIDE, HD_CALIBRATION_ROWS, HD_ROW_TOKENS, o.label, err);
    if (!s) s = hd_pv_tune(&tuned, r->m, start, r->calibration, HD_ROW_STRIDE, HD_CALIBRATION_ROWS, HD_ROW_TOKENS, &o, NULL, err);
    if (!s)
        s = hd_language_add(f, r, tuned, "bpw2_tuned", 2.30, "the bar (one-shot: about 2.7)", hd_two_core_seconds() - begin, 150,
                            "half of the processor time, as on two free cores; the suite's budget", err);
    hd_lm_free(start);
    hd_lm_free(tuned);
    hd_policy_free(&p);
    return s;
}
