/* heddle devices: what a program can run on here. */
#include <stdio.h>
#include <stdlib.h>

#include "../../drivers/driver.h"
#include "../../drivers/usb_find.h"
#include "../contract/contract.h"
#include "cli.h"

static const cli_option options[] = {{NULL, NULL, NULL}};

/* The boards on the USB; without any, what is looked for. */
static void list_boards(const cli_args *a, cJSON *boards) {
    hd_usb_info *list = NULL;
    size_t n = 0;
    hd_usb_list(&list, &n, NULL);
    for (size_t i = 0; i < n; i++) {
        const hd_usb_info *b = &list[i];
        if (!a->json)
            printf("  usb:%-12s %04x:%04x %s (%s)%s%s%s%s\n", b->path, b->vendor, b->product, b->title, b->kind_name, *b->serial ? ", serial " : "", b->serial,
                   b->usable ? "" : "; not usable: ", b->why);
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "path", b->path);
        cJSON_AddNumberToObject(o, "vendor", b->vendor);
        cJSON_AddNumberToObject(o, "product", b->product);
        cJSON_AddStringToObject(o, "title", b->title);
        cJSON_AddStringToObject(o, "kind", b->kind_name);
        cJSON_AddStringToObject(o, "serial", b->serial);
        cJSON_AddBoolToObject(o, "usable", b->usable);
        if (!b->usable) cJSON_AddStringToObject(o, "why", b->why);
        cJSON_AddItemToArray(boards, o);
    }
    free(list);
    if (!a->json && !n) printf("  looked for: FT2232H (0403:6010), FT231X (0403:6015), a heddle device in the FPGA (%04x:%04x)\n", HD_USB_VENDOR, HD_USB_PRODUCT);
}

static hd_status run(const cli_args *a, hd_err *err) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; hd_drivers[i]; i++) {
        const hd_driver *d = hd_drivers[i];
        char why[256] = "";
        int usable = d->available(why, sizeof why);
        if (!a->json) printf("%-6s %-9s %s%s%s\n", d->name, usable ? "usable" : "not here", d->about, usable || !*why ? "" : "; ", usable ? "" : why);
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "name", d->name);
        cJSON_AddStringToObject(o, "about", d->about);
        cJSON_AddBoolToObject(o, "usable", usable);
        if (!usable) cJSON_AddStringToObject(o, "why", why);
        cJSON_AddItemToArray(list, o);
    }
    cJSON *o = cJSON_CreateObject(), *boards = cJSON_CreateArray();
    cJSON_AddItemToObject(o, "devices", list);
    cJSON_AddItemToObject(o, "boards", boards);
    list_boards(a, boards);
    if (!a->json) {
        cJSON_Delete(o);
        return HD_OK;
    }
    return cli_json(o, err);
}

const cli_command cli_devices = {
    .name = "devices",
    .summary = "what programs can run on, and whether it is usable here",
    .about = "Lists ref (the instruction-level model), sim (the simulated Verilog), usb (boards that are plugged in) and sysc (the SystemC "
             "platform), and of those that cannot be used why.",
    .examples = "heddle devices\n"
                "heddle devices --json",
    .surroundings = CLI_RULES,
    .see = "run, serve, docs/usb.md",
    .options = options,
    .run = run,
};
