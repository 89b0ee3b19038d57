/* The layer problem of a convolution stage. Its inputs are windows [ky][kx][ic] of the codes that the compressed predecessors give; the outputs
 * that are wanted are the float network's, less what a residual brings. Means are taken out of both sides, because the bias is free.
 * Windows are thinned out evenly where there are more than the statistics need. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compress_internal.h"
#include "integer.h"
#include "model_internal.h"

enum { PARTS = 8, PARTS_UP_TO = 1024, ROWS = 64 };
static const double FEW_SAMPLES = 0.05; /* damping for each input a sample; of 0, 0.03, 0.1 and 0.3 the best at 50 to 256 images lie between 0.03 and 0.1 */
static const double MOST_WORK = 4e9; /* multiplications for the second moments of a stage's group */

typedef struct site {
    const hd_watch *c;
    const hd_stage *s;
    int stage;
    size_t group, in, out, width; /* width: in + 1 + out, a sample is [window][1][wanted outputs] */
    size_t positions, stride;     /* of one image; every stride-th is used */
} site;

static void window(float *x, const site *t, const int8_t *a, int oy, int ox) {
    const hd_stage *s = t->s;
    const hd_qtensor *in = &t->c->m->tensor[s->input];
    size_t per_tap = (size_t)(s->cin / s->groups);
    for (int ky = 0; ky < s->kh; ky++)
        for (int kx = 0; kx < s->kw; kx++, x += per_tap) {
            int iy = oy * s->sy - s->pad_top + ky * s->dy, ix = ox * s->sx - s->pad_left + kx * s->dx;
            int inside = iy >= 0 && iy < in->h && ix >= 0 && ix < in->w;
            const int8_t *pixel = inside ? a + ((size_t)iy * (size_t)in->w + (size_t)ix) * (size_t)in->c + t->group * per_tap : NULL;
            for (size_t i = 0; i < per_tap; i++) x[i] = inside ? in->scale * (float)(pixel[i] - in->zero) : 0.0f;
        }
}

static void wanted(float *y, const site *t, int image, size_t position) {
    const hd_stage *s = t->s;
    const hd_model *m = t->c->m;
    const float *value = t->c->value[(size_t)image * (size_t)t->c->p->n_steps + (size_t)t->stage];
    for (size_t k = 0; k < t->out; k++) y[k] = value[(t->group * t->out + k) * t->positions + position];
    if (s->residual < 0) return;
    const hd_qtensor *b = &m->tensor[s->residual];
    const int8_t *r = hd_integer_tensor(t->c->run[image], s->residual) + position * (size_t)s->cout + t->group * t->out;
    for (size_t k = 0; k < t->out; k++) y[k] -= b->scale * (float)(r[k] - b->zero);
}

static void collect_image(hd_hessian *h, float *rows, const site *t, int image) {
    const hd_qtensor *to = &t->c->m->tensor[t->s->output];
    const int8_t *a = hd_integer_tensor(t->c->run[image], t->s->input);
    int n = 0;
    /* The images start at different positions, so that thinning leaves none out. */
    for (size_t k = (size_t)image % t->stride; k < t->positions; k += t->stride) {
        float *x = rows + (size_t)n * t->width;
        window(x, t, a, (int)(k / (size_t)to->w), (int)(k % (size_t)to->w));
        x[t->in] = 1.0f;
        wanted(x + t->in + 1, t, image, k);
        if (++n < ROWS) continue;
        hd_hessian_add(h, rows, n);
        n = 0;
    }
    if (n) hd_hessian_add(h, rows, n);
}

/* Second moments of the samples [width][width]. Images in a fixed number of parts, added up in order: the same for any number of threads. */
static hd_status moments(double *all, const site *t, hd_err *err) {
    int parts = t->width <= PARTS_UP_TO ? PARTS : 1, failed = 0;
    double *part = malloc((size_t)parts * t->width * t->width * sizeof *part), samples = 0;
    if (!part) return hd_fail(err, HD_NOMEM, "stage '%s': no memory for the second moments of its inputs", t->s->name);
#pragma omp parallel for schedule(dynamic)
    for (int k = 0; k < parts; k++) {
        hd_hessian *h = hd_hessian_new((int)t->width);
        float *rows = malloc(ROWS * t->width * sizeof *rows);
        for (int image = k; h && rows && image < t->c->images; image += parts) collect_image(h, rows, t, image);
        if (h) hd_hessian_get(h, part + (size_t)k * t->width * t->width);
        if (!h || !rows)
#pragma omp atomic write
            failed = 1;
        hd_hessian_free(h);
        free(rows);
    }
    /* Each part is 2 / its samples * sum; the entry of the constant 1 is 2, so the samples of a part are counted again here. */
    memset(all, 0, t->width * t->width * sizeof *all);
    for (int k = 0; k < parts; k++) {
        double n = 0;
        for (int image = k; image < t->c->images; image += parts) {
            size_t first = (size_t)image % t->stride;
            n += first < t->positions ? (double)((t->positions - 1 - first) / t->stride + 1) : 0;
        }
        samples += n;
        for (size_t i = 0; i < t->width * t->width; i++) all[i] += n * part[(size_t)k * t->width * t->width + i];
    }
    for (size_t i = 0; i < t->width * t->width; i++) all[i] /= samples;
    free(part);
    return failed ? hd_fail(err, HD_NOMEM, "stage '%s': no memory for the second moments of its inputs", t->s->name) : HD_OK;
}

/* Covariances out of moments: h [in][in], yx [out][in], mean [in + 1 + out]. */
static void centre(const double *all, const site *t, double *h, double *yx, double *mean) {
    size_t in = t->in, w = t->width;
    for (size_t i = 0; i < w; i++) mean[i] = all[in * w + i] / 2;
    for (size_t i = 0; i < in; i++)
        for (size_t j = 0; j < in; j++) h[i * in + j] = all[i * w + j] - 2 * mean[i] * mean[j];
    for (size_t i = 0; i < in; i++) {
        /* what is left of a constant input is rounding */
        if (h[i * in + i] > 1e-9 * all[i * w + i]) continue;
        for (size_t j = 0; j < in; j++) h[i * in + j] = h[j * in + i] = 0;
    }
    for (size_t k = 0; k < t->out; k++)
        for (size_t i = 0; i < in; i++) yx[k * in + i] = h[i * in + i] > 0 ? all[(in + 1 + k) * w + i] - 2 * mean[in + 1 + k] * mean[i] : 0;
}

/* The solution into the stage, with the bias that brings the means together. */
static hd_status take(hd_stage *s, const site *t, const hd_linear_result *r, const double *mean, hd_err *err) {
    const hd_qtensor *in = &t->c->m->tensor[s->input], *to = &t->c->m->tensor[s->output];
    size_t shifts = hd_stage_shift_groups(s), blocks = hd_stage_in_blocks(s), taps = (size_t)(s->kh * s->kw), per_tap = t->in / taps;
    memcpy(s->v + t->group * t->out * t->in, r->v, t->out * t->in * sizeof *s->v);
    if (r->shift) memcpy(s->group_shift + t->group * t->out * shifts, r->shift, t->out * shifts);
    for (size_t row = 0; s->present && s->groups == 1 && r->mask && row < t->out; row += (size_t)s->block_out)
        for (size_t i = 0; i < t->in; i++) {
            size_t along = blocks / taps, block = i / per_tap * along + i % per_tap / (size_t)s->block_in;
            s->present[row / (size_t)s->block_out * blocks + block] = r->mask[row * t->in + i];
        }
    for (size_t row = 0; row < t->out; row++) {
        size_t oc = t->group * t->out + row;
        double bias = mean[t->in + 1 + row];
        s->scale[oc] = r->scale[row];
        for (size_t i = 0; i < t->in; i++) bias -= (double)r->w[row * t->in + i] * mean[i];
        if (!hd_stage_set_channel(s, (int)oc, in->scale, t->c->pre[t->stage], to->zero, bias))
            return hd_fail(err, HD_UNSUPPORTED, "stage '%s': weights too large for its output's scale", s->name);
    }
    return HD_OK;
}

/* keep: blocks that there are; allowed: blocks that may be chosen (NULL = all). */
static hd_status solve_group(hd_stage *s, const site *t, const hd_layer_policy *o, const float *w, const float *least, const uint8_t *keep,
                             const uint8_t *allowed, hd_err *err) {
    size_t in = t->in, n = t->out * in, at = t->group * n;
    double *all = malloc((t->width * t->width + in * in + n + t->width) * sizeof *all);
    if (!all) return hd_fail(err, HD_NOMEM, "stage '%s': no memory for the second moments of its inputs", s->name);
    double *h = all + t->width * t->width, *yx = h + in * in, *mean = yx + n;
    hd_status status = moments(all, t, err);
    if (status == HD_OK) {
        centre(all, t, h, yx, mean);
        int choose = keep && (o->recipe.solver == HD_METHOD_SPARSEGPT || o->recipe.solver == HD_METHOD_IOBS) && s->groups == 1;
        size_t kept = 0, blocks = choose ? hd_stage_out_blocks(s) * hd_stage_in_blocks(s) : 0;
        for (size_t i = 0; i < blocks; i++) kept += s->present[i];
        int clips = o->recipe.solver == HD_METHOD_RTN; /* AWQ with folded scales: rounds the weights as they are */
        hd_linear p = {.name = s->name, .out = (int)t->out, .in = (int)in, .w = w + at, .h = h, .yx = clips ? NULL : yx};
        hd_linear_format f = {.bits = s->bits, .grid = s->grid, .group = s->group_size, .shift_groups = s->granularity == HD_GRANULARITY_GROUP,
                              .wide_scales = 1, .scale_least = least + t->group * t->out, .keep = choose ? allowed : keep ? keep + at : NULL};
        if (choose) {
            f.sparsity = HD_SPARSE_BLOCK;
            f.density = (float)kept / (float)blocks;
            f.block_in = s->block_in;
            f.block_out = s->block_out;
            f.tap = (int)(in / (size_t)(s->kh * s->kw));
        }
        hd_linear_options options;
        hd_linear_result r;
        hd_recipe_solver(&options, &o->recipe, choose);
        if (clips) hd_linear_defaults(&options, HD_METHOD_AWQ);
        /* Few samples say little about many inputs: a fully connected layer has one an image. */
        options.damping += FEW_SAMPLES * (double)in / ((double)t->c->images * ceil((double)t->positions / (double)t->stride));
        options.awq_points = 1; /* input scales are folded into the predecessors */
        hd_coding coding = hd_stage_coding(o, s);
        p.yx = coding != HD_CODING_INTEGER ? yx : p.yx;
        if (coding != HD_CODING_INTEGER) free(s->books);
        status = coding == HD_CODING_INTEGER ? hd_linear_solve(&r, &p, &f, &options, err)
                                             : hd_solve_coded(&r, &s->books, &p, keep, s->block_out, coding, options.damping, err);
        if (status == HD_OK) status = take(s, t, &r, mean, err);
        hd_linear_result_free(&r);
    }
    free(all);
    return status;
}

hd_status hd_solve_stage(const hd_watch *c, int i, const hd_layer_policy *o, hd_err *err) {
    hd_stage *s = &c->m->stage[i];
    const hd_node *n = &c->p->g->node[c->p->step[i].node];
    const hd_qtensor *in = &c->m->tensor[s->input], *to = &c->m->tensor[s->output];
    site t = {.c = c, .s = s, .stage = i, .in = hd_stage_inputs(s), .out = (size_t)(s->cout / s->groups), .positions = (size_t)to->h * (size_t)to->w};
    t.width = t.in + 1 + t.out;
    double work = (double)c->images * (double)t.positions * (double)t.width * (double)t.width;
    t.stride = (size_t)fmin(ceil(work / MOST_WORK), (double)t.positions);
    float *w = hd_stage_source_weights(n, s), *least = hd_stage_scale_floors(n, s, (hd_qparams){in->scale, in->zero}, c->pre[i], to->zero);
    const uint8_t *among = s->present && c->trained ? c->trained[c->p->step[i].node].present : NULL;
    uint8_t *keep = s->present ? malloc(hd_stage_weights(s)) : NULL, *allowed = among ? malloc(hd_stage_weights(s)) : NULL;
    hd_status status = w && least && (keep || !s->present) && (allowed || !among) ? HD_OK : hd_fail(err, HD_NOMEM, "stage '%s': out of memory", s->name);
    for (size_t k = 0; keep && k < hd_stage_weights(s); k++) keep[k] = (uint8_t)hd_stage_is_present(s, k / t.in, k % t.in);
    hd_stage view = *s;
    view.present = (uint8_t *)among;
    for (size_t k = 0; allowed && k < hd_stage_weights(s); k++) allowed[k] = (uint8_t)hd_stage_is_present(&view, k / t.in, k % t.in);
    for (t.group = 0; status == HD_OK && t.group < (size_t)s->groups; t.group++) status = solve_group(s, &t, o, w, least, keep, allowed, err);
    free(w);
    free(least);
    free(keep);
    free(allowed);
    return status;
}
