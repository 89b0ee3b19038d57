/* Design points: what their axes take, which points are the same, the sweep's file, and the estimates against sums done by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../drivers/tools.h"
#include "../../sw/explore/files.h"
#include "../../sw/explore/sweep.h"

static void refused(hd_axis axis, const char *text, const char *message) {
    hd_point_spec p;
    hd_err err = {0};
    hd_point_default(&p);
    assert_int_not_equal(hd_point_set(&p, axis, text, &err), HD_OK);
    if (strcmp(err.message, message)) fail_msg("found '%s', wanted '%s'", err.message, message);
}

static const char *taken(hd_axis axis, const char *text) {
    static hd_point_spec p;
    hd_err err = {0};
    hd_point_default(&p);
    if (hd_point_set(&p, axis, text, &err)) fail_msg("%s: %s", text, err.message);
    return p.axis[axis];
}

static void axes_take_what_they_say(void **state) {
    (void)state;
    assert_string_equal(taken(HD_AXIS_WEIGHTS, "ternary"), "ternary");
    assert_string_equal(taken(HD_AXIS_WEIGHTS, "auto:2.50"), "auto:2.5");
    assert_string_equal(taken(HD_AXIS_SPARSITY, "0.500"), "0.5");
    assert_string_equal(taken(HD_AXIS_SPARSITY, "0.0"), "0");
    assert_string_equal(taken(HD_AXIS_BLOCK, "array"), "array");
    assert_string_equal(taken(HD_AXIS_MEMORY, "extern=0"), "fit,extern=0");
    assert_string_equal(taken(HD_AXIS_MEMORY, "board"), "board");
    refused(HD_AXIS_WEIGHTS, "9", "--weights: found '9'; allowed are 1..8, ternary, and auto:B with B 0.5..8");
    refused(HD_AXIS_WEIGHTS, "auto:0.1", "--weights: found 'auto:0.1'; allowed are 1..8, ternary, and auto:B with B 0.5..8");
    refused(HD_AXIS_SPARSITY, "50", "--sparsity: found '50'; allowed is a number 0..0.99");
    refused(HD_AXIS_SPARSITY, "", "--sparsity: an empty value; a value looks like 0");
    refused(HD_AXIS_SPARSITY, "nan", "--sparsity: found 'nan'; allowed is a number 0..0.99");
    refused(HD_AXIS_BLOCK, "8x", "--block: found '8x'; allowed are INxOUT, each 1..65535, as in 8x8, and array");
    refused(HD_AXIS_ENDS, "4", "--ends: found '4'; allowed are 8, dense and same");
    refused(HD_AXIS_GEOMETRY, "4x8", "geometry '4x8': expected ROWSxCOLSxLANESxPLANES, such as 4x8x8x2");
    char names[200], unknown[300];
    hd_board_names(names, sizeof names);
    snprintf(unknown, sizeof unknown, "board 'nexys': unknown; there are %s", names);
    refused(HD_AXIS_BOARD, "nexys", unknown);
    refused(HD_AXIS_MEMORY, "fit,", "--memory: found 'fit,'; allowed is a list that does not end in a comma");
}

static void settled(const char *weights, const char *sparsity, const char *block, const char *want_sparsity, const char *want_block) {
    hd_point_spec p;
    hd_point_default(&p);
    assert_int_equal(hd_point_set(&p, HD_AXIS_WEIGHTS, weights, NULL), HD_OK);
    assert_int_equal(hd_point_set(&p, HD_AXIS_SPARSITY, sparsity, NULL), HD_OK);
    assert_int_equal(hd_point_set(&p, HD_AXIS_BLOCK, block, NULL), HD_OK);
    assert_int_equal(hd_point_settle(&p, NULL), HD_OK);
    assert_string_equal(p.axis[HD_AXIS_SPARSITY], want_sparsity);
    assert_string_equal(p.axis[HD_AXIS_BLOCK], want_block);
}

static void what_does_not_count_is_taken_out(void **state) {
    (void)state;
    settled("4", "0.5", "array", "0.5", "array");
    settled("4", "0", "array", "0", "8x8");
    settled("auto:3", "0.5", "16x8", "0", "16x8");
}

static void rules_that_only_show_together(void **state) {
    (void)state;
    hd_point_spec p;
    hd_err err = {0};
    hd_point_default(&p);
    assert_int_equal(hd_point_set(&p, HD_AXIS_BOARD, "none", NULL), HD_OK);
    assert_int_equal(hd_point_settle(&p, &err), HD_USAGE);
    assert_string_equal(err.message, "--board none has no geometry of its own; give --geometry, as in 4x8x8x2");
    /* HX8K's array has two clocks, and four lanes cannot be divided by its four. */
    hd_point_default(&p);
    assert_int_equal(hd_point_set(&p, HD_AXIS_BOARD, "hx8k", NULL), HD_OK);
    assert_int_equal(hd_point_set(&p, HD_AXIS_GEOMETRY, "2x8x8x2", NULL), HD_OK);
    assert_int_equal(hd_point_settle(&p, &err), HD_RANGE);
    assert_non_null(strstr(err.message, "geometry 2x8x8x2, board hx8k, memory fit: geometry: "));
}

static void blocks_follow_the_array(void **state) {
    (void)state;
    hd_point_spec p;
    int in, out;
    hd_point_default(&p);
    hd_point_set(&p, HD_AXIS_GEOMETRY, "4x8x16x2", NULL);
    hd_point_set(&p, HD_AXIS_BLOCK, "array", NULL);
    const struct { const char *weights; int out; } rows[] = {{"1", 8}, {"2", 8}, {"ternary", 8}, {"3", 4}, {"4", 4}, {"8", 2}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hd_point_set(&p, HD_AXIS_WEIGHTS, rows[i].weights, NULL);
        assert_int_equal(hd_point_block(&in, &out, &p, NULL), HD_OK);
        assert_int_equal(in, 16);
        assert_int_equal(out, rows[i].out);
    }
}

static void commands_survive_a_shell(void **state) {
    (void)state;
    hd_study s;
    hd_point_spec p;
    char text[2048];
    hd_study_default(&s);
    hd_point_default(&p);
    hd_point_set(&p, HD_AXIS_WEIGHTS, "2", NULL);
    snprintf(s.images, sizeof s.images, "/data/it's here/x.idx");
    s.count = 100;
    s.no_area = 1;
    hd_point_command(text, sizeof text, &s, &p);
    assert_string_equal(text, "heddle point default --weights 2 --board ulx3s --images '/data/it'\\''s here/x.idx' --count 100 --no-area");
}

static void sweeps_combine_and_come_back(void **state) {
    (void)state;
    hd_axis_grid g = {0};
    hd_sweep a, b;
    hd_study study;
    hd_err err = {0};
    char folder[] = "/tmp/heddle-sweep-XXXXXX", path[600];
    assert_non_null(mkdtemp(folder));
    hd_study_default(&study);
    study.clock_hz = 50e6;
    assert_int_equal(hd_axis_grid_set(&g, HD_AXIS_WEIGHTS, "2,4,auto:2", NULL), HD_OK);
    assert_int_equal(hd_axis_grid_set(&g, HD_AXIS_SPARSITY, "0,0.5,0.50", NULL), HD_OK);
    assert_int_equal(hd_axis_grid_set(&g, HD_AXIS_MEMORY, "fit,extern=0;board", NULL), HD_OK);
    assert_true(hd_axis_grid_size(&g) < 12.5 && hd_axis_grid_size(&g) > 11.5); /* 3 x 2 x 2 */
    assert_int_equal(hd_sweep_make(&a, &study, &g, 0, 1, &err), HD_OK);
    assert_int_equal(a.n, 10); /* the policy's two sparsities are one */
    assert_int_equal(hd_sweep_write(&a, folder, path, sizeof path, &err), HD_OK);
    if (hd_sweep_read(&b, path, &err)) fail_msg("%s", err.message);
    assert_int_equal(b.n, 10);
    assert_true(b.study.clock_hz > 49e6 && b.study.clock_hz < 51e6);
    for (int i = 0; i < a.n; i++)
        for (int k = 0; k < HD_AXES; k++) assert_string_equal(a.point[i].axis[k], b.point[i].axis[k]);
    hd_sweep_free(&b);
    /* A drawn sweep is part of the grid, without doubles, and the same for the same seed. */
    hd_sweep c, d;
    assert_int_equal(hd_sweep_make(&c, &study, &g, 6, 3, &err), HD_OK);
    assert_int_equal(hd_sweep_make(&d, &study, &g, 6, 3, &err), HD_OK);
    assert_int_equal(c.n, 6);
    for (int i = 0; i < c.n; i++) {
        int at;
        assert_memory_equal(c.point[i].axis, d.point[i].axis, sizeof c.point[i].axis);
        assert_int_equal(hd_sweep_add(&a, &c.point[i], &at, NULL), HD_OK);
        assert_int_equal(a.n, 10);
    }
    hd_sweep_free(&a);
    hd_sweep_free(&c);
    hd_sweep_free(&d);
    assert_int_equal(hd_axis_grid_set(&g, HD_AXIS_WEIGHTS, "2,,4", &err), HD_USAGE);
    assert_string_equal(err.message, "--weights: an empty value; a value looks like 8");
    hd_axis_grid_free(&g);
    hd_tool_remove(folder);
}

/* ---- estimates ---- */

static void block_rams_by_hand(void **state) {
    (void)state;
    const hd_board *b;
    hd_geometry g;
    unsigned spram;
    /* ULX3S without SDRAM, 4x8x8x2: weights 8*8*2 = 4 words of 32 x 1024: 2 each (1024 x 18), index 16 x 1024: 1; activations 2 words of 32 x 1024, two banks of half
     * the depth with FETCH 2, here FETCH 1: 2 each; window 4 rows of 64 x 512: 2 each; bias and scale 256 deep: 1 each; descriptors 32 x 512: 1; counters 32 x 128: 1; tables
     * 4 rows of 32 x 128: 1 each. */
    assert_int_equal(hd_board_find(&b, "ulx3s", NULL), HD_OK);
    assert_int_equal(hd_board_geometry(&g, b, NULL), HD_OK);
    g.rows = 4, g.cols = 8, g.lanes = 8, g.planes = 2, g.hop = 8, g.fetch = 1;
    g.extern_log2 = g.extern_mhz = 0;
    g.act_words = g.stream_words = 1024;
    g.window_words = g.param_words = 256;
    g.descriptors = 16;
    g.tables = 1;
    assert_int_equal(hd_ram_blocks(&spram, &g, b), 8 + 1 + 4 + 8 + 1 + 1 + 1 + 1 + 4);
    assert_int_equal(spram, 0);
    /* HX8K's design as in boards.def, 2x9x32x2 in four parts of 8 lanes, was placed with 30 (docs/hardware.md). */
    assert_int_equal(hd_board_find(&b, "hx8k", NULL), HD_OK);
    assert_int_equal(hd_board_geometry(&g, b, NULL), HD_OK);
    unsigned n = hd_ram_blocks(&spram, &g, b);
    if (n != 30) fail_msg("HX8K: %u block RAMs, its placed design has 30", n);
    hd_capacity c = hd_board_capacity(b);
    assert_int_equal(c.cells, 7680);
    assert_int_equal(c.ram, 32);
}

static void link_by_hand(void **state) {
    (void)state;
    const hd_board *b;
    assert_int_equal(hd_board_find(&b, "ulx3s", NULL), HD_OK);
    hd_program p = {0};
    hd_geometry_parse(&p.geometry, "4x8x8x2", NULL);
    p.input = (hd_port){.h = 28, .w = 28, .c = 1, .stride = 1};
    p.output = (hd_port){.h = 1, .w = 1, .c = 10, .stride = 2};
    /* 784 words of 8 bytes are 1,568 host words in two frames, 10 outputs two words of 8 bytes: 4. WRITE 2 * 17 + 6272, its last reply 13; RUN 13 + 13; READ 13 + 17 + 16. */
    double bytes = 2 * 17 + 6272 + 13 + 26 + 13 + 17 + 16, seconds = hd_link_seconds(&p, b, 75e6);
    double rate = hd_board_bit_rate(b, 75e6, NULL);
    if (fabs(seconds - bytes * 10 / rate) > 1e-9) fail_msg("%.9f s, by hand %.9f", seconds, bytes * 10 / rate);
}

static void energy_by_hand(void **state) {
    (void)state;
    const hd_board *b;
    assert_int_equal(hd_board_find(&b, "ulx3s", NULL), HD_OK);
    hd_energy e = hd_energy_estimate(b, 10000, 1000, 400, 1e-3);
    /* 0.233 W for a millisecond, and 10,000 flip-flops at 0.24 pJ: a quarter of them in 400 cycles, 6% in 600. */
    assert_true(fabs(e.joule - (0.233e-3 + 10000 * 0.24e-12 * (400 * 0.25 + 600 * 0.06))) < 1e-12);
    assert_true(e.low < e.joule && e.joule < e.high);
}

static void locks_exclude_and_end_with_their_holder(void **state) {
    (void)state;
    char folder[] = "/tmp/heddle-lock-XXXXXX", path[100];
    int lock = -1, ends[2];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a", folder);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (!child) {
        int own;
        char byte = 1;
        if (hd_lock_take(&own, path, NULL) || write(ends[1], &byte, 1) != 1) _exit(1);
        pause(); /* until it is killed, lock in hand */
        _exit(0);
    }
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 1);
    pid_t waiter = fork();
    if (!waiter) {
        int own;
        _exit(hd_lock_take(&own, path, NULL) ? 1 : 0);
    }
    usleep(200000);
    int status;
    assert_int_equal(waitpid(waiter, &status, WNOHANG), 0); /* still waits */
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    assert_int_equal(waitpid(waiter, &status, 0), waiter);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(hd_lock_take(&lock, path, NULL), HD_OK);
    hd_lock_give(lock, path);
    snprintf(path, sizeof path, "%s/a.lock", folder);
    assert_int_not_equal(access(path, F_OK), 0);
    close(ends[0]);
    close(ends[1]);
    hd_tool_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axes_take_what_they_say),
        cmocka_unit_test(what_does_not_count_is_taken_out),
        cmocka_unit_test(rules_that_only_show_together),
        cmocka_unit_test(blocks_follow_the_array),
        cmocka_unit_test(commands_survive_a_shell),
        cmocka_unit_test(sweeps_combine_and_come_back),
        cmocka_unit_test(block_rams_by_hand),
        cmocka_unit_test(link_by_hand),
        cmocka_unit_test(energy_by_hand),
        cmocka_unit_test(locks_exclude_and_end_with_their_holder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
