/* A language model on device usb over an interposed usbfs (usbfs.h): its programs, parameters, descriptors and register START go through driver, libusb, usbfs and link to a board
 * that is the instruction-level model, with and without faults. The loss of a row is that of the same model driven directly, to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../compiler/compress/lm_policy.h"
#include "../../sw/runtime/lm_device.h"
#include "usbfs.h"

enum { TOKENS = 12, STEP = 5, VOCAB = 15 };
static hd_lm *model;
static hd_lm_integer *integer;
static int16_t row[TOKENS + 1];
static link_board board;

static hd_status prepare(hd_err *err) {
    hd_llama sizes = {.dim = 16, .hidden = 20, .layers = 2, .heads = 4, .kv_heads = 2, .vocab = VOCAB, .max_tokens = TOKENS}, *m;
    hd_policy p = {0};
    hd_rng rng;
    hd_rng_seed(&rng, 2, 1);
    hd_status s = hd_llama_new(&m, &sizes, 1, err);
    if (s) return s;
    for (int i = 0; i < VOCAB * sizes.dim; i++) m->embedding[i] = hd_rng_normal(&rng);
    for (int i = 0; i < sizes.dim; i++) m->norm_final[i] = 1;
    for (int l = 0; l < sizes.layers; l++) {
        for (int i = 0; i < sizes.dim; i++) m->layer[l].norm_attention[i] = m->layer[l].norm_ffn[i] = 1;
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            for (int i = 0; i < out * in; i++) m->layer[l].matrix[k][i] = 0.5f * hd_rng_normal(&rng);
        }
    }
    for (int i = 0; i <= TOKENS; i++) row[i] = (int16_t)hd_rng_below(&rng, VOCAB);
    hd_policy_default(&p);
    p.base.structure = HD_SPARSE_UNSTRUCTURED;
    p.base.bits = 4;
    s = hd_lm_compress_policy(&model, m, &p, row, TOKENS + 1, 1, TOKENS, NULL, err);
    if (!s) s = hd_lm_measure_reach(model, row, TOKENS + 1, 1, TOKENS, err);
    if (!s) s = hd_lm_integer_new(&integer, model, err);
    hd_policy_free(&p);
    hd_llama_free(m);
    return s;
}

static int64_t loss(const hd_geometry *g, const hd_driver *driver, const hd_device_options *o, hd_lm_device_use *used) {
    hd_lm_device *d;
    hd_lm_state *s;
    hd_err err = {0};
    int64_t nats = 0;
    if (hd_lm_device_open(&d, integer, g, "", STEP, driver, o, &err)) fail_msg("%s", err.message);
    assert_int_equal(hd_lm_state_new(&s, integer, STEP, hd_lm_device_project, d, &err), HD_OK);
    if (hd_lm_row_nats(s, row, TOKENS, &nats, &err)) fail_msg("%s", err.message);
    hd_lm_device_used(used, d);
    hd_lm_state_free(s);
    hd_lm_device_close(d);
    return nats;
}

static int64_t loss_behind_usb(const hd_geometry *g, enum usbfs_kind kind, uint64_t seed, const usbfs_faults *faults, uint64_t *found) {
    hd_err err = {0};
    hd_lm_device_use used;
    usbfs_remove();
    link_board_reset(&board);
    assert_int_equal(hd_driver_ref.open(&board.device, g, NULL, &err), HD_OK);
    board.driver = &hd_driver_ref;
    board.run_seconds = 1e-4;
    hd_device_options o = {.usb_fd = usbfs_plug(kind, &board, seed), .run_limit_ms = 5000};
    assert_true(o.usb_fd > 0);
    usbfs_set_faults(faults);
    int64_t nats = loss(g, &hd_driver_usb, &o, &used);
    assert_int_equal(board.runs, used.runs);
    assert_int_equal(board.refused_by_device, 0);
    *found += usbfs_look().faults;
    hd_driver_ref.close(board.device);
    board.device = NULL;
    return nats;
}

static void rows_are_the_same_behind_usb(void **state) {
    /* Weights on chip and all else written for each run; in external memory with descriptors and parameters that stay; with those that do not. */
    static const char *const memory[] = {"param=64", "extern=13,mhz=50,stream=64,param=512", "extern=13,mhz=50,stream=64,param=64,descriptors=8"};
    const usbfs_faults none = {0}, some = {.lost_out = 0.03, .corrupt_out = 0.03, .lost_in = 0.01, .corrupt_in = 0.01, .delay = 0.02, .most_delay = 0.05};
    uint64_t faults = 0;
    (void)state;
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++) {
        hd_geometry g;
        hd_err err = {0};
        hd_lm_device_use used;
        uint64_t without = 0;
        assert_int_equal(hd_geometry_parse(&g, "4x8x8x2", &err), HD_OK);
        if (hd_geometry_memory(&g, memory[i], &err)) fail_msg("%s", err.message);
        int64_t want = loss(&g, &hd_driver_ref, NULL, &used);
        assert_true(want > INT64_C(1) << 30); /* a row of random tokens costs more than a nat */
        for (int kind = USBFS_NATIVE; kind <= USBFS_FT231X; kind++) {
            if (loss_behind_usb(&g, (enum usbfs_kind)kind, 1, &none, &without) != want) fail_msg("%s, kind %d: another loss", memory[i], kind);
            for (uint64_t seed = 1; seed < 4; seed++)
                if (loss_behind_usb(&g, (enum usbfs_kind)kind, seed, &some, &faults) != want) fail_msg("%s, kind %d, faults of seed %d: another loss", memory[i], kind, (int)seed);
        }
        assert_int_equal(without, 0);
    }
    assert_true(faults > 20);
}

static int unplug(void **state) {
    (void)state;
    usbfs_remove();
    hd_driver_ref.close(board.device);
    board.device = NULL;
    link_board_free(&board);
    return 0;
}

int main(void) {
    hd_err err = {0};
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(rows_are_the_same_behind_usb, unplug)};
    if (prepare(&err)) print_error("%s\n", err.message);
    int rc = integer ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
    hd_lm_integer_free(integer);
    hd_lm_free(model);
    return rc;
}
