/* Predictions without data against the ref device that ran the same programs: every counter of every descriptor, and sums over layers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../drivers/predict.h"
#include "../../sw/explore/measure.h"
#include "../support/random_model.h"

static hd_program *lowered(const hd_geometry *g, uint64_t seed) {
    hd_model *m = NULL;
    hd_program *p = NULL;
    hd_err err = {0};
    if (g->decode ? hd_random_coded(&m, seed, &err) : hd_random_model(&m, seed, &err)) fail_msg("%s", err.message);
    hd_status st = hd_lower(&p, m, g, NULL, &err);
    hd_model_free(m);
    if (st && st != HD_NOFIT) fail_msg("seed %d: %s", (int)seed, err.message);
    return p;
}

static void against_ref(void **state) {
    (void)state;
    static const char *const geometry[][2] = {{"2x2x4x1", ""}, {"4x8x8x2", ""}, {"3x7x8x2", "fetch=1"}, {"8x4x16x2", "gather=1"}, {"3x4x8x2", "post=2,fetch=1"},
                                              {"4x2x16x2", "fetch=1,post=1,pool=0,slot=8,pump=2"}, {"4x8x8x2", "extern=16,stream=64,mhz=75"},
                                              {"2x4x8x2", "extern=17,stream=256,mhz=16,post=4"}, {"4x16x16x2", "extern=16,stream=64,mhz=133,decode=7"}};
    int layers = 0, programs[9] = {0};
    for (uint64_t seed = 1; seed <= 25; seed++)
        for (int k = 0; k < 9; k++) {
            hd_geometry g;
            hd_err err = {0};
            if (hd_geometry_parse(&g, geometry[k][0], &err) || (*geometry[k][1] && hd_geometry_memory(&g, geometry[k][1], &err))) fail_msg("%s", err.message);
            hd_program *p = lowered(&g, seed);
            if (!p) continue;
            hd_session *s = NULL;
            hd_prediction *r = NULL;
            hd_cost *ran = NULL, *predicted = NULL;
            int8_t *input = calloc((size_t)p->input.h * p->input.w, p->input.c), *output = malloc((size_t)p->output.h * p->output.w * p->output.c);
            uint32_t *record = calloc(p->n_desc, HD_PERF_WORDS * sizeof *record);
            uint64_t cycles;
            if (!input || !output || !record || hd_session_open(&s, p, &hd_driver_ref, NULL, &err) || hd_session_run(s, input, output, &err) ||
                hd_session_cycles(s, &cycles, &err) || hd_session_perf(s, record, &err) || hd_predict(&r, p, &err) || hd_cost_read(&ran, p, s, s, &err) ||
                hd_cost_predict(&predicted, p, &err))
                fail_msg("seed %d: %s", (int)seed, err.message);
            assert_int_equal(r->cycles, cycles);
            assert_int_equal(r->n_desc, p->n_desc - 1);
            for (uint32_t d = 0; d < r->n_desc; d++)
                for (int c = 0; c < HD_PERF_WORDS; c++)
                    if (r->perf[d][c] != record[d * HD_PERF_WORDS + (uint32_t)c])
                        fail_msg("seed %d, %s %s, descriptor %u, counter %d: predicted %d, ref %d", (int)seed, geometry[k][0], geometry[k][1], d, c, (int)r->perf[d][c],
                                 (int)record[d * HD_PERF_WORDS + (uint32_t)c]);
            assert_int_equal(predicted->cycles, cycles);
            for (uint32_t i = 0; i < p->n_layers; i++) {
                assert_memory_equal(predicted->layer[i].perf, ran->layer[i].perf, sizeof ran->layer[i].perf);
                assert_string_equal(predicted->layer[i].reason, ran->layer[i].reason);
            }
            assert_true(predicted->exact && predicted->utilisation == ran->utilisation);
            layers += (int)r->n_desc;
            programs[k]++;
            hd_prediction_free(r);
            hd_cost_free(ran);
            hd_cost_free(predicted);
            hd_session_close(s);
            free(input);
            free(output);
            free(record);
            hd_program_free(p);
        }
    for (int k = 0; k < 9; k++) assert_true(programs[k] >= 3);
    assert_true(layers > 400);
}

/* A stream that breaks off is an error, not a number. */
static void broken_stream(void **state) {
    (void)state;
    hd_geometry g;
    hd_err err = {0};
    hd_prediction *r = NULL;
    if (hd_geometry_parse(&g, "4x8x8x2", &err) || hd_geometry_memory(&g, "extern=16,stream=256,mhz=75", &err)) fail_msg("%s", err.message);
    hd_program *p = NULL;
    for (uint64_t seed = 1; !p && seed < 20; seed++) p = lowered(&g, seed);
    assert_non_null(p);
    p->n_extern--;
    assert_int_equal(hd_predict(&r, p, &err), HD_DEVICE);
    assert_null(r);
    p->n_extern++;
    assert_int_equal(hd_predict(&r, p, &err), HD_OK);
    hd_prediction_free(r);
    hd_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_ref), cmocka_unit_test(broken_stream)};
    return cmocka_run_group_tests_name("predict", tests, NULL, NULL);
}
