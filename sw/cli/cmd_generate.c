/* heddle generate: text from a language model, token by token. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/progress.h"
#include "cli.h"
#include "language_device.h"

static const cli_option options[] = {
    {"--tokenizer", "T.bin", "the model's tokenizer, llama2.c format (required, but for a GGUF file, which carries its own)"},
    {"--prompt", "TEXT", "what the text starts with (nothing)"},
    {"--steps", "N", "tokens to write at most (256)"},
    {"--temperature", "T", "0 = always the likeliest token; 1 = as the model says (0)"},
    {"--top-p", "P", "draw from the likeliest tokens that together reach P (0.9)"},
    {"--seed", "S", "of the draws (1)"},
    CLI_LANGUAGE_OPTIONS,
    {NULL, NULL, NULL},
};

typedef struct plan {
    const char *prompt;
    int64_t steps, seed;
    double temperature, top_p;
} plan;

typedef struct text {
    char *bytes;
    size_t size, capacity;
    int16_t *token; /* written after the prompt */
    int tokens, prompt_tokens;
    double seconds;
} text;

/* What comes from a file of tokens must not steer the terminal. */
static int harmless(char c) {
    return c == '\n' || c == '\t' || ((unsigned char)c >= ' ' && c != 0x7f);
}

static hd_status put(text *to, const char *piece, size_t n, int show, hd_err *err) {
    if (to->size + n + 1 > to->capacity) {
        size_t capacity = 2 * to->capacity + n + 256;
        char *bigger = realloc(to->bytes, capacity);
        if (!bigger) return hd_fail(err, HD_NOMEM, "no memory for the text");
        to->bytes = bigger;
        to->capacity = capacity;
    }
    for (size_t i = 0; i < n; i++) {
        if (!harmless(piece[i])) continue;
        to->bytes[to->size++] = piece[i];
        if (show) putchar(piece[i]);
    }
    to->bytes[to->size] = 0;
    if (show) fflush(stdout);
    return HD_OK;
}

/* Where the next token comes from: floats on the host, or integers with the matrices on a device. */
typedef struct source {
    int vocab, max_tokens;
    hd_llama *model;
    hd_llama_state *state;
    cli_device_model device;
    hd_lm_state *integers;
    int fed; /* tokens that the integers have seen */
} source;

enum { PROMPT_TOKENS = 64 }; /* that a device takes at once */

static hd_status open_source(source *from, const cli_args *a, hd_err *err) {
    hd_status s;
    if (cli_text(a, "--device")) {
        cli_device_model *d = &from->device;
        s = cli_device_open(d, a, PROMPT_TOKENS, err);
        if (s) return s;
        from->vocab = d->integer->vocab;
        from->max_tokens = d->integer->max_tokens;
        return hd_lm_state_new(&from->integers, d->integer, PROMPT_TOKENS < from->max_tokens ? PROMPT_TOKENS : from->max_tokens, cli_device_project, d, err);
    }
    s = cli_device_refuse(a, err);
    if (!s) s = cli_llama_load(&from->model, a->operand, err);
    if (s) return s;
    from->vocab = from->model->vocab;
    from->max_tokens = from->model->max_tokens;
    return hd_llama_state_new(&from->state, from->model, err);
}

static void close_source(source *from) {
    hd_llama_state_free(from->state);
    hd_llama_free(from->model);
    hd_lm_state_free(from->integers);
    cli_device_close(&from->device);
}

/* The token after token[0..count-1]. */
static hd_status next_on_device(int *next, source *from, const int16_t *token, int count, const plan *p, hd_rng *rng, hd_err *err) {
    const int32_t *logits = NULL;
    while (from->fed < count) {
        int n = count - from->fed < PROMPT_TOKENS ? count - from->fed : PROMPT_TOKENS, wanted = from->fed + n == count;
        hd_status s = hd_lm_state_step(from->integers, token + from->fed, n, from->fed, wanted, &logits, err);
        if (!s) s = cli_device_account(&from->device, n, wanted, err);
        if (s) return s;
        from->fed += n;
    }
    *next = hd_lm_sample(logits, from->vocab, (int64_t)(p->temperature * 65536 + 0.5), (int64_t)(p->top_p * 65536 + 0.5), rng);
    return HD_OK;
}

static hd_status write_text(text *to, source *from, const hd_tokenizer *t, const plan *p, int show, hd_err *err) {
    int limit = from->max_tokens;
    int16_t *token = to->token;
    to->prompt_tokens = hd_tokenizer_encode(t, p->prompt, token, limit, err);
    if (to->prompt_tokens < 0) return (hd_status)to->prompt_tokens;
    hd_rng rng;
    hd_rng_seed(&rng, (uint64_t)p->seed, 1);
    hd_status s = put(to, "", 0, 0, err);
    int count = to->prompt_tokens;
    double start = hd_seconds();
    for (int at = 0; !s && at + 1 < limit && at + 1 < to->prompt_tokens + p->steps; at++) {
        const float *logits = from->state ? hd_llama_step(from->state, token[at], at) : NULL;
        if (at + 1 >= count) {
            int next = 0;
            if (logits) next = hd_llama_sample(logits, from->vocab, p->temperature, p->top_p, &rng);
            else s = next_on_device(&next, from, token, count, p, &rng, err);
            if (s || next == HD_TOKEN_BOS || next == HD_TOKEN_EOS) break; /* the story is over */
            token[count++] = (int16_t)next;
        }
        size_t n;
        const char *piece = hd_tokenizer_piece(t, token[at], token[at + 1], &n);
        s = put(to, piece, n, show, err);
        if (!s && hd_interrupted) s = hd_fail(err, HD_INTERRUPTED, "stopped");
    }
    to->tokens = count;
    to->seconds = hd_seconds() - start;
    return s;
}

/* The host's seconds for each token that went through the model. */
static double host_seconds(const source *from, const text *x) { return (x->seconds - from->device.seconds) / (from->fed ? from->fed : 1); }

/* JSON is UTF-8; half a character, as a byte token leaves it, becomes '?'. The tokens tell what it was. */
static void repair_utf8(char *s) {
    for (unsigned char *p = (unsigned char *)s; *p;) {
        int more = *p < 0x80 ? 0 : *p >= 0xc2 && *p < 0xe0 ? 1 : *p >= 0xe0 && *p < 0xf0 ? 2 : *p >= 0xf0 && *p < 0xf5 ? 3 : -1, good = more >= 0;
        for (int i = 1; good && i <= more; i++) good = (p[i] & 0xc0) == 0x80;
        if (!good) *p = '?';
        p += good ? more + 1 : 1;
    }
}

static hd_status print_json(const cli_args *a, const plan *p, const source *from, text *x, hd_err *err) {
    cJSON *o = cJSON_CreateObject();
    repair_utf8(x->bytes);
    cJSON_AddStringToObject(o, "model", a->operand);
    cJSON_AddStringToObject(o, "prompt", p->prompt);
    cJSON_AddNumberToObject(o, "temperature", p->temperature);
    cJSON_AddNumberToObject(o, "top_p", p->top_p);
    cJSON_AddNumberToObject(o, "seed", (double)p->seed);
    cJSON_AddStringToObject(o, "text", x->bytes);
    cJSON *list = cJSON_AddArrayToObject(o, "tokens");
    for (int i = x->prompt_tokens; i < x->tokens; i++) cJSON_AddItemToArray(list, cJSON_CreateNumber(x->token[i]));
    cJSON_AddNumberToObject(o, "prompt_tokens", x->prompt_tokens);
    cJSON_AddNumberToObject(o, "seconds", x->seconds);
    hd_status s = from->integers ? cli_device_json(o, &from->device, a, host_seconds(from, x), err) : HD_OK;
    if (!s) return cli_json(o, err);
    cJSON_Delete(o);
    return s;
}

static hd_status generate(const cli_args *a, const char *tokenizer, const plan *p, hd_err *err) {
    source from = {0};
    hd_tokenizer *t = NULL;
    text x = {0};
    hd_status s = open_source(&from, a, err);
    if (!s) s = tokenizer ? hd_tokenizer_load(&t, tokenizer, from.vocab, err) : hd_tokenizer_load_gguf(&t, a->operand, from.vocab, err);
    if (!s && !(x.token = malloc((size_t)from.max_tokens * sizeof *x.token))) s = hd_fail(err, HD_NOMEM, "no memory for %d tokens", from.max_tokens);
    if (!s) s = write_text(&x, &from, t, p, !a->json, err);
    if (!s && a->json) s = print_json(a, p, &from, &x, err);
    else if (!s) putchar('\n');
    if (!s && !a->json && from.integers) {
        fflush(stdout);
        s = cli_device_print(stderr, &from.device, a, host_seconds(&from, &x), err); /* the text alone is the output */
    }
    free(x.bytes);
    free(x.token);
    hd_tokenizer_free(t);
    close_source(&from);
    return s;
}

static hd_status run(const cli_args *a, hd_err *err) {
    const char *tokenizer, *prompt = cli_text(a, "--prompt");
    plan p = {.prompt = prompt ? prompt : ""};
    uint32_t magic = 0;
    hd_err none;
    hd_status s = HD_OK;
    tokenizer = cli_text(a, "--tokenizer");
    if (!tokenizer && (cli_file_magic(&magic, a->operand, &none) || magic != CLI_GGUF_MAGIC)) s = cli_need(&tokenizer, a, "--tokenizer", err);
    if (!s) s = cli_int(&p.steps, a, "--steps", 256, 1, 32767, err);
    if (!s) s = cli_float(&p.temperature, a, "--temperature", 0, 0, 100, err);
    if (!s) s = cli_float(&p.top_p, a, "--top-p", 0.9, 0, 1, err);
    if (!s) s = cli_int(&p.seed, a, "--seed", 1, 0, INT64_C(1) << 53, err);
    return s ? s : generate(a, tokenizer, &p, err);
}

const cli_command cli_generate = {
    .name = "generate",
    .summary = "text from a language model",
    .operand = "MODEL",
    .about = "Writes text to standard output. MODEL is a llama2.c checkpoint, GGUF, .safetensors beside its config.json, or an .hlm. With "
             "--device every matrix of an .hlm runs on that device and all else in integers, the same text on all of them; what a token costs "
             "in cycles, bytes over the link and time stands behind it on standard error.",
    .examples = "heddle generate stories260K.bin --tokenizer tok512.bin --prompt \"One day\"\n"
                "heddle generate w4.hlm --tokenizer tok512.bin --device sim\n"
                "heddle generate w4.hlm --tokenizer tok512.bin --device sysc --board ulx3s",
    .surroundings = CLI_CACHE | CLI_SOURCE | CLI_THREADS | CLI_HLM,
    .see = "compress, eval, docs/language.md",
    .options = options,
    .run = run,
};
