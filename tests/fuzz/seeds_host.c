/* One small ONNX model or more for each operator of the host executor: which operands an operator takes is found by trying. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/onnx/host.h"
#include "../onnx/onnx_builder.h"
#include "seeds.h"

/* Operands: a float tensor, or whole numbers of a type; "l" a list, "-" left out. */
static const struct {
    const char *name, *dims, *values;
    int type;
} operands[] = {{"f6", "2 3", NULL, 1},      {"f9", "3 3", NULL, 1},     {"f18", "1 2 3 3", NULL, 1}, {"f8", "2 2 2 1", NULL, 1}, {"f12", "1 4 3", NULL, 1},   {"f1", "1", NULL, 1},
                {"i1", NULL, "1", 7},        {"i2", NULL, "1 0", 7},     {"i4", NULL, "0 1 1 1", 7},  {"b2", NULL, "1 0", 9},      {"u3", NULL, "2 0 1", 2},   {"c2", NULL, "-1 3", 3},
                {"w2", NULL, "-9 3", 6},     {"s2", NULL, "1 2", 8},     {"l", NULL, NULL, 0},        {"-", NULL, NULL, 0},        {"f24", "2 3 4", NULL, 1},
                {"f2", "2", NULL, 1},        {"r1", "1 1 1", NULL, 1},   {"r3", "1 3 1", NULL, 1},    {"r4", "1 4 1", NULL, 1},    {"g4", "1 1 2 2", NULL, 1}, {"b1", NULL, "1", 9}};
enum { OPERANDS = sizeof operands / sizeof *operands, MOST_TRIES = 13000, MOST_KEPT = 3, LIST = 14 };

static void add_operand(builder *b, int k) {
    static Onnx__TensorProto *t;
    if (k == LIST) {
        add_operand(b, 0);
        builder_node(b, "SequenceConstruct", "f6 f6", "l");
    }
    if (!operands[k].type) return;
    if (operands[k].type == 1) {
        builder_weights(b, operands[k].name, operands[k].dims, NULL);
        return;
    }
    t = builder_sizes(b, operands[k].name, operands[k].values);
    t->data_type = operands[k].type;
    if (operands[k].type == 7) return;
    if (operands[k].type == 8) {
        static ProtobufCBinaryData texts[2] = {{1, (uint8_t *)"a"}, {2, (uint8_t *)"bc"}};
        t->string_data = texts;
        t->n_string_data = 2;
    } else {
        static int32_t narrow[8];
        for (size_t i = 0; i < t->n_int64_data; i++) narrow[i] = (int32_t)t->int64_data[i];
        t->int32_data = narrow;
        t->n_int32_data = t->n_int64_data;
    }
    t->n_int64_data = 0;
}

/* The graph inside of If (no inputs), Scan and Loop: outputs are the inputs from the second on, then the first. */
static Onnx__GraphProto *body(const char *op) {
    static Onnx__GraphProto g;
    static Onnx__NodeProto node[3], *nodes[3];
    static Onnx__ValueInfoProto in[3], out[3], *ins[3], *outs[3];
    static char *from[] = {"p0", "p1", "p2", "f6"}, *to[] = {"q0", "q1", "q2"};
    int n_in = !strcmp(op, "If") ? 0 : !strcmp(op, "Scan") ? 2 : 3, n = n_in ? n_in : 1;
    onnx__graph_proto__init(&g);
    for (int k = 0; k < n; k++) {
        onnx__node_proto__init(&node[k]);
        onnx__value_info_proto__init(&in[k]);
        onnx__value_info_proto__init(&out[k]);
        node[k].op_type = "Identity";
        node[k].input = &from[n_in ? (k + 1) % n : 3];
        node[k].output = &to[k];
        node[k].n_input = node[k].n_output = 1;
        in[k].name = from[k];
        out[k].name = to[k];
        nodes[k] = &node[k], ins[k] = &in[k], outs[k] = &out[k];
    }
    g.name = "body";
    g.node = nodes, g.input = ins, g.output = outs;
    g.n_node = g.n_output = (size_t)n;
    g.n_input = (size_t)n_in;
    return &g;
}

/* Every attribute that the table names, with a value that is often legal. */
static void add_attributes(builder *b, Onnx__NodeProto *n, const char *op, const char *list, int way) {
    static const struct {
        const char *name, *value;
    } known[] = {{"equation", "ij,jk->ik"}, {"kernel_shape", "2 2"}, {"pads", "0 0 0 0"}, {"strides", "1 1"}, {"dilations", "1 1"}, {"perm", "1 0"}, {"to", "7"}, {"direction", "LEFT"},
                 {"hidden_size", "1"}, {"num_scan_inputs", "1"}, {"blocksize", "1"}, {"group", "1"}, {"size", "3"}, {"dtype", "1"}, {"axes", "0"}, {"shape", "2 3"}};
    char name[64], kind;
    int n_read, kept = 0;
    for (const char *at = list; sscanf(at, "%63[^:]:%c %n", name, &kind, &n_read) == 2 && kept < 8; at += n_read) {
        const char *value = "1";
        int given = way == 2 || kind == 'g';
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (!strcmp(known[k].name, name)) value = known[k].value, given = 1;
        if (!given) continue;
        kept++;
        if (kind == 'i') builder_int(b, n, name, atoi(value));
        else if (kind == 'f') builder_float(b, n, name, 0.5f);
        else if (kind == 's') builder_text(b, n, name, value);
        else if (kind == 'I') builder_ints(b, n, name, value);
        else if (kind == 't') builder_tensor(b, n, name, builder_loose(b, "1", NULL));
        else if (kind == 'g') {
            builder_int(b, n, name, 0);
            Onnx__AttributeProto *a = n->attribute[n->n_attribute - 1];
            a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
            a->has_i = 0;
            a->g = body(op);
        } else kept--;
    }
}

static int runs(const uint8_t *bytes, size_t size) {
    hd_host *h = NULL;
    hd_nd in = {0}, out = {0};
    const int64_t one = 1;
    int good = hd_host_load_memory(&h, bytes, size, "seed", NULL) == HD_OK && hd_nd_new(&in, HD_TYPE_F32, 1, &one, 64, NULL) == HD_OK;
    if (good) {
        hd_host_set_limits(h, (hd_host_limits){1 << 16, 1e5});
        good = hd_host_run(h, &in, &out, NULL, NULL) == HD_OK;
        hd_nd_free(&in);
        hd_nd_free(&out);
    }
    hd_host_free(h);
    return good;
}

/* The operator with operands k[0..n-1] and attributes by `way`: 0 none, 1 those that it may need, 2 all. */
static builder *model_of(const hd_host_op *op, const int *k, int n, int way) {
    int opset = op->until < 13 ? op->until : op->since > 13 ? op->since : 13;
    char inputs[128] = "";
    unsigned added = 0;
    builder *b = builder_new(opset, "1", "y");
    for (int i = 0; i < n; i++) {
        if (!(added >> k[i] & 1) && !(k[i] == 0 && added >> LIST & 1)) add_operand(b, k[i]);
        added |= 1u << k[i] | (k[i] == LIST ? 1u : 0);
        snprintf(inputs + strlen(inputs), sizeof inputs - strlen(inputs), "%s%s", i ? " " : "", operands[k[i]].name);
    }
    if (op->attributes[0] && strchr(op->attributes, 'g') && !(added & 1)) add_operand(b, 0);
    Onnx__NodeProto *node = builder_node(b, op->name, inputs, "y");
    if (way) add_attributes(b, node, op->name, op->attributes, way);
    return b;
}

/* The same model with its operator inside of a function of the model. */
static void write_function(const char *name, const uint8_t *bytes, size_t size) {
    static char *inner[] = {"a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"}, *result[] = {"r"};
    static Onnx__FunctionProto f, *functions[] = {&f};
    static Onnx__NodeProto call, *calls[] = {&call};
    Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, size, bytes);
    if (!m || !m->graph || m->graph->n_node != 1 || m->graph->node[0]->n_input > 8) exit(1);
    Onnx__NodeProto *n = m->graph->node[0], **nodes = m->graph->node;
    char **outer = n->input, **out = n->output;
    onnx__function_proto__init(&f);
    onnx__node_proto__init(&call);
    f.name = call.op_type = "Wrapped";
    f.domain = call.domain = "fuzz";
    call.input = outer, call.n_input = f.n_input = n->n_input;
    call.output = out, call.n_output = f.n_output = 1;
    f.input = n->input = inner;
    f.output = n->output = result;
    f.node = nodes, f.n_node = 1;
    m->graph->node = calls;
    m->functions = functions, m->n_functions = 1;
    uint8_t *packed = malloc(onnx__model_proto__get_packed_size(m) + 1);
    if (!packed) exit(1);
    seed_write("onnx_host", name, packed, onnx__model_proto__pack(m, packed));
    free(packed);
    m->graph->node = nodes, n->input = outer, n->output = out;
    m->functions = NULL, m->n_functions = 0;
    onnx__model_proto__free_unpacked(m, NULL);
}

void seed_host(void) {
    int count, without = 0;
    const hd_host_op *op = hd_host_operators(&count);
    for (int o = 0; o < count; o++) {
        int kept = 0, most = op[o].max_inputs < 0 || op[o].max_inputs > op[o].min_inputs + 2 ? op[o].min_inputs + 2 : op[o].max_inputs;
        for (int n = op[o].min_inputs; n <= most && n < 6 && kept < MOST_KEPT; n++)
            for (int way = 0; way < 3 && kept < MOST_KEPT; way++) {
                int found = 0, tries = 0;
                long all = 1;
                for (int i = 0; i < n; i++) all *= OPERANDS;
                /* A stride that is prime to the number of ways visits them in an order that mixes operands. */
                for (long at = 0, step = 0; step < all && tries < MOST_TRIES && !found; step++, tries++, at = (at + 7919) % all) {
                    int k[8];
                    long rest = at;
                    for (int i = 0; i < n; i++) k[i] = (int)(rest % OPERANDS), rest /= OPERANDS;
                    builder *b = model_of(&op[o], k, n, way);
                    size_t size;
                    uint8_t *bytes = builder_pack(b, &size);
                    if (runs(bytes, size)) {
                        char name[64];
                        snprintf(name, sizeof name, "%s%d%d", op[o].name, n, way);
                        seed_write("onnx_host", name, bytes, size);
                        snprintf(name, sizeof name, "%s-function", op[o].name);
                        if (!kept && o % 6 == 0 && k[0] != LIST) write_function(name, bytes, size);
                        found = 1;
                        kept++;
                    }
                    free(bytes);
                    builder_free(b);
                }
            }
        if (kept) continue;
        without++; /* a search may find what is missing */
        builder *b = model_of(&op[o], (const int[8]){0}, op[o].min_inputs < 8 ? op[o].min_inputs : 8, 1);
        size_t size;
        uint8_t *bytes = builder_pack(b, &size);
        seed_write("onnx_host", op[o].name, bytes, size);
        free(bytes);
        builder_free(b);
    }
    printf("seeds: %d operators, %d of them without a model that runs\n", count, without);
}
