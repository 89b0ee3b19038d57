/* Random legal models for the tests of the compressed model: every grid, granularity, pruning block, residual and table. */
#ifndef HD_TEST_MODEL_RANDOM_H
#define HD_TEST_MODEL_RANDOM_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/model.h"
#include "../../sw/core/rng.h"

static int pick(hd_rng *r, int lo, int hi) { return lo + (int)hd_rng_below(r, (uint32_t)(hi - lo + 1)); }

static void random_tensor(hd_qtensor *t, hd_rng *r, int index, int h, int w, int c) {
    char name[16];
    snprintf(name, sizeof name, "t%d", index);
    *t = (hd_qtensor){strdup(name), h, w, c, 0.01f + 0.1f * hd_rng_float(r), pick(r, -128, 127)};
}

static void random_weights(hd_stage *s, hd_rng *r) {
    int per_tap = s->cin / s->groups, taps = s->kh * s->kw, inputs = taps * per_tap;
    int along = s->block_in ? (per_tap + s->block_in - 1) / s->block_in : 0;
    size_t groups = s->group_size ? (size_t)((inputs + s->group_size - 1) / s->group_size) : 0, n = (size_t)s->cout;
    s->v = calloc(n * (size_t)inputs, sizeof *s->v);
    s->scale = calloc(n, sizeof *s->scale);
    s->bias = calloc(n, sizeof *s->bias);
    s->mult = calloc(n, sizeof *s->mult);
    s->shift = calloc(n, 1);
    if (s->group_size) {
        s->group_shift = calloc(n * groups, 1);
        for (size_t i = 0; i < n * groups; i++) s->group_shift[i] = (uint8_t)pick(r, 0, 3);
    }
    if (s->block_in) {
        size_t blocks = (size_t)(taps * along) * (size_t)((s->cout + s->block_out - 1) / s->block_out);
        s->present = calloc(blocks, 1);
        for (size_t i = 0; i < blocks; i++) s->present[i] = (uint8_t)pick(r, 0, 1);
    }
    for (int oc = 0; oc < s->cout; oc++) {
        s->scale[oc] = s->granularity == HD_GRANULARITY_TENSOR && oc ? s->scale[0] : 0.001f + 0.01f * hd_rng_float(r);
        s->bias[oc] = pick(r, -3000, 3000);
        s->mult[oc] = (uint16_t)pick(r, 32768, 65535);
        s->shift[oc] = (uint8_t)pick(r, 20, 26);
        for (int i = 0; i < inputs; i++) {
            int block = s->block_in ? i / per_tap * along + i % per_tap / s->block_in : 0;
            if (s->present && !s->present[oc / s->block_out * taps * along + block]) continue;
            int v = s->grid == HD_GRID_ODD ? 2 * pick(r, 0, (1 << s->bits) - 1) + 1 - (1 << s->bits)
                    : s->grid == HD_GRID_EVEN ? 2 * pick(r, 0, (1 << s->bits) - 1) - (1 << s->bits) : 2 * pick(r, -1, 1);
            int g = s->group_size ? s->group_shift[(size_t)oc * groups + (size_t)(i / s->group_size)] : 0;
            s->v[oc * inputs + i] = (int16_t)(v * (1 << g));
        }
    }
}

static void random_conv(hd_stage *s, hd_rng *r, const hd_qtensor *in, const hd_qtensor *to, int groups) {
    s->groups = groups;
    s->cin = in->c;
    s->cout = to->c;
    s->grid = (enum hd_grid)pick(r, 0, 2);
    s->bits = s->grid == HD_GRID_TERNARY ? 0 : pick(r, s->grid == HD_GRID_EVEN ? 2 : 1, 8);
    s->granularity = (enum hd_granularity)pick(r, 0, 2);
    s->group_size = s->granularity == HD_GRANULARITY_GROUP ? pick(r, 1, 9) : 0;
    if (pick(r, 0, 1)) {
        s->block_in = pick(r, 1, 4);
        s->block_out = pick(r, 1, 4);
    }
    s->clamp_lo = pick(r, -128, 0);
    s->clamp_hi = pick(r, 1, 127);
    s->has_table = pick(r, 0, 3) == 0;
    for (int i = 0; s->has_table && i < 256; i++) s->table[i] = (uint8_t)pick(r, 0, 255);
    s->books = pick(r, 0, 3) == 0 ? malloc(HD_BOOKS_WORDS * sizeof *s->books) : NULL;
    for (int i = 0; s->books && i < HD_BOOKS_WORDS; i++) s->books[i] = hd_rng_u32(r);
    random_weights(s, r);
}

/* Stages: convolution, residual convolution, maximum pooling, grouped convolution. */
static hd_model *random_model(uint64_t seed) {
    hd_rng rng, *r = &rng;
    hd_rng_seed(r, seed, 7);
    hd_model *m = calloc(1, sizeof *m);
    m->name = strdup("random");
    m->n_tensors = 5;
    m->n_stages = 4;
    m->output = 4;
    m->dense_weights = (uint32_t)pick(r, 1, 10000);
    m->tensor = calloc(5, sizeof *m->tensor);
    m->stage = calloc(4, sizeof *m->stage);
    int h = pick(r, 3, 9), w = pick(r, 3, 9), c = 2 * pick(r, 1, 5);
    random_tensor(&m->tensor[0], r, 0, h, w, pick(r, 1, 9));
    random_tensor(&m->tensor[1], r, 1, h, w, c);
    random_tensor(&m->tensor[2], r, 2, h, w, c);
    random_tensor(&m->tensor[3], r, 3, (h + 1) / 2, (w + 1) / 2, c);
    random_tensor(&m->tensor[4], r, 4, (h + 1) / 2, (w + 1) / 2, 2 * pick(r, 1, 5));
    m->tensor[3].scale = m->tensor[2].scale;
    m->tensor[3].zero = m->tensor[2].zero;
    for (int i = 0; i < 4; i++) {
        hd_stage *s = &m->stage[i];
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        s->kind = i == 2 ? HD_STAGE_MAXPOOL : HD_STAGE_CONV;
        s->name = strdup(name);
        s->input = i;
        s->output = i + 1;
        s->residual = i == 1 ? 1 : -1;
        s->dy = pick(r, 1, 2);
        s->dx = pick(r, 1, 2);
        s->kh = i == 2 ? 2 : 1 + 2 * pick(r, 0, 1);
        s->kw = i == 2 ? 3 : 1 + 2 * pick(r, 0, 1);
        s->sy = s->sx = i == 2 ? 2 : 1;
        s->pad_top = i == 2 ? pick(r, 0, 1) : s->kh / 2 * s->dy;
        s->pad_left = i == 2 ? pick(r, 0, 1) : s->kw / 2 * s->dx;
        if (i != 2) random_conv(s, r, &m->tensor[i], &m->tensor[i + 1], i == 3 ? 2 : 1);
        if (i == 1) {
            s->res_mult = pick(r, 1, 65535);
            s->res_shift = pick(r, 14, 18);
            s->res_add = (1 << (s->res_shift - 1)) - m->tensor[1].zero * s->res_mult;
        }
    }
    return m;
}
#endif
