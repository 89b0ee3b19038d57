/* Language models on tables: one shared codebook, or the fixed table E8P.
 *
 * A shared codebook: the tables are fitted to all block matrices with the float model's second moments, then
 * the blocks are coded in order of computation (lm.h), each matrix with the same tables. */
#ifndef HD_CODEBOOK_LM_H
#define HD_CODEBOOK_LM_H
#include "codebook.h"
#include "e8p.h"
#include "lm.h"

typedef struct hd_codebook_lm {
    hd_codebook *codebook;   /* owned */
    hd_lm *lm;               /* owned; shared_bits are those of the tables */
} hd_codebook_lm;

/* c: an unfitted codebook (hd_codebook_new), taken over, also when it fails. tokens, stride, n, t, correct, label: as in lm.h. */
hd_status hd_codebook_lm_compress(hd_codebook_lm *out, hd_codebook *c, const hd_llama *m, const int16_t *tokens, int stride, int n, int t,
                                  const hd_codebook_options *o, double correct, const char *label, hd_err *err);
void hd_codebook_lm_free(hd_codebook_lm *r);

/* (matrix[].format of a codebook of one book is ODD with `planes` bits: hd_lm_save stores the entries as plain integers, more bits than
 * are counted here, bit-equal weights.) */

/* An hd_lm_solve that sets w alone (the stored integers belong to rotated inputs): arg is the hd_e8p_options of all matrices. */
hd_status hd_lm_solve_e8p(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err);
#endif
