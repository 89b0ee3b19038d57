/* Shared by the codebook files; not part of the library's interface. */
#ifndef HD_CODEBOOK_INTERNAL_H
#define HD_CODEBOOK_INTERNAL_H
#include "codebook.h"

enum { HD_CODEBOOK_GROUP = 8, HD_CODEBOOK_BOOKS = 4, HD_CODEBOOK_SCALES = 64, HD_CODEBOOK_OCTAVE = 8 };

/* A layer made ready for a group size: inputs padded to whole groups (pad weight 0), H damped (pads are independent inputs), groups in
 * processing order (falling diagonal; storage order for a trellis), and U with H = U U^T in that order, U upper:
 * the error e of a row costs |e U|^2, whose component j depends on e_0..e_j only. */
typedef struct hd_prepared {
    int out, in, n, group, groups;
    float *w;        /* [out][n] the target, storage order; dead inputs 0 */
    double *h;       /* [n][n] damped, storage order */
    float *u;        /* [n][n] processing order */
    int *order;      /* [groups]: storage group of each step */
    double weight;   /* 1 / reference */
    double reference;
} hd_prepared;

/* Metric tables of a codebook on a layer. */
typedef struct hd_metric {
    float *u;        /* [groups][books][group][entries]: c U_jj, by step */
    float *u_norm;   /* [groups][books][entries] */
    float *h_norm;   /* [groups][books][entries]: c H_gg c^T, by storage group */
    float *plain;    /* [books][group][entries]: the entries */
} hd_metric;

/* Work space of one thread. */
typedef struct hd_search hd_search;

hd_status hd_prepare(hd_prepared *out, const hd_linear *p, const hd_codebook *c, double damping, hd_err *err);
void hd_prepared_free(hd_prepared *p);
hd_status hd_metric_new(hd_metric *out, const hd_prepared *p, const hd_codebook *c, hd_err *err);
void hd_metric_free(hd_metric *m);

hd_search *hd_search_new(const hd_prepared *p, const hd_codebook *c, int beam);
void hd_search_free(hd_search *s);
/* Best of `beam` survivors: indices [groups][books] into the tables, storage order; returns the row's error. */
double hd_search_row(hd_search *s, const hd_metric *m, int row, float scale, int beam, uint16_t *index);
/* Coordinate descent on the exact row error from `index`; returns the error. Not for a trellis. */
double hd_descend_row(hd_search *s, const hd_metric *m, int row, float scale, int sweeps, uint16_t *index);
/* The scale that is best for these codes (may be <= 0 when they point the wrong way). */
double hd_best_scale(hd_search *s, int row, const uint16_t *index);
/* Exact error of a row. */
double hd_row_error(hd_search *s, int row, float scale, const uint16_t *index);

/* Codes every row: index [out][groups][books], scale_code [out]. base: octave of the layer. start: scale_code holds a scale to begin
 * from, else it is searched. Returns the error on the damped H through *error. */
hd_status hd_code_layer(const hd_prepared *p, const hd_codebook *c, const hd_codebook_options *o, int start, int base, uint8_t *scale_code, uint16_t *index,
                        double *error, hd_err *err);
int hd_scale_base(const hd_prepared *p, const hd_codebook *c);
float hd_scale_value(int base, int code);
/* Tables by integer least squares for fixed codes and scales of n layers: never raises sum of weight * error. */
hd_status hd_codebook_refit(hd_codebook *c, const hd_prepared *p, int n, uint16_t *const *index, uint8_t *const *scale_code, const int *base, hd_err *err);
#endif
