/* Compression: scale search, pruning, policies, stages from graphs, and the whole way against the float network. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../compiler/compress/compress_internal.h"
#include "../../compiler/compress/model_internal.h"
#include "../../sw/core/file.h"
#include "../../sw/core/rng.h"
#include "../support/integer_checks.h"
#include "../support/net_maker.h"

static float *random_floats(size_t n, uint64_t seed, float scale) {
    hd_rng r;
    hd_rng_seed(&r, seed, 11);
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = scale * hd_rng_normal(&r) * (hd_rng_below(&r, 20) ? 1.0f : 4.0f);
    return x;
}

/* ---- weights ---- */

/* No value of the grid is nearer to a weight than the one it got. Groups may shift theirs. */
static void nearest_of_all(const float *w, const float *scale, const int16_t *v, int cout, int inputs, const hd_rtn *o) {
    if (o->granularity == HD_GRANULARITY_GROUP) return;
    for (int i = 0; i < cout * inputs; i++) {
        double a = (double)scale[i / inputs], best = INFINITY, got = fabs((double)w[i] - a * v[i]);
        for (int k = -600; k <= 600; k++)
            if (hd_grid_has(o->grid, o->bits, k) && fabs((double)w[i] - a * k) < best) best = fabs((double)w[i] - a * k);
        if (!hd_grid_has(o->grid, o->bits, v[i]) || got > best + 1e-6 * a * 600) fail_msg("grid %d, %d bits: %g at a scale of %g became %d", (int)o->grid, o->bits, (double)w[i], a, v[i]);
    }
}

static void search_is_never_worse(void **state) {
    (void)state;
    enum { COUT = 6, INPUTS = 45 };
    float least[COUT];
    for (int i = 0; i < COUT; i++) least[i] = 1e-9f;
    int better = 0;
    for (uint64_t seed = 0; seed < 10; seed++)
        for (int g = 0; g < HD_GRIDS; g++) {
            int lowest_bits, most_bits;
            hd_grid_bits(&lowest_bits, &most_bits, (enum hd_grid)g);
            for (int bits = lowest_bits; bits <= most_bits; bits++)
                for (int gran = 0; gran < 3; gran++) {
                    float *w = random_floats(COUT * INPUTS, seed, 0.3f), scale[COUT];
                    int16_t v[COUT * INPUTS];
                    uint8_t shift[COUT * 6];
                    hd_rtn o = {.grid = (enum hd_grid)g, .bits = bits, .granularity = (enum hd_granularity)gran, .group_size = 8, .floor = least};
                    double plain = hd_rtn_quantize(v, shift, scale, w, COUT, INPUTS, &o);
                    o.search = 1;
                    double searched = hd_rtn_quantize(v, shift, scale, w, COUT, INPUTS, &o);
                    /* float scales round differently from the sums of the search: a hair of slack */
                    assert_true(searched <= plain * (1 + 1e-6));
                    better += searched < 0.99 * plain;
                    nearest_of_all(w, scale, v, COUT, INPUTS, &o);
                    free(w);
                }
        }
    assert_true(better > 100);
    /* One bit has a known optimum: the mean magnitude. */
    float w[4] = {0.1f, -0.2f, 0.4f, -0.5f}, scale[1];
    int16_t v[4];
    hd_rtn o = {.grid = HD_GRID_ODD, .bits = 1, .granularity = HD_GRANULARITY_CHANNEL, .floor = least, .search = 1};
    hd_rtn_quantize(v, NULL, scale, w, 1, 4, &o);
    assert_true(fabsf(scale[0] - 0.3f) < 1e-6f && v[0] == 1 && v[1] == -1 && v[2] == 1 && v[3] == -1);
}

static void fixed_point(void **state) {
    (void)state;
    int mult, shift;
    assert_true(hd_fixed_point(0.5, 1, 47, &mult, &shift) && mult == 32768 && shift == 16);
    assert_true(hd_fixed_point(1.0 / 3, 1, 47, &mult, &shift) && mult == 43691 && shift == 17);
    assert_true(hd_fixed_point(0.99999999, 1, 47, &mult, &shift) && mult == 32768 && shift == 15);
    assert_true(hd_fixed_point(ldexp(1, -40), 1, 47, &mult, &shift) && mult == 128 && shift == 47);
    assert_true(!hd_fixed_point(65536, 1, 47, &mult, &shift));
    assert_true(!hd_fixed_point(NAN, 1, 47, &mult, &shift));
}

static void prunes_the_smallest(void **state) {
    (void)state;
    /* 3 channels x 2 taps x 3 inputs, blocks of 2 inputs x 2 channels: 2 x (2 taps x 2) blocks, the last of each kind narrower. */
    float w[18];
    uint8_t present[8];
    static const float level[8] = {5, 1, 7, 2, 4, 8, 3, 6}; /* [oc block][tap][ic block] */
    for (int oc = 0; oc < 3; oc++)
        for (int tap = 0; tap < 2; tap++)
            for (int ic = 0; ic < 3; ic++) {
                int rows = oc < 2 ? 2 : 1, columns = ic < 2 ? 2 : 1;
                w[(oc * 2 + tap) * 3 + ic] = level[oc / 2 * 4 + tap * 2 + ic / 2] / sqrtf((float)(rows * columns));
            }
    hd_err err = {0};
    assert_int_equal(hd_prune_blocks(present, w, 3, 2, 3, 2, 2, 0.5f, &err), HD_OK);
    assert_memory_equal(present, "\1\0\1\0\0\1\0\1", 8);
    assert_int_equal(hd_prune_blocks(present, w, 3, 2, 3, 2, 2, 0.25f, &err), HD_OK);
    assert_memory_equal(present, "\1\0\1\0\1\1\1\1", 8);
    assert_int_equal(hd_prune_blocks(present, w, 3, 2, 3, 2, 2, 0.99f, &err), HD_OK);
    assert_memory_equal(present, "\0\0\0\0\0\1\0\0", 8);
}

/* ---- ranges ---- */

static void ranges(void **state) {
    (void)state;
    hd_qparams q = hd_qparams_of_range(0, 2.55f);
    assert_true(q.zero == -128 && fabsf(q.scale - 0.01f) < 1e-8f);
    q = hd_qparams_of_range(-1, 1);
    assert_int_equal(hd_code(q, 0), q.zero);
    q = hd_qparams_of_range(0, 0);
    assert_true(q.scale == 1.0f && q.zero == 0);
    /* A few far outliers: clipping them loses less than stretching the scale. */
    hd_histogram *h = calloc(1, sizeof *h);
    h->lo = 0;
    h->hi = 100;
    for (int b = 0; b < 40; b++) h->count[b] = 1000000;
    h->count[HD_BINS - 1] = 1;
    hd_qparams searched = hd_qparams_search(h), whole = hd_qparams_of_range(0, 100);
    assert_int_equal(searched.zero, -128);
    assert_true(searched.scale < whole.scale && hd_qparams_error(h, searched) < hd_qparams_error(h, whole));
    free(h);
}

/* ---- graphs ---- */

static int pool(maker *k, hd_op op, const char *name, int x, int kernel, int stride, int pad) {
    hd_shape s = k->g->tensor[x].shape;
    hd_node *n = net_node(k, op, name, x, (hd_shape){s.c, (s.h + 2 * pad - kernel) / stride + 1, (s.w + 2 * pad - kernel) / stride + 1});
    n->kh = n->kw = kernel;
    n->sy = n->sx = stride;
    n->pad_top = n->pad_left = n->pad_bottom = n->pad_right = pad;
    return n->output;
}

/* Every kind of stage: residual inside and after an activation, depthwise, tables, both pools, flattening, softmax. */
static hd_graph *everything(uint64_t seed) {
    maker k = net_start((hd_shape){3, 12, 10}, 0, seed);
    int x = net_clip(&k, "relu1", net_conv(&k, "conv1", k.g->input, 8, 3, 1, 1), INFINITY);
    int a = net_conv(&k, "conv2", x, 8, 3, 1, 1);
    x = net_clip(&k, "relu2", net_add(&k, "add1", a, x), 6.0f);
    x = net_unary(&k, "swish", net_conv(&k, "depthwise", x, 8, 3, 1, 8), HD_FN_HARD_SWISH);
    x = pool(&k, HD_OP_MAX_POOL, "max", x, 2, 2, 0);
    int b = net_clip(&k, "relu3", net_conv(&k, "conv3", x, 8, 1, 1, 2), INFINITY);
    x = net_add(&k, "add2", x, b); /* both sides are shared or activated: an identity stage */
    x = net_unary(&k, "tanh", x, HD_FN_TANH);
    x = pool(&k, HD_OP_AVG_POOL, "avg", x, 2, 1, 0);
    x = net_fc(&k, "fc1", net_flatten(&k, "flat", x), 20);
    x = net_fc(&k, "fc2", net_unary(&k, "leaky", x, HD_FN_LEAKY_RELU), 6);
    net_node(&k, HD_OP_SOFTMAX, "softmax", x, (hd_shape){6, 1, 1});
    return k.g;
}

/* Signal to noise of the integer network's output against tensor t of the float one, over all images, in decibels. */
static double quality(const hd_graph *g, int t, const hd_model *m, const hd_idx *x) {
    return -10 * log10(hd_test_noise_at(g, t, m, x));
}

static void follows_the_float_network(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        hd_err err = {0};
        hd_graph *g = everything(seed);
        hd_idx *x = net_images_of(g->tensor[g->input].shape, 64, seed);
        hd_policy p;
        hd_policy_default(&p);
        hd_model *m;
        if (hd_compress(&m, g, &p, x, 64, 1, &err) != HD_OK) fail_msg("%s", err.message);
        static const char *const names[] = {"conv1", "conv2", "depthwise", "max", "conv3", "add2", "avg", "fc1", "fc2"};
        assert_int_equal(m->n_stages, 9);
        for (int i = 0; i < 9; i++) assert_string_equal(m->stage[i].name, names[i]);
        assert_true(m->stage[1].residual == m->stage[0].output && m->stage[5].residual >= 0 && m->stage[5].groups == 8);
        assert_true(m->stage[2].has_table && m->stage[5].has_table && m->stage[7].has_table && !m->stage[0].has_table);
        assert_int_equal(m->stage[0].clamp_lo, -128);
        assert_int_equal(m->tensor[m->stage[0].output].zero, -128);
        assert_true(m->stage[7].kh == 5 && m->stage[7].kw == 4 && m->stage[7].cin == 8);
        assert_true(m->stage[6].v[0] == 2 && m->stage[6].scale[0] == 0.125f);
        int logits = g->node[g->n_nodes - 1].input[0];
        double w8 = quality(g, logits, m, x);
        if (w8 < 25) fail_msg("seed %d: %.1f dB with 8 bits", (int)seed, w8);
        hd_model_free(m);
        p.base.bits = 4;
        assert_int_equal(hd_compress(&m, g, &p, x, 64, 1, &err), HD_OK);
        double w4 = quality(g, logits, m, x);
        assert_true(w4 > 8 && w4 < w8);
        hd_model_free(m);
        hd_idx_free(x);
        hd_graph_free(g);
    }
}

static void same_on_any_number_of_threads(void **state) {
    (void)state;
    hd_err err = {0};
    hd_graph *g = everything(3);
    hd_idx *x = net_images_of(g->tensor[g->input].shape, 40, 3);
    char path[2][64];
    uint8_t *file[2];
    size_t size[2];
    int threads = omp_get_max_threads();
    for (int i = 0; i < 2; i++) {
        hd_policy p;
        hd_policy_default(&p);
        p.base.bits = 2;
        p.base.sparsity = 0.5f;
        p.base.granularity = HD_GRANULARITY_GROUP;
        p.base.group_size = 16;
        hd_model *m;
        omp_set_num_threads(i ? 3 : 1);
        assert_int_equal(hd_compress(&m, g, &p, x, 40, 1, &err), HD_OK);
        snprintf(path[i], sizeof path[i], "/tmp/hd_compress_%d_%d.hdm", (int)getpid(), i);
        assert_int_equal(hd_model_save(m, path[i], &err), HD_OK);
        assert_int_equal(hd_file_read(&file[i], &size[i], path[i], 1 << 24, 0, &err), HD_OK);
        remove(path[i]);
        hd_model_free(m);
    }
    omp_set_num_threads(threads);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(file[0], file[1], size[0]);
    free(file[0]);
    free(file[1]);
    hd_idx_free(x);
    hd_graph_free(g);
}

/* An image that only fully connected layers read is stored as one pixel. */
static void flattens_the_input(void **state) {
    (void)state;
    hd_err err = {0};
    maker k = net_start((hd_shape){2, 6, 6}, 0, 1);
    int x = net_clip(&k, "r", net_fc(&k, "a", net_flatten(&k, "f", k.g->input), 16), INFINITY);
    x = net_fc(&k, "b", x, 4);
    hd_idx *data = net_images_of((hd_shape){2, 6, 6}, 32, 1);
    hd_policy p;
    hd_policy_default(&p);
    hd_model *m;
    if (hd_compress(&m, k.g, &p, data, 32, 1, &err) != HD_OK) fail_msg("%s", err.message);
    assert_true(m->tensor[0].h == 1 && m->tensor[0].w == 1 && m->tensor[0].c == 72 && m->stage[0].kh == 1);
    assert_true(quality(k.g, x, m, data) > 30);
    assert_int_equal(m->dense_weights, 72 * 16 + 16 * 4);
    hd_model_free(m);
    hd_idx_free(data);
    hd_graph_free(k.g);
}

static void expect_refusal(maker *k, hd_status code, const char *message) {
    hd_err err = {0};
    hd_idx *x = net_images_of(k->g->tensor[k->g->input].shape, 2, 1);
    hd_policy p;
    hd_policy_default(&p);
    hd_model *m;
    assert_int_equal(hd_compress(&m, k->g, &p, x, 2, 1, &err), code);
    assert_null(m);
    assert_string_equal(err.message, message);
    hd_idx_free(x);
    hd_graph_free(k->g);
}

/* A tensor's name is then not its node's, so that a message shows which of the two it says. */
static void call(maker *k, int tensor, const char *name) {
    free(k->g->tensor[tensor].name);
    k->g->tensor[tensor].name = strdup(name);
}

static void refuses_by_name(void **state) {
    (void)state;
    hd_shape s = {4, 6, 6};
    maker k = net_start(s, 0, 1);
    pool(&k, HD_OP_AVG_POOL, "avg", k.g->input, 3, 1, 1);
    expect_refusal(&k, HD_UNSUPPORTED, "node 'avg': average pooling over padding with count_include_pad 0; windows at the border would have other divisors");
    k = net_start(s, 0, 1);
    int x = net_node(&k, HD_OP_SOFTMAX, "soft", net_conv(&k, "c", k.g->input, 4, 1, 1, 1), s)->output;
    net_conv(&k, "d", x, 4, 1, 1, 1);
    expect_refusal(&k, HD_UNSUPPORTED, "node 'soft': softmax inside the network; only a final one (which is dropped) is supported");
    k = net_start(s, 0, 1);
    x = net_flatten(&k, "f", net_conv(&k, "c", k.g->input, 4, 1, 1, 1));
    net_add(&k, "sum", x, net_fc(&k, "fc", x, 144));
    expect_refusal(&k, HD_UNSUPPORTED, "node 'sum': adds a flattened feature map to a vector; their orders in memory differ");
    k = net_start(s, 0, 1);
    x = net_flatten(&k, "f", net_conv(&k, "c", k.g->input, 4, 1, 1, 1));
    net_conv(&k, "wide", x, 4, 1, 1, 1);
    expect_refusal(&k, HD_UNSUPPORTED, "node 'wide': works on a flattened feature map as on channels; its order in memory differs");
    k = net_start(s, 0, 1);
    call(&k, net_flatten(&k, "f", net_conv(&k, "c", k.g->input, 4, 1, 1, 1)), "t2");
    expect_refusal(&k, HD_UNSUPPORTED, "output tensor 't2': a flattened feature map of 4 x 6 x 6; only its channels-last order is stored");
    k = net_start(s, 0, 1);
    net_flatten(&k, "f", k.g->input);
    expect_refusal(&k, HD_UNSUPPORTED, "network 'net' computes nothing from its input");
    hd_err err = {0};
    hd_model *m;
    hd_policy p;
    hd_policy_default(&p);
    k = net_start(s, 0, 1);
    net_clip(&k, "six", net_conv(&k, "c", k.g->input, 4, 1, 1, 1), 6);
    for (int i = 0; i < 16; i++) net_named(k.g, "c")->weight[i] *= 1e20f;
    hd_idx *plain = net_images_of(s, 2, 1);
    hd_policy solved = p;
    solved.base.recipe.solver = HD_METHOD_GPTQ;
    for (int way = 0; way < 2; way++) {
        assert_int_equal(hd_compress(&m, k.g, way ? &solved : &p, plain, 2, 1, &err), HD_UNSUPPORTED);
        assert_string_equal(err.message, "node 'c': channel 0 has steps of 1.44897e+15, 5.59829e+16 times its output's; at most 32767 times is supported");
    }
    hd_idx_free(plain);
    hd_graph_free(k.g);
    k = net_start(s, 0, 1);
    net_conv(&k, "c", k.g->input, 4, 1, 1, 1);
    call(&k, k.g->input, "t0");
    hd_idx *wrong = net_images_of((hd_shape){1, 5, 5}, 2, 1);
    hd_policy even = p;
    even.base.sparsity = 0.5f;
    even.base.block_in = 2;
    even.base.balance = 8;
    even.base.recipe.solver = HD_METHOD_SPARSEGPT;
    assert_int_equal(hd_compress(&m, k.g, &even, wrong, 2, 1, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "policy, base: method 'sparsegpt' with blocks in equal numbers; it chooses blocks itself, allowed are rtn, gptq and clip");
    even.base.recipe.solver = HD_METHOD_RTN;
    even.base.balance = 0;
    assert_int_equal(hd_policy_structure(&even.base, "2:4"), 1);
    even.base.block_in = 8;
    assert_int_equal(hd_compress(&m, k.g, &even, wrong, 2, 1, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "policy, base: 2:4 with pruning block 8x1 on a network; its blocks are 1x1");
    even.base.m = 65;
    assert_int_equal(hd_compress(&m, k.g, &even, wrong, 2, 1, &err), HD_RANGE);
    assert_string_equal(err.message, "policy, base: 2 of 65 weights stay; allowed 1 <= N < M <= 64");
    even.base.sparsity = 1;
    assert_int_equal(hd_compress(&m, k.g, &even, wrong, 2, 1, &err), HD_RANGE);
    assert_string_equal(err.message, "policy, base: sparsity 1; allowed 0 to below 1");
    static float values[2 * 144];
    hd_idx images = {.type = HD_IDX_F32, .rank = 2, .dim = {2, 144}, .item = 144, .data = values};
    values[150] = INFINITY;
    assert_int_equal(hd_compress(&m, k.g, &p, &images, 2, 1, &err), HD_RANGE);
    assert_string_equal(err.message, "tensor 't0': values that are not finite on the calibration images");
    assert_int_equal(hd_compress(&m, k.g, &p, &images, 0, 1, &err), HD_RANGE);
    assert_string_equal(err.message, "0 calibration images wanted of 2; at least 1 is needed");
    assert_int_equal(hd_compress(&m, k.g, &p, wrong, 2, 1, &err), HD_MISMATCH);
    assert_string_equal(err.message, "calibration images have 25 elements; input tensor 't0' has 144");
    struct hd_policy_rule rule = {(char[]){"d*"}, p.base};
    p.n_rules = 1;
    p.rule = &rule;
    assert_int_equal(hd_compress(&m, k.g, &p, wrong, 2, 1, &err), HD_MISMATCH);
    assert_string_equal(err.message, "policy, layer 'd*': no layer with weights has this name; there are c");
    hd_idx_free(wrong);
    hd_graph_free(k.g);
}

/* ---- policies ---- */

static void policies(void **state) {
    (void)state;
    hd_err err = {0};
    hd_policy p;
    char path[64], whole[400];
    snprintf(path, sizeof path, "/tmp/hd_policy_%d.json", (int)getpid());
    static const char good[] = "{\"layers\": {\"conv*\": {\"weights\": 4, \"block\": \"8x4\"}, \"conv2\": {\"weights\": \"ternary\", \"dense\": true}},\n"
                               " \"base\": {\"weights\": 2, \"sparsity\": 0.5, \"granularity\": \"group:32\"}}";
    assert_int_equal(hd_file_write(path, good, strlen(good), &err), HD_OK);
    if (hd_policy_load(&p, path, &err) != HD_OK) fail_msg("%s", err.message);
    const hd_layer_policy *a = hd_policy_of(&p, "conv1"), *b = hd_policy_of(&p, "conv2"), *c = hd_policy_of(&p, "fc");
    assert_true(a->bits == 4 && a->block_in == 8 && a->block_out == 4 && a->sparsity == 0.5f && a->granularity == HD_GRANULARITY_GROUP);
    assert_true(b->bits == 0 && b->skip_sparsity && b->group_size == 32);
    assert_true(c->bits == 2 && c->block_out == 8 && !c->skip_sparsity);
    hd_policy_free(&p);
    static const struct { const char *text, *message; hd_status code; } bad[] = {
        {"{\"base\": {", "line 1: not valid JSON", HD_FORMAT},
        {"{}\n{}", "line 2: not valid JSON", HD_FORMAT},
        {"[]", "the policy is an array; must be an object", HD_FORMAT},
        {"{\"bass\": {}}", "unknown key 'bass'; allowed base, layers, budget, rounds, split_average, sequential, repair", HD_FORMAT},
        {"{\"base\": 4}", "base: is a number; must be an object", HD_FORMAT},
        {"{\"base\": {\"bits\": 4}}", "base: unknown key 'bits'; allowed weights, grid, granularity, sparsity, structure, block, balance, method, code_group, dense, and in the base ranges", HD_FORMAT},
        {"{\"base\": {\"weights\": 9}}", "base: 'weights' is 9; must be 1 to 8, 'ternary' or 16 (sparse language models)", HD_RANGE},
        {"{\"base\": {\"weights\": 2.5}}", "base: 'weights' is 2.5; must be 1 to 8, 'ternary' or 16 (sparse language models)", HD_RANGE},
        {"{\"base\": {\"weights\": null}}", "base: 'weights' is null; must be 1 to 8, 'ternary' or 16 (sparse language models)", HD_FORMAT},
        {"{\"base\": {\"weights\": 1, \"grid\": \"even\"}}", "policy, base: 1-bit weights on grid 'even'; allowed are 2 to 8 bits", HD_RANGE},
        {"{\"base\": {\"block\": \"2x8\", \"balance\": 7}}", "policy, base: balance over 7 lanes with pruning block 2x8; allowed are multiples of the block's inputs, as in 8 with 2x8, and blocks alone", HD_RANGE},
        {"{\"base\": {\"balance\": 65}}", "base: 'balance' is 65; must be 0 to 64 lanes", HD_RANGE},
        {"{\"layers\": {\"a\": {\"sparsity\": 1}}}", "layer 'a': 'sparsity' is 1; must be a number from 0 to below 1", HD_RANGE},
        {"{\"layers\": {\"a\": {\"block\": \"8x\"}}}", "layer 'a': 'block' is '8x'; must be 'INxOUT' with 1 to 256 each", HD_FORMAT},
        {"{\"layers\": {\"a\": {\"block\": \"0x8\"}}}", "layer 'a': 'block' is '0x8'; must be 'INxOUT' with 1 to 256 each", HD_FORMAT},
        {"{\"layers\": {\"a\": {\"granularity\": \"group:\"}}}", "layer 'a': 'granularity' is 'group:'; must be 'tensor', 'channel', 'group:N' or 'float-group:N'", HD_FORMAT},
        {"{\"layers\": {\"a\": {\"dense\": 1}}}", "layer 'a': 'dense' is 1; must be true or false", HD_RANGE},
        {"{\"layers\": {\"a\": {}, \"a\": {}}}", "'layers': key 'a' is given twice", HD_FORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(hd_file_write(path, bad[i].text, strlen(bad[i].text), &err), HD_OK);
        assert_int_equal(hd_policy_load(&p, path, &err), bad[i].code);
        snprintf(whole, sizeof whole, "%s: %s", path, bad[i].message);
        assert_string_equal(err.message, whole);
    }
    remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(search_is_never_worse), cmocka_unit_test(fixed_point), cmocka_unit_test(prunes_the_smallest), cmocka_unit_test(ranges),
        cmocka_unit_test(follows_the_float_network), cmocka_unit_test(same_on_any_number_of_threads), cmocka_unit_test(flattens_the_input),
        cmocka_unit_test(refuses_by_name), cmocka_unit_test(policies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
