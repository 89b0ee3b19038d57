/* A host controller for one device on a bus: transfers become transactions (USB 2.0, chapters 5.8, 8.5 and 9). */
#include <stdlib.h>
#include <string.h>

#include "vusb_queue.h"

/* ADDRESS: what the device gets. WORK_CLOCKS of USB in one call of work, so that the front end stays awake. STRIKES: transactions in a row without a sound answer
 * that end a transfer. PATIENCE: of a control transfer's NAKs. */
enum { ADDRESS = 1, WORK_CLOCKS = 20000, STRIKES = 3, PATIENCE = 100000, CONTROL_PACKET = 64, ENDPOINTS = 16 };

/* One of the two directions of an endpoint. */
typedef struct pipe {
    queue queue;
    int toggle, strikes, ping;
    size_t packet; /* wMaxPacketSize */
} pipe;

typedef struct host {
    hd_vusb base;
    hd_vbus *bus;
    unsigned address;
    uint8_t device[18], *config;
    size_t config_bytes;
    pipe out[ENDPOINTS], in[ENDPOINTS];
    queue done;
} host;

static enum hd_vbus_pid data_pid(int toggle) { return toggle ? HD_PID_DATA1 : HD_PID_DATA0; }

/* ---- control transfers, from set-up to status in one go */

/* An OUT or SETUP transaction of endpoint 0, again until the device has taken it; HD_VUSB_OK, _STALL or _ERROR. */
static int control_out(host *h, enum hd_vbus_pid token, int toggle, uint8_t *bytes, size_t n) {
    for (int strikes = 0, naks = 0; strikes < STRIKES && naks < PATIENCE;) {
        size_t part = n;
        enum hd_vbus_pid pid = h->bus->transact(h->bus, token, h->address, 0, data_pid(toggle), bytes, &part);
        if (pid == HD_PID_ACK || pid == HD_PID_NYET) return HD_VUSB_OK;
        if (pid == HD_PID_STALL) return HD_VUSB_STALL;
        if (pid == HD_PID_NAK) naks++;
        else strikes++;
    }
    return HD_VUSB_ERROR;
}

static int control_in(host *h, int toggle, uint8_t packet[HD_VBUS_PACKET], size_t *n) {
    for (int strikes = 0, naks = 0; strikes < STRIKES && naks < PATIENCE;) {
        *n = 0;
        enum hd_vbus_pid pid = h->bus->transact(h->bus, HD_PID_IN, h->address, 0, HD_PID_NONE, packet, n);
        if (pid == data_pid(toggle)) return HD_VUSB_OK;
        if (pid == HD_PID_STALL) return HD_VUSB_STALL;
        if (pid == HD_PID_NAK) naks++;
        else strikes++; /* the other toggle: a packet that was here before, whose ACK was lost */
    }
    return HD_VUSB_ERROR;
}

static int control(host *h, const uint8_t setup[8], uint8_t *bytes, size_t length, size_t *actual) {
    uint8_t packet[HD_VBUS_PACKET];
    size_t asked = (size_t)(setup[6] | setup[7] << 8), n = 0;
    int toggle = 1, status;
    *actual = 0;
    if (asked > length) asked = length;
    memcpy(packet, setup, 8);
    status = control_out(h, HD_PID_SETUP, 0, packet, 8);
    for (n = CONTROL_PACKET; !status && setup[0] & 0x80 && *actual < asked && n == CONTROL_PACKET; toggle = !toggle) {
        status = control_in(h, toggle, packet, &n);
        if (status) break;
        if (n > asked - *actual) return HD_VUSB_OVERFLOW;
        memcpy(bytes + *actual, packet, n);
        *actual += n;
    }
    for (; !status && !(setup[0] & 0x80) && *actual < asked; toggle = !toggle) {
        n = asked - *actual < CONTROL_PACKET ? asked - *actual : CONTROL_PACKET;
        status = control_out(h, HD_PID_OUT, toggle, bytes + *actual, n);
        if (!status) *actual += n;
    }
    if (status) return status;
    return setup[0] & 0x80 && asked ? control_out(h, HD_PID_OUT, 1, packet, 0) : control_in(h, 1, packet, &n);
}

/* What a request that the device has taken means for the host's side of its endpoints. */
static void follow(host *h, const uint8_t s[8]) {
    unsigned endpoint = s[4] & 15;
    int all = (s[0] == 0x00 && s[1] == 9) || (s[0] == 0x01 && s[1] == 11);
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        int one = s[0] == 0x02 && s[1] == 1 && i == endpoint;
        if (all || (one && s[4] & 0x80)) h->in[i].toggle = 0;
        if (all || (one && !(s[4] & 0x80))) h->out[i].toggle = h->out[i].ping = 0;
    }
}

static void finish(host *h, hd_vusb_transfer *t, int status) {
    t->status = status;
    push(&h->done, t);
}

static void control_transfer(host *h, hd_vusb_transfer *t) {
    int status = HD_VUSB_OK;
    if (t->setup[0] || t->setup[1] != 5) status = control(h, t->setup, t->bytes, t->length, &t->actual);
    if (!status) follow(h, t->setup);
    finish(h, t, status);
}

/* ---- bulk: a transaction for the first transfer of a pipe; 1 when something moved */

static int no_answer(host *h, pipe *p) {
    if (++p->strikes < STRIKES) return 1;
    p->strikes = 0;
    finish(h, pop(&p->queue), HD_VUSB_ERROR);
    return 1;
}

static int move_out(host *h, unsigned endpoint) {
    pipe *p = &h->out[endpoint];
    hd_vusb_transfer *t = p->queue.first;
    enum hd_vbus_pid pid;
    if (!t) return 0;
    size_t n = t->length - t->actual < p->packet ? t->length - t->actual : p->packet;
    /* At high speed a host asks for room after NYET and NAK. */
    if (p->ping) {
        pid = h->bus->transact(h->bus, HD_PID_PING, h->address, endpoint, HD_PID_NONE, NULL, NULL);
        if (pid == HD_PID_NAK) return 0;
        p->ping = pid != HD_PID_ACK;
        if (pid == HD_PID_STALL) return finish(h, pop(&p->queue), HD_VUSB_STALL), 1;
        return pid == HD_PID_ACK ? 1 : no_answer(h, p);
    }
    pid = h->bus->transact(h->bus, HD_PID_OUT, h->address, endpoint, data_pid(p->toggle), t->bytes + t->actual, &n);
    if (pid == HD_PID_ACK || pid == HD_PID_NYET) {
        p->toggle = !p->toggle;
        p->strikes = 0;
        p->ping = pid == HD_PID_NYET;
        t->actual += n;
        if (t->actual == t->length) finish(h, pop(&p->queue), HD_VUSB_OK);
        return 1;
    }
    if (pid == HD_PID_NAK) return p->ping = h->base.high_speed, p->strikes = 0, 0;
    if (pid == HD_PID_STALL) return finish(h, pop(&p->queue), HD_VUSB_STALL), 1;
    return no_answer(h, p);
}

static int move_in(host *h, unsigned endpoint) {
    pipe *p = &h->in[endpoint];
    hd_vusb_transfer *t = p->queue.first;
    uint8_t packet[HD_VBUS_PACKET];
    size_t n = 0;
    if (!t) return 0;
    enum hd_vbus_pid pid = h->bus->transact(h->bus, HD_PID_IN, h->address, endpoint, HD_PID_NONE, packet, &n);
    if (pid == HD_PID_NAK) return p->strikes = 0, 0;
    if (pid == HD_PID_STALL) return finish(h, pop(&p->queue), HD_VUSB_STALL), 1;
    if (pid != HD_PID_DATA0 && pid != HD_PID_DATA1) return no_answer(h, p);
    p->strikes = 0;
    if (pid != data_pid(p->toggle)) return 1; /* was here before; its ACK was lost */
    p->toggle = !p->toggle;
    if (n > t->length - t->actual) return finish(h, pop(&p->queue), HD_VUSB_OVERFLOW), 1;
    memcpy(t->bytes + t->actual, packet, n);
    t->actual += n;
    if (n < p->packet || t->actual == t->length) finish(h, pop(&p->queue), HD_VUSB_OK);
    return 1;
}

/* ---- the interface */

static void host_submit(hd_vusb *d, hd_vusb_transfer *t) {
    host *h = (host *)d;
    unsigned endpoint = t->endpoint & 15u;
    pipe *p = t->endpoint & 0x80 ? &h->in[endpoint] : &h->out[endpoint];
    t->actual = 0;
    if (!endpoint) control_transfer(h, t);
    else if (p->packet) push(&p->queue, t);
    else finish(h, t, HD_VUSB_STALL);
}

static int host_cancel(hd_vusb *d, hd_vusb_transfer *t) {
    host *h = (host *)d;
    return take_out(t->endpoint & 0x80 ? &h->in[t->endpoint & 15].queue : &h->out[t->endpoint & 15].queue, t);
}

static hd_vusb_transfer *host_finished(hd_vusb *d) { return pop(&((host *)d)->done); }

static hd_status host_work(hd_vusb *d, unsigned *idle_ms, hd_err *err) {
    host *h = (host *)d;
    hd_vbus *b = h->bus;
    int waiting = 0, moved = 1;
    for (uint64_t end = b->clocks(b) + WORK_CLOCKS; b->clocks(b) < end && !h->done.first;) {
        waiting = moved = 0;
        for (unsigned i = 1; i < ENDPOINTS; i++) {
            moved |= move_out(h, i) | move_in(h, i);
            waiting |= h->out[i].queue.first != NULL;
        }
        if (moved || waiting) continue;
        if (!b->busy(b)) break;
        b->idle(b, 500); /* between two polls that find nothing */
    }
    *idle_ms = h->done.first || moved || waiting || b->busy(b) ? 0 : 50;
    return b->check(b, err);
}

static void host_reset(hd_vusb *d) {
    host *h = (host *)d;
    static const uint8_t set_address[8] = {0, 5, ADDRESS};
    size_t none;
    int speed = h->bus->reset(h->bus);
    h->base.high_speed = speed > 0;
    h->address = 0;
    for (unsigned i = 0; i < ENDPOINTS; i++) h->out[i].toggle = h->out[i].ping = h->in[i].toggle = 0;
    if (speed >= 0 && !control(h, set_address, NULL, 0, &none)) h->address = ADDRESS;
}

static void host_close(hd_vusb *d) {
    host *h = (host *)d;
    h->bus->close(h->bus);
    free(h->config);
    free(h);
}

/* ---- enumeration */

static hd_status describe(host *h, hd_err *err) {
    const uint8_t get_device[8] = {0x80, 6, 0, 1, 0, 0, 18, 0};
    uint8_t get_config[8] = {0x80, 6, 0, 2, 0, 0, 9, 0}, head[9];
    size_t n, total;
    if (control(h, get_device, h->device, sizeof h->device, &n) || n != 18) return hd_fail(err, HD_DEVICE, "virtual board: its USB device has no device descriptor");
    if (control(h, get_config, head, sizeof head, &n) || n != 9 || (total = (size_t)(head[2] | head[3] << 8)) < 9)
        return hd_fail(err, HD_DEVICE, "virtual board: its USB device has no configuration descriptor");
    h->config = malloc(total);
    if (!h->config) return hd_fail(err, HD_NOMEM, "virtual board: out of memory");
    get_config[6] = head[2], get_config[7] = head[3];
    if (control(h, get_config, h->config, total, &n) || n != total) return hd_fail(err, HD_DEVICE, "virtual board: its configuration descriptor is cut off");
    for (size_t at = 0; at + 2 <= total && h->config[at] >= 2 && at + h->config[at] <= total; at += h->config[at]) {
        const uint8_t *e = h->config + at;
        if (e[1] != 5 || e[0] < 7) continue;
        size_t packet = (size_t)((e[4] | e[5] << 8) & 0x7ff);
        (e[2] & 0x80 ? &h->in[e[2] & 15] : &h->out[e[2] & 15])->packet = packet < HD_VBUS_PACKET ? packet : HD_VBUS_PACKET;
    }
    return HD_OK;
}

hd_status hd_vusb_bus(hd_vusb **out, hd_vbus *bus, hd_err *err) {
    host *h = calloc(1, sizeof *h);
    *out = NULL;
    if (!h) {
        bus->close(bus);
        return hd_fail(err, HD_NOMEM, "virtual board: out of memory");
    }
    h->base = (hd_vusb){.device = h->device, .submit = host_submit, .cancel = host_cancel, .finished = host_finished, .work = host_work, .reset = host_reset, .close = host_close};
    h->bus = bus;
    host_reset(&h->base);
    hd_status s = h->address ? describe(h, err) : hd_fail(err, HD_DEVICE, "virtual board: its USB device does not take an address");
    if (!s) s = bus->check(bus, err);
    h->base.config = h->config;
    if (s) host_close(&h->base);
    else *out = &h->base;
    return s;
}
