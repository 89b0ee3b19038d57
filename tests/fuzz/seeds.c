/* Writes small valid inputs for every target, by heddle's own writers: seeds FOLDER makes FOLDER/TARGET/NAME. What a search starts from (tests/fuzz/run.sh). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "../../compiler/compress/lm_integer.h"
#include "../../compiler/compress/lm_policy.h"
#include "../../compiler/import/import.h"
#include "../../compiler/partition/parts.h"
#include "../../sw/core/file.h"
#include "../../sw/core/idx.h"
#include "../onnx/parts_net.h"
#include "../onnx/sample_graph.h"
#include "../support/random_model.h"
#include "seeds.h"

static const char *root;

const char *seed_path(const char *target, const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", root, target);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", root, target, name);
    return path;
}

void seed_write(const char *target, const char *name, const void *data, size_t size) {
    seed_good(hd_file_write(seed_path(target, name), data, size, &seed_err));
}

hd_err seed_err;

void seed_good(hd_status s) {
    if (!s) return;
    fprintf(stderr, "seeds: %s\n", seed_err.message);
    exit(1);
}

/* ---- integer networks, programs, parts */

static void write_models(void) {
    static const char *const geometries[][2] = {
        {"2x2x4x1", "act=4096,window=128,stream=4096,param=256,descriptors=16"}, {"3x7x8x2", "act=2048,window=64,stream=2048,param=256,descriptors=16"},
        {"4x4x8x2", "act=2048,window=128,stream=1024,param=256,descriptors=16,post=8"}, {"2x8x8x2", "act=2048,window=128,extern=14,decode=7,param=256,descriptors=16"},
        {"4x4x16x2", "act=2048,window=128,stream=1024,param=256,descriptors=16,pump=4,fetch=1,pool=0,post=4,residual=0"}, {"4x4x8x2", "act=2048,window=128,stream=1024,param=256,descriptors=16,gather=1"}};
    char name[32];
    for (uint64_t seed = 1; seed <= 24; seed++) {
        hd_model *m = NULL;
        hd_program *p = NULL;
        hd_geometry g;
        const char *const *of = geometries[seed % 6];
        seed_good(seed % 4 == 3 ? hd_random_coded(&m, seed, &seed_err) : hd_random_model(&m, seed, &seed_err));
        snprintf(name, sizeof name, "%llu", (unsigned long long)seed);
        seed_good(hd_model_save(m, seed_path("hdm", name), &seed_err));
        seed_good(hd_geometry_parse(&g, of[0], &seed_err) ? seed_err.code : hd_geometry_memory(&g, of[1], &seed_err));
        if (!hd_lower(&p, m, &g, NULL, &seed_err)) seed_good(hd_program_save(p, seed_path("hdp", name), &seed_err));
        hd_program_free(p);
        hd_model_free(m);
    }
}

/* A network in parts with random models of the right shapes in the array's place would need calibration; one layer by rounding is enough. */
static void write_parts(const char *onnx) {
    const hd_cut_options none = {NULL, NULL};
    hd_parts *p = NULL;
    hd_policy policy;
    hd_geometry g;
    hd_policy_default(&policy);
    policy.base.bits = 4;
    seed_good(hd_parts_cut(&p, onnx, &none, &seed_err));
    for (int k = 0; k < p->n_parts; k++) {
        if (p->part[k].kind != HD_PART_ARRAY) continue;
        hd_graph *net = NULL;
        seed_good(hd_parts_graph(&net, p, k, &seed_err));
        hd_shape s = net->tensor[net->input].shape;
        size_t item = hd_shape_size(s);
        float *data = malloc(4 * item * sizeof *data);
        assert_non_null(data);
        for (size_t i = 0; i < 4 * item; i++) data[i] = (float)((int)(i * 7 % 33) - 16) / 16;
        hd_idx x = {.type = HD_IDX_F32, .rank = 4, .dim = {4, (uint32_t)s.c, (uint32_t)s.h, (uint32_t)s.w}, .item = item, .data = data};
        seed_good(hd_compress(&p->part[k].model, net, &policy, &x, 4, 0, &seed_err));
        hd_graph_free(net);
        free(data);
    }
    seed_good(hd_parts_save(p, 0, seed_path("parts", "models"), &seed_err));
    seed_good(hd_geometry_parse(&g, "2x4x8x2", &seed_err));
    seed_good(hd_geometry_memory(&g, "act=4096,window=256,stream=4096,param=512,descriptors=64", &seed_err));
    for (int k = 0; k < p->n_parts; k++)
        if (p->part[k].model) seed_good(hd_lower(&p->part[k].program, p->part[k].model, &g, NULL, &seed_err));
    seed_good(hd_parts_save(p, 1, seed_path("parts", "programs"), &seed_err));
    hd_policy_free(&policy);
    hd_parts_free(p);
}

/* ---- ONNX */

static void write_onnx(void) {
    char name[32];
    hd_rng rng;
    hd_rng_seed(&rng, 11, 1);
    for (int i = 0; i < 24; i++) {
        hd_graph *g = sample_graph(&rng, 1 + i % 6);
        snprintf(name, sizeof name, "sample%d", i);
        seed_good(hd_export_onnx(g, seed_path("onnx", name), &seed_err));
        if (i < 6) seed_good(hd_export_onnx(g, seed_path("cut", name), &seed_err));
        hd_graph_free(g);
    }
    for (int folded = 0; folded < 2; folded++) {
        builder *b = folded ? parts_net_folded() : parts_net();
        size_t size;
        uint8_t *bytes = builder_pack(b, &size);
        seed_write("cut", folded ? "folded" : "parts", bytes, size);
        if (!folded) write_parts(seed_path("cut", "parts"));
        free(bytes);
        builder_free(b);
    }
}

/* ---- language models */

static hd_llama *small_llama(int tied) {
    hd_llama sizes = {.dim = 8, .hidden = 12, .layers = 1, .heads = 2, .kv_heads = 1, .vocab = 13, .max_tokens = 8}, *m = NULL;
    hd_rng rng;
    hd_rng_seed(&rng, 5, 1);
    seed_good(hd_llama_new(&m, &sizes, tied, &seed_err));
    for (int i = 0; i < 13 * 8; i++) m->embedding[i] = hd_rng_normal(&rng);
    for (int i = 0; i < 13 * 8 && !tied; i++) m->classifier[i] = hd_rng_normal(&rng);
    for (int i = 0; i < 8; i++) m->norm_final[i] = m->layer[0].norm_attention[i] = m->layer[0].norm_ffn[i] = 1;
    for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
        int out, in;
        hd_llama_shape(m, k, &out, &in);
        for (int i = 0; i < out * in; i++) m->layer[0].matrix[k][i] = 0.4f * hd_rng_normal(&rng);
    }
    return m;
}

static void write_language(void) {
    /* bits (0 = ternary, 16 = float16), group (0 = one scale a row), sparsity, method */
    static const struct {
        int bits, group;
        float sparsity;
        const char *method;
    } rows[] = {{8, 0, 0, "rtn"}, {4, 4, 0, "gptq"}, {0, 4, 0, "rtn"}, {2, 4, 0.5f, "sparsegpt"}, {1, 0, 0, "rtn"}, {4, 0, 0, "table:5"}, {4, 0, 0, "additive:3"}, {4, 0, 0, "trellis:4"},
                {4, 0, 0, "e8p"}, {4, 0, 0, "e8p:3"}, {4, 0, 0, "svd:0.25+residual+gptq"}, {4, 0, 0, "awq"}};
    int16_t tokens[16];
    char name[32];
    for (int i = 0; i < 16; i++) tokens[i] = (int16_t)(i * 5 % 13);
    for (int tied = 0; tied < 2; tied++) {
        hd_llama *m = small_llama(tied);
        seed_good(hd_export_llama2c(m, seed_path("llama2c", tied ? "tied" : "own"), &seed_err));
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            if (i % 2 != (size_t)tied && i) continue;
            hd_policy p;
            hd_lm *c = NULL;
            hd_policy_default(&p);
            p.base.bits = rows[i].bits;
            p.base.sparsity = rows[i].sparsity;
            p.base.block_in = p.base.block_out = 4;
            if (rows[i].group) p.base.granularity = HD_GRANULARITY_GROUP, p.base.group_size = rows[i].group;
            seed_good(hd_recipe_parse(&p.base.recipe, rows[i].method, &seed_err));
            snprintf(name, sizeof name, "%zu", i);
            seed_good(hd_lm_compress_policy(&c, m, &p, tokens, 8, 2, 8, NULL, &seed_err));
            if (i == 0) seed_good(hd_lm_measure_reach(c, tokens, 8, 2, 7, &seed_err));
            seed_good(hd_lm_save(c, seed_path("hlm", name), &seed_err));
            hd_lm_free(c);
            hd_policy_free(&p);
        }
        seed_gguf(m, tied);
        seed_safetensors(m, tied);
        hd_llama_free(m);
    }
}

static void write_tokenizer(void) {
    static const char *const piece[] = {" ", "a", "b", "c", "ab", "bc", "abc", " a", "\xc3\xa9", "cc"};
    static const char text[] = "abc \xc3\xa9 ccab";
    hd_writer w = {0};
    hd_put_u8(&w, 10);
    hd_put_u8(&w, sizeof text - 1);
    hd_put_bytes(&w, text, sizeof text - 1);
    hd_put_u32(&w, 8);
    for (int i = 0; i < 269; i++) {
        char name[16];
        int n = i < 3 ? snprintf(name, sizeof name, "%s", i == 0 ? "<unk>" : i == 1 ? "\n<s>\n" : "\n</s>\n") : i < 259 ? snprintf(name, sizeof name, "<0x%02X>", (unsigned)i - 3)
                                                                                                                        : snprintf(name, sizeof name, "%s", piece[i - 259]);
        hd_put_f32(&w, i < 259 ? 0 : (float)(i % 5));
        hd_put_u32(&w, (uint32_t)n);
        hd_put_bytes(&w, name, (size_t)n);
    }
    seed_write("tokenizer", "small", w.data, w.size);
    hd_writer_free(&w);
}

/* ---- idx and texts */

static void write_idx(void) {
    static const hd_idx_type types[] = {HD_IDX_U8, HD_IDX_I8, HD_IDX_I16, HD_IDX_I32, HD_IDX_F32};
    float data[24] = {1, -2, 0.5f};
    for (int i = 0; i < 5; i++) {
        char name[32];
        hd_idx x = {.type = types[i], .rank = i % 4 + 1, .dim = {2, 3, 2, 2}, .data = data};
        snprintf(name, sizeof name, "type%d", i);
        seed_good(hd_idx_save(&x, seed_path("idx", name), &seed_err));
    }
    uint8_t *plain, packed[512];
    size_t size;
    seed_good(hd_file_read(&plain, &size, seed_path("idx", "type3"), 1 << 16, 0, &seed_err));
    z_stream z = {.next_in = plain, .avail_in = (uInt)size, .next_out = packed, .avail_out = sizeof packed};
    if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK || deflate(&z, Z_FINISH) != Z_STREAM_END) exit(1);
    seed_write("idx", "gzip", packed, z.total_out);
    deflateEnd(&z);
    free(plain);
}

static void write_policies(void) {
    static const char *const texts[] = {
        "{\"base\": {\"weights\": 4, \"sparsity\": 0.5, \"block\": \"8x8\", \"granularity\": \"group:32\", \"method\": \"gptq\", \"ranges\": \"percentile:99.9\"}}",
        "{\"base\": {\"weights\": \"ternary\", \"method\": \"table:9\", \"code_group\": 4}, \"layers\": {\"conv1\": {\"weights\": 8}, \"layer0.*\": {\"sparsity\": 0.25}}}",
        "svd:0.25+residual+gptq", "smooth:0.5+gptq", "outliers:6+awq", "table:7+pv", "4x8x8x2",
        "act=4096,window=256,stream=8192,param=512,descriptors=64,tables=2,hop=8,acc=20,fetch=1,post=4,residual=0", "extern=20,mhz=50,decode=7", "pump=4,pool=0,slot=1,gather=0,sums=1,perf=1"};
    hd_policy p;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char name[16];
        snprintf(name, sizeof name, "%zu", i);
        seed_write("policy", name, texts[i], strlen(texts[i]));
    }
    hd_policy_default(&p);
    seed_good(hd_policy_save(&p, seed_path("policy", "default"), &seed_err));
    hd_policy_free(&p);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "seeds FOLDER\n");
        return 2;
    }
    root = argv[1];
    mkdir(root, 0777);
    write_models();
    write_onnx();
    seed_tflite();
    write_language();
    write_tokenizer();
    write_idx();
    write_policies();
    seed_host();
    seed_usb();
    return 0;
}
