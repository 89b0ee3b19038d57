/* Data into codes, and the accuracy of compressed models. */
#ifndef HD_ACCURACY_H
#define HD_ACCURACY_H
#include "../../compiler/compress/model.h"
#include "../core/idx.h"

/* Item n of idx (in the order [c][h][w]) as codes [h][w][c] of tensor t: u8 is divided by 255 when `unit`, u8 and floats are
 * then quantised with the tensor's scale and zero point; i8 items are codes already. scratch: idx->item floats. */
void hd_encode_item(const hd_qtensor *t, const hd_idx *idx, uint32_t n, int unit, float *scratch, int8_t *codes);

/* Index of the first largest of n codes. */
int hd_argmax(const int8_t *codes, int n);

/* Share of the first `count` images (0 = all) whose largest output is the label: the integer executor on all cores, with a
 * progress line. The data must have passed hd_dataset_check. HD_INTERRUPTED on Ctrl-C. */
hd_status hd_model_accuracy(const hd_model *m, const hd_idx *images, const hd_idx *labels, uint32_t count, int unit, double *accuracy, hd_err *err);
#endif
