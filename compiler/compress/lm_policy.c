#include "lm_policy.h"

#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "codebook_lm.h"
#include "compress_internal.h"
#include "lm_fold.h"
#include "lm_lowrank.h"
#include "lm_narrow.h"

void hd_lm_format_of(hd_linear_format *f, hd_linear_options *options, const hd_layer_policy *p) {
    *f = (hd_linear_format){.bits = p->bits, .grid = p->bits == 0 ? HD_GRID_TERNARY : p->grid == HD_GRID_EVEN ? HD_GRID_EVEN : HD_GRID_ODD,
                            .affine = p->affine, .one_scale = p->granularity == HD_GRANULARITY_TENSOR && p->bits != 16};
    if (p->granularity == HD_GRANULARITY_GROUP) {
        f->group = p->group_size;
        f->shift_groups = !p->affine && !p->float_scales;
    }
    /* Channels are gone already (lm_narrow.h). Float values always have a mask: a budget may have left all of them. */
    if (p->structure != HD_SPARSE_CHANNEL && ((p->sparsity > 0 && !p->skip_sparsity) || p->bits == 16)) {
        f->sparsity = p->structure == HD_SPARSE_NONE ? HD_SPARSE_BLOCK : p->structure;
        f->density = 1 - p->sparsity;
        f->block_in = p->block_in;
        f->block_out = p->block_out;
        f->n = p->n;
        f->m = p->m;
    }
    hd_recipe_solver(options, &p->recipe, f->sparsity != HD_SPARSE_NONE);
    /* AWQ whose scales are folded: what is left of it is the clip search. */
    if (p->recipe.fold != HD_FOLD_AWQ || options->method != HD_METHOD_RTN || f->sparsity != HD_SPARSE_NONE) return;
    hd_linear_defaults(options, HD_METHOD_AWQ);
    options->awq_points = 1;
}

/* One walk: the policy, and what the round before left. */
typedef struct walk {
    const hd_policy *p;
    const hd_lm *before; /* or NULL */
    int round;
    const hd_lm_tables *tables;
} walk;

static hd_status solve(void *arg, int layer, int matrix, const hd_linear *p, hd_lm_matrix *out, hd_err *err) {
    const walk *w = arg;
    char name[32];
    hd_lm_linear l;
    hd_llama_name(layer, matrix, name, sizeof name);
    const hd_layer_policy *o = hd_policy_of(w->p, name);
    if (o->recipe.factor) return hd_lm_solve_low_rank(o, p, out, err);
    if (o->recipe.coding != HD_CODING_INTEGER) return hd_lm_solve_coded(w->tables, &o->recipe, layer, matrix, p, out, err);
    hd_lm_format_of(&l.format, &l.options, o);
    int sparse = l.format.sparsity == HD_SPARSE_UNSTRUCTURED || l.format.sparsity == HD_SPARSE_BLOCK;
    if (sparse && w->before) l.format.keep = w->before->matrix[layer * HD_LLAMA_MATRICES + matrix].linear.mask;
    if (sparse && w->round < w->p->rounds) {
        l.format.bits = 16;
        l.format.density = 1 - hd_round_sparsity(1 - l.format.density, w->round, w->p->rounds);
    }
    hd_status s = hd_lm_solve_linear(&l, layer, matrix, p, out, err);
    out->format.keep = NULL; /* lent by the round before */
    return s;
}

/* Rounds of pruning as in rounds.c; rounds before the last keep float values. */
static hd_status walk_rounds(hd_lm **out, const hd_llama *m, const hd_policy *p, const hd_lm_tables *tables, const int16_t *tokens, int stride, int n, int t,
                             const char *label, hd_err *err) {
    walk w = {.p = p, .tables = tables};
    hd_lm_options o = {.solve = solve, .arg = &w, .correct = 1 - (double)p->unrepaired, .blockwise = p->blockwise, .label = label};
    hd_lm *before = NULL;
    hd_status s = HD_OK;
    for (w.round = p->rounds > 1 ? 1 : p->rounds; s == HD_OK && w.round < p->rounds; w.round++) {
        hd_lm *next;
        s = hd_lm_compress(&next, m, tokens, stride, n, t, &o, err);
        hd_lm_free(before);
        w.before = before = s == HD_OK ? next : NULL;
    }
    if (s == HD_OK) s = hd_lm_compress(out, m, tokens, stride, n, t, &o, err);
    hd_lm_free(before);
    return s;
}

hd_status hd_lm_compress_policy(hd_lm **out, const hd_llama *m, const hd_policy *p, const int16_t *tokens, int stride, int n, int t,
                                const char *label, hd_err *err) {
    *out = NULL;
    hd_llama *narrow = NULL;
    hd_policy shared = {0};
    hd_status s = hd_policy_check_lm(p, m, err);
    if (!s) s = hd_lm_narrow(&narrow, m, p, tokens, stride, n, t, err);
    if (narrow) m = narrow;
    hd_llama *folded = s ? NULL : hd_llama_clone(m); /* it computes what m does */
    if (!s) s = folded ? hd_lm_fold(folded, p, tokens, stride, n, t, err) : hd_fail(err, HD_NOMEM, "no memory for a copy of the language model");
    m = folded;
    if (!s && p->budget == HD_BUDGET_GLOBAL && !narrow) {
        s = hd_budget_lm(&shared, m, p, tokens, stride, n, t, err);
        p = &shared;
    }
    hd_lm_tables tables = {0};
    if (!s) s = hd_lm_plan_tables(&tables, m, p, err);
    if (!s) s = hd_lm_tables_fit(&tables, m, tokens, stride, n, t, err);
    if (!s) s = walk_rounds(out, m, p, &tables, tokens, stride, n, t, label, err);
    if (!s) hd_lm_tables_give(&tables, *out);
    hd_lm_tables_free(&tables);
    hd_policy_free(&shared);
    hd_llama_free(folded);
    hd_llama_free(narrow);
    return s;
}
