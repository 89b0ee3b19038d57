#include "models.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

hd_status hd_models_file(char *path, size_t n, const char *file, hd_err *err) {
    const char *folder = getenv("HEDDLE_MODELS");
    if (!folder || !*folder) return hd_fail(err, HD_IO, "%s: set HEDDLE_MODELS to the folder that holds it", file);
    int length = snprintf(path, n, "%s/%s", folder, file);
    if (length < 0 || (size_t)length >= n || access(path, R_OK))
        return hd_fail(err, HD_IO, "%s/%s: not found; set HEDDLE_MODELS to the folder that holds it", folder, file);
    return HD_OK;
}
