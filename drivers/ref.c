/* The ref device: memories and registers as a host sees them, and the run. */
#include "ref.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


static int available(char *why, size_t n) {
    if (n) why[0] = 0;
    return 1;
}

static void close_device(hd_device *d) {
    if (!d) return;
    hd_ref_forget(d);
    free(d->act);
    free(d->weight);
    free(d->external);
    hd_ref_stream_free(&d->stream);
    free(d->index);
    free(d->param);
    free(d->desc);
    free(d->perf);
    free(d->table);
    free(d->window);
    free(d->gather);
    free(d->out);
    free(d);
}

static hd_status open_device(hd_device **out, const hd_geometry *g, const hd_device_options *o, hd_err *err) {
    (void)o;
    *out = NULL;
    hd_status st = hd_geometry_check(g, err);
    if (st) return st;
    hd_device *d = calloc(1, sizeof *d);
    if (!d) return hd_fail(err, HD_NOMEM, "ref: out of memory");
    d->g = *g;
    while (1u << d->weight_shift < hd_geometry_part_words(g)) d->weight_shift++;
    while (1u << d->index_shift < hd_geometry_index_words(g)) d->index_shift++;
    d->act = calloc(g->act_words, g->lanes);
    d->index = calloc((size_t)g->stream_words << d->index_shift, sizeof *d->index);
    d->param = calloc(g->param_words, 2 * sizeof *d->param);
    d->desc = calloc(g->descriptors, HD_DESC_STRIDE * sizeof *d->desc);
    d->perf = calloc(g->descriptors, HD_PERF_WORDS * sizeof *d->perf);
    d->table = calloc(g->tables, 256);
    d->window = malloc((size_t)(g->window_words + hd_geometry_residual_words(g)) * g->lanes * sizeof *d->window);
    d->out = malloc(65536 + HD_MAX_LANES);
    if (!d->act || !d->index || !d->param || !d->desc || !d->perf || !d->table || !d->window || !d->out) {
        close_device(d);
        return hd_fail(err, HD_NOMEM, "ref: out of memory for a device of %u activation words", g->act_words);
    }
    *out = d;
    return HD_OK;
}

/* Host words of a space, and the width of its registers or elements where that is less than 32 bits. */
static uint64_t space_words(const hd_device *d, enum hd_space space) {
    const hd_geometry *g = &d->g;
    switch (space) {
    case HD_SPACE_ACT: return (uint64_t)g->act_words * (g->lanes / 4);
    case HD_SPACE_WEIGHT: return g->extern_log2 ? (uint64_t)1 << g->extern_log2 : (uint64_t)g->stream_words * g->pump << d->weight_shift;
    case HD_SPACE_INDEX: return g->extern_log2 ? 0 : (uint64_t)g->stream_words << d->index_shift;
    case HD_SPACE_PARAM: return (uint64_t)g->param_words * 2;
    case HD_SPACE_DESC: return (uint64_t)g->descriptors * HD_DESC_STRIDE;
    case HD_SPACE_TABLE: return (uint64_t)g->tables * 64;
    case HD_SPACE_PERF: return (uint64_t)g->descriptors * HD_PERF_WORDS;
    case HD_SPACE_REG: return 32;
    }
    return 0;
}

static hd_status check_range(const hd_device *d, enum hd_space space, uint32_t at, size_t n, hd_err *err) {
    uint64_t words = space_words(d, space);
    if (at > words || n > words - at)
        return hd_fail(err, HD_RANGE, "ref: space %d: words %u..%llu; the device has %llu", (int)space, at, (unsigned long long)at + n, (unsigned long long)words);
    return HD_OK;
}

/* Weight memories can be large and are seldom full, so they grow with what is written. */
static hd_status grow_words(uint32_t **memory, size_t *have, size_t words, hd_err *err) {
    if (words <= *have) return HD_OK;
    size_t room = *have * 2 > words ? *have * 2 : words;
    uint32_t *grown = realloc(*memory, room * sizeof *grown);
    if (!grown) return hd_fail(err, HD_NOMEM, "ref: out of memory for %zu weight words", room);
    memset(grown + *have, 0, (room - *have) * sizeof *grown);
    *memory = grown;
    *have = room;
    return HD_OK;
}

/* Bits of host word `at` of the weight memory that exist. */
static uint32_t weight_mask(const hd_device *d, size_t at) {
    uint32_t word = (uint32_t)at & ((1u << d->weight_shift) - 1), bits = d->g.cols * (d->g.lanes / d->g.pump) * d->g.planes;
    if (word * 32 >= bits) return 0;
    return bits - word * 32 >= 32 ? 0xffffffffu : (1u << (bits - word * 32)) - 1;
}

static uint32_t le32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static void put_le32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}

static hd_status run_device(hd_device *d, uint64_t max_cycles, hd_err *err) {
    d->done = 0;
    if (!d->decoded) {
        hd_status st = hd_ref_decode(d, err);
        if (st) return st;
    }
    uint64_t total = hd_ref_cycles_overhead();
    for (uint32_t i = 0; i < d->n_layers; i++) {
        total += d->layer[i].perf[HD_PERF_CYCLES];
        if (max_cycles && total > max_cycles)
            return hd_fail(err, HD_DEVICE, "ref: not done after %llu cycles (descriptor %u)", (unsigned long long)max_cycles, i);
    }
    for (uint32_t i = 0; i < d->n_layers; i++) {
        int pool = hd_field_get(d->layer[i].desc, HD_F_OPCODE) == HD_OP_MAXPOOL;
        hd_status st = pool ? hd_ref_maxpool(d, i, err) : hd_ref_conv(d, i, err);
        if (st) return st;
        for (uint32_t k = 0; k < HD_PERF_WORDS; k++) d->perf[(hd_ref_first(d) + i) * HD_PERF_WORDS + k] = (uint32_t)d->layer[i].perf[k];
    }
    d->cycles = total;
    d->done = 1;
    return HD_OK;
}

static hd_status write_words(hd_device *d, enum hd_space space, uint32_t at, const uint32_t *words, size_t n, hd_err *err) {
    hd_status st = check_range(d, space, at, n, err);
    if (st) return st;
    switch (space) {
    case HD_SPACE_ACT:
        for (size_t i = 0; i < n; i++) put_le32((uint8_t *)d->act + ((size_t)at + i) * 4, words[i]);
        return HD_OK;
    case HD_SPACE_WEIGHT:
        if (d->g.extern_log2) {
            st = grow_words(&d->external, &d->external_room, (size_t)at + n, err);
            if (!st) memcpy(d->external + at, words, n * sizeof *words);
            break;
        }
        st = grow_words(&d->weight, &d->weight_room, (size_t)at + n, err);
        for (size_t i = 0; i < n && !st; i++) d->weight[at + i] = words[i] & weight_mask(d, at + i);
        break;
    case HD_SPACE_INDEX:
        for (size_t i = 0; i < n; i++) d->index[at + i] = (at + i) & ((1u << d->index_shift) - 1) ? words[i] : words[i] & 0xffff;
        break;
    case HD_SPACE_PARAM:
        memcpy(d->param + at, words, n * sizeof *words);
        return HD_OK;
    case HD_SPACE_DESC:
        memcpy(d->desc + at, words, n * sizeof *words);
        break;
    case HD_SPACE_TABLE:
        for (size_t i = 0; i < n; i++) put_le32(d->table + ((size_t)at + i) * 4, words[i]);
        return HD_OK;
    case HD_SPACE_PERF: return hd_fail(err, HD_RANGE, "ref: space PERF is read only");
    case HD_SPACE_REG:
        for (size_t i = 0; i < n && !st; i++)
            if (at + i == HD_REG_CONTROL && (words[i] & 1)) st = run_device(d, 0, err);
            else if (at + i == HD_REG_START && d->g.extern_log2 && words[i] != d->start) {
                d->start = words[i];
                hd_ref_forget(d);
            }
        return st;
    }
    hd_ref_forget(d);
    return st;
}

static uint32_t read_register(const hd_device *d, size_t r) {
    const hd_geometry *g = &d->g;
    switch (r) {
    case HD_REG_MAGIC: return HD_MAGIC_VALUE;
    case HD_REG_CONTRACT: return HD_CONTRACT_VERSION;
    case HD_REG_ROWS: return g->rows;
    case HD_REG_COLS: return g->cols;
    case HD_REG_LANES: return g->lanes;
    case HD_REG_PLANES: return g->planes;
    case HD_REG_HOP: return g->hop;
    case HD_REG_ACC_BITS: return g->acc_bits;
    case HD_REG_ACT_WORDS: return g->act_words;
    case HD_REG_WINDOW_WORDS: return g->window_words;
    case HD_REG_STREAM_WORDS: return g->stream_words;
    case HD_REG_PARAM_WORDS: return g->param_words;
    case HD_REG_DESCRIPTORS: return g->descriptors;
    case HD_REG_TABLES: return g->tables;
    case HD_REG_FETCH: return g->fetch;
    case HD_REG_POST: return g->post;
    case HD_REG_RESIDUAL: return g->residual;
    case HD_REG_EXTERN: return g->extern_log2;
    case HD_REG_EXTERN_MHZ: return g->extern_mhz;
    case HD_REG_DECODE: return g->decode;
    case HD_REG_PUMP: return g->pump;
    case HD_REG_POOL: return g->pool;
    case HD_REG_SLOT: return g->slot;
    case HD_REG_GATHER: return g->gather;
    case HD_REG_SUMS: return g->sums;
    case HD_REG_PERF: return g->perf;
    case HD_REG_STATUS: return d->done ? 2 : 0;
    case HD_REG_CYCLES: return (uint32_t)d->cycles;
    default: return 0;
    }
}

static hd_status read_words(hd_device *d, enum hd_space space, uint32_t at, uint32_t *words, size_t n, hd_err *err) {
    hd_status st = check_range(d, space, at, n, err);
    if (st) return st;
    switch (space) {
    case HD_SPACE_ACT:
        for (size_t i = 0; i < n; i++) words[i] = le32((const uint8_t *)d->act + ((size_t)at + i) * 4);
        return HD_OK;
    case HD_SPACE_PERF: memcpy(words, d->perf + at, n * sizeof *words); return HD_OK;
    case HD_SPACE_REG:
        for (size_t i = 0; i < n; i++) words[i] = read_register(d, at + i);
        return HD_OK;
    case HD_SPACE_WEIGHT:
        if (d->g.extern_log2) {
            for (size_t i = 0; i < n; i++) words[i] = at + i < d->external_room ? d->external[at + i] : 0;
            return HD_OK;
        }
        /* fall through */
    default: return hd_fail(err, HD_RANGE, "ref: space %d cannot be read; ACT, PERF and REG can", (int)space);
    }
}

const hd_driver hd_driver_ref = {
    .name = "ref",
    .about = "instruction-level golden model in C, with exact cycle counts",
    .open = open_device,
    .close = close_device,
    .write = write_words,
    .read = read_words,
    .run = run_device,
    .available = available,
};
