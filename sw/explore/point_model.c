/* The compressed network of a point: made once for all points of the same compression, with its accuracy, and kept beside them. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../compiler/compress/passes.h"
#include "../../compiler/import/import.h"
#include "../../drivers/tools.h"
#include "../core/bytes.h"
#include "../core/file.h"
#include "../core/progress.h"
#include "../train/train.h"
#include "accuracy.h"
#include "auto_network.h"
#include "dataset.h"
#include "files.h"
#include "point.h"

struct hd_point_data {
    hd_study study;
    uint64_t hash;
    hd_graph *graph; /* these are loaded when a network has to be compressed */
    hd_idx *calib, *images, *labels;
};

static const char fashion[] = "/usr/share/datasets/fashion-mnist";

static void fashion_path(char *path, size_t n, const char *file) {
    const char *folder = getenv("HEDDLE_DATASET");
    snprintf(path, n, "%s/%s", folder && *folder ? folder : fashion, file);
}

/* Content counts, not names: a file that is written anew makes new points. */
static hd_status hash_file(uint64_t *h, const char *path, const char *otherwise, hd_err *err) {
    char own[HD_STUDY_PATH + 256];
    uint8_t *data = NULL;
    size_t size;
    if (!*path) fashion_path(own, sizeof own, otherwise);
    hd_status s = hd_file_read(&data, &size, *path ? path : own, (size_t)1 << 31, 0, err);
    if (s && !*path) return hd_fail(err, HD_IO, "%.300s: not found; install Debian's package dataset-fashion-mnist, or name files with --calib, --images and --labels", own);
    if (s) return s;
    hd_tool_hash(h, &size, sizeof size);
    hd_tool_hash(h, data, size);
    free(data);
    return HD_OK;
}

/* A float network by its content. */
static hd_status load_graph(hd_graph **g, const char *path, hd_err *err) {
    if (!strcmp(path, "default")) return hd_default_graph(g, err);
    unsigned char first[8] = {0};
    FILE *f = fopen(path, "rb");
    if (!f) return hd_fail(err, HD_IO, "%s: %s", path, strerror(errno));
    size_t n = fread(first, 1, sizeof first, f);
    fclose(f);
    hd_reader r = {.data = first, .size = sizeof first};
    uint32_t magic = hd_get_u32(&r);
    if (magic == (uint32_t)HD_HDM_MAGIC || magic == (uint32_t)HD_HDP_MAGIC || magic == (uint32_t)HD_HLM_MAGIC)
        return hd_fail(err, HD_FORMAT, "%s: compressed already; explore and point take the float network (.onnx or .tflite) or the word default", path);
    return n == sizeof first && !memcmp(first + 4, "TFL3", 4) ? hd_import_tflite(g, path, err) : hd_import_onnx(g, path, err);
}

static void unload(hd_point_data *d) {
    if (d->graph) hd_graph_free(d->graph);
    if (d->calib) hd_idx_free(d->calib);
    if (d->images) hd_idx_free(d->images);
    if (d->labels) hd_idx_free(d->labels);
    d->graph = NULL;
    d->calib = d->images = d->labels = NULL;
}

/* All of it, or nothing. */
static hd_status load(hd_point_data *d, hd_err *err) {
    if (d->graph) return HD_OK;
    const hd_study *s = &d->study;
    hd_status st = load_graph(&d->graph, s->model, err);
    if (!st) st = *s->calib ? hd_idx_load(&d->calib, s->calib, err) : hd_fashion_mnist(&d->calib, NULL, 0, err);
    if (!st) st = *s->images ? hd_idx_load(&d->images, s->images, err) : hd_fashion_mnist(&d->images, NULL, 1, err);
    if (!st) st = *s->labels ? hd_idx_load(&d->labels, s->labels, err) : hd_fashion_mnist(NULL, &d->labels, 1, err);
    if (!st) {
        const hd_graph *g = d->graph;
        const hd_shape in = g->tensor[g->input].shape;
        size_t size = hd_shape_size(in), classes = hd_shape_size(g->tensor[g->output].shape);
        st = hd_dataset_check(d->calib, NULL, *s->calib ? s->calib : "training images", "", size, 0, err);
        if (!st) st = hd_dataset_check(d->images, d->labels, *s->images ? s->images : "test images", *s->labels ? s->labels : "test labels", size, (uint32_t)classes, err);
        if (!st && s->hwc) st = hd_idx_chw(d->calib, in.c, in.h, in.w, err);
        if (!st && s->hwc) st = hd_idx_chw(d->images, in.c, in.h, in.w, err);
    }
    if (st) unload(d);
    return st;
}

hd_status hd_point_data_new(hd_point_data **out, const hd_study *s, hd_err *err) {
    hd_point_data *d = calloc(1, sizeof *d);
    if (!d) return hd_fail(err, HD_NOMEM, "no memory for a study");
    d->study = *s;
    d->hash = HD_TOOL_HASH;
    hd_status st = HD_OK;
    if (!*s->images != !*s->labels) st = hd_fail(err, HD_USAGE, "--images and --labels go together");
    if (!st && strcmp(s->model, "default") && (!*s->calib || !*s->images))
        st = hd_fail(err, HD_USAGE, "model %.200s: --calib, --images and --labels are needed; only the default network brings its data", s->model);
    if (!st && strcmp(s->model, "default")) {
        st = hash_file(&d->hash, s->model, "", err);
    } else if (!st) {
        size_t size;
        const unsigned char *data = hd_default_model(&size);
        hd_tool_hash(&d->hash, data, size);
    }
    if (!st) st = hash_file(&d->hash, s->calib, "train-images-idx3-ubyte.gz", err);
    if (!st) st = hash_file(&d->hash, s->images, "t10k-images-idx3-ubyte.gz", err);
    if (!st) st = hash_file(&d->hash, s->labels, "t10k-labels-idx1-ubyte.gz", err);
    /* Files that cannot be read or do not fit each other are known before anything is synthesised for them. */
    if (!st && (strcmp(s->model, "default") || *s->calib || *s->images)) st = load(d, err);
    const double counts[] = {s->calib_count, s->count, s->raw, s->hwc};
    hd_tool_hash(&d->hash, counts, sizeof counts);
    if (st) hd_point_data_free(d);
    else *out = d;
    return st;
}

void hd_point_data_free(hd_point_data *d) {
    if (!d) return;
    unload(d);
    free(d);
}

uint64_t hd_point_data_hash(const hd_point_data *d) {
    return d->hash;
}

/* ---- compressing ---- */

/* Keeps the first and the last layer dense, in the bits of the others. */
static hd_status dense_ends(hd_policy *p, const hd_graph *g, hd_err *err) {
    const char *first = NULL, *last = NULL;
    for (int i = 0; i < g->n_nodes; i++) {
        if (!g->node[i].weight) continue;
        if (!first) first = g->node[i].name;
        last = g->node[i].name;
    }
    hd_layer_policy dense = p->base;
    dense.sparsity = 0;
    dense.skip_sparsity = 1;
    int ok = !first || (hd_policy_add(p, first, &dense) && hd_policy_add(p, last, &dense));
    return ok ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for a policy rule");
}

hd_status hd_point_block(int *in, int *out, const hd_point_spec *p, hd_err *err) {
    if (sscanf(p->axis[HD_AXIS_BLOCK], "%dx%d", in, out) == 2) return HD_OK;
    hd_geometry g;
    const hd_board *board;
    int fit;
    hd_status s = hd_point_geometry(&g, &board, &fit, p, err);
    if (s) return s;
    const char *w = p->axis[HD_AXIS_WEIGHTS];
    const int bits = *w >= '1' && *w <= '8' ? *w - '0' : 2, columns = (bits + (int)g.planes - 1) / (int)g.planes;
    *in = (int)g.lanes;
    *out = (int)g.cols >= columns ? (int)g.cols / columns : 1;
    return HD_OK;
}

static hd_status make_policy(hd_policy *policy, const hd_point_spec *p, const hd_graph *g, hd_err *err) {
    const char *w = p->axis[HD_AXIS_WEIGHTS], *ends = p->axis[HD_AXIS_ENDS];
    hd_policy_default(policy);
    policy->base.bits = !strcmp(w, "ternary") ? 0 : *w >= '1' && *w <= '8' ? *w - '0' : 8;
    policy->base.sparsity = strtof(p->axis[HD_AXIS_SPARSITY], NULL);
    hd_status s = hd_point_block(&policy->base.block_in, &policy->base.block_out, p, err);
    if (!s) s = hd_recipe_parse(&policy->base.recipe, p->axis[HD_AXIS_METHOD], err);
    if (s || !strcmp(ends, "same")) return s;
    return !strcmp(ends, "8") ? hd_policy_keep_ends(policy, g, err) : dense_ends(policy, g, err);
}

static hd_status compress_fixed(hd_model **m, const hd_point_data *d, const hd_policy *policy, hd_err *err) {
    hd_graph *rewritten = NULL;
    hd_policy used = {0};
    int unit = !d->study.raw, samples = (int)d->study.calib_count;
    hd_status s = hd_passes_run(&rewritten, &used, d->graph, policy, d->calib, samples, unit, err);
    if (!s) s = hd_compress(m, rewritten, &used, d->calib, samples, unit, err);
    hd_graph_free(rewritten);
    hd_policy_free(&used);
    return s;
}

static hd_status compress_auto(hd_model **m, const hd_point_data *d, const hd_policy *policy, double bits, hd_err *err) {
    double weights = 0;
    for (int i = 0; i < d->graph->n_nodes; i++) weights += (double)hd_node_weights(&d->graph->node[i]);
    hd_auto_network_options o = {.base = policy->base, .ranges = policy->ranges, .percentile = policy->percentile, .judged = 512, .refinements = 24};
    o.budget[HD_AUTO_BYTES] = (uint64_t)floor(bits * weights / 8);
    o.budget[HD_AUTO_CYCLES] = HD_NO_BUDGET;
    hd_auto_network *a = NULL;
    hd_status s = hd_auto_network_run(&a, d->graph, d->calib, (int)d->study.calib_count, !d->study.raw, &o, err);
    if (!s) {
        *m = a->model;
        a->model = NULL;
    }
    hd_auto_network_free(a);
    return s;
}

static hd_status make(hd_model **m, double *accuracy, hd_point_data *d, const hd_point_spec *p, hd_err *err) {
    const char *w = p->axis[HD_AXIS_WEIGHTS];
    hd_policy policy = {0};
    hd_status s = load(d, err);
    if (!s) s = make_policy(&policy, p, d->graph, err);
    if (!s) s = strncmp(w, "auto:", 5) ? compress_fixed(m, d, &policy, err) : compress_auto(m, d, &policy, strtod(w + 5, NULL), err);
    hd_policy_free(&policy);
    if (!s && hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
    if (!s) s = hd_model_accuracy(*m, d->images, d->labels, d->study.count, !d->study.raw, accuracy, err);
    return s;
}

/* ---- keeping ---- */

static hd_status load_kept(hd_model **m, double *accuracy, const char *network, const char *figures, hd_err *err) {
    uint8_t *text = NULL;
    size_t size;
    hd_status s = hd_file_read(&text, &size, figures, 1 << 20, 0, err);
    if (s) return s;
    cJSON *o = cJSON_Parse((const char *)text);
    const cJSON *a = cJSON_GetObjectItem(o, "accuracy");
    if (!cJSON_IsNumber(a)) s = hd_fail(err, HD_FORMAT, "%s: no number 'accuracy'; remove the file to have it made again", figures);
    else *accuracy = a->valuedouble;
    cJSON_Delete(o);
    free(text);
    return s ? s : hd_model_load(m, network, err);
}

/* The network first, its figures last: who sees the figures finds both. */
static hd_status keep(const hd_model *m, double accuracy, const hd_study *s, const hd_point_spec *p, const char *network, const char *figures, hd_err *err) {
    hd_status st = hd_model_save(m, network, err);
    if (st) return st;
    cJSON *o = cJSON_CreateObject();
    for (int i = HD_AXIS_WEIGHTS; i <= HD_AXIS_ENDS; i++) cJSON_AddStringToObject(o, hd_axes[i].name, p->axis[i]);
    cJSON_AddStringToObject(o, "model", s->model);
    cJSON_AddNumberToObject(o, "count", s->count);
    cJSON_AddNumberToObject(o, "accuracy", accuracy);
    cJSON_AddNumberToObject(o, "bytes", (double)hd_model_weight_bytes(m));
    cJSON_AddNumberToObject(o, "bits_per_weight", hd_model_bits_per_weight(m));
    return hd_json_write(o, figures, err);
}

hd_status hd_point_model(hd_model **m, double *accuracy, hd_point_data *d, const hd_point_spec *p, const char *folder, uint64_t key, hd_err *err) {
    char base[HD_STUDY_PATH], network[HD_STUDY_PATH], figures[HD_STUDY_PATH];
    *m = NULL;
    hd_status s = hd_tool_path(base, sizeof base, err, "%s/models", folder);
    if (!s) s = hd_folder_make(base, err);
    if (!s) s = hd_tool_path(base, sizeof base, err, "%s/models/%016llx", folder, (unsigned long long)key);
    if (!s) s = hd_tool_path(network, sizeof network, err, "%s.hdm", base);
    if (!s) s = hd_tool_path(figures, sizeof figures, err, "%s.json", base);
    if (!s && !access(figures, R_OK)) return load_kept(m, accuracy, network, figures, err);
    int lock = -1;
    if (!s) s = hd_lock_take(&lock, base, err);
    /* Another process may have made it while this one waited. */
    if (!s && !access(figures, R_OK)) {
        s = load_kept(m, accuracy, network, figures, err);
    } else if (!s) {
        s = make(m, accuracy, d, p, err);
        if (!s) s = keep(*m, *accuracy, &d->study, p, network, figures, err);
    }
    hd_lock_give(lock, base);
    if (s && *m) {
        hd_model_free(*m);
        *m = NULL;
    }
    return s;
}
