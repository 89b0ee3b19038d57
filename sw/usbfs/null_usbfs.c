/* usbfs over nothing. One device, one thread. */
#define _GNU_SOURCE /* off64_t */
#include "null_usbfs.h"

#include <errno.h>
#include <linux/usbdevice_fs.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_URBS = 256, MOST_BYTES = 1 << 20 };

typedef struct ring {
    struct usbdevfs_urb *urb[MOST_URBS];
    unsigned first, n;
} ring;

static struct {
    int fd;
    enum null_usbfs_mode mode;
    ring finished, waiting; /* to be reaped; IN transfers without bytes */
    uint64_t out, in;
    size_t echo, at;
    uint8_t bytes[MOST_BYTES];
} d = {.fd = -1};

static const uint8_t descriptors[] = {
    18, 1, 0, 2, 0, 0, 0, 64, 0x09, 0x12, 0x01, 0x00, 0, 1, 0, 0, 0, 1,              /* device */
    9, 2, 32, 0, 1, 1, 0, 0x80, 50, 9, 4, 0, 0, 2, 255, 255, 255, 0,                 /* configuration, interface */
    7, 5, 0x01, 2, 0, 2, 0, 7, 5, 0x81, 2, 0, 2, 0};                                 /* endpoints, 512 bytes */

static void append(ring *r, struct usbdevfs_urb *urb) { r->urb[(r->first + r->n++) % MOST_URBS] = urb; }

static struct usbdevfs_urb *take(ring *r) {
    struct usbdevfs_urb *urb = r->urb[r->first];
    r->first = (r->first + 1) % MOST_URBS;
    r->n--;
    return urb;
}

static void finish(struct usbdevfs_urb *urb, int status, int n) {
    urb->status = status;
    urb->actual_length = n;
    append(&d.finished, urb);
}

static void fill(struct usbdevfs_urb *urb, size_t n) {
    memcpy(urb->buffer, d.bytes, n);
    d.in += n;
    finish(urb, 0, (int)n);
}

static int submit(struct usbdevfs_urb *urb) {
    size_t n = (size_t)urb->buffer_length;
    if (d.finished.n + d.waiting.n == MOST_URBS || n > MOST_BYTES) return errno = EINVAL, -1;
    if (urb->type == USBDEVFS_URB_TYPE_CONTROL) {
        finish(urb, -EPIPE, 0);
    } else if (!(urb->endpoint & 0x80)) {
        memcpy(d.bytes, urb->buffer, n);
        d.out += n;
        finish(urb, 0, (int)n);
        d.echo = n;
        if (d.mode == NULL_USBFS_ECHO && d.waiting.n) {
            fill(take(&d.waiting), n);
            d.echo = 0;
        }
    } else if (d.mode == NULL_USBFS_STREAM) {
        fill(urb, n);
    } else if (d.echo) {
        fill(urb, d.echo < n ? d.echo : n);
        d.echo = 0;
    } else {
        append(&d.waiting, urb);
    }
    return 0;
}

static int reap(struct usbdevfs_urb **urb) {
    if (!d.finished.n) return errno = EAGAIN, -1;
    *urb = take(&d.finished);
    return 0;
}

static int discard(const struct usbdevfs_urb *urb) {
    for (unsigned i = 0; i < d.waiting.n; i++) {
        struct usbdevfs_urb *u = take(&d.waiting);
        if (u == urb) return finish(u, -ENOENT, 0), 0;
        append(&d.waiting, u);
    }
    return errno = EINVAL, -1;
}

static int handle(unsigned long request, void *argument) {
    switch (request) {
    case USBDEVFS_GET_CAPABILITIES: return *(uint32_t *)argument = USBDEVFS_CAP_ZERO_PACKET | USBDEVFS_CAP_NO_PACKET_SIZE_LIM | USBDEVFS_CAP_REAP_AFTER_DISCONNECT, 0;
    case USBDEVFS_CONNECTINFO: return *(struct usbdevfs_connectinfo *)argument = (struct usbdevfs_connectinfo){.devnum = 2}, 0;
    case USBDEVFS_GET_SPEED: return 3;
    case USBDEVFS_CLAIMINTERFACE: case USBDEVFS_RELEASEINTERFACE: case USBDEVFS_CLEAR_HALT: return 0;
    case USBDEVFS_SUBMITURB: return submit(argument);
    case USBDEVFS_REAPURBNDELAY: return reap(argument);
    case USBDEVFS_DISCARDURB: return discard(argument);
    case USBDEVFS_GETDRIVER: case USBDEVFS_IOCTL: return errno = ENODATA, -1;
    default: return errno = ENOTTY, -1;
    }
}

int ioctl(int fd, unsigned long request, ...) {
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    if (fd != d.fd || fd < 0) return (int)syscall(SYS_ioctl, fd, request, argument);
    return handle(request, argument);
}

/* The kernel is asked about all other descriptors, as it would be; only waits when there is nothing to reap. */
/* Not inline: of poll itself gcc believes that it writes only. */
__attribute__((noinline)) static int look(struct pollfd *fds, nfds_t n, int timeout_ms) {
    struct pollfd *ours = NULL;
    for (nfds_t i = 0; i < n; i++)
        if (d.fd >= 0 && fds[i].fd == d.fd) ours = &fds[i];
    if (!ours || !d.finished.n) return (int)syscall(SYS_poll, fds, n, timeout_ms);
    int rc = (int)syscall(SYS_poll, fds, n, 0);
    if (rc < 0) return rc;
    rc += !ours->revents;
    ours->revents = POLLOUT;
    return rc;
}

int poll(struct pollfd *fds, nfds_t n, int timeout_ms) { return look(fds, n, timeout_ms); }

ssize_t read(int fd, void *to, size_t n) {
    if (fd != d.fd || fd < 0) return syscall(SYS_read, fd, to, n);
    size_t left = sizeof descriptors - d.at;
    if (n > left) n = left;
    memcpy(to, descriptors + d.at, n);
    d.at += n;
    return (ssize_t)n;
}

off_t lseek(int fd, off_t offset, int whence) {
    if (fd != d.fd || fd < 0) return syscall(SYS_lseek, fd, offset, whence);
    d.at = (size_t)offset;
    return offset;
}

off64_t lseek64(int fd, off64_t offset, int whence) { return lseek(fd, offset, whence); }

int null_usbfs_plug(enum null_usbfs_mode mode) {
    null_usbfs_remove();
    uint64_t full = UINT64_MAX - 1; /* then it is never writable by itself, which means "to be reaped" */
    d.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (d.fd >= 0 && write(d.fd, &full, sizeof full) < 0) null_usbfs_remove();
    d.mode = mode;
    d.finished.n = d.waiting.n = 0;
    d.out = d.in = 0;
    d.echo = d.at = 0;
    return d.fd;
}

uint64_t null_usbfs_out(void) { return d.out; }
uint64_t null_usbfs_in(void) { return d.in; }

void null_usbfs_remove(void) {
    if (d.fd >= 0) close(d.fd);
    d.fd = -1;
}
