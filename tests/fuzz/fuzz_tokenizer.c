/* A tokenizer of llama2.c. The first two bytes are the vocabulary's size over 259 and the length of a text to encode, which comes before the file. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    int vocab = 259 + data[0];
    size_t n = data[1] < size - 2 ? data[1] : size - 2;
    hd_tokenizer *t = NULL;
    hd_err err = {0};
    char *text = malloc(n + 1);
    fuzz_expect(text != NULL, "out of memory");
    memcpy(text, data + 2, n);
    text[n] = 0;
    if (FUZZ_GOOD(hd_tokenizer_memory(&t, data + 2 + n, size - 2 - n, "fuzz.bin", vocab, &err), &err, t)) fuzz_run_tokenizer(t, vocab, text);
    hd_tokenizer_free(t);
    free(text);
    return 0;
}
