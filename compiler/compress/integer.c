/* The scalar integer executor: docs/formats.md section 1 as plain loops over [y][x][c]. It is the golden reference of
 * every other implementation, so it shares no code with them: it reads the model's structures and nothing else. */
#include <stdlib.h>
#include <string.h>

#include "integer.h"

struct hd_integer {
    const hd_model *m; /* lent */
    int8_t **tensor;   /* [y][x][c] */
    int16_t *window;   /* a - zero of one position, [group][ky][kx][ic] */
};

void hd_integer_free(hd_integer *e) {
    if (!e) return;
    for (int i = 0; e->tensor && i < e->m->n_tensors; i++) free(e->tensor[i]);
    free(e->tensor);
    free(e->window);
    free(e);
}

hd_status hd_integer_new(hd_integer **out, const hd_model *m, hd_err *err) {
    *out = NULL;
    hd_status status = hd_model_check(m, err);
    if (status != HD_OK) return status;
    hd_integer *e = calloc(1, sizeof *e);
    if (!e) return hd_fail(err, HD_NOMEM, "model '%s': no memory for the executor", m->name);
    e->m = m;
    size_t largest = 1;
    for (int i = 0; i < m->n_stages; i++) {
        const hd_stage *s = &m->stage[i];
        size_t n = (size_t)s->kh * (size_t)s->kw * (size_t)s->cin;
        if (s->kind == HD_STAGE_CONV && n > largest) largest = n;
    }
    e->tensor = calloc((size_t)m->n_tensors, sizeof *e->tensor);
    e->window = malloc(largest * sizeof *e->window);
    int complete = e->tensor && e->window;
    for (int i = 0; complete && i < m->n_tensors; i++) {
        const hd_qtensor *t = &m->tensor[i];
        e->tensor[i] = calloc((size_t)t->h * (size_t)t->w, (size_t)t->c);
        complete = e->tensor[i] != NULL;
    }
    if (!complete) {
        hd_integer_free(e);
        return hd_fail(err, HD_NOMEM, "model '%s': no memory for the activations", m->name);
    }
    *out = e;
    return HD_OK;
}

/* The window of output position (oy, ox) as a - zero; padding is 0. Groups follow one another so that each output
 * channel's inputs are contiguous, in the order of its weights. */
static void gather(int16_t *window, const hd_stage *s, const hd_qtensor *t, const int8_t *a, int oy, int ox) {
    int per_group = s->cin / s->groups;
    size_t inputs = (size_t)s->kh * (size_t)s->kw * (size_t)per_group;
    for (int ky = 0; ky < s->kh; ky++)
        for (int kx = 0; kx < s->kw; kx++) {
            int iy = oy * s->sy - s->pad_top + ky * s->dy, ix = ox * s->sx - s->pad_left + kx * s->dx;
            int inside = iy >= 0 && iy < t->h && ix >= 0 && ix < t->w;
            const int8_t *pixel = inside ? a + ((size_t)iy * (size_t)t->w + (size_t)ix) * (size_t)t->c : NULL;
            int16_t *at = window + ((size_t)ky * (size_t)s->kw + (size_t)kx) * (size_t)per_group;
            for (int g = 0; g < s->groups; g++, at += inputs)
                for (int ic = 0; ic < per_group; ic++) at[ic] = (int16_t)(inside ? pixel[g * per_group + ic] - t->zero : 0);
        }
}

/* hd_model_check proves that no partial sum leaves int32. */
static int32_t dot(const int16_t *restrict v, const int16_t *restrict a, size_t n) {
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += (int32_t)v[i] * a[i];
    return sum;
}

static int64_t floor_shift(int64_t x, int shift) {
    return x >= 0 ? x >> shift : ~(~x >> shift);
}

static int8_t requantise(const hd_stage *s, int oc, int32_t acc, int zero_out, const int8_t *residual) {
    int64_t q = floor_shift((int64_t)acc * s->mult[oc] + ((int64_t)1 << (s->shift[oc] - 1)), s->shift[oc]);
    if (q > 32767) q = 32767;
    if (q < -32768) q = -32768;
    int64_t r = residual ? floor_shift((int64_t)*residual * s->res_mult + s->res_add, s->res_shift) : 0;
    int64_t t = q + zero_out + r;
    if (t < s->clamp_lo) t = s->clamp_lo;
    if (t > s->clamp_hi) t = s->clamp_hi;
    return s->has_table ? (int8_t)s->table[(uint8_t)t] : (int8_t)t;
}

static void run_conv(hd_integer *e, const hd_stage *s) {
    const hd_qtensor *in = &e->m->tensor[s->input], *to = &e->m->tensor[s->output];
    const int8_t *a = e->tensor[s->input], *residual = s->residual >= 0 ? e->tensor[s->residual] : NULL;
    int8_t *y = e->tensor[s->output];
    size_t inputs = (size_t)s->kh * (size_t)s->kw * (size_t)(s->cin / s->groups);
    int per_group = s->cout / s->groups;
    for (int oy = 0; oy < to->h; oy++)
        for (int ox = 0; ox < to->w; ox++) {
            size_t at = ((size_t)oy * (size_t)to->w + (size_t)ox) * (size_t)s->cout;
            gather(e->window, s, in, a, oy, ox);
            for (int oc = 0; oc < s->cout; oc++) {
                const int16_t *window = e->window + (size_t)(oc / per_group) * inputs;
                int32_t acc = dot(s->v + (size_t)oc * inputs, window, inputs) + s->bias[oc];
                y[at + (size_t)oc] = requantise(s, oc, acc, to->zero, residual ? residual + at + oc : NULL);
            }
        }
}

static void run_maxpool(hd_integer *e, const hd_stage *s) {
    const hd_qtensor *in = &e->m->tensor[s->input], *to = &e->m->tensor[s->output];
    const int8_t *a = e->tensor[s->input];
    int8_t *y = e->tensor[s->output];
    for (int oy = 0; oy < to->h; oy++)
        for (int ox = 0; ox < to->w; ox++, y += to->c) {
            memset(y, -128, (size_t)to->c);
            for (int ky = 0; ky < s->kh; ky++)
                for (int kx = 0; kx < s->kw; kx++) {
                    int iy = oy * s->sy - s->pad_top + ky * s->dy, ix = ox * s->sx - s->pad_left + kx * s->dx;
                    if (iy < 0 || iy >= in->h || ix < 0 || ix >= in->w) continue;
                    const int8_t *pixel = a + ((size_t)iy * (size_t)in->w + (size_t)ix) * (size_t)in->c;
                    for (int c = 0; c < to->c; c++)
                        if (pixel[c] > y[c]) y[c] = pixel[c];
                }
        }
}

void hd_integer_stage(hd_integer *e, int stage) {
    const hd_stage *s = &e->m->stage[stage];
    if (s->kind == HD_STAGE_CONV) run_conv(e, s);
    else run_maxpool(e, s);
}

void hd_integer_input(hd_integer *e, const int8_t *input) {
    const hd_qtensor *t = &e->m->tensor[e->m->input];
    memcpy(e->tensor[e->m->input], input, (size_t)t->h * (size_t)t->w * (size_t)t->c);
}

void hd_integer_run(hd_integer *e, const int8_t *input) {
    hd_integer_input(e, input);
    for (int i = 0; i < e->m->n_stages; i++) hd_integer_stage(e, i);
}

const int8_t *hd_integer_tensor(const hd_integer *e, int t) { return e->tensor[t]; }
