/* What heddle brings along or finds on the machine: the embedded network and Debian's Fashion-MNIST. */
#ifndef HD_DATASET_H
#define HD_DATASET_H
#include "../../compiler/graph/graph.h"
#include "../core/idx.h"

/* The embedded trained network (hd_default_model) as a graph, owned by the caller. */
hd_status hd_default_graph(hd_graph **out, hd_err *err);

/* Fashion-MNIST of Debian's dataset-fashion-mnist: 60,000 training or (test != 0) 10,000 test images [n][28][28], u8, and
 * labels [n]. The environment variable HEDDLE_DATASET names another folder with the same four files. HD_IO names the package
 * when the files are missing. Either out may be NULL. */
hd_status hd_fashion_mnist(hd_idx **images, hd_idx **labels, int test, hd_err *err);

/* Checks that images and labels belong together: labels of rank 1, u8, as many as images, all below `classes`; items of `size` elements. */
hd_status hd_dataset_check(const hd_idx *images, const hd_idx *labels, const char *image_path, const char *label_path, size_t size, uint32_t classes, hd_err *err);

/* A copy of idx as floats, scale * (element - zero): codes as the numbers that they stand for. */
hd_status hd_idx_numbers(hd_idx **out, const hd_idx *idx, float scale, int zero, hd_err *err);

/* A copy of idx as floats, plain values: for readers that would divide u8 by 255. */
hd_status hd_idx_plain(hd_idx **out, const hd_idx *idx, hd_err *err);
#endif
