/* Functions that a model brings along, as PyTorch's newer exporter writes modules: each call is replaced by a copy of the function's nodes.
 *
 * A copy's names are mapped: formal inputs and outputs to what the call has in their places, all others to ones of the copy's own, in the graphs inside of its nodes too.
 * Attributes that refer to the call's are replaced by those, by the function's defaults where the call has none, or left out where there is no default either. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto.h"

enum { MAX_DEPTH = 16, MAX_NODES = 1 << 20, MAX_FUNCTIONS = 4096, MAX_FORMALS = 4096 };
static const size_t copies_limit = (size_t)16 << 20; /* packed; in memory up to 50 times that */
static const size_t names_limit = (size_t)256 << 20; /* of the copies: a call may give one long name to a function that uses it a million times */
static const uint64_t looks_limit = (uint64_t)1 << 30; /* some seconds */

typedef struct inliner {
    Onnx__ModelProto *m;
    const char *label;
    size_t nodes, bytes, names, calls;
    uint64_t looks;
    int64_t opset;
    hd_err *err;
} inliner;

typedef struct call {
    inliner *x;
    const Onnx__FunctionProto *f;
    const Onnx__NodeProto *node;
    char *prefix;
} call;

/* A growing list of nodes. */
typedef struct nodes {
    Onnx__NodeProto **node;
    size_t n, capacity;
} nodes;

static const char *text(const char *s) { return s ? s : ""; }
static const char *domain_of(const char *s) { return s && strcmp(s, "ai.onnx") ? s : ""; }
static hd_status no_memory(const inliner *x) { return hd_fail(x->err, HD_NOMEM, "%s: out of memory", x->label); }

static const char *call_name(const Onnx__NodeProto *n) { return text(n->name)[0] || !n->n_output ? text(n->name) : text(n->output[0]); }

static hd_status fail(const inliner *x, const Onnx__FunctionProto *f, hd_status code, const char *what, const char *thing) {
    return hd_fail(x->err, code, "%s: function '%s': %s%s", x->label, text(f->name), what, thing);
}

/* Before `name` is looked for in a list of n entries: lists and names are as long as the file likes. */
static hd_status look(inliner *x, size_t n, const char *name) {
    x->looks += n * (uint64_t)(1 + strlen(name) / 32);
    if (x->looks <= looks_limit) return HD_OK;
    return hd_fail(x->err, HD_RANGE, "%s: inlining its functions takes more than %llu comparisons of names, the most that is allowed", x->label, (unsigned long long)looks_limit);
}

/* *out: the function that n calls, or NULL. */
static hd_status find(const Onnx__FunctionProto **out, inliner *x, const Onnx__NodeProto *n) {
    hd_status s = look(x, x->m->n_functions, text(n->op_type));
    *out = NULL;
    for (size_t k = 0; !s && !*out && k < x->m->n_functions; k++) {
        const Onnx__FunctionProto *f = x->m->functions[k];
        if (!strcmp(text(f->name), text(n->op_type)) && !strcmp(domain_of(f->domain), domain_of(n->domain))) *out = f;
    }
    return s;
}

static int add(nodes *to, Onnx__NodeProto *n) {
    if (to->n == to->capacity) {
        size_t more = to->capacity ? 2 * to->capacity : 16;
        Onnx__NodeProto **grown = realloc(to->node, more * sizeof *grown);
        if (!grown) return 0;
        to->node = grown;
        to->capacity = more;
    }
    to->node[to->n++] = n;
    return 1;
}

/* A copy in memory of malloc, as the message around it is. */
static hd_status copy_node(inliner *x, Onnx__NodeProto **out, const Onnx__NodeProto *n) {
    size_t size = onnx__node_proto__get_packed_size(n);
    if (++x->nodes > MAX_NODES || size > copies_limit - x->bytes)
        return hd_fail(x->err, HD_RANGE, "%s: its functions, inlined, have more than %d nodes or %zu bytes, the most that is allowed", x->label, MAX_NODES, copies_limit);
    x->bytes += size;
    uint8_t *bytes = malloc(size + 1);
    *out = bytes ? onnx__node_proto__unpack(NULL, onnx__node_proto__pack(n, bytes), bytes) : NULL;
    free(bytes);
    return *out ? HD_OK : no_memory(x);
}

/* The generated default of a string that is not there may be a constant; only own ones are freed. */
static hd_status replace(inliner *x, char **at, const char *prefix, const char *with) {
    size_t size = strlen(prefix) + strlen(with) + 1;
    if (size > names_limit - x->names) return hd_fail(x->err, HD_RANGE, "%s: the names in its functions, inlined, have more than %zu bytes, the most that is allowed", x->label, names_limit);
    x->names += size;
    char *own = malloc(size);
    if (!own) return no_memory(x);
    snprintf(own, size, "%s%s", prefix, with);
    if (*at && *at != (const char *)protobuf_c_empty_string) free(*at);
    *at = own;
    return HD_OK;
}

static int formal(char *const *list, size_t n, const char *name) {
    for (size_t k = 0; k < n; k++)
        if (!strcmp(text(list[k]), name)) return (int)k;
    return -1;
}

static hd_status map_name(const call *c, char **name) {
    const char *old = text(*name);
    if (!old[0]) return HD_OK;
    hd_status s = look(c->x, c->f->n_input + c->f->n_output, old);
    if (s) return s;
    int in = formal(c->f->input, c->f->n_input, old), out = formal(c->f->output, c->f->n_output, old);
    if (in >= 0) return replace(c->x, name, "", (size_t)in < c->node->n_input ? text(c->node->input[in]) : "");
    if (out >= 0 && (size_t)out < c->node->n_output && text(c->node->output[out])[0]) return replace(c->x, name, "", c->node->output[out]);
    return replace(c->x, name, c->prefix, old);
}

/* So many more bytes are copied. */
static hd_status count_bytes(inliner *x, size_t size) {
    if (size > copies_limit - x->bytes) return hd_fail(x->err, HD_RANGE, "%s: its functions, inlined, have more than %zu bytes, the most that is allowed", x->label, copies_limit);
    x->bytes += size;
    return HD_OK;
}

/* An attribute with its default, of a schema that does not know the field; it is a length, then the message. Every reading counts as a copy. */
static hd_status read_default(Onnx__AttributeProto **out, const call *c, const ProtobufCMessageUnknownField *field) {
    uint64_t size = 0;
    size_t at = 0;
    int more = field->wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    hd_status s = count_bytes(c->x, field->len);
    if (s) return s;
    for (; more && at < field->len && at < 5; at++) {
        size |= (uint64_t)(field->data[at] & 127) << (7 * at);
        more = field->data[at] >> 7;
    }
    *out = size && size == field->len - at ? onnx__attribute_proto__unpack(NULL, (size_t)size, field->data + at) : NULL;
    return *out ? HD_OK : fail(c->x, c->f, HD_FORMAT, "an attribute with a default is not readable", "");
}

/* The function's default of the attribute of that name, or NULL; to be freed when *own. */
static hd_status default_of(Onnx__AttributeProto **out, const call *c, const char *name, int *own) {
    const ProtobufCFieldDescriptor *known = protobuf_c_message_descriptor_get_field(&onnx__function_proto__descriptor, HD_ONNX_FUNCTION_DEFAULTS);
    const char *f = (const char *)c->f;
    if (known) {
        Onnx__AttributeProto **list;
        size_t n;
        memcpy(&n, f + known->quantifier_offset, sizeof n);
        memcpy(&list, f + known->offset, sizeof list);
        hd_status s = look(c->x, n, name);
        for (size_t k = 0; !s && k < n && !*out; k++)
            if (!strcmp(text(list[k]->name), name)) *out = list[k];
        return s;
    }
    hd_status looked = look(c->x, c->f->base.n_unknown_fields, name);
    if (looked) return looked;
    for (unsigned k = 0; k < c->f->base.n_unknown_fields && !*out; k++) {
        Onnx__AttributeProto *a = NULL;
        if (c->f->base.unknown_fields[k].tag != HD_ONNX_FUNCTION_DEFAULTS) continue;
        hd_status s = read_default(&a, c, &c->f->base.unknown_fields[k]);
        if (s) return s;
        *own = !strcmp(text(a->name), name);
        if (*own) *out = a;
        else onnx__attribute_proto__free_unpacked(a, NULL);
    }
    return HD_OK;
}

/* A copy of `from` under another name. */
static hd_status copy_attribute(Onnx__AttributeProto **out, const call *c, const Onnx__AttributeProto *from, const char *name) {
    size_t size = onnx__attribute_proto__get_packed_size(from);
    hd_status s = count_bytes(c->x, size);
    if (s) return s;
    uint8_t *bytes = malloc(size + 1);
    *out = bytes ? onnx__attribute_proto__unpack(NULL, onnx__attribute_proto__pack(from, bytes), bytes) : NULL;
    free(bytes);
    return *out ? replace(c->x, &(*out)->name, "", name) : no_memory(c->x);
}

/* A copy of what the attribute refers to takes its place, under its name: the call's attribute, else the function's default of it (*inside: in the function's own names); *gone when there is
 * neither. */
static hd_status resolve(const call *c, Onnx__AttributeProto **a, int *gone, int *inside) {
    const char *ref = text((*a)->ref_attr_name);
    int own = 0;
    Onnx__AttributeProto *from = NULL, *copy = NULL;
    hd_status s = look(c->x, c->node->n_attribute, ref);
    for (size_t k = 0; !s && k < c->node->n_attribute && !from; k++)
        if (!strcmp(text(c->node->attribute[k]->name), ref)) from = c->node->attribute[k];
    *inside = !from;
    if (!s && !from) s = default_of(&from, c, ref, &own);
    if (!s && from) s = copy_attribute(&copy, c, from, text((*a)->name));
    if (own) onnx__attribute_proto__free_unpacked(from, NULL);
    if (s) {
        if (copy) onnx__attribute_proto__free_unpacked(copy, NULL);
        return s;
    }
    onnx__attribute_proto__free_unpacked(*a, NULL);
    if (copy) *a = copy;
    *gone = !copy;
    return HD_OK;
}

static hd_status map_graph(const call *c, Onnx__GraphProto *g);

/* Attributes that come from the call are in the call's names, and not mapped. */
static hd_status map_node(const call *c, Onnx__NodeProto *n) {
    hd_status s = HD_OK;
    size_t kept = 0;
    for (size_t k = 0; !s && k < n->n_input; k++) s = map_name(c, &n->input[k]);
    for (size_t k = 0; !s && k < n->n_output; k++) s = map_name(c, &n->output[k]);
    if (!s && text(n->name)[0]) s = replace(c->x, &n->name, c->prefix, n->name);
    for (size_t k = 0; k < n->n_attribute; k++) {
        Onnx__AttributeProto *a = n->attribute[k];
        int gone = 0, own = !text(a->ref_attr_name)[0];
        if (!s && !own) s = resolve(c, &a, &gone, &own);
        for (size_t j = 0; !s && !gone && own && j < a->n_graphs; j++) s = map_graph(c, a->graphs[j]);
        if (!s && !gone && own && a->g) s = map_graph(c, a->g);
        if (!gone) n->attribute[kept++] = a;
    }
    n->n_attribute = kept;
    return s;
}

static hd_status map_graph(const call *c, Onnx__GraphProto *g) {
    hd_status s = HD_OK;
    for (size_t k = 0; !s && k < g->n_input; k++) s = map_name(c, &g->input[k]->name);
    for (size_t k = 0; !s && k < g->n_initializer; k++) s = map_name(c, &g->initializer[k]->name);
    for (size_t k = 0; !s && k < g->n_output; k++) s = map_name(c, &g->output[k]->name);
    for (size_t k = 0; !s && k < g->n_node; k++) s = map_node(c, g->node[k]);
    return s;
}

/* An output of the function that is an input of it, too. */
static hd_status pass_through(const call *c, const char *from, const char *to, nodes *list) {
    char *in[1] = {(char *)(uintptr_t)from}, *out[1] = {(char *)(uintptr_t)to};
    Onnx__NodeProto n = ONNX__NODE_PROTO__INIT, *made;
    n.op_type = (char *)(uintptr_t) "Identity";
    n.n_input = n.n_output = 1;
    n.input = in;
    n.output = out;
    hd_status s = copy_node(c->x, &made, &n);
    if (!s && !add(list, made)) {
        onnx__node_proto__free_unpacked(made, NULL);
        s = no_memory(c->x);
    }
    return s;
}

static hd_status check_call(const call *c) {
    const Onnx__FunctionProto *f = c->f;
    if (f->n_input > MAX_FORMALS || f->n_output > MAX_FORMALS) return fail(c->x, f, HD_RANGE, "has more than 4096 inputs or outputs", "");
    if (c->node->n_input > f->n_input) return fail(c->x, f, HD_FORMAT, "has fewer inputs than a call gives it: ", call_name(c->node));
    if (c->node->n_output > f->n_output) return fail(c->x, f, HD_FORMAT, "has fewer outputs than a call takes: ", call_name(c->node));
    hd_status s = look(c->x, f->n_opset_import, "");
    if (s) return s;
    for (size_t k = 0; k < f->n_opset_import; k++)
        if (!domain_of(f->opset_import[k]->domain)[0] && f->opset_import[k]->version != c->x->opset)
            return hd_fail(c->x->err, HD_UNSUPPORTED, "%s: function '%s': is of operator set %lld, the model of %lld; one for both is supported", c->x->label, text(f->name),
                           (long long)f->opset_import[k]->version, (long long)c->x->opset);
    return HD_OK;
}

static hd_status expand(inliner *x, Onnx__NodeProto *n, int depth, nodes *to);

static hd_status expand_call(inliner *x, const Onnx__FunctionProto *f, const Onnx__NodeProto *n, int depth, nodes *to) {
    const char *name = text(n->name)[0] ? n->name : text(f->name);
    size_t size = strlen(name) + 32;
    call c = {.x = x, .f = f, .node = n, .prefix = malloc(size)};
    if (!c.prefix) return no_memory(x);
    snprintf(c.prefix, size, "%s@%zu/", name, ++x->calls);
    hd_status s = depth < MAX_DEPTH ? check_call(&c) : hd_fail(x->err, HD_RANGE, "%s: functions call each other more than %d deep", x->label, MAX_DEPTH);
    for (size_t k = 0; !s && k < f->n_node; k++) {
        Onnx__NodeProto *made = NULL;
        s = copy_node(x, &made, f->node[k]);
        if (!s) s = map_node(&c, made);
        if (!s) s = expand(x, made, depth + 1, to);
        else if (made) onnx__node_proto__free_unpacked(made, NULL);
    }
    for (size_t k = 0; !s && k < n->n_output; k++) {
        s = look(x, f->n_input, text(f->output[k]));
        if (s) break;
        int in = formal(f->input, f->n_input, text(f->output[k]));
        if (in < 0 || !text(n->output[k])[0]) continue;
        s = (size_t)in < n->n_input ? pass_through(&c, n->input[in], n->output[k], to) : fail(x, f, HD_FORMAT, "an output is an input that a call does not give: ", text(f->output[k]));
    }
    free(c.prefix);
    return s;
}

static hd_status expand_graph(inliner *x, Onnx__GraphProto *g, int depth) {
    nodes list = {0};
    hd_status s = HD_OK;
    size_t taken = 0;
    for (; !s && taken < g->n_node; taken++) s = expand(x, g->node[taken], depth, &list);
    /* After an error the nodes that were not reached follow, so that the message is whole. */
    for (; taken < g->n_node; taken++)
        if (!add(&list, g->node[taken])) onnx__node_proto__free_unpacked(g->node[taken], NULL);
    free(g->node);
    g->node = list.node;
    g->n_node = list.n;
    return s;
}

/* Takes n over: it, or what it calls, is appended to the list. */
static hd_status expand(inliner *x, Onnx__NodeProto *n, int depth, nodes *to) {
    const Onnx__FunctionProto *f;
    hd_status s = find(&f, x, n);
    for (size_t k = 0; !s && k < n->n_attribute; k++) {
        if (n->attribute[k]->g) s = expand_graph(x, n->attribute[k]->g, depth);
        for (size_t j = 0; !s && j < n->attribute[k]->n_graphs; j++) s = expand_graph(x, n->attribute[k]->graphs[j], depth);
    }
    if (!s && f) {
        s = expand_call(x, f, n, depth, to);
        onnx__node_proto__free_unpacked(n, NULL);
        return s;
    }
    if (add(to, n)) return s;
    onnx__node_proto__free_unpacked(n, NULL);
    return no_memory(x);
}

hd_status hd_onnx_inline_functions(Onnx__ModelProto *m, const char *label, hd_err *err) {
    inliner x = {.m = m, .label = label, .err = err};
    if (!m->n_functions || !m->graph) return HD_OK;
    if (m->n_functions > MAX_FUNCTIONS) return hd_fail(err, HD_RANGE, "%s: has %zu functions; at most %d are allowed", label, m->n_functions, MAX_FUNCTIONS);
    for (size_t k = 0; k < m->n_opset_import; k++)
        if (!domain_of(m->opset_import[k]->domain)[0] && m->opset_import[k]->version > x.opset) x.opset = m->opset_import[k]->version;
    hd_status s = expand_graph(&x, m->graph, 0);
    for (size_t k = 0; !s && k < m->n_functions; k++) onnx__function_proto__free_unpacked(m->functions[k], NULL);
    if (!s) {
        free(m->functions);
        m->functions = NULL;
        m->n_functions = 0;
    }
    return s;
}
