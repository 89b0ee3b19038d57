#include "llama_ranges.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = 4096, STEPS = 100 };

hd_status hd_llama_visit(const hd_llama *m, const int16_t *tokens, int stride, int n, int t, hd_llama_visitor f, void *arg, hd_err *err) {
    size_t rows = (size_t)n * (size_t)t, dim = (size_t)m->dim, widest = (size_t)(m->dim > m->hidden ? m->dim : m->hidden);
    float *x = malloc(rows * dim * sizeof *x), *first = malloc(rows * dim * sizeof *first), *inner = malloc(rows * widest * sizeof *inner);
    hd_status s = x && first && inner ? hd_llama_embed(m, tokens, stride, n, t, x, err) : hd_fail(err, HD_NOMEM, "no memory for the activations of %d x %d tokens", n, t);
    for (int half = 0; !s && half < 2 * m->layers; half++) {
        int l = half / 2;
        hd_llama_part outer = half % 2 ? HD_LLAMA_FFN : HD_LLAMA_QKV, behind = outer + 1;
        s = hd_llama_inputs(m, l, outer, x, n, t, first, err);
        if (!s) s = f(arg, l, outer, first, rows, err);
        if (!s) s = hd_llama_inputs(m, l, behind, first, n, t, inner, err);
        if (!s) s = f(arg, l, behind, inner, rows, err);
        if (!s) s = hd_llama_add(m, l, behind, inner, n, t, x, err);
    }
    free(x);
    free(first);
    free(inner);
    return s;
}

void hd_llama_codes_free(hd_llama_codes *c) {
    if (!c) return;
    free(c->scale);
    free(c->apart);
    free(c);
}

hd_status hd_llama_codes_new(hd_llama_codes **out, const hd_llama *m, int bits, float outliers, hd_err *err) {
    *out = NULL;
    if (bits < 4 || bits > 8) return hd_fail(err, HD_RANGE, "activations of %d bits; allowed are 4 to 8", bits);
    if (!(outliers >= 0 && outliers < INFINITY)) return hd_fail(err, HD_RANGE, "outliers above %g; allowed is 0 (none) or a positive threshold", (double)outliers);
    hd_llama_codes *c = *out = calloc(1, sizeof *c);
    if (!c) return hd_fail(err, HD_NOMEM, "no memory for the codes of activations");
    *c = (hd_llama_codes){.bits = bits, .outliers = outliers, .layers = m->layers, .width = m->dim > m->hidden ? m->dim : m->hidden};
    return HD_OK;
}

static float highest(const hd_llama_codes *c) { return (float)((1 << (c->bits - 1)) - 1); }

/* The part whose input a matrix reads. */
static hd_llama_part part_of(int matrix) {
    switch (matrix) {
    case HD_LLAMA_O: return HD_LLAMA_HEADS;
    case HD_LLAMA_W1:
    case HD_LLAMA_W3: return HD_LLAMA_FFN;
    case HD_LLAMA_W2: return HD_LLAMA_GATED;
    default: return HD_LLAMA_QKV;
    }
}

static float rounded(float x, float scale, float most) {
    float code = floorf(x / scale + 0.5f);
    return scale * (code > most ? most : code < -most ? -most : code);
}

/* Marks columns with a magnitude above the threshold; returns how many. */
static int find_outliers(uint8_t *apart, float threshold, const float *in, size_t rows, int columns) {
    int count = 0;
    for (size_t i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            int large = fabsf(in[i * (size_t)columns + (size_t)j]) > threshold;
            count += large && !apart[j];
            apart[j] |= (uint8_t)large;
        }
    return count;
}

void hd_llama_code(const hd_llama_codes *c, int layer, int matrix, const float *in, int t, int columns, float *out) {
    size_t part = (size_t)layer * HD_LLAMA_PARTS + part_of(matrix);
    uint8_t own[columns]; /* at most 2^18: hd_llama_check */
    const uint8_t *apart = c->apart ? c->apart + part * (size_t)c->width : NULL;
    float most = highest(c);
    if (!c->scale && c->outliers > 0) {
        memset(own, 0, sizeof own);
        if (find_outliers(own, c->outliers, in, (size_t)t, columns)) apart = own;
    }
    for (int i = 0; i < t; i++, in += columns, out += columns) {
        float scale = c->scale ? c->scale[part] : 0;
        for (int j = 0; !c->scale && j < columns; j++)
            if (!apart || !apart[j]) scale = fmaxf(scale, fabsf(in[j]) / most);
        for (int j = 0; j < columns; j++) out[j] = apart && apart[j] ? in[j] : scale > 0 ? rounded(in[j], scale, most) : 0;
    }
}

/* ---- static scales ---- */

typedef struct fitter {
    hd_llama_codes *c;
    const hd_llama *m;
    float *magnitude; /* scratch: those of the columns that are coded */
} fitter;

/* The scale, of 100 shares of the largest, with the least squared error; from a histogram of magnitudes. */
static float best_scale(const hd_llama_codes *c, const float *x, size_t n) {
    static const double LEAST_SHARE = 0.2;
    double count[BINS] = {0}, least = INFINITY;
    float largest = 0, best = 0, most = highest(c);
    for (size_t i = 0; i < n; i++) largest = fmaxf(largest, x[i]);
    if (!(largest > 0)) return 0;
    for (size_t i = 0; i < n; i++) {
        size_t bin = (size_t)((double)x[i] / (double)largest * BINS);
        count[bin < BINS ? bin : BINS - 1]++;
    }
    for (int k = 0; k < STEPS; k++) {
        float scale = largest * (float)(LEAST_SHARE + (1 - LEAST_SHARE) * (k + 1) / STEPS) / most;
        double e = 0;
        for (int b = 0; b < BINS; b++) {
            double at = (double)largest * (b + 0.5) / BINS, d = at - (double)rounded((float)at, scale, most);
            e += count[b] * d * d;
        }
        if (!(e < least)) continue;
        least = e;
        best = scale;
    }
    return best;
}

static hd_status fit(void *arg, int layer, hd_llama_part part, const float *in, size_t rows, hd_err *err) {
    fitter *f = arg;
    size_t at = (size_t)layer * HD_LLAMA_PARTS + part, kept = 0;
    int columns = hd_llama_part_size(f->m, part);
    uint8_t *apart = f->c->apart ? f->c->apart + at * (size_t)f->c->width : NULL;
    if (apart) find_outliers(apart, f->c->outliers, in, rows, columns);
    for (size_t i = 0; i < rows * (size_t)columns; i++) {
        if (!isfinite(in[i])) return hd_fail(err, HD_RANGE, "layer %d: activations that are not finite on the calibration rows", layer);
        if (!apart || !apart[i % (size_t)columns]) f->magnitude[kept++] = fabsf(in[i]);
    }
    f->c->scale[at] = best_scale(f->c, f->magnitude, kept);
    return HD_OK;
}

hd_status hd_llama_codes_fix(hd_llama_codes *c, const hd_llama *m, const int16_t *tokens, int stride, int n, int t, hd_err *err) {
    if (m->codes) return hd_fail(err, HD_MISMATCH, "ranges are found on float activations; the model has codes already");
    if (n < 1 || t < 1) return hd_fail(err, HD_RANGE, "%d rows of %d tokens for the ranges of activations; at least 1 of 1", n, t);
    size_t parts = (size_t)c->layers * HD_LLAMA_PARTS;
    c->scale = calloc(parts, sizeof *c->scale);
    if (c->outliers > 0) c->apart = calloc(parts * (size_t)c->width, 1);
    fitter f = {c, m, malloc((size_t)n * (size_t)t * (size_t)c->width * sizeof *f.magnitude)};
    hd_status s = c->scale && f.magnitude && (c->apart || !(c->outliers > 0)) ? hd_llama_visit(m, tokens, stride, n, t, fit, &f, err)
                                                                                : hd_fail(err, HD_NOMEM, "no memory for the ranges of activations");
    free(f.magnitude);
    return s;
}
