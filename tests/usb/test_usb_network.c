/* The default network end to end over an interposed usbfs (usbfs.h): session, driver `usb`, libusb, usbfs, endpoints or bridge, link and a board whose memories and
 * runs are the instruction-level model's. Outputs, activation memory, cycles and performance records must be those of the model driven directly, and the
 * outputs those of the integer executor, which knows no program. HD_USB_SESSIONS: sessions with random faults of each kind of device (12). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../compiler/compress/compress.h"
#include "../../sw/explore/accuracy.h"
#include "../../sw/explore/dataset.h"
#include "../../sw/runtime/runtime.h"
#include "usbfs.h"

enum { IMAGES = 3, CALIBRATION_IMAGES = 16, CLOCK_HZ = 48000000 };
/* As tests/e2e/network.sh: the smallest quick array that holds it, and here the board's own size. */
static const char shape[] = "2x4x8x2", memory[] = "act=2048,window=64,stream=1024,param=256,descriptors=8,tables=0,hop=2,acc=18,fetch=1,post=0,residual=0";

/* What a run leaves behind. */
typedef struct result {
    int8_t *output;   /* [IMAGES][out_bytes] */
    uint32_t *act;    /* the program's memory, after the last image */
    uint32_t *perf;   /* after the last image */
    uint64_t cycles[IMAGES];
} result;

static hd_model *model;
static hd_geometry board_geometry;
static hd_program *program;
static int8_t *input; /* [IMAGES][in_bytes] */
static size_t in_bytes, out_bytes, act_words, perf_words;
static result expected;
static link_board board;

static void *room(size_t n, size_t size) {
    void *p = calloc(n, size);
    if (!p) abort();
    return p;
}

static void result_make(result *r) {
    *r = (result){.output = room(IMAGES, out_bytes), .act = room(act_words, sizeof *r->act), .perf = room(perf_words, sizeof *r->perf)};
}

static void result_free(result *r) {
    free(r->output);
    free(r->act);
    free(r->perf);
}

/* One session: the program is loaded, then each image. */
static hd_status infer(result *r, const hd_driver *driver, const hd_device_options *o, hd_err *err) {
    hd_session *s = NULL;
    hd_status st = hd_session_open(&s, program, driver, o, err);
    for (size_t i = 0; !st && i < IMAGES; i++) {
        st = hd_session_run(s, input + i * in_bytes, r->output + i * out_bytes, err);
        if (!st) st = hd_session_cycles(s, &r->cycles[i], err);
    }
    if (!st) st = hd_session_memory(s, r->act, act_words, err);
    if (!st) st = hd_session_perf(s, r->perf, err);
    hd_session_close(s);
    return st;
}

static hd_status make_program(const hd_idx *images, hd_err *err) {
    hd_graph *graph = NULL;
    hd_policy policy;
    hd_policy_default(&policy);
    policy.base.bits = 2;
    policy.base.sparsity = 0.5f;
    hd_lower_options lower = {.board = "", .expand_input = -1};
    hd_status s = hd_default_graph(&graph, err);
    if (!s) s = hd_compress(&model, graph, &policy, images, CALIBRATION_IMAGES, 1, err);
    if (!s) s = hd_geometry_parse(&board_geometry, shape, err);
    if (!s) s = hd_geometry_memory(&board_geometry, memory, err);
    if (!s) s = hd_lower(&program, model, &board_geometry, &lower, err);
    hd_policy_free(&policy);
    if (graph) hd_graph_free(graph);
    return s;
}

/* Network, inputs, and what the instruction-level model makes of them. */
static hd_status prepare(hd_err *err) {
    hd_idx *images = NULL;
    hd_status s = hd_fashion_mnist(&images, NULL, 1, err);
    if (!s) s = make_program(images, err);
    if (!s) {
        in_bytes = (size_t)program->input.h * program->input.w * program->input.c;
        out_bytes = (size_t)program->output.h * program->output.w * program->output.c;
        act_words = (size_t)program->geometry.act_words * program->geometry.lanes / 4; /* at most the board's */
        perf_words = (size_t)program->n_desc * HD_PERF_WORDS;
        input = room(IMAGES, in_bytes);
        float *scratch = room(in_bytes, sizeof *scratch);
        for (uint32_t i = 0; i < IMAGES; i++) hd_encode_item(&model->tensor[model->input], images, CALIBRATION_IMAGES + i, 1, scratch, input + i * in_bytes);
        free(scratch);
        result_make(&expected);
        s = infer(&expected, &hd_driver_ref, NULL, err);
    }
    hd_idx_free(images);
    return s;
}

/* The images through a new device of this kind; everything must be as expected and executed once. */
static usbfs_counts run_network(enum usbfs_kind kind, uint64_t seed, const usbfs_faults *faults) {
    hd_err err = {0};
    result r;
    result_make(&r);
    usbfs_remove();
    link_board_reset(&board);
    assert_int_equal(hd_driver_ref.open(&board.device, &board_geometry, NULL, &err), HD_OK);
    board.driver = &hd_driver_ref;
    board.run_seconds = (double)expected.cycles[0] / CLOCK_HZ;
    hd_device_options o = {.usb_fd = usbfs_plug(kind, &board, seed), .run_limit_ms = 5000};
    assert_true(o.usb_fd > 0);
    usbfs_set_faults(faults);
    if (infer(&r, &hd_driver_usb, &o, &err)) fail_msg("kind %d, seed %llu: %s", (int)kind, (unsigned long long)seed, err.message);
    assert_memory_equal(r.output, expected.output, IMAGES * out_bytes);
    assert_memory_equal(r.act, expected.act, act_words * sizeof *r.act);
    assert_memory_equal(r.perf, expected.perf, perf_words * sizeof *r.perf);
    assert_memory_equal(r.cycles, expected.cycles, sizeof r.cycles);
    assert_int_equal(board.runs, IMAGES);
    assert_int_equal(board.refused_by_device, 0);
    usbfs_counts c = usbfs_look();
    assert_int_equal(c.bad, 0);
    assert_int_equal(c.under_way, 0);
    assert_int_equal(c.claims, c.releases);
    hd_driver_ref.close(board.device);
    board.device = NULL;
    result_free(&r);
    return c;
}

static int unplug(void **state) {
    (void)state;
    usbfs_remove();
    hd_driver_ref.close(board.device);
    board.device = NULL;
    link_board_free(&board);
    return 0;
}

/* The model itself is right: the integer executor runs the layers of the compressed network and shares nothing with programs. The images differ in their outputs, so
 * that one image's output cannot pass for another's. */
static void test_expected(void **state) {
    (void)state;
    hd_err err = {0};
    hd_integer *integer = NULL;
    assert_int_equal(hd_integer_new(&integer, model, &err), HD_OK);
    for (size_t i = 0; i < IMAGES; i++) {
        hd_integer_run(integer, input + i * in_bytes);
        assert_memory_equal(expected.output + i * out_bytes, hd_integer_tensor(integer, model->output), out_bytes);
        assert_true(expected.cycles[i] > 0);
        for (size_t k = 0; k < i; k++) assert_memory_not_equal(expected.output + i * out_bytes, expected.output + k * out_bytes, out_bytes);
    }
    hd_integer_free(integer);
}

static void test_without_faults(void **state) {
    (void)state;
    const usbfs_faults none = {0};
    for (int kind = USBFS_NATIVE; kind <= USBFS_FT231X; kind++) {
        usbfs_counts c = run_network((enum usbfs_kind)kind, 1, &none);
        assert_int_equal(c.faults, 0);
        assert_int_equal(board.refused, 0);
    }
}

/* Losses, damage, stalls and delays at rates that the link repairs: no session fails. */
static void test_with_faults(void **state) {
    (void)state;
    const char *count = getenv("HD_USB_SESSIONS");
    unsigned sessions = count ? (unsigned)atoi(count) : 12, disturbed = 0, done = 0;
    uint64_t faults = 0;
    for (int kind = USBFS_NATIVE; kind <= USBFS_FT231X; kind++)
        for (uint64_t seed = 1; seed <= sessions; seed++, done++) {
            hd_rng r;
            hd_rng_seed(&r, seed, 17);
            usbfs_faults f = {.most_delay = 0.05};
            double *const rate[] = {&f.lost_out, &f.corrupt_out, &f.stall_out, &f.lost_in, &f.corrupt_in, &f.stall_in, &f.delay};
            /* The host's transfers are few and long, the device's many. */
            for (size_t i = 0; i < sizeof rate / sizeof *rate; i++)
                if (hd_rng_below(&r, 2)) *rate[i] = (i < 3 ? 0.15 : 0.05) * (double)hd_rng_float(&r);
            uint64_t n = run_network((enum usbfs_kind)kind, seed, &f).faults;
            disturbed += n > 0;
            faults += n;
        }
    print_message("%u sessions of %d images, %u of them disturbed, %llu faults\n", done, IMAGES, disturbed, (unsigned long long)faults);
    assert_true(2 * disturbed > done && faults > 2 * done);
}

/* What the device refuses shows: a board of another shape is not used, and what is no program never ends. */
static void test_refused(void **state) {
    (void)state;
    hd_err err = {0};
    hd_device *device = NULL;
    result r;
    link_board_reset(&board);
    hd_geometry other;
    assert_int_equal(hd_geometry_parse(&other, "4x4x8x2", &err), HD_OK);
    assert_int_equal(hd_driver_ref.open(&board.device, &other, NULL, &err), HD_OK);
    board.driver = &hd_driver_ref;
    hd_device_options o = {.usb_fd = usbfs_plug(USBFS_NATIVE, &board, 1), .run_limit_ms = 300};
    result_make(&r);
    assert_int_equal(infer(&r, &hd_driver_usb, &o, &err), HD_MISMATCH);
    if (!strstr(err.message, "4x4x8x2") || !strstr(err.message, shape)) fail_msg("%s", err.message);
    result_free(&r);
    o.usb_fd = usbfs_plug(USBFS_NATIVE, &board, 1);
    assert_int_equal(hd_driver_usb.open(&device, NULL, &o, &err), HD_OK);
    const uint32_t no_descriptor[HD_DESC_WORDS] = {UINT32_MAX};
    assert_int_equal(hd_driver_usb.write(device, HD_SPACE_DESC, 0, no_descriptor, HD_DESC_WORDS, &err), HD_OK);
    assert_int_equal(board.refused_by_device, 0);
    assert_int_equal(hd_driver_usb.run(device, 0, &err), HD_DEVICE);
    if (!strstr(err.message, "did not end")) fail_msg("%s", err.message);
    assert_int_equal(board.refused_by_device, 1);
    hd_driver_usb.close(device);
}

int main(void) {
    hd_err err = {0};
    hd_status s = prepare(&err);
    if (s) fprintf(stderr, "%s%s\n", s == HD_IO ? "skipped: " : "", err.message);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_expected), cmocka_unit_test_teardown(test_without_faults, unplug), cmocka_unit_test_teardown(test_with_faults, unplug),
                                       cmocka_unit_test_teardown(test_refused, unplug)};
    int rc = s == HD_IO ? 77 : s ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
    result_free(&expected);
    free(input);
    hd_program_free(program);
    hd_model_free(model);
    return rc;
}
