#include "boards.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const hd_board boards[] = {
#define HD_BOARD(name, title, fpga, geometry, memory, ram, spram, clock, rate, seed, assumed, basis) \
    {#name, title, fpga, geometry, memory, ram, spram, clock, rate, seed, assumed, basis},
#include "../../boards/boards.def"
#undef HD_BOARD
};

static const hd_fpga fpgas[] = {
#define HD_FPGA(name, family, synth, yosys, place, package, cells, dsp, static_w, toggle_pj, low, high) \
    {name, HD_FPGA_##family, synth, yosys, place, package, cells, dsp, static_w, toggle_pj, low, high},
#include "../../boards/fpgas.def"
#undef HD_FPGA
};

const hd_fpga *hd_fpgas(size_t *count) {
    *count = sizeof fpgas / sizeof *fpgas;
    return fpgas;
}

const hd_fpga *hd_board_fpga(const hd_board *board) {
    for (size_t i = 0; i < sizeof fpgas / sizeof *fpgas; i++)
        if (!strcmp(fpgas[i].name, board->fpga)) return &fpgas[i];
    return NULL;
}

int hd_board_is(const hd_board *board, hd_fpga_family family) {
    const hd_fpga *f = hd_board_fpga(board);
    return f && f->family == family;
}

const hd_board *hd_boards(size_t *count) {
    *count = sizeof boards / sizeof *boards;
    return boards;
}

void hd_board_names(char *out, size_t n) {
    size_t used = 0;
    if (n) *out = 0;
    for (size_t i = 0; i < sizeof boards / sizeof *boards && used < n; i++) used += (size_t)snprintf(out + used, n - used, "%s%s", i ? ", " : "", boards[i].name);
}

hd_status hd_board_find(const hd_board **out, const char *name, hd_err *err) {
    for (size_t i = 0; i < sizeof boards / sizeof *boards; i++) {
        if (strcmp(boards[i].name, name)) continue;
        *out = &boards[i];
        return HD_OK;
    }
    char list[256];
    hd_board_names(list, sizeof list);
    return hd_fail(err, HD_RANGE, "board '%.60s': unknown; there are %s", name, list);
}

void hd_uart_tolerance(unsigned clocks_per_64_bits, double *shortest, double *longest) {
    const unsigned n = clocks_per_64_bits, samples = n < 190 ? 2 : 1, half = n % 64 ? 32 : 0;
    const double bit = n / 64.0;
    *shortest = 0;
    *longest = 2;
    for (unsigned i = 0; i < 10; i++) {
        /* Received: sample s lies s to s + 1 samples behind the start bit's edge, and must be in bit i. Sampled twice a clock, a start bit may not begin in the clock of the stop
         * bit's sample: only a later one is looked at. */
        unsigned s = (n / 2 + i * n) * samples / 64, end = s + (i == 9 ? samples : 1);
        *shortest = fmax(*shortest, end / ((i + 1) * bit * samples));
        if (i) *longest = fmin(*longest, s / (i * bit * samples));
        /* Sent: edges come at whole clocks; the bridge samples in the middle of its bit, or a tenth of it later. */
        if (i) *shortest = fmax(*shortest, (i * n + half) / 64 / ((i + 0.5) * bit));
        *longest = fmin(*longest, ((i + 1) * n + half) / 64 / ((i + 0.6) * bit));
    }
}

double hd_board_bit_rate(const hd_board *board, double clock_hz, unsigned *clocks_per_64_bits) {
    unsigned n = 256; /* for clocks too slow for any of them */
    for (unsigned i = 0; i < HD_BIT_RATES; i++) {
        const double wanted = 64 * clock_hz / hd_bit_rates[i];
        double shortest, longest;
        if (hd_bit_rates[i] > board->bit_rate || wanted < 128) continue;
        hd_uart_tolerance((unsigned)(wanted + 0.5), &shortest, &longest);
        const double off = wanted / (unsigned)(wanted + 0.5);
        if (0.98 * off < shortest || 1.02 * off > longest) continue;
        n = (unsigned)(wanted + 0.5);
        break;
    }
    if (clocks_per_64_bits) *clocks_per_64_bits = n;
    return 64 * clock_hz / n;
}

hd_status hd_board_geometry(hd_geometry *g, const hd_board *board, hd_err *err) {
    hd_status s = hd_geometry_parse(g, board->geometry, err);
    if (!s) s = hd_geometry_memory(g, board->memory, err);
    if (!s) s = hd_geometry_check(g, err);
    return s ? hd_fail_in(err, board->name) : HD_OK;
}
