/* Rotation, error feedback over eight columns, descent, and the way back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codebook_internal.h"
#include "e8p.h"

enum { E8 = 8 };

/* How many codes a group has, and what an entry of each counts. */
static int stages_of(const hd_e8p_options *o) { return o->bits == 2 ? 1 : 2; }
static int weight_of(const hd_e8p_options *o, int stage) {
    if (stage == 0) return o->bits == 2 ? 1 : o->bits == 3 ? 5 : 4;
    return o->bits == 3 ? 2 : 1;
}

static void decode_stage(int8_t u[E8], const hd_e8p_options *o, int stage, uint16_t code) {
    if (stage && o->bits == 3) hd_e8p_fine_decode(u, (uint8_t)code);
    else hd_e8p_decode(u, code);
}

void hd_e8p_defaults(hd_e8p_options *o) {
    *o = (hd_e8p_options){.bits = 2, .rotate_out = 0, .metric = 1, .sweeps = 4, .damping = 0.01, .seed = 1};
}

void hd_e8p_result_free(hd_e8p_result *r) {
    hd_linear_result_free(&r->linear);
    free(r->code);
    free(r->scale_code);
    memset(r, 0, sizeof *r);
}

/* The problem in rotated coordinates. */
typedef struct rotated {
    float *w;
    double *h, *yx;
} rotated;

static uint64_t out_seed(const hd_e8p_options *o) { return (uint64_t)o->seed | (uint64_t)1 << 32; }

/* Rows by the input rotation, columns by the output rotation. */
static void rotate_matrix(double *x, int out, int in, const hd_e8p_options *o, int inverse, double *column) {
    if (o->unrotated) return;
    for (int r = 0; r < out; r++) hd_rotate(x + (size_t)r * (size_t)in, in, o->seed, inverse);
    for (int i = 0; i < in && o->rotate_out; i++) {
        for (int r = 0; r < out; r++) column[r] = x[(size_t)r * (size_t)in + (size_t)i];
        hd_rotate(column, out, out_seed(o), inverse);
        for (int r = 0; r < out; r++) x[(size_t)r * (size_t)in + (size_t)i] = column[r];
    }
}

static hd_status rotate_problem(rotated *to, const hd_linear *p, const hd_e8p_options *o, hd_err *err) {
    size_t in = (size_t)p->in, out = (size_t)p->out, wide = in > out ? in : out;
    double *work = malloc((out * in + wide) * sizeof *work);
    to->w = malloc(out * in * sizeof *to->w);
    to->h = calloc(in * in, sizeof *to->h);
    to->yx = p->yx ? malloc(out * in * sizeof *to->yx) : NULL;
    if (!work || !to->w || !to->h || (p->yx && !to->yx)) {
        free(work);
        return hd_fail(err, HD_NOMEM, "layer '%s': no memory to rotate it", p->name);
    }
    double *column = work + out * in;
    for (size_t i = 0; i < out * in; i++) work[i] = p->h && p->h[i % in * (in + 1)] == 0.0 ? 0.0 : (double)p->w[i];
    rotate_matrix(work, p->out, p->in, o, 0, column);
    for (size_t i = 0; i < out * in; i++) to->w[i] = (float)work[i];
    if (p->yx) {
        memcpy(to->yx, p->yx, out * in * sizeof *to->yx);
        rotate_matrix(to->yx, p->out, p->in, o, 0, column);
    }
    for (size_t i = 0; i < in * in; i++) to->h[i] = p->h ? p->h[i] : (double)(i / in == i % in);
    /* R^T H R: rows, then (through the transpose) columns. */
    for (int pass = 0; pass < 2 && !o->unrotated; pass++) {
        for (size_t i = 0; i < in; i++) hd_rotate(to->h + i * in, p->in, o->seed, 0);
        for (size_t i = 0; i < in; i++)
            for (size_t j = 0; j < i; j++) {
                double swap = to->h[i * in + j];
                to->h[i * in + j] = to->h[j * in + i];
                to->h[j * in + i] = swap;
            }
    }
    for (size_t i = 0; i < in; i++)
        for (size_t j = 0; j < i; j++) to->h[i * in + j] = to->h[j * in + i];
    free(work);
    return HD_OK;
}

/* One stage after the other: the second codes what the first left. Returns the integers. */
static void choose(uint16_t *code, int u[E8], const double x[E8], const double *metric, const hd_e8p_options *o) {
    double rest[E8];
    memcpy(rest, x, sizeof rest);
    memset(u, 0, E8 * sizeof *u);
    for (int s = 0; s < stages_of(o); s++) {
        double scaled[E8];
        int8_t entry[E8];
        int weight = weight_of(o, s);
        for (int i = 0; i < E8; i++) scaled[i] = rest[i] / weight;
        if (s && o->bits == 3) code[s] = hd_e8p_fine_best(scaled, metric);
        else code[s] = metric ? hd_e8p_best(scaled, metric) : hd_e8p_nearest(scaled);
        decode_stage(entry, o, s, code[s]);
        for (int i = 0; i < E8; i++) {
            u[i] += weight * entry[i];
            rest[i] -= weight * entry[i];
        }
    }
}

/* Per group: the metric of the error feedback (U_jj U_jj^T), the inverse of U_jj, and H_gg with its inverse for descent. */
typedef struct blocks {
    double *feedback, *back; /* [groups][8][8], by step */
    double *own, *own_inverse; /* [groups][8][8], by group */
} blocks;

/* Inverse of a positive definite 8 x 8 matrix by Gauss-Jordan elimination (no pivoting needed). */
static void invert(double *inverse, const double *matrix) {
    double a[E8][2 * E8];
    for (int i = 0; i < E8; i++)
        for (int j = 0; j < 2 * E8; j++) a[i][j] = j < E8 ? matrix[i * E8 + j] : (double)(j - E8 == i);
    for (int k = 0; k < E8; k++) {
        double pivot = a[k][k];
        for (int j = 0; j < 2 * E8; j++) a[k][j] /= pivot;
        for (int i = 0; i < E8; i++) {
            double factor = a[i][k];
            if (i == k || factor == 0.0) continue;
            for (int j = 0; j < 2 * E8; j++) a[i][j] -= factor * a[k][j];
        }
    }
    for (int i = 0; i < E8; i++)
        for (int j = 0; j < E8; j++) inverse[i * E8 + j] = a[i][E8 + j];
}

static void fill_blocks(blocks *b, const hd_prepared *p) {
    size_t n = (size_t)p->n;
    for (int g = 0; g < p->groups; g++) {
        size_t at = (size_t)g * E8, to = (size_t)g * E8 * E8;
        double u[E8 * E8];
        for (size_t i = 0; i < E8; i++)
            for (size_t j = 0; j < E8; j++) {
                u[i * E8 + j] = (double)p->u[(at + i) * n + at + j];
                b->own[to + i * E8 + j] = p->h[(at + i) * n + at + j];
            }
        for (int i = 0; i < E8; i++)
            for (int j = 0; j < E8; j++) {
                double sum = 0;
                for (int k = 0; k < E8; k++) sum += u[i * E8 + k] * u[j * E8 + k];
                b->feedback[to + (size_t)(i * E8 + j)] = sum;
            }
        invert(b->back + to, u);
        invert(b->own_inverse + to, b->own + to);
    }
}

typedef struct row {
    const hd_prepared *p;
    const blocks *b;
    const hd_e8p_options *o;
    double *partial, *e, *q; /* [n] */
    int *u;                  /* [n] */
} row;

static double error_of(const row *s, int r, double scale) {
    size_t n = (size_t)s->p->n;
    double sum = 0;
    for (size_t i = 0; i < n; i++) s->e[i] = (double)s->p->w[(size_t)r * n + i] - scale * s->u[i];
    for (size_t j = 0; j < n; j++) {
        const double *h = s->p->h + j * n;
        double x = 0;
        for (size_t i = 0; i < n; i++) x += s->e[i] * h[i];
        s->q[j] = x;
        sum += x * s->e[j];
    }
    return sum;
}

/* Error feedback through the factor: block j sees the errors of the blocks before it. */
static double feed_back(row *s, int r, double scale, uint16_t *code) {
    const hd_prepared *p = s->p;
    size_t n = (size_t)p->n;
    memset(s->partial, 0, n * sizeof *s->partial);
    for (int step = 0; step < p->groups; step++) {
        size_t first = (size_t)step * E8, stored = (size_t)p->order[step] * E8;
        const float *w = p->w + (size_t)r * n + stored;
        double x[E8];
        for (int i = 0; i < E8; i++) {
            double sum = 0;
            for (int j = 0; j < E8; j++) sum += s->partial[first + (size_t)j] * s->b->back[(size_t)(step * E8 * E8 + j * E8 + i)];
            x[i] = ((double)w[i] + sum) / scale;
        }
        choose(code + p->order[step] * stages_of(s->o), s->u + stored, x, s->o->metric ? s->b->feedback + (size_t)(step * E8 * E8) : NULL, s->o);
        for (size_t i = 0; i < E8; i++) {
            double e = (double)w[i] - scale * s->u[stored + i];
            const float *line = p->u + (first + i) * n;
            for (size_t j = first + E8; j < n; j++) s->partial[j] += e * (double)line[j];
        }
    }
    return error_of(s, r, scale);
}

/* Each group again, given all others, while it lowers the error. error_of has set e and q. */
static void descend(row *s, double scale, uint16_t *code) {
    const hd_prepared *p = s->p;
    size_t n = (size_t)p->n;
    for (int sweep = 0; sweep < s->o->sweeps; sweep++) {
        int changes = 0;
        for (int step = 0; step < p->groups; step++) {
            int g = p->order[step], u[E8];
            size_t at = (size_t)g * E8;
            const double *own = s->b->own + (size_t)(g * E8 * E8), *inverse = s->b->own_inverse + (size_t)(g * E8 * E8);
            double x[E8], gain = 0;
            uint16_t trial[2];
            for (int i = 0; i < E8; i++) {
                double sum = 0;
                for (int j = 0; j < E8; j++) sum += inverse[i * E8 + j] * s->q[at + (size_t)j];
                x[i] = s->u[at + (size_t)i] + sum / scale;
            }
            choose(trial, u, x, own, s->o);
            for (int i = 0; i < E8; i++) {
                double d = scale * (u[i] - s->u[at + (size_t)i]), sum = 0;
                for (int j = 0; j < E8; j++) sum += own[i * E8 + j] * scale * (u[j] - s->u[at + (size_t)j]);
                gain += d * (2.0 * s->q[at + (size_t)i] - sum);
            }
            if (!(gain > 1e-12 * own[0] * scale * scale)) continue;
            for (size_t i = 0; i < E8; i++) {
                double d = scale * (s->u[at + i] - u[i]);
                const double *h = p->h + (at + i) * n;
                for (size_t j = 0; j < n; j++) s->q[j] += d * h[j];
                s->u[at + i] = u[i];
            }
            memcpy(code + g * stages_of(s->o), trial, (size_t)stages_of(s->o) * sizeof *code);
            changes++;
        }
        if (!changes) break;
    }
}

/* The scale is tried on a few steps of its grid around the table's natural one, then the codes are improved. */
static void code_row(row *s, int r, int base, uint8_t *scale_code, uint16_t *code, uint16_t *trial) {
    size_t n = (size_t)s->p->n, codes = (size_t)(s->p->groups * stages_of(s->o));
    double square = 0, least = INFINITY, root = weight_of(s->o, 0);
    for (size_t i = 0; i < n; i++) square += pow((double)s->p->w[(size_t)r * n + i], 2);
    /* E8P codes normal data best when its deviation is about 4.1 quarters. */
    double natural = sqrt(square / s->p->in) / (4.1 * root);
    int centre = natural > 0 ? (int)lround((log2(natural) - base) * HD_CODEBOOK_OCTAVE) : 0;
    centre = centre < 0 ? 0 : centre >= HD_CODEBOOK_SCALES ? HD_CODEBOOK_SCALES - 1 : centre;
    for (int k = centre - 2; k <= centre + 2; k++) {
        if (k < 0 || k >= HD_CODEBOOK_SCALES) continue;
        double error = feed_back(s, r, (double)hd_scale_value(base, k), trial);
        if (error < least) {
            least = error;
            *scale_code = (uint8_t)k;
            memcpy(code, trial, codes * sizeof *code);
        }
    }
    /* The integers of the kept codes again, and from there down. */
    double scale = (double)hd_scale_value(base, *scale_code);
    if (s->o->sweeps) {
        feed_back(s, r, scale, code);
        descend(s, scale, code);
    }
}

static hd_status code_rows(hd_e8p_result *out, const hd_prepared *p, const hd_e8p_options *o, const char *name, hd_err *err) {
    size_t size = (size_t)p->groups * E8 * E8, n = (size_t)p->n, codes = (size_t)(p->groups * stages_of(o));
    double *store = malloc(4 * size * sizeof *store);
    if (!store) return hd_fail(err, HD_NOMEM, "layer '%s': no memory for its blocks", name);
    blocks b = {store, store + size, store + 2 * size, store + 3 * size};
    fill_blocks(&b, p);
    double largest = 0;
    for (size_t i = 0; i < (size_t)p->out; i++) {
        double square = 0;
        for (size_t j = 0; j < n; j++) square += pow((double)p->w[i * n + j], 2);
        largest = fmax(largest, square);
    }
    out->scale_base = largest > 0 ? (int)floor(log2(sqrt(largest / p->in) / (4.1 * weight_of(o, 0)))) - 6 : 0;
    int failed = 0;
#pragma omp parallel for schedule(dynamic)
    for (int r = 0; r < p->out; r++) {
        double *work = malloc(3 * n * sizeof *work);
        int *u = malloc(n * sizeof *u);
        uint16_t *trial = malloc(codes * sizeof *trial);
        if (work && u && trial) {
            row s = {p, &b, o, work, work + n, work + 2 * n, u};
            code_row(&s, r, out->scale_base, out->scale_code + r, out->code + (size_t)r * codes, trial);
        } else {
#pragma omp atomic write
            failed = 1;
        }
        free(work);
        free(u);
        free(trial);
    }
    free(store);
    return failed ? hd_fail(err, HD_NOMEM, "layer '%s': no memory for a row of %zu inputs", name, n) : HD_OK;
}

hd_status hd_e8p_weights(float *w, int16_t *v, const hd_e8p_options *o, const uint16_t *code, const uint8_t *scale_code, int scale_base, int out, int in,
                         hd_err *err) {
    size_t rows = (size_t)out, columns = (size_t)in, groups = (columns + E8 - 1) / E8, stages = (size_t)stages_of(o);
    double *x = malloc((rows * columns + (rows > columns ? rows : columns)) * sizeof *x);
    if (!x) return hd_fail(err, HD_NOMEM, "no memory to rotate %d x %d weights back", out, in);
    for (size_t r = 0; r < rows; r++) {
        double scale = (double)hd_scale_value(scale_base, scale_code[r]);
        for (size_t g = 0; g < groups; g++) {
            int sum[E8] = {0};
            for (size_t s = 0; s < stages; s++) {
                int8_t u[E8];
                decode_stage(u, o, (int)s, code[(r * groups + g) * stages + s]);
                for (int i = 0; i < E8; i++) sum[i] += weight_of(o, (int)s) * u[i];
            }
            for (size_t i = 0; i < E8; i++) {
                if (v) v[(r * groups + g) * E8 + i] = (int16_t)sum[i];
                if (g * E8 + i < columns) x[r * columns + g * E8 + i] = scale * sum[i];
            }
        }
    }
    rotate_matrix(x, out, in, o, 1, x + rows * columns);
    for (size_t i = 0; i < rows * columns; i++) w[i] = (float)x[i];
    free(x);
    return HD_OK;
}

/* The weights, and their error in the layer's own coordinates. */
static hd_status unpack(hd_e8p_result *out, const hd_linear *p, const hd_prepared *q, const hd_e8p_options *o, hd_err *err) {
    hd_linear_result *l = &out->linear;
    size_t in = (size_t)p->in, rows = (size_t)p->out, n = (size_t)q->n;
    double *t = malloc((rows * in + (in > rows ? in : rows)) * sizeof *t);
    if (!t) return hd_fail(err, HD_NOMEM, "layer '%s': no memory to rotate it back", p->name);
    for (size_t r = 0; r < rows; r++) {
        l->scale[r] = hd_scale_value(out->scale_base, out->scale_code[r]);
        for (size_t i = 0; i < in; i++) t[r * in + i] = (double)q->w[r * n + i];
    }
    rotate_matrix(t, p->out, p->in, o, 1, t + rows * in);
    hd_status s = hd_e8p_weights(l->w, l->v, o, out->code, out->scale_code, out->scale_base, p->out, p->in, err);
    for (size_t r = 0; r < rows && !s; r++)
        for (size_t i = 0; i < in; i++) {
            double x = 0, y = 0, e = t[r * in + i] - (double)l->w[r * in + i];
            for (size_t j = 0; p->h && j < in; j++) {
                x += p->h[i * in + j] * (t[r * in + j] - (double)l->w[r * in + j]);
                y += p->h[i * in + j] * t[r * in + j];
            }
            l->error += e * (p->h ? x : e);
            l->reference += t[r * in + i] * (p->h ? y : t[r * in + i]);
        }
    l->bits_stored = 8.0 * o->bits * (double)(rows * (size_t)out->groups) + 6.0 * (double)rows + 16.0 + 32.0;
    free(t);
    return s;
}

hd_status hd_e8p_solve(hd_e8p_result *out, const hd_linear *p, const hd_e8p_options *o, hd_err *err) {
    memset(out, 0, sizeof *out);
    if (p->out < 1 || p->in < 1) return hd_fail(err, HD_RANGE, "layer '%s': %d x %d weights; at least 1 x 1", p->name, p->out, p->in);
    if (o->bits < 2 || o->bits > 4) return hd_fail(err, HD_RANGE, "layer '%s': %d bits a weight on E8P; allowed 2..4", p->name, o->bits);
    if (o->sweeps < 0) return hd_fail(err, HD_RANGE, "layer '%s': %d sweeps; at least 0", p->name, o->sweeps);
    const hd_codebook shape = {.group = E8, .books = 1, .bits = 1, .window = 1};
    rotated to = {0};
    hd_prepared q = {0};
    hd_status status = rotate_problem(&to, p, o, err);
    hd_linear turned = {.name = p->name, .out = p->out, .in = p->in, .w = to.w, .h = to.h, .yx = to.yx};
    if (!status) status = hd_prepare(&q, &turned, &shape, o->damping, err);
    if (!status) {
        size_t rows = (size_t)p->out;
        out->groups = q.groups;
        out->code = malloc(rows * (size_t)(q.groups * stages_of(o)) * sizeof *out->code);
        out->scale_code = malloc(rows);
        out->linear.w = malloc(rows * (size_t)p->in * sizeof *out->linear.w);
        out->linear.v = malloc(rows * (size_t)q.n * sizeof *out->linear.v);
        out->linear.scale = malloc(rows * sizeof *out->linear.scale);
        if (!out->code || !out->scale_code || !out->linear.w || !out->linear.v || !out->linear.scale)
            status = hd_fail(err, HD_NOMEM, "layer '%s': no memory for its codes", p->name);
    }
    if (!status) status = code_rows(out, &q, o, p->name, err);
    if (!status) status = unpack(out, p, &q, o, err);
    hd_prepared_free(&q);
    free(to.w);
    free(to.h);
    free(to.yx);
    if (status) hd_e8p_result_free(out);
    return status;
}
