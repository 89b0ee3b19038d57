/* Conv, Gemm, MatMul. */
#include "onnx_internal.h"

hd_status hd_onnx_convolve(hd_onnx *o, int n, hd_onnx_value *x, const hd_onnx_const *w, const hd_onnx_const *b, hd_err *err) {
    int64_t groups;
    const int64_t *kernel;
    size_t kernel_rank;
    hd_status status = hd_onnx_int(&groups, o, n, "group", 1, err);
    if (status == HD_OK) status = hd_onnx_ints(&kernel, &kernel_rank, o, n, "kernel_shape", err);
    if (status != HD_OK) return status;
    if (x->rank < 3) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "input '%s' has %d dimensions; 3 and 4 (convolution of one or two dimensions) are supported", x->name, x->rank);
    if (w->rank != x->rank) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "weights have %d dimensions; %d are supported", w->rank, x->rank);
    status = hd_onnx_materialise(o, n, x, err);
    if (status != HD_OK) return status;
    hd_shape in = hd_onnx_shape(x);
    int flat = x->rank == 3; /* one spatial axis: a width, of height 1 */
    const int64_t d[4] = {w->dim[0], w->dim[1], flat ? 1 : w->dim[2], w->dim[flat ? 2 : 3]};
    if (w->count == 0 || d[0] > HD_ONNX_MAX_ELEMENTS || d[2] > HD_ONNX_MAX_STEP || d[3] > HD_ONNX_MAX_STEP)
        return hd_onnx_fail(o, n, err, HD_RANGE, "weights of %lld x %lld x %lld x %lld; outputs 1..%d and kernels 1..%d are allowed", (long long)d[0],
                            (long long)d[1], (long long)d[2], (long long)d[3], HD_ONNX_MAX_ELEMENTS, HD_ONNX_MAX_STEP);
    if (kernel && (kernel_rank != (flat ? 1 : 2) || (!flat && kernel[0] != d[2]) || kernel[flat ? 0 : 1] != d[3]))
        return hd_onnx_fail(o, n, err, HD_MISMATCH, "attribute 'kernel_shape' differs from the weights, which are %lld x %lld", (long long)d[2], (long long)d[3]);
    if (groups < 1 || groups > in.c || in.c % groups || d[0] % groups)
        return hd_onnx_fail(o, n, err, HD_RANGE, "%lld groups; must divide %d input and %lld output channels", (long long)groups, in.c, (long long)d[0]);
    if (d[1] != in.c / groups)
        return hd_onnx_fail(o, n, err, HD_MISMATCH, "weights for %lld input channels a group; the input has %lld", (long long)d[1], (long long)(in.c / groups));
    if (b && (b->count != (size_t)d[0] || b->rank != 1))
        return hd_onnx_fail(o, n, err, HD_MISMATCH, "bias of %zu elements; %lld output channels need as many", b->count, (long long)d[0]);
    hd_node probe = {.kh = (int)d[2], .kw = (int)d[3]};
    hd_shape out = {(int)d[0], 0, 0};
    status = hd_onnx_window(&probe, &out, o, n, in, x->rank, err);
    if (status != HD_OK) return status;
    hd_node *node;
    status = hd_onnx_emit(&node, o, n, HD_OP_CONV2D, x, out, x->rank, err);
    if (status != HD_OK) return status;
    node->kh = probe.kh, node->kw = probe.kw;
    node->sy = probe.sy, node->sx = probe.sx;
    node->dy = probe.dy, node->dx = probe.dx;
    node->pad_top = probe.pad_top, node->pad_left = probe.pad_left;
    node->pad_bottom = probe.pad_bottom, node->pad_right = probe.pad_right;
    node->groups = (int)groups;
    node->cin = in.c;
    node->cout = (int)d[0];
    status = hd_onnx_floats(&node->weight, o, n, w->f, w->count, err);
    if (status == HD_OK && b) status = hd_onnx_floats(&node->bias, o, n, b->f, b->count, err);
    return status == HD_OK ? hd_onnx_keep_scales(o, n, node, w, 0, err) : status;
}

hd_status hd_onnx_conv(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    const hd_onnx_const *w, *b;
    hd_status status = hd_onnx_input(&x, o, n, 0, err);
    if (status == HD_OK) status = hd_onnx_float_constant(&w, o, n, 1, 0, err);
    if (status == HD_OK) status = hd_onnx_float_constant(&b, o, n, 2, 1, err);
    return status == HD_OK ? hd_onnx_convolve(o, n, x, w, b, err) : status;
}

/* out x in weights from w, which is in x out unless `transposed`. */
static hd_status fully_connected(hd_node **made, hd_onnx *o, int n, hd_onnx_value *x, const hd_onnx_const *w, int transposed, float alpha, hd_err *err) {
    if (x->rank != 2)
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "input '%s' has %d dimensions; 2 (batch, features) are supported", x->name, x->rank);
    if (w->rank != 2 || w->count == 0)
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "weights have %d dimensions and %zu elements; 2 dimensions are supported", w->rank, w->count);
    int64_t in = w->dim[transposed ? 1 : 0], out = w->dim[transposed ? 0 : 1];
    if (in != x->dim[1]) return hd_onnx_fail(o, n, err, HD_MISMATCH, "weights for %lld inputs; '%s' has %lld", (long long)in, x->name, (long long)x->dim[1]);
    if (out > HD_ONNX_MAX_ELEMENTS) return hd_onnx_fail(o, n, err, HD_RANGE, "%lld outputs; at most %d are allowed", (long long)out, HD_ONNX_MAX_ELEMENTS);
    /* The layer flattens its input by itself: a view needs no node of its own. */
    hd_status status = hd_onnx_emit(made, o, n, HD_OP_FC, x, (hd_shape){(int)out, 1, 1}, 2, err);
    if (status != HD_OK) return status;
    hd_node *node = *made;
    node->cin = (int)in;
    node->cout = (int)out;
    status = hd_onnx_floats(&node->weight, o, n, NULL, w->count, err);
    if (status != HD_OK) return status;
    for (size_t r = 0; r < (size_t)out; r++)
        for (size_t c = 0; c < (size_t)in; c++) {
            float v = transposed ? w->f[r * (size_t)in + c] : w->f[c * (size_t)out + r];
            node->weight[r * (size_t)in + c] = alpha == 1.0f ? v : alpha * v;
        }
    return alpha == 1.0f ? hd_onnx_keep_scales(o, n, node, w, transposed ? 0 : 1, err) : HD_OK;
}

hd_status hd_onnx_multiply(hd_onnx *o, int n, hd_onnx_value *x, const hd_onnx_const *w, hd_err *err) {
    hd_node *node;
    return fully_connected(&node, o, n, x, w, 0, 1.0f, err);
}

hd_status hd_onnx_gemm(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    const hd_onnx_const *w, *b;
    int64_t trans_a, trans_b;
    float alpha, beta;
    hd_status status = hd_onnx_input(&x, o, n, 0, err);
    if (status == HD_OK) status = hd_onnx_float_constant(&w, o, n, 1, 0, err);
    if (status == HD_OK) status = hd_onnx_float_constant(&b, o, n, 2, 1, err);
    if (status == HD_OK) status = hd_onnx_int(&trans_a, o, n, "transA", 0, err);
    if (status == HD_OK) status = hd_onnx_int(&trans_b, o, n, "transB", 0, err);
    if (status == HD_OK) status = hd_onnx_float(&alpha, o, n, "alpha", 1.0f, err);
    if (status == HD_OK) status = hd_onnx_float(&beta, o, n, "beta", 1.0f, err);
    if (status != HD_OK) return status;
    if (trans_a) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "transA = %lld; only 0 is supported", (long long)trans_a);
    hd_node *node;
    status = fully_connected(&node, o, n, x, w, trans_b != 0, alpha, err);
    if (status != HD_OK || !b) return status;
    /* C spreads over [1, out]: all its dimensions but the last are 1. */
    int64_t last = b->rank ? b->dim[b->rank - 1] : 1;
    if (b->rank > 2 || b->count != (size_t)last || (last != 1 && last != node->cout))
        return hd_onnx_fail(o, n, err, HD_MISMATCH, "bias of %zu elements in %d dimensions; 1 or %d elements along the last are allowed", b->count, b->rank, node->cout);
    status = hd_onnx_floats(&node->bias, o, n, NULL, (size_t)node->cout, err);
    if (status != HD_OK) return status;
    for (int c = 0; c < node->cout; c++) {
        float v = b->f[last == 1 ? 0 : c];
        node->bias[c] = beta == 1.0f ? v : beta * v;
    }
    return HD_OK;
}

hd_status hd_onnx_matmul(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    const hd_onnx_const *w;
    hd_status status = hd_onnx_input(&x, o, n, 0, err);
    if (status == HD_OK) status = hd_onnx_float_constant(&w, o, n, 1, 0, err);
    return status == HD_OK ? hd_onnx_multiply(o, n, x, w, err) : status;
}
