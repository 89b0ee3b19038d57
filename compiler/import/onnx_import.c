/* ONNX to the float graph: opset 7 and up, a batch of one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx_internal.h"

static const size_t copies_base = (size_t)64 << 20, copies_factor = 8;

/* Everything that is read; an attribute not named here might change the meaning, so it is refused. */
static const struct onnx_operator {
    const char *type;
    hd_onnx_op *run;
    const char *attributes; /* space after each */
} operators[] = {
    {"Abs", hd_onnx_unary, ""},
    {"Add", hd_onnx_add, ""},
    {"AveragePool", hd_onnx_avgpool, "auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides "},
    {"BatchNormalization", hd_onnx_batchnorm, "epsilon momentum spatial training_mode "},
    {"Cast", hd_onnx_cast, "saturate to "},
    {"Clip", hd_onnx_clip, "max min "},
    {"Concat", hd_onnx_concat, "axis "},
    {"Constant", hd_onnx_constant_node, "value value_float value_floats value_int value_ints "},
    {"Conv", hd_onnx_conv, "auto_pad dilations group kernel_shape pads strides "},
    {"DequantizeLinear", hd_onnx_dequantize, "axis "},
    {"Div", hd_onnx_div, ""},
    {"Dropout", hd_onnx_identity, "ratio seed "},
    {"Elu", hd_onnx_unary, "alpha "},
    {"Exp", hd_onnx_unary, ""},
    {"Flatten", hd_onnx_flatten, "axis "},
    {"Gather", hd_onnx_gather, "axis "},
    {"Gelu", hd_onnx_unary, "approximate "},
    {"Gemm", hd_onnx_gemm, "alpha beta transA transB "},
    {"GlobalAveragePool", hd_onnx_globalpool, ""},
    {"GlobalMaxPool", hd_onnx_globalpool, ""},
    {"HardSigmoid", hd_onnx_unary, "alpha beta "},
    {"HardSwish", hd_onnx_unary, ""},
    {"Identity", hd_onnx_identity, ""},
    {"LeakyRelu", hd_onnx_unary, "alpha "},
    {"MatMul", hd_onnx_matmul, ""},
    {"MaxPool", hd_onnx_maxpool, "auto_pad ceil_mode dilations kernel_shape pads storage_order strides "},
    {"Mul", hd_onnx_mul, ""},
    {"Neg", hd_onnx_unary, ""},
    {"PRelu", hd_onnx_prelu, ""},
    {"QLinearConv", hd_onnx_qlinearconv, "auto_pad dilations group kernel_shape pads strides "},
    {"QLinearMatMul", hd_onnx_qlinearmatmul, ""},
    {"QuantizeLinear", hd_onnx_quantize, "axis saturate "},
    {"ReduceMean", hd_onnx_reducemean, "axes keepdims noop_with_empty_axes "},
    {"Relu", hd_onnx_clip, ""},
    {"Reshape", hd_onnx_reshape, "allowzero "},
    {"Shape", hd_onnx_shape_of, "end start "},
    {"Sigmoid", hd_onnx_unary, ""},
    {"Softmax", hd_onnx_softmax, "axis "},
    {"Softplus", hd_onnx_unary, ""},
    {"Sqrt", hd_onnx_unary, ""},
    {"Squeeze", hd_onnx_squeeze, "axes "},
    {"Sub", hd_onnx_sub, ""},
    {"Tanh", hd_onnx_unary, ""},
    {"Transpose", hd_onnx_transpose, "perm "},
    {"Unsqueeze", hd_onnx_unsqueeze, "axes "},
};

static int listed(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *p = list; *p; p = strchr(p, ' ') + 1)
        if (strncmp(p, name, n) == 0 && p[n] == ' ') return 1;
    return 0;
}

static int is_default_domain(const char *domain) { return !domain || !domain[0] || strcmp(domain, "ai.onnx") == 0; }

static hd_status run_node(hd_onnx *o, int n, hd_err *err) {
    const Onnx__NodeProto *p = o->node[n].p;
    const struct onnx_operator *op = NULL;
    for (size_t k = 0; !op && k < sizeof operators / sizeof *operators; k++)
        if (p->op_type && strcmp(operators[k].type, p->op_type) == 0) op = &operators[k];
    if (!is_default_domain(p->domain)) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "operator domain '%s'; only 'ai.onnx' is supported", p->domain);
    if (!op)
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED,
                            "operator is not supported; supported are Conv, Gemm, MatMul, arithmetic with constants, Add, BatchNormalization, poolings, activations, Softmax and reshaping");
    for (size_t k = 0; k < p->n_attribute; k++) {
        const char *name = p->attribute[k]->name ? p->attribute[k]->name : "";
        if (!listed(op->attributes, name)) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "attribute '%s' is not supported; allowed: %s", name, op->attributes[0] ? op->attributes : "none");
    }
    for (size_t k = 1; k < p->n_output; k++)
        if (o->node[n].out[k] >= 0 && o->value[o->node[n].out[k]].uses)
            return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "output %zu '%s' is used; only first outputs are supported", k, p->output[k]);
    return op->run(o, n, err);
}

static hd_status read_opset(hd_onnx *o, const Onnx__ModelProto *m, hd_err *err) {
    int found = 0;
    for (size_t k = 0; k < m->n_opset_import; k++)
        if (is_default_domain(m->opset_import[k]->domain)) {
            if (!found || m->opset_import[k]->version > o->opset) o->opset = m->opset_import[k]->version;
            found = 1;
        }
    if (!found) return hd_fail(err, HD_FORMAT, "%s: names no version of the ONNX operator set", o->label);
    if (o->opset < 7) return hd_fail(err, HD_UNSUPPORTED, "%s: ONNX operator set %lld; 7 and up are supported", o->label, (long long)o->opset);
    return HD_OK;
}

static hd_status read_input(hd_onnx *o, hd_err *err) {
    hd_onnx_value *v = &o->value[o->input];
    const Onnx__ValueInfoProto *info = NULL;
    for (size_t k = 0; k < o->proto->n_input; k++)
        if (strcmp(o->proto->input[k]->name, v->name) == 0) info = o->proto->input[k];
    if (!info || !info->type || info->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || !info->type->tensor_type || !info->type->tensor_type->shape)
        return hd_fail(err, HD_FORMAT, "%s: input '%s' has no tensor type and shape", o->label, v->name);
    const Onnx__TypeProto__Tensor *t = info->type->tensor_type;
    if (t->elem_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT)
        return hd_fail(err, HD_UNSUPPORTED, "%s: input '%s' has element type %s (%d); float (1) is supported", o->label, v->name, hd_type_name(t->elem_type), (int)t->elem_type);
    if (t->shape->n_dim < 2 || t->shape->n_dim > 4)
        return hd_fail(err, HD_UNSUPPORTED, "%s: input '%s' has %zu dimensions; 2 to 4 (batch first) are supported", o->label, v->name, t->shape->n_dim);
    v->rank = (int)t->shape->n_dim;
    int64_t elements = 1;
    for (int k = 0; k < 4; k++) {
        v->dim[k] = 1;
        if (k >= v->rank) continue;
        const Onnx__TensorShapeProto__Dimension *d = t->shape->dim[k];
        int known = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        if (k == 0 && (!known || d->dim_value == -1 || d->dim_value == 1)) continue;
        if (!known) return hd_fail(err, HD_UNSUPPORTED, "%s: input '%s': size %d is open; only the batch may be", o->label, v->name, k);
        if (k == 0) return hd_fail(err, HD_UNSUPPORTED, "%s: input '%s' has a batch of %lld; 1 or an open batch is supported", o->label, v->name, (long long)d->dim_value);
        if (d->dim_value < 1 || d->dim_value > HD_ONNX_MAX_ELEMENTS / elements)
            return hd_fail(err, HD_RANGE, "%s: input '%s': size %d is %lld; sizes are positive and at most %d elements are allowed", o->label, v->name, k, (long long)d->dim_value, HD_ONNX_MAX_ELEMENTS);
        v->dim[k] = d->dim_value;
        elements *= d->dim_value;
    }
    v->kind = HD_ONNX_TENSOR;
    v->tensor = o->g->input = hd_graph_add_tensor(o->g, v->name, hd_onnx_shape(v));
    return v->tensor < 0 ? hd_fail(err, HD_NOMEM, "%s: out of memory", o->label) : HD_OK;
}

static hd_status finish(hd_onnx *o, hd_err *err) {
    hd_onnx_value *y = &o->value[o->output];
    if (y->kind != HD_ONNX_TENSOR) return hd_fail(err, HD_UNSUPPORTED, "%s: output '%s' does not depend on the input", o->label, y->name);
    o->g->output = y->tensor;
    /* An alias at the end (Identity, Reshape) gives the tensor the name the user knows. */
    if (y->tensor == o->g->input) return HD_OK;
    return hd_onnx_rename(o, y->tensor, y->name, err);
}

static int by_name(const void *a, const void *b) {
    const hd_node *const *x = a, *const *y = b;
    int order = strcmp((*x)->name, (*y)->name);
    return order ? order : (*x > *y) - (*x < *y);
}

/* ONNX does not ask for distinct node names; policies and messages do. The second of a name gets its number. */
static hd_status distinct_names(hd_onnx *o, hd_err *err) {
    hd_node **sorted = malloc(((size_t)o->g->n_nodes + 1) * sizeof *sorted);
    if (!sorted) return hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
    for (int i = 0; i < o->g->n_nodes; i++) sorted[i] = &o->g->node[i];
    qsort(sorted, (size_t)o->g->n_nodes, sizeof *sorted, by_name);
    hd_status status = HD_OK;
    const char *last = NULL;
    for (int i = 0; status == HD_OK && i < o->g->n_nodes; i++) {
        if (!last || strcmp(last, sorted[i]->name)) {
            last = sorted[i]->name;
            continue;
        }
        size_t size = strlen(last) + 16;
        char *name = malloc(size);
        if (!name) status = hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
        else {
            snprintf(name, size, "%s#%d", last, (int)(sorted[i] - o->g->node));
            free(sorted[i]->name);
            sorted[i]->name = name;
        }
    }
    free(sorted);
    return status;
}

static hd_status build(hd_onnx *o, hd_err *err) {
    if (o->proto->n_sparse_initializer) return hd_fail(err, HD_UNSUPPORTED, "%s: has sparse initializers; only dense ones are supported", o->label);
    hd_status status = hd_onnx_index(o, err);
    if (status != HD_OK) return status;
    o->g = hd_graph_new(o->proto->name ? o->proto->name : "");
    if (!o->g) return hd_fail(err, HD_NOMEM, "%s: out of memory", o->label);
    status = read_input(o, err);
    for (int i = 0; status == HD_OK && i < o->n_nodes; i++)
        if (o->node[o->order[i]].needed) status = run_node(o, o->order[i], err);
    if (status == HD_OK) status = finish(o, err);
    if (status == HD_OK) hd_onnx_spread_codes(o->g);
    if (status == HD_OK) status = distinct_names(o, err);
    if (status != HD_OK) return status;
    status = hd_graph_check(o->g, err);
    if (status != HD_OK) hd_fail_in(err, o->label);
    return status;
}

/* Takes m over; size: bytes that it came from. */
static hd_status import_model(hd_graph **out, Onnx__ModelProto *m, size_t size, const char *label, hd_err *err) {
    hd_onnx o = {.label = label, .proto = m->graph, .left = copies_base + copies_factor * size};
    hd_status status = m->graph ? read_opset(&o, m, err) : hd_fail(err, HD_FORMAT, "%s: holds no ONNX graph", label);
    if (status == HD_OK) status = build(&o, err);
    for (int i = 0; i < o.n_values; i++) hd_onnx_const_free(&o.value[i].constant);
    free(o.value);
    free(o.node);
    free(o.refs);
    free(o.order);
    onnx__model_proto__free_unpacked(m, NULL);
    if (status == HD_OK) *out = o.g;
    else hd_graph_free(o.g);
    return status;
}

hd_status hd_import_onnx_memory(hd_graph **out, const uint8_t *data, size_t size, const char *label, hd_err *err) {
    Onnx__ModelProto *m;
    *out = NULL;
    hd_status status = hd_onnx_parse(&m, data, size, label, err);
    return status ? status : import_model(out, m, size, label, err);
}

hd_status hd_import_onnx(hd_graph **out, const char *path, hd_err *err) {
    Onnx__ModelProto *m;
    size_t size;
    *out = NULL;
    hd_status status = hd_onnx_read_file(&m, path, &size, err);
    return status ? status : import_model(out, m, size, path, err);
}
