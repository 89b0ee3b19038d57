#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../drivers/tools.h"
#include "../core/file.h"
#include "../core/progress.h"

enum { PATH_BYTES = 1024 };

hd_status hd_folder_make(const char *path, hd_err *err) {
    char part[PATH_BYTES];
    hd_status s = hd_tool_path(part, sizeof part, err, "%s", path);
    if (s) return s;
    for (char *c = part + 1; *c; c++) {
        if (*c != '/') continue;
        *c = 0;
        if (mkdir(part, 0777) && errno != EEXIST) return hd_fail(err, HD_IO, "%s: %s", part, strerror(errno));
        *c = '/';
    }
    struct stat st;
    if (mkdir(part, 0777) && errno != EEXIST) return hd_fail(err, HD_IO, "%s: %s", part, strerror(errno));
    if (stat(part, &st) || !S_ISDIR(st.st_mode)) return hd_fail(err, HD_IO, "%s: is no folder", part);
    return HD_OK;
}

/* The lock file is removed by who holds it, so a lock counts only on the file that still has the name. */
hd_status hd_lock_take(int *lock, const char *path, hd_err *err) {
    char name[PATH_BYTES];
    *lock = -1;
    hd_status s = hd_tool_path(name, sizeof name, err, "%s.lock", path);
    while (!s) {
        struct stat held, named;
        int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0) return hd_fail(err, HD_IO, "%s: %s", name, strerror(errno));
        while (flock(fd, LOCK_EX | LOCK_NB)) {
            int why = errno;
            /* A file system without locks: the same work may then be done twice, with the same result. */
            if (why == ENOLCK || why == ENOSYS || why == EOPNOTSUPP) {
                *lock = fd;
                return HD_OK;
            }
            if (why != EWOULDBLOCK && why != EINTR) {
                close(fd);
                return hd_fail(err, HD_IO, "%s: %s", name, strerror(why));
            }
            if (hd_interrupted) {
                close(fd);
                return hd_fail(err, HD_INTERRUPTED, "stopped");
            }
            nanosleep(&(struct timespec){0, 20000000}, NULL);
        }
        if (!fstat(fd, &held) && !stat(name, &named) && held.st_ino == named.st_ino && held.st_dev == named.st_dev) {
            *lock = fd;
            return HD_OK;
        }
        close(fd);
    }
    return s;
}

void hd_lock_give(int lock, const char *path) {
    char name[PATH_BYTES];
    if (lock < 0) return;
    if (!hd_tool_path(name, sizeof name, NULL, "%s.lock", path)) unlink(name);
    close(lock);
}

hd_status hd_json_write(cJSON *o, const char *path, hd_err *err) {
    char *text = o ? cJSON_Print(o) : NULL;
    cJSON_Delete(o);
    if (!text) return hd_fail(err, HD_NOMEM, "%s: no memory for the JSON text", path);
    hd_status s = hd_file_write(path, text, strlen(text), err);
    free(text);
    return s;
}

hd_status hd_json_read(cJSON **o, const char *path, hd_err *err) {
    uint8_t *text = NULL;
    size_t size;
    *o = NULL;
    hd_status s = hd_file_read(&text, &size, path, (size_t)1 << 28, 0, err);
    if (s) return s;
    *o = cJSON_Parse((const char *)text);
    free(text);
    if (cJSON_IsObject(*o)) return HD_OK;
    cJSON_Delete(*o);
    *o = NULL;
    return hd_fail(err, HD_FORMAT, "%s: no JSON object", path);
}

hd_status hd_program_hash(unsigned long long *hash, hd_err *err) {
    uint64_t h = HD_TOOL_HASH;
    uint8_t *data = NULL;
    size_t size;
    hd_status s = hd_file_read(&data, &size, "/proc/self/exe", (size_t)1 << 30, 0, err);
    if (!s) hd_tool_hash(&h, data, size);
    free(data);
    *hash = h;
    return s;
}
