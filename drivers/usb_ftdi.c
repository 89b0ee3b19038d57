/* Setting up an FTDI serial bridge: vendor requests of FT2232H (H) and FT231X (X). */
#include "usb_pipe.h"

enum { OUT_VENDOR = 0x40, RESET = 0, SET_FLOW = 2, SET_BAUD = 3, SET_DATA = 4, SET_LATENCY = 9, SET_BITMODE = 11, PURGE_RX = 1, PURGE_TX = 2, DATA_8N1 = 8 };

int hd_usb_ftdi_divisor(uint32_t *code, double *rate, enum hd_usb_kind kind, unsigned bit_rate) {
    /* Divisor in eighths; its fraction has a code of its own. Divisors 1 and 1.5 are written 0 and 1. */
    static const uint32_t fraction[8] = {0, 3, 2, 4, 1, 5, 6, 7};
    double base = kind == HD_USB_FTDI_H ? 12e6 : 3e6;
    if (!bit_rate || bit_rate > base * 1.03) return 0;
    uint32_t eighths = (uint32_t)(base * 8 / bit_rate + 0.5);
    if (eighths < 8) eighths = 8;
    if (eighths > 8 && eighths < 12) eighths = eighths < 10 ? 8 : 12;
    if (eighths > 12 && eighths < 16) eighths = eighths < 14 ? 12 : 16;
    if (eighths >> 3 > 0x3fff) return 0;
    *rate = base * 8 / eighths;
    *code = eighths == 8 ? 0 : eighths == 12 ? 1 : (eighths >> 3) | fraction[eighths & 7] << 14;
    if (kind == HD_USB_FTDI_H) *code |= 1u << 17; /* the 120 MHz clock */
    double off = *rate / bit_rate;
    return off > 0.97 && off < 1.03;
}

static hd_status request(libusb_device_handle *h, int what, unsigned value, unsigned index, const char *name, hd_err *err) {
    int rc = libusb_control_transfer(h, OUT_VENDOR, (uint8_t)what, (uint16_t)value, (uint16_t)index, NULL, 0, 1000);
    if (rc == LIBUSB_ERROR_NO_DEVICE) return hd_fail(err, HD_DEVICE, "%s: the board went away (unplugged, or reset); plug it in and run again", name);
    if (rc < 0) return hd_fail(err, HD_DEVICE, "%s: the bridge refuses request %d: %s", name, what, libusb_strerror(rc));
    return HD_OK;
}

hd_status hd_usb_ftdi_setup(libusb_device_handle *h, enum hd_usb_kind kind, int interface, unsigned bit_rate, double *bytes_per_second, const char *name, hd_err *err) {
    unsigned port = kind == HD_USB_FTDI_H ? (unsigned)interface + 1 : 0, highest = kind == HD_USB_FTDI_H ? 12000000 : 3000000;
    uint32_t code;
    double rate;
    if (!hd_usb_ftdi_divisor(&code, &rate, kind, bit_rate ? bit_rate : highest))
        return hd_fail(err, HD_RANGE, "%s: the bridge has no bit rate near %u; its highest is %u", name, bit_rate, highest);
    /* The divisor's upper bits go into wIndex: above the port's number where there is one. */
    unsigned baud_index = port ? (code >> 16) << 8 | port : code >> 16;
    hd_status s = request(h, RESET, 0, port, name, err);
    if (!s) s = request(h, SET_BITMODE, 0, port, name, err);
    if (!s) s = request(h, SET_BAUD, code & 0xffff, baud_index, name, err);
    if (!s) s = request(h, SET_DATA, DATA_8N1, port, name, err);
    if (!s) s = request(h, SET_FLOW, 0, port, name, err);
    if (!s) s = request(h, SET_LATENCY, 1, port, name, err);
    if (!s) s = request(h, RESET, PURGE_RX, port, name, err);
    if (!s) s = request(h, RESET, PURGE_TX, port, name, err);
    *bytes_per_second = rate / 10;
    return s;
}
