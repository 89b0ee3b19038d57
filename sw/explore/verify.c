#include "verify.h"

#include <stdlib.h>

#include "../core/progress.h"
#include "accuracy.h"

/* What must agree on one image: the RTL, the instruction-level model, the integer executor. */
typedef struct trio {
    hd_session *sim, *ref;
    hd_integer *integer;
    int8_t *in, *from_sim, *from_ref;
    float *scratch;
    size_t in_bytes, out_bytes;
} trio;

static hd_status trio_open(trio *t, const hd_program *p, const hd_model *m, hd_err *err) {
    hd_device_options o = {0};
    t->in_bytes = (size_t)p->input.h * p->input.w * p->input.c;
    t->out_bytes = (size_t)p->output.h * p->output.w * p->output.c;
    t->in = malloc(t->in_bytes);
    t->from_sim = malloc(t->out_bytes);
    t->from_ref = malloc(t->out_bytes);
    t->scratch = malloc(t->in_bytes * sizeof *t->scratch);
    if (!t->in || !t->from_sim || !t->from_ref || !t->scratch) return hd_fail(err, HD_NOMEM, "no memory for an image");
    hd_status s = hd_session_open(&t->sim, p, &hd_driver_sim, &o, err);
    if (!s) s = hd_session_open(&t->ref, p, &hd_driver_ref, &o, err);
    if (!s) s = hd_integer_new(&t->integer, m, err);
    return s;
}

static void trio_close(trio *t) {
    if (t->integer) hd_integer_free(t->integer);
    if (t->ref) hd_session_close(t->ref);
    if (t->sim) hd_session_close(t->sim);
    free(t->in);
    free(t->from_sim);
    free(t->from_ref);
    free(t->scratch);
}

static hd_status same_bytes(const int8_t *got, const int8_t *want, size_t n, const char *who, uint32_t image, hd_err *err) {
    for (size_t i = 0; i < n; i++)
        if (got[i] != want[i]) return hd_fail(err, HD_MISMATCH, "image %u, output byte %zu: sim gives %d, %s gives %d", image, i, got[i], who, want[i]);
    return HD_OK;
}

static hd_status trio_image(trio *t, const hd_model *m, const hd_idx *images, uint32_t n, hd_err *err) {
    uint64_t cycles = 0, predicted = 0;
    hd_encode_item(&m->tensor[m->input], images, n, 1, t->scratch, t->in);
    hd_status s = hd_session_run(t->sim, t->in, t->from_sim, err);
    if (!s) s = hd_session_run(t->ref, t->in, t->from_ref, err);
    if (s) return s;
    hd_integer_run(t->integer, t->in);
    s = same_bytes(t->from_sim, t->from_ref, t->out_bytes, "ref", n, err);
    if (!s) s = same_bytes(t->from_sim, hd_integer_tensor(t->integer, m->output), t->out_bytes, "the integer executor", n, err);
    if (!s) s = hd_session_cycles(t->sim, &cycles, err);
    if (!s) s = hd_session_cycles(t->ref, &predicted, err);
    if (!s && cycles != predicted)
        s = hd_fail(err, HD_MISMATCH, "image %u: sim takes %llu cycles, ref predicts %llu", n, (unsigned long long)cycles, (unsigned long long)predicted);
    return s;
}

hd_status hd_verify_rtl(hd_cost **cost, uint32_t *compared, const hd_program *p, const hd_model *m, const hd_idx *images, uint32_t count, hd_err *err) {
    trio t = {0};
    hd_progress progress;
    *cost = NULL;
    hd_status s = trio_open(&t, p, m, err);
    hd_progress_start(&progress, "RTL", count);
    for (uint32_t i = 0; !s && i < count; i++) {
        s = hd_interrupted ? hd_fail(err, HD_INTERRUPTED, "stopped") : trio_image(&t, m, images, i, err);
        *compared = i + 1;
        hd_progress_show(&progress, i + 1, NULL);
    }
    hd_progress_end(&progress);
    if (!s) s = hd_cost_read(cost, p, t.sim, t.ref, err);
    if (!s && !(*cost)->exact) s = hd_fail(err, HD_MISMATCH, "a layer's cycles differ between sim and ref");
    trio_close(&t);
    return s;
}
