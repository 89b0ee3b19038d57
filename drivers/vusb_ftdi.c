/* A virtual FTDI bridge: the requests, packets and buffers that drivers and kernel modules rely on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../sw/core/progress.h"
#include "vusb_queue.h"

enum { STATUS_BYTES = 2, TX_SIZE = 4096, RX_SIZE = 1 << 16, FLOW = 256, MOST_TEXT = 62 /* characters of a string */ };

typedef struct ftdi {
    hd_vusb base;
    hd_vboard *board;
    int h;
    uint8_t device[18], config[64], string[4][2 + 2 * MOST_TEXT];
    uint8_t out_endpoint, in_endpoint, other_out, other_in; /* port B, or the only one; port A of FT2232H */
    size_t packet;
    queue out, in, done;
    uint8_t tx[TX_SIZE], rx[RX_SIZE]; /* to and from the board */
    size_t tx_n, rx_first, rx_n;
    double rate, latency, status_due;
    int overrun, configured;
} ftdi;

static void finish(ftdi *f, hd_vusb_transfer *t, int status, size_t actual) {
    t->status = status;
    t->actual = actual;
    push(&f->done, t);
}

/* ---- requests */

static double rate_of(const ftdi *f, uint32_t code) {
    static const unsigned eighths[8] = {0, 4, 2, 1, 3, 5, 6, 7};
    double base = f->h && code & 1u << 17 ? 12e6 : 3e6;
    uint32_t whole = code & 0x3fff, fraction = eighths[code >> 14 & 7];
    if (!fraction && whole == 0) return base;
    if (!fraction && whole == 1) return base / 1.5;
    return base * 8 / (whole * 8 + fraction);
}

static size_t answer(hd_vusb_transfer *t, const uint8_t *bytes, size_t n, unsigned asked) {
    if (n > asked) n = asked;
    if (n > t->length) n = t->length;
    memcpy(t->bytes, bytes, n);
    return n;
}

static void vendor_request(ftdi *f, hd_vusb_transfer *t, unsigned request, unsigned value, unsigned index) {
    unsigned port = f->h ? index & 255 : 0;
    if (f->h && port != 2) { /* port A: taken, without effect */
        finish(f, t, port < 2 ? HD_VUSB_OK : HD_VUSB_STALL, 0);
        return;
    }
    switch (request) {
    case 0:
        if (value == 0 || value == 1) f->rx_n = 0;
        if (value == 0 || value == 2) f->tx_n = 0;
        break;
    case 3: f->rate = rate_of(f, value | (f->h ? index >> 8 : index) << 16); break;
    case 9: f->latency = 1e-3 * (value & 255); break;
    case 1: case 2: case 4: case 6: case 7: case 11: break; /* modem lines, flow control, data format, event and error characters, bit mode */
    default: finish(f, t, HD_VUSB_STALL, 0); return;
    }
    finish(f, t, HD_VUSB_OK, 0);
}

static void control(ftdi *f, hd_vusb_transfer *t) {
    const uint8_t *s = t->setup;
    unsigned type = s[0], request = s[1], value = s[2] | s[3] << 8, index = s[4] | s[5] << 8, length = s[6] | s[7] << 8;
    const uint8_t zero[2] = {0, 0}, line[2] = {1, 0x60}, one = (uint8_t)f->configured, latency = (uint8_t)(1000 * f->latency + 0.5);
    if ((type & 0x60) == 0x40) {
        if (!(type & 0x80)) vendor_request(f, t, request, value, index);
        else if (request == 5) finish(f, t, HD_VUSB_OK, answer(t, line, 2, length));
        else if (request == 10) finish(f, t, HD_VUSB_OK, answer(t, &latency, 1, length));
        else finish(f, t, HD_VUSB_STALL, 0);
    } else if (type == 0x80 && request == 6 && value == 0x100) finish(f, t, HD_VUSB_OK, answer(t, f->device, 18, length));
    else if (type == 0x80 && request == 6 && value == 0x200) finish(f, t, HD_VUSB_OK, answer(t, f->config, (size_t)(f->config[2] | f->config[3] << 8), length));
    else if (type == 0x80 && request == 6 && value >> 8 == 3 && (value & 255) < 4) finish(f, t, HD_VUSB_OK, answer(t, f->string[value & 255], f->string[value & 255][0], length));
    else if ((type & 0xfc) == 0x80 && request == 0) finish(f, t, HD_VUSB_OK, answer(t, zero, 2, length));
    else if (type == 0x80 && request == 8) finish(f, t, HD_VUSB_OK, answer(t, &one, 1, length));
    else if (type == 0x81 && request == 10) finish(f, t, HD_VUSB_OK, answer(t, zero, 1, length));
    else if (type == 0x00 && request == 9 && value < 2) {
        f->configured = (int)value;
        finish(f, t, HD_VUSB_OK, 0);
    } else if ((type == 0x00 && request == 5) || (type == 0x01 && request == 11 && !value) || (type == 0x02 && (request == 1 || request == 3) && !value)) finish(f, t, HD_VUSB_OK, 0);
    else finish(f, t, HD_VUSB_STALL, 0);
}

/* ---- bulk */

static void serve_out(ftdi *f) {
    while (f->out.first) {
        hd_vusb_transfer *t = f->out.first;
        size_t room = TX_SIZE - f->tx_n, part = t->length - t->actual < room ? t->length - t->actual : room;
        memcpy(f->tx + f->tx_n, t->bytes + t->actual, part);
        f->tx_n += part;
        t->actual += part;
        if (t->actual < t->length) return; /* the bridge's buffer is full: it says NAK */
        finish(f, pop(&f->out), HD_VUSB_OK, t->actual);
    }
}

/* Packets of status and bytes until a short one or the transfer's end. */
static void serve_in(ftdi *f) {
    double now = hd_seconds();
    while (f->in.first && (f->rx_n >= f->packet - STATUS_BYTES || now >= f->status_due)) {
        hd_vusb_transfer *t = pop(&f->in);
        size_t n = 0;
        for (int more = 1; more && n + f->packet <= t->length;) {
            size_t part = f->rx_n < f->packet - STATUS_BYTES ? f->rx_n : f->packet - STATUS_BYTES;
            t->bytes[n] = 1;
            t->bytes[n + 1] = (uint8_t)(0x60 | (f->overrun ? 2 : 0));
            f->overrun = 0;
            memcpy(t->bytes + n + STATUS_BYTES, f->rx + f->rx_first, part);
            f->rx_first += part;
            f->rx_n -= part;
            n += STATUS_BYTES + part;
            more = part == f->packet - STATUS_BYTES && f->rx_n;
        }
        f->status_due = now + f->latency;
        finish(f, t, HD_VUSB_OK, n);
    }
}

static void ftdi_submit(hd_vusb *d, hd_vusb_transfer *t) {
    ftdi *f = (ftdi *)d;
    t->actual = 0;
    if (!(t->endpoint & 0x7f)) control(f, t);
    else if (t->endpoint == f->out_endpoint) push(&f->out, t);
    else if (t->endpoint == f->in_endpoint) push(&f->in, t);
    else if (t->endpoint == f->other_out) finish(f, t, HD_VUSB_OK, t->length);
    else if (t->endpoint != f->other_in || !f->h) finish(f, t, HD_VUSB_STALL, 0);
    else if (t->length >= STATUS_BYTES) t->bytes[0] = 1, t->bytes[1] = 0x60, finish(f, t, HD_VUSB_OK, STATUS_BYTES);
    else finish(f, t, HD_VUSB_STALL, 0);
    serve_out(f);
}

static int ftdi_cancel(hd_vusb *d, hd_vusb_transfer *t) {
    ftdi *f = (ftdi *)d;
    return take_out(&f->out, t) || take_out(&f->in, t);
}

static hd_vusb_transfer *ftdi_finished(hd_vusb *d) { return pop(&((ftdi *)d)->done); }

static hd_status ftdi_work(hd_vusb *d, unsigned *idle_ms, hd_err *err) {
    ftdi *f = (ftdi *)d;
    if (!f->rx_n) f->rx_first = 0;
    size_t got = 0, room = RX_SIZE - f->rx_n - f->rx_first;
    if (room < FLOW && f->rx_first) {
        memmove(f->rx, f->rx + f->rx_first, f->rx_n);
        f->rx_first = 0;
        room = RX_SIZE - f->rx_n;
    }
    /* Another rate than the board's: the wire's bits make no bytes that anybody meant. */
    double off = f->rate / f->board->bit_rate;
    if (off < 0.97 || off > 1.03)
        for (size_t i = 0; i < f->tx_n; i++) f->tx[i] = (uint8_t)(f->tx[i] * 29 + 7);
    uint8_t sink[FLOW];
    int lost = room < FLOW;
    hd_status s = f->board->step(f->board, f->tx, f->tx_n, lost ? sink : f->rx + f->rx_first + f->rx_n, lost ? sizeof sink : room, &got, err);
    f->tx_n = 0;
    if (lost) f->overrun |= got != 0;
    else f->rx_n += got;
    serve_out(f);
    serve_in(f);
    double wait = f->in.first ? 1e3 * (f->status_due - hd_seconds()) : 50;
    *idle_ms = f->done.first || f->tx_n || f->board->busy(f->board) ? 0 : wait < 0 ? 0 : wait > 50 ? 50 : 1 + (unsigned)wait;
    return s;
}

static void ftdi_reset(hd_vusb *d) {
    ftdi *f = (ftdi *)d;
    f->tx_n = f->rx_n = f->rx_first = 0;
    f->configured = 0;
    f->latency = 0.016;
    f->rate = 115200;
}

static void ftdi_close(hd_vusb *d) {
    ftdi *f = (ftdi *)d;
    f->board->close(f->board);
    free(f);
}

/* ---- descriptors */

static void text(uint8_t *string, const char *s) {
    size_t n = strlen(s) < MOST_TEXT ? strlen(s) : MOST_TEXT;
    string[0] = (uint8_t)(2 + 2 * n);
    string[1] = 3;
    for (size_t i = 0; i < n; i++) string[2 + 2 * i] = (uint8_t)s[i];
}

hd_status hd_vusb_ftdi(hd_vusb **out, hd_vboard *board, int h, const char *product, const char *serial, hd_err *err) {
    ftdi *f = calloc(1, sizeof *f);
    *out = NULL;
    if (!f) {
        board->close(board);
        return hd_fail(err, HD_NOMEM, "virtual bridge: out of memory");
    }
    f->base = (hd_vusb){.device = f->device, .config = f->config, .high_speed = h, .submit = ftdi_submit, .cancel = ftdi_cancel, .finished = ftdi_finished,
                        .work = ftdi_work, .reset = ftdi_reset, .close = ftdi_close};
    f->board = board;
    f->h = h;
    f->packet = h ? 512 : 64;
    f->out_endpoint = h ? 0x04 : 0x02;
    f->in_endpoint = h ? 0x83 : 0x81;
    f->other_out = 0x02;
    f->other_in = 0x81;
    unsigned interfaces = h ? 2 : 1, total = 9 + 23 * interfaces, id = h ? 0x6010 : 0x6015, version = h ? 0x0700 : 0x1000;
    const uint8_t device[18] = {18, 1, 0, 2, 0, 0, 0, (uint8_t)(h ? 64 : 8), 0x03, 0x04, (uint8_t)id, (uint8_t)(id >> 8), (uint8_t)version, (uint8_t)(version >> 8), 1, 2, 3, 1};
    const uint8_t config[9] = {9, 2, (uint8_t)total, 0, (uint8_t)interfaces, 1, 0, 0x80, 250};
    memcpy(f->device, device, sizeof device);
    memcpy(f->config, config, sizeof config);
    for (unsigned i = 0; i < interfaces; i++) {
        const uint8_t rest[23] = {9, 4, (uint8_t)i, 0, 2, 255, 255, 255, 2, 7, 5, (uint8_t)(0x81 + 2 * i), 2, (uint8_t)f->packet, (uint8_t)(f->packet >> 8), 0,
                                  7, 5, (uint8_t)(0x02 + 2 * i), 2, (uint8_t)f->packet, (uint8_t)(f->packet >> 8), 0};
        memcpy(f->config + 9 + 23 * i, rest, sizeof rest);
    }
    const uint8_t languages[4] = {4, 3, 9, 4};
    memcpy(f->string[0], languages, sizeof languages);
    text(f->string[1], "heddle");
    text(f->string[2], product);
    text(f->string[3], serial);
    ftdi_reset(&f->base);
    *out = &f->base;
    return HD_OK;
}
