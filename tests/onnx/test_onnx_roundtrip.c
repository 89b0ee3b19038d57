/* Export and import give the same graph; damaged files give an error and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../compiler/import/import.h"
#include "../../sw/core/file.h"
#include "sample_graph.h"

static char path[64];

static void assert_floats(const float *a, const float *b, size_t n) {
    assert_int_equal(a == NULL, b == NULL);
    if (a) assert_memory_equal(a, b, n * sizeof *a);
}

static void assert_same(const hd_graph *a, const hd_graph *b) {
    assert_int_equal(a->n_nodes, b->n_nodes);
    assert_int_equal(a->n_tensors, b->n_tensors);
    assert_int_equal(a->input, b->input);
    assert_int_equal(a->output, b->output);
    assert_string_equal(a->name, b->name);
    for (int t = 0; t < a->n_tensors; t++) {
        assert_string_equal(a->tensor[t].name, b->tensor[t].name);
        assert_memory_equal(&a->tensor[t].shape, &b->tensor[t].shape, sizeof(hd_shape));
    }
    for (int i = 0; i < a->n_nodes; i++) {
        hd_node p = a->node[i], q = b->node[i];
        assert_string_equal(p.name, q.name);
        assert_int_equal(p.op, q.op);
        assert_memory_equal(p.input, q.input, sizeof p.input);
        assert_int_equal(p.output, q.output);
        /* kh .. count_include_pad are ints in a row. */
        assert_memory_equal(&p.kh, &q.kh, (size_t)((char *)(&p.count_include_pad + 1) - (char *)&p.kh));
        assert_true(p.lo == q.lo && p.hi == q.hi && p.alpha == q.alpha && p.beta == q.beta);
        assert_int_equal(p.fn, q.fn);
        assert_int_equal(p.cin, q.cin);
        assert_int_equal(p.cout, q.cout);
        assert_floats(p.weight, q.weight, hd_node_weights(&p));
        assert_floats(p.bias, q.bias, (size_t)p.cout);
    }
}

static void run_once(const hd_graph *g, hd_rng *rng, float *out) {
    hd_err err = {0};
    hd_exec *e;
    if (hd_exec_new(&e, g, &err) != HD_OK) fail_msg("%s", err.message);
    size_t n = hd_shape_size(g->tensor[g->input].shape);
    float *in = malloc(n * sizeof *in);
    assert_non_null(in);
    for (size_t i = 0; i < n; i++) in[i] = hd_rng_normal(rng);
    hd_exec_run(e, in);
    if (out) memcpy(out, hd_exec_tensor(e, g->output), hd_shape_size(g->tensor[g->output].shape) * sizeof *out);
    free(in);
    hd_exec_free(e);
}

static void test_roundtrip(void **state) {
    (void)state;
    hd_err err = {0};
    for (uint64_t seed = 0; seed < 300; seed++) {
        hd_rng rng;
        hd_rng_seed(&rng, seed, 7);
        hd_graph *g = sample_graph(&rng, 1 + (int)(seed % 12)), *back, *clone = hd_graph_clone(g);
        assert_non_null(clone);
        assert_same(g, clone);
        if (hd_export_onnx(g, path, &err) != HD_OK) fail_msg("seed %d: %s", (int)seed, err.message);
        if (hd_import_onnx(&back, path, &err) != HD_OK) fail_msg("seed %d: %s", (int)seed, err.message);
        assert_same(g, back);
        size_t n = hd_shape_size(g->tensor[g->output].shape) * sizeof(float);
        float *a = malloc(n), *b = malloc(n);
        assert_non_null(a);
        assert_non_null(b);
        hd_rng copy = rng;
        run_once(g, &rng, a);
        run_once(back, &copy, b);
        assert_memory_equal(a, b, n);
        free(a);
        free(b);
        hd_graph_free(clone);
        hd_graph_free(back);
        hd_graph_free(g);
    }
}

static size_t total_elements(const hd_graph *g) {
    size_t n = 0;
    for (int t = 0; t < g->n_tensors; t++) n += hd_shape_size(g->tensor[t].shape);
    return n;
}

/* Imports; a success must be a graph that runs, a failure must say something. */
static int try_bytes(const uint8_t *data, size_t size, hd_rng *rng) {
    hd_err err = {0};
    hd_graph *g;
    hd_status status = hd_import_onnx_memory(&g, data, size, "m.onnx", &err);
    if (status != HD_OK) {
        assert_null(g);
        assert_int_equal(status, err.code);
        assert_int_equal(strncmp(err.message, "m.onnx: ", 8), 0);
        return 0;
    }
    assert_int_equal(hd_graph_check(g, &err), HD_OK);
    if (total_elements(g) < 100000) run_once(g, rng, NULL);
    hd_graph_free(g);
    return 1;
}

static uint8_t *exported(hd_rng *rng, int nodes, size_t *size) {
    hd_err err = {0};
    hd_graph *g = sample_graph(rng, nodes);
    uint8_t *data;
    if (hd_export_onnx(g, path, &err) != HD_OK || hd_file_read(&data, size, path, 1 << 24, 0, &err) != HD_OK) fail_msg("%s", err.message);
    hd_graph_free(g);
    return data;
}

static void test_truncated(void **state) {
    (void)state;
    hd_rng rng;
    hd_rng_seed(&rng, 11, 3);
    size_t size;
    uint8_t *data = exported(&rng, 6, &size);
    /* An own buffer of exactly the cut size, so that a read past the end is caught. */
    for (size_t cut = 0; cut < size; cut += 1 + size / 1500) {
        uint8_t *part = malloc(cut + 1);
        assert_non_null(part);
        memcpy(part, data, cut);
        part = realloc(part, cut ? cut : 1);
        /* Only a cut in the operator set list behind the graph could leave a model, and that list is then missing. */
        assert_int_equal(try_bytes(part, cut, &rng), 0);
        free(part);
    }
    free(data);
}

static void mutate(uint8_t *data, size_t size, hd_rng *rng) {
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe, 8, 10, 18, 2};
    int edits = 1 + (int)hd_rng_below(rng, 4);
    for (int k = 0; k < edits; k++) {
        size_t at = hd_rng_below(rng, (uint32_t)size);
        switch (hd_rng_below(rng, 4)) {
        case 0: data[at] ^= (uint8_t)(1u << hd_rng_below(rng, 8)); break;
        case 1: data[at] = telling[hd_rng_below(rng, sizeof telling)]; break;
        case 2: data[at] = (uint8_t)hd_rng_u32(rng); break;
        default: {
            size_t from = hd_rng_below(rng, (uint32_t)size), most = size - (at > from ? at : from), n = hd_rng_below(rng, 24);
            memmove(data + at, data + from, n < most ? n : most);
        }
        }
    }
}

static void test_mutated(void **state) {
    (void)state;
    hd_rng rng;
    hd_rng_seed(&rng, 2026, 5);
    int taken = 0;
    for (int model = 0; model < 40; model++) {
        size_t size;
        uint8_t *data = exported(&rng, 1 + model % 9, &size), *copy = malloc(size);
        assert_non_null(copy);
        for (int k = 0; k < 150; k++) {
            memcpy(copy, data, size);
            mutate(copy, size, &rng);
            taken += try_bytes(copy, size, &rng);
        }
        free(copy);
        free(data);
    }
    print_message("%d of 6000 mutated models still were legal\n", taken);
    assert_true(taken > 0 && taken < 6000);
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/hd_roundtrip_%ld.onnx", (long)getpid());
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_roundtrip), cmocka_unit_test(test_truncated), cmocka_unit_test(test_mutated)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
