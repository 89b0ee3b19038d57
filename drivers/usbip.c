/* The USB/IP protocol, version 1.1.1, as the Linux kernel's documentation (usb/usbip_protocol) defines it; numbers are big-endian. */
#include "usbip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    VERSION = 0x0111, REQ_IMPORT = 0x8003, REP_IMPORT = 0x0003, REQ_LIST = 0x8005, REP_LIST = 0x0005,
    SUBMIT = 1, UNLINK = 2, RET_SUBMIT = 3, RET_UNLINK = 4,
    OP_HEADER = 8, BUS_ID = 32, DEVICE_BYTES = 312, HEADER = 48, BUS = 1, DEVICE = 2,
    MOST_BYTES = 1 << 20 /* of a transfer */
};

typedef struct request {
    hd_vusb_transfer transfer;
    uint32_t number;
    struct request *next;
} request;

struct hd_usbip {
    hd_vusb *device;
    int listener, client, attached;
    unsigned port;
    uint8_t *in, *out;
    size_t in_n, in_size, out_first, out_n, out_size;
    request *under_way;
    size_t transfers, transfer_bytes; /* under way */
};

static uint32_t get32(const uint8_t *b) { return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]; }

static void put32(uint8_t *b, uint32_t v) {
    for (int i = 0; i < 4; i++) b[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void put16(uint8_t *b, uint32_t v) {
    b[0] = (uint8_t)(v >> 8);
    b[1] = (uint8_t)v;
}

/* n bytes at the end of what goes to the client; NULL without memory, or when the client asks and does not read. */
static uint8_t *reserve(hd_usbip *s, size_t n) {
    if (s->out_first == s->out_n) s->out_first = s->out_n = 0;
    if (s->out_n - s->out_first + n > HD_VUSB_MOST_WAITING) return NULL;
    if (s->out_n + n > s->out_size && s->out_first) {
        memmove(s->out, s->out + s->out_first, s->out_n - s->out_first);
        s->out_n -= s->out_first;
        s->out_first = 0;
    }
    if (s->out_n + n > s->out_size) {
        size_t size = 2 * (s->out_n + n);
        uint8_t *more = realloc(s->out, size);
        if (!more) return NULL;
        s->out = more;
        s->out_size = size;
    }
    uint8_t *at = s->out + s->out_n;
    memset(at, 0, n);
    s->out_n += n;
    return at;
}

/* ---- before a device is attached */

static void describe(const hd_usbip *s, uint8_t *b) {
    const uint8_t *d = s->device->device, *c = s->device->config;
    snprintf((char *)b, 256, "/sys/devices/platform/heddle/usb1/1-1");
    snprintf((char *)b + 256, BUS_ID, "1-1");
    put32(b + 288, BUS);
    put32(b + 292, DEVICE);
    put32(b + 296, s->device->high_speed ? 3 : 2);
    put16(b + 300, (uint32_t)(d[8] | d[9] << 8));
    put16(b + 302, (uint32_t)(d[10] | d[11] << 8));
    put16(b + 304, (uint32_t)(d[12] | d[13] << 8));
    memcpy(b + 306, d + 4, 3);
    b[309] = c[5];
    b[310] = d[17];
    b[311] = c[4];
}

/* Bytes of the request used, 0 = not whole yet, -1 = nonsense. */
static long operation(hd_usbip *s, const uint8_t *b, size_t n) {
    if (n < OP_HEADER) return 0;
    unsigned code = (unsigned)b[2] << 8 | b[3];
    if (((unsigned)b[0] << 8 | b[1]) != VERSION) return -1;
    if (code == REQ_LIST) {
        unsigned interfaces = s->device->config[4];
        uint8_t *r = reserve(s, OP_HEADER + 4 + DEVICE_BYTES + 4 * interfaces);
        if (!r) return -1;
        put16(r, VERSION);
        put16(r + 2, REP_LIST);
        put32(r + 8, 1);
        describe(s, r + 12);
        const uint8_t *d = s->device->config;
        unsigned total = (unsigned)(d[2] | d[3] << 8), found = 0;
        for (unsigned at = 0; at + 9 <= total && d[at] && found < interfaces; at += d[at])
            if (d[at + 1] == 4 && !d[at + 3]) memcpy(r + 12 + DEVICE_BYTES + 4 * found++, d + at + 5, 3);
        return OP_HEADER;
    }
    if (code != REQ_IMPORT) return -1;
    if (n < OP_HEADER + BUS_ID) return 0;
    int known = !strncmp((const char *)b + OP_HEADER, "1-1", BUS_ID);
    uint8_t *r = reserve(s, (size_t)(OP_HEADER + (known ? DEVICE_BYTES : 0)));
    if (!r) return -1;
    put16(r, VERSION);
    put16(r + 2, REP_IMPORT);
    put32(r + 4, known ? 0 : 1);
    if (known) {
        describe(s, r + 8);
        s->attached = 1;
        s->device->reset(s->device);
    }
    return OP_HEADER + BUS_ID;
}

/* ---- transfers */

static int send_result(hd_usbip *s, const request *q) {
    const hd_vusb_transfer *t = &q->transfer;
    int in = t->endpoint & 0x80;
    uint8_t *r = reserve(s, HEADER + (in ? t->actual : 0));
    if (!r) return 0;
    put32(r, RET_SUBMIT);
    put32(r + 4, q->number);
    put32(r + 20, (uint32_t)t->status);
    put32(r + 24, (uint32_t)t->actual);
    put32(r + 32, 0xffffffffu); /* no isochronous packets */
    if (in) memcpy(r + HEADER, t->bytes, t->actual);
    return 1;
}

static void forget(hd_usbip *s, request *q) {
    for (request **at = &s->under_way; *at; at = &(*at)->next)
        if (*at == q) {
            *at = q->next;
            break;
        }
    s->transfers--;
    s->transfer_bytes -= q->transfer.length;
    free(q->transfer.bytes);
    free(q);
}

static long submit(hd_usbip *s, const uint8_t *b, size_t n) {
    uint32_t direction = get32(b + 12), endpoint = get32(b + 16), length = get32(b + 24);
    if (direction > 1 || endpoint > 15 || length > MOST_BYTES) return -1;
    size_t used = HEADER + (direction ? 0 : length);
    if (n < used) return 0;
    if (s->transfers == HD_VUSB_MOST_TRANSFERS || s->transfer_bytes + length > HD_VUSB_MOST_WAITING) return -1;
    request *q = calloc(1, sizeof *q);
    uint8_t *bytes = malloc(length ? length : 1);
    if (!q || !bytes) {
        free(q);
        free(bytes);
        return -1;
    }
    q->number = get32(b + 4);
    q->transfer = (hd_vusb_transfer){.endpoint = (uint8_t)(endpoint | (direction ? 0x80u : 0)), .bytes = bytes, .length = length, .owner = q};
    memcpy(q->transfer.setup, b + 40, 8);
    if (!direction) memcpy(bytes, b + HEADER, length);
    q->next = s->under_way;
    s->under_way = q;
    s->transfers++;
    s->transfer_bytes += length;
    s->device->submit(s->device, &q->transfer);
    return (long)used;
}

static long unlink_request(hd_usbip *s, const uint8_t *b) {
    uint32_t number = get32(b + 20);
    request *q = s->under_way;
    while (q && q->number != number) q = q->next;
    int taken = q && s->device->cancel(s->device, &q->transfer);
    uint8_t *r = reserve(s, HEADER);
    if (!r) return -1;
    put32(r, RET_UNLINK);
    put32(r + 4, get32(b + 4));
    put32(r + 20, taken ? (uint32_t)HD_VUSB_CANCELLED : 0);
    if (taken) forget(s, q);
    return HEADER;
}

static long command(hd_usbip *s, const uint8_t *b, size_t n) {
    if (n < HEADER) return 0;
    uint32_t code = get32(b);
    return code == SUBMIT ? submit(s, b, n) : code == UNLINK ? unlink_request(s, b) : -1;
}

/* ---- the connection */

static void hang_up(hd_usbip *s) {
    if (s->client < 0) return;
    close(s->client);
    s->client = -1;
    s->attached = 0;
    s->in_n = s->out_first = s->out_n = 0;
    while (s->under_way) {
        s->device->cancel(s->device, &s->under_way->transfer);
        for (hd_vusb_transfer *t; (t = s->device->finished(s->device));)
            if (t->owner != s->under_way) forget(s, t->owner);
        forget(s, s->under_way);
    }
    s->device->reset(s->device);
}

static int read_client(hd_usbip *s) {
    if (s->in_size - s->in_n < 65536) {
        size_t size = s->in_size + 65536 > 2 * s->in_size ? s->in_size + 65536 : 2 * s->in_size;
        uint8_t *more = realloc(s->in, size);
        if (!more) return 0;
        s->in = more;
        s->in_size = size;
    }
    ssize_t got = read(s->client, s->in + s->in_n, s->in_size - s->in_n);
    if (got <= 0) return got < 0 && (errno == EAGAIN || errno == EINTR);
    s->in_n += (size_t)got;
    size_t at = 0;
    for (long used = 1; used > 0 && at < s->in_n; at += (size_t)used) {
        used = s->attached ? command(s, s->in + at, s->in_n - at) : operation(s, s->in + at, s->in_n - at);
        if (used < 0) return 0;
    }
    s->in_n -= at;
    memmove(s->in, s->in + at, s->in_n);
    return 1;
}

static int write_client(hd_usbip *s) {
    while (s->out_first < s->out_n) {
        ssize_t n = send(s->client, s->out + s->out_first, s->out_n - s->out_first, MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN || errno == EINTR;
        s->out_first += (size_t)n;
    }
    return 1;
}

static void welcome(hd_usbip *s) {
    int one = 1;
    s->client = accept(s->listener, NULL, NULL);
    if (s->client < 0) return;
    fcntl(s->client, F_SETFL, fcntl(s->client, F_GETFL) | O_NONBLOCK);
    fcntl(s->client, F_SETFD, FD_CLOEXEC);
    setsockopt(s->client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

hd_status hd_usbip_serve(hd_usbip *s, const volatile int *stop, hd_err *err) {
    unsigned idle = 50;
    while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
        struct pollfd p[2] = {{.fd = s->client < 0 ? s->listener : s->client, .events = POLLIN}};
        if (s->out_first < s->out_n) p[0].events |= POLLOUT;
        int rc = poll(p, 1, (int)(idle < 50 ? idle : 50));
        if (rc < 0 && errno != EINTR) return hd_fail(err, HD_IO, "serve: poll: %s", strerror(errno));
        int alive = 1;
        if (rc > 0 && s->client < 0) welcome(s);
        else if (rc > 0 && p[0].revents & (POLLIN | POLLHUP | POLLERR)) alive = read_client(s);
        if (alive && s->client >= 0) {
            hd_status st = s->device->work(s->device, &idle, err);
            if (st) return st;
            for (hd_vusb_transfer *t; alive && (t = s->device->finished(s->device));) {
                alive = send_result(s, t->owner);
                forget(s, t->owner);
            }
            alive = alive && write_client(s);
        }
        if (!alive) hang_up(s);
        if (s->client < 0) idle = 50;
    }
    return HD_OK;
}

unsigned hd_usbip_port(const hd_usbip *s) { return s->port; }

/* A socket that listens; *port becomes the one that it has. */
static hd_status open_listener(int *listener, const char *address, unsigned *port, hd_err *err) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t n = sizeof a;
    int one = 1;
    if (*port > 65535 || inet_pton(AF_INET, address ? address : "127.0.0.1", &a.sin_addr) != 1)
        return hd_fail(err, HD_USAGE, "serve: address %.60s, port %u; an IPv4 address and a port up to 65535 are needed", address ? address : "127.0.0.1", *port);
    *listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*listener < 0 || setsockopt(*listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) || bind(*listener, (struct sockaddr *)&a, sizeof a) || listen(*listener, 4) ||
        getsockname(*listener, (struct sockaddr *)&a, &n))
        return hd_fail(err, HD_IO, "serve: cannot listen on %s port %u: %s; --address and --port name others (port 0: any that is free)", address ? address : "127.0.0.1", *port, strerror(errno));
    *port = ntohs(a.sin_port);
    return HD_OK;
}

hd_status hd_usbip_can_listen(const char *address, unsigned port, hd_err *err) {
    int listener = -1;
    hd_status s = open_listener(&listener, address, &port, err);
    if (listener >= 0) close(listener);
    return s;
}

hd_status hd_usbip_listen(hd_usbip **out, hd_vusb *device, const char *address, unsigned port, hd_err *err) {
    hd_usbip *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) {
        device->close(device);
        return hd_fail(err, HD_NOMEM, "serve: out of memory");
    }
    s->device = device;
    s->client = -1;
    s->listener = -1;
    hd_status st = open_listener(&s->listener, address, &port, err);
    s->port = port;
    if (st) hd_usbip_close(s);
    else *out = s;
    return st;
}

void hd_usbip_close(hd_usbip *s) {
    if (!s) return;
    hang_up(s);
    if (s->listener >= 0) close(s->listener);
    s->device->close(s->device);
    free(s->in);
    free(s->out);
    free(s);
}
