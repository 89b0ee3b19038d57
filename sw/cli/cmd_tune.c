/* heddle tune: a float network trained on in the format it will be stored in. Language models: tune_language.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/passes.h"
#include "../core/progress.h"
#include "../explore/accuracy.h"
#include "../explore/dataset.h"
#include "../train/tune.h"
#include "cli.h"

static const cli_option options[] = {
    {"-o", "N.hdm", "where the compressed model goes (required)"},
    {"--weights", "B", "bits of a weight, 1..8, or ternary (8)"},
    {"--grid", "odd|even|auto", "which integers weights may be (auto)"},
    {"--sparsity", "S", "share of weight blocks to remove, 0..0.99 (0)"},
    {"--block", "INxOUT", "pruning block: inputs x outputs (8x8)"},
    {"--balance", "LANES", "with blocks of 2 x a tile's channels: the pairs of so many lanes lose equally many, for --memory gather=1"},
    {"--granularity", "G", "tensor, channel or group:N (channel)"},
    {"--policy", "FILE", "JSON: the base and rules by layer; options given override its base"},
    {"--epochs", "N", "passes over the training images (10) or rows"},
    {"--rate", "X", "learning rate of Adam (0.005; 0.0005 for 4 bits and more without sparsity; language models 0.01 and 0.001)"},
    {"--batch", "N", "images (48) or rows (4) a step"},
    {"--masks", "M", "fixed, gradual, regrow or feedback (gradual)"},
    {"--score", "S", "what a block is worth: norm, or fisher: its estimated part in the loss (norm; language models fisher)"},
    {"--settled", "X", "last share of the steps in which masks rest, 0..1 (0.5)"},
    {"--per-layer", NULL, "each layer keeps its own share of blocks; else they share one budget"},
    {"--teacher", "T", "self, mutual, none, or a FILE with another float network (self)"},
    {"--share", "X", "of the teacher in the loss, 0..1 (0.5; language models 1)"},
    {"--temperature", "X", "of the teacher's and the student's softmax (2; language models 1)"},
    {"--width", "X", "share of each layer's channels that the student keeps (1)"},
    {"--rewind", "FILE", "start from these weights of the same network (lottery ticket)"},
    {"--shift", "N", "move each image by up to N pixels, 0..8 (0)"},
    {"--flip", NULL, "mirror half of the images"},
    {"--decay", "X", "weight decay (0)"},
    {"--seed", "N", "order of images or rows, and what is written (1)"},
    {"--limit", "N", "train on the first N images only, 0 = all (0)"},
    {"--images", "X.idx", "training images (Debian's Fashion-MNIST)"},
    {"--labels", "Y.idx", "their labels"},
    {"--test-images", "X.idx", "measure accuracies: float, one-shot and tuned"},
    {"--test-labels", "Y.idx", "their labels"},
    {"--tokens", "X.idx", "MODEL is a language model (llama2.c, GGUF), -o an .hlm: int16 rows to train on"},
    {"--rows", "FIRST:COUNT", "only these rows of --tokens (all)"},
    {"--structure", "S", "what --sparsity removes: block or N:M (block); with --tokens block, unstructured or N:M (unstructured; with --block: block)"},
    {"--written", "N", "with --tokens: rows that MODEL writes itself first, to train on too (800; with pv 160)"},
    {"--written-share", "X", "of them in each step, 0..1 (0.8)"},
    {"--steps", "N", "with --tokens, instead of --epochs (1500; with pv 400)"},
    {"--method", "M", "with --tokens: how training starts, as for heddle compress, and +pv: PV-Tuning, for table[:BITS], additive[:BITS] or integers (gptq)"},
    {"--code-group", "N", "with --tokens: weights that a code covers, 1..8 (4; additive 8)"},
    {NULL, NULL, NULL},
};

enum { CALIBRATION_IMAGES = 512 };

typedef struct tuning {
    cli_model source, teacher, rewind;
    hd_graph *student; /* the source, or a narrower copy of it */
    hd_policy policy;
    hd_tune_options o;
    hd_idx *images, *labels, *test_images, *test_labels;
    hd_model *oneshot, *model;
    hd_tuned tuned;
    double start, accuracy_float, accuracy_oneshot, accuracy_tuned;
} tuning;

hd_status cli_masks(hd_masks *out, const cli_args *a, hd_err *err) {
    static const char *const names[] = {"fixed", "gradual", "regrow", "feedback"};
    const char *text = cli_text(a, "--masks");
    for (int i = 0; text && i < 4; i++)
        if (!strcmp(text, names[i])) {
            *out = (hd_masks)i;
            return HD_OK;
        }
    return text ? hd_fail(err, HD_USAGE, "tune: --masks: found '%.60s'; allowed are fixed, gradual, regrow and feedback", text) : HD_OK;
}

hd_status cli_score(hd_score *out, const cli_args *a, hd_err *err) {
    const char *text = cli_text(a, "--score");
    if (!text) return HD_OK;
    if (!strcmp(text, "norm")) *out = HD_SCORE_NORM;
    else if (!strcmp(text, "fisher")) *out = HD_SCORE_FISHER;
    else return hd_fail(err, HD_USAGE, "tune: --score: found '%.60s'; allowed are norm and fisher", text);
    return HD_OK;
}

static hd_status read_options(tuning *t, const cli_args *a, hd_err *err) {
    hd_tune_options *o = &t->o;
    int64_t epochs, batch, seed, limit, shift;
    double rate, share, temperature, decay, settled;
    hd_tune_defaults(o);
    hd_status s = cli_masks(&o->masks, a, err);
    if (!s) s = cli_score(&o->score, a, err);
    if (!s) s = cli_int(&shift, a, "--shift", 0, 0, 8, err);
    if (!s) s = cli_float(&decay, a, "--decay", (double)o->train.weight_decay, 0, 1, err);
    if (!s) s = cli_float(&settled, a, "--settled", (double)o->settled, 0, 1, err);
    if (!s) s = cli_int(&epochs, a, "--epochs", o->train.epochs, 1, 1000, err);
    if (!s) s = cli_int(&batch, a, "--batch", o->train.batch, 1, 4096, err);
    if (!s) s = cli_int(&seed, a, "--seed", (int64_t)o->train.seed, 0, INT64_MAX, err);
    if (!s) s = cli_int(&limit, a, "--limit", 0, 0, 1 << 30, err);
    if (!s) s = cli_float(&rate, a, "--rate", 0, 1e-7, 1, err);
    if (!s) s = cli_float(&share, a, "--share", (double)o->share, 0, 1, err);
    if (!s) s = cli_float(&temperature, a, "--temperature", (double)o->temperature, 0.1, 100, err);
    if (s) return s;
    o->train.epochs = (int)epochs;
    o->train.batch = (int)batch;
    o->train.seed = (uint64_t)seed;
    o->train.limit = (int)limit;
    o->train.learning_rate = (float)rate;
    o->train.shift = (int)shift;
    o->train.flip = cli_flag(a, "--flip");
    o->train.weight_decay = (float)decay;
    o->settled = (float)settled;
    o->global = !cli_flag(a, "--per-layer");
    o->share = (float)share;
    o->temperature = (float)temperature;
    return HD_OK;
}

static hd_status load_float(cli_model *m, const char *name, hd_err *err) {
    hd_status s = cli_model_load(m, name, err);
    return !s && m->model ? hd_fail(err, HD_FORMAT, "%s: compressed already; allowed are an ONNX or TFLite file and the word default", name) : s;
}

static hd_status load_networks(tuning *t, const cli_args *a, hd_err *err) {
    const char *teacher = cli_text(a, "--teacher"), *rewind = cli_text(a, "--rewind");
    hd_status s = load_float(&t->source, a->operand, err);
    if (!s && rewind) s = load_float(&t->rewind, rewind, err);
    if (s) return s;
    t->o.rewind = t->rewind.graph;
    if (!teacher || !strcmp(teacher, "self")) t->o.teacher = t->source.graph;
    else if (!strcmp(teacher, "mutual")) {
        t->o.teacher = t->source.graph;
        t->o.mutual = 1;
    } else if (strcmp(teacher, "none")) {
        s = load_float(&t->teacher, teacher, err);
        t->o.teacher = t->teacher.graph;
    }
    double width;
    if (!s) s = cli_float(&width, a, "--width", 1, 0.01, 1, err);
    if (s) return s;
    /* Residual networks cannot be narrowed, but at full width nobody asks for it. */
    if (width < 1) return hd_narrow(&t->student, t->source.graph, (float)width, err);
    t->student = hd_graph_clone(t->source.graph);
    return t->student ? HD_OK : hd_fail(err, HD_NOMEM, "%s: no memory for a copy", a->operand);
}

static hd_status load_pair(hd_idx **images, hd_idx **labels, const cli_args *a, const char *image_option, const char *label_option, const hd_graph *g, hd_err *err) {
    const char *x = cli_text(a, image_option), *y = cli_text(a, label_option);
    hd_status s = hd_idx_load(images, x, err);
    if (!s) s = hd_idx_load(labels, y, err);
    size_t classes = hd_shape_size(g->tensor[g->output].shape);
    return s ? s : hd_dataset_check(*images, *labels, x, y, hd_shape_size(g->tensor[g->input].shape), (uint32_t)classes, err);
}

static hd_status load_data(tuning *t, const cli_args *a, hd_err *err) {
    const hd_graph *g = t->source.graph;
    hd_status s = HD_OK;
    if (cli_text(a, "--images")) s = load_pair(&t->images, &t->labels, a, "--images", "--labels", g, err);
    else {
        s = hd_fashion_mnist(&t->images, &t->labels, 0, err);
        if (!s)
            s = hd_dataset_check(t->images, t->labels, "training images", "training labels", hd_shape_size(g->tensor[g->input].shape),
                                 (uint32_t)hd_shape_size(g->tensor[g->output].shape), err);
    }
    if (!s && cli_text(a, "--test-images")) s = load_pair(&t->test_images, &t->test_labels, a, "--test-images", "--test-labels", g, err);
    return s;
}

static hd_status tune(tuning *t, const char *out, hd_err *err) {
    const hd_graph *g = t->student;
    hd_status s = hd_compress(&t->oneshot, g, &t->policy, t->images, CALIBRATION_IMAGES, 1, err);
    if (!s && !(t->o.train.learning_rate > 0)) t->o.train.learning_rate = hd_tune_rate(g, t->oneshot);
    if (!s) s = hd_tune(&t->tuned, g, t->oneshot, t->images, t->labels, NULL, NULL, &t->o, err);
    if (!s) s = hd_compress_trained(&t->model, t->tuned.graph, &t->policy, t->tuned.trained, t->images, CALIBRATION_IMAGES, 1, err);
    if (!s && hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
    return s ? s : hd_model_save(t->model, out, err);
}

static hd_status measure(tuning *t, hd_err *err) {
    if (!t->test_images) return HD_OK;
    hd_status s = hd_accuracy(t->source.graph, t->test_images, t->test_labels, 0, &t->accuracy_float, err);
    if (!s) s = hd_model_accuracy(t->oneshot, t->test_images, t->test_labels, 0, 1, &t->accuracy_oneshot, err);
    return s ? s : hd_model_accuracy(t->model, t->test_images, t->test_labels, 0, 1, &t->accuracy_tuned, err);
}

static hd_status report(const tuning *t, const cli_args *a, const char *out, double seconds, hd_err *err) {
    if (a->json) {
        cJSON *o = cli_model_json(t->model, out);
        cJSON_AddNumberToObject(o, "epochs", t->o.train.epochs);
        cJSON_AddNumberToObject(o, "seed", (double)t->o.train.seed);
        cJSON_AddNumberToObject(o, "loss", t->tuned.loss);
        cJSON_AddNumberToObject(o, "seconds", seconds);
        if (t->test_images) {
            cJSON_AddNumberToObject(o, "float_accuracy", t->accuracy_float);
            cJSON_AddNumberToObject(o, "oneshot_accuracy", t->accuracy_oneshot);
            cJSON_AddNumberToObject(o, "tuned_accuracy", t->accuracy_tuned);
        }
        return cli_json(o, err);
    }
    cli_model_print(t->model, out);
    printf("%d epochs in %.1f s, loss %.4f\n", t->o.train.epochs, seconds, t->tuned.loss);
    if (t->test_images)
        printf("accuracy over %u images: float %.2f%%, one-shot %.2f%%, tuned %.2f%%\n", t->test_images->dim[0], 100 * t->accuracy_float, 100 * t->accuracy_oneshot,
               100 * t->accuracy_tuned);
    return HD_OK;
}

static void free_tuning(tuning *t) {
    if (t->student) hd_graph_free(t->student);
    cli_model_free(&t->source);
    cli_model_free(&t->teacher);
    cli_model_free(&t->rewind);
    hd_policy_free(&t->policy);
    hd_idx_free(t->images);
    hd_idx_free(t->labels);
    hd_idx_free(t->test_images);
    hd_idx_free(t->test_labels);
    hd_model_free(t->oneshot);
    hd_model_free(t->model);
    hd_tuned_free(&t->tuned);
}

/* Training starts from the network as it is; steps that rewrite it would be passed over in silence. */
static hd_status no_rewriting(const hd_policy *p, hd_err *err) {
    for (int i = -1; i < p->n_rules; i++) {
        const hd_layer_policy *o = i < 0 ? &p->base : &p->rule[i].policy;
        char text[200];
        hd_recipe_text(&o->recipe, text, sizeof text);
        if (o->structure == HD_SPARSE_CHANNEL)
            return hd_fail(err, HD_UNSUPPORTED, "tune: structure 'channel' makes the network narrower before it is compressed; it goes with heddle compress (tune --width trains a narrower student)");
        if (hd_recipe_rewrites(&o->recipe)) return hd_fail(err, HD_UNSUPPORTED, "tune: method '%s' rewrites the network before it is compressed; it goes with heddle compress", text);
    }
    return HD_OK;
}

static hd_status run(const cli_args *a, hd_err *err) {
    static const char *const pairs[2][2] = {{"--images", "--labels"}, {"--test-images", "--test-labels"}};
    tuning t = {0};
    const char *out;
    hd_status s = cli_need(&out, a, "-o", err);
    if (!s && cli_text(a, "--tokens")) return cli_tune_llama(a, out, err);
    static const char *const language[] = {"--rows", "--written", "--written-share", "--steps", "--method", "--code-group", NULL};
    if (!s) s = cli_refuse(a, language, 0, err);
    for (int i = 0; i < 2 && !s; i++)
        if (!cli_text(a, pairs[i][0]) != !cli_text(a, pairs[i][1])) s = hd_fail(err, HD_USAGE, "tune: %s and %s go together", pairs[i][0], pairs[i][1]);
    if (!s) s = read_options(&t, a, err);
    if (!s) s = cli_policy(&t.policy, a, err);
    t.o.policy = &t.policy;
    if (!s) s = no_rewriting(&t.policy, err);
    if (!s) s = cli_can_write(out, err);
    if (!s) s = load_networks(&t, a, err);
    if (!s) s = load_data(&t, a, err);
    double start = hd_seconds();
    if (!s) s = tune(&t, out, err);
    double seconds = hd_seconds() - start;
    if (!s) s = measure(&t, err);
    if (!s) s = report(&t, a, out, seconds, err);
    free_tuning(&t);
    return s;
}

const cli_command cli_tune = {
    .name = "tune",
    .summary = "train a float network on in its compressed format",
    .operand = "MODEL",
    .about = "Compresses MODEL (an ONNX or TFLite file, or the word default) in one shot and trains it on as it will be stored: integers, "
             "steps, masks. Costs the array nothing and mends most of what low bits and removed blocks lose. With --tokens MODEL is a language "
             "model and the result an .hlm.",
    .examples = "heddle tune default --weights 2 --sparsity 0.5 --block 8x8 -o net.hdm\n"
                "heddle tune model.bin --tokens text.idx --weights 4 --sparsity 0.5 --block 4x8 -o model.hlm",
    .surroundings = CLI_DATASET | CLI_THREADS | CLI_IDX | CLI_HDM | CLI_HLM | CLI_POLICY,
    .see = "compress, eval, train, docs/compression.md",
    .options = options,
    .run = run,
};
