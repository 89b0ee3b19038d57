/* Checks images and labels, augments them, and lays them out for a batch. */
#include "data.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static hd_status read_labels(hd_data *d, const hd_idx *labels, size_t classes, hd_err *err) {
    d->label = calloc((size_t)d->n, sizeof *d->label);
    if (!d->label) return hd_fail(err, HD_NOMEM, "no memory for %d labels", d->n);
    for (int i = 0; i < d->n; i++) {
        float v;
        hd_idx_item(labels, (uint32_t)i, 0, &v);
        if (!(v >= 0) || v >= (float)classes || v != floorf(v))
            return hd_fail(err, HD_RANGE, "label of image %d: %g; the network's output has %zu classes", i, (double)v, classes);
        d->label[i] = (int)v;
    }
    return HD_OK;
}

hd_status hd_data_new(hd_data *d, const hd_graph *g, const hd_idx *images, const hd_idx *labels, int limit, hd_err *err) {
    *d = (hd_data){.images = images, .shape = g->tensor[g->input].shape};
    hd_shape s = d->shape;
    if (images->item != hd_shape_size(s))
        return hd_fail(err, HD_MISMATCH, "images of %zu values; the network '%s' takes %d x %d x %d", images->item, g->name, s.c, s.h, s.w);
    if (labels->item != 1) return hd_fail(err, HD_MISMATCH, "labels of %zu values each; 1 is allowed", labels->item);
    if (images->dim[0] != labels->dim[0])
        return hd_fail(err, HD_MISMATCH, "%u images but %u labels", (unsigned)images->dim[0], (unsigned)labels->dim[0]);
    if (limit < 0) return hd_fail(err, HD_RANGE, "limit %d; 0 (all) or more is allowed", limit);
    if (!images->dim[0] || images->dim[0] > INT_MAX)
        return hd_fail(err, HD_RANGE, "%u images; 1..%d are allowed", (unsigned)images->dim[0], INT_MAX);
    d->n = (int)images->dim[0];
    if (limit && limit < d->n) d->n = limit;
    hd_status status = read_labels(d, labels, hd_shape_size(g->tensor[g->output].shape), err);
    if (status) hd_data_free(d);
    return status;
}

void hd_data_free(hd_data *d) {
    free(d->label);
    d->label = NULL;
}

static void place(const hd_pick *pick, int h, int w, const float *from, float *to) {
    for (int y = 0; y < h; y++, to += w) {
        int sy = y - pick->move_y;
        if (sy < 0 || sy >= h) {
            memset(to, 0, (size_t)w * sizeof *to);
            continue;
        }
        for (int x = 0; x < w; x++) {
            int sx = x - pick->move_x;
            to[x] = sx < 0 || sx >= w ? 0 : from[sy * w + (pick->flip ? w - 1 - sx : sx)];
        }
    }
}

void hd_data_fill(const hd_data *d, const hd_pick *pick, int n, float *scratch, float *out) {
    hd_shape s = d->shape;
    size_t plane = (size_t)s.h * (size_t)s.w;
    for (int i = 0; i < n; i++) {
        hd_idx_item(d->images, (uint32_t)pick[i].index, 1, scratch);
        for (int c = 0; c < s.c; c++)
            place(&pick[i], s.h, s.w, scratch + (size_t)c * plane, out + ((size_t)c * (size_t)n + (size_t)i) * plane);
    }
}
