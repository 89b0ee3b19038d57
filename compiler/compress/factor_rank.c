/* Ranks for a budget of weights. Where there are several, the ones whose squared singular values left out, summed over the unfoldings that are cut, are
 * least: that sum bounds the error of HOSVD and TT-SVD. */
#include <stdlib.h>
#include <string.h>

#include "factor_internal.h"

static int least(int a, int b) { return a < b ? a : b; }

/* Squared tails of the kernel's unfoldings: [0] in | rest, [1] in kh | kw out, [2] out | rest. Owned. */
typedef struct tails {
    double *of[3];
    int most[3];
} tails;

static int find_tails(tails *t, const hd_kernel *k, const double *w) {
    size_t out = (size_t)k->out, in = (size_t)k->in, kh = (size_t)k->kh, kw = (size_t)k->kw, taps = kh * kw, n = out * in * taps;
    const size_t rows[3] = {in, in * kh, out};
    double *a = malloc(n * sizeof *a);
    int bad = !a;
    for (int u = 0; u < 3 && !bad; u++) {
        size_t m = rows[u], columns = n / m;
        t->most[u] = (int)(m < columns ? m : columns);
        t->of[u] = malloc(((size_t)t->most[u] + 1) * sizeof(double));
        for (size_t i = 0; t->of[u] && i < n; i++) {
            size_t oc = i / (in * taps), ic = i / taps % in, y = i / kw % kh, x = i % kw;
            size_t row = u == 0 ? ic : u == 1 ? ic * kh + y : oc;
            a[row * columns + (u == 0 ? (y * kw + x) * out + oc : u == 1 ? x * out + oc : i % (in * taps))] = w[i];
        }
        bad = !t->of[u] || hd_svd_tails(t->of[u], a, (int)m, (int)columns);
    }
    free(a);
    return bad;
}

static void choose_tucker(int rank[3], const tails *t, const hd_kernel *k, double budget) {
    double best = -1, taps = (double)hd_kernel_taps(k);
    for (int a = 1; a <= t->most[0]; a++) {
        /* The largest output rank that still fits; more never hurts. */
        int b = least((int)((budget - (double)k->in * a) / (taps * a + k->out)), least(t->most[2], a * (int)taps));
        if (b < 1 || a > b * (int)taps) continue;
        double e = t->of[0][a] + t->of[2][b];
        if (best >= 0 && e >= best) continue;
        best = e;
        rank[0] = a;
        rank[1] = b;
    }
}

/* The rank between kh and kw is what the budget leaves beside those of the ends. A missing link's rank is its neighbour's. */
static void choose_train(int rank[3], const tails *t, const hd_kernel *k, double budget) {
    double best = -1;
    int tall = k->kh > 1, wide = k->kw > 1;
    for (int a = 1; a <= t->most[0]; a++)
        for (int c = 1; c <= t->most[2]; c++) {
            double left = budget - (double)k->in * a - (double)k->out * c;
            int b = a;
            if (tall && wide) b = least((int)(left / ((double)a * k->kh + (double)k->kw * c)), least(t->most[1], least(a * k->kh, k->kw * c)));
            else if (left < (double)a * c * k->kh * k->kw) b = 0;
            if (b < 1 || (tall && wide ? a > b * k->kh || c > b * k->kw : a > c * k->kh * k->kw || c > a * k->kh * k->kw)) continue;
            double e = t->of[0][a] + t->of[2][c] + (tall && wide ? t->of[1][b] : 0);
            if (best >= 0 && e >= best) continue;
            best = e;
            rank[0] = a;
            rank[1] = tall && wide ? b : tall ? c : a;
            rank[2] = c;
        }
}

hd_status hd_factor_choose(int rank[3], const hd_kernel *k, const double *w, hd_factoring kind, double share, hd_err *err) {
    double inputs = (double)hd_kernel_inputs(k), budget = share * inputs * k->out + 1e-6;
    for (int i = 0; i < 3; i++) rank[i] = 1;
    if (kind == HD_FACTOR_SVD || kind == HD_FACTOR_CP) {
        double each = k->out + (kind == HD_FACTOR_SVD ? inputs : (double)k->in + (k->kh > 1 ? k->kh : 0) + (k->kw > 1 ? k->kw : 0));
        if (budget >= each) rank[0] = (int)(budget / each);
        return HD_OK;
    }
    tails t = {0};
    int bad = find_tails(&t, k, w);
    if (!bad && kind == HD_FACTOR_TUCKER) choose_tucker(rank, &t, k, budget);
    if (!bad && kind == HD_FACTOR_TRAIN) choose_train(rank, &t, k, budget);
    for (int i = 0; i < 3; i++) free(t.of[i]);
    return bad ? hd_fail(err, HD_RANGE, "layer '%s': its singular values were not found", k->name) : HD_OK;
}
