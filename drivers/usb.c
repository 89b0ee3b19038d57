/* A board on the USB as a device: the link over a pipe. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "link.h"
#include "usb_find.h"

struct hd_device {
    hd_link *link;
    unsigned run_limit_ms;
};

static void usb_device_close(hd_device *d) {
    if (!d) return;
    hd_link_close(d->link);
    free(d);
}

static hd_status usb_device_open(hd_device **out, const hd_geometry *g, const hd_device_options *o, hd_err *err) {
    (void)g; /* the session compares the capability registers */
    hd_usb_options usb = {0};
    hd_pipe *pipe = NULL;
    int fd = o && o->usb_fd > 0 ? o->usb_fd : -1;
    *out = NULL;
    if (o) usb = (hd_usb_options){.bit_rate = o->bit_rate, .depth = o->usb_depth, .transfer_bytes = o->usb_transfer_bytes, .in_flight = o->usb_in_flight};
    if (o && o->where && !strncmp(o->where, "fd:", 3)) {
        char *end;
        long n = strtol(o->where + 3, &end, 10);
        if (end == o->where + 3 || *end || n < 0 || n > INT_MAX) return hd_fail(err, HD_USAGE, "usb:%.60s: a number is needed, of a descriptor that is open (3<>/dev/bus/usb/001/002)", o->where);
        fd = (int)n;
    }
    hd_device *d = calloc(1, sizeof *d);
    if (!d) return hd_fail(err, HD_NOMEM, "usb: out of memory");
    d->run_limit_ms = o && o->run_limit_ms ? o->run_limit_ms : 10 * 60 * 1000;
    hd_status s = fd >= 0 ? hd_usb_open_fd(&pipe, fd, &usb, err) : hd_usb_open(&pipe, o ? o->where : NULL, &usb, err);
    if (!s) s = hd_link_open(&d->link, pipe, err);
    if (s) free(d);
    else *out = d;
    return s;
}

static hd_status usb_device_write(hd_device *d, enum hd_space space, uint32_t at, const uint32_t *words, size_t n, hd_err *err) {
    return hd_link_write(d->link, space, at, words, n, err);
}

static hd_status usb_device_read(hd_device *d, enum hd_space space, uint32_t at, uint32_t *words, size_t n, hd_err *err) {
    if (space != HD_SPACE_ACT && space != HD_SPACE_PERF && space != HD_SPACE_REG)
        return hd_fail(err, HD_RANGE, "usb: space %d cannot be read; ACT, PERF and REG can", (int)space);
    return hd_link_read(d->link, space, at, words, n, err);
}

static hd_status usb_device_run(hd_device *d, uint64_t max_cycles, hd_err *err) {
    /* No board runs slower than 1 MHz. */
    uint64_t limit = max_cycles ? 100 + max_cycles / 1000 : d->run_limit_ms;
    uint32_t cycles;
    return hd_link_run(d->link, limit < d->run_limit_ms ? (unsigned)limit : d->run_limit_ms, &cycles, err);
}

static int usb_available(char *why, size_t n) {
    hd_usb_info *list;
    size_t found;
    hd_err err = {0};
    hd_status s = hd_usb_list(&list, &found, &err);
    size_t usable = 0;
    for (size_t i = 0; i < found; i++) usable += (size_t)list[i].usable;
    if (s) snprintf(why, n, "%s", err.message);
    else if (!found) snprintf(why, n, "no board is plugged in");
    else if (!usable) snprintf(why, n, "%s: %s", list[0].path, list[0].why);
    free(list);
    return usable != 0;
}

const hd_driver hd_driver_usb = {"usb", "a board on the USB: usb, or usb:SERIAL, usb:PATH, usb:VENDOR:PRODUCT, usb:fd:N", usb_device_open, usb_device_close, usb_device_write,
                                 usb_device_read, usb_device_run, usb_available};
