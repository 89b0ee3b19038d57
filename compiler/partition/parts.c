/* Parts in memory: freeing, graphs of array parts, and running all of them. */
#include "parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../import/import.h"

void hd_parts_free(hd_parts *p) {
    if (!p) return;
    for (int k = 0; p->value && k < p->n_values; k++) free(p->value[k].name);
    for (int k = 0; p->part && k < p->n_parts; k++) {
        hd_part *part = &p->part[k];
        free(part->name);
        free(part->in);
        free(part->out);
        hd_writer_free(&part->onnx);
        if (part->model) hd_model_free(part->model);
        if (part->program) hd_program_free(part->program);
        hd_host_free(part->host);
        hd_exec_free(part->exec);
        hd_graph_free(part->graph);
    }
    for (int k = 0; p->node && k < p->n_nodes; k++) {
        free(p->node[k].name);
        free(p->node[k].op);
        free(p->node[k].why);
    }
    free(p->name);
    free(p->value);
    free(p->input);
    free(p->output);
    free(p->part);
    free(p->node);
    free(p);
}

int hd_parts_count(const hd_parts *p, hd_part_kind kind) {
    int n = 0;
    for (int k = 0; k < p->n_parts; k++) n += p->part[k].kind == kind;
    return n;
}

hd_status hd_parts_graph(hd_graph **out, const hd_parts *p, int k, hd_err *err) {
    return hd_import_onnx_memory(out, p->part[k].onnx.data, p->part[k].onnx.size, p->part[k].name, err);
}

static hd_status run_host(hd_part *part, hd_nd *value, hd_err *err) {
    int n_in = part->n_in, n_out = part->n_out;
    hd_nd *in = calloc((size_t)n_in + 1, sizeof *in), *out = calloc((size_t)n_out + 1, sizeof *out);
    hd_status s = in && out ? HD_OK : hd_fail(err, HD_NOMEM, "out of memory");
    for (int k = 0; s == HD_OK && k < n_in; k++) in[k] = value[part->in[k]]; /* lent */
    if (s == HD_OK) s = hd_host_run(part->host, in, out, NULL, err);
    for (int k = 0; s == HD_OK && k < n_out; k++) {
        hd_nd_free(&value[part->out[k]]);
        value[part->out[k]] = out[k];
    }
    free(in);
    free(out);
    return s;
}

/* What a host part computes need not have the shape that the file says, or that it had when the network was cut. */
static hd_status check_input(const hd_parts *p, const hd_part *part, const hd_nd *in, hd_err *err) {
    const hd_parts_value *v = &p->value[part->in[0]];
    size_t want;
    if (in->kind == HD_ND_TENSOR && hd_nd_count(&want, v->rank, v->dim, SIZE_MAX) && in->count == want && in->type == HD_TYPE_F32) return HD_OK;
    char found[HD_ND_SHAPE_TEXT], expected[HD_ND_SHAPE_TEXT];
    return hd_fail(err, HD_MISMATCH, "part '%s': value '%s' is %s, of type %s; %s, of type float, is expected", part->name, v->name, hd_nd_shape_text(found, in->rank, in->dim), hd_type_name(in->type),
                   hd_nd_shape_text(expected, v->rank, v->dim));
}

hd_status hd_parts_run(hd_parts *p, const hd_nd *in, hd_nd *out, hd_parts_step *array, void *context, hd_err *err) {
    hd_nd *value = calloc((size_t)p->n_values + 1, sizeof *value);
    hd_status s = value ? HD_OK : hd_fail(err, HD_NOMEM, "out of memory");
    for (int k = 0; k < p->n_outputs; k++) out[k] = (hd_nd){0};
    for (int k = 0; s == HD_OK && k < p->n_inputs; k++) value[p->input[k]] = hd_nd_share(&in[k]);
    for (int k = 0; s == HD_OK && k < p->n_parts; k++) {
        hd_part *part = &p->part[k];
        if (part->kind == HD_PART_HOST) s = run_host(part, value, err);
        else {
            hd_nd made = {0};
            s = check_input(p, part, &value[part->in[0]], err);
            if (s == HD_OK) s = array(context, k, &value[part->in[0]], &made, err);
            hd_nd_free(&value[part->out[0]]);
            value[part->out[0]] = made;
        }
    }
    for (int k = 0; s == HD_OK && k < p->n_outputs; k++) out[k] = hd_nd_share(&value[p->output[k]]);
    for (int k = 0; value && k < p->n_values; k++) hd_nd_free(&value[k]);
    free(value);
    return s;
}

hd_status hd_parts_float(void *context, int k, const hd_nd *in, hd_nd *out, hd_err *err) {
    hd_parts *p = context;
    hd_part *part = &p->part[k];
    const hd_parts_value *v = &p->value[part->out[0]];
    hd_status s = part->graph ? HD_OK : hd_parts_graph(&part->graph, p, k, err);
    if (s == HD_OK && !part->exec) s = hd_exec_new(&part->exec, part->graph, err);
    if (s == HD_OK) s = hd_nd_new(out, HD_TYPE_F32, v->rank, v->dim, (size_t)1 << 31, err);
    if (s != HD_OK) return s;
    const hd_graph *g = part->graph;
    if (in->count != hd_shape_size(g->tensor[g->input].shape) || out->count != hd_shape_size(g->tensor[g->output].shape)) return hd_fail(err, HD_MISMATCH, "part '%s': values of other sizes than its graph's", part->name);
    hd_exec_run(part->exec, in->data);
    memcpy(out->data, hd_exec_tensor(part->exec, g->output), out->count * sizeof(float));
    return HD_OK;
}

void hd_parts_encode(int8_t *codes, const hd_nd *v, const hd_qtensor *t) { hd_quantize_input(t, v->data, codes); }

hd_status hd_parts_decode(hd_nd *out, const int8_t *codes, const hd_qtensor *t, const hd_parts_value *v, hd_err *err) {
    hd_status s = hd_nd_new(out, HD_TYPE_F32, v->rank, v->dim, (size_t)1 << 31, err);
    if (s != HD_OK) return s;
    size_t area = (size_t)t->h * (size_t)t->w;
    if (out->count != area * (size_t)t->c) {
        hd_nd_free(out);
        return hd_fail(err, HD_MISMATCH, "value '%s' has other sizes than the %d x %d x %d of the part that gives it", v->name, t->c, t->h, t->w);
    }
    for (size_t c = 0; c < (size_t)t->c; c++)
        for (size_t i = 0; i < area; i++) ((float *)out->data)[c * area + i] = t->scale * (float)(codes[i * (size_t)t->c + c] - t->zero);
    return HD_OK;
}
