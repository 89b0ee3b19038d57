#define _GNU_SOURCE /* O_TMPFILE */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static hd_status too_large(hd_err *err, const char *path, const char *what, size_t limit) {
    return hd_fail(err, HD_RANGE, "%s: %s more than %zu bytes, the most that is read", path, what, limit);
}

/* Grows *data so that at least one more byte than *capacity fits, up to limit + 1 (one byte is kept for the NUL). */
static int grow(uint8_t **data, size_t *capacity, size_t limit) {
    size_t next = *capacity < 65536 ? 65536 : *capacity * 2;
    if (next > limit + 1) next = limit + 1;
    uint8_t *bigger = realloc(*data, next);
    if (!bigger) return 0;
    *data = bigger;
    *capacity = next;
    return 1;
}

static hd_status read_all(uint8_t **out, size_t *size, int fd, size_t limit, const char *path, hd_err *err) {
    struct stat st;
    if (fstat(fd, &st) != 0) return hd_fail(err, HD_IO, "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) return hd_fail(err, HD_IO, "%s: is a directory, not a file", path);
    size_t capacity = 4096;
    if (S_ISREG(st.st_mode)) {
        if (st.st_size < 0 || (uint64_t)st.st_size > limit) return too_large(err, path, "has", limit);
        capacity = (size_t)st.st_size + 1;
    }
    uint8_t *data = malloc(capacity);
    size_t n = 0;
    hd_status status = data ? HD_OK : hd_fail(err, HD_NOMEM, "%s: no memory for %zu bytes", path, capacity);
    while (status == HD_OK) {
        ssize_t got = read(fd, data + n, capacity - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) status = hd_fail(err, HD_IO, "%s: %s", path, strerror(errno));
        if (got <= 0) break;
        n += (size_t)got;
        if (n < capacity) continue;
        /* Only a pipe or a file that grows while it is read comes here. */
        if (n > limit) status = too_large(err, path, "has", limit);
        else if (!grow(&data, &capacity, limit)) status = hd_fail(err, HD_NOMEM, "%s: no memory for %zu bytes", path, capacity);
    }
    if (status != HD_OK) {
        free(data);
        return status;
    }
    data[n] = 0;
    *out = data;
    *size = n;
    return HD_OK;
}

/* Unpacks one or more gzip members. The buffer grows with what really comes out, so a forged size costs nothing. */
static hd_status unpack(uint8_t **out, size_t *out_size, const uint8_t *packed, size_t packed_size, size_t limit, const char *path, hd_err *err) {
    z_stream z = {0};
    if (inflateInit2(&z, 15 + 16) != Z_OK) return hd_fail(err, HD_NOMEM, "%s: no memory to unpack", path);
    uint8_t *data = NULL;
    size_t capacity = 0, n = 0, at = 0;
    hd_status status = HD_OK;
    for (int done = 0; status == HD_OK && !done;) {
        if (n + 1 >= capacity && capacity < limit + 1 && !grow(&data, &capacity, limit)) {
            status = hd_fail(err, HD_NOMEM, "%s: no memory for %zu bytes", path, capacity);
            break;
        }
        size_t room = capacity - 1 - n, rest = packed_size - at;
        uInt give = (uInt)(rest > 1u << 30 ? 1u << 30 : rest), take = (uInt)(room > 1u << 30 ? 1u << 30 : room);
        int full = room == 0;
        uint8_t extra; /* when all that is allowed is there, only the end of the stream may follow */
        z.next_in = (Bytef *)(uintptr_t)(packed + at);
        z.avail_in = give;
        z.next_out = full ? &extra : data + n;
        z.avail_out = full ? 1 : take;
        int code = inflate(&z, Z_NO_FLUSH);
        at += give - z.avail_in;
        if (full && z.avail_out == 0) status = too_large(err, path, "unpacks to", limit);
        else if (!full) n += take - z.avail_out;
        if (status != HD_OK) break;
        if (code == Z_STREAM_END) {
            /* More members may follow; anything else after the end is damage. */
            if (at == packed_size) done = 1;
            else if (packed_size - at >= 2 && packed[at] == 0x1f && packed[at + 1] == 0x8b) inflateReset(&z);
            else status = hd_fail(err, HD_FORMAT, "%s: %zu bytes follow the end of the gzip data", path, packed_size - at);
        } else if (code == Z_BUF_ERROR || (code == Z_OK && at == packed_size && z.avail_out > 0)) {
            status = hd_fail(err, HD_FORMAT, "%s: gzip data is cut short after %zu bytes", path, packed_size);
        } else if (code != Z_OK) {
            status = hd_fail(err, HD_FORMAT, "%s: damaged gzip data near byte %zu: %s", path, at, z.msg ? z.msg : "unreadable");
        }
    }
    inflateEnd(&z);
    if (status != HD_OK) {
        free(data);
        return status;
    }
    data[n] = 0;
    *out = data;
    *out_size = n;
    return HD_OK;
}

hd_status hd_file_read(uint8_t **data, size_t *size, const char *path, size_t limit, int gunzip, hd_err *err) {
    *data = NULL;
    *size = 0;
    if (limit > SIZE_MAX / 4) limit = SIZE_MAX / 4;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return hd_fail(err, HD_IO, "%s: %s", path, strerror(errno));
    uint8_t *raw = NULL;
    size_t raw_size = 0;
    hd_status status = read_all(&raw, &raw_size, fd, limit, path, err);
    close(fd);
    if (status != HD_OK) return status;
    if (gunzip && raw_size >= 2 && raw[0] == 0x1f && raw[1] == 0x8b) {
        status = unpack(data, size, raw, raw_size, limit, path, err);
        free(raw);
        return status;
    }
    *data = raw;
    *size = raw_size;
    return HD_OK;
}

static int write_all(int fd, const uint8_t *data, size_t size) {
    while (size > 0) {
        ssize_t put = write(fd, data, size);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return 0;
        data += put;
        size -= (size_t)put;
    }
    return 1;
}

enum { NAMES = 1000 };

/* A name beside `path`. Process numbers come again: it may be taken by what a killed process left, then the next call gives another. */
static const char *next_name(char *name, size_t room, const char *path) {
    static atomic_uint serial;
    snprintf(name, room, "%s.%ld-%u.tmp", path, (long)getpid(), atomic_fetch_add(&serial, 1u));
    return name;
}

static int open_named(char *name, size_t room, const char *path) {
    int fd = -1;
    for (int i = 0; i < NAMES && fd < 0 && (!i || errno == EEXIST); i++) fd = open(next_name(name, room, path), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return fd;
}

/* A file that has no name until it is whole, so that nothing stays of a process that is killed while it writes; -1 where the file system has none. */
static int open_nameless(char *folder, size_t room, const char *path) {
    const char *slash = strrchr(path, '/');
    snprintf(folder, room, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    return open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
}

static int give_name(char *name, size_t room, const char *path, int fd) {
    char held[40];
    int rc = -1;
    snprintf(held, sizeof held, "/proc/self/fd/%d", fd);
    for (int i = 0; i < NAMES && rc && (!i || errno == EEXIST); i++) rc = linkat(AT_FDCWD, held, AT_FDCWD, next_name(name, room, path), AT_SYMLINK_FOLLOW);
    return rc;
}

/* The content under a temporary name beside `path`, in `name`; 0 or errno. *named: the name is there, to be removed or renamed. */
static int write_beside(char *name, size_t room, const char *path, const void *data, size_t size, int *named) {
    int fd = open_nameless(name, room, path), why = 0;
    if (fd >= 0) {
        if (!write_all(fd, data, size) || fsync(fd) != 0) why = errno;
        *named = !why && give_name(name, room, path, fd) == 0;
        if (close(fd) != 0 && !why) why = errno;
        if (why || *named) return why;
        /* Without /proc it cannot be given a name. */
    }
    fd = open_named(name, room, path);
    if (fd < 0) return errno;
    *named = 1;
    if (!write_all(fd, data, size) || fsync(fd) != 0) why = errno;
    if (close(fd) != 0 && !why) why = errno;
    return why;
}

static int write_through(const char *path, const void *data, size_t size) {
    int fd = open(path, O_WRONLY | O_CLOEXEC), why = 0;
    if (fd < 0) return errno;
    if (!write_all(fd, data, size)) why = errno;
    if (close(fd) != 0 && !why) why = errno;
    return why;
}

hd_status hd_file_write(const char *path, const void *data, size_t size, hd_err *err) {
    struct stat st;
    /* Renaming over a device or a pipe would replace it by a file. */
    int special = stat(path, &st) == 0 && !S_ISREG(st.st_mode), named = 0, why;
    if (special && S_ISDIR(st.st_mode)) return hd_fail(err, HD_IO, "%s: is a directory, not a file", path);
    size_t room = strlen(path) + 48;
    char *temporary = malloc(room);
    if (!temporary) return hd_fail(err, HD_NOMEM, "%s: out of memory", path);
    why = special ? write_through(path, data, size) : write_beside(temporary, room, path, data, size, &named);
    if (!why && !special && rename(temporary, path) != 0) why = errno;
    if (why && named) unlink(temporary);
    free(temporary);
    return why ? hd_fail(err, HD_IO, "%s: %s", path, strerror(why)) : HD_OK;
}
