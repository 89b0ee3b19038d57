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

#ifndef HD_VERSION
#define HD_VERSION "0.1.0"
#endif

static const cli_command *const commands[] = {&cli_train,   &cli_compress, &cli_tune,    &cli_eval,    &cli_generate,
                                              &cli_compile, &cli_run,      &cli_profile, &cli_predict, &cli_operators, &cli_devices, &cli_synth,    &cli_flash,   &cli_serve, &cli_point, &cli_explore, &cli_demo, &cli_bench};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

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

static void print_usage(FILE *f) {
    fprintf(f, "heddle: low-bit, block-sparse networks on a systolic array, bit- and cycle-exact\n\nusage: heddle <command> [options]\n\n");
    for (int i = 0; i < N_COMMANDS; i++) fprintf(f, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(f, "  %-10s %s\n  %-10s %s\n", "help", "this text, or the help of one command", "version", "versions of the program and of its formats");
    fprintf(f, "\nEvery command has --help and --json. The main job: heddle demo\n");
}

static const cli_command *find(const char *name) {
    for (int i = 0; i < N_COMMANDS; i++)
        if (!strcmp(commands[i]->name, name)) return commands[i];
    return NULL;
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
        print_usage(stderr);
        return hd_fail(err, HD_USAGE, "no command given");
    }
    if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h")) {
        const cli_command *about = argc > 2 ? find(argv[2]) : NULL;
        if (argc > 2 && !about) return hd_fail(err, HD_USAGE, "unknown command '%.60s'; heddle help lists them", argv[2]);
        if (about) cli_print_help(about);
        else print_usage(stdout);
        return HD_OK;
    }
    if (!strcmp(name, "version") || !strcmp(name, "--version")) return version(argc > 2 && !strcmp(argv[2], "--json"), err);
    const cli_command *c = find(name);
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
