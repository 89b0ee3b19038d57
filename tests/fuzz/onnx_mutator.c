/* Changes of ONNX messages that stay ONNX messages: a search by bytes alone loses nearly every model at the first broken length. One change in four is a plain one. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "onnx.pb-c.h"

/* libFuzzer's. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

static uint64_t state;

static unsigned below(size_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return n ? (unsigned)(state >> 33) % (unsigned)n : 0;
}

static int64_t number(int64_t old) {
    static const int64_t odd[] = {0, 1, -1, 2, 3, 4, 7, 8, 16, 255, 256, -2, -128, 65536, INT32_MAX, INT32_MIN, (int64_t)1 << 32, INT64_MAX, INT64_MIN};
    return below(3) == 0 ? odd[below(sizeof odd / sizeof *odd)] : (int64_t)((uint64_t)old + below(7) - 3);
}

static float real(float old) {
    static const float odd[] = {0, -0.0f, 1, -1, 0.5f, 1e-30f, 1e30f, 3.4e38f, -3.4e38f};
    return below(2) ? odd[below(sizeof odd / sizeof *odd)] : old * (float)below(9) - 2;
}

static void rename_as(char **to, const char *from) {
    char *copy = from ? malloc(strlen(from) + 1) : NULL;
    if (!copy) return;
    free(*to);
    *to = strcpy(copy, from);
}

static void change_list(int64_t **list, size_t *n) {
    if (below(3) == 0) {
        int64_t *more = realloc(*list, (*n + 1) * sizeof *more);
        if (!more) return;
        *list = more;
        more[*n] = *n ? more[*n - 1] : number(1);
        ++*n;
    } else if (*n && below(4) == 0) --*n;
    else if (*n) {
        unsigned k = below(*n);
        (*list)[k] = number((*list)[k]);
    }
}

static void change_tensor(Onnx__TensorProto *t) {
    switch (below(7)) {
    case 0: change_list(&t->dims, &t->n_dims); break;
    case 1: t->has_data_type = 1, t->data_type = (int32_t)below(17); break;
    case 2:
        if (t->n_float_data) t->float_data[below(t->n_float_data)] = real(1);
        else if (t->n_int32_data) t->int32_data[below(t->n_int32_data)] = (int32_t)number(1);
        break;
    case 3: change_list(&t->int64_data, &t->n_int64_data); break;
    case 4:
        if (t->raw_data.len) t->raw_data.data[below(t->raw_data.len)] = (uint8_t)below(256);
        break;
    default:
        if (t->n_int64_data) t->int64_data[below(t->n_int64_data)] = number(t->int64_data[below(t->n_int64_data)]);
        else change_list(&t->dims, &t->n_dims);
    }
}

static void change_attribute(Onnx__AttributeProto *a) {
    if (below(12) == 0) a->has_type = 1, a->type = (Onnx__AttributeProto__AttributeType)below(14);
    else if (a->n_ints || a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS) change_list(&a->ints, &a->n_ints);
    else if (a->n_floats) a->floats[below(a->n_floats)] = real(1);
    else if (a->has_i) a->i = number(a->i);
    else if (a->has_f) a->f = real(a->f);
    else if (a->t) change_tensor(a->t);
    else if (a->has_s && a->s.len) a->s.data[below(a->s.len)] = (uint8_t)below(256);
}

/* One more attribute of those that the operator knows. */
static void add_attribute(Onnx__NodeProto *n, const char *known) {
    char name[64];
    size_t length = strcspn(known, ":");
    Onnx__AttributeProto **more = realloc(n->attribute, (n->n_attribute + 1) * sizeof *more), *a = malloc(sizeof *a);
    if (more) n->attribute = more;
    if (!more || !a || !known[length] || length >= sizeof name) {
        free(a);
        return;
    }
    memcpy(name, known, length);
    name[length] = 0;
    onnx__attribute_proto__init(a);
    a->name = NULL;
    rename_as(&a->name, name);
    a->has_type = 1;
    switch (known[length + 1]) {
    case 'f': a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT, a->has_f = 1, a->f = real(1); break;
    case 'I': a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS, change_list(&a->ints, &a->n_ints); break;
    default: a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT, a->has_i = 1, a->i = number(1);
    }
    n->attribute[n->n_attribute++] = a;
}

static void change_node(Onnx__GraphProto *g, Onnx__NodeProto *n) {
    int count;
    const hd_host_op *op = hd_host_operators(&count);
    switch (below(6)) {
    case 0: rename_as(&n->op_type, op[below((size_t)count)].name); break;
    case 1: /* an input becomes another value */
        if (!n->n_input) break;
        if (g->n_initializer && below(2)) rename_as(&n->input[below(n->n_input)], g->initializer[below(g->n_initializer)]->name);
        else if (g->n_node) {
            const Onnx__NodeProto *other = g->node[below(g->n_node)];
            if (other->n_output) rename_as(&n->input[below(n->n_input)], other->output[0]);
        }
        break;
    case 2:
        for (int k = 0; k < count; k++)
            if (n->op_type && !strcmp(op[k].name, n->op_type) && op[k].attributes[0]) {
                const char *at = op[k].attributes + below(strlen(op[k].attributes));
                while (at > op[k].attributes && at[-1] != ' ') at--;
                if (*at) add_attribute(n, at);
            }
        break;
    case 3:
        if (n->n_attribute) {
            onnx__attribute_proto__free_unpacked(n->attribute[--n->n_attribute], NULL);
            break;
        } /* fall through */
    default:
        if (n->n_attribute) change_attribute(n->attribute[below(n->n_attribute)]);
    }
}

/* Type and sizes that an input or output declares. */
static void change_declared(Onnx__ValueInfoProto *v) {
    if (!v->type || v->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || !v->type->tensor_type) return;
    Onnx__TypeProto__Tensor *t = v->type->tensor_type;
    if (below(4) == 0) t->elem_type = (int32_t)below(17);
    else if (t->shape && t->shape->n_dim) {
        Onnx__TensorShapeProto__Dimension *d = t->shape->dim[below(t->shape->n_dim)];
        if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE) d->dim_value = number(d->dim_value);
    }
}

static void change(Onnx__ModelProto *m) {
    Onnx__GraphProto *g = m->graph;
    switch (below(m->n_functions ? 9 : 8)) {
    case 8: {
        Onnx__FunctionProto *f = m->functions[below(m->n_functions)];
        if (f->n_node) change_node(g, f->node[below(f->n_node)]);
        break;
    }
    case 0:
        if (m->n_opset_import) m->opset_import[0]->has_version = 1, m->opset_import[0]->version = 1 + below(22);
        break;
    case 1: case 2:
        if (g->n_initializer) change_tensor(g->initializer[below(g->n_initializer)]);
        break;
    case 3:
        if (g->n_input) change_declared(g->input[below(g->n_input)]);
        break;
    case 4: /* a graph inside */
        for (size_t k = 0; g->n_node && k < g->n_node; k++)
            for (size_t j = 0; j < g->node[k]->n_attribute; j++) {
                Onnx__GraphProto *body = g->node[k]->attribute[j]->g;
                if (body && body->n_node && below(2)) change_node(body, body->node[below(body->n_node)]);
            }
        break;
    default:
        if (g->n_node) change_node(g, g->node[below(g->n_node)]);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    state = seed * 0x9e3779b97f4a7c15u + 1;
    Onnx__ModelProto *m = seed % 4 ? onnx__model_proto__unpack(NULL, size, data) : NULL;
    if (!m || !m->graph) {
        if (m) onnx__model_proto__free_unpacked(m, NULL);
        return LLVMFuzzerMutate(data, size, most);
    }
    for (unsigned n = 1 + below(3); n--;) change(m);
    size_t packed = onnx__model_proto__get_packed_size(m);
    if (packed && packed <= most) size = onnx__model_proto__pack(m, data);
    else size = LLVMFuzzerMutate(data, size, most);
    onnx__model_proto__free_unpacked(m, NULL);
    return size;
}
