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

const hd_board *hd_boards(size_t *count) {
    *count = sizeof boards / sizeof *boards;
    return boards;
}

hd_status hd_board_find(const hd_board **out, const char *name, hd_err *err) {
    char list[256] = "";
    for (size_t i = 0; i < sizeof boards / sizeof *boards; i++) {
        if (!strcmp(boards[i].name, name)) {
            *out = &boards[i];
            return HD_OK;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", boards[i].name);
    }
    return hd_fail(err, HD_RANGE, "board '%.60s': unknown; there are %s", name, list);
}

double hd_board_bit_rate(const hd_board *board, double clock_hz, unsigned *clocks) {
    unsigned n = 0;
    for (unsigned i = 0; i < HD_BIT_RATES && !n; i++) {
        unsigned whole = (unsigned)(clock_hz / hd_bit_rates[i] + 0.5);
        if (hd_bit_rates[i] <= board->bit_rate && whole >= 3 && fabs(clock_hz / whole / hd_bit_rates[i] - 1) < 0.015) n = whole;
    }
    if (!n) n = (unsigned)ceil(clock_hz / board->bit_rate - 0.01);
    if (n < 3) n = 3;
    if (clocks) *clocks = n;
    return clock_hz / n;
}

hd_status hd_board_geometry(hd_geometry *g, const hd_board *board, hd_err *err) {
    hd_status s = hd_geometry_parse(g, board->geometry, err);
    if (!s) s = hd_geometry_memory(g, board->memory, err);
    if (!s) s = hd_geometry_check(g, err);
    return s ? hd_fail_in(err, board->name) : HD_OK;
}
