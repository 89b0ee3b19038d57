#include "qat.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/model_internal.h"

/* Index along [ky][kx][ic] of weight i of the node's [ic][ky][kx]. */
static size_t stored_index(const hd_fake *f, size_t i) { return i % f->taps * f->per_tap + i / f->taps; }

size_t hd_fake_block(const hd_fake *f, size_t oc, size_t i) {
    size_t along = (f->per_tap + f->block_in - 1) / f->block_in;
    return oc / f->block_out * f->in_blocks + i % f->taps * along + i / f->taps / f->block_in;
}

void hd_fake_mask(hd_fake *f) {
    for (size_t oc = 0; oc < f->cout; oc++)
        for (size_t i = 0; i < f->inputs; i++) {
            size_t at = oc * f->inputs + i;
            int there = !f->blocks || f->present[hd_fake_block(f, oc, i)];
            f->gain[at] = there ? (float)(1 << (f->shift ? f->shift[at] : 0)) : 0.0f;
        }
}

static void read_shifts(hd_fake *f, const hd_stage *s) {
    size_t group = (size_t)s->group_size, groups = (f->inputs + group - 1) / group;
    for (size_t oc = 0; oc < f->cout; oc++)
        for (size_t i = 0; i < f->inputs; i++) f->shift[oc * f->inputs + i] = s->group_shift[oc * groups + stored_index(f, i) / group];
}

hd_status hd_fake_new(hd_fake *f, const hd_graph *g, int node, const hd_stage *s, hd_err *err) {
    const hd_node *n = &g->node[node];
    *f = (hd_fake){.node = node, .per_tensor = s->granularity == HD_GRANULARITY_TENSOR};
    f->cout = (size_t)s->cout;
    f->taps = (size_t)s->kh * (size_t)s->kw;
    f->per_tap = (size_t)(s->cin / s->groups);
    f->inputs = f->taps * f->per_tap;
    if (!n->weight || f->cout * f->inputs != hd_node_weights(n))
        return hd_fail(err, HD_MISMATCH, "stage '%s': %zu weights; node '%s' has %zu", s->name, f->cout * f->inputs, n->name, n->weight ? hd_node_weights(n) : 0);
    f->steps = f->per_tensor ? 1 : f->cout;
    f->lowest = hd_grid_min(s->grid, s->bits);
    f->highest = hd_grid_max(s->grid, s->bits);
    f->gain = malloc(f->cout * f->inputs * sizeof *f->gain);
    if (s->present) {
        f->block_in = (size_t)s->block_in;
        f->block_out = (size_t)s->block_out;
        f->in_blocks = hd_stage_in_blocks(s);
        f->blocks = f->in_blocks * ((f->cout + f->block_out - 1) / f->block_out);
        f->present = malloc(f->blocks);
        if (f->present) memcpy(f->present, s->present, f->blocks);
    }
    if (s->granularity == HD_GRANULARITY_GROUP && (f->shift = malloc(f->cout * f->inputs))) read_shifts(f, s);
    if (!f->gain || (s->present && !f->present) || (s->granularity == HD_GRANULARITY_GROUP && !f->shift)) {
        hd_fake_free(f);
        return hd_fail(err, HD_NOMEM, "node '%s': no memory for quantised weights", n->name);
    }
    hd_fake_mask(f);
    return HD_OK;
}

void hd_fake_free(hd_fake *f) {
    free(f->present);
    free(f->shift);
    free(f->gain);
    *f = (hd_fake){0};
}

/* Grids are lowest, lowest + 2, ... highest; halves go up, as in compression. No call of floorf, so that loops vectorise. */
static inline float nearest(float x, float lowest, float highest) {
    float in = x < lowest ? lowest : x > highest ? highest : x;
    return lowest + 2.0f * (float)(int)((in - lowest) * 0.5f + 0.5f);
}

int hd_fake_nearest(const hd_fake *f, float x) { return (int)nearest(x, (float)f->lowest, (float)f->highest); }

static double row_error(const hd_fake *f, const float *w, size_t from, size_t to, float s) {
    float lowest = (float)f->lowest, highest = (float)f->highest;
    double error = 0;
    for (size_t i = from; i < to; i++) {
        if (!(f->gain[i] > 0)) continue;
        float unit = s * f->gain[i];
        double e = (double)(w[i] - unit * nearest(w[i] / unit, lowest, highest));
        error += e * e;
    }
    return error;
}

void hd_fake_fit(const hd_fake *f, const float *w, float *step) {
    enum { POINTS = 64 };
    size_t n = f->per_tensor ? f->cout * f->inputs : f->inputs;
    for (size_t row = 0; row < f->steps; row++) {
        float top = 0;
        for (size_t i = row * n; i < (row + 1) * n; i++)
            if (f->gain[i] > 0) top = fmaxf(top, fabsf(w[i]) / ((float)f->highest * f->gain[i]));
        double least = INFINITY;
        for (int k = POINTS; k > 0 && top > FLT_MIN * POINTS; k--) {
            float s = top * (float)k / POINTS;
            double error = row_error(f, w, row * n, (row + 1) * n, s);
            if (error < least) least = error, step[row] = s;
        }
    }
}

void hd_fake_forward(const hd_fake *f, const float *restrict w, const float *step, float *restrict q) {
    float lowest = (float)f->lowest, highest = (float)f->highest;
    for (size_t oc = 0; oc < f->cout; oc++) {
        float s = step[f->per_tensor ? 0 : oc];
        const float *restrict gain = f->gain;
        for (size_t i = oc * f->inputs; i < (oc + 1) * f->inputs; i++) {
            float unit = s * (gain[i] > 0 ? gain[i] : 1), v = unit * nearest(w[i] / unit, lowest, highest);
            q[i] = gain[i] > 0 ? v : 0;
        }
    }
}

void hd_fake_backward(const hd_fake *f, const float *w, const float *step, float *d, float *dstep) {
    float lowest = (float)f->lowest, highest = (float)f->highest;
    memset(dstep, 0, f->steps * sizeof *dstep);
    for (size_t oc = 0; oc < f->cout; oc++) {
        float s = step[f->per_tensor ? 0 : oc];
        double sum = 0;
        for (size_t i = oc * f->inputs; i < (oc + 1) * f->inputs; i++) {
            float unit = s * f->gain[i];
            if (!(unit > 0)) {
                if (!f->absent_learns) d[i] = 0;
                continue;
            }
            float x = w[i] / unit;
            int inside = x > lowest && x < highest;
            sum += (double)(d[i] * f->gain[i] * (nearest(x, lowest, highest) - (inside ? x : 0)));
            if (!inside) d[i] = 0;
        }
        dstep[f->per_tensor ? 0 : oc] += (float)(sum / sqrt((double)(f->per_tensor ? f->cout * f->inputs : f->inputs) * (double)highest));
    }
}
