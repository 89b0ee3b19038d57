/* Damaged models on the host executor: whatever bytes, operators, numbers and inputs of ONNX's own test models are changed, loading and running end with a result or a
 * message, within the limits. HD_FUZZ_ROUNDS (4) is the number of changes for each model. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../compiler/onnx/host.h"
#include "../../compiler/onnx/proto.h"
#include "../../sw/core/file.h"
#include "../../sw/core/rng.h"

static long models, loaded, ran, rounds = 4;
static hd_rng rng;

static void mutate(uint8_t *data, size_t size) {
    for (uint32_t n = 1 + hd_rng_below(&rng, 4); n-- > 0;) {
        size_t at = hd_rng_below(&rng, (uint32_t)size);
        switch (hd_rng_below(&rng, 4)) {
        case 0: data[at] ^= (uint8_t)(1u << hd_rng_below(&rng, 8)); break;
        case 1: data[at] = (uint8_t)hd_rng_below(&rng, 4); break;
        case 2: data[at] = (uint8_t)hd_rng_u32(&rng); break;
        default: memset(data + at, hd_rng_below(&rng, 2) ? 0xff : 0x7f, size - at < 6 ? size - at : 6); break;
        }
    }
}

static char *copy_text(const char *s) {
    char *c = malloc(strlen(s) + 1);
    assert_non_null(c);
    return strcpy(c, s);
}

static int64_t odd_number(void) {
    static const int64_t list[] = {0, 1, -1, 2, -2, 3, 5, 7, 64, -64, 1000, 65536, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, (int64_t)1 << 33};
    return list[hd_rng_below(&rng, sizeof list / sizeof *list)];
}

/* One change of meaning: another operator, another number, other inputs, another operator set. */
static void bend(Onnx__ModelProto *m) {
    Onnx__GraphProto *g = m->graph;
    if (!g || !g->n_node) return;
    Onnx__NodeProto *n = g->node[hd_rng_below(&rng, (uint32_t)g->n_node)];
    int count;
    const hd_host_op *table = hd_host_operators(&count);
    switch (hd_rng_below(&rng, 8)) {
    case 0:
        free(n->op_type);
        n->op_type = copy_text(table[hd_rng_below(&rng, (uint32_t)count)].name);
        break;
    case 1:
        if (m->n_opset_import) m->opset_import[0]->version = 1 + hd_rng_below(&rng, 22);
        break;
    case 2:
        if (n->n_input > 1) {
            uint32_t a = hd_rng_below(&rng, (uint32_t)n->n_input), b = hd_rng_below(&rng, (uint32_t)n->n_input);
            char *t = n->input[a];
            n->input[a] = n->input[b], n->input[b] = t;
        }
        break;
    default:
        if (n->n_attribute) {
            Onnx__AttributeProto *a = n->attribute[hd_rng_below(&rng, (uint32_t)n->n_attribute)];
            if (a->has_i) a->i = odd_number();
            else if (a->n_ints) a->ints[hd_rng_below(&rng, (uint32_t)a->n_ints)] = odd_number();
            else if (a->has_f) a->f = (float)odd_number();
            else if (a->t && a->t->has_raw_data && a->t->raw_data.len) memset(a->t->raw_data.data + hd_rng_below(&rng, (uint32_t)a->t->raw_data.len), 0x7f, 1);
            else if (a->g && a->g->n_node > 1) a->g->n_node--, onnx__node_proto__free_unpacked(a->g->node[a->g->n_node], NULL);
        }
    }
}

/* Inputs of other shapes, types and values. */
static void bend_inputs(hd_nd *in, int n_in) {
    static const hd_type types[] = {HD_TYPE_F32, HD_TYPE_I64, HD_TYPE_I32, HD_TYPE_U8, HD_TYPE_BOOL, HD_TYPE_F64, HD_TYPE_F16};
    if (!n_in) return;
    hd_nd *v = &in[hd_rng_below(&rng, (uint32_t)n_in)];
    if (v->kind != HD_ND_TENSOR) return;
    int64_t dim[HD_ND_MAX_RANK];
    int rank = (int)hd_rng_below(&rng, 6);
    hd_type type = hd_rng_below(&rng, 3) || v->type == HD_TYPE_STRING ? v->type : types[hd_rng_below(&rng, 7)];
    if (type == HD_TYPE_STRING) return;
    if (hd_rng_below(&rng, 2)) rank = v->rank, memcpy(dim, v->dim, sizeof dim);
    else
        for (int k = 0; k < rank; k++) dim[k] = hd_rng_below(&rng, 5);
    if (rank && hd_rng_below(&rng, 2)) dim[hd_rng_below(&rng, (uint32_t)rank)] = hd_rng_below(&rng, 12);
    hd_nd made;
    if (hd_nd_new(&made, type, rank, dim, (size_t)1 << 20, NULL) != HD_OK) return;
    for (size_t k = 0; k < made.count; k++) {
        int64_t x = hd_rng_below(&rng, 4) ? (int64_t)hd_rng_below(&rng, 5) - 2 : odd_number();
        if (type == HD_TYPE_I64) ((int64_t *)made.data)[k] = x;
        else if (type == HD_TYPE_I32) ((int32_t *)made.data)[k] = (int32_t)x;
        else if (type == HD_TYPE_F32) ((float *)made.data)[k] = (float)x;
        else if (type == HD_TYPE_F64) ((double *)made.data)[k] = (double)x;
        else if (hd_type_size(type) == 1) ((uint8_t *)made.data)[k] = (uint8_t)(type == HD_TYPE_BOOL ? x & 1 : x);
    }
    hd_nd_free(v);
    *v = made;
}

static void try_bytes(const uint8_t *data, size_t size, const hd_nd *in, int n_in) {
    hd_host *h;
    hd_err err = {0};
    if (hd_host_load_memory(&h, data, size, "m", &err) != HD_OK) {
        assert_true(err.message[0] != 0);
        return;
    }
    loaded++;
    hd_host_set_limits(h, (hd_host_limits){(size_t)1 << 22, 2e7});
    hd_nd *out = calloc((size_t)hd_host_n_outputs(h) + 1, sizeof *out), given[64] = {0};
    assert_non_null(out);
    for (int k = 0; k < hd_host_n_inputs(h) && k < n_in; k++) given[k] = in[k];
    if (hd_host_n_inputs(h) <= 64) {
        if (hd_host_run(h, given, out, NULL, &err) == HD_OK) ran++;
        else assert_true(err.message[0] != 0);
        for (int k = 0; k < hd_host_n_outputs(h); k++) hd_nd_free(&out[k]);
    }
    free(out);
    hd_host_free(h);
}

static void one_model(const char *dir) {
    char path[4096];
    size_t size;
    uint8_t *data = NULL;
    hd_nd in[64] = {0};
    int n_in = 0;
    snprintf(path, sizeof path, "%s/model.onnx", dir);
    if (hd_file_read(&data, &size, path, (size_t)1 << 20, 0, NULL) != HD_OK || size == 0) return;
    models++;
    for (; n_in < 8; n_in++) {
        size_t n;
        uint8_t *bytes = NULL;
        snprintf(path, sizeof path, "%s/test_data_set_0/input_%d.pb", dir, n_in);
        if (hd_file_read(&bytes, &n, path, (size_t)1 << 22, 0, NULL) != HD_OK) break;
        hd_nd_parse(&in[n_in], bytes, n, path, NULL);
        free(bytes);
    }
    uint8_t *copy = malloc(size);
    assert_non_null(copy);
    for (long k = 0; k < rounds; k++) {
        hd_nd given[64] = {0};
        for (int j = 0; j < n_in; j++) given[j] = hd_nd_share(&in[j]);
        if (hd_rng_below(&rng, 2)) bend_inputs(given, n_in);
        if (hd_rng_below(&rng, 4) == 0) {
            memcpy(copy, data, size);
            mutate(copy, size);
            try_bytes(copy, size, given, n_in);
        } else {
            Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, size, data);
            assert_non_null(m);
            for (uint32_t n = 1 + hd_rng_below(&rng, 2); n-- > 0;) bend(m);
            uint8_t *packed = malloc(onnx__model_proto__get_packed_size(m) + 1);
            assert_non_null(packed);
            try_bytes(packed, onnx__model_proto__pack(m, packed), given, n_in);
            free(packed);
            onnx__model_proto__free_unpacked(m, NULL);
        }
        for (int j = 0; j < n_in; j++) hd_nd_free(&given[j]);
    }
    for (int k = 0; k < n_in; k++) hd_nd_free(&in[k]);
    free(copy);
    free(data);
}

static void test_damaged(void **state) {
    (void)state;
    printf("%ld models, %ld changed ones, %ld loaded, %ld ran\n", models, models * rounds, loaded, ran);
    assert_true(loaded > models * rounds / 10 && ran > 0 && ran < models * rounds);
}

/* A Loop whose inputs were cut off: it has no condition, and no states to count. */
static void test_loop_without_inputs(void **state) {
    (void)state;
    size_t size;
    uint8_t *data = NULL;
    hd_err err = {0};
    if (hd_file_read(&data, &size, ONNX_TESTDATA "/node/test_loop11/model.onnx", (size_t)1 << 20, 0, NULL) != HD_OK) skip();
    Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, size, data);
    free(data);
    assert_non_null(m);
    Onnx__NodeProto *n = m->graph->node[0];
    while (n->n_input > 1) free(n->input[--n->n_input]);
    uint8_t *packed = malloc(onnx__model_proto__get_packed_size(m) + 1);
    assert_non_null(packed);
    hd_host *h;
    hd_nd in[8] = {0}, out[8] = {0};
    size_t length = onnx__model_proto__pack(m, packed);
    assert_int_equal(hd_host_load_memory(&h, packed, length, "m", &err), HD_OK);
    for (int k = 0; k < hd_host_n_inputs(h); k++) assert_int_equal(hd_nd_new(&in[k], HD_TYPE_I64, 0, NULL, 64, NULL), HD_OK);
    assert_int_equal(hd_host_run(h, in, out, NULL, &err), HD_FORMAT);
    assert_non_null(strstr(err.message, "1 inputs; a trip count and a condition, which may be left out, come before the states"));
    for (int k = 0; k < hd_host_n_inputs(h); k++) hd_nd_free(&in[k]);
    hd_host_free(h);
    free(packed);
    onnx__model_proto__free_unpacked(m, NULL);
}

int main(void) {
    static const char *const folders[] = {"node", "simple", "pytorch-operator", "pytorch-converted"};
    int found = 0;
    hd_rng_seed(&rng, getenv("HD_FUZZ_SEED") ? strtoull(getenv("HD_FUZZ_SEED"), NULL, 10) : 7, 3);
    if (getenv("HD_FUZZ_ROUNDS")) rounds = strtol(getenv("HD_FUZZ_ROUNDS"), NULL, 10);
    for (int f = 0; f < 4; f++) {
        char path[2048];
        snprintf(path, sizeof path, "%s/%s", ONNX_TESTDATA, folders[f]);
        struct dirent **list;
        int n = scandir(path, &list, NULL, alphasort);
        for (int k = 0; k < n; k++) {
            char dir[3072];
            found = 1;
            snprintf(dir, sizeof dir, "%s/%s", path, list[k]->d_name);
            if (list[k]->d_name[0] != '.') one_model(dir);
            free(list[k]);
        }
        if (n >= 0) free(list);
    }
    if (!found) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_damaged), cmocka_unit_test(test_loop_without_inputs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
