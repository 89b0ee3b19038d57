/* Bias and multiplier of a layer whose integers are a quantised file's, so that its codes are those of the file's own arithmetic: the accumulator times a float
 * scale, rounded once. The stage's multiplier has 16 bits, but its bias counts halves of the file's accumulator, and each code begins somewhere between two
 * values of the accumulator. */
#include <math.h>
#include <stdlib.h>

#include "compress_internal.h"
#include "model_internal.h"

enum { CODES = 256, TRIES = 512 /* of biases */ };

/* What the file's kernels make of an accumulator: codes above the zero point. */
static int64_t wanted(const hd_kept *k, int64_t sum) {
    if (k->window) { /* an integer mean of codes, halves away from code 0 */
        int64_t codes = sum + (int64_t)k->window * k->zero, half = k->window / 2;
        return (codes > 0 ? codes + half : codes - half) / k->window - k->zero;
    }
    float steps = (float)sum * k->scale;
    return (int64_t)nearbyintf(fminf(fmaxf(steps, -65536.0f), 65536.0f));
}

/* The smallest sum in lo..hi that is at least `code`; hi + 1: none. wanted() never falls. */
static int64_t first_sum(const hd_kept *k, int64_t code, int64_t lo, int64_t hi) {
    hi++;
    while (lo < hi) {
        int64_t middle = lo + (hi - lo) / 2;
        if (wanted(k, middle) >= code) hi = middle;
        else lo = middle + 1;
    }
    return lo;
}

static int64_t ceil_half(int64_t x) { return x >= 0 ? (x + 1) / 2 : -(-x / 2); }

/* The smallest 2 sum + bias from which the stage gives `code`. */
static int64_t stage_edge(int64_t code, int mult, int shift) {
    int64_t one = (int64_t)1 << shift, least = code * one - one / 2;
    return least >= 0 ? (least + mult - 1) / mult : -(-least / mult);
}

typedef struct fit {
    int64_t sum[CODES]; /* the first sum of a code in the file's arithmetic */
    int64_t code[CODES];
    int64_t weight[CODES]; /* how common it is */
    int n;
} fit;

/* How many values of the accumulator get another code than in the file, the common ones counting more. edge: [f->n] of the stage */
static int64_t differing(const fit *f, const int64_t *edge, int64_t bias) {
    int64_t total = 0;
    for (int i = 0; i < f->n; i++) total += llabs(ceil_half(edge[i] - bias) - f->sum[i]) * f->weight[i];
    return total;
}

/* The best bias for a multiplier; what differs with it. */
static int64_t best_bias(int64_t *bias, const fit *f, int mult, int shift) {
    int64_t edge[CODES], lo = INT64_MAX, hi = INT64_MIN, best = INT64_MAX;
    for (int i = 0; i < f->n; i++) {
        edge[i] = stage_edge(f->code[i], mult, shift);
        int64_t fits = edge[i] - 2 * f->sum[i]; /* this bias and the next one */
        if (fits < lo) lo = fits;
        if (fits + 1 > hi) hi = fits + 1;
    }
    for (int64_t b = lo, step = (hi - lo) / TRIES + 1; b <= hi; b += step) {
        int64_t d = differing(f, edge, b);
        if (d < best) best = d, *bias = b;
    }
    return best;
}

void hd_keep_channel(hd_stage *s, int oc, const hd_kept *k, int from, int to) {
    size_t inputs = hd_stage_inputs(s);
    int64_t lo = k->bias, hi = lo, best = INT64_MAX;
    const int16_t *v = s->v + (size_t)oc * inputs;
    for (size_t i = 0; i < inputs; i++) { /* v is twice the file's integer; inputs less their zero point are -128 - zero .. 127 - zero */
        int64_t low = (int64_t)(v[i] / 2) * (-128 - k->zero), high = (int64_t)(v[i] / 2) * (127 - k->zero);
        lo += low < high ? low : high;
        hi += low < high ? high : low;
    }
    fit *f = malloc(sizeof *f);
    if (!f) return; /* what is there already is right too, by a code now and then */
    f->n = 0;
    for (int y = from + 1; y <= to && f->n < CODES; y++) {
        int64_t sum = first_sum(k, y - k->offset, lo, hi);
        if (sum <= lo || sum > hi) continue; /* every reachable sum lies on one side */
        f->code[f->n] = y;
        int64_t from_zero = y - k->offset;
        f->weight[f->n] = 1 + 65536 / (64 + from_zero * from_zero); /* small values are common, whatever the data */
        f->sum[f->n++] = sum - k->bias;
    }
    int mult = s->mult[oc];
    for (int m = mult - 1; f->n && m <= mult + 1; m++) {
        int64_t bias = 0, d = m > 0 && m < 65536 ? best_bias(&bias, f, m, s->shift[oc]) : INT64_MAX;
        if (d > best || (d == best && m != mult) || bias > INT32_MAX || bias < -INT32_MAX) continue;
        best = d;
        s->bias[oc] = (int32_t)bias;
        s->mult[oc] = (uint16_t)m;
    }
    free(f);
}
