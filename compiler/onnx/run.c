/* Running prepared graphs, node after node. */
#include "run.h"

#include <stdlib.h>
#include <string.h>

/* Running a node takes at least as long as so many operations: a loop of next to nothing would never come to the limit. */
enum { NODE = 1000 };

static char letter(const hd_nd *v) {
    if (v->kind == HD_ND_LIST) return 'l';
    if (v->kind == HD_ND_EMPTY) return 'e';
    if (hd_type_is_float(v->type)) return 'f';
    return hd_type_is_int(v->type) ? 'i' : v->type == HD_TYPE_BOOL ? 'b' : 's';
}

hd_status hd_step_run(hd_host *h, hd_host_plan *p, hd_frame *frame, const hd_step *step, const hd_nd *const *in, hd_nd *out, hd_err *err) {
    hd_err local = {0};
    hd_call c = {.host = h, .node = step->node, .op = step->op, .plan = p, .frame = frame, .opset = h->opset, .err = &local,
                 .n_in = (int)step->node->n_input, .n_out = (int)step->node->n_output, .out = out, .operations = 1};
    hd_status status = HD_OK;
    for (int k = 0; status == HD_OK && k < c.n_in; k++) {
        c.in[k] = in[k];
        if (!in[k] && k < step->op->min_inputs) status = hd_call_fail(&c, HD_FORMAT, "input %d is missing", k);
        else if (in[k] && !strchr(step->op->types, letter(in[k])))
            status = hd_call_fail(&c, HD_UNSUPPORTED, "input %d is of type %s%s, which this operator does not take", k,
                                  in[k]->kind == HD_ND_LIST ? "list of " : in[k]->kind == HD_ND_EMPTY ? "optional, holding nothing, " : "", hd_type_name((int)in[k]->type));
    }
    if (status == HD_OK) status = hd_beside(&c, NODE);
    if (status == HD_OK) status = step->op->run(&c);
    /* An operator that found no value to go on with says HD_NOMEM; the reason is where it was found. */
    if (status == HD_NOMEM) status = local.code != HD_OK ? local.code : hd_call_fail(&c, HD_NOMEM, "out of memory");
    hd_call_end(&c);
    h->operations += c.operations;
    if (status == HD_OK && h->operations > h->limits.operations)
        status = hd_fail(&local, HD_RANGE, "%s: the run takes more than %.3g operations, the most that is allowed", h->label, h->limits.operations);
    for (int k = 0; status == HD_OK && k < c.n_out; k++)
        if (step->node->output[k][0] && out[k].kind == HD_ND_NONE) status = hd_call_fail(&c, HD_UNSUPPORTED, "does not give output %d", k);
    if (status == HD_OK) return HD_OK;
    if (err) *err = local;
    for (int k = 0; k < c.n_out; k++) hd_nd_free(&out[k]);
    return status;
}

static const hd_nd *value_at(hd_host_plan *p, const hd_frame *f, hd_ref r) {
    for (; r.up > 0; r.up--) p = p->parent, f = f->parent;
    const hd_nd *v = p->constant[r.slot].kind != HD_ND_NONE ? &p->constant[r.slot] : &f->value[r.slot];
    return v->kind == HD_ND_NONE ? NULL : v;
}

static hd_status run_step(hd_host *h, hd_host_plan *p, hd_frame *f, int k, hd_err *err) {
    const hd_step *s = &p->step[k];
    const hd_nd *in[HD_CALL_MAX_IN];
    hd_nd made[HD_CALL_MAX_OUT] = {0};
    for (size_t j = 0; j < s->node->n_input; j++) in[j] = s->in[j].slot < 0 ? NULL : value_at(p, f, s->in[j]);
    double before = h->operations;
    hd_status status = hd_step_run(h, p, f, s, in, made, err);
    if (status != HD_OK) return status;
    if (h->watch && !p->parent) h->watch(h->watch_context, k, made, (int)s->node->n_output, h->operations - before);
    for (size_t j = 0; j < s->node->n_output; j++) {
        if (s->out[j] >= 0 && p->last[s->out[j]] > k) f->value[s->out[j]] = made[j];
        else hd_nd_free(&made[j]);
    }
    for (size_t j = 0; j < s->node->n_input; j++)
        if (s->in[j].slot >= 0 && s->in[j].up == 0 && p->last[s->in[j].slot] == k) hd_nd_free(&f->value[s->in[j].slot]);
    return HD_OK;
}

hd_status hd_host_plan_run(hd_host *h, hd_host_plan *p, hd_frame *parent, hd_nd *in, int n_in, hd_nd *out, hd_err *err) {
    hd_frame f = {parent, calloc((size_t)p->n_names + 1, sizeof *f.value)};
    hd_status status = f.value ? HD_OK : hd_fail(err, HD_NOMEM, "%s: out of memory", h->label);
    if (status == HD_OK && n_in != p->n_inputs)
        status = hd_fail(err, HD_MISMATCH, "%s: graph '%s' has %d inputs; the operator it belongs to gives it %d", h->label, p->graph->name ? p->graph->name : "", p->n_inputs, n_in);
    for (int k = 0; k < n_in; k++) {
        if (status == HD_OK) f.value[p->input[k]] = in[k];
        else hd_nd_free(&in[k]);
        in[k] = (hd_nd){0};
    }
    for (int k = 0; status == HD_OK && k < p->n_nodes; k++)
        if (p->step[k].node->n_output && (p->step[k].out[0] < 0 || p->constant[p->step[k].out[0]].kind == HD_ND_NONE)) status = run_step(h, p, &f, k, err);
    for (size_t k = 0; status == HD_OK && k < p->graph->n_output; k++) {
        const hd_nd *v = value_at(p, &f, hd_host_plan_find(p, p->graph->output[k]->name));
        if (!v) status = hd_fail(err, HD_FORMAT, "%s: output '%s' has no value", h->label, p->graph->output[k]->name);
        else out[k] = hd_nd_share(v);
    }
    if (status != HD_OK)
        for (size_t k = 0; k < p->graph->n_output; k++) hd_nd_free(&out[k]);
    for (int k = 0; f.value && k < p->n_names; k++) hd_nd_free(&f.value[k]);
    free(f.value);
    return status;
}

int hd_body_outputs(const hd_call *c, const char *name) {
    const Onnx__AttributeProto *a = hd_attribute(c, name);
    return a ? (int)a->g->n_output : 0;
}

hd_status hd_call_body(hd_call *c, const char *name, hd_nd *in, int n_in, hd_nd *out, int n_out) {
    const Onnx__AttributeProto *a = hd_attribute(c, name);
    hd_status status = a ? HD_OK : hd_call_fail(c, HD_FORMAT, "has no attribute '%s'", name);
    if (status == HD_OK && (size_t)n_out != a->g->n_output) status = hd_call_fail(c, HD_MISMATCH, "the graph '%s' has %zu outputs; %d are expected", name, a->g->n_output, n_out);
    hd_host_plan *body = NULL;
    for (int k = 0; status == HD_OK && !body; k++)
        if (c->plan->body[k].graph == a->g) body = &c->plan->body[k];
    if (status == HD_OK) status = hd_beside(c, NODE); /* a body may have no nodes */
    if (status == HD_OK) return hd_host_plan_run(c->host, body, c->frame, in, n_in, out, c->err);
    for (int k = 0; k < n_in; k++) hd_nd_free(&in[k]);
    return status;
}

static hd_host_port port(const Onnx__ValueInfoProto *v) {
    hd_host_port p = {.name = v->name ? v->name : "", .rank = -1};
    if (!v->type || v->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || !v->type->tensor_type) return p;
    const Onnx__TypeProto__Tensor *t = v->type->tensor_type;
    p.type = hd_type_size((hd_type)t->elem_type) ? (hd_type)t->elem_type : HD_TYPE_NONE;
    if (!t->shape || t->shape->n_dim > HD_ND_MAX_RANK) return p;
    p.rank = (int)t->shape->n_dim;
    for (int k = 0; k < p.rank; k++) {
        const Onnx__TensorShapeProto__Dimension *d = t->shape->dim[k];
        p.dim[k] = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && d->dim_value >= 0 ? d->dim_value : -1;
    }
    return p;
}

static hd_status prepare(hd_host *h, hd_err *err) {
    const Onnx__ModelProto *m = h->model;
    if (!m->graph) return hd_fail(err, HD_FORMAT, "%s: holds no ONNX graph", h->label);
    for (size_t k = 0; k < m->n_opset_import; k++) {
        const char *domain = m->opset_import[k]->domain;
        if ((!domain || !domain[0] || strcmp(domain, "ai.onnx") == 0) && m->opset_import[k]->version > h->opset) h->opset = m->opset_import[k]->version;
    }
    if (h->opset < 1) return hd_fail(err, HD_FORMAT, "%s: names no version of the ONNX operator set", h->label);
    hd_status status = hd_host_plan_new(&h->plan, h, m->graph, NULL, 0, err);
    if (status != HD_OK) return status;
    h->input = calloc((size_t)h->plan.n_inputs + 1, sizeof *h->input);
    h->output = calloc(m->graph->n_output + 1, sizeof *h->output);
    if (!h->input || !h->output) return hd_fail(err, HD_NOMEM, "%s: out of memory", h->label);
    for (size_t k = 0; k < m->graph->n_input; k++)
        if (h->n_inputs < h->plan.n_inputs && strcmp(h->plan.name[h->plan.input[h->n_inputs]], m->graph->input[k]->name ? m->graph->input[k]->name : "") == 0)
            h->input[h->n_inputs++] = port(m->graph->input[k]);
    for (size_t k = 0; k < m->graph->n_output; k++) h->output[h->n_outputs++] = port(m->graph->output[k]);
    return HD_OK;
}

/* Of a file when data is NULL. */
static hd_status load(hd_host **out, const uint8_t *data, size_t size, const char *label, hd_err *err) {
    *out = NULL;
    hd_host *h = calloc(1, sizeof *h);
    char *name = malloc(strlen(label) + 1);
    hd_status status = h && name ? HD_OK : hd_fail(err, HD_NOMEM, "%s: out of memory", label);
    if (status == HD_OK) {
        h->label = strcpy(name, label);
        name = NULL;
        h->limits = (hd_host_limits){(size_t)1 << 31, 1e14};
        status = data ? hd_onnx_parse(&h->model, data, size, label, err) : hd_onnx_read_file(&h->model, label, &size, err);
    }
    if (status == HD_OK) status = prepare(h, err);
    free(name);
    if (status == HD_OK) *out = h;
    else hd_host_free(h);
    return status;
}

hd_status hd_host_load_memory(hd_host **out, const uint8_t *data, size_t size, const char *label, hd_err *err) { return load(out, data ? data : (const uint8_t *)"", size, label, err); }

hd_status hd_host_load(hd_host **out, const char *path, hd_err *err) { return load(out, NULL, 0, path, err); }

void hd_host_free(hd_host *h) {
    if (!h) return;
    hd_host_plan_free(&h->plan);
    if (h->model) onnx__model_proto__free_unpacked(h->model, NULL);
    free(h->input);
    free(h->output);
    free(h->label);
    free(h);
}

void hd_host_set_limits(hd_host *h, hd_host_limits limits) { h->limits = limits; }
void hd_host_set_watch(hd_host *h, hd_host_watch *watch, void *context) { h->watch = watch, h->watch_context = context; }
int hd_host_n_inputs(const hd_host *h) { return h->n_inputs; }
int hd_host_n_outputs(const hd_host *h) { return h->n_outputs; }
const hd_host_port *hd_host_input(const hd_host *h, int k) { return &h->input[k]; }
const hd_host_port *hd_host_output(const hd_host *h, int k) { return &h->output[k]; }

hd_status hd_host_run(hd_host *h, const hd_nd *in, hd_nd *out, double *operations, hd_err *err) {
    hd_nd *lent = calloc((size_t)h->n_inputs + 1, sizeof *lent);
    for (int k = 0; k < h->n_outputs; k++) out[k] = (hd_nd){0};
    h->operations = 0;
    h->beside = NODE; /* the graph itself */
    hd_status status = lent ? HD_OK : hd_fail(err, HD_NOMEM, "%s: out of memory", h->label);
    for (int k = 0; status == HD_OK && k < h->n_inputs; k++) {
        if (in[k].kind == HD_ND_NONE) status = hd_fail(err, HD_MISMATCH, "%s: input '%s' is not given", h->label, h->input[k].name);
        lent[k] = hd_nd_share(&in[k]);
    }
    if (status == HD_OK) status = hd_host_plan_run(h, &h->plan, NULL, lent, h->n_inputs, out, err);
    for (int k = 0; lent && k < h->n_inputs; k++) hd_nd_free(&lent[k]);
    free(lent);
    if (operations) *operations = h->operations;
    return status;
}
