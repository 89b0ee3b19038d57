/* Models and data to measure with. They are no part of the project: who has none can run everything else. */
#ifndef HD_MODELS_H
#define HD_MODELS_H
#include <stddef.h>

#include "../../compiler/graph/graph.h"
#include "../core/err.h"
#include "../core/idx.h"

/* The path of `file` in the folder that HEDDLE_MODELS names; HD_IO when it is not there or none is named. */
hd_status hd_models_file(char *path, size_t n, const char *file, hd_err *err);
/* The network of a .tflite file there, samples as [channel][height][width] in their file's elements, and a class below `classes` for each sample. The caller's to free, also after
 * an error, when some may be NULL. */
hd_status hd_models_open(hd_graph **g, hd_idx **items, hd_idx **labels, const char *model_file, const char *items_file, const char *labels_file, uint32_t classes, hd_err *err);
#endif
