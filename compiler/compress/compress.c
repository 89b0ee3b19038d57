/* From a float graph to a compressed model: plan the stages, calibrate the activations, prune and quantise the weights, correct
 * scales and biases on data. Deterministic, whatever the number of threads. */
#include "compress.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compress_internal.h"
#include "model_internal.h"
#include "passes.h"

typedef struct builder {
    const hd_graph *g;
    const hd_policy *policy;
    const hd_trained *trained; /* [graph node], or NULL */
    hd_plan plan;
    hd_histogram *histogram; /* [graph tensor] */
    int *tensor;             /* [graph tensor]: model tensor, -1 none */
    hd_qparams *pre;         /* [step]: codes before the table, or of the output */
    hd_model *m;
    int keep;                /* the graph's own codes and integers: nothing is calibrated, nothing corrected */
    hd_err *err;
} builder;

static hd_status no_memory(builder *b) { return hd_fail(b->err, HD_NOMEM, "network '%s': out of memory", b->g->name); }

static hd_status add_tensor(builder *b, int t, hd_qparams q) {
    hd_qtensor *to = &b->m->tensor[b->m->n_tensors];
    hd_shape s = b->plan.stored[t];
    *to = (hd_qtensor){strdup(b->g->tensor[t].name), s.h, s.w, s.c, q.scale, q.zero};
    b->tensor[t] = b->m->n_tensors++;
    return to->name ? HD_OK : no_memory(b);
}

static hd_qparams params_of(const builder *b, int t) {
    const hd_qtensor *q = &b->m->tensor[b->tensor[t]];
    return (hd_qparams){q->scale, q->zero};
}

static hd_qparams codes_of(const hd_graph *g, int t) { return (hd_qparams){g->tensor[t].scale, g->tensor[t].zero}; }

/* u8 images need no rounding: their 256 values are the codes. Others take the range of the data as it is. */
static hd_qparams input_params(const builder *b, const hd_idx *calib, int unit) {
    if (b->g->tensor[b->g->input].scale > 0) return codes_of(b->g, b->g->input);
    if (calib->type == HD_IDX_U8) return (hd_qparams){unit ? 1.0f / 255.0f : 1.0f, -128};
    if (calib->type == HD_IDX_I8) return (hd_qparams){1.0f, 0};
    const hd_histogram *h = &b->histogram[b->g->input];
    return hd_qparams_of_range(h->lo, h->hi);
}

/* The network's output is compared, not computed with: clipping its largest values would make ties of them, so it gets the whole
 * range and a tenth more for what calibration did not see. */
static hd_qparams output_params(const builder *b, const hd_step *s) {
    if (b->keep) return codes_of(b->g, s->output);
    const hd_histogram *h = &b->histogram[s->output];
    return s->output == b->plan.output ? hd_qparams_of_range(h->lo * 1.1f, h->hi * 1.1f) : hd_qparams_of(h, b->policy);
}

/* [oc][ic][ky][kx] -> [oc][ky][kx][ic]. The inputs of a fully connected layer are those of a kernel as large as its input. */
float *hd_stage_source_weights(const hd_node *n, const hd_stage *s) {
    size_t taps = (size_t)s->kh * (size_t)s->kw, per_tap = (size_t)(s->cin / s->groups), cout = (size_t)s->cout;
    float *w = malloc(cout * taps * per_tap * sizeof *w);
    for (size_t oc = 0; w && oc < cout; oc++)
        for (size_t ic = 0; ic < per_tap; ic++)
            for (size_t tap = 0; tap < taps; tap++) w[(oc * taps + tap) * per_tap + ic] = n->weight[(oc * per_tap + ic) * taps + tap];
    return w;
}

enum hd_grid hd_stage_grid(const hd_layer_policy *o, int groups) {
    if (o->grid >= 0) return (enum hd_grid)o->grid;
    if (o->bits == 0) return HD_GRID_TERNARY;
    if (o->bits == 1) return HD_GRID_ODD;
    /* Off the diagonal of a grouped convolution the array multiplies by 0, which EVEN has for free. */
    return o->bits == 8 || groups > 1 ? HD_GRID_EVEN : HD_GRID_ODD;
}

static hd_status allocate_channels(builder *b, hd_stage *s) {
    size_t n = (size_t)s->cout;
    s->v = calloc(hd_stage_weights(s), sizeof *s->v);
    s->scale = calloc(n, sizeof *s->scale);
    s->bias = calloc(n, sizeof *s->bias);
    s->mult = calloc(n, sizeof *s->mult);
    s->shift = calloc(n, sizeof *s->shift);
    if (s->granularity == HD_GRANULARITY_GROUP && !(s->group_shift = calloc(n * hd_stage_shift_groups(s), 1))) return no_memory(b);
    return s->v && s->scale && s->bias && s->mult && s->shift ? HD_OK : no_memory(b);
}

/* The smallest scale of a channel: its bias must fit with room to spare (2^28 units), and a unit below 2^-24 codes of what comes out
 * would be lost anyway. */
float *hd_stage_scale_floors(const hd_node *n, const hd_stage *s, hd_qparams in, hd_qparams pre, int zero_out) {
    float *least = malloc((size_t)s->cout * sizeof *least);
    double fold = fabs((double)pre.scale * (pre.zero - zero_out));
    for (int oc = 0; least && oc < s->cout; oc++) {
        double bias = fold + (n->bias ? fabs((double)n->bias[oc]) : 0.0);
        least[oc] = (float)(fmax(ldexp(bias, -28), ldexp((double)pre.scale, -24)) / (double)in.scale);
    }
    return least;
}

/* Norms of the blocks that may stay; the others weigh nothing and so go first. */
static hd_status prune_among(builder *b, hd_stage *s, const hd_layer_policy *o, const uint8_t *allowed, const float *w) {
    size_t n = hd_stage_weights(s), inputs = hd_stage_inputs(s);
    float *among = malloc(n * sizeof *among);
    uint8_t *present = s->present;
    if (!among) return no_memory(b);
    memcpy(among, w, n * sizeof *among);
    if (allowed) memcpy(present, allowed, hd_stage_out_blocks(s) * hd_stage_in_blocks(s));
    for (size_t i = 0; allowed && i < n; i++)
        if (!hd_stage_is_present(s, i / inputs, i % inputs)) among[i] = 0;
    hd_block_rule rule = hd_block_rule_of(o, s);
    if (rule.classes || rule.cell) {
        size_t blocks = hd_stage_out_blocks(s) * rule.in_blocks, stay = blocks - (size_t)((double)o->sparsity * (double)blocks + 0.5);
        double *norm = calloc(blocks, sizeof *norm);
        hd_status even = norm ? HD_OK : no_memory(b);
        for (size_t i = 0; norm && i < n; i++) norm[hd_stage_block(s, i / inputs, i % inputs)] += (double)among[i] * (double)among[i];
        if (even == HD_OK) even = hd_prune_evenly(present, norm, blocks, &rule, stay, b->err);
        free(norm);
        free(among);
        return even;
    }
    hd_status status = hd_prune_blocks(present, among, s->cout, s->kh * s->kw, s->cin / s->groups, s->block_in, s->block_out, o->sparsity, b->err);
    free(among);
    return status;
}

static hd_status prune(builder *b, hd_stage *s, const hd_layer_policy *o, const hd_trained *trained, const uint8_t *allowed, const float *w, uint8_t **keep) {
    if (trained ? !trained->present : o->sparsity <= 0.0f || o->skip_sparsity) return HD_OK;
    s->block_in = o->block_in;
    s->block_out = o->block_out;
    size_t inputs = hd_stage_inputs(s);
    s->present = malloc(hd_stage_out_blocks(s) * hd_stage_in_blocks(s));
    *keep = malloc(hd_stage_weights(s));
    if (!s->present || !*keep) return no_memory(b);
    hd_status status = HD_OK;
    if (trained) memcpy(s->present, trained->present, hd_stage_out_blocks(s) * hd_stage_in_blocks(s));
    else status = prune_among(b, s, o, allowed, w);
    for (size_t i = 0; status == HD_OK && i < hd_stage_weights(s); i++) (*keep)[i] = (uint8_t)hd_stage_is_present(s, i / inputs, i % inputs);
    return status;
}

static hd_status quantise_weights(builder *b, hd_stage *s, const hd_node *n, hd_qparams in, hd_qparams pre, int zero_out) {
    const hd_layer_policy *o = hd_policy_of(b->policy, n->name);
    const hd_trained *trained = b->trained && b->trained[n - b->g->node].scale ? &b->trained[n - b->g->node] : NULL;
    hd_trained given = {NULL, NULL};
    hd_coding coding = hd_stage_coding(o, s);
    s->grid = coding == HD_CODING_INTEGER ? hd_stage_grid(o, s->groups) : coding == HD_CODING_ADDITIVE ? HD_GRID_EVEN : HD_GRID_ODD;
    s->bits = coding != HD_CODING_INTEGER ? 4 : s->grid == HD_GRID_TERNARY ? 0 : o->bits; /* codes stand for 4 planes */
    s->granularity = coding != HD_CODING_INTEGER ? HD_GRANULARITY_CHANNEL : o->granularity;
    s->group_size = s->granularity == HD_GRANULARITY_GROUP ? o->group_size : 0;
    hd_status status = allocate_channels(b, s);
    if (status != HD_OK) return status;
    float *w = hd_stage_source_weights(n, s), *least = hd_stage_scale_floors(n, s, in, pre, zero_out), *halves = malloc((size_t)s->cout * sizeof *halves);
    uint8_t *keep = NULL;
    const uint8_t *allowed = b->trained && !trained ? b->trained[n - b->g->node].present : NULL;
    if (b->keep && halves) { /* an integer q of the file is v = 2q on the EVEN grid */
        for (int oc = 0; oc < s->cout; oc++) halves[oc] = n->weight_scale[oc] / 2;
        given.scale = halves;
        trained = &given;
    }
    status = w && least && halves ? prune(b, s, o, trained, allowed, w, &keep) : no_memory(b);
    if (status == HD_OK) {
        hd_rtn rtn = {.grid = s->grid, .bits = s->bits, .granularity = s->granularity, .group_size = s->group_size, .keep = keep,
                      .floor = least, .fixed = trained ? trained->scale : NULL, .search = 1};
        hd_rtn_quantize(s->v, s->group_shift, s->scale, w, (size_t)s->cout, hd_stage_inputs(s), &rtn);
    }
    free(w);
    free(least);
    free(halves);
    free(keep);
    return status;
}

/* Averages and identities: one weight value 2 on the EVEN grid. */
static hd_status constant_weights(builder *b, hd_stage *s, float scale) {
    s->grid = HD_GRID_EVEN;
    s->bits = 2;
    s->granularity = HD_GRANULARITY_TENSOR;
    hd_status status = allocate_channels(b, s);
    for (size_t i = 0; status == HD_OK && i < hd_stage_weights(s); i++) s->v[i] = 2;
    for (int i = 0; status == HD_OK && i < s->cout; i++) s->scale[i] = scale;
    return status;
}

int hd_stage_set_channel(hd_stage *s, int oc, float scale_in, hd_qparams pre, int zero_out, double bias) {
    /* The stage adds the output's zero point before the table; the bias makes up the difference to the index's own. */
    double unit = (double)scale_in * (double)s->scale[oc], fold = (double)pre.scale * (pre.zero - zero_out);
    double b = floor((bias + fold) / unit + 0.5);
    int mult, shift;
    s->bias[oc] = b >= INT32_MAX ? INT32_MAX : b <= -INT32_MAX ? -INT32_MAX : (int32_t)b;
    if (!hd_fixed_point(unit / (double)pre.scale, 1, 47, &mult, &shift)) return 0;
    s->mult[oc] = (uint16_t)mult;
    s->shift[oc] = (uint8_t)shift;
    return 1;
}

/* Biases as they are in the float network, and the multipliers. */
static hd_status set_channels(builder *b, hd_stage *s, const hd_node *n, hd_qparams in, hd_qparams pre, int zero_out) {
    for (int oc = 0; oc < s->cout; oc++)
        if (!hd_stage_set_channel(s, oc, in.scale, pre, zero_out, n && n->bias ? (double)n->bias[oc] : 0.0))
            return hd_fail(b->err, HD_UNSUPPORTED, "node '%s': channel %d has steps of %g, %g times its output's; at most 32767 times is supported",
                           s->name, oc, (double)in.scale * (double)s->scale[oc], (double)in.scale * (double)s->scale[oc] / (double)pre.scale);
    return HD_OK;
}

/* A layer of a quantised file gives the file's codes as far as its multiplier's bits allow. */
static void keep_channels(const builder *b, hd_stage *s, const hd_step *step, hd_qparams in, hd_qparams pre, int zero_out) {
    const hd_node *n = &b->g->node[step->node];
    int window = s->kh * s->kw, same = in.scale == pre.scale && in.zero == pre.zero;
    for (int oc = 0; oc < s->cout; oc++) {
        hd_kept k = {.zero = in.zero, .offset = pre.zero - zero_out, .scale = in.scale / pre.scale};
        if (step->role == HD_ROLE_WEIGHTS) {
            if (s->scale[oc] * 2 != n->weight_scale[oc]) continue; /* too small to count: it was raised */
            k.scale = in.scale * n->weight_scale[oc] / pre.scale;
            if (n->bias) k.bias = llround((double)n->bias[oc] / ((double)in.scale * (double)n->weight_scale[oc]));
        } else if (step->role == HD_ROLE_AVERAGE) {
            k.window = n->half_away && same ? window : 0;
            k.scale = in.scale / (pre.scale * (float)window);
        }
        hd_keep_channel(s, oc, &k, s->clamp_lo - zero_out, s->clamp_hi - zero_out);
    }
}

static hd_status set_residual(builder *b, hd_stage *s, int t, hd_qparams pre) {
    if (t < 0) return HD_OK;
    hd_qparams r = params_of(b, t);
    s->residual = b->tensor[t];
    if (!hd_fixed_point((double)r.scale / (double)pre.scale, 0, 31, &s->res_mult, &s->res_shift))
        return hd_fail(b->err, HD_UNSUPPORTED, "node '%s': the added tensor's scale is %g, the sum's %g; at most 65535 times is supported", s->name,
                       (double)r.scale, (double)pre.scale);
    s->res_add = (s->res_shift ? 1 << (s->res_shift - 1) : 0) - r.zero * s->res_mult;
    return HD_OK;
}

/* Clips become a clamp of codes (monotone, so a chain of them is the clip of the ends); anything else a table. */
static void set_activation(const builder *b, hd_stage *s, const hd_step *step, hd_qparams pre, hd_qparams out) {
    s->clamp_lo = -128;
    s->clamp_hi = 127;
    if (!step->n_fn) return;
    if (!hd_step_has_table(&b->plan, step)) {
        s->clamp_lo = hd_code(out, (double)hd_step_apply(&b->plan, step, -INFINITY));
        s->clamp_hi = hd_code(out, (double)hd_step_apply(&b->plan, step, INFINITY));
        return;
    }
    s->has_table = 1;
    for (int y = -128; y < 128; y++) {
        float f = hd_step_apply(&b->plan, step, pre.scale * (float)(y - pre.zero));
        s->table[(uint8_t)y] = (uint8_t)hd_code(out, isnan(f) ? 0.0 : (double)f);
    }
}

static void set_kernel(const builder *b, hd_stage *s, const hd_step *step) {
    const hd_node *n = &b->g->node[step->node];
    hd_shape in = b->plan.stored[step->input];
    s->kh = s->kw = s->sy = s->sx = s->dy = s->dx = s->groups = 1;
    s->cin = in.c;
    s->cout = b->plan.stored[step->output].c;
    if (step->role == HD_ROLE_IDENTITY) s->groups = s->cin;
    else if (n->op == HD_OP_FC) {
        s->kh = in.h;
        s->kw = in.w;
    } else {
        s->kh = n->kh;
        s->kw = n->kw;
        s->sy = n->sy;
        s->sx = n->sx;
        s->dy = n->dy;
        s->dx = n->dx;
        s->pad_top = n->pad_top;
        s->pad_left = n->pad_left;
        s->groups = step->role == HD_ROLE_AVERAGE ? s->cin : n->groups;
    }
}

/* Has the step a table behind codes of its own? A lone function looks its input's codes up directly. */
static int has_own_index(const hd_plan *p, const hd_step *s) { return hd_step_has_table(p, s) && !(s->role == HD_ROLE_IDENTITY && s->residual < 0); }

static hd_status build_conv(builder *b, hd_stage *s, int index) {
    const hd_step *step = &b->plan.step[index];
    const hd_node *n = &b->g->node[step->node];
    hd_qparams in = params_of(b, step->input), out = output_params(b, step), pre = out;
    if (hd_step_has_table(&b->plan, step)) {
        const hd_histogram *h = &b->histogram[step->pre];
        pre = !has_own_index(&b->plan, step) ? in : b->keep ? codes_of(b->g, step->pre) : b->policy->ranges == HD_RANGES_MSE ? hd_qparams_search_table(h, &b->plan, step, out) : hd_qparams_of(h, b->policy);
    }
    b->pre[index] = pre;
    hd_status status = add_tensor(b, step->output, out);
    s->output = b->tensor[step->output];
    if (status == HD_OK) {
        if (step->role == HD_ROLE_WEIGHTS) status = quantise_weights(b, s, n, in, pre, out.zero);
        else status = constant_weights(b, s, step->role == HD_ROLE_IDENTITY ? 0.5f : 0.5f / (float)(s->kh * s->kw));
    }
    if (status == HD_OK) status = set_channels(b, s, step->role == HD_ROLE_WEIGHTS ? n : NULL, in, pre, out.zero);
    if (status == HD_OK) status = set_residual(b, s, step->residual, pre);
    if (status == HD_OK) set_activation(b, s, step, pre, out);
    if (status == HD_OK && b->keep && step->residual < 0) keep_channels(b, s, step, in, pre, out.zero);
    return status;
}

static hd_status build(builder *b, const hd_idx *calib, int unit) {
    hd_model *m = b->m;
    size_t steps = (size_t)b->plan.n_steps;
    m->name = strdup(b->g->name ? b->g->name : "");
    m->tensor = calloc(steps + 1, sizeof *m->tensor);
    m->stage = calloc(steps, sizeof *m->stage);
    m->dense_weights = b->plan.dense_weights;
    if (!m->name || !m->tensor || !m->stage) return no_memory(b);
    for (int t = 0; t < b->g->n_tensors; t++) b->tensor[t] = -1;
    hd_status status = add_tensor(b, b->g->input, input_params(b, calib, unit));
    for (int i = 0; status == HD_OK && i < b->plan.n_steps; i++) {
        const hd_step *step = &b->plan.step[i];
        hd_stage *s = &m->stage[m->n_stages++];
        s->kind = step->role == HD_ROLE_MAXPOOL ? HD_STAGE_MAXPOOL : HD_STAGE_CONV;
        s->input = b->tensor[step->input];
        s->residual = -1;
        set_kernel(b, s, step);
        if (!(s->name = strdup(b->g->node[step->node].name))) return no_memory(b);
        if (step->role != HD_ROLE_MAXPOOL) status = build_conv(b, s, i);
        else {
            status = add_tensor(b, step->output, params_of(b, step->input));
            s->output = b->tensor[step->output];
        }
    }
    m->input = b->tensor[b->g->input];
    m->output = b->tensor[b->plan.output];
    return status == HD_OK ? hd_model_check(m, b->err) : status;
}

/* A factored layer is several nodes by now, removed channels are gone. */
static hd_status check_passes(const hd_graph *g, const hd_policy *policy, hd_err *err) {
    for (int i = 0; i < g->n_nodes; i++) {
        const hd_layer_policy *o = hd_policy_of(policy, g->node[i].name);
        if (hd_node_weights(&g->node[i]) && (o->recipe.factor || hd_policy_takes_channels(o)))
            return hd_fail(err, HD_UNSUPPORTED, "layer '%s': %s rewrites the network before its weights are solved, which was not done here; 'heddle compress' does it",
                           g->node[i].name, o->recipe.factor ? "a factorisation" : "taking channels out");
    }
    return HD_OK;
}

hd_status hd_calibration_check(const hd_graph *g, const hd_idx *calib, int samples, hd_err *err) {
    size_t need = hd_shape_size(g->tensor[g->input].shape);
    if (calib->item != need)
        return hd_fail(err, HD_MISMATCH, "calibration images have %zu elements; input tensor '%s' has %zu", calib->item,
                       g->tensor[g->input].name, need);
    if (samples < 1 || calib->dim[0] < 1)
        return hd_fail(err, HD_RANGE, "%d calibration images wanted of %u; at least 1 is needed", samples, calib->dim[0]);
    return HD_OK;
}

/* Are all codes and integers there that the stages need? */
static hd_status check_codes(const builder *b) {
    const hd_graph *g = b->g;
    for (int i = 0; i < b->plan.n_steps; i++) {
        const hd_step *s = &b->plan.step[i];
        const int used[4] = {s->input, s->residual, has_own_index(&b->plan, s) ? s->pre : -1, s->output};
        for (int k = 0; k < 4; k++)
            if (used[k] >= 0 && !(g->tensor[used[k]].scale > 0))
                return hd_fail(b->err, HD_UNSUPPORTED, "node '%s': tensor '%s' has no scale of its own, so its integers cannot be kept; with calibration data (--calib) they need not be",
                               g->node[s->node].name, g->tensor[used[k]].name);
        if (s->role == HD_ROLE_MAXPOOL && (g->tensor[s->input].scale != g->tensor[s->output].scale || g->tensor[s->input].zero != g->tensor[s->output].zero))
            return hd_fail(b->err, HD_UNSUPPORTED, "node '%s': a maximum pooling between codes of different scales", g->node[s->node].name);
        if (s->role == HD_ROLE_WEIGHTS && !g->node[s->node].weight_scale)
            return hd_fail(b->err, HD_UNSUPPORTED, "node '%s': its weights are no integers; with calibration data (--calib) they need not be", g->node[s->node].name);
    }
    return HD_OK;
}

static hd_status run(builder *b, const hd_idx *calib, int samples, int unit) {
    hd_status status = hd_compress_plan_make(&b->plan, b->g, b->keep, b->err);
    if (status != HD_OK) return status;
    size_t tensors = (size_t)b->g->n_tensors;
    b->histogram = malloc(tensors * sizeof *b->histogram);
    b->tensor = malloc(tensors * sizeof *b->tensor);
    b->pre = calloc((size_t)b->plan.n_steps, sizeof *b->pre);
    uint8_t *wanted = calloc(tensors, 1);
    b->m = calloc(1, sizeof *b->m);
    if (!b->histogram || !b->tensor || !b->pre || !wanted || !b->m) status = no_memory(b);
    else if (b->keep) status = check_codes(b);
    else {
        wanted[b->g->input] = 1;
        for (int i = 0; i < b->plan.n_steps; i++) wanted[b->plan.step[i].pre] = wanted[b->plan.step[i].output] = 1;
        status = hd_calibrate(b->histogram, wanted, b->g, calib, samples, unit, b->err);
    }
    free(wanted);
    if (status == HD_OK) status = build(b, calib, unit);
    if (status == HD_OK && !b->keep) status = hd_correct_channels(b->m, &b->plan, b->pre, b->policy, b->trained, calib, samples, unit, b->err);
    return status == HD_OK ? hd_model_check(b->m, b->err) : status;
}

hd_status hd_compress_check(const hd_graph *g, const hd_policy *policy, const hd_idx *calib, int samples, hd_err *err) {
    hd_status status = hd_graph_check(g, err);
    if (status == HD_OK) status = hd_policy_check(policy, g, err);
    return status == HD_OK ? hd_calibration_check(g, calib, samples, err) : status;
}

/* Without calib the graph's own codes and integers are kept. */
static hd_status compress(hd_model **out, const hd_graph *g, const hd_policy *policy, const hd_trained *trained, const hd_idx *calib, int samples, int unit, hd_err *err) {
    builder b = {.g = g, .policy = policy, .trained = trained, .keep = !calib, .err = err};
    /* Images run in parallel, each on one BLAS thread: more would only get in each other's way, and could change the sums' order. */
    int blas = openblas_get_num_threads();
    openblas_set_num_threads(1);
    hd_status status = run(&b, calib, samples, unit);
    openblas_set_num_threads(blas);
    if (status == HD_OK) *out = b.m;
    else hd_model_free(b.m);
    hd_compress_plan_free(&b.plan);
    free(b.histogram);
    free(b.tensor);
    free(b.pre);
    return status;
}

hd_status hd_compress_trained(hd_model **out, const hd_graph *g, const hd_policy *policy, const hd_trained *trained, const hd_idx *calib,
                              int samples, int unit, hd_err *err) {
    *out = NULL;
    hd_status status = hd_compress_check(g, policy, calib, samples, err);
    if (status == HD_OK) status = check_passes(g, policy, err);
    if (status != HD_OK) return status;
    if ((uint32_t)samples > calib->dim[0]) samples = (int)calib->dim[0];
    return compress(out, g, policy, trained, calib, samples, unit, err);
}

hd_status hd_compress_kept(hd_model **out, const hd_graph *g, hd_err *err) {
    hd_policy policy;
    hd_policy_default(&policy);
    *out = NULL;
    hd_status status = hd_graph_check(g, err);
    return status ? status : compress(out, g, &policy, NULL, NULL, 0, 0, err);
}
