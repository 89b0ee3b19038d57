/* Llama-shape models over whole sequences: all tokens of a sequence go through a matrix in one SGEMM, sequences in parallel. Each
 * sequence is computed by one thread in one order, so the number of threads changes nothing. */
#include <cblas.h>
#include <stdlib.h>

#include "llama.h"
#include "llama_math.h"
#include "llama_ranges.h"

enum { TILE = 64 }; /* queries whose scores are held at a time: a tile reads no key past its end, which halves the work */

/* What one thread needs for one sequence. */
typedef struct workspace {
    float *normed, *q, *k, *v, *heads; /* [t][dim] each (k, v narrower) */
    float *gate, *up;                  /* [t][hidden] */
    float *scores;                     /* [TILE][t] */
    float *logits;                     /* [TILE][vocab] */
    float *coded;                      /* [t][max(dim, hidden)], with codes; else NULL */
} workspace;

static void free_workspace(workspace *w) {
    free(w->normed);
    free(w->q);
    free(w->k);
    free(w->v);
    free(w->heads);
    free(w->gate);
    free(w->up);
    free(w->scores);
    free(w->logits);
    free(w->coded);
}

static float *floats(size_t a, size_t b) {
    return malloc(a * b * sizeof(float));
}

static int make_workspace(workspace *w, const hd_llama *m, int t) {
    size_t n = (size_t)t, dim = (size_t)m->dim, hidden = (size_t)m->hidden;
    *w = (workspace){floats(n, dim), floats(n, dim), floats(n, dim), floats(n, dim), floats(n, dim),
                     floats(n, hidden), floats(n, hidden), floats(TILE, n), floats(TILE, (size_t)m->vocab), m->codes ? floats(n, dim > hidden ? dim : hidden) : NULL};
    return w->normed && w->q && w->k && w->v && w->heads && w->gate && w->up && w->scores && w->logits && (w->coded || !m->codes);
}

/* out[t][rows of W] (+)= in[t][columns] W^T */
static void apply(const hd_llama *m, const workspace *w, int layer, int matrix, const float *in, int t, float add, float *out) {
    int rows, columns;
    hd_llama_shape(m, matrix, &rows, &columns);
    if (m->codes) {
        hd_llama_code(m->codes, layer, matrix, in, t, columns, w->coded);
        in = w->coded;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, t, rows, columns, 1.0f, in, columns, m->layer[layer].matrix[matrix], columns, add, out, rows);
}

static void normalise(const hd_llama *m, const float *weight, const float *x, int t, float *out) {
    for (int i = 0; i < t; i++) hd_rms_norm(out + (size_t)i * (size_t)m->dim, x + (size_t)i * (size_t)m->dim, weight, m->dim);
}

/* One head's attention: keys and values of the tokens up to each query. */
static void attend(const hd_llama *m, workspace *w, int h, int t, float *out) {
    int head = m->dim / m->heads, kv = head * m->kv_heads, shared = h / (m->heads / m->kv_heads) * head;
    float scale = 1.0f / sqrtf((float)head);
    for (int first = 0; first < t; first += TILE) {
        int rows = t - first < TILE ? t - first : TILE, keys = first + rows;
        size_t at = (size_t)first * (size_t)m->dim + (size_t)(h * head);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, keys, head, scale, w->q + at, m->dim, w->k + shared, kv, 0.0f, w->scores, keys);
        for (int i = 0; i < rows; i++) {
            float *row = w->scores + (size_t)i * (size_t)keys;
            int seen = first + i + 1;
            hd_softmax(row, seen);
            memset(row + seen, 0, (size_t)(keys - seen) * sizeof *row);
        }
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, head, keys, 1.0f, w->scores, keys, w->v + shared, kv, 0.0f, out + at, m->dim);
    }
}

static void compute_heads(const hd_llama *m, int layer, workspace *w, const float *rotation, const float *normed, int t, float *out) {
    int head = m->dim / m->heads, kv = head * m->kv_heads;
    apply(m, w, layer, HD_LLAMA_Q, normed, t, 0.0f, w->q);
    apply(m, w, layer, HD_LLAMA_K, normed, t, 0.0f, w->k);
    apply(m, w, layer, HD_LLAMA_V, normed, t, 0.0f, w->v);
    for (int i = 0; i < t; i++) {
        hd_rotate_heads(w->q + (size_t)i * (size_t)m->dim, rotation + (size_t)i * (size_t)head, m->heads, head);
        hd_rotate_heads(w->k + (size_t)i * (size_t)kv, rotation + (size_t)i * (size_t)head, m->kv_heads, head);
    }
    for (int h = 0; h < m->heads; h++) attend(m, w, h, t, out);
}

static void compute_gated(const hd_llama *m, int layer, workspace *w, const float *normed, int t, float *out) {
    size_t n = (size_t)t * (size_t)m->hidden;
    apply(m, w, layer, HD_LLAMA_W1, normed, t, 0.0f, out);
    apply(m, w, layer, HD_LLAMA_W3, normed, t, 0.0f, w->up);
    for (size_t i = 0; i < n; i++) out[i] = hd_silu(out[i]) * w->up[i];
}

static hd_status check_run(const hd_llama *m, int n, int t, hd_err *err) {
    openblas_set_num_threads(1); /* parallel over sequences; a second level would only fight for the cores */
    if (n < 1 || t < 1 || t > m->max_tokens)
        return hd_fail(err, HD_RANGE, "%d sequences of %d tokens; allowed are at least 1, of 1 to %d tokens", n, t, m->max_tokens);
    return HD_OK;
}

static float *new_rotation(const hd_llama *m, int t) {
    int head = m->dim / m->heads;
    float *table = floats((size_t)t, (size_t)head);
    for (int i = 0; table && i < t; i++)
        for (int p = 0; p < head; p += 2) {
            float *at = table + (size_t)i * (size_t)head + p;
            hd_rotation(at, at + 1, i, p / 2, head);
        }
    return table;
}

/* One sequence's share of a job; the fields that a job does not use are NULL. */
typedef struct job {
    const hd_llama *m;
    int layer, t;
    hd_llama_part part;
    const float *rotation, *from;
    float *to;
    const int16_t *next;
    int stride;
    double *nats; /* [n] */
} job;

static void block_job(const job *j, workspace *w, int i) {
    const hd_llama *m = j->m;
    const hd_llama_layer *l = &m->layer[j->layer];
    float *x = j->to + (size_t)i * (size_t)j->t * (size_t)m->dim;
    normalise(m, l->norm_attention, x, j->t, w->normed);
    compute_heads(m, j->layer, w, j->rotation, w->normed, j->t, w->heads);
    apply(m, w, j->layer, HD_LLAMA_O, w->heads, j->t, 1.0f, x);
    normalise(m, l->norm_ffn, x, j->t, w->normed);
    compute_gated(m, j->layer, w, w->normed, j->t, w->gate);
    apply(m, w, j->layer, HD_LLAMA_W2, w->gate, j->t, 1.0f, x);
}

static void inputs_job(const job *j, workspace *w, int i) {
    const hd_llama *m = j->m;
    const hd_llama_layer *l = &m->layer[j->layer];
    const float *from = j->from + (size_t)i * (size_t)j->t * (size_t)m->dim;
    float *to = j->to + (size_t)i * (size_t)j->t * (size_t)hd_llama_part_size(m, j->part);
    switch (j->part) {
    case HD_LLAMA_QKV: normalise(m, l->norm_attention, from, j->t, to); break;
    case HD_LLAMA_HEADS: compute_heads(m, j->layer, w, j->rotation, from, j->t, to); break;
    case HD_LLAMA_FFN: normalise(m, l->norm_ffn, from, j->t, to); break;
    case HD_LLAMA_GATED:
    case HD_LLAMA_PARTS: compute_gated(m, j->layer, w, from, j->t, to); break;
    }
}

static void add_job(const job *j, workspace *w, int i) {
    size_t first = (size_t)i * (size_t)j->t;
    int matrix = j->part == HD_LLAMA_HEADS ? HD_LLAMA_O : HD_LLAMA_W2;
    apply(j->m, w, j->layer, matrix, j->from + first * (size_t)hd_llama_part_size(j->m, j->part), j->t, 1.0f, j->to + first * (size_t)j->m->dim);
}

static void loss_job(const job *j, workspace *w, int i) {
    const hd_llama *m = j->m;
    const int16_t *next = j->next + (size_t)i * (size_t)j->stride;
    double nats = 0;
    normalise(m, m->norm_final, j->from + (size_t)i * (size_t)j->t * (size_t)m->dim, j->t, w->normed);
    for (int first = 0; first < j->t; first += TILE) {
        int rows = j->t - first < TILE ? j->t - first : TILE;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, m->vocab, m->dim, 1.0f, w->normed + (size_t)first * (size_t)m->dim, m->dim, m->classifier,
                    m->dim, 0.0f, w->logits, m->vocab);
        for (int r = 0; r < rows; r++) {
            const float *logit = w->logits + (size_t)r * (size_t)m->vocab;
            float top = logit[0], sum = 0;
#pragma omp simd reduction(max : top)
            for (int k = 0; k < m->vocab; k++) top = logit[k] > top ? logit[k] : top;
#pragma omp simd reduction(+ : sum)
            for (int k = 0; k < m->vocab; k++) sum += hd_exp(logit[k] - top);
            nats += log((double)sum) + (double)top - (double)logit[next[first + r]];
        }
    }
    j->nats[i] = nats;
}

static hd_status run(job *j, int n, void (*work)(const job *, workspace *, int), hd_err *err) {
    hd_status s = check_run(j->m, n, j->t, err);
    if (s) return s;
    float *rotation = new_rotation(j->m, j->t);
    int failed = !rotation;
    j->rotation = rotation;
#pragma omp parallel if (!failed)
    {
        workspace w;
        int enough = make_workspace(&w, j->m, j->t);
        if (!enough) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic)
        for (int i = 0; i < n; i++)
            if (enough) work(j, &w, i);
        free_workspace(&w);
    }
    free(rotation);
    return failed ? hd_fail(err, HD_NOMEM, "no memory for sequences of %d tokens", j->t) : HD_OK;
}

hd_status hd_llama_block(const hd_llama *m, int layer, float *x, int n, int t, hd_err *err) {
    job j = {.m = m, .layer = layer, .t = t, .to = x};
    return run(&j, n, block_job, err);
}

int hd_llama_part_size(const hd_llama *m, hd_llama_part part) {
    return part == HD_LLAMA_GATED ? m->hidden : m->dim;
}

int hd_llama_part_matrices(hd_llama_part part, int matrix[3]) {
    static const int list[HD_LLAMA_PARTS][3] = {{HD_LLAMA_Q, HD_LLAMA_K, HD_LLAMA_V}, {HD_LLAMA_O}, {HD_LLAMA_W1, HD_LLAMA_W3}, {HD_LLAMA_W2}};
    static const int count[HD_LLAMA_PARTS] = {3, 1, 2, 1};
    memcpy(matrix, list[part], sizeof list[part]);
    return count[part];
}

hd_status hd_llama_inputs(const hd_llama *m, int layer, hd_llama_part part, const float *from, int n, int t, float *in, hd_err *err) {
    job j = {.m = m, .layer = layer, .part = part, .t = t, .from = from, .to = in};
    return run(&j, n, inputs_job, err);
}

hd_status hd_llama_add(const hd_llama *m, int layer, hd_llama_part part, const float *in, int n, int t, float *x, hd_err *err) {
    job j = {.m = m, .layer = layer, .part = part, .t = t, .from = in, .to = x};
    return run(&j, n, add_job, err);
}

static hd_status check_tokens(const hd_llama *m, const int16_t *tokens, int stride, int n, int t, hd_err *err) {
    for (int i = 0; i < n; i++)
        for (int k = 0; k < t; k++) {
            int token = tokens[(size_t)i * (size_t)stride + (size_t)k];
            if (token < 0 || token >= m->vocab) return hd_fail(err, HD_RANGE, "row %d, token %d is %d; the vocabulary has 0 to %d", i, k, token, m->vocab - 1);
        }
    return HD_OK;
}

hd_status hd_llama_embed(const hd_llama *m, const int16_t *tokens, int stride, int n, int t, float *x, hd_err *err) {
    hd_status s = check_run(m, n, t, err);
    if (!s) s = check_tokens(m, tokens, stride, n, t, err);
    size_t dim = (size_t)m->dim;
    for (int i = 0; !s && i < n; i++)
        for (int k = 0; k < t; k++, x += dim) memcpy(x, m->embedding + (size_t)tokens[(size_t)i * (size_t)stride + (size_t)k] * dim, dim * sizeof *x);
    return s;
}

hd_status hd_llama_loss(const hd_llama *m, const float *x, const int16_t *next, int stride, int n, int t, double *nats, hd_err *err) {
    hd_status s = check_run(m, n, t, err);
    if (!s) s = check_tokens(m, next, stride, n, t, err);
    if (s || n < 1) return s; /* n < 1 is an error already; gcc does not see it */
    double sum = 0, *part = calloc((size_t)n, sizeof *part);
    if (!part) return hd_fail(err, HD_NOMEM, "no memory for the losses of %d sequences", n);
    job j = {.m = m, .t = t, .from = x, .next = next, .stride = stride, .nats = part};
    s = run(&j, n, loss_job, err);
    for (int i = 0; i < n; i++) sum += part[i];
    free(part);
    *nats = sum / ((double)n * t);
    return s;
}

hd_status hd_llama_cross_entropy(const hd_llama *m, const int16_t *rows, int n, int t, double *nats, hd_err *err) {
    *nats = 0;
    hd_status s = check_run(m, n, t, err);
    if (s) return s;
    float *x = floats((size_t)n * (size_t)t, (size_t)m->dim);
    if (!x) return hd_fail(err, HD_NOMEM, "no memory for %d sequences of %d tokens", n, t);
    s = hd_llama_embed(m, rows, t + 1, n, t, x, err);
    for (int l = 0; !s && l < m->layers; l++) s = hd_llama_block(m, l, x, n, t, err);
    if (!s) s = hd_llama_loss(m, x, rows + 1, t + 1, n, t, nats, err);
    free(x);
    return s;
}
