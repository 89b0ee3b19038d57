/* Language models in formats that heddle reads and does not write: GGUF, and safetensors beside a config. */
#include <stdio.h>
#include <string.h>

#include "../../sw/core/bytes.h"
#include "seeds.h"

enum { F32 = 0, Q4_0 = 4 }; /* rows of `kinds` */

/* GGUF's numbers of types, elements and bytes of a block. */
static const struct {
    uint32_t type, elements, bytes;
} kinds[] = {{0, 1, 4}, {1, 1, 2}, {30, 1, 2}, {8, 32, 34}, {2, 32, 18}, {12, 256, 144}, {14, 256, 210}};

typedef struct gguf {
    hd_writer w, data;
} gguf;

static void put_text(hd_writer *w, const char *s) {
    hd_put_u64(w, strlen(s));
    hd_put_bytes(w, s, strlen(s));
}

static void put_number(gguf *f, const char *key, int v) {
    put_text(&f->w, key);
    hd_put_u32(&f->w, 4);
    hd_put_u32(&f->w, (uint32_t)v);
}

static void put_list(gguf *f, const char *key, uint32_t type, uint64_t n) {
    put_text(&f->w, key);
    hd_put_u32(&f->w, 9);
    hd_put_u32(&f->w, type);
    hd_put_u64(&f->w, n);
}

/* Rows too short for a type's blocks are in Q4_0. */
static void put_tensor(gguf *f, const char *name, size_t kind, int rows, int columns) {
    if ((uint32_t)columns % kinds[kind].elements) kind = Q4_0;
    while (f->data.size % 32) hd_put_u8(&f->data, 0);
    put_text(&f->w, name);
    hd_put_u32(&f->w, rows ? 2 : 1);
    hd_put_u64(&f->w, (uint64_t)columns);
    if (rows) hd_put_u64(&f->w, (uint64_t)rows);
    hd_put_u32(&f->w, kinds[kind].type);
    hd_put_u64(&f->w, f->data.size);
    size_t blocks = (size_t)(rows ? rows : 1) * (size_t)columns / kinds[kind].elements;
    for (size_t i = 0; i < blocks * kinds[kind].bytes; i++) hd_put_u8(&f->data, (uint8_t)(i % 4 == 3 ? 0x3d : i & 0x1f));
}

/* Matrices of the sizes given, in one type of block. */
static void write_gguf(const hd_llama *m, size_t kind, const char *label) {
    static const char *const names[HD_LLAMA_MATRICES] = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_down", "ffn_up"};
    gguf f = {{0}, {0}};
    hd_put_bytes(&f.w, "GGUF", 4);
    hd_put_u32(&f.w, kind % 2 ? 2 : 3);
    hd_put_u64(&f.w, 3 + (uint64_t)m->layers * 9);
    hd_put_u64(&f.w, 12);
    put_text(&f.w, "general.architecture");
    hd_put_u32(&f.w, 8);
    put_text(&f.w, "llama");
    put_number(&f, "general.alignment", 32);
    put_number(&f, "llama.embedding_length", m->dim);
    put_number(&f, "llama.feed_forward_length", m->hidden);
    put_number(&f, "llama.block_count", m->layers);
    put_number(&f, "llama.attention.head_count", m->heads);
    put_number(&f, "llama.attention.head_count_kv", m->kv_heads);
    put_number(&f, "llama.context_length", m->max_tokens);
    put_number(&f, "llama.rope.dimension_count", m->dim / m->heads);
    put_text(&f.w, "llama.attention.layer_norm_rms_epsilon");
    hd_put_u32(&f.w, 6);
    hd_put_f32(&f.w, 1e-5f);
    put_list(&f, "tokenizer.ggml.tokens", 8, (uint64_t)m->vocab);
    for (int i = 0; i < m->vocab; i++) {
        char piece[16];
        snprintf(piece, sizeof piece, i < 3 ? "<s%d>" : i < 259 ? "<0x%02X>" : "p%d", i < 259 && i > 2 ? i - 3 : i);
        put_text(&f.w, piece);
    }
    put_list(&f, "tokenizer.ggml.scores", 6, (uint64_t)m->vocab);
    for (int i = 0; i < m->vocab; i++) hd_put_f32(&f.w, (float)i);
    put_tensor(&f, "token_embd.weight", kind, m->vocab, m->dim);
    put_tensor(&f, "output_norm.weight", F32, 0, m->dim);
    put_tensor(&f, "output.weight", kind, m->vocab, m->dim);
    for (int l = 0; l < m->layers; l++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.attn_norm.weight", l);
        put_tensor(&f, name, F32, 0, m->dim);
        snprintf(name, sizeof name, "blk.%d.ffn_norm.weight", l);
        put_tensor(&f, name, F32, 0, m->dim);
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            snprintf(name, sizeof name, "blk.%d.%s.weight", l, names[k]);
            put_tensor(&f, name, kind, out, in);
        }
    }
    while (f.w.size % 32) hd_put_u8(&f.w, 0);
    hd_put_bytes(&f.w, f.data.data, f.data.size);
    seed_write("gguf", label, f.w.data, f.w.size);
    hd_writer_free(&f.w);
    hd_writer_free(&f.data);
}

void seed_gguf(const hd_llama *m, int seed) {
    if (seed) return;
    hd_llama sizes = *m;
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        char label[16];
        sizes.vocab = kind % 3 ? m->vocab : 262; /* with a tokenizer that is whole, or small */
        sizes.dim = kinds[kind].elements == 1 ? 8 : 32;
        sizes.hidden = kinds[kind].elements == 1 ? 8 : (int)kinds[kind].elements;
        snprintf(label, sizeof label, "type%u", kinds[kind].type);
        write_gguf(&sizes, kind, label);
    }
}

/* ---- safetensors: the config, a zero byte, the file */

static void put_entry(char *json, size_t room, hd_writer *data, const char *name, const float *x, int rows, int columns, int half) {
    static const char *const types[] = {"F32", "F16", "BF16"};
    size_t used = strlen(json), first = data->size;
    for (int i = 0; i < (rows ? rows : 1) * columns; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, 4);
        if (half == 0) hd_put_u32(data, bits);
        else hd_put_u16(data, (uint16_t)(half == 2 ? bits >> 16 : bits >> 18 & 0x3fff));
    }
    char shape[32];
    snprintf(shape, sizeof shape, rows ? "[%d,%d]" : "[%d]", rows ? rows : columns, columns);
    snprintf(json + used, room - used, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", used > 1 ? "," : "", name, types[half], shape, first, data->size);
}

void seed_safetensors(const hd_llama *m, int seed) {
    static const char *const names[HD_LLAMA_MATRICES] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj"};
    for (int half = 0; half < 3; half++) {
        char json[8192] = "{", config[512], name[96];
        hd_writer data = {0}, w = {0};
        int n = snprintf(config, sizeof config, "{\"model_type\": \"llama\", \"hidden_size\": %d, \"intermediate_size\": %d, \"num_hidden_layers\": %d, \"num_attention_heads\": %d, \"num_key_value_heads\": %d, "
                         "\"vocab_size\": %d, \"max_position_embeddings\": %d, \"rope_scaling\": null, \"rms_norm_eps\": 1e-05, \"tie_word_embeddings\": %s}",
                         m->dim, m->hidden, m->layers, m->heads, m->kv_heads, m->vocab, m->max_tokens, m->classifier == m->embedding ? "true" : "false");
        put_entry(json, sizeof json, &data, "model.embed_tokens.weight", m->embedding, m->vocab, m->dim, half);
        put_entry(json, sizeof json, &data, "model.norm.weight", m->norm_final, 0, m->dim, half);
        if (m->classifier != m->embedding) put_entry(json, sizeof json, &data, "lm_head.weight", m->classifier, m->vocab, m->dim, half);
        put_entry(json, sizeof json, &data, "model.layers.0.input_layernorm.weight", m->layer[0].norm_attention, 0, m->dim, half);
        put_entry(json, sizeof json, &data, "model.layers.0.post_attention_layernorm.weight", m->layer[0].norm_ffn, 0, m->dim, half);
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            snprintf(name, sizeof name, "model.layers.0.%s.weight", names[k]);
            put_entry(json, sizeof json, &data, name, m->layer[0].matrix[k], out, in, half);
        }
        strcat(json, "}");
        hd_put_bytes(&w, config, (size_t)n);
        hd_put_u8(&w, 0);
        hd_put_u64(&w, strlen(json));
        hd_put_bytes(&w, json, strlen(json));
        hd_put_bytes(&w, data.data, data.size);
        snprintf(name, sizeof name, "%d%d", seed, half);
        seed_write("safetensors", name, w.data, w.size);
        hd_writer_free(&data);
        hd_writer_free(&w);
    }
}
