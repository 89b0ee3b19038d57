/* Runs a target without libFuzzer: each file, each file of a folder, each input of a pack (one file that holds many).
 *   TARGET FILE|FOLDER|X.pack.gz ...     runs them and prints how many
 *   TARGET --pack FOLDER X.pack          writes the folder's files, in the order of their content, as one pack
 *   TARGET --unpack X.pack.gz FOLDER     and back, named by a hash of their content
 * FUZZ_VERBOSE=1 prints what was refused and why. A pack is "HDFZ", then for each input its length (32 bits, little-endian) and its bytes. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../../sw/core/bytes.h"
#include "../../sw/core/file.h"
#include "fuzz.h"

typedef struct input {
    uint8_t *data; /* owned; what runs is a copy of its exact size, so that a sanitizer sees a read past its end */
    size_t size;
} input;

typedef struct inputs {
    input *item;
    size_t n;
} inputs;

static const char magic[4] = "HDFZ";

static int fail(const char *path, const char *why) {
    fprintf(stderr, "%s: %s\n", path, why);
    return 1;
}

static void add(inputs *list, const uint8_t *data, size_t size) {
    input *more = realloc(list->item, (list->n + 1) * sizeof *more);
    uint8_t *copy = malloc(size ? size : 1);
    fuzz_expect(more && copy, "out of memory");
    memcpy(copy, data, size);
    list->item = more;
    list->item[list->n++] = (input){copy, size};
}

static int add_file(inputs *list, const char *path) {
    uint8_t *data;
    size_t size;
    hd_err err = {0};
    const char *end = strstr(path, ".pack.gz"); /* other files stay as they are: gzip is an input, too */
    if (hd_file_read(&data, &size, path, 1 << 28, end && !end[8], &err)) return fail(path, err.message);
    hd_reader r = {.data = data, .size = size, .at = sizeof magic};
    int pack = size >= sizeof magic && !memcmp(data, magic, sizeof magic), bad = 0;
    if (!pack) add(list, data, size);
    while (pack && !bad && r.at < r.size) {
        uint32_t n = hd_get_u32(&r);
        const uint8_t *bytes = hd_get_bytes(&r, n);
        if (bytes) add(list, bytes, n);
        else bad = fail(path, "the pack is cut off");
    }
    free(data);
    return bad;
}

static int add_path(inputs *list, const char *path) {
    struct stat st;
    if (stat(path, &st)) return fail(path, "cannot be read");
    if (!S_ISDIR(st.st_mode)) return add_file(list, path);
    struct dirent **entry = NULL;
    int n = scandir(path, &entry, NULL, alphasort), bad = n < 0;
    for (int i = 0; i < n; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, entry[i]->d_name);
        if (!bad && entry[i]->d_name[0] != '.') bad = add_path(list, name);
        free(entry[i]);
    }
    free(entry);
    return bad;
}

static int by_content(const void *a, const void *b) {
    const input *x = a, *y = b;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    return memcmp(x->data, y->data, x->size);
}

static int write_pack(inputs *list, const char *path) {
    hd_writer w = {0};
    hd_err err = {0};
    if (list->n) qsort(list->item, list->n, sizeof *list->item, by_content);
    hd_put_bytes(&w, magic, sizeof magic);
    for (size_t i = 0; i < list->n; i++) {
        if (i && !by_content(&list->item[i - 1], &list->item[i])) continue;
        hd_put_u32(&w, (uint32_t)list->item[i].size);
        hd_put_bytes(&w, list->item[i].data, list->item[i].size);
    }
    int bad = w.failed ? fail(path, "out of memory") : hd_file_write(path, w.data, w.size, &err) ? fail(path, err.message) : 0;
    hd_writer_free(&w);
    return bad;
}

static int write_files(const inputs *list, const char *folder) {
    hd_err err = {0};
    mkdir(folder, 0777);
    for (size_t i = 0; i < list->n; i++) {
        char path[4096];
        uint64_t h = 0xcbf29ce484222325ull; /* FNV-1a */
        for (size_t k = 0; k < list->item[i].size; k++) h = (h ^ list->item[i].data[k]) * 0x100000001b3ull;
        snprintf(path, sizeof path, "%s/%016llx", folder, (unsigned long long)h);
        if (hd_file_write(path, list->item[i].data, list->item[i].size, &err)) return fail(path, err.message);
    }
    return 0;
}

static void run_all(const inputs *list, const char *target) {
    for (size_t i = 0; i < list->n; i++) {
        uint8_t *exact = malloc(list->item[i].size);
        fuzz_expect(exact || !list->item[i].size, "out of memory");
        if (list->item[i].size) memcpy(exact, list->item[i].data, list->item[i].size);
        LLVMFuzzerTestOneInput(exact, list->item[i].size);
        free(exact);
    }
    printf("%s: %zu inputs\n", target, list->n);
}

int main(int argc, char **argv) {
    inputs list = {0};
    int pack = argc == 4 && !strcmp(argv[1], "--pack"), unpack = argc == 4 && !strcmp(argv[1], "--unpack"), bad = 0;
    if (argc < 2) return fail(argv[0], "files, folders or packs are needed; or --pack FOLDER X.pack, --unpack X.pack FOLDER");
    if (pack || unpack) bad = add_path(&list, argv[2]);
    for (int i = 1; !pack && !unpack && !bad && i < argc; i++) bad = add_path(&list, argv[i]);
    if (!bad && pack) bad = write_pack(&list, argv[3]);
    else if (!bad && unpack) bad = write_files(&list, argv[3]);
    else if (!bad && !list.n) bad = fail(argv[1], "no input in it");
    else if (!bad) run_all(&list, argv[0]);
    for (size_t i = 0; i < list.n; i++) free(list.item[i].data);
    free(list.item);
    return bad;
}
