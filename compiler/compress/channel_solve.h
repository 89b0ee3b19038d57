/* Which input channels several layers can do without, by exact elimination: block OBS (Kurtic et al. 2022, arXiv 2203.07259) over a channel's columns.
 *
 * Columns of all readers fall into sets, and a set leaves all of them at once. Each reader keeps the tableau of its least-squares problem
 * (solve_support.c): with S its present columns and R the absent ones
 *     a[S][S] = -(h_SS)^-1,   a[R][S] = h_RS (h_SS)^-1,   a[R][R] = h_RR - h_RS (h_SS)^-1 h_SR,
 * b the exact weights on S and the objective's slope on R. So taking set Q out costs the sum over readers and their rows of
 * -b_Q (a_QQ)^-1 b_Q^T, putting it in gains b_Q (a_QQ)^-1 b_Q^T, and one block pivot brings the tableau up to date. Not for other folders. */
#ifndef HD_CHANNEL_SOLVE_H
#define HD_CHANNEL_SOLVE_H
#include <stddef.h>
#include <stdint.h>

#include "../../sw/core/err.h"

typedef struct hd_channel_reader {
    size_t in, out;
    double *a;        /* [in][in] */
    double *b;        /* [out][in] */
    size_t *column;   /* [in] columns by set, those of set s at first[s] .. first[s + 1] - 1 */
    size_t *first;    /* [sets + 1] */
    uint8_t *counts;  /* [out] 1 = the row's error counts */
    double weight;    /* of the squared error of the rows: 1 / what they give, so that readers can be compared */
} hd_channel_reader;

/* h: [in][in] positive definite; t: [out][in] the wanted weights; set: [in] of a column, 0..sets-1; counts: [out] or NULL, all. All are copied.
 * HD_RANGE when h is not positive definite, HD_NOMEM; r is empty then, else owned by the caller (hd_channel_reader_close). */
hd_status hd_channel_reader_open(hd_channel_reader *r, const char *name, const double *h, const double *t, size_t in, size_t out, const int *set, size_t sets,
                                 const uint8_t *counts, hd_err *err);
void hd_channel_reader_close(hd_channel_reader *r);

/* Takes sets out, the cheapest first, until `left` stay; then, with `exchange`, an absent one comes in and a present one leaves while that lowers the
 * error. gone: [sets] in and out, 1 = absent; those absent at first stay so. cost: [sets] of each that is taken out, in this order, before any
 * exchange, or NULL. b[.][S] are the least-squares weights afterwards. HD_NOMEM. */
hd_status hd_channels_remove(hd_channel_reader *r, int readers, size_t sets, uint8_t *gone, size_t left, int exchange, double *cost, hd_err *err);
#endif
