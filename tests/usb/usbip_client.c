/* The USB/IP client of usbip_client.h. */
#include "usbip_client.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "../../sw/core/progress.h"

#define must(c) ((c) ? (void)0 : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #c), abort()))

static uint32_t number;

uint32_t next_number(void) { return ++number; }

uint32_t be32(const uint8_t *b) { return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]; }
void set32(uint8_t *b, uint32_t v) {
    for (int i = 0; i < 4; i++) b[i] = (uint8_t)(v >> (24 - 8 * i));
}

int call_server(unsigned port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval limit = {5, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

void say(int fd, const void *bytes, size_t n) { must(send(fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n); }

int hear(int fd, void *bytes, size_t n) {
    size_t have = 0;
    while (have < n) {
        ssize_t got = read(fd, (uint8_t *)bytes + have, n - have);
        if (got <= 0) return 0;
        have += (size_t)got;
    }
    return 1;
}

int import_device(unsigned port) {
    static const uint8_t request[40] = {0x01, 0x11, 0x80, 0x03, 0, 0, 0, 0, '1', '-', '1'};
    uint8_t reply[320];
    int fd = call_server(port);
    say(fd, request, sizeof request);
    must(hear(fd, reply, sizeof reply));
    must(be32(reply + 4) == 0);
    must(!strcmp((char *)reply + 8 + 256, "1-1"));
    return fd;
}

uint32_t submit(int fd, unsigned endpoint, int in, const uint8_t *setup, const void *bytes, uint32_t n) {
    uint8_t h[48] = {0};
    set32(h, 1);
    set32(h + 4, ++number);
    set32(h + 8, 1 << 16 | 2);
    set32(h + 12, (uint32_t)in);
    set32(h + 16, endpoint);
    set32(h + 24, n);
    if (setup) memcpy(h + 40, setup, 8);
    say(fd, h, sizeof h);
    if (!in) say(fd, bytes, n);
    return number;
}

/* The next reply's header; its IN bytes follow. */
static int reply_header(int fd, uint8_t h[48]) { return hear(fd, h, 48); }

/* A control transfer: status, and the bytes. */
int control(int fd, uint8_t type, uint8_t request, uint16_t value, uint16_t index, uint16_t length, void *bytes, uint32_t *actual) {
    const uint8_t setup[8] = {type, request, (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)index, (uint8_t)(index >> 8), (uint8_t)length, (uint8_t)(length >> 8)};
    uint8_t h[48];
    uint32_t n = submit(fd, 0, type >> 7, setup, bytes, length);
    must(reply_header(fd, h));
    must(be32(h) == 3);
    must(be32(h + 4) == n);
    uint32_t got = be32(h + 24);
    if (type & 0x80) must(hear(fd, bytes, got));
    if (actual) *actual = got;
    return (int)be32(h + 20);
}

/* ---- a pipe: bulk transfers to a bridge's port or to a device of the board's own, one IN transfer always under way */
typedef struct client_pipe {
    hd_pipe pipe;
    unsigned rate;
    int fd, out_endpoint, in_endpoint;
    size_t packet, head, n; /* head: status bytes of a packet */
    uint32_t in_number;
    uint8_t bytes[1 << 16];
} client_pipe;

static hd_status pipe_put(hd_pipe *p, const void *bytes, size_t n, hd_err *err) {
    (void)err;
    client_pipe *c = (client_pipe *)p;
    submit(c->fd, (unsigned)c->out_endpoint, 0, NULL, bytes, (uint32_t)n);
    return HD_OK;
}
static hd_status pipe_flush(hd_pipe *p, hd_err *err) {
    (void)p, (void)err;
    return HD_OK;
}
static hd_status pipe_get(hd_pipe *p, void *bytes, size_t size, size_t *got, unsigned ms, hd_err *err) {
    client_pipe *c = (client_pipe *)p;
    double until = hd_seconds() + 1e-3 * ms;
    *got = 0;
    while (!c->n && hd_seconds() < until) {
        uint8_t h[48], data[4096];
        if (!c->in_number) c->in_number = submit(c->fd, (unsigned)c->in_endpoint, 1, NULL, NULL, sizeof data);
        /* A device of its own says nothing while it has nothing; a bridge sends its status. */
        struct pollfd ready = {.fd = c->fd, .events = POLLIN};
        double left = until - hd_seconds();
        if (poll(&ready, 1, left > 0 ? 1 + (int)(1000 * left) : 0) == 0) break;
        if (!reply_header(c->fd, h)) return hd_fail(err, HD_DEVICE, "the server is silent");
        if (be32(h + 4) != c->in_number) continue; /* an OUT transfer is done */
        uint32_t n = be32(h + 24);
        must(n <= sizeof data && hear(c->fd, data, n));
        c->in_number = 0;
        for (size_t at = 0; at < n; at += c->packet) {
            size_t part = n - at < c->packet ? n - at : c->packet;
            must(part >= c->head);
            memcpy(c->bytes + c->n, data + at + c->head, part - c->head);
            c->n += part - c->head;
        }
    }
    *got = c->n < size ? c->n : size;
    memcpy(bytes, c->bytes, *got);
    c->n -= *got;
    memmove(c->bytes, c->bytes + *got, c->n);
    return HD_OK;
}
static hd_status pipe_purge(hd_pipe *p, hd_err *err) {
    (void)err;
    ((client_pipe *)p)->n = 0;
    return HD_OK;
}
static void pipe_close(hd_pipe *p) {
    close(((client_pipe *)p)->fd);
    free(p);
}

/* FT2232H: 12 Mbit/s, code 0, and 4 Mbit/s, divisor 3, in turn: what the boards have. */
static hd_status pipe_next_rate(hd_pipe *p, hd_err *err) {
    (void)err;
    client_pipe *c = (client_pipe *)p;
    must(!control(c->fd, 0x40, 3, c->rate++ % 2 ? 3 : 0, 0x0202, 0, NULL, NULL));
    return HD_OK;
}

hd_pipe *client_pipe_open(unsigned port, enum client_kind kind) {
    client_pipe *c = calloc(1, sizeof *c);
    must(c);
    int h = kind == CLIENT_FT2232H, native = kind == CLIENT_NATIVE;
    c->pipe = (hd_pipe){pipe_put, pipe_flush, pipe_get, pipe_purge, pipe_close, NULL, "usbip", native, h ? 1.2e6 : 3e5, 4, 2000, 0, h ? pipe_next_rate : NULL, h ? 2 : 0};
    c->fd = import_device(port);
    c->out_endpoint = native ? 1 : h ? 4 : 2;
    c->in_endpoint = h ? 3 : 1;
    c->packet = h ? 512 : 64;
    c->head = native ? 0 : 2;
    if (native) {
        must(!control(c->fd, 0x00, 9, 1, 0, 0, NULL, NULL)); /* SET_CONFIGURATION */
        return &c->pipe;
    }
    must(!control(c->fd, 0x40, 9, 1, h ? 2 : 0, 0, NULL, NULL));
    if (h) must(!pipe_next_rate(&c->pipe, NULL));
    else must(!control(c->fd, 0x40, 3, 0, 0, 0, NULL, NULL));
    return &c->pipe;
}
