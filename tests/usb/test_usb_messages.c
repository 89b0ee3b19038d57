/* What the driver `usb` says of boards, bridges and transfers that fail, to the letter, over a libusb of this file that answers as a row asks. Its time passes while
 * somebody waits for events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../drivers/usb_find.h"
#include "../../drivers/vusb.h"
#include "../../sw/contract/contract.h"

enum { BOARDS = 2, TRANSFERS = 128, FD = 7 };

struct libusb_context {
    int open;
};
struct libusb_device {
    uint16_t vendor, product;
};
struct libusb_device_handle {
    libusb_device *device;
};

/* 0: as a board in order. */
static struct fake {
    int boards; /* plugged in; -1: one that heddle does not know */
    int bridge; /* they are FT231X */
    int init, open, wrap, claim, config, control, submit; /* error codes */
    int no_bulk, empty_config; /* an interface without endpoints; no interface */
    int broken;                /* transfers come back with an error */
    int stuck;                 /* transfers neither end nor are cancelled */
    int deaf;                  /* OUT transfers never end, until they are cancelled */
} fake;

static struct libusb_context context;
static struct libusb_device device[BOARDS];
static struct libusb_device_handle handle[BOARDS];
static struct libusb_transfer *under_way[TRANSFERS];
static unsigned n_under_way;
static int open_handles;
static int64_t virtual_ns;

int clock_gettime(clockid_t id, struct timespec *t) {
    if (id != CLOCK_MONOTONIC) return (int)syscall(SYS_clock_gettime, id, t);
    virtual_ns += 1000;
    *t = (struct timespec){virtual_ns / 1000000000, virtual_ns % 1000000000};
    return 0;
}

int LIBUSB_CALL libusb_init(libusb_context **c) {
    *c = &context;
    context.open += !fake.init;
    return fake.init;
}

void LIBUSB_CALL libusb_exit(libusb_context *c) { c->open--; }
uint8_t LIBUSB_CALL libusb_get_bus_number(libusb_device *d) { return (void)d, 1; }
uint8_t LIBUSB_CALL libusb_get_device_address(libusb_device *d) { return (uint8_t)(5 + (d - device)); }
libusb_device *LIBUSB_CALL libusb_get_device(libusb_device_handle *h) { return h->device; }

ssize_t LIBUSB_CALL libusb_get_device_list(libusb_context *c, libusb_device ***list) {
    int n = abs(fake.boards);
    (void)c;
    *list = calloc(BOARDS + 1, sizeof **list);
    for (int i = 0; *list && i < n; i++) (*list)[i] = &device[i];
    return *list ? n : LIBUSB_ERROR_NO_MEM;
}

void LIBUSB_CALL libusb_free_device_list(libusb_device **list, int unref) { (void)unref, free(list); }

int LIBUSB_CALL libusb_get_device_descriptor(libusb_device *d, struct libusb_device_descriptor *to) {
    (void)d;
    *to = (struct libusb_device_descriptor){.idVendor = HD_USB_VENDOR, .idProduct = HD_USB_PRODUCT, .iProduct = 1, .iSerialNumber = 2};
    if (fake.bridge) to->idVendor = 0x0403, to->idProduct = 0x6015;
    if (fake.boards < 0) to->idVendor = 0x1234, to->idProduct = 0x5678;
    return 0;
}

int LIBUSB_CALL libusb_get_port_numbers(libusb_device *d, uint8_t *port, int most) {
    (void)most;
    port[0] = 4;
    port[1] = (uint8_t)(1 + (d - device));
    return 2;
}

int LIBUSB_CALL libusb_open(libusb_device *d, libusb_device_handle **h) {
    if (fake.open) return fake.open;
    *h = &handle[d - device];
    (*h)->device = d;
    open_handles++;
    return 0;
}

int LIBUSB_CALL libusb_wrap_sys_device(libusb_context *c, intptr_t fd, libusb_device_handle **h) {
    (void)c;
    return fd == FD ? libusb_open(&device[0], h) : fake.wrap;
}

void LIBUSB_CALL libusb_close(libusb_device_handle *h) { (void)h, open_handles--; }

int LIBUSB_CALL libusb_get_string_descriptor_ascii(libusb_device_handle *h, uint8_t index, unsigned char *text, int size) {
    return index == 1 ? snprintf((char *)text, (size_t)size, "a board") : snprintf((char *)text, (size_t)size, "T35T-%d", (int)(h->device - device));
}

int LIBUSB_CALL libusb_set_auto_detach_kernel_driver(libusb_device_handle *h, int on) { return (void)h, (void)on, 0; }
int LIBUSB_CALL libusb_claim_interface(libusb_device_handle *h, int interface) { return (void)h, (void)interface, fake.claim; }
int LIBUSB_CALL libusb_release_interface(libusb_device_handle *h, int interface) { return (void)h, (void)interface, 0; }
int LIBUSB_CALL libusb_clear_halt(libusb_device_handle *h, unsigned char endpoint) { return (void)h, (void)endpoint, 0; }

int LIBUSB_CALL libusb_control_transfer(libusb_device_handle *h, uint8_t type, uint8_t request, uint16_t value, uint16_t index, unsigned char *data, uint16_t length, unsigned ms) {
    (void)h, (void)type, (void)request, (void)value, (void)index, (void)data, (void)length, (void)ms;
    return request == 3 ? fake.control : 0;
}

int LIBUSB_CALL libusb_get_active_config_descriptor(libusb_device *d, struct libusb_config_descriptor **to) {
    static const struct libusb_endpoint_descriptor bulk[2] = {{.bEndpointAddress = 0x01, .bmAttributes = 2, .wMaxPacketSize = 64}, {.bEndpointAddress = 0x81, .bmAttributes = 2, .wMaxPacketSize = 64}};
    static struct libusb_interface_descriptor setting;
    static const struct libusb_interface interface = {&setting, 1};
    static struct libusb_config_descriptor config;
    (void)d;
    setting = (struct libusb_interface_descriptor){.bNumEndpoints = fake.no_bulk ? 0 : 2, .endpoint = bulk};
    config = (struct libusb_config_descriptor){.bNumInterfaces = fake.empty_config ? 0 : 1, .interface = &interface};
    *to = &config;
    return fake.config;
}

void LIBUSB_CALL libusb_free_config_descriptor(struct libusb_config_descriptor *c) { (void)c; }
struct libusb_transfer *LIBUSB_CALL libusb_alloc_transfer(int packets) { return calloc(1, sizeof(struct libusb_transfer) + (size_t)packets); }
void LIBUSB_CALL libusb_free_transfer(struct libusb_transfer *t) { free(t); }

int LIBUSB_CALL libusb_submit_transfer(struct libusb_transfer *t) {
    if (fake.submit) return fake.submit;
    assert_true(n_under_way < TRANSFERS);
    t->status = LIBUSB_TRANSFER_COMPLETED;
    under_way[n_under_way++] = t;
    return 0;
}

int LIBUSB_CALL libusb_cancel_transfer(struct libusb_transfer *t) {
    t->status = LIBUSB_TRANSFER_CANCELLED;
    return 0;
}

int LIBUSB_CALL libusb_handle_events_timeout_completed(libusb_context *c, struct timeval *wait, int *completed) {
    (void)c, (void)completed;
    struct libusb_transfer *back[TRANSFERS];
    unsigned n = 0, left = 0;
    virtual_ns += wait->tv_sec * 1000000000 + wait->tv_usec * 1000;
    for (unsigned i = 0; i < n_under_way; i++) {
        struct libusb_transfer *t = under_way[i];
        int cancelled = t->status == LIBUSB_TRANSFER_CANCELLED, waits = fake.stuck || (!cancelled && !fake.broken && (t->endpoint & 0x80 || fake.deaf));
        if (waits) under_way[left++] = t;
        else back[n++] = t;
        t->actual_length = t->length;
        if (!cancelled && fake.broken) t->status = LIBUSB_TRANSFER_ERROR;
    }
    n_under_way = left;
    for (unsigned i = 0; i < n; i++) back[i]->callback(back[i]);
    return 0;
}

/* Everything that was opened is closed. */
static void expect(hd_status found, const hd_err *err, hd_status status, const char *message) {
    assert_string_equal(err->message, message);
    assert_int_equal(found, status);
    assert_int_equal(open_handles, 0);
    assert_int_equal(context.open, 0);
}

static void opening(void **state) {
    (void)state;
    static const struct {
        struct fake fake;
        int fd; /* else by `where` */
        const char *where;
        hd_usb_options o;
        hd_status status;
        const char *message;
    } rows[] = {
        {{.init = LIBUSB_ERROR_OTHER}, 0, NULL, {0}, HD_DEVICE, "usb: libusb cannot start: Other error"},
        {{0}, 0, NULL, {0}, HD_DEVICE, "usb: no board is plugged in; `heddle devices` lists what is looked for"},
        {{.boards = -1}, 0, NULL, {0}, HD_DEVICE, "usb: no board is plugged in; `heddle devices` lists what is looked for"},
        {{.boards = 1}, 0, "T36", {0}, HD_DEVICE, "usb: no board 'T36'; there are 1-4.1 (a board, serial T35T-0)"},
        {{.boards = 2}, 0, NULL, {0}, HD_DEVICE, "usb: several boards; choose one by --device usb:SERIAL or usb:PATH; there are 1-4.1 (a board, serial T35T-0), 1-4.2 (a board, serial T35T-1)"},
        {{.boards = 2, .open = LIBUSB_ERROR_ACCESS}, 0, "1-4.2", {0}, HD_DEVICE,
         "usb: 1-4.2 (native): no permission; install the udev rule (docs/usb.md, Permissions) and plug the board in again, or run as root"},
        {{.boards = 1, .bridge = 1, .open = LIBUSB_ERROR_IO}, 0, NULL, {0}, HD_DEVICE, "usb: 1-4.1 (FT231X): Input/Output Error"},
        {{.wrap = LIBUSB_ERROR_IO}, 3, NULL, {0}, HD_DEVICE, "usb: file descriptor 3 is no USB device: Input/Output Error"},
        {{.boards = -1}, FD, NULL, {0}, HD_DEVICE, "usb: file descriptor 7: device 1234:5678 is no board that heddle knows; `heddle devices` lists what is looked for"},
        {{.boards = 1, .claim = LIBUSB_ERROR_BUSY}, 0, NULL, {0}, HD_DEVICE, "usb: a board at 1-4.1: another program uses the board; end it and run again"},
        {{.boards = 1, .claim = LIBUSB_ERROR_NO_DEVICE}, 0, NULL, {0}, HD_DEVICE, "usb: a board at 1-4.1: the board went away (unplugged, or reset); plug it in and run again"},
        {{.boards = 1, .claim = LIBUSB_ERROR_NOT_FOUND}, FD, NULL, {0}, HD_DEVICE, "usb: native at descriptor 7: interface 0 cannot be claimed: Entity not found"},
        {{.boards = 1, .config = LIBUSB_ERROR_NOT_FOUND}, 0, NULL, {0}, HD_DEVICE, "usb: a board at 1-4.1: no configuration descriptor: Entity not found"},
        {{.boards = 1, .no_bulk = 1}, 0, NULL, {0}, HD_DEVICE, "usb: a board at 1-4.1: interface 0 has no pair of bulk endpoints"},
        {{.boards = 1, .empty_config = 1}, 0, NULL, {0}, HD_DEVICE, "usb: a board at 1-4.1: interface 0 has no pair of bulk endpoints"},
        {{.boards = 1, .submit = LIBUSB_ERROR_NO_MEM}, 0, NULL, {0}, HD_DEVICE,
         "usb: a board at 1-4.1: no transfer can be started; is /sys/module/usbcore/parameters/usbfs_memory_mb too small?"},
        {{.boards = 1, .submit = LIBUSB_ERROR_NO_DEVICE}, 0, NULL, {0}, HD_DEVICE, "usb: a board at 1-4.1: the board went away (unplugged, or reset); plug it in and run again"},
        {{.boards = 1, .bridge = 1, .control = LIBUSB_ERROR_PIPE}, 0, NULL, {0}, HD_DEVICE, "usb: a board at 1-4.1: the bridge refuses request 3: Pipe error"},
        {{.boards = 1, .bridge = 1, .control = LIBUSB_ERROR_NO_DEVICE}, 0, NULL, {0}, HD_DEVICE, "usb: a board at 1-4.1: the board went away (unplugged, or reset); plug it in and run again"},
        {{.boards = 1, .bridge = 1}, 0, NULL, {.bit_rate = 2500000}, HD_RANGE, "usb: a board at 1-4.1: the bridge has no bit rate near 2500000; its highest is 3000000"},
        {{.boards = 1}, 0, NULL, {.depth = 65}, HD_RANGE,
         "usb: a board at 1-4.1: 65 transfers of 16384 bytes; allowed are 1 to 64, of a multiple of 512 bytes up to 1 MiB, and 4194304 bytes in all for at least one each way"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hd_pipe *pipe;
        hd_err err = {0};
        fake = rows[i].fake;
        hd_status s = rows[i].fd ? hd_usb_open_fd(&pipe, rows[i].fd, &rows[i].o, &err) : hd_usb_open(&pipe, rows[i].where, &rows[i].o, &err);
        assert_null(pipe);
        expect(s, &err, rows[i].status, rows[i].message);
    }
    hd_usb_info *list;
    size_t n;
    hd_err err = {0};
    fake = (struct fake){.init = LIBUSB_ERROR_OTHER};
    expect(hd_usb_list(&list, &n, &err), &err, HD_DEVICE, "usb: libusb cannot start: Other error");
}

static hd_pipe *open_board(void) {
    hd_pipe *pipe;
    hd_err err = {0};
    fake = (struct fake){.boards = 1};
    if (hd_usb_open(&pipe, NULL, &(hd_usb_options){.depth = 2, .transfer_bytes = 512}, &err)) fail_msg("%s", err.message);
    return pipe;
}

static hd_status read_some(hd_pipe *pipe, hd_err *err) {
    uint8_t b[8];
    size_t got;
    hd_status s = HD_OK;
    for (int i = 0; !s && i < 20; i++) s = pipe->get(pipe, b, sizeof b, &got, 20, err);
    return s;
}

static void failing_transfers(void **state) {
    (void)state;
    static const uint8_t zeros[4096];
    hd_err err = {0};
    hd_pipe *pipe = open_board();
    fake.broken = 1;
    hd_status s = read_some(pipe, &err);
    pipe->close(pipe);
    expect(s, &err, HD_DEVICE, "usb: a board at 1-4.1: USB transfers fail again and again (16 times in a row); try another cable or port");
    pipe = open_board();
    fake.deaf = 1;
    s = pipe->put(pipe, zeros, sizeof zeros, &err);
    pipe->close(pipe);
    expect(s, &err, HD_DEVICE, "usb: a board at 1-4.1: the board took no data for 2000 ms; plug it in again and run again");
    /* Then the transfers do not come back when they are cancelled: their memory stays with them. */
    pipe = open_board();
    fake.deaf = fake.stuck = 1;
    assert_int_equal(pipe->put(pipe, zeros, sizeof zeros, &err), HD_DEVICE);
    assert_string_equal(err.message, "usb: a board at 1-4.1: the board took no data for 2000 ms; plug it in again and run again");
    s = pipe->put(pipe, zeros, sizeof zeros, &err);
    pipe->close(pipe);
    expect(s, &err, HD_DEVICE, "usb: a board at 1-4.1: USB transfers cannot be cancelled; unplug the board");
}

/* ---- a served board: enumeration over a bus whose device gives descriptors of the lengths that a row says, and no more */

static struct bus {
    int speed, refused; /* of reset; SETUP is stalled */
    size_t device, head, total, given; /* bytes of the device descriptor, of the configuration's first nine, what they say is the whole, what comes of it */
    uint8_t setup[8];
} bus;

static int bus_reset(hd_vbus *b) { return (void)b, bus.speed; }
static uint64_t bus_clocks(hd_vbus *b) { return (void)b, 0; }
static hd_status bus_check(hd_vbus *b, hd_err *err) { return (void)b, (void)err, HD_OK; }
static void bus_close(hd_vbus *b) { b->hz = 0; }

static enum hd_vbus_pid bus_transact(hd_vbus *b, enum hd_vbus_pid token, unsigned address, unsigned endpoint, enum hd_vbus_pid data, uint8_t *bytes, size_t *n) {
    (void)b, (void)address, (void)endpoint, (void)data;
    if (token == HD_PID_SETUP) memcpy(bus.setup, bytes, 8);
    if (token != HD_PID_IN) return token == HD_PID_SETUP && bus.refused ? HD_PID_STALL : HD_PID_ACK;
    *n = bus.setup[1] != 6 ? 0 : bus.setup[3] == 1 ? bus.device : bus.setup[6] == 9 ? bus.head : bus.given;
    memset(bytes, 0, *n);
    if (bus.setup[3] == 2 && *n > 3) bytes[2] = (uint8_t)bus.total, bytes[3] = (uint8_t)(bus.total >> 8);
    return HD_PID_DATA1;
}

static void enumeration(void **state) {
    (void)state;
    static const struct { struct bus bus; const char *message; } rows[] = {
        {{0, 0, 18, 9, 32, 32, {0}}, NULL},
        {{-1, 0, 18, 9, 32, 32, {0}}, "virtual board: its USB device does not take an address"},
        {{0, 1, 18, 9, 32, 32, {0}}, "virtual board: its USB device does not take an address"},
        {{0, 0, 8, 9, 32, 32, {0}}, "virtual board: its USB device has no device descriptor"},
        {{0, 0, 18, 4, 32, 32, {0}}, "virtual board: its USB device has no configuration descriptor"},
        {{0, 0, 18, 9, 8, 8, {0}}, "virtual board: its USB device has no configuration descriptor"},
        {{0, 0, 18, 9, 32, 31, {0}}, "virtual board: its configuration descriptor is cut off"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hd_vbus b = {.reset = bus_reset, .transact = bus_transact, .clocks = bus_clocks, .check = bus_check, .close = bus_close, .hz = 48e6};
        hd_vusb *d;
        hd_err err = {0};
        bus = rows[i].bus;
        hd_status s = hd_vusb_bus(&d, &b, &err);
        assert_string_equal(err.message, rows[i].message ? rows[i].message : "");
        assert_int_equal(s, rows[i].message ? HD_DEVICE : HD_OK);
        if (!s) d->close(d);
        else assert_null(d);
        assert_true(b.hz == 0); /* closed */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(opening), cmocka_unit_test(failing_transfers), cmocka_unit_test(enumeration)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
