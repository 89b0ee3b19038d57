/* Which nodes of the float graph become which stage of the model.
 *
 * A stage is a convolution, then a residual, then a clamp or a table. So a convolution takes with it the addition that is its only
 * consumer, and the elementwise functions that follow; what is left over (an addition of two shared tensors, a lone function) rides
 * on a 1x1 depthwise identity. */
#include <stdlib.h>
#include <string.h>

#include "compress_internal.h"

typedef struct planner {
    hd_plan *p;
    const hd_graph *g;
    int *producer, *uses, *consumer; /* [tensor], after resolving */
    uint8_t *live, *taken;           /* [node] */
    int *add_of, *addend;            /* [node]: the addition a convolution takes; which input of the addition that is (-1 none) */
} planner;

static int is_elementwise(const hd_node *n) { return n->op == HD_OP_CLIP || n->op == HD_OP_UNARY; }
static int is_conv(const hd_node *n) { return n->op == HD_OP_CONV2D || n->op == HD_OP_FC || n->op == HD_OP_AVG_POOL; }
static int inputs_of(const hd_node *n) { return n->op == HD_OP_ADD_TENSOR ? 2 : 1; }
static int same_shape(hd_shape a, hd_shape b) { return a.c == b.c && a.h == b.h && a.w == b.w; }

void hd_compress_plan_free(hd_plan *p) {
    free(p->step);
    free(p->fn);
    free(p->resolve);
    free(p->stored);
    *p = (hd_plan){0};
}

float hd_step_apply(const hd_plan *p, const hd_step *s, float x) {
    for (int i = 0; i < s->n_fn; i++) {
        const hd_node *n = &p->g->node[p->fn[s->first_fn + i]];
        x = n->op == HD_OP_CLIP ? (x < n->lo ? n->lo : x > n->hi ? n->hi : x) : hd_fn_apply(n->fn, n->alpha, n->beta, x);
    }
    return x;
}

int hd_step_has_table(const hd_plan *p, const hd_step *s) {
    for (int i = 0; i < s->n_fn; i++)
        if (p->g->node[p->fn[s->first_fn + i]].op == HD_OP_UNARY) return 1;
    return 0;
}

/* Resolves FLATTEN, drops a final SOFTMAX, and marks the nodes the output depends on. */
static hd_status find_live(planner *w, hd_err *err) {
    const hd_graph *g = w->g;
    int *resolve = w->p->resolve;
    for (int t = 0; t < g->n_tensors; t++) {
        resolve[t] = t;
        w->producer[t] = -1;
    }
    for (int i = 0; i < g->n_nodes; i++) {
        const hd_node *n = &g->node[i];
        w->producer[n->output] = i;
        if (n->op == HD_OP_FLATTEN) resolve[n->output] = resolve[n->input[0]];
    }
    int out = resolve[g->output], last = w->producer[out];
    /* Softmax keeps the order of its inputs, which is all that a classifier's output is asked for. */
    if (last >= 0 && g->node[last].op == HD_OP_SOFTMAX) out = resolve[g->node[last].input[0]];
    w->p->output = out;
    w->uses[out] = 1;
    w->consumer[out] = -1;
    for (int i = g->n_nodes; i-- > 0;) {
        const hd_node *n = &g->node[i];
        if (n->op == HD_OP_FLATTEN || !w->uses[n->output] || resolve[n->output] != n->output) continue;
        if (n->op == HD_OP_SOFTMAX)
            return hd_fail(err, HD_UNSUPPORTED, "node '%s': softmax inside the network; only a final one (which is dropped) is supported", n->name);
        w->live[i] = 1;
        for (int k = 0; k < inputs_of(n); k++) {
            int t = resolve[n->input[k]];
            w->uses[t]++;
            w->consumer[t] = i;
        }
    }
    return HD_OK;
}

/* Shapes as stored. An input image read only by fully connected layers is stored as one pixel with many channels: that fills the
 * lanes of the hardware, and pruning blocks of inputs exist. */
static hd_status find_shapes(planner *w, hd_err *err) {
    const hd_graph *g = w->g;
    hd_shape *stored = w->p->stored;
    const int *resolve = w->p->resolve;
    for (int t = 0; t < g->n_tensors; t++) stored[t] = g->tensor[t].shape;
    int flat = 1;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; w->live[i] && k < inputs_of(&g->node[i]); k++)
            if (resolve[g->node[i].input[k]] == g->input && g->node[i].op != HD_OP_FC) flat = 0;
    if (flat) stored[g->input] = (hd_shape){(int)hd_shape_size(g->tensor[g->input].shape), 1, 1};
    for (int i = 0; i < g->n_nodes; i++) {
        const hd_node *n = &g->node[i];
        hd_shape in = stored[resolve[n->input[0]]];
        if (n->op == HD_OP_FLATTEN || is_elementwise(n) || n->op == HD_OP_ADD_TENSOR) stored[n->output] = in;
        if (!w->live[i]) continue;
        if (n->op == HD_OP_ADD_TENSOR && !same_shape(in, stored[resolve[n->input[1]]]))
            return hd_fail(err, HD_UNSUPPORTED, "node '%s': adds a flattened feature map to a vector; their orders in memory differ", n->name);
        if ((n->op == HD_OP_CONV2D || n->op == HD_OP_MAX_POOL || n->op == HD_OP_AVG_POOL) && !same_shape(in, g->tensor[n->input[0]].shape))
            return hd_fail(err, HD_UNSUPPORTED, "node '%s': works on a flattened feature map as on channels; its order in memory differs",
                           n->name);
    }
    hd_shape out = stored[w->p->output];
    if (out.c > 1 && out.h * out.w > 1 && g->tensor[g->output].shape.h * g->tensor[g->output].shape.w == 1)
        return hd_fail(err, HD_UNSUPPORTED, "output tensor '%s': a flattened feature map of %d x %d x %d; only its channels-last order is stored",
                       g->tensor[g->output].name, out.c, out.h, out.w);
    return HD_OK;
}

/* The addition goes to the input produced later: the other one is then complete before the stage runs. */
static void match_additions(planner *w, int apart) {
    for (int i = 0; i < w->g->n_nodes; i++) w->add_of[i] = w->addend[i] = -1;
    if (apart) return;
    for (int i = 0; i < w->g->n_nodes; i++) {
        const hd_node *n = &w->g->node[i];
        if (!w->live[i] || n->op != HD_OP_ADD_TENSOR) continue;
        int best = -1;
        for (int k = 0; k < 2; k++) {
            int t = w->p->resolve[n->input[k]], from = w->producer[t];
            if (from > best && is_conv(&w->g->node[from]) && w->uses[t] == 1) {
                best = from;
                w->addend[i] = k;
            }
        }
        if (best >= 0) w->add_of[best] = i;
    }
}

static hd_status check_average(const hd_node *n, hd_shape in, hd_shape out, hd_err *err) {
    int64_t past_y = (int64_t)(out.h - 1) * n->sy + (int64_t)(n->kh - 1) * n->dy - n->pad_top - (in.h - 1);
    int64_t past_x = (int64_t)(out.w - 1) * n->sx + (int64_t)(n->kw - 1) * n->dx - n->pad_left - (in.w - 1);
    int padded = n->pad_top > 0 || n->pad_left > 0 || past_y > 0 || past_x > 0;
    if (padded && !n->count_include_pad)
        return hd_fail(err, HD_UNSUPPORTED, "node '%s': average pooling over padding with count_include_pad 0; windows at the border would have "
                       "other divisors", n->name);
    return HD_OK;
}

static hd_status add_step(planner *w, int i, int *n_fn, hd_err *err) {
    const hd_graph *g = w->g;
    const hd_node *n = &g->node[i];
    const int *resolve = w->p->resolve;
    hd_step *s = &w->p->step[w->p->n_steps++];
    *s = (hd_step){.node = i, .input = resolve[n->input[0]], .residual = -1, .first_fn = *n_fn, .last_node = i};
    int t = n->output;
    if (n->op == HD_OP_MAX_POOL) {
        s->role = HD_ROLE_MAXPOOL;
        s->pre = s->output = t;
        return HD_OK;
    }
    if (is_conv(n)) {
        s->role = n->op == HD_OP_AVG_POOL ? HD_ROLE_AVERAGE : HD_ROLE_WEIGHTS;
        if (n->op == HD_OP_AVG_POOL) {
            hd_status status = check_average(n, g->tensor[n->input[0]].shape, g->tensor[t].shape, err);
            if (status != HD_OK) return status;
        } else
            w->p->dense_weights += (uint32_t)hd_node_weights(n);
        int add = w->add_of[i];
        if (add >= 0) {
            s->residual = resolve[g->node[add].input[1 - w->addend[add]]];
            s->last_node = add;
            w->taken[add] = 1;
            t = g->node[add].output;
        }
    } else {
        s->role = HD_ROLE_IDENTITY;
        if (n->op == HD_OP_ADD_TENSOR) s->residual = resolve[n->input[1]];
        else t = s->input;
    }
    s->pre = t;
    /* A lone function is node i itself; others follow as long as nobody else reads what is between. */
    for (int next = is_elementwise(n) ? i : w->consumer[t]; next >= 0 && is_elementwise(&g->node[next]); next = w->consumer[t]) {
        if (next != i && w->uses[t] != 1) break;
        w->p->fn[(*n_fn)++] = next;
        s->n_fn++;
        s->last_node = next;
        w->taken[next] = 1;
        t = g->node[next].output;
    }
    s->output = t;
    return HD_OK;
}

static void sort_steps(hd_plan *p) {
    for (int i = 1; i < p->n_steps; i++) {
        hd_step s = p->step[i];
        int k = i;
        for (; k > 0 && p->step[k - 1].last_node > s.last_node; k--) p->step[k] = p->step[k - 1];
        p->step[k] = s;
    }
}

static hd_status make(planner *w, int apart, hd_err *err) {
    hd_status status = find_live(w, err);
    if (status == HD_OK) status = find_shapes(w, err);
    if (status != HD_OK) return status;
    match_additions(w, apart);
    int n_fn = 0;
    for (int i = 0; status == HD_OK && i < w->g->n_nodes; i++)
        if (w->live[i] && !w->taken[i]) status = add_step(w, i, &n_fn, err);
    if (status == HD_OK && !w->p->n_steps) status = hd_fail(err, HD_UNSUPPORTED, "network '%s' computes nothing from its input", w->g->name);
    sort_steps(w->p);
    if (w->g->source_weights) w->p->dense_weights = (uint32_t)w->g->source_weights;
    return status;
}

hd_status hd_compress_plan_make(hd_plan *p, const hd_graph *g, int apart, hd_err *err) {
    size_t tensors = (size_t)g->n_tensors, nodes = (size_t)g->n_nodes + 1;
    *p = (hd_plan){.g = g, .step = calloc(nodes, sizeof *p->step), .fn = calloc(nodes, sizeof *p->fn),
                   .resolve = calloc(tensors, sizeof *p->resolve), .stored = calloc(tensors, sizeof *p->stored)};
    planner w = {.p = p, .g = g, .producer = calloc(tensors, sizeof(int)), .uses = calloc(tensors, sizeof(int)),
                 .consumer = calloc(tensors, sizeof(int)), .live = calloc(nodes, 1), .taken = calloc(nodes, 1),
                 .add_of = calloc(nodes, sizeof(int)), .addend = calloc(nodes, sizeof(int))};
    hd_status status;
    if (!p->step || !p->fn || !p->resolve || !p->stored || !w.producer || !w.uses || !w.consumer || !w.live || !w.taken || !w.add_of || !w.addend)
        status = hd_fail(err, HD_NOMEM, "network '%s': out of memory", g->name);
    else
        status = make(&w, apart, err);
    free(w.producer);
    free(w.uses);
    free(w.consumer);
    free(w.live);
    free(w.taken);
    free(w.add_of);
    free(w.addend);
    if (status != HD_OK) hd_compress_plan_free(p);
    return status;
}
