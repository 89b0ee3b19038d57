#include "demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/passes.h"
#include "../core/progress.h"
#include "../train/tune.h"
#include "accuracy.h"
#include "dataset.h"
#include "verify.h"

enum { CALIBRATION_IMAGES = 512 };

static const struct variant {
    const char *name, *about;
    int bits; /* 0 = ternary */
    float sparsity;
    int tuned;
} variants[HD_DEMO_POINTS] = {
    {"W8", "8 bits, dense", 8, 0, 0},
    {"W4", "4 bits, dense", 4, 0, 0},
    {"ternary", "-1, 0, 1; dense", 0, 0, 0},
    {"W2 + 50% blocks", "2 bits; half of the 8x8 blocks removed, first and last layer dense", 2, 0.5f, 0},
    {"W2 + 50%, tuned", "as the row above, trained in its format with the float network as teacher", 2, 0.5f, 1},
    {"ternary + 75%, tuned", "-1, 0, 1; three quarters of the 8x8 blocks removed, first and last layer dense; trained in this format", 0, 0.75f, 1},
};

typedef struct data {
    hd_graph *graph;
    hd_idx *train, *train_labels, *images, *labels;
    int tune_epochs;
} data;

static void free_data(data *x) {
    if (x->graph) hd_graph_free(x->graph);
    hd_idx_free(x->train);
    hd_idx_free(x->train_labels);
    hd_idx_free(x->images);
    hd_idx_free(x->labels);
}

static hd_status load_data(data *x, hd_err *err) {
    hd_status s = hd_default_graph(&x->graph, err);
    if (!s) s = hd_fashion_mnist(&x->train, &x->train_labels, 0, err);
    if (!s) s = hd_fashion_mnist(&x->images, &x->labels, 1, err);
    if (s) return s;
    const hd_graph *g = x->graph;
    return hd_dataset_check(x->images, x->labels, "test images", "test labels", hd_shape_size(g->tensor[g->input].shape),
                            (uint32_t)hd_shape_size(g->tensor[g->output].shape), err);
}

/* Adds the rule that keeps a layer dense. */
static hd_status keep_dense(hd_policy *p, const char *layer, hd_err *err) {
    hd_layer_policy dense = p->base;
    dense.sparsity = 0;
    dense.skip_sparsity = 1;
    return hd_policy_add(p, layer, &dense) ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for a policy rule");
}

static hd_status variant_policy(hd_policy *p, const struct variant *v, const hd_graph *g, hd_err *err) {
    hd_policy_default(p);
    p->base.bits = v->bits;
    p->base.sparsity = v->sparsity;
    p->base.block_in = p->base.block_out = 8;
    if (v->sparsity <= 0) return HD_OK;
    const char *first = NULL, *last = NULL;
    for (int i = 0; i < g->n_nodes; i++) {
        if (!g->node[i].weight) continue;
        if (!first) first = g->node[i].name;
        last = g->node[i].name;
    }
    hd_status s = first ? keep_dense(p, first, err) : HD_OK;
    return s || !last ? s : keep_dense(p, last, err);
}

static hd_status make_model(hd_model **m, const struct variant *v, const hd_policy *policy, const data *x, hd_err *err) {
    if (!v->tuned) return hd_compress(m, x->graph, policy, x->train, CALIBRATION_IMAGES, 1, err);
    hd_tune_options o;
    hd_tune_defaults(&o);
    o.train.epochs = x->tune_epochs;
    o.teacher = x->graph;
    o.global = 0; /* as the one-shot rows, and better for cycles: those of convolutions count */
    return hd_tune_model(m, x->graph, policy, x->train, x->train_labels, CALIBRATION_IMAGES, 1, &o, err);
}

static hd_status run_point(hd_demo *d, hd_demo_point *pt, const struct variant *v, const data *x, uint32_t rtl_images, hd_err *err) {
    hd_policy policy;
    hd_model *m = NULL;
    hd_lower_options lower = {.board = d->board ? d->board->name : "", .expand_input = -1};
    pt->name = v->name;
    pt->about = v->about;
    hd_status s = variant_policy(&policy, v, x->graph, err);
    if (!s) s = make_model(&m, v, &policy, x, err);
    if (!s) s = hd_model_accuracy(m, x->images, x->labels, d->images, 1, &pt->accuracy, err);
    if (!s) s = hd_lower(&pt->program, m, &d->geometry, &lower, err);
    if (!s) {
        pt->bytes = hd_model_weight_bytes(m);
        pt->bits_per_weight = hd_model_bits_per_weight(m);
        d->weights = m->dense_weights;
        s = hd_verify_rtl(&pt->cost, &pt->compared, pt->program, m, x->images, rtl_images, err);
        if (s) hd_fail_in(err, pt->name);
    }
    if (!s) {
        pt->images_per_second = d->clock_hz / (double)pt->cost->cycles;
        pt->speedup = (double)d->point[0].cost->cycles / (double)pt->cost->cycles;
    }
    if (m) hd_model_free(m);
    hd_policy_free(&policy);
    return s;
}

static hd_status choose_target(hd_demo *d, const hd_board *board, hd_err *err) {
    d->board = board;
    d->clock_hz = board ? board->clock_hz : 48e6;
    d->clock_assumed = board ? board->clock_assumed : 1;
    d->clock_basis = board ? board->clock_basis : "no board was named; 48 MHz is assumed";
    return board ? hd_board_geometry(&d->geometry, board, err) : hd_geometry_parse(&d->geometry, "4x8x8x2", err);
}

hd_status hd_demo_run(hd_demo *d, const hd_board *board, uint32_t rtl_images, uint32_t test_images, int tune_epochs, hd_err *err) {
    memset(d, 0, sizeof *d);
    double start = hd_seconds();
    data x = {.tune_epochs = tune_epochs};
    hd_status s = choose_target(d, board, err);
    if (!s) s = load_data(&x, err);
    if (!s) {
        d->images = test_images && test_images < x.images->dim[0] ? test_images : x.images->dim[0];
        if (rtl_images > x.images->dim[0]) rtl_images = x.images->dim[0];
        snprintf(d->model, sizeof d->model, "%s", x.graph->name);
        s = hd_accuracy(x.graph, x.images, x.labels, (int)d->images, &d->float_accuracy, err);
    }
    for (int i = 0; !s && i < HD_DEMO_POINTS; i++) {
        if (variants[i].tuned && !tune_epochs) continue;
        s = run_point(d, &d->point[d->n_points++], &variants[i], &x, rtl_images, err);
    }
    free_data(&x);
    d->seconds = hd_seconds() - start;
    return s;
}

void hd_demo_free(hd_demo *d) {
    for (int i = 0; i < HD_DEMO_POINTS; i++) {
        hd_cost_free(d->point[i].cost);
        if (d->point[i].program) hd_program_free(d->point[i].program);
    }
    memset(d, 0, sizeof *d);
}
