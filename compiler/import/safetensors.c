/* Llama models as Hugging Face keeps them: model.safetensors with config.json beside it.
 *
 * A safetensors file is the length of a JSON object (u64), the object, and data: each key is a tensor with "dtype", "shape" and "data_offsets" (first byte and the one behind the
 * last, from the data's start). Names and config keys are those of LlamaForCausalLM. Its rotary positions pair element i of a head with i + half of it; hd_llama pairs
 * neighbours, so the rows of q and k are put in that order here. */
#include <cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/file.h"
#include "../../sw/core/half.h"
#include "../graph/llama.h"

enum { PATH_BYTES = 4096, LONGEST_CONTEXT = 32767 };

static const struct { const char *name; int bytes; float (*at)(const uint8_t *b); } types[] = {{"F32", 4, hd_f32_at}, {"F16", 2, hd_f16_at}, {"BF16", 2, hd_bf16_at}};
enum { TYPES = sizeof types / sizeof *types };

typedef struct source {
    const char *path; /* of the tensors, for messages */
    const uint8_t *data;
    size_t size; /* of what follows the header */
    cJSON *header;
} source;

/* ---- config.json ---- */

static hd_status whole(int *to, const cJSON *config, const char *key, int otherwise, const char *path, hd_err *err) {
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(config, key);
    *to = otherwise;
    if ((!v || cJSON_IsNull(v)) && otherwise >= 0) return HD_OK;
    if (!cJSON_IsNumber(v) || v->valuedouble != floor(v->valuedouble) || v->valuedouble < 1 || v->valuedouble > INT32_MAX)
        return hd_fail(err, HD_FORMAT, "%s: '%s' is missing or no whole number of 1 and more", path, key);
    *to = (int)v->valuedouble;
    return HD_OK;
}

/* A number, flag or word that must be the one that hd_llama has. */
static hd_status check_same(const cJSON *config, const char *key, double wanted, const char *path, hd_err *err) {
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(config, key);
    if (!v || cJSON_IsNull(v)) return HD_OK;
    double found = cJSON_IsNumber(v) ? v->valuedouble : cJSON_IsTrue(v) ? 1 : cJSON_IsFalse(v) ? 0 : NAN;
    if (fabs(found - wanted) <= 1e-3 * fabs(wanted)) return HD_OK;
    return hd_fail(err, HD_UNSUPPORTED, "%s: '%s' is %g; supported is %g", path, key, found, wanted);
}

static hd_status read_config(hd_llama *m, int *tied, const cJSON *config, const char *path, hd_err *err) {
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(config, "model_type"), *act = cJSON_GetObjectItemCaseSensitive(config, "hidden_act");
    const cJSON *scaling = cJSON_GetObjectItemCaseSensitive(config, "rope_scaling");
    if (!cJSON_IsString(kind) || strcmp(kind->valuestring, "llama"))
        return hd_fail(err, HD_UNSUPPORTED, "%s: model_type '%.60s'; supported is 'llama'", path, cJSON_IsString(kind) ? kind->valuestring : "");
    if (cJSON_IsString(act) && strcmp(act->valuestring, "silu")) return hd_fail(err, HD_UNSUPPORTED, "%s: hidden_act '%.60s'; supported is 'silu'", path, act->valuestring);
    if (scaling && !cJSON_IsNull(scaling)) return hd_fail(err, HD_UNSUPPORTED, "%s: rope_scaling; supported are rotary positions as they are", path);
    hd_status s = check_same(config, "rms_norm_eps", 1e-5, path, err);
    if (!s) s = check_same(config, "rope_theta", 10000, path, err);
    if (!s) s = check_same(config, "attention_bias", 0, path, err);
    if (!s) s = check_same(config, "mlp_bias", 0, path, err);
    if (!s) s = whole(&m->dim, config, "hidden_size", -1, path, err);
    if (!s) s = whole(&m->hidden, config, "intermediate_size", -1, path, err);
    if (!s) s = whole(&m->layers, config, "num_hidden_layers", -1, path, err);
    if (!s) s = whole(&m->heads, config, "num_attention_heads", -1, path, err);
    if (!s) s = whole(&m->kv_heads, config, "num_key_value_heads", m->heads, path, err);
    if (!s) s = whole(&m->vocab, config, "vocab_size", -1, path, err);
    if (!s) s = whole(&m->max_tokens, config, "max_position_embeddings", 2048, path, err);
    if (s) return s;
    if (m->max_tokens > LONGEST_CONTEXT) m->max_tokens = LONGEST_CONTEXT; /* tokens are counted in int16 */
    *tied = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(config, "tie_word_embeddings"));
    s = hd_llama_check(m, err);
    if (s) return hd_fail_in(err, path), s;
    return check_same(config, "head_dim", m->dim / m->heads, path, err);
}

static hd_status load_config(hd_llama *m, int *tied, const char *path, hd_err *err) {
    uint8_t *data;
    size_t size;
    hd_status s = hd_file_read(&data, &size, path, 1 << 20, 0, err);
    if (s) return s;
    cJSON *config = cJSON_ParseWithLength((const char *)data, size);
    free(data);
    s = cJSON_IsObject(config) ? read_config(m, tied, config, path, err) : hd_fail(err, HD_FORMAT, "%s: no JSON object", path);
    cJSON_Delete(config);
    return s;
}

/* ---- tensors ---- */

static hd_status broken(const source *f, const char *name, const char *what, hd_err *err) { return hd_fail(err, HD_FORMAT, "%s: tensor '%s': %s", f->path, name, what); }

/* The first byte of a tensor of rows x columns (rows 0: one dimension), its dtype checked. */
static hd_status locate(const uint8_t **at, int *type, const source *f, const char *name, size_t rows, size_t columns, hd_err *err) {
    const cJSON *t = cJSON_GetObjectItemCaseSensitive(f->header, name), *dtype = cJSON_GetObjectItemCaseSensitive(t, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(t, "shape"), *offsets = cJSON_GetObjectItemCaseSensitive(t, "data_offsets");
    if (!t) return hd_fail(err, HD_FORMAT, "%s: tensor '%s' is missing", f->path, name);
    if (!cJSON_IsString(dtype) || !cJSON_IsArray(shape) || !cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2) return broken(f, name, "dtype, shape or data_offsets are missing", err);
    for (*type = 0; *type < TYPES && strcmp(types[*type].name, dtype->valuestring);) ++*type;
    if (*type == TYPES) return hd_fail(err, HD_UNSUPPORTED, "%s: tensor '%s' is %.20s; supported are F32, F16 and BF16", f->path, name, dtype->valuestring);
    const cJSON *a = cJSON_GetArrayItem(shape, 0), *b = cJSON_GetArrayItem(shape, 1), *first = cJSON_GetArrayItem(offsets, 0), *last = cJSON_GetArrayItem(offsets, 1);
    int dims = cJSON_GetArraySize(shape);
    if (dims != (rows ? 2 : 1) || a->valuedouble != (double)(rows ? rows : columns) || (rows && b->valuedouble != (double)columns))
        return hd_fail(err, HD_MISMATCH, "%s: tensor '%s' has %d dimensions, the first of %g; config.json asks for %zu x %zu", f->path, name, dims, a ? a->valuedouble : 0, rows ? rows : 1, columns);
    double bytes = (double)((rows ? rows : 1) * columns) * types[*type].bytes;
    if (!(first->valuedouble >= 0) || first->valuedouble != floor(first->valuedouble) || last->valuedouble - first->valuedouble != bytes || last->valuedouble > (double)f->size)
        return broken(f, name, "its data_offsets do not fit its shape and the file", err);
    *at = f->data + (size_t)first->valuedouble;
    return HD_OK;
}

/* head: 0, or the size of a head whose rows are put from halves into pairs. */
static hd_status load(float *to, const source *f, const char *name, size_t rows, size_t columns, size_t head, hd_err *err) {
    const uint8_t *at = NULL;
    int type = 0;
    hd_status s = locate(&at, &type, f, name, rows, columns, err);
    for (size_t r = 0; !s && r < (rows ? rows : 1); r++) {
        size_t in_head = head ? r % head : 0, from = head ? r - in_head + in_head / 2 + in_head % 2 * (head / 2) : r;
        for (size_t c = 0; c < columns; c++) {
            float v = types[type].at(at + (from * columns + c) * (size_t)types[type].bytes);
            if (!isfinite(v)) return broken(f, name, "an element is not finite", err);
            to[r * columns + c] = v;
        }
    }
    return s;
}

static hd_status load_layer(hd_llama *m, const source *f, int l, hd_err *err) {
    static const char *const names[HD_LLAMA_MATRICES] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj"};
    char name[96];
    size_t dim = (size_t)m->dim;
    snprintf(name, sizeof name, "model.layers.%d.input_layernorm.weight", l);
    hd_status s = load(m->layer[l].norm_attention, f, name, 0, dim, 0, err);
    snprintf(name, sizeof name, "model.layers.%d.post_attention_layernorm.weight", l);
    if (!s) s = load(m->layer[l].norm_ffn, f, name, 0, dim, 0, err);
    for (int k = 0; !s && k < HD_LLAMA_MATRICES; k++) {
        int out, in;
        hd_llama_shape(m, k, &out, &in);
        snprintf(name, sizeof name, "model.layers.%d.%s.weight", l, names[k]);
        s = load(m->layer[l].matrix[k], f, name, (size_t)out, (size_t)in, k == HD_LLAMA_Q || k == HD_LLAMA_K ? (size_t)(m->dim / m->heads) : 0, err);
    }
    return s;
}

static hd_status load_model(hd_llama **out, const source *f, const hd_llama *sizes, int tied, hd_err *err) {
    if (hd_llama_block_weights(sizes) > f->size / 2) return hd_fail(err, HD_FORMAT, "%s: %zu bytes; config.json asks for %zu weights", f->path, f->size, hd_llama_block_weights(sizes));
    /* Some files say they are not tied and have no classifier, which means the same. */
    tied = tied || !cJSON_GetObjectItemCaseSensitive(f->header, "lm_head.weight");
    hd_status s = hd_llama_new(out, sizes, tied, err);
    if (s) return s;
    hd_llama *m = *out;
    size_t vocab = (size_t)m->vocab, dim = (size_t)m->dim;
    s = load(m->embedding, f, "model.embed_tokens.weight", vocab, dim, 0, err);
    if (!s) s = load(m->norm_final, f, "model.norm.weight", 0, dim, 0, err);
    if (!s && !tied) s = load(m->classifier, f, "lm_head.weight", vocab, dim, 0, err);
    for (int l = 0; !s && l < m->layers; l++) s = load_layer(m, f, l, err);
    return s;
}

hd_status hd_import_safetensors(hd_llama **out, const char *path, hd_err *err) {
    char config[PATH_BYTES];
    const char *slash = strrchr(path, '/');
    uint8_t *data;
    size_t size;
    hd_llama sizes = {0};
    int tied = 0;
    *out = NULL;
    if (snprintf(config, sizeof config, "%.*sconfig.json", slash ? (int)(slash - path) + 1 : 0, path) >= PATH_BYTES) return hd_fail(err, HD_RANGE, "%.60s...: the path is too long", path);
    hd_status s = load_config(&sizes, &tied, config, err);
    if (!s) s = hd_file_read(&data, &size, path, SIZE_MAX / 4, 0, err);
    if (s) return s;
    uint64_t header = 0;
    for (int i = 0; i < 8 && size >= 8; i++) header |= (uint64_t)data[i] << 8 * i;
    source f = {.path = path};
    if (size < 8 || header > size - 8) s = hd_fail(err, HD_FORMAT, "%s: not a whole safetensors file: its header of %llu bytes lies outside of its %zu", path, (unsigned long long)header, size);
    else {
        f = (source){path, data + 8 + header, size - 8 - (size_t)header, cJSON_ParseWithLength((const char *)data + 8, (size_t)header)};
        s = cJSON_IsObject(f.header) ? load_model(out, &f, &sizes, tied, err) : hd_fail(err, HD_FORMAT, "%s: not a safetensors file: its header is no JSON object", path);
    }
    cJSON_Delete(f.header);
    free(data);
    if (s) {
        hd_llama_free(*out);
        *out = NULL;
    }
    return s;
}
