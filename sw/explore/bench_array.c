/* Suite array: what the array makes of bits and sparsity, on the RTL at 4x8x8x2.
 * - utilisation of the default network at 4 bits, dense: each convolution with 16 or more channels, and the whole
 * - speed-up of block sparsity over the same layer dense, times density (1 = no cycle lost)
 * - cycles against weight bits, relative to 8 bits (1 = proportional) */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/compress.h"
#include "../core/rng.h"
#include "bench.h"
#include "dataset.h"

static const char geometry_text[] = "4x8x8x2";
enum { SAMPLES = 64, LONG_LAYER = 200 /* steps of a pass */ };

/* One convolution with its own input: what a layer costs depends on its shape and blocks alone. */
typedef struct shape {
    const char *name;
    int cin, cout, k, size;
} shape;

static const shape shapes[] = {
    {"conv3x3_32_64", 32, 64, 3, 14},
    {"conv3x3_64_64", 64, 64, 3, 8},
    {"conv1x1_128_128", 128, 128, 1, 8},
    {"fc_512_256", 512, 256, 1, 1},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static hd_graph *make_graph(const shape *sh) {
    hd_rng rng;
    hd_rng_seed(&rng, 7, (uint64_t)(sh - shapes));
    hd_graph *g = hd_graph_new(sh->name);
    if (!g) return NULL;
    int in = hd_graph_add_tensor(g, "input", (hd_shape){sh->cin, sh->size, sh->size});
    int out = hd_graph_add_tensor(g, "output", (hd_shape){sh->cout, sh->size, sh->size});
    int node = hd_graph_add_node(g, HD_OP_CONV2D, sh->name);
    size_t n = (size_t)sh->cin * (size_t)sh->cout * (size_t)(sh->k * sh->k);
    float *weight = malloc(n * sizeof *weight);
    if (in < 0 || out < 0 || node < 0 || !weight) {
        free(weight);
        hd_graph_free(g);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) weight[i] = hd_rng_normal(&rng);
    hd_node *c = &g->node[node];
    c->input[0] = in;
    c->output = out;
    c->kh = c->kw = sh->k;
    c->pad_top = c->pad_left = c->pad_bottom = c->pad_right = sh->k / 2;
    c->cin = sh->cin;
    c->cout = sh->cout;
    c->weight = weight;
    g->input = in;
    g->output = out;
    return g;
}

static hd_idx *make_inputs(const shape *sh) {
    hd_rng rng;
    hd_rng_seed(&rng, 8, (uint64_t)(sh - shapes));
    hd_idx *x = calloc(1, sizeof *x);
    size_t item = (size_t)sh->cin * (size_t)sh->size * (size_t)sh->size;
    float *data = x ? malloc(SAMPLES * item * sizeof *data) : NULL;
    if (!data) {
        free(x);
        return NULL;
    }
    for (size_t i = 0; i < SAMPLES * item; i++) data[i] = hd_rng_normal(&rng);
    *x = (hd_idx){HD_IDX_F32, 4, {SAMPLES, (uint32_t)sh->cin, (uint32_t)sh->size, (uint32_t)sh->size}, item, data};
    return x;
}

/* Compresses, compiles and runs g once on the RTL; the caller frees both. */
static hd_status cost_of(hd_cost **cost, hd_program **p, const hd_graph *g, const hd_idx *calib, int bits, float sparsity, hd_err *err) {
    hd_policy policy;
    hd_model *m = NULL;
    hd_geometry geometry;
    hd_lower_options lower = {.board = "", .expand_input = -1};
    hd_device_options device = {0};
    hd_policy_default(&policy);
    policy.base.bits = bits;
    policy.base.sparsity = sparsity;
    policy.base.block_in = policy.base.block_out = 8;
    hd_status s = hd_compress(&m, g, &policy, calib, SAMPLES, 1, err);
    if (!s) s = hd_geometry_parse(&geometry, geometry_text, err);
    if (!s) s = hd_lower(p, m, &geometry, &lower, err);
    if (!s) s = hd_cost_measure(cost, *p, &hd_driver_sim, &device, err);
    if (!s && !(*cost)->exact) s = hd_fail(err, HD_MISMATCH, "%s: the RTL takes other cycles than predicted", g->name);
    if (m) hd_model_free(m);
    hd_policy_free(&policy);
    return s;
}

static void free_cost(hd_cost *cost, hd_program *p) {
    hd_cost_free(cost);
    if (p) hd_program_free(p);
}

static const hd_node *node_named(const hd_graph *g, const char *name) {
    for (int i = 0; i < g->n_nodes; i++)
        if (!strcmp(g->node[i].name, name)) return &g->node[i];
    return NULL;
}

static hd_status bench_network(hd_figures *f, hd_err *err) {
    hd_graph *g = NULL;
    hd_idx *images = NULL;
    hd_cost *cost = NULL;
    hd_program *p = NULL;
    hd_status s = hd_default_graph(&g, err);
    if (!s) s = hd_fashion_mnist(&images, NULL, 1, err);
    if (!s) s = cost_of(&cost, &p, g, images, 4, 0, err);
    for (uint32_t i = 0; !s && i < cost->n_layers; i++) {
        const hd_layer_cost *l = &cost->layer[i];
        const hd_node *node = node_named(g, l->info->name);
        hd_figure *to = hd_figure_add(f, l->utilisation, "share", "simulated", "array.w4.utilisation.%s", l->info->name);
        if (!node || node->op != HD_OP_CONV2D || node->cin < 16 || node->cout < 16) continue;
        to->reference = 0.85;
        to->compared = "the least wanted for convolutions with 16 or more channels";
    }
    if (!s) {
        hd_figure *to = hd_figure_add(f, cost->utilisation, "share", "simulated", "array.w4.utilisation.network");
        to->reference = 0.70;
        to->compared = "the least wanted for the network";
    }
    free_cost(cost, p);
    hd_idx_free(images);
    if (g) hd_graph_free(g);
    return s;
}

static hd_status bench_sparsity(hd_figures *f, const shape *sh, const hd_graph *g, const hd_idx *x, hd_err *err) {
    hd_cost *dense = NULL;
    hd_program *p = NULL;
    hd_status s = cost_of(&dense, &p, g, x, 2, 0, err);
    for (int percent = 50; !s && percent <= 75; percent += 25) {
        hd_cost *sparse = NULL;
        hd_program *q = NULL;
        s = cost_of(&sparse, &q, g, x, 2, (float)percent / 100, err);
        if (!s) {
            const hd_layer_info *l = sparse->layer[0].info;
            double density = (double)l->blocks_present / l->blocks;
            double speedup = (double)dense->layer[0].cycles / (double)sparse->layer[0].cycles;
            hd_figure *to = hd_figure_add(f, speedup * density, "share", "simulated", "array.sparsity%d.%s", percent, sh->name);
            /* Steps of one pass over the weights: what start-up and the drain are weighed against. */
            to->compared = "speed-up x density, 1 = no cycle lost; a pass has fewer than 200 steps";
            if (q->n_stream >= LONG_LAYER) {
                to->reference = 0.97;
                to->compared = "the least wanted of speed-up x density; a pass has 200 steps or more";
            }
        }
        free_cost(sparse, q);
    }
    free_cost(dense, p);
    return s;
}

static hd_status bench_bits(hd_figures *f, const shape *sh, const hd_graph *g, const hd_idx *x, hd_err *err) {
    hd_cost *eight = NULL;
    hd_program *p = NULL;
    hd_status s = cost_of(&eight, &p, g, x, 8, 0, err);
    for (int bits = 2; !s && bits <= 4; bits *= 2) {
        hd_cost *cost = NULL;
        hd_program *q = NULL;
        s = cost_of(&cost, &q, g, x, bits, 0, err);
        if (!s) {
            double relative = (double)cost->layer[0].cycles * 8 / ((double)eight->layer[0].cycles * bits);
            hd_figure *to = hd_figure_add(f, relative, "share", "simulated", "array.bits%d_of_8.%s", bits, sh->name);
            to->reference = 1;
            to->compared = "cycles proportional to bits; within 3% is wanted";
        }
        free_cost(cost, q);
    }
    free_cost(eight, p);
    return s;
}

hd_status hd_bench_array(hd_figures *f, hd_err *err) {
    hd_status s = bench_network(f, err);
    for (int i = 0; !s && i < N_SHAPES; i++) {
        hd_graph *g = make_graph(&shapes[i]);
        hd_idx *x = make_inputs(&shapes[i]);
        s = g && x ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for layer %s", shapes[i].name);
        if (!s) s = bench_sparsity(f, &shapes[i], g, x, err);
        if (!s) s = bench_bits(f, &shapes[i], g, x, err);
        if (g) hd_graph_free(g);
        hd_idx_free(x);
    }
    return s;
}
