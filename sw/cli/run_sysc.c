/* The device of heddle run: its options, and of sysc the times that come out. */
#include "run_sysc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"--link", "--sysc-model", "--host-us", "--quantum", "--clock"};

static hd_status read_sysc(hd_sysc_options *o, const cli_args *a, const hd_program *p, const char *device, int64_t bit_rate, hd_err *err) {
    int sysc = !strcmp(device, "sysc");
    const char *link = cli_text(a, "--link"), *model = cli_text(a, "--sysc-model");
    cli_clock clock;
    double host_us = 0;
    int64_t quantum = 0;
    *o = (hd_sysc_options){.bit_rate = (double)bit_rate};
    for (size_t i = 0; i < sizeof names / sizeof *names && !sysc; i++)
        if (cli_text(a, names[i])) return hd_fail(err, HD_USAGE, "run: %s: only device sysc has one; found %s", names[i], device);
    if (!sysc) return HD_OK;
    hd_status s = link ? hd_sysc_link_parse(&o->link, link, err) : HD_OK;
    if (!s && model && strcmp(model, "rtl") && strcmp(model, "exact")) s = hd_fail(err, HD_RANGE, "run: --sysc-model: found '%.60s'; allowed are rtl and exact", model);
    if (!s) s = cli_clock_choose(&clock, a, p, NULL, err);
    if (!s) s = cli_float(&host_us, a, "--host-us", 0, 0, 1e6, err);
    if (!s) s = cli_int(&quantum, a, "--quantum", 1000, 10, 1 << 30, err);
    if (s) return s;
    o->exact = model && !strcmp(model, "exact");
    o->clock_hz = clock.hz;
    o->host_seconds = host_us * 1e-6;
    o->quantum = (uint64_t)quantum;
    return HD_OK;
}

/* N[,BYTES[,ALL]] */
static hd_status read_queue(hd_device_options *o, const char *text, hd_err *err) {
    unsigned *const field[] = {&o->usb_depth, &o->usb_transfer_bytes, &o->usb_in_flight};
    const char *at = text;
    for (int i = 0; i < 3; i++) {
        char *end;
        unsigned long v = *at >= '0' && *at <= '9' ? strtoul(at, &end, 10) : 0;
        if (!v || v > 1u << 30) break;
        *field[i] = (unsigned)v;
        if (!*end) return HD_OK;
        if (*end != ',') break;
        at = end + 1;
    }
    return hd_fail(err, HD_USAGE, "run: --queue: found '%.60s'; allowed are up to three numbers of at least 1 by comma, as in 16,65536", text);
}

hd_status cli_run_device(const hd_driver **driver, hd_device_options *o, hd_sysc_options *sysc, const cli_args *a, const hd_program *p, hd_err *err) {
    const char *device = cli_text(a, "--device"), *queue = cli_text(a, "--queue");
    int64_t rate;
    *o = (hd_device_options){.trace = cli_text(a, "--trace"), .sysc = sysc};
    hd_status s = cli_int(&rate, a, "--bit-rate", 0, 0, 12000000, err);
    if (!s) s = cli_driver_find(driver, o, device ? device : "ref", err);
    if (!s && rate && *driver != &hd_driver_usb && *driver != &hd_driver_sysc)
        s = hd_fail(err, HD_USAGE, "run: --bit-rate: only devices usb and sysc have one; found %s", (*driver)->name);
    if (!s) s = read_sysc(sysc, a, p, (*driver)->name, rate, err);
    if (!s && o->trace && strcmp((*driver)->name, "sim")) s = hd_fail(err, HD_USAGE, "run: --trace: only device sim writes waveforms; found %s", (*driver)->name);
    if (!s && queue && strcmp((*driver)->name, "usb")) s = hd_fail(err, HD_USAGE, "run: --queue: only device usb has one; found %s", (*driver)->name);
    if (!s && queue) s = read_queue(o, queue, err);
    if (!s) o->bit_rate = (unsigned)rate;
    if (!s && o->trace) s = cli_can_write(o->trace, err);
    return s;
}

void cli_sysc_print(const hd_sysc_options *o, const hd_sysc_times *t, double load, const hd_program *p) {
    double n = (double)t->runs, total = t->input + t->run + t->output;
    if (!t->runs) return;
    printf("%s, %s, board at %.3f MHz [simulated]: program loaded in %.3f ms; an inference %.3f ms (%.3f input, %.3f run, %.3f output); %.1f inferences/s, one after the other\n", p->model,
           hd_sysc_link_name(o->link), o->clock_hz / 1e6, 1e3 * load, 1e3 * total / n, 1e3 * t->input / n, 1e3 * t->run / n, 1e3 * t->output / n, n / total);
}

void cli_sysc_json(cJSON *o, const hd_sysc_options *options, const hd_sysc_times *t, double load) {
    double n = t->runs ? (double)t->runs : 1, total = t->input + t->run + t->output;
    cJSON *s = cJSON_AddObjectToObject(o, "sysc");
    cJSON_AddStringToObject(s, "link", hd_sysc_link_name(options->link));
    cJSON_AddStringToObject(s, "accelerator", options->exact ? "exact model" : "RTL");
    cJSON_AddNumberToObject(s, "clock_hz", options->clock_hz);
    cJSON_AddNumberToObject(s, "load_ms", 1e3 * load);
    cJSON_AddNumberToObject(s, "latency_ms", 1e3 * total / n);
    cJSON_AddNumberToObject(s, "input_ms", 1e3 * t->input / n);
    cJSON_AddNumberToObject(s, "run_ms", 1e3 * t->run / n);
    cJSON_AddNumberToObject(s, "output_ms", 1e3 * t->output / n);
    cJSON_AddNumberToObject(s, "inferences_per_second", total > 0 ? n / total : 0);
}
