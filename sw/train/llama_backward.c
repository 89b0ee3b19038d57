/* The backward half of a pass: textbook reverse mode, block after block from the last. Gradients of matrices are written by their one matrix
 * product; those of norms and of the embedding are sums over the tokens. */
#include <cblas.h>

#include "../../compiler/graph/llama_math.h"
#include "llama_pass.h"

/* For out = in W^T: the gradient of W, and of in (overwritten at add 0). */
static void apply_back(const hd_llama *m, int layer, int matrix, const float *in, const float *dout, int t, float *dw, float add, float *din) {
    int rows, columns;
    hd_llama_shape(m, matrix, &rows, &columns);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, columns, t, 1.0f, dout, rows, in, columns, 0.0f, dw, columns);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, t, columns, rows, 1.0f, dout, rows, m->layer[layer].matrix[matrix], columns, add, din, columns);
}

/* For out = x r w with r = 1 / rms(x): dw = sum of dout x r, and dx = r (w dout) - x r^3 mean(w dout x), added to dx (`add`) or
 * written. */
static void norm_back(const float *weight, const float *x, const float *dout, int t, int dim, float *dw, int add, float *dx) {
    memset(dw, 0, (size_t)dim * sizeof *dw);
    for (int i = 0; i < t; i++, x += dim, dout += dim, dx += dim) {
        float sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
        for (int k = 0; k < dim; k++) {
            sum += x[k] * x[k];
            dot += weight[k] * dout[k] * x[k];
        }
        float r = 1.0f / sqrtf(sum / (float)dim + 1e-5f), back = r * r * r * dot / (float)dim;
        for (int k = 0; k < dim; k++) {
            dw[k] += dout[k] * x[k] * r;
            dx[k] = (add ? dx[k] : 0.0f) + r * weight[k] * dout[k] - back * x[k];
        }
    }
}

/* One head: with P = softmax(S), S = q k^T / sqrt(head): dv += P^T do, dP = do v^T, dS = P (dP - sum over keys of P dP), dq = dS k,
 * dk += dS^T q. The sum is do . o, a dot product of two short vectors. */
static void attend_back(hd_llama_pass *p, const hd_llama_saved *s, int h, const float *attention) {
    const hd_llama *m = &p->sizes;
    int t = p->t, head = m->dim / m->heads, kv = head * m->kv_heads, shared = h / (m->heads / m->kv_heads) * head;
    float scale = 1.0f / sqrtf((float)head);
    for (int first = 0; first < t; first += HD_LLAMA_TILE) {
        int rows = t - first < HD_LLAMA_TILE ? t - first : HD_LLAMA_TILE, keys = first + rows;
        size_t at = (size_t)first * (size_t)m->dim + (size_t)(h * head);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, keys, head, rows, 1.0f, attention, keys, p->dheads + at, m->dim, 1.0f, p->dv + shared, kv);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, keys, head, 1.0f, p->dheads + at, m->dim, s->v + shared, kv, 0.0f, p->dscores, keys);
        for (int i = 0; i < rows; i++) {
            const float *given = attention + (size_t)i * (size_t)keys;
            const float *o = s->heads + at + (size_t)i * (size_t)m->dim, *dout = p->dheads + at + (size_t)i * (size_t)m->dim;
            float *row = p->dscores + (size_t)i * (size_t)keys, dot = 0;
            for (int k = 0; k < head; k++) dot += o[k] * dout[k];
            for (int k = 0; k < keys; k++) row[k] = scale * given[k] * (row[k] - dot);
        }
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, head, keys, 1.0f, p->dscores, keys, s->k + shared, kv, 0.0f, p->dq + at, m->dim);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, keys, head, rows, 1.0f, p->dscores, keys, s->q + at, m->dim, 1.0f, p->dk + shared, kv);
        attention += (size_t)rows * (size_t)keys;
    }
}

/* A rotation's inverse is its transpose. */
static void rotate_back(float *x, const float *table, int heads, int head) {
    for (int h = 0; h < heads; h++, x += head)
        for (int i = 0; i < head; i += 2) {
            float a = x[i], b = x[i + 1], c = table[i], s = table[i + 1];
            x[i] = a * c + b * s;
            x[i + 1] = b * c - a * s;
        }
}

static void gated_back(hd_llama_pass *p, const hd_llama *m, const hd_llama_params *at, int l, float *gradient) {
    const hd_llama_saved *s = &p->saved[l];
    size_t n = (size_t)p->t * (size_t)m->hidden;
    apply_back(m, l, HD_LLAMA_W2, s->gated, p->dx, p->t, gradient + at->matrix[l][HD_LLAMA_W2], 0.0f, p->dgate);
    for (size_t i = 0; i < n; i++) {
        float x = s->gate[i], d = p->dgate[i], sigmoid = 1.0f / (1.0f + hd_exp(x > -80.0f ? -x : 80.0f));
        p->dup[i] = d * x * sigmoid;
        p->dgate[i] = d * s->up[i] * sigmoid * (1.0f + x * (1.0f - sigmoid));
    }
    apply_back(m, l, HD_LLAMA_W1, s->normed_ffn, p->dgate, p->t, gradient + at->matrix[l][HD_LLAMA_W1], 0.0f, p->dnormed);
    apply_back(m, l, HD_LLAMA_W3, s->normed_ffn, p->dup, p->t, gradient + at->matrix[l][HD_LLAMA_W3], 1.0f, p->dnormed);
    norm_back(m->layer[l].norm_ffn, s->middle, p->dnormed, p->t, m->dim, gradient + at->norm_ffn[l], 1, p->dx);
}

static void heads_back(hd_llama_pass *p, const hd_llama *m, const hd_llama_params *at, int l, float *gradient) {
    const hd_llama_saved *s = &p->saved[l];
    int t = p->t, head = m->dim / m->heads, kv = head * m->kv_heads;
    size_t narrow = (size_t)t * (size_t)kv * sizeof(float), per_head = hd_llama_attention_size(t);
    apply_back(m, l, HD_LLAMA_O, s->heads, p->dx, t, gradient + at->matrix[l][HD_LLAMA_O], 0.0f, p->dheads);
    memset(p->dk, 0, narrow);
    memset(p->dv, 0, narrow);
    for (int h = 0; h < m->heads; h++) attend_back(p, s, h, s->attention + (size_t)h * per_head);
    for (int i = 0; i < t; i++) {
        const float *rotation = p->rotation + (size_t)i * (size_t)head;
        rotate_back(p->dq + (size_t)i * (size_t)m->dim, rotation, m->heads, head);
        rotate_back(p->dk + (size_t)i * (size_t)kv, rotation, m->kv_heads, head);
    }
    apply_back(m, l, HD_LLAMA_Q, s->normed_attention, p->dq, t, gradient + at->matrix[l][HD_LLAMA_Q], 0.0f, p->dnormed);
    apply_back(m, l, HD_LLAMA_K, s->normed_attention, p->dk, t, gradient + at->matrix[l][HD_LLAMA_K], 1.0f, p->dnormed);
    apply_back(m, l, HD_LLAMA_V, s->normed_attention, p->dv, t, gradient + at->matrix[l][HD_LLAMA_V], 1.0f, p->dnormed);
    norm_back(m->layer[l].norm_attention, s->x, p->dnormed, t, m->dim, gradient + at->norm_attention[l], 1, p->dx);
}

void hd_llama_pass_classifier(hd_llama_pass *p, const hd_llama *m, const hd_llama_params *at, int first, int rows, float *gradient) {
    size_t from = (size_t)first * (size_t)m->dim;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m->vocab, m->dim, rows, 1.0f, p->logits, m->vocab, p->normed + from, m->dim, first ? 1.0f : 0.0f,
                gradient + at->classifier, m->dim);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, m->dim, m->vocab, 1.0f, p->logits, m->vocab, m->classifier, m->dim, 0.0f, p->dnormed + from,
                m->dim);
}

void hd_llama_pass_backward(hd_llama_pass *p, const hd_llama *m, const hd_llama_params *at, const int16_t *tokens, float *gradient) {
    size_t dim = (size_t)m->dim;
    norm_back(m->norm_final, p->x, p->dnormed, p->t, m->dim, gradient + at->norm_final, 0, p->dx);
    for (int l = m->layers; l-- > 0;) {
        gated_back(p, m, at, l, gradient);
        heads_back(p, m, at, l, gradient);
    }
    if (at->classifier != at->embedding) memset(gradient + at->embedding, 0, (size_t)m->vocab * dim * sizeof *gradient);
    for (int i = 0; i < p->t; i++) {
        float *to = gradient + at->embedding + (size_t)tokens[i] * dim;
        const float *from = p->dx + (size_t)i * dim;
        for (size_t k = 0; k < dim; k++) to[k] += from[k];
    }
}
