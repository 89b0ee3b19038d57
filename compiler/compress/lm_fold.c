#include "lm_fold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/progress.h"
#include "../graph/llama_ranges.h"
#include "fold_scales.h"
#include "lm_policy.h"

enum { MOST_READERS = 3 };

typedef struct folder {
    const hd_llama *m;
    const hd_policy *p;
    size_t width;
    double *scale; /* [layers][HD_LLAMA_PARTS][width] by channel; 0 where a part is left alone */
} folder;

/* Channel of column j of a part's input: what is scaled alike. Heads that share keys and values see the same v. */
static int channel_of(const hd_llama *m, hd_llama_part part, int j) {
    int head = m->dim / m->heads;
    return part == HD_LLAMA_HEADS ? j / head / (m->heads / m->kv_heads) * head + j % head : j;
}

static int channels_of(const hd_llama *m, hd_llama_part part) {
    return part == HD_LLAMA_HEADS ? m->dim / m->heads * m->kv_heads : hd_llama_part_size(m, part);
}

static const hd_layer_policy *policy_of(const folder *f, int layer, int matrix) {
    char name[32];
    hd_llama_name(layer, matrix, name, sizeof name);
    return hd_policy_of(f->p, name);
}

/* Everything about one part: its matrices that ask, and what its channels are like. */
typedef struct site {
    const folder *f;
    int layer, columns, channels;
    int matrix[MOST_READERS], count;
    int *channel;      /* [columns] */
    double *x, *rms;   /* [channels] largest magnitude, root mean square */
    double *h;         /* [columns][columns], when AWQ is asked for */
    double *s, *sum;   /* [channels] one proposal; logarithms of all */
} site;

static void add_proposal(site *t, int *asked, int times) {
    for (int c = 0; c < t->channels; c++) t->sum[c] += times * log(t->s[c]);
    *asked += times;
}

static void smooth(site *t, int matrix, double alpha, double *w) {
    int out, in;
    hd_llama_shape(t->f->m, matrix, &out, &in);
    const float *weight = t->f->m->layer[t->layer].matrix[matrix];
    memset(w, 0, (size_t)t->channels * sizeof *w);
    for (int row = 0; row < out; row++)
        for (int j = 0; j < in; j++) w[t->channel[j]] = fmax(w[t->channel[j]], fabs((double)weight[(size_t)row * (size_t)in + (size_t)j]));
    hd_fold_smooth(t->s, t->x, w, (size_t)t->channels, alpha);
}

static hd_status awq(site *t, const int *matrix, int count, hd_err *err) {
    hd_fold_problem list[MOST_READERS];
    char name[MOST_READERS][32];
    for (int i = 0; i < count; i++) {
        hd_linear_options unused;
        hd_fold_problem *q = &list[i];
        hd_llama_name(t->layer, matrix[i], name[i], sizeof name[i]);
        *q = (hd_fold_problem){.p = {.name = name[i], .w = t->f->m->layer[t->layer].matrix[matrix[i]], .h = t->h}, .channel = t->channel};
        hd_llama_shape(t->f->m, matrix[i], &q->p.out, &q->p.in);
        hd_lm_format_of(&q->format, &unused, policy_of(t->f, t->layer, matrix[i]));
        q->format.sparsity = HD_SPARSE_NONE; /* scales are chosen for the grid alone */
    }
    return hd_fold_awq_search(t->s, NULL, t->rms, (size_t)t->channels, list, (size_t)count, err);
}

/* h = 2 X X^T / n in double, in strips of columns that are each summed in one order. */
static void second_moment(double *h, const float *in, size_t rows, size_t n) {
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < n; i++) {
        double *to = h + i * n;
        memset(to, 0, n * sizeof *to);
        for (size_t r = 0; r < rows; r++) {
            double xi = (double)in[r * n + i];
            for (size_t j = i; j < n; j++) to[j] += xi * (double)in[r * n + j];
        }
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++) h[i * n + j] = h[j * n + i] = h[i * n + j] * 2 / (double)rows;
}

static void look_at(site *t, const float *in, size_t rows) {
    size_t n = (size_t)t->columns;
    double *seen = t->s; /* counts, for now */
    memset(seen, 0, (size_t)t->channels * sizeof *seen);
    for (size_t j = 0; j < n; j++) {
        int c = t->channel[j];
        seen[c] += (double)rows;
        for (size_t r = 0; r < rows; r++) {
            double v = (double)in[r * n + j];
            t->x[c] = fmax(t->x[c], fabs(v));
            t->rms[c] += v * v;
        }
    }
    for (int c = 0; c < t->channels; c++) t->rms[c] = sqrt(t->rms[c] / seen[c]);
}

static hd_status choose(site *t, hd_llama_part part, const float *in, size_t rows, double *w, hd_err *err) {
    int scaled[MOST_READERS], n_scaled = 0, asked = 0;
    look_at(t, in, rows);
    for (int i = 0; i < t->count; i++) {
        const hd_recipe *r = &policy_of(t->f, t->layer, t->matrix[i])->recipe;
        if (r->fold == HD_FOLD_AWQ) scaled[n_scaled++] = t->matrix[i];
        if (r->fold != HD_FOLD_SMOOTH) continue;
        smooth(t, t->matrix[i], (double)r->fold_power, w);
        add_proposal(t, &asked, 1);
    }
    if (n_scaled) {
        second_moment(t->h, in, rows, (size_t)t->columns);
        hd_status s = awq(t, scaled, n_scaled, err);
        if (s) return s;
        add_proposal(t, &asked, n_scaled);
    }
    double *to = t->f->scale + ((size_t)t->layer * HD_LLAMA_PARTS + part) * t->f->width;
    for (int c = 0; c < t->channels; c++) to[c] = exp(t->sum[c] / asked);
    return HD_OK;
}

static hd_status visit(void *arg, int layer, hd_llama_part part, const float *in, size_t rows, hd_err *err) {
    const folder *f = arg;
    site t = {.f = f, .layer = layer, .columns = hd_llama_part_size(f->m, part), .channels = channels_of(f->m, part)};
    int all[3], readers = hd_llama_part_matrices(part, all), wants_h = 0;
    for (int i = 0; i < readers; i++) {
        hd_folding fold = policy_of(f, layer, all[i])->recipe.fold;
        if (fold) t.matrix[t.count++] = all[i];
        wants_h |= fold == HD_FOLD_AWQ;
    }
    if (!t.count) return HD_OK;
    if (hd_interrupted) return hd_fail(err, HD_INTERRUPTED, "stopped");
    size_t n = (size_t)t.columns, c = (size_t)t.channels;
    double *all_of = calloc(5 * c, sizeof *all_of);
    t.channel = malloc(n * sizeof *t.channel);
    t.h = wants_h ? malloc(n * n * sizeof *t.h) : NULL;
    hd_status s = HD_OK;
    if (!all_of || !t.channel || (wants_h && !t.h)) s = hd_fail(err, HD_NOMEM, "layer %d: no memory for its scales", layer);
    else {
        t.x = all_of;
        t.rms = all_of + c;
        t.s = all_of + 2 * c;
        t.sum = all_of + 3 * c;
        for (int j = 0; j < t.columns; j++) t.channel[j] = channel_of(f->m, part, j);
        s = choose(&t, part, in, rows, all_of + 4 * c, err);
    }
    free(all_of);
    free(t.channel);
    free(t.h);
    return s;
}

static void scale_columns(hd_llama *m, int layer, int matrix, hd_llama_part part, const double *s) {
    int out, in;
    hd_llama_shape(m, matrix, &out, &in);
    float *w = m->layer[layer].matrix[matrix];
    for (int row = 0; row < out; row++)
        for (int j = 0; j < in; j++, w++) *w = (float)((double)*w * s[channel_of(m, part, j)]);
}

static void divide_rows(hd_llama *m, int layer, int matrix, const double *s) {
    int out, in;
    hd_llama_shape(m, matrix, &out, &in);
    float *w = m->layer[layer].matrix[matrix];
    for (int row = 0; row < out; row++)
        for (int j = 0; j < in; j++, w++) *w = (float)((double)*w / s[row]);
}

static void apply(hd_llama *m, int layer, hd_llama_part part, const double *s) {
    int matrix[3], count = hd_llama_part_matrices(part, matrix);
    hd_llama_layer *l = &m->layer[layer];
    if (!(s[0] > 0)) return;
    for (int i = 0; i < count; i++) scale_columns(m, layer, matrix[i], part, s);
    if (part == HD_LLAMA_HEADS) divide_rows(m, layer, HD_LLAMA_V, s);
    else if (part == HD_LLAMA_GATED) divide_rows(m, layer, HD_LLAMA_W3, s);
    else {
        float *norm = part == HD_LLAMA_QKV ? l->norm_attention : l->norm_ffn;
        for (int j = 0; j < m->dim; j++) norm[j] = (float)((double)norm[j] / s[j]);
    }
}

hd_status hd_lm_fold(hd_llama *m, const hd_policy *p, const int16_t *tokens, int stride, int n, int t, hd_err *err) {
    folder f = {.m = m, .p = p, .width = (size_t)(m->dim > m->hidden ? m->dim : m->hidden)};
    int wanted = 0;
    for (int i = 0; i < m->layers * HD_LLAMA_MATRICES; i++) wanted |= policy_of(&f, i / HD_LLAMA_MATRICES, i % HD_LLAMA_MATRICES)->recipe.fold != HD_FOLD_NONE;
    if (!wanted) return HD_OK;
    f.scale = calloc((size_t)m->layers * HD_LLAMA_PARTS * f.width, sizeof *f.scale);
    hd_status s = f.scale ? hd_llama_visit(m, tokens, stride, n, t, visit, &f, err) : hd_fail(err, HD_NOMEM, "no memory for the scales of %d layers", m->layers);
    for (int i = 0; !s && i < m->layers * HD_LLAMA_PARTS; i++)
        apply(m, i / HD_LLAMA_PARTS, (hd_llama_part)(i % HD_LLAMA_PARTS), f.scale + (size_t)i * f.width);
    free(f.scale);
    return s;
}
