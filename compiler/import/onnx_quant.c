/* Quantised ONNX: QuantizeLinear and DequantizeLinear around float operators (QDQ), and QLinearConv and QLinearMatMul.
 *
 * The graph holds real numbers as ever. A quantised tensor keeps its scale and zero point, a layer the scales of its weights, so that the
 * file's integers can stay (hd_compress_kept). Codes are int8 here: those of uint8 are less by 128. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "onnx_internal.h"

/* Scale and zero point of codes: inputs s and z of the node; the type of the codes when z is left out. */
typedef struct codes {
    const float *scale;
    const int64_t *zero; /* NULL: 0 */
    size_t n;
    int type;
} codes;

static hd_status read_codes(codes *q, hd_onnx *o, int n, int s, int z, int type, hd_err *err) {
    const hd_onnx_const *scale, *zero;
    hd_status status = hd_onnx_float_constant(&scale, o, n, s, 0, err);
    if (status == HD_OK) status = hd_onnx_constant(&zero, o, n, z, 1, err);
    if (status != HD_OK) return status;
    *q = (codes){scale->f, zero ? zero->i : NULL, scale->count, zero ? zero->type : type};
    if (scale->count == 0 || scale->rank > 1 || (zero && (!zero->i || zero->count != scale->count)))
        return hd_onnx_fail(o, n, err, HD_MISMATCH, "%zu scales in %d dimensions and %zu zero points; one, or one a channel, of each is expected", scale->count, scale->rank, zero ? zero->count : scale->count);
    for (size_t k = 0; k < scale->count; k++)
        if (!(scale->f[k] > 0) || !isfinite(scale->f[k])) return hd_onnx_fail(o, n, err, HD_RANGE, "scale %g; must be positive", (double)scale->f[k]);
    return HD_OK;
}

/* Gives graph tensor t these codes, or checks that it has them. */
static hd_status note_codes(hd_onnx *o, int n, int t, const codes *q, hd_err *err) {
    hd_tensor_info *info = &o->g->tensor[t];
    int64_t zero = (q->zero ? q->zero[0] : 0) - (q->type == HD_TYPE_U8 ? 128 : 0);
    if (q->n != 1) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "a computed tensor with %zu scales; one is supported", q->n);
    if ((q->type != HD_TYPE_U8 && q->type != HD_TYPE_I8) || zero < -128 || zero > 127)
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "codes of type %s with zero point %lld; uint8 and int8 are supported", hd_type_name(q->type), (long long)(q->zero ? q->zero[0] : 0));
    if (info->scale > 0 && (info->scale != q->scale[0] || info->zero != (int)zero))
        return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "tensor '%s' is quantised with scale %g, zero point %d and again with %g, %lld; once is supported", info->name, (double)info->scale, info->zero,
                            (double)q->scale[0], (long long)zero);
    info->scale = q->scale[0];
    info->zero = (int)zero;
    return HD_OK;
}

hd_status hd_onnx_quantize(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    codes q;
    hd_status status = hd_onnx_input(&x, o, n, 0, err);
    if (status == HD_OK) status = read_codes(&q, o, n, 1, 2, HD_TYPE_U8, err);
    if (status == HD_OK) status = note_codes(o, n, x->tensor, &q, err);
    return status == HD_OK ? hd_onnx_alias(o, n, x, 0, NULL, err) : status;
}

/* The real numbers that constant codes stand for, in *to (new), with their scales when these are an int8 layer's. */
static hd_status real_constant(hd_onnx_const *to, hd_onnx *o, int n, const hd_onnx_const *c, const codes *q, int64_t axis, hd_err *err) {
    *to = *c;
    to->f = to->scale = NULL;
    to->i = NULL;
    to->is_float = 1;
    if (!c->i) return hd_onnx_fail(o, n, err, HD_FORMAT, "dequantises floats");
    if (q->n == 1) axis = 0; /* of one scale it says nothing, whatever stands there */
    else if (axis < 0) axis += c->rank;
    if (q->n != 1 && (axis < 0 || axis >= c->rank || (size_t)c->dim[axis] != q->n)) return hd_onnx_fail(o, n, err, HD_MISMATCH, "%zu scales do not lie along axis %lld", q->n, (long long)axis);
    size_t step = 1;
    for (int64_t k = axis + 1; q->n != 1 && k < c->rank; k++) step *= (size_t)c->dim[k];
    hd_status status = hd_onnx_floats(&to->f, o, n, NULL, c->count, err);
    int fits = 1;
    for (size_t k = 0; status == HD_OK && k < c->count; k++) {
        size_t p = q->n == 1 ? 0 : k / step % q->n;
        int64_t v = (int64_t)((uint64_t)c->i[k] - (uint64_t)(q->zero ? q->zero[p] : 0));
        fits &= v >= -128 && v <= 127;
        to->f[k] = (float)v * q->scale[p];
    }
    if (status != HD_OK || !fits) return status; /* int32 biases; weights whose zero points leave int8 are real numbers */
    status = hd_onnx_floats(&to->scale, o, n, q->scale, q->n, err);
    to->scales = q->n;
    to->scale_axis = (int)axis;
    return status;
}

hd_status hd_onnx_dequantize(hd_onnx *o, int n, hd_err *err) {
    hd_onnx_value *x;
    codes q;
    int64_t axis;
    hd_status status = hd_onnx_any(&x, o, n, 0, err);
    if (status == HD_OK) status = hd_onnx_int(&axis, o, n, "axis", 1, err);
    if (status == HD_OK) status = read_codes(&q, o, n, 1, 2, x->kind == HD_ONNX_CONST ? x->constant.type : HD_TYPE_U8, err);
    if (status != HD_OK) return status;
    if (x->kind == HD_ONNX_TENSOR) {
        if (!(o->g->tensor[x->tensor].scale > 0)) hd_onnx_spread_codes(o->g);
        if (!(o->g->tensor[x->tensor].scale > 0)) return hd_onnx_fail(o, n, err, HD_UNSUPPORTED, "input '%s' was never quantised", x->name);
        status = note_codes(o, n, x->tensor, &q, err);
        return status == HD_OK ? hd_onnx_alias(o, n, x, 0, NULL, err) : status;
    }
    if (o->node[n].p->n_output == 0 || o->node[n].out[0] < 0) return hd_onnx_fail(o, n, err, HD_FORMAT, "output 0 has no name");
    hd_onnx_const c;
    status = real_constant(&c, o, n, &x->constant, &q, axis, err);
    if (status != HD_OK) {
        hd_onnx_const_free(&c);
        return status;
    }
    hd_onnx_value *y = &o->value[o->node[n].out[0]];
    y->constant = c;
    y->kind = HD_ONNX_CONST;
    return HD_OK;
}

hd_status hd_onnx_keep_scales(hd_onnx *o, int n, hd_node *node, const hd_onnx_const *w, int axis, hd_err *err) {
    if (!w->scale || (w->scales != 1 && (w->scale_axis != axis || w->scales != (size_t)node->cout))) return HD_OK;
    hd_status status = hd_onnx_floats(&node->weight_scale, o, n, NULL, (size_t)node->cout, err);
    for (int c = 0; status == HD_OK && c < node->cout; c++) node->weight_scale[c] = w->scale[w->scales == 1 ? 0 : c];
    return status;
}

/* QLinearConv (inputs x, its codes, w, its codes, codes of y, bias) and QLinearMatMul (without a bias). */
static hd_status qlinear(hd_onnx *o, int n, int convolution, hd_err *err) {
    hd_onnx_value *x;
    const hd_onnx_const *w, *bias = NULL;
    codes qx, qw, qy;
    hd_onnx_const real = {0}, real_bias = {0};
    hd_status status = hd_onnx_input(&x, o, n, 0, err);
    if (status == HD_OK) status = read_codes(&qx, o, n, 1, 2, HD_TYPE_U8, err);
    if (status == HD_OK) status = hd_onnx_constant(&w, o, n, 3, 0, err);
    if (status == HD_OK) status = read_codes(&qw, o, n, 4, 5, w->type, err);
    if (status == HD_OK) status = read_codes(&qy, o, n, 6, 7, HD_TYPE_U8, err);
    if (status == HD_OK && convolution) status = hd_onnx_constant(&bias, o, n, 8, 1, err);
    if (status == HD_OK) status = note_codes(o, n, x->tensor, &qx, err);
    if (status == HD_OK) status = real_constant(&real, o, n, w, &qw, convolution ? 0 : 1, err);
    if (status == HD_OK && bias) {
        /* Biases count in units of both scales. */
        float *units = malloc(qw.n * sizeof *units);
        codes qb = {units, NULL, qw.n, HD_TYPE_I32};
        for (size_t k = 0; units && k < qw.n; k++) units[k] = qx.scale[0] * qw.scale[k];
        status = units ? real_constant(&real_bias, o, n, bias, &qb, 0, err) : hd_onnx_fail(o, n, err, HD_NOMEM, "out of memory");
        free(units);
    }
    if (status == HD_OK) status = convolution ? hd_onnx_convolve(o, n, x, &real, bias ? &real_bias : NULL, err) : hd_onnx_multiply(o, n, x, &real, err);
    if (status == HD_OK) status = note_codes(o, n, o->value[o->node[n].out[0]].tensor, &qy, err);
    hd_onnx_const_free(&real);
    hd_onnx_const_free(&real_bias);
    return status;
}

hd_status hd_onnx_qlinearconv(hd_onnx *o, int n, hd_err *err) { return qlinear(o, n, 1, err); }
hd_status hd_onnx_qlinearmatmul(hd_onnx *o, int n, hd_err *err) { return qlinear(o, n, 0, err); }

/* Codes pass through what picks or moves them. */
void hd_onnx_spread_codes(hd_graph *g) {
    for (int k = 0; k < g->n_nodes; k++) {
        const hd_node *node = &g->node[k];
        hd_tensor_info *from = &g->tensor[node->input[0]], *to = &g->tensor[node->output];
        if ((node->op != HD_OP_MAX_POOL && node->op != HD_OP_FLATTEN) || to->scale > 0 || !(from->scale > 0)) continue;
        to->scale = from->scale;
        to->zero = from->zero;
    }
}
