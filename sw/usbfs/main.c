/* heddle-usb-bench: the driver's own cost, against bare libusb with transfers of the same size and number over a device that takes no time. A program of its own, because
 * null_usbfs.c stands between it and the kernel. `heddle bench usb` starts it; it prints one JSON object. Processor time; slices of both sides take turns, and the
 * figure is the median of the pairs, so that a busy machine slows both alike. */
#include <libusb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../drivers/usb_find.h"
#include "../core/progress.h"
#include "null_usbfs.h"

enum { DEPTH = 8, TRANSFER = 16384, PAIRS = 41, STREAM_BYTES = 8 << 20, SMALL = 65536, ROUNDS = 2000, MESSAGE = 64 };

#define must(c) ((c) ? (void)0 : (fprintf(stderr, "heddle-usb-bench: line %d: not so: %s\n", __LINE__, #c), exit(1)))

static uint8_t user[1 << 20]; /* what is sent, and where what comes is wanted */

/* ---- bare libusb */

typedef struct bare {
    libusb_context *context;
    libusb_device_handle *handle;
    struct libusb_transfer *transfer[DEPTH];
    uint8_t bytes[DEPTH][TRANSFER];
    size_t left, at; /* bytes still to be asked for; place in the user's memory */
    unsigned under_way;
} bare;

/* The user's bytes into a transfer, or out of it: whoever sends or wants them pays for that. */
static void move(bare *b, struct libusb_transfer *t, int in) {
    if (in) memcpy(user + b->at, t->buffer, TRANSFER);
    else memcpy(t->buffer, user + b->at, TRANSFER);
    b->at = (b->at + TRANSFER) % sizeof user;
}

static void again(bare *b, struct libusb_transfer *t) {
    if (!b->left) return;
    b->left -= TRANSFER;
    if (!(t->endpoint & 0x80)) move(b, t, 0);
    must(!libusb_submit_transfer(t));
    b->under_way++;
}

static void LIBUSB_CALL came(struct libusb_transfer *t) {
    bare *b = t->user_data;
    must(t->status == LIBUSB_TRANSFER_COMPLETED && t->actual_length == t->length);
    b->under_way--;
    if (t->endpoint & 0x80) move(b, t, 1);
    again(b, t);
}

static void bare_open(bare *b, int fd) {
    must(!libusb_init(&b->context));
    must(!libusb_wrap_sys_device(b->context, fd, &b->handle));
    must(!libusb_claim_interface(b->handle, 0));
    for (int i = 0; i < DEPTH; i++) must((b->transfer[i] = libusb_alloc_transfer(0)) != NULL);
}

static void bare_close(bare *b) {
    for (int i = 0; i < DEPTH; i++) libusb_free_transfer(b->transfer[i]);
    libusb_release_interface(b->handle, 0);
    libusb_close(b->handle);
    libusb_exit(b->context);
}

static void bare_stream(bare *b, uint8_t endpoint, size_t n) {
    b->left = n;
    for (int i = 0; i < DEPTH; i++) {
        libusb_fill_bulk_transfer(b->transfer[i], b->handle, endpoint, b->bytes[i], TRANSFER, came, b, 0);
        again(b, b->transfer[i]);
    }
    while (b->under_way) must(!libusb_handle_events(b->context));
}

static void bare_round(bare *b) {
    int n;
    must(!libusb_bulk_transfer(b->handle, 0x01, user, MESSAGE, &n, 1000) && n == MESSAGE);
    must(!libusb_bulk_transfer(b->handle, 0x81, user, TRANSFER, &n, 1000) && n == MESSAGE);
}

/* ---- the driver */

static void driver_stream(hd_pipe *p, int in, size_t piece, size_t n) {
    hd_err err = {0};
    for (size_t done = 0; done < n;) {
        size_t got = piece;
        if (in) must(!p->get(p, user, piece, &got, 1000, &err) && got);
        else must(!p->put(p, user, piece, &err));
        done += got;
    }
    if (!in) must(!p->flush(p, &err));
}

static void driver_round(hd_pipe *p) {
    hd_err err = {0};
    size_t got;
    must(!p->put(p, user, MESSAGE, &err) && !p->flush(p, &err));
    must(!p->get(p, user, sizeof user, &got, 1000, &err) && got == MESSAGE);
}

/* ---- pairs */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v) {
    qsort(v, PAIRS, sizeof *v, ascending);
    return v[PAIRS / 2];
}

typedef struct pair {
    double bare, driver, ratio; /* seconds of a slice, and the driver's by the bare loop's: medians */
} pair;

enum what { OUT, OUT_SMALL, IN, ROUND_TRIP };

/* The device changes hands every time, since each side claims it. */
static pair measure(enum what what) {
    static bare b;
    double of_bare[PAIRS], of_driver[PAIRS], ratio[PAIRS];
    hd_usb_options o = {.depth = DEPTH, .transfer_bytes = TRANSFER};
    for (int i = 0; i < PAIRS; i++) {
        enum null_usbfs_mode mode = what == ROUND_TRIP ? NULL_USBFS_ECHO : NULL_USBFS_STREAM;
        bare_open(&b, null_usbfs_plug(mode));
        double start = hd_cpu_seconds();
        if (what == ROUND_TRIP)
            for (int k = 0; k < ROUNDS; k++) bare_round(&b);
        else bare_stream(&b, what == IN ? 0x81 : 0x01, STREAM_BYTES);
        of_bare[i] = hd_cpu_seconds() - start;
        must(what == ROUND_TRIP || (what == IN ? null_usbfs_in() : null_usbfs_out()) == STREAM_BYTES);
        bare_close(&b);

        hd_pipe *p;
        hd_err err = {0};
        if (hd_usb_open_fd(&p, null_usbfs_plug(mode), &o, &err)) fprintf(stderr, "heddle-usb-bench: %s\n", err.message), exit(1);
        start = hd_cpu_seconds();
        if (what == ROUND_TRIP)
            for (int k = 0; k < ROUNDS; k++) driver_round(p);
        else driver_stream(p, what == IN, what == OUT_SMALL ? SMALL : sizeof user, STREAM_BYTES);
        of_driver[i] = hd_cpu_seconds() - start;
        p->close(p);
        must(what == IN || what == ROUND_TRIP || null_usbfs_out() == STREAM_BYTES);
        null_usbfs_remove();
        ratio[i] = of_driver[i] / of_bare[i];
    }
    return (pair){median(of_bare), median(of_driver), median(ratio)};
}

int main(void) {
    memset(user, 0x5a, sizeof user);
    pair out = measure(OUT), small = measure(OUT_SMALL), in = measure(IN), round = measure(ROUND_TRIP);
    printf("{\"out_share\": %.4f, \"out_small_share\": %.4f, \"in_share\": %.4f, \"round_trip_ratio\": %.4f, \"out_mbps\": %.1f, \"in_mbps\": %.1f, \"round_trip_us\": %.3f}\n",
           1 / out.ratio, 1 / small.ratio, 1 / in.ratio, round.ratio, STREAM_BYTES / out.driver / 1e6, STREAM_BYTES / in.driver / 1e6, round.driver / ROUNDS * 1e6);
    return 0;
}
