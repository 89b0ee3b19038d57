/* The tokenizer: merges by score, bytes as a last resort, text back from tokens, exact refusals, mutated files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../compiler/graph/llama.h"
#include "../../sw/core/bytes.h"
#include "../../sw/core/file.h"
#include "../../sw/core/rng.h"

enum { PIECES = 10, VOCAB = 3 + 256 + PIECES };

static char path[64];

/* 0..2 specials, 3..258 bytes, then pieces; "ab" scores above "bc". */
static void make_file(hd_writer *w) {
    static const struct {
        const char *text;
        float score;
    } piece[PIECES] = {{" ", 0}, {"a", 0}, {"b", 0}, {"c", 0}, {"ab", 5}, {"bc", 3}, {"abc", 4}, {" a", 1}, {"\xc3\xa9", 0}, {"cc", 4}};
    *w = (hd_writer){0};
    hd_put_u32(w, 8);
    for (int i = 0; i < VOCAB; i++) {
        char text[16];
        float score = 0;
        if (i < 3) snprintf(text, sizeof text, "%s", i == 0 ? "<unk>" : i == 1 ? "\n<s>\n" : "\n</s>\n");
        else if (i < 259) snprintf(text, sizeof text, "<0x%02X>", i - 3);
        else snprintf(text, sizeof text, "%s", piece[i - 259].text), score = piece[i - 259].score;
        hd_put_f32(w, score);
        hd_put_u32(w, (uint32_t)strlen(text));
        hd_put_bytes(w, text, strlen(text));
    }
}

static hd_tokenizer *load(void) {
    hd_writer w;
    hd_tokenizer *t;
    hd_err err = {0};
    make_file(&w);
    assert_int_equal(hd_file_write(path, w.data, w.size, &err), HD_OK);
    if (hd_tokenizer_load(&t, path, VOCAB, &err)) fail_msg("%s", err.message);
    hd_writer_free(&w);
    return t;
}

static void encodes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int n;
        int16_t token[8];
    } row[] = {
        {"", 1, {1}},
        {"bc", 3, {1, 259, 264}},
        /* " abc": "ab" (5) before " a" (1) and "bc" (3), then "abc" (4). */
        {"abc", 3, {1, 259, 265}},
        {"ac", 3, {1, 266, 262}},
        /* Of equal merges the first. */
        {"ccc", 4, {1, 259, 268, 262}},
        /* A character that is a token, and one that is not: its bytes. */
        {"\xc3\xa9\xc3\xa8", 5, {1, 259, 267, 3 + 0xc3, 3 + 0xa8}},
        {"x", 3, {1, 259, 3 + 'x'}},
    };
    hd_tokenizer *t = load();
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        int16_t token[8];
        hd_err err = {0};
        int n = hd_tokenizer_encode(t, row[i].text, token, 8, &err);
        if (n != row[i].n || memcmp(token, row[i].token, (size_t)n * sizeof *token)) fail_msg("'%s': %d tokens, the last %d", row[i].text, n, n > 0 ? token[n - 1] : -1);
        /* Back: everything but the space in front. */
        char text[64];
        size_t size = 0;
        for (int k = 1; k < n; k++) {
            size_t length;
            const char *piece = hd_tokenizer_piece(t, token[k - 1], token[k], &length);
            memcpy(text + size, piece, length);
            size += length;
        }
        text[size] = 0;
        assert_string_equal(text, row[i].text);
    }
    int16_t token[2];
    hd_err err = {0};
    assert_int_equal(hd_tokenizer_encode(t, "bcbc", token, 2, &err), HD_RANGE);
    assert_string_equal(err.message, "the text has 4 tokens; allowed are 2");
    hd_tokenizer_free(t);
}

static void refuses(const void *data, size_t n, int vocab, hd_status code, const char *message) {
    hd_tokenizer *t;
    hd_err err = {0};
    char want[256];
    assert_int_equal(hd_file_write(path, data, n, &err), HD_OK);
    assert_int_equal(hd_tokenizer_load(&t, path, vocab, &err), code);
    assert_null(t);
    snprintf(want, sizeof want, "%s: %s", path, message);
    assert_string_equal(err.message, want);
}

static void errors(void **state) {
    (void)state;
    hd_writer w;
    make_file(&w);
    refuses(w.data, w.size, 2, HD_RANGE, "a vocabulary of 2; allowed are 3 and more");
    refuses(w.data, w.size, VOCAB + 1, HD_FORMAT, "token 269: the file ends; 270 tokens are expected");
    refuses(w.data, w.size, VOCAB - 1, HD_FORMAT, "10 bytes follow token 267, the last of the vocabulary");
    refuses(w.data, w.size - 1, VOCAB, HD_FORMAT, "token 268: 2 bytes; allowed 0 to 1");
    refuses(w.data, 0, VOCAB, HD_FORMAT, "token 0: the file ends; 269 tokens are expected");
    /* Four tokens: there is none for a byte. */
    hd_tokenizer *t;
    hd_err err = {0};
    size_t size = 4;
    for (int i = 0; i < 4; i++) size += 8 + (size_t)w.data[size + 4];
    int16_t token[4];
    assert_int_equal(hd_tokenizer_memory(&t, w.data, size, "t", 4, &err), HD_OK);
    assert_int_equal(hd_tokenizer_encode(t, "z", token, 4, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "byte 0x20 of the text: the vocabulary of 4 has no token for it");
    hd_tokenizer_free(t);
    memcpy(w.data + 8, "\xff\xff\xff\xff", 4);
    refuses(w.data, w.size, VOCAB, HD_FORMAT, "token 0: 4294967295 bytes; allowed 0 to 3713");
    memcpy(w.data + 4, "\0\0\x80\x7f\5\0\0\0", 8);
    refuses(w.data, w.size, VOCAB, HD_FORMAT, "token 0: its score is not finite");
    hd_writer_free(&w);
}

static void mutated(void **state) {
    (void)state;
    hd_writer w;
    make_file(&w);
    hd_rng rng;
    hd_rng_seed(&rng, 1, 1);
    uint8_t *data = malloc(w.size);
    int good = 0;
    assert_non_null(data);
    for (int k = 0; k < 500; k++) {
        hd_tokenizer *t;
        hd_err err = {0};
        int16_t token[64];
        memcpy(data, w.data, w.size);
        for (int e = 0; e < 2; e++) data[hd_rng_below(&rng, (uint32_t)w.size)] = (uint8_t)hd_rng_below(&rng, k & 1 ? 256 : 12);
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(data, 1, w.size, f), w.size);
        fclose(f);
        if (hd_tokenizer_load(&t, path, VOCAB, &err)) {
            assert_true(err.message[0] != 0);
            continue;
        }
        good++;
        int n = hd_tokenizer_encode(t, "abc cc\n", token, 64, &err);
        for (int i = 1; i < n; i++) {
            size_t length;
            assert_non_null(hd_tokenizer_piece(t, token[i - 1], token[i], &length));
        }
        hd_tokenizer_free(t);
    }
    assert_true(good > 0 && good < 500);
    free(data);
    hd_writer_free(&w);
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/hd_tokenizer_%ld", (long)getpid());
    const struct CMUnitTest tests[] = {cmocka_unit_test(encodes), cmocka_unit_test(errors), cmocka_unit_test(mutated)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
