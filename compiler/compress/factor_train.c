/* Tensor train over [in][kh][kw][out]: a singular value decomposition cuts off one mode after the other (TT-SVD, Oseledets 2011). */
#include <stdlib.h>
#include <string.h>

#include "factor_internal.h"

/* [in][taps][out] of [out][in][taps] */
static void turn(double *to, const double *w, const hd_kernel *k) {
    size_t taps = hd_kernel_taps(k), inputs = hd_kernel_inputs(k);
    for (size_t oc = 0; oc < (size_t)k->out; oc++)
        for (size_t i = 0; i < (size_t)k->in; i++)
            for (size_t t = 0; t < taps; t++) to[(i * taps + t) * (size_t)k->out + oc] = w[oc * inputs + i * taps + t];
}

/* rest [m][n] ~ core [m][r] times the new rest [r][n]; the core's columns are orthonormal. */
static int cut(double *core, double *rest, int m, int n, int r) {
    size_t most = (size_t)(m < n ? m : n), columns = (size_t)n;
    double *u = malloc(((size_t)m * most + most + most * columns) * sizeof *u);
    if (!u) return -1;
    double *s = u + (size_t)m * most, *vt = s + most;
    int bad = hd_svd(rest, m, n, u, s, vt);
    for (size_t j = 0; !bad && j < (size_t)r; j++) {
        for (size_t i = 0; i < (size_t)m; i++) core[i * (size_t)r + j] = u[i * most + j];
        for (size_t i = 0; i < columns; i++) rest[j * columns + i] = s[j] * vt[j * columns + i];
    }
    free(u);
    return bad;
}

static int least(int a, int b) { return a < b ? a : b; }

hd_status hd_factor_train(hd_chain *out, const hd_kernel *k, const double *w, const double *l, const int rank[3], hd_err *err) {
    int tall = k->kh > 1, wide = k->kw > 1, taps = k->kh * k->kw;
    int r1 = least(rank[0], least(k->in, taps * k->out)), r2 = tall ? least(rank[1], least(r1 * k->kh, k->kw * k->out)) : r1;
    int r3 = wide ? least(rank[2], least(r2 * k->kw, k->out)) : r2;
    size_t n = (size_t)k->out * hd_kernel_inputs(k);
    /* A core has at most as many columns as rows, so it is no larger than the square of its rows. */
    size_t rows = (size_t)k->in;
    if ((size_t)(r1 * k->kh) > rows) rows = (size_t)(r1 * k->kh);
    if ((size_t)(r2 * k->kw) > rows) rows = (size_t)(r2 * k->kw);
    double *rest = malloc((n + rows * rows) * sizeof *rest);
    if (!rest || !hd_chain_add(out, k->in, r1, 1, 1, 1, 0, 0) || (tall && !hd_chain_add(out, r1, r2, 1, k->kh, 1, 1, !wide)) ||
        (wide && !hd_chain_add(out, r2, r3, 1, 1, k->kw, !tall, 1)) || !hd_chain_add(out, r3, k->out, 1, 1, 1, 0, 0)) {
        free(rest);
        return hd_fail(err, HD_NOMEM, "layer '%s': out of memory", k->name);
    }
    double *core = rest + n;
    turn(rest, w, k);
    int bad = cut(core, rest, k->in, taps * k->out, r1);
    for (size_t i = 0; i < (size_t)k->in; i++)
        for (size_t j = 0; j < (size_t)r1; j++) out->link[0].w[j * (size_t)k->in + i] = core[i * (size_t)r1 + j];
    const int ranks[2][3] = {{r1, k->kh, r2}, {r2, k->kw, r3}}, after[2] = {k->kw * k->out, k->out};
    for (int side = 0, at = 1; !bad && side < 2; side++) {
        size_t a = (size_t)ranks[side][0], t = (size_t)ranks[side][1], b = (size_t)ranks[side][2];
        if (t == 1) continue;
        bad = cut(core, rest, (int)(a * t), after[side], (int)b);
        for (size_t i = 0; i < a; i++)
            for (size_t y = 0; y < t; y++)
                for (size_t j = 0; j < b; j++) out->link[at].w[(j * a + i) * t + y] = core[(i * t + y) * b + j];
        at++;
    }
    for (size_t oc = 0; oc < (size_t)k->out; oc++)
        for (size_t j = 0; j < (size_t)r3; j++) out->link[out->n - 1].w[oc * (size_t)r3 + j] = rest[j * (size_t)k->out + oc];
    if (!bad) hd_root_divide(out->link[0].w, l, r1, k->in);
    free(rest);
    return bad ? hd_fail(err, HD_RANGE, "layer '%s': its singular values were not found", k->name) : HD_OK;
}
