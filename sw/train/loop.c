#include "loop.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLICE = 8,       /* images: their buffers stay in the second-level cache for networks of the default's size */
    MAX_SLICES = 64, /* bounds the gradient buffers of large mini-batches */
    CHUNK = 4096     /* parameters a thread updates at a time */
};

/* Copies the graph's parameters to the flat vector or back. */
static void move_parameters(hd_loop *l, int to_graph) {
    for (int i = 0; i < l->g->n_nodes; i++) {
        hd_node *n = &l->g->node[i];
        size_t weights = n->weight ? hd_node_weights(n) : 0, biases = n->bias ? (size_t)n->cout : 0;
        float *w = l->weight + l->params.weight[i], *b = l->weight + l->params.bias[i];
        if (weights) memcpy(to_graph ? n->weight : w, to_graph ? w : n->weight, weights * sizeof *w);
        if (biases) memcpy(to_graph ? n->bias : b, to_graph ? b : n->bias, biases * sizeof *b);
        for (size_t k = 0; k < weights; k++) l->decay[l->params.weight[i] + k] = 1;
    }
}

static hd_status allocate_workers(hd_loop *l, hd_err *err) {
    size_t image = hd_shape_size(l->g->tensor[l->g->input].shape);
    for (int i = 0; i < l->threads; i++) {
        hd_status s = hd_batch_new(&l->worker[i], l->g, l->slice, 1, err);
        if (s) return s;
        l->scratch[i] = calloc(image, sizeof **l->scratch);
        l->label[i] = calloc((size_t)l->slice, sizeof **l->label);
        if (!l->scratch[i] || !l->label[i]) return hd_fail(err, HD_NOMEM, "%s: no memory for an image", l->g->name);
    }
    return HD_OK;
}

hd_status hd_loop_new(hd_loop *l, hd_graph *g, const hd_data *data, int batch, int threads, float weight_decay, const hd_loop_hooks *hooks,
                      hd_err *err) {
    *l = (hd_loop){.g = g, .data = data, .weight_decay = weight_decay};
    if (hooks) l->hooks = *hooks;
    hd_status s = hd_params_new(&l->params, g, err);
    if (s) return s;
    if (!l->params.total) return hd_fail(err, HD_UNSUPPORTED, "%s: the network has no weights to train", g->name);
    size_t total = l->total = l->params.total + l->hooks.extra;
    l->threads = threads ? threads : omp_get_max_threads();
    l->slice = SLICE;
    if ((batch + SLICE - 1) / SLICE > MAX_SLICES) l->slice = (batch + MAX_SLICES - 1) / MAX_SLICES;
    l->slices = (batch + l->slice - 1) / l->slice;
    if (l->threads > l->slices) l->threads = l->slices;
    l->worker = calloc((size_t)l->threads, sizeof *l->worker);
    l->scratch = calloc((size_t)l->threads, sizeof *l->scratch);
    l->label = calloc((size_t)l->threads, sizeof *l->label);
    l->gradient = calloc((size_t)l->slices * total, sizeof *l->gradient);
    l->weight = calloc(total, sizeof *l->weight);
    l->mean = calloc(total, sizeof *l->mean);
    l->square = calloc(total, sizeof *l->square);
    l->decay = calloc(total, sizeof *l->decay);
    l->pace = calloc(total, sizeof *l->pace);
    l->loss = calloc((size_t)l->slices, sizeof *l->loss);
    if (!l->worker || !l->scratch || !l->label || !l->gradient || !l->weight || !l->mean || !l->square || !l->decay || !l->pace || !l->loss)
        return hd_fail(err, HD_NOMEM, "%s: no memory to train %zu parameters", g->name, total);
    for (size_t i = 0; i < total; i++) l->pace[i] = 1;
    move_parameters(l, 0);
    return allocate_workers(l, err);
}

void hd_loop_free(hd_loop *l) {
    for (int i = 0; i < l->threads; i++) {
        if (l->worker) hd_batch_free(l->worker[i]);
        if (l->scratch) free(l->scratch[i]);
        if (l->label) free(l->label[i]);
    }
    free(l->worker);
    free(l->scratch);
    free(l->label);
    free(l->gradient);
    free(l->weight);
    free(l->mean);
    free(l->square);
    free(l->decay);
    free(l->pace);
    free(l->loss);
    hd_params_free(&l->params);
}

void hd_loop_place(hd_loop *l) {
    if (l->hooks.place) l->hooks.place(l->hooks.arg, l->weight);
    else move_parameters(l, 1);
}

float hd_loop_rate(float peak, long step, long steps) {
    double warm = fmax(1, (double)steps / 20), at = (double)step + 1;
    if (at < warm) return (float)((double)peak * at / warm);
    double part = (at - warm) / fmax(1, (double)steps - warm);
    return (float)((double)peak * (0.01 + 0.99 * 0.5 * (1 + cos(3.14159265358979 * part))));
}

/* Sums the slices' gradients of parameters from..to-1 in slice order. */
static void sum_slices(hd_loop *l, size_t from, size_t to, int slices) {
    float *restrict g = l->gradient;
    for (int s = 1; s < slices; s++) {
        const float *restrict other = l->gradient + (size_t)s * l->total;
        for (size_t i = from; i < to; i++) g[i] += other[i];
    }
}

/* Adam's step (Kingma and Ba 2015, with the decay outside the moments as in Loshchilov and Hutter 2019). */
static void update(hd_loop *l, size_t from, size_t to, float rate) {
    const float b1 = 0.9f, b2 = 0.999f;
    const float tiny = 1e-30f; /* moments of absent weights fade away; subnormal numbers would cost a quarter of the time */
    float correct1 = 1 / (1 - powf(b1, (float)l->step + 1)), correct2 = 1 / (1 - powf(b2, (float)l->step + 1));
    float *restrict g = l->gradient, *restrict w = l->weight, *restrict mean = l->mean, *restrict square = l->square;
    for (size_t i = from; i < to; i++) {
        float m = b1 * mean[i] + (1 - b1) * g[i], v = b2 * square[i] + (1 - b2) * g[i] * g[i];
        mean[i] = fabsf(m) > tiny ? m : 0;
        square[i] = v > tiny ? v : 0;
        float move = mean[i] * correct1 / (sqrtf(square[i] * correct2) + 1e-8f);
        w[i] -= rate * l->pace[i] * (move + l->weight_decay * l->decay[i] * w[i]);
    }
}

static void run_slice(hd_loop *l, const hd_pick *pick, int s, int batch) {
    int me = omp_get_thread_num(), first = s * l->slice, n = batch - first < l->slice ? batch - first : l->slice;
    hd_batch *b = l->worker[me];
    float scale = 1 / (float)batch;
    for (int i = 0; i < n; i++) l->label[me][i] = l->data->label[pick[first + i].index];
    hd_data_fill(l->data, pick + first, n, l->scratch[me], b->value[l->g->input]);
    hd_batch_forward(b, n);
    l->loss[s] = l->hooks.loss ? l->hooks.loss(l->hooks.arg, b, me, pick + first, l->label[me], scale) : hd_batch_loss(b, l->label[me], scale);
    hd_batch_backward(b, &l->params, l->gradient + (size_t)s * l->total);
}

double hd_loop_step(hd_loop *l, const hd_pick *pick, int n, float rate) {
    int slices = (n + l->slice - 1) / l->slice, chunks = (int)((l->total + CHUNK - 1) / CHUNK);
    double loss = 0;
    /* The slices leave the extra parameters' gradients as they are, and the sum of them is meaningless: the hook sets them. */
#pragma omp parallel num_threads(l->threads)
    {
#pragma omp for schedule(dynamic, 1)
        for (int s = 0; s < slices; s++) run_slice(l, pick, s, n);
#pragma omp for schedule(static)
        for (int c = 0; c < chunks; c++) {
            size_t from = (size_t)c * CHUNK, to = from + CHUNK < l->params.total ? from + CHUNK : l->params.total;
            if (from < to) sum_slices(l, from, to, slices);
        }
#pragma omp single
        if (l->hooks.gradient) l->hooks.gradient(l->hooks.arg, l->weight, l->gradient);
#pragma omp for schedule(static)
        for (int c = 0; c < chunks; c++) {
            size_t from = (size_t)c * CHUNK, to = from + CHUNK < l->total ? from + CHUNK : l->total;
            update(l, from, to, rate);
        }
    }
    for (int s = 0; s < slices; s++) loss += l->loss[s];
    l->step++;
    hd_loop_place(l);
    return loss;
}

hd_status hd_sampler_new(hd_sampler *s, int n, int batch, int shift, int flip, uint64_t seed, hd_err *err) {
    *s = (hd_sampler){.n = n, .shift = shift, .flip = flip, .order = calloc((size_t)n, sizeof *s->order), .pick = calloc((size_t)batch, sizeof *s->pick)};
    if (!s->order || !s->pick) return hd_fail(err, HD_NOMEM, "no memory for the order of %d images", n);
    for (int i = 0; i < n; i++) s->order[i] = i;
    hd_rng_seed(&s->rng, seed, 2);
    return HD_OK;
}

void hd_sampler_free(hd_sampler *s) {
    free(s->order);
    free(s->pick);
    *s = (hd_sampler){0};
}

void hd_sampler_shuffle(hd_sampler *s) {
    for (int i = s->n - 1; i > 0; i--) {
        int k = (int)hd_rng_below(&s->rng, (uint32_t)i + 1), other = s->order[k];
        s->order[k] = s->order[i];
        s->order[i] = other;
    }
}

void hd_sampler_pick(hd_sampler *s, int at, int n) {
    for (int i = 0; i < n; i++) {
        hd_pick p = {.index = s->order[at + i]};
        if (s->shift) {
            p.move_y = (int)hd_rng_below(&s->rng, (uint32_t)(2 * s->shift + 1)) - s->shift;
            p.move_x = (int)hd_rng_below(&s->rng, (uint32_t)(2 * s->shift + 1)) - s->shift;
        }
        if (s->flip) p.flip = (int)(hd_rng_u32(&s->rng) >> 31);
        s->pick[i] = p;
    }
}
