/* heddle serve: a virtual board, for any Linux machine by USB/IP or for a QEMU guest by usb-redir. */
#include <stdio.h>
#include <string.h>

#include "../../drivers/usbip.h"
#include "../../drivers/usbredir.h"
#include "../core/progress.h"
#include "../explore/boards.h"
#include "cli.h"

static const cli_option options[] = {
    {"--board", "NAME", "a board of boards/boards.def: its geometry, memories and bridge (required)"},
    {"--geometry", "RxCxLxP", "another geometry in the same board"},
    {"--memory", "LIST", "its memories, as compile takes them"},
    {"--link", "L", "what its USB device is: bridge, the FTDI chip before the board's UART; usb, a full-speed device in the FPGA; ulpi, a high-speed one (bridge)"},
    {"--address", "A", "IPv4 address to listen on (127.0.0.1); USB/IP has no passwords: only networks you trust"},
    {"--port", "N", "TCP port, 0 = any that is free (3240)"},
    {"--redir", "SOCKET", "serve QEMU's usb-redir at a UNIX socket made here instead of USB/IP"},
    {NULL, NULL, NULL},
};

static hd_status choose(hd_geometry *g, const hd_board *board, const cli_args *a, hd_err *err) {
    const char *geometry = cli_text(a, "--geometry"), *memory = cli_text(a, "--memory");
    hd_status s = hd_board_geometry(g, board, err);
    if (!s && geometry) s = hd_geometry_parse(g, geometry, err);
    if (!s && memory) s = hd_geometry_memory(g, memory, err);
    return s ? s : hd_geometry_check(g, err);
}

static void announce(const cli_args *a, const hd_board *board, const hd_geometry *g, const char *device, const char *address, unsigned port, const char *redir) {
    cJSON *o = a->json ? cJSON_CreateObject() : NULL;
    char shape[48];
    snprintf(shape, sizeof shape, "%ux%ux%ux%u", g->rows, g->cols, g->lanes, g->planes);
    if (a->json) {
        cJSON_AddStringToObject(o, "board", board->name);
        cJSON_AddStringToObject(o, "geometry", shape);
        cJSON_AddStringToObject(o, "device", device);
        if (redir) {
            cJSON_AddStringToObject(o, "redir", redir);
        } else {
            cJSON_AddStringToObject(o, "address", address);
            cJSON_AddNumberToObject(o, "port", port);
        }
        cli_json(o, NULL);
    } else if (redir) {
        printf("%s, %s, %s, at %s\n", board->title, shape, device, redir);
        printf("attach it:  qemu-system-x86_64 ... -device qemu-xhci -chardev socket,id=board,path=%s -device usb-redir,chardev=board\n", redir);
    } else {
        printf("%s, %s, %s, at %s port %u\n", board->title, shape, device, address, port);
        printf("attach it:  sudo modprobe vhci-hcd && sudo usbip --tcp-port %u attach -r %s -b 1-1\n", port, address);
    }
    if (!a->json) printf("then run:   heddle run net.hdp --device usb --input images.idx        Ctrl-C here ends the board\n");
    fflush(stdout);
}

/* The board as a USB device; *what says which. */
static hd_status make_device(hd_vusb **device, const char **what, const hd_board *board, const hd_geometry *g, const char *link, int quiet, hd_err *err) {
    hd_vboard *simulated = NULL;
    hd_vbus *bus = NULL;
    hd_status s;
    if (!link || !strcmp(link, "bridge")) {
        int h = board->bit_rate > 3000000; /* an FT231X ends there */
        *what = h ? "behind an FT2232H" : "behind an FT231X";
        s = hd_vboard_sim(&simulated, g, (unsigned)hd_board_bit_rate(board, board->clock_hz, NULL), quiet, err);
        return s ? s : hd_vusb_ftdi(device, simulated, h, board->title, "virtual", err);
    }
    int ulpi = !strcmp(link, "ulpi");
    *what = ulpi ? "a USB device of its own behind ULPI, high speed" : "a USB device of its own, full speed";
    s = hd_vbus_sim(&bus, g, ulpi, board->clock_hz, quiet, err);
    return s ? s : hd_vusb_bus(device, bus, err);
}

static hd_status run(const cli_args *a, hd_err *err) {
    const char *name, *what = "", *address = cli_text(a, "--address"), *redir = cli_text(a, "--redir");
    const hd_board *board;
    hd_geometry g;
    int64_t port;
    hd_vusb *device = NULL;
    hd_usbip *server = NULL;
    hd_usbredir *redirected = NULL;
    hd_status s = cli_need(&name, a, "--board", err);
    if (!s) s = hd_board_find(&board, name, err);
    if (!s) s = choose(&g, board, a, err);
    if (!s) s = cli_int(&port, a, "--port", HD_USBIP_PORT, 0, 65535, err);
    if (!s && redir && (address || cli_text(a, "--port"))) s = hd_fail(err, HD_USAGE, "serve: --redir goes without --address and --port, which are USB/IP's");
    const char *link = cli_text(a, "--link");
    if (!s && link && strcmp(link, "bridge") && strcmp(link, "usb") && strcmp(link, "ulpi"))
        s = hd_fail(err, HD_USAGE, "serve: --link: found '%.60s'; allowed are bridge, usb and ulpi", link);
    /* A board takes half a minute to build the first time: what cannot be served is said before. */
    if (!s) s = redir ? cli_can_write(redir, err) : hd_usbip_can_listen(address, (unsigned)port, err);
    if (!s && redir) s = hd_usbredir_can_listen(redir, err);
    if (!s) s = make_device(&device, &what, board, &g, link, a->json, err);
    if (!s) s = redir ? hd_usbredir_listen(&redirected, device, redir, err) : hd_usbip_listen(&server, device, address, (unsigned)port, err);
    if (s) return s;
    announce(a, board, &g, what, address ? address : "127.0.0.1", redir ? 0 : hd_usbip_port(server), redir);
    s = redir ? hd_usbredir_serve(redirected, &hd_interrupted, err) : hd_usbip_serve(server, &hd_interrupted, err);
    hd_usbredir_close(redirected);
    hd_usbip_close(server);
    return s;
}

const cli_command cli_serve = {
    .name = "serve",
    .summary = "a virtual board: the simulated RTL as a USB device, by USB/IP or usb-redir",
    .about = "Simulates a board, pins, link and array, behind a virtual USB bridge, until Ctrl-C. Any Linux machine attaches it by USB/IP, a "
             "QEMU guest by usb-redir; run --device usb and devices then find it like one that is plugged in.",
    .examples = "heddle serve --board hx8k\n"
                "heddle serve --board ulx3s --redir /tmp/board --link ulpi",
    .surroundings = CLI_CACHE | CLI_SOURCE,
    .see = "run, devices, docs/usb.md",
    .options = options,
    .run = run,
};
