/* What the operators are written with; private to this folder. */
#ifndef HD_CALL_H
#define HD_CALL_H
#include "host.h"
#include "proto.h"

typedef struct hd_call {
    hd_host *host;
    const Onnx__NodeProto *node;
    const hd_host_op *op;
    struct hd_host_plan *plan;  /* the graph the node is in */
    struct hd_frame *frame; /* that graph's values, for the bodies of If and Loop */
    int64_t opset;
    int n_in, n_out;
    const hd_nd *in[64]; /* NULL: left out */
    hd_nd *out;          /* n_out values, of kind HD_ND_NONE before */
    struct hd_scratch *scratch;
    double operations;
    hd_err *err;
} hd_call;
enum { HD_CALL_MAX_IN = 64, HD_CALL_MAX_OUT = 64 };

hd_status hd_call_fail(hd_call *c, hd_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Memory of zeros until the operator returns; NULL and an error recorded when there is none. */
void *hd_call_memory(hd_call *c, size_t count, size_t size);
/* Input k in another element type, until the operator returns; NULL on failure (recorded). */
const hd_nd *hd_call_as(hd_call *c, const hd_nd *v, hd_type type);
/* Attributes; the table has checked their kinds. */
const Onnx__AttributeProto *hd_attribute(const hd_call *c, const char *name);
int64_t hd_attr_i(const hd_call *c, const char *name, int64_t fallback);
float hd_attr_f(const hd_call *c, const char *name, float fallback);
/* Is string attribute `name` (or, when absent, `fallback`) equal to `value`? */
int hd_attr_is(const hd_call *c, const char *name, const char *fallback, const char *value);
/* Lent; NULL and *n = 0 when absent. */
const int64_t *hd_attr_ints(const hd_call *c, const char *name, size_t *n);
/* Integers of input k (int32 or int64, rank 0 or 1), until the operator returns; absent: *list NULL, *n 0. */
hd_status hd_in_ints(hd_call *c, int k, const int64_t **list, size_t *n);
/* The same from the input where the operator set has one (k >= 0 and c->opset >= since), else from the attribute. */
hd_status hd_list(hd_call *c, const char *name, int k, int64_t since, const int64_t **list, size_t *n);
/* One number from input k, which may be absent. */
hd_status hd_in_number(hd_call *c, int k, double fallback, double *value);
/* An axis, -rank..rank-1, as 0..rank-1. */
hd_status hd_axis(hd_call *c, int64_t axis, int rank, int *out);
/* Axes as a set of bits; none given: all when `all`. */
hd_status hd_axis_set(hd_call *c, const int64_t *axes, size_t n, int rank, int all, unsigned *set);
/* Those axes one by one, or the first n without a list; n is at most rank. axis: [n] */
hd_status hd_axis_list(hd_call *c, const int64_t *axes, size_t n, int rank, int *axis);
/* Output k as a new tensor of zeros, which the operator fills; counts its elements as operations. */
hd_status hd_out(hd_call *c, int k, hd_type type, int rank, const int64_t *dim);
static inline hd_status hd_out_like(hd_call *c, int k, hd_type type, const hd_nd *v) { return hd_out(c, k, type, v->rank, v->dim); }
/* Output k is v under other dims (the same number of elements), sharing them. */
hd_status hd_out_view(hd_call *c, int k, const hd_nd *v, int rank, const int64_t *dim);
/* Output k is v, which it takes over, in element type `type`. */
hd_status hd_out_cast(hd_call *c, int k, hd_nd *v, hd_type type);
/* Is output k asked for? */
static inline int hd_wants(const hd_call *c, int k) { return k < c->n_out && c->node->output[k][0]; }
/* Adds to the work of the run; HD_RANGE when that passes the limit. */
hd_status hd_work(hd_call *c, double operations);
/* The same of what is no operation of the network's but takes as long (run.h, beside). */
hd_status hd_beside(hd_call *c, double operations);
size_t hd_limit(const hd_call *c);
const char *hd_label(const hd_call *c);
/* Runs the graph of attribute `name` with the given values as its inputs (taken over); out holds what it gives, to be freed. */
hd_status hd_call_body(hd_call *c, const char *name, hd_nd *in, int n_in, hd_nd *out, int n_out);
int hd_body_outputs(const hd_call *c, const char *name);

/* The type arithmetic is done in: float, double, int64 or uint64. */
hd_type hd_wide(hd_type type);

/* Loops over a tensor of `rank` dims: `inner` elements at a time, with up to four operands of their own strides (in elements). */
typedef struct hd_loop {
    int rank, n;
    int64_t dim[HD_ND_MAX_RANK], stride[4][HD_ND_MAX_RANK], at[HD_ND_MAX_RANK];
    int64_t offset[4];
    int64_t inner;          /* elements of the innermost dimension */
    int64_t step[4];        /* strides in it */
    int done;
} hd_loop;
/* Dims that n tensors broadcast to. */
hd_status hd_broadcast_dims(hd_call *c, const hd_nd *const *v, int n, int *rank, int64_t *dim);
/* Operands broadcast to the dims; start with hd_loop_begin, go on while hd_loop_more, then hd_loop_next. */
void hd_loop_begin(hd_loop *l, int rank, const int64_t *dim, const hd_nd *const *v, int n);
void hd_loop_next(hd_loop *l);
/* Elements before, along and after an axis. */
void hd_split_at(const hd_nd *v, int axis, size_t *before, size_t *along, size_t *after);
/* op_norm.c: the logarithms of the softmax of n numbers, `stride` apart in both. */
void hd_log_softmax(double *to, const double *from, size_t n, size_t stride);
/* op_matmul.c: numpy's matmul of two tensors of type `wide`; *y is new. Integer codes less their zero points, as int64. */
hd_status hd_matmul(hd_call *c, hd_nd *y, const hd_nd *a, const hd_nd *b, hd_type wide);
hd_status hd_less_zero(hd_call *c, int k, int z, int axis, const hd_nd **out);
/* Row-major strides. */
void hd_strides(int rank, const int64_t *dim, int64_t *stride);

#define HD_HOST_OP(name, since, until, min_in, max_in, max_out, types, attributes, run) hd_status run(hd_call *c);
#include "operators.def"
#undef HD_HOST_OP
#define HD_TRY(expression) do { hd_status status_ = (expression); if (status_ != HD_OK) return status_; } while (0)
#endif
