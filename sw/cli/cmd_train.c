/* heddle train: the default network on Fashion-MNIST or on idx files of the same shape. Language models: tune_language.c. */
#include <stdio.h>

#include "../../compiler/import/import.h"
#include "../core/progress.h"
#include "../explore/dataset.h"
#include "../train/train.h"
#include "cli.h"

static const cli_option options[] = {
    {"-o", "NET.onnx", "where the trained network goes (required)"},
    {"--epochs", "N", "passes over the training images"},
    {"--batch", "N", "images a step"},
    {"--rate", "X", "learning rate of Adam"},
    {"--decay", "X", "weight decay"},
    {"--shift", "N", "move each image by up to N pixels, 0..8"},
    {"--flip", NULL, "mirror half of the images"},
    {"--width", "X", "channels against the default network's, 0.1..8: a teacher, or a smaller student (1)"},
    {"--seed", "N", "initial weights and order of images (1)"},
    {"--threads", "N", "0 = all cores (0)"},
    {"--limit", "N", "train on the first N images only, 0 = all (0)"},
    {"--images", "X.idx", "training images, 28x28 bytes (Debian's Fashion-MNIST)"},
    {"--labels", "Y.idx", "training labels 0..9"},
    {"--test-images", "X.idx", "images the accuracy is measured on"},
    {"--test-labels", "Y.idx", "their labels"},
    {"--tokens", "X.idx", "train a language model on these int16 rows instead; -o is a llama2.c checkpoint"},
    {"--rows", "FIRST:COUNT", "only these rows of --tokens (all)"},
    {"--shape", "D,F,L,H,K", "of the language model: dim, hidden, layers, heads, kv_heads"},
    {"--vocab", "V", "its tokens are 0..V-1"},
    {"--untied", NULL, "its classifier has weights of its own; else it is the embedding"},
    {"--steps", "N", "with --tokens, instead of --epochs (1000)"},
    {"--teacher", "FILE", "with --tokens: a larger language model to learn from"},
    {"--share", "X", "of the teacher in the loss, 0..1 (0.5)"},
    {"--temperature", "X", "of the teacher's and the student's softmax (1)"},
    {"--written", "N", "rows that the teacher writes first, to train on too (0)"},
    {"--written-share", "X", "of them in each step, 0..1 (0.5)"},
    {NULL, NULL, NULL},
};

typedef struct train_data {
    hd_idx *images, *labels, *test_images, *test_labels;
} train_data;

typedef struct report {
    int text, epochs;
    double loss, accuracy;
} report;

static void on_epoch(void *arg, int epoch, double loss, double test_accuracy) {
    report *r = arg;
    r->epochs++;
    r->loss = loss;
    r->accuracy = test_accuracy;
    if (!r->text) return;
    printf("epoch %2d  loss %.4f", epoch, loss);
    if (test_accuracy >= 0) printf("  test accuracy %.2f%%", 100 * test_accuracy);
    printf("\n");
    fflush(stdout);
}

/* Both files of a pair, or Debian's where neither is named. */
static hd_status load_pair(hd_idx **images, hd_idx **labels, const cli_args *a, const char *image_option, const char *label_option, int test, hd_err *err) {
    const char *x = cli_text(a, image_option), *y = cli_text(a, label_option);
    if (!x != !y) return hd_fail(err, HD_USAGE, "train: %s and %s go together", image_option, label_option);
    if (!x) return hd_fashion_mnist(images, labels, test, err);
    hd_status s = hd_idx_load(images, x, err);
    if (!s) s = hd_idx_load(labels, y, err);
    if (!s) s = hd_dataset_check(*images, *labels, x, y, 28 * 28, 10, err);
    return s;
}

static hd_status load_data(train_data *d, const cli_args *a, hd_err *err) {
    hd_status s = load_pair(&d->images, &d->labels, a, "--images", "--labels", 0, err);
    /* With the user's own training data, Debian's test images would measure something else. */
    if (!s && (cli_text(a, "--test-images") || cli_text(a, "--test-labels") || !cli_text(a, "--images")))
        s = load_pair(&d->test_images, &d->test_labels, a, "--test-images", "--test-labels", 1, err);
    return s;
}

static void free_data(train_data *d) {
    hd_idx_free(d->images);
    hd_idx_free(d->labels);
    hd_idx_free(d->test_images);
    hd_idx_free(d->test_labels);
}

static hd_status read_options(hd_train_options *o, const cli_args *a, hd_err *err) {
    int64_t epochs, batch, shift, seed, threads, limit;
    double rate, decay;
    hd_train_defaults(o);
    hd_status s = cli_int(&epochs, a, "--epochs", o->epochs, 1, 1000, err);
    if (!s) s = cli_int(&batch, a, "--batch", o->batch, 1, 4096, err);
    if (!s) s = cli_int(&shift, a, "--shift", o->shift, 0, 8, err);
    if (!s) s = cli_int(&seed, a, "--seed", (int64_t)o->seed, 0, INT64_MAX, err);
    if (!s) s = cli_int(&threads, a, "--threads", o->threads, 0, 256, err);
    if (!s) s = cli_int(&limit, a, "--limit", o->limit, 0, 1 << 30, err);
    if (!s) s = cli_float(&rate, a, "--rate", (double)o->learning_rate, 1e-7, 1, err);
    if (!s) s = cli_float(&decay, a, "--decay", (double)o->weight_decay, 0, 1, err);
    if (s) return s;
    o->epochs = (int)epochs;
    o->batch = (int)batch;
    o->shift = (int)shift;
    o->flip = cli_flag(a, "--flip");
    o->seed = (uint64_t)seed;
    o->threads = (int)threads;
    o->limit = (int)limit;
    o->learning_rate = (float)rate;
    o->weight_decay = (float)decay;
    return HD_OK;
}

static hd_status print_result(const cli_args *a, const report *r, const char *out, double seconds, uint64_t seed, hd_err *err) {
    if (!a->json) {
        printf("%s: %d epochs in %.1f s, loss %.4f", out, r->epochs, seconds, r->loss);
        if (r->accuracy >= 0) printf(", test accuracy %.2f%%", 100 * r->accuracy);
        printf("\n");
        return HD_OK;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "output", out);
    cJSON_AddNumberToObject(o, "epochs", r->epochs);
    cJSON_AddNumberToObject(o, "seed", (double)seed);
    cJSON_AddNumberToObject(o, "loss", r->loss);
    if (r->accuracy >= 0) cJSON_AddNumberToObject(o, "accuracy", r->accuracy);
    cJSON_AddNumberToObject(o, "seconds", seconds);
    return cli_json(o, err);
}

static hd_status train_and_save(const cli_args *a, const train_data *d, const hd_train_options *given, const char *out, hd_err *err) {
    report r = {.text = !a->json, .accuracy = -1};
    hd_train_options o = *given;
    o.on_epoch = on_epoch;
    o.arg = &r;
    o.quiet = 0;
    double start = hd_seconds();
    double width;
    hd_status s = cli_float(&width, a, "--width", 1, 0.1, 8, err);
    if (s) return s;
    hd_graph *g = hd_scaled_network(o.seed, width);
    if (!g) return hd_fail(err, HD_NOMEM, "no memory for the network");
    double loss = 0;
    s = hd_train(g, d->images, d->labels, d->test_images, d->test_labels, &o, &loss, err);
    if (!s) s = hd_export_onnx(g, out, err);
    hd_graph_free(g);
    r.loss = loss;
    return s ? s : print_result(a, &r, out, hd_seconds() - start, o.seed, err);
}

static hd_status run(const cli_args *a, hd_err *err) {
    hd_train_options o;
    train_data d = {0};
    const char *out;
    hd_status s = cli_need(&out, a, "-o", err);
    if (!s && cli_text(a, "--tokens")) return cli_train_llama(a, out, err);
    static const char *const language[] = {"--rows", "--shape", "--vocab", "--untied", "--steps", "--teacher", "--share", "--temperature", "--written", "--written-share", NULL};
    if (!s) s = cli_refuse(a, language, 0, err);
    if (!s) s = read_options(&o, a, err);
    if (!s) s = cli_can_write(out, err);
    if (!s) s = load_data(&d, a, err);
    if (!s) s = train_and_save(a, &d, &o, out, err);
    free_data(&d);
    return s;
}

const cli_command cli_train = {
    .name = "train",
    .summary = "train the default network and write it as ONNX",
    .about = "Trains the network that is built in (28 x 28 bytes to ten classes), or one with --width times its channels, from random weights, "
             "and prints its accuracy on the test images. With --tokens it trains a language model of Llama's shape instead and writes a "
             "llama2.c checkpoint. What comes out depends on the options and the seed, on nothing else.",
    .examples = "heddle train --epochs 8 --seed 1 -o net.onnx\n"
                "heddle train --tokens text.idx --shape 64,172,5,8,4 --vocab 512 -o model.bin",
    .surroundings = CLI_DATASET | CLI_THREADS | CLI_IDX,
    .see = "tune, compress, docs/compression.md",
    .options = options,
    .run = run,
};
