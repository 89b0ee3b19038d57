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

hd_status hd_file_write(const char *path, const void *data, size_t size, hd_err *err) {
    static atomic_uint serial;
    struct stat st;
    /* Renaming over a device or a pipe would replace it by a file. */
    int special = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
    if (special && S_ISDIR(st.st_mode)) return hd_fail(err, HD_IO, "%s: is a directory, not a file", path);
    size_t room = strlen(path) + 48;
    char *temporary = malloc(room);
    if (!temporary) return hd_fail(err, HD_NOMEM, "%s: out of memory", path);
    snprintf(temporary, room, "%s.%ld-%u.tmp", path, (long)getpid(), atomic_fetch_add(&serial, 1u));
    const char *target = special ? path : temporary;
    int fd = open(target, special ? O_WRONLY | O_CLOEXEC : O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    hd_status status = HD_OK;
    if (fd < 0) {
        status = hd_fail(err, HD_IO, "%s: %s", path, strerror(errno));
    } else {
        int good = write_all(fd, data, size) && (special || fsync(fd) == 0);
        int why = errno;
        if (close(fd) != 0 && good) good = 0, why = errno;
        if (good && !special && rename(temporary, path) != 0) good = 0, why = errno;
        if (!good) {
            if (!special) unlink(temporary);
            status = hd_fail(err, HD_IO, "%s: %s", path, strerror(why));
        }
    }
    free(temporary);
    return status;
}
