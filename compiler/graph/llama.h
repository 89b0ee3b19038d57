/* Llama-shape language models: float weights, and an executor over whole sequences on OpenBLAS.
 *
 * Architecture (Touvron et al. 2023; file format of karpathy/llama2.c, version 0): RMS norm (eps 1e-5), rotary positions on
 * neighbouring pairs (theta 10000), grouped-query attention, SwiGLU, tied or own classifier. */
#ifndef HD_LLAMA_H
#define HD_LLAMA_H
#include <stddef.h>
#include <stdint.h>

#include "../../sw/core/err.h"

enum { HD_LLAMA_Q, HD_LLAMA_K, HD_LLAMA_V, HD_LLAMA_O, HD_LLAMA_W1, HD_LLAMA_W2, HD_LLAMA_W3, HD_LLAMA_MATRICES };

typedef struct hd_llama_layer {
    float *norm_attention, *norm_ffn;   /* [dim] */
    float *matrix[HD_LLAMA_MATRICES];   /* row-major [out][in]; shapes: hd_llama_shape */
} hd_llama_layer;

typedef struct hd_llama {
    int dim, hidden, layers, heads, kv_heads, vocab, max_tokens;
    float *embedding;                   /* [vocab][dim] */
    hd_llama_layer *layer;
    float *norm_final;                  /* [dim] */
    float *classifier;                  /* [vocab][dim]; == embedding when tied */
} hd_llama;

hd_status hd_import_llama2c(hd_llama **out, const char *path, hd_err *err);
hd_llama *hd_llama_clone(const hd_llama *m);
void hd_llama_free(hd_llama *m);
void hd_llama_shape(const hd_llama *m, int matrix, int *out, int *in);
/* "layer3.w2" ... */
void hd_llama_name(int layer, int matrix, char *name, size_t n);

/* Sees the input rows of a matrix before it is applied: x is [tokens][in]. q, k, v share theirs, w1 and w3 share theirs; each is reported. */
typedef void (*hd_llama_tap)(void *arg, int layer, int matrix, const float *x, int tokens, int in);

/* One block on n sequences of t tokens: x [n][t][dim] in place. tap may be NULL. Sequences in parallel on all cores; taps are
 * called from one thread at a time, in sequence order (so that sums are the same on every run). */
hd_status hd_llama_block(const hd_llama *m, int layer, float *x, int n, int t, hd_llama_tap tap, void *arg, hd_err *err);
/* Token rows -> [n][t][dim]. Tokens outside the vocabulary are an error. */
hd_status hd_llama_embed(const hd_llama *m, const int16_t *tokens, int n, int t, float *x, hd_err *err);
/* Mean cross-entropy in nats of next[n][t] given x [n][t][dim] after the last block (final norm and classifier here). */
hd_status hd_llama_loss(const hd_llama *m, const float *x, const int16_t *next, int n, int t, double *nats, hd_err *err);
/* The whole model: rows of t+1 tokens; tokens 1..t given their prefix. */
hd_status hd_llama_cross_entropy(const hd_llama *m, const int16_t *rows, int n, int t, double *nats, hd_err *err);

/* The tokenizer of llama2.c (tok*.bin). */
typedef struct hd_tokenizer hd_tokenizer;
hd_status hd_tokenizer_load(hd_tokenizer **out, const char *path, int vocab, hd_err *err);
void hd_tokenizer_free(hd_tokenizer *t);
/* Bytes of a token after `previous` (a leading space is dropped after BOS); lent. */
const char *hd_tokenizer_piece(const hd_tokenizer *t, int previous, int token);
/* Encodes UTF-8 text with BOS first; returns the count or a negative status. */
int hd_tokenizer_encode(const hd_tokenizer *t, const char *text, int16_t *tokens, int limit, hd_err *err);

/* Token by token with a key/value cache. */
typedef struct hd_llama_state hd_llama_state;
hd_status hd_llama_state_new(hd_llama_state **out, const hd_llama *m, hd_err *err);
void hd_llama_state_free(hd_llama_state *s);
/* Logits [vocab] after `token` at position `at` (0-based, < max_tokens); lent. */
const float *hd_llama_step(hd_llama_state *s, int token, int at);
#endif
