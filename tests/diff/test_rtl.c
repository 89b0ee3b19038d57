/* The Verilated RTL against the instruction-level model: random programs, whole activation memories byte for byte, every
 * performance counter of every layer, and the scalar integer executor's output.
 *
 * test_rtl GEOMETRY[:MEMORY] VIEW FIRST COUNT: VIEW is fast, structural or stall (fast view, random stalls: bytes only, cycles not less).
 * HEDDLE_SEED overrides FIRST with COUNT 1 to replay a failure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../drivers/predict.h"
#include "../../sw/core/rng.h"
#include "../../sw/runtime/runtime.h"
#include "../support/random_model.h"

static const char *const counter_name[HD_PERF_WORDS] = {
#define HD_PERF(n, v, d) [v] = #n,
#include "../../sw/contract/regs.def"
#undef HD_PERF
};

typedef struct outcome {
    uint32_t *memory, *perf;
    int8_t *output;
    uint64_t cycles;
} outcome;

static int failed(uint64_t seed, const char *geometry, const char *what, const hd_err *err) {
    printf("FAIL seed %llu, geometry %s: %s: %s\n", (unsigned long long)seed, geometry, what, err->message);
    return 1;
}

static hd_status run(outcome *o, const hd_program *p, hd_session *s, const int8_t *input, hd_err *err) {
    size_t words = (size_t)p->geometry.act_words * p->geometry.lanes / 4;
    o->memory = malloc(words * 4);
    o->perf = calloc(p->n_desc, HD_PERF_WORDS * 4);
    o->output = malloc((size_t)p->output.h * p->output.w * p->output.c);
    if (!o->memory || !o->perf || !o->output) return hd_fail(err, HD_NOMEM, "test: out of memory");
    hd_status st = hd_session_run(s, input, o->output, err);
    if (!st) st = hd_session_cycles(s, &o->cycles, err);
    if (!st) st = hd_session_perf(s, o->perf, err);
    if (!st) st = hd_session_memory(s, o->memory, words, err);
    return st;
}

static void outcome_free(outcome *o) {
    free(o->memory);
    free(o->perf);
    free(o->output);
}

static int compare(uint64_t seed, const char *geometry, const hd_program *p, const outcome *ref, const outcome *sim, int stalled) {
    size_t words = (size_t)p->geometry.act_words * p->geometry.lanes / 4;
    for (size_t i = 0; i < words; i++)
        if (ref->memory[i] != sim->memory[i]) {
            printf("FAIL seed %llu, geometry %s: activation memory word %zu (element %zu): RTL %08x, model %08x\n", (unsigned long long)seed, geometry, i,
                   i / (p->geometry.lanes / 4), sim->memory[i], ref->memory[i]);
            return 1;
        }
    for (uint32_t d = 0; d + 1 < p->n_desc; d++)
        for (int c = 0; c < HD_PERF_WORDS; c++) {
            uint32_t r = p->geometry.perf ? ref->perf[d * HD_PERF_WORDS + (uint32_t)c] : 0, s = sim->perf[d * HD_PERF_WORDS + (uint32_t)c];
            int exact = !stalled || c == HD_PERF_STEPS || c == HD_PERF_FETCH_WORDS || c == HD_PERF_WRITES;
            /* External memory runs ahead while a descriptor load is held back: a layer may then find more of its weights there. */
            if (exact ? r != s : c == HD_PERF_CYCLES && s < r && !p->geometry.extern_log2) {
                printf("FAIL seed %llu, geometry %s: descriptor %u, %s: RTL %u, model %u\n", (unsigned long long)seed, geometry, d, counter_name[c], s, r);
                return 1;
            }
        }
    if (stalled ? sim->cycles < ref->cycles : ref->cycles != sim->cycles) {
        printf("FAIL seed %llu, geometry %s: run: RTL %llu cycles, model %llu\n", (unsigned long long)seed, geometry, (unsigned long long)sim->cycles,
               (unsigned long long)ref->cycles);
        return 1;
    }
    return 0;
}

/* The prediction without data against what the device counted; a device without counters tells the whole run. */
static int compare_prediction(uint64_t seed, const char *geometry, const hd_program *p, const outcome *sim) {
    hd_err err = {0};
    hd_prediction *r;
    if (hd_predict(&r, p, &err)) return failed(seed, geometry, "prediction", &err);
    int bad = r->cycles != sim->cycles;
    for (uint32_t d = 0; d < r->n_desc && p->geometry.perf; d++)
        for (int c = 0; c < HD_PERF_WORDS; c++) bad |= (uint32_t)r->perf[d][c] != sim->perf[d * HD_PERF_WORDS + (uint32_t)c];
    if (bad) printf("FAIL seed %llu, geometry %s: predicted %llu cycles, RTL %llu, or a counter differs\n", (unsigned long long)seed, geometry, (unsigned long long)r->cycles, (unsigned long long)sim->cycles);
    hd_prediction_free(r);
    return bad;
}

/* The RTL whose every run was begun once before and cut off by a reset: rows of the external memory stay open, words are on their way. */
static uint32_t *kept_input, *kept_zeros;
static uint32_t kept_at, act_words;
static size_t kept_n;
static hd_status cut_open(hd_device **out, const hd_geometry *g, const hd_device_options *o, hd_err *err) {
    act_words = g->act_words * g->lanes / 4;
    return hd_driver_sim.open(out, g, o, err);
}
static void cut_close(hd_device *d) {
    hd_driver_sim.close(d);
    free(kept_input);
    free(kept_zeros);
    kept_input = kept_zeros = NULL;
}
static hd_status cut_write(hd_device *d, enum hd_space space, uint32_t at, const uint32_t *words, size_t n, hd_err *err) {
    if (space == HD_SPACE_ACT) {
        free(kept_input);
        kept_input = malloc(n * 4);
        if (!kept_input) return hd_fail(err, HD_NOMEM, "test: out of memory");
        memcpy(kept_input, words, n * 4);
        kept_at = at;
        kept_n = n;
    }
    return hd_driver_sim.write(d, space, at, words, n, err);
}
static hd_status cut_read(hd_device *d, enum hd_space space, uint32_t at, uint32_t *words, size_t n, hd_err *err) {
    return hd_driver_sim.read(d, space, at, words, n, err);
}
static hd_status cut_run(hd_device *d, uint64_t max_cycles, hd_err *err) {
    uint32_t before = 40 + kept_at + (uint32_t)kept_n % 97;
    if (!kept_zeros && !(kept_zeros = calloc(act_words, 4))) return hd_fail(err, HD_NOMEM, "test: out of memory");
    hd_status st = hd_driver_sim.run(d, before, err);
    if (st && !strstr(err->message, "no END after")) return st;
    st = hd_driver_sim.write(d, HD_SPACE_ACT, 0, kept_zeros, act_words, err);
    if (!st) st = hd_driver_sim.write(d, HD_SPACE_ACT, kept_at, kept_input, kept_n, err);
    return st ? st : hd_driver_sim.run(d, max_cycles, err);
}
static const hd_driver cut_off = {"sim", "", cut_open, cut_close, cut_write, cut_read, cut_run, NULL};

/* What a failing program does, for whoever replays the seed. */
static void print_program(const hd_program *p) {
    for (uint32_t i = 0; i + 1 < p->n_desc; i++) {
        const uint32_t *d = &p->desc[i * HD_DESC_WORDS];
        printf("  descriptor %u:", i);
#define HD_FIELD(n, w, l, b, s, t) \
    if (hd_field_get(d, HD_F_##n)) printf(" " #n "=%lld", (long long)hd_field_get(d, HD_F_##n));
#include "../../sw/contract/ops.def"
#undef HD_FIELD
        printf("\n");
    }
}

/* Codes in the program's external stream: coded[c] counts segments of code c. */
static void count_codes(const hd_program *p, uint64_t coded[HD_CODES]) {
    uint32_t words = hd_geometry_weight_words(&p->geometry);
    for (uint32_t at = 0; at < p->n_extern;) {
        const uint32_t *word = &p->external[at++];
        uint32_t format = (uint32_t)hd_field_get(word, HD_S_FORMAT), n = (uint32_t)hd_field_get(word, HD_S_ENTRIES);
        coded[hd_field_get(word, HD_S_VARIANT)] += format == HD_SEGMENT_CODED;
        at += format == HD_SEGMENT_LOAD ? n : (n + 1) / 2 + n * (format == HD_SEGMENT_CODED ? words / 2 : words);
    }
}

/* Stream entries whose pairs do not all read the same window word. */
static uint64_t count_scattered(const hd_program *p) {
    uint32_t pairs = hd_geometry_pairs(&p->geometry);
    uint64_t n = 0;
    for (size_t i = 0; i < p->n_stream && pairs; i++) {
        int differ = 0;
        for (uint32_t k = 1; k < pairs; k++) differ |= p->pair[i * pairs + k] != p->pair[i * pairs];
        n += (uint64_t)differ;
    }
    return n;
}

/* Any window word for any pair: the program then computes something else, but both devices the same. */
static void scatter(hd_program *p, uint64_t seed) {
    uint32_t pairs = hd_geometry_pairs(&p->geometry);
    hd_rng rng;
    hd_rng_seed(&rng, seed, 77);
    for (uint32_t i = 0; i + 1 < p->n_desc; i++) {
        const uint32_t *d = &p->desc[i * HD_DESC_WORDS];
        if (hd_field_get(d, HD_F_OPCODE) != HD_OP_CONV) continue;
        uint32_t words = (uint32_t)(hd_field_get(d, HD_F_KH) * hd_field_get(d, HD_F_KW) * hd_field_get(d, HD_F_NCB));
        for (int64_t e = hd_field_get(d, HD_F_STREAM_FIRST); e <= hd_field_get(d, HD_F_STREAM_LAST); e++) {
            uint32_t most = 0, index = p->index[e];
            for (uint32_t k = 0; k < pairs; k++) {
                uint32_t w = hd_rng_below(&rng, words);
                p->pair[(size_t)e * pairs + k] = (uint16_t)w;
                if (w > most) most = w;
            }
            hd_field_set(&index, HD_I_ADDRESS, most);
            p->index[e] = (uint16_t)index;
        }
    }
}

/* One program on both devices, two inputs each. The RTL's session is new each time: a model starts in milliseconds. */
static int one(uint64_t seed, const char *geometry, const hd_geometry *g, const hd_device_options *o, uint64_t *layers, uint64_t *cycles, uint64_t *unfit,
               uint64_t coded[HD_CODES], uint64_t *scattered) {
    hd_err err = {0};
    hd_model *m = NULL;
    hd_program *p = NULL;
    hd_session *ref = NULL, *sim = NULL;
    hd_integer *golden = NULL;
    hd_lower_options lo = {.board = "", .expand_input = (int)(seed % 3) - 1};
    int bad = 1, other = g->gather && seed % 2, cut = g->extern_log2 && seed % 4 == 1;
    /* Random models seldom add anything to a layer that reads words in pairs. */
    int adds = g->residual && !g->decode && seed % 8 == 7;
    hd_status lowered = g->decode ? hd_random_coded(&m, seed, &err) : adds ? hd_random_residual(&m, seed, &err) : hd_random_model(&m, seed, &err);
    /* Without the residual adder additions would fit nowhere: the same layers without them do. */
    for (int i = 0; !lowered && !g->residual && i < m->n_stages; i++) {
        hd_stage *s = &m->stage[i];
        s->residual = -1;
        s->res_mult = s->res_shift = s->res_add = 0;
    }
    if (!lowered) lowered = hd_lower(&p, m, g, &lo, &err);
    if (lowered == HD_NOFIT && (g->post || g->extern_log2 || !g->pool)) { /* a shared post lane has no shifts below 17; a small ring, not every layer's passes */
        ++*unfit;
        bad = 0;
        goto done;
    }
    if (!lowered) *scattered += count_scattered(p);
    if (!lowered && other) scatter(p, seed);
    if (lowered || hd_integer_new(&golden, m, &err) ||
        hd_session_open(&ref, p, &hd_driver_ref, NULL, &err) || hd_session_open(&sim, p, cut ? &cut_off : &hd_driver_sim, o, &err)) {
        failed(seed, geometry, "set-up", &err);
        goto done;
    }
    count_codes(p, coded);
    const hd_qtensor *in = &m->tensor[m->input];
    size_t n_out = (size_t)p->output.h * p->output.w * p->output.c;
    int8_t *input = malloc((size_t)in->h * (size_t)in->w * (size_t)in->c);
    if (!input) goto done;
    bad = 0;
    for (uint64_t k = 0; k < 2 && !bad; k++) {
        outcome a = {0}, b = {0};
        hd_random_codes(in, seed * 2 + k, input);
        if (run(&a, p, ref, input, &err)) bad = failed(seed, geometry, "model", &err);
        else if (run(&b, p, sim, input, &err)) bad = failed(seed, geometry, "RTL", &err);
        else {
            bad = compare(seed, geometry, p, &a, &b, o->stall_seed != 0);
            if (!bad && !o->stall_seed) bad = compare_prediction(seed, geometry, p, &b);
            hd_integer_run(golden, input);
            if (!bad && !other && memcmp(b.output, hd_integer_tensor(golden, m->output), n_out)) {
                printf("FAIL seed %llu, geometry %s: output differs from the integer executor\n", (unsigned long long)seed, geometry);
                bad = 1;
            }
            *cycles += b.cycles;
        }
        outcome_free(&a);
        outcome_free(&b);
    }
    if (bad) print_program(p);
    free(input);
    *layers += p->n_desc - 1;
done:
    hd_session_close(ref);
    hd_session_close(sim);
    hd_integer_free(golden);
    hd_program_free(p);
    hd_model_free(m);
    return bad;
}

int main(int argc, char **argv) {
    hd_err err = {0};
    hd_geometry g;
    char why[200];
    if (argc != 5) {
        fprintf(stderr, "usage: test_rtl GEOMETRY[:MEMORY] fast|structural|stall FIRST COUNT\n");
        return 2;
    }
    if (!hd_driver_sim.available(why, sizeof why)) {
        printf("skipped: %s\n", why);
        return 77;
    }
    char shape[32];
    const char *memory = strchr(argv[1], ':');
    snprintf(shape, sizeof shape, "%.*s", (int)(memory ? memory - argv[1] : 31), argv[1]);
    if (hd_geometry_parse(&g, shape, &err) || (memory && hd_geometry_memory(&g, memory + 1, &err))) {
        fprintf(stderr, "%s\n", err.message);
        return 2;
    }
    hd_device_options o = {.structural = !strcmp(argv[2], "structural"), .quiet = 1};
    uint64_t first = strtoull(argv[3], NULL, 10), count = strtoull(argv[4], NULL, 10), layers = 0, cycles = 0, unfit = 0, bad = 0, coded[HD_CODES] = {0}, scattered = 0;
    const char *replay = getenv("HEDDLE_SEED");
    if (replay) first = strtoull(replay, NULL, 10), count = 1;
    /* Without a pooling unit about half of the models fit nowhere: others take their place. */
    uint64_t seed = first, most = g.pool ? count : 6 * count;
    for (; seed - first < (g.pool ? count : count + unfit) && seed - first < most; seed++) {
        o.stall_seed = !strcmp(argv[2], "stall") ? seed + 1 : 0;
        bad += (uint64_t)one(seed, argv[1], &g, &o, &layers, &cycles, &unfit, coded, &scattered);
        if (bad >= 5) break;
    }
    printf("%s %s: seeds %llu..%llu, %llu do not fit, %llu descriptors, %llu cycles, %llu failed\n", argv[1], argv[2], (unsigned long long)first,
           (unsigned long long)(seed - 1), (unsigned long long)unfit, (unsigned long long)layers, (unsigned long long)cycles, (unsigned long long)bad);
    if (g.gather) printf("%llu entries whose pairs read different words\n", (unsigned long long)scattered);
    if (g.gather && !replay && !scattered) return printf("FAIL: never gathered\n"), 1;
    for (int c = 0; c < HD_CODES && !replay; c++) {
        if (!(g.decode & hd_code_unit(c)) || !hd_code_fits(c, &g)) continue;
        printf("code %d: %llu segments\n", c, (unsigned long long)coded[c]);
        if (!coded[c] && count >= 20) return printf("FAIL: never coded\n"), 1;
    }
    return bad != 0 || (g.pool ? unfit * 3 > count * 2 : seed - first - unfit < count);
}
