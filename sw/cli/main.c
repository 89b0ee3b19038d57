/* heddle: finds the command, runs it, prints its error. The only place that prints errors, handles signals and exits. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../contract/contract.h"
#include "../core/progress.h"
#include "cli.h"

static const char *partial;
static volatile sig_atomic_t stopped_by;

void cli_partial(const char *path) {
    partial = path;
}

/* The first signal asks the work to stop and clean up; the second ends the program as usual (SA_RESETHAND). */
static void on_signal(int number) {
    stopped_by = number;
    hd_interrupted = 1;
}

static hd_status version(int json, hd_err *err) {
    if (json) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "version", HD_VERSION);
        cJSON_AddNumberToObject(o, "contract", HD_CONTRACT_VERSION);
        cJSON_AddNumberToObject(o, "hdm", HD_HDM_VERSION);
        cJSON_AddNumberToObject(o, "hdp", HD_HDP_VERSION);
        return cli_json(o, err);
    }
    printf("heddle %s (contract %d, .hdm %d, .hdp %d)\n", HD_VERSION, HD_CONTRACT_VERSION, HD_HDM_VERSION, HD_HDP_VERSION);
    return HD_OK;
}

static hd_status dispatch(int argc, char **argv, hd_err *err) {
    const char *name = argc > 1 ? argv[1] : "";
    if (!*name) {
        cli_print_usage(stderr);
        return hd_fail(err, HD_USAGE, "no command given");
    }
    if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h")) {
        /* For the build: the man pages, into a folder. */
        if (argc == 4 && !strcmp(argv[2], "--man")) return cli_write_man(argv[3], err);
        const cli_command *about = argc > 2 ? cli_command_find(argv[2]) : NULL;
        if (argc > 2 && !about) return hd_fail(err, HD_USAGE, "unknown command '%.60s'; heddle help lists them", argv[2]);
        if (about) cli_print_help(about);
        else cli_print_usage(stdout);
        return HD_OK;
    }
    if (!strcmp(name, "version") || !strcmp(name, "--version")) return version(argc > 2 && !strcmp(argv[2], "--json"), err);
    const cli_command *c = cli_command_find(name);
    if (!c) return hd_fail(err, HD_USAGE, "unknown command '%.60s'; heddle help lists them", name);
    cli_args args;
    int help;
    hd_status s = cli_parse(&args, c, argc, argv, &help, err);
    if (s) return s;
    if (help) {
        cli_print_help(c);
        return HD_OK;
    }
    return c->run(&args, err);
}

int main(int argc, char **argv) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    hd_err err = {0};
    hd_status s = dispatch(argc, argv, &err);
    if (!s && (fflush(stdout) || ferror(stdout))) s = hd_fail(&err, HD_IO, "standard output: %s", strerror(errno));
    if (!s) return 0;
    if (partial) unlink(partial);
    fflush(stdout);
    if (hd_interrupted) {
        fprintf(stderr, "heddle: stopped\n");
        return 128 + (stopped_by ? stopped_by : SIGINT);
    }
    fprintf(stderr, "heddle: %s\n", err.message[0] ? err.message : hd_status_name(s));
    return 1;
}
