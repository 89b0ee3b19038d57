/* A run becomes a model of fully connected layers on the same input, which hd_lower compiles. */
#include "lm_lower.h"

#include <stdio.h>
#include <stdlib.h>

#include "lower.h"

enum { MOST = 3 };

hd_status hd_lm_lower(hd_program **out, const hd_lm_run *r, int tokens, const hd_geometry *g, const char *board, hd_err *err) {
    static const char *const layers[4][MOST] = {{NULL}, {NULL}, {"w1", "w3"}, {"q", "k", "v"}};
    char name[MOST][48], input[] = "codes";
    hd_qtensor tensor[MOST + 1] = {{.name = input, .h = 1, .w = tokens, .c = r->in, .scale = 1}};
    hd_stage stage[MOST];
    int channel = 0;
    float *scale = malloc((size_t)r->out * sizeof *scale);
    int32_t *bias = calloc((size_t)r->out, sizeof *bias);
    *out = NULL;
    for (int i = 0; i < r->matrices; i++) {
        snprintf(name[i], sizeof name[i], "%s%s%s", r->name, r->matrices > 1 ? "." : "", r->matrices > 1 ? layers[r->matrices][i] : "");
        tensor[i + 1] = (hd_qtensor){.name = name[i], .h = 1, .w = tokens, .c = r->rows[i], .scale = 1};
        /* The planner and the encoder read the integers; grid and bits say how a file would hold them. */
        stage[i] = (hd_stage){.kind = HD_STAGE_CONV, .name = name[i], .input = 0, .residual = -1, .output = i + 1, .kh = 1, .kw = 1, .sy = 1, .sx = 1, .dy = 1, .dx = 1,
                              .groups = 1, .cin = r->in, .cout = r->rows[i], .grid = HD_GRID_ODD, .bits = r->bits, .v = (int16_t *)r->v[i],
                              .scale = scale ? scale + channel : NULL, .bias = bias ? bias + channel : NULL, .mult = r->mult + channel, .shift = r->shift + channel,
                              .clamp_lo = -128, .clamp_hi = 127};
        channel += r->rows[i];
    }
    for (int i = 0; scale && i < r->out; i++) scale[i] = 1;
    hd_model m = {.name = (char *)r->name, .n_tensors = r->matrices + 1, .n_stages = r->matrices, .input = 0, .output = r->matrices, .tensor = tensor, .stage = stage};
    hd_lower_options o = {.board = board, .join_outputs = 1};
    hd_status s = scale && bias ? hd_lower(out, &m, g, &o, err) : hd_fail(err, HD_NOMEM, "%s: no memory for %d channels", r->name, r->out);
    free(scale);
    free(bias);
    return s;
}

void hd_program_shorten(uint32_t *desc, hd_port *input, hd_port *output, const hd_program *p, uint32_t positions) {
    for (uint32_t i = 0; i + 1 < p->n_desc; i++) {
        uint32_t *d = desc + (size_t)i * HD_DESC_WORDS;
        int64_t line = (int64_t)positions * hd_field_get(d, HD_F_POS_STEP);
        hd_field_set(d, HD_F_IN_W, positions);
        hd_field_set(d, HD_F_KY_STEP, line);
        hd_field_set(d, HD_F_LINE_STEP, line);
        hd_field_set(d, HD_F_OUT_W, positions);
        hd_field_set(d, HD_F_POSITIONS, positions);
        hd_field_set(d, HD_F_PASSES, hd_ceil_div(positions, p->geometry.rows));
    }
    *input = p->input;
    *output = p->output;
    input->w = output->w = positions;
}
