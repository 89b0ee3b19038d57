/* One compressed matrix in a .hlm file: docs/formats.md section 7. What is stored is exactly what bits per weight count, each section
 * padded to a byte. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lm_internal.h"
#include "lm_lowrank.h"
#include "model_internal.h"

enum { SHIFTS = 1, WIDE = 2, MASKED = 4, BLOCKS = 8, IN_SCALE = 16, AFFINE = 32, ALL_FLAGS = 63, FLOAT = 16, LOW_RANK = 32 };

/* Everything about a matrix's sections that follows from its format. */
typedef struct layout {
    int out, in, bits, grid, flags, group, block_in, block_out;
    size_t weights, groups, scales, mask_bits;
} layout;

static hd_status make_layout(layout *l, const char *name, hd_err *err) {
    if (l->bits == FLOAT && (l->grid || l->group || l->flags & (SHIFTS | WIDE | IN_SCALE | AFFINE)))
        return hd_fail(err, HD_FORMAT, "%s: float values with grid %d, groups of %d, flags %d; they have no grid, groups, shifts or scales", name, l->grid, l->group, l->flags);
    if (l->grid >= HD_GRIDS) return hd_fail(err, HD_FORMAT, "%s: grid %d; allowed 0 to %d", name, l->grid, HD_GRIDS - 1);
    int low, high;
    hd_grid_bits(&low, &high, (enum hd_grid)l->grid);
    if (l->bits != FLOAT && (l->bits < low || l->bits > high))
        return hd_fail(err, HD_FORMAT, "%s: %d bits on grid %d; allowed %d to %d, or 16 (float)", name, l->bits, l->grid, low, high);
    if (l->flags & ~ALL_FLAGS || (l->flags & BLOCKS && !(l->flags & MASKED))) return hd_fail(err, HD_FORMAT, "%s: flags %d; allowed 0 to %d, blocks with a mask only", name, l->flags, ALL_FLAGS);
    if (l->flags & AFFINE && (l->grid != HD_GRID_ODD || l->flags & SHIFTS))
        return hd_fail(err, HD_FORMAT, "%s: zero points with grid %d, flags %d; they go with grid 0 and without shifts", name, l->grid, l->flags);
    if (l->group < 0 || l->group > l->in) return hd_fail(err, HD_FORMAT, "%s: groups of %d inputs; allowed 0 to %d", name, l->group, l->in);
    if (l->flags & BLOCKS && (l->block_in < 1 || l->block_in > HD_LM_MAX_BLOCK || l->block_out < 1 || l->block_out > HD_LM_MAX_BLOCK))
        return hd_fail(err, HD_FORMAT, "%s: blocks of %d x %d; allowed 1 x 1 to %d x %d", name, l->block_in, l->block_out, HD_LM_MAX_BLOCK, HD_LM_MAX_BLOCK);
    size_t out = (size_t)l->out, in = (size_t)l->in, group = l->group ? (size_t)l->group : in;
    l->weights = out * in;
    l->groups = (in + group - 1) / group;
    l->scales = l->bits == FLOAT ? 0 : l->flags & SHIFTS ? out : out * l->groups;
    l->mask_bits = l->flags & BLOCKS ? ((in + (size_t)l->block_in - 1) / (size_t)l->block_in) * ((out + (size_t)l->block_out - 1) / (size_t)l->block_out)
                   : l->flags & MASKED ? l->weights : 0;
    return HD_OK;
}

/* The bit of the mask that decides weight `at`. */
static size_t mask_bit(const layout *l, size_t at) {
    if (!(l->flags & BLOCKS)) return at;
    size_t wide = ((size_t)l->in + (size_t)l->block_in - 1) / (size_t)l->block_in;
    return at / (size_t)l->in / (size_t)l->block_out * wide + at % (size_t)l->in / (size_t)l->block_in;
}

static layout layout_of(const hd_lm_matrix *m, int out, int in) {
    const hd_linear_format *f = &m->format;
    const hd_linear_result *r = &m->linear;
    layout l = {.out = out, .in = in, .bits = f->bits, .grid = f->bits == FLOAT || r->zero ? 0 : (int)f->grid};
    l.group = f->bits == FLOAT || f->group >= in ? 0 : f->group;
    l.flags = (r->shift ? SHIFTS : 0) | (r->mask ? MASKED : 0) | (r->in_scale ? IN_SCALE : 0) | (r->zero ? AFFINE : 0) | (f->bits != FLOAT && f->wide_scales ? WIDE : 0);
    if (r->mask && f->sparsity == HD_SPARSE_BLOCK) {
        l.flags |= BLOCKS;
        l.block_in = f->block_in;
        l.block_out = f->block_out;
    }
    return l;
}

/* ---- writing ---- */

static hd_status put_half(hd_writer *w, float x, const char *name, const char *what, hd_err *err) {
    int bits = hd_half_bits(x);
    if (bits < 0) return hd_fail(err, HD_RANGE, "%s: %s %.9g is no float16", name, what, (double)x);
    hd_put_u16(w, (uint16_t)bits);
    return HD_OK;
}

static void put_bits(hd_writer *w, const uint8_t *value, size_t n, unsigned width) {
    unsigned byte = 0, used = 0;
    for (size_t i = 0; i < n; i++) {
        byte |= (unsigned)value[i] << used;
        used += width;
        if (used < 8 && i + 1 < n) continue;
        hd_put_u8(w, (uint8_t)byte);
        byte = used = 0;
    }
}

static hd_status put_mask(hd_writer *w, const layout *l, const uint8_t *mask, const char *name, hd_err *err) {
    uint8_t *bit = calloc(l->mask_bits, 1);
    if (!bit) return hd_fail(err, HD_NOMEM, "%s: out of memory", name);
    for (size_t i = 0; i < l->weights; i++)
        if (mask[i]) bit[mask_bit(l, i)] = 1;
    hd_status s = HD_OK;
    for (size_t i = 0; !s && i < l->weights; i++)
        if (!mask[i] && bit[mask_bit(l, i)]) s = hd_fail(err, HD_RANGE, "%s: weight %zu is absent from a block that is present", name, i);
    put_bits(w, bit, l->mask_bits, 1);
    free(bit);
    return s;
}

/* Present weights in order: halves, or codes of the integers before the shift. */
static hd_status put_values(hd_writer *w, const layout *l, const hd_linear_result *r, const char *name, hd_err *err) {
    hd_status s = HD_OK;
    size_t n = 0, group = l->group ? (size_t)l->group : (size_t)l->in;
    if (l->bits == FLOAT) {
        for (size_t i = 0; !s && i < l->weights; i++)
            if (!r->mask || r->mask[i]) s = put_half(w, r->w[i], name, "weight", err);
        return s;
    }
    int16_t *value = malloc(l->weights * sizeof *value);
    uint8_t *bytes = calloc(hd_codes_bytes((enum hd_grid)l->grid, l->bits, l->weights) + 1, 1);
    if (!value || !bytes) s = hd_fail(err, HD_NOMEM, "%s: out of memory", name);
    for (size_t i = 0; !s && i < l->weights; i++) {
        if (r->mask && !r->mask[i]) continue;
        /* Codes with zero points are stored as the ODD values of the same codes. */
        int zero = r->zero ? 2 * r->zero[i / (size_t)l->in * l->groups + i % (size_t)l->in / group] - (1 << l->bits) + 1 : 0;
        int step = r->shift ? 1 << r->shift[i / (size_t)l->in * l->groups + i % (size_t)l->in / group] : 1;
        value[n] = (int16_t)(r->v[i] / step + zero);
        if ((value[n] - zero) * step != r->v[i] || !hd_grid_has((enum hd_grid)l->grid, l->bits, value[n]))
            s = hd_fail(err, HD_RANGE, "%s: weight %zu is %d, which is not on its grid", name, i, r->v[i]);
        n++;
    }
    if (!s) {
        hd_codes_pack(bytes, (enum hd_grid)l->grid, l->bits, value, n);
        hd_put_bytes(w, bytes, hd_codes_bytes((enum hd_grid)l->grid, l->bits, n));
    }
    free(value);
    free(bytes);
    return s;
}

static hd_status put_zeros(hd_writer *w, const layout *l, const uint8_t *zero, const char *name, hd_err *err) {
    size_t n = (size_t)l->out * l->groups, size = hd_codes_bytes(HD_GRID_ODD, l->bits, n);
    int16_t *value = malloc(n * sizeof *value);
    uint8_t *bytes = calloc(size, 1);
    for (size_t i = 0; value && i < n; i++) value[i] = (int16_t)(2 * zero[i] - (1 << l->bits) + 1);
    if (value && bytes) {
        hd_codes_pack(bytes, HD_GRID_ODD, l->bits, value, n);
        hd_put_bytes(w, bytes, size);
    }
    int failed = !value || !bytes;
    free(value);
    free(bytes);
    return failed ? hd_fail(err, HD_NOMEM, "%s: out of memory", name) : HD_OK;
}

static hd_status put_low_rank(hd_writer *w, const hd_lm_matrix *m, int out, int in, const char *name, hd_err *err) {
    int rest = m->part[2].linear.w != NULL;
    hd_put_u8(w, LOW_RANK);
    hd_put_u16(w, (uint16_t)m->rank);
    hd_put_u8(w, (uint8_t)rest);
    hd_status s = hd_lm_put_matrix(w, &m->part[0], m->rank, in, name, err);
    if (!s) s = hd_lm_put_matrix(w, &m->part[1], out, m->rank, name, err);
    return s || !rest ? s : hd_lm_put_matrix(w, &m->part[2], out, in, name, err);
}

hd_status hd_lm_put_matrix(hd_writer *w, const hd_lm_matrix *m, int out, int in, const char *name, hd_err *err) {
    if (m->rank) return put_low_rank(w, m, out, in, name, err);
    const hd_linear_result *r = &m->linear;
    layout l = layout_of(m, out, in);
    if (l.bits == FLOAT ? !r->mask : !r->v || !r->scale) return hd_fail(err, HD_UNSUPPORTED, "%s: no integers or mask; a .hlm stores what hd_linear_solve returns", name);
    if (m->format.tap) return hd_fail(err, HD_UNSUPPORTED, "%s: window taps; a language model has none", name);
    hd_status s = make_layout(&l, name, err);
    if (s) return s;
    hd_put_u8(w, (uint8_t)l.bits);
    hd_put_u8(w, (uint8_t)l.grid);
    hd_put_u8(w, (uint8_t)l.flags);
    hd_put_u32(w, (uint32_t)l.group);
    if (l.flags & BLOCKS) {
        hd_put_u16(w, (uint16_t)l.block_in);
        hd_put_u16(w, (uint16_t)l.block_out);
    }
    for (size_t i = 0; !s && i < l.scales; i++)
        if (l.flags & WIDE) hd_put_f32(w, r->scale[i]);
        else s = put_half(w, r->scale[i], name, "scale", err);
    if (r->shift) put_bits(w, r->shift, (size_t)out * l.groups, 2);
    if (!s && r->zero) s = put_zeros(w, &l, r->zero, name, err);
    for (int i = 0; !s && r->in_scale && i < in; i++) s = put_half(w, r->in_scale[i], name, "input scale", err);
    if (!s && r->mask) s = put_mask(w, &l, r->mask, name, err);
    return s ? s : put_values(w, &l, r, name, err);
}

/* ---- reading ---- */

hd_status hd_lm_need(const hd_reader *r, size_t bytes, const char *name, const char *what, hd_err *err) {
    size_t left = r->size - r->at;
    if (bytes <= left) return HD_OK;
    return hd_fail(err, HD_FORMAT, "%s: %s: %zu bytes needed, %zu left in the file", name, what, bytes, left);
}

static hd_status get_floats(hd_reader *r, float *to, size_t n, int wide, int positive, const char *name, const char *what, hd_err *err) {
    hd_status s = hd_lm_need(r, n * (wide ? 4 : 2), name, what, err);
    for (size_t i = 0; !s && i < n; i++) {
        to[i] = wide ? hd_get_f32(r) : hd_half_value(hd_get_u16(r));
        if (!isfinite(to[i]) || (positive && !(to[i] > 0)))
            s = hd_fail(err, HD_FORMAT, "%s: %s %zu is %g; it must be finite%s", name, what, i, (double)to[i], positive ? " and positive" : "");
    }
    return s;
}

static hd_status get_bits(hd_reader *r, uint8_t *to, size_t n, unsigned width, const char *name, const char *what, hd_err *err) {
    size_t bytes = (n * width + 7) / 8, used = n * width % 8;
    hd_status s = hd_lm_need(r, bytes, name, what, err);
    if (s) return s;
    const uint8_t *from = hd_get_bytes(r, bytes);
    for (size_t i = 0; i < n; i++) to[i] = (uint8_t)((unsigned)from[i * width / 8] >> i * width % 8 & ((1u << width) - 1u));
    if (used && from[bytes - 1] >> used) return hd_fail(err, HD_FORMAT, "%s: %s: the last byte is 0x%02x; bits past the end are 0", name, what, from[bytes - 1]);
    return HD_OK;
}

static hd_status get_mask(hd_reader *r, const layout *l, uint8_t *mask, const char *name, hd_err *err) {
    uint8_t *bit = malloc(l->mask_bits);
    hd_status s = bit ? get_bits(r, bit, l->mask_bits, 1, name, "mask", err) : hd_fail(err, HD_NOMEM, "%s: out of memory", name);
    for (size_t i = 0; !s && i < l->weights; i++) mask[i] = bit[mask_bit(l, i)];
    free(bit);
    return s;
}

static hd_status get_integers(hd_reader *r, const layout *l, hd_linear_result *m, size_t present, const char *name, hd_err *err) {
    size_t bytes = hd_codes_bytes((enum hd_grid)l->grid, l->bits, present), group = l->group ? (size_t)l->group : (size_t)l->in, n = 0;
    hd_status s = hd_lm_need(r, bytes, name, "codes", err);
    if (s) return s;
    int16_t *value = malloc((present + 1) * sizeof *value);
    if (!value) return hd_fail(err, HD_NOMEM, "%s: out of memory", name);
    const uint8_t *from = hd_get_bytes(r, bytes);
    size_t bad = hd_codes_unpack(value, (enum hd_grid)l->grid, l->bits, from, present);
    if (bad) s = hd_fail(err, HD_FORMAT, "%s: byte %zu of the codes is 0x%02x, no code of its grid", name, bad - 1, from[bad - 1]);
    for (size_t i = 0; !s && i < l->weights; i++) {
        size_t row = i / (size_t)l->in, k = i % (size_t)l->in / group;
        int zero = m->zero ? 2 * m->zero[row * l->groups + k] - (1 << l->bits) + 1 : 0;
        int v = m->mask && !m->mask[i] ? 0 : value[n++] - zero;
        m->v[i] = (int16_t)(v * (m->shift ? 1 << m->shift[row * l->groups + k] : 1));
        m->w[i] = m->scale[l->flags & SHIFTS ? row : row * l->groups + k] * (float)m->v[i];
        if (m->in_scale) m->w[i] /= m->in_scale[i % (size_t)l->in];
        if (!isfinite(m->w[i])) s = hd_fail(err, HD_FORMAT, "%s: weight %zu is %g; it must be finite", name, i, (double)m->w[i]);
    }
    free(value);
    return s;
}

static hd_status get_zeros(hd_reader *r, const layout *l, uint8_t *zero, const char *name, hd_err *err) {
    size_t n = (size_t)l->out * l->groups, size = hd_codes_bytes(HD_GRID_ODD, l->bits, n);
    hd_status s = hd_lm_need(r, size, name, "zero points", err);
    if (s) return s;
    int16_t *value = malloc(n * sizeof *value);
    if (!value) return hd_fail(err, HD_NOMEM, "%s: out of memory", name);
    const uint8_t *from = hd_get_bytes(r, size);
    size_t bad = hd_codes_unpack(value, HD_GRID_ODD, l->bits, from, n);
    for (size_t i = 0; !bad && i < n; i++) zero[i] = (uint8_t)((value[i] + (1 << l->bits) - 1) / 2);
    free(value);
    return bad ? hd_fail(err, HD_FORMAT, "%s: zero points: the last byte is 0x%02x; bits past the end are 0", name, from[bad - 1]) : HD_OK;
}

static hd_status get_values(hd_reader *r, const layout *l, hd_linear_result *m, const char *name, hd_err *err) {
    size_t present = l->weights;
    hd_status s = HD_OK;
    if (m->mask) present = 0;
    for (size_t i = 0; m->mask && i < l->weights; i++) present += m->mask[i];
    if (l->bits != FLOAT) return get_integers(r, l, m, present, name, err);
    s = hd_lm_need(r, 2 * present, name, "weights", err);
    for (size_t i = 0; !s && i < l->weights; i++)
        if (m->mask[i]) s = get_floats(r, &m->w[i], 1, 0, 0, name, "weight", err);
    return s;
}

static hd_status get_low_rank(hd_reader *r, hd_lm_matrix *m, int out, int in, const char *name, hd_err *err) {
    hd_get_u8(r);
    int rank = hd_get_u16(r), rest = hd_get_u8(r), most = out < in ? out : in;
    if (rank < 1 || rank > most) return hd_fail(err, HD_FORMAT, "%s: rank %d; allowed 1 to %d", name, rank, most);
    if (rest > 1) return hd_fail(err, HD_FORMAT, "%s: byte for 'there is a residual' is %d; allowed 0 and 1", name, rest);
    m->part = calloc(3, sizeof *m->part);
    if (!m->part) return hd_fail(err, HD_NOMEM, "%s: out of memory", name);
    m->rank = rank;
    const int rows[3] = {rank, out, out}, columns[3] = {in, rank, in};
    for (int i = 0; i < 2 + rest; i++) {
        /* a part has no parts */
        if (r->at < r->size && r->data[r->at] == LOW_RANK) return hd_fail(err, HD_FORMAT, "%s: a low-rank matrix inside a low-rank matrix", name);
        hd_status s = hd_lm_get_matrix(r, &m->part[i], rows[i], columns[i], name, err);
        if (s) return s;
    }
    hd_status s = hd_lm_join_parts(m, out, in, name, err);
    for (size_t i = 0; !s && i < (size_t)out * (size_t)in; i++)
        if (!isfinite(m->linear.w[i])) s = hd_fail(err, HD_FORMAT, "%s: weight %zu is %g; it must be finite", name, i, (double)m->linear.w[i]);
    return s;
}

hd_status hd_lm_get_matrix(hd_reader *r, hd_lm_matrix *m, int out, int in, const char *name, hd_err *err) {
    hd_linear_result *x = &m->linear;
    hd_status s = hd_lm_need(r, 7, name, "format", err);
    if (s) return s;
    if (r->data[r->at] == LOW_RANK) return get_low_rank(r, m, out, in, name, err);
    layout l = {.out = out, .in = in};
    l.bits = hd_get_u8(r);
    l.grid = hd_get_u8(r);
    l.flags = hd_get_u8(r);
    uint32_t group = hd_get_u32(r);
    l.group = group > INT32_MAX ? INT32_MAX : (int)group;
    if (l.flags & BLOCKS) {
        if ((s = hd_lm_need(r, 4, name, "blocks", err))) return s;
        l.block_in = hd_get_u16(r);
        l.block_out = hd_get_u16(r);
    }
    if ((s = make_layout(&l, name, err))) return s;
    if (l.bits == FLOAT && !(l.flags & MASKED)) return hd_fail(err, HD_FORMAT, "%s: float values without a mask; a compressed matrix has one of integers and mask", name);
    size_t from = r->at;
    x->w = calloc(l.weights, sizeof *x->w);
    if (l.bits != FLOAT) {
        x->v = calloc(l.weights, sizeof *x->v);
        x->scale = malloc(l.scales * sizeof *x->scale);
    }
    if (l.flags & SHIFTS) x->shift = malloc((size_t)out * l.groups);
    if (l.flags & AFFINE) x->zero = malloc((size_t)out * l.groups);
    if (l.flags & MASKED) x->mask = malloc(l.weights);
    if (l.flags & IN_SCALE) x->in_scale = malloc((size_t)in * sizeof *x->in_scale);
    if (!x->w || (l.bits != FLOAT && (!x->v || !x->scale)) || (l.flags & SHIFTS && !x->shift) || (l.flags & MASKED && !x->mask) || (l.flags & AFFINE && !x->zero) || (l.flags & IN_SCALE && !x->in_scale))
        return hd_fail(err, HD_NOMEM, "%s: out of memory", name);
    if (x->scale) s = get_floats(r, x->scale, l.scales, l.flags & WIDE, 0, name, "scale", err);
    if (!s && x->shift) s = get_bits(r, x->shift, (size_t)out * l.groups, 2, name, "shifts", err);
    if (!s && x->zero) s = get_zeros(r, &l, x->zero, name, err);
    if (!s && x->in_scale) s = get_floats(r, x->in_scale, (size_t)in, 0, 1, name, "input scale", err);
    if (!s && x->mask) s = get_mask(r, &l, x->mask, name, err);
    if (!s) s = get_values(r, &l, x, name, err);
    x->bits_stored = 8.0 * (double)(r->at - from);
    m->format = (hd_linear_format){.bits = l.bits, .grid = (enum hd_grid)l.grid, .group = l.group, .shift_groups = l.flags & SHIFTS ? 1 : 0,
                                   .wide_scales = l.flags & WIDE ? 1 : 0, .affine = l.flags & AFFINE ? 1 : 0, .block_in = l.block_in, .block_out = l.block_out,
                                   .sparsity = l.flags & BLOCKS ? HD_SPARSE_BLOCK : l.flags & MASKED ? HD_SPARSE_UNSTRUCTURED : HD_SPARSE_NONE};
    return s;
}
