/* Averages over many pixels in two steps: the network computes what it did, a quantised file's integers stay, and an array with a small window and few parameters takes it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../compiler/compress/compress.h"
#include "../../compiler/compress/integer.h"
#include "../../compiler/graph/graph_edit.h"
#include "../../compiler/graph/split_average.h"
#include "../../compiler/lower/program.h"
#include "../../sw/core/rng.h"
#include "../../sw/runtime/runtime.h"

enum { CHANNELS = 40, OUTPUTS = 6 };

/* x [40][h][w] -> average kh x kw, stride sy x sx -> with fc: flatten -> fc -> 6 */
static hd_graph *sample(int h, int w, int kh, int kw, int sy, int sx, int fc) {
    hd_graph *g = hd_graph_new("sample");
    hd_rng r;
    hd_rng_seed(&r, 5, 1);
    hd_shape out = {CHANNELS, (h - kh) / sy + 1, (w - kw) / sx + 1};
    g->input = hd_graph_add_tensor(g, "x", (hd_shape){CHANNELS, h, w});
    g->output = hd_graph_add_tensor(g, "mean", out);
    int at = hd_graph_add_node(g, HD_OP_AVG_POOL, "mean");
    hd_node *n = &g->node[at];
    n->input[0] = g->input;
    n->output = g->output;
    n->kh = kh;
    n->kw = kw;
    n->sy = sy;
    n->sx = sx;
    if (!fc) return g;
    int flat = hd_graph_add_tensor(g, "flat", (hd_shape){(int)hd_shape_size(out), 1, 1});
    at = hd_graph_add_node(g, HD_OP_FLATTEN, "flat");
    n = &g->node[at];
    n->input[0] = g->output;
    n->output = flat;
    g->output = hd_graph_add_tensor(g, "y", (hd_shape){OUTPUTS, 1, 1});
    at = hd_graph_add_node(g, HD_OP_FC, "fc");
    n = &g->node[at];
    n->input[0] = flat;
    n->output = g->output;
    n->cin = (int)hd_shape_size(out);
    n->cout = OUTPUTS;
    n->weight = malloc(hd_node_weights(n) * sizeof(float));
    n->bias = calloc(OUTPUTS, sizeof(float));
    for (size_t i = 0; i < hd_node_weights(n); i++) n->weight[i] = hd_rng_normal(&r);
    return g;
}

static float *run(const hd_graph *g) {
    hd_exec *e;
    hd_err err = {0};
    size_t in = hd_shape_size(g->tensor[g->input].shape), out = hd_shape_size(g->tensor[g->output].shape);
    float *x = malloc(in * sizeof *x), *y = malloc(out * sizeof *y);
    for (size_t i = 0; i < in; i++) x[i] = sinf((float)i * 0.7f);
    if (hd_exec_new(&e, g, &err)) fail_msg("%s", err.message);
    hd_exec_run(e, x);
    memcpy(y, hd_exec_tensor(e, g->output), out * sizeof *y);
    hd_exec_free(e);
    free(x);
    return y;
}

static const hd_node *named(const hd_graph *g, const char *name) {
    for (int i = 0; i < g->n_nodes; i++)
        if (!strcmp(g->node[i].name, name)) return &g->node[i];
    return NULL;
}

static void computes_the_same(void **state) {
    (void)state;
    static const struct {
        int h, w, kh, kw, sy, sx, fc, most, inner_h, inner_w, nodes;
    } list[] = {{25, 5, 25, 5, 25, 5, 1, 64, 5, 5, 3},  /* the layer takes the rest */
                {25, 5, 25, 5, 25, 5, 1, 4, 1, 1, 0},   /* no factor */
                {25, 5, 25, 5, 25, 5, 0, 64, 5, 5, 2},  /* nothing behind */
                {25, 5, 25, 5, 25, 5, 0, 24, 1, 5, 3},  /* 1 x 5, then 25 rows: 5, and 5 */
                {27, 8, 12, 4, 12, 4, 1, 20, 4, 4, 4},  /* several averages, and lines that belong to none */
                {27, 8, 27, 8, 1, 1, 1, 72, 9, 8, 3},   /* the stride of a single average means nothing */
                {32, 32, 32, 32, 1, 1, 1, 32, 1, 32, 3}, {32, 32, 32, 32, 1, 1, 1, 16, 1, 16, 4}};
    for (size_t k = 0; k < sizeof list / sizeof *list; k++) {
        hd_graph *g = sample(list[k].h, list[k].w, list[k].kh, list[k].kw, list[k].sy, list[k].sx, list[k].fc);
        hd_err err = {0};
        size_t n = hd_shape_size(g->tensor[g->output].shape), weights = hd_node_weights(&g->node[g->n_nodes - 1]);
        float *before = run(g);
        hd_status s = hd_graph_split_averages(g, list[k].most, &err);
        if (!list[k].nodes) {
            assert_int_equal(s, HD_UNSUPPORTED);
            assert_string_equal(err.message, "node 'mean': an average of 25 x 5 pixels; neither side has a factor of 2 to 4");
        } else {
            if (s) fail_msg("case %zu: %s", k, err.message);
            const hd_node *mean = named(g, "mean");
            assert_int_equal(mean->kh, list[k].inner_h);
            assert_int_equal(mean->kw, list[k].inner_w);
            assert_int_equal(g->n_nodes, list[k].nodes);
            if (list[k].fc) assert_int_equal(g->source_weights, weights);
            for (int i = 0; i < g->n_nodes; i++)
                if (g->node[i].op == HD_OP_AVG_POOL) assert_true(g->node[i].kh * g->node[i].kw <= list[k].most);
            float *after = run(g);
            for (size_t i = 0; i < n; i++) assert_true(fabsf(before[i] - after[i]) <= 1e-5f * (1 + fabsf(before[i])));
            free(after);
        }
        free(before);
        hd_graph_free(g);
    }
}

static void refusals(void **state) {
    (void)state;
    hd_err err = {0};
    hd_graph *g = sample(12, 12, 8, 8, 4, 4, 0);
    assert_int_equal(hd_graph_split_averages(g, 16, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "node 'mean': an average of 8 x 8 pixels, more than 16, with padding, dilation or windows that overlap; only others can be cut");
    assert_int_equal(hd_graph_split_averages(g, 64, &err), HD_OK);
    assert_int_equal(g->n_nodes, 1);
    hd_graph_free(g);
}

static void give_codes(hd_graph *g) {
    for (int t = 0; t < g->n_tensors; t++) {
        g->tensor[t].scale = t == g->output ? 0.25f : 0.05f;
        g->tensor[t].zero = t == g->output ? 3 : -20;
    }
    hd_node *f = &g->node[g->n_nodes - 1];
    f->weight_scale = malloc(OUTPUTS * sizeof(float));
    for (int o = 0; o < OUTPUTS; o++) {
        f->weight_scale[o] = 0.013f * (float)(o + 1);
        for (int i = 0; i < f->cin; i++) f->weight[o * f->cin + i] = f->weight_scale[o] * (float)((o * 31 + i * 7) % 255 - 127);
    }
}

/* Of a quantised file: what the layer reads are the rounded means of 5 x 5 pixels, its integers are those of the file five times over. By textbook loops. */
static void keeps_integers(void **state) {
    (void)state;
    hd_err err = {0};
    hd_model *m = NULL;
    hd_integer *e = NULL;
    hd_graph *g = sample(25, 5, 25, 5, 1, 1, 1);
    give_codes(g);
    assert_int_equal(hd_graph_split_averages(g, 64, &err), HD_OK);
    if (hd_compress_kept(&m, g, &err) || hd_integer_new(&e, m, &err)) fail_msg("%s", err.message);
    static int8_t a[125 * CHANNELS];
    for (size_t i = 0; i < sizeof a; i++) a[i] = (int8_t)(i * 2654435761u >> 24);
    hd_integer_run(e, a);
    const int8_t *y = hd_integer_tensor(e, m->output);
    for (int o = 0; o < OUTPUTS; o++) {
        double sum = 0;
        for (int c = 0; c < CHANNELS; c++)
            for (int k = 0; k < 5; k++) {
                double part = 0;
                for (int i = 0; i < 25; i++) part += a[(k * 25 + i) * CHANNELS + c] + 20;
                sum += ((o * 31 + c * 7) % 255 - 127) * (floor(part / 25 + 0.5)) / 5;
            }
        double real = 0.05 * 0.013 * (o + 1) * sum / 0.25 + 3;
        assert_true(fabs(fmin(127, fmax(-128, real)) - y[o]) <= 0.51 + 1e-4 * fabs(real));
    }
    hd_integer_free(e);
    hd_model_free(m);
    hd_graph_free(g);
}

/* The array of iCEBreaker with 32 parameters: one average of 25 pixels is cut into slices of a word, all of one set of parameters, and ref gives the integer executor's bytes. */
static void fits_a_small_array(void **state) {
    (void)state;
    hd_err err = {0};
    hd_model *m = NULL;
    hd_integer *e = NULL;
    hd_program *p = NULL;
    hd_session *s = NULL;
    hd_geometry array;
    hd_lower_options o = {.board = "", .expand_input = 0};
    hd_graph *g = sample(25, 5, 25, 5, 1, 1, 1);
    give_codes(g);
    assert_int_equal(hd_geometry_parse(&array, "4x2x16x2", &err), HD_OK);
    assert_int_equal(hd_geometry_memory(&array, "act=512,window=64,stream=4096,param=32,descriptors=8,tables=0,hop=2,acc=20,fetch=1,post=1,pump=2,pool=0,slot=8,sums=0", &err), HD_OK);
    if (hd_compress_kept(&m, g, &err)) fail_msg("%s", err.message);
    assert_int_equal(hd_lower(&p, m, &array, &o, &err), HD_NOFIT);
    assert_string_equal(err.message, "layer 'mean' needs 125 window words of 16 bytes; geometry 4x2x16x2 has 64; heddle compress --split-average 64 cuts an average");
    hd_model_free(m);
    assert_int_equal(hd_graph_split_averages(g, 64, &err), HD_OK);
    if (hd_compress_kept(&m, g, &err) || hd_lower(&p, m, &array, &o, &err)) fail_msg("%s", err.message);
    assert_int_equal(p->layer[0].n_desc, 3);
    assert_int_equal(p->n_param, 32); /* 16 of the average; the layer's 6, and what its pacing channels read */
    static int8_t a[125 * CHANNELS], y[OUTPUTS];
    for (size_t i = 0; i < sizeof a; i++) a[i] = (int8_t)(i * 2654435761u >> 24);
    if (hd_integer_new(&e, m, &err) || hd_session_open(&s, p, &hd_driver_ref, NULL, &err) || hd_session_run(s, a, y, &err)) fail_msg("%s", err.message);
    hd_integer_run(e, a);
    assert_memory_equal(y, hd_integer_tensor(e, m->output), OUTPUTS);
    hd_session_close(s);
    hd_program_free(p);
    hd_integer_free(e);
    hd_model_free(m);
    hd_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(computes_the_same), cmocka_unit_test(refusals), cmocka_unit_test(keeps_integers), cmocka_unit_test(fits_a_small_array)};
    return cmocka_run_group_tests_name("split_average", tests, NULL, NULL);
}
