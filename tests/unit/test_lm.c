/* Compression of language models: the problems that a solver is given are those of the already compressed model, checked against
 * plain sums; an exact solver changes nothing; on the published model each ingredient lowers the loss. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/lm.h"
#include "../../sw/core/idx.h"
#include "../../sw/core/progress.h"
#include "../../sw/core/rng.h"
#include "../../sw/explore/models.h"

enum { DIM = 8, HIDDEN = 20, LAYERS = 2, VOCAB = 13, N = 3, T = 30, ROWS = N * T };

static hd_llama *small_model(void) {
    hd_llama sizes = {.dim = DIM, .hidden = HIDDEN, .layers = LAYERS, .heads = 2, .kv_heads = 1, .vocab = VOCAB, .max_tokens = T}, *m;
    hd_err err = {0};
    hd_rng rng;
    hd_rng_seed(&rng, 4, 1);
    if (hd_llama_new(&m, &sizes, 1, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < VOCAB * DIM; i++) m->embedding[i] = hd_rng_normal(&rng);
    for (int i = 0; i < DIM; i++) m->norm_final[i] = 1;
    for (int l = 0; l < LAYERS; l++) {
        for (int i = 0; i < DIM; i++) m->layer[l].norm_attention[i] = m->layer[l].norm_ffn[i] = 1 + 0.1f * (float)i;
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            for (int i = 0; i < out * in; i++) m->layer[l].matrix[k][i] = 0.4f * hd_rng_normal(&rng);
        }
    }
    return m;
}

/* What the solver saw, by matrix; and how it answers: weights rounded to multiples of `step` (0 = as they are). */
typedef struct seen {
    float step;
    double *h[LAYERS][HD_LLAMA_MATRICES], *yx[LAYERS][HD_LLAMA_MATRICES];
} seen;

static double *copy(const double *x, int n) {
    double *to = malloc((size_t)n * sizeof *to);
    assert_non_null(to);
    memcpy(to, x, (size_t)n * sizeof *to);
    return to;
}

static hd_status rounded(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *to, hd_err *err) {
    seen *s = arg;
    (void)err;
    s->h[layer][matrix] = copy(p->h, p->in * p->in);
    if (p->yx) s->yx[layer][matrix] = copy(p->yx, p->out * p->in);
    to->linear.w = malloc((size_t)(p->out * p->in) * sizeof(float));
    for (int i = 0; i < p->out * p->in; i++) to->linear.w[i] = s->step > 0 ? s->step * nearbyintf(p->w[i] / s->step) : p->w[i];
    to->linear.bits_stored = 3.0 * p->out * p->in;
    return HD_OK;
}

static void free_seen(seen *s) {
    for (int l = 0; l < LAYERS; l++)
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            free(s->h[l][k]);
            free(s->yx[l][k]);
        }
}

/* Everything that a model's matrices see: inputs of the four parts and the residual stream before and after each half. */
typedef struct trace {
    float before[LAYERS][2][ROWS * DIM], in[LAYERS][HD_LLAMA_PARTS][ROWS * HIDDEN];
} trace;

static void record(trace *t, const hd_llama *m, const int16_t *tokens) {
    float x[ROWS * DIM];
    hd_err err = {0};
    assert_int_equal(hd_llama_embed(m, tokens, T, N, T, x, &err), HD_OK);
    for (int l = 0; l < LAYERS; l++)
        for (int half = 0; half < 2; half++) {
            hd_llama_part first = half ? HD_LLAMA_FFN : HD_LLAMA_QKV, inner = first + 1;
            memcpy(t->before[l][half], x, sizeof x);
            assert_int_equal(hd_llama_inputs(m, l, first, x, N, T, t->in[l][first], &err), HD_OK);
            assert_int_equal(hd_llama_inputs(m, l, inner, t->in[l][first], N, T, t->in[l][inner], &err), HD_OK);
            assert_int_equal(hd_llama_add(m, l, inner, t->in[l][inner], N, T, x, &err), HD_OK);
        }
}

static void close_to(double found, double want, const char *what, int layer, int matrix) {
    if (fabs(found - want) > 1e-5 * (1 + fabs(want))) fail_msg("%s of layer %d, matrix %d: %.9g, by plain sums %.9g", what, layer, matrix, found, want);
}

static void check_matrix(const seen *s, const hd_llama *m, const trace *real, const trace *small, int l, hd_llama_part part, int k) {
    int out, in, inner = part == HD_LLAMA_HEADS || part == HD_LLAMA_GATED, half = part >= HD_LLAMA_FFN;
    hd_llama_shape(m, k, &out, &in);
    const float *a = real->in[l][part], *b = small->in[l][part], *w = m->layer[l].matrix[k];
    for (int j = 0; j < in; j++)
        for (int i = 0; i < in; i++) {
            double sum = 0;
            for (int r = 0; r < ROWS; r++) sum += 2.0 / ROWS * (double)b[r * in + i] * (double)b[r * in + j];
            close_to(s->h[l][k][i * in + j], sum, "H", l, k);
        }
    for (int o = 0; o < out; o++) {
        double y[ROWS];
        for (int r = 0; r < ROWS; r++) {
            y[r] = inner ? (double)real->before[l][half][r * DIM + o] - (double)small->before[l][half][r * DIM + o] : 0;
            for (int i = 0; i < in; i++) y[r] += (double)w[o * in + i] * (double)a[r * in + i];
        }
        for (int i = 0; i < in; i++) {
            double sum = 0;
            for (int r = 0; r < ROWS; r++) sum += 2.0 / ROWS * y[r] * (double)b[r * in + i];
            close_to(s->yx[l][k][o * in + i], sum, "target", l, k);
        }
    }
}

static void random_tokens(int16_t *tokens, int n) {
    hd_rng rng;
    hd_rng_seed(&rng, 9, 1);
    for (int i = 0; i < n; i++) tokens[i] = (int16_t)hd_rng_below(&rng, VOCAB);
}

static void problems_are_of_the_compressed_model(void **state) {
    (void)state;
    hd_llama *m = small_model();
    hd_lm *c;
    hd_err err = {0};
    seen s = {.step = 0.25f};
    int16_t tokens[ROWS];
    random_tokens(tokens, ROWS);
    hd_lm_options o = {.solve = rounded, .arg = &s, .correct = 1};
    if (hd_lm_compress(&c, m, tokens, T, N, T, &o, &err)) fail_msg("%s", err.message);
    trace *real = malloc(sizeof *real), *small = malloc(sizeof *small);
    assert_true(real && small);
    record(real, m, tokens);
    record(small, c->model, tokens); /* the final weights: all that a matrix's input depends on was final when it was solved */
    for (int l = 0; l < LAYERS; l++)
        for (int part = 0; part < HD_LLAMA_PARTS; part++) {
            int matrix[3], count = hd_llama_part_matrices((hd_llama_part)part, matrix);
            for (int i = 0; i < count; i++) check_matrix(&s, m, real, small, l, (hd_llama_part)part, matrix[i]);
        }
    assert_true(memcmp(c->model->layer[1].matrix[HD_LLAMA_W2], m->layer[1].matrix[HD_LLAMA_W2], DIM * HIDDEN * sizeof(float)) != 0);
    assert_true(hd_lm_bits_per_weight(c) == 3);
    c->shared_bits = (double)hd_llama_block_weights(m);
    assert_true(hd_lm_bits_per_weight(c) == 4);
    free(real);
    free(small);
    free_seen(&s);
    hd_lm_free(c);
    hd_llama_free(m);
}

/* With exact solutions the models stay equal, and so do the targets: yx = W H. */
static void exact_solutions_change_nothing(void **state) {
    (void)state;
    hd_llama *m = small_model();
    hd_lm *c;
    hd_err err = {0};
    seen s = {.step = 0};
    int16_t tokens[ROWS];
    double before, after;
    random_tokens(tokens, ROWS);
    hd_lm_options o = {.solve = rounded, .arg = &s, .correct = 1};
    if (hd_lm_compress(&c, m, tokens, T, N, T, &o, &err)) fail_msg("%s", err.message);
    assert_int_equal(hd_llama_cross_entropy(m, tokens, N, T - 1, &before, &err), HD_OK);
    assert_int_equal(hd_llama_cross_entropy(c->model, tokens, N, T - 1, &after, &err), HD_OK);
    assert_true(before == after);
    const float *w = m->layer[1].matrix[HD_LLAMA_W2];
    for (int r = 0; r < DIM; r++)
        for (int j = 0; j < HIDDEN; j++) {
            double sum = 0;
            for (int i = 0; i < HIDDEN; i++) sum += (double)w[r * HIDDEN + i] * s.h[1][HD_LLAMA_W2][i * HIDDEN + j];
            close_to(s.yx[1][HD_LLAMA_W2][r * HIDDEN + j], sum, "target", 1, HD_LLAMA_W2);
        }
    free_seen(&s);
    hd_lm_free(c);
    hd_llama_free(m);
}

static hd_status refuses(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *to, hd_err *err) {
    (void)arg;
    (void)to;
    return layer == 1 && matrix >= HD_LLAMA_W1 ? hd_fail(err, HD_NOFIT, "%s: no", p->name) : HD_OK;
}

static hd_status exact_until_refused(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *to, hd_err *err) {
    hd_status s = refuses(arg, layer, matrix, p, to, err);
    if (s) return s;
    to->linear.w = malloc((size_t)(p->out * p->in) * sizeof(float));
    memcpy(to->linear.w, p->w, (size_t)(p->out * p->in) * sizeof(float));
    return HD_OK;
}

static void errors_come_through(void **state) {
    (void)state;
    hd_llama *m = small_model();
    hd_lm *c;
    hd_err err = {0};
    int16_t tokens[ROWS];
    random_tokens(tokens, ROWS);
    hd_lm_options o = {.solve = exact_until_refused};
    assert_int_equal(hd_lm_compress(&c, m, tokens, T, N, T, &o, &err), HD_NOFIT);
    assert_null(c);
    assert_string_equal(err.message, "layer1.w1: no"); /* the first of those that run at a time */
    assert_int_equal(hd_lm_compress(&c, m, tokens, T, 0, T, &o, &err), HD_RANGE);
    assert_string_equal(err.message, "0 sequences of 30 tokens to calibrate on; allowed are at least 1, of 1 to 30 tokens");
    tokens[T] = VOCAB;
    assert_int_equal(hd_lm_compress(&c, m, tokens, T, N, T, &o, &err), HD_RANGE);
    assert_string_equal(err.message, "row 1, token 0 is 13; the vocabulary has 0 to 12");
    tokens[T] = 0;
    hd_interrupted = 1;
    assert_int_equal(hd_lm_compress(&c, m, tokens, T, N, T, &o, &err), HD_INTERRUPTED);
    hd_interrupted = 0;
    hd_llama_free(m);
}

static void threads_do_not_matter(void **state) {
    (void)state;
    hd_llama *m = small_model();
    hd_lm *c[2];
    hd_err err = {0};
    int16_t tokens[ROWS];
    random_tokens(tokens, ROWS);
    hd_lm_linear l = {.format = {.bits = 2, .grid = HD_GRID_ODD, .group = 8}};
    hd_linear_defaults(&l.options, HD_METHOD_GPTQ);
    hd_lm_options o = {.solve = hd_lm_solve_linear, .arg = &l, .correct = 1};
    int threads = omp_get_max_threads();
    for (int i = 0; i < 2; i++) {
        omp_set_num_threads(i ? 3 : 1);
        if (hd_lm_compress(&c[i], m, tokens, T, N, T, &o, &err)) fail_msg("%s", err.message);
    }
    omp_set_num_threads(threads);
    for (int i = 0; i < LAYERS * HD_LLAMA_MATRICES; i++) {
        int out, in;
        hd_llama_shape(m, i % HD_LLAMA_MATRICES, &out, &in);
        assert_memory_equal(c[0]->matrix[i].linear.w, c[1]->matrix[i].linear.w, (size_t)(out * in) * sizeof(float));
    }
    hd_lm_free(c[0]);
    hd_lm_free(c[1]);
    hd_llama_free(m);
}

static double loss_of(hd_lm *c, const int16_t *rows) {
    double nats = 0;
    hd_err err = {0};
    if (hd_llama_cross_entropy(c->model, rows, 20, 256, &nats, &err)) fail_msg("%s", err.message);
    return nats;
}

/* 3 bits in groups of 32: each ingredient must pay on unseen text. */
static void published_model(void **state) {
    (void)state;
    char name[512], tokens[512];
    hd_err err = {0};
    if (hd_models_file(name, sizeof name, "stories260K.bin", &err) || hd_models_file(tokens, sizeof tokens, "stories-tokens.idx", &err)) {
        print_message("SKIPPED: %s\n", err.message);
        skip();
    }
    hd_llama *m;
    hd_idx *idx;
    if (hd_import_llama2c(&m, name, &err) || hd_idx_load(&idx, tokens, &err)) fail_msg("%s", err.message);
    const int16_t *rows = idx->data, *unseen = rows + (size_t)89 * 257;
    hd_lm_linear l = {.format = {.bits = 3, .grid = HD_GRID_ODD, .group = 32}};
    hd_lm_options o = {.solve = hd_lm_solve_linear, .arg = &l};
    hd_lm *rtn, *gptq, *corrected;
    hd_linear_defaults(&l.options, HD_METHOD_RTN);
    if (hd_lm_compress(&rtn, m, rows, 257, 89, 256, &o, &err)) fail_msg("%s", err.message);
    hd_linear_defaults(&l.options, HD_METHOD_GPTQ);
    l.options.sweeps = 2;
    if (hd_lm_compress(&gptq, m, rows, 257, 89, 256, &o, &err)) fail_msg("%s", err.message);
    o.correct = 1;
    if (hd_lm_compress(&corrected, m, rows, 257, 89, 256, &o, &err)) fail_msg("%s", err.message);
    double a = loss_of(rtn, unseen), b = loss_of(gptq, unseen), c = loss_of(corrected, unseen);
    print_message("3 bits: RTN %.3f, GPTQ %.3f, with correction %.3f\n", a, b, c);
    assert_true(b < a - 0.05 && c < b - 0.02);
    assert_true(fabs(hd_lm_bits_per_weight(corrected) - 3.514) < 0.001); /* 172 inputs are 6 groups */
    hd_lm_free(rtn);
    hd_lm_free(gptq);
    hd_lm_free(corrected);
    hd_idx_free(idx);
    hd_llama_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(problems_are_of_the_compressed_model), cmocka_unit_test(exact_solutions_change_nothing),
                                       cmocka_unit_test(errors_come_through), cmocka_unit_test(threads_do_not_matter),
                                       cmocka_unit_test(published_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
