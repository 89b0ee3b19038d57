#include "knapsack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A partial choice: layers up to one of them. */
typedef struct label {
    double loss;
    uint64_t cost[HD_COSTS];
    uint64_t cell[HD_COSTS]; /* of the grid that thins them */
    int from, pick;          /* label of the layer before, choice of this one */
} label;

static int compare(const label *x, const label *y, const uint64_t *a, const uint64_t *b) {
    for (int k = 0; k < HD_COSTS; k++)
        if (a[k] != b[k]) return a[k] < b[k] ? -1 : 1;
    if (x->loss != y->loss) return x->loss < y->loss ? -1 : 1;
    if (x->from != y->from) return x->from < y->from ? -1 : 1;
    return x->pick - y->pick;
}

static int by_cost(const void *a, const void *b) {
    const label *x = a, *y = b;
    return compare(x, y, x->cost, y->cost);
}

static int by_cell(const void *a, const void *b) {
    const label *x = a, *y = b;
    return compare(x, y, x->cell, y->cell);
}

/* Steps of cost[1] upwards with falling loss: what the labels so far reach. */
typedef struct staircase {
    uint64_t *cost;
    double *loss;
    size_t n;
} staircase;

/* 0 when a label before is as cheap and as good. */
static int climb(staircase *s, uint64_t cost, double loss) {
    size_t lo = 0, hi = s->n; /* lo = first step with a larger cost */
    while (lo < hi) {
        size_t middle = (lo + hi) / 2;
        if (s->cost[middle] <= cost) lo = middle + 1;
        else hi = middle;
    }
    if (lo && s->loss[lo - 1] <= loss) return 0;
    size_t first = lo && s->cost[lo - 1] == cost ? lo - 1 : lo, last = first;
    while (last < s->n && s->loss[last] >= loss) last++;
    memmove(s->cost + first + 1, s->cost + last, (s->n - last) * sizeof *s->cost);
    memmove(s->loss + first + 1, s->loss + last, (s->n - last) * sizeof *s->loss);
    s->cost[first] = cost;
    s->loss[first] = loss;
    s->n = s->n - (last - first) + 1;
    return 1;
}

/* Drops what another label beats; returns how many stay. Labels by rising cost[0], so that only cost[1] and loss decide. */
static size_t undominated(label *l, size_t n, staircase *s) {
    size_t kept = 0;
    qsort(l, n, sizeof *l, by_cost);
    s->n = 0;
    for (size_t i = 0; i < n; i++)
        if (climb(s, l[i].cost[1], l[i].loss)) l[kept++] = l[i];
    return kept;
}

/* Leaves at most HD_KNAPSACK_LABELS: the best of each cell of a grid, which gets coarser until that is so. */
static size_t thin(label *l, size_t n) {
    uint64_t most[HD_COSTS] = {0};
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < HD_COSTS; k++)
            if (l[i].cost[k] > most[k]) most[k] = l[i].cost[k];
    for (uint64_t cells = HD_KNAPSACK_LABELS; n > HD_KNAPSACK_LABELS; cells -= cells / 4) {
        for (size_t i = 0; i < n; i++)
            for (int k = 0; k < HD_COSTS; k++) l[i].cell[k] = l[i].cost[k] / (most[k] / cells + 1);
        qsort(l, n, sizeof *l, by_cell);
        size_t kept = 0;
        for (size_t i = 0; i < n; i++)
            if (!i || memcmp(l[i].cell, l[i - 1].cell, sizeof l[i].cell)) l[kept++] = l[i];
        n = kept;
    }
    return n;
}

typedef struct table {
    const hd_choice *choice;
    int layers, choices;
    const uint64_t *budget;
    uint64_t *rest; /* [layers + 1][HD_COSTS]: least that the layers from here on cost */
    label **kept;   /* [layers] */
    size_t *n;      /* [layers] */
} table;

static int is_free(const table *t, int k) { return t->budget[k] == HD_NO_BUDGET; }

static void least_rest(table *t) {
    memset(t->rest + (size_t)t->layers * HD_COSTS, 0, HD_COSTS * sizeof *t->rest);
    for (int l = t->layers; l-- > 0;)
        for (int k = 0; k < HD_COSTS; k++) {
            uint64_t least = UINT64_MAX / 4;
            for (int c = 0; c < t->choices; c++) {
                const hd_choice *o = &t->choice[(size_t)l * (size_t)t->choices + (size_t)c];
                if (isfinite(o->loss) && o->cost[k] < least) least = o->cost[k];
            }
            t->rest[l * HD_COSTS + k] = is_free(t, k) ? 0 : least + t->rest[(l + 1) * HD_COSTS + k];
        }
}

/* Extends the labels of layer l - 1 by the choices of layer l into `to`; what cannot end within the budget is left out. */
static size_t extend(const table *t, int l, label *to) {
    static const label start = {0};
    const label *from = l ? t->kept[l - 1] : &start;
    size_t n_from = l ? t->n[l - 1] : 1, n = 0;
    for (size_t i = 0; i < n_from; i++)
        for (int c = 0; c < t->choices; c++) {
            const hd_choice *o = &t->choice[(size_t)l * (size_t)t->choices + (size_t)c];
            label next = {.loss = from[i].loss + o->loss, .from = (int)i, .pick = c};
            int fits = isfinite(o->loss);
            for (int k = 0; k < HD_COSTS; k++) {
                next.cost[k] = is_free(t, k) ? 0 : from[i].cost[k] + o->cost[k];
                fits &= next.cost[k] + t->rest[(l + 1) * HD_COSTS + k] <= t->budget[k];
            }
            if (fits) to[n++] = next;
        }
    return n;
}

static hd_status fill(table *t, hd_err *err) {
    size_t room = HD_KNAPSACK_LABELS * (size_t)t->choices;
    label *all = malloc(room * sizeof *all);
    staircase s = {malloc((room + 1) * sizeof *s.cost), malloc((room + 1) * sizeof *s.loss), 0};
    hd_status status = all && s.cost && s.loss ? HD_OK : hd_fail(err, HD_NOMEM, "knapsack: no memory for %zu partial choices", room);
    for (int l = 0; !status && l < t->layers; l++) {
        size_t n = thin(all, undominated(all, extend(t, l, all), &s));
        if (!n) status = hd_fail(err, HD_NOFIT, "knapsack: no choice is within the budget");
        if (!status && !(t->kept[l] = malloc(n * sizeof *all))) status = hd_fail(err, HD_NOMEM, "knapsack: no memory for %zu partial choices", n);
        if (!status) memcpy(t->kept[l], all, n * sizeof *all);
        t->n[l] = n;
    }
    free(all);
    free(s.cost);
    free(s.loss);
    return status;
}

static void read_back(int *pick, const table *t) {
    int at = 0;
    const label *last = t->kept[t->layers - 1];
    for (size_t i = 1; i < t->n[t->layers - 1]; i++)
        if (last[i].loss < last[at].loss) at = (int)i;
    for (int l = t->layers; l-- > 0;) {
        pick[l] = t->kept[l][at].pick;
        at = t->kept[l][at].from;
    }
}

hd_status hd_knapsack(int *pick, const hd_choice *choice, int layers, int choices, const uint64_t budget[HD_COSTS], hd_err *err) {
    if (layers < 1 || choices < 1) return hd_fail(err, HD_RANGE, "knapsack: %d layers with %d choices each; at least 1", layers, choices);
    table t = {.choice = choice, .layers = layers, .choices = choices, .budget = budget};
    t.rest = malloc(((size_t)layers + 1) * HD_COSTS * sizeof *t.rest);
    t.kept = calloc((size_t)layers, sizeof *t.kept);
    t.n = calloc((size_t)layers, sizeof *t.n);
    hd_status status = HD_OK;
    if (t.rest && t.kept && t.n) {
        least_rest(&t);
        status = fill(&t, err);
        if (!status) read_back(pick, &t);
    } else
        status = hd_fail(err, HD_NOMEM, "knapsack: no memory for %d layers", layers);
    for (int l = 0; t.kept && l < layers; l++) free(t.kept[l]);
    free(t.rest);
    free(t.kept);
    free(t.n);
    return status;
}

/* ---- shadow prices ---- */

/* The dual at `price`; cost: of the choices that it takes, summed. */
static double dual(const table *t, const double price[HD_COSTS], double cost[HD_COSTS]) {
    double sum = 0;
    memset(cost, 0, HD_COSTS * sizeof *cost);
    for (int l = 0; l < t->layers; l++) {
        const hd_choice *row = t->choice + (size_t)l * (size_t)t->choices, *best = NULL;
        double least = INFINITY;
        for (int c = 0; c < t->choices; c++) {
            double value = row[c].loss;
            for (int k = 0; k < HD_COSTS; k++) value += is_free(t, k) ? 0 : price[k] * (double)row[c].cost[k];
            if (value < least) {
                least = value;
                best = &row[c];
            }
        }
        sum += least;
        for (int k = 0; best && k < HD_COSTS; k++) cost[k] += (double)best->cost[k];
    }
    for (int k = 0; k < HD_COSTS; k++)
        if (!is_free(t, k)) sum -= price[k] * (double)t->budget[k];
    return sum;
}

/* Best price[k] with those of lower k chosen anew for each value: the dual is concave, so one over a line falls off on both sides. */
static double best_price(const table *t, double price[HD_COSTS], int k, double top) {
    double cost[HD_COSTS], lo = 0, hi = top;
    if (k < 0) return dual(t, price, cost);
    price[k] = 0;
    double none = best_price(t, price, k - 1, top);
    if (is_free(t, k)) return none;
    double lower[HD_COSTS];
    memcpy(lower, price, sizeof lower);
    for (int round = 0; round < 100; round++) {
        double a = lo + (hi - lo) / 3, b = hi - (hi - lo) / 3;
        price[k] = a;
        double at_a = best_price(t, price, k - 1, top);
        price[k] = b;
        if (at_a < best_price(t, price, k - 1, top)) lo = a;
        else hi = b;
    }
    price[k] = (lo + hi) / 2;
    double value = best_price(t, price, k - 1, top);
    if (value > none) return value;
    memcpy(price, lower, sizeof lower);
    return none;
}

void hd_knapsack_price(double price[HD_COSTS], const hd_choice *choice, int layers, int choices, const uint64_t budget[HD_COSTS]) {
    table t = {.choice = choice, .layers = layers, .choices = choices, .budget = budget};
    double least = INFINITY, most = -INFINITY;
    for (int i = 0; i < layers * choices; i++) {
        if (!isfinite(choice[i].loss)) continue;
        least = fmin(least, choice[i].loss);
        most = fmax(most, choice[i].loss);
    }
    memset(price, 0, HD_COSTS * sizeof *price);
    /* No price can be more than all loss there is for one unit. */
    if (most > least) best_price(&t, price, HD_COSTS - 1, (most - least) * layers);
}
