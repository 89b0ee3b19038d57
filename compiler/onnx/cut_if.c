/* If with a condition that is the same whatever the inputs hold, as exporters write for a sample rate: the branch that is taken becomes part of the graph. */
#include <stdlib.h>
#include <string.h>

#include "cut.h"
#include "run.h"

/* The graph that node k always runs; NULL where it is no If or its condition is not constant. */
static Onnx__GraphProto *branch_of(const hd_cut *c, int k) {
    const Onnx__NodeProto *n = c->node[k].p;
    if (strcmp(n->op_type, "If") || c->node[k].n_in < 1 || c->node[k].in[0] < 0) return NULL;
    const hd_cut_value *v = &c->value[c->node[k].in[0]];
    if (!v->constant || v->type != HD_TYPE_BOOL || v->data.count != 1) return NULL;
    const char *taken = *(const uint8_t *)v->data.data ? "then_branch" : "else_branch";
    for (size_t j = 0; j < n->n_attribute; j++)
        if (n->attribute[j]->g && n->attribute[j]->name && !strcmp(n->attribute[j]->name, taken)) return n->attribute[j]->g->n_output == n->n_output ? n->attribute[j]->g : NULL;
    return NULL;
}

/* What the branch gives under the name that the node has for it. */
static Onnx__NodeProto *hand_over(const char *from, const char *to) {
    Onnx__NodeProto *n = malloc(sizeof *n);
    if (!n) return NULL;
    onnx__node_proto__init(n);
    n->op_type = strdup("Identity");
    n->input = calloc(1, sizeof *n->input);
    n->output = calloc(1, sizeof *n->output);
    n->n_input = n->input != NULL;
    n->n_output = n->output != NULL;
    if (n->input) n->input[0] = strdup(from);
    if (n->output) n->output[0] = strdup(to);
    if (n->op_type && n->input && n->output && n->input[0] && n->output[0]) return n;
    onnx__node_proto__free_unpacked(n, NULL);
    return NULL;
}

/* Moves the branch's initializers into g; 0 without memory. */
static int move_initializers(Onnx__GraphProto *g, Onnx__GraphProto *branch) {
    Onnx__TensorProto **all = realloc(g->initializer, (g->n_initializer + branch->n_initializer + 1) * sizeof *all);
    if (!all) return 0;
    g->initializer = all;
    for (size_t k = 0; k < branch->n_initializer; k++) all[g->n_initializer++] = branch->initializer[k];
    branch->n_initializer = 0;
    return 1;
}

/* g's nodes with the branches in the places of their nodes; 0 without memory, and then g is not whole. */
static int rewrite(const hd_cut *c, Onnx__GraphProto *g, size_t most) {
    Onnx__NodeProto **list = malloc((most + 1) * sizeof *list);
    size_t n = 0;
    int ok = list != NULL;
    for (size_t k = 0; ok && k < g->n_node; k++) {
        Onnx__GraphProto *b = branch_of(c, (int)k);
        if (!b) {
            list[n++] = g->node[k];
            continue;
        }
        ok = move_initializers(g, b);
        for (size_t j = 0; ok && j < b->n_node; j++) list[n++] = b->node[j];
        if (ok) b->n_node = 0;
        for (size_t j = 0; ok && j < b->n_output; j++) {
            const char *to = g->node[k]->output[j];
            if (!to[0]) continue;
            list[n] = hand_over(b->output[j]->name ? b->output[j]->name : "", to);
            if (list[n]) n++;
            else ok = 0;
        }
    }
    if (!ok) {
        free(list);
        return 0;
    }
    for (size_t k = 0; k < g->n_node; k++)
        if (branch_of(c, (int)k)) onnx__node_proto__free_unpacked(g->node[k], NULL);
    free(g->node);
    g->node = list;
    g->n_node = n;
    return 1;
}

hd_status hd_cut_take_branches(uint8_t **bytes, size_t *size, hd_cut *c, hd_err *err) {
    Onnx__GraphProto *g = c->host->model->graph;
    size_t most = g->n_node, found = 0;
    *bytes = NULL;
    for (size_t k = 0; k < g->n_node; k++) {
        const Onnx__GraphProto *b = branch_of(c, (int)k);
        if (!b) continue;
        found++;
        most += b->n_node + b->n_output;
    }
    if (!found) return HD_OK;
    if (!rewrite(c, g, most)) return hd_fail(err, HD_NOMEM, "%s: no memory for the branches that are always taken", c->label);
    *size = onnx__model_proto__get_packed_size(c->host->model);
    *bytes = malloc(*size + 1);
    if (!*bytes) return hd_fail(err, HD_NOMEM, "%s: no memory for a model of %zu bytes", c->label, *size);
    onnx__model_proto__pack(c->host->model, *bytes);
    return HD_OK;
}
