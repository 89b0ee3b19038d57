/* PV-Tuning: its steps on quadratic losses against enumeration and differences; whole runs on a small model. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../compiler/compress/lm_policy.h"
#include "../../sw/core/rng.h"
#include "../../sw/train/llama_train.h"
#include "../../sw/train/pv_internal.h"

enum { DIM = 8, HIDDEN = 12, LAYERS = 1, VOCAB = 12, T = 16, N = 8, PARTS = LAYERS * HD_LLAMA_MATRICES, MOST = HIDDEN * DIM };

static hd_llama *small_model(void) {
    hd_llama sizes = {.dim = DIM, .hidden = HIDDEN, .layers = LAYERS, .heads = 2, .kv_heads = 1, .vocab = VOCAB, .max_tokens = T}, *m;
    hd_err err = {0};
    hd_rng rng;
    hd_rng_seed(&rng, 6, 1);
    if (hd_llama_new(&m, &sizes, 1, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < VOCAB * DIM; i++) m->embedding[i] = hd_rng_normal(&rng);
    for (int i = 0; i < DIM; i++) m->norm_final[i] = m->layer[0].norm_attention[i] = m->layer[0].norm_ffn[i] = 1;
    for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
        int out, in;
        hd_llama_shape(m, k, &out, &in);
        for (int i = 0; i < out * in; i++) m->layer[0].matrix[k][i] = 0.6f * hd_rng_normal(&rng);
    }
    return m;
}

static void random_tokens(int16_t *rows, uint64_t seed) {
    hd_rng rng;
    hd_rng_seed(&rng, seed, 1);
    for (int i = 0; i < N * (T + 1); i++) rows[i] = (int16_t)hd_rng_below(&rng, VOCAB);
}

/* method NULL: integers of `bits` bits, rounded. */
static hd_lm *compressed(const hd_llama *m, const char *method, int bits, int group) {
    hd_policy p;
    hd_lm *c;
    hd_err err = {0};
    int16_t rows[N * (T + 1)];
    random_tokens(rows, 2);
    hd_policy_default(&p);
    p.base.bits = bits;
    if (!method && group) {
        p.base.granularity = HD_GRANULARITY_GROUP;
        p.base.group_size = group;
    }
    if (method && hd_recipe_parse(&p.base.recipe, method, &err)) fail_msg("%s", err.message);
    if (method) p.base.recipe.coding_group = group;
    if (hd_lm_compress_policy(&c, m, &p, rows, T + 1, N, T, NULL, &err)) fail_msg("%s", err.message);
    hd_policy_free(&p);
    return c;
}

/* Half of tr((W - target) H (W - target)^T) of every matrix, its gradient, and a bound on H's largest eigenvalue. */
typedef struct quadratic {
    float target[PARTS][MOST], gradient[PARTS][MOST];
    double h[PARTS][HIDDEN][HIDDEN], steepest[PARTS];
    const float *of[PARTS];
} quadratic;

static void make_quadratic(quadratic *q, const hd_llama *m) {
    hd_rng rng;
    hd_rng_seed(&rng, 17, 1);
    for (int k = 0; k < PARTS; k++) {
        int out, in;
        hd_llama_shape(m, k, &out, &in);
        double x[2 * HIDDEN][HIDDEN];
        memcpy(q->target[k], m->layer[0].matrix[k], (size_t)(out * in) * sizeof(float));
        for (int s = 0; s < 2 * HIDDEN; s++)
            for (int i = 0; i < in; i++) x[s][i] = (double)hd_rng_normal(&rng) + (i ? 0.6 * x[s][i - 1] : 0.0);
        q->steepest[k] = 0;
        for (int i = 0; i < in; i++) {
            double sum = 0;
            for (int j = 0; j < in; j++) {
                q->h[k][i][j] = 0;
                for (int s = 0; s < 2 * HIDDEN; s++) q->h[k][i][j] += x[s][i] * x[s][j] / (2 * HIDDEN);
                sum += fabs(q->h[k][i][j]);
            }
            q->steepest[k] = fmax(q->steepest[k], sum);
        }
        q->of[k] = q->gradient[k];
    }
}

static double row_loss(const quadratic *q, int k, const float *w, int row, int in, float *gradient) {
    double e[HIDDEN], loss = 0;
    for (int i = 0; i < in; i++) e[i] = (double)w[i] - (double)q->target[k][row * in + i];
    for (int i = 0; i < in; i++) {
        double g = 0;
        for (int j = 0; j < in; j++) g += q->h[k][i][j] * e[j];
        if (gradient) gradient[i] = (float)g;
        loss += 0.5 * g * e[i];
    }
    return loss;
}

static double loss_of(quadratic *q, const hd_pv *p) {
    double loss = 0;
    for (int k = 0; k < PARTS; k++)
        for (int r = 0; r < p->part[k].out; r++)
            loss += row_loss(q, k, p->part[k].m->linear.w + r * p->part[k].in, r, p->part[k].in, q->gradient[k] + r * p->part[k].in);
    return loss;
}

/* The least loss of all code sequences of a row (one book, at most 16 codes of 3 groups). */
static double best_of_row(const quadratic *q, const hd_pv *p, int k, int row) {
    const hd_pv_part *m = &p->part[k];
    const hd_codebook *c = m->table->c;
    int entries = 1 << c->bits, total = 1;
    double least = INFINITY;
    for (int g = 0; g < m->groups; g++) total *= entries;
    for (int all = 0; all < total; all++) {
        float w[HIDDEN + 8];
        for (int g = 0, rest = all; g < m->groups; g++, rest /= entries)
            for (int d = 0; d < c->group; d++) w[g * c->group + d] = (float)c->entry[rest % entries * c->group + d] * m->m->linear.scale[row];
        least = fmin(least, row_loss(q, k, w, row, m->in, NULL));
    }
    return least;
}

static hd_pv *opened(const hd_lm *c) {
    hd_pv *p;
    hd_err err = {0};
    if (hd_pv_new(&p, c, &err)) fail_msg("%s", err.message);
    return p;
}

/* Codes that say nothing: what a run starts from in these tests. */
static void scramble(hd_pv *p) {
    hd_rng rng;
    hd_rng_seed(&rng, 4, 1);
    for (int k = 0; k < p->parts; k++) {
        hd_pv_part *m = &p->part[k];
        for (int i = 0; m->table && i < m->out * m->groups * m->table->c->books; i++) m->m->code->code[i] = (uint16_t)hd_rng_below(&rng, 1u << m->table->c->bits);
        for (int i = 0; !m->table && i < m->out * m->in; i++) {
            int group = m->m->format.group, shift = m->m->linear.shift ? m->m->linear.shift[i / m->in * ((m->in + group - 1) / group) + i % m->in / group] : 0;
            m->m->linear.v[i] = (int16_t)((hd_rng_below(&rng, 2) ? m->highest : m->lowest) * (1 << shift));
        }
    }
    assert_int_equal(hd_pv_decode(p, NULL), HD_OK);
}

/* A buffer that collects small steps gets over what stops single ones: near the best of all codes. */
static void check_collecting(quadratic *q, hd_pv *p, size_t most) {
    double best = 0, least = INFINITY;
    for (int k = 0; k < PARTS; k++)
        for (int r = 0; r < p->part[k].out; r++) best += best_of_row(q, p, k, r);
    hd_pv_settle(p, 0);
    for (int round = 0; round < 600; round++) {
        for (int k = 0; k < PARTS; k++)
            for (int i = 0; i < p->part[k].out * p->part[k].in; i++) p->part[k].buffer[i] -= 0.1f * q->gradient[k][i] / (float)q->steepest[k];
        assert_true(hd_pv_move(p, most) >= 0);
        assert_int_equal(hd_pv_decode(p, NULL), HD_OK);
        least = fmin(least, loss_of(q, p));
    }
    if (!(least >= best * (1 - 1e-5) && least < 2.0 * best)) fail_msg("%zu at most: reaches %g, the best codes %g", most, least, best);
}

/* With the buffer one plain gradient step away, of a length that H allows, no choice of groups can raise a quadratic loss: each that moves gets nearer to
 * the minimum of a bound that touches the loss where the weights are. */
static void moves_never_raise_a_quadratic(void **state) {
    (void)state;
    static quadratic q;
    hd_llama *m = small_model();
    make_quadratic(&q, m);
    static const struct {
        const char *method;
        int bits, group;
    } start[] = {{"table:3", 0, 4}, {"additive:3", 0, 4}, {NULL, 2, 0}, {NULL, 2, 4}, {NULL, 0, 0}};
    for (size_t f = 0; f < sizeof start / sizeof *start; f++)
        for (size_t most = 1; most <= 1000; most *= 10) {
            hd_lm *c = compressed(m, start[f].method, start[f].bits, start[f].group);
            hd_pv *p = opened(c);
            double rounded = loss_of(&q, p);
            scramble(p);
            double first = loss_of(&q, p), now = first;
            long moved = 1;
            for (int round = 0; round < 400 && moved; round++) {
                for (int k = 0; k < PARTS; k++)
                    for (int i = 0; i < p->part[k].out * p->part[k].in; i++)
                        p->part[k].buffer[i] = p->part[k].m->linear.w[i] - q.gradient[k][i] / (float)q.steepest[k];
                moved = hd_pv_move(p, most);
                assert_true(moved >= 0 && moved <= (long)most);
                assert_int_equal(hd_pv_decode(p, NULL), HD_OK);
                double then = loss_of(&q, p);
                if (then > now * (1 + 1e-6)) fail_msg("start %zu, %zu at most: %g rises to %g", f, most, now, then);
                now = then;
            }
            if (!(now < 0.9 * first)) fail_msg("start %zu, %zu at most: from %g to %g only (rounded %g)", f, most, first, now, rounded);
            if (f == 0) check_collecting(&q, p, most);
            hd_pv_free(p);
            hd_lm_free(c);
        }
    hd_llama_free(m);
}

/* Each group that moves takes the nearest of all codes, and those that move gain the most. */
static void moves_are_the_best(void **state) {
    (void)state;
    hd_llama *m = small_model();
    hd_lm *c = compressed(m, "table:4", 0, 3); /* groups of 3 of 8 and 12 inputs: the last one of a row of 8 reaches past its end */
    hd_pv *p = opened(c);
    hd_rng rng;
    hd_rng_seed(&rng, 9, 1);
    for (int k = 0; k < PARTS; k++)
        for (int i = 0; i < p->part[k].out * p->part[k].in; i++) p->part[k].buffer[i] += 0.3f * hd_rng_normal(&rng);
    double gain[PARTS * MOST], least_moved = INFINITY, most_left = 0;
    size_t n = 0;
    enum { ALLOWED = 25 };
    uint16_t best[PARTS * MOST], before[PARTS * MOST];
    for (int k = 0; k < PARTS; k++)
        for (int g = 0; g < p->part[k].out * p->part[k].groups; g++, n++) {
            const hd_pv_part *x = &p->part[k];
            int row = g / x->groups, from = g % x->groups * 3;
            double distance[16];
            before[n] = x->m->code->code[g];
            for (int e = 0; e < 16; e++) {
                distance[e] = 0;
                for (int d = 0; d < 3 && from + d < x->in; d++) {
                    double unit = (double)x->m->linear.scale[row];
                    distance[e] += pow((double)x->buffer[row * x->in + from + d] / unit - x->table->c->entry[e * 3 + d], 2);
                }
                if (e == 0 || distance[e] < distance[best[n]]) best[n] = (uint16_t)e;
            }
            gain[n] = distance[before[n]] - distance[best[n]];
            /* A group that reaches past its end may differ in what nobody sees. */
            if (from + 3 > x->in) gain[n] = -1;
        }
    assert_int_equal(hd_pv_move(p, ALLOWED), ALLOWED);
    n = 0;
    int moved = 0;
    for (int k = 0; k < PARTS; k++)
        for (int g = 0; g < p->part[k].out * p->part[k].groups; g++, n++) {
            uint16_t now = p->part[k].m->code->code[g];
            if (gain[n] < 0) continue;
            if (now != before[n]) {
                assert_int_equal(now, best[n]);
                least_moved = fmin(least_moved, gain[n]);
                moved++;
            } else
                most_left = fmax(most_left, gain[n]);
        }
    assert_true(moved > 5 && least_moved >= most_left * (1 - 1e-4));
    hd_pv_free(p);
    hd_lm_free(c);
    hd_llama_free(m);
}

/* The first step of Adam goes against the sign of a value's gradient, whatever its size: compared with differences of the loss. */
static void values_follow_their_gradient(void **state) {
    (void)state;
    static quadratic q;
    hd_llama *m = small_model();
    make_quadratic(&q, m);
    hd_lm *c = compressed(m, "additive:2", 0, 4);
    hd_pv *p = opened(c);
    hd_codebook *t = p->c->table[0];
    int checked = 0;
    for (int i = 0; i < 2 * 4 * 4; i++) {
        double loss[2];
        int16_t was = t->entry[i];
        for (int side = 0; side < 2; side++) {
            t->entry[i] = (int16_t)(was + (side ? 1 : -1)); /* any integer decodes */
            assert_int_equal(hd_pv_decode(p, NULL), HD_OK);
            loss[side] = loss_of(&q, p);
        }
        t->entry[i] = was;
        assert_int_equal(hd_pv_decode(p, NULL), HD_OK);
        loss_of(&q, p);
        hd_pv *one = opened(p->c);
        one->steps = 1;
        hd_pv_value_step(one, q.of, 0.01, 0);
        float went = one->table[0].entries.value[i] - (float)was;
        if (fabs(loss[1] - loss[0]) > 1e-3) {
            assert_true((went < 0) == (loss[1] > loss[0]) && fabs(fabs((double)went) - 0.01 * one->table[0].rms) < 1e-4 * one->table[0].rms);
            checked++;
        }
        hd_pv_free(one);
    }
    assert_true(checked > 20);
    /* A step in the scales of integers: as many go the right way. */
    hd_lm *integers = compressed(m, NULL, 2, 0);
    hd_pv *s = opened(integers);
    for (int r = 0; r < s->part[0].out; r++) {
        float *scale = s->part[0].m->linear.scale, was = scale[r];
        double loss[2];
        for (int side = 0; side < 2; side++) {
            scale[r] = was * (side ? 1.001f : 0.999f);
            assert_int_equal(hd_pv_decode(s, NULL), HD_OK);
            loss[side] = loss_of(&q, s);
        }
        scale[r] = was;
        assert_int_equal(hd_pv_decode(s, NULL), HD_OK);
        loss_of(&q, s);
        hd_pv *one = opened(s->c);
        one->steps = 1;
        hd_pv_value_step(one, q.of, 0, 0.02);
        assert_true((one->part[0].m->linear.scale[r] < was) == (loss[1] > loss[0]));
        assert_true(one->part[0].m->linear.scale[r] == (float)hd_half((double)one->part[0].m->linear.scale[r]));
        hd_pv_free(one);
    }
    hd_pv_free(s);
    hd_lm_free(integers);
    hd_pv_free(p);
    hd_lm_free(c);
    hd_llama_free(m);
}

/* KL from the teacher on text that nobody trained on. */
static double divergence(const hd_llama *student, const hd_llama *teacher) {
    hd_llama_tape *tape;
    hd_llama_params at;
    hd_err err = {0};
    int16_t rows[N * (T + 1)];
    double loss = 0;
    const hd_llama_objective o = {.teacher = teacher, .share = 1, .temperature = 1};
    if (hd_llama_write(teacher, rows, N, T, 1, 777, &err) || hd_llama_params_new(&at, student, &err) || hd_llama_tape_new(&tape, student, N, T, 1, &err) ||
        hd_llama_gradient(tape, student, &at, rows, T + 1, N, &o, NULL, &loss, &err))
        fail_msg("%s", err.message);
    hd_llama_tape_free(tape);
    hd_llama_params_free(&at);
    return loss;
}

static void tuning_helps_and_keeps_the_format(void **state) {
    (void)state;
    hd_llama *m = small_model();
    int16_t rows[N * (T + 1)];
    random_tokens(rows, 5);
    static const struct {
        const char *method;
        int bits, group;
    } start[] = {{"table:4", 0, 4}, {"additive:3", 0, 8}, {NULL, 2, 0}, {NULL, 0, 0}};
    char path[64];
    snprintf(path, sizeof path, "/tmp/hd_pv_%ld.hlm", (long)getpid());
    for (size_t f = 0; f < sizeof start / sizeof *start; f++) {
        hd_lm *c = compressed(m, start[f].method, start[f].bits, start[f].group), *tuned, *still, *back;
        hd_err err = {0};
        hd_pv_report report;
        hd_pv_options o;
        hd_pv_defaults(&o);
        o.steps = 150;
        o.written = 16;
        o.moved = 0.05;
        float first[MOST] = {0};
        for (int threads = f ? 2 : 1; threads <= 2; threads++) {
            omp_set_num_threads(threads);
            if (hd_pv_tune(&tuned, m, c, rows, T + 1, N, T, &o, &report, &err)) fail_msg("%s", err.message);
            if (threads == 1) memcpy(first, tuned->model->layer[0].matrix[HD_LLAMA_W1], sizeof first);
            if (f == 0) assert_memory_equal(first, tuned->model->layer[0].matrix[HD_LLAMA_W1], sizeof first);
            if (threads == 1) hd_lm_free(tuned);
        }
        double before = divergence(c->model, m), after = divergence(tuned->model, m);
        if (!(after < 0.8 * before && report.last < report.first && report.moved > 0)) fail_msg("start %zu: KL %g, tuned %g", f, before, after);
        assert_true(hd_lm_bits_per_weight(tuned) == hd_lm_bits_per_weight(c));
        if (hd_lm_save(tuned, path, &err) || hd_lm_load(&back, path, &err)) fail_msg("%s", err.message);
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            assert_memory_equal(back->model->layer[0].matrix[k], tuned->model->layer[0].matrix[k], (size_t)(out * in) * sizeof(float));
        }
        /* Nothing that may move. */
        o.rate_entries = o.rate_norms = o.rate_scales = 0;
        o.moved = 0;
        o.steps = 2;
        if (hd_pv_tune(&still, m, c, rows, T + 1, N, T, &o, NULL, &err)) fail_msg("%s", err.message);
        assert_memory_equal(still->model->layer[0].matrix[HD_LLAMA_Q], c->model->layer[0].matrix[HD_LLAMA_Q], DIM * DIM * sizeof(float));
        hd_lm_free(still);
        hd_lm_free(back);
        hd_lm_free(tuned);
        hd_lm_free(c);
    }
    unlink(path);
    hd_llama_free(m);
}

static void refusals(void **state) {
    (void)state;
    hd_llama *m = small_model();
    int16_t rows[N * (T + 1)];
    random_tokens(rows, 5);
    static const struct {
        const char *method, *message;
    } wrong[] = {{"trellis:4", "layer0.q: codes of a trellis are not tuned; integers and tables are"}, {"e8p", "layer0.q: codes of E8P are not tuned; integers and tables are"}};
    hd_pv_options o;
    hd_pv_defaults(&o);
    for (size_t i = 0; i < 2; i++) {
        hd_lm *c = compressed(m, wrong[i].method, 0, 0), *out;
        hd_err err = {0};
        assert_int_equal(hd_pv_tune(&out, m, c, rows, T + 1, N, T, &o, NULL, &err), HD_UNSUPPORTED);
        assert_string_equal(err.message, wrong[i].message);
        assert_null(out);
        hd_lm_free(c);
    }
    hd_lm *c = compressed(m, NULL, 2, 0), *out;
    hd_err err = {0};
    o.written = 0;
    assert_int_equal(hd_pv_tune(&out, m, c, rows, T + 1, 0, T, &o, NULL, &err), HD_RANGE);
    assert_string_equal(err.message, "0 rows of text and 0 to be written; at least 1 of either");
    assert_int_equal(hd_pv_tune(&out, m, c, rows, T + 1, N, T + 1, &o, NULL, &err), HD_RANGE);
    assert_string_equal(err.message, "rows of 17 tokens; allowed 1 to 16");
    o.moved = 1.5;
    assert_int_equal(hd_pv_tune(&out, m, c, rows, T + 1, N, T, &o, NULL, &err), HD_RANGE);
    assert_string_equal(err.message, "share of groups that may move: 1.5; allowed 0 to 1");
    o.moved = 1;
    o.keep = -0.5;
    assert_int_equal(hd_pv_tune(&out, m, c, rows, T + 1, N, T, &o, NULL, &err), HD_RANGE);
    assert_string_equal(err.message, "share of the buffer that is kept: -0.5; allowed 0 to 1");
    o.keep = 0;
    o.batch = 0;
    o.steps = 5;
    assert_int_equal(hd_pv_tune(&out, m, c, rows, T + 1, N, T, &o, NULL, &err), HD_RANGE);
    assert_string_equal(err.message, "5 steps of 0 rows; at least 1 of 1");
    m->max_tokens--;
    assert_int_equal(hd_pv_tune(&out, m, c, rows, T + 1, N, T, &o, NULL, &err), HD_MISMATCH);
    assert_string_equal(err.message, "the teacher's sizes are not those of the compressed model");
    m->max_tokens++;
    hd_lm_free(c);
    hd_llama_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(moves_never_raise_a_quadratic), cmocka_unit_test(moves_are_the_best), cmocka_unit_test(values_follow_their_gradient),
                                       cmocka_unit_test(tuning_helps_and_keeps_the_format), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
