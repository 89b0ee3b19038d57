/* The container of GGUF files (versions 2 and 3, little-endian): key-value pairs, then a directory of tensors, then their data. Private to this folder.
 *
 * Layout facts: the GGUF specification of the ggml project (docs/gguf.md); block types: its ggml-common.h and ggml-quants. Everything is checked against the file's size
 * when it is opened; after that values and tensors can be read without further checks of bounds. */
#ifndef HD_GGUF_H
#define HD_GGUF_H
#include "../../sw/core/bytes.h"

enum { HD_GGUF_MAX_DIMS = 4 };
/* Types of values. */
enum { HD_GGUF_U8, HD_GGUF_I8, HD_GGUF_U16, HD_GGUF_I16, HD_GGUF_U32, HD_GGUF_I32, HD_GGUF_F32, HD_GGUF_BOOL, HD_GGUF_STRING, HD_GGUF_ARRAY, HD_GGUF_U64, HD_GGUF_I64, HD_GGUF_F64 };

typedef struct hd_gguf_text {
    const char *bytes; /* lent from the file, not terminated */
    size_t length;
} hd_gguf_text;

typedef struct hd_gguf_value {
    hd_gguf_text key;
    int type, element; /* element: of an ARRAY */
    uint64_t count;    /* of an ARRAY, else 1 */
    size_t at;         /* first byte in the file */
} hd_gguf_value;

typedef struct hd_gguf_tensor {
    hd_gguf_text name;
    int dims, type;
    uint64_t dim[HD_GGUF_MAX_DIMS]; /* dim[0] elements lie beside each other */
    size_t count;
    const uint8_t *data;            /* lent */
} hd_gguf_tensor;

typedef struct hd_gguf {
    const char *label; /* lent; path for messages */
    const uint8_t *data;
    size_t size;
    uint32_t n_values, n_tensors;
    hd_gguf_value *value;   /* owned */
    hd_gguf_tensor *tensor; /* owned */
} hd_gguf;

/* data is lent for the life of *g. HD_FORMAT, HD_RANGE, HD_UNSUPPORTED (a tensor type that hd_gguf_decode does not know), HD_NOMEM. */
hd_status hd_gguf_open(hd_gguf *g, const uint8_t *data, size_t size, const char *label, hd_err *err);
void hd_gguf_close(hd_gguf *g);
/* NULL when there is none. */
const hd_gguf_value *hd_gguf_find(const hd_gguf *g, const char *key);
const hd_gguf_tensor *hd_gguf_tensor_find(const hd_gguf *g, const char *name);
/* A whole number of any integer type; HD_FORMAT when it is missing (but for `otherwise` >= 0) or none, HD_RANGE outside 0..most. */
hd_status hd_gguf_integer(int64_t *to, const hd_gguf *g, const char *key, int64_t otherwise, int64_t most, hd_err *err);
/* An F32 or F64; `otherwise` when it is missing. */
hd_status hd_gguf_real(double *to, const hd_gguf *g, const char *key, double otherwise, hd_err *err);
/* Real values of all elements: F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q6_K. HD_FORMAT when one is not finite. */
hd_status hd_gguf_decode(float *to, const hd_gguf *g, const hd_gguf_tensor *t, hd_err *err);
#endif
