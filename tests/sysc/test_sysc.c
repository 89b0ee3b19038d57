/* The SystemC platform: the same bytes, counters and cycles as ref around the RTL and around the exact model, whatever the quantum; time that passes as it must; links that carry what
 * docs/link.md and USB 2.0 let them carry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../drivers/sysc.h"
#include "../../sw/runtime/runtime.h"
#include "../support/random_model.h"

typedef struct job {
    hd_program *p;
    int8_t *input, *expected, *output;
    size_t out;
    uint32_t *record, *got;
    uint64_t cycles;
} job;

static void run(hd_session *s, const job *j, int8_t *output, uint32_t *record, uint64_t *cycles) {
    hd_err err = {0};
    if (hd_session_run(s, j->input, output, &err) || hd_session_cycles(s, cycles, &err) || hd_session_perf(s, record, &err)) fail_msg("%s", err.message);
}

static int job_new(job *j, const hd_geometry *g, uint64_t seed) {
    hd_err err = {0};
    hd_model *m = NULL;
    hd_session *ref = NULL;
    *j = (job){0};
    if (hd_random_model(&m, seed, &err)) fail_msg("%s", err.message);
    hd_status st = hd_lower(&j->p, m, g, NULL, &err);
    if (!st) {
        size_t in = (size_t)j->p->input.h * j->p->input.w * j->p->input.c;
        j->out = (size_t)j->p->output.h * j->p->output.w * j->p->output.c;
        j->input = malloc(in);
        j->expected = malloc(j->out);
        j->output = malloc(j->out);
        j->record = calloc(j->p->n_desc, HD_PERF_WORDS * 4);
        j->got = calloc(j->p->n_desc, HD_PERF_WORDS * 4);
        assert_true(j->input && j->expected && j->output && j->record && j->got);
        hd_random_codes(&m->tensor[m->input], seed, j->input);
        if (hd_session_open(&ref, j->p, &hd_driver_ref, NULL, &err)) fail_msg("%s", err.message);
        run(ref, j, j->expected, j->record, &j->cycles);
        hd_session_close(ref);
    }
    hd_model_free(m);
    return !st;
}

static void job_free(job *j) {
    free(j->input);
    free(j->expected);
    free(j->output);
    free(j->record);
    free(j->got);
    hd_program_free(j->p);
}

static hd_session *opened(const job *j, const hd_sysc_options *o) {
    hd_device_options device = {.sysc = o, .quiet = 1};
    hd_session *s = NULL;
    hd_err err = {0};
    if (hd_session_open(&s, j->p, &hd_driver_sysc, &device, &err)) fail_msg("%s", err.message);
    return s;
}

/* Runs twice and compares everything with ref; returns the seconds of both runs. */
static double same_as_ref(const job *j, hd_session *s) {
    hd_sysc_times before, after;
    hd_sysc_times_read(&before, hd_session_device(s));
    for (int i = 0; i < 2; i++) {
        uint64_t cycles = 0;
        memset(j->output, 0, j->out);
        run(s, j, j->output, j->got, &cycles);
        assert_memory_equal(j->output, j->expected, j->out);
        assert_memory_equal(j->got, j->record, (j->p->n_desc - 1) * HD_PERF_WORDS * 4);
        assert_int_equal(cycles, j->cycles);
    }
    hd_sysc_times_read(&after, hd_session_device(s));
    assert_int_equal(after.runs, before.runs + 2);
    return after.run - before.run;
}

static hd_geometry geometry(const char *memory) {
    hd_geometry g;
    hd_err err = {0};
    if (hd_geometry_parse(&g, "4x8x8x2", &err) || (*memory && hd_geometry_memory(&g, memory, &err))) fail_msg("%s", err.message);
    return g;
}

/* Without a link a run takes its cycles and nothing else. */
static void cycles(void **state) {
    (void)state;
    static const uint64_t quantum[] = {10, 37, 1000, 1000000};
    hd_geometry g = geometry("");
    for (uint64_t seed = 1; seed <= 16; seed++) {
        job j;
        if (!job_new(&j, &g, seed)) continue;
        hd_sysc_options o = {.clock_hz = seed % 2 ? 44.25e6 : 48e6, .exact = seed % 3 == 0, .quantum = quantum[seed % 4]};
        hd_session *s = opened(&j, &o);
        double passed = same_as_ref(&j, s) * o.clock_hz - 2 * (double)j.cycles;
        if (fabs(passed) > 1e-3) fail_msg("seed %d: two runs of %d cycles take %.4f too many", (int)seed, (int)j.cycles, passed);
        hd_session_close(s);
        job_free(&j);
    }
}

/* Two platforms at once do not see each other; both links carry the same bytes. */
static void links(void **state) {
    (void)state;
    hd_geometry g = geometry("extern=16,stream=64,mhz=75"), plain = geometry("");
    for (uint64_t seed = 21; seed <= 26; seed++) {
        job j, k;
        if (!job_new(&j, &g, seed)) continue;
        assert_true(job_new(&k, &plain, seed));
        hd_sysc_options uart = {.link = HD_SYSC_UART, .exact = 1, .host_seconds = 1e-4}, full = {.link = seed % 2 ? HD_SYSC_FULL_SPEED : HD_SYSC_HIGH_SPEED, .exact = seed % 3 != 0};
        hd_session *a = opened(&j, &uart), *b = opened(&k, &full);
        for (int i = 0; i < 2; i++) {
            /* The request's 13 bytes of ten bits, the run, the answer's. */
            double wire = same_as_ref(&j, a) / 2 - (double)j.cycles / 48e6 - 1e-4;
            if (fabs(wire - 2 * 13 * 10 / 12e6) > 1e-6) fail_msg("seed %d: a run over the UART takes %.3f us more than its cycles", (int)seed, 1e6 * wire);
            assert_true(same_as_ref(&k, b) / 2 > (double)k.cycles / 48e6);
        }
        hd_session_close(a);
        hd_session_close(b);
        job_free(&j);
        job_free(&k);
    }
}

/* Seconds of n words written and read. */
static void transfer(hd_sysc_times *t, enum hd_sysc_link link, double clock, size_t n) {
    hd_geometry g = geometry("");
    hd_sysc_options o = {.link = link, .exact = 1, .clock_hz = clock};
    hd_device_options device = {.sysc = &o};
    hd_device *d = NULL;
    hd_err err = {0};
    uint32_t *words = malloc(n * 4), *back = calloc(n, 4);
    assert_true(words && back);
    for (size_t i = 0; i < n; i++) words[i] = (uint32_t)i * 2654435761u;
    if (hd_driver_sysc.open(&d, &g, &device, &err) || hd_driver_sysc.write(d, HD_SPACE_ACT, 0, words, n, &err) || hd_driver_sysc.read(d, HD_SPACE_ACT, 0, back, n, &err))
        fail_msg("%s", err.message);
    assert_memory_equal(words, back, n * 4);
    hd_sysc_times_read(t, d);
    hd_driver_sysc.close(d);
    free(words);
    free(back);
}

static void rates(void **state) {
    (void)state;
    enum { WORDS = 16384 };
    hd_sysc_times t;
    /* 16 frames of 1,024 words and 17 bytes, and the last one's answer; each read waits for the one before. */
    transfer(&t, HD_SYSC_UART, 48e6, WORDS);
    assert_true(fabs(t.input * 12e6 / 10 - (16 * (4096 + 17) + 13)) < 1);
    assert_true(fabs(t.output * 12e6 / 10 - 16 * (4096 + 17 + 13)) < 16);
    /* A board that takes every byte at once: 19 packets of 64 bytes a millisecond at most (USB 2.0, table 5-9), 17 with an IN of 8 bytes behind each OUT; 0.4% framing. */
    transfer(&t, HD_SYSC_FULL_SPEED, 1e9, WORDS);
    assert_true(65536 / t.input < 17 * 64e3 && 65536 / t.input > 0.97 * 17 * 64e3);
    assert_true(65536 / t.output < 19 * 64e3 && 65536 / t.output > 0.96 * 19 * 64e3);
    /* 13 packets of 512 in an eighth of that (table 5-10), 12 with the INs. */
    transfer(&t, HD_SYSC_HIGH_SPEED, 10e9, WORDS);
    assert_true(65536 / t.input < 12 * 512 * 8e3 && 65536 / t.input > 0.9 * 12 * 512 * 8e3);
    /* A board at 48 MHz takes a byte in 16 clocks, and holds the bus. */
    transfer(&t, HD_SYSC_HIGH_SPEED, 48e6, WORDS);
    assert_true(65536 / t.input < 3.0e6 && 65536 / t.input > 2.9e6);
    assert_true(65536 / t.output < 48e6 / 18 && 65536 / t.output > 2.5e6);
}

static void refusals(void **state) {
    (void)state;
    hd_geometry g = geometry("");
    hd_err err = {0};
    job j;
    for (uint64_t seed = 1; !job_new(&j, &g, seed); seed++) {}
    for (int exact = 0; exact < 2; exact++) {
        hd_sysc_options o = {.exact = exact, .quantum = 16};
        hd_session *s = opened(&j, &o);
        hd_device *d = hd_session_device(s);
        assert_int_equal(hd_driver_sysc.run(d, 20, &err), HD_DEVICE);
        assert_string_equal(err.message, "sysc: no END after 20 cycles");
        same_as_ref(&j, s); /* and it still works */
        uint32_t word = 0;
        assert_int_equal(hd_driver_sysc.read(d, HD_SPACE_PARAM, 0, &word, 1, &err), HD_RANGE);
        assert_non_null(strstr(err.message, "cannot be read"));
        hd_session_close(s);
    }
    enum hd_sysc_link link;
    assert_int_equal(hd_sysc_link_parse(&link, "super", &err), HD_RANGE);
    assert_string_equal(err.message, "--link: found 'super'; allowed are none, uart, full and high");
    hd_sysc_options o = {.quantum = 9};
    hd_device_options device = {.sysc = &o};
    hd_device *d = NULL;
    assert_int_equal(hd_driver_sysc.open(&d, &g, &device, &err), HD_RANGE);
    job_free(&j);
}

int main(void) {
    char why[256];
    if (!hd_driver_sysc.available(why, sizeof why) || !hd_driver_sim.available(why, sizeof why)) {
        printf("skipped: %s\n", why);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(cycles), cmocka_unit_test(links), cmocka_unit_test(rates), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests_name("sysc", tests, NULL, NULL);
}
