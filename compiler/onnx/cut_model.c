/* Models made of some of a graph's nodes. The messages are put together from what is there; only packing copies. */
#include <stdlib.h>
#include <string.h>

#include "cut.h"

typedef struct port {
    Onnx__ValueInfoProto info;
    Onnx__TypeProto type;
    Onnx__TypeProto__Tensor tensor;
    Onnx__TensorShapeProto shape;
    Onnx__TensorShapeProto__Dimension dim[HD_ND_MAX_RANK], *dims[HD_ND_MAX_RANK];
} port;

static char *text(const char *s) { return (char *)(uintptr_t)s; } /* packing only reads */

static void fill_port(port *p, const hd_cut_value *v) {
    onnx__value_info_proto__init(&p->info);
    p->info.name = text(v->name);
    if (v->type == HD_TYPE_NONE) return;
    onnx__type_proto__init(&p->type);
    onnx__type_proto__tensor__init(&p->tensor);
    onnx__tensor_shape_proto__init(&p->shape);
    for (int k = 0; k < v->rank; k++) {
        onnx__tensor_shape_proto__dimension__init(&p->dim[k]);
        p->dim[k].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        p->dim[k].dim_value = v->dim[k];
        p->dims[k] = &p->dim[k];
    }
    p->shape.n_dim = (size_t)v->rank;
    p->shape.dim = p->dims;
    p->tensor.has_elem_type = 1;
    p->tensor.elem_type = (int32_t)v->type;
    p->tensor.shape = &p->shape;
    p->type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    p->type.tensor_type = &p->tensor;
    p->info.type = &p->type;
}

static void fill_tensor(Onnx__TensorProto *t, const hd_cut_value *v) {
    onnx__tensor_proto__init(t);
    t->name = text(v->name);
    t->has_data_type = 1;
    t->data_type = (int32_t)v->data.type;
    t->n_dims = (size_t)v->data.rank;
    t->dims = (int64_t *)(uintptr_t)v->data.dim;
    t->has_raw_data = 1;
    t->raw_data.data = v->data.data;
    t->raw_data.len = v->data.count * hd_type_size(v->data.type);
}

hd_status hd_cut_model(hd_writer *w, const hd_cut *c, const int *nodes, int n_nodes, const int *in, int n_in, const int *out, int n_out, hd_err *err) {
    size_t constants = 0, most = 0;
    for (int k = 0; k < n_nodes; k++) most += (size_t)c->node[nodes[k]].n_in;
    port *ports = calloc((size_t)(n_in + n_out) + 1, sizeof *ports);
    Onnx__ValueInfoProto **infos = malloc(((size_t)(n_in + n_out) + 1) * sizeof *infos);
    Onnx__TensorProto *tensors = calloc(most + 1, sizeof *tensors), **tensor = malloc((most + 1) * sizeof *tensor);
    Onnx__NodeProto **node = malloc(((size_t)n_nodes + 1) * sizeof *node);
    char *seen = calloc((size_t)c->n_values + 1, 1);
    uint8_t *bytes = NULL;
    hd_status status = ports && infos && tensors && tensor && node && seen ? HD_OK : hd_fail(err, HD_NOMEM, "%s: out of memory", c->label);
    if (status == HD_OK) {
        for (int k = 0; k < n_in + n_out; k++) {
            fill_port(&ports[k], &c->value[k < n_in ? in[k] : out[k - n_in]]);
            infos[k] = &ports[k].info;
        }
        for (int k = 0; k < n_nodes; k++) {
            const hd_cut_node *n = &c->node[nodes[k]];
            node[k] = (Onnx__NodeProto *)(uintptr_t)n->p;
            for (int j = 0; j < n->n_in; j++) {
                if (n->in[j] < 0 || !c->value[n->in[j]].constant || seen[n->in[j]]) continue;
                seen[n->in[j]] = 1;
                fill_tensor(&tensors[constants], &c->value[n->in[j]]);
                tensor[constants] = &tensors[constants];
                constants++;
            }
        }
        Onnx__OperatorSetIdProto set = ONNX__OPERATOR_SET_ID_PROTO__INIT, *sets[1] = {&set};
        Onnx__GraphProto graph = ONNX__GRAPH_PROTO__INIT;
        Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
        set.domain = text("");
        set.has_version = 1;
        set.version = c->opset;
        graph.name = text(c->name);
        graph.n_node = (size_t)n_nodes, graph.node = node;
        graph.n_input = (size_t)n_in, graph.input = infos;
        graph.n_output = (size_t)n_out, graph.output = infos + n_in;
        graph.n_initializer = constants, graph.initializer = tensor;
        model.has_ir_version = 1;
        model.ir_version = 8;
        model.n_opset_import = 1, model.opset_import = sets;
        model.graph = &graph;
        size_t size = onnx__model_proto__get_packed_size(&model);
        bytes = malloc(size + 1);
        if (!bytes) status = hd_fail(err, HD_NOMEM, "%s: no memory for a part of %zu bytes", c->label, size);
        else hd_put_bytes(w, bytes, onnx__model_proto__pack(&model, bytes));
    }
    free(ports);
    free(infos);
    free(tensors);
    free(tensor);
    free(node);
    free(seen);
    free(bytes);
    return status;
}
