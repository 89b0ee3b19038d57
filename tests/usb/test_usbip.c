/* drivers/usbip.c and the virtual bridges behind it, by a client written from the protocol's description: listing, import, requests, transfers, unlink, a client
 * that vanishes or talks nonsense; and the link over all of it. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../drivers/link.h"
#include "../../drivers/usbip.h"
#include "../../sw/core/progress.h"
#include "../../sw/core/rng.h"
#include "../support/link_board.h"
#include "usbip_client.h"

/* ---- the board */

static link_board board;

static hd_status board_step(hd_vboard *b, const uint8_t *bytes, size_t n, uint8_t *out, size_t size, size_t *got, hd_err *err) {
    (void)b, (void)err;
    for (size_t i = 0; i < n; i++) link_board_byte(&board, bytes[i], hd_seconds());
    link_board_time(&board, hd_seconds());
    *got = board.out_n < size ? board.out_n : size;
    if (!*got) return HD_OK; /* nothing was ever sent, perhaps: no buffer */
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

static hd_vboard virtual = {board_step, board_busy, board_close, 12000000, NULL};
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
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    pthread_join(thread, &failed);
    hd_usbip_close(server);
    link_board_free(&board);
    return failed != NULL;
}

static void test_list_and_import(void **state) {
    (void)state;
    static const uint8_t list[8] = {0x01, 0x11, 0x80, 0x05}, other[40] = {0x01, 0x11, 0x80, 0x03, 0, 0, 0, 0, '2', '-', '1'};
    uint8_t reply[12 + 312 + 8], d[256];
    uint32_t n;
    start(1);
    int fd = call_server(hd_usbip_port(server));
    say(fd, list, sizeof list);
    assert_true(hear(fd, reply, sizeof reply));
    assert_int_equal(be32(reply + 8), 1);
    assert_string_equal((char *)reply + 12 + 256, "1-1");
    assert_int_equal(be32(reply + 12 + 300), 0x04036010);
    assert_int_equal(reply[12 + 311], 2);
    assert_int_equal(reply[12 + 312], 255);
    close(fd);
    fd = call_server(hd_usbip_port(server));
    say(fd, other, sizeof other);
    assert_true(hear(fd, reply, 8));
    assert_int_equal(be32(reply + 4), 1);
    close(fd);
    fd = import_device(hd_usbip_port(server));
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

static void test_link(void **state) {
    (void)state;
    static uint32_t words[6000], back[6000];
    for (int h = 1; h >= 0; h--) {
        if (!h) finish(NULL);
        start(h);
        hd_link *link;
        hd_err err = {0};
        hd_rng r;
        uint32_t cycles;
        hd_rng_seed(&r, 3, 3);
        assert_int_equal(hd_link_open(&link, client_pipe_open(hd_usbip_port(server), h ? CLIENT_FT2232H : CLIENT_FT231X), &err), HD_OK);
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
    }
}

static void test_unlink(void **state) {
    (void)state;
    start(1);
    int fd = import_device(hd_usbip_port(server));
    uint8_t h[48], u[48] = {0};
    uint32_t number = 0;
    /* With a latency of 255 ms an IN transfer waits long enough to be taken back. */
    assert_int_equal(control(fd, 0x40, 9, 255, 2, 0, NULL, NULL), 0);
    uint32_t first = submit(fd, 3, 1, NULL, NULL, 512);
    assert_true(hear(fd, h, 48)); /* the status that is due at once */
    uint8_t status[512];
    assert_int_equal(be32(h + 4), first);
    assert_true(hear(fd, status, be32(h + 24)));
    uint32_t waiting = submit(fd, 3, 1, NULL, NULL, 512);
    set32(u, 2);
    set32(u + 4, number = next_number());
    set32(u + 20, waiting);
    say(fd, u, sizeof u);
    assert_true(hear(fd, h, 48));
    assert_int_equal(be32(h), 4);
    assert_int_equal(be32(h + 4), number);
    assert_int_equal((int)be32(h + 20), -104);
    /* Unknown or finished: nothing to take back. */
    set32(u + 4, number = next_number());
    say(fd, u, sizeof u);
    assert_true(hear(fd, h, 48));
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
        int fd = i % 2 ? import_device(hd_usbip_port(server)) : call_server(hd_usbip_port(server));
        size_t size = 1 + hd_rng_below(&r, sizeof junk);
        for (size_t k = 0; k < size; k++) junk[k] = (uint8_t)hd_rng_u32(&r);
        if (i % 3 == 0) set32(junk, 1 + (uint32_t)(i % 4)); /* a command that exists, with random fields */
        if (i % 5 == 0) set32(junk, 0x01118003u + (uint32_t)(i & 2));
        say(fd, junk, size);
        if (i % 7 == 0) submit(fd, 1, 1, NULL, NULL, 64);
        close(fd);
        if (i % 10) continue;
        fd = import_device(hd_usbip_port(server));
        assert_int_equal(control(fd, 0x80, 6, 0x100, 0, 18, d, &n), 0);
        assert_int_equal(n, 18);
        close(fd);
    }
}

/* A client that asks and does not read loses its connection before its answers fill the memory. */
static void test_deaf_client(void **state) {
    (void)state;
    enum { LIST = 8, ANSWER = 12 + 312 + 4, MOST = 1 << 28 };
    uint8_t lists[4096];
    size_t asked = 0;
    ssize_t n;
    start(0);
    int fd = call_server(hd_usbip_port(server));
    for (size_t k = 0; k < sizeof lists; k++) lists[k] = (const uint8_t[LIST]){1, 0x11, 0x80, 5}[k % LIST];
    while ((n = send(fd, lists, sizeof lists, MSG_NOSIGNAL)) > 0) {
        asked += (size_t)n / LIST * ANSWER;
        assert_true(asked < MOST);
    }
    close(fd);
    close(import_device(hd_usbip_port(server)));
}

/* So does one whose transfers take more memory than a server keeps for it. */
static void test_greedy_client(void **state) {
    (void)state;
    uint8_t asked[(HD_VUSB_MOST_WAITING >> 20) + 1][48] = {{0}}, h[48], status[512];
    start(1);
    int fd = import_device(hd_usbip_port(server));
    assert_int_equal(control(fd, 0x40, 9, 255, 2, 0, NULL, NULL), 0); /* they wait for 255 ms */
    submit(fd, 3, 1, NULL, NULL, sizeof status);
    assert_true(hear(fd, h, sizeof h)); /* the status that is due at once */
    assert_true(hear(fd, status, be32(h + 24)));
    for (size_t k = 0; k < sizeof asked / sizeof *asked; k++) {
        set32(asked[k], 1);
        set32(asked[k] + 4, next_number());
        set32(asked[k] + 8, 1 << 16 | 2);
        set32(asked[k] + 12, 1);
        set32(asked[k] + 16, 3);
        set32(asked[k] + 24, 1 << 20);
    }
    say(fd, asked, sizeof asked);
    assert_false(hear(fd, h, sizeof h));
    close(fd);
    close(import_device(hd_usbip_port(server)));
}

static void test_refusals(void **state) {
    (void)state;
    hd_err err = {0};
    hd_vusb *device;
    hd_usbip *second;
    start(1);
    assert_int_equal(hd_vusb_ftdi(&device, &virtual, 1, "x", "y", &err), HD_OK);
    assert_int_equal(hd_usbip_listen(&second, device, NULL, hd_usbip_port(server), &err), HD_IO);
    char want[160];
    snprintf(want, sizeof want, "serve: cannot listen on 127.0.0.1 port %u: Address already in use; --address and --port name others (port 0: any that is free)", hd_usbip_port(server));
    assert_string_equal(err.message, want);
    assert_int_equal(hd_vusb_ftdi(&device, &virtual, 1, "x", "y", &err), HD_OK);
    assert_int_equal(hd_usbip_listen(&second, device, "elsewhere", 0, &err), HD_USAGE);
    assert_string_equal(err.message, "serve: address elsewhere, port 0; an IPv4 address and a port up to 65535 are needed");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_list_and_import, finish), cmocka_unit_test_teardown(test_link, finish),
                                       cmocka_unit_test_teardown(test_unlink, finish), cmocka_unit_test_teardown(test_bad_clients, finish), cmocka_unit_test_teardown(test_deaf_client, finish),
                                       cmocka_unit_test_teardown(test_greedy_client, finish),
                                       cmocka_unit_test_teardown(test_refusals, finish)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
