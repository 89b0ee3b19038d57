/* Sessions: a program in a device, and inferences through it. Works for every driver alike. */
#include <stdlib.h>
#include <string.h>

#include "pack.h"
#include "runtime.h"

struct hd_session {
    const hd_program *p;
    const hd_driver *driver;
    hd_device *d;
    uint32_t *words; /* the larger of input and output, as host words */
    size_t in_words, out_words;
};

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

/* ---- memories ---- */

/* n elements of `words` words each go to a space whose elements are `stride` host words apart. */
static hd_status write_elements(hd_session *s, enum hd_space space, const uint32_t *data, size_t n, size_t words, size_t stride, hd_err *err) {
    if (!n) return HD_OK;
    if (words == stride) return s->driver->write(s->d, space, 0, data, n * words, err);
    enum { CHUNK = 4096 }; /* elements at a time: few calls, little memory */
    uint32_t *buffer = calloc(CHUNK, stride * sizeof *buffer);
    if (!buffer) return hd_fail(err, HD_NOMEM, "device %s: out of memory while loading", s->driver->name);
    hd_status st = HD_OK;
    for (size_t at = 0; at < n && !st; at += CHUNK) {
        size_t part = n - at < CHUNK ? n - at : CHUNK;
        for (size_t i = 0; i < part; i++) memcpy(buffer + i * stride, data + (at + i) * words, words * sizeof *data);
        st = s->driver->write(s->d, space, (uint32_t)(at * stride), buffer, part * stride, err);
    }
    free(buffer);
    return st;
}

static hd_status load_memories(hd_session *s, hd_err *err) {
    const hd_program *p = s->p;
    size_t weight_words = hd_geometry_part_words(&p->geometry), stride = 1;
    while (stride < weight_words) stride *= 2;
    int external = p->geometry.extern_log2 != 0; /* then the device's loader writes both stream memories */
    hd_status st = external ? write_elements(s, HD_SPACE_WEIGHT, p->external, p->n_extern, 1, 1, err)
                            : write_elements(s, HD_SPACE_WEIGHT, p->weight, (size_t)p->n_stream * p->geometry.pump, weight_words, stride, err);
    size_t pairs = hd_geometry_pairs(&p->geometry), index_words = hd_geometry_index_words(&p->geometry), index_stride = 1;
    while (index_stride < index_words) index_stride *= 2;
    size_t room = p->n_stream * index_words > (size_t)p->n_table * 64 ? p->n_stream * index_words : (size_t)p->n_table * 64;
    uint32_t *words = malloc((room ? room : 1) * sizeof *words);
    if (!words) return hd_fail(err, HD_NOMEM, "device %s: out of memory while loading", s->driver->name);
    for (size_t i = 0; i < p->n_stream; i++) {
        words[i * index_words] = p->index[i];
        for (size_t k = 0; k < pairs; k += 2) words[i * index_words + 1 + k / 2] = p->pair[i * pairs + k] | (uint32_t)p->pair[i * pairs + k + 1] << 16;
    }
    if (!st && !external) st = write_elements(s, HD_SPACE_INDEX, words, p->n_stream, index_words, index_stride, err);
    for (size_t i = 0; i < (size_t)p->n_table * 64; i++) words[i] = hd_pack_word(p->table + i * 4);
    if (!st) st = write_elements(s, HD_SPACE_TABLE, words, (size_t)p->n_table * 64, 1, 1, err);
    free(words);
    if (!st) st = write_elements(s, HD_SPACE_PARAM, p->param, p->n_param, 2, 2, err);
    return st ? st : write_elements(s, HD_SPACE_DESC, p->desc, p->n_desc, HD_DESC_WORDS, HD_DESC_STRIDE, err);
}

/* ---- sessions ---- */

hd_status hd_session_open(hd_session **out, const hd_program *p, const hd_driver *driver, const hd_device_options *o, hd_err *err) {
    static const hd_device_options defaults = {0};
    *out = NULL;
    hd_status st = hd_program_check(p, err);
    if (st) return st;
    hd_session *s = calloc(1, sizeof *s);
    if (!s) return hd_fail(err, HD_NOMEM, "session: out of memory");
    s->p = p;
    s->driver = driver;
    s->in_words = hd_port_words(&p->input, p->geometry.lanes);
    s->out_words = hd_port_words(&p->output, p->geometry.lanes);
    size_t most = s->in_words > s->out_words ? s->in_words : s->out_words;
    s->words = malloc(most * sizeof *s->words);
    if (!s->words) st = hd_fail(err, HD_NOMEM, "session: out of memory for %zu words", most);
    if (!st) st = driver->open(&s->d, &p->geometry, o ? o : &defaults, err);
    uint32_t reg[HD_REG_PERF + 1];
    if (!st) st = driver->read(s->d, HD_SPACE_REG, 0, reg, HD_REG_PERF + 1, err);
    if (!st) st = compare(reg, &p->geometry, driver->name, err);
    if (!st) st = load_memories(s, err);
    if (st) hd_session_close(s);
    else *out = s;
    return st;
}

void hd_session_close(hd_session *s) {
    if (!s) return;
    if (s->d) s->driver->close(s->d);
    free(s->words);
    free(s);
}

hd_status hd_session_run(hd_session *s, const int8_t *input, int8_t *output, hd_err *err) {
    const hd_program *p = s->p;
    uint32_t lanes = p->geometry.lanes, scale = lanes / 4;
    hd_pack_input(s->words, &p->input, lanes, input);
    hd_status st = s->driver->write(s->d, HD_SPACE_ACT, p->input.address * scale, s->words, s->in_words, err);
    if (!st) st = s->driver->run(s->d, 0, err);
    if (!st) st = s->driver->read(s->d, HD_SPACE_ACT, p->output.address * scale, s->words, s->out_words, err);
    if (!st) hd_unpack_output(output, &p->output, lanes, s->words);
    return st;
}

hd_status hd_session_cycles(hd_session *s, uint64_t *cycles, hd_err *err) {
    uint32_t v = 0;
    hd_status st = s->driver->read(s->d, HD_SPACE_REG, HD_REG_CYCLES, &v, 1, err);
    *cycles = v;
    return st;
}

hd_status hd_session_perf(hd_session *s, uint32_t *records, hd_err *err) {
    /* END has no record. */
    uint32_t n = s->p->n_desc - 1;
    memset(records, 0, (size_t)s->p->n_desc * HD_PERF_WORDS * sizeof *records);
    return n ? s->driver->read(s->d, HD_SPACE_PERF, 0, records, (size_t)n * HD_PERF_WORDS, err) : HD_OK;
}

hd_device *hd_session_device(hd_session *s) {
    return s->d;
}

hd_status hd_session_memory(hd_session *s, uint32_t *words, size_t n, hd_err *err) {
    return s->driver->read(s->d, HD_SPACE_ACT, 0, words, n, err);
}
