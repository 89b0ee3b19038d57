/* heddle compress: a float network becomes integers. Language models: language.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/passes.h"
#include "../../compiler/graph/split_average.h"
#include "../core/progress.h"
#include "cli.h"
#include "parts.h"

static const cli_option options[] = {
    {"-o", "N.hdm", "where the compressed model goes (required)"},
    {"--calib", "X.idx", "inputs to calibrate on: idx or idx.gz of u8, i8 or float (required, but for an int8 TFLite file whose integers are to stay as they are)"},
    {"--calib-count", "N", "how many of them at most (512)"},
    {"--weights", "B", "bits of a weight, 1..8, or ternary; sparse language models also 16, float values (8)"},
    {"--grid", "odd|even|auto", "which integers weights may be; language models also affine, with zero points (auto)"},
    {"--sparsity", "S", "share of weight blocks (or what --structure says) to remove, 0..0.99 (0)"},
    {"--block", "INxOUT", "pruning block: inputs x outputs (8x8)"},
    {"--balance", "LANES", "with blocks of 2 x a tile's channels: the pairs of so many lanes lose equally many, for --memory gather=1"},
    {"--granularity", "G", "tensor, channel or group:N; language models also float-group:N, without shifts (channel)"},
    {"--structure", "S", "what --sparsity removes: block, or channel (for good; of language models hidden units); language models also unstructured and N:M (block; language models without --block: unstructured)"},
    {"--budget", "B", "local: each layer loses its share; global: the same number of weights, where they cost least (local)"},
    {"--rounds", "N", "prune in N rounds, each on what the one before left (1)"},
    {"--method", "M", "steps joined by +: svd, tucker, cp, tt[:SHARE] [+residual]; smooth[:A], awq, outliers[:T]; solver rtn, gptq, sparsegpt, clip, iobs (rtn; language models gptq); or codes: table[:BITS], additive[:BITS], trellis[:BITS], e8p[:2|3|4]; networks table:2, additive:8, e8p:2"},
    {"--ranges", "R", "of a network's activations: mse, minmax or percentile[:P] (mse; P 99.99)"},
    {"--repair", "R", "with --tokens: how much of its predecessors' damage a matrix aims to repair, 0..1 (1)"},
    {"--blockwise", NULL, "with --tokens: matrices see their own block as it was, not those compressed before them"},
    {"--code-group", "N", "weights that a code of table, additive or trellis covers, 1..8 (4; additive 8)"},
    {"--split-average", "N", "average pooling over more than N pixels goes in two steps: for arrays whose window (--memory window=) does not hold it"},
    {"--policy", "FILE", "JSON: the base and rules by layer; options given override its base"},
    {"--raw", NULL, "take bytes as they are; else they are divided by 255"},
    {"--codes", "SCALE:ZERO", "i8 items stand for SCALE * (item - ZERO), as in 0.5847:83, and are the model's input codes"},
    {"--hwc", NULL, "items are [height][width][channel], as TFLite has them; else [channel][height][width]"},
    {"--budget-bytes", "N", "choose each layer's format by measurement, in at most N stored bytes"},
    {"--budget-bpw", "B", "the same as bits for each dense weight"},
    {"--budget-cycles", "N", "and in at most N cycles an inference on --geometry or --board"},
    {"--geometry", "RxCxLxP", "with a budget: the array that cycles are counted on and that the network must fit"},
    {"--board", "NAME", "a board of boards/boards.def instead"},
    {"--memory", "LIST", "memories of the geometry, as for compile"},
    {"--judge", "divergence|error", "what a budget's loss is: of softmax, or squared error (divergence for classifiers)"},
    {"--judge-count", "N", "inputs it is measured on, those behind --calib-count (512)"},
    {"--refine", "N", "most networks to measure around the best (24)"},
    {"--policy-out", "FILE", "the policy that the budget led to, for --policy"},
    CLI_PARTS_OPTIONS,
    {"--tokens", "X.idx", "MODEL is a language model (llama2.c, GGUF), -o an .hlm: int16 rows to calibrate on"},
    {"--rows", "FIRST:COUNT", "only these rows of --tokens (all)"},
    {NULL, NULL, NULL},
};

static hd_status parse_weights(hd_layer_policy *p, const char *who, const char *text, hd_err *err) {
    if (!strcmp(text, "16")) {
        p->bits = 16;
        return HD_OK;
    }
    if (!strcmp(text, "ternary")) {
        p->bits = 0;
        return HD_OK;
    }
    if (text[0] < '1' || text[0] > '8' || text[1]) return hd_fail(err, HD_USAGE, "%s: --weights: found '%.60s'; allowed are 1..8, ternary, and 16 for sparse language models", who, text);
    p->bits = text[0] - '0';
    return HD_OK;
}

static hd_status parse_grid(hd_layer_policy *p, const char *who, const char *text, hd_err *err) {
    p->affine = !strcmp(text, "affine");
    p->grid = -1;
    if (p->affine || !strcmp(text, "auto")) return HD_OK;
    /* Grids whose weights have no bits are named by --weights. */
    char list[200] = "";
    for (int i = 0; i < HD_GRIDS; i++) {
        int least, most;
        hd_grid_bits(&least, &most, (enum hd_grid)i);
        if (!most) continue;
        p->grid = i;
        if (!strcmp(text, hd_grid_name(i))) return HD_OK;
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s, ", hd_grid_name(i));
    }
    return hd_fail(err, HD_USAGE, "%s: --grid: found '%.60s'; allowed are %sauto, and affine for language models", who, text, list);
}

static hd_status parse_block(hd_layer_policy *p, const char *who, const char *text, hd_err *err) {
    char *end, *last;
    long in = strtol(text, &end, 10), out = *end == 'x' ? strtol(end + 1, &last, 10) : 0;
    if (end == text || *end != 'x' || last == end + 1 || *last || in < 1 || out < 1 || in > 65535 || out > 65535)
        return hd_fail(err, HD_USAGE, "%s: --block: found '%.60s'; allowed is INxOUT, each 1..65535, as in 8x8", who, text);
    p->block_in = (int)in;
    p->block_out = (int)out;
    return HD_OK;
}

static hd_status parse_granularity(hd_layer_policy *p, const char *who, const char *text, hd_err *err) {
    char *end;
    p->float_scales = !strncmp(text, "float-group:", 12);
    const char *group = p->float_scales ? text + 6 : text;
    long n = !strncmp(group, "group:", 6) ? strtol(group + 6, &end, 10) : 0;
    if (!strcmp(text, "tensor")) p->granularity = HD_GRANULARITY_TENSOR;
    else if (!strcmp(text, "channel")) p->granularity = HD_GRANULARITY_CHANNEL;
    else if (n >= 1 && n <= 1 << 20 && !*end) p->granularity = HD_GRANULARITY_GROUP;
    else return hd_fail(err, HD_USAGE, "%s: --granularity: found '%.60s'; allowed are tensor, channel, group:N, as in group:32, and float-group:N for language models", who, text);
    p->group_size = p->granularity == HD_GRANULARITY_GROUP ? (int)n : 0;
    return HD_OK;
}

/* What is decided for the whole model. */
static hd_status parse_whole(hd_policy *p, const cli_args *a, hd_err *err) {
    const char *budget = cli_text(a, "--budget"), *who = a->command->name;
    int64_t rounds = p->rounds;
    double repair = 1 - (double)p->unrepaired;
    if (budget && !hd_policy_budget(p, budget)) return hd_fail(err, HD_USAGE, "%s: --budget: found '%.60s'; allowed are local and global", who, budget);
    hd_status s = cli_int(&rounds, a, "--rounds", p->rounds, 1, HD_POLICY_MAX_ROUNDS, err);
    if (!s) s = cli_float(&repair, a, "--repair", repair, 0, 1, err);
    int64_t pixels = p->split_average;
    if (!s) s = cli_int(&pixels, a, "--split-average", pixels, 2, 1 << 20, err);
    p->split_average = (int)pixels;
    p->rounds = (int)rounds;
    p->unrepaired = (float)(1 - repair);
    p->blockwise |= cli_flag(a, "--blockwise");
    return s;
}

hd_status cli_policy(hd_policy *p, const cli_args *a, hd_err *err) {
    const char *file = cli_text(a, "--policy"), *weights = cli_text(a, "--weights"), *grid = cli_text(a, "--grid");
    const char *block = cli_text(a, "--block"), *granularity = cli_text(a, "--granularity"), *method = cli_text(a, "--method"), *structure = cli_text(a, "--structure"), *who = a->command->name;
    hd_policy_default(p);
    hd_status s = file ? hd_policy_load(p, file, err) : HD_OK;
    double sparsity = 0;
    if (!s && weights) s = parse_weights(&p->base, who, weights, err);
    if (!s && grid) s = parse_grid(&p->base, who, grid, err);
    if (!s && block) s = parse_block(&p->base, who, block, err);
    if (!s && granularity) s = parse_granularity(&p->base, who, granularity, err);
    int64_t balance = p->base.balance;
    if (!s) s = cli_int(&balance, a, "--balance", balance, 0, 64, err);
    p->base.balance = (int)balance;
    int group = p->base.recipe.coding_group;
    if (!s && method && (s = hd_recipe_parse(&p->base.recipe, method, err)) != HD_OK) return hd_fail_in(err, "--method"), hd_fail_in(err, who), s;
    p->base.recipe.coding_group = group;
    if (!s && cli_text(a, "--code-group")) {
        int64_t n;
        s = cli_int(&n, a, "--code-group", 0, 1, 8, err);
        if (!s) p->base.recipe.coding_group = (int)n;
    }
    if (!s) s = cli_float(&sparsity, a, "--sparsity", (double)p->base.sparsity, 0, 0.99, err);
    if (!s) p->base.sparsity = (float)sparsity;
    const char *ranges = cli_text(a, "--ranges");
    if (!s && ranges && !hd_policy_ranges(p, ranges))
        s = hd_fail(err, HD_USAGE, "%s: --ranges: found '%.60s'; allowed are mse, minmax and percentile[:P] (50 <= P <= 100), as in percentile:99.9", who, ranges);
    if (!s && structure && !hd_policy_structure(&p->base, structure))
        s = hd_fail(err, HD_USAGE, "%s: --structure: found '%.60s'; allowed are block, channel, unstructured and N:M (1 <= N < M <= 64), as in 2:4", who, structure);
    return s ? s : parse_whole(p, a, err);
}

static const char *granularity_name(const hd_stage *st) {
    return st->granularity == HD_GRANULARITY_TENSOR ? "tensor" : st->granularity == HD_GRANULARITY_CHANNEL ? "channel" : "group";
}

/* Pruning blocks of a stage and how many are present; 0 of 0 when it is not pruned. */
static size_t count_blocks(const hd_stage *st, size_t *present) {
    *present = 0;
    if (!st->present) return 0;
    size_t n = hd_stage_in_blocks(st) * (size_t)((st->cout + st->block_out - 1) / st->block_out);
    for (size_t i = 0; i < n; i++) *present += st->present[i];
    return n;
}

static cJSON *stage_json(const hd_stage *st) {
    size_t present, blocks = count_blocks(st, &present), weights = hd_stage_weights(st), bytes = hd_stage_weight_bytes(st);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", st->name);
    cJSON_AddNumberToObject(o, "weights", (double)weights);
    cJSON_AddStringToObject(o, "grid", hd_grid_name((int)st->grid));
    if (st->bits) cJSON_AddNumberToObject(o, "bits", st->bits);
    cJSON_AddStringToObject(o, "granularity", granularity_name(st));
    if (st->granularity == HD_GRANULARITY_GROUP) cJSON_AddNumberToObject(o, "group_size", st->group_size);
    if (blocks) {
        cJSON_AddNumberToObject(o, "block_in", st->block_in);
        cJSON_AddNumberToObject(o, "block_out", st->block_out);
        cJSON_AddNumberToObject(o, "blocks", (double)blocks);
        cJSON_AddNumberToObject(o, "blocks_present", (double)present);
    }
    cJSON_AddNumberToObject(o, "bytes", (double)bytes);
    cJSON_AddNumberToObject(o, "bits_per_weight", weights ? 8.0 * (double)bytes / (double)weights : 0);
    return o;
}

cJSON *cli_model_json(const hd_model *m, const char *out) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "model", m->name);
    cJSON_AddStringToObject(o, "output", out);
    cJSON_AddNumberToObject(o, "total_bits_per_weight", hd_model_bits_per_weight(m));
    cJSON_AddNumberToObject(o, "bytes", (double)hd_model_weight_bytes(m));
    cJSON_AddNumberToObject(o, "dense_weights", m->dense_weights);
    cJSON *layers = cJSON_AddArrayToObject(o, "layers");
    for (int i = 0; i < m->n_stages; i++)
        if (m->stage[i].kind == HD_STAGE_CONV) cJSON_AddItemToArray(layers, stage_json(&m->stage[i]));
    return o;
}

void cli_model_print(const hd_model *m, const char *out) {
    printf("%-24s %9s %8s %5s %11s %14s %9s %8s\n", "layer", "weights", "grid", "bits", "granularity", "blocks present", "bytes", "bits/w");
    for (int i = 0; i < m->n_stages; i++) {
        const hd_stage *st = &m->stage[i];
        if (st->kind != HD_STAGE_CONV) continue;
        size_t present, blocks = count_blocks(st, &present), weights = hd_stage_weights(st), bytes = hd_stage_weight_bytes(st);
        char kept[40] = "all", bits[8] = "-";
        if (blocks) snprintf(kept, sizeof kept, "%zu of %zu", present, blocks);
        if (st->bits) snprintf(bits, sizeof bits, "%d", st->bits);
        printf("%-24s %9zu %8s %5s %11s %14s %9zu %8.2f\n", st->name, weights, hd_grid_name((int)st->grid), bits, granularity_name(st), kept, bytes,
               weights ? 8.0 * (double)bytes / (double)weights : 0);
    }
    printf("%s: %zu bytes, %.3f bits per weight in total (scales, biases, multipliers and masks included)\n", out, hd_model_weight_bytes(m),
           hd_model_bits_per_weight(m));
}

static const hd_node *find_node(const hd_graph *g, const char *name) {
    for (int i = 0; i < g->n_nodes; i++)
        if (!strcmp(g->node[i].name, name)) return &g->node[i];
    return NULL;
}

/* The layers that passes rewrote: what is left in the policy says what was done (pass_internal.h). Parts of a layer that a pass made have its policy, but
 * only the layer itself lost channels. */
static void list_rewritten(cJSON *o, const hd_graph *g, const hd_graph *source, const hd_policy *p) {
    cJSON *list = cJSON_AddArrayToObject(o, "rewritten");
    for (int i = 0; i < g->n_nodes; i++) {
        const hd_node *n = &g->node[i];
        if (!hd_node_weights(n)) continue;
        const hd_layer_policy *l = hd_policy_of(p, n->name);
        int removed = find_node(source, n->name) ? l->channels_removed : 0;
        if (!hd_recipe_rewrites(&l->recipe) && !removed) continue;
        char text[200];
        hd_recipe_text(&l->recipe, text, sizeof text);
        cJSON *e = cJSON_CreateObject();
        cJSON_AddStringToObject(e, "name", n->name);
        if (hd_recipe_rewrites(&l->recipe)) cJSON_AddStringToObject(e, "method", text);
        if (removed) {
            cJSON_AddNumberToObject(e, "channels_removed", removed);
            cJSON_AddNumberToObject(e, "channels", n->cout);
        }
        cJSON_AddItemToArray(list, e);
    }
    for (int i = 0; p->split_average && i < source->n_nodes; i++) {
        const hd_node *n = &source->node[i], *now = find_node(g, n->name);
        if (n->op != HD_OP_AVG_POOL || !now || (now->kh == n->kh && now->kw == n->kw)) continue;
        cJSON *e = cJSON_CreateObject();
        char text[40];
        snprintf(text, sizeof text, "%dx%d", now->kh, now->kw);
        cJSON_AddStringToObject(e, "name", n->name);
        cJSON_AddStringToObject(e, "average", text);
        cJSON_AddItemToArray(list, e);
    }
}

/* What became of the averages that were too large, a line each. */
static void print_averages(const hd_graph *g, const hd_graph *source, int most) {
    for (int i = 0; most && i < source->n_nodes; i++) {
        const hd_node *n = &source->node[i], *now = find_node(g, n->name);
        char rest[200];
        if (n->op != HD_OP_AVG_POOL || !now || (now->kh == n->kh && now->kw == n->kw)) continue;
        snprintf(rest, sizeof rest, "%.190s.rest", n->name);
        printf("%s: %d x %d pixels are more than %d, so %d x %d are averaged and rounded, the rest in %s\n", n->name, n->kh, n->kw, most, now->kh, now->kw,
               find_node(g, rest) ? rest : "the weights of the layer behind");
    }
}

static hd_status print_model(const cli_args *a, const hd_model *m, const hd_graph *rewritten, const hd_graph *source, const hd_policy *p, const char *out,
                             hd_err *err) {
    if (!a->json) {
        print_averages(rewritten, source, p->split_average);
        cli_model_print(m, out);
        return HD_OK;
    }
    cJSON *o = cli_model_json(m, out);
    list_rewritten(o, rewritten, source, p);
    return cli_json(o, err);
}

/* Without --calib the integers of a quantised file stay. What asks for others needs --calib. */
static hd_status keep_integers(const cli_args *a, const hd_graph *g, const hd_policy *p, const char *out, hd_err *err) {
    for (const cli_option *o = options; o->name; o++)
        if (strcmp(o->name, "-o") && strcmp(o->name, "--calib") && strcmp(o->name, "--split-average") && cli_text(a, o->name))
            return hd_fail(err, HD_USAGE, "compress: %s needs --calib; without it the integers of '%s' stay as they are", o->name, a->operand);
    hd_model *m = NULL;
    hd_graph *cut = hd_graph_clone(g);
    hd_status s = cut ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for a copy of the network");
    if (!s && p->split_average) s = hd_graph_split_averages(cut, p->split_average, err);
    if (!s) s = hd_compress_kept(&m, cut, err);
    if (s) hd_fail_in(err, a->operand);
    if (!s) s = hd_model_save(m, out, err);
    if (!s) s = print_model(a, m, cut, g, p, out, err);
    hd_model_free(m);
    hd_graph_free(cut);
    return s;
}

static hd_status compress_to(const cli_args *a, hd_graph *g, const hd_policy *p, const char *calib_path, int64_t samples, const char *out, hd_err *err) {
    hd_idx *calib = NULL;
    hd_model *m = NULL;
    hd_status s = hd_idx_load(&calib, calib_path, err);
    hd_shape in = g->tensor[g->input].shape;
    if (!s) s = cli_hwc(a, calib, calib_path, in.c, in.h, in.w, err);
    if (!s) s = cli_codes(a, &calib, calib_path, &g->tensor[g->input], err);
    hd_graph *rewritten = NULL;
    hd_policy policy = {0};
    if (!s) s = hd_passes_run(&rewritten, &policy, g, p, calib, (int)samples, !cli_flag(a, "--raw"), err);
    if (!s) s = hd_compress(&m, rewritten, &policy, calib, (int)samples, !cli_flag(a, "--raw"), err);
    if (!s && hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
    if (!s) s = hd_model_save(m, out, err);
    if (!s) s = print_model(a, m, rewritten, g, &policy, out, err);
    hd_graph_free(rewritten);
    hd_policy_free(&policy);
    if (m) hd_model_free(m);
    if (calib) hd_idx_free(calib);
    return s;
}

/* The importer takes a network as a whole, or it runs in parts. Of what it refuses, an ONNX file may still. */
static hd_status load_source(cli_model *source, hd_parts **parts, const cli_args *a, hd_err *err) {
    hd_status s = HD_OK;
    int asked = cli_text(a, "--shape") || cli_text(a, "--fix");
    if (!asked) s = cli_model_import(source, a->operand, err);
    if (!asked && (s == HD_OK || s == HD_IO || s == HD_NOMEM || s == HD_FORMAT || !cli_is_onnx(a->operand))) return s;
    return cli_parts_cut(parts, &source->graph, a, err);
}

static hd_status run(const cli_args *a, hd_err *err) {
    const char *out, *calib;
    int64_t samples;
    hd_policy policy;
    hd_status s = cli_need(&out, a, "-o", err);
    if (!s && cli_text(a, "--tokens")) return cli_compress_llama(a, cli_text(a, "--tokens"), out, err);
    if (!s && cli_text(a, "--repair")) s = hd_fail(err, HD_USAGE, "compress: --repair goes with --tokens");
    if (!s && cli_text(a, "--blockwise")) s = hd_fail(err, HD_USAGE, "compress: --blockwise goes with --tokens");
    if (!s && cli_text(a, "--rows")) s = hd_fail(err, HD_USAGE, "compress: --rows goes with --tokens");
    calib = cli_text(a, "--calib");
    if (!s) s = cli_int(&samples, a, "--calib-count", 512, 1, 1 << 20, err);
    if (s) return s;
    cli_model source = {0};
    int budget = cli_has_budget(a);
    s = cli_policy(&policy, a, err);
    if (!s && !budget) s = cli_only_with_budget(a, err);
    if (!s) s = cli_can_write(out, err);
    hd_parts *parts = NULL;
    if (!s) s = load_source(&source, &parts, a, err);
    if (!s && parts) {
        s = budget ? hd_fail(err, HD_UNSUPPORTED, "%s: runs in parts on array and host; a budget needs a network of one part", a->operand) : cli_parts_compress(a, parts, &policy, calib, samples, out, err);
        hd_parts_free(parts);
        hd_policy_free(&policy);
        return s;
    }
    if (!s && source.model) s = hd_fail(err, HD_FORMAT, "%s: compressed already; allowed are an ONNX or TFLite file and the word default", a->operand);
    int quantised = !s && source.graph->tensor[source.graph->input].scale > 0;
    if (!s && !calib && quantised) s = keep_integers(a, source.graph, &policy, out, err);
    else if (!s && !calib) s = cli_need(&calib, a, "--calib", err);
    else if (!s && budget) s = cli_compress_budget(a, source.graph, calib, samples, out, err);
    else if (!s) s = compress_to(a, source.graph, &policy, calib, samples, out, err);
    cli_model_free(&source);
    hd_policy_free(&policy);
    return s;
}

const cli_command cli_compress = {
    .name = "compress",
    .summary = "quantise and prune a float network or language model",
    .operand = "MODEL",
    .about = "Makes integers of a float network. MODEL is an ONNX or TFLite file, or the word default. --calib holds inputs like those it will "
             "see; from them come the ranges of its activations and what the solvers weigh errors by. An int8 TFLite file or a quantised ONNX "
             "file keeps its own integers. An ONNX file that does not map to the array as a whole is cut in parts, some for the array and some "
             "for the host.\n"
             "With a budget the format of each layer is chosen by measurement; the table then says why. With --tokens MODEL is a language model "
             "(a llama2.c checkpoint, GGUF, or .safetensors beside its config.json) and the result an .hlm.\n"
             "The table shows what each layer stores; bits/w counts scales, biases, multipliers and masks too.",
    .examples = "heddle compress default --calib train-images-idx3-ubyte.gz --weights 2 --sparsity 0.5 --block 8x8 -o net.hdm\n"
                "heddle compress net.onnx --calib images.idx --budget-bytes 13000 -o net.hdm\n"
                "heddle compress int8.tflite -o net.hdm\n"
                "heddle compress model.bin --tokens text.idx --weights 4 --granularity group:32 -o model.hlm",
    .surroundings = CLI_THREADS | CLI_IDX | CLI_HDM | CLI_HLM | CLI_POLICY,
    .see = "eval, tune, compile, docs/compression.md, docs/onnx.md, docs/formats.md",
    .options = options,
    .run = run,
};
