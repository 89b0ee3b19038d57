/* The multiple-choice knapsack: of each layer exactly one choice, so that the losses sum to least while no cost passes its budget.
 *
 * Exact by dynamic programming over the partial sums that no other one beats in loss and in every cost (Nemhauser & Ullmann 1969), as long as
 * there are at most HD_KNAPSACK_LABELS of them; beyond, cells of a grid over the costs keep their best one each, which is within the budget still,
 * but perhaps not the best there is. */
#ifndef HD_KNAPSACK_H
#define HD_KNAPSACK_H
#include <stdint.h>

#include "../../sw/core/err.h"

enum { HD_COSTS = 2, HD_KNAPSACK_LABELS = 10000 };
#define HD_NO_BUDGET UINT64_MAX

typedef struct hd_choice {
    double loss;             /* INFINITY = not to be chosen */
    uint64_t cost[HD_COSTS]; /* up to 2^48 each */
} hd_choice;

/* pick [layers]: indices 0..choices-1. choice: [layers][choices]. HD_NOFIT when nothing is within the budget. */
hd_status hd_knapsack(int *pick, const hd_choice *choice, int layers, int choices, const uint64_t budget[HD_COSTS], hd_err *err);
/* Shadow prices: what one more unit of each budget takes off the loss, from the Lagrangian dual max over price >= 0 of
 * sum of min (loss + price * cost) - price * budget (Everett 1963). 0 where a budget does not bind. */
void hd_knapsack_price(double price[HD_COSTS], const hd_choice *choice, int layers, int choices, const uint64_t budget[HD_COSTS]);
#endif
