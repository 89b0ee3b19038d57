/* Activations of language models as integer codes: what every block matrix reads is rounded to `bits` bits, symmetric around 0 (codes
 * -(2^(bits-1) - 1) .. 2^(bits-1) - 1, no zero point: the inputs of these matrices have none). Embedding, norms, attention, gates and classifier
 * stay float.
 *
 * Dynamic: a scale for each token, its largest magnitude. Static: a scale for each input of a layer (q, k and v share one; o; w1 and w3; w2), found
 * beforehand. Outliers (LLM.int8(), Dettmers et al. 2022, arXiv 2208.07339): columns in which a magnitude above a threshold occurs stay
 * float and are multiplied apart; dynamic: of the sequence at hand, static: of the calibration rows.
 *
 * The executors multiply scale * code with the weights in float32, which is scale * (code . weights) up to that rounding. */
#ifndef HD_LLAMA_RANGES_H
#define HD_LLAMA_RANGES_H
#include "llama.h"

typedef struct hd_llama_codes {
    int bits;        /* 4..8 */
    float outliers;  /* threshold; 0 = none */
    int layers, width; /* of the model; the widest input of a matrix */
    float *scale;    /* [layers][HD_LLAMA_PARTS] static scales, owned; NULL = dynamic */
    uint8_t *apart;  /* [layers][HD_LLAMA_PARTS][width] static: 1 = the column stays float; NULL = none or dynamic */
} hd_llama_codes;

/* Dynamic codes for a model of m's sizes; set m->codes to use them. HD_RANGE for other bits or a threshold that is not 0 or above. */
hd_status hd_llama_codes_new(hd_llama_codes **out, const hd_llama *m, int bits, float outliers, hd_err *err);
/* Makes them static: scales with the least squared error on n rows of t tokens, `stride` apart, through m (without codes). */
hd_status hd_llama_codes_fix(hd_llama_codes *c, const hd_llama *m, const int16_t *tokens, int stride, int n, int t, hd_err *err);
void hd_llama_codes_free(hd_llama_codes *c);
/* out [t][columns]: what the matrix multiplies instead of in. */
void hd_llama_code(const hd_llama_codes *c, int layer, int matrix, const float *in, int t, int columns, float *out);

/* The inputs of every part of every block of m on n rows of t tokens, in the order of computation: in [rows][hd_llama_part_size], lent. */
typedef hd_status (*hd_llama_visitor)(void *arg, int layer, hd_llama_part part, const float *in, size_t rows, hd_err *err);
hd_status hd_llama_visit(const hd_llama *m, const int16_t *tokens, int stride, int n, int t, hd_llama_visitor f, void *arg, hd_err *err);
#endif
