/* A sweep as a SLURM job array, one element a task. The array is only who computes; what is done lies in the folder, so that asking again is going on. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../drivers/tools.h"
#include "../core/file.h"
#include "../core/progress.h"
#include "files.h"
#include "sweep.h"

enum { PATH_BYTES = 1024, MOST_OPTIONS = 32, POLL_SECONDS = 2, SILENT_POLLS = 30 /* a controller may be away for a minute */ };

typedef struct array {
    char program[PATH_BYTES], sweep[PATH_BYTES], answer[PATH_BYTES], log[PATH_BYTES];
    char id[32];
} array;

/* Numbers of the tasks that have points to make, as 0-3,7: ones that are done need no place in the queue. Areas go along only with points. */
static int list_tasks(char **list, hd_explorer *x, const hd_sweep *s, const hd_tasks *t) {
    size_t room = (size_t)t->n * 12 + 16, used = 0;
    int count = 0, any = 0;
    *list = calloc(room, 1);
    char *open = calloc((size_t)t->n + 1, 1);
    if (!*list || !open) {
        free(open);
        return -1;
    }
    for (int i = 0; i < t->n; i++)
        for (int k = 0; k < t->task[i].n && !open[i]; k++) {
            char path[PATH_BYTES];
            open[i] = hd_point_path(path, sizeof path, x, &s->point[t->task[i].point[k]], NULL) || access(path, R_OK);
        }
    for (int i = 0; i < t->n; i++) {
        if (!open[i]) continue;
        int last = i;
        while (last + 1 < t->n && open[last + 1]) last++;
        used += (size_t)snprintf(*list + used, room - used, last > i ? "%s%d-%d" : "%s%d", any++ ? "," : "", i, last);
        count += last - i + 1;
        i = last;
    }
    free(open);
    return count;
}

/* Runs a program of SLURM; *answer is what it said, to be freed. Its exit code, or -1 interrupted. */
static int ask(const array *a, const char *const argv[], char **answer) {
    uint8_t *text = NULL;
    size_t size;
    unlink(a->answer);
    int rc = hd_tool_run(argv, "/", a->answer, NULL, 1);
    if (hd_file_read(&text, &size, a->answer, 1 << 24, 0, NULL)) text = NULL;
    unlink(a->answer);
    *answer = (char *)text;
    return rc;
}

/* The shell takes a path in single quotes as it stands. */
static hd_status quote(char *to, size_t n, const char *path, hd_err *err) {
    if (strchr(path, '\'')) return hd_fail(err, HD_USAGE, "slurm: %s: a path with a quotation mark, which sbatch would not take; name another folder (-o)", path);
    return hd_tool_path(to, n, err, "'%s'", path);
}

static hd_status prepare(array *a, const char *path, const char *folder, hd_err *err) {
    char *full = realpath(path, NULL), *home = realpath(folder, NULL);
    ssize_t got = readlink("/proc/self/exe", a->program, sizeof a->program - 1);
    hd_status s = full && home && got > 0 ? HD_OK : hd_fail(err, HD_IO, "slurm: %s: %s", path, strerror(errno));
    if (got > 0) a->program[got] = 0;
    if (!s) s = hd_tool_path(a->sweep, sizeof a->sweep, err, "%s", full);
    if (!s) s = hd_tool_path(a->log, sizeof a->log, err, "%s/log", home);
    if (!s) s = hd_folder_make(a->log, err);
    if (!s) s = hd_tool_path(a->answer, sizeof a->answer, err, "%s/slurm-%ld.txt", a->log, (long)getpid());
    free(full);
    free(home);
    return s;
}

/* sbatch's options that a user gave, divided at blanks. */
static int split(const char *argv[MOST_OPTIONS], char *text) {
    int n = 0;
    for (char *word = text ? strtok(text, " \t") : NULL; word && n < MOST_OPTIONS; word = strtok(NULL, " \t")) argv[n++] = word;
    return n;
}

static hd_status submit(array *a, const char *list, const char *options, hd_err *err) {
    char program[PATH_BYTES], sweep[PATH_BYTES], wrap[4 * PATH_BYTES], numbers[PATH_BYTES * 2], output[PATH_BYTES + 32], *extra = options ? strdup(options) : NULL, *answer = NULL;
    const char *argv[MOST_OPTIONS + 16] = {"sbatch", "--parsable", "--requeue", "--job-name=heddle-explore"}, *given[MOST_OPTIONS];
    hd_status s = quote(program, sizeof program, a->program, err);
    if (!s) s = quote(sweep, sizeof sweep, a->sweep, err);
    if (!s) s = hd_tool_path(output, sizeof output, err, "--output=%s/%%A-%%a.txt", a->log);
    if (!s && strlen(list) + 16 > sizeof numbers) s = hd_fail(err, HD_RANGE, "slurm: the list of tasks is longer than sbatch takes; make the sweep smaller");
    if (!s) {
        int n = 4, more = split(given, extra);
        snprintf(numbers, sizeof numbers, "--array=%s", list);
        snprintf(wrap, sizeof wrap, "--wrap=export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1} OPENBLAS_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}; exec %s point --sweep %s", program, sweep);
        argv[n++] = output;
        argv[n++] = numbers;
        for (int i = 0; i < more; i++) argv[n++] = given[i];
        argv[n++] = wrap;
        argv[n] = NULL;
        int rc = ask(a, argv, &answer);
        size_t digits = answer ? strspn(answer, "0123456789") : 0;
        if (rc < 0) s = hd_fail(err, HD_INTERRUPTED, "stopped");
        else if (rc || !digits || digits >= sizeof a->id)
            s = hd_fail(err, HD_TOOL, "slurm: sbatch failed: %.*s", answer ? (int)strcspn(answer, "\n") : 0, answer ? answer : "");
        else snprintf(a->id, sizeof a->id, "%.*s", (int)digits, answer);
    }
    free(answer);
    free(extra);
    return s;
}

/* 1: elements of the array are in the queue; 0: none is; -1: the controller did not say. */
static int queued(const array *a) {
    const char *const argv[] = {"squeue", "--noheader", "--jobs", a->id, "--format=%T", NULL};
    char *answer = NULL;
    int rc = ask(a, argv, &answer), any = 0, unknown = answer && strstr(answer, "Invalid job id");
    for (const char *c = answer; c && *c; c++) any |= !isspace((unsigned char)*c);
    free(answer);
    return rc == 0 ? any : unknown ? 0 : -1;
}

static hd_status wait_for(const array *a, hd_explorer *x, const hd_sweep *s, const char *label, hd_err *err) {
    hd_progress progress;
    int silent = 0, state = 1;
    hd_progress_start(&progress, label, s->n);
    while (state && silent < SILENT_POLLS && !hd_interrupted) {
        int done = 0;
        for (int i = 0; i < POLL_SECONDS * 10 && !hd_interrupted; i++) nanosleep(&(struct timespec){0, 100000000}, NULL);
        if (progress.on && !hd_sweep_done(&done, x, s, NULL)) hd_progress_show(&progress, done, a->id);
        state = queued(a);
        silent = state < 0 ? silent + 1 : 0;
    }
    hd_progress_end(&progress);
    if (hd_interrupted) {
        const char *const argv[] = {"scancel", a->id, NULL};
        char *answer = NULL;
        hd_interrupted = 0; /* or scancel would be stopped as well */
        ask(a, argv, &answer);
        hd_interrupted = 1;
        free(answer);
        return hd_fail(err, HD_INTERRUPTED, "stopped; the same command goes on");
    }
    return state ? hd_fail(err, HD_TOOL, "slurm: squeue says nothing about job %s any more; the same command goes on", a->id) : HD_OK;
}

/* The last line of a task's log. */
static void failure(const array *a, int task, hd_err *err) {
    char path[PATH_BYTES + 64];
    uint8_t *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/%s-%d.txt", a->log, a->id, task);
    if (hd_file_read(&text, &size, path, 1 << 24, 0, NULL)) text = NULL;
    while (text && size && text[size - 1] == '\n') text[--size] = 0;
    const char *line = text && strrchr((char *)text, '\n') ? strrchr((char *)text, '\n') + 1 : text ? (char *)text : "";
    if (!strncmp(line, "heddle: ", 8)) line += 8;
    hd_fail(err, HD_TOOL, "slurm job %s, task %d: %.400s", a->id, task, *line ? line : "left the queue without its points and said nothing; the same command goes on");
    free(text);
}

static int count_failed(const array *a, hd_explorer *x, const hd_sweep *s, const hd_tasks *t, hd_err *err) {
    int failed = 0;
    for (int i = 0; i < t->n; i++) {
        int missing = 0;
        for (int k = 0; k < t->task[i].n && !t->task[i].area; k++) {
            char path[PATH_BYTES];
            missing |= hd_point_path(path, sizeof path, x, &s->point[t->task[i].point[k]], NULL) || access(path, R_OK);
        }
        if (missing && !failed++) failure(a, i, err);
    }
    return failed;
}

hd_status hd_engine_slurm(hd_explorer *x, const hd_sweep *s, const char *path, const hd_engine_options *o, int *failed, hd_err *err) {
    array *a = calloc(1, sizeof *a);
    hd_tasks tasks = {0};
    char tool[PATH_BYTES], *list = NULL;
    *failed = 0;
    hd_status st = a ? HD_OK : hd_fail(err, HD_NOMEM, "slurm: out of memory");
    if (!st && !hd_tool_find("sbatch", tool, sizeof tool)) st = hd_fail(err, HD_TOOL, "slurm: sbatch is not installed (Debian package 'slurm-client')");
    if (!st) st = prepare(a, path, o->folder, err);
    if (!st) st = hd_tasks_make(&tasks, s, x, err);
    int count = st ? 0 : list_tasks(&list, x, s, &tasks);
    if (count < 0) st = hd_fail(err, HD_NOMEM, "slurm: out of memory");
    if (!st && count) st = submit(a, list, o->slurm, err);
    if (!st && count) st = wait_for(a, x, s, o->label, err);
    if (!st && count) *failed = count_failed(a, x, s, &tasks, err);
    hd_tasks_free(&tasks);
    free(list);
    free(a);
    return st;
}
