/* Each way of training in a stored format against the plain thing it replaces, where the plain thing must fail: fixed steps, masks that are wrong
 * from the start, labels that say nothing, a teacher that knows nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/compress.h"
#include "../../sw/core/rng.h"
#include "../../sw/train/tune.h"

enum { IMAGES = 400, SIDE = 28 };

typedef struct fixture {
    hd_idx images, labels, noise_labels, test_images, test_labels;
    hd_graph *g; /* trained on labels */
} fixture;

/* Class k is a bright square whose place depends on k, faint in noise. */
static void make_data(hd_idx *images, hd_idx *labels, uint64_t seed) {
    hd_rng rng;
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

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    hd_train_options o;
    hd_err err = {0};
    hd_idx other;
    if (!f) return -1;
    make_data(&f->images, &f->labels, 5);
    make_data(&f->test_images, &f->test_labels, 6);
    make_data(&other, &f->noise_labels, 7); /* labels of other images */
    free(other.data);
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
    free(f->noise_labels.data);
    free(f->test_images.data);
    free(f->test_labels.data);
    hd_graph_free(f->g);
    free(f);
    return 0;
}

static hd_policy policy_of(int bits, float sparsity) {
    hd_policy p;
    hd_policy_default(&p);
    p.base.bits = bits;
    p.base.sparsity = sparsity;
    p.base.block_out = 4;
    return p;
}

/* Labels only, masks fixed, the plain score, a share of blocks for each layer: a test turns on the one thing it is about. */
static hd_tune_options plain_options(void) {
    hd_tune_options o;
    hd_tune_defaults(&o);
    o.train.quiet = 1;
    o.train.epochs = 4;
    o.train.batch = 16;
    o.train.threads = 1; /* so short steps are not worth waiting for others */
    o.train.learning_rate = 4e-3f;
    o.train.weight_decay = 0;
    o.train.shift = o.train.flip = 0; /* classes are places */
    o.masks = HD_MASKS_FIXED;
    o.score = HD_SCORE_NORM;
    o.global = 0;
    o.settled = 0.5f;
    o.teacher = NULL;
    o.temperature = 2;
    return o;
}

static hd_model *oneshot(const fixture *f, const hd_graph *g, int bits, float sparsity) {
    hd_policy p = policy_of(bits, sparsity);
    hd_model *m = NULL;
    hd_err err = {0};
    if (hd_compress(&m, g, &p, &f->images, 16, 1, &err)) fail_msg("%s", err.message);
    return m;
}

typedef struct score {
    double loss, accuracy; /* of the last epoch on the training images; on the test images */
} score;

static score tune(const fixture *f, const hd_graph *g, const hd_model *start, const hd_idx *labels, const hd_tune_options *o) {
    hd_tuned t;
    score r = {0};
    hd_err err = {0};
    if (hd_tune(&t, g, start, &f->images, labels, NULL, NULL, o, &err)) fail_msg("%s", err.message);
    if (hd_accuracy(t.graph, &f->test_images, &f->test_labels, 0, &r.accuracy, &err)) fail_msg("%s", err.message);
    r.loss = t.loss;
    hd_tuned_free(&t);
    return r;
}

static void tell(const char *what, score plain, score method) {
    print_message("%s: plain loss %.3f accuracy %.3f; method loss %.3f accuracy %.3f\n", what, plain.loss, plain.accuracy, method.loss, method.accuracy);
}

/* Weights of one bit are a sign and a step: from a start of tiny weights only learned steps make the network loud enough. */
static void learned_steps(void **state) {
    const fixture *f = *state;
    hd_graph *tiny = hd_graph_clone(f->g);
    assert_non_null(tiny);
    for (int i = 0; i < tiny->n_nodes; i++)
        for (size_t k = 0; tiny->node[i].weight && k < hd_node_weights(&tiny->node[i]); k++) tiny->node[i].weight[k] *= 0.5f;
    hd_model *m = oneshot(f, tiny, 1, 0);
    hd_tune_options o = plain_options();
    o.step_pace = 0;
    score plain = tune(f, tiny, m, &f->labels, &o);
    o.step_pace = 1;
    score method = tune(f, tiny, m, &f->labels, &o);
    tell("learned steps", plain, method);
    assert_true(method.loss < 0.6 * plain.loss);
    hd_model_free(m);
    hd_graph_free(tiny);
}

/* Turns the masks of the one-shot model around: the blocks it would remove stay, as many as before. */
static void keep_the_worst(hd_model *m) {
    for (int i = 0; i < m->n_stages; i++) {
        hd_stage *s = &m->stage[i];
        if (s->kind != HD_STAGE_CONV || !s->present) continue;
        size_t n = hd_stage_in_blocks(s) * (size_t)((s->cout + s->block_out - 1) / s->block_out), keep = 0, kept = 0;
        for (size_t b = 0; b < n; b++) keep += s->present[b];
        assert_true(2 * keep <= n);
        for (size_t b = 0; b < n; b++) {
            s->present[b] = !s->present[b] && kept < keep;
            kept += s->present[b];
        }
    }
}

/* With masks that keep the worst blocks, whatever can move its masks must beat training with these. */
static void moving_masks(void **state) {
    const fixture *f = *state;
    static const struct { hd_masks masks; hd_score score; int global; const char *name; } cases[] = {
        {HD_MASKS_GRADUAL, HD_SCORE_NORM, 0, "gradual"},       {HD_MASKS_GRADUAL, HD_SCORE_NORM, 1, "gradual, one budget"},
        {HD_MASKS_GRADUAL, HD_SCORE_FISHER, 1, "by Fisher"},   {HD_MASKS_FEEDBACK, HD_SCORE_NORM, 1, "feedback"},
        {HD_MASKS_REGROW, HD_SCORE_NORM, 0, "prune and regrow"}};
    hd_model *m = oneshot(f, f->g, 3, 0.8f);
    keep_the_worst(m);
    hd_tune_options o = plain_options();
    score plain = tune(f, f->g, m, &f->labels, &o);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        o.masks = cases[k].masks;
        o.score = cases[k].score;
        o.global = cases[k].global;
        score method = tune(f, f->g, m, &f->labels, &o);
        tell(cases[k].name, plain, method);
        assert_true(method.loss < 0.8 * plain.loss && method.accuracy > plain.accuracy + 0.1);
    }
    hd_model_free(m);
}

/* Labels of other images teach nothing; the teacher alone does. */
static void teachers(void **state) {
    const fixture *f = *state;
    hd_err err = {0};
    hd_model *m = oneshot(f, f->g, 2, 0.5f);
    hd_graph *small = NULL;
    hd_tune_options o = plain_options();
    score plain = tune(f, f->g, m, &f->noise_labels, &o);
    o.teacher = f->g;
    o.share = 1;
    score self = tune(f, f->g, m, &f->noise_labels, &o);
    tell("self", plain, self);
    assert_true(self.accuracy > plain.accuracy + 0.4);
    if (hd_narrow(&small, f->g, 0.5f, &err)) fail_msg("%s", err.message);
    hd_model *narrow = oneshot(f, small, 2, 0.5f);
    o.teacher = NULL;
    score narrow_plain = tune(f, small, narrow, &f->noise_labels, &o);
    o.teacher = f->g;
    score narrow_taught = tune(f, small, narrow, &f->noise_labels, &o);
    tell("narrow student", narrow_plain, narrow_taught);
    assert_true(narrow_taught.accuracy > narrow_plain.accuracy + 0.4);
    hd_model_free(narrow);
    hd_graph_free(small);
    hd_model_free(m);
}

/* A teacher without any training spoils its student, unless both learn. */
static void mutual(void **state) {
    const fixture *f = *state;
    hd_graph *ignorant = hd_default_network(9);
    assert_non_null(ignorant);
    hd_model *m = oneshot(f, f->g, 2, 0.5f);
    hd_tune_options o = plain_options();
    o.teacher = ignorant;
    o.share = 0.9f;
    score frozen = tune(f, f->g, m, &f->labels, &o);
    o.mutual = 1;
    score both = tune(f, f->g, m, &f->labels, &o);
    tell("mutual", frozen, both);
    assert_true(both.accuracy > frozen.accuracy + 0.3);
    hd_model_free(m);
    hd_graph_free(ignorant);
}

static void refusals(void **state) {
    const fixture *f = *state;
    hd_tuned t;
    hd_err err = {0};
    hd_model *m = oneshot(f, f->g, 4, 0.5f);
    static const struct { int field; float value; const char *message; } rows[] = {
        {0, 4, "tuning: masks 4; 0..3 are allowed"},
        {1, 2, "tuning: score 2; 0..1 are allowed"},
        {2, 1.5f, "tuning: settled part 1.5; 0..1 is allowed"},
        {3, 0, "tuning: temperature 0; above 0, at most 100 is allowed"},
        {4, -1, "tuning: pace of steps -1; 0..100 is allowed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hd_tune_options o = plain_options();
        if (rows[i].field == 0) o.masks = (hd_masks)rows[i].value;
        if (rows[i].field == 1) o.score = (hd_score)rows[i].value;
        *(float *[]){&o.settled, &o.settled, &o.settled, &o.temperature, &o.step_pace}[rows[i].field] = rows[i].field > 1 ? rows[i].value : 0.5f;
        assert_int_equal(hd_tune(&t, f->g, m, &f->images, &f->labels, NULL, NULL, &o, &err), HD_RANGE);
        assert_string_equal(err.message, rows[i].message);
        assert_null(t.graph);
    }
    /* Blocks in equal numbers stay so only where none comes or goes by itself. */
    hd_tune_options o = plain_options();
    hd_policy p = policy_of(4, 0.5f);
    p.base.balance = p.base.block_in;
    o.policy = &p;
    o.masks = HD_MASKS_REGROW;
    assert_int_equal(hd_tune(&t, f->g, m, &f->images, &f->labels, NULL, NULL, &o, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "conv1: masks regrow with blocks in equal numbers (balance, N of M); allowed are fixed, gradual and feedback");
    hd_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(learned_steps), cmocka_unit_test(moving_masks), cmocka_unit_test(teachers), cmocka_unit_test(mutual), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
