/* The coded formats of the external weight stream, read from docs/formats.md section 8 alone: golden model of hw/decode. */
#ifndef HD_REF_CODES_H
#define HD_REF_CODES_H
#include "../compiler/lower/program.h"

/* What the decoders keep: the pair table and the two books, as LOAD segments brought them. */
typedef struct hd_ref_codes {
    uint16_t pair[256];
    uint32_t book[2][256];
} hd_ref_codes;

/* A LOAD segment of variant `code` (HD_CODE_*): hd_code_loads(code) words. */
void hd_ref_codes_load(hd_ref_codes *c, int code, const uint32_t *words);
/* One entry: half its weight word (hd_geometry_weight_words(g) / 2 words) in `coded` -> the weight word. The geometry has LANES of 8 or more, a whole
 * number of weight words, an even one, and columns for whole channels of hd_code_planes(code) planes (hd_code_fits). */
void hd_ref_codes_entry(uint32_t *weight, const hd_ref_codes *c, int code, const uint32_t *coded, const hd_geometry *g);
/* Cycles from the decoder's last word of an entry to the last weight word that it makes of them (docs/hardware.md). */
uint32_t hd_ref_codes_delay(int code, const hd_geometry *g);
#endif
