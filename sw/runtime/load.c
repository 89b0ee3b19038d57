/* What a device must be to take a program, and the program's way into its memories. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

#include "pack.h"

/* ---- capabilities ---- */

static hd_status compare(const uint32_t *reg, const hd_geometry *g, const char *driver, hd_err *err) {
    if (reg[HD_REG_MAGIC] != HD_MAGIC_VALUE)
        return hd_fail(err, HD_MISMATCH, "device %s: register MAGIC is 0x%08x; a heddle accelerator has 0x%08x", driver, reg[HD_REG_MAGIC], HD_MAGIC_VALUE);
    if (reg[HD_REG_CONTRACT] != HD_CONTRACT_VERSION)
        return hd_fail(err, HD_MISMATCH, "device %s has contract version %u; the program has %d", driver, reg[HD_REG_CONTRACT], HD_CONTRACT_VERSION);
    if (reg[HD_REG_ROWS] != g->rows || reg[HD_REG_COLS] != g->cols || reg[HD_REG_LANES] != g->lanes || reg[HD_REG_PLANES] != g->planes)
        return hd_fail(err, HD_MISMATCH, "device %s is %ux%ux%ux%u; the program is for %ux%ux%ux%u", driver, reg[HD_REG_ROWS], reg[HD_REG_COLS],
                       reg[HD_REG_LANES], reg[HD_REG_PLANES], g->rows, g->cols, g->lanes, g->planes);
    if (!reg[HD_REG_EXTERN] != !g->extern_log2 || reg[HD_REG_EXTERN] < g->extern_log2 || reg[HD_REG_EXTERN_MHZ] != g->extern_mhz)
        return hd_fail(err, HD_MISMATCH, "device %s has extern=%u,mhz=%u; the program is for extern=%u,mhz=%u", driver, reg[HD_REG_EXTERN], reg[HD_REG_EXTERN_MHZ],
                       g->extern_log2, g->extern_mhz);
    if (g->decode & ~reg[HD_REG_DECODE])
        return hd_fail(err, HD_MISMATCH, "device %s has decode=%u; the program is for decode=%u", driver, reg[HD_REG_DECODE], g->decode);
    if (reg[HD_REG_POST] != g->post)
        return hd_fail(err, HD_MISMATCH, "device %s has post=%u; the program is for post=%u", driver, reg[HD_REG_POST], g->post);
    if (reg[HD_REG_PUMP] != g->pump)
        return hd_fail(err, HD_MISMATCH, "device %s has pump=%u; the program is for pump=%u", driver, reg[HD_REG_PUMP], g->pump);
    if (reg[HD_REG_SLOT] != g->slot)
        return hd_fail(err, HD_MISMATCH, "device %s has slot=%u; the program is for slot=%u", driver, reg[HD_REG_SLOT], g->slot);
    if (reg[HD_REG_GATHER] != g->gather)
        return hd_fail(err, HD_MISMATCH, "device %s has gather=%u; the program is for gather=%u", driver, reg[HD_REG_GATHER], g->gather);
    if (reg[HD_REG_SUMS] != g->sums)
        return hd_fail(err, HD_MISMATCH, "device %s has sums=%u; the program is for sums=%u", driver, reg[HD_REG_SUMS], g->sums);
    const struct {
        const char *name;
        enum hd_reg reg;
        uint32_t need;
    } rule[] = {{"accumulator bits", HD_REG_ACC_BITS, g->acc_bits}, {"activation words", HD_REG_ACT_WORDS, g->act_words},
                {"window words", HD_REG_WINDOW_WORDS, g->window_words}, {"stream words", HD_REG_STREAM_WORDS, g->stream_words},
                {"parameter words", HD_REG_PARAM_WORDS, g->param_words}, {"descriptors", HD_REG_DESCRIPTORS, g->descriptors},
                {"tables", HD_REG_TABLES, g->tables}, {"residual adders", HD_REG_RESIDUAL, g->residual}, {"pooling units", HD_REG_POOL, g->pool},
                {"performance counters", HD_REG_PERF, g->perf}};
    /* HOP changes the cycles only, so it may differ. */
    for (size_t i = 0; i < sizeof rule / sizeof rule[0]; i++)
        if (reg[rule[i].reg] < rule[i].need)
            return hd_fail(err, HD_MISMATCH, "device %s has %u %s; the program needs %u", driver, reg[rule[i].reg], rule[i].name, rule[i].need);
    return HD_OK;
}

hd_status hd_load_check(const hd_driver *driver, hd_device *d, const hd_geometry *g, hd_err *err) {
    uint32_t reg[HD_REG_PERF + 1];
    hd_status st = driver->read(d, HD_SPACE_REG, 0, reg, HD_REG_PERF + 1, err);
    return st ? st : compare(reg, g, driver->name, err);
}

/* ---- memories ---- */

/* n elements of `words` words each go to a space whose elements are `stride` host words apart, from element `first` on. */
static hd_status write_elements(const hd_driver *driver, hd_device *d, enum hd_space space, uint32_t first, const uint32_t *data, size_t n, size_t words, size_t stride, hd_err *err) {
    if (!n) return HD_OK;
    uint32_t start = (uint32_t)(first * stride);
    if (words == stride) return driver->write(d, space, start, data, n * words, err);
    enum { CHUNK = 4096 }; /* elements at a time: few calls, little memory */
    uint32_t *buffer = calloc(CHUNK, stride * sizeof *buffer);
    if (!buffer) return hd_fail(err, HD_NOMEM, "device %s: out of memory while loading", driver->name);
    hd_status st = HD_OK;
    for (size_t at = 0; at < n && !st; at += CHUNK) {
        size_t part = n - at < CHUNK ? n - at : CHUNK;
        for (size_t i = 0; i < part; i++) memcpy(buffer + i * stride, data + (at + i) * words, words * sizeof *data);
        st = driver->write(d, space, start + (uint32_t)(at * stride), buffer, part * stride, err);
    }
    free(buffer);
    return st;
}

static size_t power_of_two(size_t n) {
    size_t stride = 1;
    while (stride < n) stride *= 2;
    return stride;
}

hd_status hd_load_stream(const hd_driver *driver, hd_device *d, const hd_program *p, uint32_t entry, uint32_t word, hd_err *err) {
    const hd_geometry *g = &p->geometry;
    /* With external memory the device's loader writes both stream memories. */
    if (g->extern_log2) return write_elements(driver, d, HD_SPACE_WEIGHT, word, p->external, p->n_extern, 1, 1, err);
    size_t weight_words = hd_geometry_part_words(g), pairs = hd_geometry_pairs(g), index_words = hd_geometry_index_words(g);
    hd_status st = write_elements(driver, d, HD_SPACE_WEIGHT, entry * g->pump, p->weight, (size_t)p->n_stream * g->pump, weight_words, power_of_two(weight_words), err);
    if (st) return st;
    uint32_t *words = malloc((p->n_stream * index_words + 1) * sizeof *words);
    if (!words) return hd_fail(err, HD_NOMEM, "device %s: out of memory while loading", driver->name);
    for (size_t i = 0; i < p->n_stream; i++) {
        words[i * index_words] = p->index[i];
        for (size_t k = 0; k < pairs; k += 2) words[i * index_words + 1 + k / 2] = p->pair[i * pairs + k] | (uint32_t)p->pair[i * pairs + k + 1] << 16;
    }
    st = write_elements(driver, d, HD_SPACE_INDEX, entry, words, p->n_stream, index_words, power_of_two(index_words), err);
    free(words);
    return st;
}

hd_status hd_load_tables(const hd_driver *driver, hd_device *d, const hd_program *p, hd_err *err) {
    size_t n = (size_t)p->n_table * 64;
    uint32_t *words = malloc((n + 1) * sizeof *words);
    if (!words) return hd_fail(err, HD_NOMEM, "device %s: out of memory while loading", driver->name);
    for (size_t i = 0; i < n; i++) words[i] = hd_pack_word(p->table + i * 4);
    hd_status st = write_elements(driver, d, HD_SPACE_TABLE, 0, words, n, 1, 1, err);
    free(words);
    return st;
}

hd_status hd_load_params(const hd_driver *driver, hd_device *d, const hd_program *p, uint32_t first, hd_err *err) {
    return write_elements(driver, d, HD_SPACE_PARAM, first, p->param, p->n_param, 2, 2, err);
}

hd_status hd_load_descriptors(const hd_driver *driver, hd_device *d, const uint32_t *desc, uint32_t n, uint32_t first, hd_err *err) {
    return write_elements(driver, d, HD_SPACE_DESC, first, desc, n, HD_DESC_WORDS, HD_DESC_STRIDE, err);
}
