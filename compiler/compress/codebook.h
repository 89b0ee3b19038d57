/* Weights as table entries: one code names the weights of a run of inputs. Three decoders of one family:
 *
 *   tables     group 1: each weight is an entry of a 16-entry (2^bits) table, times the row's scale
 *   additive   group 2..8: a code is a vector of weights; the entries of `books` tables add up (Egiazarian et al. 2024, AQLM)
 *   trellis    window > bits: the table index is the last `window` bits of the row's code stream, so that a table of 2^window
 *              entries costs `bits` a group (Tseng et al. 2024, QTIP: bitshift trellis; here with a stored table)
 *
 * A codebook is shared by as many layers as the caller likes (on a small model its bits would dominate otherwise). Entries are odd
 * integers |u| <= 2^planes - 1, so that the array computes with them as with any ODD weight of `planes` bit-planes; sums of
 * several books need ceil(log2(books)) planes more. Row scales lie on a logarithmic grid of eight steps an octave, 6 bits a row
 * and 16 bits a layer: at most 4.4% from the best scale, 0.2% of a row's energy, where coding at 2 bits loses 4 to 6%.
 *
 * Every search is on the exact objective tr((W - W') H (W - W')^T) of linear.h: a beam through the triangular factor of H (the
 * greedy case, beam 1, is GPTQ's error feedback with blocks of `group` columns), then coordinate descent over the codes, then the
 * scale in closed form. Dead inputs (H_ii = 0) get whatever the entries hold: a table has no zero, and no input to multiply it with.
 * Deterministic under any number of threads. Formulas: docs/compression.md. */
#ifndef HD_CODEBOOK_H
#define HD_CODEBOOK_H
#include "linear.h"

typedef struct hd_codebook {
    int group;    /* inputs a code covers, 1..8; the last group of a row may reach past its end */
    int books;    /* tables whose entries add up, 1..4 (1 with a trellis) */
    int bits;     /* of a code, 1..12 */
    int window;   /* bits of a table index, bits..12; == bits: no trellis */
    int planes;   /* entries are odd, |u| <= 2^planes - 1; 2..8 */
    int16_t *entry; /* [books][2^window][group], owned */
} hd_codebook;

typedef struct hd_codebook_options {
    int beam;        /* survivors, 1..256; 1 = greedy */
    int sweeps;      /* coordinate-descent sweeps over a row's codes, 0 = none (a trellis has none: its codes overlap) */
    int rounds;      /* scale refit and search again; >= 1 */
    int fit_rounds;  /* alternations of search and least squares in hd_codebook_fit */
    double damping;  /* of mean diag H */
    uint64_t seed;   /* of the first tables */
} hd_codebook_options;

/* Beam 8, 4 sweeps, 2 rounds, 3 fit rounds, damping 0.01. */
void hd_codebook_defaults(hd_codebook_options *o);

/* What is stored for one layer, and what it decodes to. Owned; hd_codebook_result_free. */
typedef struct hd_codebook_result {
    hd_linear_result linear; /* w, v (sums of entries), scale [out], error, reference; bits_stored: codes, row scales and the octave (the
                                shared tables are counted once, by hd_codebook_bits); shift, mask and in_scale are NULL */
    uint8_t *scale_code;     /* [out] 0..63: scale = 2^(scale_base + code/8) */
    int scale_base;          /* octave of the layer */
    uint16_t *code;          /* [out][groups][books], `bits` bits each; groups = ceil(in / group) */
    int groups;
} hd_codebook_result;

/* An empty codebook with a seeded normal table (what a trellis starts from). Refusals name the field and its range. */
hd_status hd_codebook_new(hd_codebook **out, int group, int books, int bits, int window, int planes, uint64_t seed, hd_err *err);
void hd_codebook_free(hd_codebook *c);
/* Bits that the tables take. */
double hd_codebook_bits(const hd_codebook *c);

/* Fits the tables to n layers: k-means on the scaled weights (residual k-means for further books; a trellis keeps its seeded
 * table), then alternately codes all layers and solves the tables by least squares on the integer grid. The loss is the sum of the
 * layers' errors, each relative to its own reference. loss (may be NULL) receives fit_rounds + 1 values: after each coding. */
hd_status hd_codebook_fit(hd_codebook *c, const hd_linear *p, int n, const hd_codebook_options *o, double *loss, hd_err *err);

/* Codes one layer with fixed tables. */
hd_status hd_codebook_solve(hd_codebook_result *out, const hd_linear *p, const hd_codebook *c, const hd_codebook_options *o, hd_err *err);
/* Codes and scales -> v and w, as the hardware does: what hd_codebook_solve returned, from what is stored alone. */
void hd_codebook_decode(int16_t *v, float *w, const hd_codebook *c, const uint16_t *code, const uint8_t *scale_code, int scale_base, int out,
                        int in);
void hd_codebook_result_free(hd_codebook_result *r);
#endif
