#include "auto_lm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/progress.h"
#include "compress_internal.h"
#include "lm_policy.h"

enum { MOST_FORMATS = 32 };

/* A matrix solved in one format. */
typedef struct solved {
    float *w;
    uint64_t bytes;
} solved;

typedef struct rig {
    hd_auto_lm *a;
    const hd_llama *m;
    hd_llama *work;       /* a copy whose matrices are replaced one at a time */
    const int16_t *tokens;
    int stride, t;
    solved *solution;     /* [matrix][format] */
    float *stream, *x;    /* [layers][judged][t][dim]: the float model's residual stream before each block; one block's worth */
} rig;

static const int16_t *judged_rows(const rig *r) { return r->tokens + (size_t)r->a->calibrated * (size_t)r->stride; }
static size_t stream_size(const rig *r) { return (size_t)r->a->judged * (size_t)r->t * (size_t)r->m->dim; }
static int matrices(const hd_llama *m) { return m->layers * HD_LLAMA_MATRICES; }

uint64_t hd_auto_lm_bytes(const hd_lm *c) {
    uint64_t bytes = 0;
    for (int i = 0; i < matrices(c->model); i++) bytes += (uint64_t)ceil(c->matrix[i].linear.bits_stored / 8);
    return bytes;
}

/* ---- candidates ---- */

/* Eight bits in groups of 32 first. Groups of several sizes only at few bits: at many, their shifts gain less than a bit. */
static int list_formats(hd_auto_format *list, const hd_auto_lm_options *o) {
    static const int groups[] = {32, 16, 0}, bits[] = {8, 7, 6, 5, 4, 3, 2, 1, 0};
    int n = 0;
    for (size_t b = 0; b < sizeof bits / sizeof *bits; b++)
        for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
            if (g && (o->granularity_given || bits[b] > 4 || bits[b] == 1)) continue;
            hd_layer_policy p = o->base;
            p.bits = bits[b];
            p.grid = -1;
            p.sparsity = 0;
            p.structure = HD_SPARSE_NONE;
            if (!o->granularity_given) {
                p.granularity = groups[g] ? HD_GRANULARITY_GROUP : HD_GRANULARITY_CHANNEL;
                p.group_size = groups[g];
            }
            list[n++] = (hd_auto_format){p, -1};
        }
    return n;
}

static hd_status make_problem(rig *r, const hd_auto_lm_options *o, hd_err *err) {
    hd_auto_problem *p = &r->a->problem;
    char **names = calloc((size_t)matrices(r->m), sizeof *names), name[32];
    hd_auto_format *formats = malloc(MOST_FORMATS * sizeof *formats);
    p->layer = (const char *const *)names;
    p->format = formats;
    if (!names || !formats) return hd_fail(err, HD_NOMEM, "automatic policy: out of memory");
    p->formats = list_formats(formats, o);
    for (int i = 0; i < matrices(r->m); i++) {
        hd_llama_name(i / HD_LLAMA_MATRICES, i % HD_LLAMA_MATRICES, name, sizeof name);
        if (!(names[i] = strdup(name))) return hd_fail(err, HD_NOMEM, "automatic policy: out of memory");
        p->layers = i + 1;
    }
    p->budget[HD_AUTO_BYTES] = o->budget_bytes;
    p->budget[HD_AUTO_CYCLES] = HD_NO_BUDGET;
    p->refinements = o->refinements;
    p->label = "policy";
    return HD_OK;
}

/* ---- one matrix at a time ---- */

/* Solves the matrix in every format, and leaves the model as it is. */
static hd_status solve_all(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    rig *r = arg;
    const hd_auto_problem *q = &r->a->problem;
    size_t n = (size_t)p->out * (size_t)p->in;
    hd_status s = HD_OK;
    for (int f = 0; !s && f < q->formats; f++) {
        solved *to = &r->solution[(size_t)(layer * HD_LLAMA_MATRICES + matrix) * (size_t)q->formats + (size_t)f];
        hd_lm_linear l;
        hd_lm_matrix got = {0};
        hd_lm_format_of(&l.format, &l.options, &q->format[f].policy);
        s = hd_lm_solve_linear(&l, layer, matrix, p, &got, err);
        if (!s) {
            to->w = got.linear.w;
            got.linear.w = NULL;
            to->bytes = (uint64_t)ceil(got.linear.bits_stored / 8);
        }
        hd_linear_result_free(&got.linear);
    }
    out->linear.w = malloc(n * sizeof *out->linear.w);
    if (!s && !out->linear.w) s = hd_fail(err, HD_NOMEM, "automatic policy: no memory for a matrix of %zu weights", n);
    if (!s) memcpy(out->linear.w, p->w, n * sizeof *p->w);
    return s;
}

static hd_status walk(rig *r, hd_err *err) {
    hd_lm *c = NULL;
    hd_lm_options o = {.solve = solve_all, .arg = r, .correct = 0, .label = "formats"};
    r->solution = calloc((size_t)matrices(r->m) * (size_t)r->a->problem.formats, sizeof *r->solution);
    if (!r->solution) return hd_fail(err, HD_NOMEM, "automatic policy: out of memory");
    hd_status s = hd_lm_compress(&c, r->m, r->tokens, r->stride, r->a->calibrated, r->t, &o, err);
    hd_lm_free(c);
    return s;
}

static hd_status loss_of(double *nats, const rig *r, const hd_llama *m, int from, hd_err *err) {
    hd_status s = HD_OK;
    for (int l = from; !s && l < m->layers; l++) s = hd_llama_block(m, l, r->x, r->a->judged, r->t, err);
    return s ? s : hd_llama_loss(m, r->x, judged_rows(r) + 1, r->stride, r->a->judged, r->t, nats, err);
}

static hd_status float_streams(rig *r, hd_err *err) {
    size_t n = stream_size(r);
    r->stream = malloc((size_t)r->m->layers * n * sizeof *r->stream);
    r->x = malloc(n * sizeof *r->x);
    if (!r->stream || !r->x) return hd_fail(err, HD_NOMEM, "automatic policy: no memory for the activations of %d rows", r->a->judged);
    hd_status s = hd_llama_embed(r->m, judged_rows(r), r->stride, r->a->judged, r->t, r->x, err);
    for (int l = 0; !s && l < r->m->layers; l++) {
        memcpy(r->stream + (size_t)l * n, r->x, n * sizeof *r->x);
        s = hd_llama_block(r->m, l, r->x, r->a->judged, r->t, err);
    }
    return s ? s : loss_of(&r->a->float_loss, r, r->m, r->m->layers, err);
}

static hd_status alone(void *arg, int matrix, int format, hd_choice *out, hd_err *err) {
    rig *r = arg;
    size_t formats = (size_t)r->a->problem.formats, n = stream_size(r);
    *out = (hd_choice){0};
    if (matrix < 0) {
        for (int i = 0; i < matrices(r->m); i++) out->cost[HD_AUTO_BYTES] += r->solution[(size_t)i * formats].bytes;
        return HD_OK;
    }
    const solved *w = &r->solution[(size_t)matrix * formats + (size_t)format];
    int layer = matrix / HD_LLAMA_MATRICES;
    float **slot = &r->work->layer[layer].matrix[matrix % HD_LLAMA_MATRICES], *own = *slot;
    *slot = w->w;
    memcpy(r->x, r->stream + (size_t)layer * n, n * sizeof *r->x);
    hd_status s = loss_of(&out->loss, r, r->work, layer, err);
    *slot = own;
    out->loss -= r->a->float_loss;
    out->cost[HD_AUTO_BYTES] = w->bytes;
    return s;
}

/* ---- whole models ---- */

static hd_status whole(void *arg, const int *pick, hd_choice *out, hd_err *err) {
    rig *r = arg;
    hd_auto_result picked = {.layers = r->a->problem.layers, .pick = (int *)(uintptr_t)pick};
    hd_policy p;
    hd_lm *c = NULL;
    hd_status s = hd_auto_policy(&p, &r->a->problem, &picked, err);
    if (s) return s;
    s = hd_lm_compress_policy(&c, r->m, &p, r->tokens, r->stride, r->a->calibrated, r->t, NULL, err);
    if (!s) s = hd_llama_embed(c->model, judged_rows(r), r->stride, r->a->judged, r->t, r->x, err);
    if (!s) s = loss_of(&out->loss, r, c->model, 0, err);
    out->cost[HD_AUTO_BYTES] = s ? 0 : hd_auto_lm_bytes(c);
    out->cost[HD_AUTO_CYCLES] = 0;
    hd_lm_free(c);
    hd_policy_free(&p);
    return s;
}

hd_status hd_auto_lm_run(hd_auto_lm **out, const hd_llama *m, const int16_t *tokens, int stride, int n, int t, const hd_auto_lm_options *o, hd_err *err) {
    *out = NULL;
    if (n < 2) return hd_fail(err, HD_RANGE, "automatic policy: %d rows of tokens; at least 2, to calibrate on and to judge by", n);
    rig r = {.a = calloc(1, sizeof *r.a), .m = m, .work = hd_llama_clone(m), .tokens = tokens, .stride = stride, .t = t};
    hd_status s = r.a && r.work ? HD_OK : hd_fail(err, HD_NOMEM, "automatic policy: out of memory");
    if (r.a) {
        r.a->judged = n < 4 ? 1 : n / 4;
        r.a->calibrated = n - r.a->judged;
    }
    if (!s) s = make_problem(&r, o, err);
    if (!s) s = float_streams(&r, err);
    if (!s) s = walk(&r, err);
    if (!s) {
        hd_auto_problem *p = &r.a->problem;
        p->alone = alone;
        p->whole = whole;
        p->arg = &r;
        s = hd_auto_search(&r.a->result, p, err);
        if (!s) s = hd_auto_policy(&r.a->policy, p, r.a->result, err);
        p->arg = NULL; /* what measures goes away here */
    }
    for (int i = 0; r.solution && i < matrices(m) * r.a->problem.formats; i++) free(r.solution[i].w);
    free(r.solution);
    free(r.stream);
    free(r.x);
    hd_llama_free(r.work);
    if (s) hd_auto_lm_free(r.a);
    else *out = r.a;
    return s;
}

void hd_auto_lm_free(hd_auto_lm *a) {
    if (!a) return;
    hd_auto_problem_free(&a->problem);
    hd_auto_free(a->result);
    hd_policy_free(&a->policy);
    free(a);
}
