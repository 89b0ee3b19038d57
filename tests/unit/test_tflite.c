/* TFLite import: random networks against a plain interpreter in TFLite's own order [h][w][c]; broken files; a published model. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../compiler/import/import.h"
#include "../../sw/explore/accuracy.h"
#include "../../sw/explore/dataset.h"
#include "../../sw/explore/models.h"
#include "../../sw/train/train.h"
#include "../support/tflite_net.h"

static void act(tensor *t, int code) {
    for (size_t i = 0; i < tflite_elements(t); i++) {
        if (code && t->value[i] < 0) t->value[i] = 0;
        if (code == RELU6 && t->value[i] > 6) t->value[i] = 6;
    }
}

static float at(const tensor *t, int y, int x, int c) { return t->value[(y * t->dim[2] + x) * t->dim[3] + c]; }

static void run_window(net *n, const op *o) {
    tensor *x = &n->t[o->in[0]], *w = o->inputs > 1 ? &n->t[o->in[1]] : NULL, *b = o->inputs > 2 ? &n->t[o->in[2]] : NULL, *y = &n->t[o->out];
    int kh = w ? w->dim[1] : o->kh, kw = w ? w->dim[2] : o->kw, top, left;
    tflite_window(o->padding, x->dim[1], kh, o->sy, o->dy, &top);
    tflite_window(o->padding, x->dim[2], kw, o->sx, o->dx, &left);
    for (int oy = 0; oy < y->dim[1]; oy++)
        for (int ox = 0; ox < y->dim[2]; ox++)
            for (int oc = 0; oc < y->dim[3]; oc++) {
                double sum = b ? (double)b->value[oc] : 0, best = -INFINITY;
                int count = 0;
                for (int ky = 0; ky < kh; ky++)
                    for (int kx = 0; kx < kw; kx++) {
                        int iy = oy * o->sy - top + ky * o->dy, ix = ox * o->sx - left + kx * o->dx;
                        if (iy < 0 || iy >= x->dim[1] || ix < 0 || ix >= x->dim[2]) continue;
                        count++;
                        if (o->code == CONV)
                            for (int ic = 0; ic < x->dim[3]; ic++)
                                sum += (double)at(x, iy, ix, ic) * (double)w->value[((oc * kh + ky) * kw + kx) * x->dim[3] + ic];
                        else if (o->code == DEPTHWISE) sum += (double)at(x, iy, ix, oc / o->multiplier) * (double)w->value[(ky * kw + kx) * y->dim[3] + oc];
                        else {
                            sum += (double)at(x, iy, ix, oc);
                            best = fmax(best, (double)at(x, iy, ix, oc));
                        }
                    }
                double v = o->code == MAXIMUM ? best : o->code == AVERAGE ? sum / count : sum;
                y->value[(oy * y->dim[2] + ox) * y->dim[3] + oc] = (float)v;
            }
    act(y, o->activation);
}

static void run_op(net *n, const op *o) {
    tensor *x = &n->t[o->in[0]], *y = &n->t[o->out];
    switch (o->code) {
    case CONV:
    case DEPTHWISE:
    case MAXIMUM:
    case AVERAGE: run_window(n, o); break;
    case ADD:
        for (size_t i = 0; i < tflite_elements(y); i++) y->value[i] = x->value[i] + n->t[o->in[1]].value[i];
        act(y, o->activation);
        break;
    case FC:
        for (int k = 0; k < y->dim[1]; k++) {
            double sum = (double)n->t[o->in[2]].value[k];
            size_t in = tflite_elements(x);
            for (size_t i = 0; i < in; i++) sum += (double)x->value[i] * (double)n->t[o->in[1]].value[(size_t)k * in + i];
            y->value[k] = (float)sum;
        }
        break;
    case RESHAPE:
    case DEQUANTIZE: memcpy(y->value, x->value, tflite_elements(y) * sizeof(float)); break;
    case PAD: {
        const int *p = n->t[o->in[1]].data;
        for (int i = 0; i < x->dim[1]; i++)
            for (int j = 0; j < x->dim[2]; j++)
                for (int c = 0; c < x->dim[3]; c++) y->value[((i + p[2]) * y->dim[2] + j + p[4]) * y->dim[3] + c] = at(x, i, j, c);
        break;
    }
    case MEAN:
        for (int c = 0; c < x->dim[3]; c++) {
            double sum = 0;
            for (int i = 0; i < x->dim[1] * x->dim[2]; i++) sum += (double)x->value[i * x->dim[3] + c];
            y->value[c] = (float)(sum / (x->dim[1] * x->dim[2]));
        }
        break;
    case SOFTMAX: {
        double sum = 0;
        for (size_t i = 0; i < tflite_elements(x); i++) sum += exp((double)x->value[i]);
        for (size_t i = 0; i < tflite_elements(x); i++) y->value[i] = (float)(exp((double)x->value[i]) / sum);
        break;
    }
    default: fail();
    }
}

/* The input drawn, through both. */
static void compare(net *n, uint64_t seed) {
    tensor *x = &n->t[n->input];
    for (size_t i = 0; i < tflite_elements(x); i++) x->value[i] = hd_rng_normal(&n->rng);
    for (int i = 0; i < n->ops; i++) run_op(n, &n->o[i]);
    flat_builder file = tflite_file(n);
    hd_graph *g;
    hd_err err = {0};
    if (hd_import_tflite_memory(&g, file.data, file.size, "net", &err)) fail_msg("seed %llu: %s", (unsigned long long)seed, err.message);
    size_t channels = (size_t)x->dim[3], pixels = (size_t)x->dim[1] * (size_t)x->dim[2];
    float *chw = malloc(channels * pixels * sizeof *chw);
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < channels; c++) chw[c * pixels + p] = x->value[p * channels + c];
    hd_exec *e;
    assert_int_equal(hd_exec_new(&e, g, &err), HD_OK);
    hd_exec_run(e, chw);
    const float *y = hd_exec_tensor(e, g->output), *wanted = n->t[n->output].value;
    for (size_t i = 0; i < 3; i++)
        if (fabsf(y[i] - wanted[i]) > 1e-4f) fail_msg("seed %llu: output %zu is %f, wanted %f", (unsigned long long)seed, i, (double)y[i], (double)wanted[i]);
    hd_exec_free(e);
    hd_graph_free(g);
    free(chw);
    flat_free(&file);
}

static void random_networks(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        net n = tflite_net(seed);
        compare(&n, seed);
        tflite_net_free(&n);
    }
}

/* Cut anywhere and with any byte changed: an error or another network, never a crash (the sanitizers watch). */
static void broken_files(void **state) {
    (void)state;
    int refused = 0, changed = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        net n = tflite_net(seed);
        flat_builder file = tflite_file(&n);
        hd_graph *g;
        hd_err err;
        for (size_t size = 0; size < file.size; size++) {
            uint8_t *cut = malloc(size + 1);
            memcpy(cut, file.data, size);
            refused += hd_import_tflite_memory(&g, cut, size, "cut", &err) != HD_OK;
            if (size < file.size / 2) assert_null(g);
            hd_graph_free(g);
            free(cut);
        }
        for (size_t i = 0; i < file.size; i++) {
            uint8_t old = file.data[i];
            file.data[i] = (uint8_t)hd_rng_u32(&n.rng);
            hd_status s = hd_import_tflite_memory(&g, file.data, file.size, "changed", &err);
            changed += s != HD_OK;
            if (s) assert_true(strlen(err.message) > 10);
            hd_graph_free(g);
            file.data[i] = old;
        }
        flat_free(&file);
        tflite_net_free(&n);
    }
    assert_true(refused > 1000);
    assert_true(changed > 1000);
}

static void messages(void **state) {
    (void)state;
    hd_graph *g;
    hd_err err = {0};
    assert_int_equal(hd_import_tflite_memory(&g, (const uint8_t *)"nonsense", 8, "x.tflite", &err), HD_FORMAT);
    assert_string_equal(err.message, "x.tflite: not a TFLite file (no identifier TFL3)");
    net n = tflite_net(3);
    n.o[n.ops - 1].code = 99;
    flat_builder file = tflite_file(&n);
    assert_int_equal(hd_import_tflite_memory(&g, file.data, file.size, "x.tflite", &err), HD_UNSUPPORTED);
    assert_non_null(strstr(err.message, "operator 99 of the schema is not supported"));
    flat_free(&file);
    n.o[n.ops - 1].code = SOFTMAX;
    tflite_net_free(&n);
}

/* The published ResNet-8 has the published accuracy. */
static void resnet8(void **state) {
    (void)state;
    char model[4096], images[4096], labels[4096];
    hd_err err = {0};
    if (hd_models_file(model, sizeof model, "resnet8-float.tflite", &err) || hd_models_file(images, sizeof images, "ic01-images.idx", &err) ||
        hd_models_file(labels, sizeof labels, "ic01-labels.idx", &err)) {
        printf("%s\n", err.message);
        skip();
    }
    hd_graph *g;
    hd_idx *x, *y, *plain;
    double accuracy;
    if (hd_import_tflite(&g, model, &err) || hd_idx_load(&x, images, &err) || hd_idx_load(&y, labels, &err) || hd_idx_chw(x, 3, 32, 32, &err) ||
        hd_idx_plain(&plain, x, &err) || hd_accuracy(g, plain, y, 0, &accuracy, &err))
        fail_msg("%s", err.message);
    assert_true(fabs(accuracy - 0.855) < 1e-9);
    hd_idx_free(plain);
    hd_idx_free(x);
    hd_idx_free(y);
    hd_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_networks), cmocka_unit_test(broken_files), cmocka_unit_test(messages), cmocka_unit_test(resnet8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
