/* Costs as JSON: for the commands and as a trace for Perfetto or chrome://tracing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/file.h"
#include "measure.h"

/* Cycle counts as JSON numbers are exact up to 2^53. */
static void number(cJSON *o, const char *name, uint64_t v) {
    cJSON_AddNumberToObject(o, name, (double)v);
}

static void ratio(cJSON *o, const char *name, double v) {
    cJSON_AddNumberToObject(o, name, floor(v * 1e6 + 0.5) / 1e6);
}

static cJSON *layer_json(const hd_layer_cost *l, int full) {
    static const char *const counter[HD_PERF_WORDS] = {
#define HD_PERF(n, v, d) [v] = #n,
#include "../contract/regs.def"
#undef HD_PERF
    };
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", l->info->name);
    number(o, "cycles", l->cycles);
    number(o, "predicted_cycles", l->predicted);
    ratio(o, "utilisation", l->utilisation);
    if (!full) return o;
    number(o, "macs", l->info->macs);
    number(o, "useful_ops", l->info->useful_ops);
    number(o, "planes", l->info->planes);
    number(o, "blocks", l->info->blocks);
    number(o, "blocks_present", l->info->blocks_present);
    ratio(o, "zeros_used", (double)l->info->zeros_used);
    cJSON_AddStringToObject(o, "stall", hd_stall_name(l->stall));
    cJSON_AddStringToObject(o, "reason", l->reason);
    cJSON *counters = cJSON_AddObjectToObject(o, "counters");
    for (int k = 0; k < HD_PERF_WORDS; k++) number(counters, counter[k], l->perf[k]);
    return o;
}

hd_status hd_cost_json(cJSON *o, const hd_cost *c, int full, hd_err *err) {
    number(o, "cycles", c->cycles);
    number(o, "predicted_cycles", c->predicted);
    cJSON_AddBoolToObject(o, "exact", c->exact);
    ratio(o, "utilisation", c->utilisation);
    cJSON *layers = cJSON_AddArrayToObject(o, "layers");
    if (!layers) return hd_fail(err, HD_NOMEM, "no memory for the JSON of %u layers", c->n_layers);
    for (uint32_t i = 0; i < c->n_layers; i++) cJSON_AddItemToArray(layers, layer_json(&c->layer[i], full));
    return HD_OK;
}

/* Trace events, "ph": X is a slice with start and length in microseconds, C a counter, M a name. */
static cJSON *event(cJSON *list, const char *name, const char *phase, int track) {
    cJSON *e = cJSON_CreateObject();
    cJSON_AddStringToObject(e, "name", name);
    cJSON_AddStringToObject(e, "ph", phase);
    cJSON_AddNumberToObject(e, "pid", 1);
    cJSON_AddNumberToObject(e, "tid", track);
    cJSON_AddItemToArray(list, e);
    return e;
}

static void slice(cJSON *list, const char *name, int track, double start, double length, const hd_layer_cost *l) {
    cJSON *e = event(list, name, "X", track);
    cJSON_AddNumberToObject(e, "ts", start);
    cJSON_AddNumberToObject(e, "dur", length);
    if (l) cJSON_AddItemToObject(e, "args", layer_json(l, 1));
}

static void track_name(cJSON *list, int track, const char *name) {
    cJSON *e = event(list, track ? "thread_name" : "process_name", "M", track);
    cJSON_AddStringToObject(cJSON_AddObjectToObject(e, "args"), "name", name);
}

hd_status hd_cost_perfetto(const hd_cost *c, const hd_program *p, double clock_hz, const char *path, hd_err *err) {
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "traceEvents");
    cJSON_AddStringToObject(root, "displayTimeUnit", "ns");
    double us = 1e6 / clock_hz, at = 0;
    track_name(list, 0, p->model);
    track_name(list, 1, "layers");
    for (int i = HD_STALL_NONE; i <= HD_STALL_STREAM; i++) track_name(list, 2 + i, i ? hd_stall_name((hd_stall)i) : "useful");
    for (uint32_t i = 0; i < c->n_layers; i++) {
        const hd_layer_cost *l = &c->layer[i];
        slice(list, l->info->name, 1, at, us * (double)l->cycles, l);
        /* Counters say how much, not when: each cause is drawn as one slice from the layer's start. */
        for (int k = HD_STALL_NONE; k <= HD_STALL_STREAM; k++)
            if (l->lost[k]) slice(list, l->info->name, 2 + k, at, us * (double)l->lost[k], NULL);
        cJSON *e = event(list, "utilisation", "C", 0);
        cJSON_AddNumberToObject(e, "ts", at);
        cJSON_AddNumberToObject(cJSON_AddObjectToObject(e, "args"), "percent", 100 * l->utilisation);
        at += us * (double)l->cycles;
    }
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    if (!text) return hd_fail(err, HD_NOMEM, "no memory for the trace %s", path);
    hd_status s = hd_file_write(path, text, strlen(text), err);
    free(text);
    return s;
}
