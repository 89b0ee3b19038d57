/* Suite sim: how fast the Verilated RTL runs a whole network, counted in useful int8 x int4 MACs, beside native C loops of the same
 * arithmetic in the same process. Both on one thread; processor time, so that a busy machine does not change the ratio. */
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/compress.h"
#include "../core/progress.h"
#include "accuracy.h"
#include "bench.h"
#include "dataset.h"
#include "native.h"

static const char geometry_text[] = "4x16x8x2"; /* 1,024 operations a cycle */
enum { CALIBRATION_IMAGES = 256, IMAGES = 64 };
static const double run_seconds = 3; /* for each side, at least */

typedef struct rig {
    hd_idx *images;
    hd_model *m;
    hd_program *p;
    hd_session *s;
    hd_native *native;
    int8_t *codes; /* IMAGES inputs */
    int8_t *out;
    size_t in_bytes, out_bytes;
    double macs;   /* useful int8 x int4 MACs of one inference */
    double sim_seconds, native_seconds;
    double sim_images, native_images, cycles; /* done in those seconds */
} rig;

static void close_rig(rig *r) {
    if (r->native) hd_native_free(r->native);
    if (r->s) hd_session_close(r->s);
    if (r->p) hd_program_free(r->p);
    if (r->m) hd_model_free(r->m);
    hd_idx_free(r->images);
    free(r->codes);
    free(r->out);
}

/* MACs of the layers with 4-bit weights, real channels only; a MAC is `planes` int8 x 1-bit operations. */
static double useful_macs(const hd_program *p, const hd_model *m) {
    double macs = 0;
    for (uint32_t i = 0; i < p->n_layers; i++)
        for (int k = 0; k < m->n_stages; k++)
            if (m->stage[k].kind == HD_STAGE_CONV && m->stage[k].bits == 4 && !strcmp(m->stage[k].name, p->layer[i].name) && p->layer[i].planes)
                macs += (double)p->layer[i].useful_ops / p->layer[i].planes;
    return macs;
}

static hd_status encode_images(rig *r, hd_err *err) {
    const hd_qtensor *in = &r->m->tensor[r->m->input], *out = &r->m->tensor[r->m->output];
    r->in_bytes = (size_t)in->h * (size_t)in->w * (size_t)in->c;
    r->out_bytes = (size_t)out->h * (size_t)out->w * (size_t)out->c;
    r->codes = malloc(IMAGES * r->in_bytes);
    r->out = malloc(r->out_bytes);
    float *scratch = malloc(r->in_bytes * sizeof *scratch);
    int enough = r->codes && r->out && scratch;
    for (uint32_t i = 0; enough && i < IMAGES; i++) hd_encode_item(in, r->images, i, 1, scratch, r->codes + i * r->in_bytes);
    free(scratch);
    return enough ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for %d images", IMAGES);
}

static hd_status open_rig(rig *r, hd_err *err) {
    hd_graph *g = NULL;
    hd_policy policy;
    hd_geometry geometry;
    hd_lower_options lower = {.board = "", .expand_input = -1};
    hd_device_options device = {0};
    hd_policy_default(&policy);
    policy.base.bits = 4;
    hd_status s = hd_default_graph(&g, err);
    if (!s) s = hd_fashion_mnist(&r->images, NULL, 1, err);
    if (!s) s = hd_compress(&r->m, g, &policy, r->images, CALIBRATION_IMAGES, 1, err);
    if (!s) s = hd_geometry_parse(&geometry, geometry_text, err);
    if (!s) s = hd_lower(&r->p, r->m, &geometry, &lower, err);
    if (!s) s = encode_images(r, err);
    if (!s) s = hd_native_new(&r->native, r->m, err);
    if (!s) s = hd_session_open(&r->s, r->p, &hd_driver_sim, &device, err);
    if (!s) r->macs = useful_macs(r->p, r->m);
    if (g) hd_graph_free(g);
    hd_policy_free(&policy);
    return s;
}

/* Whole inferences as `heddle run` does them: write the input, run, read the output. The first round checks every byte. */
static hd_status time_sim(rig *r, hd_err *err) {
    hd_progress progress;
    hd_status s = HD_OK;
    uint64_t cycles = 0;
    hd_progress_start(&progress, "sim", run_seconds);
    for (int i = 0; !s && i < IMAGES; i++) {
        s = hd_session_run(r->s, r->codes + (size_t)i * r->in_bytes, r->out, err);
        if (!s && memcmp(r->out, hd_native_run(r->native, r->codes + (size_t)i * r->in_bytes), r->out_bytes))
            s = hd_fail(err, HD_MISMATCH, "image %d: the RTL and the native loops give different outputs", i);
    }
    double start = hd_cpu_seconds();
    for (int i = 0; !s && r->sim_seconds < run_seconds; i = (i + 1) % IMAGES) {
        s = hd_interrupted ? hd_fail(err, HD_INTERRUPTED, "stopped") : hd_session_run(r->s, r->codes + (size_t)i * r->in_bytes, r->out, err);
        r->sim_images++;
        r->sim_seconds = hd_cpu_seconds() - start;
        hd_progress_show(&progress, r->sim_seconds, NULL);
    }
    hd_progress_end(&progress);
    if (!s) s = hd_session_cycles(r->s, &cycles, err);
    r->cycles = r->sim_images * (double)cycles;
    return s;
}

static void time_native(rig *r) {
    double start = hd_cpu_seconds();
    while (r->native_seconds < run_seconds && !hd_interrupted) {
        for (int i = 0; i < IMAGES; i++) hd_native_run(r->native, r->codes + (size_t)i * r->in_bytes);
        r->native_images += IMAGES;
        r->native_seconds = hd_cpu_seconds() - start;
    }
}

hd_status hd_bench_sim(hd_figures *f, hd_err *err) {
    rig r = {0};
    hd_status s = open_rig(&r, err);
    if (!s) s = time_sim(&r, err);
    if (!s) time_native(&r);
    if (!s && hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
    if (!s) {
        double sim = r.macs * r.sim_images / r.sim_seconds / 1e6, native = r.macs * r.native_images / r.native_seconds / 1e6;
        hd_figure *speed = hd_figure_add(f, sim, "M MAC/s", "measured", "sim.useful_mmacs");
        speed->reference = native;
        speed->compared = "native C loops of the same network, gcc -O3 with AVX2 where there is, one thread";
        hd_figure_add(f, sim / native, "share", "measured", "sim.fraction_of_c");
        hd_figure_add(f, r.cycles / r.sim_seconds / 1e6, "M cycles/s", "measured", "sim.mcycles_per_s");
        hd_figure_add(f, (double)hd_program_ops(&r.p->geometry), "ops/cycle", "derived", "sim.geometry_ops");
    }
    close_rig(&r);
    return s;
}
