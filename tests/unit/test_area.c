/* Cells of processing elements: flip-flops against what hw/pe.v's structure asks for, logic cells against the bar, cached results, missing tools. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../drivers/tools.h"
#include "../../sw/core/progress.h"
#include "../../sw/explore/area.h"

enum { FEW = 2, MANY = 4 };

static const hd_board *board_named(const char *name) {
    const hd_board *b = NULL;
    assert_int_equal(hd_board_find(&b, name, NULL), HD_OK);
    return b;
}

static hd_area row(const char *board, unsigned columns, unsigned lanes, unsigned planes, unsigned acc_bits) {
    hd_area a;
    hd_err err = {0};
    if (hd_area_grid(&a, board_named(board), 1, columns, lanes, planes, acc_bits, 0, &err)) fail_msg("%s", err.message);
    return a;
}

/* Every leaf, every adder of the tree and the planes' combination, accumulator and shadow register. */
static unsigned flip_flops(unsigned lanes, unsigned planes, unsigned acc_bits) {
    unsigned pairs = lanes / 2, log = 0, tree = pairs * 9;
    for (unsigned n = pairs / 2; n; n /= 2) tree += n * (9 + ++log);
    const unsigned width = 9 + log;
    return planes * tree + (planes == 1 ? 0 : planes == 2 ? width + 2 : 2 * (width + 2) + width + 4) + 2 * acc_bits;
}

static void needs(const char *tool) {
    char path[1024];
    if (hd_tool_find(tool, path, sizeof path)) return;
    print_message("skipped: %s is not installed\n", tool);
    skip();
}

static void test_flip_flops(void **state) {
    (void)state;
    needs("yosys");
    static const unsigned shape[][3] = {{4, 1, 16}, {8, 2, 18}, {8, 4, 20}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        const hd_area few = row("hx8k", FEW, shape[i][0], shape[i][1], shape[i][2]), many = row("hx8k", MANY, shape[i][0], shape[i][1], shape[i][2]);
        assert_int_equal(many.ff - few.ff, (MANY - FEW) * flip_flops(shape[i][0], shape[i][1], shape[i][2]));
        /* A word of LANES x PLANES weight bits a column, 16 bits a block RAM. */
        assert_int_equal(many.ram - few.ram, (MANY - FEW) * ((shape[i][0] * shape[i][1] + 15) / 16));
    }
}

static void test_bar(void **state) {
    (void)state;
    needs("yosys");
    needs("nextpnr-ice40");
    const hd_area few = row("hx8k", FEW, 8, 2, 18), many = row("hx8k", MANY, 8, 2, 18);
    const unsigned cells = many.cells - few.cells, ops = (MANY - FEW) * 16;
    assert_true((double)cells / ops <= 11.6);
    /* A cell has one LUT and one flip-flop: no count can be below either. */
    assert_true(cells >= many.lut4 - few.lut4 && cells >= many.ff - few.ff);
}

static void test_cached(void **state) {
    (void)state;
    needs("yosys");
    const hd_area first = row("hx8k", FEW, 8, 2, 18);
    const double start = hd_seconds();
    const hd_area again = row("hx8k", FEW, 8, 2, 18);
    assert_memory_equal(&first, &again, sizeof first);
    assert_true(hd_seconds() - start < 2);
}

static void test_no_tools(void **state) {
    (void)state;
    hd_area a;
    hd_err err = {0};
    char *path = getenv("PATH"), *kept = NULL;
    assert_non_null(path);
    assert_true(asprintf(&kept, "%s", path) > 0);
    setenv("PATH", "/nowhere", 1);
    hd_status s = hd_area_grid(&a, board_named("hx8k"), 1, FEW, 4, 1, 17, 0, &err);
    setenv("PATH", kept, 1);
    free(kept);
    assert_int_equal(s, HD_TOOL);
    assert_non_null(strstr(err.message, "yosys"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_flip_flops), cmocka_unit_test(test_bar), cmocka_unit_test(test_cached), cmocka_unit_test(test_no_tools)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
