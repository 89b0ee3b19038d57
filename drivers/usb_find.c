/* Finding and opening boards on the USB. */
#include "usb_find.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../sw/contract/contract.h"

/* The bridges of the boards in boards/boards.def; on FT2232H channel A carries JTAG or flash, channel B the UART. */
static const struct {
    uint16_t vendor, product;
    enum hd_usb_kind kind;
    int interface;
    const char *name;
} known[] = {
    {HD_USB_VENDOR, HD_USB_PRODUCT, HD_USB_NATIVE, 0, "native"},
    {0x0403, 0x6010, HD_USB_FTDI_H, 1, "FT2232H"},
    {0x0403, 0x6015, HD_USB_FTDI_X, 0, "FT231X"},
};
enum { KNOWN = sizeof known / sizeof *known };

static int which(const struct libusb_device_descriptor *d) {
    for (int i = 0; i < KNOWN; i++)
        if (d->idVendor == known[i].vendor && d->idProduct == known[i].product) return i;
    return -1;
}

static void path_of(char *text, size_t size, libusb_device *device) {
    uint8_t port[8];
    int n = libusb_get_port_numbers(device, port, sizeof port), at = snprintf(text, size, "%d-", libusb_get_bus_number(device));
    for (int i = 0; i < n && (size_t)at < size; i++) at += snprintf(text + at, size - (size_t)at, "%s%d", i ? "." : "", port[i]);
    if (n <= 0) snprintf(text + at, size - (size_t)at, "%d", libusb_get_device_address(device));
}

static void text_of(char *text, size_t size, libusb_device_handle *handle, uint8_t index) {
    int n = index ? libusb_get_string_descriptor_ascii(handle, index, (unsigned char *)text, (int)size - 1) : 0;
    text[n > 0 ? n : 0] = 0;
    /* It ends up on terminals and in JSON. */
    for (char *c = text; *c; c++)
        if (*c < 32 || *c > 126) *c = '?';
}

static const char *no_access = "no permission; install the udev rule (docs/usb.md, Permissions) and plug the board in again, or run as root";

/* 0 when it is no board. `handle` stays open when the caller asks for it. */
static int describe(hd_usb_info *info, libusb_device *device, libusb_device_handle **keep) {
    struct libusb_device_descriptor d;
    libusb_device_handle *handle = NULL;
    if (libusb_get_device_descriptor(device, &d)) return 0;
    int k = which(&d);
    if (k < 0) return 0;
    *info = (hd_usb_info){.vendor = d.idVendor, .product = d.idProduct, .kind = known[k].kind, .kind_name = known[k].name, .interface = known[k].interface};
    path_of(info->path, sizeof info->path, device);
    snprintf(info->title, sizeof info->title, "%s", known[k].name);
    int rc = libusb_open(device, &handle);
    if (rc) {
        snprintf(info->why, sizeof info->why, "%s", rc == LIBUSB_ERROR_ACCESS ? no_access : libusb_strerror(rc));
        return 1;
    }
    info->usable = 1;
    text_of(info->serial, sizeof info->serial, handle, d.iSerialNumber);
    char title[sizeof info->title];
    text_of(title, sizeof title, handle, d.iProduct);
    if (*title) memcpy(info->title, title, sizeof title);
    if (keep) *keep = handle;
    else libusb_close(handle);
    return 1;
}

static hd_status start(libusb_context **context, hd_err *err) {
    int rc = libusb_init(context);
    return rc ? hd_fail(err, HD_DEVICE, "usb: libusb cannot start: %s", libusb_strerror(rc)) : HD_OK;
}

static int by_path(const void *a, const void *b) { return strcmp(((const hd_usb_info *)a)->path, ((const hd_usb_info *)b)->path); }

hd_status hd_usb_list(hd_usb_info **list, size_t *n, hd_err *err) {
    libusb_context *context = NULL;
    libusb_device **device = NULL;
    *list = NULL;
    *n = 0;
    hd_status s = start(&context, err);
    if (s) return s;
    ssize_t count = libusb_get_device_list(context, &device);
    if (count > 0) *list = calloc((size_t)count, sizeof **list);
    if (count > 0 && !*list) s = hd_fail(err, HD_NOMEM, "usb: out of memory");
    for (ssize_t i = 0; !s && i < count; i++) *n += (size_t)describe(*list + *n, device[i], NULL);
    if (*n) qsort(*list, *n, sizeof **list, by_path);
    if (count >= 0) libusb_free_device_list(device, 1);
    libusb_exit(context);
    if (!*n) {
        free(*list);
        *list = NULL;
    }
    return s;
}

static int matches(const hd_usb_info *info, const char *where) {
    char id[16];
    snprintf(id, sizeof id, "%04x:%04x", info->vendor, info->product);
    return !where || !*where || !strcmp(where, info->serial) || !strcmp(where, info->path) || !strcmp(where, id);
}

static void add_text(char *list, size_t size, const hd_usb_info *info) {
    size_t n = strlen(list);
    snprintf(list + n, size - n, "%s%s (%s%s%s)", n ? ", " : "", info->path, info->title, *info->serial ? ", serial " : "", info->serial);
}

hd_status hd_usb_open(hd_pipe **out, const char *where, const hd_usb_options *o, hd_err *err) {
    libusb_context *context = NULL;
    libusb_device **device = NULL;
    libusb_device_handle *handle = NULL;
    hd_usb_info chosen = {0};
    char seen[320] = "";
    unsigned found = 0;
    *out = NULL;
    hd_status s = start(&context, err);
    if (s) return s;
    ssize_t count = libusb_get_device_list(context, &device);
    for (ssize_t i = 0; i < count; i++) {
        hd_usb_info info;
        libusb_device_handle *h = NULL;
        if (!describe(&info, device[i], &h)) continue;
        add_text(seen, sizeof seen, &info);
        if (matches(&info, where) && !found++) {
            chosen = info;
            handle = h;
            h = NULL;
        }
        if (h) libusb_close(h);
    }
    if (count >= 0) libusb_free_device_list(device, 1);
    if (!found && !*seen) s = hd_fail(err, HD_DEVICE, "usb: no board is plugged in; `heddle devices` lists what is looked for");
    else if (!found) s = hd_fail(err, HD_DEVICE, "usb: no board '%.60s'; there are %s", where, seen);
    else if (found > 1) s = hd_fail(err, HD_DEVICE, "usb: several boards; choose one by --device usb:SERIAL or usb:PATH; there are %s", seen);
    else if (!handle) s = hd_fail(err, HD_DEVICE, "usb: %s (%s): %s", chosen.path, chosen.title, chosen.why);
    if (s) {
        if (handle) libusb_close(handle);
        libusb_exit(context);
        return s;
    }
    char name[160], node[64];
    struct stat status;
    snprintf(name, sizeof name, "usb: %s at %s", chosen.title, chosen.path);
    snprintf(node, sizeof node, "/dev/bus/usb/%03d/%03d", libusb_get_bus_number(libusb_get_device(handle)), libusb_get_device_address(libusb_get_device(handle)));
    return hd_usb_pipe_open(out, context, handle, chosen.kind, chosen.interface, name, !stat(node, &status) && S_ISCHR(status.st_mode), o, err);
}

hd_status hd_usb_open_fd(hd_pipe **out, int fd, const hd_usb_options *o, hd_err *err) {
    libusb_context *context = NULL;
    libusb_device_handle *handle = NULL;
    struct libusb_device_descriptor d;
    struct stat status;
    *out = NULL;
    hd_status s = start(&context, err);
    if (s) return s;
    int rc = libusb_wrap_sys_device(context, fd, &handle), k = -1;
    if (!rc) rc = libusb_get_device_descriptor(libusb_get_device(handle), &d);
    if (rc) s = hd_fail(err, HD_DEVICE, "usb: file descriptor %d is no USB device: %s", fd, libusb_strerror(rc));
    else if ((k = which(&d)) < 0) s = hd_fail(err, HD_DEVICE, "usb: file descriptor %d: device %04x:%04x is no board that heddle knows; `heddle devices` lists what is looked for", fd, d.idVendor, d.idProduct);
    if (s) {
        if (handle) libusb_close(handle);
        libusb_exit(context);
        return s;
    }
    char name[64];
    snprintf(name, sizeof name, "usb: %s at descriptor %d", known[k].name, fd);
    return hd_usb_pipe_open(out, context, handle, known[k].kind, known[k].interface, name, !fstat(fd, &status) && S_ISCHR(status.st_mode), o, err);
}
