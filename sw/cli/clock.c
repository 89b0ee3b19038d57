/* The clock that cycles are turned into time with. */
#include <string.h>

#include "../explore/boards.h"
#include "cli.h"

/* Cycles hold for one array only: everything that decides them must be the board's. */
static hd_status check_board(const char *path, const hd_program *p, const hd_board *board, hd_err *err) {
    hd_geometry b;
    const hd_geometry *g = &p->geometry;
    hd_status s = hd_board_geometry(&b, board, err);
    if (s) return s;
    if (b.rows != g->rows || b.cols != g->cols || b.lanes != g->lanes || b.planes != g->planes)
        return hd_fail(err, HD_MISMATCH, "%s: compiled for %ux%ux%ux%u; board %s is %ux%ux%ux%u: compile it with --board %s", path, g->rows, g->cols, g->lanes, g->planes,
                       board->name, b.rows, b.cols, b.lanes, b.planes, board->name);
    const struct {
        const char *name;
        uint32_t board, program;
    } rule[] = {{"hop", b.hop, g->hop}, {"fetch", b.fetch, g->fetch}, {"post", b.post, g->post}, {"pump", b.pump, g->pump}, {"slot", b.slot, g->slot},
                {"gather", b.gather, g->gather}, {"sums", b.sums, g->sums}, {"mhz", b.extern_mhz, g->extern_mhz}};
    for (size_t i = 0; i < sizeof rule / sizeof *rule; i++)
        if (rule[i].board != rule[i].program)
            return hd_fail(err, HD_MISMATCH, "%s: compiled for %s=%u; board %s has %s=%u: compile it with --board %s", path, rule[i].name, rule[i].program, board->name,
                           rule[i].name, rule[i].board, board->name);
    return HD_OK;
}

hd_status cli_clock_choose(cli_clock *out, const cli_args *a, const hd_program *p, const char *name, hd_err *err) {
    const hd_board *board;
    hd_err unknown = {0};
    hd_status s = name ? hd_board_find(&board, name, err) : HD_OK;
    if (!s && name) s = check_board(a->operand, p, board, err);
    if (s) return s;
    if (name || !hd_board_find(&board, *p->board ? p->board : "-", &unknown)) *out = (cli_clock){board->clock_hz, board->clock_assumed ? "assumed" : "measured"};
    else *out = (cli_clock){48e6, "assumed"};
    if (cli_text(a, "--clock")) out->basis = "given";
    return cli_float(&out->hz, a, "--clock", out->hz, 1, 1e12, err);
}
