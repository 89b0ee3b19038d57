/* heddle run: a program on a device, beside the instruction-level model that predicts its cycles. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/file.h"
#include "../core/progress.h"
#include "../explore/accuracy.h"
#include "../explore/dataset.h"
#include "../explore/measure.h"
#include "parts.h"
#include "run_sysc.h"

static const cli_option options[] = {
    {"--device", "NAME", "ref (instruction-level model), sim (the Verilated RTL), usb (a board: usb:SERIAL, usb:PATH, usb:VENDOR:PRODUCT, usb:fd:N) or sysc (SystemC platform) (ref)"},
    {"--input", "X.idx", "inputs: u8 and float are quantised, i8 are codes; items [c][h][w] (required)"},
    {"--count", "N", "only the first N, 0 = all (0)"},
    {"-o", "out.bin", "where the outputs go: int8 codes [n][h][w][c]; of a network in parts floats as idx [n][elements], further outputs in out.bin.1 and so on"},
    {"--bit-rate", "N", "usb, sysc: of the serial bridge's wire, bit/s (usb tries the usual rates; sysc: 12000000)"},
    {"--queue", "N,BYTES,ALL", "usb: transfers under way in each direction, bytes of one, most bytes of all (8,16384,4194304)"},
    {"--link", "KIND", "sysc: none, uart, full or high: what is between host and board (none)"},
    {"--sysc-model", "M", "sysc: the accelerator is the rtl or the exact model (rtl)"},
    {"--host-us", "T", "sysc: microseconds that the host takes for each answer (0)"},
    {"--quantum", "N", "sysc: cycles that the accelerator runs ahead of the rest (1000)"},
    {"--clock", "HZ", "sysc: the board's clock (the board's; without a board 48 MHz, assumed)"},
    {"--trace", "out.fst", "sim: waveforms of the first input"},
    {"--raw", NULL, "take bytes as they are; else they are divided by 255"},
    {"--hwc", NULL, "items are [height][width][channel], as TFLite has them; else [channel][height][width]"},
    {NULL, NULL, NULL},
};

typedef struct job {
    const hd_program *p;
    const hd_driver *driver;
    hd_idx *input;
    uint32_t count;
    int raw;
    size_t in_bytes, out_bytes;
    float *scratch;
    int8_t *codes, *results, *check; /* one input; all outputs; one output of ref */
    hd_sysc_options sysc;
    hd_sysc_times times;             /* of the inferences, and in load_seconds of the program, on sysc */
    double load_seconds;
} job;

static hd_status load_job(job *j, const cli_args *a, const char *path, int64_t count, hd_err *err) {
    const hd_port *in = &j->p->input, *out = &j->p->output;
    j->in_bytes = (size_t)in->h * in->w * in->c;
    j->out_bytes = (size_t)out->h * out->w * out->c;
    hd_status s = hd_idx_load(&j->input, path, err);
    if (!s) s = hd_dataset_check(j->input, NULL, path, NULL, j->in_bytes, 0, err);
    if (!s) s = cli_hwc(a, j->input, path, (int)in->c, (int)in->h, (int)in->w, err);
    if (s) return s;
    j->count = count && (uint64_t)count < j->input->dim[0] ? (uint32_t)count : j->input->dim[0];
    j->scratch = malloc(j->in_bytes * sizeof *j->scratch);
    j->codes = malloc(j->in_bytes);
    j->results = malloc((size_t)j->count * j->out_bytes);
    j->check = malloc(j->out_bytes);
    if (!j->scratch || !j->codes || !j->results || !j->check) return hd_fail(err, HD_NOMEM, "no memory for %u outputs of %zu bytes", j->count, j->out_bytes);
    return HD_OK;
}

static void encode(const job *j, uint32_t n) {
    const hd_port *in = &j->p->input;
    hd_qtensor t = {NULL, (int)in->h, (int)in->w, (int)in->c, in->scale, in->zero};
    hd_encode_item(&t, j->input, n, !j->raw, j->scratch, j->codes);
}

/* The first input goes to the model too: cycles do not depend on data, so one image predicts them all. */
static hd_status compare_first(hd_cost **cost, const job *j, hd_session *device, hd_err *err) {
    hd_session *ref = NULL;
    hd_device_options plain = {0};
    encode(j, 0);
    hd_status s = hd_session_open(&ref, j->p, &hd_driver_ref, &plain, err);
    if (!s) s = hd_session_run(ref, j->codes, j->check, err);
    if (!s && memcmp(j->check, j->results, j->out_bytes)) s = hd_fail(err, HD_MISMATCH, "device %s: output of input 0 differs from the instruction-level model", j->driver->name);
    if (!s) s = hd_cost_read(cost, j->p, device, ref, err);
    if (ref) hd_session_close(ref);
    return s;
}

static hd_status run_all(hd_cost **cost, job *j, const hd_device_options *o, double *seconds, hd_err *err) {
    hd_session *device = NULL;
    hd_progress progress;
    hd_status s = hd_session_open(&device, j->p, j->driver, o, err);
    double start = hd_seconds();
    int sysc = j->driver == &hd_driver_sysc;
    if (!s && sysc) {
        hd_sysc_times_read(&j->times, hd_session_device(device));
        j->load_seconds = j->times.other;
    }
    hd_progress_start(&progress, j->driver->name, j->count);
    for (uint32_t i = 0; !s && i < j->count; i++) {
        if (hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
        if (s) break;
        encode(j, i);
        s = hd_session_run(device, j->codes, j->results + (size_t)i * j->out_bytes, err);
        hd_progress_show(&progress, i + 1, NULL);
    }
    hd_progress_end(&progress);
    *seconds = hd_seconds() - start;
    if (!s && sysc) hd_sysc_times_read(&j->times, hd_session_device(device));
    if (!s) s = compare_first(cost, j, device, err);
    if (device) hd_session_close(device);
    return s;
}

static hd_status print_run(const cli_args *a, const job *j, const hd_cost *c, double seconds, hd_err *err) {
    if (a->json) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "program", a->operand);
        cJSON_AddStringToObject(o, "model", j->p->model);
        cJSON_AddStringToObject(o, "device", j->driver->name);
        cJSON_AddNumberToObject(o, "count", j->count);
        cJSON_AddNumberToObject(o, "seconds", seconds);
        if (j->driver == &hd_driver_sysc) cli_sysc_json(o, &j->sysc, &j->times, j->load_seconds);
        hd_status s = hd_cost_json(o, c, 0, err);
        if (!s) return cli_json(o, err);
        cJSON_Delete(o);
        return s;
    }
    printf("%-24s %12s %12s %12s\n", "layer", "cycles", "predicted", "utilisation");
    for (uint32_t i = 0; i < c->n_layers; i++) {
        const hd_layer_cost *l = &c->layer[i];
        printf("%-24s %12llu %12llu %11.1f%%\n", l->info->name, (unsigned long long)l->cycles, (unsigned long long)l->predicted, 100 * l->utilisation);
    }
    printf("%-24s %12llu %12llu %11.1f%%\n", "an inference", (unsigned long long)c->cycles, (unsigned long long)c->predicted, 100 * c->utilisation);
    printf("%u inputs on %s in %.2f s%s\n", j->count, j->driver->name, seconds, c->exact ? "; cycles as predicted" : "; CYCLES DIFFER from the prediction");
    if (j->driver == &hd_driver_sysc) cli_sysc_print(&j->sysc, &j->times, j->load_seconds, j->p);
    return HD_OK;
}

static hd_status run_program(const cli_args *a, job *j, const char *input, int64_t count, const char *out, hd_err *err) {
    hd_device_options o;
    hd_cost *cost = NULL;
    double seconds = 0;
    hd_status s = cli_run_device(&j->driver, &o, &j->sysc, a, j->p, err);
    if (!s && out) s = cli_can_write(out, err);
    if (!s) s = load_job(j, a, input, count, err);
    if (!s && o.trace) {
        cli_partial(o.trace); /* Verilator writes it piece by piece */
        if (!count) j->count = 1;
    }
    if (!s) s = run_all(&cost, j, &o, &seconds, err);
    if (!s && out) s = hd_file_write(out, j->results, (size_t)j->count * j->out_bytes, err);
    if (!s) s = print_run(a, j, cost, seconds, err);
    if (!s) cli_partial(NULL);
    hd_cost_free(cost);
    return s;
}

static hd_status run(const cli_args *a, hd_err *err) {
    const char *input;
    int64_t count;
    hd_program *p = NULL;
    uint32_t magic = 0;
    hd_err none;
    if (!cli_file_magic(&magic, a->operand, &none) && magic == (uint32_t)HD_HPP_MAGIC) return cli_parts_run(a, err);
    hd_status s = cli_need(&input, a, "--input", err);
    if (!s) s = cli_int(&count, a, "--count", 0, 0, 1 << 30, err);
    if (!s) s = hd_program_load(&p, a->operand, err);
    if (s) return s;
    job j = {.p = p, .raw = cli_flag(a, "--raw")};
    s = run_program(a, &j, input, count, cli_text(a, "-o"), err);
    if (j.input) hd_idx_free(j.input);
    free(j.scratch);
    free(j.codes);
    free(j.results);
    free(j.check);
    hd_program_free(p);
    return s;
}

const cli_command cli_run = {
    .name = "run",
    .summary = "run a program on a device",
    .operand = "N.hdp",
    .about = "Runs inputs through a program and prints the cycles of each layer beside those predicted. The first output is compared with the "
             "instruction-level model on every device. A new geometry of sim is built once, in about 20 seconds.",
    .examples = "heddle run net.hdp --device sim --input t10k-images-idx3-ubyte.gz --count 16 -o out.bin\n"
                "heddle run net.hdp --device usb --input images.idx\n"
                "heddle run net.hdp --device sysc --link uart --bit-rate 3000000 --input images.idx --count 2 -o out.bin",
    .surroundings = CLI_CACHE | CLI_SOURCE | CLI_IDX | CLI_HDP | CLI_RULES,
    .see = "devices, compile, profile, docs/simulation.md, docs/usb.md",
    .options = options,
    .run = run,
};
