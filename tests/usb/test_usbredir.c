/* drivers/usbredir.c over a virtual bridge whose board sends back what it gets, by a client written from the protocol's structures: what the device is, requests,
 * transfers, cancelling, clients that vanish or talk nonsense, and who may listen where. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <usbredirproto.h>

#include <cmocka.h>

#include "../../drivers/usbredir.h"
#include "../../sw/core/rng.h"

/* ---- the board, the server */

static uint8_t echo[8192];
static size_t echo_n;

static hd_status board_step(hd_vboard *b, const uint8_t *bytes, size_t n, uint8_t *out, size_t size, size_t *got, hd_err *err) {
    (void)b, (void)err;
    if (n > sizeof echo - echo_n) n = sizeof echo - echo_n;
    memcpy(echo + echo_n, bytes, n);
    echo_n += n;
    *got = echo_n < size ? echo_n : size;
    memcpy(out, echo, *got);
    echo_n -= *got;
    memmove(echo, echo + *got, echo_n);
    return HD_OK;
}
static int board_busy(hd_vboard *b) {
    (void)b;
    return echo_n != 0;
}
static void board_close(hd_vboard *b) { (void)b; }

static hd_vboard board = {.step = board_step, .busy = board_busy, .close = board_close, .bit_rate = 12000000};
static char folder[] = "/tmp/test_usbredir.XXXXXX", path[64];
static hd_usbredir *server;
static pthread_t thread;
static volatile int stop;

static void *serve(void *unused) {
    (void)unused;
    hd_err err = {0};
    return hd_usbredir_serve(server, &stop, &err) ? (void *)1 : NULL;
}

static hd_vusb *new_device(void) {
    hd_vusb *device;
    hd_err err = {0};
    assert_int_equal(hd_vusb_ftdi(&device, &board, 1, "iCEBreaker", "T35T", &err), HD_OK);
    return device;
}

static int start(void **state) {
    (void)state;
    hd_err err = {0};
    echo_n = 0;
    stop = 0;
    assert_int_equal(hd_usbredir_listen(&server, new_device(), path, &err), HD_OK);
    return pthread_create(&thread, NULL, serve, NULL);
}

static int finish(void **state) {
    (void)state;
    void *failed;
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    pthread_join(thread, &failed);
    hd_usbredir_close(server);
    return failed || !access(path, F_OK);
}

/* ---- the client */

static void say(int fd, const void *bytes, size_t n) { assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), (ssize_t)n); }

/* 0 when they do not come in five seconds. */
static int hear(int fd, void *bytes, size_t n) {
    for (size_t at = 0; at < n;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t got = poll(&p, 1, 5000) > 0 ? read(fd, (uint8_t *)bytes + at, n - at) : 0;
        if (got <= 0) return 0;
        at += (size_t)got;
    }
    return 1;
}

static int call(void) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(a.sun_path, path, strlen(path) + 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void send_packet(int fd, uint32_t type, uint64_t id, const void *head, size_t head_n, const void *data, size_t n) {
    struct usb_redir_header h = {type, (uint32_t)(head_n + n), id};
    say(fd, &h, sizeof h);
    if (head_n) say(fd, head, head_n);
    if (n) say(fd, data, n);
}

/* A packet of this type, its own header and at most `size` bytes of data; returns how many. */
static size_t want_packet(int fd, uint32_t type, uint64_t id, void *head, size_t head_n, void *data, size_t size) {
    struct usb_redir_header h;
    assert_true(hear(fd, &h, sizeof h));
    assert_int_equal(h.type, type);
    assert_int_equal(h.id, id);
    assert_in_range(h.length, head_n, head_n + size);
    assert_true(hear(fd, head, head_n));
    if (h.length > head_n) assert_true(hear(fd, data, h.length - head_n));
    return h.length - head_n;
}

/* Both sides say hello, with an id of 32 bits; then the device is told. */
static int attach(struct usb_redir_interface_info_header *interfaces, struct usb_redir_ep_info_header *endpoints, struct usb_redir_device_connect_header *device) {
    struct {
        uint32_t type, length, id;
        char version[64];
        uint32_t can;
    } hello = {usb_redir_hello, 68, 0, "test", 1u << usb_redir_cap_connect_device_version | 1u << usb_redir_cap_ep_info_max_packet_size | 1u << usb_redir_cap_64bits_ids |
                                                  1u << usb_redir_cap_32bits_bulk_length}, theirs;
    int fd = call();
    say(fd, &hello, sizeof hello);
    assert_true(hear(fd, &theirs, sizeof theirs));
    assert_int_equal(theirs.type, usb_redir_hello);
    assert_int_equal(theirs.can, hello.can);
    want_packet(fd, usb_redir_interface_info, 0, interfaces, sizeof *interfaces, NULL, 0);
    /* The endpoints' streams are of USB 3, which nobody said to know. */
    want_packet(fd, usb_redir_ep_info, 0, endpoints, offsetof(struct usb_redir_ep_info_header, max_streams), NULL, 0);
    want_packet(fd, usb_redir_device_connect, 0, device, sizeof *device, NULL, 0);
    return fd;
}

static int attach_quietly(void) {
    struct usb_redir_interface_info_header i;
    struct usb_redir_ep_info_header e;
    struct usb_redir_device_connect_header d;
    return attach(&i, &e, &d);
}

/* A control transfer IN; its status, and the bytes. */
static int get(int fd, uint64_t id, uint8_t type, uint8_t request, uint16_t value, uint16_t length, uint8_t *bytes, size_t *n) {
    struct usb_redir_control_packet_header h = {.endpoint = 0x80, .request = request, .requesttype = type, .value = value, .length = length};
    send_packet(fd, usb_redir_control_packet, id, &h, sizeof h, NULL, 0);
    *n = want_packet(fd, usb_redir_control_packet, id, &h, sizeof h, bytes, 256);
    assert_int_equal(h.length, *n);
    return h.status;
}

static void check_alive(int fd) {
    uint8_t d[256];
    size_t n;
    assert_int_equal(get(fd, 77, 0x80, 6, 0x100, 18, d, &n), usb_redir_success);
    assert_int_equal(n, 18);
    assert_int_equal(d[8] | d[9] << 8, 0x0403);
}

static void bulk(int fd, uint64_t id, uint8_t endpoint, uint32_t length, const void *data) {
    struct usb_redir_bulk_packet_header h = {.endpoint = endpoint, .length = (uint16_t)length, .length_high = (uint16_t)(length >> 16)};
    send_packet(fd, usb_redir_bulk_packet, id, &h, sizeof h, data, data ? length : 0);
}

static int want_bulk(int fd, uint64_t id, uint8_t *bytes, size_t size, size_t *n) {
    struct usb_redir_bulk_packet_header h;
    *n = want_packet(fd, usb_redir_bulk_packet, id, &h, sizeof h, bytes, size);
    if (h.endpoint & 0x80) assert_int_equal((size_t)h.length | (size_t)h.length_high << 16, *n);
    return h.status;
}

/* ---- tests */

static void test_device(void **state) {
    (void)state;
    struct usb_redir_interface_info_header i;
    struct usb_redir_ep_info_header e;
    struct usb_redir_device_connect_header d;
    struct usb_redir_set_configuration_header set = {1};
    struct usb_redir_configuration_status_header status;
    struct usb_redir_set_alt_setting_header set_alt = {1, 0};
    struct usb_redir_get_alt_setting_header get_alt = {1};
    struct usb_redir_alt_setting_status_header alt;
    uint8_t bytes[256];
    size_t n;
    int fd = attach(&i, &e, &d);
    assert_int_equal(i.interface_count, 2);
    assert_int_equal(i.interface[1], 1);
    assert_int_equal(i.interface_class[1], 255);
    for (int at = 0; at < 32; at++) /* OUT 0, 2, 4; IN 16 + 0, 1, 3 */
        assert_int_equal(e.type[at], at == 0 || at == 16 ? usb_redir_type_control : at == 2 || at == 4 || at == 17 || at == 19 ? usb_redir_type_bulk : usb_redir_type_invalid);
    assert_int_equal(e.max_packet_size[4], 512);
    assert_int_equal(e.max_packet_size[16], 64);
    assert_int_equal(e.interface[19], 1);
    assert_int_equal(d.speed, usb_redir_speed_high);
    assert_int_equal(d.vendor_id, 0x0403);
    assert_int_equal(d.product_id, 0x6010);
    assert_int_equal(d.device_version_bcd, 0x0700);
    check_alive(fd);
    assert_int_equal(get(fd, 2, 0x80, 6, 0x600, 10, bytes, &n), usb_redir_stall);

    send_packet(fd, usb_redir_set_configuration, 1ull << 40, &set, sizeof set, NULL, 0);
    want_packet(fd, usb_redir_interface_info, 0, &i, sizeof i, NULL, 0);
    want_packet(fd, usb_redir_ep_info, 0, &e, offsetof(struct usb_redir_ep_info_header, max_streams), NULL, 0);
    want_packet(fd, usb_redir_configuration_status, 1ull << 40, &status, sizeof status, NULL, 0);
    assert_int_equal(status.status, usb_redir_success);
    assert_int_equal(status.configuration, 1);
    send_packet(fd, usb_redir_get_configuration, 4, NULL, 0, NULL, 0);
    want_packet(fd, usb_redir_configuration_status, 4, &status, sizeof status, NULL, 0);
    assert_int_equal(status.configuration, 1);
    send_packet(fd, usb_redir_reset, 0, NULL, 0, NULL, 0);
    send_packet(fd, usb_redir_get_configuration, 5, NULL, 0, NULL, 0);
    want_packet(fd, usb_redir_configuration_status, 5, &status, sizeof status, NULL, 0);
    assert_int_equal(status.configuration, 0);
    set.configuration = 2;
    send_packet(fd, usb_redir_set_configuration, 6, &set, sizeof set, NULL, 0);
    want_packet(fd, usb_redir_configuration_status, 6, &status, sizeof status, NULL, 0);
    assert_int_equal(status.status, usb_redir_stall);

    send_packet(fd, usb_redir_set_alt_setting, 7, &set_alt, sizeof set_alt, NULL, 0);
    want_packet(fd, usb_redir_alt_setting_status, 7, &alt, sizeof alt, NULL, 0);
    assert_int_equal(alt.status, usb_redir_success);
    send_packet(fd, usb_redir_get_alt_setting, 8, &get_alt, sizeof get_alt, NULL, 0);
    want_packet(fd, usb_redir_alt_setting_status, 8, &alt, sizeof alt, NULL, 0);
    assert_int_equal(alt.interface, 1);
    assert_int_equal(alt.alt, 0);
    close(fd);
}

static void test_bulk(void **state) {
    (void)state;
    static uint8_t to[3000], from[3000], packets[1 << 16], many[70000];
    struct usb_redir_control_packet_header baud = {.endpoint = 0, .request = 3, .requesttype = 0x40, .value = 0, .index = 2 << 8 | 2};
    hd_rng r;
    size_t n, have = 0;
    int fd = attach_quietly();
    hd_rng_seed(&r, 1, 1);
    for (size_t i = 0; i < sizeof to; i++) to[i] = (uint8_t)hd_rng_u32(&r);
    send_packet(fd, usb_redir_control_packet, 1, &baud, sizeof baud, NULL, 0); /* 12 Mbaud */
    assert_int_equal(want_packet(fd, usb_redir_control_packet, 1, &baud, sizeof baud, NULL, 0), 0);
    assert_int_equal(baud.status, usb_redir_success);
    bulk(fd, 2, 0x04, sizeof to, to);
    assert_int_equal(want_bulk(fd, 2, NULL, 0, &n), usb_redir_success);
    for (uint64_t id = 3; have < sizeof to; id++) {
        bulk(fd, id, 0x83, sizeof packets, NULL);
        assert_int_equal(want_bulk(fd, id, packets, sizeof packets, &n), usb_redir_success);
        for (size_t at = 0; at < n; at += 512) { /* each packet begins with two status bytes */
            size_t part = n - at < 512 ? n - at - 2 : 510;
            assert_in_range(have + part, 0, sizeof from);
            memcpy(from + have, packets + at + 2, part);
            have += part;
        }
    }
    assert_memory_equal(from, to, sizeof to);

    /* More than a transfer may have; an endpoint that is not there. */
    bulk(fd, 90, 0x83, (1u << 20) + 1, NULL);
    assert_int_equal(want_bulk(fd, 90, NULL, 0, &n), usb_redir_inval);
    bulk(fd, 91, 0x85, 512, NULL);
    assert_int_equal(want_bulk(fd, 91, NULL, 0, &n), usb_redir_stall);
    /* Of more bytes than 16 bits say, all are said to have been taken (by port A, which takes everything). */
    struct usb_redir_bulk_packet_header taken;
    bulk(fd, 92, 0x02, sizeof many, many);
    want_packet(fd, usb_redir_bulk_packet, 92, &taken, sizeof taken, NULL, 0);
    assert_int_equal(taken.status, usb_redir_success);
    assert_int_equal((size_t)taken.length | (size_t)taken.length_high << 16, sizeof many);
    close(fd);
}

static void test_cancel(void **state) {
    (void)state;
    struct usb_redir_control_packet_header latency = {.endpoint = 0, .request = 9, .requesttype = 0x40, .value = 255, .index = 2};
    uint8_t bytes[512];
    size_t n;
    int fd = attach_quietly();
    /* With a latency of 255 ms an IN transfer waits long enough to be taken back. */
    send_packet(fd, usb_redir_control_packet, 1, &latency, sizeof latency, NULL, 0);
    want_packet(fd, usb_redir_control_packet, 1, &latency, sizeof latency, NULL, 0);
    bulk(fd, 2, 0x83, 512, NULL);
    assert_int_equal(want_bulk(fd, 2, bytes, sizeof bytes, &n), usb_redir_success); /* the status that is due at once */
    bulk(fd, 3, 0x83, 512, NULL);
    bulk(fd, 4, 0x83, 512, NULL);
    send_packet(fd, usb_redir_cancel_data_packet, 3, NULL, 0, NULL, 0);
    assert_int_equal(want_bulk(fd, 3, bytes, sizeof bytes, &n), usb_redir_cancelled);
    assert_int_equal(n, 0);
    /* Unknown or finished: no answer. The other transfer is not touched. */
    send_packet(fd, usb_redir_cancel_data_packet, 3, NULL, 0, NULL, 0);
    send_packet(fd, usb_redir_cancel_data_packet, 99, NULL, 0, NULL, 0);
    assert_int_equal(want_bulk(fd, 4, bytes, sizeof bytes, &n), usb_redir_success);
    check_alive(fd);
    close(fd);
}

/* Clients that talk nonsense or vanish lose their connection; the next one finds a working device. */
static void test_bad_clients(void **state) {
    (void)state;
    hd_rng r;
    hd_rng_seed(&r, 8, 8);
    for (int i = 0; i < 80; i++) {
        uint8_t junk[300];
        int fd = i % 4 ? attach_quietly() : call();
        size_t size = 1 + hd_rng_below(&r, sizeof junk);
        for (size_t k = 0; k < size; k++) junk[k] = (uint8_t)hd_rng_u32(&r);
        /* Packets that exist, whose fields are random, and whose length is wrong or right. */
        uint32_t head[2] = {i % 3 == 0 ? usb_redir_control_packet + hd_rng_below(&r, 5) : hd_rng_below(&r, 28), i % 2 ? (uint32_t)(size > 16 ? size - 16 : 0) : hd_rng_below(&r, 40)};
        if (size >= sizeof head && i % 5) memcpy(junk, head, sizeof head);
        if (i % 7 == 0) bulk(fd, 5, 0x83, 512, NULL);
        (void)!send(fd, junk, size, MSG_NOSIGNAL);
        close(fd);
        if (i % 8) continue;
        fd = attach_quietly();
        check_alive(fd);
        close(fd);
    }
}

/* Clients that ask for more memory than a server keeps for one: with transfers that wait, and by not reading their answers. */
static void test_greedy_clients(void **state) {
    (void)state;
    static struct __attribute__((packed)) {
        struct usb_redir_header head;
        struct usb_redir_bulk_packet_header bulk;
    } transfers[(HD_VUSB_MOST_WAITING >> 20) + 1];
    static struct __attribute__((packed)) {
        struct usb_redir_header head;
        struct usb_redir_control_packet_header control;
    } requests[1000];
    struct usb_redir_control_packet_header latency = {.endpoint = 0, .request = 9, .requesttype = 0x40, .value = 255, .index = 2};
    uint8_t bytes[512];
    size_t n, asked = 0;
    int fd = attach_quietly();
    send_packet(fd, usb_redir_control_packet, 1, &latency, sizeof latency, NULL, 0);
    want_packet(fd, usb_redir_control_packet, 1, &latency, sizeof latency, NULL, 0);
    bulk(fd, 2, 0x83, 512, NULL);
    assert_int_equal(want_bulk(fd, 2, bytes, sizeof bytes, &n), usb_redir_success);
    for (size_t k = 0; k < sizeof transfers / sizeof *transfers; k++) {
        transfers[k].head = (struct usb_redir_header){usb_redir_bulk_packet, sizeof transfers[k].bulk, 3 + k};
        transfers[k].bulk = (struct usb_redir_bulk_packet_header){.endpoint = 0x83, .length_high = 16};
    }
    say(fd, transfers, sizeof transfers);
    assert_false(hear(fd, bytes, 1));
    close(fd);

    fd = attach_quietly();
    for (size_t k = 0; k < sizeof requests / sizeof *requests; k++) {
        requests[k].head = (struct usb_redir_header){usb_redir_control_packet, sizeof requests[k].control, k};
        requests[k].control = (struct usb_redir_control_packet_header){.endpoint = 0x80, .request = 6, .requesttype = 0x80, .value = 0x200, .length = 255};
    }
    for (ssize_t sent; (sent = send(fd, requests, sizeof requests, MSG_NOSIGNAL)) == (ssize_t)sizeof requests;) {
        asked += sizeof requests;
        assert_true(asked < 1u << 28);
    }
    close(fd);
    fd = attach_quietly();
    check_alive(fd);
    close(fd);
}

static void refuses(const char *where, hd_status status, const char *message) {
    hd_err err = {0};
    hd_usbredir *second;
    assert_int_equal(hd_usbredir_listen(&second, new_device(), where, &err), status);
    assert_null(second);
    assert_string_equal(err.message, message);
}

static void test_where(void **state) {
    (void)state;
    hd_err err = {0};
    hd_usbredir *second;
    struct stat there;
    char other[80], longer[200], want[200];
    assert_int_equal(stat(path, &there), 0);
    assert_int_equal(there.st_mode & 0777, 0600);
    snprintf(want, sizeof want, "%s: another program listens there; end it or name another path for --redir", path);
    refuses(path, HD_IO, want);
    assert_int_equal(stat(path, &there), 0);
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = 0;
    refuses(longer, HD_USAGE, "serve: --redir: found a path of 199 characters; a socket's has 1 to 107");
    refuses("", HD_USAGE, "serve: --redir: found a path of 0 characters; a socket's has 1 to 107");
    snprintf(other, sizeof other, "%s/none/board", folder);
    snprintf(want, sizeof want, "serve: cannot listen on %s: No such file or directory; --redir names another path", other);
    refuses(other, HD_IO, want);
    /* A file stays what it was. */
    snprintf(other, sizeof other, "%s/other", folder);
    close(open(other, O_CREAT | O_WRONLY, 0600));
    snprintf(want, sizeof want, "%s: exists and is no socket; name another path for --redir", other);
    refuses(other, HD_IO, want);
    assert_int_equal(unlink(other), 0);
    /* What a server that died left is replaced. */
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, other, strlen(other) + 1);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, (struct sockaddr *)&a, sizeof a), 0);
    close(dead);
    assert_int_equal(hd_usbredir_listen(&second, new_device(), other, &err), HD_OK);
    hd_usbredir_close(second);
    assert_int_equal(access(other, F_OK), -1);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/board", folder);
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_device, start, finish), cmocka_unit_test_setup_teardown(test_bulk, start, finish),
                                       cmocka_unit_test_setup_teardown(test_cancel, start, finish), cmocka_unit_test_setup_teardown(test_bad_clients, start, finish),
                                       cmocka_unit_test_setup_teardown(test_greedy_clients, start, finish), cmocka_unit_test_setup_teardown(test_where, start, finish)};
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return rc;
}
