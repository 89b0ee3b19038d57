/* A network layer on a code of the external stream: E8P without rotation, a table of 4, or two additive books. Rows that share a mask form a problem of their
 * own over the inputs that they keep, so that nothing else is known about masks here. */
#include <stdlib.h>
#include <string.h>

#include "codebook.h"
#include "compress_internal.h"
#include "e8p.h"
#include "model_internal.h"

enum { GROUP = 8, BOOK = 256 };

hd_coding hd_stage_coding(const hd_layer_policy *o, const hd_stage *s) {
    int whole = s->groups == 1 && s->cin % GROUP == 0 && (o->sparsity <= 0.0f || o->skip_sparsity || o->block_in % GROUP == 0);
    return whole ? o->recipe.coding : HD_CODING_INTEGER;
}

/* Rows first..first+rows-1 over the inputs that `input` lists. */
typedef struct part {
    int first, rows, in;
    int *input;
    float *w;
    double *h, *yx;
    hd_linear p;
} part;

static void part_free(part *t) {
    free(t->input);
    free(t->w);
    free(t->h);
    free(t->yx);
}

static hd_status part_make(part *t, const hd_linear *p, const uint8_t *keep, hd_err *err) {
    size_t in = (size_t)p->in;
    t->input = malloc(in * sizeof *t->input);
    if (!t->input) return hd_fail(err, HD_NOMEM, "layer '%s': out of memory", p->name);
    for (int i = 0; i < p->in; i++)
        if (!keep || keep[(size_t)t->first * in + (size_t)i]) t->input[t->in++] = i;
    if (!t->in) return HD_OK;
    size_t n = (size_t)t->in;
    t->w = malloc((size_t)t->rows * n * sizeof *t->w);
    t->h = malloc(n * n * sizeof *t->h);
    t->yx = malloc((size_t)t->rows * n * sizeof *t->yx);
    if (!t->w || !t->h || !t->yx) return hd_fail(err, HD_NOMEM, "layer '%s': out of memory", p->name);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) t->h[i * n + j] = p->h[(size_t)t->input[i] * in + (size_t)t->input[j]];
    for (size_t r = 0; r < (size_t)t->rows; r++)
        for (size_t i = 0; i < n; i++) {
            size_t at = ((size_t)t->first + r) * in + (size_t)t->input[i];
            t->w[r * n + i] = p->w[at];
            t->yx[r * n + i] = p->yx[at];
        }
    t->p = (hd_linear){.name = p->name, .out = t->rows, .in = t->in, .w = t->w, .h = t->h, .yx = t->yx};
    return HD_OK;
}

/* What a part became, back among all inputs. `wide`: inputs of a row of `from`. */
static void put(hd_linear_result *to, const part *t, const hd_linear_result *from, size_t wide, size_t in) {
    for (size_t r = 0; r < (size_t)t->rows; r++) {
        to->scale[(size_t)t->first + r] = from->scale[r];
        for (size_t i = 0; i < (size_t)t->in; i++) {
            size_t at = ((size_t)t->first + r) * in + (size_t)t->input[i];
            to->v[at] = from->v[r * wide + i];
            to->w[at] = from->scale[r] * (float)to->v[at];
        }
    }
}

static hd_status solve_e8p(hd_linear_result *to, const part *parts, int n, size_t in, double damping, hd_err *err) {
    hd_e8p_options o;
    hd_e8p_defaults(&o);
    o.unrotated = 1;
    o.damping += damping;
    hd_status status = HD_OK;
    for (int k = 0; k < n && status == HD_OK; k++) {
        hd_e8p_result r;
        if (!parts[k].in) continue;
        if ((status = hd_e8p_solve(&r, &parts[k].p, &o, err)) != HD_OK) break;
        put(to, &parts[k], &r.linear, (size_t)r.groups * GROUP, in);
        hd_e8p_result_free(&r);
    }
    return status;
}

/* Entries a and b are odd, their sum v even; the array takes u = v + 1, in offset binary v/2 + 8 = (a + 1)/2 + 8 + (b - 1)/2 modulo 16. */
static void pack_books(uint32_t *books, const hd_codebook *c) {
    for (int n = 0; n < 2 * BOOK; n++) {
        books[n] = 0;
        for (int i = 0; i < GROUP; i++) {
            int e = c->entry[n * GROUP + i], half = n < BOOK ? (e + 1) / 2 + 8 : (e - 1) / 2 + 16;
            books[n] |= (uint32_t)(half & 15) << (4 * i);
        }
    }
}

static hd_status solve_tables(hd_linear_result *to, uint32_t **books, const part *parts, int n, size_t in, int additive, double damping, hd_err *err) {
    hd_codebook *c = NULL;
    hd_codebook_options o;
    hd_codebook_defaults(&o);
    o.damping += damping;
    hd_linear *p = malloc((size_t)n * sizeof *p);
    int used = 0;
    if (!p) return hd_fail(err, HD_NOMEM, "layer '%s': out of memory", parts->p.name);
    for (int k = 0; k < n; k++)
        if (parts[k].in) p[used++] = parts[k].p;
    hd_status status = additive ? hd_codebook_new(&c, GROUP, 2, 8, 8, 3, o.seed, err) : hd_codebook_new(&c, 1, 1, 2, 2, 4, o.seed, err);
    if (status == HD_OK && used) status = hd_codebook_fit(c, p, used, &o, NULL, err);
    free(p);
    for (int k = 0; k < n && status == HD_OK; k++) {
        hd_codebook_result r;
        if (!parts[k].in) continue;
        if ((status = hd_codebook_solve(&r, &parts[k].p, c, &o, err)) != HD_OK) break;
        put(to, &parts[k], &r.linear, (size_t)parts[k].in, in);
        hd_codebook_result_free(&r);
    }
    if (status == HD_OK && additive) {
        *books = malloc(HD_BOOKS_WORDS * sizeof **books);
        if (*books) pack_books(*books, c);
        else status = hd_fail(err, HD_NOMEM, "layer '%s': out of memory", parts->p.name);
    }
    hd_codebook_free(c);
    return status;
}

hd_status hd_solve_coded(hd_linear_result *out, uint32_t **books, const hd_linear *p, const uint8_t *keep, int block_out, hd_coding coding, double damping,
                         hd_err *err) {
    size_t in = (size_t)p->in, rows = (size_t)p->out;
    int step = keep ? block_out : p->out, n = (p->out + step - 1) / step;
    part *parts = calloc((size_t)n, sizeof *parts);
    *out = (hd_linear_result){.v = calloc(rows * in, sizeof *out->v), .w = calloc(rows * in, sizeof *out->w), .scale = malloc(rows * sizeof *out->scale)};
    *books = NULL;
    hd_status status = parts && out->v && out->w && out->scale ? HD_OK : hd_fail(err, HD_NOMEM, "layer '%s': out of memory", p->name);
    for (size_t r = 0; status == HD_OK && r < rows; r++) out->scale[r] = 1.0f; /* of rows that keep nothing */
    for (int k = 0; k < n && status == HD_OK; k++) {
        parts[k].first = k * step;
        parts[k].rows = p->out - k * step < step ? p->out - k * step : step;
        parts[k].p.name = p->name;
        status = part_make(&parts[k], p, keep, err);
    }
    if (status == HD_OK && coding == HD_CODING_E8P) status = solve_e8p(out, parts, n, in, damping, err);
    else if (status == HD_OK) status = solve_tables(out, books, parts, n, in, coding == HD_CODING_ADDITIVE, damping, err);
    for (int k = 0; parts && k < n; k++) part_free(&parts[k]);
    free(parts);
    if (status != HD_OK) hd_linear_result_free(out);
    return status;
}
