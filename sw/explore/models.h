/* Where models and data to measure with lie. They are no part of the project: who has none can run everything else. */
#ifndef HD_MODELS_H
#define HD_MODELS_H
#include <stddef.h>

#include "../core/err.h"

/* The path of `file` in the folder HEDDLE_MODELS, or in ../shared/models beside the source folder; HD_IO says where it was looked for. */
hd_status hd_models_file(char *path, size_t n, const char *file, hd_err *err);
#endif
