/* Llama-shape language models: float weights, an executor over whole sequences on OpenBLAS, and one that goes token by token.
 *
 * Architecture (Touvron et al. 2023; file format of karpathy/llama2.c, version 0): RMS norm (eps 1e-5), rotary positions on
 * neighbouring pairs (theta 10000), grouped-query attention, SwiGLU, tied or own classifier.
 *
 * A block is two halves, each with two inputs that matrices see:
 *     QKV: norm(x) -> q, k, v       HEADS: attention -> o, added to x
 *     FFN: norm(x) -> w1, w3        GATED: silu(w1 .) * (w3 .) -> w2, added to x
 * hd_llama_inputs and hd_llama_add go through a block in these steps, so that weights may change between them. */
#ifndef HD_LLAMA_H
#define HD_LLAMA_H
#include <stddef.h>
#include <stdint.h>

#include "../../sw/core/err.h"
#include "../../sw/core/rng.h"

enum { HD_LLAMA_Q, HD_LLAMA_K, HD_LLAMA_V, HD_LLAMA_O, HD_LLAMA_W1, HD_LLAMA_W2, HD_LLAMA_W3, HD_LLAMA_MATRICES };
typedef enum hd_llama_part { HD_LLAMA_QKV, HD_LLAMA_HEADS, HD_LLAMA_FFN, HD_LLAMA_GATED, HD_LLAMA_PARTS } hd_llama_part;

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
    const struct hd_llama_codes *codes; /* lent: how what matrices read is rounded (llama_ranges.h); NULL = it stays float. Clones have none */
} hd_llama;

/* Sizes that hd_llama_new accepts: dim = heads * (an even head size), heads a multiple of kv_heads, at most 32767 tokens and
 * vocabulary entries (tokens are int16). HD_RANGE names the one that is wrong. */
hd_status hd_llama_check(const hd_llama *sizes, hd_err *err);
/* Zero weights of the given sizes (the pointers of `sizes` are not looked at); tied: the classifier is the embedding. */
hd_status hd_llama_new(hd_llama **out, const hd_llama *sizes, int tied, hd_err *err);
/* The llama2.c checkpoint `path` (version 0, little-endian float32). Every size is checked against the file's length before
 * anything is allocated: HD_FORMAT, HD_RANGE, HD_IO, HD_NOMEM. */
hd_status hd_import_llama2c(hd_llama **out, const char *path, hd_err *err);
/* The same file of m, whose import gives the same bits. HD_IO, HD_NOMEM. */
hd_status hd_export_llama2c(const hd_llama *m, const char *path, hd_err *err);
/* The GGUF file `path`, architecture "llama", tensors of F32, F16, BF16, Q8_0, Q4_0, Q4_K and Q6_K; contexts beyond 32767 tokens are cut to that. HD_FORMAT, HD_RANGE, HD_MISMATCH,
 * HD_UNSUPPORTED (other architectures, biases, other norms or rotary positions than above), HD_IO, HD_NOMEM. */
hd_status hd_import_gguf(hd_llama **out, const char *path, hd_err *err);
hd_status hd_import_gguf_memory(hd_llama **out, const uint8_t *data, size_t size, const char *label, hd_err *err);
/* A model of Hugging Face's LlamaForCausalLM in one file `path` (F32, F16, BF16), config.json in the same folder. HD_FORMAT, HD_RANGE, HD_MISMATCH, HD_UNSUPPORTED, HD_IO, HD_NOMEM. */
hd_status hd_import_safetensors(hd_llama **out, const char *path, hd_err *err);
/* NULL when out of memory. */
hd_llama *hd_llama_clone(const hd_llama *m);
void hd_llama_free(hd_llama *m);
void hd_llama_shape(const hd_llama *m, int matrix, int *out, int *in);
/* "layer3.w2" ... */
void hd_llama_name(int layer, int matrix, char *name, size_t n);
/* Weights in the matrices of all blocks: what bits per weight are counted over. */
size_t hd_llama_block_weights(const hd_llama *m);

/* Whole sequences, in parallel on all cores; results do not depend on the number of threads. x: [n][t][dim], t <= max_tokens. */

/* Token rows [n][t], `stride` apart (>= t) -> x. Tokens outside the vocabulary are HD_RANGE. */
hd_status hd_llama_embed(const hd_llama *m, const int16_t *tokens, int stride, int n, int t, float *x, hd_err *err);
/* One block, in place. */
hd_status hd_llama_block(const hd_llama *m, int layer, float *x, int n, int t, hd_err *err);
/* Columns of a part's input: dim, or hidden for GATED. */
int hd_llama_part_size(const hd_llama *m, hd_llama_part part);
/* The matrices that read a part's input; returns how many (3, 1, 2, 1). */
int hd_llama_part_matrices(hd_llama_part part, int matrix[3]);
/* in [n][t][size] = the input of `part`. QKV and FFN start from x [n][t][dim]; HEADS and GATED from the input of QKV and FFN. */
hd_status hd_llama_inputs(const hd_llama *m, int layer, hd_llama_part part, const float *from, int n, int t, float *in, hd_err *err);
/* x += W in, W the matrix o (part HEADS) or w2 (GATED). */
hd_status hd_llama_add(const hd_llama *m, int layer, hd_llama_part part, const float *in, int n, int t, float *x, hd_err *err);
/* Mean cross-entropy in nats of next (rows of t, `stride` apart) given x after the last block (final norm and classifier here). */
hd_status hd_llama_loss(const hd_llama *m, const float *x, const int16_t *next, int stride, int n, int t, double *nats, hd_err *err);
/* The whole model: rows of t+1 tokens; tokens 1..t given their prefix. */
hd_status hd_llama_cross_entropy(const hd_llama *m, const int16_t *rows, int n, int t, double *nats, hd_err *err);

/* The tokenizer of llama2.c (tok*.bin): byte-pair merges by score, bytes as a last resort. */
typedef struct hd_tokenizer hd_tokenizer;
enum { HD_TOKEN_BOS = 1, HD_TOKEN_EOS = 2 };
hd_status hd_tokenizer_load(hd_tokenizer **out, const char *path, int vocab, hd_err *err);
/* The same file in memory; `label` stands in messages for its path. */
hd_status hd_tokenizer_memory(hd_tokenizer **out, const uint8_t *data, size_t size, const char *label, int vocab, hd_err *err);
/* The tokenizer that a GGUF file carries (SentencePiece: pieces with scores). */
hd_status hd_tokenizer_load_gguf(hd_tokenizer **out, const char *path, int vocab, hd_err *err);
void hd_tokenizer_free(hd_tokenizer *t);
/* The text of `token` after `previous` (a leading space is dropped after BOS) and its length; lent. A byte token may be NUL. */
const char *hd_tokenizer_piece(const hd_tokenizer *t, int previous, int token, size_t *length);
/* Encodes UTF-8 text with BOS first; returns the count or a negative status (HD_RANGE when more than `limit` tokens come out). */
int hd_tokenizer_encode(const hd_tokenizer *t, const char *text, int16_t *tokens, int limit, hd_err *err);

/* Token by token with a key/value cache of max_tokens positions. */
typedef struct hd_llama_state hd_llama_state;
hd_status hd_llama_state_new(hd_llama_state **out, const hd_llama *m, hd_err *err);
void hd_llama_state_free(hd_llama_state *s);
/* Logits [vocab] after `token` at position `at` (0-based, < max_tokens; positions before it come first); lent until the next step. */
const float *hd_llama_step(hd_llama_state *s, int token, int at);
/* Draws a token: the largest logit at temperature 0, else from softmax(logits / temperature) cut to the likeliest tokens that
 * together reach top_p (1 = all). */
int hd_llama_sample(const float *logits, int vocab, double temperature, double top_p, hd_rng *rng);
#endif
