/* The float graph as ONNX, opset 13 (20 with Gelu, 19 with dilated average pooling), the batch left open.
 *
 * Tensors are written with 4 dimensions, behind fully connected layers, flatten and softmax with 2; where an operator needs the other
 * form a Reshape goes between, which the importer reads as a view, not a node. So a graph comes back as it was. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/bytes.h"
#include "../../sw/core/file.h"
#include "onnx_internal.h"

typedef struct exporter {
    const hd_graph *g;
    const char **names; /* of all tensors, sorted */
    int *rank;          /* of each tensor once written */
    int64_t opset;
    Onnx__GraphProto graph;
    void **taken; /* every allocation, freed at the end */
    size_t n_taken;
    int failed; /* out of memory; all helpers then do nothing */
} exporter;

static void *take(exporter *x, size_t size) {
    void **more = x->n_taken & (x->n_taken - 1) ? x->taken : realloc(x->taken, (x->n_taken ? 2 * x->n_taken : 1) * sizeof *more);
    void *p = more && !x->failed ? calloc(1, size + 1) : NULL;
    if (more) x->taken = more;
    if (!p) {
        x->failed = 1;
        return NULL;
    }
    x->taken[x->n_taken++] = p;
    return p;
}

/* A list of pointers with one more place; the old one stays in `taken`. */
static void *longer(exporter *x, void *list, size_t n) {
    if (n && n & (n - 1)) return list;
    void *bigger = take(x, (n ? 2 * n : 1) * sizeof(void *));
    if (bigger && n) memcpy(bigger, list, n * sizeof(void *));
    return bigger;
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static char *copy(exporter *x, const char *s) {
    char *c = take(x, strlen(s) + 1);
    if (c) memcpy(c, s, strlen(s) + 1);
    return c;
}

/* `base` + `suffix`, lengthened while a tensor of the graph has that name. Node names are distinct, so these are. */
static char *fresh(exporter *x, const char *base, const char *suffix) {
    size_t n = strlen(base) + strlen(suffix), room = n + (size_t)x->g->n_tensors + 2;
    char *name = take(x, room);
    if (!name) return NULL;
    memcpy(name, base, strlen(base));
    memcpy(name + strlen(base), suffix, strlen(suffix));
    while (bsearch(&name, x->names, (size_t)x->g->n_tensors, sizeof *x->names, by_text)) name[n++] = '_';
    return name;
}

static Onnx__NodeProto *add_node(exporter *x, const char *type, const char *name) {
    Onnx__NodeProto *p = take(x, sizeof *p);
    Onnx__NodeProto **list = longer(x, x->graph.node, x->graph.n_node);
    if (!p || !list) return NULL;
    onnx__node_proto__init(p);
    p->op_type = copy(x, type);
    p->name = copy(x, name);
    x->graph.node = list;
    list[x->graph.n_node++] = p;
    return p;
}

static void add_input(exporter *x, Onnx__NodeProto *p, const char *name) {
    char **list = p ? longer(x, p->input, p->n_input) : NULL;
    if (!list || !name) return;
    p->input = list;
    list[p->n_input++] = copy(x, name);
}

static void add_output(exporter *x, Onnx__NodeProto *p, const char *name) {
    char **list = p ? longer(x, p->output, p->n_output) : NULL;
    if (!list || !name) return;
    p->output = list;
    list[p->n_output++] = copy(x, name);
}

static Onnx__AttributeProto *add_attribute(exporter *x, Onnx__NodeProto *p, const char *name, Onnx__AttributeProto__AttributeType type) {
    Onnx__AttributeProto *a = take(x, sizeof *a);
    Onnx__AttributeProto **list = p ? longer(x, p->attribute, p->n_attribute) : NULL;
    if (!a || !list) return NULL;
    onnx__attribute_proto__init(a);
    a->name = copy(x, name);
    a->has_type = 1;
    a->type = type;
    p->attribute = list;
    list[p->n_attribute++] = a;
    return a;
}

static void set_int(exporter *x, Onnx__NodeProto *p, const char *name, int v) {
    Onnx__AttributeProto *a = add_attribute(x, p, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    if (!a) return;
    a->has_i = 1;
    a->i = v;
}

static void set_float(exporter *x, Onnx__NodeProto *p, const char *name, float v) {
    Onnx__AttributeProto *a = add_attribute(x, p, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    if (!a) return;
    a->has_f = 1;
    a->f = v;
}

static void set_ints(exporter *x, Onnx__NodeProto *p, const char *name, size_t n, const int *v) {
    Onnx__AttributeProto *a = add_attribute(x, p, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    int64_t *list = take(x, n * sizeof *list);
    if (!a || !list) return;
    for (size_t k = 0; k < n; k++) list[k] = v[k];
    a->ints = list;
    a->n_ints = n;
}

/* An initializer with room for `count` elements of `bytes` each; returns its data. */
static uint8_t *add_initializer(exporter *x, const char *name, int type, size_t rank, const int *dim, size_t count, size_t bytes) {
    Onnx__TensorProto *t = take(x, sizeof *t);
    Onnx__TensorProto **list = longer(x, x->graph.initializer, x->graph.n_initializer);
    int64_t *dims = take(x, rank * sizeof *dims);
    uint8_t *data = take(x, count * bytes);
    if (!t || !list || !dims || !data || !name) return NULL;
    onnx__tensor_proto__init(t);
    for (size_t k = 0; k < rank; k++) dims[k] = dim[k];
    t->dims = dims;
    t->n_dims = rank;
    t->has_data_type = 1;
    t->data_type = type;
    t->name = copy(x, name);
    t->has_raw_data = 1;
    t->raw_data.data = data;
    t->raw_data.len = count * bytes;
    x->graph.initializer = list;
    list[x->graph.n_initializer++] = t;
    return data;
}

static void put_little(uint8_t *to, uint64_t v, size_t bytes) {
    for (size_t b = 0; b < bytes; b++) to[b] = (uint8_t)(v >> 8 * b);
}

static void float_input(exporter *x, Onnx__NodeProto *p, const char *suffix, size_t rank, const int *dim, size_t count, const float *v) {
    char *name = p ? fresh(x, p->name, suffix) : NULL;
    uint8_t *data = add_initializer(x, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, rank, dim, count, 4);
    for (size_t k = 0; data && k < count; k++) {
        uint32_t bits;
        memcpy(&bits, &v[k], sizeof bits);
        put_little(data + 4 * k, bits, 4);
    }
    add_input(x, p, name);
}

/* Name of tensor t in the wanted rank, through a Reshape if it has the other one. `user` names what needs it. */
static const char *as_rank(exporter *x, int t, int rank, const char *user, const char *suffix) {
    if (x->rank[t] == rank) return x->g->tensor[t].name;
    hd_shape s = x->g->tensor[t].shape;
    const int64_t shape[4] = {0, rank == 2 ? (int64_t)hd_shape_size(s) : s.c, s.h, s.w}; /* 0: the batch as it is */
    char *out = fresh(x, user, suffix), *list = out ? fresh(x, out, ".shape") : NULL;
    Onnx__NodeProto *p = out ? add_node(x, "Reshape", out) : NULL;
    uint8_t *data = add_initializer(x, list, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 1, &rank, (size_t)rank, 8);
    for (int k = 0; data && k < rank; k++) put_little(data + 8 * k, (uint64_t)shape[k], 8);
    add_input(x, p, x->g->tensor[t].name);
    add_input(x, p, list);
    add_output(x, p, out);
    return out;
}

static void export_window(exporter *x, Onnx__NodeProto *p, const hd_node *n) {
    const int kernel[2] = {n->kh, n->kw}, stride[2] = {n->sy, n->sx}, dilation[2] = {n->dy, n->dx};
    const int pad[4] = {n->pad_top, n->pad_left, n->pad_bottom, n->pad_right};
    set_ints(x, p, "kernel_shape", 2, kernel);
    set_ints(x, p, "strides", 2, stride);
    set_ints(x, p, "pads", 4, pad);
    if (n->op == HD_OP_AVG_POOL && n->dy == 1 && n->dx == 1) return;
    if (n->op == HD_OP_AVG_POOL && x->opset < 19) x->opset = 19;
    set_ints(x, p, "dilations", 2, dilation);
}

static void export_clip(exporter *x, const hd_node *n, const char *in) {
    int relu = n->lo == 0 && n->hi == INFINITY;
    Onnx__NodeProto *p = add_node(x, relu ? "Relu" : "Clip", n->name);
    add_input(x, p, in);
    if (!relu) {
        if (isfinite(n->lo)) float_input(x, p, ".min", 0, NULL, 1, &n->lo);
        else if (isfinite(n->hi)) add_input(x, p, "");
        if (isfinite(n->hi)) float_input(x, p, ".max", 0, NULL, 1, &n->hi);
    }
    add_output(x, p, x->g->tensor[n->output].name);
}

static void export_unary(exporter *x, const hd_node *n, const char *in) {
    static const char *const types[] = {"Sigmoid", "Tanh", "LeakyRelu", "Elu", "HardSigmoid", "HardSigmoid", "Softplus",
                                        "Exp", "Abs", "Neg", "Sqrt", "Gelu", "Sigmoid"};
    /* Two functions that opset 13 has only as a product with their gate. */
    int gated = n->fn == HD_FN_HARD_SWISH || n->fn == HD_FN_SILU;
    char *gate = gated ? fresh(x, n->name, "/gate") : NULL;
    Onnx__NodeProto *p = add_node(x, types[n->fn], gated ? (gate ? gate : "") : n->name);
    add_input(x, p, in);
    if (n->fn == HD_FN_GELU && x->opset < 20) x->opset = 20;
    if (n->fn == HD_FN_LEAKY_RELU || n->fn == HD_FN_ELU || n->fn == HD_FN_HARD_SIGMOID) set_float(x, p, "alpha", n->alpha);
    if (n->fn == HD_FN_HARD_SIGMOID) set_float(x, p, "beta", n->beta);
    if (n->fn == HD_FN_HARD_SWISH) {
        set_float(x, p, "alpha", 1.0f / 6.0f);
        set_float(x, p, "beta", 0.5f);
    }
    if (gated) {
        add_output(x, p, gate);
        p = add_node(x, "Mul", n->name);
        add_input(x, p, in);
        add_input(x, p, gate);
    }
    add_output(x, p, x->g->tensor[n->output].name);
}

static void export_node(exporter *x, const hd_node *n) {
    int a = n->input[0];
    const char *out = x->g->tensor[n->output].name, *in = x->g->tensor[a].name;
    Onnx__NodeProto *p;
    x->rank[n->output] = x->rank[a];
    switch (n->op) {
    case HD_OP_NONE: break;
    case HD_OP_CONV2D: {
        const int dim[4] = {n->cout, n->cin / n->groups, n->kh, n->kw};
        in = as_rank(x, a, 4, n->name, "/image");
        p = add_node(x, "Conv", n->name);
        add_input(x, p, in);
        float_input(x, p, ".weight", 4, dim, hd_node_weights(n), n->weight);
        if (n->bias) float_input(x, p, ".bias", 1, dim, (size_t)n->cout, n->bias);
        add_output(x, p, out);
        set_int(x, p, "group", n->groups);
        export_window(x, p, n);
        x->rank[n->output] = 4;
        break;
    }
    case HD_OP_FC: {
        const int dim[2] = {n->cout, n->cin};
        in = as_rank(x, a, 2, n->name, "/flat");
        p = add_node(x, "Gemm", n->name);
        add_input(x, p, in);
        float_input(x, p, ".weight", 2, dim, hd_node_weights(n), n->weight);
        if (n->bias) float_input(x, p, ".bias", 1, dim, (size_t)n->cout, n->bias);
        add_output(x, p, out);
        set_int(x, p, "transB", 1);
        x->rank[n->output] = 2;
        break;
    }
    case HD_OP_ADD_TENSOR: {
        const char *other = as_rank(x, n->input[1], x->rank[a], n->name, "/other");
        p = add_node(x, "Add", n->name);
        add_input(x, p, in);
        add_input(x, p, other);
        add_output(x, p, out);
        break;
    }
    case HD_OP_CLIP: export_clip(x, n, in); break;
    case HD_OP_UNARY: export_unary(x, n, in); break;
    case HD_OP_MAX_POOL:
    case HD_OP_AVG_POOL:
        in = as_rank(x, a, 4, n->name, "/image");
        p = add_node(x, n->op == HD_OP_MAX_POOL ? "MaxPool" : "AveragePool", n->name);
        add_input(x, p, in);
        add_output(x, p, out);
        export_window(x, p, n);
        if (n->op == HD_OP_AVG_POOL) set_int(x, p, "count_include_pad", n->count_include_pad != 0);
        x->rank[n->output] = 4;
        break;
    case HD_OP_FLATTEN:
    case HD_OP_SOFTMAX:
        if (n->op == HD_OP_SOFTMAX) in = as_rank(x, a, 2, n->name, "/flat");
        p = add_node(x, n->op == HD_OP_FLATTEN ? "Flatten" : "Softmax", n->name);
        add_input(x, p, in);
        add_output(x, p, out);
        set_int(x, p, "axis", 1);
        x->rank[n->output] = 2;
        break;
    }
}

static Onnx__ValueInfoProto *value_info(exporter *x, int t) {
    Onnx__ValueInfoProto *v = take(x, sizeof *v);
    Onnx__TypeProto *type = take(x, sizeof *type);
    Onnx__TypeProto__Tensor *tensor = take(x, sizeof *tensor);
    Onnx__TensorShapeProto *shape = take(x, sizeof *shape);
    Onnx__TensorShapeProto__Dimension **list = take(x, 4 * sizeof *list), *dim = take(x, 4 * sizeof *dim);
    if (!v || !type || !tensor || !shape || !list || !dim) return NULL;
    onnx__value_info_proto__init(v);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    onnx__tensor_shape_proto__init(shape);
    hd_shape s = x->g->tensor[t].shape;
    const int64_t size[4] = {0, x->rank[t] == 2 ? (int64_t)hd_shape_size(s) : s.c, s.h, s.w};
    for (int k = 0; k < 4; k++) {
        list[k] = &dim[k];
        onnx__tensor_shape_proto__dimension__init(&dim[k]);
        dim[k].value_case = k ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        if (k) dim[k].dim_value = size[k];
        else dim[k].dim_param = copy(x, "N");
    }
    shape->dim = list;
    shape->n_dim = (size_t)x->rank[t];
    tensor->has_elem_type = 1;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = shape;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    v->name = copy(x, x->g->tensor[t].name);
    v->type = type;
    return v;
}

/* A flat input that only fully connected layers read is a row of features, not an image. */
static int input_rank(const hd_graph *g) {
    hd_shape s = g->tensor[g->input].shape;
    if (s.h != 1 || s.w != 1) return 4;
    for (int i = 0; i < g->n_nodes; i++)
        if (g->node[i].op != HD_OP_FC && (g->node[i].input[0] == g->input || g->node[i].input[1] == g->input)) return 4;
    return 2;
}

static hd_status write_model(exporter *x, const char *path, hd_err *err) {
    const hd_graph *g = x->g;
    onnx__graph_proto__init(&x->graph);
    for (int t = 0; t < g->n_tensors; t++) x->names[t] = g->tensor[t].name;
    qsort(x->names, (size_t)g->n_tensors, sizeof *x->names, by_text);
    x->rank[g->input] = input_rank(g);
    for (int i = 0; i < g->n_nodes; i++) export_node(x, &g->node[i]);
    Onnx__ValueInfoProto *in = value_info(x, g->input), *out = value_info(x, g->output);
    x->graph.name = copy(x, g->name[0] ? g->name : "network"); /* ONNX asks for a name */
    x->graph.n_input = x->graph.n_output = 1;
    x->graph.input = &in;
    x->graph.output = &out;
    Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT, *opsets = &opset;
    char domain[] = "", producer[] = "heddle";
    opset.domain = domain;
    opset.has_version = 1;
    opset.version = x->opset;
    Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
    model.has_ir_version = 1;
    model.ir_version = x->opset > 18 ? 9 : 7;
    model.producer_name = producer;
    model.n_opset_import = 1;
    model.opset_import = &opsets;
    model.graph = &x->graph;
    if (x->failed) return hd_fail(err, HD_NOMEM, "%s: out of memory", path);
    size_t size = onnx__model_proto__get_packed_size(&model);
    uint8_t *data = take(x, size);
    if (!data) return hd_fail(err, HD_NOMEM, "%s: no memory for %zu bytes", path, size);
    onnx__model_proto__pack(&model, data);
    return hd_file_write(path, data, size, err);
}

hd_status hd_export_onnx(const hd_graph *g, const char *path, hd_err *err) {
    hd_status status = hd_graph_check(g, err);
    if (status != HD_OK) {
        hd_fail_in(err, path);
        return status;
    }
    exporter x = {.g = g, .opset = 13};
    x.names = malloc((size_t)g->n_tensors * sizeof *x.names);
    x.rank = calloc((size_t)g->n_tensors, sizeof *x.rank);
    status = x.names && x.rank ? write_model(&x, path, err) : hd_fail(err, HD_NOMEM, "%s: out of memory", path);
    for (size_t k = 0; k < x.n_taken; k++) free(x.taken[k]);
    free(x.taken);
    free(x.names);
    free(x.rank);
    return status;
}
