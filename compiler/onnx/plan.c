/* A graph made ready to run: names become slots, operators and attributes are checked against the table. */
#include <stdlib.h>
#include <string.h>

#include "run.h"

enum { MAX_DEPTH = 8 };

static const char *text(const char *s) { return s ? s : ""; }

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static int slot_of(const hd_host_plan *p, const char *name) {
    const char **found = bsearch(&name, p->name, (size_t)p->n_names, sizeof *p->name, by_text);
    return found ? (int)(found - p->name) : -1;
}

hd_ref hd_host_plan_find(hd_host_plan *p, const char *name) {
    hd_ref r = {0, -1};
    name = text(name);
    for (; p; p = p->parent, r.up++) {
        r.slot = slot_of(p, name);
        if (r.slot >= 0 && p->defined[r.slot]) return r;
    }
    r.slot = -1;
    return r;
}

/* Marks what `ref`, seen from p, reads: it has to live until the node that owns the inner graphs is done. */
static void mark_read(hd_host_plan *p, hd_ref ref, int node) {
    for (; ref.up > 0; ref.up--, p = p->parent) node = p->owner;
    if (p->last[ref.slot] < node) p->last[ref.slot] = node;
}

static const char *name_of(const Onnx__NodeProto *n) { return n->name && n->name[0] ? n->name : n->n_output ? n->output[0] : ""; }

static hd_status fail(const hd_host *h, const Onnx__NodeProto *n, hd_err *err, hd_status code, const char *what, const char *thing) {
    return hd_fail(err, code, "%s: node '%s' (%s): %s%s", h->label, name_of(n), text(n->op_type), what, thing);
}

static char kind_of(const Onnx__AttributeProto *a) {
    switch ((int)a->type) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT: return a->has_i ? 'i' : '?';
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT: return a->has_f ? 'f' : '?';
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING: return a->has_s ? 's' : '?';
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR: return a->t ? 't' : '?';
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH: return a->g ? 'g' : '?';
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS: return 'I';
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS: return 'F';
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS: return 'S';
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TYPE_PROTO: return 'p';
    }
    return '?';
}

/* An attribute that is not in the table might change the meaning, so it is refused. */
static hd_status check_attributes(const hd_host *h, const Onnx__NodeProto *n, const hd_host_op *op, hd_err *err) {
    for (size_t k = 0; k < n->n_attribute; k++) {
        const char *name = text(n->attribute[k]->name), *at = op->attributes;
        size_t length = strlen(name);
        while (*at && (strncmp(at, name, length) || at[length] != ':')) at = strchr(at, ' ') + 1;
        if (!*at || !length) return fail(h, n, err, HD_UNSUPPORTED, "an attribute is not supported: ", name);
        if (at[length + 1] != kind_of(n->attribute[k])) return fail(h, n, err, HD_FORMAT, "an attribute has the wrong type: ", name);
        for (size_t j = 0; j < k; j++)
            if (strcmp(name, text(n->attribute[j]->name)) == 0) return fail(h, n, err, HD_FORMAT, "an attribute comes twice: ", name);
    }
    return HD_OK;
}

static hd_status find_operator(const hd_host_op **out, const hd_host *h, const Onnx__NodeProto *n, hd_err *err) {
    int count, known = 0;
    const hd_host_op *table = hd_host_operators(&count);
    if (n->domain && n->domain[0] && strcmp(n->domain, "ai.onnx")) return fail(h, n, err, HD_UNSUPPORTED, "only operators of domain ai.onnx are run; this one's is ", n->domain);
    for (int k = 0; k < count; k++) {
        if (strcmp(table[k].name, text(n->op_type))) continue;
        known = 1;
        *out = &table[k];
        if (h->opset >= table[k].since && h->opset <= table[k].until) return HD_OK;
    }
    if (known)
        return hd_fail(err, HD_UNSUPPORTED, "%s: node '%s' (%s): the model is of operator set %lld; this operator is run in %d to %d", h->label, name_of(n), n->op_type, (long long)h->opset,
                       (*out)->since, (*out)->until);
    return fail(h, n, err, HD_UNSUPPORTED, "no such operator is run; 'heddle operators' lists those that are", "");
}

static hd_status check_node(hd_step *s, const hd_host *h, const Onnx__NodeProto *n, hd_err *err) {
    s->node = n;
    hd_status status = find_operator(&s->op, h, n, err);
    if (status != HD_OK) return status;
    if (n->n_input < (size_t)s->op->min_inputs || n->n_input > HD_CALL_MAX_IN || (s->op->max_inputs >= 0 && n->n_input > (size_t)s->op->max_inputs))
        return hd_fail(err, HD_FORMAT, "%s: node '%s' (%s): %zu inputs; %d to %d are allowed", h->label, name_of(n), n->op_type, n->n_input,
                       s->op->min_inputs, s->op->max_inputs < 0 ? HD_CALL_MAX_IN : s->op->max_inputs);
    if (n->n_output < 1 || n->n_output > (size_t)s->op->max_outputs)
        return hd_fail(err, HD_FORMAT, "%s: node '%s' (%s): %zu outputs; 1 to %d are allowed", h->label, name_of(n), n->op_type, n->n_output, s->op->max_outputs);
    return check_attributes(h, n, s->op, err);
}

/* The names a graph defines, sorted and distinct. */
static hd_status collect(hd_host_plan *p, const hd_host *h, hd_err *err) {
    const Onnx__GraphProto *g = p->graph;
    size_t most = g->n_input + g->n_initializer, n = 0;
    for (size_t k = 0; k < g->n_node; k++) most += g->node[k]->n_output;
    if (most > 1 << 24 || g->n_node > 1 << 24) return hd_fail(err, HD_RANGE, "%s: a graph of %zu names; at most %d are allowed", h->label, most, 1 << 24);
    p->name = malloc((most + 1) * sizeof *p->name);
    if (!p->name) return hd_fail(err, HD_NOMEM, "%s: out of memory", h->label);
    for (size_t k = 0; k < g->n_input; k++) p->name[n++] = text(g->input[k]->name);
    for (size_t k = 0; k < g->n_initializer; k++) p->name[n++] = text(g->initializer[k]->name);
    for (size_t k = 0; k < g->n_node; k++)
        for (size_t j = 0; j < g->node[k]->n_output; j++)
            if (g->node[k]->output[j][0]) p->name[n++] = g->node[k]->output[j];
    qsort(p->name, n, sizeof *p->name, by_text);
    for (size_t k = 0; k < n; k++)
        if (!p->n_names || strcmp(p->name[p->n_names - 1], p->name[k])) p->name[p->n_names++] = p->name[k];
    size_t names = (size_t)p->n_names + 1;
    p->last = malloc(names * sizeof *p->last);
    p->defined = calloc(names, 1);
    p->constant = calloc(names, sizeof *p->constant);
    p->step = calloc(g->n_node + 1, sizeof *p->step);
    p->input = malloc((g->n_input + 1) * sizeof *p->input);
    p->output = malloc((g->n_output + 1) * sizeof *p->output);
    if (!p->last || !p->defined || !p->constant || !p->step || !p->input || !p->output) return hd_fail(err, HD_NOMEM, "%s: out of memory", h->label);
    for (int k = 0; k < p->n_names; k++) p->last[k] = -1;
    return HD_OK;
}

static hd_status define(hd_host_plan *p, const hd_host *h, const char *name, int *slot, hd_err *err) {
    *slot = slot_of(p, name);
    if (p->defined[*slot]) return hd_fail(err, HD_FORMAT, "%s: value '%s' is defined twice", h->label, name);
    p->defined[*slot] = 1;
    return HD_OK;
}

/* The nodes' bodies are prepared before their outputs are known, as the definition asks. */
static hd_status add_bodies(hd_host_plan *p, hd_host *h, int node, hd_err *err) {
    hd_step *s = &p->step[node];
    s->first_body = p->n_bodies;
    for (size_t k = 0; k < s->node->n_attribute; k++) {
        const Onnx__AttributeProto *a = s->node->attribute[k];
        if (kind_of(a) != 'g') continue;
        s->n_bodies++;
        hd_status status = hd_host_plan_new(&p->body[p->n_bodies++], h, a->g, p, node, err);
        if (status != HD_OK) return status;
    }
    return HD_OK;
}

static int is_constant(const hd_step *s) { return strcmp(s->op->name, "Constant") == 0; }

static hd_status add_node(hd_host_plan *p, hd_host *h, int node, hd_err *err) {
    hd_step *s = &p->step[node];
    const Onnx__NodeProto *n = p->graph->node[node];
    hd_status status = check_node(s, h, n, err);
    if (status != HD_OK) return status;
    s->in = malloc((n->n_input + 1) * sizeof *s->in);
    s->out = malloc((n->n_output + 1) * sizeof *s->out);
    if (!s->in || !s->out) return hd_fail(err, HD_NOMEM, "%s: out of memory", h->label);
    for (size_t k = 0; k < n->n_input; k++) {
        s->in[k] = (hd_ref){0, -1};
        if (!n->input[k][0]) continue;
        s->in[k] = hd_host_plan_find(p, n->input[k]);
        if (s->in[k].slot < 0) return fail(h, n, err, HD_FORMAT, "no input, initializer or earlier node gives the input ", n->input[k]);
        mark_read(p, s->in[k], node);
    }
    status = add_bodies(p, h, node, err);
    for (size_t k = 0; status == HD_OK && k < n->n_output; k++) {
        s->out[k] = -1;
        if (n->output[k][0]) status = define(p, h, n->output[k], &s->out[k], err);
    }
    if (status == HD_OK && is_constant(s) && s->out[0] >= 0) status = hd_step_run(h, p, NULL, s, NULL, &p->constant[s->out[0]], err);
    return status;
}

static hd_status add_inputs(hd_host_plan *p, const hd_host *h, hd_err *err) {
    const Onnx__GraphProto *g = p->graph;
    for (size_t k = 0; k < g->n_initializer; k++) {
        int slot;
        hd_status status = define(p, h, text(g->initializer[k]->name), &slot, err);
        if (status == HD_OK) status = hd_nd_read(&p->constant[slot], g->initializer[k], h->label, err);
        if (status != HD_OK) return status;
    }
    for (size_t k = 0; k < g->n_input; k++) {
        int slot = slot_of(p, text(g->input[k]->name));
        if (p->constant[slot].kind != HD_ND_NONE) continue;
        hd_status status = define(p, h, text(g->input[k]->name), &slot, err);
        if (status != HD_OK) return status;
        p->input[p->n_inputs++] = slot;
    }
    return HD_OK;
}

static hd_status add_outputs(hd_host_plan *p, const hd_host *h, hd_err *err) {
    const Onnx__GraphProto *g = p->graph;
    for (size_t k = 0; k < g->n_output; k++) {
        hd_ref r = hd_host_plan_find(p, text(g->output[k]->name));
        if (r.slot < 0) return hd_fail(err, HD_FORMAT, "%s: nothing computes output '%s'", h->label, text(g->output[k]->name));
        p->output[k] = r.up ? -1 : r.slot;
        mark_read(p, r, p->n_nodes);
    }
    return HD_OK;
}

hd_status hd_host_plan_new(hd_host_plan *p, hd_host *h, const Onnx__GraphProto *g, hd_host_plan *parent, int node, hd_err *err) {
    *p = (hd_host_plan){.graph = g, .parent = parent, .owner = node, .n_nodes = (int)g->n_node};
    int depth = 0, bodies = 0;
    for (const hd_host_plan *q = parent; q; q = q->parent) depth++;
    if (depth > MAX_DEPTH) return hd_fail(err, HD_RANGE, "%s: graphs in graphs are nested more than %d deep", h->label, MAX_DEPTH);
    if (g->n_sparse_initializer) return hd_fail(err, HD_UNSUPPORTED, "%s: has sparse initializers; only dense ones are supported", h->label);
    hd_status status = collect(p, h, err);
    if (status == HD_OK) status = add_inputs(p, h, err);
    for (size_t k = 0; k < g->n_node; k++)
        for (size_t j = 0; j < g->node[k]->n_attribute; j++) bodies += kind_of(g->node[k]->attribute[j]) == 'g';
    p->body = calloc((size_t)bodies + 1, sizeof *p->body);
    if (status == HD_OK && !p->body) status = hd_fail(err, HD_NOMEM, "%s: out of memory", h->label);
    for (int k = 0; status == HD_OK && k < p->n_nodes; k++) status = add_node(p, h, k, err);
    return status == HD_OK ? add_outputs(p, h, err) : status;
}

void hd_host_plan_free(hd_host_plan *p) {
    for (int k = 0; p->constant && k < p->n_names; k++) hd_nd_free(&p->constant[k]);
    for (int k = 0; p->step && k < p->n_nodes; k++) {
        free(p->step[k].in);
        free(p->step[k].out);
    }
    for (int k = 0; k < p->n_bodies; k++) hd_host_plan_free(&p->body[k]);
    free(p->body);
    free(p->name);
    free(p->last);
    free(p->defined);
    free(p->constant);
    free(p->step);
    free(p->input);
    free(p->output);
}
