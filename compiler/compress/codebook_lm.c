/* Language models on shared codebooks, and on E8P. */
#include "codebook_lm.h"

#include <stdlib.h>
#include <string.h>

static size_t matrices_of(const hd_llama *m) { return (size_t)m->layers * HD_LLAMA_MATRICES; }

hd_status hd_lm_tables_new(hd_lm_tables *t, const hd_llama *m, hd_err *err) {
    *t = (hd_lm_tables){.of = malloc(matrices_of(m) * sizeof *t->of)};
    if (!t->of) return hd_fail(err, HD_NOMEM, "no memory for the tables of %zu matrices", matrices_of(m));
    for (size_t i = 0; i < matrices_of(m); i++) t->of[i] = -1;
    hd_codebook_defaults(&t->options);
    /* Of the settings tried, the ones that give the most for their time. */
    t->options.fit_rounds = 6;
    t->options.beam = 4;
    t->options.rounds = 1;
    return HD_OK;
}

static hd_status append(hd_lm_tables *t, hd_codebook *c, hd_err *err) {
    hd_codebook **more = realloc(t->table, (size_t)(t->count + 1) * sizeof *more);
    if (!more) {
        hd_codebook_free(c);
        return hd_fail(err, HD_NOMEM, "no memory for %d tables", t->count + 1);
    }
    t->table = more;
    t->table[t->count++] = c;
    return HD_OK;
}

hd_status hd_lm_tables_add(hd_lm_tables *t, int *number, int group, int books, int bits, int window, int planes, hd_err *err) {
    for (int i = 0; i < t->count; i++) {
        const hd_codebook *c = t->table[i];
        *number = i;
        if (c->group == group && c->books == books && c->bits == bits && c->window == window && c->planes == planes) return HD_OK;
    }
    hd_codebook *c;
    hd_status s = hd_codebook_new(&c, group, books, bits, window, planes, t->options.seed, err);
    *number = t->count;
    return s ? s : append(t, c, err);
}

/* What the first walk leaves: one problem a matrix, with a moment of its own. */
typedef struct record {
    const hd_lm_tables *tables;
    hd_linear *problem; /* [layers * HD_LLAMA_MATRICES] */
    double **h;         /* matrices that share an input each keep a copy: in^2 doubles */
} record;

static hd_status keep_problem(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    record *r = arg;
    size_t at = (size_t)(layer * HD_LLAMA_MATRICES + matrix), weights = (size_t)p->out * (size_t)p->in, square = (size_t)p->in * (size_t)p->in;
    out->linear.w = malloc(weights * sizeof *out->linear.w);
    if (!out->linear.w) return hd_fail(err, HD_NOMEM, "layer '%s': no memory for its weights", p->name);
    memcpy(out->linear.w, p->w, weights * sizeof *out->linear.w);
    if (r->tables->of[at] < 0) return HD_OK;
    r->h[at] = malloc(square * sizeof **r->h);
    if (!r->h[at]) return hd_fail(err, HD_NOMEM, "layer '%s': no memory for its second moment", p->name);
    memcpy(r->h[at], p->h, square * sizeof **r->h);
    r->problem[at] = (hd_linear){.name = "matrix of the model", .out = p->out, .in = p->in, .w = p->w, .h = r->h[at]};
    return HD_OK;
}

/* The float model's own moments: a walk that changes nothing. */
hd_status hd_lm_tables_fit(hd_lm_tables *t, const hd_llama *m, const int16_t *tokens, int stride, int n, int t_tokens, hd_err *err) {
    size_t matrices = matrices_of(m);
    if (!t->count) return HD_OK;
    record r = {t, calloc(matrices, sizeof *r.problem), calloc(matrices, sizeof *r.h)};
    hd_linear *used = calloc(matrices, sizeof *used);
    hd_lm *same = NULL;
    hd_lm_options walk = {.solve = keep_problem, .arg = &r};
    hd_status s = r.problem && r.h && used ? HD_OK : hd_fail(err, HD_NOMEM, "no memory to fit tables to %zu matrices", matrices);
    if (!s) s = hd_lm_compress(&same, m, tokens, stride, n, t_tokens, &walk, err);
    for (int k = 0; !s && k < t->count; k++) {
        int count = 0;
        for (size_t i = 0; i < matrices; i++)
            if (t->of[i] == k) used[count++] = r.problem[i];
        s = hd_codebook_fit(t->table[k], used, count, &t->options, NULL, err);
    }
    for (size_t i = 0; r.h && i < matrices; i++) free(r.h[i]);
    hd_lm_free(same);
    free(used);
    free(r.problem);
    free(r.h);
    return s;
}

hd_status hd_lm_solve_table(const hd_lm_tables *t, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    int table = t->of[layer * HD_LLAMA_MATRICES + matrix];
    hd_codebook_result r;
    hd_status s = hd_codebook_solve(&r, p, t->table[table], &t->options, err);
    if (s) return s;
    out->code = malloc(sizeof *out->code);
    if (out->code) {
        out->linear = r.linear;
        *out->code = (hd_lm_code){.table = table, .scale_base = r.scale_base, .groups = r.groups, .scale_code = r.scale_code, .code = r.code};
        return HD_OK;
    }
    hd_codebook_result_free(&r);
    return hd_fail(err, HD_NOMEM, "layer '%s': no memory for its codes", p->name);
}

void hd_lm_tables_give(hd_lm_tables *t, hd_lm *c) {
    c->table = t->table;
    c->tables = t->count;
    c->shared_bits = 0;
    for (int i = 0; i < t->count; i++) c->shared_bits += hd_codebook_bits(t->table[i]);
    t->table = NULL;
    t->count = 0;
}

void hd_lm_tables_free(hd_lm_tables *t) {
    for (int i = 0; i < t->count; i++) hd_codebook_free(t->table[i]);
    free(t->table);
    free(t->of);
    *t = (hd_lm_tables){0};
}

static hd_status solve_table(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    return hd_lm_solve_table(arg, layer, matrix, p, out, err);
}

hd_status hd_codebook_lm_compress(hd_lm **out, hd_codebook *c, const hd_llama *m, const int16_t *tokens, int stride, int n, int t,
                                  const hd_codebook_options *o, double correct, const char *label, hd_err *err) {
    hd_lm_tables tables;
    *out = NULL;
    hd_status s = hd_lm_tables_new(&tables, m, err);
    if (s) hd_codebook_free(c);
    else s = append(&tables, c, err);
    tables.options = *o;
    for (size_t i = 0; !s && i < matrices_of(m); i++) tables.of[i] = 0;
    hd_lm_options walk = {.solve = solve_table, .arg = &tables, .correct = correct, .label = label};
    if (!s) s = hd_lm_tables_fit(&tables, m, tokens, stride, n, t, err);
    if (!s) s = hd_lm_compress(out, m, tokens, stride, n, t, &walk, err);
    if (!s) hd_lm_tables_give(&tables, *out);
    hd_lm_tables_free(&tables);
    return s;
}

hd_status hd_lm_solve_e8p(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    (void)layer;
    (void)matrix;
    const hd_e8p_options *o = arg;
    hd_e8p_result r;
    hd_status s = hd_e8p_solve(&r, p, o, err);
    if (s) return s;
    out->code = malloc(sizeof *out->code);
    if (out->code) {
        /* The integers belong to rotated inputs: only the weights make sense to a model without rotations. */
        out->linear = (hd_linear_result){.w = r.linear.w, .bits_stored = r.linear.bits_stored, .error = r.linear.error, .reference = r.linear.reference};
        *out->code = (hd_lm_code){.table = HD_LM_E8P, .bits = o->bits, .rotate_out = o->rotate_out, .seed = o->seed, .scale_base = r.scale_base, .groups = r.groups,
                                  .scale_code = r.scale_code, .code = r.code};
        r.linear.w = NULL;
        r.scale_code = NULL;
        r.code = NULL;
    } else
        s = hd_fail(err, HD_NOMEM, "layer '%s': no memory for its codes", p->name);
    hd_e8p_result_free(&r);
    return s;
}
