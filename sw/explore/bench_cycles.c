/* Suite explore, rows of the cycle model: predictions without data (drivers/predict.h) against the Verilated RTL. Whole networks give the difference and the speed;
 * random single layers on geometries of every kind of timing give the difference again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/compress.h"
#include "../../compiler/import/import.h"
#include "../../drivers/predict.h"
#include "../core/progress.h"
#include "../core/rng.h"
#include "bench.h"
#include "bench_explore.h"
#include "dataset.h"
#include "models.h"

enum { CALIBRATION_IMAGES = 16, SAMPLES = 4, PAIRS = 500, FIRST_SEED = 1 };
static const double rtl_seconds = 0.4, model_seconds = 0.05; /* of processor time a measurement takes at least */

static const char *const pair_geometry[][2] = {{"4x8x8x2", ""},
                                               {"3x7x8x2", "fetch=1"},
                                               {"4x8x8x2", "gather=1"},
                                               {"4x8x8x2", "extern=16,stream=64,mhz=75"},
                                               {"2x5x32x2", "fetch=1,post=8,acc=18,residual=0,pump=4,pool=0"},
                                               {"4x2x16x2", "fetch=1,post=1,pool=0,slot=8,act=2048,window=64"}};
enum { GEOMETRIES = sizeof pair_geometry / sizeof *pair_geometry };

typedef struct network {
    const char *name, *file, *images; /* file NULL: the embedded network */
    int bits;
    float sparsity;
    const char *geometry, *memory;
} network;

static const network networks[] = {
    {"fashion_w4", NULL, NULL, 4, 0, "4x8x8x2", ""},
    {"fashion_w2_half", NULL, NULL, 2, 0.5f, "4x8x8x2", ""},
    {"fashion_w4_extern", NULL, NULL, 4, 0, "4x8x8x2", "extern=20,mhz=50,stream=256"},
    {"resnet8_w4", "resnet8-float.tflite", "ic01-images.idx", 4, 0, "8x16x16x2", ""},
    {"resnet8_w4_extern", "resnet8-float.tflite", "ic01-images.idx", 4, 0, "8x16x16x2", "extern=23,mhz=75,stream=512"},
    {"dscnn_w4", "dscnn-float.tflite", "kws01-inputs.idx", 4, 0, "4x8x8x2", ""},
};

static hd_status geometry_of(hd_geometry *g, const char *shape, const char *memory, hd_err *err) {
    hd_status s = hd_geometry_parse(g, shape, err);
    return s || !*memory ? s : hd_geometry_memory(g, memory, err);
}

/* Counters in which prediction and device differ, summed over all descriptors, the whole run's cycles among them; and an inference's processor time on the device when asked for. */
static hd_status compare(double *difference, double *seconds, const hd_program *p, hd_err *err) {
    hd_session *device = NULL;
    hd_prediction *r = NULL;
    size_t in = (size_t)p->input.h * p->input.w * p->input.c, out = (size_t)p->output.h * p->output.w * p->output.c;
    int8_t *codes = calloc(in + out, 1);
    uint32_t *record = calloc(p->n_desc, HD_PERF_WORDS * sizeof *record);
    uint64_t cycles = 0;
    hd_device_options quiet = {.quiet = !seconds};
    hd_status s = codes && record ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for an image of %zu bytes", in);
    if (!s) s = hd_predict(&r, p, err);
    if (!s) s = hd_session_open(&device, p, &hd_driver_sim, &quiet, err);
    double start = hd_cpu_seconds(), spent = 0;
    int runs = 0;
    do {
        if (!s) s = hd_interrupted ? hd_fail(err, HD_INTERRUPTED, "stopped") : hd_session_run(device, codes, codes + in, err);
        runs++;
        spent = hd_cpu_seconds() - start;
    } while (!s && seconds && spent < rtl_seconds);
    if (seconds) *seconds = spent / runs;
    if (!s) s = hd_session_cycles(device, &cycles, err);
    if (!s) s = hd_session_perf(device, record, err);
    if (!s) {
        *difference = r->cycles > cycles ? (double)(r->cycles - cycles) : (double)(cycles - r->cycles);
        for (uint32_t d = 0; d < r->n_desc; d++)
            for (int k = 0; k < HD_PERF_WORDS; k++) {
                double of = (double)r->perf[d][k] - (double)record[d * HD_PERF_WORDS + (uint32_t)k];
                *difference += of < 0 ? -of : of;
            }
    }
    hd_prediction_free(r);
    if (device) hd_session_close(device);
    free(codes);
    free(record);
    return s;
}

static hd_status time_model(double *seconds, const hd_program *p, hd_err *err) {
    double start = hd_cpu_seconds();
    int n = 0;
    hd_status s = HD_OK;
    do {
        for (int i = 0; i < 64 && !s; i++, n++) {
            hd_prediction *r;
            s = hd_predict(&r, p, err);
            if (!s) hd_prediction_free(r);
        }
        *seconds = hd_cpu_seconds() - start;
    } while (!s && *seconds < model_seconds);
    *seconds /= n;
    return s;
}

/* The network's graph and inputs; HD_IO where the models are not on this machine. */
static hd_status load_network(hd_graph **g, hd_idx **images, const network *n, hd_err *err) {
    char model[4096], data[4096];
    hd_status s;
    if (!n->file) {
        s = hd_default_graph(g, err);
        return s ? s : hd_fashion_mnist(images, NULL, 1, err);
    }
    s = hd_models_file(model, sizeof model, n->file, err);
    if (!s) s = hd_models_file(data, sizeof data, n->images, err);
    if (!s) s = hd_import_tflite(g, model, err);
    if (!s) s = hd_idx_load(images, data, err);
    if (s) return s;
    hd_shape shape = (*g)->tensor[(*g)->input].shape;
    return hd_idx_chw(*images, shape.c, shape.h, shape.w, err);
}

static hd_status compile_network(hd_program **p, const network *n, hd_err *err) {
    hd_graph *g = NULL;
    hd_idx *images = NULL;
    hd_model *m = NULL;
    hd_policy policy;
    hd_geometry geometry;
    hd_lower_options lower = {.board = "", .expand_input = -1};
    hd_policy_default(&policy);
    policy.base.bits = n->bits;
    policy.base.sparsity = n->sparsity;
    hd_status s = load_network(&g, &images, n, err);
    if (!s) s = hd_compress(&m, g, &policy, images, CALIBRATION_IMAGES, 1, err);
    if (!s) s = geometry_of(&geometry, n->geometry, n->memory, err);
    if (!s) s = hd_lower(p, m, &geometry, &lower, err);
    if (m) hd_model_free(m);
    if (images) hd_idx_free(images);
    if (g) hd_graph_free(g);
    hd_policy_free(&policy);
    return s;
}

hd_status hd_bench_fashion_program(hd_program **p, int bits, const char *geometry, hd_err *err) {
    return compile_network(p, &(network){.bits = bits, .geometry = geometry, .memory = ""}, err);
}

/* ---- random layers ---- */

static int between(hd_rng *rng, int lo, int hi) {
    return lo + (int)hd_rng_below(rng, (uint32_t)(hi - lo + 1));
}

/* One convolution of any shape, often far from the array's. */
static hd_graph *random_layer(hd_rng *rng) {
    int groups = hd_rng_below(rng, 8) ? 1 : between(rng, 2, 12), kh = between(rng, 1, 4), kw = hd_rng_below(rng, 3) ? kh : between(rng, 1, 5);
    int cin = groups > 1 ? groups : between(rng, 1, 40), cout = groups > 1 ? groups : between(rng, 1, 48);
    int dy = between(rng, 1, 2), dx = hd_rng_below(rng, 4) ? 1 : 2, sy = between(rng, 1, 2), sx = between(rng, 1, 3);
    int h = (kh - 1) * dy + between(rng, 1, 14), w = (kw - 1) * dx + between(rng, 1, 20), pad = hd_rng_below(rng, 2) && kh > 1 && kw > 1;
    hd_shape out = {cout, (h + 2 * pad - (kh - 1) * dy - 1) / sy + 1, (w + 2 * pad - (kw - 1) * dx - 1) / sx + 1};
    hd_graph *g = hd_graph_new("layer");
    if (!g) return NULL;
    int input = hd_graph_add_tensor(g, "input", (hd_shape){cin, h, w}), output = hd_graph_add_tensor(g, "output", out), node = hd_graph_add_node(g, HD_OP_CONV2D, "layer");
    if (input < 0 || output < 0 || node < 0) {
        hd_graph_free(g);
        return NULL;
    }
    hd_node *c = &g->node[node];
    c->input[0] = input;
    c->output = output;
    c->kh = kh, c->kw = kw, c->sy = sy, c->sx = sx, c->dy = dy, c->dx = dx, c->groups = groups;
    c->pad_top = c->pad_bottom = c->pad_left = c->pad_right = pad;
    c->cin = cin, c->cout = cout;
    g->input = input;
    g->output = output;
    size_t n = hd_node_weights(c);
    c->weight = malloc(n * sizeof *c->weight);
    for (size_t i = 0; c->weight && i < n; i++) c->weight[i] = hd_rng_normal(rng);
    if (c->weight) return g;
    hd_graph_free(g);
    return NULL;
}

/* A random layer in a random format, lowered; HD_NOFIT where the geometry's memories or units do not hold it. */
static hd_status random_program(hd_program **p, uint64_t seed, const hd_geometry *geometry, hd_err *err) {
    static const float sparsities[] = {0, 0, 0.3f, 0.5f, 0.75f};
    hd_rng rng;
    hd_model *m = NULL;
    hd_policy policy;
    hd_lower_options lower = {.board = "", .expand_input = (int)(seed % 3) - 1};
    hd_rng_seed(&rng, seed, 6);
    hd_graph *g = random_layer(&rng);
    if (!g) return hd_fail(err, HD_NOMEM, "no memory for a layer");
    hd_shape in = g->tensor[g->input].shape;
    size_t n = hd_shape_size(in) * SAMPLES;
    hd_idx *x = calloc(1, sizeof *x);
    float *data = x ? malloc(n * sizeof *data) : NULL;
    hd_policy_default(&policy);
    policy.base.bits = between(&rng, 0, 8);
    policy.base.sparsity = sparsities[hd_rng_below(&rng, 5)];
    policy.base.block_in = 1 << between(&rng, 1, 3);
    policy.base.block_out = 1 << between(&rng, 1, 3);
    for (size_t i = 0; data && i < n; i++) data[i] = hd_rng_normal(&rng);
    hd_status s = data ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for a layer's inputs");
    if (data) *x = (hd_idx){HD_IDX_F32, 4, {SAMPLES, (uint32_t)in.c, (uint32_t)in.h, (uint32_t)in.w}, hd_shape_size(in), data};
    if (!s) s = hd_compress(&m, g, &policy, x, SAMPLES, 1, err);
    if (!s) s = hd_lower(p, m, geometry, &lower, err);
    if (m) hd_model_free(m);
    if (data) hd_idx_free(x);
    else free(x);
    hd_policy_free(&policy);
    hd_graph_free(g);
    return s;
}

/* PAIRS layers that fit, in turn on each geometry. */
static hd_status compare_layers(double *difference, uint64_t *last_seed, uint64_t *first_bad, hd_err *err) {
    hd_geometry geometry[GEOMETRIES];
    hd_progress progress;
    hd_status s = HD_OK;
    uint64_t seed = FIRST_SEED;
    int done = 0;
    for (int i = 0; i < GEOMETRIES && !s; i++) s = geometry_of(&geometry[i], pair_geometry[i][0], pair_geometry[i][1], err);
    hd_progress_start(&progress, "layers", PAIRS);
    for (; done < PAIRS && !s; seed++) {
        hd_program *p = NULL;
        double of = 0;
        s = random_program(&p, seed, &geometry[seed % GEOMETRIES], err);
        if (s == HD_NOFIT) {
            s = HD_OK;
            continue;
        }
        if (!s) s = compare(&of, NULL, p, err);
        *difference += of;
        hd_program_free(p);
        if (of > 0 && !*first_bad) *first_bad = seed;
        hd_progress_show(&progress, ++done, NULL);
    }
    hd_progress_end(&progress);
    *last_seed = seed - 1;
    return s;
}

hd_status hd_bench_cycles(hd_figures *f, hd_err *err) {
    double difference = 0, least = 0, layers = 0;
    uint64_t last = 0, bad = 0;
    int skipped = 0;
    hd_status s = HD_OK;
    for (size_t i = 0; i < sizeof networks / sizeof *networks && !s; i++) {
        const network *n = &networks[i];
        hd_program *p = NULL;
        double of = 0, rtl = 0, model = 0;
        s = compile_network(&p, n, err);
        if (s == HD_IO && n->file) { /* models that are no part of the project */
            skipped++;
            s = HD_OK;
            continue;
        }
        if (!s) s = compare(&of, &rtl, p, err);
        if (!s) s = time_model(&model, p, err);
        if (p) hd_program_free(p);
        if (s) break;
        difference += of;
        hd_figure_add(f, rtl * 1e3, "ms", "measured", "explore.%s.rtl_ms", n->name);
        hd_figure_add(f, model * 1e6, "us", "measured", "explore.%s.model_us", n->name);
        hd_figure_add(f, rtl / model, "times", "measured", "explore.%s.speedup", n->name);
        if (least == 0 || rtl / model < least) least = rtl / model;
    }
    if (!s) s = compare_layers(&layers, &last, &bad, err);
    if (s) return s;
    hd_figure *d = hd_figure_add(f, difference + layers, "cycles", "simulated", "explore.model_rtl_cycle_difference");
    d->reference = 0;
    d->compared = "the Verilated RTL: every counter of every layer";
    snprintf(d->note, sizeof d->note, "%d networks%s, %d random layers (seeds %d to %llu) on %d geometries", (int)(sizeof networks / sizeof *networks) - skipped,
             skipped ? " (HEDDLE_MODELS has the others)" : "", PAIRS, FIRST_SEED, (unsigned long long)last, GEOMETRIES);
    if (bad) snprintf(d->note + strlen(d->note), sizeof d->note - strlen(d->note), "; seed %llu is the first that differs", (unsigned long long)bad);
    hd_figure *speed = hd_figure_add(f, least, "times", "measured", "explore.model_speedup");
    speed->reference = 1000;
    speed->compared = "the least wanted of an inference's processor time on the Verilated RTL over the model's; the smallest of the networks";
    return HD_OK;
}
