/* What a compressed model must satisfy. A model that passes runs on the integer executor without reading outside its
 * tensors and without overflow, whatever the input. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../graph/graph.h"
#include "model_internal.h"

hd_status hd_model_check_tensors(const hd_model *m, hd_err *err) {
    uint64_t total = 0;
    for (int i = 0; i < m->n_tensors; i++) {
        const hd_qtensor *t = &m->tensor[i];
        const int size[3] = {t->h, t->w, t->c};
        for (int k = 0; k < 3; k++)
            if (size[k] < 1 || size[k] > HD_MODEL_MAX_DIM)
                return hd_fail(err, HD_RANGE, "tensor '%s': %s is %u; allowed 1..%d", t->name,
                               k == 0 ? "height" : k == 1 ? "width" : "channel count", (unsigned)size[k], HD_MODEL_MAX_DIM);
        total += (uint64_t)t->h * (uint64_t)t->w * (uint64_t)t->c;
        if (total > HD_MODEL_MAX_ELEMENTS)
            return hd_fail(err, HD_RANGE, "tensor '%s': the tensors up to it hold %llu elements; allowed %d", t->name,
                           (unsigned long long)total, HD_MODEL_MAX_ELEMENTS);
        if (!(t->scale > 0.0f) || !isfinite(t->scale))
            return hd_fail(err, HD_RANGE, "tensor '%s': scale is %g; must be positive and finite", t->name, (double)t->scale);
        if (t->zero < -128 || t->zero > 127)
            return hd_fail(err, HD_RANGE, "tensor '%s': zero point is %d; allowed -128..127", t->name, t->zero);
    }
    return HD_OK;
}

/* Output positions: the last window may reach at most 32767 pixels past the input, as far as i16 padding before it. */
static hd_status check_axis(const hd_stage *s, const char *axis, int in, int out, int kernel, int stride, int dilation, int pad,
                            hd_err *err) {
    const struct { const char *what; int value; } field[] = {{"kernel", kernel}, {"stride", stride}, {"dilation", dilation}};
    for (int i = 0; i < 3; i++)
        if (field[i].value < 1 || field[i].value > 65535)
            return hd_fail(err, HD_RANGE, "stage '%s': %s %s is %d; allowed 1..65535", s->name, axis, field[i].what, field[i].value);
    if (pad < -32768 || pad > 32767)
        return hd_fail(err, HD_RANGE, "stage '%s': %s padding is %d; allowed -32768..32767", s->name, axis, pad);
    int64_t past = (int64_t)(out - 1) * stride - pad + (int64_t)(kernel - 1) * dilation - (in - 1);
    if (past > 32767)
        return hd_fail(err, HD_RANGE, "stage '%s': the last of %d %s windows ends %lld past the input; allowed 32767", s->name, out,
                       axis, (long long)past);
    return HD_OK;
}

static hd_status check_tensor_index(const hd_model *m, const hd_stage *s, const char *role, int index, int lowest, hd_err *err) {
    if (index >= lowest && index < m->n_tensors) return HD_OK;
    return hd_fail(err, HD_RANGE, "stage '%s': %s tensor is %d; allowed %d..%d", s->name, role, index, lowest, m->n_tensors - 1);
}

static hd_status check_weights_shape(const hd_model *m, hd_stage *s, hd_err *err) {
    s->cin = m->tensor[s->input].c;
    s->cout = m->tensor[s->output].c;
    if (s->groups < 1 || s->cin % s->groups || s->cout % s->groups)
        return hd_fail(err, HD_RANGE, "stage '%s': %d groups; must divide %d input and %d output channels", s->name, s->groups, s->cin,
                       s->cout);
    uint64_t inputs = (uint64_t)s->kh * (uint64_t)s->kw * (uint64_t)(s->cin / s->groups);
    uint64_t window = (uint64_t)s->kh * (uint64_t)s->kw * (uint64_t)s->cin;
    uint64_t most = window > inputs * (uint64_t)s->cout ? window : inputs * (uint64_t)s->cout;
    if (most > HD_MODEL_MAX_ELEMENTS)
        return hd_fail(err, HD_RANGE, "stage '%s': %llu weights or window elements; allowed %d", s->name, (unsigned long long)most,
                       HD_MODEL_MAX_ELEMENTS);
    if ((unsigned)s->grid >= HD_GRIDS)
        return hd_fail(err, HD_RANGE, "stage '%s': weight grid %u; allowed 0..%d", s->name, (unsigned)s->grid, HD_GRIDS - 1);
    int least, most_bits;
    hd_grid_bits(&least, &most_bits, s->grid);
    if (!most_bits && s->bits) return hd_fail(err, HD_RANGE, "stage '%s': %d bits on the %s grid; must be 0", s->name, s->bits, hd_grid_id(s->grid));
    if (s->bits < least || s->bits > most_bits)
        return hd_fail(err, HD_RANGE, "stage '%s': %d bits on the %s grid; allowed %d..%d", s->name, s->bits, hd_grid_id(s->grid), least, most_bits);
    if ((unsigned)s->granularity > HD_GRANULARITY_GROUP)
        return hd_fail(err, HD_RANGE, "stage '%s': granularity %u; allowed 0..2", s->name, (unsigned)s->granularity);
    if (s->granularity == HD_GRANULARITY_GROUP ? s->group_size < 1 : s->group_size != 0)
        return hd_fail(err, HD_RANGE, "stage '%s': group size is %d; must be %s", s->name, s->group_size,
                       s->granularity == HD_GRANULARITY_GROUP ? "at least 1 with GROUP granularity" : "0 without GROUP granularity");
    if (s->block_in < 0 || s->block_out < 0 || s->block_in > HD_MODEL_MAX_BLOCK || s->block_out > HD_MODEL_MAX_BLOCK ||
        !s->block_in != !s->block_out)
        return hd_fail(err, HD_RANGE, "stage '%s': pruning block %d x %d; allowed 1..%d each, or 0 x 0", s->name, s->block_in,
                       s->block_out, HD_MODEL_MAX_BLOCK);
    return HD_OK;
}

hd_status hd_stage_check_shape(const hd_model *m, hd_stage *s, hd_err *err) {
    hd_status status;
    if (s->kind != HD_STAGE_CONV && s->kind != HD_STAGE_MAXPOOL)
        return hd_fail(err, HD_RANGE, "stage '%s': kind %u; allowed %d (CONV) or %d (MAXPOOL)", s->name, (unsigned)s->kind, HD_STAGE_CONV,
                       HD_STAGE_MAXPOOL);
    if ((status = check_tensor_index(m, s, "input", s->input, 0, err)) != HD_OK) return status;
    if ((status = check_tensor_index(m, s, "residual", s->residual, -1, err)) != HD_OK) return status;
    if ((status = check_tensor_index(m, s, "output", s->output, 0, err)) != HD_OK) return status;
    const hd_qtensor *in = &m->tensor[s->input], *to = &m->tensor[s->output];
    if ((status = check_axis(s, "vertical", in->h, to->h, s->kh, s->sy, s->dy, s->pad_top, err)) != HD_OK) return status;
    if ((status = check_axis(s, "horizontal", in->w, to->w, s->kw, s->sx, s->dx, s->pad_left, err)) != HD_OK) return status;
    if (s->kind == HD_STAGE_CONV) return check_weights_shape(m, s, err);
    if (in->c != to->c) return hd_fail(err, HD_MISMATCH, "stage '%s': pools %d channels into %d; must be equal", s->name, in->c, to->c);
    if (in->zero != to->zero || in->scale != to->scale)
        return hd_fail(err, HD_MISMATCH, "stage '%s': input and output of MAXPOOL must share scale and zero point", s->name);
    if (s->residual != -1) return hd_fail(err, HD_RANGE, "stage '%s': MAXPOOL with residual tensor %d; must be -1", s->name, s->residual);
    return HD_OK;
}

static hd_status check_residual(const hd_model *m, const hd_stage *s, hd_err *err) {
    if (s->res_mult < 0 || s->res_mult > 65535 || s->res_shift < 0 || s->res_shift > 31)
        return hd_fail(err, HD_RANGE, "stage '%s': residual multiplier %d, shift %d; allowed 0..65535 and 0..31", s->name, s->res_mult,
                       s->res_shift);
    if (s->residual < 0) {
        if (s->res_mult || s->res_add || s->res_shift)
            return hd_fail(err, HD_RANGE, "stage '%s': residual constants without a residual; must be 0", s->name);
        return HD_OK;
    }
    const hd_qtensor *b = &m->tensor[s->residual], *to = &m->tensor[s->output];
    if (b->h != to->h || b->w != to->w || b->c != to->c)
        return hd_fail(err, HD_MISMATCH, "stage '%s': residual is %d x %d x %d, output %d x %d x %d; must be equal", s->name, b->h, b->w,
                       b->c, to->h, to->w, to->c);
    int64_t low = (int64_t)-128 * s->res_mult + s->res_add, high = (int64_t)127 * s->res_mult + s->res_add;
    if (low < INT32_MIN || high > INT32_MAX)
        return hd_fail(err, HD_RANGE, "stage '%s': residual constant %d with multiplier %d leaves 32 bits", s->name, s->res_add,
                       s->res_mult);
    return HD_OK;
}

/* Every partial sum of a channel, in any order, must stay inside int32: |acc| < 2^31. */
static hd_status check_channel(const hd_stage *s, int zero_in, size_t oc, hd_err *err) {
    if (!(s->scale[oc] > 0.0f) || !isfinite(s->scale[oc]))
        return hd_fail(err, HD_RANGE, "stage '%s': scale of channel %zu is %g; must be positive and finite", s->name, oc,
                       (double)s->scale[oc]);
    if (s->granularity == HD_GRANULARITY_TENSOR && s->scale[oc] != s->scale[0])
        return hd_fail(err, HD_RANGE, "stage '%s': scale of channel %zu is %g, of channel 0 %g; must be equal with TENSOR granularity",
                       s->name, oc, (double)s->scale[oc], (double)s->scale[0]);
    if (s->shift[oc] < 1 || s->shift[oc] > 47)
        return hd_fail(err, HD_RANGE, "stage '%s': shift of channel %zu is %d; allowed 1..47", s->name, oc, s->shift[oc]);
    size_t inputs = hd_stage_inputs(s), groups = hd_stage_shift_groups(s);
    int64_t low = 0, high = 0, least = -128 - zero_in, most = 127 - zero_in;
    for (size_t i = 0; i < inputs; i++) {
        int v = s->v[oc * inputs + i];
        int step = groups ? s->group_shift[oc * groups + i / (size_t)s->group_size] : 0;
        int legal = hd_stage_is_present(s, oc, i) ? v % (1 << step) == 0 && hd_grid_has(s->grid, s->bits, v / (1 << step)) : v == 0;
        if (!legal)
            return hd_fail(err, HD_RANGE, "stage '%s': weight %zu of channel %zu is %d; not on its grid", s->name, i, oc, v);
        low += v > 0 ? v * least : v * most;
        high += v > 0 ? v * most : v * least;
    }
    int64_t bias = s->bias[oc], least_sum = bias > 0 ? low : low + bias, most_sum = bias < 0 ? high : high + bias;
    if (least_sum <= INT32_MIN || most_sum > INT32_MAX)
        return hd_fail(err, HD_RANGE, "stage '%s': accumulator of channel %zu reaches %lld..%lld; allowed +-2147483647", s->name, oc,
                       (long long)least_sum, (long long)most_sum);
    return HD_OK;
}

static hd_status check_conv(const hd_model *m, const hd_stage *s, hd_err *err) {
    if (s->clamp_lo < -128 || s->clamp_hi > 127 || s->clamp_lo > s->clamp_hi)
        return hd_fail(err, HD_RANGE, "stage '%s': clamp %d..%d; must be ordered within -128..127", s->name, s->clamp_lo, s->clamp_hi);
    hd_status status = check_residual(m, s, err);
    if (status != HD_OK) return status;
    if (!s->v || !s->scale || !s->bias || !s->mult || !s->shift || !s->present != !s->block_in ||
        !s->group_shift != (s->granularity != HD_GRANULARITY_GROUP))
        return hd_fail(err, HD_RANGE, "stage '%s': arrays do not fit the granularity and pruning of the stage", s->name);
    size_t shifts = (size_t)s->cout * hd_stage_shift_groups(s);
    for (size_t i = 0; i < shifts; i++)
        if (s->group_shift[i] > 3)
            return hd_fail(err, HD_RANGE, "stage '%s': group shift %zu is %d; allowed 0..3", s->name, i, s->group_shift[i]);
    size_t blocks = hd_stage_out_blocks(s) * hd_stage_in_blocks(s);
    for (size_t i = 0; i < blocks; i++)
        if (s->present[i] > 1) return hd_fail(err, HD_RANGE, "stage '%s': block %zu is marked %d; allowed 0 or 1", s->name, i, s->present[i]);
    for (size_t oc = 0; oc < (size_t)s->cout; oc++)
        if ((status = check_channel(s, m->tensor[s->input].zero, oc, err)) != HD_OK) return status;
    return HD_OK;
}

/* Data flow: a stage reads what is there already, every tensor but the input is written by exactly one stage. */
static hd_status check_flow(const hd_model *m, uint8_t *written, hd_err *err) {
    written[m->input] = 1;
    for (int i = 0; i < m->n_stages; i++) {
        const hd_stage *s = &m->stage[i];
        const int read[2] = {s->input, s->residual};
        for (int k = 0; k < 2; k++)
            if (read[k] >= 0 && !written[read[k]])
                return hd_fail(err, HD_FORMAT, "stage '%s': reads tensor '%s', which no stage before it writes", s->name,
                               m->tensor[read[k]].name);
        if (written[s->output])
            return hd_fail(err, HD_FORMAT, "stage '%s': writes tensor '%s', which is written already", s->name, m->tensor[s->output].name);
        written[s->output] = 1;
    }
    for (int i = 0; i < m->n_tensors; i++)
        if (!written[i]) return hd_fail(err, HD_FORMAT, "tensor '%s': no stage writes it", m->tensor[i].name);
    return HD_OK;
}

static double work_of(const hd_model *m, const hd_stage *s) {
    const hd_qtensor *to = &m->tensor[s->output];
    return (double)to->h * to->w * to->c * s->kh * s->kw * (s->kind == HD_STAGE_CONV ? s->cin / s->groups : 1);
}

hd_status hd_model_check(const hd_model *m, hd_err *err) {
    if (m->n_tensors < 1 || m->n_stages < 1)
        return hd_fail(err, HD_RANGE, "%d tensors and %d stages; at least 1 of each", m->n_tensors, m->n_stages);
    const int end[2] = {m->input, m->output};
    for (int k = 0; k < 2; k++)
        if (end[k] < 0 || end[k] >= m->n_tensors)
            return hd_fail(err, HD_RANGE, "%s tensor is %d; allowed 0..%d", k ? "output" : "input", end[k], m->n_tensors - 1);
    hd_status status = hd_model_check_tensors(m, err);
    uint64_t weights = 0;
    double work = 0;
    for (int i = 0; status == HD_OK && i < m->n_stages; i++) {
        hd_stage shape = m->stage[i]; /* the check sets cin and cout of its copy */
        if ((status = hd_stage_check_shape(m, &shape, err)) != HD_OK) return status;
        if ((work += work_of(m, &shape)) > HD_MAX_WORK)
            return hd_fail(err, HD_RANGE, "stage '%s': with it a run takes %.3g operations; at most %.3g are allowed", shape.name, work, HD_MAX_WORK);
        if (m->stage[i].kind != HD_STAGE_CONV) continue;
        if (shape.cin != m->stage[i].cin || shape.cout != m->stage[i].cout)
            return hd_fail(err, HD_MISMATCH, "stage '%s': %d to %d channels, its tensors %d to %d", shape.name, m->stage[i].cin,
                           m->stage[i].cout, shape.cin, shape.cout);
        if ((weights += hd_stage_weights(&shape)) > HD_MODEL_MAX_ELEMENTS)
            return hd_fail(err, HD_RANGE, "stage '%s': the stages up to it have %llu weights; allowed %d", shape.name,
                           (unsigned long long)weights, HD_MODEL_MAX_ELEMENTS);
        status = check_conv(m, &m->stage[i], err);
    }
    if (status != HD_OK) return status;
    uint8_t *written = calloc((size_t)m->n_tensors, 1);
    if (!written) return hd_fail(err, HD_NOMEM, "model '%s': no memory for the check", m->name);
    status = check_flow(m, written, err);
    free(written);
    return status;
}
