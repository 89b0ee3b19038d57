/* .hdm files: docs/formats.md section 4. Every section's size is checked against what the file still holds before
 * anything is allocated or read for it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/bytes.h"
#include "model_internal.h"

typedef struct loader {
    hd_reader r;
    hd_model *m;
    hd_err *err;
    char where[80]; /* the thing being read, for messages */
    size_t weights; /* elements of v allocated so far */
} loader;

static hd_status need(loader *l, const char *what, uint64_t bytes) {
    size_t left = l->r.size - l->r.at;
    if (bytes <= left) return HD_OK;
    return hd_fail(l->err, HD_FORMAT, "%s: %s: %llu bytes needed, %zu left in the file", l->where, what, (unsigned long long)bytes, left);
}

static hd_status no_memory(loader *l) {
    return hd_fail(l->err, HD_NOMEM, "%s: out of memory", l->where);
}

/* Length of the UTF-8 sequence at s (of n bytes left), 0 when malformed (overlong, surrogate, beyond U+10FFFF, NUL). */
static size_t utf8_length(const uint8_t *s, size_t n) {
    if (s[0] == 0) return 0;
    if (s[0] < 0x80) return 1;
    size_t length = s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n < length) return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return length;
}

static hd_status read_name(loader *l, char **out) {
    hd_status status = need(l, "length of the name", 2);
    if (status != HD_OK) return status;
    size_t n = hd_get_u16(&l->r);
    if ((status = need(l, "name", n)) != HD_OK) return status;
    const uint8_t *bytes = hd_get_bytes(&l->r, n);
    for (size_t i = 0; i < n;) {
        size_t length = utf8_length(bytes + i, n - i);
        if (!length) return hd_fail(l->err, HD_FORMAT, "%s: byte %zu of the name is 0x%02x; names are UTF-8 without NUL", l->where, i, bytes[i]);
        i += length;
    }
    if (!(*out = malloc(n + 1))) return no_memory(l);
    if (n) memcpy(*out, bytes, n);
    (*out)[n] = 0;
    return HD_OK;
}

/* A count of things of at least `bytes` each. */
static hd_status read_count(loader *l, const char *what, uint64_t bytes, int *count) {
    hd_status status = need(l, what, 4);
    if (status != HD_OK) return status;
    uint32_t n = hd_get_u32(&l->r);
    size_t left = l->r.size - l->r.at;
    if (n < 1 || n > left / bytes)
        return hd_fail(l->err, HD_FORMAT, "%u %s; allowed 1 to %zu in the %zu bytes left", n, what, (size_t)(left / bytes), left);
    *count = (int)n;
    return HD_OK;
}

/* Indices and sizes are u32 in the file; one above INT32_MAX is out of every range and stays so as INT32_MAX. */
static int read_int(loader *l) {
    uint32_t v = hd_get_u32(&l->r);
    return v > INT32_MAX ? INT32_MAX : (int)v;
}

static hd_status read_tensors(loader *l) {
    hd_model *m = l->m;
    hd_status status = read_count(l, "tensors", 22, &m->n_tensors);
    if (status != HD_OK) return status;
    if (!(m->tensor = calloc((size_t)m->n_tensors, sizeof *m->tensor))) return no_memory(l);
    for (int i = 0; i < m->n_tensors; i++) {
        hd_qtensor *t = &m->tensor[i];
        snprintf(l->where, sizeof l->where, "tensor %d", i);
        if ((status = read_name(l, &t->name)) != HD_OK) return status;
        if ((status = need(l, "shape, scale and zero point", 20)) != HD_OK) return status;
        t->h = read_int(l);
        t->w = read_int(l);
        t->c = read_int(l);
        t->scale = hd_get_f32(&l->r);
        t->zero = hd_get_i32(&l->r);
    }
    return hd_model_check_tensors(m, l->err);
}

static hd_status read_channels(loader *l, hd_stage *s) {
    size_t n = (size_t)s->cout;
    hd_status status = need(l, "scales, biases, multipliers and shifts", (uint64_t)n * HD_STAGE_CHANNEL_BYTES);
    if (status != HD_OK) return status;
    s->scale = malloc(n * sizeof *s->scale);
    s->bias = malloc(n * sizeof *s->bias);
    s->mult = malloc(n * sizeof *s->mult);
    s->shift = malloc(n);
    if (!s->scale || !s->bias || !s->mult || !s->shift) return no_memory(l);
    for (size_t i = 0; i < n; i++) {
        s->scale[i] = hd_get_f32(&l->r);
        s->bias[i] = hd_get_i32(&l->r);
        s->mult[i] = hd_get_u16(&l->r);
        s->shift[i] = hd_get_u8(&l->r);
    }
    return HD_OK;
}

/* `count` fields of `width` bits, low first; the bits after the last must be 0. */
static hd_status read_fields(loader *l, const char *what, size_t count, unsigned width, uint8_t **out) {
    size_t size = (count * width + 7) / 8;
    hd_status status = need(l, what, size);
    if (status != HD_OK) return status;
    const uint8_t *bytes = hd_get_bytes(&l->r, size);
    if (!(*out = malloc(count ? count : 1))) return no_memory(l);
    for (size_t i = 0; i < count; i++) (*out)[i] = (uint8_t)((unsigned)bytes[i * width / 8] >> (i * width % 8) & ((1u << width) - 1u));
    size_t used = count * width % 8;
    if (used && bytes[size - 1] >> used)
        return hd_fail(l->err, HD_FORMAT, "%s: %s: padding bits of the last byte are 0x%x; must be 0", l->where, what, bytes[size - 1] >> used);
    return HD_OK;
}

static hd_status read_codes(loader *l, hd_stage *s) {
    size_t inputs = hd_stage_inputs(s), count = hd_stage_present(s), size = hd_codes_bytes(s->grid, s->bits, count);
    hd_status status = need(l, "code bytes", 4);
    if (status != HD_OK) return status;
    uint32_t stored = hd_get_u32(&l->r);
    if (stored != size)
        return hd_fail(l->err, HD_FORMAT, "%s: %u code bytes; %zu weights need %zu", l->where, stored, count, size);
    if ((status = need(l, "codes", size)) != HD_OK) return status;
    const uint8_t *bytes = hd_get_bytes(&l->r, size);
    s->v = calloc(hd_stage_weights(s), sizeof *s->v);
    int16_t *values = malloc((count ? count : 1) * sizeof *values);
    if (!s->v || !values) {
        free(values);
        return no_memory(l);
    }
    size_t bad = hd_codes_unpack(values, s->grid, s->bits, bytes, count), groups = hd_stage_shift_groups(s), next = 0;
    if (bad) {
        free(values);
        return hd_fail(l->err, HD_FORMAT, "%s: code byte %zu is 0x%02x; not a code of its grid or not padded as the format says", l->where,
                       bad - 1, bytes[bad - 1]);
    }
    for (size_t oc = 0; oc < (size_t)s->cout; oc++)
        for (size_t i = 0; i < inputs; i++) {
            if (!hd_stage_is_present(s, oc, i)) continue;
            int step = groups ? s->group_shift[oc * groups + i / (size_t)s->group_size] : 0;
            s->v[oc * inputs + i] = (int16_t)(values[next++] * (1 << step));
        }
    free(values);
    return HD_OK;
}

static hd_status read_books(loader *l, hd_stage *s) {
    int there = hd_get_u8(&l->r);
    if (there > 1) return hd_fail(l->err, HD_FORMAT, "%s: books flag is %d; allowed 0 or 1", l->where, there);
    if (!there) return HD_OK;
    hd_status status = need(l, "books", HD_BOOKS_WORDS * 4);
    if (status != HD_OK) return status;
    if (!(s->books = malloc(HD_BOOKS_WORDS * sizeof *s->books))) return no_memory(l);
    for (int i = 0; i < HD_BOOKS_WORDS; i++) s->books[i] = hd_get_u32(&l->r);
    return HD_OK;
}

static hd_status read_conv(loader *l, hd_stage *s) {
    hd_status status = need(l, "weight format", 4 + 3 + 4 + 4 + 3);
    if (status != HD_OK) return status;
    s->groups = read_int(l);
    s->grid = (enum hd_grid)hd_get_u8(&l->r);
    s->bits = hd_get_u8(&l->r);
    s->granularity = (enum hd_granularity)hd_get_u8(&l->r);
    s->group_size = read_int(l);
    s->block_in = hd_get_u16(&l->r);
    s->block_out = hd_get_u16(&l->r);
    s->clamp_lo = hd_get_i8(&l->r);
    s->clamp_hi = hd_get_i8(&l->r);
    s->has_table = hd_get_u8(&l->r);
    if (s->has_table > 1) return hd_fail(l->err, HD_FORMAT, "%s: table flag is %d; allowed 0 or 1", l->where, s->has_table);
    if (s->has_table) {
        if ((status = need(l, "table", 256)) != HD_OK) return status;
        memcpy(s->table, hd_get_bytes(&l->r, 256), 256);
    }
    if ((status = need(l, "residual constants and books flag", 8)) != HD_OK) return status;
    s->res_mult = hd_get_u16(&l->r);
    s->res_add = hd_get_i32(&l->r);
    s->res_shift = hd_get_u8(&l->r);
    if ((status = read_books(l, s)) != HD_OK || (status = hd_stage_check_shape(l->m, s, l->err)) != HD_OK) return status;
    if ((l->weights += hd_stage_weights(s)) > HD_MODEL_MAX_ELEMENTS)
        return hd_fail(l->err, HD_RANGE, "%s: the stages up to it have %zu weights; allowed %d", l->where, l->weights, HD_MODEL_MAX_ELEMENTS);
    if ((status = read_channels(l, s)) != HD_OK) return status;
    if (s->granularity == HD_GRANULARITY_GROUP &&
        (status = read_fields(l, "group shifts", (size_t)s->cout * hd_stage_shift_groups(s), 2, &s->group_shift)) != HD_OK)
        return status;
    if (s->block_in && (status = read_fields(l, "block bitmap", hd_stage_out_blocks(s) * hd_stage_in_blocks(s), 1, &s->present)) != HD_OK)
        return status;
    return read_codes(l, s);
}

static hd_status read_stage(loader *l, int index) {
    hd_stage *s = &l->m->stage[index];
    snprintf(l->where, sizeof l->where, "stage %d", index);
    hd_status status = need(l, "kind", 1);
    if (status != HD_OK) return status;
    s->kind = (enum hd_stage_kind)hd_get_u8(&l->r);
    if ((status = read_name(l, &s->name)) != HD_OK) return status;
    snprintf(l->where, sizeof l->where, "stage '%.60s'", s->name);
    if ((status = need(l, "tensors, kernel and padding", 12 + 12 + 4)) != HD_OK) return status;
    s->input = read_int(l);
    s->residual = hd_get_i32(&l->r);
    s->output = read_int(l);
    s->kh = hd_get_u16(&l->r);
    s->kw = hd_get_u16(&l->r);
    s->sy = hd_get_u16(&l->r);
    s->sx = hd_get_u16(&l->r);
    s->dy = hd_get_u16(&l->r);
    s->dx = hd_get_u16(&l->r);
    s->pad_top = hd_get_i16(&l->r);
    s->pad_left = hd_get_i16(&l->r);
    /* Anything but CONV ends here; the shape check refuses unknown kinds. */
    return s->kind == HD_STAGE_CONV ? read_conv(l, s) : hd_stage_check_shape(l->m, s, l->err);
}

static hd_status read_model(loader *l) {
    hd_model *m = l->m;
    snprintf(l->where, sizeof l->where, "model");
    hd_status status = read_name(l, &m->name);
    if (status == HD_OK) status = read_tensors(l);
    if (status != HD_OK) return status;
    snprintf(l->where, sizeof l->where, "model");
    if ((status = need(l, "input, output and weight count", 12)) != HD_OK) return status;
    m->input = read_int(l);
    m->output = read_int(l);
    m->dense_weights = hd_get_u32(&l->r);
    if ((status = read_count(l, "stages", 31, &m->n_stages)) != HD_OK) return status;
    if (!(m->stage = calloc((size_t)m->n_stages, sizeof *m->stage))) return no_memory(l);
    for (int i = 0; i < m->n_stages; i++)
        if ((status = read_stage(l, i)) != HD_OK) return status;
    if (l->r.at != l->r.size)
        return hd_fail(l->err, HD_FORMAT, "%zu bytes after the last stage; allowed 0", l->r.size - l->r.at);
    return hd_model_check(m, l->err);
}

hd_status hd_model_read(hd_model **out, const hd_reader *payload, const char *label, hd_err *err) {
    *out = NULL;
    loader l = {.r = *payload, .err = err};
    l.m = calloc(1, sizeof *l.m);
    hd_status status = l.m ? read_model(&l) : hd_fail(err, HD_NOMEM, "out of memory");
    if (status != HD_OK) {
        hd_model_free(l.m);
        if (err) hd_fail_in(err, label);
        return status;
    }
    *out = l.m;
    return HD_OK;
}

hd_status hd_model_load(hd_model **out, const char *path, hd_err *err) {
    *out = NULL;
    uint8_t *buffer = NULL;
    hd_reader r;
    hd_status status = hd_container_read(&buffer, &r, path, HD_HDM_MAGIC, HD_HDM_VERSION, err);
    if (status == HD_OK) status = hd_model_read(out, &r, path, err);
    free(buffer);
    return status;
}

static void write_fields(hd_writer *w, const uint8_t *fields, size_t count, unsigned width) {
    unsigned byte = 0, used = 0;
    for (size_t i = 0; i < count; i++) {
        byte |= (unsigned)fields[i] << used;
        if ((used += width) == 8) {
            hd_put_u8(w, (uint8_t)byte);
            byte = used = 0;
        }
    }
    if (used) hd_put_u8(w, (uint8_t)byte);
}

static hd_status write_codes(hd_writer *w, const hd_stage *s, hd_err *err) {
    size_t inputs = hd_stage_inputs(s), count = hd_stage_present(s), size = hd_codes_bytes(s->grid, s->bits, count), next = 0;
    size_t groups = hd_stage_shift_groups(s);
    int16_t *values = malloc((count ? count : 1) * sizeof *values);
    uint8_t *bytes = calloc(size ? size : 1, 1);
    if (!values || !bytes) {
        free(values);
        free(bytes);
        return hd_fail(err, HD_NOMEM, "stage '%s': out of memory", s->name);
    }
    for (size_t oc = 0; oc < (size_t)s->cout; oc++)
        for (size_t i = 0; i < inputs; i++) {
            if (!hd_stage_is_present(s, oc, i)) continue;
            int step = groups ? s->group_shift[oc * groups + i / (size_t)s->group_size] : 0;
            values[next++] = (int16_t)(s->v[oc * inputs + i] / (1 << step));
        }
    hd_codes_pack(bytes, s->grid, s->bits, values, count);
    hd_put_u32(w, (uint32_t)size);
    hd_put_bytes(w, bytes, size);
    free(values);
    free(bytes);
    return HD_OK;
}

static hd_status write_conv(hd_writer *w, const hd_stage *s, hd_err *err) {
    hd_put_u32(w, (uint32_t)s->groups);
    hd_put_u8(w, (uint8_t)s->grid);
    hd_put_u8(w, (uint8_t)s->bits);
    hd_put_u8(w, (uint8_t)s->granularity);
    hd_put_u32(w, (uint32_t)s->group_size);
    hd_put_u16(w, (uint16_t)s->block_in);
    hd_put_u16(w, (uint16_t)s->block_out);
    hd_put_u8(w, (uint8_t)s->clamp_lo);
    hd_put_u8(w, (uint8_t)s->clamp_hi);
    hd_put_u8(w, s->has_table ? 1 : 0);
    if (s->has_table) hd_put_bytes(w, s->table, 256);
    hd_put_u16(w, (uint16_t)s->res_mult);
    hd_put_u32(w, (uint32_t)s->res_add);
    hd_put_u8(w, (uint8_t)s->res_shift);
    hd_put_u8(w, s->books ? 1 : 0);
    for (int i = 0; s->books && i < HD_BOOKS_WORDS; i++) hd_put_u32(w, s->books[i]);
    for (int i = 0; i < s->cout; i++) {
        hd_put_f32(w, s->scale[i]);
        hd_put_u32(w, (uint32_t)s->bias[i]);
        hd_put_u16(w, s->mult[i]);
        hd_put_u8(w, s->shift[i]);
    }
    if (s->granularity == HD_GRANULARITY_GROUP) write_fields(w, s->group_shift, (size_t)s->cout * hd_stage_shift_groups(s), 2);
    if (s->block_in) write_fields(w, s->present, hd_stage_out_blocks(s) * hd_stage_in_blocks(s), 1);
    return write_codes(w, s, err);
}

/* Checks first: what cannot be loaded again is not written. */
hd_status hd_model_write(hd_writer *w, const hd_model *m, hd_err *err) {
    hd_status checked = hd_model_check(m, err);
    if (checked != HD_OK) return checked;
    hd_put_string(w, m->name);
    hd_put_u32(w, (uint32_t)m->n_tensors);
    for (int i = 0; i < m->n_tensors; i++) {
        const hd_qtensor *t = &m->tensor[i];
        hd_put_string(w, t->name);
        hd_put_u32(w, (uint32_t)t->h);
        hd_put_u32(w, (uint32_t)t->w);
        hd_put_u32(w, (uint32_t)t->c);
        hd_put_f32(w, t->scale);
        hd_put_u32(w, (uint32_t)t->zero);
    }
    hd_put_u32(w, (uint32_t)m->input);
    hd_put_u32(w, (uint32_t)m->output);
    hd_put_u32(w, m->dense_weights);
    hd_put_u32(w, (uint32_t)m->n_stages);
    for (int i = 0; i < m->n_stages; i++) {
        const hd_stage *s = &m->stage[i];
        hd_put_u8(w, (uint8_t)s->kind);
        hd_put_string(w, s->name);
        hd_put_u32(w, (uint32_t)s->input);
        hd_put_u32(w, (uint32_t)s->residual);
        hd_put_u32(w, (uint32_t)s->output);
        const int kernel[6] = {s->kh, s->kw, s->sy, s->sx, s->dy, s->dx};
        for (int k = 0; k < 6; k++) hd_put_u16(w, (uint16_t)kernel[k]);
        hd_put_u16(w, (uint16_t)s->pad_top);
        hd_put_u16(w, (uint16_t)s->pad_left);
        if (s->kind != HD_STAGE_CONV) continue;
        hd_status status = write_conv(w, s, err);
        if (status != HD_OK) return status;
    }
    return w->failed ? hd_fail(err, HD_NOMEM, "out of memory") : HD_OK;
}

hd_status hd_model_save(const hd_model *m, const char *path, hd_err *err) {
    hd_writer w = {0};
    hd_status status = hd_model_write(&w, m, err);
    if (status != HD_OK) {
        if (err) hd_fail_in(err, path);
    } else
        status = hd_container_write(path, HD_HDM_MAGIC, HD_HDM_VERSION, &w, err);
    hd_writer_free(&w);
    return status;
}
