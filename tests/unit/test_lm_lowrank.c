/* Low-rank matrices of language models: the parts give the whole, the error is counted on it, and files bring the parts back. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../compiler/compress/lm_internal.h"
#include "../../compiler/compress/lm_lowrank.h"
#include "../support/layer_problem.h"

enum { OUT = 24, IN = 32 };

static hd_layer_policy policy_of(int bits, const char *method) {
    hd_policy p;
    hd_err err = {0};
    hd_policy_default(&p);
    p.base.bits = bits;
    if (hd_recipe_parse(&p.base.recipe, method, &err)) fail_msg("%s", err.message);
    return p.base;
}

static hd_lm_matrix solved(const hd_linear *p, int bits, const char *method) {
    hd_lm_matrix m = {0};
    hd_err err = {0};
    hd_layer_policy o = policy_of(bits, method);
    if (hd_lm_solve_low_rank(&o, p, &m, &err)) fail_msg("%s", err.message);
    return m;
}

/* W = U V + R by textbook loops, the error of it, and every stored bit. */
static void parts_give_the_whole(void **state) {
    (void)state;
    layer_problem l = layer_problem_new(OUT, IN, 3);
    for (int residual = 0; residual < 2; residual++) {
        hd_lm_matrix m = solved(&l.p, 4, residual ? "svd:0.25+residual+gptq" : "svd:0.6+gptq");
        const int rank = (int)((residual ? 0.25 : 0.6) * OUT * IN / (OUT + IN));
        float sum[OUT * IN];
        assert_int_equal(m.rank, rank);
        assert_int_equal(m.part[2].linear.w != NULL, residual);
        for (int o = 0; o < OUT; o++)
            for (int i = 0; i < IN; i++) {
                double v = 0;
                for (int r = 0; r < rank; r++) v += (double)m.part[1].linear.w[o * rank + r] * (double)m.part[0].linear.w[r * IN + i];
                sum[o * IN + i] = (float)(v + (residual ? (double)m.part[2].linear.w[o * IN + i] : 0));
            }
        assert_memory_equal(sum, m.linear.w, sizeof sum);
        double e = layer_error(sum, l.w, l.h, OUT, IN), bits = residual ? 8 : 4;
        assert_true(fabs(e - m.linear.error) < 1e-6 * m.linear.reference);
        assert_true(m.linear.bits_stored == bits * rank * (OUT + IN) + 16 * (rank + OUT) + (residual ? 4 * OUT * IN + 16 * OUT : 0));
        hd_lm_matrix_free(&m);
    }
    layer_problem_free(&l);
}

/* At the same bits of the rest, with half of the weights in factors, over three layers of white weights (the hardest for a low rank); rounding alone fails
 * this. */
static void residual_beats_plain(void **state) {
    (void)state;
    for (int solver = 0; solver < 2; solver++) {
        double alone = 0, low = 0;
        for (uint64_t seed = 0; seed < 3; seed++) {
            layer_problem l = layer_problem_new(OUT, IN, seed);
            hd_linear_options o;
            hd_linear_format f = {.bits = 2, .grid = HD_GRID_ODD};
            hd_linear_defaults(&o, solver ? HD_METHOD_GPTQ : HD_METHOD_RTN);
            hd_linear_result plain = layer_solve(&l, &f, &o);
            hd_lm_matrix m = solved(&l.p, 2, solver ? "svd:0.5+residual+gptq" : "svd:0.5+residual+rtn");
            alone += plain.error;
            low += m.linear.error;
            hd_linear_result_free(&plain);
            hd_lm_matrix_free(&m);
            layer_problem_free(&l);
        }
        assert_true(low < 0.8 * alone);
    }
}

/* Other outputs are wanted than W's: yx = 2 Y X^T / n of Y = 1.2 W X + a low-rank part. The result follows them, not W. */
static void follows_wanted_outputs(void **state) {
    (void)state;
    layer_problem l = layer_problem_new(OUT, IN, 9);
    float wanted[OUT * IN];
    double *yx = calloc(OUT * IN, sizeof *yx);
    for (int i = 0; i < OUT * IN; i++) wanted[i] = 1.2f * l.w[i] + 0.1f * (float)(i / IN % 3) * (float)(i % IN % 5);
    for (int o = 0; o < OUT; o++)
        for (int i = 0; i < IN; i++)
            for (int k = 0; k < IN; k++) yx[o * IN + i] += (double)wanted[o * IN + k] * l.h[k * IN + i];
    hd_linear p = l.p;
    p.yx = yx;
    hd_lm_matrix m = solved(&p, 4, "svd:0.25+residual+gptq");
    assert_true(layer_error(m.linear.w, wanted, l.h, OUT, IN) < 0.05 * layer_error(wanted, NULL, l.h, OUT, IN));
    assert_true(layer_error(m.linear.w, wanted, l.h, OUT, IN) < 0.2 * layer_error(m.linear.w, l.w, l.h, OUT, IN));
    hd_lm_matrix_free(&m);
    free(yx);
    layer_problem_free(&l);
}

static void files_bring_parts_back(void **state) {
    (void)state;
    layer_problem l = layer_problem_new(OUT, IN, 4);
    for (int residual = 0; residual < 2; residual++) {
        hd_lm_matrix m = solved(&l.p, 3, residual ? "svd:0.25+residual+gptq" : "svd:0.5+gptq"), back = {0}, bad = {0};
        hd_writer w = {0};
        hd_err err = {0};
        assert_int_equal(hd_lm_put_matrix(&w, &m, OUT, IN, "m", &err), HD_OK);
        hd_reader r = {.data = w.data, .size = w.size};
        if (hd_lm_get_matrix(&r, &back, OUT, IN, "m", &err)) fail_msg("%s", err.message);
        assert_int_equal(r.at, r.size);
        assert_int_equal(back.rank, m.rank);
        assert_memory_equal(back.linear.w, m.linear.w, OUT * IN * sizeof(float));
        assert_true(back.linear.bits_stored >= m.linear.bits_stored && back.linear.bits_stored < m.linear.bits_stored + 8 * 9);
        hd_writer again = {0};
        assert_int_equal(hd_lm_put_matrix(&again, &back, OUT, IN, "m", &err), HD_OK);
        assert_int_equal(again.size, w.size);
        assert_memory_equal(again.data, w.data, w.size);
        /* Damage: rank 0, an unknown residual byte, a part that has parts itself, every shorter file. */
        const struct {
            size_t at;
            uint8_t value;
            const char *message;
        } damage[] = {{1, 0, "m: rank 0; allowed 1 to 24"}, {3, 7, "m: byte for 'there is a residual' is 7; allowed 0 and 1"},
                      {4, 32, "m: a low-rank matrix inside a low-rank matrix"}};
        for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
            uint8_t old = w.data[damage[i].at];
            w.data[damage[i].at] = damage[i].value;
            r = (hd_reader){.data = w.data, .size = w.size};
            assert_int_equal(hd_lm_get_matrix(&r, &bad, OUT, IN, "m", &err), HD_FORMAT);
            assert_string_equal(err.message, damage[i].message);
            hd_lm_matrix_free(&bad);
            w.data[damage[i].at] = old;
        }
        for (size_t size = 0; size < w.size; size++) {
            r = (hd_reader){.data = w.data, .size = size};
            assert_int_equal(hd_lm_get_matrix(&r, &bad, OUT, IN, "m", &err), HD_FORMAT);
            hd_lm_matrix_free(&bad);
        }
        hd_writer_free(&w);
        hd_writer_free(&again);
        hd_lm_matrix_free(&m);
        hd_lm_matrix_free(&back);
    }
    layer_problem_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(parts_give_the_whole), cmocka_unit_test(residual_beats_plain),
                                       cmocka_unit_test(follows_wanted_outputs), cmocka_unit_test(files_bring_parts_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
