/* A Verilated board: what hangs on a virtual bridge, or a USB device by itself. */
#include <dlfcn.h>
#include <stdlib.h>

#include "../sim/board/board_api.h"
#include "sim_build.h"
#include "vusb.h"

/* Clocks of a step: some milliseconds of work, so that the front end stays awake. */
enum { STEP_CLOCKS = 20000 };

typedef struct model {
    void *library;
    const hd_board_api *api;
    hd_board_rtl *rtl;
} model;

static void model_close(model *m) {
    if (m->rtl) m->api->close(m->rtl);
    if (m->library) dlclose(m->library);
}

static hd_status model_open(model *m, const hd_geometry *g, enum hd_board_link link, unsigned clock_hz, int quiet, hd_err *err) {
    char path[1024];
    hd_status st = hd_sim_build_board(path, sizeof path, g, link, quiet, err);
    if (st) return st;
    m->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    hd_board_api_get_fn get = NULL;
    if (m->library) *(void **)(&get) = dlsym(m->library, "hd_board_api_get");
    m->api = get ? get() : NULL;
    if (!m->api || m->api->version != HD_BOARD_API_VERSION || m->api->link != link)
        return hd_fail(err, HD_TOOL, "%s: the virtual board cannot be loaded: %s (remove the file to build it again)", path, m->library ? "it has another interface" : dlerror());
    m->rtl = m->api->open(clock_hz);
    return m->rtl ? HD_OK : hd_fail(err, HD_NOMEM, "virtual board: out of memory");
}

static hd_status model_check(const model *m, hd_err *err) {
    const char *fault = m->api->fault(m->rtl);
    return fault ? hd_fail(err, HD_DEVICE, "virtual board: a rule of its memory or of USB was broken: %s, at clock %llu", fault, (unsigned long long)m->api->clocks(m->rtl)) : HD_OK;
}

/* ---- at UART pins */

typedef struct sim_board {
    hd_vboard base;
    model model;
} sim_board;

static hd_status sim_step(hd_vboard *b, const uint8_t *bytes, size_t n, uint8_t *out, size_t size, size_t *got, hd_err *err) {
    model *m = &((sim_board *)b)->model;
    *got = m->api->step(m->rtl, bytes, n, out, size, STEP_CLOCKS);
    return model_check(m, err);
}

static int sim_busy(hd_vboard *b) { return ((sim_board *)b)->model.api->busy(((sim_board *)b)->model.rtl); }

static uint64_t sim_clocks(hd_vboard *b) { return ((sim_board *)b)->model.api->clocks(((sim_board *)b)->model.rtl); }

static void sim_close(hd_vboard *b) {
    model_close(&((sim_board *)b)->model);
    free(b);
}

hd_status hd_vboard_sim(hd_vboard **out, const hd_geometry *g, unsigned bit_rate, int quiet, hd_err *err) {
    *out = NULL;
    sim_board *s = calloc(1, sizeof *s);
    if (!s) return hd_fail(err, HD_NOMEM, "virtual board: out of memory");
    s->base = (hd_vboard){sim_step, sim_busy, sim_close, bit_rate, sim_clocks};
    hd_status st = model_open(&s->model, g, HD_BOARD_UART, 0, quiet, err);
    if (st) sim_close(&s->base);
    else *out = &s->base;
    return st;
}

/* ---- at USB lines */

typedef struct sim_bus {
    hd_vbus base;
    model model;
} sim_bus;

static model *model_of(hd_vbus *b) { return &((sim_bus *)b)->model; }

static int bus_reset(hd_vbus *b) { return model_of(b)->api->bus_reset(model_of(b)->rtl); }

static enum hd_vbus_pid bus_transact(hd_vbus *b, enum hd_vbus_pid token, unsigned address, unsigned endpoint, enum hd_vbus_pid data, uint8_t *bytes, size_t *n) {
    hd_board_transaction t = {.token = token, .address = address, .endpoint = endpoint, .data_pid = data, .bytes = bytes, .n = n ? *n : 0};
    unsigned pid = model_of(b)->api->transact(model_of(b)->rtl, &t);
    if (n) *n = t.n;
    return (enum hd_vbus_pid)pid;
}

static void bus_idle(hd_vbus *b, uint64_t clocks) { model_of(b)->api->idle(model_of(b)->rtl, clocks); }
static int bus_busy(hd_vbus *b) { return model_of(b)->api->busy(model_of(b)->rtl); }
static hd_status bus_check(hd_vbus *b, hd_err *err) { return model_check(model_of(b), err); }
static uint64_t bus_clocks(hd_vbus *b) { return model_of(b)->api->usb_clocks(model_of(b)->rtl); }

static void bus_close(hd_vbus *b) {
    model_close(model_of(b));
    free(b);
}

hd_status hd_vbus_sim(hd_vbus **out, const hd_geometry *g, int ulpi, unsigned clock_hz, int quiet, hd_err *err) {
    *out = NULL;
    sim_bus *s = calloc(1, sizeof *s);
    if (!s) return hd_fail(err, HD_NOMEM, "virtual board: out of memory");
    s->base = (hd_vbus){.reset = bus_reset, .transact = bus_transact, .idle = bus_idle, .busy = bus_busy, .check = bus_check, .clocks = bus_clocks, .hz = ulpi ? 60e6 : 48e6,
                        .close = bus_close};
    hd_status st = model_open(&s->model, g, ulpi ? HD_BOARD_ULPI : HD_BOARD_FULL_SPEED, clock_hz, quiet, err);
    if (st) bus_close(&s->base);
    else *out = &s->base;
    return st;
}
