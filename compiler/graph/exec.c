/* The reference executor: every tensor has its own buffer, so calibration can read all of them after a run. */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "exec_ops.h"

struct hd_exec {
    const hd_graph *g; /* lent */
    float **value;     /* one buffer a tensor */
    float *scratch;    /* columns of one convolution at a time */
};

hd_status hd_exec_new(hd_exec **out, const hd_graph *g, hd_err *err) {
    *out = NULL;
    hd_status status = hd_graph_check(g, err);
    if (status != HD_OK) return status;
    /* Callers run one executor a thread; threads inside BLAS would only fight over the cores. */
    openblas_set_num_threads(1);
    hd_exec *e = calloc(1, sizeof *e);
    if (e) e->value = calloc((size_t)g->n_tensors, sizeof *e->value);
    int good = e && e->value;
    if (good) e->g = g;
    for (int t = 0; good && t < g->n_tensors; t++) {
        e->value[t] = calloc(hd_shape_size(g->tensor[t].shape), sizeof(float));
        good = e->value[t] != NULL;
    }
    size_t scratch = 1;
    for (int i = 0; i < g->n_nodes; i++) {
        const hd_node *n = &g->node[i];
        if (n->op != HD_OP_CONV2D) continue;
        size_t need = hd_conv_scratch(n, g->tensor[n->input[0]].shape, g->tensor[n->output].shape);
        if (need > scratch) scratch = need;
    }
    if (good) good = (e->scratch = malloc(scratch * sizeof(float))) != NULL;
    if (!good) {
        hd_exec_free(e);
        return hd_fail(err, HD_NOMEM, "network '%s': no memory for its tensors", g->name);
    }
    *out = e;
    return HD_OK;
}

void hd_exec_free(hd_exec *e) {
    if (!e) return;
    for (int t = 0; e->g && e->value && t < e->g->n_tensors; t++) free(e->value[t]);
    free(e->value);
    free(e->scratch);
    free(e);
}

static void softmax(const float *x, float *y, size_t count) {
    float most = -INFINITY;
    for (size_t i = 0; i < count; i++) most = fmaxf(most, x[i]);
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)(y[i] = expf(x[i] - most));
    for (size_t i = 0; i < count; i++) y[i] = (float)((double)y[i] / sum);
}

static void run_node(hd_exec *e, const hd_node *n) {
    hd_shape xs = e->g->tensor[n->input[0]].shape, ys = e->g->tensor[n->output].shape;
    const float *x = e->value[n->input[0]];
    float *y = e->value[n->output];
    size_t count = hd_shape_size(ys);
    switch (n->op) {
    case HD_OP_NONE: break;
    case HD_OP_CONV2D: hd_conv_run(n, x, xs, y, ys, e->scratch); break;
    case HD_OP_FC:
        if (n->bias) memcpy(y, n->bias, count * sizeof *y);
        cblas_sgemv(CblasRowMajor, CblasNoTrans, n->cout, n->cin, 1.0f, n->weight, n->cin, x, 1, n->bias ? 1.0f : 0.0f, y, 1);
        break;
    case HD_OP_ADD_TENSOR: {
        const float *z = e->value[n->input[1]];
        for (size_t i = 0; i < count; i++) y[i] = x[i] + z[i];
        break;
    }
    case HD_OP_CLIP:
        for (size_t i = 0; i < count; i++) y[i] = x[i] < n->lo ? n->lo : x[i] > n->hi ? n->hi : x[i];
        break;
    case HD_OP_UNARY:
        for (size_t i = 0; i < count; i++) y[i] = hd_fn_apply(n->fn, n->alpha, n->beta, x[i]);
        break;
    case HD_OP_MAX_POOL:
    case HD_OP_AVG_POOL: hd_pool_run(n, x, xs, y, ys); break;
    case HD_OP_FLATTEN: memcpy(y, x, count * sizeof *y); break;
    case HD_OP_SOFTMAX: softmax(x, y, count); break;
    }
}

void hd_exec_run(hd_exec *e, const float *input) {
    memcpy(e->value[e->g->input], input, hd_shape_size(e->g->tensor[e->g->input].shape) * sizeof *input);
    for (int i = 0; i < e->g->n_nodes; i++) run_node(e, &e->g->node[i]);
}

const float *hd_exec_tensor(const hd_exec *e, int t) { return e->value[t]; }
