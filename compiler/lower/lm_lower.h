/* Runs of a language model as programs (docs/language.md, "On the array"). */
#ifndef HD_LM_LOWER_H
#define HD_LM_LOWER_H
#include "../compress/lm_integer.h"
#include "program.h"

/* One run for up to `tokens` tokens: its matrices are the program's layers, input and joined output are 1 x tokens positions of codes with zero point 0. r is lent for
 * the call. Errors of hd_lower. */
hd_status hd_lm_lower(hd_program **out, const hd_lm_run *r, int tokens, const hd_geometry *g, const char *board, hd_err *err);
/* Makes the program compute only the first `positions` of its positions: what its descriptors `desc` (of all, changed in place) and both ports then are. p: a program of
 * 1 x W positions whose layers read and write them one to one. */
void hd_program_shorten(uint32_t *desc, hd_port *input, hd_port *output, const hd_program *p, uint32_t positions);
#endif
