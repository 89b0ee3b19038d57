/* The multiple-choice knapsack against all combinations, and its shadow prices against the textbook dual. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/knapsack.h"
#include "../../sw/core/rng.h"

enum { MOST_LAYERS = 5, MOST_CHOICES = 6 };

static void random_choices(hd_choice *c, int n, hd_rng *rng, uint32_t top) {
    for (int i = 0; i < n; i++) {
        c[i].loss = hd_rng_below(rng, 10) ? (double)hd_rng_float(rng) : INFINITY;
        for (int k = 0; k < HD_COSTS; k++) c[i].cost[k] = hd_rng_below(rng, top);
    }
}

static int within(const uint64_t *cost, const uint64_t *budget) {
    for (int k = 0; k < HD_COSTS; k++)
        if (budget[k] != HD_NO_BUDGET && cost[k] > budget[k]) return 0;
    return 1;
}

/* Least loss of all combinations; INFINITY when none is within the budget. */
static double brute_force(const hd_choice *c, int layers, int choices, const uint64_t *budget) {
    long all = 1;
    double best = INFINITY;
    for (int l = 0; l < layers; l++) all *= choices;
    for (long n = 0; n < all; n++) {
        double loss = 0;
        uint64_t cost[HD_COSTS] = {0};
        long rest = n;
        for (int l = 0; l < layers; l++, rest /= choices) {
            const hd_choice *o = &c[l * choices + rest % choices];
            loss += o->loss;
            for (int k = 0; k < HD_COSTS; k++) cost[k] += o->cost[k];
        }
        if (within(cost, budget) && loss < best) best = loss;
    }
    return best;
}

static double total(uint64_t cost[HD_COSTS], const hd_choice *c, const int *pick, int layers, int choices) {
    double loss = 0;
    memset(cost, 0, HD_COSTS * sizeof *cost);
    for (int l = 0; l < layers; l++) {
        loss += c[l * choices + pick[l]].loss;
        for (int k = 0; k < HD_COSTS; k++) cost[k] += c[l * choices + pick[l]].cost[k];
    }
    return loss;
}

static void random_budget(uint64_t *budget, hd_rng *rng, uint32_t top) {
    for (int k = 0; k < HD_COSTS; k++) budget[k] = hd_rng_below(rng, 3) ? hd_rng_below(rng, top) : HD_NO_BUDGET;
}

static void equals_all_combinations(void **state) {
    (void)state;
    hd_rng rng;
    int solved = 0, impossible = 0;
    hd_rng_seed(&rng, 1, 1);
    for (int i = 0; i < 2000; i++) {
        int layers = 1 + (int)hd_rng_below(&rng, MOST_LAYERS), choices = 1 + (int)hd_rng_below(&rng, MOST_CHOICES), pick[MOST_LAYERS];
        hd_choice c[MOST_LAYERS * MOST_CHOICES];
        uint64_t budget[HD_COSTS], cost[HD_COSTS];
        hd_err err = {0};
        random_choices(c, layers * choices, &rng, i % 2 ? 10 : 1000);
        random_budget(budget, &rng, i % 2 ? 40 : 3000);
        double best = brute_force(c, layers, choices, budget);
        hd_status s = hd_knapsack(pick, c, layers, choices, budget, &err);
        if (isfinite(best)) {
            assert_int_equal(s, HD_OK);
            assert_true(fabs(total(cost, c, pick, layers, choices) - best) < 1e-12);
            assert_true(within(cost, budget));
            solved++;
        } else {
            assert_int_equal(s, HD_NOFIT);
            assert_string_equal(err.message, "knapsack: no choice is within the budget");
            impossible++;
        }
    }
    assert_true(solved > 500 && impossible > 200);
}

static double dual(const hd_choice *c, int layers, int choices, const uint64_t *budget, const double *price) {
    double sum = 0;
    for (int l = 0; l < layers; l++) {
        double least = INFINITY;
        for (int i = 0; i < choices; i++) {
            const hd_choice *o = &c[l * choices + i];
            double value = o->loss;
            for (int k = 0; k < HD_COSTS; k++) value += budget[k] == HD_NO_BUDGET ? 0 : price[k] * (double)o->cost[k];
            least = fmin(least, value);
        }
        sum += least;
    }
    for (int k = 0; k < HD_COSTS; k++) sum -= budget[k] == HD_NO_BUDGET ? 0 : price[k] * (double)budget[k];
    return sum;
}

/* No other price has a larger dual, and no choice within the budget a lower loss than it. */
static void prices_are_the_dual(void **state) {
    (void)state;
    hd_rng rng;
    int binding = 0;
    hd_rng_seed(&rng, 2, 1);
    for (int i = 0; i < 100; i++) {
        int layers = 2 + (int)hd_rng_below(&rng, MOST_LAYERS - 1), choices = 2 + (int)hd_rng_below(&rng, MOST_CHOICES - 1);
        hd_choice c[MOST_LAYERS * MOST_CHOICES];
        uint64_t budget[HD_COSTS];
        double price[HD_COSTS];
        random_choices(c, layers * choices, &rng, 1000);
        random_budget(budget, &rng, 3000);
        double best = brute_force(c, layers, choices, budget);
        if (!isfinite(best)) continue;
        hd_knapsack_price(price, c, layers, choices, budget);
        double found = dual(c, layers, choices, budget, price);
        assert_true(found <= best + 1e-9);
        for (int k = 0; k < HD_COSTS; k++) {
            assert_true(price[k] >= 0 && (budget[k] != HD_NO_BUDGET || price[k] == 0));
            binding += price[k] > 0;
        }
        for (int n = 0; n < 2000; n++) {
            double other[HD_COSTS];
            for (int k = 0; k < HD_COSTS; k++) other[k] = n % 3 == k ? 0 : pow(10, -5 * (double)hd_rng_float(&rng));
            assert_true(dual(c, layers, choices, budget, other) <= found + 1e-9);
        }
    }
    assert_true(binding > 20);
}

/* Far more partial choices than are kept: still within both budgets, and close to the bound that the dual gives. */
static void many_layers(void **state) {
    (void)state;
    enum { LAYERS = 40, CHOICES = 12 };
    hd_choice *c = malloc(LAYERS * CHOICES * sizeof *c);
    int pick[LAYERS];
    uint64_t budget[HD_COSTS], cost[HD_COSTS];
    double price[HD_COSTS];
    hd_err err = {0};
    hd_rng rng;
    hd_rng_seed(&rng, 3, 1);
    for (int i = 0; i < LAYERS * CHOICES; i++) {
        c[i].cost[0] = 1000 + hd_rng_below(&rng, 100000);
        c[i].cost[1] = 1000 + hd_rng_below(&rng, 100000);
        c[i].loss = 1e5 / (double)(c[i].cost[0] + c[i].cost[1]) * (0.5 + (double)hd_rng_float(&rng));
    }
    budget[0] = LAYERS * 40000;
    budget[1] = LAYERS * 35000;
    if (hd_knapsack(pick, c, LAYERS, CHOICES, budget, &err)) fail_msg("%s", err.message);
    double loss = total(cost, c, pick, LAYERS, CHOICES);
    assert_true(within(cost, budget));
    hd_knapsack_price(price, c, LAYERS, CHOICES, budget);
    double bound = dual(c, LAYERS, CHOICES, budget, price);
    if (!(loss >= bound - 1e-9 && loss < 1.02 * bound)) fail_msg("loss %g, bound %g", loss, bound);
    free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_all_combinations),
        cmocka_unit_test(prices_are_the_dual),
        cmocka_unit_test(many_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
