/* Rewriting graphs in place: order, readers, names; the network computes what it did. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../compiler/graph/graph_edit.h"
#include "../../sw/core/rng.h"

static void fill(hd_node *n, hd_rng *r, int cin, int cout) {
    n->cin = cin;
    n->cout = cout;
    size_t count = hd_node_weights(n);
    n->weight = malloc(count * sizeof(float));
    n->bias = malloc((size_t)cout * sizeof(float));
    for (size_t i = 0; i < count; i++) n->weight[i] = hd_rng_normal(r);
    for (int i = 0; i < cout; i++) n->bias[i] = hd_rng_normal(r);
}

/* x -> a (3x3) -> relu -> b (1x1) -> + relu's output -> pool -> fc */
static hd_graph *sample(void) {
    static const hd_shape map = {4, 6, 6}, half = {4, 3, 3}, out = {5, 1, 1};
    static const struct { const char *name; hd_op op; int x, y, z; } list[] = {
        {"a", HD_OP_CONV2D, 0, -1, 1}, {"relu", HD_OP_CLIP, 1, -1, 2}, {"b", HD_OP_CONV2D, 2, -1, 3},
        {"sum", HD_OP_ADD_TENSOR, 3, 2, 4}, {"pool", HD_OP_MAX_POOL, 4, -1, 5}, {"fc", HD_OP_FC, 5, -1, 6}};
    hd_graph *g = hd_graph_new("sample");
    hd_rng r;
    hd_rng_seed(&r, 3, 1);
    const hd_shape shape[7] = {{2, 6, 6}, map, map, map, map, half, out};
    for (int t = 0; t < 7; t++) hd_graph_add_tensor(g, (const char *[]){"x", "a", "relu", "b", "sum", "pool", "fc"}[t], shape[t]);
    for (int i = 0; i < 6; i++) {
        int at = hd_graph_add_node(g, list[i].op, list[i].name);
        hd_node *n = &g->node[at];
        n->input[0] = list[i].x;
        n->input[1] = list[i].y;
        n->output = list[i].z;
    }
    g->input = 0;
    g->output = 6;
    hd_node *n = g->node;
    n[0].kh = n[0].kw = 3;
    n[0].pad_top = n[0].pad_left = n[0].pad_bottom = n[0].pad_right = 1;
    n[2].kh = n[2].kw = 1;
    n[4].kh = n[4].kw = n[4].sy = n[4].sx = 2;
    n[1].hi = INFINITY;
    fill(&n[0], &r, 2, 4);
    fill(&n[2], &r, 4, 4);
    fill(&n[5], &r, 36, 5);
    return g;
}

static void run(const hd_graph *g, float out[5]) {
    hd_exec *e;
    hd_err err = {0};
    float x[72];
    for (int i = 0; i < 72; i++) x[i] = sinf((float)i);
    if (hd_exec_new(&e, g, &err)) fail_msg("%s", err.message);
    hd_exec_run(e, x);
    memcpy(out, hd_exec_tensor(e, g->output), 5 * sizeof *out);
    hd_exec_free(e);
}

static void finds_neighbours(void **state) {
    (void)state;
    hd_graph *g = sample();
    int node[4];
    assert_int_equal(hd_graph_producer(g, 0), -1);
    assert_int_equal(hd_graph_producer(g, 4), 3);
    assert_int_equal(hd_graph_readers(g, 2, node, 4), 2);
    assert_true(node[0] == 2 && node[1] == 3);
    assert_int_equal(hd_graph_readers(g, 2, node, 1), 2);
    assert_int_equal(hd_graph_readers(g, 6, NULL, 0), 0);
    g->node[3].input[0] = 2;
    assert_int_equal(hd_graph_readers(g, 2, node, 4), 2); /* t + t reads t once */
    hd_graph_free(g);
}

/* A node that changes nothing behind every tensor, twice over; then all of them taken out again. */
static void inserts_and_removes(void **state) {
    (void)state;
    hd_graph *g = sample();
    float before[5], after[5];
    run(g, before);
    for (int round = 0; round < 2; round++)
        for (int t = 0; t < 7; t++) {
            int at = hd_graph_insert_after(g, t, HD_OP_CLIP, "open");
            assert_true(at >= 0);
            g->node[at].lo = -INFINITY;
            g->node[at].hi = INFINITY;
        }
    assert_int_equal(g->n_nodes, 6 + 14);
    run(g, after); /* checks names and order too */
    assert_memory_equal(before, after, sizeof before);
    assert_true(hd_graph_producer(g, g->output) == g->n_nodes - 1 && strncmp(g->node[g->n_nodes - 1].name, "open", 4) == 0);
    for (int i = g->n_nodes; i-- > 0;) {
        if (strncmp(g->node[i].name, "open", 4)) continue;
        int from = g->node[i].output, to = g->node[i].input[0];
        hd_graph_remove_node(g, i);
        hd_graph_redirect(g, from, to, 0);
    }
    assert_int_equal(g->n_nodes, 6);
    run(g, after);
    assert_memory_equal(before, after, sizeof before);
    hd_graph_free(g);
}

/* Convolution b as two, each with half of its inputs, and an addition. */
static void splits_a_layer(void **state) {
    (void)state;
    hd_graph *g = sample();
    float before[5], after[5];
    run(g, before);
    hd_shape map = g->tensor[3].shape;
    int part = hd_graph_add_unique_tensor(g, "b", map), sum = hd_graph_add_unique_tensor(g, "b", map);
    assert_true(!strcmp(g->tensor[part].name, "b2") && !strcmp(g->tensor[sum].name, "b3"));
    int at = hd_graph_insert_like(g, 3, 2, "b.rest");
    hd_node *first = &g->node[2], *rest = &g->node[at];
    assert_true(at == 3 && rest->cin == 4 && rest->kh == 1 && !rest->weight && !strcmp(rest->name, "b.rest"));
    rest->weight = calloc(16, sizeof(float));
    for (int i = 0; i < 16; i++)
        if (i % 4 >= 2) {
            rest->weight[i] = first->weight[i];
            first->weight[i] = 0;
        }
    rest->output = part;
    int add = hd_graph_insert_node(g, 4, HD_OP_ADD_TENSOR, "b.rest");
    assert_string_equal(g->node[add].name, "b.rest2");
    hd_graph_redirect(g, 3, sum, add + 1);
    g->node[add].input[0] = 3;
    g->node[add].input[1] = part;
    g->node[add].output = sum;
    run(g, after);
    for (int i = 0; i < 5; i++) assert_true(fabsf(before[i] - after[i]) <= 1e-5f * fabsf(before[i]));
    /* inserting in front of the node that is copied */
    at = hd_graph_insert_like(g, 0, 0, "copy");
    assert_true(at == 0 && g->node[0].kh == 3 && g->node[0].pad_top == 1 && g->node[1].weight && !strcmp(g->node[1].name, "a"));
    hd_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_neighbours), cmocka_unit_test(inserts_and_removes), cmocka_unit_test(splits_a_layer)};
    return cmocka_run_group_tests_name("graph_edit", tests, NULL, NULL);
}
