/* Suite usb: what the driver costs beside bare libusb (heddle-usb-bench, a program of its own), and what the link and the USB devices carry of their wires, on the
 * Verilated board in its own time: 64 KiB written, read back and compared. */
#include <cjson/cJSON.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../compiler/lower/program.h"
#include "../../drivers/link.h"
#include "../../drivers/tools.h"
#include "../../drivers/vusb.h"
#include "../core/file.h"
#include "../core/rng.h"
#include "bench.h"
#include "bench_explore.h"

/* With a UART the board has HX8K's clock, of which 12 Mbit/s leave 3.69 a bit (sim/board/board_api.h). */
enum { PAYLOAD = 65536, UART_HZ = 44250000, BOARD_HZ = 48000000, BUFFER = 1 << 16, IN_TRANSFERS = 2, IN_BYTES = 16384 };
static const char geometry_text[] = "1x2x8x2", memory_text[] = "act=8192,window=32,stream=64,param=64,descriptors=8,tables=0,hop=2,acc=18,fetch=1,post=16,residual=0";

/* ---- pipes to a simulated board, with its own clock */

typedef struct board_pipe {
    hd_pipe base;
    hd_vboard *board; /* at UART pins */
    hd_vbus *bus;     /* or at USB lines, with a host controller */
    hd_vusb *device;
    uint8_t out[BUFFER], in[BUFFER];
    size_t out_n, in_n;
    hd_vusb_transfer sent, wanted[IN_TRANSFERS];
    uint8_t wanted_bytes[IN_TRANSFERS][IN_BYTES];
    int sending;
    uint64_t put_bytes, got_bytes;
} board_pipe;

static double pipe_now(hd_pipe *base) {
    board_pipe *p = (board_pipe *)base;
    return p->board ? (double)p->board->clocks(p->board) / UART_HZ : (double)p->bus->clocks(p->bus) / p->bus->hz;
}

static void collect(board_pipe *p) {
    for (hd_vusb_transfer *t; (t = p->device->finished(p->device));) {
        if (t == &p->sent) {
            p->sending = 0;
            continue;
        }
        memcpy(p->in + p->in_n, t->bytes, t->actual);
        p->in_n += t->actual;
        p->device->submit(p->device, t);
    }
}

/* Lets the board work a while. */
static hd_status work(board_pipe *p, hd_err *err) {
    size_t got;
    unsigned idle;
    if (p->board) {
        hd_status s = p->board->step(p->board, p->out, p->out_n, p->in + p->in_n, BUFFER - p->in_n, &got, err);
        p->out_n = 0;
        p->in_n += got;
        return s;
    }
    if (!p->sending && p->out_n) {
        p->sent = (hd_vusb_transfer){.endpoint = 0x01, .bytes = p->out, .length = p->out_n};
        p->sending = 1;
        p->out_n = 0;
        p->device->submit(p->device, &p->sent);
    }
    hd_status s = p->device->work(p->device, &idle, err);
    collect(p);
    if (!s && idle) p->bus->idle(p->bus, 5000); /* nothing to do: only time passes */
    return s;
}

static hd_status pipe_flush(hd_pipe *base, hd_err *err) {
    board_pipe *p = (board_pipe *)base;
    hd_status s = HD_OK;
    while (!s && (p->out_n || p->sending) && p->in_n < BUFFER - 2 * IN_BYTES) s = work(p, err);
    return s;
}

static hd_status pipe_put(hd_pipe *base, const void *bytes, size_t n, hd_err *err) {
    board_pipe *p = (board_pipe *)base;
    hd_status s = HD_OK;
    if (p->sending || p->out_n + n > BUFFER) s = pipe_flush(base, err);
    if (!s && p->out_n + n > BUFFER) return hd_fail(err, HD_RANGE, "%s: %zu bytes at once", base->name, n);
    memcpy(p->out + p->out_n, bytes, n);
    p->out_n += n;
    p->put_bytes += n;
    return s;
}

static hd_status pipe_get(hd_pipe *base, void *bytes, size_t size, size_t *got, unsigned timeout_ms, hd_err *err) {
    board_pipe *p = (board_pipe *)base;
    double until = pipe_now(base) + 1e-3 * timeout_ms;
    hd_status s = HD_OK;
    /* At UART pins a step ends early once nothing is under way: then no time passes, and no answer will come. */
    for (double last = -1; !s && !p->in_n && pipe_now(base) < until && pipe_now(base) > last;) {
        last = pipe_now(base);
        s = work(p, err);
    }
    *got = p->in_n < size ? p->in_n : size;
    memcpy(bytes, p->in, *got);
    p->in_n -= *got;
    p->got_bytes += *got;
    memmove(p->in, p->in + *got, p->in_n);
    return s;
}

static hd_status pipe_purge(hd_pipe *base, hd_err *err) {
    (void)err;
    ((board_pipe *)base)->in_n = 0;
    return HD_OK;
}

static void pipe_close(hd_pipe *base) {
    board_pipe *p = (board_pipe *)base;
    if (p->board) p->board->close(p->board);
    if (p->device) p->device->close(p->device);
    free(p);
}

enum wire { WIRE_UART, WIRE_FULL_SPEED, WIRE_ULPI };

static hd_status pipe_open(board_pipe **out, enum wire wire, hd_err *err) {
    static const char *const name[] = {"UART", "full-speed USB", "ULPI"};
    hd_geometry g;
    board_pipe *p = calloc(1, sizeof *p);
    *out = NULL;
    if (!p) return hd_fail(err, HD_NOMEM, "no memory for a pipe");
    p->base = (hd_pipe){pipe_put, pipe_flush, pipe_get, pipe_purge, pipe_close, pipe_now, name[wire], wire != WIRE_UART, wire == WIRE_ULPI ? 40e6 : 1e6, 2, 2000, 0, NULL, 0};
    hd_status s = hd_geometry_parse(&g, geometry_text, err);
    if (!s) s = hd_geometry_memory(&g, memory_text, err);
    if (!s && wire == WIRE_UART) s = hd_vboard_sim(&p->board, &g, 12000000, 0, err);
    if (!s && wire != WIRE_UART) {
        s = hd_vbus_sim(&p->bus, &g, wire == WIRE_ULPI, BOARD_HZ, 0, err);
        if (!s) s = hd_vusb_bus(&p->device, p->bus, err);
    }
    if (!s && p->device) {
        hd_vusb_transfer configure = {.setup = {0, 9, 1}};
        p->device->submit(p->device, &configure);
        if (p->device->finished(p->device) != &configure || configure.status) s = hd_fail(err, HD_DEVICE, "%s: the device takes no configuration", p->base.name);
        for (int i = 0; !s && i < IN_TRANSFERS; i++) {
            p->wanted[i] = (hd_vusb_transfer){.endpoint = 0x81, .bytes = p->wanted_bytes[i], .length = IN_BYTES};
            p->device->submit(p->device, &p->wanted[i]);
        }
    }
    if (s) pipe_close(&p->base);
    else *out = p;
    return s;
}

typedef struct wire_figures {
    double out_mbps, in_mbps;         /* of payload */
    double out_framing, in_framing;   /* payload of all bytes in that direction */
    uint64_t resent;
} wire_figures;

static hd_status measure_wire(wire_figures *f, enum wire wire, hd_err *err) {
    static uint32_t words[PAYLOAD / 4], back[PAYLOAD / 4];
    hd_link *l = NULL;
    board_pipe *p;
    hd_rng r;
    hd_rng_seed(&r, 5, wire);
    for (size_t i = 0; i < PAYLOAD / 4; i++) words[i] = hd_rng_u32(&r);
    hd_status s = pipe_open(&p, wire, err);
    if (!s) s = hd_link_open(&l, &p->base, err);
    if (s) return s;
    double start = pipe_now(&p->base);
    p->put_bytes = 0;
    s = hd_link_write(l, HD_SPACE_ACT, 0, words, PAYLOAD / 4, err);
    double middle = pipe_now(&p->base);
    f->out_framing = (double)PAYLOAD / (double)p->put_bytes;
    p->got_bytes = 0;
    if (!s) s = hd_link_read(l, HD_SPACE_ACT, 0, back, PAYLOAD / 4, err);
    double end = pipe_now(&p->base);
    f->in_framing = (double)PAYLOAD / (double)p->got_bytes;
    f->out_mbps = PAYLOAD / (middle - start) / 1e6;
    f->in_mbps = PAYLOAD / (end - middle) / 1e6;
    f->resent = hd_link_statistics_of(l)->resent;
    if (!s && memcmp(words, back, sizeof words)) s = hd_fail(err, HD_MISMATCH, "%s: what was read is not what was written", p->base.name);
    hd_link_close(l);
    return s;
}

hd_status hd_bench_wire(double mbps[2], int wire, hd_err *err) {
    wire_figures f = {0};
    hd_status s = measure_wire(&f, (enum wire)wire, err);
    mbps[0] = f.out_mbps;
    mbps[1] = f.in_mbps;
    return s;
}

/* ---- the driver */

static hd_status run_driver_bench(cJSON **out, hd_err *err) {
    char self[1024], program[1100], dir[] = "/tmp/heddle-usb-XXXXXX", log[64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    uint8_t *text = NULL;
    size_t size;
    *out = NULL;
    if (n <= 0) return hd_fail(err, HD_IO, "bench: /proc/self/exe cannot be read");
    self[n] = 0;
    snprintf(program, sizeof program, "%s/heddle-usb-bench", dirname(self));
    if (access(program, X_OK)) return hd_fail(err, HD_TOOL, "%s: not there; it is built beside heddle", program);
    if (!mkdtemp(dir)) return hd_fail(err, HD_IO, "%s: cannot be made", dir);
    snprintf(log, sizeof log, "%s/log", dir);
    const char *const argv[] = {program, NULL};
    int rc = hd_tool_run(argv, dir, log, NULL, 1);
    hd_status s = hd_file_read(&text, &size, log, 1 << 16, 0, err);
    hd_tool_remove(dir);
    if (!s && !rc) *out = cJSON_ParseWithLength((const char *)text, size);
    if (!s && !*out) s = hd_fail(err, rc < 0 ? HD_INTERRUPTED : HD_TOOL, "heddle-usb-bench: %.*s", (int)size, (const char *)text);
    free(text);
    return s;
}

static double number(const cJSON *o, const char *name) {
    const cJSON *v = cJSON_GetObjectItem(o, name);
    return cJSON_IsNumber(v) ? v->valuedouble : 0;
}

static double least(double a, double b) { return a < b ? a : b; }

hd_status hd_bench_usb(hd_figures *f, hd_err *err) {
    cJSON *d;
    hd_figure *x;
    wire_figures uart = {0}, full = {0}, high = {0};
    hd_status s = run_driver_bench(&d, err);
    if (s) return s;
    x = hd_figure_add(f, least(number(d, "out_share"), number(d, "in_share")), "share", "measured", "usb.driver_share");
    x->reference = 1;
    x->compared = "bare libusb: 8 transfers of 16 KiB each way over a usbfs that takes no time, user's memory of 1 MiB; the lesser of OUT and IN";
    hd_figure_add(f, number(d, "out_small_share"), "share", "measured", "usb.driver_share_64k");
    hd_figure_add(f, number(d, "out_mbps"), "MB/s", "measured", "usb.driver_out");
    hd_figure_add(f, number(d, "in_mbps"), "MB/s", "measured", "usb.driver_in");
    x = hd_figure_add(f, number(d, "round_trip_ratio"), "times", "measured", "usb.round_trip_ratio");
    x->reference = 1;
    x->compared = "64 bytes there and back by libusb_bulk_transfer over the same usbfs";
    hd_figure_add(f, number(d, "round_trip_us"), "us", "measured", "usb.round_trip");
    cJSON_Delete(d);
    s = measure_wire(&uart, WIRE_UART, err);
    if (!s) s = measure_wire(&full, WIRE_FULL_SPEED, err);
    if (!s) s = measure_wire(&high, WIRE_ULPI, err);
    if (s) return s;
    x = hd_figure_add(f, least(uart.out_framing, uart.in_framing), "share", "simulated", "usb.framing");
    x->reference = 1;
    x->compared = "a pipe of bytes that carries payload alone, 64 KiB each way; the lesser of both";
    static const char *const names[][2] = {{"usb.uart_mbps", "usb.uart_in_mbps"}, {"usb.fs_mbps", "usb.fs_in_mbps"}, {"usb.ulpi_mbps", "usb.ulpi_in_mbps"}};
    static const char *const wires[] = {"a UART at 12 Mbit/s, 3.69 clocks of HX8K's 44.25 MHz a bit", "19 packets of 64 bytes in a frame of 1 ms", "the link's byte every 16 clocks of 48 MHz; the device itself carries more than 40 (ctest usb.ulpi)"};
    const wire_figures *const of[] = {&uart, &full, &high};
    const double limit[] = {1.2, 1.216, 3};
    for (int i = 0; i < 3; i++) {
        x = hd_figure_add(f, of[i]->out_mbps, "MB/s", "simulated", "%s", names[i][0]);
        x->reference = limit[i];
        x->compared = wires[i];
        hd_figure_add(f, of[i]->in_mbps, "MB/s", "simulated", "%s", names[i][1])->reference = limit[i];
    }
    hd_figure_add(f, (double)(uart.resent + full.resent + high.resent), "frames", "simulated", "usb.resent");
    return HD_OK;
}
