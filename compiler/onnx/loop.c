/* Walking over tensors: broadcasting and strides. */
#include <string.h>

#include "call.h"

void hd_strides(int rank, const int64_t *dim, int64_t *stride) {
    int64_t s = 1;
    for (int k = rank; k-- > 0; s *= dim[k]) stride[k] = s;
}

void hd_split_at(const hd_nd *v, int axis, size_t *before, size_t *along, size_t *after) {
    *before = *after = *along = 1;
    for (int k = 0; k < v->rank; k++) *(k < axis ? before : k == axis ? along : after) *= (size_t)v->dim[k];
}

hd_status hd_broadcast_dims(hd_call *c, const hd_nd *const *v, int n, int *rank, int64_t *dim) {
    *rank = 0;
    for (int j = 0; j < n; j++)
        if (v[j]->rank > *rank) *rank = v[j]->rank;
    for (int k = 0; k < *rank; k++) dim[k] = 1;
    for (int j = 0; j < n; j++)
        for (int k = 0; k < v[j]->rank; k++) {
            int64_t *d = &dim[*rank - v[j]->rank + k], s = v[j]->dim[k];
            if (s == 1 || s == *d) continue;
            if (*d != 1) {
                char a[HD_ND_SHAPE_TEXT], b[HD_ND_SHAPE_TEXT];
                return hd_call_fail(c, HD_MISMATCH, "shapes %s and %s do not broadcast", hd_nd_shape_text(a, v[0]->rank, v[0]->dim), hd_nd_shape_text(b, v[j]->rank, v[j]->dim));
            }
            *d = s;
        }
    return HD_OK;
}

void hd_loop_begin(hd_loop *l, int rank, const int64_t *dim, const hd_nd *const *v, int n) {
    int64_t stride[4][HD_ND_MAX_RANK] = {0};
    *l = (hd_loop){.n = n, .inner = 1};
    for (int j = 0; j < n; j++) {
        int64_t own[HD_ND_MAX_RANK];
        hd_strides(v[j]->rank, v[j]->dim, own);
        for (int k = 0; k < v[j]->rank; k++)
            if (v[j]->dim[k] != 1) stride[j][rank - v[j]->rank + k] = own[k];
    }
    /* Neighbouring dims that every operand walks as one become one. */
    for (int k = 0; k < rank; k++) {
        if (dim[k] == 0) l->done = 1;
        if (dim[k] == 1) continue;
        int join = l->rank > 0;
        for (int j = 0; join && j < n; j++) join = l->stride[j][l->rank - 1] == stride[j][k] * dim[k];
        if (join) l->dim[l->rank - 1] *= dim[k];
        else l->dim[l->rank++] = dim[k];
        for (int j = 0; j < n; j++) l->stride[j][l->rank - 1] = stride[j][k];
    }
    if (l->rank == 0) return;
    l->rank--;
    l->inner = l->dim[l->rank];
    for (int j = 0; j < n; j++) l->step[j] = l->stride[j][l->rank];
}

void hd_loop_next(hd_loop *l) {
    int k = l->rank;
    while (k-- > 0) {
        for (int j = 0; j < l->n; j++) l->offset[j] += l->stride[j][k];
        if (++l->at[k] < l->dim[k]) return;
        for (int j = 0; j < l->n; j++) l->offset[j] -= l->stride[j][k] * l->dim[k];
        l->at[k] = 0;
    }
    l->done = 1;
}
