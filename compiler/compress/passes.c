#include "passes.h"

#include <stdlib.h>
#include <string.h>

#include "compress_internal.h"

typedef hd_status (*pass_function)(hd_pass *p, hd_err *err);

/* In this order; NULL ends it. */
static const pass_function passes[] = {NULL};

int hd_policy_add(hd_policy *p, const char *layer, const hd_layer_policy *policy) {
    struct hd_policy_rule *more = realloc(p->rule, ((size_t)p->n_rules + 1) * sizeof *more);
    if (!more) return 0;
    p->rule = more;
    more[p->n_rules] = (struct hd_policy_rule){strdup(layer), *policy};
    return more[p->n_rules].layer && ++p->n_rules;
}

int hd_policy_copy(hd_policy *to, const hd_policy *from) {
    *to = (hd_policy){.base = from->base};
    for (int i = 0; i < from->n_rules; i++)
        if (!hd_policy_add(to, from->rule[i].layer, &from->rule[i].policy)) {
            hd_policy_free(to);
            return 0;
        }
    return 1;
}

hd_status hd_passes_run(hd_graph **out, hd_policy *out_policy, const hd_graph *g, const hd_policy *p, const hd_idx *calib, int samples, int unit,
                        hd_err *err) {
    *out = NULL;
    *out_policy = (hd_policy){0};
    hd_status s = hd_graph_check(g, err);
    if (!s) s = hd_policy_check(p, g, err);
    if (s) return s;
    hd_pass pass = {hd_graph_clone(g), out_policy, calib, samples, unit};
    if (!pass.g || !hd_policy_copy(out_policy, p)) s = hd_fail(err, HD_NOMEM, "%s: no memory for a copy of the network", g->name);
    for (const pass_function *f = passes; !s && *f; f++) s = (*f)(&pass, err);
    if (!s) s = hd_graph_check(pass.g, err);
    if (s) {
        hd_graph_free(pass.g);
        hd_policy_free(out_policy);
    } else
        *out = pass.g;
    return s;
}
