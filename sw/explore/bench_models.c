/* Suite models: ONNX's own node tests on the host executor; MLPerf Tiny's ResNet-8 and DS-CNN with their own integers, and compressed anew in 8 and 4 bits; each compiled for the arrays of two boards.
 * Accuracy is that of the integer executor on all samples; the first RTL_SAMPLES of them are run on the Verilated RTL, on ref and on the integer executor, which must
 * agree. Times are cycles at the clock of the placed design, without the link. */
#include <math.h>
#include <stdio.h>

#include "../../compiler/compress/passes.h"
#include "../../compiler/import/import.h"
#include "../../compiler/lower/lower.h"
#include "../../compiler/onnx/conformance.h"
#include "../train/train.h"
#include "accuracy.h"
#include "bench.h"
#include "boards.h"
#include "dataset.h"
#include "models.h"
#include "verify.h"

enum { RTL_SAMPLES = 20 };

typedef struct network {
    const char *name, *real, *quantised; /* figures, files */
    const char *items, *labels;
    uint32_t classes;
    int calibration; /* the first items of those that accuracy is measured on: there are no others */
    float scale;     /* items are codes of scale * (element - zero) */
    int zero;
    double of_integers; /* accuracy of the quantised file in its own arithmetic */
    double published;   /* ms of the MLPerf Tiny entry below */
    const char *entry;
    struct {
        const char *layer;
        float share;
    } less[4]; /* channels to leave out so that iCEBreaker's 512 parameters are enough; ends with NULL */
} network;

static const network networks[] = {
    {"resnet8", "resnet8-float.tflite", "resnet8-int8.tflite", "ic01-images.idx", "ic01-labels.idx", 10, 50, 1, 0, 0.845, 27.3,
     "hls4ml RN07 on a Pynq-Z2, another network of the same task, as published for MLPerf Tiny; FINN CNV-W1A1 there 1.5 ms", {{NULL, 0}}},
    {"dscnn", "dscnn-float.tflite", "dscnn-int8.tflite", "kws01-inputs.idx", "kws01-labels.idx", 12, 200, 0.5847029f, 83, 0.902, 0.0175,
     "FINN's keyword network on a Pynq-Z2, another network of the same task, as published for MLPerf Tiny",
     {{"conv.0", 0.25f}, {"conv.6", 0.375f}, {"conv.8", 0.25f}, {NULL, 0}}},
};

typedef struct setting {
    const char *name;
    int bits;   /* 0 = the quantised file's integers */
    int narrow; /* without the network's `less`, averages cut for a window of 64 words; only of a network that has them */
} setting;

static const setting settings[] = {{"int8", 0, 0}, {"w8", 8, 0}, {"w4", 4, 0}, {"w4_narrow", 4, 1}};
enum { NARROW_AVERAGE = 64 };
static const char *const boards[] = {"icebreaker", "ulx3s"};

typedef struct rig {
    const network *n;
    hd_graph *real, *quantised;
    hd_idx *items, *labels; /* items as numbers */
} rig;

static void close_rig(rig *r) {
    if (r->real) hd_graph_free(r->real);
    if (r->quantised) hd_graph_free(r->quantised);
    hd_idx_free(r->items);
    hd_idx_free(r->labels);
}

static hd_status open_rig(rig *r, const network *n, hd_err *err) {
    char quantised[4096];
    hd_idx *codes = NULL;
    r->n = n;
    hd_status s = hd_models_open(&r->real, &codes, &r->labels, n->real, n->items, n->labels, n->classes, err);
    if (!s) s = hd_models_file(quantised, sizeof quantised, n->quantised, err);
    if (!s) s = hd_import_tflite(&r->quantised, quantised, err);
    if (!s) s = hd_idx_numbers(&r->items, codes, n->scale, n->zero, err);
    hd_idx_free(codes);
    return s;
}

static hd_status narrow(hd_policy *p, const network *n, hd_err *err) {
    hd_layer_policy rule = p->base;
    rule.structure = HD_SPARSE_CHANNEL;
    for (int k = 0; n->less[k].layer; k++) {
        rule.sparsity = n->less[k].share;
        if (!hd_policy_add(p, n->less[k].layer, &rule)) return hd_fail(err, HD_NOMEM, "no memory for a policy rule");
    }
    return HD_OK;
}

static hd_status make_model(hd_model **m, const rig *r, const setting *x, hd_err *err) {
    if (!x->bits) return hd_compress_kept(m, r->quantised, err);
    hd_policy p;
    hd_policy_default(&p);
    p.base.bits = x->bits;
    p.base.recipe.solver = HD_METHOD_GPTQ;
    /* ResNet-8's average has no more pixels than that: it stays whole, but with one bias for all channels, and so runs as one word's (docs/formats.md). */
    if (x->narrow || !r->n->less[0].layer) p.split_average = NARROW_AVERAGE;
    hd_graph *g = NULL;
    hd_policy left = {0};
    hd_status s = x->narrow ? narrow(&p, r->n, err) : HD_OK;
    if (!s) s = hd_passes_run(&g, &left, r->real, &p, r->items, r->n->calibration, 0, err);
    if (!s) s = hd_compress(m, g, &left, r->items, r->n->calibration, 0, err);
    hd_graph_free(g);
    hd_policy_free(&left);
    hd_policy_free(&p);
    return s;
}

/* Cycles, time and utilisation on one board's array; where the network does not fit, a figure without a value says why. */
static hd_status run_board(hd_figures *f, const rig *r, const setting *x, const hd_model *m, const char *name, hd_err *err) {
    const hd_board *board;
    hd_geometry geometry;
    hd_lower_options lower = {.board = name, .expand_input = -1};
    hd_program *p = NULL;
    hd_cost *cost = NULL;
    hd_err why = {0};
    uint32_t compared = 0;
    hd_status s = hd_board_find(&board, name, err);
    if (!s) s = hd_board_geometry(&geometry, board, err);
    if (s) return s;
    if (hd_lower(&p, m, &geometry, &lower, &why)) {
        hd_figure *none = hd_figure_add(f, NAN, "ms", "skipped", "%s.%s.%s.ms", r->n->name, x->name, name);
        snprintf(none->note, sizeof none->note, "%.230s", why.message);
        return HD_OK;
    }
    s = hd_verify_rtl(&cost, &compared, p, m, r->items, RTL_SAMPLES, err);
    if (!s) {
        hd_figure *ms = hd_figure_add(f, 1e3 * (double)cost->cycles / board->clock_hz, "ms", "derived", "%s.%s.%s.ms", r->n->name, x->name, name);
        ms->reference = r->n->published;
        ms->compared = r->n->entry;
        snprintf(ms->note, sizeof ms->note, "array alone, %.160s at %.3f MHz", board->geometry, board->clock_hz / 1e6);
        hd_figure_add(f, (double)cost->cycles, "cycles", "simulated", "%s.%s.%s.cycles", r->n->name, x->name, name)->reference = (double)cost->predicted;
        hd_figure_add(f, cost->utilisation, "share", "simulated", "%s.%s.%s.utilisation", r->n->name, x->name, name);
        hd_figure_add(f, compared, "samples", "simulated", "%s.%s.%s.rtl_samples", r->n->name, x->name, name);
    }
    hd_cost_free(cost);
    hd_program_free(p);
    return s;
}

static hd_status run_setting(hd_figures *f, const rig *r, const setting *x, double real, hd_err *err) {
    hd_model *m = NULL;
    double accuracy = 0;
    hd_status s = make_model(&m, r, x, err);
    if (!s) s = hd_model_accuracy(m, r->items, r->labels, 0, 0, &accuracy, err);
    if (!s) {
        hd_figure *a = hd_figure_add(f, accuracy, "share", "measured", "%s.%s_accuracy", r->n->name, x->name);
        a->reference = x->bits ? real - 0.015 : r->n->of_integers;
        a->compared = x->bits ? "the float model less 1.5 points" : "the quantised file in a scalar interpreter";
        hd_figure_add(f, (double)hd_model_weight_bytes(m), "bytes", "measured", "%s.%s.bytes", r->n->name, x->name);
    }
    for (size_t b = 0; !s && b < sizeof boards / sizeof *boards; b++) s = run_board(f, r, x, m, boards[b], err);
    if (m) hd_model_free(m);
    return s;
}

static void count_node_tests(hd_figures *f) {
    hd_conformance t;
    hd_err why = {0};
    hd_status s = hd_onnx_conformance(&t, HD_ONNX_TESTDATA "/node", NULL, NULL, &why);
    hd_figure *to = hd_figure_add(f, s ? NAN : (double)t.passed, "tests", s ? "skipped" : "measured", "onnx.node_tests_passed");
    if (s) snprintf(to->note, sizeof to->note, "%.230s", why.message);
    else {
        to->reference = t.applicable;
        to->compared = "tests of operators in the table";
        snprintf(to->note, sizeof to->note, "of %d in all", t.models);
    }
}

hd_status hd_bench_models(hd_figures *f, hd_err *err) {
    hd_status s = HD_OK;
    count_node_tests(f);
    for (size_t i = 0; !s && i < sizeof networks / sizeof *networks; i++) {
        rig r = {0};
        double real = 0;
        s = open_rig(&r, &networks[i], err);
        if (!s) s = hd_accuracy(r.real, r.items, r.labels, 0, &real, err);
        if (!s) hd_figure_add(f, real, "share", "measured", "%s.float_accuracy", r.n->name);
        for (size_t k = 0; !s && k < sizeof settings / sizeof *settings; k++)
            if (!settings[k].narrow || r.n->less[0].layer) s = run_setting(f, &r, &settings[k], real, err);
        close_rig(&r);
    }
    return s;
}
