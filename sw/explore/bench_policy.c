/* Suite policy: automatic policies of the default network at the bytes and the cycles of uniform ones, 4x8x8x2. Calibrated on the first 512
 * training images, judged on the next 512; accuracy on the first 2,000 test images, which neither search nor calibration sees. */
#include <stdlib.h>

#include "accuracy.h"
#include "auto_network.h"
#include "bench.h"
#include "dataset.h"

enum { SAMPLES = 512, JUDGED = 512, TEST_IMAGES = 2000, REFINEMENTS = 24 };

static const struct point {
    const char *name;
    int bits; /* 0 = ternary */
} points[] = {{"w4", 4}, {"w2", 2}, {"ternary", 0}};

typedef struct rig {
    hd_graph *graph;
    hd_idx *train, *images, *labels;
    hd_geometry geometry;
} rig;

/* The uniform policy by its better method, GPTQ. */
static hd_status uniform(hd_model **m, uint64_t cost[HD_COSTS], const rig *r, int bits, hd_err *err) {
    hd_policy p;
    hd_program *program = NULL;
    hd_policy_default(&p);
    p.base.bits = bits;
    p.base.recipe.solver = HD_METHOD_GPTQ;
    hd_status s = hd_compress(m, r->graph, &p, r->train, SAMPLES, 1, err);
    if (!s) s = hd_lower(&program, *m, &r->geometry, NULL, err);
    if (!s) s = hd_program_cycles(program, &cost[HD_AUTO_CYCLES], NULL, err);
    if (!s) cost[HD_AUTO_BYTES] = hd_model_weight_bytes(*m);
    if (program) hd_program_free(program);
    hd_policy_free(&p);
    return s;
}

static void add(hd_figures *f, const struct point *x, const char *what, const char *unit, const char *tag, double value, double reference, const char *compared) {
    hd_figure *to = hd_figure_add(f, value, unit, tag, "policy.%s.%s", x->name, what);
    to->reference = reference;
    to->compared = compared;
}

static hd_status run_point(hd_figures *f, const rig *r, const struct point *x, hd_err *err) {
    hd_model *plain = NULL;
    hd_auto_network *a = NULL;
    hd_policy base;
    double accuracy[2] = {0, 0};
    hd_policy_default(&base);
    hd_auto_network_options o = {.geometry = &r->geometry, .base = base.base, .judged = JUDGED, .refinements = REFINEMENTS};
    hd_status s = uniform(&plain, o.budget, r, x->bits, err);
    if (!s) s = hd_model_accuracy(plain, r->images, r->labels, TEST_IMAGES, 1, &accuracy[0], err);
    if (!s) s = hd_auto_network_run(&a, r->graph, r->train, SAMPLES, 1, &o, err);
    if (!s) s = hd_model_accuracy(a->model, r->images, r->labels, TEST_IMAGES, 1, &accuracy[1], err);
    if (!s) {
        const hd_auto_result *q = a->result;
        add(f, x, "accuracy", "share", "measured", accuracy[1], accuracy[0], "the uniform policy by gptq, whose bytes and cycles are the budget");
        add(f, x, "bytes", "bytes", "measured", (double)a->bytes, (double)o.budget[HD_AUTO_BYTES], "the budget");
        add(f, x, "cycles", "cycles", "derived", (double)a->cycles, (double)o.budget[HD_AUTO_CYCLES], "the budget");
        add(f, x, "divergence", "nats", "measured", q->chosen.loss, q->uniform[q->best_uniform].loss, "the best uniform policy within the budget, on the judged images");
    }
    hd_auto_network_free(a);
    if (plain) hd_model_free(plain);
    return s;
}

hd_status hd_bench_policy(hd_figures *f, hd_err *err) {
    rig r = {0};
    hd_status s = hd_default_graph(&r.graph, err);
    if (!s) s = hd_fashion_mnist(&r.train, NULL, 0, err);
    if (!s) s = hd_fashion_mnist(&r.images, &r.labels, 1, err);
    if (!s) s = hd_geometry_parse(&r.geometry, "4x8x8x2", err);
    for (size_t i = 0; !s && i < sizeof points / sizeof *points; i++) s = run_point(f, &r, &points[i], err);
    hd_idx_free(r.train);
    hd_idx_free(r.images);
    hd_idx_free(r.labels);
    if (r.graph) hd_graph_free(r.graph);
    return s;
}
