/* ONNX's own operator tests (Debian's libonnx-testdata) through the importer and the reference executor.
 *
 * The files are rewritten for what heddle reads: inputs after the first become initializers, and a batch of N becomes N
 * runs. A model is either refused with a message or computes what the file says; wrong values are never allowed. */
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../compiler/import/import.h"
#include "../../sw/core/file.h"
#include "onnx.pb-c.h"

static const char *const claimed[] = {
    "Abs", "Add", "AveragePool", "BatchNormalization", "Clip", "Constant", "Conv", "Div", "Dropout", "Elu", "Exp", "Flatten", "Gemm",
    "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "MatMul", "MaxPool", "Mul", "Neg", "PRelu",
    "ReduceMean", "Relu", "Reshape", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Squeeze", "Sub", "Tanh", "Unsqueeze", "Transpose",
};
enum { N_CLAIMED = sizeof claimed / sizeof *claimed };

static struct tally {
    int passed, refused, failed, outside;
    int passes_of[N_CLAIMED];
} tally;

static int claimed_index(const char *type) {
    for (int k = 0; k < N_CLAIMED; k++)
        if (strcmp(type, claimed[k]) == 0) return k;
    return -1;
}

static uint8_t *slurp(const char *dir, const char *name, size_t *size) {
    char path[4096];
    uint8_t *data = NULL;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return hd_file_read(&data, size, path, (size_t)1 << 28, 0, NULL) == HD_OK ? data : NULL;
}

static Onnx__TensorProto *read_tensor(const char *dir, const char *kind, size_t index) {
    char name[64];
    size_t size;
    snprintf(name, sizeof name, "test_data_set_0/%s_%zu.pb", kind, index);
    uint8_t *data = slurp(dir, name, &size);
    Onnx__TensorProto *t = data ? onnx__tensor_proto__unpack(NULL, size, data) : NULL;
    free(data);
    return t;
}

/* Floats of a float tensor, NULL for other types. */
static float *floats(const Onnx__TensorProto *t, size_t *count) {
    if (!t || t->data_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT) return NULL;
    *count = t->has_raw_data ? t->raw_data.len / 4 : t->n_float_data;
    float *v = malloc((*count + 1) * sizeof *v);
    assert_non_null(v);
    if (*count) memcpy(v, t->has_raw_data ? (const void *)t->raw_data.data : (const void *)t->float_data, *count * 4);
    return v;
}

static char *copy(const char *s) {
    char *c = malloc(strlen(s) + 1);
    assert_non_null(c);
    return strcpy(c, s);
}

/* Makes input `name` of the graph an initializer with the values of t, which it takes over. */
static void bind(Onnx__GraphProto *g, const char *name, Onnx__TensorProto *t) {
    free(t->name);
    t->name = copy(name);
    g->initializer = realloc(g->initializer, (g->n_initializer + 1) * sizeof *g->initializer);
    assert_non_null(g->initializer);
    g->initializer[g->n_initializer++] = t;
}

static int is_initializer(const Onnx__GraphProto *g, const char *name) {
    for (size_t k = 0; k < g->n_initializer; k++)
        if (strcmp(g->initializer[k]->name, name) == 0) return 1;
    return 0;
}

/* Batch 1 in front: 1 replaces the first of two or more sizes; a vector becomes one row. Returns the batch there was. */
static size_t set_batch(Onnx__ValueInfoProto *v) {
    Onnx__TensorShapeProto *s = v->type->tensor_type->shape;
    if (s->n_dim >= 2) {
        if (s->dim[0]->value_case != ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE) return 1;
        size_t batch = (size_t)s->dim[0]->dim_value;
        s->dim[0]->dim_value = 1;
        return batch;
    }
    s->dim = realloc(s->dim, 2 * sizeof *s->dim);
    assert_non_null(s->dim);
    s->dim[1] = s->dim[0];
    s->dim[0] = malloc(sizeof **s->dim);
    assert_non_null(s->dim[0]);
    onnx__tensor_shape_proto__dimension__init(s->dim[0]);
    s->dim[0]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    s->dim[0]->dim_value = 1;
    s->n_dim = 2;
    return 1;
}

/* Largest difference over what the tolerance allows (the tolerances of ONNX's own runner). */
static double run(const hd_graph *g, const float *in, const float *want, size_t in_count, size_t out_count, size_t batch) {
    hd_exec *e;
    hd_err err = {0};
    if (hd_exec_new(&e, g, &err) != HD_OK) fail_msg("%s", err.message);
    size_t in_size = hd_shape_size(g->tensor[g->input].shape), out_size = hd_shape_size(g->tensor[g->output].shape);
    double worst = in_size * batch == in_count && out_size * batch == out_count ? 0 : INFINITY;
    for (size_t b = 0; worst < INFINITY && b < batch; b++) {
        hd_exec_run(e, in + b * in_size);
        const float *got = hd_exec_tensor(e, g->output);
        for (size_t k = 0; k < out_size; k++) {
            double w = (double)want[b * out_size + k], d = fabs((double)got[k] - w) / (1e-6 + 1e-4 * fabs(w));
            if (!(d <= worst)) worst = isnan(d) ? (isnan(w) && isnan(got[k]) ? worst : INFINITY) : d;
        }
    }
    hd_exec_free(e);
    return worst;
}

static void one_model(const char *dir, const char *name) {
    size_t size, in_count = 0, out_count = 0, batch = 1;
    uint8_t *data = slurp(dir, "model.onnx", &size);
    Onnx__ModelProto *m = data ? onnx__model_proto__unpack(NULL, size, data) : NULL;
    free(data);
    if (!m) return;
    Onnx__GraphProto *g = m->graph;
    int inside = g->n_node > 0 && g->n_output == 1;
    for (size_t k = 0; k < g->n_node; k++) inside &= claimed_index(g->node[k]->op_type) >= 0;
    Onnx__TensorProto *first = NULL, *result = read_tensor(dir, "output", 0);
    size_t kept = 0, file = 0;
    for (size_t k = 0; inside && k < g->n_input; k++) {
        if (is_initializer(g, g->input[k]->name)) continue;
        Onnx__TensorProto *t = read_tensor(dir, "input", file++);
        if (!t) inside = 0;
        else if (!first) first = t, kept = k;
        else bind(g, g->input[k]->name, t);
    }
    float *in = floats(first, &in_count), *want = floats(result, &out_count);
    size_t rank = first ? first->n_dims : 0;
    const Onnx__TypeProto *type = inside && first ? g->input[kept]->type : NULL;
    int is_tensor = type && type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE && type->tensor_type->shape && type->tensor_type->shape->n_dim == rank;
    if (!is_tensor || !in || !want || rank < 1 || rank > 4) {
        tally.outside++;
    } else {
        /* The other inputs are initializers now. */
        Onnx__ValueInfoProto *keep = g->input[kept];
        g->input[kept] = g->input[0];
        g->input[0] = keep;
        for (size_t k = 1; k < g->n_input; k++) onnx__value_info_proto__free_unpacked(g->input[k], NULL);
        g->n_input = 1;
        batch = set_batch(keep);
        /* Many files keep the first operator set their operator is in. What changed up to 7 were attributes, and those the
         * importer refuses by name. */
        for (size_t k = 0; k < m->n_opset_import; k++)
            if (m->opset_import[k]->version < 7) m->opset_import[k]->version = 7;
        size_t packed = onnx__model_proto__get_packed_size(m);
        uint8_t *bytes = malloc(packed);
        assert_non_null(bytes);
        onnx__model_proto__pack(m, bytes);
        hd_graph *graph;
        hd_err err = {0};
        if (hd_import_onnx_memory(&graph, bytes, packed, name, &err) != HD_OK) {
            tally.refused++;
            if (getenv("HD_VERBOSE")) printf("refused  %s\n", err.message);
        } else {
            double worst = run(graph, in, want, in_count, out_count, batch);
            if (worst <= 1) {
                tally.passed++;
                for (size_t k = 0; k < g->n_node; k++) tally.passes_of[claimed_index(g->node[k]->op_type)]++;
            } else {
                tally.failed++;
                printf("WRONG    %s: %g times the tolerance\n", name, worst);
            }
            hd_graph_free(graph);
        }
        free(bytes);
    }
    free(in);
    free(want);
    if (first) onnx__tensor_proto__free_unpacked(first, NULL);
    if (result) onnx__tensor_proto__free_unpacked(result, NULL);
    onnx__model_proto__free_unpacked(m, NULL);
}

static int run_folder(const char *folder) {
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", ONNX_TESTDATA, folder);
    DIR *d = opendir(path);
    if (!d) return 0;
    for (struct dirent *f; (f = readdir(d));) {
        if (f->d_name[0] == '.') continue;
        char dir[3072];
        snprintf(dir, sizeof dir, "%s/%s", path, f->d_name);
        one_model(dir, f->d_name);
    }
    closedir(d);
    return 1;
}

static void test_models(void **state) {
    (void)state;
    printf("ONNX conformance: %d passed, %d refused with a message, %d wrong, %d use other operators or types\n", tally.passed, tally.refused, tally.failed, tally.outside);
    assert_int_equal(tally.failed, 0);
    assert_true(tally.passed >= 130);
}

static void test_each_operator(void **state) {
    (void)state;
    for (int k = 0; k < N_CLAIMED; k++)
        if (!tally.passes_of[k]) print_message("no conformance model of %s was run\n", claimed[k]);
}

int main(void) {
    int found = run_folder("node");
    found |= run_folder("pytorch-converted");
    found |= run_folder("pytorch-operator");
    found |= run_folder("simple");
    if (!found) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_models), cmocka_unit_test(test_each_operator)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
