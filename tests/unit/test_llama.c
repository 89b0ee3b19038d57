/* Language models: the published model reproduces its published figures; the two executors agree with each other and with scalar
 * loops in double; forged files are refused with exact messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../compiler/graph/llama.h"
#include "../../compiler/graph/llama_math.h"
#include "../../sw/core/bytes.h"
#include "../../sw/core/file.h"
#include "../../sw/core/idx.h"
#include "../../sw/core/rng.h"
#include "../../sw/explore/models.h"

static char path[64];

static void fill(hd_rng *rng, float *x, size_t n, float spread, float middle) {
    for (size_t i = 0; i < n; i++) x[i] = middle + spread * hd_rng_normal(rng);
}

/* Small, with every size different and heads sharing keys; not tied. */
static hd_llama *small_model(uint64_t seed, int tied) {
    hd_llama sizes = {.dim = 12, .hidden = 20, .layers = 2, .heads = 6, .kv_heads = 2, .vocab = 11, .max_tokens = 80}, *m;
    hd_err err = {0};
    hd_rng rng;
    hd_rng_seed(&rng, seed, 1);
    if (hd_llama_new(&m, &sizes, tied, &err)) fail_msg("%s", err.message);
    fill(&rng, m->embedding, 11 * 12, 1.0f, 0.0f);
    fill(&rng, m->norm_final, 12, 0.2f, 1.0f);
    if (!tied) fill(&rng, m->classifier, 11 * 12, 0.7f, 0.0f);
    for (int l = 0; l < 2; l++) {
        fill(&rng, m->layer[l].norm_attention, 12, 0.2f, 1.0f);
        fill(&rng, m->layer[l].norm_ffn, 12, 0.2f, 1.0f);
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            fill(&rng, m->layer[l].matrix[k], (size_t)(out * in), 0.4f, 0.0f);
        }
    }
    return m;
}

static void norm_twin(double *out, const double *x, const float *w, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    for (int i = 0; i < n; i++) out[i] = x[i] / sqrt(sum / n + 1e-5) * (double)w[i];
}

static void apply_twin(double *out, const float *w, const double *x, int rows, int columns) {
    for (int r = 0; r < rows; r++) {
        out[r] = 0;
        for (int c = 0; c < columns; c++) out[r] += (double)w[r * columns + c] * x[c];
    }
}

static void rotate_twin(double *x, int heads, int head, int position) {
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < head; i += 2) {
            double angle = position / pow(10000, (double)i / head), a = x[h * head + i], b = x[h * head + i + 1];
            x[h * head + i] = a * cos(angle) - b * sin(angle);
            x[h * head + i + 1] = a * sin(angle) + b * cos(angle);
        }
}

/* The mean loss of one row by plain loops over tokens, heads and keys, in double. */
static double loss_twin(const hd_llama *m, const int16_t *row, int t) {
    enum { DIM = 12, HIDDEN = 20, KV = 4, HEAD = 2, T = 80 };
    static double x[T][DIM], keys[T][KV], values[T][KV];
    double nats = 0;
    assert_true(m->dim == DIM && m->hidden == HIDDEN && t <= T);
    for (int i = 0; i < t; i++)
        for (int d = 0; d < DIM; d++) x[i][d] = (double)m->embedding[row[i] * DIM + d];
    for (int l = 0; l < m->layers; l++)
        for (int i = 0; i < t; i++) {
            const hd_llama_layer *y = &m->layer[l];
            double h[DIM], q[DIM], a[DIM] = {0}, o[DIM], gate[HIDDEN], up[HIDDEN];
            norm_twin(h, x[i], y->norm_attention, DIM);
            apply_twin(q, y->matrix[HD_LLAMA_Q], h, DIM, DIM);
            apply_twin(keys[i], y->matrix[HD_LLAMA_K], h, KV, DIM);
            apply_twin(values[i], y->matrix[HD_LLAMA_V], h, KV, DIM);
            rotate_twin(q, 6, HEAD, i);
            rotate_twin(keys[i], 2, HEAD, i);
            for (int n = 0; n < 6; n++) {
                double weight[T], sum = 0;
                for (int k = 0; k <= i; k++) {
                    weight[k] = 0;
                    for (int d = 0; d < HEAD; d++) weight[k] += q[n * HEAD + d] * keys[k][n / 3 * HEAD + d];
                    weight[k] = exp(weight[k] / sqrt(HEAD));
                    sum += weight[k];
                }
                for (int k = 0; k <= i; k++)
                    for (int d = 0; d < HEAD; d++) a[n * HEAD + d] += weight[k] / sum * values[k][n / 3 * HEAD + d];
            }
            apply_twin(o, y->matrix[HD_LLAMA_O], a, DIM, DIM);
            for (int d = 0; d < DIM; d++) x[i][d] += o[d];
            norm_twin(h, x[i], y->norm_ffn, DIM);
            apply_twin(gate, y->matrix[HD_LLAMA_W1], h, HIDDEN, DIM);
            apply_twin(up, y->matrix[HD_LLAMA_W3], h, HIDDEN, DIM);
            for (int d = 0; d < HIDDEN; d++) gate[d] = gate[d] / (1 + exp(-gate[d])) * up[d];
            apply_twin(o, y->matrix[HD_LLAMA_W2], gate, DIM, HIDDEN);
            for (int d = 0; d < DIM; d++) x[i][d] += o[d];
        }
    for (int i = 0; i < t; i++) {
        double h[DIM], logit[11], sum = 0;
        norm_twin(h, x[i], m->norm_final, DIM);
        apply_twin(logit, m->classifier, h, 11, DIM);
        for (int k = 0; k < 11; k++) sum += exp(logit[k]);
        nats += log(sum) - logit[row[i + 1]];
    }
    return nats / t;
}

static void agrees_with_scalar_loops(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        hd_llama *m = small_model(seed, seed & 1);
        hd_rng rng;
        hd_rng_seed(&rng, seed, 2);
        int t = seed < 2 ? 1 : seed == 2 ? 64 : 79;
        int16_t row[80];
        for (int i = 0; i <= t; i++) row[i] = (int16_t)hd_rng_below(&rng, 11);
        double nats = 0, twin = loss_twin(m, row, t);
        hd_err err = {0};
        assert_int_equal(hd_llama_cross_entropy(m, row, 1, t, &nats, &err), HD_OK);
        if (fabs(nats - twin) > 2e-5 * (1 + twin)) fail_msg("seed %d: %.8f, twin %.8f", (int)seed, nats, twin);
        hd_llama_free(m);
    }
}

/* Block by parts, with any number of threads, is the block; token by token gives the same loss. */
static void executors_agree(void **state) {
    (void)state;
    enum { N = 5, T = 70 };
    hd_llama *m = small_model(7, 0);
    hd_rng rng;
    hd_rng_seed(&rng, 7, 2);
    int16_t rows[N * (T + 1)];
    for (int i = 0; i < N * (T + 1); i++) rows[i] = (int16_t)hd_rng_below(&rng, 11);
    hd_err err = {0};
    float *x = malloc(N * T * 12 * sizeof *x), *y = malloc(N * T * 12 * sizeof *y), *in = malloc(N * T * 12 * sizeof *in), *heads = malloc(N * T * 20 * sizeof *heads);
    double one = 0, many = 0, steps = 0;
    assert_true(x && y && in && heads);
    assert_int_equal(hd_llama_embed(m, rows, T + 1, N, T, x, &err), HD_OK);
    memcpy(y, x, N * T * 12 * sizeof *x);
    for (int l = 0; l < m->layers; l++) {
        assert_int_equal(hd_llama_block(m, l, x, N, T, &err), HD_OK);
        assert_int_equal(hd_llama_inputs(m, l, HD_LLAMA_QKV, y, N, T, in, &err), HD_OK);
        assert_int_equal(hd_llama_inputs(m, l, HD_LLAMA_HEADS, in, N, T, heads, &err), HD_OK);
        assert_int_equal(hd_llama_add(m, l, HD_LLAMA_HEADS, heads, N, T, y, &err), HD_OK);
        assert_int_equal(hd_llama_inputs(m, l, HD_LLAMA_FFN, y, N, T, in, &err), HD_OK);
        assert_int_equal(hd_llama_inputs(m, l, HD_LLAMA_GATED, in, N, T, heads, &err), HD_OK);
        assert_int_equal(hd_llama_add(m, l, HD_LLAMA_GATED, heads, N, T, y, &err), HD_OK);
        assert_memory_equal(x, y, N * T * 12 * sizeof *x);
    }
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    assert_int_equal(hd_llama_cross_entropy(m, rows, N, T, &one, &err), HD_OK);
    omp_set_num_threads(3);
    assert_int_equal(hd_llama_cross_entropy(m, rows, N, T, &many, &err), HD_OK);
    omp_set_num_threads(threads);
    assert_true(one == many);
    hd_llama_state *s;
    assert_int_equal(hd_llama_state_new(&s, m, &err), HD_OK);
    for (int i = 0; i < N; i++)
        for (int t = 0; t < T; t++) {
            const float *logit = hd_llama_step(s, rows[i * (T + 1) + t], t);
            double sum = 0;
            for (int k = 0; k < 11; k++) sum += exp((double)logit[k]);
            steps += log(sum) - (double)logit[rows[i * (T + 1) + t + 1]];
        }
    if (fabs(steps / (N * T) - one) > 1e-5) fail_msg("steps %.8f, sequences %.8f", steps / (N * T), one);
    hd_llama_state_free(s);
    hd_llama_free(m);
    free(x);
    free(y);
    free(in);
    free(heads);
}

static void exponential(void **state) {
    (void)state;
    for (int i = -8700; i <= 8800; i++) {
        float x = 0.01f * (float)i, y = hd_exp(x);
        double want = exp((double)x);
        if (fabs((double)y - want) > 3e-7 * want) fail_msg("exp(%g) = %g, wanted %g", (double)x, (double)y, want);
    }
    assert_true(hd_exp(0.0f) == 1.0f && hd_exp(-87.5f) == 0.0f && hd_exp(-INFINITY) == 0.0f && isnan(hd_exp(NAN)));
}

static void samples(void **state) {
    (void)state;
    static const float logit[5] = {1.0f, 3.0f, 2.0f, 3.0f, -40.0f};
    hd_rng rng;
    hd_rng_seed(&rng, 1, 1);
    assert_int_equal(hd_llama_sample(logit, 5, 0, 1, &rng), 1);
    enum { DRAWS = 20000 };
    double e[5], sum = 0;
    for (int i = 0; i < 5; i++) sum += e[i] = exp((double)logit[i] / 2);
    int count[5] = {0}, cut[5] = {0};
    for (int i = 0; i < DRAWS; i++) {
        count[hd_llama_sample(logit, 5, 2, 1, &rng)]++;
        cut[hd_llama_sample(logit, 5, 2, 0.6, &rng)]++;
    }
    for (int i = 0; i < 5; i++)
        if (fabs((double)count[i] / DRAWS - e[i] / sum) > 0.015) fail_msg("token %d: %d of %d draws, probability %.3f", i, count[i], DRAWS, e[i] / sum);
    assert_int_equal(hd_llama_sample(logit, 5, 2, 0, &rng), 1);
    /* The two likeliest hold 0.66: nothing else is drawn, and they equally. */
    assert_true(cut[0] == 0 && cut[2] == 0 && cut[4] == 0 && abs(cut[1] - cut[3]) < DRAWS / 30);
}

/* A checkpoint of small_model's sizes: header and weights 0.01, 0.02, ... */
static void make_file(hd_writer *w, int tied) {
    static const int32_t size[7] = {12, 20, 2, 6, 2, 11, 80};
    *w = (hd_writer){0};
    for (int i = 0; i < 7; i++) hd_put_u32(w, (uint32_t)(i == 5 && !tied ? -size[i] : size[i]));
    size_t block = 12 * 12 * 2 + 4 * 12 * 2 + 3 * 12 * 20, floats = 11 * 12 * (size_t)(tied ? 1 : 2) + 5 * 12 + 2 * block + 80 * 2;
    for (size_t i = 0; i < floats; i++) hd_put_f32(w, 0.01f * (float)(i + 1));
}

static void refuses(const hd_writer *w, size_t size, hd_status code, const char *message) {
    hd_llama *m;
    hd_err err = {0};
    char want[300];
    assert_int_equal(hd_file_write(path, w->data, size, &err), HD_OK);
    assert_int_equal(hd_import_llama2c(&m, path, &err), code);
    assert_null(m);
    snprintf(want, sizeof want, "%s: %s", path, message);
    assert_string_equal(err.message, want);
}

static void imports(void **state) {
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        hd_writer w;
        hd_llama *m;
        hd_err err = {0};
        make_file(&w, tied);
        assert_int_equal(hd_file_write(path, w.data, w.size, &err), HD_OK);
        if (hd_import_llama2c(&m, path, &err)) fail_msg("%s", err.message);
        assert_true((m->classifier == m->embedding) == tied);
        assert_true(m->embedding[0] == 0.01f && m->layer[0].norm_attention[0] == 0.01f * 133 && m->layer[1].norm_attention[11] == 0.01f * 156);
        assert_true(m->layer[0].matrix[HD_LLAMA_Q][0] == 0.01f * 157 && m->layer[1].matrix[HD_LLAMA_Q][0] == 0.01f * (157 + 144));
        assert_true(m->layer[0].matrix[HD_LLAMA_W2][0] == 0.01f * (157 + 2 * (144 + 48 + 48 + 144) + 24 + 2 * 240));
        assert_true(tied || m->classifier[131] == 0.01f * (float)((w.size - 28) / 4));
        hd_llama_free(m);
        hd_writer_free(&w);
    }
}

static void refuses_forged_files(void **state) {
    (void)state;
    hd_writer w;
    make_file(&w, 1);
    refuses(&w, 27, HD_FORMAT, "27 bytes; the header of a llama2.c checkpoint alone has 28");
    refuses(&w, w.size - 4, HD_FORMAT, "10264 bytes; a llama2.c checkpoint with dim 12, hidden 20, 2 layers, 6 heads, 2 kv_heads, vocabulary 11, max_tokens 80 has 10268");
    static const struct {
        int field;
        int32_t value;
        const char *message;
    } wrong[] = {
        {0, 0, "dim is 0; allowed 1 to 65536"},
        {0, 13, "dim 13, 6 heads; a head needs an even number of whole elements"},
        {0, 18, "dim 18, 6 heads; a head needs an even number of whole elements"},
        {1, -1, "hidden is -1; allowed 1 to 262144"},
        {2, 1025, "layers is 1025; allowed 1 to 1024"},
        {3, 0, "heads is 0; allowed 1 to 4096"},
        {4, 4, "6 heads, 4 kv_heads; the first must be a multiple of the second"},
        {5, INT32_MIN, "vocabulary is -2147483648; allowed 1 to 32767"},
        {6, 40000, "max_tokens is 40000; allowed 1 to 32767"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t *at = w.data + 4 * wrong[i].field, old[4];
        memcpy(old, at, 4);
        for (int b = 0; b < 4; b++) at[b] = (uint8_t)((uint32_t)wrong[i].value >> 8 * b);
        refuses(&w, w.size, HD_RANGE, wrong[i].message);
        memcpy(at, old, 4);
    }
    static const uint8_t nan[4] = {0, 0, 0xc0, 0x7f};
    memcpy(w.data + 28 + 4 * (132 + 24 + 144 + 5), nan, 4);
    refuses(&w, w.size, HD_FORMAT, "layer1.q: element 5 is nan; weights are finite");
    hd_writer_free(&w);
    hd_llama *m = small_model(1, 1);
    int16_t row[3] = {1, 11, 2};
    double nats;
    hd_err err = {0};
    assert_int_equal(hd_llama_cross_entropy(m, row, 1, 2, &nats, &err), HD_RANGE);
    assert_string_equal(err.message, "row 0, token 1 is 11; the vocabulary has 0 to 10");
    assert_int_equal(hd_llama_cross_entropy(m, row, 1, 81, &nats, &err), HD_RANGE);
    assert_string_equal(err.message, "1 sequences of 81 tokens; allowed are at least 1, of 1 to 80 tokens");
    hd_llama_free(m);
}

static void published_model(void **state) {
    (void)state;
    char name[512], tokens[512];
    hd_llama *m;
    hd_idx *idx;
    hd_err err = {0};
    double nats = 0;
    if (hd_models_file(name, sizeof name, "stories260K.bin", &err) || hd_models_file(tokens, sizeof tokens, "stories-tokens.idx", &err)) {
        print_message("SKIPPED: %s\n", err.message);
        skip();
    }
    if (hd_import_llama2c(&m, name, &err) || hd_idx_load(&idx, tokens, &err)) fail_msg("%s", err.message);
    assert_true(idx->type == HD_IDX_I16 && idx->item == 257);
    assert_int_equal(hd_llama_cross_entropy(m, (const int16_t *)idx->data + (size_t)89 * 257, 90, 256, &nats, &err), HD_OK);
    print_message("cross-entropy %.6f\n", nats);
    assert_true(fabs(nats - 1.686) < 0.0005);
    hd_idx_free(idx);
    hd_llama_free(m);
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/hd_llama_%ld", (long)getpid());
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_scalar_loops), cmocka_unit_test(executors_agree), cmocka_unit_test(exponential), cmocka_unit_test(samples),
                                       cmocka_unit_test(imports), cmocka_unit_test(refuses_forged_files), cmocka_unit_test(published_model)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
