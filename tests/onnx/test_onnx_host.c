/* ONNX's own backend tests on the host executor: compiler/onnx/conformance.h says which apply and what passes. All that apply must pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "../../compiler/onnx/conformance.h"
#include "../../compiler/onnx/host.h"

static const char *const folders[] = {"node", "simple", "pytorch-operator", "pytorch-converted"};
enum { N_FOLDERS = 4, NODE_TESTS = 886 };

static void test_every_applicable_model_passes(void **state) {
    (void)state;
    static int passes_of[512];
    int failed = 0, count, tested = 0;
    for (int f = 0; f < N_FOLDERS; f++) {
        char path[512];
        hd_conformance t;
        hd_err err = {0};
        snprintf(path, sizeof path, "%s/%s", HD_ONNX_TESTDATA, folders[f]);
        if (hd_onnx_conformance(&t, path, passes_of, stdout, &err)) fail_msg("%s", err.message);
        printf("ONNX %s: %d passed of %d applicable, %d models in all\n", folders[f], t.passed, t.applicable, t.models);
        failed += t.applicable - t.passed;
        if (f == 0) assert_true(t.passed >= NODE_TESTS);
    }
    const hd_host_op *table = hd_host_operators(&count);
    for (int k = 0; k < count; k++) {
        tested += passes_of[k] > 0;
        if (!passes_of[k]) printf("no model has %s\n", table[k].name);
    }
    printf("operators: %d in the table, %d in tests that passed\n", count, tested);
    assert_int_equal(failed, 0);
}

int main(void) {
    FILE *there = fopen(HD_ONNX_TESTDATA "/node/test_abs/model.onnx", "rb");
    if (!there) return 77;
    fclose(there);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_applicable_model_passes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
