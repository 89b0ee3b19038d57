/* PV-Tuning (Malinovskii et al. 2024, arXiv 2405.14852) of a compressed language model: codes and values are trained on in the format that is stored.
 *
 * The P step moves codes. Each weight has a place in an update buffer that follows the loss (steps of Adam without momentum, in units of the row's
 * scale); of the groups of weights that a code names, those whose nearest code to the buffer gains the most over their present one take it, at
 * most a share of all groups a step: the subspace that the step is confined to. The V step moves the values that codes name, by Adam: table entries,
 * scales and norms.
 *
 * Works on matrices of integers (each weight is a group; grids, group scales, shifts, masks and input scales stay) and of shared tables, also with several
 * books. Codes of a trellis overlap and those of E8P belong to rotated inputs: HD_UNSUPPORTED. What is stored never changes its size.
 * Deterministic, whatever the number of threads. */
#ifndef HD_PV_TUNE_H
#define HD_PV_TUNE_H
#include "../../compiler/compress/lm.h"

typedef struct hd_pv_options {
    int steps, batch;           /* batch: sequences a step */
    int written;                /* rows that the teacher writes itself and the student learns from too */
    double write_temperature;
    double share, temperature;  /* of the teacher in the loss: hd_llama_objective */
    double rate_codes;          /* step of the update buffer, in units of the weights' root mean square in their row */
    double moved;               /* at most this share of the groups takes another code in a step */
    double keep;                /* of the buffer's distance from the weights from step to step: 1 = it collects, 0 = a step only looks at its own gradient */
    double rate_entries;        /* Adam's, in units of the entries' root mean square */
    double rate_scales;         /* Adam's, of the logarithm of a scale; 0 = scales stay */
    double rate_norms;          /* Adam's; 0 = norms stay */
    uint64_t seed;              /* of the written text and the order of rows */
    const char *label;          /* of the progress line; NULL = none */
} hd_pv_options;

void hd_pv_defaults(hd_pv_options *o);

typedef struct hd_pv_report {
    double first, last; /* mean loss over the first and the last tenth of the steps */
    double moved;       /* codes that changed, times a code, in all steps */
} hd_pv_report;

/* rows: n rows of t + 1 tokens, `stride` apart, of the user's text. teacher: the float model, of the same sizes as start. report may be NULL. HD_MISMATCH,
 * HD_RANGE, HD_UNSUPPORTED, HD_NOMEM, HD_INTERRUPTED. */
hd_status hd_pv_tune(hd_lm **out, const hd_llama *teacher, const hd_lm *start, const int16_t *rows, int stride, int n, int t, const hd_pv_options *o,
                     hd_pv_report *report, hd_err *err);
#endif
