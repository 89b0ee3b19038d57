/* heddle run of a network in parts: array parts on the device, the rest on the host. ref and sim are as many devices as there are parts; a board, real or of SystemC, is one,
 * into which each part's program is written when its turn comes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/progress.h"
#include "../explore/measure.h"
#include "../runtime/runtime.h"
#include "parts.h"
#include "run_sysc.h"

typedef struct runner {
    hd_parts *p;
    hd_session **device, **ref; /* [part]; of one device the first array part's for all */
    int one, loaded;            /* one device; the part whose program it holds */
    hd_sysc_options sysc;
    hd_sysc_times times;        /* on sysc, all runs' */
    double load_seconds;        /* and of the first part's program before them */
    uint64_t *cycles;           /* [part] of the device, the last run's */
    int compare;                /* the first input goes to the instruction-level model too */
    int exact;
} runner;

static hd_qtensor tensor_of(const hd_port *t) { return (hd_qtensor){NULL, (int)t->h, (int)t->w, (int)t->c, t->scale, t->zero}; }

static hd_status run_array(void *context, int k, const hd_nd *in, hd_nd *out, hd_err *err) {
    runner *r = context;
    const hd_program *p = r->p->part[k].program;
    hd_qtensor from = tensor_of(&p->input), to = tensor_of(&p->output);
    size_t n_in = (size_t)from.h * (size_t)from.w * (size_t)from.c, n_out = (size_t)to.h * (size_t)to.w * (size_t)to.c;
    int8_t *codes = malloc(n_in + 2 * n_out + 1);
    if (!codes) return hd_fail(err, HD_NOMEM, "out of memory");
    int8_t *result = codes + n_in, *check = result + n_out;
    hd_parts_encode(codes, in, &from);
    uint64_t predicted = 0;
    hd_status s = HD_OK;
    if (r->one && r->loaded != k) s = hd_session_load(r->device[k], p, err);
    if (!s) r->loaded = k;
    if (!s) s = hd_session_run(r->device[k], codes, result, err);
    if (!s) s = hd_session_cycles(r->device[k], &r->cycles[k], err);
    if (!s && r->compare) {
        s = hd_session_run(r->ref[k], codes, check, err);
        if (!s) s = hd_session_cycles(r->ref[k], &predicted, err);
        if (!s && memcmp(result, check, n_out)) s = hd_fail(err, HD_MISMATCH, "part '%s': output of input 0 differs from the instruction-level model", r->p->part[k].name);
        r->exact &= predicted == r->cycles[k];
    }
    if (!s) s = hd_parts_decode(out, result, &to, &r->p->value[r->p->part[k].out[0]], err);
    free(codes);
    return s;
}

static void raise(uint32_t *to, uint32_t least) {
    if (*to < least) *to = least;
}

/* One device for all parts has the largest of each memory that a part needs. */
static void share_memories(hd_parts *p) {
    hd_geometry most = {0};
    for (int turn = 0; turn < 2; turn++)
        for (int k = 0; k < p->n_parts; k++) {
            if (p->part[k].kind != HD_PART_ARRAY) continue;
            hd_geometry *g = &p->part[k].program->geometry, *to = turn ? g : &most, *from = turn ? &most : g;
            raise(&to->act_words, from->act_words);
            raise(&to->window_words, from->window_words);
            raise(&to->stream_words, from->stream_words);
            raise(&to->param_words, from->param_words);
            raise(&to->descriptors, from->descriptors);
            raise(&to->tables, from->tables);
        }
}

static hd_status open_all(runner *r, const hd_driver *driver, const hd_device_options *o, hd_err *err) {
    hd_status s = HD_OK;
    hd_device_options plain = {0};
    hd_session *first = NULL;
    r->one = driver == &hd_driver_usb || driver == &hd_driver_sysc;
    if (r->one) share_memories(r->p);
    for (int k = 0; !s && k < r->p->n_parts; k++) {
        if (r->p->part[k].kind != HD_PART_ARRAY) continue;
        if (r->one && first) r->device[k] = first;
        else s = hd_session_open(&r->device[k], r->p->part[k].program, driver, o, err);
        if (!first) {
            first = r->device[k];
            r->loaded = k;
        }
        if (!s) s = hd_session_open(&r->ref[k], r->p->part[k].program, &hd_driver_ref, &plain, err);
    }
    return s;
}

/* Outputs of all inputs, one file for each output: PATH, and PATH.1 and so on. */
typedef struct results {
    float **data;
    size_t *item;
} results;

static hd_status keep(results *to, const hd_parts *p, const hd_nd *out, uint32_t n, uint32_t count, hd_err *err) {
    for (int k = 0; k < p->n_outputs; k++) {
        hd_nd v;
        hd_status s = hd_nd_cast(&v, &out[k], HD_TYPE_F32, err);
        if (s) return s;
        if (!to->data[k]) {
            to->item[k] = v.count;
            to->data[k] = calloc((size_t)count * v.count + 1, sizeof(float));
        }
        if (!to->data[k] || to->item[k] != v.count) s = hd_fail(err, HD_MISMATCH, "output '%s' changes its size from input to input, or there is no memory for it", p->value[p->output[k]].name);
        else memcpy(to->data[k] + n * v.count, v.data, v.count * sizeof(float));
        hd_nd_free(&v);
        if (s) return s;
    }
    return HD_OK;
}

static hd_status save(const results *from, const hd_parts *p, uint32_t count, const char *path, hd_err *err) {
    hd_status s = HD_OK;
    for (int k = 0; !s && k < p->n_outputs; k++) {
        char name[4096];
        snprintf(name, sizeof name, k ? "%s.%d" : "%s", path, k);
        hd_idx x = {.type = HD_IDX_F32, .rank = 2, .dim = {count, (uint32_t)from->item[k]}, .item = from->item[k], .data = from->data[k]};
        s = hd_idx_save(&x, name, err);
    }
    return s;
}

static hd_status print_run(const cli_args *a, const runner *r, const char *driver, uint32_t count, double seconds, hd_err *err) {
    uint64_t total = 0;
    double load = r->times.other - r->load_seconds, latency = r->times.input + r->times.run + r->times.output + load;
    int sysc = !strcmp(driver, "sysc") && count;
    for (int k = 0; k < r->p->n_parts; k++) total += r->cycles[k];
    if (a->json) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "program", a->operand);
        cJSON_AddStringToObject(o, "model", r->p->name);
        cJSON_AddStringToObject(o, "device", driver);
        cJSON_AddNumberToObject(o, "count", count);
        cJSON_AddNumberToObject(o, "seconds", seconds);
        cJSON_AddNumberToObject(o, "cycles", (double)total);
        cJSON_AddBoolToObject(o, "exact", r->exact);
        if (sysc) {
            cJSON_AddNumberToObject(o, "latency_ms", 1e3 * latency / count);
            cJSON_AddNumberToObject(o, "programs_ms", 1e3 * load / count);
        }
        cJSON *list = cJSON_AddArrayToObject(o, "parts");
        for (int k = 0; k < r->p->n_parts; k++) {
            cJSON *e = cJSON_CreateObject();
            cJSON_AddStringToObject(e, "name", r->p->part[k].name);
            cJSON_AddStringToObject(e, "where", r->p->part[k].kind == HD_PART_ARRAY ? "array" : "host");
            cJSON_AddNumberToObject(e, "cycles", (double)r->cycles[k]);
            cJSON_AddItemToArray(list, e);
        }
        return cli_json(o, err);
    }
    for (int k = 0; k < r->p->n_parts; k++)
        if (r->p->part[k].kind == HD_PART_ARRAY) printf("part %-4d %-36s %12llu cycles\n", k, r->p->part[k].name, (unsigned long long)r->cycles[k]);
    printf("%u inputs on %s and host in %.2f s; %llu cycles an inference, %s\n", count, driver, seconds, (unsigned long long)total, r->exact ? "as predicted" : "OTHER THAN PREDICTED");
    if (sysc)
        printf("%s, board at %.3f MHz [simulated]: an inference %.3f ms (%.3f inputs, %.3f runs, %.3f outputs, %.3f programs of the parts in turn), without the host's parts\n", hd_sysc_link_name(r->sysc.link),
               r->sysc.clock_hz / 1e6, 1e3 * latency / count, 1e3 * r->times.input / count, 1e3 * r->times.run / count, 1e3 * r->times.output / count, 1e3 * load / count);
    return HD_OK;
}

static hd_session *first_device(const runner *r) {
    int k = 0;
    while (k < r->p->n_parts && !r->device[k]) k++;
    return k < r->p->n_parts ? r->device[k] : NULL;
}

static hd_status run_all(runner *r, const cli_args *a, const hd_driver *driver, const hd_device_options *o, hd_idx *x, uint32_t count, const char *path, hd_err *err) {
    hd_parts *p = r->p;
    results to = {calloc((size_t)p->n_outputs + 1, sizeof *to.data), calloc((size_t)p->n_outputs + 1, sizeof *to.item)};
    hd_nd *out = calloc((size_t)p->n_outputs + 1, sizeof *out);
    hd_status s = to.data && to.item && out ? open_all(r, driver, o, err) : hd_fail(err, HD_NOMEM, "out of memory");
    double start = hd_seconds();
    hd_progress progress;
    hd_session *any = s ? NULL : first_device(r);
    if (any && driver == &hd_driver_sysc) {
        hd_sysc_times_read(&r->times, hd_session_device(any));
        r->load_seconds = r->times.other;
    }
    hd_progress_start(&progress, driver->name, count);
    for (uint32_t i = 0; !s && i < count; i++) {
        hd_nd in = {0};
        r->compare = i == 0;
        if (hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
        if (!s) s = cli_parts_item(&in, a, p, x, i, err);
        if (!s) s = hd_parts_run(p, &in, out, run_array, r, err);
        if (!s) s = keep(&to, p, out, i, count, err);
        hd_nd_free(&in);
        for (int k = 0; k < p->n_outputs; k++) hd_nd_free(&out[k]);
        hd_progress_show(&progress, i + 1, NULL);
    }
    hd_progress_end(&progress);
    double seconds = hd_seconds() - start;
    if (!s && any && driver == &hd_driver_sysc) hd_sysc_times_read(&r->times, hd_session_device(any));
    if (!s && path) s = save(&to, p, count, path, err);
    if (!s) s = print_run(a, r, driver->name, count, seconds, err);
    for (int k = 0; to.data && k < p->n_outputs; k++) free(to.data[k]);
    free(to.data);
    free(to.item);
    free(out);
    return s;
}

/* Any part's: clock and board are the same for all. */
static const hd_program *program_of(const hd_parts *p) {
    static char none[] = "";
    static const hd_program on_host = {.model = none, .board = none};
    for (int k = 0; k < p->n_parts; k++)
        if (p->part[k].kind == HD_PART_ARRAY) return p->part[k].program;
    return &on_host;
}

hd_status cli_parts_run(const cli_args *a, hd_err *err) {
    const char *input, *path = cli_text(a, "-o");
    hd_device_options o = {0};
    const hd_driver *driver = NULL;
    hd_idx *x = NULL;
    int64_t count = 0;
    runner r = {.exact = 1};
    hd_status s = cli_need(&input, a, "--input", err);
    if (!s && cli_text(a, "--trace")) s = hd_fail(err, HD_USAGE, "run: --trace does not go with a network in parts");
    if (!s) s = cli_int(&count, a, "--count", 0, 0, 1 << 30, err);
    if (!s && path) s = cli_can_write(path, err);
    if (!s) s = hd_parts_load(&r.p, 1, a->operand, err);
    if (!s) s = cli_run_device(&driver, &o, &r.sysc, a, program_of(r.p), err);
    if (!s) s = hd_idx_load(&x, input, err);
    if (!s && r.p->n_inputs == 1 && r.p->value[r.p->input[0]].rank == 4) {
        const int64_t *d = r.p->value[r.p->input[0]].dim;
        s = cli_hwc(a, x, input, (int)d[1], (int)d[2], (int)d[3], err);
    }
    if (!s) {
        size_t n = (size_t)r.p->n_parts + 1;
        r.device = calloc(n, sizeof *r.device);
        r.ref = calloc(n, sizeof *r.ref);
        r.cycles = calloc(n, sizeof *r.cycles);
        if (!r.device || !r.ref || !r.cycles) s = hd_fail(err, HD_NOMEM, "out of memory");
    }
    if (!s) s = run_all(&r, a, driver, &o, x, count && count < x->dim[0] ? (uint32_t)count : x->dim[0], path, err);
    const hd_session *first = r.device ? first_device(&r) : NULL;
    for (int k = 0; r.device && r.ref && k < r.p->n_parts; k++) {
        if (!r.one || r.device[k] == first) hd_session_close(r.device[k]);
        if (r.one && r.device[k] == first) first = NULL;
        hd_session_close(r.ref[k]);
    }
    free(r.device);
    free(r.ref);
    free(r.cycles);
    hd_parts_free(r.p);
    if (x) hd_idx_free(x);
    return s;
}
