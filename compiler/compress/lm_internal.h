/* What the parts of the .hlm format share. Not for other folders. */
#ifndef HD_LM_INTERNAL_H
#define HD_LM_INTERNAL_H
#include "../../sw/core/bytes.h"
#include "../../sw/core/half.h"
#include "lm.h"

/* A matrix of a file may have at most this many weights for each byte of the file, so that a small forged file cannot ask for much
 * memory (one bit for a block of 8 x 8 that is absent is 512 weights a byte). */
enum { HD_LM_WEIGHTS_PER_BYTE = 512, HD_LM_MAX_BLOCK = 256 };

/* One matrix of integers or masked floats; `name` is for messages. */
hd_status hd_lm_put_matrix(hd_writer *w, const hd_lm_matrix *m, int out, int in, const char *name, hd_err *err);
hd_status hd_lm_get_matrix(hd_reader *r, hd_lm_matrix *m, int out, int in, const char *name, hd_err *err);
/* The shared tables, and one matrix of codes (m->code is set, or made). */
hd_status hd_lm_put_tables(hd_writer *w, const hd_lm *c, hd_err *err);
hd_status hd_lm_get_tables(hd_reader *r, hd_lm *c, hd_err *err);
hd_status hd_lm_put_code(hd_writer *w, const hd_lm *c, const hd_lm_matrix *m, int out, int in, const char *name, hd_err *err);
hd_status hd_lm_get_code(hd_reader *r, const hd_lm *c, hd_lm_matrix *m, int out, int in, const char *name, hd_err *err);
/* HD_FORMAT when fewer than `bytes` are left. */
hd_status hd_lm_need(const hd_reader *r, size_t bytes, const char *name, const char *what, hd_err *err);
#endif
