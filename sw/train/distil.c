#include "distil.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "../core/progress.h"

/* log of sum of exp(x[k] / t). */
static double log_sum(const float *x, size_t n, double t) {
    double top = -INFINITY, sum = 0;
    for (size_t k = 0; k < n; k++) top = fmax(top, (double)x[k] / t);
    for (size_t k = 0; k < n; k++) sum += exp((double)x[k] / t - top);
    return log(sum) + top;
}

static void read_logits(const hd_batch *b, int s, size_t classes, float *x) {
    for (size_t k = 0; k < classes; k++) x[k] = b->value[b->logits][hd_batch_element(b, b->logits, k, s)];
}

double hd_distil_loss(hd_batch *b, const int *labels, const float *teacher, const hd_distil *d, float scale) {
    size_t classes = hd_shape_size(b->g->tensor[b->logits].shape);
    double loss = 0, t = (double)d->temperature, share = (double)d->share;
    float x[HD_MAX_CLASSES];
    for (int s = 0; s < b->n; s++) {
        const float *y = teacher + (size_t)s * classes;
        read_logits(b, s, classes, x);
        double hard = log_sum(x, classes, 1), soft = log_sum(x, classes, t), other = log_sum(y, classes, t);
        for (size_t k = 0; k < classes; k++) {
            double q = exp((double)y[k] / t - other), p = exp((double)x[k] / t - soft);
            double one = exp((double)x[k] - hard) - (k == (size_t)labels[s] ? 1 : 0);
            b->grad[b->logits][hd_batch_element(b, b->logits, k, s)] = scale * (float)((1 - share) * one + share * t * (p - q));
            loss += share * t * t * q * (((double)y[k] / t - other) - ((double)x[k] / t - soft));
        }
        loss += (1 - share) * (hard - (double)x[labels[s]]);
    }
    return loss;
}

hd_status hd_teacher_new(hd_teacher *t, const hd_graph *g, const hd_graph *like, int capacity, int threads, hd_err *err) {
    hd_shape in = g->tensor[g->input].shape, want = like->tensor[like->input].shape;
    size_t classes = hd_shape_size(g->tensor[g->output].shape), need = hd_shape_size(like->tensor[like->output].shape);
    *t = (hd_teacher){.g = g, .threads = threads, .capacity = capacity, .classes = classes};
    if (in.c != want.c || in.h != want.h || in.w != want.w || classes != need)
        return hd_fail(err, HD_MISMATCH, "teacher '%s': %d x %d x %d to %zu outputs; the network '%s' has %d x %d x %d to %zu", g->name, in.c, in.h, in.w, classes,
                       like->name, want.c, want.h, want.w, need);
    if (classes > HD_MAX_CLASSES) return hd_fail(err, HD_RANGE, "teacher '%s': %zu outputs; at most %d are allowed", g->name, classes, HD_MAX_CLASSES);
    t->worker = calloc((size_t)threads, sizeof *t->worker);
    t->logits = calloc((size_t)threads, sizeof *t->logits);
    if (!t->worker || !t->logits) return hd_fail(err, HD_NOMEM, "teacher '%s': no memory", g->name);
    for (int i = 0; i < threads; i++) {
        hd_status s = hd_batch_new(&t->worker[i], g, capacity, 0, err);
        if (s) return s;
        t->logits[i] = malloc((size_t)capacity * classes * sizeof **t->logits);
        if (!t->logits[i]) return hd_fail(err, HD_NOMEM, "teacher '%s': no memory", g->name);
    }
    return HD_OK;
}

void hd_teacher_free(hd_teacher *t) {
    for (int i = 0; i < t->threads; i++) {
        if (t->worker) hd_batch_free(t->worker[i]);
        if (t->logits) free(t->logits[i]);
    }
    free(t->worker);
    free(t->logits);
    free(t->known);
    *t = (hd_teacher){0};
}

static void learn_slice(hd_teacher *t, const hd_data *d, int first, hd_pick *pick, float *scratch) {
    hd_batch *b = t->worker[omp_get_thread_num()];
    int n = d->n - first < t->capacity ? d->n - first : t->capacity;
    for (int i = 0; i < n; i++) pick[i] = (hd_pick){.index = first + i};
    hd_data_fill(d, pick, n, scratch, b->value[t->g->input]);
    hd_batch_forward(b, n);
    for (int i = 0; i < n; i++) read_logits(b, i, t->classes, t->known + (size_t)(first + i) * t->classes);
}

hd_status hd_teacher_learn(hd_teacher *t, const hd_data *d, hd_err *err) {
    size_t image = hd_shape_size(d->shape);
    int slices = (d->n - 1) / t->capacity + 1;
    float *scratch = malloc((size_t)t->threads * image * sizeof *scratch);
    hd_pick *pick = malloc((size_t)t->threads * (size_t)t->capacity * sizeof *pick);
    t->known = malloc((size_t)d->n * t->classes * sizeof *t->known);
    if (!scratch || !pick || !t->known) {
        free(scratch);
        free(pick);
        return hd_fail(err, HD_NOMEM, "teacher '%s': no memory for the outputs of %d images", t->g->name, d->n);
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(t->threads)
    for (int k = 0; k < slices; k++)
        if (!hd_interrupted) {
            size_t me = (size_t)omp_get_thread_num();
            learn_slice(t, d, k * t->capacity, pick + me * (size_t)t->capacity, scratch + me * image);
        }
    free(scratch);
    free(pick);
    return hd_interrupted ? hd_fail(err, HD_INTERRUPTED, "stopped while the teacher looked at the images") : HD_OK;
}

const float *hd_teacher_logits(hd_teacher *t, int thread, const hd_batch *student, const hd_pick *pick) {
    float *to = t->logits[thread];
    int n = student->n;
    if (!t->known) {
        hd_batch *b = t->worker[thread];
        size_t image = hd_shape_size(t->g->tensor[t->g->input].shape);
        memcpy(b->value[t->g->input], student->value[student->g->input], (size_t)n * image * sizeof(float));
        hd_batch_forward(b, n);
    }
    for (int i = 0; i < n; i++) {
        if (t->known) memcpy(to + (size_t)i * t->classes, t->known + (size_t)pick[i].index * t->classes, t->classes * sizeof *to);
        else read_logits(t->worker[thread], i, t->classes, to + (size_t)i * t->classes);
    }
    return to;
}
