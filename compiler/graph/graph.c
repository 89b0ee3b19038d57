#include "graph.h"

#include <stdlib.h>
#include <string.h>

static char *copy_string(const char *s) {
    size_t n = strlen(s ? s : "") + 1;
    char *copy = malloc(n);
    if (copy) memcpy(copy, s ? s : "", n);
    return copy;
}

/* Arrays hold room for the next power of two of their count, so the graph needs no capacity fields. */
static void *room_for_one(void *array, int count, size_t element) {
    size_t n = (size_t)count;
    if (n != 0 && (n & (n - 1)) != 0) return array;
    return realloc(array, (n ? 2 * n : 1) * element);
}

hd_graph *hd_graph_new(const char *name) {
    hd_graph *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    g->name = copy_string(name);
    g->input = g->output = -1;
    if (g->name) return g;
    free(g);
    return NULL;
}

void hd_graph_free(hd_graph *g) {
    if (!g) return;
    for (int i = 0; i < g->n_tensors; i++) free(g->tensor[i].name);
    for (int i = 0; i < g->n_nodes; i++) {
        free(g->node[i].name);
        free(g->node[i].weight);
        free(g->node[i].bias);
        free(g->node[i].weight_scale);
    }
    free(g->tensor);
    free(g->node);
    free(g->name);
    free(g);
}

int hd_graph_add_tensor(hd_graph *g, const char *name, hd_shape shape) {
    hd_tensor_info *tensor = room_for_one(g->tensor, g->n_tensors, sizeof *tensor);
    if (!tensor) return -1;
    g->tensor = tensor;
    char *copy = copy_string(name);
    if (!copy) return -1;
    tensor[g->n_tensors] = (hd_tensor_info){.name = copy, .shape = shape};
    return g->n_tensors++;
}

int hd_graph_add_node(hd_graph *g, hd_op op, const char *name) {
    hd_node *node = room_for_one(g->node, g->n_nodes, sizeof *node);
    if (!node) return -1;
    g->node = node;
    char *copy = copy_string(name);
    if (!copy) return -1;
    node[g->n_nodes] = (hd_node){.op = op, .name = copy, .input = {-1, -1}, .output = -1, .sy = 1, .sx = 1, .dy = 1, .dx = 1, .groups = 1};
    return g->n_nodes++;
}

size_t hd_node_weights(const hd_node *n) {
    if (n->op == HD_OP_FC) return (size_t)n->cout * (size_t)n->cin;
    if (n->op == HD_OP_CONV2D && n->groups > 0)
        return (size_t)n->cout * (size_t)(n->cin / n->groups) * (size_t)n->kh * (size_t)n->kw;
    return 0;
}

/* 1 when there was nothing to copy or the copy succeeded. */
static int copy_floats(float **to, const float *from, size_t n) {
    *to = NULL;
    if (!from) return 1;
    *to = malloc((n ? n : 1) * sizeof **to);
    if (!*to) return 0;
    memcpy(*to, from, n * sizeof **to);
    return 1;
}

hd_graph *hd_graph_clone(const hd_graph *g) {
    hd_graph *c = hd_graph_new(g->name);
    int good = c != NULL;
    for (int i = 0; good && i < g->n_tensors; i++) {
        good = hd_graph_add_tensor(c, g->tensor[i].name, g->tensor[i].shape) >= 0;
        if (!good) break;
        c->tensor[i].scale = g->tensor[i].scale;
        c->tensor[i].zero = g->tensor[i].zero;
    }
    for (int i = 0; good && i < g->n_nodes; i++) {
        const hd_node *from = &g->node[i];
        good = hd_graph_add_node(c, from->op, from->name) >= 0;
        if (!good) break;
        hd_node *to = &c->node[i];
        char *name = to->name;
        *to = *from;
        to->name = name;
        to->weight = to->bias = to->weight_scale = NULL;
        good = copy_floats(&to->weight, from->weight, hd_node_weights(from)) && copy_floats(&to->bias, from->bias, (size_t)from->cout) &&
               copy_floats(&to->weight_scale, from->weight_scale, (size_t)from->cout);
    }
    if (!good) {
        hd_graph_free(c);
        return NULL;
    }
    c->input = g->input;
    c->output = g->output;
    c->source_weights = g->source_weights;
    return c;
}
