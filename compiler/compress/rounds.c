/* hd_compress: the policy's budget is shared out, and pruning goes in the policy's rounds.
 *
 * Round k of n removes up to 1 - (1 - sparsity)^(k / n) of each layer, among what the round before left; rounds before the last keep 8 bits. Each solves its
 * layers on the inputs that its own compressed predecessors give, so the second moments are estimated anew. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "compress_internal.h"
#include "model_internal.h"
#include "passes.h"

float hd_round_sparsity(float sparsity, int round, int rounds) {
    return round >= rounds ? sparsity : (float)(1 - pow(1 - (double)sparsity, (double)round / rounds));
}

static void ease(hd_layer_policy *o, int round, int rounds) {
    o->sparsity = hd_round_sparsity(o->sparsity, round, rounds);
    o->bits = 8;
    o->grid = -1;
    o->granularity = HD_GRANULARITY_CHANNEL;
    o->group_size = 0;
}

/* What is left after a round, as the next one's choice. */
static hd_status take_masks(hd_trained *left, const hd_graph *g, const hd_model *m, hd_err *err) {
    for (int i = 0; i < m->n_stages; i++) {
        const hd_stage *s = &m->stage[i];
        int k = 0;
        while (k < g->n_nodes && strcmp(g->node[k].name, s->name) != 0) k++;
        if (!s->present || k == g->n_nodes) continue;
        size_t n = hd_stage_out_blocks(s) * hd_stage_in_blocks(s);
        uint8_t *present = malloc(n);
        if (!present) return hd_fail(err, HD_NOMEM, "stage '%s': no memory for its mask", s->name);
        memcpy(present, s->present, n);
        free((void *)left[k].present);
        left[k].present = present;
    }
    return HD_OK;
}

static hd_status one_round(hd_trained *left, const hd_graph *g, const hd_policy *p, int round, const hd_idx *calib, int samples, int unit, hd_err *err) {
    hd_policy easier;
    hd_model *m = NULL;
    if (!hd_policy_copy(&easier, p)) return hd_fail(err, HD_NOMEM, "no memory for a policy");
    ease(&easier.base, round, p->rounds);
    for (int i = 0; i < easier.n_rules; i++) ease(&easier.rule[i].policy, round, p->rounds);
    hd_status status = hd_compress_trained(&m, g, &easier, left, calib, samples, unit, err);
    if (status == HD_OK) status = take_masks(left, g, m, err);
    hd_model_free(m);
    hd_policy_free(&easier);
    return status;
}

hd_status hd_compress(hd_model **out, const hd_graph *g, const hd_policy *policy, const hd_idx *calib, int samples, int unit, hd_err *err) {
    hd_policy shared = {0};
    *out = NULL;
    if (policy->budget == HD_BUDGET_LOCAL && policy->rounds < 2) return hd_compress_trained(out, g, policy, NULL, calib, samples, unit, err);
    hd_status status = hd_compress_check(g, policy, calib, samples, err);
    if (status != HD_OK) return status;
    if (policy->budget == HD_BUDGET_GLOBAL) {
        status = hd_budget_network(&shared, g, policy, calib, samples, unit, err);
        if (status != HD_OK) return status;
        policy = &shared;
    }
    hd_trained *left = calloc((size_t)g->n_nodes, sizeof *left);
    if (!left) status = hd_fail(err, HD_NOMEM, "network '%s': out of memory", g->name);
    for (int round = 1; status == HD_OK && round < policy->rounds; round++) status = one_round(left, g, policy, round, calib, samples, unit, err);
    if (status == HD_OK) status = hd_compress_trained(out, g, policy, left, calib, samples, unit, err);
    for (int i = 0; left && i < g->n_nodes; i++) free((void *)left[i].present);
    free(left);
    hd_policy_free(&shared);
    return status;
}
