/* Codes of the external stream (docs/formats.md, "Coded entries"): which code says the weights of a layer exactly, and the layer's entries in it. */
#ifndef HD_CODES_H
#define HD_CODES_H
#include "program.h"

typedef struct hd_coding {
    int code;          /* HD_CODE_*, or -1: none does, or none pays */
    uint32_t n_load;
    uint32_t *load;    /* what a LOAD segment brings, n_load words; owned */
    uint32_t *payload; /* [entries][weight words / 2]; owned */
} hd_coding;

/* weight: n entries of hd_geometry_weight_words(g) words, whose channels have `planes` planes; channels[i] of entry i count, what stands behind
 * them may become anything. decode: the codes that may be used, a sum of hd_code_unit. books: HD_BOOKS_WORDS words as LOAD brings them, or NULL.
 * Tried in this order: E8P, TABLE4, BOOKS, or with 8 planes TABLE16. A code that costs as much as it saves counts as none. */
hd_status hd_code_find(hd_coding *out, const hd_geometry *g, uint32_t decode, const uint32_t *weight, uint32_t n, const uint16_t *channels, uint32_t planes,
                       const uint32_t *books, hd_err *err);
void hd_coding_free(hd_coding *c);
#endif
