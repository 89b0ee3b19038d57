/* Round-to-nearest on the integer grids, with a search for the scale that minimises the squared error. */
#include <math.h>

#include "compress_internal.h"
#include "model_internal.h"

enum { POINTS = 128, POLISH = 8 };

/* A run of weights that share a scale: a channel, or the whole layer (rows one after the other). */
typedef struct run {
    const float *w;
    const uint8_t *keep; /* or NULL */
    size_t n, group;     /* group: weights that share a shift; n when shifts are not used */
    int lowest, highest, odd, shifts /* how many shifts may be tried: 1 or 4 */;
} run;

/* The grid value nearest to x; all grids step by two. */
static int nearest(const run *r, float x) {
    float v = r->odd ? 2.0f * floorf(x * 0.5f) + 1.0f : 2.0f * floorf(x * 0.5f + 0.5f);
    return v <= (float)r->lowest ? r->lowest : v >= (float)r->highest ? r->highest : (int)v;
}

static double group_error(const run *r, size_t from, size_t to, float scale) {
    double error = 0;
    for (size_t i = from; i < to; i++) {
        if (r->keep && !r->keep[i]) continue;
        double e = (double)r->w[i] - (double)scale * nearest(r, r->w[i] / scale);
        error += e * e;
    }
    return error;
}

/* Error of the run at `scale` with the best shift of each group; shift (or NULL) receives them. */
static double run_error(const run *r, float scale, uint8_t *shift) {
    double error = 0;
    for (size_t from = 0, k = 0; from < r->n; from += r->group, k++) {
        size_t to = from + r->group < r->n ? from + r->group : r->n;
        double best = INFINITY;
        for (int g = 0; g < r->shifts; g++) {
            double e = group_error(r, from, to, scale * (float)(1 << g));
            if (e < best) {
                best = e;
                if (shift) shift[k] = (uint8_t)g;
            }
        }
        error += best;
    }
    return error;
}

static void assign(const run *r, float scale, const uint8_t *shift, int16_t *v) {
    for (size_t i = 0; i < r->n; i++) {
        int g = shift ? shift[i / r->group] : 0;
        v[i] = (int16_t)(r->keep && !r->keep[i] ? 0 : nearest(r, r->w[i] / (scale * (float)(1 << g))) * (1 << g));
    }
}

/* Grid search from the min-max scale down, then alternate: least-squares scale for the integers, integers for the scale. Each step is
 * kept only if it lowers the error, so the result is never worse than min-max. */
static double quantize_run(const run *r, float floor_scale, float fixed, int search, int16_t *v, uint8_t *shift, float *scale) {
    float largest = 0;
    for (size_t i = 0; i < r->n; i++)
        if ((!r->keep || r->keep[i]) && fabsf(r->w[i]) > largest) largest = fabsf(r->w[i]);
    float top = largest / (float)(r->highest * (1 << (r->shifts - 1)));
    if (fixed > 0) {
        top = fixed;
        search = 0;
    }
    if (!(top >= floor_scale)) top = floor_scale;
    /* With shifts the same range is reached from scales 8 times apart, hence the wider, geometric grid. */
    float best = top, wide = (float)(1 << (r->shifts - 1));
    double error = run_error(r, best, NULL);
    for (int i = 1; search && i < POINTS; i++) {
        float s = r->shifts > 1 ? top * wide * exp2f(-8.0f * (float)i / POINTS) : top * (float)(POINTS - i) / POINTS;
        double e = s >= floor_scale ? run_error(r, s, NULL) : INFINITY;
        if (e < error) {
            error = e;
            best = s;
        }
    }
    run_error(r, best, shift);
    assign(r, best, shift, v);
    for (int k = 0; search && k < POLISH; k++) {
        double wv = 0, vv = 0;
        for (size_t i = 0; i < r->n; i++) {
            wv += (double)r->w[i] * v[i];
            vv += (double)v[i] * v[i];
        }
        float s = vv > 0 ? (float)(wv / vv) : 0.0f;
        if (!(s >= floor_scale)) break;
        double e = run_error(r, s, NULL);
        if (!(e < error)) break;
        error = e;
        best = s;
        run_error(r, best, shift);
        assign(r, best, shift, v);
    }
    *scale = best;
    return error;
}

double hd_rtn_quantize(int16_t *v, uint8_t *shift, float *scale, const float *w, size_t cout, size_t inputs, const hd_rtn *o) {
    int grouped = o->granularity == HD_GRANULARITY_GROUP, whole = o->granularity == HD_GRANULARITY_TENSOR;
    size_t n = whole ? cout * inputs : inputs, rows = whole ? 1 : cout, group = grouped ? (size_t)o->group_size : n;
    size_t groups = (n + group - 1) / group;
    double total = 0;
    /* Each row writes its own outputs and the sum runs in row order afterwards: the same on any number of threads. */
#pragma omp parallel for schedule(dynamic)
    for (size_t row = 0; row < rows; row++) {
        run r = {.w = w + row * n, .keep = o->keep ? o->keep + row * n : NULL, .n = n, .group = group, .shifts = grouped ? 4 : 1,
                 .lowest = hd_grid_min(o->grid, o->bits), .highest = hd_grid_max(o->grid, o->bits), .odd = o->grid == HD_GRID_ODD};
        float least = o->floor[row];
        for (size_t c = 0; whole && c < cout; c++)
            if (o->floor[c] > least) least = o->floor[c];
        quantize_run(&r, least, o->fixed ? o->fixed[row] : 0.0f, o->search, v + row * n, grouped ? shift + row * groups : NULL, &scale[row]);
    }
    for (size_t c = 1; whole && c < cout; c++) scale[c] = scale[0];
    for (size_t i = 0; i < cout * inputs; i++) {
        double e = o->keep && !o->keep[i] ? 0 : (double)w[i] - (double)scale[i / inputs] * v[i];
        total += e * e;
    }
    return total;
}

int hd_fixed_point(double real, int lowest, int highest, int *mult, int *shift) {
    int exponent = 0;
    double m = frexp(real, &exponent);
    long long whole = llround(m * 65536);
    int s = 16 - exponent;
    if (whole == 65536) {
        whole = 32768;
        s--;
    }
    if (s > highest) {
        whole = llround(ldexp(real, highest));
        s = highest;
    }
    if (s < lowest || !(real >= 0)) return 0;
    *mult = (int)whole;
    *shift = s;
    return 1;
}
