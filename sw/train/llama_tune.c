#include "llama_tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/linear_internal.h"
#include "../../compiler/compress/model_internal.h"
#include "llama_loop.h"
#include "masks.h"

/* One matrix on its way: its fake quantiser, and where its parameters lie. */
typedef struct matrix {
    hd_fake fake;
    int layer, index;          /* which of the model's */
    const hd_lm_matrix *start; /* lent */
    size_t at, steps_at;       /* its weights and the logarithms of its step sizes among the loop's parameters */
} matrix;

typedef struct tuner {
    const hd_llama_tune_options *o;
    hd_llama *m;         /* the student, with the weights that it runs with */
    matrix *matrix;      /* [matrices] */
    hd_fake **fakes;     /* [matrices] */
    const float **weight, **square; /* [matrices] trained weights and Adam's second moments, for the masks */
    int matrices;
    float *step, *dstep; /* [most rows of a matrix] */
    float *dense;        /* [params.total] the gradient before masks change, absent weights' included */
    hd_mask_plan plan;
    hd_llama_feed feed;
    hd_llama_loop loop;
    int16_t *written;    /* [o->written][t+1] */
} tuner;

void hd_llama_tune_defaults(hd_llama_tune_options *o) {
    *o = (hd_llama_tune_options){.steps = 1500, .batch = 4, .step_pace = 1, .masks = HD_MASKS_GRADUAL, .score = HD_SCORE_FISHER, .global = 1, .settled = 0.5f,
                                 .share = 1, .temperature = 1, .written = 800, .written_share = 0.8f, .norms = 1, .seed = 1};
}

float hd_llama_tune_rate(const hd_lm *start) {
    int hard = 0;
    for (int i = 0; i < start->model->layers * HD_LLAMA_MATRICES; i++) hard |= start->matrix[i].linear.mask || start->matrix[i].format.bits < 4;
    return hard ? 1e-2f : 1e-3f;
}

static hd_status check_options(const hd_llama_tune_options *o, hd_err *err) {
    if ((unsigned)o->score > HD_SCORE_FISHER) return hd_fail(err, HD_RANGE, "tuning: score %u; 0..%d are allowed", (unsigned)o->score, HD_SCORE_FISHER);
    if ((unsigned)o->masks > HD_MASKS_FEEDBACK) return hd_fail(err, HD_RANGE, "tuning: masks %u; 0..%d are allowed", (unsigned)o->masks, HD_MASKS_FEEDBACK);
    if (o->written < 0) return hd_fail(err, HD_RANGE, "tuning: %d written rows; 0 and more are allowed", o->written);
    const struct {
        const char *what;
        float found, most;
    } part[] = {{"settled part", o->settled, 1}, {"teacher's share", o->share, 1}, {"written share", o->written_share, 1}, {"pace of steps", o->step_pace, 100}};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        if (!(part[i].found >= 0) || part[i].found > part[i].most)
            return hd_fail(err, HD_RANGE, "tuning: %s %g; 0..%g is allowed", part[i].what, (double)part[i].found, (double)part[i].most);
    if (!(o->temperature > 0) || o->temperature > 100) return hd_fail(err, HD_RANGE, "tuning: temperature %g; above 0, at most 100 is allowed", (double)o->temperature);
    if (!(o->rate >= 0) || o->rate > 1) return hd_fail(err, HD_RANGE, "tuning: learning rate %g; 0..1 is allowed", (double)o->rate);
    return HD_OK;
}

/* ---- the fake quantiser of a matrix ---- */

static int is_float(const matrix *x) {
    return x->start->format.bits == 16;
}

static hd_status check_matrix(const hd_lm_matrix *m, const hd_llama_tune_options *o, const char *name, hd_err *err) {
    const hd_linear_result *r = &m->linear;
    const hd_linear_format *f = &m->format;
    if (m->code) return hd_fail(err, HD_UNSUPPORTED, "%s: codes; those of tables are tuned by PV-Tuning", name);
    if (f->bits == 16 ? !r->mask : !r->v || !r->scale) return hd_fail(err, HD_UNSUPPORTED, "%s: tuning takes integers with scales, or values under a mask", name);
    if (r->zero) return hd_fail(err, HD_UNSUPPORTED, "%s: zero points; tuning takes grids without", name);
    if (f->bits != 16 && f->group && !f->shift_groups)
        return hd_fail(err, HD_UNSUPPORTED, "%s: a scale for each group of %d; tuning takes one a row, with shifts for the groups", name, f->group);
    if (r->mask && f->sparsity == HD_SPARSE_N_OF_M && o->masks != HD_MASKS_FIXED)
        return hd_fail(err, HD_UNSUPPORTED, "%s: masks of %d:%d cannot change in training; they stay with --masks fixed", name, f->n, f->m);
    return HD_OK;
}

static hd_status make_fake(matrix *x, int out, int in, const char *name, hd_err *err) {
    const hd_linear_format *format = &x->start->format;
    const hd_linear_result *r = &x->start->linear;
    hd_fake *f = &x->fake;
    size_t rows = (size_t)out, columns = (size_t)in, n = rows * columns;
    *f = (hd_fake){.cout = rows, .inputs = columns, .steps = rows, .taps = 1, .per_tap = columns};
    f->lowest = is_float(x) ? 0 : hd_grid_min(format->grid, format->bits);
    f->highest = is_float(x) ? 0 : hd_grid_max(format->grid, format->bits);
    f->gain = malloc(n * sizeof *f->gain);
    if (r->mask) {
        int blocks = format->sparsity == HD_SPARSE_BLOCK;
        f->block_in = blocks ? (size_t)format->block_in : 1;
        f->block_out = blocks ? (size_t)format->block_out : 1;
        f->in_blocks = (columns + f->block_in - 1) / f->block_in;
        f->blocks = f->in_blocks * ((rows + f->block_out - 1) / f->block_out);
        f->present = calloc(f->blocks, 1);
        for (size_t i = 0; f->present && i < n; i++)
            if (r->mask[i]) f->present[hd_fake_block(f, i / columns, i % columns)] = 1;
    }
    if (r->shift) {
        size_t group = format->group && format->group < in ? (size_t)format->group : columns, groups = (columns + group - 1) / group;
        f->shift = malloc(n);
        for (size_t i = 0; f->shift && i < n; i++) f->shift[i] = r->shift[i / columns * groups + i % columns / group];
    }
    if (!f->gain || (r->mask && !f->present) || (r->shift && !f->shift)) return hd_fail(err, HD_NOMEM, "%s: no memory for quantised weights", name);
    hd_fake_mask(f);
    return HD_OK;
}

/* Step sizes as they are stored: scales are float16 unless wide, and no zeros. */
static void read_steps(const tuner *t, const matrix *x, const float *weight) {
    for (size_t k = 0; k < x->fake.steps; k++) {
        double step = fmin(fmax(exp((double)weight[x->steps_at + k]), 6e-8), 65504);
        t->step[k] = (float)(x->start->format.wide_scales ? step : hd_half(step));
    }
}

/* The matrix as the model runs with it. */
static void quantise(const tuner *t, const matrix *x, const float *weight, float *q) {
    const hd_fake *f = &x->fake;
    const float *w = weight + x->at, *in_scale = x->start->linear.in_scale;
    size_t n = f->cout * f->inputs;
    if (is_float(x)) {
        for (size_t i = 0; i < n; i++) q[i] = f->gain[i] > 0 ? w[i] : 0;
        return;
    }
    read_steps(t, x, weight);
    hd_fake_forward(f, w, t->step, q);
    for (size_t i = 0; in_scale && i < n; i++) q[i] /= in_scale[i % f->inputs];
}

/* ---- hooks of the loop ---- */

static void place(void *arg, const float *weight) {
    tuner *t = arg;
    const hd_llama_params *p = &t->loop.params;
    size_t norm = (size_t)t->m->dim * sizeof *weight;
    for (int i = 0; i < t->matrices; i++) {
        const matrix *x = &t->matrix[i];
        quantise(t, x, weight, t->m->layer[x->layer].matrix[x->index]);
    }
    memcpy(t->m->norm_final, weight + p->norm_final, norm);
    for (int l = 0; l < t->m->layers; l++) {
        memcpy(t->m->layer[l].norm_attention, weight + p->norm_attention[l], norm);
        memcpy(t->m->layer[l].norm_ffn, weight + p->norm_ffn[l], norm);
    }
}

static void gradient(void *arg, const float *weight, float *d) {
    tuner *t = arg;
    int grows = t->o->masks == HD_MASKS_REGROW && hd_mask_plan_changes(&t->plan, t->loop.step);
    for (int i = 0; i < t->matrices; i++) {
        const matrix *x = &t->matrix[i];
        const hd_fake *f = &x->fake;
        const float *in_scale = x->start->linear.in_scale;
        float *own = d + x->at;
        size_t n = f->cout * f->inputs;
        for (size_t k = 0; in_scale && k < n; k++) own[k] /= in_scale[k % f->inputs];
        if (grows) {
            hd_mask_plan_growth(&t->plan, i, own);
            memcpy(t->dense + x->at, own, n * sizeof *own);
        }
        if (is_float(x)) {
            for (size_t k = 0; k < n; k++)
                if (!(f->gain[k] > 0) && !f->absent_learns) own[k] = 0;
            continue;
        }
        read_steps(t, x, weight);
        hd_fake_backward(f, weight + x->at, t->step, own, t->dstep);
        for (size_t k = 0; k < f->steps; k++) d[x->steps_at + k] = t->dstep[k] * t->step[k];
    }
}

/* Weights that come back start next to 0, on the side the gradient wants, with fresh moments. */
static void start_grown(tuner *t, int i) {
    const hd_fake *f = &t->matrix[i].fake;
    hd_llama_loop *l = &t->loop;
    for (size_t oc = 0; oc < f->cout; oc++)
        for (size_t k = 0; k < f->inputs; k++) {
            size_t b = hd_fake_block(f, oc, k), w = t->matrix[i].at + oc * f->inputs + k;
            if (t->plan.before[i][b] || !f->present[b]) continue;
            l->weight[w] = t->dense[w] > 0 ? -1e-6f : 1e-6f;
            l->mean[w] = l->square[w] = 0;
        }
}

static hd_status after(void *arg, long step, hd_err *err) {
    tuner *t = arg;
    if (!hd_mask_plan_changes(&t->plan, step - 1)) return HD_OK;
    hd_status s = hd_mask_plan_update(&t->plan, step - 1, t->weight, t->square, err);
    for (int i = 0; !s && t->o->masks == HD_MASKS_REGROW && i < t->matrices; i++)
        if (t->matrix[i].fake.blocks) start_grown(t, i);
    if (!s) hd_llama_loop_place(&t->loop);
    return s;
}

/* ---- setup ---- */

static hd_status make_matrices(tuner *t, const hd_lm *start, hd_err *err) {
    int all = t->m->layers * HD_LLAMA_MATRICES, most = 1;
    t->matrix = calloc((size_t)all, sizeof *t->matrix);
    t->fakes = calloc((size_t)all, sizeof *t->fakes);
    t->weight = calloc((size_t)all, sizeof *t->weight);
    t->square = calloc((size_t)all, sizeof *t->square);
    if (!t->matrix || !t->fakes || !t->weight || !t->square) return hd_fail(err, HD_NOMEM, "no memory for %d matrices", all);
    for (int i = 0; i < all; i++) {
        matrix *x = &t->matrix[i];
        char name[32];
        int out, in;
        *x = (matrix){.layer = i / HD_LLAMA_MATRICES, .index = i % HD_LLAMA_MATRICES, .start = &start->matrix[i]};
        hd_llama_name(x->layer, x->index, name, sizeof name);
        hd_llama_shape(t->m, x->index, &out, &in);
        if (out > most) most = out;
        t->fakes[i] = &x->fake;
        t->matrices = i + 1;
        hd_status s = check_matrix(x->start, t->o, name, err);
        if (!s) s = make_fake(x, out, in, name, err);
        if (s) return s;
    }
    t->step = calloc((size_t)most, sizeof *t->step);
    t->dstep = calloc((size_t)most, sizeof *t->dstep);
    return t->step && t->dstep ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for step sizes");
}

/* With masks that only grow, training starts from the source's weights, all present; else from the compressed ones, which make up for what is
 * absent. */
static void start_weights(tuner *t, const hd_llama *source) {
    hd_llama_loop *l = &t->loop;
    int dense = t->o->masks == HD_MASKS_GRADUAL || t->o->masks == HD_MASKS_FEEDBACK;
    size_t at = l->params.total;
    for (int i = 0; i < t->matrices; i++) {
        matrix *x = &t->matrix[i];
        const hd_fake *f = &x->fake;
        const hd_linear_result *r = &x->start->linear;
        const float *from = dense && r->mask ? source->layer[x->layer].matrix[x->index] : r->w;
        x->at = l->params.matrix[x->layer][x->index];
        x->steps_at = at;
        t->weight[i] = l->weight + x->at;
        t->square[i] = l->square + x->at;
        for (size_t k = 0; k < f->cout * f->inputs; k++) l->weight[x->at + k] = from[k] * (r->in_scale ? r->in_scale[k % f->inputs] : 1);
        if (is_float(x)) continue;
        for (size_t k = 0; k < f->steps; k++) t->step[k] = r->scale[k];
        if (dense && r->mask) hd_fake_fit(f, l->weight + x->at, t->step);
        for (size_t k = 0; k < f->steps; k++, at++) {
            l->weight[at] = logf(fmaxf(t->step[k], 6e-8f));
            l->pace[at] = t->o->step_pace;
        }
    }
}

/* What does not train: the tables always, the norms on demand. */
static void fix(tuner *t) {
    const hd_llama_params *p = &t->loop.params;
    size_t dim = (size_t)t->m->dim, table = (size_t)t->m->vocab * dim;
    for (size_t i = 0; i < table; i++) t->loop.pace[p->embedding + i] = t->loop.pace[p->classifier + i] = 0;
    for (size_t k = 0; !t->o->norms && k < dim; k++) {
        t->loop.pace[p->norm_final + k] = 0;
        for (int l = 0; l < t->m->layers; l++) t->loop.pace[p->norm_attention[l] + k] = t->loop.pace[p->norm_ffn[l] + k] = 0;
    }
}

static hd_status setup(tuner *t, const hd_lm *start, const hd_llama *source, const int16_t *tokens, int stride, int n, int length, hd_err *err) {
    const hd_llama_tune_options *o = t->o;
    hd_status s = make_matrices(t, start, err);
    if (!s) s = hd_mask_plan_new(&t->plan, t->fakes, t->matrices, o->masks, o->score, o->global, (double)o->settled, o->steps, err);
    if (!s && o->written) {
        t->written = malloc((size_t)o->written * ((size_t)length + 1) * sizeof *t->written);
        s = t->written ? hd_llama_write(source, t->written, o->written, length, 1, o->seed, err) : hd_fail(err, HD_NOMEM, "no memory for %d written rows", o->written);
    }
    if (!s) s = hd_llama_feed_new(&t->feed, tokens, stride, n, t->written, o->written, o->written_share, length, o->seed, err);
    if (s) return s;
    hd_llama_hooks hooks = {.arg = t, .place = place, .gradient = gradient, .after = after};
    for (int i = 0; i < t->matrices; i++)
        if (!is_float(&t->matrix[i])) hooks.extra += t->matrix[i].fake.steps;
    hd_llama_loop_options lo = {.steps = o->steps, .batch = o->batch, .threads = o->threads, .rate = o->rate > 0 ? o->rate : hd_llama_tune_rate(start), .label = o->label,
                                .objective = {.teacher = o->teacher ? o->teacher : source, .share = o->share, .temperature = o->temperature}};
    s = hd_llama_loop_new(&t->loop, t->m, &t->feed, &lo, &hooks, err);
    if (s) return s;
    t->dense = calloc(t->loop.params.total, sizeof *t->dense);
    if (!t->dense) return hd_fail(err, HD_NOMEM, "no memory to tune %zu parameters", t->loop.params.total);
    start_weights(t, source);
    fix(t);
    hd_llama_loop_place(&t->loop);
    return HD_OK;
}

static void teardown(tuner *t) {
    for (int i = 0; i < t->matrices; i++) hd_fake_free(&t->matrix[i].fake);
    hd_mask_plan_free(&t->plan);
    hd_llama_feed_free(&t->feed);
    hd_llama_loop_free(&t->loop);
    free(t->matrix);
    free(t->fakes);
    free(t->weight);
    free(t->square);
    free(t->step);
    free(t->dstep);
    free(t->dense);
    free(t->written);
}

/* ---- the result ---- */

static void *copy(const void *from, size_t bytes) {
    void *to = from ? malloc(bytes) : NULL;
    return to ? memcpy(to, from, bytes) : NULL;
}

static hd_status store_matrix(const tuner *t, const matrix *x, hd_lm_matrix *to, hd_err *err) {
    const hd_linear_result *r = &x->start->linear;
    const hd_fake *f = &x->fake;
    const float *w = t->loop.weight + x->at;
    size_t n = f->cout * f->inputs, group = x->start->format.group ? (size_t)x->start->format.group : f->inputs, groups = (f->inputs + group - 1) / group;
    long present = 0;
    to->format = x->start->format;
    hd_linear_result *out = &to->linear;
    *out = (hd_linear_result){.bits_stored = r->bits_stored};
    out->w = calloc(n, sizeof *out->w);
    out->mask = copy(r->mask, n);
    out->shift = copy(r->shift, f->cout * groups);
    out->in_scale = copy(r->in_scale, f->inputs * sizeof *out->in_scale);
    if (!is_float(x)) {
        out->v = calloc(n, sizeof *out->v);
        out->scale = calloc(f->steps, sizeof *out->scale);
    }
    if (!out->w || (r->mask && !out->mask) || (r->shift && !out->shift) || (r->in_scale && !out->in_scale) || (!is_float(x) && (!out->v || !out->scale)))
        return hd_fail(err, HD_NOMEM, "no memory for the result");
    if (!is_float(x)) {
        read_steps(t, x, t->loop.weight);
        memcpy(out->scale, t->step, f->steps * sizeof *out->scale);
    }
    for (size_t i = 0; i < n; i++) {
        int there = f->gain[i] > 0;
        if (out->mask) {
            present += there - (out->mask[i] != 0);
            out->mask[i] = (uint8_t)there;
        }
        if (is_float(x)) {
            out->w[i] = there ? (float)hd_half((double)w[i]) : 0;
            continue;
        }
        float unit = out->scale[i / f->inputs] * f->gain[i];
        out->v[i] = (int16_t)(there ? hd_fake_nearest(f, w[i] / unit) * (int)f->gain[i] : 0);
        out->w[i] = out->scale[i / f->inputs] * (float)out->v[i];
        if (out->in_scale) out->w[i] /= out->in_scale[i % f->inputs];
    }
    double bits = x->start->format.bits == 0 ? 1.6 : x->start->format.bits;
    out->bits_stored += bits * (double)present;
    memcpy(t->m->layer[x->layer].matrix[x->index], out->w, n * sizeof *out->w);
    return HD_OK;
}

/* The student becomes the result's. */
static hd_status hand_over(hd_lm **out, tuner *t, double shared_bits, hd_err *err) {
    hd_lm *c = calloc(1, sizeof *c);
    if (!c) return hd_fail(err, HD_NOMEM, "no memory for the result");
    *c = (hd_lm){.model = t->m, .matrix = calloc((size_t)t->matrices, sizeof *c->matrix), .shared_bits = shared_bits};
    hd_status s = c->matrix ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for the result");
    for (int i = 0; !s && i < t->matrices; i++) s = store_matrix(t, &t->matrix[i], &c->matrix[i], err);
    t->m = NULL;
    if (s) hd_lm_free(c);
    else *out = c;
    return s;
}

/* Folded scales live in norms and weights together: with the source's own weights they would not fit. */
static hd_status check_norms(const hd_llama *start, const hd_llama *source, hd_err *err) {
    size_t bytes = (size_t)source->dim * sizeof(float);
    for (int l = 0; l < source->layers; l++)
        if (memcmp(start->layer[l].norm_attention, source->layer[l].norm_attention, bytes) || memcmp(start->layer[l].norm_ffn, source->layer[l].norm_ffn, bytes))
            return hd_fail(err, HD_UNSUPPORTED, "layer%d: compression folded scales into its norms; training then takes fixed or regrown masks", l);
    return HD_OK;
}

hd_status hd_llama_tune(hd_lm **out, const hd_lm *start, const hd_llama *source, const int16_t *tokens, int stride, int n, int t,
                        const hd_llama_tune_options *o, double *loss, hd_err *err) {
    *out = NULL;
    tuner u = {.o = o};
    hd_status s = check_options(o, err);
    if (!s && (start->model->dim != source->dim || start->model->hidden != source->hidden || start->model->layers != source->layers ||
               start->model->kv_heads != source->kv_heads || start->model->vocab != source->vocab))
        s = hd_fail(err, HD_MISMATCH, "the compressed model is not one of the float model");
    if (!s && (o->masks == HD_MASKS_GRADUAL || o->masks == HD_MASKS_FEEDBACK)) s = check_norms(start->model, source, err);
    if (s) return s;
    u.m = hd_llama_clone(start->model);
    s = u.m ? setup(&u, start, source, tokens, stride, n, t, err) : hd_fail(err, HD_NOMEM, "no memory for a copy of the model");
    if (!s) s = hd_llama_loop_run(&u.loop, loss, err);
    if (!s) s = hand_over(out, &u, start->shared_bits, err);
    teardown(&u);
    hd_llama_free(u.m);
    return s;
}
