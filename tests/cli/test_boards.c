/* Each board's memories must fit the block RAMs of its FPGA, counted block by block: a row that does not fit promises a program
 * that no bitstream could run. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "../../sw/explore/boards.h"
#include "../../sw/explore/synth.h"

/* Block RAMs of `width` x `depth` bits, both rounded up: iCE40 256 x 16 (its widest), ECP5 512 x 36. */
static unsigned blocks(unsigned width, unsigned depth, int ice40) {
    unsigned w = ice40 ? 16 : 36, d = ice40 ? 256 : 512;
    return ((width + w - 1) / w) * ((depth + d - 1) / d);
}

static unsigned count(const hd_board *b, const hd_geometry *g) {
    int ice40 = !strncmp(b->fpga, "iCE40", 5);
    /* A pumped array reads parts of words, from memories as many times as deep. */
    unsigned lanes = g->lanes / g->pump, weight_bits = g->cols * lanes * g->planes, n = 0;
    int narrow = b->spram_kbit && g->slot > 1;
    if (b->spram_kbit) {
        /* Four blocks of 16384 x 16: one word of 64 bits a cycle; with slots of several cycles one holds the index entries and one the activations. */
        assert_true(weight_bits <= (narrow ? 32 : 64));
        assert_true(g->stream_words * g->pump <= 16384);
        assert_true(!narrow || g->act_words * g->lanes <= 32768);
    } else {
        n += blocks(weight_bits, g->stream_words * g->pump, ice40);
    }
    if (!narrow) n += blocks(16, g->stream_words, ice40) + blocks(lanes * 8, g->act_words * g->pump, ice40);
    n += blocks(g->rows * lanes * 8, 2 * g->window_words * g->pump, ice40);
    n += blocks(54, g->param_words, ice40); /* bias 32, mult 16, shift 6 */
    n += blocks(32, g->descriptors * HD_DESC_STRIDE, ice40);
    if (g->perf) n += blocks(32, g->descriptors * HD_PERF_WORDS, ice40);
    if (g->residual && g->post) n += blocks(16, 2 * g->rows * hd_geometry_residual_words(g) * g->lanes / 2, ice40);
    n += blocks(8, g->tables * 256, ice40);
    return n;
}

static void boards_fit_their_block_ram(void **state) {
    (void)state;
    size_t n;
    const hd_board *b = hd_boards(&n);
    assert_true(n >= 3);
    for (size_t i = 0; i < n; i++) {
        hd_geometry g;
        hd_err err = {0};
        if (hd_board_geometry(&g, &b[i], &err)) fail_msg("%s", err.message);
        unsigned have = strncmp(b[i].fpga, "iCE40", 5) ? b[i].ram_kbit / 18 : b[i].ram_kbit / 4, need = count(&b[i], &g);
        if (need > have) fail_msg("%s: needs %u block RAMs, has %u", b[i].name, need, have);
    }
}

static void clocks_say_where_they_come_from(void **state) {
    (void)state;
    size_t n;
    const hd_board *b = hd_boards(&n);
    for (size_t i = 0; i < n; i++) {
        assert_true(b[i].clock_hz >= 1000000 && b[i].clock_hz <= 500000000);
        assert_true(strlen(b[i].clock_basis) > 10);
        assert_true(b[i].seed >= 1);
        if (b[i].clock_assumed) assert_non_null(strstr(b[i].clock_basis, "assumed"));
    }
}

static void unknown_board_lists_the_known(void **state) {
    (void)state;
    const hd_board *b;
    hd_err err = {0};
    assert_int_equal(hd_board_find(&b, "nexys", &err), HD_RANGE);
    assert_string_equal(err.message, "board 'nexys': unknown; there are icebreaker, hx8k, ulx3s");
    assert_int_equal(hd_board_find(&b, "ulx3s", &err), HD_OK);
    assert_string_equal(b->fpga, "LFE5U-85F");
}

/* Dividers within the data sheets' ranges whose product is the frequency that is told, and it is near the one asked for. */
static void pll_dividers_give_the_clock_they_tell(void **state) {
    (void)state;
    for (unsigned mhz = 10; mhz <= 400; mhz++) {
        unsigned in = 0, feedback = 0, out = 0, hz = mhz * 1000000;
        double clock = hd_synth_pll_ecp5(hz, &in, &feedback, &out), oscillator = 25e6 * feedback / in * out;
        if (!in || 25e6 / in < 3.125e6 || oscillator < 400e6 || oscillator > 800e6 || !out || out > 128) fail_msg("ECP5, %u MHz: dividers %u, %u, %u", mhz, in, feedback, out);
        if (clock < 25e6 * feedback / in - 1 || clock > 25e6 * feedback / in + 1) fail_msg("ECP5, %u MHz: tells %.0f Hz, gives %.0f", mhz, clock, 25e6 * feedback / in);
        double far = hz * 0.02 > 1.6e6 ? hz * 0.02 : 1.6e6; /* eighths of 25 MHz are always there */
        if (clock < hz - far || clock > hz + far) fail_msg("ECP5, %u MHz: %.0f Hz", mhz, clock);
        if (mhz % 25 == 0) assert_true(in == 1 && feedback == mhz / 25);
        if (mhz < 16 || mhz > 275) continue;
        clock = hd_synth_pll(hz, &feedback, &out);
        double given = 12e6 * (feedback + 1) / (1u << out);
        if (feedback > 127 || out < 1 || out > 6 || clock < given - 1 || clock > given + 1 || clock < hz * 0.98 || clock > hz * 1.02)
            fail_msg("iCE40, %u MHz: dividers %u, %u tell %.0f Hz", mhz, feedback, out, clock);
    }
    unsigned a, b, c;
    assert_true(hd_synth_pll_ecp5(9000000, &a, &b, &c) <= 0 && hd_synth_pll_ecp5(401000000, &a, &b, &c) <= 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boards_fit_their_block_ram),
        cmocka_unit_test(clocks_say_where_they_come_from),
        cmocka_unit_test(pll_dividers_give_the_clock_they_tell),
        cmocka_unit_test(unknown_board_lists_the_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
