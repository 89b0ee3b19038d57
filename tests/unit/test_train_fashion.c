/* The real data: a short training run lowers the loss; the embedded default model reaches its accuracy through the float
 * executor. Skipped without Debian's dataset-fashion-mnist. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../compiler/import/import.h"
#include "../../sw/train/train.h"

#define FOLDER "/usr/share/datasets/fashion-mnist/"

static hd_idx *load(const char *name) {
    hd_idx *idx = NULL;
    hd_err err = {0};
    char path[256];
    snprintf(path, sizeof path, FOLDER "%s", name);
    if (hd_idx_load(&idx, path, &err)) fail_msg("%s", err.message);
    return idx;
}

static void note_epoch(void *arg, int epoch, double loss, double accuracy) {
    (void)accuracy;
    ((double *)arg)[epoch] = loss;
}

static void short_run(void **state) {
    (void)state;
    hd_idx *images = load("train-images-idx3-ubyte.gz"), *labels = load("train-labels-idx1-ubyte.gz");
    hd_graph *g = hd_default_network(3);
    hd_train_options o;
    hd_err err = {0};
    double loss[2] = {0}, final = 0, accuracy = 0;
    hd_train_defaults(&o);
    o.epochs = 2;
    o.limit = 600;
    o.batch = 20;
    o.quiet = 1;
    o.on_epoch = note_epoch;
    o.arg = loss;
    if (hd_train(g, images, labels, NULL, NULL, &o, &final, &err)) fail_msg("%s", err.message);
    assert_true(final == loss[1]);
    assert_true(loss[1] < 0.7 * loss[0]);
    if (hd_accuracy(g, images, labels, 600, &accuracy, &err)) fail_msg("%s", err.message);
    assert_true(accuracy > 0.7);
    hd_graph_free(g);
    hd_idx_free(images);
    hd_idx_free(labels);
}

static void embedded(void **state) {
    (void)state;
    enum { COUNT = 2000 };
    hd_idx *images = load("t10k-images-idx3-ubyte.gz"), *labels = load("t10k-labels-idx1-ubyte.gz");
    hd_graph *g = NULL;
    hd_exec *e = NULL;
    hd_err err = {0};
    size_t size;
    const unsigned char *model = hd_default_model(&size);
    if (hd_import_onnx_memory(&g, model, size, "embedded", &err)) fail_msg("%s", err.message);
    if (hd_exec_new(&e, g, &err)) fail_msg("%s", err.message);
    assert_int_equal(images->item, hd_shape_size(g->tensor[g->input].shape));
    float *image = calloc(images->item, sizeof *image);
    assert_non_null(image);
    int correct = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        int best = 0;
        float label;
        hd_idx_item(images, i, 1, image);
        hd_idx_item(labels, i, 0, &label);
        hd_exec_run(e, image);
        const float *y = hd_exec_tensor(e, g->output);
        for (int k = 1; k < 10; k++)
            if (y[k] > y[best]) best = k;
        correct += best == (int)label;
    }
    assert_true(correct >= COUNT * 89 / 100);
    /* The batched evaluation agrees, but for ties within rounding. */
    double accuracy = 0;
    if (hd_accuracy(g, images, labels, COUNT, &accuracy, &err)) fail_msg("%s", err.message);
    assert_true(fabs(accuracy * COUNT - correct) <= 2);
    if (hd_accuracy(g, images, labels, 0, &accuracy, &err)) fail_msg("%s", err.message);
    assert_true(accuracy >= 0.89);
    free(image);
    hd_exec_free(e);
    hd_graph_free(g);
    hd_idx_free(images);
    hd_idx_free(labels);
}

int main(void) {
    FILE *f = fopen(FOLDER "train-images-idx3-ubyte.gz", "rb");
    if (!f) {
        puts("skipped: " FOLDER " is not there (package dataset-fashion-mnist)");
        return 77;
    }
    fclose(f);
    const struct CMUnitTest tests[] = {cmocka_unit_test(short_run), cmocka_unit_test(embedded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
