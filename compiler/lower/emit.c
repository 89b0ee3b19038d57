/* Descriptors: one per slice of a convolution, one per pooling layer, END last. */
#include <stdlib.h>
#include <string.h>

#include "lower.h"

/* Makes room for `need` elements of `size` bytes; new ones are zero. */
static int grow(void **data, uint32_t *capacity, uint64_t need, size_t size) {
    if (need <= *capacity) return 1;
    uint64_t n = *capacity ? *capacity : 16;
    while (n < need) n *= 2;
    if (n > UINT32_MAX) return 0;
    void *grown = realloc(*data, n * size);
    if (!grown) return 0;
    memset((char *)grown + *capacity * size, 0, (n - *capacity) * size);
    *data = grown;
    *capacity = (uint32_t)n;
    return 1;
}

static hd_status no_memory(const char *layer, hd_err *err) {
    return hd_fail(err, HD_NOMEM, "layer '%.100s': out of memory", layer);
}

hd_status hd_emit_entry(hd_emit *e, const char *layer, uint32_t *at, hd_err *err) {
    hd_program *p = e->p;
    uint32_t words = hd_geometry_weight_words(&p->geometry);
    /* Behind a ring the stream is as long as the field that counts it. */
    if (p->geometry.extern_log2 && p->n_stream >= hd_field_mask(HD_F_STREAM_LAST))
        return hd_nofit(&p->geometry, layer, (uint64_t)p->n_stream + 1, "stream entries (with the layers before it), at least", hd_field_mask(HD_F_STREAM_LAST), err);
    /* What is before the slice may still be shared with it (share_stream). */
    if (!p->geometry.extern_log2 && p->n_stream - e->slice_first >= p->geometry.stream_words)
        return hd_nofit(&p->geometry, layer, (uint64_t)p->n_stream + 1, "stream words (with the layers before it), at least", p->geometry.stream_words, err);
    uint32_t capacity = e->cap_stream;
    void *index = p->index, *weight = p->weight, *pair = p->pair;
    int ok = grow(&index, &capacity, (uint64_t)p->n_stream + 1, sizeof *p->index);
    p->index = index;
    capacity = e->cap_stream;
    ok = ok && (!p->geometry.gather || grow(&pair, &capacity, (uint64_t)p->n_stream + 1, hd_geometry_pairs(&p->geometry) * sizeof *p->pair));
    p->pair = pair;
    capacity = e->cap_stream;
    ok = ok && grow(&weight, &capacity, (uint64_t)p->n_stream + 1, words * sizeof *p->weight);
    p->weight = weight;
    if (!ok) return no_memory(layer, err);
    e->cap_stream = capacity;
    *at = p->n_stream++;
    return HD_OK;
}

/* Slices of a layer may have the same entries, as averages have whose channels lie in different words: the last slice's, from `first` on, then go, and an earlier
 * descriptor's stand for them. Not with external memory, which is read once, in order. */
static hd_status share_stream(hd_emit *e, const char *layer, uint32_t *first, uint32_t *last, hd_err *err) {
    hd_program *p = e->p;
    size_t n = *last - *first + 1, words = hd_geometry_weight_words(&p->geometry), pairs = hd_geometry_pairs(&p->geometry);
    if (p->geometry.extern_log2) return HD_OK;
    for (uint32_t i = 0; i < p->n_desc; i++) {
        const uint32_t *d = p->desc + (size_t)i * HD_DESC_WORDS;
        uint32_t other = (uint32_t)hd_field_get(d, HD_F_STREAM_FIRST);
        if (hd_field_get(d, HD_F_OPCODE) != HD_OP_CONV || (size_t)hd_field_get(d, HD_F_STREAM_LAST) - other + 1 != n) continue;
        if (memcmp(p->index + other, p->index + *first, n * sizeof *p->index) || memcmp(p->weight + other * words, p->weight + *first * words, n * words * sizeof *p->weight))
            continue;
        if (pairs && memcmp(p->pair + other * pairs, p->pair + *first * pairs, n * pairs * sizeof *p->pair)) continue;
        /* Whoever takes these entries next finds them empty. */
        memset(p->weight + *first * words, 0, n * words * sizeof *p->weight);
        p->n_stream = *first;
        *first = other;
        *last = other + (uint32_t)n - 1;
        break;
    }
    if (p->n_stream > p->geometry.stream_words)
        return hd_nofit(&p->geometry, layer, p->n_stream, "stream words (with the layers before it), at least", p->geometry.stream_words, err);
    return HD_OK;
}

hd_status hd_emit_params(hd_emit *e, const char *layer, uint32_t n, uint32_t *at, hd_err *err) {
    hd_program *p = e->p;
    void *param = p->param;
    int ok = grow(&param, &e->cap_param, (uint64_t)p->n_param + n, 2 * sizeof *p->param);
    p->param = param;
    if (!ok) return no_memory(layer, err);
    *at = p->n_param;
    p->n_param += n;
    return HD_OK;
}

/* Gives back what the slice with the last parameters, from `at` on, does not need of them: all where others are the same, as of the slices of an average, else those behind
 * its last real channel. In the places of these follow the next layer's, for whatever they make of a channel beyond COUT is not stored. */
static hd_status share_params(hd_emit *e, const char *layer, const hd_slice *sl, uint32_t *at, hd_err *err) {
    hd_program *p = e->p;
    uint32_t real = sl->o1 - sl->o0, same = 0;
    while (same < *at && (*at - same < real || memcmp(p->param + 2 * (size_t)same, p->param + 2 * (size_t)*at, 2 * sizeof *p->param * real))) same++;
    p->n_param = *at + (same < *at ? 0 : real);
    *at = same;
    if (*at + sl->nch > e->param_end) e->param_end = *at + sl->nch;
    uint32_t need = e->param_end > p->n_param ? e->param_end : p->n_param;
    return need > p->geometry.param_words ? hd_nofit(&p->geometry, layer, need, "parameter words (with the layers before it)", p->geometry.param_words, err) : HD_OK;
}

/* The last slices' pacing channels read parameters too: multiplied by nothing. */
static hd_status end_params(hd_emit *e, hd_err *err) {
    uint32_t at = e->p->n_param, more = e->param_end > at ? e->param_end - at : 0;
    hd_status st = hd_emit_params(e, "END", more, &at, err);
    for (uint32_t i = at; !st && i < at + more; i++) {
        uint32_t *words = e->p->param + 2 * (size_t)i;
        words[0] = words[1] = 0;
        hd_field_set(words, HD_P_SHIFT, 1);
    }
    return st;
}

static hd_status emit_desc(hd_emit *e, const char *layer, uint32_t **desc, hd_err *err) {
    hd_program *p = e->p;
    *desc = NULL;
    /* One more is needed for END, except by END itself. */
    uint64_t need = (uint64_t)p->n_desc + (layer ? 2 : 1);
    if (need > p->geometry.descriptors)
        return hd_nofit(&p->geometry, layer ? layer : "END", need, "descriptors (with the layers before it and END)", p->geometry.descriptors, err);
    void *all = p->desc;
    int ok = grow(&all, &e->cap_desc, (uint64_t)p->n_desc + 1, HD_DESC_WORDS * sizeof *p->desc);
    p->desc = all;
    if (!ok) return no_memory(layer ? layer : "END", err);
    *desc = p->desc + (size_t)p->n_desc++ * HD_DESC_WORDS;
    return HD_OK;
}

/* Equal tables share a slot. */
static hd_status emit_table(hd_emit *e, const hd_stage *s, uint32_t *id, hd_err *err) {
    hd_program *p = e->p;
    for (uint32_t i = 0; i < p->n_table; i++)
        if (!memcmp(p->table + (size_t)i * 256, s->table, 256)) {
            *id = i;
            return HD_OK;
        }
    if (p->n_table >= p->geometry.tables)
        return hd_nofit(&p->geometry, s->name, (uint64_t)p->n_table + 1, "tables (with the layers before it)", p->geometry.tables, err);
    void *all = p->table;
    int ok = grow(&all, &e->cap_table, (uint64_t)p->n_table + 1, 256);
    p->table = all;
    if (!ok) return no_memory(s->name, err);
    memcpy(p->table + (size_t)p->n_table * 256, s->table, 256);
    *id = p->n_table++;
    return HD_OK;
}

/* The fields that drive fetch, common to both kinds. `first` is the address of the tensor's first fetched word. */
static void set_fetch(uint32_t *d, const hd_walk *w, uint32_t first, uint32_t ncb, int pad, int single, uint32_t rows) {
    uint32_t positions = w->out_h * w->out_w;
    /* May lie before the tensor; the field wraps, as the unit's adders do. */
    int64_t start = (int64_t)first + ((int64_t)w->iy0 * w->in_w + w->ix0) * w->words;
    hd_field_set(d, HD_F_SINGLE, single);
    hd_field_set(d, HD_F_IN_START, start);
    hd_field_set(d, HD_F_IN_H, w->in_h);
    hd_field_set(d, HD_F_IN_W, w->in_w);
    hd_field_set(d, HD_F_IY0, w->iy0);
    hd_field_set(d, HD_F_IX0, w->ix0);
    hd_field_set(d, HD_F_NCB, ncb);
    hd_field_set(d, HD_F_PAD, pad);
    hd_field_set(d, HD_F_COL_STEP, (int64_t)w->dx * w->words);
    hd_field_set(d, HD_F_DX, w->dx);
    hd_field_set(d, HD_F_KY_STEP, (int64_t)w->dy * w->in_w * w->words);
    hd_field_set(d, HD_F_DY, w->dy);
    hd_field_set(d, HD_F_POS_STEP, (int64_t)w->sx * w->words);
    hd_field_set(d, HD_F_SX, w->sx);
    hd_field_set(d, HD_F_LINE_STEP, (int64_t)w->sy * w->in_w * w->words);
    hd_field_set(d, HD_F_SY, w->sy);
    hd_field_set(d, HD_F_KH, w->kh);
    hd_field_set(d, HD_F_KW, w->kw);
    hd_field_set(d, HD_F_OUT_W, w->out_w);
    hd_field_set(d, HD_F_POSITIONS, positions);
    hd_field_set(d, HD_F_PASSES, hd_ceil_div(positions, rows));
}

static void set_output(uint32_t *d, uint32_t address, uint32_t stride, uint32_t rows) {
    hd_field_set(d, HD_F_OUT_START, address);
    hd_field_set(d, HD_F_OUT_STRIDE, stride);
    hd_field_set(d, HD_F_PASS_STEP, (int64_t)rows * stride);
}

/* Steps are fields of 24 bits; beyond them the activation memory would not hold the tensor, so this names the layer early. */
static hd_status check_steps(const hd_geometry *g, const char *layer, const hd_walk *w, hd_err *err) {
    uint64_t line = (uint64_t)w->in_w * w->words, most = line * (w->dy > w->sy ? w->dy : w->sy), column = (uint64_t)w->words * (w->dx > w->sx ? w->dx : w->sx);
    if (column > most) most = column;
    return most >> 24 ? hd_nofit(g, layer, most, "words of address step", (1u << 24) - 1, err) : HD_OK;
}

hd_status hd_emit_conv(hd_emit *e, const hd_plan *pl, uint32_t in, uint32_t res, uint32_t out, uint32_t stride, hd_layer_info *info, hd_err *err) {
    const hd_stage *s = pl->s;
    const hd_geometry *g = pl->g;
    const hd_qtensor *tin = &pl->m->tensor[s->input], *tout = &pl->m->tensor[s->output];
    uint32_t out_words = hd_ceil_div((uint32_t)s->cout, g->lanes), table = 0;
    uint64_t zeros = 0, zeros_absent = 0;
    hd_status st = check_steps(g, s->name, &pl->walk, err);
    if (!st && s->residual >= 0 && !g->residual) st = hd_nofit(g, s->name, 1, "residual adder", 0, err);
    if (!st && s->has_table) st = emit_table(e, s, &table, err);
    if (pl->turned) stride = 1; /* its positions are the words of one pixel */
    info->planes = pl->bits;
    info->macs = hd_stage_weights(s) * pl->walk.out_h * pl->walk.out_w;
    for (uint32_t i = 0; i < pl->n_slices && !st; i++) {
        const hd_slice *sl = &pl->slice[i];
        uint32_t *d, first = 0, last = 0, param = 0;
        e->slice_first = e->p->n_stream;
        st = hd_encode_slice(e, pl, sl, &first, &last, &param, info, &zeros, &zeros_absent, err);
        if (!st) st = share_stream(e, s->name, &first, &last, err);
        if (!st) st = share_params(e, s->name, sl, &param, err);
        if (!st) st = emit_desc(e, s->name, &d, err);
        if (st) break;
        uint32_t tiles = hd_ceil_div(sl->nch, sl->tile), final = sl->nch - (tiles - 1) * sl->tile;
        hd_field_set(d, HD_F_OPCODE, HD_OP_CONV);
        hd_field_set(d, HD_F_EVEN, pl->encoding != HD_ENC_ODD && !hd_plan_subtracts(pl));
        set_fetch(d, &pl->walk, in + sl->cb0, sl->ncb, tin->zero, pl->walk.dx > 1 || pl->walk.sx > pl->walk.kw, g->rows);
        set_output(d, out + sl->o0 / g->lanes, stride, g->rows);
        if (s->has_table) {
            hd_field_set(d, HD_F_TABLE, 1);
            hd_field_set(d, HD_F_TABLE_ID, table);
        }
        if (sl->res_n) {
            hd_field_set(d, HD_F_RESIDUAL, 1);
            hd_field_set(d, HD_F_RES_START, res + sl->o0 / g->lanes);
            hd_field_set(d, HD_F_RES_N, sl->res_n);
            hd_field_set(d, HD_F_RES_STRIDE, out_words);
            hd_field_set(d, HD_F_RES_MULT, s->res_mult);
            hd_field_set(d, HD_F_RES_ADD, s->res_add);
            hd_field_set(d, HD_F_RES_SHIFT, s->res_shift);
            hd_field_set(d, HD_F_RES_TILES, g->lanes / sl->tile * sl->parts);
        }
        hd_field_set(d, HD_F_OUT_ZERO, tout->zero);
        hd_field_set(d, HD_F_CLAMP_LO, s->clamp_lo);
        hd_field_set(d, HD_F_CLAMP_HI, s->clamp_hi);
        hd_field_set(d, HD_F_FILL, tout->zero);
        hd_field_set(d, HD_F_STREAM_FIRST, first);
        hd_field_set(d, HD_F_STREAM_LAST, last);
        hd_field_set(d, HD_F_PARAM_FIRST, param);
        hd_field_set(d, HD_F_CPC, pl->cpc);
        hd_field_set(d, HD_F_TILE_COLS, sl->tile_cols);
        hd_field_set(d, HD_F_LAST_COLS, sl->parts > 1 ? sl->tile_cols : final * pl->cpc);
        hd_field_set(d, HD_F_COUT, sl->o1 - sl->o0);
        hd_field_set(d, HD_F_NCH, sl->nch);
        info->n_desc++;
    }
    info->zeros_used = zeros ? (float)((double)zeros_absent / (double)zeros) : 1.0f;
    return st;
}

/* A window wholly in the padding would give -128 in the lanes past the last channel, which must hold the zero point. */
static int some_tap_inside(uint32_t start_steps, uint32_t stride, int32_t i0, uint32_t k, uint32_t dilation, uint32_t size) {
    for (uint32_t o = 0; o < start_steps; o++) {
        int inside = 0;
        for (uint32_t t = 0; t < k && !inside; t++) {
            int64_t i = (int64_t)i0 + (int64_t)o * stride + (int64_t)t * dilation;
            inside = i >= 0 && i < size;
        }
        if (!inside) return 0;
    }
    return 1;
}

hd_status hd_emit_maxpool(hd_emit *e, const hd_model *m, const hd_stage *s, uint32_t in, uint32_t out, hd_layer_info *info, hd_err *err) {
    const hd_geometry *g = &e->p->geometry;
    const hd_qtensor *tin = &m->tensor[s->input], *tout = &m->tensor[s->output];
    hd_status st = hd_check_fields(m, s, 0, err);
    if (!st && !g->pool) st = hd_nofit(g, s->name, 1, "unit for maximum pooling (pool=1)", 0, err);
    if (st) return st;
    uint32_t words = hd_ceil_div((uint32_t)tin->c, g->lanes);
    hd_walk w = {.in_h = (uint32_t)tin->h, .in_w = (uint32_t)tin->w, .words = words, .kh = (uint32_t)s->kh, .kw = (uint32_t)s->kw,
                 .sy = (uint32_t)s->sy, .sx = (uint32_t)s->sx, .dy = (uint32_t)s->dy, .dx = (uint32_t)s->dx,
                 .out_h = (uint32_t)tout->h, .out_w = (uint32_t)tout->w, .iy0 = -s->pad_top, .ix0 = -s->pad_left};
    st = check_steps(g, s->name, &w, err);
    if (st) return st;
    if (!some_tap_inside(w.out_h, w.sy, w.iy0, w.kh, w.dy, w.in_h) || !some_tap_inside(w.out_w, w.sx, w.ix0, w.kw, w.dx, w.in_w))
        return hd_fail(err, HD_UNSUPPORTED, "layer '%.100s': a pooling window lies wholly in the padding", s->name);
    uint32_t *d;
    st = emit_desc(e, s->name, &d, err);
    if (st) return st;
    hd_field_set(d, HD_F_OPCODE, HD_OP_MAXPOOL);
    set_fetch(d, &w, in, 1, -128, 1, g->rows);
    set_output(d, out, words, g->rows);
    hd_field_set(d, HD_F_SLICES, words);
    hd_field_set(d, HD_F_COUT, tin->c);
    hd_field_set(d, HD_F_FILL, tout->zero);
    info->n_desc++;
    info->zeros_used = 1.0f;
    return HD_OK;
}

hd_status hd_emit_end(hd_emit *e, hd_err *err) {
    uint32_t *d;
    hd_status st = end_params(e, err);
    if (!st) st = emit_desc(e, NULL, &d, err);
    if (!st && d) hd_field_set(d, HD_F_OPCODE, HD_OP_END);
    return st;
}
