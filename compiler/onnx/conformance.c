#include "conformance.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/file.h"
#include "host.h"
#include "proto.h"

static int table_index(const char *domain, const char *type) {
    int count;
    const hd_host_op *table = hd_host_operators(&count);
    if (domain && domain[0]) return -1;
    for (int k = 0; k < count; k++)
        if (strcmp(table[k].name, type) == 0) return k;
    return -1;
}

static const char *unclaimed(const Onnx__GraphProto *g) {
    for (size_t k = 0; k < g->n_node; k++) {
        if (table_index(g->node[k]->domain, g->node[k]->op_type) < 0) return g->node[k]->op_type;
        for (size_t j = 0; j < g->node[k]->n_attribute; j++) {
            const char *inner = g->node[k]->attribute[j]->g ? unclaimed(g->node[k]->attribute[j]->g) : NULL;
            if (inner) return inner;
        }
    }
    return NULL;
}

static void count_passes(const Onnx__GraphProto *g, int *passes_of) {
    for (size_t k = 0; k < g->n_node; k++) {
        passes_of[table_index(g->node[k]->domain, g->node[k]->op_type)]++;
        for (size_t j = 0; j < g->node[k]->n_attribute; j++)
            if (g->node[k]->attribute[j]->g) count_passes(g->node[k]->attribute[j]->g, passes_of);
    }
}

static uint8_t *slurp(const char *dir, const char *name, size_t *size) {
    char path[4096];
    uint8_t *data = NULL;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return hd_file_read(&data, size, path, (size_t)1 << 30, 0, NULL) == HD_OK ? data : NULL;
}

/* Next field of a message: its number, and the bytes of a field that has a length. 0 at the end. */
static int field(const uint8_t **p, const uint8_t *end, const uint8_t **bytes, size_t *n) {
    uint64_t v[2] = {0, 0};
    for (int k = 0; k < 2 && *p < end; k++)
        for (int shift = 0; *p < end && shift < 64; shift += 7) {
            v[k] |= (uint64_t)(**p & 127) << shift;
            if (!(*(*p)++ & 128)) break;
        }
    *bytes = *p;
    *n = (v[0] & 7) != 2 ? 0 : v[1] < (uint64_t)(end - *p) ? (size_t)v[1] : (size_t)(end - *p); /* a damaged file ends here */
    *p += *n;
    return (int)(v[0] >> 3);
}

/* SequenceProto: elem_type 2, tensor_values 3. */
static int read_list(hd_nd *v, const uint8_t *data, size_t size) {
    const uint8_t *bytes, *end = data + size;
    size_t n = 0, length;
    for (const uint8_t *p = data; p < end;) n += field(&p, end, &bytes, &length) == 3;
    if (hd_nd_new_list(v, HD_TYPE_NONE, n, NULL)) return 0;
    n = 0;
    for (const uint8_t *p = data; p < end;)
        if (field(&p, end, &bytes, &length) == 3) {
            if (hd_nd_parse((hd_nd *)v->data + n, bytes, length, "list", NULL)) return 0;
            v->type = ((hd_nd *)v->data)[n++].type;
        }
    return 1;
}

/* OptionalProto: tensor_value 3, sequence_value 5. */
static int read_optional(hd_nd *v, const uint8_t *data, size_t size) {
    const uint8_t *bytes, *end = data + size;
    size_t length;
    *v = (hd_nd){.kind = HD_ND_EMPTY};
    for (const uint8_t *p = data; p < end;) {
        int number = field(&p, end, &bytes, &length);
        if (number == 5) return read_list(v, bytes, length);
        if (number == 3) return hd_nd_parse(v, bytes, length, "optional", NULL) == HD_OK;
    }
    return 1;
}

/* File k of a kind ("input", "output"), by the type the graph declares. */
static int read_value(hd_nd *v, const char *dir, const char *kind, int k, const Onnx__ValueInfoProto *info) {
    char name[64];
    size_t size;
    snprintf(name, sizeof name, "%s_%d.pb", kind, k);
    uint8_t *data = slurp(dir, name, &size);
    if (!data) return 0;
    int found = 1;
    if (info->type && info->type->value_case == ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE) found = read_list(v, data, size);
    else if (info->type && info->type->value_case == ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE) found = read_optional(v, data, size);
    else {
        found = hd_nd_parse(v, data, size, name, NULL) == HD_OK;
        /* The files keep bfloat16 as what numpy had for it. */
        const Onnx__TypeProto *type = info->type;
        if (type && type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE && type->tensor_type->elem_type == HD_TYPE_BF16 && v->type == HD_TYPE_U16) v->type = HD_TYPE_BF16;
    }
    free(data);
    return found;
}

static int same(const hd_nd *got, const hd_nd *want, char *why, size_t room) {
    if (got->kind != want->kind || (got->type != want->type && got->kind == HD_ND_TENSOR) || got->count != want->count) {
        snprintf(why, room, "kind %d, type %s, %zu elements; kind %d, type %s, %zu are expected", (int)got->kind, hd_type_name((int)got->type), got->count, (int)want->kind, hd_type_name((int)want->type), want->count);
        return 0;
    }
    if (got->kind == HD_ND_LIST) {
        for (size_t k = 0; k < got->count; k++)
            if (!same((const hd_nd *)got->data + k, (const hd_nd *)want->data + k, why, room)) return 0;
        return 1;
    }
    if (got->kind != HD_ND_TENSOR) return 1;
    if (!hd_nd_same_shape(got, want)) {
        char a[HD_ND_SHAPE_TEXT], b[HD_ND_SHAPE_TEXT];
        snprintf(why, room, "shape %s; %s is expected", hd_nd_shape_text(a, got->rank, got->dim), hd_nd_shape_text(b, want->rank, want->dim));
        return 0;
    }
    if (got->type == HD_TYPE_STRING) {
        for (size_t k = 0; k < got->count; k++)
            if (strcmp(((char **)got->data)[k], ((char **)want->data)[k])) {
                snprintf(why, room, "element %zu: '%s'; '%s' is expected", k, ((char **)got->data)[k], ((char **)want->data)[k]);
                return 0;
            }
        return 1;
    }
    if (!hd_type_is_float(got->type)) {
        if (got->count == 0 || memcmp(got->data, want->data, got->count * hd_type_size(got->type)) == 0) return 1;
        snprintf(why, room, "integers differ");
        return 0;
    }
    hd_nd a = {0}, b = {0};
    int equal = !hd_nd_cast(&a, got, HD_TYPE_F64, NULL) && !hd_nd_cast(&b, want, HD_TYPE_F64, NULL);
    if (!equal) snprintf(why, room, "no memory");
    for (size_t k = 0; equal && k < a.count; k++) {
        double u = ((double *)a.data)[k], w = ((double *)b.data)[k];
        equal = u == w || (isnan(u) && isnan(w)) || fabs(u - w) <= 1e-7 + 1e-3 * fabs(w);
        if (!equal) snprintf(why, room, "element %zu: %.9g; %.9g is expected", k, u, w);
    }
    hd_nd_free(&a);
    hd_nd_free(&b);
    return equal;
}

static int one_set(hd_host *h, const char *dir, const Onnx__GraphProto *g, char *why, size_t room) {
    hd_nd in[64] = {0}, out[64] = {0};
    hd_err err = {0};
    int n_in = hd_host_n_inputs(h), n_out = hd_host_n_outputs(h), passed = 1;
    if (n_in > 64 || n_out > 64) {
        snprintf(why, room, "%d inputs and %d outputs; at most 64 of each are run", n_in, n_out);
        return 0;
    }
    for (int k = 0; k < n_in; k++) {
        const Onnx__ValueInfoProto *info = NULL;
        for (size_t j = 0; j < g->n_input; j++)
            if (strcmp(g->input[j]->name, hd_host_input(h, k)->name) == 0) info = g->input[j];
        if (!info || !read_value(&in[k], dir, "input", k, info)) passed = 0, snprintf(why, room, "no value for input %d", k);
    }
    if (passed && hd_host_run(h, in, out, NULL, &err) != HD_OK) passed = 0, snprintf(why, room, "%s", err.message);
    for (int k = 0; passed && k < n_out; k++) {
        hd_nd want = {0};
        if (!read_value(&want, dir, "output", k, g->output[k])) passed = 0, snprintf(why, room, "no value for output %d", k);
        else passed = same(&out[k], &want, why, room);
        hd_nd_free(&want);
    }
    for (int k = 0; k < n_in; k++) hd_nd_free(&in[k]);
    for (int k = 0; k < n_out; k++) hd_nd_free(&out[k]);
    return passed;
}

static void one_model(hd_conformance *t, const char *dir, const char *name, int *passes_of, FILE *log) {
    size_t size;
    uint8_t *data = slurp(dir, "model.onnx", &size);
    if (!data) return;
    Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, size, data);
    t->models++;
    const char *missing = !m ? "no model" : !m->graph ? "no graph" : unclaimed(m->graph);
    if (missing) {
        if (log) fprintf(log, "outside  %s: %s\n", name, missing);
    } else {
        char why[1024] = "no data set", set[4200];
        hd_host *h;
        hd_err err = {0};
        int passed = 0;
        t->applicable++;
        if (hd_host_load_memory(&h, data, size, name, &err) != HD_OK) snprintf(why, sizeof why, "%s", err.message);
        else {
            for (int k = 0; k < 100; k++) {
                snprintf(set, sizeof set, "%s/test_data_set_%d", dir, k);
                DIR *d = opendir(set);
                if (!d) break;
                closedir(d);
                passed = one_set(h, set, m->graph, why, sizeof why);
                if (!passed) break;
            }
            hd_host_free(h);
        }
        t->passed += passed;
        if (passed && passes_of) count_passes(m->graph, passes_of);
        else if (log) fprintf(log, "FAILED   %s: %s\n", name, why);
    }
    if (m) onnx__model_proto__free_unpacked(m, NULL);
    free(data);
}

hd_status hd_onnx_conformance(hd_conformance *t, const char *folder, int *passes_of, FILE *log, hd_err *err) {
    DIR *d = opendir(folder);
    if (!d) return hd_fail(err, HD_IO, "%s: no such folder of ONNX's tests (Debian package libonnx-testdata)", folder);
    *t = (hd_conformance){0};
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        char dir[3072];
        snprintf(dir, sizeof dir, "%.2500s/%.255s", folder, e->d_name);
        one_model(t, dir, e->d_name, passes_of, log);
    }
    closedir(d);
    return HD_OK;
}
