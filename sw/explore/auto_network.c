#include "auto_network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/passes.h"
#include "../core/progress.h"
#include "accuracy.h"

enum { MOST_FORMATS = 128, FEW_SAMPLES = 64, FEW_JUDGED = 256 };

typedef struct rig {
    hd_auto_network *a;
    const hd_graph *g;
    const hd_idx *calib;
    int samples, unit, output; /* graph tensor that the model's output stands for */
    int judged;                /* items that count now */
    double reference[2];       /* loss of step 1's network; on few items, and on all */
    const hd_auto_network_options *o;
    hd_geometry roomy;         /* the geometry with memories for any weights: a layer alone must not fail for the others' 8 bits */
    uint32_t first;            /* judged item */
    float *want;               /* [judged][output size] */
} rig;

/* ---- candidates ---- */

static void add_format(hd_auto_format *list, int *n, const rig *r, int bits, int grid, float sparsity) {
    const hd_auto_network_options *o = r->o;
    hd_auto_format f = {o->base, -1};
    f.policy.bits = bits;
    f.policy.grid = o->grid_given ? o->base.grid : grid;
    f.policy.sparsity = sparsity;
    f.policy.skip_sparsity = 0;
    if (f.policy.grid == HD_GRID_ODD && bits == 0) return;
    if (f.policy.grid == HD_GRID_EVEN && bits < 2) return;
    if (!o->method_given) f.policy.recipe.solver = HD_METHOD_RTN;
    list[(*n)++] = f;
    if (o->method_given || f.policy.granularity == HD_GRANULARITY_TENSOR) return;
    f.sibling = *n - 1;
    f.policy.recipe.solver = sparsity > 0 ? HD_METHOD_SPARSEGPT : HD_METHOD_GPTQ;
    list[(*n)++] = f;
}

/* Formats of the candidates, the reference first. Five and more bits with blocks removed are left out: the same size in fewer bits keeps all blocks. */
static int list_formats(hd_auto_format list[MOST_FORMATS], const rig *r) {
    static const float removed[] = {0.25f, 0.5f, 0.75f};
    int n = 0;
    for (int bits = 8; bits >= 0; bits--) add_format(list, &n, r, bits, -1, 0);
    for (int bits = 4; bits >= 2 && !r->o->grid_given; bits--) add_format(list, &n, r, bits, HD_GRID_EVEN, 0);
    for (size_t i = 0; i < sizeof removed / sizeof *removed; i++)
        for (int bits = 4; bits >= 0; bits--) add_format(list, &n, r, bits, -1, removed[i]);
    return n;
}

static hd_status make_problem(rig *r, hd_err *err) {
    hd_auto_problem *p = &r->a->problem;
    hd_auto_format list[MOST_FORMATS];
    int n = list_formats(list, r), layers = 0;
    char **names = calloc((size_t)r->g->n_nodes + 1, sizeof *names);
    hd_auto_format *formats = malloc((size_t)n * sizeof *formats);
    p->layer = (const char *const *)names;
    p->format = formats;
    if (!names || !formats) return hd_fail(err, HD_NOMEM, "network '%s': out of memory", r->g->name);
    memcpy(formats, list, (size_t)n * sizeof *formats);
    p->formats = n;
    for (int i = 0; i < r->g->n_nodes; i++) {
        if (!hd_node_weights(&r->g->node[i])) continue;
        if (!(names[layers] = strdup(r->g->node[i].name))) return hd_fail(err, HD_NOMEM, "network '%s': out of memory", r->g->name);
        p->layers = ++layers;
    }
    return HD_OK;
}

/* ---- loss ---- */

/* The tensor before a final softmax, which compression drops. */
static int output_tensor(const hd_graph *g) {
    int t = g->output;
    for (int i = g->n_nodes; i-- > 0;)
        if (g->node[i].output == t && (g->node[i].op == HD_OP_SOFTMAX || g->node[i].op == HD_OP_FLATTEN)) t = g->node[i].input[0];
    return t;
}

static hd_status float_outputs(rig *r, hd_err *err) {
    size_t n = hd_shape_size(r->g->tensor[r->output].shape);
    hd_exec *e = NULL;
    float *item = malloc(r->calib->item * sizeof *item);
    r->want = malloc((size_t)r->a->judged * n * sizeof *r->want);
    hd_status s = item && r->want ? hd_exec_new(&e, r->g, err) : hd_fail(err, HD_NOMEM, "network '%s': no memory for %d outputs", r->g->name, r->a->judged);
    for (int i = 0; !s && i < r->a->judged; i++) {
        hd_idx_item(r->calib, r->first + (uint32_t)i, r->unit, item);
        hd_exec_run(e, item);
        memcpy(r->want + (size_t)i * n, hd_exec_tensor(e, r->output), n * sizeof *r->want);
    }
    hd_exec_free(e);
    free(item);
    return s;
}

/* sum of p log (p / q) over c values, `stride` and 1 apart. */
static double divergence(const float *want, size_t stride, const hd_qtensor *to, const int8_t *codes) {
    double most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0}, result = 0;
    for (int pass = 0; pass < 3; pass++)
        for (int c = 0; c < to->c; c++) {
            double x[2] = {(double)want[(size_t)c * stride], (double)to->scale * (codes[c] - to->zero)};
            if (pass == 2) result += exp(x[0] - most[0]) / sum[0] * ((x[0] - most[0] - log(sum[0])) - (x[1] - most[1] - log(sum[1])));
            for (int k = 0; k < 2; k++) {
                if (pass == 0) most[k] = fmax(most[k], x[k]);
                if (pass == 1) sum[k] += exp(x[k] - most[k]);
            }
        }
    return result;
}

/* Loss of one item: numerator and denominator. */
static void judge(double out[2], const rig *r, int item, const hd_qtensor *to, const int8_t *codes) {
    size_t positions = (size_t)to->h * (size_t)to->w, n = positions * (size_t)to->c;
    const float *want = r->want + (size_t)item * n;
    out[0] = out[1] = 0;
    if (r->a->loss == HD_AUTO_DIVERGENCE) {
        for (size_t at = 0; at < positions; at++) out[0] += divergence(want + at, positions, to, codes + at * (size_t)to->c) / (double)positions;
        out[1] = 1;
        return;
    }
    for (size_t at = 0; at < positions; at++)
        for (size_t c = 0; c < (size_t)to->c; c++) {
            double w = (double)want[c * positions + at], d = (double)to->scale * (codes[at * (size_t)to->c + c] - to->zero) - w;
            out[0] += d * d;
            out[1] += w * w;
        }
}

static hd_status measure_loss(double *loss, const rig *r, const hd_model *m, hd_err *err) {
    int n = r->judged;
    double *parts = malloc(2 * (size_t)n * sizeof *parts), sum[2] = {0, 0};
    hd_status status = parts ? HD_OK : hd_fail(err, HD_NOMEM, "network '%s': no memory for %d losses", r->g->name, n);
#pragma omp parallel if (parts != NULL)
    {
        hd_integer *e = NULL;
        hd_err own = {0};
        float *scratch = malloc(r->calib->item * sizeof *scratch);
        int8_t *codes = malloc(r->calib->item);
        hd_status s = scratch && codes ? hd_integer_new(&e, m, &own) : hd_fail(&own, HD_NOMEM, "network '%s': no memory for an item", r->g->name);
#pragma omp for schedule(dynamic, 16)
        for (int i = 0; i < n; i++) {
            if (s || hd_interrupted || !parts) continue;
            hd_encode_item(&m->tensor[m->input], r->calib, r->first + (uint32_t)i, r->unit, scratch, codes);
            hd_integer_run(e, codes);
            judge(parts + 2 * (size_t)i, r, i, &m->tensor[m->output], hd_integer_tensor(e, m->output));
        }
        if (s) {
#pragma omp critical(auto_loss)
            status = hd_fail(err, s, "%s", own.message);
        }
        if (e) hd_integer_free(e);
        free(scratch);
        free(codes);
    }
    if (!status && hd_interrupted) status = hd_fail(err, HD_INTERRUPTED, "stopped");
    /* In order, so that the number of threads changes nothing. */
    for (int i = 0; !status && i < n; i++)
        for (int k = 0; k < 2; k++) sum[k] += parts[2 * i + k];
    if (!status) *loss = sum[0] / (sum[1] > 0 ? sum[1] : 1);
    free(parts);
    return status;
}

/* ---- networks ---- */

static hd_status make_policy(hd_policy *p, const rig *r, const int *pick, int all, hd_err *err) {
    const hd_auto_problem *q = &r->a->problem;
    *p = (hd_policy){.base = q->format[0].policy, .ranges = r->o->ranges, .percentile = r->o->percentile};
    for (int l = 0; l < q->layers; l++)
        if (!hd_policy_add(p, q->layer[l], &q->format[pick ? pick[l] : all].policy)) {
            hd_policy_free(p);
            return hd_fail(err, HD_NOMEM, "network '%s': no memory for a policy", r->g->name);
        }
    return HD_OK;
}

static hd_status compress(hd_model **m, const rig *r, const hd_policy *p, hd_err *err) {
    hd_graph *rewritten = NULL;
    hd_policy policy = {0};
    *m = NULL;
    hd_status s = hd_passes_run(&rewritten, &policy, r->g, p, r->calib, r->samples, r->unit, err);
    if (!s) s = hd_compress(m, rewritten, &policy, r->calib, r->samples, r->unit, err);
    hd_graph_free(rewritten);
    hd_policy_free(&policy);
    return s;
}

/* Is the stage part of the layer? Passes that split a layer name the parts after it. */
static int belongs(const char *stage, const char *layer) {
    size_t n = strlen(layer);
    return layer[0] && !strncmp(stage, layer, n) && (!stage[n] || stage[n] == '.');
}

/* Costs of the stages of `layer`, or of all when it is NULL. */
static hd_status costs(uint64_t cost[HD_COSTS], const rig *r, const hd_model *m, const hd_geometry *g, const char *layer, hd_err *err) {
    cost[HD_AUTO_BYTES] = cost[HD_AUTO_CYCLES] = 0;
    for (int i = 0; i < m->n_stages; i++)
        if (!layer || belongs(m->stage[i].name, layer)) cost[HD_AUTO_BYTES] += hd_stage_weight_bytes(&m->stage[i]);
    if (!g) return HD_OK;
    hd_program *p = NULL;
    uint64_t total = 0, *part = NULL;
    hd_status s = hd_lower(&p, m, g, r->o->lower, err);
    if (!s && !(part = malloc((size_t)p->n_layers * sizeof *part))) s = hd_fail(err, HD_NOMEM, "network '%s': no memory for its cycles", r->g->name);
    if (!s) s = hd_program_cycles(p, &total, part, err);
    for (uint32_t i = 0; !s && layer && i < p->n_layers; i++)
        if (belongs(p->layer[i].name, layer)) cost[HD_AUTO_CYCLES] += part[i];
    if (!s && !layer) cost[HD_AUTO_CYCLES] = total;
    free(part);
    if (p) hd_program_free(p);
    return s;
}

static hd_status measure(hd_choice *out, const rig *r, const hd_policy *p, const hd_geometry *g, const char *layer, hd_err *err) {
    hd_model *m = NULL;
    hd_status s = compress(&m, r, p, err);
    if (!s) s = measure_loss(&out->loss, r, m, err);
    if (!s) s = costs(out->cost, r, m, g, layer, err);
    if (m) hd_model_free(m);
    return s;
}

/* Rounding needs few items to show what a format loses, and most measurements are such. */
static hd_status few_items(rig *r, const hd_policy *p, const hd_geometry *g, const char *layer, hd_choice *out, hd_err *err) {
    rig few = *r;
    if (few.samples > FEW_SAMPLES) few.samples = FEW_SAMPLES;
    if (few.judged > FEW_JUDGED) few.judged = FEW_JUDGED;
    return measure(out, &few, p, g, layer, err);
}

static hd_status alone(void *arg, int layer, int format, hd_choice *out, hd_err *err) {
    rig *r = arg;
    hd_policy p;
    const hd_geometry *g = r->o->geometry ? &r->roomy : NULL;
    hd_status s = make_policy(&p, r, NULL, 0, err);
    if (s) return s;
    if (layer < 0) {
        s = few_items(r, &p, g, NULL, out, err);
        r->reference[0] = out->loss;
        if (!s) s = measure(out, r, &p, g, NULL, err);
        r->reference[1] = out->loss;
    } else {
        const hd_auto_format *f = &r->a->problem.format[format];
        const char *name = r->a->problem.layer[layer];
        int all = f->sibling >= 0 || f->policy.recipe.solver != HD_METHOD_RTN;
        p.rule[layer].policy = f->policy;
        s = all ? measure(out, r, &p, g, name, err) : few_items(r, &p, g, name, out, err);
        out->loss -= r->reference[all];
    }
    hd_policy_free(&p);
    return s;
}

static hd_status whole(void *arg, const int *pick, hd_choice *out, hd_err *err) {
    rig *r = arg;
    hd_policy p;
    hd_err own = {0};
    hd_status s = make_policy(&p, r, pick, 0, err);
    if (s) return s;
    s = measure(out, r, &p, r->o->geometry, NULL, &own);
    hd_policy_free(&p);
    if (s == HD_NOFIT) {
        *out = (hd_choice){INFINITY, {HD_NO_BUDGET, HD_NO_BUDGET}};
        return HD_OK;
    }
    if (s && err) *err = own;
    return s;
}

/* ---- all of it ---- */

static hd_status set_up(rig *r, hd_err *err) {
    const hd_auto_network_options *o = r->o;
    const hd_shape out = r->g->tensor[r->output].shape;
    if (o->judged < 1) return hd_fail(err, HD_RANGE, "automatic policy: %d judged items; at least 1", o->judged);
    if (r->samples < 1 || !r->calib->dim[0]) return hd_fail(err, HD_RANGE, "automatic policy: %d calibration items wanted of %u; at least 1", r->samples, r->calib->dim[0]);
    if (r->calib->item != hd_shape_size(r->g->tensor[r->g->input].shape))
        return hd_fail(err, HD_MISMATCH, "calibration images have %zu elements; input tensor '%s' has %zu", r->calib->item, r->g->tensor[r->g->input].name,
                       hd_shape_size(r->g->tensor[r->g->input].shape));
    if (!o->geometry && o->budget[HD_AUTO_CYCLES] != HD_NO_BUDGET) return hd_fail(err, HD_RANGE, "automatic policy: a budget of cycles needs a geometry");
    uint32_t after = (uint32_t)r->samples < r->calib->dim[0] ? r->calib->dim[0] - (uint32_t)r->samples : 0;
    r->a->held_out = after > 0;
    r->first = after ? (uint32_t)r->samples : 0;
    uint32_t there = after ? after : r->calib->dim[0];
    r->a->judged = (uint32_t)o->judged < there ? o->judged : (int)there;
    r->judged = r->a->judged;
    r->a->loss = o->loss != HD_AUTO_LOSS_AUTO ? o->loss : out.h * out.w == 1 && out.c >= 2 ? HD_AUTO_DIVERGENCE : HD_AUTO_ERROR;
    if (o->geometry) {
        r->roomy = *o->geometry;
        r->roomy.stream_words = 1u << 22;
        r->roomy.param_words = 65536;
        r->roomy.descriptors = 1024;
    }
    return float_outputs(r, err);
}

hd_status hd_auto_network_run(hd_auto_network **out, const hd_graph *g, const hd_idx *calib, int samples, int unit, const hd_auto_network_options *o,
                              hd_err *err) {
    *out = NULL;
    hd_status s = hd_graph_check(g, err);
    if (s) return s;
    rig r = {.a = calloc(1, sizeof *r.a), .g = g, .calib = calib, .samples = samples, .unit = unit, .output = output_tensor(g), .o = o};
    if (!r.a) return hd_fail(err, HD_NOMEM, "network '%s': out of memory", g->name);
    hd_auto_problem *p = &r.a->problem;
    s = make_problem(&r, err);
    if (!s) s = set_up(&r, err);
    memcpy(p->budget, o->budget, sizeof p->budget);
    p->refinements = o->refinements;
    p->label = "policy";
    p->alone = alone;
    p->whole = whole;
    p->arg = &r;
    if (!s) s = hd_auto_search(&r.a->result, p, err);
    if (!s) s = hd_auto_policy(&r.a->policy, p, r.a->result, err);
    r.a->policy.ranges = o->ranges;
    r.a->policy.percentile = o->percentile;
    if (!s) s = compress(&r.a->model, &r, &r.a->policy, err);
    uint64_t cost[HD_COSTS] = {0};
    if (!s) s = costs(cost, &r, r.a->model, o->geometry, NULL, err);
    r.a->bytes = cost[HD_AUTO_BYTES];
    r.a->cycles = cost[HD_AUTO_CYCLES];
    p->arg = NULL; /* what measures goes away here */
    free(r.want);
    if (s) hd_auto_network_free(r.a);
    else *out = r.a;
    return s;
}

void hd_auto_network_free(hd_auto_network *a) {
    if (!a) return;
    hd_auto_problem_free(&a->problem);
    hd_auto_free(a->result);
    hd_policy_free(&a->policy);
    if (a->model) hd_model_free(a->model);
    free(a);
}
