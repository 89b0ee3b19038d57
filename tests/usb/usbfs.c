/* The kernel's usbfs interface over a board of the link, in the test program itself. */
#define _GNU_SOURCE /* off64_t */
#include "usbfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/usbdevice_fs.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MOST_URBS = 256, SERIAL = 3 };

typedef struct pending {
    struct usbdevfs_urb *urb;
    double ready; /* finished, and may be reaped from this time on; 0 = an IN transfer that waits for data */
} pending;

static struct {
    int fd, plugged, reapable, null, claim_error, claimed;
    enum usbfs_kind kind;
    link_board *board;
    uint32_t wire_rate;
    usbfs_faults faults;
    usbfs_counts counts;
    hd_rng rng;
    pending urb[MOST_URBS];
    unsigned n;
    double status_at, latency;
    uint8_t descriptors[128];
    size_t descriptor_bytes, at;
    int halted_in, halted_out;
} d = {.fd = -1};

/* ---- time: it passes only while somebody waits for the device, and a microsecond whenever the clock is asked, so that who asks again and again gets on. It lies
 * far behind the kernel's, whose timers then never end before it. */
enum { STEP_NS = 500000, FAR_S = 1000000000 };
static _Atomic int64_t virtual_ns;

int clock_gettime(clockid_t id, struct timespec *t) {
    if (id != CLOCK_MONOTONIC) return (int)syscall(SYS_clock_gettime, id, t);
    int64_t ns = atomic_fetch_add(&virtual_ns, 1000);
    *t = (struct timespec){FAR_S + ns / 1000000000, ns % 1000000000};
    return 0;
}

static double seconds(void) { return FAR_S + 1e-9 * (double)atomic_load(&virtual_ns); }

static int chance(double p) { return p > 0 && (double)hd_rng_float(&d.rng) < p && ++d.counts.faults; }

/* ---- descriptors */

static void describe(void) {
    static const struct {
        uint16_t vendor, product, packet;
        uint8_t interfaces, out[2], in[2];
    } kind[] = {{0x1209, 0x0001, 64, 1, {0x01}, {0x81}}, {0x0403, 0x6010, 512, 2, {0x02, 0x04}, {0x81, 0x83}}, {0x0403, 0x6015, 64, 1, {0x02}, {0x81}}, {0x1234, 0x5678, 64, 1, {0x01}, {0x81}}};
    uint8_t *b = d.descriptors;
    unsigned k = (unsigned)d.kind, interfaces = kind[k].interfaces, total = 9 + interfaces * (9 + 7 + 7);
    const uint8_t device[18] = {18, 1, 0, 2, 0, 0, 0, 64, (uint8_t)kind[k].vendor, (uint8_t)(kind[k].vendor >> 8), (uint8_t)kind[k].product, (uint8_t)(kind[k].product >> 8),
                                0, 1, 1, 2, SERIAL, 1};
    const uint8_t config[9] = {9, 2, (uint8_t)total, 0, (uint8_t)interfaces, 1, 0, 0x80, 50};
    memcpy(b, device, 18);
    memcpy(b + 18, config, 9);
    b += 27;
    for (unsigned i = 0; i < interfaces; i++) {
        const uint8_t interface[9] = {9, 4, (uint8_t)i, 0, 2, 255, 255, 255, 0};
        const uint8_t in[7] = {7, 5, kind[k].in[i], 2, (uint8_t)kind[k].packet, (uint8_t)(kind[k].packet >> 8), 0};
        const uint8_t out[7] = {7, 5, kind[k].out[i], 2, (uint8_t)kind[k].packet, (uint8_t)(kind[k].packet >> 8), 0};
        memcpy(b, interface, 9);
        memcpy(b + 9, in, 7);
        memcpy(b + 16, out, 7);
        b += 23;
    }
    d.descriptor_bytes = (size_t)(b - d.descriptors);
    d.at = 0;
}

/* ---- the event descriptor: writable means that something can be reaped */

static void show(void) {
    double now = seconds();
    int ready = !d.plugged;
    for (unsigned i = 0; i < d.n && !ready; i++) ready = d.urb[i].ready > 0 && d.urb[i].ready <= now;
    if (ready == d.reapable) return;
    uint64_t full = UINT64_MAX - 1;
    if (ready) syscall(SYS_read, d.fd, &full, sizeof full);
    else if (write(d.fd, &full, sizeof full) < 0) d.counts.bad++;
    d.reapable = ready;
}

/* ---- bulk */

static size_t packet_bytes(void) { return d.kind == USBFS_FT2232H ? 512 : 64; }

static double when(void) { return seconds() + (chance(d.faults.delay) ? d.faults.most_delay * (double)hd_rng_float(&d.rng) : 0); }

static void finish(pending *p, int status, int bytes) {
    p->urb->status = status;
    p->urb->actual_length = bytes;
    p->ready = when();
    d.counts.transfers++;
}

/* A byte as the other side of the wire takes it. */
static uint8_t wire(uint8_t byte) { return d.wire_rate && d.wire_rate != d.counts.baud ? (uint8_t)(byte * 29 + 7) : byte; }

static void out_transfer(pending *p) {
    uint8_t *bytes = p->urb->buffer;
    int n = p->urb->buffer_length;
    if (d.null) return finish(p, 0, n);
    if (chance(d.faults.unplug)) d.plugged = 0;
    if (d.halted_out || chance(d.faults.stall_out)) {
        d.halted_out = 1;
        return finish(p, -EPIPE, 0);
    }
    if (chance(d.faults.error_out)) return finish(p, -EPROTO, (int)hd_rng_below(&d.rng, (uint32_t)n + 1));
    if (chance(d.faults.short_out)) n = (int)hd_rng_below(&d.rng, (uint32_t)n + 1);
    int lost = chance(d.faults.lost_out), bad = chance(d.faults.corrupt_out) && n ? (int)hd_rng_below(&d.rng, (uint32_t)n) : -1;
    for (int i = 0; i < n && !lost; i++) link_board_byte(d.board, wire(i == bad ? (uint8_t)(bytes[i] ^ 0x10) : bytes[i]), seconds());
    finish(p, 0, n);
}

static void drop_out(size_t n) {
    if (!n) return; /* nothing was ever sent, perhaps: no buffer */
    d.board->out_n -= n;
    memmove(d.board->out, d.board->out + n, d.board->out_n);
}

/* Fills one IN transfer from the board's bytes: packet by packet, up to a short one. */
static void in_transfer(pending *p) {
    uint8_t *to = p->urb->buffer;
    size_t size = (size_t)p->urb->buffer_length, packet = packet_bytes(), head = d.kind == USBFS_NATIVE ? 0 : 2, n = 0;
    if (d.halted_in || chance(d.faults.stall_in)) {
        d.halted_in = 1;
        return finish(p, -EPIPE, 0);
    }
    if (chance(d.faults.error_in)) return finish(p, -EPROTO, 0);
    if (chance(d.faults.overflow_in)) return finish(p, -EOVERFLOW, 0);
    for (int more = 1; more && n + packet <= size;) {
        size_t part = packet - head < d.board->out_n ? packet - head : d.board->out_n;
        int overrun = head && part && chance(d.faults.overrun), again = !overrun && part && chance(d.faults.twice_in);
        if (head) {
            to[n] = 1;
            to[n + 1] = (uint8_t)(0x60 | (overrun ? 2 : 0));
        }
        if (part && !overrun && !chance(d.faults.lost_in)) {
            for (size_t i = 0; i < part; i++) to[n + head + i] = wire(d.board->out[i]);
            if (chance(d.faults.corrupt_in)) to[n + head + hd_rng_below(&d.rng, (uint32_t)part)] ^= 0x04;
        } else if (part && d.kind != USBFS_NATIVE) {
            n -= part; /* only the status bytes */
            more = 0;
        } else {
            n -= part;
        }
        n += head + part;
        if (!again) drop_out(part);
        more = more && part == packet - head && d.board->out_n;
    }
    finish(p, 0, (int)n);
}

static int has_data(void) {
    if (d.null) return 0;
    if (d.board->out_n) return 1;
    return d.kind != USBFS_NATIVE && seconds() >= d.status_at;
}

/* IN transfers take what the board has, oldest first; an FTDI bridge sends its status alone when its latency timer ends. */
static void serve(void) {
    if (!d.plugged) return;
    link_board_time(d.board, seconds());
    for (unsigned i = 0; i < d.n; i++) {
        pending *p = &d.urb[i];
        if (p->ready > 0 || !(p->urb->endpoint & 0x80)) continue;
        if (!has_data() && !d.halted_in) break;
        in_transfer(p);
        d.status_at = seconds() + d.latency;
    }
}

/* libusb waits here. Its other descriptors are asked once: nothing of this program writes to them meanwhile. */
__attribute__((noinline)) static int await(struct pollfd *fds, nfds_t n, int timeout_ms) {
    struct pollfd *ours = NULL;
    for (nfds_t i = 0; i < n; i++)
        if (d.fd >= 0 && fds[i].fd == d.fd) ours = &fds[i];
    if (!ours) return (int)syscall(SYS_poll, fds, n, timeout_ms);
    for (int64_t end = atomic_load(&virtual_ns) + (int64_t)timeout_ms * 1000000;;) {
        serve();
        show();
        int rc = (int)syscall(SYS_poll, fds, n, 0);
        if (rc || (timeout_ms >= 0 && atomic_load(&virtual_ns) >= end)) return rc;
        atomic_fetch_add(&virtual_ns, STEP_NS);
    }
}

int poll(struct pollfd *fds, nfds_t n, int timeout_ms) { return await(fds, n, timeout_ms); }

/* ---- ioctl */

static int fail(int error) {
    errno = error;
    return -1;
}

static int control(const struct usbdevfs_ctrltransfer *c);

/* libusb sends control requests as transfers too: set-up packet, then data. */
static void control_transfer(pending *p) {
    const uint8_t *b = p->urb->buffer;
    struct usbdevfs_ctrltransfer c = {.bRequestType = b[0], .bRequest = b[1], .wValue = (uint16_t)(b[2] | b[3] << 8), .wIndex = (uint16_t)(b[4] | b[5] << 8),
                                      .wLength = (uint16_t)(b[6] | b[7] << 8), .data = (uint8_t *)p->urb->buffer + 8};
    int n = control(&c);
    p->urb->status = n < 0 ? -errno : 0;
    p->urb->actual_length = n < 0 ? 0 : n;
    p->ready = seconds();
}

static int submit(struct usbdevfs_urb *urb) {
    int is_control = urb->type == USBDEVFS_URB_TYPE_CONTROL;
    if (!is_control && chance(d.faults.no_memory)) return fail(ENOMEM);
    if (is_control && d.n < MOST_URBS) {
        d.urb[d.n] = (pending){urb, 0};
        d.counts.under_way++;
        control_transfer(&d.urb[d.n++]);
        return 0;
    }
    if (d.n == MOST_URBS || urb->type != USBDEVFS_URB_TYPE_BULK || !d.claimed) return d.counts.bad++, fail(EINVAL);
    d.urb[d.n] = (pending){urb, 0};
    d.n++;
    if (++d.counts.under_way > d.counts.under_way_most) d.counts.under_way_most = d.counts.under_way;
    if (!(urb->endpoint & 0x80)) out_transfer(&d.urb[d.n - 1]);
    serve();
    return 0;
}

static int reap(struct usbdevfs_urb **urb) {
    double now = seconds();
    for (unsigned i = 0; i < d.n; i++) {
        pending *p = &d.urb[i];
        if (!d.plugged && p->ready <= 0) {
            p->urb->status = -ESHUTDOWN;
            p->urb->actual_length = 0;
            p->ready = now;
        }
        if (p->ready <= 0 || (p->ready > now && d.plugged)) continue;
        int earlier = 0; /* transfers of one endpoint come back in order */
        for (unsigned k = 0; k < i; k++) earlier |= d.urb[k].urb->endpoint == p->urb->endpoint;
        if (earlier) continue;
        *urb = p->urb;
        d.n--;
        d.counts.under_way--;
        memmove(d.urb + i, d.urb + i + 1, (d.n - i) * sizeof *d.urb);
        return 0;
    }
    return fail(d.plugged ? EAGAIN : ENODEV);
}

static int discard(const struct usbdevfs_urb *urb) {
    for (unsigned i = 0; i < d.n; i++)
        if (d.urb[i].urb == urb && d.urb[i].ready <= 0) {
            d.urb[i].urb->status = -ENOENT;
            d.urb[i].urb->actual_length = 0;
            d.urb[i].ready = seconds();
            return 0;
        }
    return fail(EINVAL);
}

static int string_descriptor(uint8_t *to, unsigned index, unsigned size) {
    const char *text = index == 1 ? "heddle tests" : index == 2 ? "a board" : "T35T";
    uint8_t all[64] = {4, 3, 9, 4};
    unsigned n = 4;
    if (index) {
        n = 2 + 2 * (unsigned)strlen(text);
        all[0] = (uint8_t)n;
        for (unsigned i = 0; text[i]; i++) all[2 + 2 * i] = (uint8_t)text[i], all[3 + 2 * i] = 0;
    }
    n = n < size ? n : size;
    memcpy(to, all, n);
    return (int)n;
}

static int control(const struct usbdevfs_ctrltransfer *c) {
    if (c->bRequestType == 0x80 && c->bRequest == 6 && c->wValue >> 8 == 3) return string_descriptor(c->data, c->wValue & 255, c->wLength);
    if (c->bRequestType == 0x40 && d.kind != USBFS_NATIVE) {
        if (d.kind == USBFS_FT2232H && (c->wIndex & 255) != 2) d.counts.bad++;
        if (c->bRequest == 3) d.counts.baud = c->wValue | (uint32_t)c->wIndex << 16;
        if (c->bRequest == 9) {
            d.counts.latency = c->wValue;
            d.latency = 1e-3 * c->wValue;
        }
        if (c->bRequest == 0 && c->wValue == 1) d.board->out_n = 0;
        return 0;
    }
    return fail(EPIPE);
}

static int handle(unsigned long request, void *argument) {
    if (!d.plugged && request != USBDEVFS_REAPURBNDELAY && request != USBDEVFS_DISCARDURB) return fail(ENODEV);
    switch (request) {
    case USBDEVFS_GET_CAPABILITIES:
        *(uint32_t *)argument = USBDEVFS_CAP_ZERO_PACKET | USBDEVFS_CAP_NO_PACKET_SIZE_LIM | USBDEVFS_CAP_REAP_AFTER_DISCONNECT;
        return 0;
    case USBDEVFS_CONNECTINFO:
        ((struct usbdevfs_connectinfo *)argument)->devnum = 5;
        ((struct usbdevfs_connectinfo *)argument)->slow = 0;
        return 0;
    case USBDEVFS_GET_SPEED: return d.kind == USBFS_FT2232H ? 3 : 2;
    case USBDEVFS_GETDRIVER:
        if (d.counts.detached > d.counts.attached || d.kind == USBFS_NATIVE) return fail(ENODATA);
        strcpy(((struct usbdevfs_getdriver *)argument)->driver, "ftdi_sio");
        return 0;
    case USBDEVFS_IOCTL: {
        const struct usbdevfs_ioctl *i = argument;
        int attached = d.kind != USBFS_NATIVE && d.counts.detached == d.counts.attached;
        if (i->ioctl_code == USBDEVFS_DISCONNECT) return attached ? (int)(d.counts.detached++ & 0) : fail(ENODATA);
        if (i->ioctl_code == USBDEVFS_CONNECT && d.counts.detached > d.counts.attached) d.counts.attached++;
        return 0;
    }
    case USBDEVFS_CLAIMINTERFACE:
        if (d.claim_error) return fail(d.claim_error);
        d.counts.claims++;
        d.claimed = 1;
        return 0;
    case USBDEVFS_RELEASEINTERFACE:
        d.counts.releases++;
        d.claimed = 0;
        return 0;
    case USBDEVFS_CLEAR_HALT:
        if (*(unsigned *)argument & 0x80) d.halted_in = 0;
        else d.halted_out = 0;
        return 0;
    case USBDEVFS_CONTROL: return control(argument);
    case USBDEVFS_SUBMITURB: return submit(argument);
    case USBDEVFS_DISCARDURB: return discard(argument);
    case USBDEVFS_REAPURBNDELAY: return reap(argument);
    default: return fail(ENOTTY);
    }
}

int ioctl(int fd, unsigned long request, ...) {
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    if (fd != d.fd || fd < 0) return (int)syscall(SYS_ioctl, fd, request, argument);
    int rc = handle(request, argument), error = errno;
    show();
    errno = error;
    return rc;
}

ssize_t read(int fd, void *to, size_t n) {
    if (fd != d.fd || fd < 0) return syscall(SYS_read, fd, to, n);
    n = d.descriptor_bytes - d.at < n ? d.descriptor_bytes - d.at : n;
    memcpy(to, d.descriptors + d.at, n);
    d.at += n;
    return (ssize_t)n;
}

off_t lseek(int fd, off_t offset, int whence) {
    if (fd != d.fd || fd < 0) return syscall(SYS_lseek, fd, offset, whence);
    d.at = (size_t)offset;
    return offset;
}

off64_t lseek64(int fd, off64_t offset, int whence) { return lseek(fd, offset, whence); }

/* ---- for the tests */

int usbfs_plug(enum usbfs_kind kind, link_board *board, uint64_t seed) {
    usbfs_remove();
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) return -1;
    d.fd = fd;
    d.plugged = 1;
    d.null = d.claim_error = d.claimed = d.halted_in = d.halted_out = 0;
    d.reapable = 1;
    d.kind = kind;
    d.board = board;
    d.n = 0;
    d.latency = 0.016;
    d.wire_rate = 0;
    d.status_at = 0;
    memset(&d.faults, 0, sizeof d.faults);
    memset(&d.counts, 0, sizeof d.counts);
    hd_rng_seed(&d.rng, seed, 1);
    describe();
    show();
    return fd;
}

void usbfs_pull(void) {
    d.plugged = 0;
    show();
}

void usbfs_remove(void) {
    if (d.fd < 0) return;
    close(d.fd);
    d.fd = -1;
}

void usbfs_set_faults(const usbfs_faults *f) {
    d.faults = *f;
}

void usbfs_wire_rate(uint32_t baud) { d.wire_rate = baud; }

void usbfs_null_device(int on) {
    d.null = on;
}

usbfs_counts usbfs_look(void) {
    return d.counts;
}

void usbfs_refuse_claim(int error) {
    d.claim_error = error;
}
