#include "native.h"

#include <stdlib.h>
#include <string.h>

/* The dot products are compiled a second time for AVX2 and chosen when the program starts: a yardstick of 2003's SSE2 alone would
 * flatter the simulation. Sanitizers cannot run before the choice is made. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define HD_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define HD_WIDE
#endif

enum { POSITIONS = 4, STEP = 16 }; /* output positions that share each weight they read; elements of a vector */

typedef struct native_layer {
    size_t inputs;    /* kh*kw*cin, rounded up to STEP; zeros behind */
    int16_t *weight;  /* [cout][inputs] */
} native_layer;

struct hd_native {
    const hd_model *m; /* lent */
    native_layer *layer;
    int8_t **tensor;
    int16_t *window; /* [POSITIONS][inputs], a - zero */
};

void hd_native_free(hd_native *n) {
    if (!n) return;
    for (int i = 0; n->layer && i < n->m->n_stages; i++) free(n->layer[i].weight);
    for (int i = 0; n->tensor && i < n->m->n_tensors; i++) free(n->tensor[i]);
    free(n->layer);
    free(n->tensor);
    free(n->window);
    free(n);
}

static int prepare(hd_native *n) {
    const hd_model *m = n->m;
    size_t largest = STEP;
    n->layer = calloc((size_t)m->n_stages, sizeof *n->layer);
    n->tensor = calloc((size_t)m->n_tensors, sizeof *n->tensor);
    if (!n->layer || !n->tensor) return -1;
    for (int i = 0; i < m->n_stages; i++) {
        const hd_stage *s = &m->stage[i];
        if (s->kind != HD_STAGE_CONV) continue;
        native_layer *l = &n->layer[i];
        size_t used = (size_t)s->kh * (size_t)s->kw * (size_t)s->cin;
        l->inputs = (used + STEP - 1) / STEP * STEP;
        if (l->inputs > largest) largest = l->inputs;
        l->weight = calloc((size_t)s->cout * l->inputs, sizeof *l->weight);
        if (!l->weight) return -1;
        for (int oc = 0; oc < s->cout; oc++) memcpy(l->weight + (size_t)oc * l->inputs, s->v + (size_t)oc * used, used * sizeof *l->weight);
    }
    for (int i = 0; i < m->n_tensors; i++) {
        const hd_qtensor *t = &m->tensor[i];
        n->tensor[i] = calloc((size_t)t->h * (size_t)t->w, (size_t)t->c);
        if (!n->tensor[i]) return -1;
    }
    n->window = calloc(POSITIONS * largest, sizeof *n->window);
    return n->window ? 0 : -1;
}

hd_status hd_native_new(hd_native **out, const hd_model *m, hd_err *err) {
    for (int i = 0; i < m->n_stages; i++)
        if (m->stage[i].kind == HD_STAGE_CONV && (m->stage[i].groups != 1 || m->stage[i].residual >= 0))
            return hd_fail(err, HD_UNSUPPORTED, "layer '%s': the native yardstick has no groups and no residuals", m->stage[i].name);
    hd_native *n = calloc(1, sizeof *n);
    if (n) n->m = m;
    if (!n || prepare(n)) {
        hd_native_free(n);
        return hd_fail(err, HD_NOMEM, "model '%s': no memory for the native loops", m->name);
    }
    *out = n;
    return HD_OK;
}

static void gather(int16_t *to, const hd_stage *s, const hd_qtensor *t, const int8_t *a, int oy, int ox) {
    for (int ky = 0; ky < s->kh; ky++)
        for (int kx = 0; kx < s->kw; kx++, to += s->cin) {
            int iy = oy * s->sy - s->pad_top + ky * s->dy, ix = ox * s->sx - s->pad_left + kx * s->dx;
            if (iy < 0 || iy >= t->h || ix < 0 || ix >= t->w) {
                memset(to, 0, (size_t)s->cin * sizeof *to);
                continue;
            }
            const int8_t *pixel = a + ((size_t)iy * (size_t)t->w + (size_t)ix) * (size_t)t->c;
            for (int c = 0; c < s->cin; c++) to[c] = (int16_t)(pixel[c] - t->zero);
        }
}

HD_WIDE static void dot_four(int32_t sum[POSITIONS], const int16_t *restrict v, const int16_t *restrict a, size_t n) {
    const int16_t *restrict b = a + n, *restrict c = b + n, *restrict d = c + n;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (size_t i = 0; i < n; i++) {
        s0 += (int32_t)v[i] * a[i];
        s1 += (int32_t)v[i] * b[i];
        s2 += (int32_t)v[i] * c[i];
        s3 += (int32_t)v[i] * d[i];
    }
    sum[0] = s0;
    sum[1] = s1;
    sum[2] = s2;
    sum[3] = s3;
}

HD_WIDE static int32_t dot_one(const int16_t *restrict v, const int16_t *restrict a, size_t n) {
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += (int32_t)v[i] * a[i];
    return sum;
}

static int8_t requantise(const hd_stage *s, int oc, int32_t sum, int zero_out) {
    int64_t product = ((int64_t)sum + s->bias[oc]) * s->mult[oc] + ((int64_t)1 << (s->shift[oc] - 1));
    int64_t q = product >> s->shift[oc]; /* gcc shifts arithmetically */
    q = q > 32767 ? 32767 : q < -32768 ? -32768 : q;
    q += zero_out;
    q = q < s->clamp_lo ? s->clamp_lo : q > s->clamp_hi ? s->clamp_hi : q;
    return s->has_table ? (int8_t)s->table[(uint8_t)q] : (int8_t)q;
}

static void run_conv(hd_native *n, const hd_stage *s, const native_layer *l) {
    const hd_qtensor *in = &n->m->tensor[s->input], *to = &n->m->tensor[s->output];
    int8_t *y = n->tensor[s->output];
    size_t used = (size_t)s->kh * (size_t)s->kw * (size_t)s->cin, cout = (size_t)s->cout;
    int total = to->h * to->w;
    /* The windows of other layers are longer or shorter: what lies behind this layer's must be zero. */
    for (int i = 0; i < POSITIONS; i++) memset(n->window + (size_t)i * l->inputs + used, 0, (l->inputs - used) * sizeof *n->window);
    for (int first = 0; first < total; first += POSITIONS) {
        int count = total - first < POSITIONS ? total - first : POSITIONS;
        for (int i = 0; i < count; i++) gather(n->window + (size_t)i * l->inputs, s, in, n->tensor[s->input], (first + i) / to->w, (first + i) % to->w);
        int8_t *row = y + (size_t)first * cout;
        for (int oc = 0; oc < s->cout; oc++) {
            const int16_t *v = l->weight + (size_t)oc * l->inputs;
            int32_t sum[POSITIONS];
            if (count == POSITIONS) dot_four(sum, v, n->window, l->inputs);
            else
                for (int i = 0; i < count; i++) sum[i] = dot_one(v, n->window + (size_t)i * l->inputs, l->inputs);
            for (int i = 0; i < count; i++) row[(size_t)i * cout + (size_t)oc] = requantise(s, oc, sum[i], to->zero);
        }
    }
}

static void run_maxpool(hd_native *n, const hd_stage *s) {
    const hd_qtensor *in = &n->m->tensor[s->input], *to = &n->m->tensor[s->output];
    const int8_t *a = n->tensor[s->input];
    int8_t *y = n->tensor[s->output];
    for (int p = 0; p < to->h * to->w; p++, y += to->c) {
        memset(y, 0x80, (size_t)to->c);
        for (int k = 0; k < s->kh * s->kw; k++) {
            int iy = p / to->w * s->sy - s->pad_top + k / s->kw * s->dy, ix = p % to->w * s->sx - s->pad_left + k % s->kw * s->dx;
            if (iy < 0 || iy >= in->h || ix < 0 || ix >= in->w) continue;
            const int8_t *pixel = a + ((size_t)iy * (size_t)in->w + (size_t)ix) * (size_t)in->c;
            for (int c = 0; c < to->c; c++) y[c] = pixel[c] > y[c] ? pixel[c] : y[c];
        }
    }
}

const int8_t *hd_native_run(hd_native *n, const int8_t *input) {
    const hd_model *m = n->m;
    const hd_qtensor *t = &m->tensor[m->input];
    memcpy(n->tensor[m->input], input, (size_t)t->h * (size_t)t->w * (size_t)t->c);
    for (int i = 0; i < m->n_stages; i++) {
        if (m->stage[i].kind == HD_STAGE_CONV) run_conv(n, &m->stage[i], &n->layer[i]);
        else run_maxpool(n, &m->stage[i]);
    }
    return n->tensor[m->output];
}
