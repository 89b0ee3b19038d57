/* What the host executor and the cutting of a network in parts refuse, message by message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../compiler/onnx/conformance.h"
#include "../../compiler/onnx/host.h"
#include "../../compiler/onnx/proto.h"
#include "../../compiler/partition/parts.h"
#include "../../sw/core/file.h"
#include "onnx_builder.h"

static char path[64];

static void set_text(char **s, const char *to) {
    free(*s);
    *s = strdup(to);
    assert_non_null(*s);
}

static builder *one_node(const char *type, const char *in, const char *out) {
    builder *b = builder_new(13, "1 3 4 4", out);
    builder_node(b, type, in, out);
    return b;
}

static Onnx__FunctionProto *function(const char *name, Onnx__NodeProto *node) {
    Onnx__FunctionProto *f = malloc(sizeof *f);
    assert_non_null(f);
    onnx__function_proto__init(f);
    f->name = strdup(name);
    f->domain = strdup("pkg.test");
    f->input = malloc(sizeof *f->input);
    f->output = malloc(sizeof *f->output);
    f->node = malloc(sizeof *f->node);
    assert_true(f->input && f->output && f->node);
    f->input[f->n_input++] = strdup("v");
    f->output[f->n_output++] = strdup("r");
    f->node[f->n_node++] = node;
    return f;
}

/* Function F0 is an If whose branch calls F1, and so on: `depth` graphs in graphs, more than a file's messages can be. */
static void nest(Onnx__ModelProto *m, int depth) {
    m->functions = calloc((size_t)depth, sizeof *m->functions);
    assert_non_null(m->functions);
    for (int k = 0; k < depth; k++) {
        char name[8], next[8];
        snprintf(name, sizeof name, "F%d", k);
        snprintf(next, sizeof next, "F%d", k + 1);
        Onnx__ModelProto *from = builder_message(one_node("If", "v", "r"));
        Onnx__GraphProto *branch = builder_graph(from->graph->node[0], "then_branch", one_node(k + 1 < depth ? next : "Abs", "v", "q"), 0);
        if (k + 1 < depth) set_text(&branch->node[0]->domain, "pkg.test");
        m->functions[m->n_functions++] = function(name, from->graph->node[0]);
        from->graph->n_node = 0;
        onnx__model_proto__free_unpacked(from, NULL);
    }
    set_text(&m->graph->node[0]->op_type, "F0");
    set_text(&m->graph->node[0]->domain, "pkg.test");
}

enum {
    WHOLE, NEW_OPERATOR, NO_OUTPUTS, TWO_OUTPUTS, MANY_INPUTS, NOTHING, DEEP, SPARSE, MANY_FUNCTIONS, BODY_INPUT, SHADOW, LATE, TEXTS, COMPLEX, NO_SHAPE, OPEN_SIZE, CONSTANT_OUT, INPUT_OUT,
    NO_TYPE
};

/* y = Relu(a), a = Abs(x); x is 1x3x4x4. */
static Onnx__ModelProto *model(int kind) {
    builder *b = builder_new(13, "1 3 4 4", "y");
    builder_weights(b, "w", "2", NULL);
    builder_flag(b, 1);
    builder_node(b, "Abs", "x", "a");
    Onnx__NodeProto *relu = builder_node(b, "Relu", "a", "y");
    if (kind == NO_TYPE) builder_int(b, relu, "to", 14);
    Onnx__ModelProto *m = builder_message(b);
    Onnx__GraphProto *g = m->graph;
    Onnx__TypeProto__Tensor *x = g->input[0]->type->tensor_type;
    Onnx__NodeProto *n = g->node[1];
    switch (kind) {
    case NEW_OPERATOR: set_text(&n->op_type, "Gelu"); break;
    case NO_OUTPUTS:
        set_text(&n->name, "last");
        free(n->output[--n->n_output]);
        break;
    case TWO_OUTPUTS:
        n->output = realloc(n->output, 2 * sizeof *n->output);
        assert_non_null(n->output);
        n->output[n->n_output++] = strdup("z");
        break;
    case MANY_INPUTS:
        n->input = realloc(n->input, 2 * sizeof *n->input);
        assert_non_null(n->input);
        n->input[n->n_input++] = strdup("x");
        break;
    case NOTHING: set_text(&g->output[0]->name, "z"); break;
    case DEEP: nest(m, 9); break;
    case SPARSE:
        g->sparse_initializer = malloc(sizeof *g->sparse_initializer);
        assert_non_null(g->sparse_initializer);
        g->sparse_initializer[0] = malloc(sizeof **g->sparse_initializer);
        assert_non_null(g->sparse_initializer[0]);
        onnx__sparse_tensor_proto__init(g->sparse_initializer[0]);
        g->n_sparse_initializer = 1;
        break;
    case MANY_FUNCTIONS:
        m->functions = calloc(4097, sizeof *m->functions);
        assert_non_null(m->functions);
        for (; m->n_functions < 4097; m->n_functions++) {
            m->functions[m->n_functions] = malloc(sizeof **m->functions);
            assert_non_null(m->functions[m->n_functions]);
            onnx__function_proto__init(m->functions[m->n_functions]);
        }
        break;
    case BODY_INPUT:
    case SHADOW:
        set_text(&n->op_type, "If");
        set_text(&n->input[0], "flag");
        Onnx__GraphProto *then = builder_graph(n, "then_branch", one_node(kind == SHADOW ? "If" : "Neg", kind == SHADOW ? "flag" : "a", "q"), kind == BODY_INPUT);
        builder_graph(n, "else_branch", one_node("Neg", "a", "q"), 0);
        if (kind == BODY_INPUT) break;
        for (int k = 0; k < 2; k++) { /* the branches' output is the main graph's 'a', which the graph around them gives a new value behind them */
            Onnx__GraphProto *inner = builder_graph(then->node[0], k ? "else_branch" : "then_branch", one_node("Neg", "x", "p"), 0);
            set_text(&inner->output[0]->name, "a");
        }
        then->node = realloc(then->node, 2 * sizeof *then->node);
        assert_non_null(then->node);
        Onnx__ModelProto *from = builder_message(one_node("Neg", "x", "a"));
        then->node[then->n_node++] = from->graph->node[0];
        from->graph->n_node = 0;
        onnx__model_proto__free_unpacked(from, NULL);
        break;
    case LATE: set_text(&g->node[0]->input[0], "y"); break;
    case TEXTS: x->elem_type = HD_TYPE_STRING; break;
    case COMPLEX: x->elem_type = 14; break;
    case NO_SHAPE:
        onnx__tensor_shape_proto__free_unpacked(x->shape, NULL);
        x->shape = NULL;
        break;
    case OPEN_SIZE: x->shape->dim[2]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE__NOT_SET; break;
    case CONSTANT_OUT: set_text(&g->output[0]->name, "w"); break;
    case INPUT_OUT: set_text(&g->output[0]->name, "x"); break;
    case NO_TYPE: set_text(&n->op_type, "Cast"); break;
    }
    return m;
}

typedef enum { LOAD, RUN, CUT } step;

static hd_status go(step s, const hd_cut_options *options, hd_err *err) {
    hd_host *h;
    hd_parts *p;
    if (s == CUT) {
        hd_status status = hd_parts_cut(&p, path, options, err);
        if (!status) hd_parts_free(p);
        else assert_null(p);
        return status;
    }
    hd_status status = hd_host_load(&h, path, err);
    hd_nd x, y = {0};
    assert_int_equal(hd_nd_new(&x, HD_TYPE_F32, 4, (const int64_t[]){1, 3, 4, 4}, SIZE_MAX, NULL), HD_OK);
    if (!status && s == RUN) status = hd_host_run(h, &x, &y, NULL, err);
    hd_nd_free(&x);
    hd_nd_free(&y);
    hd_host_free(h);
    return status;
}

static void exact_messages(void **state) {
    (void)state;
    static const struct {
        int kind;
        step step;
        const char *shape, *fix;
        hd_status status;
        const char *message; /* behind the file's name */
    } rows[] = {
        {WHOLE, RUN, NULL, NULL, HD_OK, NULL},
        {WHOLE, CUT, NULL, NULL, HD_OK, NULL},
        {NEW_OPERATOR, LOAD, NULL, NULL, HD_UNSUPPORTED, "node 'y' (Gelu): the model is of operator set 13; this operator is run in 20 to 22"},
        {NO_OUTPUTS, LOAD, NULL, NULL, HD_FORMAT, "node 'last' (Relu): 0 outputs; 1 to 1 are allowed"},
        {TWO_OUTPUTS, LOAD, NULL, NULL, HD_FORMAT, "node 'y' (Relu): 2 outputs; 1 to 1 are allowed"},
        {MANY_INPUTS, LOAD, NULL, NULL, HD_FORMAT, "node 'y' (Relu): 2 inputs; 1 to 1 are allowed"},
        {NOTHING, LOAD, NULL, NULL, HD_FORMAT, "nothing computes output 'z'"},
        {DEEP, LOAD, NULL, NULL, HD_RANGE, "graphs in graphs are nested more than 8 deep"},
        {SPARSE, LOAD, NULL, NULL, HD_UNSUPPORTED, "has sparse initializers; only dense ones are supported"},
        {MANY_FUNCTIONS, LOAD, NULL, NULL, HD_RANGE, "has 4097 functions; at most 4096 are allowed"},
        {LATE, LOAD, NULL, NULL, HD_FORMAT, "node 'a' (Abs): no input, initializer or earlier node gives the input y"},
        {BODY_INPUT, RUN, NULL, NULL, HD_MISMATCH, "graph '' has 1 inputs; the operator it belongs to gives it 0"},
        {SHADOW, RUN, NULL, NULL, HD_FORMAT, "output 'a' has no value"},
        {NO_TYPE, RUN, NULL, NULL, HD_UNSUPPORTED, "node 'y' (Cast): casts to complex64 (14), which is not supported"},
        {TEXTS, CUT, NULL, NULL, HD_UNSUPPORTED, "input 'x' is no tensor of numbers; only such inputs are supported"},
        {COMPLEX, CUT, NULL, NULL, HD_UNSUPPORTED, "input 'x' is no tensor of numbers; only such inputs are supported"},
        {NO_SHAPE, CUT, NULL, NULL, HD_MISMATCH, "input 'x' has no shape; --shape gives one, as in x=1x3x48x192"},
        {NO_SHAPE, CUT, "1x3x4x4", NULL, HD_OK, NULL},
        {OPEN_SIZE, CUT, NULL, NULL, HD_MISMATCH, "input 'x': size 2 is open; --shape gives it, as in x=1x3x48x192"},
        {OPEN_SIZE, CUT, "x=1x3x4", NULL, HD_MISMATCH, "shape '1x3x4' has 3 dimensions; input 'x' has 4"},
        {OPEN_SIZE, CUT, "x=1x3x4x", NULL, HD_USAGE, "shape '1x3x4x' of input 'x'; sizes are expected, as in 1x3x48x192"},
        {CONSTANT_OUT, CUT, NULL, NULL, HD_UNSUPPORTED, "output 'w' is a constant or an input; only computed ones are supported"},
        {INPUT_OUT, CUT, NULL, NULL, HD_UNSUPPORTED, "output 'x' is a constant or an input; only computed ones are supported"},
        {WHOLE, CUT, NULL, "x=1", HD_UNSUPPORTED, "output 'y' is a constant or an input; only computed ones are supported"},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        size_t size;
        hd_err err = {0};
        char want[400];
        Onnx__ModelProto *m = model(rows[k].kind);
        uint8_t *bytes = malloc(size = onnx__model_proto__get_packed_size(m));
        assert_non_null(bytes);
        onnx__model_proto__pack(m, bytes);
        assert_int_equal(hd_file_write(path, bytes, size, &err), HD_OK);
        hd_status status = go(rows[k].step, &(hd_cut_options){rows[k].shape, rows[k].fix}, &err);
        if (rows[k].message) snprintf(want, sizeof want, "%s: %s", path, rows[k].message);
        assert_string_equal(err.message, rows[k].message ? want : "");
        assert_int_equal(status, rows[k].status);
        free(bytes);
        onnx__model_proto__free_unpacked(m, NULL);
    }
    unlink(path);
}

/* Through the library: no command leaves an input out. */
static void input_not_given(void **state) {
    (void)state;
    size_t size;
    builder *b = one_node("Relu", "x", "y");
    uint8_t *bytes = builder_pack(b, &size);
    hd_host *h;
    hd_nd x = {0}, y;
    hd_err err = {0};
    assert_int_equal(hd_host_load_memory(&h, bytes, size, "m", &err), HD_OK);
    assert_int_equal(hd_host_run(h, &x, &y, NULL, &err), HD_MISMATCH);
    assert_string_equal(err.message, "m: input 'x' is not given");
    hd_host_free(h);
    free(bytes);
    builder_free(b);
}

static void no_folder_of_tests(void **state) {
    (void)state;
    hd_conformance t;
    hd_err err = {0};
    assert_int_equal(hd_onnx_conformance(&t, "/nonexistent/node", NULL, NULL, &err), HD_IO);
    assert_string_equal(err.message, "/nonexistent/node: no such folder of ONNX's tests (Debian package libonnx-testdata)");
}

/* A field that is a message in ONNX and a number here passes as bytes, but makes no model. */
static void wrong_wire_type(void **state) {
    (void)state;
    hd_host *h;
    hd_err err = {0};
    assert_int_equal(hd_host_load_memory(&h, (const uint8_t *)"\x38\x01", 2, "m.onnx", &err), HD_FORMAT);
    assert_string_equal(err.message, "m.onnx: the fields do not form an ONNX model (wrong types)");
    assert_null(h);
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/hd_host_errors_%ld.onnx", (long)getpid());
    const struct CMUnitTest tests[] = {cmocka_unit_test(exact_messages), cmocka_unit_test(input_not_given), cmocka_unit_test(wrong_wire_type), cmocka_unit_test(no_folder_of_tests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
