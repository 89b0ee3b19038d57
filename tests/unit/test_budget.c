/* Budgets over layers, rounds of pruning, hidden units of language models: against brute force, and by what they promise. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../compiler/compress/budget.h"
#include "../../compiler/compress/compress_internal.h"
#include "../../compiler/compress/lm_policy.h"
#include "../../sw/core/rng.h"
#include "../support/layer_problem.h"

enum { DIM = 8, HIDDEN = 20, LAYERS = 2, VOCAB = 13, N = 6, T = 30 };

/* ---- sharing ---- */

/* Three layers of convex costs and items of unequal size: no other split of the same budget costs less. */
static void sharing_is_optimal(void **state) {
    (void)state;
    hd_rng rng;
    hd_rng_seed(&rng, 3, 1);
    for (int round = 0; round < 20; round++) {
        double cost[3][8];
        hd_budget_layer l[3];
        for (int i = 0; i < 3; i++) {
            double now = 0;
            for (int j = 0; j < 8; j++) cost[i][j] = now += (double)hd_rng_float(&rng);
            l[i] = (hd_budget_layer){.name = "x", .cost = cost[i], .n = 8, .items = 8, .weights = 5, .start = 0.5, .loss = 0.1 + (double)hd_rng_float(&rng)};
        }
        assert_true(hd_budget_share(l, 3));
        double least = INFINITY, own = 0, factor[3];
        int gone = 0;
        for (int i = 0; i < 3; i++) {
            double half = 0;
            for (int j = 0; j < 4; j++) half += cost[i][j];
            factor[i] = l[i].loss / half;
            int k = (int)(l[i].sparsity * 8 + 0.5);
            gone += k;
            for (int j = 0; j < k; j++) own += factor[i] * cost[i][j];
        }
        assert_int_equal(gone, 12);
        for (int a = 0; a < 8; a++)
            for (int b = 0; b < 8; b++) {
                int c = 12 - a - b;
                if (c < 0 || c > 7) continue;
                double sum = 0;
                for (int j = 0; j < a; j++) sum += factor[0] * cost[0][j];
                for (int j = 0; j < b; j++) sum += factor[1] * cost[1][j];
                for (int j = 0; j < c; j++) sum += factor[2] * cost[2][j];
                least = fmin(least, sum);
            }
        assert_true(own <= least * (1 + 1e-9));
    }
}

/* The costs of elimination add up to the error of what is left, at every depth: removals of a single row, one after the other. */
static void costs_add_up_to_the_error(void **state) {
    (void)state;
    enum { IN = 14 };
    layer_problem l = layer_problem_new(1, IN, 12);
    hd_linear_format f = {.bits = 16, .sparsity = HD_SPARSE_UNSTRUCTURED, .density = 0.5f};
    double *cost, sum = 0;
    size_t n, items;
    hd_err err = {0};
    for (int i = 0; i < IN; i++) l.h[i * IN + i] *= 1.05; /* so that the tiny damping of the reference does not matter */
    if (hd_linear_costs(&cost, &n, &items, &l.p, &f, &err)) fail_msg("%s", err.message);
    assert_int_equal(items, IN);
    assert_int_equal(n, IN);
    /* All of it gone: the costs (whose order counts a removal as the dearest before it) are at least the whole error with damping. */
    double mean = 0, whole = layer_error(l.w, NULL, l.h, 1, IN);
    for (int i = 0; i < IN; i++) mean += l.h[i * IN + i] / IN;
    for (int i = 0; i < IN; i++) whole += 0.01 * mean * (double)(l.w[i] * l.w[i]);
    for (size_t i = 0; i < n; i++) {
        assert_true(!i || cost[i] >= cost[i - 1]);
        sum += cost[i];
    }
    assert_true(sum >= whole * (1 - 1e-6) && sum < 1.5 * whole);
    /* The first is the cheapest single removal: w^2 / [H^-1]_jj, here by solving for it. */
    double least = INFINITY;
    for (int out = 0; out < IN; out++) {
        double a[IN * IN], b[IN];
        int k = 0;
        for (int i = 0; i < IN; i++) {
            if (i == out) continue;
            int c = 0;
            for (int j = 0; j < IN; j++)
                if (j != out) a[k * (IN - 1) + c++] = l.h[i * IN + j] + (i == j ? 0.01 * mean : 0);
            b[k++] = (l.h[i * IN + out]) * (double)l.w[out];
        }
        assert_true(layer_dense_solve(a, b, IN - 1));
        /* w_out^2 (H_oo - h_o H_SS^-1 h_o) */
        double e = (l.h[out * IN + out] + 0.01 * mean) * (double)(l.w[out] * l.w[out]);
        k = 0;
        for (int i = 0; i < IN; i++)
            if (i != out) e -= l.h[out * IN + i] * (double)l.w[out] * b[k++];
        least = fmin(least, e);
    }
    assert_true(fabs(cost[0] / least - 1) < 1e-6);
    free(cost);
    layer_problem_free(&l);
}

/* ---- language models ---- */

/* Layer 1 hardly counts: its outputs are a hundredth. */
static hd_llama *small_model(void) {
    hd_llama sizes = {.dim = DIM, .hidden = HIDDEN, .layers = LAYERS, .heads = 2, .kv_heads = 1, .vocab = VOCAB, .max_tokens = T}, *m;
    hd_err err = {0};
    hd_rng rng;
    hd_rng_seed(&rng, 4, 1);
    if (hd_llama_new(&m, &sizes, 1, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < VOCAB * DIM; i++) m->embedding[i] = hd_rng_normal(&rng);
    for (int i = 0; i < DIM; i++) m->norm_final[i] = 1;
    for (int l = 0; l < LAYERS; l++) {
        for (int i = 0; i < DIM; i++) m->layer[l].norm_attention[i] = m->layer[l].norm_ffn[i] = 1;
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            float level = l && (k == HD_LLAMA_O || k == HD_LLAMA_W2) ? 0.004f : 0.4f;
            for (int i = 0; i < out * in; i++) m->layer[l].matrix[k][i] = level * hd_rng_normal(&rng);
        }
    }
    return m;
}

/* Greedy text of the model itself, so that its predictions mean something. */
static void own_text(int16_t *tokens, const hd_llama *m) {
    hd_rng rng;
    hd_rng_seed(&rng, 5, 1);
    for (int i = 0; i < N; i++) {
        hd_llama_state *s;
        assert_int_equal(hd_llama_state_new(&s, m, NULL), HD_OK);
        int token = (int)hd_rng_below(&rng, VOCAB);
        for (int t = 0; t < T; t++) {
            tokens[i * T + t] = (int16_t)token;
            token = hd_llama_sample(hd_llama_step(s, token, t), VOCAB, 0.8, 1, &rng);
        }
        hd_llama_state_free(s);
    }
}

static hd_policy sparse_policy(float sparsity, hd_sparsity structure) {
    hd_policy p;
    hd_policy_default(&p);
    p.base.bits = 16;
    p.base.sparsity = sparsity;
    p.base.structure = structure;
    p.base.recipe.solver = HD_METHOD_SPARSEGPT;
    return p;
}

static hd_lm *compressed(const hd_llama *m, const hd_policy *p, const int16_t *tokens) {
    hd_lm *c;
    hd_err err = {0};
    if (hd_lm_compress_policy(&c, m, p, tokens, T, N, T - 1, NULL, &err)) fail_msg("%s", err.message);
    return c;
}

static size_t kept_of(const hd_lm *c, int layer) {
    size_t kept = 0;
    for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
        int out, in;
        hd_llama_shape(c->model, k, &out, &in);
        for (int i = 0; i < out * in; i++) kept += c->matrix[layer * HD_LLAMA_MATRICES + k].linear.mask[i];
    }
    return kept;
}

static void global_budget_spares_what_counts(void **state) {
    (void)state;
    hd_llama *m = small_model();
    int16_t tokens[N * T];
    own_text(tokens, m);
    hd_policy local = sparse_policy(0.5f, HD_SPARSE_UNSTRUCTURED), global = local;
    global.budget = HD_BUDGET_GLOBAL;
    hd_lm *a = compressed(m, &local, tokens), *b = compressed(m, &global, tokens);
    size_t all = hd_llama_block_weights(m), first[2] = {kept_of(a, 0), kept_of(b, 0)}, second[2] = {kept_of(a, 1), kept_of(b, 1)};
    print_message("kept of %zu: local %zu and %zu, global %zu and %zu\n", all, first[0], second[0], first[1], second[1]);
    assert_true(first[0] + second[0] == all / 2 && llabs((long long)(first[1] + second[1]) - (long long)(all / 2)) <= LAYERS * HD_LLAMA_MATRICES);
    assert_true(first[1] > first[0] + all / 20);
    double before, with[2];
    assert_int_equal(hd_llama_cross_entropy(m, tokens, N, T - 1, &before, NULL), HD_OK);
    assert_int_equal(hd_llama_cross_entropy(a->model, tokens, N, T - 1, &with[0], NULL), HD_OK);
    assert_int_equal(hd_llama_cross_entropy(b->model, tokens, N, T - 1, &with[1], NULL), HD_OK);
    print_message("cross-entropy: %.3f, local %.3f, global %.3f\n", before, with[0], with[1]);
    assert_true(with[1] < with[0]);
    hd_lm_free(a);
    hd_lm_free(b);
    global.base.structure = HD_SPARSE_N_OF_M;
    global.base.n = 2;
    global.base.m = 4;
    hd_err err = {0};
    assert_int_equal(hd_lm_compress_policy(&a, m, &global, tokens, T, N, T - 1, NULL, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "policy, layer 'layer0.q': budget 'global' with N of M, which fixes every layer's share; it goes with 'block' and 'unstructured'");
    hd_llama_free(m);
}

/* The sparsities of the rounds, and that what one takes the next does not bring back. */
static void rounds_only_take(void **state) {
    (void)state;
    assert_true(hd_round_sparsity(0.75f, 1, 2) == 0.5f && hd_round_sparsity(0.75f, 2, 2) == 0.75f);
    hd_llama *m = small_model();
    int16_t tokens[N * T];
    own_text(tokens, m);
    hd_policy half = sparse_policy(0.5f, HD_SPARSE_UNSTRUCTURED), twice = sparse_policy(0.75f, HD_SPARSE_UNSTRUCTURED), once = twice;
    twice.rounds = 2;
    hd_lm *a = compressed(m, &half, tokens), *b = compressed(m, &twice, tokens), *c = compressed(m, &once, tokens);
    int differs = 0;
    for (int i = 0; i < LAYERS * HD_LLAMA_MATRICES; i++) {
        int out, in;
        hd_llama_shape(m, i % HD_LLAMA_MATRICES, &out, &in);
        int kept = 0;
        for (int k = 0; k < out * in; k++) {
            assert_true(!b->matrix[i].linear.mask[k] || a->matrix[i].linear.mask[k]);
            kept += b->matrix[i].linear.mask[k];
            differs += b->matrix[i].linear.mask[k] != c->matrix[i].linear.mask[k];
        }
        assert_int_equal(kept, out * in / 4);
    }
    assert_true(differs > 0);
    hd_lm_free(a);
    hd_lm_free(b);
    hd_lm_free(c);
    hd_llama_free(m);
}

/* Hidden units that do nothing leave first, and nothing is lost with them. */
static void idle_hidden_units_leave(void **state) {
    (void)state;
    hd_llama *m = small_model();
    int16_t tokens[N * T];
    double before, after;
    for (int l = 0; l < LAYERS; l++)
        for (int j = 0; j < HIDDEN; j++)
            for (int i = 0; j % 2 == l && i < DIM; i++) m->layer[l].matrix[HD_LLAMA_W2][i * HIDDEN + j] *= 1e-4f;
    own_text(tokens, m);
    hd_policy p = sparse_policy(0.5f, HD_SPARSE_CHANNEL);
    p.base.bits = 8;
    hd_lm *c = compressed(m, &p, tokens);
    assert_int_equal(c->model->hidden, HIDDEN / 2);
    assert_int_equal(hd_llama_cross_entropy(m, tokens, N, T - 1, &before, NULL), HD_OK);
    assert_int_equal(hd_llama_cross_entropy(c->model, tokens, N, T - 1, &after, NULL), HD_OK);
    print_message("cross-entropy: %.4f, without the idle half %.4f\n", before, after);
    assert_true(fabs(after - before) < 0.02);
    hd_lm_free(c);
    struct hd_policy_rule rule = {(char *)"layer1.*", p.base};
    rule.policy.sparsity = 0.25f;
    p.rule = &rule;
    p.n_rules = 1;
    hd_err err = {0};
    assert_int_equal(hd_lm_compress_policy(&c, m, &p, tokens, T, N, T - 1, NULL, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "policy, layer 'layer1.w1': share of channels 0.25 where others have 0.5; a model has one hidden size");
    hd_llama_free(m);
}

/* Blockwise solving shows every matrix of the first block the float model's inputs. */
typedef struct seen {
    double h[HD_LLAMA_MATRICES][HIDDEN * HIDDEN];
} seen;

static hd_status coarse(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    seen *s = arg;
    (void)err;
    if (!layer) memcpy(s->h[matrix], p->h, (size_t)(p->in * p->in) * sizeof(double));
    out->linear.w = malloc((size_t)(p->out * p->in) * sizeof(float));
    for (int i = 0; i < p->out * p->in; i++) out->linear.w[i] = 0.5f * nearbyintf(p->w[i] / 0.5f);
    return HD_OK;
}

static hd_status exact(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    hd_status s = coarse(arg, layer, matrix, p, out, err);
    memcpy(out->linear.w, p->w, (size_t)(p->out * p->in) * sizeof(float));
    return s;
}

static void blockwise_sees_the_float_block(void **state) {
    (void)state;
    hd_llama *m = small_model();
    int16_t tokens[N * T];
    own_text(tokens, m);
    seen *s = calloc(3, sizeof *s);
    for (int k = 0; k < 3; k++) {
        hd_lm *c;
        hd_lm_options o = {.solve = k == 2 ? exact : coarse, .arg = &s[k], .blockwise = k == 0};
        assert_int_equal(hd_lm_compress(&c, m, tokens, T, N, T - 1, &o, NULL), HD_OK);
        if (k == 0) assert_memory_equal(c->model->layer[0].matrix[HD_LLAMA_O], c->matrix[HD_LLAMA_O].linear.w, DIM * DIM * sizeof(float));
        hd_lm_free(c);
    }
    for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
        int out, in;
        hd_llama_shape(m, k, &out, &in);
        assert_memory_equal(s[0].h[k], s[2].h[k], (size_t)(in * in) * sizeof(double));
        int first = k == HD_LLAMA_Q || k == HD_LLAMA_K || k == HD_LLAMA_V;
        assert_true(first == !memcmp(s[1].h[k], s[2].h[k], (size_t)(in * in) * sizeof(double)));
    }
    free(s);
    hd_llama_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sharing_is_optimal), cmocka_unit_test(costs_add_up_to_the_error), cmocka_unit_test(global_budget_spares_what_counts),
        cmocka_unit_test(rounds_only_take), cmocka_unit_test(idle_hidden_units_leave), cmocka_unit_test(blockwise_sees_the_float_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
