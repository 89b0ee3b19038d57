/* The V step: entries, scales; and what codes and values decode to. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../compiler/compress/model_internal.h"
#include "pv_internal.h"

enum { SCALE_STEPS = 8, SCALE_CODES = 64 };

hd_status hd_pv_values_new(hd_pv_values *v, size_t n, hd_err *err) {
    *v = (hd_pv_values){n, calloc(n + 1, sizeof(float)), calloc(n + 1, sizeof(float)), calloc(n + 1, sizeof(float))};
    return v->value && v->mean && v->square ? HD_OK : hd_fail(err, HD_NOMEM, "no memory to train %zu values", n);
}

void hd_pv_values_free(hd_pv_values *v) {
    free(v->value);
    free(v->mean);
    free(v->square);
    *v = (hd_pv_values){0};
}

void hd_pv_adam(hd_pv_values *v, const double *gradient, double rate, int step) {
    const double first = 0.9, second = 0.95, by_first = 1.0 / (1.0 - pow(first, step)), by_second = 1.0 / (1.0 - pow(second, step));
    for (size_t i = 0; i < v->n; i++) {
        double mean = first * (double)v->mean[i] + (1.0 - first) * gradient[i], square = second * (double)v->square[i] + (1.0 - second) * gradient[i] * gradient[i];
        v->mean[i] = (float)mean;
        v->square[i] = (float)square;
        v->value[i] -= (float)(rate * mean * by_first / (sqrt(square * by_second) + 1e-12));
    }
}

/* The integers of a table from its values, and what the search needs of them. */
static void round_table(hd_pv_table *t) {
    hd_codebook *c = t->c;
    size_t entries = (size_t)1 << c->window, group = (size_t)c->group;
    int top = (1 << c->planes) - 1;
    for (size_t b = 0; b < (size_t)c->books; b++)
        for (size_t k = 0; k < entries; k++) {
            float norm = 0;
            for (size_t d = 0; d < group; d++) {
                size_t at = (b * entries + k) * group + d;
                float u = 2.0f * floorf(t->entries.value[at] / 2.0f) + 1.0f;
                u = u > (float)top ? (float)top : u < (float)-top ? (float)-top : u;
                c->entry[at] = (int16_t)u;
                t->plain[(b * group + d) * entries + k] = u;
                norm += u * u;
            }
            t->norm[b * entries + k] = norm;
        }
}

static hd_status open_table(hd_pv_table *t, hd_codebook *c, hd_err *err) {
    size_t n = ((size_t)1 << c->window) * (size_t)c->books * (size_t)c->group;
    double sum = 0;
    t->c = c;
    t->plain = malloc(n * sizeof *t->plain);
    t->norm = malloc(n * sizeof *t->norm);
    hd_status s = t->plain && t->norm ? hd_pv_values_new(&t->entries, n, err) : hd_fail(err, HD_NOMEM, "no memory for a table of %zu values", n);
    if (s) return s;
    for (size_t i = 0; i < n; i++) {
        t->entries.value[i] = c->entry[i];
        sum += (double)c->entry[i] * c->entry[i];
    }
    t->rms = sqrt(sum / (double)n);
    round_table(t);
    return HD_OK;
}

static float stored_scale(const hd_pv_part *m, size_t i) {
    const hd_lm_code *k = m->m->code;
    return k ? (float)k->scale_base + (float)k->scale_code[i] / SCALE_STEPS : log2f(fabsf(m->m->linear.scale[i]));
}

static hd_status open_part(hd_pv_part *m, hd_pv_table *tables, hd_lm_matrix *x, int out, int in, const char *name, hd_err *err) {
    const hd_linear_format *f = &x->format;
    *m = (hd_pv_part){.m = x, .out = out, .in = in, .group = 1, .groups = in, .scale_group = in};
    if (x->code && x->code->table == HD_LM_E8P) return hd_fail(err, HD_UNSUPPORTED, "%s: codes of E8P are not tuned; integers and tables are", name);
    if (x->code) {
        m->table = &tables[x->code->table];
        if (m->table->c->window > m->table->c->bits) return hd_fail(err, HD_UNSUPPORTED, "%s: codes of a trellis are not tuned; integers and tables are", name);
        m->group = m->table->c->group;
        m->groups = x->code->groups;
    } else {
        if (f->bits == 16 || !x->linear.v) return hd_fail(err, HD_UNSUPPORTED, "%s: float values have no codes to tune; integers and tables have", name);
        m->step = 2;
        m->lowest = hd_grid_min(f->grid, f->bits);
        m->highest = hd_grid_max(f->grid, f->bits);
        if (x->linear.zero) return hd_fail(err, HD_UNSUPPORTED, "%s: integers with zero points are not tuned; symmetric ones are", name);
        if (f->group && !x->linear.shift) m->scale_group = f->group;
    }
    size_t rows = (size_t)out, n = rows * (size_t)in, scales = rows * (size_t)((in + m->scale_group - 1) / m->scale_group);
    m->buffer = malloc(n * sizeof *m->buffer);
    m->square = calloc(n, sizeof *m->square);
    m->unit = malloc(rows * sizeof *m->unit);
    m->scale_sum = malloc(scales * sizeof *m->scale_sum);
    if (!m->buffer || !m->square || !m->unit || !m->scale_sum) return hd_fail(err, HD_NOMEM, "%s: no memory to tune it", name);
    hd_status s = hd_pv_values_new(&m->scales, scales, err);
    for (size_t i = 0; !s && i < scales; i++) m->scales.value[i] = stored_scale(m, i);
    memcpy(m->buffer, x->linear.w, n * sizeof *m->buffer);
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t i = 0; i < (size_t)in; i++) sum += pow((double)x->linear.w[r * (size_t)in + i], 2);
        m->unit[r] = (float)sqrt(sum / in);
    }
    return s;
}

hd_status hd_pv_new(hd_pv **out, const hd_lm *start, hd_err *err) {
    *out = NULL;
    hd_pv *p = calloc(1, sizeof *p);
    int parts = start->model->layers * HD_LLAMA_MATRICES;
    if (p) {
        p->c = hd_lm_clone(start);
        p->part = calloc((size_t)parts, sizeof *p->part);
        p->table = calloc((size_t)start->tables + 1, sizeof *p->table);
    }
    hd_status s = p && p->c && p->part && p->table ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for a copy of the model");
    for (; !s && p->tables < start->tables; p->tables++) s = open_table(&p->table[p->tables], p->c->table[p->tables], err);
    while (!s && p->parts < parts) {
        char name[32];
        int rows, in, k = p->parts++;
        hd_llama_name(k / HD_LLAMA_MATRICES, k % HD_LLAMA_MATRICES, name, sizeof name);
        hd_llama_shape(start->model, k % HD_LLAMA_MATRICES, &rows, &in);
        s = open_part(&p->part[k], p->table, &p->c->matrix[k], rows, in, name, err);
        p->groups += (size_t)rows * (size_t)p->part[k].groups;
    }
    if (s) hd_pv_free(p);
    else *out = p;
    return s;
}

void hd_pv_free(hd_pv *p) {
    if (!p) return;
    for (int i = 0; p->table && i < p->tables; i++) {
        hd_pv_values_free(&p->table[i].entries);
        free(p->table[i].plain);
        free(p->table[i].norm);
    }
    for (int i = 0; p->part && i < p->parts; i++) {
        free(p->part[i].buffer);
        free(p->part[i].square);
        free(p->part[i].unit);
        free(p->part[i].scale_sum);
        hd_pv_values_free(&p->part[i].scales);
    }
    hd_lm_free(p->c);
    free(p->part);
    free(p->table);
    free(p);
}

/* The entries' gradient: what the weights that they name have, times the row's scale. */
static void entry_gradient(double *sum, const hd_pv *p, const hd_pv_table *t, const float *const *gradient) {
    size_t entries = (size_t)1 << t->c->window, books = (size_t)t->c->books, group = (size_t)t->c->group;
    memset(sum, 0, t->entries.n * sizeof *sum);
    for (int k = 0; k < p->parts; k++) {
        const hd_pv_part *m = &p->part[k];
        if (m->table != t) continue;
        for (size_t r = 0; r < (size_t)m->out; r++)
            for (size_t i = 0; i < (size_t)m->in; i++) {
                const uint16_t *code = m->m->code->code + (r * (size_t)m->groups + i / group) * books;
                double g = (double)m->m->linear.scale[r] * (double)gradient[k][r * (size_t)m->in + i];
                for (size_t b = 0; b < books; b++) sum[(b * entries + code[b]) * group + i % group] += g;
            }
    }
}

/* The scales' logarithms: d w / d log2 s = w ln 2. */
static void scale_step(hd_pv_part *m, const float *gradient, double rate, int step) {
    size_t in = (size_t)m->in, group = (size_t)m->scale_group, groups = (in + group - 1) / group;
    memset(m->scale_sum, 0, m->scales.n * sizeof *m->scale_sum);
    for (size_t i = 0; i < (size_t)m->out * in; i++) m->scale_sum[i / in * groups + i % in / group] += M_LN2 * (double)m->m->linear.w[i] * (double)gradient[i];
    hd_pv_adam(&m->scales, m->scale_sum, rate / M_LN2, step);
    hd_lm_code *k = m->m->code;
    for (size_t i = 0; i < m->scales.n; i++) {
        if (k) {
            float code = roundf((m->scales.value[i] - (float)k->scale_base) * SCALE_STEPS);
            k->scale_code[i] = (uint8_t)(code < 0 ? 0 : code > SCALE_CODES - 1 ? SCALE_CODES - 1 : code);
        } else if (fabsf(m->m->linear.scale[i]) > 0) {
            float size = exp2f(m->scales.value[i]);
            m->m->linear.scale[i] = copysignf(m->m->format.wide_scales ? size : (float)hd_half((double)size), m->m->linear.scale[i]);
        }
    }
}

void hd_pv_value_step(hd_pv *p, const float *const *gradient, double rate_entries, double rate_scales) {
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < p->tables; i++) {
        hd_pv_table *t = &p->table[i];
        double *sum = rate_entries > 0 ? malloc(t->entries.n * sizeof *sum) : NULL;
        if (!sum) continue;
        entry_gradient(sum, p, t, gradient);
        hd_pv_adam(&t->entries, sum, rate_entries * t->rms, p->steps);
        round_table(t);
        free(sum);
    }
    for (int k = 0; rate_scales > 0 && k < p->parts; k++) scale_step(&p->part[k], gradient[k], rate_scales, p->steps);
}

static void decode_integers(const hd_pv_part *m) {
    hd_linear_result *l = &m->m->linear;
    size_t in = (size_t)m->in, group = (size_t)m->scale_group, groups = (in + group - 1) / group;
    for (size_t i = 0; i < (size_t)m->out * in; i++) {
        l->w[i] = l->scale[i / in * groups + i % in / group] * (float)l->v[i];
        if (l->in_scale) l->w[i] /= l->in_scale[i % in];
    }
}

hd_status hd_pv_decode(hd_pv *p, hd_err *err) {
    hd_status s = HD_OK;
    for (int k = 0; !s && k < p->parts; k++) {
        const hd_pv_part *m = &p->part[k];
        if (m->table) s = hd_lm_decode(m->m, p->c->table, m->out, m->in, err);
        else decode_integers(m);
        if (!s) memcpy(p->c->model->layer[k / HD_LLAMA_MATRICES].matrix[k % HD_LLAMA_MATRICES], m->m->linear.w, (size_t)m->out * (size_t)m->in * sizeof(float));
    }
    return s;
}
