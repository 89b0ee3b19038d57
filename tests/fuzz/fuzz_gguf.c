/* A GGUF file: the model, and the tokenizer inside. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hd_llama *m = NULL;
    hd_tokenizer *t = NULL;
    hd_err err = {0};
    int vocab = 300;
    if (FUZZ_GOOD(hd_import_gguf_memory(&m, data, size, "fuzz.gguf", &err), &err, m)) {
        vocab = m->vocab;
        fuzz_run_llama(m);
    }
    err = (hd_err){0};
    if (FUZZ_GOOD(hd_tokenizer_load_gguf(&t, fuzz_file(0, data, size), vocab, &err), &err, t)) fuzz_run_tokenizer(t, vocab, "a \xe2\x96\x81 ab\xc3\xa9\xff");
    hd_tokenizer_free(t);
    hd_llama_free(m);
    return 0;
}
