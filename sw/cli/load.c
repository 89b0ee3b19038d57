/* Models in, JSON and files out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../compiler/import/import.h"
#include "../../compiler/partition/parts.h"
#include "../core/file.h"
#include "../explore/dataset.h"
#include "cli.h"

/* The first `size` bytes of a file; what it has less is 0. */
static hd_status first_bytes(unsigned char *b, size_t size, const char *path, hd_err *err) {
    FILE *f = fopen(path, "rb");
    if (!f) return hd_fail(err, HD_IO, "%s: %s", path, strerror(errno));
    size_t n = fread(b, 1, size, f);
    int bad = ferror(f), e = errno;
    fclose(f);
    if (n < size) memset(b + n, 0, size - n);
    return bad ? hd_fail(err, HD_IO, "%s: %s", path, e == EISDIR ? "is a directory, not a file" : strerror(e)) : HD_OK;
}

hd_status cli_file_magic(uint32_t *magic, const char *path, hd_err *err) {
    unsigned char b[4];
    hd_status s = first_bytes(b, sizeof b, path, err);
    if (!s) *magic = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    return s;
}

hd_status cli_hwc(const cli_args *a, hd_idx *x, const char *path, int c, int h, int w, hd_err *err) {
    if (!cli_flag(a, "--hwc")) return HD_OK;
    hd_status s = hd_idx_chw(x, c, h, w, err);
    return s ? hd_fail_in(err, path) : HD_OK;
}

hd_status cli_codes(const cli_args *a, hd_idx **x, const char *path, hd_tensor_info *input, hd_err *err) {
    const char *text = cli_text(a, "--codes");
    if (!text) return HD_OK;
    char *end;
    float scale = strtof(text, &end);
    long zero = *end == ':' ? strtol(end + 1, &end, 10) : 1000;
    if (*end || zero < -128 || zero > 127 || !(scale > 1e-30f && scale < 1e30f))
        return hd_fail(err, HD_USAGE, "%s: --codes: found '%.60s'; allowed is SCALE:ZERO, above 0 and -128..127, as in 0.5847:83", a->command->name, text);
    if ((*x)->type != HD_IDX_I8) return hd_fail(err, HD_FORMAT, "%s: items of another type than i8; --codes is for those", path);
    hd_idx *real = NULL;
    hd_status s = hd_idx_numbers(&real, *x, scale, (int)zero, err);
    if (s) return s;
    hd_idx_free(*x);
    *x = real;
    if (input) {
        input->scale = scale;
        input->zero = (int)zero;
    }
    return HD_OK;
}

hd_status cli_model_import(cli_model *out, const char *name, hd_err *err) {
    *out = (cli_model){0};
    if (!strcmp(name, "default")) return hd_default_graph(&out->graph, err);
    uint32_t magic = 0;
    hd_status s = cli_file_magic(&magic, name, err);
    if (s) return s;
    if (magic == (uint32_t)HD_HDM_MAGIC) return hd_model_load(&out->model, name, err);
    if (magic == (uint32_t)HD_HDP_MAGIC)
        return hd_fail(err, HD_FORMAT, "%s: a compiled program (.hdp); allowed are a model (.hdm, .onnx or .tflite) and the word default", name);
    if (magic == (uint32_t)HD_HPM_MAGIC || magic == (uint32_t)HD_HPP_MAGIC) return hd_fail(err, HD_FORMAT, "%s: a network in parts; heddle eval, compile, run, predict and profile take such files", name);
    if (magic == (uint32_t)HD_HLM_MAGIC) return hd_fail(err, HD_FORMAT, "%s: a language model (.hlm); it goes with --tokens", name);
    unsigned char first[8]; /* a FlatBuffer's identifier follows its first offset */
    s = first_bytes(first, sizeof first, name, err);
    if (s) return s;
    return !memcmp(first + 4, "TFL3", 4) ? hd_import_tflite(&out->graph, name, err) : hd_import_onnx(&out->graph, name, err);
}

/* What the importer does not take, folded and fused, may map to the array as a whole after all. */
static hd_status import_folded(cli_model *out, const char *name) {
    hd_cut_options none = {NULL, NULL};
    hd_parts *p = NULL;
    hd_err err = {0};
    hd_status s = hd_parts_cut(&p, name, &none, &err);
    if (!s && (hd_parts_count(p, HD_PART_ARRAY) != 1 || hd_parts_count(p, HD_PART_HOST))) s = HD_UNSUPPORTED;
    if (!s) s = hd_parts_graph(&out->graph, p, 0, &err);
    hd_parts_free(p);
    return s;
}

hd_status cli_model_load(cli_model *out, const char *name, hd_err *err) {
    hd_status s = cli_model_import(out, name, err);
    if (s != HD_UNSUPPORTED || !cli_is_onnx(name) || import_folded(out, name)) return s;
    if (err) *err = (hd_err){0};
    return HD_OK;
}

int cli_is_onnx(const char *name) {
    unsigned char first[8];
    hd_err err = {0};
    return strcmp(name, "default") && first_bytes(first, sizeof first, name, &err) == HD_OK && memcmp(first + 4, "TFL3", 4) && memcmp(first, "HDM1", 4) && memcmp(first, "HDP1", 4) && memcmp(first, "HLM1", 4) && memcmp(first, "HPM1", 4) && memcmp(first, "HPP1", 4);
}

void cli_model_free(cli_model *m) {
    if (m->graph) hd_graph_free(m->graph);
    if (m->model) hd_model_free(m->model);
    *m = (cli_model){0};
}

hd_status cli_json(cJSON *json, hd_err *err) {
    char *text = json ? cJSON_Print(json) : NULL;
    cJSON_Delete(json);
    if (!text) return hd_fail(err, HD_NOMEM, "no memory for the JSON text");
    puts(text);
    free(text);
    return HD_OK;
}

hd_status cli_can_write(const char *path, hd_err *err) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 1;
    if (n >= sizeof folder) return hd_fail(err, HD_IO, "%.100s...: %s", path, strerror(ENAMETOOLONG));
    if (slash) memcpy(folder, path, n);
    else folder[0] = '.';
    folder[n] = 0;
    struct stat st;
    if (!stat(path, &st) && S_ISDIR(st.st_mode)) return hd_fail(err, HD_IO, "%s: is a directory, not a file", path);
    if (access(n ? folder : "/", W_OK | X_OK)) return hd_fail(err, HD_IO, "%s: %s", path, strerror(errno));
    return HD_OK;
}

hd_status cli_driver_find(const hd_driver **out, hd_device_options *o, const char *name, hd_err *err) {
    *out = hd_driver_find(name, &o->where);
    if (*out) return HD_OK;
    char list[128] = "";
    for (int i = 0; hd_drivers[i]; i++) snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", hd_drivers[i]->name);
    return hd_fail(err, HD_RANGE, "device '%.60s': unknown; there are %s", name, list);
}
