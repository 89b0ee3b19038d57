/* heddle profile: where a program's cycles go, and why. */
#include <stdio.h>

#include "../explore/measure.h"
#include "parts.h"

static const cli_option options[] = {
    {"--device", "NAME", "sim (the Verilated RTL) or ref (instruction-level model) (sim)"},
    {"--perfetto", "out.json", "a trace for ui.perfetto.dev or chrome://tracing"},
    {"--clock", "HZ", "clock for times (the board's; without a board 48 MHz, assumed)"},
    {NULL, NULL, NULL},
};

static void print_text(const hd_cost *c, const hd_program *p, const hd_driver *driver, const cli_clock *clock) {
    printf("%-20s %11s %15s %9s %9s %6s  %-8s %s\n", "layer", "MACs", "blocks", "cycles", "predicted", "util", "stall", "why");
    for (uint32_t i = 0; i < c->n_layers; i++) {
        const hd_layer_cost *l = &c->layer[i];
        char blocks[32];
        snprintf(blocks, sizeof blocks, "%u of %u", l->info->blocks_present, l->info->blocks);
        printf("%-20s %11llu %15s %9llu %9llu %5.1f%%  %-8s %s\n", l->info->name, (unsigned long long)l->info->macs, blocks, (unsigned long long)l->cycles,
               (unsigned long long)l->predicted, 100 * l->utilisation, hd_stall_name(l->stall), l->reason);
    }
    printf("%s on %s, %ux%ux%ux%u: %llu cycles, predicted %llu%s; utilisation %.1f%%; %.1f images/s at %.3f MHz (%s clock)\n", p->model, driver->name, p->geometry.rows,
           p->geometry.cols, p->geometry.lanes, p->geometry.planes, (unsigned long long)c->cycles, (unsigned long long)c->predicted,
           c->exact ? "" : " (LAYERS DIFFER)", 100 * c->utilisation, clock->hz / (double)c->cycles, clock->hz / 1e6, clock->basis);
}

static hd_status print_json(const hd_cost *c, const hd_program *p, const hd_driver *driver, const cli_clock *clock, hd_err *err) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "model", p->model);
    cJSON_AddStringToObject(o, "device", driver->name);
    cJSON_AddStringToObject(o, "board", p->board);
    cJSON_AddNumberToObject(o, "clock_hz", clock->hz);
    cJSON_AddStringToObject(o, "clock_basis", clock->basis);
    cJSON_AddNumberToObject(o, "images_per_second", clock->hz / (double)c->cycles);
    hd_status s = hd_cost_json(o, c, 1, err);
    if (!s) return cli_json(o, err);
    cJSON_Delete(o);
    return s;
}

static hd_status profile(const cli_args *a, cli_cost *c, hd_err *err) {
    const char *name = cli_text(a, "--device"), *trace = cli_text(a, "--perfetto");
    hd_device_options o = {0};
    const hd_driver *driver = hd_driver_find(name ? name : "sim", &o.where);
    const hd_program *p = &c->program;
    cli_clock clock;
    if (!driver) return hd_fail(err, HD_RANGE, "device '%.60s': unknown; heddle devices lists them", name);
    hd_status s = cli_clock_choose(&clock, a, p, NULL, err);
    if (!s && trace) s = cli_can_write(trace, err);
    if (!s) s = cli_cost_measure(c, driver, &o, err);
    if (!s && trace) s = hd_cost_perfetto(c->cost, p, clock.hz, trace, err);
    if (!s && a->json) s = print_json(c->cost, p, driver, &clock, err);
    else if (!s) print_text(c->cost, p, driver, &clock);
    return s;
}

static hd_status run(const cli_args *a, hd_err *err) {
    cli_cost c;
    hd_status s = cli_cost_open(&c, a->operand, err);
    if (!s) s = profile(a, &c, err);
    cli_cost_close(&c);
    return s;
}

const cli_command cli_profile = {
    .name = "profile",
    .summary = "cycles, utilisation and stalls of each layer",
    .operand = "N.hdp",
    .about = "Runs one input of zeros (cycles do not depend on data) and prints where the cycles of each layer go, and what dominates: the "
             "array, waiting for windows, for the drain or for external memory, padding. Of a network in parts it does so for all parts on the array.",
    .examples = "heddle profile net.hdp --perfetto trace.json\n"
                "heddle profile net.hdp --device ref --json",
    .surroundings = CLI_CACHE | CLI_SOURCE | CLI_HDP,
    .see = "predict, run, docs/hardware.md",
    .options = options,
    .run = run,
};
