/* The fake quantiser against its definition and against compression's rounding; tuning as a whole: better than one-shot, exact, repeatable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/compress.h"
#include "../../sw/core/progress.h"
#include "../../sw/core/rng.h"
#include "../../sw/explore/accuracy.h"
#include "../../sw/train/qat.h"
#include "../../sw/train/tune.h"

enum { IMAGES = 400, SIDE = 28 };

static hd_rng rng;

/* A graph of one convolution, 3 x 3, 5 to 6 channels, and its stage. */
enum { CIN = 5, COUT = 6, TAPS = 9, INPUTS = CIN * TAPS };

static hd_graph *one_layer(void) {
    hd_graph *g = hd_graph_new("layer");
    assert_non_null(g);
    assert_int_equal(hd_graph_add_tensor(g, "x", (hd_shape){CIN, 6, 6}), 0);
    assert_int_equal(hd_graph_add_tensor(g, "y", (hd_shape){COUT, 6, 6}), 1);
    assert_int_equal(hd_graph_add_node(g, HD_OP_CONV2D, "conv"), 0);
    hd_node *n = g->node;
    n->input[0] = 0;
    n->output = g->output = 1;
    g->input = 0;
    n->kh = n->kw = 3;
    n->pad_top = n->pad_left = n->pad_bottom = n->pad_right = 1;
    n->cin = CIN;
    n->cout = COUT;
    n->weight = calloc(COUT * INPUTS, sizeof *n->weight);
    n->bias = calloc(COUT, sizeof *n->bias);
    assert_true(n->weight && n->bias);
    for (int i = 0; i < COUT * INPUTS; i++) n->weight[i] = 0.3f * hd_rng_normal(&rng);
    return g;
}

typedef struct format {
    enum hd_grid grid;
    int bits;
    enum hd_granularity granularity;
    int group, blocks;
} format;

static const format FORMATS[] = {
    {HD_GRID_ODD, 1, HD_GRANULARITY_CHANNEL, 0, 0}, {HD_GRID_ODD, 2, HD_GRANULARITY_CHANNEL, 0, 1},   {HD_GRID_ODD, 4, HD_GRANULARITY_TENSOR, 0, 1},
    {HD_GRID_EVEN, 2, HD_GRANULARITY_CHANNEL, 0, 1}, {HD_GRID_EVEN, 8, HD_GRANULARITY_CHANNEL, 0, 0}, {HD_GRID_TERNARY, 0, HD_GRANULARITY_CHANNEL, 0, 1},
    {HD_GRID_ODD, 2, HD_GRANULARITY_GROUP, 7, 1},
};
enum { N_FORMATS = sizeof FORMATS / sizeof *FORMATS };

static void make_stage(hd_stage *s, const format *f) {
    *s = (hd_stage){.kind = HD_STAGE_CONV, .name = (char *)"conv", .kh = 3, .kw = 3, .groups = 1, .cin = CIN, .cout = COUT};
    s->grid = f->grid;
    s->bits = f->bits;
    s->granularity = f->granularity;
    s->group_size = f->group;
    if (f->group) {
        size_t n = COUT * ((INPUTS + (size_t)f->group - 1) / (size_t)f->group);
        s->group_shift = calloc(n, 1);
        assert_non_null(s->group_shift);
        for (size_t i = 0; i < n; i++) s->group_shift[i] = (uint8_t)hd_rng_below(&rng, 4);
    }
    if (f->blocks) { /* 2 x 4: neither divides its side */
        s->block_in = 2;
        s->block_out = 4;
        size_t n = 2 * hd_stage_in_blocks(s);
        s->present = calloc(n, 1);
        assert_non_null(s->present);
        for (size_t i = 0; i < n; i++) s->present[i] = hd_rng_below(&rng, 3) > 0;
    }
}

static void free_stage(hd_stage *s) {
    free(s->group_shift);
    free(s->present);
}

/* What a weight must become, from docs/formats.md alone: the nearest legal value by search over all of them; NAN where two are equally near. */
static double by_search(const hd_stage *s, size_t oc, size_t node_i, double w, double step, double *x_out, double *gain_out, int *absent) {
    size_t ic = node_i / TAPS, tap = node_i % TAPS, i = tap * CIN + ic;
    double gain = s->group_shift ? 1 << s->group_shift[oc * ((INPUTS + (size_t)s->group_size - 1) / (size_t)s->group_size) + i / (size_t)s->group_size] : 1;
    *absent = s->present && !s->present[oc / 4 * hd_stage_in_blocks(s) + tap * 3 + ic / 2];
    int low = s->grid == HD_GRID_ODD ? 1 - (1 << s->bits) : s->grid == HD_GRID_EVEN ? -(1 << s->bits) : -2;
    int high = s->grid == HD_GRID_ODD ? (1 << s->bits) - 1 : s->grid == HD_GRID_EVEN ? (1 << s->bits) - 2 : 2;
    double best = low;
    for (int v = low; v <= high; v += 2)
        if (fabs(w - step * gain * v) < fabs(w - step * gain * best)) best = v;
    *x_out = w / (step * gain);
    *gain_out = gain;
    return best;
}

static void definition(void **state) {
    (void)state;
    hd_rng_seed(&rng, 3, 3);
    for (size_t k = 0; k < N_FORMATS; k++) {
        hd_graph *g = one_layer();
        hd_stage s;
        hd_fake f;
        hd_err err = {0};
        make_stage(&s, &FORMATS[k]);
        if (hd_fake_new(&f, g, 0, &s, &err)) fail_msg("%s", err.message);
        int high = s.grid == HD_GRID_TERNARY ? 2 : s.grid == HD_GRID_ODD ? (1 << s.bits) - 1 : (1 << s.bits) - 2;
        int low = s.grid == HD_GRID_TERNARY ? -2 : s.grid == HD_GRID_ODD ? 1 - (1 << s.bits) : -(1 << s.bits);
        float step[COUT], q[COUT * INPUTS], d[COUT * INPUTS], dq[COUT * INPUTS], dstep[COUT];
        double want_step[COUT] = {0};
        for (int c = 0; c < COUT; c++) step[c] = (0.2f + hd_rng_float(&rng) * 0.2f) / (float)high;
        for (int i = 0; i < COUT * INPUTS; i++) d[i] = dq[i] = hd_rng_normal(&rng);
        hd_fake_forward(&f, g->node[0].weight, step, q);
        hd_fake_backward(&f, g->node[0].weight, step, d, dstep);
        int outside = 0, absents = 0;
        for (size_t oc = 0; oc < COUT; oc++)
            for (size_t i = 0; i < INPUTS; i++) {
                size_t at = oc * INPUTS + i, c = f.per_tensor ? 0 : oc;
                double x, gain;
                int absent;
                double v = by_search(&s, oc, i, (double)g->node[0].weight[at], (double)step[c], &x, &gain, &absent);
                absents += absent;
                if (absent) {
                    assert_true(q[at] == 0 && d[at] == 0);
                    continue;
                }
                assert_true(fabs((double)q[at] - (double)step[c] * gain * v) < 1e-6);
                int inside = x > low && x < high;
                outside += !inside;
                assert_true(d[at] == (inside ? dq[at] : 0));
                want_step[c] += (double)dq[at] * gain * (inside ? v - x : v);
            }
        assert_int_equal(f.steps, s.granularity == HD_GRANULARITY_TENSOR ? 1 : COUT);
        for (size_t c = 0; c < f.steps; c++)
            assert_true(fabs((double)dstep[c] - want_step[c] / sqrt((double)(f.per_tensor ? COUT * INPUTS : INPUTS) * high)) < 1e-4);
        assert_true(outside > 0 && (absents > 0) == FORMATS[k].blocks);
        /* With feedback, absent weights get the gradient of what they would add, all of it. */
        f.absent_learns = 1;
        memcpy(d, dq, sizeof d);
        hd_fake_backward(&f, g->node[0].weight, step, d, dstep);
        for (int i = 0; i < COUT * INPUTS; i++)
            if (!(f.gain[i] > 0)) assert_true(d[i] == dq[i]);
        hd_fake_free(&f);
        free_stage(&s);
        hd_graph_free(g);
    }
}

/* The fitted step loses no more than any of a fine grid of steps does, but for two hundredths; channels without weights keep theirs. */
static void fit(void **state) {
    (void)state;
    hd_rng_seed(&rng, 5, 5);
    for (size_t k = 0; k < N_FORMATS; k++) {
        hd_graph *g = one_layer();
        hd_stage s;
        hd_fake f;
        hd_err err = {0};
        make_stage(&s, &FORMATS[k]);
        if (s.present) memset(s.present, 0, hd_stage_in_blocks(&s)); /* channels 0..3 */
        if (hd_fake_new(&f, g, 0, &s, &err)) fail_msg("%s", err.message);
        float step[COUT], q[COUT * INPUTS], other[COUT], r[COUT * INPUTS];
        const float *w = g->node[0].weight;
        for (int c = 0; c < COUT; c++) step[c] = 7;
        hd_fake_fit(&f, w, step);
        hd_fake_forward(&f, w, step, q);
        if (s.present && !f.per_tensor) assert_true(step[0] == 7 && step[3] == 7 && step[4] != 7);
        for (int percent = 5; percent < 300; percent += 5) {
            double least = 0, error = 0;
            for (size_t c = 0; c < f.steps; c++) other[c] = step[c] * (float)percent / 100;
            hd_fake_forward(&f, w, other, r);
            for (int i = 0; i < COUT * INPUTS; i++) {
                if (!(f.gain[i] > 0)) continue;
                least += pow((double)(w[i] - q[i]), 2);
                error += pow((double)(w[i] - r[i]), 2);
            }
            assert_true(least < error * 1.02 + 1e-9);
        }
        hd_fake_free(&f);
        free_stage(&s);
        hd_graph_free(g);
    }
}

/* The derivative by the step, where no weight changes its integer, is that of the forward pass but for the part that straight-through rounding
 * takes as linear: -x. */
static void finite_difference(void **state) {
    (void)state;
    hd_rng_seed(&rng, 4, 4);
    hd_graph *g = one_layer();
    hd_stage s;
    hd_fake f;
    hd_err err = {0};
    make_stage(&s, &FORMATS[1]);
    if (hd_fake_new(&f, g, 0, &s, &err)) fail_msg("%s", err.message);
    float step[COUT], up[COUT], q[COUT * INPUTS], r[COUT * INPUTS], d[COUT * INPUTS], dstep[COUT];
    for (int c = 0; c < COUT; c++) step[c] = 0.1f, up[c] = 0.1f * 1.001f;
    hd_fake_forward(&f, g->node[0].weight, step, q);
    hd_fake_forward(&f, g->node[0].weight, up, r);
    for (size_t oc = 0; oc < COUT; oc++) {
        double moved = 0;
        for (size_t i = oc * INPUTS; i < (oc + 1) * INPUTS; i++) {
            float w = g->node[0].weight[i], x = w / step[oc];
            d[i] = hd_rng_normal(&rng);
            int same = f.gain[i] > 0 && fabsf(q[i] / step[oc] - r[i] / up[oc]) < 0.5f;
            if (!same) d[i] = 0;
            else moved += (double)d[i] * ((double)r[i] - (double)q[i]) / ((double)up[oc] - (double)step[oc]) - (x > -3 && x < 3 ? (double)(d[i] * x) : 0);
        }
        hd_fake_backward(&f, g->node[0].weight, step, d, dstep);
        assert_true(fabs((double)dstep[oc] * sqrt(INPUTS * 3.0) - moved) < 2e-3);
        memset(d, 0, sizeof d);
    }
    hd_fake_free(&f);
    free_stage(&s);
    hd_graph_free(g);
}

/* ---- whole runs ---- */

/* Class k is a bright square whose place depends on k, faint in noise: one-shot compression to few bits loses it. */
static void make_data(hd_idx *images, hd_idx *labels, uint64_t seed) {
    hd_rng_seed(&rng, seed, 5);
    *images = (hd_idx){.type = HD_IDX_U8, .rank = 3, .dim = {IMAGES, SIDE, SIDE}, .item = SIDE * SIDE};
    *labels = (hd_idx){.type = HD_IDX_U8, .rank = 1, .dim = {IMAGES}, .item = 1};
    uint8_t *pixel = calloc(IMAGES, SIDE * SIDE), *label = calloc(IMAGES, 1);
    assert_true(pixel && label);
    for (int i = 0; i < IMAGES; i++) {
        label[i] = (uint8_t)hd_rng_below(&rng, 10);
        for (int p = 0; p < SIDE * SIDE; p++) {
            int inside = p / SIDE / 6 == label[i] / 3 && p % SIDE / 6 == label[i] % 3;
            pixel[i * SIDE * SIDE + p] = (uint8_t)(hd_rng_below(&rng, 160) + (inside ? 90 : 0));
        }
    }
    images->data = pixel;
    labels->data = label;
}

typedef struct fixture {
    hd_idx images, labels, test_images, test_labels;
    hd_graph *g;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    hd_train_options o;
    hd_err err = {0};
    if (!f) return -1;
    make_data(&f->images, &f->labels, 5);
    make_data(&f->test_images, &f->test_labels, 6);
    f->g = hd_default_network(1);
    hd_train_defaults(&o);
    o.quiet = 1;
    o.epochs = 6;
    o.batch = 16;
    *state = f;
    return hd_train(f->g, &f->images, &f->labels, NULL, NULL, &o, NULL, &err) ? -1 : 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    free(f->images.data);
    free(f->labels.data);
    free(f->test_images.data);
    free(f->test_labels.data);
    hd_graph_free(f->g);
    free(f);
    return 0;
}

static hd_policy policy_of(int bits, enum hd_granularity granularity, float sparsity) {
    hd_policy p;
    hd_policy_default(&p);
    p.base.bits = bits;
    p.base.granularity = granularity;
    p.base.group_size = granularity == HD_GRANULARITY_GROUP ? 32 : 0;
    p.base.sparsity = sparsity;
    p.base.block_in = 4;
    return p;
}

static void options_of(hd_tune_options *o, const hd_graph *teacher) {
    hd_tune_defaults(o);
    o->train.quiet = 1;
    o->train.epochs = 4;
    o->train.batch = 16;
    o->teacher = teacher;
}

static double accuracy_of(const hd_model *m, const fixture *f) {
    double a = 0;
    hd_err err = {0};
    if (hd_model_accuracy(m, &f->test_images, &f->test_labels, 0, 1, &a, &err)) fail_msg("%s", err.message);
    return a;
}

static const hd_stage *stage_named(const hd_model *m, const char *name) {
    for (int i = 0; i < m->n_stages; i++)
        if (!strcmp(m->stage[i].name, name)) return &m->stage[i];
    return NULL;
}

/* Integers of the model times the trained scale are the tuned graph's weights to the bit, and its blocks the trained blocks. */
static void assert_exact(const hd_model *m, const hd_tuned *t) {
    int layers = 0;
    for (int i = 0; i < t->graph->n_nodes; i++) {
        const hd_node *n = &t->graph->node[i];
        if (!n->weight) continue;
        const hd_stage *s = stage_named(m, n->name);
        assert_non_null(s);
        size_t taps = (size_t)s->kh * (size_t)s->kw, per_tap = (size_t)(s->cin / s->groups), inputs = taps * per_tap;
        assert_true(!s->present == !t->trained[i].present);
        if (s->present) assert_memory_equal(s->present, t->trained[i].present, hd_stage_in_blocks(s) * (size_t)((s->cout + s->block_out - 1) / s->block_out));
        for (size_t oc = 0; oc < (size_t)s->cout; oc++)
            for (size_t k = 0; k < inputs; k++) {
                int v = s->v[oc * inputs + k % taps * per_tap + k / taps];
                assert_true(n->weight[oc * inputs + k] == t->trained[i].scale[oc] * (float)v);
            }
        layers++;
    }
    assert_int_equal(layers, 5);
}

/* One-shot, tuned, compressed again; the caller frees. */
typedef struct outcome {
    hd_model *oneshot, *model;
    hd_tuned tuned;
} outcome;

static void tune(outcome *r, const fixture *f, const hd_policy *p, const hd_tune_options *o) {
    hd_err err = {0};
    if (hd_compress(&r->oneshot, f->g, p, &f->images, 16, 1, &err)) fail_msg("%s", err.message);
    if (hd_tune(&r->tuned, f->g, r->oneshot, &f->images, &f->labels, NULL, NULL, o, &err)) fail_msg("%s", err.message);
    if (hd_compress_trained(&r->model, r->tuned.graph, p, r->tuned.trained, &f->images, 16, 1, &err)) fail_msg("%s", err.message);
}

static void free_outcome(outcome *r) {
    hd_model_free(r->oneshot);
    hd_model_free(r->model);
    hd_tuned_free(&r->tuned);
}

static void beats_oneshot(void **state) {
    const fixture *f = *state;
    static const struct { int bits; float sparsity; double margin; } cases[] = {{2, 0.5f, 0.1}, {2, 0.75f, 0.25}, {0, 0.5f, 0.1}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        hd_policy p = policy_of(cases[k].bits, HD_GRANULARITY_CHANNEL, cases[k].sparsity);
        hd_tune_options o;
        outcome r = {0};
        options_of(&o, f->g);
        o.train.learning_rate = 4e-3f;
        o.train.epochs = 5;
        tune(&r, f, &p, &o);
        double before = accuracy_of(r.oneshot, f), after = accuracy_of(r.model, f);
        print_message("%d bits, sparsity %g: %.3f to %.3f\n", cases[k].bits, (double)cases[k].sparsity, before, after);
        assert_true(after > before + cases[k].margin);
        assert_exact(r.model, &r.tuned);
        free_outcome(&r);
    }
}

/* Every granularity and way of masks and teachers gives exactly its integers, and as many blocks as one-shot. */
static void exact(void **state) {
    const fixture *f = *state;
    static const struct { int bits; enum hd_granularity g; float sparsity; hd_masks masks; int teacher, global; } cases[] = {
        {2, HD_GRANULARITY_CHANNEL, 0.5f, HD_MASKS_FIXED, 0, 0}, {0, HD_GRANULARITY_CHANNEL, 0.75f, HD_MASKS_FEEDBACK, 1, 1},
        {3, HD_GRANULARITY_TENSOR, 0.5f, HD_MASKS_REGROW, 2, 0}, {2, HD_GRANULARITY_GROUP, 0.5f, HD_MASKS_GRADUAL, 1, 0},
        {8, HD_GRANULARITY_CHANNEL, 0, HD_MASKS_GRADUAL, 0, 0}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        hd_policy p = policy_of(cases[k].bits, cases[k].g, cases[k].sparsity);
        hd_tune_options o;
        outcome r = {0};
        options_of(&o, cases[k].teacher ? f->g : NULL);
        o.masks = cases[k].masks;
        o.mutual = cases[k].teacher == 2;
        o.global = cases[k].global;
        o.train.epochs = 1;
        tune(&r, f, &p, &o);
        assert_exact(r.model, &r.tuned);
        int same = 1;
        size_t all = 0, wanted = 0;
        for (int i = 0; i < r.model->n_stages; i++) {
            const hd_stage *s = &r.model->stage[i], *first = &r.oneshot->stage[i];
            if (!s->present) continue;
            size_t n = hd_stage_in_blocks(s) * (size_t)((s->cout + s->block_out - 1) / s->block_out), kept = 0, target = 0;
            for (size_t b = 0; b < n; b++) kept += s->present[b], target += first->present[b];
            if (!cases[k].global) assert_int_equal(kept, target);
            all += kept;
            wanted += target;
            same &= !memcmp(s->present, first->present, n);
        }
        assert_int_equal(all, wanted);
        /* Masks that may move do; fixed ones stay exactly. */
        if (cases[k].sparsity > 0) assert_int_equal(same, cases[k].masks == HD_MASKS_FIXED);
        free_outcome(&r);
    }
}

static void repeats(void **state) {
    const fixture *f = *state;
    for (int mutual = 0; mutual < 2; mutual++) {
        hd_policy p = policy_of(2, HD_GRANULARITY_CHANNEL, 0.5f);
        hd_tune_options o;
        outcome r[3] = {{0}};
        options_of(&o, f->g);
        o.masks = mutual ? HD_MASKS_REGROW : HD_MASKS_GRADUAL;
        o.mutual = mutual;
        o.train.epochs = 1;
        for (int k = 0; k < 3; k++) {
            o.train.threads = k + 1;
            tune(&r[k], f, &p, &o);
        }
        for (int k = 1; k < 3; k++) {
            assert_true(r[k].tuned.loss == r[0].tuned.loss);
            for (int i = 0; i < r[0].tuned.graph->n_nodes; i++) {
                const hd_node *a = &r[0].tuned.graph->node[i], *b = &r[k].tuned.graph->node[i];
                if (a->weight) assert_memory_equal(a->weight, b->weight, hd_node_weights(a) * sizeof(float));
            }
        }
        for (int k = 0; k < 3; k++) free_outcome(&r[k]);
    }
}

/* A lottery ticket: masks of the trained network, weights of an early one. */
static void rewinds(void **state) {
    const fixture *f = *state;
    hd_graph *early = hd_default_network(1);
    assert_non_null(early);
    hd_policy p = policy_of(4, HD_GRANULARITY_CHANNEL, 0.5f);
    hd_tune_options o;
    outcome r = {0};
    options_of(&o, NULL);
    o.masks = HD_MASKS_FIXED;
    o.rewind = early;
    o.train.learning_rate = 1e-6f; /* so small that the weights stay where they started */
    o.train.epochs = 1;
    tune(&r, f, &p, &o);
    double far = 0, close = 0;
    for (size_t i = 0; i < hd_node_weights(&early->node[0]); i++) {
        if (r.tuned.graph->node[0].weight[i] == 0) continue;
        far += fabs((double)(r.tuned.graph->node[0].weight[i] - f->g->node[0].weight[i]));
        close += fabs((double)(r.tuned.graph->node[0].weight[i] - early->node[0].weight[i]));
    }
    assert_true(close < 0.7 * far);
    assert_exact(r.model, &r.tuned);
    assert_memory_equal(r.model->stage[1].present, r.oneshot->stage[1].present, hd_stage_in_blocks(&r.model->stage[1]));
    free_outcome(&r);
    hd_graph_free(early);
}

static void refuses(void **state) {
    const fixture *f = *state;
    hd_policy p = policy_of(2, HD_GRANULARITY_CHANNEL, 0);
    hd_tune_options o;
    hd_tuned t;
    hd_model *m = NULL;
    hd_err err = {0};
    if (hd_compress(&m, f->g, &p, &f->images, 8, 1, &err)) fail_msg("%s", err.message);
    options_of(&o, NULL);
    o.share = 2;
    assert_int_equal(hd_tune(&t, f->g, m, &f->images, &f->labels, NULL, NULL, &o, &err), HD_RANGE);
    assert_string_equal(err.message, "tuning: teacher's share 2; 0..1 is allowed");
    hd_graph *layer = one_layer();
    options_of(&o, layer);
    assert_int_equal(hd_tune(&t, f->g, m, &f->images, &f->labels, NULL, NULL, &o, &err), HD_MISMATCH);
    assert_string_equal(err.message, "teacher 'layer': 5 x 6 x 6 to 216 outputs; the network 'fashion' has 1 x 28 x 28 to 10");
    options_of(&o, NULL);
    o.rewind = layer;
    assert_int_equal(hd_tune(&t, f->g, m, &f->images, &f->labels, NULL, NULL, &o, &err), HD_MISMATCH);
    assert_string_equal(err.message, "rewound network 'layer': node 'conv1' of 'fashion' has no twin of the same size");
    options_of(&o, NULL);
    hd_interrupted = 1;
    assert_int_equal(hd_tune(&t, f->g, m, &f->images, &f->labels, NULL, NULL, &o, &err), HD_INTERRUPTED);
    hd_interrupted = 0;
    assert_null(t.graph);
    assert_string_equal(err.message, "tuning stopped in epoch 1 of 4");
    hd_graph_free(layer);
    hd_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(definition), cmocka_unit_test(finite_difference), cmocka_unit_test(fit), cmocka_unit_test(beats_oneshot),
                                       cmocka_unit_test(exact),      cmocka_unit_test(repeats),           cmocka_unit_test(rewinds),
                                       cmocka_unit_test(refuses)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
