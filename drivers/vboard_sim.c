/* A Verilated board as what hangs on a virtual bridge. */
#include <dlfcn.h>
#include <stdlib.h>

#include "../sim/board/board_api.h"
#include "sim_build.h"
#include "vusb.h"

/* Clocks of a step: some milliseconds of work, so that the front end stays awake. */
enum { STEP_CLOCKS = 20000 };

typedef struct sim_board {
    hd_vboard base;
    void *library;
    const hd_board_api *api;
    hd_board_rtl *rtl;
} sim_board;

static hd_status sim_step(hd_vboard *b, const uint8_t *bytes, size_t n, uint8_t *out, size_t size, size_t *got, hd_err *err) {
    sim_board *s = (sim_board *)b;
    *got = s->api->step(s->rtl, bytes, n, out, size, STEP_CLOCKS);
    const char *fault = s->api->fault(s->rtl);
    if (fault) return hd_fail(err, HD_DEVICE, "virtual board: the memory controller broke a rule of the SDRAM: %s, at clock %llu", fault, (unsigned long long)s->api->clocks(s->rtl));
    return HD_OK;
}

static int sim_busy(hd_vboard *b) { return ((sim_board *)b)->api->busy(((sim_board *)b)->rtl); }

static void sim_close(hd_vboard *b) {
    sim_board *s = (sim_board *)b;
    if (s->rtl) s->api->close(s->rtl);
    if (s->library) dlclose(s->library);
    free(s);
}

hd_status hd_vboard_sim(hd_vboard **out, const hd_geometry *g, unsigned bit_rate, int quiet, hd_err *err) {
    char path[1024];
    *out = NULL;
    hd_status st = hd_sim_build_board(path, sizeof path, g, quiet, err);
    if (st) return st;
    sim_board *s = calloc(1, sizeof *s);
    if (!s) return hd_fail(err, HD_NOMEM, "virtual board: out of memory");
    s->base = (hd_vboard){sim_step, sim_busy, sim_close, bit_rate};
    s->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    hd_board_api_get_fn get = NULL;
    if (s->library) *(void **)(&get) = dlsym(s->library, "hd_board_api_get");
    s->api = get ? get() : NULL;
    if (!s->api || s->api->version != HD_BOARD_API_VERSION) {
        st = hd_fail(err, HD_TOOL, "%s: the virtual board cannot be loaded: %s (remove the file to build it again)", path, s->library ? "it has another interface" : dlerror());
        sim_close(&s->base);
        return st;
    }
    s->rtl = s->api->open();
    if (!s->rtl) {
        sim_close(&s->base);
        return hd_fail(err, HD_NOMEM, "virtual board: out of memory");
    }
    *out = &s->base;
    return HD_OK;
}
