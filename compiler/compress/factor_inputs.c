#include "factor_inputs.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/progress.h"

enum { MOST_IMAGES = 256, PARTS = 8, PARTS_UP_TO = 1024, ROWS = 64 };
static const double MOST_WORK = 4e9, DAMPING = 0.01;

typedef struct site {
    const hd_pass *p;
    const hd_graph *reference;
    const hd_node *n;
    int wanted, images, parts;
    size_t in, out, width;    /* a sample is [window][1][wanted outputs] */
    size_t positions, stride; /* of one image; every stride-th is used */
} site;

static void window(float *x, const site *t, const float *from, size_t position) {
    const hd_node *n = t->n;
    if (n->op == HD_OP_FC) {
        memcpy(x, from, t->in * sizeof *x);
        return;
    }
    hd_shape s = t->p->g->tensor[n->input[0]].shape;
    int width = t->p->g->tensor[n->output].shape.w, oy = (int)position / width, ox = (int)position % width;
    for (int c = 0; c < s.c; c++)
        for (int ky = 0; ky < n->kh; ky++)
            for (int kx = 0; kx < n->kw; kx++) {
                int iy = oy * n->sy - n->pad_top + ky * n->dy, ix = ox * n->sx - n->pad_left + kx * n->dx;
                int inside = iy >= 0 && iy < s.h && ix >= 0 && ix < s.w;
                *x++ = inside ? from[((size_t)c * (size_t)s.h + (size_t)iy) * (size_t)s.w + (size_t)ix] : 0.0f;
            }
}

static void collect_image(hd_hessian *h, float *rows, const site *t, int image, const float *x, const float *y) {
    int n = 0;
    /* The images start at different positions, so that thinning leaves none out. */
    for (size_t k = (size_t)image % t->stride; k < t->positions; k += t->stride) {
        float *row = rows + (size_t)n * t->width;
        window(row, t, x, k);
        row[t->in] = 1.0f;
        for (size_t c = 0; c < t->out; c++) row[t->in + 1 + c] = y[c * t->positions + k];
        if (++n < ROWS) continue;
        hd_hessian_add(h, rows, n);
        n = 0;
    }
    if (n) hd_hessian_add(h, rows, n);
}

/* Images part, part + parts, ... in order; all [width][width] gets samples * their moments. */
static hd_status collect_part(double *all, double *samples, const site *t, int part, hd_err *err) {
    hd_exec *now = NULL, *then = NULL;
    hd_hessian *h = hd_hessian_new((int)t->width);
    float *rows = malloc(ROWS * t->width * sizeof *rows), *image = malloc(t->p->calib->item * sizeof *image);
    hd_status s = h && rows && image ? HD_OK : hd_fail(err, HD_NOMEM, "node '%s': no memory for the second moments of its inputs", t->n->name);
    if (!s) s = hd_exec_new(&now, t->p->g, err);
    if (!s) s = hd_exec_new(&then, t->reference, err);
    *samples = 0;
    for (int i = part; !s && i < t->images && !hd_interrupted; i += t->parts) {
        hd_idx_item(t->p->calib, (uint32_t)i, t->p->unit, image);
        hd_exec_run(now, image);
        hd_exec_run(then, image);
        collect_image(h, rows, t, i, hd_exec_tensor(now, t->n->input[0]), hd_exec_tensor(then, t->wanted));
        size_t first = (size_t)i % t->stride;
        *samples += first < t->positions ? (double)((t->positions - 1 - first) / t->stride + 1) : 0;
    }
    if (!s) hd_hessian_get(h, all);
    hd_hessian_free(h);
    hd_exec_free(now);
    hd_exec_free(then);
    free(rows);
    free(image);
    return s;
}

/* In a fixed number of parts, added up in order: the same for any number of threads. */
static hd_status collect(double *all, double *samples_in_all, site *t, hd_err *err) {
    size_t square = t->width * t->width;
    t->parts = t->width <= PARTS_UP_TO ? PARTS : 1;
    double *part = malloc((size_t)t->parts * square * sizeof *part), samples[PARTS], sum = 0;
    if (!part) return hd_fail(err, HD_NOMEM, "node '%s': no memory for the second moments of its inputs", t->n->name);
    hd_status status = HD_OK, each[PARTS];
    hd_err own[PARTS] = {{0}};
#pragma omp parallel for schedule(dynamic, 1)
    for (int k = 0; k < t->parts; k++) each[k] = collect_part(part + (size_t)k * square, &samples[k], t, k, &own[k]);
    memset(all, 0, square * sizeof *all);
    for (int k = 0; k < t->parts; k++) {
        if (each[k] && !status) {
            status = each[k];
            if (err) *err = own[k];
        }
        for (size_t i = 0; !status && i < square; i++) all[i] += samples[k] * part[(size_t)k * square + i];
        sum += samples[k];
    }
    for (size_t i = 0; !status && i < square; i++) all[i] /= sum;
    *samples_in_all = sum;
    free(part);
    return !status && hd_interrupted ? hd_fail(err, HD_INTERRUPTED, "stopped during factorisation") : status;
}

/* Covariances out of moments: means are taken out of both sides, because the bias is free. */
static void centre(hd_layer_inputs *x, const double *all, const site *t) {
    size_t in = t->in, w = t->width;
    double trace = 0;
    for (size_t i = 0; i < in; i++) x->mean[i] = all[in * w + i] / 2;
    for (size_t i = 0; i < t->out; i++) x->mean[in + i] = all[in * w + in + 1 + i] / 2;
    for (size_t i = 0; i < in; i++)
        for (size_t j = 0; j < in; j++) x->h[i * in + j] = all[i * w + j] - 2 * x->mean[i] * x->mean[j];
    for (size_t k = 0; k < t->out; k++)
        for (size_t i = 0; i < in; i++) x->yx[k * in + i] = all[(in + 1 + k) * w + i] - 2 * x->mean[in + k] * x->mean[i];
    for (size_t i = 0; i < in; i++) trace += fmax(0, x->h[i * in + i]);
    x->damping = trace > 0 ? DAMPING * trace / (double)in : 1;
    for (size_t i = 0; i < in; i++) x->h[i * in + i] = fmax(0, x->h[i * in + i]) + x->damping;
}

hd_status hd_layer_inputs_target(double *t, const hd_node *n, const hd_layer_inputs *x, hd_err *err) {
    size_t in = (size_t)x->in, count = (size_t)x->out * in;
    double *h = malloc(in * in * sizeof *h);
    if (!h) return hd_fail(err, HD_NOMEM, "node '%s': out of memory", n->name);
    memcpy(h, x->h, in * in * sizeof *h);
    for (size_t i = 0; i < count; i++) t[i] = x->yx[i] + x->damping * (double)n->weight[i];
    int bad = LAPACKE_dposv(LAPACK_COL_MAJOR, 'L', x->in, x->out, h, x->in, t, x->in);
    free(h);
    return bad ? hd_fail(err, HD_RANGE, "node '%s': the second moment of its inputs is not positive definite (column %d)", n->name, bad) : HD_OK;
}

void hd_layer_inputs_free(hd_layer_inputs *x) {
    free(x->h);
    free(x->yx);
    free(x->mean);
    *x = (hd_layer_inputs){0};
}

hd_status hd_layer_inputs_measure(hd_layer_inputs *out, const hd_pass *p, int node, const hd_graph *reference, int wanted, hd_err *err) {
    const hd_node *n = &p->g->node[node];
    hd_shape y = p->g->tensor[n->output].shape;
    int samples = (uint32_t)p->samples < p->calib->dim[0] ? p->samples : (int)p->calib->dim[0];
    site t = {.p = p, .reference = reference, .n = n, .wanted = wanted, .images = samples < MOST_IMAGES ? samples : MOST_IMAGES, .out = (size_t)n->cout};
    t.in = n->op == HD_OP_FC ? (size_t)n->cin : (size_t)n->cin * (size_t)n->kh * (size_t)n->kw;
    t.width = t.in + 1 + t.out;
    t.positions = (size_t)y.h * (size_t)y.w;
    double work = (double)t.images * (double)t.positions * (double)t.width * (double)t.width;
    t.stride = (size_t)fmin(ceil(work / MOST_WORK), (double)t.positions);
    *out = (hd_layer_inputs){.in = (int)t.in, .out = n->cout, .h = malloc(t.in * t.in * sizeof(double)), .yx = malloc(t.out * t.in * sizeof(double)),
                             .mean = malloc((t.in + t.out) * sizeof(double))};
    double *all = malloc(t.width * t.width * sizeof *all);
    int threads = openblas_get_num_threads();
    openblas_set_num_threads(1);
    hd_status s = all && out->h && out->yx && out->mean ? collect(all, &out->samples, &t, err) : hd_fail(err, HD_NOMEM, "node '%s': no memory for the second moments of its inputs", n->name);
    openblas_set_num_threads(threads);
    if (!s) centre(out, all, &t);
    free(all);
    if (s) hd_layer_inputs_free(out);
    return s;
}
