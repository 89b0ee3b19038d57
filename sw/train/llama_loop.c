#include "llama_loop.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/progress.h"
#include "loop.h"

/* ---- rows ---- */

static void shuffle(hd_llama_pool *p, hd_rng *rng) {
    for (int i = p->n - 1; i > 0; i--) {
        int k = (int)hd_rng_below(rng, (uint32_t)i + 1), other = p->order[k];
        p->order[k] = p->order[i];
        p->order[i] = other;
    }
    p->at = 0;
}

hd_status hd_llama_feed_new(hd_llama_feed *f, const int16_t *given, int stride, int n, const int16_t *written, int n_written, float share, int t, uint64_t seed,
                            hd_err *err) {
    *f = (hd_llama_feed){.pool = {{given, stride, n, 0, NULL}, {written, t + 1, n_written, 0, NULL}}, .share = n_written > 0 ? n > 0 ? share : 1 : 0, .t = t};
    if (n < 0 || n_written < 0 || n + n_written < 1) return hd_fail(err, HD_RANGE, "%d rows and %d written ones to train on; at least 1 is needed", n, n_written);
    hd_rng_seed(&f->rng, seed, 5);
    for (int i = 0; i < 2; i++) {
        hd_llama_pool *p = &f->pool[i];
        p->order = malloc(((size_t)p->n + 1) * sizeof *p->order);
        if (!p->order) return hd_fail(err, HD_NOMEM, "no memory for the order of %d rows", p->n);
        for (int k = 0; k < p->n; k++) p->order[k] = k;
        shuffle(p, &f->rng);
    }
    return HD_OK;
}

void hd_llama_feed_free(hd_llama_feed *f) {
    free(f->pool[0].order);
    free(f->pool[1].order);
    *f = (hd_llama_feed){0};
}

void hd_llama_feed_take(hd_llama_feed *f, int16_t *out, int n) {
    for (int i = 0; i < n; i++, out += f->t + 1) {
        hd_llama_pool *p = &f->pool[hd_rng_float(&f->rng) < f->share];
        if (p->at == p->n) shuffle(p, &f->rng);
        memcpy(out, p->rows + (size_t)p->order[p->at++] * (size_t)p->stride, ((size_t)f->t + 1) * sizeof *out);
    }
}

/* ---- Adam ---- */

/* Norms shrink no activation by becoming small; only matrices and tables decay. */
static void set_decay(hd_llama_loop *l) {
    const hd_llama *m = l->m;
    for (size_t i = 0; i < l->total; i++) {
        l->pace[i] = 1;
        l->decay[i] = i < l->params.total ? 1 : 0;
    }
    for (size_t k = 0; k < (size_t)m->dim; k++) {
        l->decay[l->params.norm_final + k] = 0;
        for (int i = 0; i < m->layers; i++) l->decay[l->params.norm_attention[i] + k] = l->decay[l->params.norm_ffn[i] + k] = 0;
    }
}

hd_status hd_llama_loop_new(hd_llama_loop *l, hd_llama *m, hd_llama_feed *feed, const hd_llama_loop_options *o, const hd_llama_hooks *hooks, hd_err *err) {
    *l = (hd_llama_loop){.m = m, .feed = feed, .o = *o};
    if (hooks) l->hooks = *hooks;
    if (o->steps < 1 || o->batch < 1) return hd_fail(err, HD_RANGE, "%ld steps of %d rows; at least 1 of each is needed", o->steps, o->batch);
    hd_status s = hd_llama_params_new(&l->params, m, err);
    if (!s) s = hd_llama_tape_new(&l->tape, m, o->batch, feed->t, o->threads, err);
    if (s) return s;
    l->total = l->params.total + l->hooks.extra;
    float **const each[] = {&l->gradient, &l->weight, &l->mean, &l->square, &l->pace, &l->decay};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) *each[i] = calloc(l->total, sizeof(float));
    l->rows = malloc((size_t)o->batch * ((size_t)feed->t + 1) * sizeof *l->rows);
    if (!l->gradient || !l->weight || !l->mean || !l->square || !l->pace || !l->decay || !l->rows)
        return hd_fail(err, HD_NOMEM, "no memory to train %zu parameters", l->total);
    set_decay(l);
    hd_llama_params_read(&l->params, m, l->weight);
    return HD_OK;
}

void hd_llama_loop_free(hd_llama_loop *l) {
    hd_llama_tape_free(l->tape);
    hd_llama_params_free(&l->params);
    free(l->gradient);
    free(l->weight);
    free(l->mean);
    free(l->square);
    free(l->pace);
    free(l->decay);
    free(l->rows);
    *l = (hd_llama_loop){0};
}

void hd_llama_loop_place(hd_llama_loop *l) {
    if (l->hooks.place) l->hooks.place(l->hooks.arg, l->weight);
    else hd_llama_params_write(&l->params, l->m, l->weight);
}

/* Adam's step (Kingma and Ba 2015, with the decay outside the moments as in Loshchilov and Hutter 2019). */
static void update(hd_llama_loop *l, float rate) {
    const float b1 = 0.9f, b2 = 0.99f;
    const float tiny = 1e-30f; /* moments of absent weights fade away; subnormal numbers would cost time */
    float correct1 = 1 / (1 - powf(b1, (float)l->step + 1)), correct2 = 1 / (1 - powf(b2, (float)l->step + 1)), decay = l->o.weight_decay;
    float *restrict g = l->gradient, *restrict w = l->weight, *restrict mean = l->mean, *restrict square = l->square;
    for (size_t i = 0; i < l->total; i++) {
        float m = b1 * mean[i] + (1 - b1) * g[i], v = b2 * square[i] + (1 - b2) * g[i] * g[i];
        mean[i] = fabsf(m) > tiny ? m : 0;
        square[i] = v > tiny ? v : 0;
        float move = mean[i] * correct1 / (sqrtf(square[i] * correct2) + 1e-8f);
        w[i] -= rate * l->pace[i] * (move + decay * l->decay[i] * w[i]);
    }
}

static hd_status step(hd_llama_loop *l, double *loss, hd_err *err) {
    hd_llama_feed_take(l->feed, l->rows, l->o.batch);
    hd_status s = hd_llama_gradient(l->tape, l->m, &l->params, l->rows, l->feed->t + 1, l->o.batch, &l->o.objective, l->gradient, loss, err);
    if (s) return s;
    if (!isfinite(*loss)) return hd_fail(err, HD_RANGE, "the loss is no number after %ld steps; a learning rate below %g may help", l->step, (double)l->o.rate);
    if (l->hooks.gradient) l->hooks.gradient(l->hooks.arg, l->weight, l->gradient);
    update(l, hd_loop_rate(l->o.rate, l->step, l->o.steps));
    l->step++;
    hd_llama_loop_place(l);
    return l->hooks.after ? l->hooks.after(l->hooks.arg, l->step, err) : HD_OK;
}

hd_status hd_llama_loop_run(hd_llama_loop *l, double *loss, hd_err *err) {
    hd_progress bar;
    hd_status s = HD_OK;
    long counted = 0, last = l->o.steps - (l->o.steps + 9) / 10;
    double recent = 0, sum = 0;
    if (l->o.label) hd_progress_start(&bar, l->o.label, (double)l->o.steps);
    while (!s && l->step < l->o.steps) {
        double now = 0;
        char note[64];
        s = step(l, &now, err);
        if (!s && hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped after %ld of %ld steps", l->step, l->o.steps);
        recent = l->step == 1 ? now : 0.95 * recent + 0.05 * now;
        if (l->step > last) {
            sum += now;
            counted++;
        }
        snprintf(note, sizeof note, "step %ld, loss %.4f", l->step, recent);
        if (l->o.label) hd_progress_show(&bar, (double)l->step, note);
    }
    if (l->o.label) hd_progress_end(&bar);
    *loss = counted ? sum / (double)counted : recent;
    return s;
}
