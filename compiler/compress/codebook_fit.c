/* Fitting shared tables: k-means for a start, then searches alternate with integer least squares. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../sw/core/rng.h"
#include "codebook_internal.h"

void hd_codebook_free(hd_codebook *c) {
    if (!c) return;
    free(c->entry);
    free(c);
}

double hd_codebook_bits(const hd_codebook *c) { return (double)c->planes * c->books * c->group * (double)(1 << c->window); }

static int16_t nearest_odd(double x, int planes) {
    int top = (1 << planes) - 1;
    double u = 2.0 * floor(x / 2.0) + 1.0;
    return (int16_t)(u > top ? top : u < -top ? -top : u);
}

/* Standard deviation of a first table: the grid's end at 2.7 deviations clips 0.7% of a normal's values. */
static double first_deviation(int planes) { return ((1 << planes) - 1) / 2.7; }

static hd_status check_range(const char *field, int found, int lo, int hi, hd_err *err) {
    if (found >= lo && found <= hi) return HD_OK;
    return hd_fail(err, HD_RANGE, "codebook: %s %d; allowed %d..%d", field, found, lo, hi);
}

hd_status hd_codebook_new(hd_codebook **out, int group, int books, int bits, int window, int planes, uint64_t seed, hd_err *err) {
    *out = NULL;
    hd_status status;
    if ((status = check_range("group", group, 1, HD_CODEBOOK_GROUP, err)) || (status = check_range("bits", bits, 1, 12, err)) ||
        (status = check_range("window", window, bits, 12, err)) ||
        (status = check_range("books", books, 1, window > bits ? 1 : HD_CODEBOOK_BOOKS, err)) ||
        (status = check_range("planes", planes, 2, 8, err)))
        return status;
    hd_codebook *c = calloc(1, sizeof *c);
    size_t n = ((size_t)1 << window) * (size_t)books * (size_t)group;
    if (!c || !(c->entry = malloc(n * sizeof *c->entry))) {
        free(c);
        return hd_fail(err, HD_NOMEM, "no memory for a codebook of %zu integers", n);
    }
    c->group = group;
    c->books = books;
    c->bits = bits;
    c->window = window;
    c->planes = planes;
    hd_rng rng;
    hd_rng_seed(&rng, seed, 29);
    for (size_t i = 0; i < n; i++) c->entry[i] = nearest_odd(first_deviation(planes) * (double)hd_rng_normal(&rng), planes);
    *out = c;
    return HD_OK;
}

/* ---- k-means ---- */

typedef struct samples {
    size_t n;
    float *x, *weight; /* [n][group] */
    int *nearest;      /* [n] */
} samples;

/* The centre at the least weighted squared distance. */
static int nearest_centre(const float *x, const float *weight, const float *centre, int entries, int group) {
    int best = 0;
    float least = INFINITY;
    for (int k = 0; k < entries; k++) {
        float distance = 0;
        for (int d = 0; d < group; d++) {
            float e = x[d] - centre[k * group + d];
            distance += weight[d] * e * e;
        }
        if (distance < least) {
            least = distance;
            best = k;
        }
    }
    return best;
}

/* Lloyd's iterations with a weight per coordinate, from random samples; then the samples become their residuals. */
static hd_status k_means(samples *s, int16_t *entry, int entries, int group, int planes, hd_rng *rng, hd_err *err) {
    size_t size = (size_t)entries * (size_t)group;
    float *centre = malloc(size * sizeof *centre);
    double *sum = malloc(2 * size * sizeof *sum);
    if (!centre || !sum) {
        free(centre);
        free(sum);
        return hd_fail(err, HD_NOMEM, "no memory for %zu centres", size);
    }
    for (int k = 0; k < entries; k++) memcpy(centre + k * group, s->x + hd_rng_below(rng, (uint32_t)s->n) * (uint32_t)group, (size_t)group * sizeof *centre);
    for (int round = 0; round <= 12; round++) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < s->n; i++)
            s->nearest[i] = nearest_centre(s->x + i * (size_t)group, s->weight + i * (size_t)group, centre, entries, group);
        if (round == 12) break;
        memset(sum, 0, 2 * size * sizeof *sum);
        for (size_t i = 0; i < s->n; i++)
            for (int d = 0; d < group; d++) {
                size_t from = i * (size_t)group + (size_t)d, to = (size_t)s->nearest[i] * (size_t)group + (size_t)d;
                sum[to] += (double)s->weight[from] * (double)s->x[from];
                sum[size + to] += (double)s->weight[from];
            }
        for (size_t i = 0; i < size; i++)
            if (sum[size + i] > 0) centre[i] = (float)(sum[i] / sum[size + i]);
    }
    for (size_t i = 0; i < size; i++) entry[i] = nearest_odd((double)centre[i], planes);
    for (size_t i = 0; i < s->n; i++)
        for (int d = 0; d < group; d++) s->x[i * (size_t)group + (size_t)d] -= (float)entry[s->nearest[i] * group + d];
    free(centre);
    free(sum);
    return HD_OK;
}

/* Groups of weights, each row scaled to the table's deviation, weighted by what an error costs once later columns make up for it
 * (the diagonal of the triangular factor, squared). At most 2^14 samples, evenly spread. */
static hd_status start_tables(hd_codebook *c, const hd_prepared *p, int n, uint64_t seed, hd_err *err) {
    size_t all = 0, group = (size_t)c->group;
    for (int i = 0; i < n; i++) all += (size_t)p[i].out * (size_t)p[i].groups;
    size_t stride = all / 16384 + 1, count = (all + stride - 1) / stride;
    samples s = {count, malloc(count * group * sizeof(float)), malloc(count * group * sizeof(float)), malloc(count * sizeof(int))};
    hd_status status = s.x && s.weight && s.nearest ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for %zu samples", count);
    size_t at = 0, seen = 0;
    for (int i = 0; i < n && !status; i++)
        for (int r = 0; r < p[i].out; r++) {
            double square = 0;
            for (int j = 0; j < p[i].n; j++) square += pow((double)p[i].w[(size_t)r * (size_t)p[i].n + (size_t)j], 2);
            double unit = square > 0 ? first_deviation(c->planes) / sqrt(square / p[i].in) : 0.0;
            for (int step = 0; step < p[i].groups; step++) {
                if (seen++ % stride) continue;
                for (size_t d = 0; d < group; d++) {
                    size_t place = (size_t)step * group + d;
                    double u = (double)p[i].u[place * ((size_t)p[i].n + 1)];
                    s.x[at * group + d] = (float)(unit * (double)p[i].w[(size_t)r * (size_t)p[i].n + (size_t)p[i].order[step] * group + d]);
                    s.weight[at * group + d] = unit > 0 ? (float)(u * u * p[i].weight / (unit * unit)) : 0.0f;
                }
                at++;
            }
        }
    hd_rng rng;
    hd_rng_seed(&rng, seed, 31);
    size_t table = ((size_t)1 << c->window) * group;
    for (int b = 0; b < c->books && !status; b++) {
        /* weights of the order of one: float sums of tiny products would lose the small ones */
        if (b == 0) {
            double mean = 0;
            for (size_t i = 0; i < count * group; i++) mean += (double)s.weight[i];
            mean /= (double)(count * group);
            for (size_t i = 0; i < count * group && mean > 0; i++) s.weight[i] = (float)((double)s.weight[i] / mean);
        }
        status = k_means(&s, c->entry + (size_t)b * table, 1 << c->window, c->group, c->planes, &rng, err);
    }
    free(s.x);
    free(s.weight);
    free(s.nearest);
    return status;
}

/* ---- integer least squares ---- */

typedef struct use {
    int layer, row, group;
} use;

/* The loss as a quadratic of the table entries x: x^T N x - 2 b^T x + const. Each thread owns whole entries, so sums keep their order. */
static hd_status normal_equations(const hd_codebook *c, const hd_prepared *p, int n, uint16_t *const *index, uint8_t *const *scale_code, const int *base,
                                  double *normal, double *right, hd_err *err) {
    int books = c->books, group = c->group;
    size_t entries = (size_t)1 << c->window, size = (size_t)books * entries * (size_t)group, all = 0;
    for (int i = 0; i < n; i++) all += (size_t)p[i].out * (size_t)p[i].groups * (size_t)books;
    size_t *first = calloc((size_t)books * entries + 1, sizeof *first), *fill = malloc((size_t)books * entries * sizeof *fill);
    use *uses = malloc(all * sizeof *uses);
    if (!first || !fill || !uses) {
        free(first);
        free(fill);
        free(uses);
        return hd_fail(err, HD_NOMEM, "no memory for %zu uses of table entries", all);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < n; i++)
            for (int r = 0; r < p[i].out; r++)
                for (int k = 0; k < p[i].groups * books; k++) {
                    size_t e = (size_t)(k % books) * entries + index[i][(size_t)r * (size_t)(p[i].groups * books) + (size_t)k];
                    if (pass == 0) first[e + 1]++;
                    else uses[fill[e]++] = (use){i, r, k / books};
                }
        if (pass == 0)
            for (size_t e = 0; e < (size_t)books * entries; e++) first[e + 1] += first[e];
        if (pass == 0) memcpy(fill, first, (size_t)books * entries * sizeof *fill);
    }
    memset(normal, 0, size * size * sizeof *normal);
    memset(right, 0, size * sizeof *right);
#pragma omp parallel for schedule(dynamic, 4)
    for (size_t e = 0; e < (size_t)books * entries; e++)
        for (size_t k = first[e]; k < first[e + 1]; k++) {
            const hd_prepared *q = &p[uses[k].layer];
            const uint16_t *row = index[uses[k].layer] + (size_t)uses[k].row * (size_t)(q->groups * books);
            const float *w = q->w + (size_t)uses[k].row * (size_t)q->n;
            double scale = (double)hd_scale_value(base[uses[k].layer], scale_code[uses[k].layer][uses[k].row]);
            for (int d = 0; d < group; d++) {
                const double *h = q->h + (size_t)(uses[k].group * group + d) * (size_t)q->n;
                double *line = normal + (e * (size_t)group + (size_t)d) * size, a = q->weight * scale * scale, cross = 0;
                for (int j = 0; j < q->n; j++) cross += h[j] * (double)w[j];
                right[e * (size_t)group + (size_t)d] += q->weight * scale * cross;
                for (int g = 0; g < q->groups; g++)
                    for (int b = 0; b < books; b++) {
                        double *block = line + ((size_t)b * entries + row[g * books + b]) * (size_t)group;
                        for (int f = 0; f < group; f++) block[f] += a * h[g * group + f];
                    }
            }
        }
    free(first);
    free(fill);
    free(uses);
    return HD_OK;
}

/* gradient = N x - b */
static void gradient_of(const double *normal, const double *right, const double *x, double *gradient, size_t size) {
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < size; i++) {
        double sum = 0;
        for (size_t j = 0; j < size; j++) sum += normal[i * size + j] * x[j];
        gradient[i] = sum - right[i];
    }
}

/* Coordinate descent; planes > 0: on odd integers, where x must start; 0: on the reals. */
static void descend(const double *normal, double *x, double *gradient, size_t size, int planes, int sweeps) {
    for (int sweep = 0; sweep < sweeps; sweep++) {
        int changes = 0;
        for (size_t i = 0; i < size; i++) {
            const double *line = normal + i * size;
            if (!(line[i] > 0)) continue;
            double to = x[i] - gradient[i] / line[i];
            if (planes) to = nearest_odd(to, planes);
            double delta = to - x[i];
            if (delta == 0.0 || -(2.0 * gradient[i] + delta * line[i]) * delta <= 0.0) continue;
            x[i] = to;
            for (size_t j = 0; j < size; j++) gradient[j] += delta * line[j];
            changes++;
        }
        if (!changes) break;
    }
}

/* x^T N x - 2 b^T x, from the gradient. */
static double value_of(const double *right, const double *x, const double *gradient, size_t size) {
    double sum = 0;
    for (size_t i = 0; i < size; i++) sum += x[i] * (gradient[i] - right[i]);
    return sum;
}

hd_status hd_codebook_refit(hd_codebook *c, const hd_prepared *p, int n, uint16_t *const *index, uint8_t *const *scale_code, const int *base, hd_err *err) {
    size_t size = ((size_t)1 << c->window) * (size_t)c->books * (size_t)c->group;
    double *normal = malloc(size * size * sizeof *normal), *work = malloc(5 * size * sizeof *work);
    hd_status status = normal && work ? HD_OK : hd_fail(err, HD_NOMEM, "no memory for normal equations of %zu table integers", size);
    double *right = work, *stay = work + size, *move = work + 2 * size, *stay_gradient = work + 3 * size, *move_gradient = work + 4 * size;
    if (!status) status = normal_equations(c, p, n, index, scale_code, base, normal, right, err);
    if (!status) {
        /* Two descents on the integers, from where the tables are and from the rounded real solution; the better one counts. The
         * first never goes up, so neither does their minimum. */
        for (size_t i = 0; i < size; i++) stay[i] = move[i] = c->entry[i];
        gradient_of(normal, right, stay, stay_gradient, size);
        memcpy(move_gradient, stay_gradient, size * sizeof *move_gradient);
        descend(normal, stay, stay_gradient, size, c->planes, 20);
        descend(normal, move, move_gradient, size, 0, 20);
        for (size_t i = 0; i < size; i++) move[i] = nearest_odd(move[i], c->planes);
        gradient_of(normal, right, move, move_gradient, size);
        descend(normal, move, move_gradient, size, c->planes, 20);
        int moved = value_of(right, move, move_gradient, size) < value_of(right, stay, stay_gradient, size);
        for (size_t i = 0; i < size; i++) c->entry[i] = (int16_t)(moved ? move[i] : stay[i]);
    }
    free(normal);
    free(work);
    return status;
}

hd_status hd_codebook_fit(hd_codebook *c, const hd_linear *p, int n, const hd_codebook_options *o, double *loss, hd_err *err) {
    if (n < 1) return hd_fail(err, HD_RANGE, "codebook: %d layers to fit it on; at least 1", n);
    if (o->fit_rounds < 0) return hd_fail(err, HD_RANGE, "codebook: %d fit rounds; at least 0", o->fit_rounds);
    size_t size = ((size_t)1 << c->window) * (size_t)c->books * (size_t)c->group;
    if (size > 8192) return hd_fail(err, HD_RANGE, "codebook: %zu table integers to fit; allowed up to 8192", size);
    size_t sn = (size_t)n;
    hd_prepared *prepared = calloc(sn, sizeof *prepared);
    uint16_t **index = calloc(sn, sizeof *index);
    uint8_t **scale_code = calloc(sn, sizeof *scale_code);
    int *base = calloc(sn, sizeof *base);
    hd_status status = prepared && index && scale_code && base ? HD_OK : hd_fail(err, HD_NOMEM, "no memory to fit %d layers", n);
    for (int i = 0; i < n && !status; i++) {
        if ((status = hd_prepare(&prepared[i], &p[i], c, o->damping, err))) break;
        index[i] = malloc((size_t)p[i].out * (size_t)(prepared[i].groups * c->books) * sizeof **index);
        scale_code[i] = malloc((size_t)p[i].out);
        if (!index[i] || !scale_code[i]) status = hd_fail(err, HD_NOMEM, "layer '%s': no memory for codes", p[i].name);
    }
    if (!status && c->window == c->bits) status = start_tables(c, prepared, n, o->seed, err);
    hd_codebook_options quick = *o;
    if (quick.sweeps > 1) quick.sweeps = 1;
    quick.rounds = 1;
    for (int i = 0; i < n && !status; i++) base[i] = hd_scale_base(&prepared[i], c);
    for (int round = 0; round <= o->fit_rounds && !status; round++) {
        double total = 0;
        for (int i = 0; i < n && !status; i++) {
            double error = 0;
            status = hd_code_layer(&prepared[i], c, &quick, round > 0, base[i], scale_code[i], index[i], &error, err);
            total += prepared[i].weight * error;
        }
        if (loss && !status) loss[round] = total;
        if (round < o->fit_rounds && !status) status = hd_codebook_refit(c, prepared, n, index, scale_code, base, err);
    }
    for (int i = 0; i < n; i++) {
        if (prepared) hd_prepared_free(&prepared[i]);
        if (index) free(index[i]);
        if (scale_code) free(scale_code[i]);
    }
    free(prepared);
    free(index);
    free(scale_code);
    free(base);
    return status;
}
