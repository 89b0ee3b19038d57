/* Each board's memories must fit the block RAMs of its FPGA, counted block by block: a row that does not fit promises a program
 * that no bitstream could run. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/explore/boards.h"
#include "../../sw/explore/point.h"
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

/* Estimates, areas and bitstreams all look there. */
static void boards_have_an_fpga(void **state) {
    (void)state;
    size_t n, rows;
    const hd_board *b = hd_boards(&n);
    const hd_fpga *known = hd_fpgas(&rows);
    for (size_t i = 0; i < n; i++) {
        const hd_fpga *f = hd_board_fpga(&b[i]);
        if (!f) fail_msg("%s: boards/fpgas.def has no %s", b[i].name, b[i].fpga);
        assert_string_equal(f->name, b[i].fpga);
    }
    for (size_t i = 0; i < rows; i++) {
        const hd_fpga *f = &known[i];
        assert_true(f->cells >= 1000 && f->static_w > 0 && f->toggle_pj > 0 && f->low < 1 && f->high > 1);
        assert_int_equal(strncmp(f->synth, f->family == HD_FPGA_ECP5 ? "synth_ecp5" : "synth_ice40", 10), 0);
        assert_true(f->place_device[0] == '-' && f->package[0]);
    }
    hd_board other = b[0];
    other.fpga = "XC7A35T";
    assert_null(hd_board_fpga(&other));
    assert_int_equal(hd_board_capacity(&other).cells, 0);
    hd_synth_report *report = calloc(1, sizeof *report);
    hd_geometry g;
    hd_err err = {0};
    assert_int_equal(hd_board_geometry(&g, &b[0], &err), HD_OK);
    assert_int_equal(hd_synth(report, &other, &g, &(hd_synth_options){.quiet = 1}, &err), HD_UNSUPPORTED);
    assert_non_null(strstr(err.message, "board 'icebreaker': heddle synth has no tools for its FPGA, XC7A35T; it has some for iCE40UP5K, iCE40HX8K, LFE5U-85F"));
    free(report);
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
    size_t n;
    const hd_board *all = hd_boards(&n);
    char want[300] = "board 'nexys': unknown; there are ";
    for (size_t i = 0; i < n; i++) strcat(strcat(want, i ? ", " : ""), all[i].name);
    assert_string_equal(err.message, want);
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

/* Whether the ten bits of a frame come through, the sender's bit lasting `bit` clocks and its edge lying `phase` clocks before the receiver's first low sample. */
static int received(unsigned n, double bit, double phase) {
    const double sample = n < 190 ? 0.5 : 1;
    for (int i = 0; i < 10; i++) {
        double at = phase + sample * floor((n / 2 + (unsigned)i * n) / 64.0 / sample);
        if (floor(at / bit) < i || floor(at / bit) > i) return 0;
        /* Twice a clock: the start bit that follows must not have its first low sample in the clock of this stop bit's. */
        if (i == 9 && sample < 1 && at + sample >= 10 * bit) return 0;
    }
    return 1;
}

/* The same for what the board sends: edges at whole clocks, a bridge with ten clocks a bit that sees the first one `late` of its clocks after it. */
static int sent(unsigned n, double bit, double late) {
    for (int i = 0; i < 10; i++) {
        double at = bit * (late / 10 + i + 0.5), edge = i * (n / 64.0), next = (i + 1) * (n / 64.0);
        if (at < floor(edge + 0.5) || at >= floor(next + 0.5)) return 0;
    }
    return 1;
}

static int bytes_pass(unsigned n, double bit) {
    const double sample = n < 190 ? 0.5 : 1;
    int good = 1;
    for (int k = 0; k < 64; k++) {
        double part = (k + (k == 63)) / 64.0 - (k == 63) * 1e-6; /* up to nearly 1 */
        good = good && received(n, bit, part * sample) && sent(n, bit, part);
    }
    return good;
}

/* The tolerances that choose a board's bit rate, against receiving and sending at all phases: right up to them, wrong beyond. */
static void uarts_receive_what_they_promise(void **state) {
    (void)state;
    for (unsigned n = 128; n < 1700; n += n < 260 ? 1 : 37) {
        double shortest, longest, bit = n / 64.0;
        hd_uart_tolerance(n, &shortest, &longest);
        if (shortest >= longest) fail_msg("%u: from %f to %f", n, shortest, longest);
        const double inside[] = {shortest + 1e-4, (shortest + longest) / 2, longest - 1e-4};
        for (int i = 0; i < 3; i++)
            if (!bytes_pass(n, bit * inside[i])) fail_msg("%u sixty-fourths of a clock a bit, %f to %f: fails at %f", n, shortest, longest, inside[i]);
        if (bytes_pass(n, bit * (shortest - 1e-4)) || bytes_pass(n, bit * (longest + 1e-4))) fail_msg("%u: passes outside of %f to %f", n, shortest, longest);
    }
}

static void boards_have_the_highest_bit_rate_of_their_bridge(void **state) {
    (void)state;
    static const struct { const char *name; double clock_hz, rate; unsigned n; } row[] = {
        {"hx8k", 44250000, 12e6, 236}, {"icebreaker", 29625000, 12e6, 158}, {"ulx3s", 75000000, 3e6, 1600}, {"hx8k", 16000000, 6e6, 171}, {"hx8k", 24000000, 8e6, 192},
        {"hx8k", 120000000, 12e6, 640},
    };
    size_t boards;
    const hd_board *all = hd_boards(&boards);
    for (size_t i = 0; i < boards; i++) {
        double rate = hd_board_bit_rate(&all[i], all[i].clock_hz, NULL);
        if (rate < 0.995 * all[i].bit_rate || rate > 1.005 * all[i].bit_rate) fail_msg("%s: %.0f bit/s; its bridge has %u", all[i].name, rate, all[i].bit_rate);
    }
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const hd_board *b;
        unsigned n;
        assert_int_equal(hd_board_find(&b, row[i].name, NULL), HD_OK);
        double rate = hd_board_bit_rate(b, row[i].clock_hz, &n);
        if (n != row[i].n || rate < 0.995 * row[i].rate || rate > 1.005 * row[i].rate) fail_msg("%s at %.0f Hz: %.0f bit/s, %u sixty-fourths", b->name, row[i].clock_hz, rate, n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boards_fit_their_block_ram),
        cmocka_unit_test(boards_have_an_fpga), cmocka_unit_test(clocks_say_where_they_come_from),
        cmocka_unit_test(pll_dividers_give_the_clock_they_tell),
        cmocka_unit_test(uarts_receive_what_they_promise),
        cmocka_unit_test(boards_have_the_highest_bit_rate_of_their_bridge),
        cmocka_unit_test(unknown_board_lists_the_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
