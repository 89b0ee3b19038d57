#include "pass_inputs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/progress.h"
#include "../graph/graph_edit.h"
#include "compress_internal.h"

enum { PARTS = 8, PARTS_UP_TO = 1024, ROWS = 64 };
static const double MOST_WORK = 2e9; /* multiplications for the second moments of a layer's group */

int *hd_channel_index(const hd_graph *g) {
    int *first = malloc(((size_t)g->n_tensors + 1) * sizeof *first);
    if (!first) return NULL;
    first[0] = 0;
    for (int t = 0; t < g->n_tensors; t++) first[t + 1] = first[t] + g->tensor[t].shape.c;
    return first;
}

static hd_status no_memory(const hd_pass *p, hd_err *err) { return hd_fail(err, HD_NOMEM, "network '%s': no memory for its activations", p->g->name); }

static void look_at(float *absmax, const hd_graph *g, const int *first, const hd_exec *e) {
    for (int t = 0; t < g->n_tensors; t++) {
        hd_shape s = g->tensor[t].shape;
        const float *x = hd_exec_tensor(e, t);
        for (int c = 0; c < s.c; c++)
            for (int i = 0; i < s.h * s.w; i++) absmax[first[t] + c] = fmaxf(absmax[first[t] + c], fabsf(*x++));
    }
}

hd_status hd_channel_absmax(float *absmax, const hd_pass *p, const int *first, hd_err *err) {
    size_t n = (size_t)first[p->g->n_tensors];
    hd_status status = HD_OK;
    memset(absmax, 0, n * sizeof *absmax);
#pragma omp parallel
    {
        hd_exec *e = NULL;
        hd_err own = {0};
        float *seen = calloc(n, sizeof *seen), *image = malloc(p->calib->item * sizeof *image);
        hd_status mine = hd_exec_new(&e, p->g, &own);
        if (mine == HD_OK && (!seen || !image)) mine = no_memory(p, &own);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < p->samples; i++) {
            if (mine != HD_OK || hd_interrupted) continue;
            hd_idx_item(p->calib, (uint32_t)i, p->unit, image);
            hd_exec_run(e, image);
            look_at(seen, p->g, first, e);
        }
#pragma omp critical(hd_channel_absmax)
        {
            if (mine != HD_OK && status == HD_OK) {
                status = mine;
                if (err) *err = own;
            }
            for (size_t i = 0; mine == HD_OK && i < n; i++) absmax[i] = fmaxf(absmax[i], seen[i]);
        }
        hd_exec_free(e);
        free(seen);
        free(image);
    }
    return status == HD_OK && hd_interrupted ? hd_fail(err, HD_INTERRUPTED, "stopped during calibration") : status;
}

int hd_layer_channel(const hd_graph *g, const hd_node *n, size_t group, size_t j) {
    hd_shape s = g->tensor[n->input[0]].shape;
    size_t per = n->op == HD_OP_CONV2D ? (size_t)(n->kh * n->kw) : (size_t)(s.h * s.w);
    return (int)(group * (size_t)(n->cin / n->groups) * (n->op == HD_OP_CONV2D) + j / per);
}

size_t hd_layer_taps(const hd_graph *g, const hd_node *n) {
    if (n->op == HD_OP_CONV2D) return (size_t)(n->kh * n->kw);
    int t = n->input[0];
    for (int from = hd_graph_producer(g, t); from >= 0; from = hd_graph_producer(g, t)) {
        hd_op op = g->node[from].op;
        if (op != HD_OP_CLIP && op != HD_OP_UNARY && op != HD_OP_FLATTEN) break;
        t = g->node[from].input[0];
        if (op == HD_OP_FLATTEN) break;
    }
    return (size_t)(g->tensor[t].shape.h * g->tensor[t].shape.w);
}

/* The window of output position `at`, in the order of the layer's columns. */
static void window(float *x, const hd_graph *g, const hd_node *n, const float *in, size_t group, size_t at) {
    hd_shape s = g->tensor[n->input[0]].shape, out = g->tensor[n->output].shape;
    if (n->op == HD_OP_FC) {
        memcpy(x, in, (size_t)n->cin * sizeof *x);
        return;
    }
    int per = n->cin / n->groups, y0 = (int)(at / (size_t)out.w) * n->sy - n->pad_top, x0 = (int)(at % (size_t)out.w) * n->sx - n->pad_left;
    for (int c = 0; c < per; c++) {
        const float *plane = in + ((size_t)group * (size_t)per + (size_t)c) * (size_t)s.h * (size_t)s.w;
        for (int ky = 0; ky < n->kh; ky++)
            for (int kx = 0; kx < n->kw; kx++) {
                int iy = y0 + ky * n->dy, ix = x0 + kx * n->dx;
                *x++ = iy >= 0 && iy < s.h && ix >= 0 && ix < s.w ? plane[(size_t)iy * (size_t)s.w + (size_t)ix] : 0.0f;
            }
    }
}

typedef struct moments {
    const hd_pass *p;
    const hd_node *n;
    size_t columns, groups, positions, stride;
    int parts;
    double *sum; /* [parts][groups][columns][columns]: means of each part */
    double *count; /* [parts] */
} moments;

/* Images k, k + parts, ... */
static hd_status collect(const moments *m, int k, hd_err *err) {
    const hd_pass *p = m->p;
    hd_exec *e = NULL;
    hd_hessian **h = calloc(m->groups, sizeof(hd_hessian *));
    float *image = malloc(p->calib->item * sizeof *image), *rows = malloc(ROWS * m->columns * sizeof *rows);
    hd_status s = hd_exec_new(&e, p->g, err);
    int enough = h && image && rows;
    for (size_t i = 0; enough && i < m->groups; i++) enough = (h[i] = hd_hessian_new((int)m->columns)) != NULL;
    if (!s && !enough) s = no_memory(p, err);
    for (int i = k; !s && i < p->samples && !hd_interrupted; i += m->parts) {
        hd_idx_item(p->calib, (uint32_t)i, p->unit, image);
        hd_exec_run(e, image);
        const float *in = hd_exec_tensor(e, m->n->input[0]);
        for (size_t group = 0; group < m->groups; group++) {
            int n = 0;
            /* The images start at different positions, so that thinning leaves none out. */
            for (size_t at = (size_t)i % m->stride; at < m->positions; at += m->stride) {
                window(rows + (size_t)n * m->columns, p->g, m->n, in, group, at);
                m->count[k] += group == 0;
                if (++n < ROWS) continue;
                hd_hessian_add(h[group], rows, n);
                n = 0;
            }
            if (n) hd_hessian_add(h[group], rows, n);
        }
    }
    size_t square = m->columns * m->columns;
    for (size_t i = 0; !s && i < m->groups; i++) hd_hessian_get(h[i], m->sum + ((size_t)k * m->groups + i) * square);
    for (size_t i = 0; h && i < m->groups; i++) hd_hessian_free(h[i]);
    free(h);
    free(image);
    free(rows);
    hd_exec_free(e);
    return s;
}

hd_status hd_layer_moments(double *h, const hd_pass *p, int node, hd_err *err) {
    const hd_node *n = &p->g->node[node];
    hd_shape out = p->g->tensor[n->output].shape;
    moments m = {.p = p, .n = n, .columns = hd_layer_columns(n), .groups = (size_t)n->groups, .positions = (size_t)out.h * (size_t)out.w};
    m.parts = m.columns <= PARTS_UP_TO ? PARTS : 1;
    double work = (double)p->samples * (double)m.positions * (double)m.columns * (double)m.columns, samples = 0;
    m.stride = (size_t)fmax(1, fmin(ceil(work / MOST_WORK), (double)m.positions));
    size_t all = m.groups * m.columns * m.columns;
    m.sum = calloc((size_t)m.parts * all, sizeof *m.sum);
    m.count = calloc((size_t)m.parts, sizeof *m.count);
    hd_status s = m.sum && m.count ? HD_OK : hd_fail(err, HD_NOMEM, "node '%s': no memory for the second moments of its inputs", n->name);
    if (!s)
#pragma omp parallel for schedule(dynamic)
        for (int k = 0; k < m.parts; k++) {
            hd_err own = {0};
            hd_status mine = collect(&m, k, &own);
            if (mine)
#pragma omp critical(hd_layer_moments)
            {
                s = mine;
                if (err) *err = own;
            }
        }
    memset(h, 0, all * sizeof *h);
    /* In order, so that the sums are the same on any number of threads. */
    for (int k = 0; !s && k < m.parts; k++) {
        samples += m.count[k];
        for (size_t i = 0; i < all; i++) h[i] += m.count[k] * m.sum[(size_t)k * all + i];
    }
    for (size_t i = 0; !s && i < all && samples > 0; i++) h[i] /= samples;
    free(m.sum);
    free(m.count);
    return !s && hd_interrupted ? hd_fail(err, HD_INTERRUPTED, "stopped during calibration") : s;
}
