/* Suite compress: post-training methods on stories260K, and the settings that train (bench_tune.c). */
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/codebook_lm.h"
#include "bench_language.h"

/* Authors' figures: their own code on the same rows. */
typedef struct setting {
    const char *name;
    hd_method method;
    hd_linear_format format;
    double reference;
    const char *compared;
    int codebook; /* 1: a shared trellis codebook instead of method and format */
} setting;

/* Integers with a power-of-two shift a group are what the array decodes; their bits count float16 row scales and 2-bit shifts. */
static const setting settings[] = {
    {"w4g32", HD_METHOD_GPTQ, {.bits = 4, .grid = HD_GRID_ODD, .group = 32, .shift_groups = 1}, 1.741, "GPTQ, 4 bits, float scale a group of 32", 0},
    {"w3g32", HD_METHOD_GPTQ, {.bits = 3, .grid = HD_GRID_ODD, .group = 32, .shift_groups = 1}, 2.062, "GPTQ, 3 bits, float scale a group of 32", 0},
    {"w2g16", HD_METHOD_GPTQ, {.bits = 2, .grid = HD_GRID_ODD, .group = 16, .shift_groups = 1}, 3.18, "AQLM 1x4 g2 at 2.29 bits in all", 0},
    {"bpw2_4", 0, {0}, 3.18, "AQLM 1x4 g2 at 2.29 bits in all", 1},
    {"sparse50", HD_METHOD_SPARSEGPT, {.bits = 16, .sparsity = HD_SPARSE_UNSTRUCTURED, .density = 0.5f}, 3.151, "SparseGPT, half of the weights", 0},
    {"sparse24", HD_METHOD_SPARSEGPT, {.bits = 16, .sparsity = HD_SPARSE_N_OF_M, .n = 2, .m = 4}, 3.787, "SparseGPT, 2 of 4", 0},
};

static hd_status by_linear(hd_lm **c, const hd_language *r, const setting *x, hd_err *err) {
    hd_lm_linear l = {.format = x->format};
    hd_lm_options o = {.solve = hd_lm_solve_linear, .arg = &l, .correct = 1, .label = x->name};
    hd_linear_defaults(&l.options, x->method);
    if (x->method == HD_METHOD_GPTQ) l.options.damping = 0.03; /* of 0.003, 0.01 and 0.03 the lowest loss on the calibration rows at 4 bits */
    return hd_lm_compress(c, r->m, r->calibration, HD_ROW_STRIDE, HD_CALIBRATION_ROWS, HD_ROW_TOKENS, &o, err);
}

/* Nine bits for four weights, a table of 2^10 entries for the whole model. */
static hd_status by_codebook(hd_lm **c, const hd_language *r, const setting *x, hd_err *err) {
    hd_codebook *book;
    hd_codebook_options o;
    hd_codebook_defaults(&o);
    o.fit_rounds = 6;
    o.beam = 4;
    o.rounds = 1;
    hd_status s = hd_codebook_new(&book, 4, 1, 9, 10, 6, 1, err);
    return s ? s : hd_codebook_lm_compress(c, book, r->m, r->calibration, HD_ROW_STRIDE, HD_CALIBRATION_ROWS, HD_ROW_TOKENS, &o, 1, x->name, err);
}

static hd_status run_setting(hd_figures *f, const hd_language *r, const setting *x, hd_err *err) {
    hd_lm *c = NULL;
    double start = hd_two_core_seconds();
    hd_status s = x->codebook ? by_codebook(&c, r, x, err) : by_linear(&c, r, x, err);
    if (!s)
        s = hd_language_add(f, r, c, x->name, x->reference, x->compared, hd_two_core_seconds() - start, 10,
                            "the bar; half of the processor time, as on two free cores (authors' code: 10 to 24 s on one)", err);
    hd_lm_free(c);
    return s;
}

hd_status hd_bench_compress(hd_figures *f, hd_err *err) {
    hd_language r;
    double nats = 0;
    hd_status s = hd_language_open(&r, err);
    if (!s) s = hd_llama_cross_entropy(r.m, r.evaluation, HD_EVALUATION_ROWS, HD_ROW_TOKENS, &nats, err);
    if (!s) {
        hd_figure *real = hd_figure_add(f, nats, "nats", "measured", "float");
        real->reference = 1.686;
        real->compared = "the published float model";
    }
    for (size_t i = 0; !s && i < sizeof settings / sizeof *settings; i++) s = run_setting(f, &r, &settings[i], err);
    if (!s) s = hd_bench_resnet8(f, err);
    if (!s) s = hd_bench_tuned_language(f, &r, err);
    hd_language_close(&r);
    return s;
}
