/* The ONNX importer's own state; private to this folder. */
#ifndef HD_ONNX_INTERNAL_H
#define HD_ONNX_INTERNAL_H
#include <stddef.h>
#include <stdint.h>

#include "import.h"
#include "../onnx/proto.h"

enum { HD_ONNX_MAX_RANK = 8, HD_ONNX_MAX_ELEMENTS = 1 << 26, HD_ONNX_MAX_STEP = 65535, HD_ONNX_MAX_PAD = 32767 };

/* A constant: initializer, Constant node, or something computed from them. One of f and i is set (both NULL when empty). */
typedef struct hd_onnx_const {
    int rank, is_float;
    int64_t dim[HD_ONNX_MAX_RANK];
    size_t count;
    float *f;
    int64_t *i;
    int type;      /* of the elements in the file: HD_TYPE_* */
    float *scale;  /* of int8 codes that f stands for: one, or one along scale_axis; NULL: f is real numbers */
    size_t scales;
    int scale_axis;
} hd_onnx_const;

typedef enum hd_onnx_kind { HD_ONNX_PENDING, HD_ONNX_TENSOR, HD_ONNX_CONST } hd_onnx_kind;

/* A named value of the ONNX graph. A tensor value may be a *view*: its dim differ from the shape of the graph tensor that
 * holds its elements (a Reshape or Squeeze costs no node). */
typedef struct hd_onnx_value {
    const char *name;                /* lent from the message */
    const Onnx__TensorProto *stored; /* initializer, read when first needed */
    int producer;                    /* ONNX node, -1 for inputs and initializers */
    int uses;                        /* readers among the nodes that lead to the output; the output counts as one */
    hd_onnx_kind kind;
    hd_onnx_const constant;
    int tensor, node;                /* graph tensor; graph node that writes it or -1 */
    int shared;                      /* another value names the same graph tensor and is read too */
    int rank;                        /* 2..4 */
    int64_t dim[4];                  /* dim[0] = 1, the batch */
} hd_onnx_value;

typedef struct hd_onnx_node {
    const Onnx__NodeProto *p;
    int *in, *out; /* value indices; -1 for an omitted one */
    int needed;
} hd_onnx_node;

typedef struct hd_onnx {
    const char *label;
    int64_t opset;
    const Onnx__GraphProto *proto;
    int n_values, n_nodes;
    hd_onnx_value *value;
    hd_onnx_node *node;
    int *refs;   /* storage of all in and out */
    int *order;  /* nodes, inputs before users */
    int input, output; /* values */
    size_t left;       /* bytes that copies of constants may still take */
    hd_graph *g;
} hd_onnx;

/* onnx_tensor.c */
hd_status hd_onnx_const_read(hd_onnx_const *c, const Onnx__TensorProto *t, const char *label, hd_err *err);
/* The same from a value, which is lent. */
hd_status hd_onnx_const_take(hd_onnx_const *c, const hd_nd *v, const char *label, hd_err *err);
void hd_onnx_const_free(hd_onnx_const *c);

/* onnx_order.c: the values, the resolved names and the order of execution. */
hd_status hd_onnx_index(hd_onnx *o, hd_err *err);

/* onnx_node.c: what all operators use. `n` is the index of the ONNX node. */
hd_status hd_onnx_fail(const hd_onnx *o, int n, hd_err *err, hd_status code, const char *format, ...) __attribute__((format(printf, 5, 6)));
const Onnx__AttributeProto *hd_onnx_attribute(const hd_onnx *o, int n, const char *name);
hd_status hd_onnx_int(int64_t *v, const hd_onnx *o, int n, const char *name, int64_t fallback, hd_err *err);
hd_status hd_onnx_float(float *v, const hd_onnx *o, int n, const char *name, float fallback, hd_err *err);
/* Integers of a list attribute, lent; *count 0 and *v NULL when it is absent. */
hd_status hd_onnx_ints(const int64_t **v, size_t *count, const hd_onnx *o, int n, const char *name, hd_err *err);
/* Takes `bytes` from what copies may take: many nodes can share one large constant. */
hd_status hd_onnx_charge(hd_onnx *o, int n, size_t bytes, hd_err *err);
hd_status hd_onnx_const_copy(hd_onnx_const *to, hd_onnx *o, int n, const hd_onnx_const *from, hd_err *err);
/* *to is a new copy of n floats. */
hd_status hd_onnx_floats(float **to, hd_onnx *o, int n, const float *from, size_t count, hd_err *err);
/* Input k as a tensor value of the network / as a constant (float data); for an omitted optional one *c is NULL. */
hd_status hd_onnx_input(hd_onnx_value **v, hd_onnx *o, int n, int k, hd_err *err);
hd_status hd_onnx_constant(const hd_onnx_const **c, hd_onnx *o, int n, int k, int optional, hd_err *err);
hd_status hd_onnx_float_constant(const hd_onnx_const **c, hd_onnx *o, int n, int k, int optional, hd_err *err);
/* Input k of either kind, ready to read. */
hd_status hd_onnx_any(hd_onnx_value **v, hd_onnx *o, int n, int k, hd_err *err);
/* Adds a graph node that reads x and writes output 0 of n, of the given shape; rank 2, 3 (height 1) or 4, or 0: the dims of x. */
hd_status hd_onnx_emit(hd_node **out, hd_onnx *o, int n, hd_op op, const hd_onnx_value *x, hd_shape shape, int rank, hd_err *err);
/* Output 0 of n is x under another name and with the given dims (NULL: those of x). */
hd_status hd_onnx_alias(hd_onnx *o, int n, const hd_onnx_value *x, int rank, const int64_t *dim, hd_err *err);
/* Shape the dims of v stand for. */
hd_shape hd_onnx_shape(const hd_onnx_value *v);
/* Makes a view a tensor of its own (a flatten node) where an operator depends on the shape. */
hd_status hd_onnx_materialise(hd_onnx *o, int n, hd_onnx_value *v, hd_err *err);
/* May the node that writes v be changed? Only if nothing else reads its result. */
int hd_onnx_sole(const hd_onnx_value *v);
/* Gives the graph tensor t a new name. */
hd_status hd_onnx_rename(hd_onnx *o, int t, const char *name, hd_err *err);

/* onnx_linear.c, onnx_pool.c, onnx_shape.c, onnx_simple.c: the operators. */
typedef hd_status hd_onnx_op(hd_onnx *o, int n, hd_err *err);
hd_onnx_op hd_onnx_conv, hd_onnx_gemm, hd_onnx_matmul;
hd_onnx_op hd_onnx_batchnorm, hd_onnx_add, hd_onnx_sub, hd_onnx_mul, hd_onnx_div;
hd_onnx_op hd_onnx_maxpool, hd_onnx_avgpool, hd_onnx_globalpool, hd_onnx_reducemean;
hd_onnx_op hd_onnx_flatten, hd_onnx_reshape, hd_onnx_squeeze, hd_onnx_unsqueeze, hd_onnx_identity, hd_onnx_constant_node;
hd_onnx_op hd_onnx_transpose, hd_onnx_shape_of, hd_onnx_gather, hd_onnx_concat, hd_onnx_cast;
hd_onnx_op hd_onnx_clip, hd_onnx_unary, hd_onnx_softmax, hd_onnx_prelu;
/* onnx_quant.c: quantised operators; the scales of constant codes w become those of the layer; what MaxPool and Flatten give has the codes of what they read. */
hd_onnx_op hd_onnx_quantize, hd_onnx_dequantize, hd_onnx_qlinearconv, hd_onnx_qlinearmatmul;
hd_status hd_onnx_keep_scales(hd_onnx *o, int n, hd_node *node, const hd_onnx_const *w, int axis, hd_err *err);
void hd_onnx_spread_codes(hd_graph *g);
/* onnx_linear.c: a convolution (attributes from n) and a product with given weights; b may be NULL. */
hd_status hd_onnx_convolve(hd_onnx *o, int n, hd_onnx_value *x, const hd_onnx_const *w, const hd_onnx_const *b, hd_err *err);
hd_status hd_onnx_multiply(hd_onnx *o, int n, hd_onnx_value *x, const hd_onnx_const *w, hd_err *err);
/* Strides, dilations and padding of n into w (kh, kw given); *y is the output size. rank: of the input, 4, or 3 with one spatial axis, which is the width of height 1. */
hd_status hd_onnx_window(hd_node *w, hd_shape *y, const hd_onnx *o, int n, hd_shape x, int rank, hd_err *err);
#endif
