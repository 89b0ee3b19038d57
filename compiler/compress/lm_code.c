/* Matrices of codes in a .hlm file, and the tables that they share: docs/formats.md section 7. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codebook_internal.h"
#include "e8p.h"
#include "lm_internal.h"

enum { SCALE_BITS = 6, LOWEST_BASE = -126, HIGHEST_BASE = 100, MAX_TABLES = 255 };

void hd_lm_code_free(hd_lm_code *k) {
    if (!k) return;
    free(k->scale_code);
    free(k->code);
    free(k);
}

static size_t entries_of(const hd_codebook *c) { return ((size_t)1 << c->window) * (size_t)c->books * (size_t)c->group; }

/* ---- copies ---- */

/* Copies n bytes unless `from` is NULL; *failed is set without memory. */
static void *copy(const void *from, size_t n, int *failed) {
    void *to = from ? malloc(n) : NULL;
    if (to) memcpy(to, from, n);
    else if (from) *failed = 1;
    return to;
}

static void copy_matrix(hd_lm_matrix *to, const hd_lm_matrix *from, const hd_codebook *const *table, int out, int in, int *failed) {
    const hd_linear_result *r = &from->linear;
    size_t rows = (size_t)out, n = rows * (size_t)in;
    size_t groups = from->format.group && !from->code ? ((size_t)in + (size_t)from->format.group - 1) / (size_t)from->format.group : 1;
    *to = *from;
    to->linear.w = copy(r->w, n * sizeof *r->w, failed);
    to->linear.v = copy(r->v, n * sizeof *r->v, failed);
    to->linear.scale = copy(r->scale, (r->shift ? rows : rows * groups) * sizeof *r->scale, failed);
    to->linear.shift = copy(r->shift, rows * groups, failed);
    to->linear.zero = copy(r->zero, rows * groups, failed);
    to->linear.mask = copy(r->mask, n, failed);
    to->linear.in_scale = copy(r->in_scale, (size_t)in * sizeof *r->in_scale, failed);
    const hd_lm_code *k = from->code;
    const int height[3] = {from->rank, out, out}, width[3] = {in, from->rank, in};
    to->part = from->part ? calloc(3, sizeof *to->part) : NULL;
    if (from->part && !to->part) *failed = 1;
    for (int i = 0; to->part && i < 3; i++)
        if (from->part[i].linear.w) copy_matrix(&to->part[i], &from->part[i], table, height[i], width[i], failed);
    to->code = copy(k, sizeof *k, failed);
    if (!to->code) return;
    size_t codes = k->table == HD_LM_E8P ? (k->bits == 2 ? 1 : 2) : (size_t)table[k->table]->books;
    to->code->scale_code = copy(k->scale_code, rows, failed);
    to->code->code = copy(k->code, rows * (size_t)k->groups * codes * sizeof *k->code, failed);
}

hd_lm *hd_lm_clone(const hd_lm *c) {
    int matrices = c->model->layers * HD_LLAMA_MATRICES, failed = 0;
    hd_lm *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    x->shared_bits = c->shared_bits;
    x->model = hd_llama_clone(c->model);
    x->matrix = calloc((size_t)matrices, sizeof *x->matrix);
    x->table = calloc((size_t)c->tables + 1, sizeof *x->table);
    if (!x->model || !x->matrix || !x->table) failed = 1;
    for (int i = 0; !failed && i < c->tables; i++) {
        const hd_codebook *t = c->table[i];
        if (hd_codebook_new(&x->table[i], t->group, t->books, t->bits, t->window, t->planes, 0, NULL)) failed = 1;
        else memcpy(x->table[x->tables++]->entry, t->entry, entries_of(t) * sizeof *t->entry);
    }
    for (int i = 0; !failed && i < matrices; i++) {
        int out, in;
        hd_llama_shape(c->model, i % HD_LLAMA_MATRICES, &out, &in);
        copy_matrix(&x->matrix[i], &c->matrix[i], (const hd_codebook *const *)c->table, out, in, &failed);
    }
    if (!failed) return x;
    hd_lm_free(x);
    return NULL;
}

/* ---- streams of numbers of 1 to 16 bits, low bit first, padded to a byte with zero bits ---- */

typedef struct bits {
    uint32_t held;
    unsigned count;
} bits;

static void put_number(hd_writer *w, bits *b, unsigned value, unsigned width) {
    b->held |= (uint32_t)value << b->count;
    for (b->count += width; b->count >= 8; b->count -= 8, b->held >>= 8) hd_put_u8(w, (uint8_t)b->held);
}

static void end_numbers(hd_writer *w, bits *b) {
    if (b->count) hd_put_u8(w, (uint8_t)b->held);
    *b = (bits){0};
}

static unsigned get_number(hd_reader *r, bits *b, unsigned width) {
    for (; b->count < width; b->count += 8) b->held |= (uint32_t)hd_get_u8(r) << b->count;
    unsigned value = b->held & ((1u << width) - 1u);
    b->held >>= width;
    b->count -= width;
    return value;
}

/* What is left of the last byte must be 0. */
static hd_status check_end(bits *b, const char *name, const char *what, hd_err *err) {
    if (b->held) return hd_fail(err, HD_FORMAT, "%s: %s: bits past the end are 0x%x; they are 0", name, what, (unsigned)b->held);
    *b = (bits){0};
    return HD_OK;
}

/* Bits of the codes of a group, in the order they are stored. Returns how many codes. */
static int widths(unsigned width[HD_CODEBOOK_BOOKS], const hd_lm_code *k, const hd_codebook *c) {
    if (k->table == HD_LM_E8P) {
        width[0] = 16;
        width[1] = k->bits == 3 ? 8 : 16;
        return k->bits == 2 ? 1 : 2;
    }
    for (int i = 0; i < c->books; i++) width[i] = (unsigned)c->bits;
    return c->books;
}

/* ---- tables ---- */

hd_status hd_lm_put_tables(hd_writer *w, const hd_lm *c, hd_err *err) {
    if (c->tables > MAX_TABLES) return hd_fail(err, HD_UNSUPPORTED, "%d shared tables; a file holds up to %d", c->tables, MAX_TABLES);
    hd_put_u8(w, (uint8_t)c->tables);
    for (int i = 0; i < c->tables; i++) {
        const hd_codebook *t = c->table[i];
        const int shape[5] = {t->group, t->books, t->bits, t->window, t->planes};
        int top = (1 << t->planes) - 1;
        bits b = {0};
        for (int k = 0; k < 5; k++) hd_put_u8(w, (uint8_t)shape[k]);
        for (size_t k = 0; k < entries_of(t); k++) {
            if (!(t->entry[k] & 1) || t->entry[k] < -top || t->entry[k] > top)
                return hd_fail(err, HD_RANGE, "table %d: entry %zu is %d; allowed are odd integers from %d to %d", i, k, t->entry[k], -top, top);
            put_number(w, &b, (unsigned)(t->entry[k] + top) / 2, (unsigned)t->planes);
        }
        end_numbers(w, &b);
    }
    return HD_OK;
}

hd_status hd_lm_get_tables(hd_reader *r, hd_lm *c, hd_err *err) {
    hd_status s = hd_lm_need(r, 1, "shared tables", "count", err);
    if (s) return s;
    int tables = hd_get_u8(r);
    c->table = calloc((size_t)tables + 1, sizeof *c->table);
    if (!c->table) return hd_fail(err, HD_NOMEM, "no memory for %d shared tables", tables);
    for (int i = 0; !s && i < tables; i++) {
        char name[32];
        int shape[5];
        snprintf(name, sizeof name, "table %d", i);
        if ((s = hd_lm_need(r, 5, name, "shape", err))) break;
        for (int k = 0; k < 5; k++) shape[k] = hd_get_u8(r);
        if ((s = hd_codebook_new(&c->table[i], shape[0], shape[1], shape[2], shape[3], shape[4], 0, err))) {
            hd_fail_in(err, name);
            break;
        }
        hd_codebook *t = c->table[c->tables++];
        size_t n = entries_of(t), from = r->at;
        bits b = {0};
        if ((s = hd_lm_need(r, (n * (size_t)t->planes + 7) / 8, name, "entries", err))) break;
        for (size_t k = 0; k < n; k++) t->entry[k] = (int16_t)(2 * (int)get_number(r, &b, (unsigned)t->planes) - ((1 << t->planes) - 1));
        s = check_end(&b, name, "entries", err);
        c->shared_bits += 8.0 * (double)(r->at - from);
    }
    return s;
}

/* ---- codes ---- */

static hd_status check_code(const hd_lm_code *k, const hd_lm *c, const char *name, hd_err *err) {
    if (k->table != HD_LM_E8P && (k->table < 0 || k->table >= c->tables)) return hd_fail(err, HD_FORMAT, "%s: shared table %d; the file has %d", name, k->table, c->tables);
    if (k->table == HD_LM_E8P && (k->bits < 2 || k->bits > 4)) return hd_fail(err, HD_FORMAT, "%s: %d bits a weight on E8P; allowed 2 to 4", name, k->bits);
    if (k->rotate_out < 0 || k->rotate_out > 1) return hd_fail(err, HD_FORMAT, "%s: rotated outputs: found %d; allowed are 0 and 1", name, k->rotate_out);
    if (k->scale_base < LOWEST_BASE || k->scale_base > HIGHEST_BASE)
        return hd_fail(err, HD_RANGE, "%s: scales from 2^%d; allowed exponents are %d to %d", name, k->scale_base, LOWEST_BASE, HIGHEST_BASE);
    return HD_OK;
}

hd_status hd_lm_put_code(hd_writer *w, const hd_lm *c, const hd_lm_matrix *m, int out, int in, const char *name, hd_err *err) {
    const hd_lm_code *k = m->code;
    hd_status s = check_code(k, c, name, err);
    if (s) return s;
    unsigned width[HD_CODEBOOK_BOOKS];
    const hd_codebook *t = k->table == HD_LM_E8P ? NULL : c->table[k->table];
    int codes = widths(width, k, t), group = t ? t->group : 8;
    if (k->groups != (in + group - 1) / group) return hd_fail(err, HD_RANGE, "%s: %d groups of %d for %d inputs", name, k->groups, group, in);
    if (t) hd_put_u8(w, (uint8_t)k->table);
    else {
        hd_put_u8(w, (uint8_t)k->bits);
        hd_put_u8(w, (uint8_t)k->rotate_out);
        hd_put_u32(w, k->seed);
    }
    hd_put_u16(w, (uint16_t)k->scale_base);
    bits b = {0};
    for (int r = 0; r < out; r++) {
        if (k->scale_code[r] >= HD_CODEBOOK_SCALES) return hd_fail(err, HD_RANGE, "%s: scale code %d of row %d; allowed 0 to %d", name, k->scale_code[r], r, HD_CODEBOOK_SCALES - 1);
        put_number(w, &b, k->scale_code[r], SCALE_BITS);
    }
    end_numbers(w, &b);
    for (size_t i = 0, n = (size_t)out * (size_t)k->groups * (size_t)codes; i < n; i++) {
        unsigned bound = 1u << width[i % (size_t)codes];
        if (k->code[i] >= bound) return hd_fail(err, HD_RANGE, "%s: code %zu is %u; allowed below %u", name, i, k->code[i], bound);
        put_number(w, &b, k->code[i], width[i % (size_t)codes]);
    }
    end_numbers(w, &b);
    return HD_OK;
}

hd_status hd_lm_get_code(hd_reader *r, const hd_lm *c, hd_lm_matrix *m, int out, int in, const char *name, hd_err *err) {
    hd_lm_code *k = m->code;
    int lattice = k->table == HD_LM_E8P;
    hd_status s = hd_lm_need(r, lattice ? 8 : 3, name, "format", err);
    if (s) return s;
    if (lattice) {
        k->bits = hd_get_u8(r);
        k->rotate_out = hd_get_u8(r);
    } else
        k->table = hd_get_u8(r);
    size_t from = r->at; /* what is counted: seed, octave, scales, codes */
    if (lattice) k->seed = hd_get_u32(r);
    k->scale_base = hd_get_i16(r);
    if ((s = check_code(k, c, name, err))) return s;
    unsigned width[HD_CODEBOOK_BOOKS];
    const hd_codebook *t = lattice ? NULL : c->table[k->table];
    int codes = widths(width, k, t), group = t ? t->group : 8;
    k->groups = (in + group - 1) / group;
    size_t n = (size_t)out * (size_t)k->groups, all = 0;
    for (int i = 0; i < codes; i++) all += n * width[i];
    if ((s = hd_lm_need(r, ((size_t)out * SCALE_BITS + 7) / 8 + (all + 7) / 8, name, "scales and codes", err))) return s;
    k->scale_code = malloc((size_t)out);
    k->code = malloc(n * (size_t)codes * sizeof *k->code);
    if (!k->scale_code || !k->code) return hd_fail(err, HD_NOMEM, "%s: out of memory", name);
    bits b = {0};
    for (int i = 0; i < out; i++) k->scale_code[i] = (uint8_t)get_number(r, &b, SCALE_BITS);
    if ((s = check_end(&b, name, "scales", err))) return s;
    for (size_t i = 0; i < n * (size_t)codes; i++) k->code[i] = (uint16_t)get_number(r, &b, width[i % (size_t)codes]);
    if ((s = check_end(&b, name, "codes", err))) return s;
    m->linear.bits_stored = 8.0 * (double)(r->at - from);
    return hd_lm_decode(m, c->table, out, in, err);
}

hd_status hd_lm_decode(hd_lm_matrix *m, hd_codebook *const *table, int out, int in, hd_err *err) {
    const hd_lm_code *k = m->code;
    hd_linear_result *l = &m->linear;
    size_t weights = (size_t)out * (size_t)in;
    int lattice = k->table == HD_LM_E8P;
    if (!l->w) l->w = malloc(weights * sizeof *l->w);
    if (!l->v && !lattice) l->v = malloc(weights * sizeof *l->v);
    if (!l->scale && !lattice) l->scale = malloc((size_t)out * sizeof *l->scale);
    if (!l->w || (!lattice && (!l->v || !l->scale))) return hd_fail(err, HD_NOMEM, "no memory for %d x %d weights", out, in);
    if (lattice) {
        const hd_e8p_options o = {.bits = k->bits, .rotate_out = k->rotate_out, .seed = k->seed};
        return hd_e8p_weights(l->w, NULL, &o, k->code, k->scale_code, k->scale_base, out, in, err);
    }
    hd_codebook_decode(l->v, l->w, table[k->table], k->code, k->scale_code, k->scale_base, out, in);
    for (int r = 0; r < out; r++) l->scale[r] = hd_scale_value(k->scale_base, k->scale_code[r]);
    return HD_OK;
}
