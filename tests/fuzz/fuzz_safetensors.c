/* A model as Hugging Face keeps it. The input is config.json up to the first zero byte, then the .safetensors file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

static char folder[] = "/tmp/heddle-fuzz-XXXXXX", config[64], tensors[64];

static void remove_links(void) {
    unlink(config);
    unlink(tensors);
    rmdir(folder);
}

/* The reader wants both files in one folder: links to files in memory. */
static void make_links(const char *to_config, const char *to_tensors) {
    static char linked[2][32];
    if (!*config) {
        fuzz_expect(mkdtemp(folder) != NULL, "%s cannot be made", folder);
        snprintf(config, sizeof config, "%s/config.json", folder);
        snprintf(tensors, sizeof tensors, "%s/model.safetensors", folder);
        snprintf(linked[0], sizeof linked[0], "%s", to_config);
        snprintf(linked[1], sizeof linked[1], "%s", to_tensors);
        fuzz_expect(!symlink(to_config, config) && !symlink(to_tensors, tensors), "no links in %s", folder);
        atexit(remove_links);
    }
    fuzz_expect(!strcmp(linked[0], to_config) && !strcmp(linked[1], to_tensors), "other files in memory");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *zero = memchr(data, 0, size);
    size_t n = zero ? (size_t)(zero - data) : size, rest = zero ? n + 1 : size;
    hd_llama *m = NULL;
    hd_err err = {0};
    make_links(fuzz_file(0, data, n), fuzz_file(1, data + rest, size - rest));
    if (FUZZ_GOOD(hd_import_safetensors(&m, tensors, &err), &err, m)) fuzz_run_llama(m);
    hd_llama_free(m);
    return 0;
}
