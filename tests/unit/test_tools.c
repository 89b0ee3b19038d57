/* Folders to work in and commands, when whoever made or called them is killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../drivers/tools.h"

static char folder[64];

static const char *in_folder(const char *name) {
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void wait_ms(long ms) {
    struct timespec t = {.tv_nsec = ms * 1000000};
    nanosleep(&t, NULL);
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void work_folders(void **state) {
    (void)state;
    hd_err err = {0};
    char result[160], first[256], second[256], third[256], left[256], other[256], inside[300];
    int a, b, c;
    snprintf(result, sizeof result, "%s", in_folder("result"));
    /* Of a killed maker, with this process's number; and of another result. */
    snprintf(left, sizeof left, "%s.build-%ld-0", result, (long)getpid());
    snprintf(other, sizeof other, "%s", in_folder("other.build-1"));
    assert_int_equal(mkdir(left, 0777), 0);
    assert_int_equal(mkdir(other, 0777), 0);
    snprintf(inside, sizeof inside, "%s/log", left);
    write_text(inside, "old");
    assert_int_equal(hd_tool_work_begin(first, sizeof first, &a, result, &err), HD_OK);
    assert_int_equal(access(inside, F_OK), -1);
    assert_int_equal(access(first, W_OK), 0);
    assert_int_equal(access(other, F_OK), 0);
    /* What somebody holds stays, whoever begins beside it. */
    assert_int_equal(hd_tool_work_begin(second, sizeof second, &b, result, &err), HD_OK);
    assert_string_not_equal(first, second);
    assert_int_equal(access(first, F_OK), 0);
    hd_tool_work_end(first, a);
    assert_int_equal(access(first, F_OK), -1);
    assert_int_equal(access(second, F_OK), 0);
    /* A finished one has its own name by then, and is not removed. */
    assert_int_equal(rename(second, result), 0);
    hd_tool_work_end(second, b);
    assert_int_equal(access(result, F_OK), 0);
    /* A maker that dies gives back its lock. */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        int held;
        if (hd_tool_work_begin(third, sizeof third, &held, result, &err)) _exit(1);
        write_text(in_folder("begun"), third);
        pause();
        _exit(1);
    }
    for (int i = 0; i < 500 && access(in_folder("begun"), F_OK); i++) wait_ms(10);
    wait_ms(20);
    snprintf(third, sizeof third, "%s.build-%ld-0", result, (long)pid);
    assert_int_equal(access(third, F_OK), 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(access(third, F_OK), 0);
    assert_int_equal(hd_tool_work_begin(second, sizeof second, &c, result, &err), HD_OK);
    assert_int_equal(access(third, F_OK), -1);
    hd_tool_work_end(second, c);
    unlink(in_folder("begun"));
    rmdir(result);
    rmdir(other);
}

static void no_folder(void **state) {
    (void)state;
    hd_err err = {0};
    char dir[256], wanted[300];
    int lock;
    assert_int_equal(hd_tool_work_begin(dir, sizeof dir, &lock, in_folder("no/such"), &err), HD_IO);
    snprintf(wanted, sizeof wanted, "%s/no/such.build-%ld-0: No such file or directory", folder, (long)getpid());
    assert_string_equal(err.message, wanted);
    assert_int_equal(lock, -1);
    hd_tool_work_end(dir, lock);
}

/* The number that the command wrote; 0 while there is none. */
static pid_t number_in(const char *path) {
    int number = 0;
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, "%d", &number) != 1) number = 0;
    if (f) fclose(f);
    return number;
}

static void command_ends_with_caller(void **state) {
    (void)state;
    char path[160];
    snprintf(path, sizeof path, "%s", in_folder("number"));
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        const char *const argv[] = {"sh", "-c", "echo $$ >\"$0\"; exec sleep 100", path, NULL};
        hd_tool_run(argv, folder, "/dev/null", NULL, 1);
        _exit(1);
    }
    pid_t command = 0;
    for (int i = 0; i < 500 && !(command = number_in(path)); i++) wait_ms(10);
    assert_true(command > 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    /* It may stay as a zombie where nobody takes in orphans. */
    int lives = 1;
    for (int i = 0; i < 500 && lives; i++) {
        char file[64], line[256] = "";
        snprintf(file, sizeof file, "/proc/%d/cmdline", command);
        FILE *f = fopen(file, "r");
        lives = f && fgets(line, sizeof line, f) && !strcmp(line, "sleep");
        if (f) fclose(f);
        if (lives) wait_ms(10);
    }
    assert_false(lives);
    unlink(path);
}

int main(void) {
    snprintf(folder, sizeof folder, "/tmp/hd_tools_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(work_folders), cmocka_unit_test(no_folder), cmocka_unit_test(command_ends_with_caller)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return rmdir(folder) != 0 || failed;
}
