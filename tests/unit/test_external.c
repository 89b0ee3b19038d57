/* Weights from external memory: the image holds the program's entries, layers stay in the ring, what is wrong is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../sw/runtime/runtime.h"
#include "../support/random_model.h"

#define PATH HD_BINARY_DIR "/test_external.hdp"

static hd_status lower(hd_program **out, uint64_t seed, const char *geometry, const char *memory, hd_err *err) {
    hd_model *m = NULL;
    hd_geometry g;
    hd_status st = hd_random_model(&m, seed, err);
    if (!st) st = hd_geometry_parse(&g, geometry, err);
    if (!st) st = hd_geometry_memory(&g, memory, err);
    if (!st) st = hd_lower(out, m, &g, NULL, err);
    hd_model_free(m);
    return st;
}

static hd_program *program_of(uint64_t seed, const char *memory) {
    hd_program *p = NULL;
    hd_err err = {0};
    if (lower(&p, seed, "4x8x8x2", memory, &err)) fail_msg("seed %d: %s", (int)seed, err.message);
    return p;
}

static uint32_t bits(uint32_t word, unsigned low, unsigned n) {
    return word >> low & ((1u << n) - 1);
}

/* The page's grammar, read word by word. */
static void image(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        hd_program *p = program_of(seed, "extern=18,mhz=50"), *q = NULL;
        uint32_t at = 0, entry = 0;
        for (uint32_t head; (head = p->external[at++]) != 0;) {
            assert_int_equal(bits(head, 0, 4), 1);
            assert_int_equal(bits(head, 28, 4), 0);
            uint32_t n = bits(head, 4, 24), pair = 0;
            for (uint32_t i = 0; i < n; i++, entry++) {
                if (i % 2 == 0) pair = p->external[at++];
                assert_int_equal(i % 2 ? pair >> 16 : pair & 0xffff, p->index[entry]);
                for (int k = 0; k < 4; k++) assert_int_equal(p->external[at++], p->weight[entry * 4 + (uint32_t)k]);
            }
            if (n % 2) assert_int_equal(pair >> 16, 0);
        }
        assert_int_equal(at, p->n_extern);
        assert_int_equal(entry, p->n_stream);
        hd_err err = {0};
        if (hd_program_save(p, PATH, &err) || hd_program_load(&q, PATH, &err)) fail_msg("%s", err.message);
        assert_memory_equal(&p->geometry, &q->geometry, sizeof p->geometry);
        assert_int_equal(p->n_extern, q->n_extern);
        assert_memory_equal(p->external, q->external, p->n_extern * 4);
        hd_program_free(p);
        hd_program_free(q);
    }
    unlink(PATH);
}

/* Outputs do not change when the weights come through a ring, however small; layers are cut when it asks for it. */
static void ring(void **state) {
    (void)state;
    static const char *const memories[] = {"stream=4096", "extern=18,mhz=50,stream=4096", "extern=18,mhz=133,stream=64", "extern=18,mhz=16,stream=16"};
    unsigned cut = 0, refused = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        int8_t *out[4] = {0};
        uint32_t descriptors = 0;
        for (int k = 0; k < 4; k++) {
            hd_program *p = NULL;
            hd_session *s = NULL;
            hd_err err = {0};
            hd_status st = lower(&p, seed, "4x8x8x2", memories[k], &err);
            if (st == HD_NOFIT && k >= 2) {
                assert_non_null(strstr(err.message, "stream words for one pass of a slice"));
                refused++;
                continue;
            }
            if (st || hd_session_open(&s, p, &hd_driver_ref, NULL, &err)) fail_msg("seed %d: %s", (int)seed, err.message);
            size_t n_in = (size_t)p->input.h * p->input.w * p->input.c, n_out = (size_t)p->output.h * p->output.w * p->output.c;
            int8_t *in = malloc(n_in);
            out[k] = malloc(n_out);
            assert_non_null(in);
            assert_non_null(out[k]);
            for (size_t i = 0; i < n_in; i++) in[i] = (int8_t)(i * 37 + seed);
            if (hd_session_run(s, in, out[k], &err)) fail_msg("seed %d: %s", (int)seed, err.message);
            if (k == 0) descriptors = p->n_desc;
            cut += p->n_desc > descriptors;
            if (k && out[0]) assert_memory_equal(out[0], out[k], n_out);
            for (uint32_t i = 0; i < p->n_desc; i++) {
                const uint32_t *d = p->desc + i * HD_DESC_WORDS;
                if (hd_field_get(d, HD_F_OPCODE) == HD_OP_CONV && hd_field_get(d, HD_F_PASSES) > 1)
                    assert_true(hd_field_get(d, HD_F_STREAM_LAST) - hd_field_get(d, HD_F_STREAM_FIRST) < p->geometry.stream_words || !p->geometry.extern_log2);
            }
            free(in);
            hd_session_close(s);
            hd_program_free(p);
        }
        for (int k = 0; k < 4; k++) free(out[k]);
    }
    assert_true(cut >= 3);
    assert_true(refused >= 3);
}

static void expect(hd_program *p, const char *message) {
    hd_err err = {0};
    if (hd_program_check(p, &err) != HD_FORMAT) fail_msg("accepted: %s", message);
    assert_string_equal(err.message, message);
    hd_program_free(p);
}

static void refusals(void **state) {
    (void)state;
    char text[160];
    hd_program *p;
#define FRESH p = program_of(2, "extern=18,mhz=50")
    FRESH;
    p->external[2] ^= 1;
    snprintf(text, sizeof text, "external memory, word 2: weights 0x%08x; expected 0x%08x", p->external[2], p->external[2] ^ 1);
    expect(p, text);
    FRESH;
    p->external[1] ^= 1u << 20;
    snprintf(text, sizeof text, "external memory, word 1: index entries 0x%08x; expected 0x%08x", p->external[1], p->external[1] ^ 1u << 20);
    expect(p, text);
    FRESH;
    p->external[0] |= 1u << 31;
    snprintf(text, sizeof text, "external memory, word 0: header 0x%08x; expected 0x%08x", p->external[0], p->external[0] & ~(1u << 31));
    expect(p, text);
    FRESH;
    p->external[0] = 0;
    snprintf(text, sizeof text, "external memory ends after 0 entries and 1 words; the program has %u and %u", p->n_stream, p->n_extern);
    expect(p, text);
    FRESH;
    p->n_extern--;
    snprintf(text, sizeof text, "external memory: %u words without a segment END", p->n_extern);
    expect(p, text);
    p = program_of(8, "extern=18,mhz=50"); /* a tile of many entries: it is one without the first, too */
    hd_field_set(p->desc, HD_F_STREAM_FIRST, 1);
    expect(p, "descriptor 0: STREAM_FIRST 1; with external memory the entries follow each other, 0");
    p = program_of(8, "extern=18,mhz=50");
    p->geometry.stream_words = 16;
    expect(p, "descriptor 1: 50 stream entries in 4 passes; the ring has 16");
    FRESH;
    p->n_stream++;
    snprintf(text, sizeof text, "%u stream entries; the descriptors have %u", p->n_stream, p->n_stream - 1);
    expect(p, text);
    FRESH;
    p->geometry.extern_log2 = p->geometry.extern_mhz = 0;
    p->geometry.stream_words = 4096;
    snprintf(text, sizeof text, "%u words of external memory; a geometry with extern=0 has none", p->n_extern);
    expect(p, text);
#undef FRESH
    hd_err err = {0};
    p = NULL;
    assert_int_equal(lower(&p, 8, "4x8x8x2", "extern=10,mhz=50", &err), HD_NOFIT);
    assert_non_null(strstr(err.message, "words of external memory; extern=10 has 1024"));
    /* A memory that nobody wrote has no end. */
    hd_geometry g;
    hd_device *d;
    assert_int_equal(hd_geometry_parse(&g, "4x8x8x2", &err), HD_OK);
    assert_int_equal(hd_geometry_memory(&g, "extern=18", &err), HD_OK);
    assert_int_equal(g.extern_mhz, 50);
    assert_int_equal(g.stream_words, 1024);
    assert_int_equal(hd_driver_ref.open(&d, &g, NULL, &err), HD_OK);
    assert_int_equal(hd_driver_ref.run(d, 0, &err), HD_DEVICE);
    assert_string_equal(err.message, "ref: external memory, word 0: no segment END");
    uint32_t word = 5, back = 0;
    assert_int_equal(hd_driver_ref.write(d, HD_SPACE_WEIGHT, 77, &word, 1, &err), HD_OK);
    assert_int_equal(hd_driver_ref.read(d, HD_SPACE_WEIGHT, 77, &back, 1, &err), HD_OK);
    assert_int_equal(back, 5);
    assert_int_equal(hd_driver_ref.write(d, HD_SPACE_INDEX, 0, &word, 1, &err), HD_RANGE);
    hd_driver_ref.close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(image), cmocka_unit_test(ring), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
