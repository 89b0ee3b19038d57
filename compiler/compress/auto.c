#include "auto.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/progress.h"
#include "passes.h"

/* A better method may divide a format's loss by this much. Where that would not make it the best, it is not tried. */
static const double METHOD_GAIN = 4;
/* Parts may say a few percent more than the whole: uniform policies up to here above the budget are measured. */
static const double ESTIMATE_SLACK = 1.03;
enum { TIGHTENINGS = 6, PATIENCE = 12, MOVES = 128 };
static const double powers[] = {1.0, 0.5, 2.0};
enum { POWERS = sizeof powers / sizeof *powers };

typedef struct search {
    const hd_auto_problem *p;
    hd_auto_result *r;
    uint64_t fixed[HD_COSTS];  /* what no layer's format changes */
    int *seen;                 /* [n_seen][layers]: measured networks */
    hd_choice *measured;       /* [n_seen] */
    int n_seen, room;
    hd_progress progress;
    double done;
} search;

static hd_choice *alone(const search *s, int layer, int format) {
    return &s->r->alone[(size_t)layer * (size_t)s->p->formats + (size_t)format];
}

static int within(const uint64_t cost[HD_COSTS], const uint64_t budget[HD_COSTS]) {
    for (int k = 0; k < HD_COSTS; k++)
        if (budget[k] != HD_NO_BUDGET && cost[k] > budget[k]) return 0;
    return cost[HD_AUTO_BYTES] != HD_NO_BUDGET;
}

static hd_status step(search *s, const char *note, hd_err *err) {
    hd_progress_show(&s->progress, ++s->done, note);
    return hd_interrupted ? hd_fail(err, HD_INTERRUPTED, "stopped") : HD_OK;
}

/* ---- whole networks ---- */

static hd_status measure(search *s, const int *pick, hd_choice *out, hd_auto_origin origin, hd_err *err) {
    size_t layers = (size_t)s->p->layers;
    for (int i = 0; i < s->n_seen; i++)
        if (!memcmp(s->seen + (size_t)i * layers, pick, layers * sizeof *pick)) {
            *out = s->measured[i];
            return HD_OK;
        }
    if (s->n_seen == s->room) {
        int room = s->room ? 2 * s->room : 64;
        int *seen = realloc(s->seen, (size_t)room * layers * sizeof *seen);
        if (seen) s->seen = seen;
        hd_choice *measured = seen ? realloc(s->measured, (size_t)room * sizeof *measured) : NULL;
        if (!measured) return hd_fail(err, HD_NOMEM, "automatic policy: no memory for %d networks", room);
        s->measured = measured;
        s->room = room;
    }
    hd_status status = s->p->whole(s->p->arg, pick, out, err);
    if (status) return status;
    memcpy(s->seen + (size_t)s->n_seen * layers, pick, layers * sizeof *pick);
    s->measured[s->n_seen++] = *out;
    s->r->networks = s->n_seen;
    int better = out->loss < s->r->chosen.loss || (out->loss <= s->r->chosen.loss && out->cost[HD_AUTO_BYTES] < s->r->chosen.cost[HD_AUTO_BYTES]);
    if (within(out->cost, s->p->budget) && better) {
        s->r->chosen = *out;
        s->r->origin = origin;
        memcpy(s->r->pick, pick, layers * sizeof *pick);
    }
    return HD_OK;
}

/* ---- step 1 ---- */

/* What is left for the layers; 0 when already the fixed part is too much. */
static int layers_budget(const search *s, const uint64_t over[HD_COSTS], uint64_t left[HD_COSTS]) {
    for (int k = 0; k < HD_COSTS; k++) {
        left[k] = s->p->budget[k];
        if (left[k] == HD_NO_BUDGET) continue;
        if (left[k] < s->fixed[k] + over[k]) return 0;
        left[k] -= s->fixed[k] + over[k];
    }
    return 1;
}

static double priced(const search *s, const hd_choice *o, double loss) {
    for (int k = 0; k < HD_COSTS; k++)
        if (s->p->budget[k] != HD_NO_BUDGET) loss += s->r->price[k] * (double)o->cost[k];
    return loss;
}

/* Could a better method make `format` the best of its layer, loss and cost weighed by the shadow prices? */
static int promises(const search *s, int layer, int format) {
    const hd_choice *o = alone(s, layer, format);
    double best = INFINITY;
    for (int f = 0; f < s->p->formats; f++)
        if (isfinite(alone(s, layer, f)->loss)) best = fmin(best, priced(s, alone(s, layer, f), alone(s, layer, f)->loss));
    return priced(s, o, o->loss > 0 ? o->loss / METHOD_GAIN : o->loss) <= best;
}

static hd_status sensitivities(search *s, hd_err *err) {
    const hd_auto_problem *p = s->p;
    hd_choice network;
    uint64_t none[HD_COSTS] = {0}, left[HD_COSTS];
    hd_status status = p->alone(p->arg, -1, 0, &network, err);
    for (int i = 0; i < p->layers * p->formats; i++) s->r->alone[i].loss = INFINITY;
    for (int f = 0; f < p->formats; f++)
        for (int l = 0; l < p->layers && p->format[f].sibling < 0; l++) {
            if (!status) status = p->alone(p->arg, l, f, alone(s, l, f), err);
            if (!status) status = step(s, "layers alone", err);
        }
    if (status) return status;
    for (int k = 0; k < HD_COSTS; k++) {
        s->fixed[k] = network.cost[k];
        for (int l = 0; l < p->layers; l++) s->fixed[k] -= alone(s, l, 0)->cost[k];
    }
    if (layers_budget(s, none, left)) hd_knapsack_price(s->r->price, s->r->alone, p->layers, p->formats, left);
    for (int f = 0; !status && f < p->formats; f++)
        for (int l = 0; l < p->layers && p->format[f].sibling >= 0; l++) {
            if (!status && promises(s, l, p->format[f].sibling)) status = p->alone(p->arg, l, f, alone(s, l, f), err);
            if (!status) status = step(s, "layers alone", err);
        }
    return status;
}

/* ---- step 2 ---- */

/* Whether the parts of a uniform policy say that it may be within the budget. Costs are those of formats that stand for themselves. */
static int may_fit(const search *s, int format) {
    const hd_auto_problem *p = s->p;
    int like = p->format[format].sibling >= 0 ? p->format[format].sibling : format;
    for (int k = 0; k < HD_COSTS; k++) {
        double cost = (double)s->fixed[k];
        for (int l = 0; l < p->layers; l++) cost += (double)alone(s, l, like)->cost[k];
        if (p->budget[k] != HD_NO_BUDGET && cost > ESTIMATE_SLACK * (double)p->budget[k]) return 0;
    }
    return 1;
}

static hd_status uniform_policies(search *s, hd_err *err) {
    const hd_auto_problem *p = s->p;
    int *pick = malloc((size_t)p->layers * sizeof *pick);
    hd_status status = pick ? HD_OK : hd_fail(err, HD_NOMEM, "automatic policy: out of memory");
    for (int f = 0; f < p->formats; f++) s->r->uniform[f].loss = INFINITY;
    for (int second = 0; second < 2; second++)
        for (int f = 0; !status && f < p->formats; f++) {
            hd_choice *o = &s->r->uniform[f];
            int like = p->format[f].sibling, best = s->r->best_uniform;
            if ((like >= 0) != second) continue;
            for (int l = 0; l < p->layers; l++) pick[l] = f;
            int wanted = may_fit(s, f) && (like < 0 || best < 0 || s->r->uniform[like].loss <= METHOD_GAIN * s->r->uniform[best].loss);
            if (wanted) status = measure(s, pick, o, HD_AUTO_UNIFORM, err);
            if (!status && wanted && within(o->cost, p->budget) && (best < 0 || o->loss < s->r->uniform[best].loss)) s->r->best_uniform = f;
            if (!status) status = step(s, "uniform policies", err);
        }
    free(pick);
    return status;
}

/* ---- step 3 ---- */

static hd_status knapsacks(search *s, hd_err *err) {
    const hd_auto_problem *p = s->p;
    size_t all = (size_t)p->layers * (size_t)p->formats;
    hd_choice *choice = malloc(all * sizeof *choice), got;
    int *pick = malloc((size_t)p->layers * sizeof *pick);
    hd_status status = choice && pick ? HD_OK : hd_fail(err, HD_NOMEM, "automatic policy: out of memory");
    for (int i = 0; !status && i < POWERS; i++) {
        uint64_t over[HD_COSTS] = {0}, left[HD_COSTS];
        for (size_t n = 0; n < all; n++) {
            choice[n] = s->r->alone[n];
            choice[n].loss = isfinite(choice[n].loss) ? pow(fmax(choice[n].loss, 0), powers[i]) : INFINITY;
        }
        if (!i && layers_budget(s, over, left)) hd_knapsack_price(s->r->price, choice, p->layers, p->formats, left);
        for (int round = 0; !status && round < TIGHTENINGS && layers_budget(s, over, left); round++) {
            status = hd_knapsack(pick, choice, p->layers, p->formats, left, err);
            if (status == HD_NOFIT) {
                status = HD_OK;
                break;
            }
            if (!status) status = measure(s, pick, &got, HD_AUTO_KNAPSACK, err);
            if (status || within(got.cost, p->budget) || got.cost[HD_AUTO_BYTES] == HD_NO_BUDGET) break;
            for (int k = 0; k < HD_COSTS; k++)
                if (p->budget[k] != HD_NO_BUDGET && got.cost[k] > p->budget[k]) over[k] += got.cost[k] - p->budget[k];
        }
        if (!status) status = step(s, "knapsack", err);
    }
    free(choice);
    free(pick);
    return status;
}

/* ---- step 4 ---- */

typedef struct move {
    double loss; /* as step 1 says */
    int layer[2], format[2]; /* layer[1] -1 = one layer only */
} move;

/* Keeps the MOVES best, in order; of equal ones the first. */
static int insert(move *list, int n, const move *m) {
    int at = n;
    while (at && list[at - 1].loss > m->loss) at--;
    if (at == MOVES) return n;
    int last = n < MOVES ? n : MOVES - 1;
    memmove(list + at + 1, list + at, (size_t)(last - at) * sizeof *list);
    list[at] = *m;
    return n < MOVES ? n + 1 : n;
}

/* What the move changes, as step 1 says; 0 when it cannot be within the budget. */
static int weigh(const search *s, move *m) {
    double cost[HD_COSTS];
    m->loss = 0;
    for (int k = 0; k < HD_COSTS; k++) cost[k] = (double)s->r->chosen.cost[k];
    for (int i = 0; i < 2; i++) {
        if (m->layer[i] < 0) continue;
        const hd_choice *to = alone(s, m->layer[i], m->format[i]), *from = alone(s, m->layer[i], s->r->pick[m->layer[i]]);
        /* A uniform policy may have formats that were hopeless alone; then any move away from them is worth a look. */
        m->loss += to->loss - (isfinite(from->loss) ? from->loss : to->loss);
        for (int k = 0; k < HD_COSTS; k++) cost[k] += (double)to->cost[k] - (isfinite(from->loss) ? (double)from->cost[k] : (double)to->cost[k]);
    }
    for (int k = 0; k < HD_COSTS; k++)
        if (s->p->budget[k] != HD_NO_BUDGET && cost[k] > (double)s->p->budget[k]) return 0;
    return isfinite(m->loss);
}

static int is_seen(const search *s, const int *pick) {
    size_t layers = (size_t)s->p->layers;
    for (int i = 0; i < s->n_seen; i++)
        if (!memcmp(s->seen + (size_t)i * layers, pick, layers * sizeof *pick)) return 1;
    return 0;
}

static int list_moves(move *list, const search *s, int *pick) {
    int n = 0, layers = s->p->layers, formats = s->p->formats;
    for (int a = 0; a < layers; a++)
        for (int f = 0; f < formats; f++) {
            if (f == s->r->pick[a] || !isfinite(alone(s, a, f)->loss)) continue;
            for (int b = a; b < layers; b++)
                for (int g = 0; g < (b == a ? 1 : formats); g++) {
                    if (b > a && (g == s->r->pick[b] || !isfinite(alone(s, b, g)->loss))) continue;
                    move m = {0, {a, b == a ? -1 : b}, {f, g}};
                    if (!weigh(s, &m) || (n == MOVES && m.loss >= list[MOVES - 1].loss)) continue;
                    memcpy(pick, s->r->pick, (size_t)layers * sizeof *pick);
                    pick[a] = f;
                    if (b > a) pick[b] = g;
                    if (!is_seen(s, pick)) n = insert(list, n, &m);
                }
        }
    return n;
}

static hd_status refine(search *s, hd_err *err) {
    int layers = s->p->layers, left = s->p->refinements;
    move *list = malloc(MOVES * sizeof *list);
    int *pick = malloc((size_t)layers * sizeof *pick);
    hd_status status = list && pick ? HD_OK : hd_fail(err, HD_NOMEM, "automatic policy: out of memory");
    for (int better = 1; !status && better && left > 0;) {
        int n = list_moves(list, s, pick);
        better = 0;
        for (int i = 0; !status && !better && i < n && i < PATIENCE && left > 0; i++, left--) {
            hd_choice before = s->r->chosen, got;
            memcpy(pick, s->r->pick, (size_t)layers * sizeof *pick);
            for (int k = 0; k < 2; k++)
                if (list[i].layer[k] >= 0) pick[list[i].layer[k]] = list[i].format[k];
            status = measure(s, pick, &got, HD_AUTO_REFINED, err);
            better = s->r->chosen.loss < before.loss;
            if (!status) status = step(s, "swaps", err);
        }
    }
    free(list);
    free(pick);
    return status;
}

/* ---- all of it ---- */

/* The smallest networks that there are, by each budget in turn, for the message. */
static hd_status too_little(search *s, hd_err *err) {
    const hd_auto_problem *p = s->p;
    static const char *const unit[HD_COSTS] = {"bytes", "cycles"};
    char text[300] = "";
    int *pick = malloc((size_t)p->layers * sizeof *pick);
    hd_status status = pick ? HD_OK : hd_fail(err, HD_NOMEM, "automatic policy: out of memory");
    size_t used = 0;
    for (int k = 0; !status && k < HD_COSTS; k++) {
        if (p->budget[k] == HD_NO_BUDGET) continue;
        for (int l = 0; l < p->layers; l++) {
            pick[l] = 0;
            for (int f = 1; f < p->formats; f++)
                if (isfinite(alone(s, l, f)->loss) && alone(s, l, f)->cost[k] < alone(s, l, pick[l])->cost[k]) pick[l] = f;
        }
        hd_choice got;
        status = measure(s, pick, &got, HD_AUTO_KNAPSACK, err);
        if (status) break;
        int fits = got.cost[HD_AUTO_BYTES] != HD_NO_BUDGET;
        if (fits)
            used += (size_t)snprintf(text + used, sizeof text - used, "%sbudget %llu %s, smallest reachable %llu", used ? "; " : "", (unsigned long long)p->budget[k],
                                     unit[k], (unsigned long long)got.cost[k]);
        else
            used += (size_t)snprintf(text + used, sizeof text - used, "%sbudget %llu %s, and the smallest network does not fit the geometry's memories",
                                     used ? "; " : "", (unsigned long long)p->budget[k], unit[k]);
    }
    free(pick);
    if (status) return status;
    if (within(s->r->chosen.cost, p->budget) && isfinite(s->r->chosen.loss)) return HD_OK; /* the smallest one is the answer after all */
    return hd_fail(err, HD_NOFIT, "no policy is within the budget: %s", used ? text : "no network fits the geometry's memories");
}

static hd_status run(search *s, hd_err *err) {
    hd_status status = sensitivities(s, err);
    if (!status) status = uniform_policies(s, err);
    if (!status) status = knapsacks(s, err);
    if (!status && !isfinite(s->r->chosen.loss)) status = too_little(s, err);
    return status ? status : refine(s, err);
}

hd_status hd_auto_search(hd_auto_result **out, const hd_auto_problem *p, hd_err *err) {
    *out = NULL;
    if (p->layers < 1 || p->formats < 1) return hd_fail(err, HD_UNSUPPORTED, "automatic policy: the network has no layer with weights");
    size_t layers = (size_t)p->layers, formats = (size_t)p->formats;
    hd_auto_result *r = calloc(1, sizeof *r);
    if (!r) return hd_fail(err, HD_NOMEM, "automatic policy: out of memory");
    *r = (hd_auto_result){.layers = p->layers, .formats = p->formats, .chosen = {INFINITY, {0}}, .best_uniform = -1};
    r->alone = calloc(layers * formats, sizeof *r->alone);
    r->uniform = calloc(formats, sizeof *r->uniform);
    r->pick = calloc(layers, sizeof *r->pick);
    search s = {.p = p, .r = r};
    hd_progress_start(&s.progress, p->label, (double)(p->layers * p->formats + p->formats + POWERS + p->refinements));
    hd_status status = r->alone && r->uniform && r->pick ? run(&s, err) : hd_fail(err, HD_NOMEM, "automatic policy: out of memory");
    hd_progress_end(&s.progress);
    free(s.seen);
    free(s.measured);
    if (status) hd_auto_free(r);
    else *out = r;
    return status;
}

void hd_auto_problem_free(const hd_auto_problem *p) {
    for (int i = 0; p->layer && i < p->layers; i++) free((void *)(uintptr_t)p->layer[i]);
    free((void *)(uintptr_t)p->layer);
    free((void *)(uintptr_t)p->format);
}

void hd_auto_free(hd_auto_result *r) {
    if (!r) return;
    free(r->alone);
    free(r->uniform);
    free(r->pick);
    free(r);
}

hd_status hd_auto_policy(hd_policy *out, const hd_auto_problem *p, const hd_auto_result *r, hd_err *err) {
    *out = (hd_policy){.base = p->format[0].policy};
    for (int l = 0; l < r->layers; l++)
        if (!hd_policy_add(out, p->layer[l], &p->format[r->pick[l]].policy)) {
            hd_policy_free(out);
            return hd_fail(err, HD_NOMEM, "automatic policy: no memory for its rules");
        }
    return HD_OK;
}

void hd_auto_format_text(const hd_layer_policy *f, char *text, size_t size) {
    char method[100], bits[16], group[24] = "", sparsity[40] = "";
    hd_recipe_text(&f->recipe, method, sizeof method);
    if (f->bits) snprintf(bits, sizeof bits, "w%d", f->bits);
    else snprintf(bits, sizeof bits, "ternary");
    if (f->granularity == HD_GRANULARITY_GROUP) snprintf(group, sizeof group, " g%d", f->group_size);
    if (f->sparsity > 0 && !f->skip_sparsity) snprintf(sparsity, sizeof sparsity, " -%g%%", 100 * (double)f->sparsity);
    snprintf(text, size, "%s%s%s%s %s", bits, f->bits && f->grid == HD_GRID_EVEN ? " even" : "", group, sparsity, method);
}
