#include "qat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    *f = (hd_fake){.node = node, .odd = s->grid == HD_GRID_ODD, .per_tensor = s->granularity == HD_GRANULARITY_TENSOR};
    f->cout = (size_t)s->cout;
    f->taps = (size_t)s->kh * (size_t)s->kw;
    f->per_tap = (size_t)(s->cin / s->groups);
    f->inputs = f->taps * f->per_tap;
    if (!n->weight || f->cout * f->inputs != hd_node_weights(n))
        return hd_fail(err, HD_MISMATCH, "stage '%s': %zu weights; node '%s' has %zu", s->name, f->cout * f->inputs, n->name, n->weight ? hd_node_weights(n) : 0);
    f->steps = f->per_tensor ? 1 : f->cout;
    if (s->grid == HD_GRID_TERNARY) f->lowest = -2, f->highest = 2;
    else f->lowest = f->odd ? 1 - (1 << s->bits) : -(1 << s->bits), f->highest = f->odd ? (1 << s->bits) - 1 : (1 << s->bits) - 2;
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

static float nearest(const hd_fake *f, float x) {
    float v = f->odd ? 2.0f * floorf(x * 0.5f) + 1.0f : 2.0f * floorf(x * 0.5f + 0.5f);
    return fminf(fmaxf(v, (float)f->lowest), (float)f->highest);
}

int hd_fake_nearest(const hd_fake *f, float x) { return (int)nearest(f, x); }

void hd_fake_forward(const hd_fake *f, const float *w, const float *step, float *q) {
    for (size_t oc = 0; oc < f->cout; oc++) {
        float s = step[f->per_tensor ? 0 : oc];
        for (size_t i = oc * f->inputs; i < (oc + 1) * f->inputs; i++) {
            float unit = s * f->gain[i];
            q[i] = unit > 0 ? unit * nearest(f, w[i] / unit) : 0;
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
            sum += (double)(d[i] * f->gain[i] * (nearest(f, x) - (inside ? x : 0)));
            if (!inside) d[i] = 0;
        }
        dstep[f->per_tensor ? 0 : oc] += (float)(sum / sqrt((double)(f->per_tensor ? f->cout * f->inputs : f->inputs) * (double)highest));
    }
}
