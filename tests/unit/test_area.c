/* Cells of processing elements: flip-flops against what hw/pe.v's structure asks for, logic cells against the bar, cached results, missing tools. One unit of a design: cells that its text tells. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../drivers/tools.h"
#include "../../sw/core/file.h"
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

/* A unit of WIDTH flip-flops that turn over together when its input differs from them, so that it takes a LUT and a flip-flop a bit; below it a part that has to be flattened. */
static const char unit_text[] =
    "module part #(parameter WIDTH = 4) (input clk, input [WIDTH-1:0] d, output reg [WIDTH-1:0] q);\n"
    "    always @(posedge clk) q <= q ^ d;\n"
    "endmodule\n"
    "module unit #(parameter WIDTH = 4) (input clk, input [WIDTH-1:0] d, output [WIDTH-1:0] q);\n"
    "    (* keep_hierarchy *) part #(.WIDTH(WIDTH)) u_part (.clk(clk), .d(d), .q(q));\n"
    "endmodule\n"
    "module units (input clk, input [1:0] d, output [1:0] q);\n"
    "    assign q = d & {2{clk}};\n"
    "endmodule\n"
    "module top (input clk, input [11:0] d, output [11:0] q, input [1:0] e, output [1:0] f);\n"
    "    units u_others (.clk(clk), .d(e), .q(f));\n"
    "    unit #(.WIDTH(12)) u_unit (.clk(clk), .d(d), .q(q));\n"
    "endmodule\n";

static void write_text(const char *folder, const char *name, const char *text) {
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(hd_file_write(path, text, strlen(text), NULL), HD_OK);
}

static void test_unit(void **state) {
    (void)state;
    needs("yosys");
    char folder[] = "/tmp/heddle-area-XXXXXX", path[1024], *kept = getenv("HEDDLE_CACHE") ? strdup(getenv("HEDDLE_CACHE")) : NULL;
    assert_non_null(mkdtemp(folder));
    hd_synth_report *r = calloc(1, sizeof *r);
    assert_non_null(r);
    snprintf(r->folder, sizeof r->folder, "%s", folder);
    /* What hd_synth leaves of a design: the script and the elaborated modules. */
    static const char script[] = "read_verilog unit.v\nhierarchy -top top\nwrite_rtlil design.il\nsynth_ice40 -device hx -top top\nstat\n";
    const char *const argv[] = {"yosys", "-q", "design.ys", NULL};
    write_text(folder, "unit.v", unit_text);
    write_text(folder, "synth.ys", script);
    write_text(folder, "design.ys", "read_verilog unit.v\nhierarchy -top top\nwrite_rtlil design.il\n");
    snprintf(path, sizeof path, "%s/log", folder);
    assert_int_equal(hd_tool_run(argv, folder, path, NULL, 1), 0);
    /* Nothing of an earlier run may answer. */
    snprintf(path, sizeof path, "%s/cache", folder);
    setenv("HEDDLE_CACHE", path, 1);

    hd_area a;
    hd_err err = {0}, unknown = {0};
    const hd_status s = hd_area_unit(&a, r, board_named("hx8k"), "unit", &err);
    const hd_area first = a;
    const hd_status again = hd_area_unit(&a, r, board_named("hx8k"), "unit", &err), none = hd_area_unit(&a, r, board_named("hx8k"), "uni", &unknown);
    if (kept) setenv("HEDDLE_CACHE", kept, 1);
    else unsetenv("HEDDLE_CACHE");
    free(kept);
    free(r);
    hd_tool_remove(folder);
    if (s) fail_msg("%s", err.message);
    assert_int_equal(again, HD_OK);
    assert_int_equal(first.lut4, 12);
    assert_int_equal(first.ff, 12);
    /* A LUT and its flip-flop share a cell, and the packer adds two of its own; it reads the netlist, which only a script that writes it gives. */
    if (hd_tool_find("nextpnr-ice40", path, sizeof path)) assert_in_range(first.cells, 12, 14);
    assert_int_equal(none, HD_TOOL);
    assert_non_null(strstr(unknown.message, "'uni'"));
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_flip_flops), cmocka_unit_test(test_bar), cmocka_unit_test(test_cached), cmocka_unit_test(test_unit), cmocka_unit_test(test_no_tools)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
