/* Functions of two or more elements, broadcast. */
#include <math.h>
#include <string.h>

#include "call.h"

/* n elements of a and b, sa and sb apart, into y. */
typedef void inner_fn(int64_t n, const void *a, int64_t sa, const void *b, int64_t sb, void *y);

#define INNER(name, T, R, expression)                                                                                    \
    static void name(int64_t n, const void *pa, int64_t sa, const void *pb, int64_t sb, void *py) {                       \
        const T *a = pa, *b = pb;                                                                                          \
        R *y = py;                                                                                                         \
        for (int64_t k = 0; k < n; k++) {                                                                                  \
            T u = a[k * sa], v = b[k * sb]; (void)v;                                                                           \
            y[k] = (R)(expression);                                                                                        \
        }                                                                                                                  \
    }
/* One function for each type that arithmetic is done in: float, double, int64, uint64. Signed sums wrap, as numpy's do. */
#define ARITHMETIC(name, real, whole, natural)                                                                            \
    INNER(name##_f32, float, float, real) INNER(name##_f64, double, double, real)                                          \
    INNER(name##_i64, int64_t, int64_t, whole) INNER(name##_u64, uint64_t, uint64_t, natural)
#define COMPARE(name, expression)                                                                                         \
    INNER(name##_f32, float, uint8_t, expression) INNER(name##_f64, double, uint8_t, expression)                           \
    INNER(name##_i64, int64_t, uint8_t, expression) INNER(name##_u64, uint64_t, uint8_t, expression)

static int64_t divide(int64_t u, int64_t v) { return v == 0 ? 0 : v == -1 ? (int64_t)(0 - (uint64_t)u) : u / v; }
static int64_t rest(int64_t u, int64_t v) { return v == 0 || v == -1 ? 0 : u % v; }
/* The sign of the divisor, as in Python; `fmod` keeps the dividend's. */
static int64_t modulo(int64_t u, int64_t v) { int64_t r = rest(u, v); return r && (r < 0) != (v < 0) ? r + v : r; }
static int64_t power(int64_t u, int64_t v) {
    if (v < 0) return u == 1 ? 1 : u == -1 ? (v & 1 ? -1 : 1) : 0;
    uint64_t y = 1, base = (uint64_t)u;
    for (; v; v >>= 1, base *= base)
        if (v & 1) y *= base;
    return (int64_t)y;
}
static double fmod_python(double u, double v) { double r = fmod(u, v); return r != 0 && (r < 0) != (v < 0) ? r + v : r; }
static double max_f(double u, double v) { return isnan(u) || u > v ? u : v; }
static double min_f(double u, double v) { return isnan(u) || u < v ? u : v; }

ARITHMETIC(add, u + v, (uint64_t)u + (uint64_t)v, u + v)
ARITHMETIC(sub, u - v, (uint64_t)u - (uint64_t)v, u - v)
ARITHMETIC(mul, u * v, (uint64_t)u * (uint64_t)v, u * v)
ARITHMETIC(div, u / v, divide(u, v), v ? u / v : 0)
ARITHMETIC(mod, fmod_python((double)u, (double)v), modulo(u, v), v ? u % v : 0)
ARITHMETIC(fmod, fmod((double)u, (double)v), rest(u, v), v ? u % v : 0)
ARITHMETIC(pow, pow((double)u, (double)v), power(u, v), power((int64_t)u, (int64_t)(v & INT64_MAX)))
ARITHMETIC(max, max_f((double)u, (double)v), u > v ? u : v, u > v ? u : v)
ARITHMETIC(min, min_f((double)u, (double)v), u < v ? u : v, u < v ? u : v)
ARITHMETIC(prelu, u < 0 ? u * v : u, u < 0 ? (uint64_t)u * (uint64_t)v : (uint64_t)u, u)
COMPARE(equal, u == v)
COMPARE(less, u < v)
COMPARE(less_equal, u <= v)
COMPARE(greater, u > v)
COMPARE(greater_equal, u >= v)
INNER(and_u64, uint64_t, uint8_t, u && v)
INNER(or_u64, uint64_t, uint8_t, u || v)
INNER(xor_u64, uint64_t, uint8_t, !u != !v)
INNER(bit_and_u64, uint64_t, uint64_t, u & v)
INNER(bit_or_u64, uint64_t, uint64_t, u | v)
INNER(bit_xor_u64, uint64_t, uint64_t, u ^ v)
INNER(left_u64, uint64_t, uint64_t, v < 64 ? u << v : 0)
INNER(right_u64, uint64_t, uint64_t, v < 64 ? u >> v : 0)

typedef struct binary {
    const char *name;
    inner_fn *f32, *f64, *i64, *u64;
    int truth; /* the result is bool */
} binary;
#define FOUR(name) name##_f32, name##_f64, name##_i64, name##_u64
static const binary functions[] = {
    {"Add", FOUR(add), 0}, {"Sub", FOUR(sub), 0}, {"Mul", FOUR(mul), 0}, {"Div", FOUR(div), 0}, {"Pow", FOUR(pow), 0}, {"PRelu", FOUR(prelu), 0},
    {"Max", FOUR(max), 0}, {"Min", FOUR(min), 0}, {"Sum", FOUR(add), 0}, {"Mean", FOUR(add), 0},
    {"Equal", FOUR(equal), 1}, {"Less", FOUR(less), 1}, {"LessOrEqual", FOUR(less_equal), 1}, {"Greater", FOUR(greater), 1}, {"GreaterOrEqual", FOUR(greater_equal), 1},
    {"And", 0, 0, 0, and_u64, 1}, {"Or", 0, 0, 0, or_u64, 1}, {"Xor", 0, 0, 0, xor_u64, 1},
    {"BitwiseAnd", 0, 0, 0, bit_and_u64, 0}, {"BitwiseOr", 0, 0, 0, bit_or_u64, 0}, {"BitwiseXor", 0, 0, 0, bit_xor_u64, 0},
};
static const binary mod = {"Mod", FOUR(mod), 0}, mod_c = {"Mod", FOUR(fmod), 0}, left = {"BitShift", 0, 0, 0, left_u64, 0}, right = {"BitShift", 0, 0, 0, right_u64, 0};

/* y, new, is f of a and b, which are of type `wide` already. */
static hd_status combine(hd_nd *y, hd_call *c, const binary *f, hd_type wide, const hd_nd *a, const hd_nd *b) {
    const hd_nd *v[2] = {a, b};
    int64_t dim[HD_ND_MAX_RANK];
    int rank;
    inner_fn *inner = wide == HD_TYPE_F32 ? f->f32 : wide == HD_TYPE_F64 ? f->f64 : wide == HD_TYPE_I64 && f->i64 ? f->i64 : wide == HD_TYPE_U64 || wide == HD_TYPE_I64 ? f->u64 : NULL; /* bits are bits */
    hd_err err = {0};
    *y = (hd_nd){0};
    if (!inner) return hd_call_fail(c, HD_UNSUPPORTED, "does not take elements of type %s", hd_type_name((int)c->in[0]->type));
    HD_TRY(hd_broadcast_dims(c, v, 2, &rank, dim));
    hd_status status = hd_nd_new(y, f->truth ? HD_TYPE_BOOL : wide, rank, dim, hd_limit(c), &err);
    if (status != HD_OK) return hd_call_fail(c, status, "%s", err.message);
    char *to = y->data;
    size_t size = hd_type_size(wide), step = hd_type_size(y->type);
    hd_loop l;
    for (hd_loop_begin(&l, rank, dim, v, 2); !l.done; hd_loop_next(&l)) {
        inner(l.inner, (const char *)a->data + (size_t)l.offset[0] * size, l.step[0], (const char *)b->data + (size_t)l.offset[1] * size, l.step[1], to);
        to += (size_t)l.inner * step;
    }
    return hd_work(c, (double)y->count);
}

/* Before operator set 7 the second operand lies along `axis` of the first, where attribute broadcast is set. */
static hd_status legacy(hd_call *c, const hd_nd **b, hd_nd *view) {
    if (c->opset >= 7) {
        if (hd_attribute(c, "broadcast") || hd_attribute(c, "axis")) return hd_call_fail(c, HD_FORMAT, "attributes broadcast and axis ended with operator set 7");
        return HD_OK;
    }
    const hd_nd *a = c->in[0];
    if (strcmp(c->op->name, "PRelu") == 0) { /* a slope for each channel */
        *view = **b;
        if ((*b)->rank != 1 || a->rank < 2) return HD_OK;
        for (view->rank = 1; view->rank < a->rank - 1; view->rank++) view->dim[view->rank] = 1;
        *b = view;
        return HD_OK;
    }
    if (!hd_attr_i(c, "broadcast", 0)) {
        if (hd_nd_same_shape(a, *b)) return HD_OK;
        return hd_call_fail(c, HD_MISMATCH, "operands of different shapes without attribute broadcast");
    }
    int64_t axis = hd_attr_i(c, "axis", a->rank - (*b)->rank);
    if (axis < 0) axis += a->rank;
    if (axis < 0 || axis > a->rank - (*b)->rank) return hd_call_fail(c, HD_RANGE, "axis %lld for operands of %d and %d dimensions", (long long)axis, a->rank, (*b)->rank);
    *view = **b;
    view->rank = a->rank - (int)axis;
    for (int k = (*b)->rank; k < view->rank; k++) view->dim[k] = 1;
    *b = view;
    return HD_OK;
}

static hd_status two(hd_call *c, const binary *f) {
    const hd_nd *a = c->in[0], *b = c->in[1];
    hd_nd view, y;
    hd_type wide = hd_wide(a->type);
    /* Only Pow and BitShift may mix types: an exponent takes part in the wider arithmetic of the two. */
    if (a->type != b->type) {
        if (strcmp(c->op->name, "Pow")) return hd_call_fail(c, HD_MISMATCH, "operands of types %s and %s", hd_type_name((int)a->type), hd_type_name((int)b->type));
        if (hd_type_is_float(b->type) || hd_type_is_float(a->type)) wide = HD_TYPE_F64;
        else wide = HD_TYPE_I64;
    }
    HD_TRY(legacy(c, &b, &view));
    a = hd_call_as(c, a, wide);
    b = a ? hd_call_as(c, b, wide) : NULL;
    if (!b) return HD_NOMEM;
    hd_status status = combine(&y, c, f, wide, a, b);
    if (status != HD_OK) {
        hd_nd_free(&y);
        return status;
    }
    return hd_out_cast(c, 0, &y, f->truth ? HD_TYPE_BOOL : c->in[0]->type);
}

static const binary *find(const char *name) {
    const binary *f = functions;
    while (strcmp(f->name, name)) f++;
    return f;
}

hd_status hd_op_binary(hd_call *c) { return two(c, find(c->op->name)); }

hd_status hd_op_mod(hd_call *c) {
    int64_t as_c = hd_attr_i(c, "fmod", 0);
    if (!as_c && hd_type_is_float(c->in[0]->type)) return hd_call_fail(c, HD_FORMAT, "floats need attribute fmod = 1");
    return two(c, as_c ? &mod_c : &mod);
}

hd_status hd_op_bitshift(hd_call *c) {
    int to_left = hd_attr_is(c, "direction", "", "LEFT");
    if (!to_left && !hd_attr_is(c, "direction", "", "RIGHT")) return hd_call_fail(c, HD_FORMAT, "attribute direction is neither LEFT nor RIGHT");
    if (!hd_type_is_unsigned(c->in[0]->type)) return hd_call_fail(c, HD_UNSUPPORTED, "shifts %s; unsigned integers are allowed", hd_type_name((int)c->in[0]->type));
    return two(c, to_left ? &left : &right);
}

/* Max, Min, Sum, Mean of any number of tensors. */
hd_status hd_op_variadic(hd_call *c) {
    const binary *f = find(c->op->name);
    hd_type type = c->in[0] ? c->in[0]->type : HD_TYPE_NONE, wide = hd_wide(type);
    hd_nd sum = {0}, next;
    for (int k = 0; k < c->n_in; k++) {
        hd_status status = HD_OK;
        if (!c->in[k] || c->in[k]->type != type) status = hd_call_fail(c, HD_MISMATCH, "input %d is missing or not of type %s", k, hd_type_name((int)type));
        const hd_nd *v = status == HD_OK ? hd_call_as(c, c->in[k], wide) : NULL;
        if (!v) status = HD_NOMEM;
        if (v && k == 0) sum = hd_nd_share(v);
        else if (v) {
            status = combine(&next, c, f, wide, &sum, v);
            hd_nd_free(&sum);
            sum = next;
        }
        if (status != HD_OK) {
            hd_nd_free(&sum);
            return status;
        }
    }
    if (strcmp(c->op->name, "Mean") == 0) {
        hd_nd n;
        next = (hd_nd){0};
        hd_status status = hd_nd_new(&n, wide, 0, NULL, hd_limit(c), c->err);
        if (status == HD_OK) {
            if (wide == HD_TYPE_F64) *(double *)n.data = c->n_in;
            else *(float *)n.data = (float)c->n_in;
            status = combine(&next, c, find("Div"), wide, &sum, &n);
            hd_nd_free(&n);
        }
        hd_nd_free(&sum);
        if (status != HD_OK) {
            hd_nd_free(&next);
            return status;
        }
        sum = next;
    }
    return hd_out_cast(c, 0, &sum, type);
}

hd_status hd_op_where(hd_call *c) {
    const hd_nd *v[3] = {c->in[0], c->in[1], c->in[2]};
    int rank;
    int64_t dim[HD_ND_MAX_RANK];
    if (v[0]->type != HD_TYPE_BOOL || v[1]->type != v[2]->type) return hd_call_fail(c, HD_MISMATCH, "a bool tensor and two of one type are expected");
    HD_TRY(hd_broadcast_dims(c, v, 3, &rank, dim));
    HD_TRY(hd_out(c, 0, v[1]->type, rank, dim));
    size_t size = hd_type_size(v[1]->type);
    char *to = c->out[0].data;
    hd_loop l;
    for (hd_loop_begin(&l, rank, dim, v, 3); !l.done; hd_loop_next(&l))
        for (int64_t k = 0; k < l.inner; k++, to += size) {
            int first = ((const uint8_t *)v[0]->data)[l.offset[0] + k * l.step[0]] != 0;
            int64_t at = first ? l.offset[1] + k * l.step[1] : l.offset[2] + k * l.step[2];
            memcpy(to, (const char *)v[first ? 1 : 2]->data + (size_t)at * size, size);
        }
    return HD_OK;
}
