/* ONNX's own backend tests (Debian's libonnx-testdata) on the host executor.
 *
 * A test applies when every operator in its model, in the model's graphs included, is in the executor's table; then it must give
 * every output as the file has it: integers exactly, floats within the tolerance of ONNX's runner (1e-3 of the value and 1e-7). Nothing else decides. */
#ifndef HD_CONFORMANCE_H
#define HD_CONFORMANCE_H
#include <stdio.h>

#include "../../sw/core/err.h"

#define HD_ONNX_TESTDATA "/usr/share/libonnx-testdata/data"

typedef struct hd_conformance {
    int models, applicable, passed;
} hd_conformance;

/* Runs every test of a folder of tests. passes_of (may be NULL): one element an operator of hd_host_operators, how many passed tests have it; added to.
 * log (may be NULL): a line for each test that does not apply or that fails. HD_IO where the folder is absent. */
hd_status hd_onnx_conformance(hd_conformance *t, const char *folder, int *passes_of, FILE *log, hd_err *err);
#endif
