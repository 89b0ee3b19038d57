/* hd_graph_check: what every user of a graph may rely on. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph.h"

/* Larger networks are far outside what the accelerator is for; the bounds keep all later products within 64 bits. */
enum { MAX_ELEMENTS = 1 << 26, MAX_TOTAL = 1 << 28, MAX_WEIGHTS = 1 << 28, MAX_STEP = 65535, MAX_PAD = 32767 };

static const char *op_name(hd_op op) {
    switch (op) {
    case HD_OP_NONE: break;
    case HD_OP_CONV2D: return "convolution";
    case HD_OP_FC: return "fully connected";
    case HD_OP_ADD_TENSOR: return "addition";
    case HD_OP_CLIP: return "clip";
    case HD_OP_UNARY: return "function";
    case HD_OP_MAX_POOL: return "maximum pooling";
    case HD_OP_AVG_POOL: return "average pooling";
    case HD_OP_FLATTEN: return "flatten";
    case HD_OP_SOFTMAX: return "softmax";
    }
    return "unknown operation";
}

#define NODE_FAIL(code, format, ...) hd_fail(err, code, "node '%s' (%s): " format, n->name, op_name(n->op), __VA_ARGS__)

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static hd_status check_unique(const char **names, int count, const char *what, hd_err *err) {
    qsort(names, (size_t)count, sizeof *names, by_name);
    for (int i = 0; i < count; i++) {
        if (!names[i][0]) return hd_fail(err, HD_FORMAT, "a %s has an empty name", what);
        if (i && strcmp(names[i - 1], names[i]) == 0) return hd_fail(err, HD_FORMAT, "two %ss are named '%s'; names must differ", what, names[i]);
    }
    return HD_OK;
}

static hd_status check_names(const hd_graph *g, hd_err *err) {
    size_t most = (size_t)(g->n_tensors > g->n_nodes ? g->n_tensors : g->n_nodes);
    const char **names = malloc((most + 1) * sizeof *names);
    if (!names) return hd_fail(err, HD_NOMEM, "out of memory");
    for (int i = 0; i < g->n_tensors; i++) names[i] = g->tensor[i].name;
    hd_status status = check_unique(names, g->n_tensors, "tensor", err);
    if (status == HD_OK) {
        for (int i = 0; i < g->n_nodes; i++) names[i] = g->node[i].name;
        status = check_unique(names, g->n_nodes, "node", err);
    }
    free(names);
    return status;
}

static hd_status check_shape(const hd_tensor_info *t, hd_err *err) {
    hd_shape s = t->shape;
    if (s.c < 1 || s.h < 1 || s.w < 1)
        return hd_fail(err, HD_RANGE, "tensor '%s': shape %d x %d x %d; sizes must be positive", t->name, s.c, s.h, s.w);
    if (s.c > MAX_ELEMENTS || s.h > MAX_ELEMENTS / s.c || s.w > MAX_ELEMENTS / s.c / s.h)
        return hd_fail(err, HD_RANGE, "tensor '%s': shape %d x %d x %d; at most %d elements are allowed", t->name, s.c, s.h, s.w, MAX_ELEMENTS);
    return HD_OK;
}

/* One axis of a window: sizes, and that the output has the size they say. */
static hd_status check_axis(const hd_node *n, const char *axis, int in, int out, int kernel, int stride, int dilation, int before, int after, hd_err *err) {
    if (kernel < 1 || kernel > MAX_STEP) return NODE_FAIL(HD_RANGE, "kernel %s %d; allowed 1..%d", axis, kernel, MAX_STEP);
    if (stride < 1 || stride > MAX_STEP) return NODE_FAIL(HD_RANGE, "stride along the %s %d; allowed 1..%d", axis, stride, MAX_STEP);
    if (dilation < 1 || dilation > MAX_STEP) return NODE_FAIL(HD_RANGE, "dilation along the %s %d; allowed 1..%d", axis, dilation, MAX_STEP);
    if (before < 0 || before > MAX_PAD || after < 0 || after > MAX_PAD)
        return NODE_FAIL(HD_RANGE, "padding along the %s %d, %d; allowed 0..%d", axis, before, after, MAX_PAD);
    int64_t extent = (int64_t)(kernel - 1) * dilation + 1, room = (int64_t)in + before + after - extent;
    if (room < 0)
        return NODE_FAIL(HD_MISMATCH, "kernel %s reaches over %lld elements; the padded input has %lld", axis, (long long)extent, (long long)(room + extent));
    if (room / stride + 1 != out)
        return NODE_FAIL(HD_MISMATCH, "output %s %d; input and window give %lld", axis, out, (long long)(room / stride + 1));
    if (n->op == HD_OP_CONV2D) return HD_OK;
    for (int64_t o = 0; o < out; o++) {
        /* A pooling window that sees nothing but padding has no value. */
        int64_t start = o * stride - before, first = start < 0 ? (-start + dilation - 1) / dilation : 0;
        if (first >= kernel || start + first * dilation >= in)
            return NODE_FAIL(HD_RANGE, "window %lld along the %s lies wholly in the padding", (long long)o, axis);
    }
    return HD_OK;
}

static hd_status check_window(const hd_graph *g, const hd_node *n, hd_err *err) {
    hd_shape x = g->tensor[n->input[0]].shape, y = g->tensor[n->output].shape;
    hd_status status = check_axis(n, "height", x.h, y.h, n->kh, n->sy, n->dy, n->pad_top, n->pad_bottom, err);
    if (status == HD_OK) status = check_axis(n, "width", x.w, y.w, n->kw, n->sx, n->dx, n->pad_left, n->pad_right, err);
    return status;
}

static hd_status check_weights(const hd_node *n, hd_err *err) {
    if (!n->weight) return NODE_FAIL(HD_FORMAT, "%s", "has no weights");
    size_t count = hd_node_weights(n);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(n->weight[i])) return NODE_FAIL(HD_RANGE, "weight %zu is %f; weights must be finite", i, (double)n->weight[i]);
    for (int i = 0; n->bias && i < n->cout; i++)
        if (!isfinite(n->bias[i])) return NODE_FAIL(HD_RANGE, "bias %d is %f; biases must be finite", i, (double)n->bias[i]);
    return HD_OK;
}

static hd_status check_conv(const hd_graph *g, const hd_node *n, hd_err *err) {
    hd_shape x = g->tensor[n->input[0]].shape, y = g->tensor[n->output].shape;
    if (n->cin != x.c) return NODE_FAIL(HD_MISMATCH, "%d input channels; tensor '%s' has %d", n->cin, g->tensor[n->input[0]].name, x.c);
    if (n->cout != y.c) return NODE_FAIL(HD_MISMATCH, "%d output channels; tensor '%s' has %d", n->cout, g->tensor[n->output].name, y.c);
    if (n->groups < 1 || n->cin % n->groups || n->cout % n->groups)
        return NODE_FAIL(HD_RANGE, "%d groups; must divide %d input and %d output channels", n->groups, n->cin, n->cout);
    hd_status status = check_window(g, n, err);
    if (status != HD_OK) return status;
    int64_t left = MAX_WEIGHTS;
    const int factors[4] = {n->cout, n->cin / n->groups, n->kh, n->kw};
    for (int i = 0; i < 4; i++) left /= factors[i];
    if (left == 0) return NODE_FAIL(HD_RANGE, "more than %d weights", MAX_WEIGHTS);
    return check_weights(n, err);
}

static hd_status check_fc(const hd_graph *g, const hd_node *n, hd_err *err) {
    hd_shape x = g->tensor[n->input[0]].shape, y = g->tensor[n->output].shape;
    if (n->cin < 1 || (size_t)n->cin != hd_shape_size(x))
        return NODE_FAIL(HD_MISMATCH, "%d inputs; tensor '%s' has %zu elements", n->cin, g->tensor[n->input[0]].name, hd_shape_size(x));
    if (n->cout != y.c || y.h != 1 || y.w != 1)
        return NODE_FAIL(HD_MISMATCH, "%d outputs; tensor '%s' is %d x %d x %d", n->cout, g->tensor[n->output].name, y.c, y.h, y.w);
    if (n->cout > MAX_WEIGHTS / n->cin) return NODE_FAIL(HD_RANGE, "more than %d weights", MAX_WEIGHTS);
    return check_weights(n, err);
}

static hd_status check_node(const hd_graph *g, const hd_node *n, hd_err *err) {
    hd_shape x = g->tensor[n->input[0]].shape, y = g->tensor[n->output].shape;
    int same = x.c == y.c && x.h == y.h && x.w == y.w;
    switch (n->op) {
    case HD_OP_NONE: break;
    case HD_OP_CONV2D: return check_conv(g, n, err);
    case HD_OP_FC: return check_fc(g, n, err);
    case HD_OP_ADD_TENSOR: {
        hd_shape z = g->tensor[n->input[1]].shape;
        if (same && z.c == x.c && z.h == x.h && z.w == x.w) return HD_OK;
        return NODE_FAIL(HD_MISMATCH, "inputs %d x %d x %d and %d x %d x %d, output %d x %d x %d; all must be equal", x.c, x.h, x.w, z.c, z.h, z.w, y.c, y.h, y.w);
    }
    case HD_OP_MAX_POOL:
    case HD_OP_AVG_POOL:
        if (x.c != y.c) return NODE_FAIL(HD_MISMATCH, "%d input and %d output channels; must be equal", x.c, y.c);
        return check_window(g, n, err);
    case HD_OP_FLATTEN:
        if ((size_t)y.c == hd_shape_size(x) && y.h == 1 && y.w == 1) return HD_OK;
        return NODE_FAIL(HD_MISMATCH, "output %d x %d x %d; must be %zu x 1 x 1", y.c, y.h, y.w, hd_shape_size(x));
    case HD_OP_CLIP:
        if (!(n->lo <= n->hi)) return NODE_FAIL(HD_RANGE, "bounds %f and %f; the lower must not pass the upper", (double)n->lo, (double)n->hi);
        break;
    case HD_OP_UNARY:
        if (n->fn < HD_FN_SIGMOID || n->fn > HD_FN_SILU) return NODE_FAIL(HD_RANGE, "unknown function %d", (int)n->fn);
        if (!isfinite(n->alpha) || !isfinite(n->beta)) return NODE_FAIL(HD_RANGE, "parameters %f, %f; must be finite", (double)n->alpha, (double)n->beta);
        break;
    case HD_OP_SOFTMAX: break;
    }
    if (n->op <= HD_OP_NONE || n->op > HD_OP_SOFTMAX) return NODE_FAIL(HD_FORMAT, "operation %d does not exist", (int)n->op);
    if (!same) return NODE_FAIL(HD_MISMATCH, "input %d x %d x %d, output %d x %d x %d; must be equal", x.c, x.h, x.w, y.c, y.h, y.w);
    return HD_OK;
}

static double work_of(const hd_graph *g, const hd_node *n) {
    double y = (double)hd_shape_size(g->tensor[n->output].shape), window = (double)n->kh * n->kw;
    switch (n->op) {
    case HD_OP_CONV2D: return y * window * (n->cin / n->groups);
    case HD_OP_FC: return y * n->cin;
    case HD_OP_MAX_POOL:
    case HD_OP_AVG_POOL: return y * window;
    default: return y;
    }
}

static hd_status check_order(const hd_graph *g, char *defined, hd_err *err) {
    double work = 0;
    defined[g->input] = 1;
    for (int i = 0; i < g->n_nodes; i++) {
        const hd_node *n = &g->node[i];
        int inputs = n->op == HD_OP_ADD_TENSOR ? 2 : 1;
        for (int k = 0; k < inputs; k++) {
            int t = n->input[k];
            if (t < 0 || t >= g->n_tensors) return NODE_FAIL(HD_FORMAT, "input %d is tensor %d; the graph has %d", k, t, g->n_tensors);
            if (!defined[t]) return NODE_FAIL(HD_FORMAT, "reads tensor '%s' before anything writes it", g->tensor[t].name);
        }
        if (inputs == 1 && n->input[1] != -1) return NODE_FAIL(HD_FORMAT, "second input is tensor %d; this operation has one input", n->input[1]);
        int t = n->output;
        if (t < 0 || t >= g->n_tensors) return NODE_FAIL(HD_FORMAT, "output is tensor %d; the graph has %d", t, g->n_tensors);
        if (defined[t]) return NODE_FAIL(HD_FORMAT, "writes tensor '%s', which is already written", g->tensor[t].name);
        defined[t] = 1;
        hd_status status = check_node(g, n, err);
        if (status != HD_OK) return status;
        work += work_of(g, n);
        if (work > HD_MAX_WORK) return NODE_FAIL(HD_RANGE, "with it a run takes %.3g operations; at most %.3g are allowed", work, HD_MAX_WORK);
    }
    if (!defined[g->output]) return hd_fail(err, HD_FORMAT, "output tensor '%s' is written by no node", g->tensor[g->output].name);
    return HD_OK;
}

hd_status hd_graph_check(const hd_graph *g, hd_err *err) {
    if (g->n_tensors < 1) return hd_fail(err, HD_FORMAT, "the network has no tensors");
    if (g->input < 0 || g->input >= g->n_tensors || g->output < 0 || g->output >= g->n_tensors)
        return hd_fail(err, HD_FORMAT, "input is tensor %d, output tensor %d; the graph has %d", g->input, g->output, g->n_tensors);
    hd_status status = check_names(g, err);
    size_t total = 0;
    for (int i = 0; status == HD_OK && i < g->n_tensors; i++) {
        status = check_shape(&g->tensor[i], err);
        if (status == HD_OK) total += hd_shape_size(g->tensor[i].shape);
        if (total > MAX_TOTAL) return hd_fail(err, HD_RANGE, "the tensors have more than %d elements in all, the most that is allowed", MAX_TOTAL);
    }
    if (status != HD_OK) return status;
    char *defined = calloc((size_t)g->n_tensors, 1);
    if (!defined) return hd_fail(err, HD_NOMEM, "out of memory");
    status = check_order(g, defined, err);
    free(defined);
    return status;
}
