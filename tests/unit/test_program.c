/* .hdp files: what is saved comes back, and nothing that a hostile file can say gets past the checker to hang or break a device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "../../sw/core/file.h"
#include "../../sw/runtime/runtime.h"
#include "../support/random_model.h"

#define PATH HD_BINARY_DIR "/test_program.hdp"

static hd_program *program_of(uint64_t seed, const char *geometry) {
    hd_model *m = NULL;
    hd_program *p = NULL;
    hd_geometry g;
    hd_err err = {0};
    hd_status st = hd_random_model(&m, seed, &err);
    if (!st) st = hd_geometry_parse(&g, geometry, &err);
    if (!st) st = hd_geometry_memory(&g, "act=4096,window=128,stream=4096,param=256,descriptors=16", &err);
    if (!st) st = hd_lower(&p, m, &g, NULL, &err);
    if (st) fail_msg("seed %llu: %s", (unsigned long long)seed, err.message);
    hd_model_free(m);
    return p;
}

static void read_back(void **state) {
    (void)state;
    static const char *const geometries[] = {"2x2x4x1", "3x7x8x2", "8x4x16x2"};
    for (uint64_t seed = 1; seed <= 12; seed++) {
        hd_program *p = program_of(seed, geometries[seed % 3]), *q = NULL;
        hd_err err = {0};
        if (hd_program_save(p, PATH, &err) || hd_program_load(&q, PATH, &err)) fail_msg("%s", err.message);
        assert_memory_equal(&p->geometry, &q->geometry, sizeof p->geometry);
        assert_memory_equal(&p->input, &q->input, sizeof p->input);
        assert_memory_equal(&p->output, &q->output, sizeof p->output);
        assert_string_equal(p->model, q->model);
        assert_int_equal(p->n_desc, q->n_desc);
        assert_memory_equal(p->desc, q->desc, p->n_desc * HD_DESC_WORDS * 4);
        assert_int_equal(p->n_stream, q->n_stream);
        for (uint32_t i = 0; i < p->n_stream; i++) assert_int_equal(p->index[i], q->index[i]);
        for (uint32_t i = 0; i < p->n_stream * hd_geometry_weight_words(&p->geometry); i++) assert_int_equal(p->weight[i], q->weight[i]);
        assert_int_equal(p->n_param, q->n_param);
        assert_int_equal(p->n_table, q->n_table);
        assert_int_equal(p->n_layers, q->n_layers);
        for (uint32_t i = 0; i < p->n_layers; i++) {
            assert_string_equal(p->layer[i].name, q->layer[i].name);
            assert_int_equal(p->layer[i].useful_ops, q->layer[i].useful_ops);
            assert_int_equal(p->layer[i].blocks_present, q->layer[i].blocks_present);
        }
        hd_program_free(p);
        hd_program_free(q);
    }
    unlink(PATH);
}

/* ---- mutations of files ---- */

static uint8_t *saved(const hd_program *p, size_t *size) {
    hd_err err = {0};
    uint8_t *data = NULL;
    if (hd_program_save(p, PATH, &err) || hd_file_read(&data, size, PATH, 1 << 24, 0, &err)) fail_msg("%s", err.message);
    return data;
}

/* Writes the file with a correct size and checksum, so that the parser behind the container sees it. */
static void write_file(uint8_t *data, size_t size) {
    uint32_t head[2] = {(uint32_t)(size - 16), (uint32_t)crc32(0, data + 16, (uInt)(size - 16))};
    for (int i = 0; i < 8; i++) data[8 + i] = (uint8_t)(head[i / 4] >> (8 * (i % 4)));
    unlink(PATH); /* overwriting in place would make the file system flush each version */
    FILE *f = fopen(PATH, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

static hd_status load_and_run(int *ran) {
    hd_program *p = NULL;
    hd_session *s = NULL;
    hd_err err = {0};
    hd_status st = hd_program_load(&p, PATH, &err);
    if (st) {
        assert_true(strlen(err.message) > sizeof PATH);
        return st;
    }
    st = hd_session_open(&s, p, &hd_driver_ref, NULL, &err);
    if (st) fail_msg("checked program refused: %s", err.message);
    size_t n_in = (size_t)p->input.h * p->input.w * p->input.c, n_out = (size_t)p->output.h * p->output.w * p->output.c;
    int8_t *in = calloc(n_in, 1), *out = calloc(n_out, 1);
    /* The ref device reports whatever would hang the hardware or leave its memories; a checked program must never do that. */
    if (in && out && hd_session_run(s, in, out, &err)) fail_msg("checked program failed: %s", err.message);
    free(in);
    free(out);
    hd_session_close(s);
    hd_program_free(p);
    ++*ran;
    return HD_OK;
}

static void mutations(void **state) {
    (void)state;
    int ran = 0, refused = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        hd_program *p = program_of(seed * 7, seed % 2 ? "2x2x4x1" : "3x7x8x2");
        size_t size;
        uint8_t *data = saved(p, &size), *copy = malloc(size);
        assert_non_null(copy);
        hd_program_free(p);
        hd_rng rng;
        hd_rng_seed(&rng, seed, 5);
        for (int i = 0; i < 700; i++) {
            memcpy(copy, data, size);
            /* Headers, descriptors and counts are near the start: aim there half of the time. */
            size_t reach = i % 2 && size > 1000 ? 1000 : size - 16;
            int n = 1 + (int)hd_rng_below(&rng, 3);
            for (int k = 0; k < n; k++) {
                size_t at = 16 + hd_rng_below(&rng, (uint32_t)reach);
                if (at >= size) continue;
                switch (hd_rng_below(&rng, 4)) {
                case 0: copy[at] ^= (uint8_t)(1u << hd_rng_below(&rng, 8)); break;
                case 1: copy[at] = (uint8_t)hd_rng_u32(&rng); break;
                case 2: copy[at] = 0xff; break;
                default: copy[at] = 0; break;
                }
            }
            write_file(copy, size);
            if (load_and_run(&ran)) refused++;
        }
        free(data);
        free(copy);
    }
    unlink(PATH);
    assert_true(ran > 100 && refused > 500);
}

/* Where the counts of a file stand, and what follows its layers' first name. */
enum { GEOMETRY, MODEL, DESCRIPTORS, STREAM, WEIGHTS, EXTERNAL, PARAMETERS, TABLES, LAYERS, NAME, NUMBERS, END, PLACES };

static void places(const hd_program *p, size_t *at) {
    size_t pairs = hd_geometry_pairs(&p->geometry), words = hd_geometry_weight_words(&p->geometry);
    at[GEOMETRY] = 16 + 4;
    at[MODEL] = at[GEOMETRY] + 18 * 2 + 6 * 4;
    at[DESCRIPTORS] = at[MODEL] + 2 + strlen(p->model) + 2 + strlen(p->board) + 53 + 28; /* the ports of input and output */
    at[STREAM] = at[DESCRIPTORS] + 4 + (size_t)p->n_desc * HD_DESC_WORDS * 4;
    at[WEIGHTS] = at[STREAM] + 4 + (size_t)p->n_stream * 2 * (1 + pairs);
    at[EXTERNAL] = at[WEIGHTS] + 4 + (size_t)p->n_stream * words * 4;
    at[PARAMETERS] = at[EXTERNAL] + 4;
    at[TABLES] = at[PARAMETERS] + 4 + (size_t)p->n_param * 8;
    at[LAYERS] = at[TABLES] + 4 + (size_t)p->n_table * 256;
    at[NAME] = at[LAYERS] + 4;
    at[NUMBERS] = at[NAME] + 2 + strlen(p->layer[0].name);
    at[END] = at[NUMBERS] + 37;
}

/* Seed 12 on 2x2x4x1, one layer: the file ends somewhere (`cut` bytes behind a place), or has another number there. */
static void bent_files(void **state) {
    (void)state;
    enum { CUT, SET };
    static const struct { int place, how; uint32_t n; const char *message; } rows[] = {
        {GEOMETRY, CUT, 10, "the file ends within the geometry"},
        {MODEL, CUT, 3, "broken model or board name"},
        {MODEL, SET, 0xffff, "broken model or board name"},
        {DESCRIPTORS, CUT, 0, "descriptors: the file ends before their number"},
        {DESCRIPTORS, SET, 100000, "descriptors: 100000 of 96 bytes; the file has 9320 bytes left"},
        {STREAM, CUT, 0, "stream entries: the file ends before their number"},
        {STREAM, SET, 100000, "stream entries: 100000 of 2 bytes; the file has 9124 bytes left"},
        {WEIGHTS, CUT, 0, "weight words: the file ends before their number"},
        {WEIGHTS, SET, 100000, "weight words: 100000 of 4 bytes; the file has 6276 bytes left"},
        {WEIGHTS, SET, 1, "1 weight words; 1422 entries need 1422"},
        {EXTERNAL, CUT, 0, "words of external memory: the file ends before their number"},
        {EXTERNAL, SET, 100000, "words of external memory: 100000 of 4 bytes; the file has 584 bytes left"},
        {PARAMETERS, CUT, 0, "parameters: the file ends before their number"},
        {PARAMETERS, SET, 100000, "parameters: 100000 of 8 bytes; the file has 580 bytes left"},
        {TABLES, CUT, 0, "tables: the file ends before their number"},
        {TABLES, SET, 100000, "tables: 100000 of 256 bytes; the file has 304 bytes left"},
        {LAYERS, CUT, 0, "layers: the file ends before their number"},
        {LAYERS, SET, 100000, "layers: 100000 of 39 bytes; the file has 44 bytes left"},
        {NAME, SET, 0xffff, "layer 0: broken name"},
        {END, CUT, 0, ""},
        {END, CUT, UINT32_MAX, "the file ends within the layers"},
        {END, CUT, 3, "3 bytes after the layers; allowed 0"},
    };
    hd_program *p = program_of(12, "2x2x4x1"), *q;
    size_t size, at[PLACES];
    uint8_t *data = saved(p, &size), *copy = calloc(1, size + 16);
    assert_non_null(copy);
    places(p, at);
    assert_int_equal(at[END], size);
    hd_program_free(p);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        size_t place = at[rows[k].place];
        hd_err err = {0};
        char want[sizeof PATH + 160] = "";
        memcpy(copy, data, size);
        for (int b = 0; rows[k].how == SET && b < (rows[k].n > 0xffff ? 4 : 2); b++) copy[place + (size_t)b] = (uint8_t)(rows[k].n >> 8 * b);
        write_file(copy, rows[k].how == SET ? size : place + (size_t)(int32_t)rows[k].n);
        hd_status s = hd_program_load(&q, PATH, &err);
        if (rows[k].message[0]) snprintf(want, sizeof want, "%s: %s", PATH, rows[k].message);
        assert_string_equal(err.message, want);
        assert_int_equal(s, rows[k].message[0] ? HD_FORMAT : HD_OK);
        hd_program_free(q);
    }
    free(copy);
    free(data);
    unlink(PATH);
}

static void truncations(void **state) {
    (void)state;
    hd_program *p = program_of(3, "2x2x4x1");
    size_t size;
    int ran = 0;
    uint8_t *data = saved(p, &size);
    hd_program_free(p);
    for (size_t n = 16; n < size; n += n < 600 ? 1 : 97) {
        write_file(data, n);
        assert_int_not_equal(load_and_run(&ran), HD_OK);
    }
    free(data);
    unlink(PATH);
}

/* ---- golden messages ---- */

static void set(hd_program *p, uint32_t desc, hd_field f, int64_t v) {
    hd_field_set(p->desc + desc * HD_DESC_WORDS, f, v);
}

static void expect(hd_program *p, const char *message) {
    hd_err err = {0};
    assert_int_equal(hd_program_check(p, &err), HD_FORMAT);
    assert_string_equal(err.message, message);
    hd_program_free(p);
}

/* Seed 12 on 2x2x4x1: one convolution. */
static void messages(void **state) {
    (void)state;
    hd_program *p;
#define FRESH (p = program_of(12, "2x2x4x1"))
    FRESH;
    set(p, 0, HD_F_IN_START, 4000);
    hd_err err = {0};
    assert_int_equal(hd_program_check(p, &err), HD_FORMAT);
    assert_non_null(strstr(err.message, "descriptor 0: input's end "));
    hd_program_free(p);
    FRESH;
    set(p, 0, HD_F_OPCODE, 9);
    expect(p, "descriptor 0: opcode 9; allowed up to 2");
    FRESH;
    set(p, 0, HD_F_OPCODE, HD_OP_END);
    expect(p, "descriptor 0: opcode 0; END is the last of 2 descriptors");
    FRESH;
    set(p, 1, HD_F_OPCODE, HD_OP_MAXPOOL);
    assert_int_equal(hd_program_check(p, NULL), HD_FORMAT);
    hd_program_free(p);
    FRESH;
    p->desc[0] |= 1u << 30;
    assert_int_equal(hd_program_check(p, &err), HD_FORMAT);
    assert_non_null(strstr(err.message, "descriptor 0: word 0 is 0x4"));
    hd_program_free(p);
    FRESH;
    set(p, 0, HD_F_KW, 0);
    expect(p, "descriptor 0: KW 0; allowed from 1");
    FRESH;
    set(p, 0, HD_F_STREAM_LAST, p->n_stream);
    char text[128];
    snprintf(text, sizeof text, "descriptor 0: STREAM_LAST %u; allowed up to %u", p->n_stream, p->n_stream - 1);
    expect(p, text);
    FRESH;
    p->index[p->n_stream - 1] = (uint16_t)(p->index[p->n_stream - 1] & ~(1u << HD_I_FINAL.lsb));
    snprintf(text, sizeof text, "descriptor 0: stream entry %u has LAST 1, FINAL 0; FINAL belongs to the last entry, with LAST", p->n_stream - 1);
    expect(p, text);
    FRESH;
    p->index[0] |= 1u << 14;
    assert_int_equal(hd_program_check(p, &err), HD_FORMAT);
    assert_non_null(strstr(err.message, "bit 14 must be 0"));
    hd_program_free(p);
    FRESH;
    set(p, 0, HD_F_OUT_START, 4095);
    assert_int_equal(hd_program_check(p, &err), HD_FORMAT);
    assert_non_null(strstr(err.message, "descriptor 0: output's end "));
    hd_program_free(p);
    FRESH;
    set(p, 0, HD_F_PARAM_FIRST, 1);
    snprintf(text, sizeof text, "descriptor 0: parameters' end %u; allowed up to %u", p->n_param + 1, p->n_param);
    expect(p, text);
    FRESH;
    p->param[1] = 0;
    expect(p, "descriptor 0: parameter 0 has shift 0; allowed 1..47");
    FRESH;
    p->input.address = 4090;
    assert_int_equal(hd_program_check(p, &err), HD_FORMAT);
    assert_non_null(strstr(err.message, "words at 4090; the activation memory has 4096"));
    hd_program_free(p);
    FRESH;
    p->layer[0].n_desc = 2;
    expect(p, "layer 0: descriptors 0 and 2 more; expected from 0, 1 in all");
    FRESH;
    p->output.zero = 200;
    expect(p, "output: zero point 200; allowed -128..127");
#undef FRESH
}

/* One field at a time, on a program that uses residuals (seed 4, first layer: 3 x 3 window, 2 words a pixel, 8 columns a tile). */
static void fields(void **state) {
    (void)state;
    static const struct {
        hd_field f;
        int64_t v;
        const char *message;
    } bad[] = {
        {HD_F_SX, 4, "descriptor 0: SX without SINGLE 4; allowed up to 3"},
        {HD_F_DX, 2, "descriptor 0: DX without SINGLE 2; allowed 1"},
        {HD_F_COL_STEP, 0, "descriptor 0: COL_STEP 0; allowed from 1"},
        {HD_F_POS_STEP, 7, "descriptor 0: POS_STEP 7; allowed 2"},
        {HD_F_NCB, 3, "descriptor 0: words read of a pixel 3; allowed up to 2"},
        {HD_F_IX0, 32000, NULL},
        {HD_F_IN_H, 40000, "descriptor 0: IN_H 40000; allowed up to 32767"},
        {HD_F_OUT_W, 5, "descriptor 0: POSITIONS 84; allowed multiples of OUT_W 5"},
        {HD_F_PASSES, 20, "descriptor 0: PASSES 20; allowed 21"},
        {HD_F_PASS_STEP, 2, "descriptor 0: PASS_STEP 2; allowed 8"},
        {HD_F_CPC, 0, "descriptor 0: CPC 0; allowed from 1"},
        {HD_F_TILE_COLS, 9, "descriptor 0: TILE_COLS 9; allowed up to 8"},
        {HD_F_LAST_COLS, 0, "descriptor 0: LAST_COLS 0; allowed from 1"},
        {HD_F_LAST_COLS, 3, "descriptor 0: columns of all tiles 11; allowed 12"},
        {HD_F_CPC, 3, "descriptor 0: NCH 12; allowed 10"},
        {HD_F_NCH, 9, "descriptor 0: NCH 9; allowed 12"},
        {HD_F_RES_N, 1, "descriptor 0: RES_N 1; allowed 2"},
        {HD_F_RES_TILES, 2, "descriptor 0: TILE_COLS * RES_TILES 16; allowed 8"},
        {HD_F_RESIDUAL, 0, "descriptor 0: RES_N without RESIDUAL 2; allowed 0"},
        {HD_F_RES_START, 4095, "descriptor 0: residual's end 4263; allowed up to 4096"},
        {HD_F_RES_ADD, INT32_MAX, "descriptor 0: largest residual product 2153778275; allowed up to 2147483647"},
        {HD_F_OUT_STRIDE, 1, NULL},
        {HD_F_CLAMP_LO, 127, NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hd_program *p = program_of(4, "4x8x8x2");
        hd_err err = {0};
        if (hd_field_get(p->desc, HD_F_CLAMP_HI) == 127 && bad[i].f.lsb == HD_F_CLAMP_LO.lsb && bad[i].f.word == HD_F_CLAMP_LO.word)
            set(p, 0, HD_F_CLAMP_HI, 100);
        set(p, 0, bad[i].f, bad[i].v);
        assert_int_equal(hd_program_check(p, &err), HD_FORMAT);
        if (bad[i].message) assert_string_equal(err.message, bad[i].message);
        hd_program_free(p);
    }
    /* Tiles that split a channel of three columns. */
    hd_program *p = program_of(8, "4x8x8x2");
    uint32_t last = p->n_desc - 2;
    hd_err err = {0};
    assert_int_equal(hd_field_get(p->desc + last * HD_DESC_WORDS, HD_F_CPC), 3);
    set(p, last, HD_F_TILE_COLS, 7);
    assert_int_equal(hd_program_check(p, &err), HD_FORMAT);
    assert_non_null(strstr(err.message, "TILE_COLS modulo CPC 1; allowed 0"));
    hd_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(read_back), cmocka_unit_test(messages), cmocka_unit_test(fields), cmocka_unit_test(truncations), cmocka_unit_test(bent_files), cmocka_unit_test(mutations)};
    return cmocka_run_group_tests_name("program", tests, NULL, NULL);
}
