/* A thread's buffers for a batch, and the walk over the nodes in both directions. */
#include "batch.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

hd_status hd_params_new(hd_params *p, const hd_graph *g, hd_err *err) {
    *p = (hd_params){0};
    p->weight = calloc((size_t)g->n_nodes + 1, sizeof *p->weight);
    p->bias = calloc((size_t)g->n_nodes + 1, sizeof *p->bias);
    if (!p->weight || !p->bias) {
        hd_params_free(p);
        return hd_fail(err, HD_NOMEM, "no memory for %d nodes", g->n_nodes);
    }
    for (int i = 0; i < g->n_nodes; i++) {
        const hd_node *t = &g->node[i];
        p->weight[i] = p->total;
        p->total += t->weight ? hd_node_weights(t) : 0;
        p->bias[i] = p->total;
        p->total += t->bias ? (size_t)t->cout : 0;
    }
    return HD_OK;
}

void hd_params_free(hd_params *p) {
    free(p->weight);
    free(p->bias);
    *p = (hd_params){0};
}

/* Rows and columns of the matrix a node multiplies with; 0 rows where it needs none. */
static void col_size(const hd_graph *g, const hd_node *t, size_t *rows, size_t *cols) {
    *rows = *cols = 0;
    if (t->op == HD_OP_CONV2D && !hd_conv_is_plain(t) && !hd_conv_is_depthwise(t)) {
        hd_shape out = g->tensor[t->output].shape;
        *rows = (size_t)t->cin * (size_t)t->kh * (size_t)t->kw;
        *cols = (size_t)out.h * (size_t)out.w;
    } else if (t->op == HD_OP_FC) {
        *rows = (size_t)t->cin;
        *cols = 1;
    }
}

static float *floats(size_t a, size_t b, size_t samples) {
    size_t n;
    if (__builtin_mul_overflow(a, b, &n) || __builtin_mul_overflow(n, samples, &n) || __builtin_mul_overflow(n, sizeof(float), &n))
        return NULL;
    return malloc(n ? n : 1);
}

/* BLAS counts in int. */
static hd_status check_node(const hd_graph *g, const hd_node *t, int capacity, hd_err *err) {
    size_t rows, cols, samples = (size_t)capacity, out = hd_shape_size(g->tensor[t->output].shape);
    col_size(g, t, &rows, &cols);
    if (t->op == HD_OP_NONE || t->op > HD_OP_SOFTMAX)
        return hd_fail(err, HD_UNSUPPORTED, "%s: node '%s': operation %d is not one of 1..%d", g->name, t->name, (int)t->op,
                       (int)HD_OP_SOFTMAX);
    if (rows > INT_MAX || cols > INT_MAX / samples || out > INT_MAX / samples)
        return hd_fail(err, HD_RANGE, "%s: node '%s': a matrix of %zu x %zu for %d images; at most %d elements a side", g->name, t->name, rows,
                       cols * samples, capacity, INT_MAX);
    return HD_OK;
}

static hd_status allocate(hd_batch *b, hd_err *err) {
    const hd_graph *g = b->g;
    size_t samples = (size_t)b->capacity, most_rows = 0, most_cols = 0;
    for (int i = 0; i < g->n_tensors; i++) {
        size_t size = hd_shape_size(g->tensor[i].shape);
        b->value[i] = floats(size, 1, samples);
        b->grad[i] = b->training ? floats(size, 1, samples) : NULL;
        if (!b->value[i] || (b->training && !b->grad[i]))
            return hd_fail(err, HD_NOMEM, "%s: no memory for %d images of tensor '%s' (%zu values each)", g->name, b->capacity, g->tensor[i].name, size);
    }
    for (int i = 0; i < g->n_nodes; i++) {
        const hd_node *t = &g->node[i];
        size_t rows, cols;
        hd_status s = check_node(g, t, b->capacity, err);
        if (s) return s;
        col_size(g, t, &rows, &cols);
        if (cols && (!most_cols || rows * cols > most_rows * most_cols)) most_rows = rows, most_cols = cols;
        if (!b->training) continue;
        if (cols) b->col[i] = floats(rows, cols, samples);
        if (t->op == HD_OP_MAX_POOL)
            b->winner[i] = calloc(hd_shape_size(g->tensor[t->output].shape) * samples, sizeof **b->winner);
        if ((cols && !b->col[i]) || (t->op == HD_OP_MAX_POOL && !b->winner[i]))
            return hd_fail(err, HD_NOMEM, "%s: no memory for %d images of node '%s'", g->name, b->capacity, t->name);
    }
    float **extra = b->training ? &b->dcol : &b->shared_col;
    *extra = floats(most_rows, most_cols, samples);
    return *extra ? HD_OK : hd_fail(err, HD_NOMEM, "%s: no memory for a matrix of %zu x %zu values", g->name, most_rows, most_cols * samples);
}

hd_status hd_batch_new(hd_batch **out, const hd_graph *g, int capacity, int training, hd_err *err) {
    *out = NULL;
    hd_batch *b = calloc(1, sizeof *b);
    if (!b) return hd_fail(err, HD_NOMEM, "%s: no memory", g->name);
    size_t tensors = (size_t)g->n_tensors + 1, nodes = (size_t)g->n_nodes + 1;
    b->g = g;
    b->capacity = capacity;
    b->training = training;
    b->value = calloc(tensors, sizeof *b->value);
    b->grad = calloc(tensors, sizeof *b->grad);
    b->has_grad = calloc(tensors, 1);
    b->col = calloc(nodes, sizeof *b->col);
    b->winner = calloc(nodes, sizeof *b->winner);
    hd_status s = HD_OK;
    if (!b->value || !b->grad || !b->has_grad || !b->col || !b->winner) s = hd_fail(err, HD_NOMEM, "%s: no memory", g->name);
    if (!s) s = allocate(b, err);
    if (s) {
        hd_batch_free(b);
        return s;
    }
    b->logits = g->output;
    for (int i = 0; i < g->n_nodes; i++)
        if (g->node[i].op == HD_OP_SOFTMAX && g->node[i].output == g->output) b->logits = g->node[i].input[0];
    *out = b;
    return HD_OK;
}

void hd_batch_free(hd_batch *b) {
    if (!b) return;
    for (int i = 0; i < b->g->n_tensors; i++) {
        if (b->value) free(b->value[i]);
        if (b->grad) free(b->grad[i]);
    }
    for (int i = 0; i < b->g->n_nodes; i++) {
        if (b->col) free(b->col[i]);
        if (b->winner) free(b->winner[i]);
    }
    free(b->value);
    free(b->grad);
    free(b->has_grad);
    free(b->col);
    free(b->winner);
    free(b->dcol);
    free(b->shared_col);
    free(b);
}

static void clip_forward(const hd_node *t, size_t size, const float *restrict x, float *restrict y) {
    float lo = t->lo, hi = t->hi;
    for (size_t k = 0; k < size; k++) {
        float v = x[k] < lo ? lo : x[k];
        y[k] = v > hi ? hi : v;
    }
}

/* `&` and no branches: signs of activations are coin flips to a branch predictor. */
static void clip_backward(const hd_node *t, size_t size, const float *restrict x, const float *restrict dy, float *restrict dx, int add) {
    float lo = t->lo, hi = t->hi;
    for (size_t k = 0; k < size; k++) {
        float d = dy[k], old = add ? dx[k] : 0;
        dx[k] = old + (((x[k] > lo) & (x[k] < hi)) ? d : 0);
    }
}

void hd_batch_forward(hd_batch *b, int n) {
    const hd_graph *g = b->g;
    b->n = n;
    for (int i = 0; i < g->n_nodes; i++) {
        const hd_node *t = &g->node[i];
        hd_shape in = g->tensor[t->input[0]].shape, out = g->tensor[t->output].shape;
        size_t size = hd_shape_size(out) * (size_t)n;
        const float *x = b->value[t->input[0]], *x2 = t->input[1] >= 0 ? b->value[t->input[1]] : NULL;
        float *y = b->value[t->output], *col = b->training ? b->col[i] : b->shared_col;
        switch (t->op) {
        case HD_OP_NONE: break;
        case HD_OP_CONV2D:
            if (hd_conv_is_depthwise(t)) hd_depthwise_forward(t, in, out, n, x, y);
            else hd_conv_forward(t, in, out, n, x, y, col);
            break;
        case HD_OP_FC: hd_fc_forward(t, in, n, x, y, col); break;
        case HD_OP_ADD_TENSOR:
            for (size_t k = 0; k < size; k++) y[k] = x[k] + x2[k];
            break;
        case HD_OP_CLIP: clip_forward(t, size, x, y); break;
        case HD_OP_UNARY: hd_unary_forward(t, size, x, y); break;
        case HD_OP_MAX_POOL: hd_max_pool_forward(t, in, out, n, x, y, b->winner[i]); break;
        case HD_OP_AVG_POOL: hd_avg_pool_forward(t, in, out, n, x, y); break;
        case HD_OP_FLATTEN: hd_to_flat(in, n, x, y); break;
        case HD_OP_SOFTMAX: hd_softmax_forward(in, n, x, y); break;
        }
    }
}

size_t hd_batch_element(const hd_batch *b, int t, size_t k, int s) {
    hd_shape shape = b->g->tensor[t].shape;
    size_t plane = (size_t)shape.h * (size_t)shape.w;
    return (k / plane * (size_t)b->n + (size_t)s) * plane + k % plane;
}

double hd_batch_loss(hd_batch *b, const int *labels, float scale) {
    hd_shape shape = b->g->tensor[b->logits].shape;
    size_t classes = hd_shape_size(shape);
    const float *x = b->value[b->logits];
    float *d = b->grad[b->logits];
    double loss = 0;
    for (int s = 0; s < b->n; s++) {
        float top = -INFINITY;
        double sum = 0;
        for (size_t k = 0; k < classes; k++) top = fmaxf(top, x[hd_batch_element(b, b->logits, k, s)]);
        for (size_t k = 0; k < classes; k++) sum += exp((double)(x[hd_batch_element(b, b->logits, k, s)] - top));
        for (size_t k = 0; k < classes; k++) {
            size_t i = hd_batch_element(b, b->logits, k, s);
            double p = exp((double)(x[i] - top)) / sum;
            d[i] = scale * (float)(p - (k == (size_t)labels[s] ? 1 : 0));
        }
        loss += log(sum) + (double)top - (double)x[hd_batch_element(b, b->logits, (size_t)labels[s], s)];
    }
    return loss;
}

static void add_to(float *dx, const float *d, size_t size, int add) {
    if (!add) memcpy(dx, d, size * sizeof *dx);
    else
        for (size_t k = 0; k < size; k++) dx[k] += d[k];
}

static void node_backward(hd_batch *b, int i, const hd_params *p, float *gradient) {
    const hd_graph *g = b->g;
    const hd_node *t = &g->node[i];
    int from = t->input[0], n = b->n, add = b->has_grad[from];
    hd_shape in = g->tensor[from].shape, out = g->tensor[t->output].shape;
    size_t size = hd_shape_size(out) * (size_t)n;
    const float *x = b->value[from], *y = b->value[t->output], *dy = b->grad[t->output];
    float *dx = from == g->input ? NULL : b->grad[from]; /* nobody asks for the gradient of the images */
    float *dweight = gradient + p->weight[i], *dbias = t->bias ? gradient + p->bias[i] : NULL;
    if (!dx && t->op != HD_OP_CONV2D && t->op != HD_OP_FC && t->op != HD_OP_ADD_TENSOR) return;
    switch (t->op) {
    case HD_OP_NONE: break;
    case HD_OP_CONV2D:
        if (hd_conv_is_depthwise(t)) hd_depthwise_backward(t, in, out, n, x, dy, dx, add, dweight, dbias);
        else hd_conv_backward(t, in, out, n, x, dy, b->col[i], b->dcol, dx, add, dweight, dbias);
        break;
    case HD_OP_FC: hd_fc_backward(t, in, n, dy, b->col[i], b->dcol, dx, add, dweight, dbias); break;
    case HD_OP_ADD_TENSOR:
        if (dx) {
            add_to(dx, dy, size, add);
            b->has_grad[from] = 1;
        }
        if (t->input[1] != g->input) {
            add_to(b->grad[t->input[1]], dy, size, b->has_grad[t->input[1]]);
            b->has_grad[t->input[1]] = 1;
        }
        return;
    case HD_OP_CLIP: clip_backward(t, size, x, dy, dx, add); break;
    case HD_OP_UNARY: hd_unary_backward(t, size, x, y, dy, dx, add); break;
    case HD_OP_MAX_POOL: hd_max_pool_backward(in, out, n, dy, b->winner[i], dx, add); break;
    case HD_OP_AVG_POOL: hd_avg_pool_backward(t, in, out, n, dy, dx, add); break;
    case HD_OP_FLATTEN: hd_from_flat(in, n, dy, dx, add); break;
    case HD_OP_SOFTMAX: hd_softmax_backward(in, n, y, dy, dx, add); break;
    }
    b->has_grad[from] = 1;
}

void hd_batch_backward(hd_batch *b, const hd_params *p, float *gradient) {
    const hd_graph *g = b->g;
    memset(b->has_grad, 0, (size_t)g->n_tensors);
    b->has_grad[b->logits] = 1;
    for (int i = g->n_nodes - 1; i >= 0; i--) {
        const hd_node *t = &g->node[i];
        if (b->has_grad[t->output]) {
            node_backward(b, i, p, gradient);
        } else { /* not on a way to the loss */
            if (t->weight) memset(gradient + p->weight[i], 0, hd_node_weights(t) * sizeof *gradient);
            if (t->bias) memset(gradient + p->bias[i], 0, (size_t)t->cout * sizeof *gradient);
        }
    }
}

int hd_batch_class(const hd_batch *b, int s) {
    hd_shape shape = b->g->tensor[b->g->output].shape;
    const float *y = b->value[b->g->output];
    size_t best = 0;
    for (size_t k = 1; k < hd_shape_size(shape); k++)
        if (y[hd_batch_element(b, b->g->output, k, s)] > y[hd_batch_element(b, b->g->output, best, s)]) best = k;
    return (int)best;
}
