/* The programs of a language model in a device: compiled, laid out, loaded, run. */
#include "lm_device.h"

#include <stdlib.h>
#include <string.h>

#include "../../drivers/predict.h"
#include "load.h"
#include "pack.h"

/* One run's program and where it lies in the device. */
typedef struct place {
    hd_program *p;
    uint32_t *desc;                     /* its descriptors as they lie there: at these entries and parameters, for `positions` */
    uint32_t entry, param, first, word; /* stream entry, parameter, descriptor, word of external memory */
    uint32_t positions;                 /* 0: not written yet */
    hd_port input, output;
} place;

enum { UNKNOWN = -1 };

struct hd_lm_device {
    const hd_lm_integer *m;
    hd_geometry g;
    int tokens, programs;
    place *place;
    const hd_driver *driver;
    hd_device *d;
    uint32_t start; /* register START, UNKNOWN before the first run and after a failure */
    int params_stay, descs_stay, last_params, last_desc; /* last: the program whose they are, when they do not stay; -1 none */
    uint32_t *words;
    int8_t *codes;
    hd_lm_device_use use;
};

static hd_status no_memory(hd_err *err) { return hd_fail(err, HD_NOMEM, "language model: out of memory for its programs"); }

void hd_lm_device_close(hd_lm_device *l) {
    if (!l) return;
    if (l->d) l->driver->close(l->d);
    for (int i = 0; l->place && i < l->programs; i++) {
        hd_program_free(l->place[i].p);
        free(l->place[i].desc);
    }
    free(l->place);
    free(l->words);
    free(l->codes);
    free(l);
}

int hd_lm_device_tokens(const hd_lm_device *l) { return l->tokens; }
hd_device *hd_lm_device_device(const hd_lm_device *l) { return l->d; }
const hd_program *hd_lm_device_program(const hd_lm_device *l, int i) { return l->place[i].p; }
void hd_lm_device_used(hd_lm_device_use *out, const hd_lm_device *l) { *out = l->use; }

/* ---- programs ---- */

/* The largest step, halved from `most` on, whose run fits the activation memory. */
static int tokens_that_fit(const hd_lm_integer *m, const hd_geometry *g, int most) {
    uint64_t words = 0;
    for (int i = 0; i < m->runs; i++) {
        const hd_lm_run *r = &m->run[i];
        uint64_t n = ((uint32_t)r->in + g->lanes - 1) / g->lanes;
        for (int k = 0; k < r->matrices; k++) n += ((uint32_t)r->rows[k] + g->lanes - 1) / g->lanes;
        if (n > words) words = n;
    }
    uint64_t fit = words ? g->act_words / words : 1;
    if (fit > (uint64_t)most) fit = (uint64_t)most;
    return fit < 1 ? 1 : (int)(fit > g->rows ? fit / g->rows * g->rows : fit);
}

/* Lays the programs out behind each other. What has too little room is written for each run, but for weights. In external memory each stream begins with a row, which
 * register START names together with the first descriptor; on chip runs begin with descriptor 0. */
static hd_status lay_out(hd_lm_device *l, hd_err *err) {
    enum { ROW = 256 };
    uint64_t entries = 0, params = 0, descs = 0, words = 0;
    int external = l->g.extern_log2 != 0;
    for (int i = 0; i < l->programs; i++) {
        place *x = &l->place[i];
        x->entry = external ? 0 : (uint32_t)entries;
        x->word = (uint32_t)words;
        x->param = (uint32_t)params;
        x->first = (uint32_t)descs;
        entries += x->p->n_stream;
        words += (x->p->n_extern + ROW - 1) / ROW * ROW;
        params += x->p->n_param;
        descs += x->p->n_desc;
    }
    if (external && words > UINT64_C(1) << l->g.extern_log2)
        return hd_fail(err, HD_NOFIT, "the model has %llu words of weights; external memory holds %llu: fewer bits, or more extern=", (unsigned long long)words,
                       1ull << l->g.extern_log2);
    if (!external && entries > l->g.stream_words)
        return hd_fail(err, HD_NOFIT, "the model has %llu weight blocks; geometry %ux%ux%ux%u holds %u: fewer bits, more stream= or external memory (--memory extern=23,mhz=50)",
                       (unsigned long long)entries, l->g.rows, l->g.cols, l->g.lanes, l->g.planes, l->g.stream_words);
    l->params_stay = params <= l->g.param_words;
    l->descs_stay = external && descs <= l->g.descriptors;
    l->last_params = l->last_desc = -1;
    l->start = (uint32_t)UNKNOWN;
    for (int i = 0; i < l->programs; i++) {
        place *x = &l->place[i];
        if (!l->params_stay) x->param = 0;
        if (!l->descs_stay) x->first = 0;
        for (uint32_t k = 0; k + 1 < x->p->n_desc; k++) {
            uint32_t *d = x->desc + (size_t)k * HD_DESC_WORDS;
            hd_field_set(d, HD_F_STREAM_FIRST, hd_field_get(d, HD_F_STREAM_FIRST) + x->entry);
            hd_field_set(d, HD_F_STREAM_LAST, hd_field_get(d, HD_F_STREAM_LAST) + x->entry);
            hd_field_set(d, HD_F_PARAM_FIRST, hd_field_get(d, HD_F_PARAM_FIRST) + x->param);
        }
    }
    return HD_OK;
}

hd_status hd_lm_device_compile(hd_lm_device **out, const hd_lm_integer *m, const hd_geometry *g, const char *board, int most, hd_err *err) {
    *out = NULL;
    hd_status s = hd_geometry_check(g, err);
    if (s) return s;
    hd_lm_device *l = calloc(1, sizeof *l);
    if (!l) return no_memory(err);
    *l = (hd_lm_device){.m = m, .g = *g, .tokens = tokens_that_fit(m, g, most < m->max_tokens ? most : m->max_tokens), .place = calloc((size_t)m->runs, sizeof *l->place)};
    size_t host_words = 1, codes = 1;
    if (!l->place) s = no_memory(err);
    while (!s && l->programs < m->runs) {
        place *x = &l->place[l->programs];
        s = hd_lm_lower(&x->p, &m->run[l->programs], l->tokens, g, board, err);
        if (s) break;
        l->programs++;
        size_t bytes = (size_t)x->p->n_desc * HD_DESC_WORDS * sizeof *x->desc;
        x->desc = malloc(bytes);
        if (!x->desc) s = no_memory(err);
        else memcpy(x->desc, x->p->desc, bytes);
        size_t in = hd_port_words(&x->p->input, g->lanes), result = hd_port_words(&x->p->output, g->lanes);
        if (in > host_words) host_words = in;
        if (result > host_words) host_words = result;
        if (4 * result > codes) codes = 4 * result;
    }
    if (!s) s = lay_out(l, err);
    if (!s) {
        l->words = malloc(host_words * sizeof *l->words);
        l->codes = malloc(codes);
        if (!l->words || !l->codes) s = no_memory(err);
    }
    if (s) hd_lm_device_close(l);
    else *out = l;
    return s;
}

hd_status hd_lm_device_open(hd_lm_device **out, const hd_lm_integer *m, const hd_geometry *g, const char *board, int most, const hd_driver *driver, const hd_device_options *o,
                           hd_err *err) {
    static const hd_device_options defaults = {0};
    hd_lm_device *l;
    *out = NULL;
    hd_status s = hd_lm_device_compile(&l, m, g, board, most, err);
    if (s) return s;
    l->driver = driver;
    s = driver->open(&l->d, g, o ? o : &defaults, err);
    if (!s) s = hd_load_check(driver, l->d, g, err);
    for (int i = 0; !s && i < l->programs; i++) {
        place *x = &l->place[i];
        s = hd_load_stream(driver, l->d, x->p, x->entry, x->word, err);
        if (!s && l->params_stay) s = hd_load_params(driver, l->d, x->p, x->param, err);
        if (!s && l->descs_stay) s = hd_load_descriptors(driver, l->d, x->desc, x->p->n_desc, x->first, err);
        if (!s && l->descs_stay) x->positions = x->p->input.w;
        x->input = x->p->input;
        x->output = x->p->output;
    }
    if (s) hd_lm_device_close(l);
    else *out = l;
    return s;
}

/* ---- runs ---- */

enum { FRAME_WORDS = 1024 }; /* as drivers/link.c sends them */
static uint64_t frames(uint64_t words) { return (words + FRAME_WORDS - 1) / FRAME_WORDS; }

/* What a run of program x moves. */
static void count_words(hd_lm_device_use *u, const place *x, const hd_port *in, const hd_port *out, uint32_t lanes, int params, int descs, int starts) {
    uint64_t of_params = params ? 2 * (uint64_t)x->p->n_param : 0, of_descs = descs ? (uint64_t)x->p->n_desc * HD_DESC_STRIDE : 0;
    uint64_t of_in = hd_port_words(in, lanes), of_out = hd_port_words(out, lanes);
    u->runs++;
    u->in_words += of_in;
    u->out_words += of_out;
    u->program_words += of_params + of_descs + (starts ? 1 : 0);
    u->frames += (starts ? 1 : 0) + frames(of_params) + frames(of_descs) + frames(of_in) + frames(of_out);
}

static hd_status prepare(hd_lm_device *l, int i, uint32_t positions, hd_err *err) {
    place *x = &l->place[i];
    int params = !l->params_stay && l->last_params != i, descs = x->positions != positions || (!l->descs_stay && l->last_desc != i);
    hd_status s = HD_OK;
    if (descs) {
        l->last_desc = -1;
        x->positions = 0;
        hd_program_shorten(x->desc, &x->input, &x->output, x->p, positions);
        s = hd_load_descriptors(l->driver, l->d, x->desc, x->p->n_desc, x->first, err);
    }
    if (!s && params) {
        l->last_params = -1;
        s = hd_load_params(l->driver, l->d, x->p, 0, err);
    }
    int starts = l->g.extern_log2 && l->start != (x->first | x->word / 256 << 16);
    if (!s && starts) {
        l->start = x->first | x->word / 256 << 16;
        s = l->driver->write(l->d, HD_SPACE_REG, HD_REG_START, &l->start, 1, err);
        if (s) l->start = (uint32_t)UNKNOWN;
    }
    if (s) return s;
    x->positions = positions;
    l->last_desc = l->last_params = i;
    count_words(&l->use, x, &x->input, &x->output, l->g.lanes, params, descs, starts);
    return HD_OK;
}

/* The matrices' channels of each position, without what fills their last words. */
static void take_channels(int8_t *out, const hd_lm_device *l, const hd_lm_run *r, const place *x, int tokens) {
    size_t stride = x->output.c;
    for (int t = 0; t < tokens; t++) {
        size_t at = (size_t)t * stride;
        for (int k = 0; k < r->matrices; k++) {
            memcpy(out, l->codes + at, (size_t)r->rows[k]);
            out += r->rows[k];
            at += ((size_t)r->rows[k] + l->g.lanes - 1) / l->g.lanes * l->g.lanes;
        }
    }
}

hd_status hd_lm_device_project(void *arg, int run, const int8_t *codes, int tokens, int8_t *out, hd_err *err) {
    hd_lm_device *l = arg;
    const hd_lm_run *r = &l->m->run[run];
    place *x = &l->place[run];
    uint32_t lanes = l->g.lanes, scale = lanes / 4, cycles = 0;
    for (int at = 0; at < tokens; at += l->tokens) {
        int n = tokens - at < l->tokens ? tokens - at : l->tokens;
        hd_status s = prepare(l, run, (uint32_t)n, err);
        if (s) return s;
        size_t in_words = hd_port_words(&x->input, lanes), out_words = hd_port_words(&x->output, lanes);
        hd_pack_input(l->words, &x->input, lanes, codes + (size_t)at * (size_t)r->in);
        s = l->driver->write(l->d, HD_SPACE_ACT, x->input.address * scale, l->words, in_words, err);
        if (!s) s = l->driver->run(l->d, 0, err);
        if (!s) s = l->driver->read(l->d, HD_SPACE_ACT, x->output.address * scale, l->words, out_words, err);
        if (!s && hd_lm_device_counts(l->driver)) s = l->driver->read(l->d, HD_SPACE_REG, HD_REG_CYCLES, &cycles, 1, err);
        if (s) {
            l->start = (uint32_t)UNKNOWN; /* a link that lost its board resets it */
            return s;
        }
        hd_unpack_output(l->codes, &x->output, lanes, l->words);
        take_channels(out + (size_t)at * (size_t)r->out, l, r, x, n);
        l->use.cycles += cycles;
    }
    return HD_OK;
}

/* ---- prediction ---- */

static hd_status predict_run(hd_lm_device_use *u, const hd_lm_device *l, int i, int tokens, hd_err *err) {
    const place *x = &l->place[i];
    hd_program p = *x->p; /* the same program, shortened: its descriptors are a copy */
    size_t bytes = (size_t)p.n_desc * HD_DESC_WORDS * sizeof *p.desc;
    hd_status s = HD_OK;
    p.desc = malloc(bytes);
    if (!p.desc) return no_memory(err);
    memcpy(p.desc, x->p->desc, bytes);
    for (int at = 0; !s && at < tokens; at += l->tokens) {
        hd_prediction *r;
        hd_port in, out;
        hd_program_shorten(p.desc, &in, &out, x->p, (uint32_t)(tokens - at < l->tokens ? tokens - at : l->tokens));
        s = hd_predict(&r, &p, err);
        if (s) break;
        u->cycles += r->cycles;
        count_words(u, x, &in, &out, l->g.lanes, !l->params_stay, !l->descs_stay, l->g.extern_log2 != 0);
        hd_prediction_free(r);
    }
    free(p.desc);
    return s;
}

hd_status hd_lm_device_predict(hd_lm_device_use *out, const hd_lm_device *l, int tokens, int wanted, hd_err *err) {
    hd_status s = HD_OK;
    *out = (hd_lm_device_use){0};
    for (int i = 0; !s && i < l->programs; i++) s = predict_run(out, l, i, i + 1 < l->programs ? tokens : wanted, err);
    return s;
}
