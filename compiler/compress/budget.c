#include "budget.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compress_internal.h"
#include "lm.h"
#include "passes.h"

static const double LEAST_LOSS = 0.02; /* of the mean */
enum { MEASURE_ROWS = 24 };

typedef struct offer {
    double cost;
    int layer;
    size_t index;
} offer;

static int by_cost(const void *x, const void *y) {
    const offer *a = x, *b = y;
    if (a->cost != b->cost) return a->cost < b->cost ? -1 : 1;
    if (a->layer != b->layer) return a->layer - b->layer;
    return a->index < b->index ? -1 : a->index > b->index;
}

int hd_budget_share(hd_budget_layer *layer, int n) {
    size_t total = 0, k = 0;
    double mean = 0, left = 0;
    for (int i = 0; i < n; i++) {
        total += layer[i].n;
        mean += fmax(layer[i].loss, 0) / n;
        left += layer[i].start * (double)layer[i].items * layer[i].weights;
    }
    offer *all = malloc((total + 1) * sizeof *all);
    if (!all) return 0;
    for (int i = 0; i < n; i++) {
        hd_budget_layer *l = &layer[i];
        size_t first = l->measured ? l->measured : (size_t)(l->start * (double)l->items + 0.5);
        double sum = 0, loss = fmax(l->loss, LEAST_LOSS * mean);
        for (size_t j = 0; j < first && j < l->n; j++) sum += l->cost[j];
        double factor = sum > 0 ? loss / sum / l->weights : 0;
        /* At least one item of a layer stays. */
        for (size_t j = 0; j < l->n && j + 1 < l->items; j++) all[k++] = (offer){factor * l->cost[j], i, j};
        l->sparsity = 0;
    }
    qsort(all, k, sizeof *all, by_cost);
    for (size_t j = 0; j < k; j++) {
        hd_budget_layer *l = &layer[all[j].layer];
        if (l->weights > left * 2) continue;
        left -= l->weights;
        l->sparsity += 1.0 / (double)l->items;
        if (left <= 0) break;
    }
    free(all);
    return 1;
}

static int takes_part(const hd_layer_policy *o) {
    return o->sparsity > 0 && !o->skip_sparsity;
}

static hd_status check_structure(const hd_layer_policy *o, const char *name, hd_err *err) {
    if (o->structure != HD_SPARSE_N_OF_M && o->structure != HD_SPARSE_CHANNEL) return HD_OK;
    return hd_fail(err, HD_UNSUPPORTED, "policy, layer '%s': budget 'global' with %s; it goes with 'block' and 'unstructured'", name,
                   o->structure == HD_SPARSE_CHANNEL ? "channels" : "N of M, which fixes every layer's share");
}

static hd_status to_policy(hd_policy *out, const hd_policy *p, const hd_budget_layer *layer, int n, hd_err *err) {
    int ok = hd_policy_copy(out, p);
    out->budget = HD_BUDGET_LOCAL;
    for (int i = 0; ok && i < n; i++) {
        hd_layer_policy o = *hd_policy_of(p, layer[i].name);
        o.sparsity = (float)layer[i].sparsity;
        ok = hd_policy_add(out, layer[i].name, &o);
    }
    if (ok) return HD_OK;
    hd_policy_free(out);
    return hd_fail(err, HD_NOMEM, "no memory for a policy of %d layers", n);
}

static void free_layers(hd_budget_layer *l, int n) {
    for (int i = 0; l && i < n; i++) free(l[i].cost);
    free(l);
}

/* ---- language models ---- */

typedef struct survey {
    const hd_policy *p;
    hd_budget_layer *layer; /* [layers][HD_LLAMA_MATRICES]; items 0 = takes no part */
    float **pruned;         /* its weights when it is pruned alone */
} survey;

/* Records a matrix's curve and what it becomes when it is pruned alone; answers with the weights as they are, so the model stays the float one. */
static hd_status look_at(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    survey *s = arg;
    int at = layer * HD_LLAMA_MATRICES + matrix;
    hd_budget_layer *l = &s->layer[at];
    const hd_layer_policy *o = hd_policy_of(s->p, p->name);
    size_t n = (size_t)p->out * (size_t)p->in;
    if (!(out->linear.w = malloc(n * sizeof(float)))) return hd_fail(err, HD_NOMEM, "%s: out of memory", p->name);
    memcpy(out->linear.w, p->w, n * sizeof(float));
    if (!takes_part(o)) return HD_OK;
    hd_status status = check_structure(o, p->name, err);
    if (status != HD_OK) return status;
    hd_linear_format f = {.bits = 16, .sparsity = o->structure == HD_SPARSE_UNSTRUCTURED ? HD_SPARSE_UNSTRUCTURED : HD_SPARSE_BLOCK,
                          .density = 1 - o->sparsity, .block_in = o->block_in, .block_out = o->block_out};
    hd_linear_options options;
    hd_linear_result r;
    hd_linear_defaults(&options, HD_METHOD_SPARSEGPT);
    options.sweeps = 0;
    l->start = (double)o->sparsity;
    status = hd_linear_costs(&l->cost, &l->n, &l->items, p, &f, err);
    if (status != HD_OK) return status;
    l->weights = (double)n / (double)l->items;
    status = hd_linear_solve(&r, p, &f, &options, err);
    s->pruned[at] = r.w;
    r.w = NULL;
    hd_linear_result_free(&r);
    return status;
}

/* Cross-entropy with each matrix pruned alone, over a few rows. */
static hd_status measure(survey *s, const hd_llama *m, const int16_t *tokens, int stride, int n, int t, hd_err *err) {
    int rows = n < MEASURE_ROWS ? n : MEASURE_ROWS, length = stride > t ? t + 1 : t;
    hd_llama *copy = hd_llama_clone(m);
    int16_t *text = malloc((size_t)rows * (size_t)length * sizeof *text);
    hd_status status = copy && text ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for a copy of the model");
    double whole = 0, with = 0;
    /* Rows from all over the text. */
    for (int i = 0; status == HD_OK && i < rows; i++)
        memcpy(text + (size_t)i * (size_t)length, tokens + (size_t)(i * n / rows) * (size_t)stride, (size_t)length * sizeof *text);
    if (status == HD_OK) status = hd_llama_cross_entropy(copy, text, rows, length - 1, &whole, err);
    for (int i = 0; status == HD_OK && i < m->layers * HD_LLAMA_MATRICES; i++) {
        if (!s->pruned[i]) continue;
        int out, in;
        float *w = copy->layer[i / HD_LLAMA_MATRICES].matrix[i % HD_LLAMA_MATRICES];
        hd_llama_shape(m, i % HD_LLAMA_MATRICES, &out, &in);
        size_t size = (size_t)out * (size_t)in * sizeof *w;
        memcpy(w, s->pruned[i], size);
        status = hd_llama_cross_entropy(copy, text, rows, length - 1, &with, err);
        memcpy(w, m->layer[i / HD_LLAMA_MATRICES].matrix[i % HD_LLAMA_MATRICES], size);
        s->layer[i].loss = with - whole;
    }
    free(text);
    hd_llama_free(copy);
    return status;
}

hd_status hd_budget_lm(hd_policy *out, const hd_llama *m, const hd_policy *p, const int16_t *tokens, int stride, int n, int t, hd_err *err) {
    int count = m->layers * HD_LLAMA_MATRICES, used = 0;
    survey s = {.p = p, .layer = calloc((size_t)count, sizeof *s.layer), .pruned = calloc((size_t)count, sizeof *s.pruned)};
    char(*name)[32] = malloc((size_t)count * sizeof *name);
    hd_lm_options o = {.solve = look_at, .arg = &s};
    hd_lm *c = NULL;
    *out = (hd_policy){0};
    hd_status status = s.layer && s.pruned && name ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for the budget of %d matrices", count);
    if (status == HD_OK) status = hd_lm_compress(&c, m, tokens, stride, n, t, &o, err);
    if (status == HD_OK) status = measure(&s, m, tokens, stride, n, t, err);
    for (int i = 0; status == HD_OK && i < count; i++) {
        if (!s.layer[i].items) continue;
        hd_llama_name(i / HD_LLAMA_MATRICES, i % HD_LLAMA_MATRICES, name[i], sizeof name[i]);
        hd_budget_layer l = s.layer[i];
        s.layer[i] = (hd_budget_layer){0};
        l.name = name[i];
        s.layer[used++] = l;
    }
    if (status == HD_OK && !hd_budget_share(s.layer, used)) status = hd_fail(err, HD_NOMEM, "no memory for the budget of %d matrices", count);
    if (status == HD_OK) status = to_policy(out, p, s.layer, used, err);
    hd_lm_free(c);
    for (int i = 0; s.pruned && i < count; i++) free(s.pruned[i]);
    free(s.pruned);
    free_layers(s.layer, count);
    free(name);
    return status;
}

/* ---- networks ---- */

/* A layer's weights as blocks see them: [cout][taps][per_tap], from [cout][per_tap][taps]. */
typedef struct view {
    size_t cout, taps, per_tap, along, in_blocks, blocks;
    int block_in, block_out;
} view;

static view view_of(const hd_plan *plan, const hd_step *step, const hd_layer_policy *o) {
    const hd_node *n = &plan->g->node[step->node];
    hd_shape in = plan->stored[step->input];
    view v = {.cout = (size_t)n->cout, .block_in = o->block_in, .block_out = o->block_out};
    v.taps = n->op == HD_OP_FC ? (size_t)in.h * (size_t)in.w : (size_t)n->kh * (size_t)n->kw;
    v.per_tap = hd_node_weights(n) / v.cout / v.taps;
    v.along = (v.per_tap + (size_t)o->block_in - 1) / (size_t)o->block_in;
    v.in_blocks = v.taps * v.along;
    v.blocks = v.in_blocks * ((v.cout + (size_t)o->block_out - 1) / (size_t)o->block_out);
    return v;
}

static size_t block_at(const view *v, size_t i) {
    size_t tap = i % v->taps, ic = i / v->taps % v->per_tap, oc = i / v->taps / v->per_tap;
    return oc / (size_t)v->block_out * v->in_blocks + tap * v->along + ic / (size_t)v->block_in;
}

static int rising(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

hd_status hd_budget_change(double *change, const hd_graph *g, const float *want, float *x, const hd_idx *calib, int images, int unit, hd_err *err) {
    hd_exec *e = NULL;
    size_t size = hd_shape_size(g->tensor[g->output].shape);
    double sum = 0, whole = 0;
    hd_status status = hd_exec_new(&e, g, err);
    for (int i = 0; status == HD_OK && i < images; i++) {
        hd_idx_item(calib, (uint32_t)i, unit, x);
        hd_exec_run(e, x);
        const float *y = hd_exec_tensor(e, g->output);
        for (size_t k = 0; k < size; k++) {
            double d = (double)y[k] - (double)want[(size_t)i * size + k];
            sum += d * d;
            whole += (double)want[(size_t)i * size + k] * (double)want[(size_t)i * size + k];
        }
    }
    hd_exec_free(e);
    *change = whole > 0 ? sum / whole : sum;
    return status;
}

/* The curve of one layer, and what pruning it alone does; copy: a network of our own, as it was again afterwards. */
static hd_status look_at_layer(hd_budget_layer *l, hd_graph *copy, const hd_plan *plan, const hd_step *step, const hd_layer_policy *o, const float *want, float *x,
                               const hd_idx *calib, int images, int unit, hd_err *err) {
    hd_node *n = &copy->node[step->node];
    view v = view_of(plan, step, o);
    size_t weights = hd_node_weights(n), first;
    double *norm = calloc(v.blocks, sizeof *norm);
    float *kept = malloc(weights * sizeof *kept);
    l->cost = malloc(v.blocks * sizeof *l->cost);
    if (!norm || !kept || !l->cost) {
        free(norm);
        free(kept);
        return hd_fail(err, HD_NOMEM, "node '%s': no memory for its budget", n->name);
    }
    for (size_t i = 0; i < weights; i++) norm[block_at(&v, i)] += (double)n->weight[i] * (double)n->weight[i];
    memcpy(l->cost, norm, v.blocks * sizeof *norm);
    qsort(l->cost, v.blocks, sizeof *norm, rising);
    l->name = n->name;
    l->n = l->items = v.blocks;
    l->weights = (double)weights / (double)v.blocks;
    l->start = (double)o->sparsity;
    first = (size_t)(l->start * (double)v.blocks + 0.5);
    memcpy(kept, n->weight, weights * sizeof *kept);
    for (size_t i = 0; first && i < weights; i++)
        if (norm[block_at(&v, i)] <= l->cost[first - 1]) n->weight[i] = 0;
    hd_status status = hd_budget_change(&l->loss, copy, want, x, calib, images, unit, err);
    memcpy(n->weight, kept, weights * sizeof *kept);
    free(norm);
    free(kept);
    return status;
}

hd_status hd_budget_outputs(float *want, float *x, const hd_graph *g, const hd_idx *calib, int images, int unit, hd_err *err) {
    hd_exec *e = NULL;
    size_t size = hd_shape_size(g->tensor[g->output].shape);
    hd_status status = hd_exec_new(&e, g, err);
    for (int i = 0; status == HD_OK && i < images; i++) {
        hd_idx_item(calib, (uint32_t)i, unit, x);
        hd_exec_run(e, x);
        memcpy(want + (size_t)i * size, hd_exec_tensor(e, g->output), size * sizeof *want);
    }
    hd_exec_free(e);
    return status;
}

hd_status hd_budget_network(hd_policy *out, const hd_graph *g, const hd_policy *p, const hd_idx *calib, int samples, int unit, hd_err *err) {
    hd_plan plan = {0};
    *out = (hd_policy){0};
    hd_status status = hd_compress_plan_make(&plan, g, 0, err);
    if (status != HD_OK) return status;
    int images = samples < HD_BUDGET_IMAGES ? samples : HD_BUDGET_IMAGES, used = 0;
    if ((uint32_t)images > calib->dim[0]) images = (int)calib->dim[0];
    hd_budget_layer *layer = calloc((size_t)plan.n_steps, sizeof *layer);
    hd_graph *copy = hd_graph_clone(g);
    float *x = malloc(calib->item * sizeof *x), *want = malloc((size_t)images * hd_shape_size(g->tensor[g->output].shape) * sizeof *want);
    if (!layer || !copy || !x || !want) status = hd_fail(err, HD_NOMEM, "network '%s': no memory for its budget", g->name);
    if (status == HD_OK) status = hd_budget_outputs(want, x, g, calib, images, unit, err);
    for (int i = 0; status == HD_OK && i < plan.n_steps; i++) {
        if (plan.step[i].role != HD_ROLE_WEIGHTS) continue;
        const hd_layer_policy *o = hd_policy_of(p, g->node[plan.step[i].node].name);
        if (!takes_part(o)) continue;
        status = check_structure(o, g->node[plan.step[i].node].name, err);
        if (status == HD_OK) status = look_at_layer(&layer[used++], copy, &plan, &plan.step[i], o, want, x, calib, images, unit, err);
    }
    if (status == HD_OK && !hd_budget_share(layer, used)) status = hd_fail(err, HD_NOMEM, "network '%s': no memory for its budget", g->name);
    if (status == HD_OK) status = to_policy(out, p, layer, used, err);
    free_layers(layer, plan.n_steps);
    hd_graph_free(copy);
    free(x);
    free(want);
    hd_compress_plan_free(&plan);
    return status;
}
