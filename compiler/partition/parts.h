/* A network in parts: what maps to the array, and in front, between and behind what the host executor runs.
 *
 * An array part is a connected piece of the ONNX graph with one input and one output that the importer takes. Everything else is in host
 * parts. Parts are in the order they run in; values pass between them as float (or integer) tensors of fixed shape, batch 1. */
#ifndef HD_PARTS_H
#define HD_PARTS_H
#include "../compress/compress.h"
#include "../compress/model.h"
#include "../graph/graph.h"
#include "../lower/program.h"
#include "../onnx/cut_options.h"
#include "../onnx/host.h"

typedef enum hd_part_kind { HD_PART_HOST, HD_PART_ARRAY } hd_part_kind;

typedef struct hd_parts_value {
    char *name;
    hd_type type;
    int rank;
    int64_t dim[HD_ND_MAX_RANK];
} hd_parts_value;

typedef struct hd_part {
    hd_part_kind kind;
    char *name; /* of an array part: its first node */
    int n_in, n_out, *in, *out; /* values; an array part has one of each */
    hd_writer onnx;             /* its nodes as an ONNX model; of an array part only until it is compressed */
    hd_model *model;            /* array: after compression */
    hd_program *program;        /* array: after compilation */
    hd_host *host;              /* host: loaded from onnx */
    hd_graph *graph;            /* array: imported from onnx when it first runs in float */
    hd_exec *exec;
} hd_part;

typedef struct hd_parts_node {
    char *name, *op, *why; /* why: of a host node, what keeps it from the array */
    int part;
    double operations;     /* of one run, on the host */
} hd_parts_node;

typedef struct hd_parts {
    char *name;
    int n_values, n_inputs, n_outputs, n_parts, n_nodes;
    hd_parts_value *value;
    int *input, *output;
    hd_part *part;
    hd_parts_node *node;
} hd_parts;

/* Cuts an ONNX file. HD_UNSUPPORTED when the host executor cannot run it. */
hd_status hd_parts_cut(hd_parts **out, const char *path, const hd_cut_options *o, hd_err *err);
void hd_parts_free(hd_parts *p);
int hd_parts_count(const hd_parts *p, hd_part_kind kind);
/* The float network of array part k, for compressing; the caller frees it. */
hd_status hd_parts_graph(hd_graph **out, const hd_parts *p, int k, hd_err *err);
/* Files: parts of models (.hdm) or of programs (.hdp), docs/formats.md section 8. */
hd_status hd_parts_save(const hd_parts *p, int programs, const char *path, hd_err *err);
hd_status hd_parts_load(hd_parts **out, int programs, const char *path, hd_err *err);

/* What an array part does while running: from in (as many floats as its input value has) to *out (new). */
typedef hd_status hd_parts_step(void *context, int part, const hd_nd *in, hd_nd *out, hd_err *err);
/* Runs all parts: in[] are lent, out[] new. */
hd_status hd_parts_run(hd_parts *p, const hd_nd *in, hd_nd *out, hd_parts_step *array, void *context, hd_err *err);
/* An array part before compression, in float; context is the hd_parts. */
hd_parts_step hd_parts_float;
/* An array part's tensors: value [1][c][h][w] (or [1][c]) to codes [h][w][c] and back; h, w, c, scale and zero of the model's or program's port. */
void hd_parts_encode(int8_t *codes, const hd_nd *v, const hd_qtensor *t);
hd_status hd_parts_decode(hd_nd *out, const int8_t *codes, const hd_qtensor *t, const hd_parts_value *v, hd_err *err);
#endif
