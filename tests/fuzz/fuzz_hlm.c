/* A compressed language model: read, a few tokens, and its integers. */
#include "../../compiler/compress/lm_integer.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hd_lm *m = NULL;
    hd_lm_integer *integer = NULL;
    hd_err err = {0};
    if (FUZZ_GOOD(hd_lm_load(&m, fuzz_container(data, size), &err), &err, m)) {
        fuzz_run_llama(m->model);
        FUZZ_GOOD(hd_lm_integer_new(&integer, m, &err), &err, integer);
        hd_lm_integer_free(integer);
    }
    hd_lm_free(m);
    return 0;
}
