#include "models.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../compiler/import/import.h"
#include "dataset.h"

hd_status hd_models_file(char *path, size_t n, const char *file, hd_err *err) {
    const char *folder = getenv("HEDDLE_MODELS");
    if (!folder || !*folder) return hd_fail(err, HD_IO, "%s: set HEDDLE_MODELS to the folder that holds it", file);
    int length = snprintf(path, n, "%s/%s", folder, file);
    if (length < 0 || (size_t)length >= n || access(path, R_OK))
        return hd_fail(err, HD_IO, "%s/%s: not found; set HEDDLE_MODELS to the folder that holds it", folder, file);
    return HD_OK;
}

hd_status hd_models_open(hd_graph **g, hd_idx **items, hd_idx **labels, const char *model_file, const char *items_file, const char *labels_file, uint32_t classes, hd_err *err) {
    char model[4096], data[4096], right[4096];
    *g = NULL;
    *items = *labels = NULL;
    hd_status s = hd_models_file(model, sizeof model, model_file, err);
    if (!s) s = hd_models_file(data, sizeof data, items_file, err);
    if (!s) s = hd_models_file(right, sizeof right, labels_file, err);
    if (!s) s = hd_import_tflite(g, model, err);
    if (!s) s = hd_idx_load(items, data, err);
    if (!s) s = hd_idx_load(labels, right, err);
    if (s) return s;
    hd_shape in = (*g)->tensor[(*g)->input].shape;
    s = hd_idx_chw(*items, in.c, in.h, in.w, err);
    return s ? s : hd_dataset_check(*items, *labels, data, right, hd_shape_size(in), classes, err);
}
