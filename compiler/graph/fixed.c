#include "fixed.h"

#include <string.h>

enum { EXP_TERMS = 9 };
static const int64_t ONE = INT64_C(1) << 30, HALF = INT64_C(1) << 29;
static const int64_t LN2 = 744261118;              /* ln 2 * 2^30 */
static const int64_t LOG2E = 1549082005;           /* 2^30 / ln 2 */
static const int64_t LN_10000 = 9889527670;        /* ln 10000 * 2^30 */
static const int64_t HALF_PI = 110534964875444;    /* pi/2 * 2^46 */

static int bits_of(uint64_t x) { return 64 - __builtin_clzll(x); }

hd_scaled hd_scaled_of(uint64_t x, int e) {
    if (!x) return (hd_scaled){0, 0};
    int bits = bits_of(x);
    if (bits <= 31) return (hd_scaled){(uint32_t)(x << (31 - bits)), e - (31 - bits)};
    int shift = bits - 31;
    uint64_t m = (x >> shift) + (x >> (shift - 1) & 1);
    if (m >> 31) return (hd_scaled){1u << 30, e + shift + 1};
    return (hd_scaled){(uint32_t)m, e + shift};
}

hd_scaled hd_scaled_float(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t exponent = bits >> 23 & 0xff, fraction = bits & 0x7fffff;
    return exponent ? hd_scaled_of(fraction | 1u << 23, (int)exponent - 150) : hd_scaled_of(fraction, -149);
}

hd_scaled hd_scaled_mul(hd_scaled a, hd_scaled b) {
    return hd_scaled_of((uint64_t)a.m * b.m, a.e + b.e);
}

hd_scaled hd_scaled_div(hd_scaled a, hd_scaled b) {
    return hd_scaled_of(((uint64_t)a.m << 32) / b.m, a.e - b.e - 32);
}

static uint64_t whole_root(uint64_t x) {
    uint64_t root = 0;
    for (uint64_t bit = UINT64_C(1) << 31; bit; bit >>= 1) {
        uint64_t more = root | bit;
        if (more * more <= x) root = more;
    }
    return root;
}

hd_scaled hd_scaled_sqrt(hd_scaled a) {
    int zeros = (a.e - 31) & 1 ? 32 : 31;
    return hd_scaled_of(whole_root((uint64_t)a.m << zeros), (a.e - zeros) / 2);
}

static int32_t saturated(int64_t x) {
    return x > INT32_MAX ? INT32_MAX : x < -INT32_MAX ? -INT32_MAX : (int32_t)x;
}

int32_t hd_scaled_times(hd_scaled s, int64_t k, int fraction) {
    int64_t p = k * (int64_t)s.m;
    int left = s.e + fraction;
    if (!p) return 0;
    if (left >= 0) {
        /* |p| is 2^30 or more, so that already two places left saturate. */
        return left > 1 ? saturated(p > 0 ? INT64_MAX : INT64_MIN) : saturated(p > INT32_MAX ? INT32_MAX : p < -INT32_MAX ? -INT32_MAX : p * (1 << left));
    }
    if (left < -62) return 0;
    return saturated((p + (INT64_C(1) << (-left - 1))) >> -left);
}

int32_t hd_fixed_float(float x, int fraction) {
    return hd_scaled_times(hd_scaled_float(x), x < 0 ? -1 : 1, fraction);
}

/* e^-r for |r| <= ln 2 / 2, by Horner's rule on the series; the division by a whole number truncates. */
static int64_t exp_near(int64_t r) {
    int64_t p = ONE;
    for (int k = EXP_TERMS; k > 0; k--) p = ONE - ((r * p + HALF) >> 30) / k;
    return p;
}

uint32_t hd_fixed_exp(int64_t d) {
    if (d >= INT64_C(32) << 30) return 0;
    int64_t n = ((d >> 14) * LOG2E + (INT64_C(1) << 45)) >> 46;
    int64_t p = exp_near(d - n * LN2);
    return (uint32_t)(n ? (p + (INT64_C(1) << (n - 1))) >> n : p);
}

int64_t hd_fixed_log(uint64_t x) {
    int whole = bits_of(x) - 31;
    uint64_t m = x >> whole; /* 1 .. 2 with 30 fraction bits */
    int64_t log2 = 0; /* of m */
    for (int bit = 29; bit >= 0; bit--) {
        m = m * m >> 30;
        if (m >> 31) {
            m >>= 1;
            log2 += INT64_C(1) << bit;
        }
    }
    return whole * LN2 + ((log2 * LN2 + HALF) >> 30);
}

int64_t hd_fixed_sigmoid(int32_t x) {
    int64_t e = hd_fixed_exp((x < 0 ? -(int64_t)x : (int64_t)x) << 14);
    return ((x < 0 ? e : ONE) << 30) / (ONE + e);
}

/* Sine (first 1) or cosine (first 0) of |r| <= pi/4: each term is the one before times -r^2 / (k (k+1)). */
static int64_t wave(int64_t r, int first) {
    int64_t square = (r * r + HALF) >> 30, p = ONE;
    for (int k = first ? 10 : 9; k > 0; k -= 2) p = ONE - ((square * p + HALF) >> 30) / (k * (k + 1));
    return first ? (r * p + HALF) >> 30 : p;
}

void hd_fixed_rotation(int32_t *cosine, int32_t *sine, int position, int pair, int head) {
    int64_t angle = (int64_t)position * hd_fixed_exp(LN_10000 * 2 * pair / head);
    int64_t quarter = ((angle << 16) + HALF_PI / 2) / HALF_PI, r = ((angle << 16) - quarter * HALF_PI + (1 << 15)) >> 16;
    int64_t c = wave(r, 0), s = wave(r, 1), swap = c;
    if (quarter & 1) c = -s, s = swap;
    *cosine = (int32_t)(quarter & 2 ? -c : c);
    *sine = (int32_t)(quarter & 2 ? -s : s);
}

static int64_t floor_div(int64_t a, int64_t b) {
    int64_t q = a / b;
    return q - (a % b < 0);
}

hd_scaled hd_fixed_codes(int8_t *code, const int64_t *z, int n, int e) {
    int64_t most = 0;
    for (int i = 0; i < n; i++) {
        int64_t size = z[i] < 0 ? -z[i] : z[i];
        if (size > most) most = size;
    }
    for (int i = 0; i < n; i++) code[i] = (int8_t)(most ? floor_div(254 * z[i] + most, 2 * most) : 0);
    return hd_scaled_div(hd_scaled_of((uint64_t)most, e), hd_scaled_of(127, 0));
}
