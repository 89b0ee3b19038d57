#include "lm_narrow.h"

#include <stdlib.h>
#include <string.h>

#include "compress_internal.h"
#include "lm.h"

typedef struct choice {
    int hidden;       /* that stay */
    uint8_t *mask;    /* [layers][hidden of the source] */
    int from;         /* hidden of the source */
} choice;

/* w2 loses columns, the other matrices nothing. */
static hd_status choose(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    choice *c = arg;
    if (matrix != HD_LLAMA_W2) {
        size_t bytes = (size_t)p->out * (size_t)p->in * sizeof(float);
        if (!(out->linear.w = malloc(bytes))) return hd_fail(err, HD_NOMEM, "%s: out of memory", p->name);
        memcpy(out->linear.w, p->w, bytes);
        return HD_OK;
    }
    hd_lm_linear l = {.format = {.bits = 16, .sparsity = HD_SPARSE_BLOCK, .density = (float)c->hidden / (float)p->in, .block_in = 1, .block_out = p->out}};
    hd_linear_defaults(&l.options, HD_METHOD_SPARSEGPT);
    hd_status s = hd_lm_solve_linear(&l, layer, matrix, p, out, err);
    if (!s) memcpy(c->mask + (size_t)layer * (size_t)c->from, out->linear.mask, (size_t)c->from);
    return s;
}

/* Every matrix of the feed-forward parts must want the same. */
static hd_status wanted(double *sparsity, const hd_llama *m, const hd_policy *p, hd_err *err) {
    *sparsity = 0;
    int any = 0;
    for (int i = 0; i < m->layers * HD_LLAMA_MATRICES; i++) {
        char name[32];
        hd_llama_name(i / HD_LLAMA_MATRICES, i % HD_LLAMA_MATRICES, name, sizeof name);
        const hd_layer_policy *o = hd_policy_of(p, name);
        int matrix = i % HD_LLAMA_MATRICES, inner = matrix == HD_LLAMA_W1 || matrix == HD_LLAMA_W2 || matrix == HD_LLAMA_W3;
        if (!inner) continue;
        double own = o->structure == HD_SPARSE_CHANNEL && !o->skip_sparsity ? (double)o->sparsity : 0;
        if (any++ && own != *sparsity)
            return hd_fail(err, HD_UNSUPPORTED, "policy, layer '%s': share of channels %g where others have %g; a model has one hidden size", name, own, *sparsity);
        *sparsity = own;
    }
    if (*sparsity > 0 && p->budget == HD_BUDGET_GLOBAL)
        return hd_fail(err, HD_UNSUPPORTED, "policy: budget 'global' with channels; a model has one hidden size, so all blocks lose as many");
    return HD_OK;
}

static void gather(float *to, const float *from, int out, int in, int rows, const uint8_t *mask) {
    for (int r = 0; r < out; r++)
        for (int j = 0; j < in; j++)
            if (mask[rows ? r : j]) *to++ = from[(size_t)r * (size_t)in + (size_t)j];
}

static hd_status build(hd_llama **out, const hd_llama *m, const choice *c, hd_err *err) {
    hd_llama sizes = *m;
    sizes.hidden = c->hidden;
    hd_status s = hd_llama_new(out, &sizes, m->classifier == m->embedding, err);
    if (s) return s;
    hd_llama *to = *out;
    size_t dim = (size_t)m->dim, table = (size_t)m->vocab * dim;
    memcpy(to->embedding, m->embedding, table * sizeof(float));
    memcpy(to->norm_final, m->norm_final, dim * sizeof(float));
    if (m->classifier != m->embedding) memcpy(to->classifier, m->classifier, table * sizeof(float));
    for (int l = 0; l < m->layers; l++) {
        const uint8_t *mask = c->mask + (size_t)l * (size_t)m->hidden;
        memcpy(to->layer[l].norm_attention, m->layer[l].norm_attention, dim * sizeof(float));
        memcpy(to->layer[l].norm_ffn, m->layer[l].norm_ffn, dim * sizeof(float));
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int rows, columns;
            hd_llama_shape(m, k, &rows, &columns);
            if (k == HD_LLAMA_W1 || k == HD_LLAMA_W3) gather(to->layer[l].matrix[k], m->layer[l].matrix[k], rows, columns, 1, mask);
            else if (k == HD_LLAMA_W2) gather(to->layer[l].matrix[k], m->layer[l].matrix[k], rows, columns, 0, mask);
            else memcpy(to->layer[l].matrix[k], m->layer[l].matrix[k], (size_t)rows * (size_t)columns * sizeof(float));
        }
    }
    return HD_OK;
}

hd_status hd_lm_narrow(hd_llama **out, const hd_llama *m, const hd_policy *p, const int16_t *tokens, int stride, int n, int t, hd_err *err) {
    double sparsity;
    *out = NULL;
    hd_status s = wanted(&sparsity, m, p, err);
    if (s || !(sparsity > 0)) return s;
    choice c = {.from = m->hidden, .hidden = (int)((1 - sparsity) * m->hidden + 0.5), .mask = malloc((size_t)m->layers * (size_t)m->hidden)};
    if (c.hidden < 1) c.hidden = 1;
    hd_lm_options o = {.solve = choose, .arg = &c, .correct = 1 - (double)p->unrepaired};
    hd_lm *walked = NULL;
    if (!c.mask) s = hd_fail(err, HD_NOMEM, "no memory for the channels of %d blocks", m->layers);
    if (!s) s = hd_lm_compress(&walked, m, tokens, stride, n, t, &o, err);
    /* The walked model has w2 as it was fitted to the units that stay. */
    if (!s) s = build(out, walked->model, &c, err);
    hd_lm_free(walked);
    free(c.mask);
    return s;
}
