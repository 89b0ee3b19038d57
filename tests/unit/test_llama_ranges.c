/* Activations of language models as codes, and scales folded between their matrices: plain loops, the two executors against each other, and planted
 * outliers that rounding alone does not survive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/lm_fold.h"
#include "../../compiler/compress/lm_policy.h"
#include "../../compiler/compress/passes.h"
#include "../../compiler/graph/llama_ranges.h"
#include "../../sw/core/rng.h"

enum { DIM = 24, HIDDEN = 40, LAYERS = 2, VOCAB = 17, ROWS = 12, T = 20 };

static void fill(hd_rng *rng, float *x, size_t n, float spread, float middle) {
    for (size_t i = 0; i < n; i++) x[i] = middle + spread * hd_rng_normal(rng);
}

/* Heads share keys. Some channels of every input are `large` times the others, with weights that make up for it. */
static hd_llama *small_model(uint64_t seed, float large) {
    hd_llama sizes = {.dim = DIM, .hidden = HIDDEN, .layers = LAYERS, .heads = 6, .kv_heads = 2, .vocab = VOCAB, .max_tokens = T}, *m;
    hd_err err = {0};
    hd_rng rng;
    hd_rng_seed(&rng, seed, 1);
    if (hd_llama_new(&m, &sizes, 0, &err)) fail_msg("%s", err.message);
    fill(&rng, m->embedding, VOCAB * DIM, 1.0f, 0.0f);
    fill(&rng, m->norm_final, DIM, 0.2f, 1.0f);
    fill(&rng, m->classifier, VOCAB * DIM, 0.7f, 0.0f);
    for (int l = 0; l < LAYERS; l++) {
        hd_llama_layer *y = &m->layer[l];
        fill(&rng, y->norm_attention, DIM, 0.2f, 1.0f);
        fill(&rng, y->norm_ffn, DIM, 0.2f, 1.0f);
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            fill(&rng, y->matrix[k], (size_t)(out * in), 1.2f / sqrtf((float)in), 0.0f);
            for (int i = 0; i < out * in; i++)
                if (k != HD_LLAMA_O && i % in % 11 == 5) y->matrix[k][i] /= large;
            if (k == HD_LLAMA_W3)
                for (int i = 0; i < out * in; i++)
                    if (i / in % 11 == 5) y->matrix[k][i] *= large;
        }
        for (int j = 5; j < DIM; j += 11) {
            y->norm_attention[j] *= large;
            y->norm_ffn[j] *= large;
        }
    }
    return m;
}

static void random_tokens(int16_t *tokens, uint64_t seed) {
    hd_rng rng;
    hd_rng_seed(&rng, seed, 2);
    for (int i = 0; i < ROWS * (T + 1); i++) tokens[i] = (int16_t)hd_rng_below(&rng, VOCAB);
}

static double loss(const hd_llama *m, const int16_t *tokens) {
    double nats;
    hd_err err = {0};
    if (hd_llama_cross_entropy(m, tokens, ROWS, T, &nats, &err)) fail_msg("%s", err.message);
    return nats;
}

/* ---- codes ---- */

static void dynamic_codes(void **state) {
    (void)state;
    hd_llama *m = small_model(1, 1);
    hd_err err = {0};
    hd_rng rng;
    hd_rng_seed(&rng, 3, 3);
    for (int bits = 4; bits <= 8; bits++)
        for (int outliers = 0; outliers < 2; outliers++) {
            hd_llama_codes *c;
            float x[T * DIM], y[T * DIM];
            assert_int_equal(hd_llama_codes_new(&c, m, bits, outliers ? 6.0f : 0.0f, &err), HD_OK);
            fill(&rng, x, T * DIM, 1.0f, 0.0f);
            x[7 * DIM + 3] = 9;
            x[2 * DIM + 8] = -7;
            for (int j = 0; j < DIM; j++) x[4 * DIM + j] = 0;
            hd_llama_code(c, 1, HD_LLAMA_K, x, T, DIM, y);
            for (int i = 0; i < T; i++) {
                int most = (1 << (bits - 1)) - 1;
                double largest = 0;
                for (int j = 0; j < DIM; j++)
                    if (!outliers || (j != 3 && j != 8)) largest = fmax(largest, fabs((double)x[i * DIM + j]));
                for (int j = 0; j < DIM; j++) {
                    double v = (double)x[i * DIM + j], found = (double)y[i * DIM + j], scale = largest / most;
                    if (outliers && (j == 3 || j == 8)) assert_true(found == v);
                    else if (!(largest > 0)) assert_true(found == 0);
                    else {
                        double code = found / scale;
                        assert_true(fabs(code - nearbyint(code)) < 1e-4 && fabs(code) < most + 0.01 && fabs(found - v) < 0.5001 * scale);
                    }
                }
            }
            hd_llama_codes_free(c);
        }
    hd_llama_free(m);
}

typedef struct inputs {
    float *x[LAYERS][HD_LLAMA_PARTS];
} inputs;

static hd_status keep(void *arg, int layer, hd_llama_part part, const float *in, size_t rows, hd_err *err) {
    inputs *k = arg;
    size_t n = rows * (part == HD_LLAMA_GATED ? HIDDEN : DIM);
    (void)err;
    k->x[layer][part] = malloc(n * sizeof(float));
    memcpy(k->x[layer][part], in, n * sizeof(float));
    return HD_OK;
}

/* The scale of each input is, by the values themselves, within a hair of the best of a fine scan; and columns above the threshold are apart. */
static void static_scales_are_the_best(void **state) {
    (void)state;
    hd_llama *m = small_model(2, 12);
    hd_err err = {0};
    int16_t tokens[ROWS * (T + 1)];
    random_tokens(tokens, 1);
    inputs k;
    assert_int_equal(hd_llama_visit(m, tokens, T + 1, ROWS, T, keep, &k, &err), HD_OK);
    for (int outliers = 0; outliers < 2; outliers++) {
        hd_llama_codes *c;
        assert_int_equal(hd_llama_codes_new(&c, m, 5, outliers ? 6.0f : 0.0f, &err), HD_OK);
        assert_int_equal(hd_llama_codes_fix(c, m, tokens, T + 1, ROWS, T, &err), HD_OK);
        int apart = 0;
        for (int i = 0; i < LAYERS * HD_LLAMA_PARTS; i++) {
            int columns = i % HD_LLAMA_PARTS == HD_LLAMA_GATED ? HIDDEN : DIM;
            const float *x = k.x[i / HD_LLAMA_PARTS][i % HD_LLAMA_PARTS];
            double least = INFINITY, found = 0, largest = 0;
            uint8_t large[HIDDEN] = {0};
            for (int j = 0; j < ROWS * T * columns; j++) large[j % columns] |= outliers && fabsf(x[j]) > 6;
            for (int j = 0; j < columns && outliers; j++) {
                assert_int_equal(c->apart[i * c->width + j], large[j]);
                apart += large[j];
            }
            for (int j = 0; j < ROWS * T * columns; j++)
                if (!large[j % columns]) largest = fmax(largest, fabs((double)x[j]));
            for (int step = 0; step <= 400; step++) {
                double scale = step ? largest / 15 * step / 400 : (double)c->scale[i], e = 0;
                for (int j = 0; j < ROWS * T * columns; j++) {
                    double code = floor((double)x[j] / scale + 0.5), d = fmin(15, fmax(-15, code)) * scale - (double)x[j];
                    if (!large[j % columns]) e += d * d;
                }
                if (!step) found = e;
                least = fmin(least, e);
            }
            assert_true(found <= 1.02 * least);
        }
        assert_int_equal(apart > 0, outliers);
        m->codes = c;
        hd_llama_codes *again;
        assert_int_equal(hd_llama_codes_new(&again, m, 8, 0, &err), HD_OK);
        assert_int_equal(hd_llama_codes_fix(again, m, tokens, T + 1, ROWS, T, &err), HD_MISMATCH);
        hd_llama_codes_free(again);
        m->codes = NULL;
        hd_llama_codes_free(c);
    }
    for (int i = 0; i < LAYERS * HD_LLAMA_PARTS; i++) free(k.x[i / HD_LLAMA_PARTS][i % HD_LLAMA_PARTS]);
    hd_llama_free(m);
}

/* Whole sequences and token by token: the same codes, so the same loss; and fewer bits lose more. */
static void executors_agree(void **state) {
    (void)state;
    hd_llama *m = small_model(3, 1);
    hd_err err = {0};
    int16_t tokens[ROWS * (T + 1)];
    random_tokens(tokens, 5);
    double real = loss(m, tokens), lost[2] = {0};
    for (int k = 0; k < 4; k++) {
        hd_llama_codes *c;
        hd_llama_state *s;
        assert_int_equal(hd_llama_codes_new(&c, m, k & 1 ? 8 : 4, 0, &err), HD_OK);
        if (k & 2) assert_int_equal(hd_llama_codes_fix(c, m, tokens, T + 1, ROWS, T, &err), HD_OK);
        m->codes = c;
        double whole = loss(m, tokens), sum = 0;
        assert_int_equal(hd_llama_state_new(&s, m, &err), HD_OK);
        for (int row = 0; row < ROWS; row++)
            for (int i = 0; i < T; i++) {
                const float *logits = hd_llama_step(s, tokens[row * (T + 1) + i], i);
                double total = 0;
                for (int v = 0; v < VOCAB; v++) total += exp((double)logits[v]);
                sum += log(total) - (double)logits[tokens[row * (T + 1) + i + 1]];
            }
        /* a value between two codes may fall to either side in the two orders of summation */
        assert_true(fabs(sum / (ROWS * T) - whole) < (k & 1 ? 1e-3 : 2e-2) && fabs(whole - real) > 1e-6);
        lost[k & 1] += fabs(whole - real);
        hd_llama_state_free(s);
        hd_llama_codes_free(c);
        m->codes = NULL;
    }
    assert_true(lost[1] < 0.3 * lost[0]);
    hd_llama_free(m);
}

static void refusals(void **state) {
    (void)state;
    hd_llama *m = small_model(1, 1);
    hd_llama_codes *c;
    hd_err err = {0};
    assert_int_equal(hd_llama_codes_new(&c, m, 3, 0, &err), HD_RANGE);
    assert_string_equal(err.message, "activations of 3 bits; allowed are 4 to 8");
    assert_int_equal(hd_llama_codes_new(&c, m, 8, -1, &err), HD_RANGE);
    assert_string_equal(err.message, "outliers above -1; allowed is 0 (none) or a positive threshold");
    assert_int_equal(hd_llama_codes_new(&c, m, 8, NAN, &err), HD_RANGE);
    assert_null(c);
    int16_t rows[ROWS * (T + 1)];
    random_tokens(rows, 1);
    assert_int_equal(hd_llama_codes_new(&c, m, 8, 0, &err), HD_OK);
    assert_int_equal(hd_llama_codes_fix(c, m, rows, T + 1, 0, T, &err), HD_RANGE);
    assert_string_equal(err.message, "0 rows of 20 tokens for the ranges of activations; at least 1 of 1");
    m->codes = c;
    assert_int_equal(hd_llama_codes_fix(c, m, rows, T + 1, ROWS, T, &err), HD_MISMATCH);
    assert_string_equal(err.message, "ranges are found on float activations; the model has codes already");
    m->codes = NULL;
    float norm = m->layer[1].norm_ffn[3];
    m->layer[1].norm_ffn[3] = INFINITY;
    assert_int_equal(hd_llama_codes_fix(c, m, rows, T + 1, ROWS, T, &err), HD_RANGE);
    assert_string_equal(err.message, "layer 1: activations that are not finite on the calibration rows");
    m->layer[1].norm_ffn[3] = norm;
    hd_llama_codes_free(c);
    hd_policy p;
    hd_lm *lm;
    int16_t tokens[ROWS * (T + 1)];
    random_tokens(tokens, 1);
    hd_policy_default(&p);
    assert_int_equal(hd_recipe_parse(&p.base.recipe, "outliers+gptq", &err), HD_OK);
    assert_int_equal(hd_lm_compress_policy(&lm, m, &p, tokens, T + 1, ROWS, T, NULL, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "policy, base: outliers split off a language model's matrix; its outliers stay float when it is run (heddle eval --outliers)");
    hd_llama_free(m);
}

/* ---- folding ---- */

static hd_policy policy(const char *method, int bits) {
    hd_policy p;
    hd_err err = {0};
    hd_policy_default(&p);
    p.base.bits = bits;
    if (hd_recipe_parse(&p.base.recipe, method, &err)) fail_msg("%s", err.message);
    return p;
}

static void folding_leaves_the_model(void **state) {
    (void)state;
    static const char *const methods[] = {"smooth", "awq", "rtn"};
    for (int k = 0; k < 3; k++) {
        hd_llama *m = small_model(7, 12), *folded = hd_llama_clone(m);
        hd_policy p = policy(methods[k], 4);
        hd_err err = {0};
        int16_t tokens[ROWS * (T + 1)], others[ROWS * (T + 1)];
        random_tokens(tokens, 1);
        random_tokens(others, 2);
        if (k == 2) { /* two of the matrices that share an input, and one of a single reader */
            hd_policy rule = policy("smooth:0.8", 4), scaled = policy("awq", 4);
            assert_true(hd_policy_add(&p, "layer0.q", &rule.base) && hd_policy_add(&p, "layer0.v", &scaled.base) && hd_policy_add(&p, "layer1.o", &rule.base));
        }
        if (hd_lm_fold(folded, &p, tokens, T + 1, ROWS, T, &err)) fail_msg("%s", err.message);
        double before = loss(m, others), after = loss(folded, others);
        assert_true(fabs(before - after) < 1e-5 * before);
        int changed = 0;
        for (int l = 0; l < LAYERS; l++)
            for (int i = 0; i < HD_LLAMA_MATRICES; i++) {
                int out, in;
                hd_llama_shape(m, i, &out, &in);
                changed += memcmp(m->layer[l].matrix[i], folded->layer[l].matrix[i], (size_t)(out * in) * sizeof(float)) != 0;
            }
        /* layer0: q, k, v; layer1: v, o */
        assert_int_equal(changed, k == 2 ? 5 : LAYERS * HD_LLAMA_MATRICES);
        hd_policy_free(&p);
        hd_llama_free(folded);
        hd_llama_free(m);
    }
}

/* SmoothQuant's scales of o by plain loops: heads 0..2 read the first keys' values, 3..5 the second's. */
static void scales_of_shared_heads(void **state) {
    (void)state;
    enum { HEAD = 4, KV = 8 };
    hd_llama *m = small_model(9, 5), *folded = hd_llama_clone(m);
    hd_policy p = policy("rtn", 4), rule = policy("smooth:0.6", 4);
    hd_err err = {0};
    int16_t tokens[ROWS * (T + 1)];
    random_tokens(tokens, 1);
    assert_true(hd_policy_add(&p, "layer1.o", &rule.base));
    inputs k;
    assert_int_equal(hd_llama_visit(m, tokens, T + 1, ROWS, T, keep, &k, &err), HD_OK);
    assert_int_equal(hd_lm_fold(folded, &p, tokens, T + 1, ROWS, T, &err), HD_OK);
    double s[KV], mean = 0;
    const float *o = m->layer[1].matrix[HD_LLAMA_O], *x = k.x[1][HD_LLAMA_HEADS];
    for (int c = 0; c < KV; c++) {
        double most = 0, weight = 0;
        for (int h = c / HEAD * 3; h < c / HEAD * 3 + 3; h++) {
            for (int r = 0; r < ROWS * T; r++) most = fmax(most, fabs((double)x[r * DIM + h * HEAD + c % HEAD]));
            for (int r = 0; r < DIM; r++) weight = fmax(weight, fabs((double)o[r * DIM + h * HEAD + c % HEAD]));
        }
        s[c] = pow(most, 0.6) / pow(weight, 0.4);
        mean += log(s[c]) / KV;
    }
    for (int c = 0; c < KV; c++) {
        int column = c / HEAD * 3 * HEAD + HEAD + c % HEAD; /* of the second of the heads that share it */
        double want = s[c] / exp(mean);
        assert_true(fabs((double)folded->layer[1].matrix[HD_LLAMA_O][column] / (double)o[column] / want - 1) < 1e-4);
        assert_true(fabs((double)m->layer[1].matrix[HD_LLAMA_V][c * DIM] / (double)folded->layer[1].matrix[HD_LLAMA_V][c * DIM] / want - 1) < 1e-4);
    }
    for (int i = 0; i < LAYERS * HD_LLAMA_PARTS; i++) free(k.x[i / HD_LLAMA_PARTS][i % HD_LLAMA_PARTS]);
    hd_policy_free(&p);
    hd_llama_free(folded);
    hd_llama_free(m);
}

static hd_lm *compressed(const hd_llama *m, const char *method, int bits) {
    hd_lm *c;
    hd_policy p = policy(method, bits);
    hd_err err = {0};
    int16_t tokens[ROWS * (T + 1)];
    random_tokens(tokens, 1);
    if (hd_lm_compress_policy(&c, m, &p, tokens, T + 1, ROWS, T, NULL, &err)) fail_msg("%s: %s", method, err.message);
    return c;
}

/* Mean squared difference of the logits' losses, on tokens that nobody was calibrated on. */
static double damage(const hd_llama *m, hd_llama *other) {
    enum { SETS = 8 };
    double sum = 0;
    for (uint64_t set = 0; set < SETS; set++) {
        int16_t tokens[ROWS * (T + 1)];
        random_tokens(tokens, 100 + set);
        sum += pow(loss(m, tokens) - loss(other, tokens), 2) / SETS;
    }
    return sqrt(sum);
}

/* With large channels in every input static codes of 6 bits fail; smoothed they do not, and neither do they with the large columns apart. */
static void smoothing_beats_rounding(void **state) {
    (void)state;
    static const char *const methods[] = {"rtn", "smooth+rtn", "rtn"};
    for (uint64_t seed = 20; seed < 23; seed++) {
        hd_llama *m = small_model(seed, 20);
        double lost[3];
        for (int k = 0; k < 3; k++) {
            hd_lm *c = compressed(m, methods[k], 8);
            hd_llama_codes *codes;
            hd_err err = {0};
            int16_t tokens[ROWS * (T + 1)];
            random_tokens(tokens, 1);
            assert_int_equal(hd_llama_codes_new(&codes, c->model, 6, k == 2 ? 8.0f : 0.0f, &err), HD_OK);
            assert_int_equal(hd_llama_codes_fix(codes, c->model, tokens, T + 1, ROWS, T, &err), HD_OK);
            c->model->codes = codes;
            lost[k] = damage(m, c->model);
            c->model->codes = NULL;
            hd_llama_codes_free(codes);
            hd_lm_free(c);
        }
        print_message("nats lost at 6 bits: rounded %.4f, smoothed %.4f, outliers apart %.4f\n", lost[0], lost[1], lost[2]);
        assert_true(lost[1] < 0.5 * lost[0] && lost[2] < 0.5 * lost[0]);
        hd_llama_free(m);
    }
}

static double relative_error(const hd_lm *c) {
    double sum = 0;
    for (int i = 0; i < LAYERS * HD_LLAMA_MATRICES; i++) sum += c->matrix[i].linear.error / c->matrix[i].linear.reference / (LAYERS * HD_LLAMA_MATRICES);
    return sum;
}

/* The outputs' errors of all matrices, as far as each is solved for; the folded scales cost no bits, the stored ones 16 an input. */
static void awq_beats_rounding(void **state) {
    (void)state;
    for (uint64_t seed = 30; seed < 33; seed++) {
        hd_llama *m = small_model(seed, 6);
        hd_lm *rtn = compressed(m, "rtn", 3), *awq = compressed(m, "awq", 3), *stored = compressed(m, "awq-stored", 3);
        print_message("relative output error: rounded %.4f, AWQ folded %.4f, stored %.4f\n", relative_error(rtn), relative_error(awq), relative_error(stored));
        assert_true(relative_error(awq) < 0.8 * relative_error(rtn) && relative_error(stored) < 0.8 * relative_error(rtn));
        assert_true(hd_lm_bits_per_weight(awq) == hd_lm_bits_per_weight(rtn) && hd_lm_bits_per_weight(stored) > hd_lm_bits_per_weight(rtn));
        assert_true(!awq->matrix[0].linear.in_scale && stored->matrix[0].linear.in_scale);
        hd_lm_free(rtn);
        hd_lm_free(awq);
        hd_lm_free(stored);
        hd_llama_free(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dynamic_codes),           cmocka_unit_test(static_scales_are_the_best), cmocka_unit_test(executors_agree),
        cmocka_unit_test(refusals),                cmocka_unit_test(folding_leaves_the_model),   cmocka_unit_test(scales_of_shared_heads),
        cmocka_unit_test(smoothing_beats_rounding), cmocka_unit_test(awq_beats_rounding),
    };
    return cmocka_run_group_tests_name("llama_ranges", tests, NULL, NULL);
}
