/* Training of language models: tuning beats the rounding it starts from and stays exactly on the stored formats; masks keep their
 * budgets; any number of threads; rows are drawn as asked; training from scratch learns; checkpoints come back bit by bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../compiler/compress/model_internal.h"
#include "../../sw/core/file.h"
#include "../../sw/explore/models.h"
#include "../../sw/train/llama_loop.h"
#include "../../sw/train/llama_tune.h"

enum { T = 24, ROWS = 40, STRIDE = T + 3, VOCAB = 19 };

static hd_llama *random_model(int dim, int hidden, int layers, int tied, uint64_t seed) {
    hd_llama sizes = {.dim = dim, .hidden = hidden, .layers = layers, .heads = 4, .kv_heads = 2, .vocab = VOCAB, .max_tokens = T}, *m;
    hd_err err = {0};
    hd_rng rng;
    if (hd_llama_new(&m, &sizes, tied, &err)) fail_msg("%s", err.message);
    hd_llama_start(m, seed);
    hd_rng_seed(&rng, seed, 7);
    for (int i = 0; i < VOCAB * dim; i++) m->embedding[i] = m->classifier[i] = hd_rng_normal(&rng);
    for (int l = 0; l < layers; l++)
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            for (int i = 0; i < out * in; i++) m->layer[l].matrix[k][i] *= 2;
        }
    return m;
}

typedef struct rig {
    hd_llama *m;
    int16_t rows[ROWS * STRIDE]; /* text of the model, with two tokens of something else behind each row */
    hd_lm *start;
} rig;

static void open_rig(rig *r, hd_linear_format format) {
    hd_err err = {0};
    static int16_t text[ROWS * (T + 1)];
    r->m = random_model(16, 24, 2, 1, 3);
    if (hd_llama_write(r->m, text, ROWS, T, 1, 9, &err)) fail_msg("%s", err.message);
    memset(r->rows, 0x7f, sizeof r->rows);
    for (int i = 0; i < ROWS; i++) memcpy(r->rows + i * STRIDE, text + i * (T + 1), (T + 1) * sizeof *text);
    hd_lm_linear l = {.format = format};
    hd_lm_options o = {.solve = hd_lm_solve_linear, .arg = &l};
    hd_linear_defaults(&l.options, format.sparsity == HD_SPARSE_NONE ? HD_METHOD_RTN : HD_METHOD_SPARSEGPT);
    if (hd_lm_compress(&r->start, r->m, r->rows, STRIDE, ROWS, T, &o, &err)) fail_msg("%s", err.message);
}

static void close_rig(rig *r) {
    hd_lm_free(r->start);
    hd_llama_free(r->m);
}

/* KL from the float model, on rows that nothing was trained on. */
static double divergence(const rig *r, const hd_llama *student) {
    enum { N = 20 };
    static int16_t rows[N * (T + 1)];
    hd_llama_params p;
    hd_llama_tape *tape;
    hd_err err = {0};
    double kl = 0;
    hd_llama_objective o = {.teacher = r->m, .share = 1, .temperature = 1};
    if (hd_llama_write(r->m, rows, N, T, 1, 1234, &err) || hd_llama_params_new(&p, student, &err) || hd_llama_tape_new(&tape, student, N, T, 1, &err) ||
        hd_llama_gradient(tape, student, &p, rows, T + 1, N, &o, NULL, &kl, &err))
        fail_msg("%s", err.message);
    hd_llama_tape_free(tape);
    hd_llama_params_free(&p);
    return kl;
}

static hd_llama_tune_options options(hd_masks masks, long steps) {
    hd_llama_tune_options o;
    hd_llama_tune_defaults(&o);
    o.masks = masks;
    o.steps = steps;
    o.batch = 4;
    o.rate = 5e-3f;
    o.written = 60;
    o.written_share = 0.5f;
    o.threads = 1; /* a step is short: threads would mostly wait for each other */
    return o;
}

/* Everything that is stored is on its format and decodes to the weights; a saved file comes back bit by bit. */
static void check_stored(const hd_lm *c, const hd_lm *start, int moved) {
    long changed = 0;
    for (int i = 0; i < c->model->layers * HD_LLAMA_MATRICES; i++) {
        const hd_lm_matrix *m = &c->matrix[i], *s = &start->matrix[i];
        const hd_linear_result *r = &m->linear;
        int out, in, group = m->format.group && m->format.group < 1000 ? m->format.group : 1000;
        hd_llama_shape(c->model, i % HD_LLAMA_MATRICES, &out, &in);
        int groups = (in + group - 1) / group;
        const float *decoded = c->model->layer[i / HD_LLAMA_MATRICES].matrix[i % HD_LLAMA_MATRICES];
        assert_memory_equal(r->w, decoded, (size_t)(out * in) * sizeof *decoded);
        assert_true(!r->mask == !s->linear.mask && !r->shift == !s->linear.shift);
        for (int k = 0; k < out * in; k++) {
            int present = !r->mask || r->mask[k];
            changed += r->mask && r->mask[k] != s->linear.mask[k];
            if (!present) assert_true(r->w[k] == 0.0f);
            if (m->format.bits == 16 || !present) continue;
            int shift = r->shift ? r->shift[k / in * groups + k % in / group] : 0;
            assert_true(r->v[k] % (1 << shift) == 0 && hd_grid_has(m->format.grid, m->format.bits, r->v[k] / (1 << shift)));
            float w = r->scale[k / in] * (float)r->v[k];
            assert_memory_equal(&w, &r->w[k], sizeof w);
        }
        if (r->shift) assert_memory_equal(r->shift, s->linear.shift, (size_t)(out * groups));
    }
    assert_true(moved ? changed > 0 : changed == 0);
    assert_true(fabs(hd_lm_bits_per_weight(c) - hd_lm_bits_per_weight(start)) < 1e-9);
    char path[] = "/tmp/heddle-tune-XXXXXX";
    hd_err err = {0};
    hd_lm *back;
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    if (hd_lm_save(c, path, &err) || hd_lm_load(&back, path, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < c->model->layers * HD_LLAMA_MATRICES; i++) {
        int out, in;
        hd_llama_shape(c->model, i % HD_LLAMA_MATRICES, &out, &in);
        assert_memory_equal(back->matrix[i].linear.w, c->matrix[i].linear.w, (size_t)(out * in) * sizeof(float));
    }
    assert_memory_equal(back->model->norm_final, c->model->norm_final, (size_t)c->model->dim * sizeof(float));
    hd_lm_free(back);
    unlink(path);
}

static hd_lm *tune(const rig *r, const hd_llama_tune_options *o) {
    hd_lm *c;
    hd_err err = {0};
    double loss = 0;
    if (hd_llama_tune(&c, r->start, r->m, r->rows, STRIDE, ROWS, T, o, &loss, &err)) fail_msg("%s", err.message);
    assert_true(loss > 0);
    return c;
}

/* Two bits, with and without groups: far closer to the float model than round to nearest. */
static void beats_rounding(void **state) {
    (void)state;
    const hd_linear_format formats[] = {{.bits = 2, .grid = HD_GRID_ODD}, {.bits = 2, .grid = HD_GRID_ODD, .group = 4, .shift_groups = 1}, {.bits = 0, .grid = HD_GRID_TERNARY}};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        rig r;
        open_rig(&r, formats[i]);
        hd_llama_tune_options o = options(HD_MASKS_FIXED, 200);
        hd_lm *c = tune(&r, &o);
        double before = divergence(&r, r.start->model), after = divergence(&r, c->model);
        if (!(after < 0.6 * before)) fail_msg("format %zu: divergence %.4f, rounded %.4f", i, after, before);
        check_stored(c, r.start, 0);
        assert_memory_equal(c->model->embedding, r.m->embedding, VOCAB * 16 * sizeof(float));
        hd_lm_free(c);
        close_rig(&r);
    }
}

/* Blocks and single weights, masks of every kind: better than what they start from, in the same budget. */
static void masks_keep_their_budget(void **state) {
    (void)state;
    const hd_linear_format formats[] = {
        {.bits = 4, .grid = HD_GRID_ODD, .sparsity = HD_SPARSE_BLOCK, .density = 0.5f, .block_in = 4, .block_out = 2},
        {.bits = 16, .sparsity = HD_SPARSE_UNSTRUCTURED, .density = 0.4f},
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        rig r;
        open_rig(&r, formats[i]);
        double before = divergence(&r, r.start->model);
        for (int masks = HD_MASKS_FIXED; masks <= HD_MASKS_FEEDBACK; masks++) {
            hd_llama_tune_options o = options((hd_masks)masks, 150);
            o.global = masks == HD_MASKS_GRADUAL || masks == HD_MASKS_FEEDBACK;
            o.score = masks == HD_MASKS_FEEDBACK ? HD_SCORE_FISHER : HD_SCORE_NORM;
            hd_lm *c = tune(&r, &o);
            double after = divergence(&r, c->model);
            if (!(after < 0.8 * before)) fail_msg("format %zu, masks %d: divergence %.4f, one-shot %.4f", i, masks, after, before);
            check_stored(c, r.start, masks != HD_MASKS_FIXED);
            hd_lm_free(c);
        }
        close_rig(&r);
    }
}

static void masks_of_n_in_m_stay(void **state) {
    (void)state;
    rig r;
    open_rig(&r, (hd_linear_format){.bits = 3, .grid = HD_GRID_ODD, .sparsity = HD_SPARSE_N_OF_M, .n = 2, .m = 4});
    hd_llama_tune_options o = options(HD_MASKS_FIXED, 150);
    hd_lm *c = tune(&r, &o), *none;
    assert_true(divergence(&r, c->model) < 0.8 * divergence(&r, r.start->model));
    check_stored(c, r.start, 0);
    hd_lm_free(c);
    hd_err err = {0};
    double loss;
    o.masks = HD_MASKS_GRADUAL;
    assert_int_equal(hd_llama_tune(&none, r.start, r.m, r.rows, STRIDE, ROWS, T, &o, &loss, &err), HD_UNSUPPORTED);
    assert_null(none);
    assert_string_equal(err.message, "layer0.q: masks of 2:4 cannot change in training; they stay with --masks fixed");
    close_rig(&r);
}

static void threads_change_nothing(void **state) {
    (void)state;
    rig r;
    open_rig(&r, (hd_linear_format){.bits = 3, .grid = HD_GRID_ODD, .sparsity = HD_SPARSE_BLOCK, .density = 0.5f, .block_in = 4, .block_out = 4});
    hd_llama_tune_options o = options(HD_MASKS_REGROW, 30);
    o.threads = 1;
    hd_lm *one = tune(&r, &o);
    o.threads = 3;
    hd_lm *three = tune(&r, &o);
    for (int i = 0; i < r.m->layers * HD_LLAMA_MATRICES; i++) {
        int out, in;
        hd_llama_shape(r.m, i % HD_LLAMA_MATRICES, &out, &in);
        assert_memory_equal(one->matrix[i].linear.w, three->matrix[i].linear.w, (size_t)(out * in) * sizeof(float));
    }
    hd_lm_free(one);
    hd_lm_free(three);
    close_rig(&r);
}

static void refuses(void **state) {
    (void)state;
    rig r;
    hd_lm *c;
    hd_err err = {0};
    double loss;
    open_rig(&r, (hd_linear_format){.bits = 2, .grid = HD_GRID_ODD, .group = 8});
    hd_llama_tune_options o = options(HD_MASKS_FIXED, 10);
    assert_int_equal(hd_llama_tune(&c, r.start, r.m, r.rows, STRIDE, ROWS, T, &o, &loss, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "layer0.q: a scale for each group of 8; tuning takes one a row, with shifts for the groups");
    hd_llama *other = random_model(16, 20, 2, 1, 1);
    assert_int_equal(hd_llama_tune(&c, r.start, other, r.rows, STRIDE, ROWS, T, &o, &loss, &err), HD_MISMATCH);
    assert_string_equal(err.message, "the compressed model is not one of the float model");
    hd_llama_free(other);
    o = options(HD_MASKS_FIXED, 0);
    assert_int_equal(hd_llama_tune(&c, r.start, r.m, r.rows, STRIDE, ROWS, T, &o, &loss, &err), HD_UNSUPPORTED);
    const struct { hd_llama_tune_options o; const char *message; } rows[] = {
        {{.temperature = 1, .rate = 2}, "tuning: learning rate 2; 0..1 is allowed"},
        {{.temperature = 0}, "tuning: temperature 0; above 0, at most 100 is allowed"},
        {{.temperature = 1, .written = -1}, "tuning: -1 written rows; 0 and more are allowed"},
        {{.temperature = 1, .score = (hd_score)2}, "tuning: score 2; 0..1 are allowed"},
        {{.temperature = 1, .masks = (hd_masks)4}, "tuning: masks 4; 0..3 are allowed"},
        {{.temperature = 1, .settled = 2}, "tuning: settled part 2; 0..1 is allowed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(hd_llama_tune(&c, r.start, r.m, r.rows, STRIDE, ROWS, T, &rows[i].o, &loss, &err), HD_RANGE);
        assert_string_equal(err.message, rows[i].message);
        assert_null(c);
    }
    free(r.start->matrix[0].linear.v);
    r.start->matrix[0].linear.v = NULL;
    o = options(HD_MASKS_FIXED, 10);
    assert_int_equal(hd_llama_tune(&c, r.start, r.m, r.rows, STRIDE, ROWS, T, &o, &loss, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "layer0.q: tuning takes integers with scales, or values under a mask");
    close_rig(&r);
}

/* A pass takes every row once, in an order of its own; the share is as asked. */
static void rows_are_drawn_as_asked(void **state) {
    (void)state;
    int16_t given[10][4], written[8][3], out[600][3];
    hd_llama_feed f;
    hd_err err = {0};
    for (int i = 0; i < 10; i++)
        for (int k = 0; k < 4; k++) given[i][k] = (int16_t)(k < 3 ? 10 * i + k : -1);
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < 3; k++) written[i][k] = (int16_t)(1000 + 10 * i + k);
    assert_int_equal(hd_llama_feed_new(&f, given[0], 4, 10, written[0], 8, 0.25f, 2, 1, &err), HD_OK);
    hd_llama_feed_take(&f, out[0], 600);
    int count[2] = {0}, seen[2][10] = {{0}}, differs = 0;
    for (int i = 0; i < 600; i++) {
        int pool = out[i][0] >= 1000, row = (out[i][0] - 1000 * pool) / 10, pass = count[pool]++ / (pool ? 8 : 10);
        assert_true(out[i][1] == out[i][0] + 1 && out[i][2] == out[i][0] + 2);
        assert_int_equal(seen[pool][row], pass); /* no row twice in a pass */
        seen[pool][row]++;
        differs += !pool && pass > 0 && row != (out[i][0] - 1000 * pool) % 10;
    }
    assert_true(differs > 0 && count[1] > 110 && count[1] < 190);
    hd_llama_feed_free(&f);
    assert_int_equal(hd_llama_feed_new(&f, NULL, 0, 0, written[0], 8, 0.25f, 2, 1, &err), HD_OK); /* all written */
    hd_llama_feed_take(&f, out[0], 20);
    for (int i = 0; i < 20; i++) assert_true(out[i][0] >= 1000);
    hd_llama_feed_free(&f);
    assert_int_equal(hd_llama_feed_new(&f, NULL, 0, 0, NULL, 0, 0, 2, 1, &err), HD_RANGE);
    hd_llama_feed_free(&f);
}

/* A text whose next token depends on the two before it: only a model that attends learns it. */
static void learns_from_scratch(void **state) {
    (void)state;
    int16_t rows[ROWS * (T + 1)];
    hd_rng rng;
    hd_err err = {0};
    hd_rng_seed(&rng, 5, 5);
    for (int i = 0; i < ROWS; i++) {
        int16_t *row = rows + i * (T + 1);
        row[0] = (int16_t)hd_rng_below(&rng, VOCAB);
        row[1] = (int16_t)hd_rng_below(&rng, VOCAB);
        for (int k = 2; k <= T; k++) row[k] = (int16_t)((row[k - 1] + row[k - 2]) % VOCAB);
    }
    hd_llama *m = random_model(32, 48, 2, 0, 1), *small = random_model(16, 24, 1, 1, 1);
    hd_llama_train_options o;
    hd_llama_train_defaults(&o);
    o.steps = 400;
    o.rate = 1e-2f;
    o.threads = 1;
    hd_llama_start(m, 1);
    double loss = 0, own = 0, taught = 0;
    if (hd_llama_train(m, rows, T + 1, ROWS, T, &o, &loss, &err)) fail_msg("%s", err.message);
    assert_int_equal(hd_llama_cross_entropy(m, rows, ROWS, T, &own, &err), HD_OK);
    if (!(own < 0.5)) fail_msg("cross-entropy %.4f; the first token of a row alone gives %.4f", own, log(VOCAB) / T); /* untrained: log 19 = 2.9 */
    /* A smaller student learns from the trained model's own text alone; measured on other such text. */
    if (hd_llama_write(m, rows, ROWS, T, 1, 77, &err)) fail_msg("%s", err.message);
    o.objective = (hd_llama_objective){.teacher = m, .share = 1, .temperature = 1};
    o.steps = 200;
    o.written = 100;
    o.written_share = 1;
    hd_llama_start(small, 2);
    assert_int_equal(hd_llama_cross_entropy(small, rows, ROWS, T, &own, &err), HD_OK);
    if (hd_llama_train(small, NULL, 0, 0, T, &o, &loss, &err)) fail_msg("%s", err.message);
    assert_int_equal(hd_llama_cross_entropy(small, rows, ROWS, T, &taught, &err), HD_OK);
    if (!(taught < 0.8 * own)) fail_msg("student's cross-entropy %.4f, before %.4f", taught, own);
    o.objective.teacher = NULL;
    assert_int_equal(hd_llama_train(small, rows, T + 1, ROWS, T, &o, &loss, &err), HD_RANGE);
    hd_llama_free(m);
    hd_llama_free(small);
}

static void checkpoints_come_back(void **state) {
    (void)state;
    char path[] = "/tmp/heddle-checkpoint-XXXXXX", real[4096];
    hd_err err = {0};
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    for (int tied = 0; tied < 2; tied++) {
        hd_llama *m = random_model(8, 12, 3, tied, 4), *back;
        hd_llama_params p;
        if (hd_export_llama2c(m, path, &err) || hd_import_llama2c(&back, path, &err) || hd_llama_params_new(&p, m, &err)) fail_msg("%s", err.message);
        assert_true(tied == (back->classifier == back->embedding) && back->max_tokens == T && back->kv_heads == 2);
        float *a = malloc(p.total * sizeof *a), *b = malloc(p.total * sizeof *b);
        assert_true(a && b);
        hd_llama_params_read(&p, m, a);
        hd_llama_params_read(&p, back, b);
        assert_memory_equal(a, b, p.total * sizeof *a);
        free(a);
        free(b);
        hd_llama_params_free(&p);
        hd_llama_free(m);
        hd_llama_free(back);
    }
    /* The published file itself, but for its table of positions. */
    if (!hd_models_file(real, sizeof real, "stories260K.bin", &err)) {
        hd_llama *m;
        uint8_t *was, *is;
        size_t n, k;
        if (hd_import_llama2c(&m, real, &err) || hd_export_llama2c(m, path, &err) || hd_file_read(&was, &n, real, 1 << 24, 0, &err) || hd_file_read(&is, &k, path, 1 << 24, 0, &err))
            fail_msg("%s", err.message);
        size_t table = 4 * (size_t)(m->max_tokens * (m->dim / m->heads));
        assert_int_equal(n, k);
        assert_memory_equal(was, is, n - table);
        for (size_t i = n - table; i < n; i += 4) {
            float a, b;
            memcpy(&a, was + i, sizeof a);
            memcpy(&b, is + i, sizeof b);
            if (fabsf(a - b) > 1e-4f) fail_msg("position table, byte %zu: %.7f, published %.7f", i, (double)b, (double)a);
        }
        free(was);
        free(is);
        hd_llama_free(m);
    }
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beats_rounding),          cmocka_unit_test(masks_keep_their_budget), cmocka_unit_test(masks_of_n_in_m_stay),
        cmocka_unit_test(threads_change_nothing),  cmocka_unit_test(refuses),                 cmocka_unit_test(rows_are_drawn_as_asked),
        cmocka_unit_test(learns_from_scratch),     cmocka_unit_test(checkpoints_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
