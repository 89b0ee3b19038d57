#include "dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../compiler/import/import.h"
#include "../train/train.h"

hd_status hd_default_graph(hd_graph **out, hd_err *err) {
    size_t size;
    const unsigned char *data = hd_default_model(&size);
    return hd_import_onnx_memory(out, data, size, "default", err);
}

static hd_status load_part(hd_idx **out, const char *folder, const char *file, hd_err *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    if (access(path, R_OK))
        return hd_fail(err, HD_IO, "%s: not found; install Debian's package dataset-fashion-mnist, or name files with --images and --labels", path);
    return hd_idx_load(out, path, err);
}

hd_status hd_fashion_mnist(hd_idx **images, hd_idx **labels, int test, hd_err *err) {
    const char *folder = getenv("HEDDLE_DATASET");
    if (!folder || !*folder) folder = "/usr/share/datasets/fashion-mnist";
    hd_status s = HD_OK;
    if (images) s = load_part(images, folder, test ? "t10k-images-idx3-ubyte.gz" : "train-images-idx3-ubyte.gz", err);
    if (!s && labels) {
        s = load_part(labels, folder, test ? "t10k-labels-idx1-ubyte.gz" : "train-labels-idx1-ubyte.gz", err);
        if (s && images) {
            hd_idx_free(*images);
            *images = NULL;
        }
    }
    return s;
}

hd_status hd_dataset_check(const hd_idx *images, const hd_idx *labels, const char *image_path, const char *label_path, size_t size, uint32_t classes, hd_err *err) {
    if (images->item != size)
        return hd_fail(err, HD_MISMATCH, "%s: %zu values an item; the model's input has %zu", image_path, images->item, size);
    if (!labels) return HD_OK;
    if (labels->type != HD_IDX_U8 || labels->rank != 1)
        return hd_fail(err, HD_FORMAT, "%s: idx type %d, rank %d; labels are bytes (type 8) of rank 1", label_path, (int)labels->type, labels->rank);
    if (labels->dim[0] != images->dim[0])
        return hd_fail(err, HD_MISMATCH, "%s: %u labels; %s has %u items", label_path, labels->dim[0], image_path, images->dim[0]);
    const uint8_t *label = labels->data;
    for (uint32_t i = 0; i < labels->dim[0]; i++)
        if (label[i] >= classes) return hd_fail(err, HD_RANGE, "%s: label %u is %u; the model has %u outputs", label_path, i, label[i], classes);
    return HD_OK;
}

hd_status hd_idx_plain(hd_idx **out, const hd_idx *idx, hd_err *err) {
    hd_idx *copy = calloc(1, sizeof *copy);
    float *data = copy ? malloc((size_t)idx->dim[0] * idx->item * sizeof *data + 1) : NULL;
    if (!data) {
        free(copy);
        return hd_fail(err, HD_NOMEM, "no memory for %u items as floats", idx->dim[0]);
    }
    for (uint32_t i = 0; i < idx->dim[0]; i++) hd_idx_item(idx, i, 0, data + (size_t)i * idx->item);
    *copy = *idx;
    copy->type = HD_IDX_F32;
    copy->data = data;
    *out = copy;
    return HD_OK;
}

hd_status hd_idx_numbers(hd_idx **out, const hd_idx *idx, float scale, int zero, hd_err *err) {
    hd_status s = hd_idx_plain(out, idx, err);
    if (s) return s;
    float *v = (float *)(*out)->data;
    for (size_t i = 0; i < (size_t)(*out)->dim[0] * (*out)->item; i++) v[i] = scale * (v[i] - (float)zero);
    return HD_OK;
}
