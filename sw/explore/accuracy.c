#include "accuracy.h"

#include <stdlib.h>

#include "../core/progress.h"

void hd_encode_item(const hd_qtensor *t, const hd_idx *idx, uint32_t n, int unit, float *scratch, int8_t *codes) {
    if (idx->type == HD_IDX_I8) {
        const int8_t *chw = (const int8_t *)idx->data + (size_t)n * idx->item;
        size_t plane = (size_t)t->h * (size_t)t->w, c = (size_t)t->c;
        for (size_t i = 0; i < plane; i++)
            for (size_t k = 0; k < c; k++) codes[i * c + k] = chw[k * plane + i];
        return;
    }
    hd_idx_item(idx, n, unit, scratch);
    hd_quantize_input(t, scratch, codes);
}

int hd_argmax(const int8_t *codes, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (codes[i] > codes[best]) best = i;
    return best;
}

/* What one thread needs: an executor keeps the tensors of one image. */
typedef struct worker {
    hd_integer *integer;
    float *scratch;
    int8_t *codes;
} worker;

static hd_status worker_open(worker *w, const hd_model *m, size_t item, hd_err *err) {
    w->scratch = malloc(item * sizeof *w->scratch);
    w->codes = malloc(item);
    if (!w->scratch || !w->codes) return hd_fail(err, HD_NOMEM, "no memory for an image of %zu values", item);
    return hd_integer_new(&w->integer, m, err);
}

static void worker_close(worker *w) {
    if (w->integer) hd_integer_free(w->integer);
    free(w->scratch);
    free(w->codes);
}

hd_status hd_model_accuracy(const hd_model *m, const hd_idx *images, const hd_idx *labels, uint32_t count, int unit, double *accuracy, hd_err *err) {
    const hd_qtensor *in = &m->tensor[m->input], *out = &m->tensor[m->output];
    if (!count || count > images->dim[0]) count = images->dim[0];
    const uint8_t *label = labels->data;
    int classes = out->h * out->w * out->c;
    uint32_t right = 0, done = 0;
    hd_status status = HD_OK;
    hd_progress progress;
    hd_progress_start(&progress, m->name, count);
#pragma omp parallel
    {
        worker w = {0};
        hd_err own = {0};
        hd_status s = worker_open(&w, m, images->item, &own);
#pragma omp for schedule(dynamic, 32) reduction(+ : right)
        for (uint32_t i = 0; i < count; i++) {
            if (s || hd_interrupted) continue;
            hd_encode_item(in, images, i, unit, w.scratch, w.codes);
            hd_integer_run(w.integer, w.codes);
            right += hd_argmax(hd_integer_tensor(w.integer, m->output), classes) == label[i];
#pragma omp critical(accuracy_progress)
            hd_progress_show(&progress, ++done, NULL);
        }
        if (s) {
#pragma omp critical(accuracy_error)
            status = hd_fail(err, s, "%s", own.message);
        }
        worker_close(&w);
    }
    hd_progress_end(&progress);
    if (!status && hd_interrupted) status = hd_fail(err, HD_INTERRUPTED, "stopped");
    if (!status) *accuracy = (double)right / count;
    return status;
}
