/* The command line: options of a command's table, and numbers with their limits. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static int option_row(const cli_command *c, const char *name, size_t length) {
    for (int i = 0; c->options[i].name; i++)
        if (strlen(c->options[i].name) == length && !memcmp(c->options[i].name, name, length)) return i;
    return -1;
}

/* One argument that starts with '-': a flag, "--name value", "--name=value" or "-o value". */
static hd_status parse_option(cli_args *a, int argc, char **argv, int *at, hd_err *err) {
    const cli_command *c = a->command;
    const char *arg = argv[*at], *equals = strchr(arg, '=');
    size_t length = equals ? (size_t)(equals - arg) : strlen(arg);
    if (!strcmp(arg, "--json")) {
        a->json = 1;
        return HD_OK;
    }
    int row = option_row(c, arg, length);
    if (row < 0)
        return hd_fail(err, HD_USAGE, "%s: unknown option '%.*s'; heddle %s --help lists them", c->name, (int)(length < 100 ? length : 100), arg, c->name);
    const cli_option *o = &c->options[row];
    if (a->value[row]) return hd_fail(err, HD_USAGE, "%s: %s is given twice", c->name, o->name);
    if (!o->value) {
        if (equals) return hd_fail(err, HD_USAGE, "%s: %s takes no value", c->name, o->name);
        a->value[row] = "";
    } else if (equals) {
        a->value[row] = equals + 1;
    } else {
        if (*at + 1 >= argc) return hd_fail(err, HD_USAGE, "%s: %s needs a value (%s)", c->name, o->name, o->value);
        a->value[row] = argv[++*at];
    }
    if (o->value && !*a->value[row]) return hd_fail(err, HD_USAGE, "%s: %s needs a value (%s)", c->name, o->name, o->value);
    return HD_OK;
}

hd_status cli_parse(cli_args *a, const cli_command *c, int argc, char **argv, int *help, hd_err *err) {
    memset(a, 0, sizeof *a);
    a->command = c;
    *help = 0;
    /* --help wins over every mistake beside it. */
    for (int i = 2; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) *help = 1;
    if (*help) return HD_OK;
    int plain = 0; /* after "--" */
    for (int i = 2; i < argc; i++) {
        if (!plain && !strcmp(argv[i], "--")) {
            plain = 1;
        } else if (!plain && argv[i][0] == '-' && argv[i][1]) {
            hd_status s = parse_option(a, argc, argv, &i, err);
            if (s) return s;
        } else if (!c->operand) {
            return hd_fail(err, HD_USAGE, "%s: unexpected '%.100s'; it takes options only", c->name, argv[i]);
        } else if (a->operand) {
            return hd_fail(err, HD_USAGE, "%s: unexpected '%.100s'; it takes one %s", c->name, argv[i], c->operand);
        } else {
            a->operand = argv[i];
        }
    }
    if (c->operand && !c->operand_optional && !a->operand)
        return hd_fail(err, HD_USAGE, "%s: %s is missing; heddle %s --help shows an example", c->name, c->operand, c->name);
    return HD_OK;
}

const char *cli_text(const cli_args *a, const char *name) {
    int row = option_row(a->command, name, strlen(name));
    return row < 0 ? NULL : a->value[row];
}

int cli_flag(const cli_args *a, const char *name) {
    return cli_text(a, name) != NULL;
}

hd_status cli_need(const char **out, const cli_args *a, const char *name, hd_err *err) {
    int row = option_row(a->command, name, strlen(name));
    *out = a->value[row];
    if (*out) return HD_OK;
    return hd_fail(err, HD_USAGE, "%s: %s %s is missing", a->command->name, name, a->command->options[row].value);
}

hd_status cli_int(int64_t *out, const cli_args *a, const char *name, int64_t otherwise, int64_t lo, int64_t hi, hd_err *err) {
    const char *text = cli_text(a, name);
    *out = otherwise;
    if (!text) return HD_OK;
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (*end || end == text || errno || v < lo || v > hi)
        return hd_fail(err, HD_USAGE, "%s: %s: found '%.60s'; allowed is a whole number %lld..%lld", a->command->name, name, text, (long long)lo, (long long)hi);
    *out = v;
    return HD_OK;
}

hd_status cli_float(double *out, const cli_args *a, const char *name, double otherwise, double lo, double hi, hd_err *err) {
    const char *text = cli_text(a, name);
    *out = otherwise;
    if (!text) return HD_OK;
    char *end;
    errno = 0;
    double v = strtod(text, &end); /* the program never leaves the C locale */
    if (*end || end == text || !isfinite(v) || v < lo || v > hi)
        return hd_fail(err, HD_USAGE, "%s: %s: found '%.60s'; allowed is a number %g..%g", a->command->name, name, text, lo, hi);
    *out = v;
    return HD_OK;
}
