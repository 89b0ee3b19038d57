/* Models as Hugging Face keeps them: random models written in their layout come back, the order of q's and k's rows gives the same attention; broken files and configs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../compiler/graph/llama.h"
#include "../../sw/core/bytes.h"
#include "../../sw/core/file.h"
#include "../../sw/core/rng.h"

enum { F32, F16, BF16, HEAD = 6 };
static char folder[32], tensors[64], config_path[64];
static const char *const types[] = {"F32", "F16", "BF16"};

/* Thirty-seconds of a small size: exact in all three types. */
static void fill(hd_rng *rng, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = (float)((int)hd_rng_below(rng, 127) - 63) / 32;
}

static hd_llama *random_model(int tied, uint64_t seed) {
    hd_llama sizes = {.dim = 4 * HEAD, .hidden = 20, .layers = 2, .heads = 4, .kv_heads = 2, .vocab = 11, .max_tokens = 40}, *m;
    hd_err err = {0};
    hd_rng rng;
    if (hd_llama_new(&m, &sizes, tied, &err)) fail_msg("%s", err.message);
    hd_rng_seed(&rng, seed, 5);
    fill(&rng, m->embedding, 11 * 4 * HEAD);
    fill(&rng, m->norm_final, 4 * HEAD);
    if (!tied) fill(&rng, m->classifier, 11 * 4 * HEAD);
    for (int l = 0; l < 2; l++) {
        fill(&rng, m->layer[l].norm_attention, 4 * HEAD);
        fill(&rng, m->layer[l].norm_ffn, 4 * HEAD);
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            fill(&rng, m->layer[l].matrix[k], (size_t)(out * in));
        }
    }
    return m;
}

static void put_value(hd_writer *w, float x, int type) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (type == F32) hd_put_u32(w, bits);
    else if (type == BF16) hd_put_u16(w, (uint16_t)(bits >> 16));
    else hd_put_u16(w, (uint16_t)(x == 0 ? 0 : (bits >> 16 & 0x8000) | ((bits >> 23 & 255) - 112) << 10 | (bits >> 13 & 1023)));
}

/* Rows of a head: neighbours 2i, 2i + 1 here are rows i and i + HEAD/2 there. */
static void put(char *json, size_t room, hd_writer *data, const char *name, const float *x, int rows, int columns, int paired, int type) {
    size_t used = strlen(json), first = data->size;
    for (int r = 0; r < (rows ? rows : 1); r++) {
        int i = r % HEAD, here = paired ? r - i + (i < HEAD / 2 ? 2 * i : 2 * (i - HEAD / 2) + 1) : r;
        for (int c = 0; c < columns; c++) put_value(data, x[here * columns + c], type);
    }
    char shape[32];
    snprintf(shape, sizeof shape, rows ? "[%d,%d]" : "[%d]", rows ? rows : columns, columns);
    snprintf(json + used, room - used, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", used > 1 ? "," : "", name, types[type], shape, first, data->size);
}

static hd_writer tensors_of(const hd_llama *m, int type) {
    static const char *const names[HD_LLAMA_MATRICES] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj"};
    static char json[16384];
    char name[96];
    hd_writer data = {0}, file = {0};
    strcpy(json, "{");
    put(json, sizeof json, &data, "model.embed_tokens.weight", m->embedding, m->vocab, m->dim, 0, type);
    put(json, sizeof json, &data, "model.norm.weight", m->norm_final, 0, m->dim, 0, type);
    if (m->classifier != m->embedding) put(json, sizeof json, &data, "lm_head.weight", m->classifier, m->vocab, m->dim, 0, type);
    for (int l = 0; l < m->layers; l++) {
        snprintf(name, sizeof name, "model.layers.%d.input_layernorm.weight", l);
        put(json, sizeof json, &data, name, m->layer[l].norm_attention, 0, m->dim, 0, type);
        snprintf(name, sizeof name, "model.layers.%d.post_attention_layernorm.weight", l);
        put(json, sizeof json, &data, name, m->layer[l].norm_ffn, 0, m->dim, 0, type);
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", l, names[k]);
            put(json, sizeof json, &data, name, m->layer[l].matrix[k], out, in, k == HD_LLAMA_Q || k == HD_LLAMA_K, type);
        }
    }
    strcat(json, "}");
    hd_put_u64(&file, strlen(json));
    hd_put_bytes(&file, json, strlen(json));
    hd_put_bytes(&file, data.data, data.size);
    hd_writer_free(&data);
    return file;
}

static void write_config(const char *more) {
    char text[1024];
    hd_err err = {0};
    int n = snprintf(text, sizeof text, "{\"hidden_size\": 24, \"intermediate_size\": 20, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"vocab_size\": 11, "
                     "\"max_position_embeddings\": 40, \"rope_scaling\": null, \"rms_norm_eps\": 1e-05%s}", more);
    assert_int_equal(hd_file_write(config_path, text, (size_t)n, &err), HD_OK);
}

static void same(const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++) assert_true(a[i] == b[i]);
}

static void round_trip(void **state) {
    (void)state;
    write_config(", \"model_type\": \"llama\", \"hidden_act\": \"silu\"");
    for (int type = F32; type <= BF16; type++) {
        hd_llama *m = random_model(type == F16, (uint64_t)type), *found;
        hd_writer w = tensors_of(m, type);
        hd_err err = {0};
        assert_int_equal(hd_file_write(tensors, w.data, w.size, &err), HD_OK);
        if (hd_import_safetensors(&found, tensors, &err)) fail_msg("%s", err.message);
        assert_int_equal(found->classifier == found->embedding, m->classifier == m->embedding);
        same(found->embedding, m->embedding, 11 * 24);
        same(found->classifier, m->classifier, 11 * 24);
        same(found->norm_final, m->norm_final, 24);
        for (int l = 0; l < 2; l++) {
            same(found->layer[l].norm_attention, m->layer[l].norm_attention, 24);
            same(found->layer[l].norm_ffn, m->layer[l].norm_ffn, 24);
            for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
                int out, in;
                hd_llama_shape(m, k, &out, &in);
                same(found->layer[l].matrix[k], m->layer[l].matrix[k], (size_t)(out * in));
            }
        }
        hd_llama_free(found);
        hd_llama_free(m);
        hd_writer_free(&w);
    }
}

/* A head's q and k at two positions, turned in halves by the file's rows and in neighbours by ours: the same product. */
static void rotations(void **state) {
    (void)state;
    hd_rng rng;
    hd_rng_seed(&rng, 4, 4);
    float there[2][HEAD], here[2][HEAD];
    double product[2] = {0, 0}, turned[2][2][HEAD];
    for (int v = 0; v < 2; v++) {
        fill(&rng, there[v], HEAD);
        for (int i = 0; i < HEAD / 2; i++) {
            here[v][2 * i] = there[v][i];
            here[v][2 * i + 1] = there[v][i + HEAD / 2];
            double angle = (3 + 5 * v) * pow(10000, -2.0 * i / HEAD), c = cos(angle), s = sin(angle);
            turned[0][v][i] = c * (double)there[v][i] - s * (double)there[v][i + HEAD / 2];
            turned[0][v][i + HEAD / 2] = s * (double)there[v][i] + c * (double)there[v][i + HEAD / 2];
            turned[1][v][2 * i] = c * (double)here[v][2 * i] - s * (double)here[v][2 * i + 1];
            turned[1][v][2 * i + 1] = s * (double)here[v][2 * i] + c * (double)here[v][2 * i + 1];
        }
    }
    for (int way = 0; way < 2; way++)
        for (int i = 0; i < HEAD; i++) product[way] += turned[way][0][i] * turned[way][1][i];
    assert_true(fabs(product[0] - product[1]) < 1e-9);
}

static void expect(hd_status status, const char *words) {
    hd_llama *m;
    hd_err err = {0};
    assert_int_equal(hd_import_safetensors(&m, tensors, &err), status);
    assert_null(m);
    if (!strstr(err.message, words)) fail_msg("found '%s', wanted '%s'", err.message, words);
}

static void messages(void **state) {
    (void)state;
    static const struct { const char *more, *words; } configs[] = {
        {"", "model_type ''; supported is 'llama'"},
        {", \"model_type\": \"mixtral\"", "model_type 'mixtral'; supported is 'llama'"},
        {", \"model_type\": \"llama\", \"rope_theta\": 500000", "'rope_theta' is 500000; supported is 10000"},
        {", \"model_type\": \"llama\", \"hidden_act\": \"gelu\"", "hidden_act 'gelu'; supported is 'silu'"},
        {", \"model_type\": \"llama\", \"attention_bias\": true", "'attention_bias' is 1; supported is 0"},
        {", \"model_type\": \"llama\", \"head_dim\": 8", "'head_dim' is 8; supported is 6"},
    };
    hd_llama *m = random_model(0, 3);
    hd_writer w = tensors_of(m, F32);
    hd_err err = {0};
    assert_int_equal(hd_file_write(tensors, w.data, w.size, &err), HD_OK);
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        write_config(configs[i].more);
        expect(HD_UNSUPPORTED, configs[i].words);
    }
    write_config(", \"model_type\": \"llama\"");
    char *at = strstr((char *)w.data + 8, "layers.1.mlp.up_proj");
    assert_non_null(at);
    at[7] = '5';
    assert_int_equal(hd_file_write(tensors, w.data, w.size, &err), HD_OK);
    expect(HD_FORMAT, "tensor 'model.layers.1.mlp.up_proj.weight' is missing");
    at[7] = '1';
    assert_int_equal(hd_file_write(tensors, w.data, w.size - 8, &err), HD_OK);
    expect(HD_FORMAT, "its data_offsets do not fit its shape and the file");
    assert_int_equal(hd_file_write(tensors, "short", 5, &err), HD_OK);
    expect(HD_FORMAT, "not a whole safetensors file");
    char distant[4200];
    hd_llama *none;
    memset(distant, 'x', sizeof distant);
    memcpy(distant + sizeof distant - 7, "/m.bin", 7);
    assert_int_equal(hd_import_safetensors(&none, distant, &err), HD_RANGE);
    assert_string_equal(err.message, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...: the path is too long");
    unlink(config_path);
    expect(HD_IO, "config.json: No such file or directory");
    hd_writer_free(&w);
    hd_llama_free(m);
}

/* Any byte of the header changed, cut anywhere in it: an error or another model, never a crash (the sanitizers watch). */
static void broken_files(void **state) {
    (void)state;
    write_config(", \"model_type\": \"llama\"");
    hd_llama *m = random_model(1, 8), *found;
    hd_writer w = tensors_of(m, F16);
    hd_rng rng;
    hd_err err;
    int refused = 0;
    hd_rng_seed(&rng, 2, 2);
    size_t header = w.data[0] + 256u * w.data[1];
    for (int i = 0; i < 300; i++) {
        size_t k = hd_rng_below(&rng, (uint32_t)header + 8);
        uint8_t old = w.data[k];
        w.data[k] = (uint8_t)hd_rng_u32(&rng);
        assert_int_equal(hd_file_write(tensors, w.data, i % 3 ? w.size : k, &err), HD_OK);
        refused += hd_import_safetensors(&found, tensors, &err) != HD_OK;
        hd_llama_free(found);
        w.data[k] = old;
    }
    assert_true(refused > 150);
    hd_writer_free(&w);
    hd_llama_free(m);
}

static int enter(void **state) {
    (void)state;
    strcpy(folder, "safetensors-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(tensors, sizeof tensors, "%s/model.safetensors", folder);
    snprintf(config_path, sizeof config_path, "%s/config.json", folder);
    return 0;
}

static int leave(void **state) {
    (void)state;
    unlink(tensors);
    unlink(config_path);
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(rotations), cmocka_unit_test(messages), cmocka_unit_test(broken_files)};
    return cmocka_run_group_tests(tests, enter, leave);
}
