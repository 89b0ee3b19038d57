/* The usb-redir protocol, by libusbredirparser (SPICE): this side is the one with the device, the "USB host" of the protocol. The other side keeps addresses to
 * itself and asks for configurations and alternate settings by packets of their own, which become the requests that the device knows. */
#include "usbredir.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <usbredirparser.h>

enum { MOST_BYTES = 1 << 20 /* of a transfer */, ENDPOINTS = 32, INTERFACES = 32 };

enum kind { CONTROL, BULK, SET_CONFIGURATION, GET_CONFIGURATION, SET_ALT, GET_ALT };

typedef struct request {
    hd_vusb_transfer transfer;
    enum kind kind;
    uint64_t id;
    union {
        struct usb_redir_control_packet_header control;
        struct usb_redir_bulk_packet_header bulk;
        uint8_t set[2]; /* what was asked for: configuration, or interface and setting */
    } header;
    struct request *next;
} request;

struct hd_usbredir {
    hd_vusb *device;
    struct usbredirparser *parser; /* of the client */
    request *under_way;
    size_t transfers, transfer_bytes; /* under way */
    int listener, client, failed, bound;
    struct sockaddr_un address;
};

/* ---- what the device is */

static size_t index_of(uint8_t endpoint) { return (size_t)((endpoint & 0x80) >> 3 | (endpoint & 0x0f)); }

static void tell_endpoints(hd_usbredir *s) {
    const uint8_t *d = s->device->config;
    size_t total = (size_t)(d[2] | d[3] << 8), at;
    struct usb_redir_interface_info_header interfaces = {0};
    struct usb_redir_ep_info_header endpoints = {0};
    memset(endpoints.type, usb_redir_type_invalid, ENDPOINTS);
    endpoints.type[0] = endpoints.type[16] = usb_redir_type_control;
    endpoints.max_packet_size[0] = endpoints.max_packet_size[16] = s->device->device[7];
    uint8_t interface = 0;
    int first_setting = 0;
    for (at = 0; at + 2 <= total && d[at] >= 2 && at + d[at] <= total; at += d[at]) {
        if (d[at + 1] == 4 && d[at] >= 9) {
            interface = d[at + 2];
            first_setting = !d[at + 3];
            uint32_t n = interfaces.interface_count;
            if (!first_setting || n >= INTERFACES) continue;
            interfaces.interface[n] = interface;
            interfaces.interface_class[n] = d[at + 5];
            interfaces.interface_subclass[n] = d[at + 6];
            interfaces.interface_protocol[n] = d[at + 7];
            interfaces.interface_count = n + 1;
        } else if (d[at + 1] == 5 && d[at] >= 7 && first_setting) {
            size_t i = index_of(d[at + 2]);
            endpoints.type[i] = d[at + 3] & 3;
            endpoints.interval[i] = d[at + 6];
            endpoints.interface[i] = interface;
            endpoints.max_packet_size[i] = (uint16_t)(d[at + 4] | d[at + 5] << 8);
        }
    }
    usbredirparser_send_interface_info(s->parser, &interfaces);
    usbredirparser_send_ep_info(s->parser, &endpoints);
}

static void on_hello(void *owner, struct usb_redir_hello_header *hello) {
    hd_usbredir *s = owner;
    const uint8_t *d = s->device->device;
    (void)hello;
    struct usb_redir_device_connect_header connect = {
        .speed = s->device->high_speed ? usb_redir_speed_high : usb_redir_speed_full, .device_class = d[4], .device_subclass = d[5], .device_protocol = d[6],
        .vendor_id = (uint16_t)(d[8] | d[9] << 8), .product_id = (uint16_t)(d[10] | d[11] << 8), .device_version_bcd = (uint16_t)(d[12] | d[13] << 8)};
    tell_endpoints(s);
    usbredirparser_send_device_connect(s->parser, &connect);
}

static void on_reset(void *owner) {
    hd_usbredir *s = owner;
    s->device->reset(s->device);
}

/* ---- transfers */

static uint8_t status_of(int status) {
    switch (status) {
    case HD_VUSB_OK: return usb_redir_success;
    case HD_VUSB_STALL: return usb_redir_stall;
    case HD_VUSB_CANCELLED: return usb_redir_cancelled;
    case HD_VUSB_OVERFLOW: return usb_redir_babble;
    default: return usb_redir_ioerror;
    }
}

static void forget(hd_usbredir *s, request *q) {
    for (request **at = &s->under_way; *at; at = &(*at)->next)
        if (*at == q) {
            *at = q->next;
            break;
        }
    s->transfers--;
    s->transfer_bytes -= q->transfer.length;
    free(q->transfer.bytes);
    free(q);
}

static void answer(hd_usbredir *s, request *q) {
    const hd_vusb_transfer *t = &q->transfer;
    uint8_t status = status_of(t->status);
    size_t in = t->endpoint & 0x80 ? t->actual : 0;
    uint8_t *bytes = in ? t->bytes : NULL;
    switch (q->kind) {
    case CONTROL:
        q->header.control.status = status;
        q->header.control.length = (uint16_t)t->actual;
        usbredirparser_send_control_packet(s->parser, q->id, &q->header.control, bytes, (int)in);
        break;
    case BULK:
        q->header.bulk.status = status;
        q->header.bulk.length = (uint16_t)t->actual;
        q->header.bulk.length_high = (uint16_t)(t->actual >> 16);
        usbredirparser_send_bulk_packet(s->parser, q->id, &q->header.bulk, bytes, (int)in);
        break;
    case SET_CONFIGURATION:
    case GET_CONFIGURATION: {
        struct usb_redir_configuration_status_header h = {.status = status, .configuration = q->kind == SET_CONFIGURATION ? q->header.set[0] : in ? t->bytes[0] : 0};
        if (q->kind == SET_CONFIGURATION && !t->status) tell_endpoints(s);
        usbredirparser_send_configuration_status(s->parser, q->id, &h);
        break;
    }
    case SET_ALT:
    case GET_ALT: {
        struct usb_redir_alt_setting_status_header h = {.status = status, .interface = q->header.set[0], .alt = q->kind == SET_ALT ? q->header.set[1] : in ? t->bytes[0] : 0};
        usbredirparser_send_alt_setting_status(s->parser, q->id, &h);
        break;
    }
    }
}

/* A request with memory for `length` bytes; without memory, or with too much under way, the connection ends. */
static request *new_request(hd_usbredir *s, enum kind kind, uint64_t id, uint8_t endpoint, size_t length) {
    int room = s->transfers < HD_VUSB_MOST_TRANSFERS && s->transfer_bytes + length <= HD_VUSB_MOST_WAITING;
    request *q = room ? calloc(1, sizeof *q) : NULL;
    uint8_t *bytes = q ? calloc(1, length ? length : 1) : NULL;
    if (!bytes) {
        free(q);
        s->failed = 1;
        return NULL;
    }
    q->kind = kind;
    q->id = id;
    q->transfer = (hd_vusb_transfer){.endpoint = endpoint, .bytes = bytes, .length = length, .owner = q};
    q->next = s->under_way;
    s->under_way = q;
    s->transfers++;
    s->transfer_bytes += length;
    return q;
}

static void submit(hd_usbredir *s, request *q) { s->device->submit(s->device, &q->transfer); }

static void submit_control(hd_usbredir *s, request *q, uint8_t type, uint8_t what, uint16_t value, uint16_t index, uint16_t length) {
    const uint8_t setup[8] = {type, what, (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)index, (uint8_t)(index >> 8), (uint8_t)length, (uint8_t)(length >> 8)};
    memcpy(q->transfer.setup, setup, sizeof setup);
    submit(s, q);
}

static void on_control(void *owner, uint64_t id, struct usb_redir_control_packet_header *h, uint8_t *data, int n) {
    hd_usbredir *s = owner;
    request *q = new_request(s, CONTROL, id, h->endpoint & 0x80, h->length);
    if (q) {
        q->header.control = *h;
        if (data && n <= h->length) memcpy(q->transfer.bytes, data, (size_t)n);
        submit_control(s, q, h->requesttype, h->request, h->value, h->index, h->length);
    }
    usbredirparser_free_packet_data(s->parser, data);
}

static void on_bulk(void *owner, uint64_t id, struct usb_redir_bulk_packet_header *h, uint8_t *data, int n) {
    hd_usbredir *s = owner;
    size_t length = (size_t)h->length | (size_t)h->length_high << 16;
    if (length > MOST_BYTES) {
        h->status = usb_redir_inval;
        h->length = h->length_high = 0;
        usbredirparser_send_bulk_packet(s->parser, id, h, NULL, 0);
    } else {
        request *q = new_request(s, BULK, id, h->endpoint, length);
        if (q) {
            q->header.bulk = *h;
            if (data && (size_t)n <= length) memcpy(q->transfer.bytes, data, (size_t)n);
            submit(s, q);
        }
    }
    usbredirparser_free_packet_data(s->parser, data);
}

static void on_set_configuration(void *owner, uint64_t id, struct usb_redir_set_configuration_header *h) {
    request *q = new_request(owner, SET_CONFIGURATION, id, 0, 0);
    if (!q) return;
    q->header.set[0] = h->configuration;
    submit_control(owner, q, 0x00, 9, h->configuration, 0, 0);
}

static void on_get_configuration(void *owner, uint64_t id) {
    request *q = new_request(owner, GET_CONFIGURATION, id, 0x80, 1);
    if (q) submit_control(owner, q, 0x80, 8, 0, 0, 1);
}

static void on_set_alt(void *owner, uint64_t id, struct usb_redir_set_alt_setting_header *h) {
    request *q = new_request(owner, SET_ALT, id, 0, 0);
    if (!q) return;
    q->header.set[0] = h->interface;
    q->header.set[1] = h->alt;
    submit_control(owner, q, 0x01, 11, h->alt, h->interface, 0);
}

static void on_get_alt(void *owner, uint64_t id, struct usb_redir_get_alt_setting_header *h) {
    request *q = new_request(owner, GET_ALT, id, 0x80, 1);
    if (!q) return;
    q->header.set[0] = h->interface;
    submit_control(owner, q, 0x81, 10, 0, h->interface, 1);
}

/* A transfer that is finished already is answered as such; the other side knows that the two cross. */
static void on_cancel(void *owner, uint64_t id) {
    hd_usbredir *s = owner;
    request *q = s->under_way;
    while (q && (q->id != id || q->kind > BULK)) q = q->next;
    if (!q || !s->device->cancel(s->device, &q->transfer)) return;
    q->transfer.status = HD_VUSB_CANCELLED;
    q->transfer.actual = 0;
    answer(s, q);
    forget(s, q);
}

/* ---- what the device does not have: the library calls for every kind of packet, whether or not there is somebody to call */

static void refuse(void *owner) { ((hd_usbredir *)owner)->failed = 1; }
static void on_start_iso(void *owner, uint64_t id, struct usb_redir_start_iso_stream_header *h) { (void)id, (void)h, refuse(owner); }
static void on_stop_iso(void *owner, uint64_t id, struct usb_redir_stop_iso_stream_header *h) { (void)id, (void)h, refuse(owner); }
static void on_start_interrupt(void *owner, uint64_t id, struct usb_redir_start_interrupt_receiving_header *h) { (void)id, (void)h, refuse(owner); }
static void on_stop_interrupt(void *owner, uint64_t id, struct usb_redir_stop_interrupt_receiving_header *h) { (void)id, (void)h, refuse(owner); }
static void on_alloc_streams(void *owner, uint64_t id, struct usb_redir_alloc_bulk_streams_header *h) { (void)id, (void)h, refuse(owner); }
static void on_free_streams(void *owner, uint64_t id, struct usb_redir_free_bulk_streams_header *h) { (void)id, (void)h, refuse(owner); }
static void on_start_bulk(void *owner, uint64_t id, struct usb_redir_start_bulk_receiving_header *h) { (void)id, (void)h, refuse(owner); }
static void on_stop_bulk(void *owner, uint64_t id, struct usb_redir_stop_bulk_receiving_header *h) { (void)id, (void)h, refuse(owner); }

static void refuse_data(void *owner, uint8_t *data) {
    usbredirparser_free_packet_data(((hd_usbredir *)owner)->parser, data);
    refuse(owner);
}

static void on_iso(void *owner, uint64_t id, struct usb_redir_iso_packet_header *h, uint8_t *data, int n) { (void)id, (void)h, (void)n, refuse_data(owner, data); }
static void on_interrupt(void *owner, uint64_t id, struct usb_redir_interrupt_packet_header *h, uint8_t *data, int n) { (void)id, (void)h, (void)n, refuse_data(owner, data); }

/* Said by a client that filters devices; it goes away by itself. */
static void on_filter_reject(void *owner) { (void)owner; }
static void on_disconnect_ack(void *owner) { (void)owner; }
static void on_filter(void *owner, struct usbredirfilter_rule *rules, int n) { (void)owner, (void)n, free(rules); }

/* ---- the connection */

/* The library's messages tell of clients that speak nonsense; they lose their connection. */
static void on_log(void *owner, int level, const char *text) { (void)owner, (void)level, (void)text; }

static int on_read(void *owner, uint8_t *bytes, int n) {
    hd_usbredir *s = owner;
    ssize_t got = recv(s->client, bytes, (size_t)n, MSG_DONTWAIT);
    if (got > 0) return (int)got;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static int on_write(void *owner, uint8_t *bytes, int n) {
    hd_usbredir *s = owner;
    ssize_t sent = send(s->client, bytes, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return (int)sent;
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static void hang_up(hd_usbredir *s) {
    if (s->client < 0) return;
    close(s->client);
    s->client = -1;
    while (s->under_way) {
        s->device->cancel(s->device, &s->under_way->transfer);
        for (hd_vusb_transfer *t; (t = s->device->finished(s->device));)
            if (t->owner != s->under_way) forget(s, t->owner);
        forget(s, s->under_way);
    }
    if (s->parser) usbredirparser_destroy(s->parser);
    s->parser = NULL;
    s->device->reset(s->device);
}

static void welcome(hd_usbredir *s) {
    uint32_t can[USB_REDIR_CAPS_SIZE] = {0};
    s->client = accept(s->listener, NULL, NULL);
    if (s->client < 0) return;
    fcntl(s->client, F_SETFD, FD_CLOEXEC);
    struct usbredirparser *p = usbredirparser_create();
    s->parser = p;
    s->failed = !p;
    if (!p) return;
    p->priv = s;
    p->log_func = on_log;
    p->read_func = on_read;
    p->write_func = on_write;
    p->hello_func = on_hello;
    p->reset_func = on_reset;
    p->set_configuration_func = on_set_configuration;
    p->get_configuration_func = on_get_configuration;
    p->set_alt_setting_func = on_set_alt;
    p->get_alt_setting_func = on_get_alt;
    p->cancel_data_packet_func = on_cancel;
    p->control_packet_func = on_control;
    p->bulk_packet_func = on_bulk;
    p->start_iso_stream_func = on_start_iso;
    p->stop_iso_stream_func = on_stop_iso;
    p->start_interrupt_receiving_func = on_start_interrupt;
    p->stop_interrupt_receiving_func = on_stop_interrupt;
    p->alloc_bulk_streams_func = on_alloc_streams;
    p->free_bulk_streams_func = on_free_streams;
    p->start_bulk_receiving_func = on_start_bulk;
    p->stop_bulk_receiving_func = on_stop_bulk;
    p->iso_packet_func = on_iso;
    p->interrupt_packet_func = on_interrupt;
    p->filter_reject_func = on_filter_reject;
    p->filter_filter_func = on_filter;
    p->device_disconnect_ack_func = on_disconnect_ack;
    usbredirparser_caps_set_cap(can, usb_redir_cap_connect_device_version);
    usbredirparser_caps_set_cap(can, usb_redir_cap_ep_info_max_packet_size);
    usbredirparser_caps_set_cap(can, usb_redir_cap_64bits_ids);
    usbredirparser_caps_set_cap(can, usb_redir_cap_32bits_bulk_length);
    usbredirparser_init(p, "heddle", can, USB_REDIR_CAPS_SIZE, usbredirparser_fl_usb_host);
}

hd_status hd_usbredir_serve(hd_usbredir *s, const volatile int *stop, hd_err *err) {
    unsigned idle = 50;
    while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
        struct pollfd p = {.fd = s->client < 0 ? s->listener : s->client, .events = POLLIN};
        if (s->parser && usbredirparser_has_data_to_write(s->parser)) p.events |= POLLOUT;
        int rc = poll(&p, 1, (int)(idle < 50 ? idle : 50));
        if (rc < 0 && errno != EINTR) return hd_fail(err, HD_IO, "serve: poll: %s", strerror(errno));
        int failed = 0; /* of the library; s->failed is what its calls to here found */
        if (rc > 0 && s->client < 0) welcome(s);
        else if (rc > 0 && p.revents & (POLLIN | POLLHUP | POLLERR)) failed = usbredirparser_do_read(s->parser) != 0;
        s->failed |= failed;
        if (s->client >= 0 && !s->failed) {
            hd_status st = s->device->work(s->device, &idle, err);
            if (st) return st;
            for (hd_vusb_transfer *t; (t = s->device->finished(s->device));) {
                answer(s, t->owner);
                forget(s, t->owner);
            }
            if (usbredirparser_has_data_to_write(s->parser) && usbredirparser_do_write(s->parser)) s->failed = 1;
            if (usbredirparser_get_bufferered_output_size(s->parser) > HD_VUSB_MOST_WAITING) s->failed = 1; /* it asks and does not read */
        }
        if (s->failed) hang_up(s);
        s->failed = 0;
        if (s->client < 0) idle = 50;
    }
    return HD_OK;
}

/* A socket that nobody listens on any more is out of the way after this. */
static hd_status make_room(const struct sockaddr_un *a, hd_err *err) {
    struct stat there;
    if (lstat(a->sun_path, &there)) return HD_OK;
    if (!S_ISSOCK(there.st_mode)) return hd_fail(err, HD_IO, "%s: exists and is no socket; name another path for --redir", a->sun_path);
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int refused = probe >= 0 && connect(probe, (const struct sockaddr *)a, sizeof *a) && errno == ECONNREFUSED;
    if (probe >= 0) close(probe);
    if (!refused) return hd_fail(err, HD_IO, "%s: another program listens there; end it or name another path for --redir", a->sun_path);
    unlink(a->sun_path);
    return HD_OK;
}

static hd_status name_socket(struct sockaddr_un *a, const char *path, hd_err *err) {
    a->sun_family = AF_UNIX;
    if (!*path || strlen(path) >= sizeof a->sun_path)
        return hd_fail(err, HD_USAGE, "serve: --redir: found a path of %zu characters; a socket's has 1 to %zu", strlen(path), sizeof a->sun_path - 1);
    memcpy(a->sun_path, path, strlen(path) + 1);
    return make_room(a, err);
}

hd_status hd_usbredir_can_listen(const char *path, hd_err *err) {
    struct sockaddr_un a = {0};
    return name_socket(&a, path, err);
}

hd_status hd_usbredir_listen(hd_usbredir **out, hd_vusb *device, const char *path, hd_err *err) {
    hd_usbredir *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) {
        device->close(device);
        return hd_fail(err, HD_NOMEM, "serve: out of memory");
    }
    s->device = device;
    s->client = -1;
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    hd_status st = name_socket(&s->address, path, err);
    /* The mode given to the socket before it has a name becomes that of the name. */
    if (!st && (s->listener < 0 || fchmod(s->listener, 0600) || bind(s->listener, (struct sockaddr *)&s->address, sizeof s->address) || !(s->bound = 1) || listen(s->listener, 4)))
        st = hd_fail(err, HD_IO, "serve: cannot listen on %s: %s; --redir names another path", path, strerror(errno));
    if (st) hd_usbredir_close(s);
    else *out = s;
    return st;
}

void hd_usbredir_close(hd_usbredir *s) {
    if (!s) return;
    hang_up(s);
    if (s->listener >= 0) close(s->listener);
    if (s->bound) unlink(s->address.sun_path);
    s->device->close(s->device);
    free(s);
}
