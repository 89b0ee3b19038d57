/* heddle compress with a budget: the policy is chosen by measurement, and the answer says why. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/progress.h"
#include "../explore/auto_network.h"
#include "../explore/boards.h"
#include "cli.h"

int cli_has_budget(const cli_args *a) {
    return cli_text(a, "--budget-bytes") || cli_text(a, "--budget-cycles") || cli_text(a, "--budget-bpw");
}

hd_status cli_only_with_budget(const cli_args *a, hd_err *err) {
    static const char *const names[] = {"--geometry", "--board", "--memory", "--policy-out", "--judge", "--judge-count", "--refine"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (cli_text(a, names[i])) return hd_fail(err, HD_USAGE, "compress: %s goes with --budget-bytes, --budget-bpw or --budget-cycles", names[i]);
    return HD_OK;
}

hd_status cli_budget(uint64_t budget[HD_COSTS], const cli_args *a, double weights, hd_err *err) {
    static const char *const chosen[] = {"--weights", "--sparsity", "--structure", "--policy", "--budget", "--rounds", "--repair", "--blockwise"};
    int64_t bytes = 0, cycles = 0;
    double bpw = 0;
    for (size_t i = 0; i < sizeof chosen / sizeof *chosen; i++)
        if (cli_text(a, chosen[i])) return hd_fail(err, HD_USAGE, "compress: %s and a budget do not go together; the budget chooses", chosen[i]);
    if (cli_text(a, "--budget-bytes") && cli_text(a, "--budget-bpw")) return hd_fail(err, HD_USAGE, "compress: --budget-bytes and --budget-bpw do not go together");
    hd_status s = cli_int(&bytes, a, "--budget-bytes", 0, 1, (int64_t)1 << 47, err);
    if (!s) s = cli_int(&cycles, a, "--budget-cycles", 0, 1, (int64_t)1 << 47, err);
    if (!s) s = cli_float(&bpw, a, "--budget-bpw", 0, 0.01, 64, err);
    budget[HD_AUTO_BYTES] = bytes ? (uint64_t)bytes : bpw > 0 ? (uint64_t)floor(bpw * weights / 8) : HD_NO_BUDGET;
    budget[HD_AUTO_CYCLES] = cycles ? (uint64_t)cycles : HD_NO_BUDGET;
    return s;
}

/* ---- why ---- */

static const hd_choice *alone_of(const hd_auto_result *r, int layer, int format) {
    return &r->alone[(size_t)layer * (size_t)r->formats + (size_t)format];
}

/* The tried format that is next to the chosen one in cost[k]: the dearest of the cheaper ones that lose least for what they save (side -1),
 * or the one that gains most for what it costs (side 1). -1 = none. */
static int neighbour(const hd_auto_result *r, int layer, int k, int side) {
    const hd_choice *now = alone_of(r, layer, r->pick[layer]);
    int best = -1;
    double best_rate = 0;
    for (int f = 0; f < r->formats; f++) {
        const hd_choice *o = alone_of(r, layer, f);
        double more = (double)o->cost[k] - (double)now->cost[k], loss = o->loss - now->loss;
        if (!isfinite(o->loss) || !isfinite(now->loss) || side * more <= 0) continue;
        double rate = loss / more; /* negative: the usual exchange of loss for cost */
        if (best < 0 || (side > 0 ? rate < best_rate : rate > best_rate)) {
            best = f;
            best_rate = rate;
        }
    }
    return best;
}

static void format_text(const hd_auto_problem *p, int f, char *text, size_t size) {
    if (f < 0) snprintf(text, size, "-");
    else hd_auto_format_text(&p->format[f].policy, text, size);
}

static void print_neighbour(const hd_auto_problem *p, const hd_auto_result *r, int layer, int k, int side) {
    int f = neighbour(r, layer, k, side);
    char text[140], cell[200];
    const hd_choice *now = alone_of(r, layer, r->pick[layer]);
    format_text(p, f, text, sizeof text);
    if (f < 0) snprintf(cell, sizeof cell, "-");
    else snprintf(cell, sizeof cell, "%s: %+.2g for %+.0f", text, alone_of(r, layer, f)->loss - now->loss, (double)alone_of(r, layer, f)->cost[k] - (double)now->cost[k]);
    printf("  %-34s", cell);
}

static void print_price(const hd_auto_problem *p, const hd_auto_result *r, int k, const char *unit) {
    if (p->budget[k] == HD_NO_BUDGET) return;
    printf("; shadow price %.3g for 1000 %s", 1000 * r->price[k], unit);
}

void cli_auto_print(const hd_auto_problem *p, const hd_auto_result *r, const char *loss_name) {
    int k = p->budget[HD_AUTO_CYCLES] != HD_NO_BUDGET && p->budget[HD_AUTO_BYTES] == HD_NO_BUDGET ? HD_AUTO_CYCLES : HD_AUTO_BYTES;
    int cycles = 0;
    for (int l = 0; l < r->layers; l++) cycles |= alone_of(r, l, 0)->cost[HD_AUTO_CYCLES] > 0;
    printf("%-16s %-24s %10s %9s%s  %-34s  %-34s\n", "layer", "chosen", "loss alone", "bytes", cycles ? "    cycles" : "", k ? "fewer cycles: loss, cycles" : "smaller: loss, bytes",
           k ? "more cycles" : "larger");
    for (int l = 0; l < r->layers; l++) {
        const hd_choice *o = alone_of(r, l, r->pick[l]);
        char text[140], loss[24] = "-";
        format_text(p, r->pick[l], text, sizeof text);
        if (isfinite(o->loss)) snprintf(loss, sizeof loss, "%.5f", o->loss);
        printf("%-16s %-24s %10s %9llu", p->layer[l], text, loss, (unsigned long long)o->cost[HD_AUTO_BYTES]);
        if (cycles) printf(" %9llu", (unsigned long long)o->cost[HD_AUTO_CYCLES]);
        print_neighbour(p, r, l, k, -1);
        print_neighbour(p, r, l, k, 1);
        printf("\n");
    }
    char best[140];
    format_text(p, r->best_uniform, best, sizeof best);
    printf("loss (%s) %.5f; ", loss_name, r->chosen.loss);
    if (r->best_uniform < 0) printf("no uniform policy is within the budget");
    else printf("best uniform policy %s: %.5f at %llu bytes", best, r->uniform[r->best_uniform].loss, (unsigned long long)r->uniform[r->best_uniform].cost[HD_AUTO_BYTES]);
    print_price(p, r, HD_AUTO_BYTES, "bytes");
    print_price(p, r, HD_AUTO_CYCLES, "cycles");
    printf("; %d networks measured\n\n", r->networks);
}

static void add_number(cJSON *o, const char *name, double value) {
    if (isfinite(value)) cJSON_AddNumberToObject(o, name, value);
    else cJSON_AddNullToObject(o, name);
}

static void add_costs(cJSON *o, const hd_choice *c) {
    add_number(o, "loss", c->loss);
    if (!isfinite(c->loss)) return;
    cJSON_AddNumberToObject(o, "bytes", (double)c->cost[HD_AUTO_BYTES]);
    if (c->cost[HD_AUTO_CYCLES]) cJSON_AddNumberToObject(o, "cycles", (double)c->cost[HD_AUTO_CYCLES]);
}

static cJSON *candidate_json(const hd_auto_problem *p, const hd_auto_result *r, const hd_choice *c, int f) {
    cJSON *e = cJSON_CreateObject();
    char text[140];
    format_text(p, f, text, sizeof text);
    cJSON_AddStringToObject(e, "format", text);
    add_costs(e, c);
    double priced = c->loss;
    for (int k = 0; k < HD_COSTS; k++) priced += r->price[k] * (double)c->cost[k];
    add_number(e, "priced", priced);
    return e;
}

cJSON *cli_auto_json(const hd_auto_problem *p, const hd_auto_result *r, const char *loss_name) {
    static const char *const origin[] = {"uniform", "knapsack", "refined"};
    static const char *const unit[HD_COSTS] = {"bytes", "cycles"};
    cJSON *o = cJSON_CreateObject();
    cJSON *budget = cJSON_AddObjectToObject(o, "budget"), *price = cJSON_AddObjectToObject(o, "shadow_price");
    for (int k = 0; k < HD_COSTS; k++) {
        if (p->budget[k] == HD_NO_BUDGET) continue;
        cJSON_AddNumberToObject(budget, unit[k], (double)p->budget[k]);
        cJSON_AddNumberToObject(price, unit[k], r->price[k]);
    }
    cJSON_AddStringToObject(o, "loss_is", loss_name);
    add_costs(o, &r->chosen);
    cJSON_AddStringToObject(o, "origin", origin[r->origin]);
    cJSON_AddNumberToObject(o, "networks_measured", r->networks);
    if (r->best_uniform >= 0) cJSON_AddItemToObject(o, "best_uniform", candidate_json(p, r, &r->uniform[r->best_uniform], r->best_uniform));
    else cJSON_AddNullToObject(o, "best_uniform");
    cJSON *uniform = cJSON_AddArrayToObject(o, "uniform"), *layers = cJSON_AddArrayToObject(o, "layers");
    for (int f = 0; f < r->formats; f++)
        if (isfinite(r->uniform[f].loss)) cJSON_AddItemToArray(uniform, candidate_json(p, r, &r->uniform[f], f));
    for (int l = 0; l < r->layers; l++) {
        cJSON *e = cJSON_CreateObject();
        char text[140];
        format_text(p, r->pick[l], text, sizeof text);
        cJSON_AddStringToObject(e, "name", p->layer[l]);
        cJSON_AddStringToObject(e, "chosen", text);
        cJSON *list = cJSON_AddArrayToObject(e, "candidates");
        for (int f = 0; f < r->formats; f++)
            if (isfinite(alone_of(r, l, f)->loss)) cJSON_AddItemToArray(list, candidate_json(p, r, alone_of(r, l, f), f));
        cJSON_AddItemToArray(layers, e);
    }
    return o;
}

/* ---- networks ---- */

static hd_status read_options(hd_auto_network_options *o, hd_geometry *g, hd_lower_options *lower, const cli_args *a, const hd_graph *graph, hd_err *err) {
    const char *judge = cli_text(a, "--judge");
    int64_t judged = 0, refine = 0;
    double weights = 0;
    hd_policy base = {0};
    for (int i = 0; i < graph->n_nodes; i++) weights += (double)hd_node_weights(&graph->node[i]);
    hd_status s = cli_policy(&base, a, err);
    *o = (hd_auto_network_options){.base = base.base, .ranges = base.ranges, .percentile = base.percentile, .grid_given = cli_text(a, "--grid") && base.base.grid >= 0, .method_given = cli_text(a, "--method") != NULL};
    hd_policy_free(&base);
    if (!s) s = cli_budget(o->budget, a, weights, err);
    if (!s) s = cli_int(&judged, a, "--judge-count", 512, 1, 1 << 20, err);
    if (!s) s = cli_int(&refine, a, "--refine", 24, 0, 100000, err);
    o->judged = (int)judged;
    o->refinements = (int)refine;
    if (!s && judge) {
        o->loss = !strcmp(judge, "divergence") ? HD_AUTO_DIVERGENCE : HD_AUTO_ERROR;
        if (o->loss == HD_AUTO_ERROR && strcmp(judge, "error"))
            s = hd_fail(err, HD_USAGE, "compress: --judge: found '%.60s'; allowed are divergence and error", judge);
    }
    int wanted = cli_text(a, "--geometry") || cli_text(a, "--board");
    if (!s && !wanted && cli_text(a, "--budget-cycles")) s = hd_fail(err, HD_USAGE, "compress: --budget-cycles needs --geometry or --board, as in --geometry 4x8x8x2");
    if (!s && !wanted && cli_text(a, "--memory")) s = hd_fail(err, HD_USAGE, "compress: --memory goes with --geometry or --board");
    if (s || !wanted) return s;
    s = cli_geometry(g, lower, a, err);
    o->geometry = g;
    o->lower = lower;
    return s;
}

static hd_status print_network(const cli_args *a, const hd_auto_network *n, const char *out, hd_err *err) {
    const char *loss = n->loss == HD_AUTO_DIVERGENCE ? "divergence from the float network's softmax, nats" : "squared error of the outputs, relative";
    if (!a->json) {
        cli_auto_print(&n->problem, n->result, loss);
        cli_model_print(n->model, out);
        if (n->cycles) printf("%llu cycles an inference (predicted)\n", (unsigned long long)n->cycles);
        return HD_OK;
    }
    cJSON *o = cli_model_json(n->model, out), *why = cli_auto_json(&n->problem, n->result, loss);
    if (n->cycles) cJSON_AddNumberToObject(o, "cycles", (double)n->cycles);
    cJSON_AddNumberToObject(why, "judged", n->judged);
    cJSON_AddBoolToObject(why, "held_out", n->held_out);
    cJSON_AddItemToObject(o, "why", why);
    return cli_json(o, err);
}

hd_status cli_compress_budget(const cli_args *a, const hd_graph *g, const char *calib_path, int64_t samples, const char *out, hd_err *err) {
    hd_auto_network_options o = {0};
    hd_lower_options lower = {.board = "", .expand_input = -1};
    hd_geometry geometry = {0};
    hd_idx *calib = NULL;
    hd_auto_network *n = NULL;
    const char *policy = cli_text(a, "--policy-out");
    hd_status s = read_options(&o, &geometry, &lower, a, g, err);
    if (!s && policy) s = cli_can_write(policy, err);
    if (!s) s = hd_idx_load(&calib, calib_path, err);
    hd_shape in = g->tensor[g->input].shape;
    if (!s) s = cli_hwc(a, calib, calib_path, in.c, in.h, in.w, err);
    if (!s) s = hd_auto_network_run(&n, g, calib, (int)samples, !cli_flag(a, "--raw"), &o, err);
    if (!s && hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
    if (!s) s = hd_model_save(n->model, out, err);
    if (!s && policy && (s = hd_policy_save(&n->policy, policy, err)) != HD_OK) remove(out);
    if (!s) s = print_network(a, n, out, err);
    hd_auto_network_free(n);
    if (calib) hd_idx_free(calib);
    return s;
}
