/* The unchanged program `heddle` on a mocked USB: umockdev gives it a /sys, a /dev and uevents of their own, and hands the ioctls of its libusb to this
 * process, where they become transfers of a virtual FTDI bridge with a Verilated board behind it. Enumeration, hotplug, the kernel's serial driver, a run.
 *
 * umockdev-wrapper mocked HEDDLE DIR GEOMETRY:MEMORY, with net.hdp, two.idx, many.idx and ref.bin in DIR. */
#define _GNU_SOURCE /* F_SETPIPE_SZ */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h> /* usbdevice_fs.h does not include it */
#include <sys/stat.h>
#include <sys/wait.h>
#include <umockdev.h>
#include <unistd.h>

#include <linux/usbdevice_fs.h>

#include "../../compiler/lower/program.h"
#include "../../drivers/vusb.h"
#include "../../sw/core/file.h"
#include "../../sw/core/progress.h"

#define SYSTEM_PATH "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-1"
#define DRIVER "ftdi_sio"
enum { INTERFACES = 2, UART = 1 /* the interface of the board's port */, SETUP = 8 };

typedef struct urb {
    hd_vusb_transfer transfer;
    UMockdevIoctlData *urb, *bytes; /* the other process's, copied back when it is reaped */
    struct urb *next;
} urb;

/* The ioctls come in umockdev's thread. */
static struct {
    pthread_mutex_t lock;
    hd_vusb *device; /* NULL: nothing is plugged in */
    UMockdevTestbed *testbed;
    UMockdevIoctlBase *handler;
    urb *under_way, *done, **done_end;
    int node, full;          /* the device's node, a FIFO (use_fifo) */
    int claimed[INTERFACES], driver[INTERFACES];
    unsigned number, detached, attached, submitted, strange;
} m = {.lock = PTHREAD_MUTEX_INITIALIZER, .node = -1};

static int failures;
#define CHECK(what) ((what) ? (void)0 : (void)(fprintf(stderr, "mocked.c:%d: %s\n", __LINE__, #what), failures++))

/* ---- the node
 *
 * libusb polls it for writing: that means that a transfer can be reaped. A regular file, which is what umockdev makes, always is. A FIFO of one page is not while
 * it is full. */

static void show(void) {
    static char page[4096];
    int ready = m.done || !m.device;
    if (ready == !m.full || m.node < 0) return;
    ssize_t n = ready ? read(m.node, page, sizeof page) : write(m.node, page, sizeof page);
    CHECK(n == (ssize_t)sizeof page);
    m.full = !ready;
}

static void node_path(char *path, size_t n) {
    char *root = umockdev_testbed_get_root_dir(m.testbed);
    snprintf(path, n, "%s/dev/bus/usb/001/%03u", root, m.number);
    g_free(root);
}

static void use_fifo(void) {
    char path[512];
    node_path(path, sizeof path);
    m.full = 0;
    if (unlink(path) || mkfifo(path, 0666) || (m.node = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0 || fcntl(m.node, F_SETPIPE_SZ, 4096) < 0) {
        perror(path);
        exit(1);
    }
    show();
}

/* ---- transfers */

static void push_done(urb *u, int status) {
    for (urb **at = &m.under_way; *at; at = &(*at)->next)
        if (*at == u) {
            *at = u->next;
            break;
        }
    u->transfer.status = status;
    u->next = NULL;
    if (!m.done) m.done_end = &m.done;
    *m.done_end = u;
    m.done_end = &u->next;
}

static void collect(void) {
    for (hd_vusb_transfer *t; m.device && (t = m.device->finished(m.device));) push_done(t->owner, t->status == HD_VUSB_STALL ? -EPIPE : t->status);
    show();
}

static int submit(UMockdevIoctlData *arg) {
    UMockdevIoctlData *of = umockdev_ioctl_data_resolve(arg, 0, sizeof(struct usbdevfs_urb), NULL);
    const struct usbdevfs_urb *k = (const struct usbdevfs_urb *)(void *)of->data;
    size_t n = (size_t)k->buffer_length;
    int control = k->type == USBDEVFS_URB_TYPE_CONTROL;
    if ((!control && k->type != USBDEVFS_URB_TYPE_BULK) || (control && n < SETUP)) {
        g_object_unref(of);
        return EINVAL;
    }
    urb *u = calloc(1, sizeof *u);
    if (!u) abort();
    u->urb = of;
    u->bytes = umockdev_ioctl_data_resolve(of, G_STRUCT_OFFSET(struct usbdevfs_urb, buffer), n, NULL);
    u->transfer = (hd_vusb_transfer){.endpoint = k->endpoint, .bytes = u->bytes->data, .length = n, .owner = u};
    if (control) {
        memcpy(u->transfer.setup, u->bytes->data, SETUP);
        u->transfer.endpoint = u->transfer.setup[0] & 0x80;
        u->transfer.bytes += SETUP;
        u->transfer.length -= SETUP;
    } else {
        CHECK(m.claimed[UART]);
    }
    u->next = m.under_way;
    m.under_way = u;
    m.submitted++;
    m.device->submit(m.device, &u->transfer);
    collect();
    return 0;
}

static int discard(UMockdevIoctlData *arg) {
    urb *u = m.under_way;
    gulong address;
    memcpy(&address, arg->data, sizeof address);
    while (u && u->urb->client_addr != address) u = u->next;
    if (!u || !m.device->cancel(m.device, &u->transfer)) return EINVAL;
    push_done(u, -ENOENT);
    show();
    return 0;
}

static int reap(UMockdevIoctlClient *client, UMockdevIoctlData *arg) {
    urb *u = m.done;
    if (!u) return m.device ? EAGAIN : ENODEV;
    m.done = u->next;
    show();
    struct usbdevfs_urb *k = (struct usbdevfs_urb *)(void *)u->urb->data;
    k->status = u->transfer.status;
    k->actual_length = (int)u->transfer.actual;
    UMockdevIoctlData *to = umockdev_ioctl_data_resolve(arg, 0, sizeof(void *), NULL);
    umockdev_ioctl_data_set_ptr(to, 0, u->urb);
    umockdev_ioctl_client_complete(client, 0, 0);
    g_object_unref(to);
    g_object_unref(u->urb);
    if (u->bytes) g_object_unref(u->bytes);
    free(u);
    return 0;
}

/* ---- the other requests of usbfs */

static int claim(unsigned interface, int detach) {
    if (interface >= INTERFACES) return EINVAL;
    if (m.driver[interface] && !detach) return EBUSY;
    m.detached += (unsigned)m.driver[interface];
    m.driver[interface] = 0;
    m.claimed[interface] = 1;
    return 0;
}

static int release(unsigned interface) {
    if (interface >= INTERFACES || !m.claimed[interface]) return EINVAL;
    m.claimed[interface] = 0;
    return 0;
}

/* Only what gives an interface back to its driver is asked of it. */
static int interface_ioctl(UMockdevIoctlData *arg) {
    UMockdevIoctlData *of = umockdev_ioctl_data_resolve(arg, 0, sizeof(struct usbdevfs_ioctl), NULL);
    const struct usbdevfs_ioctl *k = (const struct usbdevfs_ioctl *)(void *)of->data;
    int known = k->ioctl_code == (int)USBDEVFS_CONNECT && k->ifno >= 0 && k->ifno < INTERFACES && !m.claimed[k->ifno];
    if (known) m.attached += !m.driver[k->ifno], m.driver[k->ifno] = 1;
    g_object_unref(of);
    return known ? 0 : ENOTTY;
}

static unsigned word_of(UMockdevIoctlData *arg) {
    UMockdevIoctlData *of = umockdev_ioctl_data_resolve(arg, 0, sizeof(unsigned), NULL);
    unsigned value;
    memcpy(&value, of->data, sizeof value);
    g_object_unref(of);
    return value;
}

static int request(UMockdevIoctlClient *client, UMockdevIoctlData *arg, unsigned long code) {
    if (code == USBDEVFS_REAPURBNDELAY) return reap(client, arg);
    if (!m.device) return ENODEV;
    switch (code) {
    case USBDEVFS_GET_CAPABILITIES: {
        UMockdevIoctlData *to = umockdev_ioctl_data_resolve(arg, 0, sizeof(uint32_t), NULL);
        const uint32_t can = USBDEVFS_CAP_BULK_SCATTER_GATHER | USBDEVFS_CAP_NO_PACKET_SIZE_LIM | USBDEVFS_CAP_REAP_AFTER_DISCONNECT;
        memcpy(to->data, &can, sizeof can);
        umockdev_ioctl_client_complete(client, 0, 0);
        g_object_unref(to);
        return 0;
    }
    case USBDEVFS_DISCONNECT_CLAIM: return claim(word_of(arg), 1); /* the interface is its structure's first word */
    case USBDEVFS_CLAIMINTERFACE: return claim(word_of(arg), 0);
    case USBDEVFS_RELEASEINTERFACE: return release(word_of(arg));
    case USBDEVFS_IOCTL: return interface_ioctl(arg);
    case USBDEVFS_SUBMITURB: return submit(arg);
    case USBDEVFS_DISCARDURB: return discard(arg);
    default:
        fprintf(stderr, "mocked: request %lx was not expected\n", code);
        m.strange++;
        return ENOTTY;
    }
}

static gboolean on_ioctl(UMockdevIoctlBase *base, UMockdevIoctlClient *client, gpointer unused) {
    (void)base, (void)unused;
    unsigned long code = umockdev_ioctl_client_get_request(client);
    pthread_mutex_lock(&m.lock);
    int error = request(client, umockdev_ioctl_client_get_arg(client), code);
    pthread_mutex_unlock(&m.lock);
    /* These two have been answered, with what they bring. */
    if (error || (code != USBDEVFS_REAPURBNDELAY && code != USBDEVFS_GET_CAPABILITIES)) umockdev_ioctl_client_complete(client, error ? -1 : 0, error);
    return TRUE;
}

/* ---- in and out */

static void plug(const hd_geometry *g) {
    char node[64];
    hd_err err = {0};
    GError *error = NULL;
    hd_vboard *board = NULL;
    hd_vusb *device = NULL;
    if (hd_vboard_sim(&board, g, 12000000, 1, &err) || hd_vusb_ftdi(&device, board, 1, "mocked board", "mock-1", &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    m.number++; /* the kernel counts on */
    GString *s = g_string_new(NULL);
    g_string_append_printf(s, "P: %s\nN: bus/usb/001/%03u\nE: SUBSYSTEM=usb\nE: DEVTYPE=usb_device\nE: DEVNAME=/dev/bus/usb/001/%03u\nE: BUSNUM=001\nE: DEVNUM=%03u\n"
                           "E: MAJOR=189\nE: MINOR=%u\nA: busnum=1\\n\nA: devnum=%u\\n\nA: bConfigurationValue=1\\n\nA: speed=480\\n\nH: descriptors=",
                           SYSTEM_PATH + 4, m.number, m.number, m.number, m.number - 1, m.number);
    for (int i = 0; i < 18; i++) g_string_append_printf(s, "%02X", device->device[i]);
    for (int i = 0; i < (device->config[2] | device->config[3] << 8); i++) g_string_append_printf(s, "%02X", device->config[i]);
    g_string_append(s, "\n");
    snprintf(node, sizeof node, "/dev/bus/usb/001/%03u", m.number);
    pthread_mutex_lock(&m.lock);
    m.device = device;
    for (int i = 0; i < INTERFACES; i++) m.driver[i] = 1, m.claimed[i] = 0;
    pthread_mutex_unlock(&m.lock);
    if (!umockdev_testbed_attach_ioctl(m.testbed, node, m.handler, &error) || !umockdev_testbed_add_from_string(m.testbed, s->str, &error)) {
        fprintf(stderr, "umockdev: %s\n", error->message);
        exit(1);
    }
    g_string_free(s, TRUE);
    use_fifo();
    umockdev_testbed_uevent(m.testbed, SYSTEM_PATH, "add");
}

/* As the kernel does: transfers under way come back, everything else fails from now on, then a uevent. */
static void pull(void) {
    pthread_mutex_lock(&m.lock);
    hd_vusb *device = m.device;
    collect();
    while (m.under_way) {
        CHECK(device->cancel(device, &m.under_way->transfer));
        push_done(m.under_way, -ESHUTDOWN);
    }
    m.device = NULL;
    show();
    pthread_mutex_unlock(&m.lock);
    umockdev_testbed_uevent(m.testbed, SYSTEM_PATH, "remove");
    umockdev_testbed_remove_device(m.testbed, SYSTEM_PATH);
    device->close(device);
}

static void end_node(void) {
    char node[64];
    snprintf(node, sizeof node, "/dev/bus/usb/001/%03u", m.number);
    umockdev_testbed_detach_ioctl(m.testbed, node, NULL);
    close(m.node);
    m.node = -1;
}

static unsigned let_work(void) {
    unsigned idle = 5;
    hd_err err = {0};
    pthread_mutex_lock(&m.lock);
    if (m.device && m.device->work(m.device, &idle, &err)) fprintf(stderr, "%s\n", err.message), failures++;
    collect();
    pthread_mutex_unlock(&m.lock);
    while (g_main_context_iteration(NULL, FALSE)) {}
    return idle;
}

/* ---- the program */

static const char *heddle;

static pid_t begin(const char *const arguments[]) {
    const char *argv[12] = {heddle};
    for (int i = 0; arguments[i]; i++) argv[i + 1] = arguments[i];
    pid_t child = fork();
    if (child < 0) abort();
    if (!child) {
        int to = open("said", O_CREAT | O_TRUNC | O_WRONLY, 0666);
        if (to < 0 || dup2(to, 1) < 0 || dup2(to, 2) < 0) _exit(126);
        execv(heddle, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return child;
}

/* Its exit code; what it said in *said, to be freed. */
static int end(pid_t child, char **said) {
    int status = 0;
    double until = hd_seconds() + 120;
    while (!waitpid(child, &status, WNOHANG)) {
        if (hd_seconds() > until) {
            fprintf(stderr, "mocked: the program does not end\n");
            failures++;
            kill(child, SIGKILL);
        }
        if (let_work()) usleep(200);
    }
    hd_err err = {0};
    uint8_t *bytes = NULL;
    size_t n;
    if (hd_file_read(&bytes, &n, "said", 1 << 20, 0, &err)) abort();
    *said = (char *)bytes;
    printf("%s", *said);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The program ends with this code and says these words. */
static void expect(int code, const char *words, pid_t child) {
    char *said;
    int found = end(child, &said);
    if (found != code || !strstr(said, words)) {
        fprintf(stderr, "mocked: exit code %d, and this should have been said: %s\n", found, words);
        failures++;
    }
    free(said);
}

static const char *const devices[] = {"devices", NULL}, *const two[] = {"run", "net.hdp", "--device", "usb", "--input", "two.idx", "-o", "out.bin", NULL},
                  *const parts[] = {"run", "parts.hdp", "--device", "usb", "--input", "x.idx", "--count", "2", "-o", "parts.out", NULL},
                  *const many[] = {"run", "net.hdp", "--device", "usb:mock-1", "--input", "many.idx", "-o", "many.bin", NULL};

static void run_right(void) {
    unsigned detached = m.detached;
    expect(0, "cycles as predicted", begin(two));
    CHECK(!system("cmp out.bin ref.bin && rm out.bin"));
    CHECK(m.detached == detached + 1 && m.attached == m.detached);
    CHECK(m.driver[UART] && !m.claimed[UART] && !m.under_way && !m.done);
}

int main(int argc, char **argv) {
    hd_geometry g;
    hd_err err = {0};
    char shape[32];
    const char *memory = argc == 4 ? strchr(argv[3], ':') : NULL;
    m.testbed = umockdev_testbed_new();
    if (!memory || !umockdev_in_mock_environment()) return fprintf(stderr, "usage: umockdev-wrapper mocked HEDDLE DIR GEOMETRY:MEMORY\n"), 2;
    snprintf(shape, sizeof shape, "%.*s", (int)(memory - argv[3]), argv[3]);
    if (hd_geometry_parse(&g, shape, &err) || hd_geometry_memory(&g, memory + 1, &err)) return fprintf(stderr, "%s\n", err.message), 2;
    heddle = argv[1];
    if (chdir(argv[2])) return perror(argv[2]), 2;
    m.handler = umockdev_ioctl_base_new();
    m.number = 1; /* of the root hub */
    g_signal_connect(m.handler, "handle-ioctl", G_CALLBACK(on_ioctl), NULL);

    expect(0, "no board is plugged in", begin(devices));
    expect(1, "no board is plugged in", begin(two));
    plug(&g);
    expect(0, "usb:1-1          0403:6010 mocked board (FT2232H), serial mock-1", begin(devices));
    run_right();
    expect(0, "cycles an inference, as predicted", begin(parts));
    CHECK(!system("cmp parts.out parts.ref && rm parts.out"));

    /* The plug comes out in the middle of a run. */
    unsigned before = m.submitted;
    pid_t child = begin(many);
    for (double until = hd_seconds() + 60; m.submitted < before + 200 && hd_seconds() < until;)
        if (let_work()) usleep(200);
    CHECK(m.submitted >= before + 200);
    pull();
    expect(1, "the board went away (unplugged, or reset); plug it in and run again", child);
    CHECK(access("many.bin", F_OK));
    end_node();
    expect(0, "no board is plugged in", begin(devices));
    expect(1, "no board is plugged in", begin(two));

    /* And in again, under the kernel's next number. */
    m.attached = m.detached = 0;
    plug(&g);
    run_right();
    pull();
    end_node();
    CHECK(!m.strange);
    g_object_unref(m.handler);
    g_object_unref(m.testbed);
    return failures != 0;
}
