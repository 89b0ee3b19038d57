/* The same arithmetic as plain C: what a processor core does with a compressed model when the loops are laid out for it. The
 * yardstick of `heddle bench sim`; one thread. */
#ifndef HD_NATIVE_H
#define HD_NATIVE_H
#include "../../compiler/compress/model.h"

typedef struct hd_native hd_native;
/* m lent. HD_UNSUPPORTED for residual layers and groups: the yardstick runs the default network. */
hd_status hd_native_new(hd_native **out, const hd_model *m, hd_err *err);
void hd_native_free(hd_native *n);
/* Codes [h][w][c] in; the output tensor [h][w][c], lent until the next call. Byte-equal to hd_integer_run. */
const int8_t *hd_native_run(hd_native *n, const int8_t *input);
#endif
