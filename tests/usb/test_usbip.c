/* drivers/usbip.c and the virtual bridges behind it, by a client written from the protocol's description: listing, import, requests, transfers, unlink, a client
 * that vanishes or talks nonsense; and the link over all of it. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../drivers/link.h"
#include "../../drivers/usbip.h"
#include "../../sw/core/progress.h"
#include "../../sw/core/rng.h"
#include "../support/link_board.h"

/* ---- the board */

static link_board board;

static hd_status board_step(hd_vboard *b, const uint8_t *bytes, size_t n, uint8_t *out, size_t size, size_t *got, hd_err *err) {
    (void)b, (void)err;
    for (size_t i = 0; i < n; i++) link_board_byte(&board, bytes[i], hd_seconds());
    link_board_time(&board, hd_seconds());
    *got = board.out_n < size ? board.out_n : size;
    memcpy(out, board.out, *got);
    board.out_n -= *got;
    memmove(board.out, board.out + *got, board.out_n);
    return HD_OK;
}
static int board_busy(hd_vboard *b) {
    (void)b;
    return board.out_n != 0 || board.running;
}
static void board_close(hd_vboard *b) { (void)b; }

static hd_vboard virtual = {board_step, board_busy, board_close, 12000000};
static hd_usbip *server;
static pthread_t thread;
static volatile int stop;

static void *serve(void *unused) {
    (void)unused;
    hd_err err = {0};
    return hd_usbip_serve(server, &stop, &err) ? (void *)1 : NULL;
}

static void start(int h) {
    hd_vusb *device;
    hd_err err = {0};
    link_board_reset(&board);
    virtual.bit_rate = h ? 12000000 : 3000000;
    assert_int_equal(hd_vusb_ftdi(&device, &virtual, h, "iCEBreaker", "T35T", &err), HD_OK);
    assert_int_equal(hd_usbip_listen(&server, device, NULL, 0, &err), HD_OK);
    stop = 0;
    assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
}

static int finish(void **state) {
    (void)state;
    void *failed;
    stop = 1;
    pthread_join(thread, &failed);
    hd_usbip_close(server);
    link_board_free(&board);
    return failed != NULL;
}

/* ---- the client */

static uint32_t number;

static uint32_t be32(const uint8_t *b) { return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]; }
static void set32(uint8_t *b, uint32_t v) {
    for (int i = 0; i < 4; i++) b[i] = (uint8_t)(v >> (24 - 8 * i));
}

static int call(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)hd_usbip_port(server)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval limit = {5, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

static void say(int fd, const void *bytes, size_t n) { assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n); }

static int hear(int fd, void *bytes, size_t n) {
    size_t have = 0;
    while (have < n) {
        ssize_t got = read(fd, (uint8_t *)bytes + have, n - have);
        if (got <= 0) return 0;
        have += (size_t)got;
    }
    return 1;
}

static int import(void) {
    static const uint8_t request[40] = {0x01, 0x11, 0x80, 0x03, 0, 0, 0, 0, '1', '-', '1'};
    uint8_t reply[320];
    int fd = call();
    say(fd, request, sizeof request);
    assert_true(hear(fd, reply, sizeof reply));
    assert_int_equal(be32(reply + 4), 0);
    assert_string_equal((char *)reply + 8 + 256, "1-1");
    return fd;
}

static uint32_t submit(int fd, unsigned endpoint, int in, const uint8_t *setup, const void *bytes, uint32_t n) {
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
static int control(int fd, uint8_t type, uint8_t request, uint16_t value, uint16_t index, uint16_t length, void *bytes, uint32_t *actual) {
    const uint8_t setup[8] = {type, request, (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)index, (uint8_t)(index >> 8), (uint8_t)length, (uint8_t)(length >> 8)};
    uint8_t h[48];
    uint32_t n = submit(fd, 0, type >> 7, setup, bytes, length);
    assert_true(reply_header(fd, h));
    assert_int_equal(be32(h), 3);
    assert_int_equal(be32(h + 4), n);
    uint32_t got = be32(h + 24);
    if (type & 0x80) assert_true(hear(fd, bytes, got));
    if (actual) *actual = got;
    return (int)be32(h + 20);
}

static void test_list_and_import(void **state) {
    (void)state;
    static const uint8_t list[8] = {0x01, 0x11, 0x80, 0x05}, other[40] = {0x01, 0x11, 0x80, 0x03, 0, 0, 0, 0, '2', '-', '1'};
    uint8_t reply[12 + 312 + 8], d[256];
    uint32_t n;
    start(1);
    int fd = call();
    say(fd, list, sizeof list);
    assert_true(hear(fd, reply, sizeof reply));
    assert_int_equal(be32(reply + 8), 1);
    assert_string_equal((char *)reply + 12 + 256, "1-1");
    assert_int_equal(be32(reply + 12 + 300), 0x04036010);
    assert_int_equal(reply[12 + 311], 2);
    assert_int_equal(reply[12 + 312], 255);
    close(fd);
    fd = call();
    say(fd, other, sizeof other);
    assert_true(hear(fd, reply, 8));
    assert_int_equal(be32(reply + 4), 1);
    close(fd);
    fd = import();
    assert_int_equal(control(fd, 0x80, 6, 0x100, 0, 18, d, &n), 0);
    assert_int_equal(n, 18);
    assert_int_equal(d[8] | d[9] << 8, 0x0403);
    assert_int_equal(control(fd, 0x80, 6, 0x200, 0, 9, d, &n), 0);
    assert_int_equal(n, 9);
    assert_int_equal(control(fd, 0x80, 6, 0x200, 0, 255, d, &n), 0);
    assert_int_equal(n, d[2]);
    assert_int_equal(control(fd, 0x80, 6, 0x303, 0x409, 255, d, &n), 0);
    assert_int_equal(n, 2 + 2 * strlen("T35T"));
    assert_int_equal(control(fd, 0x80, 6, 0x600, 0, 10, d, &n), -32);
    close(fd);
}

/* A pipe over the client: bulk transfers to port B, one IN transfer always under way. */
typedef struct client_pipe {
    hd_pipe pipe;
    int fd, out_endpoint, in_endpoint;
    size_t packet, n;
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
        if (!reply_header(c->fd, h)) return hd_fail(err, HD_DEVICE, "the server is silent");
        if (be32(h + 4) != c->in_number) continue; /* an OUT transfer is done */
        uint32_t n = be32(h + 24);
        assert_true(n <= sizeof data && hear(c->fd, data, n));
        c->in_number = 0;
        for (size_t at = 0; at < n; at += c->packet) {
            size_t part = n - at < c->packet ? n - at : c->packet;
            assert_true(part >= 2);
            memcpy(c->bytes + c->n, data + at + 2, part - 2);
            c->n += part - 2;
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
static void pipe_close(hd_pipe *p) { close(((client_pipe *)p)->fd); }

static void test_link(void **state) {
    (void)state;
    static uint32_t words[6000], back[6000];
    for (int h = 1; h >= 0; h--) {
        if (!h) finish(NULL);
        start(h);
        client_pipe *c = calloc(1, sizeof *c);
        hd_link *link;
        hd_err err = {0};
        hd_rng r;
        uint32_t cycles;
        hd_rng_seed(&r, 3, 3);
        c->pipe = (hd_pipe){pipe_put, pipe_flush, pipe_get, pipe_purge, pipe_close, NULL, "usbip", 0, h ? 1.2e6 : 3e5, 4, 2000, 0};
        c->fd = import();
        c->out_endpoint = h ? 4 : 2;
        c->in_endpoint = h ? 3 : 1;
        c->packet = h ? 512 : 64;
        assert_int_equal(control(c->fd, 0x40, 9, 1, h ? 2 : 0, 0, NULL, NULL), 0);
        /* At the reset rate nobody understands a word; at the board's everything works. */
        if (h) assert_int_equal(control(c->fd, 0x40, 3, 0, 0x0202, 0, NULL, NULL), 0);
        else assert_int_equal(control(c->fd, 0x40, 3, 0, 0, 0, NULL, NULL), 0);
        assert_int_equal(hd_link_open(&link, &c->pipe, &err), HD_OK);
        for (int i = 0; i < 20; i++) {
            size_t n = 1 + hd_rng_below(&r, 6000);
            for (size_t k = 0; k < n; k++) words[k] = hd_rng_u32(&r);
            assert_int_equal(hd_link_write(link, HD_SPACE_ACT, 7, words, n, &err), HD_OK);
            assert_int_equal(hd_link_run(link, 5000, &cycles, &err), HD_OK);
            assert_int_equal(cycles, board.cycles);
            assert_int_equal(hd_link_read(link, HD_SPACE_ACT, 7, back, n, &err), HD_OK);
            assert_memory_equal(words, back, 4 * n);
        }
        assert_int_equal(board.runs, 20);
        hd_link_close(link);
        free(c);
    }
}

static void test_unlink(void **state) {
    (void)state;
    start(1);
    int fd = import();
    uint8_t h[48], u[48] = {0};
    /* With a latency of 255 ms an IN transfer waits long enough to be taken back. */
    assert_int_equal(control(fd, 0x40, 9, 255, 2, 0, NULL, NULL), 0);
    uint32_t first = submit(fd, 3, 1, NULL, NULL, 512);
    assert_true(reply_header(fd, h)); /* the status that is due at once */
    uint8_t status[512];
    assert_int_equal(be32(h + 4), first);
    assert_true(hear(fd, status, be32(h + 24)));
    uint32_t waiting = submit(fd, 3, 1, NULL, NULL, 512);
    set32(u, 2);
    set32(u + 4, ++number);
    set32(u + 20, waiting);
    say(fd, u, sizeof u);
    assert_true(reply_header(fd, h));
    assert_int_equal(be32(h), 4);
    assert_int_equal(be32(h + 4), number);
    assert_int_equal((int)be32(h + 20), -104);
    /* Unknown or finished: nothing to take back. */
    set32(u + 4, ++number);
    say(fd, u, sizeof u);
    assert_true(reply_header(fd, h));
    assert_int_equal(be32(h + 20), 0);
    close(fd);
}

/* Clients that talk nonsense or vanish lose their connection; the next one finds a working device. */
static void test_bad_clients(void **state) {
    (void)state;
    hd_rng r;
    hd_rng_seed(&r, 8, 8);
    start(0);
    for (int i = 0; i < 60; i++) {
        uint8_t junk[200], d[18];
        uint32_t n;
        int fd = i % 2 ? import() : call();
        size_t size = 1 + hd_rng_below(&r, sizeof junk);
        for (size_t k = 0; k < size; k++) junk[k] = (uint8_t)hd_rng_u32(&r);
        if (i % 3 == 0) set32(junk, 1 + (uint32_t)(i % 4)); /* a command that exists, with random fields */
        if (i % 5 == 0) set32(junk, 0x01118003u + (uint32_t)(i & 2));
        say(fd, junk, size);
        if (i % 7 == 0) submit(fd, 1, 1, NULL, NULL, 64);
        close(fd);
        if (i % 10) continue;
        fd = import();
        assert_int_equal(control(fd, 0x80, 6, 0x100, 0, 18, d, &n), 0);
        assert_int_equal(n, 18);
        close(fd);
    }
}

static void test_refusals(void **state) {
    (void)state;
    hd_err err = {0};
    hd_vusb *device;
    hd_usbip *second;
    start(1);
    assert_int_equal(hd_vusb_ftdi(&device, &virtual, 1, "x", "y", &err), HD_OK);
    assert_int_equal(hd_usbip_listen(&second, device, NULL, hd_usbip_port(server), &err), HD_IO);
    assert_non_null(strstr(err.message, "cannot listen"));
    assert_int_equal(hd_vusb_ftdi(&device, &virtual, 1, "x", "y", &err), HD_OK);
    assert_int_equal(hd_usbip_listen(&second, device, "elsewhere", 0, &err), HD_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_list_and_import, finish), cmocka_unit_test_teardown(test_link, finish),
                                       cmocka_unit_test_teardown(test_unlink, finish), cmocka_unit_test_teardown(test_bad_clients, finish),
                                       cmocka_unit_test_teardown(test_refusals, finish)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
