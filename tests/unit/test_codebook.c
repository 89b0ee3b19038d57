/* Tables, additive codebooks and trellises: searches against enumeration, least squares against single moves, what is stored against
 * what it decodes to, and quality against rounding to nearest at the same bits. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../compiler/compress/codebook_internal.h"
#include "../../sw/core/rng.h"

/* Normal weights (rows of different size) and inputs that share a few strong directions, as activations do. */
typedef struct problem {
    hd_linear p;
    float *w;
    double *h;
} problem;

static problem make_problem(int out, int in, uint64_t seed) {
    problem q = {.w = malloc((size_t)(out * in) * sizeof(float)), .h = calloc((size_t)(in * in), sizeof(double))};
    hd_rng rng;
    hd_rng_seed(&rng, seed, 5);
    for (int r = 0; r < out; r++)
        for (int i = 0; i < in; i++) q.w[r * in + i] = 0.02f * (float)(1 + r % 5) * hd_rng_normal(&rng);
    float *mix = malloc((size_t)(in * in) * sizeof *mix), *x = malloc((size_t)in * sizeof *x);
    for (int i = 0; i < in * in; i++) mix[i] = hd_rng_normal(&rng) / sqrtf((float)(1 + i / in));
    for (int n = 0; n < 8 * in; n++) {
        memset(x, 0, (size_t)in * sizeof *x);
        for (int k = 0; k < in; k++) {
            float z = hd_rng_normal(&rng);
            for (int i = 0; i < in; i++) x[i] += z * mix[k * in + i];
        }
        for (int i = 0; i < in; i++)
            for (int j = 0; j < in; j++) q.h[i * in + j] += 2.0 * (double)x[i] * (double)x[j] / (8.0 * in);
    }
    free(mix);
    free(x);
    q.p = (hd_linear){.name = "test", .out = out, .in = in, .w = q.w, .h = q.h};
    return q;
}

static void free_problem(problem *q) {
    free(q->w);
    free(q->h);
}

static hd_codebook *new_codebook(int group, int books, int bits, int window, int planes) {
    hd_codebook *c;
    hd_err err = {0};
    if (hd_codebook_new(&c, group, books, bits, window, planes, 3, &err)) fail_msg("%s", err.message);
    return c;
}

static double tuned_error(const hd_linear *p, hd_codebook *c, const hd_codebook_options *o, hd_codebook_result *r) {
    hd_err err = {0};
    if (hd_codebook_fit(c, p, 1, o, NULL, &err) || hd_codebook_solve(r, p, c, o, &err)) fail_msg("%s", err.message);
    return r->linear.error / r->linear.reference;
}

static const struct { int group, books, bits, window, planes; } SHAPES[] = {
    {1, 1, 4, 4, 4}, {4, 1, 8, 8, 4}, {2, 1, 4, 4, 5}, {8, 2, 6, 6, 4}, {3, 4, 3, 3, 2}, {1, 1, 2, 8, 4}, {2, 1, 4, 8, 4}, {5, 1, 12, 12, 8}};
enum { COUNT = sizeof SHAPES / sizeof *SHAPES };

/* ---- what is stored ---- */

static void stored_codes_decode_to_the_result(void **state) {
    (void)state;
    problem q = make_problem(9, 22, 1);
    hd_codebook_options o;
    hd_codebook_defaults(&o);
    for (int k = 0; k < COUNT; k++) {
        hd_codebook *c = new_codebook(SHAPES[k].group, SHAPES[k].books, SHAPES[k].bits, SHAPES[k].window, SHAPES[k].planes);
        hd_err err = {0};
        hd_codebook_result r;
        assert_int_equal(hd_codebook_solve(&r, &q.p, c, &o, &err), HD_OK);
        int groups = (22 + c->group - 1) / c->group, top = (1 << c->planes) - 1;
        assert_int_equal(r.groups, groups);
        for (int i = 0; i < 9 * groups * c->books; i++) assert_true(r.code[i] < 1 << c->bits);
        for (int i = 0; i < c->books * (1 << c->window) * c->group; i++) assert_true((c->entry[i] & 1) && abs(c->entry[i]) <= top);
        /* read the codes the way a decoder does: one after the other */
        for (int row = 0; row < 9; row++) {
            unsigned history = 0;
            assert_true(r.scale_code[row] < 64);
            assert_true(r.linear.scale[row] == (float)exp2(r.scale_base + r.scale_code[row] / 8.0));
            for (int i = 0; i < 22; i++) {
                const uint16_t *code = r.code + (row * groups + i / c->group) * c->books;
                if (i % c->group == 0) history = history << c->bits | code[0];
                int sum = 0;
                for (int b = 0; b < c->books; b++) {
                    unsigned index = c->window > c->bits ? history % (1u << c->window) : code[b];
                    sum += c->entry[((b << c->window) + (int)index) * c->group + i % c->group];
                }
                assert_int_equal(r.linear.v[row * 22 + i], sum);
                assert_true(r.linear.w[row * 22 + i] == (float)sum * r.linear.scale[row]);
            }
        }
        assert_true(r.linear.bits_stored == 9.0 * groups * c->books * c->bits + 9 * 6 + 16);
        assert_true(hd_codebook_bits(c) == (double)((c->books << c->window) * c->group * c->planes));
        double error = 0;
        for (int row = 0; row < 9; row++)
            for (int i = 0; i < 22; i++)
                for (int j = 0; j < 22; j++)
                    error += q.h[i * 22 + j] * ((double)q.w[row * 22 + i] - (double)r.linear.w[row * 22 + i]) *
                             ((double)q.w[row * 22 + j] - (double)r.linear.w[row * 22 + j]);
        assert_true(fabs(error - r.linear.error) <= 1e-9 * error);
        hd_codebook_result_free(&r);
        hd_codebook_free(c);
    }
    free_problem(&q);
}

/* ---- searches ---- */

typedef struct bench {
    hd_prepared p;
    hd_metric m;
    hd_search *s;
} bench;

static void open_bench(bench *b, const problem *q, const hd_codebook *c, int beam) {
    hd_err err = {0};
    assert_int_equal(hd_prepare(&b->p, &q->p, c, 0.01, &err), HD_OK);
    assert_int_equal(hd_metric_new(&b->m, &b->p, c, &err), HD_OK);
    b->s = hd_search_new(&b->p, c, beam);
    assert_non_null(b->s);
}

static void close_bench(bench *b) {
    hd_search_free(b->s);
    hd_metric_free(&b->m);
    hd_prepared_free(&b->p);
}

/* Table indices of the n-th assignment of codes (a trellis' indices overlap). */
static void assignment(uint16_t *index, const hd_codebook *c, int codes, int n) {
    int history = 0;
    for (int i = 0; i < codes; i++, n >>= c->bits) {
        history = (history << c->bits | (n & ((1 << c->bits) - 1))) & ((1 << c->window) - 1);
        index[i] = (uint16_t)(c->window > c->bits ? history : n & ((1 << c->bits) - 1));
    }
}

/* A beam as wide as the tree is exhaustive, so it finds the best of all code strings; narrower ones never find less. */
static void full_beam_is_exhaustive(void **state) {
    (void)state;
    static const struct { int group, books, bits, window, in; } tiny[] = {{2, 1, 2, 2, 7}, {1, 1, 2, 2, 4}, {3, 2, 2, 2, 5}, {2, 1, 2, 5, 8}, {1, 1, 1, 4, 8}};
    for (size_t k = 0; k < sizeof tiny / sizeof *tiny; k++)
        for (uint64_t seed = 0; seed < 4; seed++) {
            problem q = make_problem(3, tiny[k].in, seed);
            hd_codebook *c = new_codebook(tiny[k].group, tiny[k].books, tiny[k].bits, tiny[k].window, 3);
            bench b;
            open_bench(&b, &q, c, 256);
            int codes = b.p.groups * c->books;
            assert_true(codes * c->bits <= 8);
            for (int row = 0; row < 3; row++) {
                uint16_t index[8], found[8];
                double least = INFINITY, got = hd_search_row(b.s, &b.m, row, 0.02f, 256, found);
                for (int n = 0; n < 1 << (codes * c->bits); n++) {
                    assignment(index, c, codes, n);
                    least = fmin(least, hd_row_error(b.s, row, 0.02f, index));
                }
                assert_true(fabs(got - least) <= 1e-5 * least);
                assert_true(fabs(hd_row_error(b.s, row, 0.02f, found) - got) <= 1e-12 * got);
                for (int beam = 1; beam < 256; beam *= 4) assert_true(hd_search_row(b.s, &b.m, row, 0.02f, beam, found) >= least * (1 - 1e-5));
            }
            close_bench(&b);
            hd_codebook_free(c);
            free_problem(&q);
        }
}

static void wide_beams_beat_greedy(void **state) {
    (void)state;
    problem q = make_problem(40, 48, 7);
    for (int k = 1; k < 7; k++) {
        if (SHAPES[k].books > 2) continue; /* four random tables of two levels: the first choices say little about the sum */
        hd_codebook *c = new_codebook(SHAPES[k].group, SHAPES[k].books, SHAPES[k].bits, SHAPES[k].window, SHAPES[k].planes);
        bench b;
        open_bench(&b, &q, c, 32);
        double total[3] = {0};
        float scale = 0.06f * 2.7f / ((float)((1 << c->planes) - 1) * sqrtf((float)c->books));
        uint16_t index[256];
        for (int i = 0; i < 3; i++)
            for (int row = 0; row < 40; row++) total[i] += hd_search_row(b.s, &b.m, row, scale, i == 0 ? 1 : i == 1 ? 4 : 32, index);
        assert_true(total[1] < 0.9 * total[0] && total[2] < 0.9 * total[1]);
        close_bench(&b);
        hd_codebook_free(c);
    }
    free_problem(&q);
}

static void descent_ends_where_no_code_helps(void **state) {
    (void)state;
    problem q = make_problem(12, 22, 4);
    for (int k = 0; k < 5; k++) {
        hd_codebook *c = new_codebook(SHAPES[k].group, SHAPES[k].books, SHAPES[k].bits, SHAPES[k].window, SHAPES[k].planes);
        bench b;
        open_bench(&b, &q, c, 4);
        int codes = b.p.groups * c->books, moved = 0;
        for (int row = 0; row < 12; row++) {
            uint16_t index[64] = {0};
            double before = row % 2 ? hd_row_error(b.s, row, 0.015f, index) : hd_search_row(b.s, &b.m, row, 0.015f, 4, index);
            double last = before;
            for (int sweep = 0; sweep < 30; sweep++) {
                double now = hd_descend_row(b.s, &b.m, row, 0.015f, 1, index);
                assert_true(now <= last * (1 + 1e-9));
                last = now;
            }
            moved += last < before;
            for (int i = 0; i < codes; i++) {
                uint16_t was = index[i];
                for (int e = 0; e < 1 << c->bits; e++) {
                    index[i] = (uint16_t)e;
                    assert_true(hd_row_error(b.s, row, 0.015f, index) >= last * (1 - 1e-5));
                }
                index[i] = was;
            }
            /* the scale in closed form is the minimum of a parabola */
            double scale = hd_best_scale(b.s, row, index);
            double at = hd_row_error(b.s, row, (float)scale, index);
            assert_true(at <= hd_row_error(b.s, row, (float)(scale * 1.01), index) && at <= hd_row_error(b.s, row, (float)(scale * 0.99), index));
        }
        assert_true(moved >= 6);
        close_bench(&b);
        hd_codebook_free(c);
    }
    free_problem(&q);
}

/* ---- tables ---- */

static double total_error(bench *b, uint16_t *index, const uint8_t *scale, int base, int codes) {
    double sum = 0;
    for (int row = 0; row < b->p.out; row++) sum += b->p.weight * hd_row_error(b->s, row, hd_scale_value(base, scale[row]), index + row * codes);
    return sum;
}

/* Least squares on the grid: never up, much lower than a random table, and no table integer alone can do better. */
static void refit_never_raises_the_loss(void **state) {
    (void)state;
    problem q = make_problem(60, 24, 9);
    static const struct { int group, books, bits, window; } kinds[] = {{1, 1, 4, 4}, {4, 1, 4, 4}, {4, 2, 3, 3}, {2, 1, 2, 5}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        hd_codebook *c = new_codebook(kinds[k].group, kinds[k].books, kinds[k].bits, kinds[k].window, 6);
        bench b;
        open_bench(&b, &q, c, 4);
        hd_err err = {0};
        hd_codebook_options o;
        hd_codebook_defaults(&o);
        int codes = b.p.groups * c->books, base = hd_scale_base(&b.p, c), size = (c->books << c->window) * c->group;
        uint16_t *index = malloc((size_t)(60 * codes) * sizeof *index);
        uint8_t scale[60];
        double damped;
        assert_int_equal(hd_code_layer(&b.p, c, &o, 0, base, scale, index, &damped, &err), HD_OK);
        double first = total_error(&b, index, scale, base, codes), last = first;
        assert_true(fabs(first - damped * b.p.weight) < 1e-9 * first);
        for (int round = 0; round < 3; round++) {
            assert_int_equal(hd_codebook_refit(c, &b.p, 1, &index, (uint8_t *[]){scale}, &base, &err), HD_OK);
            double now = total_error(&b, index, scale, base, codes);
            assert_true(now <= last * (1 + 1e-9));
            last = now;
        }
        assert_true(last < 0.97 * first);
        for (int i = 0; i < size; i++) {
            int16_t was = c->entry[i];
            for (int to = was - 2; to <= was + 2; to += 4) {
                c->entry[i] = (int16_t)to;
                if (abs(to) <= 63) assert_true(total_error(&b, index, scale, base, codes) >= last * (1 - 1e-9));
            }
            c->entry[i] = was;
        }
        free(index);
        close_bench(&b);
        hd_codebook_free(c);
    }
    free_problem(&q);
}

static void fitting_lowers_the_loss_of_several_layers(void **state) {
    (void)state;
    problem q[3] = {make_problem(30, 24, 1), make_problem(20, 30, 2), make_problem(40, 16, 3)};
    /* one layer a thousand times larger: shares of the loss are relative */
    for (int i = 0; i < 20 * 30; i++) q[1].w[i] *= 1000.0f;
    hd_linear p[3] = {q[0].p, q[1].p, q[2].p};
    hd_codebook_options o;
    hd_codebook_defaults(&o);
    o.fit_rounds = 4;
    for (int trellis = 0; trellis < 2; trellis++) {
        hd_codebook *c = new_codebook(2, 1, 4, trellis ? 7 : 4, 4);
        double loss[5];
        hd_err err = {0};
        assert_int_equal(hd_codebook_fit(c, p, 3, &o, loss, &err), HD_OK);
        assert_true(loss[4] < loss[0] && loss[4] < 0.45);
        for (int i = 0; i < 3; i++) {
            hd_codebook_result r;
            assert_int_equal(hd_codebook_solve(&r, &p[i], c, &o, &err), HD_OK);
            assert_true(r.linear.error < 0.15 * r.linear.reference);
            hd_codebook_result_free(&r);
        }
        hd_codebook_free(c);
    }
    for (int i = 0; i < 3; i++) free_problem(&q[i]);
}

/* ---- the whole method ---- */

static void better_than_rounding(void **state) {
    (void)state;
    problem q = make_problem(96, 64, 11);
    static const struct { int group, books, bits, window, planes, rate; double rtn; } kinds[] = {
        {1, 1, 4, 4, 7, 4, 0.35}, {1, 1, 3, 3, 5, 3, 0.35}, {4, 1, 8, 8, 4, 2, 0.3}, {4, 2, 4, 4, 4, 2, 0.4}, {1, 1, 2, 8, 4, 2, 0.35}, {2, 1, 4, 8, 4, 2, 0.3}};
    double error[6];
    for (int k = 0; k < 6; k++) {
        hd_codebook *c = new_codebook(kinds[k].group, kinds[k].books, kinds[k].bits, kinds[k].window, kinds[k].planes);
        hd_codebook_options o;
        hd_codebook_defaults(&o);
        hd_codebook_result r;
        hd_linear_result rtn;
        hd_err err = {0};
        if (c->window > c->bits) o.beam = 32; /* a trellis branches little: it needs more survivors */
        error[k] = tuned_error(&q.p, c, &o, &r);
        hd_linear_options lo;
        hd_linear_defaults(&lo, HD_METHOD_RTN);
        hd_linear_format f = {.bits = kinds[k].rate, .grid = HD_GRID_ODD};
        assert_int_equal(hd_linear_solve(&rtn, &q.p, &f, &lo, &err), HD_OK);
        /* no more bits than rounding with float16 scales takes, tables apart (they are shared by many layers) */
        assert_true(r.linear.bits_stored <= rtn.bits_stored);
        if (error[k] > kinds[k].rtn * rtn.error / rtn.reference) fail_msg("kind %d: %g against RTN's %g", k, error[k], rtn.error / rtn.reference);
        hd_codebook_result_free(&r);
        hd_linear_result_free(&rtn);
        hd_codebook_free(c);
    }
    free_problem(&q);
}

static void wanted_outputs_are_aimed_at(void **state) {
    (void)state;
    problem q = make_problem(20, 16, 6), other = make_problem(20, 16, 8);
    double yx[20 * 16] = {0};
    for (int r = 0; r < 20; r++)
        for (int i = 0; i < 16; i++)
            for (int j = 0; j < 16; j++) yx[r * 16 + j] += (double)other.w[r * 16 + i] * q.h[i * 16 + j];
    hd_codebook_options o;
    hd_codebook_defaults(&o);
    o.damping = 1e-6;
    hd_linear aimed = q.p, direct = q.p;
    aimed.yx = yx;
    direct.w = other.w;
    hd_codebook *c = new_codebook(2, 1, 6, 6, 4);
    hd_codebook_result a, b;
    hd_err err = {0};
    assert_int_equal(hd_codebook_solve(&a, &aimed, c, &o, &err), HD_OK);
    assert_int_equal(hd_codebook_solve(&b, &direct, c, &o, &err), HD_OK);
    assert_true(fabs(a.linear.error - b.linear.error) < 1e-2 * b.linear.error);
    assert_true(fabs(a.linear.reference - b.linear.reference) < 1e-3 * b.linear.reference);
    hd_codebook_result_free(&a);
    hd_codebook_result_free(&b);
    hd_codebook_free(c);
    free_problem(&q);
    free_problem(&other);
}

static void any_number_of_threads_gives_the_same(void **state) {
    (void)state;
    problem q = make_problem(33, 40, 2);
    uint16_t *first[2] = {NULL, NULL};
    for (int threads = 1; threads <= 4; threads++) {
        omp_set_num_threads(threads);
        for (int trellis = 0; trellis < 2; trellis++) {
            hd_codebook *c = new_codebook(2, 1, 4, trellis ? 7 : 4, 4);
            hd_codebook_options o;
            hd_codebook_defaults(&o);
            hd_codebook_result r;
            tuned_error(&q.p, c, &o, &r);
            if (first[trellis]) assert_memory_equal(first[trellis], r.code, 33 * 20 * sizeof *r.code);
            else {
                first[trellis] = r.code;
                r.code = NULL;
            }
            hd_codebook_result_free(&r);
            hd_codebook_free(c);
        }
    }
    free(first[0]);
    free(first[1]);
    free_problem(&q);
}

static void dead_inputs_cost_nothing(void **state) {
    (void)state;
    problem q = make_problem(8, 12, 3);
    for (int i = 0; i < 12; i++) q.h[5 * 12 + i] = q.h[i * 12 + 5] = 0.0;
    hd_codebook *c = new_codebook(2, 1, 6, 6, 4);
    hd_codebook_options o;
    hd_codebook_defaults(&o);
    hd_codebook_result a, b;
    hd_err err = {0};
    assert_int_equal(hd_codebook_solve(&a, &q.p, c, &o, &err), HD_OK);
    for (int r = 0; r < 8; r++) q.w[r * 12 + 5] = 100.0f;
    assert_int_equal(hd_codebook_solve(&b, &q.p, c, &o, &err), HD_OK);
    assert_memory_equal(a.code, b.code, 8 * 6 * sizeof *a.code);
    assert_true(a.linear.error == b.linear.error);
    hd_codebook_result_free(&a);
    hd_codebook_result_free(&b);
    hd_codebook_free(c);
    free_problem(&q);
}

static void refusals(void **state) {
    (void)state;
    static const struct { int group, books, bits, window, planes; const char *message; } bad[] = {
        {0, 1, 4, 4, 4, "codebook: group 0; allowed 1..8"},    {9, 1, 4, 4, 4, "codebook: group 9; allowed 1..8"},
        {2, 5, 4, 4, 4, "codebook: books 5; allowed 1..4"},    {2, 2, 4, 5, 4, "codebook: books 2; allowed 1..1"},
        {2, 1, 13, 13, 4, "codebook: bits 13; allowed 1..12"}, {2, 1, 4, 3, 4, "codebook: window 3; allowed 4..12"},
        {2, 1, 4, 4, 1, "codebook: planes 1; allowed 2..8"}};
    hd_codebook *c;
    hd_err err = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(hd_codebook_new(&c, bad[i].group, bad[i].books, bad[i].bits, bad[i].window, bad[i].planes, 1, &err), HD_RANGE);
        assert_string_equal(err.message, bad[i].message);
        assert_null(c);
    }
    problem q = make_problem(2, 4, 1);
    hd_codebook_options o;
    hd_codebook_result r;
    c = new_codebook(2, 1, 3, 3, 4);
    hd_codebook_defaults(&o);
    o.beam = 257;
    assert_int_equal(hd_codebook_solve(&r, &q.p, c, &o, &err), HD_RANGE);
    assert_string_equal(err.message, "layer 'test': beam 257; allowed 1..256");
    hd_codebook_defaults(&o);
    o.rounds = 0;
    assert_int_equal(hd_codebook_solve(&r, &q.p, c, &o, &err), HD_RANGE);
    assert_string_equal(err.message, "layer 'test': 0 rounds; at least 1");
    o.fit_rounds = -1;
    assert_int_equal(hd_codebook_fit(c, &q.p, 1, &o, NULL, &err), HD_RANGE);
    assert_string_equal(err.message, "codebook: -1 fit rounds; at least 0");
    hd_codebook_defaults(&o);
    o.damping = 0;
    assert_int_equal(hd_codebook_solve(&r, &q.p, c, &o, &err), HD_RANGE);
    assert_string_equal(err.message, "layer 'test': damping 0; above 0, at most 1e6");
    hd_codebook_defaults(&o);
    memset(q.h, 0, 16 * sizeof *q.h);
    assert_int_equal(hd_codebook_solve(&r, &q.p, c, &o, &err), HD_RANGE);
    assert_string_equal(err.message, "layer 'test': its inputs on the calibration data have a second moment of 0; it must be above 0 and finite");
    q.p.h = NULL;
    q.w[5] = NAN;
    assert_int_equal(hd_codebook_solve(&r, &q.p, c, &o, &err), HD_RANGE);
    assert_string_equal(err.message, "layer 'test': weight [1][1] is not finite");
    assert_int_equal(hd_codebook_fit(c, &q.p, 0, &o, NULL, &err), HD_RANGE);
    assert_string_equal(err.message, "codebook: 0 layers to fit it on; at least 1");
    hd_codebook_free(c);
    c = new_codebook(8, 1, 12, 12, 4);
    assert_int_equal(hd_codebook_fit(c, &q.p, 1, &o, NULL, &err), HD_RANGE);
    assert_string_equal(err.message, "codebook: 32768 table integers to fit; allowed up to 8192");
    hd_codebook_free(c);
    free_problem(&q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_codes_decode_to_the_result),
        cmocka_unit_test(full_beam_is_exhaustive),
        cmocka_unit_test(wide_beams_beat_greedy),
        cmocka_unit_test(descent_ends_where_no_code_helps),
        cmocka_unit_test(refit_never_raises_the_loss),
        cmocka_unit_test(fitting_lowers_the_loss_of_several_layers),
        cmocka_unit_test(better_than_rounding),
        cmocka_unit_test(wanted_outputs_are_aimed_at),
        cmocka_unit_test(any_number_of_threads_gives_the_same),
        cmocka_unit_test(dead_inputs_cost_nothing),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
