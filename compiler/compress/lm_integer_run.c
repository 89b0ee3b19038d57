/* The integer executor: docs/language.md, "A token". */
#include <stdlib.h>
#include <string.h>

#include "lm_integer.h"

enum { LIMIT = (1 << 26) - 1, NORM_BITS = 23, WEIGHT_BITS = 20, EPSILON = 42950 /* 1e-5 with 32 fraction bits */ };

struct hd_lm_state {
    const hd_lm_integer *m;
    hd_lm_project project;
    void *arg;
    int most;
    int32_t *x;                 /* [most][dim] Q16, the residual stream */
    int32_t *q;                 /* [most][dim] Q16, with 1 / sqrt(head) */
    int32_t *keys, *values;     /* [layers][max_tokens][kv] Q16 */
    int32_t *rotation;          /* [max_tokens][head]: cosine and sine of each pair, 30 fraction bits */
    int32_t *first, *second;    /* [most][widest] Q16: outputs of a run */
    int32_t *logits;            /* [most][vocab] */
    int64_t *z;                 /* [widest] */
    int64_t *weight;            /* [max_tokens] */
    int8_t *code, *out;         /* [most][widest input], [most][widest output] */
    hd_scaled *unit;            /* [most] of the codes */
};

static int head_of(const hd_lm_integer *m) { return m->dim / m->heads; }
static int kv_of(const hd_lm_integer *m) { return head_of(m) * m->kv_heads; }

void hd_lm_state_free(hd_lm_state *s) {
    if (!s) return;
    void *const parts[] = {s->x, s->q, s->keys, s->values, s->rotation, s->first, s->second, s->logits, s->z, s->weight, s->code, s->out, s->unit};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]);
    free(s);
}

hd_status hd_lm_state_new(hd_lm_state **out, const hd_lm_integer *m, int most, hd_lm_project project, void *arg, hd_err *err) {
    *out = NULL;
    if (most < 1 || most > m->max_tokens) return hd_fail(err, HD_RANGE, "%d tokens a step; allowed are 1 to %d", most, m->max_tokens);
    hd_lm_state *s = calloc(1, sizeof *s);
    if (!s) return hd_fail(err, HD_NOMEM, "no memory for the state of a language model");
    size_t n = (size_t)most, dim = (size_t)m->dim, widest = (size_t)(m->dim > m->hidden ? m->dim : m->hidden), outputs = widest, head = (size_t)head_of(m);
    size_t cache = (size_t)m->layers * (size_t)m->max_tokens * (size_t)kv_of(m);
    for (int i = 0; i < m->runs; i++)
        if ((size_t)m->run[i].out > outputs) outputs = (size_t)m->run[i].out;
    s->m = m;
    s->project = project;
    s->arg = arg;
    s->most = most;
    s->x = malloc(n * dim * sizeof *s->x);
    s->q = malloc(n * dim * sizeof *s->q);
    s->keys = malloc(cache * sizeof *s->keys);
    s->values = malloc(cache * sizeof *s->values);
    s->rotation = malloc((size_t)m->max_tokens * head * sizeof *s->rotation);
    s->first = malloc(n * widest * sizeof *s->first);
    s->second = malloc(n * widest * sizeof *s->second);
    s->logits = malloc(n * (size_t)m->vocab * sizeof *s->logits);
    s->z = malloc(widest * sizeof *s->z);
    s->weight = malloc((size_t)m->max_tokens * sizeof *s->weight);
    s->code = malloc(n * widest * sizeof *s->code);
    s->out = malloc(n * outputs * sizeof *s->out);
    s->unit = malloc(n * sizeof *s->unit);
    if (!s->x || !s->q || !s->keys || !s->values || !s->rotation || !s->first || !s->second || !s->logits || !s->z || !s->weight || !s->code || !s->out || !s->unit) {
        hd_lm_state_free(s);
        return hd_fail(err, HD_NOMEM, "no memory for the state of a language model (%d positions)", m->max_tokens);
    }
    for (int at = 0; at < m->max_tokens; at++)
        for (int i = 0; i < (int)head; i += 2) {
            int32_t *pair = s->rotation + (size_t)at * head + (size_t)i;
            hd_fixed_rotation(pair, pair + 1, at, i / 2, (int)head);
        }
    *out = s;
    return HD_OK;
}

/* ---- codes in, fixed point out ---- */

/* Codes of norm(x) * gain; the root mean square is part of the codes' unit alone. */
static void code_norm(hd_lm_state *s, const int32_t *x, int norm, int8_t *code, hd_scaled *unit) {
    const hd_lm_integer *m = s->m;
    const int16_t *gain = m->gain + (size_t)norm * (size_t)m->dim;
    int64_t top = 0, squares = 0;
    int shift = 0;
    for (int i = 0; i < m->dim; i++) {
        int64_t size = x[i] < 0 ? -(int64_t)x[i] : x[i];
        if (size > top) top = size;
        s->z[i] = (int64_t)x[i] * gain[i];
    }
    while (top >> shift >> NORM_BITS) shift++;
    for (int i = 0; i < m->dim; i++) squares += (int64_t)(x[i] >> shift) * (x[i] >> shift);
    squares += ((int64_t)m->dim * EPSILON) >> (2 * shift);
    *unit = hd_fixed_codes(code, s->z, m->dim, -HD_Q - m->gain_bits[norm]);
    hd_scaled mean = hd_scaled_div(hd_scaled_of((uint64_t)squares, 2 * shift - 2 * HD_Q), hd_scaled_of((uint64_t)m->dim, 0));
    if (unit->m && mean.m) *unit = hd_scaled_div(*unit, hd_scaled_sqrt(mean));
}

static int32_t limited(int32_t x) { return x > LIMIT ? LIMIT : x < -LIMIT ? -LIMIT : x; }

/* Rows `from` .. `from` + n of a run's outputs for one token, in Q16 within +-LIMIT; factor: multiplied into all of them, or NULL. */
static void decode(const hd_lm_state *s, const hd_lm_run *r, int token, int from, int n, const hd_scaled *factor, int32_t *to) {
    const int8_t *y = s->out + (size_t)token * (size_t)r->out + (size_t)from;
    hd_scaled token_unit = factor ? hd_scaled_mul(s->unit[token], *factor) : s->unit[token];
    for (int i = 0; i < n; i++) to[i] = limited(hd_scaled_times(hd_scaled_mul(r->unit[from + i], token_unit), y[i], HD_Q));
}

/* x += outputs of a run. */
static void add_outputs(hd_lm_state *s, const hd_lm_run *r, int n) {
    for (int t = 0; t < n; t++)
        for (int i = 0; i < r->out; i++) {
            int32_t *x = s->x + (size_t)t * (size_t)r->out + i;
            int64_t sum = (int64_t)*x + hd_scaled_times(hd_scaled_mul(r->unit[i], s->unit[t]), s->out[(size_t)t * (size_t)r->out + (size_t)i], HD_Q);
            *x = (int32_t)(sum > INT32_MAX ? INT32_MAX : sum < -INT32_MAX ? -INT32_MAX : sum);
        }
}

static hd_status project(hd_lm_state *s, int run, int n, hd_err *err) {
    return s->project(s->arg, run, s->code, n, s->out, err);
}

/* ---- attention ---- */

static void rotate(int32_t *x, const int32_t *table, int heads, int head) {
    const int64_t half = 1 << 29;
    for (int h = 0; h < heads; h++, x += head)
        for (int i = 0; i < head; i += 2) {
            int64_t a = x[i], b = x[i + 1], c = table[i], d = table[i + 1];
            x[i] = (int32_t)((a * c - b * d + half) >> 30);
            x[i + 1] = (int32_t)((a * d + b * c + half) >> 30);
        }
}

static int64_t floor_div(int64_t a, int64_t b) {
    int64_t q = a / b;
    return q - (a % b < 0);
}

/* The head's query against positions 0 .. at; its rows of z. */
static void attend(hd_lm_state *s, const int32_t *query, const int32_t *keys, const int32_t *values, int at, int64_t *z) {
    int head = head_of(s->m), kv = kv_of(s->m);
    int64_t top = INT64_MIN, sum = 0;
    for (int p = 0; p <= at; p++) {
        const int32_t *key = keys + (size_t)p * (size_t)kv;
        int64_t score = 0;
        for (int i = 0; i < head; i++) score += (int64_t)query[i] * key[i];
        s->weight[p] = (score + (1 << (HD_Q - 1))) >> HD_Q;
        if (s->weight[p] > top) top = s->weight[p];
    }
    for (int p = 0; p <= at; p++) {
        int64_t below = top - s->weight[p], e = below >> (HD_Q + 5) ? 0 : hd_fixed_exp(below << (30 - HD_Q));
        s->weight[p] = (e + (1 << (29 - WEIGHT_BITS))) >> (30 - WEIGHT_BITS);
        sum += s->weight[p];
    }
    for (int i = 0; i < head; i++) z[i] = 0;
    for (int p = 0; p <= at; p++) {
        const int32_t *value = values + (size_t)p * (size_t)kv;
        for (int i = 0; i < head && s->weight[p]; i++) z[i] += s->weight[p] * value[i];
    }
    for (int i = 0; i < head; i++) z[i] = floor_div(2 * z[i] + sum, 2 * sum);
}

static hd_status attention(hd_lm_state *s, int layer, int n, int at, hd_err *err) {
    const hd_lm_integer *m = s->m;
    int head = head_of(m), kv = kv_of(m), shared = m->heads / m->kv_heads, run = layer * HD_LLAMA_PARTS + HD_LLAMA_QKV;
    size_t cache = (size_t)layer * (size_t)m->max_tokens * (size_t)kv;
    const hd_lm_run *r = &m->run[run];
    hd_scaled less = hd_scaled_div(hd_scaled_of(1, 0), hd_scaled_sqrt(hd_scaled_of((uint64_t)head, 0)));
    for (int t = 0; t < n; t++) code_norm(s, s->x + (size_t)t * (size_t)m->dim, 2 * layer, s->code + (size_t)t * (size_t)m->dim, &s->unit[t]);
    hd_status st = project(s, run, n, err);
    if (st) return st;
    for (int t = 0; t < n; t++) {
        int32_t *q = s->q + (size_t)t * (size_t)m->dim, *key = s->keys + cache + (size_t)(at + t) * (size_t)kv, *value = s->values + cache + (size_t)(at + t) * (size_t)kv;
        const int32_t *table = s->rotation + (size_t)(at + t) * (size_t)head;
        decode(s, r, t, 0, m->dim, &less, q);
        decode(s, r, t, m->dim, kv, NULL, key);
        decode(s, r, t, m->dim + kv, kv, NULL, value);
        rotate(q, table, m->heads, head);
        rotate(key, table, m->kv_heads, head);
    }
    for (int t = 0; t < n; t++) {
        for (int h = 0; h < m->heads; h++) {
            size_t of = cache + (size_t)(h / shared * head);
            attend(s, s->q + (size_t)t * (size_t)m->dim + (size_t)(h * head), s->keys + of, s->values + of, at + t, s->z + (size_t)(h * head));
        }
        s->unit[t] = hd_fixed_codes(s->code + (size_t)t * (size_t)m->dim, s->z, m->dim, -HD_Q);
    }
    st = project(s, run + 1, n, err);
    if (!st) add_outputs(s, &m->run[run + 1], n);
    return st;
}

/* ---- the feed-forward part ---- */

static hd_status feed_forward(hd_lm_state *s, int layer, int n, hd_err *err) {
    const hd_lm_integer *m = s->m;
    int run = layer * HD_LLAMA_PARTS + HD_LLAMA_FFN;
    const hd_lm_run *r = &m->run[run];
    for (int t = 0; t < n; t++) code_norm(s, s->x + (size_t)t * (size_t)m->dim, 2 * layer + 1, s->code + (size_t)t * (size_t)m->dim, &s->unit[t]);
    hd_status st = project(s, run, n, err);
    for (int t = 0; !st && t < n; t++) {
        int32_t *gate = s->first, *up = s->second;
        decode(s, r, t, 0, m->hidden, NULL, gate);
        decode(s, r, t, m->hidden, m->hidden, NULL, up);
        for (int i = 0; i < m->hidden; i++) {
            int64_t silu = (gate[i] * hd_fixed_sigmoid(gate[i]) + (1 << 29)) >> 30;
            s->z[i] = silu * up[i];
        }
        s->unit[t] = hd_fixed_codes(s->code + (size_t)t * (size_t)m->hidden, s->z, m->hidden, -2 * HD_Q);
    }
    if (!st) st = project(s, run + 1, n, err);
    if (!st) add_outputs(s, &m->run[run + 1], n);
    return st;
}

hd_status hd_lm_state_step(hd_lm_state *s, const int16_t *token, int n, int at, int wanted, const int32_t **logits, hd_err *err) {
    const hd_lm_integer *m = s->m;
    if (logits) *logits = s->logits;
    if (n < 1 || n > s->most || at < 0 || at > m->max_tokens - n || wanted < 0 || wanted > n)
        return hd_fail(err, HD_RANGE, "%d tokens at position %d, logits of %d; allowed are 1 to %d tokens within %d positions", n, at, wanted, s->most, m->max_tokens);
    for (int t = 0; t < n; t++) {
        if (token[t] < 0 || token[t] >= m->vocab) return hd_fail(err, HD_RANGE, "token %d is %d; the vocabulary has 0 to %d", at + t, token[t], m->vocab - 1);
        memcpy(s->x + (size_t)t * (size_t)m->dim, m->embedding + (size_t)token[t] * (size_t)m->dim, (size_t)m->dim * sizeof *s->x);
    }
    hd_status st = HD_OK;
    for (int l = 0; !st && l < m->layers; l++) {
        st = attention(s, l, n, at, err);
        if (!st) st = feed_forward(s, l, n, err);
    }
    if (st || !wanted) return st;
    for (int t = 0; t < wanted; t++)
        code_norm(s, s->x + (size_t)(n - wanted + t) * (size_t)m->dim, 2 * m->layers, s->code + (size_t)t * (size_t)m->dim, &s->unit[t]);
    st = project(s, m->runs - 1, wanted, err);
    const hd_lm_run *r = &m->run[m->runs - 1];
    for (int t = 0; !st && t < wanted; t++)
        for (int i = 0; i < m->vocab; i++)
            s->logits[(size_t)t * (size_t)m->vocab + (size_t)i] = hd_scaled_times(hd_scaled_mul(r->unit[i], s->unit[t]), s->out[(size_t)t * (size_t)m->vocab + (size_t)i], HD_Q);
    return st;
}

/* ---- logits ---- */

static int largest(const int32_t *x, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* e^-below of a difference in Q16. */
static int64_t weight_of(int64_t below) { return below >> (HD_Q + 5) ? 0 : hd_fixed_exp(below << (30 - HD_Q)); }

int64_t hd_lm_nats(const int32_t *logits, int vocab, int next) {
    int64_t top = logits[largest(logits, vocab)], sum = 0;
    for (int i = 0; i < vocab; i++) sum += weight_of(top - logits[i]);
    return ((top - logits[next]) << (30 - HD_Q)) + hd_fixed_log((uint64_t)sum);
}

hd_status hd_lm_row_nats(hd_lm_state *s, const int16_t *row, int t, int64_t *nats, hd_err *err) {
    *nats = 0;
    if (row[t] < 0 || row[t] >= s->m->vocab) return hd_fail(err, HD_RANGE, "token %d is %d; the vocabulary has 0 to %d", t, row[t], s->m->vocab - 1);
    for (int at = 0; at < t; at += s->most) {
        const int32_t *logits;
        int n = t - at < s->most ? t - at : s->most;
        hd_status st = hd_lm_state_step(s, row + at, n, at, n, &logits, err);
        if (st) return st;
        for (int i = 0; i < n; i++) *nats += hd_lm_nats(logits + (size_t)i * (size_t)s->m->vocab, s->m->vocab, row[at + i + 1]);
    }
    return HD_OK;
}

int hd_lm_sample(const int32_t *logits, int vocab, int64_t temperature, int64_t top_p, hd_rng *rng) {
    int top = largest(logits, vocab), last = top;
    if (temperature <= 0) return top;
    int64_t sum = 0, kept = 0, bound = INT64_MAX;
    for (int i = 0; i < vocab; i++) sum += weight_of((((int64_t)logits[top] - logits[i]) << HD_Q) / temperature);
    if (top_p >> HD_Q) {
        bound = INT64_MIN;
        kept = sum;
    }
    /* Down the logits, equal ones together, until their weights reach the share. */
    while (kept < sum && kept <= (sum >> HD_Q) * top_p) {
        int64_t next = INT64_MIN, equal = 0;
        for (int i = 0; i < vocab; i++) {
            if (logits[i] >= bound || logits[i] < next) continue;
            equal = logits[i] > next ? 1 : equal + 1;
            next = logits[i];
        }
        if (!equal) break;
        bound = next;
        kept += equal * weight_of(((logits[top] - next) << HD_Q) / temperature);
    }
    int64_t left = (int64_t)(((uint64_t)kept >> 14) * hd_rng_u32(rng) >> 18);
    for (int i = 0; i < vocab; i++) {
        if (logits[i] < bound) continue;
        last = i;
        left -= weight_of((((int64_t)logits[top] - logits[i]) << HD_Q) / temperature);
        if (left < 0) break;
    }
    return last;
}
