/* Coding a layer with fixed tables: row scales, codes, what is stored, and decoding from it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codebook_internal.h"

void hd_codebook_defaults(hd_codebook_options *o) {
    *o = (hd_codebook_options){.beam = 8, .sweeps = 4, .rounds = 2, .fit_rounds = 3, .damping = 0.01, .seed = 1};
}

float hd_scale_value(int base, int code) { return (float)exp2(base + (double)code / HD_CODEBOOK_OCTAVE); }

/* Root mean square of the table sums of random codes. */
static double table_rms(const hd_codebook *c) {
    size_t n = ((size_t)1 << c->window) * (size_t)c->group * (size_t)c->books;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)c->entry[i] * c->entry[i];
    return sqrt(sum * c->books / (double)n);
}

static double row_rms(const hd_prepared *p, int row) {
    double sum = 0, weight = 0;
    for (size_t i = 0; i < (size_t)p->n; i++) {
        double h = p->h[i * ((size_t)p->n + 1)], w = (double)p->w[(size_t)row * (size_t)p->n + i];
        sum += h * w * w;
        weight += h;
    }
    return sqrt(sum / weight);
}

int hd_scale_base(const hd_prepared *p, const hd_codebook *c) {
    double largest = 0;
    for (int r = 0; r < p->out; r++) largest = fmax(largest, row_rms(p, r));
    /* One octave above the largest first guess, at least six below it. */
    return largest > 0 ? (int)floor(log2(largest / table_rms(c))) - 6 : 0;
}

static int nearest_scale(int base, double scale) {
    int code = 0;
    for (int i = 1; i < HD_CODEBOOK_SCALES; i++)
        if (fabs((double)hd_scale_value(base, i) - scale) < fabs((double)hd_scale_value(base, code) - scale)) code = i;
    return code;
}

/* The scale whose quick coding loses least, around the one that matches the row's size to the table's. */
static int search_scale(hd_search *s, const hd_metric *m, const hd_prepared *p, const hd_codebook *c, int row, int base, uint16_t *index) {
    int centre = nearest_scale(base, row_rms(p, row) / table_rms(c)), best = 0, quick = c->window == c->bits ? 1 : 4;
    double least = INFINITY;
    for (int code = centre - 3; code <= centre + 4; code++) {
        if (code < 0 || code >= HD_CODEBOOK_SCALES) continue;
        double error = hd_search_row(s, m, row, hd_scale_value(base, code), quick, index);
        if (error < least) {
            least = error;
            best = code;
        }
    }
    return best;
}

static double code_row(hd_search *s, const hd_metric *m, const hd_prepared *p, const hd_codebook *c, const hd_codebook_options *o, int row, int start, int base,
                       uint8_t *scale_code, uint16_t *index, uint16_t *trial) {
    size_t bytes = (size_t)p->groups * (size_t)c->books * sizeof *index;
    int code = start ? *scale_code : search_scale(s, m, p, c, row, base, trial), tried[HD_CODEBOOK_SCALES] = {0};
    double least = INFINITY;
    for (int round = 0; round < o->rounds && !tried[code]; round++) {
        tried[code] = 1;
        double error = hd_search_row(s, m, row, hd_scale_value(base, code), o->beam, trial);
        if (o->sweeps && c->window == c->bits) error = hd_descend_row(s, m, row, hd_scale_value(base, code), o->sweeps, trial);
        int refit = nearest_scale(base, hd_best_scale(s, row, trial));
        if (refit != code) {
            double other = hd_row_error(s, row, hd_scale_value(base, refit), trial);
            if (other < error) {
                error = other;
                code = refit;
            }
        }
        if (error < least) {
            least = error;
            *scale_code = (uint8_t)code;
            memcpy(index, trial, bytes);
        }
    }
    return least;
}

hd_status hd_code_layer(const hd_prepared *p, const hd_codebook *c, const hd_codebook_options *o, int start, int base, uint8_t *scale_code, uint16_t *index,
                        double *error, hd_err *err) {
    size_t codes = (size_t)p->groups * (size_t)c->books;
    double *row_error = calloc((size_t)p->out, sizeof *row_error);
    hd_metric m = {0};
    hd_status status = row_error ? hd_metric_new(&m, p, c, err) : hd_fail(err, HD_NOMEM, "no memory for the errors of %d rows", p->out);
    int failed = 0;
    if (!status) {
#pragma omp parallel
        {
            hd_search *s = hd_search_new(p, c, o->beam < 4 ? 4 : o->beam);
            uint16_t *trial = malloc(codes * sizeof *trial);
            if (!s || !trial) {
#pragma omp atomic write
                failed = 1;
            }
#pragma omp barrier
            int stop;
#pragma omp atomic read
            stop = failed;
            if (!stop) {
#pragma omp for schedule(dynamic)
                for (int r = 0; r < p->out; r++)
                    row_error[r] = code_row(s, &m, p, c, o, r, start, base, scale_code + r, index + (size_t)r * codes, trial);
            }
            hd_search_free(s);
            free(trial);
        }
        if (failed) status = hd_fail(err, HD_NOMEM, "no memory for a search of %d survivors over %d inputs", o->beam, p->n);
    }
    *error = 0;
    for (int r = 0; r < p->out && !status; r++) *error += row_error[r];
    hd_metric_free(&m);
    free(row_error);
    return status;
}

void hd_codebook_decode(int16_t *v, float *w, const hd_codebook *c, const uint16_t *code, const uint8_t *scale_code, int scale_base, int out, int in) {
    int groups = (in + c->group - 1) / c->group, mask = (1 << c->window) - 1;
    size_t entries = (size_t)1 << c->window, group = (size_t)c->group, books = (size_t)c->books;
    for (int r = 0; r < out; r++) {
        float scale = hd_scale_value(scale_base, scale_code[r]);
        int state = 0;
        for (int g = 0; g < groups; g++)
            for (size_t d = 0; d < group; d++) {
                const uint16_t *k = code + ((size_t)r * (size_t)groups + (size_t)g) * books;
                if (d == 0 && c->window > c->bits) state = (state << c->bits | k[0]) & mask;
                int sum = 0;
                for (size_t b = 0; b < books; b++) sum += c->entry[(b * entries + (c->window > c->bits ? (size_t)state : k[b])) * group + d];
                size_t at = (size_t)g * group + d;
                if (at >= (size_t)in) break;
                v[(size_t)r * (size_t)in + at] = (int16_t)sum;
                w[(size_t)r * (size_t)in + at] = (float)sum * scale;
            }
    }
}

void hd_codebook_result_free(hd_codebook_result *r) {
    if (!r) return;
    hd_linear_result_free(&r->linear);
    free(r->scale_code);
    free(r->code);
    memset(r, 0, sizeof *r);
}

/* e H e^T on the H that was given, without damping. */
static double square_of(const hd_linear *p, const double *e) {
    size_t in = (size_t)p->in;
    double sum = 0;
    for (size_t i = 0; i < in; i++) {
        double x = p->h ? 0.0 : e[i];
        for (size_t j = 0; p->h && j < in; j++) x += p->h[i * in + j] * e[j];
        sum += x * e[i];
    }
    return sum;
}

static hd_status measure(hd_linear_result *out, const hd_linear *p, const hd_prepared *q, hd_err *err) {
    size_t in = (size_t)p->in;
    double *e = malloc(2 * in * sizeof *e);
    if (!e) return hd_fail(err, HD_NOMEM, "layer '%s': no memory for a row", p->name);
    double *t = e + in;
    for (size_t r = 0; r < (size_t)p->out; r++) {
        for (size_t i = 0; i < in; i++) {
            t[i] = (double)q->w[r * (size_t)q->n + i];
            e[i] = t[i] - (double)out->w[r * in + i];
        }
        out->error += square_of(p, e);
        out->reference += square_of(p, t);
    }
    free(e);
    return HD_OK;
}

static hd_status check_options(const hd_codebook_options *o, const char *name, hd_err *err) {
    if (o->beam < 1 || o->beam > 256) return hd_fail(err, HD_RANGE, "layer '%s': beam %d; allowed 1..256", name, o->beam);
    if (o->sweeps < 0) return hd_fail(err, HD_RANGE, "layer '%s': %d sweeps; at least 0", name, o->sweeps);
    if (o->rounds < 1) return hd_fail(err, HD_RANGE, "layer '%s': %d rounds; at least 1", name, o->rounds);
    return HD_OK;
}

hd_status hd_codebook_solve(hd_codebook_result *out, const hd_linear *p, const hd_codebook *c, const hd_codebook_options *o, hd_err *err) {
    memset(out, 0, sizeof *out);
    hd_status status = check_options(o, p->name, err);
    if (status) return status;
    hd_prepared prepared;
    if ((status = hd_prepare(&prepared, p, c, o->damping, err))) return status;
    size_t rows = (size_t)p->out, weights = rows * (size_t)p->in, codes = rows * (size_t)prepared.groups * (size_t)c->books;
    hd_linear_result *l = &out->linear;
    double damped;
    out->groups = prepared.groups;
    l->w = malloc(weights * sizeof *l->w);
    l->v = malloc(weights * sizeof *l->v);
    l->scale = malloc(rows * sizeof *l->scale);
    out->scale_code = malloc(rows * sizeof *out->scale_code);
    out->code = malloc(codes * sizeof *out->code);
    out->scale_base = hd_scale_base(&prepared, c);
    if (!l->w || !l->v || !l->scale || !out->scale_code || !out->code) status = hd_fail(err, HD_NOMEM, "layer '%s': no memory for %zu codes", p->name, codes);
    if (!status) status = hd_code_layer(&prepared, c, o, 0, out->scale_base, out->scale_code, out->code, &damped, err);
    if (!status) {
        for (size_t i = 0; i < codes; i++) out->code[i] = (uint16_t)(out->code[i] & ((1 << c->bits) - 1));
        for (size_t r = 0; r < rows; r++) l->scale[r] = hd_scale_value(out->scale_base, out->scale_code[r]);
        hd_codebook_decode(l->v, l->w, c, out->code, out->scale_code, out->scale_base, p->out, p->in);
        l->bits_stored = (double)codes * c->bits + 6.0 * (double)rows + 16.0;
        status = measure(l, p, &prepared, err);
    }
    hd_prepared_free(&prepared);
    if (status) hd_codebook_result_free(out);
    return status;
}
