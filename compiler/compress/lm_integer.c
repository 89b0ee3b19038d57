/* From an .hlm's matrices to runs of the array: integers, multipliers, units. No floating-point operation. */
#include "lm_integer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_HEAD = 256, LEAST_SHIFT = 17, MOST_SHIFT = 46, GAIN_BITS = 15, CLASSIFIER_MOST = 255 };

size_t hd_lm_reach_size(const hd_llama *m) {
    size_t n = (size_t)m->vocab;
    for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
        int out, in;
        hd_llama_shape(m, k, &out, &in);
        n += (size_t)m->layers * (size_t)out;
    }
    return n;
}

void hd_lm_integer_free(hd_lm_integer *m) {
    if (!m) return;
    for (int i = 0; m->run && i < m->runs; i++) {
        free(m->run[i].mult);
        free(m->run[i].shift);
        free(m->run[i].unit);
    }
    free(m->run);
    free(m->embedding);
    free(m->gain);
    free(m->gain_bits);
    free(m->classifier);
    free(m);
}

/* ---- what the array cannot hold ---- */

static hd_status refuse(const char *name, const char *what, hd_err *err) {
    return hd_fail(err, HD_UNSUPPORTED, "%s: %s; the array takes integers with one scale a row: heddle compress MODEL --tokens X.idx --weights 4 --granularity channel -o N.hlm", name, what);
}

static hd_status check_matrix(const hd_lm_matrix *x, const char *name, hd_err *err) {
    const hd_linear_format *f = &x->format;
    if (x->part) return refuse(name, "a product of two narrow matrices", err);
    if (x->code && x->code->table == HD_LM_E8P) return refuse(name, "codes of E8P, whose inputs are rotated", err);
    if (!x->linear.v || !x->linear.scale) return refuse(name, "float values", err);
    if (x->linear.in_scale) return refuse(name, "scales of its inputs", err);
    if (!x->code && f->group && !f->shift_groups) return refuse(name, "a scale, or zero point, for each group of inputs", err);
    return HD_OK;
}

/* ---- numbers of one channel ---- */

static hd_scaled scaled_whole(uint64_t x) { return hd_scaled_of(x, 0); }

/* `scale`: of the weights; `reach`: the largest output for inputs of up to 1. Then 127 input codes of scale 1/127 at most give `reach`, which the output's 127 stands for. */
static void set_channel(hd_lm_run *r, int channel, hd_scaled scale, hd_scaled reach) {
    r->mult[channel] = 0;
    r->shift[channel] = LEAST_SHIFT;
    r->unit[channel] = (hd_scaled){0, 0};
    if (!scale.m || !reach.m) return;
    hd_scaled ratio = hd_scaled_div(scale, reach);
    int64_t mult = ((int64_t)ratio.m + (1 << 14)) >> 15;
    int shift = -ratio.e - 15;
    if (mult > 65535) mult >>= 1, shift--;
    /* A row whose outputs are nearly nothing: its units are those of the smallest shift. */
    if (shift < LEAST_SHIFT) mult = 65535, shift = LEAST_SHIFT;
    while (shift > MOST_SHIFT) mult >>= 1, shift--;
    if (!mult) return;
    r->mult[channel] = (uint16_t)mult;
    r->shift[channel] = (uint8_t)shift;
    r->unit[channel] = hd_scaled_div(scale, scaled_whole((uint64_t)mult));
    r->unit[channel].e += shift;
}

static hd_status new_run(hd_lm_run *r, int out, hd_err *err) {
    r->mult = calloc((size_t)out, sizeof *r->mult);
    r->shift = calloc((size_t)out, sizeof *r->shift);
    r->unit = calloc((size_t)out, sizeof *r->unit);
    return r->mult && r->shift && r->unit ? HD_OK : hd_fail(err, HD_NOMEM, "%s: no memory for %d channels", r->name, out);
}

/* Sums stay within 31 bits, and B. */
static hd_status check_rows(hd_lm_run *r, int matrix, hd_err *err) {
    for (int o = 0; o < r->rows[matrix]; o++) {
        int64_t sum = 0;
        for (int i = 0; i < r->in; i++) {
            int v = r->v[matrix][(size_t)o * (size_t)r->in + (size_t)i], size = v < 0 ? -v : v;
            while (size >> r->bits) r->bits++;
            sum += size;
        }
        if (sum > INT32_MAX / 128) return hd_fail(err, HD_RANGE, "%s: row %d: its integers add up to %lld; allowed is %d", r->name, o, (long long)sum, INT32_MAX / 128);
    }
    return HD_OK;
}

static hd_status make_run(hd_lm_run *r, const hd_lm *c, int layer, hd_llama_part part, const float *const reach[HD_LLAMA_MATRICES], hd_err *err) {
    static const char *const names[HD_LLAMA_PARTS] = {"qkv", "o", "w13", "w2"};
    int matrix[3], channel = 0;
    r->matrices = hd_llama_part_matrices(part, matrix);
    r->in = hd_llama_part_size(c->model, part);
    snprintf(r->name, sizeof r->name, "layer%d.%.7s", layer, names[part]);
    for (int i = 0; i < r->matrices; i++) {
        int in;
        hd_llama_shape(c->model, matrix[i], &r->rows[i], &in);
        r->out += r->rows[i];
    }
    hd_status s = new_run(r, r->out, err);
    for (int i = 0; !s && i < r->matrices; i++) {
        char name[32];
        const hd_lm_matrix *x = &c->matrix[layer * HD_LLAMA_MATRICES + matrix[i]];
        hd_llama_name(layer, matrix[i], name, sizeof name);
        s = check_matrix(x, name, err);
        if (s) break;
        r->v[i] = x->linear.v;
        for (int o = 0; o < r->rows[i]; o++) set_channel(r, channel++, hd_scaled_float(x->linear.scale[o]), hd_scaled_float(reach[matrix[i]][o]));
        s = check_rows(r, i, err);
    }
    return s;
}

/* ---- embedding, gains, classifier ---- */

/* Whole numbers of at most `bits` bits for n floats: x * 2^*fraction, rounded. */
static void set_gains(int16_t *to, int *fraction, const float *x, int n, int bits) {
    int top = -1000;
    for (int i = 0; i < n; i++) {
        hd_scaled s = hd_scaled_float(x[i]);
        if (s.m && s.e + 31 > top) top = s.e + 31; /* |x| < 2^top */
    }
    *fraction = top > -1000 ? bits - top : 0;
    for (int i = 0; i < n; i++) {
        int32_t v = hd_fixed_float(x[i], *fraction), most = (1 << bits) - 1;
        to[i] = (int16_t)(v > most ? most : v < -most ? -most : v);
    }
}

/* The classifier has no codes in the file: 8 bits of the odd grid, the row's largest on 255. */
static hd_status make_classifier(hd_lm_integer *m, const float *w, const float *reach, hd_err *err) {
    hd_lm_run *r = &m->run[m->runs - 1];
    *r = (hd_lm_run){.name = "classifier", .matrices = 1, .in = m->dim, .out = m->vocab, .rows = {m->vocab}, .v = {m->classifier}};
    hd_status s = new_run(r, m->vocab, err);
    for (int o = 0; !s && o < m->vocab; o++) {
        const float *row = w + (size_t)o * (size_t)m->dim;
        int16_t *v = m->classifier + (size_t)o * (size_t)m->dim;
        hd_scaled top = {0, 0};
        for (int i = 0; i < m->dim; i++) {
            hd_scaled x = hd_scaled_float(row[i]);
            if (x.m && (!top.m || x.e > top.e || (x.e == top.e && x.m > top.m))) top = x;
        }
        for (int i = 0; top.m && i < m->dim; i++) { /* a row of zeros stays one */
            int64_t x = hd_fixed_float(row[i], -top.e); /* |x| <= top.m */
            int64_t half = (x * CLASSIFIER_MOST + (int64_t)top.m * 256) / (2 * (int64_t)top.m) - 128; /* floor of x's code / 2 */
            v[i] = (int16_t)(2 * half + 1 > CLASSIFIER_MOST ? CLASSIFIER_MOST : 2 * half + 1);
        }
        set_channel(r, o, hd_scaled_div(top, scaled_whole(CLASSIFIER_MOST)), hd_scaled_float(reach[o]));
    }
    return s ? s : check_rows(r, 0, err);
}

static hd_status make_all(hd_lm_integer *m, const hd_lm *c, hd_err *err) {
    const hd_llama *f = c->model;
    const float *reach = c->reach;
    hd_status s = HD_OK;
    for (int l = 0; !s && l < m->layers; l++) {
        const float *of[HD_LLAMA_MATRICES];
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(f, k, &out, &in);
            of[k] = reach;
            reach += out;
        }
        for (int p = 0; !s && p < HD_LLAMA_PARTS; p++) s = make_run(&m->run[l * HD_LLAMA_PARTS + p], c, l, (hd_llama_part)p, of, err);
        set_gains(m->gain + 2 * (size_t)l * (size_t)m->dim, &m->gain_bits[2 * l], f->layer[l].norm_attention, m->dim, GAIN_BITS);
        set_gains(m->gain + (2 * (size_t)l + 1) * (size_t)m->dim, &m->gain_bits[2 * l + 1], f->layer[l].norm_ffn, m->dim, GAIN_BITS);
    }
    set_gains(m->gain + 2 * (size_t)m->layers * (size_t)m->dim, &m->gain_bits[2 * m->layers], f->norm_final, m->dim, GAIN_BITS);
    for (size_t i = 0; i < (size_t)m->vocab * (size_t)m->dim; i++) m->embedding[i] = hd_fixed_float(f->embedding[i], HD_Q);
    return s ? s : make_classifier(m, f->classifier, reach, err);
}

hd_status hd_lm_integer_new(hd_lm_integer **out, const hd_lm *c, hd_err *err) {
    const hd_llama *f = c->model;
    *out = NULL;
    if (!c->reach)
        return hd_fail(err, HD_UNSUPPORTED, "the file has no ranges of its matrices' outputs (it was written before they were kept): compress or tune the model again");
    if (f->dim / f->heads > MOST_HEAD) return hd_fail(err, HD_RANGE, "heads of %d elements; allowed on a device are %d", f->dim / f->heads, MOST_HEAD);
    hd_lm_integer *m = calloc(1, sizeof *m);
    if (!m) return hd_fail(err, HD_NOMEM, "no memory for a language model");
    *m = (hd_lm_integer){.dim = f->dim, .hidden = f->hidden, .layers = f->layers, .heads = f->heads, .kv_heads = f->kv_heads, .vocab = f->vocab, .max_tokens = f->max_tokens,
                         .runs = f->layers * HD_LLAMA_PARTS + 1};
    size_t table = (size_t)m->vocab * (size_t)m->dim, norms = 2 * (size_t)m->layers + 1;
    m->run = calloc((size_t)m->runs, sizeof *m->run);
    m->embedding = malloc(table * sizeof *m->embedding);
    m->classifier = calloc(table, sizeof *m->classifier);
    m->gain = malloc(norms * (size_t)m->dim * sizeof *m->gain);
    m->gain_bits = malloc(norms * sizeof *m->gain_bits);
    hd_status s = m->run && m->embedding && m->classifier && m->gain && m->gain_bits ? make_all(m, c, err) : hd_fail(err, HD_NOMEM, "no memory for the integers of a language model");
    if (s) hd_lm_integer_free(m);
    else *out = m;
    return s;
}
