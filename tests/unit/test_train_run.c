/* Training as a whole on made-up images: it learns, repeats itself bit for bit on any number of threads, stops when asked
 * and says what is wrong with its input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/progress.h"
#include "../../sw/core/rng.h"
#include "../../sw/train/data.h"
#include "../../sw/train/train.h"

enum { IMAGES = 300, SIDE = 28 };

/* Class k is a bright square whose place depends on k, on noise. */
static void make_data(hd_idx *images, hd_idx *labels) {
    hd_rng rng;
    hd_rng_seed(&rng, 5, 5);
    *images = (hd_idx){.type = HD_IDX_U8, .rank = 3, .dim = {IMAGES, SIDE, SIDE}, .item = SIDE * SIDE};
    *labels = (hd_idx){.type = HD_IDX_U8, .rank = 1, .dim = {IMAGES}, .item = 1};
    uint8_t *pixel = calloc(IMAGES, SIDE * SIDE), *label = calloc(IMAGES, 1);
    assert_non_null(pixel);
    assert_non_null(label);
    for (int i = 0; i < IMAGES; i++) {
        label[i] = (uint8_t)hd_rng_below(&rng, 10);
        for (int p = 0; p < SIDE * SIDE; p++) {
            int inside = p / SIDE / 6 == label[i] / 3 && p % SIDE / 6 == label[i] % 3;
            pixel[i * SIDE * SIDE + p] = (uint8_t)(hd_rng_below(&rng, 100) + (inside ? 150 : 0));
        }
    }
    images->data = pixel;
    labels->data = label;
}

typedef struct fixture {
    hd_idx images, labels;
    hd_train_options o;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    if (!f) return -1;
    make_data(&f->images, &f->labels);
    hd_train_defaults(&f->o);
    f->o.quiet = 1;
    f->o.epochs = 2;
    f->o.flip = 0;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    free(f->images.data);
    free(f->labels.data);
    free(f);
    return 0;
}

/* Weights by hand: 5*5*1*c + 9*c*2c + 9*2c*2c + 16*2c*f + f*10 with c = 16, f = 64 times the width. */
static void scaled_network(void **state) {
    (void)state;
    static const struct { double width; size_t c, f; } cases[] = {{1, 16, 64}, {2, 32, 128}, {0.5, 8, 32}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        hd_err err = {0};
        hd_graph *g = hd_scaled_network(1, cases[k].width);
        assert_non_null(g);
        if (hd_graph_check(g, &err)) fail_msg("%s", err.message);
        size_t weights = 0, c = cases[k].c, f = cases[k].f;
        for (int i = 0; i < g->n_nodes; i++) weights += g->node[i].weight ? hd_node_weights(&g->node[i]) : 0;
        assert_int_equal(weights, 25 * c + 18 * c * c + 36 * c * c + 32 * c * f + 10 * f);
        hd_graph_free(g);
    }
}

static void default_network(void **state) {
    (void)state;
    hd_err err = {0};
    hd_graph *g = hd_default_network(1), *same = hd_default_network(1), *other = hd_default_network(2);
    assert_non_null(g);
    assert_non_null(same);
    assert_non_null(other);
    if (hd_graph_check(g, &err)) fail_msg("%s", err.message);
    size_t weights = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        size_t n = g->node[i].weight ? hd_node_weights(&g->node[i]) : 0;
        weights += n;
        if (!n) continue;
        assert_memory_equal(g->node[i].weight, same->node[i].weight, n * sizeof(float));
        assert_memory_not_equal(g->node[i].weight, other->node[i].weight, n * sizeof(float));
    }
    assert_int_equal(weights, 47632);
    assert_string_equal(g->node[0].name, "conv1");
    assert_string_equal(g->node[g->n_nodes - 1].name, "fc2");
    hd_graph_free(g);
    hd_graph_free(same);
    hd_graph_free(other);
}

static hd_graph *trained(const fixture *f, int threads, uint64_t seed, int batch, double *loss) {
    hd_train_options o = f->o;
    hd_err err = {0};
    hd_graph *g = hd_default_network(seed);
    assert_non_null(g);
    o.threads = threads;
    o.seed = seed;
    o.batch = batch;
    o.shift = 1;
    o.flip = 1;
    if (hd_train(g, &f->images, &f->labels, NULL, NULL, &o, loss, &err)) fail_msg("%s", err.message);
    return g;
}

static int equal_weights(const hd_graph *a, const hd_graph *b) {
    for (int i = 0; i < a->n_nodes; i++) {
        if (!a->node[i].weight) continue;
        if (memcmp(a->node[i].weight, b->node[i].weight, hd_node_weights(&a->node[i]) * sizeof(float))) return 0;
        if (memcmp(a->node[i].bias, b->node[i].bias, (size_t)a->node[i].cout * sizeof(float))) return 0;
    }
    return 1;
}

static void repeats(void **state) {
    const fixture *f = *state;
    static const int batches[] = {44, 700}; /* the last mini-batch and the last slice are partial; slices of 11 */
    for (size_t i = 0; i < 2; i++) {
        double first, again, loss;
        hd_graph *g = trained(f, 1, 7, batches[i], &first), *h = trained(f, 1, 7, batches[i], &again);
        assert_true(equal_weights(g, h));
        assert_true(first == again);
        hd_graph_free(h);
        for (int threads = 2; threads <= 3; threads++) {
            h = trained(f, threads, 7, batches[i], &loss);
            assert_true(equal_weights(g, h));
            assert_true(first == loss);
            hd_graph_free(h);
        }
        h = trained(f, 2, 8, batches[i], &loss);
        assert_false(equal_weights(g, h));
        hd_graph_free(h);
        hd_graph_free(g);
    }
}

typedef struct seen {
    int epochs;
    double loss[16], accuracy;
} seen;

static void note_epoch(void *arg, int epoch, double loss, double accuracy) {
    seen *s = arg;
    assert_int_equal(epoch, s->epochs);
    s->loss[s->epochs++] = loss;
    s->accuracy = accuracy;
}

static void learns(void **state) {
    const fixture *f = *state;
    hd_train_options o = f->o;
    hd_err err = {0};
    seen s = {0};
    double loss = 0, accuracy = 0;
    hd_graph *g = hd_default_network(1);
    o.epochs = 8;
    o.batch = 30;
    o.on_epoch = note_epoch;
    o.arg = &s;
    if (hd_train(g, &f->images, &f->labels, &f->images, &f->labels, &o, &loss, &err)) fail_msg("%s", err.message);
    assert_int_equal(s.epochs, 8);
    assert_true(loss == s.loss[7]);
    assert_true(s.loss[7] < 0.2 * s.loss[0]);
    assert_true(s.accuracy > 0.95);
    if (hd_accuracy(g, &f->images, &f->labels, 0, &accuracy, &err)) fail_msg("%s", err.message);
    assert_true(accuracy == s.accuracy);
    /* Without test images the accuracy is not known. */
    memset(&s, 0, sizeof s);
    o.epochs = 1;
    o.limit = 17;
    if (hd_train(g, &f->images, &f->labels, NULL, NULL, &o, NULL, &err)) fail_msg("%s", err.message);
    assert_true(s.epochs == 1 && isnan(s.accuracy));
    hd_graph_free(g);
}

static void augmentation(void **state) {
    (void)state;
    static const float image[6] = {1, 2, 3, 4, 5, 6}; /* two rows of three */
    static const struct {
        hd_pick pick;
        float want[6];
    } kind[] = {
        {{0, 0, 0, 0}, {1, 2, 3, 4, 5, 6}},  {{0, 0, 0, 1}, {3, 2, 1, 6, 5, 4}},  {{0, 1, 0, 0}, {0, 0, 0, 1, 2, 3}},
        {{0, -1, 0, 0}, {4, 5, 6, 0, 0, 0}}, {{0, 0, 1, 0}, {0, 1, 2, 0, 4, 5}},  {{0, 0, -2, 0}, {3, 0, 0, 6, 0, 0}},
        {{0, 0, 1, 1}, {0, 3, 2, 0, 6, 5}},  {{0, 3, 0, 0}, {0, 0, 0, 0, 0, 0}},  {{0, 0, -8, 1}, {0, 0, 0, 0, 0, 0}},
    };
    float copy[6], scratch[6], out[6];
    memcpy(copy, image, sizeof copy);
    hd_idx idx = {.type = HD_IDX_F32, .rank = 3, .dim = {1, 2, 3}, .item = 6, .data = copy};
    hd_data d = {.images = &idx, .shape = {1, 2, 3}, .n = 1};
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        hd_data_fill(&d, &kind[i].pick, 1, scratch, out);
        for (size_t k = 0; k < 6; k++) assert_true(out[k] == kind[i].want[k]);
    }
}

static void expect(hd_status got, hd_status want, const hd_err *err, const char *message) {
    assert_int_equal(got, want);
    assert_int_equal(err->code, want);
    assert_string_equal(err->message, message);
}

static void refuses(void **state) {
    const fixture *f = *state;
    hd_graph *g = hd_default_network(1);
    hd_err err = {0};
    double accuracy;
    hd_train_options o = f->o;
#define TRAIN(i, l) hd_train(g, i, l, NULL, NULL, &o, NULL, &err)
    o.epochs = 0;
    expect(TRAIN(&f->images, &f->labels), HD_RANGE, &err, "training: 0 epochs; 1..100000 are allowed");
    o = f->o;
    o.batch = -3;
    expect(TRAIN(&f->images, &f->labels), HD_RANGE, &err, "training: mini-batch of -3; 1..65536 are allowed");
    o = f->o;
    o.learning_rate = NAN;
    expect(TRAIN(&f->images, &f->labels), HD_RANGE, &err, "training: learning rate nan; above 0, at most 10 is allowed");
    o = f->o;
    o.weight_decay = -1;
    expect(TRAIN(&f->images, &f->labels), HD_RANGE, &err, "training: weight decay -1; 0..10 is allowed");
    o = f->o;
    o.shift = 9;
    expect(TRAIN(&f->images, &f->labels), HD_RANGE, &err, "training: shift of 9 pixels; 0..8 are allowed");
    o = f->o;
    o.threads = -1;
    expect(TRAIN(&f->images, &f->labels), HD_RANGE, &err, "training: -1 threads; 0 (all cores)..1024 are allowed");
    o = f->o;
    o.limit = -1;
    expect(TRAIN(&f->images, &f->labels), HD_RANGE, &err, "limit -1; 0 (all) or more is allowed");
    o = f->o;

    hd_idx images = f->images, labels = f->labels;
    images.item = 100;
    expect(TRAIN(&images, &labels), HD_MISMATCH, &err, "images of 100 values; the network 'fashion' takes 1 x 28 x 28");
    images = f->images;
    labels.item = 2;
    expect(TRAIN(&images, &labels), HD_MISMATCH, &err, "labels of 2 values each; 1 is allowed");
    labels = f->labels;
    labels.dim[0]--;
    expect(TRAIN(&images, &labels), HD_MISMATCH, &err, "300 images but 299 labels");
    labels.dim[0] = images.dim[0] = 0;
    expect(hd_accuracy(g, &images, &labels, 0, &accuracy, &err), HD_RANGE, &err, "0 images; 1..2147483647 are allowed");
    uint8_t *label = f->labels.data, old = label[20];
    label[20] = 10;
    expect(TRAIN(&f->images, &f->labels), HD_RANGE, &err, "label of image 20: 10; the network's output has 10 classes");
    o.limit = 20; /* it is not among the first 20 */
    o.epochs = 1;
    assert_int_equal(TRAIN(&f->images, &f->labels), HD_OK);
    expect(hd_accuracy(g, &f->images, &f->labels, 0, &accuracy, &err), HD_RANGE, &err, "label of image 20: 10; the network's output has 10 classes");
    label[20] = old;
    float huge[IMAGES] = {0};
    huge[3] = 2.5f;
    hd_idx real = {.type = HD_IDX_F32, .rank = 1, .dim = {IMAGES}, .item = 1, .data = huge};
    o.limit = 0;
    expect(TRAIN(&f->images, &real), HD_RANGE, &err, "label of image 3: 2.5; the network's output has 10 classes");
#undef TRAIN
    hd_graph_free(g);
}

static void diverges(void **state) {
    const fixture *f = *state;
    hd_train_options o = f->o;
    hd_err err = {0};
    hd_graph *g = hd_default_network(1);
    o.learning_rate = 10; /* with this decay a weight grows hundredfold a step, until nothing is a number */
    o.weight_decay = 10;
    o.epochs = 100;
    hd_status s = hd_train(g, &f->images, &f->labels, NULL, NULL, &o, NULL, &err);
    assert_int_equal(s, HD_RANGE);
    long steps;
    int end = 0; /* after how many steps depends on the machine's arithmetic */
    assert_int_equal(sscanf(err.message, "fashion: the loss is no number after %ld steps; a learning rate below 10 may help%n", &steps, &end), 1);
    assert_true(end > 0 && !err.message[end]);
    hd_graph_free(g);
}

static void nothing_to_train(void **state) {
    const fixture *f = *state;
    hd_err err = {0};
    hd_graph *g = hd_graph_new("bare");
    g->input = hd_graph_add_tensor(g, "in", (hd_shape){1, SIDE, SIDE});
    g->output = hd_graph_add_tensor(g, "out", (hd_shape){SIDE * SIDE, 1, 1});
    int n = hd_graph_add_node(g, HD_OP_FLATTEN, "flat");
    g->node[n].input[0] = g->input;
    g->node[n].output = g->output;
    expect(hd_train(g, &f->images, &f->labels, NULL, NULL, &f->o, NULL, &err), HD_UNSUPPORTED, &err, "bare: the network has no weights to train");
    hd_graph_free(g);
}

static void stops(void **state) {
    const fixture *f = *state;
    hd_err err = {0};
    double accuracy;
    hd_graph *g = hd_default_network(1);
    hd_interrupted = 1;
    expect(hd_train(g, &f->images, &f->labels, NULL, NULL, &f->o, NULL, &err), HD_INTERRUPTED, &err, "training stopped in epoch 1 of 2");
    expect(hd_accuracy(g, &f->images, &f->labels, 0, &accuracy, &err), HD_INTERRUPTED, &err, "fashion: evaluation stopped");
    hd_interrupted = 0;
    hd_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_network), cmocka_unit_test(scaled_network), cmocka_unit_test(repeats),  cmocka_unit_test(learns),           cmocka_unit_test(augmentation),
        cmocka_unit_test(refuses),         cmocka_unit_test(diverges), cmocka_unit_test(nothing_to_train), cmocka_unit_test(stops),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
