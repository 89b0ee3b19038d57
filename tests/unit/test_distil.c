/* Distillation: the gradient of the loss against finite differences, its two ends, and where the teacher's logits come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/rng.h"
#include "../../sw/train/distil.h"
#include "../../sw/train/tune.h"

enum { N = 5, CLASSES = 10, SIDE = 28, IMAGES = 21 };

static hd_rng rng;

typedef struct fixture {
    hd_graph *g;
    hd_batch *b;
    float teacher[N * CLASSES];
    int label[N];
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    hd_err err = {0};
    if (!f || !(f->g = hd_default_network(3)) || hd_batch_new(&f->b, f->g, 8, 1, &err)) return -1;
    hd_rng_seed(&rng, 8, 8);
    f->b->n = N;
    for (int i = 0; i < N * CLASSES; i++) {
        f->b->value[f->b->logits][i] = 2 * hd_rng_normal(&rng);
        f->teacher[i] = 2 * hd_rng_normal(&rng);
    }
    for (int i = 0; i < N; i++) f->label[i] = (int)hd_rng_below(&rng, CLASSES);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    hd_batch_free(f->b);
    hd_graph_free(f->g);
    free(f);
    return 0;
}

static void gradient(void **state) {
    fixture *f = *state;
    static const hd_distil cases[] = {{0, 1}, {1, 1}, {1, 4}, {0.3f, 2}, {0.9f, 0.5f}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        float *x = f->b->value[f->b->logits], d[N * CLASSES];
        hd_distil_loss(f->b, f->label, f->teacher, &cases[k], 0.25f);
        memcpy(d, f->b->grad[f->b->logits], sizeof d);
        for (int i = 0; i < N * CLASSES; i++) {
            float old = x[i], h = 1e-2f;
            x[i] = old + h;
            double up = hd_distil_loss(f->b, f->label, f->teacher, &cases[k], 0.25f);
            double right = (double)x[i];
            x[i] = old - h;
            double down = hd_distil_loss(f->b, f->label, f->teacher, &cases[k], 0.25f);
            double slope = 0.25 * (up - down) / (right - (double)x[i]);
            x[i] = old;
            assert_true(fabs(slope - (double)d[i]) < 1e-4);
        }
    }
}

/* Without a share it is the plain loss; a student equal to its teacher has nothing to learn. */
static void ends(void **state) {
    fixture *f = *state;
    float plain[N * CLASSES], same[N * CLASSES];
    double want = hd_batch_loss(f->b, f->label, 1);
    memcpy(plain, f->b->grad[f->b->logits], sizeof plain);
    assert_true(fabs(hd_distil_loss(f->b, f->label, f->teacher, &(hd_distil){0, 3}, 1) - want) < 1e-9);
    for (int i = 0; i < N * CLASSES; i++) assert_true(fabsf(f->b->grad[f->b->logits][i] - plain[i]) < 1e-6f);
    for (int s = 0; s < N; s++)
        for (size_t k = 0; k < CLASSES; k++) same[s * CLASSES + (int)k] = f->b->value[f->b->logits][hd_batch_element(f->b, f->b->logits, k, s)];
    assert_true(fabs(hd_distil_loss(f->b, f->label, same, &(hd_distil){1, 3}, 1)) < 1e-9);
    for (int i = 0; i < N * CLASSES; i++) assert_true(fabsf(f->b->grad[f->b->logits][i]) < 1e-6f);
    assert_true(hd_distil_loss(f->b, f->label, f->teacher, &(hd_distil){1, 3}, 1) > 0);
}

/* Logits learnt beforehand are those of a live run, for any pick. */
static void teachers(void **state) {
    const fixture *f = *state;
    hd_idx images = {.type = HD_IDX_U8, .rank = 3, .dim = {IMAGES, SIDE, SIDE}, .item = SIDE * SIDE}, labels = {.type = HD_IDX_U8, .rank = 1, .dim = {IMAGES}, .item = 1};
    uint8_t pixel[IMAGES * SIDE * SIDE], label[IMAGES] = {0};
    for (size_t i = 0; i < sizeof pixel; i++) pixel[i] = (uint8_t)hd_rng_below(&rng, 256);
    images.data = pixel;
    labels.data = label;
    hd_data data;
    hd_teacher live, known;
    hd_err err = {0};
    hd_graph *other = hd_default_network(9);
    assert_non_null(other);
    if (hd_data_new(&data, f->g, &images, &labels, 0, &err)) fail_msg("%s", err.message);
    if (hd_teacher_new(&live, other, f->g, 8, 1, &err)) fail_msg("%s", err.message);
    if (hd_teacher_new(&known, other, f->g, 8, 2, &err)) fail_msg("%s", err.message);
    if (hd_teacher_learn(&known, &data, &err)) fail_msg("%s", err.message);
    float scratch[SIDE * SIDE];
    for (int at = 0; at + N <= IMAGES; at += 3) {
        hd_pick pick[N] = {{0}};
        for (int i = 0; i < N; i++) pick[i].index = (at + 7 * i) % IMAGES;
        f->b->n = N;
        hd_data_fill(&data, pick, N, scratch, f->b->value[f->g->input]);
        const float *a = hd_teacher_logits(&live, 0, f->b, pick), *b = hd_teacher_logits(&known, 1, f->b, pick);
        for (int i = 0; i < N * CLASSES; i++) assert_true(fabsf(a[i] - b[i]) < 1e-4f);
    }
    /* It is the teacher that speaks, not the student. */
    hd_batch_forward(f->b, N);
    hd_pick first[N] = {{0}};
    const float *a = hd_teacher_logits(&live, 0, f->b, first);
    double apart = 0;
    for (size_t k = 0; k < CLASSES; k++) apart += fabs((double)(a[k] - f->b->value[f->b->logits][hd_batch_element(f->b, f->b->logits, k, 0)]));
    assert_true(apart > 0.1);
    hd_teacher_free(&live);
    hd_teacher_free(&known);
    hd_data_free(&data);
    hd_graph_free(other);
}

/* A narrowed network computes what the full one does when the channels that go are silent. */
static void narrow(void **state) {
    (void)state;
    hd_err err = {0};
    hd_graph *g = hd_default_network(4), *small = NULL;
    assert_non_null(g);
    /* conv1 keeps 10 of 16: make 6 silent, here and there; likewise 20 of 32 for conv2 and conv3, 39 of 64 for fc1. */
    for (int i = 0; i < g->n_nodes; i++) {
        hd_node *t = &g->node[i];
        if (!t->weight || i == g->n_nodes - 1) continue;
        int keep = (int)ceilf(0.6f * (float)t->cout), gone = t->cout - keep;
        size_t inputs = hd_node_weights(t) / (size_t)t->cout;
        for (int c = 0; c < gone; c++) {
            size_t oc = (size_t)(c * 2);
            for (size_t k = 0; k < inputs; k++) t->weight[oc * inputs + k] = 0;
            t->bias[oc] = 0;
        }
    }
    if (hd_narrow(&small, g, 0.6f, &err)) fail_msg("%s", err.message);
    assert_int_equal(small->node[0].cout, 10);
    assert_int_equal(small->node[small->n_nodes - 1].cin, 39);
    assert_int_equal(small->node[small->n_nodes - 1].cout, 10);
    hd_exec *a = NULL, *b = NULL;
    if (hd_exec_new(&a, g, &err) || hd_exec_new(&b, small, &err)) fail_msg("%s", err.message);
    float x[SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++) x[i] = hd_rng_float(&rng);
    hd_exec_run(a, x);
    hd_exec_run(b, x);
    for (int k = 0; k < CLASSES; k++) assert_true(fabsf(hd_exec_tensor(a, g->output)[k] - hd_exec_tensor(b, small->output)[k]) < 1e-4f);
    hd_exec_free(a);
    hd_exec_free(b);
    hd_graph_free(small);
    small = NULL;
    assert_int_equal(hd_narrow(&small, g, 0, &err), HD_RANGE);
    assert_string_equal(err.message, "narrowing: share 0 of the channels; above 0, at most 1 is allowed");
    assert_null(small);
    int conv2 = 1;
    while (!g->node[conv2].weight) conv2++;
    g->node[conv2].groups = 2;
    assert_int_equal(hd_narrow(&small, g, 0.5f, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "node 'conv2': 2 groups; narrowing allows 1");
    assert_null(small);
    g->node[conv2].groups = 1;
    hd_node relu = g->node[1];
    g->node[1].op = HD_OP_ADD_TENSOR;
    g->node[1].input[1] = relu.input[0];
    assert_int_equal(hd_narrow(&small, g, 0.5f, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "node 'relu1': an addition ties the channels of two layers; narrowing allows chains");
    assert_null(small);
    g->node[1] = relu;
    hd_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradient), cmocka_unit_test(ends), cmocka_unit_test(teachers), cmocka_unit_test(narrow)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
