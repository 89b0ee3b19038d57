/* A graph as it runs once: the shape of every value, what is constant, what each node costs; and models made of some of its nodes.
 * From here the importer's leftovers are cut into parts (compiler/partition). */
#ifndef HD_CUT_H
#define HD_CUT_H
#include "../../sw/core/bytes.h"
#include "cut_options.h"
#include "host.h"
#include "proto.h"

typedef struct hd_cut_value {
    const char *name;
    hd_type type; /* HD_TYPE_NONE: no tensor */
    int rank;
    int64_t dim[HD_ND_MAX_RANK];
    int producer; /* node, or -1 */
    int constant; /* the same whatever the inputs hold */
    int output;   /* of the graph */
    hd_nd data;   /* of a constant */
} hd_cut_value;

typedef struct hd_cut_node {
    const Onnx__NodeProto *p;
    Onnx__NodeProto *own; /* a node that stands for several of the file: p, owned */
    int *in, *out;        /* values; -1: left out. in has what inner graphs read too */
    int n_in, n_out;
    int live;             /* an output depends on it, and it is not constant */
    int member_of;        /* -1, or the node that stands for it */
    double operations;
} hd_cut_node;

typedef struct hd_cut {
    hd_host *host;
    char *label;
    const char *name; /* of the graph, lent */
    int64_t opset;
    int n_values, n_nodes, capacity;
    hd_cut_value *value;
    hd_cut_node *node;
    int *order;               /* nodes in the order of the file, with made ones where their last member is */
    int n_inputs, *input;     /* values that are not fixed */
    int n_outputs, *output;
    double operations;
} hd_cut;

/* Loads a model and runs it once with zeros, or the numbers of `fix`; open sizes that `shape` does not name are 1.
 * HD_RANGE: the run takes more than HD_CUT_OPERATIONS, so that a small file cannot keep this busy for days. Networks for photographs take 1e8 to 4e10. */
#define HD_CUT_OPERATIONS 1e11
hd_status hd_cut_new(hd_cut **out, const char *path, const hd_cut_options *o, hd_err *err);
void hd_cut_free(hd_cut *c);
/* *bytes is the model with the branches of those Ifs in their places whose condition is constant, to be loaded anew, or NULL where there are none. c can then only be freed. */
hd_status hd_cut_take_branches(uint8_t **bytes, size_t *size, hd_cut *c, hd_err *err);
/* Nodes that several of the file's nodes stand for where the importer knows them by one name: HardSwish from an addition, clip and division, Gelu from Erf. */
hd_status hd_cut_fuse(hd_cut *c, hd_err *err);
/* Takes a made node apart again. */
void hd_cut_unfuse(hd_cut *c, int node);
/* An ONNX model of the given nodes (in order), appended to *w: in[] are its inputs, out[] its outputs, constants its initializers. */
hd_status hd_cut_model(hd_writer *w, const hd_cut *c, const int *nodes, int n_nodes, const int *in, int n_in, const int *out, int n_out, hd_err *err);
static inline const char *hd_cut_node_name(const hd_cut_node *n) { return n->p->name && n->p->name[0] ? n->p->name : n->p->n_output ? n->p->output[0] : ""; }
#endif
