/* A compressed language model as integers alone: what `heddle generate --device` computes, defined in docs/language.md.
 *
 * Every product with a matrix is a product of int8 codes with the file's integers, requantised to int8 codes as the array's post lanes do it. These
 * `runs` are left to the caller: a device, or plain loops in a test. Norms, rotary positions, attention, gates, residual stream and sampling are here, in
 * the integers of compiler/graph/fixed.h. Tokens that come after each other are independent of how they are dealt out over calls. */
#ifndef HD_LM_INTEGER_H
#define HD_LM_INTEGER_H
#include "../graph/fixed.h"
#include "lm.h"

/* Matrices that read the same codes. */
typedef struct hd_lm_run {
    char name[32];         /* "layer3.qkv", "layer3.o", "layer3.w13", "layer3.w2", "classifier" */
    int matrices, in, out; /* out: rows of all, one matrix after the other */
    int rows[3];
    int bits;              /* smallest B with |v| < 2^B */
    const int16_t *v[3];   /* [rows][in]: lent, but for the classifier's */
    uint16_t *mult;        /* [out] code = clamp((sum of v * input code * mult + 2^(shift-1)) >> shift), -128 .. 127 */
    uint8_t *shift;        /* [out] 17 .. 46 */
    hd_scaled *unit;       /* [out] what an output code of 1 stands for when an input code of 1 stands for 1 */
} hd_lm_run;

typedef struct hd_lm_integer {
    int dim, hidden, layers, heads, kv_heads, vocab, max_tokens;
    int runs;              /* 4 a layer in the order of hd_llama_part, then the classifier */
    hd_lm_run *run;
    int32_t *embedding;    /* [vocab][dim] Q16 */
    int16_t *gain;         /* [2 * layers + 1][dim]: before attention, before the feed-forward part, ...; final */
    int *gain_bits;        /* [2 * layers + 1] fraction bits of these */
    int16_t *classifier;   /* [vocab][dim] odd, -255 .. 255 */
} hd_lm_integer;

/* c is lent and must outlive it. HD_UNSUPPORTED for what the array cannot hold (scales or zero points of groups, float values, input scales, E8P, low
 * rank, no ranges), naming the matrix and the command that makes a model that fits; HD_RANGE for heads of more than 256 elements or rows that pass 31 bits. */
hd_status hd_lm_integer_new(hd_lm_integer **out, const hd_lm *c, hd_err *err);
void hd_lm_integer_free(hd_lm_integer *m);

/* codes [tokens][in] -> out [tokens][out] of run `run`. */
typedef hd_status (*hd_lm_project)(void *arg, int run, const int8_t *codes, int tokens, int8_t *out, hd_err *err);

typedef struct hd_lm_state hd_lm_state;
/* A key/value cache of max_tokens positions and room for `most` tokens a step. m and arg are lent. */
hd_status hd_lm_state_new(hd_lm_state **out, const hd_lm_integer *m, int most, hd_lm_project project, void *arg, hd_err *err);
void hd_lm_state_free(hd_lm_state *s);
/* n tokens (1 to most) at positions at .. at + n - 1; those before it came first. *logits: [wanted][vocab] in Q16 after the last `wanted` of them (0 to n),
 * lent until the next step. HD_RANGE for a token outside the vocabulary or a position outside the cache, and what `project` fails with. */
hd_status hd_lm_state_step(hd_lm_state *s, const int16_t *token, int n, int at, int wanted, const int32_t **logits, hd_err *err);

/* -ln of the probability of `next` under these logits, nats with 30 fraction bits. */
int64_t hd_lm_nats(const int32_t *logits, int vocab, int next);
/* Sum of that over tokens 1 .. t of a row of t + 1, each given its prefix. */
hd_status hd_lm_row_nats(hd_lm_state *s, const int16_t *row, int t, int64_t *nats, hd_err *err);
/* Draws a token: the largest logit (the first of equals) at temperature 0, else from softmax(logits / temperature) cut to the likeliest that together reach
 * top_p. temperature and top_p have 16 fraction bits; one number is drawn. */
int hd_lm_sample(const int32_t *logits, int vocab, int64_t temperature, int64_t top_p, hd_rng *rng);

/* The ranges that requantisation needs (hd_lm.reach), from n rows of t tokens through c's decoded weights. Results do not depend on the number of threads. */
hd_status hd_lm_measure_reach(hd_lm *c, const int16_t *tokens, int stride, int n, int t, hd_err *err);
/* How many floats these are. */
size_t hd_lm_reach_size(const hd_llama *m);
#endif
