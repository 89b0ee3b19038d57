/* Windows: padding rules of Conv and the poolings, and the poolings themselves. */
#include <string.h>

#include "onnx_internal.h"

typedef enum auto_pad { EXPLICIT, VALID, SAME_UPPER, SAME_LOWER } auto_pad;

static hd_status read_auto_pad(auto_pad *mode, const hd_onnx *o, int n, hd_err *err) {
    static const char *const names[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"};
    const Onnx__AttributeProto *a = hd_onnx_attribute(o, n, "auto_pad");
    *mode = EXPLICIT;
    if (!a) return HD_OK;
    if (a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING && a->has_s)
        for (int k = 0; k < 4; k++)
            if (a->s.len == strlen(names[k]) && memcmp(a->s.data, names[k], a->s.len) == 0) {
                *mode = (auto_pad)k;
                return HD_OK;
            }
    return hd_onnx_fail(o, n, err, HD_FORMAT, "attribute 'auto_pad' must be NOTSET, VALID, SAME_UPPER or SAME_LOWER");
}

/* `sides` values (1, or 2 for both ends) a spatial axis of a list attribute, each within lo..hi; `fallback` for all when it is absent. to: height, width, then
 * their other ends; of an input of rank 3 the height has `flat`. */
static hd_status read_list(int *to, size_t sides, int rank, int flat, int fallback, int lo, int hi, const hd_onnx *o, int n, const char *name, hd_err *err) {
    const int64_t *v;
    size_t have, axes = rank == 3 ? 1 : 2, count = sides * axes;
    hd_status status = hd_onnx_ints(&v, &have, o, n, name, err);
    if (status != HD_OK) return status;
    if (v && have != count) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "attribute '%s' has %zu values; %zu (%s) are supported", name, have, count, rank == 3 ? "one dimension" : "two dimensions");
    for (size_t k = 0; k < count; k++) {
        if (v && (v[k] < lo || v[k] > hi))
            return hd_onnx_fail(o, n, err, HD_RANGE, "attribute '%s' holds %lld; allowed %d..%d", name, (long long)v[k], lo, hi);
        to[rank == 3 ? 2 * k + 1 : k] = v ? (int)v[k] : fallback;
        if (rank == 3) to[2 * k] = flat;
    }
    return HD_OK;
}

/* One axis; *before and *after hold the explicit padding and are replaced by what counts. */
static hd_status axis(int *out, int *before, int *after, const hd_onnx *o, int n, const char *name, int in, int kernel, int stride, int dilation,
                      auto_pad mode, int ceil_mode, hd_err *err) {
    int64_t extent = (int64_t)(kernel - 1) * dilation + 1;
    if (mode == VALID) *before = *after = 0;
    if (mode == SAME_UPPER || mode == SAME_LOWER) {
        int64_t size = ((int64_t)in + stride - 1) / stride, pad = (size - 1) * stride + extent - in;
        if (pad < 0) pad = 0;
        if (pad / 2 + 1 > HD_ONNX_MAX_PAD) return hd_onnx_fail(o, n, err, HD_RANGE, "SAME padding of %lld along the %s; each side allows %d", (long long)pad, name, HD_ONNX_MAX_PAD);
        int small = (int)(pad / 2), large = (int)(pad - pad / 2);
        *before = mode == SAME_UPPER ? small : large;
        *after = mode == SAME_UPPER ? large : small;
    }
    int64_t room = (int64_t)in + *before + *after - extent;
    if (room < 0)
        return hd_onnx_fail(o, n, err, HD_MISMATCH, "the kernel reaches over %lld elements of the %s; the padded input has %lld", (long long)extent, name, (long long)(room + extent));
    int64_t size = room / stride + 1;
    if (ceil_mode && mode == EXPLICIT && room % stride && size * stride < (int64_t)in + *before) {
        /* A last, partial window, if it begins before the padding behind the input. */
        size++;
        int64_t more = (size - 1) * stride + extent - in - *before;
        if (more > HD_ONNX_MAX_PAD) return hd_onnx_fail(o, n, err, HD_RANGE, "ceil_mode needs padding of %lld along the %s; allowed %d", (long long)more, name, HD_ONNX_MAX_PAD);
        *after = (int)more;
    }
    *out = (int)size;
    return HD_OK;
}

static hd_status window(hd_node *w, hd_shape *y, const hd_onnx *o, int n, hd_shape x, int rank, int ceil_mode, hd_err *err) {
    int stride[2], dilation[2], pad[4];
    auto_pad mode;
    hd_status status = read_list(stride, 1, rank, 1, 1, 1, HD_ONNX_MAX_STEP, o, n, "strides", err);
    if (status == HD_OK) status = read_list(dilation, 1, rank, 1, 1, 1, HD_ONNX_MAX_STEP, o, n, "dilations", err);
    if (status == HD_OK) status = read_list(pad, 2, rank, 0, 0, 0, HD_ONNX_MAX_PAD, o, n, "pads", err);
    if (status == HD_OK) status = read_auto_pad(&mode, o, n, err);
    if (status != HD_OK) return status;
    if (mode != EXPLICIT && (pad[0] | pad[1] | pad[2] | pad[3]))
        return hd_onnx_fail(o, n, err, HD_FORMAT, "has both 'pads' and 'auto_pad'; only one is allowed");
    w->sy = stride[0], w->sx = stride[1];
    w->dy = dilation[0], w->dx = dilation[1];
    w->pad_top = pad[0], w->pad_left = pad[1], w->pad_bottom = pad[2], w->pad_right = pad[3];
    status = axis(&y->h, &w->pad_top, &w->pad_bottom, o, n, "height", x.h, w->kh, w->sy, w->dy, mode, ceil_mode, err);
    if (status == HD_OK) status = axis(&y->w, &w->pad_left, &w->pad_right, o, n, "width", x.w, w->kw, w->sx, w->dx, mode, ceil_mode, err);
    return status;
}

hd_status hd_onnx_window(hd_node *w, hd_shape *y, const hd_onnx *o, int n, hd_shape x, int rank, hd_err *err) {
    return window(w, y, o, n, x, rank, 0, err);
}

static hd_status image(hd_onnx_value **x, hd_onnx *o, int n, hd_err *err) {
    hd_status status = hd_onnx_input(x, o, n, 0, err);
    if (status != HD_OK) return status;
    if ((*x)->rank < 3) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "input '%s' has %d dimensions; 3 and 4 (pooling of one or two dimensions) are supported", (*x)->name, (*x)->rank);
    return hd_onnx_materialise(o, n, *x, err);
}

static hd_status emit_pool(hd_onnx *o, int n, hd_op op, const hd_onnx_value *x, const hd_node *window_of, hd_shape y, int include_pad, hd_err *err) {
    hd_node *node;
    hd_status status = hd_onnx_emit(&node, o, n, op, x, y, x->rank, err);
    if (status != HD_OK) return status;
    node->kh = window_of->kh, node->kw = window_of->kw;
    node->sy = window_of->sy, node->sx = window_of->sx;
    node->dy = window_of->dy, node->dx = window_of->dx;
    node->pad_top = window_of->pad_top, node->pad_left = window_of->pad_left;
    node->pad_bottom = window_of->pad_bottom, node->pad_right = window_of->pad_right;
    node->count_include_pad = include_pad;
    return HD_OK;
}

static hd_status pool(hd_onnx *o, int n, hd_op op, hd_err *err) {
    hd_onnx_value *x;
    int kernel[2];
    int64_t ceil_mode, include_pad;
    hd_status status = image(&x, o, n, err);
    if (status == HD_OK) status = read_list(kernel, 1, x->rank, 1, 0, 1, HD_ONNX_MAX_STEP, o, n, "kernel_shape", err);
    if (status == HD_OK) status = hd_onnx_int(&ceil_mode, o, n, "ceil_mode", 0, err);
    if (status == HD_OK) status = hd_onnx_int(&include_pad, o, n, "count_include_pad", 0, err);
    if (status != HD_OK) return status;
    if (!kernel[1]) return hd_onnx_fail(o, n, err, HD_FORMAT, "attribute 'kernel_shape' is missing");
    hd_node w = {.kh = kernel[0], .kw = kernel[1]}, exact = w;
    hd_shape in = hd_onnx_shape(x), y = {in.c, 0, 0}, exact_y = y;
    status = window(&w, &y, o, n, in, x->rank, ceil_mode != 0, err);
    if (status != HD_OK) return status;
    if (include_pad && ceil_mode) {
        /* Elements past the padding do not count even then, so the windows have several divisors. */
        status = window(&exact, &exact_y, o, n, in, x->rank, 0, err);
        if (status != HD_OK) return status;
        if (exact.pad_bottom != w.pad_bottom || exact.pad_right != w.pad_right)
            return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "count_include_pad with a partial last window (ceil_mode); only one of both is supported");
    }
    return emit_pool(o, n, op, x, &w, y, op == HD_OP_AVG_POOL && include_pad, err);
}

hd_status hd_onnx_maxpool(hd_onnx *o, int n, hd_err *err) { return pool(o, n, HD_OP_MAX_POOL, err); }
hd_status hd_onnx_avgpool(hd_onnx *o, int n, hd_err *err) { return pool(o, n, HD_OP_AVG_POOL, err); }

static hd_status global(hd_onnx *o, int n, hd_op op, const hd_onnx_value *x, hd_err *err) {
    hd_shape in = hd_onnx_shape(x);
    if (in.h > HD_ONNX_MAX_STEP || in.w > HD_ONNX_MAX_STEP)
        return hd_onnx_fail(o, n, err, HD_RANGE, "pools over %d x %d; at most %d each are allowed", in.h, in.w, HD_ONNX_MAX_STEP);
    hd_node w = {.kh = in.h, .kw = in.w, .sy = 1, .sx = 1, .dy = 1, .dx = 1};
    return emit_pool(o, n, op, x, &w, (hd_shape){in.c, 1, 1}, 0, err);
}

hd_status hd_onnx_globalpool(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    hd_status status = image(&x, o, n, err);
    if (status != HD_OK) return status;
    return global(o, n, strcmp(o->node[n].p->op_type, "GlobalMaxPool") ? HD_OP_AVG_POOL : HD_OP_MAX_POOL, x, err);
}

/* The mean over height and width is how some exporters write global average pooling. */
hd_status hd_onnx_reducemean(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    const hd_onnx_const *list = NULL;
    const int64_t *axes;
    size_t count;
    int64_t keep;
    hd_status status = image(&x, o, n, err);
    if (status == HD_OK) status = hd_onnx_ints(&axes, &count, o, n, "axes", err);
    if (status == HD_OK) status = hd_onnx_int(&keep, o, n, "keepdims", 1, err);
    if (status == HD_OK && !axes) status = hd_onnx_constant(&list, o, n, 1, 1, err);
    if (status != HD_OK) return status;
    if (list && list->i) axes = list->i, count = list->count;
    if (x->rank != 4) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "input '%s' has %d dimensions; 4 are supported", x->name, x->rank);
    int64_t a = axes && count == 2 ? (axes[0] < 0 ? axes[0] + 4 : axes[0]) : -1, b = axes && count == 2 ? (axes[1] < 0 ? axes[1] + 4 : axes[1]) : -1;
    if (!((a == 2 && b == 3) || (a == 3 && b == 2))) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "only the mean over axes 2 and 3 (height and width) is supported");
    status = global(o, n, HD_OP_AVG_POOL, x, err);
    if (status == HD_OK && !keep) o->value[o->node[n].out[0]].rank = 2;
    return status;
}
