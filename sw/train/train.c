/* Adam over mini-batches. A mini-batch is cut into slices; threads take slices, each with gradients of its own, and the
 * sum runs over the slices in order: the result does not depend on which thread did what, nor on how many there are. */
#include "train.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/progress.h"
#include "../core/rng.h"
#include "data.h"

enum {
    SLICE = 8,       /* images: their buffers stay in the second-level cache for networks of the default's size */
    MAX_SLICES = 64, /* bounds the gradient buffers of large mini-batches */
    CHUNK = 4096     /* parameters a thread updates at a time */
};

typedef struct trainer {
    hd_graph *g;
    const hd_train_options *o;
    hd_data train;
    hd_params params;
    int threads, slice, slices;  /* images of a slice; most slices of a mini-batch */
    hd_batch **worker;           /* [threads] */
    float **scratch;             /* [threads] one image */
    float *gradient;             /* [slices][params.total] */
    float *weight, *mean, *square; /* [params.total] parameters as Adam sees them, and its moments */
    float *decay;                /* [params.total] 1 for weights, 0 for biases */
    double *loss;                /* [slices] */
    int *order;                  /* [train.n] */
    hd_pick *pick;               /* [batch] */
    int **label;                 /* [threads][slice] */
    long step, steps;
    hd_rng rng;
    hd_progress bar;
} trainer;

static hd_status check_options(const hd_train_options *o, hd_err *err) {
    if (o->epochs < 1 || o->epochs > 100000) return hd_fail(err, HD_RANGE, "training: %d epochs; 1..100000 are allowed", o->epochs);
    if (o->batch < 1 || o->batch > 65536) return hd_fail(err, HD_RANGE, "training: mini-batch of %d; 1..65536 are allowed", o->batch);
    if (!(o->learning_rate > 0) || o->learning_rate > 10)
        return hd_fail(err, HD_RANGE, "training: learning rate %g; above 0, at most 10 is allowed", (double)o->learning_rate);
    if (!(o->weight_decay >= 0) || o->weight_decay > 10)
        return hd_fail(err, HD_RANGE, "training: weight decay %g; 0..10 is allowed", (double)o->weight_decay);
    if (o->shift < 0 || o->shift > 8) return hd_fail(err, HD_RANGE, "training: shift of %d pixels; 0..8 are allowed", o->shift);
    if (o->threads < 0 || o->threads > 1024) return hd_fail(err, HD_RANGE, "training: %d threads; 0 (all cores)..1024 are allowed", o->threads);
    return HD_OK;
}

/* Copies the graph's parameters to the flat vector or back. */
static void move_parameters(trainer *t, int to_graph) {
    for (int i = 0; i < t->g->n_nodes; i++) {
        hd_node *n = &t->g->node[i];
        size_t weights = n->weight ? hd_node_weights(n) : 0, biases = n->bias ? (size_t)n->cout : 0;
        float *w = t->weight + t->params.weight[i], *b = t->weight + t->params.bias[i];
        if (to_graph) {
            if (weights) memcpy(n->weight, w, weights * sizeof *w);
            if (biases) memcpy(n->bias, b, biases * sizeof *b);
        } else {
            if (weights) memcpy(w, n->weight, weights * sizeof *w);
            if (biases) memcpy(b, n->bias, biases * sizeof *b);
            for (size_t k = 0; k < weights; k++) t->decay[t->params.weight[i] + k] = 1;
        }
    }
}

static hd_status setup(trainer *t, hd_err *err) {
    size_t total, threads, image = hd_shape_size(t->g->tensor[t->g->input].shape);
    hd_status s = hd_params_new(&t->params, t->g, err);
    if (s) return s;
    if (!t->params.total) return hd_fail(err, HD_UNSUPPORTED, "%s: the network has no weights to train", t->g->name);
    total = t->params.total;
    t->threads = t->o->threads ? t->o->threads : omp_get_max_threads();
    t->slice = SLICE;
    if ((t->o->batch + SLICE - 1) / SLICE > MAX_SLICES) t->slice = (t->o->batch + MAX_SLICES - 1) / MAX_SLICES;
    t->slices = (t->o->batch + t->slice - 1) / t->slice;
    if (t->threads > t->slices) t->threads = t->slices;
    threads = (size_t)t->threads;
    t->worker = calloc(threads, sizeof *t->worker);
    t->scratch = calloc(threads, sizeof *t->scratch);
    t->label = calloc(threads, sizeof *t->label);
    t->gradient = calloc((size_t)t->slices * total, sizeof *t->gradient);
    t->weight = calloc(total, sizeof *t->weight);
    t->mean = calloc(total, sizeof *t->mean);
    t->square = calloc(total, sizeof *t->square);
    t->decay = calloc(total, sizeof *t->decay);
    t->loss = calloc((size_t)t->slices, sizeof *t->loss);
    t->order = calloc((size_t)t->train.n, sizeof *t->order);
    t->pick = calloc((size_t)t->o->batch, sizeof *t->pick);
    if (!t->worker || !t->scratch || !t->label || !t->gradient || !t->weight || !t->mean || !t->square || !t->decay || !t->loss ||
        !t->order || !t->pick)
        return hd_fail(err, HD_NOMEM, "%s: no memory to train %zu parameters", t->g->name, total);
    for (int i = 0; i < t->threads; i++) {
        s = hd_batch_new(&t->worker[i], t->g, t->slice, 1, err);
        if (s) return s;
        t->scratch[i] = calloc(image, sizeof **t->scratch);
        t->label[i] = calloc((size_t)t->slice, sizeof **t->label);
        if (!t->scratch[i] || !t->label[i]) return hd_fail(err, HD_NOMEM, "%s: no memory for an image", t->g->name);
    }
    for (int i = 0; i < t->train.n; i++) t->order[i] = i;
    t->steps = (long)t->o->epochs * ((t->train.n + t->o->batch - 1) / t->o->batch);
    move_parameters(t, 0);
    return HD_OK;
}

static void teardown(trainer *t) {
    for (int i = 0; i < t->threads; i++) {
        if (t->worker) hd_batch_free(t->worker[i]);
        if (t->scratch) free(t->scratch[i]);
        if (t->label) free(t->label[i]);
    }
    free(t->worker);
    free(t->scratch);
    free(t->label);
    free(t->gradient);
    free(t->weight);
    free(t->mean);
    free(t->square);
    free(t->decay);
    free(t->loss);
    free(t->order);
    free(t->pick);
    hd_params_free(&t->params);
    hd_data_free(&t->train);
}

/* Rises over the first twentieth, then half a cosine down to a hundredth. */
static float rate_at(const trainer *t, long step) {
    double warm = fmax(1, (double)t->steps / 20), at = (double)step + 1;
    if (at < warm) return (float)((double)t->o->learning_rate * at / warm);
    double part = (at - warm) / fmax(1, (double)t->steps - warm);
    return (float)((double)t->o->learning_rate * (0.01 + 0.99 * 0.5 * (1 + cos(3.14159265358979 * part))));
}

/* Sums the slices' gradients of parameters from..to-1 in slice order and takes Adam's step (Kingma and Ba 2015, with the
 * decay outside the moments as in Loshchilov and Hutter 2019). */
static void update(trainer *t, size_t from, size_t to, int slices, float rate) {
    const float b1 = 0.9f, b2 = 0.999f;
    float correct1 = 1 / (1 - powf(b1, (float)t->step + 1)), correct2 = 1 / (1 - powf(b2, (float)t->step + 1));
    float *restrict g = t->gradient, *restrict w = t->weight, *restrict mean = t->mean, *restrict square = t->square;
    for (int s = 1; s < slices; s++) {
        const float *restrict other = t->gradient + (size_t)s * t->params.total;
        for (size_t i = from; i < to; i++) g[i] += other[i];
    }
    for (size_t i = from; i < to; i++) {
        mean[i] = b1 * mean[i] + (1 - b1) * g[i];
        square[i] = b2 * square[i] + (1 - b2) * g[i] * g[i];
        float move = mean[i] * correct1 / (sqrtf(square[i] * correct2) + 1e-8f);
        w[i] -= rate * (move + t->o->weight_decay * t->decay[i] * w[i]);
    }
}

static void run_slice(trainer *t, int s, int batch) {
    int me = omp_get_thread_num(), first = s * t->slice, n = batch - first < t->slice ? batch - first : t->slice;
    hd_batch *b = t->worker[me];
    for (int i = 0; i < n; i++) t->label[me][i] = t->train.label[t->pick[first + i].index];
    hd_data_fill(&t->train, t->pick + first, n, t->scratch[me], b->value[t->g->input]);
    hd_batch_forward(b, n);
    t->loss[s] = hd_batch_loss(b, t->label[me], 1 / (float)batch);
    hd_batch_backward(b, &t->params, t->gradient + (size_t)s * t->params.total);
}

/* One mini-batch of the picked images; returns the sum of their losses. */
static double run_batch(trainer *t, int batch) {
    int slices = (batch + t->slice - 1) / t->slice, chunks = (int)((t->params.total + CHUNK - 1) / CHUNK);
    float rate = rate_at(t, t->step);
    double loss = 0;
#pragma omp parallel num_threads(t->threads)
    {
#pragma omp for schedule(dynamic, 1)
        for (int s = 0; s < slices; s++) run_slice(t, s, batch);
#pragma omp for schedule(static)
        for (int c = 0; c < chunks; c++) {
            size_t from = (size_t)c * CHUNK, to = from + CHUNK < t->params.total ? from + CHUNK : t->params.total;
            update(t, from, to, slices, rate);
        }
    }
    for (int s = 0; s < slices; s++) loss += t->loss[s];
    t->step++;
    move_parameters(t, 1);
    return loss;
}

static void shuffle(trainer *t) {
    for (int i = t->train.n - 1; i > 0; i--) {
        int k = (int)hd_rng_below(&t->rng, (uint32_t)i + 1), other = t->order[k];
        t->order[k] = t->order[i];
        t->order[i] = other;
    }
}

static void pick_images(trainer *t, int at, int batch) {
    int shift = t->o->shift;
    for (int i = 0; i < batch; i++) {
        hd_pick p = {.index = t->order[at + i]};
        if (shift) {
            p.move_y = (int)hd_rng_below(&t->rng, (uint32_t)(2 * shift + 1)) - shift;
            p.move_x = (int)hd_rng_below(&t->rng, (uint32_t)(2 * shift + 1)) - shift;
        }
        if (t->o->flip) p.flip = (int)(hd_rng_u32(&t->rng) >> 31);
        t->pick[i] = p;
    }
}

static hd_status run_epoch(trainer *t, int epoch, double *mean_loss, hd_err *err) {
    double loss = 0;
    int n = t->train.n;
    shuffle(t);
    for (int at = 0; at < n; at += t->o->batch) {
        int batch = n - at < t->o->batch ? n - at : t->o->batch;
        char note[64];
        if (hd_interrupted) return hd_fail(err, HD_INTERRUPTED, "training stopped in epoch %d of %d", epoch + 1, t->o->epochs);
        pick_images(t, at, batch);
        loss += run_batch(t, batch);
        if (!isfinite(loss))
            return hd_fail(err, HD_RANGE, "%s: the loss is no number after %ld steps; a learning rate below %g may help", t->g->name, t->step,
                           (double)t->o->learning_rate);
        if (!t->o->quiet) {
            snprintf(note, sizeof note, "epoch %d/%d, loss %.4f", epoch + 1, t->o->epochs, loss / (double)(at + batch));
            hd_progress_show(&t->bar, (double)t->step, note);
        }
    }
    *mean_loss = loss / (double)n;
    return HD_OK;
}

static hd_status train(trainer *t, const hd_idx *test_images, const hd_idx *test_labels, double *final_loss, hd_err *err) {
    double loss = 0;
    hd_status s = HD_OK;
    hd_rng_seed(&t->rng, t->o->seed, 2);
    if (!t->o->quiet) hd_progress_start(&t->bar, "training", (double)t->steps);
    for (int epoch = 0; epoch < t->o->epochs && !s; epoch++) {
        double accuracy = NAN;
        s = run_epoch(t, epoch, &loss, err);
        if (s || !t->o->on_epoch) continue;
        if (test_images && test_labels) s = hd_accuracy(t->g, test_images, test_labels, 0, &accuracy, err);
        if (!s) t->o->on_epoch(t->o->arg, epoch, loss, accuracy);
    }
    if (!t->o->quiet) hd_progress_end(&t->bar);
    if (!s && final_loss) *final_loss = loss;
    return s;
}

hd_status hd_train(hd_graph *g, const hd_idx *images, const hd_idx *labels, const hd_idx *test_images, const hd_idx *test_labels,
                   const hd_train_options *o, double *final_loss, hd_err *err) {
    trainer t = {.g = g, .o = o};
    hd_status s = hd_graph_check(g, err);
    if (!s) s = check_options(o, err);
    if (!s) s = hd_data_new(&t.train, g, images, labels, o->limit, err);
    if (s) return s;
    /* The threads are ours: products inside them run on one core each. */
    int blas = openblas_get_num_threads();
    openblas_set_num_threads(1);
    s = setup(&t, err);
    if (!s) s = train(&t, test_images, test_labels, final_loss, err);
    openblas_set_num_threads(blas);
    teardown(&t);
    return s;
}
