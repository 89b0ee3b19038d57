/* Gradients of language models: against central differences of scalar loops in double, for every kind of parameter; the loss is the
 * executor's; the number of threads changes no bit; self-written text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/rng.h"
#include "../../sw/train/llama_train.h"

enum { DIM = 12, HIDDEN = 10, LAYERS = 2, HEADS = 6, KV_HEADS = 2, HEAD = DIM / HEADS, KV = HEAD * KV_HEADS, VOCAB = 11, MOST = 80 };

static hd_llama *small_model(uint64_t seed, int layers, int tied) {
    hd_llama sizes = {.dim = DIM, .hidden = HIDDEN, .layers = layers, .heads = HEADS, .kv_heads = KV_HEADS, .vocab = VOCAB, .max_tokens = MOST}, *m;
    hd_llama_params p;
    hd_err err = {0};
    hd_rng rng;
    hd_rng_seed(&rng, seed, 1);
    if (hd_llama_new(&m, &sizes, tied, &err) || hd_llama_params_new(&p, m, &err)) fail_msg("%s", err.message);
    float *flat = malloc(p.total * sizeof *flat);
    assert_non_null(flat);
    for (size_t i = 0; i < p.total; i++) flat[i] = 0.5f * hd_rng_normal(&rng);
    for (size_t i = 0; i < DIM; i++) {
        flat[p.norm_final + i] += 1;
        for (int l = 0; l < layers; l++) {
            flat[p.norm_attention[l] + i] += 1;
            flat[p.norm_ffn[l] + i] += 1;
        }
    }
    hd_llama_params_write(&p, m, flat);
    free(flat);
    hd_llama_params_free(&p);
    return m;
}

static void random_rows(int16_t *rows, int n, uint64_t seed) {
    hd_rng rng;
    hd_rng_seed(&rng, seed, 2);
    for (int i = 0; i < n; i++) rows[i] = (int16_t)hd_rng_below(&rng, VOCAB);
}

static void norm_twin(double *out, const double *x, const double *w) {
    double sum = 0;
    for (int i = 0; i < DIM; i++) sum += x[i] * x[i];
    for (int i = 0; i < DIM; i++) out[i] = x[i] / sqrt(sum / DIM + 1e-5) * w[i];
}

static void apply_twin(double *out, const double *w, const double *x, int rows, int columns) {
    for (int r = 0; r < rows; r++) {
        out[r] = 0;
        for (int c = 0; c < columns; c++) out[r] += w[r * columns + c] * x[c];
    }
}

static void rotate_twin(double *x, int heads, int position) {
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < HEAD; i += 2) {
            double angle = position / pow(10000, (double)i / HEAD), a = x[h * HEAD + i], b = x[h * HEAD + i + 1];
            x[h * HEAD + i] = a * cos(angle) - b * sin(angle);
            x[h * HEAD + i + 1] = a * sin(angle) + b * cos(angle);
        }
}

static void attention_twin(double *a, const double *q, double keys[][KV], double values[][KV], int seen) {
    for (int h = 0; h < HEADS; h++) {
        int shared = h / (HEADS / KV_HEADS) * HEAD;
        double weight[MOST], sum = 0;
        for (int k = 0; k < seen; k++) {
            weight[k] = 0;
            for (int d = 0; d < HEAD; d++) weight[k] += q[h * HEAD + d] * keys[k][shared + d];
            sum += weight[k] = exp(weight[k] / sqrt(HEAD));
        }
        for (int d = 0; d < HEAD; d++) {
            a[h * HEAD + d] = 0;
            for (int k = 0; k < seen; k++) a[h * HEAD + d] += weight[k] / sum * values[k][shared + d];
        }
    }
}

/* Logits of one row from parameters in double, by plain loops over tokens, heads and keys. */
static void logits_twin(double logits[][VOCAB], const double *w, const hd_llama_params *p, int layers, const int16_t *row, int t) {
    static double x[MOST][DIM], keys[MOST][KV], values[MOST][KV];
    for (int i = 0; i < t; i++) memcpy(x[i], w + p->embedding + row[i] * DIM, sizeof x[i]);
    for (int l = 0; l < layers; l++)
        for (int i = 0; i < t; i++) {
            double h[DIM], q[DIM], a[DIM], o[DIM], gate[HIDDEN], up[HIDDEN];
            norm_twin(h, x[i], w + p->norm_attention[l]);
            apply_twin(q, w + p->matrix[l][HD_LLAMA_Q], h, DIM, DIM);
            apply_twin(keys[i], w + p->matrix[l][HD_LLAMA_K], h, KV, DIM);
            apply_twin(values[i], w + p->matrix[l][HD_LLAMA_V], h, KV, DIM);
            rotate_twin(q, HEADS, i);
            rotate_twin(keys[i], KV_HEADS, i);
            attention_twin(a, q, keys, values, i + 1);
            apply_twin(o, w + p->matrix[l][HD_LLAMA_O], a, DIM, DIM);
            for (int d = 0; d < DIM; d++) x[i][d] += o[d];
            norm_twin(h, x[i], w + p->norm_ffn[l]);
            apply_twin(gate, w + p->matrix[l][HD_LLAMA_W1], h, HIDDEN, DIM);
            apply_twin(up, w + p->matrix[l][HD_LLAMA_W3], h, HIDDEN, DIM);
            for (int d = 0; d < HIDDEN; d++) gate[d] = gate[d] / (1 + exp(-gate[d])) * up[d];
            apply_twin(o, w + p->matrix[l][HD_LLAMA_W2], gate, DIM, HIDDEN);
            for (int d = 0; d < DIM; d++) x[i][d] += o[d];
        }
    for (int i = 0; i < t; i++) {
        double h[DIM];
        norm_twin(h, x[i], w + p->norm_final);
        apply_twin(logits[i], w + p->classifier, h, VOCAB, DIM);
    }
}

static void softmax_twin(double *out, const double *x, double temperature) {
    double sum = 0;
    for (int i = 0; i < VOCAB; i++) sum += out[i] = exp(x[i] / temperature);
    for (int i = 0; i < VOCAB; i++) out[i] /= sum;
}

/* The objective by its definition. */
typedef struct twin {
    const hd_llama_params *p;
    const int16_t *rows;
    int n, t, layers;
    double share, temperature;
    const double *teacher; /* parameters; NULL = none */
    int teacher_layers;
    const hd_llama_params *teacher_p;
} twin;

static double loss_twin(const twin *o, const double *w) {
    static double own[MOST][VOCAB], other[MOST][VOCAB];
    double sum = 0;
    for (int i = 0; i < o->n; i++) {
        const int16_t *row = o->rows + i * (o->t + 1);
        logits_twin(own, w, o->p, o->layers, row, o->t);
        if (o->teacher) logits_twin(other, o->teacher, o->teacher_p, o->teacher_layers, row, o->t);
        for (int k = 0; k < o->t; k++) {
            double p[VOCAB], q[VOCAB];
            softmax_twin(p, own[k], 1);
            sum -= (1 - o->share) * log(p[row[k + 1]]);
            if (!o->teacher) continue;
            softmax_twin(p, own[k], o->temperature);
            softmax_twin(q, other[k], o->temperature);
            for (int v = 0; v < VOCAB; v++) sum += o->share * o->temperature * o->temperature * q[v] * log(q[v] / p[v]);
        }
    }
    return sum / (o->n * o->t);
}

static double *doubles(const hd_llama_params *p, const hd_llama *m) {
    float *flat = malloc(p->total * sizeof *flat);
    double *wide = malloc(p->total * sizeof *wide);
    assert_true(flat && wide);
    hd_llama_params_read(p, m, flat);
    for (size_t i = 0; i < p->total; i++) wide[i] = (double)flat[i];
    free(flat);
    return wide;
}

/* Every parameter of a small model. With logits the teacher comes as numbers instead of as a model. */
static void check_gradient(int tied, int t, double share, double temperature, int as_logits) {
    enum { N = 2 };
    hd_llama *m = small_model(5, LAYERS, tied), *teacher = small_model(6, 1, !tied);
    hd_llama_params p, tp;
    hd_llama_tape *tape;
    hd_err err = {0};
    int16_t rows[N * (MOST + 1)];
    static float logits[N][MOST][VOCAB];
    double loss = 0;
    random_rows(rows, N * (t + 1), 3);
    if (hd_llama_params_new(&p, m, &err) || hd_llama_params_new(&tp, teacher, &err) || hd_llama_tape_new(&tape, m, N, t, 1, &err)) fail_msg("%s", err.message);
    double *w = doubles(&p, m), *tw = doubles(&tp, teacher);
    hd_llama_objective o = {.teacher = share > 0 ? teacher : NULL, .share = (float)share, .temperature = (float)temperature};
    if (as_logits) {
        static double exact[MOST][VOCAB];
        float *to = &logits[0][0][0];
        for (int i = 0; i < N; i++) {
            logits_twin(exact, tw, &tp, 1, rows + i * (t + 1), t);
            for (int k = 0; k < t; k++)
                for (int v = 0; v < VOCAB; v++) *to++ = (float)exact[k][v];
        }
        o.teacher = NULL;
        o.logits = &logits[0][0][0];
    }
    float *gradient = malloc(p.total * sizeof *gradient);
    assert_non_null(gradient);
    for (size_t i = 0; i < p.total; i++) gradient[i] = 1e9f; /* it must be written, not added to */
    if (hd_llama_gradient(tape, m, &p, rows, t + 1, N, &o, gradient, &loss, &err)) fail_msg("%s", err.message);
    twin by = {&p, rows, N, t, LAYERS, share, temperature, share > 0 ? tw : NULL, 1, &tp};
    double expected = loss_twin(&by, w), largest = 0;
    if (fabs(loss - expected) > 1e-5 * (1 + expected)) fail_msg("loss %.9f, by loops %.9f", loss, expected);
    for (size_t i = 0; i < p.total; i++) {
        const double step = 1e-5, keep = w[i];
        w[i] = keep + step;
        double up = loss_twin(&by, w);
        w[i] = keep - step;
        double down = loss_twin(&by, w), d = (up - down) / (2 * step);
        w[i] = keep;
        largest = fmax(largest, fabs(d));
        if (fabs((double)gradient[i] - d) > 1e-5 + 3e-4 * fabs(d)) fail_msg("tied %d, t %d, share %g: parameter %zu: %.8f, by differences %.8f", tied, t, share, i, (double)gradient[i], d);
    }
    assert_true(largest > 1e-3);
    free(gradient);
    free(w);
    free(tw);
    hd_llama_tape_free(tape);
    hd_llama_params_free(&p);
    hd_llama_params_free(&tp);
    hd_llama_free(m);
    hd_llama_free(teacher);
}

static void gradient_is_the_slope(void **state) {
    (void)state;
    check_gradient(0, 7, 0, 1, 0);
    check_gradient(1, 7, 0, 1, 0);
    check_gradient(1, 66, 0.7, 2, 0); /* two tiles */
}

static void gradient_of_distillation(void **state) {
    (void)state;
    check_gradient(0, 5, 1, 1, 0);
    check_gradient(1, 5, 1, 3, 0);
    check_gradient(0, 5, 0.4, 0.7, 0);
    check_gradient(1, 5, 0.4, 2, 1);
}

/* The executor's loss; a gradient asked for or not, and the number of threads, change no bit of it nor of the gradient. */
static void threads_change_nothing(void **state) {
    (void)state;
    enum { N = 5, T = 79 };
    hd_llama *m = small_model(9, LAYERS, 0), *teacher = small_model(10, LAYERS, 1);
    hd_llama_params p;
    hd_err err = {0};
    int16_t rows[N * (T + 1)];
    random_rows(rows, N * (T + 1), 4);
    if (hd_llama_params_new(&p, m, &err)) fail_msg("%s", err.message);
    float *one = malloc(p.total * sizeof *one), *two = malloc(p.total * sizeof *two);
    double nats = 0, loss[4] = {0};
    assert_true(one && two);
    assert_int_equal(hd_llama_cross_entropy(m, rows, N, T, &nats, &err), HD_OK);
    hd_llama_objective o = {.teacher = teacher, .share = 0.5f, .temperature = 2};
    for (int threads = 1; threads <= 2; threads++) {
        hd_llama_tape *tape;
        assert_int_equal(hd_llama_tape_new(&tape, m, N, T, threads, &err), HD_OK);
        assert_int_equal(hd_llama_gradient(tape, m, &p, rows, T + 1, N, NULL, NULL, &loss[2], &err), HD_OK);
        if (fabs(loss[2] - nats) > 1e-6 * nats) fail_msg("loss %.9f, by the executor %.9f", loss[2], nats);
        assert_int_equal(hd_llama_gradient(tape, m, &p, rows, T + 1, N, &o, NULL, &loss[3], &err), HD_OK);
        assert_int_equal(hd_llama_gradient(tape, m, &p, rows, T + 1, N, &o, threads == 1 ? one : two, &loss[threads - 1], &err), HD_OK);
        assert_true(loss[3] == loss[threads - 1]); /* NOLINT */
        hd_llama_tape_free(tape);
    }
    assert_memory_equal(one, two, p.total * sizeof *one);
    assert_memory_equal(&loss[0], &loss[1], sizeof loss[0]);
    free(one);
    free(two);
    hd_llama_params_free(&p);
    hd_llama_free(m);
    hd_llama_free(teacher);
}

/* Whatever a flat vector holds comes back from the model, and nothing of the model is left out. */
static void parameters_come_back(void **state) {
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        hd_llama *m = small_model(1, LAYERS, tied), *other = small_model(2, LAYERS, tied);
        hd_llama_params p;
        hd_err err = {0};
        int16_t row[8];
        double a = 0, b = 0;
        random_rows(row, 8, 1);
        assert_int_equal(hd_llama_params_new(&p, m, &err), HD_OK);
        size_t norms = DIM * (2 * LAYERS + 1), tables = (size_t)(2 - tied) * VOCAB * DIM;
        assert_int_equal(p.total, norms + tables + hd_llama_block_weights(m));
        float *flat = malloc(p.total * sizeof *flat);
        assert_non_null(flat);
        hd_llama_params_read(&p, m, flat);
        hd_llama_params_write(&p, other, flat);
        assert_int_equal(hd_llama_cross_entropy(m, row, 1, 7, &a, &err), HD_OK);
        assert_int_equal(hd_llama_cross_entropy(other, row, 1, 7, &b, &err), HD_OK);
        assert_memory_equal(&a, &b, sizeof a);
        free(flat);
        hd_llama_params_free(&p);
        hd_llama_free(m);
        hd_llama_free(other);
    }
}

/* Rows start with BOS, depend on seed and row alone, go on after EOS with BOS, and follow the model's probabilities. */
static void writes_text(void **state) {
    (void)state;
    enum { N = 40, T = 60 };
    hd_llama *m = small_model(11, 1, 0);
    int16_t rows[N * (T + 1)], again[7 * (T + 1)], other[7 * (T + 1)];
    hd_err err = {0};
    int threads = omp_get_max_threads(), ends = 0;
    assert_int_equal(hd_llama_write(m, rows, N, T, 1.0, 3, &err), HD_OK);
    omp_set_num_threads(threads > 1 ? 1 : 2);
    assert_int_equal(hd_llama_write(m, again, 7, T, 1.0, 3, &err), HD_OK);
    omp_set_num_threads(threads);
    assert_memory_equal(rows, again, sizeof again);
    assert_int_equal(hd_llama_write(m, other, 7, T, 1.0, 4, &err), HD_OK);
    assert_memory_not_equal(rows, other, sizeof other);
    for (int i = 0; i < N; i++) {
        assert_int_equal(rows[i * (T + 1)], HD_TOKEN_BOS);
        for (int k = 0; k < T; k++)
            if (rows[i * (T + 1) + k] == HD_TOKEN_EOS) {
                ends++;
                assert_int_equal(rows[i * (T + 1) + k + 1], HD_TOKEN_BOS);
            }
    }
    assert_true(ends > 0);
    /* The entropy rate of what a model draws is its own cross-entropy on it: far below that of random tokens. */
    double own = 0, random = 0;
    static int16_t noise[N * (T + 1)];
    random_rows(noise, N * (T + 1), 8);
    assert_int_equal(hd_llama_cross_entropy(m, rows, N, T, &own, &err), HD_OK);
    assert_int_equal(hd_llama_cross_entropy(m, noise, N, T, &random, &err), HD_OK);
    assert_true(own + 0.2 < random);
    assert_int_equal(hd_llama_write(m, rows, 1, MOST + 1, 1.0, 1, &err), HD_RANGE);
    assert_int_equal(hd_llama_write(m, rows, 0, T, 1.0, 1, &err), HD_RANGE);
    hd_llama_free(m);
}

static void refuses(void **state) {
    (void)state;
    hd_llama *m = small_model(1, LAYERS, 1), *other = small_model(1, 1, 1);
    hd_llama_params p;
    hd_llama_tape *tape;
    hd_err err = {0};
    double loss;
    int16_t row[9];
    random_rows(row, 9, 1);
    assert_int_equal(hd_llama_params_new(&p, m, &err), HD_OK);
    assert_int_equal(hd_llama_tape_new(&tape, m, 1, MOST + 1, 1, &err), HD_RANGE);
    assert_null(tape);
    assert_int_equal(hd_llama_tape_new(&tape, m, 1, 8, 1, &err), HD_OK);
    assert_int_equal(hd_llama_gradient(tape, other, &p, row, 9, 1, NULL, NULL, &loss, &err), HD_MISMATCH);
    assert_string_equal(err.message, "the model's sizes are not those that the training buffers were made for");
    assert_int_equal(hd_llama_gradient(tape, m, &p, row, 9, 2, NULL, NULL, &loss, &err), HD_RANGE);
    assert_string_equal(err.message, "2 sequences; the training buffers allow 1 to 1");
    hd_llama_objective o = {.teacher = m, .share = 1.5f, .temperature = 1};
    assert_int_equal(hd_llama_gradient(tape, m, &p, row, 9, 1, &o, NULL, &loss, &err), HD_RANGE);
    assert_string_equal(err.message, "the teacher's share is 1.5; allowed are 0 to 1");
    o = (hd_llama_objective){.teacher = m, .share = 1, .temperature = 0};
    assert_int_equal(hd_llama_gradient(tape, m, &p, row, 9, 1, &o, NULL, &loss, &err), HD_RANGE);
    assert_string_equal(err.message, "the temperature is 0; allowed is a positive number");
    row[8] = VOCAB;
    assert_int_equal(hd_llama_gradient(tape, m, &p, row, 9, 1, NULL, NULL, &loss, &err), HD_RANGE);
    assert_string_equal(err.message, "row 0, token 8 is 11; the vocabulary has 0 to 10");
    hd_llama_tape_free(tape);
    hd_llama_params_free(&p);
    hd_llama_train_options t;
    hd_llama_train_defaults(&t);
    const struct { hd_llama_train_options o; const char *message; } rows[] = {
        {{.rate = 0}, "training: learning rate 0; above 0, at most 1 is allowed"},
        {{.rate = 1, .weight_decay = 2}, "training: weight decay 2; 0..1 is allowed"},
        {{.rate = 1, .written_share = -1}, "training: written share -1; 0..1 is allowed"},
        {{.rate = 1, .written = 3}, "training: 3 written rows; 0 and more are allowed, and a teacher writes them"},
        {{.rate = 1, .objective.logits = &(float){0}}, "training: logits of a teacher; a model is needed, because rows are drawn at random"},
        {{.rate = 1, .steps = 5, .batch = 0}, "5 steps of 0 rows; at least 1 of each is needed"},
    };
    row[8] = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(hd_llama_train(m, row, 9, 1, 8, &rows[i].o, &loss, &err), HD_RANGE);
        assert_string_equal(err.message, rows[i].message);
    }
    assert_int_equal(hd_llama_train(m, row, 9, 0, 8, &t, &loss, &err), HD_RANGE);
    assert_string_equal(err.message, "0 rows and 0 written ones to train on; at least 1 is needed");
    assert_int_equal(hd_llama_write(m, row, 1, MOST + 1, 1, 1, &err), HD_RANGE);
    char want[100];
    snprintf(want, sizeof want, "1 rows of %d tokens to write; allowed are at least 1, of 1 to %d tokens", MOST + 1, MOST);
    assert_string_equal(err.message, want);
    hd_llama_free(m);
    hd_llama_free(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradient_is_the_slope), cmocka_unit_test(gradient_of_distillation), cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(parameters_come_back),  cmocka_unit_test(writes_text),              cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
