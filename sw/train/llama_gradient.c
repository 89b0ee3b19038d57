/* The gradient of a mini-batch: sequences in parallel, each by one thread with a gradient of its own, then summed in their order. */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/graph/llama_math.h"
#include "llama_pass.h"

enum { CHUNK = 4096 }; /* parameters that a thread sums at a time */

struct hd_llama_tape {
    hd_llama sizes;
    int n, t, threads;
    hd_llama_pass *pass, *teacher; /* [threads]; the teacher's are made when one first comes */
    float *gradient;               /* [n][params.total], made when the first gradient is asked for */
    size_t total;                  /* of params that `gradient` is for */
    float *likely, *wanted;        /* [threads][vocab]: two softmaxes */
    double *loss;                  /* [n] */
};

static void free_passes(hd_llama_pass *pass, int threads) {
    for (int i = 0; pass && i < threads; i++) hd_llama_pass_free(&pass[i]);
    free(pass);
}

void hd_llama_tape_free(hd_llama_tape *tape) {
    if (!tape) return;
    free_passes(tape->pass, tape->threads);
    free_passes(tape->teacher, tape->threads);
    free(tape->gradient);
    free(tape->likely);
    free(tape->wanted);
    free(tape->loss);
    free(tape);
}

static hd_status new_passes(hd_llama_pass **out, const hd_llama *m, int t, int threads, int backward, hd_err *err) {
    hd_llama_pass *pass = *out = calloc((size_t)threads, sizeof *pass);
    if (!pass) return hd_fail(err, HD_NOMEM, "no memory for %d threads", threads);
    for (int i = 0; i < threads; i++) {
        hd_status s = hd_llama_pass_new(&pass[i], m, t, backward, err);
        if (s) return s;
    }
    return HD_OK;
}

static int same_sizes(const hd_llama *a, const hd_llama *b) {
    return a->dim == b->dim && a->hidden == b->hidden && a->layers == b->layers && a->heads == b->heads && a->kv_heads == b->kv_heads && a->vocab == b->vocab;
}

hd_status hd_llama_tape_new(hd_llama_tape **out, const hd_llama *m, int n, int t, int threads, hd_err *err) {
    *out = NULL;
    if (n < 1 || t < 1 || t > m->max_tokens)
        return hd_fail(err, HD_RANGE, "%d sequences of %d tokens; allowed are at least 1, of 1 to %d tokens", n, t, m->max_tokens);
    hd_llama_tape *tape = calloc(1, sizeof *tape);
    if (!tape) return hd_fail(err, HD_NOMEM, "no memory to train on %d sequences", n);
    *tape = (hd_llama_tape){.sizes = *m, .n = n, .t = t, .threads = threads ? threads : omp_get_max_threads()};
    if (tape->threads > n) tape->threads = n;
    size_t rows = (size_t)tape->threads * (size_t)m->vocab;
    tape->likely = malloc(rows * sizeof *tape->likely);
    tape->wanted = malloc(rows * sizeof *tape->wanted);
    tape->loss = calloc((size_t)n, sizeof *tape->loss);
    hd_status s = tape->likely && tape->wanted && tape->loss ? new_passes(&tape->pass, m, t, tape->threads, 1, err)
                                                              : hd_fail(err, HD_NOMEM, "no memory to train on %d sequences", n);
    if (s) hd_llama_tape_free(tape);
    else *out = tape;
    return s;
}

/* p = softmax(x / temperature); returns log of the sum of exp(x / temperature). */
static double softmax(float *p, const float *x, int n, float temperature) {
    float top = x[0], sum = 0, by = 1.0f / temperature;
#pragma omp simd reduction(max : top)
    for (int i = 0; i < n; i++) top = x[i] > top ? x[i] : top;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) {
        p[i] = hd_exp((x[i] - top) * by);
        sum += p[i];
    }
    float scale = 1.0f / sum;
    for (int i = 0; i < n; i++) p[i] *= scale;
    return log((double)sum) + (double)top * (double)by;
}

/* Loss of one token, and `scale` times its gradient in place of the logits x. y: the teacher's logits, or NULL (share is 0 then). */
static double token_loss(float *x, const float *y, int next, int vocab, float share, float temperature, float scale, float *likely, float *wanted) {
    double loss = 0;
    double sum = share < 1 ? softmax(likely, x, vocab, 1.0f) : 0;
    float own = (1 - share) * scale;
    if (share < 1) loss = (double)(1 - share) * (sum - (double)x[next]);
    if (share <= 0) {
        for (int i = 0; i < vocab; i++) x[i] = own * likely[i];
        x[next] -= own;
        return loss;
    }
    double teacher = softmax(wanted, y, vocab, temperature), kl = 0;
    float by = 1.0f / temperature, pull = share * temperature * scale, difference = 0;
#pragma omp simd reduction(+ : difference)
    for (int i = 0; i < vocab; i++) difference += wanted[i] * (y[i] - x[i]);
    if (share < 1) {
        /* Both softmaxes of x are needed; what the first one leaves goes into the second one's place below. */
        for (int i = 0; i < vocab; i++) wanted[i] = own * likely[i] - pull * wanted[i];
        wanted[next] -= own;
    } else {
        for (int i = 0; i < vocab; i++) wanted[i] *= -pull;
    }
    kl = (double)(difference * by) + softmax(likely, x, vocab, temperature) - teacher;
    for (int i = 0; i < vocab; i++) x[i] = wanted[i] + pull * likely[i];
    return loss + (double)share * (double)temperature * (double)temperature * kl;
}

typedef struct batch {
    const hd_llama *m;
    const hd_llama_params *p;
    const hd_llama_objective *o;
    const int16_t *rows;
    int stride, n;
    float share;
    int backward;
} batch;

static void run_sequence(hd_llama_tape *tape, const batch *b, int i) {
    int me = omp_get_thread_num(), vocab = b->m->vocab;
    hd_llama_pass *own = &tape->pass[me], *teacher = tape->teacher ? &tape->teacher[me] : NULL;
    const int16_t *row = b->rows + (size_t)i * (size_t)b->stride;
    const float *given = b->share > 0 && b->o->logits ? b->o->logits + (size_t)i * (size_t)tape->t * (size_t)vocab : NULL;
    float *gradient = b->backward ? tape->gradient + (size_t)i * tape->total : NULL, scale = 1.0f / ((float)b->n * (float)tape->t);
    float *likely = tape->likely + (size_t)me * (size_t)vocab, *wanted = tape->wanted + (size_t)me * (size_t)vocab;
    double loss = 0;
    int ask = b->share > 0 && !given;
    if (ask) hd_llama_pass_forward(teacher, b->o->teacher, row);
    hd_llama_pass_forward(own, b->m, row);
    for (int first = 0; first < tape->t; first += HD_LLAMA_TILE) {
        int rows = tape->t - first < HD_LLAMA_TILE ? tape->t - first : HD_LLAMA_TILE;
        hd_llama_pass_logits(own, b->m, first, rows);
        if (ask) hd_llama_pass_logits(teacher, b->o->teacher, first, rows);
        for (int r = 0; r < rows; r++) {
            const float *y = given ? given + (size_t)(first + r) * (size_t)vocab : ask ? teacher->logits + (size_t)r * (size_t)vocab : NULL;
            loss += token_loss(own->logits + (size_t)r * (size_t)vocab, y, row[first + r + 1], vocab, b->share, b->share > 0 ? b->o->temperature : 1.0f, scale,
                               likely, wanted);
        }
        if (gradient) hd_llama_pass_classifier(own, b->m, b->p, first, rows, gradient);
    }
    if (gradient) hd_llama_pass_backward(own, b->m, b->p, row, gradient);
    tape->loss[i] = loss;
}

static hd_status check_batch(const hd_llama_tape *tape, const batch *b, hd_err *err) {
    const hd_llama_objective *o = b->o;
    if (!same_sizes(b->m, &tape->sizes)) return hd_fail(err, HD_MISMATCH, "the model's sizes are not those that the training buffers were made for");
    if (b->n < 1 || b->n > tape->n) return hd_fail(err, HD_RANGE, "%d sequences; the training buffers allow 1 to %d", b->n, tape->n);
    if (o && (!(o->share >= 0) || o->share > 1)) return hd_fail(err, HD_RANGE, "the teacher's share is %g; allowed are 0 to 1", (double)o->share);
    if (b->share > 0 && !(o->temperature > 0)) return hd_fail(err, HD_RANGE, "the temperature is %g; allowed is a positive number", (double)o->temperature);
    if (b->share > 0 && !o->logits && (o->teacher->vocab != b->m->vocab || o->teacher->max_tokens < tape->t))
        return hd_fail(err, HD_MISMATCH, "the teacher has a vocabulary of %d and takes %d tokens; the student has %d and is trained on %d", o->teacher->vocab,
                       o->teacher->max_tokens, b->m->vocab, tape->t);
    for (int i = 0; i < b->n; i++)
        for (int k = 0; k <= tape->t; k++) {
            int token = b->rows[(size_t)i * (size_t)b->stride + (size_t)k];
            if (token < 0 || token >= b->m->vocab) return hd_fail(err, HD_RANGE, "row %d, token %d is %d; the vocabulary has 0 to %d", i, k, token, b->m->vocab - 1);
        }
    return HD_OK;
}

/* What the tape lacks for this batch. */
static hd_status grow(hd_llama_tape *tape, const batch *b, hd_err *err) {
    if (b->backward && tape->total != b->p->total) {
        free(tape->gradient);
        tape->total = b->p->total;
        tape->gradient = malloc((size_t)tape->n * tape->total * sizeof *tape->gradient);
        if (!tape->gradient) {
            tape->total = 0;
            return hd_fail(err, HD_NOMEM, "no memory for %d gradients of %zu parameters", tape->n, b->p->total);
        }
    }
    if (!(b->share > 0) || b->o->logits || (tape->teacher && same_sizes(&tape->teacher->sizes, b->o->teacher))) return HD_OK;
    free_passes(tape->teacher, tape->threads);
    hd_status s = new_passes(&tape->teacher, b->o->teacher, tape->t, tape->threads, 0, err);
    if (s) {
        free_passes(tape->teacher, tape->threads);
        tape->teacher = NULL;
    }
    return s;
}

static void sum_sequences(const hd_llama_tape *tape, int n, size_t from, size_t to, float *restrict out) {
    memcpy(out + from, tape->gradient + from, (to - from) * sizeof *out);
    for (int i = 1; i < n; i++) {
        const float *restrict other = tape->gradient + (size_t)i * tape->total;
        for (size_t k = from; k < to; k++) out[k] += other[k];
    }
}

hd_status hd_llama_gradient(hd_llama_tape *tape, const hd_llama *m, const hd_llama_params *p, const int16_t *rows, int stride, int n,
                            const hd_llama_objective *o, float *gradient, double *loss, hd_err *err) {
    batch b = {.m = m, .p = p, .o = o, .rows = rows, .stride = stride, .n = n, .share = o && (o->teacher || o->logits) ? o->share : 0, .backward = gradient != NULL};
    *loss = 0;
    hd_status s = check_batch(tape, &b, err);
    if (!s) s = grow(tape, &b, err);
    if (s) return s;
    openblas_set_num_threads(1); /* the threads are ours */
    int chunks = gradient ? (int)((p->total + CHUNK - 1) / CHUNK) : 0;
#pragma omp parallel num_threads(tape->threads)
    {
#pragma omp for schedule(dynamic, 1)
        for (int i = 0; i < n; i++) run_sequence(tape, &b, i);
#pragma omp for schedule(static)
        for (int c = 0; c < chunks; c++) {
            size_t from = (size_t)c * CHUNK, to = from + CHUNK < p->total ? from + CHUNK : p->total;
            sum_sequences(tape, n, from, to, gradient);
        }
    }
    for (int i = 0; i < n; i++) *loss += tape->loss[i];
    *loss /= (double)n * tape->t;
    return HD_OK;
}
