/* The list of drivers. */
#include "driver.h"

#include <string.h>

const hd_driver *const hd_drivers[] = {
    &hd_driver_ref,
    &hd_driver_sim,
    NULL,
};

const hd_driver *hd_driver_find(const char *name) {
    for (size_t i = 0; hd_drivers[i]; i++)
        if (!strcmp(hd_drivers[i]->name, name)) return hd_drivers[i];
    return NULL;
}
