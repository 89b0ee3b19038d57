/* Bias correction: rounding and pruning move the mean of a channel, and a bias moves it back.
 *
 * Stage by stage in the order of execution, so that a stage is measured on the inputs its already corrected predecessors give it. The
 * mean of an accumulator is linear in the mean of each window element, so one pass over the inputs serves all channels. Sums
 * of codes are integers and the float sums are added image by image: the result does not depend on the number of threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/progress.h"
#include "compress_internal.h"
#include "integer.h"

enum { MOST_IMAGES = 256, MOST_BYTES = 1 << 28 };

typedef struct corrector {
    hd_model *m;
    const hd_plan *p;
    int images;
    hd_integer **run; /* [image]: codes of every tensor */
    double *sum;      /* [image][channels of all stages]: float sums before activation */
    size_t *first;    /* [stage]: its first channel in a row of sum */
    size_t row;
} corrector;

/* Float sums of one image, and its input as codes. */
static void look_at(corrector *c, int image, hd_exec *exec, const float *x, int8_t *codes) {
    hd_exec_run(exec, x);
    for (int i = 0; i < c->p->n_steps; i++) {
        const hd_step *s = &c->p->step[i];
        hd_shape shape = c->p->stored[s->pre];
        size_t positions = (size_t)shape.h * (size_t)shape.w;
        const float *value = hd_exec_tensor(exec, s->pre);
        for (size_t ch = 0; ch < (size_t)shape.c; ch++) {
            double sum = 0;
            for (size_t k = 0; k < positions; k++) sum += (double)value[ch * positions + k];
            c->sum[(size_t)image * c->row + c->first[i] + ch] = sum;
        }
    }
    hd_quantize_input(&c->m->tensor[c->m->input], x, codes);
    hd_integer_input(c->run[image], codes);
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
        if (mine == HD_OK && (!x || !codes)) mine = hd_fail(&own, HD_NOMEM, "no memory for bias correction");
#pragma omp for schedule(dynamic)
        for (int i = 0; i < c->images; i++) {
            if (mine != HD_OK || hd_interrupted) continue;
            hd_idx_item(calib, (uint32_t)i, unit, x);
            look_at(c, i, exec, x, codes);
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
    return status;
}

/* Adds a - zero of every window of one image to sum[group][ky][kx][ic]. */
static void add_windows(int64_t *sum, const hd_stage *s, const hd_qtensor *in, const hd_qtensor *to, const int8_t *a) {
    size_t per_group = (size_t)(s->cin / s->groups), taps = (size_t)s->kh * (size_t)s->kw;
    for (int oy = 0; oy < to->h; oy++)
        for (int ky = 0; ky < s->kh; ky++) {
            int iy = oy * s->sy - s->pad_top + ky * s->dy;
            if (iy < 0 || iy >= in->h) continue;
            for (int ox = 0; ox < to->w; ox++)
                for (int kx = 0; kx < s->kw; kx++) {
                    int ix = ox * s->sx - s->pad_left + kx * s->dx;
                    if (ix < 0 || ix >= in->w) continue;
                    const int8_t *pixel = a + ((size_t)iy * (size_t)in->w + (size_t)ix) * (size_t)in->c;
                    size_t tap = (size_t)ky * (size_t)s->kw + (size_t)kx;
                    for (size_t c = 0; c < (size_t)in->c; c++)
                        sum[(c / per_group * taps + tap) * per_group + c % per_group] += pixel[c] - in->zero;
                }
        }
}

static hd_status correct_stage(corrector *c, int stage, double fold, hd_err *err) {
    hd_stage *s = &c->m->stage[stage];
    const hd_qtensor *in = &c->m->tensor[s->input], *to = &c->m->tensor[s->output];
    size_t inputs = (size_t)s->kh * (size_t)s->kw * (size_t)(s->cin / s->groups), window = inputs * (size_t)s->groups, cout = (size_t)s->cout;
    size_t positions = (size_t)to->h * (size_t)to->w;
    int64_t *sum = calloc(window + cout, sizeof *sum), *residual = sum ? sum + window : NULL;
    if (!sum) return hd_fail(err, HD_NOMEM, "stage '%s': no memory for bias correction", s->name);
    int complete = 1;
#pragma omp parallel
    {
        int64_t *own = calloc(window + cout, sizeof *own);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < c->images; i++) {
            if (!own) continue;
            add_windows(own, s, in, to, hd_integer_tensor(c->run[i], s->input));
            const int8_t *b = s->residual >= 0 ? hd_integer_tensor(c->run[i], s->residual) : NULL;
            for (size_t k = 0; b && k < positions * cout; k++) own[window + k % cout] += b[k] - c->m->tensor[s->residual].zero;
        }
#pragma omp critical(hd_correct)
        {
            for (size_t k = 0; own && k < window + cout; k++) sum[k] += own[k];
            if (!own) complete = 0;
        }
        free(own);
    }
    double n = (double)c->images * (double)positions;
    for (size_t oc = 0; complete && oc < cout; oc++) {
        double unit = (double)in->scale * (double)s->scale[oc], target = 0, dot = 0;
        for (int i = 0; i < c->images; i++) target += c->sum[(size_t)i * c->row + c->first[stage] + oc];
        const int64_t *w = sum + oc / (cout / (size_t)s->groups) * inputs;
        for (size_t k = 0; k < inputs; k++) dot += (double)s->v[oc * inputs + k] * (double)w[k];
        target = (s->residual >= 0 ? target - (double)c->m->tensor[s->residual].scale * (double)residual[oc] : target) / n;
        double bias = floor((target + fold) / unit - dot / n + 0.5);
        s->bias[oc] = bias >= INT32_MAX ? INT32_MAX : bias <= INT32_MIN ? INT32_MIN : (int32_t)bias;
    }
    free(sum);
    return complete ? HD_OK : hd_fail(err, HD_NOMEM, "stage '%s': no memory for bias correction", s->name);
}

static hd_status correct(corrector *c, const double *fold, const hd_idx *calib, int unit, hd_err *err) {
    hd_status status = HD_OK;
    for (int i = 0; status == HD_OK && i < c->images; i++) status = hd_integer_new(&c->run[i], c->m, err);
    if (status == HD_OK) status = look_at_all(c, calib, unit, err);
    for (int i = 0; status == HD_OK && i < c->m->n_stages; i++) {
        if (hd_interrupted) return hd_fail(err, HD_INTERRUPTED, "stopped during bias correction");
        hd_role role = c->p->step[i].role;
        /* A lone function's input is exact: its identity has nothing to correct. */
        if (role == HD_ROLE_WEIGHTS || role == HD_ROLE_AVERAGE || (role == HD_ROLE_IDENTITY && c->p->step[i].residual >= 0))
            status = correct_stage(c, i, fold[i], err);
#pragma omp parallel for schedule(dynamic)
        for (int k = 0; k < c->images; k++) hd_integer_stage(c->run[k], i);
    }
    return status;
}

hd_status hd_correct_biases(hd_model *m, const hd_plan *p, const double *fold, const hd_idx *calib, int samples, int unit, hd_err *err) {
    size_t elements = 0;
    for (int i = 0; i < m->n_tensors; i++) elements += (size_t)m->tensor[i].h * (size_t)m->tensor[i].w * (size_t)m->tensor[i].c;
    size_t fit = MOST_BYTES / (elements ? elements : 1), wanted = samples < MOST_IMAGES ? (size_t)samples : MOST_IMAGES;
    corrector c = {.m = m, .p = p, .images = (int)(fit < 1 ? 1 : fit < wanted ? fit : wanted)};
    c.first = calloc((size_t)p->n_steps, sizeof *c.first);
    for (int i = 0; c.first && i < p->n_steps; i++) {
        c.first[i] = c.row;
        c.row += (size_t)p->stored[p->step[i].pre].c;
    }
    c.run = calloc((size_t)c.images, sizeof *c.run);
    c.sum = calloc((size_t)c.images * (c.row + 1), sizeof *c.sum);
    hd_status status = c.first && c.run && c.sum ? correct(&c, fold, calib, unit, err) : hd_fail(err, HD_NOMEM, "no memory for bias correction");
    for (int i = 0; c.run && i < c.images; i++) hd_integer_free(c.run[i]);
    free(c.run);
    free(c.sum);
    free(c.first);
    return status;
}
