/* heddle serve: a virtual board for any Linux machine, by USB/IP. */
#include <stdio.h>

#include "../../drivers/usbip.h"
#include "../core/progress.h"
#include "../explore/boards.h"
#include "cli.h"

static const cli_option options[] = {
    {"--board", "NAME", "a board of boards/boards.def: its geometry, memories and bridge (required)"},
    {"--geometry", "RxCxLxP", "another geometry in the same board"},
    {"--memory", "LIST", "its memories, as compile takes them"},
    {"--address", "A", "IPv4 address to listen on (127.0.0.1); USB/IP has no passwords: only networks you trust"},
    {"--port", "N", "TCP port, 0 = any that is free (3240)"},
    {NULL, NULL, NULL},
};

static hd_status choose(hd_geometry *g, const hd_board *board, const cli_args *a, hd_err *err) {
    const char *geometry = cli_text(a, "--geometry"), *memory = cli_text(a, "--memory");
    hd_status s = hd_board_geometry(g, board, err);
    if (!s && geometry) s = hd_geometry_parse(g, geometry, err);
    if (!s && memory) s = hd_geometry_memory(g, memory, err);
    return s ? s : hd_geometry_check(g, err);
}

static void announce(const cli_args *a, const hd_board *board, const hd_geometry *g, const char *bridge, const char *address, unsigned port) {
    if (a->json) {
        printf("{\"board\": \"%s\", \"geometry\": \"%ux%ux%ux%u\", \"bridge\": \"%s\", \"address\": \"%s\", \"port\": %u}\n", board->name, g->rows, g->cols, g->lanes, g->planes,
               bridge, address, port);
    } else {
        printf("%s, %ux%ux%ux%u, behind an %s, at %s port %u\n", board->title, g->rows, g->cols, g->lanes, g->planes, bridge, address, port);
        printf("attach it:  sudo modprobe vhci-hcd && sudo usbip --tcp-port %u attach -r %s -b 1-1\n", port, address);
        printf("then run:   heddle run net.hdp --device usb --input images.idx        Ctrl-C here ends the board\n");
    }
    fflush(stdout);
}

static hd_status run(const cli_args *a, hd_err *err) {
    const char *name, *address = cli_text(a, "--address");
    const hd_board *board;
    hd_geometry g;
    int64_t port;
    hd_vboard *simulated = NULL;
    hd_vusb *device = NULL;
    hd_usbip *server = NULL;
    hd_status s = cli_need(&name, a, "--board", err);
    if (!s) s = hd_board_find(&board, name, err);
    if (!s) s = choose(&g, board, a, err);
    if (!s) s = cli_int(&port, a, "--port", HD_USBIP_PORT, 0, 65535, err);
    if (s) return s;
    int h = board->bit_rate > 3000000; /* an FT231X ends there */
    const char *bridge = h ? "FT2232H" : "FT231X";
    s = hd_vboard_sim(&simulated, &g, board->bit_rate, a->json, err);
    if (!s) s = hd_vusb_ftdi(&device, simulated, h, board->title, "virtual", err);
    if (!s) s = hd_usbip_listen(&server, device, address, (unsigned)port, err);
    if (s) return s;
    announce(a, board, &g, bridge, address ? address : "127.0.0.1", hd_usbip_port(server));
    s = hd_usbip_serve(server, &hd_interrupted, err);
    hd_usbip_close(server);
    return s;
}

const cli_command cli_serve = {"serve", "a virtual board: the simulated RTL as a USB device, by USB/IP", NULL, 0, "heddle serve --board hx8k", options, run};
