/* Suite decode: what codes of the external stream are worth where its memory is the limit, a fully connected layer of one position. Columns, lanes and planes are those
 * of ULX3S, and so is the memory's clock; its eight rows would do nothing for one position. */
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/compress.h"
#include "../core/rng.h"
#include "bench.h"

enum { INPUTS = 256, OUTPUTS = 512, SAMPLES = 64, MHZ = 75 };
static const char memory_text[] = "extern=16,stream=1024,mhz=75,decode=7";

typedef struct row {
    const char *name, *method;
    int bits, raw; /* raw: no codes in the stream, although the weights lie on one */
} row;

static const row rows[] = {{"plain4", "rtn", 4, 1},          {"plain2", "rtn", 2, 1}, {"table4", "table:2", 4, 0},
                           {"books", "additive:8", 4, 0}, {"e8p", "e8p", 4, 0},  {"e8p_raw", "e8p", 4, 1}};

static hd_graph *make_graph(void) {
    hd_rng rng;
    hd_rng_seed(&rng, 9, 1);
    hd_graph *g = hd_graph_new("fc");
    if (!g) return NULL;
    int in = hd_graph_add_tensor(g, "input", (hd_shape){INPUTS, 1, 1}), out = hd_graph_add_tensor(g, "output", (hd_shape){OUTPUTS, 1, 1});
    int node = hd_graph_add_node(g, HD_OP_CONV2D, "fc");
    float *weight = malloc((size_t)INPUTS * OUTPUTS * sizeof *weight);
    if (in < 0 || out < 0 || node < 0 || !weight) {
        free(weight);
        hd_graph_free(g);
        return NULL;
    }
    for (int i = 0; i < INPUTS * OUTPUTS; i++) weight[i] = hd_rng_normal(&rng);
    hd_node *c = &g->node[node];
    c->input[0] = in;
    c->output = out;
    c->kh = c->kw = 1;
    c->cin = INPUTS;
    c->cout = OUTPUTS;
    c->weight = weight;
    g->input = in;
    g->output = out;
    return g;
}

static hd_idx *make_inputs(void) {
    hd_rng rng;
    hd_rng_seed(&rng, 9, 2);
    hd_idx *x = calloc(1, sizeof *x);
    float *data = x ? malloc((size_t)SAMPLES * INPUTS * sizeof *data) : NULL;
    if (!data) {
        free(x);
        return NULL;
    }
    for (int i = 0; i < SAMPLES * INPUTS; i++) data[i] = hd_rng_normal(&rng);
    *x = (hd_idx){HD_IDX_F32, 4, {SAMPLES, INPUTS, 1, 1}, INPUTS, data};
    return x;
}

static hd_status one(hd_figures *f, const row *r, const hd_graph *g, const hd_idx *x, int density, double *plain, hd_err *err) {
    hd_policy policy;
    hd_model *m = NULL;
    hd_program *p = NULL;
    hd_cost *cost = NULL;
    hd_geometry geometry;
    hd_lower_options lower = {.board = "", .expand_input = 0, .raw_stream = r->raw};
    hd_device_options device = {0};
    hd_policy_default(&policy);
    policy.base.bits = r->bits;
    policy.base.grid = HD_GRID_ODD;
    policy.base.sparsity = 1 - (float)density / 100;
    policy.base.block_in = 16; /* a block of the array: LANES inputs, a tile's channels */
    policy.base.block_out = r->bits == 2 ? 16 : 8;
    hd_status s = hd_recipe_parse(&policy.base.recipe, r->method, err);
    if (!s) s = hd_compress(&m, g, &policy, x, SAMPLES, 1, err);
    if (!s) s = hd_geometry_parse(&geometry, "4x16x16x2", err);
    if (!s) s = hd_geometry_memory(&geometry, memory_text, err);
    if (!s) s = hd_lower(&p, m, &geometry, &lower, err);
    if (!s) s = hd_cost_measure(&cost, p, &hd_driver_sim, &device, err);
    if (!s && !cost->exact) s = hd_fail(err, HD_MISMATCH, "%s: the RTL takes other cycles than predicted", r->name);
    if (!s) {
        double cycles = (double)cost->layer[0].cycles;
        if (r == rows) *plain = cycles;
        hd_figure_add(f, p->n_extern, "words", "derived", "decode.%s.density%d.words", r->name, density);
        hd_figure_add(f, cycles, "cycles", "simulated", "decode.%s.density%d.cycles", r->name, density);
        hd_figure_add(f, MHZ * 1e6 / cycles, "layers/s", "derived", "decode.%s.density%d.layers_s", r->name, density);
        hd_figure_add(f, *plain / cycles, "times", "simulated", "decode.%s.density%d.of_plain4", r->name, density);
    }
    if (cost) hd_cost_free(cost);
    if (p) hd_program_free(p);
    if (m) hd_model_free(m);
    hd_policy_free(&policy);
    return s;
}

hd_status hd_bench_decode(hd_figures *f, hd_err *err) {
    hd_graph *g = make_graph();
    hd_idx *x = make_inputs();
    double plain = 0;
    hd_status s = g && x ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for the layer");
    for (int density = 100; !s && density >= 50; density -= 50)
        for (size_t i = 0; !s && i < sizeof rows / sizeof *rows; i++) s = one(f, &rows[i], g, x, density, &plain, err);
    if (g) hd_graph_free(g);
    if (x) hd_idx_free(x);
    return s;
}
