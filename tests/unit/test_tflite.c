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
#include "../support/tflite_frame.h"
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
static int add_tensor(net *n, int rank, int a, int b, int c, int d, int constant) {
    tensor *t = &n->t[n->tensors];
    *t = (tensor){.rank = rank, .dim = {a, b, c, d}};
    size_t count = tflite_elements(t);
    t->value = calloc(count, sizeof *t->value);
    if (!constant) return n->tensors++;
    for (size_t i = 0; i < count; i++) t->value[i] = hd_rng_normal(&n->rng);
    t->bytes = count * sizeof *t->value;
    t->data = malloc(t->bytes);
    memcpy(t->data, t->value, t->bytes);
    return n->tensors++;
}

/* An image of 2 x 2 x 2 flattened by RESHAPE, twice; both added. */
static net two_flattened(int rank) {
    net n = {0};
    hd_rng_seed(&n.rng, 7, 7);
    n.input = add_tensor(&n, 4, 1, 2, 2, 2, 0);
    for (int k = 0; k < 3; k++) add_tensor(&n, rank, 1, rank == 2 ? 8 : 1, 1, 8, 0);
    for (int k = 0; k < 2; k++) n.o[k] = (op){.code = RESHAPE, .options = 17, .inputs = 1, .in = {0}, .out = 1 + k};
    n.o[2] = (op){.code = ADD, .options = 11, .inputs = 2, .in = {1, 2}, .out = 3};
    n.ops = 3;
    return n;
}

/* The elements behind a flattened image stand in the graph's order; a sum of two still counts them in the file's. */
static void flattened_sums(void **state) {
    (void)state;
    net n = two_flattened(2);
    int w = add_tensor(&n, 2, 3, 8, 1, 1, 1), bias = add_tensor(&n, 1, 3, 1, 1, 1, 1);
    n.output = add_tensor(&n, 2, 1, 3, 1, 1, 0);
    n.o[n.ops++] = (op){.code = FC, .options = 8, .inputs = 3, .in = {3, w, bias}, .out = n.output};
    compare(&n, 0);
    tflite_net_free(&n);
    n = two_flattened(4);
    w = add_tensor(&n, 4, 3, 1, 1, 8, 1);
    n.output = add_tensor(&n, 4, 1, 1, 1, 3, 0);
    n.o[n.ops++] = (op){.code = CONV, .options = 1, .inputs = 2, .in = {3, w}, .out = n.output, .padding = VALID, .sx = 1, .sy = 1, .kw = 1, .kh = 1, .dx = 1, .dy = 1};
    flat_builder file = tflite_file(&n);
    hd_graph *g;
    hd_err err = {0};
    assert_int_equal(hd_import_tflite_memory(&g, file.data, file.size, "net", &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "net: operator 'conv.3': reads a flattened image of 2 x 2 x 2; fully connected layers and functions of each element do");
    flat_free(&file);
    tflite_net_free(&n);
}

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

static void no_identifier(void **state) {
    (void)state;
    hd_graph *g;
    hd_err err = {0};
    assert_int_equal(hd_import_tflite_memory(&g, (const uint8_t *)"nonsense", 8, "x.tflite", &err), HD_FORMAT);
    assert_string_equal(err.message, "x.tflite: not a TFLite file (no identifier TFL3)");
}

/* A file of two tensors and one Relu; a row below says what is wrong with it (zeros: nothing) and how it is refused. */
typedef struct refusal {
    const char *message;
    hd_status status;
    int rank, size, type, bytes, empty_name;      /* of the tensor 'w', which is the Relu's output */
    int scales, zeros, axis;
    float scale;
    int64_t zero;
    int sparse, buffer;
    int op, custom, code, inputs, outputs, read, written; /* of the Relu */
    int graphs, graph_inputs, graph_input, tensors;
    int lost;                                    /* what points past the end of the file */
} refusal;

enum { LOST_GRAPHS = 1, LOST_TENSORS, LOST_SHAPE, LOST_OPTIONS };

static flat_builder refused_file(const refusal *r) {
    static const int dim[7] = {1, 2, 2, 1, 1, 1, 1};
    int sized[7], in[9] = {r->read}, out[2] = {r->written ? r->written : 1, 1};
    static const char constant[64];
    memcpy(sized, dim, sizeof dim);
    if (r->size) sized[1] = r->size;
    tflite_frame f = tflite_frame_new(2, 1, r->graph_input, 1);
    flat_builder *b = &f.b;
    tflite_frame_tensor(&f, 0, 0x07, dim, 4, FLOAT, NULL, 0);
    size_t w = tflite_frame_tensor(&f, 1, (r->empty_name ? 0x07 : 0x0f) | (r->scales ? 0x10 : 0) | (r->sparse ? 0x40 : 0), sized, r->rank ? r->rank : 4, r->type, r->bytes ? constant : NULL, (size_t)r->bytes);
    if (!r->empty_name) flat_point(b, w, 3, flat_vector(b, "w\x1b", 2, 1));
    if (r->buffer) flat_set(b, w, 2, (uint64_t)r->buffer, 4);
    if (r->scales) {
        float scale[4] = {1, r->scale, 1, 1};
        int64_t zero[4] = {0, r->zero, 0, 0};
        size_t q = flat_table(b, 7, 0x4c);
        flat_point(b, w, 4, q);
        flat_point(b, q, 2, flat_vector(b, scale, (size_t)r->scales, 4));
        flat_point(b, q, 3, flat_vector(b, zero, (size_t)r->zeros, 8));
        flat_set(b, q, 6, (uint64_t)r->axis, 4);
    }
    if (r->sparse) flat_point(b, w, 6, flat_table(b, 1, 0));
    size_t node = tflite_frame_op(&f, 0, r->lost == LOST_OPTIONS, r->op ? r->op : 19, in, r->inputs ? r->inputs : 1, out);
    if (r->outputs) flat_point(b, node, 2, flat_vector(b, out, r->outputs < 0 ? 0 : (size_t)r->outputs, 4));
    if (r->code) flat_set(b, node, 0, (uint64_t)r->code, 4);
    if (r->custom) {
        size_t code = flat_table(b, 4, 0x0a);
        flat_element(b, f.codes, 0, code);
        flat_set(b, code, 3, 32, 4);
        flat_point(b, code, 1, flat_vector(b, "Edge_TPU", 8, 1));
    }
    if (r->graphs) flat_point(b, f.model, 2, flat_vector(b, NULL, (size_t)r->graphs, 4));
    if (r->graph_inputs) flat_point(b, f.graph, 1, flat_vector(b, NULL, (size_t)r->graph_inputs, 4));
    if (r->tensors) flat_point(b, f.graph, 0, flat_vector(b, NULL, (size_t)r->tensors, 4));
    if (r->lost == LOST_GRAPHS) flat_point(b, f.model, 2, b->size + 1);
    if (r->lost == LOST_TENSORS) flat_point(b, f.graph, 0, b->size + 1);
    if (r->lost == LOST_SHAPE) flat_point(b, w, 0, b->size + 1);
    if (r->lost == LOST_OPTIONS) flat_point(b, node, 4, b->size + 1);
    return f.b;
}

static void exact_messages(void **state) {
    (void)state;
    static const refusal rows[] = {
        {"x.tflite: not a whole TFLite file: its table of contents lies outside of it", HD_FORMAT, .lost = LOST_GRAPHS},
        {"x.tflite: not a whole TFLite file: its table of contents lies outside of it", HD_FORMAT, .lost = LOST_TENSORS},
        {"x.tflite: not a whole TFLite file: w? lies outside of it", HD_FORMAT, .lost = LOST_SHAPE},
        {"x.tflite: not a whole TFLite file: operator 0 lies outside of it", HD_FORMAT, .lost = LOST_OPTIONS},
        {"x.tflite: tensor 'w?' has 7 dimensions; at most 6 are supported", HD_UNSUPPORTED, .rank = 7},
        {"x.tflite: tensor 1 'tensor 1': size 1 is -1; sizes are positive and at most 67108864 elements are allowed", HD_RANGE, .size = -1, .empty_name = 1},
        {"x.tflite: tensor 1 'w?': size 2 is 2; sizes are positive and at most 67108864 elements are allowed", HD_RANGE, .size = 1 << 26},
        {"x.tflite: tensor 'w?': 2 scales and 1 zero points along dimension 1; they must match its size or be one", HD_FORMAT, .type = INT8, .scales = 2, .zeros = 1, .axis = 1},
        {"x.tflite: tensor 'w?': 3 scales and 3 zero points along dimension 2; they must match its size or be one", HD_FORMAT, .type = INT8, .scales = 3, .zeros = 3, .axis = 2},
        {"x.tflite: tensor 'w?': 2 scales and 2 zero points along dimension 4; they must match its size or be one", HD_FORMAT, .type = INT8, .scales = 2, .zeros = 2, .axis = 4},
        {"x.tflite: tensor 'w?': 1 scales and 1 zero points along dimension -1; they must match its size or be one", HD_FORMAT, .type = INT8, .scales = 1, .zeros = 1, .axis = -1},
        {"x.tflite: tensor 'w?': scale -0.5, zero point 0; scales are positive and zero points within 16 bits", HD_RANGE, .type = INT8, .scales = 2, .zeros = 2, .axis = 1, .scale = -0.5f},
        {"x.tflite: tensor 'w?': scale inf, zero point 0; scales are positive and zero points within 16 bits", HD_RANGE, .type = INT8, .scales = 2, .zeros = 2, .axis = 1, .scale = INFINITY},
        {"x.tflite: tensor 'w?': scale 0.25, zero point 65536; scales are positive and zero points within 16 bits", HD_RANGE, .type = INT8, .scales = 2, .zeros = 2, .axis = 1, .scale = 0.25f, .zero = 65536},
        {"x.tflite: tensor 'w?': scale 0.25, zero point -32769; scales are positive and zero points within 16 bits", HD_RANGE, .type = INT8, .scales = 2, .zeros = 2, .axis = 1, .scale = 0.25f, .zero = -32769},
        {"x.tflite: tensor 'w?' is stored sparse; only dense ones are supported", HD_UNSUPPORTED, .sparse = 1},
        {"x.tflite: tensor 'w?' is in buffer 3; there are 3", HD_FORMAT, .buffer = 3},
        {"x.tflite: tensor 'w?' (float32, 4 elements) has 15 bytes; it needs 16", HD_FORMAT, .bytes = 15},
        {"x.tflite: tensor 'w?' (int64, 4 elements) has 16 bytes; it needs 32", HD_FORMAT, .bytes = 16, .type = 4},
        {"x.tflite: tensor 'w?': constants of element type 6; float32, float16, uint8, int8, int16, int32 and int64 are supported", HD_UNSUPPORTED, .bytes = 4, .type = 6},
        {"x.tflite: relu.0 names tensor 2; there are 2", HD_FORMAT, .read = 2},
        {"x.tflite: relu.0 names tensor -2; there are 2", HD_FORMAT, .written = -2},
        {"x.tflite: the input names tensor 2; there are 2", HD_FORMAT, .graph_input = 2},
        {"x.tflite: names no input or output tensor", HD_FORMAT, .graph_input = -1},
        {"x.tflite: 'relu.0' writes no tensor", HD_FORMAT, .written = -1},
        {"x.tflite: operator 0 has code 1; there are 1", HD_FORMAT, .code = 1},
        {"x.tflite: operator 0 is the custom operator 'Edge_TPU'; only built-in ones are supported", HD_UNSUPPORTED, .custom = 1},
        {"x.tflite: operator 0 is the custom operator ''; only built-in ones are supported", HD_UNSUPPORTED, .op = 32},
        {"x.tflite: 'relu.0' (operator 19 of the schema) has 9 inputs and 1 outputs; at most 8 inputs and exactly 1 output are supported", HD_UNSUPPORTED, .inputs = 9},
        {"x.tflite: 'operator.0' (operator 99 of the schema) has 1 inputs and 2 outputs; at most 8 inputs and exactly 1 output are supported", HD_UNSUPPORTED, .op = 99, .outputs = 2},
        {"x.tflite: 'relu.0' (operator 19 of the schema) has 1 inputs and 0 outputs; at most 8 inputs and exactly 1 output are supported", HD_UNSUPPORTED, .outputs = -1},
        {"x.tflite: 65537 tensors and 1 operators; allowed 65536 and 65536", HD_RANGE, .tensors = 65537},
        {"x.tflite: 2 inputs and 1 outputs; one of each is supported", HD_UNSUPPORTED, .graph_inputs = 2},
        {"x.tflite: 2 subgraphs; 1 is supported", HD_UNSUPPORTED, .graphs = 2},
        {"x.tflite: operator 'operator.0': operator 99 of the schema is not supported; supported are convolutions, fully connected layers, addition, poolings, mean over the image, "
         "padding, reshaping, softmax and activations", HD_UNSUPPORTED, .op = 99},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        flat_builder file = refused_file(&rows[k]);
        hd_graph *g;
        hd_err err = {0};
        hd_status s = hd_import_tflite_memory(&g, file.data, file.size, "x.tflite", &err);
        assert_string_equal(err.message, rows[k].message);
        assert_int_equal(s, rows[k].status);
        assert_null(g);
        flat_free(&file);
    }
    flat_builder whole = refused_file(&(refusal){.message = ""});
    hd_graph *g;
    hd_err err = {0};
    if (hd_import_tflite_memory(&g, whole.data, whole.size, "x.tflite", &err)) fail_msg("%s", err.message);
    hd_graph_free(g);
    flat_free(&whole);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_networks), cmocka_unit_test(flattened_sums), cmocka_unit_test(broken_files), cmocka_unit_test(no_identifier), cmocka_unit_test(exact_messages), cmocka_unit_test(resnet8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
