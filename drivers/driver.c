/* The list of drivers. */
#include "driver.h"

#include <string.h>

const hd_driver *const hd_drivers[] = {
    &hd_driver_ref,
    &hd_driver_sim,
    &hd_driver_usb,
    &hd_driver_sysc,
    NULL,
};

const hd_driver *hd_driver_find(const char *name, const char **where) {
    const char *colon = strchr(name, ':');
    size_t n = colon ? (size_t)(colon - name) : strlen(name);
    if (where) *where = colon ? colon + 1 : NULL;
    for (size_t i = 0; hd_drivers[i]; i++)
        if (strlen(hd_drivers[i]->name) == n && !memcmp(hd_drivers[i]->name, name, n)) return colon && hd_drivers[i] != &hd_driver_usb ? NULL : hd_drivers[i];
    return NULL;
}
