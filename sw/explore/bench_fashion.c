/* Suite tune, rows fashion.*: the embedded network trained on in three stored formats by the defaults of `heddle tune`, with the float network as
 * teacher. In the sparse ones the first and the last layer keep 8 bits and all their blocks (784 of 47,530 parameters, as is usual for low bits), and
 * the others lose so many that the wanted share of the whole network's blocks is gone. */
#include <math.h>
#include <string.h>

#include "../../compiler/compress/passes.h"
#include "../train/tune.h"
#include "accuracy.h"
#include "bench_language.h"
#include "dataset.h"
#include "verify.h"

enum { CALIBRATION_IMAGES = 512, RTL_IMAGES = 16, GEOMETRIES = 2, EPOCHS = 10 };

/* A geometry skips a tile of LANES inputs x COLS outputs: one for blocks of 8 x 4, one for 4 x 8. */
static const char *const geometry_text[GEOMETRIES] = {"4x4x8x2", "4x8x4x2"};

static const struct setting {
    const char *name;
    int bits; /* 0 = ternary */
    float sparsity;
    int block_in, block_out, geometry;
    float sparsity_between; /* of the layers between the first and the last, which keep 8 bits and all blocks; 0 = all layers alike */
    double bar; /* share of right answers that is wanted */
} settings[] = {
    {"w4", 4, 0, 4, 8, 1, 0, 0.9118},
    {"w2_block50", 2, 0.5f, 4, 8, 1, 0.53f, 0.9048},
    {"ternary_block75", 0, 0.75f, 4, 8, 1, 0.793f, 0.8848},
};

typedef struct rig {
    hd_graph *g;
    hd_idx *train, *train_labels, *test, *test_labels;
    double accuracy_float;
} rig;

static hd_status open_rig(rig *r, hd_err *err) {
    hd_status s = hd_default_graph(&r->g, err);
    if (!s) s = hd_fashion_mnist(&r->train, &r->train_labels, 0, err);
    if (!s) s = hd_fashion_mnist(&r->test, &r->test_labels, 1, err);
    return s ? s : hd_accuracy(r->g, r->test, r->test_labels, 0, &r->accuracy_float, err);
}

static void close_rig(rig *r) {
    if (r->g) hd_graph_free(r->g);
    hd_idx_free(r->train);
    hd_idx_free(r->train_labels);
    hd_idx_free(r->test);
    hd_idx_free(r->test_labels);
}

/* Share of the pruning blocks of the whole network that are absent; dense layers count with the blocks they would have. */
static double removed_blocks(const hd_model *m, const struct setting *x) {
    size_t all = 0, present = 0;
    for (int i = 0; i < m->n_stages; i++) {
        const hd_stage *s = &m->stage[i];
        if (s->kind != HD_STAGE_CONV) continue;
        size_t per_tap = (size_t)(s->cin / s->groups), in = (size_t)x->block_in, out = (size_t)x->block_out;
        size_t n = (size_t)s->kh * (size_t)s->kw * ((per_tap + in - 1) / in) * (((size_t)s->cout + out - 1) / out);
        all += n;
        for (size_t b = 0; b < n; b++) present += s->present ? s->present[b] : 1;
    }
    return 1 - (double)present / (double)all;
}

static void add(hd_figures *f, const rig *r, const struct setting *x, const hd_model *m, const hd_cost *cost, uint32_t compared, double accuracy, double seconds) {
    hd_figure *a = hd_figure_add(f, accuracy, "share", "measured", "fashion.%s", x->name);
    a->reference = x->bar;
    a->compared = "the bar, 10,000 test images";
    hd_figure_add(f, r->accuracy_float, "share", "measured", "fashion.%s.float", x->name);
    hd_figure_add(f, hd_model_bits_per_weight(m), "bits", "measured", "fashion.%s.bpw", x->name);
    if (x->sparsity > 0) {
        hd_figure *removed = hd_figure_add(f, removed_blocks(m, x), "share", "measured", "fashion.%s.removed", x->name);
        removed->reference = (double)x->sparsity;
        removed->compared = "the wanted share of all blocks of the network";
    }
    hd_figure *cycles = hd_figure_add(f, (double)cost->cycles, "cycles", "simulated", "fashion.%s.cycles", x->name);
    cycles->reference = (double)cost->predicted;
    cycles->compared = "cycles predicted by the instruction-level model";
    hd_figure *images = hd_figure_add(f, compared, "images", "simulated", "fashion.%s.rtl_images", x->name);
    images->reference = RTL_IMAGES;
    images->compared = "images with equal bytes on RTL, instruction-level model and integer executor; another byte fails the suite";
    hd_figure *time = hd_figure_add(f, seconds, "s", "measured", "fashion.%s.seconds", x->name);
    time->reference = 300;
    time->compared = "the bar; half of the processor time, as on two free cores";
}

static hd_status run_setting(hd_figures *f, const rig *r, const struct setting *x, hd_err *err) {
    hd_policy policy;
    hd_tune_options o;
    hd_geometry geometry;
    hd_lower_options lower = {.board = "", .expand_input = -1};
    hd_model *m = NULL;
    hd_program *program = NULL;
    hd_cost *cost = NULL;
    uint32_t compared = 0;
    double accuracy = 0, start = hd_two_core_seconds();
    hd_policy_default(&policy);
    policy.base.bits = x->bits;
    policy.base.sparsity = x->sparsity_between > 0 ? x->sparsity_between : x->sparsity;
    policy.base.block_in = x->block_in;
    policy.base.block_out = x->block_out;
    hd_tune_defaults(&o);
    o.train.learning_rate = 0;
    o.train.epochs = EPOCHS;
    o.teacher = r->g;
    hd_status s = x->sparsity_between > 0 ? hd_policy_keep_ends(&policy, r->g, err) : HD_OK;
    if (!s) s = hd_tune_model(&m, r->g, &policy, r->train, r->train_labels, CALIBRATION_IMAGES, 1, &o, err);
    double seconds = hd_two_core_seconds() - start;
    if (!s) s = hd_model_accuracy(m, r->test, r->test_labels, 0, 1, &accuracy, err);
    if (!s) s = hd_geometry_parse(&geometry, geometry_text[x->geometry], err);
    if (!s) s = hd_lower(&program, m, &geometry, &lower, err);
    if (!s) s = hd_verify_rtl(&cost, &compared, program, m, r->test, RTL_IMAGES, err);
    if (!s) add(f, r, x, m, cost, compared, accuracy, seconds);
    if (s) hd_fail_in(err, x->name);
    hd_cost_free(cost);
    if (program) hd_program_free(program);
    hd_model_free(m);
    hd_policy_free(&policy);
    return s;
}

hd_status hd_bench_fashion(hd_figures *f, hd_err *err) {
    rig r = {0};
    hd_status s = open_rig(&r, err);
    for (size_t i = 0; !s && i < sizeof settings / sizeof *settings; i++) s = run_setting(f, &r, &settings[i], err);
    close_rig(&r);
    return s;
}
