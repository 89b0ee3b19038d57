/* idx files (two zero bytes, type, rank, big-endian sizes, big-endian data), plain or gzip-compressed. */
#ifndef HD_IDX_H
#define HD_IDX_H
#include <stddef.h>
#include <stdint.h>

#include "err.h"

typedef enum hd_idx_type { HD_IDX_U8 = 8, HD_IDX_I8 = 9, HD_IDX_I16 = 11, HD_IDX_I32 = 12, HD_IDX_F32 = 13 } hd_idx_type;

typedef struct hd_idx {
    hd_idx_type type;
    int rank;           /* 1..4; dim[0] counts the items */
    uint32_t dim[4];
    size_t item;        /* elements of one item: product of dim[1..] (1 for rank 1) */
    void *data;         /* native byte order, owned */
} hd_idx;

hd_status hd_idx_load(hd_idx **out, const char *path, hd_err *err);
hd_status hd_idx_save(const hd_idx *idx, const char *path, hd_err *err);
void hd_idx_free(hd_idx *idx);
/* Item n as floats: u8 -> x / 255 when `unit` is set, else the plain value. out has idx->item elements. */
void hd_idx_item(const hd_idx *idx, uint32_t n, int unit, float *out);
/* Items of c*h*w elements from [h][w][c] to [c][h][w], in place; dim becomes {n, c, h, w}. HD_MISMATCH for items of another size. */
hd_status hd_idx_chw(hd_idx *idx, int c, int h, int w, hd_err *err);
#endif
