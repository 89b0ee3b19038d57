/* Suite gather: what finer sparsity brings. The embedded network trained on by `heddle tune`'s recipe, first and last layer 8 bits and dense, the layers between
 * without half or three quarters of their weights: in whole blocks of the array, in blocks of a pair of lanes (pair-gather), and N of M single weights, which the
 * array cannot skip: its cycles there are those of a dense network on an array that reads M / N times the lanes. */
#include <string.h>

#include "../../compiler/compress/passes.h"
#include "../../drivers/driver.h"
#include "../train/tune.h"
#include "accuracy.h"
#include "bench.h"
#include "dataset.h"

/* Fewer epochs than the suite tune has: fourteen networks are trained, and all rows alike. */
enum { CALIBRATION_IMAGES = 512, EPOCHS = 3 };

typedef enum kind { DENSE, WHOLE, PAIRS, N_OF_M } kind;

static const struct setting {
    const char *name;
    int bits; /* 0 = ternary */
    kind kind;
    int of; /* one of so many weights stays; N_OF_M: of four */
    const char *geometry, *memory;
} settings[] = {
    {"w2_dense", 2, DENSE, 1, "4x8x8x2", ""},
    {"w2_50_whole", 2, WHOLE, 2, "4x8x8x2", ""},
    {"w2_50_pairs", 2, PAIRS, 2, "4x8x8x2", "gather=1"},
    {"w2_50_2of4", 2, N_OF_M, 2, "4x8x16x2", ""},
    {"w2_75_whole", 2, WHOLE, 4, "4x8x8x2", ""},
    {"w2_75_pairs", 2, PAIRS, 4, "4x8x8x2", "gather=1"},
    {"w2_75_1of4", 2, N_OF_M, 4, "4x8x32x2", ""},
    {"ternary_dense", 0, DENSE, 1, "4x8x8x2", ""},
    {"ternary_50_whole", 0, WHOLE, 2, "4x8x8x2", ""},
    {"ternary_50_pairs", 0, PAIRS, 2, "4x8x8x2", "gather=1"},
    {"ternary_50_2of4", 0, N_OF_M, 2, "4x8x16x2", ""},
    {"ternary_75_whole", 0, WHOLE, 4, "4x8x8x2", ""},
    {"ternary_75_pairs", 0, PAIRS, 4, "4x8x8x2", "gather=1"},
    {"ternary_75_1of4", 0, N_OF_M, 4, "4x8x32x2", ""},
};

typedef struct rig {
    hd_graph *g;
    hd_idx *train, *train_labels, *test, *test_labels;
    hd_model *dense; /* of the bits that the last dense row had */
} rig;

static hd_status open_rig(rig *r, hd_err *err) {
    hd_status s = hd_default_graph(&r->g, err);
    if (!s) s = hd_fashion_mnist(&r->train, &r->train_labels, 0, err);
    return s ? s : hd_fashion_mnist(&r->test, &r->test_labels, 1, err);
}

static void close_rig(rig *r) {
    if (r->g) hd_graph_free(r->g);
    hd_idx_free(r->train);
    hd_idx_free(r->train_labels);
    hd_idx_free(r->test);
    hd_idx_free(r->test_labels);
    hd_model_free(r->dense);
}

static hd_status make_policy(hd_policy *p, const hd_graph *g, const struct setting *x, hd_err *err) {
    hd_policy_default(p);
    p->base.bits = x->bits;
    p->base.sparsity = 1 - 1 / (float)x->of;
    p->base.block_in = x->kind == WHOLE ? 8 : 2;
    p->base.balance = x->kind == PAIRS ? 8 : 0;
    if (x->kind == N_OF_M && !hd_policy_structure(&p->base, x->of == 2 ? "2:4" : "1:4")) return hd_fail(err, HD_USAGE, "%s: no such structure", x->name);
    return hd_policy_keep_ends(p, g, err);
}

static hd_status cycles_of(uint64_t *cycles, const hd_model *m, const struct setting *x, hd_err *err) {
    hd_geometry g;
    hd_lower_options lower = {.board = "", .expand_input = -1};
    hd_program *p = NULL;
    hd_cost *cost = NULL;
    hd_status s = hd_geometry_parse(&g, x->geometry, err);
    if (!s) s = hd_geometry_memory(&g, x->memory, err);
    if (!s) s = hd_lower(&p, m, &g, &lower, err);
    if (!s) s = hd_cost_measure(&cost, p, &hd_driver_ref, NULL, err);
    if (!s) *cycles = cost->cycles;
    hd_cost_free(cost);
    if (p) hd_program_free(p);
    return s;
}

static hd_status run_setting(hd_figures *f, rig *r, const struct setting *x, hd_err *err) {
    hd_policy policy;
    hd_tune_options o;
    hd_model *m = NULL;
    double accuracy = 0;
    uint64_t cycles = 0;
    hd_tune_defaults(&o);
    o.train.learning_rate = 0;
    o.train.epochs = EPOCHS;
    o.train.quiet = 1;
    o.teacher = r->g;
    hd_status s = make_policy(&policy, r->g, x, err);
    if (!s) s = hd_tune_model(&m, r->g, &policy, r->train, r->train_labels, CALIBRATION_IMAGES, 1, &o, err);
    if (!s) s = hd_model_accuracy(m, r->test, r->test_labels, 0, 1, &accuracy, err);
    if (!s) s = cycles_of(&cycles, x->kind == N_OF_M ? r->dense : m, x, err);
    if (!s) {
        hd_figure_add(f, accuracy, "share", "measured", "%s.accuracy", x->name);
        hd_figure_add(f, hd_model_bits_per_weight(m), "bits", "measured", "%s.bpw", x->name);
        hd_figure_add(f, (double)cycles, "cycles", x->kind == N_OF_M ? "derived" : "simulated", "%s.cycles", x->name);
    }
    if (s) hd_fail_in(err, x->name);
    hd_policy_free(&policy);
    if (s || x->kind != DENSE) {
        hd_model_free(m);
        return s;
    }
    hd_model_free(r->dense);
    r->dense = m;
    return HD_OK;
}

hd_status hd_bench_gather(hd_figures *f, hd_err *err) {
    rig r = {0};
    hd_status s = open_rig(&r, err);
    for (size_t i = 0; !s && i < sizeof settings / sizeof *settings; i++) s = run_setting(f, &r, &settings[i], err);
    close_rig(&r);
    return s;
}
