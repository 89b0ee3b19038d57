/* Files in memory, and what every target expects of every library. */
#define _GNU_SOURCE
#include "fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

void fuzz_expect(int truth, const char *format, ...) {
    if (truth) return;
    va_list list;
    va_start(list, format);
    fprintf(stderr, "fuzz: ");
    vfprintf(stderr, format, list);
    fprintf(stderr, "\n");
    va_end(list);
    abort();
}

hd_status fuzz_status;

int fuzz_good(hd_status s, const hd_err *err, const void *made) {
    if (s == HD_OK) {
        fuzz_expect(made != NULL, "success without a result");
        return 1;
    }
    fuzz_expect(s == err->code, "status %d, but code %d in the error", (int)s, (int)err->code);
    fuzz_expect(err->message[0] != 0, "status %d without a message", (int)s);
    fuzz_expect(made == NULL, "a failure that leaves a result: %s", err->message);
    if (getenv("FUZZ_VERBOSE")) fprintf(stderr, "refused: %s\n", err->message);
    return 0;
}

/* OpenBLAS calls this for arguments that make no sense; its own prints a line and computes nothing, which nobody would see. */
void xerbla_(const char *routine, const int *argument, int length);
void xerbla_(const char *routine, const int *argument, int length) { fuzz_expect(0, "argument %d of %.*s is wrong", *argument, length, routine); }

const char *fuzz_file(int slot, const uint8_t *data, size_t size) {
    static int fd[2] = {-1, -1};
    static char path[2][32];
    if (fd[slot] < 0) {
        fd[slot] = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path[slot], sizeof path[slot], "/proc/self/fd/%d", fd[slot]);
    }
    fuzz_expect(fd[slot] >= 0 && !ftruncate(fd[slot], 0) && pwrite(fd[slot], data, size, 0) == (ssize_t)size, "no file in memory of %zu bytes", size);
    return path[slot];
}

static void put32(uint8_t *b, uint32_t v) {
    for (int i = 0; i < 4; i++) b[i] = (uint8_t)(v >> (8 * i));
}

const char *fuzz_container(const uint8_t *data, size_t size) {
    enum { HEADER = 16 };
    if (size < HEADER) return fuzz_file(0, data, size);
    uint8_t *copy = malloc(size);
    fuzz_expect(copy != NULL, "no memory for %zu bytes", size);
    memcpy(copy, data, size);
    put32(copy + 8, (uint32_t)(size - HEADER));
    put32(copy + 12, (uint32_t)crc32(crc32(0, NULL, 0), copy + HEADER, (uInt)(size - HEADER)));
    const char *path = fuzz_file(0, copy, size);
    free(copy);
    return path;
}
