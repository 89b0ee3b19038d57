/* Automatic policies of language models: what auto.h searches, with bits and groups matrix by matrix.
 *
 * Step 1 of the search takes one walk of the float model: every matrix is solved in every format for the inputs it has there, and the loss is that of
 * the float model with this one matrix replaced. Whole models go through hd_lm_compress_policy. The loss is the cross-entropy of rows that
 * were not calibrated on. Memory beside hd_lm_compress: the block matrices in every format (floats), and the residual stream of
 * the judged rows at each block (judged * t * dim * layers floats). */
#ifndef HD_AUTO_LM_H
#define HD_AUTO_LM_H
#include "../graph/llama.h"
#include "auto.h"
#include "lm.h"

typedef struct hd_auto_lm_options {
    uint64_t budget_bytes;  /* of the block matrices, each rounded up to bytes */
    hd_layer_policy base;   /* solver; and granularity where it is given */
    int granularity_given;  /* else rows, groups of 32 and groups of 16 are tried */
    int refinements;
} hd_auto_lm_options;

typedef struct hd_auto_lm {
    hd_auto_problem problem;
    hd_auto_result *result;
    hd_policy policy;
    int calibrated, judged; /* rows of the search */
    double float_loss;      /* cross-entropy of the float model on the judged rows */
} hd_auto_lm;

/* tokens: n rows of t + 1 tokens, `stride` apart; at least two. The last quarter of the rows judges, the others calibrate. HD_NOFIT: the budget is too
 * small. The final model is the caller's to make, on as many rows as it likes. */
hd_status hd_auto_lm_run(hd_auto_lm **out, const hd_llama *m, const int16_t *tokens, int stride, int n, int t, const hd_auto_lm_options *o, hd_err *err);
void hd_auto_lm_free(hd_auto_lm *a);
/* Bytes of the block matrices as budgets count them. */
uint64_t hd_auto_lm_bytes(const hd_lm *c);
#endif
