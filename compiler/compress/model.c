/* The compressed model in memory: life, sizes, and the count of stored bytes. */
#include "model.h"

#include <math.h>
#include <stdlib.h>

#include "model_internal.h"

static void stage_free(hd_stage *s) {
    free(s->name);
    free(s->v);
    free(s->group_shift);
    free(s->present);
    free(s->scale);
    free(s->bias);
    free(s->mult);
    free(s->shift);
    free(s->books);
}

void hd_model_free(hd_model *m) {
    if (!m) return;
    for (int i = 0; m->tensor && i < m->n_tensors; i++) free(m->tensor[i].name);
    for (int i = 0; m->stage && i < m->n_stages; i++) stage_free(&m->stage[i]);
    free(m->tensor);
    free(m->stage);
    free(m->name);
    free(m);
}

size_t hd_stage_weights(const hd_stage *s) {
    return s->kind == HD_STAGE_CONV ? (size_t)s->cout * hd_stage_inputs(s) : 0;
}

size_t hd_stage_in_blocks(const hd_stage *s) {
    if (s->kind != HD_STAGE_CONV || s->block_in < 1) return 0;
    return (size_t)s->kh * (size_t)s->kw * (size_t)((s->cin / s->groups + s->block_in - 1) / s->block_in);
}

size_t hd_stage_block(const hd_stage *s, size_t oc, size_t input) {
    size_t per_tap = (size_t)(s->cin / s->groups), block_in = (size_t)s->block_in;
    size_t in_block = input / per_tap * ((per_tap + block_in - 1) / block_in) + input % per_tap / block_in;
    return oc / (size_t)s->block_out * hd_stage_in_blocks(s) + in_block;
}

int hd_stage_is_present(const hd_stage *s, size_t oc, size_t input) { return !s->present || s->present[hd_stage_block(s, oc, input)]; }

size_t hd_stage_present(const hd_stage *s) {
    if (!s->present) return hd_stage_weights(s);
    size_t n = 0, inputs = hd_stage_inputs(s);
    for (size_t oc = 0; oc < (size_t)s->cout; oc++)
        for (size_t i = 0; i < inputs; i++) n += (size_t)hd_stage_is_present(s, oc, i);
    return n;
}

size_t hd_stage_weight_bytes(const hd_stage *s) {
    if (s->kind != HD_STAGE_CONV) return 0;
    size_t bytes = (size_t)s->cout * HD_STAGE_CHANNEL_BYTES;
    bytes += ((size_t)s->cout * hd_stage_shift_groups(s) + 3) / 4;
    if (s->block_in) bytes += (hd_stage_out_blocks(s) * hd_stage_in_blocks(s) + 7) / 8;
    bytes += hd_codes_bytes(s->grid, s->bits, hd_stage_present(s));
    return bytes + (s->has_table ? 256 : 0) + (s->books ? HD_BOOKS_WORDS * 4 : 0);
}

size_t hd_model_weight_bytes(const hd_model *m) {
    size_t bytes = 0;
    for (int i = 0; i < m->n_stages; i++) bytes += hd_stage_weight_bytes(&m->stage[i]);
    return bytes;
}

double hd_model_bits_per_weight(const hd_model *m) {
    return m->dense_weights ? 8.0 * (double)hd_model_weight_bytes(m) / (double)m->dense_weights : 0.0;
}

void hd_quantize_input(const hd_qtensor *t, const float *chw, int8_t *hwc) {
    size_t pixels = (size_t)t->h * (size_t)t->w, channels = (size_t)t->c;
    for (size_t c = 0; c < channels; c++)
        for (size_t p = 0; p < pixels; p++) {
            /* The quotient may be anything, NaN included: compare before converting. */
            double q = floor((double)chw[c * pixels + p] / (double)t->scale + 0.5) + t->zero;
            hwc[p * channels + c] = (int8_t)(q >= 127 ? 127 : q >= -128 ? (int)q : -128);
        }
}
