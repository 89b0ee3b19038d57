/* Networks cut in parts: what goes where, that the parts together are the network, and files of parts, whole and damaged. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../compiler/partition/parts.h"
#include "../../sw/core/file.h"
#include "../../sw/core/rng.h"
#include "parts_net.h"

static char path[128], other[128];

static hd_parts *cut(builder *b, hd_host **whole) {
    size_t size;
    uint8_t *bytes = builder_pack(b, &size);
    hd_err err = {0};
    hd_parts *p;
    hd_cut_options o = {NULL, NULL};
    assert_int_equal(hd_file_write(path, bytes, size, &err), HD_OK);
    if (hd_parts_cut(&p, path, &o, &err) != HD_OK) fail_msg("%s", err.message);
    if (whole) assert_int_equal(hd_host_load_memory(whole, bytes, size, "whole", &err), HD_OK);
    free(bytes);
    return p;
}

static hd_nd input(uint32_t n) {
    const int64_t dim[] = {1, 3, 12, 12};
    hd_nd v;
    assert_int_equal(hd_nd_new(&v, HD_TYPE_F32, 4, dim, SIZE_MAX, NULL), HD_OK);
    parts_net_input(v.data, n);
    return v;
}

/* The parts and the whole model on the host, on input n. */
static void same_as_whole(hd_parts *p, hd_host *whole, uint32_t n) {
    hd_nd in = input(n), got, want;
    hd_err err = {0};
    assert_int_equal(hd_host_run(whole, &in, &want, NULL, &err), HD_OK);
    if (hd_parts_run(p, &in, &got, hd_parts_float, p, &err) != HD_OK) fail_msg("%s", err.message);
    assert_true(hd_nd_same_shape(&got, &want));
    for (size_t k = 0; k < want.count; k++) assert_true(fabsf(((float *)got.data)[k] - ((float *)want.data)[k]) < 1e-5f);
    hd_nd_free(&in);
    hd_nd_free(&got);
    hd_nd_free(&want);
}

static const hd_parts_node *row(const hd_parts *p, const char *name) {
    for (int k = 0; k < p->n_nodes; k++)
        if (strcmp(p->node[k].name, name) == 0) return &p->node[k];
    fail_msg("no node '%s'", name);
    return NULL;
}

static int on_array(const hd_parts *p, const char *name) { return p->part[row(p, name)->part].kind == HD_PART_ARRAY; }

static void test_what_goes_where(void **state) {
    (void)state;
    builder *b = parts_net();
    hd_parts *p = cut(b, NULL);
    assert_int_equal(hd_parts_count(p, HD_PART_ARRAY), 3);
    assert_int_equal(hd_parts_count(p, HD_PART_HOST), 2);
    const char *const array[] = {"conv1", "a", "pooled", "squeeze", "gate", "conv2", "swish", "conv3"}, *const host[] = {"gated", "rows", "table", "y"};
    for (size_t k = 0; k < sizeof array / sizeof *array; k++) assert_true(on_array(p, array[k]));
    for (size_t k = 0; k < sizeof host / sizeof *host; k++) assert_false(on_array(p, host[k]));
    assert_int_equal(p->n_nodes, 12); /* one HardSwish for four nodes */
    assert_string_equal(row(p, "swish")->op, "HardSwish");
    assert_non_null(strstr(row(p, "gated")->why, "multiplies two computed tensors"));
    assert_non_null(strstr(row(p, "rows")->why, "transposes a computed tensor"));
    assert_true(row(p, "gated")->operations == 8 * 12 * 12 + 1);
    assert_true(row(p, "conv1")->operations >= 8 * 12 * 12 * 27);
    hd_parts_free(p);
    builder_free(b);
}

static void test_parts_are_the_network(void **state) {
    (void)state;
    builder *b = parts_net();
    hd_host *whole;
    hd_parts *p = cut(b, &whole);
    for (uint32_t n = 0; n < 4; n++) same_as_whole(p, whole, n);
    hd_parts_free(p);
    hd_host_free(whole);
    builder_free(b);
}

/* A residual around what the host does: the addition reads two tensors from outside, and the host adds. */
static void test_residual_around_host(void **state) {
    (void)state;
    static float weights[3 * 3];
    for (int k = 0; k < 9; k++) weights[k] = 0.1f * (float)(k - 4);
    builder *b = builder_new(13, "1 3 12 12", "y");
    builder_weights(b, "w", "3 3 1 1", weights);
    builder_node(b, "Conv", "x w", "c");
    builder_node(b, "Relu", "c", "r");
    builder_node(b, "Add", "r c", "sum"); /* inside of one piece */
    builder_node(b, "Sin", "sum", "s");
    builder_node(b, "Conv", "s w", "d");
    builder_node(b, "Add", "d sum", "y");
    hd_host *whole;
    hd_parts *p = cut(b, &whole);
    assert_true(on_array(p, "c") && on_array(p, "sum") && on_array(p, "d"));
    assert_false(on_array(p, "s") || on_array(p, "y"));
    same_as_whole(p, whole, 1);
    hd_parts_free(p);
    hd_host_free(whole);
    builder_free(b);
}

/* Erf written out is one Gelu, and a Shape that only leads to constants is none. */
static void test_fused_and_folded(void **state) {
    (void)state;
    builder *b = parts_net_folded();
    hd_host *whole;
    hd_parts *p = cut(b, &whole);
    assert_int_equal(p->n_parts, 1);
    assert_int_equal(p->n_nodes, 4);
    assert_string_equal(row(p, "gelu")->op, "Gelu");
    same_as_whole(p, whole, 2);
    hd_parts_free(p);
    hd_host_free(whole);
    builder_free(b);
}

/* Compressed, saved and loaded: the integers of the array's parts between the host's. */
static hd_status integer_part(void *context, int k, const hd_nd *in, hd_nd *out, hd_err *err) {
    hd_parts *p = context;
    const hd_model *m = p->part[k].model;
    const hd_qtensor *from = &m->tensor[m->input], *to = &m->tensor[m->output];
    hd_integer *e;
    int8_t *codes = malloc(in->count + 1);
    assert_non_null(codes);
    assert_int_equal(hd_integer_new(&e, m, err), HD_OK);
    hd_parts_encode(codes, in, from);
    hd_integer_run(e, codes);
    hd_status s = hd_parts_decode(out, hd_integer_tensor(e, m->output), to, &p->value[p->part[k].out[0]], err);
    hd_integer_free(e);
    free(codes);
    return s;
}

static hd_idx *calib; /* of the part being compressed: what the network gave it */
static hd_parts *calib_parts;
static int calib_part;
static uint32_t calib_at;

static hd_status watch_part(void *context, int k, const hd_nd *in, hd_nd *out, hd_err *err) {
    if (k == calib_part) memcpy((float *)calib->data + calib_at++ * in->count, in->data, in->count * sizeof(float));
    return hd_parts_float(context, k, in, out, err);
}

static hd_parts *compressed(void) {
    builder *b = parts_net();
    hd_parts *p = calib_parts = cut(b, NULL);
    hd_policy policy;
    hd_policy_default(&policy);
    for (int k = 0; k < p->n_parts; k++) {
        if (p->part[k].kind != HD_PART_ARRAY) continue;
        const hd_parts_value *v = &p->value[p->part[k].in[0]];
        size_t item = (size_t)(v->dim[1] * v->dim[2] * v->dim[3]);
        float *data = malloc(16 * item * sizeof *data);
        assert_non_null(data);
        hd_idx x = {.type = HD_IDX_F32, .rank = 4, .dim = {16, (uint32_t)v->dim[1], (uint32_t)v->dim[2], (uint32_t)v->dim[3]}, .item = item, .data = data};
        calib = &x;
        calib_part = k;
        calib_at = 0;
        for (uint32_t n = 0; n < 16; n++) {
            hd_nd in = input(n), out;
            assert_int_equal(hd_parts_run(p, &in, &out, watch_part, p, NULL), HD_OK);
            hd_nd_free(&in);
            hd_nd_free(&out);
        }
        hd_graph *g;
        hd_err err = {0};
        assert_int_equal(hd_parts_graph(&g, p, k, &err), HD_OK);
        if (hd_compress(&p->part[k].model, g, &policy, &x, 16, 0, &err) != HD_OK) fail_msg("%s", err.message);
        hd_graph_free(g);
        free(data);
    }
    hd_policy_free(&policy);
    builder_free(b);
    return p;
}

static void test_file(void **state) {
    (void)state;
    hd_parts *p = compressed(), *q;
    hd_err err = {0};
    assert_int_equal(hd_parts_save(p, 0, other, &err), HD_OK);
    if (hd_parts_load(&q, 0, other, &err) != HD_OK) fail_msg("%s", err.message);
    double worst = 0;
    for (uint32_t n = 0; n < 8; n++) {
        hd_nd in = input(n), want, a, b;
        assert_int_equal(hd_parts_run(p, &in, &want, hd_parts_float, p, NULL), HD_OK);
        assert_int_equal(hd_parts_run(p, &in, &a, integer_part, p, NULL), HD_OK);
        assert_int_equal(hd_parts_run(q, &in, &b, integer_part, q, NULL), HD_OK);
        assert_memory_equal(a.data, b.data, a.count * sizeof(float));
        for (size_t k = 0; k < a.count; k++) worst = fmax(worst, fabs((double)((float *)a.data)[k] - (double)((float *)want.data)[k]));
        hd_nd_free(&in);
        hd_nd_free(&want);
        hd_nd_free(&a);
        hd_nd_free(&b);
    }
    print_message("8-bit parts: largest difference of a probability %.4f\n", worst);
    assert_true(worst > 0 && worst < 0.05);
    hd_parts_free(p);
    hd_parts_free(q);
}

static uint32_t crc(const uint8_t *p, size_t n) {
    uint32_t c = 0xffffffffu;
    for (size_t k = 0; k < n; k++) {
        c ^= p[k];
        for (int j = 0; j < 8; j++) c = c >> 1 ^ (c & 1u ? 0xedb88320u : 0);
    }
    return ~c;
}

/* Changed bytes behind a right checksum: a message, or parts that run to an end. */
static void test_damaged_file(void **state) {
    (void)state;
    hd_parts *p = compressed(), *q;
    uint8_t *data, *copy;
    size_t size;
    int loaded = 0, refused = 0;
    hd_rng rng;
    hd_rng_seed(&rng, 11, 2);
    assert_int_equal(hd_parts_save(p, 0, other, NULL), HD_OK);
    hd_parts_free(p);
    assert_int_equal(hd_file_read(&data, &size, other, (size_t)1 << 24, 0, NULL), HD_OK);
    copy = malloc(size);
    assert_non_null(copy);
    for (int k = 0; k < 250; k++) {
        memcpy(copy, data, size);
        for (uint32_t n = 1 + hd_rng_below(&rng, 3); n-- > 0;) copy[16 + hd_rng_below(&rng, (uint32_t)size - 16)] = (uint8_t)(hd_rng_below(&rng, 2) ? hd_rng_u32(&rng) : hd_rng_below(&rng, 3));
        uint32_t sum = crc(copy + 16, size - 16);
        memcpy(copy + 12, &sum, 4);
        hd_err err = {0};
        assert_int_equal(hd_file_write(path, copy, size, NULL), HD_OK);
        if (hd_parts_load(&q, 0, path, &err) != HD_OK) {
            assert_true(err.message[0] != 0);
            refused++;
            continue;
        }
        loaded++;
        hd_parts_free(q);
    }
    print_message("%d damaged files refused, %d loaded\n", refused, loaded);
    assert_true(refused > 0 && loaded > 0);
    free(copy);
    free(data);
}

/* What a file is made to say, in its order: conv1 is an array part from x to a host's value, and its report's first row. */
enum {
    GOOD, KIND, ARRAY_INPUTS, LOST_VALUE, LATE_VALUE, SIZE_TAKEN, TYPE_TAKEN, SIZE_GIVEN, NO_RESULT, LOST_OUTPUT, NO_OUTPUTS, REPORT, HOST_INPUTS, HOST_SHAPE, RANK, VERSION, CUT_COUNT,
    CUT_VALUES, CUT_HEAD, CUT_PARTS, CUT_REPORT, LONGER
};

static hd_part *first_of(hd_parts *p, hd_part_kind kind) {
    for (int k = 0; k < p->n_parts; k++)
        if (p->part[k].kind == kind) return &p->part[k];
    fail();
    return NULL;
}

static void bend(hd_parts *p, int what) {
    hd_part *array = first_of(p, HD_PART_ARRAY), *host = first_of(p, HD_PART_HOST);
    hd_parts_value *taken = &p->value[array->in[0]], *given = &p->value[array->out[0]];
    switch (what) {
    case KIND: array->kind = (hd_part_kind)2; break;
    case ARRAY_INPUTS: array->n_in = 0; break;
    case LOST_VALUE: array->in[0] = p->n_values; break;
    case LATE_VALUE: array->in[0] = array->out[0]; break;
    case SIZE_TAKEN: taken->dim[1] = 4; break;
    case TYPE_TAKEN: taken->type = HD_TYPE_I64; break;
    case SIZE_GIVEN: given->dim[1]++; break;
    case NO_RESULT: p->part[p->n_parts - 1].out[0] = p->part[p->n_parts - 1].in[0]; break;
    case LOST_OUTPUT: p->output[0] = p->n_values; break;
    case NO_OUTPUTS: p->n_outputs = 0; break;
    case REPORT: p->node[0].part = p->n_parts; break;
    case HOST_INPUTS: host->n_in--; break;
    case HOST_SHAPE: { /* one mean a channel, where a whole image is to come */
        size_t size;
        builder *b = builder_new(13, "1 8 12 12", "y");
        builder_node(b, "GlobalAveragePool", "x", "y");
        uint8_t *bytes = builder_pack(b, &size);
        hd_writer_free(&host->onnx);
        hd_put_bytes(&host->onnx, bytes, size);
        host->n_in = 1;
        free(bytes);
        builder_free(b);
        break;
    }
    }
}

/* And what only bytes can say. */
static void bend_bytes(int what) {
    uint8_t *data, *longer;
    size_t size;
    assert_int_equal(hd_file_read(&data, &size, path, (size_t)1 << 24, 0, NULL), HD_OK);
    size_t values = 16 + 4 + 2 + data[20], first = values + 4; /* behind the container's head, the version and the name */
    longer = calloc(1, size + 1);
    assert_non_null(longer);
    memcpy(longer, data, size);
    if (what == RANK) longer[first + 2 + longer[first] + 1] = 9;
    if (what == VERSION) longer[16] = 99;
    size = what == CUT_COUNT ? values + 2 : what == CUT_VALUES ? first + 24 : what == CUT_HEAD ? first + 6 * 21 : what == CUT_PARTS ? size / 2 : what == CUT_REPORT ? size - 4 : what == LONGER ? size + 1 : size;
    uint32_t head[2] = {(uint32_t)size - 16, crc(longer + 16, size - 16)};
    memcpy(longer + 8, head, 8);
    assert_int_equal(hd_file_write(path, longer, size, NULL), HD_OK);
    free(longer);
    free(data);
}

static void test_exact_messages(void **state) {
    (void)state;
    static const struct { int what; hd_status status; const char *message; } rows[] = {
        {GOOD, HD_OK, ""},
        {KIND, HD_FORMAT, "part 'conv1': kind 2; allowed are 0 (host) and 1 (array)"},
        {ARRAY_INPUTS, HD_FORMAT, "part 'conv1': 0 inputs and 1 outputs; a part of the array has one of each"},
        {LOST_VALUE, HD_FORMAT, "part 0: the file ends within it, its name is broken, or it names a value from 6 up; there are 6"},
        {LATE_VALUE, HD_FORMAT, "part 'conv1' reads value 'a' before it is there"},
        {SIZE_TAKEN, HD_FORMAT, "part 'conv1' takes 432 codes; value 'x' is 1x4x12x12, of type float, and must have as many elements, of type float"},
        {TYPE_TAKEN, HD_FORMAT, "part 'conv1' takes 432 codes; value 'x' is 1x3x12x12, of type int64, and must have as many elements, of type float"},
        {SIZE_GIVEN, HD_FORMAT, "part 'conv1' gives 1152 codes; value 'a' is 1x9x12x12, of type float, and must have as many elements, of type float"},
        {NO_RESULT, HD_FORMAT, "no part gives output 'y'"},
        {LOST_OUTPUT, HD_FORMAT, "the file ends before its parts, or its inputs or outputs are from value 6 up; there are 6"},
        {NO_OUTPUTS, HD_FORMAT, "1 inputs and 0 outputs; a network has at least one of each"},
        {REPORT, HD_FORMAT, "row 0 of the report: the file ends within it, or it is of part 5; there are 5"},
        {HOST_INPUTS, HD_FORMAT, "part 'gated': its model has 2 inputs and 1 outputs; 1 and 1 are expected"},
        {RANK, HD_FORMAT, "value 'x': 9 dimensions; at most 8 are allowed"},
        {VERSION, HD_UNSUPPORTED, "its parts are of version 99; this program reads 2"},
        {CUT_COUNT, HD_FORMAT, "the file ends within its values"},
        {CUT_VALUES, HD_FORMAT, "value 1: the file ends within it, or its name is broken"},
        {CUT_HEAD, HD_FORMAT, "the file ends before its parts, or its inputs or outputs are from value 6 up; there are 6"},
        {CUT_PARTS, HD_FORMAT, "part 3: the file ends within it, its name is broken, or it names a value from 6 up; there are 6"},
        {CUT_REPORT, HD_FORMAT, "the file ends within its parts, or behind them"},
        {LONGER, HD_FORMAT, "the file ends within its parts, or behind them"},
    };
    hd_parts *p = compressed();
    assert_int_equal(hd_parts_save(p, 0, other, NULL), HD_OK);
    hd_parts_free(p);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        hd_err err = {0};
        char want[400] = "";
        assert_int_equal(hd_parts_load(&p, 0, other, NULL), HD_OK);
        bend(p, rows[k].what);
        assert_int_equal(hd_parts_save(p, 0, path, &err), HD_OK);
        hd_parts_free(p);
        bend_bytes(rows[k].what);
        hd_status s = hd_parts_load(&p, 0, path, &err);
        if (rows[k].status) snprintf(want, sizeof want, "%s: %s", path, rows[k].message);
        assert_string_equal(err.message, want);
        assert_int_equal(s, rows[k].status);
        assert_true(s ? !p : p != NULL);
        hd_parts_free(p);
    }
    /* The host's models are run, not trusted: what they make of an input goes to the array only in the shape that the file gives it. */
    hd_err err = {0};
    hd_nd in = input(0), out;
    assert_int_equal(hd_parts_load(&p, 0, other, NULL), HD_OK);
    bend(p, HOST_SHAPE);
    assert_int_equal(hd_parts_save(p, 0, path, &err), HD_OK);
    hd_parts_free(p);
    assert_int_equal(hd_parts_load(&p, 0, path, &err), HD_OK);
    assert_int_equal(hd_parts_run(p, &in, &out, integer_part, p, &err), HD_MISMATCH);
    assert_string_equal(err.message, "part 'conv2': value 'gated' is 1x8x1x1, of type float; 1x8x12x12, of type float, is expected");
    hd_nd_free(&in);
    hd_parts_free(p);
}

/* Cutting runs the network once: a small file that would take it days is refused before the first of its multiplications. */
static void test_endless_run(void **state) {
    (void)state;
    builder *b = builder_new(13, "4700 4700", "y"); /* 4700^3 is 1.04e11 */
    builder_node(b, "MatMul", "x x", "y");
    size_t size;
    uint8_t *bytes = builder_pack(b, &size);
    hd_err err = {0};
    hd_parts *p;
    hd_cut_options none = {NULL, NULL};
    char want[256];
    assert_int_equal(hd_file_write(path, bytes, size, &err), HD_OK);
    assert_int_equal(hd_parts_cut(&p, path, &none, &err), HD_RANGE);
    snprintf(want, sizeof want, "%s: node 'y' (MatMul): the run takes more than 1e+11 operations, the most that is allowed", path);
    assert_string_equal(err.message, want);
    free(bytes);
    builder_free(b);
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/hd_parts_%ld.onnx", (long)getpid());
    snprintf(other, sizeof other, "/tmp/hd_parts_%ld.hdm", (long)getpid());
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_goes_where), cmocka_unit_test(test_parts_are_the_network), cmocka_unit_test(test_residual_around_host),
                                       cmocka_unit_test(test_fused_and_folded), cmocka_unit_test(test_file), cmocka_unit_test(test_damaged_file), cmocka_unit_test(test_exact_messages), cmocka_unit_test(test_endless_run)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    unlink(other);
    return failed;
}
