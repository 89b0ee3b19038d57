#include "graph_edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int hd_graph_producer(const hd_graph *g, int t) {
    for (int i = 0; i < g->n_nodes; i++)
        if (g->node[i].output == t) return i;
    return -1;
}

int hd_graph_readers(const hd_graph *g, int t, int *node, int most) {
    int count = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->node[i].input[0] != t && g->node[i].input[1] != t) continue;
        if (count < most) node[count] = i;
        count++;
    }
    return count;
}

static int tensor_is_named(const hd_graph *g, const char *name) {
    for (int i = 0; i < g->n_tensors; i++)
        if (!strcmp(g->tensor[i].name, name)) return 1;
    return 0;
}

static int node_is_named(const hd_graph *g, const char *name) {
    for (int i = 0; i < g->n_nodes; i++)
        if (!strcmp(g->node[i].name, name)) return 1;
    return 0;
}

/* The name itself, or with the first number from 2 on that is free; owned, NULL without memory. */
static char *unique_name(const hd_graph *g, const char *name, int (*taken)(const hd_graph *, const char *)) {
    size_t size = strlen(name) + 12;
    char *text = malloc(size);
    if (!text) return NULL;
    snprintf(text, size, "%s", name);
    for (int i = 2; taken(g, text); i++) snprintf(text, size, "%s%d", name, i);
    return text;
}

int hd_graph_add_unique_tensor(hd_graph *g, const char *name, hd_shape shape) {
    char *unique = unique_name(g, name, tensor_is_named);
    int t = unique ? hd_graph_add_tensor(g, unique, shape) : -1;
    free(unique);
    return t;
}

int hd_graph_insert_node(hd_graph *g, int at, hd_op op, const char *name) {
    char *unique = unique_name(g, name, node_is_named);
    int last = unique ? hd_graph_add_node(g, op, unique) : -1;
    free(unique);
    if (last < 0) return -1;
    hd_node made = g->node[last];
    memmove(&g->node[at + 1], &g->node[at], (size_t)(last - at) * sizeof made);
    g->node[at] = made;
    return at;
}

int hd_graph_insert_like(hd_graph *g, int at, int from, const char *name) {
    if (hd_graph_insert_node(g, at, g->node[from].op, name) < 0) return -1;
    char *own = g->node[at].name;
    g->node[at] = g->node[from + (from >= at)];
    g->node[at].name = own;
    g->node[at].weight = g->node[at].bias = g->node[at].weight_scale = NULL;
    return at;
}

int hd_graph_insert_after(hd_graph *g, int t, hd_op op, const char *name) {
    int made = hd_graph_add_unique_tensor(g, name, g->tensor[t].shape);
    int at = made < 0 ? -1 : hd_graph_insert_node(g, hd_graph_producer(g, t) + 1, op, name);
    if (at < 0) return -1;
    hd_graph_redirect(g, t, made, at + 1);
    g->node[at].input[0] = t;
    g->node[at].output = made;
    return at;
}

void hd_graph_remove_node(hd_graph *g, int at) {
    free(g->node[at].name);
    free(g->node[at].weight);
    free(g->node[at].bias);
    free(g->node[at].weight_scale);
    g->n_nodes--;
    memmove(&g->node[at], &g->node[at + 1], (size_t)(g->n_nodes - at) * sizeof *g->node);
}

void hd_graph_redirect(hd_graph *g, int from, int to, int first) {
    for (int i = first; i < g->n_nodes; i++)
        for (int k = 0; k < 2; k++)
            if (g->node[i].input[k] == from) g->node[i].input[k] = to;
    if (g->output == from) g->output = to;
}
