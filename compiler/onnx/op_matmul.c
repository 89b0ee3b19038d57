/* Products of matrices. */
#include <cblas.h>
#include <string.h>

#include "call.h"

/* y[m][n] += x[m][k] w[k][n], in one of the four types arithmetic is done in. Strides of x and w serve transposed ones. */
static void multiply(hd_type wide, int64_t m, int64_t n, int64_t k, const void *x, int64_t xr, int64_t xc, const void *w, int64_t wr, int64_t wc, void *y) {
    if (!m || !n || !k) return;
    int plain_x = xc == 1, plain_w = wc == 1;
    int small = m < INT32_MAX && n < INT32_MAX && k < INT32_MAX && xr < INT32_MAX && wr < INT32_MAX && xc < INT32_MAX && wc < INT32_MAX;
    CBLAS_TRANSPOSE tx = plain_x ? CblasNoTrans : CblasTrans, tw = plain_w ? CblasNoTrans : CblasTrans;
    int64_t ldx = plain_x ? xr : xc, ldw = plain_w ? wr : wc;
    /* A transposed matrix of one row looks plain with rows 1 apart, which BLAS refuses though it never goes to a second row. */
    if (plain_x && ldx < k) ldx = k;
    if (plain_w && ldw < n) ldw = n;
    if (small && wide == HD_TYPE_F32) {
        cblas_sgemm(CblasRowMajor, tx, tw, (int)m, (int)n, (int)k, 1, x, (int)ldx, w, (int)ldw, 1, y, (int)n);
        return;
    }
    if (small && wide == HD_TYPE_F64) {
        cblas_dgemm(CblasRowMajor, tx, tw, (int)m, (int)n, (int)k, 1, x, (int)ldx, w, (int)ldw, 1, y, (int)n);
        return;
    }
#define PRODUCT(T, S)                                                                    \
    for (int64_t i = 0; i < m; i++)                                                      \
        for (int64_t p = 0; p < k; p++) {                                                \
            T u = ((const T *)x)[i * xr + p * xc];                                       \
            const T *row = (const T *)w + p * wr;                                        \
            T *to = (T *)y + i * n;                                                      \
            for (int64_t j = 0; j < n; j++) to[j] += u * row[j * wc];                    \
        }
    /* Integers wrap, so the sums are unsigned; the bits are the same. */
    if (wide == HD_TYPE_F32) { PRODUCT(float, float) }
    else if (wide == HD_TYPE_F64) { PRODUCT(double, double) }
    else { PRODUCT(uint64_t, uint64_t) }
}

/* numpy's matmul of a and b, of one type `wide`, into *y (new). */
hd_status hd_matmul(hd_call *c, hd_nd *y, const hd_nd *a, const hd_nd *b, hd_type wide) {
    *y = (hd_nd){0};
    if (a->rank < 1 || b->rank < 1) return hd_call_fail(c, HD_MISMATCH, "a scalar cannot be multiplied as a matrix");
    hd_nd u = *a, v = *b, batch[2];
    if (a->rank == 1) u.rank = 2, u.dim[0] = 1, u.dim[1] = a->dim[0];
    if (b->rank == 1) v.rank = 2, v.dim[1] = 1;
    int64_t m = u.dim[u.rank - 2], k = u.dim[u.rank - 1], n = v.dim[v.rank - 1];
    if (v.dim[v.rank - 2] != k) return hd_call_fail(c, HD_MISMATCH, "%lld columns times %lld rows", (long long)k, (long long)v.dim[v.rank - 2]);
    batch[0] = u, batch[1] = v;
    batch[0].rank -= 2, batch[1].rank -= 2;
    const hd_nd *operand[2] = {&batch[0], &batch[1]};
    int64_t dim[HD_ND_MAX_RANK];
    int rank;
    HD_TRY(hd_broadcast_dims(c, operand, 2, &rank, dim));
    if (rank > HD_ND_MAX_RANK - 2) return hd_call_fail(c, HD_UNSUPPORTED, "gives more than %d dimensions", HD_ND_MAX_RANK);
    int outer = rank;
    if (a->rank > 1) dim[rank++] = m;
    if (b->rank > 1) dim[rank++] = n;
    hd_err err = {0};
    hd_status status = hd_nd_new(y, wide, rank, dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    size_t size = hd_type_size(wide);
    HD_TRY(hd_work(c, (double)y->count * (double)(k ? k : 1))); /* sums of nothing are written, too */
    hd_loop l;
    char *to = y->data;
    for (hd_loop_begin(&l, outer, dim, operand, 2); y->count && !l.done; hd_loop_next(&l))
        for (int64_t i = 0; i < l.inner; i++, to += (size_t)(m * n) * size)
            multiply(wide, m, n, k, (const char *)a->data + (size_t)((l.offset[0] + i * l.step[0]) * m * k) * size, k, 1,
                     (const char *)b->data + (size_t)((l.offset[1] + i * l.step[1]) * k * n) * size, n, 1, to);
    return HD_OK;
}

hd_status hd_op_matmul(hd_call *c) {
    hd_type type = c->in[0]->type, wide = hd_wide(type);
    if (c->in[1]->type != type) return hd_call_fail(c, HD_MISMATCH, "operands of types %s and %s", hd_type_name((int)type), hd_type_name((int)c->in[1]->type));
    const hd_nd *a = hd_call_as(c, c->in[0], wide), *b = a ? hd_call_as(c, c->in[1], wide) : NULL;
    if (!b) return HD_NOMEM;
    hd_nd y;
    hd_status status = hd_matmul(c, &y, a, b, wide);
    if (status == HD_OK) return hd_out_cast(c, 0, &y, type);
    hd_nd_free(&y);
    return status;
}

/* alpha A' B' + beta C: C is broadcast to the result. */
hd_status hd_op_gemm(hd_call *c) {
    hd_type type = c->in[0]->type, wide = hd_wide(type);
    const hd_nd *a = hd_call_as(c, c->in[0], wide), *b = a ? hd_call_as(c, c->in[1], wide) : NULL, *bias = c->n_in > 2 ? c->in[2] : NULL;
    if (!b) return HD_NOMEM;
    if (a->rank != 2 || b->rank != 2 || c->in[1]->type != type) return hd_call_fail(c, HD_MISMATCH, "two matrices of one type are expected");
    int ta = hd_attr_i(c, "transA", 0) != 0, tb = hd_attr_i(c, "transB", 0) != 0;
    float alpha = hd_attr_f(c, "alpha", 1), beta = hd_attr_f(c, "beta", 1);
    int64_t m = a->dim[ta], k = a->dim[!ta], n = b->dim[!tb], dim[2] = {m, n};
    if (b->dim[tb] != k) return hd_call_fail(c, HD_MISMATCH, "%lld columns times %lld rows", (long long)k, (long long)b->dim[tb]);
    if (!hd_type_is_float(type) && (alpha != 1.f || beta != 1.f)) return hd_call_fail(c, HD_UNSUPPORTED, "integers with alpha or beta other than 1");
    hd_nd y;
    hd_err err = {0};
    hd_status status = hd_nd_new(&y, wide, 2, dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    status = hd_work(c, (double)y.count * (double)(k ? k : 1));
    if (status == HD_OK) multiply(wide, m, n, k, a->data, ta ? 1 : k, ta ? m : 1, b->data, tb ? 1 : n, tb ? k : 1, y.data);
    if (bias && status == HD_OK) {
        bias = hd_call_as(c, bias, wide);
        int64_t row = 0, column = 0;
        if (bias && bias->rank <= 2) {
            int64_t h = bias->rank == 2 ? bias->dim[0] : 1, w = bias->rank ? bias->dim[bias->rank - 1] : 1;
            if ((h != 1 && h != m) || (w != 1 && w != n)) status = hd_call_fail(c, HD_MISMATCH, "input 2 does not broadcast to the result");
            row = h == 1 ? 0 : w, column = w == 1 ? 0 : 1;
        } else status = bias ? hd_call_fail(c, HD_MISMATCH, "input 2 has %d dimensions", bias->rank) : HD_NOMEM;
        for (int64_t i = 0; status == HD_OK && i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                int64_t at = i * n + j, from = i * row + j * column;
                if (wide == HD_TYPE_F32) ((float *)y.data)[at] = alpha * ((float *)y.data)[at] + beta * ((const float *)bias->data)[from];
                else if (wide == HD_TYPE_F64) ((double *)y.data)[at] = (double)alpha * ((double *)y.data)[at] + (double)beta * ((const double *)bias->data)[from];
                else ((uint64_t *)y.data)[at] += ((const uint64_t *)bias->data)[from];
            }
    } else if (status == HD_OK && alpha != 1.f) {
        for (size_t i = 0; i < y.count; i++) {
            if (wide == HD_TYPE_F32) ((float *)y.data)[i] *= alpha;
            else ((double *)y.data)[i] *= (double)alpha;
        }
    }
    if (status == HD_OK) return hd_out_cast(c, 0, &y, type);
    hd_nd_free(&y);
    return status;
}

/* Elements of input k less its zero point (input z: one, or one for each row or column), as int64. */
hd_status hd_less_zero(hd_call *c, int k, int z, int axis, const hd_nd **out) {
    for (int j = k; j >= 0; j = j == k && z < c->n_in && c->in[z] ? z : -1)
        if (!hd_type_is_int(c->in[j]->type) || hd_type_size(c->in[j]->type) > 4) return hd_call_fail(c, HD_UNSUPPORTED, "codes of type %s; integers of up to 32 bits are allowed", hd_type_name((int)c->in[j]->type));
    const hd_nd *x = hd_call_as(c, c->in[k], HD_TYPE_I64), *zero = z < c->n_in && c->in[z] ? hd_call_as(c, c->in[z], HD_TYPE_I64) : NULL;
    *out = x;
    if (!x || !zero) return x ? HD_OK : HD_NOMEM;
    size_t before, along, after;
    if (axis < 0) axis = 0;
    hd_split_at(x, axis, &before, &along, &after);
    if (zero->count != 1 && (x->rank == 0 || zero->count != along)) return hd_call_fail(c, HD_MISMATCH, "%zu zero points for %zu", zero->count, along);
    if (zero->count == 1 && *(int64_t *)zero->data == 0) return HD_OK;
    int64_t *d = x->data; /* a converted copy, which belongs to this call */
    for (size_t i = 0; i < x->count; i++) d[i] -= ((const int64_t *)zero->data)[zero->count == 1 ? 0 : i / after % along];
    return HD_OK;
}

hd_status hd_op_matmulinteger(hd_call *c) {
    const hd_nd *a, *b;
    HD_TRY(hd_less_zero(c, 0, 2, c->in[0]->rank - 2, &a));
    HD_TRY(hd_less_zero(c, 1, 3, c->in[1]->rank - 1, &b));
    hd_nd y;
    hd_status status = hd_matmul(c, &y, a, b, HD_TYPE_I64);
    if (status == HD_OK) return hd_out_cast(c, 0, &y, HD_TYPE_I32);
    hd_nd_free(&y);
    return status;
}
