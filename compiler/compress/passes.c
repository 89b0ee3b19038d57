#include "passes.h"

#include <stdlib.h>
#include <string.h>

#include "../graph/split_average.h"
#include "compress_internal.h"
#include "pass_internal.h"

typedef hd_status (*pass_function)(hd_pass *p, hd_err *err);

/* In this order; NULL ends it. */
static const pass_function passes[] = {hd_pass_channels, hd_pass_factor, hd_pass_outliers, hd_pass_fold, NULL};

hd_status hd_policy_keep_ends(hd_policy *p, const hd_graph *g, hd_err *err) {
    int first = -1, last = -1;
    for (int i = 0; i < g->n_nodes; i++)
        if (g->node[i].weight) {
            if (first < 0) first = i;
            last = i;
        }
    hd_layer_policy ends = p->base;
    ends.bits = 8;
    ends.skip_sparsity = 1;
    int ok = first >= 0 && hd_policy_add(p, g->node[first].name, &ends) && hd_policy_add(p, g->node[last].name, &ends);
    return ok ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for a policy rule");
}

int hd_policy_takes_channels(const hd_layer_policy *o) {
    return o->structure == HD_SPARSE_CHANNEL && o->sparsity > 0 && !o->skip_sparsity;
}

int hd_policy_rewrites(const hd_layer_policy *o) {
    return hd_recipe_rewrites(&o->recipe) || hd_policy_takes_channels(o);
}

int hd_policy_add(hd_policy *p, const char *layer, const hd_layer_policy *policy) {
    struct hd_policy_rule *more = realloc(p->rule, ((size_t)p->n_rules + 1) * sizeof *more);
    if (!more) return 0;
    p->rule = more;
    more[p->n_rules] = (struct hd_policy_rule){strdup(layer), *policy};
    return more[p->n_rules].layer && ++p->n_rules;
}

int hd_policy_copy(hd_policy *to, const hd_policy *from) {
    *to = *from;
    to->rule = NULL;
    to->n_rules = 0;
    for (int i = 0; i < from->n_rules; i++)
        if (!hd_policy_add(to, from->rule[i].layer, &from->rule[i].policy)) {
            hd_policy_free(to);
            return 0;
        }
    return 1;
}

int hd_pass_is_explicit(const hd_pass *p, const char *layer, int base_asks) {
    const hd_layer_policy *o = hd_policy_of(p->policy, layer);
    for (int i = 0; !base_asks && i < p->policy->n_rules; i++)
        if (&p->policy->rule[i].policy == o) return !strcmp(p->policy->rule[i].layer, layer);
    return 0;
}

int hd_pass_leave(hd_pass *p, const char *layer, void (*clear)(hd_recipe *r)) {
    hd_layer_policy o = *hd_policy_of(p->policy, layer);
    clear(&o.recipe);
    return hd_policy_add(p->policy, layer, &o);
}

hd_status hd_passes_run(hd_graph **out, hd_policy *out_policy, const hd_graph *g, const hd_policy *p, const hd_idx *calib, int samples, int unit,
                        hd_err *err) {
    *out = NULL;
    *out_policy = (hd_policy){0};
    hd_status s = hd_graph_check(g, err);
    if (!s) s = hd_policy_check(p, g, err);
    if (!s) s = hd_calibration_check(g, calib, samples, err);
    if (s) return s;
    if ((uint32_t)samples > calib->dim[0]) samples = (int)calib->dim[0];
    hd_pass pass = {hd_graph_clone(g), out_policy, calib, samples, unit};
    if (!pass.g || !hd_policy_copy(out_policy, p)) s = hd_fail(err, HD_NOMEM, "%s: no memory for a copy of the network", g->name);
    int rewritten = 0;
    for (int i = 0; pass.g && i < g->n_nodes; i++) rewritten |= hd_policy_rewrites(hd_policy_of(p, g->node[i].name));
    hd_plan plan = {0};
    /* Whatever passes make of the network, bits per weight are over the weights it came with. */
    if (!s && rewritten && (s = hd_compress_plan_make(&plan, g, 0, err)) == HD_OK) pass.g->source_weights = plan.dense_weights;
    hd_compress_plan_free(&plan);
    if (!s && p->split_average) s = hd_graph_split_averages(pass.g, p->split_average, err);
    for (const pass_function *f = passes; !s && *f; f++) s = (*f)(&pass, err);
    if (!s) s = hd_graph_check(pass.g, err);
    if (s) {
        hd_graph_free(pass.g);
        hd_policy_free(out_policy);
    } else
        *out = pass.g;
    return s;
}
