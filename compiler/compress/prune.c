/* Magnitude pruning in hardware blocks. */
#include <stdlib.h>
#include <string.h>

#include "compress_internal.h"

typedef struct block {
    double norm; /* squared L2 */
    size_t index;
} block;

static int by_norm(const void *a, const void *b) {
    const block *x = a, *y = b;
    if (x->norm != y->norm) return x->norm < y->norm ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

hd_status hd_prune_blocks(uint8_t *present, const float *w, int cout, int taps, int per_tap, int block_in, int block_out, float sparsity,
                          hd_err *err) {
    size_t along = ((size_t)per_tap + (size_t)block_in - 1) / (size_t)block_in, in_blocks = (size_t)taps * along;
    size_t n = in_blocks * (((size_t)cout + (size_t)block_out - 1) / (size_t)block_out);
    block *blocks = calloc(n, sizeof *blocks);
    if (!blocks) return hd_fail(err, HD_NOMEM, "no memory for %zu pruning blocks", n);
    for (size_t i = 0; i < n; i++) blocks[i].index = i;
    for (size_t oc = 0; oc < (size_t)cout; oc++)
        for (size_t tap = 0; tap < (size_t)taps; tap++)
            for (size_t ic = 0; ic < (size_t)per_tap; ic++) {
                double x = w[(oc * (size_t)taps + tap) * (size_t)per_tap + ic];
                blocks[oc / (size_t)block_out * in_blocks + tap * along + ic / (size_t)block_in].norm += x * x;
            }
    qsort(blocks, n, sizeof *blocks, by_norm);
    size_t removed = (size_t)((double)sparsity * (double)n + 0.5);
    if (removed >= n) removed = n - 1;
    memset(present, 1, n);
    for (size_t i = 0; i < removed; i++) present[blocks[i].index] = 0;
    free(blocks);
    return HD_OK;
}
