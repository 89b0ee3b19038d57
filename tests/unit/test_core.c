/* Errors, bounded bytes, containers, whole files, random numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>

#include "../../sw/core/bytes.h"
#include "../../sw/core/file.h"
#include "../../sw/core/progress.h"
#include "../../sw/core/rng.h"

static char folder[64];

/* Lent until the next call. */
static const char *in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void test_err(void **state) {
    (void)state;
    hd_err err = {0};
    assert_int_equal(hd_fail(&err, HD_RANGE, "%s: %d", "thing", 7), HD_RANGE);
    assert_string_equal(err.message, "thing: 7");
    assert_int_equal(hd_fail_in(&err, "file"), HD_RANGE);
    assert_string_equal(err.message, "file: thing: 7");
    assert_int_equal(hd_fail(NULL, HD_IO, "x"), HD_IO);
    assert_string_equal(hd_status_name(HD_NOFIT), "NOFIT");
    assert_string_equal(hd_status_name((hd_status)-99), "unknown status");
    char filler[2000];
    memset(filler, 'a', sizeof filler - 1);
    filler[sizeof filler - 1] = 0;
    hd_fail(&err, HD_IO, "%s", filler);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    assert_string_equal(err.message + sizeof err.message - 4, "...");
    hd_fail_in(&err, "file");
    assert_int_equal(strncmp(err.message, "file: aaa", 9), 0);
    /* The old message may be an argument of the new one. */
    hd_fail(&err, HD_IO, "inner");
    hd_fail(&err, HD_IO, "outer (%s)", err.message);
    assert_string_equal(err.message, "outer (inner)");
}

static void test_bytes(void **state) {
    (void)state;
    hd_writer w = {0};
    hd_put_u8(&w, 0x12);
    hd_put_u16(&w, 0x3456);
    hd_put_u32(&w, 0x789abcde);
    hd_put_u64(&w, 0x0123456789abcdef);
    hd_put_f32(&w, -1.5f);
    hd_put_string(&w, "hé");
    assert_int_equal(w.failed, 0);
    static const uint8_t want[] = {0x12, 0x56, 0x34, 0xde, 0xbc, 0x9a, 0x78, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45,
                                   0x23, 0x01, 0, 0, 0xc0, 0xbf, 3, 0, 'h', 0xc3, 0xa9};
    assert_int_equal(w.size, sizeof want);
    assert_memory_equal(w.data, want, sizeof want);
    hd_reader r = {.data = w.data, .size = w.size};
    assert_int_equal(hd_get_u8(&r), 0x12);
    assert_int_equal(hd_get_i16(&r), 0x3456);
    assert_int_equal(hd_get_u32(&r), 0x789abcde);
    assert_true(hd_get_u64(&r) == 0x0123456789abcdef);
    assert_true(hd_get_f32(&r) == -1.5f);
    char *s = hd_get_string(&r);
    assert_string_equal(s, "hé");
    free(s);
    assert_int_equal(r.failed, 0);
    assert_int_equal(hd_get_u8(&r), 0);
    assert_int_equal(r.failed, 1);
    hd_writer_free(&w);
    /* After an overrun nothing is read any more, even what would fit. */
    r = (hd_reader){.data = want, .size = 3};
    assert_int_equal(hd_get_u32(&r), 0);
    assert_int_equal(hd_get_u8(&r), 0);
    assert_int_equal(r.at, 0);
    r = (hd_reader){.data = want, .size = sizeof want};
    assert_null(hd_get_bytes(&r, SIZE_MAX));
    static const uint8_t nul[] = {2, 0, 'a', 0}, longer[] = {9, 0, 'a'};
    r = (hd_reader){.data = nul, .size = sizeof nul};
    assert_null(hd_get_string(&r));
    r = (hd_reader){.data = longer, .size = sizeof longer};
    assert_null(hd_get_string(&r));
    assert_int_equal(r.failed, 1);
}

static void write_raw(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

static void expect_container(const uint8_t *data, size_t n, const char *message) {
    const char *path = in_folder("c");
    uint8_t *buffer;
    hd_reader r;
    hd_err err = {0};
    char want[256];
    write_raw(path, data, n);
    assert_true(hd_container_read(&buffer, &r, path, 0x314d4448, 1, &err) != HD_OK);
    assert_null(buffer);
    snprintf(want, sizeof want, "%s: %s", path, message);
    assert_string_equal(err.message, want);
}

static void test_container(void **state) {
    (void)state;
    const char *path = in_folder("c");
    hd_err err = {0};
    hd_writer w = {0};
    hd_put_string(&w, "payload");
    assert_int_equal(hd_container_write(path, 0x314d4448, 1, &w, &err), HD_OK);
    uint8_t *buffer, *file;
    size_t size;
    hd_reader r;
    assert_int_equal(hd_container_read(&buffer, &r, path, 0x314d4448, 1, &err), HD_OK);
    assert_int_equal(r.size, w.size);
    assert_memory_equal(r.data, w.data, w.size);
    free(buffer);
    hd_writer_free(&w);
    assert_int_equal(hd_file_read(&file, &size, path, 1000, 0, &err), HD_OK);
    expect_container(file, 15, "15 bytes; the header alone of a compressed network (.hdm) has 16");
    expect_container(file, size - 1, "payload of 8 bytes; the header says 9");
    file[20] ^= 1;
    expect_container(file, size, "checksum of the payload is 6048e5bc; the header says 5d28cc0c");
    file[4] = 2;
    expect_container(file, size, "version 2; this program reads version 1");
    file[0] = 'X';
    expect_container(file, size, "starts with 'XDM1'; a compressed network (.hdm) starts with 'HDM1'");
    file[0] = 7;
    expect_container(file, size, "starts with '0x314d4407'; a compressed network (.hdm) starts with 'HDM1'");
    static const struct { uint8_t first[8]; const char *kind; } kinds[] = {
        {"HDP1", "a program (.hdp)"}, {"HLM1", "a compressed language model (.hlm)"}, {"HPM1", "a network in parts, compressed"}, {"HPP1", "a network in parts, compiled"},
        {{0, 0, 8, 3}, "an idx file"}, {{0, 0, 13, 1}, "an idx file"}, {{0x1f, 0x8b, 8}, "a gzip file"}, {"GGUF\3", "a GGUF file"}, {"\34\0\0\0TFL3", "a TFLite file"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char want[100];
        memcpy(file, kinds[i].first, 8);
        snprintf(want, sizeof want, "%s; a compressed network (.hdm) is needed", kinds[i].kind);
        expect_container(file, size, want);
    }
    assert_null(hd_file_kind((const uint8_t *)"", 0));
    assert_null(hd_file_kind((const uint8_t *)"GGU", 3));
    assert_null(hd_file_kind((const uint8_t *)"\0\0\7\1", 4));
    free(file);
}

static size_t gzip(uint8_t *to, size_t room, const void *data, size_t n) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)n;
    z.next_out = to;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t used = room - z.avail_out;
    deflateEnd(&z);
    return used;
}

static void expect_file(const uint8_t *data, size_t n, size_t limit, const char *message) {
    const char *path = in_folder("g");
    uint8_t *out;
    size_t size;
    hd_err err = {0};
    char want[256];
    write_raw(path, data, n);
    hd_status status = hd_file_read(&out, &size, path, limit, 1, &err);
    if (!message) {
        assert_int_equal(status, HD_OK);
        free(out);
        return;
    }
    assert_true(status != HD_OK);
    assert_null(out);
    snprintf(want, sizeof want, "%s: %s", path, message);
    assert_string_equal(err.message, want);
}

static void test_files(void **state) {
    (void)state;
    static uint8_t zeros[300000], packed[8192];
    const char *path = in_folder("g");
    uint8_t *data;
    size_t size, n = gzip(packed, sizeof packed, zeros, sizeof zeros);
    hd_err err = {0};
    write_raw(path, packed, n);
    assert_int_equal(hd_file_read(&data, &size, path, 1 << 20, 1, &err), HD_OK);
    assert_int_equal(size, sizeof zeros);
    assert_memory_equal(data, zeros, size);
    assert_int_equal(data[size], 0);
    free(data);
    assert_int_equal(hd_file_read(&data, &size, path, 1 << 20, 0, &err), HD_OK);
    assert_int_equal(size, n);
    free(data);
    /* The limit is exact, and a bomb stops at it. */
    expect_file(packed, n, sizeof zeros, NULL);
    expect_file(packed, n, sizeof zeros - 1, "unpacks to more than 299999 bytes, the most that is read");
    expect_file(packed, n, 1000, "unpacks to more than 1000 bytes, the most that is read");
    expect_file(packed, n, 10, "has more than 10 bytes, the most that is read");
    char text[80];
    snprintf(text, sizeof text, "gzip data is cut short after %zu bytes", n - 9);
    expect_file(packed, n - 9, 1 << 20, text);
    packed[n] = 'x';
    expect_file(packed, n + 1, 1 << 20, "1 bytes follow the end of the gzip data");
    /* Two members one after the other are one file. */
    size_t second = gzip(packed + n, sizeof packed - n, "tail", 4);
    write_raw(path, packed, n + second);
    assert_int_equal(hd_file_read(&data, &size, path, 1 << 20, 1, &err), HD_OK);
    assert_int_equal(size, sizeof zeros + 4);
    assert_string_equal((char *)data + sizeof zeros, "tail");
    free(data);
    packed[20] ^= 0xff;
    write_raw(path, packed, n);
    assert_int_equal(hd_file_read(&data, &size, path, 1 << 20, 1, &err), HD_FORMAT);
    /* Every truncation of a gzip file is an error. */
    packed[20] ^= 0xff;
    for (size_t k = 2; k < n; k += 7) {
        write_raw(path, packed, k);
        assert_int_equal(hd_file_read(&data, &size, path, 1 << 20, 1, &err), HD_FORMAT);
    }
    assert_int_equal(hd_file_read(&data, &size, "/nonexistent/file", 10, 0, &err), HD_IO);
    assert_string_equal(err.message, "/nonexistent/file: No such file or directory");
    assert_int_equal(hd_file_read(&data, &size, folder, 10, 0, &err), HD_IO);
    write_raw(path, "", 0);
    assert_int_equal(hd_file_read(&data, &size, path, 10, 1, &err), HD_OK);
    assert_int_equal(size, 0);
    free(data);
}

static void test_atomic_write(void **state) {
    (void)state;
    hd_err err = {0};
    char path[128], inside[160];
    struct stat st;
    snprintf(path, sizeof path, "%s", in_folder("w"));
    assert_int_equal(hd_file_write(path, "one", 3, &err), HD_OK);
    assert_int_equal(hd_file_write(path, "two!", 4, &err), HD_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 4);
    /* A folder is no target, and a device stays a device. */
    assert_int_equal(hd_file_write(folder, "x", 1, &err), HD_IO);
    assert_int_equal(hd_file_write("/dev/null", "x", 1, &err), HD_OK);
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    snprintf(inside, sizeof inside, "%s/no/such", folder);
    assert_int_equal(hd_file_write(inside, "x", 1, &err), HD_IO);
    assert_int_equal(hd_file_write("/dev/full", "x", 1, &err), HD_IO);
    assert_string_equal(err.message, "/dev/full: No space left on device");
}

/* Makes "w.ENDING" and returns its path. */
static const char *beside(char path[192], const char *ending) {
    snprintf(path, 192, "%s.%s", in_folder("w"), ending);
    write_raw(path, "left", 4);
    return path;
}

/* Temporary names that others hold are no hindrance and stay what they are; those that nobody holds, which killed processes left, go when the file is replaced; and
 * what only looks alike is left alone. */
static void test_taken_names(void **state) {
    (void)state;
    enum { TAKEN = 50 };
    static const char *const others[] = {"1-2.tmpx", "1-2.tmp.x", "1-.tmp", "-2.tmp", "1.2.tmp", "1-2", "1x-2.tmp", "old.tmp", "tmp"};
    hd_err err = {0};
    char path[128], taken[TAKEN][192], left[192], other[192], text[32];
    int fd[TAKEN];
    struct stat st;
    snprintf(path, sizeof path, "%s", in_folder("w"));
    for (int i = 0; i < TAKEN; i++) {
        snprintf(text, sizeof text, "%ld-%d.tmp", (long)getpid(), i);
        fd[i] = open(beside(taken[i], text), O_RDONLY);
        assert_int_equal(flock(fd[i], LOCK_EX), 0);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) beside(other, others[i]);
    assert_int_equal(mkdir(in_folder("w.3-4.tmp"), 0700), 0);
    beside(left, "123-45.tmp");
    assert_int_equal(hd_file_write(path, "three", 5, &err), HD_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 5);
    assert_int_equal(stat(left, &st), -1);
    for (int i = 0; i < TAKEN; i++) {
        assert_int_equal(stat(taken[i], &st), 0);
        assert_int_equal(st.st_size, 4);
        close(fd[i]);
    }
    assert_int_equal(hd_file_write(path, "three", 5, &err), HD_OK);
    for (int i = 0; i < TAKEN; i++) assert_int_equal(stat(taken[i], &st), -1);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(other, sizeof other, "%s.%s", path, others[i]);
        assert_int_equal(unlink(other), 0);
    }
    assert_int_equal(rmdir(in_folder("w.3-4.tmp")), 0);
    /* In the working folder, as a name without one is meant. */
    char *old = getcwd(NULL, 0);
    assert_int_equal(chdir(folder), 0);
    beside(left, "123-45.tmp");
    assert_int_equal(hd_file_write("w", "three", 5, &err), HD_OK);
    assert_int_equal(chdir(old), 0);
    assert_int_equal(stat(left, &st), -1);
    free(old);
}

/* A process that writes one content after the other is killed: the file is whole, one of them, and at most a name that was just to be given stays. */
static void test_killed_writer(void **state) {
    (void)state;
    enum { KILLS = 40, BYTES = 1 << 20 };
    uint8_t *content = malloc(BYTES), *data;
    size_t size, left = 0;
    hd_err err = {0};
    hd_rng rng;
    char path[128];
    assert_non_null(content);
    hd_rng_seed(&rng, 20261123, 1);
    snprintf(path, sizeof path, "%s", in_folder("w"));
    for (int k = 0; k < KILLS; k++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        for (int i = 0; !pid; i++) {
            memset(content, i, BYTES);
            if (hd_file_write(path, content, BYTES, &err)) _exit(1);
        }
        struct timespec t = {.tv_nsec = 1000 * (long)hd_rng_below(&rng, 20000)};
        nanosleep(&t, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(hd_file_read(&data, &size, path, BYTES, 0, &err), HD_OK);
        assert_true(size == BYTES || (size == 5 && !memcmp(data, "three", 5))); /* of the test before: killed before the first was whole */
        for (size_t i = 1; i < size && size == BYTES; i++) assert_int_equal(data[i], data[0]);
        free(data);
    }
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) left += strstr(e->d_name, ".tmp") != NULL;
    closedir(d);
    free(content);
    assert_true(left <= KILLS / 10);
    /* Goes with the next write; main would not be able to remove the folder. */
    assert_int_equal(hd_file_write(path, "three", 5, &err), HD_OK);
}

static void test_rng(void **state) {
    (void)state;
    /* First numbers of the reference implementation (pcg32-demo, seed 42, stream 54). */
    static const uint32_t want[] = {0xa15c02b7, 0x7b47f409, 0xba1d3330, 0x83d2f293, 0xbfa4784b, 0xcbed606e};
    hd_rng rng;
    hd_rng_seed(&rng, 42, 54);
    for (size_t k = 0; k < 6; k++) assert_int_equal(hd_rng_u32(&rng), want[k]);
    double sum = 0, squares = 0;
    for (int k = 0; k < 100000; k++) {
        float u = hd_rng_float(&rng), z = hd_rng_normal(&rng);
        assert_true(u >= 0 && u < 1);
        assert_true(hd_rng_below(&rng, 7) < 7);
        sum += (double)z;
        squares += (double)z * (double)z;
    }
    assert_true(sum / 1e5 > -0.02 && sum / 1e5 < 0.02);
    assert_true(squares / 1e5 > 0.98 && squares / 1e5 < 1.02);
}

static void test_progress(void **state) {
    (void)state;
    hd_progress p;
    hd_progress_start(&p, "work", 10);
    p.on = 0; /* silent, whatever standard error is */
    hd_progress_show(&p, 3, "note");
    hd_progress_end(&p);
    double a = hd_seconds();
    assert_true(hd_seconds() >= a);
}

int main(void) {
    snprintf(folder, sizeof folder, "/tmp/hd_core_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err),          cmocka_unit_test(test_bytes), cmocka_unit_test(test_container), cmocka_unit_test(test_files),
        cmocka_unit_test(test_atomic_write), cmocka_unit_test(test_taken_names), cmocka_unit_test(test_killed_writer), cmocka_unit_test(test_rng), cmocka_unit_test(test_progress),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(in_folder("c"));
    unlink(in_folder("g"));
    unlink(in_folder("w"));
    /* Fails if a write left anything behind. */
    return rmdir(folder) != 0 || failed;
}
