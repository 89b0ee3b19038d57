/* The executor's own state; private to this folder. */
#ifndef HD_RUN_H
#define HD_RUN_H
#include "call.h"

/* A graph prepared: its names, and for each node where its values are. */
typedef struct hd_host_plan {
    const Onnx__GraphProto *graph;
    struct hd_host_plan *parent;
    int owner; /* node of the parent that has this graph */
    int n_names, n_nodes;
    const char **name;   /* sorted */
    struct hd_step *step;
    struct hd_host_plan *body; /* of the nodes with graph attributes, one after the other */
    int n_bodies;
    int *last;           /* [n_names] the last node that reads it; -1 none, n_nodes: an output */
    char *defined;       /* [n_names] while the plan is made: known so far */
    hd_nd *constant;     /* [n_names] initializers and results of Constant nodes */
    int *input, n_inputs; /* slots of the inputs that no initializer gives */
    int *output;         /* slots, or -1 for one that an outer graph has */
} hd_host_plan;

/* A name seen from a graph: `up` graphs outwards, position `slot`; slot -1: omitted. */
typedef struct hd_ref {
    int up, slot;
} hd_ref;

typedef struct hd_step {
    const Onnx__NodeProto *node;
    const hd_host_op *op;
    hd_ref *in;
    int *out; /* -1: omitted */
    int first_body, n_bodies; /* among the plan's */
} hd_step;

/* Values of a graph while it runs. */
typedef struct hd_frame {
    struct hd_frame *parent;
    hd_nd *value; /* [n_names] */
} hd_frame;

struct hd_host {
    char *label;
    Onnx__ModelProto *model;
    int64_t opset;
    hd_host_plan plan;
    hd_host_limits limits;
    double operations, beside; /* of a run; and what is no operation of the network's but takes as long: elements brought into another type, and nodes as such */
    hd_host_port *input, *output;
    int n_inputs, n_outputs;
    hd_host_watch *watch;
    void *watch_context;
};

void hd_call_end(hd_call *c);
/* Prepares h->model's graph and the graphs inside. */
hd_status hd_host_plan_new(hd_host_plan *p, hd_host *h, const Onnx__GraphProto *g, hd_host_plan *parent, int node, hd_err *err);
void hd_host_plan_free(hd_host_plan *p);
/* Where `name` is, seen from p; slot -1: nowhere. */
hd_ref hd_host_plan_find(hd_host_plan *p, const char *name);
/* Runs one node: in[] are lent, out[] new. */
hd_status hd_step_run(hd_host *h, hd_host_plan *p, hd_frame *frame, const hd_step *step, const hd_nd *const *in, hd_nd *out, hd_err *err);
/* Runs p: in[] (n_in, taken over) are the graph's inputs that no initializer gives, in order. */
hd_status hd_host_plan_run(hd_host *h, hd_host_plan *p, hd_frame *parent, hd_nd *in, int n_in, hd_nd *out, hd_err *err);
#endif
