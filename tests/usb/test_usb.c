/* The driver `usb` over libusb against devices behind an interposed usbfs (usbfs.h): each way in which a cable, a bridge or a board can fail.
 * HD_USB_RUNS: runs with random faults (500); HD_USB_SEED: the first seed. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "../../drivers/driver.h"
#include "../../drivers/usb_find.h"
#include "../../sw/core/progress.h"
#include "usbfs.h"

static link_board board;
static uint32_t words[BOARD_WORDS], back[BOARD_WORDS];

static hd_status open_device(hd_device **device, int fd, hd_err *err) {
    hd_device_options o = {.usb_fd = fd, .run_limit_ms = 5000};
    hd_status s = hd_driver_usb.open(device, NULL, &o, err);
    if (getenv("HD_USB_VERBOSE") && s) print_message("%s\n", err->message);
    return s;
}

static void fill(hd_rng *r, size_t n) {
    for (size_t i = 0; i < n; i++) words[i] = hd_rng_u32(r);
}

/* Writes, runs and reads once; the result depends on what was written. */
static hd_status use(hd_device *device, hd_rng *r, size_t n, hd_err *err) {
    uint32_t cycles = 0;
    fill(r, n);
    hd_status s = hd_driver_usb.write(device, HD_SPACE_ACT, 3, words, n, err);
    if (!s) s = hd_driver_usb.run(device, 0, err);
    if (!s) s = hd_driver_usb.read(device, HD_SPACE_REG, HD_REG_CYCLES, &cycles, 1, err);
    if (!s) s = hd_driver_usb.read(device, HD_SPACE_ACT, 3, back, n, err);
    if (s) return s;
    assert_memory_equal(words, board.memory[0] + 3, n * sizeof *words);
    assert_memory_equal(words, back, n * sizeof *words);
    assert_int_equal(cycles, board.cycles);
    return HD_OK;
}

static int plug(enum usbfs_kind kind, uint64_t seed) {
    usbfs_remove();
    link_board_reset(&board);
    int fd = usbfs_plug(kind, &board, seed);
    assert_true(fd >= 0);
    return fd;
}

static int unplug(void **state) {
    (void)state;
    usbfs_remove();
    link_board_free(&board);
    return 0;
}

static void test_each_kind(void **state) {
    (void)state;
    for (int kind = USBFS_NATIVE; kind <= USBFS_FT231X; kind++) {
        hd_device *device;
        hd_err err = {0};
        hd_rng r;
        hd_rng_seed(&r, (uint64_t)kind, 9);
        int fd = plug((enum usbfs_kind)kind, 5);
        assert_int_equal(open_device(&device, fd, &err), HD_OK);
        for (size_t n = 1; n < BOARD_WORDS - 3; n = 2 * n + 1) assert_int_equal(use(device, &r, n, &err), HD_OK);
        /* Only activations, performance records and registers can be read. */
        assert_int_equal(hd_driver_usb.read(device, HD_SPACE_WEIGHT, 0, back, 1, &err), HD_RANGE);
        hd_driver_usb.close(device);
        usbfs_counts c = usbfs_look();
        assert_int_equal(c.bad, 0);
        assert_int_equal(c.claims, 1);
        assert_int_equal(c.releases, 1);
        assert_int_equal(c.under_way, 0);
        assert_int_equal(c.detached, kind == USBFS_NATIVE ? 0 : 1);
        assert_int_equal(c.attached, c.detached);
        assert_int_equal(board.refused, 0);
        if (kind != USBFS_NATIVE) assert_int_equal(c.latency, 1);
        /* FT2232H: 12 Mbit/s is code 0 with the 120 MHz bit, on port B; FT231X: 3 Mbit/s is code 0. */
        if (kind == USBFS_FT2232H) assert_int_equal(c.baud, 0x02020000);
        if (kind == USBFS_FT231X) assert_int_equal(c.baud, 0);
    }
}

static void test_divisors(void **state) {
    (void)state;
    /* From the chips' data sheets: base clock, divisor, code of the eighths. */
    static const struct {
        enum hd_usb_kind kind;
        unsigned rate;
        uint32_t code;
    } known[] = {{HD_USB_FTDI_X, 3000000, 0}, {HD_USB_FTDI_X, 2000000, 1}, {HD_USB_FTDI_X, 1000000, 3}, {HD_USB_FTDI_X, 115200, 26}, {HD_USB_FTDI_X, 9600, 0x4138},
                 {HD_USB_FTDI_X, 1200000, 2 | 1u << 14}, {HD_USB_FTDI_H, 12000000, 1u << 17}, {HD_USB_FTDI_H, 8000000, 1 | 1u << 17},
                 {HD_USB_FTDI_H, 6000000, 2 | 1u << 17}, {HD_USB_FTDI_H, 3000000, 4 | 1u << 17}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t code;
        double rate;
        assert_true(hd_usb_ftdi_divisor(&code, &rate, known[i].kind, known[i].rate));
        assert_int_equal(code, known[i].code);
        assert_true(rate > 0.97 * known[i].rate && rate < 1.03 * known[i].rate);
    }
    uint32_t code;
    double rate;
    assert_false(hd_usb_ftdi_divisor(&code, &rate, HD_USB_FTDI_X, 2500000));
    assert_false(hd_usb_ftdi_divisor(&code, &rate, HD_USB_FTDI_X, 12000000));
    assert_false(hd_usb_ftdi_divisor(&code, &rate, HD_USB_FTDI_H, 0));
    assert_false(hd_usb_ftdi_divisor(&code, &rate, HD_USB_FTDI_X, 150)); /* 20,000: more than 14 bits */
    /* What the three bits above the whole divisor stand for, in eighths. */
    static const unsigned eighths[8] = {0, 4, 2, 1, 3, 5, 6, 7};
    for (unsigned n = 800; n < 816; n++) {
        assert_true(hd_usb_ftdi_divisor(&code, &rate, HD_USB_FTDI_X, (unsigned)(3e6 * 8 / n + 0.5)));
        assert_int_equal((code & 0x3fff) * 8 + eighths[code >> 14 & 7], n);
    }
}

/* A board whose clock makes 4 Mbit/s only, which nobody told the driver. */
static void test_rate_is_found(void **state) {
    (void)state;
    static const struct {
        enum usbfs_kind kind;
        uint32_t baud;
    } known[] = {{USBFS_FT2232H, 0x02020003}, {USBFS_FT2232H, 0x0202000c}, {USBFS_FT231X, 0x00000003}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        hd_device *device;
        hd_err err = {0};
        hd_rng r;
        hd_rng_seed(&r, i, 11);
        int fd = plug(known[i].kind, 6);
        usbfs_wire_rate(known[i].baud);
        assert_int_equal(open_device(&device, fd, &err), HD_OK);
        assert_int_equal(use(device, &r, 1000, &err), HD_OK);
        hd_driver_usb.close(device);
        usbfs_counts c = usbfs_look();
        assert_int_equal(c.bad, 0);
        assert_int_equal(c.baud, known[i].baud);
    }
    int fd = plug(USBFS_FT2232H, 6);
    usbfs_wire_rate(1);
    hd_device *device;
    hd_err err = {0};
    assert_int_equal(open_device(&device, fd, &err), HD_DEVICE);
    if (!strstr(err.message, "at the usual bit rates")) fail_msg("%s", err.message);
}

static void expect_refused(int fd, const char *text) {
    hd_device *device;
    hd_err err = {0};
    assert_int_equal(open_device(&device, fd, &err), HD_DEVICE);
    assert_null(device);
    if (!strstr(err.message, text)) fail_msg("'%s' does not say '%s'", err.message, text);
}

static void test_refusals(void **state) {
    (void)state;
    int fd = plug(USBFS_STRANGER, 1);
    expect_refused(fd, "no board that heddle knows");
    fd = plug(USBFS_NATIVE, 1);
    usbfs_refuse_claim(EBUSY);
    expect_refused(fd, "another program uses the board");
    usbfs_pull();
    expect_refused(fd, "usb:");
    int nothing = open("/dev/null", O_RDONLY);
    expect_refused(nothing, "no USB device");
    close(nothing);
    fd = plug(USBFS_NATIVE, 1);
    usbfs_null_device(1);
    expect_refused(fd, "no answer");
}

/* Depth, size and cap of the queues: no more is ever handed to the kernel, and less when the cap asks for it. The memory for transfers is libusb's where the node can be
 * mapped; the interposed one cannot, and then it is our own. */
static void test_queues(void **state) {
    (void)state;
    static const struct {
        hd_device_options o;
        unsigned most; /* under way at once, both directions; 0: refused */
    } row[] = {{{.usb_depth = 1}, 2}, {{.usb_depth = 3, .usb_transfer_bytes = 1024}, 6}, {{.usb_depth = 64, .usb_transfer_bytes = 512}, 128},
               {{.usb_depth = 8, .usb_transfer_bytes = 4096, .usb_in_flight = 24576}, 6}, {{.usb_depth = 8, .usb_transfer_bytes = 4096, .usb_in_flight = 8192}, 2},
               {{.usb_depth = 65}, 0}, {{.usb_transfer_bytes = 1000}, 0}, {{.usb_transfer_bytes = 2u << 20}, 0}, {{.usb_transfer_bytes = 4096, .usb_in_flight = 8191}, 0}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        hd_device *device;
        hd_err err = {0};
        hd_rng r;
        hd_rng_seed(&r, i, 21);
        hd_device_options o = row[i].o;
        char where[16];
        int fd = plug(USBFS_NATIVE, 8);
        snprintf(where, sizeof where, "fd:%d", fd);
        o.where = where;
        hd_status s = hd_driver_usb.open(&device, NULL, &o, &err);
        if (!row[i].most) {
            assert_int_equal(s, HD_RANGE);
            assert_non_null(strstr(err.message, "allowed are 1 to 64"));
            assert_int_equal(usbfs_look().under_way_most, 0);
            continue;
        }
        if (s) fail_msg("row %zu: %s", i, err.message);
        for (int k = 0; k < 4; k++) assert_int_equal(use(device, &r, BOARD_WORDS - 3, &err), HD_OK);
        hd_driver_usb.close(device);
        usbfs_counts c = usbfs_look();
        assert_int_equal(c.bad, 0);
        assert_int_equal(c.under_way, 0);
        assert_true(c.under_way_most <= row[i].most && c.under_way_most > row[i].most / 2);
    }
    hd_device *device;
    hd_err err = {0};
    const hd_device_options wrong = {.where = "fd:three"};
    assert_int_equal(hd_driver_usb.open(&device, NULL, &wrong, &err), HD_USAGE);
    /* A node that counts as the kernel's own: its memory is asked for, and is not there. */
    hd_pipe *pipe;
    libusb_context *context;
    libusb_device_handle *handle;
    int fd = plug(USBFS_NATIVE, 8);
    assert_int_equal(libusb_init(&context), 0);
    assert_int_equal(libusb_wrap_sys_device(context, fd, &handle), 0);
    assert_null(libusb_dev_mem_alloc(handle, 4096));
    assert_int_equal(hd_usb_pipe_open(&pipe, context, handle, HD_USB_NATIVE, 0, "usb: mapped", 1, NULL, &err), HD_OK);
    assert_int_equal(pipe->put(pipe, words, 4096, &err), HD_OK);
    pipe->close(pipe);
    assert_int_equal(usbfs_look().bad, 0);
}

/* ---- the pipe by itself: the link would repair, later, what it does not notice */

static hd_pipe *pipe_to(enum usbfs_kind kind, const hd_usb_options *o) {
    hd_pipe *pipe;
    libusb_context *context;
    libusb_device_handle *handle;
    hd_err err = {0};
    int fd = plug(kind, 8);
    assert_int_equal(libusb_init(&context), 0);
    assert_int_equal(libusb_wrap_sys_device(context, fd, &handle), 0);
    if (hd_usb_pipe_open(&pipe, context, handle, kind == USBFS_NATIVE ? HD_USB_NATIVE : HD_USB_FTDI_X, 0, "usb: test", 0, o, &err)) fail_msg("%s", err.message);
    return pipe;
}

enum { HEAD = 1 + HD_LINK_HEADER + HD_LINK_CRC };

/* The head of a request; what a SYNC gets back has the same address. */
static void put_head(hd_pipe *pipe, enum hd_link_op op, unsigned count, uint8_t address) {
    uint8_t b[HEAD] = {HD_LINK_REQUEST, (uint8_t)op, (uint8_t)count, (uint8_t)(count >> 8), 0, address};
    uint32_t crc = (uint32_t)crc32(0, b + 1, HD_LINK_HEADER);
    hd_err err = {0};
    for (int i = 0; i < HD_LINK_CRC; i++) b[1 + HD_LINK_HEADER + i] = (uint8_t)(crc >> 8 * i);
    if (pipe->put(pipe, b, sizeof b, &err)) fail_msg("%s", err.message);
}

static void flush_pipe(hd_pipe *pipe) {
    hd_err err = {0};
    if (pipe->flush(pipe, &err)) fail_msg("%s", err.message);
}

/* Up to n bytes; a call may come back early, after a fault. */
static size_t get_bytes(hd_pipe *pipe, uint8_t *to, size_t n, unsigned ms) {
    size_t all = 0, got;
    hd_err err = {0};
    for (int calls = 0; all < n && calls < 20; calls++) {
        if (pipe->get(pipe, to + all, n - all, &got, ms, &err)) fail_msg("%s", err.message);
        all += got;
    }
    return all;
}

static void want_answer(hd_pipe *pipe, uint8_t address) {
    uint8_t b[HEAD];
    assert_int_equal(get_bytes(pipe, b, HEAD, 100), HEAD);
    assert_int_equal(b[0], HD_LINK_REPLY);
    assert_int_equal(b[5], address);
}

/* An answer of which five bytes were taken is gone after a fault; the next one is whole. */
static void test_in_after_fault(void **state) {
    (void)state;
    static const uint8_t zeros[3 * 512];
    uint8_t b[8];
    hd_err err = {0};
    hd_pipe *pipe = pipe_to(USBFS_NATIVE, &(hd_usb_options){.depth = 2, .transfer_bytes = 512});
    put_head(pipe, HD_LINK_OP_SYNC, 0, 1);
    flush_pipe(pipe);
    assert_int_equal(get_bytes(pipe, b, 5, 100), 5);
    usbfs_set_faults(&(usbfs_faults){.stall_in = 1});
    put_head(pipe, HD_LINK_OP_SYNC, 0, 2);
    /* More than the queue holds, so that put waits and sees the stall. */
    assert_int_equal(pipe->put(pipe, zeros, sizeof zeros, &err), HD_OK);
    assert_true(pipe->faults > 0);
    usbfs_set_faults(&(usbfs_faults){0});
    want_answer(pipe, 2);
    pipe->close(pipe);
}

/* Bytes that were gathered but not sent are gone after a fault: half a request must not begin a later transfer. */
static void test_out_after_fault(void **state) {
    (void)state;
    uint8_t b[8];
    hd_pipe *pipe = pipe_to(USBFS_NATIVE, NULL);
    put_head(pipe, HD_LINK_OP_SYNC, 0, 1);
    usbfs_set_faults(&(usbfs_faults){.stall_in = 1});
    flush_pipe(pipe);
    put_head(pipe, HD_LINK_OP_WRITE, 1000, 0);
    size_t got;
    hd_err err = {0};
    assert_int_equal(pipe->get(pipe, b, sizeof b, &got, 20, &err), HD_OK);
    assert_int_equal(got, 0);
    usbfs_set_faults(&(usbfs_faults){0});
    assert_true(pipe->faults > 0);
    want_answer(pipe, 1);
    for (uint8_t k = 2; k < 6; k++) {
        put_head(pipe, HD_LINK_OP_SYNC, 0, k);
        flush_pipe(pipe);
        want_answer(pipe, k);
    }
    pipe->close(pipe);
}

/* What a transfer or the bridge itself tells of losses counts at once. */
static void test_told_losses(void **state) {
    (void)state;
    static const uint8_t zeros[2048];
    uint8_t b[HEAD];
    hd_err err = {0};
    hd_pipe *pipe = pipe_to(USBFS_NATIVE, NULL);
    usbfs_set_faults(&(usbfs_faults){.short_out = 1});
    assert_int_equal(pipe->put(pipe, zeros, sizeof zeros, &err), HD_OK);
    flush_pipe(pipe);
    assert_int_equal(get_bytes(pipe, b, sizeof b, 5), 0);
    assert_true(pipe->faults > 0);
    pipe->close(pipe);
    pipe = pipe_to(USBFS_FT231X, NULL);
    put_head(pipe, HD_LINK_OP_SYNC, 0, 1);
    usbfs_set_faults(&(usbfs_faults){.overrun = 1});
    flush_pipe(pipe);
    assert_int_equal(get_bytes(pipe, b, sizeof b, 5), 0);
    assert_true(pipe->faults > 0);
    pipe->close(pipe);
}

/* Unplugged in the middle of a transfer and of a run: one clear error, also from every later call; after a replug a new device works. */
static void test_unplug(void **state) {
    (void)state;
    hd_rng r;
    hd_rng_seed(&r, 4, 4);
    for (int kind = USBFS_NATIVE; kind <= USBFS_FT231X; kind++)
        for (int middle = 0; middle < 3; middle++) {
            hd_device *device;
            hd_err err = {0};
            int fd = plug((enum usbfs_kind)kind, 3);
            assert_int_equal(open_device(&device, fd, &err), HD_OK);
            if (middle == 0) usbfs_set_faults(&(usbfs_faults){.unplug = 0.5});
            else if (middle == 1) usbfs_pull();
            else board.run_seconds = 0.05, usbfs_set_faults(&(usbfs_faults){.unplug = 0.1});
            hd_status s = HD_OK;
            for (int i = 0; !s && i < 200; i++) s = use(device, &r, 700, &err);
            assert_int_equal(s, HD_DEVICE);
            assert_non_null(strstr(err.message, "went away"));
            assert_int_equal(hd_driver_usb.read(device, HD_SPACE_ACT, 0, back, 1, &err), HD_DEVICE);
            assert_non_null(strstr(err.message, "went away"));
            hd_driver_usb.close(device);
            assert_int_equal(usbfs_look().under_way, 0);
            fd = plug((enum usbfs_kind)kind, 3);
            assert_int_equal(open_device(&device, fd, &err), HD_OK);
            assert_int_equal(use(device, &r, 700, &err), HD_OK);
            hd_driver_usb.close(device);
        }
}

/* Each fault by itself, often: everything is repaired. */
static void test_each_fault(void **state) {
    (void)state;
    static const struct {
        const char *name;
        usbfs_faults faults;
    } row[] = {{"lost out", {.lost_out = 0.05}}, {"corrupt out", {.corrupt_out = 0.05}}, {"short out", {.short_out = 0.05}}, {"stall out", {.stall_out = 0.05}},
               {"error out", {.error_out = 0.05}}, {"lost in", {.lost_in = 0.02}}, {"corrupt in", {.corrupt_in = 0.02}}, {"twice in", {.twice_in = 0.02}},
               {"stall in", {.stall_in = 0.05}}, {"error in", {.error_in = 0.05}}, {"overflow in", {.overflow_in = 0.05}},
               {"delay", {.delay = 0.1, .most_delay = 0.05}}, {"overrun", {.overrun = 0.01}}, {"no memory", {.no_memory = 0.02}}};
    for (int kind = USBFS_NATIVE; kind <= USBFS_FT231X; kind++)
        for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
            if (kind == USBFS_NATIVE && !strcmp(row[i].name, "overrun")) continue;
            hd_device *device;
            hd_err err = {0};
            hd_rng r;
            hd_rng_seed(&r, i, 2);
            int fd = plug((enum usbfs_kind)kind, 11 + i);
            assert_int_equal(open_device(&device, fd, &err), HD_OK);
            usbfs_set_faults(&row[i].faults);
            for (int n = 0; n < 8 || (n < 200 && !usbfs_look().faults); n++)
                if (use(device, &r, 1500, &err)) fail_msg("%s, kind %d: %s", row[i].name, kind, err.message);
            usbfs_set_faults(&(usbfs_faults){0});
            hd_driver_usb.close(device);
            usbfs_counts c = usbfs_look();
            assert_true(c.faults > 0);
            assert_int_equal(c.bad, 0);
            assert_int_equal(c.under_way, 0);
            assert_int_equal(c.claims, c.releases);
        }
}

/* Random mixtures, at rates up to the hopeless: right or one clear error, never a wrong result, never a hang. */
static void test_random_faults(void **state) {
    (void)state;
    const char *count = getenv("HD_USB_RUNS"), *first = getenv("HD_USB_SEED");
    unsigned n = count ? (unsigned)atoi(count) : 500, right = 0, failed = 0, unplugged = 0;
    uint64_t seed = first ? strtoull(first, NULL, 10) : 1, faults = 0;
    for (unsigned done = 0; done < n; seed++) {
        hd_rng r;
        hd_rng_seed(&r, seed, 3);
        double *rate, hardness = (double)hd_rng_float(&r);
        usbfs_faults f = {0};
        double *const field[] = {&f.lost_out, &f.corrupt_out, &f.short_out, &f.stall_out, &f.error_out, &f.lost_in, &f.corrupt_in, &f.twice_in, &f.stall_in,
                                 &f.error_in, &f.overflow_in, &f.delay, &f.no_memory, &f.overrun};
        for (size_t i = 0; i < sizeof field / sizeof *field; i++)
            if (rate = field[i], hd_rng_below(&r, 3) == 0) *rate = 0.15 * hardness * hardness * (double)hd_rng_float(&r);
        f.most_delay = 0.05;
        if (hd_rng_below(&r, 10) == 0) f.unplug = 0.01;
        hd_device *device;
        hd_err err = {0};
        int fd = plug((enum usbfs_kind)(seed % 3), seed);
        usbfs_set_faults(&f);
        board.run_seconds = hd_rng_below(&r, 2) ? 0 : 0.01 * (double)hd_rng_float(&r);
        hd_status s = open_device(&device, fd, &err);
        for (int i = 0; !s && i < 10 && done < n; i++, done++) {
            double start = hd_seconds();
            s = use(device, &r, 1 + hd_rng_below(&r, 1500), &err);
            if (hd_seconds() - start > 60) fail_msg("seed %llu: a run took %.0f s", (unsigned long long)seed, hd_seconds() - start);
            right += s == HD_OK;
        }
        if (s) {
            if (s != HD_DEVICE) fail_msg("seed %llu: status %d: %s", (unsigned long long)seed, s, err.message);
            failed++;
            unplugged += f.unplug > 0;
            done++;
        }
        if (device) hd_driver_usb.close(device);
        faults += usbfs_look().faults;
        assert_int_equal(usbfs_look().bad, 0);
        assert_int_equal(usbfs_look().under_way, 0);
    }
    print_message("%u runs up to seed %llu: %u right, %u ended by an error (%u with a plug that comes out), %llu faults\n", n, (unsigned long long)seed, right, failed,
                  unplugged, (unsigned long long)faults);
    assert_true(faults > n / 4 && right > n / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_each_kind, unplug), cmocka_unit_test(test_divisors), cmocka_unit_test(test_rate_is_found),           cmocka_unit_test_teardown(test_refusals, unplug),
        cmocka_unit_test_teardown(test_queues, unplug),
        cmocka_unit_test_teardown(test_in_after_fault, unplug), cmocka_unit_test_teardown(test_out_after_fault, unplug), cmocka_unit_test_teardown(test_told_losses, unplug),
        cmocka_unit_test_teardown(test_unplug, unplug),    cmocka_unit_test_teardown(test_each_fault, unplug), cmocka_unit_test_teardown(test_random_faults, unplug)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
