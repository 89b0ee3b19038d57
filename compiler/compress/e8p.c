/* The E8P table, its nearest-point search, and rotations. */
#include "e8p.h"

#include <math.h>
#include <string.h>

#include "../../sw/core/rng.h"

enum { PATTERNS = 256, SHORTLIST = 12 };

/* Magnitudes 1, 3, 5 (lattice units are halves), and whether an even number of minus signs keeps the signed sum a multiple of 4 halves. */
typedef struct table {
    uint8_t half[PATTERNS][8];
    uint8_t odd[PATTERNS];  /* 1: an odd number of signs is minus */
    uint8_t norm[PATTERNS]; /* squared, in lattice units */
} table;

/* All patterns in order of norm, then as base-3 numbers; the 29 of norm 12 are the first that have no 5/2. */
static void fill(table *t) {
    int count = 0;
    for (int norm = 2; norm <= 12; norm += 2)
        for (int n = 0; n < 6561 && count < PATTERNS; n++) {
            int square = 0, sum = 0, fives = 0;
            uint8_t half[8];
            for (int i = 0, x = n; i < 8; i++, x /= 3) {
                half[i] = (uint8_t)(1 + 2 * (x % 3));
                square += half[i] * half[i];
                sum += half[i];
                fives += half[i] == 5;
            }
            if (square != 4 * norm || (norm == 12 && fives)) continue;
            memcpy(t->half[count], half, sizeof half);
            t->odd[count] = sum % 4 != 0;
            t->norm[count++] = (uint8_t)norm;
        }
}

static const table *patterns(void) {
    static table t;
    static int ready;
    int seen;
#pragma omp atomic read seq_cst
    seen = ready;
    if (!seen) {
#pragma omp critical(hd_e8p_patterns)
        if (!ready) {
            fill(&t);
#pragma omp atomic write seq_cst
            ready = 1;
        }
    }
    return &t;
}

void hd_e8p_decode(int8_t u[8], uint16_t code) {
    const table *t = patterns();
    int pattern = code & 255, minus = t->odd[pattern], shift = code >> 15 ? -1 : 1;
    for (int i = 0; i < 8; i++) {
        int sign = i < 7 ? code >> (8 + i) & 1 : minus;
        minus ^= sign;
        u[i] = (int8_t)((sign ? -2 : 2) * t->half[pattern][i] + shift);
    }
}

/* Squared distance, less |x|^2, of a pattern with the nearest signs: those of x, but the cheapest one turned when their number has the
 * wrong parity (then *turned names it, else it is -1). */
static double nearest_signs(const table *t, int pattern, const double magnitude[8], int parity, int *turned) {
    double along = 0, cheapest = INFINITY;
    for (int i = 0; i < 8; i++) {
        double product = 2.0 * t->half[pattern][i] * magnitude[i];
        along += product;
        if (product < cheapest) {
            cheapest = product;
            *turned = i;
        }
    }
    if (parity == t->odd[pattern]) *turned = -1;
    return 16.0 * t->norm[pattern] - 2.0 * along + (*turned < 0 ? 0.0 : 4.0 * cheapest);
}

typedef struct found {
    double cost;
    uint16_t code;
} found;

/* The SHORTLIST nearest of all patterns and shifts, each with its nearest signs; nearest first. */
static void search(found best[SHORTLIST], const double x[8]) {
    const table *t = patterns();
    for (int i = 0; i < SHORTLIST; i++) best[i] = (found){INFINITY, 0};
    for (int shift = 0; shift < 2; shift++) {
        double magnitude[8], square = 0;
        int minus = 0, parity = 0;
        for (int i = 0; i < 8; i++) {
            double y = x[i] - (shift ? -1.0 : 1.0);
            magnitude[i] = fabs(y);
            minus |= (y < 0) << i;
            parity ^= y < 0;
            square += y * y;
        }
        for (int pattern = 0; pattern < PATTERNS; pattern++) {
            int turned, at = SHORTLIST - 1;
            double cost = square + nearest_signs(t, pattern, magnitude, parity, &turned);
            if (!(cost < best[at].cost)) continue;
            for (; at > 0 && cost < best[at - 1].cost; at--) best[at] = best[at - 1];
            int signs = turned < 0 ? minus : minus ^ 1 << turned;
            best[at] = (found){cost, (uint16_t)(pattern | (signs & 127) << 8 | shift << 15)};
        }
    }
}

uint16_t hd_e8p_nearest(const double x[8]) {
    found best[SHORTLIST];
    search(best, x);
    return best[0].code;
}

uint16_t hd_e8p_best(const double x[8], const double *metric) {
    found near[SHORTLIST];
    search(near, x);
    int best = 0;
    double least = INFINITY;
    for (int k = 0; k < SHORTLIST; k++) {
        int8_t u[8];
        double cost = 0;
        hd_e8p_decode(u, near[k].code);
        for (int i = 0; i < 8; i++) {
            double row = 0;
            for (int j = 0; j < 8; j++) row += metric[i * 8 + j] * (x[j] - u[j]);
            cost += row * (x[i] - u[i]);
        }
        if (cost < least) {
            least = cost;
            best = k;
        }
    }
    return near[best].code;
}

void hd_e8p_fine_decode(int8_t u[8], uint8_t code) {
    memset(u, 0, 8);
    if (code < 128) {
        int minus = 0;
        for (int i = 0; i < 8; i++) {
            int sign = i < 7 ? code >> i & 1 : minus;
            minus ^= sign;
            u[i] = sign ? -2 : 2;
        }
    } else if (code < 240) {
        int pair = (code - 128) >> 2, i = 1;
        for (; pair >= i; i++) pair -= i;
        u[i] = code & 1 ? -4 : 4;
        u[pair] = code & 2 ? -4 : 4;
    } else
        u[code >> 1 & 7] = code & 1 ? -4 : 4;
}

uint8_t hd_e8p_fine_best(const double x[8], const double *metric) {
    int best = 0;
    double least = INFINITY, y[8] = {0};
    for (int i = 0; metric && i < 8; i++)
        for (int j = 0; j < 8; j++) y[i] += metric[i * 8 + j] * x[j];
    for (int code = 0; code < 256; code++) {
        int8_t u[8];
        double cost = 0;
        hd_e8p_fine_decode(u, (uint8_t)code);
        /* Up to x metric x^T, which all codes share. */
        for (int i = 0; i < 8; i++) {
            if (!u[i]) continue;
            double row = metric ? -2.0 * y[i] : u[i] - 2.0 * x[i];
            for (int j = 0; metric && j < 8; j++) row += metric[i * 8 + j] * u[j];
            cost += row * u[i];
        }
        if (cost < least) {
            least = cost;
            best = code;
        }
    }
    return (uint8_t)best;
}

/* Normalised Walsh-Hadamard transform of 2^k elements; its own inverse. */
static void hadamard(double *x, int n) {
    for (int half = 1; half < n; half *= 2)
        for (int i = 0; i < n; i += 2 * half)
            for (int j = i; j < i + half; j++) {
                double a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
    double scale = 1.0 / sqrt((double)n);
    for (int i = 0; i < n; i++) x[i] *= scale;
}

static void signs(double *x, int n, uint64_t seed, uint64_t stream) {
    hd_rng rng;
    hd_rng_seed(&rng, seed, stream);
    for (int i = 0; i < n; i++)
        if (hd_rng_u32(&rng) >> 31) x[i] = -x[i];
}

void hd_rotate(double *x, int n, uint64_t seed, int inverse) {
    int power = 1;
    while (2 * power <= n) power *= 2;
    for (int step = 0; step < 2; step++) {
        int second = step ^ inverse; /* first: over the start; second: over the end, when there is one */
        if (second && power == n) continue;
        double *at = second ? x + n - power : x;
        if (!inverse) signs(x, n, seed, second ? 41 : 37);
        hadamard(at, power);
        if (inverse) signs(x, n, seed, second ? 41 : 37);
    }
}
