/* A sweep on this machine: one process a task, as many at a time as there are cores. A task that dies takes its unfinished point with it and nothing else. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../drivers/tools.h"
#include "../core/file.h"
#include "../core/progress.h"
#include "files.h"
#include "sweep.h"

enum { PATH_BYTES = 1024, MOST_JOBS = 256 };

typedef struct job {
    pid_t pid; /* 0 = free */
    int task;
    char log[PATH_BYTES];
} job;

static void log_path(char *path, const char *folder, const char *sweep, int task) {
    const char *name = strrchr(sweep, '/') ? strrchr(sweep, '/') + 1 : sweep;
    snprintf(path, PATH_BYTES, "%.700s/log/%.16s-%d.txt", folder, name, task);
}

/* Threads that all processes together have: one each and the rest shared, so that a single task of a long compression uses the machine. */
static void limit_threads(int jobs) {
    char text[24];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    snprintf(text, sizeof text, "%ld", cores > jobs ? cores / jobs : 1);
    setenv("OMP_NUM_THREADS", text, 0);
    setenv("OPENBLAS_NUM_THREADS", text, 0);
}

static pid_t start_job(const job *j, const char *sweep, int jobs) {
    char task[16];
    pid_t parent = getpid();
    snprintf(task, sizeof task, "%d", j->task);
    pid_t pid = fork();
    if (pid) return pid;
    int log = open(j->log, O_WRONLY | O_CREAT | O_TRUNC, 0666), null = open("/dev/null", O_RDWR);
    /* The process ends with its parent, however that ends. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log, 2) < 0) _exit(126);
    limit_threads(jobs);
    /* This very program, also when another one has its name by now: results are named by what made them. */
    execl("/proc/self/exe", "heddle", "point", "--sweep", sweep, "--task", task, (char *)NULL);
    _exit(127);
}

/* The message of a task that failed: the last line of its log. */
static void read_failure(const job *j, int status, hd_err *err) {
    uint8_t *text = NULL;
    size_t size = 0;
    if (hd_file_read(&text, &size, j->log, 1 << 20, 0, NULL)) text = NULL;
    char *line = (char *)text;
    while (text && size && text[size - 1] == '\n') text[--size] = 0;
    if (text && strrchr((char *)text, '\n')) line = strrchr((char *)text, '\n') + 1;
    if (line && !strncmp(line, "heddle: ", 8)) line += 8;
    if (line && *line) hd_fail(err, HD_TOOL, "task %d: %.400s", j->task, line);
    else hd_fail(err, HD_TOOL, "task %d: ended with %s %d and said nothing; see %.300s", j->task, WIFSIGNALED(status) ? "signal" : "exit code",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), j->log);
    free(text);
}

static int task_is_done(hd_explorer *x, const hd_sweep *s, const hd_task *t) {
    for (int i = 0; i < t->n; i++) {
        char path[PATH_BYTES];
        if (hd_point_path(path, sizeof path, x, &s->point[t->point[i]], NULL) || access(path, R_OK)) return 0;
    }
    return 1;
}

static void stop_jobs(job *list, int n) {
    for (int i = 0; i < n; i++)
        if (list[i].pid > 0) kill(list[i].pid, SIGTERM);
    for (int i = 0; i < n; i++)
        if (list[i].pid > 0) waitpid(list[i].pid, NULL, 0);
}

/* Gives the free jobs their next tasks; 0 when there is none left to give. */
static int hand_out(job *list, int n, int *next, hd_explorer *x, const hd_sweep *s, const hd_tasks *t, const char *path, const hd_engine_options *o) {
    for (int i = 0; i < n; i++) {
        while (!list[i].pid && *next < t->n) {
            int task = (*next)++;
            if (task_is_done(x, s, &t->task[task])) continue;
            list[i].task = task;
            log_path(list[i].log, o->folder, path, task);
            list[i].pid = start_job(&list[i], path, n);
            if (list[i].pid < 0) list[i].pid = 0, --*next;
            break;
        }
    }
    return *next < t->n;
}

static int collect(job *list, int n, int *failed, hd_err *err) {
    int running = 0;
    for (int i = 0; i < n; i++) {
        int status;
        if (!list[i].pid) continue;
        if (waitpid(list[i].pid, &status, WNOHANG) != list[i].pid) {
            running++;
            continue;
        }
        list[i].pid = 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) unlink(list[i].log);
        else if (!(*failed)++) read_failure(&list[i], status, err);
    }
    return running;
}

hd_status hd_engine_local(hd_explorer *x, const hd_sweep *s, const char *path, const hd_engine_options *o, int *failed, hd_err *err) {
    static job list[MOST_JOBS];
    char logs[PATH_BYTES];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int jobs = o->jobs > 0 ? o->jobs : cores > 0 ? (int)cores : 1, next = 0, done = 0;
    hd_tasks tasks = {0};
    hd_progress progress;
    if (jobs > MOST_JOBS) jobs = MOST_JOBS;
    memset(list, 0, sizeof list);
    *failed = 0;
    hd_status st = hd_tool_path(logs, sizeof logs, err, "%s/log", o->folder);
    if (!st) st = hd_folder_make(logs, err);
    if (!st) st = hd_tasks_make(&tasks, s, x, err);
    if (st) return st;
    hd_progress_start(&progress, o->label, s->n);
    for (int more = 1, running = 0; more || running;) {
        more = hand_out(list, jobs, &next, x, s, &tasks, path, o);
        nanosleep(&(struct timespec){0, 50000000}, NULL);
        running = collect(list, jobs, failed, err);
        if (progress.on && !hd_sweep_done(&done, x, s, NULL)) hd_progress_show(&progress, done, "points");
        if (!hd_interrupted) continue;
        stop_jobs(list, jobs);
        st = hd_fail(err, HD_INTERRUPTED, "stopped; the same command goes on");
        break;
    }
    hd_progress_end(&progress);
    hd_tasks_free(&tasks);
    return st;
}
