/* Programs as files: docs/formats.md section 5. */
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/bytes.h"
#include "program.h"

void hd_program_free(hd_program *p) {
    if (!p) return;
    for (uint32_t i = 0; p->layer && i < p->n_layers; i++) free(p->layer[i].name);
    free(p->model);
    free(p->board);
    free(p->desc);
    free(p->index);
    free(p->pair);
    free(p->weight);
    free(p->external);
    free(p->param);
    free(p->table);
    free(p->layer);
    free(p);
}

static void put_port(hd_writer *w, const hd_port *p, int input) {
    hd_put_u32(w, p->h);
    hd_put_u32(w, p->w);
    hd_put_u32(w, p->c);
    hd_put_f32(w, p->scale);
    hd_put_u32(w, (uint32_t)p->zero);
    hd_put_u32(w, p->address);
    hd_put_u32(w, p->stride);
    if (!input) return;
    hd_put_u8(w, (uint8_t)p->expanded);
    const uint32_t v[6] = {p->kh, p->kw, p->sy, p->sx, p->dy, p->dx};
    for (int i = 0; i < 6; i++) hd_put_u16(w, (uint16_t)v[i]);
    hd_put_u16(w, (uint16_t)p->pad_top);
    hd_put_u16(w, (uint16_t)p->pad_left);
    hd_put_u32(w, p->out_h);
    hd_put_u32(w, p->out_w);
}

static void get_port(hd_reader *r, hd_port *p, int input) {
    p->h = hd_get_u32(r);
    p->w = hd_get_u32(r);
    p->c = hd_get_u32(r);
    p->scale = hd_get_f32(r);
    p->zero = hd_get_i32(r);
    p->address = hd_get_u32(r);
    p->stride = hd_get_u32(r);
    if (!input) return;
    p->expanded = hd_get_u8(r);
    uint32_t *v[6] = {&p->kh, &p->kw, &p->sy, &p->sx, &p->dy, &p->dx};
    for (int i = 0; i < 6; i++) *v[i] = hd_get_u16(r);
    p->pad_top = hd_get_i16(r);
    p->pad_left = hd_get_i16(r);
    p->out_h = hd_get_u32(r);
    p->out_w = hd_get_u32(r);
}

static void put_words(hd_writer *w, const uint32_t *v, size_t n) {
    for (size_t i = 0; i < n; i++) hd_put_u32(w, v[i]);
}

hd_status hd_program_write(hd_writer *w, const hd_program *p, hd_err *err) {
    hd_status st = hd_program_check(p, err);
    if (st) return st;
    const hd_geometry *g = &p->geometry;
    hd_put_u32(w, HD_CONTRACT_VERSION);
    const uint32_t shape[18] = {g->rows, g->cols, g->lanes, g->planes, g->hop, g->acc_bits, g->fetch, g->post, g->residual, g->extern_log2, g->extern_mhz, g->decode, g->pump, g->pool, g->slot, g->gather, g->sums, g->perf};
    for (int i = 0; i < 18; i++) hd_put_u16(w, (uint16_t)shape[i]);
    const uint32_t memory[6] = {g->act_words, g->window_words, g->stream_words, g->param_words, g->descriptors, g->tables};
    put_words(w, memory, 6);
    hd_put_string(w, p->model);
    hd_put_string(w, p->board);
    put_port(w, &p->input, 1);
    put_port(w, &p->output, 0);
    hd_put_u32(w, p->n_desc);
    put_words(w, p->desc, (size_t)p->n_desc * HD_DESC_WORDS);
    hd_put_u32(w, p->n_stream);
    for (uint32_t i = 0; i < p->n_stream; i++) hd_put_u16(w, p->index[i]);
    for (size_t i = 0; i < (size_t)p->n_stream * hd_geometry_pairs(g); i++) hd_put_u16(w, p->pair[i]);
    size_t weights = (size_t)p->n_stream * hd_geometry_weight_words(g);
    hd_put_u32(w, (uint32_t)weights);
    put_words(w, p->weight, weights);
    hd_put_u32(w, p->n_extern);
    put_words(w, p->external, p->n_extern);
    hd_put_u32(w, p->n_param);
    put_words(w, p->param, (size_t)p->n_param * 2);
    hd_put_u32(w, p->n_table);
    hd_put_bytes(w, p->table, (size_t)p->n_table * 256);
    hd_put_u32(w, p->n_layers);
    for (uint32_t i = 0; i < p->n_layers; i++) {
        const hd_layer_info *l = &p->layer[i];
        hd_put_string(w, l->name);
        hd_put_u32(w, l->first_desc);
        hd_put_u32(w, l->n_desc);
        hd_put_u64(w, l->macs);
        hd_put_u64(w, l->useful_ops);
        hd_put_u32(w, l->blocks);
        hd_put_u32(w, l->blocks_present);
        hd_put_u8(w, (uint8_t)l->planes);
        hd_put_f32(w, l->zeros_used);
    }
    return w->failed ? hd_fail(err, HD_NOMEM, "out of memory") : HD_OK;
}

hd_status hd_program_save(const hd_program *p, const char *path, hd_err *err) {
    hd_writer w = {0};
    hd_status st = hd_program_write(&w, p, err);
    if (st) hd_fail_in(err, path);
    else st = hd_container_write(path, HD_HDP_MAGIC, HD_HDP_VERSION, &w, err);
    hd_writer_free(&w);
    return st;
}

/* `count` elements of `size` bytes each must still be in the file before anything is allocated for them. */
static hd_status room(const hd_reader *r, const char *thing, uint64_t count, size_t size, hd_err *err) {
    uint64_t left = r->size - r->at;
    if (r->failed) return hd_fail(err, HD_FORMAT, "%s: the file ends before their number", thing);
    if (count > left / size)
        return hd_fail(err, HD_FORMAT, "%s: %llu of %zu bytes; the file has %llu bytes left", thing, (unsigned long long)count, size,
                       (unsigned long long)left);
    return HD_OK;
}

static uint32_t *get_words(hd_reader *r, size_t n) {
    uint32_t *v = malloc((n ? n : 1) * sizeof *v);
    for (size_t i = 0; v && i < n; i++) v[i] = hd_get_u32(r);
    return v;
}

static hd_status get_arrays(hd_program *p, hd_reader *r, hd_err *err) {
    hd_status st;
    p->n_desc = hd_get_u32(r);
    if ((st = room(r, "descriptors", p->n_desc, HD_DESC_WORDS * 4, err))) return st;
    p->desc = get_words(r, (size_t)p->n_desc * HD_DESC_WORDS);
    p->n_stream = hd_get_u32(r);
    if ((st = room(r, "stream entries", p->n_stream, 2 + 2 * hd_geometry_pairs(&p->geometry), err))) return st;
    p->index = malloc(p->n_stream ? p->n_stream * sizeof *p->index : 1);
    for (uint32_t i = 0; p->index && i < p->n_stream; i++) p->index[i] = hd_get_u16(r);
    size_t pairs = (size_t)p->n_stream * hd_geometry_pairs(&p->geometry);
    p->pair = malloc((pairs ? pairs : 1) * sizeof *p->pair);
    for (size_t i = 0; p->pair && i < pairs; i++) p->pair[i] = hd_get_u16(r);
    uint32_t weights = hd_get_u32(r);
    uint64_t expected = (uint64_t)p->n_stream * hd_geometry_weight_words(&p->geometry);
    if ((st = room(r, "weight words", weights, 4, err))) return st;
    if (weights != expected)
        return hd_fail(err, HD_FORMAT, "%u weight words; %u entries need %llu", weights, p->n_stream, (unsigned long long)expected);
    p->weight = get_words(r, weights);
    p->n_extern = hd_get_u32(r);
    if ((st = room(r, "words of external memory", p->n_extern, 4, err))) return st;
    p->external = get_words(r, p->n_extern);
    p->n_param = hd_get_u32(r);
    if ((st = room(r, "parameters", p->n_param, 8, err))) return st;
    p->param = get_words(r, (size_t)p->n_param * 2);
    p->n_table = hd_get_u32(r);
    if ((st = room(r, "tables", p->n_table, 256, err))) return st;
    p->table = malloc(p->n_table ? (size_t)p->n_table * 256 : 1);
    const uint8_t *bytes = hd_get_bytes(r, (size_t)p->n_table * 256);
    if (!p->desc || !p->index || !p->pair || !p->weight || !p->external || !p->param || !p->table) return hd_fail(err, HD_NOMEM, "out of memory");
    if (bytes) memcpy(p->table, bytes, (size_t)p->n_table * 256);
    uint32_t layers = hd_get_u32(r);
    if ((st = room(r, "layers", layers, 39, err))) return st; /* 39: a layer with an empty name */
    p->layer = calloc(layers ? layers : 1, sizeof *p->layer);
    if (!p->layer) return hd_fail(err, HD_NOMEM, "out of memory");
    for (; p->n_layers < layers; p->n_layers++) {
        hd_layer_info *l = &p->layer[p->n_layers];
        l->name = hd_get_string(r);
        l->first_desc = hd_get_u32(r);
        l->n_desc = hd_get_u32(r);
        l->macs = hd_get_u64(r);
        l->useful_ops = hd_get_u64(r);
        l->blocks = hd_get_u32(r);
        l->blocks_present = hd_get_u32(r);
        l->planes = hd_get_u8(r);
        l->zeros_used = hd_get_f32(r);
        if (!l->name) {
            p->n_layers++;
            return hd_fail(err, HD_FORMAT, "layer %u: broken name", p->n_layers - 1);
        }
    }
    return HD_OK;
}

static hd_status get_program(hd_program *p, hd_reader *r, hd_err *err) {
    uint32_t contract = hd_get_u32(r);
    if (!r->failed && contract != HD_CONTRACT_VERSION)
        return hd_fail(err, HD_MISMATCH, "contract version %u; this build has %d", contract, HD_CONTRACT_VERSION);
    hd_geometry *g = &p->geometry;
    uint32_t *shape[18] = {&g->rows, &g->cols, &g->lanes, &g->planes, &g->hop, &g->acc_bits, &g->fetch, &g->post, &g->residual, &g->extern_log2, &g->extern_mhz, &g->decode, &g->pump, &g->pool, &g->slot, &g->gather, &g->sums, &g->perf};
    uint32_t *memory[6] = {&g->act_words, &g->window_words, &g->stream_words, &g->param_words, &g->descriptors, &g->tables};
    for (int i = 0; i < 18; i++) *shape[i] = hd_get_u16(r);
    for (int i = 0; i < 6; i++) *memory[i] = hd_get_u32(r);
    if (r->failed) return hd_fail(err, HD_FORMAT, "the file ends within the geometry");
    hd_status st = hd_geometry_check(g, err);
    if (st) return st;
    p->model = hd_get_string(r);
    p->board = hd_get_string(r);
    if (!p->model || !p->board) return hd_fail(err, HD_FORMAT, "broken model or board name");
    get_port(r, &p->input, 1);
    get_port(r, &p->output, 0);
    if ((st = get_arrays(p, r, err))) return st;
    if (r->failed) return hd_fail(err, HD_FORMAT, "the file ends within the layers");
    if (r->at != r->size) return hd_fail(err, HD_FORMAT, "%zu bytes after the layers; allowed 0", r->size - r->at);
    return hd_program_check(p, err);
}

hd_status hd_program_read(hd_program **out, const hd_reader *payload, const char *label, hd_err *err) {
    hd_reader r = *payload;
    *out = NULL;
    hd_program *p = calloc(1, sizeof *p);
    if (!p) return hd_fail(err, HD_NOMEM, "%s: out of memory", label);
    hd_status st = get_program(p, &r, err);
    if (st) {
        hd_fail_in(err, label);
        hd_program_free(p);
    } else {
        *out = p;
    }
    return st;
}

hd_status hd_program_load(hd_program **out, const char *path, hd_err *err) {
    uint8_t *buffer = NULL;
    hd_reader r;
    *out = NULL;
    hd_status st = hd_container_read(&buffer, &r, path, HD_HDP_MAGIC, HD_HDP_VERSION, err);
    if (!st) st = hd_program_read(out, &r, path, err);
    free(buffer);
    return st;
}
