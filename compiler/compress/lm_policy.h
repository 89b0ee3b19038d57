/* Compression of a language model by a policy: formats, methods and codings matrix by matrix. A policy's layers are the matrices
 * "layer0.q" .. "layer4.w3" (hd_llama_name), with a trailing * as usual. */
#ifndef HD_LM_POLICY_H
#define HD_LM_POLICY_H
#include "codebook_lm.h"
#include "compress.h"

/* The layer problem's format and options that a layer's policy stands for. */
void hd_lm_format_of(hd_linear_format *f, hd_linear_options *options, const hd_layer_policy *p);
/* As hd_lm_compress, with correction; label may be NULL. HD_MISMATCH for a rule of no matrix. */
hd_status hd_lm_compress_policy(hd_lm **out, const hd_llama *m, const hd_policy *p, const int16_t *tokens, int stride, int n, int t,
                                const char *label, hd_err *err);
/* A shared table for each shape of code that the policy names, and which matrix uses which; HD_UNSUPPORTED where a coding goes with nothing else. */
hd_status hd_lm_plan_tables(hd_lm_tables *t, const hd_llama *m, const hd_policy *p, hd_err *err);
/* One matrix by a recipe with a coding. */
hd_status hd_lm_solve_coded(const hd_lm_tables *t, const hd_recipe *r, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err);
#endif
