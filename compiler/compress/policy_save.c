/* Policies into files, as policy.c reads them. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/file.h"
#include "compress.h"

/* All keys, so that a rule does not depend on the base. 0 without memory. */
static int add_layer(cJSON *to, const char *name, const hd_layer_policy *p) {
    char text[200];
    cJSON *o = cJSON_AddObjectToObject(to, name);
    int ok = o != NULL;
    if (p->bits) ok = ok && cJSON_AddNumberToObject(o, "weights", p->bits);
    else ok = ok && cJSON_AddStringToObject(o, "weights", "ternary");
    ok = ok && cJSON_AddStringToObject(o, "grid", p->affine ? "affine" : hd_grid_name(p->grid));
    if (p->granularity == HD_GRANULARITY_GROUP) snprintf(text, sizeof text, "%s:%d", p->float_scales ? "float-group" : "group", p->group_size);
    else snprintf(text, sizeof text, "%s", p->granularity == HD_GRANULARITY_TENSOR ? "tensor" : "channel");
    ok = ok && cJSON_AddStringToObject(o, "granularity", text);
    ok = ok && cJSON_AddNumberToObject(o, "sparsity", (double)p->sparsity);
    if (p->structure == HD_SPARSE_N_OF_M) snprintf(text, sizeof text, "%d:%d", p->n, p->m);
    else snprintf(text, sizeof text, "%s", p->structure == HD_SPARSE_UNSTRUCTURED ? "unstructured" : p->structure == HD_SPARSE_CHANNEL ? "channel" : "block");
    ok = ok && cJSON_AddStringToObject(o, "structure", text);
    snprintf(text, sizeof text, "%dx%d", p->block_in, p->block_out);
    /* A policy without sparsity may leave the block open, which the file has no word for. */
    if (p->block_in > 0 && p->block_out > 0) ok = ok && cJSON_AddStringToObject(o, "block", text);
    if (p->balance) ok = ok && cJSON_AddNumberToObject(o, "balance", p->balance);
    ok = ok && cJSON_AddBoolToObject(o, "dense", p->skip_sparsity != 0);
    hd_recipe_text(&p->recipe, text, sizeof text);
    return ok && cJSON_AddStringToObject(o, "method", text);
}

/* How activations are laid out; the least squared error goes without saying. */
static int add_ranges(cJSON *root, const hd_policy *p) {
    char text[40] = "minmax";
    if (p->ranges == HD_RANGES_MSE) return 1;
    if (p->ranges == HD_RANGES_PERCENTILE) snprintf(text, sizeof text, "percentile:%.12g", 100 * (double)p->percentile);
    return cJSON_AddStringToObject(cJSON_GetObjectItemCaseSensitive(root, "base"), "ranges", text) != NULL;
}

/* What is decided for the whole model, where it is not the default. */
static int add_whole(cJSON *root, const hd_policy *p) {
    int ok = p->budget == HD_BUDGET_LOCAL || cJSON_AddStringToObject(root, "budget", "global");
    ok = ok && (p->rounds < 2 || cJSON_AddNumberToObject(root, "rounds", p->rounds));
    ok = ok && (!p->split_average || cJSON_AddNumberToObject(root, "split_average", p->split_average));
    ok = ok && (!p->blockwise || cJSON_AddBoolToObject(root, "sequential", 0));
    return ok && (p->unrepaired <= 0 || cJSON_AddNumberToObject(root, "repair", 1 - (double)p->unrepaired));
}

hd_status hd_policy_save(const hd_policy *p, const char *path, hd_err *err) {
    cJSON *root = cJSON_CreateObject(), *layers = NULL;
    int ok = root && add_whole(root, p) && add_layer(root, "base", &p->base) && add_ranges(root, p) && (layers = cJSON_AddObjectToObject(root, "layers")) != NULL;
    for (int i = 0; ok && i < p->n_rules; i++) {
        int last = 1; /* of rules for the same name the last one counts, and a file has each name once */
        for (int k = i + 1; k < p->n_rules; k++) last &= strcmp(p->rule[k].layer, p->rule[i].layer) != 0;
        if (last) ok = add_layer(layers, p->rule[i].layer, &p->rule[i].policy);
    }
    char *text = ok ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    if (!text) return hd_fail(err, HD_NOMEM, "%s: no memory for the policy", path);
    size_t size = strlen(text);
    text[size] = '\n'; /* in the place of the final NUL */
    hd_status status = hd_file_write(path, text, size + 1, err);
    free(text);
    return status;
}
