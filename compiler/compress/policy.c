/* Compression policies: which layer is stored how. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/file.h"
#include "../graph/llama.h"
#include "compress_internal.h"
#include "model_internal.h"

void hd_policy_default(hd_policy *p) {
    *p = (hd_policy){.base = {.bits = 8, .grid = -1, .granularity = HD_GRANULARITY_CHANNEL, .block_in = 8, .block_out = 8}};
}

void hd_policy_free(hd_policy *p) {
    for (int i = 0; i < p->n_rules; i++) free(p->rule[i].layer);
    free(p->rule);
    *p = (hd_policy){0};
}

static int matches(const char *pattern, const char *name) {
    size_t n = strlen(pattern);
    return n && pattern[n - 1] == '*' ? strncmp(pattern, name, n - 1) == 0 : strcmp(pattern, name) == 0;
}

const hd_layer_policy *hd_policy_of(const hd_policy *p, const char *layer) {
    for (int i = p->n_rules; i-- > 0;)
        if (matches(p->rule[i].layer, layer)) return &p->rule[i].policy;
    return &p->base;
}

static hd_status check_one(const hd_layer_policy *o, const char *who, hd_err *err) {
    int lowest = o->affine, highest = 8;
    if (o->grid < -1 || o->grid >= HD_GRIDS) return hd_fail(err, HD_RANGE, "policy, %s: grid %d; allowed -1..%d", who, o->grid, HD_GRIDS - 1);
    if (o->grid >= 0) hd_grid_bits(&lowest, &highest, (enum hd_grid)o->grid);
    int values = o->bits == 16 && o->sparsity > 0.0f && !o->skip_sparsity && o->structure != HD_SPARSE_CHANNEL;
    if (o->bits == 16 && !values) return hd_fail(err, HD_UNSUPPORTED, "policy, %s: float weights (16 bits) without sparsity; nothing would be compressed", who);
    if (!values && (o->bits < lowest || o->bits > highest)) {
        char found[16] = "ternary", allowed[40];
        if (o->bits) snprintf(found, sizeof found, "%d-bit", o->bits);
        if (!highest) snprintf(allowed, sizeof allowed, "is %s", hd_grid_name(o->grid));
        else snprintf(allowed, sizeof allowed, "are %d to %d bits%s", lowest ? lowest : 1, highest, lowest ? "" : " and ternary");
        return hd_fail(err, HD_RANGE, "policy, %s: %s weights on grid '%s'; allowed %s", who, found, hd_grid_name(o->grid), allowed);
    }
    if ((unsigned)o->granularity > HD_GRANULARITY_GROUP)
        return hd_fail(err, HD_RANGE, "policy, %s: granularity %u; allowed 0..2", who, (unsigned)o->granularity);
    if (o->granularity == HD_GRANULARITY_GROUP && o->group_size < 1)
        return hd_fail(err, HD_RANGE, "policy, %s: groups of %d inputs; at least 1", who, o->group_size);
    if (!(o->sparsity >= 0.0f && o->sparsity < 1.0f))
        return hd_fail(err, HD_RANGE, "policy, %s: sparsity %g; allowed 0 to below 1", who, (double)o->sparsity);
    if (o->sparsity > 0.0f && !o->skip_sparsity &&
        (o->block_in < 1 || o->block_out < 1 || o->block_in > HD_MODEL_MAX_BLOCK || o->block_out > HD_MODEL_MAX_BLOCK))
        return hd_fail(err, HD_RANGE, "policy, %s: pruning block %dx%d; allowed 1..%d each", who, o->block_in, o->block_out, HD_MODEL_MAX_BLOCK);
    if (o->balance < 0 || (o->balance > 0 && (o->block_in < 1 || o->balance % o->block_in || (o->structure != HD_SPARSE_NONE && o->structure != HD_SPARSE_BLOCK))))
        return hd_fail(err, HD_RANGE, "policy, %s: balance over %d lanes with pruning block %dx%d; allowed are multiples of the block's inputs, as in 8 with 2x8, and blocks alone", who,
                       o->balance, o->block_in, o->block_out);
    if (o->structure == HD_SPARSE_N_OF_M && (o->n < 1 || o->n >= o->m || o->m > 64))
        return hd_fail(err, HD_RANGE, "policy, %s: %d of %d weights stay; allowed 1 <= N < M <= 64", who, o->n, o->m);
    return HD_OK;
}

/* What only language models take. */
static hd_status check_network(const hd_layer_policy *o, const char *who, hd_err *err) {
    char method[200];
    hd_recipe_text(&o->recipe, method, sizeof method);
    if (o->recipe.solver != HD_METHOD_RTN && o->granularity == HD_GRANULARITY_TENSOR)
        return hd_fail(err, HD_UNSUPPORTED, "policy, %s: one scale for the layer with a method other than rtn; tensor goes with rtn, channel and group with all", who);
    if (o->affine || o->float_scales)
        return hd_fail(err, HD_UNSUPPORTED, "policy, %s: %s on a network; the array has shifts, allowed are grids odd, even and ternary, and 'group:N'", who,
                       o->affine ? "zero points" : "a float scale a group");
    if (o->bits == 16) return hd_fail(err, HD_UNSUPPORTED, "policy, %s: float weights (16 bits) on a network; the array has 1 to 8 bits", who);
    if (o->structure != HD_SPARSE_NONE && o->structure != HD_SPARSE_BLOCK && o->structure != HD_SPARSE_CHANNEL && o->structure != HD_SPARSE_N_OF_M && o->sparsity > 0 &&
        !o->skip_sparsity)
        return hd_fail(err, HD_UNSUPPORTED, "policy, %s: single weights removed from a network; the array skips blocks, allowed are 'block', 'channel' and, to compare, 'N:M'", who);
    int even = o->sparsity > 0 && !o->skip_sparsity && (o->balance || o->structure == HD_SPARSE_N_OF_M);
    if (even && (o->recipe.solver == HD_METHOD_SPARSEGPT || o->recipe.solver == HD_METHOD_IOBS))
        return hd_fail(err, HD_UNSUPPORTED, "policy, %s: method '%s' with blocks in equal numbers; it chooses blocks itself, allowed are rtn, gptq and clip", who, method);
    if (even && o->structure == HD_SPARSE_N_OF_M && (o->block_in != 1 || o->block_out != 1))
        return hd_fail(err, HD_UNSUPPORTED, "policy, %s: %d:%d with pruning block %dx%d on a network; its blocks are 1x1", who, o->n, o->m, o->block_in, o->block_out);
    if (o->recipe.pv) return hd_fail(err, HD_UNSUPPORTED, "policy, %s: 'pv' trains language models; networks are tuned without it", who);
    hd_coding coding = o->recipe.coding;
    int decoded = coding == HD_CODING_INTEGER || (coding == HD_CODING_TABLE && o->recipe.coding_bits == 2) || (coding == HD_CODING_ADDITIVE && o->recipe.coding_bits == 8) ||
                  (coding == HD_CODING_E8P && o->recipe.coding_bits == 2);
    if (!decoded || o->recipe.coding_group)
        return hd_fail(err, HD_UNSUPPORTED, "policy, %s: method '%s' on a network; the array's decoders have table:2, additive:8 and e8p:2, in groups of their own", who, method);
    if (coding != HD_CODING_INTEGER && (o->recipe.fold || o->recipe.factor || o->recipe.solver == HD_METHOD_SPARSEGPT || o->recipe.solver == HD_METHOD_IOBS))
        return hd_fail(err, HD_UNSUPPORTED, "policy, %s: method '%s' on a network; a code goes alone or with gptq, for the layers that it does not fit", who, method);
    if (o->recipe.solver == HD_METHOD_AWQ)
        return hd_fail(err, HD_UNSUPPORTED, "policy, %s: method '%s' on a network; allowed solvers are rtn, gptq, sparsegpt, clip and iobs", who, method);
    return HD_OK;
}

/* What only networks take. */
static hd_status check_language(const hd_layer_policy *o, const char *who, hd_err *err) {
    char method[200];
    hd_recipe_text(&o->recipe, method, sizeof method);
    if (o->recipe.fold == HD_FOLD_AWQ && o->bits == 16)
        return hd_fail(err, HD_UNSUPPORTED, "policy, %s: AWQ on float weights (16 bits); its scales serve rounding, allowed are 1 to 8 bits and ternary", who);
    if (o->balance) return hd_fail(err, HD_UNSUPPORTED, "policy, %s: balanced blocks of a language model; it does not run on the array", who);
    if (o->recipe.outliers > 0)
        return hd_fail(err, HD_UNSUPPORTED, "policy, %s: outliers split off a language model's matrix; its outliers stay float when it is run (heddle eval --outliers)", who);
    if (o->recipe.factor > HD_FACTOR_SVD)
        return hd_fail(err, HD_UNSUPPORTED, "policy, %s: method '%s' on a language model; its matrices have no kernels, allowed is svd", who, method);
    if (o->recipe.factor && !o->recipe.residual && ((o->sparsity > 0 && !o->skip_sparsity) || o->bits == 16))
        return hd_fail(err, HD_UNSUPPORTED, "policy, %s: method '%s' with sparsity or float weights, which are for a residual; add +residual", who, method);
    return HD_OK;
}

/* The names of layers that there are, for a rule that names none of them. */
typedef struct layer_names {
    char known[300];
    int full;
} layer_names;

static void note_name(layer_names *n, const char *name) {
    size_t used = strlen(n->known);
    if (n->full) return;
    n->full = used + strlen(name) + 8 > sizeof n->known;
    snprintf(n->known + used, sizeof n->known - used, "%s%s", used ? ", " : "", n->full ? "..." : name);
}

typedef void (*each_name)(void *arg, const char *name);
typedef void (*walk_names)(const void *model, each_name f, void *arg);

static void walk_graph(const void *model, each_name f, void *arg) {
    const hd_graph *g = model;
    for (int i = 0; i < g->n_nodes; i++)
        if (hd_node_weights(&g->node[i])) f(arg, g->node[i].name);
}

static void walk_llama(const void *model, each_name f, void *arg) {
    const hd_llama *m = model;
    char name[32];
    for (int i = 0; i < m->layers * HD_LLAMA_MATRICES; i++) {
        hd_llama_name(i / HD_LLAMA_MATRICES, i % HD_LLAMA_MATRICES, name, sizeof name);
        f(arg, name);
    }
}

typedef struct search {
    const char *pattern;
    int found;
    layer_names names;
} search;

static void look_at(void *arg, const char *name) {
    search *s = arg;
    s->found |= matches(s->pattern, name);
    note_name(&s->names, name);
}

static hd_status check_all(const hd_policy *p, const void *model, walk_names walk, int network, hd_err *err) {
    hd_status status = check_one(&p->base, "base", err);
    if (status == HD_OK) status = (network ? check_network : check_language)(&p->base, "base", err);
    for (int i = 0; status == HD_OK && i < p->n_rules; i++) {
        char who[96];
        snprintf(who, sizeof who, "layer '%.60s'", p->rule[i].layer);
        status = check_one(&p->rule[i].policy, who, err);
        if (status == HD_OK) status = (network ? check_network : check_language)(&p->rule[i].policy, who, err);
        search s = {.pattern = p->rule[i].layer};
        if (status == HD_OK) walk(model, look_at, &s);
        if (status == HD_OK && !s.found)
            status = hd_fail(err, HD_MISMATCH, "policy, layer '%.60s': no layer with weights has this name; there are %s", p->rule[i].layer, s.names.known);
    }
    return status;
}

hd_status hd_policy_check(const hd_policy *p, const hd_graph *g, hd_err *err) {
    return check_all(p, g, walk_graph, 1, err);
}

hd_status hd_policy_check_lm(const hd_policy *p, const hd_llama *m, hd_err *err) {
    return check_all(p, m, walk_llama, 0, err);
}

/* ---- the file ---- */

static const char *type_name(const cJSON *j) {
    return cJSON_IsNumber(j) ? "a number" : cJSON_IsString(j) ? "a string" : cJSON_IsBool(j) ? "true or false" : cJSON_IsObject(j) ? "an object"
           : cJSON_IsArray(j) ? "an array" : "null";
}

static hd_status wrong(const cJSON *j, const char *who, const char *allowed, hd_err *err) {
    if (cJSON_IsString(j)) return hd_fail(err, HD_FORMAT, "%s: '%s' is '%.60s'; must be %s", who, j->string, j->valuestring, allowed);
    if (cJSON_IsNumber(j)) return hd_fail(err, HD_RANGE, "%s: '%s' is %g; must be %s", who, j->string, j->valuedouble, allowed);
    return hd_fail(err, HD_FORMAT, "%s: '%s' is %s; must be %s", who, j->string, type_name(j), allowed);
}

static int whole(const cJSON *j, int lowest, int highest, int *out) {
    if (!cJSON_IsNumber(j) || !(j->valuedouble >= lowest && j->valuedouble <= highest) || floor(j->valuedouble) != j->valuedouble) return 0;
    *out = (int)j->valuedouble;
    return 1;
}

/* A decimal number that ends at `end`; 0 when there is none or it is above a million. */
static int digits(const char *s, char end, int *out, const char **rest) {
    int value = 0, any = 0;
    for (; *s >= '0' && *s <= '9' && value <= 1000000; s++, any = 1) value = value * 10 + (*s - '0');
    *out = value;
    *rest = *s ? s + 1 : s;
    return any && *s == end && value >= 1 && value <= 1000000;
}

static int parse_granularity(const cJSON *j, hd_layer_policy *o) {
    const char *rest;
    int size = 0;
    if (!cJSON_IsString(j)) return 0;
    if (!strcmp(j->valuestring, "tensor")) o->granularity = HD_GRANULARITY_TENSOR;
    else if (!strcmp(j->valuestring, "channel")) o->granularity = HD_GRANULARITY_CHANNEL;
    else if (!strncmp(j->valuestring, "group:", 6) && digits(j->valuestring + 6, 0, &size, &rest)) o->granularity = HD_GRANULARITY_GROUP;
    else if (!strncmp(j->valuestring, "float-group:", 12) && digits(j->valuestring + 12, 0, &size, &rest)) o->granularity = HD_GRANULARITY_GROUP;
    else return 0;
    o->float_scales = *j->valuestring == 'f';
    o->group_size = size;
    return 1;
}

int hd_policy_structure(hd_layer_policy *o, const char *text) {
    const char *rest;
    if (!strcmp(text, "block")) o->structure = HD_SPARSE_BLOCK;
    else if (!strcmp(text, "unstructured")) o->structure = HD_SPARSE_UNSTRUCTURED;
    else if (!strcmp(text, "channel")) o->structure = HD_SPARSE_CHANNEL;
    else if (digits(text, ':', &o->n, &rest) && digits(rest, 0, &o->m, &rest) && o->n < o->m && o->m <= 64) {
        o->structure = HD_SPARSE_N_OF_M;
        o->block_in = o->block_out = 1;
        o->sparsity = 1.0f - (float)o->n / (float)o->m;
        o->skip_sparsity = 0;
    } else
        return 0;
    return 1;
}

int hd_policy_ranges(hd_policy *p, const char *text) {
    double percent = 99.99;
    char *end;
    if (!strcmp(text, "mse")) p->ranges = HD_RANGES_MSE;
    else if (!strcmp(text, "minmax")) p->ranges = HD_RANGES_MINMAX;
    else if (!strncmp(text, "percentile", 10)) {
        if (text[10] == ':') {
            percent = strtod(text + 11, &end);
            if (end == text + 11 || *end || !(percent >= 50 && percent <= 100)) return 0;
        } else if (text[10]) return 0;
        p->ranges = HD_RANGES_PERCENTILE;
        p->percentile = (float)(percent / 100);
    } else
        return 0;
    return 1;
}

int hd_policy_budget(hd_policy *p, const char *text) {
    if (strcmp(text, "local") && strcmp(text, "global")) return 0;
    p->budget = *text == 'g' ? HD_BUDGET_GLOBAL : HD_BUDGET_LOCAL;
    return 1;
}

static int parse_block(const cJSON *j, hd_layer_policy *o) {
    const char *rest;
    return cJSON_IsString(j) && digits(j->valuestring, 'x', &o->block_in, &rest) && digits(rest, 0, &o->block_out, &rest) &&
           o->block_in <= HD_MODEL_MAX_BLOCK && o->block_out <= HD_MODEL_MAX_BLOCK;
}

static hd_status parse_key(const cJSON *j, const char *who, hd_layer_policy *o, hd_err *err) {
    if (!strcmp(j->string, "weights")) {
        if (cJSON_IsString(j) && !strcmp(j->valuestring, "ternary")) o->bits = 0;
        else if (!whole(j, 1, 8, &o->bits) && !whole(j, 16, 16, &o->bits)) return wrong(j, who, "1 to 8, 'ternary' or 16 (sparse language models)", err);
    } else if (!strcmp(j->string, "grid")) {
        int i = -1;
        o->affine = cJSON_IsString(j) && !strcmp(j->valuestring, "affine");
        if (o->affine) return o->grid = -1, HD_OK;
        while (i < HD_GRIDS && !(cJSON_IsString(j) && !strcmp(j->valuestring, hd_grid_name(i)))) i++;
        if (i == HD_GRIDS) return wrong(j, who, "'auto', 'odd', 'even', 'ternary' or 'affine'", err);
        o->grid = i;
    } else if (!strcmp(j->string, "granularity")) {
        if (!parse_granularity(j, o)) return wrong(j, who, "'tensor', 'channel', 'group:N' or 'float-group:N'", err);
    } else if (!strcmp(j->string, "sparsity")) {
        if (!cJSON_IsNumber(j) || !(j->valuedouble >= 0 && (float)j->valuedouble < 1.0f)) return wrong(j, who, "a number from 0 to below 1", err);
        o->sparsity = (float)j->valuedouble;
        o->skip_sparsity = 0;
    } else if (!strcmp(j->string, "structure")) {
        if (!cJSON_IsString(j) || !hd_policy_structure(o, j->valuestring)) return wrong(j, who, "'block', 'unstructured', 'channel' or 'N:M'", err);
    } else if (!strcmp(j->string, "block")) {
        if (!parse_block(j, o)) return wrong(j, who, "'INxOUT' with 1 to 256 each", err);
    } else if (!strcmp(j->string, "balance")) {
        if (!whole(j, 0, HD_MAX_LANES, &o->balance)) return wrong(j, who, "0 to 64 lanes", err);
    } else if (!strcmp(j->string, "method")) {
        if (!cJSON_IsString(j)) return wrong(j, who, "a string such as 'gptq'", err);
        int group = o->recipe.coding_group;
        hd_status s = hd_recipe_parse(&o->recipe, j->valuestring, err);
        if (s) return hd_fail_in(err, who), s;
        o->recipe.coding_group = group;
    } else if (!strcmp(j->string, "code_group")) {
        if (!whole(j, 1, 8, &o->recipe.coding_group)) return wrong(j, who, "1 to 8", err);
    } else if (!strcmp(j->string, "dense")) {
        if (!cJSON_IsBool(j)) return wrong(j, who, "true or false", err);
        o->skip_sparsity = cJSON_IsTrue(j);
    } else
        return hd_fail(err, HD_FORMAT, "%s: unknown key '%.60s'; allowed weights, grid, granularity, sparsity, structure, block, balance, method, code_group, dense, and in the base ranges", who, j->string);
    return HD_OK;
}

/* Keys of an object: a language model of 1024 layers has a rule for each of its matrices. Comparing each with each takes their square. */
enum { MAX_KEYS = 1 << 14 };

static hd_status no_twins(const cJSON *object, const char *who, hd_err *err) {
    int keys = cJSON_GetArraySize(object);
    if (keys > MAX_KEYS) return hd_fail(err, HD_RANGE, "%s: %d keys; at most %d are allowed", who, keys, MAX_KEYS);
    for (const cJSON *a = object->child; a; a = a->next)
        for (const cJSON *b = a->next; b; b = b->next)
            if (!strcmp(a->string, b->string)) return hd_fail(err, HD_FORMAT, "%s: key '%.60s' is given twice", who, a->string);
    return HD_OK;
}

/* base: the policy whose base this is, NULL for a layer. */
static hd_status parse_layer(const cJSON *object, const char *who, hd_layer_policy *o, hd_policy *base, hd_err *err) {
    if (!cJSON_IsObject(object)) return hd_fail(err, HD_FORMAT, "%s: is %s; must be an object", who, type_name(object));
    hd_status status = no_twins(object, who, err);
    for (const cJSON *j = object->child; status == HD_OK && j; j = j->next) {
        if (!base || strcmp(j->string, "ranges")) status = parse_key(j, who, o, err);
        else if (!cJSON_IsString(j) || !hd_policy_ranges(base, j->valuestring))
            status = wrong(j, who, "'mse', 'minmax', 'percentile' or 'percentile:P' with 50 <= P <= 100", err);
    }
    return status == HD_OK ? check_one(o, who, err) : status;
}

static hd_status parse_layers(const cJSON *layers, hd_policy *p, hd_err *err) {
    if (!cJSON_IsObject(layers)) return hd_fail(err, HD_FORMAT, "'layers' is %s; must be an object", type_name(layers));
    hd_status status = no_twins(layers, "'layers'", err);
    int n = cJSON_GetArraySize(layers);
    if (status != HD_OK || !n) return status;
    if (!(p->rule = calloc((size_t)n, sizeof *p->rule))) return hd_fail(err, HD_NOMEM, "out of memory");
    for (const cJSON *j = layers->child; status == HD_OK && j; j = j->next) {
        struct hd_policy_rule *r = &p->rule[p->n_rules];
        char who[96];
        snprintf(who, sizeof who, "layer '%.60s'", j->string);
        if (!(r->layer = strdup(j->string))) return hd_fail(err, HD_NOMEM, "out of memory");
        p->n_rules++;
        r->policy = p->base;
        status = parse_layer(j, who, &r->policy, NULL, err);
    }
    return status;
}

/* A setting of the whole model; base and layers are read elsewhere. */
static hd_status parse_root(const cJSON *j, hd_policy *p, hd_err *err) {
    if (!strcmp(j->string, "budget")) {
        if (!cJSON_IsString(j) || !hd_policy_budget(p, j->valuestring)) return wrong(j, "policy", "'local' or 'global'", err);
    } else if (!strcmp(j->string, "rounds")) {
        if (!whole(j, 1, HD_POLICY_MAX_ROUNDS, &p->rounds)) return wrong(j, "policy", "1 to 64", err);
    } else if (!strcmp(j->string, "split_average")) {
        if (!whole(j, 2, 1 << 20, &p->split_average)) return wrong(j, "policy", "2 to 1048576 pixels", err);
    } else if (!strcmp(j->string, "sequential")) {
        if (!cJSON_IsBool(j)) return wrong(j, "policy", "true or false", err);
        p->blockwise = cJSON_IsFalse(j);
    } else if (!strcmp(j->string, "repair")) {
        if (!cJSON_IsNumber(j) || !(j->valuedouble >= 0 && j->valuedouble <= 1)) return wrong(j, "policy", "a number from 0 to 1", err);
        p->unrepaired = 1 - (float)j->valuedouble;
    } else if (strcmp(j->string, "base") && strcmp(j->string, "layers"))
        return hd_fail(err, HD_FORMAT, "unknown key '%.60s'; allowed base, layers, budget, rounds, split_average, sequential, repair", j->string);
    return HD_OK;
}

/* The base first, wherever it stands: rules start from it. */
static hd_status parse_policy(const cJSON *root, hd_policy *p, hd_err *err) {
    if (!cJSON_IsObject(root)) return hd_fail(err, HD_FORMAT, "the policy is %s; must be an object", type_name(root));
    hd_status status = no_twins(root, "policy", err);
    for (const cJSON *j = root->child; status == HD_OK && j; j = j->next)
        status = parse_root(j, p, err);
    const cJSON *base = cJSON_GetObjectItemCaseSensitive(root, "base"), *layers = cJSON_GetObjectItemCaseSensitive(root, "layers");
    if (status == HD_OK && base) status = parse_layer(base, "base", &p->base, p, err);
    if (status == HD_OK && layers) status = parse_layers(layers, p, err);
    return status;
}

hd_status hd_policy_load(hd_policy *p, const char *path, hd_err *err) {
    uint8_t *text = NULL;
    size_t size = 0;
    hd_policy_default(p);
    hd_status status = hd_file_read(&text, &size, path, 1 << 20, 0, err);
    if (status != HD_OK) return status;
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts((const char *)text, size + 1, &end, 1);
    if (root) status = parse_policy(root, p, err);
    else {
        int line = 1;
        for (const char *c = (const char *)text; end && c < end && c < (const char *)text + size; c++) line += *c == '\n';
        status = hd_fail(err, HD_FORMAT, "line %d: not valid JSON", line);
    }
    cJSON_Delete(root);
    free(text);
    if (status != HD_OK) {
        hd_policy_free(p);
        if (err) hd_fail_in(err, path);
    }
    return status;
}
