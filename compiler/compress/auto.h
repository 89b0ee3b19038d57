/* The automatic policy: which format each layer gets under budgets of bytes and cycles, by measured losses.
 *
 * 1. Sensitivity: each layer alone in each format, the others in the reference format; loss and cost are measured.
 * 2. Uniform policies that may be within the budget are measured as whole networks.
 * 3. A multiple-choice knapsack over the losses of step 1, taken to three powers because losses do not simply add up; its solutions are
 *    measured as whole networks, with tighter budgets where the whole costs more than its parts said.
 * 4. From the best so far, swaps of one or two layers' formats, those first that step 1 promises most of, each measured as a whole.
 * The answer is the network of the lowest measured loss within the budget, so it is never worse than any uniform policy that was measured.
 *
 * What is measured, and on what, is the caller's: auto_lm.h for language models, sw/explore/auto_network.h for networks. Deterministic. */
#ifndef HD_AUTO_H
#define HD_AUTO_H
#include "compress.h"
#include "knapsack.h"

enum hd_auto_cost { HD_AUTO_BYTES, HD_AUTO_CYCLES };

typedef struct hd_auto_format {
    hd_layer_policy policy;
    int sibling; /* the format that stores the same by a simpler method, or -1. This one is tried only where a quarter of the other's loss would make it the best */
} hd_auto_format;

/* Measures loss and costs. cost HD_NO_BUDGET: the network does not fit where it has to. */
typedef struct hd_auto_problem {
    int layers, formats;
    const char *const *layer;     /* names for rules of the policy */
    const hd_auto_format *format; /* the same for all layers; [0] is the reference */
    uint64_t budget[HD_COSTS];    /* HD_NO_BUDGET = no limit */
    int refinements;              /* most networks that step 4 measures */
    const char *label;            /* of the progress line */
    /* Layer `layer` in `format`: by how much the network's loss is above that of step 1's network, and the costs of this layer. Layer -1: all costs of
     * step 1's network. */
    hd_status (*alone)(void *arg, int layer, int format, hd_choice *out, hd_err *err);
    /* The network with pick[layer] for each layer. */
    hd_status (*whole)(void *arg, const int *pick, hd_choice *out, hd_err *err);
    void *arg;
} hd_auto_problem;

/* Frees the names and formats of a problem that has them on the heap. */
void hd_auto_problem_free(const hd_auto_problem *p);

typedef enum hd_auto_origin { HD_AUTO_UNIFORM, HD_AUTO_KNAPSACK, HD_AUTO_REFINED } hd_auto_origin;

typedef struct hd_auto_result {
    int layers, formats;
    hd_choice *alone;         /* [layers][formats]: loss above the network of step 1; INFINITY = was not tried */
    hd_choice *uniform;       /* [formats]: whole networks; INFINITY = was not tried, because its parts cost more than the budget */
    int *pick;                /* [layers] */
    hd_choice chosen;
    int best_uniform;         /* format of the best uniform policy within the budget, or -1 */
    double price[HD_COSTS];   /* shadow prices: loss that one more byte or cycle would save */
    hd_auto_origin origin;
    int networks;             /* how many whole networks were measured */
} hd_auto_result;

/* HD_NOFIT when no policy is within the budget; the message tells the smallest that were found. HD_INTERRUPTED on Ctrl-C. */
hd_status hd_auto_search(hd_auto_result **out, const hd_auto_problem *p, hd_err *err);
void hd_auto_free(hd_auto_result *r);
/* The policy of a result: base `base`, a rule for each layer. Owned by the caller. */
hd_status hd_auto_policy(hd_policy *out, const hd_auto_problem *p, const hd_auto_result *r, hd_err *err);
/* "w4", "ternary 50%", "w2 even 25% gptq", "w4 g32": a format in words that tell formats of one list apart. */
void hd_auto_format_text(const hd_layer_policy *f, char *text, size_t size);
#endif
