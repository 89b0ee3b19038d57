/* PV-Tuning: batches of text, a step of codes and a step of values each. */
#include "pv_tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/progress.h"
#include "llama_train.h"
#include "pv_internal.h"

enum { WARM_UP = 10 };

void hd_pv_defaults(hd_pv_options *o) {
    *o = (hd_pv_options){.steps = 400, .batch = 4, .written = 160, .write_temperature = 1, .share = 1, .temperature = 1, .rate_codes = 0.03, .moved = 0.01, .keep = 1,
                         .rate_entries = 0.005, .rate_scales = 0, .rate_norms = 0.003, .seed = 1};
}

/* Everything that a run holds. */
typedef struct run {
    const hd_pv_options *o;
    const hd_llama *teacher;
    hd_pv *pv;
    hd_llama_params at;
    hd_llama_tape *tape;
    hd_pv_values norms;     /* all norms of the model, in order */
    double *norm_gradient;
    float *gradient;        /* [at.total] */
    const float **part;     /* [parts] into gradient */
    int16_t *rows, *batch;  /* [count][t + 1], [batch][t + 1] */
    int *order;             /* [count] */
    int count, t;
} run;

static hd_status check(const hd_llama *teacher, const hd_lm *start, int n, int t, const hd_pv_options *o, hd_err *err) {
    const hd_llama *m = start->model;
    if (m->dim != teacher->dim || m->hidden != teacher->hidden || m->layers != teacher->layers || m->heads != teacher->heads || m->kv_heads != teacher->kv_heads ||
        m->vocab != teacher->vocab || m->max_tokens != teacher->max_tokens)
        return hd_fail(err, HD_MISMATCH, "the teacher's sizes are not those of the compressed model");
    if (n < 0 || o->written < 0 || n + o->written < 1) return hd_fail(err, HD_RANGE, "%d rows of text and %d to be written; at least 1 of either", n, o->written);
    if (t < 1 || t > m->max_tokens) return hd_fail(err, HD_RANGE, "rows of %d tokens; allowed 1 to %d", t, m->max_tokens);
    if (o->steps < 1 || o->batch < 1) return hd_fail(err, HD_RANGE, "%d steps of %d rows; at least 1 of 1", o->steps, o->batch);
    if (!(o->moved >= 0 && o->moved <= 1)) return hd_fail(err, HD_RANGE, "share of groups that may move: %g; allowed 0 to 1", o->moved);
    if (!(o->keep >= 0 && o->keep <= 1)) return hd_fail(err, HD_RANGE, "share of the buffer that is kept: %g; allowed 0 to 1", o->keep);
    return HD_OK;
}

/* The user's text and what the teacher writes, as one table of rows. */
static hd_status open_text(run *x, const int16_t *rows, int stride, int n, hd_err *err) {
    size_t width = (size_t)x->t + 1;
    x->count = n + x->o->written;
    x->rows = malloc((size_t)x->count * width * sizeof *x->rows);
    x->batch = malloc((size_t)x->o->batch * width * sizeof *x->batch);
    x->order = malloc((size_t)x->count * sizeof *x->order);
    if (!x->rows || !x->batch || !x->order) return hd_fail(err, HD_NOMEM, "no memory for %d rows of text", x->count);
    for (int i = 0; i < n; i++) memcpy(x->rows + (size_t)i * width, rows + (size_t)i * (size_t)stride, width * sizeof *rows);
    for (int i = 0; i < x->count; i++) x->order[i] = i;
    if (!x->o->written) return HD_OK;
    return hd_llama_write(x->teacher, x->rows + (size_t)n * width, x->o->written, x->t, x->o->write_temperature, x->o->seed, err);
}

/* Each pass over the rows has an order of its own. */
static void next_batch(run *x, int step, hd_rng *rng) {
    size_t width = (size_t)x->t + 1;
    for (int i = 0; i < x->o->batch; i++) {
        int64_t drawn = (int64_t)step * x->o->batch + i;
        int at = (int)(drawn % x->count);
        if (at == 0)
            for (int k = x->count - 1; k > 0; k--) {
                int other = (int)hd_rng_below(rng, (uint32_t)k + 1), swap = x->order[k];
                x->order[k] = x->order[other];
                x->order[other] = swap;
            }
        memcpy(x->batch + (size_t)i * width, x->rows + (size_t)x->order[at] * width, width * sizeof *x->rows);
    }
}

/* The norms of the model one after the other: where a norm's values are, and where its gradient. */
static float *norm_at(const run *x, int k, size_t *from) {
    hd_llama *m = x->pv->c->model;
    *from = k == 2 * m->layers ? x->at.norm_final : k % 2 ? x->at.norm_ffn[k / 2] : x->at.norm_attention[k / 2];
    return k == 2 * m->layers ? m->norm_final : k % 2 ? m->layer[k / 2].norm_ffn : m->layer[k / 2].norm_attention;
}

static void norm_step(run *x, double rate, int read_only) {
    size_t dim = (size_t)x->teacher->dim, from;
    for (int k = 0; k <= 2 * x->teacher->layers; k++) {
        const float *norm = norm_at(x, k, &from);
        for (size_t i = 0; i < dim; i++) {
            if (read_only) x->norms.value[(size_t)k * dim + i] = norm[i];
            else x->norm_gradient[(size_t)k * dim + i] = (double)x->gradient[from + i];
        }
    }
    if (read_only) return;
    hd_pv_adam(&x->norms, x->norm_gradient, rate, x->pv->steps);
    for (int k = 0; k <= 2 * x->teacher->layers; k++) memcpy(norm_at(x, k, &from), x->norms.value + (size_t)k * dim, dim * sizeof(float));
}

static hd_status open_run(run *x, const hd_lm *start, hd_err *err) {
    hd_status s = hd_pv_new(&x->pv, start, err);
    size_t norms = (size_t)(2 * x->teacher->layers + 1) * (size_t)x->teacher->dim;
    if (!s) s = hd_llama_params_new(&x->at, x->pv->c->model, err);
    if (!s) s = hd_llama_tape_new(&x->tape, x->pv->c->model, x->o->batch, x->t, 0, err);
    if (!s) s = hd_pv_values_new(&x->norms, norms, err);
    if (s) return s;
    x->norm_gradient = malloc(norms * sizeof *x->norm_gradient);
    x->gradient = malloc(x->at.total * sizeof *x->gradient);
    x->part = malloc((size_t)x->pv->parts * sizeof *x->part);
    if (!x->norm_gradient || !x->gradient || !x->part) return hd_fail(err, HD_NOMEM, "no memory for %zu gradients", x->at.total);
    for (int k = 0; k < x->pv->parts; k++) x->part[k] = x->gradient + x->at.matrix[k / HD_LLAMA_MATRICES][k % HD_LLAMA_MATRICES];
    norm_step(x, 0, 1);
    return HD_OK;
}

static void close_run(run *x) {
    hd_pv_free(x->pv);
    hd_llama_params_free(&x->at);
    hd_llama_tape_free(x->tape);
    hd_pv_values_free(&x->norms);
    free(x->norm_gradient);
    free(x->gradient);
    free(x->part);
    free(x->rows);
    free(x->batch);
    free(x->order);
}

/* A short rise, then half a cosine down to nothing: codes stop moving and values come to rest. */
static double rate_at(int step, int steps) {
    double rise = step < WARM_UP ? (step + 1.0) / WARM_UP : 1.0;
    return rise * 0.5 * (1.0 + cos(M_PI * step / steps));
}

static hd_status step(run *x, double rate, long *moved, double *loss, hd_err *err) {
    const hd_pv_options *o = x->o;
    const hd_llama_objective objective = {.teacher = x->teacher, .share = (float)o->share, .temperature = (float)o->temperature};
    hd_status s = hd_llama_gradient(x->tape, x->pv->c->model, &x->at, x->batch, x->t + 1, o->batch, &objective, x->gradient, loss, err);
    if (s) return s;
    x->pv->steps++;
    hd_pv_follow(x->pv, x->part, rate * o->rate_codes);
    hd_pv_value_step(x->pv, x->part, rate * o->rate_entries, rate * o->rate_scales);
    if (o->rate_norms > 0) norm_step(x, rate * o->rate_norms, 0);
    if ((s = hd_pv_decode(x->pv, err))) return s;
    *moved = hd_pv_move(x->pv, (size_t)ceil(o->moved * (double)x->pv->groups));
    if (*moved < 0) return hd_fail(err, HD_NOMEM, "no memory for the moves of %zu groups", x->pv->groups);
    if ((s = hd_pv_decode(x->pv, err))) return s;
    if (o->keep < 1) hd_pv_settle(x->pv, o->keep);
    return HD_OK;
}

hd_status hd_pv_tune(hd_lm **out, const hd_llama *teacher, const hd_lm *start, const int16_t *rows, int stride, int n, int t, const hd_pv_options *o,
                     hd_pv_report *report, hd_err *err) {
    run x = {.o = o, .teacher = teacher, .t = t};
    hd_pv_report r = {0};
    hd_progress progress = {0};
    hd_rng rng;
    *out = NULL;
    hd_status s = check(teacher, start, n, t, o, err);
    if (!s) s = open_run(&x, start, err);
    if (!s) s = open_text(&x, rows, stride, n, err);
    hd_rng_seed(&rng, o->seed, 43);
    if (!s && o->label) hd_progress_start(&progress, o->label, o->steps);
    int tenth = (o->steps + 9) / 10;
    for (int i = 0; !s && i < o->steps; i++) {
        double loss = 0;
        long moved = 0;
        next_batch(&x, i, &rng);
        s = step(&x, rate_at(i, o->steps), &moved, &loss, err);
        if (i < tenth) r.first += loss / tenth;
        if (i >= o->steps - tenth) r.last += loss / tenth;
        r.moved += x.pv ? (double)moved / (double)x.pv->groups : 0;
        hd_progress_show(&progress, i + 1, NULL);
        if (!s && hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
    }
    hd_progress_end(&progress);
    if (!s) {
        *out = x.pv->c;
        x.pv->c = NULL;
        if (report) *report = r;
    }
    close_run(&x);
    return s;
}
