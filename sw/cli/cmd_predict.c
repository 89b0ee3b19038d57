/* heddle predict: the exact cycles of a program, without running it. */
#include <stdio.h>

#include "../explore/measure.h"
#include "parts.h"

static const cli_option options[] = {
    {"--board", "NAME", "take this board's clock; the program must be for its array (the program's own board)"},
    {"--clock", "HZ", "clock for times (the board's; without a board 48 MHz, assumed)"},
    {NULL, NULL, NULL},
};

static void print_text(const hd_cost *c, const hd_program *p, const cli_clock *clock) {
    printf("%-20s %9s %6s %9s %9s %9s %9s  %-8s %s\n", "layer", "cycles", "util", "steps", "window", "drain", "stream", "stall", "why");
    for (uint32_t i = 0; i < c->n_layers; i++) {
        const hd_layer_cost *l = &c->layer[i];
        printf("%-20s %9llu %5.1f%% %9llu %9llu %9llu %9llu  %-8s %s\n", l->info->name, (unsigned long long)l->cycles, 100 * l->utilisation,
               (unsigned long long)l->perf[HD_PERF_STEPS], (unsigned long long)l->perf[HD_PERF_WAIT_WINDOW], (unsigned long long)l->perf[HD_PERF_WAIT_DRAIN],
               (unsigned long long)l->perf[HD_PERF_WAIT_STREAM], hd_stall_name(l->stall), l->reason);
    }
    printf("%s, %ux%ux%ux%u: %llu cycles, predicted; utilisation %.1f%%; %.3f ms, %.1f images/s at %.3f MHz (%s clock)\n", p->model, p->geometry.rows, p->geometry.cols,
           p->geometry.lanes, p->geometry.planes, (unsigned long long)c->cycles, 100 * c->utilisation, 1e3 * (double)c->cycles / clock->hz, clock->hz / (double)c->cycles,
           clock->hz / 1e6, clock->basis);
}

static hd_status print_json(const hd_cost *c, const hd_program *p, const cli_clock *clock, hd_err *err) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "model", p->model);
    cJSON_AddStringToObject(o, "board", p->board);
    cJSON_AddNumberToObject(o, "clock_hz", clock->hz);
    cJSON_AddStringToObject(o, "clock_basis", clock->basis);
    cJSON_AddNumberToObject(o, "ms", 1e3 * (double)c->cycles / clock->hz);
    cJSON_AddNumberToObject(o, "images_per_second", clock->hz / (double)c->cycles);
    hd_status s = hd_cost_json(o, c, 1, err);
    if (!s) return cli_json(o, err);
    cJSON_Delete(o);
    return s;
}

static hd_status run(const cli_args *a, hd_err *err) {
    cli_cost c;
    cli_clock clock;
    hd_status s = cli_cost_open(&c, a->operand, err);
    if (!s) s = cli_clock_choose(&clock, a, &c.program, cli_text(a, "--board"), err);
    if (!s) s = cli_cost_measure(&c, NULL, NULL, err);
    if (!s && a->json) s = print_json(c.cost, &c.program, &clock, err);
    else if (!s) print_text(c.cost, &c.program, &clock);
    cli_cost_close(&c);
    return s;
}

const cli_command cli_predict = {
    .name = "predict",
    .summary = "exact cycles of each layer, without running it",
    .operand = "N.hdp",
    .about = "Computes the cycles of a program from its descriptors and addresses alone, to the last one, in microseconds. The tests hold this "
             "model equal to the Verilog. Of a network in parts it prints the layers of all parts on the array; the host's time is not in it.",
    .examples = "heddle predict net.hdp --clock 48e6 --json\n"
                "heddle predict net.hdp --board ulx3s",
    .surroundings = CLI_HDP,
    .see = "profile, explore, docs/simulation.md, docs/hardware.md",
    .options = options,
    .run = run,
};
