#define _GNU_SOURCE /* O_TMPFILE */
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
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

/* The folder that `path` is in; the name in it is returned. */
static const char *split(char *folder, size_t room, const char *path) {
    const char *slash = strrchr(path, '/');
    snprintf(folder, room, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    return slash ? slash + 1 : path;
}

/* Whoever writes holds a lock, so that a temporary name without one is known for what a killed process left. */
static void hold(int fd) {
    while (flock(fd, LOCK_EX) != 0 && errno == EINTR) {}
}

static int open_named(char *name, size_t room, const char *path) {
    for (int i = 0; i < NAMES; i++) {
        struct stat st;
        int fd = open(next_name(name, room, path), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) return -1;
        if (fd < 0) continue;
        hold(fd);
        if (fstat(fd, &st) != 0 || st.st_nlink > 0) return fd;
        close(fd); /* removed before it was held */
        errno = EEXIST;
    }
    return -1;
}

/* A file that has no name until it is whole, so that nothing stays of a process that is killed while it writes; -1 where the file system has none. */
static int open_nameless(char *folder, size_t room, const char *path) {
    split(folder, room, path);
    int fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (fd >= 0) hold(fd);
    return fd;
}

/* `path` itself where no file has it, then name is ""; else a temporary name. */
static int give_name(char *name, size_t room, const char *path, int fd) {
    char held[40];
    snprintf(held, sizeof held, "/proc/self/fd/%d", fd);
    *name = 0;
    int rc = linkat(AT_FDCWD, held, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
    for (int i = 0; i < NAMES && rc && errno == EEXIST; i++) rc = linkat(AT_FDCWD, held, AT_FDCWD, next_name(name, room, path), AT_SYMLINK_FOLLOW);
    return rc;
}

static int fill(int fd, const void *data, size_t size) {
    return write_all(fd, data, size) && fsync(fd) == 0 ? 0 : errno;
}

/* The content under `path`, or under a temporary name beside it, in `name`; 0 or errno. *held, when not -1, is the open file whose name is there, to be renamed or removed. */
static int write_beside(char *name, size_t room, const char *path, const void *data, size_t size, int *held) {
    int fd = open_nameless(name, room, path), why = 0;
    if (fd >= 0) {
        why = fill(fd, data, size);
        if (!why && give_name(name, room, path, fd) == 0) *held = fd;
        else close(fd);
        if (why || *held >= 0) return why;
        /* Without /proc it cannot be given a name. */
    }
    *held = open_named(name, room, path);
    return *held < 0 ? errno : fill(*held, data, size);
}

/* "BASE.NUMBER-NUMBER.tmp" */
static int is_temporary(const char *name, const char *base) {
    size_t n = strlen(base), first, second;
    if (strncmp(name, base, n) != 0 || name[n] != '.') return 0;
    name += n + 1;
    first = strspn(name, "0123456789");
    if (!first || name[first] != '-') return 0;
    name += first + 1;
    second = strspn(name, "0123456789");
    return second && strcmp(name + second, ".tmp") == 0;
}

/* Temporary files for `path` that nobody holds any more. Where files cannot be locked none is removed. */
static void remove_left(char *folder, size_t room, const char *path) {
    const char *base = split(folder, room, path);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct stat opened, named;
        if (!is_temporary(e->d_name, base)) continue;
        int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0) continue;
        if (fstat(fd, &opened) == 0 && S_ISREG(opened.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstatat(dirfd(d), e->d_name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            named.st_ino == opened.st_ino && named.st_dev == opened.st_dev)
            unlinkat(dirfd(d), e->d_name, 0);
        close(fd);
    }
    if (d) closedir(d);
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
    int special = stat(path, &st) == 0 && !S_ISREG(st.st_mode), held = -1, why;
    if (special && S_ISDIR(st.st_mode)) return hd_fail(err, HD_IO, "%s: is a directory, not a file", path);
    size_t room = strlen(path) + 48;
    char *temporary = malloc(room);
    if (!temporary) return hd_fail(err, HD_NOMEM, "%s: out of memory", path);
    why = special ? write_through(path, data, size) : write_beside(temporary, room, path, data, size, &held);
    int renames = held >= 0 && *temporary;
    if (!why && renames && rename(temporary, path) != 0) why = errno;
    if (why && renames) unlink(temporary);
    if (held >= 0) close(held); /* its content is on the disk since fsync: there is no failure left, now that it has its name */
    if (!why && renames) remove_left(temporary, room, path);
    free(temporary);
    return why ? hd_fail(err, HD_IO, "%s: %s", path, strerror(why)) : HD_OK;
}
