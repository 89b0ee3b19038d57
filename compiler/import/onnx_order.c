/* Names to values, and an order in which every node comes after what it reads. */
#include <stdlib.h>
#include <string.h>

#include "onnx_internal.h"

enum { MAX_NAME = 1024 };

/* Names go into messages and other files: no control characters, and a bound. */
static hd_status check_text(const hd_onnx *o, const char *s, const char *what, size_t index, hd_err *err) {
    if (!s) return HD_OK;
    size_t n = strlen(s);
    if (n > MAX_NAME) return hd_fail(err, HD_RANGE, "%s: %s %zu: name of %zu bytes; at most %d are allowed", o->label, what, index, n, MAX_NAME);
    for (const unsigned char *p = (const unsigned char *)s; *p; p++)
        if (*p < 32 || *p == 127)
            return hd_fail(err, HD_FORMAT, "%s: %s %zu: a name holds the control character 0x%02x", o->label, what, index, *p);
    return HD_OK;
}

static hd_status check_texts(const hd_onnx *o, hd_err *err) {
    const Onnx__GraphProto *g = o->proto;
    hd_status status = check_text(o, g->name, "graph", 0, err);
    for (size_t i = 0; status == HD_OK && i < g->n_input; i++) status = check_text(o, g->input[i]->name, "input", i, err);
    for (size_t i = 0; status == HD_OK && i < g->n_output; i++) status = check_text(o, g->output[i]->name, "output", i, err);
    for (size_t i = 0; status == HD_OK && i < g->n_initializer; i++) status = check_text(o, g->initializer[i]->name, "initializer", i, err);
    for (size_t i = 0; status == HD_OK && i < g->n_node; i++) {
        const Onnx__NodeProto *p = g->node[i];
        const char *own[3] = {p->name, p->op_type, p->domain};
        for (int k = 0; status == HD_OK && k < 3; k++) status = check_text(o, own[k], "node", i, err);
        for (size_t k = 0; status == HD_OK && k < p->n_input; k++) status = check_text(o, p->input[k], "node", i, err);
        for (size_t k = 0; status == HD_OK && k < p->n_output; k++) status = check_text(o, p->output[k], "node", i, err);
        for (size_t k = 0; status == HD_OK && k < p->n_attribute; k++) status = check_text(o, p->attribute[k]->name, "node", i, err);
    }
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const hd_onnx_value *)a)->name, ((const hd_onnx_value *)b)->name);
}

static int find(const hd_onnx *o, const char *name) {
    hd_onnx_value key = {.name = name};
    const hd_onnx_value *v = bsearch(&key, o->value, (size_t)o->n_values, sizeof *v, by_name);
    return v ? (int)(v - o->value) : -1;
}

static int text_empty(const char *s) { return !s || !s[0]; }

static int is_initializer(const hd_onnx *o, const char *name) {
    int v = find(o, name);
    return v >= 0 && o->value[v].stored != NULL;
}

/* Every name once: initializers, node outputs, and the inputs that are no initializers (old files list those too). */
static hd_status collect(hd_onnx *o, hd_err *err) {
    const Onnx__GraphProto *g = o->proto;
    size_t most = g->n_initializer + g->n_input;
    for (size_t i = 0; i < g->n_node; i++) most += g->node[i]->n_output;
    o->value = calloc(most + 1, sizeof *o->value);
    if (!o->value) return hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
    for (size_t i = 0; i < g->n_initializer; i++) {
        if (text_empty(g->initializer[i]->name)) return hd_fail(err, HD_FORMAT, "%s: initializer %zu has no name", o->label, i);
        o->value[o->n_values++] = (hd_onnx_value){.name = g->initializer[i]->name, .stored = g->initializer[i], .producer = -1, .node = -1};
    }
    qsort(o->value, (size_t)o->n_values, sizeof *o->value, by_name);
    const char *input = NULL;
    size_t inputs = 0;
    for (size_t i = 0; i < g->n_input; i++) {
        const char *name = g->input[i]->name;
        if (text_empty(name)) return hd_fail(err, HD_FORMAT, "%s: input %zu has no name", o->label, i);
        if (is_initializer(o, name)) continue;
        input = name;
        inputs++;
    }
    if (inputs != 1) return hd_fail(err, HD_UNSUPPORTED, "%s: %zu inputs (without initializers); a network must have exactly 1", o->label, inputs);
    o->value[o->n_values++] = (hd_onnx_value){.name = input, .producer = -1, .node = -1};
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_output; k++)
            if (!text_empty(g->node[i]->output[k]))
                o->value[o->n_values++] = (hd_onnx_value){.name = g->node[i]->output[k], .producer = (int)i, .node = -1};
    qsort(o->value, (size_t)o->n_values, sizeof *o->value, by_name);
    for (int i = 1; i < o->n_values; i++)
        if (strcmp(o->value[i - 1].name, o->value[i].name) == 0)
            return hd_fail(err, HD_FORMAT, "%s: '%s' is defined twice (among inputs, initializers and node outputs)", o->label, o->value[i].name);
    o->input = find(o, input);
    return HD_OK;
}

static hd_status resolve(hd_onnx *o, hd_err *err) {
    const Onnx__GraphProto *g = o->proto;
    size_t refs = 0;
    for (size_t i = 0; i < g->n_node; i++) refs += g->node[i]->n_input + g->node[i]->n_output;
    o->n_nodes = (int)g->n_node;
    o->node = calloc(g->n_node + 1, sizeof *o->node);
    o->refs = malloc((refs + 1) * sizeof *o->refs);
    if (!o->node || !o->refs) return hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
    int *next = o->refs;
    for (int i = 0; i < o->n_nodes; i++) {
        const Onnx__NodeProto *p = g->node[i];
        o->node[i] = (hd_onnx_node){.p = p, .in = next, .out = next + p->n_input};
        next += p->n_input + p->n_output;
        for (size_t k = 0; k < p->n_input; k++) {
            o->node[i].in[k] = text_empty(p->input[k]) ? -1 : find(o, p->input[k]);
            if (!text_empty(p->input[k]) && o->node[i].in[k] < 0)
                return hd_onnx_fail(o, i, err, HD_FORMAT, "input %zu '%s' is neither an input nor an initializer nor the output of a node", k, p->input[k]);
        }
        for (size_t k = 0; k < p->n_output; k++) o->node[i].out[k] = text_empty(p->output[k]) ? -1 : find(o, p->output[k]);
    }
    return HD_OK;
}

/* Depth first along the inputs, in file order: a sorted file keeps its order. */
static hd_status sort(hd_onnx *o, hd_err *err) {
    size_t n = (size_t)o->n_nodes;
    struct frame {
        int node;
        size_t next;
    } *stack = malloc((n + 1) * sizeof *stack);
    char *state = calloc(n + 1, 1); /* 1: on the stack, 2: placed */
    o->order = malloc((n + 1) * sizeof *o->order);
    hd_status status = stack && state && o->order ? HD_OK : hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
    int placed = 0;
    for (int root = 0; status == HD_OK && root < o->n_nodes; root++) {
        if (state[root]) continue;
        size_t depth = 1;
        stack[0].node = root;
        stack[0].next = 0;
        state[root] = 1;
        while (status == HD_OK && depth > 0) {
            struct frame *top = &stack[depth - 1];
            if (top->next == o->node[top->node].p->n_input) {
                state[top->node] = 2;
                o->order[placed++] = top->node;
                depth--;
                continue;
            }
            int value = o->node[top->node].in[top->next++];
            int before = value < 0 ? -1 : o->value[value].producer;
            if (before < 0 || state[before] == 2) continue;
            if (state[before] == 1) {
                status = hd_onnx_fail(o, before, err, HD_FORMAT, "depends on its own output: the nodes form a cycle");
                break;
            }
            state[before] = 1;
            stack[depth].node = before;
            stack[depth++].next = 0;
        }
    }
    free(stack);
    free(state);
    return status;
}

/* Marks what leads to the output and counts the readers of each value. */
static hd_status reach(hd_onnx *o, hd_err *err) {
    const Onnx__GraphProto *g = o->proto;
    if (g->n_output != 1) return hd_fail(err, HD_UNSUPPORTED, "%s: %zu outputs; a network must have exactly 1", o->label, g->n_output);
    const char *name = g->output[0]->name;
    o->output = text_empty(name) ? -1 : find(o, name);
    if (o->output < 0) return hd_fail(err, HD_FORMAT, "%s: output '%s' is produced by no node", o->label, name ? name : "");
    o->value[o->output].uses++;
    for (int i = o->n_nodes; i-- > 0;) {
        hd_onnx_node *node = &o->node[o->order[i]];
        for (size_t k = 0; k < node->p->n_output; k++)
            if (node->out[k] >= 0 && o->value[node->out[k]].uses) node->needed = 1;
        for (size_t k = 0; node->needed && k < node->p->n_input; k++)
            if (node->in[k] >= 0) o->value[node->in[k]].uses++;
    }
    return HD_OK;
}

hd_status hd_onnx_index(hd_onnx *o, hd_err *err) {
    hd_status status = check_texts(o, err);
    if (status == HD_OK) status = collect(o, err);
    if (status == HD_OK) status = resolve(o, err);
    if (status == HD_OK) status = sort(o, err);
    if (status == HD_OK) status = reach(o, err);
    return status;
}
