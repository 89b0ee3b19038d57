/* Where models and data to measure with lie. They are no part of the project: who has none can run everything else. */
#ifndef HD_MODELS_H
#define HD_MODELS_H
#include <stddef.h>

#include "../core/err.h"

/* The path of `file` in the folder that HEDDLE_MODELS names; HD_IO when it is not there or none is named. */
hd_status hd_models_file(char *path, size_t n, const char *file, hd_err *err);
#endif
