/* Language models on tables: shared codebooks, or the fixed table E8P.
 *
 * Shared codebooks: each is fitted to all the matrices that are to use it with the float model's second moments, then the blocks are coded in
 * order of computation (lm.h), each matrix with its fitted table. */
#ifndef HD_CODEBOOK_LM_H
#define HD_CODEBOOK_LM_H
#include "codebook.h"
#include "e8p.h"
#include "lm.h"

/* Which matrix is coded with which shared table. */
typedef struct hd_lm_tables {
    hd_codebook **table;          /* [count] owned */
    int count;
    hd_codebook_options options;
    int *of;                      /* [layers * HD_LLAMA_MATRICES] a table, or -1; owned */
} hd_lm_tables;

/* No tables yet; all of `of` -1. HD_NOMEM. */
hd_status hd_lm_tables_new(hd_lm_tables *t, const hd_llama *m, hd_err *err);
/* The table of this shape, made when there is none yet: its number through *number. Refusals as hd_codebook_new. */
hd_status hd_lm_tables_add(hd_lm_tables *t, int *number, int group, int books, int bits, int window, int planes, hd_err *err);
/* Fits every table to the matrices that use it; moments of the float model on tokens as in lm.h. */
hd_status hd_lm_tables_fit(hd_lm_tables *t, const hd_llama *m, const int16_t *tokens, int stride, int n, int t_tokens, hd_err *err);
/* Codes a matrix with its table. Several may run at a time. */
hd_status hd_lm_solve_table(const hd_lm_tables *t, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err);
/* Hands the tables over to the model that uses them, with their bits. */
void hd_lm_tables_give(hd_lm_tables *t, hd_lm *c);
void hd_lm_tables_free(hd_lm_tables *t);

/* The whole model on one codebook. c: unfitted (hd_codebook_new), taken over, also when it fails. tokens, stride, n, t, correct, label: as in lm.h. */
hd_status hd_codebook_lm_compress(hd_lm **out, hd_codebook *c, const hd_llama *m, const int16_t *tokens, int stride, int n, int t,
                                  const hd_codebook_options *o, double correct, const char *label, hd_err *err);

/* An hd_lm_solve: arg is the hd_e8p_options of all matrices. */
hd_status hd_lm_solve_e8p(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err);
#endif
