#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../drivers/predict.h"

static const char *const stall_names[] = {"none", "window", "drain", "padding", "start", "pool", "stream"};

const char *hd_stall_name(hd_stall stall) {
    return stall_names[stall];
}

uint64_t hd_program_ops(const hd_geometry *g) {
    return (uint64_t)g->rows * g->cols * g->lanes * g->planes;
}

static void at_least(uint32_t *need, int64_t words) {
    if (words > (int64_t)*need) *need = (uint32_t)words;
}

void hd_program_needs(hd_geometry *need, const hd_program *p) {
    *need = p->geometry;
    need->stream_words = p->geometry.extern_log2 ? 0 : p->n_stream;
    need->param_words = p->n_param;
    need->descriptors = p->n_desc;
    need->tables = p->n_table;
    need->act_words = need->window_words = 0;
    const hd_port *in = &p->input;
    int64_t pixels = in->expanded ? (int64_t)in->out_h * in->out_w : (int64_t)in->h * in->w;
    at_least(&need->act_words, in->address + pixels * in->stride);
    for (uint32_t i = 0; i < p->n_desc; i++) {
        const uint32_t *d = p->desc + (size_t)i * HD_DESC_WORDS;
        int64_t opcode = hd_field_get(d, HD_F_OPCODE), lanes = p->geometry.lanes;
        if (opcode == HD_OP_END) break;
        int64_t words = opcode == HD_OP_CONV ? (hd_field_get(d, HD_F_COUT) + lanes - 1) / lanes : hd_field_get(d, HD_F_SLICES);
        at_least(&need->act_words, hd_field_get(d, HD_F_OUT_START) + (hd_field_get(d, HD_F_POSITIONS) - 1) * hd_field_get(d, HD_F_OUT_STRIDE) + words);
        /* A ring holds what several passes run over. */
        if (p->geometry.extern_log2 && opcode == HD_OP_CONV && hd_field_get(d, HD_F_PASSES) > 1)
            at_least(&need->stream_words, hd_field_get(d, HD_F_STREAM_LAST) - hd_field_get(d, HD_F_STREAM_FIRST) + 1);
        if (opcode == HD_OP_CONV)
            at_least(&need->window_words, hd_field_get(d, HD_F_KH) * hd_field_get(d, HD_F_KW) * hd_field_get(d, HD_F_NCB) + hd_field_get(d, HD_F_RES_N));
    }
}

static double share(uint64_t part, uint64_t whole) {
    return whole ? (double)part / (double)whole : 0;
}

/* Words for the stall that dominates, with the figures that show it. */
static void explain(hd_layer_cost *l, const hd_program *p) {
    const uint32_t *d = p->desc + (size_t)l->info->first_desc * HD_DESC_WORDS;
    double part = 100 * share(l->lost[l->stall], l->cycles);
    char *to = l->reason;
    size_t n = sizeof l->reason;
    switch (l->stall) {
    case HD_STALL_NONE: snprintf(to, n, "the array is busy with useful work in %.0f%% of the cycles", 100 * l->utilisation); break;
    case HD_STALL_WINDOW:
        snprintf(to, n, "%.0f%% waiting for activations: %.1f words fetched for each step; more output channels or bits per window would hide it", part,
                 share(l->perf[HD_PERF_FETCH_WORDS], l->perf[HD_PERF_STEPS]));
        break;
    case HD_STALL_DRAIN:
        snprintf(to, n, "%.0f%% waiting for the drain: tiles have fewer blocks than the %u columns drained after each", part,
                 (unsigned)hd_field_get(d, HD_F_TILE_COLS));
        break;
    case HD_STALL_PADDING:
        snprintf(to, n, "%.0f%% in unused rows, columns or lanes: %u position%s, %u channels against %ux%ux%u", part, (unsigned)hd_field_get(d, HD_F_POSITIONS), hd_field_get(d, HD_F_POSITIONS) == 1 ? "" : "s",
                 (unsigned)hd_field_get(d, HD_F_COUT), p->geometry.rows, p->geometry.cols, p->geometry.lanes);
        break;
    case HD_STALL_START:
        snprintf(to, n, "%.0f%% in start and end: only %llu steps between the first window and the last drain", part, (unsigned long long)l->perf[HD_PERF_STEPS]);
        break;
    case HD_STALL_POOL: snprintf(to, n, "pooling reads one word a cycle and leaves the array idle: %llu words", (unsigned long long)l->perf[HD_PERF_FETCH_WORDS]); break;
    case HD_STALL_STREAM: snprintf(to, n, "%.0f%% waiting for weights from external memory, two bytes a cycle", part); break;
    }
}

/* Splits the layer's cycles: useful, and lost to each cause. The useful part and the padding share the cycles with a step. */
static void account(hd_layer_cost *l, const hd_program *p) {
    uint64_t steps = l->perf[HD_PERF_STEPS], ops = hd_program_ops(&p->geometry);
    uint64_t useful = (l->info->useful_ops + ops / 2) / ops;
    if (useful > steps) useful = steps;
    uint64_t waited = l->perf[HD_PERF_WAIT_WINDOW] + l->perf[HD_PERF_WAIT_DRAIN] + l->perf[HD_PERF_WAIT_STREAM];
    l->lost[HD_STALL_NONE] = useful;
    l->lost[HD_STALL_PADDING] = steps - useful;
    l->lost[HD_STALL_WINDOW] = l->perf[HD_PERF_WAIT_WINDOW];
    l->lost[HD_STALL_DRAIN] = l->perf[HD_PERF_WAIT_DRAIN];
    l->lost[HD_STALL_STREAM] = l->perf[HD_PERF_WAIT_STREAM];
    uint64_t named = steps + waited;
    l->lost[steps ? HD_STALL_START : HD_STALL_POOL] = l->cycles > named ? l->cycles - named : 0;
    l->utilisation = l->cycles ? (double)l->info->useful_ops / ((double)l->cycles * (double)ops) : 0;
    l->stall = HD_STALL_NONE;
    if (l->utilisation < 0.9) {
        l->stall = HD_STALL_WINDOW;
        for (int i = HD_STALL_WINDOW; i <= HD_STALL_STREAM; i++)
            if (l->lost[i] > l->lost[l->stall]) l->stall = (hd_stall)i;
    }
    explain(l, p);
}

static void read_layer(hd_layer_cost *l, const hd_program *p, const hd_layer_info *info, const uint32_t *got, const uint32_t *ref) {
    l->info = info;
    for (uint32_t d = info->first_desc; d < info->first_desc + info->n_desc; d++) {
        for (int k = 0; k < HD_PERF_WORDS; k++) l->perf[k] += got[(size_t)d * HD_PERF_WORDS + (size_t)k];
        l->predicted += ref[(size_t)d * HD_PERF_WORDS + HD_PERF_CYCLES];
    }
    l->cycles = l->perf[HD_PERF_CYCLES];
    account(l, p);
}

static hd_status read_counters(uint64_t *cycles, uint32_t *records, hd_session *s, hd_err *err) {
    hd_status status = hd_session_cycles(s, cycles, err);
    return status ? status : hd_session_perf(s, records, err);
}

static hd_cost *cost_new(const hd_program *p) {
    hd_cost *c = calloc(1, sizeof *c);
    if (c) c->layer = calloc((size_t)p->n_layers + 1, sizeof *c->layer);
    if (c && c->layer) return c;
    free(c);
    return NULL;
}

/* Of the whole run, once its layers are known. */
static void sum_up(hd_cost *c, const hd_program *p) {
    uint64_t useful = 0;
    c->n_layers = p->n_layers;
    c->exact = c->cycles == c->predicted;
    for (uint32_t i = 0; i < p->n_layers; i++) {
        c->exact &= c->layer[i].cycles == c->layer[i].predicted;
        useful += p->layer[i].useful_ops;
    }
    c->utilisation = c->cycles ? (double)useful / ((double)c->cycles * (double)hd_program_ops(&p->geometry)) : 0;
}

hd_status hd_cost_read(hd_cost **out, const hd_program *p, hd_session *device, hd_session *ref, hd_err *err) {
    size_t words = (size_t)p->n_desc * HD_PERF_WORDS;
    hd_cost *c = cost_new(p);
    uint32_t *got = calloc(2 * words + 1, sizeof *got), *expected = got ? got + words : NULL;
    hd_status s = c && got ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for the counters of %u descriptors", p->n_desc);
    if (!s) s = read_counters(&c->cycles, got, device, err);
    if (!s) s = read_counters(&c->predicted, expected, ref, err);
    if (s) {
        free(got);
        hd_cost_free(c);
        return s;
    }
    /* A device without counters tells the cycles of the whole run; the layers' are then predicted. */
    if (!p->geometry.perf) memcpy(got, expected, words * sizeof *got);
    for (uint32_t i = 0; i < p->n_layers; i++) read_layer(&c->layer[i], p, &p->layer[i], got, expected);
    sum_up(c, p);
    free(got);
    *out = c;
    return HD_OK;
}

hd_status hd_cost_predict(hd_cost **out, const hd_program *p, hd_err *err) {
    hd_prediction *r;
    hd_status s = hd_predict(&r, p, err);
    if (s) return s;
    hd_cost *c = cost_new(p);
    for (uint32_t i = 0; c && i < p->n_layers; i++) {
        hd_layer_cost *l = &c->layer[i];
        l->info = &p->layer[i];
        hd_prediction_layer(l->perf, r, l->info);
        l->cycles = l->predicted = l->perf[HD_PERF_CYCLES];
        account(l, p);
    }
    if (c) c->cycles = c->predicted = r->cycles;
    hd_prediction_free(r);
    if (!c) return hd_fail(err, HD_NOMEM, "no memory for the counters of %u layers", p->n_layers);
    sum_up(c, p);
    *out = c;
    return HD_OK;
}

hd_status hd_cost_measure(hd_cost **out, const hd_program *p, const hd_driver *driver, const hd_device_options *o, hd_err *err) {
    hd_session *device = NULL, *ref = NULL;
    size_t in = (size_t)p->input.h * p->input.w * p->input.c, result = (size_t)p->output.h * p->output.w * p->output.c;
    int8_t *codes = malloc(in + result + 1);
    if (!codes) return hd_fail(err, HD_NOMEM, "no memory for an image of %zu bytes", in);
    memset(codes, (unsigned char)p->input.zero, in);
    hd_device_options plain = {0};
    hd_status s = hd_session_open(&device, p, driver, o, err);
    if (!s) s = hd_session_run(device, codes, codes + in, err);
    if (!s && driver != &hd_driver_ref) {
        s = hd_session_open(&ref, p, &hd_driver_ref, &plain, err);
        if (!s) s = hd_session_run(ref, codes, codes + in, err);
    }
    if (!s) s = hd_cost_read(out, p, device, ref ? ref : device, err);
    if (ref) hd_session_close(ref);
    if (device) hd_session_close(device);
    free(codes);
    return s;
}

hd_status hd_cost_join(hd_cost **out, const hd_cost *const *part, int n, const hd_geometry *g, hd_err *err) {
    hd_cost *c = calloc(1, sizeof *c);
    uint32_t layers = 0;
    double useful = 0;
    for (int k = 0; k < n; k++) layers += part[k] ? part[k]->n_layers : 0;
    if (c) c->layer = malloc(((size_t)layers + 1) * sizeof *c->layer);
    if (!c || !c->layer) {
        free(c);
        return hd_fail(err, HD_NOMEM, "no memory for the counters of %u layers", layers);
    }
    c->exact = 1;
    for (int k = 0; k < n; k++) {
        if (!part[k]) continue;
        memcpy(c->layer + c->n_layers, part[k]->layer, part[k]->n_layers * sizeof *c->layer);
        c->n_layers += part[k]->n_layers;
        c->cycles += part[k]->cycles;
        c->predicted += part[k]->predicted;
        c->exact &= part[k]->exact;
    }
    for (uint32_t i = 0; i < c->n_layers; i++) useful += (double)c->layer[i].info->useful_ops;
    c->utilisation = c->cycles ? useful / ((double)c->cycles * (double)hd_program_ops(g)) : 0;
    *out = c;
    return HD_OK;
}

void hd_cost_free(hd_cost *c) {
    if (!c) return;
    free(c->layer);
    free(c);
}
