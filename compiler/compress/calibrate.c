/* Ranges of activations: a float run over the calibration images, histograms, and the scale and zero point that lose least. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/progress.h"
#include "compress_internal.h"

/* One thread's share. */
typedef struct worker {
    hd_exec *exec;
    float *image;
    hd_histogram *seen; /* [graph tensor] */
} worker;

static int bin_of(const hd_histogram *h, float x) {
    double at = ((double)x - h->lo) / ((double)h->hi - h->lo) * HD_BINS;
    return at < 0 ? 0 : at >= HD_BINS ? HD_BINS - 1 : (int)at;
}

static double bin_centre(const hd_histogram *h, int bin) {
    return h->lo + ((double)h->hi - h->lo) * (bin + 0.5) / HD_BINS;
}

static int look_at_range(hd_histogram *h, const float *x, size_t n) {
    int finite = 1;
    for (size_t i = 0; i < n; i++) {
        if (x[i] < h->lo) h->lo = x[i];
        if (x[i] > h->hi) h->hi = x[i];
        finite &= fabsf(x[i]) <= FLT_MAX;
    }
    return finite;
}

static void look_at_values(hd_histogram *h, const hd_histogram *range, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (x[i] != 0.0f) h->count[bin_of(range, x[i])]++;
}

/* Pass 0 finds the ranges, pass 1 fills the bins; both merge by min, max and integer sums, in any order the same. */
static hd_status run_pass(int pass, hd_histogram *histogram, const uint8_t *wanted, const hd_graph *g, const hd_idx *calib, int samples,
                          int unit, hd_err *err) {
    hd_status status = HD_OK;
    int bad = -1;
#pragma omp parallel
    {
        worker w = {.image = malloc(calib->item * sizeof(float)), .seen = calloc((size_t)g->n_tensors, sizeof(hd_histogram))};
        hd_err own = {0};
        hd_status mine = hd_exec_new(&w.exec, g, &own);
        if (mine == HD_OK && (!w.image || !w.seen)) mine = hd_fail(&own, HD_NOMEM, "no memory for calibration");
#pragma omp for schedule(dynamic)
        for (int i = 0; i < samples; i++) {
            if (mine != HD_OK || hd_interrupted) continue;
            hd_idx_item(calib, (uint32_t)i, unit, w.image);
            hd_exec_run(w.exec, w.image);
            for (int t = 0; t < g->n_tensors; t++) {
                if (!wanted[t]) continue;
                size_t n = hd_shape_size(g->tensor[t].shape);
                if (pass) look_at_values(&w.seen[t], &histogram[t], hd_exec_tensor(w.exec, t), n);
                else if (!look_at_range(&w.seen[t], hd_exec_tensor(w.exec, t), n))
#pragma omp critical(hd_calibrate)
                    if (bad < 0 || t < bad) bad = t;
            }
        }
#pragma omp critical(hd_calibrate)
        {
            if (mine != HD_OK && status == HD_OK) {
                status = mine;
                if (err) *err = own;
            }
            for (int t = 0; mine == HD_OK && t < g->n_tensors; t++) {
                hd_histogram *h = &histogram[t], *s = &w.seen[t];
                if (!pass && s->lo < h->lo) h->lo = s->lo;
                if (!pass && s->hi > h->hi) h->hi = s->hi;
                for (int b = 0; pass && b < HD_BINS; b++) h->count[b] += s->count[b];
            }
        }
        hd_exec_free(w.exec);
        free(w.image);
        free(w.seen);
    }
    if (status == HD_OK && hd_interrupted) return hd_fail(err, HD_INTERRUPTED, "stopped during calibration");
    if (status == HD_OK && bad >= 0)
        return hd_fail(err, HD_RANGE, "tensor '%s': values that are not finite on the calibration images", g->tensor[bad].name);
    return status;
}

hd_status hd_calibrate(hd_histogram *histogram, const uint8_t *wanted, const hd_graph *g, const hd_idx *calib, int samples, int unit,
                       hd_err *err) {
    memset(histogram, 0, (size_t)g->n_tensors * sizeof *histogram);
    hd_status status = run_pass(0, histogram, wanted, g, calib, samples, unit, err);
    return status == HD_OK ? run_pass(1, histogram, wanted, g, calib, samples, unit, err) : status;
}

int hd_code(hd_qparams q, double x) {
    double c = floor(x / (double)q.scale + 0.5) + q.zero;
    return c >= 127 ? 127 : c >= -128 ? (int)c : -128;
}

static double real(hd_qparams q, int code) { return (double)q.scale * (code - q.zero); }

/* 0 always has a code of its own: the range includes it and the zero point is an integer. */
hd_qparams hd_qparams_of_range(float lo, float hi) {
    if (lo > 0) lo = 0;
    if (hi < 0) hi = 0;
    float scale = (float)(((double)hi - lo) / 255.0);
    if (!(scale >= FLT_MIN)) return (hd_qparams){1.0f, 0}; /* nothing but zeros */
    double zero = floor(-128.0 - (double)lo / scale + 0.5);
    return (hd_qparams){scale, zero > 127 ? 127 : (int)zero};
}

double hd_qparams_error(const hd_histogram *h, hd_qparams q) {
    double error = 0;
    for (int b = 0; b < HD_BINS; b++) {
        if (!h->count[b]) continue;
        double x = bin_centre(h, b), e = x - real(q, hd_code(q, x));
        error += (double)h->count[b] * e * e;
    }
    return error;
}

/* What a search minimises: plain rounding, or the output of a table (f of each bin and the codes' outputs). */
typedef struct objective {
    const hd_histogram *h;
    const hd_plan *p; /* NULL: plain */
    const hd_step *s;
    hd_qparams out;
    double *f; /* [HD_BINS] */
} objective;

static double apply(const objective *o, double x) {
    float y = hd_step_apply(o->p, o->s, (float)x);
    return isfinite(y) ? (double)y : 0.0;
}

static double cost(const objective *o, hd_qparams q) {
    if (!o->p) return hd_qparams_error(o->h, q);
    double table[256], error = 0;
    for (int c = -128; c < 128; c++) table[c + 128] = real(o->out, hd_code(o->out, apply(o, real(q, c))));
    for (int b = 0; b < HD_BINS; b++) {
        if (!o->h->count[b]) continue;
        double e = o->f[b] - table[hd_code(q, bin_centre(o->h, b)) + 128];
        error += (double)o->h->count[b] * e * e;
    }
    return error;
}

/* Shrinks the two ends in turn, twice: tails are rarely symmetric. */
static hd_qparams search(const objective *o) {
    enum { STEPS = 100, ROUNDS = 2 };
    float lo = o->h->lo, hi = o->h->hi;
    hd_qparams best = hd_qparams_of_range(lo, hi);
    double least = cost(o, best);
    for (int round = 0; round < ROUNDS; round++)
        for (int side = 0; side < 2; side++) {
            float end = side ? o->h->hi : o->h->lo, found = side ? hi : lo;
            for (int i = 5; end != 0.0f && i <= STEPS; i++) {
                float at = end * (float)i / STEPS;
                hd_qparams q = side ? hd_qparams_of_range(lo, at) : hd_qparams_of_range(at, hi);
                double c = cost(o, q);
                if (c < least) {
                    least = c;
                    best = q;
                    found = at;
                }
            }
            if (side) hi = found;
            else lo = found;
        }
    return best;
}

hd_qparams hd_qparams_search(const hd_histogram *h) {
    return search(&(objective){.h = h});
}

hd_qparams hd_qparams_percentile(const hd_histogram *h, double percentile) {
    double total = 0, low = 0, high = 0;
    for (int b = 0; b < HD_BINS; b++) total += (double)h->count[b];
    double beyond = total * (1 - percentile), width = ((double)h->hi - h->lo) / HD_BINS;
    int first = 0, last = HD_BINS - 1;
    while (first < last && (low += (double)h->count[first]) <= beyond) first++;
    while (last > first && (high += (double)h->count[last]) <= beyond) last--;
    float lo = first ? (float)(h->lo + width * first) : h->lo, hi = last < HD_BINS - 1 ? (float)(h->lo + width * (last + 1)) : h->hi;
    return hd_qparams_of_range(lo, hi);
}

hd_qparams hd_qparams_of(const hd_histogram *h, const hd_policy *p) {
    if (p->ranges == HD_RANGES_MINMAX) return hd_qparams_of_range(h->lo, h->hi);
    return p->ranges == HD_RANGES_PERCENTILE ? hd_qparams_percentile(h, (double)p->percentile) : hd_qparams_search(h);
}

hd_qparams hd_qparams_search_table(const hd_histogram *h, const hd_plan *p, const hd_step *s, hd_qparams out) {
    double f[HD_BINS];
    objective o = {.h = h, .p = p, .s = s, .out = out, .f = f};
    for (int b = 0; b < HD_BINS; b++) f[b] = apply(&o, bin_centre(h, b));
    return search(&o);
}
