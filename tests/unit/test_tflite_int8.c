/* int8 TFLite files: the integers kept by import and compression against TFLite's own arithmetic, stage by stage. The interpreter here is written from the format's
 * quantisation specification (a 31-bit multiplier, doubling high multiplication, two roundings); it shares the file reader and nothing else. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../compiler/compress/compress.h"
#include "../../compiler/compress/integer.h"
#include "../../compiler/import/tflite_internal.h"
#include "../../sw/core/file.h"
#include "../../sw/core/idx.h"
#include "../../sw/explore/models.h"
#include "../support/tflite_int8_net.h"

/* ---- TFLite's arithmetic ---- */

/* What the study below puts in the place of TFLite's rounding, one thing at a time or all. */
static struct arithmetic {
    int bits;         /* of a multiplier, halves up in one rounding; 0 = TFLite's 31 and two */
    int additions;    /* 0 = TFLite's, 1 = each tensor is rounded, 2 = the sum is */
    int half_up_mean; /* of average pooling; TFLite's goes away from zero */
} arithmetic;

static double multiplier(double real, int bits) {
    int exponent;
    double m = frexp(real, &exponent);
    return ldexp(round(ldexp(m, bits)), exponent - bits);
}

static int32_t multiply(int32_t x, double real) {
    int exponent;
    if (arithmetic.bits) return (int32_t)floor((double)x * multiplier(real, arithmetic.bits) + 0.5); /* exact: fewer than 53 bits */
    int64_t m = llround(ldexp(frexp(real, &exponent), 31));
    if (m == (int64_t)1 << 31) m /= 2, exponent++;
    int left = exponent > 0 ? exponent : 0, right = exponent > 0 ? 0 : -exponent;
    int64_t product = (int64_t)(x * (int64_t)(1 << left)) * m;
    int64_t high = (product + (product >= 0 ? 1 << 30 : 1 - (1 << 30))) / ((int64_t)1 << 31);
    if (right > 31) return 0;
    int64_t mask = ((int64_t)1 << right) - 1, rest = high & mask;
    return (int32_t)((high >> right) + (rest > (mask >> 1) + (high < 0)));
}

static double scale_of(const hd_tflite_tensor *t, int channel) { return (double)hd_tflite_scale(t, (size_t)channel); }
static int zero_of(const hd_tflite_tensor *t) { return (int)hd_tflite_zero(t, 0); }

static int8_t clamp(int32_t v, const hd_tflite_tensor *t, int activation) {
    int lo = activation ? zero_of(t) : -128, hi = activation == 3 ? zero_of(t) + (int)lround(6 / scale_of(t, 0)) : 127;
    if (lo < -128) lo = -128;
    if (hi > 127) hi = 127;
    return (int8_t)(v < lo ? lo : v > hi ? hi : v);
}

static int before(int same, int in, int out, int kernel, int stride) {
    int pad = same ? (out - 1) * stride + kernel - in : 0;
    return pad > 0 ? pad / 2 : 0;
}

static void run_window(hd_tflite *t, const hd_tflite_node *n, int8_t **value) {
    const hd_tflite_tensor *x = &t->tensor[n->input[0]], *y = &t->tensor[n->output], *w = n->n_inputs > 1 ? &t->tensor[n->input[1]] : NULL;
    const hd_tflite_tensor *bias = w && n->n_inputs > 2 && n->input[2] >= 0 ? &t->tensor[n->input[2]] : NULL;
    int depthwise = n->op == HD_TFLITE_DEPTHWISE, kh = w ? w->dim[1] : hd_flat_int(&t->flat, n->options, 4, 1), kw = w ? w->dim[2] : hd_flat_int(&t->flat, n->options, 3, 1);
    int sx = hd_flat_int(&t->flat, n->options, 1, 1), sy = hd_flat_int(&t->flat, n->options, 2, 1), activation = hd_flat_byte(&t->flat, n->options, !w ? 5 : depthwise ? 4 : 3, 0);
    int same = hd_flat_byte(&t->flat, n->options, 0, 0) == 0, top = before(same, x->dim[1], y->dim[1], kh, sy), left = before(same, x->dim[2], y->dim[2], kw, sx);
    int channels = x->dim[3], outputs = y->dim[3];
    for (int oy = 0; oy < y->dim[1]; oy++)
        for (int ox = 0; ox < y->dim[2]; ox++)
            for (int oc = 0; oc < outputs; oc++) {
                int32_t sum = 0, best = -128, count = 0;
                for (int ky = 0; ky < kh; ky++)
                    for (int kx = 0; kx < kw; kx++) {
                        int iy = oy * sy - top + ky, ix = ox * sx - left + kx;
                        if (iy < 0 || iy >= x->dim[1] || ix < 0 || ix >= x->dim[2]) continue;
                        const int8_t *pixel = value[n->input[0]] + (iy * x->dim[2] + ix) * channels;
                        count++;
                        if (!w) {
                            sum += pixel[oc];
                            best = pixel[oc] > best ? pixel[oc] : best;
                        } else if (depthwise) sum += (pixel[oc / (outputs / channels)] - zero_of(x)) * (int8_t)w->data[(ky * kw + kx) * outputs + oc];
                        else
                            for (int ic = 0; ic < channels; ic++) sum += (pixel[ic] - zero_of(x)) * (int8_t)w->data[((oc * kh + ky) * kw + kx) * channels + ic];
                    }
                int32_t v = n->op == HD_TFLITE_MAX_POOL ? best : !w ? (sum > 0 ? sum + count / 2 : sum - count / 2) / count : 0;
                if (!w && n->op != HD_TFLITE_MAX_POOL && arithmetic.half_up_mean) v = (int32_t)floor((double)sum / count + 0.5);
                if (w) {
                    if (bias) sum += (int32_t)hd_flat_u32(bias->data + 4 * oc);
                    v = multiply(sum, scale_of(x, 0) * scale_of(w, oc) / scale_of(y, 0)) + zero_of(y);
                }
                value[n->output][(oy * y->dim[2] + ox) * outputs + oc] = clamp(v, y, activation);
            }
}

static void run_fc(hd_tflite *t, const hd_tflite_node *n, int8_t **value) {
    const hd_tflite_tensor *x = &t->tensor[n->input[0]], *w = &t->tensor[n->input[1]], *bias = &t->tensor[n->input[2]], *y = &t->tensor[n->output];
    for (int k = 0; k < w->dim[0]; k++) {
        int32_t sum = (int32_t)hd_flat_u32(bias->data + 4 * k);
        for (int i = 0; i < w->dim[1]; i++) sum += (value[n->input[0]][i] - zero_of(x)) * (int8_t)w->data[k * w->dim[1] + i];
        value[n->output][k] = clamp(multiply(sum, scale_of(x, 0) * scale_of(w, k) / scale_of(y, 0)) + zero_of(y), y, hd_flat_byte(&t->flat, n->options, 0, 0));
    }
}

static void run_add(hd_tflite *t, const hd_tflite_node *n, int8_t **value) {
    const hd_tflite_tensor *a = &t->tensor[n->input[0]], *b = &t->tensor[n->input[1]], *y = &t->tensor[n->output];
    double twice = 2 * fmax(scale_of(a, 0), scale_of(b, 0));
    for (size_t i = 0; i < y->count; i++) {
        if (arithmetic.additions) {
            int bits = arithmetic.bits ? arithmetic.bits : 31;
            double u = (value[n->input[0]][i] - zero_of(a)) * multiplier(scale_of(a, 0) / scale_of(y, 0), bits), v = (value[n->input[1]][i] - zero_of(b)) * multiplier(scale_of(b, 0) / scale_of(y, 0), bits);
            double total = arithmetic.additions == 1 ? floor(u + 0.5) + floor(v + 0.5) : floor(u + v + 0.5);
            value[n->output][i] = clamp((int32_t)total + zero_of(y), y, hd_flat_byte(&t->flat, n->options, 0, 0));
            continue;
        }
        int32_t sum = multiply((value[n->input[0]][i] - zero_of(a)) * (1 << 20), scale_of(a, 0) / twice) + multiply((value[n->input[1]][i] - zero_of(b)) * (1 << 20), scale_of(b, 0) / twice);
        value[n->output][i] = clamp(multiply(sum, twice / ((1 << 20) * scale_of(y, 0))) + zero_of(y), y, hd_flat_byte(&t->flat, n->options, 0, 0));
    }
}

static void run_mean(hd_tflite *t, const hd_tflite_node *n, int8_t **value) {
    const hd_tflite_tensor *x = &t->tensor[n->input[0]], *y = &t->tensor[n->output];
    int pixels = x->dim[1] * x->dim[2], channels = x->dim[3];
    for (int c = 0; c < channels; c++) {
        double sum = 0;
        for (int p = 0; p < pixels; p++) sum += value[n->input[0]][p * channels + c] - zero_of(x);
        value[n->output][c] = clamp((int32_t)lround(sum / pixels * scale_of(x, 0) / scale_of(y, 0)) + zero_of(y), y, 0);
    }
}

static void run_net(hd_tflite *t, int8_t **value) {
    for (int i = 0; i < t->n_nodes; i++) {
        const hd_tflite_node *n = &t->node[i];
        switch (n->op) {
        case HD_TFLITE_CONV:
        case HD_TFLITE_DEPTHWISE:
        case HD_TFLITE_MAX_POOL:
        case HD_TFLITE_AVERAGE_POOL: run_window(t, n, value); break;
        case HD_TFLITE_FULLY_CONNECTED: run_fc(t, n, value); break;
        case HD_TFLITE_ADD: run_add(t, n, value); break;
        case HD_TFLITE_MEAN: run_mean(t, n, value); break;
        case HD_TFLITE_RESHAPE:
        case HD_TFLITE_SOFTMAX: memcpy(value[n->output], value[n->input[0]], t->tensor[n->output].count); break; /* softmax keeps the order */
        default: fail_msg("operator %d in a test network", n->op);
        }
    }
}

/* ---- a file through both ---- */

typedef struct pair {
    hd_tflite t;
    int8_t **value; /* [tensor of the file] */
    hd_graph *g;
    hd_model *m;
    hd_integer *e;
    size_t values[2], different[2]; /* compared and off by one: of additions [1], of all others [0] */
} pair;

static void open_pair(pair *p, const uint8_t *data, size_t size, const char *label) {
    hd_err err = {0};
    *p = (pair){.value = NULL};
    if (hd_tflite_read(&p->t, data, size, label, &err) || hd_import_tflite_memory(&p->g, data, size, label, &err) || hd_compress_kept(&p->m, p->g, &err) ||
        hd_integer_new(&p->e, p->m, &err))
        fail_msg("%s", err.message);
    p->value = calloc((size_t)p->t.n_tensors, sizeof *p->value);
    for (int i = 0; i < p->t.n_tensors; i++) p->value[i] = calloc(p->t.tensor[i].count, 1);
}

static void close_pair(pair *p) {
    hd_integer_free(p->e);
    hd_model_free(p->m);
    hd_graph_free(p->g);
    for (int i = 0; i < p->t.n_tensors; i++) free(p->value[i]);
    free(p->value);
    hd_tflite_free(&p->t);
}

/* The tensor of the file whose codes model tensor `tensor` has: operator k writes "conv.k", with ".relu" behind it when an activation is fused. */
static const int8_t *file_codes(const pair *p, int tensor) {
    if (tensor == p->m->input) return p->value[p->t.input];
    const char *number = strchr(p->m->tensor[tensor].name, '.');
    assert_non_null(number);
    return p->value[p->t.node[atoi(number + 1)].output];
}

static size_t elements(const hd_qtensor *t) { return (size_t)t->h * (size_t)t->w * (size_t)t->c; }

/* Each stage on TFLite's own inputs. */
static void compare_stages(pair *p, const char *label) {
    run_net(&p->t, p->value);
    for (int i = 0; i < p->m->n_stages; i++) {
        const hd_stage *s = &p->m->stage[i];
        const int reads[2] = {s->input, s->residual};
        for (int k = 0; k < 2; k++)
            if (reads[k] >= 0) memcpy((int8_t *)(uintptr_t)hd_integer_tensor(p->e, reads[k]), file_codes(p, reads[k]), elements(&p->m->tensor[reads[k]]));
        hd_integer_stage(p->e, i);
        const int8_t *y = hd_integer_tensor(p->e, s->output), *wanted = file_codes(p, s->output);
        for (size_t k = 0; k < elements(&p->m->tensor[s->output]); k++) {
            int off = abs(y[k] - wanted[k]);
            p->values[s->residual >= 0]++;
            p->different[s->residual >= 0] += off == 1;
            if (off > 1) fail_msg("%s: stage '%s': code %zu is %d, TFLite has %d", label, s->name, k, y[k], wanted[k]);
        }
    }
}

static int argmax(const int8_t *y, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (y[i] > y[best]) best = i;
    return (int)best;
}

/* ---- random networks ---- */

/* Multipliers of 16 bits move few codes over an edge. An addition is two roundings here, one in TFLite: two errors of up to a half together pass a half in a quarter of the cases. */
static void check_share(const size_t *values, const size_t *different, const char *label) {
    if (different[0] * 100 > values[0] || different[1] * 3 > values[1])
        fail_msg("%s: %zu of %zu codes off by one, of additions %zu of %zu", label, different[0], values[0], different[1], values[1]);
}

static void random_networks(void **state) {
    (void)state;
    size_t values[2] = {0, 0}, different[2] = {0, 0};
    for (uint64_t seed = 1; seed <= 200; seed++) {
        int8_net n = int8_net_random(seed);
        flat_builder file = int8_net_file(&n);
        char label[32];
        snprintf(label, sizeof label, "seed %llu", (unsigned long long)seed);
        pair p;
        open_pair(&p, file.data, file.size, label);
        for (size_t i = 0; i < p.t.tensor[p.t.input].count; i++) p.value[p.t.input][i] = (int8_t)int8_net_draw(&n, -128, 127);
        compare_stages(&p, label);
        for (int k = 0; k < 2; k++) values[k] += p.values[k], different[k] += p.different[k];
        close_pair(&p);
        flat_free(&file);
        int8_net_free(&n);
    }
    assert_true(values[0] > 20000 && values[1] > 2000);
    check_share(values, different, "random networks");
}

/* ---- published models ---- */

static void published(const char *name, const char *inputs, const char *labels, int bias, uint32_t count) {
    char model[4096], path[4096], classes_path[4096];
    hd_err err = {0};
    if (hd_models_file(model, sizeof model, name, &err) || hd_models_file(path, sizeof path, inputs, &err) || hd_models_file(classes_path, sizeof classes_path, labels, &err)) {
        printf("%s\n", err.message);
        skip();
    }
    uint8_t *data;
    size_t size, classes, same = 0, right = 0, right_there = 0;
    hd_idx *x, *y;
    assert_int_equal(hd_file_read(&data, &size, model, 1 << 24, 0, &err), HD_OK);
    assert_int_equal(hd_idx_load(&x, path, &err), HD_OK);
    assert_int_equal(hd_idx_load(&y, classes_path, &err), HD_OK);
    pair p;
    open_pair(&p, data, size, name);
    classes = p.t.tensor[p.t.output].count;
    if (count > x->dim[0]) count = x->dim[0];
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *item = (const uint8_t *)x->data + (size_t)i * x->item;
        for (size_t k = 0; k < x->item; k++) p.value[p.t.input][k] = (int8_t)(item[k] + bias);
        compare_stages(&p, name);
        hd_integer_run(p.e, p.value[p.t.input]);
        int here = argmax(hd_integer_tensor(p.e, p.m->output), classes), there = argmax(p.value[p.t.output], classes), label = ((const uint8_t *)y->data)[i];
        same += here == there;
        right += here == label;
        right_there += there == label;
    }
    printf("%s: %u samples, right %zu, by TFLite's arithmetic %zu; same class %zu; of %zu codes %zu off by one, of %zu additions' %zu\n", name, count, right, right_there, same, p.values[0],
           p.different[0], p.values[1], p.different[1]);
    assert_true((double)same >= 0.98 * count);
    assert_true(abs((int)right - (int)right_there) <= (int)count / 100);
    check_share(p.values, p.different, name);
    close_pair(&p);
    hd_idx_free(x);
    hd_idx_free(y);
    free(data);
}

/* HD_TFLITE_STUDY=N, on so many samples: what keeps the class from being TFLite's. Its arithmetic with one or all of its roundings replaced by ours, and multipliers of more bits. */
static void study(const char *name, const char *inputs, int bias, uint32_t count) {
    static const struct {
        const char *what;
        struct arithmetic a;
    } list[] = {{"multipliers of 16 bits, one rounding", {16, 0, 0}}, {"additions of two roundings", {0, 1, 0}}, {"averages round halves up", {0, 0, 1}},
                {"all three, 16 bits", {16, 1, 1}}, {"additions and averages of one rounding, 16 bits", {16, 2, 0}}, {"18 bits", {18, 2, 0}}, {"20 bits", {20, 2, 0}}, {"24 bits", {24, 2, 0}}};
    enum { SETTINGS = sizeof list / sizeof *list };
    char model[4096], path[4096];
    hd_err err = {0};
    uint8_t *data;
    size_t size, same[SETTINGS] = {0}, off[SETTINGS] = {0};
    hd_idx *x;
    if (hd_models_file(model, sizeof model, name, &err) || hd_models_file(path, sizeof path, inputs, &err)) {
        printf("%s\n", err.message);
        skip();
    }
    assert_int_equal(hd_file_read(&data, &size, model, 1 << 24, 0, &err), HD_OK);
    assert_int_equal(hd_idx_load(&x, path, &err), HD_OK);
    pair p;
    open_pair(&p, data, size, name);
    size_t classes = p.t.tensor[p.t.output].count;
    int8_t *logits = malloc(classes);
    if (count > x->dim[0]) count = x->dim[0];
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *item = (const uint8_t *)x->data + (size_t)i * x->item;
        for (size_t k = 0; k < x->item; k++) p.value[p.t.input][k] = (int8_t)(item[k] + bias);
        run_net(&p.t, p.value);
        memcpy(logits, p.value[p.t.output], classes);
        for (int s = 0; s < SETTINGS; s++) {
            arithmetic = list[s].a;
            run_net(&p.t, p.value);
            arithmetic = (struct arithmetic){0, 0, 0};
            same[s] += argmax(logits, classes) == argmax(p.value[p.t.output], classes);
            for (size_t k = 0; k < classes; k++) off[s] += logits[k] != p.value[p.t.output][k];
        }
    }
    for (int s = 0; s < SETTINGS; s++) printf("%s, %s: class of %zu of %u, %.2f%% of the outputs differ\n", name, list[s].what, same[s], count, 100 * (double)off[s] / (double)(count * classes));
    fflush(stdout);
    free(logits);
    close_pair(&p);
    hd_idx_free(x);
    free(data);
}

static void why_classes_differ(void **state) {
    (void)state;
    const char *samples = getenv("HD_TFLITE_STUDY");
    if (!samples) skip();
    study("resnet8-int8.tflite", "ic01-images.idx", -128, (uint32_t)atoi(samples));
    study("dscnn-int8.tflite", "kws01-inputs.idx", 0, (uint32_t)atoi(samples));
}

static void resnet8(void **state) {
    (void)state;
    published("resnet8-int8.tflite", "ic01-images.idx", "ic01-labels.idx", -128, 200);
}

static void dscnn(void **state) {
    (void)state;
    published("dscnn-int8.tflite", "kws01-inputs.idx", "kws01-labels.idx", 0, 200);
}

static void messages(void **state) {
    (void)state;
    int8_net n = int8_net_random(3);
    hd_graph *g;
    hd_model *m;
    hd_err err = {0};
    n.t[0].scales = 0; /* the input without a scale */
    flat_builder file = int8_net_file(&n);
    assert_int_equal(hd_import_tflite_memory(&g, file.data, file.size, "x.tflite", &err), HD_UNSUPPORTED);
    assert_non_null(strstr(err.message, "computed tensors are float32, or int8 with one scale"));
    flat_free(&file);
    n.t[0].scales = 1;
    n.t[0].type = HD_TFLITE_UINT8;
    file = int8_net_file(&n);
    assert_int_equal(hd_import_tflite_memory(&g, file.data, file.size, "x.tflite", &err), HD_UNSUPPORTED);
    assert_non_null(strstr(err.message, "is uint8; float32 and int8 are supported"));
    flat_free(&file);
    n.t[0].type = HD_TFLITE_INT8;
    file = int8_net_file(&n);
    assert_int_equal(hd_import_tflite_memory(&g, file.data, file.size, "x.tflite", &err), HD_OK);
    g->tensor[g->node[0].output].scale = 0;
    assert_int_equal(hd_compress_kept(&m, g, &err), HD_UNSUPPORTED);
    assert_null(m);
    assert_non_null(strstr(err.message, "has no scale of its own"));
    hd_graph_free(g);
    flat_free(&file);
    int8_net_free(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_networks), cmocka_unit_test(messages), cmocka_unit_test(resnet8), cmocka_unit_test(dscnn), cmocka_unit_test(why_classes_differ)};
    if (getenv("HD_TFLITE_STUDY")) cmocka_set_test_filter("why*");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
