/* Sessions: a device that is not the program's is named with both sides; counters and memories come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/runtime/runtime.h"
#include "../support/random_model.h"

/* A board: a ref device whose geometry is fixed, or whose registers lie. */
static hd_geometry fixed;
static uint32_t lie_at, lie;

static hd_status open_fixed(hd_device **out, const hd_geometry *g, const hd_device_options *o, hd_err *err) {
    (void)g;
    return hd_driver_ref.open(out, &fixed, o, err);
}
static hd_status read_lying(hd_device *d, enum hd_space space, uint32_t at, uint32_t *words, size_t n, hd_err *err) {
    hd_status st = hd_driver_ref.read(d, space, at, words, n, err);
    if (space == HD_SPACE_REG && lie_at != UINT32_MAX && lie_at >= at && lie_at - at < n) words[lie_at - at] = lie;
    return st;
}

static hd_program *program(const char *geometry, const char *memory) {
    hd_model *m = NULL;
    hd_program *p = NULL;
    hd_geometry g;
    hd_err err = {0};
    hd_status st = hd_random_model(&m, 4, &err);
    if (!st) st = hd_geometry_parse(&g, geometry, &err);
    if (!st) st = hd_geometry_memory(&g, memory, &err);
    if (!st) st = hd_lower(&p, m, &g, NULL, &err);
    if (st) fail_msg("%s", err.message);
    hd_model_free(m);
    return p;
}

static void mismatches(void **state) {
    (void)state;
    char want[80];
    snprintf(want, sizeof want, "device board has contract version 99; the program has %d", HD_CONTRACT_VERSION);
    const struct {
        const char *geometry, *memory;
        uint32_t lie_at, lie;
        const char *message;
    } bad[] = {
        {"4x8x8x4", "", UINT32_MAX, 0, "device board is 4x8x8x4; the program is for 4x8x8x2"},
        {"4x8x8x2", "act=2048", UINT32_MAX, 0, "device board has 2048 activation words; the program needs 4096"},
        {"4x8x8x2", "acc=20", UINT32_MAX, 0, "device board has 20 accumulator bits; the program needs 24"},
        {"4x8x8x2", "tables=2", UINT32_MAX, 0, "device board has 2 tables; the program needs 4"},
        {"4x8x8x2", "", HD_REG_MAGIC, 7, "device board: register MAGIC is 0x00000007; a heddle accelerator has 0x48454444"},
        {"4x8x8x2", "", HD_REG_CONTRACT, 99, want},
        {"4x8x8x2", "", HD_REG_EXTERN, 23, "device board has extern=23,mhz=0; the program is for extern=0,mhz=0"},
        {"4x8x8x2", "", HD_REG_POST, 2, "device board has post=2; the program is for post=0"},
        {"4x8x8x2", "", HD_REG_PUMP, 4, "device board has pump=4; the program is for pump=1"},
        {"4x8x8x2", "", HD_REG_SLOT, 8, "device board has slot=8; the program is for slot=1"},
        {"4x8x8x2", "", HD_REG_GATHER, 1, "device board has gather=1; the program is for gather=0"},
        {"4x8x8x2", "", HD_REG_SUMS, 0, "device board has sums=0; the program is for sums=1"},
    };
    hd_driver board = hd_driver_ref;
    board.name = "board";
    board.open = open_fixed;
    board.read = read_lying;
    hd_program *p = program("4x8x8x2", "act=4096");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hd_session *s = NULL;
        hd_err err = {0};
        assert_int_equal(hd_geometry_parse(&fixed, bad[i].geometry, &err), HD_OK);
        assert_int_equal(hd_geometry_memory(&fixed, bad[i].memory, &err), HD_OK);
        lie_at = bad[i].lie_at;
        lie = bad[i].lie;
        assert_int_equal(hd_session_open(&s, p, &board, NULL, &err), HD_MISMATCH);
        assert_null(s);
        assert_string_equal(err.message, bad[i].message);
    }
    /* A larger device runs the program. */
    hd_session *s = NULL;
    hd_err err = {0};
    lie_at = UINT32_MAX;
    assert_int_equal(hd_geometry_memory(&fixed, "act=65536,stream=262144,acc=32", &err), HD_OK);
    assert_int_equal(hd_session_open(&s, p, &board, NULL, &err), HD_OK);
    hd_session_close(s);
    hd_program_free(p);
    p = program("4x8x8x2", "act=4096,extern=18,mhz=50,decode=1");
    assert_int_equal(hd_geometry_memory(&fixed, "act=4096,stream=4096,acc=24,extern=18,mhz=50,decode=1", &err), HD_OK);
    lie_at = HD_REG_DECODE;
    lie = 4;
    assert_int_equal(hd_session_open(&s, p, &board, NULL, &err), HD_MISMATCH);
    assert_string_equal(err.message, "device board has decode=4; the program is for decode=1");
    hd_program_free(p);
}

static void counters(void **state) {
    (void)state;
    hd_program *p = program("4x8x8x2", "act=4096");
    hd_session *s = NULL;
    hd_err err = {0};
    size_t n_in = (size_t)p->input.h * p->input.w * p->input.c, n_out = (size_t)p->output.h * p->output.w * p->output.c;
    int8_t *in = calloc(n_in, 1), *out = calloc(n_out, 1);
    uint32_t *perf = calloc(p->n_desc, HD_PERF_WORDS * sizeof *perf), *memory = calloc(4096, 8);
    assert_true(in && out && perf && memory);
    assert_int_equal(hd_session_open(&s, p, &hd_driver_ref, NULL, &err), HD_OK);
    assert_int_equal(hd_session_run(s, in, out, &err), HD_OK);
    uint64_t cycles = 0, sum = 0;
    assert_int_equal(hd_session_cycles(s, &cycles, &err), HD_OK);
    assert_int_equal(hd_session_perf(s, perf, &err), HD_OK);
    for (uint32_t i = 0; i < p->n_desc; i++) sum += perf[i * HD_PERF_WORDS + HD_PERF_CYCLES];
    assert_true(sum > 0 && cycles > sum);
    assert_int_equal(hd_session_memory(s, memory, 4096 * 2, &err), HD_OK);
    /* The output as the memory holds it: first channel of the first pixel. */
    assert_int_equal((int8_t)(uint8_t)memory[p->output.address * 2], out[0]);
    assert_int_equal(hd_session_memory(s, memory, 4096 * 2 + 1, &err), HD_RANGE);
    hd_session_close(s);
    hd_program_free(p);
    free(in);
    free(out);
    free(perf);
    free(memory);
}

/* Two programs take turns in one device; each gives what it gives in a device of its own. */
static void programs_in_turn(void **state) {
    (void)state;
    hd_err err = {0};
    hd_program *p[2] = {NULL, NULL};
    hd_geometry g;
    int8_t *in[2], *want[2];
    assert_int_equal(hd_geometry_parse(&g, "4x8x8x2", &err), HD_OK);
    assert_int_equal(hd_geometry_memory(&g, "act=4096", &err), HD_OK);
    for (int k = 0; k < 2; k++) {
        hd_model *m = NULL;
        hd_session *s = NULL;
        if (hd_random_model(&m, k ? 9 : 4, &err) || hd_lower(&p[k], m, &g, NULL, &err)) fail_msg("%s", err.message);
        in[k] = malloc((size_t)p[k]->input.h * p[k]->input.w * p[k]->input.c);
        want[k] = malloc((size_t)p[k]->output.h * p[k]->output.w * p[k]->output.c);
        hd_random_codes(&m->tensor[m->input], 3, in[k]);
        if (hd_session_open(&s, p[k], &hd_driver_ref, NULL, &err) || hd_session_run(s, in[k], want[k], &err)) fail_msg("%s", err.message);
        hd_session_close(s);
        hd_model_free(m);
    }
    hd_session *s = NULL;
    assert_int_equal(hd_session_open(&s, p[0], &hd_driver_ref, NULL, &err), HD_OK);
    for (int turn = 0; turn < 5; turn++) {
        int k = turn % 2;
        size_t n = (size_t)p[k]->output.h * p[k]->output.w * p[k]->output.c;
        int8_t *out = calloc(n, 1);
        if (turn) assert_int_equal(hd_session_load(s, p[k], &err), HD_OK);
        assert_int_equal(hd_session_run(s, in[k], out, &err), HD_OK);
        assert_memory_equal(out, want[k], n);
        free(out);
    }
    /* One that the device does not hold is refused. */
    p[1]->geometry.acc_bits = 32;
    assert_int_equal(hd_session_load(s, p[1], &err), HD_MISMATCH);
    assert_string_equal(err.message, "device ref has 24 accumulator bits; the program needs 32");
    hd_session_close(s);
    for (int k = 0; k < 2; k++) {
        hd_program_free(p[k]);
        free(in[k]);
        free(want[k]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(mismatches), cmocka_unit_test(counters), cmocka_unit_test(programs_in_turn)};
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
