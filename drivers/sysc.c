/* Device sysc: the SystemC platform (sim/sysc, a module beside the program) around the Verilated RTL or around ref with its exact cycles. */
#include "sysc.h"

#include <dlfcn.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../sw/core/progress.h"
#include "sim.h"
#include "tools.h"

enum { QUANTUM = 1000, LEAST_QUANTUM = 10, EXTERNAL_CLOCKS = 12 };
static const char module[] = "heddle-sysc.so";

struct hd_device {
    const hd_driver *inner_driver;
    hd_device *inner;
    void *library;
    const hd_sysc_api *api;
    hd_sysc *platform;
    int exact;
    uint64_t left;   /* exact: cycles of the run still to pass */
    hd_sysc_times times;
    hd_err *err;     /* of the call under way: what the accelerator says goes there */
};

/* ---- the module */

/* Beside the program, in lib/heddle of an installed one, or where the build put it. */
static int find_module(char *path, size_t n) {
    char self[1024];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length > 0) {
        self[length] = 0;
        snprintf(path, n, "%s/%s", dirname(self), module);
        if (!access(path, R_OK)) return 1;
    }
    char installed[64];
    snprintf(installed, sizeof installed, "lib/heddle/%s", module);
    if (hd_tool_installed(path, n, installed)) return 1;
    snprintf(path, n, "%s/%s", HD_MODULE_DIR, module);
    return !access(path, R_OK);
}

static int sysc_available(char *why, size_t n) {
    char path[1100];
    if (!find_module(path, sizeof path)) {
        snprintf(why, n, "the platform was not built: install libsystemc-dev and build again (%s)", module);
        return 0;
    }
    if (n) why[0] = 0;
    return 1;
}

/* ---- the accelerator, as the platform calls it */

static int inner_write(void *self, unsigned space, uint32_t at, const uint32_t *words, size_t n) {
    hd_device *d = self;
    return d->inner_driver->write(d->inner, (enum hd_space)space, at, words, n, d->err);
}

static int inner_read(void *self, unsigned space, uint32_t at, uint32_t *words, size_t n) {
    hd_device *d = self;
    return d->inner_driver->read(d->inner, (enum hd_space)space, at, words, n, d->err);
}

/* ref computes the run at once; its cycles pass afterwards. */
static int inner_start(void *self) {
    hd_device *d = self;
    uint32_t cycles = 0;
    if (!d->exact) {
        hd_sim_start(d->inner);
        return HD_OK;
    }
    hd_status s = d->inner_driver->run(d->inner, 0, d->err);
    if (!s) s = d->inner_driver->read(d->inner, HD_SPACE_REG, HD_REG_CYCLES, &cycles, 1, d->err);
    d->left = cycles;
    return s;
}

static int inner_step(void *self, uint64_t cycles, uint64_t *clocked, int *busy) {
    hd_device *d = self;
    if (hd_interrupted) {
        *clocked = 0;
        return hd_fail(d->err, HD_INTERRUPTED, "sysc: interrupted");
    }
    if (!d->exact) return hd_sim_step(d->inner, cycles, clocked, busy, d->err);
    *clocked = d->left < cycles ? d->left : cycles;
    d->left -= *clocked;
    *busy = d->left != 0;
    return HD_OK;
}

/* ---- the device */

static void sysc_close(hd_device *d) {
    if (!d) return;
    if (d->platform) d->api->close(d->platform);
    if (d->inner) d->inner_driver->close(d->inner);
    /* The module stays: SystemC's library does not take being unloaded. */
    free(d);
}

static hd_status load_module(hd_device *d, hd_err *err) {
    char path[1100], why[256];
    hd_sysc_api_get_fn get = NULL;
    if (!sysc_available(why, sizeof why)) return hd_fail(err, HD_TOOL, "sysc: %s", why);
    find_module(path, sizeof path);
    d->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (d->library) *(void **)(&get) = dlsym(d->library, "hd_sysc_api_get");
    d->api = get ? get() : NULL;
    if (!d->api || d->api->version != HD_SYSC_API_VERSION)
        return hd_fail(err, HD_TOOL, "%s: the platform cannot be loaded: %s (build heddle again)", path, d->library ? "it has another interface" : dlerror());
    return HD_OK;
}

static hd_status sysc_open(hd_device **out, const hd_geometry *g, const hd_device_options *o, hd_err *err) {
    static const hd_sysc_options none = {0};
    const hd_sysc_options *want = o && o->sysc ? o->sysc : &none;
    *out = NULL;
    if (want->quantum && want->quantum < LEAST_QUANTUM) return hd_fail(err, HD_RANGE, "sysc: a quantum of %llu cycles; %d at least", (unsigned long long)want->quantum, LEAST_QUANTUM);
    hd_device *d = calloc(1, sizeof *d);
    if (!d) return hd_fail(err, HD_NOMEM, "sysc: out of memory");
    d->exact = want->exact;
    d->inner_driver = d->exact ? &hd_driver_ref : &hd_driver_sim;
    hd_status s = load_module(d, err);
    if (!s) s = d->inner_driver->open(&d->inner, g, o, err);
    if (!s) {
        hd_sysc_config config = {want->clock_hz > 0 ? want->clock_hz : 48e6, want->link, want->bit_rate > 0 ? want->bit_rate : 12e6, want->host_seconds,
                                 want->quantum ? want->quantum : QUANTUM, g->extern_log2 ? EXTERNAL_CLOCKS : 0};
        hd_sysc_accelerator accelerator = {d, inner_write, inner_read, inner_start, inner_step};
        d->platform = d->api->open(&config, &accelerator);
        if (!d->platform) s = hd_fail(err, HD_NOMEM, "sysc: out of memory");
    }
    if (s) sysc_close(d);
    else *out = d;
    return s;
}

static hd_status sysc_write(hd_device *d, enum hd_space space, uint32_t at, const uint32_t *words, size_t n, hd_err *err) {
    double before = d->api->now(d->platform);
    d->err = err;
    int s = d->api->write(d->platform, space, at, words, n);
    *(space == HD_SPACE_ACT ? &d->times.input : &d->times.other) += d->api->now(d->platform) - before;
    return (hd_status)s;
}

static hd_status sysc_read(hd_device *d, enum hd_space space, uint32_t at, uint32_t *words, size_t n, hd_err *err) {
    double before = d->api->now(d->platform);
    d->err = err;
    int s = d->api->read(d->platform, space, at, words, n);
    *(space == HD_SPACE_ACT ? &d->times.output : &d->times.other) += d->api->now(d->platform) - before;
    return (hd_status)s;
}

static hd_status sysc_run(hd_device *d, uint64_t max_cycles, hd_err *err) {
    hd_err none;
    double before = d->api->now(d->platform);
    d->err = err ? err : &none;
    d->err->code = HD_OK;
    int s = d->api->run(d->platform, max_cycles);
    d->times.run += d->api->now(d->platform) - before;
    d->times.runs++;
    if (s && !d->exact) hd_sim_stop(d->inner);
    if (s && d->err->code == HD_OK) return hd_fail(err, HD_DEVICE, "sysc: no END after %llu cycles", (unsigned long long)max_cycles);
    return (hd_status)s;
}

void hd_sysc_times_read(hd_sysc_times *out, const hd_device *d) {
    *out = d->times;
}

static const char *const link_text[] = {"none", "uart", "full", "high"}, *const link_name[] = {"no link", "UART", "full-speed USB", "high-speed USB"};

hd_status hd_sysc_link_parse(enum hd_sysc_link *out, const char *text, hd_err *err) {
    for (int i = 0; i < 4; i++)
        if (!strcmp(text, link_text[i])) {
            *out = (enum hd_sysc_link)i;
            return HD_OK;
        }
    return hd_fail(err, HD_RANGE, "--link: found '%.60s'; allowed are none, uart, full and high", text);
}

const char *hd_sysc_link_name(enum hd_sysc_link link) {
    return link_name[link];
}

const hd_driver hd_driver_sysc = {"sysc", "a SystemC platform: the RTL or the exact model behind a link, in simulated time", sysc_open, sysc_close,
                                  sysc_write, sysc_read, sysc_run, sysc_available};
