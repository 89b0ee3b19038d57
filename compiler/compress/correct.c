/* Correction of each channel's scale and bias on data. Rounding and pruning shrink and move what a channel computes; a least-squares
 * line from what it computes now to what the float network computes moves it back, at no cost in the stored model.
 *
 * Stage by stage in the order of execution, on the integer network itself: a stage is fitted on the inputs its already corrected
 * predecessors give it. What a clip cuts off does not count: matching plain means (the usual bias correction) was measured to ruin
 * pruned ReLU networks, because it trades the cut-off side against the side that is used. Sums run in a fixed order for each channel,
 * so the result does not depend on the number of threads. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/progress.h"
#include "compress_internal.h"
#include "integer.h"

enum { MOST_IMAGES = 256, LEAST_IMAGES = 16, ROUNDS = 8 };
static const double MOST_BYTES = 256e6, MOST_MACS = 4e9;

typedef hd_watch corrector;

/* One channel's data: fit gain * a + offset + r to f. */
typedef struct fit {
    size_t n;
    float *a, *f, *r; /* accumulator and residual in real units; the float value */
    double lo, hi;    /* the clip that follows */
    double gain, offset;
} fit;

static hd_status look_at(corrector *c, int image, hd_exec *exec, const float *x, int8_t *codes, hd_err *err) {
    hd_exec_run(exec, x);
    for (int i = 0; i < c->p->n_steps; i++) {
        int t = c->p->step[i].pre;
        size_t bytes = hd_shape_size(c->p->stored[t]) * sizeof(float);
        float *copy = c->value[(size_t)image * (size_t)c->p->n_steps + (size_t)i] = malloc(bytes);
        if (!copy) return hd_fail(err, HD_NOMEM, "no memory for the correction of scales and biases");
        memcpy(copy, hd_exec_tensor(exec, t), bytes);
    }
    hd_quantize_input(&c->m->tensor[c->m->input], x, codes);
    hd_integer_input(c->run[image], codes);
    return HD_OK;
}

static hd_status look_at_all(corrector *c, const hd_idx *calib, int unit, hd_err *err) {
    hd_status status = HD_OK;
#pragma omp parallel
    {
        hd_err own = {0};
        hd_exec *exec = NULL;
        float *x = malloc(calib->item * sizeof *x);
        int8_t *codes = malloc(calib->item);
        hd_status mine = hd_exec_new(&exec, c->p->g, &own);
        if (mine == HD_OK && (!x || !codes)) mine = hd_fail(&own, HD_NOMEM, "no memory for the correction of scales and biases");
#pragma omp for schedule(dynamic)
        for (int i = 0; i < c->images; i++) {
            if (mine != HD_OK || hd_interrupted) continue;
            hd_idx_item(calib, (uint32_t)i, unit, x);
            mine = look_at(c, i, exec, x, codes, &own);
        }
        if (mine != HD_OK)
#pragma omp critical(hd_correct)
        {
            status = mine;
            if (err) *err = own;
        }
        hd_exec_free(exec);
        free(x);
        free(codes);
    }
    return status == HD_OK && hd_interrupted ? hd_fail(err, HD_INTERRUPTED, "stopped during the correction of scales and biases") : status;
}

/* Accumulator of channel oc at (oy, ox), without the bias. */
static int64_t accumulate(const hd_stage *s, const hd_qtensor *in, const int8_t *a, size_t oc, int oy, int ox) {
    size_t per_group = (size_t)(s->cin / s->groups);
    const int16_t *v = s->v + oc * (size_t)s->kh * (size_t)s->kw * per_group;
    int64_t acc = 0;
    a += oc / (size_t)(s->cout / s->groups) * per_group;
    for (int ky = 0; ky < s->kh; ky++)
        for (int kx = 0; kx < s->kw; kx++, v += per_group) {
            int iy = oy * s->sy - s->pad_top + ky * s->dy, ix = ox * s->sx - s->pad_left + kx * s->dx;
            if (iy < 0 || iy >= in->h || ix < 0 || ix >= in->w) continue;
            const int8_t *pixel = a + ((size_t)iy * (size_t)in->w + (size_t)ix) * (size_t)in->c;
            int32_t tap = 0;
            for (size_t i = 0; i < per_group; i++) tap += v[i] * (pixel[i] - in->zero);
            acc += tap;
        }
    return acc;
}

static void collect(fit *f, const corrector *c, int stage, size_t oc) {
    const hd_stage *s = &c->m->stage[stage];
    const hd_qtensor *in = &c->m->tensor[s->input], *to = &c->m->tensor[s->output];
    const hd_qtensor *b = s->residual >= 0 ? &c->m->tensor[s->residual] : NULL;
    double unit = (double)in->scale * (double)s->scale[oc];
    size_t positions = (size_t)to->h * (size_t)to->w, at = 0;
    for (int i = 0; i < c->images; i++) {
        const int8_t *a = hd_integer_tensor(c->run[i], s->input), *r = b ? hd_integer_tensor(c->run[i], s->residual) : NULL;
        const float *value = c->value[(size_t)i * (size_t)c->p->n_steps + (size_t)stage] + oc * positions;
        for (size_t k = 0; k < positions; k++, at++) {
            f->a[at] = (float)(unit * (double)accumulate(s, in, a, oc, (int)(k / (size_t)to->w), (int)(k % (size_t)to->w)));
            f->f[at] = value[k];
            f->r[at] = b ? b->scale * (float)(r[k * (size_t)s->cout + oc] - b->zero) : 0.0f;
        }
    }
}

static double clip(const fit *f, double x) { return x < f->lo ? f->lo : x > f->hi ? f->hi : x; }

static double fit_error(const fit *f, double gain, double offset) {
    double error = 0;
    for (size_t i = 0; i < f->n; i++) {
        double e = clip(f, gain * f->a[i] + offset + f->r[i]) - clip(f, f->f[i]);
        error += e * e;
    }
    return error;
}

/* Least squares over the samples that count at the present line, a few times over; the best line seen stays, the first included. The
 * gain is held between 1/3 and 3: a channel beyond that does not follow its original any more. */
static void solve(fit *f, int free_gain) {
    double gain = f->gain, offset = f->offset, least = fit_error(f, gain, offset);
    for (int round = 0; round < ROUNDS; round++) {
        double n = 0, sa = 0, sy = 0, saa = 0, say = 0;
        for (size_t i = 0; i < f->n; i++) {
            double now = gain * f->a[i] + offset + f->r[i], y = f->f[i];
            if ((now <= f->lo && y <= f->lo) || (now >= f->hi && y >= f->hi)) continue;
            y = clip(f, y) - f->r[i];
            n++;
            sa += f->a[i];
            sy += y;
            saa += (double)f->a[i] * f->a[i];
            say += f->a[i] * y;
        }
        if (n < 2) break;
        double spread = saa / n - sa / n * (sa / n);
        if (free_gain && spread > 1e-9 * saa / n) gain = fmin(3.0, fmax(1.0 / 3.0, (say / n - sa / n * (sy / n)) / spread));
        offset = (sy - gain * sa) / n;
        double error = fit_error(f, gain, offset);
        if (error < least) {
            least = error;
            f->gain = gain;
            f->offset = offset;
        }
    }
}

static hd_status correct_stage(corrector *c, int stage, hd_err *err) {
    hd_stage *s = &c->m->stage[stage];
    const hd_step *step = &c->p->step[stage];
    const hd_qtensor *in = &c->m->tensor[s->input], *to = &c->m->tensor[s->output];
    int clipped = step->n_fn > 0 && !s->has_table, failed = 0, too_large = 0;
    size_t n = (size_t)c->images * (size_t)to->h * (size_t)to->w;
#pragma omp parallel
    {
        fit f = {.n = n, .a = malloc(3 * n * sizeof(float))};
        f.lo = clipped ? (double)hd_step_apply(c->p, step, -INFINITY) : -INFINITY;
        f.hi = clipped ? (double)hd_step_apply(c->p, step, INFINITY) : INFINITY;
#pragma omp for schedule(dynamic)
        for (int oc = 0; oc < s->cout; oc++) {
            if (!f.a) continue;
            f.f = f.a + n;
            f.r = f.f + n;
            collect(&f, c, stage, (size_t)oc);
            double fold = (double)c->pre[stage].scale * (c->pre[stage].zero - to->zero);
            f.gain = 1.0;
            f.offset = (double)s->bias[oc] * (double)in->scale * (double)s->scale[oc] - fold;
            /* One scale for the whole layer cannot follow single channels. */
            solve(&f, s->granularity != HD_GRANULARITY_TENSOR);
            s->scale[oc] = (float)(s->scale[oc] * f.gain);
            if (!hd_stage_set_channel(s, oc, in->scale, c->pre[stage], to->zero, f.offset))
#pragma omp atomic write
                too_large = 1;
        }
        if (!f.a)
#pragma omp atomic write
            failed = 1;
        free(f.a);
    }
    if (failed) return hd_fail(err, HD_NOMEM, "stage '%s': no memory for the correction of scales and biases", s->name);
    if (too_large) return hd_fail(err, HD_UNSUPPORTED, "stage '%s': weights too large for its output's scale", s->name);
    return HD_OK;
}

/* The policy that stage i's weights are solved again by, or NULL. */
static const hd_layer_policy *solved_by(const corrector *c, int i, const hd_policy *policy, const hd_trained *trained) {
    const hd_step *step = &c->p->step[i];
    if (step->role != HD_ROLE_WEIGHTS || (trained && trained[step->node].scale)) return NULL;
    const hd_layer_policy *o = hd_policy_of(policy, c->p->g->node[step->node].name);
    /* AWQ's clip search follows the folding of its scales; it knows no masks. */
    int clips = o->recipe.fold == HD_FOLD_AWQ && o->granularity != HD_GRANULARITY_TENSOR && !c->m->stage[i].present;
    return o->recipe.solver == HD_METHOD_RTN && !clips && hd_stage_coding(o, &c->m->stage[i]) == HD_CODING_INTEGER ? NULL : o;
}

static hd_status correct(corrector *c, const hd_policy *policy, const hd_trained *trained, const hd_idx *calib, int unit, hd_err *err) {
    hd_status status = HD_OK;
    for (int i = 0; status == HD_OK && i < c->images; i++) status = hd_integer_new(&c->run[i], c->m, err);
    if (status == HD_OK) status = look_at_all(c, calib, unit, err);
    for (int i = 0; status == HD_OK && i < c->m->n_stages; i++) {
        if (hd_interrupted) return hd_fail(err, HD_INTERRUPTED, "stopped during the correction of scales and biases");
        hd_role role = c->p->step[i].role;
        const hd_layer_policy *o = solved_by(c, i, policy, trained);
        if (o) status = hd_solve_stage(c, i, o, err);
        if (status != HD_OK) break;
        /* A lone function's input is exact: its identity has nothing to correct. */
        if (role == HD_ROLE_WEIGHTS || (role == HD_ROLE_AVERAGE && !policy->split_average) || (role == HD_ROLE_IDENTITY && c->p->step[i].residual >= 0))
            status = correct_stage(c, i, err);
        if (status != HD_OK) break;
#pragma omp parallel for schedule(dynamic)
        for (int k = 0; k < c->images; k++) hd_integer_stage(c->run[k], i);
    }
    return status;
}

/* As many images as memory and work allow. */
static int affordable(const hd_model *m, int samples) {
    double bytes = 1, macs = 1;
    for (int i = 0; i < m->n_tensors; i++) bytes += 5.0 * m->tensor[i].h * m->tensor[i].w * m->tensor[i].c;
    for (int i = 0; i < m->n_stages; i++) {
        const hd_stage *s = &m->stage[i];
        double positions = (double)m->tensor[s->output].h * m->tensor[s->output].w;
        if (s->kind == HD_STAGE_CONV) macs += positions * s->kh * s->kw * s->cout * (s->cin / s->groups);
    }
    double most = fmin(MOST_IMAGES, fmin(MOST_BYTES / bytes, fmax(LEAST_IMAGES, MOST_MACS / macs)));
    return most < 1 ? 1 : most < samples ? (int)most : samples;
}

hd_status hd_correct_channels(hd_model *m, const hd_plan *p, const hd_qparams *pre, const hd_policy *policy, const hd_trained *trained,
                              const hd_idx *calib, int samples, int unit, hd_err *err) {
    corrector c = {.m = m, .p = p, .pre = pre, .images = affordable(m, samples), .trained = trained};
    size_t values = (size_t)c.images * (size_t)p->n_steps;
    c.run = calloc((size_t)c.images, sizeof *c.run);
    c.value = calloc(values, sizeof *c.value);
    hd_status status = c.run && c.value ? correct(&c, policy, trained, calib, unit, err) : hd_fail(err, HD_NOMEM, "no memory for the correction of scales and biases");
    for (int i = 0; c.run && i < c.images; i++) hd_integer_free(c.run[i]);
    for (size_t i = 0; c.value && i < values; i++) free(c.value[i]);
    free(c.run);
    free(c.value);
    return status;
}
