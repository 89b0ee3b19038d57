#include "random_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/e8p.h"
#include "../../compiler/compress/model_internal.h"

enum { MAX_STAGES = 8, MAX_TENSORS = MAX_STAGES + 1 };

typedef struct maker {
    hd_rng rng;
    hd_model *m;
    int failed; /* out of memory */
} maker;

static int range(maker *k, int lo, int hi) {
    return lo + (int)hd_rng_below(&k->rng, (uint32_t)(hi - lo + 1));
}
static int chance(maker *k, int percent) {
    return range(k, 1, 100) <= percent;
}
static int pick(maker *k, const int *list, int n) {
    return list[range(k, 0, n - 1)];
}
#define PICK(k, ...) pick(k, (const int[]){__VA_ARGS__}, (int)(sizeof((const int[]){__VA_ARGS__}) / sizeof(int)))

static void *array(maker *k, size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size);
    if (!p) k->failed = 1;
    return p;
}

static char *name(maker *k, const char *kind, int n) {
    char *s = array(k, 32, 1);
    if (s) snprintf(s, 32, "%s%d", kind, n);
    return s;
}

static int add_tensor(maker *k, int h, int w, int c) {
    int t = k->m->n_tensors++;
    int zero = chance(k, 60) ? range(k, -30, 30) : PICK(k, -128, 127, 0, -128, range(k, -128, 127));
    k->m->tensor[t] = (hd_qtensor){.name = name(k, "t", t), .h = h, .w = w, .c = c, .scale = 0.01f + hd_rng_float(&k->rng), .zero = zero};
    return t;
}

static hd_stage *add_stage(maker *k, enum hd_stage_kind kind, const char *label, int input) {
    hd_stage *s = &k->m->stage[k->m->n_stages];
    *s = (hd_stage){.kind = kind, .name = name(k, label, k->m->n_stages), .input = input, .residual = -1, .sy = 1, .sx = 1, .dy = 1, .dx = 1,
                    .kh = 1, .kw = 1, .groups = 1, .cin = k->m->tensor[input].c, .clamp_lo = -128, .clamp_hi = 127};
    k->m->n_stages++;
    return s;
}

/* One axis of a window walk: some kernel, stride, dilation and padding with at least one output; returns the outputs. */
static int axis(maker *k, int in, int *kernel, int *stride, int *dilation, int *pad, int pool) {
    *kernel = range(k, 1, 5);
    *stride = PICK(k, 1, 1, 1, 2, 2, 3);
    *dilation = *kernel > 1 && chance(k, 20) ? PICK(k, 2, 3) : 1;
    /* A pooling window must not lie in the padding alone. */
    int most = pool ? (*dilation > 1 ? 0 : *kernel / 2) : *kernel;
    *pad = range(k, 0, most);
    int after = range(k, 0, most), reach = (*kernel - 1) * *dilation + 1;
    if (in + *pad + after < reach) {
        *kernel = *dilation = 1;
        *pad = after = 0;
        reach = 1;
    }
    int out = (in + *pad + after - reach) / *stride + 1;
    while (out > 1 && pool && (out - 1) * *stride - *pad >= in) out--;
    return out;
}

/* ---- weights ---- */

static int grid_value(maker *k, enum hd_grid grid, int bits) {
    if (grid == HD_GRID_TERNARY) return 2 * range(k, -1, 1);
    int code = range(k, 0, (1 << bits) - 1);
    return grid == HD_GRID_ODD ? 2 * code - ((1 << bits) - 1) : 2 * (code - (1 << (bits - 1)));
}

static void choose_grid(maker *k, hd_stage *s) {
    s->grid = (enum hd_grid)PICK(k, HD_GRID_ODD, HD_GRID_ODD, HD_GRID_EVEN, HD_GRID_TERNARY);
    s->bits = s->grid == HD_GRID_TERNARY ? 0 : s->grid == HD_GRID_ODD ? PICK(k, 1, 2, 3, 4, 5, 8) : PICK(k, 2, 3, 4, 7, 8);
    s->granularity = (enum hd_granularity)PICK(k, HD_GRANULARITY_TENSOR, HD_GRANULARITY_CHANNEL, HD_GRANULARITY_CHANNEL, HD_GRANULARITY_GROUP);
    s->group_size = s->granularity == HD_GRANULARITY_GROUP ? PICK(k, 1, 4, 8, 9, 32) : 0;
    if (chance(k, 45)) {
        s->block_in = PICK(k, 1, 3, 4, 8, 8, 16);
        s->block_out = PICK(k, 1, 2, 4, 8, 8, 16);
    }
}

static void fill_weights(maker *k, hd_stage *s) {
    size_t cpg = (size_t)(s->cin / s->groups), inputs = (size_t)s->kh * (size_t)s->kw * cpg, cout = (size_t)s->cout;
    s->v = array(k, cout * inputs, sizeof *s->v);
    size_t shift_groups = s->group_size ? (inputs + (size_t)s->group_size - 1) / (size_t)s->group_size : 0;
    if (shift_groups) s->group_shift = array(k, cout * shift_groups, 1);
    size_t in_blocks = 0, out_blocks = 0;
    if (s->block_in) {
        in_blocks = hd_stage_in_blocks(s);
        out_blocks = (cout + (size_t)s->block_out - 1) / (size_t)s->block_out;
        s->present = array(k, in_blocks * out_blocks, 1);
    }
    if (k->failed) return;
    int density = PICK(k, 0, 25, 50, 50, 75, 100);
    for (size_t i = 0; i < cout * shift_groups; i++) s->group_shift[i] = (uint8_t)range(k, 0, 3);
    for (size_t i = 0; i < in_blocks * out_blocks; i++) s->present[i] = (uint8_t)chance(k, density);
    int extreme = chance(k, 10);
    for (size_t oc = 0; oc < cout; oc++)
        for (size_t i = 0; i < inputs; i++) {
            size_t tap = i / cpg, ic = i % cpg;
            if (s->block_in) {
                size_t per_tap = in_blocks / ((size_t)s->kh * (size_t)s->kw);
                if (!s->present[oc / (size_t)s->block_out * in_blocks + tap * per_tap + ic / (size_t)s->block_in]) continue;
            }
            int v = grid_value(k, s->grid, s->bits);
            if (extreme && s->grid == HD_GRID_ODD) v = (1 << s->bits) - 1;
            if (shift_groups) v *= 1 << s->group_shift[oc * shift_groups + i / (size_t)s->group_size];
            s->v[oc * inputs + i] = (int16_t)v;
        }
    k->m->dense_weights += (uint32_t)(cout * inputs);
}

/* A group of n weights of a code, as odd integers. */
static void coded_group(maker *k, int code, int16_t *u, size_t n, const int16_t value[16], const uint32_t *books) {
    int8_t lattice[8];
    uint32_t a = books[hd_rng_below(&k->rng, 256)], b = books[256 + hd_rng_below(&k->rng, 256)];
    hd_e8p_decode(lattice, (uint16_t)hd_rng_u32(&k->rng));
    for (size_t i = 0; i < n; i++)
        u[i] = (int16_t)(code == HD_CODE_E8P     ? lattice[i]
                         : code == HD_CODE_BOOKS ? 2 * (int)(((a >> 4 * i) + (b >> 4 * i)) & 15) - 15
                                                 : value[hd_rng_below(&k->rng, code == HD_CODE_TABLE16 ? 16 : 4)]);
}

/* The stage's weights on a code; where its groups of eight are not whole, on a table. */
static void code_weights(maker *k, hd_stage *s) {
    size_t inputs = hd_stage_weights(s) / (size_t)s->cout;
    int whole = s->cin % 8 == 0 && s->block_in % 8 == 0, code = whole ? range(k, 0, HD_CODES - 1) : PICK(k, HD_CODE_TABLE4, HD_CODE_TABLE16);
    int bits = (int)hd_code_planes(code), even = chance(k, 50), start = range(k, 0, (1 << bits) - 1);
    int16_t value[16], u[8];
    s->books = array(k, HD_BOOKS_WORDS, sizeof *s->books);
    if (k->failed) return;
    for (int i = 0; i < HD_BOOKS_WORDS; i++) s->books[i] = hd_rng_u32(&k->rng);
    for (int i = 0; i < 16; i++) value[i] = (int16_t)(2 * ((start + 5 * i) % (1 << bits)) - (1 << bits) + 1);
    s->grid = even ? HD_GRID_EVEN : HD_GRID_ODD;
    s->bits = bits;
    for (size_t i = 0; i < (size_t)s->cout * inputs; i++) {
        size_t at = i % inputs % 8, left = inputs - (i % inputs - at);
        if (at == 0) coded_group(k, code, u, left < 8 ? left : 8, value, s->books);
        s->v[i] = (int16_t)(hd_stage_is_present(s, i / inputs, i % inputs) ? u[at] - even : 0);
    }
}

/* A multiplier that spreads the results over the codes, so that neither rounding nor clamping goes untested; one channel in 25 has a bias that
 * saturates q, upwards or downwards. */
static void spread_channel(maker *k, hd_stage *s, size_t oc) {
    size_t inputs = hd_stage_weights(s) / (size_t)s->cout;
    double power = 1;
    for (size_t i = 0; i < inputs; i++) power += (double)s->v[oc * inputs + i] * s->v[oc * inputs + i];
    double spread = sqrt(power) * 70.0;
    s->scale[oc] = s->granularity == HD_GRANULARITY_TENSOR ? 0.5f : 0.1f + hd_rng_float(&k->rng);
    double bias = (double)hd_rng_float(&k->rng) - 0.5;
    s->bias[oc] = (int32_t)fmax(-0x1p28, fmin(0x1p28, spread * bias * (fabs(bias) > 0.48 ? 4096 : 1)));
    s->mult[oc] = (uint16_t)range(k, 32768, 65535);
    int shift = (int)lrint(log2(spread * s->mult[oc] / 45.0)) + PICK(k, 0, 0, 0, 1, -2);
    s->shift[oc] = (uint8_t)(shift < 1 ? 1 : shift > 47 ? 47 : shift);
}

static void fill_channels(maker *k, hd_stage *s) {
    size_t cout = (size_t)s->cout;
    s->scale = array(k, cout, sizeof *s->scale);
    s->bias = array(k, cout, sizeof *s->bias);
    s->mult = array(k, cout, sizeof *s->mult);
    s->shift = array(k, cout, 1);
    for (size_t oc = 0; oc < cout && !k->failed; oc++) spread_channel(k, s, oc);
}

static hd_status code_model(hd_model *m, uint64_t seed, hd_err *err) {
    maker k = {.m = m};
    hd_rng_seed(&k.rng, seed, 77);
    for (int i = 0; i < m->n_stages && !k.failed; i++) {
        hd_stage *s = &m->stage[i];
        if (s->kind != HD_STAGE_CONV || s->groups != 1) continue;
        /* Shifts would take the integers off their code. */
        if (s->granularity == HD_GRANULARITY_GROUP) s->granularity = HD_GRANULARITY_CHANNEL;
        free(s->group_shift);
        s->group_shift = NULL;
        s->group_size = 0;
        code_weights(&k, s);
        for (int oc = 0; oc < s->cout && !k.failed; oc++) spread_channel(&k, s, (size_t)oc);
    }
    return k.failed ? hd_fail(err, HD_NOMEM, "test: out of memory") : hd_model_check(m, err);
}

static void fill_post(maker *k, hd_stage *s) {
    if (chance(k, 30)) {
        s->clamp_lo = range(k, -128, 0);
        s->clamp_hi = range(k, 1, 127);
    }
    if (chance(k, 20)) {
        s->has_table = 1;
        for (int i = 0; i < 256; i++) s->table[i] = (uint8_t)range(k, 0, 255);
    }
    if (s->residual < 0) return;
    s->res_shift = PICK(k, 0, 14, 15, 15, 16);
    s->res_mult = s->res_shift ? range(k, 0, 65535) : range(k, 0, 2);
    s->res_add = (s->res_shift ? 1 << (s->res_shift - 1) : 0) - k->m->tensor[s->residual].zero * s->res_mult;
}

/* ---- stages ---- */

static void add_conv(maker *k, int input) {
    hd_qtensor in = k->m->tensor[input];
    hd_stage *s = add_stage(k, HD_STAGE_CONV, "conv", input);
    int h, w, cout = PICK(k, 1, 2, 3, 5, 7, 8, 9, 12, 16, 17, 24, 33), style = range(k, 0, 9);
    if (style == 0) { /* fully connected */
        s->kh = in.h;
        s->kw = in.w;
        h = w = 1;
    } else if (style <= 3) { /* same size, as residual blocks have */
        s->kh = s->kw = PICK(k, 1, 3, 3, 5);
        s->pad_top = s->pad_left = s->kh / 2;
        h = in.h;
        w = in.w;
        if (chance(k, 60)) cout = in.c;
    } else {
        h = axis(k, in.h, &s->kh, &s->sy, &s->dy, &s->pad_top, 0);
        w = axis(k, in.w, &s->kw, &s->sx, &s->dx, &s->pad_left, 0);
    }
    int average = style == 9 && chance(k, 50);
    if (average || (style > 3 && chance(k, 25))) { /* depthwise */
        s->groups = in.c;
        cout = in.c * (average ? 1 : PICK(k, 1, 1, 2));
    } else if (style > 3 && in.c % 2 == 0 && chance(k, 25)) {
        s->groups = in.c % 4 == 0 && chance(k, 50) ? 4 : 2;
        cout = s->groups * PICK(k, 1, 2, 3, 4, 8);
    }
    s->cout = cout;
    choose_grid(k, s);
    if (average) {
        s->grid = HD_GRID_EVEN;
        s->bits = 2;
        s->granularity = HD_GRANULARITY_TENSOR;
        s->group_size = s->block_in = s->block_out = 0;
    }
    fill_weights(k, s);
    for (size_t i = 0; average && !k->failed && i < hd_stage_weights(s); i++) s->v[i] = 2;
    fill_channels(k, s);
    /* Any earlier tensor of the output's shape may be added. */
    int found[MAX_TENSORS], n = 0;
    for (int t = 0; t < k->m->n_tensors; t++)
        if (k->m->tensor[t].h == h && k->m->tensor[t].w == w && k->m->tensor[t].c == cout) found[n++] = t;
    if (n && chance(k, 60)) s->residual = found[range(k, 0, n - 1)];
    fill_post(k, s);
    s->output = add_tensor(k, h, w, cout);
}

static void add_pool(maker *k, int input) {
    hd_qtensor in = k->m->tensor[input];
    hd_stage *s = add_stage(k, HD_STAGE_MAXPOOL, "pool", input);
    int h = axis(k, in.h, &s->kh, &s->sy, &s->dy, &s->pad_top, 1), w = axis(k, in.w, &s->kw, &s->sx, &s->dx, &s->pad_left, 1);
    s->output = add_tensor(k, h, w, in.c);
    s->cout = in.c;
    k->m->tensor[s->output].scale = in.scale;
    k->m->tensor[s->output].zero = in.zero;
}

hd_status hd_random_model(hd_model **out, uint64_t seed, hd_err *err) {
    maker k = {0};
    *out = NULL;
    hd_rng_seed(&k.rng, seed, 77);
    k.m = array(&k, 1, sizeof *k.m);
    if (!k.m) return hd_fail(err, HD_NOMEM, "random model: out of memory");
    k.m->tensor = array(&k, MAX_TENSORS, sizeof *k.m->tensor);
    k.m->stage = array(&k, MAX_STAGES, sizeof *k.m->stage);
    k.m->name = name(&k, "random", (int)(seed % 1000000));
    if (!k.failed) {
        add_tensor(&k, range(&k, 1, 10), range(&k, 1, 12), PICK(&k, 1, 2, 3, 3, 4, 5, 8, 9, 16, 17, 20));
        int stages = range(&k, 1, 5);
        for (int i = 0; i < stages && !k.failed; i++) {
            int last = k.m->n_tensors - 1, input = chance(&k, 15) ? range(&k, 0, last) : last;
            if (chance(&k, 18)) add_pool(&k, input);
            else add_conv(&k, input);
        }
        k.m->output = k.m->n_tensors - 1;
    }
    hd_status st = k.failed ? hd_fail(err, HD_NOMEM, "random model: out of memory") : hd_model_check(k.m, err);
    if (st) hd_model_free(k.m);
    else *out = k.m;
    return st;
}

/* Layers in whole groups of eight, mostly of one position, as they come from external memory. */
static void add_wide(maker *k, int input, int cout) {
    const hd_qtensor *in = &k->m->tensor[input];
    int h = in->h, w = in->w, output = add_tensor(k, h, w, cout);
    hd_stage *s = add_stage(k, HD_STAGE_CONV, "fc", input);
    s->output = output;
    s->cout = cout;
    s->grid = HD_GRID_ODD;
    s->bits = 4;
    s->granularity = HD_GRANULARITY_CHANNEL;
    if (chance(k, 50)) s->block_in = s->block_out = PICK(k, 8, 16);
    fill_weights(k, s);
    if (!k->failed) fill_channels(k, s);
    fill_post(k, s);
}

hd_status hd_random_residual(hd_model **out, uint64_t seed, hd_err *err) {
    maker k = {.m = NULL};
    *out = NULL;
    hd_rng_seed(&k.rng, seed, 81);
    if (!(k.m = array(&k, 1, sizeof *k.m))) return hd_fail(err, HD_NOMEM, "random model: out of memory");
    k.m->tensor = array(&k, MAX_TENSORS, sizeof *k.m->tensor);
    k.m->stage = array(&k, MAX_STAGES, sizeof *k.m->stage);
    k.m->name = name(&k, "residual", (int)(seed % 1000000));
    int cin = 16 * range(&k, 1, 3), cout = 4 * range(&k, 1, 10);
    if (!k.failed) add_tensor(&k, range(&k, 1, 6), range(&k, 1, 9), cin);
    for (int i = 0; i < 2 && !k.failed; i++) {
        const hd_qtensor *in = &k.m->tensor[0];
        int h = in->h, w = in->w;
        hd_stage *s = add_stage(&k, HD_STAGE_CONV, "conv", 0);
        s->kh = s->kw = PICK(&k, 1, 1, 3);
        s->pad_top = s->pad_left = s->kh / 2;
        s->cout = cout;
        choose_grid(&k, s);
        fill_weights(&k, s);
        if (!k.failed) fill_channels(&k, s);
        if (i) s->residual = 1;
        fill_post(&k, s);
        s->output = add_tensor(&k, h, w, cout);
    }
    k.m->output = 2;
    hd_status st = k.failed ? hd_fail(err, HD_NOMEM, "random model: out of memory") : hd_model_check(k.m, err);
    if (st) hd_model_free(k.m);
    else *out = k.m;
    return st;
}

hd_status hd_random_coded(hd_model **out, uint64_t seed, hd_err *err) {
    if (seed % 2) {
        hd_status st = hd_random_model(out, seed, err);
        return st ? st : code_model(*out, seed, err);
    }
    maker k = {.m = NULL};
    *out = NULL;
    hd_rng_seed(&k.rng, seed, 79);
    if (!(k.m = array(&k, 1, sizeof *k.m))) return hd_fail(err, HD_NOMEM, "random model: out of memory");
    k.m->tensor = array(&k, MAX_TENSORS, sizeof *k.m->tensor);
    k.m->stage = array(&k, MAX_STAGES, sizeof *k.m->stage);
    k.m->name = name(&k, "coded", (int)(seed % 1000000));
    if (!k.failed) add_tensor(&k, 1, PICK(&k, 1, 1, 3), 8 * range(&k, 4, 24));
    for (int stages = range(&k, 1, 3); stages > 0 && !k.failed; stages--) add_wide(&k, k.m->n_tensors - 1, 8 * range(&k, 2, 24));
    k.m->output = k.m->n_tensors - 1;
    hd_status st = k.failed ? hd_fail(err, HD_NOMEM, "random model: out of memory") : code_model(k.m, seed, err);
    if (st) hd_model_free(k.m);
    else *out = k.m;
    return st;
}

void hd_random_codes(const hd_qtensor *t, uint64_t seed, int8_t *codes) {
    hd_rng rng;
    hd_rng_seed(&rng, seed, 78);
    int extreme = hd_rng_below(&rng, 4) == 0;
    size_t n = (size_t)t->h * (size_t)t->w * (size_t)t->c;
    for (size_t i = 0; i < n; i++) {
        uint32_t r = hd_rng_u32(&rng);
        codes[i] = extreme ? (int8_t)(r >> 31 ? -128 : 127) : (int8_t)(uint8_t)(r >> 24);
    }
}
