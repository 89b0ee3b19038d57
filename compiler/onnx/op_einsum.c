/* Einsum. */
#include <string.h>

#include "call.h"

/* One loop nest over all letters; an ellipsis stands for the leading letters '0', '1', ... */
typedef struct einsum {
    int n_letters;
    char letter[HD_ND_MAX_RANK * 4];
    int64_t size[HD_ND_MAX_RANK * 4], stride[9][HD_ND_MAX_RANK * 4]; /* of each operand; the last row: the result */
} einsum;
enum { EINSUM_MAX = 8 };

static int letter_of(einsum *e, char l) {
    for (int k = 0; k < e->n_letters; k++)
        if (e->letter[k] == l) return k;
    if (e->n_letters == HD_ND_MAX_RANK * 4) return -1;
    e->letter[e->n_letters] = l;
    e->size[e->n_letters] = -1;
    return e->n_letters++;
}

/* Reads "..ij" for a tensor; an ellipsis stands for `extra` letters '0', '1', ... counted from the last. */
static hd_status term(hd_call *c, einsum *e, const char **text, int row, const hd_nd *v) {
    int64_t own[HD_ND_MAX_RANK];
    int letters = 0, at = 0;
    const char *p = *text;
    hd_strides(v->rank, v->dim, own);
    for (const char *q = p; *q && *q != ',' && *q != '-'; q++) letters += *q != '.' && *q != ' ';
    for (; *p && *p != ',' && *p != '-'; p++) {
        if (*p == ' ') continue;
        int many = *p == '.', n = many ? v->rank - letters : 1;
        if (many) {
            if (strncmp(p, "...", 3)) return hd_call_fail(c, HD_FORMAT, "the equation has a lone dot");
            p += 2;
        } else if ((*p < 'a' || *p > 'z') && (*p < 'A' || *p > 'Z')) return hd_call_fail(c, HD_FORMAT, "the equation has '%c'", *p);
        for (int k = 0; k < n; k++, at++) {
            int l = letter_of(e, many ? (char)('0' + n - 1 - k) : *p);
            if (at >= v->rank || l < 0) return hd_call_fail(c, HD_MISMATCH, "operand %d has %d dimensions; the equation names more", row, v->rank);
            int64_t d = v->dim[at];
            if (e->size[l] >= 0 && e->size[l] != d && !(many && (d == 1 || e->size[l] == 1))) return hd_call_fail(c, HD_MISMATCH, "an axis of the equation is %lld and %lld", (long long)e->size[l], (long long)d);
            if (e->size[l] < 0 || e->size[l] == 1) e->size[l] = d;
            if (d != 1) e->stride[row][l] += own[at];
        }
    }
    if (at != v->rank) return hd_call_fail(c, HD_MISMATCH, "operand %d has %d dimensions; the equation names %d", row, v->rank, at);
    *text = p;
    return HD_OK;
}

/* Letters of the result, after "->" or, without it, every letter that comes once, in alphabetical order. */
static hd_status result(hd_call *c, einsum *e, const char *text, const char *terms, int *rank, int64_t *dim) {
    int at[HD_ND_MAX_RANK];
    *rank = 0;
    for (char l = '7'; l >= '0' && (*text ? strchr(text, '.') != NULL : strchr(terms, '.') != NULL); l--)
        for (int k = 0; k < e->n_letters; k++)
            if (e->letter[k] == l && *rank < HD_ND_MAX_RANK) at[(*rank)++] = k;
    if (*text) {
        for (const char *p = text + 2; *p; p++) {
            if (*p == '.' || *p == ' ') continue;
            int l = letter_of(e, *p);
            if (l < 0 || e->size[l] < 0 || *rank == HD_ND_MAX_RANK) return hd_call_fail(c, HD_FORMAT, "the equation's result has '%c', which no operand has", *p);
            at[(*rank)++] = l;
        }
    } else
        for (int l = 'A'; l <= 'z'; l++) {
            const char *first = strchr(terms, l);
            if (!first || strchr(first + 1, l)) continue;
            if (*rank == HD_ND_MAX_RANK) return hd_call_fail(c, HD_UNSUPPORTED, "the result has more than %d dimensions", HD_ND_MAX_RANK);
            at[(*rank)++] = letter_of(e, (char)l);
        }
    int64_t own[HD_ND_MAX_RANK];
    for (int k = 0; k < *rank; k++) dim[k] = e->size[at[k]];
    hd_strides(*rank, dim, own);
    for (int k = 0; k < *rank; k++) e->stride[EINSUM_MAX][at[k]] += own[k];
    return HD_OK;
}

hd_status hd_op_einsum(hd_call *c) {
    const Onnx__AttributeProto *a = hd_attribute(c, "equation");
    char *equation = a && a->s.len < 4096 ? hd_call_memory(c, a->s.len + 1, 1) : NULL;
    if (!equation || c->n_in > EINSUM_MAX) return hd_call_fail(c, HD_FORMAT, "has no equation, or more than %d operands", EINSUM_MAX);
    memcpy(equation, a->s.data, a->s.len);
    einsum e = {0};
    hd_type type = c->in[0]->type, wide = hd_type_is_float(type) ? HD_TYPE_F64 : HD_TYPE_I64;
    const hd_nd *v[EINSUM_MAX];
    const char *p = equation;
    for (int k = 0; k < c->n_in; k++) {
        if (!c->in[k] || c->in[k]->type != type) return hd_call_fail(c, HD_MISMATCH, "operands of one type are expected");
        v[k] = hd_call_as(c, c->in[k], wide);
        if (!v[k]) return HD_NOMEM;
        HD_TRY(term(c, &e, &p, k, v[k]));
        if (*p != (k + 1 < c->n_in ? ',' : *p == '-' ? '-' : 0)) return hd_call_fail(c, HD_FORMAT, "the equation is not of %d operands", c->n_in);
        if (*p == ',') p++;
    }
    if (*p && strncmp(p, "->", 2)) return hd_call_fail(c, HD_FORMAT, "the equation has a lone '-'");
    int rank;
    int64_t dim[HD_ND_MAX_RANK], at[HD_ND_MAX_RANK * 4] = {0}, offset[EINSUM_MAX + 1] = {0};
    char *terms = hd_call_memory(c, (size_t)(p - equation) + 1, 1);
    if (!terms) return HD_NOMEM;
    memcpy(terms, equation, (size_t)(p - equation));
    HD_TRY(result(c, &e, p, terms, &rank, dim));
    hd_nd y;
    hd_err err = {0};
    hd_status status = hd_nd_new(&y, wide, rank, dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    double total = 1;
    for (int k = 0; k < e.n_letters; k++) total *= (double)e.size[k];
    status = hd_work(c, total > 0 ? total : (double)y.count);
    for (int done = total == 0; status == HD_OK && !done;) {
        double real = 1;
        uint64_t whole = 1;
        for (int k = 0; k < c->n_in; k++) {
            if (wide == HD_TYPE_F64) real *= ((const double *)v[k]->data)[offset[k]];
            else whole *= ((const uint64_t *)v[k]->data)[offset[k]];
        }
        if (wide == HD_TYPE_F64) ((double *)y.data)[offset[EINSUM_MAX]] += real;
        else ((uint64_t *)y.data)[offset[EINSUM_MAX]] += whole;
        int k = e.n_letters;
        for (done = 1; done && k-- > 0;) {
            int64_t back = ++at[k] < e.size[k] ? 0 : e.size[k];
            for (int j = 0; j <= EINSUM_MAX; j++) offset[j] += e.stride[j][k] * (1 - back);
            if (back) at[k] = 0;
            else done = 0;
        }
    }
    if (status == HD_OK) return hd_out_cast(c, 0, &y, type);
    hd_nd_free(&y);
    return status;
}
