/* Channels removed from networks: against every subset, with planted channels, through ties, and on the array's model. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../compiler/compress/compress_internal.h"
#include "../../compiler/compress/pass_inputs.h"
#include "../../compiler/compress/passes.h"
#include "../../sw/core/rng.h"
#include "../support/integer_checks.h"
#include "../support/net_maker.h"

enum { IMAGES = 64 };

/* ---- networks ---- */

static int relu(maker *k, const char *name, int x) { return net_clip(k, name, x, INFINITY); }

/* conv1 (channels outputs, 3x3) - relu - conv2 (1x1), whose windows are the channels of one pixel. */
static hd_graph *chain(uint64_t seed, int channels) {
    maker k = net_start((hd_shape){3, 6, 6}, 0, seed);
    net_conv(&k, "conv2", relu(&k, "relu", net_conv(&k, "conv1", k.g->input, channels, 3, 1, 1)), 4, 1, 1, 1);
    return k.g;
}

/* conv1 and conv2 meet in an addition, a depthwise layer reads the sum; then pools, a flattened map and fully connected layers. */
static hd_graph *tied(uint64_t seed) {
    maker k = net_start((hd_shape){3, 8, 8}, 0, seed);
    int x = relu(&k, "relu1", net_conv(&k, "conv1", k.g->input, 8, 3, 1, 1));
    x = relu(&k, "relu2", net_add(&k, "add", net_conv(&k, "conv2", x, 8, 3, 1, 1), x));
    x = relu(&k, "relu3", net_conv(&k, "depthwise", x, 8, 3, 1, 8));
    x = relu(&k, "relu4", net_conv(&k, "conv3", net_pool(&k, HD_OP_MAX_POOL, "max", x), 12, 3, 1, 1));
    x = net_flatten(&k, "flat", net_pool(&k, HD_OP_AVG_POOL, "average", x));
    net_fc(&k, "fc2", relu(&k, "relu5", net_fc(&k, "fc1", x, 16)), 6);
    return k.g;
}

/* Of `layer` alone, or of all with NULL. */
static hd_policy policy(const char *layer, float share) {
    hd_policy p;
    hd_policy_default(&p);
    p.base.bits = 4;
    p.base.recipe.solver = HD_METHOD_GPTQ;
    hd_layer_policy o = p.base;
    o.structure = HD_SPARSE_CHANNEL;
    o.sparsity = share;
    if (!layer) p.base = o;
    else assert_true(hd_policy_add(&p, layer, &o));
    return p;
}

static hd_graph *passed(const hd_graph *g, hd_policy *out, const hd_policy *p, const hd_idx *x) {
    hd_graph *made;
    hd_err err = {0};
    if (hd_passes_run(&made, out, g, p, x, IMAGES, 1, &err)) fail_msg("%s", err.message);
    return made;
}

/* The same, without what it says about itself. */
static hd_graph *narrowed(const hd_graph *g, hd_policy *p, const hd_idx *x) {
    hd_policy out;
    hd_graph *made = passed(g, &out, p, x);
    hd_policy_free(&out);
    hd_policy_free(p);
    return made;
}

/* [image][element] of a tensor. */
static double *values(const hd_graph *g, int tensor, const hd_idx *x) {
    hd_exec *e;
    hd_err err = {0};
    size_t size = hd_shape_size(g->tensor[tensor].shape);
    double *v = malloc(IMAGES * size * sizeof *v);
    float *image = malloc(x->item * sizeof *image);
    if (hd_exec_new(&e, g, &err)) fail_msg("%s", err.message);
    for (uint32_t i = 0; i < IMAGES; i++) {
        hd_idx_item(x, i, 1, image);
        hd_exec_run(e, image);
        for (size_t j = 0; j < size; j++) v[i * size + j] = (double)hd_exec_tensor(e, tensor)[j];
    }
    hd_exec_free(e);
    free(image);
    return v;
}

/* Squared difference of the outputs, over the variance of a's. */
static double difference(const hd_graph *a, const hd_graph *b, const hd_idx *x) {
    size_t n = IMAGES * hd_shape_size(a->tensor[a->output].shape);
    double *u = values(a, a->output, x), *v = values(b, b->output, x), sum = 0, mean = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (u[i] - v[i]) * (u[i] - v[i]);
        mean += u[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) all += (u[i] - mean) * (u[i] - mean);
    free(u);
    free(v);
    return sum / all;
}

/* ---- every subset ---- */

enum { MOST = 12 };

/* Least squares of y on the marked channels and a constant, by normal equations and elimination with pivots: the squared error. x: [n][channels]. */
static double subset_error(const double *x, const double *y, size_t n, int channels, unsigned marks) {
    int at[MOST + 1], k = 0;
    double a[MOST + 1][MOST + 2] = {{0}}, w[MOST + 1], sum = 0;
    for (int c = 0; c < channels; c++)
        if (marks >> c & 1) at[k++] = c;
    at[k++] = -1; /* the constant */
    for (size_t i = 0; i < n; i++)
        for (int r = 0; r < k; r++) {
            double xr = at[r] < 0 ? 1 : x[i * (size_t)channels + (size_t)at[r]];
            for (int c = 0; c < k; c++) a[r][c] += xr * (at[c] < 0 ? 1 : x[i * (size_t)channels + (size_t)at[c]]);
            a[r][k] += xr * y[i];
        }
    for (int r = 0; r < k; r++) a[r][r] *= 1 + 1e-9; /* dead and equal channels */
    for (int r = 0; r < k; r++) a[r][r] += 1e-9;
    for (int p = 0; p < k; p++)
        for (int r = p + 1; r < k; r++) {
            double f = a[r][p] / a[p][p];
            for (int c = p; c <= k; c++) a[r][c] -= f * a[p][c];
        }
    for (int r = k; r-- > 0;) {
        w[r] = a[r][k];
        for (int c = r + 1; c < k; c++) w[r] -= a[r][c] * w[c];
        w[r] /= a[r][r];
    }
    for (size_t i = 0; i < n; i++) {
        double d = y[i];
        for (int r = 0; r < k; r++) d -= w[r] * (at[r] < 0 ? 1 : x[i * (size_t)channels + (size_t)at[r]]);
        sum += d * d;
    }
    return sum;
}

/* conv2 of a chain reads the marked channels only, as well as it can: the squared error of its outputs. */
static double chain_error(const hd_graph *g, const hd_idx *x, unsigned marks) {
    const hd_node *n = net_named(g, "conv2");
    size_t channels = (size_t)n->cin, pixels = 36, samples = IMAGES * pixels;
    double *in = values(g, n->input[0], x), *out = values(g, n->output, x), *rows = malloc(samples * channels * sizeof *rows), *y = malloc(samples * sizeof *y), sum = 0;
    for (size_t i = 0; i < samples; i++)
        for (size_t c = 0; c < channels; c++) rows[i * channels + c] = in[(i / pixels * channels + c) * pixels + i % pixels];
    for (size_t o = 0; o < (size_t)n->cout; o++) {
        for (size_t i = 0; i < samples; i++) y[i] = out[(i / pixels * (size_t)n->cout + o) * pixels + i % pixels];
        sum += subset_error(rows, y, samples, (int)channels, marks);
    }
    free(in);
    free(out);
    free(rows);
    free(y);
    return sum;
}

/* Rows of a layer that reads the input, which nothing fits: which of the old ones they are. */
static unsigned rows_kept(const hd_graph *old, const hd_graph *made, const char *layer) {
    const hd_node *a = net_named(old, layer), *b = net_named(made, layer);
    size_t size = hd_layer_columns(a) * sizeof(float);
    unsigned marks = 0;
    int r = 0;
    for (int i = 0; i < a->cout && r < b->cout; i++)
        if (!memcmp(a->weight + (size_t)i * hd_layer_columns(a), b->weight + (size_t)r * hd_layer_columns(b), size) && a->bias[i] == b->bias[r]) {
            marks |= 1u << i;
            r++;
        }
    assert_int_equal(r, b->cout);
    return marks;
}

static int bits_of(unsigned marks) {
    int n = 0;
    for (; marks; marks &= marks - 1) n++;
    return n;
}

static void every_subset(void **state) {
    (void)state;
    int best_found = 0;
    for (uint64_t seed = 0; seed < 8; seed++) {
        hd_graph *g = chain(seed, 7);
        hd_idx *x = net_images(g, IMAGES, seed);
        hd_policy p = policy("conv1", 0.43f);
        hd_graph *made = narrowed(g, &p, x);
        unsigned kept = rows_kept(g, made, "conv1");
        assert_int_equal(bits_of(kept), 4);
        double best = INFINITY, worst = 0, size = 0, *out = values(g, g->output, x), *now = values(made, made->output, x), mine = 0;
        for (unsigned marks = 0; marks < 1u << 7; marks++) {
            if (bits_of(marks) != 4) continue;
            double e = chain_error(g, x, marks);
            best = fmin(best, e);
            worst = fmax(worst, e);
        }
        for (size_t i = 0; i < IMAGES * 36 * 4; i++) {
            mine += (out[i] - now[i]) * (out[i] - now[i]);
            size += out[i] * out[i];
        }
        /* what the network computes is the least squares of its own channels */
        double own = chain_error(g, x, kept);
        assert_true(mine > 0.999999 * own - 1e-9 * size && mine < 1.001 * own);
        assert_true(mine < 1.1 * best && best < 0.7 * worst);
        best_found += own < 1.000001 * best;
        free(out);
        free(now);
        hd_graph_free(made);
        hd_graph_free(g);
        hd_idx_free(x);
    }
    assert_true(best_found >= 7);
}

/* Three of twelve channels say nothing: one is dead, one twice another one, one the sum of two (before a ReLU that lets all through); their weights are
 * the largest. */
static void planted_are_found(void **state) {
    (void)state;
    hd_graph *g = chain(3, 12);
    hd_idx *x = net_images(g, IMAGES, 3);
    hd_node *a = net_named(g, "conv1"), *b = net_named(g, "conv2");
    float *w = a->weight;
    for (int j = 0; j < 27; j++) {
        w[4 * 27 + j] *= 3;
        w[7 * 27 + j] = 2 * w[1 * 27 + j];
        w[10 * 27 + j] = w[2 * 27 + j] + w[3 * 27 + j];
    }
    a->bias[2] = a->bias[3] = 8; /* never below 0 */
    a->bias[10] = 16;
    a->bias[4] = -50;
    a->bias[7] = 2 * a->bias[1];
    for (int o = 0; o < 4; o++) b->weight[o * 12 + 4] = b->weight[o * 12 + 7] = 5;
    hd_policy p = policy("conv1", 0.25f);
    hd_graph *made = narrowed(g, &p, x);
    unsigned kept = rows_kept(g, made, "conv1");
    assert_int_equal(bits_of(kept), 9);
    assert_false(kept >> 4 & 1);
    assert_int_equal((kept >> 1 & 1) + (kept >> 7 & 1), 1);
    assert_int_equal((kept >> 2 & 1) + (kept >> 3 & 1) + (kept >> 10 & 1), 2);
    assert_true(difference(g, made, x) < 1e-5);
    hd_graph_free(made);
    /* The nine largest by norm, fitted as well as they can be. */
    unsigned largest = 0;
    for (int n = 0; n < 9; n++) {
        int best = -1;
        double most = -1;
        for (int c = 0; c < 12; c++) {
            double norm = 0;
            for (int j = 0; j < 27; j++) norm += (double)(w[c * 27 + j] * w[c * 27 + j]);
            if (!(largest >> c & 1) && norm > most) {
                most = norm;
                best = c;
            }
        }
        largest |= 1u << best;
    }
    double by_norm = chain_error(g, x, largest), ours = chain_error(g, x, kept), least = chain_error(g, x, 0);
    assert_true(by_norm > 1e-3 * least && ours < 1e-3 * by_norm);
    hd_graph_free(g);
    hd_idx_free(x);
}

/* ---- ties ---- */

static void kill_channel(hd_graph *g, const char *layer, int c) {
    net_named(g, layer)->bias[c] = -100;
}

static void ties_hold(void **state) {
    (void)state;
    hd_graph *g = tied(2);
    hd_idx *x = net_images(g, IMAGES, 2);
    /* dead in both sides of the addition; alive in one: 3 and 4 */
    for (int c = 1; c < 8; c += 4) {
        kill_channel(g, "conv1", c);
        kill_channel(g, "conv2", c);
        kill_channel(g, "depthwise", c); /* its bias would be seen: behind it is padding */
    }
    kill_channel(g, "conv1", 3);
    kill_channel(g, "conv3", 6);
    kill_channel(g, "conv3", 7);
    kill_channel(g, "conv3", 11);
    for (int c = 0; c < 4; c++) kill_channel(g, "fc1", 4 * c + 1);
    hd_policy p = policy(NULL, 0.25f), own;
    p.rounds = 2;
    hd_graph *made = passed(g, &own, &p, x);
    static const struct {
        const char *name;
        int cout, cin, removed;
    } want[] = {{"conv1", 6, 3, 2}, {"conv2", 6, 6, 2}, {"depthwise", 6, 6, 2}, {"conv3", 9, 6, 3}, {"fc1", 12, 9 * 4, 4}, {"fc2", 6, 12, 0}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const hd_node *n = net_named(made, want[i].name);
        const hd_layer_policy *o = hd_policy_of(&own, want[i].name);
        assert_int_equal(n->cout, want[i].cout);
        assert_int_equal(n->cin, want[i].cin);
        assert_int_equal(o->channels_removed, want[i].removed);
        assert_false(hd_policy_takes_channels(o));
    }
    assert_int_equal(net_named(made, "depthwise")->groups, 6);
    /* the same channels of both: 1 and 5 */
    assert_int_equal(rows_kept(g, made, "conv1"), 0xff & ~0x22);
    assert_int_equal(rows_kept(g, made, "depthwise"), 0xff & ~0x22);
    assert_true(difference(g, made, x) < 1e-3);
    size_t weights = 0;
    for (int i = 0; i < g->n_nodes; i++) weights += hd_node_weights(&g->node[i]);
    assert_int_equal(made->source_weights, weights);
    hd_graph_free(made);
    hd_policy_free(&own);
    hd_policy_free(&p);
    hd_graph_free(g);
    hd_idx_free(x);
}

static void refused(const hd_graph *g, hd_policy *p, const hd_idx *x, const char *text) {
    hd_graph *made;
    hd_policy own;
    hd_err err = {0};
    assert_int_equal(hd_passes_run(&made, &own, g, p, x, IMAGES, 1, &err), HD_UNSUPPORTED);
    assert_null(made);
    assert_string_equal(err.message, text);
    hd_policy_free(p);
}

static void what_cannot_leave(void **state) {
    (void)state;
    hd_graph *g = tied(1);
    hd_idx *x = net_images(g, IMAGES, 1);
    hd_policy p = policy("fc2", 0.5f);
    refused(g, &p, x, "layer 'fc2': its channels are those of the network's output, which stays as it is");
    p = policy("conv2", 0.5f);
    refused(g, &p, x, "layer 'conv2': its channels are those of layer 'conv1' too (an addition or a depthwise convolution ties them), which is to keep all; they leave both or neither");
    p = policy("depthwise", 0.5f);
    refused(g, &p, x, "layer 'depthwise': its channels are those of layer 'conv1' too (an addition or a depthwise convolution ties them), which is to keep all; they leave both or neither");
    /* Where the base asks, such layers stay whole: conv1 is to keep its channels, so conv2 does. */
    p = policy(NULL, 0.5f);
    hd_layer_policy dense = p.base;
    dense.sparsity = 0;
    assert_true(hd_policy_add(&p, "conv1", &dense));
    hd_graph *made = narrowed(g, &p, x);
    assert_int_equal(net_named(made, "conv1")->cout, 8);
    assert_int_equal(net_named(made, "conv2")->cout, 8);
    assert_int_equal(net_named(made, "conv3")->cout, 6);
    assert_int_equal(net_named(made, "fc2")->cout, 6);
    hd_graph_free(made);
    /* Solvers take only what a pass has finished. */
    hd_model *m;
    hd_err err = {0};
    p = policy("conv3", 0.5f);
    assert_int_equal(hd_compress(&m, g, &p, x, IMAGES, 1, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "layer 'conv3': taking channels out rewrites the network before its weights are solved, which was not done here; 'heddle compress' does it");
    hd_policy_free(&p);
    hd_graph_free(g);
    hd_idx_free(x);

    maker k = net_start((hd_shape){4, 6, 6}, 0, 1);
    int y = relu(&k, "relu1", net_conv(&k, "first", k.g->input, 8, 3, 1, 4));
    net_conv(&k, "last", net_conv(&k, "grouped", net_conv(&k, "middle", y, 8, 1, 1, 1), 8, 3, 1, 2), 4, 1, 1, 1);
    x = net_images(k.g, IMAGES, 1);
    p = policy("first", 0.5f);
    refused(k.g, &p, x, "layer 'first': its channels are those of the network's input, which stays as it is");
    p = policy("middle", 0.5f);
    refused(k.g, &p, x, "layer 'middle': its channels reach node 'grouped', which needs all of them; channels pass through elementwise functions, pooling, flattening, additions and depthwise convolutions");
    hd_graph_free(k.g);
    hd_idx_free(x);
}

/* ---- one budget ---- */

/* conv1 has channels that nobody needs, conv2 none: one budget takes its channels where they cost nothing. */
static void one_budget(void **state) {
    (void)state;
    maker k = net_start((hd_shape){3, 8, 8}, 0, 4);
    int y = relu(&k, "relu1", net_conv(&k, "conv1", k.g->input, 12, 3, 1, 1));
    y = relu(&k, "relu2", net_conv(&k, "conv2", y, 12, 3, 1, 1));
    net_conv(&k, "conv3", y, 8, 3, 1, 1);
    hd_idx *x = net_images(k.g, IMAGES, 4);
    for (int c = 0; c < 12; c += 2) kill_channel(k.g, "conv1", c);
    hd_policy p = policy(NULL, 0.25f);
    hd_graph *local = narrowed(k.g, &p, x);
    p = policy(NULL, 0.25f);
    p.budget = HD_BUDGET_GLOBAL;
    hd_graph *global = narrowed(k.g, &p, x);
    assert_int_equal(net_named(local, "conv1")->cout, 9);
    assert_int_equal(net_named(local, "conv2")->cout, 9);
    assert_int_equal(net_named(global, "conv1")->cout, 6);
    assert_in_range(net_named(global, "conv2")->cout, 10, 12);
    assert_true(difference(k.g, global, x) < 0.5 * difference(k.g, local, x));
    hd_graph_free(local);
    hd_graph_free(global);
    hd_graph_free(k.g);
    hd_idx_free(x);
}

/* ---- what comes after ---- */

/* The same weights for any number of threads; and the narrow network through the compiler: the bytes of the integer executor. */
static void narrow_networks_run(void **state) {
    (void)state;
    static const char *const geometries[] = {"2x2x4x1", "4x8x8x2"};
    hd_graph *g = tied(7);
    hd_idx *x = net_images(g, IMAGES, 7);
    hd_policy p = policy(NULL, 0.5f), own;
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    hd_policy again = policy(NULL, 0.5f);
    hd_graph *one = narrowed(g, &again, x);
    omp_set_num_threads(3);
    hd_graph *made = passed(g, &own, &p, x);
    omp_set_num_threads(threads);
    for (int i = 0; i < made->n_nodes; i++)
        if (made->node[i].weight) assert_memory_equal(made->node[i].weight, one->node[i].weight, hd_node_weights(&made->node[i]) * sizeof(float));
    hd_graph_free(one);
    hd_model *m;
    hd_err err = {0};
    if (hd_compress(&m, made, &own, x, IMAGES, 1, &err)) fail_msg("%s", err.message);
    assert_int_equal(m->dense_weights, made->source_weights);
    for (int k = 0; k < 2; k++)
        if (hd_test_ref_agrees(m, geometries[k], x, 4, &err)) fail_msg("%s: %s", geometries[k], err.message);
    hd_model_free(m);
    hd_policy_free(&own);
    hd_policy_free(&p);
    hd_graph_free(made);
    hd_graph_free(g);
    hd_idx_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_subset), cmocka_unit_test(planted_are_found), cmocka_unit_test(ties_hold),
                                       cmocka_unit_test(what_cannot_leave), cmocka_unit_test(one_budget), cmocka_unit_test(narrow_networks_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
