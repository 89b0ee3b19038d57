/* Values and their buffers. */
#include "nd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hd_nd_buffer {
    size_t refs, count;
    hd_nd_kind kind;
    hd_type type;
    _Alignas(64) unsigned char bytes[];
};

const char *hd_type_name(int type) {
    static const char *const names[] = {"undefined", "float", "uint8", "int8", "uint16", "int16", "int32", "int64", "string",
                                        "bool", "float16", "double", "uint32", "uint64", "complex64", "complex128", "bfloat16"};
    return type >= 0 && type < (int)(sizeof names / sizeof *names) ? names[type] : "an unknown type";
}

size_t hd_type_size(hd_type type) {
    switch (type) {
    case HD_TYPE_U8: case HD_TYPE_I8: case HD_TYPE_BOOL: return 1;
    case HD_TYPE_U16: case HD_TYPE_I16: case HD_TYPE_F16: case HD_TYPE_BF16: return 2;
    case HD_TYPE_F32: case HD_TYPE_I32: case HD_TYPE_U32: return 4;
    case HD_TYPE_F64: case HD_TYPE_I64: case HD_TYPE_U64: return 8;
    case HD_TYPE_STRING: return sizeof(char *);
    default: return 0;
    }
}

/* A buffer of zeros for `count` elements of `size` bytes. */
static struct hd_nd_buffer *buffer_new(hd_nd_kind kind, hd_type type, size_t count, size_t size) {
    size_t bytes = sizeof(struct hd_nd_buffer) + (count * size + 63) / 64 * 64;
    struct hd_nd_buffer *b = aligned_alloc(64, bytes);
    if (!b) return NULL;
    memset(b, 0, bytes);
    b->refs = 1;
    b->count = count;
    b->kind = kind;
    b->type = type;
    return b;
}

int hd_nd_count(size_t *count, int rank, const int64_t *dim, size_t most) {
    size_t n = 1;
    int empty = 0;
    for (int k = 0; k < rank; k++) {
        if (dim[k] == 0) {
            empty = 1;
            continue;
        }
        if ((uint64_t)dim[k] > most / n) return 0;
        n *= (size_t)dim[k];
    }
    *count = empty ? 0 : n;
    return 1;
}

hd_status hd_nd_new(hd_nd *out, hd_type type, int rank, const int64_t *dim, size_t limit, hd_err *err) {
    *out = (hd_nd){.kind = HD_ND_TENSOR, .type = type, .rank = rank, .count = 1};
    size_t size = hd_type_size(type), most = size ? limit / size : 0;
    if (!size) return hd_fail(err, HD_UNSUPPORTED, "element type %s (%d) is not supported", hd_type_name(type), (int)type);
    if (rank < 0 || rank > HD_ND_MAX_RANK) return hd_fail(err, HD_UNSUPPORTED, "%d dimensions; at most %d are allowed", rank, HD_ND_MAX_RANK);
    for (int k = 0; k < rank; k++) {
        if (dim[k] < 0) return hd_fail(err, HD_RANGE, "dimension %d would be %lld; must not be negative", k, (long long)dim[k]);
        out->dim[k] = dim[k];
    }
    if (!hd_nd_count(&out->count, rank, dim, most)) {
        char text[HD_ND_SHAPE_TEXT];
        return hd_fail(err, HD_RANGE, "a tensor of %s %s elements needs more than %zu bytes, the most that is allowed", hd_nd_shape_text(text, rank, dim), hd_type_name(type), limit);
    }
    out->buffer = buffer_new(HD_ND_TENSOR, type, out->count, size);
    if (!out->buffer) {
        *out = (hd_nd){0};
        return hd_fail(err, HD_NOMEM, "no memory for a tensor");
    }
    out->data = out->buffer->bytes;
    return HD_OK;
}

hd_status hd_nd_new_list(hd_nd *out, hd_type type, size_t n, hd_err *err) {
    *out = (hd_nd){.kind = HD_ND_LIST, .type = type, .count = n, .buffer = buffer_new(HD_ND_LIST, type, n, sizeof(hd_nd))};
    if (!out->buffer) {
        *out = (hd_nd){0};
        return hd_fail(err, HD_NOMEM, "no memory for a list of %zu tensors", n);
    }
    out->data = out->buffer->bytes;
    return HD_OK;
}

hd_nd hd_nd_share(const hd_nd *v) {
    if (v->buffer) v->buffer->refs++;
    return *v;
}

void hd_nd_free(hd_nd *v) {
    struct hd_nd_buffer *b = v->buffer;
    *v = (hd_nd){0};
    if (!b || --b->refs) return;
    if (b->kind == HD_ND_LIST)
        for (size_t k = 0; k < b->count; k++) hd_nd_free((hd_nd *)(void *)b->bytes + k);
    else if (b->type == HD_TYPE_STRING)
        for (size_t k = 0; k < b->count; k++) free(((char **)(void *)b->bytes)[k]);
    free(b);
}

int hd_nd_same_shape(const hd_nd *a, const hd_nd *b) {
    return a->rank == b->rank && (a->rank == 0 || memcmp(a->dim, b->dim, sizeof *a->dim * (size_t)a->rank) == 0);
}

const char *hd_nd_shape_text(char *text, int rank, const int64_t *dim) {
    size_t at = 0;
    if (rank == 0) return "scalar";
    for (int k = 0; k < rank && k < HD_ND_MAX_RANK; k++) at += (size_t)snprintf(text + at, 22, k ? "x%lld" : "%lld", (long long)dim[k]);
    return text;
}
