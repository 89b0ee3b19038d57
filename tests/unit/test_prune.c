/* Masks of hardware blocks: which blocks stay, go and come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/compress_internal.h"
#include "../../sw/core/rng.h"
#include "../../sw/train/masks.h"
#include "../../sw/train/prune.h"

static hd_rng rng;

static void cubic(void **state) {
    (void)state;
    assert_true(hd_prune_cubic(0.8, 0) == 0);
    assert_true(hd_prune_cubic(0.8, -1) == 0);
    assert_true(hd_prune_cubic(0.8, 1) == 0.8);
    assert_true(hd_prune_cubic(0.8, 7) == 0.8);
    assert_true(fabs(hd_prune_cubic(0.8, 0.5) - 0.7) < 1e-12); /* 0.8 * (1 - 1/8) */
    for (int i = 0; i < 100; i++) assert_true(hd_prune_cubic(0.5, i / 100.0) < hd_prune_cubic(0.5, (i + 1) / 100.0));
}

/* Keeping by the norms of weights in the node's order gives the blocks that one-shot pruning of the stored order keeps. */
static void same_as_oneshot(void **state) {
    (void)state;
    enum { CIN = 10, COUT = 12, TAPS = 4, INPUTS = CIN * TAPS };
    static const int sizes[][2] = {{1, 1}, {4, 8}, {8, 4}, {3, 5}, {16, 16}};
    hd_rng_seed(&rng, 1, 1);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int percent = 10; percent < 100; percent += 20) {
            float node_order[COUT * INPUTS], stored[COUT * INPUTS];
            hd_err err = {0};
            for (int i = 0; i < COUT * INPUTS; i++) {
                node_order[i] = hd_rng_normal(&rng);
                stored[i / INPUTS * INPUTS + i % TAPS * CIN + i % INPUTS / TAPS] = node_order[i];
            }
            hd_fake f = {.cout = COUT, .inputs = INPUTS, .taps = TAPS, .per_tap = CIN, .block_in = (size_t)sizes[k][0], .block_out = (size_t)sizes[k][1]};
            f.in_blocks = TAPS * ((CIN + f.block_in - 1) / f.block_in);
            f.blocks = f.in_blocks * ((COUT + f.block_out - 1) / f.block_out);
            double *norm = calloc(f.blocks, sizeof *norm);
            uint8_t *mine = calloc(f.blocks, 1), *want = calloc(f.blocks, 1);
            assert_true(norm && mine && want);
            size_t keep = 0;
            if (hd_prune_blocks(want, stored, COUT, TAPS, CIN, sizes[k][0], sizes[k][1], (float)percent / 100, &err)) fail_msg("%s", err.message);
            for (size_t b = 0; b < f.blocks; b++) keep += want[b];
            hd_prune_norms(norm, &f, node_order);
            if (hd_prune_keep(mine, norm, f.blocks, keep, &err)) fail_msg("%s", err.message);
            assert_memory_equal(mine, want, f.blocks);
            free(norm);
            free(mine);
            free(want);
        }
}

/* Ties go to the later blocks; 0 and all are legal. */
static void keep_edges(void **state) {
    (void)state;
    double score[5] = {1, 1, 1, 1, 1};
    uint8_t p[5];
    hd_err err = {0};
    assert_int_equal(hd_prune_keep(p, score, 5, 2, &err), HD_OK);
    assert_memory_equal(p, ((uint8_t[]){0, 0, 0, 1, 1}), 5);
    assert_int_equal(hd_prune_keep(p, score, 5, 0, &err), HD_OK);
    assert_memory_equal(p, ((uint8_t[]){0, 0, 0, 0, 0}), 5);
    assert_int_equal(hd_prune_keep(p, score, 5, 5, &err), HD_OK);
    assert_memory_equal(p, ((uint8_t[]){1, 1, 1, 1, 1}), 5);
}

/* By hand: sorted 1 2 3 10; suffix sums 16 15 13 10. A layer that is scaled, and so its norms, has the same scores. */
static void lamp(void **state) {
    (void)state;
    const double norm[4] = {3, 10, 1, 2};
    double score[4], scaled[4], same[4];
    hd_err err = {0};
    assert_int_equal(hd_prune_lamp(score, norm, 4, &err), HD_OK);
    const double want[4] = {3.0 / 13, 1, 1.0 / 16, 2.0 / 15};
    for (int i = 0; i < 4; i++) {
        assert_true(fabs(score[i] - want[i]) < 1e-12);
        scaled[i] = norm[i] * 1024;
    }
    assert_int_equal(hd_prune_lamp(same, scaled, 4, &err), HD_OK);
    for (int i = 0; i < 4; i++) assert_true(fabs(score[i] - same[i]) < 1e-12);
    const double nothing[2] = {0, 0};
    assert_int_equal(hd_prune_lamp(score, nothing, 2, &err), HD_OK);
    assert_true(score[0] == 0 && score[1] == 0);
}

/* One block of two weights and one of a single weight, by hand. */
static void weighted(void **state) {
    (void)state;
    hd_fake f = {.cout = 1, .inputs = 3, .taps = 1, .per_tap = 3, .block_in = 2, .block_out = 1, .in_blocks = 2, .blocks = 2};
    const float w[3] = {1, -2, 3}, fisher[3] = {0.5f, 0.25f, 2};
    double score[2];
    hd_prune_weighted(score, &f, w, fisher);
    assert_true(score[0] == 0.5 + 4 * 0.25 && score[1] == 9 * 2);
    hd_prune_weighted(score, &f, w, NULL);
    assert_true(score[0] == 5 && score[1] == 9);
}

static void regrow(void **state) {
    (void)state;
    const double norm[6] = {5, 1, 3, 0, 0, 0}, growth[6] = {99, 98, 97, 2, 7, 4};
    uint8_t p[6] = {1, 1, 1, 0, 0, 0};
    assert_int_equal(hd_prune_regrow(p, norm, growth, 6, 2), 2);
    /* 1 and 2 go, the smallest; 4 and 5 come, the largest gradients of those that were absent. */
    assert_memory_equal(p, ((uint8_t[]){1, 0, 0, 0, 1, 1}), 6);
    assert_int_equal(hd_prune_regrow(p, norm, growth, 6, 0), 0);
    assert_memory_equal(p, ((uint8_t[]){1, 0, 0, 0, 1, 1}), 6);
    /* No more than there are of either kind. */
    uint8_t few[6] = {1, 0, 0, 0, 0, 0}, full[6] = {1, 1, 1, 1, 1, 1};
    assert_int_equal(hd_prune_regrow(few, norm, growth, 6, 5), 1);
    assert_memory_equal(few, ((uint8_t[]){0, 1, 0, 0, 0, 0}), 6);
    assert_int_equal(hd_prune_regrow(full, norm, growth, 6, 5), 0);
    /* The number of present blocks never changes. */
    hd_rng_seed(&rng, 2, 2);
    for (int round = 0; round < 200; round++) {
        enum { N = 40 };
        double a[N], b[N];
        uint8_t mask[N];
        int before = 0, after = 0;
        for (int i = 0; i < N; i++) {
            a[i] = (double)hd_rng_float(&rng);
            b[i] = (double)hd_rng_float(&rng);
            before += mask[i] = hd_rng_below(&rng, 2) != 0;
        }
        assert_true(hd_prune_regrow(mask, a, b, N, hd_rng_below(&rng, N)) >= 0);
        for (int i = 0; i < N; i++) after += mask[i];
        assert_int_equal(before, after);
    }
}

static int falling(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Balanced masks of two tiles of two taps of four pairs, two classes: as many of each class in a tile, and no other choice of how many in each tile keeps more of
 * the score with as many blocks. */
static void balanced(void **state) {
    (void)state;
    enum { TILES = 2, TAPS = 2, ALONG = 4, CLASSES = 2, EACH = TAPS * ALONG / CLASSES, N = TILES * TAPS * ALONG };
    const hd_block_rule rule = {.along = ALONG, .in_blocks = TAPS * ALONG, .classes = CLASSES};
    hd_rng_seed(&rng, 3, 3);
    for (int round = 0; round < 200; round++) {
        double score[N], sorted[TILES][CLASSES][EACH], mine = 0;
        uint8_t mask[N];
        int n[TILES][CLASSES] = {{0}}, filled[TILES][CLASSES] = {{0}}, kept = 0, keep = 1 + (int)hd_rng_below(&rng, N);
        hd_err err = {0};
        for (int i = 0; i < N; i++) {
            /* One tile and one class matter more: free pruning would keep those. */
            score[i] = (double)hd_rng_float(&rng) * (i < N / 2 ? 3 : 1) * (i % CLASSES ? 1 : 2);
            int t = i / (TAPS * ALONG), c = i % ALONG % CLASSES;
            sorted[t][c][filled[t][c]++] = score[i];
        }
        assert_int_equal(hd_prune_evenly(mask, score, N, &rule, (size_t)keep, &err), HD_OK);
        for (int i = 0; i < N; i++) {
            if (!mask[i]) continue;
            mine += score[i];
            kept++;
            n[i / (TAPS * ALONG)][i % ALONG % CLASSES]++;
        }
        for (int t = 0; t < TILES; t++) {
            assert_int_equal(n[t][0], n[t][1]);
            for (int c = 0; c < CLASSES; c++) qsort(sorted[t][c], EACH, sizeof(double), falling);
        }
        assert_true(kept && abs(kept - keep) <= CLASSES / 2);
        for (int k0 = 0; k0 <= EACH; k0++) {
            int k1 = kept / CLASSES - k0;
            double other = 0;
            if (k1 < 0 || k1 > EACH) continue;
            for (int c = 0; c < CLASSES; c++) {
                for (int i = 0; i < k0; i++) other += sorted[0][c][i];
                for (int i = 0; i < k1; i++) other += sorted[1][c][i];
            }
            assert_true(other <= mine + 1e-9);
        }
    }
}

/* Ten pairs of a tap over four classes: two classes are shorter, and end with all they have. */
static void balanced_short(void **state) {
    (void)state;
    const hd_block_rule rule = {.along = 10, .in_blocks = 10, .classes = 4};
    double score[10];
    uint8_t mask[10];
    hd_err err = {0};
    for (int i = 0; i < 10; i++) score[i] = 10 - i;
    assert_int_equal(hd_prune_evenly(mask, score, 10, &rule, 4, &err), HD_OK);
    assert_memory_equal(mask, ((uint8_t[]){1, 1, 1, 1, 0, 0, 0, 0, 0, 0}), 10);
    assert_int_equal(hd_prune_evenly(mask, score, 10, &rule, 8, &err), HD_OK);
    assert_memory_equal(mask, ((uint8_t[]){1, 1, 1, 1, 1, 1, 1, 1, 0, 0}), 10);
    assert_int_equal(hd_prune_evenly(mask, score, 10, &rule, 10, &err), HD_OK);
    assert_memory_equal(mask, ((uint8_t[]){1, 1, 1, 1, 1, 1, 1, 1, 1, 1}), 10);
    assert_int_equal(hd_prune_evenly(mask, score, 10, &rule, 0, &err), HD_OK); /* something stays */
    assert_memory_equal(mask, ((uint8_t[]){1, 1, 1, 1, 0, 0, 0, 0, 0, 0}), 10);
}

/* N of M: the largest n of each cell, and no other; a last cell that is shorter keeps n as well. */
static void n_of_m(void **state) {
    (void)state;
    enum { ALONG = 10, ROWS = 6, N = ALONG * ROWS };
    hd_rng_seed(&rng, 4, 4);
    for (size_t cell = 2; cell <= 5; cell++)
        for (size_t n = 1; n < cell; n++) {
            const hd_block_rule rule = {.along = ALONG, .in_blocks = ALONG, .cell = cell};
            double score[N];
            uint8_t mask[N];
            size_t want = 0;
            hd_err err = {0};
            for (int i = 0; i < N; i++) score[i] = (double)hd_rng_float(&rng);
            for (size_t from = 0; from < ALONG; from += cell) want += ROWS * (ALONG - from < n ? ALONG - from : n);
            assert_int_equal(hd_prune_evenly(mask, score, N, &rule, want, &err), HD_OK);
            for (size_t i = 0; i < N; i++) {
                size_t row = i / ALONG * ALONG, from = row + (i - row) / cell * cell, larger = 0;
                for (size_t j = from; j < from + cell && j < row + ALONG; j++) larger += score[j] > score[i];
                assert_int_equal(mask[i], larger < n);
            }
        }
}

/* At its end a schedule keeps the blocks that the layer began with, whatever the share of them is as a binary fraction. */
static void schedule_ends_at_its_target(void **state) {
    (void)state;
    enum { MOST = 60, STEPS = 4 };
    float weight[MOST], gain[MOST];
    uint8_t present[MOST];
    const float *weights[1] = {weight}, *squares[1] = {NULL};
    hd_err err = {0};
    for (int i = 0; i < MOST; i++) weight[i] = (float)(i * 37 % MOST) + 1;
    for (size_t blocks = 1; blocks <= MOST; blocks++)
        for (size_t target = 1; target <= blocks; target++) {
            hd_fake f = {.cout = blocks, .inputs = 1, .taps = 1, .per_tap = 1, .block_in = 1, .block_out = 1, .in_blocks = 1, .blocks = blocks, .present = present, .gain = gain};
            hd_fake *fakes[1] = {&f};
            hd_mask_plan p;
            size_t kept = 0;
            memset(present, 0, sizeof present);
            memset(present, 1, target);
            if (hd_mask_plan_new(&p, fakes, 1, HD_MASKS_GRADUAL, HD_SCORE_NORM, 0, 0, STEPS, &err)) fail_msg("%s", err.message);
            for (long step = 0; step < STEPS; step++)
                if (hd_mask_plan_changes(&p, step)) assert_int_equal(hd_mask_plan_update(&p, step, weights, squares, &err), HD_OK);
            for (size_t b = 0; b < blocks; b++) kept += present[b];
            assert_int_equal(kept, target);
            hd_mask_plan_free(&p);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(balanced), cmocka_unit_test(balanced_short), cmocka_unit_test(n_of_m), cmocka_unit_test(cubic), cmocka_unit_test(same_as_oneshot), cmocka_unit_test(keep_edges), cmocka_unit_test(lamp), cmocka_unit_test(weighted), cmocka_unit_test(regrow), cmocka_unit_test(schedule_ends_at_its_target)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
