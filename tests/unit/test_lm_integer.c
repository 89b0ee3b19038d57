/* Language models in integers against a second reading of docs/language.md: other code, wider integers, no cache (every token computes its whole prefix again), plain loops for
 * the matrices. Logits equal for every position, through the executor with plain loops and through the array's models, whatever the step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../compiler/compress/lm_integer.h"
#include "../../compiler/compress/lm_policy.h"
#include "../../sw/runtime/lm_device.h"

enum { DIM = 16, HIDDEN = 24, LAYERS = 2, HEADS = 4, KV_HEADS = 2, HEAD = DIM / HEADS, KV = HEAD * KV_HEADS, VOCAB = 21, TOKENS = 19, ROWS = 3 };
__extension__ typedef __int128 wide;

/* ---- the second reading ---- */

typedef struct number { /* m * 2^e, never normalised but by `round31` */
    wide m;
    int e;
} number;

static wide floor_of(wide a, wide b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
static wide two_to(int n) { return (wide)1 << n; }

static number round31(wide x, int e) {
    while (x && x < two_to(30)) x *= 2, e--;
    int bits = 0;
    while (x >> bits >= two_to(31)) bits++;
    if (bits) x = floor_of(x + two_to(bits - 1), two_to(bits));
    if (x == two_to(31)) x /= 2, e++;
    return x ? (number){x, e + bits} : (number){0, 0};
}
static number product(number a, number b) { return round31(a.m * b.m, a.e + b.e); }
static number quotient(number a, number b) { return round31(a.m * two_to(32) / b.m, a.e - b.e - 32); }
static number root(number a) {
    int z = (a.e - 31) % 2 == 0 ? 31 : 32;
    wide x = a.m * two_to(z), r = (wide)sqrtl((long double)x); /* a guess, made right */
    while (r * r > x) r--;
    while ((r + 1) * (r + 1) <= x) r++;
    return round31(r, (a.e - z) / 2);
}
static number of_float(float x) {
    int e;
    double m = frexp(fabs((double)x), &e);
    return round31((wide)ldexp(m, 24), e - 24);
}
static wide times(number s, wide k, int n) {
    int e = s.e + n;
    wide p = k * s.m, most = two_to(31) - 1, v = e >= 40 ? p * two_to(40) : e >= 0 ? p * two_to(e) : e < -90 ? 0 : floor_of(p + two_to(-e - 1), two_to(-e));
    return v > most ? most : v < -most ? -most : v;
}
static wide float_times(float x, int n) { return times(of_float(x), x < 0 ? -1 : 1, n); }

static const wide ONE = (wide)1 << 30;
static wide mul30(wide a, wide b) { return floor_of(a * b + ONE / 2, ONE); }
static wide exp30(wide d) {
    if (d >= 32 * ONE) return 0;
    wide n = floor_of(floor_of(d, 1 << 14) * 1549082005 + two_to(45), two_to(46)), r = d - 744261118 * n, p = ONE;
    for (int k = 9; k; k--) p = ONE - mul30(r, p) / k;
    return n ? floor_of(p + two_to((int)n - 1), two_to((int)n)) : p;
}
static wide log30(wide x) {
    int w = 0;
    while (x >> w >= 2 * ONE) w++;
    wide m = x >> w, y = 0;
    for (int bit = 29; bit >= 0; bit--) {
        m = m * m / ONE;
        if (m >= 2 * ONE) m /= 2, y += two_to(bit);
    }
    return 744261118 * (wide)w + mul30(y, 744261118);
}
static wide sigmoid30(wide x) {
    wide e = exp30((x < 0 ? -x : x) * two_to(14));
    return ONE * (x < 0 ? e : ONE) / (ONE + e);
}
static void turn(wide *a, wide *b, int position, int pair) {
    wide angle = position * exp30(floor_of((wide)9889527670 * 2 * pair, HEAD)) * two_to(16), h = 110534964875444, q = floor_of(angle + h / 2, h);
    wide r = floor_of(angle - q * h + two_to(15), two_to(16)), s = mul30(r, r), c = ONE, t = ONE;
    for (int k = 9; k > 0; k -= 2) c = ONE - mul30(s, c) / (k * (k + 1));
    for (int k = 10; k > 0; k -= 2) t = ONE - mul30(s, t) / (k * (k + 1));
    t = mul30(r, t);
    for (int i = 0; i < (int)(q % 4); i++) { /* a quarter turn at a time */
        wide swap = c;
        c = -t;
        t = swap;
    }
    wide x = *a, y = *b;
    *a = floor_of(x * c - y * t + ONE / 2, ONE);
    *b = floor_of(x * t + y * c + ONE / 2, ONE);
}

static number codes_of(int *code, const wide *z, int n, int e) {
    wide most = 0;
    for (int i = 0; i < n; i++) most = z[i] > most ? z[i] : -z[i] > most ? -z[i] : most;
    for (int i = 0; i < n; i++) code[i] = most ? (int)floor_of(254 * z[i] + most, 2 * most) : 0;
    return most ? quotient(round31(most, e), round31(127, 0)) : (number){0, 0};
}

/* One row of a matrix: its code, and the real value of it in Q16. */
static wide row_value(const int *v, int in, number scale, number range, const int *code, number unit, wide limit) {
    if (!scale.m || !range.m) return 0;
    number q = quotient(scale, range);
    wide mult = (q.m + two_to(14)) / two_to(15), acc = 0;
    int shift = -q.e - 15;
    if (mult == 65536) mult = 32768, shift--;
    if (shift < 17) mult = 65535, shift = 17;
    for (; shift > 46; shift--) mult /= 2;
    if (!mult) return 0;
    for (int i = 0; i < in; i++) acc += (wide)v[i] * code[i];
    wide y = floor_of(acc * mult + two_to(shift - 1), two_to(shift));
    y = y > 127 ? 127 : y < -128 ? -128 : y;
    number row = quotient(scale, round31(mult, 0));
    row.e += shift;
    wide x = times(product(row, unit), y, 16);
    return x > limit ? limit : x < -limit ? -limit : x;
}


static const float *reach_at(const hd_lm *c, int layer, int matrix) {
    const float *at = c->reach;
    const int rows[HD_LLAMA_MATRICES] = {DIM, KV, KV, DIM, HIDDEN, DIM, HIDDEN};
    for (int i = 0; i < layer * HD_LLAMA_MATRICES + matrix; i++) at += rows[i % HD_LLAMA_MATRICES];
    return at;
}

static void apply(const hd_lm *c, int layer, int matrix, int out, int in, const int *code, number unit, wide limit, wide *to) {
    const hd_linear_result *r = &c->matrix[layer * HD_LLAMA_MATRICES + matrix].linear;
    for (int o = 0; o < out; o++) {
        int v[HIDDEN];
        for (int i = 0; i < in; i++) v[i] = r->v[o * in + i];
        to[o] = row_value(v, in, of_float(r->scale[o]), of_float(reach_at(c, layer, matrix)[o]), code, unit, limit);
    }
}

static number norm(int *code, const wide *x, const float *gain) {
    int top = -1000, h = 0;
    wide most = 0, sum = 0, z[DIM];
    for (int i = 0; i < DIM; i++) {
        int e;
        frexp((double)gain[i], &e);
        if (gain[i] != 0 && e > top) top = e;
        most = x[i] > most ? x[i] : -x[i] > most ? -x[i] : most;
    }
    int b = top > -1000 ? 15 - top : 0;
    for (int i = 0; i < DIM; i++) {
        wide g = float_times(gain[i], b);
        z[i] = x[i] * (g > 32767 ? 32767 : g < -32767 ? -32767 : g);
    }
    while (most >> h >= two_to(23)) h++;
    for (int i = 0; i < DIM; i++) sum += floor_of(x[i], two_to(h)) * floor_of(x[i], two_to(h));
    sum += floor_of((wide)42950 * DIM, two_to(2 * h));
    number unit = codes_of(code, z, DIM, -16 - b), mean = quotient(round31(sum, 2 * h - 32), round31(DIM, 0));
    return unit.m ? quotient(unit, root(mean)) : unit;
}

/* Logits after the last of n tokens. */
static void read_logits(const hd_lm *c, const int16_t *token, int n, wide *logits) {
    static wide x[TOKENS][DIM], q[TOKENS][DIM], k[TOKENS][KV], v[TOKENS][KV];
    const hd_llama *m = c->model;
    const wide limit = two_to(26) - 1, most = two_to(31) - 1;
    int code[HIDDEN];
    wide z[HIDDEN], up[HIDDEN], more[DIM];
    for (int t = 0; t < n; t++)
        for (int i = 0; i < DIM; i++) x[t][i] = float_times(m->embedding[token[t] * DIM + i], 16);
    for (int l = 0; l < LAYERS; l++) {
        for (int t = 0; t < n; t++) {
            number unit = norm(code, x[t], m->layer[l].norm_attention), of_q = product(unit, quotient(round31(1, 0), root(round31(HEAD, 0))));
            apply(c, l, HD_LLAMA_Q, DIM, DIM, code, of_q, limit, q[t]);
            apply(c, l, HD_LLAMA_K, KV, DIM, code, unit, limit, k[t]);
            apply(c, l, HD_LLAMA_V, KV, DIM, code, unit, limit, v[t]);
            for (int i = 0; i < DIM; i += 2) turn(&q[t][i], &q[t][i + 1], t, i % HEAD / 2);
            for (int i = 0; i < KV; i += 2) turn(&k[t][i], &k[t][i + 1], t, i % HEAD / 2);
        }
        for (int t = n; t-- > 0;) {
            for (int h = 0; h < HEADS; h++) {
                int of = h / (HEADS / KV_HEADS) * HEAD;
                wide score[TOKENS], top = -two_to(100), sum = 0;
                for (int p = 0; p <= t; p++) {
                    wide s = 0;
                    for (int i = 0; i < HEAD; i++) s += q[t][h * HEAD + i] * k[p][of + i];
                    score[p] = floor_of(s + two_to(15), two_to(16));
                    if (score[p] > top) top = score[p];
                }
                for (int p = 0; p <= t; p++) {
                    score[p] = floor_of(exp30((top - score[p]) * two_to(14)) + 512, 1024);
                    sum += score[p];
                }
                for (int i = 0; i < HEAD; i++) {
                    wide s = 0;
                    for (int p = 0; p <= t; p++) s += score[p] * v[p][of + i];
                    z[h * HEAD + i] = floor_of(2 * s + sum, 2 * sum);
                }
            }
            number unit = codes_of(code, z, DIM, -16);
            apply(c, l, HD_LLAMA_O, DIM, DIM, code, unit, most, more);
            for (int i = 0; i < DIM; i++) x[t][i] += more[i];
            unit = norm(code, x[t], m->layer[l].norm_ffn);
            apply(c, l, HD_LLAMA_W1, HIDDEN, DIM, code, unit, limit, z);
            apply(c, l, HD_LLAMA_W3, HIDDEN, DIM, code, unit, limit, up);
            for (int i = 0; i < HIDDEN; i++) z[i] = floor_of(z[i] * sigmoid30(z[i]) + ONE / 2, ONE) * up[i];
            unit = codes_of(code, z, HIDDEN, -32);
            apply(c, l, HD_LLAMA_W2, DIM, HIDDEN, code, unit, most, more);
            for (int i = 0; i < DIM; i++) x[t][i] += more[i];
        }
    }
    number unit = norm(code, x[n - 1], m->norm_final);
    for (int o = 0; o < VOCAB; o++) {
        const float *row = m->classifier + o * DIM;
        float top = 0;
        int w[DIM];
        for (int i = 0; i < DIM; i++) top = fmaxf(top, fabsf(row[i]));
        number t = of_float(top);
        for (int i = 0; i < DIM; i++) {
            wide u = t.m ? 2 * floor_of(255 * float_times(row[i], -t.e), 2 * t.m) + 1 : 0;
            w[i] = u > 255 ? 255 : (int)u;
        }
        logits[o] = row_value(w, DIM, t.m ? quotient(t, round31(255, 0)) : t, of_float(c->reach[hd_lm_reach_size(m) - VOCAB + (size_t)o]), code, unit, most);
    }
}

/* ---- models ---- */

static const int16_t *rows(void) {
    static int16_t t[ROWS][TOKENS + 1];
    hd_rng rng;
    hd_rng_seed(&rng, 8, 1);
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k <= TOKENS; k++) t[i][k] = (int16_t)hd_rng_below(&rng, VOCAB);
    return t[0];
}

/* A small model with weights and norms of uneven size, compressed as `change` says. */
static hd_lm *model(void (*change)(hd_layer_policy *p)) {
    hd_llama sizes = {.dim = DIM, .hidden = HIDDEN, .layers = LAYERS, .heads = HEADS, .kv_heads = KV_HEADS, .vocab = VOCAB, .max_tokens = TOKENS}, *m;
    hd_err err = {0};
    hd_rng rng;
    hd_policy p = {0};
    hd_lm *c;
    hd_rng_seed(&rng, 5, 1);
    assert_int_equal(hd_llama_new(&m, &sizes, 0, &err), HD_OK);
    for (int i = 0; i < VOCAB * DIM; i++) m->embedding[i] = hd_rng_normal(&rng), m->classifier[i] = 0.7f * hd_rng_normal(&rng);
    for (int i = 0; i < DIM; i++) m->classifier[i] = 0; /* a token that says nothing */
    for (int i = 0; i < DIM; i++) m->norm_final[i] = 0.5f + 0.2f * (float)i;
    for (int l = 0; l < LAYERS; l++) {
        for (int i = 0; i < DIM; i++) m->layer[l].norm_attention[i] = hd_rng_normal(&rng), m->layer[l].norm_ffn[i] = 1 + 0.1f * (float)i;
        for (int k = 0; k < HD_LLAMA_MATRICES; k++) {
            int out, in;
            hd_llama_shape(m, k, &out, &in);
            for (int i = 0; i < out * in; i++) m->layer[l].matrix[k][i] = (i / in % 3 == 1 ? 2.0f : 0.4f) * hd_rng_normal(&rng);
        }
    }
    hd_policy_default(&p);
    p.base.structure = HD_SPARSE_UNSTRUCTURED;
    change(&p.base);
    if (hd_lm_compress_policy(&c, m, &p, rows(), TOKENS + 1, ROWS, TOKENS, NULL, &err)) fail_msg("%s", err.message);
    if (hd_lm_measure_reach(c, rows(), TOKENS + 1, ROWS, TOKENS, &err)) fail_msg("%s", err.message);
    hd_policy_free(&p);
    hd_llama_free(m);
    return c;
}

static void four_bits(hd_layer_policy *p) { p->bits = 4; }
static void ternary(hd_layer_policy *p) { p->bits = 0; }
static void even(hd_layer_policy *p) { p->bits = 3, p->grid = HD_GRID_EVEN; }
static void shifts(hd_layer_policy *p) { p->bits = 3, p->granularity = HD_GRANULARITY_GROUP, p->group_size = 8; }
static void sparse(hd_layer_policy *p) { p->bits = 8, p->sparsity = 0.5f; }
static void blocks(hd_layer_policy *p) { p->bits = 2, p->sparsity = 0.5f, p->structure = HD_SPARSE_BLOCK, p->block_in = 8, p->block_out = 4; }
static void (*const formats[])(hd_layer_policy *) = {four_bits, ternary, even, shifts, sparse, blocks};
enum { FORMATS = sizeof formats / sizeof *formats };

static hd_status plain(void *arg, int run, const int8_t *code, int n, int8_t *out, hd_err *err) {
    const hd_lm_run *r = &((const hd_lm_integer *)arg)->run[run];
    (void)err;
    for (int t = 0; t < n; t++, code += r->in)
        for (int k = 0, channel = 0; k < r->matrices; k++)
            for (int o = 0; o < r->rows[k]; o++, channel++) {
                wide acc = 0;
                for (int i = 0; i < r->in; i++) acc += (wide)r->v[k][o * r->in + i] * code[i];
                wide y = floor_of(acc * r->mult[channel] + two_to(r->shift[channel] - 1), two_to(r->shift[channel]));
                *out++ = (int8_t)(y > 127 ? 127 : y < -128 ? -128 : y);
            }
    return HD_OK;
}

/* All positions of a row, `step` tokens at a time, against logits. */
static void compare(const hd_lm_integer *m, hd_lm_project project, void *arg, int step, const int16_t *row, const wide logits[TOKENS][VOCAB]) {
    hd_lm_state *s;
    hd_err err = {0};
    assert_int_equal(hd_lm_state_new(&s, m, step, project, arg, &err), HD_OK);
    for (int at = 0; at < TOKENS; at += step) {
        const int32_t *got;
        int n = TOKENS - at < step ? TOKENS - at : step, wanted = at ? n : (n + 1) / 2;
        if (hd_lm_state_step(s, row + at, n, at, wanted, &got, &err)) fail_msg("%s", err.message);
        for (int t = 0; t < wanted; t++)
            for (int i = 0; i < VOCAB; i++) assert_int_equal(got[t * VOCAB + i], (int32_t)logits[at + n - wanted + t][i]);
    }
    hd_lm_state_free(s);
}

/* Programs that were shortened are still ones that no device hangs on. */
static void check_shortened(const hd_program *p) {
    size_t bytes = (size_t)p->n_desc * HD_DESC_WORDS * sizeof *p->desc;
    hd_program q = *p;
    hd_err err = {0};
    q.desc = malloc(bytes);
    assert_non_null(q.desc);
    for (uint32_t n = 1; n <= p->input.w; n += 2) {
        memcpy(q.desc, p->desc, bytes);
        hd_program_shorten(q.desc, &q.input, &q.output, p, n);
        assert_int_equal(q.input.w, n);
        if (hd_program_check(&q, &err)) fail_msg("%s, %u positions: %s", p->model, n, err.message);
    }
    free(q.desc);
}

static void executor_and_array_follow_the_page(void **state) {
    static const struct { const char *geometry, *memory; } arrays[] = {{"4x8x8x2", ""}, {"2x4x16x1", "act=64,post=1,fetch=1"}, {"4x8x16x2", "act=128,param=64,residual=0,pool=0,hop=2"},
                                                                       {"4x8x16x2", "act=128,extern=13,mhz=55,stream=32,param=512"}, {"4x8x8x2", "extern=14,mhz=50,stream=64,param=64,descriptors=8"}};
    static wide logits[TOKENS][VOCAB];
    (void)state;
    for (int f = 0; f < FORMATS; f++) {
        hd_lm *c = model(formats[f]);
        hd_lm_integer *m;
        hd_err err = {0};
        if (hd_lm_integer_new(&m, c, &err)) fail_msg("%s", err.message);
        for (int r = 0; r < 2; r++) {
            const int16_t *row = rows() + r * (TOKENS + 1);
            int64_t clips = 0;
            for (int t = 0; t < TOKENS; t++) {
                read_logits(c, row, t + 1, logits[t]);
                for (int i = 0; i < VOCAB; i++) clips += logits[t][i] == 0;
            }
            assert_true(clips < TOKENS * 4); /* the row of zeros and few others: the comparison has something to compare */
            for (int step = 1; step < 9; step += 3) compare(m, plain, m, step, row, logits);
            for (size_t a = 0; a < sizeof arrays / sizeof *arrays && r == 0; a++) {
                hd_geometry g;
                hd_lm_device *d;
                hd_lm_device_use used, want = {0}, part;
                assert_int_equal(hd_geometry_parse(&g, arrays[a].geometry, &err), HD_OK);
                if (*arrays[a].memory) assert_int_equal(hd_geometry_memory(&g, arrays[a].memory, &err), HD_OK);
                if (hd_lm_device_open(&d, m, &g, "", 8, &hd_driver_ref, NULL, &err)) fail_msg("format %d, %s: %s", f, arrays[a].geometry, err.message);
                compare(m, hd_lm_device_project, d, 7, row, logits);
                for (int i = 0; i < m->runs; i++) check_shortened(hd_lm_device_program(d, i));
                for (int at = 0; at < TOKENS; at += 7) {
                    int n = TOKENS - at < 7 ? TOKENS - at : 7;
                    assert_int_equal(hd_lm_device_predict(&part, d, n, at ? n : 4, &err), HD_OK);
                    want.cycles += part.cycles;
                    want.runs += part.runs;
                    want.in_words += part.in_words;
                    want.out_words += part.out_words;
                    want.program_words += part.program_words;
                }
                hd_lm_device_used(&used, d);
                assert_true(used.cycles > 1000);
                assert_int_equal(used.cycles, want.cycles);
                assert_int_equal(used.runs, want.runs);
                assert_int_equal(used.in_words, want.in_words);
                assert_int_equal(used.out_words, want.out_words);
                assert_true(g.extern_log2 || used.program_words <= want.program_words); /* descriptors that stay are written again for another step */
                hd_lm_device_close(d);
            }
        }
        hd_lm_integer_free(m);
        hd_lm_free(c);
    }
}

/* The file keeps what integers need: a loaded model computes the same. */
static void a_file_keeps_the_ranges(void **state) {
    hd_lm *c = model(four_bits), *back;
    hd_lm_integer *m;
    hd_err err = {0};
    char path[] = "/tmp/hlmXXXXXX";
    static wide logits[VOCAB];
    (void)state;
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    assert_int_equal(hd_lm_save(c, path, &err), HD_OK);
    if (hd_lm_load(&back, path, &err)) fail_msg("%s", err.message);
    assert_memory_equal(back->reach, c->reach, hd_lm_reach_size(c->model) * sizeof *c->reach);
    assert_int_equal(hd_lm_integer_new(&m, back, &err), HD_OK);
    hd_lm_state *s;
    const int32_t *got;
    assert_int_equal(hd_lm_state_new(&s, m, TOKENS, plain, m, &err), HD_OK);
    assert_int_equal(hd_lm_state_step(s, rows(), TOKENS, 0, 1, &got, &err), HD_OK);
    read_logits(c, rows(), TOKENS, logits);
    for (int i = 0; i < VOCAB; i++) assert_int_equal(got[i], (int32_t)logits[i]);
    int16_t outside = VOCAB;
    assert_int_equal(hd_lm_state_step(s, &outside, 1, 0, 1, &got, &err), HD_RANGE);
    assert_int_equal(hd_lm_state_step(s, rows(), 2, TOKENS - 1, 1, &got, &err), HD_RANGE);
    hd_lm_state_free(s);
    hd_lm_integer_free(m);
    hd_lm_free(back);
    c->reach[3] = -0.5f;
    assert_int_equal(hd_lm_save(c, path, &err), HD_OK);
    assert_int_equal(hd_lm_load(&back, path, &err), HD_FORMAT);
    assert_non_null(strstr(err.message, "range 3 is -0.5"));
    /* What the array cannot hold is refused by name. */
    free(c->reach);
    c->reach = NULL;
    assert_int_equal(hd_lm_integer_new(&m, c, &err), HD_UNSUPPORTED);
    hd_lm_free(c);
    unlink(path);
}

static void grouped_scales(hd_layer_policy *p) { p->bits = 4, p->granularity = HD_GRANULARITY_GROUP, p->group_size = 8, p->float_scales = 1; }
static void float_values(hd_layer_policy *p) { p->bits = 16, p->sparsity = 0.25f; }

static void what_does_not_fit_is_refused(void **state) {
    static const struct { void (*change)(hd_layer_policy *); const char *why; } bad[] = {{grouped_scales, "layer0.q: a scale, or zero point, for each group of inputs"}, {float_values, "layer0.q: float values"}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hd_lm *c = model(bad[i].change);
        hd_lm_integer *m;
        hd_err err = {0};
        assert_int_equal(hd_lm_integer_new(&m, c, &err), HD_UNSUPPORTED);
        assert_non_null(strstr(err.message, bad[i].why));
        hd_lm_free(c);
    }
}

/* ---- functions ---- */

static void functions_are_close_to_the_real_ones(void **state) {
    hd_rng rng;
    int32_t c, t;
    hd_rng_seed(&rng, 3, 1);
    (void)state;
    assert_int_equal(hd_fixed_exp(0), HD_EXP_ONE);
    for (int i = 0; i < 20000; i++) {
        int64_t d = (int64_t)(((uint64_t)hd_rng_u32(&rng) << 3) >> hd_rng_below(&rng, 30));
        double want = exp(-(double)d / 0x1p30), got = hd_fixed_exp(d) / 0x1p30;
        assert_true(fabs(got - want) < 3e-9);
        assert_int_equal(hd_fixed_exp(d), (uint32_t)exp30(d));
        uint64_t x = (UINT64_C(1) << 30) + ((uint64_t)hd_rng_u32(&rng) << hd_rng_below(&rng, 20));
        assert_true(fabs((double)hd_fixed_log(x) / 0x1p30 - log((double)x / 0x1p30)) < 2e-8);
        assert_int_equal(hd_fixed_log(x), (int64_t)log30(x));
        int32_t s = (int32_t)hd_rng_u32(&rng) >> hd_rng_below(&rng, 20);
        assert_true(fabs((double)hd_fixed_sigmoid(s) / 0x1p30 - 1 / (1 + exp(-s / 65536.0))) < 4e-9);
        int position = (int)hd_rng_below(&rng, 32768), head = 2 * (int)(1 + hd_rng_below(&rng, 64)), pair = (int)hd_rng_below(&rng, (uint32_t)head / 2);
        hd_fixed_rotation(&c, &t, position, pair, head);
        double angle = position * pow(10000, -2.0 * pair / head);
        assert_true(fabs(c / 0x1p30 - cos(angle)) < 1e-4 && fabs(t / 0x1p30 - sin(angle)) < 1e-4); /* 2^-31 of the angle's rate at position 32,767, and more at rates near 1 */
        assert_true(fabs((double)c * c + (double)t * t - 0x1p60) < 0x1p60 * 1e-8);
    }
    hd_fixed_rotation(&c, &t, 0, 0, 8);
    assert_true(c == 1 << 30 && t == 0);
}

static void losses_and_draws(void **state) {
    int32_t logits[VOCAB];
    hd_rng rng;
    double sum = 0, weight[VOCAB];
    int count[VOCAB] = {0}, draws = 40000;
    (void)state;
    hd_rng_seed(&rng, 12, 1);
    for (int i = 0; i < VOCAB; i++) logits[i] = (int32_t)(65536 * 1.5 * (double)hd_rng_normal(&rng));
    logits[3] = logits[7];
    for (int i = 0; i < VOCAB; i++) sum += exp(logits[i] / 65536.0);
    for (int i = 0; i < VOCAB; i++) assert_true(fabs((double)hd_lm_nats(logits, VOCAB, i) / 0x1p30 - (log(sum) - logits[i] / 65536.0)) < 1e-7);
    int top = 0;
    for (int i = 0; i < VOCAB; i++) top = logits[i] > logits[top] ? i : top;
    wide terms = 0;
    for (int i = 0; i < VOCAB; i++) terms += exp30((wide)(logits[top] - logits[i]) * two_to(14));
    assert_int_equal(hd_lm_nats(logits, VOCAB, 5), (int64_t)((wide)(logits[top] - logits[5]) * two_to(14) + log30(terms)));
    assert_int_equal(hd_lm_sample(logits, VOCAB, 0, 0, &rng), top);
    assert_int_equal(hd_lm_sample(logits, VOCAB, 65536, 0, &rng), top);
    /* All tokens at temperature 2. */
    sum = 0;
    for (int i = 0; i < VOCAB; i++) sum += weight[i] = exp(logits[i] / 131072.0);
    for (int i = 0; i < draws; i++) count[hd_lm_sample(logits, VOCAB, 131072, 65536, &rng)]++;
    for (int i = 0; i < VOCAB; i++) {
        double p = weight[i] / sum;
        assert_true(fabs(count[i] - p * draws) < 5 * sqrt(p * draws) + 5);
    }
    /* The likeliest that reach half: no other comes. */
    double kept = 0;
    int in[VOCAB] = {0};
    while (kept <= 0.5 * sum) {
        int best = -1;
        for (int i = 0; i < VOCAB; i++)
            if (!in[i] && (best < 0 || logits[i] > logits[best])) best = i;
        for (int i = 0; i < VOCAB; i++)
            if (logits[i] == logits[best]) in[i] = 1, kept += weight[i];
    }
    for (int i = 0; i < 4000; i++) assert_true(in[hd_lm_sample(logits, VOCAB, 131072, 32768, &rng)]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(executor_and_array_follow_the_page), cmocka_unit_test(a_file_keeps_the_ranges), cmocka_unit_test(what_does_not_fit_is_refused),
                                       cmocka_unit_test(functions_are_close_to_the_real_ones), cmocka_unit_test(losses_and_draws)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
