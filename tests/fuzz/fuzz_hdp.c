/* A program: what the checker passes must run to its end on ref, in the cycles predicted. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hd_program *p = NULL;
    hd_err err = {0};
    if (FUZZ_GOOD(hd_program_load(&p, fuzz_container(data, size), &err), &err, p)) fuzz_run_program(p);
    hd_program_free(p);
    return 0;
}
