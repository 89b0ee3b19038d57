/* A checkpoint of llama2.c. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hd_llama *m = NULL;
    hd_err err = {0};
    if (FUZZ_GOOD(hd_import_llama2c(&m, fuzz_file(0, data, size), &err), &err, m)) fuzz_run_llama(m);
    hd_llama_free(m);
    return 0;
}
