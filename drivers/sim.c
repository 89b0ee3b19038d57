/* The Verilated RTL as a device: the model of the geometry is built on first use (sim_build.c) and loaded. */
#include <dlfcn.h>
#include <stdlib.h>

#include "../sim/rtl_api.h"
#include "../sw/core/progress.h"
#include "driver.h"
#include "sim.h"
#include "sim_build.h"

struct hd_device {
    void *library;
    const hd_rtl_api *api;
    hd_rtl *model;
    uint64_t stall_seed;
    int external;
};

static void sim_close(hd_device *d) {
    if (!d) return;
    if (d->model) d->api->close(d->model);
    if (d->library) dlclose(d->library);
    free(d);
}

static hd_status sim_open(hd_device **out, const hd_geometry *g, const hd_device_options *o, hd_err *err) {
    char path[1024];
    hd_status st = hd_sim_build(path, sizeof path, g, o, err);
    if (st) return st;
    hd_device *d = calloc(1, sizeof *d);
    if (!d) return hd_fail(err, HD_NOMEM, "sim: out of memory");
    d->stall_seed = o ? o->stall_seed : 0;
    d->external = g->extern_log2 != 0;
    d->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    hd_rtl_api_get_fn get = NULL;
    if (d->library) *(void **)(&get) = dlsym(d->library, "hd_rtl_api_get");
    d->api = get ? get() : NULL;
    if (!d->api || d->api->version != HD_RTL_API_VERSION) {
        const char *why = d->library ? "it has another interface" : dlerror();
        st = hd_fail(err, HD_TOOL, "%s: the simulator cannot be loaded: %s (remove the file to build it again)", path, why);
        sim_close(d);
        return st;
    }
    d->model = d->api->open(o ? o->trace : NULL);
    if (!d->model) {
        sim_close(d);
        return hd_fail(err, HD_NOMEM, "sim: out of memory");
    }
    *out = d;
    return HD_OK;
}

static hd_status check_memory(hd_device *d, hd_err *err) {
    uint64_t at = 0;
    const char *fault = d->api->fault(d->model, &at);
    return fault ? hd_fail(err, HD_DEVICE, "sim: the external memory's rule '%s' was broken in clock %llu", fault, (unsigned long long)at) : HD_OK;
}

static hd_status sim_write(hd_device *d, enum hd_space space, uint32_t at, const uint32_t *words, size_t n, hd_err *err) {
    d->api->write(d->model, (unsigned)space, at, words, n);
    return space == HD_SPACE_WEIGHT ? check_memory(d, err) : HD_OK;
}

static hd_status sim_read(hd_device *d, enum hd_space space, uint32_t at, uint32_t *words, size_t n, hd_err *err) {
    int external = space == HD_SPACE_WEIGHT && d->external;
    if (space != HD_SPACE_ACT && space != HD_SPACE_PERF && space != HD_SPACE_REG && !external)
        return hd_fail(err, HD_RANGE, "sim: space %d cannot be read; ACT, PERF and REG can", (int)space);
    d->api->read(d->model, (unsigned)space, at, words, n);
    return external ? check_memory(d, err) : HD_OK;
}

static hd_status sim_run(hd_device *d, uint64_t max_cycles, hd_err *err) {
    int rc = d->api->run(d->model, max_cycles, d->stall_seed, &hd_interrupted);
    if (d->stall_seed) d->stall_seed = d->stall_seed * 6364136223846793005ull + 1442695040888963407ull;
    if (rc == 1) return hd_fail(err, HD_DEVICE, "sim: no END after %llu cycles", (unsigned long long)max_cycles);
    if (rc == 2) return hd_fail(err, HD_INTERRUPTED, "sim: interrupted");
    return check_memory(d, err);
}

void hd_sim_start(hd_device *d) { d->api->start(d->model); }

hd_status hd_sim_step(hd_device *d, uint64_t cycles, uint64_t *clocked, int *busy, hd_err *err) {
    *clocked = d->api->step(d->model, cycles, busy);
    return *busy ? HD_OK : check_memory(d, err);
}

void hd_sim_stop(hd_device *d) { d->api->stop(d->model); }

static int sim_available(char *why, size_t n) { return hd_sim_tools(why, n); }

const hd_driver hd_driver_sim = {"sim", "the Verilated RTL, built for the geometry on first use", sim_open, sim_close, sim_write, sim_read, sim_run, sim_available};
