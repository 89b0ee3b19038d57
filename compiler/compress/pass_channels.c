/* The pass behind structure CHANNEL: networks get narrower for good (channel_sets.h says which channels leave together, channel_solve.h which ones do).
 *
 * Family after family, in the order of their last layers, the channels leave that their readers can best do without: readers are measured in the network
 * as it is by then and aim at the outputs of the network before the pass, T = (Y X^T + d W)(X X^T + d I)^-1, means apart, which the bias brings together
 * again. Their remaining weights are the least squares for the channels that stay. In the end every layer behind a removed channel is fitted once more, in the
 * order of execution.
 *
 * Until then the graph keeps its size: the columns that read a removed channel are 0, which computes the same, and channels keep their numbers. */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "channel_sets.h"
#include "channel_solve.h"
#include "compress_internal.h"
#include "factor_inputs.h"
#include "pass_inputs.h"
#include "pass_internal.h"

static const double DAMPING = 0.01, LEAST_DAMPING = 1e-6; /* of the mean diagonal */
static const double SEEN = 1e-3; /* of what readers give: an error that the network's output shows */

typedef struct narrower {
    hd_pass *p;
    hd_graph *before;
    hd_channel_sets c;
    uint8_t *gone;  /* [set] */
    int *number;    /* [set] within its family */
    int *size;      /* [family] sets */
    double *share;  /* [family] to be removed */
    int *last;      /* [family] the last layer that makes its channels, -1 = none */
    int *reader;    /* [nodes] scratch */
    hd_err *err;
} narrower;

static hd_status no_memory(const narrower *x) { return hd_fail(x->err, HD_NOMEM, "network '%s': no memory to remove its channels", x->p->g->name); }

static double asked(const narrower *x, const hd_node *n) {
    const hd_layer_policy *o = hd_policy_of(x->p->policy, n->name);
    return hd_policy_takes_channels(o) ? (double)o->sparsity : 0;
}

static hd_status refuse(const narrower *x, const hd_node *n, hd_err *err) {
    const hd_graph *g = x->p->g;
    int f = x->c.family[n->output], why = x->c.why[f];
    if (why == HD_CHANNELS_INPUT) return hd_fail(err, HD_UNSUPPORTED, "layer '%s': its channels are those of the network's input, which stays as it is", n->name);
    if (why == HD_CHANNELS_OUTPUT) return hd_fail(err, HD_UNSUPPORTED, "layer '%s': its channels are those of the network's output, which stays as it is", n->name);
    if (why != HD_CHANNELS_FREE)
        return hd_fail(err, HD_UNSUPPORTED, "layer '%s': its channels reach node '%s', which needs all of them; channels pass through elementwise functions, pooling, flattening, additions and depthwise convolutions",
                       n->name, g->node[why].name);
    int i = 0;
    while (i < g->n_nodes && !(hd_node_mixes(&g->node[i]) && x->c.family[g->node[i].output] == f && !(asked(x, &g->node[i]) > 0))) i++;
    return hd_fail(err, HD_UNSUPPORTED, "layer '%s': its channels are those of layer '%s' too (an addition or a depthwise convolution ties them), which is to keep all; they leave both or neither",
                   n->name, i < g->n_nodes ? g->node[i].name : n->name);
}

/* The share of each family: the least that a layer asks for which makes its channels. Depthwise layers follow what they read. */
static hd_status find_shares(narrower *x) {
    const hd_graph *g = x->p->g;
    for (int f = 0; f < x->c.families; f++) {
        x->share[f] = 1;
        x->last[f] = -1;
        x->size[f] = 0;
    }
    for (int s = 0; s < x->c.sets; s++) x->number[s] = x->size[x->c.family_of_set[s]]++;
    for (int i = 0; i < g->n_nodes; i++) {
        if (!hd_node_mixes(&g->node[i])) continue;
        int f = x->c.family[g->node[i].output];
        x->share[f] = fmin(x->share[f], asked(x, &g->node[i]));
        x->last[f] = i;
    }
    for (int f = 0; f < x->c.families; f++)
        if (x->c.why[f] != HD_CHANNELS_FREE || x->last[f] < 0) x->share[f] = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        const hd_node *n = &g->node[i];
        if (!hd_node_weights(n) || !(asked(x, n) > 0) || x->share[x->c.family[n->output]] > 0) continue;
        if (hd_pass_is_explicit(x->p, n->name, hd_policy_takes_channels(&x->p->policy->base))) return refuse(x, n, x->err);
    }
    return HD_OK;
}

static int set_of(const narrower *x, int tensor, int channel) { return x->c.set[x->c.first[tensor] + channel]; }

/* What a layer sees, and the least-squares problem over its columns. */
static hd_status open_reader(hd_channel_reader *r, hd_layer_inputs *in, const narrower *x, int node) {
    const hd_node *n = &x->p->g->node[node];
    hd_status s = hd_layer_inputs_measure(in, x->p, node, x->before, n->output, x->err);
    if (s) return s;
    size_t columns = (size_t)in->in, rows = (size_t)in->out;
    /* Few samples say less about the moments, so they get more damping: at most what the other methods have. */
    double change = in->damping * (fmax(fmin((double)columns / in->samples, 1), LEAST_DAMPING / DAMPING) - 1);
    for (size_t i = 0; i < columns; i++) in->h[i * columns + i] += change;
    in->damping += change;
    double *t = malloc(rows * columns * sizeof *t);
    int *set = malloc(columns * sizeof *set);
    uint8_t *counts = malloc(rows);
    s = t && set && counts ? hd_layer_inputs_target(t, n, in, x->err) : no_memory(x);
    if (!s) {
        for (size_t j = 0; j < columns; j++) set[j] = x->number[set_of(x, n->input[0], hd_layer_channel(x->p->g, n, 0, j))];
        /* Dead inputs: what the damping makes of their weights is no cost. */
        for (size_t i = 0; i < rows * columns; i++)
            if (in->h[i % columns * (columns + 1)] <= in->damping) t[i] = 0;
        for (size_t i = 0; i < rows; i++) counts[i] = !x->gone[set_of(x, n->output, (int)i)];
        s = hd_channel_reader_open(r, n->name, in->h, t, columns, rows, set, (size_t)x->size[x->c.family[n->input[0]]], counts, x->err);
    }
    free(t);
    free(set);
    free(counts);
    free(in->h);
    free(in->yx);
    in->h = in->yx = NULL;
    return s;
}

/* The layer's weights and biases become the least-squares ones. */
static hd_status write_back(const narrower *x, int node, const hd_channel_reader *r, const hd_layer_inputs *in) {
    hd_node *n = &x->p->g->node[node];
    if (!n->bias && !(n->bias = calloc((size_t)n->cout, sizeof *n->bias))) return no_memory(x);
    for (size_t i = 0; i < r->out; i++) {
        double bias = in->mean[r->in + i];
        for (size_t j = 0; j < r->in; j++) {
            float *w = &n->weight[i * r->in + j];
            *w = x->gone[set_of(x, n->input[0], hd_layer_channel(x->p->g, n, 0, j))] ? 0 : (float)r->b[i * r->in + j];
            bias -= (double)*w * in->mean[j];
        }
        n->bias[i] = (float)bias;
    }
    return HD_OK;
}

/* Removes channels of the family that `node` [n] read until `left` of its sets stay; the nodes are fitted. */
static hd_status solve(narrower *x, int family, const int *node, int n, int left, int exchange, double *cost) {
    size_t readers = (size_t)n + 1, sets = (size_t)x->size[family];
    hd_channel_reader *r = calloc(readers, sizeof *r);
    hd_layer_inputs *in = calloc(readers, sizeof *in);
    uint8_t *gone = malloc(sets);
    hd_status s = r && in && gone ? HD_OK : no_memory(x);
    for (int i = 0; !s && i < n; i++) s = open_reader(&r[i], &in[i], x, node[i]);
    for (int i = 0; !s && i < x->c.sets; i++)
        if (x->c.family_of_set[i] == family) gone[x->number[i]] = x->gone[i];
    int threads = openblas_get_num_threads();
    openblas_set_num_threads(1); /* sums have one order */
    if (!s) s = hd_channels_remove(r, n, sets, gone, (size_t)left, exchange, cost, x->err);
    openblas_set_num_threads(threads);
    for (int i = 0; !s && i < x->c.sets; i++)
        if (x->c.family_of_set[i] == family) x->gone[i] = gone[x->number[i]];
    for (int i = 0; !s && i < n; i++) s = write_back(x, node[i], &r[i], &in[i]);
    for (int i = 0; i < n; i++) {
        if (r) hd_channel_reader_close(&r[i]);
        if (in) hd_layer_inputs_free(&in[i]);
    }
    free(r);
    free(in);
    free(gone);
    return s;
}

static int find_readers(const narrower *x, int family) {
    int n = 0;
    for (int i = 0; i < x->p->g->n_nodes; i++)
        if (hd_node_mixes(&x->p->g->node[i]) && x->c.family[x->p->g->node[i].input[0]] == family) x->reader[n++] = i;
    return n;
}

static int sets_left(const narrower *x, int family, double share) {
    int removed = (int)(share * x->size[family] + 0.5);
    return removed < x->size[family] ? x->size[family] - removed : 1;
}

/* ---- one budget over all families ---- */

/* What leaves with a set, on average. */
static double weights_of_a_set(const narrower *x, int family) {
    const hd_graph *g = x->p->g;
    double sum = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        const hd_node *n = &g->node[i];
        if (hd_node_weights(n) && (x->c.family[n->output] == family || (hd_node_mixes(n) && x->c.family[n->input[0]] == family))) sum += (double)hd_node_weights(n);
    }
    return sum / x->size[family];
}

/* Where a family's loss is measured: at its share, or deeper, where channels that nobody needs are gone and its curve has begun to rise. */
static size_t depth_of(const narrower *x, int family, const hd_budget_layer *l) {
    size_t depth = (size_t)(x->size[family] - sets_left(x, family, x->share[family]));
    double sum = 0;
    for (size_t i = 0; i < depth; i++) sum += l->cost[i];
    for (; depth < l->n && (sum < SEEN || !depth); depth++) sum += l->cost[depth];
    return depth;
}

/* The family's curve, and what the network loses when it alone is narrowed. The network is as before afterwards. */
static hd_status survey(narrower *x, int family, hd_budget_layer *l, const float *want, float *image, int images) {
    const hd_pass *p = x->p;
    hd_graph *whole = x->p->g;
    size_t sets = (size_t)x->size[family];
    int n = find_readers(x, family);
    *l = (hd_budget_layer){.name = whole->node[x->last[family]].name, .cost = calloc(sets, sizeof *l->cost), .n = sets - 1, .items = sets,
                           .weights = weights_of_a_set(x, family), .start = x->share[family]};
    hd_status s = l->cost ? HD_OK : no_memory(x);
    for (int trial = 0; !s && trial < 2; trial++) {
        if (!(x->p->g = hd_graph_clone(whole))) s = no_memory(x);
        if (!s) s = solve(x, family, x->reader, n, trial ? (int)(sets - l->measured) : 1, 0, trial ? NULL : l->cost);
        for (size_t i = 1; !s && !trial && i < l->n; i++) l->cost[i] = fmax(l->cost[i], l->cost[i - 1]);
        if (!s && !trial) l->measured = depth_of(x, family, l);
        if (!s && trial) s = hd_budget_change(&l->loss, x->p->g, want, image, p->calib, images, p->unit, x->err);
        hd_graph_free(x->p->g);
        x->p->g = whole;
        memset(x->gone, 0, (size_t)x->c.sets);
    }
    return s;
}

static hd_status share_budget(narrower *x) {
    const hd_pass *p = x->p;
    int used = 0, images = p->samples < HD_BUDGET_IMAGES ? p->samples : HD_BUDGET_IMAGES;
    hd_budget_layer *layer = calloc((size_t)x->c.families, sizeof *layer);
    float *image = malloc(p->calib->item * sizeof *image), *want = malloc((size_t)images * hd_shape_size(p->g->tensor[p->g->output].shape) * sizeof *want);
    hd_status s = layer && image && want ? hd_budget_outputs(want, image, p->g, p->calib, images, p->unit, x->err) : no_memory(x);
    for (int f = 0; !s && f < x->c.families; f++)
        if (x->share[f] > 0) s = survey(x, f, &layer[used++], want, image, images);
    if (!s && !hd_budget_share(layer, used)) s = no_memory(x);
    for (int f = 0, k = 0; !s && f < x->c.families; f++)
        if (x->share[f] > 0) x->share[f] = layer[k++].sparsity;
    for (int k = 0; layer && k < used; k++) free(layer[k].cost);
    free(layer);
    free(image);
    free(want);
    return s;
}

/* ---- the whole network ---- */

static hd_status choose(narrower *x) {
    const hd_graph *g = x->p->g;
    int rounds = x->p->policy->rounds > 1 ? x->p->policy->rounds : 1;
    hd_status s = HD_OK;
    for (int round = 1; !s && round <= rounds; round++)
        for (int i = 0; !s && i < g->n_nodes; i++) {
            int f = hd_node_mixes(&g->node[i]) ? x->c.family[g->node[i].output] : -1;
            if (f < 0 || x->last[f] != i || !(x->share[f] > 0)) continue;
            int left = sets_left(x, f, (double)hd_round_sparsity((float)x->share[f], round, rounds));
            if (left < x->size[f]) s = solve(x, f, x->reader, find_readers(x, f), left, 1, NULL);
        }
    return s;
}

static int reads_gone(const narrower *x, int tensor) {
    for (int i = x->c.first[tensor]; i < x->c.first[tensor + 1]; i++)
        if (x->gone[x->c.set[i]]) return 1;
    return 0;
}

/* Every layer behind a removed channel, in the order of execution. */
static hd_status fit_again(narrower *x) {
    const hd_graph *g = x->p->g;
    uint8_t *changed = calloc((size_t)g->n_tensors, 1);
    hd_status s = changed ? HD_OK : no_memory(x);
    for (int i = 0; !s && i < g->n_nodes; i++) {
        const hd_node *n = &g->node[i];
        int behind = changed[n->input[0]] || (n->input[1] >= 0 && changed[n->input[1]]) || (hd_node_mixes(n) && reads_gone(x, n->input[0]));
        if (!behind) continue;
        changed[n->output] = 1;
        int f = x->c.family[n->input[0]];
        if (hd_node_mixes(n)) s = solve(x, f, &i, 1, x->size[f], 0, NULL);
    }
    free(changed);
    return s;
}

/* Columns and rows of removed channels go. */
static void cut_layer(const narrower *x, hd_node *n) {
    size_t columns = hd_layer_columns(n), kept = 0, rows = 0;
    int depthwise = hd_node_is_depthwise(n);
    float *to = n->weight;
    for (size_t i = 0; i < (size_t)n->cout; i++) {
        if (x->gone[set_of(x, n->output, (int)i)]) continue;
        for (size_t j = 0; j < columns; j++)
            if (!hd_node_mixes(n) || !x->gone[set_of(x, n->input[0], hd_layer_channel(x->p->g, n, 0, j))]) *to++ = n->weight[i * columns + j];
        if (n->bias) n->bias[rows] = n->bias[i];
        rows++;
    }
    n->cout = (int)rows;
    for (int i = x->c.first[n->input[0]]; i < x->c.first[n->input[0] + 1]; i++) kept += !x->gone[x->c.set[i]];
    hd_shape in = x->p->g->tensor[n->input[0]].shape;
    n->cin = (int)kept * (n->op == HD_OP_FC ? in.h * in.w : 1);
    if (depthwise) n->groups = (int)kept;
}

static hd_status note(const narrower *x, const hd_node *n) {
    hd_layer_policy o = *hd_policy_of(x->p->policy, n->name);
    int removed = 0;
    for (int i = 0; i < n->cout; i++) removed += x->gone[set_of(x, n->output, i)];
    if (!removed && !hd_policy_takes_channels(&o)) return HD_OK;
    if (hd_policy_takes_channels(&o)) {
        o.sparsity = 0;
        o.structure = HD_SPARSE_NONE;
    }
    o.channels_removed = removed;
    return hd_policy_add(x->p->policy, n->name, &o) ? HD_OK : no_memory(x);
}

static hd_status cut(narrower *x) {
    hd_graph *g = x->p->g;
    hd_status s = HD_OK;
    for (int i = 0; !s && i < g->n_nodes; i++)
        if (hd_node_weights(&g->node[i])) s = note(x, &g->node[i]);
    for (int i = 0; !s && i < g->n_nodes; i++)
        if (hd_node_weights(&g->node[i])) cut_layer(x, &g->node[i]);
    for (int t = 0; !s && t < g->n_tensors; t++) {
        int kept = 0;
        for (int i = x->c.first[t]; i < x->c.first[t + 1]; i++) kept += !x->gone[x->c.set[i]];
        g->tensor[t].shape.c = kept;
    }
    return s;
}

static hd_status narrow(narrower *x) {
    hd_status s = hd_channel_sets_new(&x->c, x->p->g, x->err);
    if (s) return s;
    size_t sets = (size_t)x->c.sets, families = (size_t)x->c.families;
    x->before = hd_graph_clone(x->p->g);
    x->gone = calloc(sets, 1);
    x->number = malloc(sets * sizeof *x->number);
    x->size = malloc(families * sizeof *x->size);
    x->share = malloc(families * sizeof *x->share);
    x->last = malloc(families * sizeof *x->last);
    x->reader = malloc((size_t)x->p->g->n_nodes * sizeof *x->reader);
    s = x->before && x->gone && x->number && x->size && x->share && x->last && x->reader ? find_shares(x) : no_memory(x);
    if (!s && x->p->policy->budget == HD_BUDGET_GLOBAL) s = share_budget(x);
    if (!s) s = choose(x);
    if (!s) s = fit_again(x);
    if (!s) s = cut(x);
    hd_channel_sets_free(&x->c);
    hd_graph_free(x->before);
    free(x->gone);
    free(x->number);
    free(x->size);
    free(x->share);
    free(x->last);
    free(x->reader);
    return s;
}

hd_status hd_pass_channels(hd_pass *p, hd_err *err) {
    int wanted = 0;
    for (int i = 0; i < p->g->n_nodes; i++) wanted |= hd_node_weights(&p->g->node[i]) && hd_policy_takes_channels(hd_policy_of(p->policy, p->g->node[i].name));
    narrower x = {.p = p, .err = err};
    return wanted ? narrow(&x) : HD_OK;
}
