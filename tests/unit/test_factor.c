/* Factorisations of kernels: against textbook compositions, singular values, planted ranks and exhaustive choices. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lapacke.h>

#include "../../compiler/compress/factor.h"
#include "../../sw/core/rng.h"

static const hd_factoring KINDS[] = {HD_FACTOR_SVD, HD_FACTOR_TUCKER, HD_FACTOR_CP, HD_FACTOR_TRAIN};

static double *random_numbers(size_t n, uint64_t seed) {
    double *x = malloc(n * sizeof *x);
    hd_rng r;
    hd_rng_seed(&r, seed, 31);
    for (size_t i = 0; i < n; i++) x[i] = (double)hd_rng_normal(&r);
    return x;
}

/* 2 X X^T / n of correlated inputs, some of them much larger than others. */
static double *skewed_moment(int in, uint64_t seed) {
    size_t n = (size_t)in;
    double *m = random_numbers(n * n, seed), *h = calloc(n * n, sizeof *h);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t k = 0; k < n; k++) h[i * n + j] += 2.0 / in * m[i * n + k] * m[j * n + k] * pow(0.95, (double)(i + j));
    for (size_t i = 0; i < n; i++) h[i * n + i] += 1e-3;
    free(m);
    return h;
}

static hd_kernel kernel(int out, int in, int kh, int kw, const double *w, const double *h) {
    return (hd_kernel){.name = "k", .out = out, .in = in, .kh = kh, .kw = kw, .w = w, .h = h};
}
static size_t size_of(const hd_kernel *k) { return (size_t)(k->out * k->in * k->kh * k->kw); }

static hd_chain made(const hd_kernel *k, hd_factoring kind, int a, int b, int c) {
    hd_chain out;
    hd_err err = {0};
    if (hd_factor_ranks(&out, k, kind, (const int[3]){a, b, c}, &err)) fail_msg("%s", err.message);
    return out;
}
static hd_chain shared(const hd_kernel *k, hd_factoring kind, double share) {
    hd_chain out;
    hd_err err = {0};
    if (hd_factor_share(&out, k, kind, share, &err)) fail_msg("%s", err.message);
    return out;
}

static double chain_error(const hd_kernel *k, const hd_chain *c) {
    double *w = malloc(size_of(k) * sizeof *w);
    assert_true(hd_chain_kernel(w, c));
    double e = hd_kernel_error(k, w);
    free(w);
    return e;
}
static double energy(const hd_kernel *k) { return hd_kernel_error(k, NULL); }

/* Runs the chain as convolutions over a plane with one pixel set: the response is the kernel, turned round. Nothing is shared with
 * hd_chain_kernel but the layout of weights. */
static double response(const hd_chain *c, int oc, int ic, int ky, int kx, int kh, int kw) {
    int side = 2 * (kh > kw ? kh : kw) + 1, n = side * side;
    double *x = calloc((size_t)(c->link[0].cin * n), sizeof *x);
    x[ic * n + ky * side + kx] = 1; /* output position (0, 0) sees it through tap (ky, kx) */
    for (int l = 0; l < c->n; l++) {
        const hd_link *k = &c->link[l];
        double *y = calloc((size_t)(k->cout * n), sizeof *y);
        int per = k->cin / k->groups, each = k->cout / k->groups;
        for (int o = 0; o < k->cout; o++)
            for (int i = 0; i < per; i++)
                for (int py = 0; py < side; py++)
                    for (int px = 0; px < side; px++)
                        for (int a = 0; a < k->kh && py + a < side; a++)
                            for (int b = 0; b < k->kw && px + b < side; b++)
                                y[o * n + py * side + px] += k->w[((o * per + i) * k->kh + a) * k->kw + b] * x[(o / each * per + i) * n + (py + a) * side + px + b];
        free(x);
        x = y;
    }
    double v = x[oc * n];
    free(x);
    return v;
}

/* At full rank every kind gives the kernel back, and its links, run one after the other, are the kernel. */
static void exact_at_full_rank(void **state) {
    (void)state;
    const int shapes[][4] = {{6, 5, 3, 3}, {4, 7, 1, 3}, {7, 4, 3, 1}, {5, 6, 1, 1}, {3, 2, 2, 4}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int metric = 0; metric < 2; metric++)
            for (int kind = 0; kind < 4; kind++) {
                const int *z = shapes[s];
                int in = z[1] * z[2] * z[3];
                double *w = random_numbers((size_t)(z[0] * in), s), *h = metric ? skewed_moment(in, s + 9) : NULL;
                hd_kernel k = kernel(z[0], z[1], z[2], z[3], w, h);
                /* CP of a kernel needs at most the product of all sizes but the largest. */
                int full = KINDS[kind] == HD_FACTOR_CP ? in * z[0] / (z[0] > z[1] ? z[0] : z[1]) : 1000;
                hd_chain c = made(&k, KINDS[kind], full, 1000, 1000);
                double *got = malloc(size_of(&k) * sizeof *got);
                assert_true(hd_chain_kernel(got, &c));
                for (int i = 0; i < z[0] * in; i++) {
                    assert_true(fabs(got[i] - w[i]) < 1e-4);
                    double r = response(&c, i / in, i % in / (z[2] * z[3]), i / z[3] % z[2], i % z[3], z[2], z[3]);
                    assert_true(fabs(got[i] - r) < 1e-9);
                }
                int ys = 0, xs = 0;
                for (int i = 0; i < c.n; i++) {
                    ys += c.link[i].along_y;
                    xs += c.link[i].along_x;
                    assert_true(c.link[i].along_y || c.link[i].kh == 1);
                    assert_true(c.link[i].along_x || c.link[i].kw == 1);
                }
                assert_int_equal(ys, 1);
                assert_int_equal(xs, 1);
                free(got);
                hd_chain_free(&c);
                free(w);
                free(h);
            }
}

/* A mode has no more directions than the other's rank and the taps leave it: what is more would be stored for nothing. */
static void ranks_that_can_be(void **state) {
    (void)state;
    double *w = random_numbers(20 * 18 * 3, 5);
    hd_kernel k = kernel(20, 18, 1, 3, w, NULL);
    static const int asked[][4] = {{1, 1000, 1, 3}, {1000, 2, 6, 2}, {2, 4, 2, 4}, {1000, 1000, 18, 20}};
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        hd_chain c = made(&k, HD_FACTOR_TUCKER, asked[i][0], asked[i][1], 0);
        assert_int_equal(c.n, 3);
        assert_int_equal(c.link[0].cout, asked[i][2]);
        assert_int_equal(c.link[1].cout, asked[i][3]);
        hd_chain_free(&c);
    }
    free(w);
}

/* Eigenvalues of the symmetric A A^T in the metric: W H W^T, by LAPACK's symmetric solver: not the path of the code under test. */
static void svd_error_is_the_tail(void **state) {
    (void)state;
    enum { OUT = 7, IN = 3, TAPS = 4, N = IN * TAPS };
    for (int metric = 0; metric < 2; metric++) {
        double *w = random_numbers(OUT * N, 3), *h = metric ? skewed_moment(N, 4) : NULL, m[OUT * OUT] = {0}, values[OUT];
        for (int a = 0; a < OUT; a++)
            for (int b = 0; b < OUT; b++)
                for (int i = 0; i < N; i++)
                    for (int j = 0; j < N; j++) m[a * OUT + b] += w[a * N + i] * (h ? h[i * N + j] : i == j) * w[b * N + j];
        assert_int_equal(LAPACKE_dsyev(LAPACK_ROW_MAJOR, 'N', 'U', OUT, m, OUT, values), 0);
        hd_kernel k = kernel(OUT, IN, 2, 2, w, h);
        double tail = 0;
        for (int rank = OUT; rank >= 1; rank--) {
            hd_chain c = made(&k, HD_FACTOR_SVD, rank, 0, 0);
            assert_true(fabs(chain_error(&k, &c) - tail) < 1e-9 * energy(&k));
            tail += values[OUT - rank]; /* ascending */
            hd_chain_free(&c);
        }
        free(w);
        free(h);
    }
}

static void metric_beats_plain(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            double *w = random_numbers(12 * 8 * 9, seed), *h = skewed_moment(72, seed + 50);
            hd_kernel aware = kernel(12, 8, 3, 3, w, h), plain = kernel(12, 8, 3, 3, w, NULL);
            hd_chain a = shared(&aware, KINDS[kind], 0.3), b = shared(&plain, KINDS[kind], 0.3);
            assert_true(chain_error(&aware, &a) < 0.8 * chain_error(&aware, &b));
            assert_true(hd_chain_weights(&a) <= (size_t)(0.3 * 12 * 72));
            assert_true(chain_error(&aware, &a) < energy(&aware));
            hd_chain_free(&a);
            hd_chain_free(&b);
            free(w);
            free(h);
        }
}

/* A kernel that a small chain gives is found again by the same kind and ranks, up to rounding. */
static void planted(void **state) {
    (void)state;
    const int ranks[4][3] = {{3, 0, 0}, {3, 4, 0}, {3, 0, 0}, {3, 4, 2}};
    for (int kind = 0; kind < 4; kind++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            double *noise = random_numbers(10 * 8 * 9, seed), *w = malloc(10 * 8 * 9 * sizeof *w);
            hd_kernel from = kernel(10, 8, 3, 3, noise, NULL);
            hd_chain c = made(&from, KINDS[kind], ranks[kind][0], ranks[kind][1], ranks[kind][2]);
            for (int l = 0; l < c.n; l++) {
                size_t n = (size_t)(c.link[l].cout * c.link[l].cin / c.link[l].groups * c.link[l].kh * c.link[l].kw);
                double *fresh = random_numbers(n, seed * 10 + (uint64_t)l);
                memcpy(c.link[l].w, fresh, n * sizeof *fresh);
                free(fresh);
            }
            assert_true(hd_chain_kernel(w, &c));
            hd_chain_free(&c);
            hd_kernel k = kernel(10, 8, 3, 3, w, NULL);
            c = made(&k, KINDS[kind], ranks[kind][0], ranks[kind][1], ranks[kind][2]);
            assert_true(chain_error(&k, &c) < 1e-6 * energy(&k));
            /* and one rank less is not enough */
            hd_chain less = made(&k, KINDS[kind], ranks[kind][0] - 1, ranks[kind][1], ranks[kind][2]);
            assert_true(chain_error(&k, &less) > 1e-3 * energy(&k));
            hd_chain_free(&less);
            hd_chain_free(&c);
            free(noise);
            free(w);
        }
}

static void monotone_in_rank(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        double *w = random_numbers(10 * 6 * 9, 8), *h = skewed_moment(54, 9);
        hd_kernel k = kernel(10, 6, 3, 3, w, h);
        double before = energy(&k);
        for (double share = 0.1; share < 1; share += 0.2) {
            hd_chain c = shared(&k, KINDS[kind], share);
            double e = chain_error(&k, &c);
            assert_true(e < before);
            before = e;
            hd_chain_free(&c);
        }
        free(w);
        free(h);
    }
}

/* Rank one of a 2 x 2 kernel mode: the best direction by trying all of them. Tucker-2 with ranks (1, 1) of a 2-channel kernel is w ~ core u v^T, so for
 * all angles of u and v the optimal core is the projection. */
static void tucker_finds_the_best_of_all_angles(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        double *w = random_numbers(2 * 2 * 3, seed), best = 1e9;
        hd_kernel k = kernel(2, 2, 1, 3, w, NULL);
        for (int a = 0; a < 720; a++)
            for (int b = 0; b < 720; b++) {
                double u[2] = {cos(a * M_PI / 720), sin(a * M_PI / 720)}, v[2] = {cos(b * M_PI / 720), sin(b * M_PI / 720)}, kept = 0;
                for (int t = 0; t < 3; t++) {
                    double core = 0;
                    for (int o = 0; o < 2; o++)
                        for (int i = 0; i < 2; i++) core += u[o] * v[i] * w[(o * 2 + i) * 3 + t];
                    kept += core * core;
                }
                best = fmin(best, energy(&k) - kept);
            }
        hd_chain c = made(&k, HD_FACTOR_TUCKER, 1, 1, 0);
        double e = chain_error(&k, &c);
        assert_true(e < best + 1e-3 * energy(&k));
        assert_true(e > best - 1e-3 * energy(&k));
        hd_chain_free(&c);
        free(w);
    }
}

/* TT-SVD's bound: the error is at most the sum of the tails of the three unfoldings, and at least each of them. */
static void train_keeps_its_bound(void **state) {
    (void)state;
    enum { OUT = 5, IN = 4, KH = 3, KW = 2, N = OUT * IN * KH * KW };
    double *w = random_numbers(N, 12), all = 0, largest = 0;
    const int rank[3] = {3, 4, 3}, rows[3] = {IN, IN * KH, IN * KH * KW};
    for (int cut = 0; cut < 3; cut++) {
        int m = rows[cut], n = N / m, least = m < n ? m : n;
        double a[N], s[N], tail = 0;
        for (int i = 0; i < N; i++) { /* [in][kh][kw][out] is the order of a train */
            int oc = i % OUT, rest = i / OUT;
            a[i] = w[oc * IN * KH * KW + rest];
        }
        assert_int_equal(LAPACKE_dgesvd(LAPACK_ROW_MAJOR, 'N', 'N', m, n, a, n, s, NULL, 1, NULL, 1, (double[N]){0}), 0);
        for (int i = rank[cut]; i < least; i++) tail += s[i] * s[i];
        all += tail;
        largest = fmax(largest, tail);
    }
    hd_kernel k = kernel(OUT, IN, KH, KW, w, NULL);
    hd_chain c = made(&k, HD_FACTOR_TRAIN, rank[0], rank[1], rank[2]);
    double e = chain_error(&k, &c);
    assert_true(e <= all * (1 + 1e-9));
    assert_true(e >= largest * (1 - 1e-9));
    hd_chain_free(&c);
    free(w);
}

/* Refinement lowers E, and at its fixed point no link alone can do better: moving any weight either way raises E. */
static void refinement_settles(void **state) {
    (void)state;
    for (int kind = 1; kind < 4; kind++) {
        double *w = random_numbers(4 * 3 * 9, 21), *h = skewed_moment(27, 22);
        hd_kernel k = kernel(4, 3, 3, 3, w, h);
        hd_chain c = made(&k, KINDS[kind], 2, 2, 2);
        hd_err err = {0};
        double first = chain_error(&k, &c);
        assert_int_equal(hd_chain_refine(&c, &k, 400, &err), HD_OK);
        double last = chain_error(&k, &c);
        assert_true(last < 0.98 * first);
        for (int l = 0; l < c.n; l++)
            for (int i = 0; i < c.link[l].cout * c.link[l].cin / c.link[l].groups * c.link[l].kh * c.link[l].kw; i++)
                for (int side = -1; side <= 1; side += 2) {
                    double old = c.link[l].w[i];
                    c.link[l].w[i] = old + side * 0.01;
                    assert_true(chain_error(&k, &c) > last - 1e-4 * last);
                    c.link[l].w[i] = old;
                }
        hd_chain_free(&c);
        free(w);
        free(h);
    }
}

static void balance_evens_channels(void **state) {
    (void)state;
    double *w = random_numbers(8 * 6 * 9, 31), *h = skewed_moment(54, 32);
    hd_kernel k = kernel(8, 6, 3, 3, w, h);
    for (int kind = 0; kind < 4; kind++) {
        hd_chain c = made(&k, KINDS[kind], 4, 4, 4);
        hd_err err = {0};
        double before = chain_error(&k, &c);
        assert_int_equal(hd_chain_balance(&c, &k, &err), HD_OK);
        assert_true(fabs(chain_error(&k, &c) - before) < 1e-9 * energy(&k));
        /* The first link's channels: w H w^T = 1, with a single tap standing in the middle of the window. */
        const hd_link *l = &c.link[0];
        for (int r = 0; r < l->cout; r++) {
            double sum = 0;
            int taps = l->kh * l->kw, n = l->cin * taps;
            for (int i = 0; i < n; i++)
                for (int j = 0; j < n; j++) {
                    int a = taps == 9 ? i : i * 9 + 4, b = taps == 9 ? j : j * 9 + 4;
                    sum += l->w[r * n + i] * l->w[r * n + j] * h[a * 54 + b];
                }
            assert_true(fabs(sum - 1) < 1e-9);
        }
        hd_chain_free(&c);
    }
    free(w);
    free(h);
}

static void same_on_any_threads(void **state) {
    (void)state;
    double *w = random_numbers(12 * 8 * 9, 41), *h = skewed_moment(72, 42);
    hd_kernel k = kernel(12, 8, 3, 3, w, h);
    int threads = omp_get_max_threads();
    for (int kind = 0; kind < 4; kind++) {
        omp_set_num_threads(1);
        hd_chain a = shared(&k, KINDS[kind], 0.4);
        omp_set_num_threads(3);
        hd_chain b = shared(&k, KINDS[kind], 0.4);
        omp_set_num_threads(threads);
        assert_int_equal(a.n, b.n);
        for (int l = 0; l < a.n; l++)
            assert_memory_equal(a.link[l].w, b.link[l].w, (size_t)(a.link[l].cout * a.link[l].cin / a.link[l].groups * a.link[l].kh * a.link[l].kw) * sizeof(double));
        hd_chain_free(&a);
        hd_chain_free(&b);
    }
    free(w);
    free(h);
}

static void refused(void **state) {
    (void)state;
    double w[4] = {1, 2, 3, 4}, h[4] = {1, 2, 2, 1}, bad[4] = {1, NAN, 3, 4};
    hd_kernel k = kernel(2, 2, 1, 1, w, h);
    hd_chain c;
    hd_err err = {0};
    assert_int_equal(hd_factor_share(&c, &k, HD_FACTOR_SVD, 0.9, &err), HD_RANGE);
    assert_string_equal(err.message, "layer 'k': the second moment of its inputs is not positive definite (column 2); more damping is needed");
    k.h = NULL;
    assert_int_equal(hd_factor_ranks(&c, &k, HD_FACTOR_SVD, (const int[3]){0, 1, 1}, &err), HD_RANGE);
    assert_string_equal(err.message, "layer 'k': rank 0; at least 1");
    k.kh = 0;
    assert_int_equal(hd_factor_ranks(&c, &k, HD_FACTOR_SVD, (const int[3]){1, 1, 1}, &err), HD_RANGE);
    assert_string_equal(err.message, "layer 'k': kernel 2 x 2 x 0 x 1; sizes are at least 1");
    k.kh = 1;
    assert_int_equal(hd_factor_share(&c, &k, HD_FACTOR_SVD, 0, &err), HD_RANGE);
    assert_int_equal(hd_factor_share(&c, &k, HD_FACTOR_NONE, 1, &err), HD_RANGE);
    k.w = bad;
    assert_int_equal(hd_factor_share(&c, &k, HD_FACTOR_SVD, 1, &err), HD_RANGE);
    assert_string_equal(err.message, "layer 'k': weight 1 is not finite");
    assert_int_equal(c.n, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_at_full_rank), cmocka_unit_test(ranks_that_can_be), cmocka_unit_test(svd_error_is_the_tail), cmocka_unit_test(metric_beats_plain),
        cmocka_unit_test(planted), cmocka_unit_test(monotone_in_rank), cmocka_unit_test(tucker_finds_the_best_of_all_angles),
        cmocka_unit_test(train_keeps_its_bound), cmocka_unit_test(refinement_settles), cmocka_unit_test(balance_evens_channels),
        cmocka_unit_test(same_on_any_threads), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
