/* Parts as files: docs/formats.md section 8. */
#include <stdlib.h>
#include <string.h>

#include "../../sw/contract/contract.h"
#include "parts.h"

enum { MAX_VALUES = 1 << 20 };

static void put_blob(hd_writer *w, const void *data, size_t n) {
    hd_put_u32(w, (uint32_t)n);
    hd_put_bytes(w, data, n);
}

static void put_list(hd_writer *w, const int *list, int n) {
    hd_put_u32(w, (uint32_t)n);
    for (int k = 0; k < n; k++) hd_put_u32(w, (uint32_t)list[k]);
}

static hd_status put_part(hd_writer *w, const hd_part *part, int programs, hd_err *err) {
    hd_put_u8(w, (uint8_t)part->kind);
    hd_put_string(w, part->name);
    put_list(w, part->in, part->n_in);
    put_list(w, part->out, part->n_out);
    if (part->kind == HD_PART_HOST) {
        put_blob(w, part->onnx.data, part->onnx.size);
        return HD_OK;
    }
    hd_writer inner = {0};
    hd_status s = programs ? hd_program_write(&inner, part->program, err) : hd_model_write(&inner, part->model, err);
    if (s == HD_OK && inner.failed) s = hd_fail(err, HD_NOMEM, "out of memory");
    if (s == HD_OK) put_blob(w, inner.data, inner.size);
    hd_writer_free(&inner);
    return s;
}

hd_status hd_parts_save(const hd_parts *p, int programs, const char *path, hd_err *err) {
    hd_writer w = {0};
    hd_status s = HD_OK;
    hd_put_u32(&w, programs ? HD_HDP_VERSION : HD_HDM_VERSION);
    hd_put_string(&w, p->name);
    hd_put_u32(&w, (uint32_t)p->n_values);
    for (int k = 0; k < p->n_values; k++) {
        hd_put_string(&w, p->value[k].name);
        hd_put_u8(&w, (uint8_t)p->value[k].type);
        hd_put_u8(&w, (uint8_t)p->value[k].rank);
        for (int j = 0; j < p->value[k].rank; j++) hd_put_u32(&w, (uint32_t)p->value[k].dim[j]);
    }
    put_list(&w, p->input, p->n_inputs);
    put_list(&w, p->output, p->n_outputs);
    hd_put_u32(&w, (uint32_t)p->n_parts);
    for (int k = 0; s == HD_OK && k < p->n_parts; k++) s = put_part(&w, &p->part[k], programs, err);
    hd_put_u32(&w, (uint32_t)p->n_nodes);
    for (int k = 0; k < p->n_nodes; k++) {
        hd_put_string(&w, p->node[k].name);
        hd_put_string(&w, p->node[k].op);
        hd_put_string(&w, p->node[k].why);
        hd_put_u32(&w, (uint32_t)p->node[k].part);
        hd_put_u64(&w, (uint64_t)p->node[k].operations);
    }
    if (s == HD_OK) s = hd_container_write(path, programs ? HD_HPP_MAGIC : HD_HPM_MAGIC, programs ? HD_HPP_VERSION : HD_HPM_VERSION, &w, err);
    hd_writer_free(&w);
    return s;
}

/* A number of things of at least `least` bytes each that are still to come. */
static int get_count(hd_reader *r, size_t least) {
    uint32_t n = hd_get_u32(r);
    if (r->failed || n > MAX_VALUES || n > (r->size - r->at) / least) r->failed = 1;
    return r->failed ? 0 : (int)n;
}

static int *get_list(hd_reader *r, int *n, int below) {
    *n = get_count(r, 4);
    int *list = malloc(((size_t)*n + 1) * sizeof *list);
    for (int k = 0; list && k < *n; k++) {
        uint32_t v = hd_get_u32(r);
        list[k] = (int)v;
        if (v >= (uint32_t)below) r->failed = 1, list[k] = 0;
    }
    if (!list) r->failed = 1, *n = 0;
    return list;
}

static hd_status get_part(hd_part *part, hd_reader *r, int index, int programs, int n_values, hd_err *err) {
    part->kind = (hd_part_kind)hd_get_u8(r);
    part->name = hd_get_string(r);
    part->in = get_list(r, &part->n_in, n_values);
    part->out = get_list(r, &part->n_out, n_values);
    uint32_t size = hd_get_u32(r);
    const uint8_t *bytes = hd_get_bytes(r, size);
    if (r->failed || !part->name) return hd_fail(err, HD_FORMAT, "part %d: the file ends within it, its name is broken, or it names a value from %d up; there are %d", index, n_values, n_values);
    if (part->kind == HD_PART_HOST) {
        hd_put_bytes(&part->onnx, bytes, size);
        hd_status s = part->onnx.failed ? hd_fail(err, HD_NOMEM, "out of memory") : hd_host_load_memory(&part->host, bytes, size, part->name, err);
        if (s != HD_OK) return s;
        int n_in = hd_host_n_inputs(part->host), n_out = hd_host_n_outputs(part->host);
        if (n_in != part->n_in || n_out != part->n_out)
            return hd_fail(err, HD_FORMAT, "part '%s': its model has %d inputs and %d outputs; %d and %d are expected", part->name, n_in, n_out, part->n_in, part->n_out);
        return HD_OK;
    }
    if (part->kind != HD_PART_ARRAY) return hd_fail(err, HD_FORMAT, "part '%s': kind %d; allowed are %d (host) and %d (array)", part->name, (int)part->kind, HD_PART_HOST, HD_PART_ARRAY);
    if (part->n_in != 1 || part->n_out != 1) return hd_fail(err, HD_FORMAT, "part '%s': %d inputs and %d outputs; a part of the array has one of each", part->name, part->n_in, part->n_out);
    hd_reader inner = {.data = bytes, .size = size};
    return programs ? hd_program_read(&part->program, &inner, part->name, err) : hd_model_read(&part->model, &inner, part->name, err);
}

static hd_status get_values(hd_parts *p, hd_reader *r, hd_err *err) {
    p->n_values = get_count(r, 4);
    if (r->failed) return hd_fail(err, HD_FORMAT, "the file ends within its values");
    p->value = calloc((size_t)p->n_values + 1, sizeof *p->value);
    if (!p->value) return hd_fail(err, HD_NOMEM, "out of memory");
    for (int k = 0; k < p->n_values && !r->failed; k++) {
        hd_parts_value *v = &p->value[k];
        v->name = hd_get_string(r);
        v->type = (hd_type)hd_get_u8(r);
        v->rank = hd_get_u8(r);
        if (r->failed || !v->name) return hd_fail(err, HD_FORMAT, "value %d: the file ends within it, or its name is broken", k);
        if (v->rank > HD_ND_MAX_RANK) return hd_fail(err, HD_FORMAT, "value '%s': %d dimensions; at most %d are allowed", v->name, v->rank, HD_ND_MAX_RANK);
        for (int j = 0; j < v->rank; j++) v->dim[j] = (int64_t)hd_get_u32(r);
    }
    return HD_OK;
}

/* A value that an array part takes or gives has the size of its model's or program's port. */
static hd_status check_port(const hd_parts *p, const hd_part *part, int output, hd_err *err) {
    const hd_parts_value *v = &p->value[output ? part->out[0] : part->in[0]];
    size_t count, want;
    if (part->model) {
        const hd_qtensor *t = &part->model->tensor[output ? part->model->output : part->model->input];
        want = (size_t)t->h * (size_t)t->w * (size_t)t->c;
    } else {
        const hd_port *t = output ? &part->program->output : &part->program->input;
        want = (size_t)t->h * t->w * t->c;
    }
    if (hd_nd_count(&count, v->rank, v->dim, SIZE_MAX) && count == want && v->type == HD_TYPE_F32) return HD_OK;
    char text[HD_ND_SHAPE_TEXT];
    return hd_fail(err, HD_FORMAT, "part '%s' %s %zu codes; value '%s' is %s, of type %s, and must have as many elements, of type float", part->name, output ? "gives" : "takes", want, v->name,
                   hd_nd_shape_text(text, v->rank, v->dim), hd_type_name(v->type));
}

/* Every value that is read has to be an input or a result of an earlier part. */
static hd_status check(const hd_parts *p, hd_err *err) {
    char *known = calloc((size_t)p->n_values + 1, 1);
    hd_status s = known ? HD_OK : hd_fail(err, HD_NOMEM, "out of memory");
    if (s == HD_OK && (!p->n_inputs || !p->n_outputs)) s = hd_fail(err, HD_FORMAT, "%d inputs and %d outputs; a network has at least one of each", p->n_inputs, p->n_outputs);
    for (int k = 0; s == HD_OK && k < p->n_inputs; k++) known[p->input[k]] = 1;
    for (int k = 0; s == HD_OK && k < p->n_parts; k++) {
        const hd_part *part = &p->part[k];
        for (int j = 0; j < part->n_in; j++)
            if (!known[part->in[j]]) s = hd_fail(err, HD_FORMAT, "part '%s' reads value '%s' before it is there", part->name, p->value[part->in[j]].name);
        for (int j = 0; j < part->n_out; j++) known[part->out[j]] = 1;
        for (int j = 0; s == HD_OK && part->kind == HD_PART_ARRAY && j < 2; j++) s = check_port(p, part, j, err);
    }
    for (int k = 0; s == HD_OK && k < p->n_outputs; k++)
        if (!known[p->output[k]]) s = hd_fail(err, HD_FORMAT, "no part gives output '%s'", p->value[p->output[k]].name);
    free(known);
    return s;
}

static hd_status get_parts(hd_parts *p, hd_reader *r, int programs, hd_err *err) {
    uint32_t version = hd_get_u32(r), want = programs ? HD_HDP_VERSION : HD_HDM_VERSION;
    if (version != want) return hd_fail(err, HD_UNSUPPORTED, "its parts are of version %u; this program reads %u", version, want);
    p->name = hd_get_string(r);
    hd_status s = get_values(p, r, err);
    if (s != HD_OK) return s;
    p->input = get_list(r, &p->n_inputs, p->n_values);
    p->output = get_list(r, &p->n_outputs, p->n_values);
    int n = get_count(r, 16);
    if (r->failed || !p->name) return hd_fail(err, HD_FORMAT, "the file ends before its parts, or its inputs or outputs are from value %d up; there are %d", p->n_values, p->n_values);
    p->part = calloc((size_t)n + 1, sizeof *p->part);
    if (!p->part) return hd_fail(err, HD_NOMEM, "out of memory");
    for (int k = 0; s == HD_OK && k < n; k++) {
        p->n_parts++;
        s = get_part(&p->part[k], r, k, programs, p->n_values, err);
    }
    if (s != HD_OK) return s;
    n = get_count(r, 18);
    p->node = calloc((size_t)n + 1, sizeof *p->node);
    if (!p->node) return hd_fail(err, HD_NOMEM, "out of memory");
    for (int k = 0; k < n && !r->failed; k++) {
        hd_parts_node *row = &p->node[p->n_nodes++];
        row->name = hd_get_string(r);
        row->op = hd_get_string(r);
        row->why = hd_get_string(r);
        uint32_t part = hd_get_u32(r);
        row->part = (int)part;
        row->operations = (double)hd_get_u64(r);
        if (part >= (uint32_t)p->n_parts || !row->name || !row->op || !row->why)
            return hd_fail(err, HD_FORMAT, "row %d of the report: the file ends within it, or it is of part %u; there are %d", k, part, p->n_parts);
    }
    if (r->failed || r->at != r->size) return hd_fail(err, HD_FORMAT, "the file ends within its parts, or behind them");
    return check(p, err);
}

hd_status hd_parts_load(hd_parts **out, int programs, const char *path, hd_err *err) {
    uint8_t *buffer = NULL;
    hd_reader r;
    *out = NULL;
    hd_status s = hd_container_read(&buffer, &r, path, programs ? HD_HPP_MAGIC : HD_HPM_MAGIC, programs ? HD_HPP_VERSION : HD_HPM_VERSION, err);
    if (s != HD_OK) return s;
    hd_parts *p = calloc(1, sizeof *p);
    s = p ? get_parts(p, &r, programs, err) : hd_fail(err, HD_NOMEM, "out of memory");
    if (s != HD_OK) {
        hd_fail_in(err, path);
        hd_parts_free(p);
    } else *out = p;
    free(buffer);
    return s;
}
