/* Automatic policies: the search on made-up losses whose best is known, and on small networks and a small language model against every uniform
 * policy, measured here by plain loops; budgets as the saved model and the reference device count them; policies to files and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../compiler/compress/auto_lm.h"
#include "../../compiler/compress/lm_policy.h"
#include "../../compiler/compress/passes.h"
#include "../../sw/core/file.h"
#include "../../sw/core/rng.h"
#include "../../sw/explore/auto_network.h"
#include "../../sw/explore/measure.h"

/* ---- the search itself ---- */

enum { LAYERS = 4, FORMATS = 6 };

/* Losses and costs of made-up layers; `mixed` is added where neighbours have different formats. */
typedef struct made_up {
    double loss[LAYERS][FORMATS], mixed;
    uint64_t cost[LAYERS][FORMATS], fixed;
    int networks;
} made_up;

static double made_up_loss(const made_up *m, const int *pick, uint64_t *cost) {
    double loss = 0.01;
    *cost = m->fixed;
    for (int l = 0; l < LAYERS; l++) {
        loss += m->loss[l][pick[l]] + (l && pick[l] != pick[l - 1] ? m->mixed : 0);
        *cost += m->cost[l][pick[l]];
    }
    return loss;
}

static hd_status made_up_alone(void *arg, int layer, int format, hd_choice *out, hd_err *err) {
    const made_up *m = arg;
    (void)err;
    *out = (hd_choice){0};
    if (layer >= 0) *out = (hd_choice){m->loss[layer][format] - m->loss[layer][0], {m->cost[layer][format], 0}};
    else
        for (int l = 0; l < LAYERS; l++) out->cost[0] += m->cost[l][0] + (l ? 0 : m->fixed);
    return HD_OK;
}

static hd_status made_up_whole(void *arg, const int *pick, hd_choice *out, hd_err *err) {
    made_up *m = arg;
    (void)err;
    m->networks++;
    out->cost[1] = 0;
    out->loss = made_up_loss(m, pick, &out->cost[0]);
    return HD_OK;
}

static void made_up_new(made_up *m, hd_rng *rng, double mixed) {
    *m = (made_up){.mixed = mixed, .fixed = 50};
    for (int l = 0; l < LAYERS; l++)
        for (int f = 0; f < FORMATS; f++) {
            m->cost[l][f] = 100 + (uint64_t)(FORMATS - f) * 20 * (uint64_t)(l + 1) + hd_rng_below(rng, 30);
            m->loss[l][f] = 0.1 * f * (double)hd_rng_float(rng);
        }
}

static double best_of_all(const made_up *m, uint64_t budget) {
    double best = INFINITY;
    for (int n = 0; n < FORMATS * FORMATS * FORMATS * FORMATS; n++) {
        int pick[LAYERS];
        uint64_t cost;
        for (int l = 0, rest = n; l < LAYERS; l++, rest /= FORMATS) pick[l] = rest % FORMATS;
        double loss = made_up_loss(m, pick, &cost);
        if (cost <= budget && loss < best) best = loss;
    }
    return best;
}

static hd_auto_problem made_up_problem(made_up *m, uint64_t budget) {
    static const char *const names[LAYERS] = {"a", "b", "c", "d"};
    static hd_auto_format format[FORMATS];
    for (int f = 0; f < FORMATS; f++) format[f] = (hd_auto_format){{.bits = 8 - f, .grid = -1}, -1};
    return (hd_auto_problem){.layers = LAYERS, .formats = FORMATS, .layer = names, .format = format, .budget = {budget, HD_NO_BUDGET}, .refinements = 30,
                             .alone = made_up_alone, .whole = made_up_whole, .arg = m};
}

/* Losses that add up: the knapsack finds the best of all combinations. Losses that do not: never worse than the best uniform choice, and the swaps
 * come closer to the best of all than the knapsack alone. */
static void search_on_known_losses(void **state) {
    (void)state;
    hd_rng rng;
    double gap[2] = {0, 0};
    int beaten = 0;
    hd_rng_seed(&rng, 4, 1);
    for (int i = 0; i < 60; i++) {
        made_up m;
        hd_err err = {0};
        hd_auto_result *r;
        made_up_new(&m, &rng, i % 2 ? 0.05 : 0);
        hd_auto_problem p = made_up_problem(&m, 800 + 20 * (uint64_t)(i % 30));
        double best = best_of_all(&m, p.budget[0]), uniform = INFINITY;
        for (int f = 0; f < FORMATS; f++) {
            uint64_t cost;
            double loss = made_up_loss(&m, (int[]){f, f, f, f}, &cost);
            if (cost <= p.budget[0]) uniform = fmin(uniform, loss);
        }
        for (int swaps = 0; swaps < 2; swaps++) {
            p.refinements = swaps ? 30 : 0;
            hd_status s = hd_auto_search(&r, &p, &err);
            if (!isfinite(best)) {
                assert_int_equal(s, HD_NOFIT);
                continue;
            }
            if (s) fail_msg("%s", err.message);
            uint64_t cost;
            assert_true(fabs(made_up_loss(&m, r->pick, &cost) - r->chosen.loss) < 1e-12 && cost == r->chosen.cost[0] && cost <= p.budget[0]);
            assert_true(r->chosen.loss <= uniform);
            if (i % 2 == 0) assert_true(r->chosen.loss < best + 1e-9);
            else gap[swaps] += r->chosen.loss - best;
            beaten += r->chosen.loss < uniform;
            hd_auto_free(r);
        }
    }
    assert_true(beaten > 50);
    if (!(gap[1] < 0.5 * gap[0])) fail_msg("from the best of all: %g with swaps, %g without", gap[1], gap[0]);
}

static void too_small_a_budget(void **state) {
    (void)state;
    hd_rng rng;
    made_up m;
    hd_err err = {0};
    hd_auto_result *r;
    char want[128];
    uint64_t least = 50;
    hd_rng_seed(&rng, 5, 1);
    made_up_new(&m, &rng, 0);
    for (int l = 0; l < LAYERS; l++) {
        uint64_t lowest = UINT64_MAX;
        for (int f = 0; f < FORMATS; f++)
            if (m.cost[l][f] < lowest) lowest = m.cost[l][f];
        least += lowest;
    }
    hd_auto_problem p = made_up_problem(&m, least - 1);
    assert_int_equal(hd_auto_search(&r, &p, &err), HD_NOFIT);
    snprintf(want, sizeof want, "no policy is within the budget: budget %d bytes, smallest reachable %d", (int)least - 1, (int)least);
    assert_string_equal(err.message, want);
    p.budget[0] = least;
    assert_int_equal(hd_auto_search(&r, &p, &err), HD_OK);
    assert_int_equal(r->chosen.cost[0], least);
    hd_auto_free(r);
}

/* ---- networks ---- */

static hd_node *node(hd_graph *g, hd_op op, const char *name, int x, hd_shape out) {
    int y = hd_graph_add_tensor(g, name, out), i = hd_graph_add_node(g, op, name);
    hd_node *n = &g->node[i];
    n->input[0] = x;
    n->output = g->output = y;
    return n;
}

static int layer(hd_graph *g, hd_rng *rng, hd_op op, const char *name, int x, int cout, int kernel, int stride) {
    hd_shape s = g->tensor[x].shape, out = op == HD_OP_FC ? (hd_shape){cout, 1, 1} : (hd_shape){cout, (s.h - 1) / stride + 1, (s.w - 1) / stride + 1};
    hd_node *n = node(g, op, name, x, out);
    n->cin = op == HD_OP_FC ? (int)hd_shape_size(s) : s.c;
    n->cout = cout;
    n->kh = n->kw = kernel;
    n->sy = n->sx = stride;
    n->pad_top = n->pad_left = n->pad_bottom = n->pad_right = kernel / 2;
    size_t inputs = (size_t)n->cin * (size_t)(kernel * kernel), count = inputs * (size_t)cout;
    n->weight = malloc(count * sizeof(float));
    n->bias = calloc((size_t)cout, sizeof(float));
    assert_true(n->weight && n->bias);
    for (size_t i = 0; i < count; i++) n->weight[i] = sqrtf(2.0f / (float)inputs) * hd_rng_normal(rng);
    return n->output;
}

/* Layers that differ in how much they bear: a small first and last one, a large one in the middle. */
static hd_graph *small_network(void) {
    hd_rng rng;
    hd_rng_seed(&rng, 6, 1);
    hd_graph *g = hd_graph_new("small");
    g->input = hd_graph_add_tensor(g, "input", (hd_shape){2, 8, 8});
    int x = layer(g, &rng, HD_OP_CONV2D, "conv1", g->input, 8, 3, 1);
    hd_node *relu = node(g, HD_OP_CLIP, "relu1", x, g->tensor[x].shape);
    relu->lo = 0;
    relu->hi = INFINITY;
    x = layer(g, &rng, HD_OP_CONV2D, "conv2", relu->output, 12, 3, 2);
    relu = node(g, HD_OP_CLIP, "relu2", x, g->tensor[x].shape);
    relu->lo = 0;
    relu->hi = INFINITY;
    layer(g, &rng, HD_OP_FC, "fc", relu->output, 6, 1, 1);
    return g;
}

enum { CALIBRATED = 16, JUDGED = 24 };

static hd_idx *images(void) {
    hd_rng rng;
    hd_rng_seed(&rng, 7, 1);
    hd_idx *x = calloc(1, sizeof *x);
    *x = (hd_idx){.type = HD_IDX_U8, .rank = 2, .dim = {CALIBRATED + JUDGED, 128}, .item = 128};
    uint8_t *data = x->data = malloc((CALIBRATED + JUDGED) * 128);
    for (int i = 0; i < (CALIBRATED + JUDGED) * 128; i++) data[i] = (uint8_t)(hd_rng_below(&rng, 256) * hd_rng_below(&rng, 2));
    return x;
}

/* Mean of sum p log(p/q) over the judged items, by a textbook loop. */
static double divergence(const hd_graph *g, const hd_model *m, const hd_idx *x) {
    hd_err err = {0};
    hd_exec *f;
    hd_integer *e;
    double sum = 0;
    const hd_qtensor *to = &m->tensor[m->output];
    assert_int_equal(hd_exec_new(&f, g, &err), HD_OK);
    assert_int_equal(hd_integer_new(&e, m, &err), HD_OK);
    for (uint32_t i = CALIBRATED; i < CALIBRATED + JUDGED; i++) {
        float image[128];
        int8_t codes[128];
        double p[6], q[6], sp = 0, sq = 0;
        hd_idx_item(x, i, 1, image);
        hd_quantize_input(&m->tensor[m->input], image, codes);
        hd_exec_run(f, image);
        hd_integer_run(e, codes);
        for (int c = 0; c < 6; c++) {
            sp += p[c] = exp((double)hd_exec_tensor(f, g->output)[c]);
            sq += q[c] = exp((double)to->scale * (hd_integer_tensor(e, m->output)[c] - to->zero));
        }
        for (int c = 0; c < 6; c++) sum += p[c] / sp * log(p[c] / sp / (q[c] / sq));
    }
    hd_exec_free(f);
    hd_integer_free(e);
    return sum / JUDGED;
}

static uint64_t device_cycles(const hd_model *m, const hd_geometry *geometry) {
    hd_program *p;
    hd_cost *cost;
    hd_err err = {0};
    if (hd_lower(&p, m, geometry, NULL, &err)) fail_msg("%s", err.message);
    if (hd_cost_measure(&cost, p, &hd_driver_ref, &(hd_device_options){0}, &err)) fail_msg("%s", err.message);
    uint64_t cycles = cost->cycles, total;
    assert_int_equal(hd_program_cycles(p, &total, NULL, &err), HD_OK);
    assert_int_equal(total, cycles);
    hd_cost_free(cost);
    hd_program_free(p);
    return cycles;
}

static hd_model *compressed(const hd_graph *g, const hd_policy *policy, const hd_idx *x) {
    hd_model *m;
    hd_err err = {0};
    if (hd_compress(&m, g, policy, x, CALIBRATED, 1, &err)) fail_msg("%s", err.message);
    return m;
}

static void same_model(const hd_model *a, const hd_model *b) {
    const hd_model *m[2] = {a, b};
    uint8_t *file[2];
    size_t size[2];
    hd_err err = {0};
    for (int i = 0; i < 2; i++) {
        char path[64];
        snprintf(path, sizeof path, "/tmp/hd_auto_%d_%d.hdm", (int)getpid(), i);
        assert_int_equal(hd_model_save(m[i], path, &err), HD_OK);
        assert_int_equal(hd_file_read(&file[i], &size[i], path, 1 << 24, 0, &err), HD_OK);
        remove(path);
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(file[0], file[1], size[0]);
    free(file[0]);
    free(file[1]);
}

static hd_auto_network_options options(const hd_geometry *geometry) {
    hd_policy base;
    hd_policy_default(&base);
    hd_auto_network_options o = {.budget = {HD_NO_BUDGET, HD_NO_BUDGET}, .geometry = geometry, .base = base.base, .judged = JUDGED, .refinements = 4};
    o.base.block_in = 4;
    return o;
}

static void never_worse_than_uniform(void **state) {
    (void)state;
    hd_err err = {0};
    hd_graph *g = small_network();
    hd_idx *x = images();
    hd_geometry geometry;
    assert_int_equal(hd_geometry_parse(&geometry, "2x4x4x2", &err), HD_OK);
    /* Both budgets with all candidates; bytes alone and cycles alone by rounding only. */
    static const struct { uint64_t bytes, cycles; } budgets[] = {{1000, 1600}, {900, HD_NO_BUDGET}, {HD_NO_BUDGET, 1400}};
    hd_choice uniform[128] = {{0}};
    int better = 0, compared = 0;
    for (size_t b = 0; b < sizeof budgets / sizeof *budgets; b++) {
        hd_auto_network_options o = options(&geometry);
        hd_auto_network *a;
        o.budget[HD_AUTO_BYTES] = budgets[b].bytes;
        o.method_given = o.grid_given = b > 0;
        o.base.grid = HD_GRID_ODD;
        o.budget[HD_AUTO_CYCLES] = budgets[b].cycles;
        if (hd_auto_network_run(&a, g, x, CALIBRATED, 1, &o, &err)) fail_msg("%s", err.message);
        assert_true(a->held_out && a->judged == JUDGED && a->loss == HD_AUTO_DIVERGENCE);
        assert_int_equal(a->bytes, hd_model_weight_bytes(a->model));
        assert_int_equal(a->cycles, device_cycles(a->model, &geometry));
        assert_true(a->bytes <= budgets[b].bytes && a->cycles <= budgets[b].cycles);
        double loss = divergence(g, a->model, x), best = INFINITY;
        assert_true(fabs(loss - a->result->chosen.loss) < 1e-9);
        for (int f = 0; f < a->problem.formats; f++) {
            hd_policy p = {.base = a->problem.format[f].policy};
            if (b < 2) {
                hd_model *m = compressed(g, &p, x);
                uniform[f] = (hd_choice){divergence(g, m, x), {hd_model_weight_bytes(m), device_cycles(m, &geometry)}};
                hd_model_free(m);
            }
            if (uniform[f].cost[0] > budgets[b].bytes || uniform[f].cost[1] > budgets[b].cycles) continue;
            best = fmin(best, uniform[f].loss);
            compared++;
        }
        assert_true(loss <= best + 1e-9);
        better += loss < 0.95 * best;
        /* The file of the policy makes the same model. */
        char path[64];
        hd_policy loaded;
        snprintf(path, sizeof path, "/tmp/hd_auto_%d.json", (int)getpid());
        assert_int_equal(hd_policy_save(&a->policy, path, &err), HD_OK);
        if (hd_policy_load(&loaded, path, &err)) fail_msg("%s", err.message);
        remove(path);
        hd_model *again = compressed(g, &loaded, x);
        same_model(a->model, again);
        hd_model_free(again);
        hd_policy_free(&loaded);
        hd_auto_network_free(a);
    }
    assert_true(compared > 10);
    assert_true(better >= 2); /* else uniform policies would do */
    hd_idx_free(x);
    hd_graph_free(g);
}

static void network_errors(void **state) {
    (void)state;
    hd_err err = {0};
    hd_graph *g = small_network();
    hd_idx *x = images();
    hd_auto_network *a;
    hd_auto_network_options o = options(NULL);
    o.budget[HD_AUTO_CYCLES] = 1000;
    assert_int_equal(hd_auto_network_run(&a, g, x, CALIBRATED, 1, &o, &err), HD_RANGE);
    assert_string_equal(err.message, "automatic policy: a budget of cycles needs a geometry");
    o.budget[HD_AUTO_CYCLES] = HD_NO_BUDGET;
    assert_int_equal(hd_auto_network_run(&a, g, x, 0, 1, &o, &err), HD_RANGE);
    assert_string_equal(err.message, "automatic policy: 0 calibration items wanted of 40; at least 1");
    int judged = o.judged;
    o.judged = 0;
    assert_int_equal(hd_auto_network_run(&a, g, x, CALIBRATED, 1, &o, &err), HD_RANGE);
    assert_string_equal(err.message, "automatic policy: 0 judged items; at least 1");
    o.judged = judged;
    hd_auto_result *none;
    assert_int_equal(hd_auto_search(&none, &(hd_auto_problem){.formats = 1}, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "automatic policy: the network has no layer with weights");
    o.budget[HD_AUTO_BYTES] = 100;
    o.refinements = 0;
    o.grid_given = o.method_given = 1;
    o.base.grid = HD_GRID_ODD;
    assert_int_equal(hd_auto_network_run(&a, g, x, CALIBRATED, 1, &o, &err), HD_NOFIT);
    const char *start = "no policy is within the budget: budget 100 bytes, smallest reachable ";
    assert_memory_equal(err.message, start, strlen(start));
    /* What the message calls reachable is. */
    uint64_t least = (uint64_t)strtoll(err.message + strlen(start), NULL, 10);
    o.budget[HD_AUTO_BYTES] = least;
    if (hd_auto_network_run(&a, g, x, CALIBRATED, 1, &o, &err)) fail_msg("%s", err.message);
    assert_int_equal(hd_model_weight_bytes(a->model), least);
    hd_auto_network_free(a);
    hd_idx_free(x);
    hd_graph_free(g);
}

/* ---- policy files ---- */

static void policies_come_back(void **state) {
    (void)state;
    hd_policy p, back;
    hd_err err = {0};
    char path[64];
    hd_policy_default(&p);
    p.base.structure = HD_SPARSE_BLOCK;
    p.ranges = HD_RANGES_PERCENTILE;
    p.percentile = 0.99937f;
    p.budget = HD_BUDGET_GLOBAL;
    p.rounds = 3;
    p.blockwise = 1;
    p.unrepaired = 0.25f;
    p.base.affine = p.base.float_scales = 1;
    p.base.granularity = HD_GRANULARITY_GROUP;
    p.base.group_size = 16;
    p.base.sparsity = 0.3f;
    p.budget = HD_BUDGET_GLOBAL;
    p.rounds = 3;
    p.blockwise = 1;
    p.unrepaired = 0.75f;
    static const hd_layer_policy rules[] = {
        {.bits = 0, .grid = HD_GRID_TERNARY, .granularity = HD_GRANULARITY_GROUP, .group_size = 32, .sparsity = 0.75f, .block_in = 4, .block_out = 16, .structure = HD_SPARSE_BLOCK,
         .recipe = {.solver = HD_METHOD_SPARSEGPT}},
        {.bits = 2, .grid = HD_GRID_EVEN, .granularity = HD_GRANULARITY_CHANNEL, .block_in = 8, .block_out = 8, .structure = HD_SPARSE_UNSTRUCTURED, .sparsity = 0.1f, .skip_sparsity = 1,
         .recipe = {.solver = HD_METHOD_GPTQ, .published = 1, .in_order = 1}},
        {.bits = 5, .grid = -1, .affine = 1, .granularity = HD_GRANULARITY_TENSOR, .block_in = 1, .block_out = 256, .structure = HD_SPARSE_N_OF_M, .n = 1, .m = 3, .sparsity = 1.0f - 1.0f / 3.0f},
    };
    static const char *const names[] = {"conv*", "twice", "twice", "a \"name\""};
    for (int i = 0; i < 4; i++) assert_true(hd_policy_add(&p, names[i], &rules[i == 3 ? 2 : i % 2]));
    snprintf(path, sizeof path, "/tmp/hd_auto_%d.json", (int)getpid());
    if (hd_policy_save(&p, path, &err)) fail_msg("%s", err.message);
    if (hd_policy_load(&back, path, &err)) fail_msg("%s", err.message);
    remove(path);
    assert_true(back.ranges == HD_RANGES_PERCENTILE && back.percentile == p.percentile);
    assert_true(back.budget == HD_BUDGET_GLOBAL && back.rounds == 3 && back.blockwise && back.unrepaired == 0.75f);
    assert_true(back.budget == p.budget && back.rounds == 3 && back.blockwise == 1 && back.unrepaired == p.unrepaired);
    assert_true(back.base.affine && back.base.float_scales && !back.rule[0].policy.affine && !back.rule[0].policy.float_scales);
    assert_int_equal(back.n_rules, 3); /* of the two for one name the last */
    for (int i = -1; i < 3; i++) {
        const hd_layer_policy *a = i < 0 ? &p.base : &p.rule[i + (i > 0)].policy, *b = i < 0 ? &back.base : &back.rule[i].policy;
        if (i >= 0) assert_string_equal(p.rule[i + (i > 0)].layer, back.rule[i].layer);
        assert_true(a->bits == b->bits && a->grid == b->grid && a->granularity == b->granularity && a->group_size == b->group_size && a->sparsity == b->sparsity);
        assert_true(a->block_in == b->block_in && a->block_out == b->block_out && a->structure == b->structure && a->skip_sparsity == b->skip_sparsity);
        assert_true(a->affine == b->affine && a->recipe.published == b->recipe.published && a->recipe.in_order == b->recipe.in_order);
        assert_true(a->recipe.solver == b->recipe.solver && (a->structure != HD_SPARSE_N_OF_M || (a->n == b->n && a->m == b->m)));
    }
    hd_policy_free(&p);
    hd_policy_free(&back);
    assert_int_equal(hd_policy_save(&(hd_policy){.base = rules[0]}, "/nowhere/p.json", &err), HD_IO);
}

/* ---- language models ---- */

static void language_model(void **state) {
    (void)state;
    enum { ROWS = 12, T = 24 };
    hd_llama sizes = {.dim = 16, .hidden = 40, .layers = 1, .heads = 2, .kv_heads = 1, .vocab = 30, .max_tokens = T}, *m;
    hd_err err = {0};
    hd_rng rng;
    int16_t rows[ROWS * (T + 1)];
    hd_rng_seed(&rng, 8, 1);
    if (hd_llama_new(&m, &sizes, 1, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < 30 * 16; i++) m->embedding[i] = hd_rng_normal(&rng);
    for (int i = 0; i < 16; i++) m->norm_final[i] = m->layer[0].norm_attention[i] = m->layer[0].norm_ffn[i] = 1;
    for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
        int out, in;
        hd_llama_shape(m, k, &out, &in);
        for (int i = 0; i < out * in; i++) m->layer[0].matrix[k][i] = (k == HD_LLAMA_W2 ? 0.6f : 0.2f) * hd_rng_normal(&rng);
    }
    /* Text that the model finds likely, so that compression can make it worse. */
    hd_llama_state *s;
    assert_int_equal(hd_llama_state_new(&s, m, &err), HD_OK);
    for (int i = 0; i < ROWS; i++)
        for (int t = 0; t <= T; t++) rows[i * (T + 1) + t] = (int16_t)(t ? hd_llama_sample(hd_llama_step(s, rows[i * (T + 1) + t - 1], t - 1), 30, 1, 1, &rng) : 1);
    hd_llama_state_free(s);
    hd_policy base;
    hd_policy_default(&base);
    base.base.recipe.solver = HD_METHOD_GPTQ;
    hd_auto_lm_options o = {.budget_bytes = hd_llama_block_weights(m) * 4 / 8, .base = base.base, .refinements = 8};
    hd_auto_lm *a;
    if (hd_auto_lm_run(&a, m, rows, T + 1, ROWS, T, &o, &err)) fail_msg("%s", err.message);
    assert_true(a->judged == 3 && a->calibrated == 9);
    double best = INFINITY, chosen = 0;
    for (int f = -1; f < a->problem.formats; f++) {
        hd_policy p = f < 0 ? a->policy : (hd_policy){.base = a->problem.format[f].policy};
        hd_lm *c;
        double nats, bits = 0;
        if (hd_lm_compress_policy(&c, m, &p, rows, T + 1, 9, T, NULL, &err)) fail_msg("%s", err.message);
        assert_int_equal(hd_llama_cross_entropy(c->model, rows + 9 * (T + 1), 3, T, &nats, &err), HD_OK);
        for (int i = 0; i < HD_LLAMA_MATRICES; i++) bits += c->matrix[i].linear.bits_stored;
        if (f < 0) {
            chosen = nats;
            assert_true(fabs(nats - a->result->chosen.loss) < 1e-9);
            assert_true(hd_auto_lm_bytes(c) == a->result->chosen.cost[0] && hd_auto_lm_bytes(c) <= o.budget_bytes && bits / 8 <= (double)o.budget_bytes);
        } else if (hd_auto_lm_bytes(c) <= o.budget_bytes)
            best = fmin(best, nats);
        hd_lm_free(c);
    }
    assert_true(isfinite(best) && chosen <= best);
    hd_auto_lm_free(a);
    o.budget_bytes = 10;
    assert_int_equal(hd_auto_lm_run(&a, m, rows, T + 1, ROWS, T, &o, &err), HD_NOFIT);
    assert_int_equal(hd_auto_lm_run(&a, m, rows, T + 1, 1, T, &o, &err), HD_RANGE);
    hd_llama_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(search_on_known_losses), cmocka_unit_test(too_small_a_budget), cmocka_unit_test(never_worse_than_uniform),
        cmocka_unit_test(network_errors),         cmocka_unit_test(policies_come_back), cmocka_unit_test(language_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
