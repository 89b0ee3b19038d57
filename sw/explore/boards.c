#include "boards.h"

#include <stdio.h>
#include <string.h>

static const hd_board boards[] = {
#define HD_BOARD(name, title, fpga, geometry, memory, ram, spram, clock, rate, assumed, basis) \
    {#name, title, fpga, geometry, memory, ram, spram, clock, rate, assumed, basis},
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

hd_status hd_board_geometry(hd_geometry *g, const hd_board *board, hd_err *err) {
    hd_status s = hd_geometry_parse(g, board->geometry, err);
    if (!s) s = hd_geometry_memory(g, board->memory, err);
    if (!s) s = hd_geometry_check(g, err);
    return s ? hd_fail_in(err, board->name) : HD_OK;
}
