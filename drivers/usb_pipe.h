/* Pipes over libusb: native bulk endpoints, and the serial side of an FTDI bridge. */
#ifndef HD_USB_PIPE_H
#define HD_USB_PIPE_H
#include <libusb.h>

#include "pipe.h"

typedef struct hd_usb_options {
    unsigned depth;          /* transfers under way each direction, 1..64; 0 = 8 */
    unsigned transfer_bytes; /* of one, a multiple of 512; 0 = 16384 */
    unsigned in_flight;      /* most bytes handed to the kernel at once; 0 = 4 MiB (Linux allows 16 MiB for all programs together) */
    unsigned bit_rate;       /* FTDI: of the UART; 0 = the contract's rates are tried from the bridge's highest on */
    int copy;                /* 1: never use the kernel's memory for transfers (zero copy) */
} hd_usb_options;

enum hd_usb_kind { HD_USB_NATIVE, HD_USB_FTDI_H, HD_USB_FTDI_X };

/* Takes handle and context (both closed with the pipe, and here on failure). Claims the interface, detaching a kernel driver, which gets it back at close. `name` is
 * copied. real_node: the device is a character device of usbfs, so that its memory may be mapped. */
hd_status hd_usb_pipe_open(hd_pipe **out, libusb_context *context, libusb_device_handle *handle, enum hd_usb_kind kind, int interface, const char *name,
                           int real_node, const hd_usb_options *o, hd_err *err);

/* Sets an FTDI bridge up for 8N1 at o->bit_rate, empties it, and sets its latency timer to 1 ms. *bytes_per_second is what the wire then carries. */
hd_status hd_usb_ftdi_setup(libusb_device_handle *handle, enum hd_usb_kind kind, int interface, unsigned bit_rate, double *bytes_per_second, const char *name,
                            hd_err *err);
/* Divisor code of an FTDI bridge (wValue, and the bits above it) for a bit rate, and the rate it really gives; 0 when the rate is off by more than 3%. */
int hd_usb_ftdi_divisor(uint32_t *code, double *rate, enum hd_usb_kind kind, unsigned bit_rate);
#endif
