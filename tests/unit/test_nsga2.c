/* Fronts against their definition, crowding against a worked example, and the search against a grid whose front is known by trying all of it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/rng.h"
#include "../../sw/explore/nsga2.h"

/* The definition: take away what nobody left dominates, again and again. */
static void peel(int *rank, const double *v, int n, int m) {
    for (int i = 0; i < n; i++) rank[i] = -1;
    for (int front = 0, left = n; left; front++) {
        int now[200];
        for (int i = 0; i < n; i++) {
            now[i] = rank[i] < 0;
            for (int j = 0; j < n && now[i]; j++) {
                if (rank[j] >= 0) continue;
                int worse = 0, better = 0;
                for (int k = 0; k < m; k++) {
                    worse += v[j * m + k] > v[i * m + k];
                    better += v[j * m + k] < v[i * m + k];
                }
                if (!worse && better) now[i] = 0;
            }
        }
        for (int i = 0; i < n; i++)
            if (now[i]) rank[i] = front, left--;
    }
}

static void ranks_are_those_of_the_definition(void **state) {
    (void)state;
    hd_rng rng;
    hd_rng_seed(&rng, 5, 5);
    for (int round = 0; round < 60; round++) {
        double v[200 * 3];
        int n = 1 + (int)hd_rng_below(&rng, 200), m = 1 + (int)hd_rng_below(&rng, 3), rank[200], want[200];
        /* Few values, so that many are equal. */
        for (int i = 0; i < n * m; i++) v[i] = hd_rng_below(&rng, 20) ? (double)hd_rng_below(&rng, 12) : (double)INFINITY;
        assert_int_equal(hd_pareto_rank(rank, v, n, m, NULL), HD_OK);
        peel(want, v, n, m);
        for (int i = 0; i < n; i++) assert_int_equal(rank[i], want[i]);
    }
}

static void crowding_is_the_sum_of_the_neighbours_distances(void **state) {
    (void)state;
    /* One front of four: the ends are kept, the inner ones have (3-0)/4 + (9-2)/10 and (4-1)/4 + (4-0)/10. */
    const double v[] = {0, 10, 1, 9, 3, 4, 4, 0};
    const int rank[] = {0, 0, 0, 0};
    double d[4];
    assert_int_equal(hd_crowding(d, rank, v, 4, 2, NULL), HD_OK);
    assert_true(isinf(d[0]) && isinf(d[3]));
    assert_true(fabs(d[1] - (3.0 / 4 + 6.0 / 10)) < 1e-12);
    assert_true(fabs(d[2] - (3.0 / 4 + 9.0 / 10)) < 1e-12);
    /* Points of other fronts do not count. */
    const int apart[] = {0, 1, 0, 0};
    assert_int_equal(hd_crowding(d, apart, v, 4, 2, NULL), HD_OK);
    assert_true(isinf(d[1]) && fabs(d[2] - (4.0 / 4 + 10.0 / 10)) < 1e-12);
}

/* ---- the search ---- */

enum { SIDE = 24 };

typedef struct trial {
    char seen[SIDE][SIDE];
    int different;
    uint64_t trace; /* of what was asked for, in order */
} trial;

/* Two objectives that pull apart, with a strip that cannot be built. */
static void objectives(double v[2], int a, int b) {
    double x = a / (double)(SIDE - 1), y = b / (double)(SIDE - 1);
    v[0] = x + 0.1 * fabs(y - 0.3);
    v[1] = (1 - x) * (1 - x) + fabs(y - 0.3);
    if (a >= 9 && a <= 10) v[0] = v[1] = INFINITY;
}

static hd_status evaluate(void *arg, const int (*gene)[HD_GENES], int count, double *v, hd_err *err) {
    trial *t = arg;
    (void)err;
    for (int i = 0; i < count; i++) {
        int a = gene[i][0], b = gene[i][2];
        assert_true(a >= 0 && a < SIDE && b >= 0 && b < SIDE && gene[i][1] == 0);
        t->different += !t->seen[a][b];
        t->seen[a][b] = 1;
        t->trace = t->trace * 31 + (uint64_t)(a * SIDE + b);
        objectives(v + 2 * i, a, b);
    }
    return HD_OK;
}

static void search(trial *t, uint64_t seed) {
    const hd_nsga2 o = {.genes = 3, .values = {SIDE, 1, SIDE}, .objectives = 2, .population = 24, .generations = 12, .seed = seed, .evaluate = evaluate, .arg = t};
    *t = (trial){0};
    assert_int_equal(hd_nsga2_run(&o, NULL), HD_OK);
}

static void the_search_finds_the_front_without_trying_all(void **state) {
    (void)state;
    static double v[SIDE * SIDE * 2];
    static int rank[SIDE * SIDE];
    for (int a = 0; a < SIDE; a++)
        for (int b = 0; b < SIDE; b++) objectives(v + 2 * (a * SIDE + b), a, b);
    assert_int_equal(hd_pareto_rank(rank, v, SIDE * SIDE, 2, NULL), HD_OK);
    for (uint64_t seed = 1; seed <= 5; seed++) {
        trial t;
        search(&t, seed);
        int front = 0, found = 0;
        for (int i = 0; i < SIDE * SIDE; i++) {
            if (rank[i]) continue;
            front++;
            found += t.seen[i / SIDE][i % SIDE];
        }
        assert_true(front >= 10);
        /* Drawing as many points blindly would find this share of the grid: at most 44%. */
        if (found < 0.75 * front) fail_msg("seed %d: %d of the front's %d points found, %d tried", (int)seed, found, front, t.different);
        if (t.different > SIDE * SIDE * 45 / 100) fail_msg("seed %d: %d points tried", (int)seed, t.different);
    }
}

static void the_same_seed_searches_the_same_way(void **state) {
    (void)state;
    trial a, b, c;
    search(&a, 7);
    search(&b, 7);
    search(&c, 8);
    assert_true(a.trace == b.trace);
    assert_true(a.trace != c.trace);
}

static hd_status refuse(void *arg, const int (*gene)[HD_GENES], int count, double *v, hd_err *err) {
    (void)gene, (void)count, (void)v;
    return ++*(int *)arg == 3 ? hd_fail(err, HD_INTERRUPTED, "stopped") : (memset(v, 0, sizeof *v * 2 * (size_t)count), HD_OK);
}

static void a_failure_ends_the_search(void **state) {
    (void)state;
    int calls = 0;
    const hd_nsga2 o = {.genes = 1, .values = {9}, .objectives = 2, .population = 4, .generations = 100, .seed = 1, .evaluate = refuse, .arg = &calls};
    assert_int_equal(hd_nsga2_run(&o, NULL), HD_INTERRUPTED);
    assert_int_equal(calls, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_are_those_of_the_definition),
        cmocka_unit_test(crowding_is_the_sum_of_the_neighbours_distances),
        cmocka_unit_test(the_search_finds_the_front_without_trying_all),
        cmocka_unit_test(the_same_seed_searches_the_same_way),
        cmocka_unit_test(a_failure_ends_the_search),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
