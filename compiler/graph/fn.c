/* The elementwise functions, as ONNX defines them. In float, with forms that neither overflow nor cancel. */
#include <math.h>

#include "graph.h"

float hd_fn_apply(hd_fn fn, float alpha, float beta, float x) {
    switch (fn) {
    case HD_FN_SIGMOID: return 1.0f / (1.0f + expf(-x));
    case HD_FN_TANH: return tanhf(x);
    case HD_FN_LEAKY_RELU: return x < 0 ? alpha * x : x;
    case HD_FN_ELU: return x < 0 ? alpha * expm1f(x) : x;
    case HD_FN_HARD_SIGMOID: return fminf(1.0f, fmaxf(0.0f, alpha * x + beta));
    case HD_FN_HARD_SWISH: return x * fminf(1.0f, fmaxf(0.0f, x / 6.0f + 0.5f));
    case HD_FN_SOFTPLUS: return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
    case HD_FN_EXP: return expf(x);
    case HD_FN_ABS: return fabsf(x);
    case HD_FN_NEG: return -x;
    case HD_FN_SQRT: return sqrtf(x);
    case HD_FN_GELU: return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case HD_FN_SILU: return x / (1.0f + expf(-x));
    }
    return x;
}
