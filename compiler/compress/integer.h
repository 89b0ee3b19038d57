/* Single stages of the integer executor, for the compressor's bias correction: it fixes a stage's biases before it
 * runs that stage. Not for other folders. */
#ifndef HD_INTEGER_H
#define HD_INTEGER_H
#include "model.h"

void hd_integer_input(hd_integer *e, const int8_t *input /* [h][w][c] */);
/* Runs stage `stage` on what its input tensors hold. */
void hd_integer_stage(hd_integer *e, int stage);
#endif
