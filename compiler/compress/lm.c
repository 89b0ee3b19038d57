/* hd_lm_compress: walks the blocks of both models side by side and hands each matrix its problem. */
#include "lm.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/progress.h"

enum { CHUNK = 256, COLUMNS = 16 };

/* A stream of activations through one of the two models. */
typedef struct stream {
    const hd_llama *m;
    float *x;     /* [rows][dim] residual stream */
    float *first; /* [rows][dim] input of QKV or FFN */
    float *inner; /* [rows][max(dim, hidden)] input of HEADS or GATED */
    float *start; /* [rows][dim] x before the block, with blockwise solving; else NULL */
} stream;

typedef struct walk {
    hd_lm *c;
    const hd_lm_options *o;
    int n, t;
    size_t rows;
    stream real, small; /* the float model (without buffers when nothing is corrected), the compressed one */
    double *h, *drift, *residual; /* [in][in], [in][in], [dim][in], of the part at work */
    hd_progress progress;
    double done;
} walk;

static int open_stream(stream *s, const hd_llama *m, size_t rows) {
    size_t dim = (size_t)m->dim, inner = (size_t)(m->dim > m->hidden ? m->dim : m->hidden);
    s->m = m;
    s->x = malloc(rows * dim * sizeof(float));
    s->first = malloc(rows * dim * sizeof(float));
    s->inner = malloc(rows * inner * sizeof(float));
    return s->x && s->first && s->inner;
}

static void close_stream(stream *s) {
    free(s->x);
    free(s->first);
    free(s->inner);
    free(s->start);
}

/* out[na][nb] = 2/rows * sum over rows of (a - less) b^T. In double; each thread computes a strip of out over all rows in their
 * order, so that the sums are the same on any number of threads. */
static hd_status moment(double *out, const float *a, const float *less, int na, const float *b, int nb, size_t rows, hd_err *err) {
    int strips = (na + COLUMNS - 1) / COLUMNS, failed = 0;
#pragma omp parallel for schedule(dynamic)
    for (int s = 0; s < strips; s++) {
        int from = s * COLUMNS, n = na - from < COLUMNS ? na - from : COLUMNS;
        double *left = malloc(CHUNK * COLUMNS * sizeof *left), *right = malloc((size_t)CHUNK * (size_t)nb * sizeof *right);
        double *to = out + (size_t)from * (size_t)nb;
        if (!left || !right) {
#pragma omp atomic write
            failed = 1;
        }
        memset(to, 0, (size_t)n * (size_t)nb * sizeof *to);
        for (size_t r = 0; left && right && r < rows; r += CHUNK) {
            int count = rows - r < CHUNK ? (int)(rows - r) : CHUNK;
            for (int i = 0; i < count; i++)
                for (int k = 0; k < n; k++) {
                    size_t at = (r + (size_t)i) * (size_t)na + (size_t)(from + k);
                    left[i * COLUMNS + k] = (double)a[at] - (less ? (double)less[at] : 0.0);
                }
            const float *rest = b + r * (size_t)nb;
            for (size_t i = 0; i < (size_t)count * (size_t)nb; i++) right[i] = (double)rest[i];
            cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, nb, count, 2.0 / (double)rows, left, COLUMNS, right, nb, 1.0, to, nb);
        }
        free(left);
        free(right);
    }
    return failed ? hd_fail(err, HD_NOMEM, "no memory for the moments of %d inputs", nb) : HD_OK;
}

static hd_status second_moment(walk *w, const float *x, int in, hd_err *err) {
    hd_status s = moment(w->h, x, NULL, in, x, in, w->rows, err);
    /* The products of a pair may round differently in its two places. */
    for (int i = 0; i < in; i++)
        for (int j = 0; j < i; j++) w->h[(size_t)i * (size_t)in + (size_t)j] = w->h[(size_t)j * (size_t)in + (size_t)i];
    return s;
}

/* yx = W H + correct * (W drift + residual): the outputs that are wanted against the inputs that there are. */
static hd_status wanted(double *yx, const walk *w, const hd_linear *p, int residual, hd_err *err) {
    size_t n = (size_t)p->out * (size_t)p->in;
    double *weights = malloc(n * sizeof *weights), c = w->o->correct;
    if (!weights) return hd_fail(err, HD_NOMEM, "%s: no memory for its target", p->name);
    for (size_t i = 0; i < n; i++) weights[i] = (double)p->w[i];
    for (size_t i = 0; i < n; i++) yx[i] = residual ? c * w->residual[i] : 0.0;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, p->out, p->in, p->in, 1.0, weights, p->in, w->h, p->in, 1.0, yx, p->in);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, p->out, p->in, p->in, c, weights, p->in, w->drift, p->in, 1.0, yx, p->in);
    free(weights);
    return HD_OK;
}

static hd_status solve_matrix(walk *w, int layer, hd_llama_part part, int matrix, hd_err *err) {
    char name[32];
    int out, in;
    hd_llama_name(layer, matrix, name, sizeof name);
    hd_llama_shape(w->real.m, matrix, &out, &in);
    size_t weights = (size_t)out * (size_t)in;
    hd_linear p = {.name = name, .out = out, .in = in, .w = w->real.m->layer[layer].matrix[matrix], .h = w->h};
    double *yx = NULL;
    hd_status s = HD_OK;
    if (w->o->correct > 0) {
        p.yx = yx = malloc(weights * sizeof *yx);
        s = yx ? wanted(yx, w, &p, part == HD_LLAMA_HEADS || part == HD_LLAMA_GATED, err) : hd_fail(err, HD_NOMEM, "%s: no memory for its target", name);
    }
    hd_lm_matrix *to = &w->c->matrix[layer * HD_LLAMA_MATRICES + matrix];
    if (!s) s = w->o->solve(w->o->arg, layer, matrix, &p, to, err);
    if (!s && !w->o->blockwise) memcpy(w->c->model->layer[layer].matrix[matrix], to->linear.w, weights * sizeof(float));
    free(yx);
    return s;
}

/* The matrices of one part, in parallel; their inputs are known in both models. */
static hd_status solve_part(walk *w, int layer, hd_llama_part part, hd_err *err) {
    int matrix[3], count = hd_llama_part_matrices(part, matrix), in = hd_llama_part_size(w->real.m, part), dim = w->real.m->dim;
    int inner = part == HD_LLAMA_HEADS || part == HD_LLAMA_GATED;
    const float *real = inner ? w->real.inner : w->real.first, *small = inner ? w->small.inner : w->small.first;
    hd_status s = second_moment(w, small, in, err), each[3] = {HD_OK, HD_OK, HD_OK};
    if (!s && w->o->correct > 0) s = moment(w->drift, real, small, in, small, in, w->rows, err);
    if (!s && w->o->correct > 0 && inner) s = moment(w->residual, w->real.x, w->small.x, dim, small, in, w->rows, err);
    if (s) return s;
    hd_err own[3] = {{0}};
    if (count == 1) {
        each[0] = solve_matrix(w, layer, part, matrix[0], &own[0]); /* alone: its solver may use all cores */
    } else {
#pragma omp parallel for schedule(dynamic, 1)
        for (int i = 0; i < count; i++) each[i] = solve_matrix(w, layer, part, matrix[i], &own[i]);
    }
    for (int i = 0; i < count; i++) {
        int rows, columns;
        hd_llama_shape(w->real.m, matrix[i], &rows, &columns);
        w->done += (double)rows * columns * columns;
        if (each[i] && !s) {
            s = each[i];
            if (err) *err = own[i];
        }
    }
    hd_progress_show(&w->progress, w->done, NULL);
    if (!s && hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
    return s;
}

/* One half of a block: attention (parts QKV, HEADS) or feed-forward (FFN, GATED). */
static hd_status walk_half(walk *w, int layer, hd_llama_part part, hd_err *err) {
    stream *both[2] = {&w->small, &w->real};
    int streams = w->o->correct > 0 ? 2 : 1;
    hd_status s = HD_OK;
    hd_llama_part inner = part + 1;
    for (int i = 0; !s && i < streams; i++) s = hd_llama_inputs(both[i]->m, layer, part, both[i]->x, w->n, w->t, both[i]->first, err);
    if (!s) s = solve_part(w, layer, part, err);
    for (int i = 0; !s && i < streams; i++) s = hd_llama_inputs(both[i]->m, layer, inner, both[i]->first, w->n, w->t, both[i]->inner, err);
    if (!s) s = solve_part(w, layer, inner, err);
    for (int i = 0; !s && i < streams; i++) s = hd_llama_add(both[i]->m, layer, inner, both[i]->inner, w->n, w->t, both[i]->x, err);
    return s;
}

static double total_work(const hd_llama *m) {
    double sum = 0;
    for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
        int out, in;
        hd_llama_shape(m, k, &out, &in);
        sum += (double)out * in * in;
    }
    return sum * m->layers;
}

/* The block's matrices, put in all at once, and what comes out of it. */
static hd_status finish_block(walk *w, int layer, hd_err *err) {
    hd_llama *m = w->c->model;
    for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
        int out, in;
        hd_llama_shape(m, k, &out, &in);
        memcpy(m->layer[layer].matrix[k], w->c->matrix[layer * HD_LLAMA_MATRICES + k].linear.w, (size_t)out * (size_t)in * sizeof(float));
    }
    memcpy(w->small.x, w->small.start, w->rows * (size_t)m->dim * sizeof(float));
    return hd_llama_block(m, layer, w->small.x, w->n, w->t, err);
}

static hd_status walk_blocks(walk *w, const hd_llama *m, const int16_t *tokens, int stride, hd_err *err) {
    size_t dim = (size_t)m->dim, widest = (size_t)(m->dim > m->hidden ? m->dim : m->hidden);
    w->h = malloc(widest * widest * sizeof(double));
    w->drift = malloc(widest * widest * sizeof(double));
    w->residual = malloc(dim * widest * sizeof(double));
    int enough = open_stream(&w->small, w->c->model, w->rows);
    if (w->o->correct > 0) enough &= open_stream(&w->real, m, w->rows);
    w->real.m = m;
    if (w->o->blockwise) enough &= (w->small.start = malloc(w->rows * dim * sizeof(float))) != NULL;
    if (!enough || !w->h || !w->drift || !w->residual) return hd_fail(err, HD_NOMEM, "no memory for the activations of %d x %d tokens", w->n, w->t);
    hd_status s = hd_llama_embed(m, tokens, stride, w->n, w->t, w->small.x, err);
    if (!s && w->o->correct > 0) memcpy(w->real.x, w->small.x, w->rows * dim * sizeof(float));
    if (w->o->label) hd_progress_start(&w->progress, w->o->label, total_work(m));
    for (int l = 0; !s && l < m->layers; l++) {
        if (w->o->blockwise) memcpy(w->small.start, w->small.x, w->rows * dim * sizeof(float));
        s = walk_half(w, l, HD_LLAMA_QKV, err);
        if (!s) s = walk_half(w, l, HD_LLAMA_FFN, err);
        if (!s && w->o->blockwise) s = finish_block(w, l, err);
    }
    hd_progress_end(&w->progress);
    return s;
}

hd_status hd_lm_compress(hd_lm **out, const hd_llama *m, const int16_t *tokens, int stride, int n, int t, const hd_lm_options *o, hd_err *err) {
    *out = NULL;
    if (n < 1 || t < 1 || t > m->max_tokens)
        return hd_fail(err, HD_RANGE, "%d sequences of %d tokens to calibrate on; allowed are at least 1, of 1 to %d tokens", n, t, m->max_tokens);
    hd_lm *c = calloc(1, sizeof *c);
    if (!c) return hd_fail(err, HD_NOMEM, "no memory for a compressed language model");
    c->model = hd_llama_clone(m);
    c->matrix = calloc((size_t)m->layers * HD_LLAMA_MATRICES, sizeof *c->matrix);
    walk w = {.c = c, .o = o, .n = n, .t = t, .rows = (size_t)n * (size_t)t};
    hd_status s = c->model && c->matrix ? walk_blocks(&w, m, tokens, stride, err) : hd_fail(err, HD_NOMEM, "no memory for a compressed language model");
    close_stream(&w.real);
    close_stream(&w.small);
    free(w.h);
    free(w.drift);
    free(w.residual);
    if (s) hd_lm_free(c);
    else *out = c;
    return s;
}

hd_status hd_lm_solve_linear(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    const hd_lm_linear *l = arg;
    (void)layer;
    (void)matrix;
    out->format = l->format;
    return hd_linear_solve(&out->linear, p, &l->format, &l->options, err);
}

void hd_lm_matrix_free(hd_lm_matrix *m) {
    hd_linear_result_free(&m->linear);
    for (int i = 0; m->part && i < 3; i++) hd_linear_result_free(&m->part[i].linear);
    free(m->part);
    hd_lm_code_free(m->code);
    *m = (hd_lm_matrix){0};
}

void hd_lm_free(hd_lm *c) {
    if (!c) return;
    if (c->model && c->matrix)
        for (int i = 0; i < c->model->layers * HD_LLAMA_MATRICES; i++) hd_lm_matrix_free(&c->matrix[i]);
    for (int i = 0; c->table && i < c->tables; i++) hd_codebook_free(c->table[i]);
    free(c->table);
    hd_llama_free(c->model);
    free(c->matrix);
    free(c->reach);
    free(c);
}

double hd_lm_bits_per_weight(const hd_lm *c) {
    double bits = c->shared_bits;
    for (int i = 0; i < c->model->layers * HD_LLAMA_MATRICES; i++) bits += c->matrix[i].linear.bits_stored;
    return bits / (double)hd_llama_block_weights(c->model);
}
