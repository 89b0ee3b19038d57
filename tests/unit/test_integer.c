/* The scalar integer executor: the worked arithmetic of docs/formats.md section 6, and random networks against the same networks
 * computed in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "model_random.h"

/* One 1x1 convolution from four channels to one: section 6's weights and activations. */
static hd_model *worked_model(int zero_out) {
    hd_model *m = calloc(1, sizeof *m);
    m->name = strdup("worked");
    m->n_tensors = 2;
    m->n_stages = 1;
    m->output = 1;
    m->tensor = calloc(2, sizeof *m->tensor);
    m->tensor[0] = (hd_qtensor){strdup("x"), 1, 1, 4, 1.0f, 0};
    m->tensor[1] = (hd_qtensor){strdup("y"), 1, 1, 1, 1.0f, zero_out};
    hd_stage *s = m->stage = calloc(1, sizeof *m->stage);
    *s = (hd_stage){.kind = HD_STAGE_CONV, .name = strdup("fc"), .residual = -1, .output = 1, .kh = 1, .kw = 1, .sy = 1, .sx = 1, .dy = 1, .dx = 1,
                    .groups = 1, .cin = 4, .cout = 1, .grid = HD_GRID_ODD, .bits = 2, .granularity = HD_GRANULARITY_CHANNEL, .clamp_lo = -128,
                    .clamp_hi = 127};
    s->v = calloc(4, sizeof *s->v);
    s->scale = calloc(1, sizeof *s->scale);
    s->bias = calloc(1, sizeof *s->bias);
    s->mult = calloc(1, sizeof *s->mult);
    s->shift = calloc(1, 1);
    static const int16_t v[4] = {-3, 1, 3, -1};
    memcpy(s->v, v, sizeof v);
    s->scale[0] = 1.0f;
    s->mult[0] = 40000;
    s->shift[0] = 18;
    return m;
}

static int8_t run_once(const hd_model *m, const int8_t *x) {
    hd_err err = {0};
    hd_integer *e;
    if (hd_integer_new(&e, m, &err) != HD_OK) fail_msg("%s", err.message);
    hd_integer_run(e, x);
    int8_t y = hd_integer_tensor(e, m->output)[0];
    hd_integer_free(e);
    return y;
}

static void worked_block(void **state) {
    (void)state;
    static const int8_t a[4] = {10, -20, 5, 7};
    hd_model *m = worked_model(3);
    hd_stage *s = m->stage;
    assert_int_equal(run_once(m, a), -3);
    /* The clamp comes after the zero point, the table after the clamp, indexed by the unsigned byte. */
    s->clamp_lo = -2;
    assert_int_equal(run_once(m, a), -2);
    s->has_table = 1;
    s->table[254] = 77;
    assert_int_equal(run_once(m, a), 77);
    hd_model_free(m);
}

/* Halves go up on both sides of zero; sat16 acts before the zero point; the residual is floored with its own rounding. */
static void rounding(void **state) {
    (void)state;
    hd_model *m = worked_model(0);
    hd_stage *s = m->stage;
    static const int8_t none[4] = {0, 0, 0, 0};
    s->mult[0] = 1;
    s->shift[0] = 1;
    static const struct { int acc, y; } half[] = {{3, 2}, {1, 1}, {0, 0}, {-1, 0}, {-3, -1}, {-5, -2}};
    for (size_t i = 0; i < sizeof half / sizeof *half; i++) {
        s->bias[0] = half[i].acc;
        assert_int_equal(run_once(m, none), half[i].y);
    }
    s->mult[0] = 65535;
    s->bias[0] = 2000000000;
    assert_int_equal(run_once(m, none), 127);
    /* q = 32767 saturated, r = -32700: 67, which only shows if q saturated first. x is the residual too: one channel in, one out. */
    hd_model_free(m);
    m = worked_model(0);
    s = m->stage;
    m->tensor[0].c = s->cin = 1;
    s->v[0] = 1;
    s->mult[0] = 65535;
    s->shift[0] = 1;
    s->bias[0] = 2000000000;
    s->residual = 0;
    s->res_mult = 65400;
    s->res_add = 1;
    s->res_shift = 1;
    static const int8_t minus[1] = {-1};
    assert_int_equal(run_once(m, minus), 67);
    hd_model_free(m);
}

/* A stage in double, from section 1's real-number meaning, reading the codes the executor computed for its inputs. */
static double exact(const hd_model *m, const hd_stage *s, const hd_integer *e, int oy, int ox, int oc) {
    const hd_qtensor *in = &m->tensor[s->input], *to = &m->tensor[s->output];
    const int8_t *a = hd_integer_tensor(e, s->input);
    int per_group = s->cin / s->groups, first = oc / (s->cout / s->groups) * per_group;
    double acc = s->bias[oc];
    for (int ky = 0; ky < s->kh; ky++)
        for (int kx = 0; kx < s->kw; kx++)
            for (int ic = 0; ic < per_group; ic++) {
                int iy = oy * s->sy + ky * s->dy - s->pad_top, ix = ox * s->sx + kx * s->dx - s->pad_left;
                if (iy < 0 || ix < 0 || iy >= in->h || ix >= in->w) continue;
                acc += (double)s->v[((oc * s->kh + ky) * s->kw + kx) * per_group + ic] * (a[(iy * in->w + ix) * in->c + first + ic] - in->zero);
            }
    double t = fmin(32767, fmax(-32768, acc * s->mult[oc] / ldexp(1, s->shift[oc]))) + to->zero;
    if (s->residual >= 0)
        t += (double)(hd_integer_tensor(e, s->residual)[(oy * to->w + ox) * to->c + oc] - m->tensor[s->residual].zero) * s->res_mult /
             ldexp(1, s->res_shift);
    return fmin(s->clamp_hi, fmax(s->clamp_lo, t));
}

static void within_one_step(void **state) {
    (void)state;
    int inner = 0, outer = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        hd_err err = {0};
        hd_rng r;
        hd_rng_seed(&r, seed, 3);
        hd_model *m = random_model(seed);
        const hd_qtensor *x = &m->tensor[m->input];
        size_t n = (size_t)x->h * (size_t)x->w * (size_t)x->c;
        int8_t *input = malloc(n);
        for (size_t i = 0; i < n; i++) input[i] = (int8_t)pick(&r, -128, 127);
        hd_integer *e;
        assert_int_equal(hd_integer_new(&e, m, &err), HD_OK);
        hd_integer_run(e, input);
        for (int k = 0; k < m->n_stages; k++) {
            const hd_stage *s = &m->stage[k];
            const hd_qtensor *to = &m->tensor[s->output];
            const int8_t *y = hd_integer_tensor(e, s->output);
            if (s->kind != HD_STAGE_CONV || s->has_table) continue;
            for (int i = 0; i < to->h * to->w * to->c; i++) {
                double want = exact(m, s, e, i / to->c / to->w, i / to->c % to->w, i % to->c);
                /* One rounding: half a step. With a residual two. */
                if (fabs(want - y[i]) > (s->residual >= 0 ? 1.0 : 0.5) + 1e-9) fail_msg("seed %d stage %s: %g, not %d", (int)seed, s->name, want, y[i]);
                if (y[i] > s->clamp_lo && y[i] < s->clamp_hi) inner++;
                else outer++;
            }
        }
        hd_integer_free(e);
        hd_model_free(m);
        free(input);
    }
    assert_true(inner > 10000 && outer > 1000); /* the comparison is no comparison of clamps */
}

static void pools(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        hd_err err = {0};
        hd_model *m = random_model(seed);
        const hd_stage *s = &m->stage[2];
        const hd_qtensor *x = &m->tensor[0], *in = &m->tensor[s->input], *to = &m->tensor[s->output];
        int8_t *input = calloc((size_t)(x->h * x->w), (size_t)x->c);
        hd_integer *e;
        assert_int_equal(hd_integer_new(&e, m, &err), HD_OK);
        hd_integer_run(e, input);
        const int8_t *a = hd_integer_tensor(e, s->input), *y = hd_integer_tensor(e, s->output);
        for (int i = 0; i < to->h * to->w * to->c; i++) {
            int most = -128, c = i % to->c, ox = i / to->c % to->w, oy = i / to->c / to->w;
            for (int iy = 0; iy < in->h; iy++)
                for (int ix = 0; ix < in->w; ix++) {
                    int ky = iy + s->pad_top - oy * s->sy, kx = ix + s->pad_left - ox * s->sx;
                    int hit = ky >= 0 && kx >= 0 && ky % s->dy == 0 && kx % s->dx == 0 && ky / s->dy < s->kh && kx / s->dx < s->kw;
                    if (hit && a[(iy * in->w + ix) * in->c + c] > most) most = a[(iy * in->w + ix) * in->c + c];
                }
            assert_int_equal(y[i], most);
        }
        hd_integer_free(e);
        hd_model_free(m);
        free(input);
    }
}

static void quantizes_inputs(void **state) {
    (void)state;
    hd_qtensor t = {NULL, 1, 2, 2, 1.0f / 255.0f, -128};
    float x[4] = {0, 1, 10.0f / 255.0f, 200.0f / 255.0f}; /* [c][h][w] */
    int8_t y[4];
    hd_quantize_input(&t, x, y);
    assert_true(y[0] == -128 && y[1] == 10 - 128 && y[2] == 127 && y[3] == 200 - 128);
    for (int k = 0; k < 256; k++) {
        float one[4] = {(float)k / 255.0f, 0, 0, 0};
        hd_quantize_input(&t, one, y);
        assert_int_equal(y[0], k - 128);
    }
    t.scale = 1;
    t.zero = 0;
    float odd[4] = {0.5f, -0.5f, 1e30f, NAN}; /* halves up; saturated; nothing undefined */
    hd_quantize_input(&t, odd, y);
    assert_true(y[0] == 1 && y[2] == 0 && y[1] == 127);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(worked_block), cmocka_unit_test(rounding), cmocka_unit_test(within_one_step),
                                       cmocka_unit_test(pools), cmocka_unit_test(quantizes_inputs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
