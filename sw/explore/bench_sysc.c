/* Suite explore, rows of the SystemC platform: how fast it simulates beside the plain Verilated RTL, what end-to-end times it gives the default network, and how far its links are
 * from those of the virtual board, which are RTL and line by line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../drivers/sysc.h"
#include "../core/progress.h"
#include "../runtime/runtime.h"
#include "bench_explore.h"

enum { ROUNDS = 8, RUNS = 12, BOARD_HZ = 48000000, PAYLOAD = 65536, LINKS = 3 };
static const char geometry_text[] = "4x8x8x2";
static const char *const wire_name[LINKS] = {"uart", "full_speed", "high_speed"};
static const enum hd_sysc_link wire_link[LINKS] = {HD_SYSC_UART, HD_SYSC_FULL_SPEED, HD_SYSC_HIGH_SPEED};

typedef struct rig {
    hd_program *p;
    int8_t *input, *out[2];
    size_t out_bytes;
} rig;

static hd_status open_rig(rig *r, hd_err *err) {
    hd_status s = hd_bench_fashion_program(&r->p, 4, geometry_text, err);
    if (!s) {
        r->out_bytes = (size_t)r->p->output.h * r->p->output.w * r->p->output.c;
        r->input = calloc((size_t)r->p->input.h * r->p->input.w, r->p->input.c);
        for (int i = 0; i < 2; i++) r->out[i] = calloc(r->out_bytes, 1);
        if (!r->input || !r->out[0] || !r->out[1]) s = hd_fail(err, HD_NOMEM, "no memory for an image");
    }
    return s;
}

/* The same inferences on both devices in turn: what disturbs one disturbs the other. */
static hd_status compare_speed(hd_figures *f, const rig *r, hd_err *err) {
    hd_sysc_options options = {.clock_hz = BOARD_HZ};
    hd_device_options device[2] = {{0}, {.sysc = &options}};
    const hd_driver *const driver[2] = {&hd_driver_sim, &hd_driver_sysc};
    hd_session *session[2] = {NULL, NULL};
    double seconds[2] = {0, 0};
    uint64_t cycles[2] = {0, 0};
    hd_status s = HD_OK;
    for (int i = 0; i < 2 && !s; i++) s = hd_session_open(&session[i], r->p, driver[i], &device[i], err);
    for (int n = 0; n < ROUNDS && !s; n++)
        for (int i = 0; i < 2 && !s; i++) {
            double start = hd_cpu_seconds();
            for (int k = 0; k < RUNS && !s; k++) s = hd_session_run(session[i], r->input, r->out[i], err);
            seconds[i] += hd_cpu_seconds() - start;
        }
    for (int i = 0; i < 2 && !s; i++) s = hd_session_cycles(session[i], &cycles[i], err);
    if (!s && (cycles[0] != cycles[1] || memcmp(r->out[0], r->out[1], r->out_bytes))) s = hd_fail(err, HD_MISMATCH, "sysc and sim give different cycles or outputs");
    if (!s) {
        hd_sysc_times t;
        hd_sysc_times_read(&t, hd_session_device(session[1]));
        double passed = t.run / (double)t.runs * BOARD_HZ - (double)cycles[0];
        hd_figure_add(f, passed < 0 ? -passed : passed, "cycles", "simulated", "explore.sysc_cycle_difference");
        f->figure[f->n - 1].reference = 0;
        f->figure[f->n - 1].compared = "cycles of the same run on the plain RTL; without a link, rounding of time included";
        hd_figure *x = hd_figure_add(f, seconds[0] / seconds[1], "share", "measured", "explore.sysc_speed_of_sim");
        x->reference = 0.7;
        x->compared = "the least wanted of the plain Verilated RTL's speed, processor time of the same inferences";
    }
    for (int i = 0; i < 2; i++) hd_session_close(session[i]);
    return s;
}

static hd_status end_to_end(hd_figures *f, const rig *r, int link, hd_err *err) {
    hd_sysc_options options = {.clock_hz = BOARD_HZ, .link = wire_link[link], .exact = 1};
    hd_device_options device = {.sysc = &options};
    hd_session *session = NULL;
    hd_sysc_times t;
    hd_status s = hd_session_open(&session, r->p, &hd_driver_sysc, &device, err);
    if (!s) s = hd_session_run(session, r->input, r->out[1], err);
    if (!s) {
        hd_sysc_times_read(&t, hd_session_device(session));
        hd_figure_add(f, 1e3 * (t.input + t.run + t.output), "ms", "simulated", "explore.latency.%s", wire_name[link]);
        hd_figure *run = hd_figure_add(f, t.run / (t.input + t.run + t.output), "share", "simulated", "explore.latency.%s.run", wire_name[link]);
        run->compared = "share of the latency in which the accelerator works";
    }
    hd_session_close(session);
    return s;
}

/* The transfers of `heddle bench usb`, on the platform. */
static hd_status compare_wire(hd_figures *f, int link, hd_err *err) {
    static uint32_t words[PAYLOAD / 4];
    hd_sysc_options options = {.clock_hz = BOARD_HZ, .link = wire_link[link], .bit_rate = BOARD_HZ / 4, .exact = 1};
    hd_device_options o = {.sysc = &options};
    hd_geometry g;
    hd_device *d = NULL;
    hd_sysc_times t = {0};
    double board[2] = {0, 0};
    hd_status s = hd_bench_wire(board, link, err);
    if (!s) s = hd_geometry_parse(&g, geometry_text, err);
    if (!s) s = hd_driver_sysc.open(&d, &g, &o, err);
    if (!s) s = hd_driver_sysc.write(d, HD_SPACE_ACT, 0, words, PAYLOAD / 4, err);
    if (!s) s = hd_driver_sysc.read(d, HD_SPACE_ACT, 0, words, PAYLOAD / 4, err);
    if (!s) {
        hd_sysc_times_read(&t, d);
        double model[2] = {PAYLOAD / t.input / 1e6, PAYLOAD / t.output / 1e6};
        static const char *const way[] = {"out", "in"};
        for (int i = 0; i < 2; i++) {
            hd_figure *x = hd_figure_add(f, model[i], "MB/s", "simulated", "explore.link.%s_%s", wire_name[link], way[i]);
            x->reference = board[i];
            x->compared = "the virtual board, link and USB device as RTL";
            hd_figure_add(f, 100 * (model[i] / board[i] - 1), "%", "simulated", "explore.link.%s_%s.difference", wire_name[link], way[i]);
        }
    }
    if (d) hd_driver_sysc.close(d);
    return s;
}

hd_status hd_bench_sysc(hd_figures *f, hd_err *err) {
    rig r = {0};
    char why[240];
    if (!hd_driver_sysc.available(why, sizeof why)) {
        snprintf(hd_figure_add(f, __builtin_nan(""), "share", "skipped", "explore.sysc_speed_of_sim")->note, sizeof f->figure->note, "%.239s", why);
        return HD_OK;
    }
    hd_status s = open_rig(&r, err);
    if (!s) s = compare_speed(f, &r, err);
    for (int link = 0; link < LINKS && !s; link++) s = end_to_end(f, &r, link, err);
    for (int link = 0; link < LINKS && !s; link++) s = compare_wire(f, link, err);
    free(r.input);
    free(r.out[0]);
    free(r.out[1]);
    if (r.p) hd_program_free(r.p);
    return s;
}
