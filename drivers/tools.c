#include "tools.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../sw/core/file.h"

enum { PATH_MAX_ = 1024 };

hd_status hd_tool_path(char *out, size_t n, hd_err *err, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    int len = vsnprintf(out, n, format, ap);
    va_end(ap);
    if (len < 0 || (size_t)len >= n) return hd_fail(err, HD_RANGE, "a path of the cache is longer than %zu bytes; set HEDDLE_CACHE to a shorter one", n - 1);
    return HD_OK;
}

int hd_tool_installed(char *out, size_t n, const char *what) {
    char self[PATH_MAX_];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0) return 0;
    self[length] = 0;
    for (int up = 0; up < 2; up++) { /* the program, then bin */
        char *slash = strrchr(self, '/');
        if (!slash) return 0;
        *slash = 0;
    }
    return (size_t)snprintf(out, n, "%s/%s", self, what) < n && !access(out, R_OK);
}

static char source[PATH_MAX_];

static void find_source(void) {
    if (!hd_tool_installed(source, sizeof source, "share/heddle")) snprintf(source, sizeof source, "%s", HD_SOURCE_DIR);
}

const char *hd_tool_source(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const char *d = getenv("HEDDLE_SOURCE");
    if (d && *d) return d;
    pthread_once(&once, find_source);
    return source;
}

hd_status hd_tool_link(const char *dir, const char *name, const char *target, hd_err *err) {
    char link[PATH_MAX_], real[PATH_MAX];
    hd_status st = hd_tool_path(link, sizeof link, err, "%s/%s", dir, name);
    if (st) return st;
    if (!realpath(target, real)) return hd_fail(err, HD_IO, "%s: %s", target, strerror(errno));
    return symlink(real, link) ? hd_fail(err, HD_IO, "%s: %s", link, strerror(errno)) : HD_OK;
}

/* Makes the directory and its parents. */
static int make_dirs(const char *path) {
    char p[PATH_MAX_];
    snprintf(p, sizeof p, "%s", path);
    for (char *s = p + 1; *s; s++) {
        if (*s != '/') continue;
        *s = 0;
        if (mkdir(p, 0777) && errno != EEXIST) return -1;
        *s = '/';
    }
    struct stat st;
    if (!mkdir(p, 0777)) return 0;
    if (errno != EEXIST || stat(p, &st)) return -1;
    errno = ENOTDIR;
    return S_ISDIR(st.st_mode) ? 0 : -1;
}

static hd_status cache_path(char *out, size_t n, hd_err *err) {
    const char *c = getenv("HEDDLE_CACHE"), *x = getenv("XDG_CACHE_HOME"), *h = getenv("HOME");
    if (c && *c) return hd_tool_path(out, n, err, "%s", c);
    if (x && *x) return hd_tool_path(out, n, err, "%s/heddle", x);
    if (h && *h) return hd_tool_path(out, n, err, "%s/.cache/heddle", h);
    return hd_tool_path(out, n, err, "/tmp/heddle-cache-%ld", (long)getuid());
}

hd_status hd_tool_cache(char *out, size_t n, hd_err *err) {
    hd_status st = cache_path(out, n, err);
    if (st) return st;
    if (make_dirs(out)) return hd_fail(err, HD_IO, "%s: cannot make the cache directory: %s (set HEDDLE_CACHE to a writable one)", out, strerror(errno));
    return HD_OK;
}

int hd_tool_find(const char *name, char *out, size_t n) {
    const char *path = getenv("PATH");
    if (!out) return 0; /* nobody passes it; gcc with sanitizers does not see that and warns */
    while (path && *path) {
        size_t len = strcspn(path, ":");
        if (len && (size_t)snprintf(out, n, "%.*s/%s", (int)len, path, name) < n && access(out, X_OK) == 0) return 1;
        path += len + (path[len] == ':');
    }
    char cache[PATH_MAX_];
    return !cache_path(cache, sizeof cache, NULL) && (size_t)snprintf(out, n, "%s/ecp5-tools/bin/%s", cache, name) < n && access(out, X_OK) == 0;
}

void hd_tool_hash(uint64_t *h, const void *data, size_t n) { /* FNV-1a, 64 bit */
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++) *h = (*h ^ p[i]) * 0x100000001b3ull;
}

hd_status hd_tool_hash_file(uint64_t *h, const char *path, hd_err *err) {
    uint8_t *data;
    size_t size;
    hd_status st = hd_file_read(&data, &size, path, 1 << 24, 0, err);
    if (st) return st;
    hd_tool_hash(h, data, size);
    free(data);
    return HD_OK;
}

void hd_tool_hash_program(uint64_t *h, const char *name) {
    char path[PATH_MAX_], real[PATH_MAX_ * 4];
    struct stat sb;
    if (!hd_tool_find(name, path, sizeof path) || !realpath(path, real) || stat(real, &sb)) return;
    hd_tool_hash(h, real, strlen(real));
    hd_tool_hash(h, &sb.st_size, sizeof sb.st_size);
    hd_tool_hash(h, &sb.st_mtime, sizeof sb.st_mtime);
}

int hd_tool_run(const char *const argv[], const char *cwd, const char *log, hd_progress *progress, double expected) {
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) return 127;
    if (pid == 0) {
        setpgid(0, 0);
        /* A placer whose caller was killed would go on for hours. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(126);
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0666), null = open("/dev/null", O_RDONLY);
        if (fd < 0 || null < 0 || dup2(null, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0 || chdir(cwd)) _exit(126);
        unsetenv("MAKEFLAGS");
        unsetenv("MFLAGS");
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    double start = hd_seconds();
    for (;;) {
        int status;
        pid_t done = waitpid(pid, &status, WNOHANG);
        if (done == pid) return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
        if (done < 0 && errno != EINTR) return 127;
        if (hd_interrupted) {
            kill(-pid, SIGTERM);
            waitpid(pid, &status, 0);
            return -1;
        }
        if (progress) {
            double t = hd_seconds() - start;
            hd_progress_show(progress, expected * t / (t + expected * 0.5), argv[0]);
        }
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
}

void hd_tool_remove(const char *dir) {
    const char *const argv[] = {"rm", "-rf", dir, NULL};
    hd_tool_run(argv, "/", "/dev/null", NULL, 1);
}

/* ---- folders to work in ---- */

/* The folder if nobody else holds it, locked; -1 else. A file system without such locks gives the folder to whoever made it, and nobody removes what another left. */
static int hold(const char *dir, int made) {
    struct stat named, held;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    int locked = !flock(fd, LOCK_EX | LOCK_NB), mine = locked || (made && errno != EWOULDBLOCK);
    /* Whoever removes what is left over may have come between making and locking. */
    if (mine && !fstat(fd, &held) && !stat(dir, &named) && held.st_ino == named.st_ino) return fd;
    close(fd);
    return -1;
}

static void remove_left_over(const char *prefix) {
    char folder[PATH_MAX_], left[PATH_MAX_ + 260];
    snprintf(folder, sizeof folder, "%s", prefix);
    char *slash = strrchr(folder, '/');
    if (!slash) return;
    *slash = 0;
    DIR *d = opendir(folder);
    const char *name = prefix + (slash - folder) + 1;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strncmp(e->d_name, name, strlen(name))) continue;
        snprintf(left, sizeof left, "%s/%s", folder, e->d_name);
        int fd = hold(left, 0);
        if (fd < 0) continue;
        hd_tool_remove(left);
        close(fd);
    }
    if (d) closedir(d);
}

hd_status hd_tool_work_begin(char *dir, size_t n, int *lock, const char *result, hd_err *err) {
    *lock = -1;
    hd_status st = hd_tool_path(dir, n, err, "%s.build-", result);
    if (!st) remove_left_over(dir);
    /* Process numbers come again, and machines that share a cache have the same. */
    for (unsigned i = 0; !st && i < 100; i++) {
        st = hd_tool_path(dir, n, err, "%s.build-%ld-%u", result, (long)getpid(), i);
        if (!st && mkdir(dir, 0777)) {
            if (errno != EEXIST) st = hd_fail(err, HD_IO, "%s: %s", dir, strerror(errno));
        } else if (!st && (*lock = hold(dir, 1)) >= 0) {
            return HD_OK;
        }
    }
    return st ? st : hd_fail(err, HD_IO, "%s: cannot be made: a hundred folders of that kind are there", dir);
}

void hd_tool_work_end(const char *dir, int lock) {
    if (lock < 0) return;
    if (access(dir, F_OK) == 0) hd_tool_remove(dir);
    close(lock);
}
