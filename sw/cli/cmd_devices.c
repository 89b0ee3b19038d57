/* heddle devices: what a program can run on here. */
#include <stdio.h>

#include "../../drivers/driver.h"
#include "cli.h"

static const cli_option options[] = {{NULL, NULL, NULL}};

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
    if (!a->json) {
        cJSON_Delete(list);
        return HD_OK;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddItemToObject(o, "devices", list);
    return cli_json(o, err);
}

const cli_command cli_devices = {"devices", "what programs can run on, and whether it is usable here", NULL, 0, "heddle devices --json", options, run};
