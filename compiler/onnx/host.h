/* The host executor: runs ONNX graphs of any rank and element type in plain C, in the order of the file, as the operators'
 * definitions say. It is the reference for what the array computes, and runs what the array cannot do. */
#ifndef HD_HOST_H
#define HD_HOST_H
#include "nd.h"

typedef struct hd_host hd_host;
struct hd_call;

typedef struct hd_host_limits {
    size_t tensor_bytes; /* the largest tensor */
    double operations;   /* of a run: multiply-adds, or elements written */
} hd_host_limits;

/* An input or output of the graph. */
typedef struct hd_host_port {
    const char *name;
    hd_type type; /* HD_TYPE_NONE: no tensor, or undeclared */
    int rank;     /* -1: undeclared */
    int64_t dim[HD_ND_MAX_RANK]; /* -1: open */
} hd_host_port;

/* Reads an ONNX model and checks that every operator is one of the table. HD_UNSUPPORTED names file, node and operator. */
hd_status hd_host_load(hd_host **out, const char *path, hd_err *err);
hd_status hd_host_load_memory(hd_host **out, const uint8_t *data, size_t size, const char *label, hd_err *err);
void hd_host_free(hd_host *h);
/* The defaults are 2 GiB a tensor and 1e14 operations. */
void hd_host_set_limits(hd_host *h, hd_host_limits limits);
int hd_host_n_inputs(const hd_host *h);
int hd_host_n_outputs(const hd_host *h);
const hd_host_port *hd_host_input(const hd_host *h, int k);
const hd_host_port *hd_host_output(const hd_host *h, int k);
/* Runs the graph: in[] are lent, one for each input that no initializer gives; out[] are new.
 * *operations (may be NULL) is what the run did. Not for two threads at once. */
hd_status hd_host_run(hd_host *h, const hd_nd *in, hd_nd *out, double *operations, hd_err *err);
/* Called for each node of the main graph after it ran, with its outputs. */
typedef void hd_host_watch(void *context, int node, const hd_nd *outputs, int n_outputs, double operations);
void hd_host_set_watch(hd_host *h, hd_host_watch *watch, void *context);

/* The operators, in alphabetical order. */
typedef struct hd_host_op {
    const char *name;
    int since, until;           /* operator set versions */
    int min_inputs, max_inputs; /* max -1: any number */
    int max_outputs;
    const char *types;      /* kinds of input: f float, i integer, b bool, s string, l list, e an empty optional */
    const char *attributes; /* "name:kind ", kinds i f s t g (one) and I F S (lists), p a type */
    hd_status (*run)(struct hd_call *call);
} hd_host_op;
const hd_host_op *hd_host_operators(int *count);
#endif
