/* compress and compile of networks that the array runs in parts; run_parts.c runs them. */
#include "parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/passes.h"
#include "../../compiler/import/import.h"
#include "../core/progress.h"
#include "../explore/measure.h"

static const size_t calibration_limit = (size_t)1 << 29;

hd_status cli_parts_cut(hd_parts **parts, hd_graph **graph, const cli_args *a, hd_err *err) {
    hd_cut_options o = {cli_text(a, "--shape"), cli_text(a, "--fix")};
    hd_status s = hd_parts_cut(parts, a->operand, &o, err);
    *graph = NULL;
    if (s || hd_parts_count(*parts, HD_PART_ARRAY) != 1 || hd_parts_count(*parts, HD_PART_HOST)) return s;
    s = hd_parts_graph(graph, *parts, 0, err);
    hd_parts_free(*parts);
    *parts = NULL;
    return s;
}

typedef struct calibration {
    hd_parts *p;
    hd_idx **seen; /* [part] inputs of array parts; others NULL */
    uint32_t at;
} calibration;

static hd_status record(void *context, int k, const hd_nd *in, hd_nd *out, hd_err *err) {
    calibration *c = context;
    hd_idx *x = c->seen[k];
    if (in->count != x->item) return hd_fail(err, HD_MISMATCH, "part '%s': an input of %zu elements; %zu are expected", c->p->part[k].name, in->count, x->item);
    memcpy((float *)x->data + c->at * x->item, in->data, x->item * sizeof(float));
    return hd_parts_float(c->p, k, in, out, err);
}

/* Item n as the network's input: u8 through 255 unless --raw. */
static hd_status item(hd_nd *v, const cli_args *a, const hd_idx *x, uint32_t n, const hd_parts_value *in, hd_err *err) {
    hd_status s = hd_nd_new(v, HD_TYPE_F32, in->rank, in->dim, (size_t)1 << 31, err);
    if (!s && v->count != x->item) {
        hd_nd_free(v);
        s = hd_fail(err, HD_MISMATCH, "items of %zu elements; input '%s' has %zu", x->item, in->name, v->count);
    }
    if (!s) hd_idx_item(x, n, !cli_flag(a, "--raw"), v->data);
    return s;
}

hd_status cli_parts_item(hd_nd *v, const cli_args *a, const hd_parts *p, const hd_idx *x, uint32_t n, hd_err *err) {
    if (p->n_inputs != 1 || p->value[p->input[0]].type != HD_TYPE_F32)
        return hd_fail(err, HD_UNSUPPORTED, "%s: %d inputs, the first of type %s; one of floats is supported (compress --fix gives the others a number)", a->operand, p->n_inputs, p->n_inputs ? hd_type_name((int)p->value[p->input[0]].type) : "none");
    return item(v, a, x, n, &p->value[p->input[0]], err);
}

static hd_status collect(calibration *c, const cli_args *a, hd_idx *x, uint32_t count, hd_err *err) {
    hd_parts *p = c->p;
    hd_progress progress;
    hd_status s = HD_OK;
    for (int k = 0; !s && k < p->n_parts; k++) {
        if (p->part[k].kind != HD_PART_ARRAY) continue;
        const hd_parts_value *v = &p->value[p->part[k].in[0]];
        hd_idx *seen = c->seen[k] = calloc(1, sizeof *seen);
        if (!seen) return hd_fail(err, HD_NOMEM, "out of memory");
        *seen = (hd_idx){.type = HD_IDX_F32, .rank = 4, .dim = {count, 1, 1, 1}, .item = 1};
        for (int j = 1; j < v->rank; j++) {
            seen->dim[j] = (uint32_t)v->dim[j];
            seen->item *= (size_t)v->dim[j];
        }
        seen->data = malloc((size_t)count * seen->item * sizeof(float) + 1);
        if (!seen->data) return hd_fail(err, HD_NOMEM, "no memory for %u inputs of part '%s'", count, p->part[k].name);
    }
    hd_progress_start(&progress, "calibrating", count);
    for (c->at = 0; !s && c->at < count; c->at++) {
        hd_nd in = {0}, *out = calloc((size_t)p->n_outputs + 1, sizeof *out);
        s = out ? cli_parts_item(&in, a, p, x, c->at, err) : hd_fail(err, HD_NOMEM, "out of memory");
        if (!s) s = hd_parts_run(p, &in, out, record, c, err);
        for (int k = 0; out && k < p->n_outputs; k++) hd_nd_free(&out[k]);
        free(out);
        hd_nd_free(&in);
        if (!s && hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
        hd_progress_show(&progress, c->at + 1, NULL);
    }
    hd_progress_end(&progress);
    return s;
}

static hd_status compress_part(hd_part *part, const hd_parts *p, int k, const hd_policy *policy, const hd_idx *seen, hd_err *err) {
    hd_graph *g = NULL, *rewritten = NULL;
    hd_policy own = {0};
    hd_status s = hd_parts_graph(&g, p, k, err);
    if (!s) s = hd_passes_run(&rewritten, &own, g, policy, seen, (int)seen->dim[0], 0, err);
    if (!s) s = hd_compress(&part->model, rewritten, &own, seen, (int)seen->dim[0], 0, err);
    hd_graph_free(rewritten);
    hd_graph_free(g);
    hd_policy_free(&own);
    return s;
}

static double host_operations(const hd_parts *p, int k) {
    double sum = 0;
    for (int j = 0; j < p->n_nodes; j++)
        if (p->node[j].part == k) sum += p->node[j].operations;
    return sum;
}

static hd_status print_parts(const cli_args *a, const hd_parts *p, uint32_t count, const char *out, hd_err *err) {
    size_t bytes = 0;
    cJSON *o = a->json ? cJSON_CreateObject() : NULL, *list = NULL;
    if (o) {
        cJSON_AddStringToObject(o, "model", p->name);
        cJSON_AddStringToObject(o, "output", out);
        cJSON_AddNumberToObject(o, "calibrated_on", count);
        list = cJSON_AddArrayToObject(o, "parts");
    } else printf("%-5s %-6s %-40s %6s %12s %10s\n", "part", "where", "first node", "nodes", "operations", "bytes");
    for (int k = 0; k < p->n_parts; k++) {
        const hd_part *part = &p->part[k];
        size_t stored = part->model ? hd_model_weight_bytes(part->model) : part->onnx.size;
        const char *where = part->kind == HD_PART_ARRAY ? "array" : "host";
        int nodes = 0;
        for (int j = 0; j < p->n_nodes; j++) nodes += p->node[j].part == k;
        if (part->model) bytes += stored;
        if (!o) {
            printf("%-5d %-6s %-40s %6d %12.3g %10zu\n", k, where, part->name, nodes, host_operations(p, k), stored);
            continue;
        }
        cJSON *e = cJSON_CreateObject();
        cJSON_AddStringToObject(e, "where", where);
        cJSON_AddStringToObject(e, "name", part->name);
        cJSON_AddNumberToObject(e, "nodes", nodes);
        cJSON_AddNumberToObject(e, "operations", host_operations(p, k));
        cJSON_AddNumberToObject(e, "bytes", (double)stored);
        cJSON_AddItemToArray(list, e);
    }
    if (o) {
        cJSON_AddNumberToObject(o, "array_bytes", (double)bytes);
        return cli_json(o, err);
    }
    printf("%s: %d parts for the array (%zu bytes), %d for the host; calibrated on %u inputs\n", out, hd_parts_count(p, HD_PART_ARRAY), bytes, hd_parts_count(p, HD_PART_HOST), count);
    return HD_OK;
}

hd_status cli_parts_compress(const cli_args *a, hd_parts *p, const hd_policy *policy, const char *calib, int64_t samples, const char *out, hd_err *err) {
    calibration c = {.p = p, .seen = calloc((size_t)p->n_parts + 1, sizeof *c.seen)};
    hd_idx *x = NULL;
    hd_status s = c.seen ? HD_OK : hd_fail(err, HD_NOMEM, "out of memory");
    uint32_t count = 0;
    if (!s && hd_parts_count(p, HD_PART_ARRAY)) {
        size_t each = 0;
        for (int k = 0; k < p->n_parts; k++) {
            size_t n = sizeof(float);
            for (int j = 0; j < p->value[p->part[k].in[0]].rank; j++) n *= (size_t)p->value[p->part[k].in[0]].dim[j];
            if (p->part[k].kind == HD_PART_ARRAY) each += n;
        }
        if (!calib) s = cli_need(&calib, a, "--calib", err);
        if (!s) s = hd_idx_load(&x, calib, err);
        if (!s && p->n_inputs == 1 && p->value[p->input[0]].rank == 4 && cli_flag(a, "--hwc")) {
            const int64_t *d = p->value[p->input[0]].dim;
            s = cli_hwc(a, x, calib, (int)d[1], (int)d[2], (int)d[3], err);
        }
        if (!s) {
            count = x->dim[0] < (uint32_t)samples ? x->dim[0] : (uint32_t)samples;
            if (count > calibration_limit / each) count = calibration_limit / each ? (uint32_t)(calibration_limit / each) : 1;
            s = collect(&c, a, x, count, err);
        }
        for (int k = 0; !s && k < p->n_parts; k++)
            if (p->part[k].kind == HD_PART_ARRAY && (s = compress_part(&p->part[k], p, k, policy, c.seen[k], err)) != HD_OK) hd_fail_in(err, p->part[k].name);
    }
    if (!s && hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
    if (!s) s = hd_parts_save(p, 0, out, err);
    if (!s) s = print_parts(a, p, count, out, err);
    for (int k = 0; c.seen && k < p->n_parts; k++)
        if (c.seen[k]) hd_idx_free(c.seen[k]);
    free(c.seen);
    if (x) hd_idx_free(x);
    return s;
}

/* Cycles of the layer that a node became; 0 for one that another layer took in. */
static uint64_t cycles_of(const hd_cost *c, const char *name) {
    for (uint32_t i = 0; c && i < c->n_layers; i++)
        if (!strcmp(c->layer[i].info->name, name)) return c->layer[i].cycles;
    return 0;
}

static hd_status print_report(const cli_args *a, const hd_parts *p, hd_cost *const *cost, const char *out, hd_err *err) {
    uint64_t cycles = 0;
    double operations = 0, moved = 0;
    cJSON *o = a->json ? cJSON_CreateObject() : NULL, *list = NULL;
    if (o) {
        cJSON_AddStringToObject(o, "model", p->name);
        cJSON_AddStringToObject(o, "output", out);
        list = cJSON_AddArrayToObject(o, "nodes");
    } else printf("%-36s %-20s %-9s %12s %12s  %s\n", "node", "operator", "where", "cycles", "host ops", "why");
    for (int k = 0; k < p->n_nodes; k++) {
        const hd_parts_node *n = &p->node[k];
        int array = p->part[n->part].kind == HD_PART_ARRAY;
        uint64_t own = array ? cycles_of(cost[n->part], n->name) : 0;
        char where[24], left[24] = "-", right[24] = "-";
        snprintf(where, sizeof where, "%s %d", array ? "array" : "host", n->part);
        if (own) snprintf(left, sizeof left, "%llu", (unsigned long long)own);
        if (!array) {
            operations += n->operations;
            snprintf(right, sizeof right, "%.0f", n->operations);
        }
        const char *why = !array ? n->why : own ? "a layer" : "in the layer before or behind it";
        if (!o) {
            printf("%-36s %-20s %-9s %12s %12s  %s\n", n->name, n->op, where, left, right, why);
            continue;
        }
        cJSON *e = cJSON_CreateObject();
        cJSON_AddStringToObject(e, "name", n->name);
        cJSON_AddStringToObject(e, "operator", n->op);
        cJSON_AddStringToObject(e, "where", array ? "array" : "host");
        cJSON_AddNumberToObject(e, "part", n->part);
        if (array) cJSON_AddNumberToObject(e, "cycles", (double)own);
        else cJSON_AddNumberToObject(e, "operations", n->operations);
        cJSON_AddStringToObject(e, "why", why);
        cJSON_AddItemToArray(list, e);
    }
    for (int k = 0; k < p->n_parts; k++) {
        if (!cost[k]) continue;
        const hd_program *q = p->part[k].program;
        cycles += cost[k]->cycles;
        moved += (double)q->input.h * q->input.w * q->input.c + (double)q->output.h * q->output.w * q->output.c;
    }
    if (o) {
        cJSON_AddNumberToObject(o, "array_parts", hd_parts_count(p, HD_PART_ARRAY));
        cJSON_AddNumberToObject(o, "host_parts", hd_parts_count(p, HD_PART_HOST));
        cJSON_AddNumberToObject(o, "cycles", (double)cycles);
        cJSON_AddNumberToObject(o, "host_operations", operations);
        cJSON_AddNumberToObject(o, "bytes_moved", moved);
        return cli_json(o, err);
    }
    printf("%s: %d parts on the array, %llu cycles (predicted) and %.0f bytes of inputs and outputs; %d on the host, %.3g operations\n", out, hd_parts_count(p, HD_PART_ARRAY),
           (unsigned long long)cycles, moved, hd_parts_count(p, HD_PART_HOST), operations);
    return HD_OK;
}

hd_status cli_parts_compile(const cli_args *a, const hd_geometry *g, const hd_lower_options *o, const char *out, hd_err *err) {
    hd_parts *p = NULL;
    hd_status s = hd_parts_load(&p, 0, a->operand, err);
    hd_cost **cost = s ? NULL : calloc((size_t)p->n_parts + 1, sizeof *cost);
    if (!s && !cost) s = hd_fail(err, HD_NOMEM, "out of memory");
    for (int k = 0; !s && k < p->n_parts; k++) {
        if (p->part[k].kind != HD_PART_ARRAY) continue;
        s = hd_lower(&p->part[k].program, p->part[k].model, g, o, err);
        if (!s) s = hd_cost_predict(&cost[k], p->part[k].program, err);
        if (s) hd_fail_in(err, p->part[k].name);
        if (!s && hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
    }
    if (!s) s = hd_parts_save(p, 1, out, err);
    if (!s) s = print_report(a, p, cost, out, err);
    for (int k = 0; cost && k < p->n_parts; k++) hd_cost_free(cost[k]);
    free(cost);
    hd_parts_free(p);
    return s;
}
