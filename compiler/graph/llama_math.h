/* Shared by the two executors of Llama-shape models. */
#ifndef HD_LLAMA_MATH_H
#define HD_LLAMA_MATH_H
#include <math.h>
#include <stdint.h>
#include <string.h>

/* e^x for x <= 88, to about 2 units in the last place (Cephes' polynomial); below -87 it is 0, of a NaN a NaN. libm's expf does not vectorise,
 * and the softmax of attention is half of the executor's time. */
static inline float hd_exp(float x) {
    float c = x < -87.0f ? -87.0f : x;
    /* Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits. */
    float shifted = c * 1.44269504f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float r = c - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits, whole;
    memcpy(&bits, &p, sizeof bits);
    memcpy(&whole, &shifted, sizeof whole);
    bits += (whole - 0x4b400000u) << 23; /* p * 2^n; unsigned, because a NaN comes this way too */
    memcpy(&p, &bits, sizeof p);
    return x < -87.0f ? 0.0f : x == x ? p : x;
}

/* softmax of x[0..n-1] in place. */
static inline void hd_softmax(float *x, int n) {
    float top = x[0], sum = 0;
#pragma omp simd reduction(max : top)
    for (int i = 0; i < n; i++) top = x[i] > top ? x[i] : top;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) {
        x[i] = hd_exp(x[i] - top);
        sum += x[i];
    }
    float scale = 1.0f / sum;
    for (int i = 0; i < n; i++) x[i] *= scale;
}

/* out = x / rms(x) * weight, one row. */
static inline void hd_rms_norm(float *out, const float *x, const float *weight, int dim) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < dim; i++) sum += x[i] * x[i];
    float scale = 1.0f / sqrtf(sum / (float)dim + 1e-5f);
    for (int i = 0; i < dim; i++) out[i] = x[i] * scale * weight[i];
}

/* Cosine and sine of pair i of a head at a position: angle = position / 10000^(2i / head). */
static inline void hd_rotation(float *cosine, float *sine, int position, int pair, int head) {
    float angle = (float)position / powf(10000.0f, 2.0f * (float)pair / (float)head);
    *cosine = cosf(angle);
    *sine = sinf(angle);
}

/* Turns the neighbouring pairs of `heads` heads; table is [head/2][cosine, sine]. */
static inline void hd_rotate_heads(float *x, const float *table, int heads, int head) {
    for (int h = 0; h < heads; h++, x += head)
        for (int i = 0; i < head; i += 2) {
            float a = x[i], b = x[i + 1], c = table[i], s = table[i + 1];
            x[i] = a * c - b * s;
            x[i + 1] = a * s + b * c;
        }
}

static inline float hd_silu(float x) {
    return x / (1.0f + hd_exp(x > -80.0f ? -x : 80.0f));
}
#endif
