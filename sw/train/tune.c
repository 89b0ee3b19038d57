#include "tune.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/progress.h"
#include "distil.h"
#include "loop.h"
#include "masks.h"

typedef struct tuner {
    const hd_tune_options *o;
    hd_graph *g, *peer; /* the student, and the copy of the teacher that trains too (or NULL) */
    hd_fake *fake;      /* [fakes] */
    int fakes;
    size_t *steps_at;   /* [fakes] its log step sizes among the parameters of the loop */
    hd_fake **each;     /* [fakes] pointers to them, and to their trained weights and Adam's second moments */
    const float **weight, **square;
    hd_mask_plan plan;
    float *step;        /* [most steps of a layer] */
    float *dstep;
    float *dense;       /* [params.total] gradient of the step before masks change, absent weights' included */
    hd_loop loop, peer_loop;
    hd_teacher teacher, pupil; /* pupil: the student as the peer's teacher */
    hd_distil distil;
    hd_sampler sampler;
    long steps;
    hd_progress bar;
} tuner;

void hd_tune_defaults(hd_tune_options *o) {
    *o = (hd_tune_options){.masks = HD_MASKS_GRADUAL, .global = 1, .settled = 0.5f, .share = 0.5f, .temperature = 2, .step_pace = 1};
    hd_train_defaults(&o->train);
    o->train.batch = 48;
    o->train.learning_rate = 5e-3f;
    o->train.weight_decay = 0;
}

static hd_status check_options(const hd_tune_options *o, hd_err *err) {
    hd_status s = hd_train_check(&o->train, err);
    if (s) return s;
    if ((unsigned)o->masks > HD_MASKS_FEEDBACK) return hd_fail(err, HD_RANGE, "tuning: masks %u; 0..%d are allowed", (unsigned)o->masks, HD_MASKS_FEEDBACK);
    if ((unsigned)o->score > HD_SCORE_FISHER) return hd_fail(err, HD_RANGE, "tuning: score %u; 0..%d are allowed", (unsigned)o->score, HD_SCORE_FISHER);
    if (!(o->settled >= 0) || o->settled > 1) return hd_fail(err, HD_RANGE, "tuning: settled part %g; 0..1 is allowed", (double)o->settled);
    if (!(o->share >= 0) || o->share > 1) return hd_fail(err, HD_RANGE, "tuning: teacher's share %g; 0..1 is allowed", (double)o->share);
    if (!(o->temperature > 0) || o->temperature > 100)
        return hd_fail(err, HD_RANGE, "tuning: temperature %g; above 0, at most 100 is allowed", (double)o->temperature);
    if (!(o->step_pace >= 0) || o->step_pace > 100) return hd_fail(err, HD_RANGE, "tuning: pace of steps %g; 0..100 is allowed", (double)o->step_pace);
    return HD_OK;
}

/* ---- hooks of the student's loop ---- */

static void read_steps(const tuner *t, int i, const float *weight) {
    for (size_t k = 0; k < t->fake[i].steps; k++) t->step[k] = expf(weight[t->steps_at[i] + k]);
}

static void place(void *arg, const float *weight) {
    tuner *t = arg;
    const hd_params *p = &t->loop.params;
    for (int i = 0; i < t->fakes; i++) {
        const hd_fake *f = &t->fake[i];
        read_steps(t, i, weight);
        hd_fake_forward(f, weight + p->weight[f->node], t->step, t->g->node[f->node].weight);
    }
    for (int i = 0; i < t->g->n_nodes; i++)
        if (t->g->node[i].bias) memcpy(t->g->node[i].bias, weight + p->bias[i], (size_t)t->g->node[i].cout * sizeof *weight);
}

static void gradient(void *arg, const float *weight, float *d) {
    tuner *t = arg;
    const hd_params *p = &t->loop.params;
    int grows = t->o->masks == HD_MASKS_REGROW && hd_mask_plan_changes(&t->plan, t->loop.step);
    if (grows) memcpy(t->dense, d, p->total * sizeof *d);
    for (int i = 0; i < t->fakes; i++) {
        const hd_fake *f = &t->fake[i];
        size_t at = p->weight[f->node];
        if (grows) hd_mask_plan_growth(&t->plan, i, d + at);
        read_steps(t, i, weight);
        hd_fake_backward(f, weight + at, t->step, d + at, t->dstep);
        for (size_t k = 0; k < f->steps; k++) d[t->steps_at[i] + k] = t->dstep[k] * t->step[k];
    }
}

static double student_loss(void *arg, hd_batch *b, int thread, const hd_pick *pick, const int *labels, float scale) {
    tuner *t = arg;
    return hd_distil_loss(b, labels, hd_teacher_logits(&t->teacher, thread, b, pick), &t->distil, scale);
}

static double peer_loss(void *arg, hd_batch *b, int thread, const hd_pick *pick, const int *labels, float scale) {
    tuner *t = arg;
    return hd_distil_loss(b, labels, hd_teacher_logits(&t->pupil, thread, b, pick), &t->distil, scale);
}

/* ---- setup ---- */

static int node_named(const hd_graph *g, const char *name) {
    for (int i = 0; i < g->n_nodes; i++)
        if (g->node[i].weight && !strcmp(g->node[i].name, name)) return i;
    return -1;
}

float hd_tune_rate(const hd_graph *g, const hd_model *start) {
    int hard = 0;
    for (int i = 0; i < start->n_stages; i++) {
        const hd_stage *s = &start->stage[i];
        if (node_named(g, s->name) >= 0) hard |= s->present || s->grid == HD_GRID_TERNARY || s->bits < 4;
    }
    return hard ? 5e-3f : 5e-4f;
}

static hd_status make_fakes(tuner *t, const hd_model *start, hd_err *err) {
    size_t most = 1, stages = (size_t)start->n_stages + 1;
    t->fake = calloc(stages, sizeof *t->fake);
    t->steps_at = calloc(stages, sizeof *t->steps_at);
    t->each = calloc(stages, sizeof *t->each);
    t->weight = calloc(stages, sizeof *t->weight);
    t->square = calloc(stages, sizeof *t->square);
    if (!t->fake || !t->steps_at || !t->each || !t->weight || !t->square) return hd_fail(err, HD_NOMEM, "%s: no memory", t->g->name);
    for (int i = 0; i < start->n_stages; i++) {
        int node = node_named(t->g, start->stage[i].name), k = t->fakes;
        if (node < 0) continue;
        hd_fake *f = &t->fake[k];
        hd_status s = hd_fake_new(f, t->g, node, &start->stage[i], err);
        if (s) return s;
        t->each[k] = f;
        t->fakes++;
        if (f->blocks && t->o->policy) f->rule = hd_block_rule_of(hd_policy_of(t->o->policy, start->stage[i].name), &start->stage[i]);
        if (t->o->masks == HD_MASKS_REGROW && (f->rule.classes || f->rule.cell))
            return hd_fail(err, HD_UNSUPPORTED, "%s: masks regrow with blocks in equal numbers (balance, N of M); allowed are fixed, gradual and feedback", start->stage[i].name);
        if (f->steps > most) most = f->steps;
    }
    int layers = 0;
    for (int i = 0; i < t->g->n_nodes; i++) layers += t->g->node[i].weight != NULL;
    if (t->fakes != layers || !layers)
        return hd_fail(err, HD_MISMATCH, "%s: the compressed model '%s' has %d of its %d layers", t->g->name, start->name, t->fakes, layers);
    t->step = calloc(most, sizeof *t->step);
    t->dstep = calloc(most, sizeof *t->dstep);
    return t->step && t->dstep ? HD_OK : hd_fail(err, HD_NOMEM, "%s: no memory for step sizes", t->g->name);
}

/* Masks and steps belong to the trained network; only weights and biases go back. */
static hd_status rewind_weights(hd_graph *g, const hd_graph *early, hd_err *err) {
    for (int i = 0; i < g->n_nodes; i++) {
        hd_node *n = &g->node[i];
        if (!n->weight) continue;
        const hd_node *from = i < early->n_nodes ? &early->node[i] : NULL;
        if (!from || !from->weight || hd_node_weights(from) != hd_node_weights(n) || !from->bias != !n->bias || from->cout != n->cout)
            return hd_fail(err, HD_MISMATCH, "rewound network '%s': node '%s' of '%s' has no twin of the same size", early->name, n->name, g->name);
        memcpy(n->weight, from->weight, hd_node_weights(n) * sizeof *n->weight);
        if (n->bias) memcpy(n->bias, from->bias, (size_t)n->cout * sizeof *n->bias);
    }
    return HD_OK;
}

static void start_steps(tuner *t, const hd_model *start) {
    size_t at = t->loop.params.total;
    for (int i = 0; i < t->fakes; i++) {
        const hd_fake *f = &t->fake[i];
        const hd_stage *s = start->stage;
        while (strcmp(s->name, t->g->node[f->node].name)) s++;
        t->steps_at[i] = at;
        for (size_t k = 0; k < f->steps; k++) t->step[k] = s->scale[k];
        /* One-shot scales make up for missing blocks, which may not be missing yet. */
        hd_fake_fit(f, t->loop.weight + t->loop.params.weight[f->node], t->step);
        for (size_t k = 0; k < f->steps; k++, at++) {
            t->loop.weight[at] = logf(t->step[k]);
            t->loop.pace[at] = t->o->step_pace;
        }
    }
}

static hd_status make_teacher(tuner *t, const hd_data *data, hd_err *err) {
    const hd_tune_options *o = t->o;
    if (!o->teacher) return HD_OK;
    hd_status s = HD_OK;
    if (o->mutual && !(t->peer = hd_graph_clone(o->teacher))) return hd_fail(err, HD_NOMEM, "%s: no memory for the peer", t->g->name);
    s = hd_teacher_new(&t->teacher, o->mutual ? t->peer : o->teacher, t->g, t->loop.slice, t->loop.threads, err);
    if (!s && !o->mutual && !o->train.shift && !o->train.flip) s = hd_teacher_learn(&t->teacher, data, err);
    if (s || !o->mutual) return s;
    hd_loop_hooks hooks = {.arg = t, .loss = peer_loss};
    s = hd_teacher_new(&t->pupil, t->g, t->peer, t->loop.slice, t->loop.threads, err);
    return s ? s : hd_loop_new(&t->peer_loop, t->peer, data, o->train.batch, o->train.threads, o->train.weight_decay, &hooks, err);
}

static hd_status setup(tuner *t, const hd_model *start, const hd_data *data, hd_err *err) {
    const hd_train_options *o = &t->o->train;
    hd_status s = make_fakes(t, start, err);
    if (!s && t->o->rewind) s = rewind_weights(t->g, t->o->rewind, err);
    if (s) return s;
    hd_loop_hooks hooks = {.arg = t, .place = place, .gradient = gradient, .loss = t->o->teacher ? student_loss : NULL};
    for (int i = 0; i < t->fakes; i++) hooks.extra += t->fake[i].steps;
    t->steps = (long)o->epochs * ((data->n + o->batch - 1) / o->batch);
    s = hd_mask_plan_new(&t->plan, t->each, t->fakes, t->o->masks, t->o->score, t->o->global, (double)t->o->settled, t->steps, err);
    if (!s) s = hd_loop_new(&t->loop, t->g, data, o->batch, o->threads, o->weight_decay, &hooks, err);
    if (s) return s;
    for (int i = 0; i < t->fakes; i++) {
        t->weight[i] = t->loop.weight + t->loop.params.weight[t->fake[i].node];
        t->square[i] = t->loop.square + t->loop.params.weight[t->fake[i].node];
    }
    start_steps(t, start);
    t->dense = malloc(t->loop.params.total * sizeof *t->dense);
    if (!t->dense) return hd_fail(err, HD_NOMEM, "%s: no memory to tune %zu parameters", t->g->name, t->loop.params.total);
    s = hd_sampler_new(&t->sampler, data->n, o->batch, o->shift, o->flip, o->seed, err);
    if (!s) s = make_teacher(t, data, err);
    if (s) return s;
    t->distil = (hd_distil){t->o->share, t->o->temperature};
    hd_loop_place(&t->loop);
    return HD_OK;
}

static void teardown(tuner *t) {
    for (int i = 0; i < t->fakes; i++) hd_fake_free(&t->fake[i]);
    hd_mask_plan_free(&t->plan);
    free(t->fake);
    free(t->steps_at);
    free(t->each);
    free(t->weight);
    free(t->square);
    free(t->step);
    free(t->dstep);
    free(t->dense);
    hd_teacher_free(&t->teacher);
    hd_teacher_free(&t->pupil);
    hd_loop_free(&t->loop);
    hd_loop_free(&t->peer_loop);
    hd_sampler_free(&t->sampler);
    if (t->peer) hd_graph_free(t->peer);
}

/* ---- masks ---- */

/* Weights that come back start between the two values around 0, on the side the gradient wants, with fresh moments. */
static void start_grown(tuner *t, int i) {
    hd_fake *f = &t->fake[i];
    hd_loop *l = &t->loop;
    size_t at = l->params.weight[f->node];
    for (size_t oc = 0; oc < f->cout; oc++)
        for (size_t k = 0; k < f->inputs; k++) {
            size_t b = hd_fake_block(f, oc, k), w = at + oc * f->inputs + k;
            if (t->plan.before[i][b] || !f->present[b]) continue;
            l->weight[w] = t->dense[w] > 0 ? -1e-6f : 1e-6f;
            l->mean[w] = l->square[w] = 0;
        }
}

static hd_status update_masks(tuner *t, hd_err *err) {
    if (!hd_mask_plan_changes(&t->plan, t->loop.step - 1)) return HD_OK;
    hd_status s = hd_mask_plan_update(&t->plan, t->loop.step - 1, t->weight, t->square, err);
    for (int i = 0; !s && t->o->masks == HD_MASKS_REGROW && i < t->fakes; i++)
        if (t->fake[i].blocks) start_grown(t, i);
    hd_loop_place(&t->loop);
    return s;
}

/* ---- the run ---- */

static hd_status run_epoch(tuner *t, int epoch, double *mean_loss, hd_err *err) {
    const hd_train_options *o = &t->o->train;
    double loss = 0;
    int n = t->sampler.n;
    hd_sampler_shuffle(&t->sampler);
    for (int at = 0; at < n; at += o->batch) {
        int batch = n - at < o->batch ? n - at : o->batch;
        char note[64];
        if (hd_interrupted) return hd_fail(err, HD_INTERRUPTED, "tuning stopped in epoch %d of %d", epoch + 1, o->epochs);
        float rate = hd_loop_rate(o->learning_rate, t->loop.step, t->steps);
        hd_sampler_pick(&t->sampler, at, batch);
        loss += hd_loop_step(&t->loop, t->sampler.pick, batch, rate);
        if (t->peer) hd_loop_step(&t->peer_loop, t->sampler.pick, batch, rate);
        if (!isfinite(loss))
            return hd_fail(err, HD_RANGE, "%s: the loss is no number after %ld steps; a learning rate below %g may help", t->g->name, t->loop.step,
                           (double)o->learning_rate);
        hd_status s = update_masks(t, err);
        if (s) return s;
        if (!o->quiet) {
            snprintf(note, sizeof note, "epoch %d/%d, loss %.4f", epoch + 1, o->epochs, loss / (double)(at + batch));
            hd_progress_show(&t->bar, (double)t->loop.step, note);
        }
    }
    *mean_loss = loss / (double)n;
    return HD_OK;
}

static hd_status run(tuner *t, const hd_idx *test_images, const hd_idx *test_labels, double *loss, hd_err *err) {
    const hd_train_options *o = &t->o->train;
    hd_status s = HD_OK;
    if (!o->quiet) hd_progress_start(&t->bar, "tuning", (double)t->steps);
    for (int epoch = 0; epoch < o->epochs && !s; epoch++) {
        double accuracy = NAN;
        s = run_epoch(t, epoch, loss, err);
        if (s || !o->on_epoch) continue;
        if (test_images && test_labels) s = hd_accuracy(t->g, test_images, test_labels, 0, &accuracy, err);
        if (!s) o->on_epoch(o->arg, epoch, *loss, accuracy);
    }
    if (!o->quiet) hd_progress_end(&t->bar);
    return s;
}

static hd_status hand_over(hd_tuned *out, const tuner *t, hd_err *err) {
    out->trained = calloc((size_t)t->g->n_nodes, sizeof *out->trained);
    if (!out->trained) return hd_fail(err, HD_NOMEM, "%s: no memory for the result", t->g->name);
    for (int i = 0; i < t->fakes; i++) {
        const hd_fake *f = &t->fake[i];
        float *scale = malloc(f->cout * sizeof *scale);
        uint8_t *present = f->blocks ? malloc(f->blocks) : NULL;
        out->trained[f->node] = (hd_trained){scale, present};
        if (!scale || (f->blocks && !present)) return hd_fail(err, HD_NOMEM, "%s: no memory for the result", t->g->name);
        for (size_t k = 0; k < f->cout; k++) scale[k] = expf(t->loop.weight[t->steps_at[i] + (f->per_tensor ? 0 : k)]);
        if (present) memcpy(present, f->present, f->blocks);
    }
    return HD_OK;
}

void hd_tuned_free(hd_tuned *t) {
    for (int i = 0; t->trained && i < t->graph->n_nodes; i++) {
        free((void *)t->trained[i].scale);
        free((void *)t->trained[i].present);
    }
    free(t->trained);
    if (t->graph) hd_graph_free(t->graph);
    *t = (hd_tuned){0};
}

hd_status hd_tune(hd_tuned *out, const hd_graph *g, const hd_model *start, const hd_idx *images, const hd_idx *labels, const hd_idx *test_images,
                  const hd_idx *test_labels, const hd_tune_options *o, hd_err *err) {
    *out = (hd_tuned){0};
    tuner t = {.o = o};
    hd_data data;
    hd_status s = hd_graph_check(g, err);
    if (!s) s = check_options(o, err);
    if (!s && o->teacher) s = hd_graph_check(o->teacher, err);
    if (!s) s = hd_data_new(&data, g, images, labels, o->train.limit, err);
    if (s) return s;
    int blas = openblas_get_num_threads();
    openblas_set_num_threads(1); /* the threads are ours */
    t.g = out->graph = hd_graph_clone(g);
    s = t.g ? setup(&t, start, &data, err) : hd_fail(err, HD_NOMEM, "%s: no memory for a copy", g->name);
    if (!s) s = run(&t, test_images, test_labels, &out->loss, err);
    if (!s) s = hand_over(out, &t, err);
    openblas_set_num_threads(blas);
    teardown(&t);
    hd_data_free(&data);
    if (s) hd_tuned_free(out);
    return s;
}

hd_status hd_tune_model(hd_model **out, const hd_graph *g, const hd_policy *policy, const hd_idx *images, const hd_idx *labels, int samples, int unit,
                        const hd_tune_options *o, hd_err *err) {
    hd_tune_options mine = *o;
    mine.policy = policy;
    hd_tuned tuned = {0};
    hd_model *start = NULL;
    *out = NULL;
    hd_status s = hd_compress(&start, g, policy, images, samples, unit, err);
    if (!s && !(mine.train.learning_rate > 0)) mine.train.learning_rate = hd_tune_rate(g, start);
    if (!s) s = hd_tune(&tuned, g, start, images, labels, NULL, NULL, &mine, err);
    if (!s) s = hd_compress_trained(out, tuned.graph, policy, tuned.trained, images, samples, unit, err);
    hd_tuned_free(&tuned);
    hd_model_free(start);
    return s;
}
