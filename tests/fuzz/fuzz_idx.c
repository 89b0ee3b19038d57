/* An idx file, plain or gzip-compressed: every item as numbers, and in the other order. */
#include <stdlib.h>

#include "../../sw/core/idx.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hd_idx *x = NULL;
    hd_err err = {0};
    if (FUZZ_GOOD(hd_idx_load(&x, fuzz_file(0, data, size), &err), &err, x) && x->item * x->dim[0] < 1 << 20) {
        float *to = malloc(x->item * sizeof *to);
        for (uint32_t n = 0; to && n < x->dim[0]; n++) hd_idx_item(x, n, (int)(n & 1), to);
        free(to);
        if (x->rank == 4) hd_idx_chw(x, (int)x->dim[3], (int)x->dim[1], (int)x->dim[2], &err);
    }
    if (x) hd_idx_free(x);
    return 0;
}
