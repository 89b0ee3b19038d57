/* The libusb driver over a libusb of our own: devices, descriptors, control requests and transfers are what the input says, and behind the endpoints is a board that lies.
 * Time is the transfers' (--wrap=hd_seconds). */
#include <stdlib.h>
#include <string.h>

#include "../../drivers/driver.h"
#include "../../drivers/usb_find.h"
#include "fuzz.h"
#include "liar.h"

enum { DEVICES = 3, TRANSFERS = 160, OPERATIONS = 4, WORDS = 700 };

struct libusb_context {
    int open;
};
struct libusb_device {
    struct libusb_device_descriptor descriptor;
    int references;
};
struct libusb_device_handle {
    libusb_device *device;
};

static script input;
static liar *board;
static struct libusb_context context;
static struct libusb_device devices[DEVICES];
static struct libusb_device_handle handles[DEVICES];
static struct libusb_transfer *under_way[TRANSFERS];
static unsigned count, n_under_way, packet, open_handles;
static int status_bytes;

double __wrap_hd_seconds(void);
double __wrap_hd_seconds(void) { return board->time += 1e-6; }

int LIBUSB_CALL libusb_init(libusb_context **c) {
    *c = &context;
    return script_byte(&input) == 0xfe ? LIBUSB_ERROR_OTHER : 0;
}

void LIBUSB_CALL libusb_exit(libusb_context *c) { fuzz_expect(c == &context, "another context"); }
const char *LIBUSB_CALL libusb_strerror(int code) { return code ? "fuzz" : "success"; }
uint8_t LIBUSB_CALL libusb_get_bus_number(libusb_device *d) { return (uint8_t)(d - devices); }
uint8_t LIBUSB_CALL libusb_get_device_address(libusb_device *d) { return (uint8_t)d->descriptor.bcdDevice; }
libusb_device *LIBUSB_CALL libusb_get_device(libusb_device_handle *h) { return h->device; }

ssize_t LIBUSB_CALL libusb_get_device_list(libusb_context *c, libusb_device ***list) {
    (void)c;
    if (count > DEVICES) return LIBUSB_ERROR_NO_MEM;
    *list = calloc(DEVICES + 1, sizeof **list);
    for (unsigned i = 0; *list && i < count; i++) (*list)[i] = &devices[i], devices[i].references++;
    return *list ? (ssize_t)count : LIBUSB_ERROR_NO_MEM;
}

void LIBUSB_CALL libusb_free_device_list(libusb_device **list, int unref) {
    for (unsigned i = 0; unref && list && list[i]; i++) list[i]->references--;
    free(list);
}

int LIBUSB_CALL libusb_get_device_descriptor(libusb_device *d, struct libusb_device_descriptor *to) {
    *to = d->descriptor;
    return 0;
}

int LIBUSB_CALL libusb_get_port_numbers(libusb_device *d, uint8_t *port, int most) {
    int n = d->descriptor.bMaxPacketSize0 % 9;
    if (n > most) return LIBUSB_ERROR_OVERFLOW;
    for (int i = 0; i < n; i++) port[i] = (uint8_t)(d->descriptor.bcdUSB + i);
    return n;
}

int LIBUSB_CALL libusb_open(libusb_device *d, libusb_device_handle **h) {
    if (d->descriptor.bDeviceClass == 0xee) return LIBUSB_ERROR_ACCESS;
    *h = &handles[d - devices];
    (*h)->device = d;
    open_handles++;
    return 0;
}

int LIBUSB_CALL libusb_wrap_sys_device(libusb_context *c, intptr_t fd, libusb_device_handle **h) {
    (void)c;
    return fd < DEVICES ? libusb_open(&devices[fd], h) : LIBUSB_ERROR_IO;
}

void LIBUSB_CALL libusb_close(libusb_device_handle *h) {
    fuzz_expect(h && open_handles-- > 0, "a handle closed twice");
    fuzz_expect(!n_under_way, "a handle closed with %u transfers under way", n_under_way);
}

/* Up to `size` bytes; as in libusb, none of them is beyond 127, and the text ends within its memory. */
int LIBUSB_CALL libusb_get_string_descriptor_ascii(libusb_device_handle *h, uint8_t index, unsigned char *text, int size) {
    (void)h, (void)index;
    int n = script_byte(&input) % 128;
    if (n >= size) n = size - 1;
    for (int i = 0; i < n; i++) text[i] = script_byte(&input) & 127;
    text[n] = 0;
    return n ? n : LIBUSB_ERROR_PIPE;
}

int LIBUSB_CALL libusb_set_auto_detach_kernel_driver(libusb_device_handle *h, int on) { return (void)h, (void)on, LIBUSB_ERROR_NOT_SUPPORTED; }
int LIBUSB_CALL libusb_release_interface(libusb_device_handle *h, int interface) { return (void)h, (void)interface, 0; }
int LIBUSB_CALL libusb_clear_halt(libusb_device_handle *h, unsigned char endpoint) { return (void)h, (void)endpoint, script_byte(&input) == 0xfd ? LIBUSB_ERROR_NO_DEVICE : 0; }
unsigned char *LIBUSB_CALL libusb_dev_mem_alloc(libusb_device_handle *h, size_t n) { return (void)h, script_byte(&input) & 1 ? malloc(n) : NULL; }
int LIBUSB_CALL libusb_dev_mem_free(libusb_device_handle *h, unsigned char *p, size_t n) { return (void)h, (void)n, free(p), 0; }

int LIBUSB_CALL libusb_claim_interface(libusb_device_handle *h, int interface) {
    static const int codes[] = {LIBUSB_ERROR_BUSY, LIBUSB_ERROR_NO_DEVICE, LIBUSB_ERROR_NOT_FOUND};
    unsigned b = script_byte(&input);
    (void)h, (void)interface;
    return b >= 0xf0 ? codes[b % 3] : 0;
}

int LIBUSB_CALL libusb_control_transfer(libusb_device_handle *h, uint8_t type, uint8_t request, uint16_t value, uint16_t index, unsigned char *data, uint16_t length, unsigned ms) {
    (void)h, (void)type, (void)request, (void)value, (void)index, (void)data, (void)length, (void)ms;
    unsigned b = script_byte(&input);
    return b == 0xff ? LIBUSB_ERROR_NO_DEVICE : b == 0xfe ? LIBUSB_ERROR_PIPE : 0;
}

/* Interfaces, settings and endpoints as the input has them: libusb checks lengths, not what descriptors say. */
int LIBUSB_CALL libusb_get_active_config_descriptor(libusb_device *d, struct libusb_config_descriptor **to) {
    unsigned shape = script_byte(&input), interfaces = shape & 3, endpoints = shape >> 2 & 7, usual = !(shape >> 5);
    (void)d;
    if (shape == 0xff) return LIBUSB_ERROR_NOT_FOUND;
    if (usual) interfaces = 2, endpoints = 2;
    struct libusb_config_descriptor *c = calloc(1, sizeof *c);
    struct libusb_interface *all = calloc(interfaces + 1, sizeof *all);
    fuzz_expect(c && all, "out of memory");
    packet = 512;
    for (unsigned i = 0; i < interfaces; i++) {
        struct libusb_interface_descriptor *a = calloc(1, sizeof *a);
        struct libusb_endpoint_descriptor *e = calloc(endpoints + 1, sizeof *e);
        fuzz_expect(a && e, "out of memory");
        for (unsigned k = 0; k < endpoints; k++) {
            e[k].bEndpointAddress = usual ? (uint8_t)(k ? 0x81 : 2) : script_byte(&input);
            e[k].bmAttributes = usual ? 2 : script_byte(&input);
            e[k].wMaxPacketSize = usual ? 512 : (uint16_t)script_short(&input);
            if (e[k].bEndpointAddress & 0x80 && (e[k].bmAttributes & 3) == 2) packet = e[k].wMaxPacketSize;
        }
        a->bInterfaceNumber = usual ? (uint8_t)i : script_byte(&input);
        a->bNumEndpoints = (uint8_t)endpoints;
        a->endpoint = e;
        all[i] = (struct libusb_interface){a, usual ? 1 : script_byte(&input) & 1};
    }
    c->bNumInterfaces = (uint8_t)interfaces;
    c->interface = all;
    *to = c;
    return 0;
}

void LIBUSB_CALL libusb_free_config_descriptor(struct libusb_config_descriptor *c) {
    for (int i = 0; i < c->bNumInterfaces; i++) {
        free((void *)(uintptr_t)c->interface[i].altsetting->endpoint);
        free((void *)(uintptr_t)c->interface[i].altsetting);
    }
    free((void *)(uintptr_t)c->interface);
    free(c);
}

struct libusb_transfer *LIBUSB_CALL libusb_alloc_transfer(int packets) { return calloc(1, sizeof(struct libusb_transfer) + (size_t)packets); }

void LIBUSB_CALL libusb_free_transfer(struct libusb_transfer *t) {
    for (unsigned i = 0; i < n_under_way; i++) fuzz_expect(under_way[i] != t, "a transfer freed under way");
    free(t);
}

int LIBUSB_CALL libusb_submit_transfer(struct libusb_transfer *t) {
    unsigned b = script_byte(&input);
    for (unsigned i = 0; i < n_under_way; i++) fuzz_expect(under_way[i] != t, "a transfer submitted twice");
    if (b >= 0xfc) return b == 0xff ? LIBUSB_ERROR_NO_DEVICE : b == 0xfe ? LIBUSB_ERROR_NO_MEM : LIBUSB_ERROR_IO;
    fuzz_expect(n_under_way < TRANSFERS && t->length >= 0, "transfer %u of %d bytes", n_under_way, t->length);
    t->status = LIBUSB_TRANSFER_COMPLETED;
    under_way[n_under_way++] = t;
    return 0;
}

/* Its callback comes with the next events. */
int LIBUSB_CALL libusb_cancel_transfer(struct libusb_transfer *t) {
    t->status = LIBUSB_TRANSFER_CANCELLED;
    return 0;
}

/* Bytes of the board into an IN transfer; of an FTDI bridge with its status before each packet. */
static int fill(struct libusb_transfer *t) {
    size_t n = 0, size = (size_t)t->length;
    if (!status_bytes) return (int)(size ? liar_get(board, t->buffer, size, 1e-3) : 0);
    for (int more = 1; more && packet > 2 && n + packet <= size;) {
        t->buffer[n] = script_byte(&input);
        t->buffer[n + 1] = script_byte(&input);
        size_t got = liar_get(board, t->buffer + n + 2, packet - 2, 1e-3);
        n += 2 + got;
        more = got == packet - 2;
    }
    return (int)n;
}

int LIBUSB_CALL libusb_handle_events_timeout_completed(libusb_context *c, struct timeval *wait, int *completed) {
    unsigned left = n_under_way, done = 0;
    (void)c, (void)completed;
    board->time += 1e-4;
    for (unsigned i = 0; i < left; i++) {
        struct libusb_transfer *t = under_way[i - done];
        unsigned b = t->status == LIBUSB_TRANSFER_CANCELLED ? 0 : script_byte(&input);
        t->actual_length = 0;
        if (b >= 0xf0) t->status = (enum libusb_transfer_status)(b % 7);
        else if (b >= 0xe8 || (t->status == LIBUSB_TRANSFER_COMPLETED && t->endpoint & 0x80 && done)) continue; /* goes on */
        if (t->status == LIBUSB_TRANSFER_COMPLETED && t->endpoint & 0x80) {
            t->actual_length = fill(t);
            if (!t->actual_length && b < 0xe0) continue;
        } else if (t->status == LIBUSB_TRANSFER_COMPLETED) {
            t->actual_length = b >= 0xd8 ? (int)b % (t->length + 1) : t->length;
            liar_put(board, t->buffer, (size_t)t->actual_length);
        }
        if (board->gone) t->status = LIBUSB_TRANSFER_NO_DEVICE;
        n_under_way--;
        memmove(under_way + (i - done), under_way + (i - done) + 1, (n_under_way - (i - done)) * sizeof *under_way);
        done++;
        t->callback(t);
    }
    if (!done) board->time += (double)wait->tv_sec + 1e-6 * (double)wait->tv_usec;
    return board->gone ? LIBUSB_ERROR_NO_DEVICE : 0;
}

static void session(hd_device *d) {
    uint32_t words[WORDS] = {0};
    for (int i = 0; i < OPERATIONS; i++) {
        hd_err err = {0};
        unsigned op = script_byte(&input), n = 1 + script_short(&input) % WORDS;
        enum hd_space space = (enum hd_space)(op >> 2 & 7);
        hd_status st = (op & 3) == 0 ? hd_driver_usb.read(d, space, 0, words, n, &err)
                       : (op & 3) == 1 ? hd_driver_usb.write(d, space, 0, words, n, &err) : (op & 3) == 2 ? hd_driver_usb.run(d, 1000, &err) : HD_OK;
        fuzz_expect(st == HD_OK || (st == err.code && err.message[0]), "status %d without a message", (int)st);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint16_t known[][2] = {{0x0403, 0x6010}, {0x0403, 0x6015}, {HD_USB_VENDOR, HD_USB_PRODUCT}};
    input = (script){data, size, 0};
    board = liar_new(&input);
    memset(devices, 0, sizeof devices);
    n_under_way = open_handles = 0;
    unsigned how = script_byte(&input), which = how >> 2;
    count = how & 3;
    board->babbles = how >> 7 & 1;
    for (unsigned i = 0; i < count && i < DEVICES; i++) {
        struct libusb_device_descriptor *d = &devices[i].descriptor;
        unsigned of = (which + i) % 4;
        d->idVendor = of < 3 ? known[of][0] : (uint16_t)script_short(&input);
        d->idProduct = of < 3 ? known[of][1] : (uint16_t)script_short(&input);
        d->iSerialNumber = script_byte(&input);
        d->iProduct = (uint8_t)(d->iSerialNumber >> 4);
        d->bMaxPacketSize0 = d->iProduct;
        d->bDeviceClass = script_byte(&input);
    }
    status_bytes = which % 4 < 2;
    hd_usb_info *list = NULL;
    size_t n = 0;
    hd_device *d = NULL;
    hd_err err = {0};
    if (how & 0x40) {
        hd_status s = hd_usb_list(&list, &n, &err);
        fuzz_expect(s == HD_OK || err.message[0], "status %d without a message", (int)s);
        free(list);
    }
    const hd_device_options o = {.usb_depth = script_byte(&input) & 7, .usb_transfer_bytes = 512u * (script_byte(&input) & 3), .bit_rate = script_byte(&input) & 1 ? 3000000 : 0,
                                 .run_limit_ms = 500, .where = how & 0x20 ? "1-1" : NULL};
    if (FUZZ_GOOD(hd_driver_usb.open(&d, NULL, &o, &err), &err, d)) session(d);
    hd_driver_usb.close(d);
    fuzz_expect(!open_handles, "%u handles stay open", open_handles);
    liar_free(board);
    return 0;
}
