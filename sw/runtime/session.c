/* Sessions: a program in a device, and inferences through it. Works for every driver alike. */
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "pack.h"
#include "runtime.h"

struct hd_session {
    const hd_program *p;
    const hd_driver *driver;
    hd_device *d;
    uint32_t *words; /* the larger of input and output, as host words */
    size_t in_words, out_words;
};

static hd_status load_memories(hd_session *s, hd_err *err) {
    const hd_program *p = s->p;
    hd_status st = hd_load_stream(s->driver, s->d, p, 0, 0, err);
    if (!st) st = hd_load_tables(s->driver, s->d, p, err);
    if (!st) st = hd_load_params(s->driver, s->d, p, 0, err);
    return st ? st : hd_load_descriptors(s->driver, s->d, p->desc, p->n_desc, 0, err);
}

static hd_status set_program(hd_session *s, const hd_program *p, hd_err *err) {
    s->p = p;
    s->in_words = hd_port_words(&p->input, p->geometry.lanes);
    s->out_words = hd_port_words(&p->output, p->geometry.lanes);
    size_t most = s->in_words > s->out_words ? s->in_words : s->out_words;
    free(s->words);
    s->words = malloc(most * sizeof *s->words);
    return s->words ? HD_OK : hd_fail(err, HD_NOMEM, "session: out of memory for %zu words", most);
}

hd_status hd_session_load(hd_session *s, const hd_program *p, hd_err *err) {
    hd_status st = hd_program_check(p, err);
    if (!st) st = set_program(s, p, err);
    if (!st) st = hd_load_check(s->driver, s->d, &p->geometry, err);
    return st ? st : load_memories(s, err);
}

hd_status hd_session_open(hd_session **out, const hd_program *p, const hd_driver *driver, const hd_device_options *o, hd_err *err) {
    static const hd_device_options defaults = {0};
    *out = NULL;
    hd_status st = hd_program_check(p, err);
    if (st) return st;
    hd_session *s = calloc(1, sizeof *s);
    if (!s) return hd_fail(err, HD_NOMEM, "session: out of memory");
    s->driver = driver;
    st = set_program(s, p, err);
    if (!st) st = driver->open(&s->d, &p->geometry, o ? o : &defaults, err);
    if (!st) st = hd_load_check(driver, s->d, &p->geometry, err);
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
