/* Values of ONNX graphs: tensors of any element type and of up to eight dimensions, and lists of tensors.
 *
 * A value is a small struct that refers to a counted buffer: sharing one (Identity, Reshape) copies no element, and nobody writes
 * to a buffer once its value is complete. Elements are row-major; a tensor of rank 0 has one element. */
#ifndef HD_ND_H
#define HD_ND_H
#include <stddef.h>
#include <stdint.h>

#include "../../sw/core/err.h"

/* Numbers as in ONNX's TensorProto.DataType. */
typedef enum hd_type {
    HD_TYPE_NONE = 0, HD_TYPE_F32 = 1, HD_TYPE_U8 = 2, HD_TYPE_I8 = 3, HD_TYPE_U16 = 4, HD_TYPE_I16 = 5, HD_TYPE_I32 = 6, HD_TYPE_I64 = 7,
    HD_TYPE_STRING = 8, HD_TYPE_BOOL = 9, HD_TYPE_F16 = 10, HD_TYPE_F64 = 11, HD_TYPE_U32 = 12, HD_TYPE_U64 = 13, HD_TYPE_BF16 = 16
} hd_type;

/* A list holds tensors; an optional that holds nothing is HD_ND_EMPTY, one that holds something is that thing. */
typedef enum hd_nd_kind { HD_ND_NONE, HD_ND_TENSOR, HD_ND_LIST, HD_ND_EMPTY } hd_nd_kind;
enum { HD_ND_MAX_RANK = 8 };

typedef struct hd_nd {
    hd_nd_kind kind;
    hd_type type; /* of a list: of its items, HD_TYPE_NONE where that is open */
    int rank;
    int64_t dim[HD_ND_MAX_RANK];
    size_t count; /* elements; of a list: items */
    void *data;   /* elements (strings: char *); of a list: struct hd_nd */
    struct hd_nd_buffer *buffer;
} hd_nd;

const char *hd_type_name(int type);
/* Bytes of an element in memory; 0 for what is no type. */
size_t hd_type_size(hd_type type);
static inline int hd_type_is_float(hd_type t) { return t == HD_TYPE_F32 || t == HD_TYPE_F64 || t == HD_TYPE_F16 || t == HD_TYPE_BF16; }
static inline int hd_type_is_unsigned(hd_type t) { return t == HD_TYPE_U8 || t == HD_TYPE_U16 || t == HD_TYPE_U32 || t == HD_TYPE_U64; }
static inline int hd_type_is_int(hd_type t) { return hd_type_is_unsigned(t) || t == HD_TYPE_I8 || t == HD_TYPE_I16 || t == HD_TYPE_I32 || t == HD_TYPE_I64; }

/* A new tensor of zeros (strings: NULL). HD_RANGE for more than `limit` bytes, a negative size or a rank that is too high. */
hd_status hd_nd_new(hd_nd *out, hd_type type, int rank, const int64_t *dim, size_t limit, hd_err *err);
/* Elements of a tensor of these sizes (none negative); 0 when there are more than `most`. Of an empty tensor the sizes that are not 0 count for that, so that no product of
 * some of a tensor's sizes overflows. */
int hd_nd_count(size_t *count, int rank, const int64_t *dim, size_t most);
/* A new list of n absent items, which the caller fills with shared values. */
hd_status hd_nd_new_list(hd_nd *out, hd_type type, size_t n, hd_err *err);
/* Another reference to the same elements; release both. */
hd_nd hd_nd_share(const hd_nd *v);
/* Gives the reference back and clears *v. */
void hd_nd_free(hd_nd *v);
/* Tensor v (HD_MISMATCH: it is none) in another element type (a new value, or a shared one when the type stays): floats to integers are cut towards zero and saturate at
 * 64 bits, integers wrap to narrower ones, floats round to nearest even, anything but zero is true. */
hd_status hd_nd_cast(hd_nd *out, const hd_nd *v, hd_type to, hd_err *err);
/* Are two tensors of the same shape? */
int hd_nd_same_shape(const hd_nd *a, const hd_nd *b);
/* "2x3x4", or "scalar", in a buffer of 8 x 21 characters. */
const char *hd_nd_shape_text(char *text, int rank, const int64_t *dim);
enum { HD_ND_SHAPE_TEXT = 21 * HD_ND_MAX_RANK + 1 };
/* 16-bit floats from a float, rounded to nearest even. */
uint16_t hd_f16_round(float x);
uint16_t hd_bf16_round(float x);
#endif
