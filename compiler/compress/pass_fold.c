/* Scales move from a layer's inputs into its weights (fold_scales.h).
 *
 * The divisor of a channel has to be folded where the channel is made: in the rows and biases of the layer that makes it. Between the two, operations
 * that keep a positive factor of a channel as it is (ReLU, leaky ReLU, pooling, flattening) pass it on, and an addition asks all its sides for the same.
 * So the channels of all tensors fall into sets that share one scale: every layer that makes a channel of a set divides by it, every layer that reads one
 * multiplies. A set that touches the network's input or output, a clip with finite bounds, a table function or a softmax has the scale 1.
 *
 * Several layers that read one set and ask for scales get the geometric mean of what each would choose. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compress_internal.h"
#include "fold_scales.h"
#include "pass_inputs.h"
#include "pass_internal.h"

enum { FREE = -1, INPUT = -2, OUTPUT = -3 };

typedef struct folder {
    hd_pass *p;
    hd_graph *g;
    int n;           /* channels of all tensors */
    int *first;      /* [tensor + 1] */
    int *parent;     /* [channel] union-find */
    int *blocker;    /* [root] FREE, or why its scale is 1: a node, INPUT, OUTPUT */
    float *absmax;   /* [channel] */
    double *sum;     /* [root] of the logarithms that layers ask for; in the end the scale */
    int *asked;      /* [root] by how many */
} folder;

static hd_status no_memory(const folder *f, hd_err *err) { return hd_fail(err, HD_NOMEM, "network '%s': no memory for its scales", f->g->name); }

static int root_of(const folder *f, int i) {
    while (f->parent[i] != i) i = f->parent[i] = f->parent[f->parent[i]];
    return i;
}

static void block(const folder *f, int t, int why) {
    for (int i = f->first[t]; i < f->first[t + 1]; i++) {
        int r = root_of(f, i);
        if (f->blocker[r] == FREE) f->blocker[r] = why;
    }
}

static void join(const folder *f, int a, int b) {
    a = root_of(f, a);
    b = root_of(f, b);
    if (a == b) return;
    if (f->blocker[a] == FREE) f->blocker[a] = f->blocker[b];
    f->parent[b] = a;
}

/* Channel by channel; `per` channels of b for one of a. */
static void join_tensors(const folder *f, int a, int b, int per) {
    for (int i = 0; i < f->g->tensor[b].shape.c; i++) join(f, f->first[a] + i / per, f->first[b] + i);
}

static int keeps_factors(const hd_node *n) {
    if (n->op == HD_OP_CLIP) return (n->lo == 0 || n->lo == -INFINITY) && (n->hi == 0 || n->hi == INFINITY);
    return n->op == HD_OP_UNARY && (n->fn == HD_FN_LEAKY_RELU || n->fn == HD_FN_ABS || n->fn == HD_FN_NEG);
}

static void tie(const folder *f, int i) {
    const hd_node *n = &f->g->node[i];
    int x = n->input[0], y = n->output;
    hd_shape s = f->g->tensor[x].shape;
    switch (n->op) {
    case HD_OP_NONE:
    case HD_OP_CONV2D:
    case HD_OP_FC: break;
    case HD_OP_ADD_TENSOR:
        join_tensors(f, x, n->input[1], 1);
        join_tensors(f, x, y, 1);
        break;
    case HD_OP_CLIP:
    case HD_OP_UNARY:
        join_tensors(f, x, y, 1);
        if (!keeps_factors(n)) block(f, y, i);
        break;
    case HD_OP_MAX_POOL:
    case HD_OP_AVG_POOL: join_tensors(f, x, y, 1); break;
    case HD_OP_FLATTEN: join_tensors(f, x, y, s.h * s.w); break;
    case HD_OP_SOFTMAX:
        block(f, x, i);
        block(f, y, i);
        break;
    }
}

static int is_layer(const hd_node *n) { return hd_node_weights(n) > 0; }

/* The set that column j of a group of layer n reads. */
static int set_of(const folder *f, const hd_node *n, size_t group, size_t j) {
    return root_of(f, f->first[n->input[0]] + hd_layer_channel(f->g, n, group, j));
}

/* The sets that a layer reads, numbered: set [count] and, for each column of each group, its number. */
typedef struct reader {
    const hd_node *n;
    int node;
    size_t columns, groups, count;
    int *set;     /* [count] roots */
    int *channel; /* [groups][columns] */
    int *number;  /* [folder.n] of a root; scratch */
} reader;

static void close_reader(reader *r) {
    free(r->set);
    free(r->channel);
    free(r->number);
}

static int open_reader(reader *r, const folder *f, int node) {
    const hd_node *n = &f->g->node[node];
    *r = (reader){.n = n, .node = node, .columns = hd_layer_columns(n), .groups = (size_t)n->groups};
    size_t all = r->columns * r->groups;
    r->set = malloc(all * sizeof *r->set);
    r->channel = malloc(all * sizeof *r->channel);
    r->number = malloc((size_t)f->n * sizeof *r->number);
    if (!r->set || !r->channel || !r->number) return 0;
    for (int i = 0; i < f->n; i++) r->number[i] = -1;
    for (size_t i = 0; i < all; i++) {
        int root = set_of(f, n, i / r->columns, i % r->columns);
        if (r->number[root] < 0) {
            r->number[root] = (int)r->count;
            r->set[r->count++] = root;
        }
        r->channel[i] = r->number[root];
    }
    return 1;
}

static hd_status smooth(double *s, const folder *f, const reader *r, double alpha, hd_err *err) {
    double *x = calloc(2 * r->count, sizeof *x), *w = x ? x + r->count : NULL;
    if (!x) return no_memory(f, err);
    const hd_node *n = r->n;
    size_t rows = (size_t)n->cout / r->groups;
    for (size_t i = 0; i < r->groups * r->columns; i++) {
        size_t group = i / r->columns, j = i % r->columns;
        double *most = &w[r->channel[i]], *seen = &x[r->channel[i]];
        *seen = fmax(*seen, (double)f->absmax[f->first[n->input[0]] + hd_layer_channel(f->g, n, group, j)]);
        for (size_t row = 0; row < rows; row++) *most = fmax(*most, fabs((double)n->weight[(group * rows + row) * r->columns + j]));
    }
    hd_fold_smooth(s, x, w, r->count, alpha);
    free(x);
    return HD_OK;
}

/* Column j of the graph's order [channel][tap] stands at this place of the stored one, [tap][channel], where groups of weights are formed. */
static size_t stored_column(size_t j, size_t taps, size_t columns) { return j % taps * (columns / taps) + j / taps; }

typedef struct layer_problem {
    hd_fold_problem *list; /* [groups] */
    float *w;              /* [out][columns] in the stored order */
    double *h;             /* [groups][columns][columns], likewise */
    int *channel;          /* [groups][columns], likewise */
} layer_problem;

static void reorder(layer_problem *q, const folder *f, const reader *r, const double *moments) {
    size_t columns = r->columns, taps = hd_layer_taps(f->g, r->n), rows = (size_t)r->n->cout;
    for (size_t j = 0; j < columns; j++) {
        size_t to = stored_column(j, taps, columns);
        for (size_t row = 0; row < rows; row++) q->w[row * columns + to] = r->n->weight[row * columns + j];
        for (size_t group = 0; group < r->groups; group++) {
            q->channel[group * columns + to] = r->channel[group * columns + j];
            for (size_t k = 0; k < columns; k++)
                q->h[(group * columns + to) * columns + stored_column(k, taps, columns)] = moments[(group * columns + j) * columns + k];
        }
    }
}

static hd_status awq(double *s, const folder *f, const reader *r, hd_err *err) {
    const hd_node *n = r->n;
    const hd_layer_policy *o = hd_policy_of(f->p->policy, n->name);
    size_t columns = r->columns, groups = r->groups, rows = (size_t)n->cout / groups, square = columns * columns;
    double *moments = malloc(groups * square * sizeof *moments), *rms = calloc(2 * r->count, sizeof *rms);
    layer_problem q = {calloc(groups, sizeof *q.list), malloc((size_t)n->cout * columns * sizeof *q.w), malloc(groups * square * sizeof *q.h),
                       malloc(groups * columns * sizeof *q.channel)};
    hd_status status = moments && rms && q.list && q.w && q.h && q.channel ? hd_layer_moments(moments, f->p, r->node, err) : no_memory(f, err);
    if (!status) {
        double *seen = rms + r->count;
        for (size_t i = 0; i < groups * columns; i++) {
            rms[r->channel[i]] += moments[i / columns * square + i % columns * (columns + 1)] / 2;
            seen[r->channel[i]]++;
        }
        for (size_t i = 0; i < r->count; i++) rms[i] = sqrt(rms[i] / seen[i]);
        reorder(&q, f, r, moments);
        enum hd_grid grid = hd_stage_grid(o, n->groups);
        for (size_t k = 0; k < groups; k++) {
            q.list[k].p = (hd_linear){.name = n->name, .out = (int)rows, .in = (int)columns, .w = q.w + k * rows * columns, .h = q.h + k * square};
            q.list[k].format = (hd_linear_format){.bits = grid == HD_GRID_TERNARY ? 0 : o->bits, .grid = grid, .wide_scales = 1,
                                                  .group = o->granularity == HD_GRANULARITY_GROUP ? o->group_size : 0,
                                                  .shift_groups = o->granularity == HD_GRANULARITY_GROUP};
            q.list[k].channel = q.channel + k * columns;
        }
        status = hd_fold_awq_search(s, NULL, rms, r->count, q.list, groups, err);
    }
    free(moments);
    free(rms);
    free(q.list);
    free(q.w);
    free(q.h);
    free(q.channel);
    return status;
}

static hd_status refuse(const folder *f, const char *layer, int why, hd_err *err) {
    if (why == INPUT) return hd_fail(err, HD_UNSUPPORTED, "layer '%s': no scales can be folded before it: it reads the network's input, which stays as it is", layer);
    if (why == OUTPUT) return hd_fail(err, HD_UNSUPPORTED, "layer '%s': no scales can be folded before it: what it reads is the network's output too, which stays as it is", layer);
    return hd_fail(err, HD_UNSUPPORTED, "layer '%s': no scales can be folded before it: node '%s' does not pass them on; ReLU, pooling, flattening and additions do",
                   layer, f->g->node[why].name);
}

static void unfold(hd_recipe *r) { r->fold = HD_FOLD_NONE; }

/* What one layer asks for, into its sets. A layer without free sets is left out: its policy says so from then on. */
static hd_status ask(const folder *f, int node, hd_err *err) {
    const hd_layer_policy *o = hd_policy_of(f->p->policy, f->g->node[node].name);
    reader r;
    hd_status status = open_reader(&r, f, node) ? HD_OK : no_memory(f, err);
    int why = FREE;
    for (size_t i = 0; !status && i < r.count; i++)
        if (f->blocker[r.set[i]] != FREE) why = f->blocker[r.set[i]];
    if (!status && why != FREE) {
        if (hd_pass_is_explicit(f->p, r.n->name, f->p->policy->base.recipe.fold != HD_FOLD_NONE)) status = refuse(f, r.n->name, why, err);
        else if (!hd_pass_leave(f->p, r.n->name, unfold)) status = no_memory(f, err);
    } else if (!status) {
        double *s = malloc(r.count * sizeof *s);
        if (!s) status = no_memory(f, err);
        else status = o->recipe.fold == HD_FOLD_SMOOTH ? smooth(s, f, &r, (double)o->recipe.fold_power, err) : awq(s, f, &r, err);
        for (size_t i = 0; !status && i < r.count; i++) {
            f->sum[r.set[i]] += log(s[i]);
            f->asked[r.set[i]]++;
        }
        free(s);
    }
    close_reader(&r);
    return status;
}

static void apply(const folder *f, hd_node *n) {
    size_t columns = hd_layer_columns(n), rows = (size_t)n->cout / (size_t)n->groups;
    for (size_t row = 0; row < (size_t)n->cout; row++) {
        double made = f->sum[root_of(f, f->first[n->output] + (int)row)];
        for (size_t j = 0; j < columns; j++) {
            float *w = &n->weight[row * columns + j];
            *w = (float)((double)*w * f->sum[set_of(f, n, row / rows, j)] / made);
        }
        if (n->bias) n->bias[row] = (float)((double)n->bias[row] / made);
    }
}

static hd_status fold(folder *f, hd_err *err) {
    for (int i = 0; i < f->n; i++) {
        f->parent[i] = i;
        f->blocker[i] = FREE;
    }
    block(f, f->g->input, INPUT);
    block(f, f->g->output, OUTPUT);
    for (int i = 0; i < f->g->n_nodes; i++) tie(f, i);
    hd_status s = hd_channel_absmax(f->absmax, f->p, f->first, err);
    for (int i = 0; !s && i < f->g->n_nodes; i++)
        if (is_layer(&f->g->node[i]) && hd_policy_of(f->p->policy, f->g->node[i].name)->recipe.fold) s = ask(f, i, err);
    for (int i = 0; i < f->n; i++) f->sum[i] = f->asked[i] ? exp(f->sum[i] / f->asked[i]) : 1; /* now the scales themselves */
    for (int i = 0; !s && i < f->g->n_nodes; i++)
        if (is_layer(&f->g->node[i])) apply(f, &f->g->node[i]);
    return s;
}

hd_status hd_pass_fold(hd_pass *p, hd_err *err) {
    int wanted = 0;
    for (int i = 0; i < p->g->n_nodes; i++) wanted |= is_layer(&p->g->node[i]) && hd_policy_of(p->policy, p->g->node[i].name)->recipe.fold;
    if (!wanted) return HD_OK;
    folder f = {.p = p, .g = p->g, .first = hd_channel_index(p->g)};
    size_t n = f.first ? (size_t)f.first[p->g->n_tensors] : 0;
    f.n = (int)n;
    f.parent = malloc(n * sizeof *f.parent);
    f.blocker = malloc(n * sizeof *f.blocker);
    f.absmax = malloc(n * sizeof *f.absmax);
    f.sum = calloc(n, sizeof *f.sum);
    f.asked = calloc(n, sizeof *f.asked);
    hd_status s = f.first && f.parent && f.blocker && f.absmax && f.sum && f.asked ? fold(&f, err) : no_memory(&f, err);
    free(f.first);
    free(f.parent);
    free(f.blocker);
    free(f.absmax);
    free(f.sum);
    free(f.asked);
    return s;
}
