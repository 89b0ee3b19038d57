/* How many images a float graph classifies correctly: batches over all cores. */
#include <cblas.h>
#include <omp.h>
#include <stdlib.h>

#include "../core/progress.h"
#include "data.h"
#include "train.h"

enum { SLICE = 16 };

/* One thread's share of the slices; each thread has a batch of its own. */
static int count_correct(const hd_data *d, hd_batch *b, float *scratch, int first) {
    int n = d->n - first < SLICE ? d->n - first : SLICE, correct = 0;
    hd_pick pick[SLICE] = {{0}};
    for (int i = 0; i < n; i++) pick[i].index = first + i;
    hd_data_fill(d, pick, n, scratch, b->value[b->g->input]);
    hd_batch_forward(b, n);
    for (int i = 0; i < n; i++) correct += hd_batch_class(b, i) == d->label[first + i];
    return correct;
}

static hd_status count_all(const hd_graph *g, const hd_data *d, int *correct, hd_err *err) {
    int slices = (d->n - 1) / SLICE + 1, threads = omp_get_max_threads(), sum = 0;
    if (threads > slices) threads = slices;
    hd_batch **b = calloc((size_t)threads, sizeof *b);
    float **scratch = calloc((size_t)threads, sizeof *scratch);
    hd_status s = b && scratch ? HD_OK : hd_fail(err, HD_NOMEM, "%s: no memory", g->name);
    for (int i = 0; i < threads && !s; i++) {
        s = hd_batch_new(&b[i], g, SLICE, 0, err);
        scratch[i] = calloc(hd_shape_size(d->shape), sizeof **scratch);
        if (!s && !scratch[i]) s = hd_fail(err, HD_NOMEM, "%s: no memory for an image", g->name);
    }
    if (!s) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) reduction(+ : sum)
        for (int k = 0; k < slices; k++)
            if (!hd_interrupted) sum += count_correct(d, b[omp_get_thread_num()], scratch[omp_get_thread_num()], k * SLICE);
        if (hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "%s: evaluation stopped", g->name);
    }
    for (int i = 0; i < threads && b && scratch; i++) {
        hd_batch_free(b[i]);
        free(scratch[i]);
    }
    free(b);
    free(scratch);
    *correct = sum;
    return s;
}

hd_status hd_accuracy(const hd_graph *g, const hd_idx *images, const hd_idx *labels, int limit, double *accuracy, hd_err *err) {
    hd_data d;
    int correct = 0;
    hd_status s = hd_graph_check(g, err);
    if (!s) s = hd_data_new(&d, g, images, labels, limit, err);
    if (s) return s;
    int blas = openblas_get_num_threads();
    openblas_set_num_threads(1);
    s = count_all(g, &d, &correct, err);
    openblas_set_num_threads(blas);
    if (!s) *accuracy = (double)correct / (double)d.n;
    hd_data_free(&d);
    return s;
}
