/* A pipe of bytes over two bulk endpoints, with queues of transfers in both directions.
 *
 * OUT: bytes are gathered in the next free transfer, which goes out when it is full or at flush. IN: all transfers are always under way;
 * they come back in order, and each goes out again once its bytes were taken. No thread: events are handled while put, flush or get wait, and
 * what these were called with is moved as soon as a transfer comes back, so that it goes out again before libusb asks the kernel for the next.
 * After any fault that is not the device's end all transfers are cancelled, the endpoints' halts are cleared and the queues start anew: what was
 * under way is lost, which the link repairs. */
#include "usb_pipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../sw/contract/contract.h"
#include "../sw/core/progress.h"

enum { STATUS_BYTES = 2, OVERRUN = 0x02, MOST_DEPTH = 64, FAULTS_IN_A_ROW = 16 };

enum state { FREE, UNDER_WAY, BACK };

typedef struct usb_pipe usb_pipe;

typedef struct slot {
    usb_pipe *pipe;
    struct libusb_transfer *transfer;
    uint8_t *bytes;
    int mapped; /* the kernel's memory */
    enum state state;
    size_t used; /* OUT: gathered. IN: taken */
} slot;

struct usb_pipe {
    hd_pipe base;
    libusb_context *context;
    libusb_device_handle *handle;
    enum hd_usb_kind kind;
    int interface, claimed, gone, upset, in_a_row;
    uint8_t ep_in, ep_out;
    size_t packet, size; /* IN packet; bytes of a transfer */
    unsigned depth, rate; /* rate: which of hd_bit_rates, while it is searched */
    slot out[MOST_DEPTH], in[MOST_DEPTH];
    unsigned out_next, in_next; /* OUT: being filled. IN: the oldest */
    const uint8_t *from;        /* of the put that is under way, and how much of it is left */
    size_t left;
    uint8_t *to;                /* of the get that is under way: its memory, how much there is, how much is there */
    size_t room, got;
    char name[128];
};

static hd_status gone(const usb_pipe *p, hd_err *err) {
    return hd_fail(err, HD_DEVICE, "%s: the board went away (unplugged, or reset); plug it in and run again", p->name);
}

static int submit(usb_pipe *p, slot *s, size_t n) {
    s->transfer->length = (int)n;
    int rc = libusb_submit_transfer(s->transfer);
    if (!rc) s->state = UNDER_WAY;
    else if (rc == LIBUSB_ERROR_NO_DEVICE) p->gone = 1;
    else p->upset = 1;
    return rc;
}

/* The transfer that is being filled goes out. */
static void send(usb_pipe *p) {
    slot *s = &p->out[p->out_next];
    size_t n = s->used;
    s->used = 0;
    p->out_next = (p->out_next + 1) % p->depth;
    submit(p, s, n);
}

/* Takes bytes of one finished IN transfer, without the status bytes that an FTDI bridge puts before those of each packet. */
static size_t take(usb_pipe *p, slot *s, uint8_t *to, size_t size) {
    size_t have = (size_t)s->transfer->actual_length, n = 0;
    if (p->kind == HD_USB_NATIVE) {
        n = have - s->used < size ? have - s->used : size;
        memcpy(to, s->bytes + s->used, n);
        s->used += n;
        return n;
    }
    while (s->used < have && n < size) {
        size_t in_packet = s->used % p->packet;
        if (in_packet < STATUS_BYTES) {
            if (in_packet == 1 && s->bytes[s->used] & OVERRUN) p->base.faults++;
            s->used++;
            continue;
        }
        size_t part = p->packet - in_packet;
        if (part > have - s->used) part = have - s->used;
        if (part > size - n) part = size - n;
        memcpy(to + n, s->bytes + s->used, part);
        s->used += part;
        n += part;
    }
    return n;
}

/* Bytes of the put that is under way, into transfers while there are free ones. */
static void pour(usb_pipe *p) {
    while (p->left && !p->upset && !p->gone) {
        slot *s = &p->out[p->out_next];
        if (s->state != FREE) return;
        size_t part = p->size - s->used < p->left ? p->size - s->used : p->left;
        memcpy(s->bytes + s->used, p->from, part);
        s->used += part;
        p->from += part;
        p->left -= part;
        if (s->used == p->size) send(p);
    }
}

/* Bytes of transfers that are back, to the get that is under way. */
static void draw(usb_pipe *p) {
    while (p->got < p->room && !p->upset && !p->gone && p->in[p->in_next].state == BACK) {
        slot *s = &p->in[p->in_next];
        p->got += take(p, s, p->to + p->got, p->room - p->got);
        if (s->used < (size_t)s->transfer->actual_length) return;
        s->used = 0;
        p->in_next = (p->in_next + 1) % p->depth;
        submit(p, s, p->size);
    }
}

static void LIBUSB_CALL done(struct libusb_transfer *t) {
    slot *s = t->user_data;
    usb_pipe *p = s->pipe;
    s->state = s >= p->in && s < p->in + MOST_DEPTH ? BACK : FREE;
    switch (t->status) {
    case LIBUSB_TRANSFER_COMPLETED:
        if (s->state == FREE && t->actual_length != t->length) p->upset = 1; /* the rest of an OUT transfer is lost */
        break;
    case LIBUSB_TRANSFER_CANCELLED: break;
    case LIBUSB_TRANSFER_NO_DEVICE: p->gone = 1; break;
    default: p->upset = 1; /* stall, error, overflow, time-out */
    }
    if (p->left) pour(p);
    if (p->room) draw(p);
}

static int events(usb_pipe *p, unsigned ms) {
    struct timeval t = {.tv_sec = ms / 1000, .tv_usec = (int)(ms % 1000) * 1000};
    int rc = libusb_handle_events_timeout_completed(p->context, &t, NULL);
    if (rc == LIBUSB_ERROR_NO_DEVICE) p->gone = 1;
    return rc;
}

static unsigned under_way(const slot *s, unsigned depth) {
    unsigned n = 0;
    for (unsigned i = 0; i < depth; i++) n += s[i].state == UNDER_WAY;
    return n;
}

/* Cancels all transfers and waits until they are back; 0 when some did not come back in a second. */
static int cancel_all(usb_pipe *p) {
    for (unsigned i = 0; i < p->depth; i++) {
        if (p->out[i].state == UNDER_WAY) libusb_cancel_transfer(p->out[i].transfer);
        if (p->in[i].state == UNDER_WAY) libusb_cancel_transfer(p->in[i].transfer);
    }
    double until = hd_seconds() + 1;
    while (under_way(p->out, p->depth) + under_way(p->in, p->depth)) {
        if (hd_seconds() > until) return 0;
        events(p, 20);
    }
    return 1;
}

/* All IN transfers under way. Where the kernel has no memory for all of them, fewer are used. */
static void start_in(usb_pipe *p) {
    p->in_next = 0;
    for (unsigned i = 0; i < p->depth; i++) {
        p->in[i].used = 0;
        if (submit(p, &p->in[i], p->size)) {
            if (i && !p->gone) {
                p->depth = i;
                p->upset = 0;
            }
            return;
        }
    }
}

static hd_status recover(usb_pipe *p, hd_err *err) {
    if (p->gone) return gone(p, err);
    if (!p->upset) return HD_OK;
    if (++p->in_a_row > FAULTS_IN_A_ROW) return hd_fail(err, HD_DEVICE, "%s: USB transfers fail again and again (%d times in a row); try another cable or port", p->name, FAULTS_IN_A_ROW);
    if (!cancel_all(p)) return hd_fail(err, HD_DEVICE, "%s: USB transfers cannot be cancelled; unplug the board", p->name);
    p->base.faults++;
    p->upset = 0;
    int rc = libusb_clear_halt(p->handle, p->ep_out);
    if (rc != LIBUSB_ERROR_NO_DEVICE) rc = libusb_clear_halt(p->handle, p->ep_in);
    if (rc == LIBUSB_ERROR_NO_DEVICE) p->gone = 1;
    for (unsigned i = 0; i < p->depth; i++) p->out[i].state = FREE, p->out[i].used = 0;
    p->out_next = 0;
    if (!p->gone) start_in(p);
    return p->gone ? gone(p, err) : HD_OK;
}

static hd_status usb_flush(hd_pipe *base, hd_err *err) {
    usb_pipe *p = (usb_pipe *)base;
    hd_status st = recover(p, err);
    if (st || p->out[p->out_next].state != FREE || !p->out[p->out_next].used) return st;
    send(p);
    return p->gone ? gone(p, err) : HD_OK;
}

static hd_status usb_put(hd_pipe *base, const void *bytes, size_t n, hd_err *err) {
    usb_pipe *p = (usb_pipe *)base;
    double until = 0; /* the clock is asked only after a wait in which nothing moved */
    size_t before = n + 1;
    hd_status st = HD_OK;
    p->from = bytes;
    p->left = n;
    while (!st && p->left) {
        st = recover(p, err);
        if (st) break;
        pour(p);
        if (p->upset || p->gone || !p->left) continue;
        double time = p->left == before ? hd_seconds() : 0;
        if (p->left != before) until = 0;
        else if (until <= 0) until = time + 1e-3 * base->patience_ms;
        before = p->left;
        if (time > until) {
            p->upset = 1;
            st = hd_fail(err, HD_DEVICE, "%s: the board took no data for %u ms; plug it in again and run again", p->name, base->patience_ms);
        } else {
            events(p, 50);
        }
    }
    p->left = 0;
    return st ? st : p->gone ? gone(p, err) : HD_OK;
}

static hd_status usb_get(hd_pipe *base, void *bytes, size_t size, size_t *got, unsigned timeout_ms, hd_err *err) {
    usb_pipe *p = (usb_pipe *)base;
    uint64_t faults = base->faults;
    double until = 0;
    hd_status st;
    p->to = bytes;
    p->room = size;
    p->got = 0;
    while (!(st = recover(p, err))) {
        draw(p);
        if (p->got) p->in_a_row = 0;
        if (p->got || base->faults != faults || hd_interrupted) break;
        double time = hd_seconds();
        if (until <= 0) until = time + 1e-3 * timeout_ms;
        double left = until - time;
        if (left <= 0) break;
        events(p, left > 0.1 ? 100 : 1 + (unsigned)(1000 * left));
    }
    p->room = 0;
    *got = p->got;
    return st;
}

static hd_status usb_purge(hd_pipe *base, hd_err *err) {
    uint8_t sink[4096];
    size_t got = 1;
    hd_status st = HD_OK;
    /* What a device sends without end cannot be emptied. */
    double until = hd_seconds() + 0.2;
    while (!st && got && hd_seconds() < until) st = usb_get(base, sink, sizeof sink, &got, 0, err);
    return st;
}

static void usb_close(hd_pipe *base) {
    usb_pipe *p = (usb_pipe *)base;
    /* What was put is sent, if the board takes it soon. */
    hd_err ignored;
    double until = hd_seconds() + 0.2;
    if (p->claimed && !p->gone && !p->upset && !usb_flush(base, &ignored))
        while (under_way(p->out, p->depth) && !p->gone && !p->upset && hd_seconds() < until) events(p, 20);
    int all_back = cancel_all(p);
    for (unsigned i = 0; all_back && i < MOST_DEPTH; i++)
        for (int d = 0; d < 2; d++) {
            slot *s = d ? &p->in[i] : &p->out[i];
            if (s->transfer) libusb_free_transfer(s->transfer);
            if (s->mapped) libusb_dev_mem_free(p->handle, s->bytes, p->size);
            else free(s->bytes);
        }
    if (p->claimed) libusb_release_interface(p->handle, p->interface);
    libusb_close(p->handle);
    libusb_exit(p->context);
    /* Transfers that never came back may still be written to: they are not freed. */
    if (all_back) free(p);
}

static hd_status endpoints(usb_pipe *p, hd_err *err) {
    struct libusb_config_descriptor *config = NULL;
    int rc = libusb_get_active_config_descriptor(libusb_get_device(p->handle), &config);
    if (rc) return hd_fail(err, HD_DEVICE, "%s: no configuration descriptor: %s", p->name, libusb_strerror(rc));
    for (int i = 0; i < config->bNumInterfaces; i++) {
        const struct libusb_interface_descriptor *d = config->interface[i].altsetting;
        if (config->interface[i].num_altsetting < 1 || d->bInterfaceNumber != p->interface) continue;
        for (int e = 0; e < d->bNumEndpoints; e++) {
            if ((d->endpoint[e].bmAttributes & 3) != LIBUSB_TRANSFER_TYPE_BULK) continue;
            if (d->endpoint[e].bEndpointAddress & LIBUSB_ENDPOINT_IN) {
                p->ep_in = d->endpoint[e].bEndpointAddress;
                p->packet = d->endpoint[e].wMaxPacketSize;
            } else {
                p->ep_out = d->endpoint[e].bEndpointAddress;
            }
        }
    }
    libusb_free_config_descriptor(config);
    if (!p->ep_in || !p->ep_out || p->packet <= STATUS_BYTES)
        return hd_fail(err, HD_DEVICE, "%s: interface %d has no pair of bulk endpoints", p->name, p->interface);
    return HD_OK;
}

static hd_status queues(usb_pipe *p, const hd_usb_options *o, int real_node, hd_err *err) {
    for (unsigned i = 0; i < p->depth; i++)
        for (int d = 0; d < 2; d++) {
            slot *s = d ? &p->in[i] : &p->out[i];
            s->pipe = p;
            s->transfer = libusb_alloc_transfer(0);
            if (!o->copy && real_node) s->bytes = libusb_dev_mem_alloc(p->handle, p->size);
            s->mapped = s->bytes != NULL;
            if (!s->bytes) s->bytes = malloc(p->size);
            if (!s->transfer || !s->bytes) return hd_fail(err, HD_NOMEM, "%s: out of memory for %u transfers", p->name, 2 * p->depth);
            libusb_fill_bulk_transfer(s->transfer, p->handle, d ? p->ep_in : p->ep_out, s->bytes, (int)p->size, done, s, 0);
        }
    start_in(p);
    if (p->gone) return gone(p, err);
    if (p->upset) return hd_fail(err, HD_DEVICE, "%s: no transfer can be started; is /sys/module/usbcore/parameters/usbfs_memory_mb too small?", p->name);
    return HD_OK;
}

static hd_status claim(usb_pipe *p, hd_err *err) {
    libusb_set_auto_detach_kernel_driver(p->handle, 1); /* not supported on some systems: then claiming says so */
    int rc = libusb_claim_interface(p->handle, p->interface);
    if (rc == LIBUSB_ERROR_BUSY) return hd_fail(err, HD_DEVICE, "%s: another program uses the board; end it and run again", p->name);
    if (rc == LIBUSB_ERROR_NO_DEVICE) return gone(p, err);
    if (rc) return hd_fail(err, HD_DEVICE, "%s: interface %d cannot be claimed: %s", p->name, p->interface, libusb_strerror(rc));
    p->claimed = 1;
    return HD_OK;
}

/* After hd_usb_ftdi_setup at the bridge's highest rate, which is in the contract's list. */
static hd_status usb_next_rate(hd_pipe *base, hd_err *err) {
    usb_pipe *p = (usb_pipe *)base;
    uint32_t code;
    double rate;
    do p->rate = (p->rate + 1) % HD_BIT_RATES;
    while (!hd_usb_ftdi_divisor(&code, &rate, p->kind, hd_bit_rates[p->rate]));
    return hd_usb_ftdi_setup(p->handle, p->kind, p->interface, hd_bit_rates[p->rate], &base->bytes_per_second, p->name, err);
}

static void search_rates(usb_pipe *p) {
    uint32_t code;
    double rate;
    p->rate = HD_BIT_RATES;
    for (unsigned i = 0; i < HD_BIT_RATES; i++)
        if (hd_usb_ftdi_divisor(&code, &rate, p->kind, hd_bit_rates[i])) {
            if (p->rate == HD_BIT_RATES) p->rate = i;
            p->base.rates++;
        }
    p->base.next_rate = usb_next_rate;
}

hd_status hd_usb_pipe_open(hd_pipe **out, libusb_context *context, libusb_device_handle *handle, enum hd_usb_kind kind, int interface, const char *name,
                           int real_node, const hd_usb_options *options, hd_err *err) {
    hd_usb_options o = options ? *options : (hd_usb_options){0};
    usb_pipe *p = calloc(1, sizeof *p);
    *out = NULL;
    if (!p) {
        libusb_close(handle);
        libusb_exit(context);
        return hd_fail(err, HD_NOMEM, "%s: out of memory", name);
    }
    if (!o.depth) o.depth = 8;
    if (!o.transfer_bytes) o.transfer_bytes = 16384;
    if (!o.in_flight) o.in_flight = 4u << 20;
    snprintf(p->name, sizeof p->name, "%s", name);
    p->base = (hd_pipe){.put = usb_put, .flush = usb_flush, .get = usb_get, .purge = usb_purge, .close = usb_close, .name = p->name,
                        .can_wait = kind == HD_USB_NATIVE, .bytes_per_second = 1e6, .latency_ms = kind == HD_USB_NATIVE ? 2 : 4, .patience_ms = 2000};
    p->context = context;
    p->handle = handle;
    p->kind = kind;
    p->interface = interface;
    p->size = o.transfer_bytes;
    p->depth = o.depth < MOST_DEPTH ? o.depth : MOST_DEPTH; /* what is refused below is closed all the same */
    hd_status s = HD_OK;
    if (o.depth > MOST_DEPTH || o.transfer_bytes % 512 || o.transfer_bytes > 1u << 20 || o.transfer_bytes > o.in_flight / 2)
        s = hd_fail(err, HD_RANGE, "%s: %u transfers of %u bytes; allowed are 1 to %d, of a multiple of 512 bytes up to 1 MiB, and %u bytes in all for at least one each way", p->name, o.depth,
                    o.transfer_bytes, MOST_DEPTH, o.in_flight);
    while (!s && p->depth > 1 && (size_t)p->depth * 2 * p->size > o.in_flight) p->depth--;
    if (!s) s = claim(p, err);
    if (!s) s = endpoints(p, err);
    if (!s && kind != HD_USB_NATIVE) s = hd_usb_ftdi_setup(handle, kind, interface, o.bit_rate, &p->base.bytes_per_second, p->name, err);
    if (kind != HD_USB_NATIVE && !o.bit_rate) search_rates(p);
    if (!s) s = queues(p, &o, real_node, err);
    if (s) {
        usb_close(&p->base);
        return s;
    }
    *out = &p->base;
    return HD_OK;
}
