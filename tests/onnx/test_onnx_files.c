/* Models with functions of their own, and with data in files beside them: they compute what the plain model computes; what is wrong with them is said, and damage never crashes.
 * Longer than 500 lines: functions, graphs inside and their defaults share one maker of networks, one packer and one runner, and the sections on other files and damage use them too. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../compiler/onnx/host.h"
#include "../../compiler/onnx/proto.h"
#include "../../compiler/partition/parts.h"
#include "../../sw/core/file.h"
#include "../../sw/core/rng.h"
#include "onnx_builder.h"

static uint8_t *pack(const Onnx__ModelProto *m, size_t *size) {
    *size = onnx__model_proto__get_packed_size(m);
    uint8_t *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    onnx__model_proto__pack(m, bytes);
    return bytes;
}

static char folder[64];

static char *in_folder(const char *name) {
    static char path[4][160];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void save(const Onnx__ModelProto *m, const char *name) {
    size_t size;
    hd_err err = {0};
    uint8_t *bytes = pack(m, &size);
    assert_int_equal(hd_file_write(in_folder(name), bytes, size, &err), HD_OK);
    free(bytes);
}

/* ---- functions ---- */

static char **words(const char *list, size_t *n) {
    char **w = calloc(8, sizeof *w), *copy = strdup(list);
    *n = 0;
    for (char *p = strtok(copy, " "); p; p = strtok(NULL, " ")) w[(*n)++] = strdup(p);
    free(copy);
    return w;
}

/* Adds a function with the nodes of `body`, which it takes. */
static Onnx__FunctionProto *add_function(Onnx__ModelProto *m, const char *name, const char *in, const char *out, builder *body) {
    Onnx__ModelProto *from = builder_message(body);
    Onnx__FunctionProto *f = malloc(sizeof *f);
    onnx__function_proto__init(f);
    f->name = strdup(name);
    f->domain = strdup("pkg.test");
    f->input = words(in, &f->n_input);
    f->output = words(out, &f->n_output);
    f->node = from->graph->node;
    f->n_node = from->graph->n_node;
    from->graph->node = NULL;
    from->graph->n_node = 0;
    onnx__model_proto__free_unpacked(from, NULL);
    m->functions = realloc(m->functions, (m->n_functions + 1) * sizeof *m->functions);
    m->functions[m->n_functions++] = f;
    return f;
}

/* Calls of nodes named in capitals are calls of functions. */
static void into_domain(Onnx__NodeProto **node, size_t n) {
    for (size_t k = 0; k < n; k++)
        if (!strcmp(node[k]->op_type, "BLOCK") || !strcmp(node[k]->op_type, "ACT") || !strcmp(node[k]->op_type, "TWIN") || !strcmp(node[k]->op_type, "CHOOSE")) node[k]->domain = strdup("pkg.test");
}

static void refer(Onnx__NodeProto *n, const char *attribute, const char *to) {
    for (size_t k = 0; k < n->n_attribute; k++)
        if (!strcmp(n->attribute[k]->name, attribute)) {
            n->attribute[k]->ref_attr_name = strdup(to);
            n->attribute[k]->has_f = 0;
        }
}

enum { SIZE = 3 * 6 * 6 };

/* y = leaky(conv(x)) + x twice, with slopes 0.1 and, left out, LeakyRelu's own 0.01; then relu(y) and y itself, added; written out or by functions. */
static Onnx__ModelProto *network(int functions) {
    builder *b = builder_new(13, "1 3 6 6", functions ? "sum" : "z");
    Onnx__NodeProto *n;
    builder_weights(b, "w1", "3 3 3 3", NULL);
    builder_weights(b, "w2", "3 3 3 3", NULL);
    if (!functions) {
        const char *x = "x", *names[2][3] = {{"c", "a", "s"}, {"d", "b", "t"}};
        for (int k = 0; k < 2; k++) {
            char list[40];
            snprintf(list, sizeof list, "%s w%d", x, k + 1);
            builder_ints(b, builder_node(b, "Conv", list, names[k][0]), "pads", "1 1 1 1");
            n = builder_node(b, "LeakyRelu", names[k][0], names[k][1]);
            if (!k) builder_float(b, n, "alpha", 0.1f);
            snprintf(list, sizeof list, "%s %s", names[k][1], x);
            builder_node(b, "Add", list, names[k][2]);
            x = names[k][2];
        }
        builder_node(b, "Relu", "t", "r");
        builder_node(b, "Add", "r t", "z");
        return builder_message(b);
    }
    n = builder_node(b, "BLOCK", "x w1", "c"); /* the functions use these names too */
    builder_float(b, n, "slope", 0.1f);
    builder_node(b, "BLOCK", "c w2", "a");
    builder_node(b, "TWIN", "a", "p");
    builder_node(b, "Add", "p q", "sum");
    Onnx__ModelProto *m = builder_message(b);
    Onnx__NodeProto *twin = m->graph->node[2];
    twin->output = realloc(twin->output, 2 * sizeof *twin->output);
    twin->output[twin->n_output++] = strdup("q");
    builder *body = builder_new(13, "1", "y");
    builder_ints(body, builder_node(body, "Conv", "x w", "c"), "pads", "1 1 1 1");
    n = builder_node(body, "ACT", "c", "a");
    builder_float(body, n, "slope", 0);
    builder_node(body, "Add", "a x", "y");
    Onnx__FunctionProto *f = add_function(m, "BLOCK", "x w", "y", body);
    refer(f->node[1], "slope", "slope");
    into_domain(f->node, f->n_node);
    body = builder_new(13, "1", "u");
    builder_float(body, builder_node(body, "LeakyRelu", "v", "u"), "alpha", 0);
    refer(add_function(m, "ACT", "v", "u", body)->node[0], "alpha", "slope");
    body = builder_new(13, "1", "u");
    builder_node(body, "Relu", "v", "u");
    add_function(m, "TWIN", "v", "u v", body);
    into_domain(m->graph->node, m->graph->n_node);
    return m;
}

static void run_host(const Onnx__ModelProto *m, float *y) {
    size_t size;
    hd_host *h;
    hd_err err = {0};
    hd_nd x, out;
    uint8_t *bytes = pack(m, &size);
    if (hd_host_load_memory(&h, bytes, size, "m", &err) || hd_nd_new(&x, HD_TYPE_F32, 4, (const int64_t[]){1, 3, 6, 6}, 1 << 20, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < SIZE; i++) ((float *)x.data)[i] = sinf((float)i);
    if (hd_host_run(h, &x, &out, NULL, &err)) fail_msg("%s", err.message);
    assert_int_equal(out.count, SIZE);
    memcpy(y, out.data, SIZE * sizeof *y);
    hd_nd_free(&x);
    hd_nd_free(&out);
    hd_host_free(h);
    free(bytes);
}

static void functions_are_inlined(void **state) {
    (void)state;
    float plain[SIZE], inlined[SIZE];
    Onnx__ModelProto *a = network(0), *b = network(1);
    run_host(a, plain);
    run_host(b, inlined);
    assert_memory_equal(plain, inlined, sizeof plain);
    /* and the importer takes them */
    size_t size;
    hd_graph *g;
    hd_err err = {0};
    hd_exec *e;
    uint8_t *bytes = pack(b, &size);
    if (hd_import_onnx_memory(&g, bytes, size, "m", &err) || hd_exec_new(&e, g, &err)) fail_msg("%s", err.message);
    float x[SIZE];
    for (int i = 0; i < SIZE; i++) x[i] = sinf((float)i);
    hd_exec_run(e, x);
    for (int i = 0; i < SIZE; i++) assert_true(fabsf(hd_exec_tensor(e, g->output)[i] - plain[i]) <= 1e-4f * (1 + fabsf(plain[i])));
    hd_exec_free(e);
    hd_graph_free(g);
    free(bytes);
    onnx__model_proto__free_unpacked(a, NULL);
    onnx__model_proto__free_unpacked(b, NULL);
}

/* A call that does not give an attribute takes the function's default: field 11 of a function since ONNX's IR 9, which this version of the schema does not have. The first call gives
 * its own. */
static void attribute_defaults(void **state) {
    (void)state;
    float plain[SIZE], inlined[SIZE];
    Onnx__ModelProto *a = network(0), *b = network(1);
    Onnx__AttributeProto slope = ONNX__ATTRIBUTE_PROTO__INIT, other = ONNX__ATTRIBUTE_PROTO__INIT;
    slope.name = (char[]){"slope"};
    other.name = (char[]){"other"};
    slope.has_type = slope.has_f = other.has_type = other.has_f = 1;
    slope.type = other.type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
    slope.f = 0.25f;
    uint8_t bytes[2][64];
    ProtobufCMessageUnknownField fields[2];
    for (int k = 0; k < 2; k++) {
        size_t size = onnx__attribute_proto__pack(k ? &slope : &other, bytes[k] + 1);
        assert_true(size < sizeof bytes[k] - 1);
        bytes[k][0] = (uint8_t)size;
        fields[k] = (ProtobufCMessageUnknownField){.tag = 11, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = size + 1, .data = bytes[k]};
    }
    b->functions[0]->base.unknown_fields = fields;
    b->functions[0]->base.n_unknown_fields = 2;
    run_host(b, inlined);
    Onnx__NodeProto *second = a->graph->node[4];
    assert_string_equal(second->op_type, "LeakyRelu");
    assert_int_equal(second->n_attribute, 0);
    Onnx__AttributeProto *list[1] = {&slope}, **none = second->attribute;
    run_host(a, plain);
    assert_memory_not_equal(plain, inlined, sizeof plain);
    slope.name = (char[]){"alpha"};
    second->attribute = list;
    second->n_attribute = 1;
    run_host(a, plain);
    assert_memory_equal(plain, inlined, sizeof plain);
    second->attribute = none;
    second->n_attribute = 0;
    b->functions[0]->base.unknown_fields = NULL;
    b->functions[0]->base.n_unknown_fields = 0;
    onnx__model_proto__free_unpacked(a, NULL);
    onnx__model_proto__free_unpacked(b, NULL);
}

/* The node's first attribute becomes the function's default of an attribute "then", and refers to it. To be undone with f->base.n_unknown_fields = 0; free the result. */
static uint8_t *as_default(Onnx__FunctionProto *f, Onnx__NodeProto *n, ProtobufCMessageUnknownField *field) {
    Onnx__AttributeProto *a = n->attribute[0], *reference = malloc(sizeof *reference);
    onnx__attribute_proto__init(reference);
    reference->name = a->name;
    reference->ref_attr_name = strdup("then");
    reference->has_type = 1;
    reference->type = a->type;
    a->name = strdup("then");
    size_t size = onnx__attribute_proto__get_packed_size(a);
    uint8_t *bytes = malloc(size + 2);
    assert_true(size < 1 << 14);
    bytes[0] = (uint8_t)(size & 127) | 128;
    bytes[1] = (uint8_t)(size >> 7);
    onnx__attribute_proto__pack(a, bytes + 2);
    onnx__attribute_proto__free_unpacked(a, NULL);
    n->attribute[0] = reference;
    *field = (ProtobufCMessageUnknownField){.tag = 11, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = size + 2, .data = bytes};
    f->base.unknown_fields = field;
    f->base.n_unknown_fields = 1;
    return bytes;
}

/* A graph inside of a function reads the function's values, and calls a function itself; also where it is the default of an attribute. */
static void graphs_inside(void **state) {
    (void)state;
    for (int k = 0; k < 4; k++) {
        int branch = k & 1;
        float y[SIZE];
        builder *b = builder_new(13, "1 3 6 6", "y");
        builder_flag(b, branch);
        builder_node(b, "CHOOSE", "x flag", "y");
        Onnx__ModelProto *m = builder_message(b);
        builder *body = builder_new(13, "1", "r");
        builder_node(body, "Abs", "x", "t");
        builder_node(body, "If", "c", "r");
        Onnx__FunctionProto *f = add_function(m, "CHOOSE", "x c", "r", body);
        body = builder_new(13, "1", "q");
        builder_node(body, "ACT", "t", "q");
        builder_graph(f->node[1], "then_branch", body, 0);
        body = builder_new(13, "1", "q");
        builder_node(body, "Identity", "x", "q");
        builder_graph(f->node[1], "else_branch", body, 0);
        body = builder_new(13, "1", "u");
        builder_node(body, "Neg", "v", "u");
        add_function(m, "ACT", "v", "u", body);
        into_domain(m->graph->node, m->graph->n_node);
        into_domain(f->node[1]->attribute[0]->g->node, 1);
        ProtobufCMessageUnknownField field;
        uint8_t *kept = k & 2 ? as_default(f, f->node[1], &field) : NULL;
        run_host(m, y);
        for (int i = 0; i < SIZE; i++) assert_true(y[i] == (branch ? -fabsf(sinf((float)i)) : sinf((float)i)));
        f->base.n_unknown_fields = 0;
        f->base.unknown_fields = NULL;
        free(kept);
        onnx__model_proto__free_unpacked(m, NULL);
    }
}

/* An If whose condition is known becomes what it runs: then a network that maps as a whole, or one that the host runs. */
static void constant_branches(void **state) {
    (void)state;
    for (int branch = 0; branch < 2; branch++) {
        builder *b = builder_new(13, "1 3 6 6", "y");
        builder_weights(b, "w0", "3 3 1 1", NULL);
        builder_flag(b, branch);
        builder_node(b, "Conv", "x w0", "first");
        builder_node(b, "If", "flag", "y");
        Onnx__ModelProto *m = builder_message(b);
        builder *body = builder_new(13, "1", "q");
        builder_weights(body, "w", "3 3 1 1", NULL);
        builder_node(body, "Conv", "first w", "q");
        builder_graph(m->graph->node[1], "then_branch", body, 0);
        body = builder_new(13, "1", "q");
        builder_node(body, "Sin", "first", "q");
        builder_graph(m->graph->node[1], "else_branch", body, 0);
        save(m, "m.onnx");
        hd_err err = {0};
        hd_parts *p;
        if (hd_parts_cut(&p, in_folder("m.onnx"), &(hd_cut_options){NULL, NULL}, &err)) fail_msg("%s", err.message);
        assert_int_equal(hd_parts_count(p, HD_PART_ARRAY), 1);
        assert_int_equal(hd_parts_count(p, HD_PART_HOST), !branch);
        float want[SIZE];
        hd_nd x, y;
        run_host(m, want);
        if (hd_nd_new(&x, HD_TYPE_F32, 4, (const int64_t[]){1, 3, 6, 6}, 1 << 20, &err)) fail_msg("%s", err.message);
        for (int i = 0; i < SIZE; i++) ((float *)x.data)[i] = sinf((float)i);
        if (hd_parts_run(p, &x, &y, hd_parts_float, p, &err)) fail_msg("%s", err.message);
        for (int i = 0; i < SIZE; i++) assert_true(fabsf(((float *)y.data)[i] - want[i]) <= 1e-4f * (1 + fabsf(want[i])));
        hd_nd_free(&x);
        hd_nd_free(&y);
        hd_parts_free(p);
        onnx__model_proto__free_unpacked(m, NULL);
    }
}

static void expect(const Onnx__ModelProto *m, hd_status code, const char *text) {
    size_t size;
    Onnx__ModelProto *read;
    hd_err err = {0};
    uint8_t *bytes = pack(m, &size);
    assert_int_equal(hd_onnx_parse(&read, bytes, size, "m.onnx", &err), code);
    assert_string_equal(err.message, text);
    free(bytes);
}

static void wrong_functions(void **state) {
    (void)state;
    Onnx__ModelProto *m = network(1);
    Onnx__OperatorSetIdProto *set = malloc(sizeof *set);
    onnx__operator_set_id_proto__init(set);
    set->has_version = 1;
    set->version = 14;
    m->functions[1]->opset_import = malloc(sizeof set);
    m->functions[1]->opset_import[0] = set;
    m->functions[1]->n_opset_import = 1;
    expect(m, HD_UNSUPPORTED, "m.onnx: function 'ACT': is of operator set 14, the model of 13; one for both is supported");
    set->version = 13;
    char *kept = m->functions[1]->node[0]->op_type;
    m->functions[1]->node[0]->op_type = strdup("ACT");
    m->functions[1]->node[0]->domain = strdup("pkg.test");
    expect(m, HD_RANGE, "m.onnx: functions call each other more than 16 deep");
    free(m->functions[1]->node[0]->op_type);
    m->functions[1]->node[0]->op_type = kept;
    free(m->functions[1]->node[0]->domain);
    m->functions[1]->node[0]->domain = NULL;
    m->functions[0]->n_input = 1;
    expect(m, HD_FORMAT, "m.onnx: function 'BLOCK': has fewer inputs than a call gives it: c");
    m->functions[0]->n_input = 2;
    ProtobufCMessageUnknownField later = {.tag = 11, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = 1, .data = (uint8_t[]){0}};
    m->functions[0]->base.unknown_fields = &later;
    m->functions[0]->base.n_unknown_fields = 1;
    expect(m, HD_FORMAT, "m.onnx: function 'BLOCK': an attribute with a default is not readable");
    /* A default's messages count as all others do: sequences of sequences, 20 of them in two levels each. */
    enum { LEVELS = 20 };
    uint8_t nested[2 + 4 * LEVELS + 9];
    size_t first = sizeof nested;
    for (int k = 0; k < 2 * LEVELS; k++) {
        nested[first - 1] = (uint8_t)(sizeof nested - first);
        nested[first - 2] = k & 1 ? 4 << 3 | 2 : 1 << 3 | 2; /* TypeProto.sequence_type of elem_type */
        first -= 2;
    }
    nested[first - 1] = (uint8_t)(sizeof nested - first);
    nested[first - 2] = 14 << 3 | 2; /* AttributeProto.tp */
    first -= 2;
    memcpy(nested + first - 7, "\x0a\x05slope", 7);
    first -= 7;
    nested[0] = (uint8_t)(sizeof nested - first);
    memmove(nested + 1, nested + first, sizeof nested - first);
    later = (ProtobufCMessageUnknownField){.tag = 11, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = 1 + sizeof nested - first, .data = nested};
    expect(m, HD_FORMAT, "m.onnx: byte 1031: messages are nested more than 24 deep");
    /* and its bytes as those of all copies */
    enum { MUCH = 17 << 20 };
    uint8_t *much = calloc(1, MUCH);
    Onnx__AttributeProto slope = ONNX__ATTRIBUTE_PROTO__INIT;
    slope.name = (char[]){"slope"};
    slope.has_s = 1;
    slope.s = (ProtobufCBinaryData){.len = 16 << 20, .data = calloc(1, 16 << 20)};
    size_t packed = onnx__attribute_proto__pack(&slope, much + 4);
    for (int k = 0; k < 4; k++) much[k] = (uint8_t)(packed >> (7 * k) & 127) | (k < 3 ? 128 : 0);
    later.data = much;
    later.len = packed + 4;
    expect(m, HD_RANGE, "m.onnx: its functions, inlined, have more than 16777216 bytes, the most that is allowed");
    free(slope.s.data);
    free(much);
    m->functions[0]->base.unknown_fields = NULL;
    m->functions[0]->base.n_unknown_fields = 0;
    onnx__model_proto__free_unpacked(m, NULL);
}

/* `depth` functions, each of ten calls of the next, which read the one before or all the input. */
static Onnx__ModelProto *explosion(int depth, int all_read_input) {
    builder *b = builder_new(13, "1 3 6 6", "y");
    builder_node(b, "F0", "x", "y");
    Onnx__ModelProto *m = builder_message(b);
    m->graph->node[0]->domain = strdup("pkg.test");
    for (int k = 0; k < depth; k++) {
        char name[8], next[8];
        snprintf(name, sizeof name, "F%d", k);
        snprintf(next, sizeof next, "F%d", k + 1);
        builder *body = builder_new(13, "1", "v9");
        for (int i = 0; i < 10; i++) {
            char in[8], out[8];
            snprintf(in, sizeof in, i && !all_read_input ? "v%d" : "x", i - 1);
            snprintf(out, sizeof out, "v%d", i);
            builder_node(body, k + 1 < depth ? next : "Relu", in, out);
        }
        Onnx__FunctionProto *f = add_function(m, name, "x", "v9", body);
        for (size_t i = 0; k + 1 < depth && i < f->n_node; i++) f->node[i]->domain = strdup("pkg.test");
    }
    return m;
}

static void explosions_end(void **state) {
    (void)state;
    Onnx__ModelProto *m = explosion(10, 0);
    expect(m, HD_RANGE, "m.onnx: its functions, inlined, have more than 1048576 nodes or 16777216 bytes, the most that is allowed");
    onnx__model_proto__free_unpacked(m, NULL);
    /* 111,110 nodes, each with its own copy of a long name. */
    enum { LONG = 3000 };
    m = explosion(5, 1);
    char *name = malloc(LONG + 1);
    memset(name, 'x', LONG);
    name[LONG] = 0;
    free(m->graph->node[0]->input[0]);
    m->graph->node[0]->input[0] = name;
    expect(m, HD_RANGE, "m.onnx: the names in its functions, inlined, have more than 268435456 bytes, the most that is allowed");
    onnx__model_proto__free_unpacked(m, NULL);
    /* 30,000 names of 320 bytes, which count as ten, each sought among 4,000 formals. */
    enum { NAMES = 30000, FORMALS = 4000 };
    char *other[NAMES], *formal[FORMALS], text[] = "a", far[321] = "b";
    memset(far, 'b', 320);
    for (int k = 0; k < NAMES; k++) other[k] = far;
    for (int k = 0; k < FORMALS; k++) formal[k] = text;
    m = explosion(1, 0);
    Onnx__FunctionProto *f = m->functions[0];
    char **inputs = f->input, **of_first = f->node[0]->input;
    f->input = formal;
    f->n_input = FORMALS;
    f->node[0]->input = other;
    f->node[0]->n_input = NAMES;
    expect(m, HD_RANGE, "m.onnx: inlining its functions takes more than 1073741824 comparisons of names, the most that is allowed");
    f->input = inputs;
    f->node[0]->input = of_first;
    f->n_input = f->node[0]->n_input = 1;
    onnx__model_proto__free_unpacked(m, NULL);
}

/* ---- data in other files ---- */

static void put_entry(Onnx__TensorProto *t, const char *key, const char *value) {
    Onnx__StringStringEntryProto *e = malloc(sizeof *e);
    onnx__string_string_entry_proto__init(e);
    e->key = strdup(key);
    e->value = strdup(value);
    t->external_data = realloc(t->external_data, (t->n_external_data + 1) * sizeof *t->external_data);
    t->external_data[t->n_external_data++] = e;
    t->has_data_location = 1;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

/* network(0) with its weights in `location`, w1 from byte 64, w2 behind it. */
static Onnx__ModelProto *divided(const char *location, const char *offset, const char *length) {
    static uint8_t data[64 + 2 * 81 * 4];
    hd_err err = {0};
    Onnx__ModelProto *m = network(0);
    for (int k = 0; k < 2; k++) {
        Onnx__TensorProto *t = m->graph->initializer[k];
        memcpy(data + 64 + 324 * k, t->float_data, 324);
        free(t->float_data);
        t->float_data = NULL;
        t->n_float_data = 0;
        put_entry(t, "location", location);
        put_entry(t, "offset", k ? "388" : offset);
        if (!k) put_entry(t, "length", length); /* w2's goes to the end of the file */
    }
    assert_int_equal(hd_file_write(in_folder("weights.bin"), data, sizeof data, &err), HD_OK);
    return m;
}

static void external_data(void **state) {
    (void)state;
    hd_err err = {0};
    Onnx__ModelProto *plain = network(0), *m = divided("weights.bin", "64", "324"), *read = NULL;
    size_t size;
    save(m, "m.onnx");
    if (hd_onnx_read_file(&read, in_folder("m.onnx"), &size, &err)) fail_msg("%s", err.message);
    assert_true(size > 2 * 324);
    float a[SIZE], b[SIZE];
    run_host(plain, a);
    run_host(read, b);
    assert_memory_equal(a, b, sizeof a);
    hd_graph *g;
    if (hd_import_onnx(&g, in_folder("m.onnx"), &err)) fail_msg("%s", err.message);
    hd_graph_free(g);
    /* by a path without a folder */
    char here[4096];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    hd_host *h;
    if (hd_host_load(&h, "m.onnx", &err)) fail_msg("%s", err.message);
    hd_host_free(h);
    assert_int_equal(chdir(here), 0);
    onnx__model_proto__free_unpacked(plain, NULL);
    onnx__model_proto__free_unpacked(read, NULL);
    onnx__model_proto__free_unpacked(m, NULL);
}

static void wrong_places(void **state) {
    (void)state;
    static const struct {
        const char *location, *offset, *length, *message;
        hd_status code;
    } list[] = {
        {"../weights.bin", "64", "324", "its data would lie outside of the model's folder: '../weights.bin'", HD_UNSUPPORTED},
        {"a/../../w", "64", "324", "its data would lie outside of the model's folder: 'a/../../w'", HD_UNSUPPORTED},
        {"/etc/passwd", "64", "324", "its data would lie outside of the model's folder: '/etc/passwd'", HD_UNSUPPORTED},
        {"", "64", "324", "its data would lie outside of the model's folder: ''", HD_UNSUPPORTED},
        {"link", "0", "4", "its data lie outside of the model's folder, where a link leads: 'link'", HD_UNSUPPORTED},
        {"pipe", "0", "4", "its data are in no plain file: 'pipe'", HD_FORMAT},
        {"weights.bin", "-1", "324", "offset of its external data is no whole number: '-1'", HD_FORMAT},
        {"weights.bin", "64", "18446744073709551617", "length of its external data is no whole number: '18446744073709551617'", HD_FORMAT},
        {"weights.bin", "713", "0", "its data begin at byte 713 of 'weights.bin', which has 712", HD_FORMAT},
        {"weights.bin", "64", "649", "649 bytes of data at byte 64 of 'weights.bin', which has 712", HD_FORMAT},
        {"weights.bin", "9223372036854775807", "9223372036854775807", "its data begin at byte 9223372036854775807 of 'weights.bin', which has 712", HD_FORMAT},
        {"weights.bin", "64", "320", "dimension 3 is 3, which needs more elements than the 80 stored", HD_FORMAT}};
    unlink(in_folder("link"));
    unlink(in_folder("pipe"));
    assert_int_equal(symlink("/etc/passwd", in_folder("link")), 0);
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    for (size_t k = 0; k < sizeof list / sizeof *list; k++) {
        hd_err err = {0};
        hd_host *h;
        char text[300];
        Onnx__ModelProto *m = divided(list[k].location, list[k].offset, list[k].length);
        save(m, "m.onnx");
        snprintf(text, sizeof text, "%s: tensor 'w1': %s", in_folder("m.onnx"), list[k].message);
        assert_int_equal(hd_host_load(&h, in_folder("m.onnx"), &err), list[k].code);
        assert_string_equal(err.message, text);
        onnx__model_proto__free_unpacked(m, NULL);
    }
    unlink(in_folder("link"));
    unlink(in_folder("pipe"));
}

/* Bytes of both kinds of file change; what is loaded is run. */
static void damage(void **state) {
    (void)state;
    hd_rng r;
    hd_rng_seed(&r, 11, 1);
    Onnx__ModelProto *kinds[2] = {network(1), divided("weights.bin", "64", "324")};
    for (int k = 0; k < 2; k++) {
        size_t size;
        uint8_t *bytes = pack(kinds[k], &size), *hurt = malloc(size);
        for (int round = 0; round < 3000; round++) {
            hd_err err = {0};
            hd_host *h = NULL;
            memcpy(hurt, bytes, size);
            for (uint32_t n = 1 + hd_rng_u32(&r) % 3; n; n--) hurt[hd_rng_u32(&r) % size] = (uint8_t)hd_rng_u32(&r);
            if (k) {
                assert_int_equal(hd_file_write(in_folder("m.onnx"), hurt, size, &err), HD_OK);
                if (hd_host_load(&h, in_folder("m.onnx"), &err)) assert_true(err.message[0]);
            } else if (hd_host_load_memory(&h, hurt, size, "m", &err)) assert_true(err.message[0]);
            hd_host_free(h);
        }
        free(hurt);
        free(bytes);
        onnx__model_proto__free_unpacked(kinds[k], NULL);
    }
}

int main(void) {
    snprintf(folder, sizeof folder, "/tmp/hd_onnx_files_%ld", (long)getpid());
    if (mkdir(folder, 0700)) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(functions_are_inlined), cmocka_unit_test(attribute_defaults), cmocka_unit_test(graphs_inside), cmocka_unit_test(constant_branches), cmocka_unit_test(wrong_functions), cmocka_unit_test(explosions_end),
                                       cmocka_unit_test(external_data), cmocka_unit_test(wrong_places), cmocka_unit_test(damage)};
    int failed = cmocka_run_group_tests_name("onnx_files", tests, NULL, NULL);
    unlink(in_folder("m.onnx"));
    unlink(in_folder("weights.bin"));
    rmdir(folder);
    return failed;
}
