/* An ONNX file as `heddle compress` and `eval` import it. */
#include "../../compiler/import/import.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hd_graph *g = NULL;
    hd_err err = {0};
    if (FUZZ_GOOD(hd_import_onnx_memory(&g, data, size, "fuzz.onnx", &err), &err, g)) fuzz_run_graph(g);
    hd_graph_free(g);
    return 0;
}
