/* Passes over a float network before its weights are solved: they rewrite the graph so that what comes after is easier to store, and leave the
 * rest to hd_compress. The new graph computes the same as the old one, up to what a pass throws away on purpose (channels, rank).
 *
 * Order: averages (what has more pixels than the policy allows is cut), channels (the network gets narrower), factor (a layer becomes several), outliers (a layer's few large inputs go their own way), fold (scales move from a layer's inputs into
 * its weights). Each looks at the recipe of the layer's policy (recipe.h). */
#ifndef HD_PASSES_H
#define HD_PASSES_H
#include "compress.h"

/* What a pass may change: graph and policy are its own copies. A node that a pass makes gets a rule of its own (hd_policy_add) where it is not to be
 * treated as the layer it came from; its name starts with the layer's and a dot ("conv1.down"). */
typedef struct hd_pass {
    hd_graph *g;
    hd_policy *policy;
    const hd_idx *calib; /* lent */
    int samples, unit;
} hd_pass;

/* out and out_policy are made anew, also when no pass had anything to do (then equal to g and p); owned by the caller. Calibration inputs as for
 * hd_compress. */
hd_status hd_passes_run(hd_graph **out, hd_policy *out_policy, const hd_graph *g, const hd_policy *p, const hd_idx *calib, int samples, int unit,
                        hd_err *err);

/* A copy; 0 without memory (then *to is empty). */
int hd_policy_copy(hd_policy *to, const hd_policy *from);
/* A rule for the layer of exactly this name, over all others; 0 without memory. */
int hd_policy_add(hd_policy *p, const char *layer, const hd_layer_policy *policy);
/* Rules for the first and the last layer, 8 bits and dense, as low-bit papers keep them; HD_NOMEM. */
hd_status hd_policy_keep_ends(hd_policy *p, const hd_graph *g, hd_err *err);
/* Does the policy take whole channels out of a layer? */
int hd_policy_takes_channels(const hd_layer_policy *o);
/* Does a pass do anything for a layer of this policy? */
int hd_policy_rewrites(const hd_layer_policy *o);
#endif
