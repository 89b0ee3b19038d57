/* A compressed model: read, executed, compiled and run. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hd_model *m = NULL;
    hd_err err = {0};
    if (FUZZ_GOOD(hd_model_load(&m, fuzz_container(data, size), &err), &err, m)) fuzz_run_model(m);
    hd_model_free(m);
    return 0;
}
