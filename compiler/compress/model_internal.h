/* What the files of the model share: limits, the weight codec and the shape check. Not for other folders. */
#ifndef HD_MODEL_INTERNAL_H
#define HD_MODEL_INTERNAL_H
#include "model.h"

/* Limits of what is read from a file. A tensor's sizes are not backed by bytes of the file, so they are bounded here:
 * the hardware's fields have 16 bits, and 2^26 elements is beyond every activation memory. */
enum { HD_MODEL_MAX_DIM = 65535, HD_MODEL_MAX_BLOCK = 256, HD_MODEL_MAX_ELEMENTS = 1 << 26 };
enum { HD_STAGE_CHANNEL_BYTES = 4 + 4 + 2 + 1 }; /* scale, bias, mult, shift */

/* Inputs of one output channel: kh * kw * cin/groups. */
static inline size_t hd_stage_inputs(const hd_stage *s) {
    return (size_t)s->kh * (size_t)s->kw * (size_t)(s->cin / s->groups);
}
/* Groups of inputs of one output channel that have a shift (GROUP granularity; else 0). */
static inline size_t hd_stage_shift_groups(const hd_stage *s) {
    if (s->granularity != HD_GRANULARITY_GROUP || s->group_size < 1) return 0;
    return (hd_stage_inputs(s) + (size_t)s->group_size - 1) / (size_t)s->group_size;
}
static inline size_t hd_stage_out_blocks(const hd_stage *s) {
    return s->block_out < 1 ? 0 : (size_t)((s->cout + s->block_out - 1) / s->block_out);
}
/* Is input `input` (along ky, kx, ic) of channel oc stored? */
/* The pruning block of an input of an output channel; of a stage that has blocks. */
size_t hd_stage_block(const hd_stage *s, size_t oc, size_t input);
int hd_stage_is_present(const hd_stage *s, size_t oc, size_t input);
/* Weights that are stored. */
size_t hd_stage_present(const hd_stage *s);

/* Smallest and largest value of a grid (before the group shift). */
int hd_grid_min(enum hd_grid grid, int bits);
int hd_grid_max(enum hd_grid grid, int bits);
int hd_grid_has(enum hd_grid grid, int bits, int value);
size_t hd_codes_bytes(enum hd_grid grid, int bits, size_t count);
/* bytes: hd_codes_bytes() of them, zeroed. Every value is on the grid. */
void hd_codes_pack(uint8_t *bytes, enum hd_grid grid, int bits, const int16_t *values, size_t count);
/* 0, or 1 + the index of the first byte that is no legal code or no legal padding. */
size_t hd_codes_unpack(int16_t *values, enum hd_grid grid, int bits, const uint8_t *bytes, size_t count);

/* Sizes, scales and zero points of all tensors. */
hd_status hd_model_check_tensors(const hd_model *m, hd_err *err);
/* Everything of stage `s` that decides sizes: tensors, kernel, groups, blocks, grid. Sets cin and cout. */
hd_status hd_stage_check_shape(const hd_model *m, hd_stage *s, hd_err *err);
#endif
