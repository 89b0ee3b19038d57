/* heddle bench: figures by suite, each with what it is compared with and how it was got. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../explore/bench.h"
#include "cli.h"

static const cli_option options[] = {{NULL, NULL, NULL}};

static hd_status print_json(const hd_suite *suite, const hd_figures *f, hd_err *err) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "suite", suite->name);
    cJSON *list = cJSON_AddArrayToObject(o, "figures");
    for (int i = 0; i < f->n; i++) {
        const hd_figure *x = &f->figure[i];
        cJSON *e = cJSON_CreateObject();
        cJSON_AddStringToObject(e, "name", x->name);
        if (isfinite(x->value)) cJSON_AddNumberToObject(e, "value", x->value);
        else cJSON_AddNullToObject(e, "value");
        cJSON_AddStringToObject(e, "unit", x->unit);
        if (isfinite(x->reference)) cJSON_AddNumberToObject(e, "reference", x->reference);
        else cJSON_AddNullToObject(e, "reference");
        if (x->compared) cJSON_AddStringToObject(e, "compared_with", x->compared);
        cJSON_AddStringToObject(e, "tag", x->tag);
        if (*x->note) cJSON_AddStringToObject(e, "note", x->note);
        cJSON_AddItemToArray(list, e);
    }
    return cli_json(o, err);
}

static void print_figure(const hd_figure *x) {
    if (isfinite(x->value)) printf("%-40s %12.6g %-10s [%s]", x->name, x->value, x->unit, x->tag);
    else printf("%-40s %12s %-10s [%s]", x->name, "-", x->unit, x->tag);
    if (isfinite(x->reference)) printf("  reference %.6g%s%s", x->reference, x->compared ? ": " : "", x->compared ? x->compared : "");
    printf("%s%s\n", *x->note ? "  " : "", x->note);
}

/* Length of a figure's name up to its last dot. */
static size_t prefix(const hd_figure *x) { return (size_t)(strrchr(x->name, '.') - x->name); }

static int same_prefix(const hd_figure *a, const hd_figure *b) { return prefix(a) == prefix(b) && !strncmp(a->name, b->name, prefix(a)); }

/* Figures that stand together under one prefix become one line, "PREFIX  COLUMN value ..."; those with a reference or a note keep their own. */
static void print_text(const hd_figures *f, int table) {
    for (int i = 0; i < f->n; i++) {
        const hd_figure *x = &f->figure[i];
        if (!table || isfinite(x->reference) || *x->note) {
            print_figure(x);
            continue;
        }
        printf("%-22.*s", (int)prefix(x), x->name);
        for (int k = i; k < f->n && same_prefix(x, &f->figure[k]) && !*f->figure[k].note && !isfinite(f->figure[k].reference); k++) {
            printf(" %s %.4g", f->figure[k].name + prefix(x) + 1, f->figure[k].value);
            i = k;
        }
        printf(" [%s]\n", x->tag);
    }
}

static hd_status run(const cli_args *a, hd_err *err) {
    if (!a->operand) {
        for (const hd_suite *s = hd_suites; s->name; s++) printf("%-8s %s\n", s->name, s->about);
        return HD_OK;
    }
    const hd_suite *suite = hd_suites;
    while (suite->name && strcmp(suite->name, a->operand)) suite++;
    if (!suite->name) return hd_fail(err, HD_USAGE, "suite '%.60s': unknown; heddle bench lists them", a->operand);
    hd_figures *f = calloc(1, sizeof *f);
    if (!f) return hd_fail(err, HD_NOMEM, "no memory for the figures");
    hd_status s = suite->run(f, err);
    if (!s && a->json) s = print_json(suite, f, err);
    else if (!s) print_text(f, suite->table);
    free(f);
    return s;
}

const cli_command cli_bench = {
    .name = "bench",
    .summary = "measured figures, suite by suite (no suite: list them)",
    .operand = "SUITE",
    .operand_optional = 1,
    .about = "Measures and prints the figures that the pages publish, each with its tag (measured, simulated, placed, derived) and what it is "
             "compared with. Suites: {suites}. Some take seconds, gather, tune and area many minutes; docs/numbers.md says which.",
    .examples = "heddle bench\n"
                "heddle bench sim --json",
    .surroundings = CLI_CACHE | CLI_SOURCE | CLI_DATASET | CLI_MODELS | CLI_THREADS,
    .see = "demo, docs/numbers.md",
    .options = options,
    .run = run,
};
