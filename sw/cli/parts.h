/* Networks in parts (compiler/partition) on the command line. */
#ifndef HD_CLI_PARTS_H
#define HD_CLI_PARTS_H
#include "../../compiler/partition/parts.h"
#include "../explore/measure.h"
#include "cli.h"

#define CLI_PARTS_OPTIONS \
    {"--shape", "LIST", "ONNX: sizes of the inputs where the file leaves them open, as in 1x3x48x192 or x=1x3x48x192"}, \
    {"--fix", "LIST", "ONNX: inputs that always hold one number, as in sr=16000,state=0"}

/* What of an ONNX file the importer does not take as a whole, or has --shape or --fix. *graph is set when all of it maps to the array after all; else
 * *parts. */
hd_status cli_parts_cut(hd_parts **parts, hd_graph **graph, const cli_args *a, hd_err *err);
/* Compresses the array parts, calibrated by runs of the whole network, and saves all. */
hd_status cli_parts_compress(const cli_args *a, hd_parts *p, const hd_policy *policy, const char *calib, int64_t samples, const char *out, hd_err *err);
hd_status cli_parts_compile(const cli_args *a, const hd_geometry *g, const hd_lower_options *o, const char *out, hd_err *err);
hd_status cli_parts_run(const cli_args *a, hd_err *err);
hd_status cli_parts_eval(const cli_args *a, hd_err *err);
/* What a program costs, layer by layer; the layers of all array parts of a network in parts, one part after the other, are those of `program`, which stands for them. */
typedef struct cli_cost {
    hd_program program; /* names, geometry and board; a view, not to be freed */
    hd_program *own;    /* one of these two is set */
    hd_parts *parts;
    hd_cost *cost;
} cli_cost;
hd_status cli_cost_open(cli_cost *c, const char *path, hd_err *err);
/* On a device, or without a driver predicted. */
hd_status cli_cost_measure(cli_cost *c, const hd_driver *driver, const hd_device_options *o, hd_err *err);
void cli_cost_close(cli_cost *c); /* also after a failure */
/* Item n of x as the network's one input. */
hd_status cli_parts_item(hd_nd *v, const cli_args *a, const hd_parts *p, const hd_idx *x, uint32_t n, hd_err *err);
#endif
