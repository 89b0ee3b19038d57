#include "split_average.h"

#include <stdlib.h>
#include <string.h>

#include "graph_edit.h"

static hd_status no_memory(const hd_node *n, hd_err *err) { return hd_fail(err, HD_NOMEM, "node '%s': no memory to cut its average", n->name); }

/* The factors of the kernel with the largest product up to `most`, wide ones first: lines lie together in memory. */
static int choose(const hd_node *n, int most, int *h, int *w) {
    int best = 1;
    for (int b = n->kw; b; b--)
        for (int a = n->kh; a; a--)
            if (n->kw % b == 0 && n->kh % a == 0 && a * b <= most && a * b > best) {
                best = a * b;
                *h = a;
                *w = b;
            }
    return best > 1;
}

/* The fully connected layer that alone reads tensor t, through flattening; *tensor: the tensors on the way, t first. NULL = none. */
static hd_node *only_layer(const hd_graph *g, int t, int *tensor, int *n) {
    *n = 0;
    for (;;) {
        int at;
        if (t == g->output || *n == 4 || hd_graph_readers(g, t, &at, 1) != 1) return NULL;
        hd_node *r = &g->node[at];
        tensor[(*n)++] = t;
        if (r->op == HD_OP_FC) return r;
        if (r->op != HD_OP_FLATTEN) return NULL;
        t = r->output;
    }
}

/* Column c of the layer becomes `pixels` columns with a share of its weights each: its input is [c][pixel] by now. */
static int repeat_columns(hd_node *f, int pixels) {
    size_t rows = (size_t)f->cout, columns = (size_t)f->cin, more = (size_t)pixels;
    float *w = malloc(rows * columns * more * sizeof *w);
    if (!w) return 0;
    for (size_t i = 0; i < rows * columns; i++)
        for (size_t k = 0; k < more; k++) w[i * more + k] = f->weight[i] / (float)pixels;
    free(f->weight);
    f->weight = w;
    f->cin *= pixels;
    for (size_t i = 0; f->weight_scale && i < rows; i++) f->weight_scale[i] /= (float)pixels;
    return 1;
}

/* 1 when the layer behind took the rest of the average over. */
static hd_status give_to_layer(int *given, hd_graph *g, int at, hd_shape inner, int most, hd_err *err) {
    hd_node *n = &g->node[at];
    const hd_shape in = g->tensor[n->input[0]].shape;
    int tensor[4], tensors, pixels = inner.h * inner.w;
    hd_node *f = only_layer(g, n->output, tensor, &tensors);
    *given = f && n->kh == in.h && n->kw == in.w && pixels <= most && (size_t)(pixels - 1) * hd_node_weights(f) <= HD_SPLIT_WEIGHTS;
    if (!*given) return HD_OK;
    if (!repeat_columns(f, pixels)) return no_memory(n, err);
    g->tensor[tensor[0]].shape = inner;
    for (int i = 1; i < tensors; i++) g->tensor[tensor[i]].shape = (hd_shape){inner.c * pixels, 1, 1};
    return HD_OK;
}

static hd_status add_rest(hd_graph *g, int at, hd_shape inner, int h, int w, hd_err *err) {
    size_t size = strlen(g->node[at].name) + sizeof ".rest";
    char *name = malloc(size);
    if (!name) return no_memory(&g->node[at], err);
    memcpy(name, g->node[at].name, size - sizeof ".rest");
    memcpy(name + size - sizeof ".rest", ".rest", sizeof ".rest");
    int whole = g->node[at].output, between = hd_graph_add_unique_tensor(g, name, inner), rest = between < 0 ? -1 : hd_graph_insert_like(g, at + 1, at, name);
    free(name);
    if (rest < 0) return no_memory(&g->node[at], err);
    g->tensor[between].scale = g->tensor[whole].scale;
    g->tensor[between].zero = g->tensor[whole].zero;
    hd_node *first = &g->node[at], *second = &g->node[rest];
    first->output = second->input[0] = between;
    second->kh = second->sy = first->kh / h;
    second->kw = second->sx = first->kw / w;
    return HD_OK;
}

static hd_status split(hd_graph *g, int at, int most, hd_err *err) {
    hd_node *n = &g->node[at];
    const hd_shape in = g->tensor[n->input[0]].shape, out = g->tensor[n->output].shape;
    int h = 1, w = 1, given, apart = (n->sy == n->kh || (out.h == 1 && in.h < 2 * n->kh)) && (n->sx == n->kw || (out.w == 1 && in.w < 2 * n->kw));
    if (n->pad_top || n->pad_left || n->pad_bottom || n->pad_right || n->dy > 1 || n->dx > 1 || !apart)
        return hd_fail(err, HD_UNSUPPORTED, "node '%s': an average of %d x %d pixels, more than %d, with padding, dilation or windows that overlap; only others can be cut", n->name, n->kh,
                       n->kw, most);
    if (!choose(n, most, &h, &w)) return hd_fail(err, HD_UNSUPPORTED, "node '%s': an average of %d x %d pixels; neither side has a factor of 2 to %d", n->name, n->kh, n->kw, most);
    const hd_shape inner = {in.c, (in.h - h) / h + 1, (in.w - w) / w + 1};
    hd_status s = give_to_layer(&given, g, at, inner, most, err);
    if (!s && !given) s = add_rest(g, at, inner, h, w, err);
    n = &g->node[at];
    n->kh = n->sy = h;
    n->kw = n->sx = w;
    return s;
}

hd_status hd_graph_split_averages(hd_graph *g, int most, hd_err *err) {
    size_t weights = 0;
    int cut = 0;
    hd_status s = HD_OK;
    for (int i = 0; i < g->n_nodes; i++) weights += hd_node_weights(&g->node[i]);
    for (int i = 0; !s && i < g->n_nodes; i++) {
        const hd_node *n = &g->node[i];
        if (n->op != HD_OP_AVG_POOL || (int64_t)n->kh * n->kw <= most) continue;
        cut = 1;
        s = split(g, i, most, err);
    }
    if (cut && !g->source_weights) g->source_weights = weights;
    return s ? s : hd_graph_check(g, err);
}
