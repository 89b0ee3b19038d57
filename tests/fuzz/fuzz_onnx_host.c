/* An ONNX file on the host executor. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hd_host *h = NULL;
    hd_err err = {0};
    if (FUZZ_GOOD(hd_host_load_memory(&h, data, size, "fuzz.onnx", &err), &err, h)) fuzz_run_host(h);
    hd_host_free(h);
    return 0;
}
