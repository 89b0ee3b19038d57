/* One run of a graph, watched. */
#include "cut.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

void hd_cut_free(hd_cut *c) {
    if (!c) return;
    for (int k = 0; c->value && k < c->n_values; k++) hd_nd_free(&c->value[k].data);
    for (int k = 0; c->node && k < c->n_nodes; k++) {
        free(c->node[k].in);
        free(c->node[k].out);
        if (c->node[k].own) onnx__node_proto__free_unpacked(c->node[k].own, NULL);
    }
    hd_host_free(c->host);
    free(c->label);
    free(c->value);
    free(c->node);
    free(c->order);
    free(c->input);
    free(c->output);
    free(c);
}

/* Values of the main graph that the graphs inside of a node read; p is `depth` graphs below the main one. */
static int captured(const hd_host_plan *p, int depth, int *list, int n) {
    for (int k = 0; k < p->n_nodes; k++)
        for (size_t j = 0; j < p->step[k].node->n_input; j++)
            if (p->step[k].in[j].slot >= 0 && p->step[k].in[j].up == depth) {
                if (list) list[n] = p->step[k].in[j].slot;
                n++;
            }
    for (int k = 0; k < p->n_bodies; k++) n = captured(&p->body[k], depth + 1, list, n);
    for (size_t k = 0; k < p->graph->n_output; k++)
        if (p->output[k] < 0) {
            hd_ref r = hd_host_plan_find((hd_host_plan *)(uintptr_t)p, p->graph->output[k]->name);
            if (r.up != depth || r.slot < 0) continue;
            if (list) list[n] = r.slot;
            n++;
        }
    return n;
}

static hd_status add_node(hd_cut *c, int k, hd_err *err) {
    const hd_host_plan *p = &c->host->plan;
    const hd_step *s = &p->step[k];
    hd_cut_node *n = &c->node[k];
    int inner = 0;
    for (int j = 0; j < s->n_bodies; j++) inner = captured(&p->body[s->first_body + j], 1, NULL, inner);
    *n = (hd_cut_node){.p = s->node, .n_in = (int)s->node->n_input, .n_out = (int)s->node->n_output, .member_of = -1};
    n->in = malloc(((size_t)n->n_in + (size_t)inner + 1) * sizeof *n->in);
    n->out = malloc(((size_t)n->n_out + 1) * sizeof *n->out);
    if (!n->in || !n->out) return hd_fail(err, HD_NOMEM, "%s: out of memory", c->label);
    for (int j = 0; j < n->n_in; j++) n->in[j] = s->in[j].slot;
    for (int j = 0; j < n->n_out; j++) {
        n->out[j] = s->out[j];
        if (s->out[j] >= 0) c->value[s->out[j]].producer = k;
    }
    for (int j = 0; j < s->n_bodies; j++) n->n_in = captured(&p->body[s->first_body + j], 1, n->in, n->n_in);
    return HD_OK;
}

/* "x=1x3,y=2" or, for the only input, "1x3": what it says of `name`; NULL when it says nothing. */
static const char *entry(const char *text, const char *name, int only) {
    if (!text) return NULL;
    if (only && !strchr(text, '=')) return text;
    size_t n = strlen(name);
    for (const char *p = text; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
        if (strncmp(p, name, n) == 0 && p[n] == '=') return p + n + 1;
    return NULL;
}

static hd_status read_shape(hd_cut_value *v, const char *text, const char *label, hd_err *err) {
    int rank = 0;
    const char *p = text;
    for (; *p && *p != ','; rank++) {
        char *end;
        long long d = strtoll(p, &end, 10);
        if (end == p || d < 0 || rank == HD_ND_MAX_RANK || (*end && *end != 'x' && *end != ',') || (*end == 'x' && (!end[1] || end[1] == ',')))
            return hd_fail(err, HD_USAGE, "%s: shape '%.60s' of input '%s'; sizes are expected, as in 1x3x48x192", label, text, v->name);
        v->dim[rank] = d;
        p = *end == 'x' ? end + 1 : end;
    }
    if (v->rank >= 0 && rank != v->rank) return hd_fail(err, HD_MISMATCH, "%s: shape '%.60s' has %d dimensions; input '%s' has %d", label, text, rank, v->name, v->rank);
    v->rank = rank;
    return HD_OK;
}

/* The value an input has in the run: zeros, or the fixed number, which makes it a constant. */
static hd_status probe_input(hd_cut *c, int k, const hd_cut_options *o, hd_nd *in, hd_err *err) {
    const hd_host_port *port = hd_host_input(c->host, k);
    hd_cut_value *v = &c->value[c->host->plan.input[k]];
    const char *shape = entry(o->shape, port->name, hd_host_n_inputs(c->host) == 1), *fixed = entry(o->fix, port->name, 0);
    if (port->type == HD_TYPE_NONE || port->type == HD_TYPE_STRING) return hd_fail(err, HD_UNSUPPORTED, "%s: input '%s' is no tensor of numbers; only such inputs are supported", c->label, port->name);
    v->rank = port->rank;
    memcpy(v->dim, port->dim, sizeof v->dim);
    if (shape) {
        hd_status status = read_shape(v, shape, c->label, err);
        if (status != HD_OK) return status;
    }
    if (v->rank < 0) return hd_fail(err, HD_MISMATCH, "%s: input '%s' has no shape; --shape gives one, as in %s=1x3x48x192", c->label, port->name, port->name);
    for (int j = 0; j < v->rank; j++) {
        if (v->dim[j] >= 0) continue;
        if (!fixed && j > 0) return hd_fail(err, HD_MISMATCH, "%s: input '%s': size %d is open; --shape gives it, as in %s=1x3x48x192", c->label, port->name, j, port->name);
        v->dim[j] = 1;
    }
    v->type = port->type;
    hd_status status = hd_nd_new(in, port->type, v->rank, v->dim, (size_t)1 << 31, err);
    if (status != HD_OK) return hd_fail_in(err, c->label);
    if (!fixed) {
        c->input[c->n_inputs++] = c->host->plan.input[k];
        return HD_OK;
    }
    hd_nd number;
    hd_nd_free(in);
    status = hd_nd_new(&number, HD_TYPE_F64, v->rank, v->dim, (size_t)1 << 31, err);
    if (status != HD_OK) return status;
    for (size_t j = 0; j < number.count; j++) ((double *)number.data)[j] = strtod(fixed, NULL);
    status = hd_nd_cast(in, &number, port->type, err);
    hd_nd_free(&number);
    v->constant = 1;
    v->data = hd_nd_share(in);
    return status;
}

static int is_control(const char *op) { return strcmp(op, "If") == 0 || strcmp(op, "Loop") == 0 || strcmp(op, "Scan") == 0; }

/* Called after each node: shapes, cost, and which results are constant. */
static void watch(void *context, int k, const hd_nd *made, int n, double operations) {
    hd_cut *c = context;
    hd_cut_node *node = &c->node[k];
    const char *op = node->p->op_type;
    int constant = !is_control(op) && strcmp(op, "Dropout") != 0;
    for (int j = 0; j < node->n_in; j++) constant &= node->in[j] < 0 || c->value[node->in[j]].constant;
    if (strcmp(op, "Shape") == 0 || strcmp(op, "Size") == 0) constant = c->value[node->in[0]].type != HD_TYPE_NONE;
    node->operations = operations;
    c->operations += operations;
    for (int j = 0; j < n; j++) {
        if (node->out[j] < 0) continue;
        hd_cut_value *v = &c->value[node->out[j]];
        v->type = made[j].kind == HD_ND_TENSOR ? made[j].type : HD_TYPE_NONE;
        v->rank = made[j].rank;
        memcpy(v->dim, made[j].dim, sizeof v->dim);
        v->constant = constant && made[j].kind == HD_ND_TENSOR && made[j].type != HD_TYPE_STRING;
        if (v->constant) v->data = hd_nd_share(&made[j]);
    }
}

static hd_status run_once(hd_cut *c, const hd_cut_options *o, hd_err *err) {
    hd_nd *in = calloc((size_t)hd_host_n_inputs(c->host) + 1, sizeof *in), *out = calloc((size_t)c->n_outputs + 1, sizeof *out);
    hd_status status = in && out ? HD_OK : hd_fail(err, HD_NOMEM, "%s: out of memory", c->label);
    for (int k = 0; status == HD_OK && k < hd_host_n_inputs(c->host); k++) status = probe_input(c, k, o, &in[k], err);
    hd_host_set_watch(c->host, watch, c);
    if (status == HD_OK) status = hd_host_run(c->host, in, out, NULL, err);
    hd_host_set_watch(c->host, NULL, NULL);
    for (int k = 0; in && k < hd_host_n_inputs(c->host); k++) hd_nd_free(&in[k]);
    for (int k = 0; out && k < c->n_outputs; k++) hd_nd_free(&out[k]);
    free(in);
    free(out);
    return status;
}

static void mark_live(hd_cut *c, int value) {
    if (value < 0 || c->value[value].constant || c->value[value].producer < 0) return;
    hd_cut_node *n = &c->node[c->value[value].producer];
    n->live = 1;
}

static hd_status build(hd_cut *c, const hd_cut_options *o, hd_err *err) {
    const hd_host_plan *p = &c->host->plan;
    const Onnx__GraphProto *g = p->graph;
    c->opset = c->host->opset;
    c->name = g->name ? g->name : "";
    c->n_values = p->n_names;
    c->n_nodes = p->n_nodes;
    c->n_outputs = (int)g->n_output;
    c->capacity = 2 * p->n_nodes + 1;
    c->value = calloc((size_t)c->n_values + 1, sizeof *c->value);
    c->node = calloc((size_t)c->capacity, sizeof *c->node);
    c->order = malloc((size_t)c->capacity * sizeof *c->order);
    c->input = malloc(((size_t)p->n_inputs + 1) * sizeof *c->input);
    c->output = malloc((g->n_output + 1) * sizeof *c->output);
    if (!c->value || !c->node || !c->order || !c->input || !c->output) return hd_fail(err, HD_NOMEM, "%s: out of memory", c->label);
    for (int k = 0; k < c->n_values; k++) {
        const hd_nd *v = &p->constant[k];
        c->value[k] = (hd_cut_value){.name = p->name[k], .producer = -1};
        if (v->kind != HD_ND_TENSOR) continue;
        c->value[k].type = v->type;
        c->value[k].rank = v->rank;
        memcpy(c->value[k].dim, v->dim, sizeof v->dim);
        c->value[k].constant = v->type != HD_TYPE_STRING;
        c->value[k].data = hd_nd_share(v);
    }
    hd_status status = HD_OK;
    for (int k = 0; status == HD_OK && k < c->n_nodes; k++) {
        status = add_node(c, k, err);
        c->order[k] = k;
    }
    for (int k = 0; status == HD_OK && k < c->n_outputs; k++) {
        c->output[k] = p->output[k];
        c->value[p->output[k]].output = 1;
    }
    if (status == HD_OK) status = run_once(c, o, err);
    for (int k = 0; status == HD_OK && k < c->n_outputs; k++) {
        if (c->value[c->output[k]].constant || c->value[c->output[k]].producer < 0)
            status = hd_fail(err, HD_UNSUPPORTED, "%s: output '%s' is a constant or an input; only computed ones are supported", c->label, c->value[c->output[k]].name);
        else mark_live(c, c->output[k]);
    }
    for (int k = c->n_nodes; status == HD_OK && k-- > 0;)
        for (int j = 0; c->node[k].live && j < c->node[k].n_in; j++) mark_live(c, c->node[k].in[j]);
    return status;
}

/* Of a file when bytes is NULL. */
static hd_status make(hd_cut **out, const char *path, const uint8_t *bytes, size_t size, const hd_cut_options *o, hd_err *err) {
    *out = NULL;
    hd_cut *c = calloc(1, sizeof *c);
    char *label = malloc(strlen(path) + 1);
    if (!c || !label) {
        free(c);
        free(label);
        return hd_fail(err, HD_NOMEM, "%s: out of memory", path);
    }
    c->label = strcpy(label, path);
    hd_status status = bytes ? hd_host_load_memory(&c->host, bytes, size, path, err) : hd_host_load(&c->host, path, err);
    if (status == HD_OK) {
        hd_host_limits limits = c->host->limits;
        limits.operations = HD_CUT_OPERATIONS;
        hd_host_set_limits(c->host, limits);
        status = build(c, o, err);
    }
    if (status == HD_OK) *out = c;
    else hd_cut_free(c);
    return status;
}

hd_status hd_cut_new(hd_cut **out, const char *path, const hd_cut_options *o, hd_err *err) {
    enum { ROUNDS = 8 }; /* graphs are not nested deeper */
    hd_status status = make(out, path, NULL, 0, o, err);
    for (int k = 0; status == HD_OK && k < ROUNDS; k++) {
        uint8_t *bytes;
        size_t size;
        status = hd_cut_take_branches(&bytes, &size, *out, err);
        if (status == HD_OK && !bytes) return HD_OK;
        hd_cut_free(*out);
        *out = NULL;
        if (status == HD_OK) status = make(out, path, bytes, size, o, err);
        free(bytes);
    }
    return status;
}
