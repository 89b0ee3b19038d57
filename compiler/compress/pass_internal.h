/* The passes themselves, in the order in which hd_passes_run calls them. Not for other folders.
 *
 * A pass that cannot do what a layer's recipe asks fails, with the layer's name and the reason, when the recipe asks for it on that layer alone
 * (hd_pass_is_explicit). Otherwise it leaves the layer as it is and takes the step out of its policy, so that the recipes of the policy that
 * comes out say what was done. */
#ifndef HD_PASS_INTERNAL_H
#define HD_PASS_INTERNAL_H
#include "passes.h"

hd_status hd_pass_channels(hd_pass *p, hd_err *err);
hd_status hd_pass_factor(hd_pass *p, hd_err *err);
hd_status hd_pass_outliers(hd_pass *p, hd_err *err);
hd_status hd_pass_fold(hd_pass *p, hd_err *err);
/* Does a rule of exactly this name decide, where the base does not ask for the step (base_asks 0)? */
int hd_pass_is_explicit(const hd_pass *p, const char *layer, int base_asks);
/* The layer's policy without the step that `clear` takes out of its recipe; 0 without memory. */
int hd_pass_leave(hd_pass *p, const char *layer, void (*clear)(hd_recipe *r));
#endif
