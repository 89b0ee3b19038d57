/* One sequence through a Llama-shape model and back (internal to sw/train). A pass belongs to one thread: the buffers of the forward
 * executor, of every block what the backward pass needs again, and the gradients of the activations. */
#ifndef HD_LLAMA_PASS_H
#define HD_LLAMA_PASS_H
#include "llama_train.h"

enum { HD_LLAMA_TILE = 64 }; /* queries, or rows of logits, that are computed at a time */

/* What one block leaves for its backward pass. */
typedef struct hd_llama_saved {
    float *x, *middle;                  /* [t][dim] the stream before the block, and between its halves */
    float *normed_attention, *normed_ffn; /* [t][dim] */
    float *q, *k, *v, *heads;           /* [t][dim], k and v [t][kv]; q and k rotated */
    float *attention;                   /* the softmax of every head, tile by tile: [heads][tiles][rows][keys up to the tile's end] */
    float *gate, *up, *gated;           /* [t][hidden] w1 in, w3 in, silu(gate) * up */
} hd_llama_saved;

typedef struct hd_llama_pass {
    hd_llama sizes;                     /* only the numbers */
    int t, kept;                        /* kept: blocks with a place of their own; 1 without a backward pass */
    hd_llama_saved *saved;              /* [kept] */
    float *rotation;                    /* [t][head] */
    float *x, *normed;                  /* [t][dim] the stream, and its final norm */
    float *logits;                      /* [TILE][vocab] */
    float *dx, *dnormed, *dq, *dheads;  /* [t][dim]; NULL without a backward pass */
    float *dk, *dv;                     /* [t][kv] */
    float *dgate, *dup;                 /* [t][hidden] */
    float *dscores;                     /* [TILE][t] */
    float *memory;                      /* owns all of the above */
} hd_llama_pass;

/* Buffers for sequences of t tokens of a model of m's sizes. */
hd_status hd_llama_pass_new(hd_llama_pass *p, const hd_llama *m, int t, int backward, hd_err *err);
void hd_llama_pass_free(hd_llama_pass *p);
/* Floats of one head's softmax in hd_llama_saved.attention. */
size_t hd_llama_attention_size(int t);
/* Runs t tokens (each within the vocabulary); leaves the final norm's output in p->normed. */
void hd_llama_pass_forward(hd_llama_pass *p, const hd_llama *m, const int16_t *tokens);
/* p->logits of the tokens first..first+rows-1, rows <= TILE. */
void hd_llama_pass_logits(hd_llama_pass *p, const hd_llama *m, int first, int rows);
/* Takes the gradient of those logits (in p->logits) back to the classifier and to p->dnormed. Tiles come in rising order: the first one
 * overwrites what is in `gradient`, the others add. */
void hd_llama_pass_classifier(hd_llama_pass *p, const hd_llama *m, const hd_llama_params *at, int first, int rows, float *gradient);
/* After all tiles: the gradient of everything else. */
void hd_llama_pass_backward(hd_llama_pass *p, const hd_llama *m, const hd_llama_params *at, const int16_t *tokens, float *gradient);
#endif
