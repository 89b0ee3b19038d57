/* Exact errors of models and programs in memory: each row breaks one thing of a legal one and names what is said. Bytes of files: test_model, test_program. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "../../compiler/lower/program.h"
#include "../support/random_model.h"
#include "model_random.h"

/* ---- models: stages s0 (convolution), s1 (with a residual), s2 (maximum), s3 (groups) over tensors t0 to t4 ---- */

typedef struct model_row {
    void (*edit)(hd_model *m);
    hd_status code;
    const char *message;
} model_row;

#define EDIT(name, change) \
    static void name(hd_model *m) { change; }
EDIT(no_stages, m->n_stages = 0)
EDIT(huge_tensors, m->tensor[0].h = m->tensor[0].w = m->tensor[0].c = 65535)
EDIT(far_padding, m->stage[0].pad_top = 40000)
EDIT(past_the_end, m->stage[0].pad_left = -32768; m->tensor[1].w = 40)
EDIT(huge_window, m->stage[0].kh = m->stage[0].kw = 30000; m->stage[0].pad_top = m->stage[0].pad_left = 32000)
EDIT(many_weights, m->stage[1].kh = m->stage[1].kw = 4096)
EDIT(pool_channels, m->tensor[3].c++)
EDIT(pool_scale, m->tensor[3].scale *= 2)
EDIT(pool_residual, m->stage[2].residual = 3)
EDIT(residual_shift, m->stage[1].res_shift = 32)
EDIT(residual_size, m->stage[1].residual = 0)
EDIT(residual_range, m->stage[1].res_add = INT32_MAX)
EDIT(unequal_scales, m->stage[3].granularity = HD_GRANULARITY_TENSOR; m->stage[3].scale[0] = 0.5f; m->stage[3].scale[1] = 0.25f)
EDIT(off_the_grid, m->stage[0].v[0] = 1000)
EDIT(no_biases, free(m->stage[0].bias); m->stage[0].bias = NULL)
EDIT(wide_shift, m->stage[0].group_shift[1] = 4)
EDIT(half_present, m->stage[0].present[0] = 2)
EDIT(too_early, m->input = 4)
EDIT(written_twice, m->stage[3].output = 3; m->stage[3].cout = m->tensor[3].c)
EDIT(never_written, m->n_stages = 3; m->output = 3)
EDIT(other_channels, m->stage[0].cout++)
EDIT(no_grid, m->stage[0].grid = (enum hd_grid)HD_GRIDS)

static hd_model *legal_model(void) {
    for (uint64_t seed = 0;; seed++) {
        hd_model *m = random_model(seed);
        const hd_stage *s = m->stage;
        if (s->granularity == HD_GRANULARITY_GROUP && s->block_in && s->kh == 1 && s->kw == 1 && s->grid == HD_GRID_ODD && m->stage[3].granularity == HD_GRANULARITY_CHANNEL) return m;
        hd_model_free(m);
    }
}

static void models(void **state) {
    (void)state;
    char grid[100];
    snprintf(grid, sizeof grid, "stage 's0': weight grid %d; allowed 0..%d", HD_GRIDS, HD_GRIDS - 1);
    const model_row row[] = {
        {no_stages, HD_RANGE, "5 tensors and 0 stages; at least 1 of each"},
        {huge_tensors, HD_RANGE, "tensor 't0': the tensors up to it hold 281462092005375 elements; allowed 67108864"},
        {far_padding, HD_RANGE, "stage 's0': vertical padding is 40000; allowed -32768..32767"},
        {past_the_end, HD_RANGE, "stage 's0': the last of 40 horizontal windows ends 32803 past the input; allowed 32767"},
        {huge_window, HD_RANGE, "stage 's0': 10800000000 weights or window elements; allowed 67108864"},
        {many_weights, HD_RANGE, "stage 's1': the stages up to it have 67108876 weights; allowed 67108864"},
        {pool_channels, HD_MISMATCH, "stage 's2': pools 2 channels into 3; must be equal"},
        {pool_scale, HD_MISMATCH, "stage 's2': input and output of MAXPOOL must share scale and zero point"},
        {pool_residual, HD_RANGE, "stage 's2': MAXPOOL with residual tensor 3; must be -1"},
        {residual_shift, HD_RANGE, "stage 's1': residual multiplier 3613, shift 32; allowed 0..65535 and 0..31"},
        {residual_size, HD_MISMATCH, "stage 's1': residual is 6 x 5 x 6, output 6 x 5 x 2; must be equal"},
        {residual_range, HD_RANGE, "stage 's1': residual constant 2147483647 with multiplier 3613 leaves 32 bits"},
        {unequal_scales, HD_RANGE, "stage 's3': scale of channel 1 is 0.25, of channel 0 0.5; must be equal with TENSOR granularity"},
        {off_the_grid, HD_RANGE, "stage 's0': weight 0 of channel 0 is 1000; not on its grid"},
        {no_biases, HD_RANGE, "stage 's0': arrays do not fit the granularity and pruning of the stage"},
        {wide_shift, HD_RANGE, "stage 's0': group shift 1 is 4; allowed 0..3"},
        {half_present, HD_RANGE, "stage 's0': block 0 is marked 2; allowed 0 or 1"},
        {too_early, HD_FORMAT, "stage 's0': reads tensor 't0', which no stage before it writes"},
        {written_twice, HD_FORMAT, "stage 's3': writes tensor 't3', which is written already"},
        {never_written, HD_FORMAT, "tensor 't4': no stage writes it"},
        {other_channels, HD_MISMATCH, "stage 's0': 6 to 3 channels, its tensors 6 to 2"},
        {no_grid, HD_RANGE, grid},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        hd_err err = {0};
        hd_model *m = legal_model();
        assert_int_equal(hd_model_check(m, &err), HD_OK);
        int stages = m->n_stages;
        row[i].edit(m);
        hd_status s = hd_model_check(m, &err);
        assert_string_equal(err.message, row[i].message);
        assert_int_equal(s, row[i].code);
        m->n_stages = stages;
        hd_model_free(m);
    }
}

/* A model may have a window of a maximum with nothing but padding in it; the array has no value for it. */
static void window_in_the_padding(void **state) {
    (void)state;
    hd_model *m = legal_model();
    hd_program *p;
    hd_geometry g;
    hd_err err = {0};
    m->stage[2].pad_top = m->stage[2].kh * m->stage[2].dy;
    assert_int_equal(hd_model_check(m, &err), HD_OK);
    assert_int_equal(hd_geometry_parse(&g, "4x8x8x4", &err), HD_OK);
    assert_int_equal(hd_geometry_memory(&g, "act=4096,window=128,stream=4096,param=256,descriptors=16", &err), HD_OK);
    assert_int_equal(hd_lower(&p, m, &g, NULL, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "layer 's2': a pooling window lies wholly in the padding");
    assert_null(p);
    m->n_stages = 0;
    assert_int_equal(hd_lower(&p, m, &g, NULL, &err), HD_UNSUPPORTED);
    assert_string_equal(err.message, "model 'random' has no layers");
    m->n_stages = 4;
    hd_model_free(m);
}

/* ---- programs ---- */

typedef struct program_row {
    void (*edit)(hd_program *p);
    const char *message;
} program_row;

#define CHANGE(name, change) \
    static void name(hd_program *p) { change; }
CHANGE(reserved_bits, p->desc[1] |= 0x80000000u)
CHANGE(reserved_index, p->index[0] |= 1u << 14)
CHANGE(no_rows, p->input.h = 0)
CHANGE(no_scale, p->output.scale = 0)
CHANGE(odd_flag, p->input.expanded = 2)
CHANGE(no_window, p->input.expanded = 1; p->input.kh = 0)
CHANGE(no_positions, p->input.expanded = 1; p->input.kh = p->input.kw = p->input.sy = p->input.sx = p->input.dy = p->input.dx = 1; p->input.out_h = 0)
CHANGE(short_pixels, p->input.stride++)
CHANGE(too_far, p->input.address = 4096)
CHANGE(more_than_all, p->layer[0].blocks_present = p->layer[0].blocks + 1)
CHANGE(no_share, p->layer[0].zeros_used = 2)
CHANGE(layer_missing, p->n_layers--)

static hd_program *legal_program(void) {
    hd_model *m = NULL;
    hd_program *p = NULL;
    hd_geometry g;
    hd_err err = {0};
    hd_status s = hd_random_model(&m, 1, &err);
    if (!s) s = hd_geometry_parse(&g, "4x8x8x2", &err);
    if (!s) s = hd_geometry_memory(&g, "act=4096,window=128,stream=4096,param=256,descriptors=16", &err);
    if (!s) s = hd_lower(&p, m, &g, NULL, &err);
    if (s) fail_msg("%s", err.message);
    hd_model_free(m);
    return p;
}

static void programs(void **state) {
    (void)state;
    static const program_row row[] = {
        {reserved_bits, "descriptor 0: word 1 is 0x80000002; bits outside 0x00ffffff must be 0"},
        {reserved_index, "descriptor 0: stream entry 0 is 0xc000; bit 14 must be 0"},
        {no_rows, "input: 0 x 6 x 1; allowed from 1, rows and columns up to 65535, channels up to 16777216"},
        {no_scale, "output: scale 0; allowed above 0"},
        {odd_flag, "input: expanded 2; allowed 0 or 1"},
        {no_window, "input: expanded with a window 0x6, stride 1x1, dilation 1x1; allowed from 1"},
        {no_positions, "input: expanded to 0x1 positions; allowed 1..65535"},
        {short_pixels, "input: 2 words per position; 6 bytes need 1"},
        {too_far, "input: 1 words at 4096; the activation memory has 4096"},
        {more_than_all, "layer 0: 6 of 5 blocks, share of zeros 1; allowed at most all and 0..1"},
        {no_share, "layer 0: 5 of 5 blocks, share of zeros 2; allowed at most all and 0..1"},
        {layer_missing, "the layers have 0 descriptors; the program has 1"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        hd_err err = {0};
        hd_program *p = legal_program();
        assert_int_equal(hd_program_check(p, &err), HD_OK);
        uint32_t layers = p->n_layers;
        row[i].edit(p);
        hd_status s = hd_program_check(p, &err);
        assert_string_equal(err.message, row[i].message);
        assert_int_equal(s, HD_FORMAT);
        p->n_layers = layers;
        hd_program_free(p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(models), cmocka_unit_test(window_in_the_padding), cmocka_unit_test(programs)};
    return cmocka_run_group_tests_name("errors_model", tests, NULL, NULL);
}
