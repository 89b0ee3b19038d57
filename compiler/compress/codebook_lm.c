/* Language models on one shared codebook, and on E8P. */
#include "codebook_lm.h"

#include <stdlib.h>
#include <string.h>

/* What the first walk leaves: one problem a matrix, with weights and moments of its own. */
typedef struct record {
    hd_linear *problem; /* [layers * HD_LLAMA_MATRICES] */
    double **h;         /* matrices that share an input each keep a copy: in^2 doubles */
} record;

typedef struct coder {
    const hd_codebook *c;
    const hd_codebook_options *o;
} coder;

static hd_status keep_problem(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    record *r = arg;
    size_t at = (size_t)(layer * HD_LLAMA_MATRICES + matrix), weights = (size_t)p->out * (size_t)p->in, square = (size_t)p->in * (size_t)p->in;
    r->h[at] = malloc(square * sizeof **r->h);
    out->linear.w = malloc(weights * sizeof *out->linear.w);
    if (!r->h[at] || !out->linear.w) return hd_fail(err, HD_NOMEM, "layer '%s': no memory for its second moment", p->name);
    memcpy(r->h[at], p->h, square * sizeof **r->h);
    memcpy(out->linear.w, p->w, weights * sizeof *out->linear.w);
    r->problem[at] = (hd_linear){.name = "matrix of the model", .out = p->out, .in = p->in, .w = p->w, .h = r->h[at]};
    return HD_OK;
}

static hd_status code_matrix(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    (void)layer;
    (void)matrix;
    const coder *k = arg;
    hd_codebook_result r;
    hd_status s = hd_codebook_solve(&r, p, k->c, k->o, err);
    if (s) return s;
    out->linear = r.linear;
    r.linear = (hd_linear_result){0};
    hd_codebook_result_free(&r);
    /* What the array computes with, and a .hlm can hold: the entries as plain integers (their codes are what is counted). */
    if (k->c->books == 1) out->format = (hd_linear_format){.bits = k->c->planes, .grid = HD_GRID_ODD, .wide_scales = 1};
    return HD_OK;
}

/* The float model's own moments: a walk that changes nothing. */
static hd_status fit(hd_codebook *c, const hd_llama *m, const int16_t *tokens, int stride, int n, int t, const hd_codebook_options *o, hd_err *err) {
    size_t matrices = (size_t)(m->layers * HD_LLAMA_MATRICES);
    record r = {calloc(matrices, sizeof *r.problem), calloc(matrices, sizeof *r.h)};
    hd_lm *same = NULL;
    hd_lm_options walk = {.solve = keep_problem, .arg = &r};
    hd_status s = r.problem && r.h ? HD_OK : hd_fail(err, HD_NOMEM, "no memory to fit a codebook to %zu matrices", matrices);
    if (!s) s = hd_lm_compress(&same, m, tokens, stride, n, t, &walk, err);
    if (!s) s = hd_codebook_fit(c, r.problem, (int)matrices, o, NULL, err);
    for (size_t i = 0; r.h && i < matrices; i++) free(r.h[i]);
    hd_lm_free(same);
    free(r.problem);
    free(r.h);
    return s;
}

hd_status hd_codebook_lm_compress(hd_codebook_lm *out, hd_codebook *c, const hd_llama *m, const int16_t *tokens, int stride, int n, int t,
                                  const hd_codebook_options *o, double correct, const char *label, hd_err *err) {
    *out = (hd_codebook_lm){.codebook = c};
    coder k = {c, o};
    hd_lm_options walk = {.solve = code_matrix, .arg = &k, .correct = correct, .label = label};
    hd_status s = fit(c, m, tokens, stride, n, t, o, err);
    if (!s) s = hd_lm_compress(&out->lm, m, tokens, stride, n, t, &walk, err);
    if (s) hd_codebook_lm_free(out);
    else out->lm->shared_bits = hd_codebook_bits(c);
    return s;
}

void hd_codebook_lm_free(hd_codebook_lm *r) {
    hd_lm_free(r->lm);
    hd_codebook_free(r->codebook);
    *r = (hd_codebook_lm){0};
}

hd_status hd_lm_solve_e8p(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    (void)layer;
    (void)matrix;
    hd_e8p_result r;
    hd_status s = hd_e8p_solve(&r, p, arg, err);
    if (s) return s;
    /* The integers belong to rotated inputs: only the weights make sense to a model without rotations. */
    out->linear = (hd_linear_result){.w = r.linear.w, .bits_stored = r.linear.bits_stored, .error = r.linear.error, .reference = r.linear.reference};
    r.linear.w = NULL;
    hd_e8p_result_free(&r);
    return HD_OK;
}
