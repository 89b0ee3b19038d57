#include "recipe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One name: which field it sets to which value, and the number it may take. */
typedef struct step_name {
    const char *name;
    enum { STEP_FACTOR, STEP_RESIDUAL, STEP_OUTLIERS, STEP_FOLD, STEP_SOLVER, STEP_ORDER, STEP_MOVING, STEP_CODING, STEP_PV, STEP_FIELDS } field;
    int value;
    int takes;             /* a number after ':' (optional, `otherwise` when it is left out) */
    float lowest, highest, otherwise;
} step_name;

enum { PUBLISHED = 256 };

static const step_name names[] = {
    {"rtn", STEP_SOLVER, HD_METHOD_RTN, 0, 0, 0, 0},
    {"gptq", STEP_SOLVER, HD_METHOD_GPTQ, 0, 0, 0, 0},
    {"sparsegpt", STEP_SOLVER, HD_METHOD_SPARSEGPT, 0, 0, 0, 0},
    {"awq-stored", STEP_SOLVER, HD_METHOD_AWQ, 0, 0, 0, 0},
    {"smooth", STEP_FOLD, HD_FOLD_SMOOTH, 1, 0, 1, 0.5f},
    {"awq", STEP_FOLD, HD_FOLD_AWQ, 0, 0, 0, 0},
    {"outliers", STEP_OUTLIERS, 0, 1, 1, 1000, 6},
    {"clip", STEP_SOLVER, HD_METHOD_CLIP, 0, 0, 0, 0},
    {"iobs", STEP_SOLVER, HD_METHOD_IOBS, 0, 0, 0, 0},
    {"gptq0", STEP_SOLVER, HD_METHOD_GPTQ | PUBLISHED, 0, 0, 0, 0},
    {"sparsegpt0", STEP_SOLVER, HD_METHOD_SPARSEGPT | PUBLISHED, 0, 0, 0, 0},
    {"iobs0", STEP_SOLVER, HD_METHOD_IOBS | PUBLISHED, 0, 0, 0, 0},
    {"inorder", STEP_ORDER, 1, 0, 0, 0, 0},
    {"moving", STEP_MOVING, 1, 0, 0, 0, 0},
    {"svd", STEP_FACTOR, HD_FACTOR_SVD, 1, 0.001f, 1, 0.25f},
    {"tucker", STEP_FACTOR, HD_FACTOR_TUCKER, 1, 0.001f, 1, 0.25f},
    {"cp", STEP_FACTOR, HD_FACTOR_CP, 1, 0.001f, 1, 0.25f},
    {"tt", STEP_FACTOR, HD_FACTOR_TRAIN, 1, 0.001f, 1, 0.25f},
    {"residual", STEP_RESIDUAL, 1, 0, 0, 0, 0},
    {"table", STEP_CODING, HD_CODING_TABLE, 1, 1, 11, 9},
    {"additive", STEP_CODING, HD_CODING_ADDITIVE, 1, 1, 9, 8},
    {"trellis", STEP_CODING, HD_CODING_TRELLIS, 1, 1, 10, 9},
    {"e8p", STEP_CODING, HD_CODING_E8P, 1, 2, 4, 2},
    {"pv", STEP_PV, 0, 0, 0, 0, 0},
};
enum { N_NAMES = sizeof names / sizeof *names };

static void list_names(char *text, size_t size) {
    size_t used = 0;
    for (size_t i = 0; i < N_NAMES && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s%s", i ? ", " : "", names[i].name, names[i].takes ? "[:N]" : "");
}

static const step_name *find(const char *text, size_t length) {
    for (size_t i = 0; i < N_NAMES; i++)
        if (strlen(names[i].name) == length && !strncmp(names[i].name, text, length)) return &names[i];
    return NULL;
}

static void set(hd_recipe *r, const step_name *n, float number) {
    switch (n->field) {
    case STEP_FACTOR:
        r->factor = (hd_factoring)n->value;
        r->rank = number;
        break;
    case STEP_RESIDUAL: r->residual = 1; break;
    case STEP_OUTLIERS: r->outliers = number; break;
    case STEP_FOLD:
        r->fold = (hd_folding)n->value;
        r->fold_power = number;
        break;
    case STEP_SOLVER:
        r->solver = (hd_method)(n->value & ~PUBLISHED);
        r->published = n->value & PUBLISHED ? 1 : 0;
        break;
    case STEP_ORDER: r->in_order = 1; break;
    case STEP_MOVING: r->moving = 1; break;
    case STEP_CODING:
        r->coding = (hd_coding)n->value;
        r->coding_bits = (int)number;
        break;
    case STEP_PV: r->pv = 1; break;
    default: break;
    }
}

hd_status hd_recipe_parse(hd_recipe *r, const char *text, hd_err *err) {
    int seen[STEP_FIELDS] = {0};
    *r = (hd_recipe){.solver = HD_METHOD_RTN};
    for (const char *at = text;; at++) {
        size_t whole = strcspn(at, "+"), length = strcspn(at, "+:");
        const step_name *n = find(at, length);
        if (!n) {
            char known[300];
            list_names(known, sizeof known);
            return hd_fail(err, HD_FORMAT, "method '%.60s': found '%.*s'; allowed are %s, joined by '+'", text, (int)(whole < 60 ? whole : 60), at, known);
        }
        if (seen[n->field]++) return hd_fail(err, HD_FORMAT, "method '%.60s': '%s' where a step of its kind stands already", text, n->name);
        float number = n->otherwise;
        if (length < whole) {
            char *end = NULL;
            number = n->takes ? strtof(at + length + 1, &end) : 0;
            if (!n->takes) return hd_fail(err, HD_FORMAT, "method '%.60s': '%s' takes no number", text, n->name);
            if (end != at + whole || !(number >= n->lowest && number <= n->highest))
                return hd_fail(err, HD_RANGE, "method '%.60s': '%s' takes a number from %g to %g", text, n->name, (double)n->lowest, (double)n->highest);
        }
        if (n->field == STEP_CODING && number != floorf(number))
            return hd_fail(err, HD_RANGE, "method '%.60s': '%s' takes a whole number of bits", text, n->name);
        set(r, n, number);
        at += whole;
        if (!*at) break;
    }
    if ((r->in_order || r->moving) && r->solver != HD_METHOD_GPTQ)
        return hd_fail(err, HD_FORMAT, "method '%.60s': '%s' goes with gptq and gptq0", text, r->moving ? "moving" : "inorder");
    if (r->residual && !r->factor) return hd_fail(err, HD_FORMAT, "method '%.60s': 'residual' goes with a factoring", text);
    return HD_OK;
}

/* The number a field holds, where its name takes one. */
static float number_of(const hd_recipe *r, const step_name *n) {
    return n->field == STEP_FACTOR ? r->rank : n->field == STEP_OUTLIERS ? r->outliers : n->field == STEP_FOLD ? r->fold_power : (float)r->coding_bits;
}

static int is_set(const hd_recipe *r, const step_name *n) {
    switch (n->field) {
    case STEP_FACTOR: return (int)r->factor == n->value;
    case STEP_RESIDUAL: return r->residual;
    case STEP_OUTLIERS: return r->outliers > 0;
    case STEP_FOLD: return (int)r->fold == n->value;
    case STEP_SOLVER: return (int)r->solver == (n->value & ~PUBLISHED) && r->published == (n->value & PUBLISHED ? 1 : 0);
    case STEP_ORDER: return r->in_order;
    case STEP_MOVING: return r->moving;
    case STEP_CODING: return (int)r->coding == n->value;
    case STEP_PV: return r->pv;
    default: return 0;
    }
}

void hd_recipe_text(const hd_recipe *r, char *text, size_t size) {
    size_t used = 0;
    *text = 0;
    for (size_t i = 0; i < N_NAMES && used < size; i++) {
        if (!is_set(r, &names[i])) continue;
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "+" : "", names[i].name);
        if (names[i].takes && used < size) used += (size_t)snprintf(text + used, size - used, ":%g", (double)number_of(r, &names[i]));
    }
}

void hd_recipe_solver(hd_linear_options *o, const hd_recipe *r, int sparse) {
    hd_method m = r->solver;
    if (sparse && m != HD_METHOD_IOBS && m != HD_METHOD_RTN) m = HD_METHOD_SPARSEGPT;
    if (!sparse && (m == HD_METHOD_SPARSEGPT || m == HD_METHOD_IOBS)) m = HD_METHOD_GPTQ;
    hd_linear_defaults(o, m);
    if (r->published) o->sweeps = 0;
    if (r->in_order || r->moving) o->act_order = 0;
    o->moving_groups = r->moving && o->method == HD_METHOD_GPTQ;
}

int hd_recipe_rewrites(const hd_recipe *r) {
    return r->factor != HD_FACTOR_NONE || r->outliers > 0 || r->fold != HD_FOLD_NONE;
}
